"""Which rule traces an operation back.

>>> from torch import nn
>>> from captum_paramsal.graph import Passing
>>> class Doubled(nn.Module):
...     def forward(self, x):
...         return 2 * x
>>> @trace_rule(Doubled)
... class Doubling(Passing):
...     def gain(self, step, sites):
...         return 2 * sites.gain
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, fx, nn

from captum_paramsal.errors import TraceError
from captum_paramsal.graph.operations import Operation, name_of, spellings_of
from captum_paramsal.graph.rule import TraceRule
from captum_paramsal.graph.sites import Sites
from captum_paramsal.graph.step import Step

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
    return next((_rules[spelling] for spelling in spellings_of(node, modules) if spelling in _rules), None)


def require_rule(node: fx.Node, modules: Mapping[str, nn.Module]) -> TraceRule:
    """The rule of an operation.

    Raises:
        TraceError: No rule is registered for the operation.
    """
    rule = trace_rule_of(node, modules)
    if rule is not None:
        return rule
    what = type(modules[str(node.target)]).__name__ if node.op == "call_module" else name_of(node.target)
    place = f"layer '{node.target}'" if node.op == "call_module" else f"operation '{node.name}' in {_inside(node)}"
    message = (
        f"Expected operations with a trace-back rule, got {what} ({place}). Register a rule with "
        "`captum_paramsal.graph.trace_rule`; a transformer has no receptive fields to follow."
    )
    raise TraceError(message)


def support(step: Step, sites: Sites, limit: bool) -> Tensor:  # noqa: FBT001 -- what steps are given to call
    """Support of neurons of a step's result, or what it cannot exceed; 0 for the network's input."""
    if step.node.op in ("placeholder", "get_attr"):
        return torch.zeros_like(sites.gain)
    rule = require_rule(step.node, step.run.modules)
    return rule.limit(step, sites) if limit else rule.support(step, sites)


def _inside(node: fx.Node) -> str:
    stack = node.meta.get("nn_module_stack") or {}
    names = [entry[0] if isinstance(entry, tuple) else str(entry) for entry in stack.values()]
    return f"'{names[-1]}'" if names and names[-1] else "the model itself"
