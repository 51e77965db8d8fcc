import csv
import json
import re

import pytest

from captum_paramsal.cli import main
from captum_paramsal.comparison import PRESETS
from captum_paramsal.metrics import METRICS as KNOWN_METRICS, Sparsity

METHODS = ["--methods", "saliency,grad_cam,random"]
METRICS = ["--metrics", "deletion,sparsity"]


def _exit_of(argv):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    return caught.value.code


def test_photos(workplace, arguments, capsys):
    assert main(["compare", *arguments, *METHODS, *METRICS, "--out", "out", "--pictures", "2"]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0].startswith("3 methods on 12 images, ")
    assert lines[0].endswith("2 files skipped")
    assert lines[-1] == str(workplace / "out" / "report.html")
    assert captured.err == ""
    content = json.loads((workplace / "out" / "comparison.json").read_text())
    assert content["methods"][:3] == ["saliency", "grad_cam", "random"]
    assert {skip["file"] for skip in content["skipped"]} == {"broken.jpg", "gone.png"}
    assert not list((workplace / "out").glob("*checkpoint*"))


@pytest.mark.slow
def test_interrupted_it_goes_on(workplace, arguments, capsys, monkeypatch):
    options = [*METHODS, "--metrics", "sparsity", "--pictures", "0"]
    command = ["compare", *arguments, *options, "--out", "out"]
    original, calls = Sparsity.score, []

    def stops(self, case):
        calls.append(len(case))
        if len(calls) == 5:
            raise KeyboardInterrupt
        return original(self, case)

    monkeypatch.setattr(Sparsity, "score", stops)
    assert main(command) == 130
    assert "the same command resumes" in capsys.readouterr().err
    assert [file.name for file in (workplace / "out").iterdir()] == ["comparison.checkpoint"]
    calls.clear()
    calls.extend([0] * 5)
    assert main(command) == 0
    assert len(calls) == 5 + 3 * 2
    assert main([*command[:-1], "whole"]) == 0
    own = [
        [
            {key: value for key, value in row.items() if key not in ("seconds", "peak memory")}
            for row in csv.DictReader(lines)
        ]
        for lines in ((workplace / name / "comparison.csv").read_text().splitlines() for name in ("out", "whole"))
    ]
    assert own[0] == own[1]


def test_another_comparison_does_not_go_on_from_a_checkpoint(workplace, arguments, capsys):
    command = ["compare", *arguments, *METHODS, "--out", "out"]
    (workplace / "out").mkdir()
    (workplace / "out" / "comparison.checkpoint").write_text("something else")
    assert main([*command, *METRICS]) == 2
    assert "Delete it" in capsys.readouterr().err


@pytest.mark.slow
def test_demo(tmp_path, capsys):
    command = ["compare", "--limit", "2", "--methods", "grad_cam,input_space_saliency", "--metrics", "pointing_game"]
    assert main([*command, "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("2 methods on 2 images, 1 of them mistakes\n")
    content = json.loads((tmp_path / "comparison.json").read_text())
    assert content["reference"]["images"] == 480
    assert "centre pixel" in content["methods"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--model", "m"], "--model and IMAGES_DIR go together"),
        (["--labels", "l"], "--labels: needs --model and IMAGES_DIR"),
        (["--reference", "r"], "--reference: needs --model and IMAGES_DIR"),
        (["--model", "m", "photos", "--boxes", "b"], "--boxes: needs --labels"),
        (["--methods", ","], "expected names separated by commas"),
        (["--metrics", "iou,iou"], "each once"),
        (["--limit", "0"], "at least 1, got 0"),
        (["--explain", "guess"], "invalid choice: 'guess'"),
        (["--scale", "image"], "invalid choice: 'image'"),
    ],
)
def test_wrong_usage(capsys, argv, message):
    assert _exit_of(["compare", *argv]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--methods", "grad_kam"], "nearest: grad_cam"),
        (["--metrics", "pointing_game"], "Expected `boxes` for pointing_game"),
        (["--methods", "input_space_pot"], "Expected a `reference` for 'input_space_pot'"),
        (["--reference", "gone.safetensors"], "gone.safetensors"),
    ],
)
def test_errors_are_one_message(workplace, arguments, capsys, more, message):
    assert main(["compare", *arguments, "--metrics", "sparsity", *more, "--out", "out"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("captum-paramsal: ")
    assert message in error
    assert not list((workplace / "out").iterdir())


def test_help(capsys):
    assert _exit_of(["compare", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(
        word in text for word in ("IMAGES_DIR", "--methods A,B,C", "--metrics A,B,C", "--reference FILE", "demo")
    )
    assert {*PRESETS, *KNOWN_METRICS} <= {*re.findall(r"\w+", text)}
    assert all(words in text for words in ("the class that the model predicts", "--explain label", "baselines"))
