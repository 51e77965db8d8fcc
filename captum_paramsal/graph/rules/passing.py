"""Operations that hand every neuron's value on: activations, dropout, normalization."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Any

import torch
from torch import Tensor, fx
from torch.nn import functional

from captum_paramsal.graph.operations import OPERATIONS, Kind
from captum_paramsal.graph.registry import trace_rule
from captum_paramsal.graph.rule import Found, Passing
from captum_paramsal.graph.rules.joining import broadcast_index, operand_at
from captum_paramsal.graph.sites import Sites
from captum_paramsal.graph.step import Step

_UNCHANGED = (Kind.ACTIVATION, Kind.SOFTMAX, Kind.DROPOUT, Kind.SAME, Kind.LOCAL_NORMALIZATION)


@trace_rule(*(spelling for kind in _UNCHANGED for spelling in OPERATIONS[kind].calls))
class Unchanged(Passing):
    """A value handed on, squashed or left out at random in training: the same neuron."""


@trace_rule(*OPERATIONS[Kind.NEGATION].calls)
class Negation(Passing):
    """A value that counts the other way round."""

    def gain(self, step: Step, sites: Sites) -> Tensor:
        """The opposite gain."""
        del step
        return -sites.gain


@trace_rule(*OPERATIONS[Kind.GATED_ACTIVATION].calls, *OPERATIONS[Kind.ELEMENTWISE].calls)
class SelfGated(Passing):
    """A value times a gate that is computed from it, ``f(x) = x · g(x)``: the gate ``f(x) / x`` goes into the gain.

    So ``silu(x)`` is traced as ``x * sigmoid(x)`` is, and ``square(x)`` as ``x * x``.
    """

    def reads(self, node: fx.Node) -> Iterable[fx.Node]:
        """The value before, and an exponent that was computed."""
        return node.all_input_nodes

    def back(self, step: Step, sites: Sites) -> Found:
        """The neuron that the function was applied to."""
        return [operand_at(step, self._traced(step), sites, self.gain(step, sites))]

    def gain(self, step: Step, sites: Sites) -> Tensor:
        """The gain times the gate; unchanged where the value is 0, which carries nothing."""

        def at_neurons(node: fx.Node) -> Tensor:
            value = step.run.tensor(node)
            return value.reshape(-1)[broadcast_index(sites.index, value.shape, step.shape)]

        before = at_neurons(self._traced(step))
        # The function itself on the neurons' values alone: all of these work value by value.
        after = _called(step.node, *fx.node.map_arg((step.node.args, step.node.kwargs), at_neurons))
        gate = torch.where(before == 0, 1.0, after / torch.where(before == 0, 1.0, before))
        return sites.gain * gate

    def _traced(self, step: Step) -> fx.Node:
        return next(node for node in step.node.all_input_nodes if step.is_computed(node))


def _called(node: fx.Node, args: Any, kwargs: Any) -> Tensor:
    kwargs = {name: value for name, value in kwargs.items() if name != "inplace"}
    result: Tensor
    if node.op == "call_method":
        result = getattr(torch.Tensor, str(node.target).rstrip("_"))(*args, **kwargs)
    else:
        result = node.target(*args, **kwargs)  # type: ignore[operator]
    return result


@trace_rule(functional.batch_norm, torch.batch_norm)
class BatchNormalization(Passing):
    """The gain takes up ``γ / √(variance + ε)``, which counts as part of the weights before it."""

    def reads(self, node: fx.Node) -> Iterable[fx.Node]:
        """What is normalized, only where the statistics are its own: it is as large as all activations together."""
        given = dict(enumerate(node.args)) | node.kwargs
        training = given.get("training", given.get(5, False))
        place = 4 if node.target is torch.batch_norm else 2
        variance = given.get("running_var", given.get(place))
        return node.all_input_nodes[:1] if training or variance is None else ()

    def gain(self, step: Step, sites: Sites) -> Tensor:
        """The gain of the input's neurons."""
        native = step.node.target is torch.batch_norm
        weight = step.value(step.argument(*((1, "weight") if native else (3, "weight"))))
        variance = step.value(step.argument(*((4, "running_var") if native else (2, "running_var"))))
        epsilon = step.argument(7, "eps", 1e-5)
        if variance is None or step.argument(5, "training", default=False):
            variance = step.maps.transpose(0, 1).flatten(1).var(dim=1, correction=0)
        scale = torch.rsqrt(variance + epsilon)
        if weight is not None:
            scale = scale * weight
        return sites.gain * scale[_channel(sites.index, step.shape, 1)]


@trace_rule(functional.group_norm, functional.layer_norm, functional.instance_norm, torch.layer_norm, torch.group_norm)
class Normalization(Passing):
    """As batch normalization, with the variance of the image itself, held as it was."""

    def reads(self, node: fx.Node) -> Iterable[fx.Node]:
        """What is normalized."""
        return node.all_input_nodes[:1]

    def gain(self, step: Step, sites: Sites) -> Tensor:
        """The gain of the input's neurons."""
        values, name = step.maps, step.node.target.__name__  # type: ignore[union-attr]
        if name == "layer_norm":
            shape, weight = step.argument(1, "normalized_shape"), step.value(step.argument(2, "weight"))
            size = shape if isinstance(shape, int) else prod(shape)
            rows, channel = values.reshape(-1, size), sites.index % size
        else:
            grouped = name == "group_norm"
            groups = step.argument(1, "num_groups") if grouped else values.shape[1]
            weight = step.value(step.argument(2, "weight") if grouped else step.argument(3, "weight"))
            size = values.numel() // (len(values) * groups)
            rows, channel = values.reshape(-1, size), _channel(sites.index, step.shape, 1)
        epsilon = step.argument(7 if name == "instance_norm" else 4, "eps", 1e-5)
        row, owner = torch.unique(sites.index // size, return_inverse=True)
        rows = rows[row]
        # `var` warns where there are no rows, as where a trace has ended for every image.
        variance = (rows - rows.mean(dim=1, keepdim=True)).square().mean(dim=1)
        scale = torch.rsqrt(variance + epsilon)[owner]
        return sites.gain * (scale if weight is None else scale * weight.flatten()[channel])


@trace_rule(*OPERATIONS[Kind.RMS_NORMALIZATION].calls)
class RootMeanSquare(Passing):
    """A value over the size of its row, held as it was."""

    def reads(self, node: fx.Node) -> Iterable[fx.Node]:
        """What is normalized."""
        return node.all_input_nodes[:1]

    def gain(self, step: Step, sites: Sites) -> Tensor:
        """The gain of the input's neurons."""
        size, weight = prod(step.argument(1, "normalized_shape")), step.value(step.argument(2, "weight"))
        epsilon = step.argument(3, "eps")
        rows = step.maps.reshape(-1, size)
        row, owner = torch.unique(sites.index // size, return_inverse=True)
        least = torch.finfo(rows.dtype).eps if epsilon is None else epsilon
        scale = torch.rsqrt(rows[row].square().mean(dim=1) + least)[owner]
        return sites.gain * (scale if weight is None else scale * weight.flatten()[sites.index % size])


def _channel(index: Tensor, shape: torch.Size, dimension: int) -> Tensor:
    return index // shape[dimension + 1 :].numel() % shape[dimension]
