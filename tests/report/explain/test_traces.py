"""Traces of both classes of every mistake: data, tiles, and what is said where there are none."""

import json
import re
from dataclasses import replace

import pytest
import torch
from report.explain.small_jobs import tiny_explanation, tiny_images, tiny_net
from report.pages import Page
from torch import nn

from captum_paramsal.attr import DiscernibleNeurons
from captum_paramsal.metrics import iou
from captum_paramsal.report import ExplainSettings, Explanation, explain
from captum_paramsal.report.explain.page import explain_page
from captum_paramsal.report.explain.trace_records import ClassTrace, MistakeTraces, Tracing
from captum_paramsal.sources import LabelledTensors


def _drawn(page):
    return [one for one in page.all("div") if "the trace of" in one.get("aria-label", "")]


def _surest(found):
    return sorted(found.mistakes, key=lambda one: -one.confidence)


def test_boxes_pixels_and_overlap_are_those_of_the_method(found):
    batch = next(tiny_images().batches(24))
    wrong = [one.position for one in found.mistakes]
    method = DiscernibleNeurons(tiny_net())
    predicted = torch.tensor([one.predicted for one in found.mistakes])
    label, prediction = method.trace(batch.inputs[wrong], batch.labels[wrong]), method.trace(batch.inputs[wrong])
    assert prediction.labels.tolist() == predicted.tolist()
    overlap = iou(label.boxes(), prediction.boxes()).tolist()
    for image, one in enumerate(found.mistakes):
        for said, trace in ((one.traces.label, label), (one.traces.predicted, prediction)):
            assert list(said.box) == trace.boxes()[image].tolist()
            assert said.pixels == len(trace.points(image)) > 0
        assert one.traces.iou == overlap[image]
    assert found.tracing == Tracing("DiscernibleNeurons", (12, 12))
    assert any(one.traces.label != one.traces.predicted for one in found.mistakes)


@pytest.mark.usefixtures("undrawn")
def test_batch_size_changes_no_trace(found):
    assert [one.traces for one in tiny_explanation(batch_size=24).mistakes] == [one.traces for one in found.mistakes]


@pytest.mark.usefixtures("undrawn")
def test_only_mistakes_with_a_card_are_traced():
    found = tiny_explanation(cards=2)
    assert {one.position for one in found.mistakes if one.traces} == {one.position for one in _surest(found)[:2]}
    assert set(found.trace_maps) == {one.position for one in _surest(found)[:2]}


def test_data_of_a_mistake(found):
    content = json.loads(json.dumps(found.to_dict()))
    assert content["traces"] == {"method": "DiscernibleNeurons", "size": [12, 12], "refused": ""}
    said = content["mistakes"][0]["traces"]
    assert set(said) == {"label", "predicted", "iou"}
    assert set(said["label"]) == {"pixels", "box"}
    assert said["label"]["box"] == list(found.mistakes[0].traces.label.box)
    assert Explanation.from_dict(content) == found


def test_tiles_show_dots_and_box_of_both_classes(found, page):
    drawn = _drawn(page)
    assert len(drawn) == 2 * 6
    assert {svg["viewbox"] for svg in page.all("svg") if svg.get("class") == "over"} == {"0 0 12 12"}
    first = _surest(found)[0].traces
    paths = [path for path in page.all("path") if path.get("id", "").startswith("dots-")]
    boxes = [box for box in page.all("rect") if box.get("class") == "box"]
    for place, said in enumerate((first.label, first.predicted)):
        assert paths[place]["d"].count("h0") == said.pixels
        x1, y1, x2, y2 = said.box
        assert [float(boxes[place][key]) for key in ("x", "y", "width", "height")] == [x1, y1, x2 - x1, y2 - y1]
    assert page.text.count("trace of") == 2 * 6
    assert "not what caused the mistake" in page.text
    assert f"The boxes overlap by {100 * first.iou:.0f} % (IoU)" in page.text


def test_dots_stand_in_the_middle_of_their_pixels(found, page):
    first = _surest(found)[0]
    label, _ = found.trace_maps[first.position]
    (path, *_) = (path["d"] for path in page.all("path") if path.get("id", "").startswith("dots-"))
    x, y, places = 0, 0, []
    for step, right, down in re.findall(r"([Mm])(-?\d+) (-?\d+)h0", path):
        x, y = (int(right), int(down)) if step == "M" else (x + int(right), y + int(down))
        places.append((y, x))
    assert tuple(places) == label.points
    assert {one["transform"] for one in page.all("g") if "transform" in one} == {"translate(.5 .5)"}


@pytest.mark.usefixtures("undrawn")
def test_boxes_that_do_not_touch(found):
    apart = MistakeTraces(ClassTrace(1, (0.0, 0.0, 1.0, 1.0)), ClassTrace(1, (5.0, 5.0, 6.0, 6.0)), 0.0)
    alone = replace(found, mistakes=(replace(found.mistakes[0], traces=apart),), neighbors={})
    page = Page(explain_page(alone))
    assert "The boxes do not overlap." in page.text


def test_traces_can_be_left_out():
    without = tiny_explanation(traces=False)
    assert (without.tracing, without.trace_maps, without.neurons) == (None, {}, {})
    assert all(one.traces is None for one in without.mistakes)
    assert (without.context["parameters"]["traces"], without.to_dict()["traces"]) == (False, None)
    page = Page(explain_page(without))
    assert "A trace" not in page.text
    assert "trace of" not in page.text
    assert "Layer by layer" not in page.text
    assert len(page.all("img")) == 6


@pytest.mark.usefixtures("undrawn")
def test_traces_without_pixel_maps():
    page = Page(explain_page(tiny_explanation(pixels=False)))
    assert (len(page.all("img")), len(_drawn(page))) == (2 * 6, 2 * 6)
    assert page.text.count("true class") >= 6


class _Hesitant(nn.Module):
    """Its forward pass depends on the values that run through it."""

    def __init__(self):
        super().__init__()
        self.net = tiny_net()

    def forward(self, x):
        scores = self.net(x)
        return scores if scores.sum() < 1e9 else -scores


class _Cumulative(nn.Module):
    """An operation that nobody has a trace-back rule for."""

    def forward(self, x):
        return torch.cumsum(x, dim=1)


def _unruly():
    model = tiny_net()
    model.insert(2, _Cumulative())
    return model


@pytest.mark.usefixtures("undrawn")
def test_a_model_whose_way_depends_on_values_is_traced_the_way_it_went():
    settings = ExplainSettings(top_k=4, show_progress=False)
    hesitant, plain = (explain(model, tiny_images(), settings=settings) for model in (_Hesitant(), tiny_net()))
    assert [one.traces for one in hesitant.mistakes] == [one.traces for one in plain.mistakes]
    assert hesitant.mistakes[0].traces is not None


def test_a_model_that_cannot_be_traced_is_told_once(tmp_path):
    found = explain(_unruly(), tiny_images(), settings=ExplainSettings(top_k=4, exemplars=0, show_progress=False))
    assert found.mistakes
    assert "cumsum" in found.tracing.refused
    assert found.tracing.size is None
    assert all(one.traces is None for one in found.mistakes)
    page = Page(explain_page(found))
    assert page.text.count("There are no traces of the evidence") == 1
    assert page.text.count(found.tracing.refused) == 1
    assert "A trace" not in page.text
    assert _drawn(page) == []
    assert len(page.all("img")) == len(found.mistakes)
    assert Explanation.load(found.write(tmp_path).parent) == found


def _one_sided():
    """A network without positive evidence for class 2, and images of that class."""
    model = tiny_net()
    with torch.no_grad():
        model[6].weight.abs_()
        model[6].weight[2] *= -1000
        model[6].bias[:] = torch.tensor([0.0, 0.0, -9.0])
    return model, LabelledTensors(tiny_images()._images, torch.full((24,), 2), lambda x: x - 0.5)


def test_an_empty_trace_is_told_and_not_drawn():
    model, images = _one_sided()
    found = explain(model, images, settings=ExplainSettings(top_k=4, show_progress=False))
    assert len(found.mistakes) == 24
    for one in found.mistakes:
        assert one.traces.label == ClassTrace(0, None)
        assert one.traces.predicted.pixels > 0
        assert one.traces.iou is None
        empty, drawn = found.trace_maps[one.position]
        assert empty is None
        assert drawn is not None
    assert found.neurons == {}
    page = Page(explain_page(found))
    assert page.text.count("empty trace") == 24
    assert len(_drawn(page)) == 24
    assert "overlap by" not in page.text
    assert "do not overlap" not in page.text
    assert Explanation.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_images_that_cannot_be_shown_are_traced_all_the_same():
    images = tiny_images()
    images.picture = lambda _position: None
    found = tiny_explanation(images=images)
    assert (found.trace_maps, found.neurons) == ({}, {})
    assert all(one.traces.label.pixels for one in found.mistakes)
    page = Page(explain_page(found))
    assert _drawn(page) == []
    assert "empty trace" not in page.text
    assert page.text.count("trace of") == 2 * 6


def test_inputs_that_are_no_images_have_no_traces():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(2, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(6, 3))
    signals = LabelledTensors(torch.rand(12, 2, 20), torch.arange(12) % 3)
    found = explain(model, signals, settings=ExplainSettings(top_k=2, show_progress=False))
    assert "images (N, C, H, W)" in found.tracing.refused
    assert "There are no traces" in Page(explain_page(found)).text
