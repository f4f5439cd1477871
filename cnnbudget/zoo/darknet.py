"""Darknet-19, Darknet-53 and YOLOv3, as the configurations of the Darknet framework have them.

Darknet counts operations where others count multiply-accumulates: its "BFLOPs" are two for every multiply-accumulate. Its batch
normalisations have no counter of batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnbudget.checks import exact_int
from cnnbudget.graph.block import Block, Branch, Tap
from cnnbudget.layers.activation import LeakyReLU, Softmax
from cnnbudget.layers.conv import Conv
from cnnbudget.layers.merge import Add
from cnnbudget.layers.norm import BatchNorm
from cnnbudget.layers.pool import GlobalAvgPool, MaxPool
from cnnbudget.layers.reshape import Flatten
from cnnbudget.layers.resize import Upsample
from cnnbudget.net import Net
from cnnbudget.zoo.options import start
from cnnbudget.zoo.widths import scaled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cnnbudget.graph.block import Part
    from cnnbudget.tensors import Shape

__all__ = ["darknet19", "darknet53", "yolo_v3"]


def _conv(filters: int, kernel: int, *, stride: int = 1) -> Block:
    """A convolution that is padded for its kernel, its normalisation, and the activation in place."""
    return Block(
        Conv(filters, kernel, stride=stride, padding=kernel // 2, bias=False), BatchNorm(), LeakyReLU(0.1, inplace=True)
    )


def _alternating(maps: int, count: int) -> Block:
    """3x3 convolutions of ``maps``, and between them 1x1 convolutions that halve the maps."""
    return Block(*[_conv(maps // 2, 1) if number % 2 else _conv(maps, 3) for number in range(count)])


def darknet19(*, num_classes: int = 1000, input_shape: Shape = (3, 256, 256), width: float = 1) -> Net:
    """Darknet-19 of Redmon and Farhadi, "YOLO9000: better, faster, stronger" (2017).

    The classifier is a 1x1 convolution whose maps are averaged. The paper says 5.58 billion operations, at 224x224; at 256x256,
    the size of the configuration, they are 7.29 billion.

    Args:
        num_classes: Outputs of the last layer.
        input_shape: ``(C, H, W)`` of one image.
        width: Factor on the feature maps of every convolution but the last.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.darknet import darknet19
        >>> net = darknet19()
        >>> net.parameter_count, 2 * net.mac_count
        (20842376, 7290748928)
    """
    first = scaled(32, width)
    parts: list[Part] = [_conv(first, 3)]
    for stage, count in enumerate((1, 3, 3, 5, 5), start=1):
        # Darknet pads a pooling by the kernel less one, at the end: a last, partly covered window counts.
        parts += [MaxPool(2, ceil_mode=True), Block(_alternating(first * 2**stage, count), name=f"stage{stage}")]
    return start(input_shape).then(*parts).then(Conv(num_classes, 1), GlobalAvgPool(), Softmax(), name="head")


def _stages(width: float) -> Iterator[Block]:
    """The five stages of Darknet-53, each a convolution with stride 2 and residual units."""
    first = scaled(32, width)
    for stage, depth in enumerate((1, 2, 8, 8, 4), start=1):
        maps = first * 2**stage
        unit = Branch(Block(_conv(maps // 2, 1), _conv(maps, 3)), None, merge=Add())
        yield Block(_conv(maps, 3, stride=2), name=f"stage{stage}").repeat(unit, depth, name="unit")


def darknet53(*, num_classes: int = 1000, input_shape: Shape = (3, 256, 256), width: float = 1) -> Net:
    """Darknet-53 of Redmon and Farhadi, "YOLOv3: an incremental improvement" (2018).

    The paper's table says 18.7 billion operations, the Darknet binary 18.57 billion: the table counts the last convolution before
    the maps are averaged, as in Darknet-19, 18.699 billion. The configuration has it behind, on one value per map, and so has this.

    Args:
        num_classes: Outputs of the last layer.
        input_shape: ``(C, H, W)`` of one image.
        width: Factor on the feature maps of every convolution but the last.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.darknet import darknet53
        >>> net = darknet53()
        >>> net.parameter_count, 2 * net.mac_count
        (41609928, 18570231808)
    """
    return (
        start(input_shape)
        .then(_conv(scaled(32, width), 3), *_stages(width))
        .then(GlobalAvgPool(keepdims=True), Conv(num_classes, 1), Flatten(), Softmax(), name="head")
    )


def yolo_v3(*, num_classes: int = 80, input_shape: Shape = (3, 416, 416), width: float = 1, boxes: int = 3) -> Net:
    """YOLOv3 of Redmon and Farhadi, "YOLOv3: an incremental improvement" (2018): Darknet-53 and three heads.

    The heads look at maps of 1/32, 1/16 and 1/8 of the input's size. The net's output is the last one's, the finest;
    the coarser ones are further outputs, ``coarse`` and ``medium``. Height and width must be multiples of 32: the enlarged maps
    meet those of the backbone. Decoding of the boxes is not a part of it.

    Args:
        num_classes: Classes of objects; COCO has 80.
        input_shape: ``(C, H, W)`` of one image; the configuration has 608x608, which changes no parameter.
        width: Factor on the feature maps of every convolution but the heads' last.
        boxes: Boxes that every cell of a head predicts: four coordinates, one objectness and the classes for each.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.darknet import yolo_v3
        >>> net = yolo_v3()
        >>> net.parameter_count, 2 * net.mac_count, net.output_shape
        (61949149, 65864075264, (255, 52, 52))
    """
    first = scaled(32, width)
    predictions = Conv(exact_int(boxes, "boxes") * (5 + exact_int(num_classes, "num_classes")), 1)

    def neck(maps: int) -> Block:
        """Five convolutions before a head; where the next neck goes on from."""
        return Block(*[_conv(maps, 1), _conv(2 * maps, 3)] * 2, _conv(maps, 1))

    def enlarge(maps: int) -> Block:
        return Block(_conv(maps, 1), Upsample(2))

    def head(maps: int) -> Block:
        return Block(_conv(2 * maps, 3), predictions)

    stage1, stage2, stage3, stage4, stage5 = _stages(width)
    coarse, medium, fine = 16 * first, 8 * first, 4 * first
    return (
        start(input_shape)
        .then(_conv(first, 3), stage1, stage2, stage3, Tap("stage3"), stage4, Tap("stage4"), stage5)
        .then(neck(coarse), name="neck_coarse")
        .output("coarse", head(coarse))
        .then(enlarge(medium), name="enlarge_coarse")
        .join("stage4")
        .then(neck(medium), name="neck_medium")
        .output("medium", head(medium))
        .then(enlarge(fine), name="enlarge_medium")
        .join("stage3")
        .then(neck(fine), name="neck_fine")
        .then(head(fine), name="fine")
    )
