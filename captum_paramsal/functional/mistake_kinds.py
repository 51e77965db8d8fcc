"""Which kind a mistake is of, by what the classes' probabilities do when parts of the image are covered."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import isfinite

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from captum_paramsal.errors import InputError

KINDS_OF_MISTAKES = ("another object", "features of the object", "background", "label in doubt")
"""What a mistake may come from; a kind's number is its place here."""

MISTAKE_VIEWS = ("whole", "object alone", "object covered", "spot covered")
"""What the model is shown of each image."""

_OTHER, _FEATURES, _BACKGROUND, _DOUBT = range(4)


@dataclass(frozen=True)
class KindThresholds:
    """Where one kind of mistake ends and another begins, as differences of probabilities.

    The defaults were chosen on photos of ImageNet, see ``docs/evidence/mistake_kinds.md``.

    Attributes:
        outside: How much more probable the wrong class has to be without the object than in the object alone, for the
            mistake to come from outside of the object; in [-1, 1].
        spot: Share of the wrong class's probability that goes with one spot outside of the object, for that to be
            another object; in [0, 1].
        doubt: How much more probable the wrong class has to be than the true one in the object alone, for the label to
            be in doubt; in [-1, 1].

    Raises:
        InputError: A threshold out of its range.
    """

    outside: float = 0.1
    spot: float = 0.2
    doubt: float = 0.1

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            least = 0 if name == "spot" else -1
            if not isfinite(value) or not least <= value <= 1:
                message = f"Expected `{name}` from {least} to 1, got {value!r}."
                raise InputError(message)


def kind_of_mistake(wrong: Tensor, true: Tensor, thresholds: KindThresholds) -> Tensor:
    """Kind of each mistake, a place in ``KINDS_OF_MISTAKES``.

    Args:
        wrong: Probability of the predicted class in each of the ``MISTAKE_VIEWS``, ``(N, 4)``; NaN for a view that
            there is not.
        true: The same of the true class, ``(N, 4)``.
        thresholds: Between the kinds.

    Returns:
        ``(N,)`` int64.

    >>> wrong = torch.tensor([[0.8, 0.1, 0.7, 0.2], [0.8, 0.7, 0.1, 0.8]])
    >>> true = torch.tensor([[0.1, 0.8, 0.0, 0.5], [0.1, 0.66, 0.0, 0.1]])
    >>> [KINDS_OF_MISTAKES[kind] for kind in kind_of_mistake(wrong, true, KindThresholds())]
    ['another object', 'features of the object']
    """
    whole, alone, without, elsewhere = wrong.unbind(dim=1)
    outside = without - alone > thresholds.outside
    # A view that there is not compares as false.
    one_spot = whole - elsewhere >= thresholds.spot * whole
    doubtful = alone - true[:, 1] >= thresholds.doubt
    kinds = torch.where(doubtful, _DOUBT, _FEATURES)
    return torch.where(outside, torch.where(one_spot, _OTHER, _BACKGROUND), kinds)


def strongest_window(values: Tensor, window: tuple[int, int]) -> Tensor:
    """Where a window of one size holds most of a map.

    Args:
        values: ``(N, H, W)``, 0 or above.
        window: Height and width of it in pixels, at most H and W.

    Returns:
        Boxes x1, y1, x2, y2, ``(N, 4)`` float64, the first one in reading order of several; NaN for a map of zeros.

    >>> strongest_window(torch.tensor([[[0.0, 1.0, 3.0], [0.0, 0.0, 1.0]], [[0.0] * 3] * 2]), (1, 2))
    tensor([[1., 0., 3., 1.],
            [nan, nan, nan, nan]], dtype=torch.float64)
    """
    height, width = window
    sums = avg_pool2d(values.double()[:, None], window, stride=1)[:, 0]
    place = sums.flatten(1).argmax(dim=1)
    y, x = place // sums.shape[2], place % sums.shape[2]
    boxes = torch.stack([x, y, x + width, y + height], dim=1).double()
    return boxes.where((values > 0).flatten(1).any(dim=1, keepdim=True), torch.nan)
