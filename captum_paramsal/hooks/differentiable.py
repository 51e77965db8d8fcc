"""Saliency profiles that can be differentiated with respect to what the model was given.

Unlike in :mod:`captum_paramsal.hooks.recorder`, everything stays in the graph: the input of each layer, the gradient
of its output, and the weight gradients formed of the two. The place of each output in the graph is kept and not the
output, so that an in-place operation after the layer cannot disturb it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from captum_paramsal.hooks.assembled_profile import assemble_profile
from captum_paramsal.hooks.calls import LayerCall, tensors_in
from captum_paramsal.hooks.gradients import SampleGradients
from captum_paramsal.hooks.graph_start import start_graph
from captum_paramsal.hooks.plan import FilterLayer, Plan, StalePlanError, weights_inside
from captum_paramsal.hooks.recorder import ForwardHook, ForwardPreHook
from captum_paramsal.hooks.sample_weights import sample_weight_gradients


@dataclass(frozen=True)
class _Kept:
    """One call of a module: what it took, and where in the graph its outputs are."""

    module: nn.Module
    layers: tuple[FilterLayer, ...]
    call: LayerCall
    edges: tuple[GradientEdge, ...]


class DifferentiableRecording:
    """One forward pass of a batch that keeps what differentiable profiles are made of.

    Args:
        layers: Layers whose filters are scored.
        plan: Where their gradients are taken.
        count: Examples in the batch.
    """

    def __init__(self, layers: Sequence[FilterLayer], plan: Plan, count: int) -> None:
        self._layers = {layer.name: layer for layer in layers}
        self._plan = plan
        self._count = count
        self._anchor = torch.zeros((), requires_grad=True)
        self._hooked: list[_Kept] = []
        self._through: list[_Kept] = []
        self._forward_runs = True

    def profile(self, losses: Tensor, like: Tensor) -> Tensor:
        """Mean absolute weight gradient of every filter, ``(N, F)``, as part of the graph.

        Args:
            losses: One loss per example, ``(N,)``.
            like: A tensor of the device and the type that the profile is wanted in.
        """
        self._forward_runs = False
        edges = [edge for kept in (*self._hooked, *self._through) for edge in kept.edges]
        found = torch.autograd.grad(losses.sum(), edges, create_graph=True, allow_unused=True) if edges else ()
        arriving = iter(found)
        gradients: dict[str, SampleGradients] = {}
        for kept in self._hooked:
            (output_gradient,) = (next(arriving) for _ in kept.edges)
            if output_gradient is not None:
                kept.call.require_unwritten(kept.layers[0].name)
                rule = kept.layers[0].rule.gradients
                _add(gradients, kept.layers[0].name, rule(kept.module, kept.call, output_gradient))  # type: ignore[misc]
        for kept in self._through:
            output_gradients = [next(arriving) for _ in kept.edges]
            if any(one is not None for one in output_gradients):
                self._add_through(gradients, kept, output_gradients)
        profiles = {name: found.mean_abs() for name, found in gradients.items()}
        return assemble_profile(self._layers, profiles, self._count, like)

    def watch_layer(self, name: str) -> ForwardHook:
        """Forward hook for a layer with a rule of its own."""
        layer = self._layers[name]

        def on_forward(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
            if not self._records():
                return output
            call = LayerCall.of(args, kwargs, attached=True)
            self._require_examples(call.inputs, layer.rule.batch_dimension(module), [name])
            output = start_graph(output, self._anchor)
            edge = get_gradient_edge(tensors_in(output)[0])
            self._hooked.append(_Kept(module, (layer,), call, (edge,)))
            return output

        return on_forward

    def watch_around(self, names: Sequence[str]) -> tuple[ForwardPreHook, ForwardHook]:
        """Hooks for a module around layers that are scored on the ``torch.func`` path."""
        layers = tuple(self._layers[name] for name in names)
        calls: list[LayerCall] = []

        def on_enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            calls.append(LayerCall.of(args, kwargs, copied=True, attached=True))

        def on_forward(module: nn.Module, _: tuple[Any, ...], __: dict[str, Any], output: Any) -> Any:
            call = calls.pop()
            if not self._records():
                return output
            self._require_examples(tensors_in(output)[0], 0, names)
            output = start_graph(output, self._anchor)
            edges = tuple(get_gradient_edge(tensor) for tensor in tensors_in(output))
            self._through.append(_Kept(module, layers, call, edges))
            return output

        return on_enter, on_forward

    def _add_through(
        self, gradients: dict[str, SampleGradients], kept: _Kept, output_gradients: Sequence[Tensor | None]
    ) -> None:
        weights = weights_inside(kept.module, kept.layers)
        batched = self._plan.batched_arguments[kept.module]
        samples = sample_weight_gradients(kept.module, weights, kept.call, batched, output_gradients)
        by_weight = {id(weight): samples[name] for name, weight in weights.items()}
        for layer in kept.layers:
            own = tuple(by_weight[id(weight)] for weight in layer.weights)
            _add(gradients, layer.name, layer.rule.slices(layer.module, own))

    def _records(self) -> bool:
        return self._forward_runs and torch.is_grad_enabled()

    def _require_examples(self, tensor: Tensor, dimension: int, names: Sequence[str]) -> None:
        if tensor.ndim <= dimension or tensor.shape[dimension] != self._count:
            raise StalePlanError(names)


def _add(gradients: dict[str, SampleGradients], name: str, more: SampleGradients) -> None:
    gradients[name] = gradients[name] + more if name in gradients else more
