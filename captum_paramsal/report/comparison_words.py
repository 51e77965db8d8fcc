"""What the columns of a comparison mean, in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from captum_paramsal.comparison.result import ColumnNote

__all__ = ["plain_words"]

_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "infidelity": "The image is disturbed at random, and the map is asked how much the class score should "
        "change. This is how far off its answers are, on average and squared. The map may be multiplied by any "
        "number first, so only its shape counts.",
        "relative infidelity": "The same, divided by what a map of nothing but zeros gets. At 1 the map knows "
        "nothing about how the score reacts; below, it helps.",
        "infidelity of the loss": "As infidelity, with the loss of the explained class in place of its score.",
        "relative infidelity of the loss": "The same, divided by what a map of nothing but zeros gets.",
        "sensitivity": "The image is changed so little that nobody would see it. This is how much the map changes "
        "all the same, as a share of its size. A steady map is pleasant, but not thereby right: one that "
        "ignores the model is the steadiest of all.",
        "deletion": "The pixels that the map calls most important are taken away first. If the map is right, the "
        "model soon doubts the class, and its mean probability on the way is low.",
        "insertion": "The pixels that the map calls most important are put in first. If the map is right, the model "
        "soon finds the class, and its mean probability on the way is high.",
        "sparsity": "On how few pixels the map lies. Neither end is the better one: few pixels are quickly read, "
        "and easily miss half of the object.",
        "pointing game": "How often the highest point of the map lies on the object. Objects tend to lie in the "
        "middle, so look at the row of the centre pixel too.",
        "pointing game (small boxes)": "The same, only on images whose object is small: there the middle helps less.",
        "iou": "How well a box around the strong part of the map agrees with the object's box: 1 if they are the same.",
        "increase in confidence": "How often the model is surer when it sees nothing but the map's box.",
        "confidence drop": "How much of the model's confidence is lost when it sees nothing but the map's box.",
        "box area": "How much of the image that box covers. A large box loses little confidence, and says little.",
        "randomised rank correlation": "How alike the map is when all that the model learned has been replaced by "
        "random numbers. A map that stays the same did not show what the model learned.",
        "randomised SSIM": "The same, by structural similarity, which looks at the shapes in the map.",
        "seconds": "Time for one map, when images are taken together.",
        "peak memory": "Memory for one map, beyond what model and images take.",
    }
)


def plain_words(column: ColumnNote) -> str:
    """A column in plain words; in those of its metric where there are none."""
    return _WORDS.get(column.name, column.description)
