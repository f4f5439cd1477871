"""VGG: 3x3 convolutions and nothing else, 8 to 16 of them, and three linear layers that hold most of the parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnbudget.graph.block import Block, Repeat
from cnnbudget.layers.activation import ReLU
from cnnbudget.layers.conv import Conv
from cnnbudget.layers.linear import Linear
from cnnbudget.layers.norm import BatchNorm
from cnnbudget.layers.pool import AdaptiveAvgPool, MaxPool
from cnnbudget.layers.regularize import Dropout
from cnnbudget.layers.reshape import Flatten
from cnnbudget.net import Net

if TYPE_CHECKING:
    from cnnbudget.tensors import Shape

__all__ = ["vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn"]

MAPS = (64, 128, 256, 512, 512)
"""Feature maps of the convolutions of each stage; a max pooling that halves the maps' size ends it."""


def vgg11(*, num_classes: int = 1000, dropout: float = 0.5, input_shape: Shape = (3, 224, 224)) -> Net:
    """VGG with 11 weight layers: configuration A.

    Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition" (2014), Tables 1 and 2. Adaptive
    pooling before the linear layers is torchvision's: it takes images of other sizes, and does nothing at 224x224.

    Args:
        num_classes: Outputs.
        dropout: Rate of the dropout after the first two linear layers.
        input_shape: ``(C, H, W)`` of one image.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.vgg import vgg11
        >>> vgg11().parameter_count  # the paper: 133 million
        132863336
    """
    return _vgg((1, 1, 2, 2, 2), num_classes, dropout, input_shape)


def vgg11_bn(*, num_classes: int = 1000, dropout: float = 0.5, input_shape: Shape = (3, 224, 224)) -> Net:
    """VGG with 11 weight layers and batch normalisation after every convolution; see :func:`vgg11`.

    Args:
        num_classes: Outputs.
        dropout: Rate of the dropout after the first two linear layers.
        input_shape: ``(C, H, W)`` of one image.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.vgg import vgg11_bn
        >>> vgg11_bn().parameter_count
        132868840
    """
    return _vgg((1, 1, 2, 2, 2), num_classes, dropout, input_shape, normalise=True)


def vgg13(*, num_classes: int = 1000, dropout: float = 0.5, input_shape: Shape = (3, 224, 224)) -> Net:
    """VGG with 13 weight layers: configuration B; see :func:`vgg11`.

    Args:
        num_classes: Outputs.
        dropout: Rate of the dropout after the first two linear layers.
        input_shape: ``(C, H, W)`` of one image.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.vgg import vgg13
        >>> vgg13().parameter_count  # the paper: 133 million
        133047848
    """
    return _vgg((2, 2, 2, 2, 2), num_classes, dropout, input_shape)


def vgg13_bn(*, num_classes: int = 1000, dropout: float = 0.5, input_shape: Shape = (3, 224, 224)) -> Net:
    """VGG with 13 weight layers and batch normalisation after every convolution; see :func:`vgg11`.

    Args:
        num_classes: Outputs.
        dropout: Rate of the dropout after the first two linear layers.
        input_shape: ``(C, H, W)`` of one image.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.vgg import vgg13_bn
        >>> vgg13_bn().parameter_count
        133053736
    """
    return _vgg((2, 2, 2, 2, 2), num_classes, dropout, input_shape, normalise=True)


def vgg16(*, num_classes: int = 1000, dropout: float = 0.5, input_shape: Shape = (3, 224, 224)) -> Net:
    """VGG with 16 weight layers: configuration D; see :func:`vgg11`.

    Args:
        num_classes: Outputs.
        dropout: Rate of the dropout after the first two linear layers.
        input_shape: ``(C, H, W)`` of one image.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.vgg import vgg16
        >>> vgg16().parameter_count  # the paper: 138 million
        138357544
    """
    return _vgg((2, 2, 3, 3, 3), num_classes, dropout, input_shape)


def vgg16_bn(*, num_classes: int = 1000, dropout: float = 0.5, input_shape: Shape = (3, 224, 224)) -> Net:
    """VGG with 16 weight layers and batch normalisation after every convolution; see :func:`vgg11`.

    Args:
        num_classes: Outputs.
        dropout: Rate of the dropout after the first two linear layers.
        input_shape: ``(C, H, W)`` of one image.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.vgg import vgg16_bn
        >>> vgg16_bn().parameter_count
        138365992
    """
    return _vgg((2, 2, 3, 3, 3), num_classes, dropout, input_shape, normalise=True)


def vgg19(*, num_classes: int = 1000, dropout: float = 0.5, input_shape: Shape = (3, 224, 224)) -> Net:
    """VGG with 19 weight layers: configuration E; see :func:`vgg11`.

    Args:
        num_classes: Outputs.
        dropout: Rate of the dropout after the first two linear layers.
        input_shape: ``(C, H, W)`` of one image.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.vgg import vgg19
        >>> vgg19().parameter_count  # the paper: 144 million
        143667240
    """
    return _vgg((2, 2, 4, 4, 4), num_classes, dropout, input_shape)


def vgg19_bn(*, num_classes: int = 1000, dropout: float = 0.5, input_shape: Shape = (3, 224, 224)) -> Net:
    """VGG with 19 weight layers and batch normalisation after every convolution; see :func:`vgg11`.

    Args:
        num_classes: Outputs.
        dropout: Rate of the dropout after the first two linear layers.
        input_shape: ``(C, H, W)`` of one image.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.vgg import vgg19_bn
        >>> vgg19_bn().parameter_count
        143678248
    """
    return _vgg((2, 2, 4, 4, 4), num_classes, dropout, input_shape, normalise=True)


def _vgg(
    depths: tuple[int, ...], num_classes: int, dropout: float, input_shape: Shape, *, normalise: bool = False
) -> Net:
    """So many convolutions a stage, then the linear layers."""
    features = [_stage(maps, depth, normalise=normalise) for maps, depth in zip(MAPS, depths, strict=True)]
    return (
        Net.input(*input_shape)
        .then(*features, name="features")
        .then(AdaptiveAvgPool(7), name="avgpool")
        .then(Flatten())
        .then(
            Linear(4096),
            ReLU(inplace=True),
            Dropout(dropout),
            Linear(4096),
            ReLU(inplace=True),
            Dropout(dropout),
            Linear(num_classes),
            name="classifier",
        )
    )


def _stage(maps: int, depth: int, *, normalise: bool) -> Block:
    """So many 3x3 convolutions, and the max pooling after them."""
    norm = (BatchNorm(count_batches=True),) if normalise else ()
    unit = Block(Conv(maps, 3, padding=1), *norm, ReLU(inplace=True))
    return Block(Repeat(unit, depth), MaxPool(2))
