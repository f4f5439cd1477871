"""The caching allocator by hand, and by figures that PyTorch's own tests assert on a GPU."""

import pytest

from cnnbudget.planning.caching import CachingRules, replay_caching

KIB, MIB = 2**10, 2**20


DEFAULT = CachingRules()


def replay(*requests, rules: CachingRules = DEFAULT, **settings):
    """Requests as ``(birth, death, bytes)``."""
    births, deaths, sizes = zip(*requests, strict=True)
    return replay_caching(births, deaths, sizes, max(deaths), rules=rules, **settings)


@pytest.mark.parametrize(
    ("request_", "block", "segment"),
    [
        (1, 512, 2 * MIB),
        (512, 512, 2 * MIB),
        (513, 1024, 2 * MIB),
        (MIB - 511, MIB, 2 * MIB),
        (MIB, MIB, 2 * MIB),
        (MIB + 1, MIB + 512, 20 * MIB),
        (10 * MIB - 512, 10 * MIB - 512, 20 * MIB),
        (10 * MIB - 1, 10 * MIB, 10 * MIB),  # rounded first: no longer below 10 MiB
        (10 * MIB, 10 * MIB, 10 * MIB),
        (10 * MIB + 1, 10 * MIB + 512, 12 * MIB),
        (11 * MIB, 12 * MIB, 12 * MIB),  # the 1 MiB that is left is not split off
        (11 * MIB - 1, 12 * MIB, 12 * MIB),  # rounded first
        (11 * MIB - 512, 11 * MIB - 512, 12 * MIB),  # 1 MiB and 512 bytes are
        (600 * MIB, 600 * MIB, 600 * MIB),
    ],
)
def test_a_single_request(request_: int, block: int, segment: int) -> None:
    found = replay((0, 1, request_))
    assert (found.peaks, found.segments) == ((request_, block, segment), (segment,))


def test_an_empty_tensor_has_no_block() -> None:
    assert replay((0, 1, 0)).peaks == (0, 0, 0)


# PyTorch's test of its allocator settings (test_allocator_settings): 21 Mi floats with four steps between powers of two. 84 MiB lie
# between 64 and 128; the steps are 80, 96, 112.
@pytest.mark.parametrize(
    ("divisions", "request_", "block"),
    [
        (4, 84 * MIB, 96 * MIB),
        (1, 84 * MIB, 84 * MIB),
        (4, 64 * MIB, 64 * MIB),
        (8, 84 * MIB, 88 * MIB),
        (4, 2049, 2560),  # 2048 and a quarter of it
        (4, 2048, 2048),
        (4, 1200, 1536),  # up to four times 512 bytes: rounded to 512 bytes
    ],
)
def test_steps_between_powers_of_two(divisions: int, request_: int, block: int) -> None:
    assert CachingRules(divisions=divisions).rounded(request_) == block


def test_one_mib_tensors_are_small() -> None:
    """PyTorch's test_1mb_allocation_uses_small_block.

    A tensor of 1 MiB, then ``b = a.clone()``, then five times ``b = b.clone() + 1``: two tensors are left, four were alive at once:
    2 MiB allocated, 4 MiB reserved.
    """
    requests = [(0, 13, MIB), (1, 3, MIB)]  # a, b
    for turn in range(5):
        requests += [(2 + 2 * turn, 4 + 2 * turn, MIB)]  # the clone is there until the sum is
        requests += [(3 + 2 * turn, 13 if turn == 4 else 6 + 2 * turn, MIB)]
    found = replay(*requests)
    assert found.allocated[-1] == 2 * MIB
    assert found.reserved[-1] == found.peaks[2] == 4 * MIB


def test_a_large_segment_of_another_size() -> None:
    """``large_segment_size_mb:40`` and 2 MiB: a GPU reports 40 MiB reserved, as a probe of PyTorch 2.12 asserts."""
    assert replay((0, 1, 2 * MIB), rules=CachingRules(large_segment=40 * MIB)).peaks == (2 * MIB, 2 * MIB, 40 * MIB)


def test_small_ones_are_packed() -> None:
    # 2 MiB hold 4,096 blocks of 512 bytes; one more opens another segment.
    assert replay(*[(0, 1, 4)] * 4096).peaks == (4 * 4096, 2 * MIB, 2 * MIB)
    assert replay(*[(0, 1, 4)] * 4097).segments == (2 * MIB, 2 * MIB)


def test_large_ones_share_segments() -> None:
    # Four of 5 MiB fill 20 MiB; a fifth opens another. Three of 6.5 MiB do not: 7 MiB are left after two, 0.5 MiB after three.
    assert replay(*[(0, 1, 5 * MIB)] * 5).segments == (20 * MIB, 20 * MIB)
    assert replay(*[(0, 1, 6 * MIB + 512 * KIB)] * 3).peaks == (19 * MIB + 512 * KIB, 20 * MIB, 20 * MIB)


def test_the_smallest_block_that_fits() -> None:
    # At step 1 holes of 12 and of 30 MiB are free: 11 MiB go into the 12, so that 30 MiB still find theirs.
    found = replay((0, 1, 30 * MIB), (0, 1, 12 * MIB), (1, 2, 11 * MIB), (1, 2, 30 * MIB))
    assert found.segments == (30 * MIB, 12 * MIB)
    assert found.allocated[1] == 42 * MIB  # the 12 are not split: 1 MiB is left


def test_neighbours_merge() -> None:
    # Four of 5 MiB; the middle two go, and 9.5 MiB fit where they were, in the same segment. The outer two do not merge.
    four = [(0, 1 if number in {1, 2} else 3, 5 * MIB) for number in range(4)]
    assert replay(*four, (1, 3, 9 * MIB + 512 * KIB)).segments == (20 * MIB,)
    four = [(0, 1 if number in {0, 2} else 3, 5 * MIB) for number in range(4)]
    assert replay(*four, (1, 3, 9 * MIB + 512 * KIB)).segments == (20 * MIB, 20 * MIB)


def test_segments_never_merge() -> None:
    # Two segments of 20 MiB are free, and 40 MiB do not fit: fragmentation.
    found = replay((0, 1, 20 * MIB), (0, 1, 20 * MIB), (1, 2, 40 * MIB))
    assert found.peaks == (40 * MIB, 40 * MIB, 80 * MIB)


def test_pools_do_not_share() -> None:
    assert replay((0, 1, 8 * MIB), (1, 2, MIB)).segments == (20 * MIB, 2 * MIB)


def test_a_segment_that_grows() -> None:
    rules = CachingRules(expandable=True)
    # 40 MiB fit into what two of 20 MiB leave.
    assert replay((0, 1, 20 * MIB), (0, 1, 20 * MIB), (1, 2, 40 * MIB), rules=rules).peaks[2] == 40 * MIB
    # 21 MiB take two steps of 20; what is left serves 19 MiB.
    assert replay((0, 1, 21 * MIB), (0, 1, 19 * MIB), rules=rules).segments == (40 * MIB,)
    # 512 bytes are split off.
    assert replay((0, 1, 20 * MIB - 512), rules=rules).peaks == (20 * MIB - 512, 20 * MIB - 512, 20 * MIB)
    assert replay((0, 1, 1), (0, 1, 2 * MIB), rules=rules).segments == (2 * MIB, 20 * MIB)
    # Of 12, 2 and 6 MiB at the end, the 12 are free: 3 MiB go there, not into the smaller 6, which could grow. So 12 MiB find only
    # 9 and 6, and the segment grows.
    assert replay((0, 1, 12 * MIB), (0, 2, 2 * MIB), (1, 2, 3 * MIB), (1, 2, 12 * MIB), rules=rules).segments == (
        40 * MIB,
    )
    # 15 MiB take two steps of 12; the free 24 are too large for 1 MiB under the limit on splitting, but nothing needs to be added.
    rules = CachingRules(large_segment=12 * MIB, max_split=20 * MIB, expandable=True)
    assert replay((0, 1, 15 * MIB), (1, 2, MIB + 1), rules=rules).segments == (24 * MIB,)


def test_large_blocks_that_are_not_split() -> None:
    rules = CachingRules(max_split=40 * MIB)
    # A free block of 60 MiB is too large for 30 MiB, and too large by 20 MiB for 40; 41 MiB take it whole.
    assert replay((0, 1, 60 * MIB), (1, 2, 30 * MIB), rules=rules).segments == (60 * MIB, 30 * MIB)
    assert replay((0, 1, 60 * MIB), (1, 2, 40 * MIB), rules=rules).segments == (60 * MIB, 40 * MIB)
    found = replay((0, 1, 60 * MIB), (1, 2, 41 * MIB), rules=rules)
    assert (found.segments, found.allocated[1]) == ((60 * MIB,), 60 * MIB)
    # Without the limit 60 MiB are split for all of them.
    assert replay((0, 1, 60 * MIB), (1, 2, 30 * MIB)).allocated[1] == 30 * MIB


def test_free_segments_are_given_back_at_the_limit() -> None:
    rules = CachingRules(capacity=62 * MIB)
    # 20 and 40 MiB are reserved, 40 are free; 42 more would be 102: the 40 go.
    found = replay((0, 2, 20 * MIB), (0, 1, 40 * MIB), (1, 2, 42 * MIB), rules=rules)
    assert (found.reserved, found.segments, found.failed) == ((60 * MIB, 62 * MIB), (20 * MIB, 42 * MIB), None)
    # A segment that is used in part stays: 8 of 20 MiB.
    found = replay((0, 2, 8 * MIB), (0, 1, 8 * MIB), (1, 2, 44 * MIB), rules=rules)
    assert (found.reserved, found.failed) == ((20 * MIB,), (1, 2))


def test_no_room() -> None:
    rules = CachingRules(capacity=20 * MIB)
    found = replay((0, 1, 22 * MIB), rules=rules)
    assert (found.peaks, found.reserved, found.failed) == ((0, 0, 0), (), (0, 0))
    found = replay((0, 1, 1), (0, 1, 22 * MIB), first=[1, 0], rules=rules)
    assert (found.peaks, found.failed) == ((0, 0, 0), (0, 1))
    # What fitted before in the step counts.
    found = replay((0, 1, 1), (0, 1, 22 * MIB), rules=rules)
    assert (found.peaks, found.failed) == ((1, 512, 2 * MIB), (0, 1))
    grown = replay((0, 1, 1), (0, 1, 22 * MIB), rules=CachingRules(capacity=20 * MIB, expandable=True))
    assert grown.failed == (0, 1)


def test_what_is_there_first() -> None:
    # Item 2 is allocated first and keeps its place; its birth and death do not matter.
    found = replay((0, 1, 15 * MIB), (1, 2, 15 * MIB), (1, 2, 30 * MIB), first=[2])
    assert (found.segments, found.allocated) == ((30 * MIB, 16 * MIB), (46 * MIB, 46 * MIB))


def test_a_second_round_finds_a_cache() -> None:
    # The cache of the first round serves the second: nothing new.
    assert replay((0, 1, 12 * MIB), (1, 2, 11 * MIB), rounds=5).segments == (12 * MIB,)
    # Round 1: 3 MiB open 20, 18 MiB a segment of their own, 17 MiB find what is left of the 20. Round 2: the smallest free block
    # for 3 MiB is now the segment of 18; 18 MiB take the one of 20; 17 MiB find nothing and open 18.
    requests = [(0, 2, 3 * MIB), (1, 2, 18 * MIB), (1, 2, 17 * MIB)]
    assert replay(*requests).segments == (20 * MIB, 18 * MIB)
    twice = replay(*requests, rounds=2)
    assert twice.segments == (20 * MIB, 18 * MIB, 18 * MIB)
    assert twice.reserved == (38 * MIB, 56 * MIB)


def test_nothing() -> None:
    found = replay_caching([], [], [], 0)
    assert (found.peaks, found.reserved, found.segments, found.failed) == ((0, 0, 0), (), (), None)
    assert replay_caching([], [], [], 2).reserved == (0, 0)
