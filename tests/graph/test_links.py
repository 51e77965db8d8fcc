"""Chains of links: against every chain written out."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import fx

from captum_paramsal.errors import TraceError
from captum_paramsal.graph import Links, Sites

IMAGES = 2


def sites(pairs, origin=None):
    image, index = torch.tensor(sorted(pairs), dtype=torch.long).reshape(-1, 2).T
    none = torch.zeros(len(image))
    return Sites(image, index, none, none[:, None].expand(-1, 4), origin)


@st.composite
def walks(draw):
    """Operations from the last to the first: of each its neurons, and what each of them keeps of later ones."""
    count = draw(st.integers(2, 6))
    neuron = st.tuples(st.integers(0, IMAGES - 1), st.integers(0, 4))
    neurons = {0: sorted(draw(st.sets(neuron, min_size=1, max_size=4)))}
    kept = []
    for later in range(count - 1):
        for node in draw(st.sets(st.integers(later + 1, count - 1), max_size=2)):
            for image, index in neurons.get(later, ()):
                for place in draw(st.sets(st.integers(0, 4), max_size=2)):
                    kept.append(((later, (image, index)), (node, (image, place))))
                    neurons[node] = sorted({*neurons.get(node, ()), (image, place)})
    return count, {node: neurons.get(node, []) for node in range(count)}, kept


def chains(kept, first):
    after = sorted({later for earlier, later in kept if earlier == first})
    return [[first, *rest] for neuron in after for rest in chains(kept, neuron)] or [[first]]


def linked(count, neurons, kept):
    """The same walk, noted; a neuron may be kept by several at once."""
    graph, links = fx.Graph(), Links()
    nodes = [graph.placeholder(f"n{number}") for number in reversed(range(count))][::-1]
    for number, node in enumerate(nodes):
        links.arrive(node, sites(neurons[number]))
        for source in range(number + 1, count):
            pairs = [(a[1], b[1]) for a, b in kept if a[0] == number and b[0] == source]
            if pairs:
                origin = torch.tensor([neurons[number].index(a) for a, _ in pairs])
                order = sorted(range(len(pairs)), key=lambda place: pairs[place][1])
                links.keep(node, nodes[source], sites([b for _, b in pairs], origin[order]))
    links.layers.update({f"layer {number}": node for number, node in enumerate(nodes)})
    return links


@given(walks(), st.data())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_neurons_on_chains_through_some(walk, data):
    count, neurons, kept = walk
    number = data.draw(st.integers(0, count - 1))
    chosen = [data.draw(st.booleans()) for _ in neurons[number]]
    marks = linked(count, neurons, kept).through({f"layer {number}": torch.tensor(chosen, dtype=torch.bool)})
    through = {(number, neuron) for neuron, is_meant in zip(neurons[number], chosen, strict=True) if is_meant}
    expected = {
        neuron for first in neurons[0] for chain in chains(kept, (0, first)) if through & set(chain) for neuron in chain
    }
    # What no chain from the first operation reaches is not part of a walk: every neuron was kept for one.
    for place, there in neurons.items():
        got = {(place, one) for one, mark in zip(there, marks[f"layer {place}"].tolist(), strict=True) if mark}
        assert got == {neuron for neuron in expected if neuron[0] == place}


def test_neurons_that_do_not_say_for_which_they_are_kept():
    first, second = (fx.Graph().placeholder(name) for name in ("first", "second"))
    with pytest.raises(TraceError, match="without an origin from that of 'first'"):
        Links().keep(first, second, sites([(0, 1)]))
