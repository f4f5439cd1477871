"""Checkpoints of a chain: the schedule with the least recomputation within a budget, and the whole curve of budgets.

The method is the dynamic programme that Beaumont et al. published with *rotor* (2019); for chains of equal stages it gives what
Griewank and Walther's *revolve* does. Its answers are best among *persistent* schedules, in which what is kept for later stays
until it is read: dropping and making it again can be cheaper on some chains, and finding the best of those is NP-hard.
"""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING

import numpy as np
from attrs import evolve, field, frozen

from cnnbudget.checks import exact_int
from cnnbudget.errors import InvalidTypeError, InvalidValueError, shorten
from cnnbudget.planning.persistent import NEVER, Demands, Grid, fitting_steps, least_table, slot_steps, slot_table
from cnnbudget.planning.plan import LARGEST_SIZE, Clock, Plan
from cnnbudget.planning.segments import every
from cnnbudget.planning.stages import Chain, Operation, keep_all, mark_repeats, replay

if TYPE_CHECKING:
    from typing import SupportsIndex

    from cnnbudget.planning.persistent import Ints
    from cnnbudget.planning.plan import Progress

__all__ = ["CheckpointPlan", "Tradeoff", "TradeoffPoint", "least_checkpoint_bytes", "plan_checkpoints", "tradeoff"]

_LARGEST_TABLE = 2**30
_EXACT_WORK = 10**8
"""So many steps of the programme are always spent if no size needs rounding then."""


@frozen
class CheckpointPlan(Plan):
    """A schedule of a chain within a budget. The value is the cost of recomputation.

    The lower bound holds for all persistent schedules.

    Args:
        operations: The schedule.
        budget_bytes: What was allowed.
        peak_bytes: What the schedule holds at most, found by replaying it.
        slot_bytes: Stored sizes were rounded up to multiples of this.
        rounding_bytes: By how much this schedule's peak would be higher with the rounded sizes; 0 if nothing was rounded.
    """

    operations: tuple[Operation, ...] = field(repr=False)
    budget_bytes: int
    peak_bytes: int
    slot_bytes: int = 1
    rounding_bytes: int = 0


@frozen
class TradeoffPoint:
    """A schedule on the curve.

    Args:
        peak_bytes: What it holds at most, found by replaying it.
        extra_cost: Cost of its recomputation.
        operations: The schedule.
    """

    peak_bytes: int
    extra_cost: int
    operations: tuple[Operation, ...] = field(repr=False)


@frozen
class Tradeoff:
    """Memory against recomputation, for all budgets at once.

    Args:
        points: From the least memory to nothing recomputed: memory rises, cost falls.
        slot_bytes: Stored sizes were rounded up to multiples of this; up to that, each point is best among persistent schedules.
        complete: Whether there was time for all points; if not, only simple schedules are among them.
    """

    points: tuple[TradeoffPoint, ...]
    slot_bytes: int
    complete: bool = True

    def within(self, budget: SupportsIndex) -> TradeoffPoint:
        """The point with the least cost within a budget.

        Args:
            budget: Bytes.

        Returns:
            The point.

        Raises:
            InvalidValueError: If the budget is below the least memory.
        """
        room = exact_int(budget, "budget", 0, LARGEST_SIZE)
        fitting = [point for point in self.points if point.peak_bytes <= room]
        if not fitting:
            raise _below_the_least(room, self.points[0].peak_bytes)
        return fitting[-1]


def _check_chain(chain: Chain) -> None:
    if not isinstance(chain, Chain):
        raise InvalidTypeError("chain must be a Chain", got=shorten(chain), expected="Chain([Stage(...), ...])")


def _below_the_least(budget: int, least: int) -> InvalidValueError:
    return InvalidValueError(
        "no checkpoints fit into the budget",
        got=f"{budget} bytes",
        expected=f"{least} bytes or more",
        hint="that is the least of all persistent schedules; smaller batches or fewer bytes held besides need less",
    )


def least_checkpoint_bytes(chain: Chain) -> int:
    """The least memory with which a chain can be run forward and back, however much is recomputed.

    Args:
        chain: The chain.

    Returns:
        Bytes; exact, among persistent schedules.

    Example:
        >>> from cnnbudget.planning.stages import Stage
        >>> least_checkpoint_bytes(Chain([Stage(output_bytes=4, kept_bytes=10)] * 3, input_bytes=4))
        26
    """
    _check_chain(chain)
    return chain.input_bytes + int(least_table(Demands(chain))[0][-1])


def plan_checkpoints(
    chain: Chain,
    budget: SupportsIndex,
    *,
    slots: SupportsIndex = 500,
    time_limit: float | None = None,
    progress: Progress | None = None,
) -> CheckpointPlan:
    """Finds the schedule with the least recomputation within a budget.

    Without a limit of time the answer is proved best among persistent schedules if no size had to be rounded, or if the bound,
    found with sizes rounded down, says so. It is deterministic. Cubic in the number of stages, linear in the slots.

    Args:
        chain: The chain.
        budget: Bytes for everything the chain counts.
        slots: How finely memory is cut; more, where that makes everything exact at little cost.
        time_limit: Seconds; then the best simple schedule is returned.
        progress: Is called with value and bound when one of them improves.

    Returns:
        The plan.

    Raises:
        InvalidValueError: If the budget is below the least that is needed; the error gives it.

    Example:
        >>> from cnnbudget.planning.stages import Stage
        >>> chain = Chain([Stage(output_bytes=4, kept_bytes=10)] * 4, input_bytes=4)
        >>> plan = plan_checkpoints(chain, 40)
        >>> plan.value, plan.peak_bytes, plan.optimal
        (2, 36, True)
    """
    clock = Clock(time_limit)
    _check_chain(chain)
    room = exact_int(budget, "budget", 0, LARGEST_SIZE) - chain.input_bytes
    fineness = exact_int(slots, "slots", 1)
    tell = progress or (lambda value, bound: None)  # noqa: ARG005  # nobody listens
    everything = keep_all(chain)
    if (peak := replay(chain, everything).peak_bytes) - chain.input_bytes <= room:
        tell(0, 0)
        return CheckpointPlan(0, 0, "everything kept", everything, room + chain.input_bytes, peak)
    demands = Demands(chain)
    least = least_table(demands)
    if least[0][-1] > room:
        raise _below_the_least(room + chain.input_bytes, int(least[0][-1]) + chain.input_bytes)
    bound = min(demands.forward)  # everything does not fit, so one stage at least runs twice
    best = _simple_plan(chain, room, bound, mark_repeats(fitting_steps(demands, least, room)))
    tell(best.value, bound)
    slot, exact = _slot(demands, room, fineness)

    def table_of(*, up: bool) -> tuple[Grid, list[Ints] | None]:
        grid = Grid(demands, room // slot, slot, room % slot, up=up)
        return grid, slot_table(grid, lambda: clock.over)

    grid, table = table_of(up=True)
    if table is None:
        return best
    cost = int(table[0][-1, -1]) - chain.forward_cost
    if cost < best.value:
        operations = mark_repeats(slot_steps(grid, table, grid.slots))
        best = _plan(chain, room, operations, bound, "dynamic programme over persistent schedules", slot)
    if exact:
        bound = cost
    else:
        del table  # the second is as large
        grid, table = table_of(up=False)
        if table is not None:
            bound = max(bound, int(table[0][-1, -1]) - chain.forward_cost)
    tell(best.value, bound)
    return evolve(
        best, lower_bound=bound, slot_bytes=slot, rounding_bytes=_rounding(chain, best.operations, slot, best.peak_bytes)
    )


def _plan(chain: Chain, room: int, operations: tuple[Operation, ...], bound: int, method: str) -> CheckpointPlan:
    measured = replay(chain, operations)
    budget = room + chain.input_bytes
    return CheckpointPlan(measured.extra_cost, bound, method, operations, budget, measured.peak_bytes)


def _simple_plan(chain: Chain, room: int, bound: int, fitting: tuple[Operation, ...]) -> CheckpointPlan:
    """The cheapest of a schedule that is known to fit, and the periodic ones that fit."""
    best = _plan(chain, room, fitting, bound, "everything saved as soon as it fits")
    for period in range(1, len(chain.stages)):
        plan = _plan(chain, room, every(chain, period), bound, f"a checkpoint every {period} stages")
        if plan.peak_bytes <= plan.budget_bytes and plan.value < best.value:
            best = plan
    return best


def _slot(demands: Demands, room: int, fineness: int) -> tuple[int, bool]:
    """Bytes of a slot, and whether they divide every stored size."""
    count = demands.count
    divisor = gcd(*demands.out.tolist(), *demands.kept.tolist()) or max(room, 1)
    if room // divisor <= max(fineness, _EXACT_WORK // count**3):
        slot, exact = divisor, True
    else:
        slot, exact = -(-room // fineness), False
    if (size := (room // slot + 1) * count * (count + 1) * 4) > _LARGEST_TABLE:
        raise InvalidValueError(
            "the table for these checkpoints is too large",
            got=f"{size} bytes for {count} stages and {room // slot} slots",
            expected=f"at most {_LARGEST_TABLE} bytes",
            hint="join stages, or use fewer slots",
        )
    return slot, exact


def _rounding(chain: Chain, operations: tuple[Operation, ...], slot: int, peak: int) -> int:
    stages = [
        evolve(
            stage,
            output_bytes=-(-stage.output_bytes // slot) * slot,
            kept_bytes=-(-stage.kept_bytes // slot) * slot,
            gradient_bytes=stage.gradient_bytes,
            saving_transient_bytes=stage.saving_transient_bytes,
        )
        for stage in chain.stages
    ]
    return replay(evolve(chain, stages=stages), operations).peak_bytes - peak


def tradeoff(
    chain: Chain, *, slots: SupportsIndex = 500, time_limit: float | None = None
) -> Tradeoff:
    """Finds the whole curve of memory against recomputation: one table of the dynamic programme holds it.

    Args:
        chain: The chain.
        slots: How finely memory is cut; more, where that makes everything exact at little cost.
        time_limit: Seconds for the table; then the curve consists of simple schedules.

    Returns:
        The curve.

    Example:
        >>> from cnnbudget.planning.stages import Stage
        >>> curve = tradeoff(Chain([Stage(output_bytes=4, kept_bytes=10)] * 4, input_bytes=4))
        >>> [(point.peak_bytes, point.extra_cost) for point in curve.points]
        [(26, 6), (30, 4), (32, 3), (36, 2), (46, 1), (52, 0)]
    """
    clock = Clock(time_limit)
    _check_chain(chain)
    everything = keep_all(chain)
    room = replay(chain, everything).peak_bytes - chain.input_bytes
    demands = Demands(chain)
    least = least_table(demands)
    schedules = [everything, mark_repeats(fitting_steps(demands, least, int(least[0][-1])))]
    schedules += [every(chain, period) for period in range(1, demands.count)]
    slot, _ = _slot(demands, room, exact_int(slots, "slots", 1))
    grid = Grid(demands, -(-room // slot), slot)
    table = slot_table(grid, lambda: clock.over)
    if table is not None:
        costs, firsts = np.unique(table[0][-1], return_index=True)
        for cost, first in zip(costs.tolist(), firsts.tolist(), strict=True):
            if cost < NEVER:
                schedules.append(mark_repeats(slot_steps(grid, table, first)))
    return Tradeoff(_frontier(chain, schedules), slot, table is not None)


def _frontier(chain: Chain, schedules: list[tuple[Operation, ...]]) -> tuple[TradeoffPoint, ...]:
    """The schedules that no other beats in both memory and cost."""
    measured = [(replay(chain, operations), operations) for operations in schedules]
    found: list[TradeoffPoint] = []
    for result, operations in sorted(measured, key=lambda pair: (pair[0].peak_bytes, pair[0].extra_cost)):
        if not found or result.extra_cost < found[-1].extra_cost:
            found.append(TradeoffPoint(result.peak_bytes, result.extra_cost, operations))
    return tuple(found)
