"""A bandit with Bernoulli rewards: which of some arms pays most often, found by playing mostly the good ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, log, sqrt
from typing import Any


@dataclass(frozen=True)
class BanditRun:
    """Every trial of a bandit.

    Attributes:
        values: What each arm stands for.
        arms: Arm of each trial.
        rewards: Reward of each trial.
    """

    values: tuple[float, ...]
    arms: tuple[int, ...]
    rewards: tuple[float, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """Trials of each arm."""
        return tuple(self.arms.count(arm) for arm in range(len(self.values)))

    @property
    def means(self) -> tuple[float, ...]:
        """Mean reward of each arm; NaN for one that was never tried."""
        sums = [0.0] * len(self.values)
        for arm, reward in zip(self.arms, self.rewards, strict=True):
            sums[arm] += reward
        return tuple(total / count if count else float("nan") for total, count in zip(sums, self.counts, strict=True))

    @property
    def best(self) -> float:
        """The value with the highest mean reward; of equal ones that tried more often, then the first."""
        played = [arm for arm, count in enumerate(self.counts) if count]
        means, counts = self.means, self.counts
        return self.values[max(played, key=lambda arm: (means[arm], counts[arm], -arm))]

    def to_table(self) -> list[dict[str, Any]]:
        """One row per trial: trial, arm, value, reward."""
        return [
            {"trial": trial, "arm": arm, "value": self.values[arm], "reward": reward}
            for trial, (arm, reward) in enumerate(zip(self.arms, self.rewards, strict=True))
        ]


def upper_confidence_bound(values: tuple[float, ...], reward: Callable[[float, int], float], trials: int) -> BanditRun:
    """Play UCB1: each arm once, then always the one with the highest ``mean + √(2 ln t / n)``.

    Args:
        values: What the arms stand for.
        reward: From an arm's value and the number of the trial to a reward in [0, 1].
        trials: How many.

    References:
        Auer, Cesa-Bianchi and Fischer, *Finite-time Analysis of the Multiarmed Bandit Problem*, Machine Learning 47
        (2002), figure 1.

    >>> run = upper_confidence_bound((0.1, 0.9), lambda value, trial: float(trial % 10 < 10 * value), 200)
    >>> run.best, run.counts[1] > run.counts[0]
    (0.9, True)
    """
    sums, counts = [0.0] * len(values), [0] * len(values)
    arms, rewards = [], []
    for trial in range(trials):
        bounds = [
            total / count + sqrt(2 * log(trial) / count) if count else inf
            for total, count in zip(sums, counts, strict=True)
        ]
        arm = bounds.index(max(bounds))
        got = reward(values[arm], trial)
        sums[arm] += got
        counts[arm] += 1
        arms.append(arm)
        rewards.append(got)
    return BanditRun(values, tuple(arms), tuple(rewards))
