"""Every method of ``captum_paramsal.attr``, and how to build it: one entry here, and it runs the whole suite."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import torch
from captum.attr import Attribution
from contract import models
from contract.samples import SAMPLES, Sample

from captum_paramsal import (
    CNNFixations,
    ComponentAttribution,
    DiscernibleNeurons,
    FilterAttribution,
    InputSpaceSaliency,
    ModelDoctor,
    ParameterSaliency,
    POTSaliency,
    Reference,
    TraceAttribution,
)
from captum_paramsal.graph import Passing, TraceSettings, trace_rule


@dataclass(frozen=True)
class Entry:
    """One way to use a class.

    Attributes:
        name: For the test's name.
        cls: The class, as exported; or one of your own, derived from an exported base.
        build: Makes an attribution for a sample's model; ``options`` are the constructor's (``loss=``).
        kind: What ``attribute`` returns: a score per filter ``(N, F)``, the shape of the inputs, or a layer's maps.
        excluded: Samples that the method cannot take by its nature, each with the reason.
        on_images: Whether the inputs can only be images.
        takes_gradients: Whether there is a backward pass.
        takes_loss: Whether ``build`` takes ``loss=``, for the constructor or for the scores that it works on.
        slow: Left out of an ordinary run, for another entry of its class takes the same path through it.
    """

    name: str
    cls: type[Attribution]
    build: Callable[..., Attribution]
    kind: Literal["filters", "inputs", "layer"]
    excluded: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    on_images: bool = False
    takes_gradients: bool = True
    takes_loss: bool = False
    slow: bool = False

    def __str__(self) -> str:
        return self.name


def raw_parameter_saliency(sample: Sample, **options: Any) -> Attribution:
    return ParameterSaliency(sample.model, layers=sample.layers, **options)


def standardized_parameter_saliency(sample: Sample, **options: Any) -> Attribution:
    reference = Reference.fit(
        sample.model, sample.reference_batches(), layers=sample.layers, show_progress=False, **options
    )
    return ParameterSaliency(sample.model, reference, **options)


def pot_saliency(fit: str) -> Callable[..., Attribution]:
    def build(sample: Sample, **options: Any) -> Attribution:
        reference = Reference.fit(
            sample.model,
            sample.many_reference_batches(),
            layers=sample.layers,
            tail=0.5,
            show_progress=False,
            **options,
        )
        return POTSaliency(sample.model, reference, fit=fit, layers=sample.layers, **options)

    return build


def input_space_saliency(scores: Callable[..., Attribution]) -> Callable[..., Attribution]:
    """Boosts one filter: where all that have a score are boosted, and a tail gives few a score, the map is zero."""

    def build(sample: Sample, **options: Any) -> Attribution:
        return InputSpaceSaliency(scores(sample, **options), top_k=1)

    return build


@trace_rule(models.Raising)
class Raised(Passing):
    """The trap has a forward pass that ``torch.fx`` cannot look into, so it is one operation."""


def cnn_fixations(sample: Sample) -> Attribution:
    return CNNFixations(sample.model)


def discernible_neurons(sample: Sample) -> Attribution:
    return DiscernibleNeurons(sample.model, top_k=2, places=3)


def component_attribution(**settings: Any) -> Callable[..., Attribution]:
    def build(sample: Sample) -> Attribution:
        return ComponentAttribution(sample.model, layers=sample.layers, **settings)

    return build


def model_doctor(**options: Any) -> Callable[..., Attribution]:
    def build(sample: Sample) -> Attribution:
        # Where the network cannot be captured, a doctor warns of the time that several copies take.
        copies = 1 if sample.name == "two inputs" else 3
        return ModelDoctor(sample.model, sample.layer, noise_samples=copies, **options)

    return build


class LayerShare(FilterAttribution):
    """A score of one's own: share of a filter in its layer's profile."""

    def score(self, profile):
        parts = self.filters.split(profile).values()
        return torch.cat([part / part.sum(dim=1, keepdim=True).clamp(min=1e-30) for part in parts], dim=1)


class StrongestPath(TraceAttribution):
    """A trace of one's own: the one neuron of every layer that contributes most to the one after it."""

    def __init__(self, model):
        settings = TraceSettings(weights=None, top_k=1, linear_top_k=1, places=1, active_only=True, single_place=True)
        super().__init__(model, settings)


def layer_share(sample: Sample, **options: Any) -> Attribution:
    return LayerShare(sample.model, layers=sample.layers, **options)


def strongest_path(sample: Sample) -> Attribution:
    return StrongestPath(sample.model)


NO_MAPS = {"tokens": "its layer has no maps", "reused": "its layer is called twice"}
ONE_IMAGE = {"tokens": "a trace ends in an image", "two inputs": "a trace ends in one image"}
NO_GRADIENT = {"tokens": "whole numbers have no gradient"}
ENTRIES = [
    Entry("parameter saliency, raw", ParameterSaliency, raw_parameter_saliency, "filters", takes_loss=True, slow=True),
    Entry(
        "parameter saliency, standardized",
        ParameterSaliency,
        standardized_parameter_saliency,
        "filters",
        takes_loss=True,
    ),
    Entry("POT saliency", POTSaliency, pot_saliency("mle"), "filters", takes_loss=True),
    Entry("POT saliency, exponential", POTSaliency, pot_saliency("exponential"), "filters", takes_loss=True, slow=True),
    Entry(
        "input-space saliency, raw",
        InputSpaceSaliency,
        input_space_saliency(raw_parameter_saliency),
        "inputs",
        NO_GRADIENT,
        takes_loss=True,
    ),
    Entry(
        "input-space saliency, standardized",
        InputSpaceSaliency,
        input_space_saliency(standardized_parameter_saliency),
        "inputs",
        NO_GRADIENT,
        takes_loss=True,
        slow=True,
    ),
    Entry(
        "input-space saliency, POT",
        InputSpaceSaliency,
        input_space_saliency(pot_saliency("mle")),
        "inputs",
        NO_GRADIENT,
        takes_loss=True,
        slow=True,
    ),
    Entry("CNN-Fixations", CNNFixations, cnn_fixations, "inputs", ONE_IMAGE, on_images=True, takes_gradients=False),
    Entry(
        "discernible neurons",
        DiscernibleNeurons,
        discernible_neurons,
        "inputs",
        ONE_IMAGE,
        on_images=True,
        takes_gradients=False,
    ),
    Entry("a score of one's own", LayerShare, layer_share, "filters", takes_loss=True),
    Entry(
        "a trace of one's own",
        StrongestPath,
        strongest_path,
        "inputs",
        ONE_IMAGE,
        on_images=True,
        takes_gradients=False,
    ),
    Entry("component attribution", ComponentAttribution, component_attribution(), "filters", takes_gradients=False),
    Entry(
        "component attribution, groups",
        ComponentAttribution,
        component_attribution(passes=60, fraction=0.25),
        "filters",
        takes_gradients=False,
        slow=True,
    ),
    Entry("Model Doctor", ModelDoctor, model_doctor(), "layer", NO_MAPS),
    Entry(
        "Model Doctor, contributions", ModelDoctor, model_doctor(multiply_by_inputs=True), "layer", NO_MAPS, slow=True
    ),
]


_BUILT: dict[tuple[str, str, torch.dtype | None], tuple[Sample, Attribution]] = {}


def built(entry: str, sample: str, dtype: torch.dtype | None = None) -> tuple[Sample, Attribution]:
    """A sample and its attribution, once for all the tests that change neither."""
    key = entry, sample, dtype
    if key not in _BUILT:
        made = SAMPLES[sample]()
        if dtype is not None:
            made = Sample(made.name, made.model.to(dtype), made.inputs.to(dtype), made.target)
        _BUILT[key] = made, next(one for one in ENTRIES if one.name == entry).build(made)
    return _BUILT[key]


def built_for(sample: Sample) -> Attribution | None:
    """The attribution of a sample that ``built`` gave."""
    return next((attribution for made, attribution in _BUILT.values() if made is sample), None)
