import base64
import io
import struct
import threading
import time
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from sources.photo_files import save_damaged_jpeg, save_photo
from torch import nn
from torch.utils.data import DataLoader

from captum_paramsal import Reference
from captum_paramsal.errors import SourceError
from captum_paramsal.sources import LabelledPhotos, LabelledTensors, Preprocessing, SourceBatches
from captum_paramsal.viz import decoded

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
    assert (picture.width, picture.height, picture.mime) == (16, 16, "image/webp")
    decoded = Image.open(io.BytesIO(base64.b64decode(picture.uri.removeprefix("data:image/webp;base64,"))))
    assert torch.equal(SMALL.tensor(decoded), photos[0][0])


def test_large_pictures_become_small(tmp_path):
    save_photo(tmp_path / "one/a.png", (600, 400))
    photos = LabelledPhotos.open(tmp_path, Preprocessing(image_size=512, short_side=512))
    picture = photos.picture(0)
    assert (picture.width, picture.height, picture.mime) == (152, 152, "image/webp")


@pytest.mark.parametrize(("size", "tolerance"), [(32, 0), (64, 3)])
def test_small_pictures_keep_their_pixels(size, tolerance):
    steps = torch.linspace(0, 255, size).round() / 255
    image = torch.stack([steps.expand(size, -1), steps[:, None].expand(-1, size), torch.full((size, size), 0.2)])
    picture = LabelledTensors(image[None], torch.zeros(1, dtype=torch.long)).picture(0)
    assert (picture.width, picture.mime) == (size, "image/webp")
    shown = decoded(picture.data, picture.mime)
    assert 255 * float((shown - image).abs().mean()) <= tolerance + 1e-3


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


@pytest.mark.parametrize("size", [1, 2, 5])
def test_photos_are_read_ahead_and_not_without_bounds(photos, size, monkeypatch):
    monkeypatch.setattr("captum_paramsal.sources.photos._cores", lambda: 2)
    begun, order = [], [8, 0, 1, 7, 2, 3, 4, 5, 6]
    read = photos._read
    monkeypatch.setattr(photos, "_read", lambda position: (begun.append(position), read(position))[1])
    delivered = []
    for batch in photos.batches(size, order):
        delivered += batch.positions
        reached = order.index(delivered[-1]) + 1
        wait_until(lambda reached=reached: len(begun) >= min(reached + 2, len(order)))
        # Two for each thread, in whole batches, beside the one that is worked on.
        assert len(begun) <= -(-reached // size) * size + -(-4 // size) * size
    assert delivered == [position for position in order if photos.items[position].name.endswith("png")]
    assert sorted(begun) == sorted(order)


def wait_until(holds):
    for _ in range(1000):
        if holds():
            return
        time.sleep(0.01)
    pytest.fail("nothing was read ahead")


class Failing(nn.Module):
    def forward(self, x):
        message = f"{len(x)} photos"
        raise RuntimeError(message)


@pytest.mark.parametrize("work", ["reference", "a pass"])
def test_threads_are_gone_while_an_error_is_looked_at(photos, work):
    model = nn.Sequential(nn.Conv2d(3, 1, 1), Failing(), nn.Flatten(), nn.Linear(256, 2))
    batches = SourceBatches(photos, model, batch_size=1)
    works = {
        "reference": lambda: Reference.fit(model, batches, layers=["0"], tail=None, show_progress=False),
        "a pass": lambda: list(batches.made(lambda batch: model(batch.inputs), "a pass")),
    }
    with pytest.raises(RuntimeError, match="1 photos") as caught:
        works[work]()
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("photos")] == []
    assert caught.traceback


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


RAMP = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (64, 1))
DEEP = {
    "8.png": RAMP,
    "16.png": RAMP.astype(np.uint16) * 257,
    "16.tif": RAMP.astype(np.uint16) * 257,
    "16.pgm": RAMP.astype(np.uint16) * 257,
    "10 in 16.png": (RAMP / 255 * 1023).round().astype(np.uint16),
    "12 in 16.png": (RAMP / 255 * 4095).round().astype(np.uint16),
    "8 in 16.tif": RAMP.astype(np.uint16),
    "big endian.tif": (RAMP.astype(np.uint16) * 257).astype(">u2"),
    "32.tif": RAMP.astype(np.int32) * 257,
    "8 in 32.tif": RAMP.astype(np.int32),
    "large 32.tif": RAMP.astype(np.int32) * 2**20,
    "negative 32.tif": RAMP.astype(np.int32) * 100 - 9000,
    "unit.tif": (RAMP / 255).astype(np.float32),
    "bytes.tif": RAMP.astype(np.float32),
    "signed.tif": (RAMP / 127.5 - 1).astype(np.float32),
    "huge.tif": RAMP.astype(np.float32) * 1e20,
}


def _one_photo(folder, name, pixels, channels):
    (folder / "0").mkdir()
    try:
        Image.fromarray(pixels).save(folder / "0" / name)
    except OSError as error:
        pytest.skip(f"this version of Pillow does not write it: {error}")
    plain = Preprocessing(image_size=64, short_side=64, mean=(0.0,) * channels, std=(1.0,) * channels)
    return LabelledPhotos.open(folder, plain)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", DEEP)
def test_pictures_of_any_depth_have_their_whole_range(tmp_path, name, channels):
    photos = _one_photo(tmp_path, name, DEEP[name], channels)
    seen = photos[0][0]
    assert seen.shape == (channels, 64, 64)
    assert np.abs(seen.numpy() - RAMP / 255).max() <= 1 / 255
    assert photos.picture(0) is not None


@pytest.mark.parametrize(
    ("pixels", "grey"),
    [
        (np.zeros((9, 9), np.uint16), 0.0),
        (np.full((9, 9), 32768, np.uint16), 0.5),
        (np.full((9, 9), 65535, np.uint16), 1.0),
        (np.full((9, 9), 0.5, np.float32), 0.5),
        (np.full((9, 9), -7.0, np.float32), 0.0),
    ],
)
def test_pictures_of_one_value(tmp_path, pixels, grey):
    seen = _one_photo(tmp_path, "a.tif", pixels, 1)[0][0]
    assert torch.allclose(seen, torch.full_like(seen, grey), atol=0.003)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_that_are_no_numbers_are_named(tmp_path, value):
    photos = _one_photo(tmp_path, "a.tif", np.array([[0.0, value]], np.float32), 3)
    with pytest.raises(SourceError, match=r"got none that can be used; 1 were skipped .*NaN or infinite"):
        list(photos.batches(1))


@pytest.mark.parametrize("lifted", [False, True])
def test_a_bomb_of_pixels_is_not_unpacked(tmp_path, monkeypatch, lifted):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(3_000_000))
    save_photo(tmp_path / "0" / "b.png")
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    (tmp_path / "0" / "a.png").write_bytes(bomb)
    if lifted:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    loaded = []
    monkeypatch.setattr(Image.core, "zip_decoder", lambda *args: loaded.append(args), raising=False)
    photos = LabelledPhotos.open(tmp_path, SMALL)
    with pytest.raises(SourceError, match=r"30,000 x 30,000 pixels" if lifted else "DecompressionBombError"):
        photos[0]
    assert not loaded
