"""One rule per layer type: what its filters are, and their weight gradients for every example of a batch.

Rules live in a registry. A type without one is scored on the exact but slower ``torch.func`` path.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar

from torch import Tensor, nn

from captum_paramsal.errors import LayerError
from captum_paramsal.hooks.calls import LayerCall
from captum_paramsal.hooks.gradients import DenseGradients, SampleGradients

GradientsOfCall: TypeAlias = Callable[[Any, LayerCall, Tensor], SampleGradients]
UserRule: TypeAlias = Callable[[Any, Tensor, Tensor], Tensor | SampleGradients]
UserRuleT = TypeVar("UserRuleT", bound=UserRule)


def _row_count(layer: nn.Module) -> int:
    return len(weight_of(layer))


def _no_parts(layer: nn.Module) -> tuple[str, ...]:  # noqa: ARG001 -- rules share one signature
    return ()


def weight_of(layer: nn.Module) -> Tensor:
    """The parameter whose output slices are the layer's filters.

    Raises:
        LayerError: The layer has no parameter of its own that could be meant.
    """
    own = dict(layer.named_parameters(recurse=False))
    if isinstance(getattr(layer, "weight", None), Tensor):
        return layer.weight  # type: ignore[return-value]
    candidates = [value for value in own.values() if value.ndim >= 1]
    if len(candidates) == 1:
        return candidates[0]
    message = (
        f"Expected a layer with a `weight`, or with one parameter, whose output slices are its filters; "
        f"{type(layer).__name__} has {sorted(own) or 'none'}. Register a rule with `sample_gradients_of`."
    )
    raise LayerError(message)


def _one_weight(layer: nn.Module) -> tuple[Tensor, ...]:
    return (weight_of(layer),)


def _rows_of_weight(layer: nn.Module, gradients: tuple[Tensor, ...]) -> SampleGradients:  # noqa: ARG001
    return DenseGradients(gradients[0])


def _each_row(layer: nn.Module, rows: SampleGradients) -> SampleGradients:  # noqa: ARG001
    return rows


def _examples_first(layer: nn.Module) -> int:  # noqa: ARG001
    return 0


@dataclass(frozen=True)
class FilterRule:
    """What the filters of a layer type are and how their gradients are taken.

    Attributes:
        gradients: From a layer, one of its calls and the gradient of that call's output to the weight gradients; None
            for a type that is always scored on the ``torch.func`` path.
        count: Filters of a layer.
        parts: Names of a layer's filters where an index does not say what they are.
        weights: The parameters that hold the filters.
        slices: From the written-out gradients of those parameters, ``(N, *shape)`` each, to the filters.
        of_rows: From the gradients of the rows of its one weight to the filters; None where rows are no part of them.
        batch_dimension: Dimension of inputs and output that holds the examples.
    """

    gradients: GradientsOfCall | None
    count: Callable[[Any], int] = _row_count
    parts: Callable[[Any], tuple[str, ...]] = _no_parts
    weights: Callable[[Any], tuple[Tensor, ...]] = _one_weight
    slices: Callable[[Any, tuple[Tensor, ...]], SampleGradients] = _rows_of_weight
    of_rows: Callable[[Any, SampleGradients], SampleGradients] | None = _each_row
    batch_dimension: Callable[[Any], int] = _examples_first


_rules: dict[type[nn.Module], FilterRule] = {}


def register_rule(rule: FilterRule, *layer_types: type[nn.Module]) -> None:
    """Use a rule for layer types and those of their subclasses that keep their forward pass."""
    for layer_type in layer_types:
        _rules[layer_type] = rule


def sample_gradients_of(
    *layer_types: type[nn.Module], count: Callable[[Any], int] = _row_count
) -> Callable[[UserRuleT], UserRuleT]:
    """Register how the weight gradients of a layer type are taken, one example at a time.

    The decorated function gets the layer, its first input tensor and the gradient of the loss with respect to its
    output, both with the examples in dimension 0, and returns the weight gradient of every example, ``(N, F, ...)``
    with one row per filter (or a :class:`SampleGradients`).

    Args:
        layer_types: Layer types that the rule is for.
        count: Filters of a layer; the rows of its ``weight`` by default.

    >>> class Scale(nn.Module):
    ...     def __init__(self, channels):
    ...         super().__init__()
    ...         self.weight = nn.Parameter(torch.ones(channels))
    ...     def forward(self, x):  # (N, C, H, W)
    ...         return x * self.weight[:, None, None]
    >>> import torch
    >>> @sample_gradients_of(Scale)
    ... def scale_gradients(layer, inputs, output_gradients):
    ...     return (inputs * output_gradients).sum(dim=(2, 3))[..., None]
    """

    def register(rule: UserRuleT) -> UserRuleT:
        def gradients(layer: nn.Module, call: LayerCall, output_gradients: Tensor) -> SampleGradients:
            result = rule(layer, call.inputs, output_gradients)
            return DenseGradients(result) if isinstance(result, Tensor) else result

        register_rule(FilterRule(gradients, count), *layer_types)
        return rule

    return register


def rule_of(layer: nn.Module) -> FilterRule:
    """What the filters of a layer are; the rows of its weight for a type that is not registered.

    A subclass that overrides the forward pass of its registered type may do something else with the weight: its
    filters are those of the type, its gradients are left to the ``torch.func`` path.
    """
    for base in type(layer).__mro__:
        if base in _rules:
            return _rules[base] if _keeps_forward(layer, base) else replace(_rules[base], gradients=None)
    return FilterRule(gradients=None)


def has_rule(layer: nn.Module) -> bool:
    """Whether a layer's type, or a type it derives from, is registered."""
    return any(base in _rules for base in type(layer).__mro__)


def _keeps_forward(layer: nn.Module, base: type[nn.Module]) -> bool:
    methods = ("forward", "_conv_forward")
    overridden = any(getattr(type(layer), name, None) is not getattr(base, name, None) for name in methods)
    return not overridden and "forward" not in vars(layer)
