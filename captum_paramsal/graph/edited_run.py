"""One network with many sets of edits at once: every operation runs only for the edits that reach it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from captum_paramsal.errors import TraceError
from captum_paramsal.graph.channel_outputs import channel_dimension, channel_outputs, constant_outputs
from captum_paramsal.graph.network import Interpreter, Network, is_layer
from captum_paramsal.graph.operations import writes_in_place
from captum_paramsal.graph.sizes import PerExample, depends_on_size


class NotSharedError(TraceError):
    """A network whose passes cannot be shared between edits; it has to run for each."""


@dataclass(frozen=True)
class ChannelEdit:
    """New parameters of one channel of a layer.

    Attributes:
        step: The first step at which they hold; from then on they stay.
        layer: Name of the layer.
        channel: Its number.
        values: All parameters of the channel by name, each without the channel's dimension.
    """

    step: int
    layer: str
    channel: int
    values: Mapping[str, Tensor]


@dataclass(frozen=True)
class _Rows:
    """A value for some of the steps: at a step that has no row, it is what it was at the last one that has.

    Attributes:
        value: With one row each in the first dimension.
        keys: ``example · (steps + 1) + step`` of each row, ascending.
    """

    value: Any
    keys: Tensor


class EditedRun(Interpreter):
    """Runs a network on examples whose layers are edited more and more, step by step.

    Layers before the shallowest edit of a step return what they did at the step before, so they are not run again:
    at every operation there are as many rows as there are different values.

    Args:
        network: What is run, in evaluation mode, with its sizes marked. Each example has its own row in the first
            dimension of all tensors.
        edits: Of every example.
        steps: Steps after step 0, at which nothing is edited.
        layout: Order in memory of the maps; channels last is faster on a CPU, with many rows at a time.

    Raises:
        NotSharedError: While running, an operation that does not keep the examples apart in the first dimension.
    """

    def __init__(
        self,
        network: Network,
        edits: Sequence[Sequence[ChannelEdit]],
        steps: int,
        layout: torch.memory_format = torch.preserve_format,
    ) -> None:
        super().__init__(network, len(edits))
        self._width = steps + 1
        self._edits: dict[str, list[tuple[int, ChannelEdit]]] = defaultdict(list)
        for example, changes in enumerate(edits):
            for edit in changes:
                self._edits[edit.layer].append((example, edit))
        self._examples = len(edits)
        self._layout = layout
        self._model = network.model

    def scores(self, *inputs: Any) -> Tensor:
        """Class scores of every example at every step, ``(N, steps + 1, C)``."""
        returned = self.run(*inputs)
        if not isinstance(returned, _Rows) or not isinstance(returned.value, Tensor) or returned.value.ndim != 2:
            message = "Expected one tensor of class scores (N, C)."
            raise NotSharedError(message)
        device = returned.value.device
        every = torch.arange(self._examples * self._width, device=device)
        scores: Tensor = _at(returned, every).value
        return scores.view(self._examples, self._width, -1)

    def run_node(self, n: fx.Node) -> Any:
        """Run an operation on the rows that it has."""
        if n.op == "placeholder":
            return self._given(super().run_node(n))
        read = [self.env[value] for value in n.all_input_nodes]
        rows = [value for value in read if isinstance(value, _Rows)]
        if not rows:
            self.examples = self._examples
            result = super().run_node(n)
            # Such as a class token, once for each example.
            return self._given(result) if depends_on_size(n) else result
        # Operands may have changed at different steps: the result has a row wherever any of them has.
        keys = _united([operand.keys for operand in rows])
        self.examples = len(keys)
        if writes_in_place(n):
            self._require_own(n, keys)

        def aligned(value: fx.Node) -> Any:
            held = self.env[value]
            return _at(held, keys).value if isinstance(held, _Rows) else held

        args, kwargs = PerExample.resolved((fx.map_arg(n.args, aligned), fx.map_arg(n.kwargs, aligned)), len(keys))
        # The interpreter's own call, so that modules and functions run exactly as in the model.
        result = getattr(self, n.op)(n.target, args, kwargs)
        made = _Rows(result, keys)
        name = n.meta["layer"]
        if name in self._edits and is_layer(n, self._model):
            return self._edited(name, args[0], made)
        return made

    def _require_own(self, n: fx.Node, keys: Tensor) -> None:
        """Make sure that nothing reads what an operation writes over, where it gets a copy with more rows."""
        over = n.args[0]
        held = self.env.get(over) if isinstance(over, fx.Node) else None
        read_later = over not in self.user_to_last_uses.get(n, [])
        if isinstance(held, _Rows) and len(held.keys) < len(keys) and read_later:
            message = f"{n.target} writes over {over}, which is read again, and which other steps share."
            raise NotSharedError(message)

    def _given(self, value: Any) -> Any:
        if not isinstance(value, Tensor) or value.ndim == 0 or len(value) != self._examples:
            return value
        # A copy, since a model may write over what it is given.
        copy = value.clone(memory_format=self._layout if value.ndim == 4 else torch.preserve_format)
        return _Rows(copy, torch.arange(self._examples, device=value.device) * self._width)

    def _edited(self, name: str, inputs: Tensor, before: _Rows) -> _Rows:
        """What a layer returns with its edits: a row more for every step at which one begins."""
        layer, edits = self._model.get_submodule(name), self._edits[name]
        device = before.keys.device
        examples = torch.tensor([example for example, _ in edits], device=device)
        starts = torch.tensor([edit.step for _, edit in edits], device=device)
        channels = torch.tensor([edit.channel for _, edit in edits], device=device)
        values = {part: torch.stack([edit.values[part] for _, edit in edits]) for part in edits[0][1].values}
        after = _at(before, _united([before.keys, examples * self._width + starts]))
        output: Tensor = after.value
        dimension = channel_dimension(layer, output)
        # Which rows each edit holds in, (edits, rows).
        holds = (after.keys // self._width == examples[:, None]) & (after.keys % self._width >= starts[:, None])
        constant = constant_outputs(values)
        # A channel whose weights are all 0 returns its bias everywhere: nothing to convolve.
        if constant is not None:
            edit, row = holds.nonzero(as_tuple=True)
            output.movedim(dimension, 1)[row, channels[edit]] = constant[edit].view(-1, *[1] * (output.ndim - 2))
            return after
        places = torch.searchsorted(before.keys, after.keys, right=True) - 1
        # One example after the other, since their edits have different numbers of rows.
        for example in examples.unique().tolist():
            edited = (examples == example).nonzero()[:, 0]
            some = (before.keys // self._width == example).nonzero()[:, 0]
            parts = {part: value[edited] for part, value in values.items()}
            changed = channel_outputs(layer, inputs[some], channels[edited], parts).movedim(dimension, 1)
            edit, row = holds[edited].nonzero(as_tuple=True)
            output.movedim(dimension, 1)[row, channels[edited][edit]] = changed[places[row] - some[0], edit]
        return after


def _united(keys: list[Tensor]) -> Tensor:
    first = keys[0]
    if all(other is first or (len(other) == len(first) and bool((other == first).all())) for other in keys[1:]):
        return first
    united: Tensor = torch.cat(keys).unique()
    return united


def _at(held: _Rows, keys: Tensor) -> _Rows:
    """The rows at more keys than it has; the same tensors, not copied, if it has them all already."""
    if keys is held.keys or (len(keys) == len(held.keys) and bool((keys == held.keys).all())):
        return held
    places = torch.searchsorted(held.keys, keys, right=True) - 1
    return _Rows(_taken(held.value, places, len(held.keys)), keys)


def _rows_of(value: Tensor, places: Tensor) -> Tensor:
    """Some rows, in the memory format that the tensor has."""
    taken: Tensor
    if value.ndim == 4 and value.is_contiguous(memory_format=torch.channels_last):
        taken = value.permute(0, 2, 3, 1).index_select(0, places).permute(0, 3, 1, 2)
    else:
        taken = value.index_select(0, places)
    return taken


def _taken(value: Any, places: Tensor, rows: int) -> Any:
    if isinstance(value, Tensor) and value.ndim and len(value) == rows:
        return _rows_of(value, places)
    if isinstance(value, (tuple, list)) and not isinstance(value, torch.Size):
        return type(value)(_taken(item, places, rows) for item in value)
    got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
    message = f"Expected values with one row per example, got {got}."
    raise NotSharedError(message)
