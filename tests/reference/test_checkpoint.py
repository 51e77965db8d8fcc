"""A pass that is interrupted and started again ends with the bits of one that was not."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from reference.small_pass import IMAGES, loader, model

from captum_paramsal import CheckpointError, InputError, Reference
from captum_paramsal.files import checkpoint as checkpoints
from captum_paramsal.profiles import FilterProfile

SCRIPT = Path(__file__).with_name("small_pass.py")


def fit(batches, path=None, **options):
    options = {"tail": 0.2, "exemplars": 3, "total": IMAGES, "show_progress": False} | options
    return Reference.fit(options.pop("model", None) or model(), batches, checkpoint=path, **options)


def assert_same_bits(one, other):
    assert one.count == other.count
    for a, b in zip(one._tensors().values(), other._tensors().values(), strict=True):
        assert torch.equal(a, b)
    assert (one.tail.fraction, one.tail.total) == (other.tail.fraction, other.tail.total)
    assert one.exemplar_table.to_dict() == other.exemplar_table.to_dict()


POWER = RuntimeError("power")


def broken_at(number, error=POWER):
    for place, batch in enumerate(loader()):
        if place == number:
            raise error
        yield batch


@pytest.fixture
def often(monkeypatch):
    """Write after every batch."""
    monkeypatch.setattr(checkpoints, "SECONDS", 0.0)
    monkeypatch.setattr(checkpoints, "SHARE", float("inf"))


def patch_scoring(monkeypatch, before):
    """Do something with the inputs before a batch is scored."""
    plain, watched = FilterProfile.__call__, FilterProfile.with_peaks

    def scoring(self, inputs, *args):
        before(inputs)
        return plain(self, inputs, *args)

    def watching(self, outputs, inputs, *args):
        before(inputs)
        return watched(self, outputs, inputs, *args)

    monkeypatch.setattr(FilterProfile, "__call__", scoring)
    monkeypatch.setattr(FilterProfile, "with_peaks", watching)


@pytest.fixture
def scored(monkeypatch):
    """Batches that are scored from here on."""
    calls = []
    patch_scoring(monkeypatch, lambda inputs: calls.append(len(inputs)))
    return calls


@pytest.mark.parametrize(
    "number", [1, pytest.param(2, marks=pytest.mark.slow), 7, pytest.param(11, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("error", [POWER, KeyboardInterrupt("power")], ids=["error", "interrupt"])
def test_resumed_after_an_error(number, error, tmp_path, scored):
    path = tmp_path / "pass"
    with pytest.raises(type(error), match="power"):
        fit(broken_at(number, error), path)
    assert len(scored) == number
    resumed = fit(loader(), path)
    assert len(scored) == len(loader()), "batches that were taken in are scored again"
    assert_same_bits(resumed, fit(loader()))


def test_resumed_after_an_interrupt_in_the_middle_of_a_batch(tmp_path, monkeypatch):
    calls = []

    def interrupt(inputs):
        calls.append(len(inputs))
        if len(calls) == 5:
            raise KeyboardInterrupt

    patch_scoring(monkeypatch, interrupt)
    with pytest.raises(KeyboardInterrupt):
        fit(loader(), tmp_path / "pass")
    assert_same_bits(fit(loader(), tmp_path / "pass"), fit(loader()))
    assert len(calls) == 5 + (len(loader()) - 4) + len(loader())


@pytest.mark.parametrize("number", [pytest.param(1, marks=pytest.mark.slow), 6])
def test_killed_at_any_moment(number, tmp_path):
    command = [sys.executable, str(SCRIPT), str(tmp_path), "killed", str(number)]
    done = subprocess.run(command, check=False, timeout=120)  # noqa: S603 -- our own script
    assert done.returncode == -9
    assert_same_bits(fit(loader(), tmp_path / "pass"), fit(loader()))


@pytest.mark.usefixtures("often")
def test_a_complete_pass_is_not_made_again(tmp_path, scored):
    first = fit(loader(), tmp_path / "pass")
    count = len(scored)
    assert_same_bits(fit(loader(), tmp_path / "pass"), first)
    assert len(scored) == count


@pytest.mark.usefixtures("often")
def test_resumed_twice_and_without_tails(tmp_path):
    for number in (2, 5):
        with pytest.raises(RuntimeError, match="power"):
            fit(broken_at(number), tmp_path / "pass", tail=None)
    resumed = fit(loader(), tmp_path / "pass", tail=None)
    whole = fit(loader(), tail=None)
    assert torch.equal(resumed.mean, whole.mean)
    assert torch.equal(resumed.std, whole.std)
    assert resumed.tail is None


class TestRefused:
    @pytest.fixture
    def path(self, tmp_path):
        with pytest.raises(RuntimeError, match="power"):
            fit(broken_at(5), tmp_path / "pass")
        return tmp_path / "pass"

    def test_other_weights(self, path):
        other = model()
        with torch.no_grad():
            other[0].weight[0, 0, 0, 0] += 1
        self.refused(path, "weights", model=other)

    @pytest.mark.parametrize(
        ("options", "what"),
        [
            ({"tail": 0.3}, "tail 0.2 instead of 0.3"),
            ({"exemplars": None}, "exemplars 3 instead of None"),
            ({"total": 60}, "total 46 instead of 60"),
            ({"internal_batch_size": 2}, "internal_batch_size None instead of 2"),
            ({"layers": "0"}, "filters"),
            ({"loss": lambda logits, labels: -logits.gather(1, labels[:, None])[:, 0]}, "loss"),
        ],
        ids=["tail", "exemplars", "total", "internal batch size", "layers", "loss"],
    )
    def test_other_options(self, path, options, what):
        self.refused(path, what, **options)

    def refused(self, path, what, **options):
        before = path.read_bytes()
        with pytest.raises(CheckpointError, match="of this very run") as error:
            fit(loader(), path, **options)
        assert what in str(error.value)
        assert path.read_bytes() == before

    def test_other_batches(self, path):
        before = path.read_bytes()
        shuffled = list(loader())[::-1]
        with pytest.raises(CheckpointError, match="in another order"):
            fit(shuffled, path)
        assert path.read_bytes() == before

    def test_too_few_batches(self, path):
        with pytest.raises(CheckpointError, match="3 batches, while 5 were taken in"):
            fit(list(loader())[:3], path)

    @pytest.mark.parametrize("damage", [b"", b"no checkpoint", None], ids=["empty", "other", "truncated"])
    def test_a_damaged_file(self, path, damage):
        path.write_bytes(path.read_bytes()[:-200] if damage is None else damage)
        with pytest.raises(CheckpointError, match="Delete it to begin again"):
            fit(loader(), path)

    def test_a_place_that_cannot_be_written(self, tmp_path):
        with pytest.raises(CheckpointError, match="cannot be written"):
            fit(loader(), tmp_path / "no folder" / "pass")


def test_a_stream_needs_its_length_for_a_tail():
    with pytest.raises(InputError, match=r"Expected `total`.*tail=None"):
        fit(iter(loader()), total=None)


@pytest.mark.parametrize("tail", [0.0, -0.1, 0.51, 1.0, float("nan")])
def test_tails_out_of_range(tail):
    with pytest.raises(InputError, match=r"in \(0, 0.5\]"):
        fit(loader(), tail=tail)
