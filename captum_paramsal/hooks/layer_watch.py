"""What all recordings share: the hooks on the layers of a plan, and what is checked before a call is kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from captum_paramsal.hooks.calls import LayerCall, tensors_in
from captum_paramsal.hooks.filter_layer import FilterLayer
from captum_paramsal.hooks.functions import OPENED, FunctionCall
from captum_paramsal.hooks.graph_start import start_graph
from captum_paramsal.hooks.opened import opened
from captum_paramsal.hooks.plan import OtherWayError, Plan, StalePlanError, weights_inside
from captum_paramsal.hooks.rules import rule_of
from captum_paramsal.hooks.sample_weights import sample_weight_gradients

ForwardPreHook: TypeAlias = Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]
ForwardHook: TypeAlias = Callable[[nn.Module, tuple[Any, ...], dict[str, Any], Any], Any]


class LayerWatch(ABC):
    """Sees the calls of layers in one forward pass; what becomes of a call is up to the recording.

    Args:
        layers: Layers whose filters are scored.
        plan: Where their gradients are taken.
        count: Examples in the batch.

    Attributes:
        anchor: Leaf of the autograd graph; a backward pass to it passes every layer.
    """

    attached = False
    """Whether what a layer was given stays in the graph that it belongs to."""

    def __init__(self, layers: Sequence[FilterLayer], plan: Plan, count: int) -> None:
        self.anchor = torch.zeros((), requires_grad=True)
        self._layers = {layer.name: layer for layer in layers}
        self._plan = plan
        self._count = count
        self._forward_runs = True
        self._ran: set[str] = set()
        self._called: Counter[str] = Counter()
        self._touched: Counter[int] = Counter()
        self._hidden: Counter[str] = Counter()

    @abstractmethod
    def _keep_call(self, layer: FilterLayer, module: nn.Module, call: LayerCall, output: Any) -> None:
        """Keep one call of a layer with a rule of its own; the output is part of the graph."""

    @abstractmethod
    def _keep_function(self, layer: FilterLayer, call: LayerCall, output: Tensor) -> None:
        """Keep one call of a function that multiplies by a layer's weight; the output is part of the graph."""

    @abstractmethod
    def _keep_call_around(self, layers: Sequence[FilterLayer], module: nn.Module, call: LayerCall, output: Any) -> None:
        """Keep one call of a module around layers on the ``torch.func`` path; the output is part of the graph."""

    def watch_layer(self, name: str) -> ForwardHook:
        """Forward hook for a layer with a rule of its own."""
        layer = self._layers[name]

        def on_forward(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
            self._called[name] += self._forward_runs
            if not self._sees(name):
                return output
            # Weights need no gradient and the inputs may need none: without this, no backward pass would come by.
            started = start_graph(output, self.anchor)
            if self._records(name):
                call = LayerCall.of(args, kwargs, attached=self.attached)
                self._require_examples(call.inputs, rule_of(module).batch_dimension(module), [name])
                self._keep_call(layer, module, call, started)
            return started

        return on_forward

    def watch_function(self, name: str, call: FunctionCall, output: Tensor) -> Tensor:
        """See a call of a function that multiplies by a layer's weight."""
        if not self._sees(name):
            return output
        started: Tensor = start_graph(output, self.anchor)
        if self._records(name):
            dimension = self._plan.functions[name]
            for tensor in (call.input, output):
                if dimension > 0 or not tensor.ndim or len(tensor) % self._count:
                    self._require_examples(tensor, dimension, [name])
            self._keep_function(self._layers[name], call.kept(attached=self.attached), started)
        return started

    def watch_around(self, names: Sequence[str]) -> tuple[ForwardPreHook, ForwardHook]:
        """Hooks for a module around layers that are scored on the ``torch.func`` path."""
        layers = tuple(self._layers[name] for name in names)
        # A stack, since the module may be called inside itself.
        calls: list[LayerCall] = []

        def on_enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            # The module will run again on what it was given, which it may write over itself.
            calls.append(LayerCall.of(args, kwargs, copied=True, attached=self.attached))

        def on_forward(module: nn.Module, _: tuple[Any, ...], __: dict[str, Any], output: Any) -> Any:
            call = calls.pop()
            if not self._sees(*names):
                return output
            started = start_graph(output, self.anchor)
            if self._records(*names):
                self._require_examples(tensors_in(started)[0], 0, names)
                self._keep_call_around(layers, module, call, started)
            return started

        return on_enter, on_forward

    def _through(
        self, module: nn.Module, layers: Sequence[FilterLayer], call: LayerCall, gradients: Sequence[Tensor | None]
    ) -> Iterator[tuple[FilterLayer, tuple[Tensor, ...]]]:
        """Gradients of the weights of layers inside a module, layer by layer."""
        weights = weights_inside(module, layers)
        samples = sample_weight_gradients(module, weights, call, self._plan.batched_arguments[module], gradients)
        # By identity: two layers may share a weight, which has one name only.
        by_weight = {id(weight): samples[name] for name, weight in weights.items()}
        for layer in layers:
            yield layer, tuple(by_weight[id(weight)] for weight in layer.weights)

    def weight_of(self, name: str) -> int:
        """Identity of a layer's weight."""
        return id(self._layers[name].weights[0])

    def watch_unused(self, name: str) -> None:
        """See that a layer takes part which did not in the run that was planned with."""
        if self._forward_runs:
            self._ran.add(name)

    def seen_unused(self, name: str) -> Callable[..., None]:
        """The same, as a forward hook."""
        return lambda *_: self.watch_unused(name)

    def module_of(self, name: str) -> nn.Module:
        """The layer itself."""
        return self._layers[name].module

    def watched_weights(self) -> frozenset[int]:
        """Identities of the weights of all layers with hooks, whose uses are counted."""
        return frozenset(id(weight) for name in self._plan.uses for weight in self._layers[name].weights)

    def touch(self, weight: int) -> None:
        """See that a function is given a weight."""
        self._touched[weight] += self._forward_runs

    def unused_weights(self) -> dict[int, str]:
        """Layers that took no part when it was planned, by the identities of their weights."""
        return {id(weight): name for name in self._plan.unused for weight in self._layers[name].weights}

    def require_way(self) -> None:
        """Make sure that what ran is what was planned with.

        Raises:
            OtherWayError: Other layers took part.
        """
        planned = self._plan.hooked.keys() | self._plan.functions.keys() | self._plan.through.keys()
        if planned != self._ran:
            raise OtherWayError([name for name in self._layers if (name in planned) != (name in self._ran)])
        otherwise = [name for name, counts in self._plan.uses.items() if not self._used_as(name, *counts)]
        if otherwise:
            raise OtherWayError(otherwise)

    def _used_as(self, name: str, touched: int, called: int) -> bool:
        """Whether functions were given a layer's weights as often for each call as when it was planned."""
        now = sum(self._touched[weight] for weight in {id(weight) for weight in self._layers[name].weights})
        return now * called == self._called[name] * touched

    @property
    def hidden(self) -> tuple[str, ...]:
        """Layers with calls that no gradient was seen to go through."""
        return tuple(name for name in self._layers if self._hidden[name] > 0)

    def _sees(self, *names: str) -> bool:
        """Whether a call has a gradient; one that has none may come again in the backward pass."""
        if self._forward_runs:
            self._ran.update(names)
            if not torch.is_grad_enabled():
                self._hidden.update(names)
        return torch.is_grad_enabled()

    def _records(self, *names: str) -> bool:
        """Whether a call is to be kept: the first that has a gradient.

        Checkpointed blocks run again in the backward pass, where they did without gradients in the forward pass as well
        as where they had them.
        """
        if self._forward_runs:
            return True
        if not all(self._hidden[name] for name in names):
            return False
        self._hidden.subtract(names)
        return True

    def _require_examples(self, tensor: Tensor, dimension: int, names: Sequence[str]) -> None:
        if tensor.ndim <= dimension or tensor.shape[dimension] != self._count:
            raise StalePlanError(names)


class _FunctionWatch(TorchFunctionMode):
    """Lets a recording see the functions that multiply by the weights of a plan."""

    def __init__(self, watcher: LayerWatch, plan: Plan) -> None:
        super().__init__()
        self._watcher = watcher
        self._names = {watcher.weight_of(name): name for name in plan.functions}
        self._unused = watcher.unused_weights()
        self._watched = watcher.watched_weights()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        if func in OPENED:
            with self:
                return opened(func)(*args, **(kwargs or {}))
        result = func(*args, **(kwargs or {}))
        if tensors_in(result):
            for tensor in tensors_in((args, kwargs or {})):
                if id(tensor) in self._watched:
                    self._watcher.touch(id(tensor))
                elif id(tensor) in self._unused:
                    self._watcher.watch_unused(self._unused[id(tensor)])
        call = FunctionCall.of(func, args, kwargs or {})
        name = None if call is None else self._names.get(id(call.weight))
        return result if call is None or name is None else self._watcher.watch_function(name, call, result)


@contextmanager
def watching_layers(watcher: LayerWatch, plan: Plan) -> Iterator[None]:
    """Let a recording see the forward pass; every hook is gone when the context ends."""
    around: Mapping[nn.Module, list[str]] = defaultdict(list)
    for name, module in plan.through.items():
        around[module].append(name)
    with ExitStack() as handles:
        if plan.functions or plan.unused or plan.uses:
            handles.enter_context(_FunctionWatch(watcher, plan))
        # First among the hooks of a layer: others may change the output, and the weights made it as it is now.
        for name, modules in plan.hooked.items():
            for module in modules:
                hook = watcher.watch_layer(name)
                handles.callback(module.register_forward_hook(hook, with_kwargs=True, prepend=True).remove)
        for name in plan.unused:
            layer = watcher.module_of(name)
            handles.callback(layer.register_forward_hook(watcher.seen_unused(name)).remove)
        for module, names in around.items():
            before, after = watcher.watch_around(names)
            handles.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
            handles.callback(module.register_forward_hook(after, with_kwargs=True, prepend=True).remove)
        yield
