"""Damage one known filter between two checkpoints, and ask how far up `compare_models` ranks it.

python tests/benchmarks/planted_between_models.py [--faults 100] [--images 200] [--data ../shared/data] [--noise 0.05]
python tests/benchmarks/planted_between_models.py --retrain 60 --rate 0.002

The second checkpoint of ResNet-20 has normal noise on every filter, a share of its layer's standard deviation drawn for
each layer between nothing and twice ``--noise``, or was trained further on CIFAR-10 for ``--retrain`` steps; then one
filter is damaged. Kinds of fault take turns. Ranked are the filters by their change and by their share in the loss.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).parents[1]))

from cases import real_models

from captum_paramsal import compare_models
from captum_paramsal.metrics import share_interval

KINDS = ("zero", "sign", "scale", "noise", "swap", "permute", "half")


def damaged(weight: torch.Tensor, place: int, kind: str, generator: torch.Generator) -> torch.Tensor:
    """Weights ``(F, M)`` with a fault in one filter; a swap is one of two."""
    changed, before = weight.clone(), weight[place]
    if kind == "swap":
        other = (place + 1 + int(torch.randint(len(weight) - 1, (1,), generator=generator))) % len(weight)
        changed[place], changed[other] = weight[other], before
        return changed
    noise = torch.randn(before.shape, generator=generator)
    shuffled = before[torch.randperm(len(before), generator=generator)]
    changed[place] = {
        "zero": 0 * before,
        "sign": -before,
        "scale": 4 * before,
        "noise": before + 2 * before.std() * noise,
        "permute": shuffled,
        "half": before / 2,
    }[kind]
    return changed


def convolutions(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Weights by name."""
    return {name: m.weight.detach() for name, m in model.named_modules() if isinstance(m, torch.nn.Conv2d)}


def planted(
    model: torch.nn.Module, count: int, noise: float = 0.05, retrained: torch.nn.Module | None = None
) -> Iterator[tuple[torch.nn.Module, str]]:
    """Checkpoints with one damaged filter each, and its name; on noise, or on a network that was trained further."""
    before = convolutions(model)
    places = [(name, j) for name, weight in before.items() for j in range(len(weight))]
    generator = torch.Generator().manual_seed(0)
    for number in range(count):
        layer, place = places[int(torch.randint(len(places), (1,), generator=generator))]
        other = deepcopy(retrained or model)
        weights = convolutions(other)
        if retrained is None:
            shares = 2 * noise * torch.rand(len(before), generator=generator)
            for weight, share in zip(weights.values(), shares, strict=True):
                weight.add_(
                    (share * weight.std() * torch.randn(weight.flatten(1).shape, generator=generator)).view_as(weight)
                )
        changed = damaged(weights[layer].flatten(1), place, KINDS[number % len(KINDS)], generator)
        weights[layer].copy_(changed.view_as(weights[layer]))
        yield other, f"{layer}[{place}]"


def trained_further(model: torch.nn.Module, data: Path, steps: int, rate: float) -> torch.nn.Module:
    """A copy after some steps of stochastic gradient descent on batches of 64 training images."""
    torch.manual_seed(0)
    other = deepcopy(model).train()
    optimizer = torch.optim.SGD(other.parameters(), rate, momentum=0.9)
    images, labels = real_models.cifar10(data, 64 * steps, split="train")
    for batch, truth in zip(images.split(64), labels.split(64), strict=True):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(other(batch), truth).backward()
        optimizer.step()
    return other.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--noise", type=float, default=0.05)
    parser.add_argument("--retrain", type=int, default=0, help="steps, in the place of noise")
    parser.add_argument("--rate", type=float, default=0.002)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("PARAMSAL_DATA", "../shared/data")))
    options = parser.parse_args()
    model = real_models.resnet20(options.data)
    images, labels = real_models.cifar10(options.data, options.images)
    retrained = trained_further(model, options.data, options.retrain, options.rate) if options.retrain else None
    ranks: dict[str, list[int]] = {"change": [], "loss": []}
    for other, fault in planted(model, options.faults, options.noise, retrained):
        found = compare_models(model, other, images, labels)
        for by, places in ranks.items():
            # A fault without an image that only the first network gets right has no share in the loss.
            if by == "change" or len(found.only_a):
                order = [str(row.filter) for row in found.top(len(found.filters), by=by)]
                places.append(order.index(fault) + 1)
    for by, places in ranks.items():
        for most in (1, 10):
            hits = torch.tensor(places) <= most
            low, high = share_interval(hits)
            print(f"by {by}, among the first {most}: {int(hits.sum())} of {len(hits)} ({low:.0%} to {high:.0%})")


if __name__ == "__main__":
    main()
