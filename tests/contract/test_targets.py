"""``target``: every kind that Captum takes, and what is refused."""

import pytest
import torch
from contract.closeness import assert_same
from contract.registry import built
from contract.snapshot import nothing_left_behind

from captum_paramsal.errors import TargetError


def test_one_class_for_all_in_every_kind(kept, attribute):
    expected = attribute(kept, target=torch.full((6,), 2))
    for target in (2, torch.tensor(2), torch.tensor([2]), [2] * 6, (2,), [(2,)] * 6):
        assert_same(attribute(kept, target=target), expected, f"target={target!r}")


def test_a_class_for_each_in_every_kind(kept, attribute):
    expected, labels = attribute(kept), kept.target
    for target in (labels.tolist(), [(c,) for c in labels.tolist()], labels.int(), labels[:, None], labels.numpy()):
        assert_same(attribute(kept, target=target), expected, f"target={target!r}")
        assert_same(attribute(kept, target=target, internal_batch_size=4), expected, f"target={target!r}, split")


def test_none_is_the_models_prediction(sample, attribute):
    with torch.no_grad():
        predicted = sample.model.eval()(sample.inputs).argmax(1)
    assert len(predicted.unique()) > 1
    expected = attribute(sample, target=predicted)
    for mode in (True, False):
        sample.model.train(mode)
        assert_same(attribute(sample, target=None), expected, f"target=None, training={mode}")
        assert_same(attribute(sample, target=None, internal_batch_size=4), expected, "target=None, split")


def test_the_target_matters(kept, attribute):
    assert not torch.allclose(attribute(kept, target=0), attribute(kept, target=1))


def test_one_place_of_a_map_for_all(entry, attribute):
    if "dense" in entry.excluded:
        pytest.skip(f"{entry}: {entry.excluded['dense']}")
    dense, _ = built(entry.name, "dense")
    expected = attribute(dense, target=[(3, 1, 2)] * 6)
    assert_same(attribute(dense, target=(3, 1, 2)), expected, "target=(3, 1, 2)")
    assert not torch.allclose(attribute(dense, target=(3, 2, 1)), expected)


BAD = {
    "class too large": (5, ["5"]),
    "Captum's own bad target": ((9999,) * 20, ["9999"]),
    "very large": (9999, ["9999", "4"]),
    "negative": (-1, ["-1"]),
    "ignored label": (torch.tensor([0, 1, -100, 3, 4, 0]), ["-100"]),
    "one of the tensor too large": (torch.tensor([0, 1, 2, 3, 4, 7]), ["7", "4"]),
    "one of the list too large": ([0, 1, 2, 3, 4, 7], ["7", "4"]),
    "too few": ([0, 1, 2], ["3", "6"]),
    "too many": (torch.arange(5).repeat(2), ["10", "6"]),
    "empty list": ([], ["6"]),
    "matrix": (torch.zeros(6, 5, dtype=torch.long), ["(6, 5)"]),
    "fractions": (torch.tensor([0.5] * 6), ["float"]),
    "a fraction": (1.5, ["1.5"]),
    "probabilities": (torch.full((6, 5), 0.2), ["(6, 5)"]),
    "a name": ("cat", ["cat"]),
    "names": (["cat"] * 6, ["cat"]),
    "place in an output without places": ((1, 0), ["(1, 0)"]),
    "places in an output without places": ([(1, 0, 0)] * 6, ["(1, 0, 0)"]),
    "list of tuples, one too large": ([(0,)] * 5 + [(8,)], ["8"]),
    "empty tuple": ((), ["()"]),
}


@pytest.mark.parametrize("bad", BAD)
def test_bad_targets(entry, bad):
    target, words = BAD[bad]
    sample, attribution = built(entry.name, "small")
    with nothing_left_behind(sample.model, sample.inputs), pytest.raises(TargetError) as caught:
        attribution.attribute(sample.inputs, target=target)
    assert isinstance(caught.value, AssertionError), "code written for Captum catches this"
    assert isinstance(caught.value, ValueError)
    for word in words:
        assert word in str(caught.value), f"{word!r} is missing in: {caught.value}"


@pytest.mark.parametrize(
    ("target", "words"),
    [(2, ["2"]), ((2, 1), ["(2, 1)"]), ((2, 1, 6), ["6"]), ((2, 1, 2, 0), ["(2, 1, 2, 0)"]), ((5, 0, 0), ["5"])],
    ids=["class alone", "too short", "outside of the map", "too long", "class too large"],
)
def test_bad_places(entry, target, words):
    if "dense" in entry.excluded:
        pytest.skip(f"{entry}: {entry.excluded['dense']}")
    dense, attribution = built(entry.name, "dense")
    with nothing_left_behind(dense.model, dense.inputs), pytest.raises(TargetError) as caught:
        attribution.attribute(dense.inputs, target=target)
    for word in words:
        assert word in str(caught.value), f"{word!r} is missing in: {caught.value}"


@pytest.mark.parametrize("size", [None, 2])
def test_a_bad_target_behind_good_ones_is_found_before_anything_is_returned(kept, attribute, size):
    with nothing_left_behind(kept.model, kept.inputs), pytest.raises(TargetError, match="5"):
        attribute(kept, target=[0, 0, 0, 0, 0, 5], internal_batch_size=size)
