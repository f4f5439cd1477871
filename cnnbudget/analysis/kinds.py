"""What each layer does in an architecture: a convolution, a pooling, a normalisation, an activation, a merge."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from cnnbudget.analysis.visitor import Use, Visitor, visits
from cnnbudget.layers.base import ElementwiseLayer
from cnnbudget.layers.conv import Conv, ConvTranspose, DepthwiseConv
from cnnbudget.layers.linear import Linear, RadialBasis
from cnnbudget.layers.local import LocallyConnected, TableConv
from cnnbudget.layers.merge import Add, Concat
from cnnbudget.layers.norm import BatchNorm, GroupNorm, InstanceNorm, LayerNorm, LocalResponseNorm
from cnnbudget.layers.pool import AdaptiveAvgPool, AdaptiveMaxPool, GlobalAvgPool, GlobalMaxPool, WindowPool
from cnnbudget.layers.regularize import Dropout, DropPath
from cnnbudget.layers.scale import Identity, Scale

if TYPE_CHECKING:
    from cnnbudget.graph.nodes import Input

__all__ = ["Kind", "KindVisitor"]


class Kind(Enum):
    """What a layer does in an architecture."""

    CONVOLUTION = "convolution"
    DENSE = "dense"
    POOLING = "pooling"
    NORMALISATION = "normalisation"
    ACTIVATION = "activation"
    UNCHANGED = "unchanged"
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

    @visits(Conv, ConvTranspose, DepthwiseConv, LocallyConnected, TableConv)
    def convolution(self, use: Use[Kind]) -> Kind:
        """Weights in a window."""
        return Kind.CONVOLUTION

    @visits(Linear, RadialBasis)
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
    def unchanged(self, use: Use[Kind]) -> Kind:
        """The value itself, or a multiple of it."""
        return Kind.UNCHANGED

    @visits(Add)
    def sum(self, use: Use[Kind]) -> Kind:
        """A sum of paths."""
        return Kind.SUM

    @visits(Concat)
    def concat(self, use: Use[Kind]) -> Kind:
        """Paths side by side."""
        return Kind.CONCAT
