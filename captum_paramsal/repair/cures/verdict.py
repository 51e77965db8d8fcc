"""Whether a cure is kept: a rule that is fixed before its images are looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.metrics.shares import share_interval, share_of
from captum_paramsal.stats import mcnemar

Status = Literal["kept", "refused", "too few"]


@dataclass(frozen=True)
class AcceptanceRule:
    """When a cure is kept.

    All three must hold, on mistakes and right images that neither taught nor chose it: more mistakes are cured than
    right images broken, by McNemar's exact test; the share of broken ones is at most ``most_broken``; the share of
    cured ones is at least ``least_cured``.

    Attributes:
        level: Chance, at most, that a change that cures as often as it breaks is kept.
        most_broken: Share of right images that may break.
        least_cured: Share of mistakes that must be cured.

    Raises:
        InputError: A share or the level outside of 0 to 1.
    """

    level: float = 0.05
    most_broken: float = 0.005
    least_cured: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value <= 1:
                message = f"Expected `{name}` from 0 to 1, got {value}."
                raise InputError(message)

    def judge(self, cured: Tensor, broken: Tensor) -> Verdict:
        """Judge by which mistakes are cured, ``(M,)`` bool, and which right images are broken, ``(K,)`` bool.

        >>> AcceptanceRule().judge(torch.ones(10) > 0, torch.zeros(200) > 0).status
        'kept'
        """
        cures, breaks, p_value = int(cured.sum()), int(broken.sum()), mcnemar(int(cured.sum()), int(broken.sum()))
        found = f"it cured {cures} of {len(cured)} mistakes and broke {breaks} of {len(broken)} right images"
        status: Status = "refused"
        if breaks > self.most_broken * len(broken):
            reason = f"Refused: {found}, more than {self.most_broken:.2%} of them."
        elif cures <= breaks:
            reason = f"Refused: {found}: it cures no more than it breaks."
        elif p_value > self.level:
            reason = f"Refused: {found}, which chance does as well (p = {p_value:.2g}, above {self.level:g})."
        elif cures < self.least_cured * len(cured):
            reason = f"Refused: {found}, fewer cured than {self.least_cured:.0%}."
        else:
            status, reason = "kept", f"Kept: {found} (p = {p_value:.2g})."
        return Verdict(status, reason, cured.cpu(), broken.cpu(), p_value)


@dataclass(frozen=True, eq=False)
class Verdict:
    """What the judging images say.

    Attributes:
        status: "kept", "refused", or "too few" mistakes to tell.
        reason: Why, in a sentence.
        cured: Which of the judging mistakes are cured, ``(M,)`` bool; none where it did not come to that.
        broken: Which of the judging right images are broken, ``(K,)`` bool.
        p_value: Of McNemar's exact test, two-sided.
    """

    status: Status
    reason: str
    cured: Tensor
    broken: Tensor
    p_value: float

    @classmethod
    def without_judges(cls, status: Status, reason: str) -> Verdict:
        """A verdict before the judging images were looked at."""
        none = torch.zeros(0, dtype=torch.bool)
        return cls(status, reason, none, none, 1.0)

    @property
    def cured_share(self) -> float:
        """Share of the judging mistakes that are cured; NaN without any."""
        return share_of(self.cured)

    @property
    def broken_share(self) -> float:
        """Share of the judging right images that are broken; NaN without any."""
        return share_of(self.broken)

    @property
    def cured_interval(self) -> tuple[float, float]:
        """95 % interval of the cured share."""
        return share_interval(self.cured)

    @property
    def broken_interval(self) -> tuple[float, float]:
        """95 % interval of the broken share."""
        return share_interval(self.broken)
