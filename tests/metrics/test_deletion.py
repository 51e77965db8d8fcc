from dataclasses import replace

import pytest
import torch
from captum.attr import Saliency
from metrics.small_cases import case_of, case_with, small_model, some_images

from captum_paramsal.errors import ForwardError, InputError
from captum_paramsal.metrics import Case, Deletion, Insertion
from captum_paramsal.metrics.image_baselines import blurred, mean_colour
from captum_paramsal.metrics.pixel_order import pixel_counts, pixel_ranks


def bright(images):
    """Logit of class 0 is the brightness, of class 1 nothing."""
    return torch.stack([images.sum(dim=(1, 2, 3)), images.new_zeros(len(images))], dim=1)


def bright_case(maps, **known):
    images = torch.tensor([[[[4.0, -1.0], [-2.0, -1.0]]]]).double()
    return case_with(maps.view(1, 1, 2, 2), bright, images=images, targets=torch.tensor([0]), **known)


def test_deletion_by_hand():
    case = bright_case(torch.tensor([9.0, 1.0, 0.5, 0.0]))
    curves = Deletion(steps=4).curves(case)["deletion"]
    # The mean is 0, so each pixel that goes leaves the others.
    expected = torch.tensor([[0.0, -4.0, -3.0, -1.0, 0.0]]).double().sigmoid()
    torch.testing.assert_close(curves, expected)
    area = ((expected[:, :-1] + expected[:, 1:]) / 2).mean(dim=1)
    torch.testing.assert_close(Deletion(steps=4).score(case)["deletion"], area)


def test_insertion_by_hand():
    case = bright_case(torch.tensor([9.0, 1.0, 0.5, 0.0]))
    curves = Insertion(steps=4, baseline="mean").curves(case)["insertion"]
    torch.testing.assert_close(curves, torch.tensor([[0.0, 4.0, 3.0, 1.0, 0.0]]).double().sigmoid())


def test_ties_go_in_reading_order():
    maps = torch.tensor([[[1.0, 3.0, 1.0], [3.0, 0.0, 1.0]]])
    assert pixel_ranks(maps).tolist() == [[[2, 0, 3], [1, 5, 4]]]
    ones = torch.ones(1, 50, 60)
    assert torch.equal(pixel_ranks(ones).flatten(), torch.arange(3000))


def test_channels_are_summed_with_their_signs():
    maps = torch.tensor([[[[5.0, 1.0]], [[-6.0, 1.0]]]])
    assert pixel_ranks(maps).tolist() == [[[1, 0]]]


@pytest.mark.parametrize(("size", "steps"), [((7, 9), 20), ((2, 2), 20), ((8, 5), 20), ((3, 3), 1)])
def test_pixels_go_evenly(size, steps):
    counts = pixel_counts(size, steps)
    assert counts[0] == 0
    assert counts[-1] == size[0] * size[1]
    assert counts.diff().max() - counts.diff().min() <= 1


@pytest.mark.parametrize("metric", [Deletion(steps=5), Insertion(steps=5), Deletion(steps=5, baseline="blur")])
def test_batches_and_passes(metric):
    model = small_model()
    case = case_of(Saliency(model), model)
    curves = metric.curves(case)[metric.name]
    assert curves.shape == (3, 6)
    assert metric.axis.tolist() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    in_parts = metric.curves(replace(case, max_examples_per_batch=4))[metric.name]
    torch.testing.assert_close(in_parts, curves, rtol=1e-12, atol=0)
    images, targets = some_images()
    order = metric.baselines(case)["random order"][metric.name]
    for i in range(3):
        part = Case.of(model, Saliency(model), images[i : i + 1], targets[i : i + 1])
        torch.testing.assert_close(metric.curves(part)[metric.name], curves[i : i + 1], rtol=1e-12, atol=0)
        alone = metric.baselines(part)["random order"][metric.name]
        torch.testing.assert_close(alone, order[i : i + 1], rtol=1e-12, atol=0)


@pytest.mark.parametrize("baseline", ["blur", "mean"])
def test_ends_of_the_curves(baseline):
    model = small_model()
    case = case_of(Saliency(model), model)
    out = blurred(case.images) if baseline == "blur" else mean_colour(case.images)
    with torch.no_grad():
        ends = [model(x).softmax(dim=1)[torch.arange(3), case.targets] for x in (case.images, out)]
    deleted = Deletion(steps=3, baseline=baseline).curves(case)["deletion"]
    inserted = Insertion(steps=3, baseline=baseline).curves(case)["insertion"]
    for i in (0, 1):
        torch.testing.assert_close(deleted[:, -i], ends[i])
        torch.testing.assert_close(inserted[:, i - 1], ends[i])


def test_unit_and_degenerate_maps():
    maps = some_images(4)[0]
    maps[1], maps[2, 0, 0, 0], maps[3] = 2.0, torch.nan, maps[0] * 1e6
    case = case_with(maps)
    found = Deletion().score(case)["deletion"]
    assert found.isnan().tolist() == [False, True, True, False]
    scaled = Deletion().score(case_with(maps * 3e4))["deletion"]
    assert torch.equal(found[[0, 3]], scaled[[0, 3]])


def test_further_arguments_go_with_their_images():
    model = small_model()
    shift = torch.tensor([[50.0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]).double()
    images, targets = some_images()
    case = Case.of(
        lambda images, shift: model(images) + shift,
        lambda images: images,
        images,
        torch.zeros_like(targets),
        additional_forward_args=(shift,),
        max_examples_per_batch=4,
    )
    areas = Deletion(steps=3).score(case)["deletion"]
    assert areas[0] > 1 - 1e-9
    assert (areas[1:] < 0.99).all()


def test_blur():
    flat = torch.full((2, 3, 9, 12), 0.7)
    torch.testing.assert_close(blurred(flat), flat)
    point = torch.zeros(1, 1, 41, 41)
    point[0, 0, 20, 20] = 1.0
    spread = blurred(point, sigma=2.0)[0, 0]
    torch.testing.assert_close(spread, spread.T)
    torch.testing.assert_close(spread.sum(), torch.tensor(1.0))
    torch.testing.assert_close(spread[20, 24] / spread[20, 20], torch.tensor(-2.0).exp())
    assert blurred(point.bfloat16()).dtype == torch.bfloat16


def test_bad_input():
    with pytest.raises(InputError, match="at least 1, got 0"):
        Deletion(steps=0)
    with pytest.raises(InputError, match="'blur', 'mean', got 'black'"):
        Insertion(baseline="black")
    case = case_with(some_images()[0], model=lambda images: images.flatten(1) @ torch.ones(2, 2))
    with pytest.raises(ForwardError, match="forward pass failed"):
        Deletion().score(case)
    case = case_with(some_images()[0], model=lambda images: images.flatten(1) * torch.nan)
    with pytest.raises(InputError, match="NaN or infinity"):
        Deletion().score(case)
