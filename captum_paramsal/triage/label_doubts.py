"""Which labels of a set may be wrong: those that the model and the labels of similar images speak against."""

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
from captum_paramsal.reference.data_batches import LoaderItem, total_of
from captum_paramsal.summary import Summarized

_ROWS = 500
"""Images whose neighbours are looked for at once: of 50,000, their similarities take 200 MB."""


@dataclass(frozen=True, eq=False, repr=False)
class LabelDoubts(Summarized):
    """What speaks against the label of each of N images.

    Attributes:
        labels: As given, ``(N,)`` int64.
        confidence: Softmax probability of the label, ``(N,)`` float64.
        support: Share of the nearest images that have the label, ``(N,)`` float64.
        suggested: Class for which the mean of both is highest, the label's own among them, ``(N,)`` int64.
        suggested_confidence: Softmax probability of that class, ``(N,)`` float64.
        suggested_support: Share of the nearest images that have that class as their label, ``(N,)`` float64.
        neighbors: Places of the nearest images, nearest first, ``(N, k)`` int64.
    """

    labels: Tensor
    confidence: Tensor
    support: Tensor
    suggested: Tensor
    suggested_confidence: Tensor
    suggested_support: Tensor
    neighbors: Tensor

    @property
    def doubt(self) -> Tensor:
        """One minus the mean of confidence and support, ``(N,)`` float64: 0 where nothing speaks against the label."""
        return 1 - (self.confidence + self.support) / 2

    @property
    def likely_wrong(self) -> Tensor:
        """Labels that are likely wrong, ``(N,)`` bool.

        The model gives another class more than half of the probability, and more than half of the nearest images have
        that class as their label.
        """
        other = self.suggested != self.labels
        return other & (self.suggested_confidence > 0.5) & (self.suggested_support > 0.5)

    def to_table(self, k: int | None = None) -> list[dict[str, Any]]:
        """One row per image, the most doubtful first; the first k where that is given."""
        doubt, likely = self.doubt, self.likely_wrong
        return [
            {
                "image": place,
                "label": int(self.labels[place]),
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
            "images": len(self.labels),
            "likely wrong": int(self.likely_wrong.sum()),
            "most doubtful": f"image {first['image']}, labelled {first['label']}, rather {first['suggested']}",
        }


def label_doubts(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    neighbors: int = 30,
    output: Output | None = None,
    show_progress: bool = True,
) -> LabelDoubts:
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
    if neighbors < 1:
        message = f"Expected `neighbors` of at least 1, got {neighbors}."
        raise InputError(message)
    network = scored_model(model, output)
    scores, features, labels = _seen(network, batches, show_progress=show_progress)
    if len(labels) <= neighbors:
        message = (
            f"Expected at least {neighbors + 1} images, so that each has {neighbors} neighbours, got {len(labels)}: "
            "give more images, or fewer `neighbors`."
        )
        raise InputError(message)
    near = _nearest(features, neighbors)
    probability = scores.double().softmax(dim=1)
    share = torch.stack([_shares(labels[part], scores.shape[1]) for part in near])
    suggested = ((probability + share) / 2).argmax(dim=1)
    rows = torch.arange(len(labels))
    return LabelDoubts(
        labels=labels,
        confidence=probability[rows, labels],
        support=share[rows, labels],
        suggested=suggested,
        suggested_confidence=probability[rows, suggested],
        suggested_support=share[rows, suggested],
        neighbors=near,
    )


def _seen(model: nn.Module, batches: Iterable[Any], *, show_progress: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Class scores ``(N, C)``, penultimate features ``(N, D)`` and labels ``(N,)`` of all images."""
    scores, labels, features = [], [], []
    name = ""
    with tqdm(total=total_of(batches, model), desc="labels", unit="img", disable=not show_progress) as bar:
        for number, raw in enumerate(batches):
            item = LoaderItem.of(raw, model)
            batch = ModelInputs.of(item.inputs, item.target, item.extra)
            if batch.labels is None:
                message = f"Expected batches (inputs, labels), got one without labels, batch {number}."
                raise InputError(message)
            name = name or _last_layer(model, batch.part(0, 1))
            with frozen_eval(model), torch.no_grad(), last_inputs(model, name) as given:
                found, own = scores_at(require_finite_scores(forward_scores(model, batch, binary=True)), batch.labels)
            scores.append(found.float().cpu())
            labels.append(own.cpu())
            features.append(given.features(len(batch)))
            bar.update(len(batch))
    if not labels:
        message = "Expected labelled images, got no batches."
        raise InputError(message)
    return torch.cat(scores), torch.cat(features), torch.cat(labels)


def _last_layer(model: nn.Module, first: ModelInputs) -> str:
    named = dict(zip(first.names, first.inputs, strict=True)) if first.names else {}
    inputs = () if first.names else first.inputs
    return layers_from_the_end(model, *inputs, *first.extra, **named, **first.keywords)[0]


def _nearest(features: Tensor, count: int) -> Tensor:
    """Places of the nearest others of each image, ``(N, k)``."""
    directions = features.double()
    directions = directions - directions.mean(dim=0)
    near = []
    for start in range(0, len(directions), _ROWS):
        rows = directions[start : start + _ROWS]
        alike = cosines(rows, directions)
        alike[torch.arange(len(rows)), start + torch.arange(len(rows))] = -torch.inf
        near.append(nearest(alike, count)[0])
    return torch.cat(near)


def _shares(labels: Tensor, classes: int) -> Tensor:
    """Share of each class among some labels, ``(C,)`` float64."""
    return one_hot(labels, classes).double().mean(dim=0)
