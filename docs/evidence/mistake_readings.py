"""Kinds of mistakes by the tool, held against what a reader saw in the photos (``mistake_readings.csv``)."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from results import markdown_table
from torch import Tensor

from captum_paramsal.functional import KINDS_OF_MISTAKES, KindThresholds
from captum_paramsal.metrics import share_interval
from captum_paramsal.repair import MistakeKinds

__all__ = ["Readings", "chosen_thresholds", "judgement", "listing", "precision_table", "told_apart"]

OUTSIDE = (-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3)
SPOT = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
DOUBT = (-0.2, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
SHUFFLES = 10_000
OUTSIDE_OF_IT = ("another object", "background")


@dataclass(frozen=True)
class Readings:
    """What was seen in M mistakes.

    Attributes:
        rows: Of the table, one for each mistake that was read.
        places: Their numbers among all mistakes, ``(M,)``.
        kinds: Kind that the reader decided for, ``(M,)``.
        fits: Kinds that fit, the decided one among them, ``(M, 4)`` bool.
    """

    rows: Sequence[Mapping[str, str]]
    places: Tensor
    kinds: Tensor
    fits: Tensor

    @classmethod
    def of_half(cls, half: str, files: Sequence[str], path: Path) -> "Readings":
        """The half to choose on, or the one to judge.

        Args:
            half: ``"choose"`` or ``"judge"``.
            files: Names of the photos of all mistakes.
            path: The table.
        """
        with path.open(encoding="utf-8") as table:
            rows = [row for row in csv.DictReader(table) if row["half"] == half and row["file"] in files]
        kinds = torch.tensor([KINDS_OF_MISTAKES.index(row["reading"]) for row in rows])
        fits = torch.tensor(
            [[kind in (row["reading"], *row["also"].split("; ")) for kind in KINDS_OF_MISTAKES] for row in rows]
        )
        return cls(rows, torch.tensor([files.index(row["file"]) for row in rows]), kinds, fits)


def chosen_thresholds(result: MistakeKinds, readings: Readings) -> tuple[KindThresholds, float]:
    """Thresholds with the largest mean F1 of the four kinds, and that mean."""
    scores = {}
    for values in product(OUTSIDE, SPOT, DOUBT):
        thresholds = KindThresholds(*values)
        scores[thresholds] = mean_f1(result.with_thresholds(thresholds).kinds[readings.places], readings.kinds)
    best = max(scores, key=lambda thresholds: scores[thresholds])
    return best, scores[best]


def mean_f1(said: Tensor, seen: Tensor) -> float:
    """Mean over the kinds of ``2 |both| / (|said| + |seen|)``; 0 for a kind that is neither said nor seen."""
    values = []
    for kind in range(len(KINDS_OF_MISTAKES)):
        first, other = said == kind, seen == kind
        values.append(2 * int((first & other).sum()) / max(int(first.sum() + other.sum()), 1))
    return sum(values) / len(values)


def judgement(result: MistakeKinds, readings: Readings, seed: int = 0) -> dict[str, Any]:
    """How often the tool and the reader agree: over all, and for each kind that the tool says; by chance too.

    The control gives the tool's kinds to the photos at random, as often as the tool gives them.
    """
    said = result.kinds[readings.places]
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.stack([said[torch.randperm(len(said), generator=generator)] for _ in range(SHUFFLES)])
    agreed = (shuffled == readings.kinds).double().mean(dim=1)
    ends = torch.tensor([0.025, 0.975], dtype=torch.float64)
    rows: dict[str, Any] = {"all": _precision(said >= 0, said, readings)}
    for place, kind in enumerate(KINDS_OF_MISTAKES):
        rows[kind] = _precision(said == place, said, readings)
        rows[kind]["by chance"] = float((readings.kinds == place).double().mean())
        rows[kind]["fitting by chance"] = float(readings.fits[:, place].double().mean())
        rows[kind]["read as it"] = int((readings.kinds == place).sum())
        rows[kind]["found"] = int(((readings.kinds == place) & (said == place)).sum())
    outside = torch.tensor([kind in OUTSIDE_OF_IT for kind in KINDS_OF_MISTAKES])
    for name, side in (("from outside of the object", outside), ("from the object", ~outside)):
        hits = side[readings.kinds][side[said]]
        rows[name] = {
            "photos": len(hits),
            "same": [float(hits.double().mean()), *share_interval(hits)],
            "by chance": float(side[readings.kinds].double().mean()),
        }
    rows["all"]["by chance"] = [float(agreed.mean()), *agreed.quantile(ends).tolist()]
    rows["all"]["p"] = float((agreed >= (said == readings.kinds).double().mean()).double().mean())
    rows["all"]["mean F1"] = mean_f1(said, readings.kinds)
    return rows


def told_apart(values: Tensor, readings: Readings, resamples: int = 2000) -> list[float]:
    """How often a photo read as "from outside" has the larger value than one that is not, with its bootstrap interval.

    Args:
        values: One of each mistake, ``(N,)``; larger where it comes from outside.
        readings: Of some of them.
        resamples: Of the photos of either side.
    """
    outside = torch.tensor([kind in OUTSIDE_OF_IT for kind in KINDS_OF_MISTAKES])[readings.kinds]
    signs = values[readings.places].nan_to_num(-torch.inf)
    outer, inner = signs[outside], signs[~outside]
    wins = (outer[:, None] > inner).double() + 0.5 * (outer[:, None] == inner).double()
    generator = torch.Generator().manual_seed(0)
    rows, columns = (torch.randint(size, (resamples, size), generator=generator) for size in wins.shape)
    means = torch.stack([wins[row][:, column].mean() for row, column in zip(rows, columns, strict=True)])
    return [float(wins.mean()), *means.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()]


def _precision(chosen: Tensor, said: Tensor, readings: Readings) -> dict[str, Any]:
    same = (said == readings.kinds)[chosen]
    fitting = readings.fits[torch.arange(len(said)), said][chosen]
    return {
        "photos": int(chosen.sum()),
        **{
            name: [float(hits.double().mean()), *share_interval(hits)]
            for name, hits in (("same", same), ("fitting", fitting))
        },
    }


def precision_table(result: Mapping[str, Any]) -> str:
    """A row for each kind that the tool says."""
    rows = []
    for kind in KINDS_OF_MISTAKES:
        row = result[kind]
        chance = f"{100 * row['by chance']:.1f}, {100 * row['fitting by chance']:.1f}"
        cells = [str(row["photos"]), _share(row["same"]), _share(row["fitting"]), chance]
        rows.append([kind, *cells, f"{row['found']} of {row['read as it']}"])
    for side in ("from outside of the object", "from the object"):
        row = result[side]
        rows.append([side, str(row["photos"]), _share(row["same"]), "", f"{100 * row['by chance']:.1f}", ""])
    total = result["all"]
    chance = "{:.1f} ({:.1f} to {:.1f})".format(*(100 * first for first in total["by chance"]))
    rows.append(["all", str(total["photos"]), _share(total["same"]), _share(total["fitting"]), chance, ""])
    return markdown_table(["the tool says", "photos", "read the same, %", "fits, %", "by chance", "found"], rows)


def _share(values: Sequence[float]) -> str:
    return "{:.1f} ({:.1f} to {:.1f})".format(*(100 * first for first in values))


def listing(result: MistakeKinds, readings: Readings) -> str:
    """Every photo that was judged, with what the tool says and what was seen."""
    rows = []
    for row, place in zip(readings.rows, readings.places.tolist(), strict=True):
        kind = result.names[place]
        word = "**same**" if kind == row["reading"] else "fits" if kind in row["also"].split("; ") else ""
        number = row["file"].removeprefix("ILSVRC2012_val_").removesuffix(".JPEG")
        rows.append([number, f"{row['label']}, as {row['predicted']}", kind, row["reading"], row["seen"], word])
    lines = ["| photo | label, seen as | the tool | the reader | what was seen | |", "|---|---|---|---|---|---|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"
