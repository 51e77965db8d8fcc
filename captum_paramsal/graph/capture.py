"""The network as a graph of operations, captured with ``torch.fx``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import fx, nn


def capture(model: nn.Module) -> fx.Graph | None:
    """The operations of a model's forward pass; None where ``torch.fx`` cannot trace it.

    Args:
        model: The model, in the mode whose forward pass is wanted; left as it was.
    """
    try:
        with attributes_kept(model):
            return fx.Tracer().trace(model)
    except Exception:  # noqa: BLE001 -- tracing runs the model's own code on stand-ins, which may raise anything
        return None


@contextmanager
def attributes_kept(model: nn.Module) -> Iterator[dict[str, Any]]:
    """Undo what tracing writes on a model: constants of its own, and stand-ins that the forward pass stores.

    Yields:
        What was added to the model itself, filled when the context ends.
    """
    before = [(vars(module), dict(vars(module))) for module in model.modules()]
    added: dict[str, Any] = {}
    try:
        yield added
    finally:
        root, content = before[0]
        added.update({name: value for name, value in root.items() if name not in content})
        for attributes, content in before:
            attributes.clear()
            attributes.update(content)
