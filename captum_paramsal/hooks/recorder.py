"""Saliency profiles recorded while one backward pass runs.

The weights themselves need no gradient. A hook on each layer keeps its input; a hook on its output forms the weight
gradient of every example when the backward pass comes by, reduces it to one number per filter and drops the rest, so
memory grows with filters and not with weights.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.autograd.graph import register_multi_grad_hook

from captum_paramsal.hooks.assembled_profile import assemble_profile
from captum_paramsal.hooks.calls import LayerCall, tensors_in, unseen
from captum_paramsal.hooks.filter_layer import FilterLayer
from captum_paramsal.hooks.gradients import SampleGradients
from captum_paramsal.hooks.graph_start import nodes_behind
from captum_paramsal.hooks.layer_watch import LayerWatch
from captum_paramsal.hooks.output_peaks import OutputPeaks
from captum_paramsal.hooks.plan import HiddenCallsError, Plan
from captum_paramsal.hooks.rules import rule_of

Reduction: TypeAlias = Callable[[str, SampleGradients], Tensor]
"""From the name of a layer and its weight gradients to one number per example and filter, ``(N, O)``."""


class LayerRecording(LayerWatch):
    """One forward and backward pass of a batch, and the profiles it leaves.

    Args:
        layers: Layers whose filters are scored.
        plan: Where their gradients are taken.
        count: Examples in the batch.
        reduce: What becomes of a layer's gradients, which are gone afterwards; their mean absolute value by default.
        outputs: Sees what the layers return, if that is asked for.
    """

    def __init__(
        self,
        layers: Sequence[FilterLayer],
        plan: Plan,
        count: int,
        reduce: Reduction | None = None,
        outputs: OutputPeaks | None = None,
    ) -> None:
        super().__init__(layers, plan, count)
        self._reduce: Reduction = reduce or (lambda _, gradients: gradients.mean_abs())
        self._outputs = outputs
        self._profiles: dict[str, Tensor] = {}
        self._gradients: dict[str, SampleGradients] = {}
        self._open_calls: dict[str, int] = defaultdict(int)

    def backward(self, losses: Tensor, *, again: bool = False) -> None:
        """Run the backward pass of the summed losses; the calls of the forward pass end here.

        Args:
            losses: One for each example.
            again: Let blocks run again in it that ran without gradients before.

        Raises:
            OtherWayError: Other layers took part than in the run that was planned with.
            HiddenCallsError: Calls had no gradient, and blocks are not to run again.
        """
        self.require_way()
        if self.hidden and not again:
            raise HiddenCallsError(self.hidden)
        self._forward_runs = False
        if losses.requires_grad and again:
            # Such blocks refuse a backward pass to chosen tensors.
            with _gradients_unwritten(losses):
                torch.autograd.backward(losses.sum())
        elif losses.requires_grad:
            torch.autograd.grad(losses.sum(), self.anchor, allow_unused=True)

    @property
    def cut_off(self) -> tuple[str, ...]:
        """Layers that ran, and that no gradient of the losses reached."""
        return tuple(name for name in self._layers if name in self._ran and name not in self._profiles)

    def profile(self, like: Tensor) -> Tensor:
        """What the layers' gradients became, ``(N, F)``; 0 for weights that the loss does not depend on.

        Args:
            like: A tensor of the device and the type that the profile is wanted in.
        """
        # What is left here has calls that the loss does not depend on: no backward pass closed them.
        for name, gradients in self._gradients.items():
            self._profiles[name] = self._reduce(name, gradients)
        self._gradients.clear()
        return assemble_profile(self._layers, self._profiles, self._count, like)

    def _keep_call(self, layer: FilterLayer, module: nn.Module, call: LayerCall, output: Any) -> None:
        self._open_calls[layer.name] += 1
        # What attention returns is mixed: its heads are seen where a function makes the projections.
        if self._outputs is not None and not isinstance(module, nn.MultiheadAttention):
            dimension, last = rule_of(module).batch_dimension(module), isinstance(module, nn.Linear)
            self._outputs.see(layer, output, self._count, dimension, channels_last=last)
        # On the tensor, not on the module: an in-place ReLU that follows cannot disturb it.
        tensors_in(output)[0].register_hook(self._forming(layer, call, partial(layer.of_module, module, call)))

    def _keep_function(self, layer: FilterLayer, call: LayerCall, output: Tensor) -> None:
        self._open_calls[layer.name] += 1
        dimension = self._plan.functions[layer.name]
        if self._outputs is not None:
            last = call.kwargs["weight"].ndim == 2
            self._outputs.see(layer, output, self._count, dimension, channels_last=last)
        formed = partial(layer.of_function, call, dimension=dimension, count=self._count)
        output.register_hook(self._forming(layer, call, formed))

    def _forming(
        self, layer: FilterLayer, call: LayerCall, formed: Callable[[Tensor], SampleGradients]
    ) -> Callable[[Tensor | None], None]:
        """Hook on what a call returned, which forms its weight gradients as soon as the gradient is known."""

        def on_backward(output_gradient: Tensor | None) -> None:
            # None arrives where a layer after it has no gradient, such as a quantised one.
            if output_gradient is None:
                return
            call.require_unwritten(layer.name)
            # Thousands of small operations: none has a gradient, and no mode has to see them.
            with torch.no_grad(), unseen():
                self._add(layer.name, formed(output_gradient))

        return on_backward

    def _keep_call_around(self, layers: Sequence[FilterLayer], module: nn.Module, call: LayerCall, output: Any) -> None:
        for layer in layers:
            self._open_calls[layer.name] += 1

        def on_backward(output_gradients: Sequence[Tensor | None]) -> None:
            with torch.enable_grad():
                weight_gradients = list(self._through(module, layers, call, output_gradients))
            for layer, gradients in weight_gradients:
                detached = tuple(gradient.detach() for gradient in gradients)
                self._add(layer.name, layer.of_weights(detached))

        register_multi_grad_hook(tensors_in(output), on_backward)

    def _add(self, name: str, gradients: SampleGradients) -> None:
        """Add one call's gradients; reduce them once no call of the layer is open."""
        self._open_calls[name] -= 1
        if name in self._gradients:
            gradients = self._gradients.pop(name) + gradients
        if self._open_calls[name] or self._hidden[name]:
            self._gradients[name] = gradients
        else:
            # At once, so that the written-out gradients of one layer alone are in memory.
            self._profiles[name] = self._reduce(name, gradients)


@contextmanager
def _gradients_unwritten(losses: Tensor) -> Iterator[None]:
    """Whatever tensors a backward pass of all reaches, such as prompts that are no parameters, keep their ``grad``."""
    leaves: list[Tensor] = [node.variable for node in nodes_behind(losses) if hasattr(node, "variable")]
    before = [(leaf, leaf.grad) for leaf in leaves]
    for leaf in leaves:
        leaf.grad = None
    try:
        yield
    finally:
        for leaf, gradient in before:
            leaf.grad = gradient
