"""Operations that join two branches: sums, differences, products with gates."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor, fx

from captum_paramsal.graph.operations import OPERATIONS, Kind, kind_of, name_of
from captum_paramsal.graph.registry import trace_rule
from captum_paramsal.graph.rule import Found, TraceRule
from captum_paramsal.graph.sites import Sites
from captum_paramsal.graph.step import Step

_GATES = {"sigmoid", "hardsigmoid", "softmax", "tanh", "softplus", "hardtanh"}
"""Functions whose result, times a map, is taken for the map's gate."""

_ON_THE_WAY = frozenset({
    Kind.SAME, Kind.DROPOUT, Kind.REARRANGEMENT, Kind.FLATTENING, Kind.RESHAPING, Kind.RESIZING,
})  # fmt: skip
"""What may lie between a gate's function and the product."""


def broadcast_index(index: Tensor, shape: torch.Size, full: torch.Size) -> Tensor:
    """Where neurons of a result ``full`` lie in an operand that was broadcast to it."""
    if shape == full:
        return index
    numbers = torch.arange(prod(shape), device=index.device).reshape(shape)
    return numbers.expand(full).reshape(-1)[index]


def operand_at(step: Step, node: fx.Node, sites: Sites, gain: Tensor) -> tuple[fx.Node, Sites]:
    """The neurons of an operand behind those of a result."""
    return node, sites.at(broadcast_index(sites.index, step.shape_of(node), step.shape), gain)


def is_gate(step: Step, node: Any) -> bool:
    """Whether a value is the result of a function that makes gates or shares, or of a softmax among them."""
    while isinstance(node, fx.Node) and node.all_input_nodes:
        kind = kind_of(node, step.run.model)
        if kind not in _ON_THE_WAY:
            break
        node = node.all_input_nodes[0]
    return isinstance(node, fx.Node) and name_of(node.target).rpartition(".")[2].rstrip("_") in _GATES


def largest(step: Step, operands: Found) -> Found:
    """Of several operands whose neurons add up, the one with the largest share of each, if it supports it."""
    shares = torch.stack([operand.gain * operand.values(step.run.tensor(node)) for node, operand in operands])
    best, chosen = shares.max(dim=0)
    return [
        (node, operand[((chosen == place) & (best > 0)).nonzero()[:, 0]])
        for place, (node, operand) in enumerate(operands)
    ]


@trace_rule(*OPERATIONS[Kind.SUM].calls)
class Sum(TraceRule):
    """The larger operand carried the neuron; a difference is a sum with the second one's sign turned."""

    def back(self, step: Step, sites: Sites) -> Found:
        """The operand with the larger share, if it supports the neuron; a number has none."""
        operands = self._operands(step, sites)
        return operands if len(operands) == 1 else largest(step, operands)

    def support(self, step: Step, sites: Sites) -> Tensor:
        """The larger operand, times the gain."""
        operands = self._operands(step, sites)
        if len(operands) == 1:
            return step.support_of(operands, len(sites))
        return torch.stack([operand.gain * operand.values(step.run.tensor(node)) for node, operand in operands]).amax(
            dim=0
        )

    def limit(self, step: Step, sites: Sites) -> Tensor:
        """The support itself; that of the operand, where there is one."""
        operands = self._operands(step, sites)
        if len(operands) == 1:
            return step.support_of(operands, len(sites), limit=True)
        return self.support(step, sites)

    def _operands(self, step: Step, sites: Sites) -> list[tuple[fx.Node, Sites]]:
        name = name_of(step.node.target)
        factor = step.value(step.node.kwargs.get("alpha", 1))
        one, other = step.node.args[0], step.argument(1, "other")
        pairs = {"rsub": ((one, -factor), (other, 1)), "sub": ((one, 1), (other, -factor))}
        signed = next((pairs[word] for word in pairs if word in name), ((one, 1), (other, factor)))
        return [
            operand_at(step, node, sites, sign * sites.gain)
            for node, sign in signed
            if isinstance(node, fx.Node) and step.is_computed(node)
        ]


@trace_rule(*OPERATIONS[Kind.PRODUCT].calls)
class Product(TraceRule):
    """One operand is the map, the other its gate, which goes into the gain."""

    def back(self, step: Step, sites: Sites) -> Found:
        """The map's neuron."""
        operands: Any = (step.node.args[0], step.argument(1, "other"))
        node, gate = gated(step, *operands)
        return [operand_at(step, node, sites, sites.gain * factor(step, gate, sites))]

    def support(self, step: Step, sites: Sites) -> Tensor:
        """What the map's neuron is supported by."""
        return step.support_of(self.back(step, sites), len(sites))

    def limit(self, step: Step, sites: Sites) -> Tensor:
        """That of the map's neuron."""
        return step.support_of(self.back(step, sites), len(sites), limit=True)


@trace_rule(*OPERATIONS[Kind.GATED_HALF].calls)
class GatedLinearUnit(TraceRule):
    """The first half is the map, the sigmoid of the second one its gate, which goes into the gain."""

    def back(self, step: Step, sites: Sites) -> Found:
        """The first half's neuron."""
        dimension = step.argument(1, "dim", -1) % len(step.shape)
        full, half = step.shape_of(step.source), step.shape[dimension]
        inner = full[dimension + 1 :].numel()
        before, within = sites.index // (half * inner), sites.index % (half * inner)
        index = before * (2 * half * inner) + within
        gate = step.maps.reshape(-1)[index + half * inner].sigmoid()
        return [(step.source, sites.at(index, sites.gain * gate))]

    def support(self, step: Step, sites: Sites) -> Tensor:
        """What the first half's neuron is supported by."""
        return step.support_of(self.back(step, sites), len(sites))

    def limit(self, step: Step, sites: Sites) -> Tensor:
        """That of the first half's neuron."""
        return step.support_of(self.back(step, sites), len(sites), limit=True)


@trace_rule(*OPERATIONS[Kind.QUOTIENT].calls)
class Quotient(TraceRule):
    """The dividend's neuron; the divisor goes into the gain."""

    def back(self, step: Step, sites: Sites) -> Found:
        """The dividend's neuron."""
        node: Any = step.node.args[0]
        if not step.is_computed(node):
            return []
        gain = sites.gain / factor(step, step.argument(1, "other"), sites)
        return [operand_at(step, node, sites, gain)]

    def support(self, step: Step, sites: Sites) -> Tensor:
        """What the dividend's neuron is supported by."""
        back = self.back(step, sites)
        return step.support_of(back, len(sites)) if back else torch.zeros_like(sites.gain)

    def limit(self, step: Step, sites: Sites) -> Tensor:
        """That of the dividend's neuron."""
        back = self.back(step, sites)
        return step.support_of(back, len(sites), limit=True) if back else torch.zeros_like(sites.gain)


@trace_rule(*OPERATIONS[Kind.SUM_OF_PRODUCT].calls)
class SumOfProduct(TraceRule):
    """``addcmul``: the sum or the product, whichever has the larger share; of the product, the map."""

    def back(self, step: Step, sites: Sites) -> Found:
        """The neuron of the summand with the larger share."""
        return largest(step, self._operands(step, sites))

    def support(self, step: Step, sites: Sites) -> Tensor:
        """The larger share."""
        operands = self._operands(step, sites)
        shares = [operand.gain * operand.values(step.run.tensor(node)) for node, operand in operands]
        return torch.stack(shares).amax(dim=0)

    def _operands(self, step: Step, sites: Sites) -> list[tuple[fx.Node, Sites]]:
        value = step.value(step.node.kwargs.get("value", 1))
        added, one, other = (step.argument(place, name) for place, name in enumerate(("input", "tensor1", "tensor2")))
        operands = []
        if step.is_computed(added):
            operands.append(operand_at(step, added, sites, sites.gain))
        if step.is_computed(one) or step.is_computed(other):
            node, gate = gated(step, one, other)
            operands.append(operand_at(step, node, sites, value * sites.gain * factor(step, gate, sites)))
        return operands


def gated(step: Step, one: Any, other: Any) -> tuple[fx.Node, Any]:
    """Which operand of a product is the map, and which one its gate.

    The map is the larger one, and of two of the same size the one that was not made to be a gate.
    """
    computed = [node for node in (one, other) if step.is_computed(node)]
    node = max(computed, key=lambda operand: (prod(step.shape_of(operand)), not is_gate(step, operand)))
    return node, other if node is one else one


def factor(step: Step, argument: Any, sites: Sites) -> Any:
    """Value of a gate at each neuron, or the number itself."""
    value = step.value(argument)
    if not isinstance(value, Tensor) or not value.ndim:
        return value
    return value.reshape(-1)[broadcast_index(sites.index, value.shape, step.shape)]
