"""The script of the page on depth bias, on data of its own."""

import io
import json
from collections import OrderedDict

import numpy as np
import pytest
import torch
from docs.scripts import loaded
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from captum_paramsal import ParameterSaliency
from captum_paramsal.files import Fingerprint
from captum_paramsal.filters import FilterIndex


@pytest.fixture(scope="module")
def script():
    with loaded("results", "domain_features", "depth_bias") as found:
        yield found["depth_bias"]


@pytest.fixture
def small_network(script, monkeypatch):
    """Networks with the stages of a ResNet-18, and few filters."""

    def network(num_classes):
        stages = {"conv1": nn.Conv2d(3, 4, 3, stride=4, padding=1)}
        for stage in ("layer1", "layer2", "layer3", "layer4"):
            stages[stage] = nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1))
        head = {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": nn.Linear(4, num_classes)}
        return nn.Sequential(OrderedDict(stages | head))

    monkeypatch.setattr(script, "resnet18", network)


@pytest.fixture
def toy_data(tmp_path):
    """The data folder's layout with 70 images a set, 100 of the street and sketches."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (450, 32, 32, 3), dtype=np.uint8)
    for folder in ("mnist", "street_digits446", "pacs64"):
        (tmp_path / folder).mkdir()
    digits = np.arange(100, dtype=np.uint8) % 10
    grey, labels = pixels[:70, :28, :28, 0], digits[:70]
    np.savez(tmp_path / "mnist" / "mnist.npz", x_train=grey, y_train=labels, x_test=grey, y_test=labels)
    np.savez(tmp_path / "street_digits446" / "street_digits446.npz", x=pixels[:100], y=digits, id=np.arange(100))
    files = []
    for picture in pixels:
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, format="JPEG")
        files.append(np.frombuffer(buffer.getvalue(), dtype=np.uint8))
    np.savez(
        tmp_path / "pacs64" / "pacs64_jpeg.npz",
        jpeg=np.concatenate(files),
        offsets=np.cumsum([0, *map(len, files)]),
        y=(np.arange(450) % 7).astype(np.uint8),
        domain=(np.arange(450) >= 350).astype(np.uint8),
        classes=np.array(list("abcdefg")),
        domains=np.array(["photo", "sketch"]),
    )
    return tmp_path


def test_shortcuts_belong_to_their_stage(script):
    counts = {"conv1": 2, "layer1.0.conv1": 1, "layer2.0.conv1": 2, "layer2.0.downsample.0": 3}
    names, stages = script.stages_of(FilterIndex(counts))
    assert names == ["conv1", "layer1", "layer2"]
    assert stages.tolist() == [0, 0, 1, 2, 2, 2, 2, 2]


def test_stages_of_the_network(script):
    names, stages = script.stages_of(ParameterSaliency(script.resnet18()).filters)
    assert names == ["conv1", "layer1", "layer2", "layer3", "layer4"]
    assert stages.bincount().tolist() == [64, 256, 640, 1280, 2560]


def test_shares_of_the_top(script):
    stages = torch.tensor([0, 0, 1, 1])
    scores = torch.tensor([[4.0, 3.0, 2.0, 1.0], [0.0, -1.0, 5.0, 0.0], [0.0, 0.0, 0.0, -1.0]])
    shares, number = script.top_shares(scores, stages, 3, above_zero=False)
    torch.testing.assert_close(shares[:2], torch.tensor([[2 / 3, 1 / 3], [1 / 3, 2 / 3]], dtype=torch.float64))
    assert number.tolist() == [3, 3, 3]
    shares, number = script.top_shares(scores, stages, 3, above_zero=True)
    assert shares[1].tolist() == [0, 1]
    assert number.tolist() == [3, 1, 0]


def test_interval_holds_the_mean_and_narrows(script):
    rows = torch.rand(400, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mean, low, high = script.interval([rows])
    torch.testing.assert_close(mean, rows.mean(dim=0))
    # 1.96 standard errors on each side.
    torch.testing.assert_close(high - low, 2 * 1.96 * rows.std(dim=0) / 20, rtol=0.1, atol=0)
    assert ((low < mean) & (mean < high)).all()


def test_interval_over_trainings_is_of_the_mean_of_their_means(script):
    generator = torch.Generator().manual_seed(0)
    one, other = torch.rand(2, 300, 2, generator=generator, dtype=torch.float64)
    one[:200], other[150:] = torch.nan, torch.nan
    mean, low, high = script.interval([one, other])
    torch.testing.assert_close(mean, (one[200:].mean(dim=0) + other[:150].mean(dim=0)) / 2)
    # Images that only one training has are independent.
    errors = (one[200:].var(dim=0) / 100 + other[:150].var(dim=0) / 150).sqrt() / 2
    torch.testing.assert_close(high - low, 2 * 1.96 * errors, rtol=0.1, atol=0)


def trained_once(script, shares, **found):
    sizes = {"stages": ["conv1", "layer1"], "filters": [1, 3]}
    keys = [f"own_domain, {arm}" for arm in script.ARMS]
    return script.Scored(sizes | found, {key: torch.tensor(shares, dtype=torch.float64) for key in keys}, {})


def test_table(script):
    one = trained_once(script, [[0.25, 0.75], [torch.nan, torch.nan], [0.25, 0.75]])
    lines = script.table({"PACS": [one]}, ["own_domain", "few"]).splitlines()
    assert lines[0] == "| reference | score | conv1 | layer1 |"
    assert lines[2] == "|  | share of all filters | 25.0 | 75.0 |"
    assert lines[4] == "| PACS, own domain | z-score | 25.0 (25.0 to 25.0) | 75.0 (75.0 to 75.0) |"
    assert len(lines) == 3 + len(script.ARMS)
    other = trained_once(script, [[0.5, 0.5]] * 3)
    line = script.table({"MNIST": [one, other]}, ["own_domain"]).splitlines()[4]
    assert line.split("|")[3].strip() == "37.5 (37.5 to 37.5); 25.0 to 50.0"


def test_a_training_that_is_not_complete_says_so(script):
    found = {
        "name": "mnist-1", "last": False, "epochs": 2, "epochs_asked": 10, "images": 446, "validation_images": 10_000,
        "history": [{"loss": 0.1, "accuracy": 0.9}, {"loss": 0.2, "accuracy": 0.8}], "misclassified": 379,
        "validation_accuracy": 0.9, "shifted_accuracy": 0.15, "median_loss": {"own_domain": 0.0003, "mistakes": 2.87},
    }  # fmt: skip
    rows = [script.Scored(found | {"epochs_asked": asked}, {}, {}) for asked in (10, 2)]
    lines = script.training_table({"MNIST": rows}).splitlines()
    cells = [cell.strip() for cell in lines[2].strip("|").split("|")]
    assert cells == ["mnist-1", "2 of 10", "1", "90.0", "15.0", "10,000", "446", "379", "0.0003", "2.9"]
    assert lines[3].split("|")[2].strip() == "2"


def test_centre_tap_is_the_same_convolution(script):
    torch.manual_seed(0)
    plain = torch.nn.Conv2d(3, 4, 3, padding=1, bias=False)
    for side in (1, 3):
        maps = torch.randn(2, 3, side, side)
        torch.testing.assert_close(script.centre_tap(plain, maps), plain(maps))


@pytest.mark.usefixtures("small_network")
def test_training_goes_on_where_it_stopped(script, toy_data):
    task = script.digits(toy_data)
    outcomes = []
    for folder, stops in (("once", (2,)), ("twice", (1, 2))):
        (toy_data / folder).mkdir()
        for epochs in stops:
            networks, history = script.trained(task, toy_data / folder, epochs, batch=25)
        outcomes.append((history, networks))
    (history, networks), (again, resumed) = outcomes
    assert len(history) == 2
    assert history == again
    assert list(networks) == list(resumed)
    for name, network in networks.items():
        assert torch.equal(network.fc.weight, resumed[name].fc.weight)


@pytest.mark.usefixtures("small_network")
@pytest.mark.parametrize(("losses", "names"), [((2.0, 1.0), ["mnist"]), ((1.0, 2.0), ["mnist", "mnist, last epoch"])])
def test_the_last_network_is_another_where_the_best_came_before(script, toy_data, losses, names):
    task, work = script.digits(toy_data), toy_data
    script.trained(task, work, 0)
    network = script.resnet18(num_classes=10)
    saved = {"model": network.state_dict(), "history": [{"loss": loss, "accuracy": 0.5} for loss in losses]}
    saved["optimizer"] = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9).state_dict()
    torch.save(saved, work / "mnist.training.pt")
    networks, _ = script.trained(task, work, 2)
    assert list(networks) == names
    assert torch.equal(networks[names[-1]].fc.weight, network.fc.weight) == (len(names) == 2)


def test_small_references_keep_enough_to_fit(script):
    tail = script.UpperTail.of(torch.rand(400, 2), 0.1)
    moments = script.Moments.of(torch.rand(400, 2))
    reference = script.Reference(FilterIndex({"conv1": 2}), moments, Fingerprint({}), "cross_entropy", tail)
    for images, kept in ((400, 40), (100, 22), (30, 15)):
        small = script._of_rows(reference, torch.rand(images, 2))
        assert small.count == images
        assert small.tail.capacity == kept


@pytest.mark.usefixtures("small_network")
@pytest.mark.slow
def test_end_to_end(script, toy_data):
    work = toy_data / "work"
    arguments = ["--data", str(toy_data), "--work", str(work), "--mnist-epochs", "2", "--pacs-epochs", "1"]
    arguments += ["--trainings", "2", "--held-out", "sketch", "--tail", "0.5", "--top", "5", "--batch", "100"]
    arguments += ["--threads", str(torch.get_num_threads())]
    script.main(arguments)
    results = json.loads((work / "depth_bias.json").read_text(encoding="utf-8"))
    assert list(results) == ["mnist-2-epochs", "mnist-1-2-epochs", "pacs-sketch-1-epochs"]
    for result in results.values():
        assert result["stages"] == ["conv1", "layer1", "layer2", "layer3", "layer4"]
        assert result["filters"] == [4] * 5
        assert result["reference_images"]["own_domain"] == [70]
        assert list(result["fewer_ranked"]) == ["own_domain", "few", "own_mistakes", "other_domain"]
        assert list(result["separations"]) == ["held out", "random half"]
    shares = load_file(work / "mnist-1-2-epochs.shares.safetensors")
    assert len(shares) == 16
    for rows in shares.values():
        scored = rows[~rows.isnan().any(dim=1)]
        torch.testing.assert_close(scored.sum(dim=1), torch.ones(len(scored), dtype=torch.float64))
    for picture in ("depth_bias.png", "domain_features.png"):
        assert (work / picture).read_bytes().startswith(b"\x89PNG")
    text = (work / "depth_bias.md").read_text(encoding="utf-8")
    assert text.count("| POT, mle |") == 8
    # What is finished is kept, and trainings are taken as they are: only what was asked for differs.
    more = [*arguments, "--as-trained", "--mnist-epochs", "9", "--trainings", "3"]
    script.main(more)
    assert json.loads((work / "depth_bias.json").read_text(encoding="utf-8")) == results
    assert "| mnist-1 | 2 of 9 |" in (work / "depth_bias.md").read_text(encoding="utf-8")
