"""Referees: slow, obvious second opinions on the planners. They share no code with them, on purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["live_sizes_by_counting"]


def live_sizes_by_counting(births: Sequence[int], deaths: Sequence[int], sizes: Sequence[int], steps: int) -> list[int]:
    """The same answer as :func:`cnnbudget.planning.intervals.live_sizes`, by asking every interval at every step.

    Args:
        births: First step of each interval.
        deaths: Step after its last.
        sizes: Its size.
        steps: How many steps there are.

    Returns:
        The sum at each step.
    """
    return [
        sum(sizes[item] for item in range(len(sizes)) if births[item] <= step < deaths[item]) for step in range(steps)
    ]
