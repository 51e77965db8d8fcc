"""The script of Model Doctor's figures, on few scenes and made-up results."""

from dataclasses import replace

import pytest
import torch
from docs.scripts import loaded


@pytest.fixture(scope="module")
def modules():
    with loaded("cifar10", "results", "model_doctor", "model_doctor_pictures") as found:
        yield found


@pytest.fixture(scope="module")
def script(modules):
    return modules["model_doctor_pictures"]


@pytest.fixture(scope="module")
def study(modules, script):
    """The demo with 160 scenes of every kind, one step of 16."""
    doctor = modules["model_doctor"]
    scenes = script.make_scenes(160, seed=script.TEST_SEED, cue_agreement=script.SHIFTED)
    images = doctor.Images(doctor.normalize(scenes.images), scenes.labels, scenes.masks, scenes.cue_labels)
    task = doctor.Task("demo", doctor.load_model(), images, images[:32], images, steps=1, batch=16)
    return script.Study.of(task, scenes)


def test_share_within(script):
    maps = torch.tensor([[[1.0, 0.0], [3.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]]])
    masks = torch.zeros(3, 4, 4, dtype=torch.bool)
    masks[:2, :2] = True
    masks[:2, 2:, 0] = True
    # The upper half whole, of the lower left place a half.
    assert script.share_within(maps, masks)[0] == pytest.approx((1.0 + 0.5 * 3.0) / 8.0)
    assert script.share_within(maps, masks)[1:].isnan().all()


def test_scenes_to_show(script, study):
    scenes, classes = study.scenes, script.predicted(study.task.model, study.task.test).argmax(dim=1)
    *mistakes, misled, agreeing = study.shown
    assert len(mistakes) == len(set(classes[mistakes].tolist())) == 3
    assert torch.equal(classes[mistakes], scenes.cue_labels[mistakes])
    assert (classes[mistakes] != scenes.labels[mistakes]).all()
    assert classes[misled] == scenes.labels[misled] != scenes.cue_labels[misled] >= 0
    assert classes[agreeing] == scenes.labels[agreeing] == scenes.cue_labels[agreeing]


def test_other_objects_are_of_the_same_class(script, study):
    masks, others = (study.places[place] for place in script.PLACES[:2])
    for mask, label in zip(others[:20], study.scenes.labels[:20], strict=True):
        same = (masks == mask).flatten(1).all(dim=1).nonzero()[:, 0]
        assert label in study.scenes.labels[same]
    assert not (masks == others).flatten(1).all(dim=1).any()


def test_maps_are_gradient_times_activation(script, study):
    images = study.task.test[:4]
    classes = torch.tensor([0, 3, 3, 7])
    maps = script.map_kinds(study.task.model, images, classes)
    model = study.task.model
    with torch.no_grad():
        features = model.block2(model.block1(model.stem(images.inputs)))
    terms = features * model.classifier.weight.detach()[classes][:, :, None, None] / 64
    torch.testing.assert_close(maps["block2"], terms.abs().sum(dim=1))
    torch.testing.assert_close(maps["Grad-CAM"], terms.sum(dim=1).relu())
    assert {name: tuple(one.shape[1:]) for name, one in maps.items()} == {
        "stem": (32, 32), "block1": (16, 16), "block2": (8, 8), "block2, label": (8, 8), "Grad-CAM": (8, 8),
    }  # fmt: skip


def test_the_most_confident_are_what_a_diagnosis_averages(script, study):
    task = study.task
    doctor = script.doctor_of(task.model, "block2", "contribution")
    best = script.most_confident(task.model, task.test, count=5)
    whole = doctor.fit(task.test.batches(), samples_per_class=5, minimum=1, show_progress=False)
    some = doctor.fit(best.batches(), minimum=1, show_progress=False)
    torch.testing.assert_close(some.correlation, whole.correlation)
    for label in range(8):
        torch.testing.assert_close(some.usual_of(label).double().mean(dim=0), some.correlation[label])


def test_layer_numbers(script, study):
    doctor = script.doctor_of(study.task.model, "block2", "contribution")
    diagnosis = script.fitted(doctor, study.task.test)
    rows = torch.zeros(3, 6, dtype=torch.float64)
    rows[0, :2], rows[1, 1:4], rows[2, 5] = 1.0, 1.0, 1.0
    made = replace(diagnosis, correlation=rows, counts=torch.ones(3))
    relevant, share, overlap, chance, excess = script.layer_numbers(made)
    assert (relevant, share) == (pytest.approx(2.0), pytest.approx(1 / 3))
    # Of the three pairs one shares one of four channels.
    assert overlap == pytest.approx(1 / 12)
    assert excess == pytest.approx(overlap - chance)
    assert chance > overlap


def test_gains_by_class(script):
    labels = torch.arange(8).repeat(2)
    wrong = (labels + 1) % 8
    plain = [{"test": script.text_of(wrong)}] * 2
    cured = torch.where(torch.arange(16) == 3, labels, wrong)
    treated = [{"test": script.text_of(row)} for row in (cured, torch.where(labels == 5, labels, cured))]
    gains = script.gain_of(treated, plain, labels)
    assert gains[0].tolist() == [0, 0, 0, 0.5, 0, 0.5, 0, 0]
    assert gains[:, 5].tolist() == [0.5, 0.5, 0.5]
    assert (gains[1] <= gains[0]).all()
    assert gains[2, 3] == 1.0


@pytest.mark.slow
def test_tables_and_figures(script, study, tmp_path):
    results = script.Results(tmp_path / "found.json")
    found = script.networks(results, study, 1)
    again = script.networks(script.Results(tmp_path / "found.json"), study, 1)
    assert again["space"][0]["test"] == found["space"][0]["test"]
    assert list(found) == ["original", *script.ARMS]
    one = script.distances(study)
    assert one["auc"][0] > 0.5
    layers = {name: script.layer_study(study, name, resamples=5) for name in script.LAYERS}
    text = script.tables(study, found, one, layers)
    rows = [line.split(" | ")[0] for line in text.splitlines()]
    assert rows.count("| original") == rows.count("| both, shuffled") == 1
    assert {f"| {name}" for name in (*script.CLASSES, *script.LAYERS)} <= set(rows)
    for png in (
        script.channels_figure(one),
        script.distances_figure(one),
        script.gains_figure(found, study.scenes.labels),
        script.maps_figure(study, found),
        script.layers_maps_figure(study, found),
        script.matrices_figure(layers),
    ):
        assert png.startswith(b"\x89PNG")
