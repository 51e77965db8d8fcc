"""The images in which every filter is most active: what a pass keeps of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from captum_paramsal.errors import ReferenceMismatchError
from captum_paramsal.stats import Peaks

_TENSOR = "exemplar_"
"""Before the names of its tensors in a file."""


@dataclass(frozen=True, eq=False)
class ExemplarTable:
    """The k images in which each of F filters is most active, with the place in each; no picture is kept.

    Attributes:
        k: Images of each filter, at most.
        peaks: Their activations: a filter's column as quantity, an image's number as row.
        active: Images in which each filter's maximum is above 0, ``(F,)`` int64.
        seen: Images in which it could be seen what the filter returns, ``(F,)`` int64.
        classes: How many images there are of each class, by label.
        numbers: First and last number of each run of image numbers that were taken in, ``(R, 2)`` int64.
        names: Names of the images, by number, where the batches told them.
    """

    k: int
    peaks: Peaks
    active: Tensor
    seen: Tensor
    classes: Mapping[int, int]
    numbers: Tensor
    names: Mapping[int, str]

    @property
    def labels(self) -> dict[int, int]:
        """Class of each image that is an exemplar, by its number; -1 for none."""
        return dict(zip(self.peaks.row.tolist(), self.peaks.label.tolist(), strict=True))

    def merge(self, other: ExemplarTable) -> ExemplarTable:
        """Those of two disjoint sets of images together; the order does not matter.

        Raises:
            ReferenceMismatchError: The other keeps another number of images, or both have an image of the same number.
        """
        if self.k != other.k:
            message = f"Expected the other reference to keep {self.k} exemplars of each filter, got one with {other.k}."
            raise ReferenceMismatchError(message)
        numbers = _runs(torch.cat([self.numbers, other.numbers]))
        peaks = Peaks.joined([self.peaks, other.peaks]).highest(self.k)
        names = {**self.names, **other.names}
        return ExemplarTable(
            self.k,
            peaks,
            self.active + other.active,
            self.seen + other.seen,
            dict(sorted((Counter(self.classes) + Counter(other.classes)).items())),
            numbers,
            {number: names[number] for number in peaks.row.unique().tolist() if number in names},
        )

    def to_tensors(self) -> dict[str, Tensor]:
        """What a file keeps of it as tensors."""
        columns = {column.name: value for column, value in zip(fields(Peaks), self.peaks.columns, strict=True)}
        named = columns | {"active": self.active, "seen": self.seen, "numbers": self.numbers}
        return {_TENSOR + name: value for name, value in named.items()}

    def to_dict(self) -> dict[str, Any]:
        """What a file keeps of it beside the tensors, as JSON has it."""
        return {
            "k": self.k,
            "classes": {str(label): count for label, count in self.classes.items()},
            "names": {str(number): name for number, name in self.names.items()},
        }

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], content: Mapping[str, Any]) -> ExemplarTable:
        """Back from both.

        Raises:
            KeyError, TypeError, ValueError: Something is missing, or of another kind.
        """
        named = {name.removeprefix(_TENSOR): value for name, value in tensors.items() if name.startswith(_TENSOR)}
        peaks = Peaks(*(named[column.name] for column in fields(Peaks)))
        classes, names = (
            {int(number): value for number, value in content[part].items()} for part in ("classes", "names")
        )
        return cls(content["k"], peaks, named["active"], named["seen"], classes, named["numbers"], names)


def _runs(runs: Tensor) -> Tensor:
    """Runs of numbers, sorted and joined where one follows the other.

    Raises:
        ReferenceMismatchError: They overlap.
    """
    first, last = runs[runs[:, 0].argsort()].unbind(dim=1)
    overlapping = (first[1:] <= last[:-1]).nonzero()
    if len(overlapping):
        number = int(first[1 + int(overlapping[0])])
        message = (
            f"Expected parts whose images have numbers of their own, got image {number} in more than one of them. Give "
            "the batches of each part as `NumberedBatch`, with the numbers that the images have in the whole."
        )
        raise ReferenceMismatchError(message)
    begins = torch.ones_like(first, dtype=torch.bool)
    begins[1:] = first[1:] > last[:-1] + 1
    return torch.stack([first[begins], last[begins.roll(-1)]], dim=1)


def runs_of(numbers: Tensor) -> Tensor:
    """Single numbers as runs.

    Raises:
        ReferenceMismatchError: One is there twice.

    >>> runs_of(torch.tensor([4, 0, 1, 2])).tolist()
    [[0, 2], [4, 4]]
    """
    return _runs(torch.stack([numbers, numbers], dim=1))
