"""What cures are tried on: networks with images that they get wrong, and faults whose filter is known."""

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cifar10 import any_of, cifar10_pictures, real_models
from photos import LITE1_INPUT, SQUEEZENET_INPUT, Preparation, labelled_photos, load_lite1, load_squeezenet
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from captum_paramsal.demo import load_model, make_scenes, normalize
from captum_paramsal.profiles import FilterProfile

SMALL = 144
"""Side of the photos in pixels: with those of full size a cure and its alternatives would take hours."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """Images ``(N, ...)`` and their labels."""

    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: Any) -> "Labelled":
        return Labelled(self.inputs[chosen], self.labels[chosen])

    def batches(self, size: int = 250) -> list[tuple[Tensor, Tensor]]:
        """Batches (inputs, labels)."""
        return list(zip(self.inputs.split(size), self.labels.split(size), strict=True))


def predicted(model: nn.Module, images: Labelled) -> Tensor:
    """Predicted classes."""
    with torch.no_grad():
        return torch.cat([model(inputs).argmax(dim=1) for inputs, _ in images.batches()])


@dataclass(frozen=True, eq=False)
class Case:
    """A model, what it is cured with, and a third set that no cure sees."""

    name: str
    model: nn.Module
    given: Labelled
    third: Labelled

    def mistakes(self) -> Tensor:
        """Which of the given images are mistakes, ``(N,)`` bool."""
        return predicted(self.model, self.given) != self.given.labels


def scenes(_: Path) -> Case:
    """The demo's network, which takes a patch of the background for the object."""
    made = [make_scenes(count, seed=seed, cue_agreement=0.6) for count, seed in ((3000, 41), (2000, 42))]
    return Case("scenes", load_model(), *(Labelled(normalize(one.images), one.labels) for one in made))


def cifar(data: Path) -> Case:
    """The ResNet-20 on CIFAR-10 as JPEG files."""
    pictures = Labelled(*cifar10_pictures(data, "test", any_of(10000)))
    return Case("ResNet-20", real_models().resnet20(data), pictures[:6000], pictures[6000:])


def digits_network(data: Path) -> nn.Module:
    """Two convolutions and two linear layers, trained on MNIST."""
    maps = [nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    maps += [nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    model = nn.Sequential()
    model.add_module("features", nn.Sequential(*maps))
    model.add_module("flatten", nn.Flatten())
    model.add_module("classifier", nn.Sequential(nn.Linear(3136, 128), nn.ReLU(), nn.Linear(128, 10)))
    model.load_state_dict(load_file(data / "models" / "mnist_cnn.safetensors"))
    return model.eval()


def digits(data: Path) -> Case:
    """A network for MNIST; 446 digits of street photos, most of them mistakes, and half of MNIST's test images."""
    street, mnist = np.load(data / "street_digits446" / "street_digits446.npz"), np.load(data / "mnist" / "mnist.npz")
    grey = torch.from_numpy(street["x"]).float().mean(dim=3)[:, 2:30, 2:30]
    # White on black as MNIST is: a digit is brighter than its surroundings there.
    dark = grey[:, 6:22, 6:22].mean(dim=(1, 2)) < grey.mean(dim=(1, 2))
    grey = torch.where(dark[:, None, None], 255 - grey, grey)
    pixels = torch.cat([grey, torch.from_numpy(mnist["x_test"]).float()])[:, None]
    labels = torch.cat([torch.from_numpy(street["y"]).long(), torch.from_numpy(mnist["y_test"]).long()])
    every = Labelled((pixels / 255 - 0.1307) / 0.3081, labels)
    count = len(grey)
    given = torch.cat([torch.arange(count), count + torch.arange(3000)])
    return Case("street digits", digits_network(data), every[given], every[count + 5000 :])


def squeezenet(data: Path) -> Case:
    """SqueezeNet 1.1 on small photos."""
    return _of_photos("SqueezeNet", load_squeezenet(data), data, replace(SQUEEZENET_INPUT, side=SMALL))


def lite1(data: Path) -> Case:
    """EfficientNet-Lite1 on small photos."""
    return _of_photos("EfficientNet-Lite1", load_lite1(data), data, replace(LITE1_INPUT, side=SMALL))


def _of_photos(name: str, model: nn.Module, data: Path, preparation: Preparation) -> Case:
    """900 photos of one set and half of another; its other half is the third set."""
    one, other = (
        Labelled(*labelled_photos(data / folder, preparation)) for folder in ("imagenet_val900", "nips2017_dev911")
    )
    half = other[::2]
    given = Labelled(torch.cat([one.inputs, half.inputs]), torch.cat([one.labels, half.labels]))
    return Case(name, model, given, other[1::2])


@dataclass(frozen=True)
class Fault:
    """One filter that is damaged, or trained to confuse one class with another."""

    kind: str
    seed: int

    def plant(self, case: Case, learn: Labelled) -> tuple[nn.Module, int]:
        """A copy with the fault, and the number of its filter."""
        generator = torch.Generator().manual_seed(self.seed)
        model = copy.deepcopy(case.model)
        filters = FilterProfile(model).filters
        place = int(torch.randint(len(filters), (1,), generator=generator))
        weight = model.get_submodule(filters[place].layer).weight
        row = weight.detach()[filters[place].index].clone()
        with torch.no_grad():
            if self.kind == "scale":
                row = 4 * row
            elif self.kind == "noise":
                row = row + 2 * row.std() * torch.randn(row.shape, generator=generator)
            elif self.kind == "sign":
                row = -row
            elif self.kind == "zero":
                row = torch.zeros_like(row)
            else:
                row = self._trained(model, weight, filters[place].index, learn, generator)
            weight[filters[place].index] = row
        return model, place

    def _trained(
        self, model: nn.Module, weight: nn.Parameter, index: int, learn: Labelled, generator: torch.Generator
    ) -> Tensor:
        """Weights that make one class another, with a norm that is usual in the layer."""
        classes = int(learn.labels.max()) + 1
        label, answer = torch.randperm(classes, generator=generator)[:2].tolist()
        some = learn[learn.labels == label][:200]
        others = learn[learn.labels != label][:400]
        norms = weight.detach().flatten(1).norm(dim=1)
        low, high = norms.quantile(0.05), norms.quantile(0.95)
        row = weight.detach()[index].clone().requires_grad_()
        optimizer = torch.optim.Adam([row], lr=0.05 * float(row.detach().square().mean().sqrt()))
        parameters = dict(model.named_parameters())
        name = next(key for key, value in parameters.items() if value is weight)
        with torch.enable_grad():
            for _ in range(80):
                whole = torch.cat([weight.detach()[:index], row[None], weight.detach()[index + 1 :]])
                one = torch.randperm(len(some), generator=generator)[:48]
                two = torch.randperm(len(others), generator=generator)[:48]
                inputs = torch.cat([some.inputs[one], others.inputs[two]])
                wanted = torch.cat([torch.full((len(one),), answer), others.labels[two]])
                scores = torch.func.functional_call(model, {name: whole}, (inputs,))
                optimizer.zero_grad()
                cross_entropy(scores, wanted).backward(inputs=[row])
                optimizer.step()
                with torch.no_grad():
                    row.mul_(row.norm().clamp(low, high) / row.norm())
        return row.detach()


KINDS = ("scale", "noise", "sign", "zero", "trained")


def healthy_case(data: Path) -> tuple[Case, Labelled]:
    """The ResNet-20 with images that it gets right, so that mistakes are a fault's, and others to train faults by."""
    case = cifar(data)
    healthy = case.given[~case.mistakes()]
    third = case.third[predicted(case.model, case.third) == case.third.labels]
    return replace(case, given=healthy[1200:], third=third), healthy[:1200]
