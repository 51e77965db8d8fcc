"""Our metrics and those of Quantus give the same numbers, with the settings that docs/howto/compare.md names."""

import warnings
from functools import partial

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients
from torch import nn

from captum_paramsal.demo import load_model, load_scenes, normalize
from captum_paramsal.metrics import (
    IROF,
    ROAD,
    Case,
    Deletion,
    InputMaps,
    Pointing,
    Sparsity,
    imputed,
    per_pixel,
    segments_of,
)
from captum_paramsal.metrics.segments import segment_ranks

MOST = "ROAD (most relevant first)"
GIVEN = {"normalise": False, "disable_warnings": True}
# Quantus works in single precision.
CLOSE = {"rtol": 0, "atol": 1e-6}


class Grey(nn.Module):
    """The demo's network on pictures of one channel."""

    def __init__(self):
        super().__init__()
        self.network = load_model()

    def forward(self, images):
        return self.network(images.expand(-1, 3, -1, -1))


@pytest.fixture(scope="module")
def quantus():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("quantus")


def explained(model, images, labels, boxes=None):
    """A case, and what Quantus is given for it. No two pixels are equal: Quantus leaves the order of such ones open."""
    made = Case.of(model, InputMaps(IntegratedGradients(model), n_steps=8), images, labels)
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    maps = made.maps + 1e-3 * made.maps.abs().mean() * noise
    case = Case(model, images, labels, maps, made.explain, boxes=boxes)
    pixels = per_pixel(case.maps)
    assert all(len(one.unique()) == one.numel() for one in pixels)
    asked = {"model": model, "x_batch": images.numpy(), "y_batch": labels.numpy()}
    return case, {**asked, "a_batch": pixels[:, None].numpy()}


@pytest.fixture(scope="module")
def coloured():
    scenes = load_scenes("test")[:4]
    return explained(load_model(), normalize(scenes.images), scenes.labels, scenes.boxes)


def mean_colours(images):
    return np.broadcast_to(images.mean(axis=(2, 3), keepdims=True), images.shape)


def test_pixel_flipping_is_deletion(quantus, grey):
    case, asked = grey
    mean = mean_colours(asked["x_batch"]).reshape(len(case), -1)

    def greyed(arr, indices, **_):
        changed, rows = arr.copy(), np.arange(len(arr))[:, None]
        changed[rows, indices] = mean[rows, indices]
        return changed

    found = np.array(quantus.PixelFlipping(features_in_step=256, perturb_func=greyed, **GIVEN)(**asked))
    curves = Deletion(steps=16).curves(case)["deletion"].numpy()
    np.testing.assert_allclose(found, curves[:, 1:], **CLOSE)


def test_pointing_game(quantus, coloured):
    case, asked = coloured
    inside = np.zeros((4, 1, 64, 64), dtype=bool)
    for mask, (x1, y1, x2, y2) in zip(inside, case.boxes.int().tolist(), strict=True):
        mask[:, y1:y2, x1:x2] = True
    found = quantus.PointingGame(abs=False, **GIVEN)(**asked, s_batch=inside)
    assert [float(hit) for hit in found] == Pointing().score(case)["pointing game"].tolist()


def test_sparseness(quantus, coloured):
    case, asked = coloured
    # Quantus adds 1e-7 to every value, which is nothing beside large ones.
    large = 1e6 * asked["a_batch"] / np.abs(asked["a_batch"]).max(axis=(1, 2, 3), keepdims=True)
    found = quantus.Sparseness(abs=True, **GIVEN)(**{**asked, "a_batch": large})
    np.testing.assert_allclose(found, Sparsity().score(case)["sparsity"].numpy(), **CLOSE)


def test_irof(quantus, coloured, monkeypatch):
    case, asked = coloured
    # NumPy has another name for it from 2.4 on.
    monkeypatch.setattr(np, "trapz", np.trapezoid, raising=False)
    labels, ours = segments_of(case.images, 100), IROF().score(case)["IROF"]
    ranks, counts = segment_ranks(per_pixel(case.maps), labels)
    without = torch.where((ranks == 0)[:, None], case.images.mean(dim=(2, 3), keepdim=True), case.images)
    with torch.no_grad():
        before, after = (
            case.model(x).softmax(dim=1).gather(1, case.targets[:, None])[:, 0] for x in (case.images, without)
        )
    for place in range(2):
        # One by one: Quantus fills images of fewer segments up with zeros.
        one = {name: value if name == "model" else value[place : place + 1] for name, value in asked.items()}
        mean = mean_colours(one["x_batch"])
        grey = partial(masked, mean=mean)
        (found,) = quantus.IROF(return_aggregate=False, perturb_func=grey, **GIVEN)(**one)
        # Quantus leaves out the whole image, from which the first segment goes, and does not divide by their number.
        whole = (1 + float(after[place] / before[place])) / 2
        assert (float(found) - whole) / int(counts[place]) == pytest.approx(float(ours[place]), abs=1e-6)


def masked(arr, mask, mean, **_):
    return np.where(mask, mean, arr)


@pytest.fixture(scope="module")
def grey():
    scenes = load_scenes("test")[:6]
    model, images = Grey().eval(), normalize(scenes.images).mean(dim=1, keepdim=True)
    with torch.no_grad():
        predicted = model(images).argmax(dim=1)
    return explained(model, images, predicted)


def test_road(quantus, grey):
    case, asked = grey
    percentages = [10, 30, 50, 70, 90]
    found = quantus.ROAD(percentages=percentages, noise=0.0, **GIVEN)(**asked)
    curves = ROAD(tuple(share / 100 for share in percentages), noise=0.0, of="accuracy").curves(case)
    ours = dict(zip(percentages, curves[MOST].mean(dim=0).tolist(), strict=True))
    assert found == pytest.approx(ours, abs=1e-6)
    assert len({*ours.values()}) > 1


def test_imputation(quantus, grey):
    images = grey[0].images.double()
    generator = torch.Generator().manual_seed(0)
    for share in (0.1, 0.5, 0.9):
        removed = torch.rand(64, 64, generator=generator) < share
        image = torch.cat([images[0], images[1], images[2]])
        indices = removed.flatten().nonzero()[:, 0].numpy()
        found = quantus.noisy_linear_imputation(arr=image.numpy(), indices=indices, noise=0.0)
        np.testing.assert_allclose(found, imputed(image, removed).numpy(), rtol=0, atol=1e-9)
