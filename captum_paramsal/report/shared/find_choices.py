"""What a reader can choose from to find a card on a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

_NAMES = 100


@dataclass(frozen=True)
class PairChoice:
    """A true class, what it was taken for, and on how many cards.

    Attributes:
        key: What the cards have it by.
        label: What the true class is called.
        predicted: What the predicted class is called.
        count: Cards.
    """

    key: str
    label: str
    predicted: str
    count: int


def pair_key(label: int, predicted: int) -> str:
    """What cards have a pair of classes by."""
    return f"{label}-{predicted}"


def pair_choices(pairs: Iterable[tuple[int, int]], name_of: Callable[[int], str]) -> list[PairChoice]:
    """The pairs of classes of all cards, the most frequent first.

    >>> [(choice.label, choice.count) for choice in pair_choices([(1, 2), (0, 2), (0, 2)], str)]
    [('0', 2), ('1', 1)]

    Args:
        pairs: True and predicted class, one for each card that has it.
        name_of: What a class is called.
    """
    often = sorted(Counter(pairs).items(), key=lambda entry: (-entry[1], entry[0]))
    return [
        PairChoice(pair_key(label, predicted), name_of(label), name_of(predicted), count)
        for (label, predicted), count in often
    ]


def name_choices(names: Iterable[str]) -> list[str]:
    """The names that most cards have, the most frequent first, a hundred at most.

    >>> name_choices(["b", "a", "b"])
    ['b', 'a']
    """
    often = sorted(Counter(names).items(), key=lambda entry: (-entry[1], entry[0]))
    return [name for name, _ in often[:_NAMES]]
