"""Sharded data parallelism: each device keeps a part of the optimizer's state, of the gradients, of the parameters.

The whole of a gradient is there while it is made, then its parts go to the devices that own them; the whole of a layer's
parameters is there while the layer runs. Source: Rajbhandari et al., "ZeRO" (2020).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from cnnbudget.dtypes import Role
from cnnbudget.memory.schedule import Phase, Step

if TYPE_CHECKING:
    from cnnbudget.graph.nodes import Network
    from cnnbudget.memory.schedule import Schedule, Storage

__all__ = ["sharded"]

_RUNS = frozenset({Phase.FORWARD, Phase.RECOMPUTE, Phase.BACKWARD})


def sharded(schedule: Schedule, network: Network, count: int, level: int) -> Schedule:
    """The schedule of one of several devices that share out what belongs to parameters.

    Args:
        schedule: The schedule of a device that has everything.
        network: The network.
        count: How many devices.
        level: 1 shares out the optimizer's state, 2 the gradients too, 3 the parameters too.

    Returns:
        A schedule with smaller storages, and those that are whole for a moment.
    """
    storages = list(schedule.storages)
    steps = list(schedule.steps)
    updated = {number for step in steps if step.phase is Phase.UPDATE for number in (*step.reads, *step.writes)}
    cut: set[int] = set()
    whole: list[Storage] = []
    for number, storage in enumerate(schedule.storages):
        role = storage.role
        if (
            role is Role.OPTIMIZER_STATE
            or (role is Role.WORKSPACE and number in updated)
            or (level > 1 and role is Role.PARAMETER_GRADIENT and (storage.persistent or number in updated))
            or (level > 2 and role is Role.PARAMETER)
        ):
            storages[number] = evolve(storage, name=f"{storage.name} shard", fixed=-(-storage.fixed // count))
            cut.add(number)

    def make(number: int) -> int:
        """The whole of what was cut, for one step."""
        storage = schedule.storages[number]
        whole.append(evolve(storage, name=f"{storage.name} whole {len(whole) + 1}", persistent=False))
        return len(storages) + len(whole) - 1

    owner = {node.name: node.shares or node.name for node in network.nodes}
    parameters: dict[str, list[int]] = {}
    for number in cut:
        if schedule.storages[number].role is Role.PARAMETER:
            parameters.setdefault(str(schedule.storages[number].node), []).append(number)
    for at, step in enumerate(steps):
        extra: list[int] = []
        if step.phase is not Phase.UPDATE:
            extra += [make(n) for n in step.writes if n in cut and storages[n].role is Role.PARAMETER_GRADIENT]
        if step.phase in _RUNS and step.node is not None:
            extra += [make(number) for number in parameters.get(owner[step.node], ())]
        if extra:
            steps[at] = Step(step.phase, step.node, step.reads, (*step.writes, *extra), step.holds)
    return evolve(schedule, storages=(*storages, *whole), steps=tuple(steps))
