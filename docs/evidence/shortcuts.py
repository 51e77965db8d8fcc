"""Do the suspects name the filters that carry a shortcut? Networks that learnt what the background hints at.

``python docs/evidence shortcuts`` trains the demo's network from several seeds on scenes of which most have a patch of
their class in the background, finds the filters that carry the patch by ablating every one, and writes
``shortcuts.json`` and ``shortcuts.md`` to the work folder. A finished network is not made again.
"""

import argparse
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from cure_cases import Labelled, predicted
from results import Results, markdown_table, with_interval
from suspects import arms, rank_of
from torch import Tensor, nn

from captum_paramsal import Filter, Reference
from captum_paramsal.demo import make_scenes, normalize
from captum_paramsal.demo.train import train
from captum_paramsal.functional import log_odds
from captum_paramsal.profiles import FilterProfile
from captum_paramsal.repair import knock_out, random_ranking
from captum_paramsal.triage import rank_suspects

LOG = logging.getLogger("shortcuts")
COUNTS = (5, 20)
"""Mistakes that a ranking is made from."""
FIRST = 10
"""Filters that are looked at."""
TRUTH, RANKED, TESTED = 51, 52, 53
"""Seeds of the scenes that say which filters carry the patch, that are ranked by, and that are tested on."""


@dataclass(frozen=True, eq=False)
class Twins:
    """The same scenes with a patch of another class in the background, and without one."""

    patched: Tensor
    plain: Tensor
    labels: Tensor
    hints: Tensor

    @classmethod
    def of(cls, count: int, seed: int) -> "Twins":
        """Draw them."""
        patched = make_scenes(count, seed=seed, cue_agreement=0, cue_presence=1)
        plain = make_scenes(count, seed=seed, cue_agreement=0, cue_presence=0)
        return cls(normalize(patched.images), normalize(plain.images), patched.labels, patched.cue_labels)

    def pull(self, model: nn.Module) -> float:
        """How much the patch moves the score of its class above that of the object's, in nats; the mean."""
        with torch.no_grad():
            patched, plain = (self._ahead(model(images)) for images in (self.patched, self.plain))
        return float((patched - plain).mean())

    def own(self, model: nn.Module) -> float:
        """Log odds of the object's class without a patch, in nats; the mean."""
        with torch.no_grad():
            return float(log_odds(model(self.plain), self.labels).mean())

    def cured(self, model: nn.Module, misled: Tensor) -> float:
        """Share of those that the patch misled which are right now."""
        seen = predicted(model, Labelled(self.patched, self.labels))
        return float((seen == self.labels)[misled].double().mean())

    def misled(self, model: nn.Module) -> Tensor:
        """Which the patch alone makes a mistake of its class, ``(N,)`` bool."""
        seen, without = (predicted(model, Labelled(images, self.labels)) for images in (self.patched, self.plain))
        return (seen == self.hints) & (without == self.labels)

    def plain_right(self, model: nn.Module) -> float:
        """Share that is right without a patch."""
        return float((predicted(model, Labelled(self.plain, self.labels)) == self.labels).double().mean())

    def _ahead(self, scores: Tensor) -> Tensor:
        rows = torch.arange(len(scores))
        return scores[rows, self.hints] - scores[rows, self.labels]


def network(seed: int, scenes: int, epochs: int) -> dict[str, Any]:
    """One network: who carries the patch, and what every ranking names."""
    model = train(
        make_scenes(scenes, seed=1000 + seed, cue_agreement=0.94), epochs=epochs, seed=seed, show_progress=False
    )
    filters = FilterProfile(model).filters
    truth, tested = Twins.of(160, TRUTH), Twins.of(400, TESTED)
    pull, own = truth.pull(model), truth.own(model)
    left = []
    for one in filters:
        with knock_out(model, one, bias=True):
            left.append((truth.pull(model) / pull, truth.own(model) / own))
    of_patch, of_object = (1 - torch.tensor(left, dtype=torch.float64)).T
    # Without some filters the network sees nothing at all, and no patch either: they do not carry the shortcut.
    carried = of_patch - of_object.clamp(min=0)
    mistakes, right = given(model)
    misled = tested.misled(model)
    result: dict[str, Any] = {
        "pull": tested.pull(model),
        "misled": float(misled.double().mean()),
        "plain right": tested.plain_right(model),
        "mistakes": len(mistakes),
        "filters": len(filters),
        "carried by the first": [float(carried.max()), float(carried.sort(descending=True).values[FIRST - 1])],
    }
    judge = Judge(model, filters, carried, tested, misled)
    for name, ranking in rankings(model, mistakes, right, carried).items():
        result[name] = judge.of(ranking)
    return result


def given(model: nn.Module) -> tuple[Labelled, Labelled]:
    """Scenes that the patch makes mistakes of, and scenes as in training that are right."""
    twins = Twins.of(1200, RANKED)
    misled = twins.misled(model)
    usual = make_scenes(400, seed=RANKED + 100, cue_agreement=0.94)
    images = Labelled(normalize(usual.images), usual.labels)
    return Labelled(twins.patched, twins.labels)[misled], images[predicted(model, images) == images.labels][:300]


def rankings(model: nn.Module, mistakes: Labelled, right: Labelled, carried: Tensor) -> dict[str, Tensor]:
    """Scores of every arm from so many mistakes, of filters drawn at random, and of those that carry most."""
    reference = Reference.fit(model, right.batches(50), show_progress=False)
    found = {}
    for count in (one for one in COUNTS if one <= len(mistakes)):
        some = mistakes[:count]
        suspects = rank_suspects(
            model,
            *(some.inputs, some.labels, right.inputs, right.labels),
            reference=reference,
            internal_batch_size=50,
            show_progress=False,
        )
        found |= {f"{name} | {count}": score for name, score in arms(suspects, model, some, right).items()}
    filters = FilterProfile(model).filters
    drawn = {f"random | {number}": random_ranking(filters, 1, seed=number)[0] for number in range(5)}
    return {name: score for name, score in found.items() if not name.startswith("random")} | drawn | {"truth": carried}


@dataclass(frozen=True, eq=False)
class Judge:
    """Knows which filters carry the patch, and tries what becomes of other scenes without some."""

    model: nn.Module
    filters: Sequence[Filter]
    carried: Tensor
    tested: Twins
    misled: Tensor

    def of(self, score: Tensor) -> dict[str, float]:
        """How many of a ranking's first carry most, and what is left of the pull without these."""
        first = score.nan_to_num(nan=-torch.inf).argsort(descending=True, stable=True)[:FIRST].tolist()
        most = set(self.carried.argsort(descending=True)[:FIRST].tolist())
        with knock_out(self.model, [self.filters[place] for place in first], bias=True):
            pull, right = self.tested.pull(self.model), self.tested.plain_right(self.model)
            cured = self.tested.cured(self.model, self.misled)
        return {
            "among the most": sum(place in most for place in first) / FIRST,
            "pull without": pull,
            "plain right without": right,
            "cured without": cured,
            "rank of the first": rank_of(score, int(self.carried.argmax())),
        }


def tables(found: Mapping[str, Any]) -> str:
    """What the networks learnt, and each ranking with intervals over networks."""
    networks = list(found.values())
    facts = {
        "pull of the patch, nats": ("pull", 2, False),
        "misled by the patch alone, %": ("misled", 1, True),
        "right without a patch, %": ("plain right", 1, True),
    }
    rows = [
        [name, with_interval(torch.tensor([one[key] for one in networks]).double(), digits, percent=share)]
        for name, (key, digits, share) in facts.items()
    ]
    parts = [markdown_table([f"{len(networks)} networks", "mean"], rows)]
    for count in COUNTS:
        names = [name for name in networks[0] if name.endswith(f" | {count}") and not name.startswith("random")]
        lines = [_row(networks, name.split(" | ")[0], [name]) for name in names]
        controls = {"random": [f"random | {number}" for number in range(5)], "those that carry most": ["truth"]}
        lines += [_row(networks, name, keys) for name, keys in controls.items()]
        header = [f"{count} mistakes", "of the ten that carry most, %", "first carrier in the first ten, %"]
        parts.append(
            markdown_table([*header, "pull left, %", "misled that are right, %", "right without a patch, %"], lines)
        )
    return "\n".join(parts)


def _row(networks: Sequence[Mapping[str, Any]], name: str, keys: Sequence[str]) -> list[str]:
    """Means over the networks that made enough mistakes; over draws first, where there are several."""

    def mean(of: Mapping[str, Any], value: Any) -> float:
        return sum(value(of, of[key]) for key in keys) / len(keys)

    have = [one for one in networks if all(key in one for key in keys)]
    values = (
        lambda _, judged: judged["among the most"],
        lambda _, judged: float(judged["rank of the first"] <= FIRST),
        lambda network, judged: judged["pull without"] / network["pull"],
        lambda _, judged: judged["cured without"],
        lambda _, judged: judged["plain right without"],
    )
    return [name, *(with_interval(torch.tensor([mean(one, value) for one in have]).double()) for value in values)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, ablate, rank, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("shortcuts"), help="folder for the results")
    parser.add_argument("--networks", type=int, default=10, help="that are trained")
    parser.add_argument("--scenes", type=int, default=4096, help="to train on")
    parser.add_argument("--epochs", type=int, default=10, help="passes over them")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options.work.mkdir(parents=True, exist_ok=True)
    results = Results(options.work / "shortcuts.json")
    for seed in range(options.networks):
        results.once(f"network {seed}", lambda seed=seed: network(seed, options.scenes, options.epochs))
    (options.work / "shortcuts.md").write_text(tables(results.found), encoding="utf-8")


if __name__ == "__main__":
    main()
