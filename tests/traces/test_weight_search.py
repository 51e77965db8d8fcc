"""Weights of a trace that are learned: every trial is the trace that it says, and the succeeding weight is idle."""

import json
from dataclasses import replace
from functools import lru_cache

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn

from captum_paramsal import DiscernibleNeurons, InputError, ParamsalError, SourceError, TargetError, TraceWeights
from captum_paramsal.metrics import iou
from captum_paramsal.traces import WeightSearch

GRID = (0.0, 0.3, 1.0)
TRIALS = 12
EQUAL = TraceWeights(1.0, 1.0, 1.0)


@lru_cache
def network():
    torch.manual_seed(5)
    layers = [nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU()]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)]
    return nn.Sequential(*layers).double().eval()


@lru_cache
def data():
    """Images, classes, and boxes that a trace by other weights than the usual ones finds in some images."""
    images = torch.rand(7, 3, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.arange(7) % 4
    boxes = tracer(TraceWeights(preceding=0.3)).trace(images, labels).boxes()
    return images, labels, boxes.nan_to_num(nan=0) + boxes.isnan() * torch.tensor([0, 0, 1, 1])


def tracer(weights=None):
    return DiscernibleNeurons(network(), weights, places=3)


def search(seed=0, **options):
    images, labels, boxes = data()
    return tracer().fit_weights(
        images, labels, boxes, grid=GRID, seed=seed, show_progress=False, **{"trials": TRIALS, **options}
    )


@lru_cache
def known():
    return search()


def test_every_trial_is_the_trace_that_it_says():
    images, labels, boxes = data()
    order = torch.randperm(7, generator=torch.Generator().manual_seed(0))
    found = known()
    assert list(found.history) == ["current", "preceding"]
    for name, run in found.history.items():
        assert run.values == GRID
        assert len(run.arms) == len(run.rewards) == TRIALS
        for trial, (arm, reward) in enumerate(zip(run.arms, run.rewards, strict=True)):
            one = order[trial % 7]
            weighed = tracer(replace(EQUAL, **{name: GRID[arm]}))
            box = weighed.trace(images[one : one + 1], labels[one : one + 1]).boxes()
            assert reward == float(iou(box, boxes[one : one + 1]) > 0.5)
    rewards = [reward for run in found.history.values() for reward in run.rewards]
    assert 0 < sum(rewards) < len(rewards), "a search in which all trials end alike tests nothing"
    best = {name: run.best for name, run in found.history.items()}
    assert found.weights == TraceWeights(**best, succeeding=1.0)


@pytest.mark.slow
def test_the_same_twice_and_another_for_another_seed():
    first, state = known(), torch.get_rng_state()
    again, other = search(), search(seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert first == again
    assert first.history["current"].rewards != other.history["current"].rewards


def test_the_object_keeps_its_weights_and_settings():
    images, labels, boxes = data()
    own = DiscernibleNeurons(network(), TraceWeights(1, 0.5, 1), top_k=2, linear_top_k=None, places=3)
    before = own.attribute(images, target=labels)
    found = own.fit_weights(images, labels, boxes, grid=GRID, trials=4, show_progress=False)
    assert own.weights == TraceWeights(1, 0.5, 1)
    assert torch.equal(own.attribute(images, target=labels), before)
    # The search traces with the same settings, and with its own weights.
    order = torch.randperm(7, generator=torch.Generator().manual_seed(0))[:4]
    run = found.history["preceding"]
    for trial, arm in enumerate(run.arms):
        one = order[trial : trial + 1]
        weighed = DiscernibleNeurons(network(), TraceWeights(1, GRID[arm], 1), top_k=2, linear_top_k=None, places=3)
        box = weighed.trace(images[one], labels[one]).boxes()
        assert run.rewards[trial] == float(iou(box, boxes[one]) > 0.5)


def test_the_best_of_several_boxes_counts():
    images, labels, boxes = data()
    far = torch.tensor([[0.0, 0.0, 1.0, 1.0]], dtype=torch.float64)
    several = [torch.cat([far, box[None]]) for box in boxes]
    found = tracer().fit_weights(images, labels, several, grid=GRID, trials=TRIALS, show_progress=False)
    assert found.history == known().history


def test_without_labels_the_prediction_is_traced():
    images, _, boxes = data()
    with torch.no_grad():
        predicted = network()(images).argmax(dim=1)
    given_, left_out = (
        tracer().fit_weights(images, target, boxes, grid=GRID, trials=6, show_progress=False)
        for target in (predicted, None)
    )
    assert given_ == left_out


def test_the_old_name_of_the_labels_is_taken_with_a_warning():
    images, labels, boxes = data()
    with pytest.warns(DeprecationWarning, match="`targets` of `fit_weights` is now `labels`"):
        found = tracer().fit_weights(images, targets=labels, boxes=boxes, grid=GRID, trials=4, show_progress=False)
    assert found == search(trials=4)


def test_progress_bar(capfd):
    images, labels, boxes = data()
    tracer().fit_weights(images, labels, boxes, grid=(1.0,), trials=2)
    assert "weights" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grid": ()}, r"got \(\) and 12 trials"),
        ({"trials": 2}, r"got \(0.0, 0.3, 1.0\) and 2 trials"),
        ({"trials": 0}, "and 0 trials"),
        ({"grid": (0.5, -1.0)}, "got TraceWeights.*-1.0"),
        ({"grid": (float("nan"),)}, "got TraceWeights.*nan"),
    ],
)
def test_grids_and_trials_that_are_none(options, message):
    images, labels, boxes = data()
    with pytest.raises(ParamsalError, match=message):
        tracer().fit_weights(
            images, labels, boxes, **{"grid": GRID, "trials": TRIALS, "show_progress": False, **options}
        )


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"boxes": torch.ones(6, 4)}, InputError, r"boxes for each image \(7, at least 1\), got those of 6"),
        ({"boxes": torch.ones(7, 4)}, InputError, "x1 < x2"),
        ({"labels": [0, 1]}, TargetError, r"\b2\b|\(2,\)"),
        ({"images": torch.rand(7, 3, 16, 16).double() * torch.nan}, InputError, "finite"),
    ],
)
def test_what_does_not_go_together(change, error, message):
    images, labels, boxes = data()
    arguments = {"images": images, "labels": labels, "boxes": boxes, **change}
    with pytest.raises(error, match=message):
        tracer().fit_weights(**arguments, grid=GRID, trials=TRIALS, show_progress=False)


def test_saved_and_loaded(tmp_path):
    found, path = known(), tmp_path / "weights.json"
    found.save(path)
    assert WeightSearch.load(path) == found
    assert WeightSearch.load(str(path)).to_table() == found.to_table()
    rows = found.to_table()
    assert len(rows) == 2 * TRIALS
    assert list(rows[0]) == ["weight", "trial", "arm", "value", "reward"]
    assert {row["weight"] for row in rows[TRIALS:]} == {"preceding"}


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", json.dumps({"weights": {"current": 1}, "history": {"current": {"wrong": []}}}), "\x00"],
    ids=["empty", "a list", "no weights", "another history", "no JSON"],
)
def test_what_is_no_search(tmp_path, content):
    path = tmp_path / "weights.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SourceError, match=r"Expected a weight search file, .*weights\.json'"):
        WeightSearch.load(path)
    with pytest.raises(SourceError, match="No such file"):
        WeightSearch.load(tmp_path / "absent.json")


def selected(weights):
    images, labels, _ = data()
    trace = DiscernibleNeurons(network(), weights, top_k=2, places=3).trace(images, labels)
    return {
        name: (found.image.tolist(), found.channel.tolist(), found.y.tolist(), found.x.tolist())
        for name, found in trace.layers.items()
    }, trace


@given(st.floats(0, 4), st.floats(1e-3, 1e3))
@settings(max_examples=12, deadline=None, derandomize=True)
def test_the_succeeding_weight_changes_no_selection(preceding, succeeding):
    plain, trace = selected(TraceWeights(1.0, preceding, 1.0))
    weighed, other = selected(TraceWeights(1.0, preceding, succeeding))
    assert weighed == plain
    assert torch.equal(trace.heatmap(), other.heatmap())
    last = "input"
    torch.testing.assert_close(other.layers[last].score, succeeding * trace.layers[last].score, rtol=1e-9, atol=0)


@given(st.floats(0, 4), st.integers(-8, 8))
@settings(max_examples=10, deadline=None, derandomize=True)
def test_only_the_ratio_of_the_other_two_counts(preceding, power):
    assert selected(TraceWeights(1.0, preceding))[0] == selected(TraceWeights(2.0**power, 2.0**power * preceding))[0]


def test_the_ratio_does_count():
    assert selected(TraceWeights(1.0, 0.0))[0] != selected(TraceWeights(1.0, 1.0))[0]
