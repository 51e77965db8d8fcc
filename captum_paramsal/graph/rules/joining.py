"""Operations that join two branches: sums, differences, products with gates."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor, fx

from captum_paramsal.graph.operations import OPERATIONS, Kind
from captum_paramsal.graph.registry import trace_rule
from captum_paramsal.graph.rule import Found, TraceRule
from captum_paramsal.graph.sites import Sites
from captum_paramsal.graph.step import Step


def broadcast_index(index: Tensor, shape: torch.Size, full: torch.Size) -> Tensor:
    """Where neurons of a result ``full`` lie in an operand that was broadcast to it, both without the images."""
    if shape == full:
        return index
    numbers = torch.arange(prod(shape), device=index.device).reshape(shape)
    return numbers.expand(full).reshape(-1)[index]


@trace_rule(*OPERATIONS[Kind.SUM].every)
class Sum(TraceRule):
    """The larger operand carried the neuron; a difference is a sum with the second one's sign turned."""

    def back(self, step: Step, sites: Sites) -> Found:
        """The operand with the larger share, if it supports the neuron; a number has none."""
        operands = self._operands(step, sites)
        if len(operands) == 1:
            return operands
        shares = torch.stack([found.gain * found.values(step.run.values[node]) for node, found in operands])
        best, chosen = shares.max(dim=0)
        return [
            (node, found[((chosen == place) & (best > 0)).nonzero()[:, 0]])
            for place, (node, found) in enumerate(operands)
        ]

    def support(self, step: Step, sites: Sites) -> Tensor:
        """The larger operand, times the gain."""
        operands = self._operands(step, sites)
        if len(operands) == 1:
            return step.support_of(operands, len(sites))
        return torch.stack([found.gain * found.values(step.run.values[node]) for node, found in operands]).amax(dim=0)

    def limit(self, step: Step, sites: Sites) -> Tensor:
        """The support itself; that of the operand, where there is one."""
        operands = self._operands(step, sites)
        if len(operands) == 1:
            return step.support_of(operands, len(sites), limit=True)
        return self.support(step, sites)

    def _operands(self, step: Step, sites: Sites) -> list[tuple[fx.Node, Sites]]:
        minus = "sub" in (step.node.target if isinstance(step.node.target, str) else step.node.target.__name__)
        factor = step.value(step.node.kwargs.get("alpha", 1))
        signs = (1, -factor if minus else factor)
        operands: list[tuple[Any, int]] = list(zip(step.node.args[:2], signs, strict=True))
        return [
            (node, sites.at(broadcast_index(sites.index, step.shape_of(node), step.shape), sign * sites.gain))
            for node, sign in operands
            if _is_computed(step, node)
        ]


@trace_rule(*OPERATIONS[Kind.PRODUCT].every)
class Product(TraceRule):
    """The larger operand is the map, the other one its gate, which goes into the gain."""

    def reads(self, node: fx.Node) -> list[fx.Node]:
        """The gate; both operands, where either may be."""
        operands = node.all_input_nodes
        return [one for one in operands if one.op == "get_attr"] or operands

    def back(self, step: Step, sites: Sites) -> Found:
        """The map's neuron."""
        operands: Any = step.node.args[:2]
        one, other = operands
        computed = [node for node in operands if _is_computed(step, node)]
        node = max(computed, key=lambda operand: prod(step.shape_of(operand)))
        gate = other if node is one else one
        gain = sites.gain * _factor(step, gate, sites)
        return [(node, sites.at(broadcast_index(sites.index, step.shape_of(node), step.shape), gain))]

    def support(self, step: Step, sites: Sites) -> Tensor:
        """What the map's neuron is supported by."""
        return step.support_of(self.back(step, sites), len(sites))

    def limit(self, step: Step, sites: Sites) -> Tensor:
        """That of the map's neuron."""
        return step.support_of(self.back(step, sites), len(sites), limit=True)


@trace_rule(*OPERATIONS[Kind.QUOTIENT].every)
class Quotient(TraceRule):
    """The dividend's neuron; the divisor goes into the gain."""

    def back(self, step: Step, sites: Sites) -> Found:
        """The dividend's neuron."""
        operands: Any = step.node.args[:2]
        node, divisor = operands
        gain = sites.gain / _factor(step, divisor, sites)
        return [(node, sites.at(broadcast_index(sites.index, step.shape_of(node), step.shape), gain))]

    def support(self, step: Step, sites: Sites) -> Tensor:
        """What the dividend's neuron is supported by."""
        return step.support_of(self.back(step, sites), len(sites))

    def limit(self, step: Step, sites: Sites) -> Tensor:
        """That of the dividend's neuron."""
        return step.support_of(self.back(step, sites), len(sites), limit=True)


def _is_computed(step: Step, argument: Any) -> bool:
    """Whether an operand has values of its own for each image: no number, no parameter."""
    if not isinstance(argument, fx.Node) or argument.op == "get_attr" or argument not in step.run.shapes:
        return False
    own, full = step.run.shapes[argument], step.run.shapes[step.node]
    return len(own) == len(full) and own[0] == full[0]


def _factor(step: Step, argument: Any, sites: Sites) -> Any:
    """Value of a gate at each neuron, or the number itself."""
    value = step.value(argument)
    if not isinstance(value, Tensor) or not value.ndim:
        return value
    if _is_computed(step, argument):
        return value.reshape(len(value), -1)[sites.image, broadcast_index(sites.index, value.shape[1:], step.shape)]
    # Without a dimension of images, or with one of length 1.
    shape = value.shape[1:] if value.ndim > len(step.shape) else value.shape
    return value.detach().reshape(-1)[broadcast_index(sites.index, shape, step.shape)]
