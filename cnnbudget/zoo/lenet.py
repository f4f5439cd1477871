"""LeNet-5: the usual modern reading, and the network of 1998 with its own two kinds of layers.

In 1998 a feature map of the second convolution saw only some of the maps before it, as a table says
(:class:`~cnnbudget.TableConv`), and the output measured distances to drawn characters (:class:`~cnnbudget.RadialBasis`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnbudget.graph.block import Block
from cnnbudget.layers.activation import Tanh
from cnnbudget.layers.conv import Conv
from cnnbudget.layers.linear import Linear, RadialBasis
from cnnbudget.layers.local import TableConv
from cnnbudget.layers.pool import AvgPool
from cnnbudget.layers.reshape import Flatten
from cnnbudget.layers.scale import Scale
from cnnbudget.net import Net
from cnnbudget.zoo.options import start
from cnnbudget.zoo.widths import scaled

if TYPE_CHECKING:
    from cnnbudget.tensors import Shape

__all__ = ["lenet5", "lenet5_1998"]

C3_TABLE = (
    *[tuple(sorted((first + step) % 6 for step in range(3))) for first in range(6)],
    *[tuple(sorted((first + step) % 6 for step in range(4))) for first in range(6)],
    *[tuple(sorted((first + step) % 6 for step in (0, 1, 3, 4))) for first in range(3)],
    tuple(range(6)),
)
"""Table I of the paper: which maps of S2 each of the 16 maps of C3 sees. Three or four neighbours, two pairs, or all."""


def lenet5(*, num_classes: int = 10, padding: int = 0, width: float = 1, input_shape: Shape = (1, 32, 32)) -> Net:
    """LeNet-5 as it is built today: full convolutions, pooling without parameters, a linear output.

    LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition" (1998), section II.B. The table
    of C3, the trainable subsampling and the radial basis functions are gone: :func:`lenet5_1998` has them.

    Args:
        num_classes: Outputs.
        padding: Padding of the first convolution: 2 gives an image of 28x28 the shapes of 32x32.
        width: Factor on all feature maps and hidden units.
        input_shape: ``(C, H, W)`` of one image.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.lenet import lenet5
        >>> lenet5().parameter_count, lenet5(padding=2, input_shape=(1, 28, 28)).parameter_count
        (61706, 61706)
    """
    return (
        start(input_shape)
        .then(Conv(scaled(6, width), 5, padding=padding), Tanh(), AvgPool(2))
        .then(Conv(scaled(16, width), 5), Tanh(), AvgPool(2), Flatten())
        .then(Linear(scaled(120, width)), Tanh(), Linear(scaled(84, width)), Tanh(), Linear(num_classes))
    )


def lenet5_1998(*, num_classes: int = 10, input_shape: Shape = (1, 32, 32)) -> Net:
    """LeNet-5 as it was: C3's table of connections, subsampling with a coefficient and a bias a map, distances as the output.

    LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition" (1998), section II.B: 60,000
    trainable parameters in 340,908 connections. Subsampling adds four numbers and multiplies the sum by a coefficient; here
    they are averaged, which is the same with another coefficient. The codes of the output are drawn, not learned: buffers.

    C5 is a convolution, as in the paper: its maps have one position on 32x32. F6 sees all of them where a larger image gives more.

    Args:
        num_classes: Outputs.
        input_shape: ``(C, H, W)`` of one image.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.lenet import lenet5_1998
        >>> table = lenet5_1998().costs()
        >>> table.parameter_count, table["c3/table_conv"].parameter_count
        (60000, 1516)
    """
    return (
        start(input_shape)
        .then(Conv(6, 5), Tanh(), name="c1")
        .then(_subsampling(), name="s2")
        .then(TableConv(C3_TABLE, 5), Tanh(), name="c3")
        .then(_subsampling(), name="s4")
        .then(Conv(120, 5), Tanh(), name="c5")
        .then(Flatten(), Linear(84), Tanh(), name="f6")
        .then(RadialBasis(num_classes), name="output")
    )


def _subsampling() -> Block:
    """The sum of 2x2 numbers times a coefficient, plus a bias: two parameters for every map."""
    return Block(AvgPool(2), Scale(bias=True), Tanh())
