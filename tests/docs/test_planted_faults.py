"""The planted-fault benchmark on a small network, and the tables of its page."""

import importlib.util
import json
import sys

import pytest
import torch
from docs.pages import DOCS
from docs.scripts import loaded
from metrics.small_cases import small_model, some_images

from captum_paramsal.profiles import FilterProfile

ROOT = DOCS.parent


@pytest.fixture(scope="module")
def benchmark():
    name = "planted_faults_benchmark"
    spec = importlib.util.spec_from_file_location(name, ROOT / "tests" / "benchmarks" / "planted_faults.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules[name]


@pytest.fixture(scope="module")
def page():
    with loaded("cifar10", "results", "planted_faults") as found:
        yield found["planted_faults"]


@pytest.fixture(scope="module")
def studied(benchmark, tmp_path_factory):
    """Five faults of a small network that gets all its images right."""
    model, (images, _) = small_model(dtype=torch.float32), some_images(460)
    images = images.float()
    with torch.no_grad():
        model[-1].bias -= model(images).mean(dim=0)
        labels = model(images).argmax(dim=1)
    sizes = {"singles": 3, "together": 9, "attributed": 2, "usual": 20}
    subject = benchmark.subject(model, images, labels, 220, sizes)
    folder = tmp_path_factory.mktemp("faults") / "resnet20"
    before = {name: value.clone() for name, value in model.state_dict().items()}
    benchmark.study(subject, folder, faults=5, least=4)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    return subject, folder


def test_ranks_share_ties(benchmark):
    scores = torch.tensor([[3.0, 1.0, 2.0, 2.0], [0.0, 0.0, 0.0, 0.0]])
    assert benchmark.ranks_of(scores, 2) == [2.5, 2.5]
    assert benchmark.ranks_of(scores, 0) == [1.0, 2.5]


def test_faults_do_what_they_are_called(benchmark):
    weight = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    made = {kind: benchmark.Fault(0, kind, 1).damaged(weight) for kind in benchmark.KINDS}
    assert torch.equal(made["scale"], 4 * weight)
    assert torch.equal(made["sign"], -weight)
    assert not made["zero"].any()
    assert ((made["noise"] - weight).std() / weight.std()).item() == pytest.approx(2, rel=0.5)


@pytest.mark.slow
def test_every_fault_is_ranked_by_every_method(studied):
    subject, folder = studied
    rows = [json.loads(line) for line in (folder / "faults.jsonl").read_text().splitlines()]
    counted = [row for row in rows if "ranks" in row]
    assert len(counted) == 5
    filters = FilterProfile(subject.model).filters
    for row in counted:
        assert row["mistakes"] >= 4
        assert str(filters[row["place"]]) == f"{row['layer']}[{row['index']}]"
        for name, ranks in row["ranks"].items():
            assert all(1 <= rank <= len(filters) for rank in ranks)
            most = 2 if name in {"one: conductance", "one: gradient x activation"} else 3
            assert len(ranks) == (1 if name.startswith("all") else min(most, row["mistakes"]))


@pytest.mark.slow
def test_an_interrupted_study_goes_on(benchmark, studied):
    subject, folder = studied
    before = (folder / "faults.jsonl").read_text()
    lines = before.splitlines(keepends=True)
    (folder / "faults.jsonl").write_text("".join(lines[:-1]))
    benchmark.study(subject, folder, faults=5, least=4)
    assert json.loads((folder / "faults.jsonl").read_text().splitlines()[-1]) == json.loads(lines[-1])


@pytest.mark.slow
def test_tables_and_figure(page, studied, monkeypatch):
    subject, folder = studied
    monkeypatch.setattr(page, "LAYERS", {"resnet20": lambda: subject.filters.layers})
    page.main(["--work", str(folder.parent)])
    text = (folder.parent / "planted_faults.md").read_text()
    assert "## resnet20: 5 faults" in text
    found = page.load(folder)
    share = page.column(found, "all: set saliency", "hit@10").mean().item()
    assert f"| set saliency | all | {100 * page.column(found, 'all: set saliency', 'hit@1').mean():.1f} (" in text
    assert 0 <= share <= 1
    assert (folder.parent / "planted_faults.png").read_bytes().startswith(b"\x89PNG")
