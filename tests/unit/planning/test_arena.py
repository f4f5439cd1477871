"""Packings by hand, cut off, compiled, and on bad input."""

import sys
from random import Random
from types import ModuleType

import numpy as np
import pytest

from cnnbudget.errors import InvalidTypeError, InvalidValueError, MissingExtraError
from cnnbudget.planning import arena, skyline
from cnnbudget.planning.arena import pack, pack_greedily
from cnnbudget.planning.referee import complaints_about_packing, least_height_by_trying

# The middle one is largest and goes to the bottom, so the others lie upon it.
STAIRS = [(0, 2, 10), (1, 3, 20), (2, 4, 10)]
# No more than 5 bytes are alive at any step, and yet no arena is lower than 6: the referee tries all 40,320 sequences.
LOAD_IS_NOT_ENOUGH = [(0, 2, 3), (5, 7, 3), (1, 4, 2), (4, 6, 1), (3, 6, 1), (2, 3, 3), (6, 8, 2), (3, 5, 2)]
# The greedy rules need more than 12 here.
GREED_IS_NOT_ENOUGH = [(4, 5, 4), (3, 8, 1), (1, 5, 4), (6, 8, 6), (6, 7, 1), (4, 8, 3), (0, 4, 6)]


def test_stairs_by_hand() -> None:
    plan = pack_greedily(STAIRS)
    assert plan.offsets == (20, 0, 20)
    assert (plan.height, plan.lower_bound, plan.optimal, plan.busiest) == (30, 30, True, 1)
    assert pack(STAIRS) == plan
    assert plan.fits is True


def test_greedy_rules_by_hand() -> None:
    # By birth: 10 at 0, 20 upon it, and the last falls to the bottom.
    assert pack_greedily(STAIRS, sequence="birth").offsets == (0, 10, 0)
    # Equal sizes: the last comes first, as in TensorFlow Lite Micro.
    assert pack_greedily([(0, 1, 5), (0, 1, 5)]).offsets == (5, 0)
    gaps = [(0, 2, 30), (0, 9, 29), (0, 2, 28), (0, 9, 27), (3, 9, 26)]
    # by size: 30 at 0, 29 at 30, 28 at 59, 27 at 87; for 26 the gaps are 0..30 and 59..87
    assert pack_greedily(gaps).offsets == (0, 30, 59, 87, 0)
    assert pack_greedily(gaps, fit="best").offsets == (0, 30, 59, 87, 59)


def test_alignment_rounds_sizes_up() -> None:
    plan = pack(STAIRS, alignment=16)
    assert plan.height == 16 + 32
    assert complaints_about_packing(STAIRS, plan.offsets, 16, 48) == []


def test_the_referee_finds_faults_in_packings() -> None:
    assert complaints_about_packing(STAIRS, (0, 9, 0), 1, 29) == ["0 and 1 overlap", "1 and 2 overlap"]
    assert complaints_about_packing(STAIRS, (-1, 20, 0), 1, 40) == ["0 lies at -1"]
    assert complaints_about_packing(STAIRS, (0, 10, 0), 4, 32) == ["1 lies at 10"]
    assert complaints_about_packing(STAIRS, (0, 10, 0), 1, 31) == ["the height is 30, not 31"]


def test_nothing_with_bytes() -> None:
    plan = pack([(0, 1, 0), (0, 2, 0)], alignment=8)
    assert (plan.height, plan.offsets, plan.optimal, plan.method) == (0, (0, 0), True, "nothing to place")


def test_storages_that_never_meet_are_packed_apart() -> None:
    lifetimes = [*STAIRS, *((birth + 4, death + 4, 3 * size) for birth, death, size in STAIRS), (2, 6, 0)]
    plan = pack(lifetimes)
    assert plan.height == 90
    assert plan.busiest == 5
    assert complaints_about_packing(lifetimes, plan.offsets, 1, 90) == []


def test_the_load_is_not_always_enough() -> None:
    lifetimes = LOAD_IS_NOT_ENOUGH
    assert pack_greedily(lifetimes).lower_bound == 5
    plan = pack(lifetimes)
    assert plan.height == plan.lower_bound == least_height_by_trying(lifetimes) == 6
    assert pack(lifetimes, capacity=5).fits is False
    assert pack(lifetimes, capacity=5, node_limit=2).fits is None
    assert pack(lifetimes, capacity=5, time_limit=0).fits is None
    assert pack(lifetimes, capacity=6).fits is True
    # What hangs together elsewhere in time may be as high as that, too.
    taller = [*((birth, death, 10 * size) for birth, death, size in lifetimes), (8, 9, 53)]
    assert (pack(taller).height, pack(taller).lower_bound) == (60, 60)


def test_greed_is_not_always_enough() -> None:
    lifetimes = GREED_IS_NOT_ENOUGH
    plan = pack(lifetimes, seed=7)
    assert plan.method == "branch and bound"
    assert plan.height == plan.lower_bound == least_height_by_trying(lifetimes) == 12
    assert complaints_about_packing(lifetimes, plan.offsets, 1, 12) == []
    for sequence in ("size", "area", "duration", "birth"):
        for fit in ("lowest", "best"):
            assert pack_greedily(lifetimes, sequence=sequence, fit=fit).height > 12
    assert pack(lifetimes, node_limit=0).height > 12
    at_once = pack(lifetimes, time_limit=0)
    assert at_once.method == "greedy by size, lowest fit"
    assert complaints_about_packing(lifetimes, at_once.offsets, 1, at_once.height) == []


def cut_up(seed: int, pieces: int, height: int = 1000, steps: int = 100) -> list[tuple[int, int, int]]:
    """A rectangle of time and space, cut into pieces at random: they fit into it again, and it is full at every step."""
    random = Random(seed)
    found = [(0, steps, height)]
    while len(found) < pieces:
        birth, death, size = found.pop(random.randrange(len(found)))
        if death - birth > 1 and (random.random() < 0.5 or size == 1):
            at = random.randrange(birth + 1, death)
            found += [(birth, at, size), (at, death, size)]
        elif size > 1:
            low = random.randrange(1, size)
            found += [(birth, death, low), (birth, death, size - low)]
        else:
            found.append((birth, death, size))
    return random.sample(found, pieces)


@pytest.mark.parametrize("seed", range(3))
def test_a_rectangle_of_many_pieces(seed: int) -> None:
    lifetimes = cut_up(seed, 60)
    plan = pack(lifetimes, fast=False)
    assert plan.height == plan.lower_bound == 1000
    assert plan.method == "branch and bound"
    assert complaints_about_packing(lifetimes, plan.offsets, 1, 1000) == []


def test_between_the_bound_and_the_greedy_height() -> None:
    """Where the bound is too hard, heights halfway to the greedy one are tried."""
    lifetimes = cut_up(14, 90)
    greedy = pack(lifetimes, node_limit=0)
    plan = pack(lifetimes, fast=False, node_limit=8_000)
    assert 1000 == plan.lower_bound < plan.height < greedy.height
    assert plan.method == "branch and bound"
    assert not plan.optimal
    assert complaints_about_packing(lifetimes, plan.offsets, 1, plan.height) == []


@pytest.mark.parametrize("rule", range(skyline.RULES))
@pytest.mark.parametrize("seed", [3, 14, 19])
def test_no_rule_refutes_what_is_possible(seed: int, rule: int) -> None:
    """Over heights that have room, and the one that has none; parts get ranks of their own on the way."""
    lifetimes = [(0, 100, 1), *cut_up(seed, 90)]
    moments = [(birth, death - 1, size) for birth, death, size in lifetimes]
    layout = skyline.Layout(moments, [death - birth for birth, death, _ in lifetimes])
    for height in (1001, 1050, 1100):
        explorer = skyline.Explorer(layout, height, rule, range(len(lifetimes)))
        found = explorer.go(1_500, fast=False)
        assert found != skyline.NOTHING
        if found == skyline.FOUND:
            ends = [offset + size for offset, (_, _, size) in zip(explorer.offsets, lifetimes, strict=True)]
            assert max(ends) <= height
            assert complaints_about_packing(lifetimes, explorer.offsets, 1, max(ends)) == []


def test_what_falls_apart_starts_with_ranks_of_its_own() -> None:
    """The longest (3 bytes at the steps 2 to 5) goes to the bottom; then the first of the left part may, too, whatever its rank."""
    layout = skyline.Layout([(2, 5, 3), (0, 1, 3), (1, 2, 2), (4, 5, 1)], [4, 2, 2, 2])
    explorer = skyline.Explorer(layout, 5, 0, range(4))
    assert explorer.go(10, fast=False) == skyline.FOUND
    assert explorer.offsets == [0, 0, 3, 3]


def test_too_many_pairs_for_a_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arena, "_MOST_PAIRS", 5)
    plan = pack(GREED_IS_NOT_ENOUGH)
    assert plan.method.startswith("greedy")
    assert not plan.optimal


def test_progress_goes_one_way() -> None:
    told: list[tuple[int, int]] = []
    for lifetimes in (LOAD_IS_NOT_ENOUGH, GREED_IS_NOT_ENOUGH):
        told.clear()
        plan = pack(lifetimes, progress=lambda *values: told.append(values))
        heights, bounds = zip(*told, strict=True)
        assert list(heights) == sorted(heights, reverse=True)
        assert list(bounds) == sorted(bounds)
        assert told[-1] == (plan.height, plan.lower_bound)


def test_compiled_or_not_the_plan_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here numba compiles nothing; what matters is that the search on arrays and on lists is one."""
    numba = ModuleType("numba")
    numba.njit = lambda **options: lambda function: function  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "numba", numba)
    skyline.compiled.cache_clear()
    for lifetimes in (LOAD_IS_NOT_ENOUGH, GREED_IS_NOT_ENOUGH, cut_up(19, 90)):
        assert pack(lifetimes, fast=True) == pack(lifetimes, fast=False)
    skyline.compiled.cache_clear()


def test_nowhere_to_keep_machine_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def njit(function=None, *, cache: bool = False):  # type: ignore[no-untyped-def]
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return function

    numba = ModuleType("numba")
    numba.njit = njit  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "numba", numba)
    skyline.compiled.cache_clear()
    assert skyline.compiled() is skyline.explore
    skyline.compiled.cache_clear()


def test_really_compiled() -> None:
    pytest.importorskip("numba")
    for lifetimes in (LOAD_IS_NOT_ENOUGH, GREED_IS_NOT_ENOUGH):
        assert pack(lifetimes, fast=True) == pack(lifetimes, fast=False)
    huge = [(birth, death, size * 2**60 - number) for number, (birth, death, size) in enumerate(GREED_IS_NOT_ENOUGH)]
    assert pack(huge, fast=True) == pack(huge, fast=False)  # plain both times, since the sums have more than a word


def test_without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    skyline.compiled.cache_clear()
    with pytest.raises(MissingExtraError, match=r"needs numba; pip install cnnbudget\[fast\]"):
        pack(STAIRS, fast=True)
    assert pack(GREED_IS_NOT_ENOUGH).height == 12


def test_numpy_ints_are_ints() -> None:
    plan = pack([(np.int64(0), np.int32(2), np.int64(10))])
    assert type(plan.height) is int
    assert type(plan.offsets[0]) is int


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: pack([]), InvalidValueError, "nothing to pack: got no lifetime"),
        (lambda: pack([(0, 1)]), InvalidTypeError, r"lifetimes\[0\] is no lifetime: got \(0, 1\)"),
        (lambda: pack([5]), InvalidTypeError, r"lifetimes\[0\] is no lifetime: got 5"),
        (lambda: pack([(0, 1, 1), (1, 1, 4)]), InvalidValueError, r"lifetimes\[1\] dies before it is born"),
        (lambda: pack([(0, 1.5, 1)]), InvalidTypeError, r"lifetimes\[0\] must hold ints"),
        (lambda: pack([(False, 1, 1)]), InvalidTypeError, r"lifetimes\[0\] must hold ints"),
        (lambda: pack([(0, 1, -3)]), InvalidValueError, r"size of lifetimes\[0\] is out of range: got -3"),
        (lambda: pack([(0, 1, 2**63)]), InvalidValueError, r"size of lifetimes\[0\] is out of range"),
        (lambda: pack([(0, 1, 2.0)]), InvalidTypeError, r"size of lifetimes\[0\] must be an int"),
        (lambda: pack(STAIRS, alignment=0), InvalidValueError, "alignment is out of range: got 0"),
        (
            lambda: pack(STAIRS, capacity=19),
            InvalidValueError,
            "below the largest storage alone: got 19.*at least 20 bytes",
        ),
        (lambda: pack(STAIRS, 16, 31), InvalidValueError, "below the largest storage alone: got 31.*at least 32 bytes"),
        (lambda: pack(STAIRS, capacity=-1), InvalidValueError, "capacity is out of range: got -1"),
        (lambda: pack(STAIRS, capacity=30.0), InvalidTypeError, "capacity must be an int"),
        (lambda: pack(STAIRS, fast=1), InvalidTypeError, "fast must be True, False or None: got 1"),
        (lambda: pack(STAIRS, node_limit=-1), InvalidValueError, "node_limit is out of range"),
        (lambda: pack(STAIRS, seed=-1), InvalidValueError, "seed is out of range"),
        (lambda: pack(STAIRS, time_limit=-1), InvalidValueError, "time_limit is out of range"),
        (
            lambda: pack_greedily(STAIRS, sequence="sizes"),
            InvalidValueError,
            "sequence is an unknown word.*did you mean 'size'",
        ),
        (lambda: pack_greedily(STAIRS, fit=1), InvalidTypeError, "fit must be a word"),
    ],
)
def test_bad_input(make, error: type[Exception], text: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=text):
        make()
