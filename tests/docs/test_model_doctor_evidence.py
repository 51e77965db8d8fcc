"""The scripts of the page on whether Model Doctor cures, on few scenes and made-up results."""

import json

import numpy as np
import pytest
import torch
from docs.scripts import loaded
from torch import nn

from captum_paramsal.errors import TreatmentError


@pytest.fixture(scope="module")
def script():
    with loaded("cifar10", "results", "model_doctor") as found:
        yield found["model_doctor"]


@pytest.fixture(scope="module")
def tables():
    with loaded("model_doctor_tables") as found:
        yield found["model_doctor_tables"]


@pytest.fixture(scope="module")
def small_demo(script):
    """The demo with 64 scenes of every kind, two steps of 16."""
    options = script._options(["--fraction", "0.01"])
    task = script.demo(options)
    scenes = script.make_scenes(64, seed=5, cue_agreement=0.9)
    images = script.Images(script.normalize(scenes.images), scenes.labels, scenes.masks, scenes.cue_labels)
    return script.replace(task, train=images, validation=images, test=images[:20], steps=2, batch=16)


def test_what_is_known_is_not_found_again(script, tmp_path):
    calls = []
    for _ in range(2):
        results = script.Results(tmp_path / "model_doctor.json")
        assert results.once("a", lambda: calls.append(1) or {"b": 1.5}) == {"b": 1.5}
    assert calls == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["model_doctor.json"]


def test_names_of_arms(script):
    assert str(script.Arm()) == "plain"
    arm = script.Arm("gradient", "stem", channel=1, space=10, shuffled=True, annotated=64, margin=5)
    assert str(arm) == "gradient at stem, channel 1, space 10, shuffled, margin 5, 64 annotated"


def test_shuffling_stays_within_the_class_and_moves_every_image(script):
    labels = torch.tensor([0, 1, 0, 1, 1, 0, 2])
    order = script.shuffled_within(labels, torch.Generator().manual_seed(0))
    assert sorted(order.tolist()) == list(range(7))
    assert torch.equal(labels[order], labels)
    assert (order[:6] != torch.arange(6)).all()


def test_a_shuffled_class_keeps_its_number_of_channels(script, small_demo):
    arms = [script.Arm(channel=1.0, shuffled=shuffled) for shuffled in (False, True)]
    real, shuffled = (script.constraints_of(small_demo, arm, torch.Generator().manual_seed(0)).relevant for arm in arms)
    assert torch.equal(real.sum(dim=1), shuffled.sum(dim=1))
    assert not torch.equal(real, shuffled)


def test_images_without_annotation_are_all_foreground(script, small_demo):
    generator = torch.Generator().manual_seed(0)
    arm = script.Arm(space=1.0, annotated=3)
    found = script.foreground_of(small_demo.train, arm, generator)
    assert torch.equal(found[:3], small_demo.train.masks[:3].float())
    assert (found[3:] == 1).all()
    boxed = script.foreground_of(small_demo.train, script.replace(arm, boxes=True), generator)[0]
    rows, columns = (small_demo.train.masks[0].any(dim=axis) for axis in (1, 0))
    assert torch.equal(boxed, torch.outer(rows, columns).float())
    assert script.foreground_of(small_demo.train, script.Arm(channel=1.0), generator) is None


def test_arms_of_a_seed_share_their_images(script, small_demo, monkeypatch):
    seen = []
    treat = script.treat

    def watched(model, batches, *arguments, **options):
        seen.append(batches)
        return treat(model, batches, *arguments, **options)

    monkeypatch.setattr(script, "treat", watched)
    plain, spaced = script.treated(small_demo, script.Arm(), 0), script.treated(small_demo, script.Arm(space=1.0), 0)
    assert all(torch.equal(one[0], two[0]) for one, two in zip(*seen, strict=True))
    assert [len(batches[0]) for batches in seen] == [2, 3]
    assert len(plain["test"]) == len(spaced["test"]) == 20
    assert spaced["weights"]["space"] * spaced["terms"]["space"] > 0
    assert plain["loss"] != spaced["loss"]


def test_the_tuning_seed_does_not_see_the_test_images(script, small_demo):
    assert "test" not in script.treated(small_demo, script.Arm(), script.TUNING_SEED)


def test_the_best_strength_is_chosen_on_validation_images(script, monkeypatch):
    outcomes = {
        0.1: (0.4, 1.0),
        1.0: (0.5, 1.0),
        3.0: (0.7, 2.0),
        10.0: (0.7, 1.0),
        30.0: (0.6, 0.1),
        100.0: (0.0, 9.0),
    }

    def run(_, __, arm, seed):
        assert seed == script.TUNING_SEED
        return dict(zip(("validation", "loss"), outcomes[arm.space], strict=True))

    monkeypatch.setattr(script, "ran", run)
    assert script.tuned(None, None, script.Arm(), "space").space == 10.0


def test_a_treatment_that_fails_is_written_down(script, small_demo, monkeypatch):
    def fail(*_, **__):
        message = "the loss is not finite"
        raise TreatmentError(message)

    monkeypatch.setattr(script, "treat", fail)
    found = script.treated(small_demo, script.Arm(), 0)
    assert found["failed"] == "the loss is not finite"
    assert found["validation"] == 0


def test_noise_changes_the_doubtful_prediction(script):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, 0.99])[:, None, None, None])
    images = torch.ones(2, 1, 3, 3) * torch.tensor([1.0, 200.0])[:, None, None, None]
    with torch.no_grad():
        assert script.kept(model, "0", images, 0.0, 8).tolist() == [1, 1]
        sure = script.kept(model, "0", images, 1.0, 8)
        assert torch.equal(script.maps_of(model, "0", images)[1, 0], torch.full((3, 3), 200.0))
    assert 0 < sure[0] < 1
    assert sure[1] == 1


def test_adversarial_images_are_one_step_away_and_worse(script, small_demo):
    images = small_demo.test
    moved = script.adversarial(small_demo.model, images, 0.1)
    assert (moved - images.inputs).abs().max() == pytest.approx(0.1, abs=1e-5)
    losses = [nn.functional.cross_entropy(small_demo.model(inputs), images.labels) for inputs in (images.inputs, moved)]
    assert losses[1] > losses[0]


def test_difference_holds_its_mean(tables):
    gaps = np.random.default_rng(0).normal(0.1, 1.0, (3, 400))
    found = tables.difference(gaps)
    assert found["mean"] == pytest.approx(gaps.mean())
    assert found["low"] < found["mean"] < found["high"]
    # 1.96 standard errors of the images' means over seeds.
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * gaps.mean(axis=0).std() / 20, rel=0.1)
    assert found["reach"] > 0


def _made_up():
    """Two images are cured by the constraint, one of which plain fine-tuning cures too."""
    found = {"demo | untreated": {"test": "0011", "labels": "0000", "cues": [-1, -1, 1, 2]}}
    found |= {f"demo | plain | {seed}": {"test": "0001", "validation": 0.5} for seed in range(2)}
    arm = "contribution at block2, space 10"
    usual = f"{arm}, margin 9"
    found |= {f"demo | {usual} | {seed}": {"test": "0000", "validation": 0.5} for seed in (0, 1)}
    found |= {f"demo | {usual} | 100": {"validation": 0.75}}
    shuffled = f"{arm}, shuffled, margin 9"
    for one in (arm, *(f"{usual}, 4 annotated".replace("10", strength) for strength in ("5", "10")), shuffled):
        found[f"demo | {one} | 0"] = {"test": "1000", "validation": 0.5}
    found[f"demo | {shuffled} | 1"] = found["demo | untreated"]
    interval = [0.5, 0.4, 0.6]
    about = {"kept": {"normal": interval, "adversarial": interval}, "auc": [interval] * 2}
    about["cosine"] = about["kept"]
    found |= {f"noise | layer2 | of the maps | {bound}": {"bound": bound, **about} for bound in (0.1, 0.2)}
    found["diagnosis | demo | block2 | gradient"] = {"auc": {"deviation": interval}, "sparsity": 0.25}
    return found


def test_summary(tables):
    rows = tables.summary(_made_up(), "demo")
    assert {arm: row["accuracy"] for arm, row in rows.items()} == {
        "untreated": 0.5,
        "plain": 0.75,
        "contribution at block2, space 10, margin 9": 1.0,
        "contribution at block2, space 10": 0.75,
        "contribution at block2, space 5, margin 9, 4 annotated": 0.75,
        "contribution at block2, space 10, margin 9, 4 annotated": 0.75,
        "contribution at block2, space 10, shuffled, margin 9": 0.625,
    }
    best = rows["contribution at block2, space 10, margin 9"]
    assert (best["cured"], best["broken"], best["cue"], best["seeds"]) == (2, 0, 0, 2)
    assert {name: best[name]["mean"] for name in ("plain", "untreated", "shuffled")} == {
        "plain": 0.25,
        "untreated": 0.5,
        "shuffled": 0.375,
    }
    assert (rows["untreated"]["cue"], rows["plain"]["cue"]) == (1, 0)
    assert rows["contribution at block2, space 10"]["broken"] == 1


def test_tables_and_figures(tables, tmp_path):
    (tmp_path / "model_doctor.json").write_text(json.dumps(_made_up()), encoding="utf-8")
    tables.main(["--work", str(tmp_path)])
    text = (tmp_path / "model_doctor.md").read_text(encoding="utf-8")
    assert "| plain | 75.0 | 1 | 0 | 0 |  |  | +25.00 (" in text
    assert "| contribution at block2, space 10, margin 9 | 100.0 | 2 | 0 | 0 | +25.00 (" in text
    assert "| contribution at block2, space, margin 9 | 10: 75.0 |" in text
    assert "| demo, block2, gradient | 0.50 (0.40 to 0.60) |" in text
    assert "| layer2 | 0.1 std | 50 | 50 | 0.5000 | 0.5000 |" in text
    for name in ("model_doctor", "model_doctor_ablations", "model_doctor_noise"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_results_of_other_sizes_are_refused(script, tmp_path):
    script.main(["--work", str(tmp_path), "--parts"])
    with pytest.raises(SystemExit, match="fraction"):
        script.main(["--work", str(tmp_path), "--parts", "--fraction", "0.5"])
