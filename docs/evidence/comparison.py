"""Fourteen methods by eight metrics on three networks: mistakes, correct images and small objects.

``python docs/evidence comparison`` takes what the filters usually do from some images, picks as many mistakes as
correct ones among the others (of photos: half of both with small objects), compares image by image, and writes
``comparison_numbers.md``, all tables, and ``comparison_ranks.png``, the ranks. It takes one image of each kind in turn:
interrupted, it resumes with the images after the last finished ones, and with a larger ``--per-group`` it adds turns.
"""

import argparse
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from captum.attr import IntegratedGradients, Occlusion
from cifar10 import any_of, cifar10_pictures
from comparison_tables import CONTROLS, Judged, numbers, rank_figure
from photos import (
    LITE1_INPUT,
    SQUEEZENET_INPUT,
    Preparation,
    add_data_option,
    load_lite1,
    load_photos,
    load_squeezenet,
    scores_of,
)
from pot_saliency_cases import reference_of
from results import fewer_colours
from small_transformer import Schedule, trained
from torch import Tensor, nn

from captum_paramsal import Reference
from captum_paramsal.comparison import Comparison, Preset, compare
from captum_paramsal.metrics import (
    IROF,
    ROAD,
    BoxOverlap,
    Deletion,
    Infidelity,
    InputMaps,
    Insertion,
    Metric,
    ModelRandomisation,
    Pointing,
    Sensitivity,
    Sparsity,
    has_small_boxes,
)

LOG = logging.getLogger("comparison")

OF_CONVOLUTIONS = ("guided_grad_cam", "deep_lift", "lrp")
OF_TRANSFORMERS = ("input_x_gradient", "attention_rollout", "gradient_x_attention")
EVERYWHERE = (
    "grad_cam",
    "grad_cam_plus_plus",
    "layer_cam",
    "saliency",
    "noise_tunnel",
    "integrated_gradients",
    "occlusion",
    "input_space_saliency",
    "discernible_neurons",
    "cnn_fixations",
    "model_doctor",
)

ANYWHERE: tuple[Metric, ...] = (
    Infidelity(),
    Infidelity(of="loss"),
    Deletion(steps=10),
    Insertion(steps=10),
    ROAD((0.2, 0.5)),
    IROF(10),
    Sensitivity(samples=1),
    ModelRandomisation(stages=1),
    Sparsity(),
)
"""The default settings, with fewer steps, shares, segments, copies and stages."""
ON_OBJECTS: tuple[Metric, ...] = (Pointing(), BoxOverlap())
"""Metrics that ask where the object is."""


STEPS, WINDOWS = 16, 7
MOST_PER_MISTAKE = 6
"""Pictures that are read for each mistake that is judged: the transformer gets a quarter of them wrong."""
TOGETHER = 10
"""Pictures of CIFAR-10 at once: they are small, and what a method finds out of the network takes as long for one."""


def _integrated_gradients(model: nn.Module, _: Reference | None) -> InputMaps:
    return InputMaps(IntegratedGradients(model), n_steps=STEPS)


def _occlusion(model: nn.Module, _: Reference | None) -> InputMaps:
    method = Occlusion(model)

    def attribute(inputs: Tensor, target: Any = None, additional_forward_args: Any = None) -> Any:
        channels, height, width = inputs.shape[1:]
        window = (channels, -(-height // WINDOWS), -(-width // WINDOWS))
        with torch.no_grad():
            return method.attribute(
                inputs,
                window,
                window,
                target=target,
                additional_forward_args=additional_forward_args,
                perturbations_per_eval=WINDOWS,
            )

    attribute.multiplies_by_inputs = True  # type: ignore[attr-defined] # functions have what one gives them
    return InputMaps(attribute)


CHEAPER = {
    "integrated_gradients": Preset(_integrated_gradients, f"Integrated Gradients from zero, {STEPS} steps"),
    "occlusion": Preset(_occlusion, f"drop of the class score under each of {WINDOWS} x {WINDOWS} windows"),
}
"""In the place of presets that take 50 and 170 passes for a map."""


@dataclass(frozen=True)
class Subject:
    """A network, and the images on which methods are judged.

    Attributes:
        title: Of the network.
        model: In evaluation mode.
        images: As it takes them, ``(N, 3, H, W)``.
        boxes: Of each image's objects; None where nobody annotated them.
        groups: Some of the images by a name, ``(N,)`` bool.
        turn: Kinds of images, one of each after the other.
        together: Images that are judged at once, and kept.
        reference: Of other images.
        methods: That mean something on such a network.
    """

    title: str
    model: nn.Module
    images: Tensor
    boxes: list[Tensor] | None
    groups: dict[str, Tensor]
    turn: int
    together: int
    reference: Reference
    methods: tuple[str, ...]


def in_turn(kinds: Sequence[Tensor], count: int) -> Tensor:
    """Numbers of the first images of each kind, equally many, taken in turn, so that any part of them has all kinds."""
    groups = [kind.nonzero()[:count, 0] for kind in kinds]
    most = min(map(len, groups))
    return torch.stack([group[:most] for group in groups], dim=1).flatten()


def halves_of(count: int, kinds: int) -> Tensor:
    """Every second turn of images that were taken in turn, ``(N,)`` bool."""
    return torch.arange(count) // kinds % 2 == 0


def on_photos(
    title: str, load: Callable[[Path], nn.Module], preparation: Preparation
) -> Callable[[str, argparse.Namespace], Subject]:
    """What makes a subject of a network for photos of ImageNet."""

    def subject(name: str, options: argparse.Namespace) -> Subject:
        model = load(options.data)
        every = load_photos(options.data / "imagenet_val900", options.photos, replace(preparation, side=options.side))
        usual, others = every.every_second(0)[torch.arange(options.reference)], every.every_second(1)
        wrong = scores_of(model, others.images).argmax(dim=1) != others.labels
        small = has_small_boxes(others.boxes, others.size)
        kinds = [wrong & small, ~wrong & small, wrong & ~small, ~wrong & ~small]
        places = in_turn(kinds, options.per_group // 2)
        photos, wrong, small = others[places], wrong[places], small[places]
        return Subject(
            title,
            model,
            photos.images,
            photos.boxes,
            {"mistakes": wrong, "correct images": ~wrong, "small objects": small, "large objects": ~small},
            len(kinds),
            len(kinds),
            reference_of(options.work / name, model, usual.images, usual.labels, tail=0.1),
            (*EVERYWHERE, *OF_CONVOLUTIONS, *CONTROLS),
        )

    return subject


def on_pictures(name: str, options: argparse.Namespace) -> Subject:
    """The small transformer on pictures of CIFAR-10, in which nobody annotated objects."""
    schedule = Schedule(epochs=options.epochs, compiled=options.compiled)
    model = trained(options.transformer or options.work / "small_transformer.safetensors", options.data, schedule)
    read = options.reference + MOST_PER_MISTAKE * options.pictures
    images, labels = cifar10_pictures(options.data, "test", any_of(10_000)[:read])
    usual, others = slice(options.reference), slice(options.reference, None)
    wrong = scores_of(model, images[others]).argmax(dim=1) != labels[others]
    places = in_turn([wrong, ~wrong], options.pictures)
    wrong = wrong[places]
    return Subject(
        "the small vision transformer",
        model,
        images[others][places],
        None,
        {"mistakes": wrong, "correct images": ~wrong},
        2,
        TOGETHER,
        reference_of(options.work / name, model, images[usual], labels[usual], tail=0.1),
        (*EVERYWHERE, *OF_TRANSFORMERS, *CONTROLS),
    )


SUBJECTS: dict[str, Callable[[str, argparse.Namespace], Subject]] = {
    "squeezenet": on_photos("SqueezeNet", load_squeezenet, SQUEEZENET_INPUT),
    "lite1": on_photos("EfficientNet-Lite1", load_lite1, LITE1_INPUT),
    "transformer": on_pictures,
}


def judged(name: str, subject: Subject, work: Path) -> Judged:
    """Every method by every metric on every image of a subject."""
    sizes = {group: int(mask.sum()) for group, mask in subject.groups.items()}
    LOG.info("%s: %d images, %s", name, len(subject.images), sizes)
    parts = [
        compare(
            {method: CHEAPER.get(method, method) for method in subject.methods},
            subject.model,
            subject.images[part],
            metrics=ANYWHERE if subject.boxes is None else (*ANYWHERE, *ON_OBJECTS),
            boxes=None if subject.boxes is None else [subject.boxes[place] for place in part.tolist()],
            reference=subject.reference,
            batch_size=subject.together,
            keep=0,
            checkpoint=work / f"{name}.{number}.{len(part)}.checkpoint",
        )
        for number, part in enumerate(torch.arange(len(subject.images)).split(subject.together))
    ]
    found = Comparison.joined(parts)
    found.save(work / f"{name}.safetensors")
    return Judged(subject.title, found, subject.groups, halves_of(len(found), subject.turn))


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare on each network, and write the scores, ``comparison_numbers.md`` and ``comparison_ranks.png``."""
    options = _options(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options.work.mkdir(parents=True, exist_ok=True)
    every = [judged(name, SUBJECTS[name](name, options), options.work) for name in options.networks]
    (options.work / "comparison_numbers.md").write_text(numbers(every), encoding="utf-8")
    (options.work / "comparison_ranks.png").write_bytes(fewer_colours(rank_figure(every)))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_data_option(parser)
    parser.add_argument("--work", type=Path, default=Path("comparison"), help="folder for the results")
    parser.add_argument("--networks", nargs="*", choices=SUBJECTS, default=list(SUBJECTS))
    parser.add_argument("--per-group", type=int, default=12, help="photos that are mistakes, and as many correct ones")
    parser.add_argument("--pictures", type=int, default=50, help="the same of CIFAR-10")
    parser.add_argument("--photos", type=int, default=500, help="that are read; every second one may be judged")
    parser.add_argument("--side", type=int, default=160, help="of the photos, in pixels")
    parser.add_argument("--reference", type=int, default=100, help="other images, for what the filters usually do")
    parser.add_argument("--transformer", type=Path, help="weights by the study vision_transformer; else it is trained")
    parser.add_argument("--epochs", type=int, default=6, help="of the training")
    parser.add_argument("--compiled", action="store_true", help="compile the steps of the training")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
