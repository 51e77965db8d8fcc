"""Sections that a user adds to the page of a report."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from captum_paramsal.errors import ParamsalError
from captum_paramsal.report.shared.report import Report

SectionText: TypeAlias = Callable[[Any], str]
"""From a report to what its section shows: plain text, or HTML as ``markupsafe.Markup``."""
_Text = TypeVar("_Text", bound=SectionText)

_SECTIONS: dict[str, dict[str, SectionText]] = {
    "explain": {},
    "doctor": {},
    "compare": {},
    "triage": {},
    "compare_models": {},
    "cure": {},
}


@dataclass(frozen=True)
class Section:
    """A section as the page shows it.

    Attributes:
        anchor: Its id on the page.
        title: Its heading.
        text: What stands under it, HTML if it is ``markupsafe.Markup``.
    """

    anchor: str
    title: str
    text: str


def register_section(kind: str, title: str) -> Callable[[_Text], _Text]:
    """Add a section to the page of every report of a kind, before the glossary and "About this report".

    The function gets the report and returns what the section shows: plain text, or HTML as ``markupsafe.Markup``. Where
    it returns nothing, the page has no such section. Nothing is added to the data. A title that is registered again
    takes the place of the first.

    >>> from captum_paramsal.report import register_section, unregister_section
    >>> @register_section("triage", "Who to ask")
    ... def who_to_ask(report):
    ...     return f"{report.mistake_count} mistakes: ask the team that labelled the images."
    >>> unregister_section("triage", "Who to ask")

    Args:
        kind: "explain", "doctor", "compare", "triage", "compare_models" or "cure".
        title: The heading.

    Raises:
        ParamsalError: There is no such kind.
    """
    sections = _of_kind(kind)

    def register(text: _Text) -> _Text:
        sections[title] = text
        return text

    return register


def unregister_section(kind: str, title: str) -> None:
    """Leave a section out again, if there is one of this title.

    Raises:
        ParamsalError: There is no such kind.
    """
    _of_kind(kind).pop(title, None)


def rendered_sections(report: Report) -> Sequence[Section]:
    """The added sections of a report that have something to show."""
    texts = {title: text(report) for title, text in _of_kind(report.kind).items()}
    return [Section(_anchor(title), title, text) for title, text in texts.items() if text]


def _of_kind(kind: str) -> dict[str, SectionText]:
    if kind not in _SECTIONS:
        message = f"Expected a kind of report, one of {', '.join(map(repr, _SECTIONS))}, got {kind!r}."
        raise ParamsalError(message)
    return _SECTIONS[kind]


def _anchor(title: str) -> str:
    """An id that is none of the page's own.

    >>> _anchor("Who to ask?")
    'added-who-to-ask'
    """
    return "-".join(["added", *re.findall(r"\w+", title.lower())])
