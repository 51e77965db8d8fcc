"""How one operation is traced back: the registry, and what a rule has to say.

>>> from torch import nn
>>> class Doubled(nn.Module):
...     def forward(self, x):
...         return 2 * x
>>> @trace_rule(Doubled)
... class Doubling(Passing):
...     def gain(self, step, sites):
...         return 2 * sites.gain
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import torch
from torch import Tensor, fx, nn

from captum_paramsal.errors import TraceError
from captum_paramsal.graph.sites import Sites

if TYPE_CHECKING:
    from captum_paramsal.graph.step import Step

Operation: TypeAlias = type[nn.Module] | Callable[..., Any] | str
"""A type of module, a function, or the name of a tensor's method, or of a function with its module."""

Found: TypeAlias = Sequence[tuple[fx.Node, Sites]]
"""Neurons of some operations' results."""


class TraceRule(ABC):
    """How one operation is traced back.

    Attributes:
        has_weights: Whether the operation is a layer of its own in a trace.
    """

    has_weights = False

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


_rules: dict[Operation, TraceRule] = {}

Rule = TypeVar("Rule", bound=type[TraceRule])


def trace_rule(*operations: Operation) -> Callable[[Rule], Rule]:
    """Register a rule for some operations; a later one takes the place of an earlier one.

    Args:
        operations: Types of modules (which become one operation then, and stand for their subclasses), functions as
            ``torch.fx`` records them, names of tensor methods, or functions by name with their module.
    """

    def register(rule: Rule) -> Rule:
        _rules.update(dict.fromkeys(operations, rule()))
        return rule

    return register


def registered_operations() -> dict[Operation, TraceRule]:
    """Every operation that has a rule."""
    return dict(_rules)


def rule_of_type(module: type[nn.Module]) -> TraceRule | None:
    """The rule of a type of module, or of what it is derived from."""
    return next((_rules[base] for base in module.__mro__ if base in _rules), None)


def trace_rule_of(node: fx.Node, modules: Mapping[str, nn.Module]) -> TraceRule | None:
    """The rule of an operation; None where it has none."""
    if node.op == "call_module":
        return rule_of_type(type(modules[str(node.target)]))
    if node.op == "call_function":
        return _rules.get(node.target) or _rules.get(_name_of(node.target))
    return _rules.get(str(node.target)) if node.op == "call_method" else None


def require_rule(node: fx.Node, modules: Mapping[str, nn.Module]) -> TraceRule:
    """The rule of an operation.

    Raises:
        TraceError: It has none.
    """
    rule = trace_rule_of(node, modules)
    if rule is not None:
        return rule
    what = type(modules[str(node.target)]).__name__ if node.op == "call_module" else _name_of(node.target)
    place = f"layer '{node.target}'" if node.op == "call_module" else f"operation '{node.name}' in {_inside(node)}"
    message = (
        f"Expected operations with a trace-back rule, got {what} ({place}). Register a rule with "
        "`captum_paramsal.graph.trace_rule`; a transformer has no receptive fields to follow."
    )
    raise TraceError(message)


def _name_of(target: Any) -> str:
    return target if isinstance(target, str) else f"{getattr(target, '__module__', '')}.{target.__name__}"


def _inside(node: fx.Node) -> str:
    stack = node.meta.get("nn_module_stack") or {}
    names = [entry[0] if isinstance(entry, tuple) else str(entry) for entry in stack.values()]
    return f"'{names[-1]}'" if names and names[-1] else "the model itself"
