"""Ways to compute the same numbers compete once, and only if they give the same numbers."""

import pytest
import torch

from captum_paramsal.functional import measured_choice
from captum_paramsal.functional.measured_choice import MeasuredChoice


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the ways set forward."""
    now = [0.0]
    monkeypatch.setattr(measured_choice.time, "perf_counter", lambda: now[0])

    def taking(seconds, results=None):
        def sample(way):
            now[0] += seconds[way]
            return torch.tensor([(results or {}).get(way, 1.0)])

        return sample

    return taking


def test_the_fastest_way_is_taken_from_then_on(clock):
    choice = MeasuredChoice(usual=1, others=(2, 3), patience=0)
    assert choice.of("a", 1, clock({1: 1.0, 2: 0.5, 3: 0.7})) == 2
    assert choice.of("a", 1, clock({1: 0.1, 2: 9.0, 3: 9.0})) == 2
    assert choice.of("b", 1, clock({1: 0.1, 2: 9.0, 3: 9.0})) == 1


def test_a_way_with_other_numbers_does_not_compete(clock):
    choice = MeasuredChoice(usual=1, others=(2, 3), patience=0)
    assert choice.of("a", 1, clock({1: 1.0, 2: 0.5, 3: 0.7}, {2: 1.0 + 1e-7})) == 3


def test_what_is_hardly_faster_is_not_taken(clock):
    assert MeasuredChoice(usual=1, others=(2,), patience=0).of("a", 1, clock({1: 1.0, 2: 0.95})) == 1


def test_little_work_is_not_measured():
    choice = MeasuredChoice(usual=1, others=(2,), patience=10)

    def not_called(way):
        raise AssertionError(way)

    assert [choice.of("a", 4, not_called) for _ in range(2)] == [1, 1]
    with pytest.raises(AssertionError):
        choice.of("a", 4, not_called)


def test_the_number_of_threads_makes_another_task(clock, monkeypatch):
    choice = MeasuredChoice(usual=1, others=(2,), patience=0)
    assert choice.of("a", 1, clock({1: 1.0, 2: 0.5})) == 2
    monkeypatch.setattr(torch, "get_num_threads", lambda: 97)
    assert choice.of("a", 1, clock({1: 0.5, 2: 1.0})) == 1


def test_only_so_many_shapes_are_remembered(monkeypatch, clock):
    monkeypatch.setattr(measured_choice, "REMEMBERED", 2)
    choice = MeasuredChoice(usual=1, others=(2,), patience=0)
    assert [choice.of(shape, 1, clock({1: 1.0, 2: 0.5})) for shape in "abcab"] == [2, 2, 1, 2, 2]
