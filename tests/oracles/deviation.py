"""How far scores are from their oracle, and the two promises that are made about it.

Float64: each image's scores of each layer differ from the loop's by at most ``1e-9`` of the *largest* score that the
loop gives that layer and image. The largest, because a filter's score is a mean of absolute values whose rounding error
comes from sums over the whole layer: a filter that is nearly dead carries the absolute error of its neighbours. Per
layer, because gradients grow or shrink by orders of magnitude with depth and one norm for the model would hide whole
layers.

Float32: an elementwise bound does not exist, because two correct float32 programs round differently and a ReLU
input near 0 may fall on either side. So the error is one number per model, the root mean square over images and
filters of the deviation from the float64 loop in units of the same layer maxima, and may be at most five times the
same number of the float32 loop. That number is a draw: among a million activations about one ReLU or maximum falls on
the wrong side, or none, and the error is 1e-3 or 1e-6. So the loop draws twice, with a forward pass for each image and
with one forward pass for all, and the larger error counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

EXACT = 1e-9
FLOAT32_FACTOR = 5.0


def layer_scale(oracle: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Largest score per layer and image, ``{layer: (N, 1)}``; a layer of zeros gets the smallest float64, so that any
    other score there is infinitely wrong.
    """
    tiny = torch.finfo(torch.float64).tiny
    return {name: scores.double().amax(dim=1, keepdim=True).clamp(min=tiny) for name, scores in oracle.items()}


def relative_deviations(scores: Mapping[str, Tensor], oracle: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """|scores - oracle| in units of the layer's largest score, ``{layer: (N, O)}``."""
    scale = layer_scale(oracle)
    return {name: (scores[name].double() - oracle[name].double()).abs() / scale[name] for name in oracle}


def rounding_error(scores: Mapping[str, Tensor], oracle: Mapping[str, Tensor]) -> float:
    """Root mean square over images and filters of the relative deviations: one number per model."""
    deviations = torch.cat(list(relative_deviations(scores, oracle).values()), dim=1)
    return float(deviations.square().mean().sqrt())


def require_same_layers(model: str, scores: Mapping[str, Tensor], oracle: Mapping[str, Tensor]) -> None:
    assert list(scores) == list(oracle), f"{model}: layers {list(scores)}, expected {list(oracle)}"
    for name, expected in oracle.items():
        got = tuple(scores[name].shape)
        assert got == tuple(expected.shape), f"{model}, layer {name}: scores {got}, expected {tuple(expected.shape)}"
        assert scores[name].isfinite().all(), f"{model}, layer {name}: scores are not finite"


def assert_exact(
    model: str, scores: Mapping[str, Tensor], oracle: Mapping[str, Tensor], tolerance: float = EXACT
) -> None:
    """Every layer and image within ``tolerance`` of the layer's largest score; names the worst layers."""
    require_same_layers(model, scores, oracle)
    for name, expected in oracle.items():
        unreached = expected.double().abs().amax(dim=1) == 0
        stray = float(scores[name].double()[unreached].abs().sum())
        assert stray == 0, f"{model}, layer {name}: expected zeros (the loss does not depend on it), got {stray:.3g}"
    worst = {name: float(d.max()) for name, d in relative_deviations(scores, oracle).items() if d.numel()}
    wrong = sorted((-size, name) for name, size in worst.items() if not size <= tolerance)
    report = "; ".join(f"{name}: {-size:.3g}" for size, name in wrong[:5])
    assert not wrong, (
        f"{model}: {len(wrong)} of {len(oracle)} layers deviate by more than {tolerance:g} of their scale: {report}"
    )


def assert_rounding(
    model: str,
    scores: Mapping[str, Tensor],
    low_precision_loops: Sequence[Mapping[str, Tensor]],
    oracle: Mapping[str, Tensor],
    *,
    epsilon: float = torch.finfo(torch.float32).eps,
) -> None:
    """The float64 loop is at most five times as far away as it is from the same loop in the model's precision."""
    require_same_layers(model, scores, oracle)
    ours = rounding_error(scores, oracle)
    theirs = max(rounding_error(loop, oracle) for loop in low_precision_loops)
    limit = FLOAT32_FACTOR * max(theirs, epsilon)
    means = {name: float(d.square().mean().sqrt()) for name, d in relative_deviations(scores, oracle).items()}
    worst = max(means, key=means.__getitem__)
    assert ours <= limit, (
        f"{model}: rounding error {ours:.3g} of the layers' scale, the loop's own is {theirs:.3g} (limit {limit:.3g}); "
        f"worst layer {worst}: {means[worst]:.3g}"
    )
