"""Interrupted comparisons go on and end as if nothing had happened; files are whole or refused."""

import pytest
import torch
from comparison.small_runs import QUICK, same, small_run
from metrics.small_cases import small_model, some_images

from captum_paramsal import CheckpointError, Reference, SourceError
from captum_paramsal.comparison import Comparison

IMAGES, _ = some_images(5)


class Interrupted:
    """A method that is interrupted at one of its calls, as by a user; what it returns depends on random numbers."""

    def __init__(self, at=None, error=KeyboardInterrupt):
        self.at, self.error, self.calls = at, error, 0

    def __call__(self, inputs):
        self.calls += 1
        if self.calls == self.at:
            raise self.error
        if (inputs == IMAGES[1]).all(dim=(1, 2, 3)).any():
            message = "never this one"
            raise ValueError(message)
        return inputs + 0.1 * torch.randn_like(inputs)

    __name__ = "interrupted"


def run(method, path=None, **options):
    options = {"metrics": QUICK, "batch_size": 2, "keep": 3, **options}
    return small_run({"saliency": "saliency", "mine": method}, IMAGES, checkpoint=path, **options)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("at", [1, 5, 6])
def test_goes_on_where_it_was_interrupted(tmp_path, at, error):
    path = tmp_path / "checkpoint"
    with pytest.raises(error):
        run(Interrupted(at, error), path)
    assert path.exists() is (at > 4)
    again, whole = Interrupted(), Interrupted()
    found, expected = run(again, path), run(whole)
    assert same(found, expected)
    assert (again.calls < whole.calls) is (at > 4)
    assert [(one.image, one.step) for one in found.failures] == [(1, "maps")]
    finished = Interrupted()
    assert same(run(finished, path), expected)
    assert finished.calls == 0


def test_images_of_several_sizes_go_on(tmp_path):
    large, _ = some_images(2, size=(9, 12))
    images = [large[0], IMAGES[0], large[1], IMAGES[2]]
    path, options = tmp_path / "checkpoint", {"metrics": QUICK[:1], "batch_size": 1}
    with pytest.raises(KeyboardInterrupt):
        small_run({"mine": Interrupted(3)}, images, checkpoint=path, **options)
    found = small_run({"mine": Interrupted()}, images, checkpoint=path, **options)
    assert same(found, small_run({"mine": Interrupted()}, images, **options))


OTHERS = {
    "images": {"images": IMAGES.flip(0)},
    "shapes": {"images": IMAGES.reshape(5, 3, 10, 8)},
    "targets": {"targets": 1},
    "boxes": {"boxes": torch.tensor([[0, 0, 3, 3]] * 5)},
    "methods": {"methods": ["saliency", "deep_lift"]},
    "metrics": {"metrics": QUICK[:1]},
    "model": {"model": small_model().requires_grad_(requires_grad=False)},
    "batch_size": {"batch_size": 3},
    "keep": {"keep": 1},
}
with torch.no_grad():
    OTHERS["model"]["model"][0].weight[0] += 1


@pytest.mark.parametrize("name", OTHERS)
def test_a_checkpoint_of_another_comparison_is_refused(tmp_path, name):
    options = {"methods": ["saliency"], "images": IMAGES, "targets": 0, "metrics": ["sparsity"]}
    options["checkpoint"] = tmp_path / "checkpoint"
    small_run(**options)
    told = "images" if name == "shapes" else name
    with pytest.raises(CheckpointError, match=rf"got one with other .*{told}.*Delete it"):
        small_run(**{**options, **OTHERS[name]})


def test_a_checkpoint_with_another_reference_is_refused(tmp_path):
    model = small_model()
    one, other = (Reference.fit(model, [(IMAGES[:n], [0] * n)], show_progress=False) for n in (4, 5))
    options = {"metrics": ["sparsity"], "model": model, "checkpoint": tmp_path / "checkpoint"}
    small_run(["input_space_saliency"], IMAGES[:1], reference=one, **options)
    with pytest.raises(CheckpointError, match="with other reference"):
        small_run(["input_space_saliency"], IMAGES[:1], reference=other, **options)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    path = tmp_path / "checkpoint"
    path.write_text("something else", encoding="utf-8")
    with pytest.raises(CheckpointError, match="Delete it to begin again"):
        small_run(checkpoint=path)
    small_run(["saliency"], metrics=["sparsity"]).save(path)
    with pytest.raises(CheckpointError, match="Delete it"):
        small_run(checkpoint=path)


def test_saved_and_loaded(tmp_path):
    def half(inputs):
        if len(inputs) > 1 or (inputs == IMAGES[0]).all():
            message = "no “quotes”\nand lines"
            raise ValueError(message)
        return inputs

    found = small_run({"mine": half, "nothing": torch.zeros_like, "saliency": "saliency"}, IMAGES, keep=2)
    found.save(tmp_path / "comparison.safetensors")
    loaded = Comparison.load(tmp_path / "comparison.safetensors")
    assert same(found, loaded, but=())
    assert loaded.context["versions"].keys() == {"captum_paramsal", "captum", "torch"}
    assert loaded.failures[0].message == "ValueError: no “quotes”\nand lines"
    assert repr(loaded.table()) == repr(found.table())


@pytest.mark.parametrize("cut", [0, 7, 900, -1])
def test_a_damaged_file_is_refused(tmp_path, cut):
    path = tmp_path / "comparison"
    small_run(["saliency"], metrics=["sparsity"]).save(path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(SourceError, match="Expected a comparison file"):
        Comparison.load(path)


def test_a_changed_bit_is_noticed(tmp_path):
    path = tmp_path / "comparison"
    small_run(["saliency"], metrics=["sparsity"]).save(path)
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    with pytest.raises(SourceError, match="does not match its checksum"):
        Comparison.load(path)


def test_no_such_file_and_no_such_folder(tmp_path):
    with pytest.raises(SourceError, match="cannot be read"):
        Comparison.load(tmp_path / "nothing")
    with pytest.raises(SourceError, match="cannot be written"):
        small_run(["saliency"], metrics=["sparsity"]).save(tmp_path / "nothing" / "file")
