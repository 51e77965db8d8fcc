import pytest
import torch
from docs.scripts import loaded

CLASSES = 10


@pytest.fixture(scope="module")
def study():
    names = ("cifar10", "results", "model_doctor", "model_doctor_tables", "model_doctor_networks")
    with loaded(*names) as found:
        yield found["model_doctor_networks"]


@pytest.mark.parametrize("name", ["plain", "residual", "depthwise", "dense"])
def test_networks_end_in_maps_of_eight_by_eight(study, name):
    network = study.NETWORKS[name](CLASSES).eval()
    images = torch.rand(2, 3, 32, 32)
    assert network.features(images).shape[2:] == (8, 8)
    assert network(images).shape == (2, CLASSES)


def test_a_shuffled_arm_differs_in_nothing_else(study):
    arms = study.arms_of(study.Chosen(0.001, 0.1, 3.0), annotated=True)
    names = [study.name_of(arm) for arm in arms]
    assert names == ["plain", "channel", "channel, shuffled", "space", "space, shuffled", "both", "gradients"]
    assert {(arm.channel, arm.space, arm.shuffled) for arm in arms[1:3]} == {(0.1, 0.0, False), (0.1, 0.0, True)}
    assert [study.name_of(arm) for arm in study.arms_of(study.Chosen(0.001, 1.0, 0.0), annotated=False)] == [
        "plain",
        "channel",
        "channel, shuffled",
        "gradients",
    ]


def test_tables_of_made_up_results(study):
    labels = "0123456789" * 10
    worse, better = "1" + labels[1:], labels
    found = {
        "plain, MNIST, 1 | untreated": {"test": worse, "labels": labels},
        "plain, MNIST, 1 | plain": {"test": worse},
        "plain, MNIST, 1 | channel": {"test": better},
        "tuning | MNIST | rate 0.001": {"validation": 0.5},
    }
    assert study.gains(found, "channel", "plain") == {("plain", "MNIST"): [pytest.approx(1.0)]}
    text = study.tables(found)
    assert "| MNIST, plain | 99.0 ± 0.0 | 99.0 ± 0.0 | 100.0 ± 0.0 |" in text
    assert "| channel - plain |  |  | +1.0 |" in text
    assert "| channel | 1 | 0 | 10 |" in text
    assert study.figure(found).startswith(b"\x89PNG")
