"""A network, and images that are not in its reference: what every figure is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

import torch
from torch import Tensor, nn

from captum_paramsal.attr import ParameterSaliency
from captum_paramsal.batch import ModelInputs, forward_scores
from captum_paramsal.errors import SourceError
from captum_paramsal.files import Fingerprint
from captum_paramsal.filters import FilterIndex
from captum_paramsal.functional import cross_entropy
from captum_paramsal.hooks import frozen_eval
from captum_paramsal.profiles import FilterProfile
from captum_paramsal.reference import Reference
from captum_paramsal.reference.pieces import Pieces
from captum_paramsal.report.shared.label_checks import require_labels
from captum_paramsal.report.shared.predictions import evenly_spread
from captum_paramsal.reproduce.settings import ReproduceSettings
from captum_paramsal.sources import ImageSource, SourceBatches
from captum_paramsal.stats import Moments

FORWARD_PIECE = 64
"""Images of which profiles and predictions are taken in one piece."""

_CLOSE = 1e-4
"""Of two classes whose probabilities differ by less, the image's neighbours in a batch may decide."""


@dataclass(frozen=True, eq=False)
class Subject:
    """What figures are made of. Images go by their positions in the source.

    Attributes:
        model: A classifier, on its device.
        images: Labelled images.
        saliency: z-scores.
        settings: Sizes, and sets of layers.
        classes: Names of the classes, as far as known.
        pieces: What was computed already, or is computed by other processes.
        device: Of the model.
        positions: Of the images that are not in the reference, and that can be read, ``(N,)``.
        labels: Of these, ``(N,)``.
        predicted: Predicted classes, ``(N,)``.
        margin: Probability of the most probable class less that of the second, ``(N,)``.
        loss: At the label, ``(N,)``.
        idle: Layers that are left out, since no gradient reached them in the reference.
    """

    model: nn.Module
    images: ImageSource
    saliency: ParameterSaliency
    settings: ReproduceSettings
    classes: Mapping[int, str]
    pieces: Pieces
    device: torch.device
    positions: Tensor
    labels: Tensor
    predicted: Tensor
    margin: Tensor
    loss: Tensor
    idle: tuple[str, ...] = ()

    @property
    def notes(self) -> list[str]:
        """What was left out, in sentences."""
        if not self.idle:
            return []
        return [f"Not scored, since no gradient reaches them for any image of the reference: {', '.join(self.idle)}."]

    @property
    def filters(self) -> FilterIndex:
        """What the scores belong to."""
        return self.saliency.filters

    @property
    def reference(self) -> Reference:
        """What the filters usually do.

        Raises:
            SourceError: There is none.
        """
        if self.saliency.reference is None:
            message = "Expected scores with a reference, got some without."
            raise SourceError(message)
        return self.saliency.reference

    @cached_property
    def mistakes(self) -> list[int]:
        """Positions of all misclassified images, but those where two classes are level."""
        return self._positions(self.predicted != self.labels)

    @cached_property
    def correct(self) -> list[int]:
        """Positions of all others, but those where two classes are level."""
        return self._positions(self.predicted == self.labels)

    @property
    def compared(self) -> list[int]:
        """Positions of as many correct images as there are mistakes, evenly spread."""
        return evenly_spread(self.correct, len(self.mistakes))

    @property
    def chosen(self) -> list[int]:
        """Positions of the mistakes that are looked at one by one, evenly spread."""
        most = self.settings.mistakes
        return self.mistakes if most is None else evenly_spread(self.mistakes, most)

    @property
    def early(self) -> list[int]:
        """Columns of the filters in early layers."""
        layers = self.filters.layers
        return self._columns(self.settings.early, layers[: max(1, len(layers) // 2)])

    @property
    def deep(self) -> list[int]:
        """Columns of all other filters."""
        early = {*self.early}
        return [column for column in range(len(self.filters)) if column not in early]

    @property
    def last(self) -> list[int]:
        """Columns of the filters in the last stage."""
        layers = self.filters.layers
        return self._columns(self.settings.last, layers[-max(1, len(layers) // 4) :])

    def rows(self, positions: Sequence[int]) -> Tensor:
        """Places of these images among ``labels`` and the others, ``(n,)``."""
        places = {position: place for place, position in enumerate(self.positions.tolist())}
        return torch.tensor([places[position] for position in positions], dtype=torch.int64)

    def read(self, positions: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Inputs ``(n, ...)`` of these images as the model takes them, and their labels ``(n,)``.

        Raises:
            SourceError: One of them can no longer be read.
        """
        batches = list(SourceBatches(self.images, self.model, positions, self.settings.batch_size, self.device))
        inputs, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
        if len(labels) != len(positions):
            message = f"Expected {len(positions)} images that could be read before, got {len(labels)}."
            raise SourceError(message)
        return inputs, labels

    @cached_property
    def raw_mistakes(self) -> Tensor:
        """Raw profiles of all mistakes at their labels, ``(M, F)``, on the CPU."""
        return self._profiles(self.mistakes)

    @cached_property
    def raw_compared(self) -> Tensor:
        """Raw profiles of the correct images that they are compared with."""
        return self._profiles(self.compared)

    def scores(self, profiles: Tensor) -> Tensor:
        """z-scores of raw profiles ``(n, F)``, on the CPU."""
        return self.saliency.score(profiles.to(self.device)).cpu()

    def among_mistakes(self, positions: Sequence[int]) -> list[int]:
        """Numbers of these images among the mistakes."""
        places = {position: place for place, position in enumerate(self.mistakes)}
        return [places[position] for position in positions]

    def name_of(self, number: int) -> str:
        """Name of a class, or its number where it has none."""
        return self.classes.get(number, str(number))

    def _profiles(self, positions: Sequence[int]) -> Tensor:
        def make(part: Sequence[int]) -> dict[str, Tensor]:
            inputs, labels = self.read(part)
            return {"raw": self.saliency.profiler(inputs, labels, None, self.settings.batch_size).cpu()}

        joined = self.pieces.joined("profiles", positions, FORWARD_PIECE, make)
        return joined["raw"] if joined else torch.zeros(0, len(self.filters))

    def _positions(self, wanted: Tensor) -> list[int]:
        return [int(position) for position in self.positions[wanted & (self.margin > _CLOSE)]]

    def _columns(self, patterns: Sequence[str] | None, layers: Sequence[str]) -> list[int]:
        if patterns is not None:
            return self.filters.columns(*patterns)
        # By slices: a layer's name may look like a pattern.
        every = range(len(self.filters))
        return [column for layer in layers for column in every[self.filters.slice(layer)]]


def open_subject(
    model: nn.Module,
    images: ImageSource,
    reference: Reference | None,
    *,
    settings: ReproduceSettings,
    classes: Mapping[int, str],
    pieces: Pieces,
    device: torch.device,
) -> Subject:
    """Take the reference, and what the model says of the other images; both in pieces.

    Raises:
        SourceError: Fewer than four images, or labels that are none of the model's classes.
        InputError: Images that cannot be scored.
        ReferenceMismatchError: A reference of other weights.
    """
    every = range(len(images.items))
    wanted = every if settings.images is None else evenly_spread(every, settings.images)
    if len(wanted) < 4:
        message = f"Expected at least four labelled images, two of them for the reference, got {len(wanted)}."
        raise SourceError(message)
    judged = list(wanted if reference is not None else wanted[1::2])
    batches = SourceBatches(images, model, batch_size=settings.batch_size, device=device)
    if reference is None:
        reference = _fitted(model, batches, list(wanted[::2]), settings, pieces)
    whole, reference = reference.filters.layers, _without_idle(reference)
    idle = tuple(layer for layer in whole if layer not in reference.filters.counts)
    saliency = ParameterSaliency(model, reference)
    facts = {"reference": reference.digest}
    known = pieces.joined("predictions", judged, FORWARD_PIECE, _predictions(model, images, batches))
    return Subject(model, images, saliency, settings, classes, pieces.depending_on(**facts), device, **known, idle=idle)


def _without_idle(reference: Reference) -> Reference:
    """The reference of the layers that do something; an auxiliary head would fill the ranks of the least salient.

    Its filters never have a gradient, and what never varies gets the lowest z-score.
    """
    filters, nothing = reference.filters, (reference.mean == 0) & reference.dead
    kept = [layer for layer in filters.layers if not bool(nothing[filters.slice(layer)].all())]
    if not kept or len(kept) == len(filters.layers):
        return reference
    columns = [column for layer in kept for column in range(len(filters))[filters.slice(layer)]]
    index = FilterIndex(
        {layer: filters.counts[layer] for layer in kept},
        {layer: parts for layer, parts in filters.parts.items() if layer in kept},
        bias=filters.bias,
    )
    moments = Moments(reference.count, reference.mean[columns], reference.moments.deviations[columns])
    return Reference(index, moments, reference.fingerprint, reference.loss_name)


def _fitted(
    model: nn.Module, batches: SourceBatches, positions: Sequence[int], settings: ReproduceSettings, pieces: Pieces
) -> Reference:
    """The reference of some images, from moments of each piece: the same for any number of processes."""
    profile = FilterProfile(model, settings.layers)

    def make(part: Sequence[int]) -> dict[str, Tensor]:
        rows = [profile(inputs, labels, None, settings.batch_size) for inputs, labels in batches.at(part)]
        if not rows:
            nothing = torch.zeros(0, len(profile.filters), dtype=torch.float64)
            return {"count": torch.zeros(0, 1, dtype=torch.int64), "mean": nothing, "deviations": nothing}
        moments = Moments.of(torch.cat(rows))
        values = {"count": torch.tensor([moments.count]), "mean": moments.mean, "deviations": moments.deviations}
        return {name: value[None] for name, value in values.items()}

    joined = pieces.joined("reference", positions, FORWARD_PIECE, make, layers=dict(profile.candidates.counts))
    parts = [
        Moments(int(count), mean, deviations)
        for count, mean, deviations in zip(joined["count"], joined["mean"], joined["deviations"], strict=True)
    ]
    if sum(part.count for part in parts) < 2:
        message = f"Expected at least two images for the reference that can be read, got {len(parts)}."
        raise SourceError(message)
    # Which Linear layers are scored is known for certain once the model has run, here as in the other processes.
    inputs, labels = next(iter(batches.at(positions)))
    profile(inputs[:1], labels[:1])
    return Reference(profile.filters, reduce(Moments.merge, parts), Fingerprint.of(profile.model), "cross_entropy")


def _predictions(
    model: nn.Module, images: ImageSource, batches: SourceBatches
) -> Callable[[Sequence[int]], Mapping[str, Tensor]]:
    def make(part: Sequence[int]) -> dict[str, Tensor]:
        rows = []
        with frozen_eval(model, gradients=False):
            for batch in batches.at(part).read():
                scores = plain_scores(model, batch.inputs).double()
                require_labels(scores.shape[1], batch.positions, images)
                first, second = scores.softmax(dim=1).topk(2, dim=1).values.unbind(dim=1)
                values = (scores.argmax(dim=1), first - second, cross_entropy(scores, batch.labels))
                rows.append((torch.tensor(batch.positions), *(value.cpu() for value in (batch.labels, *values))))
        names = ("positions", "labels", "predicted", "margin", "loss")
        empty = [torch.zeros(0, dtype=torch.int64)] * 3 + [torch.zeros(0, dtype=torch.float64)] * 2
        columns: Any = [torch.cat(values) for values in zip(*rows, strict=True)] if rows else empty
        return dict(zip(names, columns, strict=True))

    return make


def plain_scores(model: nn.Module, inputs: Tensor) -> Tensor:
    """Class scores ``(N, C)``, in whatever mode the model and gradients are."""
    given = ModelInputs((inputs,), (), None, 0, str(tuple(inputs.shape)))
    return forward_scores(model, given, per_place=False, binary=True)
