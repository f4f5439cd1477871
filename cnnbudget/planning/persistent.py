"""Tables of the dynamic programmes over persistent schedules of a chain.

A schedule is persistent if what is kept for later stays until the backward operation that reads it. The part of a schedule that
runs the stages ``s`` to ``t`` forward and back, given the input of ``s`` and the gradient of ``t``, is then one of two things:

- save everything of ``s``, treat ``s + 1`` to ``t`` with what is left, run ``s`` back;
- run ``s`` to ``u - 1`` forward, keeping the input of ``s``; treat ``u`` to ``t`` while the input of ``u`` is held; drop that,
  and treat ``s`` to ``u - 1``.

Beaumont et al. prove that this covers all persistent schedules. Here memory is counted as the budget less what is stored, and
what backward operations leave behind is part of the *demands*, which are sums of exact bytes and are rounded once, if at all.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from cnnbudget.planning.stages import Action

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from cnnbudget.planning.stages import Chain

    Ints = NDArray[np.int64]
    Steps = list[tuple[Action, int]]

__all__ = ["NEVER", "Demands", "Grid", "fitting_steps", "least_table", "slot_steps", "slot_table"]

NEVER = 2**61
"""Cost of what does not fit. Twice that is still an int64."""


class Demands:
    """What operations need at once beyond what is stored, in exact bytes.

    Args:
        chain: The chain.
    """

    def __init__(self, chain: Chain) -> None:
        stages = chain.stages
        self.count = count = len(stages)
        self.out: Ints = np.array([stage.output_bytes for stage in stages], dtype=np.int64)
        self.kept: Ints = np.array([stage.kept_bytes for stage in stages], dtype=np.int64)
        self.forward = [stage.forward for stage in stages]
        self.before = [0, *accumulate(self.forward)]
        residue = [stage.residue_bytes for stage in stages]
        left = list(accumulate(reversed(residue), initial=0))[::-1]  # left[s]: by the stages from s on
        gradient = [stage.gradient_bytes for stage in stages]
        # Beside stage t's part of the schedule: its gradient, unless it is the last, and what later stages left behind.
        self.beside = [left[t + 1] + (gradient[t] if t < count - 1 else 0) for t in range(count)]
        given = [chain.input_gradient_bytes, *gradient[:-1]]
        self.back = [
            left[s] + gradient[s] + stage.kept_bytes + given[s] + stage.backward_transient_bytes
            for s, stage in enumerate(stages)
        ]
        self.saving = [stage.kept_bytes + stage.saving_transient_bytes for stage in stages]
        # running[s][u]: to run stages s to u forward, keeping the input of s, which is counted elsewhere.
        self.running = [self._running(chain, s) for s in range(count)]

    def _running(self, chain: Chain, first: int) -> Ints:
        alone = np.array([stage.output_bytes + stage.forward_transient_bytes for stage in chain.stages], dtype=np.int64)
        alone[first + 1 :] += self.out[first:-1]
        alone[:first] = 0
        return np.maximum.accumulate(alone)

    def save(self, s: int, t: int) -> int:
        """To save everything of stage ``s`` and to run it back, in the part from ``s`` to ``t``."""
        return max(self.beside[t] + self.saving[s], self.back[s])


def least_table(demands: Demands) -> list[Ints]:
    """The least bytes, beyond what is stored, with which each part can be treated: ``table[s][t - s]``. Exact."""
    count = demands.count
    rows: list[Ints] = [np.zeros(count - s, dtype=np.int64) for s in range(count)]
    columns: list[Ints] = [np.zeros(t + 1, dtype=np.int64) for t in range(count)]
    for t in range(count):
        for s in range(t, -1, -1):
            best = demands.save(s, t)
            if s < t:
                best = max(best, int(demands.kept[s] + columns[t][s + 1]))
                later = np.maximum(demands.out[s:t] + columns[t][s + 1 : t + 1], rows[s][: t - s])
                best = min(best, int(np.maximum(later, demands.beside[t] + demands.running[s][s:t]).min()))
            rows[s][t - s] = columns[t][s] = best
    return rows


def fitting_steps(demands: Demands, table: list[Ints], budget: int) -> Steps:
    """A schedule within a budget that is not below the least: everything is saved as soon as that is possible.

    Args:
        demands: Of the chain.
        table: Of :func:`least_table`.
        budget: Bytes beyond the chain's input.

    Returns:
        The operations.
    """

    def choose(s: int, t: int, room: int) -> tuple[int, int]:
        if demands.save(s, t) <= room and (s == t or demands.kept[s] + table[s + 1][t - s - 1] <= room):
            return s, room - int(demands.kept[s])
        for u in range(t, s, -1):
            rest = room - int(demands.out[u - 1])
            fits = table[u][t - u] <= rest and table[s][u - 1 - s] <= room
            if fits and demands.beside[t] + demands.running[s][u - 1] <= room:
                return u, rest
        raise AssertionError("the table of least bytes promised a split")  # pragma: no cover

    return _steps(demands.count, budget, choose)


def _steps(count: int, room: int, choose: Callable[[int, int, int], tuple[int, int]]) -> Steps:
    """Writes the operations that a table of choices stands for. A choice is ``s`` (save) or a split, and the room left to it."""
    steps: Steps = []
    parts = [(0, count - 1, room)]
    while parts:
        s, t, room = parts.pop()
        if t < 0:  # the backward operation that ends a part
            steps.append((Action.BACKWARD, s))
            continue
        split, rest = choose(s, t, room)
        if split == s:
            steps.append((Action.SAVE, s))
            parts.append((s, -1, 0))
            if s < t:
                parts.append((s + 1, t, rest))
        else:
            steps.append((Action.CHECKPOINT, s))
            steps.extend((Action.FORWARD, stage) for stage in range(s + 1, split))
            parts.extend([(s, split - 1, room), (split, t, rest)])
    return steps


class Grid:
    """Memory cut into slots. What is stored is rounded to whole slots.

    With ``m`` slots left there are at least ``m * slot + spare`` bytes if stored sizes are rounded up, at most that many if they
    are rounded down: so the first gives schedules that fit, the second a bound that no schedule passes. If the slot divides
    every stored size, both are exact.

    Args:
        demands: Of the chain.
        slots: How many.
        slot: Bytes of one.
        spare: Bytes of the budget beyond the last whole slot.
        up: Whether stored sizes are rounded up.
    """

    def __init__(self, demands: Demands, slots: int, slot: int, spare: int = 0, *, up: bool = True) -> None:
        self.demands = demands
        self.slots = slots
        self.slot = slot
        self.spare = spare
        extra = slot - 1 if up else 0
        self.out = ((demands.out + extra) // slot).tolist()
        self.kept = ((demands.kept + extra) // slot).tolist()

    def threshold(self, demand: int) -> int:
        """The slots that must be left for a demand."""
        return max(-((self.spare - demand) // self.slot), 0)

    def thresholds(self, demands: Ints) -> Ints:
        """The same for many."""
        return np.maximum(-((self.spare - demands) // self.slot), 0)


def slot_table(grid: Grid, report: Callable[[], bool]) -> list[Ints] | None:
    """The least forward cost of each part for every number of slots left: ``table[s][t - s, m]``.

    Args:
        grid: Memory in slots.
        report: Is asked after each row whether time is over.

    Returns:
        The table, or ``None`` if time was over.
    """
    demands = grid.demands
    count, width = demands.count, grid.slots + 1
    table: list[Ints] = [np.full((count - s, width), NEVER, dtype=np.int64) for s in range(count)]
    first = np.full((count, count), width, dtype=np.int64)  # the first number of slots with which a part can be treated
    sums = np.empty((count, width), dtype=np.int64)
    stored = np.array([0, *grid.out[:-1]], dtype=np.int64)  # by whoever holds the input of a stage
    for t in range(count):
        # Parts that end at t, as a split sees them: shifted by their stored input, plus the cost of the stages before them.
        shifted = np.full((t + 1, width), NEVER, dtype=np.int64)
        for s in range(t, -1, -1):
            best = table[s][t - s]
            low = grid.threshold(demands.save(s, t))
            if s == t:
                best[low:] = demands.forward[s]
            else:
                kept = grid.kept[s]
                low = max(low, kept + int(first[s + 1, t]))
                if low < width:
                    np.add(table[s + 1][t - s - 1, low - kept : width - kept], demands.forward[s], out=best[low:])
                splits = np.maximum(first[s, s:t], first[s + 1 : t + 1, t] + stored[s + 1 : t + 1])
                start = int(splits.min())
                if start < width:
                    block = sums[: t - s, : width - start]
                    np.add(shifted[s + 1 :, start:], table[s][: t - s, start:], out=block)
                    needed = grid.thresholds(demands.beside[t] + demands.running[s][s:t])
                    for row in np.flatnonzero(needed > splits):
                        block[row, : max(int(needed[row]) - start, 0)] = NEVER
                    cheapest = block.min(axis=0)
                    cheapest -= demands.before[s]
                    np.minimum(best[start:], cheapest, out=best[start:])
            first[s, t] = np.searchsorted(-best, -NEVER, side="right")  # costs fall with the slots
            room = width - int(stored[s])
            if room > 0:
                np.add(best[:room], demands.before[s], out=shifted[s, width - room :])
        if report():
            return None
    return table


def slot_steps(grid: Grid, table: list[Ints], slots: int) -> Steps:
    """The schedule that a table stands for.

    Args:
        grid: Memory in slots, rounded up.
        table: Of :func:`slot_table`.
        slots: The budget; the table must hold a schedule for it.

    Returns:
        The operations.
    """
    demands = grid.demands

    def choose(s: int, t: int, room: int) -> tuple[int, int]:
        left = room - grid.kept[s]
        if s == t:
            return s, left
        wanted = int(table[s][t - s, room])
        if grid.threshold(demands.save(s, t)) <= room and left >= 0:
            if demands.forward[s] + int(table[s + 1][t - s - 1, left]) == wanted:
                return s, left
        for u in range(s + 1, t + 1):
            rest = room - grid.out[u - 1]
            if rest < 0 or grid.threshold(demands.beside[t] + int(demands.running[s][u - 1])) > room:
                continue
            passed = demands.before[u] - demands.before[s]
            if passed + int(table[u][t - u, rest]) + int(table[s][u - 1 - s, room]) == wanted:
                return u, rest
        raise AssertionError("a table without the choice that made it")  # pragma: no cover

    return _steps(demands.count, slots, choose)
