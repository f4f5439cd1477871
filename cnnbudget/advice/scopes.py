"""Parts of a network that are named by a scope: which can be left out, and which are repeats of one block."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve, frozen

from cnnbudget.errors import InvalidValueError, UnknownNameError, did_you_mean, shorten
from cnnbudget.graph.nodes import Network, Node
from cnnbudget.graph.shapes import specs

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Segment", "removable_scopes", "repeats", "scopes_of", "segment", "with_repeats", "without_scope"]


@frozen
class Segment:
    """The nodes of a scope, where they read one value from outside and give one to the outside.

    Args:
        scope: The common start of their names.
        nodes: Their names, in execution order.
        entry: The value that they read.
        exit: The one of them that others read.
    """

    scope: str
    nodes: tuple[str, ...]
    entry: str
    exit: str


def scopes_of(network: Network) -> list[str]:
    """All scopes of a network, in the order in which they open.

    Args:
        network: The network.

    Example:
        >>> from cnnbudget import Block, Conv, Net
        >>> scopes_of(Net.input(3, 8, 8).repeat(Block(Conv(3, 3, padding=1)), 2, name="stage").network)
        ['stage.0', 'stage.1']
    """
    return list(dict.fromkeys(scope for node in network.nodes for scope in _around(node.name)))


def segment(network: Network, scope: str) -> Segment | None:
    """Finds what a scope is made of.

    Args:
        network: The network.
        scope: The scope, without the slash at its end.

    Returns:
        The segment; ``None`` if more than one value goes in or out, or others share its parameters.
    """
    start = f"{scope}/"
    inside = {node.name for node in network.nodes if node.name.startswith(start)}
    entries: dict[str, None] = {}
    exits: dict[str, None] = {}
    for node in network.nodes:
        if node.name in inside:
            entries.update(dict.fromkeys(name for name in node.inputs if name not in inside))
        else:
            exits.update(dict.fromkeys(name for name in node.inputs if name in inside))
            if node.shares in inside:
                return None
    exits.update(dict.fromkeys(name for name in network.outputs if name in inside))
    if len(entries) != 1 or len(exits) != 1:
        return None
    nodes = tuple([node.name for node in network.nodes if node.name in inside])
    return Segment(scope, nodes, *entries, *exits)


def _need_segment(network: Network, scope: str) -> Segment:
    if not any(node.name.startswith(f"{scope}/") for node in network.nodes):
        raise UnknownNameError(
            "no nodes have this scope", got=shorten(scope), hint=did_you_mean(scope, scopes_of(network))
        )
    found = segment(network, scope)
    if found is None:
        raise InvalidValueError(
            "this scope is no block",
            where=f"scope {scope!r}",
            expected="nodes that read one value from outside, of which one is read outside, with parameters of their own",
        )
    return found


def without_scope(network: Network, scope: str) -> Network:
    """Leaves a block out; whoever read its output reads its input.

    Args:
        network: The network.
        scope: The block's scope.

    Returns:
        A new network.

    Raises:
        UnknownNameError: If no node has the scope.
        InvalidValueError: If the scope is no block, or all there is.
        ShapeError: If what follows cannot be applied to the block's input.
    """
    found = _need_segment(network, scope)
    gone = set(found.nodes)
    if len(gone) == len(network):
        raise InvalidValueError("the only block cannot be removed", where=f"scope {scope!r}")

    def new(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple([found.entry if name == found.exit else name for name in names])

    nodes = [
        evolve(node, inputs=new(node.inputs)) if found.exit in node.inputs else node
        for node in network.nodes
        if node.name not in gone
    ]
    changed = evolve(network, nodes=nodes, outputs=tuple(dict.fromkeys(new(network.outputs))))
    specs(changed)
    return changed


def removable_scopes(network: Network) -> Iterator[Segment]:
    """Blocks of two nodes or more whose output has the shape of their input; linear in the nodes and the depth of scopes.

    Args:
        network: The network.

    Yields:
        Their segments.
    """
    known = specs(network)
    inside: dict[str, list[str]] = {}
    entries: dict[str, set[str]] = {}
    exits: dict[str, set[str]] = {}
    lent: set[str] = set()

    for node in network.nodes:
        scopes = _around(node.name)
        for scope in scopes:
            inside.setdefault(scope, []).append(node.name)
        for name in node.inputs:
            there = _around(name)
            for scope in scopes:
                if scope not in there:
                    entries.setdefault(scope, set()).add(name)
            for scope in there:
                if scope not in scopes:
                    exits.setdefault(scope, set()).add(name)
        if node.shares is not None:
            lent.update(scope for scope in _around(node.shares) if scope not in scopes)
    for name in network.outputs:
        for scope in _around(name):
            exits.setdefault(scope, set()).add(name)
    for scope, names in inside.items():
        sources, ends = entries.get(scope, set()), exits.get(scope, set())
        if 1 < len(names) < len(network) and len(sources) == len(ends) == 1 and scope not in lent:
            found = Segment(scope, tuple(names), *sources, *ends)
            if known[found.entry].shape == known[found.exit].shape:
                yield found


def _around(name: str) -> list[str]:
    """The scopes that a name is in, the outermost first."""
    ends = [position for position, sign in enumerate(name) if sign == "/"]
    return [name[:end] for end in ends]


def repeats(network: Network, scope: str) -> int:
    """Counts the repeats of a block: ``stage.0``, ``stage.1``, ...

    Args:
        network: The network.
        scope: Their common name, ``stage``.

    Returns:
        How many there are.

    Raises:
        UnknownNameError: If there are none; the error guesses which scope was meant.
    """
    scopes = set(scopes_of(network))
    count = 0
    while f"{scope}.{count}" in scopes:
        count += 1
    if not count:
        known = dict.fromkeys(name.rsplit(".", 1)[0] for name in scopes_of(network) if name.endswith(".0"))
        raise UnknownNameError(
            "no block is repeated under this name", got=shorten(scope), hint=did_you_mean(scope, known)
        )
    return count


def with_repeats(network: Network, scope: str, times: int) -> Network:
    """Repeats a block more often, or less: copies of the last one are appended, or the last ones are left out.

    Args:
        network: The network.
        scope: The common name of the repeats, ``stage`` for ``stage.0``, ``stage.1``, ...
        times: How many there shall be, at least one.

    Returns:
        A new network.

    Raises:
        UnknownNameError: If nothing is repeated under that name.
        InvalidValueError: If a repeat is no block.
        ShapeError: If what follows cannot be applied any more.

    Example:
        >>> from cnnbudget import Block, Conv, Net
        >>> network = Net.input(3, 8, 8).repeat(Block(Conv(3, 3, padding=1)), 2, name="stage").network
        >>> [node.name for node in with_repeats(network, "stage", 3).nodes]
        ['stage.0/conv', 'stage.1/conv', 'stage.2/conv']
    """
    count = repeats(network, scope)
    if times > count:
        network = _longer(network, _need_segment(network, f"{scope}.{count - 1}"), scope, count, times)
    for number in range(count - 1, times - 1, -1):
        network = without_scope(network, f"{scope}.{number}")
    return network


def _longer(network: Network, last: Segment, scope: str, count: int, times: int) -> Network:
    template = [node for node in network.nodes if node.name in set(last.nodes)]
    position = network.position(last.nodes[-1]) + 1
    tip = last.exit
    copies: list[Node] = []
    for number in range(count, times):
        renamed = {name: f"{scope}.{number}{name[len(last.scope) :]}" for name in last.nodes}
        read = {**renamed, last.entry: tip}
        copies += [
            evolve(
                node,
                name=renamed[node.name],
                inputs=tuple([read[name] for name in node.inputs]),
                shares=renamed.get(node.shares, node.shares) if node.shares else None,
            )
            for node in template
        ]
        tip = renamed[last.exit]

    def new(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple([tip if name == last.exit else name for name in names])

    inside = set(last.nodes)
    before = [
        node if node.name in inside or last.exit not in node.inputs else evolve(node, inputs=new(node.inputs))
        for node in network.nodes
    ]
    changed = evolve(network, nodes=[*before[:position], *copies, *before[position:]], outputs=new(network.outputs))
    specs(changed)
    return changed
