"""How two checkpoints differ: a value that is saved, loaded and turned into a table."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.files.kinds import MODEL_COMPARISON
from captum_paramsal.filters import Filter, FilterIndex
from captum_paramsal.models_compared.answers import Answers
from captum_paramsal.summary import Summarized

_TENSORS = (
    *("labels", "predicted_a", "predicted_b", "change", "share", "loss_difference"),
    *("norm_shift", "norm_share", "other_share"),
)
_UNKNOWN = ("unknown",)
"""The norms of a file of version 1, which says nothing of them."""
_MOVED = 1e-6
"""Standard deviations below which running statistics have not moved but by rounding."""


@dataclass(frozen=True)
class ChangedFilter:
    """A filter that differs between two checkpoints.

    Attributes:
        filter: Which.
        change: How much farther it moved than the filters of its layer usually did, in lengths of an average filter.
        share_only_a: Its share of how much larger the loss of b is on the images that only a gets right; NaN without.
        share_only_b: The same on the images that only b gets right, below 0 where the filter is better in b.
    """

    filter: Filter
    change: float
    share_only_a: float
    share_only_b: float


@dataclass(frozen=True, eq=False, repr=False)
class ModelComparison(Answers, Summarized):
    """Two checkpoints, a and b, on N images; made by :func:`compare_models`.

    Attributes:
        labels: True classes, ``(N,)``.
        predicted_a: Predicted classes of a, ``(N,)``.
        predicted_b: Those of b, ``(N,)``.
        filters: What the columns belong to.
        change: How unusually far each filter moved, ``(F,)``, see
            :func:`captum_paramsal.functional.excess_change`.
        share: Each filter's share in the difference of the mean losses, b less a, on images that only a gets right and
            on those that only b does, ``(2, F)``, see :func:`captum_paramsal.functional.path_shares`; NaN without such
            images.
        loss_difference: These differences, ``(2,)``; :meth:`loss_table` says what they are made of.
        norms: Names of the K layers that normalize.
        norm_shift: How far their running statistics moved, ``(K,)``, see
            :func:`captum_paramsal.functional.statistics_shift`; NaN for norms without any.
        norm_share: Shares of their weights and of their running statistics in the differences, ``(2, 2, K)``.
        other_share: Shares of all other parameters, ``(2,)``: biases, and layers that are not scored.
        context: Fingerprints and settings; ``left_out`` names further buffers that differ, which have no share.
    """

    filters: FilterIndex
    change: Tensor
    share: Tensor
    loss_difference: Tensor
    norms: tuple[str, ...]
    norm_shift: Tensor
    norm_share: Tensor
    other_share: Tensor
    context: Mapping[str, Any]

    @property
    def rest(self) -> Tensor:
        """What of the differences in loss belongs to no filter, ``(2,)``, with the error of the integral."""
        return self.loss_difference - self.share.sum(dim=1)

    @property
    def moved_norms(self) -> list[str]:
        """Names of the norms whose running statistics differ, those that moved farthest first."""
        shifts = self.norm_shift.nan_to_num()
        order = shifts.argsort(descending=True, stable=True).tolist()
        return [self.norms[place] for place in order if shifts[place] > _MOVED]

    def loss_table(self) -> list[dict[str, Any]]:
        """What the differences of the mean loss, b less a, are made of: one row for each part of the network.

        ``filters``, weights of norms, running statistics of norms, all other parameters, and what is left: buffers that
        have no share, and the error of the integral. The rows of a column add up to :attr:`loss_difference`.
        """
        parts = {
            "filters": self.share.sum(dim=1),
            "norm weights": self.norm_share[:, 0].sum(dim=1),
            "norm statistics": self.norm_share[:, 1].sum(dim=1),
            "other parameters": self.other_share,
        }
        parts["left over"] = self.loss_difference - sum(parts.values())
        return [{"part": name, "only_a": float(on_a), "only_b": float(on_b)} for name, (on_a, on_b) in parts.items()]

    def top(self, k: int = 10, by: Literal["change", "loss"] = "change") -> list[ChangedFilter]:
        """The filters that differ most.

        Args:
            k: How many.
            by: ``"change"``, how unusually far they moved, which finds a fault best where everything was retrained; or
                ``"loss"``, their shares in the larger loss of b on images that only a gets right.

        Raises:
            InputError: Another ranking, or ``"loss"`` and no image that only a gets right.
        """
        if by not in ("change", "loss"):
            message = f"Expected `by` to be 'change' or 'loss', got {by!r}."
            raise InputError(message)
        if by == "loss" and not len(self.only_a):
            message = "Expected images that only a gets right for by='loss', got none. Take by='change'."
            raise InputError(message)
        order = (self.change if by == "change" else self.share[0]).argsort(descending=True, stable=True)
        columns = torch.stack([self.change, *self.share]).double()
        return [ChangedFilter(self.filters[place], *columns[:, place].tolist()) for place in order[:k].tolist()]

    def to_table(self, k: int = 10, by: Literal["change", "loss"] = "change") -> list[dict[str, Any]]:
        """One row for each filter of :meth:`top`.

        Raises:
            InputError: See :meth:`top`.
        """
        names = ("change", "share_only_a", "share_only_b")
        return [
            {"rank": rank, "filter": str(row.filter), **{name: getattr(row, name) for name in names}}
            for rank, row in enumerate(self.top(k, by), start=1)
        ]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file; an existing one is replaced only when the new one is complete.

        Raises:
            SourceError: The file cannot be written.
        """
        content = {**self.filters.to_dict(), "norms": list(self.norms), "context": dict(self.context)}
        MODEL_COMPARISON.save(path, {name: getattr(self, name) for name in _TENSORS}, content)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ModelComparison:
        """Read a file that was saved, whole or not at all.

        Raises:
            SourceError: No such file, damaged, truncated, or of another kind.
        """
        return MODEL_COMPARISON.load(path, cls._of)

    @classmethod
    def _of(cls, tensors: dict[str, Tensor], content: dict[str, Any]) -> ModelComparison:
        filters = FilterIndex.from_dict(content)
        norms = tuple(content.get("norms", _UNKNOWN))
        if norms == _UNKNOWN:
            tensors |= {
                name: torch.full(shape, torch.nan, dtype=torch.float64)
                for name, shape in (("norm_shift", (1,)), ("norm_share", (2, 2, 1)), ("other_share", (2,)))
            }
        known = {name: tensors[name] for name in _TENSORS}
        return cls(filters=filters, norms=norms, context=content["context"], **known)

    def _facts(self) -> Mapping[str, Any]:
        right = {"a": self.right_a, "b": self.right_b}
        return {
            "images": len(self),
            **{f"accuracy of {name}": float(mask.double().mean()) for name, mask in right.items()},
            "right in a only": len(self.only_a),
            "right in b only": len(self.only_b),
            "moved most": [str(row.filter) for row in self.top(3)],
            "norms whose statistics differ": len(self.moved_norms),
        }
