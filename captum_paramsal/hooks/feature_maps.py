"""The feature maps of a layer, as a part of the graph that class scores can be differentiated through."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from captum_paramsal.errors import LayerError
from captum_paramsal.hooks.calls import sole_tensor, with_tensor
from captum_paramsal.hooks.replaced import require_single_call
from captum_paramsal.hooks.scored_model import unwrap


class FeatureMaps:
    """What a layer gave in the last forward pass.

    Args:
        name: Name of the layer, for messages.
        what: What of it is watched, for messages.
    """

    def __init__(self, name: str, what: str = "output") -> None:
        self.name = name
        self._what = what
        self._seen: list[Tensor] = []

    @property
    def latest(self) -> Tensor:
        """What the layer gave in the last forward pass; the scores depend on this very tensor.

        Maps ``(N, K, H, W)``, ``(N, H, W, K)`` or tokens ``(N, T, K)`` of its output; shares ``(N, heads, T, S)`` of
        attention.

        Raises:
            LayerError: The forward pass did not reach the layer, or there was none.
        """
        self._require_one(len(self._seen))
        return self._seen[0]

    def forget(self, *_: Any) -> None:
        """Begin a forward pass."""
        self._seen.clear()

    def keep(self, given: Tensor) -> Tensor:
        """Keep what the layer gave; what is returned goes on in its place.

        Raises:
            LayerError: It gave something before.
        """
        self._require_one(len(self._seen) + 1)
        # Below a part that is frozen no graph has begun yet.
        begins = torch.is_grad_enabled() and not given.requires_grad
        kept = given.detach().requires_grad_() if begins else given
        self._seen.append(kept)
        # An in-place ReLU that follows writes over the copy.
        return kept.clone()

    def keep_output(self, _: nn.Module, __: Any, output: Any) -> Any:
        """The same, as a forward hook.

        Raises:
            LayerError: The output is neither maps nor tokens.
        """
        tensor = sole_tensor(output)
        if tensor is None or tensor.ndim not in (3, 4):
            got = type(output).__name__ if tensor is None else f"shape {tuple(tensor.shape)}"
            message = (
                f"Expected layer {self.name!r} to give feature maps (N, K, H, W) or tokens (N, T, K), got {got}. "
                "Choose a layer before the pooling, such as the last convolution."
            )
            raise LayerError(message)
        return with_tensor(output, self.keep(tensor))

    def _require_one(self, count: int) -> None:
        if self._what == "output" or count == 1:
            require_single_call(self.name, count)
            return
        message = (
            f"Expected layer {self.name!r} to mix tokens by {self._what} once in a forward pass, got {count} times. "
            "Name the attention layer itself, such as 'blocks.11.attn'."
        )
        raise LayerError(message)


@contextmanager
def feature_maps(model: nn.Module, layer: str | nn.Module) -> Iterator[FeatureMaps]:
    """Watch a layer in the forward passes of a model; nothing is left of it when the context ends.

    Args:
        model: The model, called as a whole.
        layer: Name of the layer, or the module.

    Raises:
        LayerError: The model has no such layer; in a forward pass, a layer that is called several times or gives
            neither feature maps nor tokens.

    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(8, 3))
    >>> with feature_maps(model, "0") as maps:
    ...     scores = model(torch.ones(5, 1, 4, 4))
    >>> torch.autograd.grad(scores[:, 0].sum(), maps.latest)[0].shape
    torch.Size([5, 2, 2, 2])
    """
    model = unwrap(model)
    name, module = layer_named(model, layer)
    maps = FeatureMaps(name)
    start = model.register_forward_pre_hook(maps.forget, prepend=True)
    seen = module.register_forward_hook(maps.keep_output)
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
