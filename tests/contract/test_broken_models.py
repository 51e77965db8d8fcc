"""Models that do not return class scores: every public door refuses them alike, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from contract.models import SmallNet
from contract.samples import noise
from contract.snapshot import nothing_left_behind
from oracles.weights import seeded
from torch import Tensor, nn

import captum_paramsal as cp
from captum_paramsal import report
from captum_paramsal.metrics import increase_in_confidence
from captum_paramsal.repair import (
    fine_tune_curve,
    fine_tune_step,
    knock_out_curve,
    mask_pixels,
    perturb_curve,
    step_transfer,
    treat,
)
from captum_paramsal.sources import LabelledTensors
from captum_paramsal.triage import set_saliency, triage

NO_SCORES = {
    "tuple": (lambda scores: (scores,), r"class scores .*, got tuple\. Wrap the model .*`model\(x\)\[0\]`"),
    "dict": (
        lambda scores: {"logits": scores},
        r"class scores .*, got dict\. Wrap the model .*`model\(x\)\['logits'\]`",
    ),
    "too few rows": (
        lambda scores: scores[1:],
        r"one row per example, got \(\d+, 5\)\. Wrap the model .* a row for each",
    ),
}
CHANGES = {name: change for name, (change, _) in NO_SCORES.items()} | {"no gradient": lambda scores: scores.detach()}
NO_GRADIENT = r"scores without a gradient\. Take `detach\(\)`"

IMAGES = noise(12, 3, 8, 8)
FORWARD_ONLY = "it takes forward passes only"


class Broken(nn.Module):
    """The network of the contract, whose scores are changed on their way out."""

    def __init__(self, change: str) -> None:
        super().__init__()
        self.net = seeded(SmallNet().double(), IMAGES)
        self.change = CHANGES[change] if change else None

    def forward(self, x: Tensor) -> Any:
        scores = self.net(x)
        return scores if self.change is None else self.change(scores)


@dataclass(frozen=True)
class Known:
    """What belongs to the network before it is broken: the weights are the same, so it fits the broken ones too."""

    reference: cp.Reference
    diagnosis: cp.Diagnosis
    predicted: Tensor

    @property
    def wrong(self) -> Tensor:
        """Labels that make every image a mistake."""
        return (self.predicted + 1) % 5

    @property
    def mixed(self) -> Tensor:
        """Labels that make every other image a mistake."""
        return torch.where(torch.arange(12) % 2 == 0, self.predicted, self.wrong)

    @property
    def ranking(self) -> Tensor:
        return torch.arange(len(self.reference.filters)).double()

    @property
    def source(self) -> LabelledTensors:
        return LabelledTensors(IMAGES, self.mixed)


@cache
def known() -> Known:
    model = Broken("").eval()
    with torch.no_grad():
        predicted = model(IMAGES).argmax(dim=1)
    many = [(noise(60, 3, 8, 8, seed=5), torch.arange(60) % 5)]
    reference = cp.Reference.fit(model, many, tail=0.5, show_progress=False)
    doctor = cp.ModelDoctor(model, "net.bn", noise_samples=2)
    diagnosis = doctor.fit([(IMAGES, predicted)], confidence=0.0, minimum=0, show_progress=False)
    return Known(reference, diagnosis, predicted)


@dataclass(frozen=True)
class Door:
    """A way into the package with a model.

    Attributes:
        call: Goes through it.
        without_gradient: Why a model whose scores have no gradient may pass, where it may.
    """

    call: Callable[[nn.Module, Known], Any]
    without_gradient: str = ""


def curve(function: Callable[..., Any]) -> Callable[[nn.Module, Known], Any]:
    return lambda model, k: function(model, IMAGES, k.wrong, k.ranking, k.reference.filters, k=2, show_progress=False)


def stepped(model: nn.Module, k: Known) -> None:
    with fine_tune_step(model, k.reference.filters[0], IMAGES, k.wrong):
        pass


def pot(model: nn.Module, k: Known) -> cp.POTSaliency:
    return cp.POTSaliency(model, k.reference)


def doctor_of(model: nn.Module) -> cp.ModelDoctor:
    return cp.ModelDoctor(model, "net.bn", noise_samples=2)


def boxes() -> Tensor:
    return torch.tensor([[1.0, 1.0, 6.0, 6.0]]).repeat(12, 1)


EXPLAIN = report.ExplainSettings(top_k=2, show_progress=False)
DOORS = {
    "ParameterSaliency.attribute": Door(lambda model, k: cp.ParameterSaliency(model).attribute(IMAGES, k.wrong)),
    "ParameterSaliency.attribute, one by one": Door(
        lambda model, k: cp.ParameterSaliency(model, k.reference).attribute(IMAGES, k.wrong, internal_batch_size=1)
    ),
    "POTSaliency.attribute": Door(lambda model, k: pot(model, k).attribute(IMAGES, k.wrong)),
    "POTSaliency.p_values": Door(lambda model, k: pot(model, k).p_values(IMAGES, k.wrong)),
    "POTSaliency.significant": Door(lambda model, k: pot(model, k).significant(IMAGES, k.wrong)),
    "InputSpaceSaliency.attribute": Door(
        lambda model, k: cp.InputSpaceSaliency(cp.ParameterSaliency(model), top_k=1).attribute(IMAGES, k.wrong)
    ),
    "ModelDoctor.attribute": Door(lambda model, k: doctor_of(model).attribute(IMAGES, k.wrong)),
    "ModelDoctor.fit": Door(
        lambda model, k: doctor_of(model).fit([(IMAGES, k.predicted)], confidence=0.0, minimum=0, show_progress=False)
    ),
    "ModelDoctor.diagnose": Door(lambda model, k: doctor_of(model).diagnose(IMAGES, k.wrong, k.diagnosis)),
    "CNNFixations.attribute": Door(lambda model, k: cp.CNNFixations(model).attribute(IMAGES, k.wrong), FORWARD_ONLY),
    "CNNFixations.trace": Door(lambda model, k: cp.CNNFixations(model).trace(IMAGES, k.wrong), FORWARD_ONLY),
    "DiscernibleNeurons.attribute": Door(
        lambda model, k: cp.DiscernibleNeurons(model).attribute(IMAGES, k.wrong), FORWARD_ONLY
    ),
    "DiscernibleNeurons.trace": Door(
        lambda model, k: cp.DiscernibleNeurons(model).trace(IMAGES, k.wrong), FORWARD_ONLY
    ),
    "DiscernibleNeurons.fit_weights": Door(
        lambda model, k: cp.DiscernibleNeurons(model).fit_weights(
            IMAGES, k.wrong, boxes(), grid=(0.5, 1.0), trials=2, show_progress=False
        ),
        FORWARD_ONLY,
    ),
    "Reference.fit": Door(lambda model, k: cp.Reference.fit(model, [(IMAGES, k.wrong)], show_progress=False)),
    "compare": Door(
        lambda model, k: cp.compare(["saliency"], model, IMAGES, k.wrong, keep=0, show_progress=False),
        "a method that fails is a row of the comparison",
    ),
    "triage": Door(lambda model, k: triage(model, [(IMAGES, k.mixed)], k.reference, show_progress=False)),
    "set_saliency": Door(lambda model, k: set_saliency(model, IMAGES, k.wrong, k.reference)),
    "knock_out_curve": Door(curve(knock_out_curve), FORWARD_ONLY),
    "perturb_curve": Door(curve(perturb_curve), FORWARD_ONLY),
    "fine_tune_curve": Door(curve(fine_tune_curve)),
    "fine_tune_step": Door(stepped),
    "step_transfer": Door(
        lambda model, k: step_transfer(
            model, IMAGES, k.wrong, k.ranking, k.reference.filters,
            others=torch.arange(12).flip(0)[:, None], k=2, show_progress=False,
        )
    ),
    "mask_pixels": Door(
        lambda model, k: mask_pixels(model, IMAGES, k.wrong, IMAGES.abs().sum(dim=1)), FORWARD_ONLY
    ),
    "treat": Door(
        lambda model, k: treat(model, [(IMAGES, k.mixed)], [(IMAGES, k.mixed)], epochs=1, show_progress=False)
    ),
    "increase_in_confidence": Door(
        lambda model, k: increase_in_confidence(model, IMAGES, boxes(), k.wrong), FORWARD_ONLY
    ),
    "report.explain": Door(
        lambda model, k: report.explain(model, k.source, k.reference, settings=EXPLAIN)
    ),
    "report.doctor": Door(
        lambda model, k: report.doctor(
            model, k.source, k.diagnosis,
            settings=report.DoctorSettings(layer="net.bn", noise_samples=2, show_progress=False),
        )
    ),
    "report.compare": Door(
        lambda model, k: report.compare(
            model, k.source, k.reference,
            settings=report.ComparisonSettings(("saliency",), ("sparsity",), show_progress=False),
        ),
        "a method that fails is a row of the comparison",
    ),
    "report.triage": Door(
        lambda model, k: report.triage(
            model, k.source, k.reference, settings=report.TriageSettings(show_progress=False)
        )
    ),
    "report.fit_reference": Door(lambda model, k: report.fit_reference(model, k.source, show_progress=False)),
}  # fmt: skip


@pytest.mark.parametrize("broken", NO_SCORES)
@pytest.mark.parametrize("door", DOORS)
def test_a_model_without_class_scores_is_refused(door, broken):
    _, said = NO_SCORES[broken]
    model, healthy = Broken(broken), known()
    with nothing_left_behind(model, IMAGES), pytest.raises(cp.ModelError, match=said):
        DOORS[door].call(model, healthy)


@pytest.mark.parametrize("door", [name for name, door in DOORS.items() if not door.without_gradient])
def test_scores_without_a_gradient_are_refused(door):
    model, healthy = Broken("no gradient"), known()
    with nothing_left_behind(model, IMAGES), pytest.raises(cp.ModelError, match=NO_GRADIENT):
        DOORS[door].call(model, healthy)


@pytest.mark.parametrize("door", [name for name, door in DOORS.items() if door.without_gradient])
def test_scores_without_a_gradient_pass_where_none_is_taken(door):
    model, healthy = Broken("no gradient"), known()
    with nothing_left_behind(model, IMAGES):
        DOORS[door].call(model, healthy)


@pytest.mark.filterwarnings("ignore:.* mistakes have a right image of their class")
@pytest.mark.parametrize("door", DOORS)
def test_the_network_itself_passes(door):
    model, healthy = Broken(""), known()
    DOORS[door].call(model, healthy)
