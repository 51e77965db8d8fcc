"""Runs that are killed at random moments and resumed give what they give in one go, bit for bit."""

from random import Random

import pytest
import torch
from files.killed_runs import RUNS, finish, kill


def _kills(name, folder, count):
    """Kills that came in time; each run is killed up to three times before it is resumed to its end."""
    draw, in_time, tried = Random(0), 0, 0  # noqa: S311 -- moments, no secrets
    finish(name, None, folder / "first")  # what is loaded on the way takes longer the first time
    expected, seconds = finish(name, None, folder / "unbroken")
    while in_time < count:
        path = folder / f"run{tried}"
        for _ in range(draw.randint(1, 3)):
            in_time += kill(name, path, draw, seconds)
        resumed, _ = finish(name, path, folder / "resumed")
        assert len(resumed) == len(expected)
        for one, other in zip(resumed, expected, strict=True):
            assert torch.equal(torch.nan_to_num(one), torch.nan_to_num(other))
        tried += 1
        assert tried < 10 * count
    return in_time


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", RUNS)
def test_sixty_kills(name, tmp_path):
    assert _kills(name, tmp_path, 20) >= 20
