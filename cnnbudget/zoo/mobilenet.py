"""MobileNets: a convolution is split into one over every map for itself, and one over the maps at every pixel.

The first (*depthwise*) looks around, the second (*pointwise*, 1x1) mixes: together they cost an eighth to a ninth of the 3x3
convolution that they stand for. The second version adds *inverted residuals*: the skip connection joins narrow values, and
the wide ones between them are short-lived. The third version is in :mod:`cnnbudget.zoo.mobilenet_v3`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnbudget.graph.block import Block, Branch
from cnnbudget.layers.activation import ReLU6
from cnnbudget.layers.conv import Conv, DepthwiseConv
from cnnbudget.layers.linear import Linear
from cnnbudget.layers.merge import Add
from cnnbudget.layers.norm import BatchNorm
from cnnbudget.layers.pool import AdaptiveAvgPool, GlobalAvgPool
from cnnbudget.layers.rearrange import Pad
from cnnbudget.layers.regularize import Dropout
from cnnbudget.layers.reshape import Flatten
from cnnbudget.net import Net
from cnnbudget.zoo.options import check_flags, start
from cnnbudget.zoo.widths import check_width

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cnnbudget.graph.block import Part
    from cnnbudget.layers.base import Layer
    from cnnbudget.tensors import Shape

__all__ = ["mobilenet_v1", "mobilenet_v2"]

_RGB = (3, 224, 224)


def round_channels(count: float, multiple: int = 8) -> int:
    """Rounds a scaled number of feature maps to a multiple, half up, but never down by more than a tenth.

    MobileNet v2 and v3, MnasNet, EfficientNet and RegNet do. Source: the authors' code of MobileNet v2.

    Args:
        count: The number.
        multiple: What the result is a multiple of.

    Returns:
        The multiple.

    Example:
        >>> round_channels(33.6), round_channels(11.2)
        (32, 16)
    """
    rounded = max(multiple, int(count + multiple / 2) // multiple * multiple)
    return rounded if rounded >= 0.9 * count else rounded + multiple


def conv_unit(
    filters: int,
    kernel: int,
    activation: Layer | None = None,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
) -> Block:
    """A convolution without bias that keeps the maps' size but for its stride, its normalisation, and an activation.

    Args:
        filters: Feature maps of the output.
        kernel: Size of the window, odd.
        activation: What comes last; ``None`` for nothing.
        stride: Step of the window.
        dilation: Distance between the positions of the window.
        groups: Groups of channels; as many as ``filters`` make it depthwise.

    Returns:
        The block.
    """
    padding = dilation * (kernel // 2)
    return Block(
        Conv(filters, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups, bias=False),
        BatchNorm(count_batches=True),
        *([] if activation is None else [activation]),
    )


def numbered(parts: Iterable[Part], start: int = 0) -> list[Block]:
    """Gives every part a scope of its own: ``0``, ``1``, ..., as the children of a sequence are called in PyTorch.

    Args:
        parts: Layers and blocks.
        start: The first number.

    Returns:
        The scopes.
    """
    return [Block(part, name=str(number)) for number, part in enumerate(parts, start)]


_V1_UNITS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *[(512, 1)] * 5,
    (1024, 2),
    (1024, 1),
)
"""Table 1 of the paper: feature maps and stride of every separable convolution."""


def _separable(filters: int, stride: int, *, pad_first: bool) -> Block:
    """A depthwise and a pointwise convolution, each with normalisation and ReLU6."""
    padded = pad_first and stride > 1
    return Block(
        *([Pad(((0, 1), (0, 1)))] if padded else []),
        DepthwiseConv(3, stride=stride, padding="valid" if padded else "same", bias=False),
        BatchNorm(),
        ReLU6(),
        Conv(filters, 1, bias=False),
        BatchNorm(),
        ReLU6(),
    )


def mobilenet_v1(
    *,
    num_classes: int = 1000,
    input_shape: Shape = _RGB,
    width: float = 1,
    dropout: float = 0.001,
    pad_first: bool = False,
) -> Net:
    """MobileNet of Howard et al., "MobileNets: efficient convolutional neural networks for mobile vision applications" (2017).

    As in TensorFlow and Keras; torchvision has none. The paper prints 569 million multiply-accumulates and 4.2 million parameters.
    For ``width=0.75`` it prints 325 million, and that is right (325,400,448). The authors' table of models prints 317 million, and
    too few at that width for every size of the image: it leaves out the first convolution there.

    Args:
        num_classes: Outputs of the last layer, a 1x1 convolution.
        input_shape: ``(C, H, W)`` of one image; the paper also has 192, 160 and 128 pixels.
        width: Factor on all feature maps, rounded down; the paper has 0.75, 0.5 and 0.25.
        dropout: Rate of the dropout before the last layer.
        pad_first: Whether a layer of its own pads for every strided depthwise convolution, as in Keras, always at the end. On
            even sizes that gives the shapes of ``"same"``; on odd ones, one pixel less.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.mobilenet import mobilenet_v1
        >>> mobilenet_v1().parameter_count, mobilenet_v1().mac_count
        (4231976, 568740352)
    """
    check_flags(pad_first=pad_first)
    check_width(width)
    units = [_separable(int(filters * width), stride, pad_first=pad_first) for filters, stride in _V1_UNITS]
    return (
        start(input_shape)
        .then(Conv(int(32 * width), 3, stride=2, padding="same", bias=False), BatchNorm(), ReLU6(), name="stem")
        .then(*numbered(units), name="features")
        .then(
            GlobalAvgPool(keepdims=True),
            Dropout(dropout),
            Conv(num_classes, 1),
            Flatten(),
            name="classifier",
        )
    )


_V2_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Table 2 of the paper: expansion, feature maps, units, and the stride of the first one."""


def _inverted_residual(channels: int, filters: int, expansion: int, stride: int) -> Block:
    """Widens, looks around, and narrows again without an activation; what keeps its shape has a skip connection."""
    inner = expansion * channels
    units = [] if expansion == 1 else [conv_unit(inner, 1, ReLU6(inplace=True))]
    units.append(conv_unit(inner, 3, ReLU6(inplace=True), stride=stride, groups=inner))
    body = Block(*numbered(units), conv_unit(filters, 1), name="conv")
    return Block(Branch(None, body, merge=Add())) if stride == 1 and channels == filters else body


def mobilenet_v2(*, num_classes: int = 1000, input_shape: Shape = _RGB, width: float = 1, dropout: float = 0.2) -> Net:
    """MobileNet v2 of Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks" (2018), as in torchvision.

    The authors' table of 22 widths and image sizes prints the multiply-accumulates that are counted here, rounded down to millions.
    Its parameters (3.47 million) are those of convolutions and linear layers: normalisation has 34,112 more.

    Args:
        num_classes: Outputs of the last layer.
        input_shape: ``(C, H, W)`` of one image.
        width: Factor on all feature maps, rounded to multiples of 8; below 1 it leaves the last 1280 maps.
        dropout: Rate of the dropout before the last layer.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.mobilenet import mobilenet_v2
        >>> mobilenet_v2().parameter_count, mobilenet_v2().mac_count
        (3504872, 300774272)
    """
    channels = round_channels(32 * check_width(width))
    features = [conv_unit(channels, 3, ReLU6(inplace=True), stride=2)]
    for expansion, maps, depth, stride in _V2_STAGES:
        filters = round_channels(maps * width)
        for step in (stride, *[1] * (depth - 1)):
            features.append(_inverted_residual(channels, filters, expansion, step))
            channels = filters
    features.append(conv_unit(round_channels(1280 * max(1, width)), 1, ReLU6(inplace=True)))
    return (
        start(input_shape)
        .then(*numbered(features), name="features")
        .then(AdaptiveAvgPool(1), Flatten())
        .then(Dropout(dropout), Linear(num_classes), name="classifier")
    )
