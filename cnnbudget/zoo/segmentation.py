"""Segmentation on ResNets: FCN and DeepLabv3, as in torchvision.

The backbone is a ResNet whose last two stages dilate their kernels instead of having a stride: maps of an eighth of the input's
size. A head makes a map for every class of them, and interpolation enlarges these to the size of the input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnbudget.graph.block import Block, Branch, Tap
from cnnbudget.layers.activation import ReLU
from cnnbudget.layers.conv import Conv
from cnnbudget.layers.merge import Concat
from cnnbudget.layers.norm import BatchNorm
from cnnbudget.layers.pool import AdaptiveAvgPool
from cnnbudget.layers.regularize import Dropout
from cnnbudget.layers.resize import Upsample
from cnnbudget.net import Net
from cnnbudget.zoo.options import check_flags, start
from cnnbudget.zoo.resnet import dilated_trunk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cnnbudget.tensors import Shape

__all__ = ["deeplabv3_resnet50", "deeplabv3_resnet101", "fcn_resnet50", "fcn_resnet101"]

_RGB = (3, 520, 520)


def _conv(filters: int, kernel: int, *, dilation: int = 1) -> Block:
    padding = dilation * (kernel // 2)
    return Block(
        Conv(filters, kernel, padding=padding, dilation=dilation, bias=False), BatchNorm(count_batches=True), ReLU()
    )


def _fcn_head(value: Shape, num_classes: int) -> Block:
    return Block(_conv(value[0] // 4, 3), Dropout(0.1), Conv(num_classes, 1))


def _deeplab_head(value: Shape, num_classes: int) -> Block:
    """Atrous spatial pyramid pooling: windows of several sizes, the largest of which is the whole map."""
    image = Block(AdaptiveAvgPool(1), _conv(256, 1), Upsample(size=value[1:], mode="bilinear"))
    windows = [_conv(256, 1), *[_conv(256, 3, dilation=rate) for rate in (12, 24, 36)], image]
    pyramid = [Block(window, name=f"convs{number}") for number, window in enumerate(windows)]
    return Block(
        Block(
            Branch(*pyramid, merge=Concat()),
            Block(_conv(256, 1), Dropout(0.5), name="project"),
            name="pyramid",
        ),
        _conv(256, 3),
        Conv(num_classes, 1),
    )


def _segmentation(
    depths: Sequence[int],
    head: Callable[[Shape, int], Block],
    num_classes: int,
    input_shape: Shape,
    aux_loss: bool,  # noqa: FBT001  # private, and passed on
) -> Net:
    check_flags(aux_loss=aux_loss)
    net = start(input_shape)
    enlarge = Upsample(size=net.output_shape[1:], mode="bilinear")
    *earlier, layer4 = dilated_trunk(depths)
    net = net.then(*earlier, Tap("layer3"), layer4, name="backbone")
    net = net.then(head(net.output_shape, num_classes), name="classifier").then(enlarge, name="out")
    if not aux_loss:
        return net
    auxiliary = net.tap("out").at("layer3")  # torchvision runs it at the end, on the third stage
    auxiliary = auxiliary.then(_fcn_head(auxiliary.output_shape, num_classes), name="aux_classifier")
    return auxiliary.output("aux", enlarge).at("out")


def fcn_resnet50(*, num_classes: int = 21, input_shape: Shape = _RGB, aux_loss: bool = False) -> Net:
    """FCN on ResNet-50, after Long, Shelhamer and Darrell, "Fully convolutional networks for semantic segmentation" (2015).

    The paper's networks have VGG-16 and others as backbones, up to three heads on maps of different sizes whose scores are
    added, and learned enlargement. torchvision's has one head of two convolutions, and bilinear interpolation.

    Args:
        num_classes: Maps of the output; Pascal VOC has 20 classes and the background.
        input_shape: ``(C, H, W)`` of one image.
        aux_loss: Whether there is a second head, on the third stage: a further output, ``aux``. torchvision's pretrained networks
            have it.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.segmentation import fcn_resnet50
        >>> fcn_resnet50().parameter_count, fcn_resnet50(aux_loss=True).parameter_count
        (32957013, 35322218)
    """
    return _segmentation((3, 4, 6, 3), _fcn_head, num_classes, input_shape, aux_loss)


def fcn_resnet101(*, num_classes: int = 21, input_shape: Shape = _RGB, aux_loss: bool = False) -> Net:
    """FCN on ResNet-101, as in torchvision. The options are those of :func:`fcn_resnet50`.

    Example:
        >>> from cnnbudget.zoo.segmentation import fcn_resnet101
        >>> fcn_resnet101(aux_loss=True).parameter_count
        54314346
    """
    return _segmentation((3, 4, 23, 3), _fcn_head, num_classes, input_shape, aux_loss)


def deeplabv3_resnet50(*, num_classes: int = 21, input_shape: Shape = _RGB, aux_loss: bool = False) -> Net:
    """DeepLabv3 on ResNet-50, after Chen, Papandreou, Schroff and Adam (2017), as in torchvision.

    The paper is "Rethinking atrous convolution for semantic image segmentation". torchvision adds a 3x3 convolution between the
    pyramid and the classes, and has the paper's rates for maps of an eighth, but not its multi-grid in the last stage. The options
    are those of :func:`fcn_resnet50`.

    Example:
        >>> from cnnbudget.zoo.segmentation import deeplabv3_resnet50
        >>> deeplabv3_resnet50().parameter_count, deeplabv3_resnet50(aux_loss=True).parameter_count
        (39638869, 42004074)
    """
    return _segmentation((3, 4, 6, 3), _deeplab_head, num_classes, input_shape, aux_loss)


def deeplabv3_resnet101(*, num_classes: int = 21, input_shape: Shape = _RGB, aux_loss: bool = False) -> Net:
    """DeepLabv3 on ResNet-101, as in torchvision. The options are those of :func:`fcn_resnet50`.

    Example:
        >>> from cnnbudget.zoo.segmentation import deeplabv3_resnet101
        >>> deeplabv3_resnet101(aux_loss=True).parameter_count
        60996202
    """
    return _segmentation((3, 4, 23, 3), _deeplab_head, num_classes, input_shape, aux_loss)
