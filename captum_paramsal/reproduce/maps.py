"""Which pixels drive the salient filters: beside Grad-CAM, and in a network that forgets (Levin et al., 21 to 23)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from captum_paramsal.attr import InputSpaceSaliency, ParameterSaliency
from captum_paramsal.comparison import preset
from captum_paramsal.functional import cross_entropy
from captum_paramsal.hooks import frozen_eval, layers_from_the_end
from captum_paramsal.metrics import per_pixel
from captum_paramsal.metrics.map_similarity import rank_correlation, structural_similarity
from captum_paramsal.metrics.randomised_models import randomised_models
from captum_paramsal.report.shared.predictions import evenly_spread
from captum_paramsal.reproduce.intervals import interval
from captum_paramsal.reproduce.neighbours import pixels_of
from captum_paramsal.reproduce.result import Drawn
from captum_paramsal.reproduce.subject import Subject, plain_scores
from captum_paramsal.viz import comparison_grid, to_png

_PIECE = 4
"""Images of one piece."""

MOST = 500
"""Images of which maps are kept in memory."""

OURS, CAM, TRUE_CAM, LOSS = "input-space saliency", "Grad-CAM, predicted", "Grad-CAM, true class", "loss gradient"


def panels_figure(subject: Subject) -> Drawn:
    """Mistakes and correct images with their maps (figures 21, 22), and how alike these are."""
    mistakes = looked_at(subject)
    groups = {"mistakes": mistakes, "correct": evenly_spread(subject.correct, len(mistakes))}
    pictures, rows = {}, []
    for group, positions in groups.items():
        maps = maps_at(subject, positions)
        rows += [{"images": group, **row} for row in _likeness(maps)]
        pictures[group] = _grid(subject, positions, maps)
    return Drawn({"": rows}, pictures)


def cascade_figure(subject: Subject) -> Drawn:
    """Maps of a network whose layers become random, from the last to the first (figure 23), beside Grad-CAM's."""
    positions = looked_at(subject)
    trained = maps_at(subject, positions)
    shown = {OURS: {"trained": trained[OURS]}, CAM: {"trained": trained[CAM]}}
    inputs, _ = subject.read(positions[:1])
    names = layers_from_the_end(subject.model, inputs)
    stages = min(subject.settings.stages, len(names))
    rows: list[dict[str, Any]] = []
    for stage, model in enumerate(randomised_models(subject.model, names, stages, subject.settings.seed), 1):
        maps = maps_at(subject, positions, model, {"stage": stage, "stages": stages, "seed": subject.settings.seed})
        random = len(names) * stage // stages
        facts = {"random layers": random, "up to": names[random - 1], "images": len(positions)}
        rows += [{"map": name, **facts, **_alike(trained[name], values)} for name, values in maps.items()]
        for name, kept in shown.items():
            kept[f"{random} of {len(names)} random"] = maps[name]
    # What maps of different images have in common, no network need have remembered.
    others = [
        {"map": name, "images": len(positions), **_alike(values, values.roll(1, dims=0))}
        for name, values in trained.items()
    ]
    pictures = {end: _grid(subject, positions, shown[name], name) for end, name in (("", OURS), ("grad_cam", CAM))}
    return Drawn({"": rows, "another_image": others}, pictures)


def looked_at(subject: Subject) -> list[int]:
    """The chosen mistakes, or as many of them as maps are kept of."""
    return evenly_spread(subject.chosen, MOST)


def maps_at(
    subject: Subject, positions: Sequence[int], model: nn.Module | None = None, facts: Mapping[str, int] | None = None
) -> dict[str, Tensor]:
    """One number per pixel of each image, ``(n, H, W)`` by method.

    Args:
        subject: Whose images.
        positions: Of the images.
        model: Another model with the same layers, in place of the subject's.
        facts: What that one depends on.
    """
    network = subject.model if model is None else model
    reference = subject.reference if model is None else subject.reference.transfer(network)
    saliency = ParameterSaliency(network, reference)

    def make(part: Sequence[int]) -> dict[str, Tensor]:
        inputs, labels = subject.read(part)
        predicted = subject.predicted[subject.rows(part)].to(labels.device)
        maps = _maps_of(saliency, inputs, labels, predicted, subject.settings.batch_size)
        return {name: per_pixel(values).float().contiguous() for name, values in maps.items()}

    name = "maps" if model is None else "maps of a random network"
    joined = subject.pieces.joined(name, positions, _PIECE, make, **(facts or {}))
    return {name: joined[name] for name in (OURS, CAM, TRUE_CAM, LOSS)}


def _maps_of(
    saliency: ParameterSaliency, inputs: Tensor, labels: Tensor, predicted: Tensor, size: int
) -> dict[str, Tensor]:
    """Maps ``(n, C, H, W)`` by method."""
    model = saliency.model
    cam = preset("grad_cam", model)
    with frozen_eval(model), torch.enable_grad():
        leaf = inputs.clone().requires_grad_()
        loss = cross_entropy(plain_scores(model, leaf), labels).sum()
        (gradient,) = torch.autograd.grad(loss, leaf)
    return {
        OURS: InputSpaceSaliency(saliency).attribute(inputs, target=labels, internal_batch_size=size),
        CAM: cam(inputs, predicted),
        TRUE_CAM: cam(inputs, labels),
        LOSS: gradient,
    }


def _likeness(maps: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    """How alike input-space saliency and each other map are; and maps of other images, which is likeness by chance."""
    others = {name: maps[name] for name in (CAM, TRUE_CAM, LOSS)}
    others |= {f"{name}, of another image": maps[name].roll(1, dims=0) for name in (OURS, CAM, LOSS)}
    return [
        {"map": OURS, "beside": name, "count": len(values), **_alike(maps[OURS], values)}
        for name, values in others.items()
    ]


def _alike(maps: Tensor, others: Tensor) -> dict[str, float]:
    """Means over the pairs that can be compared: maps that are the same everywhere cannot."""
    correlation = rank_correlation(maps, others)
    return {
        "compared": int(correlation.isfinite().sum()),
        **interval("rank correlation", correlation),
        **interval("SSIM", structural_similarity(maps, others)),
    }


def _grid(subject: Subject, positions: Sequence[int], maps: Mapping[str, Tensor], title: str = "") -> bytes:
    """The first images with each map of them."""
    shown = positions[: subject.settings.shown]
    rows = subject.rows(shown)
    names = [
        f"{subject.name_of(label)},\nas {subject.name_of(seen)}"
        for label, seen in zip(subject.labels[rows].tolist(), subject.predicted[rows].tolist(), strict=True)
    ]
    drawn = torch.stack(list(maps.values()), dim=1)[: len(shown)]
    pictures = [pixels_of(subject, position) for position in shown]
    # On two lines, so that names of neighbouring columns do not meet.
    methods = [method.replace(", ", ",\n").replace(" saliency", "\nsaliency") for method in maps]
    return to_png(comparison_grid(pictures, list(drawn), methods, names=names, title=title))
