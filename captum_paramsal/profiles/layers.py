"""Which layers of a model are scored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TypeAlias

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from captum_paramsal.errors import LayerError
from captum_paramsal.filters import FilterIndex
from captum_paramsal.graph import class_score_layers
from captum_paramsal.hooks import CONVOLUTIONS, FilterLayer, has_rule

LayerChoice: TypeAlias = str | nn.Module | type[nn.Module]
LayerSelection: TypeAlias = LayerChoice | Sequence[LayerChoice] | FilterIndex
"""Names, glob patterns over names, modules, or layer types, one or several; or the layers of other filters."""


def select_layers(model: nn.Module, layers: LayerSelection | None = None) -> tuple[FilterLayer, ...]:
    """The layers whose filters are scored, in the order of ``model.named_modules()``.

    Args:
        model: The model; not one that wraps another.
        layers: None for every convolution except one whose channels are the class scores. A name
            (``"layer4.0.conv1"``), a module or a layer type takes any layer with a weight; a glob pattern
            (``"layer4.*"``, ``"*"``) takes the registered layer types among the names it matches. A
            :class:`FilterIndex` takes the layers of its filters, reached or not.

    Raises:
        LayerError: A name, module, pattern or type that selects nothing, or no layer at all.
    """
    named = dict(model.named_modules())
    if layers is None:
        chosen = dict.fromkeys(_default_names(model, named), False)
    elif isinstance(layers, FilterIndex):
        chosen = {name: False for choice in layers.layers for name, _ in _chosen(choice, named)}
    else:
        choices = [layers] if isinstance(layers, (str, nn.Module, type)) else list(layers)
        chosen = {name: explicit for choice in choices for name, explicit in _chosen(choice, named)}
        if not chosen:
            message = "Expected at least one layer in `layers`, got an empty sequence."
            raise LayerError(message)
    return tuple(_once_per_weight(_filter_layer(name, named[name], chosen[name]) for name in named if name in chosen))


def filter_index(layers: Iterable[FilterLayer]) -> FilterIndex:
    """The filters of the layers, in order."""
    layers = list(layers)
    parts = {layer.name: layer.rule.parts(layer.module) for layer in layers}
    counts = {layer.name: layer.rule.count(layer.module) for layer in layers}
    return FilterIndex(counts, {name: names for name, names in parts.items() if names})


def _default_names(model: nn.Module, named: dict[str, nn.Module]) -> list[str]:
    convolutions = [name for name, module in named.items() if isinstance(module, CONVOLUTIONS)]
    scores = class_score_layers(model) if convolutions else frozenset()
    names = [name for name in convolutions if name not in scores]
    if not names:
        others = sorted({type(module).__name__ for module in named.values() if has_rule(module)} - {"Conv2d"})
        reason = (
            f"its only convolutions, {', '.join(map(repr, convolutions))}, hold the class scores"
            if convolutions
            else "it has no convolution"
        )
        message = f"Expected a model with filter layers, but {reason}. Name layers in `layers`" + (
            f"; it has layers of type {', '.join(others)}." if others else "."
        )
        raise LayerError(message)
    return names


def _chosen(choice: LayerChoice, named: dict[str, nn.Module]) -> list[tuple[str, bool]]:
    """Names that a choice selects, and whether it means that very layer."""
    if isinstance(choice, nn.Module):
        found = [(name, True) for name, module in named.items() if module is choice]
        return found or _nothing(f"the module {type(choice).__name__} is not part of the model")
    if isinstance(choice, type) and issubclass(choice, nn.Module):
        found = [(name, False) for name, module in named.items() if isinstance(module, choice)]
        return found or _nothing(f"the model has no layer of type {choice.__name__}")
    if not isinstance(choice, str):
        return _nothing(f"got {choice!r} ({type(choice).__name__})")
    if choice in named and choice:
        return [(choice, True)]
    if any(mark in choice for mark in "*?["):
        found = [(name, False) for name, module in named.items() if has_rule(module) and fnmatchcase(name, choice)]
        return found or _nothing(f"the pattern {choice!r} matches no layer with filters")
    near = get_close_matches(choice, [name for name, module in named.items() if has_rule(module)], n=4, cutoff=0.3)
    return _nothing(f"the model has no layer {choice!r}" + (f"; nearest: {', '.join(map(repr, near))}" if near else ""))


def _nothing(reason: str) -> list[tuple[str, bool]]:
    message = f"Expected `layers` to hold names, modules, types or patterns of the model's layers, but {reason}."
    raise LayerError(message)


def _filter_layer(name: str, module: nn.Module, explicit: bool) -> FilterLayer:  # noqa: FBT001
    if any(map(is_lazy, module.parameters(recurse=False))):
        message = f"Expected layers with weights, but {name!r} is lazy and has none yet: run the model once first."
        raise LayerError(message)
    layer = FilterLayer(name, module, explicit)
    try:
        weights = layer.weights
    except LayerError as error:
        inside = f"; for the layers inside it use '{name}.*'" if any(True for _ in module.children()) else ""
        message = f"Layer {name!r} cannot be scored{inside}. {error}"
        raise LayerError(message) from error
    if any(weight.ndim == 0 for weight in weights):
        message = f"Expected a weight with output slices in layer {name!r}, got a single number."
        raise LayerError(message)
    return layer


def _once_per_weight(layers: Iterable[FilterLayer]) -> Iterable[FilterLayer]:
    """Layers that share one weight share its filters, under the first layer's name."""
    seen: set[tuple[int, ...]] = set()
    kept: list[Tensor] = []
    for layer in layers:
        weights = layer.weights
        key = tuple(map(id, weights))
        if key not in seen:
            seen.add(key)
            kept.extend(weights)  # a computed weight must live as long as its id is remembered
            yield layer
