"""The upper envelope of lines over the batch: which of many affine sizes is the largest, and from which batch on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["upper_envelope"]


def upper_envelope(lines: Iterable[tuple[int, int]]) -> tuple[tuple[int, int, int], ...]:
    """Finds the upper envelope of lines at the ints from 0 on.

    Args:
        lines: ``(fixed, slope)``, neither negative; at least one.

    Returns:
        ``(start, fixed, slope)`` with rising starts, the first 0: from its start to the next one's, a line is the highest of all.

    Example:
        >>> upper_envelope([(10, 1), (0, 3), (4, 2)])
        ((0, 10, 1), (5, 0, 3))
    """
    steepest: dict[int, int] = {}
    for fixed, slope in lines:
        steepest[slope] = max(fixed, steepest.get(slope, 0))
    hull: list[tuple[int, int, int]] = []
    for slope, fixed in sorted(steepest.items()):
        start = 0
        while hull:
            first, other_fixed, other_slope = hull[-1]
            # The first batch at which this line is at least as high as the other.
            start = max(0, -((fixed - other_fixed) // (slope - other_slope)))
            if start > first:
                break
            hull.pop()
        hull.append((start if hull else 0, fixed, slope))
    return tuple(hull)
