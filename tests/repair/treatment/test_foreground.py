import pytest
import torch
from hypothesis import given, settings, strategies as st

from captum_paramsal.errors import InputError
from captum_paramsal.repair import foreground


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 5), st.integers(0, 2**20))
def test_a_margin_reaches_every_pixel_of_a_square_around_the_object(height, width, margin, seed):
    mask = torch.rand(height, width, generator=torch.Generator().manual_seed(seed)) > 0.9
    found = foreground((height, width), masks=[mask], margin=margin)[0]
    rows, columns = torch.arange(height), torch.arange(width)
    expected = torch.zeros(height, width)
    for y, x in mask.nonzero().tolist():
        expected[((rows - y).abs() <= margin)[:, None] & ((columns - x).abs() <= margin)] = 1
    assert torch.equal(found, expected)


@pytest.mark.parametrize(("size", "margin"), [((224, 224), 30), ((64, 96), 9), ((32, 32), 4)])
def test_the_usual_margin_grows_with_the_image(size, margin):
    mask = torch.zeros(size)
    mask[size[0] // 2, size[1] // 2] = 1
    assert foreground(size, masks=mask[None]).sum() == (2 * margin + 1) ** 2


def test_boxes_masks_and_polygons_agree():
    mask = torch.zeros(10, 12)
    mask[2:5, 3:8] = 1
    mask[7:9, 0:2] = 1
    boxes = [[3, 2, 8, 5], [0, 7, 2, 9]]
    polygons = [[(3, 2), (7, 2), (7, 4), (3, 4)], [(0, 7), (1, 7), (1, 8), (0, 8)]]
    expected = foreground((10, 12), masks=[mask], margin=1)
    assert torch.equal(foreground((10, 12), boxes=[boxes], margin=1), expected)
    assert torch.equal(foreground((10, 12), boxes=[torch.tensor(boxes)], margin=1), expected)
    assert torch.equal(foreground((10, 12), polygons=[polygons], margin=1), expected)


def test_one_box_per_image():
    found = foreground((4, 4), boxes=torch.tensor([[0, 0, 1, 1], [2, 2, 4, 4]]), margin=0)
    assert found.sum(dim=(1, 2)).tolist() == [1, 4]


@pytest.mark.parametrize("nothing", [None, []])
@pytest.mark.parametrize("kind", ["boxes", "polygons", "masks"])
def test_an_image_without_annotation_is_foreground_all_over(kind, nothing):
    some = {"boxes": [[1, 1, 2, 2]], "polygons": [[(1, 1), (1, 2), (2, 1)]], "masks": torch.eye(5)}[kind]
    found = foreground((5, 5), **{kind: [some, nothing]}, margin=0)
    assert found[1].all()
    assert not found[0].all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "exactly one of `boxes`, `polygons` and `masks`, got 0"),
        ({"boxes": [None], "masks": [None]}, "got 2"),
        ({"masks": torch.ones(2, 4, 4)}, r"size \(5, 6\), got \(4, 4\) for image 0"),
        ({"masks": []}, "`masks` of at least one image, got none"),
        ({"boxes": [None, [[0, 0, 9, 9]]]}, "Boxes of image 1: .*5 x 6 pixels"),
        ({"boxes": [[[3, 0, 2, 1]]]}, "Boxes of image 0: .*x1 < x2"),
        ({"polygons": [[[(0, 0), (1, 1)]]]}, "three points .* for image 0"),
        (
            {"polygons": [[[(9, 9), (9, 11), (11, 9)]]]},
            "within the image of 5 x 6 pixels, got ones outside for image 0",
        ),
        ({"masks": [None], "margin": -1}, "`margin` to be a whole number of pixels from 0 on, got -1"),
        ({"masks": [None], "margin": 1.5}, "got 1.5"),
    ],
)
def test_annotations_that_are_none(options, said):
    with pytest.raises(InputError, match=said):
        foreground((5, 6), **options)
