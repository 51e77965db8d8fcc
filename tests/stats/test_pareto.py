"""Fits of many generalized Pareto tails at once: against SciPy, Grimshaw's equation and simulated truth.

SciPy's likelihood is the bar wherever its shape is above -1. Beyond that the likelihood has no bound, SciPy stops
somewhere on the way up, and the bar is Grimshaw's: the highest local maximum above shape -1 or, where there is none,
the uniform distribution that ends at the largest value. That second bar holds everywhere, so no case is left out.
"""

import itertools
import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch
from oracles.generalized_pareto import (
    anderson_darling as anderson_darling_loop,
    grimshaw,
    log_density,
    log_likelihood,
    log_survival,
    scipy_fit,
    simulate,
)
from scipy.stats import kstest

from captum_paramsal.errors import ParamsalError
from captum_paramsal.functional import anderson_darling, pareto_log_density, pareto_log_survival
from captum_paramsal.stats import GeneralizedPareto, threshold_stability

SHAPES = [-0.5, -0.4, -0.25, -0.1, 0.0, 0.1, 0.25, 0.5, 0.75, 1.0]
SCALES = [1e-8, 1e-4, 1.0, 1e4]


def padded(samples):
    """Samples of any lengths as one matrix with zeros behind the shorter ones."""
    width = max(len(y) for y in samples)
    return torch.tensor(np.stack([np.pad(y, (0, width - len(y))) for y in samples]))


def assert_as_likely_as_the_best(samples, names):
    fits = GeneralizedPareto.fit(padded(samples))
    failures = []
    for row, (y, name) in enumerate(zip(samples, names, strict=True)):
        shape, scale = float(fits.shape[row]), float(fits.scale[row])
        assert shape > -1, name
        assert scale > 0, name
        ours = log_likelihood(y, shape, scale)
        assert float(fits.log_likelihood[row]) == pytest.approx(ours, rel=1e-9, abs=1e-9 * len(y)), name
        theirs = scipy_fit(y)
        bars = [grimshaw(y).log_likelihood, *([theirs.log_likelihood] if theirs.shape > -1 else [])]
        if ours < max(bars) - 1e-6 * len(y):
            missing = max(bars) - ours
            failures.append(f"{name}: shape {shape:.4g} is {missing:.3g} less likely than SciPy's {theirs.shape:.4g}")
    assert not failures, f"{len(failures)} of {len(samples)}: " + "; ".join(failures[:6])


def grid(sizes, scales, levels, seed):
    """One sample for every combination, its name beside it."""
    rng = np.random.default_rng(seed)
    cases = list(itertools.product(SHAPES, sizes, scales, levels))
    names = [f"shape {c[0]}, n {c[1]}, scale {c[2]:g}, levels {c[3]}" for c in cases]
    return [simulate(rng, n, shape, scale, steps) for shape, n, scale, steps in cases], names


@pytest.mark.parametrize(
    ("n", "scale", "levels"),
    [
        (20, 1e-8, None),
        (20, 1.0, 5),
        pytest.param(50, 1e4, None, marks=pytest.mark.slow),
        pytest.param(500, 1e-8, 3, marks=pytest.mark.slow),
        pytest.param(5000, 1e-4, None, marks=pytest.mark.slow),
    ],
)
def test_as_likely_as_scipy(n, scale, levels):
    assert_as_likely_as_the_best(*grid([n], [scale], [levels], seed=n))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n", [20, 50, 500, 5000])
def test_as_likely_as_scipy_on_every_scale_with_and_without_ties(n, seed):
    assert_as_likely_as_the_best(*grid([n], SCALES, [None, 20, 3], seed=1000 * seed + n))


def test_as_likely_as_scipy_on_tails_that_are_not_pareto():
    rng = np.random.default_rng(8)
    rows = {
        "lognormal": np.sort(rng.lognormal(-5, 1.34, 3000))[-300:],
        "gamma": np.sort(rng.gamma(0.5, size=3000))[-300:],
        "normal": np.sort(np.abs(rng.normal(size=3000)))[-300:],
        "uniform": np.sort(rng.random(3000))[-300:],
        "beta": np.sort(rng.beta(2, 5, 3000))[-300:],
        "Cauchy": np.sort(np.abs(rng.standard_cauchy(3000)))[-300:],
    }
    samples = [(y - y[0])[1:] for y in rows.values()]
    far = rng.exponential(size=100)
    far[7] = 1e6  # one value dwarfs all others
    small = 1 + 1e-3 * rng.random(100)  # all values far from 0 and close to each other
    assert_as_likely_as_the_best([*samples, far, small], [*rows, "one far value", "all nearly equal"])


@pytest.mark.parametrize("n", [20, 200])
def test_values_that_are_all_equal(n):
    assert_as_likely_as_the_best([np.full(n, value) for value in (1e-8, 0.3, 7e3)], ["tiny", "middle", "large"])


@pytest.mark.parametrize("factor", [2.0**-40, 1e-8, 3.0, 1e4, 1e-30])
def test_a_change_of_units_changes_the_scale_only(factor):
    rng = np.random.default_rng(3)
    y = torch.tensor(np.stack([simulate(rng, 300, shape, 1.0) for shape in SHAPES]))
    plain, scaled = GeneralizedPareto.fit(y), GeneralizedPareto.fit(y * factor)
    close = {"rtol": 1e-6, "atol": 1e-7}
    torch.testing.assert_close(scaled.shape, plain.shape, **close)
    torch.testing.assert_close(scaled.scale / factor, plain.scale, **close)
    torch.testing.assert_close(scaled.shape_error, plain.shape_error, **close)
    torch.testing.assert_close(scaled.scale_error / factor, plain.scale_error, **close)
    likelihood = plain.log_likelihood - plain.count.double() * math.log(factor)
    torch.testing.assert_close(scaled.log_likelihood, likelihood, rtol=1e-9, atol=1e-6)
    torch.testing.assert_close(scaled.anderson_darling(y * factor), plain.anderson_darling(y), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("method", ["mle", "exponential"])
def test_padding_order_and_company_change_nothing(method):
    rng = np.random.default_rng(4)
    samples = [simulate(rng, n, shape, 1e-3) for shape in SHAPES for n in (7, 25, 400)]
    together = GeneralizedPareto.fit(padded(samples), method=method)
    for row, y in enumerate(samples):
        spread = np.zeros(len(y) + 9)
        spread[rng.permutation(len(spread))[: len(y)]] = rng.permutation(y)
        spread[spread == 0] = rng.choice([0.0, -1.0], size=9)
        alone = GeneralizedPareto.fit(torch.tensor(spread[None]), method=method)
        assert alone.count.tolist() == [len(y)]
        assert alone.count.dtype == torch.int64
        for name in ("shape", "scale", "shape_error", "scale_error", "log_likelihood"):
            got, expected = getattr(alone, name)[0], getattr(together, name)[row]
            assert got.dtype == torch.float64
            torch.testing.assert_close(
                got, expected, rtol=1e-6, atol=1e-9, equal_nan=True, msg=lambda m, name=name: f"{name}: {m}"
            )


def test_the_exponential_is_the_mean():
    rng = np.random.default_rng(5)
    samples = [simulate(rng, n, shape, scale) for shape in (-0.4, 0.5) for n, scale in ((5, 1e-8), (900, 10.0))]
    fits = GeneralizedPareto.fit(padded(samples), method="exponential")
    for row, y in enumerate(samples):
        assert float(fits.shape[row]) == 0
        assert float(fits.scale[row]) == pytest.approx(y.mean(), rel=1e-12)
        assert float(fits.scale_error[row]) == pytest.approx(y.mean() / math.sqrt(len(y)), rel=1e-9)
        assert float(fits.log_likelihood[row]) == pytest.approx(log_likelihood(y, 0, y.mean()), rel=1e-12)


def test_fewer_than_twenty_excesses_fall_back_to_the_exponential():
    rng = np.random.default_rng(6)
    sizes = [0, 1, 2, 19, 20, 21]
    samples = [simulate(rng, n, 0.8, 1e-3) for n in sizes]
    fits = GeneralizedPareto.fit(padded(samples))
    assert fits.fallback.tolist() == [n < 20 for n in sizes]
    assert fits.count.tolist() == sizes
    for row in (1, 2, 3):
        assert float(fits.shape[row]) == 0
        assert float(fits.scale[row]) == pytest.approx(samples[row].mean(), rel=1e-12)
    assert (fits.shape[4:] != 0).all()
    assert fits.scale[1:].isfinite().all()


@pytest.mark.parametrize(
    ("shape", "n"),
    [
        (0.0, 500),
        (0.5, 1000),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in ((-0.25, 2000), (0.25, 500), (1.0, 1000))),
    ],
)
def test_standard_errors_cover_the_truth_as_often_as_they_should(shape, n):
    # 2,000 samples: the share itself has a standard error of 1 % at 68 %; the normal approximation takes another.
    rng = np.random.default_rng(int(100 * shape) + n)
    fits = GeneralizedPareto.fit(torch.tensor(simulate(rng, (2000, n), shape, 2.5e-6)))
    for truth, found, error in (
        (shape, fits.shape, fits.shape_error),
        (2.5e-6, fits.scale, fits.scale_error),
    ):
        off = ((found - truth) / error).abs()
        for width, share in ((1.0, 0.6827), (1.96, 0.95)):
            covered = float((off <= width).double().mean())
            assert covered == pytest.approx(share, abs=0.035), f"{covered:.3f} within {width} errors of {truth:g}"
    # Smith (1985): variances (1 + shape)^2 / n and 2 scale^2 (1 + shape) / n.
    typical = fits.shape_error.median(), fits.scale_error.median() / 2.5e-6
    expected = (1 + shape) / math.sqrt(n), math.sqrt(2 * (1 + shape) / n)
    for got, wanted in zip(typical, expected, strict=True):
        assert float(got) == pytest.approx(wanted, rel=0.1)


def test_the_shape_passes_smoothly_through_zero():
    # Quantiles of an exponential, bent ever so slightly: the fitted shape follows the bend.
    e = -np.log1p(-(np.arange(1, 201) - 0.5) / 200)
    bends = np.linspace(-0.05, 0.05, 201)
    rows = np.stack([e if bend == 0 else np.expm1(bend * e) / bend for bend in bends])
    fits = GeneralizedPareto.fit(torch.tensor(rows))
    assert fits.shape.min() < 0 < fits.shape.max()
    for name in ("shape", "scale", "log_likelihood", "shape_error", "scale_error"):
        steps = getattr(fits, name).diff()
        off = (steps - steps.median()).abs().max() / steps.abs().median()
        assert float(off) < 0.2, f"{name}: a step of the wrong size, {float(off):.3g} of the usual one"
    assert (fits.shape.diff() > 0).all()


NEAR_ZERO = [sign * 10.0**-k for k in (20, 16, 12, 10, 8, 7, 6, 5, 4, 3, 2, 1) for sign in (1, -1)]


def exact_log_survival(y, shape):
    """Log P(Y > y) at scale 1 with sixty digits."""
    with localcontext() as context:
        context.prec = 60
        inside = 1 + Decimal(shape) * Decimal(y)
        return float(-inside.ln() / Decimal(shape)) if inside > 0 else -math.inf


@pytest.mark.parametrize("shape", [*NEAR_ZERO, 0.75, -0.75])
@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e4])
def test_survival_and_density_to_the_last_digits(shape, scale):
    z = [1e-12, 1e-6, 0.01, 0.3, 1.0, 5.0, 40.0, 700.0]
    y = torch.tensor(z, dtype=torch.float64) * scale
    given = (y, torch.tensor(shape, dtype=torch.float64), torch.tensor(scale, dtype=torch.float64))
    expected = torch.tensor([exact_log_survival(value, shape) for value in (y / scale).tolist()], dtype=torch.float64)
    torch.testing.assert_close(pareto_log_survival(*given), expected, rtol=1e-11, atol=0)
    density = torch.tensor([log_density(float(value), shape, scale) for value in y], dtype=torch.float64)
    torch.testing.assert_close(pareto_log_density(*given), density, rtol=1e-10, atol=1e-12)


def test_the_exponential_is_the_limit():
    y = torch.tensor([1e-6, 0.5, 3.0, 600.0], dtype=torch.float64)
    one = torch.ones((), dtype=torch.float64)
    for shape in (0.0, 1e-300, -1e-300, 5e-324):
        got = pareto_log_survival(y, one * shape, one)
        torch.testing.assert_close(got, -y, rtol=1e-14, atol=0)
        density = pareto_log_density(y, one * shape, 2 * one)
        torch.testing.assert_close(density, -y / 2 - math.log(2), rtol=1e-14, atol=0)


def test_survival_at_the_start_at_the_end_and_beyond():
    shape, scale = torch.tensor([-0.5], dtype=torch.float64), torch.tensor([3.0], dtype=torch.float64)
    y = torch.tensor([0.0, 5.999999, 6.0, 6.1, 1e9], dtype=torch.float64)
    survival = pareto_log_survival(y, shape, scale)
    assert survival[0] == 0
    assert survival[1].isfinite()
    assert survival[2:].tolist() == [-math.inf] * 3
    assert pareto_log_density(y, shape, scale)[3:].tolist() == [-math.inf] * 2


def test_survival_of_many_filters_broadcasts():
    rng = np.random.default_rng(1)
    y, shape, scale = rng.exponential(size=(4, 5)), rng.normal(0, 0.4, 5), rng.lognormal(0, 3, 5)
    got = pareto_log_survival(torch.tensor(y), torch.tensor(shape), torch.tensor(scale))
    expected = [[log_survival(y[i, j], shape[j], scale[j]) for j in range(5)] for i in range(4)]
    torch.testing.assert_close(got, torch.tensor(expected, dtype=torch.float64), rtol=1e-11, atol=0)


@pytest.mark.parametrize("shape", [0.0, 1e-12, -1e-12, 1e-7, 1e-4, -1e-4, -0.3, 0.6])
def test_derivatives_of_the_survival(shape):
    values = (torch.tensor([0.2, 1.5]).double(), torch.tensor(shape).double(), torch.tensor(0.9).double())
    y, xi, scale = (value.requires_grad_() for value in values)
    by_y, by_shape, by_scale = torch.autograd.grad(pareto_log_survival(y, xi, scale).sum(), (y, xi, scale))
    with torch.no_grad():
        z = y / scale
        torch.testing.assert_close(by_y, -1 / (scale + xi * y), rtol=1e-9, atol=0)
        torch.testing.assert_close(by_scale, (z / (scale + xi * y)).sum(), rtol=1e-9, atol=0)
        if shape == 0:
            return  # a shape of exactly 0 was set, not fitted
        # The series of log(1 + x) / shape and, where x is not small, the derivative itself.
        x = xi * z
        series = z.square() * (1 / 2 - 2 * x / 3 + 3 * x.square() / 4 - 4 * x**3 / 5)
        direct = torch.log1p(x) / xi.square() - z / (xi * (1 + x))
        wanted = series if abs(shape) < 1e-3 else direct
        torch.testing.assert_close(by_shape, wanted.sum(), rtol=1e-3, atol=0)


@pytest.mark.parametrize("shape", [-0.4, 0.0, 0.3, 1.0])
def test_anderson_darling_equals_the_loop(shape):
    rng = np.random.default_rng(11)
    y = [simulate(rng, 50, shape, 1e-5) for _ in range(3)]
    same = torch.ones(3, dtype=torch.float64)
    got = anderson_darling(torch.tensor(np.stack(y)), shape * same, 1e-5 * same)
    expected = torch.tensor([anderson_darling_loop(v, shape, 1e-5) for v in y], dtype=torch.float64)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=0)


def test_anderson_darling_of_the_fits_equals_the_loop():
    rng = np.random.default_rng(12)
    samples = [simulate(rng, n, shape, 1e-5) for shape in (-0.3, 0.0, 0.6) for n in (25, 300)]
    fits = GeneralizedPareto.fit(padded(samples))
    got = fits.anderson_darling(padded(samples))
    for row, y in enumerate(samples):
        expected = anderson_darling_loop(y, float(fits.shape[row]), float(fits.scale[row]))
        assert float(got[row]) == pytest.approx(expected, rel=1e-9), f"row {row}"


@pytest.mark.parametrize("n", [100, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("shape", [0.0, 0.5, *(pytest.param(s, marks=pytest.mark.slow) for s in (-0.2, 0.25, 0.8))])
def test_p_values_of_good_fits_are_roughly_uniform(shape, n):
    rng = np.random.default_rng(13)
    y = torch.tensor(simulate(rng, (1500, n), shape, 1e-5))
    p = GeneralizedPareto.fit(y).goodness_of_fit(y)
    assert ((p >= 0) & (p <= 1)).all()
    for level, allowed in ((0.01, 0.008), (0.05, 0.02), (0.1, 0.03), (0.25, 0.06), (0.5, 0.1)):
        share = float((p <= level).double().mean())
        assert share == pytest.approx(level, abs=allowed), f"{share:.3f} of the p-values are at most {level}"


def test_p_values_of_bad_fits_are_small():
    rng = np.random.default_rng(14)
    wrong = {
        "two clusters": np.where(rng.random((200, 500)) < 0.5, 0, 3) + rng.random((200, 500)),
        "a hump": rng.gamma(8, size=(200, 500)),
        "lognormal": rng.lognormal(0, 0.5, (200, 500)),
    }
    for name, y in wrong.items():
        p = GeneralizedPareto.fit(torch.tensor(y)).goodness_of_fit(torch.tensor(y))
        assert float((p < 0.01).double().mean()) > 0.95, name


def test_tails_of_a_lognormal_are_told_from_a_whole_lognormal():
    # What peaks over threshold rests on: above a high threshold nearly everything is generalized Pareto.
    rng = np.random.default_rng(15)
    x = np.sort(rng.lognormal(0, 1.34, (300, 3000)), axis=1)
    y = torch.tensor(x[:, -300:] - x[:, -301:-300])
    p = GeneralizedPareto.fit(y).goodness_of_fit(y)
    assert float((p < 0.05).double().mean()) < 0.1
    assert kstest(p.numpy(), "uniform").statistic < 0.15


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("method", ["mle", "exponential"])
def test_values_that_are_not_finite_are_refused(value, method):
    y = torch.rand(3, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y[1, 4] = value
    with pytest.raises(ParamsalError, match=str(value)):
        GeneralizedPareto.fit(y, method=method)


def test_an_unknown_method_is_refused():
    with pytest.raises(ParamsalError, match="spot"):
        GeneralizedPareto.fit(torch.ones(1, 30, dtype=torch.float64), method="spot")


def test_excesses_that_are_no_matrix_are_refused():
    with pytest.raises(ParamsalError, match=r"one row per filter, got \(30,\)"):
        GeneralizedPareto.fit(torch.ones(30, dtype=torch.float64))


def test_single_precision_excesses_are_fitted_in_double():
    rng = np.random.default_rng(16)
    y = torch.tensor(simulate(rng, (5, 200), 0.3, 1e-6)).float()
    fits, twin = GeneralizedPareto.fit(y), GeneralizedPareto.fit(y.double())
    assert fits.shape.dtype == torch.float64
    assert torch.equal(fits.shape, twin.shape)
    assert torch.equal(fits.scale, twin.scale)


def test_threshold_stability_equals_a_fit_above_every_threshold():
    rng = np.random.default_rng(17)
    values = 5 + simulate(rng, 1500, 0.3, 2.0)
    given = np.append(rng.permutation(values), [-np.inf] * 10)
    stability = threshold_stability(torch.tensor(given), thresholds=8)
    assert len(stability.threshold) == 8
    assert float(stability.threshold[0]) == values.min()
    assert (stability.threshold.diff() > 0).all()
    for row, t in enumerate(stability.threshold.tolist()):
        y = values[values > t] - t
        n = len(y)
        assert int(stability.count[row]) == n >= 20
        fit = grimshaw(y)
        assert float(stability.shape[row]) == pytest.approx(fit.shape, abs=1e-5)
        assert float(stability.shape_error[row]) == pytest.approx((1 + fit.shape) / math.sqrt(n), rel=1e-4)
        assert float(stability.modified_scale[row]) == pytest.approx(fit.scale - fit.shape * t, rel=1e-4, abs=1e-4)
        # The variances of scale and shape, and -scale (1 + shape) / n between them.
        xi, sigma = fit.shape, fit.scale
        variance = (2 * sigma**2 * (1 + xi) + t**2 * (1 + xi) ** 2 + 2 * t * sigma * (1 + xi)) / n
        assert float(stability.modified_scale_error[row]) == pytest.approx(math.sqrt(variance), rel=1e-3)
    # The scale above a threshold of 5 is 2, and grows by the shape with the threshold.
    off = (stability.modified_scale - (2 - 0.3 * 5)) / stability.modified_scale_error
    assert float(off.abs().max()) < 3


def test_too_few_values_for_thresholds_are_refused():
    with pytest.raises(ParamsalError, match=r"more than 21 values .*, got 15"):
        threshold_stability(torch.rand(15, generator=torch.Generator().manual_seed(0)).double())
