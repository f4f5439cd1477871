"""Layers that only look at their input, or at a part of it, in another shape: views, no bytes of their own.

Frameworks make a view where the strides allow it. A ``Flatten`` or ``Reshape`` of a permuted value needs a copy there, and the
copy of :class:`~cnnbudget.Permute`'s result is not counted here either.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from attrs import field, frozen
from attrs.converters import optional
from attrs.validators import optional as or_none

from cnnbudget.checks import LARGEST, exact_int, int_from, is_int
from cnnbudget.errors import InvalidTypeError, InvalidValueError, ShapeError, shorten
from cnnbudget.layers.base import Alias, Gradient, Saved, StatelessLayer, need_rank, scratch
from cnnbudget.tensors import Shape, TensorSpec, axis_in
from cnnbudget.windows import Sides, fill, is_sides, padding_from, sides_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from attrs import Attribute

__all__ = ["Crop", "Flatten", "Permute", "Reshape", "Slice", "Split"]


@frozen(repr=False)
class _View(StatelessLayer):
    """A layer whose output lies in its input's storage."""

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that nothing is kept."""
        return Saved()

    def alias(self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, training: bool) -> Alias:
        """States that the output is a view."""
        return Alias()


@frozen(repr=False)
class Flatten(_View):
    """Makes one axis of all: input ``(C, *spatial)``, output ``(C * prod(spatial),)``. A view, no bytes of its own.

    Source: PyTorch's ``Flatten``.

    Args:
        start: The first axis of one sample that is joined; 0 is the channels (PyTorch's ``start_dim=1``).
        end: The last axis that is joined. Negative axes count from the end.

    Example:
        >>> from cnnbudget import Flatten, Net
        >>> Net.input(16, 5, 5).then(Flatten()).output_shape
        (400,)
        >>> Net.input(16, 5, 5).then(Flatten(start=1)).output_shape
        (16, 25)
    """

    start: int = field(default=0, kw_only=True, converter=int_from, validator=is_int(-8, 7))
    end: int = field(default=-1, kw_only=True, converter=int_from, validator=is_int(-8, 7))

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States the output."""
        (value,) = inputs
        if (self.start, self.end) == (0, -1):
            return TensorSpec((value.element_count,))
        start = axis_in(self.start, value.shape, "Flatten.start")
        end = axis_in(self.end, value.shape, "Flatten.end")
        if start > end:
            raise ShapeError(
                "Flatten.start comes after Flatten.end",
                got=f"start {self.start} and end {self.end} on {value.shape}",
                expected="an axis at or before the end",
            )
        return TensorSpec((*value.shape[:start], prod(value.shape[start : end + 1]), *value.shape[end + 1 :]))


def _ints_from(value: Any) -> Any:
    return tuple(map(int_from, value)) if isinstance(value, (tuple, list)) else value


def _spread(values: tuple[Any, ...], word: Any) -> Any:
    """The setting, given as several arguments, as one sequence, or by its name."""
    if word is not None and not values:
        return word
    return values[0] if len(values) == 1 and isinstance(values[0], (tuple, list)) else values


def _is_shape(instance: Any, attribute: Attribute[Any], value: Any) -> None:
    what, expected = f"{type(instance).__name__}.{attribute.name}", "one size per axis; one of them may be -1"
    if not isinstance(value, tuple):
        raise InvalidTypeError(f"{what} must be a tuple of ints", got=shorten(value), expected=expected)
    for axis, size in enumerate(value):
        exact_int(size, f"{what}[{axis}]", -1)
    if not value or 0 in value or value.count(-1) > 1:
        raise InvalidValueError(f"{what} is not readable", got=shorten(value), expected=expected)


@frozen(repr=False, init=False)
class Reshape(_View):
    """The same values in another shape, read in the same order (the last axis runs fastest). A view, no bytes of its own.

    Source: PyTorch's ``reshape``.

    Args:
        *sizes: The shape of one sample, as several ints or as one tuple; one of them may be -1: what is left.
        shape: The same, by its name.

    Example:
        >>> from cnnbudget import Net, Reshape
        >>> Net.input(400).then(Reshape(16, 5, 5)).output_shape, Net.input(400).then(Reshape((16, -1))).output_shape
        ((16, 5, 5), (16, 25))
    """

    shape: Shape = field(converter=_ints_from, validator=_is_shape)

    def __init__(self, *sizes: int | Sequence[int], shape: Sequence[int] | None = None) -> None:
        self.__attrs_init__(_spread(sizes, shape))

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States the output."""
        (value,) = inputs
        count, known = value.element_count, prod(size for size in self.shape if size != -1)
        if count % known if -1 in self.shape else count != known:
            raise ShapeError(
                "Reshape.shape has another number of elements",
                got=f"{value.shape} with {count} elements, to {self.shape}",
                expected=f"sizes whose product {'divides' if -1 in self.shape else 'is'} {count}",
                hint="let one size be -1: what is left",
            )
        return TensorSpec(tuple(count // known if size == -1 else size for size in self.shape))


def _is_order(instance: Any, attribute: Attribute[Any], value: Any) -> None:
    what, expected = (
        f"{type(instance).__name__}.{attribute.name}",
        "every axis of one sample once, for example (1, 2, 0)",
    )
    if not isinstance(value, tuple):
        raise InvalidTypeError(f"{what} must be a tuple of ints", got=shorten(value), expected=expected)
    for position, axis in enumerate(value):
        exact_int(axis, f"{what}[{position}]", 0)
    if not value or sorted(value) != list(range(len(value))):
        raise InvalidValueError(f"{what} is no order of axes", got=shorten(value), expected=expected)


@frozen(repr=False, init=False)
class Permute(_View):
    """The same values with their axes in another order. A view, no bytes of its own. Source: PyTorch's ``permute``.

    Args:
        *order: For every axis of the output the axis of the input, counted on one sample, as several ints or as one tuple.
            PyTorch's ``permute(0, 2, 3, 1)`` is ``Permute(1, 2, 0)``.
        axes: The same, by its name.

    Example:
        >>> from cnnbudget import Net, Permute
        >>> Net.input(96, 56, 64).then(Permute(1, 2, 0)).output_shape
        (56, 64, 96)
    """

    axes: tuple[int, ...] = field(converter=_ints_from, validator=_is_order)

    def __init__(self, *order: int | Sequence[int], axes: Sequence[int] | None = None) -> None:
        self.__attrs_init__(_spread(order, axes))

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States the output."""
        (value,) = inputs
        if len(self.axes) != len(value.shape):
            raise ShapeError(
                "Permute.axes does not match the number of axes of the input",
                got=f"{self.axes} on {value.shape}",
                expected=f"an order of {len(value.shape)} axes",
            )
        return TensorSpec(tuple(value.shape[axis] for axis in self.axes))


@frozen(repr=False)
class Split(_View):
    """One part of an equal split along an axis: a view of a part of its input. Source: PyTorch's ``chunk``.

    Input ``(C, *spatial)``, output ``(C / sections, *spatial)``. Every part is a node of its own; the whole storage lives as long
    as one of them is needed.

    Args:
        sections: How many parts; must divide the size of the axis.
        index: Which part, from 0.
        axis: The axis of one sample; negative ones count from the end.

    Example:
        >>> from cnnbudget import Net, Split
        >>> Net.input(116, 28, 28).then(Split(2, 1)).output_shape
        (58, 28, 28)
    """

    sections: int = field(converter=int_from, validator=is_int())
    index: int = field(converter=int_from, validator=is_int(0))
    axis: int = field(default=0, kw_only=True, converter=int_from, validator=is_int(-8, 7))

    def __attrs_post_init__(self) -> None:
        if self.index >= self.sections:
            raise InvalidValueError(
                "Split.index is out of range", got=f"{self.index}", expected=f"an int from 0 to {self.sections - 1}"
            )

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States the output."""
        shape = inputs[0].shape
        axis = axis_in(self.axis, shape, "Split.axis")
        if shape[axis] % self.sections:
            raise ShapeError(
                "Split.sections must divide the size of the axis",
                got=f"{self.sections} sections of axis {axis} of {shape}",
                expected=f"a divisor of {shape[axis]}",
                hint="use Slice for unequal parts",
            )
        return TensorSpec((*shape[:axis], shape[axis] // self.sections, *shape[axis + 1 :]))

    def gradients(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> tuple[Gradient, ...]:
        """States that all parts together fill the gradient of the input."""
        return (Gradient.PART,)


@frozen(repr=False)
class Slice(_View):
    """The positions from ``start`` to before ``stop`` of one axis: a view of a part of its input.

    Unlike Python's slices it does not clip: both ends must lie on the axis. Source: PyTorch's ``narrow``.

    Args:
        start: The first position; negative ones count from the end.
        stop: The position after the last one, likewise; ``None`` for the end of the axis.
        axis: The axis of one sample; negative ones count from the end.

    Example:
        >>> from cnnbudget import Net, Slice
        >>> Net.input(256, 14, 14).then(Slice(0, 192)).output_shape
        (192, 14, 14)
    """

    start: int = field(converter=int_from, validator=is_int(-LARGEST))
    stop: int | None = field(default=None, converter=optional(int_from), validator=or_none(is_int(-LARGEST)))
    axis: int = field(default=0, kw_only=True, converter=int_from, validator=is_int(-8, 7))

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States the output."""
        shape = inputs[0].shape
        axis = axis_in(self.axis, shape, "Slice.axis")
        size = shape[axis]
        start = self.start + size if self.start < 0 else self.start
        stop = size if self.stop is None else self.stop + size if self.stop < 0 else self.stop
        if not 0 <= start < stop <= size:
            raise ShapeError(
                f"Slice does not lie on axis {axis}",
                got=f"{self.start} to {self.stop} of {size}",
                expected=f"a start before a stop, from 0 to {size}",
            )
        return TensorSpec((*shape[:axis], stop - start, *shape[axis + 1 :]))


@frozen(repr=False)
class Crop(_View):
    """Cuts the border of the spatial axes: a view of a part of its input. Source: Keras' ``Cropping2D``.

    Input ``(C, *spatial)``, output ``(C, *spatial')`` with ``n - before - after`` per axis.

    Args:
        amounts: What is cut: an int for both ends of every spatial axis, one int per axis, or a ``(before, after)`` pair per axis.

    Example:
        >>> from cnnbudget import Crop, Net
        >>> Net.input(64, 136, 136).then(Crop(((4, 4), (4, 5)))).output_shape
        (64, 128, 127)
    """

    amounts: Sides = field(converter=padding_from, validator=is_sides())

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States the output ``(C, *spatial')``."""
        (value,) = inputs
        need_rank("Crop", value, least=2)
        sides = sides_of("Crop", value.spatial, self.amounts, setting="amounts")
        cut = tuple((-before, -after) for before, after in sides)
        return TensorSpec((value.channels, *fill("Crop", value.spatial, cut, "zero", setting="amounts")))

    def backward_temporaries(
        self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, needs: tuple[bool, ...]
    ) -> Mapping[str, TensorSpec]:
        """States the gradient on the way: one axis after the other is filled up with zeros."""
        value = inputs[0]
        cut = [axis for axis, size in enumerate(output.shape) if size < value.shape[axis]]
        if len(cut) < 2:
            return {}
        filled = prod(output.shape[: cut[-1]]) * prod(value.shape[cut[-1] :])
        return {"on_the_way": scratch(filled - output.element_count)}  # the output's gradient is gone by then
