"""What every method that traces a decision back shares: the call, as Captum has it, and the trace behind it."""

from __future__ import annotations

from typing import Any

import torch
from captum.attr import Attribution
from captum.log import log_usage
from torch import Tensor, nn
from tqdm.auto import tqdm

from captum_paramsal.batch import Inputs, ModelInputs, forward_errors, require_scores, require_size
from captum_paramsal.errors import InputError
from captum_paramsal.functional import Target, scores_at
from captum_paramsal.graph import Network, Selected, TraceSettings, trace_back
from captum_paramsal.hooks import frozen_eval, unwrap
from captum_paramsal.traces import Neurons, Trace


class TraceAttribution(Attribution):  # type: ignore[misc] # Captum is not typed strictly
    """A method that follows a class score back through the network to pixels.

    Args:
        model: A convolutional classifier that returns class scores ``(N, C, ...)``; left as it is. Captured with
            ``torch.fx`` at its first use; later changes of its weights are seen, those of its structure are not.
        following: What is followed.
    """

    def __init__(self, model: nn.Module, following: TraceSettings) -> None:
        super().__init__(model)
        self.model = unwrap(model)
        self.following = following
        self._network: Network | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_network": None}

    @property
    def network(self) -> Network:
        """The captured network.

        Raises:
            TraceError: The model cannot be captured.
        """
        if self._network is None:
            with frozen_eval(self.model):
                self._network = Network.of(self.model)
        return self._network

    @property
    def multiplies_by_inputs(self) -> bool:
        """Always True: votes say how much of the decision lies at a place, not how it changes with a pixel's value."""
        return True

    @log_usage()  # type: ignore[untyped-decorator]
    def attribute(
        self,
        inputs: Inputs,
        target: Target = None,
        additional_forward_args: Any = None,
        internal_batch_size: int | None = None,
        show_progress: bool = False,  # noqa: FBT001, FBT002 -- Captum's signature
    ) -> Tensor | tuple[Tensor, ...]:
        """Heat map of the pixels that the decision is traced to.

        Args:
            inputs: Images, ``(N, C, H, W)``, or a tuple of them alone.
            target: Class that is traced, of every kind that Captum takes; None for the model's prediction.
            additional_forward_args: Further arguments of the model; tensors with N rows go with their images.
            internal_batch_size: Images per pass; bounds memory, not the result.
            show_progress: Show a progress bar over these passes.

        Returns:
            ``(N, C, H, W)``, the same in every channel, with a maximum of 1; all 0 where a trace is empty, for want of
            positive evidence in some layer. A tuple of one if ``inputs`` is a tuple.

        Raises:
            TargetError: ``target`` does not name one class per image.
            TraceError: The model cannot be captured, or has an operation without a trace-back rule.
            InputError: No images, an empty batch, values that are not finite, a shape the model cannot take.
        """
        trace = self.trace(inputs, target, additional_forward_args, internal_batch_size, show_progress=show_progress)
        images = inputs[0] if isinstance(inputs, tuple) else inputs
        maps = trace.heatmap().to(images.dtype)[:, None].repeat(1, images.shape[1], 1, 1)
        return (maps,) if isinstance(inputs, tuple) else maps

    def trace(
        self,
        inputs: Inputs,
        target: Target = None,
        additional_forward_args: Any = None,
        internal_batch_size: int | None = None,
        *,
        show_progress: bool = False,
    ) -> Trace:
        """Follow the decision back, layer by layer.

        Args:
            inputs: As in :meth:`attribute`, like all that follow.
            target: Class that is traced.
            additional_forward_args: Further arguments of the model.
            internal_batch_size: Images per pass.
            show_progress: Show a progress bar.

        Returns:
            The selected neurons of every layer, and the pixels that they lead to.

        Raises:
            TargetError, TraceError, InputError: See :meth:`attribute`.
        """
        batch = ModelInputs.of(inputs, target, additional_forward_args)
        images = batch.inputs[0]
        if len(batch.inputs) != 1 or images.ndim != 4 or not images.is_floating_point():
            message = (
                f"Expected `inputs` to be images (N, C, H, W) in floating point, got {batch.shapes} {images.dtype}."
            )
            raise InputError(message)
        require_size(internal_batch_size)
        size = internal_batch_size or len(batch)
        parts = [batch.part(start, size) for start in range(0, len(batch), size)]
        shown = tqdm(parts, desc="trace", disable=not show_progress, leave=False)
        network = self.network
        with frozen_eval(self.model), torch.no_grad():
            return Trace.joined([self._traced(network, part) for part in shown])

    def _traced(self, network: Network, batch: ModelInputs) -> Trace:
        with forward_errors(batch.shapes):
            run = network.run(*batch.inputs, *batch.extra)
        targets, index = _targets(batch, run.output)
        found = trace_back(run, index, self.following)
        layers = {name: _neurons(selected) for name, selected in found.items()}
        count, channels, height, width = batch.inputs[0].shape
        return Trace(layers, targets, (count, channels, height, width))


def _targets(batch: ModelInputs, scores: Any) -> tuple[Tensor, Tensor]:
    """Class of each image, and its place among the image's flattened scores."""
    require_scores(scores, len(batch))
    _, labels = scores_at(scores, batch.rows)
    index = labels
    for dimension, size in enumerate(scores.shape[2:], start=1):
        index = index * size + (0 if batch.rows is None else batch.rows[:, dimension].to(labels.device))
    return labels, index


def _neurons(selected: Selected) -> Neurons:
    channel, row, column = selected.places()
    sites = selected.sites
    score, current, preceding, succeeding = sites.supports.T
    return Neurons(sites.image, channel, row, column, score, current, preceding, succeeding, selected.size)
