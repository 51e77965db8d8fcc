import csv
import json

import pytest

from captum_paramsal import reproduce as reproduce_room
from captum_paramsal.cli import main
from captum_paramsal.reproduce import FIGURES


def test_the_list(capsys):
    assert main(["reproduce", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(FIGURES)
    assert all("arXiv" in line for line in lines)


def test_an_unknown_figure(capsys):
    assert main(["reproduce", "nonsense"]) == 2
    assert "knock-out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "a FIGURE is needed, or all"),
        (["profiles", "--model", "resnet18"], "--model and --data go together"),
        (["profiles", "--labels", "x.csv"], "--labels: needs --model and --data"),
    ],
)
def test_what_is_missing(argv, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["reproduce", *argv])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.usefixtures("undrawn")
def test_photos(workplace, arguments, capsys):
    *options, folder = arguments
    command = ["reproduce", "profiles", *options, "--data", folder, "--out", "out"]
    assert main(command) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("profiles: ")
    assert "skipped broken.jpg" in "".join(printed)
    content = json.loads((workplace / "out" / "profiles.json").read_text())
    assert content["images"]["origin"] == "photos"
    assert content["model"]["weights"] == "weights.pt"
    assert list(csv.DictReader((workplace / "out" / "profiles.csv").read_text().splitlines()))


def test_ctrl_c_says_where_the_work_is(tmp_path, monkeypatch, capsys):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(reproduce_room, "reproduce", stopped)
    assert main(["reproduce", "profiles", "--out", str(tmp_path)]) == 130
    assert f"interrupted; what was finished is kept in '{tmp_path / 'pieces'}'" in capsys.readouterr().err


@pytest.mark.slow
def test_demo(tmp_path):
    assert main(["reproduce", "all", "--mistakes", "4", "--out", str(tmp_path)]) == 0
    assert {file.stem for file in tmp_path.glob("*.json")} == {*FIGURES}
