"""Convolution."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from attrs import field, frozen

from cnnbudget.checks import axes_from, int_from, is_axes, is_bool, is_int
from cnnbudget.errors import ShapeError
from cnnbudget.layers.base import Layer, Saved, need_rank
from cnnbudget.tensors import Shape, TensorSpec
from cnnbudget.windows import Axes, Padding, is_padding, padding_from, slide

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Conv"]


@frozen(repr=False)
class Conv(Layer):
    """A convolution over any number of spatial axes; the rank comes from the input.

    Input ``(C, *spatial)``, output ``(filters, *spatial')``. Parameters: a weight of ``(filters, C / groups, *kernel)`` and a
    bias of ``(filters,)``. Multiply-accumulates: one per weight and output position, bias additions not counted.
    Source: Dumoulin and Visin (2016); ``"same"`` is TensorFlow's rule.

    Args:
        filters: Feature maps of the output.
        kernel: Size of the window: one int, or one per spatial axis.
        stride: Step of the window, likewise.
        padding: ``"same"`` (output ``ceil(n / stride)``, the odd pixel at the end), ``"valid"``, an int, one int per axis, or a
            ``(before, after)`` pair per axis.
        dilation: Distance between the positions of a window.
        groups: Groups of channels that do not see each other; must divide the channels and the filters.
        bias: Whether every feature map has a bias.

    Example:
        >>> from cnnbudget import Conv, Net
        >>> net = Net.input(3, 200, 300).then(Conv(100, 3, stride=2, padding="same"))
        >>> net.output_shape, net.parameter_count
        ((100, 100, 150), 2800)
    """

    filters: int = field(converter=int_from, validator=is_int())
    kernel: Axes = field(converter=axes_from, validator=is_axes())
    stride: Axes = field(default=1, kw_only=True, converter=axes_from, validator=is_axes())
    padding: Padding = field(default=0, kw_only=True, converter=padding_from, validator=is_padding)
    dilation: Axes = field(default=1, kw_only=True, converter=axes_from, validator=is_axes())
    groups: int = field(default=1, kw_only=True, converter=int_from, validator=is_int())
    bias: bool = field(default=True, kw_only=True, validator=is_bool)

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States the output ``(filters, *spatial')``."""
        (value,) = inputs
        need_rank("Conv", value, least=2)
        if value.channels % self.groups or self.filters % self.groups:
            raise ShapeError(
                "Conv.groups must divide the channels and the filters",
                got=f"{self.groups} groups on {value.channels} channels and {self.filters} filters",
                expected="a divisor of both",
                hint="change groups or filters",
            )
        sizes = slide("Conv", value.spatial, self.kernel, self.stride, self.padding, self.dilation)
        return TensorSpec((self.filters, *sizes))

    def weight_shape(self, value: TensorSpec) -> Shape:
        """Shape of the weight on an input: ``(filters, C / groups, *kernel)``.

        Args:
            value: The input.

        Returns:
            The shape.
        """
        kernel = self.kernel if isinstance(self.kernel, tuple) else (self.kernel,) * len(value.spatial)
        return (self.filters, value.channels // self.groups, *kernel)

    def parameters(self, inputs: tuple[TensorSpec, ...]) -> Mapping[str, Shape]:
        """States the weight and the bias."""
        weight = self.weight_shape(inputs[0])
        return {"weight": weight, "bias": (self.filters,)} if self.bias else {"weight": weight}

    def buffers(self, inputs: tuple[TensorSpec, ...]) -> Mapping[str, Shape]:
        """States that there are none."""
        return {}

    def macs(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> int:
        """States output positions x weight elements."""
        return prod(output.spatial) * prod(self.weight_shape(inputs[0]))

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that the input is kept: the weight's gradient is computed from it."""
        return Saved(inputs=(0,))

    def extras(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Mapping[str, TensorSpec]:
        """States that there are none."""
        return {}
