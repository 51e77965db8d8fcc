"""What a search for weights tried, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from matplotlib.axes import Axes

from captum_paramsal.errors import InputError
from captum_paramsal.viz.style import PALETTE, new_axes, styled

_KEYS = ("values", "arms", "rewards")
_SPREAD = 0.5
"""Share of the room of a value over which the weights' points stand beside each other."""


@dataclass(frozen=True)
class _Arm:
    """One value of one weight: trials, successes, and the ends of its interval."""

    trials: int
    successes: int
    low: float
    high: float

    @property
    def mean(self) -> float:
        return self.successes / self.trials

    @classmethod
    def of(cls, rewards: Sequence[float]) -> _Arm:
        # Not before it is needed: the metrics load Captum, and Captum pyplot.
        from captum_paramsal.metrics import share_interval  # noqa: PLC0415

        hits = torch.tensor(rewards) > 0
        return cls(len(hits), int(hits.sum()), *share_interval(hits))


def bandit_plot(
    history: Mapping[str, Mapping[str, Any]],
    ax: Axes | None = None,
    *,
    colors: Sequence[str] = PALETTE,
    title: str = "",
) -> Axes:
    """Draw the mean reward of every value that was tried, for each weight, with its interval and number of trials.

    The interval is Wilson's, at 95 %, as if the number of trials had been fixed beforehand. A bandit tries those values
    more often that were lucky before, so intervals of values that it gave up early say little: read which values the
    trials cannot tell apart.

    Args:
        history: For each weight the ``values`` that its arms stand for, and ``arms`` and ``rewards`` (0 or 1) of all
            trials, such as ``{name: vars(run) for name, run in search.history.items()}`` of a
            :class:`~captum_paramsal.traces.weight_search.WeightSearch`.
        ax: Where to draw; by default on a new figure.
        colors: One for each weight.
        title: Over the plot.

    Returns:
        The axes. A value without a trial has no point. Nothing is shown; ``ax.figure.savefig`` writes a file.

    Raises:
        InputError: No weights, something missing, arms that are none, or rewards other than 0 and 1.

    >>> run = {"values": (0.1, 1.0), "arms": (0, 1, 1, 1), "rewards": (0.0, 1.0, 1.0, 0.0)}
    >>> ax = bandit_plot({"preceding": run})
    >>> [text.get_text() for text in ax.texts]
    ['1', '3']
    """
    if not history or not colors:
        message = f"Expected at least one weight and one color, got {len(history)} and {len(colors)}."
        raise InputError(message)
    for name, run in history.items():
        _require_run(name, run)
    ticks = sorted({float(value) for run in history.values() for value in run["values"]})
    with styled():
        axes = new_axes(max(4.8, 0.9 * len(ticks)), 3.4) if ax is None else ax
        for number, (name, run) in enumerate(history.items()):
            shift = _SPREAD * ((number + 0.5) / len(history) - 0.5)
            places = [ticks.index(float(value)) + shift for value in run["values"]]
            _draw_weight(axes, name, places, _arms(run), colors[number % len(colors)])
        axes.set_xticks(range(len(ticks)), [f"{value:g}" for value in ticks])
        axes.set_xlim(-0.6, len(ticks) - 0.4)
        axes.margins(y=0.1)
        axes.set_ylim(0, None)
        axes.set_xlabel("value of the weight")
        axes.set_ylabel("mean reward")
        axes.set_title(title)
        axes.legend(title="numbers: trials", title_fontsize=8, alignment="left")
    return axes


def _arms(run: Mapping[str, Any]) -> list[_Arm | None]:
    """What came of each arm; None for one that was never tried."""
    rewards: list[list[float]] = [[] for _ in run["values"]]
    for arm, reward in zip(run["arms"], run["rewards"], strict=True):
        rewards[arm].append(reward)
    return [_Arm.of(rewarded) if rewarded else None for rewarded in rewards]


def _draw_weight(axes: Axes, name: str, places: Sequence[float], arms: Sequence[_Arm | None], color: str) -> None:
    tried = [(place, arm) for place, arm in zip(places, arms, strict=True) if arm is not None]
    for place, arm in tried:
        axes.plot([place, place], [arm.low, arm.high], color=color, linewidth=1.2, label="_interval")
        axes.annotate(
            str(arm.trials),
            (place, arm.high),
            (0, 3),
            textcoords="offset points",
            color=color,
            fontsize=7,
            horizontalalignment="center",
        )
    means = [arm.mean for _, arm in tried]
    axes.plot([place for place, _ in tried], means, "o", color=color, markersize=5, label=name)


def _require_run(name: str, run: Mapping[str, Any]) -> None:
    missing = [key for key in _KEYS if run.get(key) is None]
    if missing:
        message = f"Expected 'values', 'arms' and 'rewards' of {name!r}, got no {' and no '.join(map(repr, missing))}."
        raise InputError(message)
    values, arms, rewards = (list(run[key]) for key in _KEYS)
    if len(arms) != len(rewards) or not arms or not set(arms) <= set(range(len(values))):
        message = (
            f"Expected an arm from 0 to {len(values) - 1} and a reward for each trial of {name!r}, got {len(arms)} "
            f"arms from {min(arms, default=None)} to {max(arms, default=None)} and {len(rewards)} rewards."
        )
        raise InputError(message)
    odd = [reward for reward in rewards if reward not in (0, 1)]
    if odd:
        message = f"Expected rewards of 0 or 1 in {name!r}, got {odd[0]!r}."
        raise InputError(message)
