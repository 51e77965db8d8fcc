"""Generalized Pareto tails: survival, density, goodness of fit, and the score of a profile in its tails."""

from __future__ import annotations

import torch
from torch import Tensor

ZERO_PROBABILITY = 745.2
"""Nats from which on a probability is 0 in double precision: the smallest positive number is exp(-744.44)."""


def pareto_log_survival(excess: Tensor, shape: Tensor, scale: Tensor) -> Tensor:
    """Log probability that a generalized Pareto variable is larger.

    ``log P(Y > y) = -log(1 + ξ y / σ) / ξ``, ``-y / σ`` at ξ = 0, and -inf from the finite end ``-σ / ξ`` of a tail
    with ξ < 0 on. Continuous in ξ; differentiable in y and σ before the end.

    Args:
        excess: y, at least 0.
        shape: ξ; all three arguments are broadcast.
        scale: σ, in the unit of ``excess``, above 0.

    Returns:
        Nats, at most 0.

    References:
        Pickands, *Statistical inference using extreme order statistics* (1975); Wang and Sato, arXiv 2310.17951, eq. 4.

    >>> pareto_log_survival(torch.tensor([1.0, 1.0, 3.0]), torch.tensor([0.0, 1.0, -0.5]), torch.tensor(1.0))
    tensor([-1.0000, -0.6931,    -inf])
    """
    ratio = excess / scale
    product = shape * ratio
    # Where the product underflows, the tail is exponential as far as this number goes.
    curved, inside = product.abs() > torch.finfo(product.dtype).tiny, product > -1
    # Both branches of `where` are differentiated: neither may see what only the other can take.
    logarithm = torch.log1p(torch.where(curved & inside, product, 0.0)) / torch.where(curved, shape, 1.0)
    return torch.where(inside, -torch.where(curved, logarithm, ratio), -torch.inf)


def pareto_log_density(excess: Tensor, shape: Tensor, scale: Tensor) -> Tensor:
    """Log density of a generalized Pareto variable, ``-log σ + (1 + ξ) log P(Y > y)``; -inf beyond a finite end.

    Args:
        excess: y, at least 0.
        shape: ξ above -1; all three arguments are broadcast.
        scale: σ, above 0.

    >>> pareto_log_density(torch.tensor(2.0), torch.tensor(0.0), torch.tensor(1.0))
    tensor(-2.)
    """
    return (1 + shape) * pareto_log_survival(excess, shape, scale) - scale.log()


def anderson_darling(excesses: Tensor, shape: Tensor, scale: Tensor) -> Tensor:
    """Anderson-Darling distance of excesses from a generalized Pareto distribution.

    ``A² = -n - Σ_i [(2i - 1) log F(y_i) + (2n + 1 - 2i) log(1 - F(y_i))] / n`` over the ascending excesses y_1 ... y_n.

    Args:
        excesses: ``(F, K)``; entries that are not above 0 are absent.
        shape: ξ, ``(F,)``.
        scale: σ, ``(F,)``.

    Returns:
        ``(F,)``; NaN for a row without excesses.

    References:
        Anderson and Darling, *A test of goodness of fit* (1954); Choulakian and Stephens, *Goodness-of-fit tests for
        the generalized Pareto distribution* (2001).

    >>> anderson_darling(torch.tensor([[0.2, 0.7, 1.6]]), torch.tensor([0.0]), torch.tensor([1.0]))
    tensor([0.1981])
    """
    falling = excesses.sort(dim=1, descending=True).values
    there = falling > 0
    count = there.sum(dim=1, keepdim=True)
    place = torch.arange(1, excesses.shape[1] + 1, device=excesses.device)
    above = pareto_log_survival(falling.clamp(min=0), shape[:, None], scale[:, None])
    below = torch.log(-torch.expm1(above))
    terms = (2 * (count - place) + 1) * below + (2 * place - 1) * above
    total = torch.where(there, terms, 0.0).sum(dim=1)
    return torch.where(count[:, 0] > 0, -count[:, 0] - total / count[:, 0], torch.nan)


def tail_scores(excess: Tensor, rate: Tensor, shape: Tensor, scale: Tensor) -> Tensor:
    """How improbable a profile's excesses over the thresholds are, in nats.

    ``-log p`` with ``p = rate · P(Y > excess)``, and 0 (p = 1) at or below the threshold. Beyond the finite end of a
    tail p is 0: the score is then :data:`ZERO_PROBABILITY`, or the image's highest finite score where that is more,
    plus ``log(1 + excess / σ)``, so that those filters come first and in the order of how far they lie out. A filter
    without a tail (rate 0) scores a hair below 0, so that no ranking puts it first.

    Args:
        excess: Profile minus threshold, ``(N, F)``.
        rate: Share of the reference set above the threshold, ``(F,)``.
        shape: ξ, ``(F,)``.
        scale: σ, ``(F,)``.

    Returns:
        ``(N, F)``; differentiable in ``excess``.

    References:
        Wang and Sato, arXiv 2310.17951, eq. 5.

    >>> rate, shape, scale = torch.tensor([0.1, 0.1]), torch.tensor([0.0, -0.5]), torch.tensor([1.0, 1.0])
    >>> tail_scores(torch.tensor([[-1.0, 1.0], [2.0, 3.0]]), rate, shape, scale)
    tensor([[  0.0000,   3.6889],
            [  4.3026, 746.5863]])
    """
    living = rate > 0
    beyond = living & (excess > 0)
    # A safe excess where there is none keeps NaN out of the gradient.
    reached = torch.where(beyond, excess, 0.0)
    log_survival = pareto_log_survival(reached, torch.where(living, shape, 0.0), torch.where(living, scale, 1.0))
    ended = torch.isinf(log_survival)
    finite = torch.where(beyond & ~ended, -log_survival - torch.where(living, rate, 1.0).log(), 0.0)
    first = finite.detach().amax(dim=1, keepdim=True).clamp(min=ZERO_PROBABILITY)
    scores = torch.where(ended, first + torch.log1p(reached / torch.where(living, scale, 1.0)), finite)
    return torch.where(living, scores, -torch.finfo(torch.float32).tiny)


def normal_tail_scores(z: Tensor) -> Tensor:
    """How improbable z-scores are where the filters' saliencies are normal, in nats: ``-log(1 - Φ(z))``.

    It rises with z and is the same for all filters: under a normal tail, a ranking by z-scores is one by peaks over
    threshold (proposition 1). Real profiles have other tails; :func:`tail_scores` takes those that were observed.

    Args:
        z: From :func:`~captum_paramsal.functional.standardize`.

    Returns:
        The same shape, above 0; differentiable.

    References:
        Wang and Sato, arXiv 2310.17951, proposition 1.

    >>> normal_tail_scores(torch.tensor([0.0, 3.0]))
    tensor([0.6931, 6.6077])
    """
    scores: Tensor = -torch.special.log_ndtr(-z)
    return scores


def p_values_of(scores: Tensor) -> Tensor:
    """Tail probabilities from scores in nats: ``p = exp(-score)``.

    Args:
        scores: ``(N, F)`` from :func:`tail_scores`.

    Returns:
        ``(N, F)`` float64 in [0, 1]: 1 at or below the threshold, exactly 0 beyond the finite end of a tail.

    >>> p_values_of(torch.tensor([0.0, 2.302585, 745.2]))
    tensor([1.0000, 0.1000, 0.0000], dtype=torch.float64)
    """
    return torch.exp(-scores.double()).clamp(max=1.0)
