"""What a network is made of: depth, stacked convolutions, inception modules, skip connections, the ways of the gradient.

Everything is found in the graph and in the costs of its nodes; no network is known by name. A *weight layer* is a layer whose
multiply-accumulates count: convolutions and linear layers. Lengths of paths are numbers of weight layers.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum
from math import prod
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from cnnbudget.analysis.costs import CostTable, NodeCost, costs
from cnnbudget.analysis.dominators import Dominators
from cnnbudget.analysis.visitor import Use, Visitor, missing_rule, visits
from cnnbudget.analysis.walk import walk
from cnnbudget.errors import ShapeError
from cnnbudget.graph.nodes import Network, check_network
from cnnbudget.layers.base import ElementwiseLayer
from cnnbudget.layers.conv import Conv, ConvTranspose, DepthwiseConv
from cnnbudget.layers.linear import Linear
from cnnbudget.layers.local import LocallyConnected
from cnnbudget.layers.merge import Add, Concat
from cnnbudget.layers.norm import BatchNorm, GroupNorm, InstanceNorm, LayerNorm, LocalResponseNorm
from cnnbudget.layers.pool import AdaptiveAvgPool, AdaptiveMaxPool, GlobalAvgPool, GlobalMaxPool, WindowPool
from cnnbudget.layers.regularize import DropPath, Dropout
from cnnbudget.layers.scale import Identity, Scale
from cnnbudget.tables import Column, html_table, text_table
from cnnbudget.tensors import TensorSpec
from cnnbudget.windows import per_axis

if TYPE_CHECKING:
    from cnnbudget.graph.nodes import Input

__all__ = ["InceptionModule", "Kind", "KindVisitor", "NetworkStructure", "Reduction", "Skip", "structure"]

_ROOT = 0


class Kind(Enum):
    """What a layer does in an architecture."""

    CONVOLUTION = "convolution"
    DENSE = "dense"
    POOLING = "pooling"
    NORMALISATION = "normalisation"
    ACTIVATION = "activation"
    PASS = "pass"
    SUM = "sum"
    CONCAT = "concatenation"
    OTHER = "other"


class KindVisitor(Visitor[Kind]):
    """What does each layer do in the architecture? Elementwise layers from another package count as activations."""

    def start(self, source: Input) -> Kind:
        """Answers for an input."""
        return Kind.OTHER

    def visit(self, use: Use[Kind]) -> Kind:
        """Answers for whatever has no part in the facts."""
        return Kind.OTHER

    @visits(Conv, ConvTranspose, DepthwiseConv, LocallyConnected)
    def convolution(self, use: Use[Kind]) -> Kind:
        """Weights in a window."""
        return Kind.CONVOLUTION

    @visits(Linear)
    def dense(self, use: Use[Kind]) -> Kind:
        """Weights between all and all."""
        return Kind.DENSE

    @visits(WindowPool, AdaptiveAvgPool, AdaptiveMaxPool, GlobalAvgPool, GlobalMaxPool)
    def pooling(self, use: Use[Kind]) -> Kind:
        """One value of several, without weights."""
        return Kind.POOLING

    @visits(BatchNorm, LayerNorm, GroupNorm, InstanceNorm, LocalResponseNorm)
    def normalisation(self, use: Use[Kind]) -> Kind:
        """Statistics taken out."""
        return Kind.NORMALISATION

    @visits(ElementwiseLayer)
    def activation(self, use: Use[Kind]) -> Kind:
        """A function of each value."""
        return Kind.ACTIVATION

    @visits(Dropout, DropPath, Scale, Identity)
    def passes(self, use: Use[Kind]) -> Kind:
        """The value itself, or a multiple of it."""
        return Kind.PASS

    @visits(Add)
    def sum(self, use: Use[Kind]) -> Kind:
        """A sum of paths."""
        return Kind.SUM

    @visits(Concat)
    def concat(self, use: Use[Kind]) -> Kind:
        """Paths side by side."""
        return Kind.CONCAT


_TRANSPARENT = {Kind.NORMALISATION, Kind.ACTIVATION, Kind.PASS}
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
        """Whether the shortest path has weights, too: a projection shortcut, not the identity."""
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
        """The facts by their titles: ints, floats for shares, text for kinds."""
        added = self.added_skips
        projections = sum(skip.projection for skip in added)
        return {
            "depth (weight layers on a path)": self.depth,
            "weight layers in all": self.weight_layer_count,
            "parameters": self.parameter_count,
            "  of them in dense layers": self.dense_parameter_count,
            "  share of dense layers": self.dense_share,
            "MACs": self.mac_count,
            "most convolutions without pooling": self.stacked_convolutions,
            "inception modules": len(self.inception_modules),
            "  branches": "/".join(map(str, self.branch_counts)) or "-",
            "1x1 reductions": len(self.reductions),
            "  MACs saved by them": self.reduction_savings,
            "skip connections, added": len(added),
            "  identities": len(added) - projections,
            "  projections": projections,
            "skip connections, concatenated": len(self.skips) - len(added),
            "longest gradient path": self.longest_gradient_path,
            "  without skips": self.longest_without_skips,
            "shortest gradient path": self.shortest_gradient_path,
            "  without skips ": self.shortest_without_skips,
        }

    def kinds(self) -> dict[str, dict[str, int]]:
        """How many layers of every kind of normalisation, pooling and activation there are."""
        return {
            "normalisation": dict(self.normalisations),
            "pooling": dict(self.poolings),
            "activation": dict(self.activations),
        }

    def rows(self) -> list[dict[str, Any]]:
        """The facts as data: one dict a fact, with ``fact`` and ``value``."""
        facts = {title.strip(): value for title, value in self.facts().items()}
        kinds = {f"{kind}: {name}": count for kind, found in self.kinds().items() for name, count in found.items()}
        return [{"fact": fact, "value": value} for fact, value in (facts | kinds).items()]
