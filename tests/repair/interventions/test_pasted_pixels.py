"""Regions of mistakes in other images."""

import pytest
import torch
from torch import nn

from captum_paramsal.errors import InputError, InterventionError
from captum_paramsal.metrics import share_interval
from captum_paramsal.repair import paste_pixels
from captum_paramsal.repair.interventions.pixel_regions import moved
from captum_paramsal.stats import bootstrap_means


def brightest():
    """A model that says 1 where a pixel is above 4, mistakes with one such pixel, and dark images."""
    model = nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten())
    images = torch.full((2, 2, 6, 8), 1.0)
    images[:, 0] = 4.0
    images[0, 1, 2, 3] = images[1, 1, 5, 7] = 9.0
    others = torch.full((3, 2, 6, 8), 1.0)
    others[:, 0] = 4.0
    others[2, 1] = 5.0  # taken for the wrong class already
    return model.train(), images, torch.zeros(2, dtype=torch.int64), others


def pasted(**change):
    model, images, labels, others = brightest()
    return paste_pixels(model, images, labels, others, **{"show_progress": False, **change})


def test_only_what_is_pasted_turns_images():
    found = pasted(boxes=torch.tensor([[2, 1, 5, 4], [6, 4, 8, 6]]), draws=40)
    assert found.open.tolist() == [[True, True, False]] * 2
    assert found.turned.tolist() == [[True, True, False]] * 2
    assert found.wrong_class.tolist() == [1, 1]
    assert not found.random_turned[:, 2].any()
    # A random box has the bright pixel now and then, and the same box goes into every image.
    assert 0 < found.random_turned[0, 0].double().mean() < 0.9
    assert torch.equal(found.random_turned[:, 0], found.random_turned[:, 1])
    rows = {(row["measure"], row["pixels"]): row for row in found.to_table()}
    assert rows["turned", "region"]["mean"] == 1
    assert rows["turned", "random"]["mean"] == pytest.approx(found.random_turned[:, :2].double().mean().item())
    gap = found.random_turned[:, :2].double().mean(dim=(1, 2))
    low, high = bootstrap_means(1 - gap[:, None])[1:, 0].tolist()
    row = rows["turned", "difference"]
    assert (row["low"], row["high"], row["images"]) == (pytest.approx(low), pytest.approx(high), 4)
    assert "turned, region: 1.000 (1.000 to 1.000)" in repr(found)


def test_probabilities_are_those_of_the_pasted_images():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    images, others = torch.randn(2, 4, 2, 6, 8).unbind()
    labels = (model(images).argmax(dim=1) + 1) % 3
    maps = torch.rand(4, 6, 8)
    found = paste_pixels(model.train(), images, labels, others, maps, share=0.25, draws=2, show_progress=False)
    assert model.training
    for n in range(4):
        assert int(found.masks[n].sum()) == 12
        after = model(images[n].where(found.masks[n], others)).double().softmax(dim=1).detach()
        torch.testing.assert_close(found.after[n], after[:, found.wrong_class[n]])
    before = model(others).double().softmax(dim=1).detach()
    torch.testing.assert_close(found.before, before[:, found.wrong_class].T)
    again = paste_pixels(model, images, labels, others, maps, share=0.25, draws=2, show_progress=False)
    assert torch.equal(found.random_after, again.random_after)


def test_a_single_mistake_is_judged_over_the_images():
    model, images, labels, others = brightest()
    box = torch.tensor([2, 1, 5, 4])
    found = paste_pixels(model, images[:1], labels[:1], others, boxes=box, draws=2, show_progress=False)
    row = found.to_table()[0]
    assert (row["low"], row["high"]) == share_interval(torch.tensor([True, True]))


@pytest.mark.parametrize("box", [(0, 0, 3, 2), (5, 4, 8, 6), (1, 1, 8, 6)])
def test_a_random_region_has_as_many_pixels_and_keeps_its_shape(box):
    region = torch.zeros(6, 8, dtype=torch.bool)
    region[box[1] : box[3], box[0] : box[2]] = True
    generator = torch.Generator().manual_seed(0)
    places = [moved(region, generator) for _ in range(200)]
    assert {int(place.sum()) for place in places} == {int(region.sum())}
    fits = 2 * (box[2] - box[0]) <= 8 and 2 * (box[3] - box[1]) <= 6
    for place in places:
        rows, columns = place.any(dim=1), place.any(dim=0)
        assert int(rows.sum()) == box[3] - box[1]
        if fits:
            assert int((rows[1:] ^ rows[:-1]).sum()) <= 2
            assert int((columns[1:] ^ columns[:-1]).sum()) <= 2
    # Every place comes up.
    assert torch.stack(places).any(dim=0).all()


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"draws": 0}, InterventionError, "from 1 up, got 0"),
        ({"others": torch.ones(3, 2, 6, 7)}, InputError, r"\(M, 2, 6, 8\).*got \(3, 2, 6, 7\)"),
        ({"others": torch.ones(0, 2, 6, 8)}, InputError, r"M of at least 1, got \(0, 2, 6, 8\)"),
        ({"labels": torch.tensor([0, 1])}, InterventionError, "gets right, the first of them number 1"),
        ({"boxes": None}, InterventionError, "got none"),
    ],
)
def test_what_is_refused(change, error, words):
    model, images, labels, others = brightest()
    given = {"images": images, "labels": labels, "others": others, "boxes": torch.tensor([2, 1, 5, 4]), **change}
    with pytest.raises(error, match=words):
        paste_pixels(model, **given, show_progress=False)
