"""What POT saliency is judged on: networks, reference sets, mistakes, correct images, and rankings of the filters."""

import argparse
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from cifar10 import any_of, cifar10_pictures, real_models
from corruptions import CORRUPTIONS, SEVERITIES
from depth_bias import Task, digits, domains, predicted, trained
from photos import MEAN, STD, load_photos, load_squeezenet, scores_of
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from captum_paramsal import ParameterSaliency, POTSaliency, Reference
from captum_paramsal.filters import FilterIndex
from captum_paramsal.repair import ControlImages, random_ranking, restrict_to_layers

__all__ = [
    "FITS",
    "LARGEST_TAIL",
    "SQUEEZENET_LAST",
    "Case",
    "at_tail",
    "corrupted",
    "corrupted_photos",
    "digit_case",
    "photo_case",
    "picture_case",
    "profiles_of",
    "rankings_of",
    "reference_of",
    "sketch_case",
    "stages_of",
]

LOG = logging.getLogger("pot_saliency")
FITS = ("mle", "exponential")
LARGEST_TAIL = 0.30
"""Share of the reference set that is kept above the lowest requested threshold."""

SQUEEZENET_LAST = ("features.11.*", "features.12.*")
SQUEEZENET_STAGES = {"0": "conv1", "3": "fire2-3", "4": "fire2-3", "6": "fire4-5", "7": "fire4-5"} | {
    number: stage for stage, numbers in {"fire6-7": ("9", "10"), "fire8-9": ("11", "12")}.items() for number in numbers
}


@dataclass(frozen=True)
class Case:
    """Mistakes of a network, and what their filters are ranked by.

    Attributes:
        name: Also of its files.
        model: In evaluation mode.
        images: Mistakes, ``(N, 3, H, W)``.
        labels: Their true classes, ``(N,)``.
        controls: Images that the network gets right.
        reference: Of the network's own domain.
        rankings: ``(N, F)`` by arm.
        held_out: Profiles of images of the reference's own kind, right and wrong, ``(M, F)``.
    """

    name: str
    model: nn.Module
    images: Tensor
    labels: Tensor
    controls: ControlImages
    reference: Reference
    rankings: dict[str, Tensor]
    held_out: Tensor | None = None

    @property
    def filters(self) -> FilterIndex:
        """Of the rankings."""
        return self.reference.filters


def photo_case(options: argparse.Namespace) -> Case:
    """SqueezeNet: the reference is every second photo, the mistakes are among the others."""
    model, every = load_squeezenet(options.data), load_photos(options.data / "imagenet_val900", None)
    usual, others = every.every_second(0), every.every_second(1)
    reference = reference_of(options.work / "photos", model, usual.images, usual.labels, LARGEST_TAIL)
    rows = profiles_of(options.work / "photos", model, reference.filters, others.images, others.labels)
    wrong = scores_of(model, others.images).argmax(dim=1) != others.labels
    chosen = wrong.nonzero()[: options.photos, 0]
    return Case(
        "photos",
        model,
        others.images[chosen],
        others.labels[chosen],
        ControlImages(others.images[~wrong], others.labels[~wrong], options.controls),
        reference,
        rankings_of(model, rows[chosen], at_tail(reference, options.tail), SQUEEZENET_LAST),
        rows,
    )


def picture_case(options: argparse.Namespace) -> Case:
    """ResNet-20: 2,000 images of CIFAR-10's test set for the reference, the mistakes among 2,500 others."""
    model, places = real_models().resnet20(options.data), any_of(10_000)
    usual = cifar10_pictures(options.data, "test", places[:2000])
    images, labels = cifar10_pictures(options.data, "test", places[2000:4500])
    reference = reference_of(options.work / "pictures", model, *usual, LARGEST_TAIL)
    rows = profiles_of(options.work / "pictures", model, reference.filters, images, labels)
    wrong = scores_of(model, images).argmax(dim=1) != labels
    chosen = wrong.nonzero()[: options.pictures, 0]
    return Case(
        "pictures",
        model,
        images[chosen],
        labels[chosen],
        ControlImages(images[~wrong], labels[~wrong], options.controls),
        reference,
        rankings_of(model, rows[chosen], at_tail(reference, options.tail), ("layer3.*",)),
        rows,
    )


def digit_case(options: argparse.Namespace) -> Case:
    """ResNet-18 of the page about depth bias, trained on MNIST, and digits of street photos."""
    task = digits(options.data)
    networks, _ = trained(task, options.networks, options.mnist_epochs)
    return _shifted_case(task, "mnist", networks[task.name], options.digits, options)


def sketch_case(options: argparse.Namespace) -> Case:
    """ResNet-18 of the page about depth bias, trained on PACS without sketches, after its last epoch, and sketches."""
    task = domains(options.data, "sketch")
    networks, _ = trained(task, options.networks, options.pacs_epochs)
    return _shifted_case(task, "pacs-sketch-last-epoch", list(networks.values())[-1], options.sketches, options)


def _shifted_case(task: Task, slug: str, model: nn.Module, count: int, options: argparse.Namespace) -> Case:
    """Mistakes on one half of the other domain's images, whose other half is one of two references.

    Every score that has a reference is there twice: with the own domain's, the validation set of the network, and with
    the other domain's.
    """
    file = options.networks / f"{slug}.reference.safetensors"
    own = _remembered(
        file, lambda: Reference.fit(model, task.batches(task.validation, 128), total=len(task.validation))
    )
    own.check(model)
    order = torch.randperm(len(task.shifted), generator=torch.Generator().manual_seed(0))[: options.shifted_images]
    images, labels = _joined(task.batches(task.shifted[order], 256))
    half = len(labels) // 2
    other = reference_of(options.work / f"{slug}-other", model, images[:half], labels[:half], options.tail)
    rows = profiles_of(options.work / slug, model, own.filters, images[half:], labels[half:])
    wrong = scores_of(model, images[half:]).argmax(dim=1) != labels[half:]
    chosen = wrong.nonzero()[:count, 0]
    rankings = rankings_of(model, rows[chosen], own, ("layer4.*",), note=", own domain")
    rankings |= rankings_of(model, rows[chosen], other, ("layer4.*",), note=", other domain")
    right = predicted(model, task, task.validation).argmax(dim=1) == task.validation.labels
    kept = right.nonzero()[torch.randperm(int(right.sum()), generator=torch.Generator().manual_seed(0))[:500], 0]
    controls = ControlImages(*_joined(task.batches(task.validation[kept], 256)), options.controls)
    return Case(slug, model, images[half:][chosen], labels[half:][chosen], controls, own, rankings, rows)


def corrupted_photos(case: Case, options: argparse.Namespace) -> Case:
    """The case's network and reference, with mistakes that it makes on corrupted photos.

    As many mistakes of each kind follow each other, so the numbers ``[i * n, (i + 1) * n)`` are those of one kind.
    """
    others = load_photos(options.data / "imagenet_val900", None).every_second(1)
    images, labels = [], []
    for name in CORRUPTIONS:
        spoilt = corrupted(others.images, name, SEVERITIES[-1])
        wrong = scores_of(case.model, spoilt).argmax(dim=1) != others.labels
        chosen = wrong.nonzero()[:, 0][:: max(1, int(wrong.sum()) // options.corrupted)][: options.corrupted]
        accuracy = 1 - wrong.double().mean().item()
        LOG.info("%s: %.1f %% right", name, 100 * accuracy)
        images.append(spoilt[chosen])
        labels.append(others.labels[chosen])
    images, labels = torch.cat(images), torch.cat(labels)
    rows = profiles_of(options.work / "corrupted", case.model, case.filters, images, labels)
    rankings = rankings_of(case.model, rows, at_tail(case.reference, options.tail), SQUEEZENET_LAST)
    return replace(case, name="corrupted", images=images, labels=labels, rankings=rankings, held_out=None)


def corrupted(images: Tensor, kind: str, severity: int) -> Tensor:
    """Normalised photos ``(N, 3, H, W)`` with a corruption on their pixels."""
    pixels = images * STD[:, None, None] + MEAN[:, None, None]
    return (CORRUPTIONS[kind](pixels, severity) - MEAN[:, None, None]) / STD[:, None, None]


def rankings_of(
    model: nn.Module, rows: Tensor, reference: Reference, last: tuple[str, ...], *, note: str = ""
) -> dict[str, Tensor]:
    """Scores of profiles ``(N, F)`` by arm; ``last`` are the layers of the last stage."""
    scores = {f"POT, {fit}{note}": POTSaliency(model, reference, fit=fit).score(rows) for fit in FITS}
    scores[f"z-score{note}"] = ParameterSaliency(model, reference).score(rows)
    scores["raw profile"] = rows
    scores["last stage"] = restrict_to_layers(rows, reference.filters, *last)
    scores["random"] = random_ranking(reference.filters, len(rows))
    return scores


def at_tail(reference: Reference, fraction: float) -> Reference:
    """The reference with a higher threshold: less in the upper tail than was kept."""
    return replace(reference, tail=replace(reference.tail, fraction=fraction))


def stages_of(filters: FilterIndex) -> tuple[list[str], Tensor]:
    """Names of the stages, and the stage number of every filter ``(F,)``; two fire modules of SqueezeNet are one."""
    words = {layer: layer.split(".") for layer in filters.layers}
    of_layer = {layer: SQUEEZENET_STAGES[two[1]] if two[0] == "features" else two[0] for layer, two in words.items()}
    names = list(dict.fromkeys(of_layer.values()))
    numbers = [names.index(of_layer[layer]) for layer in filters.layers for _ in range(filters.counts[layer])]
    return names, torch.tensor(numbers)


def _remembered(file: Path, fit: Callable[[], Reference]) -> Reference:
    if not file.exists():
        fit().save(file)
    return Reference.load(file)


def reference_of(
    place: Path, model: nn.Module, images: Tensor, labels: Tensor, tail: float, *, layers: Sequence[str] | None = None
) -> Reference:
    """Statistics of some images' profiles: those of an earlier run, or new ones."""
    batches = list(zip(images.split(25), labels.split(25), strict=True))
    file = place.with_suffix(".reference.safetensors")
    return _remembered(file, lambda: Reference.fit(model, batches, layers=layers, tail=tail, total=len(labels)))


def profiles_of(place: Path, model: nn.Module, filters: FilterIndex, images: Tensor, labels: Tensor) -> Tensor:
    """Saliency profiles, ``(N, F)``: those of an earlier run, or new ones."""
    file = place.with_suffix(".profiles.safetensors")
    if not file.exists():
        saliency = ParameterSaliency(model, layers=filters)
        rows = saliency.attribute(images, target=labels, internal_batch_size=25)
        save_file({"rows": rows.detach().contiguous()}, file)
    return load_file(file)["rows"]


def _joined(batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    images, labels = zip(*batches, strict=True)
    return torch.cat(images).contiguous(), torch.cat(labels)
