import csv
import json

import pytest
from report.test_page import Page

from captum_paramsal.cli import main
from captum_paramsal.demo import CLASSES, load_scenes


@pytest.fixture(scope="module")
def demo_report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["explain"]) == 0
    return folder / "paramsal-report"


def test_data(demo_report):
    content = json.loads((demo_report / "explanation.json").read_text())
    summary = content["summary"]
    assert (summary["images"], summary["skipped"]) == (240, 0)
    assert 20 < summary["mistakes"] < 120
    assert len(content["mistakes"]) == summary["mistakes"]
    assert content["reference"]["images"] == 480
    assert len(list(csv.reader((demo_report / "filters.csv").read_text().splitlines()))) == 1 + 10 * summary["mistakes"]


def test_mistakes_pull_harder_than_the_rest(demo_report):
    groups = json.loads((demo_report / "explanation.json").read_text())["groups"]
    means = {name: sum(group["mean"]) / len(group["mean"]) for name, group in groups.items()}
    assert means["incorrect"] > 0.5
    assert means["correct"] < 0.1
    assert groups["incorrect"]["unusual"] > 10 * groups["correct"]["unusual"]


def test_page(demo_report):
    page = Page((demo_report / "report.html").read_text())
    content = json.loads((demo_report / "explanation.json").read_text())
    assert len(page.all("img")) == content["summary"]["mistakes"]
    assert "http" not in (demo_report / "report.html").read_text()
    assert "The background speaks for" in page.text


def test_cue_is_told_as_it_is(demo_report):
    cues = load_scenes("test").cue_labels.tolist()
    for mistake in json.loads((demo_report / "explanation.json").read_text())["mistakes"]:
        cue = cues[mistake["position"]]
        expected = f"The background speaks for {CLASSES[cue]}." if cue >= 0 else "The background speaks for no class."
        assert mistake["note"] == expected
