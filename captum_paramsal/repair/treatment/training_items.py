"""Batches of labelled images that are gone through again and again, each time in the same way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from captum_paramsal.batch import ModelInputs, forward_scores
from captum_paramsal.errors import InputError, ParamsalError
from captum_paramsal.functional import detached, labels_of, scores_at
from captum_paramsal.hooks import as_tensor


@dataclass(frozen=True, eq=False)
class TrainingItem:
    """Images with labels, and what is foreground in them.

    Attributes:
        inputs: ``(B, ...)``.
        labels: ``(B,)`` int64.
        foreground: ``(B, h, w)``; None where no image is annotated.
    """

    inputs: Tensor
    labels: Tensor
    foreground: Tensor | None = None

    @classmethod
    def of(cls, raw: Any, model: nn.Module) -> TrainingItem:
        """From (inputs, labels) or (inputs, labels, foreground), tensors or arrays of numpy.

        Raises:
            InputError: ``raw`` is something else, or has no images.
            TargetError: The labels do not name one class per image.
        """
        several = isinstance(raw, (tuple, list)) and len(raw) in {2, 3}
        if not several or not isinstance(raw[0], (Tensor, np.ndarray)):
            got = f"{len(raw)} items" if isinstance(raw, (tuple, list)) else type(raw).__name__
            message = f"Expected (inputs, labels) or (inputs, labels, foreground), inputs a tensor, got {got}."
            raise InputError(message)
        inputs, labels, foreground = (*raw, None)[:3]
        inputs, foreground, device = as_tensor(inputs, model), as_tensor(foreground, model), device_of(model)
        if not inputs.ndim or not len(inputs) or labels is None:
            got = "no labels" if labels is None else f"inputs of shape {tuple(inputs.shape)}"
            message = f"Expected one image or more and their labels, got {got}."
            raise InputError(message)
        rows = labels_of(labels, len(inputs))
        if foreground is not None and not isinstance(foreground, Tensor):
            message = f"Expected `foreground` (B, h, w) as a tensor, got {type(foreground).__name__}."
            raise InputError(message)
        return cls(
            detached(inputs.detach()).to(device),
            detached(torch.as_tensor(rows).squeeze(1)).to(device),
            None if foreground is None else detached(foreground.detach()).to(device),
        )


def scores_of(model: nn.Module, batch: TrainingItem) -> Tensor:
    """Class scores of a batch, ``(B, C)``.

    Raises:
        InputError: The model cannot take the images, or does not return such scores.
        TargetError: A label is no class of the model.
    """
    given = ModelInputs((batch.inputs,), (), batch.labels[:, None], 0, str(tuple(batch.inputs.shape)))
    scores, _ = scores_at(forward_scores(model, given, per_place=False, binary=True), given.labels)
    return scores


def require_repeatable(batches: Iterable[Any], name: str) -> None:
    """Refuse what can be gone through only once.

    Raises:
        InputError: ``batches`` are an iterator, or nothing to iterate over.
    """
    if isinstance(batches, Iterator) or not isinstance(batches, Iterable):
        message = (
            f"Expected `{name}` to be batches that can be gone through again and again, got {type(batches).__name__}. "
            "Give a DataLoader or a list."
        )
        raise InputError(message)


def require_some(images: int, name: str) -> None:
    """Refuse batches that there are none of.

    Raises:
        InputError: There were no images.
    """
    if not images:
        message = f"Expected at least one batch in the {name} batches, got none."
        raise InputError(message)


def count_of(batches: Iterable[Any]) -> int | None:
    """Batches in all; None where they do not tell."""
    try:
        return len(batches) if isinstance(batches, Sized) else None
    except TypeError:  # a DataLoader over a stream
        return None


@contextmanager
def same_every_time(batches: Iterable[Any], model: nn.Module, *key: int | str) -> Iterator[Iterator[TrainingItem]]:
    """Batches whose order and random augmentation depend on a key alone, as far as torch draws them.

    Random numbers of the model (dropout) do, too. Every random state is as before when the context ends.
    """
    seed = int.from_bytes(blake2b(repr(key).encode(), digest_size=7).digest(), "big")
    device = device_of(model)
    own = batches.generator if isinstance(batches, DataLoader) else None
    kept = None if own is None else own.get_state()
    with torch.random.fork_rng(devices=[device.index or 0] if device.type == "cuda" else []):
        # `torch.manual_seed` would leave its mark on devices that are not in use, too.
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        if own is not None:
            own.manual_seed(seed)
        try:
            yield (_read(raw, number, str(key[0]), model) for number, raw in enumerate(batches))
        finally:
            if own is not None and kept is not None:
                own.set_state(kept)


def device_of(model: nn.Module) -> torch.device:
    """Where a model's first parameter is."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def _read(raw: Any, number: int, name: str, model: nn.Module) -> TrainingItem:
    with naming(number, name):
        return TrainingItem.of(raw, model)


@contextmanager
def naming(number: int, name: str) -> Iterator[None]:
    """Say which batch an error is about."""
    try:
        yield
    except ParamsalError as error:
        error.args = (f"Batch {number} of the {name} batches: {error}",)
        raise
