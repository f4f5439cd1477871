"""Search for offsets below a capacity: depth first, from the bottom up. The same source runs plain and compiled.

Time is cut into *moments*. Storages are placed in the order of their offsets, each at the lowest offset that is free above what it
overlaps in time: a solution whose storages have all sunk as far as they can is found in this way, in one sequence only (offsets
ascend; the rank breaks ties). What is not tried:

- a storage at or above the top that an open one would have at its lowest offset: that one could sink below it;
- anything, when at some moment the lowest open offset plus all open sizes pass the capacity;
- an alternative to a storage with nothing open above it, for whatever failed would fail again.

Where no open storage crosses from a moment to the next, what lies before and behind are two problems: each is solved alone, with
ranks of its own. These are the ideas of MiniMalloc (Moffitt, ASPLOS 2023).

``explore`` uses numbers, lists of numbers and loops only, so that numba compiles it as it is, with arrays in place of lists.
It keeps its stack in ``frames`` and its place in ``registers``, so that it can stop after so many nodes and go on later.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from cnnbudget.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["FOUND", "NOTHING", "OPEN", "RULES", "Explorer", "Layout", "compiled", "explore"]

OPEN, FOUND, NOTHING = 0, 1, 2
"""What a search has found: it does not know yet; offsets; a proof that there are none."""

RULES = 3
"""How many rules for ranks there are: by duration, area, then crowd; by crowd, area, duration; by crowd, duration, area.
The crowd of a storage is the largest sum of open sizes at a moment of its life."""

# Registers: what to do next, how deep the stack is, lengths of the trail and the pool, nodes so far, the least capacity that would
# have let a refused node pass.
_MODE, _DEPTH, _TRAIL, _POOL, _NODES, _LEAST = range(6)
_TRY, _NEXT, _FAIL, _UNDO = range(4)

# Fields of a frame. Its storages are pool[_ITEMS:_ITEMS_END] by rank, its moments _FROM.._TO, _OPEN counts its open storages.
# The last candidate was at (_OFFSET, _RANK), none lies below _FLOOR. _MARK and _POOL_MARK say what to undo; _ABOVE, whether
# something open overlaps the last placed in time. What it left falls into _PARTS parts, described from pool[_PARTS_AT] on, or is
# as it was (-1); _DONE of them are solved.
_ITEMS, _ITEMS_END, _FROM, _TO, _OPEN, _OFFSET, _RANK, _FLOOR = range(8)
_MARK, _POOL_MARK, _ABOVE, _PARTS, _PARTS_AT, _DONE = range(8, 14)
_FIELDS = 14


def explore(
    capacity: int,
    endless: int,
    rule: int,
    budget: int,
    registers: Any,
    frames: Any,
    pool: Any,
    trail: Any,
    trail_offsets: Any,
    size: Any,
    duration: Any,
    first: Any,
    last: Any,
    neighbours_at: Any,
    neighbours: Any,
    members_at: Any,
    members: Any,
    total: Any,
    crossing: Any,
    watch: Any,
    lowest: Any,
    offset: Any,
    crowd: Any,
) -> int:
    """Goes on with a search for at most so many nodes.

    Args:
        capacity: What no storage may end above.
        endless: More than any offset.
        rule: How to rank, 0 to 2.
        budget: How many storages may be placed.
        registers: The place of the search.
        frames: Its stack.
        pool: Storages of the frames' parts, by rank, and descriptions of parts.
        trail: What to undo: a storage whose lowest offset was raised, or ``-1 - storage`` that was placed.
        trail_offsets: The lowest offsets from before.
        size: Of each storage.
        duration: Of each storage.
        first: The first moment of each storage.
        last: Its last moment.
        neighbours_at: Where each storage's neighbours begin.
        neighbours: The storages that overlap another in time.
        members_at: Where each moment's storages begin.
        members: The storages alive at a moment.
        total: Sum of the open sizes at each moment.
        crossing: How many open storages are alive at a moment and the next.
        watch: For each moment a storage that was once seen to leave it room enough.
        lowest: The lowest offset of each open storage.
        offset: The offset of each storage; -1 if it is open.
        crowd: Room for keys.

    Returns:
        ``OPEN``, ``FOUND`` or ``NOTHING``.
    """
    mode = registers[_MODE]
    depth = registers[_DEPTH]
    trail_end = registers[_TRAIL]
    pool_end = registers[_POOL]
    least = registers[_LEAST]
    nodes = 0
    while True:
        frame = frames[depth]
        if mode == _TRY:
            if nodes == budget:
                registers[_MODE] = mode
                registers[_DEPTH] = depth
                registers[_TRAIL] = trail_end
                registers[_POOL] = pool_end
                registers[_LEAST] = least
                registers[_NODES] += nodes
                return OPEN
            # The next candidate by (offset, rank), and the lowest top that an open storage can have.
            items = frame[_ITEMS]
            after, after_rank = frame[_OFFSET], frame[_RANK]
            chosen, low, chosen_rank, lowest_top = -1, endless, -1, endless
            for rank in range(frame[_ITEMS_END] - items):
                item = pool[items + rank]
                if offset[item] < 0:
                    at = lowest[item]
                    lowest_top = min(lowest_top, at + size[item])
                    if at < low and (at > after or (at == after and rank > after_rank)):
                        chosen, low, chosen_rank = item, at, rank
            if chosen < 0 or low >= lowest_top:
                mode = _FAIL
                continue
            nodes += 1
            # Place it.
            frame[_OFFSET] = low
            frame[_RANK] = chosen_rank
            frame[_MARK] = trail_end
            frame[_POOL_MARK] = pool_end
            offset[chosen] = low
            trail[trail_end] = -1 - chosen
            trail_end += 1
            begin, end = first[chosen], last[chosen]
            total[end] -= size[chosen]
            parts = 1
            for moment in range(begin, end):
                total[moment] -= size[chosen]
                crossing[moment] -= 1
                if crossing[moment] == 0:
                    parts = 2
            top = low + size[chosen]
            above = 0
            for place in range(neighbours_at[chosen], neighbours_at[chosen + 1]):
                item = neighbours[place]
                if offset[item] < 0:
                    above = 1
                    if lowest[item] < top:
                        trail[trail_end] = item
                        trail_offsets[trail_end] = lowest[item]
                        trail_end += 1
                        lowest[item] = top
                        begin = min(begin, first[item])
                        end = max(end, last[item])
            frame[_ABOVE] = above
            # Is there room at every moment? A moment is all right as long as its watch, or another open storage, can be its lowest.
            if low > frame[_FLOOR]:
                begin, end = frame[_FROM], frame[_TO]
            refused = False
            for moment in range(begin, end + 1):
                room = capacity - total[moment]
                item = watch[moment]
                if (offset[item] < 0 and low <= room and lowest[item] <= room) or total[moment] == 0:
                    continue
                floor = endless
                for place in range(members_at[moment], members_at[moment + 1]):
                    item = members[place]
                    if offset[item] < 0:
                        floor = min(floor, max(lowest[item], low))
                        if floor <= room:
                            watch[moment] = item
                            break
                if floor > room:
                    least = min(least, floor + total[moment])
                    refused = True
                    break
            if refused:
                mode = _UNDO
                continue
            # What is left falls into parts.
            frame[_DONE] = 0
            frame[_PARTS] = 1 if frame[_OPEN] > 1 else 0
            frame[_PARTS_AT] = -1
            if parts == 2 and frame[_OPEN] > 1:
                parts = 0
                for moment in range(frame[_FROM], frame[_TO] + 1):
                    if total[moment] != 0 and (moment == frame[_TO] or crossing[moment] == 0):
                        parts += 1
                if parts > 1 and pool_end + 5 * parts + frame[_OPEN] <= len(pool):
                    frame[_PARTS] = parts
                    frame[_PARTS_AT] = pool_end
                    describe = pool_end
                    pool_end += 5 * parts
                    begin = frame[_FROM]
                    for moment in range(frame[_FROM], frame[_TO] + 1):
                        if moment != frame[_TO] and crossing[moment] != 0:
                            continue
                        if total[moment] != 0:
                            start = pool_end
                            for place in range(items, frame[_ITEMS_END]):
                                item = pool[place]
                                if offset[item] >= 0 or first[item] < begin or last[item] > moment:
                                    continue
                                most = 0
                                for now in range(first[item], last[item] + 1):
                                    most = max(most, total[now])
                                crowd[item] = most
                                # Insert it by rank.
                                time = duration[item]
                                area = time * size[item]
                                hole = pool_end
                                pool_end += 1
                                while hole > start:
                                    other = pool[hole - 1]
                                    other_time = duration[other]
                                    other_area = other_time * size[other]
                                    if rule == 0:
                                        ahead = time > other_time or (
                                            time == other_time
                                            and (area > other_area or (area == other_area and most > crowd[other]))
                                        )
                                    elif rule == 1:
                                        ahead = most > crowd[other] or (
                                            most == crowd[other]
                                            and (area > other_area or (area == other_area and time > other_time))
                                        )
                                    else:
                                        ahead = most > crowd[other] or (
                                            most == crowd[other]
                                            and (time > other_time or (time == other_time and area > other_area))
                                        )
                                    if not ahead:
                                        break
                                    pool[hole] = other
                                    hole -= 1
                                pool[hole] = item
                            pool[describe] = start
                            pool[describe + 1] = pool_end
                            pool[describe + 2] = begin
                            pool[describe + 3] = moment
                            pool[describe + 4] = pool_end - start
                            describe += 5
                        begin = moment + 1
            mode = _NEXT
        elif mode == _NEXT:
            if frame[_DONE] == frame[_PARTS]:
                if depth == 0:
                    registers[_NODES] += nodes
                    return FOUND
                depth -= 1
                continue
            depth += 1
            child = frames[depth]
            describe = frame[_PARTS_AT]
            if describe < 0:
                for name in range(_OPEN):
                    child[name] = frame[name]
                child[_OPEN] = frame[_OPEN] - 1
                child[_RANK] = frame[_RANK]
            else:
                for name in range(_OPEN + 1):
                    child[name] = pool[describe + 5 * frame[_DONE] + name]
                child[_RANK] = -1  # ranks are new: all that do not lie lower may come
            child[_OFFSET] = child[_FLOOR] = frame[_OFFSET]
            frame[_DONE] += 1
            mode = _TRY
        elif mode == _FAIL:
            if depth == 0:
                registers[_LEAST] = least
                registers[_NODES] += nodes
                return NOTHING
            depth -= 1
            mode = _UNDO
        else:
            while trail_end > frame[_MARK]:
                trail_end -= 1
                item = trail[trail_end]
                if item >= 0:
                    lowest[item] = trail_offsets[trail_end]
                else:
                    item = -1 - item
                    offset[item] = -1
                    total[last[item]] += size[item]
                    for moment in range(first[item], last[item]):
                        total[moment] += size[item]
                        crossing[moment] += 1
            pool_end = frame[_POOL_MARK]
            mode = _TRY if frame[_ABOVE] else _FAIL


class Layout:
    """Storages that hang together in time, and who overlaps whom.

    Args:
        lifetimes: ``(first moment, last moment, size)`` of each storage; every moment but the last is crossed by one.
        durations: How long each lives, for the rules.

    Attributes:
        total: The sum of sizes at each moment.
    """

    def __init__(self, lifetimes: Sequence[tuple[int, int, int]], durations: Sequence[int]) -> None:
        moments = 1 + max([last for _, last, _ in lifetimes])
        self.first, self.last, self.size = ([lifetime[part] for lifetime in lifetimes] for part in range(3))
        self.durations = list(durations)
        self.alive: list[list[int]] = [[] for _ in range(moments)]
        starting: list[list[int]] = [[] for _ in range(moments)]
        for item, (first, last, _) in enumerate(lifetimes):
            starting[first].append(item)
            for moment in range(first, last + 1):
                self.alive[moment].append(item)
        neighbours = []
        for item, (first, last, _) in enumerate(
            lifetimes
        ):  # who overlaps it is there when it begins, or begins in its life
            later = [other for moment in range(first + 1, last + 1) for other in starting[moment]]
            neighbours.append([*(other for other in self.alive[first] if other != item), *later])
        self.pairs = sum(map(len, neighbours)) // 2
        self.total = [sum([self.size[item] for item in items]) for items in self.alive]
        self.crossing = [sum([self.last[item] > moment for item in items]) for moment, items in enumerate(self.alive)]
        self.fixed = (self.size, self.durations, self.first, self.last, *_flat(neighbours), *_flat(self.alive))
        self._arrays: Sequence[Any] | None = None

    def ranked(self, rule: int, ties: Sequence[int]) -> list[int]:
        """The storages by rank."""

        def rank(item: int) -> tuple[int, ...]:
            time, most = self.durations[item], max(self.total[self.first[item] : self.last[item] + 1])
            area = time * self.size[item]
            return ((-time, -area, -most), (-most, -area, -time), (-most, -time, -area))[rule]

        return sorted(range(len(self.size)), key=lambda item: (rank(item), ties[item]))

    def arrays(self) -> Sequence[Any]:
        """What is fixed as arrays, made once."""
        if self._arrays is None:
            self._arrays = _arrays(self.fixed)
        return self._arrays


class Explorer:
    """A search for offsets of storages that hang together in time.

    Args:
        layout: The storages.
        capacity: What no storage may end above; no less than the sum of sizes at any moment.
        rule: How to rank, 0 to 2.
        ties: Breaks ties between ranks: smaller comes first.
    """

    def __init__(self, layout: Layout, capacity: int, rule: int, ties: Sequence[int]) -> None:
        self._layout = layout
        count = len(layout.size)
        room = min(count * count // 2, 1_000_000) + 8 * count
        frames = [[0] * _FIELDS for _ in range(count + 1)]
        frames[0][: _RANK + 1] = [0, count, 0, len(layout.total) - 1, count, 0, -1]
        endless = 2 * sum(layout.size) + 1  # so that the sum of two heights is less
        self._settings = capacity, endless, rule
        self._fixed: Sequence[Any] = layout.fixed
        self._stack: Sequence[Any] = (
            [_TRY, 0, 0, count, 0, endless],
            frames,
            layout.ranked(rule, ties) + [0] * room,
            [0] * (layout.pairs + count),
            [0] * (layout.pairs + count),
        )
        self._state: Sequence[Any] = (
            list(layout.total),
            list(layout.crossing),
            [items[0] for items in layout.alive],
            [0] * count,
            [-1] * count,
            [0] * count,
        )
        self._run: Callable[..., int] = explore

    def go(self, budget: int, *, fast: bool) -> int:
        """Goes on for so many nodes.

        Args:
            budget: How many.
            fast: Whether compiled; once it is, it stays so.

        Returns:
            ``OPEN``, ``FOUND`` or ``NOTHING``.
        """
        if fast and self._run is explore:
            self._run = compiled()
            self._fixed, self._stack, self._state = self._layout.arrays(), _arrays(self._stack), _arrays(self._state)
        return self._run(*self._settings, budget, *self._stack, *self._fixed, *self._state)

    @property
    def offsets(self) -> list[int]:
        """The offsets that were found."""
        return [int(offset) for offset in self._state[4]]

    @property
    def least(self) -> int:
        """Once it is proved that nothing fits: no capacity below this is enough."""
        return int(self._stack[0][_LEAST])


def _arrays(lists: Sequence[Any]) -> Sequence[Any]:
    from numpy import array, int64

    return [array(part, dtype=int64) for part in lists]


def _flat(rows: Sequence[Sequence[int]]) -> tuple[list[int], list[int]]:
    """Rows of different lengths as one, and where each begins."""
    flat: list[int] = []
    begins = [0]
    for row in rows:
        flat += row
        begins.append(len(flat))
    return begins, flat


@cache
def compiled() -> Callable[..., int]:
    """The search, compiled by numba; the first call takes some seconds.

    Raises:
        MissingExtraError: If numba is not installed.
    """
    try:
        import numba
    except ImportError as error:
        raise MissingExtraError(
            "a compiled search needs numba", hint="pip install cnnbudget[fast], or leave fast=True out"
        ) from error
    function: Callable[..., int]
    try:
        function = numba.njit(cache=True)(explore)
    except RuntimeError:  # there is no folder where it may keep the machine code
        function = numba.njit(explore)
    return function
