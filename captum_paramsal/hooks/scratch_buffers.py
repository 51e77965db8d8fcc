"""Passes of a model that leave no mark in its buffers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from captum_paramsal.hooks.calls import once_each


@contextmanager
def scratch_buffers(model: nn.Module) -> Iterator[None]:
    """Copies in the place of a model's buffers, for as long as the context lasts.

    A batch norm in training mode counts every pass into its running statistics, and a pass on perturbed maps should
    not count. The buffers are exchanged rather than written back, since a graph may hold on to them.

    >>> import torch
    >>> norm = nn.BatchNorm1d(2)
    >>> with scratch_buffers(norm):
    ...     _ = norm(torch.rand(4, 2))
    >>> norm.num_batches_tracked
    tensor(0)
    """
    places = [
        (module, name, buffer)
        for module in model.modules()
        for name, buffer in module.named_buffers(recurse=False, remove_duplicate=False)
    ]
    copied = once_each(torch.clone)
    try:
        for module, name, buffer in places:
            setattr(module, name, copied(buffer))
        yield
    finally:
        for module, name, buffer in places:
            setattr(module, name, buffer)
