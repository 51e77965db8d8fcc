"""From labelled photos to a folder to draw in, and from the folder to a treatment."""

import pytest
from cases.demo_scenes import scenes_painted_once
from PIL import Image
from sources.annotation_files import labelme, labelme_shape

from captum_paramsal.cli import main
from captum_paramsal.files.kinds import PICTURES
from captum_paramsal.report import DoctorReport

__all__ = ["scenes_painted_once"]

COLOURS = """\
import torch
from torch import nn

def build():
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))
    with torch.no_grad():
        net[0].weight.copy_(torch.eye(3)[:, :, None, None])
        net[0].bias.zero_()
        net[4].weight.copy_(40 * torch.eye(3) + 4)
        net[4].bias.zero_()
    return net
"""
PLAIN = ["--image-size", "16", "--resize", "squash", "--mean", "0", "0", "0", "--std", "1", "1", "1"]


@pytest.fixture
def arguments(tmp_path, monkeypatch):
    """Photos with an object on the left, and a model that looks at all of the photo."""
    monkeypatch.chdir(tmp_path)
    name = f"colours_{abs(hash(tmp_path)) % 10**9}"
    (tmp_path / f"{name}.py").write_text(COLOURS)
    (tmp_path / "photos").mkdir()
    for i in range(60):
        photo = Image.new("RGB", (32, 24))
        colours = [
            tuple(150 * (channel == colour) + i * (channel == colour) for channel in range(3)) for colour in range(3)
        ]
        photo.paste(colours[i % 3], (4, 8, 14, 22))
        if i % 5 == 0:
            photo.paste(colours[(i + 1) % 3], (17, 2, 31, 23))
        photo.save(tmp_path / "photos" / f"{i}.png")
    for table, numbers in (("train", range(30)), ("test", range(30, 60))):
        lines = "".join(f"{i}.png,{i % 3},{['cat', 'dog', 'eel'][i % 3]}\n" for i in numbers)
        (tmp_path / f"{table}.csv").write_text(f"file,label,name\n{lines}")
    return ["--model", f"{name}:build", "photos", *PLAIN]


@pytest.mark.usefixtures("undrawn")
def test_there_and_back(tmp_path, arguments, capsys):
    assert main(["annotate", *arguments, "--labels", "train.csv", "--per-class", "3", "--out", "drawing"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "9 of 30 images, 3 of each class at most"
    assert lines[-1] == str(tmp_path / "drawing" / "annotate.html")
    index = PICTURES.load(tmp_path / "drawing" / "pictures.json", lambda content: content["pictures"])
    wrong = [entry for entry in index if entry["label"] != entry["predicted"]]
    assert {entry["file"] for entry in wrong} == {f"{i}.png" for i in range(0, 30, 5)}

    for entry in wrong:
        path = tmp_path / "drawing" / "pictures" / entry["picture"].replace(".png", ".json")
        labelme(path, entry["picture"], (32, 24), labelme_shape([[4, 8], [14, 22]], "rectangle"))
    options = ["--labels", "test.csv", "--treat", "--train-labels", "train.csv", "--train-masks", "drawing"]
    quick = ["--epochs", "1", "--channel", "0", "--no-control", "--confidence", "0.3", "--out", "out"]
    assert main(["doctor", *arguments, *options, *quick]) == 0
    settings = DoctorReport.load("out").treatment.settings
    assert settings["annotated"] in range(1, 7)
    noted = f"knew the object in {settings['annotated']} of the 24 training images ({settings['annotated'] / 24:.0%})"
    assert noted in capsys.readouterr().out


@pytest.mark.usefixtures("undrawn")
def test_masks_of_the_images_to_examine(arguments, tmp_path):
    labelme(tmp_path / "drawn" / "30.json", "30.png", (32, 24), labelme_shape([[4, 8], [14, 22]], "rectangle"))
    options = ["--labels", "test.csv", "--masks", "drawn", "--confidence", "0.3", "--out", "out"]
    assert main(["doctor", *arguments, *options]) == 0
    assert DoctorReport.load("out").mistake_group.background.images == 1


def test_refusals(arguments, tmp_path, capsys):
    annotate = ["annotate", *arguments, "--labels", "train.csv", "--out", "drawing"]
    assert main(annotate) == 0
    treat = ["doctor", *arguments, "--labels", "test.csv", "--treat", "--train-labels"]
    capsys.readouterr()
    for command, said in (
        (annotate, "on which somebody may have drawn"),
        ([*treat, "train.csv", "--train-masks", "drawing"], "nobody has drawn there yet"),
        ([*treat, "train.csv", "--train-masks", "missing"], "JSON file of labelme or COCO at 'missing'"),
    ):
        assert main(command) == 2
        assert said in capsys.readouterr().err
    picture = next((tmp_path / "drawing" / "pictures").iterdir())
    labelme(picture.with_suffix(".json"), picture.name, (32, 24), labelme_shape([[4, 8], [14, 22]], "rectangle"))
    (tmp_path / "few.csv").write_text("file,label\n0.png,0\n1.png,1\n")
    assert main([*treat, "few.csv", "--train-masks", "drawing"]) == 2
    assert "Give the table that they were chosen from" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["doctor", *arguments, "--train-masks", "drawing"])
    assert "--train-masks: needs --treat" in capsys.readouterr().err


@pytest.mark.slow
def test_the_demo(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["annotate"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "160 of 1024 images, 20 of each class at most"
    assert len([*(tmp_path / "paramsal-annotate" / "pictures").iterdir()]) == 160
