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

MEASURES = ("profile_cosine", "box_iou", "trace_correlation", "saliency_correlation")
"""How similar two checkpoints are on an image, each 1 where they agree in everything."""

_TENSORS = (
    *("images", "group", "labels", "predicted_a", "predicted_b", "salience_a", "salience_b", "similarity"),
    *("overlap", "kept", "trace_maps", "saliency_maps"),
)


@dataclass(frozen=True)
class SaliencyShift:
    """A filter whose saliency differs more on the images of a group than on those that both checkpoints get right.

    Attributes:
        filter: Which.
        salience_a: Its mean standardised saliency in a, on the group's images.
        salience_b: In b.
        difference: How much more salient it is in b, on these images.
        control: The same on images that both get right.
    """

    filter: Filter
    salience_a: float
    salience_b: float
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
        salience_a: Standardised saliency of each filter in a, ``(M, F)``; empty if it could not be had.
        salience_b: In b.
        layers: The L layers of the traces, from the last to the first, then ``"input"``, the pixels.
        overlap: Selected neurons that both traces have, over those that either has, ``(M, L)``; NaN where neither has
            any.
        similarity: By the measures of :data:`MEASURES`, ``(M, 4)``: cosine of the standardised saliency; intersection
            over union of the traces' boxes; rank correlation of their heat maps, and of the maps of input-space
            saliency. NaN where one cannot be had.
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
        """The layer in which each image's traces part: the first from the class score back that differs at all.

        Empty where they have every neuron in common.
        """
        differs = (self.overlap < 1).long()
        first = differs.argmax(dim=1).tolist() if self.layers else [0] * len(self)
        return [self.layers[place] if row.any() else "" for place, row in zip(first, differs, strict=True)]

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
        """The filters whose saliency differs most between the checkpoints, beyond what it does where both are right.

        Args:
            k: How many.
            group: On which images.

        Raises:
            InputError: Another group, or one without images, or no image that both get right.
        """
        chosen, control = self.of_group(group), self.of_group("both")
        if not len(chosen) or not len(control) or not self.salience_a.numel():
            message = (
                f"Expected saliency of images that {group.replace('_', ' ')} gets right and of images that both do, "
                f"got {len(chosen)} and {len(control)} images{self._why('profiles')}."
            )
            raise InputError(message)
        differences = self.salience_b - self.salience_a
        means = [differences[places].double().mean(dim=0) for places in (chosen, control)]
        order = (means[0] - means[1]).abs().argsort(descending=True, stable=True)[:k]
        saliences = [salience[chosen].double().mean(dim=0) for salience in (self.salience_a, self.salience_b)]
        columns = torch.stack([*saliences, *means])
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
            "filters": dict(self.filters.counts),
            "parts": {name: list(names) for name, names in self.filters.parts.items()},
            "bias": self.filters.bias,
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
            filters=FilterIndex(content["filters"], content["parts"], bias=content["bias"]),
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
            if not len(members):
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

    def _why(self, name: str) -> str:
        return f" ({self.refused[name]})" if name in self.refused else ""

    def _facts(self) -> Mapping[str, Any]:
        means = {
            f"{row['measure']}, {row['group']}": row["mean"]
            for row in self.similarity_table()
            if row["group"] != "only_b"
        }
        return {"images": len(self), "layers": self.layers, **means, "refused": tuple(self.refused)}
