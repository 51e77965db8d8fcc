import csv
import json

import pytest

from captum_paramsal import Reference
from captum_paramsal.cli import main
from captum_paramsal.triage import Triage


def _exit_of(argv):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    return caught.value.code


def test_photos(workplace, arguments, capsys):
    command = ["triage", *arguments, "--smallest", "2", "--level", "0.2", "--out", "out"]
    assert main(command) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0].startswith("12 images, ")
    assert lines[0].endswith("2 files skipped")
    assert lines[-1] == str(workplace / "out" / "report.html")
    assert any(line.startswith("note: What filters usually do was taken from these images") for line in lines)
    assert captured.err == ""
    content = json.loads((workplace / "out" / "triage.json").read_text())
    assert {skip["file"] for skip in content["skipped"]} == {"broken.jpg", "gone.png"}
    assert (content["parameters"]["level"], content["parameters"]["smallest"]) == (0.2, 2)
    names = {"0": "cat", "1": "dog", "2": "eel"}
    assert content["classes"].items() <= names.items()
    rows = list(csv.DictReader((workplace / "out" / "mistakes.csv").read_text().splitlines()))
    assert len(rows) == content["summary"]["mistakes"]
    assert all(int(row["label"]) == int(row["file"].removesuffix(".png")) % 3 != int(row["predicted"]) for row in rows)


@pytest.mark.usefixtures("undrawn")
def test_a_reference_from_a_file(workplace, arguments, capsys):
    assert main(["reference", *arguments, "--out", "usual.safetensors"]) == 0
    reference = Reference.load(workplace / "usual.safetensors")
    assert main(["triage", *arguments, "--reference", "usual.safetensors", "--out", "out"]) == 0
    assert "taken from these images" not in capsys.readouterr().out
    content = json.loads((workplace / "out" / "triage.json").read_text())
    assert content["reference"]["fingerprint"] == reference.fingerprint.short == content["model"]["fingerprint"]
    assert content["reference"]["origin"] == "usual.safetensors"


@pytest.mark.slow
def test_demo(tmp_path, capsys):
    assert main(["triage", "--limit", "40", "--layers", "block2.*", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("40 images, ")
    content = json.loads((tmp_path / "triage.json").read_text())
    assert content["reference"]["images"] == 480
    assert all(layer.startswith("block2.") for layer in content["parameters"]["layers"])
    assert (content["parameters"]["limit"], content["summary"]["candidates"]) == (40, 240)
    assert len(Triage.load(tmp_path / "triage.safetensors")) == content["summary"]["mistakes"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--model", "m"], "--model and IMAGES_DIR go together"),
        (["--labels", "l"], "--labels: needs --model and IMAGES_DIR"),
        (["--reference", "r"], "--reference: needs --model and IMAGES_DIR"),
        (["--level", "1"], "expected a number between 0 and 1, got 1"),
        (["--level", "nan"], "expected a number between 0 and 1, got nan"),
        (["--smallest", "1"], "expected a whole number of at least 2, got 1"),
        (["--limit", "0"], "at least 1, got 0"),
    ],
)
def test_wrong_usage(capsys, argv, message):
    assert _exit_of(["triage", *argv]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--layers", "nowhere"], "nowhere"),
        (["--reference", "gone.safetensors"], "gone.safetensors"),
        (["--labels", "gone.csv"], "gone.csv"),
        (["--device", "abacus"], "Expected a device of this machine"),
    ],
)
def test_errors_are_one_message(workplace, arguments, capsys, more, message):
    assert main(["triage", *arguments, *more, "--out", "out"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("captum-paramsal: ")
    assert message in error
    assert not list((workplace / "out").iterdir())


def test_a_label_that_the_model_does_not_have(workplace, arguments, capsys):
    table = workplace / "labels.csv"
    table.write_text(table.read_text().replace("3.png,0", "3.png,7"))
    assert main(["triage", *arguments, "--out", "out"]) == 2
    assert "got 7 for '3.png'" in capsys.readouterr().err


def test_help(capsys):
    assert _exit_of(["triage", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(word in text for word in ("IMAGES_DIR", "--reference FILE", "--level Q", "--smallest N", "demo"))
