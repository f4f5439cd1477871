"""What a value is, without its numbers: per-sample shape, role, and size as a footprint that is affine in the batch."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from cnnbudget.checks import exact_int, int_from, is_int
from cnnbudget.dtypes import FLOAT32, DType, Role
from cnnbudget.errors import InvalidTypeError, ShapeError, shorten
from cnnbudget.units import Bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Footprint", "Shape", "TensorSpec", "axis_in", "broadcast_shapes", "shape_of", "show_shapes"]

Shape = tuple[int, ...]
"""Sizes of the axes of one sample, channels first."""

_MOST = 2**63 - 1
_ELEMENTS = 2**1024  # no bound that anybody meets: shapes multiply, and ints are exact


def shape_of(value: Any, what: str = "a shape", most: int = _MOST) -> Shape:
    """Checks a shape.

    Args:
        value: A tuple or list of positive ints.
        what: How to call it in an error.
        most: The largest size of an axis.

    Returns:
        A tuple of plain ints.

    Raises:
        InvalidTypeError: If it is no sequence, or an axis is no int.
        InvalidValueError: If an axis is out of range.

    Example:
        >>> shape_of([3, 200, 300])
        (3, 200, 300)
    """
    if type(value) is tuple:
        for axis in value:
            if type(axis) is not int or not 0 < axis <= most:
                break
        else:
            return value
    if not isinstance(value, (tuple, list)):
        raise InvalidTypeError(f"{what} must be a tuple of ints", got=shorten(value), expected="(channels, *spatial)")
    return tuple(exact_int(size, f"{what}, axis {axis}", 1, most) for axis, size in enumerate(value))


def axis_in(axis: int, shape: Shape, what: str) -> int:
    """Finds an axis of a shape.

    Args:
        axis: Its position; negative ones count from the end.
        shape: The shape.
        what: How to call the axis in an error.

    Returns:
        The position from the start.

    Raises:
        ShapeError: If the shape has no such axis.

    Example:
        >>> axis_in(-1, (64, 8, 8), "Softmax.axis")
        2
    """
    rank = len(shape)
    if not -rank <= axis < rank:
        raise ShapeError(
            f"{what} is not an axis of the input", got=f"{axis} on {shape}", expected=f"{-rank} to {rank - 1}"
        )
    return axis % rank


def show_shapes(shapes: Iterable[Shape]) -> str:
    """Shows shapes in an error text.

    Example:
        >>> show_shapes([(64, 8, 8), (64, 1, 1)])
        '(64, 8, 8), (64, 1, 1)'
    """
    return ", ".join(map(str, shapes))


def broadcast_shapes(shapes: Sequence[Shape], what: str) -> Shape:
    """Finds the shape of an elementwise operation: an axis of size 1 repeats along the axis of the others, as in numpy.

    Unlike numpy, shapes of one sample broadcast only when they have the same number of axes: ``(64,)`` against
    ``(64, 8, 8)`` would pair the channels with the last spatial axis, which nobody means.

    Args:
        shapes: At least one shape.
        what: How to call the operation in an error.

    Returns:
        The common shape.

    Raises:
        ShapeError: If they do not fit; the error shows them all.

    Example:
        >>> broadcast_shapes([(64, 8, 8), (64, 1, 1)], "Multiply")
        (64, 8, 8)
    """
    if len(set(map(len, shapes))) > 1:
        raise ShapeError(
            f"{what} needs inputs with the same number of axes",
            got=show_shapes(shapes),
            expected="one size, or 1, along every axis",
            hint="give one factor a channel the spatial axes too, each of size 1: (64, 1, 1) for (64, 8, 8)",
        )
    common = tuple(next((size for size in sizes if size != 1), 1) for sizes in zip(*shapes, strict=True))
    for axis, size in enumerate(common):
        if any(shape[axis] not in {1, size} for shape in shapes):
            raise ShapeError(
                f"{what}: the inputs do not broadcast along axis {axis}",
                got=show_shapes(shapes),
                expected="one size, or 1, along every axis",
            )
    return common


@frozen
class Footprint:
    """The size of a storage in elements: ``fixed + per_sample * batch``.

    Example:
        >>> (Footprint(per_sample=1_500_000) + Footprint(fixed=2_800)).at(batch=50)
        75002800
    """

    fixed: int = field(default=0, converter=int_from, validator=is_int(0, _ELEMENTS))
    per_sample: int = field(default=0, converter=int_from, validator=is_int(0, _ELEMENTS))

    def at(self, batch: int) -> int:
        """Elements at a batch size.

        Args:
            batch: Samples in a batch.

        Returns:
            The number of elements.
        """
        return self.fixed + self.per_sample * exact_int(batch, "batch", 0)

    def byte_count(self, batch: int = 1, dtype: DType = FLOAT32) -> Bytes:
        """Bytes at a batch size and a width.

        Args:
            batch: Samples in a batch.
            dtype: The number format.

        Returns:
            Exact bytes.
        """
        return Bytes(dtype.byte_count(self.at(batch)))

    def __add__(self, other: Footprint) -> Footprint:
        return Footprint(self.fixed + other.fixed, self.per_sample + other.per_sample)


@frozen
class TensorSpec:
    """One value of a network: its shape for one sample, its role, and whether there is one of it per sample.

    Args:
        shape: ``(C, *spatial)`` for an activation; the batch is never inside. ``()`` is a single number.
        role: What the bytes are for.
        dtype: A width that no precision changes (an index, a mask, a statistic); ``None`` follows the precision.
        batched: Whether every sample of a batch has its own (activations do, parameters do not).

    Example:
        >>> spec = TensorSpec((100, 100, 150))
        >>> spec.element_count, spec.channels, spec.spatial
        (1500000, 100, (100, 150))
    """

    shape: Shape = field(converter=shape_of)
    role: Role = Role.ACTIVATION
    dtype: DType | None = None
    batched: bool = True

    def __attrs_post_init__(
        self,
    ) -> None:  # by hand: specs are made by the thousand, and validators cost more than the rest
        if type(self.role) is not Role:
            raise InvalidTypeError(
                "TensorSpec.role must be a role", got=shorten(self.role), expected="for example Role.EXTRA"
            )
        if self.dtype is not None and type(self.dtype) is not DType:
            raise InvalidTypeError(
                "TensorSpec.dtype must be a DType", got=shorten(self.dtype), expected="None, or INT64"
            )
        if type(self.batched) is not bool:
            raise InvalidTypeError(
                "TensorSpec.batched must be a bool", got=shorten(self.batched), expected="True or False"
            )

    @property
    def element_count(self) -> int:
        """Elements of one sample (of the whole, where there is one for all samples)."""
        return prod(self.shape)

    @property
    def channels(self) -> int:
        """Size of the first axis."""
        return self.shape[0]

    @property
    def spatial(self) -> Shape:
        """Sizes of the axes after the channels."""
        return self.shape[1:]

    @property
    def footprint(self) -> Footprint:
        """Size in elements, affine in the batch."""
        return Footprint(0, prod(self.shape)) if self.batched else Footprint(prod(self.shape), 0)
