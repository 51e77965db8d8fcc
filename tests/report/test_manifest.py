"""``manifest.json``: every file of a report, as it lies there, and what it is."""

import json
from hashlib import sha256

import pytest
from cases.undrawn import undrawn
from report.every_kind import KINDS, strange_report

from captum_paramsal import SourceError
from captum_paramsal.cli import main
from captum_paramsal.report import Manifest, write_front_page
from captum_paramsal.report.shared.manifest import now

pytestmark = pytest.mark.filterwarnings("ignore:Glyph")


@pytest.fixture(scope="module", params=KINDS)
def written(request, tmp_path_factory):
    report, folder = strange_report(request.param), tmp_path_factory.mktemp("report")
    with undrawn():
        report.write(folder)
    return report, folder


def require_true(folder):
    """It names every file but itself, as it lies there."""
    manifest = Manifest.load(folder)
    there = {file.name: file.read_bytes() for file in folder.iterdir() if file.name != "manifest.json"}
    assert {file.path: (file.size, file.sha256) for file in manifest.files} == {
        name: (len(content), sha256(content).hexdigest()) for name, content in there.items()
    }
    return manifest


def test_it_names_every_file_as_it_is(written):
    report, folder = written
    manifest = require_true(folder)
    assert (manifest.kind, manifest.data, manifest.page) == (report.kind, report.data_file, "report.html")
    assert manifest.command is None
    assert manifest.model == report.context["model"]
    assert manifest.versions == report.context["versions"]
    assert manifest.files[0].path == report.data_file


def test_roles_types_and_words(written):
    report, folder = written
    manifest = Manifest.load(folder)
    assert [file.path for file in manifest.with_role("data")] == [report.data_file]
    assert [file.path for file in manifest.with_role("page")] == ["report.html"]
    assert {file.path for file in manifest.with_role("table")} == {file.name for file in folder.glob("*.csv")}
    assert {file.path for file in manifest.with_role("figure")} == {file.name for file in folder.glob("*.png")}
    assert not manifest.with_role("other")
    for file in manifest.files:
        assert file.about
        assert "/" in file.media_type
        assert file.about == report.files[file.path]


def test_it_is_true_after_the_front_page_linked_the_report(tmp_path):
    for kind in ("explain", "triage"):
        with undrawn():
            strange_report(kind).write(tmp_path / kind)
    front = write_front_page(tmp_path).read_text(encoding="utf-8")
    for kind in ("explain", "triage"):
        require_true(tmp_path / kind)
    assert 'href="triage/mistakes.csv"' in front
    assert "UTC" in front


def test_a_report_without_one_is_listed(tmp_path):
    with undrawn():
        strange_report("explain").write(tmp_path / "one")
    (tmp_path / "one" / "manifest.json").unlink()
    assert "one/report.html" in write_front_page(tmp_path).read_text(encoding="utf-8")
    assert not (tmp_path / "one" / "manifest.json").exists()


def test_the_command_is_named(tmp_path):
    with undrawn():
        strange_report("explain").write(tmp_path, command=["captum-paramsal", "explain", "my photos"])
    assert Manifest.load(tmp_path).command == ("captum-paramsal", "explain", "my photos")


@pytest.mark.slow
def test_the_command_line_names_its_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["explain", "--no-pixels", "--no-traces", "--cards", "1", "--out", "out"]
    assert main(command) == 0
    assert Manifest.load("out").command == ("captum-paramsal", *command)


def test_when_it_was_written(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert now() == "1970-01-02T00:00:00+00:00"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(SourceError, match="seconds since 1970, got 'yesterday'"):
        now()
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert now() > "2025"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content | {"schema_version": 2}, "got captum_paramsal.manifest of 2"),
        (lambda content: content | {"schema": "other"}, "got other of 1"),
        (lambda content: content | {"files": [{}]}, "KeyError"),
        (lambda content: [content], "TypeError"),
    ],
)
def test_another_is_refused(written, tmp_path, change, message):
    content = json.loads((written[1] / "manifest.json").read_text(encoding="utf-8"))
    (tmp_path / "manifest.json").write_text(json.dumps(change(content)))
    with pytest.raises(SourceError, match=message):
        Manifest.load(tmp_path)


def test_a_damaged_one_is_refused(written, tmp_path):
    text = (written[1] / "manifest.json").read_text(encoding="utf-8")
    (tmp_path / "manifest.json").write_text(text.replace('"role": "data"', '"role": "page"'), encoding="utf-8")
    with pytest.raises(SourceError, match="does not match its checksum"):
        Manifest.load(tmp_path)
    with pytest.raises(SourceError, match="FileNotFoundError"):
        Manifest.load(tmp_path / "nowhere")
