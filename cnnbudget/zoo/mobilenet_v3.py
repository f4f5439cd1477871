"""MobileNet v3: found by a search, with squeeze-and-excitation and the hard swish.

*Squeeze-and-excitation* reduces every feature map to its mean, computes a factor for every map from all the means, and multiplies
the maps by their factors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cnnbudget.graph.block import Block, Branch
from cnnbudget.layers.activation import Hardsigmoid, Hardswish, ReLU
from cnnbudget.layers.conv import Conv
from cnnbudget.layers.linear import Linear
from cnnbudget.layers.merge import Add, Multiply
from cnnbudget.layers.pool import AdaptiveAvgPool
from cnnbudget.layers.regularize import Dropout
from cnnbudget.layers.reshape import Flatten
from cnnbudget.net import Net
from cnnbudget.zoo.mobilenet import conv_unit, numbered, round_channels
from cnnbudget.zoo.options import check_flags, start
from cnnbudget.zoo.widths import check_width

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnnbudget.layers.base import Layer
    from cnnbudget.tensors import Shape

__all__ = ["mobilenet_v3_large", "mobilenet_v3_small"]

_RGB = (3, 224, 224)
_RELU, _SWISH = ReLU(inplace=True), Hardswish(inplace=True)


class _Unit(NamedTuple):
    """One row of the paper's Table 1 or 2."""

    kernel: int
    inner: int
    filters: int
    squeeze: bool
    activation: Layer
    stride: int = 1
    tail: bool = False  # one of the last three, which segmentation dilates and narrows


_LARGE = (
    _Unit(3, 16, 16, False, _RELU),
    _Unit(3, 64, 24, False, _RELU, 2),
    _Unit(3, 72, 24, False, _RELU),
    _Unit(5, 72, 40, True, _RELU, 2),
    _Unit(5, 120, 40, True, _RELU),
    _Unit(5, 120, 40, True, _RELU),
    _Unit(3, 240, 80, False, _SWISH, 2),
    _Unit(3, 200, 80, False, _SWISH),
    _Unit(3, 184, 80, False, _SWISH),
    _Unit(3, 184, 80, False, _SWISH),
    _Unit(3, 480, 112, True, _SWISH),
    _Unit(3, 672, 112, True, _SWISH),
    _Unit(5, 672, 160, True, _SWISH, 2, tail=True),
    _Unit(5, 960, 160, True, _SWISH, tail=True),
    _Unit(5, 960, 160, True, _SWISH, tail=True),
)
_SMALL = (
    _Unit(3, 16, 16, True, _RELU, 2),
    _Unit(3, 72, 24, False, _RELU, 2),
    _Unit(3, 88, 24, False, _RELU),
    _Unit(5, 96, 40, True, _SWISH, 2),
    _Unit(5, 240, 40, True, _SWISH),
    _Unit(5, 240, 40, True, _SWISH),
    _Unit(5, 120, 48, True, _SWISH),
    _Unit(5, 144, 48, True, _SWISH),
    _Unit(5, 288, 96, True, _SWISH, 2, tail=True),
    _Unit(5, 576, 96, True, _SWISH, tail=True),
    _Unit(5, 576, 96, True, _SWISH, tail=True),
)


def squeeze_excitation(channels: int, squeezed: int, activation: Layer, gate: Layer) -> Block:
    """Multiplies every feature map by a factor that is computed from the means of all of them.

    Hu, Shen and Sun, "Squeeze-and-excitation networks" (2018).

    Args:
        channels: Feature maps.
        squeezed: Numbers between the means and the factors.
        activation: What these go through.
        gate: What the factors go through.

    Returns:
        The block.
    """
    factors = Block(AdaptiveAvgPool(1), Conv(squeezed, 1), activation, Conv(channels, 1), gate)
    return Block(Branch(factors, None, merge=Multiply()))


def _inverted_residual(channels: int, unit: _Unit, *, dilated: bool) -> Block:
    """Widens, looks around, weighs the maps, and narrows again; what keeps its shape has a skip connection."""
    inner, filters = unit.inner, unit.filters
    stride, dilation = (1, 2) if dilated and unit.tail else (unit.stride, 1)
    steps = [
        *([] if inner == channels else [conv_unit(inner, 1, unit.activation)]),
        conv_unit(inner, unit.kernel, unit.activation, stride=stride, dilation=dilation, groups=inner),
        *([squeeze_excitation(inner, round_channels(inner // 4), ReLU(), Hardsigmoid())] if unit.squeeze else []),
        conv_unit(filters, 1),
    ]
    body = Block(*numbered(steps), name="block")
    skips = unit.stride == 1 and channels == filters
    return Block(Branch(body, None, merge=Add(inplace=True))) if skips else body


def _mobilenet_v3(
    units: Sequence[_Unit],
    hidden: int,
    num_classes: int,
    input_shape: Shape,
    *,
    width: float,
    dropout: float,
    dilated: bool,
    reduced_tail: bool,
) -> Net:
    check_flags(dilated=dilated, reduced_tail=reduced_tail)
    channels = round_channels(16 * check_width(width))
    features = [conv_unit(channels, 3, _SWISH, stride=2)]
    for number, unit in enumerate(units):
        first_of_tail = unit.tail and not units[number - 1].tail
        filters = unit.filters // 2 if reduced_tail and unit.tail else unit.filters
        inner = unit.inner // 2 if reduced_tail and unit.tail and not first_of_tail else unit.inner
        scaled = unit._replace(inner=round_channels(inner * width), filters=round_channels(filters * width))
        features.append(_inverted_residual(channels, scaled, dilated=dilated))
        channels = scaled.filters
    features.append(conv_unit(6 * channels, 1, _SWISH))
    if reduced_tail:
        hidden //= 2
    return (
        start(input_shape)
        .then(*numbered(features), name="features")
        .then(AdaptiveAvgPool(1), Flatten())
        .then(
            Linear(round_channels(hidden * width)),
            _SWISH,
            Dropout(dropout, inplace=True),
            Linear(num_classes),
            name="classifier",
        )
    )


def mobilenet_v3_large(
    *,
    num_classes: int = 1000,
    input_shape: Shape = _RGB,
    width: float = 1,
    dropout: float = 0.2,
    dilated: bool = False,
    reduced_tail: bool = False,
) -> Net:
    """MobileNetV3-Large of Howard et al., "Searching for MobileNetV3" (2019), as in torchvision.

    The authors' table of models prints 217 million multiply-accumulates and 5.4 million parameters. For ``width=0.75`` it prints
    4.0 million parameters: so has Keras (3,993,528), but torchvision, which narrows more of the layers, has 3,377,576.

    Args:
        num_classes: Outputs of the last layer.
        input_shape: ``(C, H, W)`` of one image.
        width: Factor on all feature maps, rounded to multiples of 8.
        dropout: Rate of the dropout before the last layer.
        dilated: Whether the last three units dilate their convolutions instead of halving the maps' size, as networks for
            segmentation want it.
        reduced_tail: Whether the maps of the last three units and the hidden layer are halved, likewise.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.mobilenet_v3 import mobilenet_v3_large
        >>> mobilenet_v3_large().parameter_count, mobilenet_v3_large().mac_count
        (5483032, 216589760)
    """
    return _mobilenet_v3(
        _LARGE,
        1280,
        num_classes,
        input_shape,
        width=width,
        dropout=dropout,
        dilated=dilated,
        reduced_tail=reduced_tail,
    )


def mobilenet_v3_small(
    *,
    num_classes: int = 1000,
    input_shape: Shape = _RGB,
    width: float = 1,
    dropout: float = 0.2,
    dilated: bool = False,
    reduced_tail: bool = False,
) -> Net:
    """MobileNetV3-Small of Howard et al. (2019), as in torchvision. The options are those of :func:`mobilenet_v3_large`.

    The paper's final version prints 56 million multiply-accumulates and 2.5 million parameters, as counted here. The authors'
    table of models still has 66 and 2.9 million.

    Example:
        >>> from cnnbudget.zoo.mobilenet_v3 import mobilenet_v3_small
        >>> mobilenet_v3_small().parameter_count, mobilenet_v3_small().mac_count
        (2542856, 56510400)
    """
    return _mobilenet_v3(
        _SMALL,
        1024,
        num_classes,
        input_shape,
        width=width,
        dropout=dropout,
        dilated=dilated,
        reduced_tail=reduced_tail,
    )
