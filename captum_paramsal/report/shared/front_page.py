"""One page for all reports that lie in a folder, and links between them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from captum_paramsal.errors import SourceError
from captum_paramsal.files import as_json, readable, replacing, write_atomically
from captum_paramsal.files.sealed_json import digest_of, file_digest, require_whole_json, sealed_json
from captum_paramsal.report.shared.environment import environment
from captum_paramsal.report.shared.folder import KINDS, MANIFEST, PAGE
from captum_paramsal.report.shared.manifest import Manifest

FRONT_PAGE = "index.html"
_MARK = '<meta name="generator" content="captum-paramsal index">'
"""By which a front page is known, so that no page of somebody else is replaced."""
_TITLE = re.compile(r"<title>(.*?)</title>", re.DOTALL)
_LINKS = re.compile(r"(?<=<!-- reports -->).*?(?=<!-- end of reports -->)", re.DOTALL)


@dataclass(frozen=True)
class ListedReport:
    """A report as the front page lists it.

    Attributes:
        kind: What kind it is, in words.
        title: That of its page.
        folder: Where it lies.
        data_file: Name of its JSON file.
        content: Its JSON.
        manifest: What lies in its folder; None in one of an earlier version.
    """

    kind: str
    title: str
    folder: Path
    data_file: str
    content: dict[str, Any]
    manifest: Manifest | None

    def address(self, start: Path) -> str:
        """Of its page, from a page in another folder."""
        return self.address_of(PAGE, start)

    def address_of(self, file: str, start: Path) -> str:
        """Of one of its files, likewise."""
        return _address(self.folder / file, start)


@dataclass(frozen=True)
class UnreadReport:
    """A report that cannot be read: its folder, and why."""

    folder: str
    reason: str


def write_front_page(folder: str | Path) -> Path:
    """Write a front page for the reports of a folder, ``index.html``, and link their pages to it and to each other.

    The reports are those in the folders directly in it, and one that lies in it itself. From then on whatever is
    written there brings the front page and the links up to date. Data and numbers stay as they are.

    Args:
        folder: Where folders with reports lie.

    Returns:
        Path of the front page.

    Raises:
        SourceError: There is no report, or an ``index.html`` of somebody else, or the folder cannot be written to.
    """
    place = Path(folder)
    reports, unread = _found(place)
    if not reports:
        message = f"Expected folders with reports in '{place}', each a {PAGE} and its JSON, got none that can be read."
        raise SourceError(message)
    front = place / FRONT_PAGE
    if front.exists() and not _is_ours(front):
        message = f"Expected no {FRONT_PAGE} of another program in '{place}', got one. Take it away, or give another."
        raise SourceError(message)
    page = environment().get_template("front_page.html.jinja")
    name = place.resolve().name or str(place)
    text = page.render(name=name, reports=reports, unread=unread, place=place, mark=Markup(_MARK))  # noqa: S704 -- ours
    try:
        write_atomically(place, {FRONT_PAGE: readable(text) + "\n"})
        for report in reports:
            _link(report, [other for other in reports if other is not report], front)
    except OSError as error:
        message = f"Expected to write into '{place}', got {type(error).__name__}: {error}."
        raise SourceError(message) from error
    return front


def refresh_front_page(folder: Path) -> None:
    """Bring the front page up to date that a folder has, if it has one.

    Raises:
        SourceError: The folder cannot be written to.
    """
    if _is_ours(folder / FRONT_PAGE):
        write_front_page(folder)


def _is_ours(front: Path) -> bool:
    try:
        return _MARK in front.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def _found(place: Path) -> tuple[list[ListedReport], list[UnreadReport]]:
    """The reports of a folder by kind and name, and those that cannot be read."""
    reports, unread = [], []
    try:
        folders = [place, *sorted(inside for inside in place.iterdir() if inside.is_dir())]
    except OSError as error:
        message = f"Expected a folder with reports at '{place}', got {type(error).__name__}: {error}."
        raise SourceError(message) from error
    for data_file in KINDS:
        for folder in folders:
            if (folder / data_file).is_file() and (folder / PAGE).is_file():
                try:
                    reports.append(_listed(folder, data_file))
                except (OSError, ValueError, LookupError, TypeError) as error:
                    unread.append(UnreadReport(folder.name, f"{type(error).__name__}: {error}"))
    return reports, unread


def _listed(folder: Path, data_file: str) -> ListedReport:
    text = (folder / data_file).read_text(encoding="utf-8")
    content = json.loads(text)
    require_whole_json(text)
    if content.get("page") not in (None, file_digest(folder / PAGE)):
        message = f"a page {PAGE!r} and a {data_file!r} of two runs; write the report again"
        raise ValueError(message)
    for key in ("images", "accuracy"):
        float(content["summary"][key])
    str(content["model"]["name"])
    title = _TITLE.search((folder / PAGE).read_text(encoding="utf-8"))
    words = unescape(title[1]) if title else KINDS[data_file]
    manifest = Manifest.load(folder) if (folder / MANIFEST).is_file() else None
    return ListedReport(KINDS[data_file], words, folder, data_file, content, manifest)


def _link(report: ListedReport, others: Sequence[ListedReport], front: Path) -> None:
    """Link a page to the front page and to others, and let its JSON know the page as it is then."""
    page = report.folder / PAGE
    links = [(_address(front, report.folder), "All reports")]
    links += [(other.address(report.folder), other.title) for other in others]
    items = Markup("").join(Markup('<li><a href="{}">{}</a></li>').format(*link) for link in links)
    block = readable(Markup('\n<nav class="reports" aria-label="Other reports"><ul>{}</ul></nav>\n').format(items))
    before = page.read_text(encoding="utf-8")
    text = _LINKS.sub(lambda _: block, before, count=1)
    if text == before:
        return
    content = {key: value for key, value in report.content.items() if key != "checksum"}
    if "page" in content:
        content["page"] = digest_of(text.encode())
    contents = {PAGE: text.encode(), report.data_file: sealed_json(as_json(content)).encode()}
    manifest = {} if report.manifest is None else {MANIFEST: report.manifest.rewritten(contents).text.encode()}
    # The page first and the data last, as when the report was written.
    everything = {PAGE: contents[PAGE], **manifest, **contents}
    with replacing(*(report.folder / name for name in everything)) as partials:
        for partial, written in zip(partials, everything.values(), strict=True):
            partial.write_bytes(written)


def _address(file: Path, start: Path) -> str:
    return quote(Path(os.path.relpath(file.resolve(), start.resolve())).as_posix())
