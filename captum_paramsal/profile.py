"""The saliency profile of every example, from a model in any state."""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from captum_paramsal.errors import InputError
from captum_paramsal.functional import Loss, Target, cross_entropy, labels_of, scores_at
from captum_paramsal.hooks import Plan, StalePlanError, plan_recording, record_profiles, scoring_state, unwrap
from captum_paramsal.layers import LayerSelection, filter_index, select_layers

__all__ = ["FilterProfile", "Inputs"]

Inputs: TypeAlias = Tensor | tuple[Tensor, ...]

REUSED_BYTES = 32 * 2**20
"""Larger tensors are mapped afresh by the C library at each allocation, page by page (``mallopt(3)``)."""


class FilterProfile:
    """Mean absolute weight gradient of every filter, for every example of a batch.

    Args:
        model: A classifier; a compiled or data-parallel one is unwrapped.
        layers: Layers to score, see :func:`captum_paramsal.layers.select_layers`.
        loss: Loss per example.
    """

    def __init__(self, model: nn.Module, layers: LayerSelection | None = None, loss: Loss = cross_entropy) -> None:
        if not isinstance(model, nn.Module):
            message = f"Expected `model` to be a torch.nn.Module, got {type(model).__name__}."
            raise InputError(message)
        self.model = unwrap(model)
        self.loss = loss
        with scoring_state(self.model):
            self.layers = select_layers(self.model, layers)
        self.filters = filter_index(self.layers)
        self._plan: Plan | None = None

    def __call__(
        self,
        inputs: Inputs,
        target: Target = None,
        additional_forward_args: Any = None,
        internal_batch_size: int | None = None,
        *,
        show_progress: bool = False,
    ) -> Tensor:
        """Profile of each example.

        Args:
            inputs: Images ``(N, C, H, W)``, or whatever the model takes, as one tensor or a tuple of them.
            target: Class that each example's loss is taken at, see :func:`captum_paramsal.functional.labels_of`.
            additional_forward_args: More arguments for the model; tensors with N rows go with their examples.
            internal_batch_size: Examples in one forward and backward pass; bounds memory, not the result. None takes
                all at once, or on a processor as many as are fastest.
            show_progress: Show a progress bar over these passes.

        Returns:
            ``(N, F)``; float32 for half precision.

        Raises:
            InputError: An empty batch, a shape that the model cannot take, values or losses that are not finite.
            TargetError: The target does not name one class per example.
            LayerError: A layer that was asked for is never reached, or its input was overwritten.
        """
        tensors = _checked_inputs(inputs)
        extra = _as_tuple(additional_forward_args)
        count = len(tensors[0])
        rows = labels_of(target, count)
        _require_size(internal_batch_size)
        with scoring_state(self.model):
            if self._plan is None:
                self._plan = self._planned(tensors, extra)
            size = internal_batch_size or _fast_size(count, self._plan, tensors[0].device)
            parts = []
            for start in tqdm(range(0, count, size), desc="saliency profiles", disable=not show_progress):
                here = slice(start, start + size)
                batch = tuple(_usable(tensor[here]) for tensor in tensors)
                more = tuple(_rows_of(value, here, count) for value in extra)
                parts.append(self._profile(batch, more, None if rows is None else rows[here], start))
            return torch.cat(parts)

    def _profile(self, inputs: tuple[Tensor, ...], extra: tuple[Any, ...], rows: Tensor | None, start: int) -> Tensor:
        plan = self._plan or self._planned(inputs, extra)
        try:
            return self._recorded(plan, inputs, extra, rows, start)
        except StalePlanError:
            self._plan = self._planned(inputs, extra)
            return self._recorded(self._plan, inputs, extra, rows, start)

    def _planned(self, inputs: tuple[Tensor, ...], extra: tuple[Any, ...]) -> Plan:
        def forward(count: int) -> Tensor:
            first = [0] * count
            rows = len(inputs[0])
            return self._forward(
                tuple(tensor[first] for tensor in inputs),
                tuple(_rows_of(value, first, rows) for value in extra),
            )

        return plan_recording(self.model, self.layers, forward)

    def _recorded(
        self, plan: Plan, inputs: tuple[Tensor, ...], extra: tuple[Any, ...], rows: Tensor | None, start: int
    ) -> Tensor:
        count = len(inputs[0])
        with record_profiles(self.layers, plan, count) as recording:
            output = self._forward(inputs, extra)
            logits, labels = scores_at(output, rows)
            losses = self.loss(logits, labels)
            _require_losses(losses, count, start)
            recording.backward(losses)
            profile = recording.profile(like=logits)
        self._require_finite(profile, start)
        return profile

    def _require_finite(self, profile: Tensor, start: int) -> None:
        bad = (~torch.isfinite(profile)).nonzero()
        if len(bad):
            example, place = bad[0].tolist()
            message = (
                f"Expected finite gradients, got {profile[example, place].item()} in {self.filters[place]} for example "
                f"{start + example}."
            )
            raise InputError(message)

    def _forward(self, inputs: tuple[Tensor, ...], extra: tuple[Any, ...]) -> Tensor:
        try:
            output = self.model(*inputs, *extra)
        except (RuntimeError, ValueError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in inputs)
            message = f"Expected inputs that the model can take; its forward pass failed on shape {shapes}: {error}"
            raise ForwardError(message) from error
        if not isinstance(output, Tensor) or len(output) != len(inputs[0]):
            got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            message = (
                f"Expected a model that returns class scores with one row per example ({len(inputs[0])}), got {got}. "
                "Wrap the model so that it returns the scores alone."
            )
            raise InputError(message)
        return output


class ForwardError(InputError, RuntimeError):
    """The model's own forward pass failed on the inputs; the cause is chained."""


def _checked_inputs(inputs: Inputs) -> tuple[Tensor, ...]:
    tensors = inputs if isinstance(inputs, tuple) else (inputs,)
    if not tensors or not all(isinstance(tensor, Tensor) and tensor.ndim for tensor in tensors):
        got = ", ".join(type(tensor).__name__ for tensor in tensors)
        message = f"Expected `inputs` to be a tensor with one row per example, or a tuple of them, got ({got})."
        raise InputError(message)
    if len({len(tensor) for tensor in tensors}) > 1 or not len(tensors[0]):
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors)
        message = f"Expected `inputs` with the same number of examples in dimension 0, at least one, got {shapes}."
        raise InputError(message)
    for tensor in tensors:
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            example = int((~torch.isfinite(tensor)).flatten(1).any(dim=1).nonzero()[0]) if tensor.ndim > 1 else 0
            message = f"Expected finite `inputs`, got NaN or infinity in example {example}."
            raise InputError(message)
    return tensors


def _require_size(internal_batch_size: int | None) -> None:
    if internal_batch_size is not None and internal_batch_size < 1:
        message = f"Expected `internal_batch_size` to be at least 1, got {internal_batch_size}."
        raise InputError(message)


def _fast_size(count: int, plan: Plan, device: torch.device) -> int:
    """Examples in one pass: all of them, or equal parts whose largest feature map the allocator can use again."""
    if device.type != "cpu":
        return count
    fitting = max(1, REUSED_BYTES // max(plan.largest_output, 1))
    return -(-count // -(-count // fitting))


def _usable(tensor: Tensor) -> Tensor:
    """The tensor apart from the caller's graph; one made in inference mode is copied, autograd refuses it."""
    return tensor.clone() if tensor.is_inference() else tensor.detach()


def _as_tuple(additional_forward_args: Any) -> tuple[Any, ...]:
    if additional_forward_args is None:
        return ()
    return additional_forward_args if isinstance(additional_forward_args, tuple) else (additional_forward_args,)


def _rows_of(value: Any, here: slice | list[int], count: int) -> Any:
    if not isinstance(value, Tensor):
        return value
    return _usable(value[here] if value.ndim and len(value) == count else value)


def _require_losses(losses: Tensor, count: int, start: int) -> None:
    if losses.shape != (count,):
        message = f"Expected `loss` to return one loss per example, ({count},), got {tuple(losses.shape)}."
        raise InputError(message)
    bad = (~torch.isfinite(losses)).nonzero()
    if len(bad):
        example = int(bad[0])
        message = f"Expected a finite loss, got {losses[example].item()} for example {start + example}."
        raise InputError(message)
