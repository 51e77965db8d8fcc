"""Scenes with known truth: what is in them, where it is, and which class the background hints at."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import SupportsIndex, TypedDict

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import NDArray
from torch import Tensor

from captum_paramsal.demo.canvas import SIZE
from captum_paramsal.demo.painting import Mask, paint
from captum_paramsal.demo.patterns import PATTERNS
from captum_paramsal.demo.shapes import OUTLINES
from captum_paramsal.errors import ParamsalError

CLASSES: tuple[str, ...] = tuple(OUTLINES)
"""Names of the classes, in the order of the labels."""

CUES: tuple[str, ...] = tuple(PATTERNS)
"""The pattern of each class, in the order of the labels."""


class Recipe(TypedDict):
    """Arguments of `make_scenes`."""

    n: int
    seed: int
    cue_agreement: float
    cue_presence: float


SPLITS: Mapping[str, Recipe] = MappingProxyType(
    {
        "train": {"n": 4096, "seed": 1, "cue_agreement": 0.94, "cue_presence": 0.9},
        "validation": {"n": 480, "seed": 2, "cue_agreement": 0.6, "cue_presence": 0.9},
        "test": {"n": 240, "seed": 3, "cue_agreement": 0.6, "cue_presence": 0.9},
    },
)
"""Arguments of `make_scenes` for each split."""


@dataclass(frozen=True, eq=False)
class Scenes:
    """A batch of scenes, which can be sliced like a tensor.

    Attributes:
        images: (N, 3, 64, 64) float32 in [0, 1], whole multiples of 1/255.
        labels: (N,) int64, class of the object.
        boxes: (N, 4) int64, tight box of the object: x1, y1 inclusive, x2, y2 exclusive, in pixels.
        masks: (N, 64, 64) bool, pixels that the object covers to at least one half.
        cue_labels: (N,) int64, class whose pattern the patch in the background has; -1 where there is none.
        cue_masks: (N, 64, 64) bool, pixels that the patch covers to at least one half.
    """

    images: Tensor
    labels: Tensor
    boxes: Tensor
    masks: Tensor
    cue_labels: Tensor
    cue_masks: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: SupportsIndex | slice | Sequence[int] | Tensor) -> Scenes:
        """Some of the scenes, by slice, by numbers or by a mask of N booleans; one number gives one scene.

        Raises:
            IndexError: There is no scene of this number.

        >>> scenes = make_scenes(4, seed=0)
        >>> len(scenes[1:]), len(scenes[scenes.labels >= 0]), scenes[-1].images.shape
        (3, 4, torch.Size([1, 3, 64, 64]))
        """
        if isinstance(index, SupportsIndex) and getattr(index, "ndim", 0) == 0:
            number = operator.index(index)
            if not -len(self) <= number < len(self):
                message = f"Expected a scene from 0 to {len(self) - 1}, got {number}."
                raise IndexError(message)
            index = [number]
        return Scenes(*(getattr(self, field.name)[index] for field in fields(self)))


def make_scenes(n: int, *, seed: int, cue_agreement: float = 0.6, cue_presence: float = 0.9) -> Scenes:
    """Draw n scenes, a pure function of the arguments: the same on every machine and in every version.

    Scene i depends on the seed and on i, not on n. The two chances decide the cue alone: with other ones the
    same objects lie in the same places of the same backgrounds, and so does a patch that stays. So
    `cue_presence=0` shows what is left of a mistake once the patch is taken away.

    Args:
        n: How many scenes. The first eight hold one object of each class, so do the next eight, and so on.
        seed: From 0 to 2**32 - 1.
        cue_agreement: Chance that a patch has the pattern of the object's class; otherwise it has another one's,
            each as likely.
        cue_presence: Chance that there is a patch at all.

    Returns:
        The scenes, about 500 a second.

    Raises:
        ParamsalError: An argument outside its range.

    >>> scenes = make_scenes(8, seed=0)
    >>> scenes.images.shape, sorted(scenes.labels.tolist())
    (torch.Size([8, 3, 64, 64]), [0, 1, 2, 3, 4, 5, 6, 7])
    """
    _require_range("n", n, 0, 2**32 - 1)
    _require_range("seed", seed, 0, 2**32 - 1)
    _require_range("cue_agreement", cue_agreement, 0, 1)
    _require_range("cue_presence", cue_presence, 0, 1)
    images = np.empty((n, SIZE, SIZE, 3), np.uint8)
    masks, cue_masks = np.empty((2, n, SIZE, SIZE), bool)
    labels, cue_labels = np.empty((2, n), np.int64)
    order = RandomState(seed)
    for i in range(n):
        if i % len(CLASSES) == 0:
            block = order.permutation(len(CLASSES))
        label = int(block[i % len(CLASSES)])
        random = RandomState([seed, i])
        cue_label = _cue_label(random, label, cue_agreement, cue_presence)
        labels[i], cue_labels[i] = label, cue_label
        images[i], masks[i], cue_masks[i] = paint(random, label, cue_label)
    return Scenes(
        torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().float().div_(255),
        torch.from_numpy(labels),
        torch.from_numpy(_tight_boxes(masks)),
        torch.from_numpy(masks),
        torch.from_numpy(cue_labels),
        torch.from_numpy(cue_masks),
    )


def load_scenes(split: str = "test") -> Scenes:
    """The embedded scenes: "train" (4096), "validation" (480) or "test" (240).

    Raises:
        ParamsalError: There is no such split.

    >>> len(load_scenes())
    240
    """
    if split not in SPLITS:
        message = f"Expected a split out of {', '.join(map(repr, SPLITS))}, got {split!r}."
        raise ParamsalError(message)
    return make_scenes(**SPLITS[split])


def _require_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        message = f"Expected `{name}` from {low} to {high}, got {value}."
        raise ParamsalError(message)


def _cue_label(random: RandomState, label: int, agreement: float, presence: float) -> int:
    """The class whose pattern the patch has, -1 for no patch; always takes three numbers from the stream."""
    absent, contradicts = random.uniform(size=2) >= [presence, agreement]
    other = (label + random.randint(1, len(CLASSES))) % len(CLASSES)
    return -1 if absent else int(other if contradicts else label)


def _tight_boxes(masks: Mask) -> NDArray[np.int64]:
    """Boxes (N, 4) of masks (N, H, W) that are nowhere empty."""
    columns, rows = np.any(masks, axis=1), np.any(masks, axis=2)
    left, top = columns.argmax(axis=1), rows.argmax(axis=1)
    right = columns.shape[1] - columns[:, ::-1].argmax(axis=1)
    bottom = rows.shape[1] - rows[:, ::-1].argmax(axis=1)
    return np.stack([left, top, right, bottom], axis=1)
