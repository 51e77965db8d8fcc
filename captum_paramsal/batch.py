"""A batch of examples with everything that belongs to them, checked once and cut into parts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from captum_paramsal.errors import InputError, ParamsalError
from captum_paramsal.functional import Target, detached, labels_of

Inputs: TypeAlias = Tensor | tuple[Tensor, ...]


class ForwardError(InputError, RuntimeError):
    """The model's own forward pass failed on the inputs; the cause is chained."""


def require_size(internal_batch_size: int | None) -> None:
    """Make sure that examples can be taken so many at a time.

    Raises:
        InputError: They cannot.
    """
    if internal_batch_size is not None and (not isinstance(internal_batch_size, int) or internal_batch_size < 1):
        message = f"Expected `internal_batch_size` to be a whole number of at least 1, got {internal_batch_size!r}."
        raise InputError(message)


@contextmanager
def forward_errors(shapes: str) -> Iterator[None]:
    """Say of what goes wrong in a forward pass that it does, and on which shapes.

    Raises:
        ForwardError: Whatever a model raises on inputs that it cannot take.
    """
    try:
        yield
    except (torch.OutOfMemoryError, ParamsalError):
        raise
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        message = f"Expected inputs the model can take; its forward pass failed on shape {shapes}: {error}"
        raise ForwardError(message) from error


def require_scores(output: Any, count: int) -> Tensor:
    """Make sure that a model returned class scores.

    Raises:
        InputError: It did not, or they are not finite.
    """
    if not isinstance(output, Tensor) or output.shape[:1] != (count,):
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        message = f"Expected a model that returns class scores (N, C) for {count} images, got {got}."
        raise InputError(message)
    if not torch.isfinite(output).all():
        message = "Expected finite class scores, got NaN or infinity."
        raise InputError(message)
    return output


@dataclass(frozen=True)
class ModelInputs:
    """Examples, further arguments of the model and labels.

    Attributes:
        inputs: What the model takes, N rows each.
        extra: Further arguments; tensors with N rows go with their examples.
        rows: Labels, ``(N, D)``; None for the model's prediction.
        start: Place of the first example in the batch that the caller gave.
        shapes: Shapes of that batch, for messages.
    """

    inputs: tuple[Tensor, ...]
    extra: tuple[Any, ...]
    rows: Tensor | None
    start: int
    shapes: str

    @classmethod
    def of(cls, inputs: Inputs, target: Target = None, additional_forward_args: Any = None) -> ModelInputs:
        """Check what a caller gave.

        Raises:
            InputError: No examples, inputs with different numbers of them, or values that are not finite.
            TargetError: The target does not name one class per example.
        """
        tensors = inputs if isinstance(inputs, tuple) else (inputs,)
        if not tensors or not all(isinstance(tensor, Tensor) and tensor.ndim for tensor in tensors):
            got = ", ".join(type(tensor).__name__ for tensor in tensors)
            message = f"Expected `inputs` to be a tensor with one row per example, or a tuple of them, got ({got})."
            raise InputError(message)
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors)
        if len({len(tensor) for tensor in tensors}) > 1 or not len(tensors[0]):
            message = f"Expected `inputs` with the same number of examples in dimension 0, at least one, got {shapes}."
            raise InputError(message)
        for tensor in tensors:
            _require_finite(tensor)
        return cls(tensors, _as_tuple(additional_forward_args), labels_of(target, len(tensors[0])), 0, shapes)

    def __len__(self) -> int:
        return len(self.inputs[0])

    def part(self, start: int, size: int) -> ModelInputs:
        """Some of the examples, one after the other."""
        here = slice(start, start + size)
        inputs = tuple(detached(tensor[here]) for tensor in self.inputs)
        extra = tuple(self._rows_of(value, here) for value in self.extra)
        rows = None if self.rows is None else detached(self.rows[here])
        return ModelInputs(inputs, extra, rows, self.start + start, self.shapes)

    def chosen(self, which: Tensor) -> ModelInputs:
        """Some of the examples, by number."""
        inputs = tuple(detached(tensor[which.to(tensor.device)]) for tensor in self.inputs)
        extra = tuple(self._rows_of(value, which) for value in self.extra)
        rows = None if self.rows is None else detached(self.rows[which.to(self.rows.device)])
        return ModelInputs(inputs, extra, rows, self.start, self.shapes)

    def _rows_of(self, value: Any, here: slice | Tensor) -> Any:
        if not isinstance(value, Tensor):
            return value
        here = here.to(value.device) if isinstance(here, Tensor) else here
        return detached(value[here] if value.ndim and len(value) == len(self) else value)


def _as_tuple(additional_forward_args: Any) -> tuple[Any, ...]:
    if additional_forward_args is None:
        return ()
    return additional_forward_args if isinstance(additional_forward_args, tuple) else (additional_forward_args,)


def _require_finite(tensor: Tensor) -> None:
    if tensor.is_floating_point() and not torch.isfinite(tensor).all():
        example = int((~torch.isfinite(tensor)).flatten(1).any(dim=1).nonzero()[0]) if tensor.ndim > 1 else 0
        message = f"Expected finite `inputs`, got NaN or infinity in example {example}."
        raise InputError(message)
