"""Which neurons before a layer with weights carried its selected neurons: Ω and its three supports."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, fx

from captum_paramsal.functional.receptive_fields import distinct
from captum_paramsal.graph.sites import Sites
from captum_paramsal.graph.step import Step

_SLACK = 1e-3
"""A limit that is computed in single precision may lie a rounding below what it limits."""


@dataclass(frozen=True)
class Candidates:
    """Neurons of a layer's input that may have carried M of its output; C for each.

    Attributes:
        current: Z_cur, what each contributes, ``(M, C)``.
        first: Index of the first candidate of each, ``(M,)``.
        offsets: From there to each candidate's index, ``(C,)``; or the distance from one to the next.
        keep: Most that are kept for each; None for all.
        only_way: Whether each neuron's one candidate is kept whatever its Ω.
        seen: Which of them the neuron sees, ``(M, C)``; None for all.
    """

    current: Tensor
    first: Tensor
    offsets: Tensor | int
    keep: int | None
    only_way: bool = False
    seen: Tensor | None = None

    @property
    def steps(self) -> Tensor:
        """From the first candidate's index to each one's, ``(C,)``."""
        if isinstance(self.offsets, Tensor):
            return self.offsets
        return self.offsets * torch.arange(self.current.shape[1], device=self.first.device)

    def __getitem__(self, rows: Tensor) -> Candidates:
        seen = None if self.seen is None else self.seen[rows]
        return replace(self, current=self.current[rows], first=self.first[rows], seen=seen)


def select(step: Step, source: fx.Node, sites: Sites, candidates: Candidates) -> Sites:
    """The candidates with the largest positive Ω for each neuron, together.

    ``Ω = α_suc Z_suc (α_cur Z_cur + α_pre Z_pre)``; without weights ``Ω = Z_cur``.
    """
    if not step.settings.active_only:
        return _among(step, source, sites, candidates)
    selected = _among(step, source, sites, candidates)
    # Of an image whose trace would end here, neurons that are switched off may go on.
    ended = sites.image[~torch.isin(sites.image, selected.image)].unique()
    if not len(ended):
        return selected
    rows = torch.isin(sites.image, ended)
    anyone = replace(step, settings=replace(step.settings, active_only=False))
    return Sites.side_by_side([selected, _among(anyone, source, sites[rows], candidates[rows])])


def _among(step: Step, source: fx.Node, sites: Sites, candidates: Candidates) -> Sites:
    """The same, among the candidates that the settings allow."""
    current, weights = candidates.current, step.settings.weights
    if weights is None and not step.settings.active_only:
        return _strongest(step, source, sites, candidates)
    rows = _Rows.of(step, source, sites, candidates)
    allowed = rows.allowed(candidates.seen)
    preceding, succeeding, score = torch.zeros_like(current), torch.ones_like(current), current
    if weights is not None:
        succeeding = _succeeding(current.masked_fill(~allowed, -torch.inf), rows).index_select(0, rows.owner)
        factor = weights.succeeding * succeeding
        score = factor * weights.current * current
        # Z_pre costs more than all else together, so it is asked for only where it can still change the choice.
        if weights.preceding:
            factor = factor * weights.preceding
            allowed = allowed & _contenders(rows, score.masked_fill(~allowed, -torch.inf), factor, candidates.keep)
            preceding = rows.preceding(rows.asked(allowed)).index_select(0, rows.owner)
            score = score + factor * preceding
    neuron, channel = _kept(score.masked_fill(~allowed, -torch.inf), candidates)
    supports = torch.stack([part[neuron, channel] for part in (score, current, preceding, succeeding)], dim=1)
    index, values = rows.index[rows.owner[neuron], channel], rows.values[rows.owner[neuron], channel]
    return _chosen(sites, neuron, index, values, supports, only_way=candidates.only_way)


def _strongest(step: Step, source: fx.Node, sites: Sites, candidates: Candidates) -> Sites:
    """The candidates with the largest positive contribution: no other value of theirs is asked for."""
    score = candidates.current
    if candidates.seen is not None:
        score = score.masked_fill(~candidates.seen, -torch.inf)
    neuron, channel = _kept(score, candidates)
    index, best = candidates.first[neuron] + candidates.steps[channel], score[neuron, channel]
    supports = torch.stack([best, best, torch.zeros_like(best), torch.ones_like(best)], dim=1)
    values = step.run.tensor(source).reshape(-1)[index]
    return _chosen(sites, neuron, index, values, supports, only_way=candidates.only_way)


def _kept(score: Tensor, candidates: Candidates) -> tuple[Tensor, Tensor]:
    """Neuron and number of each candidate that is kept; of those that are none, the score ``(M, C)`` is -inf.

    Ω of 0 or below is no evidence: such candidates are dropped even where fewer than ``keep`` are left. A depthwise
    convolution leaves nothing to choose: like an activation, it hands on its one channel, whatever its share.
    """
    best, places = _top(score, candidates.keep)
    neuron, rank = (best > (-torch.inf if candidates.only_way else 0)).nonzero(as_tuple=True)
    return neuron, places[neuron, rank]


def _chosen(sites: Sites, neuron: Tensor, index: Tensor, values: Tensor, supports: Tensor, *, only_way: bool) -> Sites:
    """The neurons that are kept, from the neuron that each is kept for, their values and supports."""
    # A negative value that supports the neuron, or that is all there is, leads on to what made it negative.
    turned = (values < 0) & ((supports[:, 1] > 0) | only_way)
    origin = None if sites.origin is None else sites.origin[neuron]
    return Sites(sites.image[neuron], index, torch.where(turned, -1.0, 1.0).to(supports.dtype), supports, origin)


@dataclass(frozen=True)
class _Rows:
    """Candidates by their place, which neurons may share: R rows of C candidates.

    Attributes:
        step: The layer.
        source: What the candidates are neurons of.
        image: Image of each row.
        index: Index of each candidate, ``(R, C)``.
        values: Value of each candidate, ``(R, C)``.
        possible: Which of them are candidates, ``(R, C)``.
        owner: Row of each selected neuron, ``(M,)``.
    """

    step: Step
    source: fx.Node
    image: Tensor
    index: Tensor
    values: Tensor
    possible: Tensor
    owner: Tensor

    @classmethod
    def of(cls, step: Step, source: fx.Node, sites: Sites, candidates: Candidates) -> _Rows:
        # Neurons of one place share their candidates; each place is looked up once, whatever their number.
        (image, first), owner = distinct(sites.image, (candidates.first, step.shape_of(source).numel()))
        index = first[:, None] + candidates.steps
        values = step.run.tensor(source).reshape(-1)[index]
        possible = torch.ones_like(index, dtype=torch.bool)
        if step.settings.active_only:
            active = values > 0
            # Without an active one, as in a depthwise convolution that is off at the centre, all are candidates.
            possible = active | ~active.any(dim=1, keepdim=True)
        return cls(step, source, image, index, values, possible, owner)

    def allowed(self, seen: Tensor | None) -> Tensor:
        """Candidates of each neuron, ``(M, C)``: of those that it sees."""
        possible = self.possible.index_select(0, self.owner)
        if seen is None:
            return possible
        both = possible & seen
        return torch.where(both.any(dim=1, keepdim=True), both, seen)

    def asked(self, chosen: Tensor) -> Tensor:
        """From a choice for each neuron ``(M, C)`` to one for each row."""
        neuron, channel = chosen.nonzero(as_tuple=True)
        asked = torch.zeros_like(self.possible)
        asked[self.owner[neuron], channel] = True
        return asked

    def preceding(self, chosen: Tensor, *, limit: bool = False) -> Tensor:
        """Z_pre of some candidates, the largest contribution into each; ``(R, C)``, 0 elsewhere.

        Args:
            chosen: ``(R, C)``.
            limit: Ask only for what it cannot exceed.
        """
        place = chosen.flatten().nonzero()[:, 0]
        gain = torch.ones(len(place), dtype=self.values.dtype, device=self.values.device)
        image, index = self.image.index_select(0, place // chosen.shape[1]), self.index.flatten().index_select(0, place)
        sites = Sites(image, index, gain, gain.new_zeros(1, 4).expand(len(place), 4))
        preceding = self.values.new_zeros(self.values.numel())
        preceding[place] = self.step.support_of([(self.source, sites)], len(place), limit=limit)
        return preceding.view_as(self.values)


def _contenders(rows: _Rows, score: Tensor, factor: Tensor, keep: int | None) -> Tensor:
    """Candidates that can be among the highest once Z_pre is known, ``(M, C)``.

    Z_pre of those that are highest without it gives a score that the kept ones reach, and what Z_pre cannot exceed
    rules out whoever stays below that.

    Args:
        rows: The candidates.
        score: Ω without Z_pre; -inf for those that are none.
        factor: What Z_pre is multiplied by.
        keep: How many are kept for each neuron.
    """
    if keep is None or keep >= score.shape[1]:
        return torch.ones_like(score, dtype=torch.bool)
    first, places = _top(score, keep)
    leading = torch.zeros_like(score, dtype=torch.bool).scatter_(1, places, value=True) & (score > -torch.inf)
    reached = score + factor * rows.preceding(rows.asked(leading)).index_select(0, rows.owner)
    least = reached.gather(1, places).masked_fill(first == -torch.inf, -torch.inf).amin(dim=1, keepdim=True)
    # A bound costs less than the support itself, and rules most candidates out.
    limit = rows.preceding(rows.asked(score > -torch.inf), limit=True).index_select(0, rows.owner)
    return score + factor * (limit + _SLACK * limit.abs()) >= least


def _top(score: Tensor, keep: int | None) -> tuple[Tensor, Tensor]:
    """The highest of each row, of equal ones those with the lower index."""
    if keep == 1:
        best, places = score.max(dim=1, keepdim=True)
        return best, places
    best, places = score.sort(dim=1, descending=True, stable=True)
    return best[:, :keep], places[:, :keep]


def _succeeding(current: Tensor, rows: _Rows) -> Tensor:
    """Z_suc: for how many of the selected neurons each candidate contributes most, at least 1; ``(R, C)``.

    Args:
        current: ``(M, C)``, -inf for those that are no candidates.
        rows: The candidates.
    """
    # A neuron votes for its strongest candidate alone; a sum of contributions would count one neuron many times.
    best, strongest = current.max(dim=1)
    counts = torch.zeros(rows.index.shape, dtype=current.dtype, device=current.device)
    some = best > -torch.inf
    counts.index_put_((rows.owner[some], strongest[some]), torch.ones_like(best[some]), accumulate=True)
    return counts.clamp_(min=1)
