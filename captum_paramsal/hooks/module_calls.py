"""Every call of every module of a model, as its forward pass comes by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias

from torch import nn
from torch.jit._script import RecursiveScriptModule

Entered: TypeAlias = Callable[[str, nn.Module, tuple[Any, ...], dict[str, Any]], None]
"""Is told a module's name, the module, its arguments and its named arguments."""

Left: TypeAlias = Callable[[str, nn.Module, tuple[Any, ...], dict[str, Any], Any], Any]
"""The same, and what it returned; what this returns goes on in its place, if it is not None."""


@contextmanager
def module_calls(model: nn.Module, entered: Entered, left: Left) -> Iterator[None]:
    """Be told of every call of a module, behind hooks of anybody else.

    Args:
        model: The model; a module with several names is called by the first.
        entered: Told before a module runs, of the arguments that it gets.
        left: Told after it ran.
    """

    def before(name: str) -> Callable[..., None]:
        def on_enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            entered(name, module, args, kwargs)

        return on_enter

    def after(name: str) -> Callable[..., Any]:
        def on_leave(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
            return left(name, module, args, kwargs, output)

        return on_leave

    with ExitStack() as handles:
        for name, module in model.named_modules():
            if isinstance(module, RecursiveScriptModule):
                # It takes no hooks, and works as a whole.
                continue
            handles.callback(module.register_forward_pre_hook(before(name), with_kwargs=True).remove)
            handles.callback(module.register_forward_hook(after(name), with_kwargs=True).remove)
        yield
