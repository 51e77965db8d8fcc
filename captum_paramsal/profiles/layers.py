"""Which layers of a model are scored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from types import EllipsisType
from typing import TypeAlias

from torch import Tensor, nn

from captum_paramsal.errors import LayerError
from captum_paramsal.filters import FilterIndex
from captum_paramsal.graph import class_score_layers
from captum_paramsal.hooks import CONVOLUTIONS, FilterLayer, attention_heads, has_rule, named_heads

LayerChoice: TypeAlias = str | nn.Module | type[nn.Module] | EllipsisType
LayerSelection: TypeAlias = LayerChoice | Sequence[LayerChoice] | FilterIndex
"""Names, glob patterns over names, modules, layer types or ``...`` for the default layers, one or several; or the
layers of other filters."""

DEFAULT = "..."
"""The default layers by a name, for command lines."""


@dataclass(frozen=True)
class _Choice:
    """How a layer was chosen.

    Attributes:
        explicit: Whether that very layer is meant.
        heads: Its filters, where they are heads.
        provisional: Whether it is scored only at places or tokens.
    """

    explicit: bool = False
    heads: Mapping[str, slice] = field(default_factory=dict)
    provisional: bool = False


def select_layers(
    model: nn.Module, layers: LayerSelection | None = None, *, bias: bool = False
) -> tuple[FilterLayer, ...]:
    """The layers whose filters are scored, in the order of ``model.named_modules()``, queries before keys and values.

    Args:
        model: The model; not one that wraps another.
        layers: None or ``...`` for the default: every convolution, attention's query, key and value projections by
            head, and every Linear layer that a run shows to act at places or tokens (until then ``provisional``);
            without those whose channels are the class scores. A name (``"layer4.0.conv1"``), a module or a layer type
            takes any layer with a weight, row by row; one of an attention module its heads. A glob pattern
            (``"layer4.*"``, ``"*"``) takes the registered layer types among the names it matches, or else the attention
            modules. A :class:`FilterIndex` takes the layers of its filters, reached or not.
        bias: Take each filter's entry of the layer's bias as one of its weights.

    Raises:
        LayerError: A name, module, pattern or type that selects nothing, or no layer at all.
    """
    named = dict(model.named_modules())
    if isinstance(layers, FilterIndex):
        chosen = dict(_of_filters(layers, model, named))
        order, bias = list(layers.layers), bias or layers.bias
    else:
        chosen = _chosen_by(layers, model, named)
        order = _queries_first(model, [name for name in named if name in chosen], chosen)
    return tuple(_once_per_weight(_filter_layer(name, named[name], chosen[name], bias=bias) for name in order))


def filter_index(layers: Iterable[FilterLayer]) -> FilterIndex:
    """The filters of the layers, in order."""
    layers = list(layers)
    counts = {layer.name: layer.count for layer in layers}
    parts = {layer.name: names for layer in layers if (names := layer.parts)}
    return FilterIndex(counts, parts, bias=any(layer.bias for layer in layers))


def _chosen_by(layers: LayerSelection | None, model: nn.Module, named: dict[str, nn.Module]) -> dict[str, _Choice]:
    if layers is None:
        layers = ...
    single = isinstance(layers, (str, nn.Module, type, EllipsisType))
    choices = [layers] if single else list(layers)  # type: ignore[arg-type]
    if not choices:
        message = "Expected at least one layer in `layers`, got an empty sequence."
        raise LayerError(message)
    chosen: dict[str, _Choice] = {}
    for choice in choices:
        default = choice is ... or (choice == DEFAULT and DEFAULT not in named)
        for name, how in _default(model, named) if default else _chosen(choice, named):  # type: ignore[arg-type]
            # Who names a layer means it, whatever the default or a pattern would make of it.
            if name not in chosen or how.explicit or (chosen[name].provisional and not how.provisional):
                chosen[name] = how
    return chosen


def _default(model: nn.Module, named: dict[str, nn.Module]) -> list[tuple[str, _Choice]]:
    heads = {layer: rows for _, projections in named_heads(model) for layer, rows in projections.items()}
    attention = [name for name, module in named.items() if isinstance(module, nn.MultiheadAttention)]
    inside = {f"{name}.out_proj" if name else "out_proj" for name in attention}
    convolutions = [name for name, module in named.items() if isinstance(module, CONVOLUTIONS)]
    scores = class_score_layers(model) if convolutions else frozenset()
    chosen: list[tuple[str, _Choice]] = []
    for name, module in named.items():
        if name in heads:
            chosen.append((name, _Choice(heads=heads[name])))
        elif name in attention or name in inside or (name in convolutions and name not in scores):
            chosen.append((name, _Choice()))
        elif isinstance(module, nn.Linear):
            chosen.append((name, _Choice(provisional=True)))
    if not chosen:
        raise LayerError(no_default_layers(named.values(), convolutions))
    return chosen


def no_default_layers(modules: Iterable[nn.Module], convolutions: Sequence[str] = ()) -> str:
    """What to say of a model without any layer that is scored by default."""
    others = sorted({type(module).__name__ for module in modules if has_rule(module)} - {"Conv2d"})
    reason = (
        f"its only convolutions, {', '.join(map(repr, convolutions))}, hold the class scores"
        if convolutions
        else "it has no convolution, no attention and no Linear layer at places or tokens"
    )
    offered = f"; it has layers of type {', '.join(others)}." if others else "."
    return f"Expected a model with filter layers, but {reason}. Name layers in `layers`{offered}"


def _of_filters(filters: FilterIndex, model: nn.Module, named: dict[str, nn.Module]) -> Iterator[tuple[str, _Choice]]:
    heads = {layer: rows for _, projections in named_heads(model) for layer, rows in projections.items()}
    for name in filters.layers:
        _chosen(name, named)
        same = tuple(filters.parts.get(name, ())) == tuple(heads.get(name, ()))
        yield name, _Choice(heads=heads[name] if name in heads and same else {})


def _chosen(choice: str | nn.Module | type[nn.Module], named: dict[str, nn.Module]) -> list[tuple[str, _Choice]]:
    """Layers that a choice selects."""
    if isinstance(choice, nn.Module):
        selected = [name for name, module in named.items() if module is choice]
        return _each(selected, named, explicit=True) or _nothing(
            f"the module {type(choice).__name__} is not part of the model"
        )
    if isinstance(choice, type) and issubclass(choice, nn.Module):
        selected = [name for name, module in named.items() if isinstance(module, choice)]
        return _each(selected, named) or _nothing(f"the model has no layer of type {choice.__name__}")
    if not isinstance(choice, str):
        return _nothing(f"got {choice!r} ({type(choice).__name__})")
    if choice in named and choice:
        return _each([choice], named, explicit=True)
    if any(mark in choice for mark in "*?["):
        matched = [name for name in named if fnmatchcase(name, choice)]
        selected = [name for name in matched if has_rule(named[name])]
        selected = selected or [name for name in matched if attention_heads(named[name])]
        return _each(selected, named) or _nothing(f"the pattern {choice!r} matches no layer with filters")
    near = get_close_matches(choice, [name for name, module in named.items() if has_rule(module)], n=4, cutoff=0.3)
    return _nothing(f"the model has no layer {choice!r}" + (f"; nearest: {', '.join(map(repr, near))}" if near else ""))


def _each(names: Sequence[str], named: dict[str, nn.Module], *, explicit: bool = False) -> list[tuple[str, _Choice]]:
    """The layers of these names; of attention modules without a weight, their projections by head."""
    chosen_layers: list[tuple[str, _Choice]] = []
    for name in names:
        projections = {} if has_rule(named[name]) else attention_heads(named[name])
        prefix = f"{name}." if name else ""
        for layer, heads in projections.items():
            rows = {prefix + head: place for head, place in heads.items()}
            chosen_layers.append((prefix + layer, _Choice(explicit=explicit, heads=rows)))
        if not projections:
            chosen_layers.append((name, _Choice(explicit=explicit)))
    return chosen_layers


def _nothing(reason: str) -> list[tuple[str, _Choice]]:
    message = f"Expected `layers` to hold names, modules, types or patterns of the model's layers, but {reason}."
    raise LayerError(message)


def _queries_first(model: nn.Module, names: list[str], chosen: Mapping[str, _Choice]) -> list[str]:
    """The same names, with the projections of each attention module in the order of queries, keys and values."""
    place = {name: number for number, name in enumerate(names)}
    for _, projections in named_heads(model):
        by_head = [layer for layer in projections if layer in place and chosen[layer].heads]
        free = sorted(place[layer] for layer in by_head)
        place.update(zip(by_head, free, strict=True))
    return sorted(names, key=place.__getitem__)


def _filter_layer(name: str, module: nn.Module, choice: _Choice, *, bias: bool) -> FilterLayer:
    layer = FilterLayer(name, module, choice.explicit, choice.heads, bias, choice.provisional)
    layer.require_filters()
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
