"""Models that do not return class scores: every public door refuses them alike, and leaves nothing behind."""

from __future__ import annotations

import pytest
import torch
from contract.doors import DOORS, IMAGES, Changed, known
from contract.snapshot import nothing_left_behind
from torch import nn

import captum_paramsal as cp
from captum_paramsal import ParameterSaliency, Reference

NO_SCORES = {
    "tuple": (
        lambda scores: (scores,),
        r"class scores .*, got tuple\. Give `output=` .*`lambda returned: returned\[0\]`",
    ),
    "dict": (
        lambda scores: {"scores": scores},
        r"class scores .*, got dict\. Give `output=` .*`lambda returned: returned\['scores'\]`",
    ),
    "too few rows": (
        lambda scores: scores[1:],
        r"one row per example, got \(\d+, 5\)\. Give `output=`.* a row for each",
    ),
}
NO_GRADIENT = r"scores without a gradient\. Take `detach\(\)`"


def without_gradient():
    return Changed(lambda scores: scores.detach())


@pytest.mark.parametrize("broken", NO_SCORES)
@pytest.mark.parametrize("door", DOORS)
def test_a_model_without_class_scores_is_refused(door, broken):
    change, said = NO_SCORES[broken]
    model, healthy = Changed(change), known()
    with nothing_left_behind(model, IMAGES), pytest.raises(cp.ModelError, match=said):
        DOORS[door].call(model, healthy)


@pytest.mark.parametrize("door", [name for name, door in DOORS.items() if not door.without_gradient])
def test_scores_without_a_gradient_are_refused(door):
    model, healthy = without_gradient(), known()
    with nothing_left_behind(model, IMAGES), pytest.raises(cp.ModelError, match=NO_GRADIENT):
        DOORS[door].call(model, healthy)


@pytest.mark.parametrize("door", [name for name, door in DOORS.items() if door.without_gradient])
def test_scores_without_a_gradient_pass_where_none_is_taken(door):
    model, healthy = without_gradient(), known()
    with nothing_left_behind(model, IMAGES):
        DOORS[door].call(model, healthy)


@pytest.fixture
def _other_default_device():
    """A device of which new tensors are no use beside a model on the CPU."""
    import captum_paramsal.report.compare  # noqa: F401, PLC0415 -- makes tensors while it is imported

    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)


# This door reads boxes, which come as lists, before it looks at the model.
@pytest.mark.parametrize("door", [name for name in DOORS if name != "increase_in_confidence"])
@pytest.mark.usefixtures("_other_default_device")
def test_another_default_device_is_refused(door):
    with torch.device("cpu"):
        model, healthy = Changed(), known()
        _ = healthy.mixed, healthy.wrong, healthy.source, healthy.many, healthy.ranking
    with nothing_left_behind(model, IMAGES), pytest.raises(cp.InputError, match="Expected the CPU as torch's default"):
        DOORS[door].call(model, healthy)


@pytest.mark.filterwarnings("ignore:.* mistakes have a right image of their class")
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.usefixtures("_other_default_device")
def test_what_is_said_of_the_default_device_helps(door):
    with torch.device("cpu"):
        DOORS[door].call(Changed(), known())


@pytest.mark.parametrize("door", [ParameterSaliency, lambda model: Reference.fit(model, [(IMAGES, [0] * len(IMAGES))])])
def test_complex_weights_have_no_score(door):
    with pytest.raises(cp.LayerError, match=r"Expected real weights in layer '0', got torch\.complex64"):
        door(nn.Sequential(nn.Conv2d(IMAGES.shape[1], 4, 3, dtype=torch.complex64), nn.Conv2d(4, 5, 3)))


@pytest.mark.filterwarnings("ignore:.* mistakes have a right image of their class")
@pytest.mark.parametrize("door", DOORS)
def test_the_network_itself_passes(door):
    model, healthy = Changed(), known()
    DOORS[door].call(model, healthy)
