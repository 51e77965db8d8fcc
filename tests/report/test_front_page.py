"""The front page of a folder with reports: what it lists, the links between pages, and what it leaves alone."""

import json

import pytest
from report.every_kind import KINDS, strange_report
from report.explain.small_jobs import untraced_explanation
from report.pages import Page

from captum_paramsal.cli import main
from captum_paramsal.errors import SourceError
from captum_paramsal.report import Explanation, write_front_page

pytestmark = [pytest.mark.usefixtures("undrawn"), pytest.mark.filterwarnings("ignore:Glyph")]


@pytest.fixture
def folder(tmp_path):
    """Reports of all kinds."""
    for kind in KINDS:
        strange_report(kind).write(tmp_path / f"my {kind}")
    return tmp_path


def links_of(page, label=None):
    text = page.read_text(encoding="utf-8")
    part = text if label is None else text.split(f'aria-label="{label}"')[1].split("</nav>")[0]
    return [link["href"] for link in Page(part.partition(">")[2] if label else part).all("a")]


def pages_of(front):
    return [link for link in links_of(front) if link.endswith(".html")]


def test_lists_every_report(folder):
    front = write_front_page(folder)
    assert front == folder / "index.html"
    links = pages_of(front)
    assert sorted(links) == sorted(f"my%20{kind}/report.html" for kind in KINDS)
    page = Page(front.read_text(encoding="utf-8"))
    assert f"{len(KINDS)} reports in {folder.name}" in page.text
    assert not {tag for tag, _ in page.elements} & {"script", "link", "iframe", "object", "img"}


def test_links_pages_to_it_and_to_each_other(folder):
    write_front_page(folder)
    for kind in KINDS:
        links = links_of(folder / f"my {kind}" / "report.html", "Other reports")
        assert links[0] == "../index.html"
        assert sorted(links[1:]) == sorted(f"../my%20{other}/report.html" for other in KINDS if other != kind)
        Page((folder / f"my {kind}" / "report.html").read_text(encoding="utf-8"))


def test_reports_are_whole_after_it_and_say_the_same(folder):
    reports = {kind: strange_report(kind) for kind in KINDS}
    before = {kind: json.loads((folder / f"my {kind}" / one.data_file).read_text()) for kind, one in reports.items()}
    write_front_page(folder)
    for kind, report in reports.items():
        place = folder / f"my {kind}"
        type(report).load(place)
        after = json.loads((place / report.data_file).read_text())
        changed = {key for key in before[kind] if before[kind][key] != after[key]}
        assert changed == {"page", "checksum"}


def test_twice_is_as_once(folder):
    write_front_page(folder)
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    write_front_page(folder)
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before


def test_a_report_that_is_written_later_is_listed_and_linked(tmp_path):
    strange_report("explain").write(tmp_path / "one")
    write_front_page(tmp_path)
    untraced_explanation().write(tmp_path / "two")
    assert pages_of(tmp_path / "index.html") == [
        "one/report.html",
        "two/report.html",
    ]
    assert links_of(tmp_path / "one" / "report.html", "Other reports") == ["../index.html", "../two/report.html"]
    assert Explanation.load(tmp_path / "two") == untraced_explanation()


def test_no_front_page_without_being_asked(tmp_path):
    (tmp_path / "index.html").write_text("<p>mine</p>")
    strange_report("explain").write(tmp_path / "one")
    assert (tmp_path / "index.html").read_text() == "<p>mine</p>"
    with pytest.raises(SourceError, match="of another program"):
        write_front_page(tmp_path)
    assert (tmp_path / "index.html").read_text() == "<p>mine</p>"


def test_a_report_in_the_folder_itself(tmp_path):
    strange_report("explain").write(tmp_path)
    front = write_front_page(tmp_path)
    assert pages_of(front) == ["report.html"]
    assert links_of(tmp_path / "report.html", "Other reports") == ["index.html"]


def test_a_damaged_report_is_named_and_left_alone(tmp_path):
    for name in ("one", "two"):
        strange_report("explain").write(tmp_path / name)
    page = tmp_path / "two" / "report.html"
    page.write_text(page.read_text(encoding="utf-8").replace("</main>", "<p>changed</p></main>"), encoding="utf-8")
    before = page.read_bytes()
    text = Page(write_front_page(tmp_path).read_text(encoding="utf-8")).text
    assert "1 report in" in text
    assert "of two runs" in text
    assert page.read_bytes() == before


@pytest.mark.parametrize("there", [True, False])
def test_nothing_to_list(tmp_path, there):
    place = tmp_path if there else tmp_path / "missing"
    with pytest.raises(SourceError, match="got none that can be read" if there else "Expected a folder with reports"):
        write_front_page(place)


def test_names_are_escaped(tmp_path):
    name = "<b>a&b"
    strange_report("triage").write(tmp_path / name)
    text = write_front_page(tmp_path).read_text(encoding="utf-8")
    assert "<b>" not in text
    assert "&lt;b&gt;a&amp;b" in text


def test_command(tmp_path, capsys):
    strange_report("explain").write(tmp_path / "one")
    assert main(["index", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == str((tmp_path / "index.html").resolve())
    assert main(["index", str(tmp_path / "one" / "none")]) == 2
