"""Weights that are computed for each call, computed once for a pass: then one is known wherever it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

_COMPUTING = (BasePruningMethod, SpectralNorm, WeightNorm)
"""Hooks that write a weight before each call of their module."""


@contextmanager
def computed_once(model: nn.Module) -> Iterator[None]:
    """Parametrized, pruned and normed weights are the same tensors while this lasts, whoever reads them.

    A function that multiplies by such a weight outside of its layer's own call, as attention does by that of its output
    projection, would otherwise meet a tensor that nobody knows. Weights must not change inside.
    """
    with ExitStack() as stack:
        for module in model.modules():
            if isinstance(module, ParametrizationList):
                module.forward = _always(module())  # type: ignore[method-assign]
                stack.callback(delattr, module, "forward")
                continue
            hooks = module._forward_pre_hooks  # noqa: SLF001 -- no public way to take a hook out and put it back in its place
            computing = [key for key, hook in hooks.items() if isinstance(hook, _COMPUTING)]
            if computing:
                stack.callback(_put_back, hooks, dict(hooks))
                for key in computing:
                    hooks.pop(key)(module, ())
        yield


def _always(weight: Tensor) -> Callable[[], Tensor]:
    return lambda: weight


def _put_back(hooks: dict[int, Callable[..., object]], before: dict[int, Callable[..., object]]) -> None:
    hooks.clear()
    hooks.update(before)
