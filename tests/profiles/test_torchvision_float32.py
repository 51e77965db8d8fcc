"""Families of torchvision in single precision: as close to the exact result as the batch-of-one loop itself."""

import pytest
from cases.families import FAMILIES
from cases.scored_families import Scored
from cases.scores import scores_of
from oracles.deviation import assert_rounding
from oracles.parameter_saliency import profile_loop

ORDINARY = {"resnext_small", "squeezenet1_1", "efficientnet_small", "regnet_small", "vit_small"}
"""The others take minutes together."""


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(f, id=str(f), marks=[pytest.mark.slow] if f.slow or f.name not in ORDINARY else [])
        for f in FAMILIES
    ],
)
def scored(request):
    return Scored.of(request.param)


def test_float32(scored):
    # On the very forward passes of the loop, so that no maximum or ReLU at a tie falls the other way.
    case = scored.model, scored.images, scored.labels
    loop = profile_loop(*case, scored.layers)
    assert_rounding(
        str(scored.family), scores_of(*case, scored.family.layers, internal_batch_size=1), [loop], scored.exact
    )


def test_float32_in_one_batch(scored):
    # A batched forward pass rounds ties its own way, with or without us: its loop stands beside the other.
    case = scored.model, scored.images, scored.labels
    loops = [profile_loop(*case, scored.layers, one_forward=together) for together in (False, True)]
    assert_rounding(str(scored.family), scores_of(*case, scored.family.layers), loops, scored.exact)
