"""What each filter of some layers returns on average over an image's places, tokens or frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from captum_paramsal.errors import LayerError
from captum_paramsal.hooks.calls import sole_tensor
from captum_paramsal.hooks.filter_layer import FilterLayer
from captum_paramsal.hooks.functions import INSIDE, examples_first


class ChannelMeans:
    """Mean outputs of filters in one forward pass.

    Args:
        layers: Layers that are watched.
        dimensions: Where the examples are in what a layer returns, by its name (see
            :func:`~captum_paramsal.hooks.functions.examples_first`); dimension 0 of others.

    Attributes:
        count: Images of the pass that comes.
    """

    count: int

    def __init__(self, layers: Sequence[FilterLayer], dimensions: Mapping[str, int]) -> None:
        self._layers, self._dimensions = layers, dimensions
        self._seen: dict[str, list[Tensor]] = {}

    def keep(self, layer: FilterLayer) -> Callable[[nn.Module, Any, Any], None]:
        """Forward hook of a layer."""

        def on_forward(module: nn.Module, _: Any, output: Any) -> None:
            tensor = sole_tensor(output)
            channels = -1 if isinstance(module, nn.Linear) else 1
            rows = sum(part.stop - part.start for part in layer.heads.values()) or layer.count
            if tensor is None or tensor.ndim < 2 or tensor.shape[channels] != rows:
                got = type(output).__name__ if tensor is None else str(tuple(tensor.shape))
                message = (
                    f"Expected layer {layer.name!r} to return {rows} channels, one for each filter, got {got}. Name "
                    "convolutions or Linear layers in `layers`."
                )
                raise LayerError(message)
            means = self._by_image(tensor.detach().movedim(channels, -1), layer.name)
            if layer.heads:
                means = torch.stack([means[:, part].mean(dim=1) for part in layer.heads.values()], dim=1)
            self._seen.setdefault(layer.name, []).append(means)

        return on_forward

    def _by_image(self, returned: Tensor, name: str) -> Tensor:
        """Means over all but the images and the channels, which are last, ``(N, C)``."""
        dimension = self._dimensions.get(name, 0)
        if returned.shape[0 if dimension == INSIDE else dimension] % self.count:
            message = (
                f"Expected layer {name!r} to return rows of {self.count} images, got {tuple(returned.shape)}. Name "
                "other layers in `layers`."
            )
            raise LayerError(message)
        first = examples_first(returned, dimension, self.count)
        return first.flatten(1, -2).mean(dim=1) if first.ndim > 2 else first

    def take(self) -> Tensor:
        """Means over places, and over calls of a layer, ``(N, F)`` float64; what was seen is forgotten.

        Raises:
            LayerError: A layer did not run as a module.
        """
        missing = [layer.name for layer in self._layers if layer.name not in self._seen]
        if missing:
            message = (
                f"Expected every layer to run in the forward pass, but {missing[0]!r} did not, or its weight was used "
                "without it. Name other layers in `layers`."
            )
            raise LayerError(message)
        columns = [torch.stack(self._seen[layer.name]).mean(dim=0).double().cpu() for layer in self._layers]
        self._seen.clear()
        return torch.cat(columns, dim=1)


@contextmanager
def channel_means(layers: Sequence[FilterLayer], dimensions: Mapping[str, int]) -> Iterator[ChannelMeans]:
    """Watch layers in the forward passes of their model; nothing is left of it when the context ends."""
    means = ChannelMeans(layers, dimensions)
    with ExitStack() as handles:
        for layer in layers:
            handles.callback(layer.module.register_forward_hook(means.keep(layer)).remove)
        yield means
