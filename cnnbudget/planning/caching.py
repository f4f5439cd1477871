"""PyTorch's caching allocator, replayed on plain ints: what it rounds, packs, splits, keeps and gives back.

The rules are those of ``c10/cuda/CUDACachingAllocator.cpp`` and the constants those of ``c10/core/AllocatorConfig.h`` (PyTorch
2.13), also described in https://zdevito.github.io/2022/08/04/cuda-caching-allocator.html and in "Memory management" of PyTorch's
notes on CUDA:

- a request is rounded up to 512 bytes (or finer steps between powers of two, on request);
- up to 1 MiB it comes out of the small pool, whose segments have 2 MiB; else out of the large pool, where requests below 10 MiB
  open segments of 20 MiB, and larger ones segments of their own size, rounded up to 2 MiB;
- the smallest free block of the pool that is large enough is taken; of equal ones that with the lowest address;
- the rest of it becomes a free block: in the small pool if it has 512 bytes, in the large one if it has more than 1 MiB;
- a block that is freed merges with its free neighbours in the segment; segments stay, until a limit is reached: then all that are
  wholly free are given back.

One stream, no graphs, no garbage collection below the limit. New segments lie behind all others: where CUDA puts them, nobody
knows.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CachingReplay", "CachingRules", "replay_caching"]

_MIB = 2**20

SMALLEST = 512
"""Requests are rounded up to a multiple of it."""

SMALL_LIMIT = _MIB
"""The largest request of the small pool; what is left of a large block must be larger to be split off."""

SMALL_SEGMENT = 2 * _MIB
"""Segments of the small pool."""

LARGE_LIMIT = 10 * _MIB
"""Requests of the large pool below it share segments."""

SEGMENT_STEP = 2 * _MIB
"""Larger requests are rounded up to a multiple of it, for a segment of their own."""

LARGE_SEGMENT = 20 * _MIB
"""Segments that requests of the large pool share, unless a setting says otherwise."""

LARGEST_REST = 20 * _MIB
"""A block that may not be split is taken for requests that are less than so much smaller."""

_FAR = 2**80


@frozen
class CachingRules:
    """The settings of the allocator.

    Args:
        divisions: Steps between powers of two to which requests are rounded up; 1 for multiples of 512 only.
        large_segment: Bytes of the segments that requests below 10 MiB share.
        max_split: Blocks of so many bytes and more are not split, and are taken only by requests of so many bytes and more that
            leave less than 20 MiB of them unused; ``None`` for no such limit.
        expandable: Whether every pool is one segment that grows, by 2 MiB or ``large_segment``; nothing of it is given back.
        capacity: Bytes that may be reserved; ``None`` for any number.
    """

    divisions: int = 1
    large_segment: int = LARGE_SEGMENT
    max_split: int | None = None
    expandable: bool = False
    capacity: int | None = None

    def rounded(self, request: int) -> int:
        """Bytes of the block that a request needs.

        Example:
            >>> CachingRules().rounded(513), CachingRules(divisions=4).rounded(84 * 2**20) // 2**20
            (1024, 96)
        """
        if self.divisions > 1 and request > SMALLEST * self.divisions:
            step = (1 << (request.bit_length() - 1)) // self.divisions
        else:
            step = SMALLEST
        return -(-request // step) * step

    def segment(self, size: int) -> int:
        """Bytes of the segment that is opened for a block."""
        if size <= SMALL_LIMIT:
            return SMALL_SEGMENT
        return self.large_segment if size < LARGE_LIMIT else -(-size // SEGMENT_STEP) * SEGMENT_STEP


@frozen
class CachingReplay:
    """What a replay found. The sequences have one number a step, of the last round: the most during the step.

    Args:
        requested: Bytes that were asked for and are alive.
        allocated: Bytes of their blocks.
        reserved: Bytes of all segments.
        peaks: The largest of the three, in all rounds.
        segments: Bytes of the segments at the end, in the order in which they were opened.
        failed: Step and item for which there was no room; the replay ends there. ``None`` if there always was.
    """

    requested: tuple[int, ...]
    allocated: tuple[int, ...]
    reserved: tuple[int, ...]
    peaks: tuple[int, int, int]
    segments: tuple[int, ...]
    failed: tuple[int, int] | None


class _NoRoomError(Exception):
    """The limit does not allow another segment."""


class _Pool:
    """The free blocks of a pool: by size and address to find one, by their ends to merge them."""

    def __init__(self, *, small: bool) -> None:
        self.small = small
        self.free: list[tuple[int, int]] = []
        self.starts: dict[int, int] = {}
        self.ends: dict[int, int] = {}
        self.base = self.end = -1  # of the segment that grows

    def put(self, start: int, size: int) -> None:
        insort(self.free, (size, start))
        self.starts[start] = size
        self.ends[start + size] = start

    def drop(self, start: int) -> int:
        size = self.starts.pop(start)
        del self.ends[start + size]
        del self.free[bisect_left(self.free, (size, start))]
        return size

    def merge(self, start: int, size: int) -> None:
        """Puts a block back, with its free neighbours. Segments never touch, so neighbours are of the same one."""
        if start + size in self.starts:
            size += self.drop(start + size)
        if start in self.ends:
            start = self.ends[start]
            size += self.drop(start)
        self.put(start, size)


class _Cache:
    """The allocator."""

    def __init__(self, rules: CachingRules) -> None:
        self.rules = rules
        self.small, self.large = _Pool(small=True), _Pool(small=False)
        self.segments: dict[int, int] = {}
        self.blocks: dict[int, tuple[_Pool, int, int, int]] = {}
        self.next = 0
        self.requested = self.allocated = self.reserved = 0
        self.most = (0, 0, 0)

    def allocate(self, item: int, request: int) -> None:
        if not request:  # an empty tensor has no block
            return
        size = self.rules.rounded(request)
        pool = self.small if size <= SMALL_LIMIT else self.large
        start = self._find(pool, size)
        if start is None:
            start = self._grow(pool, size) if self.rules.expandable else self._open(pool, size)
        block = pool.drop(start)
        if self._splits(pool, size, block - size):
            pool.put(start + size, block - size)
            block = size
        self.blocks[item] = pool, start, block, request
        self.requested += request
        self.allocated += block
        requested, allocated, reserved = self.most
        self.most = (
            max(requested, self.requested),
            max(allocated, self.allocated),
            max(reserved, self.reserved),
        )

    def release(self, item: int) -> None:
        if item in self.blocks:
            pool, start, block, request = self.blocks.pop(item)
            pool.merge(start, block)
            self.requested -= request
            self.allocated -= block

    def begin(self) -> None:
        """Forgets what was the most."""
        self.most = self.requested, self.allocated, self.reserved

    def _find(self, pool: _Pool, size: int) -> int | None:
        position = bisect_left(pool.free, (size, -1))
        if self.rules.expandable and position + 1 < len(pool.free):
            found, start = pool.free[position]
            position += found + start == pool.end  # the last block can grow: any other that is large enough comes first
        if position == len(pool.free):
            return None
        found, start = pool.free[position]
        limit = self.rules.max_split
        if limit is not None:
            if size < limit <= found or (size >= limit and found >= size + LARGEST_REST):
                return None
        return start

    def _splits(self, pool: _Pool, size: int, rest: int) -> bool:
        if pool.small or self.rules.expandable:
            return rest >= SMALLEST
        return rest > SMALL_LIMIT and (self.rules.max_split is None or size < self.rules.max_split)

    def _open(self, pool: _Pool, size: int) -> int:
        segment = self.rules.segment(size)
        if not self._fits(segment):
            self._give_back()
        self._reserve(segment)
        start = self.next
        self.next += segment + 1  # no segment touches another
        self.segments[start] = segment
        pool.put(start, segment)
        return start

    def _grow(self, pool: _Pool, size: int) -> int:
        """Makes the last block of the pool's only segment large enough."""
        if pool.base < 0:
            pool.base = pool.end = self.next
            self.next += _FAR
            self.segments[pool.base] = 0
        start = pool.ends.get(pool.end, pool.end)
        step = SMALL_SEGMENT if pool.small else self.rules.large_segment
        more = -(-(size - (pool.end - start)) // step) * step
        if more > 0:  # it may be large enough, where max_split kept it from being found
            self._reserve(more)
            self.segments[pool.base] += more
            pool.merge(pool.end, more)
            pool.end += more
        return start

    def _fits(self, more: int) -> bool:
        return self.rules.capacity is None or self.reserved + more <= self.rules.capacity

    def _reserve(self, more: int) -> None:
        if not self._fits(more):
            raise _NoRoomError
        self.reserved += more

    def _give_back(self) -> None:
        for pool in (self.small, self.large):
            for size, start in tuple(pool.free):
                if self.segments.get(start) == size:
                    pool.drop(start)
                    del self.segments[start]
                    self.reserved -= size


def replay_caching(
    births: Sequence[int],
    deaths: Sequence[int],
    sizes: Sequence[int],
    steps: int,
    *,
    first: Sequence[int] = (),
    rounds: int = 1,
    rules: CachingRules = CachingRules(),  # frozen
) -> CachingReplay:
    """Replays lifetimes: in every step first the new items are allocated, by number, then those that end with it are freed.

    Args:
        births: First step of each item.
        deaths: Step after its last, larger than its birth and at most ``steps``.
        sizes: Bytes that it asks for.
        steps: How many steps there are.
        first: Items that are allocated before the first step, in this order, and never freed.
        rounds: How often the steps are repeated: after the first time the cache is warm.
        rules: The settings.

    Returns:
        What was requested, allocated and reserved.

    Example:
        >>> found = replay_caching(births=[0, 1], deaths=[2, 2], sizes=[1000, 5 * 2**20], steps=2)
        >>> found.allocated, found.reserved
        ((1024, 5243904), (2097152, 23068672))
    """
    cache = _Cache(rules)
    persistent = set(first)
    born: list[list[int]] = [[] for _ in range(steps)]
    dead: list[list[int]] = [[] for _ in range(steps)]
    for item, (birth, death) in enumerate(zip(births, deaths, strict=True)):
        if item not in persistent:
            born[birth].append(item)
            dead[death - 1].append(item)
    moments: list[tuple[int, int, int]] = []
    peaks: list[tuple[int, int, int]] = []
    failed: tuple[int, int] | None = None
    now = 0
    try:
        for item in first:
            cache.allocate(item, sizes[item])
        for _ in range(rounds):
            peaks += moments
            moments = []
            for now in range(steps):
                for item in born[now]:
                    cache.allocate(item, sizes[item])
                moments.append(cache.most)
                for item in dead[now]:
                    cache.release(item)
                cache.begin()
    except _NoRoomError:
        failed = now, item
    peaks += [*moments, cache.most]
    requested, allocated, reserved = zip(*moments, strict=True) if moments else ((), (), ())
    segments = tuple(cache.segments.values())
    most = max(peak[0] for peak in peaks), max(peak[1] for peak in peaks), max(peak[2] for peak in peaks)
    return CachingReplay(requested, allocated, reserved, most, segments, failed)
