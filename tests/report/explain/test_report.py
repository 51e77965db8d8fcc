import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from report.explain.small_jobs import tiny_explanation, tiny_images, tiny_net, untraced_explanation

from captum_paramsal.attr import InputSpaceSaliency, ParameterSaliency
from captum_paramsal.errors import SourceError
from captum_paramsal.report import Explanation, fit_reference


@pytest.fixture(scope="module")
def found():
    return tiny_explanation()


@pytest.fixture(scope="module")
def folder(found, tmp_path_factory):
    out = tmp_path_factory.mktemp("job") / "new" / "report"
    assert found.write(out) == out / "report.html"
    return out


def test_writes_three_files_and_nothing_else(folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        *("explanation.json", "filters.csv", "manifest.json", "report.html")
    ]


def test_json(found, folder):
    content = json.loads((folder / "explanation.json").read_text())
    assert (content["schema"], content["schema_version"]) == ("captum_paramsal.explanation", 4)
    assert content["summary"] == {"images": 24, "mistakes": 6, "accuracy": 0.75, "skipped": 0}
    assert set(content["versions"]) == {"captum_paramsal", "captum", "torch"}
    assert content["model"]["name"] == "tiny & net"
    assert content["model"]["fingerprint"] == content["reference"]["fingerprint"]
    options = {"top_k": 4, "batch_size": 5, "device": "cpu", "layers": None, "pixels": True, "traces": True}
    assert content["parameters"] == options
    assert content["method"] == {"name": "parameter", "unit": "standard deviations", "unusual_above": 3.0}
    assert [content[name] for name in ("tails", "calibration", "pixels")] == [None, None, None]
    assert content["layers"] == [{"name": "0", "filters": 6, "parts": []}, {"name": "2", "filters": 8, "parts": []}]
    first, mistake = content["mistakes"][0], found.mistakes[0]
    assert (first["file"], first["label_name"]) == ("photo 0.png", found.classes[mistake.label])
    assert [entry["rank"] for entry in first["filters"]] == [1, 2, 3, 4]
    assert [len(group["mean"]) for group in content["groups"].values()] == [14, 14]


def test_csv_has_a_row_per_mistake_and_rank(found, folder):
    rows = list(csv.DictReader((folder / "filters.csv").read_text().splitlines()))
    assert len(rows) == 6 * 4
    assert {row["schema_version"] for row in rows} == {"4"}
    assert {row["p_value"] for row in rows} == {""}
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
    tiny_explanation.__wrapped__().write(tmp_path)
    for path in folder.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_a_loaded_explanation_can_be_written(folder, tmp_path):
    Explanation.load(folder).write(tmp_path)
    again, before = (json.loads((place / "explanation.json").read_text()) for place in (tmp_path, folder))
    # The page has no pictures now: it is another file.
    assert {**again, "page": "", "checksum": ""} == {**before, "page": "", "checksum": ""}
    assert "no picture" in (tmp_path / "report.html").read_text()


def _as_version_3(content):
    """What was written before keys had one word for each thing."""
    del content["caveats"]
    content["groups"]["incorrect"] = content["groups"].pop("mistakes")
    for mistake in content["mistakes"]:
        mistake["prediction"] = mistake.pop("predicted")
        mistake["prediction_name"] = mistake.pop("predicted_name")
        mistake["prediction_confidence"] = mistake.pop("confidence")
        mistake["traces"]["prediction"] = mistake["traces"].pop("predicted")
    return content | {"schema_version": 3}


def _as_version_2(content):
    """What was written before there were traces."""
    content = _as_version_3(content)
    del content["traces"]
    del content["parameters"]["traces"]
    for mistake in content["mistakes"]:
        del mistake["traces"]
    return content | {"schema_version": 2}


def _as_version_1(content):
    """What was written before there were methods and p-values."""
    content = _as_version_2(content)
    for new in ("method", "tails", "calibration", "pixels"):
        del content[new]
    del content["parameters"]["pixels"]
    for mistake in content["mistakes"]:
        for ranked in mistake["filters"]:
            del ranked["p_value"]
    return content | {"schema_version": 1}


def test_explanations_of_version_3_lose_nothing(found, folder, tmp_path):
    content = _as_version_3(json.loads((folder / "explanation.json").read_text()))
    (tmp_path / "explanation.json").write_text(json.dumps(content))
    # There were no caveats then.
    assert Explanation.load(tmp_path) == replace(found, caveats=())


@pytest.mark.parametrize("as_before", [_as_version_1, _as_version_2])
def test_explanations_of_earlier_versions_can_still_be_loaded(found, folder, tmp_path, as_before):
    content = as_before(json.loads((folder / "explanation.json").read_text()))
    (tmp_path / "explanation.json").write_text(json.dumps(content))
    before = Explanation.load(tmp_path)
    assert before.mistakes == tuple(replace(mistake, traces=None) for mistake in found.mistakes)
    assert (before.tails, before.calibration, before.tracing) == (None, None, None)
    assert before.context["method"]["name"] == "parameter"
    assert json.loads((before.write(tmp_path).parent / "explanation.json").read_text())["schema_version"] == 4


@pytest.mark.usefixtures("undrawn")
def test_pixel_gradients_are_saved_on_demand(tmp_path):
    kept = untraced_explanation(keep_pixels=True)
    kept.write(tmp_path)
    model, images = tiny_net(), tiny_images()
    saliency = ParameterSaliency(model, fit_reference(model, images, show_progress=False))
    batch = next(images.batches(24))
    wrong = [mistake.position for mistake in kept.mistakes]
    expected = InputSpaceSaliency(saliency, top_k=4).attribute(batch.inputs[wrong], target=batch.labels[wrong])
    loaded = Explanation.load(tmp_path).pixel_gradients
    assert list(loaded) == wrong
    torch.testing.assert_close(torch.stack(list(loaded.values())), expected, rtol=1e-3, atol=1e-6)
    assert "pixels.safetensors" in (tmp_path / "report.html").read_text()


@pytest.mark.usefixtures("undrawn")
def test_pixel_gradients_of_an_earlier_run_are_not_taken_for_those_of_this_one(found, tmp_path):
    untraced_explanation(keep_pixels=True, cards=2).write(tmp_path)
    assert len(Explanation.load(tmp_path).pixel_gradients) == 2
    found.write(tmp_path)
    assert Explanation.load(tmp_path).pixel_gradients == {}


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_pixel_gradients_that_cannot_be_read(tmp_path, damage):
    untraced_explanation(keep_pixels=True, cards=2).write(tmp_path)
    file = tmp_path / "pixels.safetensors"
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(SourceError, match=r"explanation at .*, got (FileNotFoundError|ValueError: a file)"):
        Explanation.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "JSONDecodeError"),
        ("[]", "TypeError"),
        ("{}", "KeyError: 'schema'"),
        ('{"schema": "captum_paramsal.explanation", "schema_version": 9}', "version 4 or before at .* of version 9"),
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


def test_a_file_that_version_0_1_wrote(tmp_path):
    written = json.loads((Path(__file__).parent / "version_3" / "explanation.json").read_text())
    explanation = Explanation.load(Path(__file__).parent / "version_3")
    assert [mistake.predicted for mistake in explanation.mistakes] == [m["prediction"] for m in written["mistakes"]]
    assert [m.confidence for m in explanation.mistakes] == [m["prediction_confidence"] for m in written["mistakes"]]
    assert list(explanation.mistake_group.mean) == written["groups"]["incorrect"]["mean"]
    for mistake, content in zip(explanation.mistakes, written["mistakes"], strict=True):
        traces = content["traces"] and content["traces"]["prediction"]["pixels"]
        assert (mistake.traces and mistake.traces.predicted.pixels) == traces
    explanation.write(tmp_path)
    assert Explanation.load(tmp_path) == explanation
