"""What people marked comes back as masks: files of labelme and COCO, and what is refused."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from sources.annotation_files import coco, labelme, labelme_shape, painted
from sources.photo_files import save_photo

from captum_paramsal.errors import SourceError
from captum_paramsal.metrics import covered
from captum_paramsal.sources import Annotations, ClassNames, LabelledPhotos, LabelledTensors, Preprocessing
from captum_paramsal.sources.boxes import boxes_as_seen, mask_of

SIZE = (12, 10)  # width and height
SQUARE = [[2, 3], [6, 3], [6, 7], [2, 7]]


def expected(x1, y1, x2, y2):
    mask = torch.zeros(SIZE[1], SIZE[0], dtype=torch.bool)
    mask[y1 : y2 + 1, x1 : x2 + 1] = True
    return mask


def mask_in(folder, name="a.png"):
    (mask,) = Annotations.read(folder).masks([name], (SIZE[1], SIZE[0]))
    return mask


@pytest.mark.parametrize(
    "shape",
    [
        labelme_shape(SQUARE),
        labelme_shape([[2, 3], [6, 7]], "rectangle"),
        labelme_shape([[6, 7], [2, 3]], "rectangle"),
        labelme_shape(SQUARE, "rectangle"),
        {"label": "old", "points": SQUARE, "line_color": None, "fill_color": None},  # of labelme 3
        painted((2, 3), np.ones((5, 5), dtype=bool)),
    ],
    ids=["polygon", "rectangle", "from below", "four corners", "without a type", "painted"],
)
def test_shapes_of_labelme(tmp_path, shape):
    labelme(tmp_path / "a.json", "a.png", SIZE, shape)
    assert torch.equal(mask_in(tmp_path), expected(2, 3, 6, 7))


def test_a_circle_of_labelme(tmp_path):
    labelme(tmp_path / "a.json", "big.png", (200, 100), labelme_shape([[90, 50], [90, 20]], "circle"))
    (mask,) = Annotations.read(tmp_path).masks(["big.png"], (100, 200))
    rows, columns = torch.meshgrid(torch.arange(100) + 0.5, torch.arange(200) + 0.5, indexing="ij")
    distance = ((rows - 50) ** 2 + (columns - 90) ** 2).sqrt()
    assert mask[distance < 29].all()
    assert not mask[distance > 32].any()


def test_several_shapes_count_together(tmp_path):
    labelme(tmp_path / "a.json", "a.png", SIZE, labelme_shape(SQUARE), labelme_shape([[8, 0], [9, 1]], "rectangle"))
    assert torch.equal(mask_in(tmp_path), expected(2, 3, 6, 7) | expected(8, 0, 9, 1))


@pytest.mark.parametrize(
    "keys",
    [
        {"segmentation": [[2, 3, 6, 3, 6, 7, 2, 7]]},
        {"segmentation": [], "bbox": [2, 3, 4, 4]},
        {"segmentation": [[2, 3, 6, 3, 6, 5, 2, 5], [2, 5, 6, 5, 6, 7, 2, 7]]},
    ],
    ids=["polygon", "box alone", "two parts"],
)
def test_segments_of_coco(tmp_path, keys):
    coco(tmp_path / "annotations" / "instances_default.json", [("a.png", *SIZE), ("b.png", *SIZE)], [(0, keys)])
    drawn = Annotations.read(tmp_path)
    masks = drawn.masks(["b.png", "a.png"], (SIZE[1], SIZE[0]))
    assert masks[0] is None
    assert torch.equal(masks[1], expected(2, 3, 6, 7))
    assert str(drawn) == f"1 of 2 pictures annotated (50%) in '{tmp_path}'"
    one_file = Annotations.read(tmp_path / "annotations" / "instances_default.json")
    assert torch.equal(one_file.masks(["a.png"], (10, 12))[0], masks[1])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools with NumPy 2
@pytest.mark.parametrize("compressed", [True, False])
def test_run_lengths_of_coco(tmp_path, compressed):
    mask_tools = pytest.importorskip("pycocotools.mask")
    mask = np.asfortranarray(expected(2, 3, 6, 7).numpy().astype(np.uint8))
    coded = mask_tools.encode(mask)
    flat = mask.flatten(order="F")
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [2]]).astype(int)))
    counts = coded["counts"].decode() if compressed else np.diff(np.concatenate([[0], edges])).tolist()
    keys = {"segmentation": {"size": [SIZE[1], SIZE[0]], "counts": counts}, "iscrowd": 1}
    coco(tmp_path / "a.json", [("a.png", *SIZE)], [(0, keys)])
    assert torch.equal(mask_in(tmp_path), expected(2, 3, 6, 7))


def test_run_lengths_without_their_library(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pycocotools", None)
    keys = {"segmentation": {"size": [SIZE[1], SIZE[0]], "counts": "abc"}}
    coco(tmp_path / "a.json", [("a.png", *SIZE)], [(0, keys)])
    with pytest.raises(SourceError, match=r"'a.json', annotation 1, got a run-length coded mask, .*pip install"):
        Annotations.read(tmp_path)


@pytest.mark.parametrize(
    "picture", ["a.png", "../photos/cats/a.png", "..\\photos\\cats\\a.png", "/home/her/cats/a.png"]
)
def test_names_of_pictures(tmp_path, picture):
    """Beside the photo, in a folder like it, or from somewhere else: its end tells."""
    labelme(tmp_path / "cats" / "a.json", picture, SIZE, labelme_shape(SQUARE))
    shown = Annotations.read(tmp_path).by_image(["cats/a.png", "dogs/b.png"])
    assert [*shown] == ["cats/a.png"]


def test_a_name_that_two_images_have(tmp_path):
    names = ["cats/a.png", "dogs/a.png"]
    labelme(tmp_path / "dogs" / "a.json", "a.png", SIZE, labelme_shape(SQUARE))
    assert [*Annotations.read(tmp_path).by_image(names)] == ["dogs/a.png"]
    labelme(tmp_path / "loose" / "a.json", "a.png", SIZE, labelme_shape(SQUARE))
    with pytest.raises(
        SourceError, match=r"one image called 'a.png', which 'loose/a.json' .* got 2: 'cats/a.png', 'dog"
    ):
        Annotations.read(tmp_path).by_image(names)


BAD_SHAPES = {
    "a line": (labelme_shape([[0, 0], [3, 3]], "line"), r"rectangles, circles or masks in 'a.json', .* a line of 2"),
    "a point": (labelme_shape([[0, 0]], "point"), "a point of 1 points"),
    "half a circle": (labelme_shape([[0, 0]], "circle"), "a circle of 1 points"),
    "two corners": (labelme_shape([[0, 0], [1, 1]]), r"three points .* 'a.json', got 2 points: \(0, 0\), \(1, 1\)"),
    "no number": (labelme_shape([[0, 0], [1, 1], [float("nan"), 2]]), "three points or more"),
    "a word": (labelme_shape([[0, 0], [1, 1], ["x", 2]]), "whole file of labelme at 'a.json'"),
    "outside": (labelme_shape([[20, 2], [30, 2], [30, 9]]), r"the 12 x 10 pixels .*'a.json', got 3 points: \(20, 2\)"),
    "above": (labelme_shape([[2, -9], [5, -2], [5, -9]]), "within the 12 x 10 pixels"),
    "painted outside": (painted((9, 3), np.ones((5, 5), dtype=bool)), r"a mask of \(5, 5\) for the box from \(9, 3\)"),
    "nothing painted": (painted((1, 1), np.zeros((2, 2), dtype=bool)), "got 0 in 2 x 2"),
    "no picture": (labelme_shape([[0, 0], [1, 1]], "mask", mask="?"), "whole file of labelme"),
    "no points": ({"label": "x"}, "whole file of labelme.* KeyError: 'points'"),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD_SHAPES)
def test_shapes_that_are_none(tmp_path, bad):
    shape, message = BAD_SHAPES[bad]
    labelme(tmp_path / "a.json", "a.png", SIZE, labelme_shape(SQUARE), shape)
    with pytest.raises(SourceError, match=message):
        Annotations.read(tmp_path)


BAD_SEGMENTS = {
    "odd": ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "x1, y1, .* in 'a.json', annotation 1, got 7 numbers"),
    "two points": ({"segmentation": [[1, 2, 3, 4]]}, "three points or more"),
    "outside": ({"segmentation": [[50, 2, 60, 4, 60, 9]]}, "within the 12 x 10 pixels"),
    "unknown picture": ({"image_id": 7}, "whole file of COCO at 'a.json'"),
    "box of three": ({"segmentation": [], "bbox": [1, 2, 3]}, "whole file of COCO"),
    "mask of another size": ({"segmentation": {"size": [9, 9], "counts": "x"}}, r"a mask of \(10, 12\)"),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD_SEGMENTS)
def test_segments_that_are_none(tmp_path, bad):
    keys, message = BAD_SEGMENTS[bad]
    coco(tmp_path / "a.json", [("a.png", *SIZE)], [(0, keys)])
    with pytest.raises(SourceError, match=message):
        Annotations.read(tmp_path)


BAD_FILES = {
    "another tool": ('[{"image": "a.png"}]', "got 'a.json' with list. Take it away"),
    "other keys": ('{"regions": [], "file": 1}', "got 'a.json' with 'regions', 'file'"),
    "cut off": ('{"shapes": [', "JSON file of labelme or COCO at .*JSONDecodeError"),
    "no size": ('{"shapes": [], "imagePath": "a.png"}', "whole file of labelme at 'a.json'.*KeyError: 'imageWidth'"),
    "no list": ('{"images": 1, "annotations": []}', "whole file of COCO"),
    "deep": ("[" * 100_000, "JSON file of labelme or COCO"),
}


@pytest.mark.parametrize("bad", BAD_FILES)
def test_files_that_are_none(tmp_path, bad):
    text, message = BAD_FILES[bad]
    labelme(tmp_path / "b.json", "b.png", SIZE, labelme_shape(SQUARE))
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(SourceError, match=message):
        Annotations.read(tmp_path)


def test_nothing_to_read(tmp_path):
    with pytest.raises(SourceError, match=r"JSON files of labelme or COCO at .*, got none"):
        Annotations.read(tmp_path)
    with pytest.raises(SourceError, match="FileNotFoundError"):
        Annotations.read(tmp_path / "missing.json")


def test_pictures_of_no_image_and_of_two_files(tmp_path):
    labelme(tmp_path / "a.json", "a.png", SIZE, labelme_shape(SQUARE))
    labelme(tmp_path / "empty.json", "unknown.png", SIZE)
    with pytest.raises(SourceError, match=r"the 1 images given, got 1 of .*: 'a.png' in 'a.json'.* Give the table"):
        Annotations.read(tmp_path).by_image(["b.png"])
    coco(tmp_path / "annotations (1).json", [("a.png", *SIZE)], [(0, {"segmentation": [[2, 3, 6, 3, 6, 7]]})])
    with pytest.raises(SourceError, match=r"'a.png' in one file, got some in 'a.json' and in 'annotations \(1\).json'"):
        Annotations.read(tmp_path).by_image(["a.png"])


def test_two_images_of_one_name(tmp_path):
    labelme(tmp_path / "a.json", "a.png", SIZE, labelme_shape(SQUARE))
    with pytest.raises(SourceError, match=r"got 2 images that are called 'a.png', which 'a.json' of"):
        Annotations.read(tmp_path).masks(["a.png", "b.png", "a.png"], (10, 12))


def test_a_picture_of_another_size(tmp_path):
    labelme(tmp_path / "a.json", "a.png", SIZE, labelme_shape(SQUARE))
    with pytest.raises(
        SourceError, match=r"'a.png' on its 10 x 12 pixels .*got ones on 12 x 10 in 'a.json'. Shapes are"
    ):
        Annotations.read(tmp_path).masks(["a.png"], (12, 10))
    with pytest.raises(SourceError, match=r"on its 24 x 20 .* got ones on 12 x 10 in 'a.json'.$"):
        Annotations.read(tmp_path).masks(["a.png"], (20, 24))


CROP = Preprocessing(image_size=20, short_side=24, mean=(0.5,), std=(0.5,))
SQUASH = Preprocessing(image_size=20, resize="squash", mean=(0.5,), std=(0.5,))


@pytest.mark.parametrize("preprocessing", [CROP, SQUASH], ids=["crop", "squash"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_follow_their_photo(tmp_path, preprocessing, orientation):
    """A white rectangle on a black photo, turned by the camera; people mark it on the upright picture."""
    folder = tmp_path / "photos"
    folder.mkdir()
    photo = Image.new("L", (60, 40))
    photo.paste(255, (20, 8, 32, 26))
    photo.getexif()[0x0112] = orientation
    photo.save(folder / "a.png", exif=photo.getexif())
    (tmp_path / "labels.csv").write_text("file,label\na.png,0\n")
    plain = LabelledPhotos.open(folder, preprocessing, labels=tmp_path / "labels.csv")
    white = np.asarray(plain.upright(0)) > 127
    rows, columns = np.flatnonzero(white.any(axis=1)), np.flatnonzero(white.any(axis=0))
    corners = [[int(columns[0]), int(rows[0])], [int(columns[-1]), int(rows[-1])]]
    labelme(tmp_path / "drawn" / "a.json", "a.png", plain.upright(0).size, labelme_shape(corners, "rectangle"))

    photos = LabelledPhotos.open(folder, preprocessing, labels=tmp_path / "labels.csv", masks=tmp_path / "drawn")

    mask = photos.mask(0)
    grey = plain[0][0][0]
    assert mask.shape == (20, 20)
    assert mask[grey > 0].all()
    assert not mask[grey == -1].any()
    with Image.open(folder / "a.png") as opened:
        box = boxes_as_seen([(20, 8, 32, 26)], opened, preprocessing, "a.png")
    assert mask_of(box, (20, 20))[mask].all()
    assert photos.boxes(0).shape == (1, 4)


@pytest.fixture
def photos(tmp_path):
    def opened(table="file,label,name\na.png,0,cat\nb.png,1,dog\nc.png,0,cat\n", **options):
        for name in ("a.png", "b.png", "c.png"):
            save_photo(tmp_path / "photos" / name, SIZE)
        (tmp_path / "labels.csv").write_text(table)
        options = {"masks": tmp_path / "drawn", **options}
        plain = Preprocessing(image_size=10, resize="squash")
        return LabelledPhotos.open(tmp_path / "photos", plain, labels=tmp_path / "labels.csv", **options)

    return opened


def test_photos_without_shapes_have_no_mask_and_boxes_stay(tmp_path, photos):
    labelme(tmp_path / "drawn" / "a.json", "a.png", SIZE, labelme_shape(SQUARE, label="CAT"))
    labelme(tmp_path / "drawn" / "c.json", "c.png", SIZE)
    opened = photos("file,label,name,boxes\na.png,0,cat,0 0 1 1\nb.png,1,dog,0 0 12 10\nc.png,0,cat,\n")
    assert [opened.mask(i) is None for i in range(3)] == [False, False, True]
    assert opened.mask(1).all()
    assert not opened.mask(0)[0, 0]  # shapes take the place of the box
    again = photos(masks=Annotations.read(tmp_path / "drawn"))
    assert torch.equal(again.mask(0), opened.mask(0))


def test_what_was_drawn_outside_of_what_the_model_sees(tmp_path):
    save_photo(tmp_path / "photos" / "a.png", (60, 20))
    (tmp_path / "labels.csv").write_text("file,label\na.png,0\n")
    labelme(tmp_path / "drawn" / "a.json", "a.png", (60, 20), labelme_shape([[0, 0], [15, 19]], "rectangle"))
    cut = Preprocessing(image_size=20, short_side=20)
    found = LabelledPhotos.open(tmp_path / "photos", cut, labels=tmp_path / "labels.csv", masks=tmp_path / "drawn")
    assert found.mask(0) is None
    assert found.boxes(0) is None


def test_shapes_called_as_another_class_and_photos_of_another_size(tmp_path, photos):
    labelme(tmp_path / "drawn" / "a.json", "a.png", SIZE, labelme_shape(SQUARE, label="Dog"))
    with pytest.raises(SourceError, match=r"around what 'a.png' is labelled as, 'cat', got one called 'Dog', another"):
        photos()
    labelme(tmp_path / "drawn" / "a.json", "a.png", (99, 10), labelme_shape(SQUARE))
    with pytest.raises(SourceError, match=r"'a.png' on its 12 x 10 pixels .* got ones on 99 x 10"):
        photos(classes=ClassNames({0: "cat", 1: "dog"}))


def test_nobody_has_drawn_yet(tmp_path, photos):
    labelme(tmp_path / "drawn" / "a.json", "a.png", SIZE)
    with pytest.raises(SourceError, match="got none: nobody has drawn there yet"):
        photos()


def test_a_damaged_photo_is_skipped_as_ever(tmp_path, photos):
    labelme(tmp_path / "drawn" / "a.json", "a.png", SIZE, labelme_shape(SQUARE))
    photos()
    (tmp_path / "photos" / "a.png").write_bytes(b"no picture")
    opened = LabelledPhotos.open(
        tmp_path / "photos", Preprocessing(image_size=10), labels=tmp_path / "labels.csv", masks=tmp_path / "drawn"
    )
    assert [batch.positions for batch in opened.batches(4)] == [(1, 2)]
    assert [skip.name for skip in opened.skipped] == ["a.png"]


def test_masks_in_memory_with_images_that_are_not_annotated(tmp_path):
    labelme(tmp_path / "a.json", "image 1", SIZE, labelme_shape(SQUARE))
    masks = Annotations.read(tmp_path).masks(["image 0", "image 1"], (10, 12))
    source = LabelledTensors(torch.rand(2, 3, 10, 12), [0, 1], masks=masks)
    assert source.mask(0) is None
    assert source.boxes(0) is None
    assert torch.equal(source.mask(1), covered([torch.tensor([[2.0, 3, 7, 8]])], (10, 12))[0])
    with pytest.raises(SourceError, match="the masks of 2 images, got those of 1"):
        LabelledTensors(torch.rand(2, 3, 10, 12), [0, 1], masks=masks[1:])
    with pytest.raises(SourceError, match=r"masks \(1, 10, 12\) of bool, got \(1, 10, 12\) of torch.float32"):
        LabelledTensors(torch.rand(2, 3, 10, 12), [0, 1], masks=[None, masks[1].float()])


def test_a_file_with_the_mark_of_utf_8(tmp_path):
    labelme(tmp_path / "a.json", "a.png", SIZE, labelme_shape(SQUARE))
    text = json.dumps(json.loads((tmp_path / "a.json").read_text()))
    (tmp_path / "a.json").write_text(text, encoding="utf-8-sig")
    assert mask_in(tmp_path).any()
