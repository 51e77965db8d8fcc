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
from captum_paramsal.hooks.filter_layer import FilterLayer
from captum_paramsal.hooks.gradients import SampleGradients
from captum_paramsal.hooks.layer_watch import LayerWatch
from captum_paramsal.hooks.plan import Plan


@dataclass(frozen=True)
class _Kept:
    """One call of a module, or of a function (None): what it took, and where in the graph its outputs are."""

    module: nn.Module | None
    layers: tuple[FilterLayer, ...]
    call: LayerCall
    edges: tuple[GradientEdge, ...]


class DifferentiableRecording(LayerWatch):
    """One forward pass of a batch that keeps what differentiable profiles are made of.

    Args:
        layers: Layers whose filters are scored.
        plan: Where their gradients are taken.
        count: Examples in the batch.
    """

    attached = True

    def __init__(self, layers: Sequence[FilterLayer], plan: Plan, count: int) -> None:
        super().__init__(layers, plan, count)
        self._hooked: list[_Kept] = []
        self._around: list[_Kept] = []

    def profile(self, losses: Tensor, like: Tensor) -> Tensor:
        """Mean absolute weight gradient of every filter, ``(N, F)``, as part of the graph.

        Args:
            losses: One loss per example, ``(N,)``.
            like: A tensor of the device and the type that the profile is wanted in.

        Raises:
            OtherWayError: Other layers took part than in the run that was planned with.
        """
        self.require_way()
        self._forward_runs = False
        edges = [edge for kept in (*self._hooked, *self._around) for edge in kept.edges]
        arriving = iter(torch.autograd.grad(losses.sum(), edges, create_graph=True, allow_unused=True) if edges else ())
        gradients: dict[str, SampleGradients] = {}
        for kept in self._hooked:
            (output_gradient,) = (next(arriving) for _ in kept.edges)
            if output_gradient is not None:
                layer = kept.layers[0]
                kept.call.require_unwritten(layer.name)
                _add(gradients, layer.name, self._gradients_of(layer, kept, output_gradient))
        for kept in self._around:
            output_gradients = [next(arriving) for _ in kept.edges]
            if kept.module is not None and any(gradient is not None for gradient in output_gradients):
                for layer, of_weights in self._through(kept.module, kept.layers, kept.call, output_gradients):
                    _add(gradients, layer.name, layer.of_weights(of_weights))
        profiles = {name: of_layer.mean_abs() for name, of_layer in gradients.items()}
        return assemble_profile(self._layers, profiles, self._count, like)

    def _keep_call(self, layer: FilterLayer, module: nn.Module, call: LayerCall, output: Any) -> None:
        edge = get_gradient_edge(tensors_in(output)[0])
        self._hooked.append(_Kept(module, (layer,), call, (edge,)))

    def _gradients_of(self, layer: FilterLayer, kept: _Kept, output_gradient: Tensor) -> SampleGradients:
        if kept.module is not None:
            return layer.of_module(kept.module, kept.call, output_gradient)
        return layer.of_function(kept.call, output_gradient, self._plan.functions[layer.name], self._count)

    def _keep_function(self, layer: FilterLayer, call: LayerCall, output: Tensor) -> None:
        self._hooked.append(_Kept(None, (layer,), call, (get_gradient_edge(output),)))

    def _keep_call_around(self, layers: Sequence[FilterLayer], module: nn.Module, call: LayerCall, output: Any) -> None:
        edges = tuple(get_gradient_edge(tensor) for tensor in tensors_in(output))
        self._around.append(_Kept(module, tuple(layers), call, edges))


def _add(gradients: dict[str, SampleGradients], name: str, more: SampleGradients) -> None:
    gradients[name] = gradients[name] + more if name in gradients else more
