"""Commands on models by name, with what they say of photos and classes themselves, and with other outputs."""

from __future__ import annotations

import json

import pytest
import torch

from captum_paramsal.cli import main
from captum_paramsal.cli.loading import PartOfResult
from captum_paramsal.errors import ModelError

NAMES = {0: "cat", 1: "dog", 2: "eel"}

NETWORKS = """\
import torch
from torch import nn

class Net(nn.Sequential):
    pass

def carrying():
    torch.manual_seed(0)
    net = Net(nn.Conv2d(3, 12, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 3))
    net.pretrained_cfg = {"input_size": (3, 20, 20), "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.2, 0.2),
                          "crop_pct": 1.0, "interpolation": "bicubic", "label_names": ["cat", "dog", "eel"]}
    return net

class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = carrying()

    def forward(self, x):
        return {"features": x, "scores": self.net(x)}
"""


@pytest.fixture
def networks(workplace):
    name = (workplace / "model").read_text().partition(":")[0] + "_carrying"
    (workplace / f"{name}.py").write_text(NETWORKS)
    return name


def explained(workplace, model, *more):
    command = ["explain", "photos", "--model", model, "--labels", "labels.csv", "--out", "out", "--batch-size", "5"]
    assert main([*command, *more]) == 0
    return json.loads((workplace / "out" / "explanation.json").read_text())


@pytest.mark.usefixtures("undrawn")
def test_a_model_that_says_how_photos_are_prepared(workplace, networks):
    content = explained(workplace, f"{networks}:carrying", "--no-traces", "--no-pixels")
    assert content["images"]["preprocessing"] == (
        "shorter side to 20 px, centre 20 x 20 px (bicubic), RGB, mean 0.4, 0.5, 0.6, std 0.2, 0.2, 0.2; from the "
        "model's pretrained_cfg"
    )


# All doors take an `output`, as the contract tests show; the other commands hand it on like these.
@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    "command",
    ["explain", "reference", *(pytest.param(one, marks=pytest.mark.slow) for one in ("doctor", "compare", "triage"))],
)
def test_the_part_of_a_result_that_holds_the_scores(networks, command, capsys):
    more = {
        "explain": ["--no-traces", "--cards", "1"],
        "doctor": ["--confidence", "0.1", "--layer", "net.0", "--cards", "1"],
        "compare": ["--methods", "saliency", "--metrics", "sparsity"], "reference": ["--out", "made.safetensors"],
    }.get(command, [])  # fmt: skip
    arguments = [command, "--model", f"{networks}:Pair", "--labels", "labels.csv", *more, "photos"]
    assert main([*arguments, "--output", "scores"]) == 0, capsys.readouterr().err
    capsys.readouterr()
    assert main(arguments) == 2
    assert "got dict. Give `output=` (`--output` on the command line)" in capsys.readouterr().err


def test_a_part_that_is_not_there(networks, capsys):
    assert (
        main(["explain", "--model", f"{networks}:Pair", "--output", "logit", "--labels", "labels.csv", "photos"]) == 2
    )
    assert "`--output` to name a part of what the model returns, got 'logit' and a dict with features, scores" in (
        capsys.readouterr().err
    )


def test_parts_of_results():
    scores = torch.rand(2, 3)
    assert PartOfResult("1")((None, scores)) is scores
    assert PartOfResult("T")(scores).shape == (3, 2)
    for name, result in (("2", (None, scores)), ("real_scores", scores), ("0", scores)):
        with pytest.raises(ModelError, match="`--output` to name a part"):
            PartOfResult(name)(result)


@pytest.mark.usefixtures("undrawn")
def test_a_folder_of_transformers(workplace):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", id2label=NAMES,
        label2id={name: number for number, name in NAMES.items()},
    )  # fmt: skip
    transformers.ResNetForImageClassification(config).save_pretrained(workplace / "resnet")
    transformers.ConvNextImageProcessor(size={"shortest_edge": 24}).save_pretrained(workplace / "resnet")
    content = explained(workplace, "hf:resnet", "--no-traces", "--no-pixels")
    assert content["images"]["preprocessing"].startswith("shorter side to 27 px, centre 24 x 24 px (bicubic)")
    assert content["images"]["preprocessing"].endswith("from its ConvNextImageProcessor")
    assert {mistake["label_name"] for mistake in content["mistakes"]} <= {"cat", "dog", "eel"}


@pytest.mark.usefixtures("undrawn")
def test_a_folder_of_transformers_without_a_processor(workplace, capsys):
    transformers = pytest.importorskip("transformers")
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic", num_labels=3)
    transformers.ResNetForImageClassification(config).save_pretrained(workplace / "resnet")
    assert main(["explain", "--model", "hf:resnet", "--labels", "labels.csv", "photos"]) == 2
    assert "Save the processor in the folder too. Give --image-size" in capsys.readouterr().err
    given = ["--image-size", "24", "--resize", "squash", "--mean", "0.5", "--std", "0.5"]
    colours = [*given[:4], "--mean", "0.5", "0.5", "0.5", "--std", "0.5", "0.5", "0.5"]
    content = explained(workplace, "hf:resnet", "--no-traces", "--no-pixels", *colours)
    assert content["images"]["preprocessing"].startswith("squashed to 24 x 24 px")


def test_a_name_of_timm_needs_weights(capsys):
    timm = pytest.importorskip("timm")
    assert main(["explain", "--model", "timm:resnet18", "photos"]) == 2
    assert "Expected `--weights` for the architecture 'timm:resnet18'" in capsys.readouterr().err
    assert timm.is_model("resnet18")


@pytest.mark.usefixtures("undrawn")
def test_a_folder_of_timm(workplace):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    data = {"input_size": (3, 32, 32), "mean": (0.1, 0.2, 0.3), "crop_pct": 1.0}
    model = timm.create_model("resnet10t", num_classes=3, pretrained_cfg_overlay=data)
    timm.models.save_for_hf(model, workplace / "net", model_config={"label_names": list(NAMES.values())})
    content = explained(workplace, "timm:net", "--no-traces", "--no-pixels")
    assert "centre 32 x 32 px" in content["images"]["preprocessing"]
    assert {mistake["label_name"] for mistake in content["mistakes"]} <= {"cat", "dog", "eel"}
