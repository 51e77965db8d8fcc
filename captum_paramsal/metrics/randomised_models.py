"""A model that forgets what it learned, from the last layer up to the first."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

import torch
from torch import Tensor, nn

from captum_paramsal.errors import LayerError
from captum_paramsal.hooks import unwrap
from captum_paramsal.hooks.uses import WeightUses, watching
from captum_paramsal.metrics.model_state import forward_only, seeded


def randomised_models(model: nn.Module, names: list[str], stages: int, seed: int) -> Iterator[nn.Module]:
    """A copy of a model, more of whose layers are random at each of so many stages.

    Args:
        model: Left as it is.
        names: From :func:`layers_from_the_end`.
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


def layers_from_the_end(model: nn.Module, *inputs: object) -> list[str]:
    """Names of the layers with weights of their own, the one that works last first.

    A layer that is never called, since a module around it uses its weights, goes with that module.

    Args:
        model: A network.
        *inputs: What one pass is run on; their first dimension is that of the examples.

    Raises:
        LayerError: No layer has weights.
    """
    model, uses = unwrap(model), WeightUses()
    with forward_only(model), watching(model, frozenset(), uses, 1):
        model(*inputs)
    finished = {name: place for place, name in enumerate(uses.calls[1])}
    weighted = [name for name, module in model.named_modules() if any(True for _ in module.parameters(recurse=False))]
    if not weighted:
        message = f"Expected a model with weights to randomise, got {type(model).__name__} without any."
        raise LayerError(message)
    places = {name: (_place(name, finished), number) for number, name in enumerate(weighted)}
    return sorted(weighted, key=places.__getitem__, reverse=True)


def _place(name: str, finished: dict[str, int]) -> int:
    """When a module, or else the nearest one around it that was called, was done; the model itself is the last."""
    while name and name not in finished:
        name = name.rpartition(".")[0]
    return finished.get(name, len(finished))


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
