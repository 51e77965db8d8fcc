"""Mistakes with the same filters: Levin et al., figures 5, 12 and 13, and figure 11 as their control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from captum_paramsal.hooks import frozen_eval, last_inputs, layers_from_the_end
from captum_paramsal.repair import neighbors as nearest
from captum_paramsal.reproduce.intervals import interval
from captum_paramsal.reproduce.result import Drawn
from captum_paramsal.reproduce.subject import FORWARD_PIECE, Subject, plain_scores
from captum_paramsal.sources import Picture
from captum_paramsal.viz import decoded, neighbor_grid, new_panels, to_png

MOST_SHOWN = 5
"""Neighbours in a picture."""


def neighbors_figure(subject: Subject) -> Drawn:
    """Nearest mistakes by the scores of early and of deep layers: what they have in common, and how they look."""
    scores = subject.scores(subject.raw_mistakes)
    spaces = {
        "all layers": scores,
        "early layers": scores[:, subject.early],
        "deep layers": scores[:, subject.deep],
        "raw profile": subject.raw_mistakes,
        "label and prediction alone": class_errors(subject),
    }
    near = {space: _near(subject, rows) for space, rows in spaces.items()}
    pictures = {name: _panel(subject, near[f"{name} layers"], f"{name} layers") for name in ("early", "deep")}
    return Drawn(
        {
            "": _shares(subject, near),
            "early": _listed(subject, near["early layers"]),
            "deep": _listed(subject, near["deep layers"]),
        },
        pictures,
        notes_on_neighbours(len(scores), subject.settings.neighbors),
    )


def features_figure(subject: Subject) -> Drawn:
    """Nearest mistakes in the features that the last layer takes, and how many of them are nearest by profile too."""
    spaces = {
        "penultimate features": penultimate(subject),
        "scores of all layers": subject.scores(subject.raw_mistakes),
    }
    near = {space: _near(subject, rows) for space, rows in spaces.items()}
    places, others = (each[0] for each in near.values())
    shared = (places[:, :, None] == others[:, None]).any(dim=2).double().mean(dim=1)
    chance = places.shape[1] / (len(places) - 1)
    agreement = [{"neighbours": places.shape[1], **interval("in both", shared), "by chance": chance}]
    return Drawn(
        {
            "": _shares(subject, near),
            "in_both": agreement,
            "listed": _listed(subject, near["penultimate features"]),
        },
        {"": _panel(subject, near["penultimate features"], "penultimate features")},
        notes_on_neighbours(len(places), subject.settings.neighbors),
    )


def notes_on_neighbours(mistakes: int, wanted: int) -> list[str]:
    """A sentence where every other mistake is a neighbour, so that none is nearer than chance.

    >>> notes_on_neighbours(20, 10)
    []
    """
    if wanted < mistakes - 1:
        return []
    note = (
        f"All {mistakes - 1} other mistakes are neighbours of each, since {wanted} were asked for: neighbours share no "
        "more than any others do. Give more images (`--limit`), or ask for fewer (`--neighbors`)."
    )
    return [note]


def penultimate(subject: Subject) -> Tensor:
    """What the last layer with weights takes, averaged over places, of all mistakes, ``(M, D)`` on the CPU."""

    def make(part: Sequence[int]) -> dict[str, Tensor]:
        inputs, _ = subject.read(part)
        name = layers_from_the_end(subject.model, inputs[:1])[0]
        with frozen_eval(subject.model, gradients=False), last_inputs(subject.model, name) as given:
            for batch in inputs.split(subject.settings.batch_size):
                subject.model(batch)
        return {"features": given.features(len(part))}

    return subject.pieces.joined("features", subject.mistakes, FORWARD_PIECE, make)["features"]


def class_errors(subject: Subject) -> Tensor:
    """Gradient of each mistake's loss with respect to the class scores, ``(M, C)``: what label and scores tell."""

    def make(part: Sequence[int]) -> dict[str, Tensor]:
        inputs, labels = subject.read(part)
        with frozen_eval(subject.model, gradients=False):
            batches = inputs.split(subject.settings.batch_size)
            scores = torch.cat([plain_scores(subject.model, batch) for batch in batches])
        probability = scores.double().softmax(dim=1)
        probability[torch.arange(len(labels)), labels] -= 1
        return {"errors": probability.abs().float().cpu()}

    return subject.pieces.joined("class errors", subject.mistakes, FORWARD_PIECE, make)["errors"]


def places_near(subject: Subject, rows: Tensor) -> Tensor:
    """The nearest of all mistakes for each of them, by the angle between rows ``(M, D)``: places ``(M, k)``."""
    return _near(subject, rows)[0]


def _near(subject: Subject, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Places of the nearest mistakes and their similarity, ``(M, k)``; a row of zeros alone is near to nothing."""
    filled = rows.double()
    # A profile without any direction would be refused: it gets one that no other has.
    filled = torch.cat([filled, torch.zeros(len(filled), 1, dtype=filled.dtype)], dim=1)
    filled[(filled == 0).all(dim=1), -1] = 1.0
    k = min(subject.settings.neighbors, len(rows) - 1)
    result = nearest(filled, range(len(rows)), k)
    return result.images, result.similarity


def _shares(subject: Subject, near: Mapping[str, tuple[Tensor, Tensor]]) -> list[dict[str, Any]]:
    """How often neighbours share a mistake's classes, beside how often any other mistake does."""
    places = subject.rows(subject.mistakes)
    same = _sharing(subject.labels[places], subject.predicted[places])
    rows = []
    for space, (others, _) in near.items():
        for what, table in same.items():
            of_near = table.gather(1, others).double().mean(dim=1)
            of_any = table.double().sum(dim=1) / (len(places) - 1)
            cells = {**interval("near", of_near), **interval("any other", of_any), **interval("lift", of_near - of_any)}
            counts = {"mistakes": len(places), "neighbours": others.shape[1]}
            rows.append({"space": space, "shared": what, **counts, **cells})
    return rows


def _sharing(labels: Tensor, predicted: Tensor) -> dict[str, Tensor]:
    """Which mistakes share what with which others, ``(M, M)`` bool."""
    same_label, same_seen = labels[:, None] == labels, predicted[:, None] == predicted
    crossed = (predicted[:, None] == labels) & (labels[:, None] == predicted)
    tables = {
        "true class": same_label,
        "predicted class": same_seen,
        "confusion, either way": (same_label & same_seen) | crossed,
    }
    everyone = ~torch.eye(len(labels), dtype=torch.bool)
    return {name: table & everyone for name, table in tables.items()}


def _listed(subject: Subject, near: tuple[Tensor, Tensor]) -> list[dict[str, Any]]:
    """A row for every mistake and neighbour."""
    places = subject.rows(subject.mistakes)
    labels, predicted = subject.labels[places].tolist(), subject.predicted[places].tolist()
    files = [subject.images.items[position].name for position in subject.mistakes]

    def said(number: int, prefix: str) -> dict[str, Any]:
        names = (subject.name_of(labels[number]), subject.name_of(predicted[number]))
        return dict(
            zip((f"{prefix}file", f"{prefix}label", f"{prefix}predicted"), (files[number], *names), strict=True)
        )

    return [
        {**said(number, ""), "rank": rank, **said(other, "neighbour's "), "similarity": value}
        for number, (others, values) in enumerate(zip(*(each.tolist() for each in near), strict=True))
        for rank, (other, value) in enumerate(zip(others, values, strict=True), 1)
    ]


def _panel(subject: Subject, near: tuple[Tensor, Tensor], title: str) -> bytes:
    """The first of the chosen mistakes with their neighbours."""
    query = subject.among_mistakes(subject.chosen[: subject.settings.shown])
    others, similarity = (each[query][:, :MOST_SHOWN] for each in near)
    shown, back = torch.cat([torch.tensor(query), others.flatten()]).unique(return_inverse=True)
    positions = [subject.mistakes[place] for place in shown.tolist()]
    rows = subject.rows(positions)
    axes = new_panels(1.2 * (others.shape[1] + 1) + 0.8, 1.85 * len(query) + 0.6, 1)[0]
    neighbor_grid(
        [pixels_of(subject, position) for position in positions],
        back[: len(query)],
        back[len(query) :].view(others.shape),
        similarity,
        axes,
        labels=subject.labels[rows],
        predicted=subject.predicted[rows],
        names=subject.classes,
        title=title,
    )
    return to_png(axes)


def pixels_of(subject: Subject, position: int) -> Tensor:
    """An image for people, ``(C, H, W)``: its picture, or else what the model takes."""
    picture: Picture | None = subject.images.picture(position)
    return subject.read([position])[0][0].cpu() if picture is None else decoded(picture.data, picture.mime)
