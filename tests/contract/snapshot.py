"""Everything that a call must leave as it found it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.overrides import _get_current_function_mode_stack
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

GLOBAL_HOOKS = [name for name in vars(torch_module) if name.startswith("_global_") and "hook" in name]


def tensor_state(tensor: Tensor | None) -> Any:
    """Identity, flags, gradient and values; values are copied, so that a change in place shows."""
    if tensor is None:
        return None
    hooks = tensor._backward_hooks if tensor.is_leaf else None
    return {
        "identity": id(tensor),
        "memory": tensor.data_ptr(),
        "type": (type(tensor), tensor.dtype, tuple(tensor.shape), tensor.stride(), str(tensor.device)),
        "requires_grad": tensor.requires_grad,
        "is_leaf": tensor.is_leaf,
        "tensor hooks": tuple(hooks or ()),
        "attributes": tuple(sorted(vars(tensor))),
        "gradient": None if not tensor.is_leaf or tensor.grad is None else tensor_state(tensor.grad),
        "values": tensor.detach().clone(),
    }


def plain(value: Any) -> Any:
    """What identifies an attribute of a module; dictionaries of hooks by their keys and functions, in order."""
    if isinstance(value, dict):
        return [(key, id(item)) for key, item in value.items()]
    return value if isinstance(value, bool | int | float | str | type(None)) else id(value)


def module_state(module: nn.Module) -> dict[str, Any]:
    inside = {"_parameters", "_buffers"}
    own = {key: plain(value) for key, value in vars(module).items() if key not in inside}
    own["class"] = type(module)
    own["names"] = [*module._parameters, None, *module._buffers]
    for kind in ("_parameters", "_buffers"):
        for key, tensor in getattr(module, kind).items():
            own[f"{kind}.{key}"] = tensor_state(tensor)
    return own


def flat_tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [t for v in value for t in flat_tensors(v)] if isinstance(value, tuple | list) else []


def snapshot(model: nn.Module, *arguments: Any) -> dict[str, Any]:
    """The state of a model, of the tensors given to it and of the process."""
    numpy_state = np.random.get_state()  # noqa: NPY002
    state: dict[str, Any] = {f"module {name!r}": module_state(m) for name, m in model.named_modules()}
    for number, tensor in enumerate(flat_tensors(arguments)):
        state[f"argument tensor {number}"] = tensor_state(tensor)
    state["process"] = {
        "torch random state": torch.random.get_rng_state(),
        "python random state": random.getstate(),
        "numpy random state": (numpy_state[1].tolist(), numpy_state[2:]),
        "gradients enabled": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "anomaly detection": torch.is_anomaly_enabled(),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda")),
        "default dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cudnn": (torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        "mha fast path": torch.backends.mha.get_fastpath_enabled(),
        "function modes": [id(mode) for mode in _get_current_function_mode_stack()],
        "dispatch modes": [id(mode) for mode in _get_current_dispatch_mode_stack()],
        **{name: plain(getattr(torch_module, name)) for name in GLOBAL_HOOKS},
    }
    return state


def same_values(before: Tensor, after: Tensor) -> bool:
    if before.shape != after.shape or before.dtype != after.dtype:
        return False
    if before.is_floating_point():
        return torch.allclose(before, after, rtol=0, atol=0, equal_nan=True)
    return torch.equal(before, after)


def differences(before: Any, after: Any, where: str = "") -> Iterator[str]:
    """Readable names of what is not as it was."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}, key=str):
            place = f"{where}: {key}" if where else str(key)
            if key not in before:
                yield f"{place} is new"
            elif key not in after:
                yield f"{place} is gone"
            else:
                yield from differences(before[key], after[key], place)
    elif isinstance(before, Tensor) and isinstance(after, Tensor):
        if not same_values(before, after):
            yield f"{where} changed"
    elif type(before) is not type(after) or before != after:
        yield f"{where} was {str(before)[:80]}, is {str(after)[:80]}"


@contextmanager
def nothing_left_behind(model: nn.Module, *arguments: Any) -> Iterator[None]:
    """Fails if the model, the tensors or the process are not as they were, also when the block raises."""
    before = snapshot(model, *arguments)
    try:
        yield
    finally:
        changed = list(differences(before, snapshot(model, *arguments)))
        assert not changed, f"{len(changed)} things are left behind: " + "; ".join(changed[:8])


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, and those that it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
