import csv
import json

import pytest
import torch
from PIL import Image

from captum_paramsal import demo
from captum_paramsal.cli import main
from captum_paramsal.repair import Patch

NETWORK = """\
import torch
from torch import nn

def build():
    model = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                          nn.Linear(3, 3, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(3)[:, :, None, None])
        model[0].weight[2] *= -1
        model[3].weight.copy_(4 * torch.eye(3))
    return model
"""
COUNT = 90


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """Photos in one of three colours, and a network of the user's own that gets one of them wrong."""
    name = f"network_{abs(hash(tmp_path)) % 10**9}"
    (tmp_path / f"{name}.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    generator = torch.Generator().manual_seed(0)
    for number in range(COUNT):
        pixels = (60 * torch.rand(4, 4, 3, generator=generator)).byte()
        pixels[..., number % 3] += 150
        Image.fromarray(pixels.numpy()).save(tmp_path / "photos" / f"{number}.png")
    lines = "".join(f"{number}.png,{number % 3},{['red', 'green', 'blue'][number % 3]}\n" for number in range(COUNT))
    (tmp_path / "labels.csv").write_text(f"file,label,name\n{lines}")
    scope = {}
    exec(NETWORK, scope)  # noqa: S102
    torch.save(scope["build"]().state_dict(), tmp_path / "weights.pt")
    return tmp_path


@pytest.fixture
def model(workplace):
    (file,) = workplace.glob("network_*.py")
    return ["--model", f"{file.stem}:build", "--weights", "weights.pt"]


@pytest.fixture
def photos(model):
    preparation = ["--image-size", "4", "--resize", "squash", "--mean", "0", "0", "0", "--std", "1", "1", "1"]
    return [*model, "photos", "--labels", "labels.csv", *preparation]


CURE = ["--count", "1", "--steps", "20", "--learning-rate", "0.2", "--no-alternatives"]


def _exit_of(argv):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    return caught.value.code


def test_a_cure_is_put_on_and_taken_back(workplace, model, photos, capsys):
    command = ["cure", *photos, *CURE, "--out", "out", "--save-weights", "cured.safetensors"]
    assert main(command) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0] == "90 images, 30 mistakes (accuracy 66.7%)"
    assert lines[1] == "to cure: all mistakes, 30 images; must stay right: 60 images"
    assert lines[2].startswith("Kept: it cured 9 of 9 mistakes and broke 0 of 18 right images")
    assert lines[-1] == str(workplace / "out" / "report.html")
    assert captured.err == ""
    content = json.loads((workplace / "out" / "cure.json").read_text())
    assert (content["summary"]["status"], content["parameters"]["count"]) == ("kept", 1)
    assert [one[:2] for one in content["cure"]["filters"]] == [["0", 2]]
    rows = list(csv.DictReader((workplace / "out" / "cure.csv").read_text().splitlines()))
    assert {row["outcome"] for row in rows} == {"cured", "still right"}

    patch = "out/cured.patch.safetensors"
    assert main(["patch", patch, *model, "--out", "again.safetensors"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("put on: ")
    assert lines[1].startswith("made by: cure, on the model with fingerprint ")
    assert lines[2:4] == ["filters: 0[2]", f"when made: {content['summary']['reason']}"]
    assert (workplace / "again.safetensors").read_bytes() == (workplace / "cured.safetensors").read_bytes()
    cured = [model[0], model[1], "--weights", "again.safetensors"]
    assert main(["patch", patch, *cured, "--take-back", "--out", "before.safetensors"]) == 0
    assert capsys.readouterr().out.startswith("taken off: ")
    before = [model[0], model[1], "--weights", "before.safetensors"]
    assert main(["patch", patch, *before, "--out", "again.safetensors"]) == 0


def test_a_patch_refuses_other_weights(workplace, model, capsys):
    scope = {}
    exec(NETWORK, scope)  # noqa: S102
    other, more = scope["build"](), scope["build"]()
    with torch.no_grad():
        other[0].weight += 1
        more[0].weight -= 1
    Patch.between(other, more).save(workplace / "other.patch.safetensors")
    assert main(["patch", "other.patch.safetensors", *model, "--out", "cured.safetensors"]) == 2
    assert "Expected the weights that the patch was made for" in capsys.readouterr().err
    assert not (workplace / "cured.safetensors").exists()
    assert main(["patch", "gone.safetensors", *model, "--out", "cured.safetensors"]) == 2
    assert "gone.safetensors" in capsys.readouterr().err
    assert _exit_of(["patch", "other.patch.safetensors", *model, "--out", "cured.pt"]) == 2
    assert "a name that ends in .safetensors" in capsys.readouterr().err


def test_no_file_is_written_over_one_that_is_read(workplace, model, photos, capsys):
    assert main(["cure", *photos, *CURE, "--out", "out", "--save-weights", "cured.safetensors"]) == 0
    patch = "out/cured.patch.safetensors"
    before = (workplace / patch).read_bytes()
    assert _exit_of(["patch", patch, *model, "--out", f"out/../{patch}"]) == 2
    assert f"--out: 'out/../{patch}' is PATCH; name another file" in capsys.readouterr().err
    assert (workplace / patch).read_bytes() == before
    cured = ["--model", model[1], "--weights", "cured.safetensors"]
    assert _exit_of(["patch", patch, *cured, "--take-back", "--out", "cured.safetensors"]) == 2
    assert "--out: 'cured.safetensors' is --weights" in capsys.readouterr().err
    where = ["--out", "x.ref", "--checkpoint", "./x.ref"]
    assert _exit_of(["reference", *photos, *where]) == 2
    assert "--checkpoint: 'x.ref' is --out" in capsys.readouterr().err
    assert main(["patch", "out", *model, "--out", "again.safetensors"]) == 2
    assert "there is a folder" in capsys.readouterr().err


def test_what_was_tried_instead_is_said_with_why(photos, capsys):
    assert main(["cure", *photos, *CURE[:-1], "--out", "out"]) == 0
    lines = capsys.readouterr().out.splitlines()
    changed = next(line for line in lines if line.startswith("changed: "))
    others = {line.split(" instead: ")[0]: line for line in lines if " instead: " in line}
    assert changed.endswith(" numbers")
    assert changed.split(",")[0].removeprefix("changed: ") not in others
    assert "The model has no norms to change." in others["norms"] or "has no norms" in others["norms"]
    assert all(": Kept: " in line or ": Refused: " in line for line in others.values())


def test_labels_that_are_no_classes_are_refused_before_the_pass(workplace, photos, capsys):
    table = workplace / "labels.csv"
    table.write_text(table.read_text().replace("89.png,2,blue", "89.png,7,blue"))
    commands = (["cure", *photos, *CURE], ["triage", *photos], ["reference", *photos, "--out", "r.safetensors"])
    for command in commands:
        assert main([*command, "--progress"]) == 2
        said = capsys.readouterr().err
        assert "Expected labels from 0 to 2, the classes of the model, got 7 for '89.png'" in said
        # No bar was drawn, so no pass was begun.
        assert "%|" not in said


def test_a_refused_cure_has_no_weights_to_save(workplace, photos, capsys):
    command = ["cure", *photos, *CURE, "--level", "0.0001", "--out", "out", "--save-weights", "cured.safetensors"]
    assert main(command) == 1
    captured = capsys.readouterr()
    assert "Refused: it cured 9 of 9" in captured.out
    assert captured.out.splitlines()[-1] == str(workplace / "out" / "report.html")
    assert captured.err.startswith(
        "captum-paramsal: no weights were written to 'cured.safetensors', since the cure is "
    )
    assert (workplace / "out" / "report.html").exists()
    assert not (workplace / "cured.safetensors").exists()


@pytest.mark.usefixtures("workplace")
def test_something_else_than_filters_can_be_changed(model, photos, capsys):
    whole = ["--change", "whole-network", "--learning-rate", "2.0"]
    assert main(["cure", *photos, *CURE, *whole, "--out", "out"]) == 0
    assert "Kept: it cured 9 of 9" in capsys.readouterr().out
    assert main(["patch", "out/cured.patch.safetensors", *model, "--out", "cured.safetensors"]) == 0
    assert "changed: whole network" in capsys.readouterr().out


def test_a_pair_by_name(photos, capsys):
    assert main(["cure", *photos, *CURE, "--pair", "blue", "0", "--out", "out"]) == 0
    assert "to cure: blue taken for red, " in capsys.readouterr().out
    assert main(["cure", *photos, *CURE, "--pair", "purple", "0", "--out", "out"]) == 2
    assert "'purple'" in capsys.readouterr().err
    assert main(["cure", *photos, *CURE, "--pair", "red", "blue", "--out", "out"]) == 2
    assert "Expected mistakes of class 0 taken for class 2 to cure" in capsys.readouterr().err


@pytest.mark.usefixtures("undrawn")
def test_a_group_of_a_triage(workplace, photos, capsys):
    assert main(["triage", *photos, "--smallest", "2", "--out", "sorted"]) == 0
    groups = json.loads((workplace / "sorted" / "triage.json").read_text())["groups"]
    capsys.readouterr()
    assert main(["cure", *photos, *CURE, "--triage", "sorted", "--group", "0", "--out", "out"]) == 0
    size = groups[0]["mistakes"]
    assert f"to cure: group 0 of the triage, {size} images" in capsys.readouterr().out
    assert main(["cure", *photos, *CURE, "--triage", "sorted", "--group", "99", "--out", "out"]) == 2
    assert f"Expected a group from 0 to {len(groups) - 1}, got 99" in capsys.readouterr().err
    table = (workplace / "labels.csv").read_text()
    (workplace / "labels.csv").write_text(table.replace(f"{groups[0]['files'][0]},2,blue\n", ""))
    assert main(["cure", *photos, *CURE, "--triage", "sorted", "--group", "0", "--out", "out"]) == 2
    assert "Expected a triage of these images" in capsys.readouterr().err
    weights = torch.load(workplace / "weights.pt", weights_only=True)
    torch.save({name: 2 * value for name, value in weights.items()}, workplace / "weights.pt")
    assert main(["cure", *photos, *CURE, "--triage", "sorted", "--group", "0", "--out", "out"]) == 2
    assert "Expected a triage of this model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--model", "m"], "--model and IMAGES_DIR go together"),
        (["--keep-labels", "l"], "--keep-labels: needs --model and IMAGES_DIR"),
        (["--triage", "t"], "--triage and --group go together"),
        (["--group", "0", "--triage", "t", "--pair", "0", "1"], "--pair and --group exclude each other"),
        (["--keep-images", "i", "--model", "m", "photos"], "--keep-images: needs --keep-labels"),
        (["--most-broken", "2"], "expected a number from 0 to 1, got 2"),
        (["--count", "0"], "at least 1, got 0"),
        (["--steps", "1e9"], "expected a whole number, got '1e9'"),
        (["--keep", "abc"], "expected a number, got 'abc'"),
        (["--learning-rate", "0"], "expected a number above 0, got 0"),
        (["--save-weights", "cured.pt"], "expected a name that ends in .safetensors, got 'cured.pt'"),
        (["--out", "here", "--save-weights", "here/cured.patch.safetensors"], "is a file of the report"),
    ],
)
def test_wrong_usage(capsys, argv, message):
    assert _exit_of(["cure", *argv]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_group_of_the_demo_s_triage_with_cures_and_without(tmp_path, capsys):
    quick = ["--steps", "2", "--count", "1", "--no-alternatives", "--change", "filters"]
    for cures, images in (["--cure"], 700), ([], len(demo.load_scenes("test"))):
        sorted_out, out = str(tmp_path / f"triage{images}"), str(tmp_path / f"cure{images}")
        assert main(["triage", *cures, "--no-doubts", "--out", sorted_out]) == 0
        capsys.readouterr()
        assert main(["cure", *quick, "--triage", sorted_out, "--group", "0", "--out", out]) == 0
        assert capsys.readouterr().out.startswith(f"{images} images, ")


@pytest.mark.slow
def test_demo(tmp_path, capsys):
    command = ["cure", "--limit", "120", "--steps", "2", "--count", "3", "--no-alternatives", "--out", str(tmp_path)]
    assert main(command) == 0
    assert capsys.readouterr().out.startswith("120 images, ")
    content = json.loads((tmp_path / "cure.json").read_text())
    assert content["summary"]["candidates"] == 700
