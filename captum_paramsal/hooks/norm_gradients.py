"""Gradients that reach a normalization, in the layout in which its backward pass is right.

For a batch of one, PyTorch's own backward pass of batch and instance norm on a CPU takes a gradient with the strides of
tokens ``(1, places, channels)`` for one in the layout of the maps, and returns wrong numbers without an error (seen in
2.14, see ``docs/upstream.md``). A contiguous gradient is taken rightly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_INSTANCE_NORMS = frozenset({functional.instance_norm, torch.instance_norm})
_NORMS = frozenset({functional.batch_norm, torch.batch_norm, torch.native_batch_norm}) | _INSTANCE_NORMS


class ContiguousNormGradients(TorchFunctionMode):
    """While this mode lasts, the gradients of what batch and instance norms return are made contiguous."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        result = func(*args, **(kwargs or {}))
        if func in _NORMS:
            output = result[0] if isinstance(result, tuple) else result
            # Maps with the channels last are taken rightly as they are; inside `vmap` the backward pass is another one.
            flat = func in _INSTANCE_NORMS or output.is_contiguous()
            if flat and output.requires_grad and not is_functorch_wrapped_tensor(output):
                output.register_hook(Tensor.contiguous)
        return result
