"""The feature maps of a layer, as a part of the graph that class scores can be differentiated through."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from captum_paramsal.errors import LayerError
from captum_paramsal.hooks.replaced import require_single_call
from captum_paramsal.hooks.scored_model import unwrap


class FeatureMaps:
    """What a layer gave in the last forward pass.

    Args:
        name: Name of the layer, for messages.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._seen: list[Tensor] = []

    @property
    def latest(self) -> Tensor:
        """The layer's output in the last forward pass, ``(N, K, H, W)``; the scores depend on this very tensor.

        Raises:
            LayerError: The forward pass did not reach the layer, or there was none.
        """
        require_single_call(self.name, len(self._seen))
        return self._seen[0]

    def _forget(self, *_: Any) -> None:
        self._seen.clear()

    def _keep(self, _: nn.Module, __: Any, output: Any) -> Tensor:
        require_single_call(self.name, len(self._seen) + 1)
        if not isinstance(output, Tensor) or output.ndim != 4:
            got = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
            message = (
                f"Expected layer {self.name!r} to give feature maps (N, K, H, W), got {got}. Choose a layer before the "
                "pooling, such as the last convolution."
            )
            raise LayerError(message)
        # Below a part that is frozen no graph has begun yet.
        begins = torch.is_grad_enabled() and not output.requires_grad
        maps = output.detach().requires_grad_() if begins else output
        self._seen.append(maps)
        # An in-place ReLU that follows writes over the copy.
        return maps.clone()


@contextmanager
def feature_maps(model: nn.Module, layer: str | nn.Module) -> Iterator[FeatureMaps]:
    """Watch a layer in the forward passes of a model; nothing is left of it when the context ends.

    Args:
        model: The model, called as a whole.
        layer: Name of the layer, or the module.

    Raises:
        LayerError: The model has no such layer; in a forward pass, a layer that is called several times or gives no
            feature maps ``(N, K, H, W)``.

    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(8, 3))
    >>> with feature_maps(model, "0") as maps:
    ...     scores = model(torch.ones(5, 1, 4, 4))
    >>> torch.autograd.grad(scores[:, 0].sum(), maps.latest)[0].shape
    torch.Size([5, 2, 2, 2])
    """
    model = unwrap(model)
    name, module = layer_named(model, layer)
    maps = FeatureMaps(name)
    start = model.register_forward_pre_hook(maps._forget, prepend=True)  # noqa: SLF001 -- the hooks are its own
    seen = module.register_forward_hook(maps._keep)  # noqa: SLF001
    try:
        yield maps
    finally:
        start.remove()
        seen.remove()


def layer_named(model: nn.Module, layer: str | nn.Module) -> tuple[str, nn.Module]:
    """Name and module of a layer.

    Raises:
        LayerError: The model has none such; the nearest names are offered.
    """
    named = {name: module for name, module in model.named_modules() if name}
    found = [(name, module) for name, module in named.items() if layer is module or name == layer]
    if found:
        return found[0]
    shown = repr(layer) if isinstance(layer, str) else f"this {type(layer).__name__}"
    near = get_close_matches(shown, named, n=4, cutoff=0.3)
    message = f"Expected `layer` to name a layer of the model, got {shown}" + (
        f"; nearest: {', '.join(map(repr, near))}." if near else "."
    )
    raise LayerError(message)
