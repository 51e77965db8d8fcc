"""What a reader should know before believing a cure."""

from __future__ import annotations

from collections.abc import Iterator

from captum_paramsal.repair import Cure

_FEW = 20
"""Mistakes below which a share of them is hardly known."""


def cure_caveats(cure: Cure, most_broken: float) -> Iterator[str]:
    """Each caveat as a sentence or two.

    Args:
        cure: What came of it.
        most_broken: Share of right images that might break.
    """
    verdict = cure.verdict
    mistakes, right = len(verdict.cured), len(verdict.broken)
    if mistakes and mistakes < _FEW:
        low, high = verdict.cured_interval
        yield (
            f"Only {mistakes} mistakes judged, so the share that is cured may as well be {100 * low:.0f} % as "
            f"{100 * high:.0f} %. Give more mistakes of the same kind."
        )
    if right and right * most_broken < 1:
        yield (
            f"Only {right:,} right images judged, so that by the rule not one of them may break, and up to "
            f"{100 * verdict.broken_interval[1]:.1f} % of others may break unseen. Give more images that "
            "must stay right."
        )
    for name, places in cure.parts.items():
        if len(left_out := places["left out"]):
            is_what = "that the model gets right" if name == "mistakes" else "that the model gets wrong"
            yield f"{len(left_out):,} of the images given as {name} were left out, {is_what}."
    if not cure.alternatives and mistakes:
        yield "Nothing else was tried with the same budget, so it is not known whether it matters what was changed."
