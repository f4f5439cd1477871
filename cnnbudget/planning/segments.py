"""Simple checkpoint schedules: a chain in segments, each of which is recomputed once, and the closed form for equal stages."""

from __future__ import annotations

from itertools import pairwise
from math import comb, isqrt
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from cnnbudget.checks import exact_int
from cnnbudget.errors import InvalidTypeError, InvalidValueError, shorten
from cnnbudget.planning.persistent import Demands
from cnnbudget.planning.plan import LARGEST_SIZE, Plan, check_sizes
from cnnbudget.planning.stages import Action, Chain, Operation, mark_repeats

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import SupportsIndex

    from numpy.typing import NDArray

__all__ = [
    "SegmentsPlan",
    "at",
    "cheapest_segments",
    "every",
    "least_peak_segments",
    "revolve_steps",
    "segment_bytes",
    "square_root",
]


def revolve_steps(length: SupportsIndex, checkpoints: SupportsIndex) -> int:
    """The least number of recomputed steps of a chain of equal steps.

    Griewank and Walther, "Algorithm 799: revolve" (2000): with ``c`` checkpoints, the chain's input among them, a chain of
    ``l`` steps takes ``r * l - C(c + r, c + 1)`` forward steps before those that record what backward needs, where ``r`` is the
    least number with ``C(c + r, c) >= l``.

    Args:
        length: Steps of the chain.
        checkpoints: Values that can be held at a time, the input included.

    Returns:
        The number of steps.

    Example:
        >>> revolve_steps(4, 1), revolve_steps(4, 2), revolve_steps(4, 4)
        (6, 4, 3)
    """
    steps = exact_int(length, "length")
    held = exact_int(checkpoints, "checkpoints")
    repeats = 0
    while comb(held + repeats, held) < steps:
        repeats += 1
    return repeats * steps - comb(held + repeats, held + 1)


def at(chain: Chain, starts: Sequence[SupportsIndex]) -> tuple[Operation, ...]:
    """The schedule that keeps the inputs of some stages, and recomputes what is between them once.

    The stages from the last start on are saved at once: nothing is gained by running them twice.

    Args:
        chain: The chain.
        starts: Numbers of the stages whose inputs are kept, rising; the first stage is always one of them.

    Returns:
        The operations.

    Raises:
        InvalidValueError: If the numbers do not rise or are no stages.
    """
    count = len(chain.stages)
    firsts = [exact_int(start, f"starts[{number}]", 0, count - 1) for number, start in enumerate(starts)]
    if any(a >= b for a, b in pairwise(firsts)):
        raise InvalidValueError("starts must rise", got=shorten(tuple(firsts)), expected="each stage once, in order")
    if not firsts or firsts[0] != 0:
        firsts.insert(0, 0)
    segments = list(zip(firsts, [*firsts[1:], count], strict=True))
    steps: list[tuple[Action, int]] = []
    for first, end in segments[:-1]:
        steps.append((Action.CHECKPOINT, first))
        steps.extend((Action.FORWARD, stage) for stage in range(first + 1, end))
    for first, end in reversed(segments):
        steps.extend((Action.SAVE, stage) for stage in range(first, end))
        steps.extend((Action.BACKWARD, stage) for stage in range(end - 1, first - 1, -1))
    return mark_repeats(steps)


def every(chain: Chain, period: SupportsIndex) -> tuple[Operation, ...]:
    """The periodic schedule: the input of every so many stages is kept.

    Args:
        chain: The chain.
        period: Stages in a segment; the last may have fewer.

    Returns:
        The operations.

    Example:
        >>> from cnnbudget.planning.stages import Stage, replay
        >>> chain = Chain([Stage(output_bytes=4, kept_bytes=10)] * 4, input_bytes=4)
        >>> replay(chain, every(chain, 2)).extra_cost
        2
    """
    return at(chain, range(0, len(chain.stages), exact_int(period, "period")))


def square_root(chain: Chain) -> tuple[Operation, ...]:
    """The periodic schedule with about as many segments as stages in each: Chen et al., "Training deep nets with sublinear
    memory cost" (2016).
    """  # noqa: D205
    return every(chain, isqrt(len(chain.stages) - 1) + 1)


@frozen
class SegmentsPlan(Plan):
    """A choice of segments. The value is the peak in bytes, the best of all choices.

    Args:
        starts: Where they start, from 0.
    """

    starts: tuple[int, ...]


def least_peak_segments(kept: Sequence[int], segment: Callable[[int], Sequence[int]]) -> SegmentsPlan:
    """Chooses where to keep values so that the peak is least if everything between them is recomputed once.

    A boundary is any place that everything after it depends on only through it: an articulation point of a network. While the
    segment from boundary ``i`` to ``j`` is treated, the boundaries kept up to ``i`` are held; the peak is the most of all
    segments. Exact: the peak is found by halving, and for each candidate the least that can be held at each boundary by a
    shortest path. Quadratic for each of at most 63 halvings.

    Args:
        kept: Bytes of boundary 0, the input, which is always kept, and of each boundary before a stage.
        segment: Gives for a boundary ``i`` the bytes, beyond what is kept, with which the segments from ``i`` to each of
            ``i + 1``, ... can be treated.

    Returns:
        The plan; always optimal.

    Raises:
        InvalidValueError: If there is no boundary, or a size is negative.

    Example:
        >>> rows = [[4, 8, 12, 16], [4, 8, 12], [4, 8], [4]]
        >>> plan = least_peak_segments([0, 1, 1, 1], rows.__getitem__)
        >>> plan.value, plan.starts
        (7, (0, 1, 2, 3))
    """
    sizes, needs = _segments(kept, segment)
    low, high = 0, sizes[0] + int(needs[0, -1])
    best: tuple[int, ...] = (0,)
    while low < high:
        middle = (low + high) // 2
        starts = _fitting_starts(sizes, needs, middle)
        if starts is None:
            low = middle + 1
        else:
            best, high = starts, middle
    return SegmentsPlan(high, high, "halving over shortest paths", best)


def cheapest_segments(
    kept: Sequence[int], segment: Callable[[int], Sequence[int]], budget: SupportsIndex
) -> tuple[int, ...] | None:
    """Chooses where to keep values so that the last segment, which need not be recomputed, starts as early as a budget allows.

    Args:
        kept: As in :func:`least_peak_segments`.
        segment: As there.
        budget: Bytes.

    Returns:
        Where the segments start, or ``None`` if no choice fits.

    Example:
        >>> rows = [[4, 8, 12, 16], [4, 8, 12], [4, 8], [4]]
        >>> cheapest_segments([0, 1, 1, 1], rows.__getitem__, 9), cheapest_segments([0, 1, 1, 1], rows.__getitem__, 6)
        ((0, 2), None)
    """
    sizes, needs = _segments(kept, segment)
    return _fitting_starts(sizes, needs, exact_int(budget, "budget", 0, LARGEST_SIZE))


def _segments(
    kept: Sequence[int], segment: Callable[[int], Sequence[int]]
) -> tuple[tuple[int, ...], NDArray[np.int64]]:
    sizes = tuple(kept)
    if not sizes:
        raise InvalidValueError("there are no boundaries", got="()", expected="the bytes of the input, and of others")
    check_sizes(sizes, "kept")
    count = len(sizes)
    needs = np.full((count, count), 2**62, dtype=np.int64)  # needs[i, j - 1]
    for i in range(count):
        row = tuple(segment(i))
        check_sizes(row, f"segment({i})")
        if len(row) != count - i:
            raise InvalidValueError(
                f"segment({i}) has the wrong length", got=str(len(row)), expected=f"{count - i} bytes"
            )
        needs[i, i:] = row
    if sum(sizes) + max(map(max, (needs[i, i:].tolist() for i in range(count)))) >= 2**61:
        raise InvalidValueError("the bytes of the segments are beyond 2**61", expected="less in all")
    return sizes, needs


def _fitting_starts(sizes: tuple[int, ...], needs: NDArray[np.int64], most: int) -> tuple[int, ...] | None:
    count = len(sizes)
    held = np.full(count + 1, 2**62, dtype=np.int64)  # the least that is kept up to a boundary, it included
    held[0] = sizes[0]
    before = [0] * (count + 1)
    for j in range(1, count + 1):
        fits = needs[:j, j - 1] <= most - held[:j]
        # the last segment is not recomputed: the longer the better
        before[j] = int(np.where(fits, held[:j], 2**62).argmin() if j < count else fits.argmax())
        if fits[before[j]]:
            held[j] = held[before[j]] + (sizes[j] if j < count else 0)
    if held[count] >= 2**62:
        return None
    starts = [before[count]]
    while starts[-1]:
        starts.append(before[starts[-1]])
    return tuple(reversed(starts))


def segment_bytes(chain: Chain) -> tuple[tuple[int, ...], Callable[[int], list[int]]]:
    """The segments of a chain, as :func:`least_peak_segments` wants them.

    Args:
        chain: The chain.

    Returns:
        Bytes of the boundaries, and the bytes of the segments from each.

    Example:
        >>> from cnnbudget.planning.stages import Stage, replay
        >>> chain = Chain([Stage(output_bytes=4, kept_bytes=10)] * 9, input_bytes=4)
        >>> plan = least_peak_segments(*segment_bytes(chain))
        >>> plan.value == replay(chain, at(chain, plan.starts)).peak_bytes
        True
    """
    if not isinstance(chain, Chain):
        raise InvalidTypeError("chain must be a Chain", got=shorten(chain), expected="Chain([Stage(...), ...])")
    demands = Demands(chain)
    saving, back, beside = (np.array(part, dtype=np.int64) for part in (demands.saving, demands.back, demands.beside))

    def row(i: int) -> list[int]:
        saved = np.cumsum(demands.kept[i:]) - demands.kept[i:]  # by the stages of the segment before each
        forward = np.maximum.accumulate(saved + saving[i:]) + beside[i:]
        backward = np.maximum.accumulate(saved + back[i:])
        need = np.maximum(forward, backward)
        need[:-1] = np.maximum(
            need[:-1], demands.running[i][i:-1]
        )  # all but the last segment run before, saving nothing
        return [int(size) for size in need]

    return (chain.input_bytes, *demands.out[:-1].tolist()), row
