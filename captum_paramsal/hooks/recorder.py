"""Saliency profiles recorded while one backward pass runs.

The weights themselves need no gradient. A hook on each layer keeps its input; a hook on its output forms the weight
gradient of every example when the backward pass comes by, reduces it to one number per filter and drops the rest, so
memory grows with filters and not with weights.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch.autograd.graph import register_multi_grad_hook

from captum_paramsal.hooks.assembled_profile import assemble_profile
from captum_paramsal.hooks.calls import LayerCall, tensors_in
from captum_paramsal.hooks.gradients import SampleGradients
from captum_paramsal.hooks.graph_start import start_graph
from captum_paramsal.hooks.plan import FilterLayer, Plan, StalePlanError, weights_inside
from captum_paramsal.hooks.sample_weights import sample_weight_gradients

ForwardPreHook: TypeAlias = Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]
ForwardHook: TypeAlias = Callable[[nn.Module, tuple[Any, ...], dict[str, Any], Any], Any]
Reduction: TypeAlias = Callable[[str, SampleGradients], Tensor]
"""From the name of a layer and its weight gradients to one number per example and filter, ``(N, O)``."""


class Recording:
    """One forward and backward pass of a batch, and the profiles it leaves.

    Args:
        layers: Layers whose filters are scored.
        plan: Where their gradients are taken.
        count: Examples in the batch.
        reduce: What becomes of a layer's gradients, which are gone afterwards; their mean absolute value by default.

    Attributes:
        anchor: Leaf of the autograd graph; a backward pass to it passes every layer.
    """

    def __init__(self, layers: Sequence[FilterLayer], plan: Plan, count: int, reduce: Reduction | None = None) -> None:
        self.anchor = torch.zeros((), requires_grad=True)
        self._layers = {layer.name: layer for layer in layers}
        self._plan = plan
        self._count = count
        self._reduce: Reduction = reduce or (lambda _, gradients: gradients.mean_abs())
        self._profiles: dict[str, Tensor] = {}
        self._gradients: dict[str, SampleGradients] = {}
        self._open_calls: dict[str, int] = defaultdict(int)
        self._forward_runs = True

    def backward(self, losses: Tensor) -> None:
        """Run the backward pass of the summed losses; the calls of the forward pass end here."""
        self._forward_runs = False
        if losses.requires_grad:
            torch.autograd.grad(losses.sum(), self.anchor, allow_unused=True)

    def profile(self, like: Tensor) -> Tensor:
        """What the layers' gradients became, ``(N, F)``; 0 for weights that the loss does not depend on.

        Args:
            like: A tensor of the device and the type that the profile is wanted in.
        """
        for name, gradients in self._gradients.items():
            self._profiles[name] = self._reduce(name, gradients)
        return assemble_profile(self._layers, self._profiles, self._count, like)

    def watch_layer(self, name: str) -> ForwardHook:
        """Forward hook for a layer with a rule of its own."""
        layer = self._layers[name]

        def on_forward(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
            if not self._records():
                return output
            call = LayerCall.of(args, kwargs)
            self._require_examples(call.inputs, layer.rule.batch_dimension(module), [name])
            output = start_graph(output, self.anchor)
            self._open_calls[name] += 1

            def on_backward(output_gradient: Tensor) -> None:
                call.require_unwritten(name)
                with torch.no_grad():
                    self._keep(name, layer.rule.gradients(module, call, output_gradient))  # type: ignore[misc]

            # On the tensor, not on the module: an in-place ReLU that follows cannot disturb it.
            tensors_in(output)[0].register_hook(on_backward)
            return output

        return on_forward

    def watch_around(self, names: Sequence[str]) -> tuple[ForwardPreHook, ForwardHook]:
        """Hooks for a module around layers that are scored on the ``torch.func`` path."""
        layers = [self._layers[name] for name in names]
        calls: list[LayerCall] = []

        def on_enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            # The module will run again on what it was given, which it may write over itself.
            calls.append(LayerCall.of(args, kwargs, copied=True))

        def on_forward(module: nn.Module, _: tuple[Any, ...], __: dict[str, Any], output: Any) -> Any:
            call = calls.pop()
            if not self._records():
                return output
            self._require_examples(tensors_in(output)[0], 0, names)
            output = start_graph(output, self.anchor)
            for name in names:
                self._open_calls[name] += 1

            def on_backward(output_gradients: Sequence[Tensor | None]) -> None:
                for layer, gradients in self._through(module, layers, call, output_gradients):
                    self._keep(layer.name, gradients)

            register_multi_grad_hook(tensors_in(output), on_backward)
            return output

        return on_enter, on_forward

    def _through(
        self,
        module: nn.Module,
        layers: Sequence[FilterLayer],
        call: LayerCall,
        gradients: Sequence[Tensor | None],
    ) -> Iterator[tuple[FilterLayer, SampleGradients]]:
        weights = weights_inside(module, layers)
        with torch.enable_grad():
            samples = sample_weight_gradients(module, weights, call, self._plan.batched_arguments[module], gradients)
        by_weight = {id(weight): samples[name].detach() for name, weight in weights.items()}
        for layer in layers:
            yield (
                layer,
                layer.rule.slices(layer.module, tuple(by_weight[id(weight)] for weight in layer.weights)),
            )

    def _records(self) -> bool:
        # Checkpointed models run forward again during the backward pass; what runs without gradients has none.
        return self._forward_runs and torch.is_grad_enabled()

    def _keep(self, name: str, gradients: SampleGradients) -> None:
        """Add one call's gradients; reduce them once no call of the layer is open."""
        self._open_calls[name] -= 1
        if name in self._gradients:
            gradients = self._gradients.pop(name) + gradients
        if self._open_calls[name]:
            self._gradients[name] = gradients
        else:
            self._profiles[name] = self._reduce(name, gradients)

    def _require_examples(self, tensor: Tensor, dimension: int, names: Sequence[str]) -> None:
        if tensor.ndim <= dimension or tensor.shape[dimension] != self._count:
            raise StalePlanError(names)


class Watcher(Protocol):
    """What has hooks for the layers of a plan."""

    def watch_layer(self, name: str) -> ForwardHook:
        """Forward hook for a layer with a rule of its own."""
        ...

    def watch_around(self, names: Sequence[str]) -> tuple[ForwardPreHook, ForwardHook]:
        """Hooks for a module around layers that are scored on the ``torch.func`` path."""
        ...


@contextmanager
def watching_layers(watcher: Watcher, plan: Plan) -> Iterator[None]:
    """Let a recording see the forward pass; every hook is gone when the context ends."""
    around: Mapping[nn.Module, list[str]] = defaultdict(list)
    for name, module in plan.through.items():
        around[module].append(name)
    with ExitStack() as handles:
        # First among the hooks of a layer: others may change the output, and the weights made it as it is now.
        for name, modules in plan.hooked.items():
            for module in modules:
                hook = watcher.watch_layer(name)
                handles.callback(module.register_forward_hook(hook, with_kwargs=True, prepend=True).remove)
        for module, names in around.items():
            before, after = watcher.watch_around(names)
            handles.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
            handles.callback(module.register_forward_hook(after, with_kwargs=True, prepend=True).remove)
        yield
