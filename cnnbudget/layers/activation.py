"""Activation functions: one output per input, no parameters."""

from __future__ import annotations

from typing import ClassVar

from attrs import field, frozen

from cnnbudget.checks import int_from, is_bool, is_int
from cnnbudget.errors import ShapeError
from cnnbudget.layers.base import Alias, ElementwiseLayer, Saved
from cnnbudget.tensors import TensorSpec

__all__ = ["ReLU", "Sigmoid", "Softmax", "Tanh"]


@frozen(repr=False)
class _FromOutput(ElementwiseLayer):
    """An activation whose gradient is computed from its output."""

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that the output is kept, not the input."""
        return Saved(output=True)


@frozen(repr=False)
class ReLU(_FromOutput):
    """``max(0, x)``.

    Args:
        inplace: Whether it overwrites its input's storage instead of taking one of its own.

    Example:
        >>> from cnnbudget import Conv, Inference, Net, ReLU
        >>> net = Net.input(3, 32, 32).then(Conv(8, 3), ReLU(inplace=True))
        >>> net.profile(Inference()).activation_peak  # the input and one set of maps
        Bytes(41088)
    """

    word: ClassVar[str | None] = "relu"

    inplace: bool = field(default=False, kw_only=True, validator=is_bool)

    def alias(self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, training: bool) -> Alias | None:
        """States that the in-place variant reuses its input's storage."""
        return Alias(in_place=True) if self.inplace else None


@frozen(repr=False)
class Sigmoid(_FromOutput):
    """``1 / (1 + exp(-x))``."""


@frozen(repr=False)
class Tanh(_FromOutput):
    """The hyperbolic tangent."""


@frozen(repr=False)
class Softmax(_FromOutput):
    """Exponentials that sum to one along an axis.

    Args:
        axis: The axis of one sample; 0 is the channels. Negative axes count from the end.
    """

    axis: int = field(default=0, kw_only=True, converter=int_from, validator=is_int(-8, 7))

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States that the output is like the input, which must have the axis."""
        (value,) = inputs
        rank = len(value.shape)
        if not -rank <= self.axis < rank:
            raise ShapeError(
                "Softmax.axis is not an axis of the input",
                got=f"{self.axis} on {value.shape}",
                expected=f"{-rank} to {rank - 1}",
            )
        return value
