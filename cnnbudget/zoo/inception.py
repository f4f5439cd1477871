"""Inception v3: large windows taken apart into small and one-sided ones, side by side."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from cnnbudget.errors import ShapeError
from cnnbudget.graph.block import Block, Branch
from cnnbudget.layers.activation import ReLU
from cnnbudget.layers.conv import Conv
from cnnbudget.layers.linear import Linear
from cnnbudget.layers.norm import BatchNorm
from cnnbudget.layers.pool import AdaptiveAvgPool, AvgPool, MaxPool
from cnnbudget.layers.regularize import Dropout
from cnnbudget.layers.reshape import Flatten
from cnnbudget.net import Net
from cnnbudget.zoo.options import check_flags, start
from cnnbudget.zoo.widths import scaled

if TYPE_CHECKING:
    from collections.abc import Callable

    from cnnbudget.tensors import Shape

    Axes = int | tuple[int, int]
    Unit = Callable[..., Block]

__all__ = ["inception_v3"]


def inception_v3(
    *,
    num_classes: int = 1000,
    aux_logits: bool = True,
    dropout: float = 0.5,
    width: float = 1,
    input_shape: Shape = (3, 299, 299),
) -> Net:
    """Inception v3, as torchvision has it.

    Szegedy, Vanhoucke, Ioffe, Shlens and Wojna, "Rethinking the inception architecture for computer vision" (2015). In
    training there is a second output, ``AuxLogits``; in inference nobody needs it: ask for ``aux_logits=False``, and likewise
    for images that leave the auxiliary head less than the 17x17 positions that it needs. TF-Slim's and Keras' batch
    normalisation has no factors: 17,216 parameters less without the auxiliary head.

    Args:
        num_classes: Outputs, of every head.
        aux_logits: Whether it has the auxiliary head.
        dropout: Rate of the dropout before the last layer.
        width: Factor on all feature maps.
        input_shape: ``(C, H, W)`` of one image.

    Returns:
        The net; with the auxiliary head, its outputs are the main one and ``AuxLogits``.

    Raises:
        ShapeError: If the image is too small for the auxiliary head.

    Example:
        >>> from cnnbudget.zoo.inception import inception_v3
        >>> inception_v3().parameter_count, inception_v3(aux_logits=False).parameter_count
        (27161264, 23834568)
    """
    check_flags(aux_logits=aux_logits)
    unit = partial(_conv, width)
    net = (
        start(input_shape)
        .then(unit(32, 3, stride=2), name="Conv2d_1a_3x3")
        .then(unit(32, 3), name="Conv2d_2a_3x3")
        .then(unit(64, 3, padding=1), name="Conv2d_2b_3x3")
        .then(MaxPool(3, stride=2), name="maxpool1")
        .then(unit(80, 1), name="Conv2d_3b_1x1")
        .then(unit(192, 3), name="Conv2d_4a_3x3")
        .then(MaxPool(3, stride=2), name="maxpool2")
        .then(_module_a(unit, 32), name="Mixed_5b")
        .then(_module_a(unit, 64), name="Mixed_5c")
        .then(_module_a(unit, 64), name="Mixed_5d")
        .then(_reduction_b(unit), name="Mixed_6a")
        .then(_module_c(unit, 128), name="Mixed_6b")
        .then(_module_c(unit, 160), name="Mixed_6c")
        .then(_module_c(unit, 160), name="Mixed_6d")
        .then(_module_c(unit, 192), name="Mixed_6e")
    )
    if aux_logits:
        net = net.output("AuxLogits", _auxiliary(unit, num_classes, net.output_shape))
    return (
        net.then(_reduction_d(unit), name="Mixed_7a")
        .then(_module_e(unit), name="Mixed_7b")
        .then(_module_e(unit), name="Mixed_7c")
        .then(AdaptiveAvgPool(1), name="avgpool")
        .then(Dropout(dropout), Flatten())
        .then(Linear(num_classes), name="fc")
    )


def _conv(width: float, filters: int, kernel: Axes, *, stride: int = 1, padding: Axes = 0) -> Block:
    return Block(
        Conv(scaled(filters, width), kernel, stride=stride, padding=padding, bias=False),
        BatchNorm(count_batches=True),
        ReLU(inplace=True),
    )


def _row(unit: Unit, filters: int, size: int) -> Block:
    """A window of one row."""
    return unit(filters, (1, size), padding=(0, size // 2))


def _column(unit: Unit, filters: int, size: int) -> Block:
    """A window of one column."""
    return unit(filters, (size, 1), padding=(size // 2, 0))


def _steps(name: str, *units: Block) -> Block:
    """Units one after the other, each in a scope of its own."""
    return Block(*[Block(unit, name=f"{name}_{number}") for number, unit in enumerate(units, start=1)])


def _pool_branch(unit: Unit, filters: int) -> Block:
    return Block(AvgPool(3, stride=1, padding=1), Block(unit(filters, 1), name="branch_pool"))


def _module_a(unit: Unit, pooled: int) -> Branch:
    """Figure 5 of the paper: a 5x5 window, and the same made of two 3x3 ones."""
    return Branch(
        Block(unit(64, 1), name="branch1x1"),
        _steps("branch5x5", unit(48, 1), unit(64, 5, padding=2)),
        _steps("branch3x3dbl", unit(64, 1), unit(96, 3, padding=1), unit(96, 3, padding=1)),
        _pool_branch(unit, pooled),
    )


def _reduction_b(unit: Unit) -> Branch:
    """Figure 10 of the paper: halves the maps' size without a bottleneck."""
    return Branch(
        Block(unit(384, 3, stride=2), name="branch3x3"),
        _steps("branch3x3dbl", unit(64, 1), unit(96, 3, padding=1), unit(96, 3, stride=2)),
        MaxPool(3, stride=2),
    )


def _module_c(unit: Unit, narrow: int) -> Branch:
    """Figure 6 of the paper: 7x7 windows made of rows and columns."""
    return Branch(
        Block(unit(192, 1), name="branch1x1"),
        _steps("branch7x7", unit(narrow, 1), _row(unit, narrow, 7), _column(unit, 192, 7)),
        _steps(
            "branch7x7dbl",
            unit(narrow, 1),
            _column(unit, narrow, 7),
            _row(unit, narrow, 7),
            _column(unit, narrow, 7),
            _row(unit, 192, 7),
        ),
        _pool_branch(unit, 192),
    )


def _reduction_d(unit: Unit) -> Branch:
    """Halves the maps' size, after a 7x7 window in one of the ways."""
    return Branch(
        _steps("branch3x3", unit(192, 1), unit(320, 3, stride=2)),
        _steps("branch7x7x3", unit(192, 1), _row(unit, 192, 7), _column(unit, 192, 7), unit(192, 3, stride=2)),
        MaxPool(3, stride=2),
    )


def _module_e(unit: Unit) -> Branch:
    """Figure 7 of the paper: rows and columns side by side, for many maps of 8x8."""

    def sides(name: str) -> Branch:
        return Branch(Block(_row(unit, 384, 3), name=f"{name}a"), Block(_column(unit, 384, 3), name=f"{name}b"))

    return Branch(
        Block(unit(320, 1), name="branch1x1"),
        Block(_steps("branch3x3", unit(384, 1)), sides("branch3x3_2")),
        Block(_steps("branch3x3dbl", unit(448, 1), unit(384, 3, padding=1)), sides("branch3x3dbl_3")),
        _pool_branch(unit, 192),
    )


def _auxiliary(unit: Unit, num_classes: int, shape: Shape) -> Block:
    """The second head: pooling with 5x5 windows leaves 5x5 positions of 17x17, and a 5x5 convolution one."""
    if min(shape[1:]) < 17:
        raise ShapeError(
            "the auxiliary head of inception_v3 needs maps of at least 17x17",
            got=f"{shape} behind Mixed_6e",
            expected="an input of at least 299x299",
            hint="use aux_logits=False: the main output has no such limit",
        )
    return Block(
        AvgPool(5, stride=3),
        Block(unit(128, 1), name="conv0"),
        Block(unit(768, 5), name="conv1"),
        AdaptiveAvgPool(1),
        Flatten(),
        Block(Linear(num_classes), name="fc"),
    )
