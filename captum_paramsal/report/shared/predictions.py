"""What the model predicts for every image, and which images and names a report takes of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from captum_paramsal.batch import ModelInputs, forward_scores
from captum_paramsal.errors import InputError, ParamsalError, SourceError
from captum_paramsal.hooks import frozen_eval
from captum_paramsal.sources import ImageSource, Picture, SourceBatch, SourceBatches


@dataclass(frozen=True)
class Prediction:
    """What the model predicts for one image.

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

    @property
    def correct(self) -> bool:
        """Whether the predicted class is the true one."""
        return self.predicted == self.label


@contextmanager
def on_device(model: nn.Module, device: str | torch.device | None) -> Iterator[torch.device]:
    """The model on a device inside the ``with``, and back where it was afterwards.

    Raises:
        ParamsalError: This machine has no such device.
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


def predict(
    model: nn.Module, images: ImageSource, *, batch_size: int, device: torch.device, show_progress: bool = True
) -> list[Prediction]:
    """Classify every image that can be read, in one pass.

    Raises:
        InputError: The model does not take the images, or does not return finite class scores ``(N, C)``.
        SourceError: Labels that are none of the model's classes.
    """
    predictions: list[Prediction] = []
    batches = SourceBatches(images, model, batch_size=batch_size, device=device)
    with frozen_eval(model), torch.no_grad():
        for batch in batches.read("predictions", show_progress=show_progress):
            # Not `ModelInputs.of`: what is not finite is named by its place in the source, below.
            given = ModelInputs((batch.inputs,), (), None, 0, str(tuple(batch.inputs.shape)))
            logits = forward_scores(model, given, per_place=False)
            _require_labels(logits.shape[1], batch, images)
            predictions += _predictions(logits, batch)
    return predictions


def evenly_spread(positions: Sequence[int], most: int) -> list[int]:
    """At most so many of them, evenly spread.

    >>> evenly_spread([3, 4, 5, 6, 7, 8], 3)
    [3, 5, 7]
    """
    count = min(len(positions), most)
    return [positions[i * len(positions) // count] for i in range(count)]


def classes_of(predictions: Sequence[Prediction]) -> set[int]:
    """The classes that occur, as labels or as predictions."""
    return {number for prediction in predictions for number in (prediction.label, prediction.predicted)}


def occurring(predictions: Sequence[Prediction], classes: Mapping[int, str] | None) -> dict[int, str]:
    """Names of the classes that occur."""
    seen = classes_of(predictions)
    return {number: name for number, name in (classes or {}).items() if number in seen}


def pictures_of(images: ImageSource, positions: Iterable[int]) -> dict[int, Picture]:
    """Pictures of the images at these positions, of those that have one."""
    pictures = ((position, images.picture(position)) for position in positions)
    return {position: picture for position, picture in pictures if picture is not None}


def _require_labels(classes: int, batch: SourceBatch, images: ImageSource) -> None:
    items = [images.items[position] for position in batch.positions]
    outside = [item for item in items if item.label >= classes]
    if outside:
        message = (
            f"Expected labels from 0 to {classes - 1}, the classes of the model, "
            f"got {outside[0].label} for '{outside[0].name}'."
        )
        raise SourceError(message)


def _predictions(logits: Tensor, batch: SourceBatch) -> list[Prediction]:
    probabilities = logits.double().softmax(dim=1)
    if not probabilities.isfinite().all():
        place = int((~probabilities.isfinite()).any(dim=1).nonzero()[0])
        message = f"Expected finite class scores, got NaN or infinity for image {batch.positions[place]}."
        raise InputError(message)
    confidences, predicted = probabilities.max(dim=1)
    of_label = probabilities.gather(1, batch.labels[:, None])[:, 0]
    columns = (batch.positions, batch.labels.tolist(), predicted.tolist(), of_label.tolist(), confidences.tolist())
    return [Prediction(*row) for row in zip(*columns, strict=True)]
