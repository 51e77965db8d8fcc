"""Methods added to a comparison that is done."""

import pytest
import torch
from comparison.small_runs import same, small_run
from metrics.small_cases import some_images

from captum_paramsal.comparison import Comparison
from captum_paramsal.errors import InputError


def _scores(found, name):
    return dict(zip(found.methods, found.column(name), strict=True))


def test_added_methods_have_the_scores_of_a_whole_run(tmp_path):
    images, metrics = some_images(4)[0], ["deletion", "sparsity"]
    whole = small_run(["saliency", "grad_cam", "random"], images, metrics=metrics, keep=2)
    first = small_run(["saliency", "grad_cam"], images, metrics=metrics, keep=2)
    both = first.with_methods_of(small_run(["random"], images, metrics=metrics, keep=3))
    assert both.methods == whole.methods
    for name in ("deletion", "sparsity"):
        for method, scores in _scores(whole, name).items():
            torch.testing.assert_close(_scores(both, name)[method], scores, rtol=0, atol=0, equal_nan=True)
    assert both.kept == whole.kept
    assert all(torch.equal(one, other) for one, other in zip(both.maps, whole.maps, strict=True))
    assert both.degenerate.equal(whole.degenerate)
    assert both.agreement[:2, :2].equal(first.agreement)
    assert both.agreement[0, 2].isnan()
    both.save(tmp_path / "both.safetensors")
    assert Comparison.load(tmp_path / "both.safetensors").methods == both.methods


def test_what_one_did_not_measure_is_empty():
    images = some_images(3)[0]
    first = small_run(["saliency"], images, metrics=["sparsity"])
    both = first.with_methods_of(small_run(["grad_cam"], images, metrics=["deletion"]))
    assert [column.name for column in both.columns][:2] == ["sparsity", "seconds"]
    assert _scores(both, "deletion")["saliency"].isnan().all()
    assert _scores(both, "sparsity")["grad_cam"].isnan().all()
    assert _scores(both, "deletion")["random order"].isfinite().all()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"images": some_images(3)[0] + 0.1}, "images"),
        ({"images": some_images(2)[0]}, "number of images, 3 and 2"),
        ({"targets": torch.tensor([0, 1, 0])}, "targets"),
    ],
)
def test_other_images_are_refused(change, named):
    options = {"images": some_images(3)[0], "targets": torch.tensor([0, 0, 0]), "metrics": ["sparsity"]}
    first = small_run(["saliency"], **options)
    if "images" in change:
        change["targets"] = torch.zeros(len(change["images"]), dtype=torch.long)
    other = small_run(["grad_cam"], **{**options, **change})
    with pytest.raises(InputError, match=named):
        first.with_methods_of(other)


def test_the_same_name_twice_is_refused():
    one = small_run(["saliency"], metrics=["sparsity"])
    with pytest.raises(InputError, match="saliency in both"):
        one.with_methods_of(one)


def test_the_old_name_of_the_method():
    images = some_images(2)[0]
    first, second = (small_run([name], images, metrics=["sparsity"]) for name in ("saliency", "grad_cam"))
    with pytest.warns(DeprecationWarning, match=r"is now `Comparison.with_methods_of`"):
        both = first.beside(second)
    assert same(both, first.with_methods_of(second))
