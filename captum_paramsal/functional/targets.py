"""Captum's many kinds of target, as one label per example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_paramsal.errors import TargetError

Target: TypeAlias = int | tuple[int, ...] | Tensor | NDArray[Any] | Sequence[int] | Sequence[tuple[int, ...]] | None
"""What Captum accepts as ``target``, and arrays of numpy: see :func:`labels_of`."""


def labels_of(target: Target, count: int) -> Tensor | None:
    r"""Write a target as one row of indices per example.

    Args:
        target: None, an int, a 0-d or one-element tensor (the same class for every example), a list or 1-D tensor with
            one class per example, a column (N, 1), a tuple (class, \\*place) for every example, or a list of N such
            tuples. Numbers and arrays of numpy of any whole type, tensors of one number in lists, and lists of N lists
            of one (such as `tolist` makes of a column) are taken as well.
        count: Examples in the batch, N.

    Returns:
        ``(N, D)`` int64: class, then place; None where the target is None.

    Raises:
        TargetError: The target does not name one class per example.

    >>> labels_of([1, 0], 2).tolist()
    [[1], [0]]
    """
    if target is None:
        return None
    target = _plain(target)
    if isinstance(target, Tensor):
        return _labels_of_tensor(target, count)
    if _is_int(target):
        return torch.tensor([[target]] * count)
    if isinstance(target, tuple) and target and all(map(_is_int, target)):
        return torch.tensor([target] * count)
    if isinstance(target, list) and len(target) == count:
        rows = [(row,) if _is_int(row) else _cell(row) for row in target]
        if all(isinstance(row, tuple) and all(map(_is_int, row)) for row in rows) and len({*map(len, rows)}) == 1:
            return torch.tensor(rows)
    message = (
        f"Expected `target` with one class per example ({count}): an int, a tensor or list of {count} classes, a tuple "
        f"(class, *place) or a list of {count} such tuples; got {_shown(target)}."
    )
    raise TargetError(message)


def target_of(rows: Tensor) -> Target:
    """A target for labels from :func:`labels_of`, to hand on.

    Args:
        rows: ``(N, D)`` int64: class, then place.

    >>> target_of(torch.tensor([[1], [0]])).tolist(), target_of(torch.tensor([[1, 5, 6]]))
    ([1, 0], [(1, 5, 6)])
    """
    return rows[:, 0] if rows.shape[1] == 1 else [tuple(row) for row in rows.tolist()]


def loss_targets(target: Any, count: int) -> Tensor | None:
    """A target that is no class, for a loss of one's own: one row per example.

    Args:
        target: Numbers ``(N,)``, several classes each ``(N, C)``, or whatever else has a row for each example.
        count: Examples in the batch, N.

    Returns:
        ``(N, ...)``; None where the target is what :func:`labels_of` takes.

    Raises:
        TargetError: It has not one row per example, or is no tensor, array or list of numbers.

    >>> loss_targets([0.5, 2.0], 2)
    tensor([0.5000, 2.0000])
    """
    try:
        labels_of(target, count)
    except TargetError:
        pass
    else:
        return None
    try:
        targets = torch.as_tensor(target)
    except (TypeError, ValueError, RuntimeError) as error:
        message = f"Expected `target` as a tensor, an array or a list of numbers, got {_shown(target)}."
        raise TargetError(message) from error
    if not targets.ndim or len(targets) != count:
        message = f"Expected `target` with one row for each of {count} examples, got shape {tuple(targets.shape)}."
        raise TargetError(message)
    return targets


def scores_at(output: Tensor, rows: Tensor | None) -> tuple[Tensor, Tensor]:
    """Class scores and label of each example.

    Args:
        output: What the model returned: ``(N, C)``, or ``(N, C, ...)`` with one set of class scores per place.
        rows: Labels from :func:`labels_of`; None takes the class with the highest score.

    Returns:
        ``(N, C)`` scores and ``(N,)`` labels.

    Raises:
        TargetError: A class or a place is out of range, or the output has no class dimension.
    """
    if output.ndim < 2:
        message = f"Expected class scores of shape (N, C) from the model, got {tuple(output.shape)}."
        raise TargetError(message)
    if rows is None:
        if output.ndim > 2:
            message = (
                f"Expected `target` (class, *place) for a model with outputs of shape {tuple(output.shape)}, got None: "
                "there is no single prediction."
            )
            raise TargetError(message)
        return output, output.detach().argmax(dim=1)
    rows = rows.to(output.device)
    _require_in_range(output, rows)
    examples = torch.arange(len(output), device=output.device)
    here = (examples, *rows[:, 1:].unbind(dim=1))
    return output.movedim(1, -1)[here], rows[:, 0]


def _plain(target: Any) -> Any:
    """The same with Python's own numbers, and tensors for arrays."""
    if isinstance(target, np.ndarray) and target.dtype.kind in "iu":
        return torch.from_numpy(target.astype(np.int64))
    if isinstance(target, np.integer):
        return int(target)
    if type(target) in (tuple, list):
        return type(target)(_number(_plain(value)) for value in target)
    return target


def _cell(row: Any) -> Any:
    """A row of a column as a tuple; other lists may be several labels of one example, and stay."""
    return tuple(row) if isinstance(row, list) and len(row) == 1 else row


def _number(value: Any) -> Any:
    """Python's number for a tensor that holds one whole number."""
    one = isinstance(value, Tensor) and value.numel() == 1 and value.ndim <= 1 and _is_whole(value)
    return int(value) if one else value


def _is_whole(tensor: Tensor) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)


def _labels_of_tensor(target: Tensor, count: int) -> Tensor:
    whole = _is_whole(target)
    if whole and target.numel() == 1 and target.ndim <= 1:
        return target.detach().reshape(1, 1).expand(count, 1).long()
    if whole and target.shape in ((count,), (count, 1)):
        return target.detach().reshape(count, 1).long()
    message = (
        f"Expected `target` with one class per example, integers of shape ({count},), "
        f"got {target.dtype} of shape {tuple(target.shape)}."
    )
    if whole and target.ndim == 2 and len(target) == count:
        message += " Classes with places are a list of tuples: `[*map(tuple, target.tolist())]`."
    raise TargetError(message)


def _require_in_range(output: Tensor, rows: Tensor) -> None:
    if rows.shape[1] != output.ndim - 1:
        got = tuple(rows[0].tolist()) if rows.shape[1] > 1 else int(rows[0])
        message = (
            f"Expected `target` (class, *place) with {output.ndim - 1} indices per example for outputs of shape "
            f"{tuple(output.shape)}, got {got} for example 0."
        )
        raise TargetError(message)
    sizes = torch.tensor(output.shape[1:], device=rows.device)
    bad = ((rows < 0) | (rows >= sizes)).nonzero()
    if len(bad):
        example, dimension = bad[0].tolist()
        what = "a class" if dimension == 0 else f"a place in dimension {dimension + 1}"
        message = (
            f"Expected `target` to name {what} from 0 to {int(sizes[dimension]) - 1}, "
            f"got {int(rows[example, dimension])} for example {example}."
        )
        raise TargetError(message)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _shown(target: object) -> str:
    if isinstance(target, (list, tuple)):
        shown = repr(target)
        return f"{type(target).__name__} of {len(target)}: " + (shown if len(shown) <= 80 else shown[:77] + "...")
    return f"{target!r} ({type(target).__name__})"
