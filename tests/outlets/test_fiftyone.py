"""Data sets of FiftyOne: what samples hold, where maps and boxes lie in a photo, and the way back.

What FiftyOne is given is recorded, so that most of this needs no FiftyOne; where it is installed, its own samples are
made too and go through its own format, and where its database runs, a data set is exported and read again.
"""

import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from outlets.small_results import RESULTS, explained, grouped
from PIL import Image
from sources.photo_files import save_photo

from captum_paramsal.errors import InputError, SourceError
from captum_paramsal.outlets import from_fiftyone, to_fiftyone
from captum_paramsal.outlets.image_facts import SeenTrace, image_facts
from captum_paramsal.outlets.to_fiftyone import _box, fiftyone_samples, placed
from captum_paramsal.sources import LabelledPhotos, Preprocessing
from captum_paramsal.sources.boxes import boxes_as_seen

WAYS = {
    "crop": Preprocessing(image_size=20, short_side=24),
    "wide": Preprocessing(image_size=30, short_side=20),
    "squash": Preprocessing(image_size=20, resize="squash"),
}


class Sample(dict):
    """A sample that keeps what it is given."""

    def __init__(self, filepath, tags):
        super().__init__()
        self.filepath, self.tags = filepath, tags


LABELS = ("Classification", "Classifications", "Detection", "Detections", "Heatmap", "Keypoint", "Keypoints")


@pytest.fixture
def recorded(monkeypatch):
    """A FiftyOne that records what it is given."""
    fo = SimpleNamespace(
        Sample=Sample, **{name: lambda name=name, **parts: SimpleNamespace(kind=name, **parts) for name in LABELS}
    )
    monkeypatch.setitem(sys.modules, "fiftyone", fo)
    return fo


@pytest.fixture(scope="session")
def fiftyone():
    """The library; without a database that was started for it, it is kept from starting its own."""
    if "FIFTYONE_DATABASE_URI" not in os.environ:
        os.environ.setdefault("FIFTYONE_DISABLE_SERVICES", "1")
    os.environ.setdefault("FIFTYONE_DO_NOT_TRACK", "1")
    return pytest.importorskip("fiftyone", reason="FiftyOne is not installed", exc_type=ImportError)


@pytest.mark.usefixtures("recorded")
def test_what_a_sample_of_an_explanation_holds(tmp_path):
    result, images = explained()
    samples = fiftyone_samples(result, images, pictures=tmp_path)
    for sample, one, mistake in zip(samples, image_facts(result, images), result.mistakes, strict=True):
        assert sample.tags == ["mistake"]
        assert sample["position"] == mistake.position
        assert sample["ground_truth"].label == one.label
        assert (sample["predicted"].label, sample["predicted"].confidence) == (one.predicted, one.confidence)
        filters = sample["guilty_filters"].classifications
        assert [(f.label, f.score, f.rank) for f in filters] == [
            (f.name, f.score, rank) for rank, f in enumerate(one.filters, 1)
        ]
        assert np.array_equal(sample["heat_pixels"].map, one.maps["pixels"].numpy())
        (box,) = sample["trace_true_class"].detections
        x, y, width, height = box.bounding_box
        assert [12 * x, 12 * y, 12 * (x + width), 12 * (y + height)] == pytest.approx(mistake.traces.label.box)
        (points,) = sample["trace_predicted_class_points"].keypoints
        assert len(points.points) == mistake.traces.predicted.pixels
        assert sample["unusual_filters"] == mistake.unusual
        with Image.open(sample.filepath) as picture:
            assert picture.size == (12, 12)


@pytest.mark.usefixtures("recorded")
def test_groups_are_fields(tmp_path):
    result, images = grouped()
    samples = fiftyone_samples(result, images, pictures=tmp_path)
    assert samples[2]["group"].label == "group 1"
    assert [f.label for f in samples[2]["guilty_filters"].classifications] == [
        str(one.filter) for one in result.triage.guilty(1)
    ]
    assert "group" not in samples[-1]


@pytest.mark.usefixtures("recorded")
def test_images_in_memory_need_a_folder():
    result, images = explained()
    with pytest.raises(SourceError, match=r"images that are no files \(LabelledTensors\)"):
        fiftyone_samples(result, images)


def test_the_way_back_by_path(tmp_path):
    _, images = explained()
    samples = [SimpleNamespace(filepath=str(tmp_path / f"{position:06}.png")) for position in (4, 0)]
    assert from_fiftyone(samples, images, pictures=tmp_path) == [4, 0]
    strange = SimpleNamespace(filepath=str(tmp_path / "other.png"))
    with pytest.raises(InputError, match=r"samples of the 24 images given, got one of .*other\.png"):
        from_fiftyone([strange], images, pictures=tmp_path)


def test_without_the_library_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "fiftyone", None)
    result, images = explained()
    with pytest.raises(ImportError, match=r"captum-paramsal\[fiftyone\]"):
        fiftyone_samples(result, images, pictures=tmp_path)


def photo_source(folder, preprocessing, size):
    save_photo(folder / "cat" / "a.png", size)
    save_photo(folder / "dog" / "b.png", size[::-1])
    return LabelledPhotos.open(folder, preprocessing)


@pytest.mark.parametrize("way", WAYS)
def test_a_box_that_was_brought_to_the_model_comes_back(way, tmp_path):
    preprocessing, size = WAYS[way], (60, 40)
    images = photo_source(tmp_path, preprocessing, size)
    box = (20.0, 8.0, 36.0, 30.0)
    (seen,) = boxes_as_seen([box], Image.new("RGB", size), preprocessing, "a.png")
    trace = SeenTrace("cat", tuple((seen / preprocessing.image_size).tolist()))
    x, y, width, height = _box(trace, images.seen_part(0))
    assert [60 * x, 40 * y, 60 * (x + width), 40 * (y + height)] == pytest.approx(box, abs=1e-9)


@pytest.mark.parametrize("way", WAYS)
def test_a_map_lies_where_the_model_looked(way, tmp_path):
    preprocessing = WAYS[way]
    images = photo_source(tmp_path, preprocessing, (60, 40))
    with Image.open(images.paths()[0]) as photo:
        white = preprocessing.picture(Image.new("L", photo.size, 255).convert("RGB"))
    heat = torch.from_numpy(np.array(white)[..., 0] / 255.0)
    whole = placed(heat, images.seen_part(0))
    # What the model saw of the photo is hot, and as large a share of the photo as the model saw.
    x1, y1, x2, y2 = (min(1.0, max(0.0, side)) for side in images.seen_part(0))
    assert float(whole.mean()) == pytest.approx((x2 - x1) * (y2 - y1), abs=0.06)
    assert whole.shape[1] / whole.shape[0] == pytest.approx(1.5 if way != "squash" else 1.0, abs=0.1)


@pytest.mark.filterwarnings("ignore")  # what FiftyOne itself warns of
@pytest.mark.parametrize("name", RESULTS)
def test_samples_of_the_library_go_through_its_own_format(fiftyone, name, tmp_path):
    result, images = RESULTS[name]()
    samples = fiftyone_samples(result, images, pictures=tmp_path)
    for sample, one in zip(samples, image_facts(result, images), strict=True):
        again = fiftyone.Sample.from_dict(sample.to_dict())
        assert again.filepath == sample.filepath
        assert again["ground_truth"].label == one.label
        assert again["predicted"].label == one.predicted
        for field, values in one.maps.items():
            assert np.allclose(again[f"heat_{field}"].map, values.numpy(), atol=1e-6)
        if one.filters:
            kept = again["guilty_filters"].classifications
            assert [(f.label, f.score, f.rank) for f in kept] == [
                (f.name, f.score, rank) for rank, f in enumerate(one.filters, 1)
            ]
        for field, trace in one.traces.items():
            assert again[field].detections[0].bounding_box == pytest.approx(_box(trace, (0, 0, 1, 1)))
    assert from_fiftyone(samples, images, pictures=tmp_path) == [one.position for one in image_facts(result, images)]


@pytest.fixture(scope="session")
def database(fiftyone):
    """The library with a database, which it does not start here."""
    if "FIFTYONE_DATABASE_URI" not in os.environ:
        pytest.skip("FiftyOne has no database: set FIFTYONE_DATABASE_URI")
    return fiftyone


@pytest.mark.filterwarnings("ignore")  # what FiftyOne itself warns of
@pytest.mark.parametrize("name", RESULTS)
def test_a_data_set_that_is_exported_comes_back(database, name, tmp_path):
    result, images = RESULTS[name]()
    pictures, kind = tmp_path / "pictures", database.types.FiftyOneDataset
    dataset = to_fiftyone(result, images, pictures=pictures)
    try:
        dataset.export(export_dir=str(tmp_path / "out"), dataset_type=kind, export_media=False, progress=False)
    finally:
        dataset.delete()
    again = database.Dataset.from_dir(dataset_dir=str(tmp_path / "out"), dataset_type=kind, progress=False)
    try:
        assert again.info["captum_paramsal"]["model"] == result.context["model"]
        facts = {one.position: one for one in image_facts(result, images)}
        assert from_fiftyone(again, images, pictures=pictures) == [*facts]
        for sample in again:
            same_facts(sample, facts[sample["position"]])
        filters = {f.name for one in facts.values() for f in one.filters}
        for filter_ in sorted(filters)[:3]:
            view = again.filter_labels("guilty_filters", database.ViewField("label") == filter_)
            expected = [one.position for one in facts.values() if filter_ in {f.name for f in one.filters}]
            assert from_fiftyone(view, images, pictures=pictures) == expected
    finally:
        again.delete()


def same_facts(sample, one):
    assert (sample["ground_truth"].label, sample["predicted"].label) == (one.label, one.predicted)
    for field, values in one.maps.items():
        assert np.allclose(sample[f"heat_{field}"].map, values.numpy(), atol=1e-6)
    for field, trace in one.traces.items():
        (box,) = sample[field].detections
        assert box.label == trace.label
        assert box.bounding_box == pytest.approx(_box(trace, (0, 0, 1, 1)))
