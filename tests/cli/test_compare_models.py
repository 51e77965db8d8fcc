import json

import pytest
import torch
from sources.photo_files import save_photo

from captum_paramsal import ModelComparison
from captum_paramsal.cli import main
from captum_paramsal.cli.demo_images import DAMAGED, damaged_model
from captum_paramsal.demo import load_model
from captum_paramsal.models_compared import ImageDifferences

COUNT = 12


def _exit_of(argv):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    return caught.value.code


@pytest.fixture
def two(workplace, arguments):
    """The usual arguments, with a second checkpoint that has one filter damaged, and labels that each gets in part."""
    state = torch.load(workplace / "weights.pt")
    state["2.weight"][5] *= -6
    torch.save(state, workplace / "after.pt")
    # This one says another class of everything.
    state["6.bias"] += torch.tensor([9.0, 0.0, 0.0])
    torch.save(state, workplace / "third.pt")
    return [*arguments[:-1], "--data", arguments[-1], "--other-weights", "after.pt", "--explained", "2"]


@pytest.mark.usefixtures("undrawn")
def test_photos(workplace, two, capsys):
    assert main(["compare-models", *two, "--steps", "2", "--pictures", "1", "--out", "out"]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0].startswith("12 images, accuracy ")
    assert lines[0].endswith("2 files skipped")
    assert lines[2].startswith("moved most: 2[5]")
    assert lines[-1] == str(workplace / "out" / "report.html")
    assert captured.err == ""
    content = json.loads((workplace / "out" / "models.json").read_text())
    assert content["model"]["name"] == content["other"]["name"]
    assert (content["model"]["weights"], content["other"]["weights"]) == ("weights.pt", "after.pt")
    assert content["filters"][0]["filter"] == "2[5]"
    assert (content["parameters"]["steps"], content["parameters"]["explained"]) == (2, 2)
    assert {skip["file"] for skip in content["skipped"]} == {"broken.jpg", "gone.png"}
    summary = content["summary"]
    assert sum(summary[name] for name in ("only_a", "only_b", "both", "neither")) == COUNT
    assert str(ModelComparison.load(workplace / "out" / "models.safetensors").top(1)[0].filter) == "2[5]"
    differences = ImageDifferences.load(workplace / "out" / "differences.safetensors")
    assert len(differences) == len(content["explained"])


@pytest.mark.usefixtures("undrawn")
def test_a_model_of_another_name(workplace, two):
    """Its weights are those of the callable."""
    module, _, _ = (workplace / "model").read_text().partition(":")
    with (workplace / f"{module}.py").open("a") as file:
        file.write("\n\ndef other():\n    model = build()\n    model.load_state_dict(torch.load('third.pt'))\n")
        file.write("    return model\n")
    place = two.index("--other-weights")
    options = [*two[:place], "--other", f"{module}:other", *two[place + 2 :]]
    assert main(["compare-models", *options, "--limit", "6", "--out", "out"]) == 0
    content = json.loads((workplace / "out" / "models.json").read_text())
    assert (content["other"]["name"], content["other"]["weights"]) == (f"{module}:other", "")
    assert (content["summary"]["images"], content["summary"]["only_b"] > 0) == (6, True)


def test_the_demos_other_checkpoint_has_the_fault_that_is_said():
    a, b = load_model().block2.conv1.weight, damaged_model().block2.conv1.weight
    cosine = torch.nn.functional.cosine_similarity(a.flatten(1), b.flatten(1))
    assert "block2.conv1[3] times -4" in DAMAGED.weights
    assert cosine[3] < -0.99
    assert cosine[[place for place in range(len(a)) if place != 3]].min() > 0.98


@pytest.mark.slow
def test_demo(tmp_path, capsys):
    assert main(["compare-models", "--out", str(tmp_path)]) == 0
    assert "moved most: block2.conv1[3], " in capsys.readouterr().out
    content = json.loads((tmp_path / "models.json").read_text())
    assert (content["summary"]["images"], content["summary"]["mistakes"]) == (240, 38)
    assert content["other"]["weights"] == DAMAGED.weights


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--model", "m"], "--model and --data go together"),
        (["--data", "photos"], "--model and --data go together"),
        (["--other", "m"], "--other: needs --model and --data"),
        (["--other-weights", "w"], "--other-weights: needs --model and --data"),
        (["--model", "m", "--data", "photos"], "--other or --other-weights is needed"),
        (["--explained", "0"], "at least 1, got 0"),
        (["--steps", "0"], "at least 1, got 0"),
        (["--pictures", "-1"], "at least 0, got -1"),
    ],
)
def test_wrong_usage(capsys, argv, message):
    assert _exit_of(["compare-models", *argv]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--other-weights", "gone.pt"], "gone.pt"),
        pytest.param(["--other", "resnet18", "--other-weights", "after.pt"], "after.pt", marks=pytest.mark.slow),
        (["--labels", "gone.csv"], "gone.csv"),
        (["--device", "abacus"], "Expected a device of this machine"),
    ],
)
def test_errors_are_one_message(workplace, two, capsys, more, message):
    assert main(["compare-models", *two, *more, "--out", "out"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("captum-paramsal: ")
    assert message in error
    assert not list((workplace / "out").iterdir())


def test_an_untrained_other_is_refused(two, capsys):
    place = two.index("--other-weights")
    assert main(["compare-models", *two[:place], "--other", "resnet18", "--out", "out"]) == 2
    assert "Expected `--other-weights` for the architecture 'resnet18'" in capsys.readouterr().err


def test_folders_that_are_not_as_many_as_classes(workplace, two, capsys):
    for name in ("ant", "cat"):
        save_photo(workplace / "folders" / name / "0.png")
    model = (workplace / "model").read_text()
    options = ["--model", model, "--image-size", "16", "--other-weights", "after.pt", "--data", "folders"]
    assert main(["compare-models", *options, "--out", "out"]) == 2
    assert "a folder for each of the 3 classes of the model, got 2 folders" in capsys.readouterr().err
    assert two


def test_help(capsys):
    assert _exit_of(["compare-models", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(word in text for word in ("--data FOLDER", "--other M", "--other-weights W", "--explained N", "demo"))
