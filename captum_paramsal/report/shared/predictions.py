"""What the model predicts for every image, and which images and names a report takes of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from captum_paramsal.batch import ModelInputs, forward_scores
from captum_paramsal.errors import InputError, ParamsalError
from captum_paramsal.files import Fingerprint
from captum_paramsal.hooks import frozen_eval
from captum_paramsal.reference import ProcessGroup
from captum_paramsal.report.shared.label_checks import label_caveats, require_labels
from captum_paramsal.sources import ImageSource, Picture, SourceBatch, SourceBatches

_OF_PROCESS = ("layers", "device", "show_progress", "checkpoint")
"""Settings that need not be equal, or cannot be compared, in all processes."""

_SAMPLED = 256
"""Images that are classified, at most, to see whether a model is better than chance."""


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
    model: nn.Module,
    images: ImageSource,
    positions: Sequence[int] | None = None,
    *,
    batch_size: int,
    device: torch.device,
    show_progress: bool = True,
) -> list[Prediction]:
    """Classify every image that can be read, in one pass; in a ``torch.distributed`` group each process its share.

    Args:
        model: A classifier.
        images: Labelled images.
        positions: Which of them; all by default.
        batch_size: Images at once.
        device: Where the model is.
        show_progress: Show a progress bar.

    Raises:
        InputError: The model does not take the images, or does not return finite class scores ``(N, C)``.
        SourceError: Labels that are none of the model's classes.
    """
    batches = SourceBatches(images, model, positions, batch_size, device)

    def classified(batch: SourceBatch) -> list[Prediction]:
        logits = _class_scores(model, batch)
        require_labels(logits.shape[1], batch.positions, images)
        return _predictions(logits, batch)

    with frozen_eval(model, gradients=False):
        made = batches.made(classified, "predictions", show_progress=show_progress)
        return [prediction for _, predictions in made for prediction in predictions]


def require_same_job(model: nn.Module, images: ImageSource, settings: Any) -> None:
    """Make sure that all processes of a group were asked for the same report.

    Args:
        model: The model.
        images: The images.
        settings: A dataclass; where and how a process computes may differ.

    Raises:
        GroupError: The weights, the number of images or a setting of another process differ; the message says which.
    """
    group = ProcessGroup.current()
    if group.size > 1:
        asked = {item.name: getattr(settings, item.name) for item in fields(settings) if item.name not in _OF_PROCESS}
        group.require_same({"weights": Fingerprint.of(model).short, "number of images": len(images.items)} | asked)


def evenly_spread(positions: Sequence[int], most: int) -> list[int]:
    """At most so many of them, evenly spread.

    >>> evenly_spread([3, 4, 5, 6, 7, 8], 3)
    [3, 5, 7]
    """
    count = min(len(positions), most)
    return [positions[i * len(positions) // count] for i in range(count)]


def spread_with_ends(names: Sequence[str], most: int) -> list[str]:
    """At most so many of them, evenly spread, the first and the last always among them.

    >>> spread_with_ends(["output", "c", "b", "a", "input"], 3)
    ['output', 'b', 'input']
    """
    if len(names) <= most:
        return list(names)
    return [names[round(step * (len(names) - 1) / (most - 1))] for step in range(most)]


def caveats_of(predictions: Sequence[Prediction]) -> tuple[str, ...]:
    """What the accuracy says about the labels."""
    return label_caveats(
        [prediction.label for prediction in predictions], [prediction.predicted for prediction in predictions]
    )


def sampled_caveats(
    model: nn.Module, images: ImageSource, *, batch_size: int, device: str | torch.device | None
) -> tuple[str, ...]:
    """What the accuracy on some images, evenly spread, says about the labels, before a long pass.

    Raises:
        ParamsalError: See :func:`predict` and :func:`on_device`.
    """
    positions = evenly_spread(range(len(images.items)), _SAMPLED)
    with on_device(model, device) as place:
        sample = predict(model, images, positions, batch_size=batch_size, device=place, show_progress=False)
    return caveats_of(sample)


def require_classes(
    model: nn.Module, images: ImageSource, positions: Sequence[int] | None = None, *, device: torch.device
) -> None:
    """Refuse labels that are none of the model's classes, by the scores of one image, before a long pass.

    Args:
        model: A classifier.
        images: Labelled images.
        positions: Which of them are to be used; all by default.
        device: Where the model is.

    Raises:
        SourceError: A label outside of the classes; or folders that were numbered in alphabetical order, and are not as
            many as classes.
    """
    batches = SourceBatches(images, model, positions, 1, device)
    # The first image may be damaged.
    first = next(iter(batches.read()), None)
    if first is not None:
        with frozen_eval(model, gradients=False):
            require_labels(_class_scores(model, first).shape[1], batches.wanted, images)


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


def _class_scores(model: nn.Module, batch: SourceBatch) -> Tensor:
    """Class scores ``(N, C)`` of a model in evaluation mode."""
    # Not `ModelInputs.of`: what is not finite is named by its place in the source.
    given = ModelInputs((batch.inputs,), (), None, 0, str(tuple(batch.inputs.shape)))
    return forward_scores(model, given, per_place=False, binary=True)


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
