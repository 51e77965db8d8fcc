"""The script of the page that compares methods on real mistakes, on a small network."""

import importlib.util
import sys

import pytest
import torch
from comparison.small_runs import small_run
from docs.pages import DOCS
from metrics.small_cases import some_images


@pytest.fixture(scope="module")
def script():
    names = ("photos", "comparison_evidence")
    for name in names:
        path = DOCS / "evidence" / f"{name.removesuffix('_evidence')}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    yield sys.modules["comparison_evidence"]
    for name in names:
        del sys.modules[name]


@pytest.fixture(scope="module")
def found():
    metrics = ["infidelity", "deletion", "insertion", "sensitivity", "model_randomisation", "pointing_game"]
    boxes = torch.tensor([[1.0, 1.0, 5.0, 6.0]]).expand(6, 4)
    return small_run(
        ["grad_cam", "integrated_gradients", "random"], some_images(6)[0], metrics=metrics, boxes=boxes, keep=1
    )


def test_as_many_mistakes_as_right_answers_in_turn(script):
    wrong = torch.tensor([False, True, False, False, True, True, False])
    assert script.picked(wrong, 10).tolist() == [1, 0, 4, 2, 5, 3]
    assert script.picked(wrong, 2).tolist() == [1, 0, 4, 2]


def test_tables_have_a_row_for_each_method_with_a_score(script, found):
    lines = script.table(found, ("deletion", "pointing game")).splitlines()
    assert lines[0] == "| method | deletion ↓ | pointing game ↑ |"
    names = [line.split("|")[1].strip() for line in lines[2:]]
    assert names == ["grad_cam", "integrated_gradients", "random", "random order", "centre pixel", "random pixel"]
    row = next(row for row in found.table() if (row["method"], row["metric"]) == ("random", "deletion"))
    assert f"| {row['mean']:.3f} ({row['low']:.3f} to {row['high']:.3f}) |" in lines[4]


def test_pairs_and_what_is_left_out(script, found):
    lines = script.differences(found, "integrated_gradients", ("deletion",)).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["grad_cam", "random"]
    scores = dict(zip(found.methods, found.column("deletion"), strict=True))
    for line in lines[2:]:
        gap = (scores[line.split("|")[1].strip()] - scores["integrated_gradients"]).nanmean().item()
        assert f"| {gap:+.3f} (" in line
    assert script.left_out(found).startswith("Degenerate maps: ")


@pytest.mark.slow
def test_everything_is_written(script, found, tmp_path):
    mistakes = torch.arange(6) % 2 == 0
    script.write(found, mistakes, small_run(["saliency"], metrics=["sparsity"]), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"comparison.md", "comparison.png", "agreement.png"}
    text = (tmp_path / "comparison.md").read_text("utf-8")
    assert "## faithful, mistakes: 3 photos" in text
    assert "## price" in text
