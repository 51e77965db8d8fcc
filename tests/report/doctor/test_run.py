import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from report.doctor.small_reports import COLOURS, QUICK, colour_checkup, colour_net, scenes
from torch import nn

from captum_paramsal import ModelDoctor
from captum_paramsal.errors import InputError, LayerError, ParamsalError, ReferenceMismatchError, SourceError
from captum_paramsal.report import DoctorReport, DoctorSettings
from captum_paramsal.report.doctor.data import MeanWithError


@pytest.fixture(scope="module")
def checkup():
    return colour_checkup()


def test_every_mistake_and_the_channel_that_misled_it(checkup):
    assert [one.position for one in checkup.mistakes] == list(range(0, 120, 6))
    assert checkup.accuracy == pytest.approx(5 / 6)
    for one in checkup.mistakes:
        assert one.predicted == (one.label + 1) % 3
        first = one.channels[0]
        assert first.channel == one.predicted
        assert (first.for_predicted, first.for_label) == (True, False)
        assert first.share == pytest.approx(1)
        assert first.correlation > first.high > first.usual > first.low > 0
        assert first.p_value <= 0.05
        assert (one.unusual, one.wrong_share, one.compared) == (1, pytest.approx(1), 40 if one.predicted == 1 else 20)


@pytest.mark.parametrize("count", [120])
def test_evidence_lies_where_the_colour_is(checkup, count):
    assert checkup.images == count
    assert {one.background for one in checkup.mistakes} == {1.0}
    assert checkup.mistake_group.background == MeanWithError(1.0, 0.0, 20)
    assert checkup.correct_group.background.value == pytest.approx(0, abs=1e-6)
    assert checkup.correct_group.excess.value == pytest.approx(-checkup.correct_group.background_area.value)
    area = 1 - 35 / 144
    assert checkup.mistake_group.background_area.value == pytest.approx(area)


def test_groups(checkup):
    assert (checkup.mistake_group.images, checkup.correct_group.images) == (20, 20)
    assert checkup.mistake_group.unusual.value == pytest.approx(1 / 6)
    assert checkup.correct_group.unusual.value < 0.05
    assert set(checkup.separation) == {"deviation", "doubt"}


def test_channels_are_those_of_the_doctor(checkup):
    doctor = ModelDoctor(colour_net(), "1", 2, 0.01, reduce="relu", multiply_by_inputs=True)
    images = scenes()._images[:12]
    labels = torch.tensor([item.label for item in scenes().items[:12]])
    found = doctor.diagnose(images, labels, checkup.diagnosis)
    assert found.images.tolist() == [0, 6]
    for row, one in enumerate(checkup.mistakes[:2]):
        for channel in one.channels:
            assert channel.correlation == pytest.approx(float(found.correlation[row, channel.channel]), rel=1e-4)
            assert channel.p_value == pytest.approx(float(found.p_values[row, channel.channel]), rel=1e-3)


def test_written_and_read_again(checkup, tmp_path):
    report = checkup.write(tmp_path / "new" / "folder")
    assert report.name == "report.html"
    assert {path.name for path in report.parent.iterdir()} == {
        "report.html",
        "manifest.json",
        "doctor.json",
        "channels.csv",
        "diagnosis.safetensors",
    }
    again = DoctorReport.load(report.parent)
    assert replace(again, diagnosis=checkup.diagnosis) == checkup
    assert torch.equal(again.diagnosis.correlation, checkup.diagnosis.correlation)
    content = json.loads((report.parent / "doctor.json").read_text())
    assert (content["schema"], content["schema_version"]) == ("captum_paramsal.checkup", 2)
    rows = list(csv.DictReader((report.parent / "channels.csv").read_text().splitlines()))
    assert len(rows) == 20 * 3
    assert rows[0]["file"] == "photo 0.png"
    assert rows[0]["label_name"] == "red"
    assert float(rows[0]["share"]) == pytest.approx(1)


def test_files_that_are_no_checkup(checkup, tmp_path):
    with pytest.raises(SourceError, match=r"checkup at '.*doctor.json', got FileNotFoundError"):
        DoctorReport.load(tmp_path)
    checkup.write(tmp_path)
    content = json.loads((tmp_path / "doctor.json").read_text())
    (tmp_path / "doctor.json").write_text(json.dumps({**content, "schema_version": 99}))
    with pytest.raises(SourceError, match=r"of version 2 or before .*, got captum_paramsal.checkup of version 99"):
        DoctorReport.load(tmp_path)
    (tmp_path / "doctor.json").write_text(json.dumps({**content, "groups": {}}))
    with pytest.raises(SourceError, match="KeyError"):
        DoctorReport.load(tmp_path)


def test_a_diagnosis_made_before(checkup, tmp_path):
    checkup.write(tmp_path)
    before = DoctorReport.load(tmp_path).diagnosis
    again = colour_checkup(diagnosis=before)
    assert again.mistakes == checkup.mistakes
    assert not again.context["usual"]["fitted_on_these_images"]
    assert checkup.context["usual"]["fitted_on_these_images"]
    other = colour_net()
    with torch.no_grad():
        other[0].bias.add_(1)
    with pytest.raises(ReferenceMismatchError, match=r"'0\.bias'"):
        replace(QUICK).doctor(other, before)


def test_other_images_to_compare_with():
    found = colour_checkup(usual=scenes(300, seed=7, misled_every=1000))
    assert found.context["usual"]["images"] == 299
    assert not found.context["usual"]["fitted_on_these_images"]
    assert all(one.compared in (99, 100) for one in found.mistakes)


def test_without_masks_nothing_is_said_of_the_background():
    found = colour_checkup(scenes(masked=False))
    assert {one.background for one in found.mistakes} == {None}
    assert found.mistake_group.background == MeanWithError(None, None, 0)


def test_few_images_are_told():
    found = colour_checkup(scenes(24))
    assert {one.unusual for one in found.mistakes} == {None}
    assert all(one.channels[0].p_value is not None for one in found.mistakes)
    assert any("4 of 4 mistakes fewer than 19 images" in remark for remark in found.caveats)
    assert found.separation == {}


def test_a_class_that_is_never_right_is_told():
    images = scenes(60, misled_every=1000)
    mixed = [replace(item, label=2 if item.label == 0 else 1) for item in images.items]
    images.items = mixed
    found = colour_checkup(images)
    assert any("red (0)" in remark for remark in found.caveats)
    unknown = [one for one in found.mistakes if one.predicted == 0]
    assert unknown
    assert {(one.compared, one.unusual, one.deviation) for one in unknown} == {(0, None, None)}
    assert {channel.p_value for one in unknown for channel in one.channels} == {None}


def test_constant_evidence_is_told_and_not_warned_about():
    settings = replace(QUICK, evidence="gradient", noise_samples=0)
    found = colour_checkup(settings=settings)
    assert any("the same in every image of a class" in remark for remark in found.caveats)


def test_a_model_whose_way_depends_on_values_is_told():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = colour_net()

        def forward(self, images):
            scores = self.net(images)
            return scores if bool(scores.sum() > -1e9) else -scores

    from captum_paramsal.report import doctor  # noqa: PLC0415

    found = doctor(Odd(), scenes(), settings=replace(QUICK, layer="net.1"), classes=COLOURS)
    assert any("which way it goes depends on the values" in remark for remark in found.caveats)
    assert len(found.mistakes) == 20


def test_no_mistake():
    found = colour_checkup(scenes(60, misled_every=1000), settings=replace(QUICK, cards=0))
    assert len(found.mistakes) == 1  # the first scene is misled whatever the step
    images = scenes(60, misled_every=1000)
    images.items = [
        replace(item, label=(item.label + 1) % 3 if i == 0 else item.label) for i, item in enumerate(images.items)
    ]
    none = colour_checkup(images)
    assert none.mistakes == ()
    assert none.correct_group.images == 0
    assert none.accuracy == 1


def test_the_surest_have_cards():
    found = colour_checkup(settings=replace(QUICK, cards=4))
    drawn = [one for one in found.mistakes if one.drawn]
    assert len(drawn) == len(found.evidence) == len(found.pictures) == 4
    rest = [one.confidence for one in found.mistakes if not one.drawn]
    assert min(one.confidence for one in drawn) >= max(rest)


def test_leaves_the_model_as_it_was():
    model = colour_net().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    from captum_paramsal.report import doctor  # noqa: PLC0415

    doctor(model, scenes(), settings=QUICK)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"layer": "nowhere"}, LayerError, "nowhere"),
        ({"confidence": 0.999999}, InputError, "at least 0.999999"),
        ({"noise_samples": -1}, InputError, "-1"),
        ({"device": "abacus"}, ParamsalError, "abacus"),
    ],
)
def test_what_cannot_be(settings, error, message):
    with pytest.raises(error, match=message):
        colour_checkup(settings=replace(QUICK, **settings))


@pytest.mark.parametrize("settings", [{"top_k": 0}, {"batch_size": 0}, {"cards": -1}, {"evidence": "guess"}])
def test_settings_that_make_no_sense(settings):
    with pytest.raises(ParamsalError, match="Expected"):
        DoctorSettings(**settings)


def test_a_folder_that_version_0_1_wrote(tmp_path):
    written = json.loads((Path(__file__).parent / "version_1" / "doctor.json").read_text())
    report = DoctorReport.load(Path(__file__).parent / "version_1")
    assert [mistake.predicted for mistake in report.mistakes] == [m["prediction"] for m in written["mistakes"]]
    assert [m.confidence for m in report.mistakes] == [m["prediction_confidence"] for m in written["mistakes"]]
    assert report.mistakes[0].channels[0].for_predicted == written["mistakes"][0]["channels"][0]["for_prediction"]
    assert list(report.caveats) == written["remarks"]
    assert report.mistake_group.images == written["groups"]["incorrect"]["images"]
    assert report.context["usual"]["confident_images"] == written["usual"]["sure_images"]
    assert len(report.treatment.cured) == written["treatment"]["cured"]
    report.write(tmp_path)
    assert replace(DoctorReport.load(tmp_path), diagnosis=report.diagnosis) == report


def test_former_names_are_deprecated(checkup):
    mistake = checkup.mistakes[0]
    for former, owner, name in (
        ("prediction", mistake, "predicted"),
        ("prediction_confidence", mistake, "confidence"),
        ("right", checkup, "correct_group"),
        ("wrong", checkup, "mistake_group"),
        ("remarks", checkup, "caveats"),
    ):
        with pytest.warns(DeprecationWarning, match=f"{former}` .*is now .*{name}`"):
            assert getattr(owner, former) == getattr(owner, name)
    with pytest.warns(DeprecationWarning, match="`therapy` of `doctor` is now `treatment`"):
        colour_checkup(scenes(12), therapy=None)
