"""TensorBoard: what is written is read back from the events."""

import io
import sys

import numpy as np
import pytest
import torch
from outlets.small_results import RESULTS, explained
from PIL import Image

from captum_paramsal.outlets import to_tensorboard
from captum_paramsal.outlets.image_facts import image_facts


class Recorder:
    """A writer that keeps what it is given."""

    def __init__(self):
        self.scalars, self.images, self.closed = {}, {}, False

    def add_scalar(self, tag, value, step):
        self.scalars[tag, step] = value

    def add_image(self, tag, image, step):
        self.images[tag, step] = image

    def close(self):
        self.closed = True


@pytest.mark.parametrize("name", RESULTS)
def test_scalars_are_those_of_the_summary(name):
    result, images = RESULTS[name]()
    writer = Recorder()
    to_tensorboard(result, images, writer, step=3, most=1)
    numbers = {key: value for key, value in result.summary().items() if isinstance(value, (int, float))}
    assert writer.scalars == {(f"paramsal/{result.kind}/{key}", 3): value for key, value in numbers.items()}
    assert not writer.closed


def test_pictures_with_their_maps_and_filters():
    result, images = explained()
    writer = Recorder()
    to_tensorboard(result, images, writer, most=2, tag="mine")
    surest = sorted(image_facts(result, images), key=lambda one: -one.confidence)[:2]
    for one in surest:
        called = f"mine/explain/images/{one.position} {one.label} taken for {one.predicted}"
        picture = writer.images.pop((called, 0))
        assert picture.shape == (3, 12, 24)
        assert torch.equal((picture[:, :, :12] * 255).round(), (images._images[one.position] * 255).round())
        filters = writer.images.pop((f"{called}/filters", 0))
        assert filters.shape[0] == 3
    assert not writer.images


def test_without_the_library_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match=r"captum-paramsal\[tensorboard\]"):
        to_tensorboard(*explained(), tmp_path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_events_are_read_back(tmp_path):
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415

    result, images = explained()
    for step in (1, 2):
        to_tensorboard(result, images, tmp_path, step=step, most=2)
    events = EventAccumulator(str(tmp_path), size_guidance={"images": 0, "scalars": 0})
    events.Reload()
    accuracy = events.Scalars("paramsal/explain/accuracy")
    assert {event.step for event in accuracy} == {1, 2}
    assert [event.value for event in accuracy] == pytest.approx([result.accuracy] * 2)
    recorder = Recorder()
    to_tensorboard(result, images, recorder, most=2)
    assert {*events.Tags()["images"]} == {tag for tag, _ in recorder.images}
    for (tag, _), given in recorder.images.items():
        with Image.open(io.BytesIO(events.Images(tag)[0].encoded_image_string)) as opened:
            shown = np.array(opened)
        assert np.abs(shown.astype(int) - (255 * given.permute(1, 2, 0).numpy()).astype(int)).max() <= 1
