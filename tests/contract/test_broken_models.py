"""Models that do not return class scores: every public door refuses them alike, and leaves nothing behind."""

from __future__ import annotations

import pytest
from contract.doors import DOORS, IMAGES, Changed, known
from contract.snapshot import nothing_left_behind

import captum_paramsal as cp

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


@pytest.mark.filterwarnings("ignore:.* mistakes have a right image of their class")
@pytest.mark.parametrize("door", DOORS)
def test_the_network_itself_passes(door):
    model, healthy = Changed(), known()
    DOORS[door].call(model, healthy)
