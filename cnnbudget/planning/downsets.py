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

from heapq import heappop, heappush, nsmallest
from typing import TYPE_CHECKING

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cnnbudget.planning.dag import Dag
    from cnnbudget.planning.plan import Clock

__all__ = ["Outcome", "Part", "beam", "search"]

_PATIENCE = 256  # states between two looks at the clock


class Part:
    """Steps that every order keeps together, with bitmasks of local numbers.

    Args:
        dag: The problem.
        touchers: For each storage, the steps that touch it.
        order: A legal order of everything.
        start: Where the part begins in it.
        end: Where it ends.

    Attributes:
        steps: The steps, in the given order; local number ``n`` is ``steps[n]``.
        live: Bytes alive between the last step before the part and its first.
    """

    def __init__(self, dag: Dag, touchers: Sequence[Sequence[int]], place: Sequence[int], steps: Sequence[int]) -> None:
        self.steps = tuple(steps)
        local = {step: number for number, step in enumerate(steps)}
        start, end = place[steps[0]], place[steps[0]] + len(steps)
        self.everything = (1 << len(steps)) - 1
        self.waits = [sum([1 << local[other] for other in dag.after[step] if other in local]) for step in steps]
        self.later: list[list[int]] = [[] for _ in steps]
        for number, step in enumerate(steps):
            for other in dag.after[step]:
                if other in local:
                    self.later[local[other]].append(number)
        self.births: list[list[tuple[int, int]]] = [[] for _ in steps]
        self.deaths: list[list[tuple[int, int]]] = [[] for _ in steps]
        self.live = 0
        for storage in dict.fromkeys(storage for step in steps for storage in dag.touches[step]):
            places = [place[step] for step in touchers[storage]]
            inside = [local[step] for step in touchers[storage] if step in local]
            mask = sum([1 << number for number in inside])
            size = dag.sizes[storage]
            for number in inside:
                others = mask & ~(1 << number)
                if min(places) >= start:
                    self.births[number].append((others, size))
                if max(places) < end and storage not in dag.held:
                    self.deaths[number].append((others, size))

    def ready(self, done: int) -> Iterator[int]:
        """The steps that can run next, by number."""
        for number, waits in enumerate(self.waits):
            if not done >> number & 1 and waits & ~done == 0:
                yield number

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

    def commit(self, done: int, live: int, ready: Sequence[int], threshold: int) -> tuple[list[int], int, int] | None:
        """Looks for a line of steps to run at once (see the module).

        Args:
            done: The downset that has run.
            live: Bytes alive after it.
            ready: The steps that can run next.
            threshold: What no step may pass.

        Returns:
            The line, its peak, and the bytes alive after it; ``None`` if there is none.
        """
        for first in ready:
            stack: list[tuple[int, int, int, int, int]] = [(done, live, first, -1, 0)]
            trail: list[tuple[int, int]] = []  # step, and where the one before it is in the trail
            while stack:
                seen, alive, number, parent, peak = stack.pop()
                during, after = self.run(seen, alive, number)
                if during > threshold:
                    continue
                peak = max(peak, during)
                trail.append((number, parent))
                if after <= live:
                    line, at = [], len(trail) - 1
                    while at >= 0:
                        number, at = trail[at]
                        line.append(number)
                    return line[::-1], peak, after
                seen |= 1 << number
                here = len(trail) - 1
                stack += [(seen, after, later, here, peak) for later in self.later[number] if not self.waits[later] & ~seen]
        return None


@frozen
class Outcome:
    """What a search found.

    Args:
        bound: No order of the part has a smaller peak.
        order: Local numbers, with a peak of ``bound``; ``None`` if the search was cut off, or nothing lies below the ceiling.
        states: How many downsets were visited.
    """

    bound: int
    order: tuple[int, ...] | None = field(repr=False)
    states: int


def search(part: Part, floor: int, ceiling: int, limit: int, clock: Clock, live: int) -> Outcome:
    """Searches for the order of least peak, if it is below a ceiling.

    Args:
        part: The part.
        floor: Where the threshold begins: a lower bound, or a peak that is good enough.
        ceiling: A peak that is known to be possible.
        limit: How many downsets may be visited.
        clock: When to stop.
        live: Bytes alive before the part.

    Returns:
        The order, or how far the bound rose; a bound equal to the ceiling proves that there is nothing below.
    """
    threshold = floor
    parents: dict[int, tuple[int, tuple[int, ...]]] = {0: (0, ())}
    stack = [(0, live)]
    refused: list[tuple[int, int, int, int, int]] = []  # during, then a tie-break, downset, step, live after it
    states = 0
    while True:
        if not stack:
            while refused and (refused[0][2] | 1 << refused[0][3]) in parents:
                heappop(refused)
            if not refused:
                return Outcome(max(ceiling, floor), None, states)
            threshold = refused[0][0]
            _, _, done, number, after = heappop(refused)
            done_then = done | 1 << number
            parents[done_then] = (done, (number,))
            stack.append((done_then, after))
        done, alive = stack.pop()
        if done == part.everything:
            return Outcome(threshold, _trace(parents, done), states)
        states += 1
        if states > limit or (states % _PATIENCE == 1 and clock.over):
            return Outcome(threshold, None, states)
        ready = list(part.ready(done))
        line = part.commit(done, alive, ready, threshold)
        if line is not None:
            steps, _, after = line
            then = done
            for number in steps:
                then |= 1 << number
            if then not in parents:
                parents[then] = (done, tuple(steps))
                stack.append((then, after))
            continue
        children = []
        for number in ready:
            then = done | 1 << number
            if then in parents:
                continue
            during, after = part.run(done, alive, number)
            if during <= threshold:
                parents[then] = (done, (number,))
                children.append((after, then))
            elif during < ceiling:
                heappush(refused, (during, states, done, number, after))
        children.sort(reverse=True)
        stack += [(then, after) for after, then in children]


def _trace(parents: dict[int, tuple[int, tuple[int, ...]]], done: int) -> tuple[int, ...]:
    lines = []
    while done:
        done, steps = parents[done]
        lines.append(steps)
    return tuple(step for steps in reversed(lines) for step in steps)


def beam(part: Part, width: int, floor: int, clock: Clock, live: int) -> tuple[int, ...] | None:
    """Goes from downset to downset, keeping the most promising ones of each size.

    Args:
        part: The part.
        width: How many to keep.
        floor: A peak that is good enough: steps that stay below it are free.
        clock: When to stop.
        live: Bytes alive before the part.

    Returns:
        Local numbers; ``None`` if the time was over.
    """
    count = len(part.steps)
    parents: dict[int, tuple[int, tuple[int, ...]]] = {}
    levels: list[dict[int, tuple[int, int]]] = [{} for _ in range(count + 1)]  # downset: peak so far, live
    levels[0][0] = (floor, live)
    for size in range(count):
        if clock.over:
            return None
        best = nsmallest(width, levels[size].items(), key=lambda item: (item[1], item[0]))
        levels[size].clear()
        for done, (peak, alive) in best:
            ready = list(part.ready(done))
            line = part.commit(done, alive, ready, peak)
            moves = [line] if line is not None else []
            if line is None:
                for number in ready:
                    during, after = part.run(done, alive, number)
                    moves.append(([number], during, after))
            for steps, during, after in moves:
                then = done
                for number in steps:
                    then |= 1 << number
                level = levels[size + len(steps)]
                value = (max(peak, during), after)
                if then not in level or value < level[then]:
                    level[then] = value
                    parents[then] = (done, tuple(steps))
    return _trace(parents, part.everything)
