"""Layers that act in training only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

from cnnbudget.checks import is_number
from cnnbudget.dtypes import FLOAT32, Role
from cnnbudget.layers.base import Alias, ElementwiseLayer, Saved
from cnnbudget.tensors import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Dropout"]


@frozen(repr=False)
class Dropout(ElementwiseLayer):
    """Sets a part of the values to zero in training; in inference it is the identity and takes no memory.

    Input and output ``(C, *spatial)``. A training step keeps a mask of one 32-bit number per value, as PyTorch does on a CPU
    (measured); it never shrinks with the precision.

    Args:
        rate: The part of the values that is dropped, 0 to 1. At 0 the layer is the identity in training too.
    """

    rate: float = field(default=0.5, validator=is_number(0, 1))

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that no value is kept, only the mask."""
        return Saved()

    def extras(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Mapping[str, TensorSpec]:
        """States the mask."""
        return {"mask": TensorSpec(output.shape, Role.EXTRA, FLOAT32)} if self.rate else {}

    def alias(self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, training: bool) -> Alias | None:
        """States that the output is its input in inference."""
        return None if training and self.rate else Alias()
