"""Every public way into the package with a model."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch
from contract.models import SmallNet
from contract.samples import noise
from oracles.weights import seeded
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

import captum_paramsal as cp
from captum_paramsal import report
from captum_paramsal.metrics import increase_in_confidence
from captum_paramsal.models_compared import compare_models, compare_on_images
from captum_paramsal.repair import (
    CureSettings,
    fine_tune_curve,
    fine_tune_step,
    knock_out_curve,
    mask_pixels,
    mistake_kinds,
    paste_pixels,
    perturb_curve,
    step_transfer,
    treat,
)
from captum_paramsal.sources import LabelledTensors
from captum_paramsal.triage import set_saliency, triage

IMAGES = noise(12, 3, 8, 8)
FORWARD_ONLY = "it takes forward passes only"


class Changed(nn.Module):
    """The network of the contract, whose scores may be changed on their way out."""

    def __init__(self, change: Callable[[Tensor], Any] | None = None) -> None:
        super().__init__()
        self.net = seeded(SmallNet().double(), IMAGES)
        self.change = change

    def forward(self, x: Tensor) -> Any:
        scores = self.net(x)
        return scores if self.change is None else self.change(scores)


@dataclass(frozen=True)
class Known:
    """What belongs to the network before its scores are changed: the weights are the same."""

    reference: cp.Reference
    diagnosis: cp.Diagnosis
    predicted: Tensor

    @property
    def wrong(self) -> Tensor:
        """Labels that make every image a mistake."""
        return (self.predicted + 1) % 5

    @cached_property
    def mixed(self) -> Tensor:
        """Labels that make every other image a mistake."""
        return torch.where(torch.arange(12) % 2 == 0, self.predicted, self.wrong)

    @property
    def ranking(self) -> Tensor:
        return torch.arange(len(self.reference.filters)).double()

    @cached_property
    def source(self) -> LabelledTensors:
        return LabelledTensors(IMAGES, self.mixed)

    @cached_property
    def many(self) -> LabelledTensors:
        """The same images five times over, which are enough for a cure."""
        labels = torch.tensor([item.label for item in self.source.items])
        return LabelledTensors(IMAGES.repeat(5, 1, 1, 1), labels.repeat(5))


@cache
def known() -> Known:
    model = Changed().eval()
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
        call: Goes through it, with a model, what is known of it, and options of the door.
        without_gradient: Why a model whose scores have no gradient may pass, where it may.
    """

    call: Callable[..., Any]
    without_gradient: str = ""


def curve(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda model, k, **o: function(
        model, IMAGES, k.wrong, k.ranking, k.reference.filters, k=2, show_progress=False, **o
    )


def retrained(model: Any) -> Any:
    """Another checkpoint, which gets other images right; what has no weights, as it is."""
    other = deepcopy(model)
    if isinstance(model, nn.Module):
        with torch.no_grad():
            for weight in other.parameters():
                if not is_lazy(weight):
                    weight.neg_()
    return other


def stepped(model: nn.Module, k: Known, **o: Any) -> None:
    with fine_tune_step(model, k.reference.filters[0], IMAGES, k.wrong, **o):
        pass


def pot(model: nn.Module, k: Known, **o: Any) -> cp.POTSaliency:
    return cp.POTSaliency(model, k.reference, **o)


def doctor_of(model: nn.Module, **o: Any) -> cp.ModelDoctor:
    return cp.ModelDoctor(model, "net.bn", noise_samples=2, **o)


def boxes() -> Tensor:
    return torch.tensor([[1.0, 1.0, 6.0, 6.0]]).repeat(12, 1)


EXPLAIN = report.ExplainSettings(top_k=2, cards=1, show_progress=False)
CURE = report.CureReportSettings(CureSettings(count=2, steps=1), alternatives=False, show_progress=False)
DOORS = {
    "ParameterSaliency.attribute": Door(lambda m, k, **o: cp.ParameterSaliency(m, **o).attribute(IMAGES, k.wrong)),
    "ParameterSaliency.attribute, one by one": Door(
        lambda m, k, **o: cp.ParameterSaliency(m, k.reference, **o).attribute(IMAGES, k.wrong, internal_batch_size=1)
    ),
    "POTSaliency.attribute": Door(lambda m, k, **o: pot(m, k, **o).attribute(IMAGES, k.wrong)),
    "POTSaliency.p_values": Door(lambda m, k, **o: pot(m, k, **o).p_values(IMAGES, k.wrong)),
    "POTSaliency.significant": Door(lambda m, k, **o: pot(m, k, **o).significant(IMAGES, k.wrong)),
    "ComponentAttribution.attribute": Door(
        lambda m, k, **o: cp.ComponentAttribution(m, **o).attribute(IMAGES, k.wrong), FORWARD_ONLY
    ),
    "InputSpaceSaliency.attribute": Door(
        lambda m, k, **o: cp.InputSpaceSaliency(cp.ParameterSaliency(m, **o), top_k=1).attribute(IMAGES, k.wrong)
    ),
    "ModelDoctor.attribute": Door(lambda m, k, **o: doctor_of(m, **o).attribute(IMAGES, k.wrong)),
    "ModelDoctor.fit": Door(
        lambda m, k, **o: doctor_of(m, **o).fit([(IMAGES, k.predicted)], confidence=0.0, minimum=0, show_progress=False)
    ),
    "ModelDoctor.diagnose": Door(lambda m, k, **o: doctor_of(m, **o).diagnose(IMAGES, k.wrong, k.diagnosis)),
    "CNNFixations.attribute": Door(lambda m, k, **o: cp.CNNFixations(m, **o).attribute(IMAGES, k.wrong), FORWARD_ONLY),
    "CNNFixations.trace": Door(lambda m, k, **o: cp.CNNFixations(m, **o).trace(IMAGES, k.wrong), FORWARD_ONLY),
    "DiscernibleNeurons.attribute": Door(
        lambda m, k, **o: cp.DiscernibleNeurons(m, **o).attribute(IMAGES, k.wrong), FORWARD_ONLY
    ),
    "DiscernibleNeurons.trace": Door(
        lambda m, k, **o: cp.DiscernibleNeurons(m, **o).trace(IMAGES, k.wrong), FORWARD_ONLY
    ),
    "DiscernibleNeurons.fit_weights": Door(
        lambda m, k, **o: cp.DiscernibleNeurons(m, **o).fit_weights(
            IMAGES, k.wrong, boxes(), grid=(0.5, 1.0), trials=2, show_progress=False
        ),
        FORWARD_ONLY,
    ),
    "Reference.fit": Door(lambda m, k, **o: cp.Reference.fit(m, [(IMAGES, k.wrong)], show_progress=False, **o)),
    "compare": Door(
        lambda m, k, **o: cp.compare(["saliency"], m, IMAGES, k.wrong, keep=0, show_progress=False, **o),
        "a method that fails is a row of the comparison",
    ),
    "compare_models": Door(lambda m, k, **o: compare_models(m, retrained(m), IMAGES, k.mixed, steps=1, **o)),
    "compare_on_images": Door(
        lambda m, k, **o: compare_on_images(
            m, retrained(m), IMAGES, k.mixed, limit=2, keep=1, **o
        )
    ),
    "triage": Door(lambda m, k, **o: triage(m, [(IMAGES, k.mixed)], k.reference, show_progress=False, **o)),
    "set_saliency": Door(lambda m, k, **o: set_saliency(m, IMAGES, k.wrong, k.reference, **o)),
    "knock_out_curve": Door(curve(knock_out_curve), FORWARD_ONLY),
    "perturb_curve": Door(curve(perturb_curve), FORWARD_ONLY),
    "fine_tune_curve": Door(curve(fine_tune_curve)),
    "fine_tune_step": Door(stepped),
    "step_transfer": Door(
        lambda m, k, **o: step_transfer(
            m, IMAGES, k.wrong, k.ranking, k.reference.filters,
            others=torch.arange(12).flip(0)[:, None], k=2, show_progress=False, **o,
        )
    ),
    "mask_pixels": Door(
        lambda m, k, **o: mask_pixels(m, IMAGES, k.wrong, IMAGES.abs().sum(dim=1), **o), FORWARD_ONLY
    ),
    "mistake_kinds": Door(
        lambda m, k, **o: mistake_kinds(m, IMAGES, k.wrong, IMAGES, boxes(), **o), FORWARD_ONLY
    ),
    "paste_pixels": Door(
        lambda m, k, **o: paste_pixels(
            m, IMAGES, k.wrong, IMAGES[:2], IMAGES.abs().sum(dim=1), draws=1, show_progress=False, **o
        ),
        FORWARD_ONLY,
    ),
    "treat": Door(
        lambda m, k, **o: treat(m, [(IMAGES, k.mixed)], [(IMAGES, k.mixed)], epochs=1, show_progress=False, **o)
    ),
    "increase_in_confidence": Door(
        lambda m, k, **o: increase_in_confidence(m, IMAGES, boxes(), k.wrong, **o), FORWARD_ONLY
    ),
    "report.explain": Door(
        lambda m, k, **o: report.explain(m, k.source, k.reference, settings=EXPLAIN, **o)
    ),
    "report.doctor": Door(
        lambda m, k, **o: report.doctor(
            m, k.source, k.diagnosis,
            settings=report.DoctorSettings(layer="net.bn", noise_samples=2, show_progress=False), **o,
        )
    ),
    "report.compare": Door(
        lambda m, k, **o: report.compare(
            m, k.source, k.reference,
            settings=report.ComparisonSettings(("saliency",), ("sparsity",), show_progress=False), **o,
        ),
        "a method that fails is a row of the comparison",
    ),
    "report.triage": Door(
        lambda m, k, **o: report.triage(
            m, k.source, k.reference, settings=report.TriageSettings(show_progress=False), **o
        )
    ),
    "report.annotate": Door(
        lambda m, k, **o: report.annotate(
            m, k.source, settings=report.AnnotationSettings(show_progress=False), **o
        ),
        FORWARD_ONLY,
    ),
    "report.compare_models": Door(
        lambda m, k, **o: report.compare_models(
            m, retrained(m), k.source,
            settings=report.ModelComparisonSettings(explained=2, shown=1, steps=1, show_progress=False), **o,
        )
    ),
    "report.cure": Door(lambda m, k, **o: report.cure(m, k.many, k.reference, settings=CURE, **o)),
    "report.fit_reference": Door(lambda m, k, **o: report.fit_reference(m, k.source, show_progress=False, **o)),
}  # fmt: skip
