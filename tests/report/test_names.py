"""Names that nobody can show, or that would do something, in every report: in data, table, figures and page."""

import csv
import re

import pytest
from report.every_kind import CLASSES, KINDS, strange_report


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("kind", KINDS)
def test_no_name_does_anything(kind, tmp_path):
    report = strange_report(kind)
    page = report.write(tmp_path).read_text(encoding="utf-8")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", page)
    for table in tmp_path.glob("*.csv"):
        with table.open(encoding="utf-8", newline="") as file:
            cells = {cell for row in csv.reader(file) for cell in row}
        assert not [cell for cell in cells if re.match(r"[=+@\t\r]|-(?!\d+(\.\d+)?(e-\d+)?$)", cell)]
    loaded = type(report).load(tmp_path)
    assert loaded.classes == {number: name for number, name in CLASSES.items() if number in loaded.classes}


def hashes(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture(params=KINDS)
def written(request, tmp_path):
    """A report, and a folder where another one of its kind has left files."""
    report = strange_report(request.param)
    for name in report.files:
        (tmp_path / name).write_text("old")
    (tmp_path / "notes.txt").write_text("mine")
    return report, tmp_path


@pytest.mark.usefixtures("undrawn")
@pytest.mark.filterwarnings("ignore:Glyph")
def test_files_of_an_earlier_report_go(written):
    report, folder = written
    report.write(folder)
    files = hashes(folder)
    assert files.pop("notes.txt") == b"mine"
    assert files.keys() <= {*report.files}
    assert report.data_file in files
    assert b"old" not in files.values()


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError("drawn wrong")])
def test_an_error_while_the_page_is_drawn_leaves_the_old_files(written, monkeypatch, error):
    report, folder = written
    before = hashes(folder)

    def stop(_):
        raise error

    monkeypatch.setattr(type(report), "contents", stop)
    with pytest.raises(type(error) if isinstance(error, ValueError) else error):
        report.write(folder)
    assert hashes(folder) == before
