"""The sweep line by hand, and its referee."""

import pytest

from cnnbudget.planning.intervals import live_sizes
from cnnbudget.planning.referee import live_sizes_by_counting


@pytest.mark.parametrize("planner", [live_sizes, live_sizes_by_counting])
def test_by_hand(planner) -> None:  # type: ignore[no-untyped-def]
    #   step      0   1   2   3
    #   10        x   x
    #   5             x   x   x
    #   2**70             x
    #   sum      10  15  5+.  5
    assert planner([0, 1, 2], [2, 4, 3], [10, 5, 2**70], 4) == [10, 15, 2**70 + 5, 5]
    assert planner([], [], [], 2) == [0, 0]
    assert planner([0], [1], [3], 0 + 1) == [3]


def test_lists_of_different_lengths_are_a_bug_of_the_caller() -> None:
    with pytest.raises(ValueError, match="zip"):
        live_sizes([0, 1], [1], [1], 2)
