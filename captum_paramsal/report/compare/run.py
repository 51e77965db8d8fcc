"""From labelled images to methods side by side."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from tqdm import tqdm

from captum_paramsal import comparison
from captum_paramsal.comparison import PRESETS
from captum_paramsal.errors import ParamsalError
from captum_paramsal.files import Fingerprint
from captum_paramsal.hooks import Output, scored_model
from captum_paramsal.metrics import METRICS
from captum_paramsal.reference import Reference
from captum_paramsal.report.compare.caveats import TAILS, TailedFilters, comparison_caveats
from captum_paramsal.report.compare.duration import announcement, seconds_by_method
from captum_paramsal.report.compare.report import ComparisonReport
from captum_paramsal.report.shared.predictions import (
    Prediction,
    caveats_of,
    evenly_spread,
    occurring,
    on_device,
    pictures_of,
    predict,
)
from captum_paramsal.report.shared.report import About
from captum_paramsal.sources import ImageSource, SourceBatches
from captum_paramsal.viz import MapScale, require_scale


@dataclass(frozen=True)
class ComparisonSettings:
    """What belongs to a comparison, apart from model and images.

    Attributes:
        methods: Names of presets; by default those that are quick enough and need no library of their own, and of those
            that need a reference none where there is none.
        metrics: Names of metrics; by default all, without those that need boxes where there are none.
        limit: Images at most, half of them mistakes as far as there are so many; None for all.
        explained: The class that maps are made for: the model's "prediction", or the "label".
        shown: Images with their maps in the report.
        batch_size: Images at once.
        device: Where to compute; where the model is, if None.
        show_progress: Show progress bars.
        scale: Which maps share a scale of colours: each has its own ("map"), those of a "method" do, or all ("common").
    """

    methods: Sequence[str] = ()
    metrics: Sequence[str] = ()
    limit: int | None = None
    explained: Literal["prediction", "label"] = "prediction"
    shown: int = 8
    batch_size: int = 16
    device: str | torch.device | None = None
    show_progress: bool = True
    scale: MapScale = "map"

    def __post_init__(self) -> None:
        if self.explained not in ("prediction", "label"):
            message = f"Expected `explained` to be 'prediction' or 'label', got {self.explained!r}."
            raise ParamsalError(message)
        require_scale(self.scale)
        for name, least in (("limit", 1), ("shown", 0), ("batch_size", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                message = f"Expected `{name}` to be at least {least}, got {value}."
                raise ParamsalError(message)


def compare(
    model: nn.Module,
    images: ImageSource,
    reference: Reference | None = None,
    *,
    settings: ComparisonSettings | None = None,
    classes: Mapping[int, str] | None = None,
    about: About | None = None,
    checkpoint: Path | None = None,
    output: Output | None = None,
) -> ComparisonReport:
    """Compare methods on labelled images, mistakes and correctly classified ones apart.

    Args:
        model: A classifier, left as it was.
        images: Labelled images; metrics that need boxes are asked about those that have some.
        reference: For methods that score filters against one.
        settings: Methods, metrics, sizes, device.
        classes: Names of the classes.
        about: What model, images and reference are called in the report.
        checkpoint: File that finished images are kept in, and that the comparison resumes from.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.

    Raises:
        ParamsalError: A model, images, methods, metrics or a checkpoint that do not go together; see the child raised.
    """
    model = scored_model(model, output)
    settings = settings or ComparisonSettings()
    size, shown = settings.batch_size, settings.show_progress
    methods = list(settings.methods) or _default_methods(reference)
    with on_device(model, settings.device) as device:
        predictions = predict(model, images, batch_size=size, device=device, show_progress=shown)
        picked = _picked(predictions, settings.limit)
        boxes = _boxes(images, picked)
        metrics = list(settings.metrics) or _default_metrics(has_boxes=boxes is not None)
        positions = [prediction.position for prediction in picked]
        inputs = [image for batch, _ in SourceBatches(images, model, positions, size, device) for image in batch]
        labels = torch.tensor([prediction.label for prediction in picked])
        if shown and not (checkpoint and checkpoint.exists()):
            seconds = seconds_by_method(methods, metrics, model, inputs, reference, batch_size=size)
            if words := announcement(seconds, len(inputs)):
                tqdm.write(words, file=sys.stderr)
        compared = comparison.compare(
            methods,
            model,
            inputs,
            labels.to(device) if settings.explained == "label" else None,
            metrics=metrics,
            boxes=boxes,
            reference=reference,
            batch_size=size,
            keep=settings.shown,
            checkpoint=checkpoint,
            show_progress=shown,
        )
        tailed = TailedFilters.of(compared, model, reference, inputs, size)
    pictures = pictures_of(images, [positions[number] for number in compared.kept])
    return ComparisonReport(
        comparison=compared,
        items=tuple(images.items[position] for position in positions),
        candidates=len(predictions),
        candidates_accuracy=sum(prediction.correct for prediction in predictions) / len(predictions),
        skipped=tuple(images.skipped),
        classes=occurring(picked, classes),
        caveats=(*caveats_of(predictions), *comparison_caveats(compared, compared.predicted != labels, tailed)),
        context=_context(model, about or About(), settings, reference, device),
        pictures={number: pictures[positions[number]] for number in compared.kept if positions[number] in pictures},
    )


def _default_methods(reference: Reference | None) -> list[str]:
    without = {name for name, preset in PRESETS.items() if not preset.by_default}
    if reference is None:
        without |= {name for name, preset in PRESETS.items() if preset.needs_reference}
    elif reference.tail is None:
        without.add(TAILS)
    return [name for name in PRESETS if name not in without]


def _default_metrics(*, has_boxes: bool) -> list[str]:
    return [name for name, metric in METRICS.items() if has_boxes or not metric().needs_boxes]


def _picked(predictions: Sequence[Prediction], limit: int | None) -> list[Prediction]:
    """Mistakes and correct ones in turn, each evenly spread; where one kind is short, more of the other."""
    wrong = [place for place, prediction in enumerate(predictions) if not prediction.correct]
    right = [place for place, prediction in enumerate(predictions) if prediction.correct]
    if limit is not None:
        half = min(len(wrong), max(limit - limit // 2, limit - len(right)))
        wrong, right = evenly_spread(wrong, half), evenly_spread(right, limit - half)
    return [predictions[place] for pair in zip_longest(wrong, right) for place in pair if place is not None]


def _boxes(images: ImageSource, picked: Sequence[Prediction]) -> list[Tensor] | None:
    """The boxes of each image's object, a row of NaN where it has none; None where no image has any."""
    known = [images.boxes(prediction.position) for prediction in picked]
    if all(boxes is None for boxes in known):
        return None
    nothing = torch.full((1, 4), torch.nan, dtype=torch.float64)
    return [nothing if boxes is None else boxes for boxes in known]


def _context(
    model: nn.Module, about: About, settings: ComparisonSettings, reference: Reference | None, device: torch.device
) -> dict[str, Any]:
    return {
        **about.head(model, Fingerprint.of(model)),
        "reference": None
        if reference is None
        else {"origin": about.reference, "images": reference.count, "fingerprint": reference.fingerprint.short},
        "parameters": {
            "explained": settings.explained,
            "limit": settings.limit,
            "scale": settings.scale,
            "batch_size": settings.batch_size,
            "device": str(device),
        },
    }
