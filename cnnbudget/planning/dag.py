"""The problem of execution order: steps, what must come before them, and the storages that they touch.

A *storage* is alive from the first step that touches it to the last one, both included, whichever of its steps these are in an
order; a held storage stays to the end. That is the memory model's rule, so everything is a matter of who touches what:

- a value with several readers: its writer and its readers touch one storage;
- a view, or a layer in place: it touches its input's storage and no other, and must come after all who need the old value;
- a gradient that several backward steps accumulate: all of them touch it, in no order among themselves;
- workspace: a storage that one step touches;
- the input of a network: a storage that a first step, which loads it, touches, and all others come after that step;
- parameters and whatever else is always alive add the same to every order: leave them out.

For a downset ``S``, a set of steps that contains with a step all that must come before it, the bytes alive after ``S`` are the
same in whatever order ``S`` was run. Each storage's part of them is submodular in ``S``, and so is their sum: everything that the
planner commits to rests on that.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import accumulate
from typing import TYPE_CHECKING, Any, SupportsIndex

from attrs import field, frozen

from cnnbudget.checks import int_from
from cnnbudget.errors import CnnBudgetError, InvalidTypeError, InvalidValueError, shorten
from cnnbudget.planning.intervals import live_sizes
from cnnbudget.planning.plan import check_sizes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Dag", "first_order", "peak_of", "segments", "step_sizes", "successors"]


def _ints(values: Iterable[SupportsIndex]) -> tuple[int, ...]:
    return tuple(map(int_from, values))


def _rows(rows: Iterable[Iterable[SupportsIndex]]) -> tuple[tuple[int, ...], ...]:
    return tuple([tuple(dict.fromkeys(_ints(row))) for row in rows])


def _held(numbers: Iterable[SupportsIndex]) -> frozenset[int]:
    return frozenset(_ints(numbers))


@frozen
class Dag:
    """Steps and the storages that they touch.

    Args:
        sizes: Bytes of each storage.
        touches: For each step, the numbers of the storages that it reads or writes; each counts once.
        after: For each step, the numbers of the steps that must come before it.
        held: Storages that stay alive to the end once they are touched: the outputs.

    Raises:
        InvalidTypeError: If a size or a number is no int.
        InvalidValueError: If a size is out of range, a number names nothing, there is no step, or steps wait for each other.

    Example:
        >>> chain = Dag(sizes=[4, 3, 2], touches=[[0], [0, 1], [1, 2]], after=[[], [0], [1]], held=[2])
        >>> peak_of(chain, [0, 1, 2])
        7
    """

    sizes: tuple[int, ...] = field(converter=_ints, repr=False)
    touches: tuple[tuple[int, ...], ...] = field(converter=_rows, repr=False)
    after: tuple[tuple[int, ...], ...] = field(converter=_rows, repr=False)
    held: frozenset[int] = field(default=frozenset(), converter=_held, repr=False)

    def __attrs_post_init__(self) -> None:
        check_sizes(self.sizes, "Dag.sizes")
        if not self.touches:
            raise InvalidValueError("Dag.touches is empty", got="no step", expected="at least one step")
        if len(self.after) != len(self.touches):
            raise InvalidValueError(
                "Dag.after has another length than Dag.touches",
                got=f"{len(self.after)} and {len(self.touches)}",
                expected="one row a step in both",
            )
        for what, rows, count in (
            ("touches", self.touches, len(self.sizes)),
            ("after", self.after, len(self.touches)),
            ("held", [self.held], len(self.sizes)),
        ):
            for number, row in enumerate(rows):
                for item in row:
                    if type(item) is not int or not 0 <= item < count:
                        raise _no_number(item, count, f"Dag.{what}[{number}]" if what != "held" else "Dag.held")
        first_order(self)

    @classmethod
    def of_values(
        cls,
        sizes: Iterable[SupportsIndex],
        inputs: Iterable[Iterable[SupportsIndex]],
        outputs: Iterable[SupportsIndex] = (),
        workspace: Iterable[SupportsIndex] | None = None,
    ) -> Dag:
        """Makes the problem in which step ``n`` makes value ``n`` from other values.

        Args:
            sizes: Bytes of each value.
            inputs: For each step, the values that it reads.
            outputs: Values that stay to the end.
            workspace: Bytes that a step needs while it runs, for each step; none unless told.

        Returns:
            The problem.

        Example:
            >>> Dag.of_values([4, 3, 2], inputs=[[], [0], [1]], outputs=[2]).touches
            ((0,), (1, 0), (2, 1))
        """
        values, reads = _ints(sizes), _rows(inputs)
        extra = _ints(workspace) if workspace is not None else (0,) * len(values)
        if not len(values) == len(reads) == len(extra):
            raise InvalidValueError(
                "Dag.of_values takes lists of one length",
                got=f"{len(values)} sizes, {len(reads)} inputs, {len(extra)} workspaces",
                expected="one of each for every step",
            )
        check_sizes(extra, "workspace")
        rooms = {
            step: len(values) + number for number, step in enumerate(step for step, room in enumerate(extra) if room)
        }
        touches = [(step, *row, *((rooms[step],) if step in rooms else ())) for step, row in enumerate(reads)]
        return cls((*values, *(extra[step] for step in rooms)), touches, reads, outputs)

    def __repr__(self) -> str:
        return f"Dag({len(self.touches)} steps, {len(self.sizes)} storages)"


def _no_number(item: Any, count: int, what: str) -> CnnBudgetError:
    if type(item) is not int:
        return InvalidTypeError(f"{what} must hold ints", got=f"{shorten(item)} ({type(item).__name__})")
    return InvalidValueError(
        f"{what} names what does not exist", got=shorten(item), expected=f"a number from 0 to {count - 1}"
    )


def successors(dag: Dag) -> list[list[int]]:
    """For each step, the steps that wait for it."""
    waiting: list[list[int]] = [[] for _ in dag.after]
    for step, before in enumerate(dag.after):
        for other in before:
            waiting[other].append(step)
    return waiting


def first_order(dag: Dag) -> list[int]:
    """The given order: by number as far as it is legal, and always the ready step of the smallest number.

    Args:
        dag: The problem.

    Returns:
        The steps in order.

    Raises:
        InvalidValueError: If steps wait for each other.
    """
    missing = [len(before) for before in dag.after]
    ready = [step for step, count in enumerate(missing) if not count]
    heapify(ready)
    waiting = successors(dag)
    order = []
    while ready:
        step = heappop(ready)
        order.append(step)
        for later in waiting[step]:
            missing[later] -= 1
            if not missing[later]:
                heappush(ready, later)
    if len(order) < len(missing):
        raise InvalidValueError(
            "Dag.after has a cycle",
            got=_cycle(dag, missing),
            expected="an order in which each step can wait for its own",
        )
    return order


def _cycle(dag: Dag, missing: Sequence[int]) -> str:
    """Walks back from a step that never gets ready until a step comes twice."""
    step = next(step for step, count in enumerate(missing) if count)
    seen: dict[int, int] = {}
    while step not in seen:
        seen[step] = len(seen)
        step = next(other for other in dag.after[step] if missing[other])
    loop = [*list(seen)[seen[step] :], step]
    return "step " + " after step ".join(map(str, loop[:8])) + (" ..." if len(loop) > 8 else "")


def step_sizes(dag: Dag, order: Sequence[int]) -> list[int]:
    """Bytes alive at each step of a legal order, by position.

    Args:
        dag: The problem.
        order: Every step once, none before those that it waits for; this is not checked.

    Returns:
        The bytes.
    """
    births: dict[int, int] = {}
    deaths: dict[int, int] = {}
    for now, step in enumerate(order):
        for storage in dag.touches[step]:
            births.setdefault(storage, now)
            deaths[storage] = now + 1
    for storage in dag.held & births.keys():
        deaths[storage] = len(order)
    return live_sizes(births.values(), [deaths[s] for s in births], [dag.sizes[s] for s in births], len(order))


def peak_of(dag: Dag, order: Sequence[int]) -> int:
    """The most bytes alive at a step of a legal order."""
    return max(step_sizes(dag, order))


def segments(dag: Dag, order: Sequence[int]) -> list[tuple[int, int]]:
    """Cuts a legal order where every other legal order has the same steps before it.

    So it is where all that came last waits for nothing but is waited for by all that comes next: the last steps of what lies
    before are those that nobody there waits for, the first of what lies behind those that wait for nobody there, and each
    of these waits for each of those. Linear: every step and every edge counts over an interval of cuts.

    Args:
        dag: The problem.
        order: A legal order.

    Returns:
        Half-open intervals of positions, which the peak is the largest over.
    """
    count = len(order)
    place = {step: now for now, step in enumerate(order)}
    latest = [max([place[other] for other in dag.after[step]], default=-1) for step in order]
    earliest = [count] * count
    for now, step in enumerate(order):
        for other in dag.after[step]:
            earliest[place[other]] = min(earliest[place[other]], now)
    lasts, firsts, edges = ([0] * (count + 2) for _ in range(3))
    for now, step in enumerate(order):
        lasts[now + 1] += 1
        lasts[earliest[now] + 1] -= 1
        firsts[latest[now] + 1] += 1
        firsts[now + 1] -= 1
        for other in dag.after[step]:
            until = earliest[place[other]]
            if latest[now] < until:
                edges[latest[now] + 1] += 1
                edges[until + 1] -= 1
    cuts = [
        cut
        for cut, (last, first, edge) in enumerate(
            zip(accumulate(lasts), accumulate(firsts), accumulate(edges), strict=True)
        )
        if 0 < cut < count and last * first == edge
    ]
    return list(zip([0, *cuts], [*cuts, count], strict=True))
