import pickle

import pytest
import torch

from captum_paramsal import Filter, FilterIndex, InputError, LayerError, ParamsalError

FILTERS = FilterIndex({"conv1": 2, "attention": 3}, {"attention": ["query head 0", "key head 0", "value head 0"]})


def test_every_column_has_a_filter_and_every_filter_its_column():
    assert [FILTERS.index(one) for one in FILTERS] == list(range(5))
    assert [str(one) for one in FILTERS][1:3] == ["conv1[1]", "attention[0] (query head 0)"]
    assert FILTERS[-1] == Filter("attention", 2)
    assert FILTERS[1:3] == [Filter("conv1", 1), Filter("attention", 0)]


@pytest.mark.parametrize("position", [5, -6])
def test_no_column_beyond_the_last(position):
    with pytest.raises(IndexError, match=f"0 to 4, got {position}"):
        FILTERS[position]


@pytest.mark.parametrize("other", [Filter("conv1", 2), Filter("conv2", 0), Filter("conv1", -1)])
def test_filters_of_another_model_are_refused(other):
    with pytest.raises(LayerError, match=r"conv.\[-?\d\]"):
        FILTERS.index(other)


def test_split_gives_views_by_layer():
    scores = torch.arange(10.0).reshape(2, 5)
    parts = FILTERS.split(scores)
    assert parts["conv1"].tolist() == [[0.0, 1.0], [5.0, 6.0]]
    assert parts["attention"].data_ptr() == scores[:, 2:].data_ptr()
    assert torch.equal(scores[:, FILTERS.slice("attention")], parts["attention"])


def test_top_is_highest_first_and_ties_keep_the_order():
    top = FILTERS.top(torch.tensor([[0.0, 2.0, 1.0, 2.0, -9.0]]), k=3)
    assert top == [[Filter("conv1", 1), Filter("attention", 1), Filter("attention", 0)]]
    assert top[0][1].part == "key head 0"


@pytest.mark.parametrize("k", [0, 6, -1])
def test_top_of_more_filters_than_there_are(k):
    with pytest.raises(ParamsalError, match=f"1 to 5, the number of filters, got {k}"):
        FILTERS.top(torch.zeros(1, 5), k=k)


def test_scores_that_cannot_be_ranked():
    with pytest.raises(InputError, match="NaN for image 1"):
        FILTERS.top(torch.tensor([[0.0] * 5, [float("nan")] * 5]), k=2)
    with pytest.raises(InputError, match=r"\(N, 5\), got \(5,\)"):
        FILTERS.top(torch.zeros(5))
    with pytest.raises(InputError, match=r"\(\.\.\., 5\), got \(2, 4\)"):
        FILTERS.split(torch.zeros(2, 4))


def test_part_names_must_fit():
    with pytest.raises(ParamsalError, match="Expected 3 part names for layer 'attention', got 1"):
        FilterIndex({"attention": 3}, {"attention": ["query"]})


def test_difference_names_what_differs():
    other = FilterIndex({"conv1": 3, "conv9": 1})
    assert FILTERS.difference(other) == ("'attention' is missing; 'conv1' has 3 filters instead of 2; 'conv9' is new")
    assert FILTERS.difference(FilterIndex(dict(reversed(FILTERS.counts.items())))) == (
        "the layers stand in another order"
    )
    assert FILTERS.difference(FILTERS) == ""


def test_equal_after_pickling():
    again = pickle.loads(pickle.dumps(FILTERS))  # noqa: S301 -- our own bytes
    assert again == FILTERS
    assert hash(again) == hash(FILTERS)
    assert again.parts == FILTERS.parts
