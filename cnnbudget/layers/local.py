"""Locally connected layers: convolution without weight sharing."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, ClassVar

from attrs import field, frozen

from cnnbudget.checks import axes_from, int_from, is_axes, is_bool, is_int
from cnnbudget.layers.base import Autocast, Layer, Saved, need_rank
from cnnbudget.tensors import Shape, TensorSpec
from cnnbudget.windows import Axes, Padding, is_padding, padding_from, per_axis, slide

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LocallyConnected"]


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
