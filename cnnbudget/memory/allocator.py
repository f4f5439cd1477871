"""Allocators: what is reserved for the storages of a schedule. Policies, as values.

Three numbers, each never below the one before: *requested* bytes are those of the storages alive, *allocated* bytes those of the
blocks they lie in, *reserved* bytes those that the allocator holds. PyTorch calls them ``requested_bytes``,
``memory_allocated`` and ``memory_reserved``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from operator import index
from typing import TYPE_CHECKING, Any

from attrs import Attribute, field, frozen

from cnnbudget.checks import exact_int, int_from, is_bool, is_int, short_repr
from cnnbudget.errors import InvalidTypeError, InvalidValueError, shorten
from cnnbudget.planning.caching import LARGE_LIMIT, LARGE_SEGMENT, CachingRules, replay_caching
from cnnbudget.planning.intervals import live_sizes
from cnnbudget.units import Bytes, parse_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import SupportsIndex

__all__ = ["Allocator", "AllocatorReport", "CachingAllocator", "Ideal"]


@frozen
class AllocatorReport:
    """What an allocator did with the storages of a schedule.

    Args:
        requested: Bytes of the storages alive at each step.
        allocated: Bytes of their blocks.
        reserved: Bytes that the allocator holds.
        requested_peak: The most that was requested at once, in all iterations.
        allocated_peak: The most that was allocated.
        reserved_peak: The most that was reserved.
        segments: Bytes of every segment at the end, in the order in which they were opened.
        context_bytes: What the driver takes besides, as the policy was told.
        failed: Step and number of the storage for which there was no room, where the replay ended; ``None`` if it all fitted.
    """

    requested: tuple[int, ...] = field(repr=False)
    allocated: tuple[int, ...] = field(repr=False)
    reserved: tuple[int, ...] = field(repr=False)
    requested_peak: Bytes
    allocated_peak: Bytes
    reserved_peak: Bytes
    segments: tuple[int, ...] = field(repr=False)
    context_bytes: Bytes = field(default=Bytes(0))
    failed: tuple[int, int] | None = None

    @property
    def device_peak(self) -> Bytes:
        """What a monitor of the device shows at the peak, which is the reserved bytes and the context."""
        return Bytes(self.reserved_peak + self.context_bytes)


@frozen(repr=False)
class Allocator(ABC):
    """The base of all allocators. Derive, decorate with ``attrs.frozen``, and state :meth:`replay`."""

    def __repr__(self) -> str:
        return short_repr(self)

    @abstractmethod
    def replay(
        self,
        births: Sequence[int],
        deaths: Sequence[int],
        sizes: Sequence[int],
        steps: int,
        *,
        first: Sequence[int] = (),
    ) -> AllocatorReport:
        """Replays the lifetimes of storages.

        In every step the new storages are allocated, in the order of their numbers; those that end with it are freed after it.

        Args:
            births: First step of each storage.
            deaths: The step after its last, larger than its birth and at most ``steps``.
            sizes: Its bytes.
            steps: How many steps there are.
            first: Storages that are there before the first step and stay, such as parameters, in the order in which they
                were allocated; their births and deaths do not matter.

        Returns:
            What was requested, allocated and reserved.

        Raises:
            InvalidValueError: If the lifetimes contradict themselves.
        """


@frozen(repr=False)
class Ideal(Allocator):
    """An allocator that wastes nothing: reserved is what is requested. The lower bound for every other.

    Example:
        >>> Ideal().replay(births=[0, 1], deaths=[2, 3], sizes=[1000, 10], steps=3).reserved
        (1000, 1010, 10)
    """

    def replay(
        self,
        births: Sequence[int],
        deaths: Sequence[int],
        sizes: Sequence[int],
        steps: int,
        *,
        first: Sequence[int] = (),
    ) -> AllocatorReport:
        """Adds up what is alive."""
        births, deaths, sizes, first = _checked(births, deaths, sizes, steps, first)
        for number in first:
            births[number], deaths[number] = 0, steps
        live = tuple(live_sizes(births, deaths, sizes, steps))
        peak = Bytes(max(live, default=sum([sizes[number] for number in first])))
        return AllocatorReport(live, live, live, peak, peak, peak, (peak,) if peak else ())


def _bytes_or_none(value: SupportsIndex | str | None) -> Bytes | None:
    return None if value is None else parse_bytes(value)


def _is_power_of_two(instance: Any, attribute: Attribute[Any], value: Any) -> None:
    is_int(1, 64)(instance, attribute, value)
    if value & (value - 1):
        raise InvalidValueError(
            f"{type(instance).__name__}.{attribute.name} is no power of two",
            got=shorten(value),
            expected="1, 2, 4, 8, 16, 32 or 64",
        )


def _at_least(least: int, why: str) -> Any:
    def check(instance: Any, attribute: Attribute[Any], value: Any) -> None:
        if value is not None and value < least:
            raise InvalidValueError(
                f"{type(instance).__name__}.{attribute.name} is too small",
                got=shorten(value),
                expected=f"at least {least} bytes: {why}",
            )

    return check


def _bytes_or_zero(value: SupportsIndex | str) -> Bytes:
    none = isinstance(value, int) and not isinstance(value, bool) and value == 0
    return Bytes(0) if none else parse_bytes(value)


@frozen(repr=False)
class CachingAllocator(Allocator):
    """PyTorch's caching allocator for CUDA: it rounds up to 512 bytes, packs blocks into segments, and keeps the segments.

    The rules, with their sources, are in ``cnnbudget.planning.caching``. *Counts*: all that storages of the schedule make it
    reserve. *Does not count*: requests that no schedule has (workspaces of kernels), streams, and that the first iteration
    allocates what stays (gradients, the optimizer's state) in the middle of it. Sizes are ints of bytes or text (``"40 MiB"``).

    Args:
        iterations: How often the schedule is run. The second iteration finds a cache, so it may reserve more (where the blocks do
            not fit) but rarely does.
        roundup_power2_divisions: Rounds requests up to so many steps between two powers of two. PyTorch's default rounds to 512
            bytes only: 1.
        max_split_size: Blocks of so many bytes are not split any more. PyTorch's default: no limit.
        large_segment_size: Segments for requests between 1 and 10 MiB. PyTorch's default: 20 MiB.
        expandable_segments: Every pool is one segment that grows. PyTorch's default: off.
        capacity: Bytes that may be reserved: when more are needed, segments that are wholly free are given back, and when that is
            not enough, the report says which storage failed. ``None``: any number.
        context_bytes: What the CUDA context takes on the device, besides the allocator. It depends on the device, the driver and
            the libraries loaded, some hundred MiB: measure it. Default: 0, not counted.

    Raises:
        InvalidValueError: If a setting is out of its range.

    Example:
        >>> found = CachingAllocator().replay(births=[0, 1], deaths=[2, 2], sizes=[1000, 5 * 2**20], steps=2)
        >>> found.requested_peak, found.allocated_peak, found.reserved_peak
        (Bytes(5243880), Bytes(5243904), Bytes(23068672))
    """

    iterations: int = field(default=1, kw_only=True, converter=int_from, validator=is_int(1, 1000))
    roundup_power2_divisions: int = field(default=1, kw_only=True, converter=int_from, validator=_is_power_of_two)
    max_split_size: Bytes | None = field(
        default=None,
        kw_only=True,
        converter=_bytes_or_none,
        validator=_at_least(LARGE_SEGMENT, "smaller ones would leave shared segments unshared"),
    )
    large_segment_size: Bytes = field(
        default=Bytes(LARGE_SEGMENT),
        kw_only=True,
        converter=parse_bytes,
        validator=_at_least(LARGE_LIMIT, "the largest requests that share a segment must fit"),
    )
    expandable_segments: bool = field(default=False, kw_only=True, validator=is_bool)
    capacity: Bytes | None = field(default=None, kw_only=True, converter=_bytes_or_none)
    context_bytes: Bytes = field(default=Bytes(0), kw_only=True, converter=_bytes_or_zero)

    @property
    def rules(self) -> CachingRules:
        """The settings, as plain ints."""
        return CachingRules(
            self.roundup_power2_divisions,
            self.large_segment_size,
            self.max_split_size,
            self.expandable_segments,
            self.capacity,
        )

    def replay(
        self,
        births: Sequence[int],
        deaths: Sequence[int],
        sizes: Sequence[int],
        steps: int,
        *,
        first: Sequence[int] = (),
    ) -> AllocatorReport:
        """Replays the lifetimes, one request after the other."""
        births, deaths, sizes, first = _checked(births, deaths, sizes, steps, first)
        found = replay_caching(births, deaths, sizes, steps, first=first, rounds=self.iterations, rules=self.rules)
        requested, allocated, reserved = map(Bytes, found.peaks)
        return AllocatorReport(
            found.requested,
            found.allocated,
            found.reserved,
            requested,
            allocated,
            reserved,
            found.segments,
            self.context_bytes,
            found.failed,
        )


def _checked(
    births: Sequence[int], deaths: Sequence[int], sizes: Sequence[int], steps: int, first: Sequence[int]
) -> tuple[list[int], list[int], list[int], list[int]]:
    """Refuses lifetimes that contradict themselves: the sweep trusts them."""
    exact_int(steps, "steps", 0)
    births, deaths, sizes, first = (
        _ints(births, "births"),
        _ints(deaths, "deaths"),
        _ints(sizes, "sizes"),
        _ints(first, "first"),
    )
    if not len(births) == len(deaths) == len(sizes):
        raise InvalidValueError(
            "births, deaths and sizes must be of one length",
            got=f"{len(births)}, {len(deaths)} and {len(sizes)}",
            expected="one of each for every storage",
        )
    known = set(first)
    if len(known) < len(first) or not all(0 <= number < len(sizes) for number in known):
        raise InvalidValueError(
            "first names a storage twice, or one that does not exist",
            got=shorten(first),
            expected=f"numbers from 0 to {len(sizes) - 1}, each once",
        )
    for number, (birth, death, size) in enumerate(zip(births, deaths, sizes, strict=True)):
        if size < 0 or not (0 <= birth < death <= steps or number in known):
            raise InvalidValueError(
                "a storage's lifetime or size makes no sense",
                where=f"storage {number}",
                got=f"birth {birth}, death {death}, size {size}",
                expected=f"0 <= birth < death <= {steps}, and a size of 0 or more",
            )
    return births, deaths, sizes, first


def _ints(values: Sequence[int], what: str) -> list[int]:
    try:
        return list(map(index, values))
    except TypeError:
        raise InvalidTypeError(
            f"{what} must be ints", got=shorten(values), expected="one int for every storage"
        ) from None
