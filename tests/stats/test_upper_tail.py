"""The largest values of every filter, streamed: against the sorted columns of the whole matrix."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from oracles.pot_saliency import excesses, kept, threshold

from captum_paramsal.errors import IncompleteTailWarning, ParamsalError
from captum_paramsal.stats import TailStream, UpperTail

FRACTIONS = [0.1, 0.05, 0.07, 0.25, 0.3, 0.5]


def profiles(count, filters=5, seed=0, levels=None, dtype=torch.float32):
    """Skewed positive values; with ``levels``, whole numbers up to it, so that most are tied."""
    rng = np.random.default_rng(seed)
    values = rng.lognormal(-5, 1.34, (count, filters)) if levels is None else rng.integers(0, levels, (count, filters))
    return torch.tensor(values).to(dtype)


def assert_is_the_tail(tail, rows, fraction):
    """Every statement of the tail from the columns as a whole."""
    count, filters = rows.shape
    assert tail.count == count
    assert tail.capacity == kept(fraction, count)
    assert tail.values.shape[0] == filters
    assert tail.values.shape[1] <= tail.capacity
    assert tail.values.dtype == rows.dtype
    ordered = rows.sort(dim=0, descending=True).values.T
    assert torch.equal(tail.values, ordered[:, : tail.capacity])
    for j in range(filters):
        column = rows[:, j].tolist()
        t = threshold(column, fraction)
        assert float(tail.threshold[j]) == t, f"filter {j}: threshold {float(tail.threshold[j])}, expected {t}"
        above = excesses(column, t)
        assert int(tail.exceedances[j]) == len(above)
        got = tail.excesses[j]
        assert got.dtype == torch.float64
        assert got[got > 0].sort(descending=True).values.tolist() == above
        assert (got >= 0).all()


def pieces(rows, sizes):
    edges = [0, *itertools.accumulate(sizes)]
    return [rows[a:b] for a, b in itertools.pairwise(edges)]


def merged_in_a_random_tree(tails, random):
    tails = list(tails)
    while len(tails) > 1:
        right = tails.pop(random.randrange(len(tails)))
        left = tails.pop(random.randrange(len(tails)))
        tails.append(left.merge(right))
    return tails[0]


@pytest.mark.parametrize("fraction", FRACTIONS)
@pytest.mark.parametrize("count", [1, 2, 3, 9, 10, 11, 20, 97, 100, 1000, 1003])
@pytest.mark.parametrize("levels", [None, 4])
def test_a_whole_matrix(fraction, count, levels):
    rows = profiles(count, seed=count, levels=levels)
    tail = UpperTail.of(rows, fraction)
    assert tail.total == count
    assert tail.fraction == fraction
    assert_is_the_tail(tail, rows, fraction)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_excesses_are_differences_in_double(dtype):
    # In single precision 1 + 1e-7 and 1 + 3e-7 have a difference that single precision rounds.
    rows = 1 + 1e-6 * profiles(200, seed=5, dtype=dtype) / 1e-2
    assert_is_the_tail(UpperTail.of(rows, 0.1), rows, 0.1)


@pytest.mark.parametrize("sizes", [(103,), (64, 39), (1,) * 103, (25, 25, 25, 25, 3), (102, 1), (3, 100)], ids=len)
@pytest.mark.parametrize("fraction", [0.1, 0.5])
@pytest.mark.parametrize("levels", [None, 3])
def test_parts_of_a_known_whole(sizes, fraction, levels):
    rows = profiles(103, seed=1, levels=levels)
    parts = [UpperTail.of(part, fraction, total=103) for part in pieces(rows, sizes)]
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.merge(part)
    assert whole.total == 103
    assert_is_the_tail(whole, rows, fraction)


@settings(deadline=None, derandomize=True)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    levels=st.sampled_from([None, 2, 6]),
    fraction=st.sampled_from(FRACTIONS),
    random=st.randoms(use_true_random=False),
)
def test_any_split_merged_in_any_order_is_the_whole(sizes, levels, fraction, random):
    rows = profiles(sum(sizes), filters=3, seed=sum(sizes), levels=levels)
    parts = [UpperTail.of(part, fraction, total=len(rows)) for part in pieces(rows, sizes)]
    assert_is_the_tail(merged_in_a_random_tree(parts, random), rows, fraction)


def test_merging_leaves_both_parts_as_they_were():
    rows = profiles(60, seed=2)
    left, right = (UpperTail.of(part, 0.1, total=60) for part in rows.split(30))
    before = [(tail.count, tail.values.clone(), tail.threshold.clone()) for tail in (left, right)]
    left.merge(right)
    for tail, (count, values, thresholds) in zip((left, right), before, strict=True):
        assert tail.count == count
        assert torch.equal(tail.values, values)
        assert torch.equal(tail.threshold, thresholds)


def test_rows_are_not_kept_alive_or_changed():
    rows = profiles(40, seed=3)
    copy = rows.clone()
    tail = UpperTail.of(rows, 0.25)
    values = tail.values.clone()
    assert torch.equal(rows, copy)
    rows.zero_()
    assert torch.equal(tail.values, values)


@settings(deadline=None, derandomize=True)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    levels=st.sampled_from([None, 2, 6]),
    fraction=st.sampled_from(FRACTIONS),
    broken_off=st.integers(0, 8),
)
def test_a_stream_of_any_batches_broken_off_anywhere_is_the_whole(sizes, levels, fraction, broken_off):
    rows = profiles(sum(sizes), filters=3, seed=sum(sizes), levels=levels)
    stream = TailStream(fraction, len(rows))
    for number, part in enumerate(pieces(rows, sizes)):
        if number == broken_off:
            state = {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in stream.state_dict().items()}
            stream.add(profiles(5, filters=3, seed=1) * 100)  # what is lost with the process
            stream = TailStream.from_state_dict(state)
        stream.add(part)
    assert_is_the_tail(stream.tail(), rows, fraction)


def test_streams_of_parts_merge_into_the_whole():
    rows = profiles(103, seed=6)
    tails = []
    for part in (rows[0::2], rows[1::2]):
        stream = TailStream(0.1, 103)
        for batch in part.split(8):
            stream.add(batch)
        tails.append(stream.tail())
    assert_is_the_tail(tails[0].merge(tails[1]), rows, 0.1)


def test_a_stream_keeps_little():
    """At most half as much again as the tail itself, and never the matrix."""
    rows = profiles(5000, filters=8, seed=7)
    stream = TailStream(0.1, len(rows))
    allowed = 1.5 * 0.1 * len(rows) * 8 * 4
    for part in rows.split(100):
        stream.add(part)
        held = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors(vars(stream))}
        assert sum(held.values()) <= allowed, f"{sum(held.values())} bytes, {allowed:.0f} allowed"


def tensors(value):
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [t for v in value for t in tensors(v)] if isinstance(value, list | tuple) else []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_stream_refuses_values_that_are_not_finite_and_goes_on_without_them(value):
    rows = profiles(40, seed=8)
    stream = TailStream(0.25, 40)
    stream.add(rows[:20])
    broken = rows[20:].clone()
    broken[3, 1] = value
    with pytest.raises(ParamsalError, match=f"got {value} in row 3 for quantity 1"):
        stream.add(broken)
    stream.add(rows[20:])
    assert_is_the_tail(stream.tail(), rows, 0.25)


class TestPartsThatKeptTooLittle:
    """Parts that took themselves for the whole kept a tenth of their own: too little where one part is higher."""

    def parts(self):
        rows = profiles(100, filters=4, seed=4)
        rows[:50, 1] += 1  # all of the tail is in the first part
        rows[50:, 2] += 1
        return rows, [UpperTail.of(part, 0.1) for part in rows.split(50)]

    def test_the_threshold_is_raised_with_a_warning(self):
        rows, (left, right) = self.parts()
        with pytest.warns(IncompleteTailWarning) as caught:
            whole = left.merge(right)
        assert "total=100" in str(caught[0].message), "what to do about it"
        assert whole.count == 100
        for j in range(4):
            column = rows[:, j].tolist()
            # Below its fifth largest value, a part knows nothing.
            known = max(sorted(column[:50])[-5], sorted(column[50:])[-5])
            expected = max(threshold(column, 0.1), known)
            assert float(whole.threshold[j]) == expected, f"filter {j}"
        assert float(whole.threshold[1]) > threshold(rows[:, 1].tolist(), 0.1)

    def test_everything_above_the_raised_threshold_is_there(self):
        rows, (left, right) = self.parts()
        for a, b in ((left, right), (right, left)):
            with pytest.warns(IncompleteTailWarning):
                whole = a.merge(b)
            for j in range(4):
                t = float(whole.threshold[j])
                above = excesses(rows[:, j].tolist(), t)
                assert int(whole.exceedances[j]) == len(above)
                got = whole.excesses[j]
                assert got[got > 0].sort(descending=True).values.tolist() == above

    @settings(deadline=None, derandomize=True)
    @given(
        sizes=st.lists(st.integers(2, 40), min_size=2, max_size=5),
        levels=st.sampled_from([None, 3]),
        random=st.randoms(use_true_random=False),
    )
    @pytest.mark.filterwarnings("ignore::captum_paramsal.errors.IncompleteTailWarning")
    def test_in_any_order_nothing_above_the_threshold_is_lost(self, sizes, levels, random):
        rows = profiles(sum(sizes), filters=3, seed=sum(sizes), levels=levels)
        parts = [UpperTail.of(part, 0.2) for part in pieces(rows, sizes)]
        whole = merged_in_a_random_tree(parts, random)
        assert whole.count == len(rows)
        for j in range(3):
            column, t = rows[:, j].tolist(), float(whole.threshold[j])
            assert t >= threshold(column, 0.2)
            assert int(whole.exceedances[j]) == len(excesses(column, t))
            got = whole.excesses[j]
            assert got[got > 0].sort(descending=True).values.tolist() == excesses(column, t)

    def test_a_part_of_a_known_whole_warns_nobody(self, recwarn):
        rows, _ = self.parts()
        left, right = (UpperTail.of(part, 0.1, total=100) for part in rows.split(50))
        assert_is_the_tail(left.merge(right), rows, 0.1)
        assert not recwarn.list


@pytest.mark.parametrize("fraction", [0.0, -0.1, 0.51, 1.0, float("nan")])
def test_other_fractions_are_refused(fraction):
    with pytest.raises(ParamsalError, match=str(fraction)):
        UpperTail.of(profiles(10), fraction)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(value):
    rows = profiles(30)
    rows[7, 2] = value
    with pytest.raises(ParamsalError, match=f"got {value} in row 7 for quantity 2"):
        UpperTail.of(rows, 0.1)


def test_tails_that_do_not_fit_together_are_refused():
    tail = UpperTail.of(profiles(30), 0.1, total=60)
    with pytest.raises(ParamsalError, match=r"0\.2"):
        tail.merge(UpperTail.of(profiles(30), 0.2, total=60))
    with pytest.raises(ParamsalError, match="4"):
        tail.merge(UpperTail.of(profiles(30, filters=4), 0.1, total=60))


def test_refusals_say_what_was_expected():
    with pytest.raises(ParamsalError, match=r"at least one, got \(0, 3\)"):
        UpperTail.of(torch.zeros(0, 3), 0.1)
    with pytest.raises(ParamsalError, match="to be at least 1, got 0"):
        TailStream(0.1, 0)
    with pytest.raises(ParamsalError, match="a stream of at least one row, got none"):
        TailStream(0.1, 5).tail()
    stream = TailStream(0.1, 20)
    stream.add(torch.zeros(10, 3))
    with pytest.raises(ParamsalError, match="rows of 3 quantities like those before, got 4"):
        stream.add(torch.zeros(10, 4))
