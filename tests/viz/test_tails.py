import numpy as np
import pytest
import torch
from scipy.stats import genpareto

from captum_paramsal.errors import InputError
from captum_paramsal.stats import threshold_stability
from captum_paramsal.viz import (
    mean_excess_plot,
    mean_excesses,
    new_axes,
    qq_plot,
    qq_points,
    threshold_stability_plot,
    to_png,
)


def _tail(shape, count, scale=1.0, seed=0):
    random = np.random.default_rng(seed)
    return torch.from_numpy(genpareto.rvs(shape, scale=scale, size=count, random_state=random))


@pytest.mark.parametrize("shape", [-0.4, -1e-12, 0.0, 1e-12, 0.3, 1.5])
def test_quantiles_are_scipys(shape):
    excesses = _tail(shape, 50, scale=2e-5)
    fitted, observed, low, high = qq_points(excesses, shape, 2e-5)
    expected = genpareto.ppf(np.arange(1, 51) / 51, shape, scale=2e-5)
    np.testing.assert_allclose(fitted, expected, rtol=1e-9)
    assert observed.tolist() == sorted(excesses.tolist())
    assert ((low < fitted) & (fitted < high)).all()


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.5])
def test_envelope_holds_each_place_as_often_as_it_says(shape):
    inside = torch.zeros(40)
    for seed in range(300):
        _, observed, low, high = qq_points(_tail(shape, 40, seed=seed), shape, 1.0)
        inside += (low <= observed) & (observed <= high)
    # 300 trials of probability 0.95 have a standard error of 0.013 at each place.
    assert (inside / 300 - 0.95).abs().max() < 4 * 0.013
    assert float((inside / 300).mean()) == pytest.approx(0.95, abs=0.015)


def test_absent_excesses_and_their_order_do_not_matter():
    excesses = _tail(0.2, 30)
    padded = torch.cat([torch.zeros(7), excesses.flip(0), torch.tensor([-1.0, -torch.inf])])
    for ours, theirs in zip(qq_points(padded, 0.2, 1.0), qq_points(excesses, 0.2, 1.0), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("excesses", "scale", "message"),
    [
        (torch.zeros(4), 1.0, "got 0 excesses and 1.0"),
        (torch.tensor([1.0, torch.nan]), 1.0, "got 2 excesses"),
        (torch.ones(3), 0.0, "got 3 excesses and 0.0"),
        (torch.ones(3), float("nan"), "got 3 excesses and nan"),
    ],
)
def test_tails_without_a_picture(excesses, scale, message):
    with pytest.raises(InputError, match=message):
        qq_plot(excesses, 0.1, scale)


def test_qq_plot_of_many_excesses_keeps_the_largest():
    excesses = _tail(0.4, 20_000)
    axes = new_axes()
    assert qq_plot(excesses, 0.4, 1.0, axes, title="conv1[3]") is axes
    points = next(line for line in axes.lines if line.get_marker() == "o")
    drawn, largest = points.get_ydata(), excesses.sort().values
    assert len(drawn) < 500
    assert drawn[-20:].tolist() == largest[-20:].tolist()
    assert drawn[0] == largest[0]
    assert axes.texts[0].get_text() == "ξ = 0.40, scale 1"
    assert axes.get_ylim()[1] >= drawn[-1]


def test_mean_excesses_one_threshold_at_a_time():
    values = torch.tensor([3.0, 1.0, 7.0, 1.0, -torch.inf, 4.0, 9.0, 2.0, 2.0, 8.0])
    thresholds, means, errors = mean_excesses(values)
    assert thresholds.tolist() == [1.0, 2.0]
    for threshold, mean, error in zip(thresholds, means, errors, strict=True):
        above = values[values > threshold].double() - threshold
        assert float(mean) == pytest.approx(float(above.mean()))
        assert float(error) == pytest.approx(float(above.std()) / len(above) ** 0.5)


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.3])
def test_mean_excess_of_a_pareto_tail_is_a_line(shape):
    thresholds, means, errors = mean_excesses(_tail(shape, 20_000) + 5)
    expected = (1 + shape * (thresholds - 5)) / (1 - shape)
    places = torch.arange(0, 18_000, 1000)
    assert ((means - expected)[places].abs() < 4 * errors[places]).all()


def test_mean_excesses_of_nearly_equal_values_keep_their_digits():
    values = 1e6 + _tail(0.0, 500)
    _, means, errors = mean_excesses(values)
    _, near, near_errors = mean_excesses(values - 1e6)
    torch.testing.assert_close(means, near, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(errors, near_errors, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "message"),
    [(torch.ones(50), "got 50 values"), (torch.tensor([1.0, torch.nan] * 9), "got NaN"), (torch.ones(0), "got 0")],
)
def test_values_without_a_mean_excess(values, message):
    with pytest.raises(InputError, match=message):
        mean_excess_plot(values)


def test_mean_excess_plot_marks_the_threshold():
    axes = mean_excess_plot(_tail(0.2, 300), threshold=1.5)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["95 % band", "mean excess", "threshold"]
    assert next(line for line in axes.lines if line.get_label() == "threshold").get_xdata() == [1.5, 1.5]
    assert to_png(axes).startswith(b"\x89PNG")


def _estimates(count=12):
    steps = torch.linspace(1, 4, count)
    return {
        "threshold": steps,
        "count": (1000 / steps).long(),
        "shape": 0.1 * steps,
        "shape_error": 0.05 * steps,
        "modified_scale": 2 - steps,
        "modified_scale_error": torch.full((count,), 0.5),
    }


def test_threshold_stability_has_both_estimates_with_their_errors():
    estimates = _estimates()
    upper, lower = threshold_stability_plot(**estimates)
    assert upper.figure is lower.figure
    for axes, name in ((upper, "shape"), (lower, "modified_scale")):
        line, _, (bars,) = axes.containers[0]
        np.testing.assert_allclose(line.get_ydata(), estimates[name])
        ends = np.array([segment[:, 1] for segment in bars.get_segments()])
        errors = estimates[f"{name}_error"].numpy()
        np.testing.assert_allclose(ends[:, 1] - ends[:, 0], 2 * 1.96 * errors, rtol=1e-5)
    assert upper.child_axes[0].get_xticklabels()[0].get_text() == "1000"
    assert to_png(upper).startswith(b"\x89PNG")


def test_a_single_threshold_without_an_error():
    estimates = {**_estimates(1), "shape_error": torch.tensor([torch.nan])}
    assert to_png(threshold_stability_plot(**estimates)[0]).startswith(b"\x89PNG")


def test_takes_what_the_statistics_return():
    found = threshold_stability(_tail(0.2, 400))
    upper, _ = threshold_stability_plot(**vars(found))
    np.testing.assert_allclose(upper.containers[0][0].get_ydata(), found.shape)


def test_threshold_stability_of_parts_that_do_not_match():
    estimates = _estimates()
    with pytest.raises(InputError, match=r"one shape \(T,\), got \(12,\), \(11,\)"):
        threshold_stability_plot(**{**estimates, "count": estimates["count"][1:]})
