import csv
import json
import shutil

import pytest
import torch
from PIL import Image
from report.pages import Page
from safetensors.torch import load_file

from captum_paramsal.cli import loading, main
from captum_paramsal.report import DoctorReport
from captum_paramsal.sources import LabelledPhotos

NETWORK = """\
import torch
from torch import nn

def build():
    net = nn.Sequential(nn.Conv2d(3, 6, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))
    torch.manual_seed(0)
    with torch.no_grad():
        net[0].weight.uniform_(-0.1, 0.1)
        net[0].weight[:3, :, 0, 0] += torch.eye(3)
        net[0].bias.fill_(-0.15)
        net[4].weight.uniform_(-0.1, 0.1)
        net[4].weight[:, :3] += 40 * torch.eye(3)
        net[4].bias.zero_()
    return net
"""
PLAIN = ["--image-size", "16", "--resize", "squash", "--mean", "0", "0", "0", "--std", "1", "1", "1"]


def _save_scene(path, number):
    """An object of the colour of its class on the left; at times more of another colour on the right."""
    photo = Image.new("RGB", (32, 32))
    colours = [
        tuple(200 * (channel == colour) + number % 40 * (channel == colour) for channel in range(3))
        for colour in range(3)
    ]
    photo.paste(colours[number % 3], (4, 8, 14, 22))
    if number % 5 == 0:
        photo.paste(colours[(number + 1) % 3], (17, 2, 31, 30))
    photo.save(path)


def _table(path, numbers):
    lines = [f"{i}.png,{i % 3},{['cat', 'dog', 'eel'][i % 3]},4 8 14 22" for i in numbers]
    path.write_text("\n".join(["file,label,name,boxes", *lines, ""]))


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A network of the user's own, and scenes with boxes in three tables."""
    name = f"colours_{abs(hash(tmp_path)) % 10**9}"
    (tmp_path / f"{name}.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for i in range(90):
        _save_scene(tmp_path / "photos" / f"{i}.png", i)
    _table(tmp_path / "test.csv", range(30))
    _table(tmp_path / "train.csv", range(30, 60))
    _table(tmp_path / "val.csv", range(60, 90))
    (tmp_path / "model").write_text(f"{name}:build")
    return tmp_path


@pytest.fixture
def arguments(workplace):
    model = (workplace / "model").read_text()
    return ["--model", model, "--labels", "test.csv", *PLAIN, "--confidence", "0.5", "photos"]


def _exit_of(argv):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    return caught.value.code


def test_doctor_says_where_and_what(workplace, arguments, capsys):
    assert main(["doctor", *arguments, "--out", "out"]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0] == "30 images, 6 mistakes (accuracy 80.0%), 60 files skipped"
    assert lines[1] == "layer 1, 6 channels"
    assert lines[2].startswith("note: For 6 of 6 mistakes fewer than 19 images of the predicted class are known")
    assert lines[-1] == str(workplace / "out" / "report.html")
    assert captured.err == ""
    found = DoctorReport.load("out")
    assert {one.channels[0].channel for one in found.mistakes} == {0, 1, 2}
    assert all(one.background > 0.9 > one.background_area for one in found.mistakes)
    assert found.class_name(2) == "eel"
    rows = list(csv.DictReader((workplace / "out" / "channels.csv").read_text().splitlines()))
    assert len(rows) == 6 * 5
    assert "Background" in Page((workplace / "out" / "report.html").read_text()).text


@pytest.mark.usefixtures("undrawn")
def test_other_images_to_compare_with(workplace, arguments, capsys):
    assert main(["doctor", *arguments, "--reference-labels", "train.csv", "--out", "out"]) == 0
    assert "skipped" not in capsys.readouterr().out
    usual = json.loads((workplace / "out" / "doctor.json").read_text())["usual"]
    assert usual == {"origin": "train.csv", "fitted_on_these_images": False, "images": 24, "confident_images": 24}


@pytest.mark.usefixtures("undrawn")
def test_a_diagnosis_that_was_written_before(arguments):
    assert main(["doctor", *arguments, "--out", "first"]) == 0
    command = ["doctor", *arguments, "--diagnosis", "first/diagnosis.safetensors", "--out", "second"]
    assert main(command) == 0
    assert DoctorReport.load("second").mistakes == DoctorReport.load("first").mistakes


def test_treatment(workplace, arguments, capsys):
    command = ["doctor", *arguments, "--treat", "--train-labels", "train.csv", "--validation-labels", "val.csv"]
    options = ["--epochs", "2", "--channel", "0", "--margin", "0", "--save-weights", "made/here.safetensors"]
    assert main([*command, *options, "--out", "out"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("treated: accuracy 80.0% -> ") for line in lines)
    assert any(line.startswith("without constraints: accuracy ") for line in lines)
    found = DoctorReport.load("out")
    assert found.treatment.settings["annotated"] == 30
    assert set(found.treatment.weights) == {"space"}
    scope = {}
    exec(NETWORK, scope)  # noqa: S102
    model = scope["build"]()
    found.patch.apply(model)
    saved = load_file(workplace / "made" / "here.safetensors")
    assert all(torch.equal(value, saved[name]) for name, value in model.state_dict().items())
    assert "Treatment" in Page((workplace / "out" / "report.html").read_text()).text


@pytest.mark.usefixtures("undrawn")
def test_column_of_boxes_of_another_name(workplace, arguments):
    text = (workplace / "test.csv").read_text().replace("boxes", "mine")
    (workplace / "test.csv").write_text(text)
    assert main(["doctor", *arguments, "--out", "without"]) == 0
    assert DoctorReport.load("without").mistake_group.background.images == 0
    assert main(["doctor", *arguments, "--boxes", "mine", "--out", "with"]) == 0
    assert DoctorReport.load("with").mistake_group.background.images == 6


@pytest.mark.usefixtures("undrawn")
def test_progress_bars_when_asked_for(arguments, capsys):
    command = ["doctor", *arguments, "--treat", "--train-labels", "train.csv", "--epochs", "1", "--no-control"]
    assert main([*command, "--out", "out", "--progress"]) == 0
    drawn = capsys.readouterr().err
    for word in ("predictions", "diagnosis", "mistakes", "to compare", "treatment"):
        assert word in drawn


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--model", "resnet18"], "--model and IMAGES_DIR go together"),
        (["photos"], "--model and IMAGES_DIR go together"),
        (["--boxes", "mine"], "--boxes: needs --model and IMAGES_DIR"),
        (["--diagnosis", "d", "--labels", "l.csv"], "--labels, --diagnosis: needs --model and IMAGES_DIR"),
        (["--epochs", "3"], "--epochs: needs --treat"),
        (["--treat", "--space-layers", "block1"], "--space-layers: needs --as-in-paper"),
        (["--as-in-paper"], "--as-in-paper: needs --treat"),
        (["--no-control", "--save-weights", "f.safetensors"], "--control, --save-weights: needs --treat"),
        (["--model", "m", "photos", "--treat"], "--treat: needs --train-labels"),
        (["--model", "m", "photos", "--boxes", "b"], "--boxes: needs --labels"),
        (["--model", "m", "photos", "--reference-images", "d"], "--reference-images: needs --reference-labels"),
        (["--model", "m", "photos", "--diagnosis", "d", "--layer", "x"], "--layer: is settled by --diagnosis"),
        (["--evidence", "guess"], "invalid choice: 'guess'"),
        (["--layers", "a"], "unrecognized arguments: --layers"),
        (["--learning-rate", "inf"], "at least 0, got inf"),
        (["--noise-samples", "-1"], "at least 0, got -1"),
    ],
)
def test_wrong_usage(capsys, argv, message):
    assert _exit_of(["doctor", *argv]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--layer", "nowhere"], "nowhere"),
        (["--noise-range", "nan"], "got 10 and nan"),
        (["--reference-labels", "gone.csv"], "label file at 'gone.csv'"),
        (["--diagnosis", "test.csv"], "test.csv"),
        (["--boxes", "mine"], "column 'mine' with boxes in 'test.csv'"),
        (["--treat", "--train-labels", "test.csv"], "got 30 that are both, such as '0.png'"),
        (["--treat", "--train-labels", "train.csv", "--learning-rate", "1e30"], "finite loss"),
    ],
)
def test_errors_are_one_message(workplace, arguments, capsys, more, message):
    assert main(["doctor", *more, "--out", "out", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("captum-paramsal: ")
    assert message in error
    assert "Traceback" not in error
    assert list((workplace / "out").iterdir()) == []


def test_images_are_the_same_through_links(workplace, arguments, capsys):
    (workplace / "linked").mkdir()
    (workplace / "linked" / "a.png").symlink_to(workplace / "photos" / "3.png")
    for i in range(30, 40):
        shutil.copy(workplace / "photos" / f"{i}.png", workplace / "linked")
    table = "file,label\na.png,0\n" + "".join(f"{i}.png,{i % 3}\n" for i in range(30, 40))
    (workplace / "linked.csv").write_text(table)
    command = ["doctor", *arguments, "--treat", "--train-labels", "linked.csv", "--train-images", "linked"]
    assert main([*command, "--out", "out"]) == 2
    assert "got 1 that are both, such as '3.png'" in capsys.readouterr().err


def test_output_that_cannot_be_written_is_found_first(arguments, capsys, monkeypatch):
    monkeypatch.setattr(loading, "load_job", None)
    assert main(["doctor", "--out", "test.csv/out", *arguments]) == 2
    assert "written to at 'test.csv" in capsys.readouterr().err


def test_interrupted(workplace, arguments, capsys, monkeypatch):
    original = LabelledPhotos.batches

    def stop_at_the_second(self, *args):
        yield next(original(self, *args))
        raise KeyboardInterrupt

    monkeypatch.setattr(LabelledPhotos, "batches", stop_at_the_second)
    assert main(["doctor", *arguments, "--out", "out"]) == 130
    assert "interrupted; no result was written" in capsys.readouterr().err
    assert list((workplace / "out").iterdir()) == []


def test_help(capsys):
    assert _exit_of(["doctor", "--help"]) == 0
    text = capsys.readouterr().out
    for word in ("IMAGES_DIR", "--treat", "--boxes COLUMN", "--reference-labels CSV", "built-in demo", "examples:"):
        assert word in text
