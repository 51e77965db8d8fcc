"""One small value of every kind that the package saves."""

from functools import lru_cache

import pytest
import torch
from torch import nn

from captum_paramsal import DiscernibleNeurons, FewSamplesWarning, ModelDoctor, ParameterSaliency, Reference, compare
from captum_paramsal.models_compared import compare_models, compare_on_images
from captum_paramsal.repair import (
    CureSettings,
    Patch,
    cure,
    knock_out_curve,
    mask_pixels,
    mistake_kinds,
    neighbors,
    paste_pixels,
    random_ranking,
    step_transfer,
    treat,
)
from captum_paramsal.triage import triage

QUIET = {"show_progress": False}


def model(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3)]
        return nn.Sequential(*layers).double().eval()


def batches(count=12):
    """Images, every third of which is a mistake."""
    images = torch.randn(count, 1, 6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        predicted = model()(images).argmax(dim=1)
    labels = (predicted + (torch.arange(count) % 3 == 0)) % 3
    return [(images[:8], labels[:8]), (images[8:], labels[8:])]


def _doctor():
    return ModelDoctor(model(), "1", noise_samples=1)


def _diagnosis():
    return _doctor().fit(batches(), confidence=0.0, minimum=0, **QUIET)


def _findings():
    images, labels = batches()[0]
    return _doctor().diagnose(images, labels, _diagnosis())


def _weight_search():
    images, labels = batches()[0]
    boxes = torch.tensor([[1.0, 1, 4, 4]] * len(images))
    return DiscernibleNeurons(model()).fit_weights(images, labels, boxes, grid=(0.5, 1.0), trials=4, **QUIET)


def _triage():
    with pytest.warns(FewSamplesWarning):
        return triage(model(), batches(), **QUIET)


def _curve():
    images, labels = (both[::3] for both in batches()[0])
    filters = ParameterSaliency(model()).filters
    return knock_out_curve(model(), images, labels, random_ranking(filters, len(images)), filters, k=2, **QUIET)


def _step_transfer():
    images, labels = (both[::3] for both in batches()[0])
    filters = ParameterSaliency(model()).filters
    ranking, others = random_ranking(filters, len(images)), torch.tensor([[1], [2], [0]])
    return step_transfer(model(), images, labels, ranking, filters, others=others, k=2, **QUIET)


def _pasted():
    images, labels = (both[::3] for both in batches()[0])
    scores = torch.rand(len(images), 6, 6, generator=torch.Generator().manual_seed(0))
    return paste_pixels(model(), images, labels, batches()[1][0], scores, share=0.2, **QUIET)


def _cure():
    return cure(model(), batches(60), batches(60), settings=CureSettings(count=2, steps=1), **QUIET)


def _mistake_kinds():
    images, labels = (both[::3] for both in batches()[0])
    return mistake_kinds(model(), images, labels, images, torch.tensor([[1.0, 1, 4, 4]] * len(images)))


VALUES = {
    "reference": lambda: Reference.fit(model(), batches(), tail=0.5, exemplars=3, total=12, **QUIET),
    "trace": lambda: DiscernibleNeurons(model()).trace(batches()[0][0]),
    "cure": _cure,
    "diagnosis": _diagnosis,
    "findings": _findings,
    "patch": lambda: Patch.between(model(), model(seed=1)),
    "curve": _curve,
    "comparison": lambda: compare(["saliency"], model(), batches()[0][0], metrics=["sparsity"], keep=1, **QUIET),
    "neighbors": lambda: neighbors(torch.rand(5, 4, generator=torch.Generator().manual_seed(0)), [0, 2], k=2),
    "step transfer": _step_transfer,
    "masked pixels": lambda: mask_pixels(model(), *batches()[0], torch.arange(36.0).view(1, 6, 6).expand(8, 6, 6)),
    "model comparison": lambda: compare_models(model(), model(), *batches()[0], steps=1),
    "mistake kinds": _mistake_kinds,
    "image differences": lambda: compare_on_images(model(), model(), *batches()[0], limit=2, keep=1),
    "pasted pixels": _pasted,
    "triage": _triage,
    "treatment": lambda: treat(model(), batches(), batches(), epochs=1, **QUIET),
    "weight search": _weight_search,
}


@lru_cache
def small_value(kind):
    """It is the same each time: never changed, and made once."""
    return VALUES[kind]()
