"""What differs between two checkpoints on single images: neurons, pixels and salient filters, with a control."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.files.kinds import IMAGE_DIFFERENCES
from captum_paramsal.filters import Filter, FilterIndex
from captum_paramsal.models_compared.answers import GROUPS
from captum_paramsal.stats import bootstrap_difference, bootstrap_mean
from captum_paramsal.summary import Summarized

MEASURES = ("profile_correlation", "box_iou", "trace_correlation", "saliency_correlation")
"""How similar two checkpoints are on an image, each 1 where they agree in everything."""

_TENSORS = (
    *("images", "group", "labels", "predicted_a", "predicted_b", "salience_a", "salience_b", "similarity"),
    *("overlap", "kept", "trace_maps", "saliency_maps"),
)


@dataclass(frozen=True)
class SaliencyShift:
    """A filter that stands out more, or less, in one checkpoint than in the other, on the images of a group.

    Attributes:
        filter: Which.
        standing_a: How far it stands out in a, see :meth:`ImageDifferences.standing`; the mean over the group.
        standing_b: In b.
        difference: How much farther in b, on these images.
        control: The same on images that both get right.
    """

    filter: Filter
    standing_a: float
    standing_b: float
    difference: float
    control: float


@dataclass(frozen=True, eq=False, repr=False)
class ImageDifferences(Summarized):
    """Two checkpoints, a and b, on M images, image by image; made by :func:`compare_on_images`.

    Attributes:
        images: Number of each image among those given, ``(M,)``.
        group: Its group, ``(M,)``: place in :data:`GROUPS`.
        labels: Its true class, which it is explained for in both, ``(M,)``.
        predicted_a: What a says, ``(M,)``.
        predicted_b: What b says, ``(M,)``.
        filters: The filters that are scored.
        salience_a: Standardised saliency of each filter in a, ``(M, F)``.
        salience_b: In b.
        layers: The L layers of the traces, from the last to the first, then ``"input"``, the pixels.
        overlap: Selected neurons that both traces have, over those that either has, ``(M, L)``; NaN where neither has
            any.
        similarity: By the measures of :data:`MEASURES`, ``(M, 4)``: correlation of the standardised saliency over the
            filters; intersection over union of the traces' boxes; rank correlation of their heat maps, and of the maps
            of input-space saliency. NaN where one cannot be had.
        kept: Which images' maps are kept, ``(K,)``, places among the M.
        trace_maps: Heat maps of the traces in a and in b, ``(2, K, H, W)``; empty if the models cannot be traced.
        saliency_maps: Maps of input-space saliency, signed, ``(2, K, H, W)``; empty if there are none.
        refused: What could not be made, by name, and why.
        context: Settings.
    """

    images: Tensor
    group: Tensor
    labels: Tensor
    predicted_a: Tensor
    predicted_b: Tensor
    filters: FilterIndex
    salience_a: Tensor
    salience_b: Tensor
    layers: tuple[str, ...]
    overlap: Tensor
    similarity: Tensor
    kept: Tensor
    trace_maps: Tensor
    saliency_maps: Tensor
    refused: Mapping[str, str]
    context: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.images)

    def of_group(self, group: str) -> Tensor:
        """Places of a group's images among the M.

        Raises:
            InputError: Another group than those of :data:`GROUPS`.
        """
        if group not in GROUPS:
            message = f"Expected a group of images, one of {', '.join(map(repr, GROUPS))}, got {group!r}."
            raise InputError(message)
        return (self.group == GROUPS.index(group)).nonzero()[:, 0]

    @property
    def parting(self) -> list[str]:
        """The layer in which each image's traces part: the first from the class score back with no neuron in common.

        Empty where they have one in every layer.
        """
        apart = self.overlap == 0
        first = apart.long().argmax(dim=1).tolist() if self.layers else [0] * len(self)
        return [self.layers[place] if row.any() else "" for place, row in zip(first, apart, strict=True)]

    def standing(self) -> Tensor:
        """How far each filter stands out among those of its image, in a and in b, ``(2, M, F)`` float64.

        Standardised saliency, standardised once more over the filters of an image: a wrong answer has a larger loss,
        and so larger gradients in every filter, which would be all that differs.
        """
        both = torch.stack([self.salience_a, self.salience_b]).double()
        return (both - both.mean(dim=2, keepdim=True)) / both.std(dim=2, keepdim=True)

    def layer_table(self) -> list[dict[str, Any]]:
        """One row for each layer of the traces and each group: how many of the selected neurons both have.

        ``mean`` with its 95 % interval, in how many images the traces part there, and for groups of images that only
        one gets right the ``difference`` to the control, images that both get right, with its interval.
        """
        parting = self.parting
        rows = self._compared(self.overlap, "layer", self.layers)
        for row in rows:
            places = self.of_group(row["group"]).tolist()
            row["part_there"] = sum(parting[place] == row["layer"] for place in places)
        return rows

    def similarity_table(self) -> list[dict[str, Any]]:
        """One row for each measure and group, as in :meth:`layer_table`."""
        return self._compared(self.similarity, "measure", MEASURES)

    def shifts(self, k: int = 10, group: str = "only_a") -> list[SaliencyShift]:
        """The filters that stand out most differently in both checkpoints, beyond what they do where both are right.

        Args:
            k: How many.
            group: On which images.

        Raises:
            InputError: Another group, or one without images, or no image that both get right.
        """
        chosen, control = self.of_group(group), self.of_group("both")
        if not len(chosen) or not len(control):
            message = (
                f"Expected images of the group {group!r} and images that both get right, got {len(chosen)} and "
                f"{len(control)}."
            )
            raise InputError(message)
        standing = self.standing()
        in_a, in_b = standing[:, chosen].mean(dim=1)
        usual = (standing[1] - standing[0])[control].mean(dim=0)
        order = (in_b - in_a - usual).abs().argsort(descending=True, stable=True)[:k]
        columns = torch.stack([in_a, in_b, in_b - in_a, usual])
        return [SaliencyShift(self.filters[place], *columns[:, place].tolist()) for place in order.tolist()]

    def to_table(self) -> list[dict[str, Any]]:
        """One row for each image: its group, label and both answers, the measures, and where its traces part."""
        columns = (self.images, self.group, self.labels, self.predicted_a, self.predicted_b)
        return [
            {"image": image, "group": GROUPS[group], "label": label, "predicted_a": said_a, "predicted_b": said_b}
            | dict(zip(MEASURES, values, strict=True))
            | {"parts_at": parting}
            for (image, group, label, said_a, said_b), values, parting in zip(
                torch.stack(columns, dim=1).tolist(), self.similarity.tolist(), self.parting, strict=True
            )
        ]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file; an existing one is replaced only when the new one is complete.

        Raises:
            SourceError: The file cannot be written.
        """
        content = {
            **self.filters.to_dict(),
            "layers": list(self.layers),
            "refused": dict(self.refused),
            "context": dict(self.context),
        }
        IMAGE_DIFFERENCES.save(path, {name: getattr(self, name) for name in _TENSORS}, content)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ImageDifferences:
        """Read a file that was saved, whole or not at all.

        Raises:
            SourceError: No such file, damaged, truncated, or of another kind.
        """
        return IMAGE_DIFFERENCES.load(path, cls._of)

    @classmethod
    def _of(cls, tensors: dict[str, Tensor], content: dict[str, Any]) -> ImageDifferences:
        return cls(
            filters=FilterIndex.from_dict(content),
            layers=tuple(content["layers"]),
            refused=content["refused"],
            context=content["context"],
            **{name: tensors[name] for name in _TENSORS},
        )

    def _compared(self, values: Tensor, kind: str, names: tuple[str, ...]) -> list[dict[str, Any]]:
        """Means of each column in every group that has images, and how far they are from the control's."""
        control = values[self.of_group("both")]
        rows = []
        for group in GROUPS:
            members = values[self.of_group(group)]
            if not len(members) or not names:
                continue
            differences = torch.full((3, len(names)), torch.nan, dtype=torch.float64)
            if group != "both" and len(control):
                differences = bootstrap_difference(members, control)
            for place, name in enumerate(names):
                mean, low, high = bootstrap_mean(members[:, place])
                difference, least, most = differences[:, place].tolist()
                rows.append(
                    {kind: name, "group": group, "images": int(members[:, place].isfinite().sum()), "mean": mean}
                    | {"low": low, "high": high, "difference": difference}
                    | {"difference_low": least, "difference_high": most}
                )
        return rows

    def _facts(self) -> Mapping[str, Any]:
        means = {
            f"{row['measure']}, {row['group']}": row["mean"]
            for row in self.similarity_table()
            if row["group"] != "only_b"
        }
        return {"images": len(self), "layers": self.layers, **means, "refused": tuple(self.refused)}
