"""Which node of one network is which of another: an alignment of two sequences with the fewest edits.

A longest common subsequence of layers, with two refinements: a layer that only changed counts as one edit, not as one that goes
and one that comes; and of all alignments with the fewest edits, the one that keeps most names is taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnnbudget.graph.nodes import Node

__all__ = ["align"]

_MOST = 4_000_000
_PAIR, _REMOVE, _ADD = 0, 1, 2

Pair = tuple[int | None, int | None]


def align(before: Sequence[Node], after: Sequence[Node]) -> list[Pair]:
    """Aligns two sequences of nodes.

    Nodes pair up if their layers are equal, or else if they have the same name or kind of layer; order is kept. Where more than
    four million pairs would have to be looked at, because long networks differ everywhere, only equal names pair up.

    Args:
        before: Nodes of one network, in order.
        after: Nodes of another.

    Returns:
        ``(position, position)`` of every pair, ``(position, None)`` of a node that went, ``(None, position)`` of one that came, in
        the order of the networks.

    Example:
        >>> from cnnbudget import Conv, Node, ReLU
        >>> old = [Node("conv", Conv(8, 3), ["x"]), Node("relu", ReLU(), ["conv"])]
        >>> align(
        ...     old,
        ...     [Node("first", Conv(4, 1), ["x"]), Node("conv", Conv(8, 3), ["first"]), Node("relu", ReLU(), ["conv"])],
        ... )
        [(None, 0), (0, 1), (1, 2)]
    """
    start = 0
    shorter = min(len(before), len(after))
    while start < shorter and _is_same(before[start], after[start]):
        start += 1
    end = 0
    while end < shorter - start and _is_same(before[-1 - end], after[-1 - end]):
        end += 1
    left, right = before[start : len(before) - end], after[start : len(after) - end]
    middle = _fewest_edits(left, right) if len(left) * len(right) <= _MOST else _by_name(left, right)
    pairs: list[Pair] = [(number, number) for number in range(start)]
    pairs += [(None if old is None else old + start, None if new is None else new + start) for old, new in middle]
    pairs += [(len(before) - number, len(after) - number) for number in range(end, 0, -1)]
    return pairs


def _is_same(before: Node, after: Node) -> bool:
    return before.name == after.name and before.layer == after.layer


def _fewest_edits(before: Sequence[Node], after: Sequence[Node]) -> list[Pair]:
    """Dynamic programming over all pairs of prefixes. Edits count first, names that change second."""
    edit = len(before) + len(after) + 1
    layers = {layer: number for number, layer in enumerate(dict.fromkeys(node.layer for node in (*before, *after)))}
    new = [(node.name, layers[node.layer], type(node.layer)) for node in after]
    costs = [edit * number for number in range(len(after) + 1)]
    moves = []
    for node in before:
        name, layer, kind = node.name, layers[node.layer], type(node.layer)
        row, move = [costs[0] + edit], bytearray([_REMOVE])
        for column, (other, its_layer, its_kind) in enumerate(new):
            least, chosen = costs[column + 1] + edit, _REMOVE
            if row[column] + edit < least:
                least, chosen = row[column] + edit, _ADD
            if layer == its_layer or name == other or kind is its_kind:
                cost = costs[column] + edit * (layer != its_layer) + (name != other)
                if cost <= least:
                    least, chosen = cost, _PAIR
            row.append(least)
            move.append(chosen)
        costs = row
        moves.append(move)
    pairs: list[Pair] = []
    old, column = len(before), len(after)
    while old or column:
        step = _ADD if not old else moves[old - 1][column]
        old -= step != _ADD
        column -= step != _REMOVE
        pairs.append((None if step == _ADD else old, None if step == _REMOVE else column))
    return pairs[::-1]


def _by_name(before: Sequence[Node], after: Sequence[Node]) -> list[Pair]:
    """Pairs of equal names, as far as they come in the same order; the last of them decide."""
    positions = {node.name: number for number, node in enumerate(before)}
    pairs: list[Pair] = []
    done = 0
    for number, node in enumerate(after):
        old = positions.get(node.name, -1)
        if old >= done:
            pairs += [(gone, None) for gone in range(done, old)]
            pairs.append((old, number))
            done = old + 1
        else:
            pairs.append((None, number))
    return pairs + [(gone, None) for gone in range(done, len(before))]
