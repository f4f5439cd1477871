"""Offsets by greedy rules: one storage after the other, each into a gap that is free as long as it lives."""

from __future__ import annotations

from bisect import insort
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cnnbudget.planning.arena import Lifetime

__all__ = ["FITS", "SEQUENCES", "greedy_offsets"]

SEQUENCES: dict[str, Callable[[Lifetime], tuple[int, ...]]] = {
    "size": lambda lifetime: (-lifetime[2],),
    "area": lambda lifetime: (-lifetime[2] * (lifetime[1] - lifetime[0]),),
    "duration": lambda lifetime: (lifetime[0] - lifetime[1], -lifetime[2]),
    "birth": lambda lifetime: (lifetime[0], -lifetime[2]),
}
"""Which comes first: the largest, the one with most bytes times steps, the longest, the earliest. Of equal ones the last
comes first: so it is in TensorFlow Lite Micro, which fills its list from the tail and sorts it with a stable sort."""

FITS = ("lowest", "best")
"""Which gap a storage gets: the lowest that it fits into, or the smallest."""


def greedy_offsets(lifetimes: Sequence[Lifetime], sequence: str, fit: str) -> list[int]:
    """Places storages one after the other. Quadratic in their number.

    Args:
        lifetimes: ``(birth, death, size)`` of each, half-open.
        sequence: One of ``SEQUENCES``.
        fit: One of ``FITS``.

    Returns:
        The offset of each.

    Example:
        >>> greedy_offsets([(0, 2, 10), (1, 3, 20), (2, 4, 10)], "size", "lowest")
        [20, 0, 20]
    """
    key = SEQUENCES[sequence]
    offsets = [0] * len(lifetimes)
    placed: list[tuple[int, int, int, int]] = []  # by offset: offset, top, birth, death
    for number in sorted(range(len(lifetimes)), key=lambda number: (key(lifetimes[number]), -number)):
        birth, death, size = lifetimes[number]
        top, best, best_gap = 0, -1, -1
        for offset, end, other_birth, other_death in placed:
            if other_birth < death and birth < other_death:
                gap = offset - top
                if gap >= size and (best < 0 or gap < best_gap):
                    best, best_gap = top, gap
                    if fit == "lowest":
                        break
                top = max(top, end)
        offsets[number] = top if best < 0 else best
        insort(placed, (offsets[number], offsets[number] + size, birth, death))
    return offsets
