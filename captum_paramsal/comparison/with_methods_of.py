"""Two comparisons of the same images as one: methods that were added later."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from captum_paramsal.errors import InputError

if TYPE_CHECKING:
    from captum_paramsal.comparison.result import Comparison
    from captum_paramsal.metrics import Column

_SAME = ("model", "images", "targets", "boxes")
"""What of the context has to be the same."""


def with_methods_of(first: Comparison, second: Comparison) -> Comparison:
    """The methods of both on the images of both; see :meth:`Comparison.with_methods_of`."""
    _require_same_images(first, second)
    explained, added = len(first.agreement), len(second.agreement)
    twice = set(first.methods[:explained]) & set(second.methods[:added])
    if twice:
        message = f"Expected methods of different names, got {', '.join(sorted(twice))} in both."
        raise InputError(message)
    columns = list({column.name: column for column in (*first.columns, *second.columns)}.values())
    methods, start = (*first.methods, *second.methods), len(first.methods)
    # Methods with maps come first; baselines of the second that the first has too are left out.
    rows = [
        *range(explained),
        *range(start, start + added),
        *range(explained, start),
        *(row for row in range(start + added, len(methods)) if methods[row] not in first.methods[explained:]),
    ]
    kept = [number for number in first.kept if number in second.kept]
    shown = [(first.kept.index(number), second.kept.index(number)) for number in kept]
    return replace(
        first,
        methods=tuple(methods[row] for row in rows),
        columns=tuple(columns),
        scores=torch.cat([_widened(first, columns), _widened(second, columns)])[rows],
        degenerate=torch.cat([first.degenerate, second.degenerate])[rows],
        agreements=_agreements(first.agreements, second.agreements),
        failures=(*first.failures, *second.failures),
        kept=tuple(kept),
        pictures=tuple(first.pictures[place] for place, _ in shown),
        maps=tuple(torch.cat([first.maps[place], second.maps[other]]) for place, other in shown),
        context={**first.context, "with_methods_of": dict(second.context)},
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


def _widened(part: Comparison, columns: list[Column]) -> Tensor:
    """Scores with all columns, NaN where one was not measured."""
    names = [column.name for column in columns]
    scores = torch.full((len(part.methods), len(columns), len(part)), torch.nan, dtype=torch.float64)
    scores[:, [names.index(column.name) for column in part.columns]] = part.scores
    return scores


def _agreements(first: Tensor, second: Tensor) -> Tensor:
    """NaN between methods of the two, whose maps are gone."""
    count, size = first.shape[1], first.shape[1] + second.shape[1]
    both = first.new_full((len(first), size, size), torch.nan)
    both[:, :count, :count], both[:, count:, count:] = first, second
    return both
