"""Does a cure cure? Groups of ordinary mistakes, planted and trained faults, and mistakes with shuffled labels.

``python docs/evidence cures`` runs the parts that are asked for by the protocol of ``docs/methods/cure.md``, and writes
``cures.json`` and ``cures.md`` to the work folder. A finished cure is not made again.
"""

import argparse
import copy
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cifar10 import any_of, cifar10_pictures, real_models
from photos import (
    LITE1_INPUT,
    SQUEEZENET_INPUT,
    Preparation,
    add_data_option,
    labelled_photos,
    load_lite1,
    load_squeezenet,
)
from results import Results, markdown_table
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from captum_paramsal.demo import load_model, make_scenes, normalize
from captum_paramsal.metrics import share_interval
from captum_paramsal.profiles import FilterProfile
from captum_paramsal.repair import Cure, CureSettings, cure

LOG = logging.getLogger("cures")
SMALL = 144
"""Side of the photos in pixels: with those of full size a cure and its alternatives would take hours."""
LEAST = 20
"""Mistakes that a planted or trained fault makes, at least."""


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


def outcome(case: Case, found: Cure) -> dict[str, Any]:
    """What came of a cure, as JSON has it; for a kept one also what the third set says."""
    result = {"status": found.verdict.status, "reason": str(found), "rows": found.to_table()}
    if found.kept:
        before = predicted(case.model, case.third) == case.third.labels
        found.apply(case.model)
        after = predicted(case.model, case.third) == case.third.labels
        found.revert(case.model)
        result["third"] = {
            "images": len(before),
            "before": int(before.sum()),
            "after": int(after.sum()),
            "cured": int((~before & after).sum()),
            "broken": int((before & ~after).sum()),
        }
    return result


def cured(case: Case, chosen: Tensor, settings: CureSettings, *, alternatives: bool = False) -> dict[str, Any]:
    """Cure some of the given mistakes and keep all right images."""
    right = ~case.mistakes()
    found = cure(
        case.model,
        case.given[chosen].batches(),
        case.given[right].batches(),
        settings=settings,
        alternatives=alternatives,
        show_progress=False,
    )
    return outcome(case, found)


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


GROUPS = {scenes: 3, digits: 3, cifar: 3, squeezenet: 1, lite1: 1}
"""Networks with ordinary mistakes, and how often each is cured, with the images divided anew."""


def groups(results: Results, data: Path, settings: CureSettings, names: Sequence[str]) -> None:
    """All mistakes of each network, the five most frequent confusions, and the alternatives at the same budget."""
    for make in (one for one in GROUPS if one.__name__ in names):
        case: Case | None = None

        def lazily(make: Callable[[Path], Case] = make) -> Case:
            nonlocal case
            case = case or make(data)
            return case

        for seed in range(GROUPS[make]):
            key = f"{make.__name__} | all mistakes | {seed}"
            results.once(key, lambda seed=seed: _all(lazily(), replace(settings, seed=seed)))
            norms = replace(settings, seed=seed, change="norms")
            results.once(
                f"{make.__name__}, norms alone | all mistakes | {seed}",
                lambda how=norms: cured(lazily(), lazily().mistakes(), how),
            )
        if make is cifar:
            for number in range(5):
                results.once(f"{make.__name__} | confusion {number}", lambda n=number: _pair(lazily(), n, settings))


def _all(case: Case, settings: CureSettings) -> dict[str, Any]:
    return cured(case, case.mistakes(), settings, alternatives=True)


def _pair(case: Case, number: int, settings: CureSettings) -> dict[str, Any]:
    answers, wrong = predicted(case.model, case.given), case.mistakes()
    pairs = Counter(zip(case.given.labels[wrong].tolist(), answers[wrong].tolist(), strict=True))
    label, answer = pairs.most_common(number + 1)[number][0]
    chosen = (case.given.labels == label) & (answers == answer)
    return cured(case, chosen, settings, alternatives=True) | {"pair": [label, answer]}


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


def faults(results: Results, data: Path, settings: CureSettings, count: int) -> None:
    """Faults of the ResNet-20: their mistakes are images that the healthy network gets right."""
    case = cifar(data)
    healthy = case.given[~case.mistakes()]
    learn, third = healthy[:1200], case.third[predicted(case.model, case.third) == case.third.labels]
    case = replace(case, given=healthy[1200:], third=third)
    for number in range(count):
        fault = Fault(KINDS[number % len(KINDS)], number)
        key = f"fault | {number} | {fault.kind}"
        results.once(key, lambda fault=fault: _fault(case, fault, learn, settings))


def _fault(case: Case, fault: Fault, learn: Labelled, settings: CureSettings) -> dict[str, Any]:
    model, place = fault.plant(case, learn)
    damaged, given = replace(case, model=model), case.given
    wrong = damaged.mistakes()
    if int(wrong.sum()) < LEAST:
        return {"status": "harmless", "mistakes": int(wrong.sum())}
    found = cure(model, given[wrong].batches(), given[~wrong].batches(), settings=settings, show_progress=False)
    filters = FilterProfile(model).filters
    rank = next((rank for rank, one in enumerate(found.filters, start=1) if one == filters[place]), None)
    return outcome(damaged, found) | {"rank": rank, "mistakes": int(wrong.sum()), "filter": str(filters[place])}


def chance(results: Results, data: Path, settings: CureSettings, count: int) -> None:
    """Mistakes of the street digits with shuffled labels: what is kept is a false alarm."""
    case = digits(data)
    wrong = case.mistakes()
    right, mistakes = case.given[~wrong], case.given[wrong]
    for number in range(count):
        results.once(f"chance | {number}", lambda number=number: _chance(case, mistakes, right, number, settings))


def _chance(case: Case, mistakes: Labelled, right: Labelled, number: int, settings: CureSettings) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(number)
    drawn = torch.randperm(len(mistakes), generator=generator)[:60]
    shuffled = mistakes.labels[drawn][torch.randperm(len(drawn), generator=generator)]
    found = cure(
        case.model,
        Labelled(mistakes.inputs[drawn], shuffled).batches(),
        right[:1500].batches(),
        settings=replace(settings, seed=number),
        show_progress=False,
    )
    return outcome(case, found)


def tables(found: Mapping[str, Any]) -> str:
    """Every group with its alternatives, faults by kind, and false alarms."""
    parts = [groups_table(found), faults_table(found), chance_line(found)]
    return "\n".join(part for part in parts if part)


def groups_table(found: Mapping[str, Any]) -> str:
    """Cured and broken shares of all seeds together."""
    cells: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for key, value in found.items():
        if key.startswith(("fault", "chance")):
            continue
        group = " ".join(key.split(" | ")[:2])
        for row in value.get("rows", []):
            cells.setdefault((group, row["changed"]), []).append(row)
    rows = []
    for (group, changed), of in cells.items():
        kept = sum(row["status"] == "kept" for row in of)
        numbers = f"{np.mean([row['numbers'] for row in of]):,.0f}"
        hits = [pooled(of, "cured", "mistakes"), pooled(of, "broken", "right images", 2)]
        rows.append([group, changed, numbers, *hits, f"{kept} of {len(of)}"])
    header = ["group", "changed", "numbers", "cured of the unseen, %", "broken of the unseen, %", "kept"]
    return markdown_table(header, rows) if rows else ""


def pooled(rows: Sequence[Mapping[str, Any]], hits: str, of: str, digits: int = 1) -> str:
    """Share over several cures in percent, with its interval."""
    number, total = sum(row[hits] for row in rows), sum(row[of] for row in rows)
    if not total:
        return "none chosen"
    low, high = share_interval(torch.arange(total) < number)
    return f"{100 * number / total:.{digits}f} ({100 * low:.{digits}f} to {100 * high:.{digits}f})"


def faults_table(found: Mapping[str, Any]) -> str:
    """Faults by kind: found among the filters that are changed, cured, kept."""
    rows = []
    for kind in KINDS:
        of = [value for key, value in found.items() if key.startswith("fault") and key.endswith(kind)]
        harmful = [one for one in of if one["status"] != "harmless"]
        if not harmful:
            continue
        first = [one["rows"][0] for one in harmful]
        for_ten = sum(one["rank"] is not None and one["rank"] <= 10 for one in harmful)
        among = sum(one["rank"] is not None for one in harmful)
        kept = sum(one["status"] == "kept" for one in harmful)
        numbers = [f"{count} of {len(harmful)}" for count in (for_ten, among, kept)]
        rows.append([kind, *numbers, pooled(first, "cured", "mistakes"), pooled(first, "broken", "right images", 2)])
    header = ["fault", "in the first ten", "among those changed", "kept", "cured of the unseen, %", "broken, %"]
    return markdown_table(header, rows) if rows else ""


def chance_line(found: Mapping[str, Any]) -> str:
    """How many attempts with shuffled labels are kept, and how many of these are worse on the third set."""
    of = [value for key, value in found.items() if key.startswith("chance")]
    if not of:
        return ""
    kept = [one for one in of if one["status"] == "kept"]
    worse = sum(one["third"]["after"] < one["third"]["before"] for one in kept)
    low, high = share_interval(torch.arange(len(of)) < len(kept))
    return (
        f"Shuffled labels: {len(kept)} of {len(of)} kept ({100 * low:.1f} to {100 * high:.1f} %), of these {worse} "
        "worse on the third set.\n"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts, and write ``cures.json`` and ``cures.md`` to the work folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_data_option(parser)
    parser.add_argument("--work", type=Path, default=Path("cures"), help="folder for the results")
    parser.add_argument("--parts", nargs="*", default=["groups", "faults", "chance"], help="what is run")
    parser.add_argument("--groups", nargs="*", default=[one.__name__ for one in GROUPS], help="networks with groups")
    parser.add_argument("--faults", type=int, default=100, help="planted and trained faults")
    parser.add_argument("--attempts", type=int, default=200, help="with shuffled labels")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options.work.mkdir(parents=True, exist_ok=True)
    results, settings = Results(options.work / "cures.json"), CureSettings()
    if "groups" in options.parts:
        groups(results, options.data, settings, options.groups)
    if "faults" in options.parts:
        faults(results, options.data, settings, options.faults)
    if "chance" in options.parts:
        chance(results, options.data, settings, options.attempts)
    (options.work / "cures.md").write_text(tables(results.found), encoding="utf-8")


if __name__ == "__main__":
    main()
