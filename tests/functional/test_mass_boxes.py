import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings, strategies as st

from captum_paramsal.errors import InputError
from captum_paramsal.functional.mass_boxes import box_of_mass

NAN = torch.nan


def ends_slowly(profile, outside):
    """Walk in from either end until the share is behind, and on over what is empty; in fractions, exactly."""
    ends = []
    for parts in (profile, profile[::-1]):
        behind, place = Fraction(0), 0
        while behind + parts[place] <= outside:
            behind += parts[place]
            place += 1
        ends.append(place + (outside - behind) / parts[place])
    return ends[0], len(profile) - ends[1]


def box_slowly(values, outside, even):
    """Near corner and far corner of one map of whole numbers, last dimension first."""
    positive = torch.where(values > 0, values, 0)
    total, low, high = int(positive.sum()), [], []
    for dimension in reversed(range(values.ndim)):
        size = values.shape[dimension]
        sums = [int(part.sum()) for part in positive.unbind(dimension)]
        near, far = ends_slowly([(1 - even) * Fraction(one, total) + even / size for one in sums], outside)
        low.append(float(near))
        high.append(float(far))
    return [*low, *high]


@st.composite
def maps(draw, dimensions=None):
    sizes = draw(st.lists(st.integers(1, 6), min_size=dimensions or 1, max_size=dimensions or 3))
    count = math.prod(sizes)
    numbers = draw(st.lists(st.integers(-3, 9), min_size=count, max_size=count).filter(lambda row: max(row) > 0))
    return torch.tensor(numbers).view(sizes)


SHARES = st.sampled_from([Fraction(0), Fraction(3, 100), Fraction(2, 25), Fraction(1, 4), Fraction(2, 5)])
EVEN = st.sampled_from([Fraction(0), Fraction(1, 10), Fraction(1, 2), Fraction(9, 10)])


@given(maps(), SHARES, EVEN)
@settings(deadline=None, max_examples=40)
def test_as_the_slow_way(values, outside, even):
    found = box_of_mass(values[None].double(), float(outside), float(even))
    assert found.dtype == torch.float64
    assert found[0].tolist() == pytest.approx(box_slowly(values, outside, even), abs=1e-7)


@given(maps(), SHARES, EVEN)
@settings(deadline=None, max_examples=40)
def test_it_lies_within_and_leaves_the_share_outside(values, outside, even):
    box = box_of_mass(values[None].double(), float(outside), float(even))[0].tolist()
    for place, dimension in enumerate(reversed(range(values.ndim))):
        low, high = box[place], box[place + values.ndim]
        size = values.shape[dimension]
        assert 0 <= low < high <= size
        sums = [float(part.clamp(min=0).sum()) for part in values.unbind(dimension)]
        parts = [(1 - float(even)) * one / sum(sums) + float(even) / size for one in sums]
        inside = math.fsum(part * max(min(at + 1, high) - max(at, low), 0) for at, part in enumerate(parts))
        assert inside == pytest.approx(1 - 2 * float(outside), abs=1e-7)


@given(maps(2), SHARES, EVEN)
@settings(deadline=None, max_examples=40)
def test_mirrored_and_transposed_maps_have_mirrored_and_transposed_boxes(values, outside, even):
    shares = float(outside), float(even)
    x1, y1, x2, y2 = box_of_mass(values[None].double(), *shares)[0].tolist()
    width = values.shape[1]
    mirrored, transposed = (box_of_mass(one[None].double(), *shares)[0].tolist() for one in (values.flip(1), values.T))
    assert mirrored == pytest.approx([width - x2, y1, width - x1, y2], abs=1e-7)
    assert transposed == pytest.approx([y1, x1, y2, x2], abs=1e-7)


@given(maps(2), st.integers(0, 4), st.integers(0, 4), st.sampled_from([0.03, 0.08, 0.23]))
@settings(deadline=None, max_examples=40)
def test_what_is_moved_has_a_moved_box_of_the_same_size(values, down, right, outside):
    height, width = values.shape
    wide = torch.zeros(1, height + 4, width + 4, dtype=torch.float64)
    wide[0, down : down + height, right : right + width] = values
    moved = torch.tensor([right, down, right, down], dtype=torch.float64)
    alone = box_of_mass(values[None].double(), outside)
    torch.testing.assert_close(box_of_mass(wide, outside), alone + moved, rtol=0, atol=1e-7)


def test_by_hand():
    ramp = torch.tensor([[[0.0, 1.0, 2.0, 1.0, 0.0]]])
    assert box_of_mass(ramp, 0.125)[0].tolist() == [1.5, 0.125, 3.5, 0.875]
    assert box_of_mass(ramp, 0)[0].tolist() == [1, 0, 4, 1]
    assert box_of_mass(ramp, 0.25)[0].tolist() == [2, 0.25, 3, 0.75]
    # Nothing lies between two parts: the edge is that of the inner one.
    assert box_of_mass(torch.tensor([[1.0, 0.0, 0.0, 2.0, 0.0, 1.0]]), 0.25).tolist() == [[3, 4]]
    # All of it spread evenly but for a hundredth.
    assert box_of_mass(ramp, 0.1, even=0.99)[0, 0] == pytest.approx(0.5, abs=0.01)
    assert box_of_mass(ramp.double() * 2.0**1022, 0.125)[0].tolist() == [1.5, 0.125, 3.5, 0.875]


def test_each_map_with_a_share_of_its_own():
    values = torch.rand(4, 5, 7, generator=torch.Generator().manual_seed(0))
    even = torch.tensor([0.0, 0.2, 0.5, 0.9])
    together = box_of_mass(values, 0.1, even)
    alone = torch.cat([box_of_mass(one[None], 0.1, share) for one, share in zip(values, even, strict=True)])
    torch.testing.assert_close(together, alone, rtol=0, atol=0)


def test_no_box_without_mass():
    values = torch.ones(4, 3, 3)
    values[1], values[2, 0, 0], values[3] = 0, NAN, -1
    found = box_of_mass(values)
    assert found.isnan().all(dim=1).tolist() == [False, True, True, True]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outside": 0.5}, r"`outside` from 0 to below 0.5.* got 0.5"),
        ({"outside": -0.1}, "`outside` .* got -0.1"),
        ({"outside": NAN}, "`outside` .* got nan"),
        ({"even": 1.0}, r"`even` from 0 to below 1.* got 1.0"),
        ({"even": torch.tensor([0.5, -1.0])}, r"`even` .* got \[0.5, -1.0\]"),
    ],
)
def test_shares_that_are_none(options, message):
    with pytest.raises(InputError, match=message):
        box_of_mass(torch.ones(2, 3, 3), **options)
