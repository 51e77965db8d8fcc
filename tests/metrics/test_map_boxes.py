import pytest
import torch
from hypothesis import given, settings, strategies as st
from metrics.boxes_of_any_kind import whole_boxes

from captum_paramsal.errors import InputError
from captum_paramsal.functional.mass_boxes import box_of_mass
from captum_paramsal.metrics import box_of


def drawn(*rows):
    """A map from a picture: '#' is 1, 'o' is 0.5, '.' is 0, '-' is -9."""
    return torch.tensor([[{"#": 1.0, "o": 0.5, ".": 0.0, "-": -9.0}[sign] for sign in row] for row in rows])


@pytest.mark.parametrize(
    ("picture", "box"),
    [
        (drawn("....", ".#o.", ".o..", "...."), [1, 1, 3, 3]),
        (drawn("#...", "....", "..oo", "...o"), [2, 2, 4, 4]),  # the largest piece, not the highest one
        (drawn("o...", ".o..", "..#.", "-..."), [0, 0, 3, 3]),  # corners hang together
        (drawn("o..o", "o..#", "....", "...."), [0, 0, 1, 2]),  # of equally large ones the first
        (drawn("....", "...."), [torch.nan] * 4),
        (drawn("----", "-..-"), [torch.nan] * 4),
        (drawn("####", "####"), [0, 0, 4, 2]),
    ],
)
def test_by_hand(picture, box):
    expected = torch.tensor([box], dtype=torch.float64)
    torch.testing.assert_close(box_of(picture[None]), expected, rtol=0, atol=0, equal_nan=True)


def test_threshold_is_a_share_of_the_maximum_and_has_to_be_exceeded():
    ramp = torch.tensor([[[0.0, 0.25, 0.5, 0.75, 1.0]]])
    starts = [int(box_of(ramp * scale, share)[0, 0]) for scale in (1, 2.0**-40) for share in (0, 0.15, 0.25, 0.5, 0.99)]
    assert starts == [1, 1, 2, 3, 4] * 2


def test_channels_are_summed_with_their_signs():
    maps = torch.stack([drawn("#.#", "..."), drawn("#..", "...") * -1], dim=0)[None]
    assert box_of(maps).tolist() == [[2, 0, 3, 1]]


def test_each_map_of_a_batch_alone():
    maps = torch.randn(6, 9, 7, generator=torch.Generator().manual_seed(0))
    maps[2] = 0
    maps[4, 3, 3] = torch.nan
    together = box_of(maps, 0.6)
    alone = torch.cat([box_of(one[None], 0.6) for one in maps])
    torch.testing.assert_close(together, alone, rtol=0, atol=0, equal_nan=True)
    assert together.isnan().all(dim=1).tolist() == [False, False, True, False, True, False]


@given(whole_boxes(), st.floats(0.2, 5))
@settings(deadline=None)
def test_a_box_that_was_painted_is_found(box, value):
    x1, y1, x2, y2 = box
    picture = torch.zeros(1, 12, 9, dtype=torch.float64)
    picture[0, y1:y2, x1:x2] = value
    assert box_of(picture).tolist() == [[x1, y1, x2, y2]]


def test_box_of_the_mass_in_place_of_a_threshold():
    maps = torch.randn(3, 2, 9, 7, generator=torch.Generator().manual_seed(0))
    maps[1] = -1
    found = box_of(maps, None)
    torch.testing.assert_close(found, box_of_mass(maps.sum(dim=1).double()), rtol=0, atol=1e-6, equal_nan=True)
    assert found.isnan().all(dim=1).tolist() == [False, True, False]


@pytest.mark.parametrize("threshold", [-0.1, 1.0, torch.nan])
def test_bad_threshold(threshold):
    with pytest.raises(InputError, match=f"share of the map's maximum, got {threshold}"):
        box_of(torch.zeros(1, 2, 2), threshold)


def test_bad_maps():
    with pytest.raises(InputError, match=r"got \(2, 2\)"):
        box_of(torch.zeros(2, 2))
