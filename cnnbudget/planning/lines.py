"""Rows in line buffers: which rows of which value are there when each row is made. Only one axis matters to that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from cnnbudget.planning.tiles import SlidingChain

__all__ = ["RowCounts", "needed_positions", "row_counts"]


@frozen
class RowCounts:
    """What line buffers hold.

    Args:
        made: Rows of every value that are made, from value 0 to the split: those that are read.
        counts: The different numbers of rows of each value before the split that are there while some row is made, the row
            itself included. The input counts 0: it is outside, or held as a whole.
    """

    made: tuple[int, ...]
    counts: tuple[tuple[int, ...], ...]


def needed_positions(chain: SlidingChain, split: int, axis: int) -> tuple[list[list[int]], list[list[int]]]:
    """Which positions along an axis are read on the way to the split; gaps between strides are not.

    Args:
        chain: The layers.
        split: So many of them count.
        axis: Which axis.

    Returns:
        For every value up to the split: the positions that are needed; how many needed positions read each position.
    """
    readers = [[0] * chain.sizes[value][axis] for value in range(split + 1)]
    needed: list[list[int]] = [[] for _ in range(split)] + [list(range(chain.sizes[split][axis]))]
    for number in range(split - 1, -1, -1):
        layer = chain.layers[number]
        for position in needed[number + 1]:
            for touched in layer.axes[axis].touched(position):
                readers[number][touched] += 1
            if layer.adds is not None:
                readers[layer.adds][position] += 1
        needed[number] = [position for position, count in enumerate(readers[number]) if count]
    return needed, readers


def row_counts(chain: SlidingChain, split: int) -> RowCounts:
    """Makes the rows of the last output in order, each row before it when it is first needed, and counts what is there.

    Args:
        chain: The layers.
        split: So many of them run this way.

    Returns:
        The numbers of rows.
    """
    axes = [layer.axes[0] for layer in chain.layers[:split]]
    adds = [layer.adds for layer in chain.layers[:split]]
    needed, left = needed_positions(chain, split, 0)
    sizes = [size[0] for size in chain.sizes]
    there = [0] * split
    done = [[False] * size for size in sizes[: split + 1]]
    seen: set[tuple[int, ...]] = set()
    for last in range(sizes[split]):
        stack = [(split, last)]
        while stack:
            value, row = stack[-1]
            number = value - 1
            reads = [(number, touched) for touched in axes[number].touched(row)]
            if (source := adds[number]) is not None:
                reads.append((source, row))
                reads.sort(key=lambda read: (-read[0], read[1]))  # rows of one value in order
            missing = [(read, at) for read, at in reads if read > 0 and not done[read][at]]
            if missing:
                stack.append(missing[0])
                continue
            stack.pop()
            done[value][row] = True
            if value < split:
                there[value] += 1
            dying = []
            for read, at in reads:
                left[read][at] -= 1
                if not left[read][at]:
                    dying.append(read)
            seen.add(tuple(_during(chain, there, number, dying, to_buffer=value < split)))
            for read in dying:
                if read > 0:
                    there[read] -= 1
    return RowCounts(tuple(map(len, needed)), tuple(sorted(seen)))


def _during(chain: SlidingChain, there: list[int], number: int, dying: list[int], *, to_buffer: bool) -> list[int]:
    """The rows that are there while a layer makes one: in place, the smaller of its input's and its output's counts as none."""
    counts = list(there)
    layer = chain.layers[number]
    if to_buffer and number > 0 and layer.in_place and layer.pointwise and number in dying and layer.adds != number:
        bytes_ = chain.position_bytes
        counts[number if bytes_[number] <= bytes_[number + 1] else number + 1] -= 1
    return counts
