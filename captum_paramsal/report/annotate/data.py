"""Which pictures to annotate: the least confident of each class."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from captum_paramsal.report.shared.predictions import Prediction

Among = Literal["all", "correct", "mistakes"]
PictureOrder = Literal["least-confident", "random"]


@dataclass(frozen=True)
class ChosenPicture:
    """One picture to annotate.

    Attributes:
        picture: Name of its file in the folder.
        file: Name of the image that it shows.
        label: True class.
        predicted: Class with the highest score.
        confidence: Softmax probability of the true class, by which it was chosen.
        width: Of the picture in pixels.
        height: Likewise.
    """

    picture: str
    file: str
    label: int
    predicted: int
    confidence: float
    width: int
    height: int


def chosen_images(
    predictions: Sequence[Prediction], per_class: int, among: Among, order: PictureOrder, seed: int
) -> list[Prediction]:
    """The images of each class to annotate: the least confident ones, or as many at random.

    Args:
        predictions: Of all images.
        per_class: How many of each class, at most.
        among: See :func:`least_confident`.
        order: Which of them come first.
        seed: Of the random order.
    """
    if order == "least-confident":
        return least_confident(predictions, per_class, among)
    chance = torch.rand(len(predictions), generator=torch.Generator().manual_seed(seed)).tolist()
    drawn = {prediction.position: value for prediction, value in zip(predictions, chance, strict=True)}
    return _first_of_classes(predictions, per_class, among, lambda prediction: (drawn[prediction.position], 0))


def least_confident(predictions: Sequence[Prediction], per_class: int, among: Among) -> list[Prediction]:
    """The images of each class whose true class has the lowest softmax probability, lowest first.

    A mistake that the model is sure of has the lowest of all: confidence in another class is taken as the opposite of
    confidence, as in the paper's program.

    Args:
        predictions: Of all images.
        per_class: How many of each class, at most.
        among: Of all images, or of those that are classified correctly, or of the others.

    >>> sure, doubtful = Prediction(0, 1, 1, 0.9, 0.9), Prediction(1, 1, 1, 0.6, 0.6)
    >>> wrong = Prediction(2, 1, 0, 0.1, 0.9)
    >>> [chosen.position for chosen in least_confident([sure, doubtful, wrong], 2, "all")]
    [2, 1]
    >>> [chosen.position for chosen in least_confident([sure, doubtful, wrong], 2, "correct")]
    [1, 0]
    """
    return _first_of_classes(predictions, per_class, among, _by_confidence)


def _first_of_classes(
    predictions: Sequence[Prediction],
    per_class: int,
    among: Among,
    key: Callable[[Prediction], tuple[float, int]],
) -> list[Prediction]:
    by_class: dict[int, list[Prediction]] = defaultdict(list)
    for prediction in predictions:
        if among == "all" or prediction.correct == (among == "correct"):
            by_class[prediction.label].append(prediction)
    ordered = (sorted(of_class, key=key) for _, of_class in sorted(by_class.items()))
    return [prediction for of_class in ordered for prediction in of_class[:per_class]]


def _by_confidence(prediction: Prediction) -> tuple[float, int]:
    return prediction.label_confidence, prediction.position
