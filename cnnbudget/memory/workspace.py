"""A bound on the scratch memory of convolutions: nothing as the lower, unrolled windows (im2col) as the upper model.

Which kernel a framework picks, and so what it needs, depends on the library, the device and what is free: no profile includes it.
Implicit and direct kernels need nothing. The explicit one writes every window as a column and multiplies matrices (Chellapilla et
al., 2006; Jia, "Learning semantic image representations", 2014); with several groups, one group after the other. Backward needs as
much again, at its own time: the columns for the weight's gradient, or as many for the input's. Transforms (Winograd, FFT) can need
more than this.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from cnnbudget.dtypes import FP32, Precision, Role
from cnnbudget.layers.conv import Conv, ConvTranspose, DepthwiseConv
from cnnbudget.layers.local import LocallyConnected
from cnnbudget.tensors import Footprint

if TYPE_CHECKING:
    from cnnbudget.analysis.costs import NodeCost
    from cnnbudget.units import Bytes

__all__ = ["im2col", "im2col_bytes"]


def im2col(cost: NodeCost) -> Footprint:
    """Elements of the unrolled windows of a node's convolution: an upper model of its workspace.

    *Counts*: for every position of the window (in the output; for a transpose in the input) the elements of one group's window,
    ``C / groups * prod(kernel)``. *Does not count*: anything for a window of one element that is moved by one without padding,
    which needs no unrolling; layers that are no convolutions, which have none in this model.

    Args:
        cost: A row of a cost table.

    Returns:
        Elements, affine in the batch; 0 where nothing is unrolled.

    Example:
        >>> from cnnbudget import Conv, Net
        >>> im2col(Net.input(3, 200, 300).then(Conv(100, 3, stride=2, padding="same")).costs()["conv"])
        Footprint(fixed=0, per_sample=405000)
    """
    layer, value, output = cost.node.layer, cost.inputs[0], cost.output
    if isinstance(layer, (Conv, DepthwiseConv)):
        window, positions = layer.weight_shape(value)[1:], output.spatial
    elif isinstance(layer, ConvTranspose):
        window, positions = layer.weight_shape(value)[1:], value.spatial
    elif isinstance(layer, LocallyConnected):
        rank = len(value.spatial)
        window, positions = layer.parameters(cost.inputs)["weight"][rank + 1 :], output.spatial
    else:
        return Footprint()
    if prod(window[1:]) == 1 and layer.stride in {1, (1,) * len(value.spatial)} and output.spatial == value.spatial:
        return Footprint()
    return Footprint(per_sample=prod(window) * prod(positions))


def im2col_bytes(cost: NodeCost, batch: int = 1, precision: Precision = FP32) -> Bytes:
    """Bytes of the unrolled windows: ``im2col`` at a batch and a precision.

    Args:
        cost: A row of a cost table.
        batch: Samples in a batch, all unrolled at once.
        precision: Gives the workspace its dtype.

    Returns:
        Exact bytes of the upper model.

    Example:
        >>> from cnnbudget import Conv, Net
        >>> im2col_bytes(Net.input(3, 224, 224).then(Conv(64, 7, stride=2, padding=3)).costs()["conv"], batch=32)
        Bytes(236027904)
    """
    return im2col(cost).byte_count(batch, precision[Role.WORKSPACE])
