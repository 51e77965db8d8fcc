"""A choice between ways to compute the same numbers, made by measuring them once on the machine at hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch
from torch import Tensor

ROUNDS = 3
"""Times that each way is measured, in turns."""

FASTER = 0.9
"""Share of the usual way's time that another has to stay below."""

REMEMBERED = 1024
"""Tasks of different shapes that are remembered; from then on the usual way is taken for new ones."""


Way = TypeVar("Way", bound=Hashable)


@dataclass
class MeasuredChoice(Generic[Way]):
    """The fastest of several ways to compute the same numbers, for each shape, remembered while the process runs.

    A shape is measured once enough of it was computed that measuring is a small part of the work. A way competes only
    if its result is that of the usual way to the last bit, so that no result depends on what was fastest.

    Attributes:
        usual: The way before anything was measured.
        others: What may be faster.
        patience: How many times the work of one measured run a shape must have been before it is measured.

    >>> choice = MeasuredChoice(usual=1, others=(2,), patience=0)
    >>> choice.of("sums", work=1, sample=lambda size: torch.arange(8.0).sum()) in (1, 2)
    True
    """

    usual: Way
    others: Sequence[Way]
    patience: float = 24
    _work: dict[Hashable, float] = field(default_factory=dict)
    _chosen: dict[Hashable, Way] = field(default_factory=dict)

    def of(self, shape: Hashable, work: float, sample: Callable[[Way], Tensor]) -> Way:
        """The way to take for a shape.

        Args:
            shape: What tells tasks apart whose times differ; the number of threads is added.
            work: Work that is about to be done, as a multiple of what ``sample`` does.
            sample: A small part of the work, done the way that it is given.
        """
        key = (shape, torch.get_num_threads())
        if key in self._chosen:
            return self._chosen[key]
        if key not in self._work and len(self._work) >= REMEMBERED:
            return self.usual
        self._work[key] = self._work.get(key, 0.0) + work
        if self._work[key] < self.patience:
            return self.usual
        self._chosen[key] = self._fastest(sample)
        return self._chosen[key]

    def _fastest(self, sample: Callable[[Way], Tensor]) -> Way:
        expected = sample(self.usual)
        alike = [way for way in self.others if torch.equal(sample(way), expected)]
        seconds = {way: float("inf") for way in (self.usual, *alike)}
        for _ in range(ROUNDS):
            for way, fewest in seconds.items():
                start = time.perf_counter()
                sample(way)
                seconds[way] = min(fewest, time.perf_counter() - start)
        best = min(seconds, key=seconds.__getitem__)
        return best if seconds[best] < FASTER * seconds[self.usual] else self.usual
