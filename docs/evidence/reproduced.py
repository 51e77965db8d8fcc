"""The figures of ``captum-paramsal reproduce`` for two networks of these pages.

``python docs/evidence reproduced`` makes those that are asked for. What was finished is kept in the work folder and not
made again.
"""

import argparse
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cifar10 import CLASSES, any_of, cifar10_pictures, real_models
from photos import SQUEEZENET_INPUT, add_data_option, load_photos, load_squeezenet
from torch import Tensor, nn

from captum_paramsal.reproduce import FIGURES, ReproduceSettings, reproduce
from captum_paramsal.sources import LabelledTensors, class_names_of

LOG = logging.getLogger("reproduced")


@dataclass(frozen=True)
class Network:
    """A classifier with labelled images, and what its layers are called.

    Attributes:
        model: In evaluation mode.
        images: Labelled.
        classes: Names of the classes.
        early: Patterns of its early layers.
        last: Patterns of its last stage.
    """

    model: nn.Module
    images: LabelledTensors
    classes: Mapping[int, str]
    early: Sequence[str]
    last: Sequence[str]


def resnet20(data: Path, count: int | None) -> Network:
    """ResNet-20 on test images of CIFAR-10."""
    models = real_models()
    inputs, labels = cifar10_pictures(data, "test", any_of(10000)[:count])
    images = as_source(inputs, labels, models.MEAN, models.STD)
    return Network(models.resnet20(data), images, dict(enumerate(CLASSES)), ("conv1", "layer1.*"), ("layer3.*",))


def squeezenet(data: Path, count: int | None) -> Network:
    """SqueezeNet on photos of ImageNet's validation set."""
    photos = load_photos(data / "imagenet_val900", count, SQUEEZENET_INPUT)
    mean, std = (each[:, None, None] for each in (SQUEEZENET_INPUT.mean, SQUEEZENET_INPUT.std))
    early = ("features.0", *(f"features.{block}.*" for block in (3, 4, 6, 7)))
    last = ("features.11.*", "features.12.*")
    model = load_squeezenet(data)
    classes = class_names_of("squeezenet1_1", model) or {}
    return Network(model, as_source(photos.images, photos.labels, mean, std), classes, early, last)


def as_source(inputs: Tensor, labels: Tensor, mean: Tensor, std: Tensor) -> LabelledTensors:
    """Images in [0, 1] for people, normalised for the network."""
    return LabelledTensors((inputs * std + mean).clamp(0, 1), labels, lambda pixels: (pixels - mean) / std)


NETWORKS: Mapping[str, Callable[[Path, int | None], Network]] = {"resnet20": resnet20, "squeezenet": squeezenet}


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the figures that are asked for, each network's in a folder of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_data_option(parser)
    parser.add_argument("--work", type=Path, default=Path("reproduced"), help="folder for figures and pieces")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS, help="which")
    parser.add_argument("--figures", nargs="+", default=list(FIGURES), choices=FIGURES, help="which")
    parser.add_argument("--images", type=int, default=900, help="for the reference, and to judge, half each")
    parser.add_argument("--mistakes", type=int, default=16, help="that are looked at one by one")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    for name in options.networks:
        network = NETWORKS[name](options.data, options.images)
        settings = ReproduceSettings(
            images=None, mistakes=options.mistakes, early=network.early, last=network.last, show_progress=False
        )
        for figure in options.figures:
            start = time.process_time()
            made = reproduce(
                figure, network.model, network.images, options.work / name, settings=settings, classes=network.classes
            )
            made.write(options.work / name)
            LOG.info("%s, %s: %.0f s of processor time", name, figure, time.process_time() - start)


if __name__ == "__main__":
    main()
