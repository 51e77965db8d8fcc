"""The state of a model while it is scored, and the way back to how it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from captum_paramsal.errors import LayerError
from captum_paramsal.hooks.norm_gradients import ContiguousNormGradients


def unwrap(model: nn.Module) -> nn.Module:
    """The module that a compiled or data-parallel model wraps; layers have the names they have there."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            inner = model.module
        if inner is None:
            return model
        model = inner


@contextmanager
def frozen_eval(model: nn.Module, trainable: Iterable[Tensor] = ()) -> Iterator[None]:
    """Evaluation mode, frozen weights and gradients on; everything is as before when the context ends.

    Put back, also after an exception: ``training`` of every submodule, ``requires_grad`` of every parameter, every
    buffer, the random state of the CPU and of the model's CUDA devices, and the grad and inference modes.

    Args:
        model: The model.
        trainable: Some of its parameters that need a gradient all the same.

    Raises:
        LayerError: A lazy layer has no weights yet.
    """
    require_weights(model)
    training = [(module, module.training) for module in model.modules()]
    # The flag of a parameter made in inference mode cannot be set again.
    frozen = [(parameter, parameter.requires_grad) for parameter in model.parameters() if not parameter.is_inference()]
    buffers = _buffers(model)
    devices = sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})
    fast_attention = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=devices))
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(ContiguousNormGradients())
        try:
            # The fast path of attention calls no layer, so no hook would see them.
            torch.backends.mha.set_fastpath_enabled(False)
            model.eval()
            for parameter, _ in frozen:
                parameter.requires_grad_(False)  # noqa: FBT003
            for weight in trainable:
                weight.requires_grad_()
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast_attention)
            for module, flag in training:
                module.training = flag
            for parameter, flag in frozen:
                parameter.requires_grad_(flag)
            _put_back(buffers)


def require_weights(model: nn.Module) -> None:
    """Make sure that every layer has its weights.

    Raises:
        LayerError: A lazy layer has none yet.
    """
    for name, parameter in model.named_parameters():
        if is_lazy(parameter):
            message = f"Expected a model with weights, but {name!r} is lazy and has none yet: run the model once first."
            raise LayerError(message)


_Buffer: TypeAlias = tuple[nn.Module, str, Tensor | None, Tensor | None, int | None]


def _buffers(model: nn.Module) -> list[_Buffer]:
    return [
        (module, name, None, None, None)
        if buffer is None
        else (module, name, buffer, buffer.detach().clone(), _version(buffer))
        for module in model.modules()
        for name, buffer in module._buffers.items()  # noqa: SLF001 -- `named_buffers` leaves out those that are None
    ]


def _put_back(buffers: list[_Buffer]) -> None:
    with torch.no_grad():
        for module, name, buffer, content, version in buffers:
            if buffer is None or content is None:
                pass
            elif version is None:
                with torch.inference_mode():
                    buffer.copy_(content)
            elif _version(buffer) != version:
                buffer.copy_(content)
            module._buffers[name] = buffer  # noqa: SLF001 -- `register_buffer` refuses a name that is taken


def _version(tensor: Tensor) -> int | None:
    """How often a tensor was written over; tensors made in inference mode do not count it."""
    return None if tensor.is_inference() else tensor._version  # noqa: SLF001 -- documented, has no public name
