"""Where in each example every filter of some layers is most active, seen while the layers run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import ref

import numpy as np
import torch
from torch import Tensor, nn

from captum_paramsal.errors import LayerError
from captum_paramsal.hooks.calls import sole_tensor, unseen
from captum_paramsal.hooks.filter_layer import FilterLayer
from captum_paramsal.hooks.functions import examples_first

_NORMS = nn.modules.batchnorm._BatchNorm  # noqa: SLF001 -- the only name of the family

_NUMPY_TYPES = {torch.float32, torch.float64}

_PLACES = 3
"""Dimensions that a place may have."""

_AT_ONCE = {"cpu"}
"""Devices whose results are there when an operation returns."""


@dataclass(frozen=True, eq=False)
class LayerPeaks:
    """Maxima of the output maps of a layer's F filters, on some examples.

    Attributes:
        active: Examples in which each filter's maximum is above 0, ``(F,)`` int64.
        example: Examples of M maxima, ``(M,)``: of all that may be among the k highest.
        filter: Filter of each, ``(M,)``.
        value: The maxima, ``(M,)`` float64.
        place: Where they are, the first place of equal ones, ``(M, 3)``; -1 for dimensions that there are not.
    """

    active: Tensor
    example: Tensor
    filter: Tensor
    value: Tensor
    place: Tensor


@dataclass(frozen=True, eq=False)
class ExamplePeaks:
    """What was seen in one pass.

    Attributes:
        start: Number of the pass's first example in its batch.
        labels: Label of each example, or the predicted class where there was none, ``(N,)`` int64; -1 where the loss
            takes something else than classes.
        layers: By the name of the layer, of those whose outputs could be seen.
    """

    start: int
    labels: Tensor
    layers: Mapping[str, LayerPeaks]


@dataclass
class _Call:
    """Maxima of one call of a layer, ``(N, F)``, behind a norm or not, and where those are that count."""

    normed: bool
    highest: Tensor
    example: Tensor
    filter: Tensor
    place: Tensor


@dataclass
class _Unseen:
    """Maxima of one call, ``(N, F)``, and their flat places in maps of a size, on a device that is not waited for."""

    normed: bool
    highest: Tensor
    where: Tensor
    size: torch.Size


class OutputPeaks:
    """Sees what layers return, or what a batch norm makes of the very tensor that a layer returned.

    The norm may turn the sign of a filter, and what comes behind it gets what the norm returns. Filters that are heads
    of a projection have one value at each token, the root mean square over their rows.

    Args:
        k: Maxima of each filter that are wanted of a pass, at most.
        floor: From the name of a layer to what each of its filters must reach to count, ``(F,)``; None for nothing.
    """

    def __init__(self, k: int, floor: Callable[[str], Tensor | None]) -> None:
        self._k = k
        self._floor = floor
        self._normed: dict[str, bool] = {}
        self._calls: dict[str, list[_Call | _Unseen | None]] = {}
        self._returned: dict[int, tuple[FilterLayer, int, ref[Tensor]]] = {}

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        """See the batch norms of a model; what was seen before is forgotten."""
        self._forget()
        with ExitStack() as handles:
            for module in model.modules():
                if isinstance(module, _NORMS):
                    handles.callback(module.register_forward_hook(self._see_norm).remove)
            yield

    def see(self, layer: FilterLayer, output: Any, count: int, dimension: int, *, channels_last: bool) -> None:
        """See what a layer returned, or a function that multiplies by its weight.

        Args:
            layer: The layer.
            output: What was returned.
            count: Examples in the batch.
            dimension: Where they are, see :func:`captum_paramsal.hooks.functions.examples_first`.
            channels_last: Whether the channels are the last dimension, not the first behind that of the examples.
        """
        tensor = sole_tensor(output)
        if tensor is None:
            return
        if self._normed.get(layer.name):
            # Not looked at twice: what the norm makes of it is seen there.
            self._returned[id(tensor)] = layer, len(self._calls[layer.name]), ref(tensor)
            self._calls[layer.name].append(None)
            return
        with unseen():
            maps = _maps_of(layer, tensor, count, dimension, channels_last=channels_last)
            if maps is not None:
                calls = self._calls[layer.name]
                self._returned[id(tensor)] = layer, len(calls), ref(tensor)
                calls.append(self._call(layer, maps))

    def take(self, start: int, labels: Tensor) -> ExamplePeaks:
        """What was seen in the pass that ended.

        Args:
            start: Number of its first example.
            labels: Of its examples.

        Raises:
            LayerError: A batch norm reads a layer in some of its runs only.
        """
        taken = {}
        for name, calls in self._seen().items():
            made = [call for call in calls if call is not None]
            kinds = {call.normed for call in made} | {self._normed.get(name, made[0].normed if made else True)}
            if len(made) < len(calls) or len(kinds) > 1:
                message = (
                    f"Expected a batch norm behind layer {name!r} to read it whenever it runs, but it does so in some "
                    "runs only: what the layer's filters return cannot be compared. Leave `exemplars` out, or this "
                    "layer with `layers`."
                )
                raise LayerError(message)
            self._normed[name] = kinds.pop()
            taken[name] = _joined(made)
        self._forget()
        return ExamplePeaks(start, labels, taken)

    def _forget(self) -> None:
        self._calls, self._returned = defaultdict(list), {}

    def _see_norm(self, norm: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        """Forward hook of a batch norm."""
        del norm
        given = arguments[0] if arguments else None
        layer, number, made = self._returned.pop(id(given), (None, 0, None))
        if layer is None or made is None or made() is not given or layer.heads or not isinstance(output, Tensor):
            return
        with unseen():
            maps = _maps_of(layer, output, len(output), 0, channels_last=False)
            if maps is not None:
                self._calls[layer.name][number] = self._call(layer, maps, normed=True)

    def _call(self, layer: FilterLayer, maps: Tensor, *, normed: bool = False) -> _Call | _Unseen:
        flat = maps.reshape(*maps.shape[:2], -1)
        if flat.device.type not in _AT_ONCE:
            return _Unseen(normed, flat.amax(dim=2), flat.argmax(dim=2), maps.shape[2:])
        # Where maps are apart in memory, as those of tokens, looking for every place would copy them all.
        everywhere = _first_places(flat) if flat.is_contiguous() and _is_numpys(flat) else None
        highest = flat.amax(dim=2) if everywhere is None else flat.gather(2, everywhere[:, :, None])[:, :, 0]
        at = self._that_count(layer.name, highest)
        where = _first_places(flat[at]) if everywhere is None else everywhere[at]
        return _Call(normed, highest.double(), *at, _unraveled(where, maps.shape[2:]))

    def _that_count(self, layer: str, highest: Tensor) -> tuple[Tensor, Tensor]:
        """Example and filter of each maximum that may be among the k highest."""
        # Only what is among the highest of this pass can be among those of all.
        lowest = highest.topk(min(self._k, len(highest)), dim=0).values[-1]
        floor = self._floor(layer)
        if floor is not None:
            lowest = lowest.maximum(floor.to(lowest))
        example, number = (highest >= lowest).nonzero(as_tuple=True)
        return example, number

    def _seen(self) -> dict[str, list[_Call | None]]:
        """The calls on the CPU; what is still on a device comes from there in two pieces, whatever their number."""
        waiting = [call for calls in self._calls.values() for call in calls if isinstance(call, _Unseen)]
        fetched = zip(
            _on_cpu([call.highest for call in waiting]), _on_cpu([call.where for call in waiting]), strict=True
        )
        seen: dict[str, list[_Call | None]] = {}
        for name, calls in self._calls.items():
            seen[name] = [
                self._looked_at(name, call, *next(fetched)) if isinstance(call, _Unseen) else call for call in calls
            ]
        return seen

    def _looked_at(self, layer: str, call: _Unseen, highest: Tensor, where: Tensor) -> _Call:
        at = self._that_count(layer, highest)
        return _Call(call.normed, highest.double(), *at, _unraveled(where[at], call.size))


def _on_cpu(tensors: list[Tensor]) -> Iterator[Tensor]:
    """Tensors of one device brought to the CPU together."""
    if tensors:
        together = torch.cat([tensor.reshape(-1) for tensor in tensors]).cpu()
        parts = together.split([tensor.numel() for tensor in tensors])
        yield from (part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True))


def _is_numpys(maps: Tensor) -> bool:
    """Whether NumPy can read maps where they are."""
    return maps.device.type == "cpu" and maps.dtype in _NUMPY_TYPES


def _first_places(maps: Tensor) -> Tensor:
    """Flat place of the maximum of each map ``(..., P)``, the first of equal ones, ``(...)``."""
    if _is_numpys(maps):
        # NumPy finds the place of a maximum as fast as the maximum, PyTorch in ten times that.
        return torch.from_numpy(maps.numpy().argmax(axis=-1))
    return maps.argmax(dim=-1)


def _unraveled(where: Tensor, shape: torch.Size) -> Tensor:
    """Flat places ``(M,)`` by dimension, ``(M, 3)``; -1 for dimensions that there are not."""
    place = where.new_full((len(where), _PLACES), -1)
    # `torch.unravel_index` checks more than small tensors take to compute.
    for dimension, along in enumerate(np.unravel_index(where.numpy(), tuple(shape)) if len(shape) else ()):
        place[:, dimension] = torch.from_numpy(along)
    return place


def _joined(calls: list[_Call]) -> LayerPeaks:
    """Maxima over all calls, of equal ones the first."""
    if len(calls) == 1:
        (call,) = calls
        value = call.highest[call.example, call.filter]
        return LayerPeaks((call.highest > 0).sum(dim=0), call.example, call.filter, value, call.place)
    highest = torch.stack([call.highest for call in calls]).amax(dim=0)
    left = torch.ones_like(highest, dtype=torch.bool)
    parts = []
    for call in calls:
        at = call.example, call.filter
        chosen = left[at] & (call.highest[at] == highest[at])
        example, number = call.example[chosen], call.filter[chosen]
        left[example, number] = False
        parts.append((example, number, highest[example, number], call.place[chosen]))
    return LayerPeaks((highest > 0).sum(dim=0), *(torch.cat(columns) for columns in zip(*parts, strict=True)))


def _maps_of(layer: FilterLayer, output: Tensor, count: int, dimension: int, *, channels_last: bool) -> Tensor | None:
    """A map of each filter, ``(N, F, *places)``; None where the output holds no such maps."""
    if output.ndim < 2 or not output.numel():
        return None
    # What is folded with windows is unfolded to one more dimension.
    first = examples_first(output.detach(), dimension, count)
    channels = first.ndim - 1 if channels_last else first.ndim - output.ndim + 1
    maps = first.movedim(channels, 1)
    if len(first) != count or maps.ndim > 2 + _PLACES:
        return None
    groups = _head_rows(layer)
    if not groups:
        return maps if maps.shape[1] == layer.count else None
    if groups[-1].stop > maps.shape[1]:
        return None
    return torch.stack([maps[:, group].float().square().mean(dim=1).sqrt() for group in groups], dim=1)


def _head_rows(layer: FilterLayer) -> tuple[slice, ...]:
    """Rows of each filter in what a projection returns, where filters are heads."""
    if not isinstance(layer.module, nn.MultiheadAttention):
        return tuple(layer.heads.values())
    size = layer.module.embed_dim // layer.module.num_heads
    return tuple(slice(head * size, (head + 1) * size) for head in range(layer.count))
