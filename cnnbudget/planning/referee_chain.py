"""Referee of the checkpoint planner: tries all schedules of a small chain. It shares no code with the planner, on purpose.

A state is what is held; from each state every operation that can be run is tried, cheapest first. Exponential in the stages.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cnnbudget.planning.stages import Chain

    # held outputs, held records, the stage whose backward operation is next, and the stage that just ran forward (or -1)
    State = tuple[frozenset[int], frozenset[int], int, int]

__all__ = ["least_extra_cost_by_trying"]


def least_extra_cost_by_trying(chain: Chain, budget: int, *, persistent: bool) -> int | None:
    """The least cost of recomputation within a budget, by trying all schedules.

    Args:
        chain: A small chain.
        budget: Bytes.
        persistent: Whether what is kept for later must stay until it is read by a backward operation. If so, an output may
            be dropped by the operation right after the one that made it, and by nothing else but backward operations; and
            the schedule must consist of sweeps: forward from something held to the stage whose backward operation is next,
            which then runs, as do those before it as long as they can. Otherwise anything may be dropped or made at any time.

    Returns:
        The cost, or ``None`` if no schedule fits.
    """
    start: State = (frozenset(), frozenset(), len(chain.stages) - 1, -1)
    queue: list[tuple[int, int, State]] = [(0, 0, start)]
    done: set[State] = set()
    pushed = 0
    while queue:
        cost, _, state = heappop(queue)
        if state in done:
            continue
        done.add(state)
        if state[2] < 0:
            return cost - sum(stage.forward for stage in chain.stages)
        for peak, price, following in _moves(chain, state, persistent=persistent):
            if peak <= budget and following not in done:
                pushed += 1
                heappush(queue, (cost + price, pushed, following))
    return None


def _held(chain: Chain, state: State) -> int:
    """Bytes alive between operations."""
    outputs, records, due, _ = state
    stages = chain.stages
    total = chain.input_bytes
    total += sum(stages[i].output_bytes for i in outputs) + sum(stages[i].kept_bytes for i in records)
    total += sum(stage.residue_bytes for stage in stages[due + 1 :])
    return total + (stages[due].gradient_bytes if due < len(stages) - 1 else 0)


def _moves(chain: Chain, state: State, *, persistent: bool) -> Iterator[tuple[int, int, State]]:
    """Every operation that can be run: bytes alive during it, its forward cost, and the state after it."""
    outputs, records, due, latest = state
    stages = chain.stages
    now = _held(chain, state)
    if due in records and (due == 0 or due - 1 in outputs or due - 1 in records):
        stage = stages[due]
        seed = stage.gradient_bytes if due == len(stages) - 1 else 0
        given = stages[due - 1].gradient_bytes if due else chain.input_gradient_bytes
        peak = now + seed + given + stage.residue_bytes + stage.backward_transient_bytes
        yield peak, 0, (outputs - {due - 1, due}, records - {due}, due - 1, -1)
        if persistent:
            return
    if not persistent:
        for item in outputs:
            yield now, 0, (outputs - {item}, records, due, -1)
        for item in records:
            yield now, 0, (outputs, records - {item}, due, -1)
    for i in range(due + 1):
        stage = stages[i]
        if (i > 0 and i - 1 not in outputs and i - 1 not in records) or (
            persistent and latest >= 0 and i != latest + 1
        ):
            continue
        if i not in records:
            saving = now + stage.kept_bytes + stage.saving_transient_bytes
            yield saving, stage.forward, (outputs - {i}, records | {i}, due, i)
        if i not in outputs and i not in records:
            running = now + stage.output_bytes + stage.forward_transient_bytes
            yield running, stage.forward, (outputs | {i}, records, due, i)
            if i - 1 in outputs and (not persistent or latest == i - 1):
                yield running, stage.forward, (outputs - {i - 1} | {i}, records, due, i)
