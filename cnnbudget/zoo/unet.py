"""U-Net: a contracting path, an expanding path, and the maps of one carried over to the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnbudget.checks import one_of
from cnnbudget.graph.block import Block, Branch
from cnnbudget.layers.activation import ReLU
from cnnbudget.layers.conv import Conv, ConvTranspose
from cnnbudget.layers.merge import Concat
from cnnbudget.layers.pool import MaxPool
from cnnbudget.layers.regularize import Dropout
from cnnbudget.layers.reshape import Crop
from cnnbudget.net import Net
from cnnbudget.zoo.options import start
from cnnbudget.zoo.widths import scaled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cnnbudget.tensors import Shape

__all__ = ["unet"]

_LEVELS = 4


def _convolutions(maps: int, padding: str, *, dropout: float = 0, name: str) -> Block:
    """Two 3x3 convolutions; every one costs two pixels per axis, unless it is padded."""
    dropped = Dropout(dropout)
    return Block(
        *[Conv(maps, 3, padding=padding), ReLU(inplace=True)] * 2,
        *([dropped] if dropped.rate else []),
        name=name,
    )


def _crops(sizes: Iterable[int], lost: int) -> list[list[tuple[int, int]]]:
    """What is cut from the maps of every level, for every axis: the expanding path has lost more of the border.

    Args:
        sizes: The input's.
        lost: Pixels that two convolutions cost.

    Returns:
        ``(before, after)`` for every axis, of every level, the largest maps first.
    """
    cuts: list[list[tuple[int, int]]] = [[] for _ in range(_LEVELS)]
    for size in sizes:
        carried, deeper = [], size - lost
        for _ in range(_LEVELS):
            carried.append(deeper)
            deeper = deeper // 2 - lost
        for level in reversed(range(_LEVELS)):
            extra = carried[level] - 2 * deeper
            cuts[level].append((extra // 2, extra - extra // 2))
            deeper = 2 * deeper - lost
    return cuts


def unet(
    *,
    num_classes: int = 2,
    input_shape: Shape = (1, 572, 572),
    width: float = 1,
    dropout: float = 0.5,
    padding: str = "valid",
) -> Net:
    """U-Net of Ronneberger, Fischer and Brox, "U-Net: convolutional networks for biomedical image segmentation" (2015).

    As published, the convolutions are not padded: an image of 572x572 gives a map of the classes of 388x388, and what is carried
    over is cropped to what it meets. The paper asks for sizes that are even before every pooling; at others the pooling
    drops the last pixel, and the crop takes the odd pixel from the end.

    What the paper leaves open is as in its authors' Caffe file: dropout of 0.5 after the last two levels of the contracting
    path, enlarged maps first in a concatenation, in-place ReLU. That file also has a ReLU after every up-convolution, which the
    paper does not mention and which is not here; no shape, parameter or multiply-accumulate depends on it.

    Args:
        num_classes: Maps of the output.
        input_shape: ``(C, H, W)`` of one image.
        width: Factor on the feature maps of every convolution but the last.
        dropout: The part of the values that is dropped at the end of the contracting path; 0 for no such layers.
        padding: ``"valid"`` as published, or ``"same"``: most later versions pad, so that the output is as large as the input
            where that is a multiple of 16.

    Returns:
        The net.

    Raises:
        InvalidValueError: If ``padding`` is another word.

    Example:
        >>> from cnnbudget.zoo.unet import unet
        >>> net = unet()
        >>> net.parameter_count, net.output_shape
        (31030658, (2, 388, 388))
        >>> unet(input_shape=(1, 512, 512), padding="same").output_shape
        (2, 512, 512)
    """
    one_of(padding, ("valid", "same"), "unet's padding")
    first = scaled(64, width)
    net = start(input_shape)
    cuts = _crops(net.output_shape[1:], 4 if padding == "valid" else 0)
    # From the inside out: a level is wrapped around everything that is deeper than it.
    block = _convolutions(first * 2**_LEVELS, padding, dropout=dropout, name="bottom")
    for level in reversed(range(_LEVELS)):
        maps, last = first * 2**level, level == _LEVELS - 1
        deeper = Block(MaxPool(2), block, ConvTranspose(maps, 2, stride=2))
        carried = Block(Crop(cuts[level])) if any(map(any, cuts[level])) else None
        block = Block(
            _convolutions(maps, padding, dropout=dropout if last else 0, name=f"down{level + 1}"),
            Branch(deeper, carried, merge=Concat()),
            _convolutions(maps, padding, name=f"up{level + 1}"),
        )
    return net.then(block).then(Conv(num_classes, 1), name="head")
