"""Captum's methods that ask for gradients at the pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from captum.attr import (
    Deconvolution,
    DeepLift,
    GradientShap,
    GuidedBackprop,
    GuidedGradCam,
    InputXGradient,
    IntegratedGradients,
    NoiseTunnel,
    Occlusion,
    Saliency,
)
from torch import Tensor, nn

from captum_paramsal.comparison.presets.last_maps import has_channels_last, last_maps_of
from captum_paramsal.comparison.presets.registry import _Multiplying, register_preset
from captum_paramsal.errors import LayerError
from captum_paramsal.functional import labels_of, target_of
from captum_paramsal.metrics import InputMaps
from captum_paramsal.metrics.model_state import seeded
from captum_paramsal.reference import Reference

OCCLUDED_SHARE = 7
"""The occluding window has one part in so many of the image's sides, and moves by half of that."""


STEPS_AT_ONCE = 16
"""Images that integrated gradients run together."""


NOISY_COPIES = 10
"""Copies of an image whose gradients are averaged."""


SPREAD = 0.15
"""Standard deviation of their noise, as a share of the image's range: SmoothGrad's choice."""


def image_by_image(method: Callable[[Tensor, Any, Any], Tensor]) -> Callable[..., Tensor]:
    """A method that sees one image at a time, with the same random numbers for each, whatever is beside it.

    Args:
        method: From images ``(1, C, H, W)``, target and further arguments to maps.
    """

    def attribute(inputs: Tensor, target: Any = None, additional_forward_args: Any = None) -> Tensor:
        rows = labels_of(target, len(inputs))
        maps = []
        for number in range(len(inputs)):
            own = None if rows is None else target_of(rows[number : number + 1].to(inputs.device))
            with seeded(0):
                maps.append(method(inputs[number : number + 1], own, additional_forward_args))
        return torch.cat(maps)

    return attribute


@register_preset("integrated_gradients", description="Integrated Gradients from zero, 50 steps")
def _integrated_gradients(model: nn.Module, _: Reference | None) -> InputMaps:
    method = IntegratedGradients(model)

    def attribute(inputs: Tensor, target: Any = None, additional_forward_args: Any = None) -> Any:
        # Captum warns of an internal batch that is smaller than the batch itself.
        size = max(len(inputs), STEPS_AT_ONCE)
        extra = additional_forward_args
        return method.attribute(inputs, target=target, additional_forward_args=extra, internal_batch_size=size)

    return InputMaps(_Multiplying(attribute))


@register_preset("saliency", description="absolute gradient of the class score")
def _saliency(model: nn.Module, _: Reference | None) -> InputMaps:
    return InputMaps(Saliency(model))


@register_preset("input_x_gradient", description="gradient of the class score times the pixels", by_default=False)
def _input_x_gradient(model: nn.Module, _: Reference | None) -> InputMaps:
    return InputMaps(InputXGradient(model))


@register_preset("guided_grad_cam", description="Grad-CAM times guided backpropagation")
def _guided_grad_cam(model: nn.Module, _: Reference | None) -> InputMaps:
    if has_channels_last(model):
        message = (
            "Expected a model whose last feature maps are (N, C, H, W) for 'guided_grad_cam', since Captum takes "
            f"dimension 1 for the channels, got {type(model).__name__} with tokens or its channels last. Take "
            "'grad_cam', which knows both, or 'saliency'."
        )
        raise LayerError(message)
    return InputMaps(GuidedGradCam(model, last_maps_of(model)))


@register_preset(
    "guided_backprop", description="gradient that passes a ReLU only where it is positive", by_default=False
)
def _guided_backprop(model: nn.Module, _: Reference | None) -> InputMaps:
    _require_relus(model, "guided_backprop")
    return InputMaps(GuidedBackprop(model))


@register_preset(
    "deconvolution", description="gradient whose positive part passes every ReLU, open or not", by_default=False
)
def _deconvolution(model: nn.Module, _: Reference | None) -> InputMaps:
    _require_relus(model, "deconvolution")
    return InputMaps(Deconvolution(model))


def _require_relus(model: nn.Module, method: str) -> None:
    """Captum changes what goes back through modules of ReLU, and without any gives the plain gradient."""
    if not any(isinstance(module, nn.ReLU) for module in model.modules()):
        message = (
            f"Expected a model with nn.ReLU modules for {method!r}, whose gradients it changes, got "
            f"{type(model).__name__} without. Write `nn.ReLU()` in the place of functions, or take 'saliency' or "
            "'input_x_gradient'."
        )
        raise LayerError(message)


class _ScoresAlone(nn.Module):
    """A module whose hooks see class scores: those of a view see all that its model returns, which DeepLift cuts up."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Any) -> Any:
        return self.model(*inputs)


@register_preset("deep_lift", description="DeepLift from zero")
def _deep_lift(model: nn.Module, _: Reference | None) -> InputMaps:
    return InputMaps(DeepLift(_ScoresAlone(model)))


@register_preset("occlusion", description="drop of the class score under a window of a seventh of the sides")
def _occlusion(model: nn.Module, _: Reference | None) -> InputMaps:
    method = Occlusion(model)

    def attribute(inputs: Tensor, target: Any = None, additional_forward_args: Any = None) -> Any:
        channels, height, width = inputs.shape[1:]
        window = (channels, max(1, height // OCCLUDED_SHARE), max(1, width // OCCLUDED_SHARE))
        steps = (channels, max(1, window[1] // 2), max(1, window[2] // 2))
        extra = additional_forward_args
        with torch.no_grad():
            maps = method.attribute(inputs, window, steps, target=target, additional_forward_args=extra)
        # Captum divides by how many windows cover a place in single precision.
        return maps.to(inputs.dtype)

    return InputMaps(_Multiplying(attribute))


def _noise(image: Tensor) -> float:
    return SPREAD * float(image.max() - image.min())


@register_preset("noise_tunnel", description="SmoothGrad: absolute gradients, 10 noisy copies")
def _noise_tunnel(model: nn.Module, _: Reference | None) -> InputMaps:
    method = NoiseTunnel(Saliency(model))

    def attribute(image: Tensor, target: Any, extra: Any) -> Tensor:
        maps: Tensor = method.attribute(
            image, nt_samples=NOISY_COPIES, stdevs=_noise(image), target=target, additional_forward_args=extra
        )
        return maps

    return InputMaps(image_by_image(attribute))


@register_preset(
    "gradient_shap",
    description="gradients at 10 noisy points between zero and the image, times the change of the pixels",
    by_default=False,
)
def _gradient_shap(model: nn.Module, _: Reference | None) -> InputMaps:
    method = GradientShap(model)

    def attribute(image: Tensor, target: Any, extra: Any) -> Tensor:
        maps: Tensor = method.attribute(
            image,
            baselines=torch.zeros_like(image),
            n_samples=NOISY_COPIES,
            stdevs=_noise(image),
            target=target,
            additional_forward_args=extra,
        )
        return maps

    return InputMaps(_Multiplying(image_by_image(attribute)))
