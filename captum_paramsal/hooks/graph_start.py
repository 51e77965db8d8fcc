"""Where the autograd graph of a scored model begins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor
from torch.autograd import Function


class _Start(Function):
    """Let the autograd graph begin at a tensor, without a copy and without hindering in-place operations on it."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, anchor: Tensor) -> Tensor:  # noqa: ARG004 -- autograd passes every argument
        ctx.mark_dirty(output)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None]:  # noqa: ARG004
        return None, None


def start_graph(output: Any, anchor: Tensor) -> Any:
    """Make a module's output part of the graph, where nothing before it was.

    Args:
        output: What the module returned: a tensor, or tuples, lists and dicts of them.
        anchor: Leaf that a backward pass will lead to.
    """
    if isinstance(output, tuple) and hasattr(output, "_make"):
        return output._make(start_graph(item, anchor) for item in output)
    if isinstance(output, (tuple, list)):
        return type(output)(start_graph(item, anchor) for item in output)
    if isinstance(output, dict):
        return {key: start_graph(value, anchor) for key, value in output.items()}
    if not isinstance(output, Tensor) or output.requires_grad or not output.is_floating_point():
        return output
    started = output.clone() if output._is_view() else output  # noqa: SLF001 -- documented, has no public name
    return _Start.apply(started, anchor)


def nodes_behind(tensor: Tensor) -> Iterator[Any]:
    """Every node of the autograd graph that a tensor came from."""
    waiting = [tensor.grad_fn]
    seen = set[Any](waiting)
    while waiting:
        node = waiting.pop()
        if node is None:
            continue
        yield node
        further = {after for after, _ in node.next_functions} - seen
        seen |= further
        waiting.extend(further)
