"""A model that forgets what it learned, from the last layer up to the first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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

    A layer works when the first of its own weights is used, whichever module uses it: a transformer's class token comes
    before its blocks, though the module that holds it is done last. Layers without any use, such as auxiliary heads in
    evaluation mode, are left out. What code cannot be watched, as in a script module, works when that module is done.

    Args:
        model: A network.
        *inputs: What one pass is run on; their first dimension is that of the examples.

    Raises:
        LayerError: No layer has weights.
    """
    model, uses = unwrap(model), WeightUses()
    weights = frozenset(map(id, model.parameters()))
    with forward_only(model), watching(model, weights, uses, 1):
        model(*inputs)
    places = {key: place for place, key in enumerate(uses.order)}
    found = {
        name: (place, number)
        for number, (name, module) in enumerate(model.named_modules())
        if any(True for _ in module.parameters(recurse=False)) and (place := _place(model, name, places)) is not None
    }
    if not found:
        message = f"Expected a model with weights to randomise, got {type(model).__name__} without any."
        raise LayerError(message)
    return sorted(found, key=found.__getitem__, reverse=True)


def _place(model: nn.Module, name: str, places: Mapping[int | str, int]) -> int | None:
    """When the first of a layer's own weights was used; None if none was."""
    own = map(id, model.get_submodule(name).parameters(recurse=False))
    if used := [places[weight] for weight in own if weight in places]:
        return min(used)
    while name and name not in places:
        name = name.rpartition(".")[0]
    # Where no weight of the module around it is seen either, its code could not be watched.
    unseen = not any(id(weight) in places for weight in model.get_submodule(name).parameters())
    return places.get(name, len(places)) if unseen else None


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
