"""Resizing by interpolation. No parameters."""

from __future__ import annotations

from math import floor
from typing import Any, ClassVar

from attrs import Attribute, field, frozen
from attrs.converters import optional
from attrs.validators import optional as or_none

from cnnbudget.checks import axes_from, int_from, is_axes, is_number, number_from, one_of
from cnnbudget.errors import InvalidValueError, ShapeError
from cnnbudget.layers.base import Autocast, Saved, StatelessLayer, need_rank
from cnnbudget.tensors import TensorSpec
from cnnbudget.windows import Axes, per_axis

__all__ = ["Upsample"]

_MODES = {
    "nearest": None,
    "nearest-exact": None,
    "linear": 1,
    "bilinear": 2,
    "bicubic": 2,
    "trilinear": 3,
    "area": None,
}  # and how many spatial axes a mode has, where it names them


def _scale_from(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return tuple(number_from(int_from(factor)) for factor in value)
    return number_from(int_from(value))


def _is_scale(instance: Any, attribute: Attribute[Any], value: Any) -> None:
    if value == ():
        raise InvalidValueError(
            "Upsample.scale is empty", got="()", expected="a number, or one number per spatial axis"
        )
    for factor in value if isinstance(value, tuple) else (value,):
        is_number(1e-6, 1e6)(instance, attribute, factor)


def _is_mode(instance: Any, attribute: Attribute[Any], value: Any) -> None:
    one_of(value, _MODES, f"{type(instance).__name__}.{attribute.name}")


@frozen(repr=False)
class Upsample(StatelessLayer):
    """Resizes the spatial axes by interpolation; also makes them smaller.

    Input ``(C, *spatial)``, output ``(C, *spatial')`` with ``floor(n * scale)`` per axis, the product rounded to a 64-bit float as
    in PyTorch (an int scale is exact), or with the sizes that are given. The multiplications of the interpolation are not
    counted as multiply-accumulates. A training step keeps nothing; with ``"area"``, which is adaptive average pooling, it keeps the
    input (measured in PyTorch 2.13). Source: PyTorch's ``torch.nn.functional.interpolate``.

    Args:
        scale: How much larger every axis becomes: one number, or one per spatial axis; below 1 they shrink.
        size: The sizes instead: one int, or one per spatial axis.
        mode: ``"nearest"``, ``"nearest-exact"`` and ``"area"`` take any number of spatial axes, ``"linear"`` one, ``"bilinear"``
            and ``"bicubic"`` two, ``"trilinear"`` three.

    Example:
        >>> from cnnbudget import Net, Upsample
        >>> maps = Net.input(256, 13, 13)
        >>> maps.then(Upsample(2)).output_shape, maps.then(Upsample(size=(20, 30), mode="bilinear")).output_shape
        ((256, 26, 26), (256, 20, 30))
    """

    autocast: ClassVar[Autocast] = Autocast.FULL

    scale: float | tuple[float, ...] | None = field(
        default=None, converter=optional(_scale_from), validator=or_none(_is_scale)
    )
    size: Axes | None = field(default=None, kw_only=True, converter=optional(axes_from), validator=or_none(is_axes()))
    mode: str = field(default="nearest", kw_only=True, validator=_is_mode)

    def __attrs_post_init__(self) -> None:
        if (self.scale is None) == (self.size is None):
            raise InvalidValueError(
                "Upsample needs a scale or a size, and not both",
                got=f"scale {self.scale}, size {self.size}",
                expected="one of them",
                hint="write Upsample(2) or Upsample(size=(20, 30))",
            )

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States the output ``(C, *spatial')``."""
        (value,) = inputs
        need_rank("Upsample", value, least=2)
        rank, modes_rank = len(value.spatial), _MODES[self.mode]
        if modes_rank not in {None, rank}:
            fitting = [mode for mode, axes in _MODES.items() if axes in {None, rank}]
            raise ShapeError(
                f"Upsample.mode {self.mode!r} does not match the number of spatial axes",
                got=str(value.shape),
                expected=f"{modes_rank} of them",
                hint=f"for {rank} there are {', '.join(map(repr, fitting))}",
            )
        if self.size is not None:
            return TensorSpec((value.channels, *per_axis(self.size, rank, "Upsample.size")))
        scales = per_axis(self.scale, rank, "Upsample.scale")
        sizes = [floor(n * scale) for n, scale in zip(value.spatial, scales, strict=True)]
        if 0 in sizes:
            raise ShapeError(
                "Upsample.scale leaves nothing of a spatial axis",
                got=f"scale {self.scale} on {value.shape}",
                expected="at least one position to stay",
            )
        return TensorSpec((value.channels, *sizes))

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that nothing is kept, or the input by the mean over areas, unless one value per map is left."""
        return Saved(inputs=(0,)) if self.mode == "area" and set(output.spatial) != {1} else Saved()
