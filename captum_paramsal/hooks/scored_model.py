"""Which module is scored: what its wrappers hold, and a view of it that returns class scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import new_class
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from captum_paramsal.errors import InputError, ModelError
from captum_paramsal.hooks.state import require_weights

Output: TypeAlias = Callable[[Any], Tensor]
"""From what a model returned to its class scores, one row per example."""

_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel, AveragedModel)


def unwrap(model: nn.Module) -> nn.Module:
    """The module that a compiled, data-parallel or averaged model wraps; layers have the names they have there.

    Raises:
        ModelError: A function, TorchScript or an exported program, whose layers cannot be watched.
    """
    while True:
        _require_module(model)
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(model, _WRAPPERS):
            inner = model.module
        if inner is None:
            return model
        model = inner


def scored_model(model: nn.Module, output: Output | None = None) -> nn.Module:
    """The module that is scored, as every method takes it.

    Args:
        model: A model, wrapped or not.
        output: What makes class scores of what it returns; None where it returns them.

    Returns:
        The module itself, unwrapped. With `output` a view of it: an object with the same layers by the same names, the
        same weights, hooks and attributes, which returns what `output` makes of the module's results.

    Raises:
        ModelError: A function, TorchScript or an exported program, whose layers cannot be watched.
        LayerError: Layers without weights, which get them when the model runs.
        InputError: Another default device of torch than the CPU.
    """
    inner = unwrap(model)
    require_weights(inner)
    _require_default_device()
    if output is None:
        return inner
    if not callable(output):
        message = (
            "Expected `output` to be a callable from what the model returns to class scores, such as `lambda returned: "
            f"returned[0]`, got {output!r} ({type(output).__name__})."
        )
        raise ModelError(message)
    return _view(inner, output)


def scores_in(output: Any, *, binary: bool = False) -> Any:
    """What a model's output has as ``logits``, such as Hugging Face's; the output itself where it has none.

    Args:
        output: What the model returned.
        binary: Take a single logit z ``(N, 1)`` for yes or no as the scores of two classes, (-z/2, z/2): their softmax
            is the sigmoid of z, their cross entropy the binary one.

    >>> scores_in(torch.tensor([[3.0]]), binary=True).tolist()
    [[-1.5, 1.5]]
    """
    if not isinstance(output, Tensor):
        logits = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
        if not isinstance(logits, Tensor):
            return output
        output = logits
    if not binary or output.shape[1:] != (1,) or not output.is_floating_point():
        return output
    return output * torch.tensor([-0.5, 0.5], dtype=output.dtype, device=output.device)


def two_class_view(model: nn.Module) -> nn.Module:
    """A view of a scored model in which a single logit is the scores of two classes; all other scores are as they are.

    >>> model = two_class_view(nn.Flatten())
    >>> model(torch.tensor([[[3.0]]])).tolist(), model(torch.tensor([[[1.0, 2.0]]])).tolist()
    ([[-1.5, 1.5]], [[1.0, 2.0]])
    """
    return scored_model(model, _of_two_classes)


def _of_two_classes(returned: Any) -> Any:
    return scores_in(returned, binary=True)


def whole_model(model: nn.Module) -> nn.Module:
    """The module that :func:`scored_model` made a view of, or the module itself."""
    return getattr(type(model), "_viewed", model)


def readout(model: nn.Module) -> Output:
    """What makes class scores of what :func:`whole_model` returns.

    >>> model = scored_model(nn.Flatten(), lambda returned: returned[:, :2])
    >>> images = torch.zeros(3, 1, 2, 2)
    >>> torch.equal(readout(model)(whole_model(model)(images)), model(images))
    True
    """
    return getattr(type(model), "_read", scores_in)


def _require_module(model: Any) -> None:
    """Make sure that a model has layers that can be watched."""
    if isinstance(model, torch.jit.ScriptModule):
        got = "TorchScript, whose layers cannot be watched. Give the module that it was made from"
    elif isinstance(model, nn.Module):
        return
    elif type(model).__name__ == "ExportedProgram":
        got = "an exported program. Give what its `module()` returns"
    elif isinstance(model, type):
        got = f"the class {model.__name__}. Give an object of it"
    elif callable(model):
        got = f"{getattr(model, '__name__', type(model).__name__)}, a function without layers. Give the module"
    else:
        got = type(model).__name__
    message = f"Expected `model` to be a torch.nn.Module, got {got}."
    raise ModelError(message)


def _require_default_device() -> None:
    """Make sure that new tensors are where all code of this package, and of Captum, expects them."""
    device = torch.get_default_device()
    if device.type != "cpu":
        message = (
            f"Expected the CPU as torch's default device, got '{device}'. The model may be on any device, and results "
            "are there too; work inside `with torch.device('cpu'):`, or undo it by `torch.set_default_device('cpu')`."
        )
        raise InputError(message)


def _view(model: nn.Module, output: Output) -> nn.Module:
    """An object of the model's class that shares its whole state, and whose calls end in `output`."""
    kind = type(model)

    def call(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        # Behind the hooks of the model itself, which see what it returns.
        return output(kind.__call__(self, *args, **kwargs))

    def reduce(_: nn.Module, __: Any) -> Any:
        return _view, (model, output)

    names = {
        "__call__": call,
        "__reduce_ex__": reduce,
        "_viewed": model,
        "_read": staticmethod(output),
        "__module__": kind.__module__,
    }
    of_views = new_class(kind.__name__, (kind,), exec_body=lambda namespace: namespace.update(names))
    view: nn.Module = object.__new__(of_views)
    object.__setattr__(view, "__dict__", model.__dict__)
    return view
