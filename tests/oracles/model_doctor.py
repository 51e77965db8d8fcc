"""Model Doctor as its equations say: one image, one disturbance and one whole pass at a time (Feng et al., AAAI 2022).

Slow twins of the package, written without it, for models and tensors in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from math import comb, floor, nan, sqrt
from typing import Any

import torch
from oracles.parameter_saliency import rows
from torch import Tensor, nn

Label = int | tuple[int, ...]
Tail = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Rules:
    """How a gradient becomes an attribution.

    Attributes:
        reduce: "abs" takes the absolute gradient, "relu" its positive part.
        score: "logit", or "probability": the softmax over the classes.
        multiply_by_inputs: Times the undisturbed map: ``|gradient| |m|``, or the positive part of ``gradient * m``.
        layer_input: The map is what the layer gets, not what it returns.
    """

    reduce: str = "abs"
    score: str = "logit"
    multiply_by_inputs: bool = False
    layer_input: bool = False

    def reduced(self, gradient: Tensor, clean: Tensor) -> Tensor:
        product = gradient * clean if self.multiply_by_inputs else gradient
        return product.abs() if self.reduce == "abs" else product.clamp(min=0)


PLAIN = Rules()


@contextmanager
def evaluated(model: nn.Module) -> Iterator[nn.Module]:
    """The model in evaluation mode, and as it was afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield model
    finally:
        for module in training:
            module.training = True


def one_pass(
    model: nn.Module, arguments: Sequence[Any], layer: str, disturbance: Tensor | float, rules: Rules = PLAIN
) -> tuple[Tensor, Tensor, Tensor]:
    """The whole network on one image, with a disturbance added to a layer's map.

    Returns:
        What the network returns; the map as it would have been; the disturbed map, which the first depends on. The
        network goes on with a copy of it, so that writing over it harms nobody.
    """
    seen: list[tuple[Tensor, Tensor]] = []

    def exchanged(value: Tensor) -> Tensor:
        clean = value.detach().clone()
        disturbed = (clean + disturbance).requires_grad_()
        seen.append((clean, disturbed))
        return disturbed.clone()

    module = model.get_submodule(layer)
    if rules.layer_input:
        handle = module.register_forward_pre_hook(lambda _, given: (exchanged(given[0]), *given[1:]))
    else:
        handle = module.register_forward_hook(lambda _, given, returned: exchanged(returned))  # noqa: ARG005
    try:
        output = model(*arguments)
    finally:
        handle.remove()
    ((clean, disturbed),) = seen
    return output, clean, disturbed


def class_scores(output: Tensor, place: tuple[int, ...], rules: Rules) -> Tensor:
    """``(C,)`` scores of one image, at one place where the network has scores per place."""
    scores = output[(0, slice(None), *place)]
    return scores.softmax(dim=0) if rules.score == "probability" else scores


def evidence(
    model: nn.Module,
    inputs: Tensor | tuple[Tensor, ...],
    labels: Sequence[Label] | Tensor | None,
    layer: str,
    disturbances: Tensor | None = None,
    *,
    rules: Rules = PLAIN,
    additional_forward_args: tuple[Any, ...] = (),
) -> Tensor:
    """G(k, h, w) = 1/J sum over j of |d y_n / d m (m + e_j)| of every image, ``(N, K, H, W)``.

    In evaluation mode.

    Args:
        model: Left as it is.
        inputs: One tensor or several.
        labels: A class, or (class, place ...), per image; None is the prediction of the undisturbed network.
        layer: Its name.
        disturbances: ``(J, K, H, W)``, the same for every image; None or none at all is one pass without.
        rules: See :class:`Rules`.
        additional_forward_args: Tensors with N rows are cut, the rest is passed on.
    """
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    given = [*inputs, *additional_forward_args]
    maps = []
    with evaluated(model):
        for n in range(len(inputs[0])):
            arguments = [rows(value, n, len(inputs[0])) for value in given]
            label = predicted(model, arguments) if labels is None else as_label(labels[n])
            maps.append(evidence_of_one(model, arguments, label, layer, disturbances, rules=rules))
    return torch.cat(maps)


def evidence_of_one(
    model: nn.Module,
    arguments: Sequence[Any],
    label: Label,
    layer: str,
    disturbances: Tensor | None,
    *,
    rules: Rules = PLAIN,
) -> Tensor:
    """:func:`evidence` of one image."""
    number, *place = (label,) if isinstance(label, int) else label
    each = list(disturbances) if disturbances is not None and len(disturbances) else [0.0]
    total: Tensor | float = 0.0
    for disturbance in each:
        output, clean, disturbed = one_pass(model, arguments, layer, disturbance, rules)
        score = class_scores(output, tuple(place), rules)[number]
        (gradient,) = torch.autograd.grad(score, disturbed)
        total = total + rules.reduced(gradient, clean)
    return total / len(each)


def as_label(label: Any) -> Label:
    values = label.tolist() if isinstance(label, Tensor) else label
    return values if isinstance(values, int) else tuple(values)


def predicted(model: nn.Module, arguments: Sequence[Any]) -> int:
    with torch.no_grad():
        return int(model(*arguments)[0].argmax())


def channel_correlation(maps: Tensor) -> Tensor:
    """a(k) = the sum over places of G, ``(N, K)``."""
    return torch.tensor(
        [[sum(value for row in channel for value in row) for channel in image] for image in maps.tolist()],
        dtype=torch.float64,
    )


@dataclass(frozen=True)
class Sample:
    """One image's label, prediction, confidence (largest softmax), and a(k) for the predicted class."""

    label: int
    predicted: int
    confidence: float
    correlation: list[float]

    @property
    def correct(self) -> bool:
        return self.label == self.predicted


def examined(
    model: nn.Module,
    images: Tensor,
    labels: Sequence[int] | Tensor,
    layer: str,
    disturbances: Tensor | None = None,
    *,
    rules: Rules = PLAIN,
) -> list[Sample]:
    """Every image for itself."""
    samples = []
    with evaluated(model):
        for image, label in zip(images, labels, strict=True):
            probabilities = model(image[None])[0].detach().softmax(dim=0)
            prediction = int(probabilities.argmax())
            maps = evidence_of_one(model, [image[None]], prediction, layer, disturbances, rules=rules)
            correlation = channel_correlation(maps)[0].tolist()
            samples.append(Sample(int(label), prediction, float(probabilities[prediction]), correlation))
    return samples


def class_channel(
    samples: Sequence[Sample], classes: int, confidence: float = 0.9, samples_per_class: int = 100
) -> tuple[Tensor, list[int]]:
    """A(n, k), the mean of a(k) over a class's surest correct samples, and how many these are.

    ``(classes, K)``; NaN for a class without any.
    """
    channels = len(samples[0].correlation)
    matrix, counts = [], []
    for number in range(classes):
        sure = [s for s in samples if s.label == number and s.correct and s.confidence >= confidence]
        surest = sorted(sure, key=lambda s: s.confidence, reverse=True)[:samples_per_class]
        columns = zip(*(s.correlation for s in surest), strict=True)
        matrix.append([sum(column) / len(surest) for column in columns] if surest else [nan] * channels)
        counts.append(len(surest))
    return torch.tensor(matrix, dtype=torch.float64), counts


def normalized(row: Sequence[float]) -> list[float]:
    """(A - min) / (max - min + 1e-5), or that share of what they are apart, over the channels of one class."""
    low, high = min(row), max(row)
    return [(value - low) / ((high - low + 1e-5 * min(1.0, high - low)) or 1.0) for value in row]


def relevant(row: Sequence[float], threshold: float | str = 0.2) -> set[int]:
    """Channels whose normalized value is at least the threshold; for "mean", whose value is at least the row's mean."""
    if threshold == "mean":
        return {k for k, value in enumerate(row) if value >= sum(row) / len(row)}
    return {k for k, value in enumerate(normalized(row)) if value >= threshold}


def jaccard(first: set[int], second: set[int]) -> float:
    """What two sets share, of all that is in one of them; NaN where both are empty."""
    either = first | second
    return len(first & second) / len(either) if either else nan


def expected_jaccard(first: int, second: int, channels: int) -> float:
    """Mean Jaccard index of two independent random sets of ``first`` and ``second`` of the channels.

    Each set is uniform among the sets of its size, so the number they share is hypergeometric; the mean is of the
    index itself, which is not the index of the means (of two single channels among K: 1/K, not 1 / (2 K - 1)).
    NaN where both are empty.
    """
    if first == second == 0:
        return nan
    shared = range(max(0, first + second - channels), min(first, second) + 1)
    ways = {i: comb(first, i) * comb(channels - first, second - i) for i in shared}
    return float(sum(Fraction(w * i, (first + second - i) * comb(channels, second)) for i, w in ways.items()))


def deviation(correlation: Sequence[float], row: Sequence[float]) -> float:
    """1 - cosine of the angle between an image's channels and its predicted class's row, in K dimensions."""
    product = sum(a * b for a, b in zip(correlation, row, strict=True))
    return 1 - product / sqrt(sum(a * a for a in correlation) * sum(b * b for b in row))


def on_grid(mask: Tensor, height: int, width: int) -> Tensor:
    """A mask (H, W) as the share of every cell's area that is foreground, ``(height, width)``.

    The grid divides the picture into equal rectangles; a pixel that lies in several cells counts in each with the
    part of it that lies there.
    """
    weights = [coverage(size, cells) for size, cells in zip(mask.shape, (height, width), strict=True)]
    values = mask.double().tolist()
    grid = [
        [sum(a * b * values[y][x] for y, a in down.items() for x, b in right.items()) for right in weights[1]]
        for down in weights[0]
    ]
    return torch.tensor(grid, dtype=torch.float64)


def coverage(pixels: int, cells: int) -> list[dict[int, float]]:
    """For every cell along one side, the share of it that each pixel covers."""
    side = Fraction(pixels, cells)
    shares = []
    for cell in range(cells):
        start, end = cell * side, (cell + 1) * side
        overlaps = {p: min(end, p + 1) - max(start, p) for p in range(floor(start), pixels) if p < end}
        shares.append({p: float(overlap / side) for p, overlap in overlaps.items()})
    return shares


def background_share(evidence_map: Tensor, mask: Tensor) -> float:
    """Share of an evidence map (h, w) that lies outside of a mask (H, W); NaN for a map of zeros."""
    foreground = on_grid(mask, *evidence_map.shape)
    total = float(evidence_map.sum())
    return float((evidence_map.double() * (1 - foreground)).sum()) / total if total else nan


def score_gradient(tail: Tail, place_map: Tensor, number: int) -> Tensor:
    """d score / d m of one image's map (K, H, W), to be differentiated again."""
    leaf = place_map[None] if place_map.requires_grad else place_map[None].requires_grad_()
    (gradient,) = torch.autograd.grad(tail(leaf.clone())[0, number], leaf, create_graph=True)
    return gradient[0]


def channel_sums(tail: Tail, place_map: Tensor, number: int, rules: Rules) -> list[Tensor]:
    """Sum over places of the reduced gradient, one per channel."""
    reduced = rules.reduced(score_gradient(tail, place_map, number), place_map)
    return [sum((value for row in channel for value in row), start=reduced.new_zeros(())) for channel in reduced]


def channel_constraint(
    tail: Tail,
    maps: Tensor,
    labels: Sequence[int],
    relevant_to: Tensor,
    *,
    second: str = "masked",
    first: str = "label",
    rules: Rules = PLAIN,
) -> Tensor:
    """The channel constraint, sample by sample and channel by channel, ``()``.

    Args:
        tail: The network behind the layer: maps to scores.
        maps: ``(B, K, H, W)``.
        labels: A class per sample.
        relevant_to: ``(C, K)`` bool; of a class without any nothing is known, and none of its channels is silenced.
        second: The channels that must not speak for the most probable wrong class: those that are relevant to it
            ("masked", the authors' program), or "all" (the paper).
        first: The class that irrelevant channels must not speak for: the "label" (program), or the "predicted" (paper).
        rules: Absolute value or positive part, times the map or not.
    """
    total = maps.new_zeros(())
    for b, label in enumerate(labels):
        scores = tail(maps[b : b + 1].detach().clone())[0].tolist()
        wrong = max((n for n in range(len(scores)) if n != label), key=scores.__getitem__)
        one = label if first == "label" else max(range(len(scores)), key=scores.__getitem__)
        for_one, for_wrong = (channel_sums(tail, maps[b], n, rules) for n in (one, wrong))
        for k in range(maps.shape[1]):
            if not relevant_to[one, k] and any(relevant_to[one]):
                total = total + for_one[k]
            if second == "all" or relevant_to[wrong, k]:
                total = total + for_wrong[k]
    return total / len(maps)


def space_constraint(
    tail: Tail, maps: Tensor, labels: Sequence[int], foreground: Tensor, *, rules: Rules = PLAIN
) -> Tensor:
    """The space constraint, sample by sample and place by place, ``()``: what speaks for the label in the background.

    ``foreground`` ``(B, h, w)`` is brought to the map's grid by area.
    """
    total = maps.new_zeros(())
    for b, label in enumerate(labels):
        background = 1 - on_grid(foreground[b], *maps.shape[2:])
        reduced = rules.reduced(score_gradient(tail, maps[b], label), maps[b])
        for k in range(maps.shape[1]):
            for h in range(maps.shape[2]):
                for w in range(maps.shape[3]):
                    total = total + background[h, w] * reduced[k, h, w]
    return total / len(maps)
