"""Concatenation without a copy: what is concatenated is written straight into the result's storage, a part each.

A storage of the result is then there from the first of its parts on, and the parts have none of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from cnnbudget.layers.merge import Concat
from cnnbudget.memory.schedule import Step, waits

if TYPE_CHECKING:
    from cnnbudget.analysis.costs import CostTable
    from cnnbudget.analysis.storage import Sharing
    from cnnbudget.memory.schedule import Schedule

__all__ = ["concat_in_place", "elidable_parts"]


def elidable_parts(table: CostTable, sharing: Sharing) -> dict[str, str]:
    """Finds the values that may be written straight into a concatenation.

    That is a value with a storage of its own which nothing else looks at as a part, which is no input of the network, which one
    concatenation reads once, and which nobody overwrites after that; nor is the concatenation overwritten while it is still read.

    Args:
        table: Costs of the network.
        sharing: Who shares bytes.

    Returns:
        For each such value, the concatenation.

    Example:
        >>> from cnnbudget import Conv, Net
        >>> from cnnbudget.analysis.storage import sharing
        >>> table = Net.input(3, 8, 8).branch(None, Conv(4, 1), Conv(2, 1)).costs()
        >>> elidable_parts(table, sharing(table, training=False))
        {'conv': 'concat', 'conv2': 'concat'}
    """
    owners = sharing.owners
    position = {cost.name: number for number, cost in enumerate(table.nodes)}
    sources = {source.name for source in table.network.inputs}
    overwritten: dict[str, int] = {}
    for name, alias in sharing.aliases.items():
        if alias.in_place:
            overwritten[owners[name]] = max(position[name], overwritten.get(owners[name], -1))
    uses: dict[str, list[str]] = {}
    for cost in table.nodes:
        if type(cost.node.layer) is Concat and len(cost.inputs) > 1:
            for value in cost.node.inputs:
                uses.setdefault(owners[value], []).append(cost.name)
    found = {}
    for cost in table.nodes:
        if type(cost.node.layer) is not Concat:
            continue
        for value in dict.fromkeys(cost.node.inputs):
            owner = owners[value]
            whole = table.specs[owner].element_count == table.specs[value].element_count
            once = uses.get(owner) == [cost.name]
            if whole and once and owner not in sources and overwritten.get(owner, -1) < position[cost.name]:
                found[owner] = cost.name
    return _unspoilt(found, table, sharing)


def _unspoilt(parts: dict[str, str], table: CostTable, sharing: Sharing) -> dict[str, str]:
    """Those parts that nobody reads any more when a concatenation in which they lie is overwritten."""
    owners = sharing.owners
    last: dict[str, int] = {owners[name]: len(table) for name in table.network.outputs}
    first: dict[str, int] = {}
    for position, cost in enumerate(table.nodes):
        for value in cost.node.inputs:
            last[owners[value]] = max(position, last.get(owners[value], -1))
        alias = sharing.aliases.get(cost.name)
        if alias is not None and alias.in_place:
            first.setdefault(owners[cost.name], position)
    kept = {}
    for part, whole in parts.items():
        above: str | None = whole
        while above is not None and first.get(above, len(table) + 1) > last[part]:
            above = parts.get(above)
        if above is None:
            kept[part] = whole
    return kept


def concat_in_place(schedule: Schedule, table: CostTable, sharing: Sharing) -> Schedule:
    """The schedule in which concatenations copy nothing that was made for them.

    Args:
        schedule: A schedule of an inference.
        table: Costs of the network.
        sharing: Who shares bytes.

    Returns:
        A schedule with fewer storages.
    """
    parts = elidable_parts(table, sharing)
    if not parts:
        return schedule
    names = {storage.name: number for number, storage in enumerate(schedule.storages)}
    into = {names[part]: names[whole] for part, whole in parts.items()}

    def root(number: int) -> int:
        while number in into:
            number = into[number]
        return number

    kept = [number for number in range(len(schedule.storages)) if number not in into]
    place = {number: position for position, number in enumerate(kept)}
    moved = [place[root(number)] for number in range(len(schedule.storages))]

    def move(numbers: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(dict.fromkeys(moved[number] for number in numbers))

    steps = [Step(s.phase, s.node, move(s.reads), move(s.writes), move(s.holds)) for s in schedule.steps]
    return evolve(
        schedule,
        storages=tuple([schedule.storages[number] for number in kept]),
        steps=tuple(steps),
        held=frozenset(moved[number] for number in schedule.held),
        after=waits(schedule, into),
    )
