"""The state of a model while it is scored, and the way back to how it was."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from threading import RLock
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils.checkpoint import CheckpointError

from captum_paramsal.errors import LayerError, ModelError
from captum_paramsal.hooks.kept_state import as_it_was
from captum_paramsal.hooks.norm_gradients import ContiguousNormGradients

_ONE_AT_A_TIME = RLock()
"""What scoring switches is the process's own in part: random states, fast attention, the stance of the compiler."""


@contextmanager
def frozen_eval(model: nn.Module, trainable: Iterable[Tensor] = (), *, gradients: bool = True) -> Iterator[None]:
    """Evaluation mode and frozen weights, with gradients or without; everything is as before when the context ends.

    Put back, also after an exception: ``training`` of every submodule, ``requires_grad`` of every parameter, every
    buffer, attribute and submodule, weights that a module of one's own writes, the random state of the CPU and of the
    model's CUDA devices, and the grad and inference modes. One thread at a time is inside, others wait.

    Args:
        model: The model.
        trainable: Some of its parameters that need a gradient all the same.
        gradients: Whether any are taken inside.

    Raises:
        LayerError: A lazy layer has no weights yet.
        ModelError: Checkpointed blocks, inside the context, that cannot be differentiated as is asked.
    """
    require_weights(model)
    devices = sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})
    with ExitStack() as stack:
        stack.enter_context(_ONE_AT_A_TIME)
        stack.enter_context(as_it_was(model))
        stack.enter_context(torch.random.fork_rng(devices=devices))
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.set_grad_enabled(gradients))
        if gradients:
            stack.enter_context(ContiguousNormGradients())
        stack.enter_context(uncompiled())
        stack.enter_context(_checkpointing())
        stack.enter_context(_slow_attention())
        _to_evaluation(model)
        for parameter in model.parameters():
            # The flag of a parameter made in inference mode cannot be set.
            if not parameter.is_inference():
                parameter.requires_grad_(False)  # noqa: FBT003
        for weight in trainable:
            weight.requires_grad_()
        yield


@contextmanager
def _slow_attention() -> Iterator[None]:
    """The fast path of attention calls no layer, so no hook would see them."""
    fast = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


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


def uncompiled() -> AbstractContextManager[None]:
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
            "Expected a model whose blocks can be differentiated here, got activation checkpointing that cannot: "
            "filters can be scored with it, and without it everything works. Switch it off, such as by "
            "`set_grad_checkpointing(False)` or `gradient_checkpointing_disable()`."
        )
        raise ModelError(message) from error
