"""Are the p-values what they say? Observed against expected shares."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.viz.inputs import Values, as_values
from captum_paramsal.viz.style import INK, PALETTE, new_axes, styled

_DEVIATIONS = 1.96
_PER_DECADE = 10


def tail_levels(highest: float = 0.1) -> Tensor:
    """Levels that p-values are compared with: ten to a decade, from 0.0001 up to ``highest``; float64.

    >>> [round(level, 4) for level in tail_levels(0.001).tolist()][::2]
    [0.0001, 0.0002, 0.0003, 0.0004, 0.0006, 0.001]
    """
    levels = [10.0 ** (step / _PER_DECADE) for step in range(-4 * _PER_DECADE, 1)]
    return torch.tensor([level for level in levels if level <= highest], dtype=torch.float64)


def shares_per_image(p_values: Values, levels: Values) -> Tensor:
    """Share of each image's p-values at or below each level.

    Args:
        p_values: ``(N, F)`` in [0, 1].
        levels: ``(L,)``, ascending.

    Returns:
        ``(N, L)`` float64.

    Raises:
        InputError: No p-values, or values outside [0, 1].

    >>> shares_per_image(torch.tensor([[0.01, 0.5], [0.01, 0.02]]), torch.tensor([0.01, 0.1])).tolist()
    [[0.5, 0.5], [0.5, 1.0]]
    """
    rows = as_values(p_values)
    if rows.ndim != 2 or not rows.numel() or not ((rows >= 0) & (rows <= 1)).all():
        span = f" from {float(rows.min()):g} to {float(rows.max()):g}" if rows.numel() else ""
        message = f"Expected p-values (N, F) in [0, 1], got {tuple(rows.shape)}{span}."
        raise InputError(message)
    wanted = as_values(levels).to(rows).expand(len(rows), -1).contiguous()
    below = torch.searchsorted(rows.sort(dim=1).values, wanted, right=True)
    return below.double() / rows.shape[1]


def tail_shares(p_values: Values, levels: Values) -> tuple[Tensor, Tensor]:
    """Share of p-values at or below each level, and its standard error.

    The p-values of one image rise and fall together, so the error is taken between images: the spread of their
    shares, over the square root of their number.

    Args:
        p_values: ``(N, F)``, one row per image; or ``(N,)``, independent ones.
        levels: ``(L,)``, ascending.

    Returns:
        Shares and standard errors, ``(L,)`` float64; no error (NaN) for a single row.

    Raises:
        InputError: See :func:`shares_per_image`.

    >>> shares, errors = tail_shares(torch.tensor([[0.01, 0.5], [0.01, 0.02]]), torch.tensor([0.01, 0.1]))
    >>> shares.tolist(), errors.tolist()
    ([0.5, 0.75], [0.0, 0.25])
    """
    rows = as_values(p_values)
    shares = shares_per_image(rows[:, None] if rows.ndim == 1 else rows, levels)
    alone = torch.full_like(shares[0], torch.nan)
    return shares.mean(dim=0), shares.std(dim=0) / len(shares) ** 0.5 if len(shares) > 1 else alone


def calibration_plot(
    p_values: Values, ax: Axes | None = None, *, levels: Values | None = None, label: str = ""
) -> Axes:
    """Draw how often p-values fall below small levels, against how often they should.

    On data that the tails were not fitted on, from the same distribution, the curve lies on the diagonal within
    sampling error. Above it p-values are too small, and filters called unusual too easily.

    Args:
        p_values: ``(N, F)``, one row per image, as ``POTSaliency.p_values`` returns them; or ``(N,)``.
        ax: Where to draw; by default on a new figure.
        levels: Where to look, ascending; by default from 0.0001 to 0.1, beyond which the tails say nothing.
        label: Name of the curve, for a legend.

    Returns:
        The axes. The band covers the share, one level at a time, with probability 0.95.

    Raises:
        InputError: See :func:`tail_shares`.
    """
    places = tail_levels() if levels is None else levels
    shares, errors = tail_shares(p_values, places)
    return share_plot(places, [(label, shares, errors)], ax)


def share_plot(
    levels: Values,
    curves: Sequence[tuple[str, Values, Values]],
    ax: Axes | None = None,
    *,
    colors: Sequence[str] = PALETTE,
) -> Axes:
    """:func:`calibration_plot` for shares that are known already, of one or more groups.

    Args:
        levels: ``(L,)``, ascending.
        curves: Name, shares ``(L,)`` and standard errors ``(L,)`` of each group.
        ax: Where to draw; by default on a new figure.
        colors: One for each group.
    """
    x = as_values(levels).double()
    groups = [(name, as_values(values), as_values(errors)) for name, values, errors in curves]
    drawn = [values[values > 0] for _, values, _ in groups]
    floor = min([float(x[0]), *(float(values.min()) for values in drawn if len(values))])
    with styled():
        axes = new_axes(4.8, 4.2) if ax is None else ax
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.plot(x.numpy(), x.numpy(), color=INK, linewidth=0.8, linestyle="--", label="as it should be")
        for (name, values, errors), color in zip(groups, colors, strict=False):
            shown = values > 0
            place, share, error = (part[shown].numpy() for part in (x, values, errors.nan_to_num()))
            low = (share - _DEVIATIONS * error).clip(min=floor)
            axes.fill_between(place, low, share + _DEVIATIONS * error, color=color, alpha=0.15, linewidth=0)
            axes.plot(place, share, color=color, label=name or "_observed")
        axes.set_ylim(floor, None)
        axes.set_xlim(float(x[0]), float(x[-1]))
        axes.set_xlabel("p-value")
        axes.set_ylabel("share of p-values at or below it")
        axes.legend(loc="upper left")
    return axes
