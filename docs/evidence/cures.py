"""Does a cure cure? Groups of ordinary mistakes, planted and trained faults, and mistakes with shuffled labels.

``python docs/evidence cures`` runs the parts that are asked for by the protocol of ``docs/methods/cure.md``, and writes
``cures.json`` and ``cures.md`` to the work folder. A finished cure is not made again.
"""

import argparse
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from cure_cases import (
    KINDS,
    Case,
    Fault,
    Labelled,
    cifar,
    digits,
    healthy_case,
    lite1,
    predicted,
    scenes,
    squeezenet,
)
from cure_tables import tables
from cure_ways import all_ways, changes
from photos import add_data_option
from results import Results

from captum_paramsal.profiles import FilterProfile
from captum_paramsal.repair import Cure, CureSettings, cure

LOG = logging.getLogger("cures")
LEAST = 20
"""Mistakes that a planted or trained fault makes, at least."""


def outcome(case: Case, found: Cure) -> dict[str, Any]:
    """What came of a cure, as JSON has it; for a kept one also what the third set says."""
    result = {"status": found.verdict.status, "reason": str(found), "rows": found.to_table()}
    if found.kept:
        before = predicted(case.model, case.third) == case.third.labels
        found.apply(case.model)
        after = predicted(case.model, case.third) == case.third.labels
        found.revert(case.model)
        result["third"] = changes(before, after)
    return result


GROUPS = {scenes: 3, digits: 3, cifar: 3, squeezenet: 1, lite1: 1}
"""Networks with ordinary mistakes, and how often each is cured, with the images divided anew."""


def groups(results: Results, data: Path, settings: CureSettings, names: Sequence[str], seeds: int) -> None:
    """All mistakes of each network, and the five most frequent confusions of one, by every way."""
    for make in (one for one in GROUPS if one.__name__ in names):
        case: Case | None = None

        def lazily(make: Callable[[Path], Case] = make) -> Case:
            nonlocal case
            case = case or make(data)
            return case

        for seed in range(min(seeds, GROUPS[make])):
            how = replace(settings, seed=seed)
            results.once(
                f"{make.__name__} | all mistakes | {seed}",
                lambda how=how: all_ways(lazily(), lazily().mistakes(), how),
            )
        if make is cifar:
            for number in range(5):
                results.once(f"{make.__name__} | confusion {number}", lambda n=number: _pair(lazily(), n, settings))


def _pair(case: Case, number: int, settings: CureSettings) -> dict[str, Any]:
    answers, wrong = predicted(case.model, case.given), case.mistakes()
    pairs = Counter(zip(case.given.labels[wrong].tolist(), answers[wrong].tolist(), strict=True))
    label, answer = pairs.most_common(number + 1)[number][0]
    chosen = (case.given.labels == label) & (answers == answer)
    return all_ways(case, chosen, settings) | {"pair": [label, answer]}


def faults(results: Results, data: Path, settings: CureSettings, count: int, by_every_way: int) -> None:
    """Faults of the ResNet-20; the first of them by every way, too."""
    case, learn = healthy_case(data)
    for number in range(max(count, by_every_way)):
        fault = Fault(KINDS[number % len(KINDS)], number)
        if number < count:
            key = f"fault | {number} | {fault.kind}"
            results.once(key, lambda fault=fault: _fault(case, fault, learn, settings))
        if number < by_every_way:
            key = f"ways | {number} | {fault.kind}"
            results.once(key, lambda fault=fault: _fault(case, fault, learn, settings, by_every_way=True))


def _fault(
    case: Case, fault: Fault, learn: Labelled, settings: CureSettings, *, by_every_way: bool = False
) -> dict[str, Any]:
    model, place = fault.plant(case, learn)
    damaged, given = replace(case, model=model), case.given
    wrong = damaged.mistakes()
    if int(wrong.sum()) < LEAST:
        return {"status": "harmless", "mistakes": int(wrong.sum())}
    if by_every_way:
        # With the fault's own seed, the first random filter would be the very filter that was drawn for the fault.
        return all_ways(damaged, wrong, replace(settings, seed=fault.seed + 1))
    found = cure(model, given[wrong].batches(), given[~wrong].batches(), settings=settings, show_progress=False)
    filters = FilterProfile(model).filters
    rank = next((rank for rank, one in enumerate(found.filters, start=1) if one == filters[place]), None)
    judges = {name: len(found.parts[of]["judge"]) for name, of in (("judges", "mistakes"), ("right judges", "keep"))}
    about = {"rank": rank, "mistakes": int(wrong.sum()), "filter": str(filters[place])}
    return outcome(damaged, found) | about | judges


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


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts, and write ``cures.json`` and ``cures.md`` to the work folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_data_option(parser)
    parser.add_argument("--work", type=Path, default=Path("cures"), help="folder for the results")
    parser.add_argument("--parts", nargs="*", default=["groups", "faults", "chance"], help="what is run")
    parser.add_argument("--groups", nargs="*", default=[one.__name__ for one in GROUPS], help="networks with groups")
    parser.add_argument("--seeds", type=int, default=3, help="divisions of the images of a network, at most")
    parser.add_argument("--faults", type=int, default=100, help="planted and trained faults")
    parser.add_argument("--fault-ways", type=int, default=10, help="faults that are cured by every way, too")
    parser.add_argument("--attempts", type=int, default=200, help="with shuffled labels")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options.work.mkdir(parents=True, exist_ok=True)
    results, settings = Results(options.work / "cures.json"), CureSettings()
    if "groups" in options.parts:
        groups(results, options.data, settings, options.groups, options.seeds)
    if "faults" in options.parts:
        faults(results, options.data, settings, options.faults, options.fault_ways)
    if "chance" in options.parts:
        chance(results, options.data, settings, options.attempts)
    (options.work / "cures.md").write_text(tables(results.found), encoding="utf-8")


if __name__ == "__main__":
    main()
