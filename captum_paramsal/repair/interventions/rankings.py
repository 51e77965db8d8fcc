"""Rankings of filters to compare others with: chance, size of the weights, one stage of the network alone."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from captum_paramsal.errors import InterventionError
from captum_paramsal.filters import FilterIndex
from captum_paramsal.profiles import FilterParameters
from captum_paramsal.repair.interventions.checks import columns_of


def random_ranking(filters: FilterIndex, count: int, seed: int = 0) -> Tensor:
    """A random order of the filters for each of so many images, ``(count, F)``."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, len(filters), generator=generator)


def magnitude_ranking(model: nn.Module, filters: FilterIndex) -> Tensor:
    """Mean absolute weight of every filter, ``(F,)``: what pruning removes last."""
    parameters = FilterParameters(model)
    slices = [parameters.of(item)[0] for item in filters]
    return torch.stack([weight.of(weight.parameter.detach()).abs().mean() for weight in slices])


def restrict_to_layers(ranking: Tensor, filters: FilterIndex, *patterns: str) -> Tensor:
    """The ranking with the filters of some layers first, such as those of the last stage alone.

    Args:
        ranking: ``(..., F)``.
        filters: Of the scores.
        *patterns: Names of layers, or glob patterns such as ``"layer4.*"``.

    Raises:
        InterventionError: A pattern matches no layer.
    """
    kept = torch.zeros(len(filters), dtype=torch.bool, device=ranking.device)
    kept[columns_of(filters, patterns)] = True
    return ranking.masked_fill(~kept, -torch.inf)


def ties_by(ranking: Tensor, other: Tensor) -> Tensor:
    """The ranking with filters of equal score in the order of another one, and then of their numbers.

    POT saliency is 0 for every filter below its threshold, so a top k that reaches so far takes the shallowest of them;
    ``ties_by(tails, z_scores)`` takes the most salient.

    Args:
        ranking: ``(N, F)`` or ``(F,)``.
        other: Of the same shape.

    Returns:
        Ranks, the highest first, F - 1 to 0.

    Raises:
        InterventionError: The rankings have different shapes.

    >>> ties_by(torch.tensor([0.0, 2.0, 0.0]), torch.tensor([1.5, 0.1, 3.0])).tolist()
    [0.0, 2.0, 1.0]
    """
    if ranking.shape != other.shape:
        message = f"Expected two rankings of one shape, got {tuple(ranking.shape)} and {tuple(other.shape)}."
        raise InterventionError(message)
    within = other.argsort(dim=-1, descending=True, stable=True)
    order = within.gather(-1, ranking.gather(-1, within).argsort(dim=-1, descending=True, stable=True))
    return (ranking.shape[-1] - 1 - order.argsort(dim=-1)).to(torch.get_default_dtype())


def channel_scores(attributions: Mapping[str, Tensor], filters: FilterIndex) -> Tensor:
    """Scores of filters from maps of layers, such as those of Captum's ``LayerConductance``: sums of absolute values.

    Args:
        attributions: ``(N, O, ...)`` by the name of the layer, whose channels are its filters.
        filters: Layers without attributions come last.

    Raises:
        InterventionError: A layer has no filters, or its maps another number of channels.
    """
    for layer, maps in attributions.items():
        if maps.ndim < 2 or filters.counts.get(layer) != maps.shape[1]:
            message = (
                f"Expected attributions (N, O, ...) of layers with as many filters as channels, got "
                f"{tuple(maps.shape)} for {layer!r}, which has {filters.counts.get(layer, 'no')} filters."
            )
            raise InterventionError(message)
    count = len(next(iter(attributions.values())))
    columns = [
        attributions[layer].detach().flatten(2).abs().sum(dim=2)
        if layer in attributions
        else torch.full((count, size), -torch.inf)
        for layer, size in filters.counts.items()
    ]
    return torch.cat(columns, dim=1)
