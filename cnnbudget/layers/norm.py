"""Normalisation: over the batch, and over neighbouring feature maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

from cnnbudget.checks import int_from, is_bool, is_int, is_number
from cnnbudget.dtypes import FLOAT32, Role
from cnnbudget.layers.base import ElementwiseLayer, Saved, need_rank
from cnnbudget.tensors import Shape, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BatchNorm", "LocalResponseNorm"]


@frozen(repr=False)
class BatchNorm(ElementwiseLayer):
    """Batch normalisation: every channel is normalised over the batch and the spatial axes.

    Input and output ``(C, *spatial)``. Parameters: scale and shift, ``(C,)`` each. Buffers: running mean and variance, ``(C,)``
    each, 32 bits under every preset. A training step keeps the input and two 32-bit statistics per channel, however large
    the batch. Source: Ioffe and Szegedy (2015); what is kept was measured in PyTorch.

    Args:
        affine: Whether it has a scale and a shift.
        track_running_stats: Whether it has running statistics.

    Example:
        >>> from cnnbudget import BatchNorm, Net
        >>> net = Net.input(64, 8, 8).then(BatchNorm())
        >>> net.parameter_count, net.buffer_count
        (128, 128)
    """

    affine: bool = field(default=True, kw_only=True, validator=is_bool)
    track_running_stats: bool = field(default=True, kw_only=True, validator=is_bool)

    def parameters(self, inputs: tuple[TensorSpec, ...]) -> Mapping[str, Shape]:
        """States scale and shift."""
        channels = (inputs[0].channels,)
        return {"weight": channels, "bias": channels} if self.affine else {}

    def buffers(self, inputs: tuple[TensorSpec, ...]) -> Mapping[str, Shape]:
        """States the running statistics."""
        channels = (inputs[0].channels,)
        return {"running_mean": channels, "running_var": channels} if self.track_running_stats else {}

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that the input is kept."""
        return Saved(inputs=(0,))

    def extras(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Mapping[str, TensorSpec]:
        """States mean and inverse standard deviation of the batch."""
        statistic = TensorSpec((inputs[0].channels,), Role.EXTRA, FLOAT32, batched=False)
        return {"mean": statistic, "invstd": statistic}


@frozen(repr=False)
class LocalResponseNorm(ElementwiseLayer):
    """Local response normalisation: strong activations inhibit the same position in neighbouring feature maps.

    Input and output ``(C, *spatial)``; no parameters. A training step keeps, as PyTorch composes it, the input, the squares
    padded by ``size - 1`` maps, and two values of the input's size. Source: Krizhevsky, Sutskever and Hinton (2012),
    section 3.3, whose constants are the defaults.

    Args:
        size: How many neighbouring maps are summed.
        alpha: Weight of the sum.
        beta: Exponent.
        k: Offset.

    Example:
        >>> from cnnbudget import LocalResponseNorm, Net
        >>> Net.input(96, 55, 55).then(LocalResponseNorm()).parameter_count
        0
    """

    size: int = field(default=5, converter=int_from, validator=is_int())
    alpha: float = field(default=1e-4, kw_only=True, validator=is_number(0, 1e6))
    beta: float = field(default=0.75, kw_only=True, validator=is_number(0, 1e6))
    k: float = field(default=2.0, kw_only=True, validator=is_number(0, 1e6))

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States that the output is like the input."""
        need_rank("LocalResponseNorm", inputs[0], least=2)
        return inputs[0]

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that the input is kept."""
        return Saved(inputs=(0,))

    def extras(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Mapping[str, TensorSpec]:
        """States the padded squares, the sums before the power, and the divisor."""
        channels, *spatial = output.shape
        like_output = TensorSpec(output.shape, Role.EXTRA)
        squares = TensorSpec((channels + self.size - 1, *spatial), Role.EXTRA)
        return {"squares": squares, "sums": like_output, "divisor": like_output}
