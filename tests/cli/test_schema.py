"""``captum-paramsal schema``: names, one schema, or all of them as files."""

import json

import pytest

from captum_paramsal.cli import main
from captum_paramsal.report import json_schemas


def test_names(capsys):
    assert main(["schema"]) == 0
    assert capsys.readouterr().out.split() == [*json_schemas()]


def test_one(capsys):
    assert main(["schema", "reports/triage.2"]) == 0
    assert json.loads(capsys.readouterr().out) == json_schemas()["reports/triage.2"]


def test_all_as_files(tmp_path, capsys):
    assert main(["schema", "--out", str(tmp_path / "schemas")]) == 0
    assert capsys.readouterr().out.strip() == str((tmp_path / "schemas").resolve())
    files = {file.relative_to(tmp_path / "schemas").as_posix(): file for file in tmp_path.rglob("*.json")}
    assert files.keys() == {f"{name}.schema.json" for name in json_schemas()}
    assert json.loads(files["manifest.1.schema.json"].read_text()) == json_schemas()["manifest.1"]


def test_an_unknown_name(capsys):
    assert main(["schema", "reports/nothing.1"]) == 2
    assert "got 'reports/nothing.1'" in capsys.readouterr().err


def test_a_name_and_a_folder(tmp_path):
    with pytest.raises(SystemExit):
        main(["schema", "manifest.1", "--out", str(tmp_path)])
