"""What the model says about every image."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from tqdm import tqdm

from captum_paramsal.errors import InputError, ParamsalError, SourceError
from captum_paramsal.hooks import frozen_eval
from captum_paramsal.sources import ImageSource, SourceBatch


@dataclass(frozen=True)
class Prediction:
    """The model's answer to one image.

    Attributes:
        position: Place among the source's images.
        label: True class.
        predicted: Class with the highest score.
        label_confidence: Softmax probability of the true class.
        confidence: Softmax probability of the predicted class.
    """

    position: int
    label: int
    predicted: int
    label_confidence: float
    confidence: float


@contextmanager
def on_device(model: nn.Module, device: str | torch.device | None) -> Iterator[torch.device]:
    """The model on a device inside the ``with``, and back where it was afterwards.

    Raises:
        ParamsalError: There is no such device.
    """
    first = next(iter([*model.parameters(), *model.buffers()]), None)
    home = torch.device("cpu") if first is None else first.device
    if device is None:
        yield home
        return
    try:
        target = torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, ImportError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        message = f"Expected a device of this machine, such as 'cpu' or 'cuda', got '{device}': {reason}"
        raise ParamsalError(message) from error
    try:
        model.to(target)
        yield target
    finally:
        model.to(home)


def prepared(batch: SourceBatch, model: nn.Module, device: torch.device) -> tuple[Tensor, Tensor]:
    """Inputs in the model's own precision, and labels, both on the device."""
    precision = next((p.dtype for p in model.parameters() if p.is_floating_point()), batch.inputs.dtype)
    return batch.inputs.to(device, precision), batch.labels.to(device)


def predict(
    model: nn.Module, images: ImageSource, *, batch_size: int, device: torch.device, show_progress: bool = True
) -> list[Prediction]:
    """Classify every image that can be read, in one pass.

    Raises:
        InputError: The model does not take the images, or does not return finite class scores ``(N, C)``.
        SourceError: Labels that are none of the model's classes.
    """
    predictions: list[Prediction] = []
    with (
        frozen_eval(model),
        torch.no_grad(),
        tqdm(total=len(images.items), desc="predictions", unit="img", disable=not show_progress) as bar,
    ):
        for batch in images.batches(batch_size):
            inputs, labels = prepared(batch, model, device)
            logits = _class_scores(model, inputs)
            _require_labels(labels, logits.shape[1], batch, images)
            predictions += _answers(logits, labels, batch)
            bar.update(len(batch.positions))
    return predictions


def _class_scores(model: nn.Module, inputs: Tensor) -> Tensor:
    try:
        logits = model(inputs)
    except (RuntimeError, ValueError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        message = f"Expected a model that takes images {tuple(inputs.shape)}, got: {error}"
        raise InputError(message) from error
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(inputs):
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        message = f"Expected class scores ({len(inputs)}, C) from the model, got {got}."
        raise InputError(message)
    return logits


def _require_labels(labels: Tensor, classes: int, batch: SourceBatch, images: ImageSource) -> None:
    outside = [images.items[p] for p, label in zip(batch.positions, labels.tolist(), strict=True) if label >= classes]
    if outside:
        message = (
            f"Expected labels from 0 to {classes - 1}, the classes of the model, "
            f"got {outside[0].label} for '{outside[0].name}'."
        )
        raise SourceError(message)


def _answers(logits: Tensor, labels: Tensor, batch: SourceBatch) -> list[Prediction]:
    probabilities = logits.double().softmax(dim=1)
    if not probabilities.isfinite().all():
        place = int((~probabilities.isfinite()).any(dim=1).nonzero()[0])
        message = f"Expected finite class scores, got NaN or infinity for image {batch.positions[place]}."
        raise InputError(message)
    confidences, predicted = probabilities.max(dim=1)
    own = probabilities.gather(1, labels[:, None])[:, 0]
    columns = (batch.positions, labels.tolist(), predicted.tolist(), own.tolist(), confidences.tolist())
    return [Prediction(*row) for row in zip(*columns, strict=True)]
