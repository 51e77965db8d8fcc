"""Damage one known filter of a good network, and ask every ranking where it stands.

python tests/benchmarks/planted_faults.py {resnet20,squeezenet} [--faults 100] [--data ../shared/data] [--work faults]

A fault counts if it makes at least ``--least`` images wrong that were right before. Filters are ranked from each of
these mistakes alone, and from all of them together; references are taken on the damaged network or on the healthy one.
Every finished fault is written to the work folder, and not made again.
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from captum.attr import LayerConductance, LayerGradientXActivation
from safetensors.torch import save_file
from torch import Tensor, nn

sys.path.append(str(Path(__file__).parents[1]))

from cases import real_models

from captum_paramsal import ParameterSaliency, POTSaliency, Reference
from captum_paramsal.filters import FilterIndex
from captum_paramsal.functional import channel_correlation
from captum_paramsal.profiles import FilterProfile
from captum_paramsal.repair import channel_scores, magnitude_ranking, random_ranking

LOG = logging.getLogger("planted_faults")
KINDS = ("scale", "noise", "sign", "zero")
STEPS = 5
"""Steps of the integral in layer conductance."""


@dataclass(frozen=True)
class Fault:
    """What is done to one filter.

    Attributes:
        place: Number of the filter.
        kind: ``"scale"``: four times as large; ``"noise"``: normal noise of twice its standard deviation is added;
            ``"sign"``: negative; ``"zero"``: all weights are 0.
        seed: Of the noise.
    """

    place: int
    kind: str
    seed: int

    def damaged(self, weight: Tensor) -> Tensor:
        """The filter's weights, with the fault."""
        if self.kind == "scale":
            return 4 * weight
        if self.kind == "noise":
            generator = torch.Generator().manual_seed(self.seed)
            return weight + 2 * weight.std() * torch.randn(weight.shape, generator=generator)
        return -weight if self.kind == "sign" else torch.zeros_like(weight)


@dataclass(frozen=True)
class Subject:
    """A healthy network with what faults are looked for on.

    Attributes:
        model: In evaluation mode.
        filters: That may be damaged.
        reference: Images and labels of the reference set, which is not looked for mistakes.
        images: Others, all of which the healthy network gets right.
        labels: Their classes.
        singles: Mistakes that are ranked alone, at most.
        together: Mistakes that are ranked together, at most.
        attributed: Mistakes that Captum's methods are asked about, at most.
        usual: Images of the reference set that Model Doctor compares with.
    """

    model: nn.Module
    filters: FilterIndex
    reference: tuple[Tensor, Tensor]
    images: Tensor
    labels: Tensor
    singles: int
    together: int
    attributed: int
    usual: int

    @property
    def batches(self) -> list[tuple[Tensor, Tensor]]:
        """The reference set, a few images at a time."""
        images, labels = self.reference
        return list(zip(images.split(20), labels.split(20), strict=True))


def resnet20(data: Path) -> Subject:
    """He et al.'s network for CIFAR-10, 500 test images as reference, those it gets right of 1,250 others."""
    images, labels = real_models.cifar10(data, 1750)
    sizes = {"singles": 30, "together": 100, "attributed": 4, "usual": 100}
    return subject(real_models.resnet20(data), images, labels, 500, sizes)


def squeezenet(data: Path) -> Subject:
    """SqueezeNet 1.1 on photos of 144 px, 220 of them as reference, and those it gets right of 380 others."""
    images, labels = real_models.imagenet(data, 900)
    mixed = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))[:600]
    small = nn.functional.interpolate(images[mixed], size=(144, 144), mode="bilinear", antialias=True)
    model = real_models.squeezenet(data)
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            # Captum's layer methods read what a layer returned, which must not be written over.
            module.inplace = False
    sizes = {"singles": 10, "together": 40, "attributed": 1, "usual": 50}
    return subject(model, small, labels[mixed], 220, sizes)


SUBJECTS = {"resnet20": resnet20, "squeezenet": squeezenet}


def subject(model: nn.Module, images: Tensor, labels: Tensor, usual: int, sizes: dict[str, int]) -> Subject:
    """The first images are the reference set."""
    filters = FilterProfile(model).filters
    others, truth = images[usual:], labels[usual:]
    right = predicted(model, others) == truth
    LOG.info("%d of %d images are right", int(right.sum()), len(truth))
    return Subject(model, filters, (images[:usual], labels[:usual]), others[right], truth[right], **sizes)


def predicted(model: nn.Module, images: Tensor) -> Tensor:
    """Predicted classes."""
    with torch.no_grad():
        return torch.cat([model(part).argmax(dim=1) for part in images.split(20)])


@contextmanager
def planted(model: nn.Module, filters: FilterIndex, fault: Fault) -> Iterator[None]:
    """The fault is there while the context lasts."""
    one = filters[fault.place]
    weight = model.get_submodule(one.layer).weight
    before = weight.detach()[one.index].clone()
    with torch.no_grad():
        weight[one.index] = fault.damaged(before)
    try:
        yield
    finally:
        with torch.no_grad():
            weight[one.index] = before


def single_scores(model: nn.Module, reference: Reference, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Scores ``(N, F)`` of every filter for each mistake alone."""
    found = {"z": ParameterSaliency(model, reference).attribute(images, labels)}
    for fit in ("mle", "exponential"):
        # Scores beyond the threshold only; those below it share the last rank.
        found[f"POT {fit}"] = POTSaliency(model, reference, fit=fit).attribute(images, labels)
    return found


def doctor_scores(subject: Subject, images: Tensor) -> Tensor:
    """Model Doctor's evidence of every channel for the predicted class: how far from that of usual images, ``(N, F)``.

    In standard deviations over usual images of all classes: those of one class are too few here. Without noise, the
    evidence is the absolute gradient at a layer, which Captum takes at all layers in one pass.
    """
    modules = [subject.model.get_submodule(layer) for layer in subject.filters.layers]
    gradients = LayerGradientXActivation(subject.model, modules, multiply_by_inputs=False)

    def channels(some: Tensor) -> Tensor:
        rows = []
        for part in some.split(20):
            maps = gradients.attribute(part, target=predicted(subject.model, part))
            rows.append(torch.cat([channel_correlation(one.abs()) for one in maps], dim=1))
        return torch.cat(rows)

    usual, own = channels(subject.reference[0][: subject.usual]), channels(images)
    return (own - usual.mean(dim=0)) / usual.std(dim=0).clamp(min=1e-12)


def captum_scores(subject: Subject, images: Tensor) -> dict[str, Tensor]:
    """Captum's layer attributions of the predicted class, summed per channel, ``(N, F)``."""
    layers, target = list(subject.filters.layers), predicted(subject.model, images)
    modules = [subject.model.get_submodule(layer) for layer in layers]
    products = LayerGradientXActivation(subject.model, modules).attribute(images, target=target)
    conductance = [
        LayerConductance(subject.model, module).attribute(images, target=target, n_steps=STEPS, internal_batch_size=20)
        for module in modules
    ]
    return {
        name: channel_scores(dict(zip(layers, maps, strict=True)), subject.filters)
        for name, maps in (("gradient x activation", products), ("conductance", conductance))
    }


def set_scores(model: nn.Module, damaged: Reference, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Scores ``(F,)`` from the signed gradients of all mistakes together."""
    profile = FilterProfile(model)
    counts = profile.filters.counts
    sums = profile.gradient_sums(torch.zeros(len(images), dtype=torch.int64), 1, images, labels)
    shared, ratio = sums.coherence(counts)[0], sums.mean_profile(counts)[0] / damaged.mean.clamp(min=1e-30)
    means = {layer: vectors[0] / len(images) for layer, vectors in sums.vectors.items()}
    weights = {layer: model.get_submodule(layer).weight.detach().flatten(1) for layer in counts}
    pull = torch.cat([(means[layer] * weights[layer]).sum(dim=1).abs() for layer in counts]).double()
    length = torch.cat([means[layer].norm(dim=1) for layer in counts]).double()
    return {
        "coherence": shared,
        "coherence x excess": shared.clamp(min=0) * ratio,
        "pull on the scale": pull,
        "mean gradient": length,
        "relative gradient": length / torch.cat([weights[layer].norm(dim=1) for layer in counts]).clamp(min=1e-12),
    }


def scores_of(subject: Subject, healthy: Reference, wrong: Tensor) -> dict[str, Tensor]:
    """Scores ``(n, F)`` of single mistakes under ``"one: ..."``, ``(1, F)`` of all of them under ``"all: ..."``."""
    model, some = subject.model, wrong[: subject.singles]
    images, labels = subject.images[some], subject.labels[some]
    damaged = Reference.fit(model, subject.batches, show_progress=False)
    found = {"one: raw": ParameterSaliency(model).attribute(images, labels)}
    references = {"": damaged, ", healthy reference": healthy.transfer(model)}
    for suffix, reference in references.items():
        scores = single_scores(model, reference, images, labels)
        found |= {f"one: {name}{suffix}": value for name, value in scores.items()}
    found["one: Model Doctor"] = doctor_scores(subject, images)
    attributed = captum_scores(subject, images[: subject.attributed])
    found |= {f"one: {name}": value for name, value in attributed.items()}
    found |= {name.replace("one:", "all: mean"): value.mean(dim=0, keepdim=True) for name, value in found.items()}
    every = wrong[: subject.together]
    together = set_scores(model, damaged, subject.images[every], subject.labels[every])
    found |= {f"all: {name}": value[None] for name, value in together.items()}
    found["all: magnitude"] = magnitude_ranking(model, subject.filters)[None]
    found["all: random"] = random_ranking(subject.filters, 1, seed=int(wrong.sum()))
    return found


def ranks_of(scores: Tensor, place: int) -> list[float]:
    """Rank of one filter in each row of ``(n, F)``, 1 being the best; ties share the mean of their ranks."""
    own = scores[:, place, None]
    above, equal = (scores > own).sum(dim=1), (scores == own).sum(dim=1)
    return (above + (equal + 1) / 2).tolist()


def planned(filters: FilterIndex, seed: int = 0) -> Iterator[Fault]:
    """Filters drawn evenly, the kinds in turn."""
    generator = np.random.default_rng(seed)
    number = 0
    while True:
        yield Fault(int(generator.integers(len(filters))), KINDS[number % len(KINDS)], number)
        number += 1


def study(subject: Subject, folder: Path, faults: int, least: int) -> None:
    """Plant faults until enough of them made mistakes; the results are in ``faults.jsonl``."""
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / "faults.jsonl"
    known = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
    healthy = Reference.fit(subject.model, subject.batches)
    counted = sum("ranks" in one for one in known)
    for number, fault in enumerate(planned(subject.filters)):
        if counted >= faults:
            return
        if number < len(known):
            continue
        with planted(subject.model, subject.filters, fault):
            wrong = (predicted(subject.model, subject.images) != subject.labels).nonzero()[:, 0]
            one = subject.filters[fault.place]
            row = {**asdict(fault), "layer": one.layer, "index": one.index, "mistakes": len(wrong)}
            if len(wrong) >= least:
                scores = scores_of(subject, healthy, wrong)
                row["ranks"] = {name: ranks_of(value, fault.place) for name, value in scores.items()}
                save_file(
                    {name: value[0].clone() for name, value in scores.items() if name.startswith("all")},
                    folder / f"{number}.safetensors",
                )
                counted += 1
        with record.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        LOG.info("%d of %d faults after %d: %s, %d mistakes", counted, faults, number + 1, fault.kind, len(wrong))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("network", choices=SUBJECTS)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--least", type=int, default=8, help="mistakes that a fault has to make")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("PARAMSAL_DATA", "../shared/data")))
    parser.add_argument("--work", type=Path, default=Path("planted-faults"), help="folder for the results")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    study(SUBJECTS[options.network](options.data), options.work / options.network, options.faults, options.least)


if __name__ == "__main__":
    main()
