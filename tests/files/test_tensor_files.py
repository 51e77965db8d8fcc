"""Every kind of file: readable by whom the umask allows, equal when written twice, whole or refused."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from files.small_values import VALUES, small_value
from safetensors.torch import save_file

from captum_paramsal import PatchError
from captum_paramsal.files import kinds
from captum_paramsal.files.file_kind import FileKind
from captum_paramsal.files.json_file import JsonFile

# No values, and weights of others are read too: their tests are in `test_checkpoints.py`, `sources`, `reproduce` and
# `report/annotate`.
APART = (kinds.CHECKPOINT, kinds.WEIGHTS, kinds.PIECE, kinds.PICTURES)
KINDS = {kind.name: kind for kind in vars(kinds).values() if isinstance(kind, FileKind) and kind not in APART}
OLD = Path(__file__).with_name("old")


@pytest.fixture(params=KINDS)
def name(request):
    return request.param


@pytest.fixture
def kind(name):
    return KINDS[name]


@pytest.fixture
def value(name):
    return small_value(name)


@pytest.fixture
def load(value):
    return type(value).load


@pytest.fixture
def path(value, tmp_path):
    path = tmp_path / "file"
    value.save(path)
    return path


def test_there_is_a_value_of_every_kind():
    assert KINDS.keys() == VALUES.keys()
    assert len({kind.format for kind in KINDS.values()}) == len(KINDS)


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_umask_says_who_may_read_it(value, tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        value.save(tmp_path / "file")
    finally:
        os.umask(before)
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {mode}


def test_the_same_value_is_the_same_bytes(value, load, path, tmp_path):
    for folder, saved in (("again", value), ("loaded", load(path))):
        (tmp_path / folder).mkdir()
        saved.save(tmp_path / folder / "file")
        assert (tmp_path / folder / "file").read_bytes() == path.read_bytes(), folder


def test_no_other_file_is_left(name, path):
    expected = {"file", "file.safetensors"} if name == "treatment" else {"file"}
    assert {file.name for file in path.parent.iterdir()} == expected


def test_every_changed_bit_is_noticed(kind, load, path):
    whole = path.read_bytes()
    for place in range(0, len(whole), len(whole) // 60 + 1):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(kind.error, match=r"Expected a .*file'"):
            load(path)


def test_a_truncated_file_is_refused(kind, load, path):
    whole = path.read_bytes()
    for length in (0, 1, 7, 8, 100, len(whole) // 2, len(whole) - 8, len(whole) - 2):
        path.write_bytes(whole[:length])
        with pytest.raises(kind.error, match=r"Expected a .*file'"):
            load(path)


@pytest.mark.slow
def test_damaged_files_are_refused_or_hold_the_same(kind, load, path, tmp_path):
    whole, draw, refused = path.read_bytes(), np.random.default_rng(0), 0
    for number in range(350):
        place, bit = int(draw.integers(len(whole))), 1 << int(draw.integers(8))
        flipped = whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :]
        path.write_bytes(flipped if number < 300 else whole[:place])
        try:
            loaded = load(path)
        except kind.error:
            refused += 1
        else:
            loaded.save(tmp_path / "again")
            assert (tmp_path / "again").read_bytes() == whole, (number, place, bit)
    assert refused >= 340


def test_another_kind_is_refused_and_both_are_named(kind, load, tmp_path):
    other = next(each for each in KINDS.values() if type(each) is type(kind) and each != kind)
    small_value(other.name).save(tmp_path / "other")
    with pytest.raises(kind.error, match=rf"{kind.format}'.*, got '{other.format}' in version {other.versions[-1]}"):
        load(tmp_path / "other")


def test_a_version_of_the_future_is_refused(kind, load, tmp_path):
    future, empty = replace(kind, versions=(99,)), [{}] if isinstance(kind, JsonFile) else [{}, {}]
    future.save(tmp_path / "future", *empty)
    with pytest.raises(kind.error, match=rf"in version 1( or .*)?, got '{kind.format}' in version 99"):
        load(tmp_path / "future")
    kind.save(tmp_path / "future", *empty)
    with pytest.raises(kind.error, match=f"Expected a {kind.name} file, got .* without a part of one"):
        load(tmp_path / "future")


def test_files_of_others_are_refused(kind, load, tmp_path):
    save_file({"weight": torch.ones(2)}, tmp_path / "plain")
    save_file({"weight": torch.ones(2)}, tmp_path / "annotated", {"format": "pt"})
    (tmp_path / "text").write_text("[]")
    (tmp_path / "folder").mkdir()
    for file in ("plain", "annotated", "text", "folder", "missing"):
        with pytest.raises(kind.error, match=rf"Expected a .*{file}'"):
            load(tmp_path / file)


def test_a_place_that_cannot_be_written(kind, value, tmp_path):
    (tmp_path / "no folder").write_text("")
    with pytest.raises((kind.error, PatchError), match=r"no folder/.*' cannot be written"):
        value.save(tmp_path / "no folder" / "file")


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("disk full")], ids=["interrupt", "disk full"])
def test_a_stop_while_writing_leaves_the_old_file(kind, value, path, monkeypatch, error):
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}

    def stop(_):
        raise error

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises((kind.error, PatchError, KeyboardInterrupt)):
        value.save(path)
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before


def same(one, other):
    """Whether two values hold the same, but for rounding and what a clock shows."""
    if isinstance(one, torch.Tensor):
        return torch.allclose(one.double(), other.double(), rtol=1e-9, atol=1e-12, equal_nan=True)
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return same(vars(one), vars(other)) if hasattr(one, "__dict__") else one == pytest.approx(other, nan_ok=True)


NETWORK = {"0.weight", "0.bias", "2.weight", "2.bias", "5.weight", "5.bias"}
LENGTHS = [8, 8, 22, 15, 9]
OLD_VALUES = {
    "reference.safetensors": lambda reference: (reference.count, reference.tail.fraction) == (12, 0.5),
    "reference_1.safetensors": lambda reference: (reference.count, reference.tail) == (12, None),
    "reference_3.safetensors": lambda reference: (reference.tail.total, reference.exemplar_table) == (12, None),
    "trace.safetensors": lambda trace: [len(each) for each in trace.layers.values()] == LENGTHS,
    "trace_2.safetensors": lambda trace: (
        ([len(each) for each in trace.layers.values()], trace.restriction) == (LENGTHS, None)
    ),
    "weight_search.json": lambda search: search.weights.current == 0.5,
    "diagnosis.safetensors": lambda diagnosis: diagnosis.counts.tolist() == [0, 8, 0],
    "findings.safetensors": lambda findings: findings.images.tolist() == [0, 3, 6],
    "patch.safetensors": lambda patch: patch.changes.keys() == NETWORK,
    "treatment.safetensors": lambda patch: patch.changes.keys() == NETWORK,
    "treatment.json": lambda treatment: treatment.after.accuracy == pytest.approx(2 / 3),
    "curve.safetensors": lambda curve: curve.predicted.tolist() == [0, 1, 1],
    "comparison.safetensors": lambda comparison: comparison.predicted.tolist() == [0, 1, 1, 1, 1, 1, 1, 1],
    "triage.safetensors": lambda triage: triage.images.tolist() == [0, 3, 6, 9],
    "model_comparison.safetensors": lambda comparison: comparison.labels.tolist() == [1, 1, 1, 2, 1, 1, 2, 1],
}
OLD_KINDS = {
    "reference_1.safetensors": "reference",
    "reference_3.safetensors": "reference",
    "trace_2.safetensors": "trace",
    "treatment.safetensors": "patch",
}


def of_old(file):
    """The kind and the type of a file of version 0.1."""
    name = OLD_KINDS.get(file, Path(file).stem.replace("_", " "))
    return KINDS[name], type(small_value(name))


@pytest.mark.parametrize("file", OLD_VALUES)
def test_a_file_of_version_0_1_is_read_and_written_as_now(file, tmp_path):
    _, saved = of_old(file)
    value = saved.load(OLD / file)
    assert OLD_VALUES[file](value)
    value.save(tmp_path / "file")
    assert same(saved.load(tmp_path / "file"), value)


@pytest.mark.parametrize("file", sorted(OLD_VALUES.keys() - {"trace.safetensors", "weight_search.json"}))
def test_a_damaged_file_of_version_0_1_is_refused(file, tmp_path):
    kind, saved = of_old(file)
    whole = (OLD / file).read_bytes()
    # The last number of the JSON file is in front of some punctuation.
    place = len(whole) - (whole[::-1].index(b"1") + 1 if file.endswith("json") else 1)
    (tmp_path / "file").write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    with pytest.raises(kind.error, match="does not match its checksum"):
        saved.load(tmp_path / "file")


def test_every_kind_has_a_file_of_version_0_1():
    assert {of_old(file)[0].name for file in OLD_VALUES} == {k for k, kind in KINDS.items() if kind.versions != (1,)}
    assert {file.name for file in OLD.iterdir()} == OLD_VALUES.keys()
