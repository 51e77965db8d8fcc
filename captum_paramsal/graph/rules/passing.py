"""Operations that hand every neuron's value on: activations, dropout, normalization."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx
from torch.nn import functional

from captum_paramsal.graph.operations import OPERATIONS, Kind
from captum_paramsal.graph.registry import trace_rule
from captum_paramsal.graph.rule import Passing
from captum_paramsal.graph.sites import Sites
from captum_paramsal.graph.step import Step

_UNCHANGED = (Kind.ACTIVATION, Kind.SOFTMAX, Kind.DROPOUT, Kind.SAME, Kind.LOCAL_NORMALIZATION)


@trace_rule(*(spelling for kind in _UNCHANGED for spelling in OPERATIONS[kind].every))
class Unchanged(Passing):
    """A value handed on, squashed or left out at random in training: the same neuron."""


@trace_rule(*OPERATIONS[Kind.NEGATION].every)
class Negation(Passing):
    """A value that counts the other way round."""

    def gain(self, step: Step, sites: Sites) -> Tensor:
        """The opposite gain."""
        del step
        return -sites.gain


# Modules alone: the functions take their arguments in another order.
@trace_rule(*OPERATIONS[Kind.BATCH_NORMALIZATION].modules)
class BatchNormalization(Passing):
    """The gain takes up ``γ / √(variance + ε)``, which counts as part of the weights before it."""

    def gain(self, step: Step, sites: Sites) -> Tensor:
        """The gain of the input's neurons."""
        module: Any = step.module
        scale = torch.rsqrt(module.running_var + module.eps)
        if module.weight is not None:
            scale = scale * module.weight.detach()
        return sites.gain * scale[_channel(sites.index, step.shape, 0)]


@trace_rule(*OPERATIONS[Kind.NORMALIZATION].every, *OPERATIONS[Kind.INSTANCE_NORMALIZATION].modules)
class Normalization(Passing):
    """As batch normalization, with the variance of the image itself."""

    def reads(self, node: fx.Node) -> list[fx.Node]:
        """What is normalized, and a function's weight."""
        return node.all_input_nodes

    def gain(self, step: Step, sites: Sites) -> Tensor:
        """The gain of the input's neurons."""
        values = step.run.values[step.source]
        variance, weight, epsilon, channel = self._parts(step, sites, values)
        scale = torch.rsqrt(variance[sites.image, sites.index] + epsilon)
        return sites.gain * (scale if weight is None else scale * weight.detach().flatten()[channel])

    def _parts(self, step: Step, sites: Sites, values: Tensor) -> tuple[Tensor, Tensor | None, float, Tensor]:
        """Variance of every neuron ``(N, ...)``, weight, ε, and the weight's entry of each site."""
        if step.node.op == "call_module":
            module: Any = step.module
            weight, epsilon = module.weight, module.eps
            shape = getattr(module, "normalized_shape", None)
            groups = getattr(module, "num_groups", values.shape[1])
        else:
            layer = step.node.target is functional.layer_norm
            shape = step.value(step.argument(1, "normalized_shape")) if layer else None
            groups = None if layer else step.value(step.argument(1, "num_groups"))
            weight, epsilon = step.value(step.argument(2, "weight")), step.value(step.argument(4, "eps", 1e-5))
        if shape is not None:
            count = torch.Size(shape).numel()
            rows = values.reshape(len(values), -1, count)
            channel = sites.index % count
        else:
            rows = values.reshape(len(values), groups, -1)
            channel = _channel(sites.index, step.shape, 0)
        variance = rows.var(dim=2, correction=0, keepdim=True).expand_as(rows).reshape(len(values), -1)
        return variance, weight, epsilon, channel


def _channel(index: Tensor, shape: torch.Size, dimension: int) -> Tensor:
    return index // shape[dimension + 1 :].numel() % shape[dimension]
