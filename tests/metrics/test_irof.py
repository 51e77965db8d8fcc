"""IROF: segments go in the order of their mean importance."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from captum.attr import Saliency
from metrics.small_cases import case_of, case_with, small_model, some_images

from captum_paramsal.errors import InputError
from captum_paramsal.metrics import IROF, Case, segments_of
from captum_paramsal.metrics.map_similarity import has_scikit_image
from captum_paramsal.metrics.segments import segment_ranks

slic = pytest.importorskip("skimage.segmentation").slic


def area_over_the_curve(model, image, target, values, labels):
    """As the paper says, one segment after the other."""
    order = sorted(range(labels.max() + 1), key=lambda segment: -values[labels == segment].mean())
    picture, mean = image.clone(), image.mean(dim=(1, 2), keepdim=True)
    curve = []
    for segment in (None, *order):
        if segment is not None:
            picture = torch.where(torch.from_numpy(labels == segment), mean, picture)
        with torch.no_grad():
            curve.append(float(model(picture[None]).softmax(dim=1)[0, target]))
    shares = np.array(curve) / curve[0]
    return 1 - float(np.mean((shares[1:] + shares[:-1]) / 2))


@pytest.mark.parametrize("count", [4, 20])
def test_as_the_paper_says(count):
    model, (images, targets) = small_model(), some_images(4)
    case = case_of(Saliency(model), model, count=4)
    found = IROF(count).score(case)["IROF"]
    sizes = set()
    for n in range(4):
        labels = slic(images[n].movedim(0, -1).numpy(), n_segments=count, start_label=0)
        sizes.add(labels.max())
        expected = area_over_the_curve(model, images[n], targets[n], case.maps[n].sum(dim=0).numpy(), labels)
        assert float(found[n]) == pytest.approx(expected, rel=1e-9)
    assert count == 4 or len(sizes) > 1, "images of one batch have different numbers of segments"


def test_segments_are_numbered_without_gaps():
    images, _ = some_images(3, size=(16, 20))
    found = segments_of(images, 10)
    assert found.shape == (3, 16, 20)
    assert found.dtype == torch.int64
    for labels in found:
        assert torch.equal(labels.unique(), torch.arange(int(labels.max()) + 1))
    scaled = segments_of(5 * images - 2, 10)
    assert torch.equal(scaled, found)
    assert segments_of(images[:, :1], 10).shape == (3, 16, 20)


def test_ranks_of_segments():
    labels = torch.tensor([[[0, 0, 1], [2, 2, 2]], [[0, 1, 2], [0, 1, 2]]])
    values = torch.tensor([[[1.0, 2.0, 0.0], [9.0, 9.0, 9.0]], [[1.0, 1.0, 5.0], [1.0, 1.0, 5.0]]])
    ranks, counts = segment_ranks(values, labels)
    assert ranks.tolist() == [[[1, 1, 2], [0, 0, 0]], [[1, 2, 0], [1, 2, 0]]]
    assert counts.tolist() == [3, 3]


def test_the_best_order_and_the_worst():
    """Logit of class 0 is the brightness, so the bright half is all that counts."""
    image = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    image[..., :4] = 1.0

    def bright(images):
        return torch.stack([images.sum(dim=(1, 2, 3)) - 16, images.new_zeros(len(images))], dim=1)

    known = {"images": image, "targets": torch.tensor([0])}
    best, worst = (float(IROF(8).score(case_with(sign * image, bright, **known))["IROF"]) for sign in (1, -1))
    assert best > 0 > worst


@pytest.mark.parametrize("baseline", ["mean", "blur"])
def test_batches_and_passes(baseline):
    model = small_model()
    case, metric = case_of(Saliency(model), model), IROF(12, baseline)
    whole, order = metric.score(case)["IROF"], metric.baselines(case)["random order"]["IROF"]
    in_parts = metric.score(replace(case, max_examples_per_batch=3))["IROF"]
    torch.testing.assert_close(in_parts, whole, rtol=1e-12, atol=1e-12)
    images, targets = some_images()
    for i in range(3):
        part = Case.of(model, Saliency(model), images[i : i + 1], targets[i : i + 1])
        torch.testing.assert_close(metric.score(part)["IROF"], whole[i : i + 1], rtol=1e-12, atol=1e-12)
        alone = metric.baselines(part)["random order"]["IROF"]
        torch.testing.assert_close(alone, order[i : i + 1], rtol=1e-12, atol=1e-12)


def test_images_are_cut_once_for_all_methods(monkeypatch):
    asked = []

    def counted(images, count):
        asked.append(count)
        return segments_of(images, count)

    monkeypatch.setattr("captum_paramsal.metrics.irof.segments_of", counted)
    case = case_of(lambda images: images)
    metric = IROF(5)
    metric.score(case)
    metric.score(case.explained_by(case.explain, -case.maps))
    metric.baselines(case)
    assert asked == [5]


def test_nothing_to_judge():
    maps = some_images(3)[0]
    maps[1], maps[2, 0, 0, 0] = 2.0, torch.nan
    assert IROF(5).score(case_with(maps))["IROF"].isnan().tolist() == [False, True, True]

    def never(images):
        return torch.stack([images.new_full((len(images),), -1e4), images.new_zeros(len(images))], dim=1)

    targets = torch.tensor([0, 1, 0])
    found = IROF(5).score(case_with(some_images(3)[0], never, targets=targets))["IROF"]
    assert found.isnan().tolist() == [True, False, True]


def test_without_scikit_image(monkeypatch):
    monkeypatch.setattr("captum_paramsal.metrics.map_similarity.find_spec", lambda _: None)
    assert not has_scikit_image()
    case, metric = case_of(lambda images: images), IROF()
    assert "pip install scikit-image" in metric.unavailable(case)["IROF"]
    assert metric.score(case)["IROF"].isnan().all()
    assert metric.baselines(case)["random order"]["IROF"].isnan().all()


def test_bad_settings():
    with pytest.raises(InputError, match="`segments` to be a whole number of at least 1, got 0"):
        IROF(0)
    with pytest.raises(InputError, match="'blur', 'mean', got 'black'"):
        IROF(baseline="black")
