"""Spoilt photos of the pages of evidence."""

import pytest
import torch
from docs.scripts import loaded


@pytest.fixture(scope="module")
def corruptions():
    with loaded("corruptions") as found:
        yield found["corruptions"]


def test_shape_and_range_stay(corruptions):
    pixels = torch.rand(2, 3, 21, 26, generator=torch.Generator().manual_seed(0))
    spoilt = {name: spoil(pixels, 5) for name, spoil in corruptions.CORRUPTIONS.items()}
    assert all(one.shape == pixels.shape and one.min() >= 0 and one.max() <= 1 for one in spoilt.values())
    assert len(spoilt["pixelate"][0, 0].unique()) == 30
    means = spoilt["contrast"].mean(dim=(2, 3)), pixels.mean(dim=(2, 3))
    torch.testing.assert_close(*means)
    spread = spoilt["contrast"].std(dim=(2, 3)), 0.05 * pixels.std(dim=(2, 3))
    torch.testing.assert_close(*spread, rtol=1e-3, atol=0)


def test_snow_on_black_is_paler_with_brighter_streaks(corruptions):
    fallen = corruptions.snow(torch.zeros(3, 3, 60, 60))
    assert torch.equal(fallen[:, 0], fallen[:, 1])
    layers = fallen[:, 0] - 0.45 * 0.5
    assert layers.min() >= -1e-6
    assert 0.1 < layers.mean() < 0.6
    torch.testing.assert_close(layers, layers.rot90(2, (1, 2)))
    assert not torch.equal(fallen[0], fallen[1]), "each photo has snow of its own"


def test_a_flake_is_drawn_out_in_one_direction(corruptions):
    layer = torch.zeros(1, 61, 61)
    layer[0, 30, 30] = 1.0
    down = corruptions.streaked(layer, 90.0)[0]
    assert down[:, 30].nonzero()[:, 0].tolist() == list(range(30, 55))
    assert down.sum().item() == pytest.approx(1.0)
    assert down.count_nonzero() == 25
    assert (down[30:55, 30].diff() < 0).all()
    aslant = corruptions.streaked(layer, -135.0)[0]
    assert aslant[30 - 17, 30 - 17] > 0
    assert aslant[31:].count_nonzero() == 0


@pytest.mark.parametrize("kind", ["gaussian noise", "snow", "contrast"])
def test_each_severity_changes_the_photo_more(corruptions, kind):
    smooth = torch.linspace(0, 1, 60).expand(2, 3, 60, 60)
    spoil = corruptions.CORRUPTIONS[kind]
    gaps = [(spoil(smooth, severity) - smooth).abs().mean().item() for severity in corruptions.SEVERITIES]
    # Snow of severity 3 has larger and rarer flakes than that of 2, as published.
    known = gaps if kind != "snow" else [gaps[0], gaps[1], gaps[4]]
    assert known == sorted(set(known))


def test_pixels_become_fewer(corruptions):
    pixels = torch.rand(1, 1, 60, 60, generator=torch.Generator().manual_seed(0))
    counts = [len(corruptions.pixelate(pixels, severity).unique()) for severity in corruptions.SEVERITIES]
    assert counts == [36**2, 30**2, 24**2, 18**2, 15**2]
