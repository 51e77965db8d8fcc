"""What goes into a model, checked once and cut into parts, and the call of the model with a check of its scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from captum_paramsal.errors import ForwardError, InputError, ModelError, ParamsalError
from captum_paramsal.functional import Target, detached, labels_of

Inputs: TypeAlias = Tensor | tuple[Tensor, ...]


def require_size(internal_batch_size: int | None) -> None:
    """Make sure that examples can be taken so many at a time.

    Raises:
        InputError: `internal_batch_size` is neither None nor a whole number of at least 1.
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


def forward_scores(model: Callable[..., Any], batch: ModelInputs, *, per_place: bool = True) -> Tensor:
    """Run a model, and make sure that it returns class scores.

    Args:
        model: The model, in whatever state it is.
        batch: What it is given, in copies.
        per_place: Take ``(N, C, ...)`` too.

    Returns:
        ``(N, C)``, or ``(N, C, ...)`` with one set of class scores per place.

    Raises:
        ForwardError: The forward pass fails on the inputs.
        ModelError: The model returns something other than class scores, one row per example.
    """
    # Copies, since a model may write over what it is given.
    given = [value.clone() if isinstance(value, Tensor) else value for value in (*batch.inputs, *batch.extra)]
    with forward_errors(batch.shapes):
        output = model(*given)
    return require_scores(output, len(batch), per_place=per_place)


def require_scores(output: Any, count: int, *, per_place: bool = True) -> Tensor:
    """Make sure that a model returned class scores.

    Args:
        output: What it returned.
        count: Examples that it was given.
        per_place: Take ``(N, C, ...)`` too.

    Raises:
        ModelError: `output` is not a tensor ``(count, C)``.
    """
    if not isinstance(output, Tensor) or output.ndim < 2 or len(output) != count or (output.ndim > 2 and not per_place):
        # torch.fx returns dicts and lists of types of its own, which the caller never saw.
        got = (
            str(tuple(output.shape)) if isinstance(output, Tensor) else type(output).__name__.removeprefix("immutable_")
        )
        message = (
            f"Expected a model that returns class scores ({count}, C), one row per example, got {got}. "
            f"{_remedy(output, count)}"
        )
        raise ModelError(message)
    return output


def require_finite_scores(scores: Tensor, start: int = 0) -> Tensor:
    """Make sure that class scores are numbers.

    Raises:
        InputError: NaN or infinity in the scores of an example, counted from `start`.
    """
    bad = (~scores.isfinite()).flatten(1).any(dim=1).nonzero()
    if len(bad):
        message = f"Expected finite class scores, got NaN or infinity for image {start + int(bad[0])}."
        raise InputError(message)
    return scores


def require_gradient(scores: Tensor, of: str = "layers") -> Tensor:
    """Make sure that autograd knows how class scores came about.

    Raises:
        ModelError: The scores need no gradient.
    """
    if not scores.requires_grad:
        message = (
            f"Expected class scores that depend on the {of}, got scores without a gradient. Take `detach()`, `.data`, "
            "`torch.no_grad()` and conversions to numpy out of the model's forward pass."
        )
        raise ModelError(message)
    return scores


def _remedy(output: Any, count: int) -> str:
    if isinstance(output, Mapping):
        key = "logits" if "logits" in output or not output else next(iter(output))
        return f"Wrap the model so that it returns the class scores alone, such as `model(x)[{key!r}]`."
    if isinstance(output, (tuple, list)):
        return "Wrap the model so that it returns the class scores alone, such as `model(x)[0]`."
    if not isinstance(output, Tensor):
        return "Wrap the model so that it returns a tensor of class scores."
    if output.shape[:1] != (count,):
        return "Wrap the model so that it returns a row for each example, in their order."
    if output.ndim < 2:
        return "Wrap the model so that it returns a score for each class, two for a yes or no."
    return "Wrap the model so that it returns one set of scores per example, such as their mean over the places."


@dataclass(frozen=True)
class ModelInputs:
    """Examples, further arguments of the model and labels.

    Attributes:
        inputs: What the model takes, N rows each.
        extra: Further arguments; tensors with N rows go with their examples.
        labels: ``(N, D)``; None for the model's prediction.
        start: Place of the first example in the batch that the caller gave.
        shapes: Shapes of that batch, for messages.
    """

    inputs: tuple[Tensor, ...]
    extra: tuple[Any, ...]
    labels: Tensor | None
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
        labels = None if self.labels is None else detached(self.labels[here])
        return ModelInputs(inputs, extra, labels, self.start + start, self.shapes)

    def chosen(self, which: Tensor) -> ModelInputs:
        """Some of the examples, by number."""
        inputs = tuple(detached(tensor[which.to(tensor.device)]) for tensor in self.inputs)
        extra = tuple(self._rows_of(value, which) for value in self.extra)
        labels = None if self.labels is None else detached(self.labels[which.to(self.labels.device)])
        return ModelInputs(inputs, extra, labels, self.start, self.shapes)

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
