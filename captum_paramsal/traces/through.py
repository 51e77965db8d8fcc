"""Which neurons of a trace are those of the filters that it is to go through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from captum_paramsal.errors import InputError, LayerError
from captum_paramsal.filters import Filter
from captum_paramsal.hooks import named_heads
from captum_paramsal.traces.restriction import runs_of
from captum_paramsal.traces.trace import Trace

Through: TypeAlias = Filter | Sequence[Filter] | None
"""One filter for all images, or one for each; None for a whole trace."""


def filters_of(through: Through, images: int) -> tuple[Filter, ...]:
    """The filter of each image; none for a whole trace.

    Raises:
        InputError: Something else than a filter, or than one for each image.
    """
    if through is None:
        return ()
    items: tuple[Any, ...] = (through,) * images if isinstance(through, Filter) else _listed(through)
    if len(items) != images or not all(isinstance(item, Filter) for item in items):
        kinds = ", ".join(sorted({type(item).__name__ for item in items}))
        message = (
            f"Expected `through` to be a Filter, such as `Filter('layer4.0.conv1', 3)`, or one for each of {images} "
            f"images, got {len(items)} of type {kinds or type(through).__name__}."
        )
        raise InputError(message)
    return items


def neurons_of(filters: Sequence[Filter], trace: Trace, model: nn.Module) -> dict[str, Tensor]:
    """The neurons of a whole trace that belong to the filter of their image.

    Args:
        filters: The filter of each image.
        trace: The trace.
        model: The model that was traced.

    Returns:
        Which neurons of the filters' layers, ``(M,)`` bool, by the layer's name.

    Raises:
        LayerError: A filter that the model does not have, or of a layer that traces do not show.
    """
    chosen: dict[str, Tensor] = {}
    # Filters are equal whatever their part is, but a head is more than the row of the same number.
    for item, part in dict.fromkeys((item, item.part) for item in filters):
        rows = [one == item and one.part == part for one in filters]
        mine = torch.tensor(rows, device=trace.labels.device)
        for name in _runs(item, trace, model):
            neurons = trace.layers[name]
            channels = _channels(Filter(item.layer, item.index, part), neurons.size[0], model)
            meant = (neurons.channel >= channels.start) & (neurons.channel < channels.stop) & mine[neurons.image]
            chosen[name] = chosen[name] | meant if name in chosen else meant
    return chosen


def _listed(through: Any) -> tuple[Any, ...]:
    return tuple(through) if isinstance(through, Sequence) and not isinstance(through, str) else (through,)


def _runs(item: Filter, trace: Trace, model: nn.Module) -> list[str]:
    names = runs_of(item.layer, trace.layers)
    known = item.layer in dict(model.named_modules())
    if known and names:
        return names
    reason = (
        "a trace shows layers with weights that run, and it is none" if known else f"the model has no {item.layer!r}"
    )
    layers = ", ".join(name for name in trace.layers if name not in ("output", "input"))
    message = f"Expected a filter of a layer that traces go through, got {item}: {reason}. Layers: {layers}."
    raise LayerError(message)


def _channels(item: Filter, count: int, model: nn.Module) -> range:
    """Channels of a layer's result that are a filter's: one, or the rows of a head."""
    module: Any = model.get_submodule(item.layer)
    if isinstance(module, nn.MultiheadAttention):
        return _channels_of_head(item, count, module)
    heads: Mapping[str, slice] = {
        head: rows for _, layers in named_heads(model) for head, rows in layers.get(item.layer, {}).items()
    }
    if item.part in heads:
        return range(heads[item.part].start, heads[item.part].stop)
    if not 0 <= item.index < count:
        message = f"Expected a filter of {item.layer!r} from 0 to {count - 1}, got {item}."
        raise LayerError(message)
    return range(item.index, item.index + 1)


def _channels_of_head(item: Filter, count: int, module: nn.MultiheadAttention) -> range:
    heads, width = module.num_heads, module.embed_dim // module.num_heads
    if not 0 <= item.index < 3 * heads or count != 3 * module.embed_dim:
        message = (
            f"Expected one of {3 * heads} heads of {item.layer!r}, an attention that makes queries, keys and values at "
            f"once, got {item}, and {count} channels."
        )
        raise LayerError(message)
    projection, head = divmod(item.index, heads)
    start = projection * module.embed_dim + head * width
    return range(start, start + width)
