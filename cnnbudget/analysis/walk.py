"""The one traversal: it infers every shape, adds the place to errors once, and hands each use of a layer to a visitor."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from cnnbudget.analysis.visitor import Use, Visitor, rule_for
from cnnbudget.errors import InvalidTypeError, shorten
from cnnbudget.graph.nodes import check_network
from cnnbudget.graph.shapes import applications

if TYPE_CHECKING:
    from cnnbudget.graph.nodes import Network

__all__ = ["walk"]

T = TypeVar("T")


def walk(network: Network, visitor: Visitor[T]) -> dict[str, T]:
    """Visits every node in execution order. Iterative and linear in the number of nodes.

    Args:
        network: The network.
        visitor: The question.

    Returns:
        The visitor's answer for every input and node, by name.

    Raises:
        ShapeError: If a layer cannot be applied to what reaches it; the error names the node.

    Example:
        >>> from cnnbudget import Conv, CostVisitor, Net
        >>> net = Net.input(3, 8, 8).then(Conv(4, 3))
        >>> walk(net.network, CostVisitor())["conv"].macs
        3888
    """
    check_network(network, "walk()")
    if not isinstance(visitor, Visitor):
        raise InvalidTypeError(
            "walk() needs a visitor", got=shorten(visitor), expected="an instance of a Visitor class"
        )
    answers = {source.name: visitor.start(source) for source in network.inputs}
    kind = type(visitor)
    for node, (layer, inputs, output) in zip(network.nodes, applications(network), strict=True):
        use = Use(node, inputs, output, tuple([answers[name] for name in node.inputs]))
        answers[node.name] = rule_for(kind, type(layer))(visitor, use)
    return answers
