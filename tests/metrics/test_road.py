"""ROAD: pixels filled in as the paper says, and the curves over the share that is removed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from captum.attr import Saliency
from metrics.small_cases import case_of, case_with, small_model, some_images

from captum_paramsal.errors import InputError
from captum_paramsal.metrics import ROAD, Case, imputed

MOST, LEAST = "ROAD (most relevant first)", "ROAD (least relevant first)"


def filled_in(image, removed):
    """The paper's equations one by one: every removed pixel is the weighted mean of its neighbours."""
    unknown = [tuple(place) for place in removed.nonzero().tolist()]
    left, right = np.zeros((len(unknown), len(unknown))), np.zeros((len(unknown), len(image)))
    for row, (y, x) in enumerate(unknown):
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                there = (y + dy, x + dx)
                if (dy, dx) == (0, 0) or not (0 <= there[0] < removed.shape[0] and 0 <= there[1] < removed.shape[1]):
                    continue
                weight = 1 / 6 if 0 in (dy, dx) else 1 / 12
                left[row, row] += weight
                if there in unknown:
                    left[row, unknown.index(there)] -= weight
                else:
                    right[row] += weight * image[:, there[0], there[1]].numpy()
    result = image.clone()
    for place, values in zip(unknown, np.linalg.solve(left, right), strict=True):
        result[:, place[0], place[1]] = torch.from_numpy(values)
    return result


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
@pytest.mark.parametrize("size", [(7, 9), (1, 12), (12, 2)])
def test_imputation_as_the_paper_says(size, share):
    generator = torch.Generator().manual_seed(3)
    image = torch.randn(3, *size, generator=generator, dtype=torch.float64)
    removed = torch.rand(size, generator=generator) < share
    removed[0, 0] = False
    found = imputed(image, removed)
    torch.testing.assert_close(found, filled_in(image, removed), rtol=1e-9, atol=1e-12)
    assert torch.equal(found[:, ~removed], image[:, ~removed])


def test_imputation_lies_between_what_is_around():
    image = torch.rand(2, 20, 20, generator=torch.Generator().manual_seed(0))
    removed = torch.ones(20, 20, dtype=torch.bool)
    removed[3, 4] = removed[15, 12] = False
    found = imputed(image, removed)
    for plane, known in zip(found, image[:, ~removed], strict=True):
        assert float(known.min()) - 1e-6 <= float(plane.min()) <= float(plane.max()) <= float(known.max()) + 1e-6


def test_a_ramp_is_filled_in_exactly():
    ramp = torch.arange(10.0)[:, None] + 3 * torch.arange(12.0)
    removed = torch.zeros(10, 12, dtype=torch.bool)
    removed[2:8, 3:9] = True
    torch.testing.assert_close(imputed(ramp[None], removed)[0], ramp)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_imputation_keeps_the_image(dtype):
    image = torch.rand(1, 5, 5, dtype=torch.float64).to(dtype)
    before = image.clone()
    removed = torch.eye(5, dtype=torch.bool)
    found = imputed(image, removed)
    assert found.dtype == dtype
    assert torch.equal(image, before)
    assert torch.equal(imputed(image, torch.zeros(5, 5, dtype=torch.bool)), image)
    with pytest.raises(InputError, match=r"at least one pixel of \(5, 5\)"):
        imputed(image, torch.ones(5, 5, dtype=torch.bool))


def test_curves_as_the_paper_says():
    model, (images, targets) = small_model(), some_images()
    case = case_of(Saliency(model), model)
    shares = (0.1, 0.5, 0.9)
    found = ROAD(shares, noise=0.0).curves(case)
    for name, sign in ((MOST, -1), (LEAST, 1)):
        for place, share in enumerate(shares):
            for n, image in enumerate(images):
                order = (sign * case.maps[n].sum(dim=0)).flatten().argsort(stable=True)
                removed = torch.zeros(80, dtype=torch.bool)
                removed[order[: int(share * 80)]] = True
                with torch.no_grad():
                    scores = model(filled_in(image, removed.view(8, 10))[None])[0]
                expected = scores.softmax(dim=0)[targets[n]]
                torch.testing.assert_close(found[name][n, place], expected, rtol=1e-9, atol=1e-12)
    scores = ROAD(shares, noise=0.0).score(case)
    torch.testing.assert_close(scores[MOST], found[MOST].mean(dim=1))
    torch.testing.assert_close(scores["ROAD"], (scores[LEAST] - scores[MOST]) / 2)


def test_accuracy_counts_what_is_still_predicted():
    model, (images, targets) = small_model(), some_images()
    case = case_of(Saliency(model), model)
    with torch.no_grad():
        still = {int(row.argmax()) for row in model(images)}
    curves = ROAD(of="accuracy").curves(case)
    assert {*curves[MOST].unique().tolist(), *curves[LEAST].unique().tolist()} <= {0.0, 1.0}
    never = next(number for number in range(4) if number not in still)
    other = case_with(case.maps, model, targets=torch.full_like(targets, never))
    assert float(ROAD((0.01,), of="accuracy").score(other)[MOST].sum()) == 0


def test_noise_is_the_same_for_every_method_and_only_on_what_is_removed():
    seen = []

    def model(pictures):
        seen.append(pictures.clone())
        return pictures.flatten(1)[:, :4]

    maps = some_images(1)[0]
    for sign in (1, -1):
        ROAD((0.25,), noise=0.5).score(case_with(sign * maps, model))
        ROAD((0.25,), noise=0.0).score(case_with(sign * maps, model))
    noises = [noisy - plain for noisy, plain in zip(seen[::2], seen[1::2], strict=True)]
    # What one method removes first, its opposite removes last.
    torch.testing.assert_close(noises[0][0], noises[1][1])
    changed = noises[0][0].abs().sum(dim=0) > 0
    assert int(changed.sum()) == 20
    assert 0.3 < float(noises[0][0][:, changed].std()) < 0.7


def test_batches_and_passes():
    model = small_model()
    case = case_of(Saliency(model), model)
    metric = ROAD((0.2, 0.6))
    whole, order = metric.score(case), metric.baselines(case)["random order"]
    in_parts = metric.score(replace(case, max_examples_per_batch=3))
    images, targets = some_images()
    for name, values in whole.items():
        torch.testing.assert_close(in_parts[name], values, rtol=1e-12, atol=0)
        for i in range(3):
            part = Case.of(model, Saliency(model), images[i : i + 1], targets[i : i + 1])
            torch.testing.assert_close(metric.score(part)[name], values[i : i + 1], rtol=1e-12, atol=0)
            alone = metric.baselines(part)["random order"][name]
            torch.testing.assert_close(alone, order[name][i : i + 1], rtol=1e-12, atol=0)


def test_shares_are_whole_pixels():
    """100 · 0.29 is 28.999999999999996 in floating point."""
    seen = []

    def model(pictures):
        seen.append(pictures.clone())
        return pictures.flatten(1)[:, :4]

    images, _ = some_images(1, size=(10, 10))
    ROAD((0.29,), noise=1.0).score(case_with(images, model, images=images, targets=torch.tensor([0])))
    changed = (seen[0] != images).any(dim=1).flatten(1).sum(dim=1)
    assert changed.tolist() == [29, 29]


def test_degenerate_maps_have_no_curve():
    maps = some_images(3)[0]
    maps[1], maps[2, 0, 0, 0] = 2.0, torch.nan
    found = ROAD((0.5,)).score(case_with(maps))
    assert all(values.isnan().tolist() == [False, True, True] for values in found.values())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shares": ()}, r"above 0 and below 1, got \(\)"),
        ({"shares": (0.5, 1.0)}, r"above 0 and below 1, got \(0.5, 1.0\)"),
        ({"noise": -1.0}, "`noise` of at least 0, in units of the inputs, got -1.0"),
        ({"of": "logit"}, "'probability' or 'accuracy', got 'logit'"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(InputError, match=message):
        ROAD(**settings)
