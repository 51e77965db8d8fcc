"""Covered pixels."""

import pytest
import torch
from torch import nn

from captum_paramsal import ParameterSaliency
from captum_paramsal.errors import InputError, InterventionError
from captum_paramsal.repair import mask_pixels
from captum_paramsal.repair.interventions.pixel_regions import pixel_mask


def small(seed=0):
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    images = torch.randn(5, 3, 10, 8)
    return model.train(), images, torch.tensor([0, 1, 2, 0, 1]), torch.randn(5, 3, 10, 8)


def test_the_pixels_with_the_largest_sums():
    _, images, _, maps = small()
    masks = pixel_mask(maps, images, share=0.1)
    sums = maps.sum(dim=1).abs()
    assert masks.flatten(1).sum(dim=1).tolist() == [8] * 5
    for mask, values in zip(masks, sums, strict=True):
        assert values[mask].min() >= values[~mask].max()
    least = pixel_mask(maps.sum(dim=1), images, share=0.1, which="least")
    assert all(values[mask].max() <= values[~mask].min() for mask, values in zip(least, sums, strict=True))
    one, other = (pixel_mask(maps, images, share=0.1, which="random", seed=seed) for seed in (0, 1))
    assert one.flatten(1).sum(dim=1).tolist() == [8] * 5
    assert not one.equal(other)


@pytest.mark.parametrize("fill", [0.0, 1.5, "mean", "blur"])
def test_only_these_pixels_change_and_the_model_is_asked_again(fill):
    model, images, labels, maps = small()
    found = mask_pixels(model, images, labels, maps, share=0.2, fill=fill)
    hidden = found.masks[:, None].expand_as(images)
    assert torch.equal(found.images[~hidden], images[~hidden])
    assert not torch.equal(found.images[hidden], images[hidden])
    if isinstance(fill, float):
        assert (found.images[hidden] == fill).all()
    if fill == "mean":
        assert torch.allclose(found.images[0, 1][found.masks[0]], images[0, 1].mean())
    model.eval()
    before, after = (model(one).double().softmax(dim=1) for one in (images, found.images))
    predicted = before.argmax(dim=1)
    rows = torch.arange(5)
    torch.testing.assert_close(found.wrong, torch.stack([before[rows, predicted], after[rows, predicted]], 1).detach())
    torch.testing.assert_close(found.true[:, 1], after[rows, labels].detach())
    assert torch.equal(found.corrected[:, 1], after.argmax(dim=1) == labels)
    table = {row["measure"]: row for row in found.to_table()}
    change = (found.true[:, 1] - found.true[:, 0]).mean().item()
    assert table["change of true class"]["mean"] == pytest.approx(change)
    assert torch.tensor(table["change of guilty filters"]["mean"]).isnan()
    assert f"change of true class: {change:.3f} (" in repr(found)
    assert "guilty" not in repr(found)


def test_guilty_filters_are_those_of_the_image_before():
    model, images, labels, maps = small()
    saliency = ParameterSaliency(model)
    found = mask_pixels(model, images, labels, maps, filter_scores=saliency.attribute, top_k=2)
    before, after = (saliency.attribute(one, labels).double() for one in (images, found.images))
    chosen = before.topk(2, dim=1).indices
    torch.testing.assert_close(found.guilty[:, 0], before.gather(1, chosen).mean(dim=1))
    torch.testing.assert_close(found.guilty[:, 1], after.gather(1, chosen).mean(dim=1))
    assert model.training


def test_a_region_of_ones_own_is_what_is_covered():
    model, images, labels, maps = small()
    box = torch.tensor([2, 1, 5, 4])
    wanted = torch.zeros(10, 8, dtype=torch.bool)
    wanted[1:4, 2:5] = True
    every = wanted.expand(5, 10, 8)
    forms = {"boxes": [box, box.expand(5, 4), [box[None]] * 5], "masks": [wanted, every]}
    given = [{name: form} for name, values in forms.items() for form in values]
    results = [mask_pixels(model, images, labels, **one) for one in given]
    for found in results:
        assert torch.equal(found.masks, every)
        assert torch.equal(found.wrong, results[0].wrong)
    two = [torch.stack([box, torch.tensor([0, 0, 8, 1])]), *[box[None]] * 4]
    assert mask_pixels(model, images, labels, boxes=two).masks.flatten(1).sum(dim=1).tolist() == [17, 9, 9, 9, 9]
    by_chance = mask_pixels(model, images, labels, boxes=two, which="random").masks
    assert by_chance.flatten(1).sum(dim=1).tolist() == [17, 9, 9, 9, 9]
    assert not torch.equal(by_chance[1], by_chance[2])
    asked = mask_pixels(model, images, labels, maps, share=0.1)
    again = mask_pixels(model, images, labels, masks=asked.masks)
    assert torch.equal(asked.images, again.images)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"maps": None}, InterventionError, "one of `maps`, `boxes` and `masks`, got none"),
        ({"masks": torch.ones(10, 8) > 0}, InterventionError, "got maps and masks"),
        ({"maps": None, "masks": torch.ones(10, 8)}, InputError, "of bool, got torch.float32"),
        ({"maps": None, "masks": torch.ones(8, 10) > 0}, InputError, r"\(10, 8\) or \(5, 10, 8\), got \(8, 10\)"),
        ({"maps": None, "masks": torch.arange(5).view(5, 1, 1).expand(5, 10, 8) != 3}, InputError, "none for image 3"),
        ({"maps": None, "boxes": torch.tensor([0, 0, 9, 12])}, InputError, "within the image of 10 x 8"),
        ({"maps": None, "boxes": torch.tensor([3, 0, 3, 2])}, InputError, "x1 < x2"),
        ({"maps": None, "boxes": torch.tensor([[0, 0, 2, 2]] * 3)}, InputError, r"each image \(5"),
        ({"maps": None, "boxes": torch.tensor([0, 0, 2, 2]), "which": "least"}, InterventionError, "got 'least'"),
        ({"share": 0.0}, InterventionError, r"in \(0, 1\], got 0.0"),
        ({"which": "most"}, InterventionError, "'salient', 'least' or 'random', got 'most'"),
        ({"fill": "grey"}, InterventionError, "a number, 'mean' or 'blur', got 'grey'"),
        ({"maps": torch.randn(5, 3, 9, 8)}, InputError, r"\(5, 10, 8\)"),
        ({"maps": torch.full((5, 10, 8), torch.nan)}, InputError, "finite `maps`"),
        ({"filter_scores": lambda *_: torch.rand(5, 4), "top_k": 5}, InterventionError, "from 1 to 4"),
    ],
)
def test_what_is_refused(change, error, words):
    model, images, labels, maps = small()
    given = {"model": model, "images": images, "labels": labels, "maps": maps, **change}
    with pytest.raises(error, match=words):
        mask_pixels(**given)
