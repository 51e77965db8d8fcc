import pytest
import torch

from captum_paramsal.errors import InputError
from captum_paramsal.metrics import share_interval
from captum_paramsal.metrics.shares import share_of


def test_ends():
    none, every = (share_interval(torch.full((20,), value)) for value in (False, True))
    assert none[0] == 0
    assert every[1] == pytest.approx(1)
    assert none[1] == pytest.approx(1 - every[0])
    assert 0.1 < none[1] < 0.2


def test_more_images_and_less_confidence_narrow_it():
    hits = torch.arange(100) % 4 == 0
    widths = [
        high - low for low, high in (share_interval(hits), share_interval(hits, 0.5), share_interval(hits.repeat(9)))
    ]
    assert widths[0] > widths[1]
    assert widths[0] == pytest.approx(3 * widths[2], rel=0.05)
    assert share_of(hits) == 0.25


def test_it_covers_as_often_as_it_says():
    generator = torch.Generator().manual_seed(0)
    draws = torch.rand(1000, 60, generator=generator) < 0.3
    covering = sum(low <= 0.3 <= high for low, high in map(share_interval, draws)) / len(draws)
    assert 0.93 < covering < 0.975


@pytest.mark.parametrize(
    ("hits", "confidence", "message"),
    [
        (torch.ones(3), 0.95, r"got torch.float32 \(3,\) and 0.95"),
        (torch.ones(3, 1, dtype=torch.bool), 0.95, r"\(3, 1\)"),
        (torch.ones(3, dtype=torch.bool), 1.0, "and 1.0"),
    ],
)
def test_bad_input(hits, confidence, message):
    with pytest.raises(InputError, match=message):
        share_interval(hits, confidence)
