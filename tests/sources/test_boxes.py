import pytest
import torch
from PIL import Image
from sources.photo_files import save_photo

from captum_paramsal.errors import SourceError
from captum_paramsal.sources import LabelledPhotos, LabelledTensors, Preprocessing, labels_from_csv
from captum_paramsal.sources.boxes import boxes_as_seen, boxes_of, parse_boxes

SIDE = 20
CROP = Preprocessing(image_size=SIDE, short_side=SIDE, mean=(0.5,), std=(0.5,))
SQUASH = Preprocessing(image_size=SIDE, resize="squash", mean=(0.5,), std=(0.5,))


@pytest.mark.parametrize(
    ("text", "boxes"),
    [
        ("", ()),
        (" ; ", ()),
        ("1 2 3 4", ((1, 2, 3, 4),)),
        ("0.0 1.1 122.6 226.2;5,6,7.5,8", ((0, 1.1, 122.6, 226.2), (5, 6, 7.5, 8))),
        (" 1,  2 ,3   4 ;", ((1, 2, 3, 4),)),
    ],
)
def test_cells(text, boxes):
    assert parse_boxes(text) == boxes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 3", "`x1 y1 x2 y2`, several separated by `;`, got '1 2 3'"),
        ("1 2 3 four", "got '1 2 3 four'"),
        ("1 2 3 4 5 6 7 8", "got '1 2 3 4 5 6 7 8'"),
        ("1 2 1 4", "x1 < x2 and y1 < y2, got '1 2 1 4'"),
        ("1 2 3 4;1 2 nan 4", "got '1 2 nan 4'"),
        ("1 2 inf 4", "got '1 2 inf 4'"),
    ],
)
def test_cells_that_hold_no_box(text, message):
    with pytest.raises(SourceError, match=message):
        parse_boxes(text)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("preprocessing", [CROP, SQUASH])
def test_box_follows_what_it_encloses(preprocessing, orientation):
    photo = Image.new("L", (60, 40))
    box = (20, 8, 32, 26)
    photo.paste(255, box)
    photo.getexif()[0x0112] = orientation

    (seen,) = boxes_as_seen([box], photo, preprocessing, "a.png").tolist()

    white = preprocessing.tensor(preprocessing.picture(photo))[0] > 0
    rows, columns = white.any(dim=1).nonzero()[:, 0], white.any(dim=0).nonzero()[:, 0]
    painted = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    assert seen == pytest.approx([float(side) for side in painted], abs=0.51)


def test_cut_off_where_the_crop_ends():
    photo = Image.new("L", (60, 20))
    seen = boxes_as_seen([(0, 2, 30, 10), (0, 0, 15, 20), (20, 0, 40, 20)], photo, CROP, "a.png")
    assert seen.tolist() == [[0, 2, 10, 10], [0, 0, 20, 20]]


def test_crop_larger_than_the_photo():
    wider = Preprocessing(image_size=30, short_side=20, mean=(0.5,), std=(0.5,))
    photo = Image.new("L", (20, 20))
    assert boxes_as_seen([(0, 0, 20, 20)], photo, wider, "a.png").tolist() == [[5, 5, 25, 25]]


@pytest.fixture
def photos(tmp_path):
    def opened(table, **options):
        for name in ("a.png", "b.png", "c.png"):
            save_photo(tmp_path / "photos" / name, (60, 20))
        (tmp_path / "labels.csv").write_text(table)
        return LabelledPhotos.open(tmp_path / "photos", CROP, labels=tmp_path / "labels.csv", **options)

    return opened


def test_masks_of_photos(photos):
    found = photos("file,label,boxes\na.png,1,22 2 30.5 10;0 0 1 1\nb.png,0,\nc.png,0,0 0 15 20\n")
    mask = found.mask(0)
    assert (mask.shape, mask.dtype) == ((SIDE, SIDE), torch.bool)
    expected = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    expected[2:10, 2:11] = True
    assert torch.equal(mask, expected)
    assert found.mask(1) is None
    assert found.mask(2) is None  # cut away


def test_boxes_of_photos_stay_apart_and_are_not_rounded(photos):
    """What a mask would make one box of: boxes that overlap, that touch, and one within another."""
    table = "file,label,boxes\na.png,1,22 2 30.5 10;25.25 4 38 12;38 12 40 14;26 5 27 6\nb.png,0,\nc.png,0,0 0 15 20\n"
    found = photos(table)
    boxes = found.boxes(0)
    assert boxes.dtype == torch.float64
    assert boxes.tolist() == [[2, 2, 10.5, 10], [5.25, 4, 18, 12], [18, 12, 20, 14], [6, 5, 7, 6]]
    assert len(boxes_of(found.mask(0))) < len(boxes)
    assert found.boxes(1) is None
    assert found.boxes(2) is None  # cut away


@pytest.mark.parametrize(
    "table",
    [
        'file,label,boxes\na.png,1,"1,2,3,4;5,6,7,8"\n',
        'file;label;boxes\na.png;1;"1,2,3,4;5,6,7,8"\n',
        "file\tlabel\tboxes\na.png\t1\t1,2,3,4;5,6,7,8\n",
        "file,label,boxes\na.png,1,1 2 3 4\na.png,1,5 6 7 8\na.png,1,1 2 3 4\n",
    ],
)
def test_ways_to_write_two_boxes(photos, table):
    assert photos(table).items[0].boxes == ((1, 2, 3, 4), (5, 6, 7, 8))


def test_column_of_another_name(photos):
    table = "file,label,boxes,mine\na.png,1,5 6 7 8,1 2 3 4\n"
    assert photos(table, boxes="mine").items[0].boxes == ((1, 2, 3, 4),)
    assert photos(table).items[0].boxes == ((5, 6, 7, 8),)


@pytest.mark.parametrize(
    ("table", "column", "message"),
    [
        ("file,label,boxes\na.png,1,1 2 3\n", None, "Line 2 of .*labels.csv', column 'boxes': .*got '1 2 3'"),
        ("file,label,mine\na.png,1,\nb.png,1,x\n", "mine", "Line 3 of .*, column 'mine'"),
        ("file,label,boxes\na.png,1,1,2,3,4\n", None, "Expected 3 cells in line 2 of .*, got 6. Put boxes into quotes"),
        ("file,label\na.png,1\n", "mine", "column 'mine' with boxes in .*, got 'file', 'label'"),
    ],
)
def test_tables_whose_boxes_cannot_be_used(photos, table, column, message):
    with pytest.raises(SourceError, match=message):
        photos(table, boxes=column)


def test_box_outside_of_its_photo(photos):
    found = photos("file,label,boxes\na.png,1,0 0 61.5 20\nb.png,1,0 0 60.9 20\n")
    with pytest.raises(SourceError, match=r"boxes of 'a.png' within its 60 x 20 pixels .*, got 0 0 61.5 20"):
        found.mask(0)
    assert found.mask(1).all()


@pytest.mark.parametrize("ask", [LabelledPhotos.mask, LabelledPhotos.boxes])
def test_mask_of_a_damaged_file(photos, tmp_path, ask):
    found = photos("file,label,boxes\na.png,1,0 0 6 6\n")
    (tmp_path / "photos" / "a.png").write_text("no photo")
    with pytest.raises(SourceError, match="readable image"):
        ask(found, 0)


def test_further_cells_still_do_not_matter_without_boxes(tmp_path):
    save_photo(tmp_path / "photos" / "a.png")
    (tmp_path / "labels.csv").write_text("file,label\na.png,1,2,3\n")
    assert len(labels_from_csv(tmp_path / "labels.csv", tmp_path / "photos").items) == 1


def test_tensors_with_masks_or_boxes():
    images, labels = torch.rand(2, 3, 4, 6), torch.zeros(2, dtype=torch.long)
    masks = torch.rand(2, 4, 6) > 0.5
    assert torch.equal(LabelledTensors(images, labels, masks=masks).mask(1), masks[1])
    boxed = LabelledTensors(images, labels, boxes=[torch.zeros(0, 4), torch.tensor([[1, 0, 3, 2], [5, 3, 6, 4]])])
    assert boxed.mask(0) is None
    assert boxed.mask(1).nonzero().tolist() == [[0, 1], [0, 2], [1, 1], [1, 2], [3, 5]]
    assert LabelledTensors(images, labels).mask(0) is None


def test_boxes_of_tensors():
    images, labels = torch.rand(3, 3, 8, 9), torch.zeros(3, dtype=torch.long)
    given = [torch.tensor([[1, 0, 5, 4], [3, 2, 9, 8]]), torch.zeros(0, 4), torch.full((1, 4), torch.nan)]
    boxed = LabelledTensors(images, labels, boxes=given)
    assert boxed.boxes(0).tolist() == given[0].tolist()
    assert boxed.boxes(1) is None
    assert boxed.boxes(2) is None
    assert boxed.mask(2) is None
    masked = LabelledTensors(images, labels, masks=torch.stack([boxed.mask(0), *torch.zeros(2, 8, 9).bool()]))
    assert masked.boxes(0).tolist() == [[1, 0, 9, 8]]
    assert masked.boxes(1) is None
    assert LabelledTensors(images, labels).boxes(0) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"masks": torch.zeros(2, 6, 4, dtype=torch.bool)}, r"masks \(2, 4, 6\) of bool, got \(2, 6, 4\)"),
        ({"masks": torch.zeros(2, 4, 6)}, "got .* of torch.float32"),
        ({"boxes": [torch.zeros(0, 4)]}, "boxes of 2 images, got those of 1"),
        ({"boxes": [torch.tensor([[0, 0, 9, 2]]), torch.zeros(0, 4)]}, "4 x 6 pixels"),
        ({"boxes": [torch.zeros(0, 4)] * 2, "masks": torch.zeros(2, 4, 6, dtype=torch.bool)}, "got both"),
    ],
)
def test_tensors_with_masks_of_something_else(options, message):
    with pytest.raises(SourceError, match=message):
        LabelledTensors(torch.rand(2, 3, 4, 6), torch.zeros(2, dtype=torch.long), **options)
