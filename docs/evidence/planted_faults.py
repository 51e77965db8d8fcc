"""Which ranking finds a damaged filter? Tables and figure from the files of ``tests/benchmarks/planted_faults.py``."""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from cifar10 import real_models
from matplotlib.figure import Figure
from results import markdown_table, with_interval
from safetensors.torch import load_file
from torch import Tensor
from torchvision.models import squeezenet1_1

from captum_paramsal.profiles import FilterProfile
from captum_paramsal.stats import reciprocal_rank_fusion
from captum_paramsal.stats.bootstrap import bootstrap_means
from captum_paramsal.viz import to_png

CHOSEN_ON = 28
"""Faults of the first network that the set saliency was chosen on; all others are new to it."""
FUSED = ("all: coherence", "all: mean z", "all: pull on the scale")
MEASURES: dict[str, Callable[[Tensor], Tensor]] = {
    "hit@1": lambda ranks: (ranks <= 1).double(),
    "hit@10": lambda ranks: (ranks <= 10).double(),
    "MRR": lambda ranks: 1 / ranks,
}
LAYERS: dict[str, Callable[[], Sequence[str]]] = {
    "resnet20": lambda: FilterProfile(real_models().ResNet20()).filters.layers,
    "squeezenet": lambda: FilterProfile(squeezenet1_1()).filters.layers,
}
KINDS = ("scale", "noise", "sign", "zero")
MAIN = (
    "all: set saliency",
    "all: mean z",
    "all: coherence",
    "all: pull on the scale",
    "all: mean POT exponential",
    "one: z, healthy reference",
    "one: z",
    "all: magnitude",
    "all: random",
)


@dataclass(frozen=True)
class Found:
    """Ranks of one damaged filter.

    Attributes:
        about: What was done to which filter, and the mistakes it made.
        ranks: By method, one for each mistake, or one for all.
    """

    about: dict[str, Any]
    ranks: dict[str, Tensor]

    def value(self, method: str, measure: str) -> float:
        """A measure, averaged over the mistakes of the fault; NaN where the method was not run."""
        if method not in self.ranks:
            return float("nan")
        return float(MEASURES[measure](self.ranks[method]).mean())


def load(folder: Path) -> list[Found]:
    """All faults of a network that made mistakes."""
    found = []
    for number, line in enumerate((folder / "faults.jsonl").read_text("utf-8").splitlines()):
        about = json.loads(line)
        if "ranks" not in about:
            continue
        ranks = {name: torch.tensor(values) for name, values in about.pop("ranks").items()}
        scores = load_file(folder / f"{number}.safetensors")
        fused = reciprocal_rank_fusion([scores[name].abs() if "pull" in name else scores[name] for name in FUSED])
        own = fused[about["place"]]
        ranks["all: set saliency"] = ((fused > own).sum() + ((fused == own).sum() + 1) / 2)[None]
        found.append(Found(about, ranks))
    return found


def column(found: Sequence[Found], method: str, measure: str) -> Tensor:
    """A measure of every fault, ``(faults,)``."""
    return torch.tensor([one.value(method, measure) for one in found], dtype=torch.float64)


def methods_table(found: Sequence[Found]) -> str:
    """Every method, the best first."""
    methods = dict.fromkeys(name for one in found for name in one.ranks)
    ordered = sorted(methods, key=lambda name: -float(column(found, name, "hit@10").nanmean()))
    rows = [
        [
            *name.split(": ", 1)[::-1],
            with_interval(column(found, name, "hit@1")),
            with_interval(column(found, name, "hit@10")),
            with_interval(column(found, name, "MRR"), 2, percent=False),
        ]
        for name in ordered
    ]
    return markdown_table(["ranking", "mistakes", "first, %", "in the first ten, %", "mean reciprocal rank"], rows)


def parts_table(found: Sequence[Found], parts: dict[str, list[Found]]) -> str:
    """Share in the top ten, by kind of fault, by depth, or another division."""
    header = ["ranking", "mistakes", *(f"{name} ({len(own)})" for name, own in parts.items())]
    rows = [
        [
            *name.split(": ", 1)[::-1],
            *(with_interval(column(own, name, "hit@10"), 0) if len(own) > 1 else "" for own in parts.values()),
        ]
        for name in MAIN
        if name in found[0].ranks
    ]
    return markdown_table(header, rows)


def by_kind(found: Sequence[Found]) -> dict[str, list[Found]]:
    """Faults of each kind."""
    return {kind: [one for one in found if one.about["kind"] == kind] for kind in KINDS}


def by_depth(found: Sequence[Found], layers: Sequence[str]) -> dict[str, list[Found]]:
    """Faults in the first, second and last third of the layers."""
    places = {layer: 3 * number // len(layers) for number, layer in enumerate(layers)}
    names = ("first third", "second third", "last third")
    return {name: [one for one in found if places[one.about["layer"]] == third] for third, name in enumerate(names)}


def by_novelty(found: Sequence[Found]) -> dict[str, list[Found]]:
    """Faults that the set saliency was chosen on, and others."""
    return {"chosen on these": list(found[:CHOSEN_ON]), "new": list(found[CHOSEN_ON:])}


def figure(networks: dict[str, list[Found]]) -> bytes:
    """Bars with intervals: how often the damaged filter is among the top ten."""
    drawn = Figure(figsize=(9.5, 3.6), layout="constrained")
    axes = drawn.subplots(1, len(networks), squeeze=False)
    for panel, (name, found) in zip(axes[0], networks.items(), strict=True):
        shown = [method for method in MAIN if method in found[0].ranks]
        for place, method in enumerate(reversed(shown)):
            values = column(found, method, "hit@10")
            mean, low, high = bootstrap_means(values[:, None])[:, 0].tolist()
            panel.barh(place, mean, color="#0072b2" if method.startswith("all") else "#e69f00")
            panel.plot([low, high], [place, place], color="black", linewidth=1.2)
        panel.set_yticks(range(len(shown)), [" ".join(method.split(": ")[::-1]) for method in reversed(shown)])
        panel.set_xlim(0, 1)
        panel.set_xlabel("faults found in the first ten")
        panel.set_title(f"{name}: {len(found)} faults")
    return to_png(drawn, dpi=100)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write ``planted_faults.md`` and ``planted_faults.png`` into the work folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("planted-faults"), help="folder of the benchmark's results")
    folder = parser.parse_args(arguments).work
    networks, text = {}, []
    for name, layers in LAYERS.items():
        if not (folder / name / "faults.jsonl").exists():
            continue
        found = networks[name] = load(folder / name)
        divisions = [by_kind(found), by_depth(found, layers())]
        divisions += [by_novelty(found)] if name == next(iter(LAYERS)) else []
        tables = [methods_table(found), *(parts_table(found, division) for division in divisions)]
        text.append(f"## {name}: {len(found)} faults\n\n" + "\n".join(tables))
    (folder / "planted_faults.md").write_text("\n".join(text), encoding="utf-8")
    (folder / "planted_faults.png").write_bytes(figure(networks))


if __name__ == "__main__":
    main()
