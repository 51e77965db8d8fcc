import re
from importlib import import_module
from types import SimpleNamespace

import pytest
import torch
from report.compare.small_comparisons import small_comparison, small_images, small_net

from captum_paramsal.report.compare import duration as comparison_time
from captum_paramsal.report.compare.duration import announcement, seconds_by_method

IMAGES = [*torch.rand(10, 3, 12, 12, generator=torch.Generator().manual_seed(0))]


@pytest.mark.parametrize(
    ("metrics", "maps", "passes"),
    [
        (["sparsity"], 1, 0),
        (["sensitivity", "infidelity"], 1 + 5, 0),
        (["deletion", "insertion", "model_randomisation"], 1 + 5, 2 * 21),
        (["road", "irof"], 1, 2 * 9 + 100),
    ],
)
def test_maps_and_passes_are_counted(monkeypatch, metrics, maps, passes):
    asked = []

    def measured(methods, _, images, **options):
        asked.append((methods, len(images), options["keep"]))
        scores = torch.tensor([[2.0], [0.5], [float("nan")], [7.0]])
        return SimpleNamespace(column={"seconds": scores}.__getitem__)

    monkeypatch.setattr(comparison_time, "compare", measured)
    monkeypatch.setattr(comparison_time, "_seconds_of_a_pass", lambda *_: 0.25)
    methods = ["saliency", "grad_cam", "random"]
    found = seconds_by_method(methods, metrics, small_net(), IMAGES, batch_size=4)
    own = [10 * (maps * each + passes * 0.25) for each in (2.0, 0.5, 0.0)]
    assert found == dict(zip(methods, own, strict=True))
    assert asked == [(methods, 1, 0)]


def test_measured():
    found = seconds_by_method(["saliency", "random"], ["sensitivity", "deletion"], small_net(), IMAGES)
    assert 0 < found["random"] < found["saliency"] < 60


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        ({"a": 100.0}, ""),
        ({"a": 600.0}, "9 images take at least 10 minutes on this machine."),
        ({"a": 600.0, "b": 1800.0}, "9 images take at least 40 minutes .*, 75 % of it for b, the slowest method."),
        ({"a": 36000.0}, "at least 10 hours"),
    ],
)
def test_announcement(seconds, words):
    told = announcement(seconds, 9)
    assert re.search(words, told)
    assert bool(told) == bool(words)


@pytest.mark.parametrize("shown", [True, False])
def test_said_before_it_starts(capsys, monkeypatch, tmp_path, shown):
    run = import_module("captum_paramsal.report.compare.run")
    monkeypatch.setattr(run, "seconds_by_method", lambda *_, **__: {"saliency": 7200.0})
    settings = {"methods": ["saliency"], "metrics": ["sparsity"], "shown": 0, "show_progress": shown}
    small_comparison(small_images(2), checkpoint=tmp_path / "checkpoint", **settings)
    assert ("2 images take at least 120 minutes" in capsys.readouterr().err) == shown
    small_comparison(small_images(2), checkpoint=tmp_path / "checkpoint", **settings)
    assert "at least" not in capsys.readouterr().err
