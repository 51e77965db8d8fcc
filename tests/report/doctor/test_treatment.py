from dataclasses import replace

import pytest
import torch
from report.doctor.small_reports import colour_checkup, colour_net, scenes

from captum_paramsal.errors import ParamsalError, SourceError, TreatmentError
from captum_paramsal.repair import Constraints
from captum_paramsal.report import DoctorReport, TreatmentResult, TreatmentSettings
from captum_paramsal.report.doctor.treating import TrainingBatches
from captum_paramsal.sources import SourceBatches


@pytest.fixture(scope="module")
def therapy():
    return TreatmentSettings(scenes(60, seed=5), scenes(30, seed=6), epochs=2, learning_rate=0.01, margin=1)


@pytest.fixture(scope="module")
def treated(therapy):
    return colour_checkup(treatment=therapy)


def test_result_is_that_of_the_images(treated):
    result = treated.treatment
    assert result.positions == tuple(range(120))
    assert result.files[3] == "photo 3.png"
    mistakes = {one.position for one in treated.mistakes}
    assert {
        p for p, label, before in zip(result.positions, result.labels, result.before, strict=True) if label != before
    } == mistakes
    with torch.no_grad():
        predicted = treated.treated(scenes()._images).argmax(dim=1)
    assert predicted.tolist() == list(result.after)
    assert result.selected_on == "validation"
    expected = {"train": 60, "validation": 30, "annotated": 60, "epochs": 2, "validation_from": "images of their own"}
    assert {name: result.settings[name] for name in expected} == expected
    assert set(result.weights) == {"channel", "space"}
    assert len(result.history) == 3


def test_patch_makes_the_treated_model(treated):
    model = colour_net()
    treated.patch.apply(model)
    for name, value in treated.treated.state_dict().items():
        assert torch.equal(value, model.state_dict()[name])


def test_diagnosis_comes_from_the_images_that_are_trained_on(treated):
    assert treated.context["usual"]["images"] == 50
    assert not treated.context["usual"]["fitted_on_these_images"]


def test_written_and_read_again(treated, tmp_path):
    treated.write(tmp_path)
    assert (tmp_path / "treated.patch.safetensors").exists()
    again = DoctorReport.load(tmp_path)
    assert again.treatment == treated.treatment
    assert again.patch.treated == treated.patch.treated


def test_the_same_twice(therapy, treated):
    assert colour_checkup(treatment=therapy).treatment == treated.treatment


def test_constraints_of_the_paper(therapy, treated):
    given = replace(therapy, as_in_paper=True, epochs=1, control=False)
    (constraints,) = given.constraints(treated.diagnosis, annotated=True)
    (expected,) = Constraints.of_paper(treated.diagnosis, channel=1.0, space=10.0)
    assert repr(constraints) == repr(expected)
    assert given.constraints(treated.diagnosis, annotated=False)[0].strengths == {"channel": 1.0}
    other = colour_checkup(treatment=given).treatment
    assert other.settings["as_in_paper"]
    assert other.history[1]["channel"] != treated.treatment.history[1]["channel"], "the same constraint"


def test_layers_of_the_space_constraint_without_the_paper(therapy):
    with pytest.raises(ParamsalError, match=r"only with `as_in_paper`, got \['0'\]"):
        replace(therapy, space_layers=("0",))


def test_control_has_no_constraint(therapy, treated):
    plain = colour_checkup(treatment=replace(therapy, channel=0.0, space=0.0))
    assert plain.treatment.plain is None
    assert plain.treatment.weights == {}
    assert plain.treatment.after == treated.treatment.plain
    without = colour_checkup(treatment=replace(therapy, control=False))
    assert without.treatment.control is None
    assert without.treatment.after == treated.treatment.after


def test_one_in_five_is_set_aside_without_validation_images(therapy):
    result = colour_checkup(treatment=replace(therapy, validation=None, control=False)).treatment
    assert (result.settings["train"], result.settings["validation"]) == (48, 12)
    assert result.settings["validation_from"] == "training images"


def test_objects_that_nobody_marked(therapy):
    found = colour_checkup(treatment=replace(therapy, train=scenes(60, seed=5, masked=False), control=False))
    assert any("had no space constraint" in remark for remark in found.caveats)
    assert set(found.treatment.weights) == {"channel"}


def test_too_few_images():
    with pytest.raises(SourceError, match=r"at least 5 training images.*got 4"):
        colour_checkup(usual=scenes(), treatment=TreatmentSettings(scenes(4)))


def test_a_loss_that_is_not_finite(therapy):
    with pytest.raises(TreatmentError, match="learning rate"):
        colour_checkup(treatment=replace(therapy, learning_rate=1e30, control=False))


def test_training_batches_are_shuffled_with_their_foreground():
    images = scenes(20)
    batches = TrainingBatches(SourceBatches(images, colour_net(), range(20), 8), margin=0, annotated=True)
    assert len(batches) == 3
    torch.manual_seed(0)
    first = list(batches)
    torch.manual_seed(0)
    assert all(
        torch.equal(a, b)
        for one, other in zip(first, list(batches), strict=True)
        for a, b in zip(one, other, strict=True)
    )
    inputs, labels, foreground = (torch.cat(parts) for parts in zip(*first, strict=True))
    order = [int((images._images == one).flatten(1).all(dim=1).nonzero()) for one in inputs]
    assert sorted(order) == list(range(20)) != order
    assert labels.tolist() == [images.items[i].label for i in order]
    assert torch.equal(foreground.bool(), torch.stack([images.mask(i) for i in order]))


def test_cured_broken_and_control_are_counted():
    result = TreatmentResult(
        positions=(0, 2, 4, 5),
        files=("a", "b", "c", "d"),
        labels=(0, 0, 1, 1),
        before=(1, 0, 1, 0),
        after=(0, 1, 1, 1),
        confidence=(0.5,) * 4,
        plain=(0, 0, 1, 0),
        plain_epoch=1,
        p_value=1.0,
        best_epoch=1,
        selected_on="validation",
        history=[],
        weights={},
        settings={},
    )
    assert (result.cured, result.broken) == ((0, 3), (1,))
    assert (result.accuracy_before, result.accuracy_after) == (0.5, 0.75)
    control = result.control
    assert (control.accuracy, control.cured, control.broken) == (0.75, 1, 0)
    assert (control.better, control.worse, control.p_value) == (1, 1, 1.0)
    assert TreatmentResult.from_dict(result.to_dict()) == result
