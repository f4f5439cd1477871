"""Xception: Inception's hypothesis to its end, separable convolutions throughout.

Inception modules look at maps in groups; a depthwise convolution looks at every map for itself, and a 1x1 convolution behind it
mixes them. Skip connections go around every two or three of the pairs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnbudget.graph.block import Block, Branch
from cnnbudget.layers.activation import ReLU
from cnnbudget.layers.conv import Conv, DepthwiseConv
from cnnbudget.layers.linear import Linear
from cnnbudget.layers.merge import Add
from cnnbudget.layers.norm import BatchNorm
from cnnbudget.layers.pool import GlobalAvgPool, MaxPool
from cnnbudget.layers.regularize import Dropout
from cnnbudget.net import Net
from cnnbudget.zoo.options import start

if TYPE_CHECKING:
    from cnnbudget.layers.base import Layer
    from cnnbudget.tensors import Shape

__all__ = ["xception"]


def separable(filters: int, kernel: int, *, stride: int = 1) -> tuple[Layer, Layer]:
    """A depthwise and a 1x1 convolution with nothing between them: Keras' ``SeparableConv2D`` without a bias.

    Args:
        filters: Feature maps of the output.
        kernel: Size of the depthwise window.
        stride: Its step.

    Returns:
        Both layers.
    """
    return DepthwiseConv(kernel, stride=stride, padding="same", bias=False), Conv(filters, 1, bias=False)


def _unit(filters: int) -> Block:
    return Block(ReLU(), *separable(filters, 3), BatchNorm())


def _reducing(*units: Block, filters: int) -> Branch:
    """Units and a pooling; the shortcut is a strided projection."""
    shortcut = Block(Conv(filters, 1, stride=2, bias=False), BatchNorm())
    return Branch(Block(*units, MaxPool(3, stride=2, padding="same")), shortcut, merge=Add())


def xception(*, num_classes: int = 1000, input_shape: Shape = (3, 299, 299), dropout: float = 0) -> Net:
    """Xception of Chollet, "Xception: deep learning with depthwise separable convolutions" (2017), as in Keras.

    The paper prints 22,855,952 parameters, which is exact. Keras prints 22,910,480: it adds the 54,528 running statistics.

    Args:
        num_classes: Outputs of the last layer.
        input_shape: ``(C, H, W)`` of one image.
        dropout: Rate of a dropout before the last layer; the paper trained with 0.5, Keras has none.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.xception import xception
        >>> xception().parameter_count, xception().buffer_count
        (22855952, 54528)
    """
    dropped = Dropout(dropout)
    return (
        start(input_shape)
        .then(
            *(Conv(32, 3, stride=2, bias=False), BatchNorm(), ReLU()),
            *(Conv(64, 3, bias=False), BatchNorm(), ReLU()),
            name="block1",
        )
        .then(_reducing(Block(*separable(128, 3), BatchNorm()), _unit(128), filters=128), name="block2")
        .then(_reducing(_unit(256), _unit(256), filters=256), name="block3")
        .then(_reducing(_unit(728), _unit(728), filters=728), name="block4")
        .repeat(Block(Branch(Block(*[_unit(728)] * 3), None, merge=Add())), 8, name="middle")
        .then(_reducing(_unit(728), _unit(1024), filters=1024), name="block13")
        .then(*separable(1536, 3), BatchNorm(), ReLU(), *separable(2048, 3), BatchNorm(), ReLU(), name="block14")
        .then(GlobalAvgPool(), *([dropped] if dropped.rate else []), Linear(num_classes))
    )
