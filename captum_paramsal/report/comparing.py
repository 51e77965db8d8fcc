"""From labelled images to methods side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

import torch
from scipy.ndimage import find_objects, label
from torch import Tensor, nn

from captum_paramsal.comparison import PRESETS, Comparison, compare
from captum_paramsal.errors import ParamsalError
from captum_paramsal.metrics import METRICS
from captum_paramsal.reference import Reference
from captum_paramsal.report.job import spread
from captum_paramsal.report.predicting import Prediction, on_device, predict, prepared
from captum_paramsal.report.records import About
from captum_paramsal.report.side_by_side import SideBySide
from captum_paramsal.sources import ImageSource

__all__ = ["ComparisonSettings", "compare_on"]

_ENOUGH = 20
"""Images of a group below which an interval is hardly worth its name."""


@dataclass(frozen=True)
class ComparisonSettings:
    """What belongs to a comparison, apart from model and images.

    Attributes:
        methods: Names of presets; all that look at the model by default, without those that need a reference where
            there is none.
        metrics: Names of metrics; by default all, without those that need boxes where there are none.
        limit: Images at most, half of them mistakes as far as there are so many; None for all.
        explained: The class that maps are made for: the model's "prediction", or the "label".
        shown: Images with their maps in the report.
        batch_size: Images at once.
        device: Where to compute; where the model is, if None.
        show_progress: Show progress bars.
    """

    methods: Sequence[str] = ()
    metrics: Sequence[str] = ()
    limit: int | None = None
    explained: Literal["prediction", "label"] = "prediction"
    shown: int = 8
    batch_size: int = 16
    device: str | torch.device | None = None
    show_progress: bool = True

    def __post_init__(self) -> None:
        if self.explained not in ("prediction", "label"):
            message = f"Expected `explained` to be 'prediction' or 'label', got {self.explained!r}."
            raise ParamsalError(message)
        for name, least in (("limit", 1), ("shown", 0), ("batch_size", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                message = f"Expected `{name}` to be at least {least}, got {value}."
                raise ParamsalError(message)


def compare_on(
    model: nn.Module,
    images: ImageSource,
    reference: Reference | None = None,
    *,
    settings: ComparisonSettings | None = None,
    classes: Mapping[int, str] | None = None,
    about: About | None = None,
    checkpoint: Path | None = None,
) -> SideBySide:
    """Compare methods on labelled images, mistakes and correctly classified ones apart.

    Args:
        model: A classifier, left as it was.
        images: Labelled images; where masks are known, their parts' boxes are those of the objects.
        reference: For methods that score filters against one.
        settings: Methods, metrics, sizes, device.
        classes: Names of the classes.
        about: What model, images and reference are called in the report.
        checkpoint: File that finished images are kept in, and gone on from.

    Raises:
        ParamsalError: A model, images, methods, metrics or a checkpoint that do not go together; see the child raised.
    """
    chosen = settings or ComparisonSettings()
    size, shown = chosen.batch_size, chosen.show_progress
    methods = list(chosen.methods) or _default_methods(reference)
    with on_device(model, chosen.device) as device:
        found = predict(model, images, batch_size=size, device=device, show_progress=shown)
        picked = _picked(found, chosen.limit)
        boxes = _boxes(images, picked)
        metrics = list(chosen.metrics) or _default_metrics(has_boxes=boxes is not None)
        inputs = torch.cat(
            [prepared(batch, model, device)[0] for batch in images.batches(size, [one.position for one in picked])]
        )
        labels = torch.tensor([one.label for one in picked])
        comparison = compare(
            methods,
            model,
            inputs,
            labels.to(device) if chosen.explained == "label" else None,
            metrics=metrics,
            boxes=boxes,
            reference=reference,
            batch_size=size,
            keep=chosen.shown,
            checkpoint=checkpoint,
            show_progress=shown,
        )
    pictures = {number: images.picture(picked[number].position) for number in comparison.kept}
    right = sum(one.predicted == one.label for one in found)
    seen = {one.label for one in picked} | {one.predicted for one in picked}
    return SideBySide(
        comparison=comparison,
        items=tuple(images.items[one.position] for one in picked),
        candidates=len(found),
        accuracy=right / len(found),
        skipped=tuple(images.skipped),
        classes={number: name for number, name in (classes or {}).items() if number in seen},
        remarks=tuple(_remarks(comparison, picked)),
        context=_context(model, about or About(), chosen, reference),
        pictures={number: picture for number, picture in pictures.items() if picture is not None},
    )


def _default_methods(reference: Reference | None) -> list[str]:
    without = {"centre"}
    if reference is None:
        without |= {name for name, preset in PRESETS.items() if preset.needs_reference}
    elif reference.tail is None:
        without.add("input_space_pot")
    return [name for name in PRESETS if name not in without]


def _default_metrics(*, has_boxes: bool) -> list[str]:
    return [name for name, metric in METRICS.items() if has_boxes or not metric().needs_boxes]


def _picked(found: Sequence[Prediction], limit: int | None) -> list[Prediction]:
    """Mistakes and correct ones in turn, each evenly spread; where one kind is short, more of the other."""
    wrong = [place for place, one in enumerate(found) if one.predicted != one.label]
    right = [place for place, one in enumerate(found) if one.predicted == one.label]
    if limit is not None:
        half = min(len(wrong), max(limit - limit // 2, limit - len(right)))
        wrong, right = spread(wrong, half), spread(right, limit - half)
    return [found[place] for pair in zip_longest(wrong, right) for place in pair if place is not None]


def _boxes(images: ImageSource, picked: Sequence[Prediction]) -> list[Tensor] | None:
    """Boxes around the parts of each image's mask, a row of NaN where there is none; None where no image has any."""
    rows, nothing = [], torch.full((1, 4), torch.nan, dtype=torch.float64)
    for one in picked:
        mask = images.mask(one.position)
        parts = [] if mask is None else find_objects(label(mask.numpy())[0])
        boxes = [[part[1].start, part[0].start, part[1].stop, part[0].stop] for part in parts]
        rows.append(torch.tensor(boxes, dtype=torch.float64) if boxes else nothing)
    return rows if any(row.isfinite().all() for row in rows) else None


def _remarks(comparison: Comparison, picked: Sequence[Prediction]) -> list[str]:
    remarks = []
    wrong = sum(one.predicted != one.label for one in picked)
    for count, kind in ((wrong, "mistakes"), (len(picked) - wrong, "correctly classified images")):
        if count < _ENOUGH:
            remarks.append(
                f"There are {count} {kind}"
                + ("." if not count else ": too few for small differences between methods to mean much.")
            )
    for method, flags in zip(comparison.methods, comparison.degenerate, strict=True):
        if flags.any():
            remarks.append(
                f"{method} gave {int(flags.sum())} degenerate maps, the same everywhere or not finite. They have no "
                "score, so its means are over the other images."
            )
    failed = sorted({one.method for one in comparison.failures})
    if failed:
        remarks.append(f"Some steps failed for {', '.join(failed)}; what was raised stands below.")
    return remarks


def _context(
    model: nn.Module, about: About, settings: ComparisonSettings, reference: Reference | None
) -> dict[str, Any]:
    return {
        "model": {"name": about.model or type(model).__name__, "weights": about.weights},
        "images_from": {"origin": about.images, "preprocessing": about.preprocessing},
        "reference": None
        if reference is None
        else {"origin": about.reference, "images": reference.count, "fingerprint": reference.fingerprint.short},
        "parameters": {
            "explained": settings.explained,
            "limit": settings.limit,
            "batch_size": settings.batch_size,
            "device": str(settings.device),
        },
    }
