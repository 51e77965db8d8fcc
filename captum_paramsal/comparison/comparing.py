"""From methods, metrics and images to a comparison."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from torch import Tensor, nn
from tqdm.auto import tqdm

from captum_paramsal.batch import Given
from captum_paramsal.comparison.batch_scores import NamedMethod
from captum_paramsal.comparison.presets import Preset, preset
from captum_paramsal.comparison.progress import Progress
from captum_paramsal.comparison.result import Comparison
from captum_paramsal.comparison.task import Task
from captum_paramsal.errors import InputError
from captum_paramsal.functional import Target
from captum_paramsal.hooks import Output, as_tensor, scored_model
from captum_paramsal.metrics import Boxes, InputMaps, Metric, metric_named
from captum_paramsal.metrics.scoring_case import images_of
from captum_paramsal.reference import Reference

MethodLike: TypeAlias = Any
"""A preset's name, a :class:`Preset`, a Captum ``Attribution``, or a callable (inputs, target, ...) -> maps."""

DEFAULT_METRICS = ("infidelity", "sensitivity", "deletion", "insertion", "sparsity")


def compare(
    methods: Mapping[str, MethodLike] | Sequence[str],
    model: nn.Module,
    images: Given | Sequence[Given],
    targets: Target = None,
    *,
    metrics: Sequence[str | Metric] = DEFAULT_METRICS,
    boxes: Boxes | None = None,
    reference: Reference | None = None,
    batch_size: int = 16,
    keep: int = 8,
    checkpoint: str | os.PathLike[str] | None = None,
    show_progress: bool = True,
    output: Output | None = None,
) -> Comparison:
    """Score every method by every metric on every image.

    A method or a metric that raises on an image is noted, and the rest goes on.

    Args:
        methods: Methods by the names that they have in tables: presets, Captum's, ours, or a callable (inputs, target,
            additional_forward_args) -> maps. A sequence of presets' names is taken as it is. Give a :class:`Preset` of
            your own where the method has to be built again for another model, as model randomisation asks for.
        model: A classifier that returns class scores ``(N, C)``; left as it is.
        images: What the model takes, ``(N, C, H, W)``, or a list of ``(C, H, W)`` in several sizes, or one of them;
            arrays of numpy too.
        targets: Class that is explained of each image; None for the model's prediction.
        metrics: Names, see :data:`captum_paramsal.metrics.METRICS`, or metrics with settings of their own.
        boxes: Boxes of the objects, for the metrics that need them; a row of NaN is none.
        reference: For the presets that score filters against one.
        batch_size: Images at once.
        keep: Images whose pictures and maps are kept to be drawn, the first ones.
        checkpoint: File that finished images are written to now and then, and resumed from if it is there; delete it
            when all is done.
        show_progress: Show a progress bar.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.

    Raises:
        InputError: No image, no method, an unknown name, or no boxes where a metric needs them.
        TargetError: Targets that do not name one class per image.
        CheckpointError: The checkpoint is damaged, or one of other methods, metrics, images or settings.
    """
    chosen = _metrics(metrics, boxes)
    model = scored_model(model, output)
    named = _methods(methods, model, reference)
    task = Task(named, model, chosen, _listed(images, model, targets), targets, boxes, reference, batch_size, keep)
    batches = task.batches()
    progress = Progress(checkpoint, task)
    with progress.kept():
        for batch in tqdm(batches, desc="comparison", disable=not show_progress):
            if not progress.has(batch):
                progress.add(task.scored(batch))
    return progress.finished()


def _metrics(metrics: Sequence[str | Metric], boxes: Boxes | None) -> tuple[Metric, ...]:
    _require_several("metrics", metrics)
    chosen = tuple(metric_named(metric) if isinstance(metric, str) else metric for metric in metrics)
    names = [column.name for metric in chosen for column in metric.columns]
    if len({*names}) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        message = f"Expected metrics with columns of different names, got {', '.join(twice)} more than once."
        raise InputError(message)
    lacking = [metric.name for metric in chosen if metric.needs_boxes]
    if lacking and boxes is None:
        message = f"Expected `boxes` for {', '.join(lacking)}, got None. Give them, or leave these metrics out."
        raise InputError(message)
    return chosen


def _methods(
    methods: Mapping[str, MethodLike] | Sequence[str], model: nn.Module, reference: Reference | None
) -> tuple[NamedMethod, ...]:
    _require_several("methods", methods)
    named = dict(methods) if isinstance(methods, Mapping) else {name: name for name in methods}
    if not named:
        message = "Expected at least one method, got none."
        raise InputError(message)
    return tuple(_named(name, method, model, reference) for name, method in named.items())


def _require_several(what: str, names: object) -> None:
    if isinstance(names, str):
        message = f"Expected a list of `{what}`, got the text {names!r}; write [{names!r}] for that one."
        raise InputError(message)


def _named(name: str, method: MethodLike, model: nn.Module, reference: Reference | None) -> NamedMethod:
    if not isinstance(method, (str, Preset)):
        return NamedMethod(name, method if isinstance(method, InputMaps) else InputMaps(method))

    def build(other: nn.Module, known: Reference | None) -> InputMaps:
        return preset(method, other, known) if isinstance(method, str) else method.build(other, known)

    def rebuild(other: nn.Module) -> InputMaps:
        return build(other, None if reference is None else reference.transfer(other))

    return NamedMethod(name, build(model, reference), rebuild)


def _listed(images: Given | Sequence[Given], model: nn.Module, targets: Target) -> tuple[Tensor, ...]:
    listed = tuple(as_tensor(one, model) for one in images_of(model, images, targets))
    wrong = [one for one in listed if not (isinstance(one, Tensor) and one.ndim == 3 and one.is_floating_point())]
    if wrong or not listed:
        got = [f"{one.dtype} {tuple(one.shape)}" if isinstance(one, Tensor) else type(one).__name__ for one in wrong]
        message = (
            "Expected images (N, C, H, W) of floating point, or a list of (C, H, W), at least one; got "
            f"{', '.join(got[:3]) or 'none'}. Give images of whole numbers as `images.float()`, if the model makes the "
            "same of them."
        )
        raise InputError(message)
    return tuple(one.detach() for one in listed)
