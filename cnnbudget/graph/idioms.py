"""Blocks that have a name in the field: combinations of layers that users would otherwise write out each time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnbudget.graph.block import Block
from cnnbudget.layers.conv import Conv, DepthwiseConv

if TYPE_CHECKING:
    from cnnbudget.windows import Axes, Padding

__all__ = ["separable_conv"]


def separable_conv(
    filters: int,
    kernel: Axes,
    *,
    stride: Axes = 1,
    padding: Padding = 0,
    dilation: Axes = 1,
    multiplier: int = 1,
    bias: bool = True,
) -> Block:
    """Makes a depthwise separable convolution: every channel is filtered alone, then a 1x1 convolution mixes them.

    Source: Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions" (2017).

    Args:
        filters: Feature maps of the output.
        kernel: Size of the window.
        stride: Step of the window.
        padding: As in :class:`~cnnbudget.Conv`.
        dilation: Distance between the positions of a window.
        multiplier: Maps that the first step makes of each channel.
        bias: Whether the mixing step has a bias; the first has none, as in Keras.

    Returns:
        A block of two layers.

    Example:
        >>> from cnnbudget import Conv, Net, separable_conv
        >>> start = Net.input(64, 56, 56)
        >>> separable, full = start.then(separable_conv(128, 3, padding=1)), start.then(Conv(128, 3, padding=1))
        >>> separable.parameter_count, full.parameter_count  # 64*9 + 64*128 + 128 against 64*9*128 + 128
        (8896, 73856)
    """
    return Block(
        DepthwiseConv(kernel, multiplier=multiplier, stride=stride, padding=padding, dilation=dilation, bias=False),
        Conv(filters, 1, bias=bias),
    )
