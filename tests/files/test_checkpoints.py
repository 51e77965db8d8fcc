import numpy as np
import pytest
import torch

from captum_paramsal.errors import CheckpointError
from captum_paramsal.files import Checkpoint

RUN = {"weights": "0123456789abcdef", "filters": {"conv": 3}, "tail": 0.1, "total": None}
STATE = {
    "batches": 7,
    "digest": "f" * 32,
    "statistics": {"moments": {"count": 12, "mean": torch.randn(40, dtype=torch.float64)}, "tail": [1, (2, 3.5), None]},
    "generators": [torch.arange(50, dtype=torch.uint8), torch.zeros(0)],
}


def _same(one, other):
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return type(one) is type(other) and len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and one == other


@pytest.fixture
def content(tmp_path):
    Checkpoint(tmp_path / "pass", RUN).save(STATE)
    return (tmp_path / "pass").read_bytes()


@pytest.mark.usefixtures("content")
def test_what_was_written_is_read(tmp_path):
    assert _same(Checkpoint(tmp_path / "pass", RUN).load(), STATE)
    assert Checkpoint(tmp_path / "another", RUN).load() is None
    assert [path.name for path in tmp_path.iterdir()] == ["pass"]


def test_flipped_bits_and_missing_ends_are_refused_or_change_nothing(tmp_path, content):
    draw, refused = np.random.default_rng(0), 0
    for number in range(350):
        place, bit = int(draw.integers(len(content))), 1 << int(draw.integers(8))
        flipped = content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :]
        (tmp_path / "pass").write_bytes(flipped if number < 300 else content[:place])
        try:
            loaded = Checkpoint(tmp_path / "pass", RUN).load()
        except CheckpointError:
            refused += 1
        else:
            assert _same(loaded, STATE), (place, bit)
    assert refused > 200


@pytest.mark.parametrize("change", [{"checksum": "0" * 32}, {"checksum": None}, {"version": 1}, {"format": "another"}])
@pytest.mark.usefixtures("content")
def test_other_checkpoints_are_refused(tmp_path, change):
    saved = torch.load(tmp_path / "pass", weights_only=True)
    torch.save(saved | change, tmp_path / "pass")
    with pytest.raises(CheckpointError, match=r"Expected a checkpoint of version 2 .*Delete it to begin again"):
        Checkpoint(tmp_path / "pass", RUN).load()


def test_a_place_that_cannot_be_written_is_found_out_before_the_pass(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    for path, message in (
        ("folder", "there is a folder"),
        ("file/pass", "Not a directory"),
        ("x" * 250, "File name too long"),
    ):
        with pytest.raises(CheckpointError, match=message):
            Checkpoint(tmp_path / path, RUN).load()
