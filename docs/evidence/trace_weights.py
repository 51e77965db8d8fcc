"""Which weights does the paper's bandit learn for the trace, and can it tell them apart?

``python docs/evidence/trace_weights.py`` traces every photo with every value of each weight, plays the bandit with what
came out, several times in other orders, and writes ``trace_weights.json`` and the tables of ``trace_weights.md``.
"""

import argparse
import json
import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from photos import Photos, add_data_option, load_photos, load_squeezenet
from results import markdown_table, percent
from torch import Tensor, nn
from tqdm.auto import tqdm

from captum_paramsal import DiscernibleNeurons, TraceWeights
from captum_paramsal.attr.discernible_neurons import GOOD_OVERLAP, GRID
from captum_paramsal.metrics import iou, share_interval
from captum_paramsal.stats import BanditRun, upper_confidence_bound
from captum_paramsal.traces.trace import BoxRule

LOG = logging.getLogger("trace_weights")
EQUAL = TraceWeights(1.0, 1.0, 1.0)
WEIGHTS = ("current", "preceding")
RULES: tuple[BoxRule, ...] = ("points", "mass")
"""The paper's box, with which the weights are learned, and the default of ``Trace.boxes``."""


def rewards_of(model: nn.Module, photos: Photos, weights: TraceWeights, batch: int = 25) -> Tensor:
    """1 where the box of a photo's trace overlaps an object well, 0 elsewhere; by each rule for boxes, ``(2, N)``."""
    method = DiscernibleNeurons(model, weights)
    parts = zip(photos.images.split(batch), photos.labels.split(batch), strict=True)
    traces = [method.trace(images, labels) for images, labels in parts]
    found = [torch.cat([trace.boxes(rule) for trace in traces]) for rule in RULES]
    return torch.stack([(iou(boxes, photos.boxes) > GOOD_OVERLAP).double() for boxes in found])


def every_reward(model: nn.Module, photos: Photos, grid: Sequence[float], work: Path) -> dict[str, Tensor]:
    """Rewards of every value of each weight, the other at 1, ``(V, 2, N)``, each in a file that a later run reads."""
    rewards = {}
    for name in WEIGHTS:
        rows = []
        for value in tqdm(grid, desc=name):
            # Both weights at 1 are one trace.
            file = work / ("equal.pt" if value == 1 else f"{name}_{value}.pt")
            if not file.is_file():
                torch.save(rewards_of(model, photos, replace(EQUAL, **{name: value})), file)
            rows.append(torch.load(file, weights_only=True))
        rewards[name] = torch.stack(rows)
    return rewards


def played(rewards: Tensor, grid: tuple[float, ...], trials: int, seed: int) -> BanditRun:
    """The bandit as ``fit_weights`` plays it, one photo a trial in a random order, on rewards ``(V, N)``."""
    order = torch.randperm(rewards.shape[1], generator=torch.Generator().manual_seed(seed)).tolist()

    def reward(value: float, trial: int) -> float:
        return float(rewards[grid.index(value), order[trial % len(order)]])

    return upper_confidence_bound(grid, reward, trials)


def compared(rewards: Tensor) -> dict[str, float]:
    """Best value against worst on all photos: McNemar's exact test of the photos that only one of them gets."""
    means = rewards.mean(dim=1)
    best, worst = rewards[int(means.argmax())], rewards[int(means.argmin())]
    only_best, only_worst = int((best > worst).sum()), int((worst > best).sum())
    count = only_best + only_worst
    tail = sum(math.comb(count, k) for k in range(min(only_best, only_worst) + 1)) / 2**count
    return {"only best": only_best, "only worst": only_worst, "p": min(1.0, 2 * tail)}


def study(rewards: dict[str, Tensor], grid: tuple[float, ...], options: argparse.Namespace) -> dict[str, Any]:
    """What was learned each time, and how good every value is on all photos."""
    content: dict[str, Any] = {"images": rewards["current"].shape[-1], "trials": options.trials, "weights": {}}
    for name, every in rewards.items():
        rows, default = every.unbind(dim=1)
        runs = [played(rows, grid, options.trials, seed) for seed in range(options.repetitions)]
        shares, by_default = (
            [[row.mean().item(), *share_interval(row.bool())] for row in each] for each in (rows, default)
        )
        content["weights"][name] = {
            "learned": [run.best for run in runs],
            "counts": [run.counts for run in runs],
            "means": [run.means for run in runs],
            "shares": shares,
            "shares, default box": by_default,
            "best against worst": compared(rows),
        }
    return content


def tables(content: dict[str, Any], grid: tuple[float, ...]) -> str:
    """One table a weight: a row for each value, with the trials of each repetition; below what was learned."""
    text = ""
    for name, found in content["weights"].items():
        runs = range(len(found["learned"]))
        played_as = (f"run {run + 1}: trials, mean" for run in runs)
        header = [f"`{name}`", "IoU > 0.5 on all photos, %", "by the default box, %", *played_as]
        rows = [
            [
                f"{value:g}",
                percent(found["shares"][place]),
                percent(found["shares, default box"][place]),
                *(f"{found['counts'][run][place]}, {100 * found['means'][run][place]:.1f} %" for run in runs),
            ]
            for place, value in enumerate(grid)
        ]
        test = found["best against worst"]
        text += f"{markdown_table(header, rows)}\nLearned: {found['learned']}. Only the best value gets "
        text += f"{test['only best']} photos, only the worst {test['only worst']}: p = {test['p']:.2f}.\n\n"
    return text


def main(arguments: Sequence[str] | None = None) -> None:
    """Trace, play, and write the results to the work folder."""
    options = _options(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options.work.mkdir(parents=True, exist_ok=True)
    photos = load_photos(options.data / "imagenet_val900", options.limit).every_second(0)
    grid = tuple(options.grid)
    content = study(every_reward(load_squeezenet(options.data), photos, grid, options.work), grid, options)
    text = tables(content, grid)
    LOG.info("\n%s", text)
    (options.work / "trace_weights.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (options.work / "trace_weights.md").write_text(text, encoding="utf-8")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_data_option(parser)
    parser.add_argument("--work", type=Path, default=Path("trace-weights"), help="folder for the results")
    parser.add_argument("--limit", type=int, help="images, at most, of which every second one is taken")
    parser.add_argument("--trials", type=int, default=1000, help="trials of the bandit for each weight")
    parser.add_argument("--repetitions", type=int, default=3, help="how many times the bandit plays")
    parser.add_argument("--grid", type=float, nargs="+", default=list(GRID), help="values that are tried")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
