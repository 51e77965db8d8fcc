"""Another value in the place of what a module returns, while the rest of the model is as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from captum_paramsal.errors import LayerError
from captum_paramsal.hooks.calls import sole_tensor, with_tensor


@contextmanager
def replaced_maps(model: nn.Module, layer: str, replace: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Put something else in the place of a layer's output.

    Args:
        model: The model.
        layer: Name of the layer.
        replace: From the layer's output, which nothing has written over yet, to what goes on.

    Raises:
        LayerError: The layer is never called, or called again, or returns no single tensor.
    """
    calls: list[int] = []

    def seen(_: nn.Module, __: tuple[Any, ...], output: Any) -> Any:
        calls.append(1)
        require_single_call(layer, len(calls))
        tensor = sole_tensor(output)
        if tensor is None:
            message = f"Expected layer {layer!r} to return one tensor, got {type(output).__name__}."
            raise LayerError(message)
        return with_tensor(output, replace(tensor))

    handle = model.get_submodule(layer).register_forward_hook(seen)
    try:
        yield
        require_single_call(layer, len(calls))
    finally:
        handle.remove()


def require_single_call(layer: str, calls: int) -> None:
    """Make sure that a layer has one output per forward pass.

    Raises:
        LayerError: It has none, or several.
    """
    if calls == 0:
        message = f"Expected layer {layer!r} to be called in the forward pass, but it never is."
        raise LayerError(message)
    if calls > 1:
        message = (
            f"Expected layer {layer!r} to be called once in the forward pass, but it is called {calls} times or more, "
            "so it has no maps of its own. Name a layer before or behind it, or give each use a module of its own."
        )
        raise LayerError(message)
