"""Mistakes that look like wrong labels are listed apart in the report of a triage."""

import csv
from statistics import median

import pytest
import torch
from torch import nn

from captum_paramsal import demo
from captum_paramsal.cli.demo_images import labelled
from captum_paramsal.report import TriageReport, TriageSettings, triage
from captum_paramsal.sources import LabelledTensors
from captum_paramsal.triage import label_doubts

CLASSES = dict(enumerate(demo.CLASSES))
WRONG = [3, 40, 90, 150]


def scenes_with_wrong_labels():
    scenes = demo.make_scenes(240, seed=7)
    labels = scenes.labels.clone()
    labels[WRONG] = (labels[WRONG] + 3) % 8
    return LabelledTensors(scenes.images, labels, demo.normalize, names=[f"scene {n}" for n in range(240)])


@pytest.fixture(scope="module")
def report():
    settings = TriageSettings(show_progress=False, batch_size=48)
    return triage(demo.load_model(), scenes_with_wrong_labels(), settings=settings, classes=CLASSES)


def test_planted_labels_are_the_more_doubtful(report):
    doubts = {item.name: one.doubt for item, one in zip(report.items, report.doubts.of_mistakes, strict=True)}
    planted = [doubts.pop(f"scene {number}") for number in WRONG]
    assert min(planted) > median(doubts.values())


def test_the_same_as_of_all_images(report):
    images = scenes_with_wrong_labels()
    batch = next(images.batches(240))
    alone = label_doubts(demo.load_model(), [(batch.inputs, batch.labels)], neighbors=report.doubts.neighbors)
    places = report.triage.images.tolist()
    assert [one.suggested for one in report.doubts.of_mistakes] == alone.suggested[places].tolist()
    doubt = torch.tensor([one.doubt for one in report.doubts.of_mistakes], dtype=torch.float64)
    torch.testing.assert_close(doubt, alone.doubt[places], rtol=1e-5, atol=1e-6)
    # What is likely wrong is always a mistake, so that no such label is left out.
    assert {*alone.likely_wrong.nonzero()[:, 0].tolist()} <= {*places}


def test_written_and_read_again(report, tmp_path):
    page = report.write(tmp_path).read_text("utf-8")
    likely = report.doubts.likely_wrong
    assert f"For {len(likely)} of {len(report.triage)} mistakes another label is worth a thought" in page
    assert TriageReport.load(tmp_path).doubts == report.doubts
    rows = list(csv.DictReader((tmp_path / "mistakes.csv").read_text("utf-8").splitlines()))
    assert [number for number, row in enumerate(rows) if row["likely_wrong"] == "True"] == sorted(likely)
    assert float(rows[likely[0]]["doubt"]) == pytest.approx(report.doubts.of_mistakes[likely[0]].doubt)


def test_nobody_wants_to_know():
    settings = TriageSettings(doubts=False, show_progress=False)
    found = triage(demo.load_model(), labelled(demo.load_scenes("test")), settings=settings)
    assert (found.doubts.of_mistakes, found.doubts.refused) == ((), "")
    assert "Are the labels right?" not in found.contents()["report.html"]
    assert found.mistakes_table()[0]["doubt"] is None


def test_too_few_of_each_class_say_nothing():
    scenes = demo.make_scenes(40, seed=7)
    images = LabelledTensors(scenes.images, scenes.labels, demo.normalize)
    found = triage(demo.load_model(), images, settings=TriageSettings(show_progress=False))
    assert "too few for their labels to be compared" in found.doubts.refused
    assert found.doubts.refused in found.contents()["report.html"]


class _TwoHeads(nn.Module):
    """Its last layer runs twice for each image."""

    def __init__(self):
        super().__init__()
        self.features, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 2)

    def forward(self, images):
        pooled = self.features(images).amax(dim=(2, 3))
        return self.head(pooled) + self.head(2 * pooled)


def test_a_model_that_cannot_be_asked_is_told_of():
    torch.manual_seed(0)
    images, labels = torch.rand(60, 3, 8, 8), torch.arange(60) % 2
    found = triage(_TwoHeads(), LabelledTensors(images, labels), settings=TriageSettings(show_progress=False))
    assert found.doubts.refused.startswith("Model and similar images could not be asked:")
