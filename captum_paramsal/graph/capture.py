"""The network as a graph of operations, captured with ``torch.fx``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import fx, nn

__all__ = ["capture"]


def capture(model: nn.Module) -> fx.Graph | None:
    """The operations of a model's forward pass; None where ``torch.fx`` cannot trace it.

    Args:
        model: The model, in the mode whose forward pass is wanted; left as it was.
    """
    try:
        with _attributes_kept(model):
            return fx.Tracer().trace(model)
    except Exception:  # noqa: BLE001 -- tracing runs the model's own code on stand-ins, which may raise anything
        return None


@contextmanager
def _attributes_kept(model: nn.Module) -> Iterator[None]:
    """Undo what tracing writes on a model: constants of its own, and stand-ins that the forward pass stores."""
    before = [(vars(module), dict(vars(module))) for module in model.modules()]
    try:
        yield
    finally:
        for attributes, content in before:
            attributes.clear()
            attributes.update(content)
