"""LeNet-5: the usual modern reading, and the network of 1998 with its own two kinds of layers.

In 1998 a feature map of the second convolution saw only some of the maps before it, as a table says (:class:`TableConv`), and
the output measured distances to drawn characters (:class:`RadialBasis`).
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from cnnbudget.checks import axes_from, exact_int, int_from, is_axes, is_bool, is_int
from cnnbudget.errors import InvalidValueError, ShapeError, shorten
from cnnbudget.graph.block import Block
from cnnbudget.layers.activation import Tanh
from cnnbudget.layers.base import Layer, Saved, StatelessLayer, need_rank
from cnnbudget.layers.conv import Conv
from cnnbudget.layers.linear import Linear
from cnnbudget.layers.pool import AvgPool
from cnnbudget.layers.reshape import Flatten
from cnnbudget.layers.scale import Scale
from cnnbudget.net import Net
from cnnbudget.tensors import Shape, TensorSpec
from cnnbudget.windows import Axes, Padding, is_padding, padding_from, slide

if TYPE_CHECKING:
    from collections.abc import Mapping

    from attrs import Attribute

__all__ = ["lenet5", "lenet5_1998"]

C3_TABLE = (
    *[tuple(sorted((first + step) % 6 for step in range(3))) for first in range(6)],
    *[tuple(sorted((first + step) % 6 for step in range(4))) for first in range(6)],
    *[tuple(sorted((first + step) % 6 for step in (0, 1, 3, 4))) for first in range(3)],
    tuple(range(6)),
)
"""Table I of the paper: which maps of S2 each of the 16 maps of C3 sees. Three or four neighbours, two pairs, or all."""


def lenet5(*, num_classes: int = 10, padding: int = 0, input_shape: Shape = (1, 32, 32)) -> Net:
    """LeNet-5 as it is built today: full convolutions, pooling without parameters, a linear output.

    LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition" (1998), section II.B. The table
    of C3, the trainable subsampling and the radial basis functions are gone: :func:`lenet5_1998` has them.

    Args:
        num_classes: Outputs.
        padding: Padding of the first convolution: 2 gives an image of 28x28 the shapes of 32x32.
        input_shape: ``(C, H, W)`` of one image.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.lenet import lenet5
        >>> lenet5().parameter_count, lenet5(padding=2, input_shape=(1, 28, 28)).parameter_count
        (61706, 61706)
    """
    return (
        Net.input(*input_shape)
        .then(Conv(6, 5, padding=padding), Tanh(), AvgPool(2))
        .then(Conv(16, 5), Tanh(), AvgPool(2), Flatten())
        .then(Linear(120), Tanh(), Linear(84), Tanh(), Linear(num_classes))
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
        Net.input(*input_shape)
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


def _table_from(value: Any) -> Any:
    """Normalises sequences of ints; leaves everything else for the validator to refuse."""
    if not isinstance(value, (tuple, list)):
        return value
    return tuple(tuple(map(int_from, maps)) if isinstance(maps, (tuple, list)) else maps for maps in value)


def _is_table(instance: Any, attribute: Attribute[Any], value: Any) -> None:
    what = f"{type(instance).__name__}.{attribute.name}"
    if not isinstance(value, tuple) or not value or not all(isinstance(maps, tuple) and maps for maps in value):
        raise InvalidValueError(
            f"{what} is not readable",
            got=shorten(value),
            expected="for every output map a tuple of the input maps it sees, at least one",
        )
    for number, maps in enumerate(value):
        for channel in maps:
            exact_int(channel, f"{what}[{number}]", 0)
        if len(set(maps)) < len(maps):
            raise InvalidValueError(f"{what}[{number}] names an input map twice", got=shorten(maps))


@frozen(repr=False)
class TableConv(Layer):
    """A convolution whose every output map sees only the input maps that a table names.

    Input ``(C, *spatial)``, output ``(len(table), *spatial')``. Parameters: a kernel for every connection of the table,
    ``(connections, *kernel)``, and a bias of ``(len(table),)``. Multiply-accumulates: one per weight and output position. Source:
    LeCun et al. (1998), Table I.

    Args:
        table: For every output map the input maps that it sees, counted from 0.
        kernel: Size of the window: one int, or one per spatial axis.
        stride: Step of the window, likewise.
        padding: As in :class:`~cnnbudget.Conv`.
        bias: Whether every output map has a bias.

    Example:
        >>> from cnnbudget import Net
        >>> from cnnbudget.zoo.lenet import TableConv
        >>> Net.input(3, 14, 14).then(TableConv(((0, 1), (1, 2), (0, 1, 2)), 5)).parameter_count  # 7 * 25 + 3
        178
    """

    table: tuple[tuple[int, ...], ...] = field(converter=_table_from, validator=_is_table)
    kernel: Axes = field(converter=axes_from, validator=is_axes())
    stride: Axes = field(default=1, kw_only=True, converter=axes_from, validator=is_axes())
    padding: Padding = field(default=0, kw_only=True, converter=padding_from, validator=is_padding)
    bias: bool = field(default=True, kw_only=True, validator=is_bool)

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States the output ``(len(table), *spatial')``."""
        (value,) = inputs
        need_rank("TableConv", value, least=2)
        last = max(map(max, self.table))
        if last >= value.channels:
            raise ShapeError(
                "TableConv.table names an input map that is not there",
                got=f"map {last} of {value.channels}",
                expected=f"maps from 0 to {value.channels - 1}",
            )
        sizes = slide("TableConv", value.spatial, self.kernel, self.stride, self.padding, 1)
        return TensorSpec((len(self.table), *sizes))

    def parameters(self, inputs: tuple[TensorSpec, ...]) -> Mapping[str, Shape]:
        """States the weight and the bias."""
        kernel = self.kernel if isinstance(self.kernel, tuple) else (self.kernel,) * len(inputs[0].spatial)
        weight = (sum(map(len, self.table)), *kernel)
        return {"weight": weight, "bias": (len(self.table),)} if self.bias else {"weight": weight}

    def buffers(self, inputs: tuple[TensorSpec, ...]) -> Mapping[str, Shape]:
        """States that there are none."""
        return {}

    def macs(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> int:
        """States output positions x weight elements."""
        return prod(output.spatial) * prod(self.parameters(inputs)["weight"])

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that the input is kept: the weight's gradient is computed from it."""
        return Saved(inputs=(0,))

    def extras(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Mapping[str, TensorSpec]:
        """States that there are none."""
        return {}


@frozen(repr=False)
class RadialBasis(StatelessLayer):
    """Squared distances of the input to fixed codes, one for every class: the smallest one wins.

    Input ``(inputs,)``, output ``(classes,)``. No parameters; the codes, ``(classes, inputs)``, are buffers. One
    multiply-accumulate for every number of a code, as in a linear layer. A training step keeps the input. Source: LeCun et
    al. (1998).

    Args:
        classes: Outputs.

    Example:
        >>> from cnnbudget import Net
        >>> from cnnbudget.zoo.lenet import RadialBasis
        >>> net = Net.input(84).then(RadialBasis(10))
        >>> net.parameter_count, net.buffer_count
        (0, 840)
    """

    classes: int = field(converter=int_from, validator=is_int())

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States the output ``(classes,)``."""
        need_rank("RadialBasis", inputs[0], least=1, most=1, hint="put Flatten() before it")
        return TensorSpec((self.classes,))

    def buffers(self, inputs: tuple[TensorSpec, ...]) -> Mapping[str, Shape]:
        """States the codes."""
        return {"codes": (self.classes, inputs[0].channels)}

    def macs(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> int:
        """States one per number of a code."""
        return self.classes * inputs[0].channels

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that the input is kept."""
        return Saved(inputs=(0,))
