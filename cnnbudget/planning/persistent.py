"""Tables of the dynamic programmes over persistent schedules of a chain.

A schedule is persistent if what is kept for later stays until the backward operation that reads it. It consists of sweeps:
forward from something held to the stage whose backward operation is next, which then runs, as do those before it as long as
they can. The part of a schedule that runs the stages ``s`` to ``t`` forward and back, given the input of ``s`` and the gradient
of ``t``, is then one of two things:

- save everything of ``s``, treat ``s + 1`` to ``t`` with what is left, run ``s`` back;
- run ``s`` to ``u - 1`` forward, keeping the input of ``s``; treat ``u`` to ``t`` while the input of ``u`` is held; drop that,
  and treat ``s`` to ``u - 1``.

That covers all persistent schedules (Beaumont et al.; here the referee tries them). Memory is counted as the budget less what is
stored, and what backward operations leave behind is part of the *demands*, which are sums of exact bytes and are rounded once,
if at all.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cnnbudget.planning.stages import Action

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from cnnbudget.planning.stages import Chain

    Ints = NDArray[np.int64]
    Steps = list[tuple[Action, int]]

__all__ = ["NEVER", "Demands", "Grid", "Part", "SlotTable", "fitting_steps", "least_table"]

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
        self.sizes = [chain.input_gradient_bytes, *residue, *gradient]
        for stage in stages:
            transient = stage.forward_transient_bytes, stage.saving_transient_bytes, stage.backward_transient_bytes
            self.sizes += transient
        given = [chain.input_gradient_bytes, *gradient[:-1]]
        self.back = [
            left[s] + gradient[s] + stage.kept_bytes + given[s] + stage.backward_transient_bytes
            for s, stage in enumerate(stages)
        ]
        self.saving = [stage.kept_bytes + stage.saving_transient_bytes for stage in stages]
        # running[s][u]: to run stages s to u forward, keeping the input of s, which is counted elsewhere.
        self.running = [self._running(chain, s) for s in range(count)]

        self.always_free = min(map(max, self.saving, self.back))  # before any operation that saves

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


def fitting_steps(demands: Demands, least: list[Ints], budget: int, table: SlotTable | None = None) -> Steps:
    """A schedule within a budget that is not below the least. Only choices that fit, to the byte, are made.

    Args:
        demands: Of the chain.
        least: Of :func:`least_table`.
        budget: Bytes beyond the chain's input.
        table: Says which choice costs least, up to its rounding. Without it everything is saved as soon as it fits, and parts
            are split in the middle, or as near to it as they fit.

    Returns:
        The operations.
    """

    def choose(part: Part) -> tuple[int, list[Part]]:
        s, t, room, _ = part
        if s == t:
            return s, []
        choices: list[tuple[int, int, list[Part]]] = []
        if demands.save(s, t) <= room and demands.kept[s] + least[s + 1][t - s - 1] <= room:
            after = Part(s + 1, t, room - int(demands.kept[s]))
            choices.append((demands.forward[s] + table.look(after) if table else -1, s, [after]))
        rests = room - demands.out[s:t]
        fits = (least[s][: t - s] <= room) & (demands.beside[t] + demands.running[s][s:t] <= room)
        for u in (np.flatnonzero(fits) + s + 1).tolist():
            rest = int(rests[u - 1 - s])
            if least[u][t - u] <= rest:
                parts = [Part(s, u - 1, room), Part(u, t, rest)]
                passed = demands.before[u] - demands.before[s]
                score = passed + sum(map(table.look, parts)) if table else abs(2 * u - s - t - 1)
                choices.append((score, u, parts))
        _, split, left = min(choices)
        return split, left

    return _steps(Part(0, demands.count - 1, budget), choose)


class Part(NamedTuple):
    """The stages ``first`` to ``last`` with some room, and whether they follow a stage that is saved; bytes or slots."""

    first: int
    last: int
    room: int
    in_run: bool = False


def _steps(whole: Part, choose: Callable[[Part], tuple[int, list[Part]]]) -> Steps:
    """Writes the operations that choices stand for: the first stage (save it) or a split, and what is left, last part first."""
    steps: Steps = []
    parts = [whole]
    while parts:
        part = parts.pop()
        first = part.first
        if part.last < 0:  # the backward operation that ends a part
            steps.append((Action.BACKWARD, first))
            continue
        split, left = choose(part)
        if split == first:
            steps.append((Action.SAVE, first))
            parts.append(Part(first, -1, 0))
        else:
            steps.append((Action.CHECKPOINT, first))
            steps.extend((Action.FORWARD, stage) for stage in range(first + 1, split))
        parts.extend(left)
    return steps


class Grid:
    """Memory cut into slots. What is stored is rounded to whole slots.

    With ``m`` slots left there are at least ``m * slot + spare`` bytes if stored sizes are rounded up, at most that many if they
    are rounded down: so the first gives schedules that fit, the second a bound that no schedule passes. If the slot divides
    every stored size, both are exact.

    Records of stages that are saved one after another, a *run*, are rounded together, by the slots in which they would begin
    and end if all records lay side by side; that is wrong by less than one slot in a whole run, which its start pays.

    Args:
        demands: Of the chain.
        slots: How many.
        slot: Bytes of one.
        spare: Bytes of the budget beyond the slots; less than a slot, or free whenever something is saved.
        up: Whether stored sizes are rounded up.
    """

    def __init__(self, demands: Demands, slots: int, slot: int, spare: int = 0, *, up: bool = True) -> None:
        self.demands = demands
        self.slots = slots
        self.slot = slot
        self.spare = spare
        self.exact = not (demands.out % slot).any() and not (demands.kept % slot).any()
        self.up = up
        extra = slot - 1 if up else 0
        self.out = [int(size) for size in (demands.out + extra) // slot]
        ends = (np.cumsum(demands.kept) + extra) // slot
        self.in_run = [int(size) for size in np.diff(ends, prepend=0)]
        start = 0 if self.exact else (1 if up else -1)
        self.starting = [size + start for size in self.in_run]
        self.alone = [int(size) for size in (demands.kept + extra) // slot]

    def threshold(self, demand: int) -> int:
        """The slots that must be left for a demand."""
        return max(-((self.spare - demand) // self.slot), 0)

    def thresholds(self, demands: Ints) -> Ints:
        """The same for many."""
        found: Ints = np.maximum(-((self.spare - demands) // self.slot), 0)
        return found


class SlotTable:
    """The least forward cost of each part for every number of slots left: ``fresh[s][t - s, m]``, ``running[s][t - s, m]``.

    The second is for a part after a saved stage: its own first stage goes on with the run if it is saved, too.

    Args:
        grid: Memory in slots.
    """

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        count, width = grid.demands.count, grid.slots + 1
        self.fresh: list[Ints] = [np.full((count - s, width), NEVER, dtype=np.int64) for s in range(count)]
        self.running = self.fresh
        if not grid.exact:
            # The start of a run may give one slot back, so here there is one more.
            self.running = [np.full((count - s, width + 1), NEVER, dtype=np.int64) for s in range(count)]

    @property
    def costs(self) -> Ints:
        """The least forward cost of the chain for every number of slots; ``NEVER`` where it does not fit."""
        found: Ints = self.fresh[0][-1]
        return found

    def look(self, part: Part) -> int:
        """The least forward cost of a part with some bytes of room."""
        grid = self.grid
        slots = min(grid.threshold(part.room), grid.slots)
        return int(self.fresh[part.first][part.last - part.first, slots])

    def fill(self, over: Callable[[], bool]) -> bool:
        """Computes it.

        Args:
            over: Is asked now and then whether time is over.

        Returns:
            Whether there was time for all of it.
        """
        grid, demands = self.grid, self.grid.demands
        count, width = demands.count, grid.slots + 1
        first = np.full((count, count), width, dtype=np.int64)  # the least slots with which a part can be treated
        sums = np.empty((count, width), dtype=np.int64)
        stored = np.array([0, *grid.out[:-1]], dtype=np.int64)  # by whoever holds the input of a stage
        for t in range(count):
            # Parts that end at t, as a split sees them: shifted by their stored input, plus the cost of the stages before.
            shifted = np.full((t + 1, width), NEVER, dtype=np.int64)
            for s in range(t, -1, -1):
                best = self.fresh[s][t - s]
                low = grid.threshold(demands.save(s, t))
                if s == t:
                    best[low:] = demands.forward[s]
                    self.running[s][0, low:] = demands.forward[s]
                else:
                    splits = np.maximum(first[s, s:t], first[s + 1 : t + 1, t] + stored[s + 1 : t + 1])
                    start = int(splits.min())
                    if start < width:
                        block = sums[: t - s, : width - start]
                        np.add(shifted[s + 1 :, start:], self.fresh[s][: t - s, start:], out=block)
                        needed = grid.thresholds(demands.beside[t] + demands.running[s][s:t])
                        for row in np.flatnonzero(needed > splits):
                            block[row, : max(int(needed[row]) - start, 0)] = NEVER
                        np.minimum(block.min(axis=0) - demands.before[s], NEVER, out=best[start:])
                    self._save(s, t, low)
                first[s, t] = np.searchsorted(-best, -NEVER, side="right")  # costs fall with the slots
                taken = min(int(stored[s]), width)
                np.add(best[: width - taken], demands.before[s], out=shifted[s, taken:])
            if over():
                return False
        return True

    def _save(self, s: int, t: int, low: int) -> None:
        """Takes in the choice to save the first stage, given the best split."""
        grid = self.grid
        after = self.running[s + 1][t - s - 1]
        best = self.fresh[s][t - s]
        if not grid.exact:
            running = self.running[s][t - s]
            running[:-1] = best
            running[-1] = best[-1]  # there is never more room than in all
            self._cheapen(running, after, grid.in_run[s], low, s)
            if grid.up:
                self._cheapen(best, self.fresh[s + 1][t - s - 1], grid.alone[s], low, s)
        self._cheapen(best, after, grid.starting[s], low, s)

    def _cheapen(self, best: Ints, after: Ints, taken: int, low: int, s: int) -> None:
        """Lowers costs to those of what comes after, with less room, plus this stage's."""
        low = max(low, taken)
        if low < len(best):
            moved = after[low - taken : len(best) - taken] + self.grid.demands.forward[s]
            np.minimum(best[low:], moved, out=best[low:])

    def steps(self, slots: int) -> Steps:
        """A schedule that the table stands for.

        Args:
            slots: The budget; there must be a schedule for it.

        Returns:
            The operations.
        """
        return _steps(Part(0, self.grid.demands.count - 1, slots), self._choose)

    def _choose(self, part: Part) -> tuple[int, list[Part]]:
        grid, demands = self.grid, self.grid.demands
        s, t, room, in_run = part
        if s == t:
            return s, []
        wanted = int((self.running if in_run else self.fresh)[s][t - s, room])
        if grid.threshold(demands.save(s, t)) <= room:
            saved = [(grid.in_run[s] if in_run else grid.starting[s], self.running, not grid.exact)]
            if grid.up:
                saved.append((grid.alone[s], self.fresh, False))
            for taken, table, goes_on in saved:
                left = room - taken
                if left >= 0 and demands.forward[s] + int(table[s + 1][t - s - 1, left]) == wanted:
                    return s, [Part(s + 1, t, left, goes_on)]
        room = min(room, grid.slots)
        for u in range(s + 1, t + 1):
            # splits that the room forbids come after all that it allows, so the first match is allowed
            rest = room - grid.out[u - 1]
            passed = demands.before[u] - demands.before[s]
            if rest >= 0 and passed + int(self.fresh[u][t - u, rest]) + int(self.fresh[s][u - 1 - s, room]) == wanted:
                return u, [Part(s, u - 1, room), Part(u, t, rest)]
        raise AssertionError("a table without the choice that made it")  # pragma: no cover
