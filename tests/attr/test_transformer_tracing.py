"""Traces through networks of tokens: every neuron and support equals the slow twin's, however attention is written."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from cases.token_networks import WRITINGS, OfTorch, Recipe, Windows, images, network, tape_of, windows_of
from oracles import transformer_trace as oracle
from oracles.discernible_neurons import FIXATIONS, Method

from captum_paramsal import CNNFixations, DiscernibleNeurons, TraceWeights

METHODS = {
    "all supports": Method(),
    "three of each": Method(current=0.7, preceding=0.3, succeeding=2.0, top_k=3, linear_top_k=3, places=5),
    "current alone": Method(preceding=0.0, top_k=3, linear_top_k=2),
    "preceding above all": Method(current=0.1, preceding=2.0, top_k=2, places=16),
    "fixations": FIXATIONS,
}
RECIPES = {
    "class token": Recipe(seed=1),
    "mean of tokens": Recipe(seed=2, class_token=False),
    "additive mask": Recipe(seed=3, masked=True),
    "scale": Recipe(seed=4, scale=1.7),
    "mask, scale, SiLU, root mean square": Recipe(
        seed=5, class_token=False, masked=True, scale=0.2, activation="silu", root_mean_square=True
    ),
}


def built(model, method):
    if method.fixations:
        return CNNFixations(model)
    weights = TraceWeights(current=method.current, preceding=method.preceding, succeeding=method.succeeding)
    return DiscernibleNeurons(
        model, weights, top_k=method.top_k, linear_top_k=method.linear_top_k, places=method.places
    )


@cache
def slow(recipe, method, labels):
    """Layers of each image."""
    pairs = zip(images(recipe), labels, strict=True)
    return [oracle.trace(tape_of(recipe, image), label, method) for image, label in pairs]


def number_of_place(name, place):
    """``(channel, place)``, places counted in reading order: of the twin's tokens, vector or image."""
    if name == "input":
        return place[0], place[1] * 8 + place[2]
    return (place[-1], place[0]) if len(place) == 2 else (place[0], 0)


def supports_of(layer, image, start, width):
    """``{(channel, place): (score, current, preceding, succeeding)}``, of the channels of a part of a layer."""
    mine = layer.of_image(image)
    assert (mine.channel >= start).all(), "neurons beside the values"
    places = zip((mine.channel - start).tolist(), (mine.y * layer.size[2] + mine.x).tolist(), strict=True)
    columns = (getattr(mine, part).tolist() for part in ("score", "current", "preceding", "succeeding"))
    parts = zip(*columns, strict=True)
    supports = dict(zip(places, parts, strict=True))
    assert len(supports) == len(mine), "a neuron twice"
    assert layer.size[0] == start + width
    return supports


def layer_of(model, name):
    """What a layer of the twin is called in this writing, and where it starts in it."""
    block, _, part = name.rpartition(".")
    if not block.endswith("attn"):
        return name, 0
    attention = model.get_submodule(block)
    if part == "v":
        return attention.values(block)
    return (f"{block}.inner.out_proj" if isinstance(attention, OfTorch) else name), 0


def assert_same(model, recipe, method, labels):
    trace = built(model, method).trace(images(recipe), target=list(labels))
    for number, expected in enumerate(slow(recipe, method, labels)):
        for name in reversed(expected):
            if name.endswith((".q", ".k")):
                continue
            layer, start = layer_of(model, name)
            where = f"image {number}, layer {name}"
            wanted = {number_of_place(name, place): neuron for place, neuron in expected[name].items()}
            if recipe.windows and ".attn." in name:
                in_windows = [token for window in windows_of(recipe) for token in window]
                wanted = {(c, in_windows.index(token)): neuron for (c, token), neuron in wanted.items()}
            width = {"input": 3, "output": 4, "head": 4}.get(name, 16 if name.endswith("fc1") else 8)
            got = supports_of(trace.layers[layer], number, start, width)
            assert sorted(got) == sorted(wanted), where
            if name in {"output", "head"}:
                continue  # the class score was not selected by anything
            for place, neuron in wanted.items():
                theirs = neuron.score, neuron.current, neuron.preceding, neuron.succeeding
                np.testing.assert_allclose(got[place], theirs, rtol=1e-9, atol=1e-12, err_msg=f"{where}: {place}")


def pairs():
    """Every writing with mask and scale, with one or two more recipes; all where slow tests run."""
    for row, writing in enumerate(WRITINGS):
        for column, recipe in enumerate(RECIPES):
            for number, method in enumerate(METHODS):
                common = column == len(RECIPES) - 1 or (row + column) % 3 == 0
                slowly = not common or (row + column + number) % len(METHODS) != 0
                yield pytest.param(writing, recipe, method, marks=[pytest.mark.slow] * slowly)


@pytest.mark.parametrize(("writing", "recipe", "method"), list(pairs()))
def test_every_writing_of_attention(writing, recipe, method):
    recipe = RECIPES[recipe]
    assert_same(network(recipe, WRITINGS[writing]), recipe, METHODS[method], (0, 3))


@pytest.mark.parametrize("method", METHODS)
def test_moved_windows(method):
    recipe = Recipe(seed=6, class_token=False, windows=True)
    assert_same(network(recipe, Windows), recipe, METHODS[method], (1, 2))


@pytest.mark.parametrize("writing", ["three layers", "scaled queries", "MultiheadAttention"])
@pytest.mark.parametrize("hidden", [float("-inf"), -100.0])
def test_hidden_tokens_are_no_candidates(hidden, writing):
    # A support of their own could outweigh a share of nothing.
    recipe = Recipe(seed=13, class_token=False, hidden=hidden)
    assert_same(network(recipe, WRITINGS[writing]), recipe, METHODS["preceding above all"], (0, 3))


@pytest.mark.parametrize("method", ["three of each", "fixations"])
@pytest.mark.parametrize("seed", range(7, 10))
def test_other_seeds(seed, method):
    recipe = Recipe(seed=seed, class_token=seed % 2 == 0, depth=3)
    assert_same(network(recipe), recipe, METHODS[method], (seed % 4, (seed + 1) % 4))


def test_the_twin_sees_all_kinds_of_neurons():
    # Otherwise the comparisons above would compare empty traces.
    counts = dict.fromkeys(("patch", "input", "blocks.0.attn.v", "blocks.1.attn.v", "blocks.0.fc1", "blocks.1.fc1"), 0)
    for recipe in RECIPES.values():
        for layers in slow(recipe, METHODS["three of each"], (0, 3)):
            for name in counts:
                counts[name] += len(layers[name])
    assert min(counts.values()) > 10, counts
