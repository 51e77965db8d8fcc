"""Damage one known filter between two checkpoints, and ask how far up `excess_change` ranks it.

python tests/benchmarks/planted_between_models.py [--faults 100] [--data ../shared/data] [--noise 0.05]

The second checkpoint has normal noise on every filter, a share of its layer's standard deviation drawn for each layer
between nothing and twice ``--noise``; then one filter is damaged. Kinds of fault take turns.
"""

import argparse
import os
import sys
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).parents[1]))

from cases import real_models

from captum_paramsal.functional import excess_change

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


def convolutions(model: torch.nn.Module) -> list[torch.Tensor]:
    """Copies of the weights, ``(F, M)`` each."""
    return [m.weight.detach().flatten(1).clone() for m in model.modules() if isinstance(m, torch.nn.Conv2d)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--noise", type=float, default=0.05)
    parser.add_argument("--checkpoint", type=Path, help="state dict of a retrained network, in the place of noise")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("PARAMSAL_DATA", "../shared/data")))
    options = parser.parse_args()
    model = real_models.resnet20(options.data)
    before = convolutions(model)
    if options.checkpoint:
        model.load_state_dict(torch.load(options.checkpoint))
    retrained = convolutions(model)
    places = [(layer, j) for layer, weight in enumerate(before) for j in range(len(weight))]
    generator = torch.Generator().manual_seed(0)
    ranks = []
    for number in range(options.faults):
        layer, place = places[int(torch.randint(len(places), (1,), generator=generator))]
        after = list(retrained)
        if not options.checkpoint:
            shares = 2 * options.noise * torch.rand(len(before), generator=generator)
            after = [
                weight + share * weight.std() * torch.randn(weight.shape, generator=generator)
                for weight, share in zip(before, shares, strict=True)
            ]
        after[layer] = damaged(after[layer], place, KINDS[number % len(KINDS)], generator)
        scores = torch.cat([excess_change(*pair) for pair in zip(before, after, strict=True)])
        ranks.append(int((scores > scores[places.index((layer, place))]).sum()) + 1)
    for most in (1, 10):
        print(f"among the first {most}: {sum(rank <= most for rank in ranks)} of {len(ranks)}")


if __name__ == "__main__":
    main()
