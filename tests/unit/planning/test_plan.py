"""Plans and clocks."""

from math import inf

import pytest

from cnnbudget.errors import InvalidValueError
from cnnbudget.planning.plan import Clock, Plan


def test_optimal_means_that_the_bound_is_reached() -> None:
    assert Plan(10, 10, "greedy").optimal
    assert Plan(10, 10, "greedy").gap == 0
    assert not Plan(10, 8, "greedy").optimal
    assert Plan(10, 8, "greedy").gap == 0.25
    assert Plan(0, 0, "greedy").gap == 0
    assert Plan(1, 0, "greedy").gap == inf


def test_no_plan_lies_below_its_bound() -> None:
    with pytest.raises(InvalidValueError, match=r"below its lower bound.*got 7 < 8"):
        Plan(7, 8, "greedy")


def test_clocks() -> None:
    assert Clock(0).over
    assert not Clock(None).over
    assert not Clock(1e6).over
