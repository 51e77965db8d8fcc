"""Every class of ``captum_paramsal.attr`` and how to build it: one entry here, and it runs the whole suite."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from captum.attr import Attribution
from contract.samples import Sample

from captum_paramsal import InputSpaceSaliency, ParameterSaliency, POTSaliency, Reference


@dataclass(frozen=True)
class Entry:
    """One way to use a class.

    Attributes:
        name: For the test's name.
        cls: The class, as exported.
        build: Makes an attribution for a sample's model; ``options`` are the constructor's (``loss=``).
        kind: What ``attribute`` returns: a score per filter ``(N, F)``, the shape of the inputs, or a layer's maps.
        excluded: Samples that the method cannot take by its nature, each with the reason.
        takes_loss: Whether ``build`` takes ``loss=``, for the constructor or for the scores that it works on.
    """

    name: str
    cls: type[Attribution]
    build: Callable[..., Attribution]
    kind: Literal["filters", "inputs", "layer"]
    excluded: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    takes_loss: bool = False

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


NO_GRADIENT = {"tokens": "whole numbers have no gradient"}
ENTRIES = [
    Entry("parameter saliency, raw", ParameterSaliency, raw_parameter_saliency, "filters", takes_loss=True),
    Entry(
        "parameter saliency, standardized",
        ParameterSaliency,
        standardized_parameter_saliency,
        "filters",
        takes_loss=True,
    ),
    Entry("POT saliency", POTSaliency, pot_saliency("mle"), "filters", takes_loss=True),
    Entry("POT saliency, exponential", POTSaliency, pot_saliency("exponential"), "filters", takes_loss=True),
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
    ),
    Entry(
        "input-space saliency, POT",
        InputSpaceSaliency,
        input_space_saliency(pot_saliency("mle")),
        "inputs",
        NO_GRADIENT,
        takes_loss=True,
    ),
]
