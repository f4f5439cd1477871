"""SqueezeNet: the accuracy of AlexNet with a fiftieth of its parameters, and not one linear layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnbudget.graph.block import Block, Branch
from cnnbudget.layers.activation import ReLU
from cnnbudget.layers.conv import Conv
from cnnbudget.layers.pool import AdaptiveAvgPool, MaxPool
from cnnbudget.layers.regularize import Dropout
from cnnbudget.layers.reshape import Flatten
from cnnbudget.net import Net
from cnnbudget.zoo.options import start
from cnnbudget.zoo.widths import scaled

if TYPE_CHECKING:
    from cnnbudget.tensors import Shape

__all__ = ["squeezenet1_0", "squeezenet1_1"]


def squeezenet1_0(
    *, num_classes: int = 1000, dropout: float = 0.5, width: float = 1, input_shape: Shape = (3, 224, 224)
) -> Net:
    """SqueezeNet 1.0, the network of the paper.

    Iandola, Han, Moskewicz, Ashraf, Dally and Keutzer, "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and
    <0.5MB model size" (2016). The parameters of the paper's Table 1 agree layer by layer. Its shapes do not belong to its
    input of 224x224, which gives the first convolution 109 positions along an axis and not 111: they are those of 227x227.

    Args:
        num_classes: Outputs.
        dropout: Rate of the dropout before the last convolution.
        width: Factor on all feature maps.
        input_shape: ``(C, H, W)`` of one image.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.squeezenet import squeezenet1_0
        >>> squeezenet1_0().parameter_count
        1248424
    """
    return (
        start(input_shape)
        .then(
            Conv(scaled(96, width), 7, stride=2),
            ReLU(inplace=True),
            MaxPool(3, stride=2, ceil_mode=True),
            _fire(2, scaled(16, width), scaled(64, width)),
            _fire(3, scaled(16, width), scaled(64, width)),
            _fire(4, scaled(32, width), scaled(128, width)),
            MaxPool(3, stride=2, ceil_mode=True),
            _fire(5, scaled(32, width), scaled(128, width)),
            _fire(6, scaled(48, width), scaled(192, width)),
            _fire(7, scaled(48, width), scaled(192, width)),
            _fire(8, scaled(64, width), scaled(256, width)),
            MaxPool(3, stride=2, ceil_mode=True),
            _fire(9, scaled(64, width), scaled(256, width)),
            name="features",
        )
        .then(_head(num_classes, dropout))
    )


def squeezenet1_1(
    *, num_classes: int = 1000, dropout: float = 0.5, width: float = 1, input_shape: Shape = (3, 224, 224)
) -> Net:
    """SqueezeNet 1.1: a smaller first convolution and earlier pooling, fewer than half of the operations of 1.0.

    Published by the authors of SqueezeNet beside their code (2016); see :func:`squeezenet1_0`.

    Args:
        num_classes: Outputs.
        dropout: Rate of the dropout before the last convolution.
        width: Factor on all feature maps.
        input_shape: ``(C, H, W)`` of one image.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.squeezenet import squeezenet1_1
        >>> squeezenet1_1().parameter_count
        1235496
    """
    return (
        start(input_shape)
        .then(
            Conv(scaled(64, width), 3, stride=2),
            ReLU(inplace=True),
            MaxPool(3, stride=2, ceil_mode=True),
            _fire(2, scaled(16, width), scaled(64, width)),
            _fire(3, scaled(16, width), scaled(64, width)),
            MaxPool(3, stride=2, ceil_mode=True),
            _fire(4, scaled(32, width), scaled(128, width)),
            _fire(5, scaled(32, width), scaled(128, width)),
            MaxPool(3, stride=2, ceil_mode=True),
            _fire(6, scaled(48, width), scaled(192, width)),
            _fire(7, scaled(48, width), scaled(192, width)),
            _fire(8, scaled(64, width), scaled(256, width)),
            _fire(9, scaled(64, width), scaled(256, width)),
            name="features",
        )
        .then(_head(num_classes, dropout))
    )


def _fire(number: int, squeeze: int, expand: int) -> Block:
    """The fire module: a 1x1 convolution squeezes the maps, a 1x1 and a 3x3 convolution side by side expand them again."""
    return Block(
        Block(Block(Conv(squeeze, 1), name="squeeze"), ReLU(inplace=True)),
        Branch(
            Block(Block(Conv(expand, 1), name="expand1x1"), ReLU(inplace=True)),
            Block(Block(Conv(expand, 3, padding=1), name="expand3x3"), ReLU(inplace=True)),
        ),
        name=f"fire{number}",
    )


def _head(num_classes: int, dropout: float) -> Block:
    """A map for every class; its mean is the output."""
    return Block(
        Block(Dropout(dropout), Conv(num_classes, 1), ReLU(inplace=True), AdaptiveAvgPool(1), name="classifier"),
        Flatten(),
    )
