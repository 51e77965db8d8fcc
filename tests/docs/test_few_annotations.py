"""The script on few annotated scenes, on few scenes."""

import json

import pytest
import torch
from docs.scripts import loaded


@pytest.fixture(scope="module")
def modules():
    with loaded("cifar10", "results", "model_doctor", "few_annotations") as found:
        yield found


@pytest.fixture(scope="module")
def script(modules):
    return modules["few_annotations"]


@pytest.fixture(scope="module")
def task(modules):
    """The demo with 64 scenes of every kind, two steps of 16."""
    doctor = modules["model_doctor"]
    scenes = doctor.make_scenes(64, seed=5, cue_agreement=0.9)
    images = doctor.Images(doctor.normalize(scenes.images), scenes.labels, scenes.masks, scenes.cue_labels)
    return doctor.Task("demo", doctor.load_model(), images, images, images[:20], steps=2, batch=16)


@pytest.fixture
def few(script, monkeypatch):
    monkeypatch.setattr(script, "PER_CLASS", 2)
    monkeypatch.setattr(script, "STRENGTHS", (1.0, 3.0))


@pytest.mark.usefixtures("few")
def test_which_scenes_are_annotated(script, task):
    known = {
        choice: script.annotated(task.model, task.train, choice, torch.Generator().manual_seed(0))
        for choice in script.CHOICES
    }
    assert known["all"].all()
    of_label = script.predicted(task.model, task.train).softmax(dim=1).gather(1, task.train.labels[:, None])[:, 0]
    for label in task.train.labels.unique():
        of_class = task.train.labels == label
        expected = set(of_label.where(of_class, 2.0).topk(2, largest=False).indices.tolist())
        assert set((known["least confident"] & of_class).nonzero()[:, 0].tolist()) == expected
        assert (known["random"] & of_class).sum() == 2
    assert not torch.equal(known["random"], known["least confident"])


@pytest.mark.slow
@pytest.mark.usefixtures("few")
def test_runs_and_table(script, task, tmp_path):
    results = script.Results(tmp_path / "few_annotations.json")
    truth = results.once("untreated", lambda: script.untreated(task))
    text = script.table(script.study(results, task, 1), truth)
    rows = [line.split(" | ") for line in text.splitlines()]
    assert [row[0].removeprefix("| ").split(",")[0] for row in rows[2:]] == ["untreated", "plain", *script.CHOICES]
    assert rows[3][4:] == ["", " |"]
    assert all("seeds" in row[4] for row in rows[4:])
    known = json.loads((tmp_path / "few_annotations.json").read_text())
    assert len(known) == 1 + 3 * 2 + 4
    assert script.table(script.study(script.Results(tmp_path / "few_annotations.json"), None, 1), truth) == text
