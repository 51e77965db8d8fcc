"""Which score belongs to which layer and channel."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import accumulate
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, overload

from captum_paramsal.errors import InputError, LayerError, ParamsalError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, order=True)
class Filter:
    """One output slice of a layer's weight.

    Attributes:
        layer: The layer's name in ``model.named_modules()``.
        index: Output channel of a convolution, row of a Linear, or place among the heads of an attention layer.
        part: What the slice is where an index does not say it, not compared; with brackets it is the filter's whole
            name, such as ``"blocks.3.attn.k[head 5]"``.
    """

    layer: str
    index: int
    part: str = field(default="", compare=False)

    def __str__(self) -> str:
        """Layer and index, with the part where there is one; the name of a head.

        >>> print(Filter("layer4.2.conv3", 511))
        layer4.2.conv3[511]
        >>> print(Filter("blocks.3.attn.qkv", 17, "blocks.3.attn.k[head 5]"))
        blocks.3.attn.k[head 5]
        """
        if "[" in self.part:
            return self.part
        return f"{self.layer}[{self.index}]" + (f" ({self.part})" if self.part else "")


class FilterIndex(Sequence[Filter]):
    """The filters of a model in the order of the scores: layer by layer, channel by channel.

    Args:
        counts: Filters of each layer, in the order of ``model.named_modules()``.
        parts: For layers whose slices have names of their own (attention heads), those names.
        bias: Whether the filters have their entry of the layer's bias as one of their weights.

    >>> filters = FilterIndex({"conv1": 2, "conv2": 3})
    >>> len(filters), filters[3]
    (5, Filter(layer='conv2', index=1, part=''))
    >>> filters.index(Filter("conv2", 1))
    3
    """

    def __init__(
        self, counts: Mapping[str, int], parts: Mapping[str, Sequence[str]] | None = None, *, bias: bool = False
    ) -> None:
        self.bias = bias
        self._counts = dict(counts)
        self._parts = {name: tuple(names) for name, names in (parts or {}).items()}
        for name, names in self._parts.items():
            if len(names) != self._counts.get(name):
                message = f"Expected {self._counts.get(name)} part names for layer {name!r}, got {len(names)}."
                raise ParamsalError(message)
        self._starts = [0, *accumulate(self._counts.values())]

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> FilterIndex:
        """Back from :meth:`to_dict`; without ``bias``, as older files are, filters have none.

        Raises:
            KeyError, TypeError, ParamsalError: Something is missing, or of another kind.
        """
        return cls(content["filters"], content["parts"], bias=content.get("bias", False))

    def to_dict(self) -> dict[str, Any]:
        """What a file keeps of the filters, as JSON has it.

        >>> FilterIndex({"conv1": 2}, bias=True).to_dict()
        {'filters': {'conv1': 2}, 'parts': {}, 'bias': True}
        """
        parts = {name: list(names) for name, names in self._parts.items()}
        return {"filters": dict(self._counts), "parts": parts, "bias": self.bias}

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, shallow to deep as the model registers them."""
        return tuple(self._counts)

    @property
    def counts(self) -> Mapping[str, int]:
        """Filters of each layer."""
        return MappingProxyType(self._counts)

    @property
    def parts(self) -> Mapping[str, tuple[str, ...]]:
        """Names of the slices of those layers whose slices have names."""
        return MappingProxyType(self._parts)

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, position: int) -> Filter: ...
    @overload
    def __getitem__(self, position: slice) -> Sequence[Filter]: ...
    def __getitem__(self, position: int | slice) -> Filter | Sequence[Filter]:
        """The filter behind column ``position`` of the scores (a sequence of them for a slice)."""
        if isinstance(position, slice):
            return [self[j] for j in range(*position.indices(len(self)))]
        j = position + len(self) if position < 0 else position
        if not 0 <= j < len(self):
            message = f"Expected a filter number from 0 to {len(self) - 1}, got {position}."
            raise IndexError(message)
        place = bisect_right(self._starts, j) - 1
        layer = self.layers[place]
        index = j - self._starts[place]
        return Filter(layer, index, self._parts[layer][index] if layer in self._parts else "")

    def __iter__(self) -> Iterator[Filter]:
        return (self[j] for j in range(len(self)))

    def __contains__(self, item: object) -> bool:
        return isinstance(item, Filter) and 0 <= item.index < self._counts.get(item.layer, 0)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FilterIndex):
            return False
        return self.bias == other.bias and list(self._counts.items()) == list(other._counts.items())

    def __hash__(self) -> int:
        return hash(tuple(self._counts.items()))

    def __repr__(self) -> str:
        return f"FilterIndex({len(self)} filters in {len(self._counts)} layers)"

    def index(self, item: Filter, start: int = 0, stop: int | None = None) -> int:  # noqa: ARG002 -- Sequence's own
        """Column of the scores that belongs to a filter.

        Raises:
            LayerError: The filter is not one of these.
        """
        if item not in self:
            message = f"Expected a filter of {self!r}, got {item}. Layers: {', '.join(self.layers)}."
            raise LayerError(message)
        return self._starts[self.layers.index(item.layer)] + item.index

    def difference(self, other: FilterIndex) -> str:
        """What differs, in words; empty where nothing does.

        >>> FilterIndex({"conv1": 2}).difference(FilterIndex({"conv1": 3, "conv2": 2}))
        "'conv1' has 3 filters instead of 2; 'conv2' is new"
        """
        differences = [f"{name!r} is missing" for name in self._counts if name not in other._counts]
        differences += [
            f"{name!r} has {other._counts[name]} filters instead of {count}"
            for name, count in self._counts.items()
            if other._counts.get(name, count) != count
        ]
        differences += [f"{name!r} is new" for name in other._counts if name not in self._counts]
        if self.bias != other.bias:
            differences.append(f"biases are {'left out' if self.bias else 'counted in'}")
        if not differences and self != other:
            differences = ["the layers stand in another order"]
        return "; ".join(differences[:5]) + ("; ..." if len(differences) > 5 else "")

    def slice(self, layer: str) -> slice:
        """Columns of the scores that belong to a layer.

        Raises:
            LayerError: No filter of this index belongs to such a layer.
        """
        if layer not in self._counts:
            message = f"Expected a layer of {self!r}, got {layer!r}. Layers: {', '.join(self.layers)}."
            raise LayerError(message)
        place = self.layers.index(layer)
        return slice(self._starts[place], self._starts[place + 1])

    def columns(self, *patterns: str) -> list[int]:
        """Columns of the scores that belong to some layers, in the order of the filters.

        Args:
            *patterns: Names of layers, or glob patterns such as ``"layer4.*"``.

        Raises:
            LayerError: A pattern matches no layer.

        >>> FilterIndex({"stem": 1, "block.conv1": 2, "block.conv2": 1}).columns("block.*")
        [1, 2, 3]
        """
        chosen = set()
        for pattern in patterns:
            matched = [name for name in self._counts if fnmatchcase(name, pattern)]
            if not matched:
                message = f"Expected patterns of {', '.join(self.layers)}, got {pattern!r}, which matches none."
                raise LayerError(message)
            chosen.update(matched)
        return [column for name in self.layers if name in chosen for column in range(len(self))[self.slice(name)]]

    def split(self, scores: Tensor) -> dict[str, Tensor]:
        """Cut scores ``(..., F)`` into one view ``(..., O)`` per layer.

        Raises:
            InputError: The last dimension does not hold one score per filter.
        """
        self._require_scores(scores)
        return dict(zip(self.layers, scores.split(list(self._counts.values()), dim=-1), strict=True))

    def top(self, scores: Tensor, k: int = 10) -> list[list[Filter]]:
        """The k highest-scoring filters of each image, highest first; ties keep the order of the filters.

        Args:
            scores: ``(N, F)``, as ``attribute`` returns them.
            k: How many, at most F.

        Returns:
            N lists of k filters.

        Raises:
            InputError: Scores of another shape, or NaN among them.
            ParamsalError: k below 1 or above F.
        """
        self._require_scores(scores)
        if scores.ndim != 2:
            message = f"Expected scores of shape (N, {len(self)}), got {tuple(scores.shape)}."
            raise InputError(message)
        if not 1 <= k <= len(self):
            message = f"Expected `k` from 1 to {len(self)}, the number of filters, got {k}."
            raise ParamsalError(message)
        if scores.isnan().any():
            row = int(scores.isnan().any(dim=1).nonzero()[0])
            message = f"Expected scores that can be ranked, got NaN for image {row}."
            raise InputError(message)
        order = scores.sort(dim=1, descending=True, stable=True).indices[:, :k]
        return [[self[j] for j in row] for row in order.tolist()]

    def _require_scores(self, scores: Tensor) -> None:
        if scores.ndim == 0 or scores.shape[-1] != len(self):
            message = f"Expected one score per filter, (..., {len(self)}), got {tuple(scores.shape)}."
            raise InputError(message)
