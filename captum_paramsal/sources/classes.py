"""What the classes are called."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from captum_paramsal.errors import SourceError


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
            numbers = self._numbers.setdefault(word.casefold().strip(), [])
            if number not in numbers:
                numbers.append(number)

    @classmethod
    def from_json(cls, path: Path) -> ClassNames:
        """Read ``["tench", ...]``, ``[["n01440764", "tench"], ...]`` or ``{"0": either of these, ...}``.

        Raises:
            SourceError: The file is not there, is not JSON, or holds something else.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            message = f"Expected a JSON file of class names at '{path}', got {type(error).__name__}: {error}."
            raise SourceError(message) from error
        try:
            words = _words(content)
        except (TypeError, ValueError) as error:
            message = (
                f'Expected class names in \'{path}\' as ["tench", ...], [["n01440764", "tench"], ...] or '
                f'{{"0": "tench", ...}}, got {json.dumps(content)[:60]}.'
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
        return word.casefold().strip() in self._numbers

    def number(self, word: str) -> int:
        """The class that is called so.

        Raises:
            SourceError: No class is, or several are.
        """
        numbers = self._numbers.get(word.casefold().strip(), [])
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


def _words(content: object) -> dict[int, list[str]]:
    """What each class is called, its name last; TypeError or ValueError for anything else."""
    entries = content.items() if isinstance(content, dict) else enumerate(content)  # type: ignore[arg-type]
    words = {int(number): [entry] if isinstance(entry, str) else list(entry) for number, entry in entries}
    if isinstance(content, str) or not words or not all(words.values()):
        message = "not a list of names"
        raise TypeError(message)
    if not all(isinstance(word, str) for entry in words.values() for word in entry):
        message = "not all of them are words"
        raise TypeError(message)
    return words
