"""Under what conditions metrics run models and methods, and everything as before afterwards."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from captum_paramsal.hooks import Output, frozen_eval, scored_model


def scored_function(model: Callable[..., Any], output: Output | None) -> Callable[..., Any]:
    """A function that returns class scores: a module, or any other, and what `output` makes of its results."""
    if output is None:
        return model
    if isinstance(model, nn.Module):
        return scored_model(model, output)

    def scores(*args: Any, **kwargs: Any) -> Tensor:
        return output(model(*args, **kwargs))

    return scores


@contextmanager
def forward_only(model: object) -> Iterator[None]:
    """Forward passes only: no graph, and a module in evaluation mode; any other function is called as it is."""
    with ExitStack() as stack:
        if isinstance(model, nn.Module):
            stack.enter_context(frozen_eval(model, gradients=False))
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.no_grad())
        yield


@contextmanager
def explaining(model: object, seed: int) -> Iterator[None]:
    """Attribution methods run: a module in evaluation mode, its weights as trainable as they were, seeds fixed."""
    with ExitStack() as stack:
        if isinstance(model, nn.Module):
            # A method may differentiate with respect to the weights.
            trainable = [each for each in model.parameters() if each.requires_grad and not each.is_inference()]
            stack.enter_context(frozen_eval(model, trainable))
        stack.enter_context(seeded(seed))
        stack.enter_context(torch.inference_mode(mode=False))
        yield


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The random numbers of torch, numpy and Python begin at a seed, and go on afterwards as if nothing had been drawn.

    >>> with seeded(0):
    ...     first = torch.rand(2)
    >>> with seeded(0):
    ...     second = torch.rand(2)
    >>> torch.equal(first, second)
    True
    """
    # Asking for the devices of a CUDA that nobody uses would start it.
    used = torch.cuda.is_initialized()
    # Captum's GradientShap draws from numpy's global state.
    of_numpy, of_python = np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=list(range(torch.cuda.device_count())) if used else []):
            torch.default_generator.manual_seed(seed)
            if used:
                torch.cuda.manual_seed_all(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            random.seed(seed)
            yield
    finally:
        np.random.set_state(of_numpy)  # noqa: NPY002
        random.setstate(of_python)
