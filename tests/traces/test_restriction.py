"""What a trace through a filter says of its size and its places."""

import pytest
import torch
from torch import nn

from captum_paramsal import DiscernibleNeurons, Filter, InputError, Trace
from captum_paramsal.traces import Neurons, Restriction


def neurons(size, *rows, score=None):
    """Of a layer: image, channel, y, x of each."""
    image, channel, y, x = torch.tensor(rows, dtype=torch.long).reshape(-1, 4).T
    none = torch.zeros(len(image))
    scores = none + 1 if score is None else torch.tensor(score)
    return Neurons(image, channel, y, x, scores, none, none, none, size)


FILTERS = (Filter("conv", 2), Filter("conv", 0))
LAYERS = {
    "output": neurons((3, 1, 1), (0, 1, 0, 0), (1, 2, 0, 0), score=[-2.0, 4.0]),
    "conv": neurons((4, 5, 5), (0, 2, 1, 1), (0, 2, 3, 0), (0, 1, 1, 1), (1, 3, 2, 2), score=[1.0, 3.0, 4.0, 2.0]),
    "input": neurons((1, 5, 5), (0, 0, 1, 1), (1, 0, 2, 2)),
}
KEPT = {"output": [True, False], "conv": [True, True, False, False], "input": [True, False]}


@pytest.fixture
def part():
    whole = Trace(LAYERS, torch.tensor([1, 2]), (2, 1, 5, 5))
    return whole.restricted(FILTERS, {name: torch.tensor(rows) for name, rows in KEPT.items()})


def test_shares_of_neurons_and_of_the_score(part):
    assert part.reached.tolist() == [True, False]
    shares = {name: share.tolist() for name, share in part.shares().items()}
    assert shares == {"output": [1, 0], "conv": [pytest.approx(2 / 3), 0], "input": [1, 0]}
    of_score = part.shares("score")
    assert of_score["conv"].tolist() == [pytest.approx(4 / 8), 0]
    assert of_score["output"][0].isnan(), "a class score below zero is no share of anything"
    assert part.restriction.counts["conv"].tolist() == [3, 1]
    with pytest.raises(InputError, match='"neurons" or of the "score", got \'weights\''):
        part.shares("weights")


def test_places_of_the_filter_from_the_largest_score_down(part):
    assert part.filter_places().tolist() == [[3, 0], [1, 1]]
    assert part.filter_places(1).tolist() == []
    assert part.filter_places(1).shape == (0, 2)


def test_each_row_of_the_table_names_the_filter(part):
    rows = part.to_table()
    assert len(rows) == 4
    assert {row["through"] for row in rows} == {"conv[2]"}
    assert "through" not in Trace(LAYERS, part.labels, part.shape).to_table()[0]


def test_the_summary_names_the_filters(part):
    assert "through: 2 filters, in 1 of 2 images" in repr(part)
    assert "through" not in repr(Trace(LAYERS, part.labels, part.shape))


def test_a_whole_trace_goes_through_no_filter():
    whole = Trace(LAYERS, torch.tensor([1, 2]), (2, 1, 5, 5))
    assert whole.reached.all()
    for ask in (whole.shares, whole.filter_places):
        with pytest.raises(InputError, match="goes through a filter, got a whole one"):
            ask()


def test_parts_of_a_batch_are_joined(part):
    both = Trace.joined([part, part])
    assert both.restriction.filters == FILTERS * 2
    assert both.reached.tolist() == [True, False] * 2
    assert both.restriction.counts["conv"].tolist() == [3, 1, 3, 1]
    assert both.shares()["conv"].tolist() == part.shares()["conv"].tolist() * 2


def test_it_is_saved_and_loaded(part, tmp_path):
    part.save(tmp_path / "trace.safetensors")
    loaded = Trace.load(tmp_path / "trace.safetensors")
    assert loaded.restriction.filters == FILTERS
    assert loaded.to_table() == part.to_table()
    for of in ("neurons", "score"):
        for name, share in part.shares(of).items():
            torch.testing.assert_close(loaded.shares(of)[name], share, equal_nan=True)


def test_the_name_of_a_head_is_kept(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    trace = DiscernibleNeurons(model).trace(torch.rand(1, 1, 5, 5), through=Filter("0", 1, "row"))
    trace.save(tmp_path / "trace")
    assert [str(item) for item in Trace.load(tmp_path / "trace").restriction.filters] == ["0[1] (row)"]


def test_required():
    with pytest.raises(InputError, match="`through=`"):
        Restriction.required(None)
