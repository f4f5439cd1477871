"""Layers that make one value of several: sums, products, maxima and concatenations."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from attrs import field, frozen

from cnnbudget.checks import int_from, is_bool, is_int
from cnnbudget.dtypes import BOOL, Role
from cnnbudget.errors import ShapeError
from cnnbudget.layers.base import Alias, Gradient, Saved, StatelessLayer, scratch
from cnnbudget.tensors import Shape, TensorSpec, axis_in, broadcast_shapes, show_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Add", "Concat", "Maximum", "Multiply"]


def _shapes_of(layer: StatelessLayer, inputs: tuple[TensorSpec, ...], least: int) -> list[Shape]:
    if len(inputs) < least:
        raise ShapeError(f"{type(layer).__name__} needs at least {least} inputs", got=str(len(inputs)))
    return [value.shape for value in inputs]


def _need_equal(layer: StatelessLayer, shapes: list[Shape], hint: str) -> None:
    if len(set(shapes)) > 1:
        raise ShapeError(
            f"{type(layer).__name__} needs inputs of equal shapes",
            got=show_shapes(shapes),
            expected=f"{shapes[0]} everywhere",
            hint=hint,
        )


@frozen(repr=False)
class Add(StatelessLayer):
    """The sum of two or more values of equal shapes, as at the end of a residual block.

    Nothing is kept for backward: the gradient of every input is the output's. Source: He et al. (2015).

    Args:
        inplace: Whether the sum overwrites the first input's storage (``x += shortcut``) instead of taking one of its own.

    Example:
        >>> from cnnbudget import Add, TensorSpec
        >>> Add().infer((TensorSpec((64, 56, 56)), TensorSpec((64, 56, 56)))).shape
        (64, 56, 56)
    """

    arity: ClassVar[int | None] = None

    inplace: bool = field(default=False, kw_only=True, validator=is_bool)

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States that the output is like every input."""
        hint = (
            "a 1x1 convolution on one way changes its channels, and its stride halves the maps; Concat joins channels"
        )
        _need_equal(self, _shapes_of(self, inputs, 2), hint)
        return inputs[0]

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that nothing is kept."""
        return Saved()

    def alias(self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, training: bool) -> Alias | None:
        """States that the in-place variant reuses its first input's storage."""
        return Alias(0, in_place=True) if self.inplace else None

    def gradients(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> tuple[Gradient, ...]:
        """States that the gradient of every input is the output's."""
        return (Gradient.SAME,) * len(inputs)

    def temporaries(
        self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, training: bool
    ) -> Mapping[str, TensorSpec]:
        """States the sum of the inputs before the last, where there are more than two."""
        return {"partial": scratch(*output.shape)} if len(inputs) > 2 and not self.inplace else {}


@frozen(repr=False)
class Concat(StatelessLayer):
    """One value after the other along an axis, as at the end of an inception module. Nothing is kept for backward.

    Inputs ``(C1, *spatial)``, ``(C2, *spatial)``, ..., output ``(C1 + C2 + ..., *spatial)``: along the other axes they are equal.
    Source: Szegedy et al. (2014).

    Args:
        axis: The axis of one sample; 0 is the channels. Negative axes count from the end.

    Example:
        >>> from cnnbudget import Concat, TensorSpec
        >>> Concat().infer((TensorSpec((64, 28, 28)), TensorSpec((128, 28, 28)))).shape
        (192, 28, 28)
    """

    arity: ClassVar[int | None] = None

    axis: int = field(default=0, kw_only=True, converter=int_from, validator=is_int(-8, 7))

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States the output: sizes add up along the axis."""
        shapes = _shapes_of(self, inputs, 1)
        at = axis_in(self.axis, shapes[0], "Concat.axis")
        try:
            axes = list(zip(*shapes, strict=True))
        except ValueError:
            text = "Concat needs inputs with the same number of axes"
            raise ShapeError(text, got=show_shapes(shapes)) from None
        joined = sum(axes.pop(at))
        if any(len(set(sizes)) > 1 for sizes in axes):
            raise ShapeError(
                f"Concat needs inputs of equal sizes along every axis but axis {at}",
                got=show_shapes(shapes),
                hint="make the strides and paddings of the ways agree, or crop the larger ones",
            )
        first = shapes[0]
        return TensorSpec((*first[:at], joined, *first[at + 1 :]))

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that nothing is kept."""
        return Saved()

    def gradients(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> tuple[Gradient, ...]:
        """States that the gradient of every input is a part of the output's."""
        return (Gradient.VIEW,) * len(inputs)


@frozen(repr=False)
class _Chain(StatelessLayer):
    """An operation of two values that is applied from left to right, and needs both of them for backward."""

    arity: ClassVar[int | None] = None

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that every input is kept."""
        return Saved(inputs=tuple(range(len(inputs))))

    def extras(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Mapping[str, TensorSpec]:
        """States the results on the way, which are inputs of the next operation: none for two inputs."""
        shapes = [value.shape for value in inputs]
        return {
            f"first{count}": TensorSpec(broadcast_shapes(shapes[:count], type(self).__name__), Role.EXTRA)
            for count in range(2, len(shapes))
        }

    def temporaries(
        self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, training: bool
    ) -> Mapping[str, TensorSpec]:
        """States the result of the inputs before the last, where there are more than two, in an inference."""
        if training or len(inputs) < 3:
            return {}
        return {"partial": scratch(*broadcast_shapes([value.shape for value in inputs[:-1]], type(self).__name__))}


@frozen(repr=False)
class Multiply(_Chain):
    """The product of two or more values, as in the gate of a squeeze-and-excitation block.

    All inputs have the same number of axes, and an axis of size 1 repeats along the others' axis: ``(C, H, W)`` times a factor
    for every channel, ``(C, 1, 1)``, is ``(C, H, W)``. ``(C,)`` does not broadcast: give it axes of size 1. A training step keeps
    every operand; beyond two inputs, also the products on the way. Source: Hu et al. (2017); what is kept was measured in PyTorch.

    Example:
        >>> from cnnbudget import Multiply, TensorSpec
        >>> Multiply().infer((TensorSpec((64, 56, 56)), TensorSpec((64, 1, 1)))).shape
        (64, 56, 56)
    """

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States the broadcast shape."""
        return TensorSpec(broadcast_shapes(_shapes_of(self, inputs, 2), "Multiply"))

    def saved_when(
        self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, needs: tuple[bool, ...], trains: bool
    ) -> Saved:
        """States that an operand is kept for the gradient of what it is multiplied by: not where that is not wanted.

        The first is multiplied by the second, and every further one by the product of those before it.
        """
        return Saved(inputs=tuple([at for at in range(len(needs)) if (True in needs[:at] if at else needs[1])]))

    def backward_temporaries(
        self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, needs: tuple[bool, ...]
    ) -> Mapping[str, TensorSpec]:
        """States the products that are summed up to the gradient of an operand that repeats along an axis."""
        repeating = [number for number, need in enumerate(needs) if need and inputs[number].shape != output.shape]
        found = {f"product{number}": scratch(*output.shape) for number in repeating}
        return found | {"partial": scratch(*output.shape)} if len(inputs) > 2 else found


@frozen(repr=False)
class Maximum(_Chain):
    """The elementwise maximum of two or more values of equal shapes, as in a maxout unit.

    A training step keeps every operand; beyond two inputs, also the maxima on the way. Source: Goodfellow et al. (2013); what is
    kept was measured in PyTorch.

    Example:
        >>> from cnnbudget import Maximum, TensorSpec
        >>> Maximum().infer((TensorSpec((48, 8, 8)), TensorSpec((48, 8, 8)))).shape
        (48, 8, 8)
    """

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States that the output is like every input."""
        _need_equal(self, _shapes_of(self, inputs, 2), "make the shapes of the ways agree")
        return inputs[0]

    def saved_when(
        self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, needs: tuple[bool, ...], trains: bool
    ) -> Saved:
        """States that both operands of a maximum are kept, where one of them is trained."""
        return Saved(inputs=tuple([at for at in range(len(needs)) if True in needs[: max(at, 1) + 1]]))

    def backward_temporaries(
        self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, needs: tuple[bool, ...]
    ) -> Mapping[str, TensorSpec]:
        """States the masks of both operands, and a gradient before it is masked."""
        mask = scratch(*output.shape, dtype=BOOL)
        return {"masked": scratch(*output.shape), "first_mask": mask, "second_mask": mask}
