"""A step on mistakes on corrupted photos, on a small network, and the tables over severities."""

import pytest
import torch
from docs.scripts import loaded
from torch import nn

from captum_paramsal.filters import FilterIndex
from captum_paramsal.repair import fine_tune_step

NEEDED = (
    "cifar10",
    "photos",
    "results",
    "corruptions",
    "domain_features",
    "depth_bias",
    "pot_saliency_cases",
    "corruption_severities",
)


@pytest.fixture(scope="module")
def scripts():
    with loaded(*NEEDED) as found:
        yield found


@pytest.fixture(scope="module")
def script(scripts):
    return scripts["corruption_severities"]


def test_a_step_is_measured_on_the_mistake_and_its_control(scripts, script):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)).eval()
    images = torch.randn(5, 3, 8, 8)
    before = model(images).detach()
    labels = before.argsort(dim=1)[:, -2]
    photos = scripts["photos"].Photos(images, labels, [torch.zeros(1, 4)] * 5)
    controls = scripts["photos"].Photos(images.flip(0), before.flip(0).argmax(dim=1), photos.boxes)
    filters = FilterIndex({"0": 6}).top(torch.rand(5, 6), k=3)
    weight = model[0].weight.clone()
    found = script.after_steps(model, photos, before, {"other": filters[::-1], "arm": filters}, controls)["arm"]
    assert torch.equal(model[0].weight, weight)
    assert found.shape == (3, 5)
    for number in range(5):
        image, wrong = images[[number]], before[number].argmax()
        with fine_tune_step(model, filters[number], image, labels[[number]]), torch.no_grad():
            after, control = model(image)[0], model(controls.images[[number]])[0]
        change, cured, broken = found[:, number].tolist()
        expected = after.softmax(dim=0)[wrong] - before[number].softmax(dim=0)[wrong]
        assert change == pytest.approx(expected.item(), abs=1e-6)
        assert cured == (after.argmax() == labels[number])
        assert broken == (control.argmax() != controls.labels[number])


def test_interval_resamples_photos_with_all_their_mistakes(script):
    values = torch.rand(200, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mean, low, high = script.pooled(values, torch.arange(200))
    assert mean == pytest.approx(values.mean().item())
    assert high - low == pytest.approx(2 * 1.96 * values.std().item() / 200**0.5, rel=0.1)
    # The same mistake four times tells no more than once.
    again = script.pooled(values.repeat(4), torch.arange(200).repeat(4))
    assert again == pytest.approx((mean, low, high))


def test_tables(script):
    photos = [3, 5]
    cells = {
        f"{kind}, {severity}": {"accuracy": 0.5, "photos": photos, "POT, mle": [[-0.2, -0.2], [1.0, 1.0], [0.0, 0.0]]}
        | {arm: [[-0.1, -0.1], [0.0, 0.0], [0.0, 0.0]] for arm in script.ARMS[1:]}
        for kind in script.CORRUPTIONS
        for severity in script.SEVERITIES
    }
    lines = script.severity_table(cells, "wrong class").splitlines()
    assert len(lines) == 7
    assert lines[2].startswith("| 1 | 8 | -20.0 (-20.0 to -20.0) | -10.0 (-10.0 to -10.0) |")
    assert lines[2].endswith("| -10.0 (-10.0 to -10.0) |")
    lines = script.kind_table(cells).splitlines()
    assert len(lines) == 22
    assert lines[2].startswith("| gaussian noise, 1 | 50.0 | 2 | 100.0 (100.0 to 100.0) | 0.0 (0.0 to 0.0) |")
    assert lines[2].endswith("| +100.0 (+100.0 to +100.0) |")
