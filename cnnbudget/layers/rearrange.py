"""Layers that copy their input's values to other places: padding, shuffles, and the windows of a convolution as columns."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from cnnbudget.checks import LARGEST, axes_from, int_from, is_axes, is_int, one_of
from cnnbudget.errors import ShapeError
from cnnbudget.layers.base import Saved, StatelessLayer, need_rank
from cnnbudget.tensors import TensorSpec
from cnnbudget.windows import Axes, Padding, Sides, fill, is_padding, is_sides, padding_from, per_axis, sides_of, slide

if TYPE_CHECKING:
    from attrs import Attribute

__all__ = ["ChannelShuffle", "Pad", "PixelShuffle", "PixelUnshuffle", "Unfold"]

_MODES = ("zero", "reflect", "replicate", "circular")


def _is_mode(instance: Any, attribute: Attribute[Any], value: Any) -> None:
    one_of(value, _MODES, f"{type(instance).__name__}.{attribute.name}")


@frozen(repr=False)
class _Copy(StatelessLayer):
    """A layer whose gradient is the same rearrangement backwards: it needs no value."""

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that nothing is kept."""
        return Saved()


@frozen(repr=False)
class Pad(StatelessLayer):
    """Adds a border to the spatial axes.

    Input ``(C, *spatial)``, output ``(C, *spatial')`` with ``n + before + after`` per axis. A training step keeps nothing, and with
    ``"reflect"`` or ``"replicate"`` the input, as PyTorch 2.13 does (measured). Source: PyTorch's ``torch.nn.functional.pad``.

    Args:
        amounts: What is added: an int for both ends of every spatial axis, one int per axis, or a ``(before, after)`` pair per
            axis. A negative amount cuts.
        mode: What the border is filled with: ``"zero"``, or the values next to the edge (``"reflect"``, less than the size), on
            it (``"replicate"``), or at the other end (``"circular"``, at most the size).

    Example:
        >>> from cnnbudget import Net, Pad
        >>> Net.input(3, 224, 224).then(Pad(3)).output_shape
        (3, 230, 230)
        >>> Net.input(3, 224, 224).then(Pad(((0, 1), (0, 1)), mode="reflect")).output_shape
        (3, 225, 225)
    """

    amounts: Sides = field(converter=padding_from, validator=is_sides(-LARGEST))
    mode: str = field(default="zero", kw_only=True, validator=_is_mode)

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States the output ``(C, *spatial')``."""
        (value,) = inputs
        need_rank("Pad", value, least=2)
        sides = sides_of("Pad", value.spatial, self.amounts, setting="amounts")
        return TensorSpec((value.channels, *fill("Pad", value.spatial, sides, self.mode, setting="amounts")))

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that nothing is kept, or the input where PyTorch's operation asks for it."""
        return Saved(inputs=(0,)) if self.mode in {"reflect", "replicate"} else Saved()


@frozen(repr=False)
class PixelShuffle(_Copy):
    """Makes larger maps of many: every ``factor x factor`` block of the output comes from as many channels. A copy.

    Input ``(C * factor^2, H, W)``, output ``(C, factor * H, factor * W)``; with another number of spatial axes, the power is that
    number. Source: Shi et al., "Real-time single image and video super-resolution" (2016); PyTorch has it for two axes.

    Args:
        factor: How much larger every spatial axis becomes.

    Example:
        >>> from cnnbudget import Net, PixelShuffle
        >>> Net.input(256, 24, 24).then(PixelShuffle(2)).output_shape
        (64, 48, 48)
    """

    factor: int = field(converter=int_from, validator=is_int())

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States the output."""
        (value,) = inputs
        need_rank("PixelShuffle", value, least=2)
        block = self.factor ** len(value.spatial)
        if value.channels % block:
            raise ShapeError(
                "PixelShuffle needs as many channels as a block has pixels, or a multiple",
                got=f"{value.channels} channels, factor {self.factor}",
                expected=f"a multiple of {block}",
            )
        return TensorSpec((value.channels // block, *(size * self.factor for size in value.spatial)))


@frozen(repr=False)
class PixelUnshuffle(_Copy):
    """The inverse of :class:`~cnnbudget.PixelShuffle`, also called space to depth. A copy.

    Input ``(C, factor * H, factor * W)``, output ``(C * factor^2, H, W)``. Source: PyTorch's ``PixelUnshuffle``.

    Args:
        factor: How much smaller every spatial axis becomes; must divide it.

    Example:
        >>> from cnnbudget import Net, PixelUnshuffle
        >>> Net.input(64, 48, 48).then(PixelUnshuffle(2)).output_shape
        (256, 24, 24)
    """

    factor: int = field(converter=int_from, validator=is_int())

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States the output."""
        (value,) = inputs
        need_rank("PixelUnshuffle", value, least=2)
        if any(size % self.factor for size in value.spatial):
            raise ShapeError(
                "PixelUnshuffle.factor must divide the spatial axes",
                got=f"factor {self.factor} on {value.shape}",
                expected="a divisor of every one of them",
                hint="put Pad or Crop before it",
            )
        block = self.factor ** len(value.spatial)
        return TensorSpec((value.channels * block, *(size // self.factor for size in value.spatial)))


@frozen(repr=False)
class ChannelShuffle(_Copy):
    """Deals the channels of every group over all groups, so that grouped convolutions mix. A copy of the same shape.

    Source: Zhang et al., "ShuffleNet" (2017).

    Args:
        groups: Groups of the channels; must divide them.

    Example:
        >>> from cnnbudget import ChannelShuffle, Net
        >>> Net.input(116, 28, 28).then(ChannelShuffle(2)).output_shape
        (116, 28, 28)
    """

    groups: int = field(converter=int_from, validator=is_int())

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States that the output has the shape of the input."""
        (value,) = inputs
        need_rank("ChannelShuffle", value, least=2)
        if value.channels % self.groups:
            raise ShapeError(
                "ChannelShuffle.groups must divide the channels",
                got=f"{self.groups} groups of {value.channels} channels",
                expected=f"a divisor of {value.channels}",
            )
        return value


@frozen(repr=False)
class Unfold(_Copy):
    """The windows of a convolution as columns, also called im2col. A copy, ``prod(kernel)`` times as large at stride 1.

    Input ``(C, *spatial)``, output ``(C * prod(kernel), L)``, where ``L`` is the number of positions of the window. Source:
    PyTorch's ``Unfold``, which has it for two spatial axes.

    Args:
        kernel: Size of the window: one int, or one per spatial axis.
        stride: Step of the window, likewise.
        padding: As in :class:`~cnnbudget.Conv`.
        dilation: Distance between the positions of a window.

    Example:
        >>> from cnnbudget import Net, Unfold
        >>> Net.input(8, 12, 12).then(Unfold(3)).output_shape
        (72, 100)
    """

    kernel: Axes = field(converter=axes_from, validator=is_axes())
    stride: Axes = field(default=1, kw_only=True, converter=axes_from, validator=is_axes())
    padding: Padding = field(default=0, kw_only=True, converter=padding_from, validator=is_padding)
    dilation: Axes = field(default=1, kw_only=True, converter=axes_from, validator=is_axes())

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States the output."""
        (value,) = inputs
        need_rank("Unfold", value, least=2)
        sizes = slide("Unfold", value.spatial, self.kernel, self.stride, self.padding, self.dilation)
        window = prod(per_axis(self.kernel, len(value.spatial), "Unfold.kernel"))
        return TensorSpec((value.channels * window, prod(sizes)))
