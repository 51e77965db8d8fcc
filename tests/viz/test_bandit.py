import pytest
import torch

from captum_paramsal.errors import InputError
from captum_paramsal.metrics import share_interval
from captum_paramsal.stats import upper_confidence_bound
from captum_paramsal.viz import new_axes, to_png
from captum_paramsal.viz.bandit import bandit_plot

RUN = {"values": (0.1, 0.5, 1.0), "arms": (0, 1, 1, 1, 0), "rewards": (0.0, 1.0, 0.0, 1.0, 0.0)}


def points_of(axes):
    return [line for line in axes.lines if line.get_marker() == "o"]


def test_means_intervals_and_trials():
    axes = new_axes()
    assert bandit_plot({"preceding": RUN}, axes, title="weights") is axes
    (points,) = points_of(axes)
    assert points.get_xdata().tolist() == [0, 1]
    assert points.get_ydata().tolist() == pytest.approx([0, 2 / 3])
    intervals = [line.get_ydata().tolist() for line in axes.lines if line.get_marker() != "o"]
    rewards = ([False, False], [True, False, True])
    assert intervals == [list(share_interval(torch.tensor(found))) for found in rewards]
    # The third value was never tried: a tick, and no point.
    assert [text.get_text() for text in axes.texts] == ["2", "3"]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0.1", "0.5", "1"]
    assert axes.get_title(loc="left") == "weights"


def test_weights_with_grids_of_their_own_stand_beside_each_other():
    other = {"values": (1, 0.2), "arms": (0, 1), "rewards": (1, 0)}
    axes = bandit_plot({"current": RUN, "preceding": other})
    first, second = points_of(axes)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0.1", "0.2", "0.5", "1"]
    assert first.get_xdata().tolist() == pytest.approx([-0.125, 1.875])
    assert second.get_xdata().tolist() == pytest.approx([3.125, 1.125])
    assert first.get_color() != second.get_color()
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["current", "preceding"]


def test_draws_what_a_bandit_returns():
    run = upper_confidence_bound((0.1, 0.9), lambda value, trial: float(trial % 10 < 10 * value), 60)
    axes = bandit_plot({"current": vars(run)})
    assert [int(text.get_text()) for text in axes.texts] == list(run.counts)
    assert points_of(axes)[0].get_ydata().tolist() == pytest.approx(run.means)
    assert to_png(axes).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ({}, "got 0 and 7"),
        ({"current": {"values": (1.0,)}}, "of 'current', got no 'arms' and no 'rewards'"),
        ({"current": {**RUN, "rewards": (1.0,)}}, "from 0 to 2 .* got 5 arms from 0 to 1 and 1 rewards"),
        ({"current": {**RUN, "arms": (0, 1, 3, 1, 0)}}, "got 5 arms from 0 to 3"),
        ({"current": {"values": (1.0,), "arms": (), "rewards": ()}}, "got 0 arms from None to None"),
        ({"current": {**RUN, "rewards": (0.0, 1.0, 0.5, 1.0, 0.0)}}, "in 'current', got 0.5"),
    ],
)
def test_what_is_no_history(history, message):
    with pytest.raises(InputError, match=message):
        bandit_plot(history)
