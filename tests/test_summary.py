"""What results print: a few lines, and the same as an escaped table in notebooks."""

import re
from io import BytesIO

import pytest
import torch
from torch import nn

from captum_paramsal import (
    CNNFixations,
    DiscernibleNeurons,
    FewSamplesWarning,
    InputSpaceSaliency,
    ModelDoctor,
    ParameterSaliency,
    POTSaliency,
    Reference,
    compare,
)
from captum_paramsal.summary import Summary, described, png_of

IMAGES = torch.rand(60, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(60) % 3


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(5, 3),
    ).eval()  # fmt: skip


@pytest.fixture(scope="module")
def printed(model):
    reference = Reference.fit(model, [(IMAGES, LABELS)], tail=0.5, show_progress=False)
    doctor = ModelDoctor(model, "2", noise_samples=1)
    predicted = model(IMAGES).argmax(1)
    with pytest.warns(FewSamplesWarning):
        diagnosis = doctor.fit([(IMAGES, predicted)], confidence=0.0, minimum=1, show_progress=False)
    saliency = ParameterSaliency(model, reference)
    return {
        "Reference": reference,
        "Diagnosis": diagnosis,
        "Findings": doctor.diagnose(IMAGES[:9], predicted[:9], mistakes_only=False),
        "Trace": DiscernibleNeurons(model).trace(IMAGES[:3]),
        "Comparison": compare(["saliency"], model, IMAGES[:2], metrics=["sparsity"], show_progress=False),
        "ParameterSaliency": saliency,
        "POTSaliency": POTSaliency(model, reference),
        "InputSpaceSaliency": InputSpaceSaliency(saliency),
        "ModelDoctor": doctor,
        "CNNFixations": CNNFixations(model),
        "DiscernibleNeurons": DiscernibleNeurons(model),
    }


def test_a_few_short_lines(printed):
    for name, result in printed.items():
        lines = repr(result).splitlines()
        assert lines[0] == name
        assert 2 <= len(lines) <= 20, name
        assert max(map(len, lines)) <= 120, name
        assert str(result) == repr(result)
        assert not re.search(r"0x[0-9a-f]{6}|tensor\(", repr(result)), name


def test_the_table_says_the_same(printed):
    for name, result in printed.items():
        html = result._repr_html_()
        assert f"<caption>{name}</caption>" in html
        assert html.count("<tr>") == len(repr(result).splitlines()) - 1


def test_what_is_not_ours_is_escaped():
    assert "<script>" not in Summary("<script>", {"<script>": "<script>"}).html


def test_long_things_are_cut():
    assert len(described("a" * 1000)) <= 90
    assert described([]) == "none"
    assert "\n" not in described("a\nb")
    assert described(list(range(1000))) == "1000: 0, 1, 2, ..."


def test_a_method_prints_without_a_run(model):
    calls = []
    with torch.no_grad():
        handle = model.register_forward_hook(lambda *_: calls.append(1))
        methods = (ParameterSaliency(model), CNNFixations(model), InputSpaceSaliency(ParameterSaliency(model)))
        before = len(calls)
        assert all(map(repr, methods))
        handle.remove()
    assert len(calls) == before


@pytest.mark.parametrize(("name", "count"), [("Trace", 3), ("Comparison", 1), ("Reference", 0)])
def test_maps_are_shown_in_notebooks_and_are_small(printed, name, count):
    html = printed[name]._repr_html_()
    assert html.count("data:image/png;base64,") == count
    assert len(html) < 100_000


@pytest.mark.parametrize("size", [(1, 1), (9, 5), (300, 97), (1000, 1000)])
def test_pictures_of_maps(size):
    Image = pytest.importorskip("PIL.Image")
    values = torch.zeros(size)
    values[-1, 0] = 2.0
    data = png_of(values)
    picture = Image.open(BytesIO(data))
    assert max(picture.size) <= 96
    assert picture.size[0] >= picture.size[1] * size[1] / size[0] - 1
    assert picture.getpixel((0, picture.size[1] - 1)) == 0
    assert size == (1, 1) or picture.getpixel((picture.size[0] - 1, 0)) == 255
    assert len(png_of(torch.rand(size))) < 12_000


def test_a_map_of_nothing_is_white():
    Image = pytest.importorskip("PIL.Image")
    for values in (torch.zeros(3, 3), torch.full((3, 3), torch.nan), -torch.ones(3, 3)):
        assert set(Image.open(BytesIO(png_of(values))).tobytes()) == {255}
