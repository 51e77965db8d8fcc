import base64
import io
import threading

import pytest
import torch
from PIL import Image
from sources.photo_files import save_damaged_jpeg, save_photo
from torch.utils.data import DataLoader

from captum_paramsal.errors import SourceError
from captum_paramsal.sources import LabelledPhotos, LabelledTensors, Preprocessing

SMALL = Preprocessing(image_size=16, short_side=16)


@pytest.fixture
def photos(tmp_path):
    for i in range(7):
        save_photo(tmp_path / f"photos/{i}.png", seed=i)
    save_damaged_jpeg(tmp_path / "photos/3.jpg")
    (tmp_path / "photos/5.jpg").write_text("this is no photo")
    lines = [*(f"{i}.png,{i % 2}" for i in range(7)), "3.jpg,1", "5.jpg,0"]
    (tmp_path / "labels.csv").write_text("file,label\n" + "\n".join(sorted(lines)))
    return LabelledPhotos.open(tmp_path / "photos", SMALL, labels=tmp_path / "labels.csv")


def test_batches_hold_every_readable_photo_once(photos):
    batches = list(photos.batches(4))
    assert [name for batch in batches for name in (photos.items[p].name for p in batch.positions)] == [
        f"{i}.png" for i in range(7)
    ]
    assert all(batch.inputs.shape == (len(batch.positions), 3, 16, 16) for batch in batches)
    assert torch.cat([batch.labels for batch in batches]).tolist() == [0, 1, 0, 1, 0, 1, 0]


def test_unreadable_files_are_named_once(photos):
    assert photos.skipped == ()
    list(photos.batches(4))
    list(photos.batches(3))
    reasons = {skip.name: skip.reason for skip in photos.skipped}
    assert list(reasons) == ["3.jpg", "5.jpg"]
    assert "truncated" in reasons["3.jpg"]
    assert "cannot identify image file" in reasons["5.jpg"]


def test_chosen_positions_in_their_order(photos):
    (batch,) = photos.batches(8, [2, 0])
    assert batch.positions == (2, 0)
    assert torch.equal(batch.inputs[1], photos[0][0])


def test_is_a_data_set(photos):
    readable = torch.utils.data.Subset(photos, [0, 1, 2])
    inputs, labels = next(iter(DataLoader(readable, batch_size=3)))
    assert inputs.shape == (3, 3, 16, 16)
    assert labels.tolist() == [0, 1, 0]
    with pytest.raises(SourceError, match=r"readable image at '.*3.jpg'"):
        photos[[item.name for item in photos.items].index("3.jpg")]


def test_picture_shows_what_the_model_sees(photos):
    picture = photos.picture(0)
    assert (picture.width, picture.height, picture.mime) == (16, 16, "image/png")
    decoded = Image.open(io.BytesIO(base64.b64decode(picture.uri.removeprefix("data:image/png;base64,"))))
    assert torch.equal(SMALL.tensor(decoded), photos[0][0])


def test_large_pictures_become_small_jpegs(tmp_path):
    save_photo(tmp_path / "one/a.png", (600, 400))
    photos = LabelledPhotos.open(tmp_path, Preprocessing(image_size=512, short_side=512))
    picture = photos.picture(0)
    assert (picture.width, picture.height, picture.mime) == (256, 256, "image/jpeg")


def test_nothing_left(tmp_path):
    save_damaged_jpeg(tmp_path / "photos/one/a.jpg")
    photos = LabelledPhotos.open(tmp_path / "photos", SMALL)
    with pytest.raises(SourceError, match=r"got none that can be used; 1 were skipped \('one/a.jpg': .*truncated"):
        list(photos.batches(4))
    (tmp_path / "labels.csv").write_text("file,label\ngone.jpg,1\n")
    with pytest.raises(SourceError, match=r"2 were skipped.*'gone.jpg': no such file"):
        LabelledPhotos.open(tmp_path / "photos", SMALL, labels=tmp_path / "labels.csv")


def test_threads_are_gone_when_a_reader_stops_early(photos):
    before = threading.active_count()
    batches = photos.batches(1)
    next(batches)
    batches.close()
    assert threading.active_count() == before


def test_tensors_as_a_source():
    images = torch.rand(5, 3, 8, 8)
    source = LabelledTensors(images, torch.arange(5), lambda x: x - 0.5, notes=["", "a", "", "", ""])
    batches = list(source.batches(2, [4, 1, 0]))
    assert [batch.positions for batch in batches] == [(4, 1), (0,)]
    assert torch.equal(batches[0].inputs, images[[4, 1]] - 0.5)
    assert batches[0].labels.tolist() == [4, 1]
    assert (source.items[1].name, source.items[1].note) == ("image 1", "a")
    assert source.picture(0).width == 8


def test_tensors_that_no_picture_can_show():
    source = LabelledTensors(torch.rand(2, 5, 8, 8), torch.zeros(2, dtype=torch.long))
    assert source.picture(0) is None
    grey = LabelledTensors(torch.rand(2, 1, 8, 8), torch.zeros(2, dtype=torch.long))
    assert Image.open(io.BytesIO(grey.picture(0).data)).mode == "L"


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [(2, None, "got 3 images, 2 labels"), (3, ["a"], "3 labels, 1 names, 3 notes")],
)
def test_tensors_that_do_not_belong_together(labels, names, message):
    with pytest.raises(SourceError, match=message):
        LabelledTensors(torch.rand(3, 3, 4, 4), torch.zeros(labels, dtype=torch.long), names=names)
