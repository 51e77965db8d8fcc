"""Traces through a filter: the chains of the slow twin, and the laws of a part."""

from __future__ import annotations

import pytest
import torch
from cases.token_networks import OfTorch, Recipe, images as token_images, network
from cases.tracing_cases import TRACING_CASES
from cases.tracing_networks import conv, conv_bn, gap
from oracles import through as oracle
from oracles.discernible_neurons import FIXATIONS, Method
from torch import nn

from captum_paramsal import CNNFixations, DiscernibleNeurons, Filter, InputError, LayerError, TraceError
from captum_paramsal.graph import Passing, Sites, registry, trace_rule

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")

METHODS = {
    "one of each": (
        Method(preceding=0.1, linear_top_k=10, places=5),
        lambda model: DiscernibleNeurons(model, places=5),
    ),
    "two of each": (
        Method(preceding=0.1, top_k=2, linear_top_k=3, places=2),
        lambda model: DiscernibleNeurons(model, top_k=2, linear_top_k=3, places=2),
    ),
    "fixations": (FIXATIONS, CNNFixations),
}
PLAIN = ["flatten and linear layers", "global pool", "strides", "groups", "depthwise", "batch norm", "max pools"]
"""Cases in which every chain goes through every layer, as far as it goes."""
BRANCHED = ["residual", "fire modules", "gates"]


def neurons_of(trace, layer, image):
    """``{(channel, y, x): supports}`` of one image in a layer."""
    found = trace.layers[layer].of_image(image)
    parts = (found.channel, found.y, found.x, found.score, found.current, found.preceding, found.succeeding)
    return {tuple(row[:3]): tuple(row[3:]) for row in zip(*(part.tolist() for part in parts), strict=True)}


def everything(trace, image):
    """One image's neurons of all layers."""
    return {(layer, *place) for layer in trace.layers for place in neurons_of(trace, layer, image)}


def channels(trace, layer):
    return sorted(set(trace.layers[layer].channel.tolist()))


def through_each(tracer, image, filters):
    """An image's trace through each of several filters, as a batch of its copies."""
    return tracer.trace(image.expand(len(filters), *image.shape[1:]), through=filters)


def weighted(model, trace):
    """Layers with weights that the trace passes, from the last to the first."""
    kinds = nn.Conv2d | nn.Linear
    return [name for name, found in trace.layers.items() if name not in ("output", "input") and len(found)
            and isinstance(model.get_submodule(name), kinds)]  # fmt: skip


def some_filters(model, trace):
    """A filter of the first, of a middle and of the last layer that are passed: of each the first and an unseen one."""
    names = weighted(model, trace)
    for name in dict.fromkeys((names[0], names[len(names) // 2], names[-1])):
        found = trace.layers[name]
        seen = set(found.channel.tolist())
        yield Filter(name, min(seen))
        unseen = [channel for channel in range(found.size[0]) if channel not in seen]
        if unseen:
            yield Filter(name, unseen[0])


def cases():
    for number, name in enumerate(TRACING_CASES):
        for method in METHODS:
            quick = method == list(METHODS)[number % 3] and name != "dense"
            yield pytest.param(name, method, marks=[] if quick else pytest.mark.slow)


@pytest.mark.parametrize(("name", "method"), list(cases()))
def test_chains_of_the_slow_twin(name, method):
    case = TRACING_CASES[name]()
    settings, build = METHODS[method]
    tracer = build(case.model)
    whole = tracer.trace(case.images)
    reached = 0
    for item in some_filters(case.model, whole):
        trace = tracer.trace(case.images, through=item)
        for number, image in enumerate(case.images):
            label = int(whole.labels[number])
            wanted = oracle.through(oracle.Walk(case.network, image.numpy(), settings), label, item.layer, item.index)
            for layer in trace.layers:
                got = neurons_of(trace, layer, number)
                assert set(got) == wanted[layer], f"through {item}, image {number}, layer {layer}"
                reached += len(got)
            assert bool(trace.reached[number]) == bool(wanted["output"])
    assert reached


@pytest.mark.parametrize("name", PLAIN + BRANCHED)
class TestLaws:
    @pytest.fixture
    def tracer(self, name):
        return DiscernibleNeurons(TRACING_CASES[name]().model, top_k=2, linear_top_k=4, places=3)

    @pytest.fixture
    def images(self, name):
        return TRACING_CASES[name]().images

    def test_a_part_of_the_whole_with_the_same_supports(self, tracer, images):
        whole = tracer.trace(images)
        for item in some_filters(tracer.model, whole):
            part = tracer.trace(images, through=item)
            assert torch.equal(part.labels, whole.labels)
            for layer, found in part.layers.items():
                assert found.size == whole.layers[layer].size
                for image in range(len(images)):
                    ours, all_ = neurons_of(part, layer, image), neurons_of(whole, layer, image)
                    assert ours.items() <= all_.items()
                    assert int(part.restriction.counts[layer][image]) == len(all_)

    def test_the_filters_of_a_layer_share_its_neurons_and_cover_what_goes_through_it(self, tracer, images, name):
        whole = tracer.trace(images[:1])
        names = weighted(tracer.model, whole)
        layer = names[len(names) // 2]
        filters = [Filter(layer, channel) for channel in range(whole.layers[layer].size[0])]
        part = through_each(tracer, images[:1], filters)
        for channel, found in enumerate(everything(part, image) for image in range(len(filters))):
            assert {neuron[1] for neuron in found if neuron[0] == layer} <= {channel}
        together = {neuron for image in range(len(filters)) for neuron in everything(part, image)}
        assert together <= everything(whole, 0)
        below = list(whole.layers)[list(whole.layers).index(layer) :]
        if name in PLAIN:
            assert {neuron for neuron in together if neuron[0] in below} == {
                neuron for neuron in everything(whole, 0) if neuron[0] in below
            }

    def test_all_filters_together_are_the_whole(self, tracer, images):
        whole = tracer.trace(images[:1])
        passed = [(name, channel) for name in weighted(tracer.model, whole) for channel in channels(whole, name)]
        part = through_each(tracer, images[:1], [Filter(*one) for one in passed])
        together = {neuron for image in range(len(passed)) for neuron in everything(part, image)}
        assert together == everything(whole, 0)

    def test_a_batch_equals_its_images_one_by_one(self, tracer, images):
        filters = list(some_filters(tracer.model, tracer.trace(images)))
        own = [filters[number % len(filters)] for number in range(len(images))]
        together = tracer.trace(images, through=own)
        parts = tracer.trace(images, through=own, internal_batch_size=2)
        assert together.restriction.filters == parts.restriction.filters == tuple(own)
        for number in range(len(images)):
            alone = tracer.trace(images[number : number + 1], through=own[number])
            for layer in together.layers:
                mine = neurons_of(alone, layer, 0) if layer in alone.layers else {}
                assert sorted(mine) == sorted(neurons_of(together, layer, number))
                assert sorted(mine) == sorted(neurons_of(parts, layer, number))
        for layer, counts in together.restriction.counts.items():
            assert torch.equal(parts.restriction.counts[layer], counts)


def test_what_does_not_pass_is_empty_and_says_so():
    case = TRACING_CASES["global pool"]()
    tracer = DiscernibleNeurons(case.model, linear_top_k=1, places=1)
    whole = tracer.trace(case.images[:1])
    unseen = next(channel for channel in range(6) if channel not in channels(whole, "0"))
    trace = tracer.trace(case.images[:1], through=Filter("0", unseen))
    assert not trace.reached.any()
    assert not everything(trace, 0)
    assert trace.boxes().isnan().all()
    assert not trace.heatmap().any()
    assert f"through: 0[{unseen}], in 0 of 1 images" in repr(trace)


class Twice(nn.Module):
    """One convolution that runs twice, and a linear layer."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.conv(self.conv(x).relu()).relu().mean((2, 3)))


def test_a_layer_that_runs_twice_counts_with_both_runs():
    torch.manual_seed(0)
    model, images = Twice().double(), torch.rand(1, 4, 6, 6).double()
    tracer = DiscernibleNeurons(model, places=4, linear_top_k=4)
    whole = everything(tracer.trace(images), 0)
    part = through_each(tracer, images, [Filter("conv", channel) for channel in range(4)])
    for channel in range(4):
        assert {n for n in whole if n[0].startswith("conv") and n[1] == channel} <= everything(part, channel)
    assert set().union(*(everything(part, channel) for channel in range(4))) == whole


def test_several_classes_are_followed_through_one_filter():
    case = TRACING_CASES["fire modules"]()
    tracer = DiscernibleNeurons(case.model, classes=2)
    whole = tracer.trace(case.images)
    item = Filter(name := weighted(case.model, whole)[1], int(whole.layers[name].channel[0]))
    part = tracer.trace(case.images, through=item)
    assert everything(part, 0) < everything(whole, 0)
    assert part.reached[0]


def test_a_head_is_all_of_its_channels():
    recipe = Recipe(seed=1)
    model = network(recipe, OfTorch)
    tracer, images = DiscernibleNeurons(model), token_images(recipe)
    images = images[:1]
    whole = everything(tracer.trace(images), 0)
    name, module = next((n, m) for n, m in model.named_modules() if isinstance(m, nn.MultiheadAttention))
    width, heads = module.embed_dim // module.num_heads, module.num_heads
    part = through_each(tracer, images, [Filter(name, n, f"{name}.v[head {n}]") for n in range(3 * heads)])
    found = part.layers[name]
    assert torch.equal(found.channel // width, found.image), "every head has its own rows"
    assert not part.reached[: 2 * heads].any(), "queries and keys are held"
    assert part.reached[2 * heads :].any()
    assert set().union(*(everything(part, head) for head in range(3 * heads))) <= whole
    with pytest.raises(LayerError, match=f"one of {3 * heads} heads of"):
        tracer.trace(images, through=Filter(name, 3 * heads))


@pytest.mark.parametrize(
    ("through", "error", "words"),
    [
        (Filter("nowhere", 0), LayerError, r"nowhere\[0\]: the model has no 'nowhere'. Layers: 9, 5, 2, 0\."),
        (Filter("1", 0), LayerError, r"1\[0\]: a trace shows layers with weights that run, and it is none"),
        (Filter("0", 6), LayerError, r"a filter of '0' from 0 to 5, got 0\[6\]"),
        (Filter("0", -1), LayerError, r"from 0 to 5, got 0\[-1\]"),
        ("0[3]", InputError, r"`through` to be a Filter.*, got 1 of type str"),
        ([Filter("0", 1)], InputError, "one for each of 3 images, got 1 of type Filter"),
        ([], InputError, "got 0 of type list"),
    ],
)
def test_what_is_refused(through, error, words):
    torch.manual_seed(0)
    model = nn.Sequential(*conv(3, 6), *conv(6, 8), nn.MaxPool2d(2), *conv(8, 10, padding=1), *gap(10))
    with pytest.raises(error, match=words):
        DiscernibleNeurons(model).trace(torch.rand(3, 3, 12, 12), through=through)


def test_a_rule_that_does_not_say_for_which(monkeypatch):
    class Own(nn.Module):
        def forward(self, x):
            return x.clone()

    monkeypatch.setattr(registry, "_rules", dict(registry._rules))

    @trace_rule(Own)
    class Copied(Passing):
        def back(self, step, sites):
            return [(step.source, Sites(sites.image, sites.index, sites.gain, sites.supports))]

    torch.manual_seed(0)
    model = nn.Sequential(*conv_bn(3, 4), Own(), *gap(4)).eval()
    images = torch.rand(1, 3, 8, 8)
    assert len(DiscernibleNeurons(model).trace(images).pixels)
    with pytest.raises(TraceError, match=r"says for which neuron each one is kept.*without an origin"):
        DiscernibleNeurons(model).trace(images, through=Filter("0", 0))
