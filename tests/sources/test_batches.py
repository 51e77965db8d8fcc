"""Inputs and labels of labelled images: each image once, ready for the model, in shares that read no other images."""

import pytest
import torch
from torch import nn

from captum_paramsal.sources import LabelledTensors, SourceBatches


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
