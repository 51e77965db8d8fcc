"""What the classes are called."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from captum_paramsal.errors import SourceError, warn_caller

_WHOLE = re.compile(r"\+?0*(\d+?)(\.0*)?")
_DIGITS = 9
"""Of a class number, at most."""
_SHOWN, _LONGEST = 5, 60


class ClassNames(Mapping[int, str]):
    """Class number to name, and back.

    Args:
        names: Name of each class number that has one.
        aliases: Other words for a class, such as WordNet ids.

    >>> classes = ClassNames({0: "tench", 1: "goldfish"}, {"n01440764": 0})
    >>> classes[1], classes.number("n01440764"), classes.number("Goldfish")
    ('goldfish', 0, 1)
    """

    def __init__(self, names: Mapping[int, str], aliases: Mapping[str, int] | None = None) -> None:
        self._names = dict(names)
        self._numbers: dict[str, list[int]] = {}
        words = [(name, number) for number, name in self._names.items()]
        for word, number in [*words, *(aliases or {}).items()]:
            numbers = self._numbers.setdefault(_folded(word), [])
            if number not in numbers:
                numbers.append(number)

    @classmethod
    def from_json(cls, path: Path) -> ClassNames:
        """Read ``["tench", ...]``, ``[["n01440764", "tench"], ...]`` or ``{"0": either of these, ...}``.

        Raises:
            SourceError: The file is not there, is not JSON, names a class twice, or holds something else.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_each_once)
        except (OSError, ValueError, RecursionError) as error:
            message = f"Expected a JSON file of class names at '{path}', got {type(error).__name__}: {error}."
            raise SourceError(message) from error
        try:
            words = _words(content)
        except (TypeError, ValueError) as error:
            message = (
                f'Expected class names in \'{path}\' as ["tench", ...], [["n01440764", "tench"], ...] or '
                f'{{"0": "tench", ...}}, got {json.dumps(content)[:60]} ({error}).'
            )
            raise SourceError(message) from error
        return cls(
            {number: names[-1] for number, names in words.items()},
            {alias: number for number, names in words.items() for alias in names[:-1]},
        )

    def __getitem__(self, number: int) -> str:
        return self._names[number]

    def __iter__(self) -> Iterator[int]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def knows(self, word: str) -> bool:
        """Whether a class is called so."""
        return _folded(word) in self._numbers

    def numbers(self, words: Iterable[str]) -> dict[str, int]:
        """The class of each word, which is a class number or a name.

        Where names are numbers themselves, the names that were given win.

        Raises:
            SourceError: A word that is neither, or that several classes share; names that are numbers, and words of
                which only some are such names.

        Warns:
            UserWarning: Words that are the name of one class and the number of another are taken as names.

        >>> ClassNames({0: "cat", 1: "dog"}).numbers(["1", "cat", "1.0"])
        {'1': 1, 'cat': 0, '1.0': 1}
        """
        words = list(dict.fromkeys(words))
        whole = {word: number for word in words if (number := class_number(word)) is not None}
        valued: dict[int, str] = {}
        for name in self._numbers:
            if name.isdecimal() and (value := class_number(name)) is not None:
                valued.setdefault(value, name)
        names = {word: word if self.knows(word) else valued.get(number) for word, number in whole.items()}
        differing = [w for w, name in names.items() if name and self._numbers[_folded(name)] != [whole[w]]]
        strange = [word for word, name in names.items() if name is None]
        shifted = any(self._numbers[name] != [value] for value, name in valued.items())
        if strange and (differing or (shifted and len(valued) >= len(self))):
            message = (
                f"Expected class numbers, or names of classes, of which {len(valued)} are numbers themselves, got "
                f"{_listed(strange)}, which are no names, "
                f"{f'beside {_listed(differing)}, which are' if differing else 'so that numbers may mean either'}. "
                "Use the names alone."
            )
            raise SourceError(message)
        if differing:
            message = (
                f"{len(differing)} labels are the name of one class and the number of another, and are taken as names: "
                f"{_listed(differing)}. Check labels and classes."
            )
            warn_caller(message, UserWarning)
            return {word: self.number(names.get(word) or word) for word in words}
        return {word: whole[word] if word in whole else self.number(word) for word in words}

    def number(self, word: str) -> int:
        """The class that is called so.

        Raises:
            SourceError: No class is, or several are.
        """
        numbers = self._numbers.get(_folded(word), [])
        if len(numbers) == 1:
            return numbers[0]
        if numbers:
            message = f"Expected a name of one class, got {word!r}, which classes {numbers} share: label by number."
            raise SourceError(message)
        nearest = difflib.get_close_matches(word.casefold(), self._numbers, n=3)
        message = (
            f"Expected a class number or the name of one of the {len(self)} classes, got {word!r}. "
            f"Nearest: {', '.join(nearest) or 'none'}."
        )
        raise SourceError(message)


def class_number(word: str) -> int | None:
    """The class number that a word is, also where a table has it in floating point; None for another word.

    Raises:
        SourceError: More than nine digits.

    >>> class_number("007"), class_number("3.0"), class_number("3.5"), class_number("cat")
    (7, 3, None, None)
    """
    match = _WHOLE.fullmatch(word.strip())
    if match is None:
        return None
    if len(match[1]) > _DIGITS:
        message = f"Expected class numbers of at most {_DIGITS} digits, got {word[:20]!r} of {len(match[1])} digits."
        raise SourceError(message)
    return int(match[1])


def _folded(word: str) -> str:
    return word.casefold().strip()


def _listed(words: list[str]) -> str:
    return ", ".join(map(repr, words[:_SHOWN])) + (", ..." if len(words) > _SHOWN else "")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, which would otherwise lose all but the last of equal keys."""
    content = dict(pairs)
    if len(content) < len(pairs):
        message = "a key that is there twice"
        raise ValueError(message)
    return content


def _words(content: object) -> dict[int, list[str]]:
    """What each class is called, its name last; TypeError or ValueError for anything else."""
    entries = list(content.items() if isinstance(content, dict) else enumerate(content))  # type: ignore[arg-type]
    words = {int(number): [entry] if isinstance(entry, str) else list(entry) for number, entry in entries}
    if isinstance(content, str) or not words or not all(words.values()):
        message = "not a list of names"
        raise TypeError(message)
    if len(words) < len(entries) or min(words) < 0:
        message = "a class number that is there twice, or below 0"
        raise ValueError(message)
    for entry in words.values():
        for word in entry:
            # A lone half of a pair of UTF-16 fits into no file and no figure.
            if not isinstance(word, str) or any("\ud800" <= letter <= "\udfff" for letter in word):
                message = f"no word: {word!a}"[:_LONGEST]
                raise TypeError(message)
    return words
