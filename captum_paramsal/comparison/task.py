"""What is compared, on what: batches of images, and every method by every metric on one of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor, nn

from captum_paramsal.batch import ModelInputs, forward_scores
from captum_paramsal.comparison.agreement import rank_agreement
from captum_paramsal.comparison.batch_scores import BatchScores, NamedMethod
from captum_paramsal.comparison.cost import COST
from captum_paramsal.comparison.result import Comparison
from captum_paramsal.errors import InputError
from captum_paramsal.files import Fingerprint
from captum_paramsal.functional import Target, labels_of, scores_at
from captum_paramsal.hooks import frozen_eval
from captum_paramsal.metrics import Boxes, Case, Column, Metric, boxes_per_image
from captum_paramsal.reference import Reference

PASS = 64
"""Altered copies of images in one forward pass of a metric, at most."""

PASS_PIXELS = 8 * 224 * 224
"""Pixels in one pass on the CPU: maps of larger passes are mapped afresh, page by page, at each layer."""


@dataclass(frozen=True, eq=False)
class PartialComparison:
    """Scores of some of the images, with their numbers."""

    numbers: tuple[int, ...]
    comparison: Comparison


@dataclass(frozen=True, eq=False)
class Task:
    """What is compared, on what."""

    methods: tuple[NamedMethod, ...]
    model: nn.Module
    metrics: tuple[Metric, ...]
    images: tuple[Tensor, ...]
    targets: Target
    boxes: Boxes | None
    reference: Reference | None
    batch_size: int
    keep: int

    @property
    def columns(self) -> tuple[Column, ...]:
        """What is measured."""
        return (*(column for metric in self.metrics for column in metric.columns), *COST)

    def batches(self) -> list[tuple[int, ...]]:
        """Numbers of images of one size that are taken together."""
        size = self.batch_size
        if size < 1:
            message = f"Expected `batch_size` of at least 1, got {size}."
            raise InputError(message)
        groups: dict[tuple[int, ...], list[int]] = {}
        for number, image in enumerate(self.images):
            groups.setdefault(tuple(image.shape), []).append(number)
        return [tuple(group[i : i + size]) for group in groups.values() for i in range(0, len(group), size)]

    def scored(self, numbers: tuple[int, ...]) -> PartialComparison:
        """Every method by every metric on some of the images."""
        images = torch.stack([self.images[number] for number in numbers])
        targets, predicted = self._classes(images, numbers)
        batch = self._case(images, targets, numbers)
        parts = [BatchScores(method, batch) for method in self.methods]
        scores = [torch.cat([part.scores(self.metrics), part.cost]) for part in parts]
        maps = torch.stack([part.pixels for part in parts])
        baselines = self._baselines(batch)
        nothing = torch.zeros(len(numbers), dtype=torch.bool)
        kept = [i for i, number in enumerate(numbers) if number < self.keep]
        comparison = Comparison(
            methods=(*(method.name for method in self.methods), *baselines),
            columns=self.columns,
            scores=torch.stack([*scores, *baselines.values()]),
            degenerate=torch.stack([part.degenerate for part in parts] + [nothing] * len(baselines)),
            targets=targets.cpu(),
            predicted=predicted.cpu(),
            agreements=rank_agreement(maps),
            failures=tuple(failure for part in parts for failure in part.failures),
            kept=tuple(kept),
            pictures=tuple(images[i].cpu() for i in kept),
            maps=tuple(maps[:, i].float() for i in kept),
            context={},
        )
        return PartialComparison(numbers, comparison)

    def _classes(self, images: Tensor, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        """What is explained and what is predicted, ``(N,)`` each."""
        with frozen_eval(self.model, gradients=False):
            output = forward_scores(self.model, ModelInputs.of(images), per_place=False, binary=True)
        rows = labels_of(self.targets, len(self.images))
        scores, targets = scores_at(output, None if rows is None else rows[list(numbers)])
        return targets, scores.argmax(dim=1)

    def _case(self, images: Tensor, targets: Tensor, numbers: Sequence[int]) -> Case:
        """The images, and maps of nothing."""
        return Case(
            self.model,
            images,
            targets,
            torch.zeros_like(images),
            self.methods[0].explain,
            boxes=self._boxes_of(numbers),
            max_examples_per_batch=max(_copies_at_once(images), len(images)),
        )

    def _baselines(self, batch: Case) -> dict[str, Tensor]:
        """What metrics know of pointing or ordering without a method, in rows of the table."""
        rows: dict[str, Tensor] = {}
        names = [column.name for column in self.columns]
        for metric in self.metrics:
            for baseline, columns in metric.baselines(batch).items():
                row = rows.setdefault(baseline, torch.full((len(names), len(batch)), torch.nan).double())
                for name, values in columns.items():
                    row[names.index(name)] = values
        return rows

    def _boxes_of(self, numbers: Sequence[int]) -> list[Tensor] | None:
        if self.boxes is None:
            return None
        every = boxes_per_image(self.boxes, len(self.images), may_be_empty=True)
        return [every[number] for number in numbers]

    def identity(self) -> dict[str, Any]:
        """What makes this comparison this one and no other: a checkpoint of another one is refused."""
        rows = labels_of(self.targets, len(self.images))
        return {
            "model": Fingerprint.of(self.model).short,
            "methods": {method.name: method.explain.description for method in self.methods},
            "metrics": [repr(metric) for metric in self.metrics],
            "images": _digest(self.images),
            "boxes": None if self.boxes is None else _digest(self._boxes_of(range(len(self.images))) or ()),
            "reference": None if self.reference is None else _digest((self.reference.mean, self.reference.std)),
            "batch_size": self.batch_size,
            "keep": self.keep,
            "targets": None if rows is None else rows[:, 0].tolist(),
        }


def _copies_at_once(images: Tensor) -> int:
    if images.device.type != "cpu":
        return PASS
    return max(1, min(PASS, PASS_PIXELS // (images.shape[-2] * images.shape[-1])))


def _digest(tensors: Iterable[Tensor]) -> str:
    digest = blake2b(digest_size=8)
    for tensor in tensors:
        whole = tensor.detach().cpu().contiguous()
        digest.update(f"{whole.dtype} {tuple(whole.shape)}".encode())
        digest.update(whole.view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
