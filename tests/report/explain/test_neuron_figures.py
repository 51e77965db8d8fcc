"""The neurons of the surest mistakes, layer by layer, for both classes."""

from dataclasses import replace

import pytest
import torch
from report.explain.small_jobs import tiny_explanation
from report.pages import Page
from torch import nn

from captum_paramsal.attr import DiscernibleNeurons
from captum_paramsal.report.explain.neuron_figures import draw_neurons
from captum_paramsal.report.explain.page import explain_page

IMAGE = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))


def _traces(model, targets=(0, 1)):
    method = DiscernibleNeurons(model)
    return tuple(method.trace(IMAGE[None] - 0.5, target) for target in targets)


def _deep(layers):
    torch.manual_seed(0)
    convolutions = [nn.Sequential(nn.Conv2d(3 if i == 0 else 4, 4, 3, padding=1), nn.ReLU()) for i in range(layers)]
    model = nn.Sequential(*convolutions, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    with torch.no_grad():
        for weight in model.parameters():
            weight.abs_()  # no layer without positive evidence
    return model


@pytest.fixture(scope="module")
def found():
    return tiny_explanation()


def test_both_classes_are_drawn_with_the_same_layers():
    model = _deep(2)
    traces = _traces(model)
    figures = draw_neurons(traces, 0, ("cat & dog", "<b>fox</b>"), IMAGE, "n-")
    assert (figures.shown, figures.layers) == (5, 5)
    for drawing, trace in ((figures.label, traces[0]), (figures.predicted, traces[1])):
        for name in trace.layers:
            assert f">{name}</text>" in drawing
        assert f"{len(trace.points(0))} of 16 x 16 pixels" in drawing
    page = Page(figures.label + figures.predicted)
    label, prediction = page.all("svg")
    assert label["aria-label"].startswith(
        "Neurons that carried most of the score of cat & dog, layer by layer: 1 in output"
    )
    assert "<b>fox</b>" in prediction["aria-label"]
    assert "cat & dog (100 %)" in page.text
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_of_a_deep_network_a_dozen_layers_from_end_to_end():
    traces = _traces(_deep(20))
    figures = draw_neurons(traces, 0, ("cat", "dog"), IMAGE, "n-")
    reached = [name for name in traces[0].layers if any(len(trace.layers[name]) for trace in traces)]
    assert (figures.shown, figures.layers) == (min(12, len(reached)), len(reached))
    assert figures.layers > 12
    assert ">output</text>" in figures.label
    assert ">input</text>" in figures.label


def test_the_surest_mistakes_have_figures(found):
    surest = sorted(found.mistakes, key=lambda one: -one.confidence)[:2]
    assert set(found.neurons) == {one.position for one in surest}
    page = Page(explain_page(found))
    details = page.all("details")
    assert [one["id"] for one in details] == ["neurons-of-1", "neurons-of-2"]
    assert [one for one in details if "open" in one] == details[:1]
    assert page.text.count("Layer by layer") == 1 + 1 + 2


def test_layers_left_out_are_counted(found):
    assert " layers</span></summary>" not in explain_page(found)
    first = next(iter(found.neurons))
    more = {first: replace(found.neurons[first], shown=12, layers=27)}
    assert "12 of 27 layers" in Page(explain_page(replace(found, neurons=more))).text


def test_paths_are_short():
    drawing = draw_neurons(_traces(_deep(2)), 0, ("cat", "dog"), IMAGE, "n-").label
    numbers = [word for path in Page(drawing).all("path") for word in path["d"].split() if "." in word]
    assert numbers
    assert max(len(number.partition(".")[2]) for number in numbers) == 2
