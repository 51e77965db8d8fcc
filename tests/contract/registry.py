"""Every class of ``captum_paramsal.attr`` and how to build it: one entry here, and it runs the whole suite."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from captum.attr import Attribution
from contract.samples import Sample

from captum_paramsal import ParameterSaliency, Reference


@dataclass(frozen=True)
class Entry:
    """One way to use a class.

    Attributes:
        name: For the test's name.
        cls: The class, as exported.
        build: Makes an attribution for a sample's model; ``options`` are the constructor's (``loss=``).
        kind: What ``attribute`` returns: a score per filter ``(N, F)``, the shape of the inputs, or a layer's maps.
        excluded: Samples that the method cannot take by its nature, each with the reason.
        takes_loss: Whether the constructor has ``loss=``.
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


ENTRIES = [
    Entry("parameter saliency, raw", ParameterSaliency, raw_parameter_saliency, "filters", takes_loss=True),
    Entry(
        "parameter saliency, standardized",
        ParameterSaliency,
        standardized_parameter_saliency,
        "filters",
        takes_loss=True,
    ),
]
