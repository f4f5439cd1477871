"""The min-cut bound on the peak of any order, and its certificate, which a reader can check by hand.

When step ``v`` runs, some downset ``S`` has run that holds all steps before ``v`` and none after it. The storages that ``v``
touches are alive, and so is every other one that ``S`` has touched and not finished. The least of that over all such ``S`` is a
minimum cut, since each storage is paid for when one of its steps is in ``S`` and another is not; it bounds the peak of every order.

The flow that proves the cut least comes apart into *chains* of storages with a weight. Of each chain at least one storage must be
alive while ``v`` runs: the first has been touched by a step before ``v``; if it is dead, all its steps have run, and with them one
that touched the second; and so on; the last has a step that has not run, or is held. No storage carries more weight
than its size. So the weights, and the sizes of what ``v`` touches, add up to a lower bound.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from attrs import field, frozen

from cnnbudget.planning.dag import successors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnnbudget.planning.dag import Dag

__all__ = ["CutChain", "CutBound", "cut_bound"]


@frozen
class CutChain:
    """Storages of which at least one is alive while a step runs.

    Args:
        weight: Bytes that each of them contributes.
        storages: Their numbers.
    """

    weight: int
    storages: tuple[int, ...]


@frozen
class CutBound:
    """A lower bound on the peak of every order, with its proof.

    Args:
        step: The step that no order can run with less.
        value: The bytes: what the step touches, and the weights of the chains.
        chains: Chains of other storages; no storage carries more weight than its size.
    """

    step: int
    value: int
    chains: tuple[CutChain, ...] = field(repr=False)


class _Flow:
    """A flow network, and Dinic's algorithm on it, on exact ints."""

    def __init__(self, count: int) -> None:
        self.arcs: list[list[int]] = [[] for _ in range(count)]
        self.heads: list[int] = []
        self.room: list[int] = []

    def add(self, tail: int, head: int, capacity: int) -> None:
        """Adds an arc; its reverse has the next number."""
        self.arcs[tail].append(len(self.heads))
        self.arcs[head].append(len(self.heads) + 1)
        self.heads += (head, tail)
        self.room += (capacity, 0)

    def levels(self, source: int, sink: int) -> list[int]:
        """Distance of each place from the source along arcs with room; -1 where it was not looked for."""
        level = [-1] * len(self.arcs)
        level[source] = 0
        queue = deque([source])
        while queue and level[sink] < 0:
            place = queue.popleft()
            for arc in self.arcs[place]:
                head = self.heads[arc]
                if self.room[arc] and level[head] < 0:
                    level[head] = level[place] + 1
                    queue.append(head)
        return level

    def fill(self, source: int, sink: int) -> None:
        """Makes the flow from source to sink a largest one."""
        heads, room, arcs = self.heads, self.room, self.arcs
        level = self.levels(source, sink)
        while level[sink] >= 0:
            tried = [0] * len(arcs)
            path: list[int] = []
            place = source
            while True:
                if place == sink:
                    least = min([room[arc] for arc in path])
                    for arc in path:
                        room[arc] -= least
                        room[arc ^ 1] += least
                    full = next(number for number, arc in enumerate(path) if not room[arc])
                    place = heads[path[full] ^ 1]
                    del path[full:]
                    continue
                for number in range(tried[place], len(arcs[place])):
                    arc = arcs[place][number]
                    if room[arc] and level[heads[arc]] == level[place] + 1:
                        tried[place] = number
                        path.append(arc)
                        place = heads[arc]
                        break
                else:
                    level[place] = -1
                    if place == source:
                        break
                    place = heads[path.pop() ^ 1]
            level = self.levels(source, sink)

    def paths(self, source: int, sink: int) -> list[tuple[int, list[int]]]:
        """Takes the flow apart into paths of arcs, each with its amount; circles are dropped."""
        flow = [self.room[arc ^ 1] if not arc % 2 else 0 for arc in range(len(self.heads))]
        found: list[tuple[int, list[int]]] = []
        while True:
            path: list[int] = []
            at = {source: 0}
            place = source
            while place != sink:
                arc = next((arc for arc in self.arcs[place] if flow[arc]), -1)
                if arc < 0:
                    return found
                path.append(arc)
                place = self.heads[arc]
                if place in at:  # a circle
                    circle = path[at[place] :]
                    least = min([flow[arc] for arc in circle])
                    for arc in circle:
                        flow[arc] -= least
                    del path[at[place] :]
                    at = {source: 0} | {self.heads[arc]: number + 1 for number, arc in enumerate(path)}
                else:
                    at[place] = len(path)
            least = min([flow[arc] for arc in path])
            for arc in path:
                flow[arc] -= least
            found.append((least, path))


def _reach(start: int, neighbours: Sequence[Sequence[int]]) -> set[int]:
    seen = set(neighbours[start])
    stack = list(seen)
    while stack:
        for other in neighbours[stack.pop()]:
            if other not in seen:
                seen.add(other)
                stack.append(other)
    return seen


@frozen
class CutBounder:
    """Computes bounds for steps of one problem.

    Args:
        dag: The problem.
    """

    dag: Dag
    touchers: list[list[int]]
    waiting: list[list[int]]

    @classmethod
    def of(cls, dag: Dag) -> CutBounder:
        """Prepares a problem."""
        touchers: list[list[int]] = [[] for _ in dag.sizes]
        for step, storages in enumerate(dag.touches):
            for storage in storages:
                touchers[storage].append(step)
        return cls(dag, touchers, successors(dag))

    def bound(self, step: int) -> CutBound:
        """The least bytes alive while a step runs, over all that may have run before it.

        What must have run is one end of the network, what cannot have run the other, so only the steps that may have are in it.

        Args:
            step: The step.

        Returns:
            The bound with its proof.
        """
        dag = self.dag
        before, behind = _reach(step, dag.after), _reach(step, self.waiting) | {step}
        own = set(dag.touches[step])
        places = {other: 2 + number for number, other in enumerate(self._free(before, behind))}
        endless = sum(dag.sizes) + 1
        flow = _Flow(2 + len(places))
        storage_of: dict[int, int] = {}
        whole: list[CutChain] = []
        total = sum([dag.sizes[storage] for storage in own])
        for other, place in places.items():
            for earlier in dag.after[other]:
                if earlier in places:
                    flow.add(place, places[earlier], endless)
        for storage, steps in enumerate(self.touchers):
            size = dag.sizes[storage]
            if storage in own or not size:
                continue
            free = [places[other] for other in steps if other in places]
            touched = any(other in before for other in steps)
            stays = storage in dag.held or any(other in behind for other in steps)
            if touched and stays:
                whole.append(CutChain(size, (storage,)))
                total += size
            elif free:
                self._add_storage(flow, storage_of, storage, free, touched=touched, stays=stays, endless=endless)
        flow.fill(0, 1)
        chains = []
        for amount, path in flow.paths(0, 1):
            total += amount
            chains.append(CutChain(amount, tuple(storage_of[arc] for arc in path if arc in storage_of)))
        return CutBound(step, total, (*whole, *chains))

    def _free(self, before: set[int], behind: set[int]) -> list[int]:
        return [other for other in range(len(self.dag.after)) if other not in before and other not in behind]

    def _add_storage(
        self,
        flow: _Flow,
        storage_of: dict[int, int],
        storage: int,
        free: list[int],
        *,
        touched: bool,
        stays: bool,
        endless: int,
    ) -> None:
        """Adds an arc that is cut when one of the storage's steps has run and another has not."""
        tail, head = 0, 1
        if not touched:
            tail = len(flow.arcs)
            flow.arcs.append([])
            for place in free:
                flow.add(place, tail, endless)
        if not stays:
            head = len(flow.arcs)
            flow.arcs.append([])
            for place in free:
                flow.add(head, place, endless)
        storage_of[len(flow.heads)] = storage
        flow.add(tail, head, self.dag.sizes[storage])


def cut_bound(dag: Dag, step: int) -> CutBound:
    """The min-cut bound of one step.

    Args:
        dag: The problem.
        step: The step.

    Returns:
        The bound with its proof.

    Example:
        >>> from cnnbudget.planning.dag import Dag
        >>> fork = Dag.of_values([1, 5, 5, 1, 1], inputs=[[], [0], [0], [1], [2, 3]], outputs=[4])
        >>> cut_bound(fork, 3)
        CutBound(step=3, value=7)
    """
    return CutBounder.of(dag).bound(step)
