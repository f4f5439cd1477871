"""ConvNeXt: a residual network with what transformers brought: patches, few normalisations, wide depthwise kernels, GELU.

A unit mixes the maps with linear layers on the last axis: its values are permuted, channels last, and back. That is a view; what
reads it may have to copy, and such copies are not counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnbudget.graph.block import Block, Branch
from cnnbudget.layers.activation import GELU
from cnnbudget.layers.conv import Conv
from cnnbudget.layers.linear import Linear
from cnnbudget.layers.merge import Add
from cnnbudget.layers.norm import LayerNorm
from cnnbudget.layers.pool import AdaptiveAvgPool
from cnnbudget.layers.regularize import DropPath
from cnnbudget.layers.reshape import Flatten, Permute
from cnnbudget.layers.scale import Scale
from cnnbudget.net import Net
from cnnbudget.zoo.mobilenet import numbered
from cnnbudget.zoo.options import start

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnnbudget.tensors import Shape

__all__ = ["convnext_tiny", "convnext_small", "convnext_base", "convnext_large"]

_RGB = (3, 224, 224)


def _unit(channels: int, drop_path: float) -> Block:
    """Looks around in every map, then widens four times and narrows again at every pixel."""
    body = Block(
        Conv(channels, 7, padding=3, groups=channels),
        Permute(1, 2, 0),
        LayerNorm(-1),
        Linear(4 * channels, axis=-1),
        GELU(),
        Linear(channels, axis=-1),
        Permute(2, 0, 1),
        name="block",
    )
    return Block(Branch(Block(body, Scale(), DropPath(drop_path)), None, merge=Add(inplace=True)))


def _convnext(
    depths: Sequence[int], widths: Sequence[int], num_classes: int, input_shape: Shape, drop_path: float
) -> Net:
    drop_path = DropPath(drop_path).rate  # which checks it
    features, number = [Block(Conv(widths[0], 4, stride=4), LayerNorm())], 0
    for depth, width in zip(depths, widths, strict=True):
        if number:
            features.append(Block(LayerNorm(), Conv(width, 2, stride=2)))
        rates = [drop_path * unit / (sum(depths) - 1) for unit in range(number, number + depth)]
        features.append(Block(*numbered(_unit(width, rate) for rate in rates)))
        number += depth
    return (
        start(input_shape)
        .then(*numbered(features), name="features")
        .then(AdaptiveAvgPool(1))
        .then(LayerNorm(), Flatten(), Linear(num_classes), name="classifier")
    )


def convnext_tiny(*, num_classes: int = 1000, input_shape: Shape = _RGB, drop_path: float = 0.1) -> Net:
    """ConvNeXt-T of Liu et al., "A ConvNet for the 2020s" (2022), as in torchvision.

    The paper prints 29 million parameters and 4.5 billion multiply-accumulates.

    Args:
        num_classes: Outputs of the last layer.
        input_shape: ``(C, H, W)`` of one image.
        drop_path: How often the last unit drops out in training; those before it less often, down to 0.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.convnext import convnext_tiny
        >>> convnext_tiny().parameter_count, convnext_tiny().mac_count
        (28589128, 4455531264)
    """
    return _convnext((3, 3, 9, 3), (96, 192, 384, 768), num_classes, input_shape, drop_path)


def convnext_small(*, num_classes: int = 1000, input_shape: Shape = _RGB, drop_path: float = 0.4) -> Net:
    """ConvNeXt-S of Liu et al. (2022), as in torchvision. The options are those of :func:`convnext_tiny`.

    Example:
        >>> from cnnbudget.zoo.convnext import convnext_small
        >>> convnext_small().parameter_count
        50223688
    """
    return _convnext((3, 3, 27, 3), (96, 192, 384, 768), num_classes, input_shape, drop_path)


def convnext_base(*, num_classes: int = 1000, input_shape: Shape = _RGB, drop_path: float = 0.5) -> Net:
    """ConvNeXt-B of Liu et al. (2022), as in torchvision. The options are those of :func:`convnext_tiny`.

    Example:
        >>> from cnnbudget.zoo.convnext import convnext_base
        >>> convnext_base().parameter_count
        88591464
    """
    return _convnext((3, 3, 27, 3), (128, 256, 512, 1024), num_classes, input_shape, drop_path)


def convnext_large(*, num_classes: int = 1000, input_shape: Shape = _RGB, drop_path: float = 0.5) -> Net:
    """ConvNeXt-L of Liu et al. (2022), as in torchvision. The options are those of :func:`convnext_tiny`.

    Example:
        >>> from cnnbudget.zoo.convnext import convnext_large
        >>> convnext_large().parameter_count
        197767336
    """
    return _convnext((3, 3, 27, 3), (192, 384, 768, 1536), num_classes, input_shape, drop_path)
