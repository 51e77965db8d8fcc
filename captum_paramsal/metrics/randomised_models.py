"""A model that forgets what it learned, from the last layer up to the first."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

import torch
from torch import Tensor, nn

from captum_paramsal.hooks import unwrap
from captum_paramsal.metrics.model_state import seeded


def randomised_models(model: nn.Module, names: list[str], stages: int, seed: int) -> Iterator[nn.Module]:
    """A copy of a model, more of whose layers are random at each of so many stages.

    Args:
        model: Left as it is.
        names: From :func:`captum_paramsal.hooks.layers_from_the_end`.
        stages: In the last one all layers are random.
        seed: Of the random weights.

    Yields:
        The same copy at each stage, in evaluation mode.
    """
    with torch.inference_mode(mode=False):
        copy = deepcopy(unwrap(model)).eval()
    # What is rebuilt may keep no trace of the copy's earlier weights, so each stage draws from its own seed.
    for stage in range(stages):
        start, end = (len(names) * each // stages for each in (stage, stage + 1))
        with seeded(seed + stage), torch.inference_mode(mode=False):
            for name in names[start:end]:
                randomise(copy.get_submodule(name))
        yield copy


def randomise(layer: nn.Module) -> None:
    """Give a layer's own parameters new values, by its type's rule, else normal ones with their own mean and spread."""
    reset = getattr(layer, "reset_parameters", None)
    if callable(reset):
        reset()
        return
    for parameter in layer.parameters(recurse=False):
        _redraw(parameter)


@torch.no_grad()
def _redraw(parameter: Tensor) -> None:
    if parameter.is_floating_point():
        values = parameter.double()
        noise = torch.randn_like(values) * values.std(correction=0) + values.mean()
        parameter.copy_(noise)
