"""Which images a cure learns from, which choose how far it goes, and which judge it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn

from captum_paramsal.errors import InputError
from captum_paramsal.hooks import frozen_eval
from captum_paramsal.repair.treatment.training_items import TrainingItem, naming, require_some, scores_of

LEAST_JUDGES = 6
"""Mistakes that judge, at least: with fewer, even if all are cured and nothing breaks, chance is not ruled out."""

LEAST_MISTAKES = 12
"""Mistakes in all, at least: six that judge, two that choose and four to learn from."""

LEAST_RIGHT = 20
"""Right images, at least: ten to learn from, four that choose and six that judge."""

_CHOOSE, _JUDGE = 0.2, 0.3


@dataclass(frozen=True, eq=False)
class Images:
    """Labelled images in memory, and what the model says of them.

    Attributes:
        inputs: ``(N, ...)``.
        labels: ``(N,)`` int64.
        scores: Class scores ``(N, C)`` of the untreated model.
        places: Place of each in what was given, ``(N,)``.
    """

    inputs: Tensor
    labels: Tensor
    scores: Tensor
    places: Tensor

    @classmethod
    def of(cls, model: nn.Module, batches: Iterable[Any], name: str) -> Images:
        """Read batches (inputs, labels) once, and run the model, which is in evaluation mode.

        Raises:
            InputError: No batches, or images that the model cannot take.
            TargetError: Labels that do not name one class of the model per image.
        """
        items, scores = [], []
        with torch.no_grad():
            for number, raw in enumerate(batches):
                with naming(number, name):
                    items.append(TrainingItem.of(raw, model))
                    scores.append(scores_of(model, items[-1]))
        require_some(len(items), name)
        labels = torch.cat([item.labels for item in items])
        places = torch.arange(len(labels), device=labels.device)
        return cls(torch.cat([item.inputs for item in items]), labels, torch.cat(scores), places)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: Tensor | slice) -> Images:
        return Images(self.inputs[chosen], self.labels[chosen], self.scores[chosen], self.places[chosen])

    @property
    def right(self) -> Tensor:
        """Which the untreated model gets right, ``(N,)`` bool."""
        return self.scores.argmax(dim=1) == self.labels

    def batches(self, size: int) -> list[tuple[Tensor, Tensor]]:
        """Batches (inputs, labels)."""
        return list(zip(self.inputs.split(size), self.labels.split(size), strict=True))


@dataclass(frozen=True, eq=False)
class Division:
    """Images in three parts that have none in common.

    Attributes:
        learn: What weights are changed by.
        choose: What decides how far they are changed.
        judge: What accepts or refuses the change.
    """

    learn: Images
    choose: Images
    judge: Images

    def __len__(self) -> int:
        return len(self.learn) + len(self.choose) + len(self.judge)

    @classmethod
    def of(cls, images: Images, seed: int, least_judges: int = 1) -> Division:
        """At random: half to learn from, a fifth to choose by, the rest to judge by.

        >>> some = Images(torch.zeros(20, 1), torch.zeros(20).long(), torch.zeros(20, 2), torch.arange(20))
        >>> parts = Division.of(some, seed=0)
        >>> len(parts.learn), len(parts.choose), len(parts.judge)
        (10, 4, 6)
        """
        count = len(images)
        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).to(images.labels.device)
        judges = min(count, max(least_judges, ceil(_JUDGE * count)))
        choosers = min(count - judges, ceil(_CHOOSE * count))
        judge, choose, learn = order.split([judges, choosers, count - judges - choosers])
        return cls(images[learn], images[choose], images[judge])

    @property
    def right(self) -> Division:
        """Those of each part that the untreated model gets right."""
        return Division(*(part[part.right] for part in (self.learn, self.choose, self.judge)))

    @property
    def every_part(self) -> bool:
        """Whether no part is empty."""
        return all(map(len, (self.learn, self.choose, self.judge)))


@dataclass(frozen=True, eq=False)
class CureImages:
    """What a cure is given, divided.

    Attributes:
        mistakes: Images that the model gets wrong.
        keep: Images that it gets right.
        left_out: Of what was given as mistakes, places of those that it gets right, and of what was given to keep, of
            those that it gets wrong.
    """

    mistakes: Division
    keep: Division
    left_out: Mapping[str, Tensor]

    @classmethod
    def of(cls, model: nn.Module, mistakes: Iterable[Any], keep: Iterable[Any], seed: int) -> CureImages:
        """Read and divide.

        Raises:
            InputError: No images, images that the model cannot take, or too few of them right.
            TargetError: Labels that do not name one class of the model per image.
        """
        with frozen_eval(model):
            wrong, right = Images.of(model, mistakes, "mistakes"), Images.of(model, keep, "keep")
        # Which images judge does not depend on the model: what teaches one cure does not judge the next.
        kept = Division.of(right, seed).right
        if len(kept) < LEAST_RIGHT or not kept.every_part:
            message = (
                f"Expected at least {LEAST_RIGHT} images in `keep` that the model gets right, got {len(kept)} of "
                f"{len(right)}, and of these {len(kept.learn)} to learn from, {len(kept.choose)} to choose by and "
                f"{len(kept.judge)} to judge by: check labels and preprocessing, or give more."
            )
            raise InputError(message)
        return cls(
            Division.of(wrong[~wrong.right], seed, LEAST_JUDGES),
            kept,
            {"mistakes": wrong.places[wrong.right], "keep": right.places[~right.right]},
        )

    @property
    def parts(self) -> dict[str, dict[str, Tensor]]:
        """Places in what was given, int64."""
        return {
            name: {
                "learn": of.learn.places.cpu(),
                "choose": of.choose.places.cpu(),
                "judge": of.judge.places.cpu(),
                "left out": self.left_out[name].cpu(),
            }
            for name, of in (("mistakes", self.mistakes), ("keep", self.keep))
        }
