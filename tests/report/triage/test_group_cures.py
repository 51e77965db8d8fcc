"""A triage that looks for a cure of each group: what its report says, writes, and reads again."""

import csv
import json

import pytest
import torch

from captum_paramsal import demo
from captum_paramsal.cli.demo_images import damaged_model, labelled
from captum_paramsal.repair import AcceptanceRule, CureSettings
from captum_paramsal.report import TriageReport, TriageSettings, triage

LENIENT = AcceptanceRule(level=1.0, most_broken=1.0)
"""Keeps whatever cures more than it breaks."""


def settings(rule=LENIENT):
    cure = CureSettings(count=2, steps=16, every=8, ablations=4, learning_rate=0.05, keep=1.0, rule=rule)
    return TriageSettings(cure=cure, show_progress=False)


@pytest.fixture(scope="module")
def model():
    return damaged_model()


@pytest.fixture(scope="module")
def report(model):
    images = labelled(demo.make_scenes(360, seed=31, cue_agreement=0.6))
    return triage(model, images, settings=settings(), classes=dict(enumerate(demo.CLASSES)))


def test_every_group_ends_in_one_of_three(report):
    cures = report.cures.cures
    assert len(cures) == report.triage.group_count
    sizes = [len(report.triage.members(group)) for group in range(len(cures))]
    for size, one in zip(sizes, cures, strict=True):
        assert one.verdict.status in {"kept", "refused", "too few"}
        assert one.context["mistakes"] + len(one.parts["mistakes"]["left out"]) == size
        assert one.verdict.status == "too few" or size >= 12
    assert report.cures.patches, "a rule that keeps whatever helps keeps nothing"


def test_the_patches_cure_the_model_in_their_order(report, model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    stack = report.cures.apply(model)
    for patch in reversed(stack.patches):
        stack.take_off(patch)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_written_and_read_again(report, model, tmp_path):
    page = report.write(tmp_path).read_text("utf-8")
    names = [f"group-{number}.patch.safetensors" for number in report.cures.patches]
    assert sorted(file.name for file in tmp_path.glob("group-*")) == sorted(names)
    assert f"{len(names)} of {len(report.cures.cures)} groups" in page
    for one in report.cures.cures:
        assert one.verdict.reason in page
    assert all(name in page for name in names)
    rows = list(csv.DictReader((tmp_path / "cures.csv").read_text("utf-8").splitlines()))
    assert [row["status"] for row in rows] == [one.verdict.status for one in report.cures.cures]
    content = json.loads((tmp_path / "triage.json").read_text("utf-8"))
    assert [one["patch"] for one in content["cures"] if one["patch"]] == names

    loaded = TriageReport.load(tmp_path)
    assert loaded.cures.to_table() == report.cures.to_table()
    assert loaded.write(tmp_path / "again")
    stack = loaded.cures.apply(model)
    for patch in reversed(stack.patches):
        stack.take_off(patch)


def test_patches_of_an_earlier_report_go(report, model, tmp_path):
    report.write(tmp_path)
    images = labelled(demo.load_scenes("test"))
    plain = triage(model, images, settings=TriageSettings(show_progress=False))
    page = plain.write(tmp_path).read_text("utf-8")
    assert plain.cures is None
    assert not list(tmp_path.glob("group-*"))
    assert not (tmp_path / "cures.csv").exists()
    assert 'id="cures"' not in page
    assert TriageReport.load(tmp_path).cures is None


def test_what_to_know_before_believing_them(report, model):
    strict = triage(
        model,
        labelled(demo.make_scenes(300, seed=31, cue_agreement=0.6)),
        settings=settings(AcceptanceRule()),
    )
    assert any("right images judged the cures" in caveat for caveat in strict.caveats) == any(
        one.verdict.status != "too few" for one in strict.cures.cures
    )
    judged = sum(one.verdict.status != "too few" for one in report.cures.cures)
    assert any(f"{judged} groups were judged" in caveat for caveat in report.caveats) == (judged > 1)
