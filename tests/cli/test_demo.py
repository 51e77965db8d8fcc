import csv
import json

import pytest
from report.pages import Page

from captum_paramsal.cli import main
from captum_paramsal.demo import CLASSES, load_scenes


def _report(folder, *options):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["explain", *options]) == 0
    return folder / "paramsal-report"


@pytest.fixture(
    scope="module", params=[["--cards", "3"], pytest.param([], marks=pytest.mark.slow)], ids=["few cards", "as it is"]
)
def demo_report(request, tmp_path_factory):
    """Pictures and traces of a few mistakes; of all of them it takes four times as long."""
    return _report(tmp_path_factory.mktemp("demo"), *request.param)


@pytest.fixture(scope="module")
def cards(demo_report):
    """The mistakes that have one."""
    mistakes = json.loads((demo_report / "explanation.json").read_text())["mistakes"]
    drawn = [mistake for mistake in mistakes if mistake["traces"]]
    assert len(drawn) in (3, len(mistakes))
    return drawn


@pytest.fixture(scope="module")
def pot_report(tmp_path_factory):
    return _report(tmp_path_factory.mktemp("demo"), "--method", "pot")


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
    assert means["mistakes"] > 0.5
    assert means["correct"] < 0.1
    assert groups["mistakes"]["unusual"] > 10 * groups["correct"]["unusual"]


def test_page(demo_report, cards):
    page = Page((demo_report / "report.html").read_text())
    assert len(page.all("img")) == (1 + 2) * len(cards)
    assert any(svg.get("aria-label", "").startswith("What the filter sees") for svg in page.all("svg"))
    ways = [one for one in page.all("div") if one.get("aria-label", "").startswith("From the class")]
    assert 0 < len(ways) <= len(cards)
    assert "http" not in (demo_report / "report.html").read_text()
    assert "The background is evidence for" in page.text


def test_every_mistake_is_traced_within_its_picture(demo_report, cards):
    content = json.loads((demo_report / "explanation.json").read_text())
    assert content["traces"]["size"] == [64, 64]
    for mistake in cards:
        for kind in ("label", "predicted"):
            x1, y1, x2, y2 = mistake["traces"][kind]["box"]
            assert 0 <= x1 < x2 <= 64
            assert 0 <= y1 < y2 <= 64
        assert 0 <= mistake["traces"]["iou"] <= 1
    page = Page((demo_report / "report.html").read_text())
    assert sum("the trace of" in one.get("aria-label", "") for one in page.all("div")) == 2 * len(cards)
    assert len(page.all("details")) == 2


def test_cue_is_told_as_it_is(demo_report):
    cues = load_scenes("test").cue_labels.tolist()
    for mistake in json.loads((demo_report / "explanation.json").read_text())["mistakes"]:
        cue = cues[mistake["position"]]
        expected = (
            f"The background is evidence for {CLASSES[cue]}."
            if cue >= 0
            else "The background is evidence for no class."
        )
        assert mistake["note"] == expected


@pytest.mark.slow
def test_tails_of_held_out_scenes_are_calibrated(pot_report):
    content = json.loads((pot_report / "explanation.json").read_text())
    assert content["method"]["name"] == "pot"
    check = content["calibration"]
    assert (check["held_out"], check["reference_images"]) == ("given", 480)
    for level, share, error in zip(check["levels"], check["overall"]["share"], check["overall"]["error"], strict=True):
        if level >= 1e-3:
            assert abs(share - level) < 3 * error
    at = [round(level, 9) for level in check["levels"]].index(0.01)
    assert check["correct"]["share"][at] < 0.01 < check["mistakes"]["share"][at]


@pytest.mark.slow
def test_tails_of_the_demo_fit(pot_report):
    tails = json.loads((pot_report / "explanation.json").read_text())["tails"]
    assert (tails["dead"], tails["few"], tails["tested"], tails["images"]) == (0, 0, 304, 480)
    assert tails["misfits"] < 0.2 * 304
    assert len(tails["examples"]) == 3


@pytest.mark.slow
def test_pot_page(pot_report):
    text = (pot_report / "report.html").read_text()
    assert "http" not in text
    page = Page(text)
    assert "generated scenes, split validation" in page.text
    assert "as it should be, within sampling error" in page.text
    assert page.text.count("misfit p") == 3


@pytest.mark.slow
def test_filters_table_has_p_values(pot_report):
    rows = list(csv.DictReader((pot_report / "filters.csv").read_text().splitlines()))
    assert all(0 <= float(row["p_value"]) < 0.1 for row in rows)
    assert all(float(row["score"]) > 2.3 for row in rows)
