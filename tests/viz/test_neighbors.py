"""Mistakes beside their neighbours."""

import pytest
import torch
from matplotlib.colors import to_hex

from captum_paramsal import viz
from captum_paramsal.errors import InputError
from captum_paramsal.viz import PALETTE

PICTURES = [torch.rand(3, 8, 6), torch.randn(1, 5, 5), torch.rand(3, 4, 8)]
GIVEN = {
    "pictures": PICTURES,
    "query": [2, 0],
    "neighbors": [[0, 1], [1, -1]],
    "similarity": [[0.9, -0.25], [0.5, 0.0]],
    "labels": [0, 1, 0],
    "predicted": [1, 1, 1],
}


def test_every_picture_has_its_classes_and_its_similarity():
    axes = viz.neighbor_grid(**GIVEN, names=["$cat", "dog"], title="nearest")
    words = [text.get_text() for text in axes.texts]
    # The place of -1 stays empty.
    assert words == [
        *(r"\$cat", "as dog"),
        *(r"\$cat", "as dog", "0.90"),
        *("dog", "as dog", "-0.25"),
        *(r"\$cat", "as dog"),
        *("dog", "as dog", "0.50"),
    ]
    assert len(axes.images) == 5
    colors = [to_hex(text.get_color()).upper() for text in axes.texts if text.get_text() == "as dog"]
    wrong, right = PALETTE[1], PALETTE[0]
    assert colors == [wrong, wrong, right, wrong, right]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["image", "nearest", "2."]
    first, second = (image.get_extent() for image in axes.images[:2])
    assert first[1] <= 1 <= second[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"query": [2]}, r"\(2, 2\) and \(2, 2\) for 1 places"),
        ({"similarity": [[0.9], [0.5]]}, r"\(2, 2\) and \(2, 1\)"),
        ({"neighbors": torch.zeros(2, 0), "similarity": torch.zeros(2, 0)}, "k of at least 1"),
        ({"labels": [0, 1]}, r"\(3,\), one for each picture, got \(2,\) and \(3,\)"),
        ({"neighbors": [[0, 3], [1, 1]]}, "from 0 to 2 .* got 0 to 3"),
        ({"query": [-1, 0]}, "got -1 to 1"),
        ({"neighbors": [[0.5, 1.0], [1.0, 1.0]]}, "whole numbers"),
        ({"pictures": []}, r"`labels` and `predicted` \(0,\)"),
    ],
)
def test_what_is_refused(change, words):
    with pytest.raises(InputError, match=words):
        viz.neighbor_grid(**{**GIVEN, **change})
