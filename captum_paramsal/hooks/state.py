"""The state of a model while it is scored, and the way back to how it was."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils.checkpoint import CheckpointError

from captum_paramsal.errors import LayerError, ModelError
from captum_paramsal.hooks.norm_gradients import ContiguousNormGradients


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
        ModelError: Checkpointed blocks, inside the context, that cannot be differentiated as is asked.
    """
    require_weights(model)
    training = [(module, module.training) for module in model.modules()]
    # The flag of a parameter made in inference mode cannot be set again.
    frozen = [(parameter, parameter.requires_grad) for parameter in model.parameters() if not parameter.is_inference()]
    buffers = _Buffers(model)
    devices = sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})
    fast_attention = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=devices))
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(ContiguousNormGradients())
        stack.enter_context(_uncompiled())
        stack.enter_context(_checkpointing())
        try:
            # The fast path of attention calls no layer, so no hook would see them.
            torch.backends.mha.set_fastpath_enabled(False)
            _to_evaluation(model)
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
            buffers.put_back()


def require_weights(model: nn.Module) -> None:
    """Make sure that every layer has its weights.

    Raises:
        LayerError: A lazy layer has none yet.
    """
    for name, parameter in model.named_parameters():
        if is_lazy(parameter):
            message = f"Expected a model with weights, but {name!r} is lazy and has none yet: run the model once first."
            raise LayerError(message)


def _to_evaluation(model: nn.Module) -> None:
    try:
        model.eval()
    except NotImplementedError:
        # A loaded program of torch.export has one way to run, whatever the flags say.
        for module in model.modules():
            module.training = False


def _uncompiled() -> AbstractContextManager[None]:
    """Run code eagerly that `torch.compile` compiled, in place or in part: compiled code calls no hook."""
    # Whoever compiled anything has loaded this; loading it for nobody takes a second.
    stance = getattr(torch.compiler, "set_stance", None) if "torch._dynamo" in sys.modules else None
    return nullcontext() if stance is None else cast("AbstractContextManager[None]", stance("force_eager"))


@contextmanager
def _checkpointing() -> Iterator[None]:
    """Say what to do where blocks that run again in the backward pass do not allow what is asked."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, CheckpointError) and "use_reentrant=True" not in str(error):
            raise
        message = (
            "Expected a model whose blocks can be differentiated here, got activation checkpointing that cannot: with "
            "`use_reentrant=False` filters can be scored, and without checkpointing everything works. Switch it off, "
            "such as by `set_grad_checkpointing(False)` or `gradient_checkpointing_disable()`."
        )
        raise ModelError(message) from error


class _Buffers:
    """The buffers of a model as they are, those that are None and which there are; and tensors that are attributes.

    Pruning and the older weight norm keep the weight that they compute in an attribute.
    """

    def __init__(self, model: nn.Module) -> None:
        self._names = [(module, dict(module._buffers)) for module in model.modules()]  # noqa: SLF001 -- None is not in `named_buffers`
        self._attributes = [
            (vars(module), {name: value for name, value in vars(module).items() if isinstance(value, Tensor)})
            for module in model.modules()
        ]
        self._content = [
            (buffer, buffer.detach().clone(), _version(buffer))
            for _, buffers in self._names
            for buffer in buffers.values()
            if buffer is not None
        ]

    def put_back(self) -> None:
        with torch.no_grad():
            for buffer, content, version in self._content:
                if version is None:
                    with torch.inference_mode():
                        buffer.copy_(content)
                elif _version(buffer) != version:
                    buffer.copy_(content)
        for module, buffers in self._names:
            # Added and taken away one by one: an interruption in between must not empty the model.
            for name in module._buffers.keys() - buffers.keys():  # noqa: SLF001
                del module._buffers[name]  # noqa: SLF001
            module._buffers.update(buffers)  # noqa: SLF001 -- `register_buffer` refuses a name that is taken
        for attributes, tensors in self._attributes:
            attributes.update(tensors)


def _version(tensor: Tensor) -> int | None:
    """How often a tensor was written over; tensors made in inference mode do not count it."""
    return None if tensor.is_inference() else tensor._version  # noqa: SLF001 -- documented, has no public name
