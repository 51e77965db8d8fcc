import torch
from hypothesis import given, settings, strategies as st

from captum_paramsal.stats import Moments


def rows(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    # Far from nought beside their spread, where a sum of squares would lose all digits.
    return 1e6 + torch.randn(count, 3, generator=generator, dtype=torch.float64)


@settings(deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_any_split_in_any_order_gives_the_moments_of_all(sizes, random):
    data = rows(sum(sizes))
    parts = [Moments.of(part) for part in data.split(sizes)]
    random.shuffle(parts)
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merge(part)
    assert merged.count == len(data)
    torch.testing.assert_close(merged.mean, data.mean(dim=0), rtol=1e-14, atol=0)
    if len(data) > 1:
        torch.testing.assert_close(merged.std, data.std(dim=0), rtol=1e-8, atol=0)


def test_a_constant_has_no_deviation_however_it_is_split():
    constant = torch.full((7, 1), 0.1, dtype=torch.float32)
    merged = Moments.of(constant[:3]).merge(Moments.of(constant[3:]))
    assert merged.deviations.tolist() == [0.0]


def test_half_precision_rows_are_summed_in_float64():
    moments = Moments.of(torch.full((4096, 1), 1.001, dtype=torch.bfloat16))
    assert moments.mean.dtype == torch.float64
    assert moments.mean.item() == torch.tensor(1.001, dtype=torch.bfloat16).item()
