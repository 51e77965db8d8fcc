"""Which numbers of a model are a filter's own, and how they are changed for a while."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from captum_paramsal.errors import InterventionError, LayerError
from captum_paramsal.filters import Filter
from captum_paramsal.graph import Network, batch_norms_after, probed_network
from captum_paramsal.hooks import FilterLayer, frozen_eval, named_heads, scored_model, weight_of, without_hooks

Place: TypeAlias = tuple[int | slice, ...]


@dataclass(frozen=True)
class ParameterSlice:
    """A part of a parameter.

    Attributes:
        layer: Name of the layer whose parameter it is.
        name: The parameter's name in the layer.
        parameter: The parameter.
        place: Which part, as an index.
        channel: The channel of the layer that it belongs to.
    """

    layer: str
    name: str
    parameter: Tensor
    place: Place
    channel: int

    def of(self, tensor: Tensor) -> Tensor:
        """The part of a tensor of the parameter's shape, such as its gradient."""
        return tensor[self.place]


class FilterParameters:
    """The slices of parameters that belong to filters of a model.

    Args:
        model: The model.
        bias: Take the entry of the layer's bias too.
        batch_norm: Take weight and bias of the batch norm that alone reads the layer's output; a layer without one has
            none.
        inputs: What the model is run on to find these norms, ``(N, ...)``; by default, made-up inputs.

    Raises:
        InterventionError: ``batch_norm`` is asked for without ``inputs``, and the model tells of none that it takes.
    """

    def __init__(
        self, model: nn.Module, *, bias: bool = False, batch_norm: bool = False, inputs: Tensor | None = None
    ) -> None:
        self.model = scored_model(model)
        self._modules = dict(self.model.named_modules())
        self._bias = bias
        self._rows_of_heads = {layer: rows for _, heads in named_heads(self.model) for layer, rows in heads.items()}
        self._norms = _norms_of(self.model, inputs) if batch_norm else {}

    def of(self, item: Filter) -> tuple[ParameterSlice, ...]:
        """Slices of one filter, its weight first.

        Raises:
            InterventionError: The model has no such filter, or its numbers are computed for each pass.
        """
        layer = self._modules.get(item.layer)
        if layer is None:
            message = f"Expected filters of this model, got {item}, and it has no layer {item.layer!r}."
            raise InterventionError(message)
        try:
            heads = self._rows_of_heads.get(item.layer, {})
            count = len(heads) if item.part in heads else FilterLayer(item.layer, layer).count
        except LayerError as error:
            message = f"Expected filters of this model, got {item}. {error}"
            raise InterventionError(message) from error
        if not 0 <= item.index < count:
            message = f"Expected filters of this model, got {item}, and {item.layer!r} has {count} filters."
            raise InterventionError(message)
        slices = (*self._weights(item, layer), *self._rows_of_norm(item))
        for part in slices:
            if not isinstance(part.parameter, nn.Parameter):
                raise InterventionError(_computed(part.layer, part.name))
        return slices

    def every(self, items: Sequence[Filter]) -> list[tuple[ParameterSlice, ...]]:
        """Slices of several filters, each once.

        Raises:
            InterventionError: The model has no such filter, or one is named twice.
        """
        if len(set(items)) < len(items):
            twice = next(item for item in items if items.count(item) > 1)
            message = f"Expected every filter once, got {twice} more than once."
            raise InterventionError(message)
        return [self.of(item) for item in items]

    def _weights(self, item: Filter, layer: Any) -> list[ParameterSlice]:
        if isinstance(layer, nn.MultiheadAttention):
            return self._head(item, layer)
        if item.part in self._rows_of_heads.get(item.layer, {}):
            return self._rows(item, layer, self._rows_of_heads[item.layer][item.part])
        weight = weight_of(layer)
        name = next(
            (name for name, parameter in layer.named_parameters(recurse=False) if parameter is weight), "weight"
        )
        bias = getattr(layer, "bias", None)
        slices = [ParameterSlice(item.layer, name, weight, _place_of(layer, item.index), item.index)]
        if self._bias and isinstance(bias, Tensor):
            slices.append(ParameterSlice(item.layer, "bias", bias, (item.index,), item.index))
        return slices

    def _rows(self, item: Filter, layer: Any, rows: slice) -> list[ParameterSlice]:
        """The rows of a projection that a head owns."""
        slices = [ParameterSlice(item.layer, "weight", layer.weight, (rows,), item.index)]
        if self._bias and isinstance(layer.bias, Tensor):
            slices.append(ParameterSlice(item.layer, "bias", layer.bias, (rows,), item.index))
        return slices

    def _head(self, item: Filter, layer: nn.MultiheadAttention) -> list[ParameterSlice]:
        width = layer.embed_dim // layer.num_heads
        projection, head = divmod(item.index, layer.num_heads)
        rows = slice(head * width, (head + 1) * width)
        packed = slice(projection * layer.embed_dim + rows.start, projection * layer.embed_dim + rows.stop)
        if layer.in_proj_weight is not None:
            slices = [ParameterSlice(item.layer, "in_proj_weight", layer.in_proj_weight, (packed,), item.index)]
        else:
            name = ("q_proj_weight", "k_proj_weight", "v_proj_weight")[projection]
            slices = [ParameterSlice(item.layer, name, getattr(layer, name), (rows,), item.index)]
        if self._bias and layer.in_proj_bias is not None:
            slices.append(ParameterSlice(item.layer, "in_proj_bias", layer.in_proj_bias, (packed,), item.index))
        return slices

    def _rows_of_norm(self, item: Filter) -> list[ParameterSlice]:
        name = self._norms.get(item.layer)
        if name is None:
            return []
        norm: Any = self._modules[name]
        named = (("weight", norm.weight), ("bias", norm.bias))
        return [
            ParameterSlice(name, part, value, (item.index,), item.index) for part, value in named if value is not None
        ]


@contextmanager
def restored(slices: Sequence[Sequence[ParameterSlice]], *, unnoticed: bool = False) -> Iterator[None]:
    """Put the parameters that slices belong to back, bit for bit, when the block ends.

    Args:
        slices: Of some filters.
        unnoticed: Autograd does not count what is written, so a graph over the parameters from before the block can
            still be differentiated after it. Inside, gradients through such a graph would be wrong without a word.
    """
    # Whole parameters, each once: slices of one parameter may overlap, and the order of putting back would matter.
    parameters = {id(part.parameter): part.parameter for filter_slices in slices for part in filter_slices}
    kept = {key: parameter.detach().clone() for key, parameter in parameters.items()}
    try:
        yield
    finally:
        with torch.no_grad():
            for key, parameter in parameters.items():
                _written(parameter, unnoticed=unnoticed).copy_(kept[key])


def write(slices: Sequence[ParameterSlice], values: Sequence[Tensor], *, unnoticed: bool = False) -> None:
    """Write new values of one filter into the model; `unnoticed` as in :func:`restored`."""
    with torch.no_grad():
        for part, value in zip(slices, values, strict=True):
            part.of(_written(part.parameter, unnoticed=unnoticed)).copy_(value)


def _written(parameter: Tensor, *, unnoticed: bool) -> Tensor:
    return parameter.data if unnoticed else parameter


def _norms_of(model: nn.Module, inputs: Tensor | None) -> dict[str, str]:
    with frozen_eval(model):
        network = probed_network(model) if inputs is None else Network.of(without_hooks(model), inputs)
    if network is None:
        message = (
            "Expected a model whose batch norms can be found for `batch_norm=True`, got one that tells of no inputs "
            "that it takes."
        )
        raise InterventionError(message)
    return batch_norms_after(network)


def _computed(layer: str, name: str) -> str:
    return (
        f"Expected filters whose numbers are parameters, but the {name} of {layer!r} is computed for each pass, by "
        "pruning, weight norm, spectral norm or another parametrization: what is written there would be lost. Make it "
        "a parameter first, with `prune.remove(layer, 'weight')`, `remove_parametrizations(layer, 'weight')`, "
        "`remove_weight_norm(layer)` or `remove_spectral_norm(layer)` of `torch.nn.utils`."
    )


def _place_of(layer: Any, index: int) -> Place:
    if not isinstance(layer, _ConvTransposeNd):
        return (index,)
    # The weight of a transposed convolution is (C, O / groups, ...); a channel belongs to one group's inputs.
    per_group, inputs = layer.out_channels // layer.groups, layer.in_channels // layer.groups
    group, inner = divmod(index, per_group)
    return (slice(group * inputs, (group + 1) * inputs), inner)
