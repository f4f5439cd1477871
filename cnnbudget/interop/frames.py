"""Scopes as calls: which values every scope of a network is given, makes and returns, and when they are dropped.

A name like ``layer1.0/conv`` stands in scopes: ``/`` and ``.`` separate them, so ``layer1`` holds ``0``, which holds ``conv``.
:func:`plan` turns the flat list of nodes into nested calls, in the same order. Nothing here knows a framework.

Nodes of a scope that do not stand together in the execution order cannot be one call: other nodes run between them, and may
read one of them and be read by another. Such a scope has several *runs*, one for each stretch, which are called one after the
other; whatever is needed in a later run goes out of the earlier one and comes in again.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from attrs import Factory, define, field, frozen

from cnnbudget.graph.naming import Namer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cnnbudget.graph.nodes import Network

__all__ = ["Plan", "Run", "Step", "plan"]

Path = tuple[str, ...]
"""Where something is: names of scopes, from the outermost, and its own."""

_SEPARATORS = re.compile(r"[/.]+")
_DEEPEST = 64  # calls of calls cost stack: what lies deeper goes into the last name


@frozen
class Step:
    """One call within a run.

    Args:
        child: Where the called thing is, seen from the scope: one name, or several in a flat plan.
        run: Which of its runs, if it is a scope.
        inputs: Names of the values that it is given.
        outputs: Names of the values that it returns.
        drops: Values of the scope that nobody there needs afterwards.
    """

    child: Path
    run: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    drops: tuple[str, ...]


@frozen
class Run:
    """One call of a scope.

    Args:
        inputs: Names of the values that it is given: those its nodes read and do not make, in the order of their first use.
        steps: What it does.
        outputs: Names of the values that it returns: those that somebody outside needs afterwards.
    """

    inputs: tuple[str, ...]
    steps: tuple[Step, ...]
    outputs: tuple[str, ...]


@frozen
class Plan:
    """Where the nodes of a network are, and what the scopes do.

    Args:
        places: Where every node is, by its name.
        runs: The runs of every scope, by its place; ``()`` is the network itself, which has one.
    """

    places: Mapping[str, Path]
    runs: Mapping[Path, tuple[Run, ...]]


@define
class _Open:
    """A run that has not ended."""

    scope: Path
    inputs: dict[str, None] = Factory(dict)
    made: dict[str, None] = Factory(dict)
    steps: list[tuple[Path, int, tuple[str, ...], tuple[str, ...]]] = field(factory=list)

    def add(self, child: Path, run: int, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
        self.inputs.update(dict.fromkeys(name for name in inputs if name not in self.made))
        self.made.update(dict.fromkeys(outputs))
        self.steps.append((child, run, inputs, outputs))

    def close(self, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Run:
        """Finds the last reader of every value, from the end."""
        needed, steps = set(outputs), []
        for child, run, read, made in reversed(self.steps):
            drops = tuple([name for name in dict.fromkeys((*made, *read)) if name not in needed])
            needed.update(read)
            steps.append(Step(child, run, read, made, drops))
        return Run(inputs, tuple(reversed(steps)), outputs)


def plan(network: Network, *, flat: bool = False, reserved: Iterable[str] = ()) -> Plan:
    """Plans the calls of a network.

    Args:
        network: The network.
        flat: Whether the network calls every node itself, and scopes only hold them.
        reserved: Names that nothing may have; a number is appended to them, as to names that are used already.

    Returns:
        The plan.

    Example:
        >>> from cnnbudget import Conv, Net, ReLU
        >>> net = Net.input(3, 8, 8).then(Conv(4, 3), ReLU(), name="stem").then(Conv(8, 3))
        >>> for scope, runs in plan(net.network).runs.items():
        ...     print(scope, [(step.child, step.inputs, step.outputs) for run in runs for step in run.steps])
        () [(('stem',), ('input',), ('stem/relu',)), (('conv',), ('stem/relu',), ('conv',))]
        ('stem',) [(('conv',), ('input',), ('stem/conv',)), (('relu',), ('stem/conv',), ('stem/relu',))]
    """
    places = _places(network, list(reserved))
    last = {name: position for position, node in enumerate(network.nodes) for name in node.inputs}
    last |= dict.fromkeys(network.outputs, len(network.nodes))
    runs: dict[Path, list[Run]] = {(): []}
    for place in places.values():  # outer scopes before inner ones, whatever ends first
        for depth in range(1, len(place)):
            runs.setdefault(place[:depth], [])
    running = [_Open(())]

    def leave(depth: int, position: int) -> None:
        while len(running) > depth + 1:
            inner = running.pop()
            outputs = tuple([name for name in inner.made if last.get(name, -1) >= position])
            inputs = tuple(inner.inputs)
            running[-1].add(inner.scope[-1:], len(runs[inner.scope]), inputs, outputs)
            runs[inner.scope].append(inner.close(inputs, outputs))

    for position, node in enumerate(network.nodes):
        place = places[node.name]
        scope = () if flat else place[:-1]
        leave(_common(running[-1].scope, scope), position)
        running += [_Open(scope[:depth]) for depth in range(len(running), len(scope) + 1)]
        running[-1].add(place if flat else place[-1:], 0, node.inputs, (node.name,))
    leave(0, len(network.nodes))
    runs[()].append(running[0].close(tuple([source.name for source in network.inputs]), network.outputs))
    return Plan(places, {scope: tuple(found) for scope, found in runs.items()})


def _places(network: Network, reserved: list[str]) -> dict[str, Path]:
    namers: dict[Path, Namer] = {(): Namer(reserved)}
    scopes: dict[Path, Path] = {(): ()}  # by what the names say
    places = {}
    for node in network.nodes:
        *outer, own = [part for part in _SEPARATORS.split(node.name, maxsplit=_DEEPEST) if part] or ["_"]
        own = _SEPARATORS.sub("_", own)
        said: Path = ()
        for part in outer:
            parent, said = scopes[said], (*said, part)
            if said not in scopes:
                scopes[said] = (*parent, namers[parent].fresh(part))
                namers[scopes[said]] = Namer(reserved)
        places[node.name] = (*scopes[said], namers[scopes[said]].fresh(own))
    return places


def _common(first: Path, second: Path) -> int:
    depth = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        depth += 1
    return depth
