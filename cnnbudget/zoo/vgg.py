"""VGG: 3x3 convolutions and nothing else, 8 to 16 of them, and three linear layers that hold most of the parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnbudget.graph.block import Block
from cnnbudget.layers.activation import ReLU
from cnnbudget.layers.conv import Conv
from cnnbudget.layers.linear import Linear
from cnnbudget.layers.norm import BatchNorm, LocalResponseNorm
from cnnbudget.layers.pool import AdaptiveAvgPool, MaxPool
from cnnbudget.layers.regularize import Dropout
from cnnbudget.layers.reshape import Flatten
from cnnbudget.net import Net
from cnnbudget.zoo.options import start
from cnnbudget.zoo.widths import scaled

if TYPE_CHECKING:
    from cnnbudget.layers.base import Layer
    from cnnbudget.tensors import Shape

__all__ = ["vgg11", "vgg11_bn", "vgg11_lrn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg16_c", "vgg19", "vgg19_bn"]

MAPS = (64, 128, 256, 512, 512)
"""Feature maps of the convolutions of each stage; a max pooling that halves the maps' size ends it."""


def vgg11(
    *, num_classes: int = 1000, dropout: float = 0.5, width: float = 1, input_shape: Shape = (3, 224, 224)
) -> Net:
    """VGG with 11 weight layers: configuration A.

    Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition" (2014), Tables 1 and 2. Adaptive
    pooling before the linear layers is torchvision's: it takes images of other sizes, and does nothing at 224x224.

    Args:
        num_classes: Outputs.
        dropout: Rate of the dropout after the first two linear layers.
        width: Factor on all feature maps and hidden units.
        input_shape: ``(C, H, W)`` of one image.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.vgg import vgg11
        >>> vgg11().parameter_count  # the paper: 133 million
        132863336
    """
    return _vgg((1, 1, 2, 2, 2), num_classes, dropout, width, input_shape)


def vgg11_bn(
    *, num_classes: int = 1000, dropout: float = 0.5, width: float = 1, input_shape: Shape = (3, 224, 224)
) -> Net:
    """VGG with 11 weight layers and batch normalisation after every convolution; see :func:`vgg11`.

    Args:
        num_classes: Outputs.
        dropout: Rate of the dropout after the first two linear layers.
        width: Factor on all feature maps and hidden units.
        input_shape: ``(C, H, W)`` of one image.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.vgg import vgg11_bn
        >>> vgg11_bn().parameter_count
        132868840
    """
    return _vgg((1, 1, 2, 2, 2), num_classes, dropout, width, input_shape, normalise=True)


def vgg11_lrn(
    *, num_classes: int = 1000, dropout: float = 0.5, width: float = 1, input_shape: Shape = (3, 224, 224)
) -> Net:
    """VGG with 11 weight layers and local response normalisation: configuration A-LRN; see :func:`vgg11`.

    The normalisation stands behind the first convolution and its ReLU, over five maps. It did not help, the paper says, and costs
    memory; the deeper configurations go without.

    Args:
        num_classes: Outputs.
        dropout: Rate of the dropout after the first two linear layers.
        width: Factor on all feature maps and hidden units.
        input_shape: ``(C, H, W)`` of one image.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.vgg import vgg11, vgg11_lrn
        >>> vgg11_lrn().parameter_count == vgg11().parameter_count
        True
    """
    return _vgg((1, 1, 2, 2, 2), num_classes, dropout, width, input_shape, response_norm=True)


def vgg13(
    *, num_classes: int = 1000, dropout: float = 0.5, width: float = 1, input_shape: Shape = (3, 224, 224)
) -> Net:
    """VGG with 13 weight layers: configuration B; see :func:`vgg11`.

    Args:
        num_classes: Outputs.
        dropout: Rate of the dropout after the first two linear layers.
        width: Factor on all feature maps and hidden units.
        input_shape: ``(C, H, W)`` of one image.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.vgg import vgg13
        >>> vgg13().parameter_count  # the paper: 133 million
        133047848
    """
    return _vgg((2, 2, 2, 2, 2), num_classes, dropout, width, input_shape)


def vgg13_bn(
    *, num_classes: int = 1000, dropout: float = 0.5, width: float = 1, input_shape: Shape = (3, 224, 224)
) -> Net:
    """VGG with 13 weight layers and batch normalisation after every convolution; see :func:`vgg11`.

    Args:
        num_classes: Outputs.
        dropout: Rate of the dropout after the first two linear layers.
        width: Factor on all feature maps and hidden units.
        input_shape: ``(C, H, W)`` of one image.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.vgg import vgg13_bn
        >>> vgg13_bn().parameter_count
        133053736
    """
    return _vgg((2, 2, 2, 2, 2), num_classes, dropout, width, input_shape, normalise=True)


def vgg16(
    *, num_classes: int = 1000, dropout: float = 0.5, width: float = 1, input_shape: Shape = (3, 224, 224)
) -> Net:
    """VGG with 16 weight layers: configuration D; see :func:`vgg11`.

    Args:
        num_classes: Outputs.
        dropout: Rate of the dropout after the first two linear layers.
        width: Factor on all feature maps and hidden units.
        input_shape: ``(C, H, W)`` of one image.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.vgg import vgg16
        >>> vgg16().parameter_count  # the paper: 138 million
        138357544
    """
    return _vgg((2, 2, 3, 3, 3), num_classes, dropout, width, input_shape)


def vgg16_bn(
    *, num_classes: int = 1000, dropout: float = 0.5, width: float = 1, input_shape: Shape = (3, 224, 224)
) -> Net:
    """VGG with 16 weight layers and batch normalisation after every convolution; see :func:`vgg11`.

    Args:
        num_classes: Outputs.
        dropout: Rate of the dropout after the first two linear layers.
        width: Factor on all feature maps and hidden units.
        input_shape: ``(C, H, W)`` of one image.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.vgg import vgg16_bn
        >>> vgg16_bn().parameter_count
        138365992
    """
    return _vgg((2, 2, 3, 3, 3), num_classes, dropout, width, input_shape, normalise=True)


def vgg16_c(
    *, num_classes: int = 1000, dropout: float = 0.5, width: float = 1, input_shape: Shape = (3, 224, 224)
) -> Net:
    """VGG with 16 weight layers, three of which are 1x1 convolutions: configuration C; see :func:`vgg11`.

    The last convolution of each of the last three stages is 1x1: one more nonlinearity, which sees no more of the image.

    Args:
        num_classes: Outputs.
        dropout: Rate of the dropout after the first two linear layers.
        width: Factor on all feature maps and hidden units.
        input_shape: ``(C, H, W)`` of one image.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.vgg import vgg16_c
        >>> vgg16_c().parameter_count  # the paper: 134 million
        133638952
    """
    return _vgg((2, 2, 3, 3, 3), num_classes, dropout, width, input_shape, pointwise=True)


def vgg19(
    *, num_classes: int = 1000, dropout: float = 0.5, width: float = 1, input_shape: Shape = (3, 224, 224)
) -> Net:
    """VGG with 19 weight layers: configuration E; see :func:`vgg11`.

    Args:
        num_classes: Outputs.
        dropout: Rate of the dropout after the first two linear layers.
        width: Factor on all feature maps and hidden units.
        input_shape: ``(C, H, W)`` of one image.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.vgg import vgg19
        >>> vgg19().parameter_count  # the paper: 144 million
        143667240
    """
    return _vgg((2, 2, 4, 4, 4), num_classes, dropout, width, input_shape)


def vgg19_bn(
    *, num_classes: int = 1000, dropout: float = 0.5, width: float = 1, input_shape: Shape = (3, 224, 224)
) -> Net:
    """VGG with 19 weight layers and batch normalisation after every convolution; see :func:`vgg11`.

    Args:
        num_classes: Outputs.
        dropout: Rate of the dropout after the first two linear layers.
        width: Factor on all feature maps and hidden units.
        input_shape: ``(C, H, W)`` of one image.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.vgg import vgg19_bn
        >>> vgg19_bn().parameter_count
        143678248
    """
    return _vgg((2, 2, 4, 4, 4), num_classes, dropout, width, input_shape, normalise=True)


def _vgg(
    depths: tuple[int, ...],
    num_classes: int,
    dropout: float,
    width: float,
    input_shape: Shape,
    *,
    normalise: bool = False,
    response_norm: bool = False,
    pointwise: bool = False,
) -> Net:
    """So many convolutions a stage, then the linear layers."""
    hidden = scaled(4096, width)
    features: list[Block] = []
    for maps, depth in zip(MAPS, depths, strict=True):
        after = (LocalResponseNorm(5),) if response_norm and not features else ()
        last = 1 if pointwise and depth == 3 else 3
        features.append(_stage(scaled(maps, width), depth, last, *after, normalise=normalise))
    return (
        start(input_shape)
        .then(*features, name="features")
        .then(AdaptiveAvgPool(7), name="avgpool")
        .then(Flatten())
        .then(
            Linear(hidden),
            ReLU(inplace=True),
            Dropout(dropout),
            Linear(hidden),
            ReLU(inplace=True),
            Dropout(dropout),
            Linear(num_classes),
            name="classifier",
        )
    )


def _stage(maps: int, depth: int, last: int, *after: Layer, normalise: bool) -> Block:
    """So many 3x3 convolutions, of which the last one may have another kernel, and the max pooling after them."""
    norm = (BatchNorm(count_batches=True),) if normalise else ()

    def unit(kernel: int) -> Block:
        return Block(Conv(maps, kernel, padding=kernel // 2), *norm, ReLU(inplace=True))

    return Block(*[unit(3)] * (depth - 1), unit(last), *after, MaxPool(2))
