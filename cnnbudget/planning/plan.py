"""What every planner returns and takes: a plan with a proved bound, a limit of time, a report of progress."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, isfinite
from time import monotonic
from typing import Any

from attrs import Attribute, field, frozen

from cnnbudget.errors import InvalidTypeError, InvalidValueError, shorten

__all__ = ["LARGEST_SIZE", "Clock", "Plan", "Progress", "check_sizes"]

LARGEST_SIZE = 2**63 - 1
"""The largest size of one storage, in bytes: no address space holds more. Sums may be larger; they are exact."""

Progress = Callable[[int, int], object]
"""Is called with ``(value, lower_bound)`` whenever one of them improves. What it returns is ignored."""


def _at_least_the_bound(plan: Plan, _: Attribute[Any], bound: int) -> None:
    if bound > plan.value:
        raise InvalidValueError(
            "a plan lies below its lower bound: this is a bug in cnnbudget", got=f"{plan.value} < {bound}"
        )


@frozen
class Plan:
    """The base of all plans. Planners minimise.

    A plan is one of three things: proved optimal (``optimal``), or the best that was found, with a ``gap`` to what is
    proved to be impossible. That nothing can meet a demand is the third; it is no plan, and its planner says how it says so.

    Args:
        value: What the plan costs.
        lower_bound: No plan of the problem costs less: this is proved.
        method: How the plan was found.
    """

    value: int
    lower_bound: int = field(validator=_at_least_the_bound)
    method: str

    @property
    def optimal(self) -> bool:
        """Whether it is proved that no plan is better."""
        return self.value == self.lower_bound

    @property
    def gap(self) -> float:
        """How far above the lower bound the value may be, as a fraction of the bound; 0.0 if it is optimal.

        Example:
            >>> Plan(value=11, lower_bound=10, method="greedy").gap
            0.1
        """
        if self.optimal:
            return 0.0
        return (self.value - self.lower_bound) / self.lower_bound if self.lower_bound else inf


class Clock:
    """Says when the time that a planner was given is over. It starts when it is made.

    Args:
        time_limit: Seconds; ``None`` for no limit. With 0 a planner returns what it has at once.

    Raises:
        InvalidTypeError: If the limit is no number.
        InvalidValueError: If it is negative or not finite.

    Example:
        >>> Clock(None).over, Clock(0).over
        (False, True)
    """

    def __init__(self, time_limit: float | None) -> None:
        if time_limit is not None:
            if isinstance(time_limit, bool) or not isinstance(time_limit, (int, float)):
                raise InvalidTypeError(
                    "time_limit must be a number of seconds", got=shorten(time_limit), expected="seconds, or None"
                )
            if not isfinite(time_limit) or time_limit < 0:
                raise InvalidValueError(
                    "time_limit is out of range", got=shorten(time_limit), expected="0 or more seconds, or None"
                )
        self._end = None if time_limit is None else monotonic() + time_limit

    @property
    def over(self) -> bool:
        """Whether the time is over."""
        return self._end is not None and monotonic() >= self._end


def check_sizes(sizes: tuple[Any, ...], what: str) -> None:
    """Refuses sizes that are no ints from 0 to ``LARGEST_SIZE``; the error names the first.

    Args:
        sizes: What the user gave.
        what: How to call them, for example ``"Dag.sizes"``.

    Raises:
        InvalidTypeError: If one is no int.
        InvalidValueError: If one is negative or has more than 63 bits.
    """
    for number, size in enumerate(sizes):
        if type(size) is not int:
            raise InvalidTypeError(
                f"{what}[{number}] must be an int", got=f"{shorten(size)} ({type(size).__name__})", expected="bytes"
            )
        if not 0 <= size <= LARGEST_SIZE:
            raise InvalidValueError(
                f"{what}[{number}] is out of range", got=shorten(size), expected="an int from 0 to 2**63 - 1"
            )
