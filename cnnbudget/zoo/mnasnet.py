"""MnasNet: MobileNet v2's units, with kernels, expansions and depths that a search chose by their latency on a phone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnbudget.graph.block import Block, Branch
from cnnbudget.layers.activation import ReLU
from cnnbudget.layers.linear import Linear
from cnnbudget.layers.merge import Add
from cnnbudget.layers.pool import GlobalAvgPool
from cnnbudget.layers.regularize import Dropout
from cnnbudget.net import Net
from cnnbudget.zoo.mobilenet import conv_unit, numbered, round_channels
from cnnbudget.zoo.options import start

if TYPE_CHECKING:
    from cnnbudget.tensors import Shape

__all__ = ["mnasnet0_5", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3"]

_RGB = (3, 224, 224)
_RELU = ReLU(inplace=True)

_STACKS = (
    (3, 3, 24, 3, 2),
    (3, 5, 40, 3, 2),
    (6, 5, 80, 3, 2),
    (6, 3, 96, 2, 1),
    (6, 5, 192, 4, 2),
    (6, 3, 320, 1, 1),
)
"""Expansion, kernel, feature maps, units, and the stride of the first one."""


def _inverted_residual(channels: int, filters: int, expansion: int, kernel: int, stride: int) -> Block:
    """Widens, looks around, and narrows again without an activation; what keeps its shape has a skip connection."""
    inner = expansion * channels
    body = Block(
        conv_unit(inner, 1, _RELU),
        conv_unit(inner, kernel, _RELU, stride=stride, groups=inner),
        conv_unit(filters, 1),
        name="layers",
    )
    return Block(Branch(body, None, merge=Add())) if stride == 1 and channels == filters else body


def _mnasnet(width: float, num_classes: int, input_shape: Shape, dropout: float) -> Net:
    first, channels = round_channels(32 * width), round_channels(16 * width)
    stem = [
        conv_unit(first, 3, _RELU, stride=2),
        conv_unit(first, 3, _RELU, groups=first),
        conv_unit(channels, 1),
    ]
    stacks = []
    for expansion, kernel, maps, depth, stride in _STACKS:
        filters = round_channels(maps * width)
        units = [_inverted_residual(channels, filters, expansion, kernel, stride)]
        units += [_inverted_residual(filters, filters, expansion, kernel, 1)] * (depth - 1)
        stacks.append(Block(*numbered(units)))
        channels = filters
    return (
        start(input_shape)
        .then(*stem, *numbered(stacks, start=8), conv_unit(1280, 1, _RELU), name="layers")
        .then(GlobalAvgPool())
        .then(Dropout(dropout, inplace=True), Linear(num_classes), name="classifier")
    )


def mnasnet0_5(*, num_classes: int = 1000, input_shape: Shape = _RGB, dropout: float = 0.2) -> Net:
    """MnasNet-B1 of half the width, of Tan et al. (2019). The options are those of :func:`mnasnet1_0`.

    Example:
        >>> from cnnbudget.zoo.mnasnet import mnasnet0_5
        >>> mnasnet0_5().parameter_count
        2218512
    """
    return _mnasnet(0.5, num_classes, input_shape, dropout)


def mnasnet0_75(*, num_classes: int = 1000, input_shape: Shape = _RGB, dropout: float = 0.2) -> Net:
    """MnasNet-B1 of three quarters of the width, of Tan et al. (2019). The options are those of :func:`mnasnet1_0`.

    Example:
        >>> from cnnbudget.zoo.mnasnet import mnasnet0_75
        >>> mnasnet0_75().parameter_count
        3170208
    """
    return _mnasnet(0.75, num_classes, input_shape, dropout)


def mnasnet1_0(*, num_classes: int = 1000, input_shape: Shape = _RGB, dropout: float = 0.2) -> Net:
    """MnasNet-B1 of Tan et al., "MnasNet: platform-aware neural architecture search for mobile" (2019), as in torchvision.

    Not the paper's MnasNet-A1 (3.9 million parameters), which has squeeze-and-excitation and other units.

    Args:
        num_classes: Outputs of the last layer.
        input_shape: ``(C, H, W)`` of one image.
        dropout: Rate of the dropout before the last layer.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.mnasnet import mnasnet1_0
        >>> mnasnet1_0().parameter_count, mnasnet1_0().mac_count
        (4383312, 314415872)
    """
    return _mnasnet(1, num_classes, input_shape, dropout)


def mnasnet1_3(*, num_classes: int = 1000, input_shape: Shape = _RGB, dropout: float = 0.2) -> Net:
    """MnasNet-B1 of 1.3 times the width, of Tan et al. (2019). The options are those of :func:`mnasnet1_0`.

    Example:
        >>> from cnnbudget.zoo.mnasnet import mnasnet1_3
        >>> mnasnet1_3().parameter_count
        6282256
    """
    return _mnasnet(1.3, num_classes, input_shape, dropout)
