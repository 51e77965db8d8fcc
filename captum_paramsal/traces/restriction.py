"""What a trace was restricted to, and how large it was before."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.filters import Filter


@dataclass(frozen=True, eq=False)
class Restriction:
    """The filters that a trace goes through, and the size of the whole trace.

    Attributes:
        filters: The filter of each image, N of them.
        counts: Neurons of the whole trace in each layer, by the layer's name, ``(N,)`` int64.
        totals: Sum of their Ω, as far as it is positive, ``(N,)`` float64.
    """

    filters: tuple[Filter, ...]
    counts: Mapping[str, Tensor]
    totals: Mapping[str, Tensor]

    @staticmethod
    def required(restriction: Restriction | None) -> Restriction:
        """That of a restricted trace.

        Raises:
            InputError: There is none.
        """
        if restriction is None:
            message = "Expected a trace that goes through a filter, got a whole one. Give `trace` a filter, `through=`."
            raise InputError(message)
        return restriction

    def described(self) -> tuple[list[list[Any]], dict[str, Tensor]]:
        """What a file keeps: the filters as JSON has them, and tensors by name."""
        tensors = {f"{name}/whole count": count for name, count in self.counts.items()}
        tensors |= {f"{name}/whole total": total for name, total in self.totals.items()}
        return [[item.layer, item.index, item.part] for item in self.filters], tensors

    @classmethod
    def of(cls, filters: Sequence[Sequence[Any]], layers: Iterable[str], tensors: Mapping[str, Tensor]) -> Restriction:
        """Back from :meth:`described`."""
        counts, totals = ({name: tensors[f"{name}/whole {kind}"] for name in layers} for kind in ("count", "total"))
        return cls(tuple(Filter(layer, index, part) for layer, index, part in filters), counts, totals)

    @classmethod
    def joined(cls, parts: Sequence[Restriction]) -> Restriction:
        """Those of the parts of a batch."""
        return cls(
            tuple(item for part in parts for item in part.filters),
            {name: torch.cat([part.counts[name] for part in parts]) for name in parts[0].counts},
            {name: torch.cat([part.totals[name] for part in parts]) for name in parts[0].totals},
        )


def runs_of(layer: str, names: Iterable[str]) -> list[str]:
    """Names that a layer has in a trace: its own, and a numbered one for each further time that it ran.

    >>> runs_of("conv", ["output", "conv2", "conv", "conv#2", "input"])
    ['conv', 'conv#2']
    """
    return [name for name in names if re.fullmatch(rf"{re.escape(layer)}(#\d+)?", name)]
