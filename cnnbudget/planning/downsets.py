"""Search over downsets: which sets of steps may have run, what is alive then, and the best way to the end.

A *part* is a stretch of steps that every order keeps together. A downset of it is a bitmask. The search for an order below a
threshold visits each downset once, and commits to steps that no order can regret:

    Let ``T`` be steps, in a line each of which waits for the last, that can run next after ``S`` without passing the threshold,
    and let ``live(S + T)`` be no more than ``live`` of any shorter stretch of the line. Then run them now. For in the rest of
    any order, moving ``T`` to the front only adds ``T`` to the sets that have run. For such a set ``Q``, as ``live`` is submodular,
    ``live(Q | T) <= live(Q) + live(S + T) - live(Q & (S + T)) <= live(Q)``, since ``Q & (S + T)`` is a shorter stretch. And no step
    touches for the first time what it did not before.

This is the hill-and-valley argument of Liu (1987) without its trees. The threshold begins at a lower bound. When nothing is left
below it, it rises to the least that was refused, and the search goes on where it stood: so the first order found is optimal, and
a search that is cut off still leaves the threshold as a proved lower bound.
"""

from __future__ import annotations

from copy import copy
from heapq import heappop, heappush, nsmallest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cnnbudget.planning.dag import Dag
    from cnnbudget.planning.plan import Clock

__all__ = ["Part", "Search", "beam", "search"]

_PATIENCE = 256  # downsets between two looks at the clock
_STRETCH = 500  # downsets that one end visits before the other has its first turn


def _bits(mask: int) -> Iterator[int]:
    """The numbers in a bitmask, ascending."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


class Part:
    """Steps that every order keeps together, with bitmasks of local numbers.

    Args:
        dag: The problem.
        touchers: For each storage, the steps that touch it.
        place: The position of each step in a legal order of everything.
        steps: The steps, one after the other in that order; local number ``n`` is ``steps[n]``.
        live: Bytes alive between the step before the part and its first.

    Attributes:
        everything: The downset of all.
        ready: The steps that can run first.
    """

    def __init__(
        self, dag: Dag, touchers: Sequence[Sequence[int]], place: Sequence[int], steps: Sequence[int], live: int
    ) -> None:
        self.steps, self.live = tuple(steps), live
        local = {step: number for number, step in enumerate(steps)}
        start, end = place[steps[0]], place[steps[0]] + len(steps)
        self.everything = (1 << len(steps)) - 1
        before = [[local[other] for other in dag.after[step] if other in local] for step in steps]
        later: list[list[int]] = [[] for _ in steps]
        for number, others in enumerate(before):
            for other in others:
                later[other].append(number)
        self.set_edges(before, later)
        # For each step, the storages that it may be the first, or the last, to touch: the others that touch it here, and its size.
        self.births: list[list[tuple[int, int]]] = [[] for _ in steps]
        self.deaths: list[list[tuple[int, int]]] = [[] for _ in steps]
        for storage in dict.fromkeys(storage for step in steps for storage in dag.touches[step]):
            places = [place[step] for step in touchers[storage]]
            inside = [local[step] for step in touchers[storage] if step in local]
            mask = sum([1 << number for number in inside])
            for number in inside:
                others_and_size = mask & ~(1 << number), dag.sizes[storage]
                if min(places) >= start:
                    self.births[number].append(others_and_size)
                if max(places) < end and storage not in dag.held:
                    self.deaths[number].append(others_and_size)

    def set_edges(self, before: list[list[int]], later: list[list[int]]) -> None:
        """Takes for each step those that must come before it, and those that wait for it."""
        self._before, self._later = before, later
        self._waits = [sum([1 << other for other in others]) for others in before]
        self.ready = sum([1 << number for number, waits in enumerate(self._waits) if not waits])

    def reversed(self) -> Part:
        """The same part run backwards: what is alive during a step is the same."""
        other = copy(self)
        done, live = 0, self.live
        for number in range(len(self.steps)):
            live = self.run(done, live, number)[1]
            done |= 1 << number
        other.live = live
        other.births, other.deaths = self.deaths, self.births
        other.set_edges(self._later, self._before)
        return other

    def run(self, done: int, live: int, number: int) -> tuple[int, int]:
        """What is alive while a step runs and after it.

        Args:
            done: The downset that has run.
            live: Bytes alive after it.
            number: The step.

        Returns:
            Bytes during and after.
        """
        during = live
        for others, size in self.births[number]:
            if not others & done:
                during += size
        after = during
        for others, size in self.deaths[number]:
            if others & done == others:
                after -= size
        return during, after

    def ready_after(self, then: int, ready: int, number: int) -> int:
        """The steps that can run next.

        Args:
            then: The downset that has run.
            ready: Those that could before its last step.
            number: Its last step.

        Returns:
            A bitmask.
        """
        ready &= ~(1 << number)
        for later in self._later[number]:
            if not self._waits[later] & ~then:
                ready |= 1 << later
        return ready

    def commit(self, done: int, live: int, ready: int, threshold: int) -> Line | None:
        """Looks for a line of steps to run at once (see the module).

        Args:
            done: The downset that has run.
            live: Bytes alive after it.
            ready: The steps that can run next.
            threshold: What no step may pass.

        Returns:
            The line, its peak, and the live bytes, the downset and the ready steps after it; ``None`` if there is none.
        """
        for first in _bits(ready):
            stack = [(done, live, ready, first, -1, 0)]
            trail: list[tuple[int, int]] = []  # step, and where the one before it is in the trail
            while stack:
                then, alive, could, number, parent, peak = stack.pop()
                during, after = self.run(then, alive, number)
                if during > threshold:
                    continue
                then |= 1 << number
                can = self.ready_after(then, could, number)
                peak = max(peak, during)
                trail.append((number, parent))
                if after <= live:
                    return _walk_back(trail), peak, after, then, can
                stack += [(then, after, can, later, len(trail) - 1, peak) for later in _bits(can & ~could)]
        return None


Line = tuple[tuple[int, ...], int, int, int, int]


def _walk_back(trail: list[tuple[int, int]]) -> tuple[int, ...]:
    line, at = [], len(trail) - 1
    while at >= 0:
        number, at = trail[at]
        line.append(number)
    return tuple(reversed(line))


class Search:
    """A search for the order of least peak below a ceiling, in stretches of so many downsets.

    Args:
        part: The part.
        floor: Where the threshold begins: a lower bound, or a peak that is good enough.
        ceiling: A peak that is known to be possible.

    Attributes:
        threshold: No order of the part has a smaller peak, but for the floor.
        order: Local numbers, with a peak of no more than the threshold; ``None`` as long as none is found.
        over: Whether the search is over; if then it has no order, there is none below the ceiling.
    """

    def __init__(self, part: Part, floor: int, ceiling: int) -> None:
        self.part, self.threshold, self.ceiling = part, floor, ceiling
        self.order: tuple[int, ...] | None = None
        self.over = False
        self._parents: dict[int, tuple[int, tuple[int, ...]]] = {0: (0, ())}
        self._stack = [(0, part.live, part.ready)]
        # Steps that would have passed the threshold: bytes during, a tie-break, the downset with the step, what it was without it,
        # the step, and what is alive and ready afterwards.
        self._refused: list[tuple[int, int, int, int, int, int, int]] = []

    def raise_to(self, threshold: int) -> None:
        """Raises the threshold, since somebody has proved that nothing lies below."""
        self.threshold = max(self.threshold, threshold)
        while self._refused and (self._refused[0][0] <= self.threshold or not self._stack):
            during, _, then, done, number, live, ready = heappop(self._refused)
            if then not in self._parents:
                self.threshold = max(self.threshold, during)
                self._parents[then] = (done, (number,))
                self._stack.append((then, live, ready))
        if not self._stack:
            self.threshold, self.over = max(self.threshold, self.ceiling), True

    def go(self, states: int, clock: Clock) -> None:
        """Visits some more downsets.

        Args:
            states: How many.
            clock: When to stop before.
        """
        part, parents, stack = self.part, self._parents, self._stack
        for number in range(states):
            if self.over or (number % _PATIENCE == 0 and clock.over):
                return
            done, live, ready = stack.pop()
            if done == part.everything:
                self.order, self.over = _trace(parents, done), True
                return
            line = part.commit(done, live, ready, self.threshold)
            if line is None:
                self._branch(done, live, ready)
            else:
                steps, _, after, then, next_ready = line
                if then not in parents:
                    parents[then] = (done, steps)
                    stack.append((then, after, next_ready))
            if not stack:
                self.raise_to(self.threshold)

    def _branch(self, done: int, live: int, ready: int) -> None:
        part, parents = self.part, self._parents
        children = []
        for number in _bits(ready):
            then = done | 1 << number
            if then in parents:
                continue
            during, after = part.run(done, live, number)
            next_ready = part.ready_after(then, ready, number)
            if during <= self.threshold:
                parents[then] = (done, (number,))
                children.append((after, then, next_ready))
            elif during < self.ceiling:
                heappush(self._refused, (during, len(parents), then, done, number, after, next_ready))
        children.sort(reverse=True)
        self._stack += [(then, after, next_ready) for after, then, next_ready in children]


def search(part: Part, floor: int, ceiling: int, limit: int, clock: Clock) -> Search:
    """Searches from both ends in turn, as long as one of them may find something.

    Where a part is hard from one end it is often easy from the other; whatever one end proves raises the threshold of both.

    Args:
        part: The part.
        floor: Where the threshold begins: a lower bound, or a peak that is good enough.
        ceiling: A peak that is known to be possible.
        limit: How many downsets may be visited.
        clock: When to stop.

    Returns:
        The search, with an order from the beginning to the end.
    """
    ways = Search(part, floor, ceiling), Search(part.reversed(), floor, ceiling)
    states = min(_STRETCH, limit // 2)
    while states and not clock.over:
        for way, other in (ways, ways[::-1]):
            way.go(states, clock)
            if way.over:
                if way is ways[1] and way.order is not None:
                    way.order = way.order[::-1]
                return way
            other.raise_to(way.threshold)
        limit -= 2 * states
        states = min(2 * states, limit // 2)
    return ways[0]


def _trace(parents: dict[int, tuple[int, tuple[int, ...]]], done: int) -> tuple[int, ...]:
    lines = []
    while done:
        done, steps = parents[done]
        lines.append(steps)
    return tuple(step for steps in reversed(lines) for step in steps)


def beam(part: Part, width: int, floor: int, clock: Clock) -> tuple[int, ...] | None:
    """Goes from downset to downset, keeping the most promising ones of each size.

    Args:
        part: The part.
        width: How many to keep.
        floor: A peak that is good enough: steps that stay below it are free.
        clock: When to stop.

    Returns:
        Local numbers; ``None`` if the time was over.
    """
    count = len(part.steps)
    parents: dict[int, tuple[int, tuple[int, ...]]] = {}
    levels: list[dict[int, tuple[int, int, int]]] = [{} for _ in range(count + 1)]  # downset: peak so far, live, ready
    levels[0][0] = (floor, part.live, part.ready)
    for size in range(count):
        if clock.over:
            return None
        best = nsmallest(width, levels[size].items(), key=lambda item: (item[1][:2], item[0]))
        levels[size].clear()
        for done, (peak, live, ready) in best:
            line = part.commit(done, live, ready, peak)
            moves = [line] if line is not None else []
            if line is None:
                for number in _bits(ready):
                    then = done | 1 << number
                    moves.append(
                        ((number,), *part.run(done, live, number), then, part.ready_after(then, ready, number))
                    )
            for steps, during, after, then, can in moves:
                level = levels[size + len(steps)]
                value = (max(peak, during), after, can)
                if then not in level or value < level[then]:
                    level[then] = value
                    parents[then] = (done, steps)
    return _trace(parents, part.everything)
