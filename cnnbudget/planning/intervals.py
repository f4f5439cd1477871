"""Live bytes over time: storages as half-open intervals of steps, and the sweep line over them."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["live_sizes"]


def live_sizes(births: Iterable[int], deaths: Iterable[int], sizes: Iterable[int], steps: int) -> list[int]:
    """Sums the sizes of the intervals that cover each step. Linear; exact ints of any size.

    Args:
        births: First step of each interval.
        deaths: Step after its last, larger than its birth and at most ``steps``.
        sizes: Its size.
        steps: How many steps there are.

    Returns:
        The sum at each step.

    Example:
        >>> live_sizes(births=[0, 1], deaths=[2, 3], sizes=[10, 5], steps=3)
        [10, 15, 5]
    """
    changes = [0] * (steps + 1)
    for birth, death, size in zip(births, deaths, sizes, strict=True):
        changes[birth] += size
        changes[death] -= size
    return list(accumulate(changes[:steps]))
