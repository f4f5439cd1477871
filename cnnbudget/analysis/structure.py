"""What a network is made of: depth, stacked convolutions, inception modules, skip connections, the ways of the gradient.

Everything is found in the graph and in the costs of its nodes; no network is known by name. A *weight layer* is a layer whose
multiply-accumulates count: convolutions and linear layers. Lengths of paths are numbers of weight layers.
"""

from __future__ import annotations

from collections import Counter
from math import prod
from typing import Any

from attrs import field, frozen

from cnnbudget.analysis.costs import CostTable, NodeCost, costs
from cnnbudget.analysis.dominators import Dominators
from cnnbudget.analysis.kinds import Kind, KindVisitor
from cnnbudget.analysis.visitor import missing_rule
from cnnbudget.analysis.walk import walk
from cnnbudget.errors import ShapeError
from cnnbudget.graph.nodes import Network, check_network
from cnnbudget.layers.conv import Conv
from cnnbudget.tables import Column, html_table, text_table
from cnnbudget.tensors import TensorSpec
from cnnbudget.windows import per_axis

__all__ = ["InceptionModule", "NetworkStructure", "Reduction", "Skip", "structure"]

_ROOT = 0


_TRANSPARENT = {Kind.NORMALISATION, Kind.ACTIVATION, Kind.UNCHANGED}
"""What may stand between a 1x1 convolution and the convolution that it feeds."""


@frozen
class InceptionModule:
    """A value that several branches read, and the concatenation of their ends; at least two branches have weights.

    Args:
        source: The value.
        merge: The node that concatenates.
        branches: How many ends it concatenates.
    """

    source: str
    merge: str
    branches: int


@frozen
class Skip:
    """Paths of different lengths from one value to a node that merges them.

    Args:
        source: The value where they part.
        merge: The node where they meet: a sum, or a concatenation.
        lengths: Weight layers on each path, the most where it branches further.
        added: Whether it is a sum.
    """

    source: str
    merge: str
    lengths: tuple[int, ...]
    added: bool

    @property
    def projection(self) -> bool:
        """Whether the shortest path has weights, too; it is then a projection shortcut, not the identity."""
        return min(self.lengths) > 0


@frozen
class Reduction:
    """A 1x1 convolution to fewer feature maps, and the larger convolutions that it feeds.

    Args:
        node: The 1x1 convolution.
        feeds: The convolutions behind it, with at most normalisation and activation between.
        macs: Multiply-accumulates of all of them.
        macs_without: Multiply-accumulates of ``feeds``, if they read what the 1x1 convolution reads.
    """

    node: str
    feeds: tuple[str, ...]
    macs: int
    macs_without: int

    @property
    def saved(self) -> int:
        """Multiply-accumulates that the 1x1 convolution saves; negative if it costs more than it saves."""
        return self.macs_without - self.macs


@frozen
class NetworkStructure:
    """What a network is made of.

    Args:
        depth: Weight layers on the longest path.
        weight_layer_count: Weight layers in all.
        stacked_convolutions: The most convolutions on a path without a pooling layer between them.
        inception_modules: Inception modules that lie in no other.
        reductions: 1x1 convolutions before larger ones.
        skips: Skip connections, in execution order.
        longest_gradient_path: The longest way of the gradient from an output to a first weight layer, both counted.
        shortest_gradient_path: The shortest.
        longest_without_skips: The longest, if every merge of a skip connection had its longest path alone.
        shortest_without_skips: The shortest, likewise.
        parameter_count: Trainable parameters.
        dense_parameter_count: Those in dense layers (:class:`~cnnbudget.Linear`).
        mac_count: Multiply-accumulates of one sample.
        normalisations: Kinds of normalisation layers, and how many of each.
        poolings: Kinds of pooling layers, likewise.
        activations: Kinds of activations, likewise.
    """

    depth: int
    weight_layer_count: int
    stacked_convolutions: int
    inception_modules: tuple[InceptionModule, ...] = field(repr=False)
    reductions: tuple[Reduction, ...] = field(repr=False)
    skips: tuple[Skip, ...] = field(repr=False)
    longest_gradient_path: int
    shortest_gradient_path: int
    longest_without_skips: int
    shortest_without_skips: int
    parameter_count: int
    dense_parameter_count: int
    mac_count: int
    normalisations: tuple[tuple[str, int], ...]
    poolings: tuple[tuple[str, int], ...]
    activations: tuple[tuple[str, int], ...]

    @property
    def added_skips(self) -> tuple[Skip, ...]:
        """Skip connections that end in a sum."""
        return tuple(skip for skip in self.skips if skip.added)

    @property
    def branch_counts(self) -> tuple[int, ...]:
        """The different numbers of branches of the inception modules, the smallest first."""
        return tuple(sorted({module.branches for module in self.inception_modules}))

    @property
    def reduction_savings(self) -> int:
        """Multiply-accumulates that all reductions save together."""
        return sum(reduction.saved for reduction in self.reductions)

    @property
    def dense_share(self) -> float:
        """The part of the parameters that lies in dense layers, 0 to 1."""
        return self.dense_parameter_count / self.parameter_count if self.parameter_count else 0.0

    def facts(self) -> dict[str, Any]:
        """The facts by their titles: ints, a float for the share, text for the branches."""
        added = self.added_skips
        projections = sum(skip.projection for skip in added)
        return {
            "weight layers on the longest path": self.depth,
            "weight layers in all": self.weight_layer_count,
            "parameters": self.parameter_count,
            "parameters in dense layers": self.dense_parameter_count,
            "share of dense layers": self.dense_share,
            "MACs": self.mac_count,
            "convolutions stacked without pooling": self.stacked_convolutions,
            "inception modules": len(self.inception_modules),
            "branches of a module": " or ".join(map(str, self.branch_counts)) or "-",
            "1x1 reductions": len(self.reductions),
            "MACs that reductions save": self.reduction_savings,
            "skip connections": len(added),
            "identity skips": len(added) - projections,
            "projection skips": projections,
            "concatenated skips": len(self.skips) - len(added),
            "longest gradient path": self.longest_gradient_path,
            "longest path without skips": self.longest_without_skips,
            "shortest gradient path": self.shortest_gradient_path,
            "shortest path without skips": self.shortest_without_skips,
        }

    def kinds(self) -> dict[str, int]:
        """How many layers there are of every kind of normalisation, pooling and activation."""
        groups = {"normalisation": self.normalisations, "pooling": self.poolings, "activation": self.activations}
        return {f"{group}: {name}": count for group, found in groups.items() for name, count in found}

    def rows(self) -> list[dict[str, Any]]:
        """The facts as data: one dict a fact, with ``fact`` and ``value``."""
        return [{"fact": fact, "value": value} for fact, value in (self.facts() | self.kinds()).items()]

    def _cells(self) -> list[tuple[object, ...]]:
        return [(row["fact"], show_fact(row["value"])) for row in self.rows()]

    def __str__(self) -> str:
        return text_table(_COLUMNS, self._cells())

    def _repr_html_(self) -> str:
        return html_table(_COLUMNS, self._cells())


_COLUMNS = (Column("fact"), Column("value", right=True))


def show_fact(value: object) -> object:
    """Shows a share in per cent, and leaves other values to the table.

    Example:
        >>> show_fact(0.9613), show_fact(8)
        ('96.1 %', 8)
    """
    return f"{100 * value:.1f} %" if isinstance(value, float) else value


def structure(network: Network | CostTable) -> NetworkStructure:
    """Finds out what a network is made of.

    Args:
        network: The network, or its costs when they are at hand.

    Returns:
        The facts.

    Raises:
        MissingRuleError: If a layer does not state its parameters or multiply-accumulates.
        ShapeError: If a layer cannot be applied to what reaches it.

    Example:
        >>> from cnnbudget import Block, Conv, Flatten, Linear, Net, ReLU
        >>> body = Block(Conv(8, 3, padding=1), ReLU(), Conv(8, 3, padding=1))
        >>> net = Net.input(3, 16, 16).then(Conv(8, 3, padding=1)).residual(body).then(Flatten(), Linear(10))
        >>> facts = structure(net.network)
        >>> facts.depth, facts.stacked_convolutions, len(facts.skips)
        (4, 3, 1)
        >>> facts.longest_gradient_path, facts.shortest_gradient_path, facts.shortest_without_skips
        (4, 2, 4)
    """
    if not isinstance(network, CostTable):
        check_network(network, "structure()")
    table = network if isinstance(network, CostTable) else costs(network)
    return _Survey(table).result()


class _Survey:
    """One pass over the nodes, which keeps a few numbers for every value; value 0 stands before all inputs."""

    def __init__(self, table: CostTable) -> None:
        self.table = table
        self.kinds = walk(table.network, KindVisitor())
        self.number: dict[str, int] = {}
        self.names = [""]
        self.tree = Dominators()
        # Of every value: weight layers on the longest and the shortest path to it, the same without skips, convolutions since
        # the last pooling, and the convolution that it comes from, with nothing between that mixes maps or positions.
        self.longest, self.shortest, self.long_trunk, self.short_trunk, self.run = [0], [0], [0], [0], [0]
        self.maker: list[NodeCost | None] = [None]
        self.skips: list[Skip] = []
        self.modules: list[InceptionModule] = []
        self.fed: dict[str, list[tuple[NodeCost, int]]] = {}
        for source in table.network.inputs:
            self._add(source.name, [_ROOT], 0, 0, None)
        for cost in table.nodes:
            self._visit(cost)

    def _add(self, name: str, inputs: list[int], weight: int, run: int, maker: NodeCost | None) -> None:
        self.number[name] = len(self.names)
        self.names.append(name)
        self.longest.append(weight + max([self.longest[value] for value in inputs]))
        self.shortest.append(weight + min([self.shortest[value] for value in inputs]))
        self.long_trunk.append(weight + max([self.long_trunk[value] for value in inputs]))
        self.short_trunk.append(weight + min([self.short_trunk[value] for value in inputs]))
        self.run.append(run)
        self.maker.append(maker)
        self.tree.add(inputs)

    def _visit(self, cost: NodeCost) -> None:
        if cost.macs is None:
            raise missing_rule("macs", cost.node, cost.inputs)
        kind, inputs = self.kinds[cost.name], [self.number[name] for name in cost.node.inputs]
        before, run, maker = self.maker[inputs[0]], max([self.run[value] for value in inputs]), None
        if kind is Kind.CONVOLUTION:
            run, maker = run + 1, cost
            if before is not None and (without := _macs_without(before, cost)) is not None:
                self.fed.setdefault(before.name, []).append((cost, without))
        elif kind is Kind.POOLING:
            run = 0
        elif kind in _TRANSPARENT:
            maker = before
        self._add(cost.name, inputs, int(cost.macs > 0), run, maker)
        if len(inputs) > 1 and kind in {Kind.SUM, Kind.CONCAT}:
            self._merge(cost, kind, inputs)

    def _merge(self, cost: NodeCost, kind: Kind, inputs: list[int]) -> None:
        """Looks at a merge: where its paths part, and how long they are."""
        value = self.number[cost.name]
        source = self.tree.parent(value)
        if source == _ROOT:  # they come from different inputs
            return
        lengths = [self.longest[end] - self.longest[source] for end in inputs]
        if kind is Kind.CONCAT and source not in inputs and sum(length > 0 for length in lengths) > 1:
            self.modules.append(InceptionModule(self.names[source], cost.name, len(inputs)))
        elif min(lengths) < max(lengths) and (kind is Kind.SUM or min(lengths) == 0):
            self.skips.append(Skip(self.names[source], cost.name, tuple(lengths), added=kind is Kind.SUM))
            trunk = [end for end, length in zip(inputs, lengths, strict=True) if length == max(lengths)]
            weight = int(bool(cost.macs))  # a merge from another package may have some
            self.long_trunk[value] = weight + max([self.long_trunk[end] for end in trunk])
            self.short_trunk[value] = weight + min([self.short_trunk[end] for end in trunk])

    def _outermost(self) -> tuple[InceptionModule, ...]:
        """The modules that are no part of a branch of another one."""
        inside: set[str] = set()
        found = []
        for module in reversed(self.modules):
            if module.merge in inside:
                continue
            found.append(module)
            waiting = list(self.table.network[module.merge].inputs)
            while waiting:
                name = waiting.pop()
                if name != module.source and name not in inside:
                    inside.add(name)
                    waiting += self.table.network[name].inputs
        return tuple(reversed(found))

    def _reduction(self, reducer: NodeCost, fed: list[tuple[NodeCost, int]]) -> Reduction:
        macs = [cost.macs or 0 for cost in (reducer, *(cost for cost, _ in fed))]
        return Reduction(
            reducer.name, tuple([cost.name for cost, _ in fed]), sum(macs), sum([without for _, without in fed])
        )

    def _count(self, kind: Kind) -> tuple[tuple[str, int], ...]:
        layers = [node.layer for node in self.table.network.nodes if self.kinds[node.name] is kind]
        return tuple(Counter([type(layer).__name__ for layer in layers]).items())

    def result(self) -> NetworkStructure:
        table = self.table
        outputs = [self.number[name] for name in table.network.outputs]
        return NetworkStructure(
            depth=max(self.longest),
            weight_layer_count=sum([bool(cost.macs) for cost in table]),
            stacked_convolutions=max(self.run),
            inception_modules=self._outermost(),
            reductions=tuple([self._reduction(table[name], fed) for name, fed in self.fed.items()]),
            skips=tuple(self.skips),
            longest_gradient_path=max([self.longest[value] for value in outputs]),
            shortest_gradient_path=min([self.shortest[value] for value in outputs]),
            longest_without_skips=max([self.long_trunk[value] for value in outputs]),
            shortest_without_skips=min([self.short_trunk[value] for value in outputs]),
            parameter_count=table.parameter_count,
            dense_parameter_count=sum(
                [cost.parameter_count or 0 for cost in table if self.kinds[cost.name] is Kind.DENSE]
            ),
            mac_count=table.mac_count,
            normalisations=self._count(Kind.NORMALISATION),
            poolings=self._count(Kind.POOLING),
            activations=self._count(Kind.ACTIVATION),
        )


def _window_size(cost: NodeCost) -> int:
    layer: Any = cost.node.layer
    return prod(per_axis(layer.kernel, len(cost.output.spatial), "kernel"))


def _macs_without(reducer: NodeCost, cost: NodeCost) -> int | None:
    """What a convolution would cost if it read what a 1x1 convolution before it reads.

    Args:
        reducer: The convolution before it.
        cost: The convolution.

    Returns:
        Multiply-accumulates; ``None`` if the one before is no 1x1 convolution to fewer maps, this one has no larger window, or
        cannot read so many maps (some depthwise and grouped ones).
    """
    layer, maps = cost.node.layer, reducer.inputs[0].channels
    if not (isinstance(reducer.node.layer, Conv) and isinstance(layer, Conv)):
        return None
    if _window_size(reducer) > 1 or _window_size(cost) == 1 or reducer.output.channels >= maps:
        return None
    value = TensorSpec((maps, *cost.inputs[0].spatial))
    try:
        return layer.macs((value,), layer.infer((value,)))
    except ShapeError:
        return None
