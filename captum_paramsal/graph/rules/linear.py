"""Linear layers, over vectors and over the channels of a map."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, fx
from torch.nn import functional

from captum_paramsal.functional.receptive_fields import FEW, distinct, largest_products
from captum_paramsal.graph.registry import trace_rule, trace_rule_of
from captum_paramsal.graph.rule import Found, Passing, TraceRule
from captum_paramsal.graph.selecting import Candidates, select
from captum_paramsal.graph.sites import Sites
from captum_paramsal.graph.step import Step


@trace_rule(functional.linear)
class Linear(TraceRule):
    """Input features compete for each neuron; at each place or token of a map it is a convolution of one tap."""

    has_weights = True
    channel_dimension = -1

    def back(self, step: Step, sites: Sites) -> Found:
        """The features with the largest positive Ω."""
        weight, vectors = _operands(step)
        outputs, features = weight.shape
        place, output = sites.index // outputs, sites.index % outputs
        current = vectors[place] * weight[output] * sites.gain[:, None]
        candidates = Candidates(current, place * features, 1, self._keep(step))
        return [(step.source, select(step, step.source, sites, candidates))]

    def support(self, step: Step, sites: Sites) -> Tensor:
        """The largest contribution of an input feature."""
        weight, vectors = _operands(step)
        outputs = len(weight)
        (place,), owner = distinct(sites.index // outputs)
        vectors = vectors[place]
        if len(sites) * FEW < len(place) * outputs:
            signed = vectors[owner] * sites.gain[:, None]
            products: Tensor = signed * weight[sites.index % outputs]
            return products.amax(dim=1)
        highest = largest_products(vectors, weight)
        lowest = -largest_products(vectors, -weight) if (sites.gain < 0).any() else highest
        at = (owner, sites.index % outputs)
        return sites.gain * torch.where(sites.gain < 0, lowest[at], highest[at])

    def limit(self, step: Step, sites: Sites) -> Tensor:
        """The largest feature times the largest weight."""
        weight, vectors = _operands(step)
        outputs = len(weight)
        highest = vectors.abs().amax(dim=1)[sites.index // outputs]
        reach: Tensor = highest * weight.abs().amax(dim=1)[sites.index % outputs]
        return sites.gain.abs() * reach

    def _keep(self, step: Step) -> int | None:
        # Tokens of all images may be one dimension, as in `nn.MultiheadAttention`.
        if prod(step.shape[:-1]) > len(step.run.output):
            return step.settings.top_k
        if step.settings.single_place and _is_flattened_map(step):
            return 1
        return step.settings.linear_top_k


def _operands(step: Step) -> tuple[Tensor, Tensor]:
    """The weight ``(O, F)``, and the vectors ``(P, F)`` that it is applied to."""
    weight: Tensor = step.value(step.argument(1, "weight"))
    weight = weight.reshape(-1, weight.shape[-1])
    return weight, step.maps.reshape(-1, weight.shape[1])


def _is_flattened_map(step: Step) -> bool:
    """Whether a vector holds the neurons of a map of more than one place: of all places, as a class token does not."""
    node: fx.Node = step.source
    features = step.shape_of(node).numel()
    while node in step.run.shapes:
        shape = step.shape_of(node)
        if len(shape) > 2:
            return prod(shape[2:]) > 1 and shape.numel() == features
        rule = trace_rule_of(node, step.run.model)
        if not isinstance(rule, Passing) and not getattr(rule, "rearranges", False):
            return False
        node = node.all_input_nodes[0]
    return False
