"""How one operation is traced back: what a rule has to say."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, fx

from captum_paramsal.graph.sites import Sites
from captum_paramsal.graph.step import Step

Found: TypeAlias = Sequence[tuple[fx.Node, Sites]]
"""Neurons of some operations' results."""


class TraceRule(ABC):
    """How one operation is traced back.

    Attributes:
        has_weights: Whether the operation is a layer of its own in a trace.
        channel_dimension: Where the channels are in a layer's result.
    """

    has_weights = False
    channel_dimension = 1

    def is_layer(self, step: Step) -> bool:
        """Whether this very operation is a layer of its own in a trace."""
        del step
        return self.has_weights

    def reads(self, node: fx.Node) -> Iterable[fx.Node]:
        """Operations whose results the rule looks at, kept from the forward pass: all inputs, unless said otherwise."""
        return node.all_input_nodes

    @abstractmethod
    def back(self, step: Step, sites: Sites) -> Found:
        """The neurons of the inputs that carried some neurons of the output."""

    @abstractmethod
    def support(self, step: Step, sites: Sites) -> Tensor:
        """Largest single contribution to each of some neurons of the output, times its gain, ``(M,)``."""

    def limit(self, step: Step, sites: Sites) -> Tensor:
        """What no support of these neurons exceeds, ``(M,)``: found at less cost than the support, or infinity."""
        del step
        return torch.full_like(sites.gain, torch.inf)


class Passing(TraceRule):
    """A neuron's value comes from one neuron of the first input: activations, dropout, normalization."""

    def reads(self, node: fx.Node) -> Iterable[fx.Node]:
        """Nothing."""
        del node
        return ()

    def gain(self, step: Step, sites: Sites) -> Tensor:
        """Gain of that neuron; unchanged, unless said otherwise."""
        del step
        return sites.gain

    def back(self, step: Step, sites: Sites) -> Found:
        """The same place of the first input."""
        return [(step.source, sites.at(sites.index, self.gain(step, sites)))]

    def support(self, step: Step, sites: Sites) -> Tensor:
        """What the first input's neurons are supported by."""
        return step.support_of(self.back(step, sites), len(sites))

    def limit(self, step: Step, sites: Sites) -> Tensor:
        """That of the first input's neurons."""
        return step.support_of(self.back(step, sites), len(sites), limit=True)
