"""Do twenty annotated images of each class help a treatment, and do the least confident ones help more than others?

``python docs/evidence/few_annotations.py`` treats the demo with the space constraint where 160 of 2,048 scenes are
annotated: the 20 of each class that ``captum-paramsal annotate`` chooses, or 20 drawn at random. The strength is
chosen on validation scenes with a seed of its own. Each finished run is written to ``few_annotations.json`` in the work
folder, and not made again; the table is printed.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from model_doctor import MARGIN, TUNING_SEED, Arm, Images, Task, constraints_of, demo, predicted, text_of, untreated
from results import Results, markdown_table, percent
from torch import Tensor, nn

from captum_paramsal.repair import foreground, treat
from captum_paramsal.report.annotate.data import least_confident
from captum_paramsal.report.shared.predictions import Prediction
from captum_paramsal.stats import bootstrap_means

PER_CLASS = 20
STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0)
CHOICES = ("least confident", "random", "all")


@dataclass(frozen=True)
class Run:
    """One treatment; plain fine-tuning where no scene is annotated."""

    choice: str = ""
    space: float = 0.0

    def __str__(self) -> str:
        return f"{self.choice}, space {self.space:g}" if self.choice else "plain"


def annotated(model: nn.Module, images: Images, choice: str, generator: torch.Generator) -> Tensor:
    """Which scenes are annotated, ``(N,)`` bool."""
    if choice == "all":
        return torch.ones(len(images), dtype=torch.bool)
    scores = predicted(model, images).double().softmax(dim=1)
    if choice == "random":
        scores = torch.rand(scores.shape, generator=generator).double()
    of_label = scores.gather(1, images.labels[:, None])[:, 0].tolist()
    confidence, classes = (values.tolist() for values in scores.max(dim=1))
    rows = zip(range(len(images)), images.labels.tolist(), classes, of_label, confidence, strict=True)
    chosen = least_confident([Prediction(*row) for row in rows], PER_CLASS, "all")
    mask = torch.zeros(len(images), dtype=torch.bool)
    mask[[prediction.position for prediction in chosen]] = True
    return mask


def treated(task: Task, run: Run, seed: int) -> dict[str, Any]:
    """The same scenes in the same order for every run of a seed."""
    generator = torch.Generator().manual_seed(seed)
    images = task.train[torch.randperm(len(task.train), generator=generator)[: task.steps * task.batch]]
    batches: list[tuple[Tensor, ...]] = list(images.batches(task.batch))
    constraints = None
    if run.choice:
        constraints = constraints_of(task, Arm(space=run.space), generator)
        known = annotated(task.model, images, run.choice, generator)
        there = foreground((images.masks.shape[1], images.masks.shape[2]), masks=images.masks, margin=MARGIN)
        there[~known] = 1.0
        batches = [(*pair, part) for pair, part in zip(batches, there.split(task.batch), strict=True)]
    done = treat(
        task.model, batches, task.validation[:16].batches(), constraints,
        epochs=1, learning_rate=task.rate, allow_worse=True, seed=seed, show_progress=False,
    )  # fmt: skip
    right = predicted(done.model, task.validation).argmax(dim=1) == task.validation.labels
    result = {"validation": right.double().mean().item()}
    if seed != TUNING_SEED:
        result["test"] = text_of(predicted(done.model, task.test).argmax(dim=1))
    return result


def study(results: Results, task: Task, seeds: int) -> dict[str, list[dict[str, Any]]]:
    """The runs of every arm at its best strength, by name of the arm."""

    def ran(run: Run, seed: int) -> dict[str, Any]:
        found: dict[str, Any] = results.once(f"{run} | {seed}", lambda: treated(task, run, seed))
        return found

    best = []
    for choice in CHOICES:
        tried = [Run(choice, space) for space in STRENGTHS]
        best.append(max(tried, key=lambda run: ran(run, TUNING_SEED)["validation"]))
    return {str(run): [ran(run, seed) for seed in range(seeds)] for run in (Run(), *best)}


def table(arms: dict[str, list[dict[str, Any]]], truth: dict[str, Any]) -> str:
    """Accuracy, images cured and broken, and differences from plain fine-tuning and from random scenes."""
    labels, before = (torch.tensor(list(map(int, truth[name]))) for name in ("labels", "test"))
    right = {
        name: torch.stack([torch.tensor(list(map(int, run["test"]))) == labels for run in runs])
        for name, runs in arms.items()
    }
    rival = next(name for name in right if name.startswith("random"))
    rows = [["untreated", f"{100 * (before == labels).double().mean():.1f}", "", "", "", ""]]
    for name, of_arm in right.items():
        changed = [(of_arm & (before != labels)), (~of_arm & (before == labels))]
        cells = [name, f"{100 * of_arm.double().mean():.1f}", *(f"{c.sum(dim=1).double().mean():.0f}" for c in changed)]
        rows.append([*cells, *(_against(of_arm, right, other, name) for other in ("plain", rival))])
    heads = ["treatment", "accuracy", "cured", "broken", "minus plain, points", "minus random, points"]
    return markdown_table(heads, rows)


def _against(of_arm: Tensor, right: dict[str, Tensor], rival: str, name: str) -> str:
    """Difference in accuracy with its interval over images, and the lowest and highest of a seed."""
    if name in {rival, "plain"}:
        return ""
    gap = of_arm.double() - right[rival].double()
    by_seed = 100 * gap.mean(dim=1)
    over_images = percent(bootstrap_means(gap.mean(dim=0)[:, None])[:, 0].tolist(), signed=True)
    return f"{over_images}; seeds {by_seed.min():+.1f} to {by_seed.max():+.1f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("few-annotations"), help="folder of the results")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each arm (default 3)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads (default: all cores)")
    parser.add_argument("--demo-test", type=int, default=2000, help="test scenes (default 2000)")
    options = parser.parse_args(arguments)
    options.size = lambda count: count
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    task = demo(options)
    task = replace(task, epochs=1)
    results = Results(options.work / "few_annotations.json")
    truth = results.once("untreated", lambda: untreated(task))
    sys.stdout.write(table(study(results, task, options.seeds), truth))


if __name__ == "__main__":
    main()
