"""Checkpoints of a chain: the schedule with the least recomputation within a budget, and the whole curve of budgets.

The method is the dynamic programme that Beaumont et al. published with *rotor* (2019); for chains of equal stages it gives what
Griewank and Walther's *revolve* does. Its answers are best among *persistent* schedules: what is kept for later stays until it is
read, and recomputation goes straight to the stage whose backward operation is next. Dropping a value and making it again, or
making one ahead of time, can be cheaper on some chains; finding the best of those schedules is NP-hard.
"""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING

import numpy as np
from attrs import evolve, field, frozen

from cnnbudget.checks import exact_int
from cnnbudget.errors import InvalidTypeError, InvalidValueError, shorten
from cnnbudget.planning.persistent import NEVER, Demands, Grid, SlotTable, fitting_steps, least_table
from cnnbudget.planning.plan import LARGEST_SIZE, Clock, Plan
from cnnbudget.planning.segments import at, cheapest_segments, every, segment_bytes
from cnnbudget.planning.stages import Chain, Operation, keep_all, mark_repeats, replay

if TYPE_CHECKING:
    from typing import SupportsIndex

    from cnnbudget.planning.persistent import Ints
    from cnnbudget.planning.plan import Progress

__all__ = ["CheckpointPlan", "Tradeoff", "TradeoffPoint", "least_checkpoint_bytes", "plan_checkpoints", "tradeoff"]

_LARGEST_TABLE = 2**30
_LONGEST = 1000
_EXACT_WORK = 10**8
"""So many steps of the programme are always spent if no size needs rounding then."""
_TRIES = 50
"""So many schedules of a table whose sizes were rounded down are tried."""


@frozen
class CheckpointPlan(Plan):
    """A schedule of a chain within a budget. The value is the cost of recomputation.

    The lower bound holds for all persistent schedules; see the module's first lines.

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
        lower_bound: No persistent schedule that holds as little costs less.
        operations: The schedule.
    """

    peak_bytes: int
    extra_cost: int
    lower_bound: int
    operations: tuple[Operation, ...] = field(repr=False)


@frozen
class Tradeoff:
    """Memory against recomputation, for all budgets at once.

    Args:
        points: From the least memory to nothing recomputed: memory rises, cost falls.
        slot_bytes: Stored sizes were rounded to multiples of this.
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
    if len(chain.stages) > _LONGEST:
        raise InvalidValueError(
            "a chain is too long to plan",
            got=f"{len(chain.stages)} stages",
            expected=f"at most {_LONGEST}",
            hint="join neighbouring stages",
        )


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
        >>> plan.value, plan.optimal, plan.peak_bytes <= 40
        (2, True, True)
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
    slot, count = _slots(demands, room, fineness)
    for up in (True, False):
        table = SlotTable(Grid(demands, count, slot, room - count * slot, up=up))
        if not table.fill(lambda: clock.over):
            break
        best = _from_table(chain, least, table, best)
        if table.grid.exact or not up:  # nothing was rounded, or everything down
            bound = max(bound, int(table.costs[-1]) - chain.forward_cost)
        tell(best.value, bound)
        if best.value == bound:
            break
    return evolve(
        best,
        lower_bound=bound,
        slot_bytes=slot,
        rounding_bytes=_rounding(chain, best.operations, slot, best.peak_bytes),
    )


def _better(best: CheckpointPlan, chain: Chain, operations: tuple[Operation, ...], method: str) -> CheckpointPlan:
    """The schedule, if it fits and costs less than the best so far."""
    measured = replay(chain, operations)
    if measured.peak_bytes > best.budget_bytes or measured.extra_cost >= best.value:
        return best
    return evolve(best, value=measured.extra_cost, method=method, operations=operations, peak_bytes=measured.peak_bytes)


def _simple_plan(chain: Chain, room: int, bound: int, fitting: tuple[Operation, ...]) -> CheckpointPlan:
    """The cheapest of a schedule that is known to fit, and the periodic ones that fit."""
    measured = replay(chain, fitting)
    method = "everything saved as soon as it fits"
    budget = room + chain.input_bytes
    best = CheckpointPlan(measured.extra_cost, bound, method, fitting, budget, measured.peak_bytes)
    for period in range(1, len(chain.stages)):
        best = _better(best, chain, every(chain, period), f"a checkpoint every {period} stages")
    starts = cheapest_segments(*segment_bytes(chain), budget)
    return best if starts is None else _better(best, chain, at(chain, starts), "segments recomputed once")


def _from_table(chain: Chain, least: list[Ints], table: SlotTable, best: CheckpointPlan) -> CheckpointPlan:
    """The best schedule so far, or a better one of a table.

    If sizes were rounded up, the schedule for the whole budget fits, if there is one. If they were rounded down, it need not; then
    it is made again with choices that fit, and others for less are tried.
    """
    method = "dynamic programme over persistent schedules"
    steps = fitting_steps(table.grid.demands, least, best.budget_bytes - chain.input_bytes, table)
    best = _better(best, chain, mark_repeats(steps), method)
    costs, firsts = np.unique(table.costs, return_index=True)
    cheaper = firsts[costs < best.value + chain.forward_cost]
    for first in cheaper[:_TRIES].tolist():
        better = _better(best, chain, mark_repeats(table.steps(first)), method)
        if better is not best:
            return better
    return best


def _slots(demands: Demands, room: int, fineness: int, *, all_budgets: bool = False) -> tuple[int, int]:
    """Bytes of a slot, and how many there are: what divides every stored size, if that is not too small, else so many slots.

    What is always free takes no slots. For all budgets at once, what divides every size is better still.
    """
    stages = demands.count
    usable = room - demands.always_free
    stored = gcd(*demands.out.tolist(), *demands.kept.tolist()) or max(usable, 1)
    most = max(fineness, _EXACT_WORK // stages**3)
    divisors = [gcd(stored, *demands.sizes), stored] if all_budgets else [stored]
    slot = next((divisor for divisor in divisors if usable // divisor <= most), -(-usable // fineness))
    count = -(-usable // slot)
    if (size := (count + 1) * stages * (stages + 1) * 8) > _LARGEST_TABLE:
        raise InvalidValueError(
            "the table for these checkpoints is too large",
            got=f"{size} bytes for {stages} stages and {count} slots",
            expected=f"at most {_LARGEST_TABLE} bytes",
            hint="join stages, or use fewer slots",
        )
    return slot, count


def _rounding(chain: Chain, operations: tuple[Operation, ...], slot: int, peak: int) -> int:
    stages = tuple(
        evolve(
            stage,
            output_bytes=-(-stage.output_bytes // slot) * slot,
            kept_bytes=-(-stage.kept_bytes // slot) * slot,
            gradient_bytes=stage.gradient_bytes,
            saving_transient_bytes=stage.saving_transient_bytes,
        )
        for stage in chain.stages
    )
    rounded = Chain(stages, input_bytes=chain.input_bytes, input_gradient_bytes=chain.input_gradient_bytes)
    return replay(rounded, operations).peak_bytes - peak


def tradeoff(chain: Chain, *, slots: SupportsIndex = 500, time_limit: float | None = None) -> Tradeoff:
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
    slot, count = _slots(demands, room, exact_int(slots, "slots", 1), all_budgets=True)
    spare = room - count * slot
    bounds = np.full(1, min(demands.forward), dtype=np.int64)
    complete = False
    for up in (True, False):
        table = SlotTable(Grid(demands, count, slot, spare, up=up))
        if not table.fill(lambda: clock.over):
            break
        costs, firsts = np.unique(table.costs, return_index=True)
        schedules += [mark_repeats(table.steps(first)) for first in firsts[costs < NEVER].tolist()]
        if table.grid.exact or not up:  # nothing was rounded, or everything down
            bounds = np.maximum(table.costs - chain.forward_cost, bounds[0])
            complete = True
        if table.grid.exact:
            break
    return Tradeoff(_frontier(chain, schedules, bounds, slot, spare), slot, complete)


def _frontier(
    chain: Chain, schedules: list[tuple[Operation, ...]], bounds: Ints, slot: int, spare: int
) -> tuple[TradeoffPoint, ...]:
    """The schedules that no other beats in both memory and cost; with the bounds for every number of slots."""
    measured = [(replay(chain, operations), operations) for operations in schedules]
    found: list[TradeoffPoint] = []
    for result, operations in sorted(measured, key=lambda pair: (pair[0].peak_bytes, pair[0].extra_cost)):
        if not found or result.extra_cost < found[-1].extra_cost:
            room = result.peak_bytes - chain.input_bytes
            within = min(max(-((spare - room) // slot), 0), len(bounds) - 1)
            bound = min(int(bounds[within]), result.extra_cost)
            found.append(TradeoffPoint(result.peak_bytes, result.extra_cost, bound, operations))
    return tuple(found)
