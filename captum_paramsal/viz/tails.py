"""Does the tail fit? Diagnostic plots of generalized Pareto tails, as extreme-value statistics draws them."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.axes import Axes
from scipy.special import betaincinv
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.viz.inputs import Values, as_values
from captum_paramsal.viz.style import INK, PALETTE, new_axes, new_panels, styled

_ENDS = (0.025, 0.975)
_DEVIATIONS = 1.96
"""Standard errors to either side that cover 95 % of a normal distribution."""
_POINTS = 400
_FEWEST_EXCEEDANCES = 5
_STRAIGHT = 1e-8
_MOST_COUNTS = 10


def qq_points(excesses: Values, shape: float, scale: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Quantiles of a fitted tail beside those observed, and where the observed ones may lie if the fit is right.

    Of n excesses in ascending order, number i stands beside the fit's quantile at i / (n + 1). The envelope is exact
    at each place for a fit that is known, not estimated: order statistic i of n uniform values is Beta(i, n + 1 - i).

    Args:
        excesses: Values less threshold, in any order; entries of 0 and below are absent ones.
        shape: ξ of the generalized Pareto distribution.
        scale: Its scale above 0, in units of the excesses.

    Returns:
        Fitted quantiles, observed quantiles, lower and upper end of the envelope, each ``(n,)`` float64 ascending.

    Raises:
        InputError: No excess, values that are not finite, or a scale that is not positive.

    References:
        Coles, *An Introduction to Statistical Modeling of Extreme Values*, section 4.3.5.

    >>> fitted, observed, low, high = qq_points(torch.tensor([3.0, 0.0, 1.0]), shape=0.0, scale=1.0)
    >>> observed.tolist(), [round(q, 3) for q in fitted.tolist()]
    ([1.0, 3.0], [0.405, 1.099])
    """
    present = as_values(excesses).double().flatten()
    present = present[~(present <= 0)].sort().values
    if not len(present) or not present.isfinite().all() or not 0 < scale < torch.inf:
        message = (
            f"Expected finite excesses, at least one above 0, and a `scale` above 0, got {len(present)} excesses "
            f"and {scale}."
        )
        raise InputError(message)
    count = len(present)
    rank = torch.arange(1, count + 1, dtype=torch.float64)
    ends = (torch.from_numpy(betaincinv(rank.numpy(), (count + 1 - rank).numpy(), end)) for end in _ENDS)
    shares = (rank / (count + 1), *ends)
    fitted, low, high = (_pareto_quantile(share, shape, scale) for share in shares)
    return fitted, present, low, high


def qq_plot(excesses: Values, shape: float, scale: float, ax: Axes | None = None, *, title: str = "") -> Axes:
    """Draw observed excesses against the quantiles of their fitted tail; on the line where the fit is right.

    Args:
        excesses: See :func:`qq_points`.
        shape: ξ of the generalized Pareto distribution.
        scale: Its scale above 0, in units of the excesses.
        ax: Where to draw; by default on a new figure.
        title: Over the plot.

    Returns:
        The axes. The shaded envelope holds each point, one at a time, with probability 0.95 under the fit.

    Raises:
        InputError: See :func:`qq_points`.
    """
    points = qq_points(excesses, shape, scale)
    shown = _spread(len(points[0]))
    fitted, observed, low, high = (values[shown].numpy() for values in points)
    with styled():
        axes = new_axes(4.2, 4.0) if ax is None else ax
        axes.fill_between(fitted, low, high, color=PALETTE[0], alpha=0.15, linewidth=0, label="95 % envelope")
        axes.axline((0.0, 0.0), slope=1.0, color=INK, linewidth=0.8, zorder=1.5)
        axes.plot(fitted, observed, "o", color=PALETTE[0], markersize=3.5, markeredgewidth=0, label="excesses")
        # A heavy tail's envelope is so wide at its end that the points would crowd in a corner.
        axes.set_ylim(0, 1.08 * max(float(observed[-1]), float(fitted[-1])))
        axes.set_xlim(0, 1.04 * float(fitted[-1]))
        axes.locator_params(nbins=5)
        axes.ticklabel_format(style="sci", scilimits=(-2, 3), useMathText=True)
        estimates = f"ξ = {_signed(shape)}, scale {scale:.2g}"
        axes.text(0.04, 0.96, estimates, transform=axes.transAxes, verticalalignment="top")
        axes.set_xlabel("quantile of the fit")
        axes.set_ylabel("observed excess")
        axes.set_title(title)
    return axes


def mean_excesses(values: Values) -> tuple[Tensor, Tensor, Tensor]:
    """Mean excess over rising thresholds, each value in turn being the threshold.

    Args:
        values: Sample, or the largest values of one; entries that are -inf are absent ones.

    Returns:
        Thresholds ascending, the mean of ``value - threshold`` over the values strictly above each, and its standard
        error; each ``(T,)`` float64. Thresholds that fewer than 5 values exceed are left out.

    Raises:
        InputError: NaN or +inf, or no threshold that 5 values exceed.

    >>> thresholds, means, _ = mean_excesses(torch.arange(8.0))
    >>> thresholds.tolist(), means.tolist()
    ([0.0, 1.0, 2.0], [4.0, 3.5, 3.0])
    """
    sample = as_values(values).double().flatten()
    ordered = sample[sample != -torch.inf].sort(descending=True).values
    if not ordered.isfinite().all():
        message = "Expected values that are finite, or -inf where absent, got NaN or infinity."
        raise InputError(message)
    thresholds, ties = ordered.unique_consecutive(return_counts=True)
    counts = ties.cumsum(0) - ties
    enough = counts >= _FEWEST_EXCEEDANCES
    if not enough.any():
        message = f"Expected a value that {_FEWEST_EXCEEDANCES} others exceed, got {len(ordered)} values in all."
        raise InputError(message)
    thresholds, counts = thresholds[enough], counts[enough]
    # Measured from the middle, so that the squares of large values do not drown their spread.
    centre = ordered.mean()
    mean = (ordered - centre).cumsum(0)[counts - 1] / counts
    square = (ordered - centre).square().cumsum(0)[counts - 1] / counts
    deviation = ((square - mean.square()).clamp(min=0) * counts / (counts - 1)).sqrt()
    return thresholds.flip(0), (mean + centre - thresholds).flip(0), (deviation / counts.sqrt()).flip(0)


def mean_excess_plot(values: Values, ax: Axes | None = None, *, threshold: float | None = None) -> Axes:
    """Draw the mean excess over rising thresholds; above a good threshold it is a straight line.

    Its slope there is ξ / (1 - ξ): level for an exponential tail, rising for a heavy one, falling for one that ends.

    Args:
        values: See :func:`mean_excesses`.
        ax: Where to draw; by default on a new figure.
        threshold: Where the tail was taken to begin, to be marked.

    Returns:
        The axes. The band covers the mean, one threshold at a time, with probability 0.95.

    Raises:
        InputError: See :func:`mean_excesses`.
    """
    thresholds, means, errors = (part.numpy() for part in mean_excesses(values))
    with styled():
        axes = new_axes(6.4, 3.6) if ax is None else ax
        low, high = means - _DEVIATIONS * errors, means + _DEVIATIONS * errors
        axes.fill_between(thresholds, low, high, color=PALETTE[0], alpha=0.15, linewidth=0, label="95 % band")
        axes.plot(thresholds, means, color=PALETTE[0], label="mean excess")
        if threshold is not None:
            axes.axvline(threshold, color=INK, linewidth=0.8, linestyle="--", label="threshold")
        axes.set_ylim(bottom=0)
        axes.set_xlabel("threshold")
        axes.set_ylabel("mean excess")
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, borderaxespad=0.2)
    return axes


def threshold_stability_plot(
    threshold: Values,
    count: Values,
    *,
    shape: Values,
    shape_error: Values,
    modified_scale: Values,
    modified_scale_error: Values,
    axes: tuple[Axes, Axes] | None = None,
) -> tuple[Axes, Axes]:
    """Draw shape and modified scale over rising thresholds; both stay level above a good threshold.

    The modified scale is ``scale - ξ · threshold``, which does not depend on the threshold where the tail is a
    generalized Pareto one. The arguments are the attributes of ``stats.ThresholdStability``.

    Args:
        threshold: ``(T,)``.
        count: Excesses over each.
        shape: ξ of the fit over each.
        shape_error: Its standard error.
        modified_scale: Of the fit over each, in units of the thresholds.
        modified_scale_error: Its standard error.
        axes: Where to draw shape and modified scale; by default one above the other on a new figure.

    Returns:
        Both axes. Bars cover, one threshold at a time, 95 %.

    Raises:
        InputError: Not as many of each.
    """
    given = (threshold, count, shape, shape_error, modified_scale, modified_scale_error)
    parts = [as_values(part) for part in given]
    if len({tuple(part.shape) for part in parts}) != 1 or parts[0].ndim != 1 or not len(parts[0]):
        got = ", ".join(str(tuple(part.shape)) for part in parts)
        message = f"Expected six tensors of one shape (T,), got {got}."
        raise InputError(message)
    with styled():
        upper, lower = new_panels(6.4, 5.2, 2) if axes is None else axes
        _draw_estimates(upper, parts[0], parts[2], parts[3])
        _draw_estimates(lower, parts[0], parts[4], parts[5])
        upper.axhline(0.0, color=INK, linewidth=0.6, zorder=1.5)
        upper.set_ylabel("shape ξ")
        lower.set_ylabel("modified scale")
        lower.set_xlabel("threshold")
        _draw_counts(upper, parts[0].tolist(), parts[1].tolist())
    return upper, lower


def _draw_estimates(axes: Axes, thresholds: Tensor, values: Tensor, errors: Tensor) -> None:
    x, y, bars = (part.detach().cpu().double().numpy() for part in (thresholds, values, _DEVIATIONS * errors))
    # Older versions of matplotlib warn of bars that are no numbers.
    axes.errorbar(
        x, y, yerr=np.nan_to_num(bars), fmt="o-", color=PALETTE[0], linewidth=0.9, elinewidth=0.9, markersize=3.5
    )


def _draw_counts(axes: Axes, thresholds: list[float], counts: list[float]) -> None:
    """Excesses over some of the thresholds, over the plot, no two of them closer than they can be read."""
    apart = (max(thresholds) - min(thresholds)) / _MOST_COUNTS
    shown = [0]
    for place, threshold in enumerate(thresholds):
        if threshold - thresholds[shown[-1]] > apart:
            shown.append(place)
    top = axes.secondary_xaxis("top")
    top.set_xticks([thresholds[place] for place in shown], [f"{counts[place]:.0f}" for place in shown])
    top.set_xlabel("excesses over the threshold")
    top.spines["top"].set_visible(False)


def _pareto_quantile(share: Tensor, shape: float, scale: float) -> Tensor:
    """Excess that a ``share`` of the tail stays below: ``scale · ((1 - share)^(-ξ) - 1) / ξ``."""
    exponential = -torch.log1p(-share)
    # expm1 joins the exponential tail smoothly as the shape goes to 0.
    growth = exponential if abs(shape) < _STRAIGHT else torch.expm1(shape * exponential) / shape
    return scale * growth


def _spread(count: int) -> Tensor:
    """Places of all points, or of a few hundred, dense where they are far apart: at the upper end."""
    if count <= _POINTS:
        return torch.arange(count)
    from_above = torch.logspace(0, 1, _POINTS, base=count, dtype=torch.float64).round().long()
    places: Tensor = (count - from_above).unique()
    return places


def _signed(number: float) -> str:
    return f"{number:.2f}".replace("-", "\N{MINUS SIGN}")
