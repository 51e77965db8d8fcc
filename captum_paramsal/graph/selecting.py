"""Which neurons before a layer with weights carried its selected neurons: Ω and its three supports."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, fx

from captum_paramsal.functional.receptive_fields import distinct
from captum_paramsal.graph.sites import Sites
from captum_paramsal.graph.step import Step

__all__ = ["Candidates", "select"]


@dataclass(frozen=True)
class Candidates:
    """Neurons of a layer's input that may have carried M of its output; C for each, evenly spaced.

    Attributes:
        current: Z_cur, what each contributes, ``(M, C)``.
        first: Index of the first candidate of each, ``(M,)``.
        spacing: From one candidate's index to the next one's.
        keep: Most that are kept for each; None for all.
    """

    current: Tensor
    first: Tensor
    spacing: int
    keep: int | None


def select(step: Step, source: fx.Node, sites: Sites, candidates: Candidates) -> Sites:
    """The candidates with the largest positive Ω for each neuron, together.

    ``Ω = α_suc Z_suc (α_cur Z_cur + α_pre Z_pre)``; without weights ``Ω = Z_cur``.
    """
    following, current = step.following, candidates.current
    values = step.run.values[source]
    channels = current.shape[1]
    # Neurons of one place share their candidates.
    (image, first), owner = distinct(sites.image, candidates.first)
    index = first[:, None] + candidates.spacing * torch.arange(channels, device=first.device)
    possible = torch.ones_like(index, dtype=torch.bool)
    if following.active_only:
        active = values.reshape(len(values), -1)[image[:, None], index] > 0
        # Without an active one, as in a depthwise convolution that is switched off at the centre, all are candidates.
        possible = active | ~active.any(dim=1, keepdim=True)
    allowed = possible[owner]
    preceding, succeeding = torch.zeros_like(current), torch.ones_like(current)
    score = current
    weights = following.weights
    if weights is not None:
        succeeding = _succeeding(current.masked_fill(~allowed, -torch.inf), owner, len(first))[owner]
        if weights.preceding:
            preceding = _preceding(step, source, image, index, possible)[owner]
        score = weights.succeeding * succeeding * (weights.current * current + weights.preceding * preceding)
    keep = channels if candidates.keep is None else min(candidates.keep, channels)
    best, places = _top(score.masked_fill(~allowed, -torch.inf), keep)
    neuron, rank = (best > 0).nonzero(as_tuple=True)
    channel = places[neuron, rank]
    supports = torch.stack([part[neuron, channel] for part in (score, current, preceding, succeeding)], dim=1)
    found = index[owner[neuron], channel]
    return Sites(sites.image[neuron], found, torch.ones_like(sites.gain[neuron]), supports)


def _top(score: Tensor, keep: int) -> tuple[Tensor, Tensor]:
    """The highest of each row, of equal ones those with the lower index."""
    if keep == 1:
        best, places = score.max(dim=1, keepdim=True)
        return best, places
    best, places = score.sort(dim=1, descending=True, stable=True)
    return best[:, :keep], places[:, :keep]


def _succeeding(current: Tensor, owner: Tensor, rows: int) -> Tensor:
    """Z_suc: for how many of the selected neurons each candidate contributes most, at least 1; ``(rows, C)``."""
    best, strongest = current.max(dim=1)
    counts = torch.zeros(rows, current.shape[1], dtype=current.dtype, device=current.device)
    some = best > -torch.inf
    counts.index_put_((owner[some], strongest[some]), torch.ones_like(best[some]), accumulate=True)
    return counts.clamp_(min=1)


def _preceding(step: Step, source: fx.Node, image: Tensor, index: Tensor, possible: Tensor) -> Tensor:
    """Z_pre of every possible candidate, the largest contribution into it; ``(rows, C)``."""
    row, channel = possible.nonzero(as_tuple=True)
    values = step.run.values[source]
    gain = torch.ones(len(row), dtype=values.dtype, device=values.device)
    asked = Sites(image[row], index[row, channel], gain, gain.new_zeros(len(row), 4))
    preceding = torch.zeros(index.shape, dtype=values.dtype, device=values.device)
    preceding[row, channel] = step.support_of([(source, asked)], len(row))
    return preceding
