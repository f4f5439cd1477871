"""Remedies that make another network: blocks left out, a smaller input, pooling earlier, cheaper layers in the place of others."""

from __future__ import annotations

from fnmatch import fnmatchcase
from math import prod
from typing import TYPE_CHECKING, ClassVar

from attrs import evolve, field, frozen

from cnnbudget.advice.remedies import Remedy, axes_of, stride_of
from cnnbudget.advice.scopes import without_scope
from cnnbudget.checks import instance_of, is_number, number_from
from cnnbudget.errors import InvalidValueError, UnknownNameError, did_you_mean, shorten
from cnnbudget.graph.edit import insert_after, remove_node, replace_layer
from cnnbudget.graph.naming import Namer
from cnnbudget.graph.nodes import Input, Network, Node
from cnnbudget.graph.shapes import specs
from cnnbudget.layers.conv import Conv, DepthwiseConv
from cnnbudget.layers.pool import GlobalAvgPool, WindowPool
from cnnbudget.layers.reshape import Flatten
from cnnbudget.memory.scenario import Scenario

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "PoolGlobally",
    "PoolEarlier",
    "RemoveBlock",
    "SeparateConv",
    "SmallerInput",
    "full_convs",
    "with_input_sizes",
]


@frozen
class RemoveBlock(Remedy):
    """One block less, found by its scope; whoever read its output reads its input."""

    cure: ClassVar[str] = "fewer layers"
    reason: ClassVar[str] = "a block that is not there has no maps and no parameters"
    severity: ClassVar[int] = 3

    scope: str = field(validator=instance_of(str, "the scope of a block, for example 'layer3.5'"))

    @property
    def slot(self) -> tuple[type[Remedy], str]:
        """The scope."""
        return type(self), self.scope

    def apply(self, network: Network, scenario: Scenario) -> tuple[Network, Scenario]:
        """Returns the network without the block.

        Raises:
            UnknownNameError: If no node has the scope.
            InvalidValueError: If the scope is no block.
            ShapeError: If what follows cannot be applied to the block's input.
        """
        return without_scope(network, self.scope), scenario

    def magnitude(self, network: Network) -> int:
        """How many nodes go."""
        return sum(node.name.startswith(f"{self.scope}/") for node in network.nodes)

    def describe(self, network: Network, scenario: Scenario) -> str:
        """Says which block goes."""
        return f"without block {self.scope}, {self.magnitude(network)} nodes"


def with_input_sizes(network: Network, sizes: dict[str, tuple[int, ...]]) -> Network:
    """Gives inputs other spatial sizes.

    Args:
        network: The network.
        sizes: New spatial sizes by name of input.

    Returns:
        A new network.

    Raises:
        ShapeError: If a layer cannot be applied any more.
    """
    inputs = [
        Input(source.name, (source.shape[0], *sizes[source.name])) if source.name in sizes else source
        for source in network.inputs
    ]
    changed = evolve(network, inputs=inputs)
    specs(changed)
    return changed


@frozen
class SmallerInput(Remedy):
    """A smaller input: every spatial axis times a factor, rounded down. What is small in it may not be seen any more."""

    cure: ClassVar[str] = "smaller input"
    reason: ClassVar[str] = "all maps shrink with the input, by the square of the factor for images"
    severity: ClassVar[int] = 3
    changes: ClassVar[frozenset[str]] = frozenset({"input"})

    factor: float = field(converter=number_from, validator=is_number(0, 1))

    def apply(self, network: Network, scenario: Scenario) -> tuple[Network, Scenario]:
        """Returns the network on smaller inputs.

        Raises:
            InvalidValueError: If no input has a spatial axis that gets smaller.
            ShapeError: If a layer cannot be applied any more.
        """
        sizes = {
            source.name: tuple([max(1, int(size * self.factor)) for size in source.shape[1:]])
            for source in network.inputs
        }
        if all(sizes[source.name] == source.shape[1:] for source in network.inputs):
            raise InvalidValueError(
                "SmallerInput changes nothing",
                got=", ".join(str(source.shape) for source in network.inputs),
                expected="an input with spatial axes that a factor makes smaller",
            )
        return with_input_sizes(network, sizes), scenario

    def magnitude(self, network: Network) -> int:
        """By how many hundredths it shrinks."""
        return round(100 * (1 - self.factor))

    def describe(self, network: Network, scenario: Scenario) -> str:
        """Says the shapes before and after."""
        after = self.apply(network, scenario)[0]
        return ", ".join(
            f"{old.name}: {'x'.join(map(str, old.shape))} -> {'x'.join(map(str, new.shape))}"
            for old, new in zip(network.inputs, after.inputs, strict=True)
            if old != new
        )


@frozen
class PoolEarlier(Remedy):
    """A pooling layer moved ahead of layers that keep the size of their maps: these work on small maps."""

    cure: ClassVar[str] = "pooling earlier"
    reason: ClassVar[str] = "layers behind the pooling have smaller maps"
    severity: ClassVar[int] = 3

    node: str = field(validator=instance_of(str, "the name of a pooling layer"))
    before: str = field(validator=instance_of(str, "the name of an earlier node"))

    def apply(self, network: Network, scenario: Scenario) -> tuple[Network, Scenario]:
        """Returns the network in which the pooling layer stands ahead of the other node.

        Raises:
            InvalidValueError: If the node is no pooling layer, or the way between them forks.
            ShapeError: If a layer cannot be applied any more.
        """
        if self.before not in pooled_late(network, self.node):
            raise InvalidValueError(
                "this layer cannot be moved there",
                where=f"node {self.node!r}",
                got=shorten(self.before),
                expected="a pooling layer, and a convolution ahead of it on the same chain",
            )
        layer, (source,) = network[self.node].layer, network[self.before].inputs
        return insert_after(remove_node(network, self.node), source, layer, new=self.node), scenario

    def describe(self, network: Network, scenario: Scenario) -> str:
        """Says where it goes."""
        return f"{self.node} ahead of {self.before}"


def late_poolings(network: Network) -> Iterator[tuple[str, Iterator[str]]]:
    """Finds pooling layers that make maps smaller, and what they could be moved ahead of.

    Args:
        network: The network.

    Yields:
        The name of a pooling layer, and the convolutions from which a chain without forks leads to it, the nearest first.
    """
    readers = dict.fromkeys(network.outputs, 1)
    nodes = {node.name: node for node in network.nodes}
    for node in network.nodes:
        for source in node.inputs:
            readers[source] = readers.get(source, 0) + 1
    for node in network.nodes:
        if isinstance(node.layer, WindowPool) and set(axes_of(stride_of(node.layer) or 1)) != {1}:
            yield node.name, _ahead_of(node, nodes, readers)


def _ahead_of(pooling: Node, nodes: dict[str, Node], readers: dict[str, int]) -> Iterator[str]:
    (source,) = pooling.inputs
    while source in nodes and readers[source] == 1 and len(nodes[source].inputs) == 1:
        before = nodes[source]
        (source,) = before.inputs
        if isinstance(before.layer, (Conv, DepthwiseConv)) and readers[source] == 1:
            yield before.name


def pooled_late(network: Network, name: str) -> list[str]:
    """The convolutions that a pooling layer could be moved ahead of, the nearest first.

    Args:
        network: The network.
        name: The pooling layer; for any other layer there are none.

    Returns:
        Names of nodes.
    """
    return next((list(found) for pooling, found in late_poolings(network) if pooling == name), [])


def full_convs(network: Network, pattern: str) -> list[str]:
    """The convolutions that a depthwise separable one can stand for.

    Args:
        network: The network.
        pattern: A pattern of names.

    Returns:
        Names of convolutions with a window of more than one position over several channels that all see each other.
    """
    known = specs(network)
    return [
        node.name
        for node in network.nodes
        if isinstance(node.layer, Conv)
        and fnmatchcase(node.name, pattern)
        and node.shares is None
        and node.layer.groups == 1
        and node.layer.padding_mode == "zeros"
        and known[node.inputs[0]].channels > 1
        and prod(node.layer.weight_shape(known[node.inputs[0]])[2:]) > 1
    ]


@frozen
class SeparateConv(Remedy):
    """A depthwise separable convolution in the place of a full one. It saves parameters and work, and has one more map."""

    cure: ClassVar[str] = "separable convolution"
    reason: ClassVar[str] = "one window for every channel, and a 1x1 convolution that mixes them, have fewer parameters"
    severity: ClassVar[int] = 3

    node: str = field(validator=instance_of(str, "the name of a node, or a pattern"))

    def apply(self, network: Network, scenario: Scenario) -> tuple[Network, Scenario]:
        """Returns the network with the two convolutions instead of the one; the second has its name.

        Raises:
            UnknownNameError: If the pattern fits no node.
            InvalidValueError: If it fits no full convolution.
        """
        names = [node.name for node in network.nodes]
        if not any(fnmatchcase(name, self.node) for name in names):
            raise UnknownNameError("no node has this name", got=shorten(self.node), hint=did_you_mean(self.node, names))
        chosen = set(full_convs(network, self.node))
        shared = {node.shares for node in network.nodes}
        if not chosen or chosen & shared:
            raise InvalidValueError(
                "nothing to make separable",
                where=f"node {self.node!r}",
                expected="a convolution without groups whose window has several positions, and whose weights nobody shares",
            )
        namer = Namer([source.name for source in network.inputs] + names)
        nodes: list[Node] = []
        for node in network.nodes:
            if node.name not in chosen or not isinstance(node.layer, Conv):
                nodes.append(node)
                continue
            full, depthwise = node.layer, namer.fresh(f"{node.name}_depthwise")
            spatial = DepthwiseConv(
                full.kernel, stride=full.stride, padding=full.padding, dilation=full.dilation, bias=False
            )
            nodes += [
                Node(depthwise, spatial, node.inputs),
                Node(node.name, Conv(full.filters, 1, bias=full.bias), (depthwise,)),
            ]
        return evolve(network, nodes=nodes), scenario

    def magnitude(self, network: Network) -> int:
        """How many convolutions."""
        return len(full_convs(network, self.node))

    def describe(self, network: Network, scenario: Scenario) -> str:
        """Says which."""
        count = self.magnitude(network)
        return f"{self.node}: depthwise and 1x1" if count == 1 else f"{count} convolutions: depthwise and 1x1"


@frozen
class PoolGlobally(Remedy):
    """The average of every map in the place of a flattening: the dense layer behind it has one input a map."""

    cure: ClassVar[str] = "global pooling"
    reason: ClassVar[str] = "a dense layer on one value a map has far fewer parameters than one on all positions"
    severity: ClassVar[int] = 3

    node: str = field(validator=instance_of(str, "the name of a node"))

    def apply(self, network: Network, scenario: Scenario) -> tuple[Network, Scenario]:
        """Returns the network with the pooling.

        Raises:
            InvalidValueError: If the node does not flatten maps.
        """
        layer = network[self.node].layer
        if not isinstance(layer, Flatten):
            raise InvalidValueError(
                "this layer flattens nothing",
                where=f"node {self.node!r}",
                got=shorten(layer),
                expected="a Flatten of maps with several positions",
            )
        return replace_layer(network, self.node, GlobalAvgPool()), scenario

    def warnings(self, network: Network, scenario: Scenario) -> tuple[str, ...]:
        """Says what is averaged away."""
        return ("forgets where in a map something is",)

    def describe(self, network: Network, scenario: Scenario) -> str:
        """Says what stands where."""
        return f"{self.node}: Flatten -> GlobalAvgPool"
