"""EfficientNet: one small network that a search found, and rules by which depth, width and image grow together.

Version 2 searches again, with *fused* units in the early stages: one full convolution in place of the depthwise and the first
pointwise one, which is more arithmetic and less memory traffic. Every unit with a skip connection drops out as a whole in
training, the later the more often (*stochastic depth*).
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, NamedTuple

from cnnbudget.graph.block import Block, Branch
from cnnbudget.layers.activation import Sigmoid, SiLU
from cnnbudget.layers.linear import Linear
from cnnbudget.layers.merge import Add
from cnnbudget.layers.pool import AdaptiveAvgPool
from cnnbudget.layers.regularize import Dropout, DropPath
from cnnbudget.layers.reshape import Flatten
from cnnbudget.net import Net
from cnnbudget.zoo.mobilenet import conv_unit, numbered, round_channels
from cnnbudget.zoo.mobilenet_v3 import squeeze_excitation
from cnnbudget.zoo.options import start

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnnbudget.tensors import Shape

__all__ = [
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "efficientnet_b3",
    "efficientnet_b4",
    "efficientnet_b5",
    "efficientnet_b6",
    "efficientnet_b7",
    "efficientnet_v2_s",
    "efficientnet_v2_m",
    "efficientnet_v2_l",
]

_SWISH = SiLU(inplace=True)


class _Stage(NamedTuple):
    """One row of a paper's table."""

    expansion: int
    kernel: int
    stride: int
    filters: int
    depth: int
    fused: bool = False

    def scaled(self, width: float, depth: float) -> _Stage:
        """The stage of a larger network."""
        return self._replace(filters=round_channels(self.filters * width), depth=ceil(self.depth * depth))


_B0 = (
    _Stage(1, 3, 1, 16, 1),
    _Stage(6, 3, 2, 24, 2),
    _Stage(6, 5, 2, 40, 2),
    _Stage(6, 3, 2, 80, 3),
    _Stage(6, 5, 1, 112, 3),
    _Stage(6, 5, 2, 192, 4),
    _Stage(6, 3, 1, 320, 1),
)
_V2_S = (
    _Stage(1, 3, 1, 24, 2, fused=True),
    _Stage(4, 3, 2, 48, 4, fused=True),
    _Stage(4, 3, 2, 64, 4, fused=True),
    _Stage(4, 3, 2, 128, 6),
    _Stage(6, 3, 1, 160, 9),
    _Stage(6, 3, 2, 256, 15),
)
_V2_M = (
    _Stage(1, 3, 1, 24, 3, fused=True),
    _Stage(4, 3, 2, 48, 5, fused=True),
    _Stage(4, 3, 2, 80, 5, fused=True),
    _Stage(4, 3, 2, 160, 7),
    _Stage(6, 3, 1, 176, 14),
    _Stage(6, 3, 2, 304, 18),
    _Stage(6, 3, 1, 512, 5),
)
_V2_L = (
    _Stage(1, 3, 1, 32, 4, fused=True),
    _Stage(4, 3, 2, 64, 7, fused=True),
    _Stage(4, 3, 2, 96, 7, fused=True),
    _Stage(4, 3, 2, 192, 10),
    _Stage(6, 3, 1, 224, 19),
    _Stage(6, 3, 2, 384, 25),
    _Stage(6, 3, 1, 640, 7),
)


def _mbconv(channels: int, stage: _Stage, stride: int) -> Block:
    """MobileNet's inverted residual with squeeze-and-excitation; a quarter of the unit's input is what it squeezes to."""
    inner = round_channels(stage.expansion * channels)
    steps = [
        *([] if inner == channels else [conv_unit(inner, 1, _SWISH)]),
        conv_unit(inner, stage.kernel, _SWISH, stride=stride, groups=inner),
        squeeze_excitation(inner, max(1, channels // 4), _SWISH, Sigmoid()),
        conv_unit(stage.filters, 1),
    ]
    return Block(*numbered(steps), name="block")


def _fused_mbconv(channels: int, stage: _Stage, stride: int) -> Block:
    """A full convolution that widens, and a 1x1 one that narrows again; where nothing is widened, the first one alone."""
    inner = round_channels(stage.expansion * channels)
    steps = [conv_unit(stage.filters, stage.kernel, _SWISH, stride=stride)]
    if inner != channels:
        steps = [conv_unit(inner, stage.kernel, _SWISH, stride=stride), conv_unit(stage.filters, 1)]
    return Block(*numbered(steps), name="block")


def _stages(channels: int, stages: Sequence[_Stage], drop_path: float) -> list[Block]:
    """The units of every stage; what keeps its shape has a skip connection, and drops out."""
    drop_path = DropPath(drop_path).rate  # which checks it
    total, number = sum(stage.depth for stage in stages), 0
    blocks = []
    for stage in stages:
        units = []
        for stride in (stage.stride, *[1] * (stage.depth - 1)):
            unit = (_fused_mbconv if stage.fused else _mbconv)(channels, stage, stride)
            if stride == 1 and channels == stage.filters:
                dropped = Block(unit, DropPath(drop_path * number / total))
                unit = Block(Branch(dropped, None, merge=Add(inplace=True)))
            units.append(unit)
            channels, number = stage.filters, number + 1
        blocks.append(Block(*numbered(units)))
    return blocks


def _efficientnet(
    stages: Sequence[_Stage],
    stem: int,
    last: int,
    num_classes: int,
    input_shape: Shape,
    dropout: float,
    drop_path: float,
) -> Net:
    features = [conv_unit(stem, 3, _SWISH, stride=2), *_stages(stem, stages, drop_path), conv_unit(last, 1, _SWISH)]
    return (
        start(input_shape)
        .then(*numbered(features), name="features")
        .then(AdaptiveAvgPool(1), Flatten())
        .then(Dropout(dropout, inplace=True), Linear(num_classes), name="classifier")
    )


def _version_1(
    width: float, depth: float, num_classes: int, input_shape: Shape, dropout: float, drop_path: float
) -> Net:
    stages = [stage.scaled(width, depth) for stage in _B0]
    stem, last = round_channels(32 * width), 4 * stages[-1].filters
    return _efficientnet(stages, stem, last, num_classes, input_shape, dropout, drop_path)


def efficientnet_b0(
    *, num_classes: int = 1000, input_shape: Shape = (3, 224, 224), dropout: float = 0.2, drop_path: float = 0.2
) -> Net:
    """EfficientNet-B0 of Tan and Le, "EfficientNet: rethinking model scaling for convolutional neural networks" (2019).

    As in torchvision. The paper prints 5.3 million parameters and 0.39 billion multiply-accumulates.

    Args:
        num_classes: Outputs of the last layer.
        input_shape: ``(C, H, W)`` of one image.
        dropout: Rate of the dropout before the last layer.
        drop_path: How often the last unit would drop out; those before it less often, down to 0.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.efficientnet import efficientnet_b0
        >>> efficientnet_b0().parameter_count, efficientnet_b0().mac_count
        (5288548, 385814752)
    """
    return _version_1(1, 1, num_classes, input_shape, dropout, drop_path)


def efficientnet_b1(
    *, num_classes: int = 1000, input_shape: Shape = (3, 240, 240), dropout: float = 0.2, drop_path: float = 0.2
) -> Net:
    """EfficientNet-B1 of Tan and Le (2019): the same width, 1.1 times the depth.

    The options are those of :func:`efficientnet_b0`.

    Example:
        >>> from cnnbudget.zoo.efficientnet import efficientnet_b1
        >>> efficientnet_b1().parameter_count
        7794184
    """
    return _version_1(1, 1.1, num_classes, input_shape, dropout, drop_path)


def efficientnet_b2(
    *, num_classes: int = 1000, input_shape: Shape = (3, 288, 288), dropout: float = 0.3, drop_path: float = 0.2
) -> Net:
    """EfficientNet-B2 of Tan and Le (2019): 1.1 times the width, 1.2 times the depth.

    The options are those of :func:`efficientnet_b0`. torchvision's images have 288 pixels, the paper's 260. The paper prints 9.2
    million parameters; there are 9.1 million.

    Example:
        >>> from cnnbudget.zoo.efficientnet import efficientnet_b2
        >>> efficientnet_b2().parameter_count
        9109994
    """
    return _version_1(1.1, 1.2, num_classes, input_shape, dropout, drop_path)


def efficientnet_b3(
    *, num_classes: int = 1000, input_shape: Shape = (3, 300, 300), dropout: float = 0.3, drop_path: float = 0.2
) -> Net:
    """EfficientNet-B3 of Tan and Le (2019): 1.2 times the width, 1.4 times the depth.

    The options are those of :func:`efficientnet_b0`.

    Example:
        >>> from cnnbudget.zoo.efficientnet import efficientnet_b3
        >>> efficientnet_b3().parameter_count
        12233232
    """
    return _version_1(1.2, 1.4, num_classes, input_shape, dropout, drop_path)


def efficientnet_b4(
    *, num_classes: int = 1000, input_shape: Shape = (3, 380, 380), dropout: float = 0.4, drop_path: float = 0.2
) -> Net:
    """EfficientNet-B4 of Tan and Le (2019): 1.4 times the width, 1.8 times the depth.

    The options are those of :func:`efficientnet_b0`.

    Example:
        >>> from cnnbudget.zoo.efficientnet import efficientnet_b4
        >>> efficientnet_b4().parameter_count
        19341616
    """
    return _version_1(1.4, 1.8, num_classes, input_shape, dropout, drop_path)


def efficientnet_b5(
    *, num_classes: int = 1000, input_shape: Shape = (3, 456, 456), dropout: float = 0.4, drop_path: float = 0.2
) -> Net:
    """EfficientNet-B5 of Tan and Le (2019): 1.6 times the width, 2.2 times the depth.

    The options are those of :func:`efficientnet_b0`.

    Example:
        >>> from cnnbudget.zoo.efficientnet import efficientnet_b5
        >>> efficientnet_b5().parameter_count
        30389784
    """
    return _version_1(1.6, 2.2, num_classes, input_shape, dropout, drop_path)


def efficientnet_b6(
    *, num_classes: int = 1000, input_shape: Shape = (3, 528, 528), dropout: float = 0.5, drop_path: float = 0.2
) -> Net:
    """EfficientNet-B6 of Tan and Le (2019): 1.8 times the width, 2.6 times the depth.

    The options are those of :func:`efficientnet_b0`.

    Example:
        >>> from cnnbudget.zoo.efficientnet import efficientnet_b6
        >>> efficientnet_b6().parameter_count
        43040704
    """
    return _version_1(1.8, 2.6, num_classes, input_shape, dropout, drop_path)


def efficientnet_b7(
    *, num_classes: int = 1000, input_shape: Shape = (3, 600, 600), dropout: float = 0.5, drop_path: float = 0.2
) -> Net:
    """EfficientNet-B7 of Tan and Le (2019): 2 times the width, 3.1 times the depth.

    The options are those of :func:`efficientnet_b0`.

    Example:
        >>> from cnnbudget.zoo.efficientnet import efficientnet_b7
        >>> efficientnet_b7().parameter_count
        66347960
    """
    return _version_1(2, 3.1, num_classes, input_shape, dropout, drop_path)


def efficientnet_v2_s(
    *, num_classes: int = 1000, input_shape: Shape = (3, 384, 384), dropout: float = 0.2, drop_path: float = 0.2
) -> Net:
    """EfficientNetV2-S of Tan and Le, "EfficientNetV2: smaller models and faster training" (2021), as in torchvision.

    The options are those of :func:`efficientnet_b0`.

    Example:
        >>> from cnnbudget.zoo.efficientnet import efficientnet_v2_s
        >>> efficientnet_v2_s().parameter_count
        21458488
    """
    return _efficientnet(_V2_S, 24, 1280, num_classes, input_shape, dropout, drop_path)


def efficientnet_v2_m(
    *, num_classes: int = 1000, input_shape: Shape = (3, 480, 480), dropout: float = 0.3, drop_path: float = 0.2
) -> Net:
    """EfficientNetV2-M of Tan and Le (2021), as in torchvision. The options are those of :func:`efficientnet_b0`.

    Example:
        >>> from cnnbudget.zoo.efficientnet import efficientnet_v2_m
        >>> efficientnet_v2_m().parameter_count
        54139356
    """
    return _efficientnet(_V2_M, 24, 1280, num_classes, input_shape, dropout, drop_path)


def efficientnet_v2_l(
    *, num_classes: int = 1000, input_shape: Shape = (3, 480, 480), dropout: float = 0.4, drop_path: float = 0.2
) -> Net:
    """EfficientNetV2-L of Tan and Le (2021), as in torchvision. The options are those of :func:`efficientnet_b0`.

    Example:
        >>> from cnnbudget.zoo.efficientnet import efficientnet_v2_l
        >>> efficientnet_v2_l().parameter_count
        118515272
    """
    return _efficientnet(_V2_L, 32, 1280, num_classes, input_shape, dropout, drop_path)
