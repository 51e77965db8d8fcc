"""Methods by name, set up as their users would."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

import torch
from captum.attr import (
    DeepLift,
    GuidedGradCam,
    IntegratedGradients,
    LayerGradCam,
    NoiseTunnel,
    Occlusion,
    Saliency,
)
from torch import Tensor, nn

from captum_paramsal.attr import (
    CNNFixations,
    DiscernibleNeurons,
    InputSpaceSaliency,
    ModelDoctor,
    ParameterSaliency,
    POTSaliency,
)
from captum_paramsal.batch import ModelInputs
from captum_paramsal.doctor.split_model import SplitModel
from captum_paramsal.errors import InputError
from captum_paramsal.functional import grad_cam_plus_plus
from captum_paramsal.hooks import Output, frozen_eval, scored_model, scores_in, unwrap
from captum_paramsal.metrics import InputMaps
from captum_paramsal.reference import Reference

OCCLUDED_SHARE = 7
"""The occluding window has one part in so many of the image's sides, and moves by half of that."""


STEPS_AT_ONCE = 16
"""Images that integrated gradients run together."""


BuildsMaps: TypeAlias = Callable[[nn.Module, Reference | None], InputMaps]


class _Multiplying:
    """A function whose maps hold changes of the output, not changes per unit of the input."""

    multiplies_by_inputs = True

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, inputs: Tensor, target: Any = None, additional_forward_args: Any = None) -> Any:
        return self._function(inputs, target, additional_forward_args)


@dataclass(frozen=True)
class Preset:
    """A method with the settings that it is compared with.

    Attributes:
        build: From a model, and a reference for methods that need one, to maps of the inputs' shape.
        description: What it is, in a line.
        needs_reference: Whether it cannot do without a reference.
    """

    build: BuildsMaps
    description: str
    needs_reference: bool = False


Builder = TypeVar("Builder", bound=BuildsMaps)

_presets: dict[str, Preset] = {}

PRESETS: Mapping[str, Preset] = MappingProxyType(_presets)
"""Captum's methods, ours, two that look at nothing, and those that were registered."""


def register_preset(name: str, *, description: str, needs_reference: bool = False) -> Callable[[Builder], Builder]:
    """Decorate what builds a method, and :func:`compare`, the command line and Quantus find it by name.

    Args:
        name: In lists of methods and in tables.
        description: What it is, in a line.
        needs_reference: Whether it cannot do without a reference.

    Returns:
        A decorator of a function of the model, and of a reference or None, that gives an :class:`InputMaps`.

    Raises:
        InputError: The name is another preset's.
    """
    if name in _presets:
        message = f"Expected a name that no preset has, got {name!r}, which is: {_presets[name].description}."
        raise InputError(message)

    def register(build: Builder) -> Builder:
        _presets[name] = Preset(build, description, needs_reference)
        return build

    return register


def preset(
    name: str, model: nn.Module, reference: Reference | None = None, *, output: Output | None = None
) -> InputMaps:
    """A method by name.

    Args:
        name: One of :data:`PRESETS`.
        model: The classifier.
        reference: What every filter usually does; for methods that need it.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.

    Raises:
        InputError: No such name, or no reference where one is needed.
    """
    if name not in PRESETS:
        near = get_close_matches(name, PRESETS, n=3, cutoff=0.4)
        message = f"Expected the name of a method, one of {', '.join(PRESETS)}, got {name!r}" + (
            f"; nearest: {', '.join(near)}." if near else "."
        )
        raise InputError(message)
    chosen = PRESETS[name]
    if chosen.needs_reference and reference is None:
        message = f"Expected a `reference` for {name!r}, which scores filters against one, got None."
        raise InputError(message)
    return chosen.build(
        scored_model(model, lambda returned: scores_in(output(returned) if output else returned, binary=True)),
        reference,
    )


def _last_layer(model: nn.Module) -> str:
    # The doctor finds it, and says what to do where there is none.
    return ModelDoctor(model, noise_samples=0).layer_name


def _last_maps(model: nn.Module) -> nn.Module:
    return unwrap(model).get_submodule(_last_layer(model))


@register_preset("grad_cam", description="Grad-CAM at the last feature maps, positive part")
def _grad_cam(model: nn.Module, _: Reference | None) -> InputMaps:
    return InputMaps(LayerGradCam(model, _last_maps(model)), relu_attributions=True)


@register_preset("grad_cam_plus_plus", description="Grad-CAM++ at the last feature maps, positive part")
def _grad_cam_plus_plus(model: nn.Module, _: Reference | None) -> InputMaps:
    split, layer = SplitModel(model), _last_layer(model)

    def attribute(inputs: Any, target: Any = None, additional_forward_args: Any = None) -> Tensor:
        batch = ModelInputs.of(inputs, target, additional_forward_args, model=model)
        with frozen_eval(model):
            parts = split.activations(batch, layer, None)
            return torch.cat([grad_cam_plus_plus(one.gradients(one.maps, one.labels), one.maps) for one in parts])

    return InputMaps(_Multiplying(attribute))


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


@register_preset("guided_grad_cam", description="Grad-CAM times guided backpropagation")
def _guided_grad_cam(model: nn.Module, _: Reference | None) -> InputMaps:
    return InputMaps(GuidedGradCam(model, _last_maps(model)))


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
            return method.attribute(inputs, window, steps, target=target, additional_forward_args=extra)

    return InputMaps(_Multiplying(attribute))


@register_preset("noise_tunnel", description="SmoothGrad: absolute gradients, 10 noisy copies")
def _noise_tunnel(model: nn.Module, _: Reference | None) -> InputMaps:
    method = NoiseTunnel(Saliency(model))

    def attribute(inputs: Tensor, target: Tensor, additional_forward_args: Any = None) -> Tensor:
        return torch.cat(
            [one(inputs[n : n + 1], target[n : n + 1], additional_forward_args) for n in range(len(inputs))]
        )

    def one(image: Tensor, target: Tensor, extra: Any) -> Tensor:
        # The paper's choice: 15 % of the image's range. The same noise for every image, whatever is beside it.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            spread = 0.15 * float(image.max() - image.min())
            maps: Tensor = method.attribute(
                image, nt_samples=10, stdevs=spread, target=target, additional_forward_args=extra
            )
        return maps

    return InputMaps(attribute)


@register_preset(
    "input_space_saliency", description="pixels that drive the filters with the highest z-scores", needs_reference=True
)
def _input_space(model: nn.Module, reference: Reference | None) -> InputMaps:
    return InputMaps(InputSpaceSaliency(ParameterSaliency(model, reference)))


@register_preset(
    "input_space_pot",
    description="pixels that drive the least probable filters, none where no filter is in its tail",
    needs_reference=True,
)
def _input_space_of_tails(model: nn.Module, reference: Reference | None) -> InputMaps:
    if reference is None:
        message = "Expected a `reference` for tails, got None."
        raise InputError(message)
    return InputMaps(InputSpaceSaliency(POTSaliency(model, reference)))


@register_preset("discernible_neurons", description="pixels that the class score is traced back to")
def _discernible_neurons(model: nn.Module, _: Reference | None) -> InputMaps:
    return InputMaps(DiscernibleNeurons(model))


@register_preset("cnn_fixations", description="the same by the strongest weights")
def _cnn_fixations(model: nn.Module, _: Reference | None) -> InputMaps:
    return InputMaps(CNNFixations(model))


@register_preset("model_doctor", description="positive contributions of the last feature maps, averaged over noise")
def _model_doctor(model: nn.Module, _: Reference | None) -> InputMaps:
    return InputMaps(ModelDoctor(model, reduce="relu", multiply_by_inputs=True))


def _centre(inputs: Tensor, target: Any = None, additional_forward_args: Any = None) -> Tensor:  # noqa: ARG001
    """Highest in the middle, falling to the corners: what a method must beat where objects are central."""
    height, width = inputs.shape[-2:]
    rows, columns = (torch.linspace(-1, 1, size, dtype=inputs.dtype, device=inputs.device) for size in (height, width))
    return torch.exp(-2 * (rows[:, None] ** 2 + columns**2)).expand_as(inputs).contiguous()


def _random(inputs: Tensor, target: Any = None, additional_forward_args: Any = None) -> Tensor:  # noqa: ARG001
    """Noise, the same for every image: what a method must beat everywhere."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(inputs.shape[-2:], generator=generator).to(inputs)
    return noise.expand_as(inputs).contiguous()


# Like the maps of layers that they are compared with, they say how much of the score lies where.
for _guess in (_centre, _random):
    _guess.multiplies_by_inputs = True  # type: ignore[attr-defined] # functions have what one gives them


@register_preset("centre", description="a bump in the middle of the image")
def _centre_preset(_: nn.Module, __: Reference | None) -> InputMaps:
    return InputMaps(_centre)


@register_preset("random", description="noise")
def _random_preset(_: nn.Module, __: Reference | None) -> InputMaps:
    return InputMaps(_random)
