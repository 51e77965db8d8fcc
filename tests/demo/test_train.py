"""The training script runs, learns, writes what the demo loads, and refuses what it cannot do."""

import pytest
import torch
from safetensors.torch import load_file

from captum_paramsal.demo import DemoNet, make_scenes
from captum_paramsal.demo.train import run_training, train
from captum_paramsal.errors import ParamsalError, SourceError


@pytest.fixture
def few_splits(monkeypatch):
    recipe = {"n": 16, "seed": 1, "cue_agreement": 0.9, "cue_presence": 1.0}
    splits = dict.fromkeys(("train", "validation", "test"), recipe)
    monkeypatch.setattr("captum_paramsal.demo.train.SPLITS", splits)


@pytest.mark.usefixtures("few_splits")
def test_command_writes_weights_that_load(tmp_path, capsys):
    path = tmp_path / "tiny.safetensors"
    run_training(["--out", str(path), "--scenes", "128", "--epochs", "1"])
    DemoNet().load_state_dict(load_file(path))
    printed = capsys.readouterr().out
    assert "train: " in printed
    assert "test: " in printed
    assert "128 right" in printed
    assert str(path) in printed


@pytest.mark.usefixtures("few_splits")
def test_command_says_where_it_cannot_write(tmp_path):
    path = tmp_path / "nowhere" / "tiny.safetensors"
    with pytest.raises(SourceError, match=r"Expected `--out` to name a file .*, got .*nowhere"):
        run_training(["--out", str(path), "--scenes", "64", "--epochs", "1"])


def test_training_is_seeded_and_leaves_the_random_state_alone():
    scenes = make_scenes(64, seed=0)
    torch.manual_seed(9)
    before = torch.get_rng_state()
    one, same, other = (train(scenes, epochs=1, seed=seed, show_progress=False) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert not one.training
    assert torch.equal(one.classifier.weight, same.classifier.weight)
    assert not torch.equal(one.classifier.weight, other.classifier.weight)


@pytest.mark.slow
def test_training_learns_a_batch_by_heart():
    scenes = make_scenes(64, seed=0)
    model = train(scenes, epochs=24, seed=0, show_progress=False).train()
    with torch.no_grad():
        predictions = model((scenes.images - 0.5) / 0.25).argmax(1)
    assert (predictions == scenes.labels).float().mean() > 0.9


@pytest.mark.parametrize(("n", "epochs"), [(63, 1), (64, 0)])
def test_training_refuses_less_than_one_batch_or_epoch(n, epochs):
    with pytest.raises(ParamsalError, match=f"Expected at least 64 scenes and 1 epoch, got {n} and {epochs}"):
        train(make_scenes(n, seed=0), epochs=epochs, seed=0, show_progress=False)
