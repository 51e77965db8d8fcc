import pytest
import torch

from captum_paramsal.report import Calibration, Shares, TailSummary
from captum_paramsal.report.explain.calibration import calibrate
from captum_paramsal.report.explain.tail_section import tail_section
from captum_paramsal.report.shared.codec import from_json, to_json
from captum_paramsal.viz import shares_per_image

LEVELS = torch.tensor([0.01, 0.05])


def _images(count, generator):
    """Images whose p-values rise and fall together; those with small ones are mistakes."""
    common = torch.randn(count, 1, generator=generator, dtype=torch.float64)
    own = torch.randn(count, 40, generator=generator, dtype=torch.float64)
    p_values = torch.special.ndtr(0.8**0.5 * common + 0.2**0.5 * own)
    return shares_per_image(p_values, LEVELS), common[:, 0] < -1


def _calibrated(count, generator, reference_images=10**9):
    shares, wrong = _images(count, generator)
    right = shares[~wrong][: count // 4]
    counts = (int((~wrong).sum()), int(wrong.sum()))
    return calibrate(LEVELS, (right, shares[wrong]), counts, held_out="given", reference_images=reference_images)


def test_error_covers_the_truth_as_often_as_it_says():
    generator = torch.Generator().manual_seed(0)
    found = [_calibrated(400, generator) for _ in range(300)]
    at = LEVELS.tolist().index(LEVELS[1])
    covered = sum(abs(one.overall.share[at] - 0.05) <= 2 * one.overall.error[at] for one in found) / len(found)
    assert 0.91 < covered < 0.985
    shares = torch.tensor([one.overall.share[at] for one in found])
    assert float(shares.mean()) == pytest.approx(0.05, abs=4 * float(shares.std()) / len(found) ** 0.5)


def test_a_small_reference_makes_it_less_sure():
    errors = [
        _calibrated(400, torch.Generator().manual_seed(0), images).overall.error[0] for images in (100, 400, 10**9)
    ]
    assert errors[0] > 1.5 * errors[1] > 1.5 * errors[2] > 0


@pytest.mark.parametrize(("right", "wrong"), [(5, 0), (0, 5), (1, 1)])
def test_groups_that_are_empty_or_single(right, wrong):
    shares = torch.full((right, 2), 0.02), torch.full((wrong, 2), 0.4)
    found = calibrate(LEVELS, shares, (right, wrong), held_out="same", reference_images=10)
    assert found.overall.share[0] == pytest.approx((right * 0.02 + wrong * 0.4) / (right + wrong))
    assert (found.correct.images, found.mistakes.images) == (right, wrong)
    assert all(error >= 0 for error in found.overall.error)
    assert from_json(to_json(found), Calibration) == found


def _section(share, error, images=5000):
    levels = (0.001, 0.01)
    group = Shares(9, (share / 10, share), (error, error))
    check = Calibration(levels, "given", images, group, group, Shares(0, (0.0, 0.0), (0.0, 0.0)))
    return tail_section(TailSummary("mle", 0.1, images, 499.0, 0, 0, 10, 1, (0.0, 0.1, 0.2), ()), check)


@pytest.mark.parametrize(
    ("share", "error", "words", "good"),
    [
        (0.012, 0.002, "as it should be", True),
        (0.02, 0.002, "too often: p-values come out too small", False),
        (0.005, 0.001, "too seldom: p-values come out too large", False),
        (0.005, 0.002, "as it should be", True),
        (0.0, 0.0, "too few images to tell", False),
    ],
)
@pytest.mark.usefixtures("undrawn")
def test_verdicts(share, error, words, good):
    hundredth = _section(share, error).checks[0]
    assert (hundredth.level, hundredth.share, hundredth.error) == (0.01, share, 2 * error)
    assert hundredth.verdict.startswith(words)
    assert hundredth.good is good
    assert (hundredth.correct, hundredth.mistakes) == (share, None)


@pytest.mark.parametrize(("images", "beyond"), [(5000, [False, False]), (480, [False, True]), (60, [True, True])])
@pytest.mark.usefixtures("undrawn")
def test_levels_that_the_reference_never_reached(images, beyond):
    assert [check.beyond for check in _section(0.01, 0.001, images).checks] == beyond
