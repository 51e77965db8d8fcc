"""Which rows of which projection belong to a head of attention: one function for each family of attention modules.

A family is known by what its modules have (names of layers, counts of heads), not by the library that they come from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias, TypeVar

from torch import nn

from captum_paramsal.errors import LayerError

HeadRows: TypeAlias = Mapping[str, slice]
"""Rows of a projection's weight, by the name of the head they belong to, such as ``"k[head 5]"``."""

Projections: TypeAlias = Mapping[str, HeadRows]
"""Heads of each projection, by the projection's name inside the attention module."""

Family: TypeAlias = Callable[[Any], Projections]
FamilyT = TypeVar("FamilyT", bound=Family)

_COUNTS = ("num_heads", "num_attention_heads", "n_heads", "heads", "nhead")
_FUSED = ("qkv", "to_qkv")
_SEPARATE = (
    ("q", "k", "v"), ("q_proj", "k_proj", "v_proj"), ("query", "key", "value"), ("wq", "wk", "wv"),
    ("to_q", "to_k", "to_v"), ("q_lin", "k_lin", "v_lin"),
)  # fmt: skip
_KEYS_WITH_VALUES = (("q", "kv"), ("to_q", "to_kv"))
_QUERIES_WITH_KEYS = (("qk", "v"), ("to_qk", "to_v"))

_of_types: dict[type[nn.Module], Family] = {}


def heads_of(*module_types: type[nn.Module]) -> Callable[[FamilyT], FamilyT]:
    """Register where the heads of an attention module are, for a type of your own.

    The decorated function gets the module and returns, for each projection by its name inside the module, the rows of
    its weight that each head owns, by the head's name.

    Args:
        module_types: Types of attention modules; their subclasses are meant too.

    >>> class Mixed(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.project = nn.Linear(8, 24)
    >>> @heads_of(Mixed)
    ... def mixed_heads(module):
    ...     return {"project": equal_heads(module.project, q=2, k=2, v=2)}
    >>> attention_heads(Mixed())["project"]["k[head 1]"]
    slice(12, 16, None)
    """

    def register(family: FamilyT) -> FamilyT:
        for module_type in module_types:
            _of_types[module_type] = family
        return family

    return register


def equal_heads(projection: nn.Module, **heads: int) -> dict[str, slice]:
    """Rows of heads that stand one after the other and are of one size.

    Args:
        projection: A layer with a ``weight``.
        **heads: How many heads each part has, in the order of the rows: ``q=12, k=1, v=1``.

    Raises:
        LayerError: The rows cannot be divided so.
    """
    rows, count = _rows(projection), sum(heads.values())
    if count < 1 or rows % count:
        message = f"Expected a projection whose rows can be divided among {count} heads, got {rows} rows."
        raise LayerError(message)
    size = rows // count
    names = [f"{part}[head {head}]" for part, number in heads.items() for head in range(number)]
    return {name: slice(place * size, (place + 1) * size) for place, name in enumerate(names)}


def attention_heads(module: nn.Module) -> Projections:
    """The heads of an attention module, those of queries first, then keys, then values; empty for any other module.

    >>> attention_heads(nn.Linear(2, 2))
    {}
    """
    for base in type(module).__mro__:
        if base in _of_types:
            return _of_types[base](module)
    count = next((value for name in _COUNTS if type(value := getattr(module, name, None)) is int and value > 0), 0)
    if not count or isinstance(module, nn.MultiheadAttention):
        return {}
    return next((projections for family in _FAMILIES if (projections := family(module, count))), {})


def _rows(layer: nn.Module) -> int:
    weight: Any = layer.weight
    return len(weight)


def _linear(module: nn.Module, name: str) -> tuple[str, nn.Linear] | None:
    """A projection, which may have a norm beside it in a module of both, as in LeViT."""
    layer = getattr(module, name, None)
    if isinstance(layer, nn.Linear):
        return name, layer
    inner = [(key, child) for key, child in layer.named_children()] if isinstance(layer, nn.Module) else []
    linears = [(f"{name}.{key}", child) for key, child in inner if isinstance(child, nn.Linear)]
    return linears[0] if len(linears) == 1 else None


def _together(module: nn.Module, names: tuple[str, ...]) -> list[tuple[str, nn.Linear]]:
    projections = [_linear(module, name) for name in names]
    return [projection for projection in projections if projection is not None] if all(projections) else []


def _head_by_head(sizes: Mapping[str, int], count: int) -> dict[str, slice]:
    """Rows that are cut by heads first, and inside of each by what they are."""
    rows: dict[str, slice] = {}
    for head in range(count):
        start = head * sum(sizes.values())
        for part, size in sizes.items():
            rows[f"{part}[head {head}]"] = slice(start, start + size)
            start += size
    return {name: rows[name] for part in sizes for name in rows if name.startswith(f"{part}[")}


def _sizes_within_heads(module: Any, rows: int, count: int, parts: str) -> dict[str, int] | None:
    """Rows of queries, keys and values in each head, for modules that say that they cut by heads first."""
    size = {"q": getattr(module, "key_dim", None), "v": getattr(module, "val_dim", None)}
    size["k"] = size["q"]
    if all(type(value) is int for value in size.values()):
        sizes = {part: size[part] or 0 for part in parts}
    elif getattr(module, "head_first", False):
        sizes = {part: rows // count // len(parts) for part in parts}
    else:
        return None
    return sizes if sum(sizes.values()) * count == rows else None


def _one_layer(module: Any, name: str, layer: nn.Linear, count: int, parts: str) -> dict[str, HeadRows]:
    rows = _rows(layer)
    sizes = _sizes_within_heads(module, rows, count, parts)
    if sizes is not None:
        return {name: _head_by_head(sizes, count)}
    if rows % (len(parts) * count):
        return {}
    return {name: equal_heads(layer, **dict.fromkeys(parts, count))}


def _fused(module: nn.Module, count: int) -> dict[str, HeadRows]:
    """Queries, keys and values in one layer; keys and values alone where the queries come from elsewhere."""
    for fused in _FUSED:
        if (projection := _linear(module, fused)) is not None:
            parts = "kv" if getattr(module, "use_global", False) is True else "qkv"
            return _one_layer(module, *projection, count, parts)
    return {}


def _separate(module: nn.Module, count: int) -> dict[str, HeadRows]:
    """A layer for each; keys and values may have fewer heads than queries (multi-query, grouped-query)."""
    for names in _SEPARATE:
        layers = _together(module, names)
        if layers and _rows(layers[0][1]) % count == 0:
            width = _rows(layers[0][1]) // count
            counts = [_rows(layer) // width if _rows(layer) % width == 0 else count for _, layer in layers]
            if all(_rows(layer) % heads == 0 for (_, layer), heads in zip(layers, counts, strict=True)):
                parts = zip("qkv", layers, counts, strict=True)
                return {name: equal_heads(layer, **{part: heads}) for part, (name, layer), heads in parts}
    return {}


def _keys_with_values(module: nn.Module, count: int) -> dict[str, HeadRows]:
    return _in_two_layers(module, count, _KEYS_WITH_VALUES, ("q", "kv"))


def _queries_with_keys(module: nn.Module, count: int) -> dict[str, HeadRows]:
    return _in_two_layers(module, count, _QUERIES_WITH_KEYS, ("qk", "v"))


def _in_two_layers(
    module: nn.Module, count: int, choices: tuple[tuple[str, str], ...], parts: tuple[str, str]
) -> dict[str, HeadRows]:
    for names in choices:
        layers = _together(module, names)
        cut = [_one_layer(module, *layer, count, part) for layer, part in zip(layers, parts, strict=False)]
        if layers and all(cut):
            return {**cut[0], **cut[1]}
    return {}


_FAMILIES = (_fused, _separate, _keys_with_values, _queries_with_keys)


def named_heads(model: nn.Module) -> Iterator[tuple[str, dict[str, dict[str, slice]]]]:
    """Every attention module of a model whose projections are layers, with the whole names of projections and heads."""
    for name, module in model.named_modules():
        projections = attention_heads(module)
        if projections:
            prefix = f"{name}." if name else ""
            yield (
                name,
                {
                    prefix + layer: {prefix + head: rows for head, rows in heads.items()}
                    for layer, heads in projections.items()
                },
            )
