"""What batch norms get from the layers in front of them, beside the statistics that they keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn

from captum_paramsal.hooks.calls import sole_tensor
from captum_paramsal.hooks.filter_layer import FilterLayer

_NORMS = nn.modules.batchnorm._BatchNorm  # noqa: SLF001 -- the only name of the family


@dataclass
class _Seen:
    """Sums over what a norm has got from a layer."""

    norm: Any
    total: Tensor
    squares: Tensor
    count: int = 0


@dataclass
class NormInputs:
    """Means and variances of what layers give to the batch norms that read them.

    A norm reads a layer if it gets the very tensor that the layer returned, whatever else reads that.
    """

    _made: dict[int, tuple[str, ref[Tensor]]] = field(default_factory=dict)
    _seen: dict[str, _Seen] = field(default_factory=dict)

    def statistics(self, layer: FilterLayer) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
        """Mean and variance of what each filter gave, and those that the norm keeps with its epsilon added to both.

        Returns:
            ``(F,)`` float64 each; None where no batch norm with statistics reads the layer.
        """
        seen = self._seen.get(layer.name)
        if seen is None:
            return None
        mean = seen.total / seen.count
        variance = (seen.squares / seen.count - mean.square()).clamp(min=0) + seen.norm.eps
        kept = (seen.norm.running_mean.double().cpu(), seen.norm.running_var.double().cpu() + seen.norm.eps)
        return mean, variance, *kept

    def made_by(self, layer: FilterLayer) -> Callable[[nn.Module, Any, Any], None]:
        """Forward hook of a layer."""

        def on_forward(_: nn.Module, __: Any, output: Any) -> None:
            tensor = sole_tensor(output)
            if tensor is not None:
                self._made[id(tensor)] = layer.name, ref(tensor)

        return on_forward

    def read_by(self, norm: nn.Module, arguments: tuple[Any, ...]) -> None:
        """Forward pre-hook of a batch norm."""
        got = arguments[0] if arguments else None
        name, made = self._made.pop(id(got), ("", None))
        if made is None or not isinstance(got, Tensor) or made() is not got:
            return
        rows = got.detach().movedim(1, 0).flatten(1).double()
        total, squares = rows.sum(dim=1).cpu(), rows.square().sum(dim=1).cpu()
        seen = self._seen.setdefault(name, _Seen(norm, torch.zeros_like(total), torch.zeros_like(squares)))
        seen.count += rows.shape[1]
        seen.total += total
        seen.squares += squares


@contextmanager
def norm_inputs(model: nn.Module, layers: Sequence[FilterLayer]) -> Iterator[NormInputs]:
    """Watch layers and batch norms in a model's forward passes; nothing is left of it when the context ends."""
    watched = NormInputs()
    with ExitStack() as handles:
        for layer in layers:
            if not layer.heads:
                handles.callback(layer.module.register_forward_hook(watched.made_by(layer)).remove)
        for module in model.modules():
            if isinstance(module, _NORMS) and module.running_mean is not None:
                handles.callback(module.register_forward_pre_hook(watched.read_by).remove)
        yield watched
