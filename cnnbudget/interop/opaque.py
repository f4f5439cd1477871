"""A layer that stands for what cannot be read: its shape is known, its cost is not, and every question says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from attrs import field, frozen

from cnnbudget.layers.base import Layer
from cnnbudget.tensors import Shape, TensorSpec, shape_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Opaque"]


def _shape(value: Shape) -> Shape:
    return shape_of(value, "Opaque.shape")


def _shapes(value: Mapping[str, Shape] | tuple[tuple[str, Shape], ...]) -> tuple[tuple[str, Shape], ...]:
    pairs = value if isinstance(value, tuple) else value.items()
    return tuple((name, shape_of(shape, "a shape of Opaque.weights")) for name, shape in pairs)


@frozen(repr=False)
class Opaque(Layer):
    """An operation of a framework that has no layer here. Readers make it when they are told ``unsupported="opaque"``.

    Its output and its parameters are known. Its multiply-accumulates and whatever else it keeps for backward are not: a question
    that needs them says so, and names the node. Its inputs and its output are taken to be kept, as for any layer that does
    not say what it needs.

    Args:
        operation: What the framework calls it.
        shape: Shape of the output of one sample.
        weights: Shapes of its parameters by name.

    Example:
        >>> from cnnbudget import Net
        >>> from cnnbudget.interop import Opaque
        >>> Net.input(8, 4).then(Opaque("aten.fft_fft.default", (8, 4))).output_shape
        (8, 4)
    """

    arity: ClassVar[int | None] = None

    operation: str
    shape: Shape = field(converter=_shape)
    weights: tuple[tuple[str, Shape], ...] = field(default=(), kw_only=True, converter=_shapes)

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States the output."""
        return TensorSpec(self.shape)

    def parameters(self, inputs: tuple[TensorSpec, ...]) -> Mapping[str, Shape]:
        """States the parameters."""
        return dict(self.weights)

    def buffers(self, inputs: tuple[TensorSpec, ...]) -> Mapping[str, Shape]:
        """States that there are none."""
        return {}
