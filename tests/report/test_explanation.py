import csv
import json

import pytest
from report.small_jobs import tiny_explanation

from captum_paramsal.errors import SourceError
from captum_paramsal.report import Explanation


@pytest.fixture(scope="module")
def found():
    return tiny_explanation()


@pytest.fixture(scope="module")
def folder(found, tmp_path_factory):
    out = tmp_path_factory.mktemp("job") / "new" / "report"
    assert found.write(out) == out / "report.html"
    return out


def test_writes_three_files_and_nothing_else(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["explanation.json", "filters.csv", "report.html"]


def test_json(found, folder):
    content = json.loads((folder / "explanation.json").read_text())
    assert (content["schema"], content["schema_version"]) == ("captum_paramsal.explanation", 1)
    assert content["summary"] == {"images": 24, "mistakes": 6, "accuracy": 0.75, "skipped": 0}
    assert set(content["versions"]) == {"captum_paramsal", "captum", "torch"}
    assert content["model"]["name"] == "tiny & net"
    assert content["model"]["fingerprint"] == content["reference"]["fingerprint"]
    assert content["parameters"] == {"top_k": 4, "batch_size": 5, "device": "cpu", "layers": None}
    assert content["layers"] == [{"name": "0", "filters": 6, "parts": []}, {"name": "2", "filters": 8, "parts": []}]
    first, mistake = content["mistakes"][0], found.mistakes[0]
    assert (first["file"], first["label_name"]) == ("photo 0.png", found.classes[mistake.label])
    assert [entry["rank"] for entry in first["filters"]] == [1, 2, 3, 4]
    assert [len(group["mean"]) for group in content["groups"].values()] == [14, 14]


def test_csv_has_a_row_per_mistake_and_rank(found, folder):
    rows = list(csv.DictReader((folder / "filters.csv").read_text().splitlines()))
    assert len(rows) == 6 * 4
    assert {row["schema_version"] for row in rows} == {"1"}
    best = found.mistakes[1].filters[0]
    row = rows[4]
    assert (row["file"], row["rank"], row["layer"], row["index"]) == (
        "photo 4.png",
        "1",
        best.filter.layer,
        str(best.filter.index),
    )
    assert float(row["score"]) == best.score


def test_loads_what_it_wrote(found, folder):
    assert Explanation.load(folder) == found
    assert Explanation.load(folder / "explanation.json") == found
    assert Explanation.from_dict(found.to_dict()) == found


def test_writing_again_gives_the_same_bytes(folder, tmp_path):
    tiny_explanation().write(tmp_path)
    for path in folder.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_a_loaded_explanation_can_be_written(folder, tmp_path):
    Explanation.load(folder).write(tmp_path)
    assert (tmp_path / "explanation.json").read_bytes() == (folder / "explanation.json").read_bytes()
    assert "no picture" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "JSONDecodeError"),
        ("[]", "TypeError"),
        ("{}", "KeyError: 'schema'"),
        ('{"schema": "captum_paramsal.explanation", "schema_version": 9}', "version 1 at .* of version 9"),
        ('{"schema": "captum_paramsal.explanation", "schema_version": 1}', "KeyError: 'layers'"),
    ],
)
def test_files_that_are_no_explanation(tmp_path, text, message):
    (tmp_path / "explanation.json").write_text(text)
    with pytest.raises(SourceError, match=message):
        Explanation.load(tmp_path)


def test_no_file(tmp_path):
    with pytest.raises(SourceError, match=r"explanation at '.*explanation.json', got FileNotFoundError"):
        Explanation.load(tmp_path)
