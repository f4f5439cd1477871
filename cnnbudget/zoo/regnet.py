"""RegNet: networks whose stages follow from four numbers.

The widths of the units grow along a line, ``w0 + wa * i``. Each is rounded to ``w0 * wm ** k`` for the nearest whole ``k``, and
that to a multiple of 8: units of equal width make a stage. The unit is ResNeXt's bottleneck that does not narrow; RegNetY
adds squeeze-and-excitation.

Source: Radosavovic, Kosaraju, Girshick, He and Dollar, "Designing network design spaces" (2020).
"""

from __future__ import annotations

from collections import Counter
from math import log
from typing import TYPE_CHECKING, NamedTuple

from cnnbudget.graph.block import Block, Branch
from cnnbudget.layers.activation import ReLU, Sigmoid
from cnnbudget.layers.linear import Linear
from cnnbudget.layers.merge import Add
from cnnbudget.layers.pool import AdaptiveAvgPool
from cnnbudget.layers.reshape import Flatten
from cnnbudget.net import Net
from cnnbudget.zoo.mobilenet import conv_unit, numbered, round_channels
from cnnbudget.zoo.mobilenet_v3 import squeeze_excitation
from cnnbudget.zoo.options import check_flags, start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cnnbudget.tensors import Shape

__all__ = [
    "regnet_x_400mf",
    "regnet_x_800mf",
    "regnet_x_1_6gf",
    "regnet_x_3_2gf",
    "regnet_x_8gf",
    "regnet_x_16gf",
    "regnet_x_32gf",
    "regnet_y_400mf",
    "regnet_y_800mf",
    "regnet_y_1_6gf",
    "regnet_y_3_2gf",
    "regnet_y_8gf",
    "regnet_y_16gf",
    "regnet_y_32gf",
    "regnet_y_128gf",
]

_RGB = (3, 224, 224)
_STEM = 32
_RELU = ReLU(inplace=True)


class _Design(NamedTuple):
    """The four numbers of the paper's line, and the width of a group."""

    depth: int
    w0: int
    wa: float
    wm: float
    group_width: int

    def stages(self, *, original: bool) -> Iterator[tuple[int, int, int]]:
        """Yields width, depth and group width of every stage."""
        line = (self.w0 + self.wa * number for number in range(self.depth))
        powers = (round(log(width / self.w0) / log(self.wm)) for width in line)
        widths = Counter(8 * round(self.w0 * self.wm**power / 8) for power in powers)
        for width, depth in widths.items():
            group = min(self.group_width, width)
            fitting = max(group, group * round(width / group)) if original else round_channels(width, group)
            yield fitting, depth, group


def _unit(channels: int, width: int, group_width: int, stride: int, *, squeeze: bool) -> Block:
    """1x1, grouped 3x3, 1x1; the shortcut has a projection where the shape changes."""
    shortcut = None
    if stride > 1 or channels != width:
        shortcut = Block(conv_unit(width, 1, stride=stride), name="proj")
    steps = {
        "a": conv_unit(width, 1, _RELU),
        "b": conv_unit(width, 3, _RELU, stride=stride, groups=width // group_width),
        **({"se": squeeze_excitation(width, round(channels / 4), ReLU(), Sigmoid())} if squeeze else {}),
        "c": conv_unit(width, 1),
    }
    body = Block(*[Block(step, name=name) for name, step in steps.items()], name="f")
    return Block(Branch(shortcut, body, merge=Add()), _RELU)


def _stages(design: _Design, *, squeeze: bool, original: bool) -> Iterator[Block]:
    channels = _STEM
    for number, (width, depth, group) in enumerate(design.stages(original=original), start=1):
        units = [_unit(channels, width, group, 2, squeeze=squeeze)]
        units += [_unit(width, width, group, 1, squeeze=squeeze)] * (depth - 1)
        yield Block(*numbered(units), name=f"block{number}")
        channels = width


def _regnet(
    design: _Design, num_classes: int, input_shape: Shape, *, squeeze: bool = False, original: bool = False
) -> Net:
    check_flags(original=original)
    return (
        start(input_shape)
        .then(conv_unit(_STEM, 3, _RELU, stride=2), name="stem")
        .then(*_stages(design, squeeze=squeeze, original=original), name="trunk_output")
        .then(AdaptiveAvgPool(1), Flatten(), Linear(num_classes))
    )


def regnet_x_400mf(*, num_classes: int = 1000, input_shape: Shape = _RGB, original: bool = False) -> Net:
    """RegNetX of about 400 million multiply-accumulates, of Radosavovic et al., "Designing network design spaces" (2020).

    As in torchvision, which fits the widths to the groups by rounding half up, and down by a tenth at most. The paper rounds to
    the nearest multiple, half to even: there the last stage is 384 wide instead of 400. The like happens in two more of these
    networks, which have the option too; all the others are equal.

    Args:
        num_classes: Outputs of the last layer.
        input_shape: ``(C, H, W)`` of one image.
        original: Whether the widths are rounded as in the paper.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.regnet import regnet_x_400mf
        >>> regnet_x_400mf().parameter_count, regnet_x_400mf(original=True).parameter_count
        (5495976, 5157512)
    """
    return _regnet(_Design(22, 24, 24.48, 2.54, 16), num_classes, input_shape, original=original)


def regnet_x_800mf(*, num_classes: int = 1000, input_shape: Shape = _RGB) -> Net:
    """RegNetX of about 800 million multiply-accumulates, of Radosavovic et al. (2020), as in torchvision.

    The options are ``num_classes`` and ``input_shape``, as in :func:`regnet_x_400mf`.

    Example:
        >>> from cnnbudget.zoo.regnet import regnet_x_800mf
        >>> regnet_x_800mf().parameter_count
        7259656
    """
    return _regnet(_Design(16, 56, 35.73, 2.28, 16), num_classes, input_shape)


def regnet_x_1_6gf(*, num_classes: int = 1000, input_shape: Shape = _RGB) -> Net:
    """RegNetX of about 1.6 billion multiply-accumulates, of Radosavovic et al. (2020), as in torchvision.

    The options are ``num_classes`` and ``input_shape``, as in :func:`regnet_x_400mf`.

    Example:
        >>> from cnnbudget.zoo.regnet import regnet_x_1_6gf
        >>> regnet_x_1_6gf().parameter_count
        9190136
    """
    return _regnet(_Design(18, 80, 34.01, 2.25, 24), num_classes, input_shape)


def regnet_x_3_2gf(*, num_classes: int = 1000, input_shape: Shape = _RGB) -> Net:
    """RegNetX of about 3.2 billion multiply-accumulates, of Radosavovic et al. (2020), as in torchvision.

    The options are ``num_classes`` and ``input_shape``, as in :func:`regnet_x_400mf`.

    Example:
        >>> from cnnbudget.zoo.regnet import regnet_x_3_2gf
        >>> regnet_x_3_2gf().parameter_count
        15296552
    """
    return _regnet(_Design(25, 88, 26.31, 2.25, 48), num_classes, input_shape)


def regnet_x_8gf(*, num_classes: int = 1000, input_shape: Shape = _RGB) -> Net:
    """RegNetX of about 8 billion multiply-accumulates, of Radosavovic et al. (2020), as in torchvision.

    The options are ``num_classes`` and ``input_shape``, as in :func:`regnet_x_400mf`.

    Example:
        >>> from cnnbudget.zoo.regnet import regnet_x_8gf
        >>> regnet_x_8gf().parameter_count
        39572648
    """
    return _regnet(_Design(23, 80, 49.56, 2.88, 120), num_classes, input_shape)


def regnet_x_16gf(*, num_classes: int = 1000, input_shape: Shape = _RGB) -> Net:
    """RegNetX of about 16 billion multiply-accumulates, of Radosavovic et al. (2020), as in torchvision.

    The options are ``num_classes`` and ``input_shape``, as in :func:`regnet_x_400mf`.

    Example:
        >>> from cnnbudget.zoo.regnet import regnet_x_16gf
        >>> regnet_x_16gf().parameter_count
        54278536
    """
    return _regnet(_Design(22, 216, 55.59, 2.1, 128), num_classes, input_shape)


def regnet_x_32gf(*, num_classes: int = 1000, input_shape: Shape = _RGB) -> Net:
    """RegNetX of about 32 billion multiply-accumulates, of Radosavovic et al. (2020), as in torchvision.

    The options are ``num_classes`` and ``input_shape``, as in :func:`regnet_x_400mf`.

    Example:
        >>> from cnnbudget.zoo.regnet import regnet_x_32gf
        >>> regnet_x_32gf().parameter_count
        107811560
    """
    return _regnet(_Design(23, 320, 69.86, 2.0, 168), num_classes, input_shape)


def regnet_y_400mf(*, num_classes: int = 1000, input_shape: Shape = _RGB) -> Net:
    """RegNetY of about 400 million multiply-accumulates, of Radosavovic et al. (2020), as in torchvision.

    The options are ``num_classes`` and ``input_shape``, as in :func:`regnet_x_400mf`.

    Example:
        >>> from cnnbudget.zoo.regnet import regnet_y_400mf
        >>> regnet_y_400mf().parameter_count
        4344144
    """
    return _regnet(_Design(16, 48, 27.89, 2.09, 8), num_classes, input_shape, squeeze=True)


def regnet_y_800mf(*, num_classes: int = 1000, input_shape: Shape = _RGB, original: bool = False) -> Net:
    """RegNetY of about 800 million multiply-accumulates, of Radosavovic et al. (2020), as in torchvision.

    With ``original``, the second and the fourth stage are 128 and 768 wide, as in the paper, instead of 144 and 784. The options
    are those of :func:`regnet_x_400mf`.

    Example:
        >>> from cnnbudget.zoo.regnet import regnet_y_800mf
        >>> regnet_y_800mf().parameter_count, regnet_y_800mf(original=True).parameter_count
        (6432512, 6263168)
    """
    return _regnet(_Design(14, 56, 38.84, 2.4, 16), num_classes, input_shape, squeeze=True, original=original)


def regnet_y_1_6gf(*, num_classes: int = 1000, input_shape: Shape = _RGB) -> Net:
    """RegNetY of about 1.6 billion multiply-accumulates, of Radosavovic et al. (2020), as in torchvision.

    The options are ``num_classes`` and ``input_shape``, as in :func:`regnet_x_400mf`.

    Example:
        >>> from cnnbudget.zoo.regnet import regnet_y_1_6gf
        >>> regnet_y_1_6gf().parameter_count
        11202430
    """
    return _regnet(_Design(27, 48, 20.71, 2.65, 24), num_classes, input_shape, squeeze=True)


def regnet_y_3_2gf(*, num_classes: int = 1000, input_shape: Shape = _RGB) -> Net:
    """RegNetY of about 3.2 billion multiply-accumulates, of Radosavovic et al. (2020), as in torchvision.

    The options are ``num_classes`` and ``input_shape``, as in :func:`regnet_x_400mf`.

    Example:
        >>> from cnnbudget.zoo.regnet import regnet_y_3_2gf
        >>> regnet_y_3_2gf().parameter_count
        19436338
    """
    return _regnet(_Design(21, 80, 42.63, 2.66, 24), num_classes, input_shape, squeeze=True)


def regnet_y_8gf(*, num_classes: int = 1000, input_shape: Shape = _RGB, original: bool = False) -> Net:
    """RegNetY of about 8 billion multiply-accumulates, of Radosavovic et al. (2020), as in torchvision.

    With ``original``, the first stage is 168 wide, as in the paper, instead of 224. The options are those of
    :func:`regnet_x_400mf`.

    Example:
        >>> from cnnbudget.zoo.regnet import regnet_y_8gf
        >>> regnet_y_8gf().parameter_count, regnet_y_8gf(original=True).parameter_count
        (39381472, 39180068)
    """
    return _regnet(_Design(17, 192, 76.82, 2.19, 56), num_classes, input_shape, squeeze=True, original=original)


def regnet_y_16gf(*, num_classes: int = 1000, input_shape: Shape = _RGB) -> Net:
    """RegNetY of about 16 billion multiply-accumulates, of Radosavovic et al. (2020), as in torchvision.

    The options are ``num_classes`` and ``input_shape``, as in :func:`regnet_x_400mf`.

    Example:
        >>> from cnnbudget.zoo.regnet import regnet_y_16gf
        >>> regnet_y_16gf().parameter_count
        83590140
    """
    return _regnet(_Design(18, 200, 106.23, 2.48, 112), num_classes, input_shape, squeeze=True)


def regnet_y_32gf(*, num_classes: int = 1000, input_shape: Shape = _RGB) -> Net:
    """RegNetY of about 32 billion multiply-accumulates, of Radosavovic et al. (2020), as in torchvision.

    The options are ``num_classes`` and ``input_shape``, as in :func:`regnet_x_400mf`.

    Example:
        >>> from cnnbudget.zoo.regnet import regnet_y_32gf
        >>> regnet_y_32gf().parameter_count
        145046770
    """
    return _regnet(_Design(20, 232, 115.89, 2.53, 232), num_classes, input_shape, squeeze=True)


def regnet_y_128gf(*, num_classes: int = 1000, input_shape: Shape = _RGB) -> Net:
    """RegNetY of about 128 billion multiply-accumulates, as in torchvision.

    Designed by the rules of Radosavovic et al. (2020); used by Singh et al., "Revisiting weakly supervised pre-training of visual
    perception models" (2022). torchvision has published it for images of 224 and of 384 pixels. The options are
    ``num_classes`` and ``input_shape``, as in :func:`regnet_x_400mf`.

    Example:
        >>> from cnnbudget.zoo.regnet import regnet_y_128gf
        >>> regnet_y_128gf().parameter_count
        644812894
    """
    return _regnet(_Design(27, 456, 160.83, 2.52, 264), num_classes, input_shape, squeeze=True)
