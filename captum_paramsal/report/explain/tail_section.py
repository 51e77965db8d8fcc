"""What the page says about p-values: their check, and the tails they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from markupsafe import Markup

from captum_paramsal.report.explain.calibration import Calibration, Shares
from captum_paramsal.report.explain.tail_summary import TailExample, TailSummary
from captum_paramsal.report.shared.environment import probability
from captum_paramsal.viz import INK, PALETTE, new_axes, qq_plot, share_plot, to_svg

_CHECKED = (0.01, 0.001)
_SURE = 2.0
"""Standard errors from which on a difference is not taken for chance."""
_GROUPS = (
    ("overall", "all images", INK),
    ("correct", "correct images", PALETTE[0]),
    ("mistakes", "mistakes", PALETTE[1]),
)


@dataclass(frozen=True)
class Check:
    """One row of the table: how many p-values lie below a level.

    Attributes:
        level: The share that there should be.
        share: The share that there is.
        error: Two standard errors of it.
        verdict: What that means.
        good: Whether it is as it should be.
        correct: The share on correctly classified images; None without any.
        mistakes: The share on mistakes; None without any.
        beyond: Rarer than one image of the reference, so the fit alone speaks.
    """

    level: float
    share: float
    error: float
    verdict: str
    good: bool
    correct: float | None
    mistakes: float | None
    beyond: bool


@dataclass(frozen=True)
class TailSection:
    """Everything that the section shows."""

    tails: TailSummary
    calibration: Calibration
    checks: Sequence[Check]
    picture: Markup
    quantiles: Sequence[tuple[TailExample, Markup]]


def tail_section(tails: TailSummary, calibration: Calibration) -> TailSection:
    """Put the section together."""
    checks = [check for level in _CHECKED for check in _checks(calibration, level)]
    quantiles = [(example, _quantiles(example, number)) for number, example in enumerate(tails.examples)]
    return TailSection(tails, calibration, checks, _picture(calibration, checks), quantiles)


def _checks(calibration: Calibration, level: float) -> list[Check]:
    places = [place for place, known in enumerate(calibration.levels) if abs(known / level - 1) < 1e-6]
    return [_check(calibration, place) for place in places]


def _check(calibration: Calibration, place: int) -> Check:
    level, overall = calibration.levels[place], calibration.overall
    share, error = overall.share[place], overall.error[place]
    verdict, good = _verdict(level, share, error)
    return Check(
        level=level,
        share=share,
        error=_SURE * error,
        verdict=verdict,
        good=good,
        correct=_share(calibration.correct, place),
        mistakes=_share(calibration.mistakes, place),
        beyond=level * calibration.reference_images < 1,
    )


def _verdict(level: float, share: float, error: float) -> tuple[str, bool]:
    if error == 0:
        return "too few images to tell", False
    # Where few p-values are found, few are there to show their spread: it grows with the root of their share.
    expected = error * max(1.0, level / share) ** 0.5
    if abs(share - level) <= _SURE * expected:
        return "as it should be, within sampling error", True
    if share > level:
        return "too often: p-values come out too small", False
    return "too seldom: p-values come out too large, on the safe side", False


def _share(group: Shares, place: int) -> float | None:
    return group.share[place] if group.images else None


def _picture(calibration: Calibration, checks: Sequence[Check]) -> Markup:
    if not calibration.levels:
        return Markup()
    groups = [(name, color, getattr(calibration, key)) for key, name, color in _GROUPS]
    drawn = [(name, color, group) for name, color, group in groups if group.images]
    curves = [
        (name, torch.tensor(group.share, dtype=torch.float64), torch.tensor(group.error, dtype=torch.float64))
        for name, _, group in drawn
    ]
    levels = torch.tensor(calibration.levels, dtype=torch.float64)
    axes = share_plot(levels, curves, new_axes(4.6, 4.0), colors=[color for _, color, _ in drawn])
    said = "; ".join(f"{check.share:.2%} of all p-values are at most {check.level:g}" for check in checks)
    description = f"Share of p-values at or below each level, against the level. {said}."
    return Markup(to_svg(axes, description, prefix="calibration-"))  # noqa: S704 -- matplotlib escapes its texts


def _quantiles(example: TailExample, number: int) -> Markup:
    excesses = torch.tensor(example.excesses, dtype=torch.float64)
    axes = qq_plot(excesses, example.shape, example.scale, new_axes(3.4, 3.3))
    description = (
        f"Observed excesses of {example.filter} against the quantiles of the fitted tail; "
        f"Anderson-Darling p-value {probability(example.goodness_of_fit)}."
    )
    return Markup(to_svg(axes, description, prefix=f"tail-{number}-"))  # noqa: S704 -- matplotlib escapes its texts
