"""The methods of this package, as maps."""

from __future__ import annotations

from torch import nn

from captum_paramsal.attr import (
    CNNFixations,
    DiscernibleNeurons,
    InputSpaceSaliency,
    ModelDoctor,
    ParameterSaliency,
    POTSaliency,
)
from captum_paramsal.comparison.presets.registry import register_preset
from captum_paramsal.errors import InputError
from captum_paramsal.metrics import InputMaps
from captum_paramsal.reference import Reference


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
