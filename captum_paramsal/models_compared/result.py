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
from captum_paramsal.summary import Summarized

_TENSORS = ("labels", "predicted_a", "predicted_b", "change", "share", "loss_difference")


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
class ModelComparison(Summarized):
    """Two checkpoints, a and b, on N images; made by :func:`compare_models`.

    Attributes:
        filters: What the columns belong to.
        labels: True classes, ``(N,)``.
        predicted_a: Predicted classes of a, ``(N,)``.
        predicted_b: Those of b, ``(N,)``.
        change: How unusually far each filter moved, ``(F,)``, see
            :func:`captum_paramsal.functional.excess_change`.
        share: Each filter's share in the difference of the mean losses, b less a, on images that only a gets right and
            on those that only b does, ``(2, F)``, see :func:`captum_paramsal.functional.path_shares`; NaN without such
            images.
        loss_difference: These differences, ``(2,)``; what filters leave of them is owed to biases, norms, their
            statistics, and layers that are not scored.
        context: Fingerprints and settings.
    """

    filters: FilterIndex
    labels: Tensor
    predicted_a: Tensor
    predicted_b: Tensor
    change: Tensor
    share: Tensor
    loss_difference: Tensor
    context: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def only_a(self) -> Tensor:
        """Numbers of the images that only a gets right."""
        return ((self.predicted_a == self.labels) & (self.predicted_b != self.labels)).nonzero()[:, 0]

    @property
    def only_b(self) -> Tensor:
        """Numbers of the images that only b gets right."""
        return ((self.predicted_b == self.labels) & (self.predicted_a != self.labels)).nonzero()[:, 0]

    @property
    def both(self) -> Tensor:
        """Numbers of the images that both get right."""
        return ((self.predicted_a == self.labels) & (self.predicted_b == self.labels)).nonzero()[:, 0]

    @property
    def neither(self) -> Tensor:
        """Numbers of the images that neither gets right."""
        return ((self.predicted_a != self.labels) & (self.predicted_b != self.labels)).nonzero()[:, 0]

    @property
    def rest(self) -> Tensor:
        """What of the differences in loss belongs to no filter, ``(2,)``, with the error of the integral."""
        return self.loss_difference - self.share.sum(dim=1)

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
        parts = {name: list(names) for name, names in self.filters.parts.items()}
        content = {
            "filters": dict(self.filters.counts),
            "parts": parts,
            "bias": self.filters.bias,
            "context": dict(self.context),
        }
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
        filters = FilterIndex(content["filters"], content["parts"], bias=content["bias"])
        return cls(filters=filters, context=content["context"], **{name: tensors[name] for name in _TENSORS})

    def _facts(self) -> Mapping[str, Any]:
        right = {"a": self.predicted_a, "b": self.predicted_b}
        return {
            "images": len(self),
            **{f"accuracy of {name}": float((said == self.labels).double().mean()) for name, said in right.items()},
            "right in a only": len(self.only_a),
            "right in b only": len(self.only_b),
            "moved most": [str(row.filter) for row in self.top(3)],
        }
