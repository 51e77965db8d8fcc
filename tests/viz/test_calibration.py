import pytest
import torch

from captum_paramsal.errors import InputError
from captum_paramsal.viz import calibration_plot, new_axes, share_plot, tail_levels, tail_shares, to_png


def _uniform(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_shares_are_counted_at_or_below_each_level():
    p_values = _uniform(7, 30)
    levels = torch.cat([p_values[2, :3].sort().values, torch.tensor([1.0])])
    shares, _ = tail_shares(p_values, levels)
    assert shares.tolist() == pytest.approx([float((p_values <= level).double().mean()) for level in levels])


def test_the_error_of_dependent_p_values_is_that_between_images():
    """200 filters that all say the same are no more evidence than one."""
    alone = _uniform(400)
    levels = torch.tensor([0.05])
    repeated = tail_shares(alone[:, None].expand(-1, 200), levels)
    once = tail_shares(alone, levels)
    torch.testing.assert_close(repeated, once)
    assert float(once[1]) == pytest.approx((0.05 * 0.95 / 400) ** 0.5, rel=0.3)


def test_uniform_p_values_lie_within_their_band():
    levels = tail_levels()[10:]
    shares, errors = tail_shares(_uniform(300, 400), levels)
    assert ((shares - levels).abs() < 4 * errors).all()


@pytest.mark.parametrize(("highest", "count", "last"), [(0.1, 31, 0.1), (0.05, 27, 10**-1.4), (1e-4, 1, 1e-4)])
def test_levels_hold_the_powers_of_ten_exactly(highest, count, last):
    levels = tail_levels(highest).tolist()
    assert (len(levels), levels[-1]) == (count, pytest.approx(last))
    assert [level for level in (1e-4, 1e-3, 1e-2, 1e-1) if level <= highest] == levels[::10]


def test_exact_zeros_count_at_every_level():
    shares, _ = tail_shares(torch.tensor([[0.0, 1.0]]), torch.tensor([1e-300, 0.5]))
    assert shares.tolist() == [0.5, 0.5]


def test_one_image_has_no_error():
    assert tail_shares(_uniform(1, 50), torch.tensor([0.1]))[1].isnan().all()
    assert to_png(calibration_plot(_uniform(1, 50))).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("p_values", "message"),
    [
        (torch.tensor([0.5, 1.5]), r"got \(2, 1\) from 0.5 to 1.5"),
        (torch.tensor([0.5, torch.nan]), r"got \(2, 1\) from"),
        (torch.zeros(0, 4), r"got \(0, 4\)\."),
        (torch.zeros(2, 2, 2), r"got \(2, 2, 2\) from 0 to 0\."),
    ],
)
def test_what_are_no_p_values(p_values, message):
    with pytest.raises(InputError, match=message):
        calibration_plot(p_values)


def test_plot_has_the_diagonal_and_the_shares():
    p_values, axes = _uniform(50, 100), new_axes()
    assert calibration_plot(p_values, axes, label="held out") is axes
    should, observed = axes.lines
    assert list(should.get_xdata()) == list(should.get_ydata())
    shares, _ = tail_shares(p_values, tail_levels())
    assert list(observed.get_ydata()) == shares[shares > 0].tolist()
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["as it should be", "held out"]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")


def test_shares_of_nothing_and_of_everything_can_be_drawn():
    levels = tail_levels()
    none, every = torch.zeros_like(levels), torch.ones_like(levels)
    axes = share_plot(levels, [("none", none, none), ("all", every, none)])
    assert len(axes.lines) == 3
    assert to_png(axes).startswith(b"\x89PNG")
