"""Allocators as policies: reports, settings, errors. What the cache does is tested in ``tests/unit/planning/test_caching.py``."""

import pickle

import numpy as np
import pytest
from attrs import evolve, frozen

from cnnbudget.errors import InvalidTypeError, InvalidValueError
from cnnbudget.memory.allocator import Allocator, AllocatorReport, CachingAllocator, Ideal
from cnnbudget.units import Bytes

MIB = 2**20


def test_ideal_adds_up() -> None:
    found = Ideal().replay([0, 1, 5], [2, 3, 5], [1000, 10, 7], 3, first=[2])
    assert found.requested == found.allocated == found.reserved == (1007, 1017, 17)
    assert found.requested_peak == found.allocated_peak == found.reserved_peak == found.device_peak == 1017
    assert (found.segments, found.failed) == ((1017,), None)


def test_no_steps() -> None:
    for allocator in (Ideal(), CachingAllocator()):
        nothing = allocator.replay([], [], [], 0)
        assert (nothing.reserved_peak, nothing.reserved, nothing.segments) == (0, (), ())
        assert allocator.replay([0], [0], [512], 0, first=[0]).allocated_peak == 512


def test_the_report_of_a_cache() -> None:
    # 1,000 bytes are 1,024 in a segment of 2 MiB; 5 MiB lie in one of 20.
    found = CachingAllocator(context_bytes="300 MiB").replay([0, 1], [2, 2], [1000, 5 * MIB], 2)
    assert (found.requested, found.allocated) == ((1000, 1000 + 5 * MIB), (1024, 1024 + 5 * MIB))
    assert (found.reserved, found.segments) == ((2 * MIB, 22 * MIB), (2 * MIB, 20 * MIB))
    peaks = found.requested_peak, found.allocated_peak, found.reserved_peak
    assert [type(peak) for peak in peaks] == [Bytes] * 3
    assert found.device_peak == (22 + 300) * MIB
    assert isinstance(found.device_peak, Bytes)
    assert repr(found) == (
        "AllocatorReport(requested_peak=Bytes(5243880), allocated_peak=Bytes(5243904), reserved_peak=Bytes(23068672), "
        "context_bytes=Bytes(314572800), failed=None)"
    )


def test_numpy_is_welcome() -> None:
    births, deaths, sizes = np.array([0, 1]), np.array([2, 2]), np.array([1000, 84 * MIB])
    allocator = CachingAllocator(roundup_power2_divisions=4)
    assert allocator.replay(births, deaths, sizes, 2) == allocator.replay([0, 1], [2, 2], [1000, 84 * MIB], 2)
    assert type(allocator.replay(births, deaths, sizes, 2).reserved[1]) is int


def test_what_does_not_fit() -> None:
    found = CachingAllocator(capacity="20 MiB").replay([0, 1], [2, 2], [1000, 5 * MIB], 2)
    assert (found.failed, found.reserved, found.reserved_peak) == ((1, 1), (2 * MIB,), 2 * MIB)


def test_settings_reach_the_cache() -> None:
    assert CachingAllocator(large_segment_size="40 MiB").replay([0], [1], [2 * MIB], 1).reserved_peak == 40 * MIB
    assert CachingAllocator(roundup_power2_divisions=4).replay([0], [1], [84 * MIB], 1).allocated_peak == 96 * MIB
    assert CachingAllocator(expandable_segments=True).replay([0], [1], [21 * MIB], 1).reserved_peak == 40 * MIB
    lives = [0, 1], [1, 2], [60 * MIB, 30 * MIB], 2
    assert CachingAllocator().replay(*lives).reserved_peak == 60 * MIB
    assert CachingAllocator(max_split_size=40 * MIB).replay(*lives).reserved_peak == 90 * MIB
    # The second round of test_a_second_round_finds_a_cache.
    lives = [0, 1, 1], [2, 2, 2], [3 * MIB, 18 * MIB, 17 * MIB], 2
    assert [CachingAllocator(iterations=count).replay(*lives).reserved_peak // MIB for count in (1, 2)] == [38, 56]


def test_values() -> None:
    assert repr(CachingAllocator()) == "CachingAllocator()"
    assert repr(Ideal()) == "Ideal()"
    allocator = CachingAllocator(capacity="8 GiB", expandable_segments=True)
    assert repr(allocator) == "CachingAllocator(expandable_segments=True, capacity=Bytes(8589934592))"
    assert pickle.loads(pickle.dumps(allocator)) == allocator
    assert evolve(allocator, capacity=None, expandable_segments=False) == CachingAllocator()
    assert hash(CachingAllocator(capacity=np.int64(2**30))) == hash(CachingAllocator(capacity="1 GiB"))
    assert CachingAllocator(context_bytes=0) == CachingAllocator()


@frozen(repr=False)
class Doubling(Allocator):
    """Somebody else's."""

    def replay(self, births, deaths, sizes, steps, *, first=()):
        found = Ideal().replay(births, deaths, sizes, steps, first=first)
        return AllocatorReport(
            found.requested,
            found.allocated,
            tuple(2 * size for size in found.reserved),
            found.requested_peak,
            found.allocated_peak,
            Bytes(2 * found.reserved_peak),
            (),
        )


def test_a_foreign_allocator() -> None:
    assert Doubling().replay([0], [1], [10], 1).device_peak == 20


def run(births, deaths, sizes, steps, **settings):
    return lambda: CachingAllocator().replay(births, deaths, sizes, steps, **settings)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (run([0], [1], [], 1), InvalidValueError, "births, deaths and sizes must be of one length: got 1, 1 and 0"),
        (
            run([0, 1], [1, 1], [5, 5], 2),
            InvalidValueError,
            r"lifetime or size makes no sense \(at storage 1\): got birth 1, death 1",
        ),
        (run([0], [3], [5], 2), InvalidValueError, "got birth 0, death 3, size 5, expected 0 <= birth < death <= 2"),
        (run([-1], [1], [5], 2), InvalidValueError, "got birth -1"),
        (run([0], [1], [-5], 2), InvalidValueError, "size -5"),
        (run([0], [1], [-5], 2, first=[0]), InvalidValueError, "size -5"),
        (
            run([0], [1], [5], 2, first=[1]),
            InvalidValueError,
            r"first names .* that does not exist: got \[1\], expected numbers from 0 to 0",
        ),
        (run([0], [1], [5], 2, first=[0, 0]), InvalidValueError, "first names a storage twice"),
        (
            run([0], [1], [1.5], 1),
            InvalidTypeError,
            r"sizes must be ints: got \[1\.5\], expected one int for every storage",
        ),
        (run(0, [1], [5], 1), InvalidTypeError, "births must be ints: got 0"),
        (run([0], [1], [5], -1), InvalidValueError, "steps is out of range: got -1"),
        (lambda: Ideal().replay([0], [1], [], 1), InvalidValueError, "must be of one length"),
        (
            lambda: CachingAllocator(iterations=0),
            InvalidValueError,
            r"CachingAllocator\.iterations is out of range: got 0",
        ),
        (
            lambda: CachingAllocator(roundup_power2_divisions=3),
            InvalidValueError,
            r"CachingAllocator\.roundup_power2_divisions is no power of two: got 3, expected 1, 2, 4",
        ),
        (
            lambda: CachingAllocator(max_split_size="10 MiB"),
            InvalidValueError,
            r"CachingAllocator\.max_split_size is too small: got Bytes\(10485760\), expected at least 20971520 bytes",
        ),
        (
            lambda: CachingAllocator(large_segment_size="9 MiB"),
            InvalidValueError,
            r"CachingAllocator\.large_segment_size is too small: .* expected at least 10485760 bytes: the largest requests",
        ),
        (lambda: CachingAllocator(expandable_segments=1), InvalidTypeError, "must be a bool"),
        (lambda: CachingAllocator(capacity=0), InvalidValueError, "a size must be positive: got 0"),
        (lambda: CachingAllocator(capacity=1.5), InvalidTypeError, "a number of bytes must be an int: got 1.5"),
        (lambda: CachingAllocator(context_bytes=-1), InvalidValueError, "a size must be positive: got -1"),
        (
            lambda: CachingAllocator(context_bytes=False),
            InvalidTypeError,
            "a number of bytes must be an int: got False",
        ),
    ],
)
def test_bad_input(make, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make()


def test_the_base_is_no_allocator() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Allocator()
