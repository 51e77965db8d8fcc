"""How pages are made of templates."""

from __future__ import annotations

import re
from typing import Any

from captum_paramsal.files import readable
from captum_paramsal.report.shared.environment import environment
from captum_paramsal.report.shared.glossary import with_glossary
from captum_paramsal.report.shared.report import Report
from captum_paramsal.report.shared.sections import rendered_sections

_PREFORMATTED = re.compile(r"(<pre\b.*?</pre>)", re.DOTALL)
_BLOCKS = (
    "article|dd|div|dl|dt|fieldset|figcaption|figure|h[1-6]|header|legend|li|main|nav|ol|option|p|section|table|tbody|td|"
    "th|thead|tr|ul"
)
_BEFORE_BLOCK = re.compile(rf"\s*\n\s*(?=</?(?:{_BLOCKS})\b)")
_AFTER_BLOCK = re.compile(rf"(</?(?:{_BLOCKS})\b[^<>]*>)\s*\n\s*")
_LISTED = 200
"""Skipped files that a page names; its JSON has all of them."""


def render(template: str, report: Report, **parts: Any) -> str:
    """A report as one HTML page that needs no other file.

    Args:
        template: One that extends ``base.html.jinja``, which says what it can fill in.
        report: What the page is about: ``report`` in the template.
        parts: Whatever else the template shows.
    """
    page = environment().get_template(template)
    skipped = report.skipped[:_LISTED]
    more = rendered_sections(report)
    text = page.render(report=report, context=report.context, skipped=skipped, more_sections=more, **parts)
    # All names at once, also those in figures and in sections of others; the page itself has no such character.
    return readable(_unindented(with_glossary(text))) + "\n"


def _unindented(page: str) -> str:
    r"""A page without the indentation of its lines, and without empty ones; as it is where that is to be seen.

    Nor with ends of lines beside blocks: each would be a node of the page, on a page of cards one in six.

    >>> _unindented("<p>\n  a\n\n  b</p>\n<pre>\n  c</pre>")
    '<p>a\nb</p><pre>\n  c</pre>'
    """
    parts = _PREFORMATTED.split(page)
    return "".join(part if place % 2 else _dense(part) for place, part in enumerate(parts))


def _dense(part: str) -> str:
    lines = re.sub(r"\n[ \n]+", "\n", part)
    return _AFTER_BLOCK.sub(r"\1", _BEFORE_BLOCK.sub("", lines))
