"""Weights that are computed for each pass: what is written into them would be lost, so they are refused by name."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from captum_paramsal import Filter, InterventionError, ParameterSaliency
from captum_paramsal.repair import fine_tune_step, knock_out, knock_out_curve, magnitude_ranking, perturb

MAKERS = {
    "pruned": lambda layer: prune.ln_structured(layer, "weight", 0.4, n=1, dim=0),
    "weight norm": parametrizations.weight_norm,
    "spectral norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "spectral norm, old": nn.utils.spectral_norm,
    "pruned bias": lambda layer: prune.l1_unstructured(layer, "bias", 0.4),
}
IMAGES = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))


def entered(block):
    with block:
        pass


CALLS = {
    "knock_out": lambda model: entered(knock_out(model, Filter("2", 3), bias=True)),
    "perturb": lambda model: entered(perturb(model, Filter("2", 3), bias=True)),
    "step": lambda model: entered(fine_tune_step(model, Filter("2", 3), IMAGES, 0, bias=True)),
    "curve": lambda model: knock_out_curve(
        model, IMAGES, (model(IMAGES).argmax(1) + 1) % 4, torch.rand(2, 5),
        ParameterSaliency(model, layers="2").filters, k=2,
        bias=True, show_progress=False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("maker", MAKERS)
def test_computed_weights_are_refused(maker, call):
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4)
    )
    MAKERS[maker](model[2])
    model.eval()
    before = model(IMAGES)
    with pytest.raises(InterventionError, match=r"of '2' is computed for each pass.*Make it a parameter first"):
        CALLS[call](model)
    assert torch.equal(model(IMAGES), before)


def test_made_a_parameter_again_they_are_taken():
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)).eval()
    prune.ln_structured(model[0], "weight", 0.4, n=1, dim=0)
    filters = ParameterSaliency(model, layers="0").filters
    with pytest.raises(InterventionError, match="prune"):
        magnitude_ranking(model, filters)
    prune.remove(model[0], "weight")
    assert (magnitude_ranking(model, filters) == 0).sum() == 2
