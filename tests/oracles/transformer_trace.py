"""Discernible neurons and CNN fixations of one image through a network of tokens, neuron by neuron, in loops.

The slow twin of the package for transformers, written without it from the equations (docs/methods, "Transformers").
A network is a :class:`Tape`: it computes the values of one image in float64 and notes each operation. Tokens are
``(T, D)``, the image ``(C, H, W)``, a vector ``(D,)``; a neuron is an index of one of these arrays. Attention's shares,
the variance of a norm and the gate of an activation are held at their values, so that every value is a sum:

    linear at a token     sum over features c of x[t, c] W[o, c], and a bias
    attention of head h   sum over tokens j of shares[h, i, j] v[j, h, d]
    norm                  gamma[d] / sqrt(variance[t] + eps) times x[t, d], and what is held
    activation            f(x) / x times x
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import nan, sqrt
from typing import Any

import numpy as np
from oracles.discernible_neurons import Method, Selected, arrive

Place = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Node:
    """One operation: what it is, the nodes that it reads, its value, and what it knows beside these."""

    kind: str
    sources: tuple[int, ...]
    value: np.ndarray
    name: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


class Tape:
    """The operations of a network on one image, in their order; each method returns the number of its node."""

    def __init__(self, image: np.ndarray) -> None:
        self.nodes = [Node("input", (), image, "input")]

    def value(self, number: int) -> np.ndarray:
        return self.nodes[number].value

    def note(
        self,
        kind: str,
        sources: Sequence[int],
        value: np.ndarray,
        *,
        name: str = "",
        facts: dict[str, Any] | None = None,
    ) -> int:
        self.nodes.append(Node(kind, tuple(sources), value, name, facts or {}))
        return len(self.nodes) - 1

    def constant(self, value: np.ndarray) -> int:
        """A parameter."""
        return self.note("constant", (), value)

    def patches(self, weight: np.ndarray, bias: np.ndarray, *, name: str) -> int:
        """A convolution of the image whose stride is its kernel; the places are tokens, row by row."""
        image, (size, across) = self.value(0), weight.shape[2:]
        rows, columns = image.shape[1] // size, image.shape[2] // across
        tokens = np.zeros((rows * columns, len(weight)))
        for y in range(rows):
            for x in range(columns):
                window = image[:, y * size : (y + 1) * size, x * across : (x + 1) * across]
                tokens[y * columns + x] = (weight * window).sum((1, 2, 3)) + bias
        return self.note("patches", [0], tokens, name=name, facts={"weight": weight, "columns": columns})

    def linear(self, source: int, weight: np.ndarray, bias: np.ndarray, *, name: str) -> int:
        """A linear layer at each token, or over a vector."""
        return self.note("linear", [source], self.value(source) @ weight.T + bias, name=name, facts={"weight": weight})

    def norm(self, source: int, gamma: np.ndarray, beta: np.ndarray, eps: float, *, centred: bool = True) -> int:
        """Layer normalization, or root mean square normalization where it is not ``centred``."""
        tokens = self.value(source)
        mean = tokens.mean(-1, keepdims=True) if centred else np.zeros_like(tokens[..., :1])
        factor = gamma / np.sqrt(((tokens - mean) ** 2).mean(-1, keepdims=True) + eps)
        return self.note("factor", [source], (tokens - mean) * factor + beta, facts={"factor": factor})

    def activation(self, source: int, function: Callable[[np.ndarray], np.ndarray]) -> int:
        """A function ``x g(x)``; the gate ``g(0)`` is never asked for."""
        before = self.value(source)
        after = function(before)
        return self.note("factor", [source], after, facts={"factor": after / before})

    def attention(
        self,
        queries: int,
        keys: int,
        values: int,
        *,
        heads: int,
        scale: float | None = None,
        mask: np.ndarray | None = None,
        windows: Sequence[Sequence[int]] | None = None,
    ) -> int:
        """Softmax attention of some heads, side by side; tokens of the same window see each other, or all do.

        ``mask`` (heads, T, T) is added to the products of queries and keys; who has no share by it is not seen.
        """
        q, k, v = (self.value(number) for number in (queries, keys, values))
        count, width = len(v), v.shape[1] // heads
        scale = 1 / sqrt(width) if scale is None else scale
        shares = np.zeros((heads, count, count))
        seen = [list(range(count))] * count
        for window in windows or ():
            for token in window:
                seen[token] = list(window)
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            for i in range(count):
                products = np.array([q[i, part] @ k[j, part] * scale for j in seen[i]])
                if mask is not None:
                    products = products + mask[head, i, seen[i]]
                powers = np.exp(products - products.max())
                shares[head, i, seen[i]] = powers / powers.sum()
        out = np.zeros_like(v)
        for i, d in np.ndindex(*v.shape):
            out[i, d] = sum(shares[d // width, i, j] * v[j, d] for j in seen[i])
        return self.note("attention", [values], out, facts={"shares": shares, "seen": seen, "width": width})

    def add(self, left: int, right: int) -> int:
        return self.note("add", [left, right], self.value(left) + self.value(right))

    def shift(self, source: int, value: np.ndarray) -> int:
        """A parameter added to every token, such as a position embedding: like a bias, no candidate."""
        tokens = self.value(source) + value
        return self.note("factor", [source], tokens, facts={"factor": np.ones_like(tokens)})

    def stack(self, first: int, rest: int) -> int:
        """A class token ``(1, D)`` before the others."""
        return self.note("stack", [first, rest], np.concatenate([self.value(first), self.value(rest)]))

    def first(self, source: int) -> int:
        """The class token as a vector."""
        return self.note("first", [source], self.value(source)[0])

    def mean(self, source: int) -> int:
        """The mean over all tokens."""
        return self.note("mean", [source], self.value(source).mean(0))


def trace(tape: Tape, target: int, method: Method) -> dict[str, dict[Place, Selected]]:
    """Selected neurons by layer: of the class scores ("output"), of every layer with a name, of the image ("input")."""
    selected: list[dict[Place, Selected]] = [{} for _ in tape.nodes]
    selected[-1][(target,)] = Selected(nan, nan, nan, 1)
    walk = Walk(tape.nodes, method)
    for number in range(len(tape.nodes) - 1, 0, -1):
        for source, place, neuron in walk.step(number, selected[number]):
            arrive(selected[source], place, neuron)  # type: ignore[arg-type]
    layers = {node.name: found for node, found in zip(tape.nodes, selected, strict=True) if node.name}
    return {**layers, "output": selected[-1]}


@dataclass(frozen=True)
class Walk:
    """From the neurons of a node to those of the nodes that it reads."""

    nodes: Sequence[Node]
    method: Method

    def step(self, number: int, selected: dict[Place, Selected]) -> Iterator[tuple[int, Place, Selected]]:
        node = self.nodes[number]
        if node.kind in ("patches", "linear", "attention"):
            for place, neuron in self.choose(number, selected):
                yield node.sources[0], place, neuron
            return
        for place in sorted(selected):
            neuron = selected[place]
            for source, at, gain in self.passed(number, place, neuron.gain):
                yield source, at, replace(neuron, gain=gain)

    def choose(self, number: int, selected: dict[Place, Selected]) -> Iterator[tuple[Place, Selected]]:
        """The candidates with the largest scores of each selected neuron; of all, if none that is on has any."""
        found = list(self.chosen(number, selected, everyone=self.method.fixations))
        yield from found or self.chosen(number, selected, everyone=True)

    def chosen(
        self, number: int, selected: dict[Place, Selected], *, everyone: bool
    ) -> Iterator[tuple[Place, Selected]]:
        source, values = self.nodes[number].sources[0], self.nodes[self.nodes[number].sources[0]].value
        current: list[dict[Place, float]] = []
        for place in sorted(selected):
            all_parts = {at: selected[place].gain * part for at, part in self.contributions(number, place).items()}
            active = {at: part for at, part in all_parts.items() if values[at] > 0}
            current.append(all_parts if everyone or not active else active)
        places = {at for candidates in current for at in candidates}
        supports = {at: self.preceding(source, at, 1.0) if self.method.preceding else 0.0 for at in places}
        favourites = [max(candidates, key=candidates.__getitem__) for candidates in current]
        for candidates in current:
            scored = []
            for at, part in candidates.items():
                preceding = supports[at]
                succeeding = 1 if self.method.fixations else max(1, favourites.count(at))
                score = self.method.succeeding * succeeding
                score *= self.method.current * part + self.method.preceding * preceding
                sign = -1.0 if values[at] < 0 < part else 1.0
                if score > 0:
                    scored.append((at, Selected(score, part, preceding, succeeding, sign)))
            scored.sort(key=lambda pair: -pair[1].score)  # stable: the first where two are equal
            yield from scored[: self.how_many(number)]

    def how_many(self, number: int) -> int:
        """As before a convolution, save for a linear layer over a vector."""
        node = self.nodes[number]
        if node.kind == "linear" and node.value.ndim == 1:
            return self.nodes[node.sources[0]].value.size if self.method.fixations else self.method.linear_top_k
        return self.method.top_k

    def contributions(self, number: int, place: Place) -> dict[Place, float]:
        """What each candidate adds to one neuron, in the order of channels, features or tokens."""
        node = self.nodes[number]
        read, facts = self.nodes[node.sources[0]].value, node.facts
        if node.kind == "patches":
            token, channel = place
            weight, (size, across) = facts["weight"][channel], facts["weight"].shape[2:]
            y, x = token // facts["columns"] * size, token % facts["columns"] * across
            middle = (y + (size - 1) // 2, x + (across - 1) // 2)
            parts = (read[:, y : y + size, x : x + across] * weight).sum((1, 2))
            return {(c, *middle): float(part) for c, part in enumerate(parts)}
        if node.kind == "linear":
            *token, out = place
            return {(*token, c): float(read[(*token, c)] * w) for c, w in enumerate(facts["weight"][out])}
        token, feature = place
        shares = facts["shares"][feature // facts["width"], token]
        seen = [j for j in facts["seen"][token] if shares[j] > 2.0**-52 * shares.max()]
        return {(j, feature): float(shares[j] * read[j, feature]) for j in seen}

    def passed(self, number: int, place: Place, gain: float) -> list[tuple[int, Place, float]]:
        """The neurons behind one neuron, without a choice by weights: (node, place there, gain there)."""
        node = self.nodes[number]
        values = [self.nodes[source].value for source in node.sources]
        match node.kind:
            case "factor":
                factor = np.broadcast_to(node.facts["factor"], node.value.shape)
                return [(node.sources[0], place, gain * float(factor[place]))]
            case "add":
                sides = [gain * float(value[place]) for value in values]
                larger = 0 if sides[0] >= sides[1] else 1
                return [(node.sources[larger], place, gain)] if sides[larger] > 0 else []
            case "stack":
                token, feature = place
                branch = 0 if token == 0 else 1
                return [(node.sources[branch], (0 if token == 0 else token - 1, feature), gain)]
            case "first":
                return [(node.sources[0], (0, *place), gain)]
            case "mean":
                inside = sorted(range(len(values[0])), key=lambda j: -gain * values[0][j, place[0]])
                best = [j for j in inside if gain * values[0][j, place[0]] > 0][: self.method.places]
                return [(node.sources[0], (j, *place), gain) for j in best]
            case "constant" | "input":
                return []
        raise TypeError(node.kind)

    def preceding(self, number: int, place: Place, gain: float) -> float:
        """The largest single contribution into a neuron; 0 for the image and for parameters."""
        node = self.nodes[number]
        values = [self.nodes[source].value for source in node.sources]
        match node.kind:
            case "patches" | "linear" | "attention":
                return max(gain * part for part in self.contributions(number, place).values())
            case "mean":
                return max(gain * float(a) / len(values[0]) for a in values[0][:, place[0]])
            case "add":
                return max(gain * float(value[place]) for value in values)
            case "constant" | "input":
                return 0.0
        ((source, at, gain),) = self.passed(number, place, gain)
        return self.preceding(source, at, gain)
