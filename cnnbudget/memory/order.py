"""Execution orders: a schedule as a problem of steps and storages, and the schedule of a better order.

What must come before what follows from who reads and writes: a step that reads comes after those that have written; one
that overwrites what it reads comes after all who need the old value. Steps that only add to a storage, as several readers of a
value add to its gradient, come in any order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from cnnbudget.graph.nodes import Network
from cnnbudget.memory.schedule import Phase, waits
from cnnbudget.planning.dag import Dag
from cnnbudget.planning.order import OrderPlan, least_peak_order

if TYPE_CHECKING:
    from cnnbudget.memory.schedule import Schedule
    from cnnbudget.planning.plan import Progress

__all__ = ["in_order", "order_problem", "plan_order", "reorder_network"]


def order_problem(schedule: Schedule, batch: int) -> Dag:
    """Makes the planner's problem of a schedule; what is always alive adds the same to every order and is left out.

    Args:
        schedule: The schedule, in a legal order.
        batch: Samples in a batch.

    Returns:
        Steps, the storages that they touch, and which steps they wait for.

    Example:
        >>> from cnnbudget import Conv, Inference, Net
        >>> found = Net.input(3, 8, 8).then(Conv(4, 3), Conv(2, 3)).profile(Inference())
        >>> order_problem(found.lifetimes.schedule, 1).after
        ((), (0,), (1,))
    """
    numbers = [number for number, storage in enumerate(schedule.storages) if not storage.persistent]
    local = {number: position for position, number in enumerate(numbers)}
    after = waits(schedule) if schedule.after is None else schedule.after
    touches = [
        sorted({local[number] for number in (*step.reads, *step.holds, *step.writes) if number in local})
        for step in schedule.steps
    ]
    sizes = [schedule.storages[number].byte_count(batch) for number in numbers]
    return Dag(sizes, touches, after, [local[number] for number in schedule.held if number in local])


def in_order(schedule: Schedule, order: tuple[int, ...]) -> Schedule:
    """The same schedule with its steps in another order.

    Args:
        schedule: The schedule.
        order: Every step's number once.

    Returns:
        A new schedule.
    """
    return evolve(schedule, steps=tuple([schedule.steps[step] for step in order]), after=None)


def plan_order(
    schedule: Schedule,
    batch: int,
    *,
    time_limit: float | None = None,
    progress: Progress | None = None,
    seed: int = 0,
) -> OrderPlan:
    """Finds the order of a schedule's steps with the least peak; see :func:`cnnbudget.planning.order.least_peak_order`.

    Args:
        schedule: The schedule.
        batch: Samples in a batch.
        time_limit: Seconds; ``None`` for no limit of time (the search is limited by its states).
        progress: Is called with ``(value, lower_bound)`` whenever one of them improves.
        seed: Of the local search.

    Returns:
        The plan; its values leave out what is always alive.
    """
    return least_peak_order(order_problem(schedule, batch), time_limit=time_limit, progress=progress, seed=seed)


def reorder_network(network: Network, schedule: Schedule) -> Network:
    """The network with its nodes in the order of a schedule's forward steps.

    Args:
        network: The network.
        schedule: A schedule of it.

    Returns:
        The same nodes in another order. Of those that share parameters the first one has them.
    """
    nodes = {node.name: node for node in network.nodes}
    names = [step.node for step in schedule.steps if step.phase is Phase.FORWARD]
    firsts: dict[str, str] = {}
    ordered = []
    for node in [nodes[name] for name in names if name is not None]:
        first = firsts.setdefault(node.shares or node.name, node.name)
        shares = None if first == node.name else first
        ordered.append(node if shares == node.shares else evolve(node, shares=shares))
    return Network(network.inputs, ordered, network.outputs)
