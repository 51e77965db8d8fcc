"""Reports on cures of a network with one filter that is wrong."""

from functools import cache

import torch
from repair.cures.small_fault import images, network

from captum_paramsal.filters import Filter
from captum_paramsal.repair import AcceptanceRule, CureSettings
from captum_paramsal.report import About, CureReportSettings, cure
from captum_paramsal.sources import LabelledTensors

CLASSES = {0: "axolotl", 1: "<b>bat</b>", 2: "cod", 3: "dog"}
ABOUT = About(model="small & wrong", images="noise")


def source(count=160, seed=0):
    inputs, labels = images(count, seed)
    return LabelledTensors(inputs, labels, names=[f"<photo> {number}" for number in range(count)])


def small_settings(rule=None, *, alternatives=False, **settings):
    how = CureSettings(**{"count": 1, "steps": 20, "learning_rate": 0.2, **settings}, rule=rule or AcceptanceRule())
    return CureReportSettings(how, alternatives=alternatives, show_progress=False)


@cache
def kept():
    """A cure that is kept, with its alternatives; never changed."""
    torch.manual_seed(0)
    return cure(network(), source(), settings=small_settings(alternatives=True), classes=CLASSES, about=ABOUT)


@cache
def refused():
    """A cure that is judged and refused, since it must cure more than it does."""
    rule = AcceptanceRule(level=0.0)
    return cure(network(), source(), settings=small_settings(rule), classes=CLASSES, about=ABOUT)


@cache
def too_few():
    """A set with too few mistakes."""
    return cure(network(), source(40), settings=small_settings(), classes=CLASSES, about=ABOUT)


def fault():
    return Filter("0", 2)
