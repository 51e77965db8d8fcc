"""How long a comparison will take, before it starts."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from captum_paramsal.comparison import compare
from captum_paramsal.hooks import frozen_eval
from captum_paramsal.metrics import IROF, ROAD, Deletion, Insertion, ModelRandomisation, Sensitivity, metric_named
from captum_paramsal.reference import Reference

_SHORT = 120.0
"""Seconds below which nobody needs to be told."""
_LONG = 10000.0
"""Seconds from which on they are hours."""


def seconds_by_method(
    methods: Sequence[str],
    metrics: Sequence[str],
    model: nn.Module,
    images: Sequence[Tensor],
    reference: Reference | None = None,
    *,
    batch_size: int = 1,
) -> dict[str, float]:
    """Seconds that each method with its metrics takes for all images, at least.

    Each method explains one image, on an accelerator a batch. Counted are the maps that it and its metrics ask for, and
    the passes of those metrics that need many; the others hardly matter.

    Args:
        methods: Names of presets.
        metrics: Names of metrics.
        model: The model, on the images' device.
        images: Each ``(C, H, W)``.
        reference: For the methods that need one.
        batch_size: Images at once.
    """
    on_processor = images[0].device.type == "cpu"
    tried = [image for image in images[:batch_size] if image.shape == images[0].shape][: 1 if on_processor else None]
    for _ in range(1 if on_processor else 2):
        # The first run on an accelerator sets it up, which says nothing of the others.
        seconds = compare(
            methods, model, tried, metrics=["sparsity"], reference=reference, keep=0, show_progress=False
        ).column("seconds")[: len(methods)]
        forward = _seconds_of_a_pass(model, torch.stack(tried))
    maps, passes = _asked([metric_named(name) for name in metrics])
    per_image = maps * seconds.nanmean(dim=1).nan_to_num() + passes * forward
    return dict(zip(methods, (len(images) * per_image).tolist(), strict=True))


def announcement(seconds: dict[str, float], images: int) -> str:
    """What to expect, in a sentence or two; nothing where it does not take long.

    >>> print(announcement({"occlusion": 6000.0, "grad_cam": 1200.0}, 200))
    200 images take at least 120 minutes on this machine, 83 % of it for occlusion, the slowest method.
    """
    total = sum(seconds.values())
    if total < _SHORT:
        return ""
    slowest = max(seconds, key=seconds.__getitem__)
    long = f"{total / 60:.0f} minutes" if total < _LONG else f"{total / 3600:.0f} hours"
    share = f", {100 * seconds[slowest] / total:.0f} % of it for {slowest}, the slowest method"
    return f"{images} images take at least {long} on this machine{share if len(seconds) > 1 else ''}."


def _asked(metrics: Sequence[object]) -> tuple[int, int]:
    """Maps, and forward passes on altered copies, that are made of each image by each method."""
    maps = 1 + sum(metric.samples for metric in metrics if isinstance(metric, Sensitivity))
    maps += sum(metric.stages for metric in metrics if isinstance(metric, ModelRandomisation))
    passes = sum(metric.steps + 1 for metric in metrics if isinstance(metric, (Deletion, Insertion)))
    passes += sum(2 * len(metric.shares) for metric in metrics if isinstance(metric, ROAD))
    return maps, passes + sum(metric.segments for metric in metrics if isinstance(metric, IROF))


def _seconds_of_a_pass(model: nn.Module, images: Tensor) -> float:
    """For one image."""
    with frozen_eval(model, gradients=False):
        start = time.perf_counter()
        # Asking for a number waits until an accelerator is done.
        float(model(images).sum())
        return (time.perf_counter() - start) / len(images)
