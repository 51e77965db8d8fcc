"""What the page says about a treatment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from markupsafe import Markup

from captum_paramsal.report.doctor.data import DoctorData
from captum_paramsal.report.doctor.treatment_records import Control, TreatmentResult
from captum_paramsal.report.shared.environment import probability
from captum_paramsal.sources import Picture
from captum_paramsal.viz import to_svg, treatment_plot

_SURE = 0.05
_SHOWN = 6
"""Images of each kind that are shown."""
_MOST_CLASSES = 30


@dataclass(frozen=True)
class Changed:
    """One image that was cured or broken."""

    file: str
    label: str
    before: str
    after: str
    picture: Picture | None


@dataclass(frozen=True)
class TreatmentSection:
    """Everything that the section shows.

    Attributes:
        result: What was done, and what came of it.
        verdict: What that means.
        control_verdict: What it means beside fine-tuning without constraints; empty without a control.
        drawing: Accuracy of each class before and after.
        cured: Some of the images that were cured.
        broken: Some of those that were broken.
    """

    result: TreatmentResult
    verdict: str
    control_verdict: str
    drawing: Markup
    cured: Sequence[Changed]
    broken: Sequence[Changed]


def treatment_section(report: DoctorData) -> TreatmentSection | None:
    """Put the section together; None where nothing was treated."""
    result = report.treatment
    if result is None:
        return None
    cured, broken = ([_changed(report, result, row) for row in rows[:_SHOWN]] for rows in (result.cured, result.broken))
    control = result.control
    beside = "" if control is None else _control_verdict(control)
    return TreatmentSection(result, _verdict(result), beside, _drawing(report, result), cured, broken)


def shown_changes(result: TreatmentResult) -> list[int]:
    """Positions of the images that the section shows."""
    return [result.positions[row] for rows in (result.cured, result.broken) for row in rows[:_SHOWN]]


def _verdict(result: TreatmentResult) -> str:
    cured, broken = len(result.cured), len(result.broken)
    if result.best_epoch == 0:
        return (
            "Nothing was gained: no epoch was better than the untreated model on the images that chose, so the model "
            "was left as it was."
        )
    if cured + broken == 0:
        return "The treatment changed the model, but not a single one of these images is classified otherwise."
    sure = result.p_value <= _SURE
    if cured == broken:
        return "As many images were broken as cured, so nothing was gained."
    if cured > broken:
        sense = "more than chance would explain" if sure else "which chance may explain as well"
        return f"{cured - broken} more of these images {_are(cured - broken)} right than before, {sense}."
    sense = "more than chance would explain: the treatment did harm" if sure else "which chance may explain as well"
    return f"{broken - cured} fewer of these images {_are(broken - cured)} right than before, {sense}."


def _control_verdict(control: Control) -> str:
    said = f"(p {probability(control.p_value)})"
    if control.better == control.worse:
        return f"Fine-tuning without the constraints does as well {said}: the gain, if any, is not owed to them."
    if control.p_value > _SURE:
        word = "more" if control.better > control.worse else "fewer"
        return (
            f"The treated model gets a few {word} images right than fine-tuning without the constraints, which chance "
            f"may explain {said}."
        )
    if control.better > control.worse:
        return (
            f"The treated model gets more images right than fine-tuning without the constraints {said}: they have a "
            "part in it."
        )
    return f"Fine-tuning without the constraints does better {said}: they are in the way."


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _changed(report: DoctorData, result: TreatmentResult, row: int) -> Changed:
    position = result.positions[row]
    label, before, after = (report.class_name(kind[row]) for kind in (result.labels, result.before, result.after))
    return Changed(result.files[row], label, before, after, report.pictures.get(position))


def _drawing(report: DoctorData, result: TreatmentResult) -> Markup:
    labels, before, after = (torch.tensor(kind) for kind in (result.labels, result.before, result.after))
    # Classes with nothing to tell would hide the others where there are many.
    kept = _told(labels, before, after)
    axes = treatment_plot(labels[kept], before[kept], after[kept], names=report.classes)
    description = (
        f"Accuracy of each class before and after. Over all, {result.accuracy_before:.1%} before and "
        f"{result.accuracy_after:.1%} after; {len(result.cured)} images cured, {len(result.broken)} broken."
    )
    return Markup(to_svg(axes, description, prefix="treatment-"))  # noqa: S704 -- drawn by matplotlib, which escapes its texts


def _told(labels: torch.Tensor, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """Which images to draw: all, or those of the classes that changed most."""
    classes, counts = labels.unique(return_counts=True)
    if len(classes) <= _MOST_CLASSES:
        return torch.ones(len(labels), dtype=torch.bool)
    changes = torch.tensor([int((before != after)[labels == number].sum()) for number in classes.tolist()])
    order = sorted(range(len(classes)), key=lambda place: (-int(changes[place]), -int(counts[place])))
    return torch.isin(labels, classes[order[:_MOST_CLASSES]])
