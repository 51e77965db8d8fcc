"""Any attribution method, as maps of the inputs' own shape."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from captum.attr import Attribution, LayerGradCam
from torch import Tensor
from torch.nn.functional import interpolate

from captum_paramsal.errors import InputError
from captum_paramsal.functional import Target, detached

_ANNOUNCED_HOOKS = r"Setting (forward, )?backward hooks"
"""Captum's DeepLift and guided methods warn at every call that they set hooks, which they remove."""


class InputMaps:
    """Makes what an attribution method returns usable in Captum's metrics, and comparable with other methods.

    Captum's metrics need maps of the inputs' shape, contiguous, and a tuple for a tuple; where a method gives something
    else, some of them raise, and ``sensitivity_max`` may return wrong numbers. Here a tensor gives a tensor, and a
    tuple of inputs a tuple, whatever the method does:

    * maps of the inputs' shape stay as they are;
    * maps of a layer, ``(N, K, h, w)`` or ``(N, h, w)``, are summed over their channels with their signs, enlarged to
      the size of the images, and repeated for each channel of the images.

    Gradients are switched on, also under ``no_grad`` and in inference mode; the result is detached.

    Args:
        method: An ``Attribution`` of Captum, of this package or your own, or a function of ``inputs``, ``target`` and
            ``additional_forward_args``. A function's arguments so named are given by name, else by place; it need not
            take all three. A tuple of one input is given as the tensor in it.
        interpolate_mode: How layer maps are enlarged: a mode of :func:`torch.nn.functional.interpolate` for images.
        **arguments: Further arguments of each call, such as ``n_steps=20`` or ``relu_attributions=True``; the same for
            all images, baselines included.

    Raises:
        InputError: ``method`` is neither.

    >>> from captum.attr import LayerGradCam
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
    >>> images = torch.rand(5, 3, 9, 9)
    >>> _ = model(images)
    >>> LayerGradCam(model, model[0]).attribute(images, target=1).shape
    torch.Size([5, 1, 4, 4])
    >>> InputMaps(LayerGradCam(model, model[0]), relu_attributions=True)(images, target=1).shape
    torch.Size([5, 3, 9, 9])
    """

    def __init__(
        self, method: Attribution | Callable[..., Any], /, *, interpolate_mode: str = "bilinear", **arguments: Any
    ) -> None:
        if not isinstance(method, Attribution) and not callable(method):
            message = f"Expected `method` to be a Captum Attribution or a function, got {type(method).__name__}."
            raise InputError(message)
        self.method = method
        self.interpolate_mode = interpolate_mode
        self.arguments = arguments

    @property
    def name(self) -> str:
        """What the method is called, for messages."""
        of = _owner(self.method)
        return getattr(of, "__name__", type(of).__name__)

    @property
    def description(self) -> str:
        """The method with its arguments, tensors as their shapes."""
        settings = {**self.arguments, "interpolate_mode": self.interpolate_mode}
        return f"{self.name}({', '.join(f'{key}={_described(value)}' for key, value in settings.items())})"

    @property
    def multiplies_by_inputs(self) -> bool:
        """Whether the maps hold changes of the output, as Integrated Gradients' do, not changes per unit of the input.

        Grad-CAM's do, though Captum's class does not say so: gradients times activations. False for a function, unless
        it has an attribute of this name.
        """
        owner = _owner(self.method)
        return isinstance(owner, LayerGradCam) or bool(getattr(owner, "multiplies_by_inputs", False))

    @property
    def baselines(self) -> Any:
        """The baselines that the method is called with, if any."""
        return self.arguments.get("baselines")

    def __call__(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: Target = None,
        additional_forward_args: Any = None,
        **more: Any,
    ) -> Any:
        """Maps of the inputs' shape.

        Args:
            inputs: ``(N, C, H, W)``, or a tuple of what the model takes.
            target: Class to explain, as the method takes it.
            additional_forward_args: Further arguments of the model.
            **more: Further arguments of the method in this call.

        Returns:
            A tensor for a tensor and a tuple for a tuple: of the inputs' shape and device, contiguous and detached; in
            the method's own unit, and finite or not, as the method gave them.

        Raises:
            InputError: What the method returned cannot be laid over the inputs.
        """
        tensors = inputs if isinstance(inputs, tuple) else (inputs,)
        with torch.inference_mode(mode=False), torch.enable_grad(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=_ANNOUNCED_HOOKS)
            output = self._attribute(
                tensors,
                _of_each(_usable(target), len(tensors[0])),
                _usable(additional_forward_args),
                {**self.arguments, **more},
            )
        maps = tuple(output) if isinstance(output, (tuple, list)) else (output,)
        if len(maps) != len(tensors):
            message = (
                f"Expected one map for each of {len(tensors)} inputs from {self.name}, got {len(maps)} values. Ask the "
                "method for maps of one layer only, and not for convergence deltas."
            )
            raise InputError(message)
        with torch.inference_mode(mode=False), torch.no_grad():
            laid = tuple(self._over(values, tensor) for values, tensor in zip(maps, tensors, strict=True))
        return laid if isinstance(inputs, tuple) else laid[0]

    def _attribute(self, tensors: tuple[Tensor, ...], target: Target, extra: Any, more: dict[str, Any]) -> Any:
        captums = isinstance(_owner(self.method), Attribution)
        # Captum warns where it has to ask for gradients itself; a plain function may not expect any.
        copies = tuple(
            detached(tensor).clone().requires_grad_(captums and tensor.is_floating_point())
            for tensor in map(_tensor, tensors)
        )
        function = self.method.attribute if isinstance(self.method, Attribution) else self.method
        given = copies if len(copies) > 1 else copies[0]
        by_place, by_name = _arguments_for(function, target, extra)
        return function(given, *by_place, **by_name, **more)

    def _over(self, values: Any, inputs: Tensor) -> Tensor:
        """One map over its input."""
        values = torch.as_tensor(values) if isinstance(values, np.ndarray) else values
        shape = tuple(inputs.shape)
        if not isinstance(values, Tensor) or values.is_complex():
            message = f"Expected maps for inputs {shape} from {self.name}, got {_shown(values)}."
            raise InputError(message)
        maps = detached(values).to(inputs.device)
        maps = maps if maps.is_floating_point() else maps.to(inputs.dtype)
        if maps.shape == inputs.shape:
            return maps.contiguous()
        if inputs.ndim != 4 or maps.ndim not in (3, 4) or len(maps) != len(inputs) or 0 in maps.shape:
            message = (
                f"Expected maps for inputs {shape} from {self.name}: of that shape, or of a layer, (N, K, h, w) or "
                f"(N, h, w), got {tuple(maps.shape)}. Scores of filters or neurons are no maps: compare a method that "
                "returns maps, such as InputSpaceSaliency(ParameterSaliency(model)) for filter scores."
            )
            raise InputError(message)
        flat = maps.sum(dim=1, keepdim=True) if maps.ndim == 4 else maps[:, None]
        if flat.shape[2:] != inputs.shape[2:]:
            flat = interpolate(flat, shape[2:], mode=self.interpolate_mode)
        return flat.expand(shape).contiguous()


def _owner(method: Any) -> Any:
    """The attribution method that a function belongs to, such as that of ``partial(saliency.attribute, abs=False)``."""
    while isinstance(method, partial):
        method = method.func
    bound = getattr(method, "__self__", None)
    return bound if isinstance(bound, Attribution) else method


def _of_each(target: Any, count: int) -> Any:
    """The target of a single image for all its copies, of which Captum's metrics make several."""
    return target.expand(count) if isinstance(target, Tensor) and target.shape == (1,) else target


def _usable(value: Any) -> Any:
    """Labels and further arguments apart from any graph; those made in inference mode are copied."""
    if isinstance(value, tuple):
        return tuple(map(_usable, value))
    return detached(value) if isinstance(value, Tensor) else value


def _tensor(value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value
    message = f"Expected `inputs` to be a tensor or a tuple of them, got {type(value).__name__}."
    raise InputError(message)


def _arguments_for(function: Callable[..., Any], target: Target, extra: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Target and further arguments as far as the function takes them: by place, by name."""
    both = {"target": target, "additional_forward_args": extra}
    try:
        parameters = list(inspect.signature(function).parameters.values())[1:]
    except ValueError:  # A function that is not written in Python.
        return (), both
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return (), both
    named = {each.name for each in parameters if each.kind is not each.POSITIONAL_ONLY} & both.keys()
    if named:
        return (), {key: both[key] for key in named}
    places = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    needed = sum(each.default is each.empty for each in places)
    return (target, extra)[: min(len(places), max(needed, 1 if extra is None else 2))], {}


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"tensor {tuple(value.shape)}"
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(_described, value))})"
    return getattr(value, "__name__", None) or (
        repr(value) if isinstance(value, (bool, int, float, str)) else _kind(value)
    )


def _kind(value: object) -> str:
    return "None" if value is None else type(value).__name__


def _shown(value: Any) -> str:
    return f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
