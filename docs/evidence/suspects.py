"""Do the suspects name the filter that was damaged? Planted and trained faults, few mistakes and many.

``python docs/evidence suspects`` plants the faults and writes ``suspects.json`` and ``suspects.md`` to the work folder.
A finished fault is not made again.
"""

import argparse
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from cifar10 import any_of, cifar10_pictures, real_models
from cure_cases import SMALL, Fault, Labelled, predicted
from photos import (
    LITE1_INPUT,
    SQUEEZENET_INPUT,
    Preparation,
    add_data_option,
    labelled_photos,
    load_lite1,
    load_squeezenet,
)
from results import Results, markdown_table, with_interval
from torch import Tensor, nn

from captum_paramsal import ActivationSpectrum, ForwardImpact, Reference
from captum_paramsal.filters import FilterIndex
from captum_paramsal.profiles import FilterProfile, ablated_margins
from captum_paramsal.repair import magnitude_ranking, random_ranking
from captum_paramsal.stats import reciprocal_rank_fusion
from captum_paramsal.triage import Suspects, rank_suspects, set_saliency

COUNTS = (5, 10, 20, 50)
"""Mistakes that a ranking is made from."""
ABLATED = 12
KINDS = ("scale", "noise", "sign", "zero", "trained")


@dataclass(frozen=True, eq=False)
class Subject:
    """A healthy network, images that it gets right, and some that faults are trained on.

    Attributes:
        model: In evaluation mode.
        images: Which the damaged network is run on.
        learn: Which trained faults are trained on.
        ablations: Filters that are ablated, at most.
        kinds: Of the faults.
    """

    model: nn.Module
    images: Labelled
    learn: Labelled
    ablations: int
    kinds: Sequence[str]


def resnet20(data: Path) -> Subject:
    """He et al.'s network for CIFAR-10, on test images that it gets right."""
    every = Labelled(*cifar10_pictures(data, "test", any_of(3600)))
    return _subject(real_models().resnet20(data), every, 1200, 1000, KINDS)


def squeezenet(data: Path) -> Subject:
    """SqueezeNet 1.1 on small photos that it gets right."""
    return _of_photos(load_squeezenet(data), data, replace(SQUEEZENET_INPUT, side=SMALL))


def lite1(data: Path) -> Subject:
    """EfficientNet-Lite1 on small photos that it gets right."""
    return _of_photos(load_lite1(data), data, replace(LITE1_INPUT, side=SMALL))


def _of_photos(model: nn.Module, data: Path, preparation: Preparation) -> Subject:
    every = Labelled(*labelled_photos(data / "imagenet_val900", preparation))
    return _subject(model, every, 0, 200, KINDS[:4])


def _subject(model: nn.Module, every: Labelled, learn: int, ablations: int, kinds: Sequence[str]) -> Subject:
    right = every[predicted(model, every) == every.labels]
    return Subject(model, right[learn:], right[:learn], ablations, kinds)


SUBJECTS = {"ResNet-20": (resnet20, 8), "SqueezeNet": (squeezenet, 5), "EfficientNet-Lite1": (lite1, 5)}
"""What makes each, and how many mistakes a fault has to make."""


def fault_ranks(subject: Subject, fault: Fault, least: int) -> dict[str, Any]:
    """Rank of the damaged filter by every arm, from so many mistakes as there are."""
    model, place = fault.plant(subject, subject.learn)
    wrong = predicted(model, subject.images) != subject.images.labels
    result: dict[str, Any] = {"kind": fault.kind, "mistakes": int(wrong.sum()), "ranks": {}}
    if result["mistakes"] < least:
        return result
    generator = torch.Generator().manual_seed(fault.seed)
    mistakes, right = subject.images[wrong], subject.images[~wrong]
    mistakes = mistakes[torch.randperm(len(mistakes), generator=generator)]
    right = right[torch.randperm(len(right), generator=generator)[:300]]
    reference = Reference.fit(model, right.batches(50), show_progress=False)
    whole = rank_suspects(
        model,
        *(mistakes.inputs[:50], mistakes.labels[:50], right.inputs, right.labels),
        reference=reference,
        ablations=0,
        internal_batch_size=50,
        show_progress=False,
    )
    effects = Effects(model, whole.filters, mistakes[:ABLATED])
    for count in (one for one in COUNTS if one <= max(len(mistakes), COUNTS[0])):
        some = mistakes[:count]
        saliency = set_saliency(model, some.inputs, some.labels, reference, internal_batch_size=50)
        found = replace(whole, saliency=saliency, mistakes=count)
        shortlist = found.score.argsort(descending=True, stable=True)[: subject.ablations]
        found = replace(found, effect=effects.mean(shortlist, count))
        for name, score in arms(found, model, some, right).items():
            result["ranks"][f"{name} | {count}"] = rank_of(score, place)
    for number in range(ABLATED if len(effects.of_one(place)) == ABLATED else 0):
        result["ranks"].setdefault("effect | 1", []).append(effects.rank_in(number, place))
    return result | {"filter": str(whole.filters[place]), "filters": len(whole.filters)}


class Effects:
    """What ablating a filter does to each mistake's margin, computed once for a filter."""

    def __init__(self, model: nn.Module, filters: FilterIndex, mistakes: Labelled) -> None:
        self._model, self._filters = model, filters
        self._parts = FilterProfile(model).parts(mistakes.inputs, mistakes.labels)
        self._rows: dict[int, Tensor] = {}

    def of_one(self, place: int) -> Tensor:
        """Of one filter, ``(N,)``."""
        self._compute([place])
        return self._rows[place]

    def mean(self, places: Tensor, count: int) -> Tensor:
        """Means over the first mistakes for some filters, NaN for others, ``(F,)``."""
        self._compute(places.tolist())
        effect = torch.full((len(self._filters),), torch.nan, dtype=torch.float64)
        effect[places] = torch.stack([self._rows[place][:count].mean() for place in places.tolist()])
        return effect

    def rank_in(self, number: int, place: int) -> float:
        """Rank of a filter by what it does to one mistake, among those that were ablated."""
        own = self._rows[place][number]
        return float(1 + sum(row[number] > own for row in self._rows.values()))

    def _compute(self, places: Sequence[int]) -> None:
        missing = [place for place in places if place not in self._rows]
        chosen = [self._filters[place] for place in missing]
        before, after = ablated_margins(self._model, self._parts, chosen, torch.eye(len(chosen)) > 0)
        self._rows |= dict(zip(missing, (after - before).double(), strict=True))


def arms(found: Suspects, model: nn.Module, mistakes: Labelled, right: Labelled) -> dict[str, Tensor]:
    """Scores ``(F,)`` of the fused ranking, of its parts, and of others."""
    impact = ForwardImpact(model).rank(
        mistakes.inputs, mistakes.labels, right.inputs, right.labels, internal_batch_size=50
    )
    spectrum = ActivationSpectrum(model).rank(mistakes.inputs, right.inputs, internal_batch_size=50)
    no_drift = replace(found, drift=torch.full_like(found.drift, torch.nan))
    lone = {"drift": found.drift, "weights' norms": found.deviation}
    mistakes_alone = [found.saliency.score[0], found.effect.nan_to_num(nan=-torch.inf)]
    return {
        "suspects": found.score,
        "suspects without drift": no_drift.score,
        "saliency and effect alone": reciprocal_rank_fusion(mistakes_alone),
        "set saliency": found.saliency.score[0],
        "effect": mistakes_alone[1],
        **{name: score for name, score in lone.items() if not score.isnan().all()},
        "forward impact": impact.score,
        "activation spectrum": spectrum.score,
        "magnitude": magnitude_ranking(model, found.filters),
        "random": random_ranking(found.filters, 1, seed=len(mistakes))[0],
    }


def rank_of(scores: Tensor, place: int) -> float:
    """Rank of one filter, 1 being the best; ties share the mean of their ranks; unknown ones are last."""
    known = scores.nan_to_num(nan=-torch.inf)
    above, equal = int((known > known[place]).sum()), int((known == known[place]).sum())
    return above + (equal + 1) / 2


def planned(kinds: Sequence[str], first: int = 2000) -> Iterator[Fault]:
    """The kinds in turn; seeds that no rule was chosen on."""
    number = 0
    while True:
        yield Fault(kinds[number % len(kinds)], first + number)
        number += 1


def study(results: Results, name: str, data: Path, faults: int) -> None:
    """Plant faults until enough of them made mistakes."""
    make, least = SUBJECTS[name]
    subject = lru_cache(lambda: make(data))
    counted = 0
    for fault in planned(KINDS if name == "ResNet-20" else KINDS[:4]):
        if counted >= faults:
            return
        found = results.once(f"{name} | {fault.seed}", lambda fault=fault: fault_ranks(subject(), fault, least))
        counted += bool(found["ranks"])


def tables(found: Mapping[str, Any]) -> str:
    """Each network: all faults by count of mistakes, and by kind."""
    parts = []
    for name in SUBJECTS:
        rows = [one for key, one in found.items() if key.startswith(f"{name} |") and one["ranks"]]
        if rows:
            parts += [f"## {name}: {len(rows)} faults\n", by_count(rows), by_kind(rows)]
    return "\n".join(parts)


def _ten(rows: Sequence[Mapping[str, Any]], key: str) -> str:
    hits = [share_in_ten(row["ranks"][key]) for row in rows if key in row["ranks"]]
    return f"{with_interval(torch.tensor(hits).double(), 0)} of {len(hits)}" if len(hits) > 1 else ""


def share_in_ten(ranks: float | Sequence[float]) -> float:
    """Of a fault's rankings, from single mistakes or from all of them."""
    return float((torch.as_tensor(ranks, dtype=torch.float64) <= 10).double().mean())


def _names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key.split(" | ")[0] for row in rows for key in row["ranks"]))


def by_count(rows: Sequence[Mapping[str, Any]]) -> str:
    """Share of faults in the first ten, from so many mistakes."""
    counts = (1, *COUNTS)
    lines = [[name, *(_ten(rows, f"{name} | {count}") for count in counts)] for name in _names(rows)]
    return markdown_table(["in the first ten, %", *(f"{count} mistakes" for count in counts)], lines)


def of_most(ranks: Mapping[str, Any]) -> dict[str, Any]:
    """Of each arm, the rank from the most mistakes, by its name."""
    several = {tuple(key.split(" | ")): rank for key, rank in ranks.items() if not key.endswith(" | 1")}
    return {name: rank for (name, _), rank in sorted(several.items(), key=lambda item: int(item[0][1]))}


def by_kind(rows: Sequence[Mapping[str, Any]]) -> str:
    """The same by the kind of fault, from as many mistakes as there are."""
    most = [row | {"ranks": of_most(row["ranks"])} for row in rows]
    kinds = [kind for kind in KINDS if any(row["kind"] == kind for row in rows)]
    lines = [[name, *(_ten([row for row in most if row["kind"] == k], name) for k in kinds)] for name in _names(rows)]
    return markdown_table(["in the first ten, %", *kinds], lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Plant, rank, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_data_option(parser)
    parser.add_argument("--work", type=Path, default=Path("suspects"), help="folder for the results")
    parser.add_argument("--networks", nargs="*", default=list(SUBJECTS), choices=list(SUBJECTS))
    parser.add_argument("--faults", type=int, default=60, help="that make mistakes, of each network")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options.work.mkdir(parents=True, exist_ok=True)
    results = Results(options.work / "suspects.json")
    for name in options.networks:
        study(results, name, options.data, options.faults)
    (options.work / "suspects.md").write_text(tables(results.found), encoding="utf-8")


if __name__ == "__main__":
    main()
