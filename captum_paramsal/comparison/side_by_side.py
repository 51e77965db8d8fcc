"""Two comparisons of the same images as one: methods that were added later."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from captum_paramsal.errors import InputError

if TYPE_CHECKING:
    from captum_paramsal.comparison.result import ColumnNote, Comparison

_SAME = ("model", "images", "targets", "boxes")
"""What of the context has to be the same."""


def beside(first: Comparison, second: Comparison) -> Comparison:
    """The methods of both on the images of both; see :meth:`Comparison.beside`."""
    _require_same_images(first, second)
    explained = len(first.agreement), len(second.agreement)
    twice = set(first.methods[: explained[0]]) & set(second.methods[: explained[1]])
    if twice:
        message = f"Expected methods of different names, got {', '.join(sorted(twice))} in both."
        raise InputError(message)
    columns = list({column.name: column for column in (*first.columns, *second.columns)}.values())
    both = [_widened(one, columns) for one in (first, second)]
    # Methods with maps stand in front; yardsticks of the second that the first has too are left out.
    yardsticks = [
        place
        for place in range(explained[1], len(second.methods))
        if second.methods[place] not in first.methods[explained[0] :]
    ]
    rows = [
        both[0][: explained[0]],
        both[1][: explained[1]],
        both[0][explained[0] :],
        both[1][yardsticks],
    ]
    empty = [
        first.degenerate[: explained[0]],
        second.degenerate[: explained[1]],
        first.degenerate[explained[0] :],
        second.degenerate[yardsticks],
    ]
    shown = [number for number in first.kept if number in second.kept]
    return replace(
        first,
        methods=(
            *first.methods[: explained[0]],
            *second.methods[: explained[1]],
            *first.methods[explained[0] :],
            *(second.methods[place] for place in yardsticks),
        ),
        columns=tuple(columns),
        scores=torch.cat(rows),
        degenerate=torch.cat(empty),
        agreements=_agreements(first.agreements, second.agreements),
        failures=(*first.failures, *second.failures),
        kept=tuple(shown),
        pictures=tuple(first.pictures[first.kept.index(number)] for number in shown),
        maps=tuple(
            torch.cat([first.maps[first.kept.index(number)], second.maps[second.kept.index(number)]])
            for number in shown
        ),
        context={**first.context, "beside": dict(second.context)},
    )


def _require_same_images(first: Comparison, second: Comparison) -> None:
    other = [name for name in _SAME if first.context.get(name) != second.context.get(name)]
    if len(first) != len(second):
        other.append(f"number of images, {len(first)} and {len(second)}")
    elif not (first.targets.equal(second.targets) and first.predicted.equal(second.predicted)):
        other.append("classes")
    if other:
        message = f"Expected comparisons of the same images by the same model, got other {', '.join(other)}."
        raise InputError(message)


def _widened(one: Comparison, columns: list[ColumnNote]) -> Tensor:
    """Scores with all columns, NaN where one was not measured."""
    names = [column.name for column in columns]
    scores = torch.full((len(one.methods), len(columns), len(one)), torch.nan, dtype=torch.float64)
    scores[:, [names.index(column.name) for column in one.columns]] = one.scores
    return scores


def _agreements(first: Tensor, second: Tensor) -> Tensor:
    """NaN between methods of the two, whose maps are gone."""
    count, size = first.shape[1], first.shape[1] + second.shape[1]
    both = first.new_full((len(first), size, size), torch.nan)
    both[:, :count, :count], both[:, count:, count:] = first, second
    return both
