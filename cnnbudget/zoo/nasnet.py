"""NASNet: two kinds of cells that a search found on small images, stacked.

A *normal* cell keeps the maps' size, a *reduction* cell halves it. Both read the two values before them, add five pairs of what
they compute, and concatenate the sums: a chain of cells that label what they make, and start at labels.

Source: Zoph, Vasudevan, Shlens and Le, "Learning transferable architectures for scalable image recognition" (2018); Keras, for
how a value of another shape is adjusted. Keras pads for its strided layers in layers of their own; here they pad themselves,
``"same"``, which gives the same shapes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cnnbudget.graph.block import At, Block, Branch, Join, Tap
from cnnbudget.layers.activation import ReLU
from cnnbudget.layers.conv import Conv
from cnnbudget.layers.linear import Linear
from cnnbudget.layers.merge import Add
from cnnbudget.layers.norm import BatchNorm
from cnnbudget.layers.pool import AvgPool, GlobalAvgPool, MaxPool
from cnnbudget.layers.rearrange import Pad
from cnnbudget.layers.reshape import Crop
from cnnbudget.net import Net
from cnnbudget.zoo.options import start
from cnnbudget.zoo.xception import separable

if TYPE_CHECKING:
    from cnnbudget.graph.block import Part
    from cnnbudget.tensors import Shape

__all__ = ["nasnet_large", "nasnet_mobile"]


class _Value(NamedTuple):
    """A value that cells read, by the label of its tap."""

    label: str
    channels: int
    halvings: int


_MEAN = AvgPool(3, stride=1, padding="same", count_include_pad=False)
_COARSE_MEAN, _COARSE_MAX = _MEAN.evolve(stride=2), MaxPool(3, stride=2, padding="same")


def _separable(filters: int, kernel: int, stride: int = 1) -> Block:
    """Two separable convolutions, each behind a ReLU and before a normalisation; the first one has the stride."""
    first, second = separable(filters, kernel, stride=stride), separable(filters, kernel)
    return Block(ReLU(), *first, BatchNorm(), ReLU(), *second, BatchNorm())


def _squeeze(filters: int) -> Block:
    """Changes the number of maps."""
    return Block(ReLU(), Conv(filters, 1, bias=False), BatchNorm())


def _halve(filters: int) -> Block:
    """Every second pixel, and every second one beside them: half of the maps each."""
    taken = Block(AvgPool(1, stride=2), Conv(filters // 2, 1, bias=False))
    beside = Block(Pad(((0, 1), (0, 1))), Crop(((1, 0), (1, 0))), taken)
    return Block(ReLU(), Branch(taken, beside), BatchNorm())


def _start(before: _Value, current: _Value, filters: int) -> Block:
    """What a cell reads: ``h`` is its input, ``p`` the value before that, both with the cell's number of maps and one size."""
    adjust: list[Part] = []
    if before.halvings != current.halvings:
        adjust = [_halve(filters)]
    elif before is not current and before.channels != filters:
        adjust = [_squeeze(filters)]
    return Block(
        Block(At(before.label), *adjust, Tap("p"), name="adjust"),
        Block(At(current.label), _squeeze(filters), Tap("h"), name="squeeze"),
    )


def _pair(number: int, left: tuple[str, Part | None], right: tuple[str, Part | None]) -> Block:
    """The sum of two operations on labelled values, labelled with its number."""
    ways = [
        Block(At(label), name=f"{side}{number}") if way is None else Block(At(label), way, name=f"{side}{number}")
        for side, (label, way) in (("left", left), ("right", right))
    ]
    return Block(Branch(*ways, merge=Add()), Tap(f"{number}"))


def _normal(name: str, before: _Value, current: _Value, filters: int) -> tuple[Block, _Value]:
    """A normal cell, and what it makes."""
    cell = Block(
        _start(before, current, filters),
        _pair(1, ("h", _separable(filters, 5)), ("p", _separable(filters, 3))),
        _pair(2, ("p", _separable(filters, 5)), ("p", _separable(filters, 3))),
        _pair(3, ("h", _MEAN), ("p", None)),
        _pair(4, ("p", _MEAN), ("p", _MEAN)),
        _pair(5, ("h", _separable(filters, 3)), ("h", None)),
        At("p"),
        Join("1", "2", "3", "4", "5"),
        Tap(name),
        name=name,
    )
    return cell, _Value(name, 6 * filters, current.halvings)


def _reduction(name: str, before: _Value, current: _Value, filters: int) -> tuple[Block, _Value]:
    """A reduction cell, and what it makes."""
    cell = Block(
        _start(before, current, filters),
        _pair(1, ("h", _separable(filters, 5, 2)), ("p", _separable(filters, 7, 2))),
        _pair(2, ("h", _COARSE_MAX), ("p", _separable(filters, 7, 2))),
        _pair(3, ("h", _COARSE_MEAN), ("p", _separable(filters, 5, 2))),
        Branch(Block(At("2")), Block(At("1"), _MEAN, name="left4"), merge=Add()),  # left, says Keras
        Tap("4"),
        _pair(5, ("1", _separable(filters, 3)), ("h", _COARSE_MAX)),
        At("2"),
        Join("3", "4", "5"),
        Tap(name),
        name=name,
    )
    return cell, _Value(name, 4 * filters, current.halvings + 1)


def _nasnet(
    input_shape: Shape, num_classes: int, *, filters: int, cells: int, stem: int, skip_reduction: bool = False
) -> Net:
    parts: list[Part] = [Block(Conv(stem, 3, stride=2, bias=False), BatchNorm(), Tap("stem"), name="stem")]
    before = current = _Value("stem", stem, 1)
    for number in (1, 2):
        cell, after = _reduction(f"stem_{number}", before, current, filters * number // 4)
        parts.append(cell)
        before, current = current, after
    for stage in range(3):
        if stage:
            cell, after = _reduction(f"reduce_{stage * cells}", before, current, filters * 2**stage)
            parts.append(cell)
            before, current = before if skip_reduction else current, after
        for number in range(cells):
            cell, after = _normal(f"cell_{stage * cells + number}", before, current, filters * 2**stage)
            parts.append(cell)
            before, current = current, after
    return start(input_shape).then(*parts).then(ReLU(), GlobalAvgPool(), Linear(num_classes), name="classifier")


def nasnet_mobile(*, num_classes: int = 1000, input_shape: Shape = (3, 224, 224)) -> Net:
    """NASNet-A (4 @ 1056) of Zoph et al. (2018), as in Keras: stages of four normal cells, 1056 maps at the end.

    The paper prints 5.3 million parameters. Keras prints 5,326,716: it adds the 36,738 running statistics.

    Args:
        num_classes: Outputs of the last layer.
        input_shape: ``(C, H, W)`` of one image.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.nasnet import nasnet_mobile
        >>> nasnet_mobile().parameter_count
        5289978
    """
    return _nasnet(input_shape, num_classes, filters=44, cells=4, stem=32)


def nasnet_large(*, num_classes: int = 1000, input_shape: Shape = (3, 331, 331)) -> Net:
    """NASNet-A (6 @ 4032) of Zoph et al. (2018), as in Keras. The options are those of :func:`nasnet_mobile`.

    Example:
        >>> from cnnbudget.zoo.nasnet import nasnet_large
        >>> nasnet_large().parameter_count
        88753150
    """
    return _nasnet(input_shape, num_classes, filters=168, cells=6, stem=96, skip_reduction=True)
