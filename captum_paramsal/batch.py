"""What goes into a model, checked once and cut into parts, and the call of the model with a check of its scores."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_paramsal.errors import (
    DoubleSoftmaxWarning,
    ForwardError,
    InputError,
    ModelError,
    ParamsalError,
    TargetError,
    warn_caller,
)
from captum_paramsal.functional import Loss, cross_entropy, detached, labels_of, loss_targets
from captum_paramsal.hooks import as_tensor, is_one_image, scores_in

Given: TypeAlias = Tensor | NDArray[Any]
"""A tensor, or an array of numpy."""

Inputs: TypeAlias = Given | tuple[Given, ...] | Mapping[str, Given]
"""What a model takes: one tensor or array, several, or several by name, N rows each; or one image ``(C, H, W)``."""


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
        remedy = _remedy(shapes, str(error))
        raise ForwardError(f"{message.rstrip('.')}.{remedy}" if remedy else message) from error


def _remedy(shapes: str, error: str) -> str:
    """What to do where images were given as they are often held."""
    if any(word in error for word in ("unsigned char", "Byte", "uint8")):
        return " Images of whole numbers (uint8) are scaled first as in training: `(images / 255 - mean) / std`."
    if re.fullmatch(r"\([134], \d+, \d+\)", shapes):
        return " A single image (C, H, W) needs a dimension of examples: `image[None]`."
    if re.fullmatch(r"\((\d+, )?\d{2,}, \d+, [134]\)", shapes):
        return " Channels come before height and width: `images.permute(0, 3, 1, 2)`, `image.permute(2, 0, 1)[None]`."
    return ""


def forward_scores(
    model: Callable[..., Any], batch: ModelInputs, *, per_place: bool = True, binary: bool = False
) -> Tensor:
    """Run a model, and make sure that it returns class scores.

    Args:
        model: The model, in whatever state it is.
        batch: What it is given, in copies.
        per_place: Take ``(N, C, ...)`` too.
        binary: Take a single logit for two classes, see :func:`captum_paramsal.hooks.scores_in`.

    Returns:
        ``(N, C)``, or ``(N, C, ...)`` with one set of class scores per place.

    Raises:
        ForwardError: The forward pass fails on the inputs.
        ModelError: The model returns something other than class scores, one row per example.
    """
    with forward_errors(batch.shapes):
        output = batch.passed_to(model)
    return require_scores(output, len(batch), per_place=per_place, binary=binary)


def require_scores(output: Any, count: int, *, per_place: bool = True, binary: bool = False) -> Tensor:
    """The class scores in what a model returned: the tensor itself, or what it has as ``logits``.

    Args:
        output: What it returned.
        count: Examples that it was given.
        per_place: Take ``(N, C, ...)`` too.
        binary: Take a single logit for two classes.

    Raises:
        ModelError: `output` is no tensor ``(count, C)``, and has none by that name.

    >>> require_scores({"logits": torch.zeros(2, 3), "states": ()}, 2).shape
    torch.Size([2, 3])
    """
    output = scores_in(output, binary=binary)
    if not isinstance(output, Tensor) or output.ndim < 2 or len(output) != count or (output.ndim > 2 and not per_place):
        got = str(tuple(output.shape)) if isinstance(output, Tensor) else type(output).__name__
        message = (
            f"Expected a model that returns class scores ({count}, C), one row per example, got {got}. Give "
            f"`output=` (`--output` on the command line), a callable that makes {_wanted(output, count)}."
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


def warn_if_probabilities(scores: Tensor, loss: Loss) -> None:
    """Say so where the default loss takes the softmax of probabilities.

    Args:
        scores: Class scores of some examples, ``(N, C)``.
        loss: What is made of them.

    Warns:
        DoubleSoftmaxWarning: They are not negative, and each row adds up to 1.
    """
    if loss is not cross_entropy or scores.shape[1] < 2:
        return
    given = scores.detach()
    rounding = min(0.01, scores.shape[1] * torch.finfo(scores.dtype).eps)
    if bool((given >= 0).all()) and bool(((given.double().sum(dim=1) - 1).abs() <= rounding).all()):
        message = (
            "The class scores are probabilities: the model ends in a softmax, and the loss, cross entropy, takes "
            "another, which flattens its gradients. Leave the model's out, or give `output=torch.log`."
        )
        warn_caller(message, DoubleSoftmaxWarning)


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


def _wanted(output: Any, count: int) -> str:
    if isinstance(output, (tuple, list)) or (isinstance(output, Mapping) and output):
        key = next(iter(output)) if isinstance(output, Mapping) else 0
        return f"them of what it returns, such as `lambda returned: returned[{key!r}]`"
    if not isinstance(output, Tensor):
        return "a tensor of class scores of what it returns"
    if count == 1 and output.ndim == 1 and len(output) > 1:
        return (
            "them `(1, C)` of a single image too, such as `lambda returned: returned.reshape(-1, C)`: a `squeeze()` "
            "without a dimension takes the images' own away where there is only one image"
        )
    if output.shape[:1] != (count,):
        return "of what it returns a row for each example, in their order"
    if output.ndim < 2:
        return "of what it returns a score for each class, or a column (N, 1) for a yes or no"
    return "of what it returns one set of scores per example, such as those at one place, or their mean over the places"


Form: TypeAlias = tuple[tuple[tuple[int, ...], torch.dtype], ...]
"""Shape and type of each input of an example."""

_ALIKE = 0.5
"""Two images that differ by no more than this share of their values may hide that one influences the other."""


@dataclass(frozen=True)
class ModelInputs:
    """Examples, further arguments of the model and labels.

    Attributes:
        inputs: What the model takes, N rows each.
        extra: Further arguments; tensors with N rows go with their examples.
        labels: ``(N, D)``; None for the model's prediction.
        targets: What a loss of one's own takes in the place of labels, one row per example.
        start: Place of the first example in the batch that the caller gave.
        shapes: Shapes of that batch, for messages.
        names: What the inputs are called, where the model takes them by name.
        keywords: Further arguments that the model takes by name.
    """

    inputs: tuple[Tensor, ...]
    extra: tuple[Any, ...]
    labels: Tensor | None
    start: int
    shapes: str
    names: tuple[str, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)
    targets: Tensor | None = None

    @classmethod
    def of(
        cls,
        inputs: Inputs,
        target: Any = None,
        additional_forward_args: Any = None,
        *,
        model: object = None,
        any_target: bool = False,
        only_images: bool = False,
    ) -> ModelInputs:
        """Check what a caller gave.

        Args:
            inputs: One tensor, a tuple of them, or a mapping of names to them, such as a tokenizer returns; as
                :func:`as_inputs` takes them.
            target: One class per example, see :func:`captum_paramsal.functional.labels_of`.
            additional_forward_args: One further argument of the model, a tuple of them, or a mapping of names to them.
            model: What they are for.
            any_target: Take a target that is no class, such as numbers or several classes each, for a loss that does.
            only_images: Nothing but images ``(N, C, H, W)`` is taken, see :func:`as_inputs`.

        Raises:
            InputError: No examples, inputs with different numbers of them, or values that are not finite.
            TargetError: The target does not name one class per example.
        """
        given = as_inputs(model, inputs, target, additional_forward_args, only_images=only_images)
        names = tuple(map(str, given)) if isinstance(given, Mapping) else ()
        tensors = _tensors_in(given)
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors)
        if _tensors_in(inputs)[0].ndim < tensors[0].ndim:
            shapes = f"{tuple(tensors[0].shape[1:])}, taken as one image"
        if len({len(tensor) for tensor in tensors}) > 1 or not len(tensors[0]):
            message = f"Expected `inputs` with the same number of examples in dimension 0, at least one, got {shapes}."
            raise InputError(message)
        for tensor in tensors:
            _require_finite(tensor)
        extra, keywords = _further(additional_forward_args)
        count = len(tensors[0])
        targets = loss_targets(target, count) if any_target else None
        labels = labels_of(target, count) if targets is None else None
        return cls(tensors, extra, labels, 0, shapes, names, keywords, targets)

    def passed_to(self, model: Callable[..., Any]) -> Any:
        """What a model returns for these examples. It gets copies, since it may write over what it is given."""
        inputs, extra = map(_copied, self.inputs), map(_copied, self.extra)
        keywords = {name: _copied(value) for name, value in self.keywords.items()}
        if self.names:
            return model(*extra, **dict(zip(self.names, inputs, strict=True)), **keywords)
        return model(*inputs, *extra, **keywords)

    @property
    def given(self) -> Inputs:
        """The inputs as a caller gives them: by name where the model takes them so."""
        if self.names:
            return dict(zip(self.names, self.inputs, strict=True))
        return self.inputs if len(self.inputs) > 1 else self.inputs[0]

    @property
    def further(self) -> Any:
        """Further arguments of the model as a caller gives them; None without any."""
        return dict(self.keywords) or self.extra or None

    def __len__(self) -> int:
        return len(self.inputs[0])

    @property
    def form(self) -> Form:
        """Shape and type of an example: what is known of a model is known for these."""
        return tuple((tuple(tensor.shape[1:]), tensor.dtype) for tensor in self.inputs)

    def pair(self) -> ModelInputs:
        """The first two examples, the second one other than the first: two equal ones do not show an influence."""
        both = self.part(0, 2)
        return replace(both, inputs=tuple(map(_unlike, both.inputs)))

    def part(self, start: int, size: int) -> ModelInputs:
        """Some of the examples, one after the other."""
        return replace(self._rows(slice(start, start + size)), start=self.start + start)

    def chosen(self, which: Tensor) -> ModelInputs:
        """Some of the examples, by number."""
        return self._rows(which)

    def _rows(self, which: slice | Tensor) -> ModelInputs:
        return replace(
            self,
            inputs=tuple(detached(_taken(tensor, which)) for tensor in self.inputs),
            extra=tuple(self._rows_of(value, which) for value in self.extra),
            labels=None if self.labels is None else detached(_taken(self.labels, which)),
            targets=None if self.targets is None else detached(_taken(self.targets, which)),
            keywords={name: self._rows_of(value, which) for name, value in self.keywords.items()},
        )

    def _rows_of(self, value: Any, which: slice | Tensor) -> Any:
        if not isinstance(value, (Tensor, np.ndarray)):
            return value
        rows = _taken(value, which) if value.ndim and len(value) == len(self) else value
        return detached(rows) if isinstance(rows, Tensor) else rows


def as_inputs(
    model: object, inputs: Inputs, target: Any = None, additional_forward_args: Any = None, *, only_images: bool = False
) -> Tensor | tuple[Tensor, ...] | Mapping[str, Tensor]:
    """Inputs as people hold them, as tensors with a dimension of examples, in the form that they were given in.

    Arrays of numpy become tensors, see :func:`captum_paramsal.hooks.as_tensor`. One image ``(C, H, W)`` becomes a batch
    of one where that is certain: it is the only input, the target fits one example, and the model, whose first
    convolution takes C channels, does not take it as C examples.

    Args:
        model: What they are for; a function may be any.
        inputs: As in :meth:`ModelInputs.of`.
        target: As there; only looked at.
        additional_forward_args: As there.
        only_images: Whoever asks takes nothing but images ``(N, C, H, W)``: three dimensions are one image without
            asking the model.

    Raises:
        InputError: There is none, or something that is no tensor.
    """
    names = tuple(inputs) if isinstance(inputs, Mapping) else ()
    tensors = tuple(as_tensor(each, model) for each in _tensors_in(inputs))
    if not tensors or not all(isinstance(tensor, Tensor) and tensor.ndim for tensor in tensors):
        raise InputError(_no_tensors(inputs, tensors))
    if len(tensors) == 1 and tensors[0].ndim == 3 and _fits_one(target):
        image, (extra, keywords) = tensors[0], _further(additional_forward_args)

        def run(examples: Tensor) -> Any:
            batch = ModelInputs((examples,), extra, None, 0, "", tuple(map(str, names)), keywords)
            return batch.passed_to(cast("Callable[..., Any]", model))

        if only_images or is_one_image(model, image, run):
            tensors = (image[None],)
    if names:
        return dict(zip(names, tensors, strict=True))
    return tensors if isinstance(inputs, tuple) else tensors[0]


def _no_tensors(inputs: Any, tensors: tuple[Any, ...]) -> str:
    got = ", ".join(type(tensor).__name__ for tensor in tensors)
    message = f"Expected `inputs` to be a tensor with one row per example, or a tuple or dict of them, got ({got})."
    if not isinstance(inputs, list):
        return message
    stack = "torch.as_tensor(numpy.stack(images))" if any(isinstance(one, np.ndarray) for one in inputs) else ""
    return f"{message} Put a list of images together: `{stack or 'torch.stack(images)'}`."


def _fits_one(target: Any) -> bool:
    """Whether a target may be that of a single example."""
    try:
        loss_targets(target, 1)
    except TargetError:
        return False
    return True


def _tensors_in(inputs: Any) -> tuple[Tensor, ...]:
    tensors = tuple(inputs.values()) if isinstance(inputs, Mapping) else inputs
    return tensors if isinstance(tensors, tuple) else (tensors,)


def as_given(inputs: Inputs, tensors: Sequence[Tensor]) -> Any:
    """One tensor for each input, in the form that the inputs were given in.

    Args:
        inputs: As the caller gave them.
        tensors: One for each.

    >>> as_given({"pixel_values": torch.zeros(2, 3)}, [torch.ones(1)])
    {'pixel_values': tensor([1.])}
    """
    if isinstance(inputs, Mapping):
        return dict(zip(map(str, inputs), tensors, strict=True))
    return tuple(tensors) if isinstance(inputs, tuple) else tensors[0]


def _taken(values: Any, which: slice | Tensor) -> Any:
    if isinstance(which, slice):
        return values[which]
    return values[which.to(values.device) if isinstance(values, Tensor) else which.cpu().numpy()]


def _unlike(tensor: Tensor) -> Tensor:
    """Two rows, the second changed where it is as good as the first."""
    if len(tensor) < 2 or not tensor[1].numel():
        return tensor
    first, second = tensor[0], tensor[1].clone()
    if tensor.is_floating_point():
        size = float(first.abs().max()) or 1.0
        if float((first - second).abs().max()) > _ALIKE * size:
            return tensor
        waves = torch.arange(second.numel(), device=tensor.device).sin().view_as(second)
        second = 0.5 * (second.roll(1, -1) if second.ndim else second) + (size * (0.5 + waves)).to(tensor.dtype)
    elif torch.equal(first, second):
        # Numbers that the model has a use for: those of this example, in another order.
        second = ~second if tensor.dtype == torch.bool else second.flatten().roll(1).view_as(second)
    return torch.stack([first, second])


def _copied(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.copy()
    return value.clone() if isinstance(value, Tensor) else value


def _further(given: Any) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Further arguments by place and by name."""
    if isinstance(given, Mapping) and all(isinstance(name, str) for name in given):
        return (), dict(given)
    if given is None:
        return (), {}
    return (given if isinstance(given, tuple) else (given,)), {}


def _require_finite(tensor: Tensor) -> None:
    if tensor.is_floating_point() and not torch.isfinite(tensor).all():
        example = int((~torch.isfinite(tensor)).flatten(1).any(dim=1).nonzero()[0]) if tensor.ndim > 1 else 0
        message = f"Expected finite `inputs`, got NaN or infinity in example {example}."
        raise InputError(message)
