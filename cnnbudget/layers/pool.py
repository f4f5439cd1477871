"""Pooling: maximum and average over windows, and the average over a whole feature map. No parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen
from attrs.converters import optional
from attrs.validators import optional as or_none

from cnnbudget.checks import axes_from, is_axes, is_bool
from cnnbudget.dtypes import INT64, Role
from cnnbudget.layers.base import Saved, StatelessLayer, need_rank
from cnnbudget.tensors import TensorSpec
from cnnbudget.windows import Axes, Padding, is_padding, padding_from, slide

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["AvgPool", "GlobalAvgPool", "MaxPool", "WindowPool"]


@frozen(repr=False)
class WindowPool(StatelessLayer):
    """The base of pooling over windows.

    Input ``(C, *spatial)``, output ``(C, *spatial')``. Explicit padding is at most half of the kernel, as in PyTorch.

    Args:
        kernel: Size of the window: one int, or one per spatial axis.
        stride: Step of the window; ``None`` is the kernel.
        padding: As in :class:`~cnnbudget.Conv`.
        ceil_mode: Whether a last, partly covered window counts.
    """

    kernel: Axes = field(converter=axes_from, validator=is_axes())
    stride: Axes | None = field(default=None, kw_only=True, converter=optional(axes_from), validator=or_none(is_axes()))
    padding: Padding = field(default=0, kw_only=True, converter=padding_from, validator=is_padding)
    ceil_mode: bool = field(default=False, kw_only=True, validator=is_bool)

    def _slide(self, value: TensorSpec, dilation: Axes) -> TensorSpec:
        name = type(self).__name__
        need_rank(name, value, least=2)
        sizes = slide(
            name,
            value.spatial,
            self.kernel,
            self.kernel if self.stride is None else self.stride,
            self.padding,
            dilation,
            ceil_mode=self.ceil_mode,
            half_padding=True,
        )
        return TensorSpec((value.channels, *sizes))

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States the output ``(C, *spatial')``."""
        return self._slide(inputs[0], 1)

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that the input is kept."""
        return Saved(inputs=(0,))


@frozen(repr=False)
class MaxPool(WindowPool):
    """Max pooling. A training step also writes the index of every maximum (int64), which backward needs.

    Args:
        kernel: Size of the window: one int, or one per spatial axis.
        stride: Step of the window; ``None`` is the kernel.
        padding: As in :class:`~cnnbudget.Conv`, at most half of the kernel.
        ceil_mode: Whether a last, partly covered window counts.
        dilation: Distance between the positions of a window.

    Example:
        >>> from cnnbudget import MaxPool, Net
        >>> Net.input(64, 112, 112).then(MaxPool(3, stride=2, padding=1)).output_shape
        (64, 56, 56)
    """

    dilation: Axes = field(default=1, kw_only=True, converter=axes_from, validator=is_axes())

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States the output ``(C, *spatial')``."""
        return self._slide(inputs[0], self.dilation)

    def extras(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Mapping[str, TensorSpec]:
        """States the indices: eight bytes per output element under every precision."""
        return {"index": TensorSpec(output.shape, Role.EXTRA, INT64)}


@frozen(repr=False)
class AvgPool(WindowPool):
    """Average pooling.

    Args:
        kernel: Size of the window: one int, or one per spatial axis.
        stride: Step of the window; ``None`` is the kernel.
        padding: As in :class:`~cnnbudget.Conv`, at most half of the kernel.
        ceil_mode: Whether a last, partly covered window counts.

    Example:
        >>> from cnnbudget import AvgPool, Net
        >>> Net.input(6, 28, 28).then(AvgPool(2)).output_shape
        (6, 14, 14)
    """


@frozen(repr=False)
class GlobalAvgPool(StatelessLayer):
    """The average of every feature map: input ``(C, *spatial)``, output ``(C,)``.

    Args:
        keepdims: Whether the spatial axes stay, each with size 1.

    Example:
        >>> from cnnbudget import GlobalAvgPool, Net
        >>> Net.input(512, 7, 7).then(GlobalAvgPool()).output_shape
        (512,)
    """

    keepdims: bool = field(default=False, kw_only=True, validator=is_bool)

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States the output ``(C,)``, or ``(C, 1, ...)``."""
        (value,) = inputs
        need_rank("GlobalAvgPool", value, least=2)
        return TensorSpec((value.channels, *((1,) * len(value.spatial) if self.keepdims else ())))

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that nothing is kept: the gradient of a mean is a constant."""
        return Saved()
