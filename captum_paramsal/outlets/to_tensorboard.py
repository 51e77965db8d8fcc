"""Reports in TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from captum_paramsal.outlets.image_facts import ImageFacts, ScoredFilter, ShownReport, image_facts
from captum_paramsal.sources import ImageSource
from captum_paramsal.viz import decoded, metric_bars, to_png
from captum_paramsal.viz.traces import trace_overlay

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_PICTURES = 50
"""Images that are shown, at most, unless more are asked for."""


def to_tensorboard(
    result: ShownReport,
    images: ImageSource,
    place: str | Path | SummaryWriter,
    *,
    step: int = 0,
    most: int = _PICTURES,
    tag: str = "paramsal",
) -> None:
    """Show a report in TensorBoard.

    Its figures are scalars, such as ``paramsal/explain/accuracy``, which draw a curve where each of several checkpoints
    has a ``step`` of its own. Of each of the first images there is a picture with its heat maps beside it, and of an
    explanation or a triage a figure of the guiltiest filters.

    Args:
        result: An explanation, a triage or a comparison.
        images: Those that it was made of.
        place: Folder for the events, or a writer, which stays open.
        step: Global step, such as the epoch of the checkpoint.
        most: Images that are shown, at most; of mistakes those that the model is most confident about.
        tag: What all names begin with.

    Raises:
        ImportError: TensorBoard is not installed.
        InputError: Another kind of report, or other images than it was made of.
    """
    facts = sorted(image_facts(result, images), key=lambda one: -(one.confidence or 0.0))[:most]
    if not isinstance(place, (str, Path)):
        _write(place, result, images, facts, step=step, tag=f"{tag}/{result.kind}")
        return
    with _writer_class()(str(place)) as writer:
        _write(writer, result, images, facts, step=step, tag=f"{tag}/{result.kind}")


def _write(
    writer: SummaryWriter,
    result: ShownReport,
    images: ImageSource,
    facts: Sequence[ImageFacts],
    *,
    step: int,
    tag: str,
) -> None:
    numbers = {name: value for name, value in result.summary().items() if isinstance(value, (int, float))}
    for name, value in numbers.items():
        writer.add_scalar(f"{tag}/{name}", value, step)
    for one in facts:
        panels = _panels(images, one)
        called = f"{tag}/images/{one.position} {one.label} taken for {one.predicted}"
        if panels:
            writer.add_image(called, torch.cat(panels, dim=2), step)
        if one.filters:
            writer.add_image(f"{called}/filters", _bars(one.filters), step)


def _panels(images: ImageSource, facts: ImageFacts) -> list[Tensor]:
    """The picture and each of its maps over it, ``(3, H, W)`` in [0, 1]; none where there is no picture."""
    shown = images.picture(facts.position)
    if shown is None:
        return []
    picture = decoded(shown.data, shown.mime).expand(3, -1, -1)
    return [picture, *(trace_overlay(picture, values) for values in facts.maps.values())]


def _bars(filters: Sequence[ScoredFilter]) -> Tensor:
    scores = torch.tensor([one.score for one in filters], dtype=torch.float64)
    nothing = torch.full_like(scores, torch.nan)
    axes = metric_bars(scores, nothing, nothing, [one.name for one in filters], title="Guiltiest filters")
    return decoded(to_png(axes, dpi=80), "image/png")


def _writer_class() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 -- optional
    except ImportError as error:
        message = 'Expected TensorBoard, which is not installed: `pip install "captum-paramsal[tensorboard]"`.'
        raise ImportError(message) from error
    return SummaryWriter
