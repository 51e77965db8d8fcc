"""Every classification family of torchvision with seeded random weights: equal to the batch-of-one loop.

In single precision, where the loop itself rounds, it is as close to the exact result as the loop.
"""

import pytest
import torch
from cases.families import FAMILIES, Family
from cases.scored_families import Scored
from cases.scores import scores_of
from oracles.deviation import assert_exact, assert_rounding
from oracles.parameter_saliency import CONVOLUTIONS, TRANSPOSED, convolutions, profile_loop
from torch import nn

from captum_paramsal.attr import ParameterSaliency

ORDINARY = {"resnext_small", "squeezenet1_1", "efficientnet_small", "vit_small"}
"""Families that the default run has in single precision; the others take minutes together."""

TYPICAL = {*ORDINARY, "alexnet", "densenet_small", "mobilenet_v2_small", "regnet_small", "swin_small", "maxvit_small"}
"""Families that it has in double precision."""

WITH_RULES = (*CONVOLUTIONS, *TRANSPOSED, nn.Linear, nn.MultiheadAttention)


# Auxiliary heads and hidden layers over vectors are left out on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:The default layers leave out")


def families(quick):
    """The families, slow where ``quick`` does not hold."""
    return [pytest.param(f, id=str(f), marks=[] if quick(f) else [pytest.mark.slow]) for f in FAMILIES]


every_family = pytest.mark.parametrize(
    "scored", families(lambda f: not f.slow and f.name in TYPICAL), indirect=True, scope="module"
)
in_single = pytest.mark.parametrize(
    "scored", families(lambda f: not f.slow and f.name in ORDINARY), indirect=True, scope="module"
)


@pytest.fixture(scope="module")
def scored(request):
    return Scored.of(request.param)


@every_family
def test_layers(scored):
    if scored.family.layers is None:
        at_places = [
            name
            for name, layer in scored.model.named_modules()
            if isinstance(layer, nn.Linear) and name.startswith("features.") and "convnext" in str(scored.family)
        ]
        wanted = {*convolutions(scored.model), *at_places} - {scored.family.classifier}
        expected = [name for name, _ in scored.model.named_modules() if name in wanted]
        assert list(scored.layers) == expected
    else:
        expected = [name for name, layer in scored.model.named_modules() if isinstance(layer, WITH_RULES)]
        missing = set(expected) - set(scored.layers)
        assert not missing, f"{scored.family}: layers='*' leaves out {sorted(missing)[:5]}"
        assert [name for name in scored.layers if name in expected] == expected, "layers in the order of the model"


@every_family
def test_float64(scored):
    scores = scores_of(scored.double, scored.images.double(), scored.labels, scored.family.layers)
    assert_exact(str(scored.family), scores, scored.exact)


@in_single
def test_float32(scored):
    # On the very forward passes of the loop, so that no maximum or ReLU at a tie falls the other way.
    case = scored.model, scored.images, scored.labels
    loop = profile_loop(*case, scored.layers)
    assert_rounding(
        str(scored.family), scores_of(*case, scored.family.layers, internal_batch_size=1), [loop], scored.exact
    )


@in_single
def test_float32_in_one_batch(scored):
    # A batched forward pass rounds ties its own way, with or without us: its loop stands beside the other.
    case = scored.model, scored.images, scored.labels
    loops = [profile_loop(*case, scored.layers, one_forward=together) for together in (False, True)]
    assert_rounding(str(scored.family), scores_of(*case, scored.family.layers), loops, scored.exact)


@pytest.mark.parametrize("name", ["googlenet", pytest.param("inception_v3", marks=pytest.mark.slow)])
def test_auxiliary_heads_that_evaluation_never_reaches_score_zero(name):
    family = next(f for f in FAMILIES if f.name == name and f.arguments["aux_logits"])
    model, images, labels = family.build()
    scores = scores_of(model.train(), images, labels)
    auxiliary = {layer: s for layer, s in scores.items() if layer.startswith(("aux", "AuxLogits"))}
    assert auxiliary
    for layer, values in auxiliary.items():
        assert (values == 0).all(), f"{family}, layer {layer}: {float(values.abs().max()):.3g}"
    assert all((s > 0).any() for layer, s in scores.items() if layer not in auxiliary)


@pytest.mark.parametrize(
    ("name", "arguments", "filters", "starts"),
    [
        ("resnet18", {}, 4_800, {"layer4.0.conv1": 2_240}),
        (
            "resnet50", {}, 26_560,
            {"layer1.0.conv1": 64, "layer2.0.conv1": 1_472, "layer3.0.conv1": 5_056, "layer4.0.conv1": 15_296},
        ),
        pytest.param("densenet121", {}, 10_240, {}, marks=pytest.mark.slow),
        pytest.param("inception_v3", {"init_weights": False}, 18_112, {}, marks=pytest.mark.slow),
        pytest.param("inception_v3", {"init_weights": False, "aux_logits": False}, 17_216, {}, marks=pytest.mark.slow),
        pytest.param("vgg19", {}, 5_504, {}, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_filter_counts_of_the_papers(name, arguments, filters, starts):
    # Levin et al. and Wang and Sato count these; downsampling convolutions and auxiliary heads included.
    family = Family(name, 32, arguments)
    with torch.no_grad():
        saliency = ParameterSaliency(family.constructor()(num_classes=1000, **arguments))
    assert len(saliency.filters) == filters
    for layer, start in starts.items():
        assert saliency.filters.slice(layer).start == start, layer


@pytest.mark.parametrize("name", ["vit_small", "swin_small", pytest.param("swin_t", marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", [nn.Linear, nn.MultiheadAttention], ids=lambda kind: kind.__name__)
def test_transformers_by_layer_type(name, kind):
    family = next(f for f in FAMILIES if f.name == name)
    model, images, labels = family.build()
    expected = [layer for layer, module in model.named_modules() if isinstance(module, kind)]
    if not expected:
        pytest.skip(f"{name} has no {kind.__name__}")
    double = model.double()
    scores = scores_of(double, images.double(), labels, kind)
    assert_exact(f"{name}, {kind.__name__}", scores, profile_loop(double, images.double(), labels, expected))


def test_heads_of_a_vision_transformer_are_named():
    model, _, _ = next(f for f in FAMILIES if f.name == "vit_small").build()
    filters = ParameterSaliency(model, layers=nn.MultiheadAttention).filters
    assert dict(filters.counts) == {f"encoder.layers.encoder_layer_{n}.self_attention": 12 for n in range(3)}
    names = [str(filters[j]).rpartition("self_attention.")[2] for j in range(12)]
    assert names == [f"{part}[head {head}]" for part in "qkv" for head in range(4)]
    assert [filters[j].index for j in range(12)] == list(range(12))
