"""Layers that only look at their input in another shape."""

from __future__ import annotations

from attrs import frozen

from cnnbudget.layers.base import Alias, Saved, StatelessLayer
from cnnbudget.tensors import TensorSpec

__all__ = ["Flatten"]


@frozen(repr=False)
class Flatten(StatelessLayer):
    """Makes one axis of all: input ``(C, *spatial)``, output ``(C * prod(spatial),)``. A view, no bytes of its own.

    Example:
        >>> from cnnbudget import Flatten, Net
        >>> Net.input(16, 5, 5).then(Flatten()).output_shape
        (400,)
    """

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States the output."""
        return TensorSpec((inputs[0].element_count,))

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that nothing is kept."""
        return Saved()

    def alias(self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, training: bool) -> Alias:
        """States that the output is a view."""
        return Alias()
