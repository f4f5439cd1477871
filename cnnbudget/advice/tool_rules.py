"""What torchinfo, torchsummary, fvcore, thop and ptflops count for one layer.

The rules were read in the sources of torchinfo 1.8.0, torchsummary 1.5.1, fvcore 0.1.5.post20221221, thop 0.1.1 and ptflops 0.7.5.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from attrs import frozen

from cnnbudget.analysis.visitor import Use, Visitor, visits
from cnnbudget.layers import activation as act
from cnnbudget.layers.base import ElementwiseLayer
from cnnbudget.layers.conv import Conv, ConvTranspose, DepthwiseConv
from cnnbudget.layers.linear import Linear
from cnnbudget.layers.norm import BatchNorm, GroupNorm, InstanceNorm, LayerNorm, LocalResponseNorm
from cnnbudget.layers.pool import (
    AdaptiveAvgPool,
    AdaptiveMaxPool,
    AvgPool,
    GlobalAvgPool,
    GlobalMaxPool,
    LPPool,
    MaxPool,
)
from cnnbudget.layers.rearrange import PixelShuffle
from cnnbudget.layers.regularize import Dropout
from cnnbudget.layers.resize import Upsample
from cnnbudget.layers.scale import Scale

if TYPE_CHECKING:
    from cnnbudget.graph.nodes import Input

__all__ = ["Counted", "ToolVisitor"]


@frozen
class Counted:
    """What the tools count for one node and one sample."""

    fvcore: int = 0
    fvcore_activations: int = 0
    thop: int = 0
    ptflops: int = 0
    ptflops_aten: int = 0
    torchinfo: int = 0
    torchinfo_outputs: int = 0
    torchsummary_outputs: int = 0
    torchsummary_parameters: int = 0
    torchinfo_parameters: int = 0
    thop_parameters: int = 0


class ToolVisitor(Visitor[Counted]):
    """What does each tool count for a node?

    Args:
        functions: Nodes that a module calls as functions: tools that look at modules do not see them.
    """

    def __init__(self, functions: frozenset[str]) -> None:
        self.functions = functions

    def start(self, source: Input) -> Counted:
        """Answers for an input: no tool counts it here."""
        return Counted()

    def visit(self, use: Use[Counted]) -> Counted:
        """Answers for what is a function in PyTorch, such as a sum: it is no module, and no tool has a rule for it.

        A layer with parameters, from another package or unknown to PyTorch, is a module that no tool but the two with
        general rules knows.
        """
        return self._module(use) if use.layer.parameters(use.inputs) else Counted()

    def _module(
        self,
        use: Use[Counted],
        *,
        convolution: bool = False,
        thop: int | None = None,
        function: int = 0,
        **counts: int,
    ) -> Counted:
        """Adds what the tools count for any module: outputs, and parameters as multiplications (torchinfo).

        ``function`` is what ptflops counts in the functions that the module calls; ``thop`` is ``None`` where thop has no
        rule for the module, and so does not see its parameters.
        """
        parameters = sum(map(prod, (use.layer.parameters(use.inputs) or {}).values()))
        if use.node.name in self.functions and not parameters:
            return Counted(fvcore=counts.get("fvcore", 0), ptflops=function)
        counts["ptflops"] = counts.get("ptflops", 0) + function
        own = 0 if use.node.shares is not None else parameters
        positions = prod(use.output.spatial) if convolution else 1
        return Counted(
            torchinfo=parameters * positions,
            torchinfo_outputs=use.output.element_count if parameters else 0,
            torchsummary_outputs=use.output.element_count,
            torchsummary_parameters=parameters,
            torchinfo_parameters=own,
            thop_parameters=own if thop is not None else 0,
            thop=thop or 0,
            **counts,
        )

    @visits(Conv, DepthwiseConv, ConvTranspose)
    def convolution(self, use: Use[Counted]) -> Counted:
        """Counts multiplications; the tools differ in the biases, and thop takes a transpose for a convolution."""
        layer: Any = use.layer
        (value,) = use.inputs
        macs = layer.macs(use.inputs, use.output)
        biases = use.output.element_count if layer.bias else 0
        weight = layer.weight_shape(value)
        channels = value.channels // (value.channels if isinstance(layer, DepthwiseConv) else layer.groups)
        return self._module(
            use,
            convolution=True,
            fvcore=macs,
            fvcore_activations=use.output.element_count,
            thop=use.output.element_count * channels * prod(weight[2:]),
            ptflops=macs + biases,
            ptflops_aten=macs + biases,
        )

    @visits(Linear)
    def linear(self, use: Use[Counted]) -> Counted:
        """Counts multiplications; ptflops adds the biases."""
        layer: Any = use.layer
        macs = layer.macs(use.inputs, use.output)
        biases = use.output.element_count if layer.bias else 0
        return self._module(
            use,
            fvcore=macs,
            fvcore_activations=use.output.element_count,
            thop=macs,
            ptflops=macs + biases,
            ptflops_aten=macs + biases,
        )

    @visits(BatchNorm, InstanceNorm)
    def tracking(self, use: Use[Counted]) -> Counted:
        """Counts per element: fvcore 2 for a batch norm that only scales and shifts, and 5 for statistics."""
        layer: Any = use.layer
        size, affine = use.output.element_count, layer.affine
        scales = isinstance(layer, BatchNorm) and layer.track_running_stats
        fvcore = (1 + affine) * size if scales else (4 + affine) * size
        return self._module(use, fvcore=fvcore, thop=(2 + 2 * affine) * size, ptflops=(1 + affine) * size)

    @visits(LayerNorm)
    def layer_norm(self, use: Use[Counted]) -> Counted:
        """Counts per element; ptflops does not find out that a layer norm is affine."""
        size, affine = use.output.element_count, bool(use.layer.parameters(use.inputs))
        return self._module(use, fvcore=(4 + affine) * size, thop=(2 + 2 * affine) * size, ptflops=size)

    @visits(GroupNorm)
    def group_norm(self, use: Use[Counted]) -> Counted:
        """Counts per element; thop has no rule."""
        size, affine = use.output.element_count, bool(use.layer.parameters(use.inputs))
        return self._module(use, fvcore=(4 + affine) * size, ptflops=(1 + affine) * size)

    @visits(LocalResponseNorm)
    def local_response(self, use: Use[Counted]) -> Counted:
        """Ptflops sees the functions: three products and sums, and an average over the padded channels."""
        layer: Any = use.layer
        value = use.output
        averaged = (value.channels + layer.size - 1) * prod(value.spatial)
        return self._module(use, function=3 * value.element_count + averaged)

    @visits(ElementwiseLayer, Dropout, PixelShuffle)
    def other(self, use: Use[Counted]) -> Counted:
        """Modules for which no tool has a rule."""
        return self._module(use)

    @visits(Scale)
    def scale(self, use: Use[Counted]) -> Counted:
        """A parameter of the block around it, and no module."""
        return Counted()

    @visits(act.ReLU, act.ELU, act.GELU, act.PReLU)
    def twice(self, use: Use[Counted]) -> Counted:
        """Ptflops counts an element twice: it hooks the module, and the function that the module calls."""
        size = use.output.element_count
        thop = size if isinstance(use.layer, act.PReLU) else 0
        return self._module(use, ptflops=size, function=size, thop=thop)

    @visits(act.ReLU6, act.LeakyReLU)
    def once(self, use: Use[Counted]) -> Counted:
        """Ptflops hooks the module; it calls another function."""
        return self._module(use, ptflops=use.output.element_count)

    @visits(act.SiLU)
    def silu(self, use: Use[Counted]) -> Counted:
        """Ptflops hooks the function alone."""
        return self._module(use, function=use.output.element_count)

    @visits(act.Softmax)
    def softmax(self, use: Use[Counted]) -> Counted:
        """Thop counts exponentials, additions and divisions."""
        layer: Any = use.layer
        size = use.output.element_count
        features = use.output.shape[layer.axis]
        return self._module(use, function=size, thop=size // features * (3 * features - 1))

    @visits(MaxPool, AdaptiveMaxPool, GlobalMaxPool)
    def max_pool(self, use: Use[Counted]) -> Counted:
        """Ptflops counts the input, twice."""
        size = use.inputs[0].element_count
        return self._module(use, ptflops=size, function=size)

    @visits(AvgPool)
    def avg_pool(self, use: Use[Counted]) -> Counted:
        """Thop counts the output."""
        size = use.inputs[0].element_count
        return self._module(use, ptflops=size, function=size, thop=use.output.element_count)

    @visits(LPPool)
    def lp_pool(self, use: Use[Counted]) -> Counted:
        """Ptflops sees the functions: an average of the input, a ReLU and a product of the output."""
        return self._module(use, function=use.inputs[0].element_count + 2 * use.output.element_count)

    @visits(AdaptiveAvgPool, GlobalAvgPool)
    def adaptive(self, use: Use[Counted]) -> Counted:
        """Fvcore counts the input (of two spatial axes), thop a window and a division for every output."""
        value, maps = use.inputs[0], use.output.element_count
        sizes = use.output.spatial or (1,) * len(value.spatial)
        window = 1.0
        for before, after in zip(value.spatial, sizes, strict=True):
            window *= before / after
        return self._module(
            use,
            fvcore=value.element_count if len(value.spatial) == 2 else 0,
            thop=int((window + 1) * maps),
            ptflops=value.element_count,
            function=value.element_count,
        )

    @visits(Upsample)
    def upsample(self, use: Use[Counted]) -> Counted:
        """The tools count operations of the interpolation by its mode."""
        layer: Any = use.layer
        value, size, rank = use.inputs[0], use.output.element_count, len(use.output.spatial)
        thop = {"nearest": 1, "linear": 5, "bilinear": 11, "bicubic": 259}.get(layer.mode, 0) * size
        fvcore = {"nearest": 1, "bilinear": 4}.get(layer.mode, 0) * size if rank == 2 else 0
        function: float = size
        if layer.size is None:
            scale = layer.scale
            function = value.element_count * (prod(scale) if isinstance(scale, tuple) else scale**rank)
        if layer.mode == "area":  # which calls adaptive average pooling
            fvcore = value.element_count if rank == 2 else 0
            function += value.element_count
        return self._module(use, fvcore=fvcore, thop=thop, ptflops=size, function=int(function))
