"""Whether one of two classifiers gets more of the same images right than chance would have it."""

from __future__ import annotations

from scipy.stats import binomtest


def mcnemar(better: int, worse: int) -> float:
    """Two-sided p-value of the exact McNemar test, of as many images turned right as turned wrong.

    Args:
        better: Images that one classifier gets right and the other wrong.
        worse: The reverse.

    Returns:
        The chance of a difference as large or larger where each such image is as likely to be of either kind; 1 where
        there are none.

    References:
        McNemar, *Note on the sampling error of the difference between correlated proportions*, Psychometrika 12 (1947).

    >>> mcnemar(0, 5), mcnemar(0, 0)
    (0.0625, 1.0)
    """
    changed = better + worse
    return float(binomtest(better, changed).pvalue) if changed else 1.0
