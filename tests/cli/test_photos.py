import json
import shutil

import pytest
import torch
from sources.photo_files import save_photo

from captum_paramsal.cli import loading, main
from captum_paramsal.reference import Reference
from captum_paramsal.report import Explanation
from captum_paramsal.sources import LabelledPhotos


@pytest.mark.usefixtures("undrawn")
def test_reference_then_explain(workplace, arguments, capsys):
    assert main(["reference", *arguments, "--out", "made/here.safetensors"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[1] == "12 images, 14 filters in 2 layers"
    assert printed[-1] == str(workplace / "made" / "here.safetensors")
    assert any(line.startswith("skipped broken.jpg: image file is truncated") for line in printed)
    assert Reference.load("made/here.safetensors").count == 12

    command = [
        "explain",
        *arguments,
        "--reference",
        "made/here.safetensors",
        "--out",
        "out",
        "--top-k",
        "3",
        "--no-traces",
    ]
    assert main(command) == 0
    content = json.loads((workplace / "out" / "explanation.json").read_text())
    assert content["reference"]["origin"] == "made/here.safetensors"
    assert content["images"]["preprocessing"].startswith("shorter side to 18 px, centre 16 x 16 px")
    assert {skip["file"] for skip in content["skipped"]} == {"broken.jpg", "gone.png"}
    assert all(len(mistake["filters"]) == 3 for mistake in content["mistakes"])
    assert all(mistake["label_name"] in ("cat", "dog", "eel") for mistake in content["mistakes"])


def test_exemplars_have_the_numbers_and_names_of_their_files(workplace, arguments, capsys):
    # A file that cannot be read has a number all the same.
    table = (workplace / "labels.csv").read_text().splitlines()
    (workplace / "labels.csv").write_text("\n".join([table[0], table[-2], *table[1:-2]]))
    assert main(["reference", *arguments, "--out", "r", "--tail", "0", "--exemplars", "3"]) == 0
    assert "exemplars: 3 images of each filter" in capsys.readouterr().out.splitlines()
    reference = Reference.load("r")
    for item in reference.filters:
        got = reference.exemplars(item)
        assert got.names == tuple(f"{number - 1}.png" for number in got.images)
        assert got.labels == tuple((number - 1) % 3 for number in got.images)


def test_explain_says_where_and_what(workplace, arguments, capsys):
    assert main(["explain", *arguments, "--out", "out"]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert len(lines) == 5
    assert lines[0].startswith("12 images, ")
    assert lines[0].endswith("2 files skipped")
    assert lines[1] == "14 filters in 2 layers scored"
    assert lines[2].startswith("most often guilty: ")
    assert lines[3].startswith("note: Accuracy 33.3 % is no better than chance (33.3 %): check labels and classes")
    assert lines[4] == str(workplace / "out" / "report.html")
    assert captured.err == ""
    content = json.loads((workplace / "out" / "explanation.json").read_text())
    assert content["reference"]["fitted_on_these_images"]
    assert "on these same 12 images" in (workplace / "out" / "report.html").read_text()


@pytest.mark.usefixtures("undrawn")
def test_pixels_can_be_saved_or_left_out(workplace, arguments):
    assert main(["explain", *arguments, "--out", "out", "--save-pixels", "--no-traces"]) == 0
    found = Explanation.load(workplace / "out")
    assert [tensor.shape for tensor in found.pixel_gradients.values()] == [(3, 16, 16)] * len(found.mistakes)
    assert "A pixel map" in (workplace / "out" / "report.html").read_text()

    assert main(["explain", *arguments, "--out", "without", "--no-pixels", "--no-traces"]) == 0
    assert "pixel map" not in (workplace / "without" / "report.html").read_text()
    assert not (workplace / "without" / "pixels.safetensors").exists()


@pytest.mark.usefixtures("undrawn")
def test_traces_can_be_left_out(workplace, arguments):
    assert main(["explain", *arguments, "--out", "out"]) == 0
    content = json.loads((workplace / "out" / "explanation.json").read_text())
    assert content["traces"] == {"method": "DiscernibleNeurons", "size": [16, 16], "refused": ""}
    assert all(mistake["traces"]["label"]["box"] is not None for mistake in content["mistakes"])
    assert "A trace" in (workplace / "out" / "report.html").read_text()

    assert main(["explain", *arguments, "--out", "without", "--no-traces", "--no-pixels"]) == 0
    content = json.loads((workplace / "without" / "explanation.json").read_text())
    assert content["traces"] is None
    assert {mistake["traces"] for mistake in content["mistakes"]} == {None}
    assert "trace of" not in (workplace / "without" / "report.html").read_text()


@pytest.mark.usefixtures("undrawn")
def test_progress_bars_when_asked_for(arguments, capsys):
    assert main(["explain", *arguments, "--out", "out", "--progress"]) == 0
    drawn = capsys.readouterr().err
    assert "predictions" in drawn
    assert "reference" in drawn
    assert "mistakes" in drawn
    assert "pixels" in drawn
    assert "traces" in drawn


@pytest.mark.usefixtures("undrawn")
def test_folder_per_class_and_class_names(workplace, capsys):
    for i in range(12):
        target = workplace / "sorted" / ["cat", "dog", "eel"][i % 3] / f"{i}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(workplace / "photos" / f"{i}.png", target)
    (workplace / "classes.json").write_text('["eel", "dog", "cat"]')
    model = (workplace / "model").read_text()
    command = ["explain", "--model", model, "--classes", "classes.json", "--out", "out", "--no-traces", "sorted"]
    assert main([*command, "--image-size", "16", "--resize", "squash", "--mean", "0.5", "0.5", "0.5",
                 "--std", "0.2", "0.2", "0.2"]) == 0  # fmt: skip
    content = json.loads((workplace / "out" / "explanation.json").read_text())
    assert (
        content["images"]["preprocessing"]
        == "squashed to 16 x 16 px (bilinear), RGB, mean 0.5, 0.5, 0.5, std 0.2, 0.2, 0.2"
    )
    labels = {mistake["file"].split("/")[0]: mistake["label"] for mistake in content["mistakes"]}
    assert all({"eel": 0, "dog": 1, "cat": 2}[name] == label for name, label in labels.items())
    capsys.readouterr()


def _replaced(arguments, **changes):
    changed = list(arguments)
    for name, value in changes.items():
        changed[changed.index(f"--{name}") + 1] = value
    return changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "resnet5O"}, "got 'resnet5O'. Nearest: resnet50"),
        ({"weights": "gone.pt"}, r"Expected a weights file at 'gone.pt', got nothing"),
        ({"labels": "gone.csv"}, "Expected a label file at 'gone.csv', got FileNotFoundError"),
        ({"labels": "outside.csv"}, "from 0 to 2, the classes of the model, got 3 for '0.png'"),
        ({"labels": "columns.csv"}, "columns 'file' and 'label' in 'columns.csv', got 'picture', 'kind'"),
    ],
)
def test_errors_are_one_message(workplace, arguments, capsys, change, message):
    (workplace / "outside.csv").write_text("file,label\n0.png,3\n1.png,0\n")
    (workplace / "columns.csv").write_text("picture,kind\n0.png,3\n")
    assert main(["explain", *_replaced(arguments, **change), "--out", "out"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("captum-paramsal: Expected")
    assert message in error
    assert "Traceback" not in error
    assert list((workplace / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--device", "abacus"], "got 'abacus'"),
        (["--layers", "nowhere"], "'nowhere'"),
        (["--method", "pot"], "at least 201 images to fit the tails of the filters on, got 12"),
        (["--top-k", "15"], "at most 14, the number of filters, got 15"),
        (["--reference", "weights.pt"], "'weights.pt' cannot be read"),
        (["--mean", "0.5"], "got 1 and 3"),
        (["--classes", "labels.csv"], "class names at 'labels.csv', got JSONDecodeError"),
    ],
)
def test_options_that_do_not_fit(arguments, capsys, more, message):
    assert main(["explain", *more, "--out", "out", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.usefixtures("workplace")
def test_torchvision_model_without_weights(capsys):
    assert main(["explain", "--model", "resnet18", "photos"]) == 2
    assert (
        "`--weights` for the architecture 'resnet18', which is untrained without, got none" in capsys.readouterr().err
    )


def test_reference_of_other_weights(arguments, capsys):
    assert main(["reference", *arguments, "--out", "r.safetensors"]) == 0
    state = torch.load("weights.pt", weights_only=True)
    torch.save({name: value + 1 for name, value in state.items()}, "other.pt")
    command = ["explain", *_replaced(arguments, weights="other.pt"), "--reference", "r.safetensors", "--out", "out"]
    assert main(command) == 2
    assert "6 of 6 tensors differ" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["explain", "--out", "labels.csv/out"], ["reference", "--out", "labels.csv/r"]])
def test_output_that_cannot_be_written_is_found_first(arguments, capsys, monkeypatch, command):
    monkeypatch.setattr(loading, "load_job", None)
    assert main([*command, *arguments]) == 2
    assert "written to at 'labels.csv" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["explain", "reference"])
def test_interrupted(workplace, arguments, capsys, monkeypatch, command):
    original = LabelledPhotos.batches

    def stop_at_the_second(self, *args):
        yield next(original(self, *args))
        raise KeyboardInterrupt

    monkeypatch.setattr(LabelledPhotos, "batches", stop_at_the_second)
    before = {path.name for path in workplace.iterdir()}
    assert main([command, *arguments, "--out", "out/file" if command == "reference" else "out"]) == 130
    captured = capsys.readouterr()
    assert "interrupted; no result was written" in captured.err
    assert captured.out == ""
    assert {path.name for path in workplace.iterdir()} - before == {"out"}
    assert list((workplace / "out").iterdir()) == []


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    "command",
    [
        "explain --no-pixels --no-traces",
        "reference --out r.safetensors",
        pytest.param("doctor --confidence 0", marks=pytest.mark.slow),
        pytest.param("compare --methods random --metrics sparsity", marks=pytest.mark.slow),
        "triage",
    ],
)
def test_accuracy_at_chance_is_said_by_every_command(arguments, capsys, command):
    assert main([*command.split(), *arguments]) == 0
    output = capsys.readouterr().out
    assert "note: Accuracy 33.3 % is no better than chance (33.3 %): check labels and classes" in output


@pytest.mark.parametrize(
    "command", ["explain", "reference --out r.safetensors", "doctor", "compare --methods random", "triage"]
)
def test_folders_that_are_not_as_many_as_classes_are_refused_by_every_command(workplace, capsys, command):
    for name in ("ant", "cat"):
        save_photo(workplace / "folders" / name / "0.png")
    model = (workplace / "model").read_text()
    assert main([*command.split(), "--model", model, "--image-size", "16", "folders"]) == 2
    error = capsys.readouterr().err
    assert "a folder for each of the 3 classes of the model, got 2 folders" in error
    assert "--classes FILE.json" in error
