"""A layer whose filters are scored: rows of its weight, the heads of a projection, with their biases or without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor, nn

from captum_paramsal.errors import LayerError
from captum_paramsal.hooks.calls import LayerCall
from captum_paramsal.hooks.functions import bias_gradients, function_gradients
from captum_paramsal.hooks.gradients import BiasedGradients, RowGroups, SampleGradients
from captum_paramsal.hooks.rules import FilterRule, rule_of


@dataclass(frozen=True)
class FilterLayer:
    """A layer whose filters are scored.

    Attributes:
        name: Its name in ``model.named_modules()``.
        module: The layer.
        explicit: Whether the caller asked for this very layer, so that it must be reached.
        heads: Rows of each filter by the filter's whole name, where filters are heads of a projection.
        bias: Whether the entries of the layer's bias belong to its filters.
        provisional: Whether it is scored only if a run shows it at places or tokens.
    """

    name: str
    module: nn.Module
    explicit: bool = False
    heads: Mapping[str, slice] = field(default_factory=dict, hash=False)
    bias: bool = False
    provisional: bool = False

    @cached_property
    def rule(self) -> FilterRule:
        """What the rows of its weight are."""
        return rule_of(self.module)

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """The parameters that hold its filters."""
        added = self._bias
        return self.rule.weights(self.module) if added is None else (*self.rule.weights(self.module), added)

    @property
    def weight_rows(self) -> Tensor:
        """Its weights, cut into filters as their gradients are, ``(F, D)``."""
        rows: Tensor = self.of_weights(tuple(weight.detach()[None] for weight in self.weights)).sample(0)
        return rows

    @cached_property
    def count(self) -> int:
        """Filters of the layer; looked up once, since some weights are computed anew whenever they are read."""
        return len(self.heads) or self.rule.count(self.module)

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """Names of its filters, where an index does not say what they are."""
        if self.heads:
            return tuple(self.heads)
        return tuple(f"{self.name}.{part}" if "[" in part else part for part in self.rule.parts(self.module))

    @property
    def _bias(self) -> Tensor | None:
        bias = getattr(self.module, "bias", None)
        return bias if self.bias and isinstance(bias, Tensor) else None

    def of_module(self, module: nn.Module, call: LayerCall, output_gradients: Tensor) -> SampleGradients:
        """Gradients of its filters from a call of the layer, or of one that shares its weight."""
        if self.rule.gradients is None:
            message = f"Layer {self.name!r} has no rule for its gradients."
            raise LayerError(message)
        rows = self.rule.gradients(module, call, output_gradients)
        biases = None if self._bias is None else bias_gradients(output_gradients, channels=self._channels)
        return self._filters(rows, biases)

    def of_function(self, call: LayerCall, output_gradients: Tensor, dimension: int, count: int) -> SampleGradients:
        """Gradients of its filters from a call of the function that multiplies by its weight."""
        rows = function_gradients(call, output_gradients, dimension, count)
        if self.rule.of_rows is not None:
            rows = self.rule.of_rows(self.module, rows)
        if self._bias is None:
            return self._filters(rows, None)
        channels = -1 if call.kwargs["weight"].ndim == 2 else 1
        biases = bias_gradients(output_gradients, channels=channels, dimension=dimension, count=count)
        return self._filters(rows, biases)

    def of_weights(self, gradients: tuple[Tensor, ...]) -> SampleGradients:
        """Its filters' gradients from the written-out gradients of :attr:`weights`, ``(N, *shape)`` each."""
        if self._bias is None:
            return self._filters(self.rule.slices(self.module, gradients), None)
        return self._filters(self.rule.slices(self.module, gradients[:-1]), gradients[-1])

    def _filters(self, rows: SampleGradients, biases: Tensor | None) -> SampleGradients:
        if biases is not None:
            width = sum(weight.numel() for weight in self.rule.weights(self.module)) // self.rule.count(self.module)
            rows = BiasedGradients(rows, biases, width)
        return RowGroups(rows, tuple(self.heads.values())) if self.heads else rows

    @property
    def _channels(self) -> int:
        """Dimension of the channels in the layer's output."""
        return -1 if isinstance(self.module, nn.Linear) else 1

    def require_filters(self) -> None:
        """Make sure that the layer has what its filters are made of.

        Raises:
            LayerError: No weight, a weight of one number or of complex ones, or biases that do not go with its filters.
        """
        try:
            weights = self.weights
        except LayerError as error:
            inside = (
                f"; for the layers inside it use '{self.name}.*'" if any(True for _ in self.module.children()) else ""
            )
            message = f"Layer {self.name!r} cannot be scored{inside}. {error}"
            raise LayerError(message) from error
        if any(weight.ndim == 0 for weight in weights):
            message = f"Expected a weight with output slices in layer {self.name!r}, got a single number."
            raise LayerError(message)
        if complex_ones := [weight.dtype for weight in weights if weight.is_complex()]:
            message = (
                f"Expected real weights in layer {self.name!r}, got {complex_ones[0]}, of whose filters no score is "
                "defined. Name the other layers in `layers`."
            )
            raise LayerError(message)
        added = self._bias
        if self.bias and isinstance(self.module, nn.MultiheadAttention):
            message = (
                f"The biases of {self.name!r}, a MultiheadAttention, cannot be scored with its heads: leave `bias` out."
            )
            raise LayerError(message)
        if added is not None and tuple(added.shape) != (self.rule.count(self.module),):
            message = (
                f"Expected a bias with one entry for each of the {self.rule.count(self.module)} filters of "
                f"{self.name!r}, got {tuple(added.shape)}."
            )
            raise LayerError(message)
