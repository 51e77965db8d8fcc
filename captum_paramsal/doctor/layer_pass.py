"""A network run up to a layer once, and from there on as often as needed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, fx, nn

from captum_paramsal.batch import (
    ModelInputs,
    forward_errors,
    forward_scores,
    require_finite_scores,
    require_gradient,
    require_scores,
)
from captum_paramsal.errors import LayerError, WholePassesWarning, warn_caller
from captum_paramsal.functional import scores_at
from captum_paramsal.graph import (
    MapsLayout,
    Network,
    Recording,
    SideInputs,
    SizesSeen,
    TailNetwork,
    TailReads,
    maps_layout,
    record,
)
from captum_paramsal.hooks import replaced_maps, require_single_call
from captum_paramsal.hooks.calls import once_each
from captum_paramsal.profiles.influence import is_close

Score: TypeAlias = Literal["logit", "probability"]

GRAPH_BYTES = 1 << 26
"""What the results of one pass through the tail of a network may take: enough copies for its full speed."""


@dataclass(frozen=True, eq=False)
class LayerActivations(ABC):
    """A batch that was run up to a layer, and on to the class scores.

    Attributes:
        batch: Images, and what belongs to them.
        maps: The layer's output, ``(N, K, H, W)``, or what it was given; of tokens, those of the places.
        scores: What the model returns for them, ``(N, C, ...)``.
    """

    batch: ModelInputs
    maps: Tensor
    scores: Tensor

    def __len__(self) -> int:
        return len(self.maps)

    @property
    def labels(self) -> Tensor:
        """Labels ``(N, D)``: those of the batch, or the model's prediction.

        Raises:
            TargetError: They are not classes of the model.
        """
        _, labels = scores_at(self.scores, self.batch.labels)
        return labels[:, None] if self.batch.labels is None else self.batch.labels.to(labels.device)

    @abstractmethod
    def chosen(self, which: Tensor) -> LayerActivations:
        """Some of the images, by number."""

    @abstractmethod
    def copies(self, size: int | None) -> int:
        """Copies of the maps that go through the tail of the network together.

        Args:
            size: Images, each copy counted, that may be at most; None for as many as are fast.
        """

    @abstractmethod
    def run(self, perturbed: Tensor, rows: Tensor, score: Score) -> Tensor:
        """Score of each row's label, ``(c · N,)``, from c copies of the maps, which stay as they are."""

    def gradients(self, perturbed: Tensor, rows: Tensor, score: Score = "logit") -> Tensor:
        """Gradient of class scores with respect to perturbed maps, every image on its own.

        Args:
            perturbed: c copies of the maps, one after the other, ``(c · N, K, H, W)``.
            rows: Labels ``(N, D)``.
            score: The logit, or the softmax probability.

        Returns:
            ``(c · N, K, H, W)``.
        """
        leaf = perturbed.detach().requires_grad_()
        with forward_errors(self.batch.shapes):
            values = self.run(leaf, rows.repeat(len(leaf) // len(self), 1), score)
        require_gradient(values, of="layer")
        (gradient,) = torch.autograd.grad(values.sum(), leaf, allow_unused=True)
        return torch.zeros_like(leaf) if gradient is None else gradient


class SplitNetwork:
    """A network that is followed while it runs, and divided at a layer.

    Args:
        model: The network.
        layer: Name of the layer.
        to_input: Divide before the layer instead of after it.
    """

    def __init__(self, model: nn.Module, layer: str, *, to_input: bool = False) -> None:
        self.model = model
        self.layer = layer
        self._to_input = to_input
        self._number: int | None = None
        self._sizes = SizesSeen()
        self._whole = HookedNetwork(model, layer)

    def run_to_layer(self, batch: ModelInputs, size: int | None = None) -> LayerActivations:
        """Run a batch.

        Args:
            batch: Images.
            size: Images that may be in one pass; None for any number.

        Raises:
            LayerError: The layer is not called exactly once, has no single tensor, or does not lead to the output.

        Warns:
            WholePassesWarning: What follows the layer cannot be run on its own.
        """
        recording, start, tail = self._recorded(batch)
        scores = require_finite_scores(require_scores(recording.output, len(batch)), batch.start)
        network = tail.network
        if tail.hidden is not None:
            return self._run_whole(batch, tail.hidden)
        layout = _require_layout(network, start, self.layer)
        # One image at a time needs no other number of them.
        fixed = size == 1 or not self._goes_with_any_number(batch, recording)
        tensor = recording.values[start]
        maps = require_maps(layout.maps(tensor), self.layer, len(batch))
        numbers = sum(network.shapes[node].numel() for node in tail.nodes if node in network.shapes)
        seen = _ActivationsInGraph(batch, maps, scores, self, tail, layout, tensor, recording.read, fixed, numbers)
        return replace(seen, fixed=seen.fixed or not seen.keeps_scores())

    def _recorded(self, batch: ModelInputs) -> tuple[Recording, fx.Node, TailNetwork]:
        """A run of a batch with what its tail reads, the value that the tail starts from, and the tail."""
        reads = TailReads(self.layer, to_input=self._to_input, number=self._number)
        with forward_errors(batch.shapes):
            recording = batch.passed_to(lambda *args, **kwargs: record(self.model, args, kwargs, reads))
        start = self._start(recording)
        network = Network.recorded(recording)
        tail = TailNetwork.of(network, start)
        if tail is None and network.unseen:
            # What is hidden may lead on from the layer.
            tail = TailNetwork(network, start, (), network.unseen, None)
        if tail is None:
            message = f"Expected a layer that the class scores depend on, but they do not depend on {self.layer!r}."
            raise LayerError(message)
        if start in tail.network.outputs:
            recording.values.setdefault(start, recording.output)
        seen = start in recording.values and tail.reads <= recording.read.keys()
        if seen or self._number == start.meta["number"]:
            return recording, start, tail
        # Something reads the value before the layer was called. Where it is, is known now.
        self._number = start.meta["number"]
        return self._recorded(batch)

    def _start(self, recording: Recording) -> fx.Node:
        calls = recording.calls.get(self.layer, [])
        require_single_call(self.layer, len(calls))
        start = calls[0].given if self._to_input else calls[0].returned
        if start is None:
            message = f"Expected layer {self.layer!r} to {'take' if self._to_input else 'return'} one tensor."
            raise LayerError(message)
        return start

    def _goes_with_any_number(self, batch: ModelInputs, recording: Recording) -> bool:
        """Whether what follows the layer runs on other numbers of images, as a run on fewer of them shows."""

        def run_on(which: Tensor) -> fx.Graph:
            graph: fx.Graph = batch.chosen(which).passed_to(
                lambda *args, **kwargs: record(self.model, args, kwargs).graph
            )
            return graph

        return self._sizes.mark(recording.graph, len(batch), run_on)

    def _run_whole(self, batch: ModelInputs, why: str) -> LayerActivations:
        if self._to_input:
            message = (
                "Expected a model whose part after the layer can be run on its own for `attribute_to_layer_input`, "
                f"since others may read the same tensor as layer {self.layer!r} does; but {why}."
            )
            raise LayerError(message)
        message = (
            f"All of {type(self.model).__name__} runs for each perturbed copy, not only what follows {self.layer!r}, "
            f"since {why}."
        )
        warn_caller(message, WholePassesWarning)
        return self._whole.run_to_layer(batch)


@dataclass(frozen=True, eq=False)
class _ActivationsInGraph(LayerActivations):
    """Only the tail of the network runs again.

    Attributes:
        divided: The network.
        tail: What runs again.
        layout: How the layer's output holds the maps.
        tensor: The layer's output itself.
        side_inputs: What the operations after the layer read that does not depend on it.
        fixed: Whether it only goes with these images, all of them and once, such as their number.
        numbers: Numbers in the results of these operations.
    """

    divided: SplitNetwork
    tail: TailNetwork
    layout: MapsLayout
    tensor: Tensor
    side_inputs: SideInputs
    fixed: bool
    numbers: int

    def chosen(self, which: Tensor) -> LayerActivations:
        if self.fixed:
            return self.divided.run_to_layer(self.batch.chosen(which))
        return replace(
            self,
            batch=self.batch.chosen(which),
            side_inputs=self._side_inputs_of(which),
            numbers=self.numbers * len(which) // len(self),
            **{name: getattr(self, name)[which.to(self.maps.device)] for name in ("maps", "scores", "tensor")},
        )

    def copies(self, size: int | None) -> int:
        if self.fixed:
            return 1
        if size is None:
            return max(1, GRAPH_BYTES // max(1, self.numbers * self.maps.element_size()))
        return max(1, size // len(self))

    def run(self, perturbed: Tensor, rows: Tensor, score: Score) -> Tensor:
        tail, copies = self.tail, len(perturbed) // len(self)
        narrow = score == "logit" and self.scores.shape[1:] == (tail.narrow_classes,)
        labels = rows[:, 0].to(perturbed.device) if narrow else None
        # A copy, since an operation in place must not write over a leaf.
        tensor = self.layout.tensor(perturbed.clone(), self.tensor.repeat(copies, *[1] * (self.tensor.ndim - 1)))
        done = tail.run(tensor, self.repeated(copies), labels)
        output = require_finite_scores(require_scores(done.output, len(perturbed)))
        return output[:, 0] if done.narrowed else _score_of(output, rows, score)

    def keeps_scores(self) -> bool:
        """Whether two unlike copies have the scores that each has on its own, and the last image alone its own.

        A side input may look as if it had a row for each image, and not have; equal copies would not show it, since
        what reads a row of the first instead of the second finds the same there.
        """
        last = torch.tensor([len(self) - 1])
        try:
            with torch.no_grad():
                unlike = self._unlike()
                alone = self._output(unlike.clone(), self.repeated(1))
                both = self._output(torch.cat([self.tensor, unlike]), self.repeated(2))
                single = self._output(self.tensor[-1:].clone(), self._side_inputs_of(last))
                wanted = torch.cat([self.scores, alone])
        except (RuntimeError, ValueError, TypeError, IndexError):
            return False
        return is_close(both, wanted) and is_close(single, self.scores[-1:])

    def _output(self, tensor: Tensor, side_inputs: SideInputs) -> Any:
        return self.tail.run(tensor, side_inputs).output

    def _unlike(self) -> Tensor:
        """The layer's output, changed everywhere by up to a tenth of its largest value."""
        tensor = self.tensor
        wave = torch.arange(tensor[0].numel(), device=tensor.device).add(1).cos().view(tensor.shape[1:])
        return tensor + (0.1 * tensor.abs().amax() * wave).to(tensor.dtype)

    def _side_inputs_of(self, which: Tensor) -> SideInputs:
        return self._with_rows(lambda value: value[which.to(value.device)])

    def repeated(self, copies: int) -> SideInputs:
        """The side inputs for so many copies of the maps; themselves a copy, which may be written over."""
        return self._with_rows(lambda value: value.repeat(copies, *[1] * (value.ndim - 1)))

    def _with_rows(self, change: Callable[[Tensor], Tensor]) -> SideInputs:
        """The side inputs, with a change of all that have rows for images; one tensor stays one tensor."""
        changed = once_each(change)
        side_inputs: dict[tuple[fx.Node, fx.Node], Any] = {}
        for (reader, node), value in self.side_inputs.items():
            if node in self.tail.network.of_examples and value.shape[:1] == (len(self),):
                side_inputs[reader, node] = changed(value)
            else:
                side_inputs[reader, node] = value
        return side_inputs


class HookedNetwork:
    """A network that cannot be divided: whatever is perturbed at a layer, all of it runs again.

    Args:
        model: The network.
        layer: Name of the layer.
    """

    def __init__(self, model: nn.Module, layer: str) -> None:
        self.model = model
        self.layer = layer

    def run_to_layer(self, batch: ModelInputs) -> LayerActivations:
        """Run a batch."""
        kept: list[Tensor] = []

        def keep(maps: Tensor) -> Tensor:
            kept.append(maps.clone())
            return maps

        with torch.no_grad(), replaced_maps(self.model, self.layer, keep):
            scores = require_finite_scores(forward_scores(self.model, batch), batch.start)
        maps = require_maps(kept[0], self.layer, len(batch))
        return _ActivationsByHook(batch, maps, scores, self)


@dataclass(frozen=True, eq=False)
class _ActivationsByHook(LayerActivations):
    whole: HookedNetwork

    def chosen(self, which: Tensor) -> LayerActivations:
        maps, scores = (tensor[which.to(tensor.device)] for tensor in (self.maps, self.scores))
        return replace(self, batch=self.batch.chosen(which), maps=maps, scores=scores)

    def copies(self, size: int | None) -> int:  # noqa: ARG002 -- a pass takes the images as they are
        return 1

    def run(self, perturbed: Tensor, rows: Tensor, score: Score) -> Tensor:
        whole = self.whole
        with replaced_maps(whole.model, whole.layer, lambda _: perturbed.clone()):
            output = forward_scores(whole.model, self.batch)
        return _score_of(require_finite_scores(output, self.batch.start), rows, score)


def _score_of(output: Tensor, rows: Tensor, score: Score) -> Tensor:
    values, labels = scores_at(output, rows)
    values = values.softmax(dim=1) if score == "probability" else values
    return values.gather(1, labels[:, None])[:, 0]


def _require_layout(network: Network, start: fx.Node, layer: str) -> MapsLayout:
    layout = maps_layout(network, start)
    if layout is None:
        message = (
            f"Expected layer {layer!r} to have maps (N, K, H, W), or tokens of a map, got shape "
            f"{tuple(network.shapes[start])}. Name a layer before the pool or flattening, such as the last convolution."
        )
        raise LayerError(message)
    return layout


def require_maps(maps: Any, layer: str, count: int) -> Tensor:
    """Make sure that a layer has maps.

    Raises:
        LayerError: It has none.
    """
    if not isinstance(maps, Tensor) or maps.ndim < 3 or len(maps) != count or not maps.is_floating_point():
        got = f"shape {tuple(maps.shape)}" if isinstance(maps, Tensor) else type(maps).__name__
        message = (
            f"Expected layer {layer!r} to have maps (N, K, H, W), one row per image ({count}), got {got}. Name a layer "
            "before the pool or flattening, such as the last convolution."
        )
        raise LayerError(message)
    return maps
