"""AlexNet: the network that won in 2012, on two GPUs, and the one tower that came after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnbudget.checks import exact_int
from cnnbudget.graph.block import Block
from cnnbudget.layers.activation import ReLU
from cnnbudget.layers.conv import Conv
from cnnbudget.layers.linear import Linear
from cnnbudget.layers.norm import LocalResponseNorm
from cnnbudget.layers.pool import AdaptiveAvgPool, MaxPool
from cnnbudget.layers.regularize import Dropout
from cnnbudget.layers.reshape import Flatten
from cnnbudget.net import Net
from cnnbudget.zoo.options import start
from cnnbudget.zoo.widths import scaled

if TYPE_CHECKING:
    from cnnbudget.tensors import Shape

__all__ = ["alexnet", "alexnet_2012"]


def alexnet(
    *, num_classes: int = 1000, dropout: float = 0.5, width: float = 1, input_shape: Shape = (3, 224, 224)
) -> Net:
    """AlexNet in one tower, without local response normalisation, as torchvision has it.

    Krizhevsky, "One weird trick for parallelizing convolutional neural networks" (2014). Adaptive pooling before the linear
    layers is torchvision's: it takes images of other sizes, and does nothing at 224x224.

    Args:
        num_classes: Outputs.
        dropout: Rate of the dropout before the first two linear layers.
        width: Factor on all feature maps and hidden units.
        input_shape: ``(C, H, W)`` of one image.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.alexnet import alexnet
        >>> alexnet().parameter_count
        61100840
    """
    hidden = scaled(4096, width)
    return (
        start(input_shape)
        .then(
            _conv(scaled(64, width), 11, stride=4, padding=2),
            MaxPool(3, stride=2),
            _conv(scaled(192, width), 5, padding=2),
            MaxPool(3, stride=2),
            _conv(scaled(384, width), 3, padding=1),
            _conv(scaled(256, width), 3, padding=1),
            _conv(scaled(256, width), 3, padding=1),
            MaxPool(3, stride=2),
            name="features",
        )
        .then(AdaptiveAvgPool(6), name="avgpool")
        .then(Flatten())
        .then(
            Dropout(dropout),
            Linear(hidden),
            ReLU(inplace=True),
            Dropout(dropout),
            Linear(hidden),
            ReLU(inplace=True),
            Linear(num_classes),
            name="classifier",
        )
    )


def _conv(filters: int, kernel: int, *, stride: int = 1, padding: int) -> Block:
    return Block(Conv(filters, kernel, stride=stride, padding=padding), ReLU(inplace=True))


def alexnet_2012(
    *,
    num_classes: int = 1000,
    dropout: float = 0.5,
    groups: int = 2,
    padding: int = 0,
    width: float = 1,
    input_shape: Shape = (3, 227, 227),
) -> Net:
    """AlexNet as it won: two groups of feature maps, one on each GPU, and local response normalisation after two layers.

    Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural networks" (2012): 60 million
    parameters, 650,000 neurons. The groups see each other in the first and the third convolution and in the linear layers.

    Two numbers of the paper do not follow from its text. Its images of 224x224 give the first convolution 54.25 positions
    along an axis: the 55 that it has need images of 227x227, or padding. And 253,440 neurons there, in the caption of Figure
    2, are 55 x 48 x 96; 55 x 55 x 96 are 290,400.

    Args:
        num_classes: Outputs.
        dropout: Rate of the dropout after the first two linear layers.
        groups: Groups of the second, fourth and fifth convolution; 1 for a single GPU.
        padding: Padding of the first convolution: 2 gives an image of 224x224 the shapes of 227x227.
        width: Factor on all feature maps, to the nearest multiple of the groups, and on hidden units.
        input_shape: ``(C, H, W)`` of one image.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.alexnet import alexnet_2012
        >>> net = alexnet_2012()
        >>> net.parameter_count, net.costs()["features/conv"].output_shape
        (60965224, (96, 55, 55))
    """
    exact_int(groups, "groups")
    hidden = scaled(4096, width)
    return (
        start(input_shape)
        .then(
            Conv(scaled(96, width, groups), 11, stride=4, padding=padding),
            ReLU(),
            LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0),
            MaxPool(3, stride=2),
            Conv(scaled(256, width, groups), 5, padding=2, groups=groups),
            ReLU(),
            LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0),
            MaxPool(3, stride=2),
            Conv(scaled(384, width, groups), 3, padding=1),
            ReLU(),
            Conv(scaled(384, width, groups), 3, padding=1, groups=groups),
            ReLU(),
            Conv(scaled(256, width, groups), 3, padding=1, groups=groups),
            ReLU(),
            MaxPool(3, stride=2),
            name="features",
        )
        .then(Flatten())
        .then(
            Linear(hidden),
            ReLU(),
            Dropout(dropout),
            Linear(hidden),
            ReLU(),
            Dropout(dropout),
            Linear(num_classes),
            name="classifier",
        )
    )
