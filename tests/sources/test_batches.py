"""Inputs and labels of labelled images: each image once, ready for the model, in shares that read no other images."""

import threading

import pytest
import torch
from cases.thread_group import in_threads
from torch import nn

from captum_paramsal.errors import SourceError
from captum_paramsal.reference import ProcessGroup
from captum_paramsal.sources import LabelledTensors, Skipped, SourceBatches, skipped_by_all


@pytest.fixture
def images():
    return LabelledTensors(torch.arange(11.0)[:, None, None, None].expand(-1, 1, 2, 2), torch.arange(11) % 3)


def numbers(batches):
    return [[int(image[0, 0, 0]) for image in inputs] for inputs, _ in batches]


def test_all_images_with_their_labels(images):
    batches = SourceBatches(images, nn.Conv2d(1, 1, 1), batch_size=4)
    assert len(batches) == len(list(batches)) == 3
    assert numbers(batches) == numbers(batches) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]
    assert torch.cat([labels for _, labels in batches]).tolist() == [number % 3 for number in range(11)]


def test_numbers_and_names_of_the_images(images):
    batches = SourceBatches(images, nn.ReLU(), [7, 2, 5], batch_size=2)
    names = [images.items[position].name for position in (7, 2, 5)]
    assert [(tuple(batch.numbers), batch.names) for batch in batches] == [((7, 2), names[:2]), ((5,), names[2:])]


def test_positions_in_their_order(images):
    batches = SourceBatches(images, nn.ReLU(), [7, 2, 5], batch_size=2)
    assert numbers(batches) == [[7, 2], [5]]
    assert [batch.positions for batch in batches.read()] == [(7, 2), (5,)]
    assert batches.delivered == [7, 2, 5]
    assert numbers(batches.at([1])) == [[1]]
    assert len(batches.at([])) == 0
    assert numbers(batches.at([])) == []


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_shares_are_every_size_th_batch(images, size):
    batches = SourceBatches(images, nn.ReLU(), batch_size=2)
    shares = [numbers(batches.share(rank, size)) for rank in range(size)]
    assert shares == [numbers(batches)[rank::size] for rank in range(size)]


class Unreadable:
    """Images of which some cannot be read, as photos come: a batch without any is not there at all."""

    def __init__(self, images, positions):
        self._images, self._unreadable, self.seen = images, positions, []
        self.items = images.items

    @property
    def skipped(self):
        return [Skipped(self.items[position].name, "damaged") for position in sorted(self.seen)]

    def batches(self, batch_size, positions):
        read = False
        for start in range(0, len(positions), batch_size):
            chosen = positions[start : start + batch_size]
            self.seen += [position for position in chosen if position in self._unreadable]
            readable = [position for position in chosen if position not in self._unreadable]
            if readable:
                read = True
                yield from self._images.batches(batch_size, readable)
        if not read:
            message = "none"
            raise SourceError(message)


@pytest.mark.parametrize("gone", [{1}, {2, 3}, {0, 1, 4, 5}, {0, 1, 4, 5, 8, 9}], ids=str)
def test_what_cannot_be_read_moves_no_batch_to_another_turn(images, gone, monkeypatch):
    whole = SourceBatches(Unreadable(images, gone), nn.ReLU(), batch_size=2)
    expected = list(whole.made(lambda batch: batch.labels.tolist(), "labels"))

    def work(group):
        monkeypatch.setattr(ProcessGroup, "current", lambda: of_thread.group)
        of_thread.group = group
        batches = SourceBatches(Unreadable(images, gone), nn.ReLU(), batch_size=2)
        made = list(batches.made(lambda batch: batch.labels.tolist(), "labels"))
        delivered = list(batches.delivered)
        list(batches.share(group.rank, group.size))
        batches.join_delivered()
        return made, delivered, batches.delivered, skipped_by_all(batches.images)

    of_thread = threading.local()
    for made, delivered, joined, skipped in in_threads(2, work):
        assert made == expected
        assert delivered == joined == whole.delivered
        assert skipped == tuple(dict.fromkeys(whole.images.skipped))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_inputs_have_the_precision_of_the_model(images, dtype):
    model = nn.Sequential(nn.Embedding(2, 2), nn.Conv2d(1, 1, 1)).to(dtype)
    inputs, labels = next(iter(SourceBatches(images, model)))
    assert (inputs.dtype, labels.dtype) == (dtype, torch.int64)


def test_device_is_that_of_the_model(images):
    inputs, labels = next(iter(SourceBatches(images, nn.Conv2d(1, 1, 1, device="meta"))))
    assert inputs.is_meta
    assert labels.is_meta
    inputs, _ = next(iter(SourceBatches(images, nn.ReLU(), device=torch.device("meta"))))
    assert inputs.is_meta


def test_progress_counts_images(images, capsys):
    list(SourceBatches(images, nn.ReLU()).read("a pass", show_progress=True))
    assert "a pass: 100%" in capsys.readouterr().err
