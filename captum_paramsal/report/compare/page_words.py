"""What the columns of a comparison mean, in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan
from types import MappingProxyType

from captum_paramsal.metrics import Column

_SMALLEST = 0.001

_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "infidelity": "The image is perturbed at random, and the map is asked how much the class score should "
        "change. This is how far off its answers are, on average and squared. The map may be multiplied by any "
        "number first, so only its shape counts.",
        "relative infidelity": "The same, divided by what a map of nothing but zeros gets. At 1 the map knows "
        "nothing about how the score reacts; below, it helps.",
        "infidelity of loss": "As infidelity, with the loss of the explained class in place of its score.",
        "relative infidelity of loss": "The same, divided by what a map of nothing but zeros gets.",
        "sensitivity": "The image is changed so little that nobody would see it. This is how much the map changes "
        "all the same, as a share of its size. A steady map is pleasant, but not thereby right: one that "
        "ignores the model is the steadiest of all.",
        "deletion": "The pixels that the map calls most important are taken away first. If the map is right, the "
        "model soon doubts the class, and its mean probability on the way is low.",
        "insertion": "The pixels that the map calls most important are put in first. If the map is right, the model "
        "soon finds the class, and its mean probability on the way is high.",
        "ROAD": "Pixels are removed in the order of the map, and filled in from what lies around them, so that nothing "
        "looks cut out. If the map is right, the model keeps the class while its least important pixels go, and loses "
        "it while its most important ones do. This is half of the difference; an order by chance has about 0.",
        "ROAD (most relevant first)": "The mean probability of the class while the pixels that the map calls most "
        "important are removed and filled in from what lies around them.",
        "ROAD (least relevant first)": "The mean probability of the class while the pixels that the map calls least "
        "important are removed and filled in from what lies around them.",
        "IROF": "The image is cut into segments of similar pixels, which are greyed one after the other, those that "
        "the map calls most important first. If the map is right, the class is soon gone, and this share of its "
        "probability is lost on the way.",
        "sparsity": "On how few pixels the map lies. Neither end is the better one: few pixels are quickly read, "
        "and easily miss half of the object.",
        "pointing game": "How often the highest point of the map lies on the object. Objects tend to lie in the "
        "middle, so look at the row of the centre pixel too.",
        "pointing game (small boxes)": "The same, only on images whose object is small: there the middle helps less.",
        "iou": "How well a box around the strong part of the map agrees with the object's box: 1 if they are the same.",
        "increase in confidence": "How often the model is more confident when it sees nothing but the map's box.",
        "confidence drop": "How much of the model's confidence is lost when it sees nothing but the map's box.",
        "box area": "How much of the image that box covers. A large box loses little confidence, and says little.",
        "randomised rank correlation": "How similar the map is when all that the model learned has been replaced by "
        "random numbers. A map that stays the same did not show what the model learned.",
        "randomised SSIM": "The same, by structural similarity, which looks at the shapes in the map.",
        "seconds": "Time for one map. It is measured for a batch of images together and divided among them, so there "
        "is no interval and no test.",
        "peak memory": "Memory for one map, beyond what model and images take; measured by batch, as the time is.",
    }
)

_BASELINES: Mapping[str, str] = MappingProxyType(
    {
        "centre pixel": "always points at the middle of the image",
        "random pixel": "points anywhere: it hits as often as the object's share of the image says",
        "whole image": "a box around everything",
        "object's box": "the box of the object itself in place of the map's",
        "random order": "pixels go or come in a random order",
    }
)

_UNITS_OF_MEANS: Mapping[str, str] = MappingProxyType(
    {"hit": "share of images", "share of that of a map of zeros": "share of the zero map's"}
)
"""What a column's mean is in, where that is not what its metric calls the unit of one image."""


def plain_words(column: Column) -> str:
    """A column in plain words; in those of its metric where there are none."""
    return _WORDS.get(column.name, column.description)


def baseline_words(name: str) -> str:
    """What a row of the table that belongs to no method stands for."""
    return _BASELINES.get(name, "looks neither at the model nor at a map")


def unit_of_mean(column: Column) -> str:
    """Unit of the mean over images."""
    return _UNITS_OF_MEANS.get(column.unit, column.unit)


def number_words(value: float) -> str:
    """Three digits, for people.

    >>> number_words(0.123456), number_words(1234567.0), number_words(-0.00001234), number_words(0.0)
    ('0.123', '1.23e+06', '\N{MINUS SIGN}1.23e-05', '0')
    """
    return f"{value:.3g}".replace("-", "\N{MINUS SIGN}", 1) if value < 0 else f"{value:.3g}"


def p_words(p_value: float) -> str:
    """A p-value for people.

    >>> p_words(0.0123), p_words(0.00001), p_words(float("nan"))
    ('0.012', '< 0.001', 'too few images')
    """
    if isnan(p_value):
        return "too few images"
    return f"< {_SMALLEST:g}" if p_value < _SMALLEST else f"{p_value:.2g}"
