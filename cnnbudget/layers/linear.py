"""The fully connected layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

from cnnbudget.checks import int_from, is_bool, is_int
from cnnbudget.layers.base import Layer, Saved, need_rank
from cnnbudget.tensors import Shape, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Linear"]


@frozen(repr=False)
class Linear(Layer):
    """A fully connected (dense) layer: every output sees every input.

    Input ``(inputs,)``, output ``(features,)``. Parameters: a weight of ``(features, inputs)`` and a bias of ``(features,)``.
    Multiply-accumulates: one per weight, bias additions not counted.

    Args:
        features: Outputs of the layer.
        bias: Whether every output has a bias.

    Example:
        >>> from cnnbudget import Flatten, Linear, Net
        >>> Net.input(1, 28, 28).then(Flatten(), Linear(10)).parameter_count
        7850
    """

    features: int = field(converter=int_from, validator=is_int())
    bias: bool = field(default=True, kw_only=True, validator=is_bool)

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States the output ``(features,)``."""
        (value,) = inputs
        need_rank("Linear", value, least=1, most=1, hint="put Flatten() or GlobalAvgPool() before it")
        return TensorSpec((self.features,))

    def parameters(self, inputs: tuple[TensorSpec, ...]) -> Mapping[str, Shape]:
        """States the weight and the bias."""
        weight = (self.features, inputs[0].channels)
        return {"weight": weight, "bias": (self.features,)} if self.bias else {"weight": weight}

    def buffers(self, inputs: tuple[TensorSpec, ...]) -> Mapping[str, Shape]:
        """States that there are none."""
        return {}

    def macs(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> int:
        """States one per weight."""
        return self.features * inputs[0].channels

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that the input is kept."""
        return Saved(inputs=(0,))

    def extras(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Mapping[str, TensorSpec]:
        """States that there are none."""
        return {}
