"""Neurons of one layer as a figure shows them: by place, with what each channel carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_paramsal.errors import InputError


@dataclass(frozen=True, eq=False)
class LayerNeurons:
    """Neurons of one layer, gathered by place.

    Attributes:
        name: The layer's name.
        size: Channels, height, width.
        count: Neurons, M.
        channels: Share of the layer's Ω that each channel carries, from the largest down; none for pixels.
        places: y and x, ``(P, 2)``; for a vector the number of the neuron in place of x.
        votes: Neurons at each place, ``(P,)``.
        support: Largest Ω at each place as a share of the layer's largest, ``(P,)``.
    """

    name: str
    size: tuple[int, int, int]
    count: int
    channels: dict[int, float]
    places: Tensor
    votes: Tensor
    support: Tensor

    @classmethod
    def of(cls, name: str, neurons: Mapping[str, Any]) -> LayerNeurons:
        """Gather them.

        Args:
            name: The layer's name.
            neurons: ``y``, ``x``, ``score`` and ``channel`` of M neurons, and the layer's ``size``, see
                :func:`captum_paramsal.viz.neurons_plot`.

        Raises:
            InputError: Arrays that are missing, differ in length, are not finite or lie outside the map.
        """
        _require_keys(name, neurons)
        arrays = {
            key: torch.as_tensor(neurons[key]).detach().cpu()
            for key in ("channel", "y", "x", "score")
            if neurons.get(key) is not None
        }
        size = tuple(int(side) for side in neurons["size"])
        _require_arrays(name, arrays, size)
        score = arrays.pop("score").double()
        y, x = arrays["y"].long(), arrays["x"].long()
        channel = arrays["channel"].long() if "channel" in arrays else None
        column = channel if channel is not None and size[1:] == (1, 1) else x
        places, which, votes = torch.stack([y, column], dim=1).unique(dim=0, return_inverse=True, return_counts=True)
        highest = torch.full((len(places),), -torch.inf, dtype=torch.float64).scatter_reduce(0, which, score, "amax")
        carried = {} if channel is None else _carried(channel, score)
        return cls(name, (size[0], size[1], size[2]), len(score), carried, places, votes, _as_shares(highest))

    @property
    def is_vector(self) -> bool:
        """Whether its neurons have numbers only, and no place."""
        return self.size[1:] == (1, 1)


def _carried(channel: Tensor, score: Tensor) -> dict[int, float]:
    """Share of all Ω that each channel carries; of equal ones the lower number first."""
    numbers, which = channel.unique(return_inverse=True)
    sums = torch.zeros(len(numbers), dtype=torch.float64).scatter_add(0, which, score.clamp(min=0))
    shares = sums / sums.sum().clamp(min=torch.finfo(sums.dtype).tiny)
    order = shares.argsort(descending=True, stable=True)
    return dict(zip(numbers[order].tolist(), shares[order].tolist(), strict=True))


def _as_shares(values: Tensor) -> Tensor:
    """Each value beside the largest one, in [0, 1]; 1 where none is above 0."""
    if not len(values) or values.max() <= 0:
        return torch.ones_like(values)
    return (values / values.max()).clamp(min=0)


def _require_keys(name: str, neurons: Mapping[str, Any]) -> None:
    missing = [key for key in ("y", "x", "score", "size") if neurons.get(key) is None]
    if missing:
        message = f"Expected 'y', 'x', 'score' and 'size' of layer {name!r}, got no {' and no '.join(missing)}."
        raise InputError(message)


def _require_arrays(name: str, arrays: dict[str, Tensor], size: tuple[int, ...]) -> None:
    shapes = {key: tuple(values.shape) for key, values in arrays.items()}
    if len(size) != 3 or min(size) < 1 or len(set(shapes.values())) > 1 or arrays["y"].ndim != 1:
        message = (
            f"Expected arrays (M,) and the size (channels, height, width) of layer {name!r}, got {shapes} and {size}."
        )
        raise InputError(message)
    for key, side in zip(("channel", "y", "x"), size, strict=True):
        places = arrays.get(key)
        if places is not None and len(places) and not 0 <= int(places.min()) <= int(places.max()) < side:
            message = (
                f"Expected `{key}` from 0 to {side - 1} in layer {name!r}, got {int(places.min())} to "
                f"{int(places.max())}."
            )
            raise InputError(message)
    bad = ~arrays["score"].isfinite()
    if bad.any():
        message = f"Expected finite scores in layer {name!r}, got {arrays['score'][bad][0].item()}."
        raise InputError(message)
