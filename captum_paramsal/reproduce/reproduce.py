"""From a model and labelled images to a figure of a paper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import nn

from captum_paramsal.errors import SourceError
from captum_paramsal.files import Fingerprint
from captum_paramsal.hooks import Output, scored_model
from captum_paramsal.reference import ProcessGroup, Reference
from captum_paramsal.reference.pieces import Pieces
from captum_paramsal.report.shared.predictions import evenly_spread, on_device
from captum_paramsal.report.shared.report import About
from captum_paramsal.reproduce.registry import Figure, figure_named
from captum_paramsal.reproduce.result import Reproduction
from captum_paramsal.reproduce.settings import ReproduceSettings
from captum_paramsal.reproduce.subject import Subject, open_subject
from captum_paramsal.sources import ImageSource, SourceBatches, skipped_by_all
from captum_paramsal.versions import __version__

_LOOKED_AT = 16
"""Images whose pixels say which images they are; names and labels of all do too."""

_OF_MACHINE = ("device", "show_progress", "batch_size")
"""Settings that a figure does not depend on."""


def reproduce(
    figure: str,
    model: nn.Module,
    images: ImageSource,
    folder: str | Path,
    *,
    reference: Reference | None = None,
    settings: ReproduceSettings | None = None,
    classes: Mapping[int, str] | None = None,
    about: About | None = None,
    output: Output | None = None,
) -> Reproduction:
    """Make a figure of a paper for a classifier and labelled images.

    All costly work is kept in ``folder / "pieces"``, a few images at a time: started again after an interruption it
    goes on there, and further figures take from it what they have in common. In a ``torch.distributed`` group each
    process does its share, with one folder that all of them see, and the result is the same bit by bit.

    Args:
        figure: Name, see :data:`captum_paramsal.reproduce.FIGURES`.
        model: A classifier, left as it was.
        images: Labelled images; those that cannot be read are left out.
        folder: Where the work is kept. The figure itself is written by :meth:`Reproduction.write`.
        reference: What the filters usually do; by default, what they do in every second of the images, which are then
            used for nothing else.
        settings: Sizes, layers, device; :meth:`ReproduceSettings.full` for the papers' sizes.
        classes: Names of the classes.
        about: What model and images are called.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.

    Raises:
        InputError: No such figure, or a model whose mistakes or correct images are too few for it.
        SourceError: Fewer than four images, labels that are no classes of the model, or a folder that cannot be written
            to.
        CheckpointError: A piece of work that is damaged.
        ParamsalError: A model, images and a reference that do not go together.

    >>> import tempfile
    >>> import torch
    >>> from captum_paramsal.sources import LabelledTensors
    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    >>> images = LabelledTensors(torch.rand(20, 3, 8, 8), [0, 0, 1, 1] * 5)
    >>> quick = ReproduceSettings(show_progress=False)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     figure = reproduce("profiles", model, images, folder, settings=quick)
    >>> sorted(figure.contents())
    ['profiles.csv', 'profiles.json', 'profiles.png', 'profiles_filters.csv']
    """
    chosen = figure_named(figure)
    settings = settings or ReproduceSettings()
    model = scored_model(model, output)
    with on_device(model, settings.device) as device:
        identity = _identity(model, images, device, output)
        pieces = Pieces(Path(folder) / "pieces", identity, ProcessGroup.current(), show_progress=settings.show_progress)
        subject = open_subject(
            model, images, reference, settings=settings, classes=classes or {}, pieces=pieces, device=device
        )
        _require_both(subject)
        drawn = chosen.make(subject)
    return Reproduction(
        chosen.name,
        {_file(chosen, name): rows for name, rows in drawn.tables.items()},
        {_file(chosen, name): picture for name, picture in drawn.pictures.items()},
        _context(chosen, subject, about or About(), given=reference is not None)
        | {"notes": [*subject.notes, *drawn.notes]},
    )


def _file(figure: Figure, name: str) -> str:
    return f"{figure.name}_{name}" if name else figure.name


def _identity(model: nn.Module, images: ImageSource, device: torch.device, output: Output | None) -> dict[str, Any]:
    """What all work depends on: weights, images, version."""
    digest = blake2b(digest_size=10)
    for item in images.items:
        digest.update(f"{item.name}\n{item.label}\n".encode())
    positions = evenly_spread(range(len(images.items)), _LOOKED_AT)
    for inputs, _ in SourceBatches(images, model, positions, 1, device):
        digest.update(f"{inputs.dtype} {tuple(inputs.shape)}".encode())
        digest.update(inputs.detach().cpu().float().contiguous().numpy().tobytes())
    return {
        "version": __version__,
        "model": Fingerprint.of(model).short,
        "output": None if output is None else getattr(output, "__qualname__", repr(output)),
        "images": digest.hexdigest(),
    }


def _require_both(subject: Subject) -> None:
    counts = len(subject.mistakes), len(subject.correct)
    if min(counts) < 2:
        message = (
            f"Expected at least two mistakes and two correct images among the {len(subject.positions)} that are not in "
            f"the reference, got {counts[0]} and {counts[1]}. Give more images, or look at labels and classes."
        )
        raise SourceError(message)


def _context(figure: Figure, subject: Subject, about: About, *, given: bool) -> dict[str, Any]:
    names = (field.name for field in fields(subject.settings) if field.name not in _OF_MACHINE)
    settings = {name: getattr(subject.settings, name) for name in names} | {"layers": list(subject.filters.layers)}
    return {
        "figure": {"name": figure.name, "summary": figure.summary, "source": figure.source},
        **about.head(subject.model, subject.reference.fingerprint),
        "settings": settings,
        "counts": {
            "reference": subject.reference.count,
            "reference_given": given,
            "images": len(subject.positions),
            "mistakes": len(subject.mistakes),
            "correct": len(subject.correct),
            "level": len(subject.positions) - len(subject.mistakes) - len(subject.correct),
            "chosen": len(subject.chosen),
            "filters": len(subject.filters),
        },
        "skipped": [{"file": skip.name, "reason": skip.reason} for skip in skipped_by_all(subject.images)],
    }
