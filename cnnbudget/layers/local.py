"""Convolutions with other connections: without weight sharing, and between chosen maps alone."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import field, frozen

from cnnbudget.checks import axes_from, exact_int, int_from, is_axes, is_bool, is_int
from cnnbudget.errors import InvalidValueError, ShapeError, shorten
from cnnbudget.layers.base import Autocast, Layer, Saved, need_rank
from cnnbudget.tensors import Shape, TensorSpec
from cnnbudget.windows import Axes, Padding, is_padding, padding_from, per_axis, slide

if TYPE_CHECKING:
    from collections.abc import Mapping

    from attrs import Attribute

__all__ = ["LocallyConnected", "TableConv"]


@frozen(repr=False)
class LocallyConnected(Layer):
    """An unshared convolution: every output position has a kernel and a bias of its own.

    Input ``(C, *spatial)``, output ``(filters, *spatial')``, like a :class:`~cnnbudget.Conv`. Parameters: a weight of
    ``(*spatial', filters, C, *kernel)`` and a bias of ``(filters, *spatial')``. Multiply-accumulates: one per weight, which is
    exactly what the convolution has. A training step keeps the input: that is the least (no framework was measured), and an
    implementation that unrolls its windows keeps ``prod(kernel)`` times as much.
    Source: LeCun (1989), "Generalization and network design strategies"; Keras 2's ``LocallyConnected2D``.

    Args:
        filters: Feature maps of the output.
        kernel: Size of the window: one int, or one per spatial axis.
        stride: Step of the window, likewise.
        padding: As in :class:`~cnnbudget.Conv`.
        bias: Whether every output has a bias.

    Example:
        >>> from cnnbudget import Conv, LocallyConnected, Net
        >>> image = Net.input(3, 150, 100)
        >>> image.then(Conv(1, 5, padding="same")).parameter_count
        76
        >>> image.then(LocallyConnected(1, 5, padding="same")).parameter_count
        1140000
    """

    autocast: ClassVar[Autocast] = Autocast.LOW

    filters: int = field(converter=int_from, validator=is_int())
    kernel: Axes = field(converter=axes_from, validator=is_axes())
    stride: Axes = field(default=1, kw_only=True, converter=axes_from, validator=is_axes())
    padding: Padding = field(default=0, kw_only=True, converter=padding_from, validator=is_padding)
    bias: bool = field(default=True, kw_only=True, validator=is_bool)

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States the output ``(filters, *spatial')``."""
        (value,) = inputs
        need_rank("LocallyConnected", value, least=2)
        return TensorSpec(
            (self.filters, *slide("LocallyConnected", value.spatial, self.kernel, self.stride, self.padding))
        )

    def parameters(self, inputs: tuple[TensorSpec, ...]) -> Mapping[str, Shape]:
        """States a weight and a bias for every output position."""
        (value,) = inputs
        output = self.infer(inputs)
        kernel = per_axis(self.kernel, len(value.spatial), "LocallyConnected.kernel")
        weight = (*output.spatial, self.filters, value.channels, *kernel)
        return {"weight": weight, "bias": output.shape} if self.bias else {"weight": weight}

    def buffers(self, inputs: tuple[TensorSpec, ...]) -> Mapping[str, Shape]:
        """States that there are none."""
        return {}

    def macs(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> int:
        """States one per weight."""
        return prod(self.parameters(inputs)["weight"])

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that the input is kept: the weights' gradient is computed from it."""
        return Saved(inputs=(0,))

    def extras(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Mapping[str, TensorSpec]:
        """States that there are none."""
        return {}


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
        >>> from cnnbudget import Net, TableConv
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
        kernel = per_axis(self.kernel, len(inputs[0].spatial), "TableConv.kernel")
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
