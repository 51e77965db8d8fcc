"""From methods, metrics and images to a comparison."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

import captum_paramsal
from captum_paramsal.comparison.agreement import rank_agreement
from captum_paramsal.comparison.batch_scores import COST, NamedMethod, ScoredBatch
from captum_paramsal.comparison.presets import preset
from captum_paramsal.comparison.result import ColumnNote, Comparison
from captum_paramsal.errors import CheckpointError, InputError, SourceError
from captum_paramsal.fingerprint import Fingerprint
from captum_paramsal.functional import Target, labels_of
from captum_paramsal.hooks import scoring_state, unwrap
from captum_paramsal.metrics import Boxes, Case, InputMaps, Metric, boxes_per_image, metric_named
from captum_paramsal.reference import Reference

__all__ = ["compare"]

Method: TypeAlias = Any
"""A preset's name, a Captum ``Attribution``, or a callable (inputs, target, additional_forward_args) -> maps."""

PASS = 64
"""Altered copies of images in one forward pass of a metric."""

DEFAULT_METRICS = ("infidelity", "sensitivity", "deletion", "insertion", "sparsity")


def compare(
    methods: Mapping[str, Method] | Sequence[str],
    model: nn.Module,
    images: Tensor | Sequence[Tensor],
    targets: Target = None,
    *,
    metrics: Sequence[str | Metric] = DEFAULT_METRICS,
    boxes: Boxes | None = None,
    reference: Reference | None = None,
    batch_size: int = 16,
    keep: int = 8,
    checkpoint: str | os.PathLike[str] | None = None,
    show_progress: bool = True,
) -> Comparison:
    """Score every method by every metric on every image.

    A method or a metric that raises on an image is noted, and the rest goes on.

    Args:
        methods: Methods by the names that they have in tables: presets, Captum's, ours, or a callable (inputs, target,
            additional_forward_args) -> maps. A sequence of presets' names is taken as it is.
        model: A classifier that returns class scores ``(N, C)``; left as it is.
        images: What the model takes, ``(N, C, H, W)``, or a list of ``(C, H, W)`` in several sizes.
        targets: Class that is explained of each image; None for the model's prediction.
        metrics: Names, see :data:`captum_paramsal.metrics.METRICS`, or metrics with settings of their own.
        boxes: Boxes of the objects, for the metrics that need them.
        reference: For the presets that score filters against one.
        batch_size: Images at once.
        keep: Images whose pictures and maps are kept to be drawn, the first ones.
        checkpoint: File that is written after every batch and gone on from if it is there; delete it when all is done.
        show_progress: Show a progress bar.

    Raises:
        InputError: No image, no method, an unknown name, or no boxes where a metric needs them.
        TargetError: Targets that do not name one class per image.
        CheckpointError: A checkpoint of other methods, metrics or images.
    """
    chosen = _metrics(metrics, boxes)
    named = _methods(methods, model, reference)
    task = _Task(named, unwrap(model), chosen, _listed(images), targets, boxes, keep)
    batches = task.batches(batch_size)
    done = _Progress(checkpoint, task)
    bar = tqdm(batches, desc="comparison", disable=not show_progress)
    for batch in bar:
        if not done.has(batch):
            done.add(task.scored(batch))
    return done.finished()


@dataclass(frozen=True, eq=False)
class _Scored:
    """Scores of some of the images, with their numbers."""

    numbers: tuple[int, ...]
    comparison: Comparison


@dataclass(frozen=True, eq=False)
class _Task:
    """What is compared, on what."""

    methods: tuple[NamedMethod, ...]
    model: nn.Module
    metrics: tuple[Metric, ...]
    images: tuple[Tensor, ...]
    targets: Target
    boxes: Boxes | None
    keep: int

    @property
    def columns(self) -> tuple[ColumnNote, ...]:
        """What is measured."""
        measured_by_metrics = (
            ColumnNote(one.name, one.unit, one.better, one.description)
            for metric in self.metrics
            for one in metric.columns
        )
        return (*measured_by_metrics, *COST)

    def batches(self, size: int) -> list[tuple[int, ...]]:
        """Numbers of images of one size that are taken together."""
        if size < 1:
            message = f"Expected `batch_size` of at least 1, got {size}."
            raise InputError(message)
        groups: dict[tuple[int, ...], list[int]] = {}
        for number, image in enumerate(self.images):
            groups.setdefault(tuple(image.shape), []).append(number)
        return [tuple(group[i : i + size]) for group in groups.values() for i in range(0, len(group), size)]

    def scored(self, numbers: tuple[int, ...]) -> _Scored:
        """Every method by every metric on some of the images."""
        images = torch.stack([self.images[number] for number in numbers])
        with scoring_state(self.model), torch.no_grad():
            predicted = self.model(images).argmax(dim=1)
        rows = labels_of(self.targets, len(self.images))
        targets = predicted if rows is None else rows[list(numbers), 0].to(predicted.device)
        batch = self._case(images, targets, numbers)
        parts = [ScoredBatch(method, batch) for method in self.methods]
        scores = [torch.cat([part.scores(self.metrics), part.cost]) for part in parts]
        maps = torch.stack([part.pixels for part in parts])
        yardsticks = self._yardsticks(batch)
        nothing = torch.zeros(len(numbers), dtype=torch.bool)
        kept = [i for i, number in enumerate(numbers) if number < self.keep]
        comparison = Comparison(
            methods=(*(method.name for method in self.methods), *yardsticks),
            columns=self.columns,
            scores=torch.stack([*scores, *yardsticks.values()]),
            degenerate=torch.stack([part.degenerate for part in parts] + [nothing] * len(yardsticks)),
            targets=targets.cpu(),
            predicted=predicted.cpu(),
            agreement=rank_agreement(maps),
            failures=tuple(one for part in parts for one in part.failures),
            kept=tuple(kept),
            pictures=tuple(images[i].cpu() for i in kept),
            maps=tuple(maps[:, i].float() for i in kept),
            context={},
        )
        return _Scored(numbers, comparison)

    def _case(self, images: Tensor, targets: Tensor, numbers: Sequence[int]) -> Case:
        """The images, and maps of nothing."""
        return Case(
            self.model,
            images,
            targets,
            torch.zeros_like(images),
            self.methods[0].explain,
            boxes=self._boxes_of(numbers),
            max_examples_per_batch=max(PASS, len(images)),
        )

    def _yardsticks(self, batch: Case) -> dict[str, Tensor]:
        """What metrics know of pointing or ordering without a method, in rows of the table."""
        rows: dict[str, Tensor] = {}
        names = [column.name for column in self.columns]
        for metric in self.metrics:
            for yardstick, found in metric.yardsticks(batch).items():
                row = rows.setdefault(yardstick, torch.full((len(names), len(batch)), torch.nan).double())
                for name, values in found.items():
                    row[names.index(name)] = values
        return rows

    def _boxes_of(self, numbers: Sequence[int]) -> list[Tensor] | None:
        if self.boxes is None:
            return None
        every = boxes_per_image(self.boxes, len(self.images), may_be_empty=True)
        return [every[number] for number in numbers]

    def run(self) -> dict[str, Any]:
        """What makes this comparison this one and no other."""
        digest = blake2b(digest_size=8)
        for image in self.images:
            digest.update(image.detach().cpu().contiguous().numpy().tobytes())
        rows = labels_of(self.targets, len(self.images))
        return {
            "model": Fingerprint.of(self.model).short,
            "methods": {method.name: method.explain.description for method in self.methods},
            "metrics": [repr(metric) for metric in self.metrics],
            "images": digest.hexdigest(),
            "targets": None if rows is None else rows[:, 0].tolist(),
        }


class _Progress:
    """What is scored already, in memory and in a checkpoint."""

    def __init__(self, path: str | os.PathLike[str] | None, task: _Task) -> None:
        self._path = None if path is None else Path(path)
        self._run = task.run()
        self._scored: list[_Scored] = []
        if self._path is not None and self._path.exists():
            self._scored.append(self._resumed(self._path))

    def has(self, numbers: tuple[int, ...]) -> bool:
        """Whether these images are scored."""
        return any(set(numbers) <= set(one.numbers) for one in self._scored)

    def add(self, scored: _Scored) -> None:
        """Note some images, and write down how far it has come."""
        self._scored.append(scored)
        if self._path is not None:
            joined = self._joined()
            context = {"run": self._run, "numbers": list(joined.numbers)}
            replace(joined.comparison, context=context).save(self._path)

    def finished(self) -> Comparison:
        """All images in the order in which they were given."""
        joined = self._joined()
        order = torch.tensor(joined.numbers).argsort()
        return replace(joined.comparison.reordered(order), context={**self._run, **_versions()})

    def _joined(self) -> _Scored:
        numbers = tuple(number for one in self._scored for number in one.numbers)
        return _Scored(numbers, Comparison.joined([one.comparison for one in self._scored]))

    def _resumed(self, path: Path) -> _Scored:
        try:
            comparison = Comparison.load(path)
        except SourceError as error:
            message = f"Expected a checkpoint of a comparison, but {error} Delete it to begin again."
            raise CheckpointError(message) from error
        if comparison.context.get("run") != self._run:
            found = comparison.context.get("run", {})
            other = ", ".join(name for name, value in self._run.items() if found.get(name) != value)
            message = f"Expected a checkpoint of this comparison in '{path}', got one with other {other}. Delete it."
            raise CheckpointError(message)
        return _Scored(tuple(comparison.context["numbers"]), comparison)


def _versions() -> dict[str, Any]:
    return {
        "versions": {
            "captum_paramsal": captum_paramsal.__version__,
            "captum": version("captum"),
            "torch": torch.__version__,
        }
    }


def _metrics(metrics: Sequence[str | Metric], boxes: Boxes | None) -> tuple[Metric, ...]:
    chosen = tuple(metric_named(metric) if isinstance(metric, str) else metric for metric in metrics)
    lacking = [metric.name for metric in chosen if metric.needs_boxes]
    if lacking and boxes is None:
        message = f"Expected `boxes` for {', '.join(lacking)}, got None. Give them, or leave these metrics out."
        raise InputError(message)
    return chosen


def _methods(
    methods: Mapping[str, Method] | Sequence[str], model: nn.Module, reference: Reference | None
) -> tuple[NamedMethod, ...]:
    named = dict(methods) if isinstance(methods, Mapping) else {name: name for name in methods}
    if not named:
        message = "Expected at least one method, got none."
        raise InputError(message)
    return tuple(_named(name, method, model, reference) for name, method in named.items())


def _named(name: str, method: Method, model: nn.Module, reference: Reference | None) -> NamedMethod:
    if not isinstance(method, str):
        return NamedMethod(name, method if isinstance(method, InputMaps) else InputMaps(method))

    def rebuild(other: nn.Module) -> InputMaps:
        return preset(method, other, None if reference is None else reference.transfer(other))

    return NamedMethod(name, preset(method, model, reference), rebuild)


def _listed(images: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    listed = tuple(images)
    if not listed or not all(isinstance(one, Tensor) and one.ndim == 3 for one in listed):
        got = [tuple(one.shape) if isinstance(one, Tensor) else type(one).__name__ for one in listed[:3]]
        message = f"Expected images (N, C, H, W), or a list of (C, H, W), at least one; got {got}."
        raise InputError(message)
    return listed
