"""Models with one score, for yes or no, in every kind of report."""

import pytest
import torch
from cases.images import image
from torch import nn

from captum_paramsal import report
from captum_paramsal.sources import LabelledTensors


class OneLogit(nn.Module):
    """A score above 0 means the second of two classes."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 8, 3), nn.Linear(8, 1)

    def forward(self, images):
        return self.head(self.second(self.first(images).relu()).relu().mean((2, 3)))


class TwoScores(OneLogit):
    """The same as scores of two classes."""

    def forward(self, images):
        return super().forward(images) * torch.tensor([-0.5, 0.5])


@pytest.fixture(scope="module")
def case():
    torch.manual_seed(0)
    one = OneLogit().eval()
    images = image(40, 3, 12, 12, seed=3).float()
    with torch.no_grad():
        one.head.bias -= one(images).median()
        labels = (one(images)[:, 0] > 0).long()
    labels[::4] = 1 - labels[::4]
    two = TwoScores().eval()
    two.load_state_dict(one.state_dict())
    return one, two, LabelledTensors(images, labels)


@pytest.mark.filterwarnings("ignore::captum_paramsal.FewSamplesWarning")
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (report.explain, report.ExplainSettings(show_progress=False)),
        (report.doctor, report.DoctorSettings(confidence=0.0, show_progress=False)),
        (report.triage, report.TriageSettings(show_progress=False)),
    ],
)
def test_it_says_what_two_scores_say(case, kind, settings):
    one, two, images = case
    found, expected = (kind(model, images, settings=settings).to_dict()["mistakes"] for model in (one, two))
    assert len(found) == len(expected) == 10
    for mistake, other in zip(found, expected, strict=True):
        assert_close(mistake, other)
    if kind is report.explain:
        assert all(mistake["traces"] for mistake in found)


def assert_close(found, expected):
    """The same but for rounding."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            assert_close(found[key], expected[key])
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_close(one, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)
    else:
        assert found == expected
