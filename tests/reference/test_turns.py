"""Work in turns: every process gets the results of all in the order of the items, or learns why it does not."""

import pytest
import torch
from cases.thread_group import in_threads

from captum_paramsal.errors import GroupError
from captum_paramsal.hooks import GradientSums
from captum_paramsal.reference import ProcessGroup


def square(item):
    return item * item


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("count", [0, 1, 4, 6, 7])
def test_results_come_in_the_order_of_the_items(size, count):
    def work(group):
        return list(group.in_order(group.own(range(count)), square, "squares"))

    assert in_threads(size, work) == [[item**2 for item in range(count)]] * size


def test_one_process_takes_all_items_itself_and_one_after_the_other():
    made = ProcessGroup().in_order(iter([1, None, 2]), square, "squares")
    assert next(made) == 1
    assert list(made) == [4]
    assert list(ProcessGroup().turns([1, None, 2], square, "squares")) == [[1], [], [4]]


def test_an_item_without_anything_to_make_keeps_the_others_in_order():
    items = [1, None, 3, None, None, 6, 7]

    def work(group):
        return list(group.in_order(group.own(items), square, "squares"))

    assert in_threads(2, work) == [[1, 9, 36, 49]] * 2


def test_turns_have_what_each_process_made():
    def work(group):
        return list(group.turns(group.own([1, 2, 3, None, 5]), square, "squares"))

    assert in_threads(2, work) == [[[1, 4], [9], [25]]] * 2


def test_an_error_in_one_process_is_told_to_all_within_a_turn():
    taken = [[], []]

    def work(group):
        def failing(item):
            taken[group.rank].append(item)
            if item == 3:
                message = "no"
                raise ValueError(message)
            return item

        return list(group.in_order(group.own(range(10)), failing, "numbers"))

    first, second = in_threads(2, work)
    assert isinstance(second, ValueError)
    assert isinstance(first, GroupError)
    assert "finish its share of the numbers, but process 1 stopped with ValueError: no" in str(first)
    assert taken == [[0, 2], [1, 3]]


def test_a_process_that_is_gone_ends_the_others():
    def work(group):
        def leaving(item):
            if item == 3:
                raise KeyboardInterrupt
            return item

        return list(group.in_order(group.own(range(10)), leaving, "numbers"))

    first, second = in_threads(2, work)
    assert isinstance(second, KeyboardInterrupt)
    assert isinstance(first, GroupError)


def test_only_the_first_process_shows_progress():
    assert [ProcessGroup(rank, 2).shows(wanted) for rank in range(2) for wanted in (True, False)] == [True] + 3 * [
        False
    ]


def test_sums_of_gradients_go_to_another_device_whole():
    one = torch.ones(1, 2, 3)
    sums = GradientSums({"a": {0: one[0]}}, {"a": one[..., 0].double()}, {"a": one[..., 0].double()}, torch.ones(1))
    moved = sums.to("cpu")
    assert torch.equal(moved.vectors["a"][0], one[0])
    assert moved.squares is sums.squares
