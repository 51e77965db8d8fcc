"""UCB1 against a literal twin, and against what its inventors promise."""

from math import isnan, log, pi, sqrt

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from captum_paramsal.stats import BanditRun, upper_confidence_bound


def twin(machines, pull, trials):
    """Figure 1 of Auer et al., by loops: each machine once, then the one that maximizes x_j + sqrt(2 ln n / n_j)."""
    played, rewards = [], []
    for n in range(trials):
        best, highest = None, -1.0
        for j in range(machines):
            own = [reward for arm, reward in zip(played, rewards, strict=True) if arm == j]
            if not own:
                best = j
                break
            bound = sum(own) / len(own) + sqrt(2 * log(n) / len(own))
            if bound > highest:
                best, highest = j, bound
        played.append(best)
        rewards.append(pull(best, n))
    return played, rewards


@given(st.integers(1, 6), st.integers(1, 120), st.integers(0, 2**31))
@settings(deadline=None, derandomize=True)
def test_as_its_twin(machines, trials, seed):
    # Eighths add up without rounding, so that ties are ties in both.
    table = np.random.RandomState(seed).randint(0, 9, (trials, machines)) / 8
    played, rewards = twin(machines, lambda arm, n: float(table[n, arm]), trials)
    values = tuple(float(arm) for arm in range(machines))
    run = upper_confidence_bound(values, lambda value, trial: float(table[trial, int(value)]), trials)
    assert list(run.arms) == played
    assert list(run.rewards) == rewards
    assert run.values == values


def bernoulli(chances, trials, seed):
    draws = np.random.RandomState(seed).uniform(size=(trials, len(chances)))
    arms = tuple(float(arm) for arm in range(len(chances)))
    return upper_confidence_bound(arms, lambda arm, trial: float(draws[trial, int(arm)] < chances[int(arm)]), trials)


@pytest.mark.parametrize("chances", [(0.9, 0.6), (0.2, 0.5, 0.8), (0.1, 0.1, 0.1, 0.5)])
def test_regret(chances):
    trials, gaps = 2000, [max(chances) - chance for chance in chances]
    runs = [bernoulli(chances, trials, seed) for seed in range(30)]
    regrets = [sum(gap * count for gap, count in zip(gaps, run.counts, strict=True)) for run in runs]
    # Theorem 1 of Auer et al. bounds the expected regret.
    bound = 8 * sum(log(trials) / gap for gap in gaps if gap) + (1 + pi**2 / 3) * sum(gaps)
    at_random = trials * sum(gaps) / len(gaps)
    assert np.mean(regrets) <= bound
    assert np.mean(regrets) < at_random / 3
    best = float(np.argmax(chances))
    assert all(run.best == best for run in runs)


def test_every_arm_is_tried_before_any_is_tried_again():
    run = upper_confidence_bound((5.0, 6.0, 7.0), lambda value, _: float(value == 6.0), 9)
    assert run.arms[:3] == (0, 1, 2)
    assert run.rewards[:3] == (0, 1, 0)
    assert sum(run.counts) == len(run.arms) == len(run.rewards) == 9


def test_fewer_trials_than_arms():
    run = upper_confidence_bound((5.0, 6.0, 7.0), lambda *_: 0.0, 2)
    assert run.counts == (1, 1, 0)
    assert run.means[:2] == (0, 0)
    assert isnan(run.means[2])
    assert run.best == 5.0


@pytest.mark.parametrize(
    ("arms", "rewards", "best"),
    [
        ((0, 1, 1, 2), (0, 1, 0, 1), 3.0),  # the highest mean, though tried less often
        ((0, 1, 1, 2), (1, 1, 1, 0), 2.0),  # of equal means that tried more often
        ((0, 1, 2), (1, 1, 0), 1.0),  # then the first
    ],
)
def test_best(arms, rewards, best):
    assert BanditRun((1.0, 2.0, 3.0), arms, rewards).best == best


def test_table():
    run = BanditRun((0.1, 0.9), (1, 0), (1.0, 0.0))
    assert run.to_table() == [
        {"trial": 0, "arm": 1, "value": 0.9, "reward": 1.0},
        {"trial": 1, "arm": 0, "value": 0.1, "reward": 0.0},
    ]
