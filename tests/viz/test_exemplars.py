"""Filters beside what they see."""

import pytest
import torch
from matplotlib.colors import to_hex

from captum_paramsal import Filter, viz
from captum_paramsal.errors import InputError
from captum_paramsal.reference import Exemplars
from captum_paramsal.viz import PALETTE


def exemplars(labels, index=0):
    count = len(labels)
    item = Filter("block.conv", index)
    classes = dict.fromkeys(range(10), 1000)
    return Exemplars(item, tuple(range(count)), ("",) * count, labels, (1.0,) * count, ((0, 0),) * count, 0.25, classes)


CROPS = [torch.rand(3, 8, 6), torch.randn(1, 5, 5), torch.rand(3, 4, 8), torch.rand(3, 2, 2)]


def test_each_filter_with_its_crops_and_classes():
    rows = [exemplars((1, 1, 0, 1)), exemplars((0, 1, 2, -1), index=12)]
    axes = viz.exemplar_grid(rows, [CROPS, CROPS[:3]], names=["$cat", "dog"], level=0.05, title="filters")
    assert len(axes.images) == 7
    words = [text.get_text() for text in axes.texts]
    named = ["block.conv[0]", "active in 25 %", "dog, 3 of 4", "dog", "dog", r"\$cat", "dog"]
    assert words == [*named, "block.conv[12]", "active in 25 %", r"\$cat", "dog", "class 2"]
    blue = [text.get_text() for text in axes.texts if to_hex(text.get_color()).upper() == PALETTE[0]]
    assert blue == ["dog, 3 of 4", "dog", "dog", "dog"]
    assert axes.get_title(loc="left") == "filters"


@pytest.mark.parametrize(
    ("rows", "crops", "words"),
    [
        ([], [], "at least one filter and a list of crops for each, got 0 and 0"),
        ([exemplars((0, 1))], [], "got 1 and 0"),
        ([exemplars((0, 1))], [CROPS[:3]], r"from 1 to 2 crops for block.conv\[0\], one of each exemplar, got 3"),
        ([exemplars((0, 1))], [[]], "got 0"),
    ],
)
def test_what_is_refused(rows, crops, words):
    with pytest.raises(InputError, match=words):
        viz.exemplar_grid(rows, crops)
