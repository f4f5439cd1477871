"""Calls that have not returned yet: in eager execution, whoever called a module keeps its arguments alive until it returns.

A call is a scope of node names: ``layer1.0/conv`` runs within a call of ``layer1.0``, which runs within one of ``layer1``.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cnnbudget.graph.nodes import Node

__all__ = ["arguments_held", "scopes_of"]

_NUMBERED = re.compile(r"\.(?=\d)")


@lru_cache(maxsize=65536)
def scopes_of(name: str) -> tuple[str, ...]:
    """The scopes that a node lies in, from the outermost in.

    Args:
        name: The node's name.

    Returns:
        Their names; a numbered scope (``layer1.0``) lies within the one that numbers it.

    Example:
        >>> scopes_of("layer1.0/conv"), scopes_of("conv")
        (('layer1', 'layer1.0'), ())
    """
    scopes = []
    parts = name.split("/")[:-1]
    before = ""
    for part in parts:
        pieces = _NUMBERED.split(part)
        scopes += [before + ".".join(pieces[:number]) for number in range(1, len(pieces) + 1)]
        before = f"{before}{part}/"
    return tuple(scopes)


class _Call:
    """A call that is running: its scope, the position of its first node, and what it was called with."""

    __slots__ = ("arguments", "scope", "start")

    def __init__(self, scope: str, start: int) -> None:
        self.scope = scope
        self.start = start
        self.arguments: dict[str, None] = {}


def arguments_held(nodes: Iterable[Node]) -> Mapping[str, tuple[str, ...]]:
    """Finds which arguments live until which node, because a call that has them returns after it.

    Args:
        nodes: Nodes in execution order. Those of a scope that do not follow each other are taken for several calls.

    Returns:
        For the last node of every call, the values that the call's nodes read and that were made before it.
    """
    held: dict[str, list[str]] = {}
    made: dict[str, int] = {}
    running: list[_Call] = []
    last = ""

    def end(until: int) -> None:
        for call in running[until:]:
            held.setdefault(last, []).extend(call.arguments)
        del running[until:]

    for position, node in enumerate(nodes):
        scopes = scopes_of(node.name)
        common = 0
        while common < min(len(running), len(scopes)) and running[common].scope == scopes[common]:
            common += 1
        end(common)
        running += [_Call(scope, position) for scope in scopes[common:]]
        for value in node.inputs:
            when = made.get(value, -1)
            for call in reversed(running):
                if when >= call.start:
                    break
                call.arguments[value] = None
        made[node.name] = position
        last = node.name
    end(0)
    return {name: tuple(dict.fromkeys(values)) for name, values in held.items()}
