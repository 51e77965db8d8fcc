"""Which labels, or answers of a model, may be wrong: those that model and labels of similar images speak against."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot
from tqdm.auto import tqdm

from captum_paramsal.batch import ModelInputs, forward_scores, require_finite_scores
from captum_paramsal.errors import InputError
from captum_paramsal.functional import cosines, nearest, scores_at
from captum_paramsal.hooks import Output, frozen_eval, last_inputs, layers_from_the_end, scored_model
from captum_paramsal.reference import ProcessGroup
from captum_paramsal.reference.data_batches import LoaderItem, own_numbered, total_of
from captum_paramsal.summary import Summarized

_ROWS = 500
"""Images whose neighbours are looked for at once: of 50,000, their similarities take 200 MB."""


@dataclass(frozen=True, eq=False, repr=False)
class Doubts(Summarized):
    """What speaks against the class of each of N images: its label, or what the model says.

    Attributes:
        classes: The labels, or the model's answers, ``(N,)`` int64.
        confidence: Softmax probability of the class, ``(N,)`` float64.
        support: Share of the nearest images that have the class as their label, ``(N,)`` float64.
        suggested: Class for which the mean of both is highest, ``(N,)`` int64.
        suggested_confidence: Softmax probability of that class, ``(N,)`` float64.
        suggested_support: Share of the nearest images that have that class as their label, ``(N,)`` float64.
        neighbors: Places of the nearest images among those with labels, nearest first, ``(N, k)`` int64.
    """

    classes: Tensor
    confidence: Tensor
    support: Tensor
    suggested: Tensor
    suggested_confidence: Tensor
    suggested_support: Tensor
    neighbors: Tensor

    @property
    def doubt(self) -> Tensor:
        """One minus the mean of confidence and support, ``(N,)`` float64: 0 where nothing speaks against the class."""
        return 1 - (self.confidence + self.support) / 2

    @property
    def likely_wrong(self) -> Tensor:
        """Labels that are likely wrong, ``(N,)`` bool; none of a model's own answers.

        The model gives another class more than half of the probability, and more than half of the nearest images have
        that class as their label.
        """
        other = self.suggested != self.classes
        return other & (self.suggested_confidence > 0.5) & (self.suggested_support > 0.5)

    def to_table(self, k: int | None = None) -> list[dict[str, Any]]:
        """One row per image, the most doubtful first; the first k where that is given."""
        doubt, likely = self.doubt, self.likely_wrong
        return [
            {
                "image": place,
                "class": int(self.classes[place]),
                "doubt": float(doubt[place]),
                "confidence": float(self.confidence[place]),
                "support": float(self.support[place]),
                "suggested": int(self.suggested[place]),
                "likely_wrong": bool(likely[place]),
            }
            for place in doubt.argsort(descending=True, stable=True)[:k].tolist()
        ]

    def _facts(self) -> Mapping[str, Any]:
        first = self.to_table(1)[0]
        return {
            "images": len(self.classes),
            "likely wrong": int(self.likely_wrong.sum()),
            "most doubtful": f"image {first['image']}, class {first['class']}, rather {first['suggested']}",
        }


def label_doubts(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    neighbors: int = 30,
    output: Output | None = None,
    show_progress: bool = True,
) -> Doubts:
    """Say of every label of a set how much speaks against it.

    Two witnesses that know nothing of each other's mistakes: the class scores of the model, and the labels of the
    ``neighbors`` images whose penultimate features, less their mean over the set, point most nearly the same way. An
    image is not its own neighbour. The doubt is ``1 - (p(label) + share of neighbours with the label) / 2``.

    The images should be none that the model was trained on: what it has learnt by heart it does not doubt.

    Args:
        model: A classifier that returns class scores ``(N, C)``; left as it is.
        batches: Batches (inputs, labels) or (inputs, labels, additional_forward_args), such as a ``DataLoader``, read
            once. Features and scores of all images are kept in memory, ``4 * (D + C)`` bytes for each.
        neighbors: Images that are asked for each; fewer than the images of most classes, or they cannot agree.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.
        show_progress: Show a progress bar.

    Raises:
        InputError: A batch without labels, fewer than ``neighbors + 1`` images, or images that the model cannot take.
        TargetError: A batch's labels do not name one class per image.
        ModelError: The model's last layer does not run once for each image.

    >>> from captum_paramsal.demo import load_model, load_scenes, normalize
    >>> scenes = load_scenes("validation")
    >>> labels = scenes.labels.clone()
    >>> labels[7] = (labels[7] + 1) % 8
    >>> found = label_doubts(load_model(), [(normalize(scenes.images), labels)], show_progress=False)
    >>> bool(found.likely_wrong[7]), int(found.suggested[7]) == int(scenes.labels[7])
    (True, True)
    """
    network = scored_model(model, output)
    seen = _Seen.of(network, batches, show_progress=show_progress, labelled=True)
    _require_enough(len(seen.scores) - 1, neighbors)
    near = _nearest(seen.features, seen.features, neighbors, to_itself=True)
    return _doubts(seen.labels, seen.scores, near, seen.labels)


def prediction_doubts(
    model: nn.Module,
    batches: Iterable[Any],
    known: Iterable[Any],
    *,
    neighbors: int = 30,
    output: Output | None = None,
    show_progress: bool = True,
) -> Doubts:
    """Say of every answer of a model how much speaks against it, without knowing the truth.

    As :func:`label_doubts` does, with the model's answer in the place of the label, and neighbours among other images
    whose labels are known: ``1 - (p(answer) + share of neighbours with the answer as their label) / 2``.

    Args:
        model: A classifier that returns class scores ``(N, C)``; left as it is.
        batches: Batches of images, with or without labels, which do not matter; read once.
        known: Batches (inputs, labels) of images of the same kind that the model was not trained on, read once.
            Features and scores of both are kept in memory.
        neighbors: Images that are asked for each.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.
        show_progress: Show a progress bar.

    Raises:
        InputError: No images, a known batch without labels, fewer than ``neighbors`` known images, or images that the
            model cannot take.
        TargetError: The labels of a known batch do not name one class per image.
        ModelError: The model's last layer does not run once for each image.

    >>> from captum_paramsal.demo import load_model, load_scenes, normalize
    >>> scenes, others = load_scenes("test"), load_scenes("validation")
    >>> known = [(normalize(others.images), others.labels)]
    >>> found = prediction_doubts(load_model(), [normalize(scenes.images)], known, show_progress=False)
    >>> wrong = found.classes != scenes.labels
    >>> bool(found.doubt[wrong].mean() > 2 * found.doubt[~wrong].mean())
    True
    """
    network = scored_model(model, output)
    asked = _Seen.of(network, batches, show_progress=show_progress, labelled=False)
    others = _Seen.of(network, known, show_progress=show_progress, labelled=True)
    _require_enough(len(others.scores), neighbors)
    near = _nearest(asked.features, others.features, neighbors, to_itself=False)
    return _doubts(asked.scores.argmax(dim=1), asked.scores, near, others.labels)


def _require_enough(others: int, neighbors: int) -> None:
    if neighbors < 1:
        message = f"Expected `neighbors` of at least 1, got {neighbors}."
        raise InputError(message)
    if others < neighbors:
        message = (
            f"Expected at least {neighbors} other images with labels, so that each image has {neighbors} neighbours, "
            f"got {others}: give more images, or fewer `neighbors`."
        )
        raise InputError(message)


def _doubts(classes: Tensor, scores: Tensor, near: Tensor, labels: Tensor) -> Doubts:
    """What scores ``(N, C)`` and the labels of neighbours ``(N, k)`` say of classes ``(N,)``."""
    probability = scores.double().softmax(dim=1)
    share = torch.stack([one_hot(labels[part], scores.shape[1]).double().mean(dim=0) for part in near])
    suggested = ((probability + share) / 2).argmax(dim=1)
    rows = torch.arange(len(classes))
    return Doubts(
        classes=classes,
        confidence=probability[rows, classes],
        support=share[rows, classes],
        suggested=suggested,
        suggested_confidence=probability[rows, suggested],
        suggested_support=share[rows, suggested],
        neighbors=near,
    )


@dataclass(frozen=True, eq=False)
class _Seen:
    """Images as a model sees them: class scores ``(N, C)``, penultimate features ``(N, D)`` and labels ``(N,)``."""

    scores: Tensor
    features: Tensor
    labels: Tensor

    @classmethod
    def of(cls, model: nn.Module, batches: Iterable[Any], *, labelled: bool, show_progress: bool) -> _Seen:
        """Run a model; without labels, the model's answers are in their place."""
        name = ""

        def run(numbered: tuple[int, Any]) -> tuple[Tensor, Tensor, Tensor]:
            nonlocal name
            number, raw = numbered
            item = LoaderItem.of(raw, model)
            batch = ModelInputs.of(item.inputs, item.target if labelled else None, item.extra)
            if labelled and batch.labels is None:
                message = f"Expected batches (inputs, labels), got one without labels, batch {number}."
                raise InputError(message)
            name = name or _last_layer(model, batch.part(0, 1))
            with frozen_eval(model, gradients=False), last_inputs(model, name) as given:
                said = require_finite_scores(forward_scores(model, batch, binary=True))
            found, own = scores_at(said, batch.labels)
            return found.float().cpu(), given.features(len(batch)), own.cpu()

        rows, group = [], ProcessGroup.current()
        total = total_of(batches, model)
        with tqdm(total=total, desc="doubts", unit="img", disable=not group.shows(show_progress)) as bar:
            for made in group.in_order(own_numbered(batches, group), run, "doubts"):
                rows.append(made)
                bar.update(len(made[0]))
        if not rows:
            message = "Expected images, got no batches."
            raise InputError(message)
        return cls(*(torch.cat(parts) for parts in zip(*rows, strict=True)))


def _last_layer(model: nn.Module, first: ModelInputs) -> str:
    named = dict(zip(first.names, first.inputs, strict=True)) if first.names else {}
    inputs = () if first.names else first.inputs
    return layers_from_the_end(model, *inputs, *first.extra, **named, **first.keywords)[0]


def _nearest(features: Tensor, others: Tensor, count: int, *, to_itself: bool) -> Tensor:
    """Places of the nearest of others, less their mean, ``(N, k)``; of itself, an image's own place is left out."""
    mean = others.double().mean(dim=0)
    directions = others.double() - mean
    near = []
    for start in range(0, len(features), _ROWS):
        rows = features[start : start + _ROWS].double() - mean
        alike = cosines(rows, directions)
        if to_itself:
            alike[torch.arange(len(rows)), start + torch.arange(len(rows))] = -torch.inf
        near.append(nearest(alike, count)[0])
    return torch.cat(near)
