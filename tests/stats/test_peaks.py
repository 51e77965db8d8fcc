"""The highest values of a stream: against all of them, sorted."""

import torch
from hypothesis import given, strategies as st

from captum_paramsal.stats import Peaks, PeakStream


def entries(values, rows):
    """One entry for each row and quantity of ``(N, F)`` values; the place tells both."""
    quantities = values.shape[1]
    row, quantity = (each.flatten() for each in torch.meshgrid(rows, torch.arange(quantities), indexing="ij"))
    place = torch.stack([row, quantity, torch.full_like(row, -1)], dim=1)
    return Peaks(quantity, values.flatten().double(), row, place, row % 4)


def expected(values, k):
    """Row numbers of the k highest of each quantity, of equal ones the lower row."""
    order = [sorted(range(len(values)), key=lambda n, f=f: (-float(values[n, f]), n)) for f in range(values.shape[1])]
    return [rows[:k] for rows in order]


def rows_of(peaks, quantities):
    return [peaks.of(quantity).row.tolist() for quantity in range(quantities)]


@given(
    st.lists(st.lists(st.integers(-2, 2), min_size=3, max_size=3), min_size=1, max_size=12),
    st.integers(1, 5),
    st.randoms(use_true_random=False),
)
def test_the_highest_of_any_order_of_parts(numbers, k, random):
    values = torch.tensor(numbers, dtype=torch.float32)
    order = list(range(len(values)))
    random.shuffle(order)
    stream = PeakStream(3, k)
    while order:
        size = random.randint(1, len(order))
        rows, order = torch.tensor(order[:size]), order[size:]
        part = entries(values[rows], rows)
        # Those below the floor may be left out.
        stream.add(part[part.value >= stream.floor[part.quantity]])
        if random.random() < 0.3:
            stream = PeakStream.from_state_dict(stream.state_dict())
    kept = stream.peaks()
    assert rows_of(kept, 3) == expected(values, k)
    assert torch.equal(kept.place[:, 0], kept.row)
    assert torch.equal(kept.place[:, 1], kept.quantity)
    assert torch.equal(kept.label, kept.row % 4)
    assert torch.equal(kept.value, values[kept.row, kept.quantity].double())


def test_what_waits_is_bounded():
    stream = PeakStream(10, 4)
    generator = torch.Generator().manual_seed(0)
    for start in range(0, 400, 8):
        stream.add(entries(torch.rand(8, 10, generator=generator), torch.arange(start, start + 8)))
        assert sum(map(len, stream._waiting)) < 10 * 4 // 2
        assert len(stream._kept) <= 10 * 4


def test_the_floor_is_the_last_value_that_is_kept():
    stream = PeakStream(2, 2)
    values = torch.tensor([[1.0, 5.0], [3.0, 5.0], [2.0, 4.0]])
    stream.add(entries(values, torch.arange(3)))
    assert stream.floor.tolist() == [2.0, 5.0]


def test_nothing_is_nothing():
    assert len(PeakStream(2, 2).peaks()) == 0
