"""The base of methods that trace a decision back, your own too: Captum's call, and the trace behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from captum.attr import Attribution
from captum.log import log_usage
from torch import Tensor, nn
from tqdm.auto import tqdm
from typing_extensions import deprecated

from captum_paramsal.batch import (
    Inputs,
    ModelInputs,
    as_given,
    forward_errors,
    require_finite_scores,
    require_scores,
    require_size,
)
from captum_paramsal.errors import InputError, TargetError
from captum_paramsal.filters import Filter
from captum_paramsal.functional import Target, scores_at
from captum_paramsal.graph import Links, Selected, TraceSettings, trace_back, traced_run
from captum_paramsal.hooks import Output, frozen_eval, scored_model
from captum_paramsal.hooks.calls import unseen
from captum_paramsal.profiles.influence import Influence
from captum_paramsal.summary import Summarized
from captum_paramsal.traces import Neurons, Through, Trace, filters_of, neurons_of

_DIMENSIONS = range(3, 6)
"""Of a sequence, an image and a volume, with images and channels."""


class TraceAttribution(Summarized, Attribution):  # type: ignore[misc] # Captum is not typed strictly
    """A method that follows a class score back through the network to pixels.

    A subclass writes its settings: which neurons before a selected one are candidates, how they are weighed (Ω, see
    :func:`captum_paramsal.graph.selecting.select`), and how many are kept. :doc:`/howto/own_trace` shows one.

    Args:
        model: A convolutional classifier that returns class scores ``(N, C, ...)``; left as it is. It is
            followed while it runs, so every batch is traced through the network that ran for it.
        settings: What is followed.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.

    Attributes:
        model: The traced model, unwrapped.
        settings: What is followed.

    >>> import torch
    >>> class StrongestPath(TraceAttribution):
    ...     '''The one neuron of every layer that contributes most to the one after it.'''
    ...
    ...     def __init__(self, model):
    ...         settings = TraceSettings(
    ...             weights=None, top_k=1, linear_top_k=1, places=1, active_only=True, single_place=True
    ...         )
    ...         super().__init__(model, settings)
    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    >>> len(StrongestPath(model).trace(torch.rand(5, 3, 8, 8), target=1).pixels)
    5
    """

    def __init__(self, model: nn.Module, settings: TraceSettings, *, output: Output | None = None) -> None:
        super().__init__(model)
        self.model = scored_model(model, output)
        self.settings = settings
        self._influence = Influence(self.model)

    def _facts(self) -> Mapping[str, Any]:
        return {"model": type(self.model).__name__, **vars(self.settings)}

    @property
    @deprecated("`following` of a method that traces is now `settings`; the old name goes with version 0.3.")
    def following(self) -> TraceSettings:
        """The old name of ``settings``."""
        return self.settings

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
    ) -> Any:
        """Heat map of the pixels that the decision is traced to.

        Args:
            inputs: Images, ``(N, C, H, W)``, or a tuple or dict of them alone; volumes and videos ``(N, C, D, H, W)``
                and sequences ``(N, C, L)`` alike. Arrays of numpy too, and one image ``(C, H, W)``, which is a batch of
                one.
            target: Class that is traced, of every kind that Captum takes; None for the model's prediction.
            additional_forward_args: Further arguments of the model; tensors with N rows go with their images.
            internal_batch_size: Images per pass; bounds memory, not the result.
            show_progress: Show a progress bar over these passes.

        Returns:
            Of the shape of the images, the same in every channel, with a maximum of 1; all 0 where a trace is empty,
            for want of positive evidence in some layer. A tuple of one if ``inputs`` is a tuple.

        Raises:
            TargetError: ``target`` does not name one class per image, or is given although the trace starts from
                several.
            TraceError: The model has an operation without a trace-back rule, or a value that came about unseen.
            InputError: No images, an empty batch, values that are not finite, a shape the model cannot take, or fewer
                classes than the trace starts from.
        """
        batch = self._given(inputs, target, additional_forward_args)
        heatmap = self._trace(batch, internal_batch_size, shown=show_progress).heatmap()
        (images,) = batch.inputs
        dtype = images.dtype if images.is_floating_point() else heatmap.dtype
        return as_given(inputs, [heatmap.to(dtype)[:, None].expand_as(images).clone()])

    def trace(
        self,
        inputs: Inputs,
        target: Target = None,
        additional_forward_args: Any = None,
        internal_batch_size: int | None = None,
        *,
        through: Through = None,
        show_progress: bool = False,
    ) -> Trace:
        """Follow the decision back, layer by layer.

        Args:
            inputs: As in :meth:`attribute`, like all that follow.
            target: Class that is traced.
            additional_forward_args: Further arguments of the model.
            internal_batch_size: Images per pass.
            through: A filter, or one for each image: of the whole trace only the neurons on chains that pass through it
                are left, as they are there (:doc:`/methods/discernible_neurons`). An image whose trace does not reach
                its filter has none, see :attr:`captum_paramsal.Trace.reached`.
            show_progress: Show a progress bar.

        Returns:
            The selected neurons of every layer, and the pixels that they lead to.

        Raises:
            TargetError, TraceError, InputError: See :meth:`attribute`; or ``through`` is not a filter, or one for each
                image.
            LayerError: The model has no such filter, or it belongs to a layer that traces do not show.
        """
        batch = self._given(inputs, target, additional_forward_args)
        filters = filters_of(through, len(batch))
        return self._trace(batch, internal_batch_size, shown=show_progress, filters=filters)

    def _given(self, inputs: Inputs, target: Target, additional_forward_args: Any) -> ModelInputs:
        batch = ModelInputs.of(inputs, target, additional_forward_args, model=self.model)
        images = batch.inputs[0]
        if len(batch.inputs) != 1 or images.ndim not in _DIMENSIONS or images.is_complex():
            message = (
                "Expected `inputs` to be images (N, C, H, W), volumes (N, C, D, H, W) or sequences (N, C, L), got "
                f"{batch.shapes} {images.dtype}."
            )
            raise InputError(message)
        return batch

    def _trace(
        self, batch: ModelInputs, internal_batch_size: int | None, *, shown: bool, filters: Sequence[Filter] = ()
    ) -> Trace:
        require_size(internal_batch_size)
        _require_no_label(batch, self.settings.classes)
        with frozen_eval(self.model, gradients=False):
            # An image's trace must not depend on the images beside it.
            mixed = len(batch) > 1 and self._influence.within(batch)
            size = 1 if mixed else internal_batch_size or len(batch)
            parts = [(batch.part(start, size), filters[start : start + size]) for start in range(0, len(batch), size)]
            bar = tqdm(parts, desc="trace", disable=not shown, leave=False)
            return Trace.joined([self._traced(*part) for part in bar])

    def _traced(self, batch: ModelInputs, filters: Sequence[Filter]) -> Trace:
        with forward_errors(batch.shapes):
            run = batch.passed_to(lambda *args, **kwargs: traced_run(self.model, args, kwargs))
        labels, index = _traced_scores(batch, run.output, self.settings.classes)
        # The walk back is thousands of small operations, which no mode of the scoring state has to see.
        with unseen():
            links = Links() if filters else None
            selected = trace_back(run, index, self.settings, links)
            layers = {name: _neurons(found) for name, found in selected.items()}
            trace = Trace(layers, labels, tuple(batch.inputs[0].shape))
            if links is None:
                return trace
            return trace.restricted(filters, links.through(neurons_of(filters, trace, self.model)))


def _traced_scores(batch: ModelInputs, scores: Any, classes: int) -> tuple[Tensor, Tensor]:
    """Class of each image, the first of several, and their places ``(N, n)`` among the image's flattened scores."""
    scores = require_finite_scores(require_scores(scores, len(batch)), batch.start)
    at_place, labels = scores_at(scores, batch.labels)
    index = labels[:, None]
    if classes > 1:
        if classes > at_place.shape[1]:
            message = f"Expected a model of at least {classes} classes to start from, got one of {at_place.shape[1]}."
            raise InputError(message)
        index = at_place.sort(dim=1, descending=True, stable=True).indices[:, :classes]
    for dimension, size in enumerate(scores.shape[2:], start=1):
        place = 0 if batch.labels is None else batch.labels[:, dimension, None].to(labels.device)
        index = index * size + place
    return labels, index


def _require_no_label(batch: ModelInputs, classes: int) -> None:
    if classes > 1 and batch.labels is not None:
        message = (
            f"Expected no `target`, since the trace starts from the {classes} classes with the highest scores, got "
            "one. Leave it out, or give `classes=1` to trace a class of your choice."
        )
        raise TargetError(message)


def _neurons(selected: Selected) -> Neurons:
    channel, row, column = selected.places()
    sites = selected.sites
    score, current, preceding, succeeding = sites.supports.T
    return Neurons(sites.image, channel, row, column, score, current, preceding, succeeding, selected.size)
