"""The tables of the study of cures, from what it found."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from cure_cases import KINDS
from cure_ways import LEVELS
from results import markdown_table, with_interval

from captum_paramsal.metrics import share_interval

AIM = 0.8
"""Share of a fault's unseen mistakes that a cure is to right."""
HARM = 0.005
"""Share of right images that it may break."""

Row = Mapping[str, Any]


def tables(found: Mapping[str, Any]) -> str:
    """Every group with its alternatives, faults by kind, both by every way at the same harm, and false alarms."""
    parts = [groups_table(found), levels_table(found), faults_table(found), fault_ways_table(found), chance_line(found)]
    return "\n".join(part for part in parts if part)


def pooled(rows: Sequence[Row], hits: str, of: str, digits: int = 1) -> str:
    """Share over several cures in percent, with its interval."""
    number, total = sum(row[hits] for row in rows), sum(row[of] for row in rows)
    if not total:
        return "none chosen"
    low, high = share_interval(torch.arange(total) < number)
    return f"{100 * number / total:.{digits}f} ({100 * low:.{digits}f} to {100 * high:.{digits}f})"


def _of_groups(found: Mapping[str, Any]) -> dict[tuple[str, str], list[Row]]:
    """Rows of all seeds, by group and what was changed; without ways that a network does not have."""
    cells: dict[tuple[str, str], list[Row]] = {}
    for key, value in found.items():
        group, what = key.split(" | ")[:2]
        if group in {"fault", "ways", "chance"}:
            continue
        for row in value["rows"]:
            if row["numbers"]:
                cells.setdefault((f"{group}, {what}", row["changed"]), []).append(row)
    return cells


def groups_table(found: Mapping[str, Any]) -> str:
    """Cured and broken shares of the seeds in which a state was chosen, and how often it was kept."""
    rows = []
    for (group, changed), of in _of_groups(found).items():
        kept = [row for row in of if row["status"] == "kept"]
        chosen = [row for row in of if row["mistakes"]]
        numbers = f"{np.mean([row['numbers'] for row in of]):,.0f}"
        hits = [pooled(of, "cured", "mistakes"), pooled(of, "broken", "right images", 2)]
        rows.append([group, changed, numbers, *hits, f"{len(chosen)} of {len(of)}", f"{len(kept)} of {len(of)}"])
    header = ["group", "changed", "numbers", "cured of the unseen, %", "broken of the unseen, %", "chosen", "kept"]
    return markdown_table(header, rows) if rows else ""


def third_of(rows: Sequence[Row]) -> list[str]:
    """Cured of the mistakes and broken of the right images of third sets, in percent."""
    counts = [row["third"] for row in rows]
    mistakes = [{"hits": one["cured"], "of": one["images"] - one["before"]} for one in counts]
    right = [{"hits": one["broken"], "of": one["before"]} for one in counts]
    return [pooled(mistakes, "hits", "of"), pooled(right, "hits", "of", 2)]


def levels_table(found: Mapping[str, Any]) -> str:
    """What every way cures of the groups at the same harm."""
    rows = []
    for (group, changed), of in _of_groups(found).items():
        known = [row["levels"] for row in of if "levels" in row]
        if known:
            cured = [pooled([one[str(level)] for one in known], "cured", "mistakes") for level in LEVELS]
            rows.append([group, changed, str(len(known)), *cured, *third_of([one[str(HARM)] for one in known])])
    header = ["group", "changed", "divisions", *_levels(), *_third()]
    return markdown_table(header, rows) if rows else ""


def _levels() -> list[str]:
    return [f"at most {100 * level:g} % broken: cured, %" for level in LEVELS]


def _third() -> list[str]:
    return [f"third set, of {100 * HARM:g} %: cured, %", "broken, %"]


def _harmful(found: Mapping[str, Any], part: str, kind: str = "") -> list[dict[str, Any]]:
    of = [value for key, value in found.items() if key.startswith(f"{part} |") and key.endswith(kind)]
    return [one for one in of if one["status"] != "harmless"]


def judged(one: Mapping[str, Any]) -> Row:
    """The counts of a fault's cure; where no state was chosen nothing is cured, and nothing breaks."""
    row = one["rows"][0]
    return row if row["mistakes"] else row | {"mistakes": one["judges"], "right images": one["right judges"]}


def reaches_aim(row: Row) -> bool:
    """Whether enough is cured, and not too much broken."""
    return bool(row["cured"] >= AIM * row["mistakes"] and row["broken"] <= HARM * row["right images"])


def faults_table(found: Mapping[str, Any]) -> str:
    """Faults by kind: found among the filters that are changed, cured, kept."""
    rows = []
    for kind in (*KINDS, ""):
        harmful = _harmful(found, "fault", kind)
        if not harmful:
            continue
        first = [judged(one) for one in harmful]
        among = sum(one["rank"] is not None for one in harmful)
        kept = sum(one["status"] == "kept" for one in harmful)
        numbers = [f"{count} of {len(harmful)}" for count in (among, kept, sum(map(reaches_aim, first)))]
        shares = with_interval(torch.tensor([row["cured"] / row["mistakes"] for row in first]))
        rows.append([kind or "all", *numbers, shares, pooled(first, "broken", "right images", 2)])
    header = ["fault", "among those changed", "kept", "aim reached", "cured of the unseen, %", "broken, %"]
    return markdown_table(header, rows) if rows else ""


def fault_ways_table(found: Mapping[str, Any]) -> str:
    """What every way cures of the faults at the same harm; the mean over faults, so that large ones count no more."""
    ways: dict[str, list[Row]] = {}
    for one in _harmful(found, "ways"):
        for row in one["rows"]:
            ways.setdefault(row["changed"], []).append(row)
    rows = []
    for changed, of in ways.items():
        kept = sum(row["status"] == "kept" for row in of)
        at = {level: [row["levels"][str(level)] for row in of] for level in LEVELS}
        cured = [with_interval(torch.tensor([one["cured"] / one["mistakes"] for one in at[level]])) for level in LEVELS]
        aim = sum(map(reaches_aim, at[HARM]))
        rows.append([changed, f"{kept} of {len(of)}", *cured, f"{aim} of {len(of)}", *third_of(at[HARM])])
    header = ["changed", "kept", *_levels(), f"{100 * AIM:.0f} % cured of {100 * HARM:g} %", *_third()]
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
