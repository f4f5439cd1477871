"""Arenas: an offset for every storage, so that what lives at the same time does not overlap, and the least height.

No arena is lower than the most bytes alive at a step, the *load*. Greedy rules often reach it; where they do not, the search of
:mod:`cnnbudget.planning.skyline` finds an arena of that height, or proves that there is none and by how much it must be higher.
"""

from __future__ import annotations

from bisect import bisect_right
from importlib.util import find_spec
from itertools import product
from math import gcd
from random import Random
from typing import TYPE_CHECKING, Any, SupportsIndex

from attrs import define, field, frozen

from cnnbudget.checks import exact_int, int_from, one_of
from cnnbudget.errors import InvalidTypeError, InvalidValueError, shorten
from cnnbudget.planning.greedy import FITS, SEQUENCES, greedy_offsets
from cnnbudget.planning.plan import LARGEST_SIZE, Clock, Plan, check_sizes
from cnnbudget.planning.skyline import FOUND, NOTHING, OPEN, RULES, Explorer, Layout, compiled

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cnnbudget.planning.plan import Progress

__all__ = ["Lifetime", "Packing", "pack", "pack_greedily"]

Lifetime = tuple[int, int, int]
"""``(birth, death, size)``: alive at the steps ``birth <= step < death``."""

_STRETCH, _LONGEST_STRETCH = 500, 4_000  # nodes that one rule visits before the next has its turn
_PLAIN_NODES = 5_000  # before it is worth to compile
_CLIMBS = 6
_MOST_PAIRS = 2_000_000  # of overlapping storages, for which lists are kept
_WORD = 2**62


@frozen
class Packing(Plan):
    """An offset for every storage. The value is the height: the highest byte used, rounded up to the alignment.

    Args:
        offsets: Where each storage lies.
        busiest: A step at which most bytes are alive; where the lower bound is larger than what is alive then, the search has
            proved it by exhaustion.
        capacity: What was asked for.
    """

    offsets: tuple[int, ...] = field(repr=False)
    busiest: int = field(repr=False)
    capacity: int | None = None

    @property
    def height(self) -> int:
        """Bytes from the start of the arena to its end."""
        return self.value

    @property
    def fits(self) -> bool | None:
        """Whether the storages can lie within the capacity.

        ``True``: these offsets do. ``False``: it is proved that none do. ``None``: nobody knows, the search was cut off.
        """
        if self.capacity is None or self.value <= self.capacity:
            return True
        return False if self.lower_bound > self.capacity else None


def pack(
    lifetimes: Iterable[Sequence[SupportsIndex]],
    alignment: int = 1,
    capacity: int | None = None,
    *,
    fast: bool | None = None,
    node_limit: int = 4_000_000,
    time_limit: float | None = None,
    progress: Progress | None = None,
    seed: int = 0,
) -> Packing:
    """Finds offsets with the least height, or within a capacity.

    The plan is never higher than that of any greedy rule. It depends on the problem, the node limit and the seed alone, whether
    the search is compiled or not, unless the time limit cuts it off.

    Args:
        lifetimes: ``(birth, death, size)`` of each storage: alive at the steps ``birth <= step < death``.
        alignment: Every offset is a multiple of it; sizes count rounded up to it.
        capacity: If given, any height up to it is good enough, and none above is looked for; see ``Packing.fits``.
        fast: Whether the search is compiled, which needs the extra ``fast``; ``None`` for if it is installed and worth it.
        node_limit: How many placements the searches below the heights aimed at may try. A million take about a second
            compiled, and half a minute plain.
        time_limit: Seconds; ``None`` for no limit. One greedy rule always runs, and compiling is not interrupted.
        progress: Is called with ``(value, lower_bound)`` whenever one of them improves.
        seed: Breaks ties between storages of the same shape; with 0, by number.

    Returns:
        The offsets with their height and a lower bound.

    Raises:
        InvalidTypeError: If an argument has the wrong type.
        InvalidValueError: If there is nothing to pack, a number is out of range, a storage dies before it is born, or one
            alone is larger than the capacity.
        MissingExtraError: If it must be fast and numba is not installed.

    Example:
        >>> pack([(0, 2, 10), (1, 3, 20), (2, 4, 10)], alignment=16)
        Packing(value=48, lower_bound=48, method='greedy by size, lowest fit', capacity=None)
    """
    if fast is not None and not isinstance(fast, bool):
        raise InvalidTypeError("fast must be True, False or None", got=shorten(fast))
    exact_int(node_limit, "node_limit", 0, _WORD)
    exact_int(seed, "seed", 0)
    problem = _Problem.of(lifetimes, alignment)
    if capacity is not None:
        capacity = exact_int(capacity, "capacity", 0, LARGEST_SIZE)
        largest = max([size for _, _, size in problem.lifetimes]) * problem.unit
        if capacity < largest:
            raise InvalidValueError(
                "the capacity is below the largest storage alone",
                got=str(capacity),
                expected=f"at least {largest} bytes",
            )
    if fast:
        compiled()
    return _Packer(problem, capacity, Clock(time_limit), node_limit, progress, seed, fast=fast).plan()


def pack_greedily(
    lifetimes: Iterable[Sequence[SupportsIndex]], alignment: int = 1, *, sequence: str = "size", fit: str = "lowest"
) -> Packing:
    """Places one storage after the other, as greedy planners do; nothing is moved again.

    With the defaults these are the offsets of TensorFlow Lite Micro's greedy planner, whose alignment is 16.

    Args:
        lifetimes: ``(birth, death, size)`` of each storage: alive at the steps ``birth <= step < death``.
        alignment: Every offset is a multiple of it; sizes count rounded up to it.
        sequence: Which comes first: the largest ``"size"``, the largest ``"area"`` (bytes times steps), the longest
            ``"duration"``, or the earliest ``"birth"``; of equal ones the last.
        fit: Whether a storage gets the ``"lowest"`` gap that it fits into, or the ``"best"``, which is the smallest.

    Returns:
        The offsets with their height; the lower bound is the load.

    Example:
        >>> pack_greedily([(0, 2, 10), (1, 3, 20), (2, 4, 10)], sequence="birth").offsets
        (0, 10, 0)
    """
    one_of(sequence, SEQUENCES, "sequence")
    one_of(fit, FITS, "fit")
    problem = _Problem.of(lifetimes, alignment)
    offsets = greedy_offsets(problem.lifetimes, sequence, fit)
    busiest, load = problem.load()
    return problem.packing(offsets, load, busiest, _greedy_name(sequence, fit), None)


def _greedy_name(sequence: str, fit: str) -> str:
    return f"greedy by {sequence}, {fit} fit"


@frozen
class _Problem:
    """What is to be packed, in units: the largest number of bytes that all rounded sizes are multiples of."""

    lifetimes: tuple[Lifetime, ...]
    unit: int

    @classmethod
    def of(cls, lifetimes: Iterable[Sequence[SupportsIndex]], alignment: int) -> _Problem:
        """Checks and rounds what the user gave."""
        alignment = exact_int(alignment, "alignment", 1, LARGEST_SIZE)
        rows = [_lifetime(number, row) for number, row in enumerate(lifetimes)]
        if not rows:
            raise InvalidValueError("there is nothing to pack", got="no lifetime", expected="at least one")
        check_sizes(tuple(size for _, _, size in rows), "size of lifetimes")
        rounded = [-(-size // alignment) * alignment for _, _, size in rows]
        unit = gcd(*rounded) or alignment
        return cls(
            tuple((birth, death, size // unit) for (birth, death, _), size in zip(rows, rounded, strict=True)), unit
        )

    def load(self) -> tuple[int, int]:
        """A step at which the most is alive, and how much that is."""
        changes = sorted(
            [(birth, 1, size) for birth, _, size in self.lifetimes]
            + [(death, 0, -size) for _, death, size in self.lifetimes]
        )
        live, most, busiest = 0, -1, 0
        for step, _, change in changes:
            live += change
            if live > most:
                most, busiest = live, step
        return busiest, most

    def packing(self, offsets: Sequence[int], bound: int, busiest: int, method: str, capacity: int | None) -> Packing:
        """Back to bytes."""
        height = max([offset + size for offset, (_, _, size) in zip(offsets, self.lifetimes, strict=True)])
        unit = self.unit
        return Packing(height * unit, bound * unit, method, tuple([o * unit for o in offsets]), busiest, capacity)


def _lifetime(number: int, row: Any) -> Lifetime:
    """Checks one; its size is checked later, with the others."""
    what = f"lifetimes[{number}]"
    if not isinstance(row, (tuple, list)) or len(row) != 3:
        raise InvalidTypeError(f"{what} is no lifetime", got=shorten(row), expected="(birth, death, size)")
    birth, death, size = map(int_from, row)
    if type(birth) is not int or type(death) is not int:
        raise InvalidTypeError(f"{what} must hold ints", got=shorten(row), expected="(birth, death, size)")
    if birth >= death:
        raise InvalidValueError(
            f"{what} dies before it is born", got=shorten(row), expected="birth < death: the interval is half-open"
        )
    return birth, death, size


@define
class _Component:
    """Storages that hang together in time: no other lives at the same time as one of them."""

    members: list[int]
    lifetimes: list[Lifetime]
    offsets: list[int]
    height: int
    method: str
    bound: int
    layout: Layout | None = None


class _Packer:
    """The state of one run."""

    def __init__(
        self,
        problem: _Problem,
        capacity: int | None,
        clock: Clock,
        node_limit: int,
        progress: Progress | None,
        seed: int,
        *,
        fast: bool | None,
    ) -> None:
        self.problem, self.capacity, self.clock, self.progress = problem, capacity, clock, progress
        self.node_limit, self.fast, self.random = node_limit, fast, Random(seed) if seed else None  # noqa: S311  # no secret
        self.busiest, _ = problem.load()
        self.components = [self.component(members) for members in _components(problem.lifetimes)]
        self.nodes = 0
        size, longest = (max(values) for values in zip(*[(z, d - b) for b, d, z in problem.lifetimes], strict=True))
        words = 4 * sum([z for _, _, z in problem.lifetimes]) < _WORD and size * longest < _WORD
        self.may_compile = fast is not False and words and (fast is True or find_spec("numba") is not None)

    def component(self, members: list[int]) -> _Component:
        """Packs a component by the greedy rules, as long as there is time, and takes the lowest."""
        own = [self.problem.lifetimes[number] for number in members]
        _, load = _Problem(tuple(own), 1).load()
        component = _Component(members, own, [], 0, "", load)
        numbered = sorted(range(len(members)), key=members.__getitem__)  # as a greedy rule breaks ties among all
        in_order = [own[place] for place in numbered]
        for sequence, fit in product(SEQUENCES, FITS):
            if component.offsets and (component.height == load or self.clock.over):
                break
            offsets = [0] * len(own)
            for place, offset in zip(numbered, greedy_offsets(in_order, sequence, fit), strict=True):
                offsets[place] = offset
            height = _height(own, offsets)
            if not component.offsets or height < component.height:
                component.offsets, component.height, component.method = offsets, height, _greedy_name(sequence, fit)
        return component

    @property
    def height(self) -> int:
        """Of all components."""
        return max([component.height for component in self.components], default=0)

    @property
    def bound(self) -> int:
        """No arena is lower."""
        return max([component.bound for component in self.components], default=0)

    @property
    def goal(self) -> int:
        """The height that is good enough."""
        return self.bound if self.capacity is None else self.capacity // self.problem.unit

    def plan(self) -> Packing:
        """Runs everything. Where no height is given, short searches come first: they may lower the height soon."""
        self.report()
        for limit in (self.node_limit // 50, self.node_limit) if self.capacity is None else (self.node_limit,):
            for component in sorted(self.components, key=lambda component: -component.height):
                self.lower(component, limit)
        offsets = [0] * len(self.problem.lifetimes)
        for component in self.components:
            for member, offset in zip(component.members, component.offsets, strict=True):
                offsets[member] = offset
        method = next((part.method for part in self.components if part.height == self.height), "nothing to place")
        return self.problem.packing(offsets, self.bound, self.busiest, method, self.capacity)

    def report(self) -> None:
        """Tells the caller."""
        if self.progress is not None:
            self.progress(self.height * self.problem.unit, self.bound * self.problem.unit)

    def lower(self, component: _Component, limit: int) -> None:
        """Lowers a component to the goal, or as far as the limits allow."""
        until = self.nodes + limit
        while component.height > self.goal >= self.bound:
            found = self.probe(component, self.goal, until - self.nodes)
            if found == OPEN and self.capacity is None:
                self.climb(component, limit)
            if found != NOTHING:  # else the goal is higher now, or it is proved that the capacity is too small
                return

    def climb(self, component: _Component, limit: int) -> None:
        """Halves what lies between the goal, which was too hard, and the height."""
        floor = self.goal
        for _ in range(_CLIMBS):
            middle = (floor + component.height) // 2
            if middle <= floor:
                return
            if self.probe(component, middle, limit // 8) != FOUND:
                floor = max(middle, component.bound - 1)

    def probe(self, component: _Component, capacity: int, limit: int) -> int:
        """Searches below a capacity with all rules in turn; takes what is found or proved."""
        if self.clock.over or limit <= 0:
            return OPEN
        if component.layout is None:
            if _pairs(component.lifetimes) > _MOST_PAIRS:
                return OPEN
            durations = [death - birth for birth, death, _ in component.lifetimes]
            component.layout = Layout(_moments(component.lifetimes), durations)
        ties = list(range(len(component.members)))
        if self.random is not None:
            self.random.shuffle(ties)
        explorers = [Explorer(component.layout, capacity, rule, ties) for rule in range(RULES)]
        stretch = _STRETCH
        while True:
            for explorer in explorers:
                nodes = min(stretch, limit)
                if not nodes or self.clock.over:
                    return OPEN
                found = explorer.go(nodes, fast=self.may_compile and (self.fast is True or self.nodes >= _PLAIN_NODES))
                self.nodes += nodes
                limit -= nodes
                if found == FOUND:
                    self.take(component, explorer.offsets)
                    return FOUND
                if found == NOTHING:
                    component.bound = max(component.bound, explorer.least)
                    self.report()
                    return NOTHING
            stretch = min(2 * stretch, _LONGEST_STRETCH)

    def take(self, component: _Component, offsets: list[int]) -> None:
        """Takes lower offsets."""
        component.offsets, component.method = offsets, "branch and bound"
        component.height = _height(component.lifetimes, offsets)
        self.report()


def _height(lifetimes: Sequence[Lifetime], offsets: Sequence[int]) -> int:
    return max([offset + size for offset, (_, _, size) in zip(offsets, lifetimes, strict=True)])


def _components(lifetimes: Sequence[Lifetime]) -> list[list[int]]:
    """Storages that hang together in time; without those that have no bytes, which may lie anywhere."""
    found: list[list[int]] = []
    until: int | None = None
    for number in sorted(range(len(lifetimes)), key=lambda number: lifetimes[number][:2]):
        birth, death, size = lifetimes[number]
        if not size:
            continue
        if until is None or birth >= until:
            found.append([])
            until = death
        found[-1].append(number)
        until = max(until, death)
    return found


def _pairs(lifetimes: Sequence[Lifetime]) -> int:
    """How many pairs overlap in time: each storage with those that were born before it, by less those that are dead by then."""
    deaths = sorted([death for _, death, _ in lifetimes])
    births = sorted([birth for birth, _, _ in lifetimes])
    return sum([before - bisect_right(deaths, birth) for before, birth in enumerate(births)])


def _moments(lifetimes: Sequence[Lifetime]) -> list[tuple[int, int, int]]:
    """Cuts time into moments: the steps after which something dies, with something born since the last such step.

    What is alive at any other step is alive at one of these, too.
    """
    births, deaths = {birth for birth, _, _ in lifetimes}, {death for _, death, _ in lifetimes}
    ends: list[int] = []
    fresh = False
    for step in sorted(births | deaths):
        if step in deaths and fresh:
            ends.append(step)
            fresh = False
        fresh = fresh or step in births
    return [(bisect_right(ends, birth), bisect_right(ends, death) - 1, size) for birth, death, size in lifetimes]
