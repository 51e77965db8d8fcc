"""Input-space saliency as the authors state it: one image, one double backward pass (Levin et al., section 3).

``G = d cos(scores(x), boosted scores) / dx``; the boosted scores are constants: the scores with the largest ``top_k``
multiplied by ``boost``. Filters that never vary in the reference (dead) take no part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import torch
from oracles.parameter_saliency import Loss, cross_entropy, filter_slices, rows, weight_names
from torch import Tensor, nn
from torch.nn import functional

Scoring = Callable[[Tensor], Tensor]
"""From one image's profile ``(F,)`` to its scores ``(F,)``, differentiable."""
ZERO_PROBABILITY = 745.2
"""Nats beyond which a probability is no longer a number above 0 in float64."""


def profile_with_graph(
    model: nn.Module,
    inputs: Sequence[Tensor],
    target: Tensor,
    layers: Sequence[str],
    *,
    loss: Loss,
    extra: Sequence[Any],
) -> Tensor:
    """``(F,)``: the mean absolute gradient of every filter's weights for one image, still part of the graph."""
    modules = {name: model.get_submodule(name) for name in layers}
    weights = {name: [getattr(module, key) for key in weight_names(module)] for name, module in modules.items()}
    flat = [weight for group in weights.values() for weight in group]
    value = loss(model(*inputs, *extra), target).sum()
    gradients = iter(torch.autograd.grad(value, flat, create_graph=True, allow_unused=True))
    scores = []
    for name, group in weights.items():
        mine = [torch.zeros_like(w) if (g := next(gradients)) is None else g for w in group]
        scores += [piece.abs().mean() for piece in filter_slices(modules[name], mine)]
    return torch.stack(scores)


def standardized(mean: Tensor, std: Tensor) -> Scoring:
    """(s - mean) / std; to be used with ``living = std > 0``."""
    return lambda profile: (profile - mean.to(profile)) / std.where(std > 0, torch.ones_like(std)).to(profile)


def tail_scores(threshold: Tensor, rate: Tensor, shape: Tensor, scale: Tensor) -> Scoring:
    """-log(rate (1 + shape y / scale) ** (-1 / shape)) for y = s - threshold > 0, else 0.

    Beyond a finite end the probability is 0; the score is then :data:`ZERO_PROBABILITY` + log(1 + y / scale).
    """

    def scores(profile: Tensor) -> Tensor:
        terms = []
        for j, s in enumerate(profile):
            excess = s - threshold[j].to(s)
            if not excess > 0 or rate[j] == 0:
                terms.append(torch.zeros_like(s))
                continue
            z, xi = excess / scale[j].to(s), shape[j].to(s)
            if xi * z <= -1:
                terms.append(ZERO_PROBABILITY + torch.log1p(z))
                continue
            survival = -z if xi == 0 else -torch.log1p(xi * z) / xi
            terms.append(-torch.log(rate[j].to(s)) - survival)
        return torch.stack(terms)

    return scores


def boosted_cosine(scores: Tensor, living: Tensor, top_k: int, boost: float) -> Tensor:
    alive = scores[living]
    target = alive.detach().clone()
    chosen = target.topk(min(top_k, len(target))).indices
    target[chosen] *= boost
    return functional.cosine_similarity(alive, target, dim=0, eps=1e-8)


def input_space_loop(
    model: nn.Module,
    inputs: Tensor | tuple[Tensor, ...],
    target: Tensor | Sequence[Any],
    layers: Sequence[str],
    *,
    scoring: Scoring,
    living: Tensor,
    top_k: int = 10,
    boost: float = 100.0,
    loss: Loss = cross_entropy,
    additional_forward_args: tuple[Any, ...] = (),
) -> tuple[Tensor, ...]:
    """The signed gradient with respect to every input, image by image; a tuple of the inputs' shapes."""
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    count = len(inputs[0])
    model = deepcopy(model).eval().requires_grad_(True)
    maps: list[tuple[Tensor, ...]] = []
    for n in range(count):
        x = [value[n : n + 1].detach().clone().requires_grad_(True) for value in inputs]
        extra = [rows(value, n, count) for value in additional_forward_args]
        profile = profile_with_graph(model, x, target[n : n + 1], layers, loss=loss, extra=extra)
        similarity = boosted_cosine(scoring(profile), living, top_k, boost)
        if not similarity.requires_grad:  # no score depends on the image: nothing is above its threshold
            maps.append(tuple(torch.zeros_like(v) for v in x))
            continue
        found = torch.autograd.grad(similarity, x, allow_unused=True)
        maps.append(tuple(torch.zeros_like(v) if g is None else g for v, g in zip(x, found, strict=True)))
    return tuple(torch.cat(parts) for parts in zip(*maps, strict=True))
