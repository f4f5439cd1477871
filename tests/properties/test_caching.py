"""The replay of PyTorch's caching allocator beside a simple one, and laws that hold whatever is asked for."""

from math import inf

from hypothesis import example, given
from hypothesis import strategies as st

from cnnbudget.memory.allocator import Allocator, CachingAllocator, Ideal
from cnnbudget.planning.caching import CachingRules, replay_caching
from cnnbudget.planning.referee import live_sizes_by_counting

MIB = 2**20


class Referee:
    """Segments as lists of ``[size, owner]``, searched from the front every time; it shares no code with the replay."""

    def __init__(self, rules: CachingRules) -> None:
        self.rules = rules
        self.segments: list[tuple[str, list[list]]] = []
        self.asked: dict[int, int] = {}

    @property
    def reserved(self) -> int:
        return sum(size for _, blocks in self.segments for size, _ in blocks)

    @property
    def allocated(self) -> int:
        return sum(size for _, blocks in self.segments for size, owner in blocks if owner is not None)

    @property
    def requested(self) -> int:
        return sum(self.asked.values())

    def round(self, request: int) -> int:
        size = 512
        while size < request:
            size += 512
        if self.rules.divisions > 1 and request > 512 * self.rules.divisions:
            power = 1
            while power * 2 <= request:
                power *= 2
            size = power
            while size < request:
                size += power // self.rules.divisions
        return size

    def allocate(self, item: int, request: int) -> bool:
        if request == 0:
            return True
        size = self.round(request)
        kind = "small" if size <= MIB else "large"
        place = self.search(kind, size)
        if place is None:
            place = self.stretch(kind, size) if self.rules.expandable else self.open(kind, size)
        if place is None:
            return False
        blocks, index = place
        rest = blocks[index][0] - size
        if kind == "small" or self.rules.expandable:
            split = rest >= 512
        else:
            split = rest > MIB and size < (self.rules.max_split or inf)
        if split:
            blocks[index : index + 1] = [[size, item], [rest, None]]
        else:
            blocks[index][1] = item
        self.asked[item] = request
        return True

    def search(self, kind: str, size: int):
        found = [
            (blocks[index][0], blocks, index)
            for pool, blocks in self.segments
            if pool == kind
            for index in range(len(blocks))
            if blocks[index][1] is None and blocks[index][0] >= size
        ]
        if self.rules.expandable and len(found) > 1:
            found = [place for place in found if place[2] < len(place[1]) - 1]
        if not found:
            return None
        least = min(place[0] for place in found)
        limit = self.rules.max_split or inf
        if size < limit <= least or (size >= limit and least >= size + 20 * MIB):
            return None
        return next((blocks, index) for found_size, blocks, index in found if found_size == least)

    def open(self, kind: str, size: int):
        if kind == "small":
            segment = 2 * MIB
        elif size < 10 * MIB:
            segment = self.rules.large_segment
        else:
            segment = 2 * MIB
            while segment < size:
                segment += 2 * MIB
        capacity = inf if self.rules.capacity is None else self.rules.capacity
        if self.reserved + segment > capacity:
            self.segments = [
                (pool, blocks) for pool, blocks in self.segments if len(blocks) > 1 or blocks[0][1] is not None
            ]
        if self.reserved + segment > capacity:
            return None
        self.segments.append((kind, [[segment, None]]))
        return self.segments[-1][1], 0

    def stretch(self, kind: str, size: int):
        blocks = next((blocks for pool, blocks in self.segments if pool == kind), None)
        if blocks is None:
            blocks = []
            self.segments.append((kind, blocks))
        last = blocks[-1][0] if blocks and blocks[-1][1] is None else 0
        more = 0
        while last + more < size:
            more += 2 * MIB if kind == "small" else self.rules.large_segment
        if self.rules.capacity is not None and self.reserved + more > self.rules.capacity:
            return None
        if last:
            blocks[-1][0] += more
        else:
            blocks.append([more, None])
        return blocks, len(blocks) - 1

    def release(self, item: int) -> None:
        if item not in self.asked:
            return
        del self.asked[item]
        for _, blocks in self.segments:
            for block in blocks:
                if block[1] == item:
                    block[1] = None
            merged = []
            for size, owner in blocks:
                if owner is None and merged and merged[-1][1] is None:
                    merged[-1][0] += size
                else:
                    merged.append([size, owner])
            blocks[:] = merged


def refereed(births, deaths, sizes, steps, first, rounds, rules):
    """What the replay returns, by the referee."""
    referee = Referee(rules)
    peaks, moments = [0, 0, 0], []
    most = [0, 0, 0]

    def note() -> None:
        for index, now in enumerate((referee.requested, referee.allocated, referee.reserved)):
            most[index] = max(most[index], now)
            peaks[index] = max(peaks[index], now)

    for item in first:
        if not referee.allocate(item, sizes[item]):
            return [], peaks, referee, (0, item)
        note()
    for _ in range(rounds):
        moments = []
        for now in range(steps):
            note()
            for item in range(len(sizes)):
                if births[item] == now and item not in first:
                    if not referee.allocate(item, sizes[item]):
                        return moments, peaks, referee, (now, item)
                    note()
            moments.append(tuple(most))
            for item in range(len(sizes)):
                if deaths[item] == now + 1 and item not in first:
                    referee.release(item)
            most = [0, 0, 0]
    return moments, peaks, referee, None


edges = [
    0,
    1,
    511,
    512,
    513,
    1024,
    MIB - 512,
    MIB - 1,
    MIB,
    MIB + 1,
    2 * MIB,
    5 * MIB,
    9 * MIB,
    10 * MIB - 513,
    10 * MIB - 512,
]
edges += [
    10 * MIB - 511,
    10 * MIB,
    10 * MIB + 1,
    15 * MIB,
    18 * MIB,
    19 * MIB,
    20 * MIB,
    21 * MIB,
    30 * MIB,
    40 * MIB,
    64 * MIB,
]
requests = st.sampled_from(edges) | st.integers(0, 3 * MIB) | st.integers(0, 50 * MIB)


@st.composite
def lifetimes(draw, most: int = 12):
    steps = draw(st.integers(1, 8))
    births, deaths, sizes = [], [], []
    for _ in range(draw(st.integers(0, most))):
        birth = draw(st.integers(0, steps - 1))
        births.append(birth)
        deaths.append(draw(st.integers(birth + 1, steps)))
        sizes.append(draw(requests))
    first = draw(st.permutations(range(len(sizes))))[: draw(st.integers(0, 3))]
    return births, deaths, sizes, steps, first


rules = st.builds(
    CachingRules,
    divisions=st.sampled_from([1, 1, 2, 4, 8]),
    large_segment=st.sampled_from([12 * MIB, 20 * MIB, 20 * MIB, 40 * MIB]),
    max_split=st.sampled_from([None, None, 20 * MIB, 40 * MIB]),
    expandable=st.booleans(),
    capacity=st.sampled_from([None, None, 4 * MIB, 24 * MIB, 64 * MIB, 100 * MIB]),
)
allocators = st.builds(
    CachingAllocator,
    iterations=st.integers(1, 3),
    roundup_power2_divisions=st.sampled_from([1, 2, 4, 8]),
    expandable_segments=st.booleans(),
    max_split_size=st.sampled_from([None, 20 * MIB, "40 MiB"]),
)


@given(lifetimes(), st.integers(1, 3), rules)
@example(([0, 1], [1, 2], [20 * MIB, 20 * MIB], 2, []), 1, CachingRules(capacity=24 * MIB))
@example(([0, 1], [1, 2], [20 * MIB, 22 * MIB], 2, []), 1, CachingRules(capacity=24 * MIB))
@example(([0, 1], [1, 2], [18 * MIB, 22 * MIB], 2, []), 1, CachingRules(max_split=20 * MIB))
@example(([0, 1], [1, 2], [64 * MIB, 22 * MIB], 2, []), 1, CachingRules(max_split=20 * MIB))
@example(([0, 1], [1, 2], [30 * MIB, 22 * MIB], 2, []), 1, CachingRules(max_split=20 * MIB))
@example(([0, 1], [1, 2], [40 * MIB, 20 * MIB], 2, []), 1, CachingRules(max_split=20 * MIB))
@example(([0, 0], [1, 1], [MIB, MIB - 512], 1, []), 1, CachingRules())
@example(([0, 0, 1, 1], [1, 2, 2, 2], [12 * MIB, 2 * MIB, 3 * MIB, 12 * MIB], 2, []), 1, CachingRules(expandable=True))
@example(
    ([0, 1], [1, 2], [15 * MIB, MIB + 1], 2, []), 1, CachingRules(1, 12 * MIB, max_split=20 * MIB, expandable=True)
)
def test_equal_to_the_referee(lives, rounds: int, rules: CachingRules) -> None:
    births, deaths, sizes, steps, first = lives
    found = replay_caching(births, deaths, sizes, steps, first=first, rounds=rounds, rules=rules)
    moments, peaks, referee, failed = refereed(births, deaths, sizes, steps, first, rounds, rules)
    assert list(zip(found.requested, found.allocated, found.reserved, strict=True)) == moments
    assert list(found.peaks) == peaks
    assert found.segments == tuple(sum(size for size, _ in blocks) for _, blocks in referee.segments)
    assert found.failed == failed


@given(lifetimes(), allocators | st.just(Ideal()))
def test_laws(lives, allocator: Allocator) -> None:
    births, deaths, sizes, steps, first = lives
    found = allocator.replay(births, deaths, sizes, steps, first=first)
    births = [0 if item in first else birth for item, birth in enumerate(births)]
    deaths = [steps if item in first else death for item, death in enumerate(deaths)]
    assert list(found.requested) == live_sizes_by_counting(births, deaths, sizes, steps)
    for asked, allocated, reserved in zip(found.requested, found.allocated, found.reserved, strict=True):
        assert asked <= allocated <= reserved
    assert found.requested_peak <= found.allocated_peak <= found.reserved_peak == found.device_peak
    assert found.requested_peak == max(found.requested)
    assert found.reserved_peak >= max(found.reserved) == sum(found.segments)  # a cache never shrinks without a limit
    assert found.failed is None


@given(lifetimes(), allocators)
def test_a_limit_at_the_peak_changes_nothing(lives, allocator: CachingAllocator) -> None:
    births, deaths, sizes, steps, first = lives
    free = allocator.replay(births, deaths, sizes, steps, first=first)
    if free.reserved_peak:
        limited = CachingAllocator(
            iterations=allocator.iterations,
            roundup_power2_divisions=allocator.roundup_power2_divisions,
            expandable_segments=allocator.expandable_segments,
            max_split_size=allocator.max_split_size,
            capacity=free.reserved_peak,
        )
        assert limited.replay(births, deaths, sizes, steps, first=first) == free


@given(lifetimes(), allocators)
def test_a_first_round_is_a_part_of_more(lives, allocator: CachingAllocator) -> None:
    births, deaths, sizes, steps, first = lives
    one = replay_caching(births, deaths, sizes, steps, first=first, rules=allocator.rules)
    more = replay_caching(births, deaths, sizes, steps, first=first, rules=allocator.rules, rounds=3)
    assert more.segments[: len(one.segments)] == one.segments or allocator.expandable_segments
    assert all(after >= before for before, after in zip(one.peaks, more.peaks, strict=True))
