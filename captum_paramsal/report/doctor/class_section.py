"""What the page shows of the classes: which channels each relies on, and how far they share them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from markupsafe import Markup
from torch import Tensor

from captum_paramsal.report.doctor.data import DoctorData
from captum_paramsal.viz import class_channel_plot, to_svg

_CLASSES = 24
"""Rows of a figure that people can read."""


@dataclass(frozen=True)
class ClassRow:
    """One class.

    Attributes:
        name: What it is called.
        images: Sure images that say what it relies on.
        relevant: Channels that it relies on.
        nearest: The class that it shares most of them with; empty where it is alone.
        shared: Channels that both rely on, over those that either does.
        by_chance: What that would be for as many channels at random.
        mistakes: Mistakes that it is the true or the predicted class of.
    """

    name: str
    images: int
    relevant: int
    nearest: str
    shared: float
    by_chance: float
    mistakes: int


@dataclass(frozen=True)
class ClassSection:
    """The section.

    Attributes:
        drawing: The matrix of classes and channels.
        rows: The classes drawn.
        known: Classes of which anything is known.
        sparsity: Mean share of the channels that a class relies on.
        overlap: Mean overlap of two classes; None for a single one.
        by_chance: What it would be at random.
    """

    drawing: Markup
    rows: Sequence[ClassRow]
    known: int
    sparsity: float
    overlap: float | None
    by_chance: float | None


def class_section(report: DoctorData) -> ClassSection:
    """Put the section together, of the classes that most mistakes are about."""
    diagnosis = report.diagnosis
    known = (diagnosis.counts > 0).nonzero()[:, 0].tolist()
    involved = Counter(number for mistake in report.mistakes for number in (mistake.label, mistake.predicted))
    about = [number for number in known if involved[number]] if len(known) > _CLASSES else []
    drawn = sorted(sorted(about or known, key=lambda number: (-involved[number], number))[:_CLASSES])
    overlap, by_chance = diagnosis.overlap(), diagnosis.overlap_by_chance()
    pairs = torch.triu_indices(len(known), len(known), 1)
    among = torch.tensor(known)
    rows, columns = among[pairs[0]], among[pairs[1]]
    return ClassSection(
        drawing=_drawing(report, drawn),
        rows=[_row(report, number, known, (overlap, by_chance), involved[number]) for number in drawn],
        known=len(known),
        sparsity=float(diagnosis.sparsity()[known].mean()),
        overlap=float(overlap[rows, columns].nanmean()) if len(rows) else None,
        by_chance=float(by_chance[rows, columns].nanmean()) if len(rows) else None,
    )


def _row(
    report: DoctorData, number: int, known: Sequence[int], shared: tuple[Tensor, Tensor], mistakes: int
) -> ClassRow:
    diagnosis = report.diagnosis
    others = [other for other in known if other != number]
    nearest = max(others, key=lambda other: float(shared[0][number, other].nan_to_num(0.0)), default=None)
    overlap, by_chance = (0.0, 0.0) if nearest is None else (float(shares[number, nearest]) for shares in shared)
    return ClassRow(
        name=report.class_name(number),
        images=int(diagnosis.counts[number]),
        relevant=int(diagnosis.relevant()[number].sum()),
        nearest="" if nearest is None else report.class_name(nearest),
        shared=overlap,
        by_chance=by_chance,
        mistakes=mistakes,
    )


def _drawing(report: DoctorData, drawn: Sequence[int]) -> Markup:
    axes = class_channel_plot(report.diagnosis.normalized, names=report.classes, classes=drawn)
    names = ", ".join(report.class_name(number) for number in drawn)
    description = (
        f"How strongly {len(drawn)} classes rely on each of the {report.diagnosis.channels} channels of "
        f"{report.diagnosis.layer}, one row per class: {names}."
    )
    return Markup(to_svg(axes, description, prefix="classes-"))  # noqa: S704 -- drawn by matplotlib, which escapes its texts
