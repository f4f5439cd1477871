"""ShuffleNet v2: half of the maps pass every unit untouched, and a shuffle mixes the halves.

Instead of a sum, a unit ends with a concatenation: no arithmetic, and the maps keep their number. Its halves are views of its
input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnbudget.graph.block import Block, Branch
from cnnbudget.layers.activation import ReLU
from cnnbudget.layers.linear import Linear
from cnnbudget.layers.pool import GlobalAvgPool, MaxPool
from cnnbudget.layers.rearrange import ChannelShuffle
from cnnbudget.layers.reshape import Split
from cnnbudget.net import Net
from cnnbudget.zoo.mobilenet import conv_unit, numbered
from cnnbudget.zoo.options import start

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cnnbudget.tensors import Shape

__all__ = ["shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "shufflenet_v2_x1_5", "shufflenet_v2_x2_0"]

_RGB = (3, 224, 224)
_RELU = ReLU(inplace=True)
_STEM = 24
_DEPTHS = (4, 8, 4)


def _body(half: int, stride: int) -> Block:
    """1x1, depthwise 3x3 without an activation, 1x1."""
    return Block(
        conv_unit(half, 1, _RELU),
        conv_unit(half, 3, stride=stride, groups=half),
        conv_unit(half, 1, _RELU),
        name="branch2",
    )


def _unit(half: int) -> Block:
    """One half as it is, the other through the body; then the channels are shuffled."""
    return Block(Branch(Split(2, 0), Block(Split(2, 1), _body(half, 1))), ChannelShuffle(2))


def _reducing_unit(channels: int, half: int) -> Block:
    """The first unit of a stage: both ways read everything and halve the maps' size."""
    shortcut = Block(conv_unit(channels, 3, stride=2, groups=channels), conv_unit(half, 1, _RELU), name="branch1")
    return Block(Branch(shortcut, _body(half, 2)), ChannelShuffle(2))


def _stages(widths: Sequence[int]) -> Iterator[Block]:
    channels = _STEM
    for number, (maps, depth) in enumerate(zip(widths, _DEPTHS, strict=True), start=2):
        units = [_reducing_unit(channels, maps // 2), *[_unit(maps // 2)] * (depth - 1)]
        yield Block(*numbered(units), name=f"stage{number}")
        channels = maps


def _shufflenet_v2(widths: Sequence[int], last: int, num_classes: int, input_shape: Shape) -> Net:
    return (
        start(input_shape)
        .then(conv_unit(_STEM, 3, _RELU, stride=2), name="conv1")
        .then(MaxPool(3, stride=2, padding=1))
        .then(*_stages(widths))
        .then(conv_unit(last, 1, _RELU), name="conv5")
        .then(GlobalAvgPool(), Linear(num_classes))
    )


def shufflenet_v2_x0_5(*, num_classes: int = 1000, input_shape: Shape = _RGB) -> Net:
    """ShuffleNet v2 of half the width, of Ma et al. (2018). The options are those of :func:`shufflenet_v2_x1_0`.

    Example:
        >>> from cnnbudget.zoo.shufflenet import shufflenet_v2_x0_5
        >>> shufflenet_v2_x0_5().parameter_count
        1366792
    """
    return _shufflenet_v2((48, 96, 192), 1024, num_classes, input_shape)


def shufflenet_v2_x1_0(*, num_classes: int = 1000, input_shape: Shape = _RGB) -> Net:
    """ShuffleNet v2 of Ma et al., "ShuffleNet V2: practical guidelines for efficient CNN architecture design" (2018).

    As in torchvision. The paper prints 146 million multiply-accumulates; for every width its figure is one percent above what
    convolutions and linear layers have, so it counts something more.

    Args:
        num_classes: Outputs of the last layer.
        input_shape: ``(C, H, W)`` of one image.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.shufflenet import shufflenet_v2_x1_0
        >>> shufflenet_v2_x1_0().parameter_count, shufflenet_v2_x1_0().mac_count
        (2278604, 144907992)
    """
    return _shufflenet_v2((116, 232, 464), 1024, num_classes, input_shape)


def shufflenet_v2_x1_5(*, num_classes: int = 1000, input_shape: Shape = _RGB) -> Net:
    """ShuffleNet v2 of one and a half times the width, of Ma et al. (2018). The options are those of :func:`shufflenet_v2_x1_0`.

    Example:
        >>> from cnnbudget.zoo.shufflenet import shufflenet_v2_x1_5
        >>> shufflenet_v2_x1_5().parameter_count
        3503624
    """
    return _shufflenet_v2((176, 352, 704), 1024, num_classes, input_shape)


def shufflenet_v2_x2_0(*, num_classes: int = 1000, input_shape: Shape = _RGB) -> Net:
    """ShuffleNet v2 of twice the width, of Ma et al. (2018). The options are those of :func:`shufflenet_v2_x1_0`.

    Example:
        >>> from cnnbudget.zoo.shufflenet import shufflenet_v2_x2_0
        >>> shufflenet_v2_x2_0().parameter_count
        7393996
    """
    return _shufflenet_v2((244, 488, 976), 2048, num_classes, input_shape)
