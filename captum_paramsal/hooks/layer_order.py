"""In which order the layers of a model work, and what the last of them is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from captum_paramsal.errors import LayerError, ModelError
from captum_paramsal.hooks.module_calls import module_calls
from captum_paramsal.hooks.scored_model import unwrap
from captum_paramsal.hooks.state import frozen_eval
from captum_paramsal.hooks.uses import WeightUses, watching


def layers_from_the_end(model: nn.Module, *inputs: object, **named: object) -> list[str]:
    """Names of the layers with weights of their own, the one that works last first.

    A layer works when the first of its own weights is used, whichever module uses it: a transformer's class token comes
    before its blocks, though the module that holds it is done last. Layers without any use, such as auxiliary heads in
    evaluation mode, are left out. What code cannot be watched, as in a script module, works when that module is done.

    Args:
        model: A network.
        *inputs: What one pass is run on; their first dimension is that of the examples.
        **named: What it takes by name.

    Raises:
        LayerError: No layer has weights.
    """
    model, uses = unwrap(model), WeightUses()
    weights = frozenset(map(id, model.parameters()))
    with (
        frozen_eval(model, gradients=False),
        watching(model, weights, uses, 1),
    ):
        model(*inputs, **named)
    places = {key: place for place, key in enumerate(uses.order)}
    found = {
        name: (place, number)
        for number, (name, module) in enumerate(model.named_modules())
        if any(True for _ in module.parameters(recurse=False)) and (place := _place(model, name, places)) is not None
    }
    if not found:
        message = f"Expected a model with layers that have weights, got {type(model).__name__} without any."
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


@dataclass
class LastInputs:
    """What the last layer with weights was given, averaged over places or tokens.

    Attributes:
        name: Of the layer.
    """

    name: str
    _rows: list[Tensor] = field(default_factory=list)

    def features(self, count: int) -> Tensor:
        """Penultimate features of all images that were run, ``(N, D)`` float32 on the CPU.

        Args:
            count: How many there were.

        Raises:
            ModelError: The layer does not run once for each image, so there are none.
        """
        if (got := sum(map(len, self._rows))) != count:
            message = (
                f"Expected the last layer with weights, {self.name!r}, to run once for each image, got {got} "
                f"rows for {count} images. There are no penultimate features of this network."
            )
            raise ModelError(message)
        return torch.cat(self._rows)

    def keep(self, name: str, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Is told of every call of a module."""
        if name == self.name:
            given = next(value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)).detach()
            # Channels come second in maps, and last in tokens.
            over_tokens = given.mean(dim=1) if given.ndim == 3 else given
            self._rows.append((given.flatten(2).mean(dim=2) if given.ndim > 3 else over_tokens).float().cpu())


@contextmanager
def last_inputs(model: nn.Module, name: str) -> Iterator[LastInputs]:
    """Keep what a layer is given in a model's forward passes while the context lasts.

    Args:
        model: The model.
        name: Of the layer, such as the first of :func:`layers_from_the_end`.
    """
    kept = LastInputs(name)
    with module_calls(unwrap(model), kept.keep, lambda *_: None):
        yield kept
