"""Residual networks: ResNet, ResNeXt and Wide ResNet.

They share a stem, four stages and a head, and differ in the units that the stages are made of. A *basic* unit is two 3x3
convolutions. A *bottleneck* narrows the maps with a 1x1 convolution, looks around with a 3x3 one and widens them again with 1x1.
Around every unit goes a shortcut, and the two are added.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from cnnbudget.errors import InvalidTypeError, shorten
from cnnbudget.graph.block import Block, Branch
from cnnbudget.layers.activation import ReLU
from cnnbudget.layers.conv import Conv
from cnnbudget.layers.linear import Linear
from cnnbudget.layers.merge import Add
from cnnbudget.layers.norm import BatchNorm
from cnnbudget.layers.pool import AdaptiveAvgPool, MaxPool
from cnnbudget.layers.reshape import Flatten
from cnnbudget.net import Net
from cnnbudget.zoo.options import check_flags, start
from cnnbudget.zoo.widths import scaled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cnnbudget.tensors import Shape

__all__ = [
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "wide_resnet50_2",
    "wide_resnet101_2",
]

_RGB = (3, 224, 224)
_UNDILATED = (False, False, False)


def _conv(filters: int, kernel: int, *, stride: int = 1, dilation: int = 1, groups: int = 1) -> Block:
    """A convolution that is padded for its kernel, and its normalisation."""
    padding = dilation * (kernel // 2)
    return Block(
        Conv(filters, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups, bias=False),
        BatchNorm(count_batches=True),
    )


def _basic(maps: int, stride: int, dilation: int) -> Block:
    """Two 3x3 convolutions."""
    return Block(
        _conv(maps, 3, stride=stride, dilation=dilation),
        ReLU(inplace=True),
        _conv(maps, 3, dilation=dilation),
    )


def _bottleneck(
    maps: int, stride: int, dilation: int, *, groups: int = 1, group_width: int = 64, original: bool = False
) -> Block:
    """1x1, 3x3, 1x1; where ``maps`` is 64, every group of the 3x3 convolution has ``group_width`` maps."""
    check_flags(original=original)
    inner = max(1, maps * group_width // 64) * groups
    return Block(
        _conv(inner, 1, stride=stride if original else 1),
        ReLU(inplace=True),
        _conv(inner, 3, stride=1 if original else stride, dilation=dilation, groups=groups),
        ReLU(inplace=True),
        _conv(4 * maps, 1),
    )


def _residual(body: Block, shortcut: Block | None, *, name: str) -> Block:
    """A unit: the sum overwrites the body's output, and the ReLU the sum."""
    return Block(Branch(body, shortcut, merge=Add(inplace=True)), ReLU(inplace=True), name=name)


def trunk(
    unit: Callable[[int, int, int], Block],
    expansion: int,
    depths: Sequence[int],
    *,
    width: float = 1,
    dilate: tuple[bool, bool, bool] = _UNDILATED,
) -> Iterator[Block]:
    """Makes everything before the head: the stem, then the four stages.

    Args:
        unit: Makes the body of a unit from its maps, its stride and its dilation.
        expansion: How many times ``maps`` a unit's output has.
        depths: Units of each stage.
        width: Factor on all feature maps.
        dilate: Whether the second, the third and the fourth stage dilate their kernels instead of having a stride.

    Yields:
        Five blocks.
    """
    _check_dilate(dilate)
    maps = channels = scaled(64, width)
    yield Block(_conv(maps, 7, stride=2), ReLU(inplace=True), MaxPool(3, stride=2, padding=1))
    dilation = 1
    for stage, (depth, dilated) in enumerate(zip(depths, (False, *dilate), strict=True)):
        stride = 2 if stage and not dilated else 1
        # A stage that dilates does so from its second unit on: the first one reads maps that are still dense.
        later = 2 * dilation if dilated else dilation
        shortcut = None
        if stride > 1 or channels != expansion * maps:
            shortcut = Block(_conv(expansion * maps, 1, stride=stride), name="downsample")
        first, others = unit(maps, stride, dilation), unit(maps, 1, later)
        yield Block(
            _residual(first, shortcut, name=f"layer{stage + 1}.0"),
            *[_residual(others, None, name=f"layer{stage + 1}.{number}") for number in range(1, depth)],
        )
        channels, maps, dilation = expansion * maps, 2 * maps, later


def _check_dilate(dilate: object) -> None:
    if not isinstance(dilate, (tuple, list)) or len(dilate) != 3 or not all(isinstance(flag, bool) for flag in dilate):
        raise InvalidTypeError(
            "replace_stride_with_dilation must be three bools",
            got=shorten(dilate),
            expected="for example (False, True, True)",
        )


def dilated_trunk(depths: Sequence[int]) -> Iterator[Block]:
    """Makes the stem and the stages of a bottleneck ResNet for segmentation: the last two stages keep a stride of 8.

    Args:
        depths: Units of each stage.

    Returns:
        Five blocks.
    """
    return trunk(_bottleneck, 4, depths, dilate=(False, True, True))


def _resnet(blocks: Iterator[Block], num_classes: int, input_shape: Shape) -> Net:
    return start(input_shape).then(*blocks).then(AdaptiveAvgPool(1), Flatten(), Linear(num_classes))


def resnet18(*, num_classes: int = 1000, input_shape: Shape = _RGB, width: float = 1) -> Net:
    """ResNet-18 of He, Zhang, Ren and Sun, "Deep residual learning for image recognition" (2015), as in torchvision.

    Args:
        num_classes: Outputs of the last layer.
        input_shape: ``(C, H, W)`` of one image.
        width: Factor on all feature maps.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.resnet import resnet18
        >>> resnet18().parameter_count, resnet18().mac_count
        (11689512, 1814073344)
    """
    return _resnet(trunk(_basic, 1, (2, 2, 2, 2), width=width), num_classes, input_shape)


def resnet34(*, num_classes: int = 1000, input_shape: Shape = _RGB, width: float = 1) -> Net:
    """ResNet-34 of He et al. (2015), as in torchvision. The options are those of :func:`resnet18`.

    Example:
        >>> from cnnbudget.zoo.resnet import resnet34
        >>> resnet34().parameter_count
        21797672
    """
    return _resnet(trunk(_basic, 1, (3, 4, 6, 3), width=width), num_classes, input_shape)


def resnet50(
    *,
    num_classes: int = 1000,
    input_shape: Shape = _RGB,
    width: float = 1,
    replace_stride_with_dilation: tuple[bool, bool, bool] = _UNDILATED,
    original: bool = False,
) -> Net:
    """ResNet-50 of He, Zhang, Ren and Sun, "Deep residual learning for image recognition" (2015), as in torchvision.

    In the paper the first 1x1 convolution of a stage has its stride. torchvision moved it to the 3x3 convolution ("v1.5"), where
    no value is skipped: no parameter more, but 4.09 instead of 3.86 billion multiply-accumulates. The paper prints 3.8 billion.

    Args:
        num_classes: Outputs of the last layer.
        input_shape: ``(C, H, W)`` of one image.
        width: Factor on all feature maps.
        replace_stride_with_dilation: For the second, third and fourth stage: whether it keeps the size of the maps and dilates
            its 3x3 convolutions, as networks for segmentation want it.
        original: Whether the strides are where the paper has them.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.resnet import resnet50
        >>> resnet50().parameter_count, resnet50().mac_count, resnet50(original=True).mac_count
        (25557032, 4089184256, 3857973248)
    """
    unit = partial(_bottleneck, original=original)
    blocks = trunk(unit, 4, (3, 4, 6, 3), width=width, dilate=replace_stride_with_dilation)
    return _resnet(blocks, num_classes, input_shape)


def resnet101(
    *,
    num_classes: int = 1000,
    input_shape: Shape = _RGB,
    width: float = 1,
    replace_stride_with_dilation: tuple[bool, bool, bool] = _UNDILATED,
    original: bool = False,
) -> Net:
    """ResNet-101 of He et al. (2015), as in torchvision. The options are those of :func:`resnet50`.

    Example:
        >>> from cnnbudget.zoo.resnet import resnet101
        >>> resnet101().parameter_count
        44549160
    """
    unit = partial(_bottleneck, original=original)
    blocks = trunk(unit, 4, (3, 4, 23, 3), width=width, dilate=replace_stride_with_dilation)
    return _resnet(blocks, num_classes, input_shape)


def resnet152(
    *,
    num_classes: int = 1000,
    input_shape: Shape = _RGB,
    width: float = 1,
    replace_stride_with_dilation: tuple[bool, bool, bool] = _UNDILATED,
    original: bool = False,
) -> Net:
    """ResNet-152 of He et al. (2015), as in torchvision. The options are those of :func:`resnet50`.

    Example:
        >>> from cnnbudget.zoo.resnet import resnet152
        >>> resnet152().parameter_count
        60192808
    """
    unit = partial(_bottleneck, original=original)
    blocks = trunk(unit, 4, (3, 8, 36, 3), width=width, dilate=replace_stride_with_dilation)
    return _resnet(blocks, num_classes, input_shape)


def resnext50_32x4d(
    *,
    num_classes: int = 1000,
    input_shape: Shape = _RGB,
    width: float = 1,
    replace_stride_with_dilation: tuple[bool, bool, bool] = _UNDILATED,
) -> Net:
    """ResNeXt-50 (32x4d) of Xie et al., "Aggregated residual transformations for deep neural networks" (2017).

    The 3x3 convolution of a bottleneck has 32 groups, of four maps each in the first stage: twice the maps of ResNet-50 for about
    as many parameters. The options are those of :func:`resnet50`.

    Example:
        >>> from cnnbudget.zoo.resnet import resnext50_32x4d
        >>> resnext50_32x4d().parameter_count
        25028904
    """
    unit = partial(_bottleneck, groups=32, group_width=4)
    blocks = trunk(unit, 4, (3, 4, 6, 3), width=width, dilate=replace_stride_with_dilation)
    return _resnet(blocks, num_classes, input_shape)


def resnext101_32x8d(
    *,
    num_classes: int = 1000,
    input_shape: Shape = _RGB,
    width: float = 1,
    replace_stride_with_dilation: tuple[bool, bool, bool] = _UNDILATED,
) -> Net:
    """ResNeXt-101 (32x8d) of Xie et al. (2017), as in torchvision. The options are those of :func:`resnet50`.

    Example:
        >>> from cnnbudget.zoo.resnet import resnext101_32x8d
        >>> resnext101_32x8d().parameter_count
        88791336
    """
    unit = partial(_bottleneck, groups=32, group_width=8)
    blocks = trunk(unit, 4, (3, 4, 23, 3), width=width, dilate=replace_stride_with_dilation)
    return _resnet(blocks, num_classes, input_shape)


def resnext101_64x4d(
    *,
    num_classes: int = 1000,
    input_shape: Shape = _RGB,
    width: float = 1,
    replace_stride_with_dilation: tuple[bool, bool, bool] = _UNDILATED,
) -> Net:
    """ResNeXt-101 (64x4d) of Xie et al. (2017), as in torchvision. The options are those of :func:`resnet50`.

    Example:
        >>> from cnnbudget.zoo.resnet import resnext101_64x4d
        >>> resnext101_64x4d().parameter_count
        83455272
    """
    unit = partial(_bottleneck, groups=64, group_width=4)
    blocks = trunk(unit, 4, (3, 4, 23, 3), width=width, dilate=replace_stride_with_dilation)
    return _resnet(blocks, num_classes, input_shape)


def wide_resnet50_2(
    *,
    num_classes: int = 1000,
    input_shape: Shape = _RGB,
    width: float = 1,
    replace_stride_with_dilation: tuple[bool, bool, bool] = _UNDILATED,
) -> Net:
    """Wide ResNet-50-2 of Zagoruyko and Komodakis, "Wide residual networks" (2016), as in torchvision.

    The first two convolutions of a bottleneck have twice the maps of ResNet-50's; its output has as many. The options are those of
    :func:`resnet50`.

    Example:
        >>> from cnnbudget.zoo.resnet import wide_resnet50_2
        >>> wide_resnet50_2().parameter_count
        68883240
    """
    unit = partial(_bottleneck, group_width=128)
    blocks = trunk(unit, 4, (3, 4, 6, 3), width=width, dilate=replace_stride_with_dilation)
    return _resnet(blocks, num_classes, input_shape)


def wide_resnet101_2(
    *,
    num_classes: int = 1000,
    input_shape: Shape = _RGB,
    width: float = 1,
    replace_stride_with_dilation: tuple[bool, bool, bool] = _UNDILATED,
) -> Net:
    """Wide ResNet-101-2 of Zagoruyko and Komodakis (2016), as in torchvision. The options are those of :func:`resnet50`.

    Example:
        >>> from cnnbudget.zoo.resnet import wide_resnet101_2
        >>> wide_resnet101_2().parameter_count
        126886696
    """
    unit = partial(_bottleneck, group_width=128)
    blocks = trunk(unit, 4, (3, 4, 23, 3), width=width, dilate=replace_stride_with_dilation)
    return _resnet(blocks, num_classes, input_shape)
