"""A network of a family with what the batch-of-one loop says about it."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

from cases.families import Family
from oracles.parameter_saliency import profile_loop
from torch import Tensor, nn

from captum_paramsal.attr import ParameterSaliency


@dataclass
class Scored:
    family: Family
    model: nn.Module
    images: Tensor
    labels: Tensor
    layers: tuple[str, ...]
    double: nn.Module
    exact: dict[str, Tensor]

    @classmethod
    def of(cls, family: Family) -> Scored:
        model, images, labels = family.build()
        layers = ParameterSaliency(model, layers=family.layers).filters.layers
        double = deepcopy(model).double()
        return cls(family, model, images, labels, layers, double, profile_loop(double, images.double(), labels, layers))
