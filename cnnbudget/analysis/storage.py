"""Who shares bytes: views look at their input's storage, in-place layers reuse it, everybody else has a storage of its own.

In-place is only legal when nobody still needs the value that is overwritten; otherwise the error names who does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

from cnnbudget.errors import ConformanceError, SharedStorageError, shorten
from cnnbudget.graph.shapes import place_of
from cnnbudget.layers.base import Alias, Saved

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from cnnbudget.analysis.costs import CostTable, NodeCost

__all__ = ["Sharing", "sharing"]


@frozen
class Sharing:
    """Which storage every value of a network lies in.

    Args:
        owners: For every value, the value whose storage it shares; itself when it has its own.
        aliases: For every node that shares, what its layer states.
    """

    owners: Mapping[str, str] = field(repr=False)
    aliases: Mapping[str, Alias] = field(repr=False)


def sharing(table: CostTable, *, training: bool, held: Collection[str] = ()) -> Sharing:
    """Finds out who shares bytes.

    Args:
        table: The costs of a network.
        training: Whether the layers act as in training (dropout is a view in inference only).
        held: Values that somebody outside the network keeps to the end.

    Returns:
        The owners of all values.

    Raises:
        SharedStorageError: If an in-place layer would overwrite what somebody still needs.
        ConformanceError: If a layer states an alias of an input that it does not have, or a view of another size.
    """
    owners = {source.name: source.name for source in table.network.inputs}
    aliases: dict[str, Alias] = {}
    overwriters: list[NodeCost] = []
    for cost in table.nodes:
        alias = cost.node.layer.alias(cost.inputs, cost.output, training=training)
        if alias is None:
            owners[cost.name] = cost.name
            continue
        if not isinstance(alias, Alias) or not 0 <= alias.input < len(cost.inputs):
            raise ConformanceError(
                f"{type(cost.node.layer).__name__}.alias is no input of the layer",
                where=place_of(cost.node, cost.inputs),
                got=shorten(alias),
                expected=f"None, or an Alias of input 0 to {len(cost.inputs) - 1}",
            )
        if cost.output.element_count > cost.inputs[alias.input].element_count:
            raise ConformanceError(
                f"{type(cost.node.layer).__name__}.alias states a view that is larger than what it looks at",
                where=place_of(cost.node, cost.inputs),
                got=f"{cost.output.element_count} elements in a storage of {cost.inputs[alias.input].element_count}",
            )
        owners[cost.name] = owners[cost.node.inputs[alias.input]]
        aliases[cost.name] = alias
        if alias.in_place:
            overwriters.append(cost)
    if overwriters:
        _check_overwriters(table, owners, overwriters, held, training=training)
    return Sharing(owners, aliases)


def _saved(cost: NodeCost) -> Saved:
    kept = cost.node.layer.saved(cost.inputs, cost.output)
    if not isinstance(kept, Saved) or not all(0 <= number < len(cost.inputs) for number in kept.inputs):
        raise ConformanceError(
            f"{type(cost.node.layer).__name__}.saved returned something else",
            where=place_of(cost.node, cost.inputs),
            got=shorten(kept),
            expected=f"a Saved with inputs from 0 to {len(cost.inputs) - 1}",
        )
    return kept


def _check_overwriters(
    table: CostTable, owners: dict[str, str], overwriters: list[NodeCost], held: Collection[str], *, training: bool
) -> None:
    """Refuses a node that overwrites a value which is read later. Linear but for sorting, however often a storage is reused."""
    position = {cost.name: number for number, cost in enumerate(table.nodes)}
    overwritten = {owners[cost.name] for cost in overwriters}
    readers: dict[str, list[tuple[int, int, str, str]]] = {owner: [] for owner in overwritten}

    def read(when: int, value: str, who: str) -> None:
        if owners[value] in overwritten:
            readers[owners[value]].append((position.get(value, -1), when, value, who))

    end = len(table)
    for number, cost in enumerate(table.nodes):
        for value in cost.node.inputs:
            read(number, value, f"node {cost.name!r} reads it")
        if training:
            kept = _saved(cost)
            for value in [cost.node.inputs[index] for index in kept.inputs] + ([cost.name] if kept.output else []):
                read(end, value, f"node {cost.name!r} keeps it for backward")
    for value in table.network.outputs:
        read(end, value, "it is an output of the network")
    for value in held:
        read(end, value, "whoever called the network keeps it")

    by_owner: dict[str, list[NodeCost]] = {}
    for cost in overwriters:
        by_owner.setdefault(owners[cost.name], []).append(cost)
    for owner, costs_in_order in by_owner.items():
        reads = sorted(readers[owner])
        made, last = 0, (-1, "", "")  # of the values that exist by now, the one that is read last
        for cost in costs_in_order:
            now = position[cost.name]
            while made < len(reads) and reads[made][0] < now:
                last = max(last, reads[made][1:])
                made += 1
            when, value, who = last
            if when > now:
                raise SharedStorageError(
                    "an in-place layer would overwrite a value that is still needed",
                    where=place_of(cost.node, cost.inputs),
                    got=f"value {value!r}: {who}",
                    expected="nobody to need it after this node",
                    hint="use the layer without inplace=True, or put it after the last reader",
                )
