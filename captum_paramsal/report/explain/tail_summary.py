"""How well the tails of the filters fit, in a few numbers and the tails of a few filters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from captum_paramsal.attr import POTSaliency
from captum_paramsal.filters import Filter
from captum_paramsal.report.shared.codec import INLINE
from captum_paramsal.stats import UpperTail, median

_MISFIT = 0.05


@dataclass(frozen=True)
class TailExample:
    """One filter's tail, whole, for a picture.

    Attributes:
        filter: The filter.
        excesses: How far its values over the reference lie above its threshold, in units of loss per weight, falling.
        shape: ξ of the fit.
        scale: Scale of the fit, in the unit of the excesses.
        goodness_of_fit: p-value of the Anderson-Darling test.
    """

    filter: Filter = field(metadata=INLINE)
    excesses: tuple[float, ...]
    shape: float
    scale: float
    goodness_of_fit: float


@dataclass(frozen=True)
class TailSummary:
    """The tails of all filters together.

    Attributes:
        fit: "mle" or "exponential".
        fraction: Share of the reference's images in each tail.
        images: Images of the reference.
        excesses: Excesses of the middle filter (median).
        dead: Filters without any excess, which have no tail and are never ranked first.
        few: Filters with fewer than 20 excesses, whose tails are taken as exponential.
        tested: Filters whose fit was tested.
        misfits: Those of them whose Anderson-Darling p-value is below 0.05; where every tail fits, 5 % of them.
        shapes: ξ of the filters: 5th, 50th and 95th percentile.
        examples: Tails of the most often guilty filters.
    """

    fit: str
    fraction: float
    images: int
    excesses: float
    dead: int
    few: int
    tested: int
    misfits: int
    shapes: tuple[float, ...]
    examples: tuple[TailExample, ...]


def summarize_tails(saliency: POTSaliency, tail: UpperTail, fit: str, guilty: Sequence[int]) -> TailSummary:
    """Look at the tails as a whole, and at those of some filters.

    Args:
        saliency: Whose tails.
        tail: What they were fitted to.
        fit: How.
        guilty: Columns of the filters to keep whole.
    """
    tails = saliency.tails
    count, quality = tails.pareto.count, tails.goodness_of_fit
    living = count > 0
    tested = living & ~tails.pareto.fallback & ~quality.isnan()
    shapes = tails.pareto.shape[living]
    percentiles = torch.tensor([0.05, 0.5, 0.95], dtype=shapes.dtype)
    return TailSummary(
        fit=fit,
        fraction=tail.fraction,
        images=tail.count,
        excesses=float(median(count[living])) if living.any() else 0.0,
        dead=int((~living).sum()),
        few=int((living & tails.pareto.fallback).sum()),
        tested=int(tested.sum()),
        misfits=int((quality[tested] < _MISFIT).sum()),
        shapes=tuple(round(value, 4) for value in shapes.quantile(percentiles).tolist()) if len(shapes) else (),
        examples=tuple(_example(saliency, tail, column) for column in guilty if living[column]),
    )


def _example(saliency: POTSaliency, tail: UpperTail, column: int) -> TailExample:
    tails = saliency.tails
    values = tail.values[column].double() - tail.threshold[column].double()
    excesses = tuple(float(f"{value:.5g}") for value in values[values > 0].tolist())
    fit = (tails.pareto.shape[column].item(), tails.pareto.scale[column].item())
    quality = tails.goodness_of_fit[column].nan_to_num().item()
    return TailExample(saliency.filters[column], excesses, *fit, quality)
