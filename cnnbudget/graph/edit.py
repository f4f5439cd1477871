"""Edits of a network, each of which returns a new one and leaves the old one alone."""

from __future__ import annotations

from attrs import evolve

from cnnbudget.errors import InvalidValueError
from cnnbudget.graph.nodes import Network, check_network
from cnnbudget.layers.base import Layer

__all__ = ["remove_node", "replace_layer"]


def replace_layer(network: Network, name: str, layer: Layer) -> Network:
    """Puts another layer at a node; names and connections stay.

    Args:
        network: The network.
        name: The node.
        layer: The new layer.

    Returns:
        A new network. Its shapes are checked when it is walked.

    Raises:
        UnknownNameError: If no node has the name.
    """
    check_network(network, "replace_layer()")
    position = network.position(name)
    node = evolve(network.nodes[position], layer=layer)
    return evolve(network, nodes=(*network.nodes[:position], node, *network.nodes[position + 1 :]))


def remove_node(network: Network, name: str) -> Network:
    """Removes a node with one input; whoever read its output reads its input instead. The other names stay.

    Args:
        network: The network.
        name: The node.

    Returns:
        A new network. Its shapes are checked when it is walked.

    Raises:
        UnknownNameError: If no node has the name.
        InvalidValueError: If the node has several inputs, or is the only one.
    """
    check_network(network, "remove_node()")
    position = network.position(name)
    node = network.nodes[position]
    if len(node.inputs) != 1:
        raise InvalidValueError(
            "only a node with one input can be removed",
            where=f"node {name!r}",
            got=f"{len(node.inputs)} inputs",
            expected="one",
        )
    if len(network) == 1:
        raise InvalidValueError(
            "the only node cannot be removed", where=f"node {name!r}", expected="a network of two or more"
        )

    def redirect(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(node.inputs[0] if other == name else other for other in names)

    rest = (*network.nodes[:position], *network.nodes[position + 1 :])
    nodes = tuple(evolve(other, inputs=redirect(other.inputs)) if name in other.inputs else other for other in rest)
    return evolve(network, nodes=nodes, outputs=redirect(network.outputs))
