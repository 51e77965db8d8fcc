"""What sorting a whole set of mistakes found: a value that is saved, loaded and turned into tables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from typing_extensions import deprecated

from captum_paramsal.errors import InputError
from captum_paramsal.files.kinds import TRIAGE
from captum_paramsal.filters import Filter, FilterIndex
from captum_paramsal.summary import Summarized
from captum_paramsal.triage.set_saliency import SetSaliency

_OF_IMAGES = ("images", "labels", "predicted", "confidence", "groups", "similarity")
_OF_FILTERS = ("superiority", "q_values", "coherence", "excess", "pull")


@dataclass(frozen=True)
class ConfusionPair:
    """Images of one class that are taken for another.

    Attributes:
        label: True class.
        predicted: Predicted class.
        count: Mistakes.
        share: Of all images of the true class.
    """

    label: int
    predicted: int
    count: int
    share: float


@dataclass(frozen=True)
class GuiltyFilter:
    """A filter that stands out in a set of mistakes.

    Attributes:
        filter: Which.
        score: Its ranks by the next three fused, at most 3/11.
        coherence: How far the mistakes' gradients agree, 1 being wholly.
        excess: Mean z-score: how far above the usual its saliency is, in standard deviations.
        pull: Above 0, the loss falls if the filter gets weaker; below 0, if it gets stronger.
        superiority: Chance that it is more salient in a mistake than in a right image of the same class, relative to
            the other filters; over all mistakes.
        q_value: Share of false discoveries among the filters that stand out as much or more; over all mistakes.
    """

    filter: Filter
    score: float
    coherence: float
    excess: float
    pull: float
    superiority: float
    q_value: float


@dataclass(frozen=True, eq=False, repr=False)
class Triage(Summarized):
    """All mistakes of a labelled set of N images, sorted.

    Made by :func:`captum_paramsal.triage.triage`. Set 0 of the filters' values are all M mistakes, set g + 1 is group
    g.

    Attributes:
        filters: What the columns belong to.
        images: Place of each mistake in the set, ``(M,)``.
        labels: True classes, ``(M,)``.
        predicted: Predicted classes, ``(M,)``.
        confidence: Softmax probability of the predicted class, ``(M,)`` float64.
        groups: Group of each mistake, the largest being 0; -1 for none, ``(M,)``.
        similarity: Mean cosine of each mistake's raised filters with those of its group, ``(M,)``; NaN for none.
        class_counts: Images of each class in the set, ``(C,)``.
        superiority: Chance that a filter is more salient in a mistake than in a right image, relative to the image's
            other filters, ``(F,)``.
        q_values: Of that, false discovery rate controlled over filters, ``(F,)``.
        coherence: ``(G + 1, F)``, see :class:`SetSaliency`.
        excess: ``(G + 1, F)``.
        pull: ``(G + 1, F)``.
        context: Model's fingerprint, settings and what was compared with what.
        neighbors: Numbers of the mistakes that are most similar to each, nearest first, ``(M, K)``, K being 5 or, where
            there are fewer others, all of these; None in a file of an earlier version.
        neighbor_similarity: Cosines of their raised filters with its own, ``(M, K)``.
    """

    filters: FilterIndex
    images: Tensor
    labels: Tensor
    predicted: Tensor
    confidence: Tensor
    groups: Tensor
    similarity: Tensor
    class_counts: Tensor
    superiority: Tensor
    q_values: Tensor
    coherence: Tensor
    excess: Tensor
    pull: Tensor
    context: Mapping[str, Any]
    neighbors: Tensor | None = None
    neighbor_similarity: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def group_count(self) -> int:
        """Groups of mistakes, G."""
        return len(self.coherence) - 1

    @property
    def significant(self) -> Tensor:
        """Filters that are more salient in mistakes than in right images, at the level that was asked for, ``(F,)``."""
        significant: Tensor = self.q_values <= self.context["level"]
        return significant

    @property
    def saliency(self) -> SetSaliency:
        """Saliency of every filter for all mistakes and for each group."""
        sizes = [len(self), *((self.groups == group).sum().item() for group in range(self.group_count))]
        return SetSaliency(self.filters, self.coherence, self.excess, self.pull, torch.tensor(sizes))

    def confusion_pairs(self) -> list[ConfusionPair]:
        """Pairs of classes, the most frequent first."""
        pairs, counts = torch.stack([self.labels, self.predicted], dim=1).unique(dim=0, return_counts=True)
        counted = [
            ConfusionPair(label, predicted, count, count / max(int(self.class_counts[label]), 1))
            for (label, predicted), count in zip(pairs.tolist(), counts.tolist(), strict=True)
        ]
        return sorted(counted, key=lambda pair: (-pair.count, -pair.share, pair.label, pair.predicted))

    def guilty(self, group: int | None = None, k: int = 10) -> list[GuiltyFilter]:
        """Filters that stand out in a group of mistakes, or in all of them, the highest score first.

        Raises:
            InputError: No such group.
        """
        row = 0 if group is None else self._group(group) + 1
        scores = self.saliency.of_set(row).score[0]
        blamed = []
        for place in scores.argsort(descending=True, stable=True)[:k].tolist():
            of_group = (scores[place], self.coherence[row, place], self.excess[row, place], self.pull[row, place])
            values = [value.item() for value in (*of_group, self.superiority[place], self.q_values[place])]
            blamed.append(GuiltyFilter(self.filters[place], *values))
        return blamed

    def members(self, group: int) -> Tensor:
        """Numbers of a group's mistakes among all mistakes, the most typical first.

        Raises:
            InputError: No such group.
        """
        places = (self.groups == self._group(group)).nonzero()[:, 0]
        return places[self.similarity[places].argsort(descending=True, stable=True)]

    def _group(self, group: int) -> int:
        if not 0 <= group < self.group_count:
            message = f"Expected a group from 0 to {self.group_count - 1}, got {group}."
            raise InputError(message)
        return group

    @property
    @deprecated("`Triage.likeness` is now `Triage.similarity`; the old name goes with version 0.3.")
    def likeness(self) -> Tensor:
        """``similarity`` by its old name."""
        return self.similarity

    def to_table(self, k: int = 10) -> list[dict[str, Any]]:
        """One row for each of the k guiltiest filters of all mistakes (group None) and of every group."""
        rows = []
        for group in (None, *range(self.group_count)):
            size = len(self) if group is None else len(self.members(group))
            for rank, filter_ in enumerate(self.guilty(group, k), start=1):
                values = {name: getattr(filter_, name) for name in ("score", "coherence", "excess", "pull")}
                shared = {"superiority": filter_.superiority, "q_value": filter_.q_value}
                rows.append(
                    {"group": group, "mistakes": size, "rank": rank, "filter": str(filter_.filter), **values, **shared}
                )
        return rows

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file; an existing one is replaced only when the new one is complete.

        Raises:
            TriageFileError: The file cannot be written.
        """
        tensors = {name: getattr(self, name) for name in (*_OF_IMAGES, "class_counts", *_OF_FILTERS)}
        if self.neighbors is not None and self.neighbor_similarity is not None:
            tensors |= {"neighbors": self.neighbors, "neighbor_similarity": self.neighbor_similarity}
        TRIAGE.save(path, tensors, {**self.filters.to_dict(), "context": dict(self.context)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Triage:
        """Read a file, whole or not at all.

        Raises:
            TriageFileError: No such file, damaged, truncated, or not a triage of a version that is known.
        """
        return TRIAGE.load(path, cls._of)

    @classmethod
    def _of(cls, tensors: dict[str, Tensor], content: dict[str, Any]) -> Triage:
        # Version 0.1 wrote two keys with a space, and another name for the similarity.
        context = {key.replace(" ", "_"): value for key, value in content["context"].items()}
        named = {"similarity" if name == "likeness" else name: tensor for name, tensor in tensors.items()}
        return cls(filters=FilterIndex.from_dict(content), context=context, **named)
