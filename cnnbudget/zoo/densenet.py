"""DenseNet: every layer of a block reads what all the earlier ones made.

Sources: Huang, Liu, van der Maaten and Weinberger, "Densely connected convolutional networks" (2017); torchvision, for the order
of concatenation. There every layer concatenates all earlier maps again, so a block of ``n`` layers writes its input ``n + 1``
times: small convolutions, and quadratic memory. The paper's authors answered with "Memory-efficient implementation of
DenseNets" (Pleiss et al., 2017), which is torchvision's ``memory_efficient=True`` and is not modelled here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnbudget.checks import exact_int
from cnnbudget.graph.block import Block, Branch, Join, Tap
from cnnbudget.layers.activation import ReLU
from cnnbudget.layers.conv import Conv
from cnnbudget.layers.linear import Linear
from cnnbudget.layers.merge import Concat
from cnnbudget.layers.norm import BatchNorm
from cnnbudget.layers.pool import AdaptiveAvgPool, AvgPool, MaxPool
from cnnbudget.layers.regularize import Dropout
from cnnbudget.layers.reshape import Flatten
from cnnbudget.net import Net
from cnnbudget.zoo.options import start

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnnbudget.graph.block import Part
    from cnnbudget.tensors import Shape

__all__ = ["densenet121", "densenet161", "densenet169", "densenet201"]

_RGB = (3, 224, 224)


def _before(*parts: Part) -> Block:
    """Normalisation and ReLU, which in a DenseNet come before the convolution."""
    return Block(BatchNorm(count_batches=True), ReLU(inplace=True), *parts)


def _dense_layer(name: str, earlier: Sequence[str], body: Block) -> Block:
    """Concatenates the block's input, from which it starts, with the maps of the layers before it; adds its own."""
    start = Join(*earlier) if earlier else Concat()  # the first one copies its input: a concatenation of one
    return Block(start, body, Tap(name), name=name)


def _dense_block(depth: int, growth_rate: int, dropout: float, *, name: str) -> Block:
    """All layers start from the block's input, and reach each other's maps by their labels."""
    dropped = Dropout(dropout)
    body = Block(
        # torchvision's function of that name, whose variable keeps the concatenation until it returns
        Block(_before(Conv(4 * growth_rate, 1, bias=False)), name="bn_function"),
        _before(Conv(growth_rate, 3, padding=1, bias=False)),
        *([dropped] if dropped.rate else []),
    )
    names = [f"denselayer{number}" for number in range(1, depth + 1)]
    layers = [_dense_layer(name, names[:before], body) for before, name in enumerate(names)]
    return Block(Branch(None, *layers, merge=Concat()), name=name)


def _densenet(
    depths: Sequence[int], stem: int, num_classes: int, input_shape: Shape, growth_rate: int, dropout: float
) -> Net:
    exact_int(growth_rate, "growth_rate")
    features: list[Part] = [
        Conv(stem, 7, stride=2, padding=3, bias=False),
        _before(MaxPool(3, stride=2, padding=1)),
    ]
    maps = stem
    for number, depth in enumerate(depths, start=1):
        features.append(_dense_block(depth, growth_rate, dropout, name=f"denseblock{number}"))
        maps += depth * growth_rate
        if number < len(depths):
            maps //= 2
            features.append(Block(_before(Conv(maps, 1, bias=False), AvgPool(2)), name=f"transition{number}"))
    return (
        start(input_shape)
        .then(*features, BatchNorm(count_batches=True), name="features")
        .then(ReLU(inplace=True), AdaptiveAvgPool(1), Flatten(), Linear(num_classes))
    )


def densenet121(
    *, num_classes: int = 1000, input_shape: Shape = _RGB, growth_rate: int = 32, dropout: float = 0
) -> Net:
    """DenseNet-121 of Huang, Liu, van der Maaten and Weinberger, "Densely connected convolutional networks" (2017).

    Args:
        num_classes: Outputs of the last layer.
        input_shape: ``(C, H, W)`` of one image.
        growth_rate: Maps that every layer of a block adds.
        dropout: The part of a layer's output that is dropped in training; the paper drops 0.2 where it does not augment data.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.densenet import densenet121
        >>> densenet121().parameter_count, densenet121().mac_count
        (7978856, 2834161664)
    """
    return _densenet((6, 12, 24, 16), 64, num_classes, input_shape, growth_rate, dropout)


def densenet161(
    *, num_classes: int = 1000, input_shape: Shape = _RGB, growth_rate: int = 48, dropout: float = 0
) -> Net:
    """DenseNet-161 of Huang et al. (2017): 48 maps a layer, 96 in the stem. The options are those of :func:`densenet121`.

    Example:
        >>> from cnnbudget.zoo.densenet import densenet161
        >>> densenet161().parameter_count
        28681000
    """
    return _densenet((6, 12, 36, 24), 96, num_classes, input_shape, growth_rate, dropout)


def densenet169(
    *, num_classes: int = 1000, input_shape: Shape = _RGB, growth_rate: int = 32, dropout: float = 0
) -> Net:
    """DenseNet-169 of Huang et al. (2017). The options are those of :func:`densenet121`.

    Example:
        >>> from cnnbudget.zoo.densenet import densenet169
        >>> densenet169().parameter_count
        14149480
    """
    return _densenet((6, 12, 32, 32), 64, num_classes, input_shape, growth_rate, dropout)


def densenet201(
    *, num_classes: int = 1000, input_shape: Shape = _RGB, growth_rate: int = 32, dropout: float = 0
) -> Net:
    """DenseNet-201 of Huang et al. (2017). The options are those of :func:`densenet121`.

    Example:
        >>> from cnnbudget.zoo.densenet import densenet201
        >>> densenet201().parameter_count
        20013928
    """
    return _densenet((6, 12, 48, 32), 64, num_classes, input_shape, growth_rate, dropout)
