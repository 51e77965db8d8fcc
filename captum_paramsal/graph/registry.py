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

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, fx, nn

from captum_paramsal.errors import TraceError
from captum_paramsal.graph.operations import Operation, has_kind, name_of, spellings_of
from captum_paramsal.graph.rule import TraceRule
from captum_paramsal.graph.sites import Sites
from captum_paramsal.graph.step import Step

_rules: dict[Operation, TraceRule] = {}

Rule = TypeVar("Rule", bound=type[TraceRule])


def trace_rule(*operations: Operation) -> Callable[[Rule], Rule]:
    """Register a rule for some operations; a later one takes the place of an earlier one.

    Args:
        operations: Types of modules (which become one operation then, and stand for their subclasses), functions,
            names of tensor methods, or functions by name with their module.
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


def is_known(function: Callable[..., Any]) -> bool:
    """Whether a function has a rule, or it is known what it does."""
    return function in _rules or has_kind(function)


def trace_rule_of(node: fx.Node, model: nn.Module) -> TraceRule | None:
    """The rule of an operation; None where it has none."""
    return next((_rules[spelling] for spelling in spellings_of(node, model) if spelling in _rules), None)


def require_rule(step: Step) -> TraceRule:
    """The rule of an operation.

    Raises:
        TraceError: No rule is registered for the operation, or it reads what cannot be followed.
    """
    node, model = step.node, step.run.model
    rule = trace_rule_of(node, model)
    hidden = [source for source in (node, *node.all_input_nodes) if source in step.run.unseen]
    within = node.meta.get("layer")
    place = f"layer '{within}'" if within else "the model itself"
    if rule is not None and not hidden:
        return rule
    if hidden:
        message = (
            f"Expected tensors that come about by operations of PyTorch, got one in {place}, read by "
            f"'{node.name}', that a custom operation, TorchScript or numpy made, or that lies outside of the model. "
            "Register a rule for the type of the module around it with `captum_paramsal.graph.trace_rule`."
        )
        raise TraceError(message)
    what = type(model.get_submodule(str(node.target))).__name__ if node.op == "call_module" else name_of(node.target)
    message = (
        f"Expected operations with a trace-back rule, got {what} (operation '{node.name}' in {place}). Register a rule "
        "with `captum_paramsal.graph.trace_rule`."
    )
    raise TraceError(message)


def support(step: Step, sites: Sites, limit: bool) -> Tensor:  # noqa: FBT001 -- what steps are given to call
    """Support of neurons of a step's result, or what it cannot exceed; 0 for what does not depend on other neurons."""
    if step.node.op == "placeholder" or step.node not in step.run.of_inputs:
        return torch.zeros_like(sites.gain)
    rule = require_rule(step)
    return rule.limit(step, sites) if limit else rule.support(step, sites)
