"""Edits of a network. Each returns a new network, whose shapes are inferred anew, and leaves the old one alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from attrs import evolve

from cnnbudget.errors import InvalidTypeError, InvalidValueError, UnknownNameError, did_you_mean, shorten
from cnnbudget.graph.block import check_parts
from cnnbudget.graph.build import build
from cnnbudget.graph.nodes import Network, Node, check_name, check_network
from cnnbudget.graph.shapes import applications, check_sharing
from cnnbudget.layers.base import Layer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from cnnbudget.graph.block import Part
    from cnnbudget.tensors import Shape

__all__ = [
    "insert_after",
    "remove_node",
    "rename",
    "replace_layer",
    "replace_layers",
    "subnetwork",
    "swap_head",
    "with_input_shape",
]


def _checked(network: Network) -> Network:
    check_sharing(network, applications(network))
    return network


def replace_layer(network: Network, name: str, layer: Layer) -> Network:
    """Puts another layer at a node; names and connections stay.

    Args:
        network: The network.
        name: The node.
        layer: The new layer.

    Returns:
        A new network.

    Raises:
        UnknownNameError: If no node has the name.
        ShapeError: If the layer, or one after it, cannot be applied; the error names the node.
    """
    check_network(network, "replace_layer()")
    position = network.position(name)
    node = evolve(network.nodes[position], layer=layer)
    return _checked(evolve(network, nodes=(*network.nodes[:position], node, *network.nodes[position + 1 :])))


def replace_layers(network: Network, where: Callable[[Node], bool], by: Callable[[Layer], Layer]) -> Network:
    """Puts other layers at all nodes that a predicate chooses.

    Args:
        network: The network.
        where: Says of a node whether its layer is replaced.
        by: Makes the new layer of the old one.

    Returns:
        A new network.

    Raises:
        ShapeError: If a layer cannot be applied any more; the error names the node.

    Example:
        >>> from cnnbudget import Conv, Net, ReLU, Tanh
        >>> network = Net.input(3, 8, 8).then(Conv(4, 3), ReLU(), Conv(4, 3), ReLU()).network
        >>> changed = replace_layers(network, lambda node: isinstance(node.layer, ReLU), lambda layer: Tanh())
        >>> [str(node.layer) for node in changed.nodes]
        ['Conv(4, 3)', 'Tanh()', 'Conv(4, 3)', 'Tanh()']
    """
    check_network(network, "replace_layers()")
    if not callable(where) or not callable(by):
        raise InvalidTypeError(
            "replace_layers() takes two functions",
            got=f"{shorten(where)}, {shorten(by)}",
            expected="node -> bool, layer -> layer",
        )
    nodes = tuple(evolve(node, layer=by(node.layer)) if where(node) else node for node in network.nodes)
    return _checked(evolve(network, nodes=nodes))


def remove_node(network: Network, name: str) -> Network:
    """Removes a node with one input; whoever read its output reads its input instead. The other names stay.

    Args:
        network: The network.
        name: The node. If others share its parameters, the first of them takes these over.

    Returns:
        A new network.

    Raises:
        UnknownNameError: If no node has the name.
        InvalidValueError: If the node has several inputs, or is the only one.
        ShapeError: If a layer after it cannot be applied any more; the error names the node.
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
    (before,) = node.inputs
    rest = _without_owners([*network.nodes[:position], *network.nodes[position + 1 :]], {name})
    return _checked(
        evolve(
            network,
            nodes=[
                evolve(other, inputs=_redirect(other.inputs, name, before)) if name in other.inputs else other
                for other in rest
            ],
            outputs=tuple(dict.fromkeys(_redirect(network.outputs, name, before))),
        )
    )


def _redirect(names: tuple[str, ...], old: str, new: str) -> tuple[str, ...]:
    return tuple(new if name == old else name for name in names)


def _without_owners(nodes: Iterable[Node], gone: Collection[str]) -> list[Node]:
    """Gives the parameters of nodes that go away to the first of those that shared them."""
    heirs: dict[str, str] = {}
    kept = []
    for node in nodes:
        if node.shares is None or node.shares not in gone:
            kept.append(node)
        else:
            kept.append(evolve(node, shares=heirs.get(node.shares)))
            heirs.setdefault(node.shares, node.name)
    return kept


def insert_after(network: Network, name: str, layer: Layer, *, new: str) -> Network:
    """Inserts a node behind another; whoever read that one's output reads the new one's.

    Args:
        network: The network.
        name: The node, or an input of the network.
        layer: The layer of the new node.
        new: Name of the new node.

    Returns:
        A new network.

    Raises:
        UnknownNameError: If there is no such node or input.
        InvalidValueError: If the new name is taken.
        ShapeError: If a layer after it cannot be applied any more; the error names the node.
    """
    check_network(network, "insert_after()")
    check_name(new, "insert_after(): new")
    position = -1 if any(source.name == name for source in network.inputs) else network.position(name)
    after = [
        evolve(node, inputs=_redirect(node.inputs, name, new)) if name in node.inputs else node
        for node in network.nodes[position + 1 :]
    ]
    nodes = [*network.nodes[: position + 1], Node(new, layer, (name,)), *after]
    return _checked(evolve(network, nodes=nodes, outputs=_redirect(network.outputs, name, new)))


def rename(network: Network, names: Mapping[str, str]) -> Network:
    """Renames nodes and inputs.

    Args:
        network: The network.
        names: New names by old ones; all others stay.

    Returns:
        A new network.

    Raises:
        UnknownNameError: If an old name does not exist.
        InvalidValueError: If two values would have the same name.
    """
    check_network(network, "rename()")
    if not isinstance(names, Mapping):
        raise InvalidTypeError("rename() takes a mapping", got=shorten(names), expected="for example {'conv': 'stem'}")
    known = dict.fromkeys([source.name for source in network.inputs] + [node.name for node in network.nodes])
    for name in names:
        if name not in known:
            raise UnknownNameError("no node or input has this name", got=shorten(name), hint=did_you_mean(name, known))

    def new(name: str) -> str:
        return names.get(name, name)

    return Network(
        [evolve(source, name=new(source.name)) for source in network.inputs],
        [
            Node(
                new(node.name),
                node.layer,
                tuple(map(new, node.inputs)),
                None if node.shares is None else new(node.shares),
            )
            for node in network.nodes
        ],
        tuple(map(new, network.outputs)),
    )


def subnetwork(network: Network, *outputs: str) -> Network:
    """Takes the part of a network that some of its values need: a feature extractor.

    Args:
        network: The network.
        *outputs: Names of the nodes that become its outputs.

    Returns:
        A new network of the nodes on the way to them, in the same order.

    Raises:
        UnknownNameError: If no node has a name.

    Example:
        >>> from cnnbudget import Conv, Flatten, Linear, Net
        >>> network = Net.input(3, 8, 8).then(Conv(4, 3), Conv(8, 3), Flatten(), Linear(10)).network
        >>> [node.name for node in subnetwork(network, "conv2").nodes]
        ['conv', 'conv2']
    """
    check_network(network, "subnetwork()")
    if not outputs:
        raise InvalidValueError("a sub-network needs outputs", got="()", expected="the names of one node or more")
    last = max(network.position(name) for name in outputs)
    needed = set(outputs)
    kept: list[Node] = []
    gone: set[str] = set()
    for node in reversed(network.nodes[: last + 1]):
        if node.name in needed:
            needed.update(node.inputs)
            kept.append(node)
        else:
            gone.add(node.name)
    nodes = _without_owners(reversed(kept), gone)
    return Network([source for source in network.inputs if source.name in needed], nodes, tuple(dict.fromkeys(outputs)))


def swap_head(network: Network, at: str, *parts: Part) -> Network:
    """Cuts a network behind a node and puts another head there.

    Args:
        network: The network.
        at: The last node that stays.
        *parts: Layers and blocks of the new head.

    Returns:
        A new network with one output.

    Raises:
        UnknownNameError: If no node has the name.
        ShapeError: If the head cannot be applied; the error names the node.

    Example:
        >>> from cnnbudget import Conv, Flatten, GlobalAvgPool, Linear, Net
        >>> network = Net.input(3, 8, 8).then(Conv(4, 3), Flatten(), Linear(1000)).network
        >>> changed = swap_head(network, "conv", GlobalAvgPool(), Linear(10))
        >>> [node.name for node in changed.nodes]
        ['conv', 'global_avg_pool', 'linear']
    """
    check_network(network, "swap_head()")
    return _checked(build(subnetwork(network, at), check_parts(parts, "swap_head()")))


def with_input_shape(network: Network, shape: Shape | Mapping[str, Shape]) -> Network:
    """Gives a network inputs of another shape; every layer stays, and all shapes follow.

    Args:
        network: The network.
        shape: ``(C, *spatial)`` of its only input, or shapes by the names of inputs; inputs that are not named stay.

    Returns:
        A new network.

    Raises:
        InvalidValueError: If one shape is given for several inputs.
        UnknownNameError: If no input has a name.
        ShapeError: If a layer cannot be applied any more; the error names the node.

    Example:
        >>> from cnnbudget import Conv, GlobalAvgPool, Linear, Net, specs
        >>> network = Net.input(3, 32, 32).then(Conv(8, 3), GlobalAvgPool(), Linear(10)).network
        >>> specs(with_input_shape(network, (3, 64, 48)))["conv"].shape
        (8, 62, 46)
    """
    check_network(network, "with_input_shape()")
    names = [source.name for source in network.inputs]
    if not isinstance(shape, Mapping):
        if len(names) > 1:
            raise InvalidValueError(
                "with_input_shape() needs a shape for each of several inputs",
                got=shorten(shape),
                expected=f"a mapping of some of {', '.join(map(repr, names))} to shapes",
            )
        shape = {names[0]: shape}
    for name in shape:
        if name not in names:
            raise UnknownNameError("no input has this name", got=shorten(name), hint=did_you_mean(name, names))
    inputs = tuple(evolve(source, shape=shape.get(source.name, source.shape)) for source in network.inputs)
    return _checked(evolve(network, inputs=inputs))
