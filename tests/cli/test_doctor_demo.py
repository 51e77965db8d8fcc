import csv
import json

import pytest
from report.pages import Page

from captum_paramsal.cli import main
from captum_paramsal.repair import Patch


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["doctor"]) == 0
    return folder / "paramsal-doctor"


@pytest.fixture(scope="module")
def content(folder):
    return json.loads((folder / "doctor.json").read_text())


def test_data(folder, content):
    assert (content["summary"]["images"], content["summary"]["mistakes"]) == (240, 38)
    assert content["layer"] == {"name": "block2", "channels": 64}
    assert content["caveats"] == []
    assert len(list(csv.reader((folder / "channels.csv").read_text().splitlines()))) == 1 + 38 * 5


def test_the_background_is_judged_beside_its_area_and_beside_correct_images(content):
    wrong, right = content["groups"]["mistakes"], content["groups"]["correct"]
    assert wrong["background"]["images"] == right["background"]["images"] == 38
    # Most of a scene is background, so even a map that points at the object has most of its evidence there.
    assert wrong["background"]["value"] > 0.8 < right["background"]["value"]
    assert right["excess"]["value"] < wrong["excess"]["value"] < 0


def test_distance_from_the_class_tells_mistakes(content):
    assert 0.7 < content["separation"]["deviation"] < 1
    assert 0.7 < content["separation"]["doubt"] < 1


def test_page(folder):
    text = (folder / "report.html").read_text()
    assert "http" not in text
    page = Page(text)
    assert "the background has" in page.text
    assert "The background is evidence for" in page.text
    assert len([one for one in page.elements if one[0] == "article"]) == 38


@pytest.mark.slow
def test_treatment_of_the_demo(tmp_path, capsys):
    command = ["doctor", "--treat", "--epochs", "1", "--no-control", "--channel", "0", "--cards", "2"]
    assert main([*command, "--out", str(tmp_path)]) == 0
    assert "treated: accuracy 84.2% -> " in capsys.readouterr().out
    treatment = json.loads((tmp_path / "doctor.json").read_text())["treatment"]
    assert treatment["settings"]["annotated"] == treatment["settings"]["train"] == 1024
    assert treatment["settings"]["validation"] == 480
    assert treatment["accuracy_after"] >= 0.8
    assert Patch.load(tmp_path / "treated.patch.safetensors").changes
