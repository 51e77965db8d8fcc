"""The part of a trace that goes through a filter: every chain written out, and those kept that pass the filter.

A neuron keeps what the walk back of :mod:`oracles.discernible_neurons` hands on for it. A chain begins at the class
score and goes from a neuron to one that it keeps, until one keeps nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping

from oracles.discernible_neurons import Place, Walk

Neuron = tuple[int, Place]
"""Number of a node and place in its output."""

Kept = Mapping[Neuron, Collection[Neuron]]


def kept_by(walk: Walk, target: int) -> Kept:
    """What each neuron keeps."""
    kept: dict[Neuron, set[Neuron]] = defaultdict(set)
    selected = walk.down([target])
    for number in range(len(walk.nodes) - 1, 0, -1):
        for source, place, _, origin in walk.step(number, selected[number]):
            kept[number, origin].add((source, place))
    return kept


def chains(kept: Kept, first: Neuron) -> Iterator[list[Neuron]]:
    """Every chain that begins at a neuron."""
    for neuron in sorted(kept.get(first, ())):
        for rest in chains(kept, neuron):
            yield [first, *rest]
    if not kept.get(first):
        yield [first]


def through(walk: Walk, target: int, layer: str, channel: int) -> dict[str, set[Place]]:
    """Places of each named layer on chains that pass a channel of one."""
    names = [node.operation.name for node in walk.nodes]
    found: dict[str, set[Place]] = {name: set() for name in names if name}
    for chain in chains(kept_by(walk, target), (len(names) - 1, (target, 0, 0))):
        if any(names[number] == layer and place[0] == channel for number, place in chain):
            for number, place in chain:
                if names[number]:
                    found[names[number]].add(place)
    return found
