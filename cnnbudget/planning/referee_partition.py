"""Referee of the cuts: tries them all. It shares no code with the planner, on purpose."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["least_heaviest_by_trying"]


def least_heaviest_by_trying(
    count: int, parts: int, weigh: Callable[[int, int, int], int], crossing: Sequence[int]
) -> tuple[int, int]:
    """The weight of the heaviest part and what crosses the cuts, least in this order, of all ways to cut a chain.

    Args:
        count: Layers; few.
        parts: How many parts.
        weigh: Weight of a part, its start and its end.
        crossing: What crosses a cut before each layer.

    Returns:
        Weight and crossing.
    """
    found = []
    for cuts in combinations(range(1, count), parts - 1):
        edges = (0, *cuts, count)
        heaviest = max(weigh(part, edges[part], edges[part + 1]) for part in range(parts))
        found.append((heaviest, sum(crossing[cut] for cut in cuts)))
    return min(found)
