"""Convolution: ordinary, depthwise, and transposed; the unshared one is in :mod:`cnnbudget.layers.local`."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import field, frozen

from cnnbudget.checks import axes_from, int_from, is_axes, is_bool, is_int, one_of
from cnnbudget.dtypes import Role
from cnnbudget.errors import InvalidValueError, ShapeError
from cnnbudget.layers.base import Autocast, Layer, Saved, need_rank, scratch
from cnnbudget.tensors import Shape, TensorSpec
from cnnbudget.windows import (
    Axes,
    Padding,
    fill,
    is_padding,
    padding_from,
    per_axis,
    sides_of,
    slide,
    slide_transposed,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from attrs import Attribute

__all__ = ["Conv", "ConvTranspose", "DepthwiseConv"]

_MODES = ("zeros", "reflect", "replicate", "circular")


def _is_mode(instance: Any, attribute: Attribute[Any], value: Any) -> None:
    one_of(value, _MODES, f"{type(instance).__name__}.{attribute.name}")


def _need_groups(layer: str, groups: int, channels: int, filters: int) -> None:
    if channels % groups or filters % groups:
        raise ShapeError(
            f"{layer}.groups must divide the channels and the filters",
            got=f"{groups} groups on {channels} channels and {filters} filters",
            expected="a divisor of both",
            hint="change groups or filters",
        )


def _padded(layer: Conv | DepthwiseConv, value: TensorSpec, mode: str = "zeros") -> TensorSpec | None:
    """What PyTorch convolves instead of the input: a copy of it, padded beforehand. ``None`` where it pads while it convolves.

    Zeros are padded beforehand only by ``padding="same"``, which PyTorch has for stride 1 alone, and only the odd one.
    """
    if mode == "zeros" and (layer.padding != "same" or layer.stride not in {1, (1,) * len(value.spatial)}):
        return None
    name = type(layer).__name__
    sides = sides_of(name, value.spatial, layer.padding, layer.kernel, layer.stride, layer.dilation)
    if mode == "zeros":
        sides = tuple((0, after - before) for before, after in sides)
        if not any(after for _, after in sides):
            return None
    return TensorSpec((value.channels, *fill(name, value.spatial, sides, mode)), Role.EXTRA)


def _excess(value: TensorSpec, padded: TensorSpec | None, needs: tuple[bool, ...]) -> Mapping[str, TensorSpec]:
    more = 0 if padded is None or not needs[0] else padded.element_count - value.element_count
    return {"padded_grad": scratch(more)} if more > 0 else {}


@frozen(repr=False)
class Conv(Layer):
    """A convolution over any number of spatial axes; the rank comes from the input.

    Input ``(C, *spatial)``, output ``(filters, *spatial')`` with ``floor((n + before + after - window) / stride) + 1`` per axis;
    the window spans ``dilation * (kernel - 1) + 1``. Parameters: a weight of ``(filters, C / groups, *kernel)`` and a bias of
    ``(filters,)``. Multiply-accumulates: one per weight and output position, bias additions not counted.
    Source: Dumoulin and Visin (2016); ``"same"`` is TensorFlow's rule.

    A training step keeps the input, or what PyTorch 2.13 convolves in its place (measured): with ``padding="same"`` at stride 1
    and an odd number of zeros to add, a copy of the input with one row more, instead of the input; with another
    ``padding_mode`` a copy that is padded on all sides, instead of the input (``"circular"``) or besides it. Zeros at uneven
    sides that PyTorch cannot ask a convolution for (pairs, a stride with ``"same"``) are taken to need no copy, as in TensorFlow.

    Args:
        filters: Feature maps of the output.
        kernel: Size of the window: one int, or one per spatial axis.
        stride: Step of the window, likewise.
        padding: ``"same"`` (output ``ceil(n / stride)``, the odd pixel at the end), ``"valid"``, an int, one int per axis, or a
            ``(before, after)`` pair per axis.
        dilation: Distance between the positions of a window.
        groups: Groups of channels that do not see each other; must divide the channels and the filters.
        bias: Whether every feature map has a bias.
        padding_mode: What the padding is filled with: ``"zeros"``, or the values that lie next to the border (``"reflect"``,
            less than the size), on it (``"replicate"``), or at the other end (``"circular"``, at most the size).

    Example:
        >>> from cnnbudget import Conv, Net
        >>> net = Net.input(3, 200, 300).then(Conv(100, 3, stride=2, padding="same"))
        >>> net.output_shape, net.parameter_count
        ((100, 100, 150), 2800)
    """

    autocast: ClassVar[Autocast] = Autocast.LOW

    filters: int = field(converter=int_from, validator=is_int())
    kernel: Axes = field(converter=axes_from, validator=is_axes())
    stride: Axes = field(default=1, kw_only=True, converter=axes_from, validator=is_axes())
    padding: Padding = field(default=0, kw_only=True, converter=padding_from, validator=is_padding)
    dilation: Axes = field(default=1, kw_only=True, converter=axes_from, validator=is_axes())
    groups: int = field(default=1, kw_only=True, converter=int_from, validator=is_int())
    bias: bool = field(default=True, kw_only=True, validator=is_bool)
    padding_mode: str = field(default="zeros", kw_only=True, validator=_is_mode)

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States the output ``(filters, *spatial')``."""
        (value,) = inputs
        need_rank("Conv", value, least=2)
        _need_groups("Conv", self.groups, value.channels, self.filters)
        sizes = slide("Conv", value.spatial, self.kernel, self.stride, self.padding, self.dilation)
        if self.padding_mode != "zeros":
            _padded(self, value, self.padding_mode)  # refuses what the mode cannot fill
        return TensorSpec((self.filters, *sizes))

    def weight_shape(self, value: TensorSpec) -> Shape:
        """Shape of the weight on an input: ``(filters, C / groups, *kernel)``.

        Args:
            value: The input.

        Returns:
            The shape.
        """
        kernel = per_axis(self.kernel, len(value.spatial), "Conv.kernel")
        return (self.filters, value.channels // self.groups, *kernel)

    def parameters(self, inputs: tuple[TensorSpec, ...]) -> Mapping[str, Shape]:
        """States the weight and the bias."""
        weight = self.weight_shape(inputs[0])
        return {"weight": weight, "bias": (self.filters,)} if self.bias else {"weight": weight}

    def buffers(self, inputs: tuple[TensorSpec, ...]) -> Mapping[str, Shape]:
        """States that there are none."""
        return {}

    def macs(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> int:
        """States output positions x weight elements."""
        return prod(output.spatial) * prod(self.weight_shape(inputs[0]))

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that the input is kept, unless a padded copy stands for it: the weight's gradient is computed from it."""
        if self.padding_mode in {"reflect", "replicate"}:
            return Saved(inputs=(0,))
        return Saved(inputs=(0,)) if _padded(self, inputs[0], self.padding_mode) is None else Saved()

    def saved_when(
        self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, needs: tuple[bool, ...], trains: bool
    ) -> Saved:
        """States that besides a padded copy the input is kept for its own gradient alone."""
        if self.padding_mode in {"reflect", "replicate"} and not needs[0]:
            return Saved()
        return self.saved(inputs, output)

    def extras(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Mapping[str, TensorSpec]:
        """States the padded copy of the input, where there is one."""
        padded = _padded(self, inputs[0], self.padding_mode)
        return {} if padded is None else {"padded": padded}

    def temporaries(
        self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, training: bool
    ) -> Mapping[str, TensorSpec]:
        """States the padded copy of the input in an inference."""
        return {} if training else self.extras(inputs, output)

    def backward_temporaries(
        self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, needs: tuple[bool, ...]
    ) -> Mapping[str, TensorSpec]:
        """States by how much the gradient of the padded copy exceeds that of the input, which is cut out of it."""
        return _excess(inputs[0], _padded(self, inputs[0], self.padding_mode), needs)


@frozen(repr=False)
class DepthwiseConv(Layer):
    """A convolution of every channel for itself: a :class:`~cnnbudget.Conv` whose groups are the channels of its input.

    Input ``(C, *spatial)``, output ``(C * multiplier, *spatial')``. Parameters: a weight of ``(C * multiplier, 1, *kernel)`` and a
    bias of ``(C * multiplier,)``. Multiply-accumulates: one per weight and output position. A training step keeps what a
    ``Conv`` keeps. Source: Sifre (2014); Howard et al., "MobileNets" (2017); Keras' ``DepthwiseConv2D``.

    Args:
        kernel: Size of the window: one int, or one per spatial axis.
        multiplier: Feature maps of the output for every channel.
        stride: Step of the window, as ``kernel``.
        padding: As in :class:`~cnnbudget.Conv`.
        dilation: Distance between the positions of a window.
        bias: Whether every feature map has a bias.

    Example:
        >>> from cnnbudget import DepthwiseConv, Net
        >>> net = Net.input(32, 112, 112).then(DepthwiseConv(3, padding="same", bias=False))
        >>> net.output_shape, net.parameter_count
        ((32, 112, 112), 288)
    """

    autocast: ClassVar[Autocast] = Autocast.LOW

    kernel: Axes = field(converter=axes_from, validator=is_axes())
    multiplier: int = field(default=1, kw_only=True, converter=int_from, validator=is_int())
    stride: Axes = field(default=1, kw_only=True, converter=axes_from, validator=is_axes())
    padding: Padding = field(default=0, kw_only=True, converter=padding_from, validator=is_padding)
    dilation: Axes = field(default=1, kw_only=True, converter=axes_from, validator=is_axes())
    bias: bool = field(default=True, kw_only=True, validator=is_bool)

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States the output ``(C * multiplier, *spatial')``."""
        (value,) = inputs
        need_rank("DepthwiseConv", value, least=2)
        sizes = slide("DepthwiseConv", value.spatial, self.kernel, self.stride, self.padding, self.dilation)
        return TensorSpec((value.channels * self.multiplier, *sizes))

    def weight_shape(self, value: TensorSpec) -> Shape:
        """Shape of the weight on an input: ``(C * multiplier, 1, *kernel)``.

        Args:
            value: The input.

        Returns:
            The shape.
        """
        kernel = per_axis(self.kernel, len(value.spatial), "DepthwiseConv.kernel")
        return (value.channels * self.multiplier, 1, *kernel)

    def parameters(self, inputs: tuple[TensorSpec, ...]) -> Mapping[str, Shape]:
        """States the weight and the bias."""
        weight = self.weight_shape(inputs[0])
        return {"weight": weight, "bias": weight[:1]} if self.bias else {"weight": weight}

    def buffers(self, inputs: tuple[TensorSpec, ...]) -> Mapping[str, Shape]:
        """States that there are none."""
        return {}

    def macs(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> int:
        """States output positions x weight elements."""
        return prod(output.spatial) * prod(self.weight_shape(inputs[0]))

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that the input is kept, unless a padded copy stands for it."""
        return Saved(inputs=(0,)) if _padded(self, inputs[0]) is None else Saved()

    def extras(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Mapping[str, TensorSpec]:
        """States the padded copy of the input, where there is one."""
        padded = _padded(self, inputs[0])
        return {} if padded is None else {"padded": padded}

    def temporaries(
        self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, training: bool
    ) -> Mapping[str, TensorSpec]:
        """States the padded copy of the input in an inference."""
        return {} if training else self.extras(inputs, output)

    def backward_temporaries(
        self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, needs: tuple[bool, ...]
    ) -> Mapping[str, TensorSpec]:
        """States by how much the gradient of the padded copy exceeds that of the input, which is cut out of it."""
        return _excess(inputs[0], _padded(self, inputs[0]), needs)


@frozen(repr=False)
class ConvTranspose(Layer):
    """A transposed convolution: the gradient of a :class:`~cnnbudget.Conv`, used to enlarge. Also called deconvolution.

    Input ``(C, *spatial)``, output ``(filters, *spatial')`` with ``(n - 1) * stride - before - after + dilation * (kernel - 1) +
    1 + output_padding`` per axis: a ``Conv`` of the same settings maps it back to ``n``. Parameters: a weight of
    ``(C, filters / groups, *kernel)`` and a bias of ``(filters,)``.

    Multiply-accumulates: one per weight and *input* position, because every input is multiplied by the whole window that it
    is spread over; so are those counted that padding then cuts off, as PyTorch's ``FlopCounterMode`` does. Bias additions are
    not counted. A training step keeps the input (measured in PyTorch 2.13).

    Source: Dumoulin and Visin (2016), relationship 14; PyTorch's ``ConvTranspose2d`` for numbers, Keras' ``Conv2DTranspose`` for
    words.

    Args:
        filters: Feature maps of the output.
        kernel: Size of the window: one int, or one per spatial axis.
        stride: Step of the window in the output, likewise: how much larger the output is.
        padding: What is cut from the output: an int, one int per axis, or a ``(before, after)`` pair per axis; ``"same"`` for an
            output of ``n * stride``; ``"valid"`` for ``n * stride + max(window - stride, 0)``, the whole of it.
        output_padding: What is added to the end of the output, to choose between the sizes that a strided convolution maps
            to one; less than the stride or the dilation, and 0 where ``padding`` is a word.
        dilation: Distance between the positions of a window.
        groups: Groups of channels that do not see each other; must divide the channels and the filters.
        bias: Whether every feature map has a bias.

    Example:
        >>> from cnnbudget import ConvTranspose, Net
        >>> net = Net.input(64, 7, 7).then(ConvTranspose(32, 3, stride=2, padding=1, output_padding=1))
        >>> net.output_shape, net.parameter_count, net.mac_count
        ((32, 14, 14), 18464, 903168)
    """

    autocast: ClassVar[Autocast] = Autocast.LOW

    filters: int = field(converter=int_from, validator=is_int())
    kernel: Axes = field(converter=axes_from, validator=is_axes())
    stride: Axes = field(default=1, kw_only=True, converter=axes_from, validator=is_axes())
    padding: Padding = field(default=0, kw_only=True, converter=padding_from, validator=is_padding)
    output_padding: Axes = field(default=0, kw_only=True, converter=axes_from, validator=is_axes(least=0))
    dilation: Axes = field(default=1, kw_only=True, converter=axes_from, validator=is_axes())
    groups: int = field(default=1, kw_only=True, converter=int_from, validator=is_int())
    bias: bool = field(default=True, kw_only=True, validator=is_bool)

    def __attrs_post_init__(self) -> None:
        extra = self.output_padding
        if isinstance(self.padding, str) and any(extra if isinstance(extra, tuple) else (extra,)):
            raise InvalidValueError(
                "ConvTranspose.output_padding does not go with a word for padding",
                got=f"output_padding={extra}, padding={self.padding!r}",
                expected="output_padding=0",
                hint="the word already says how large the output is: give padding as a number",
            )

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States the output ``(filters, *spatial')``."""
        (value,) = inputs
        need_rank("ConvTranspose", value, least=2)
        _need_groups("ConvTranspose", self.groups, value.channels, self.filters)
        settings = self.kernel, self.stride, self.padding, self.output_padding, self.dilation
        return TensorSpec((self.filters, *slide_transposed("ConvTranspose", value.spatial, *settings)))

    def weight_shape(self, value: TensorSpec) -> Shape:
        """Shape of the weight on an input: ``(C, filters / groups, *kernel)``.

        Args:
            value: The input.

        Returns:
            The shape.
        """
        kernel = per_axis(self.kernel, len(value.spatial), "ConvTranspose.kernel")
        return (value.channels, self.filters // self.groups, *kernel)

    def parameters(self, inputs: tuple[TensorSpec, ...]) -> Mapping[str, Shape]:
        """States the weight and the bias."""
        weight = self.weight_shape(inputs[0])
        return {"weight": weight, "bias": (self.filters,)} if self.bias else {"weight": weight}

    def buffers(self, inputs: tuple[TensorSpec, ...]) -> Mapping[str, Shape]:
        """States that there are none."""
        return {}

    def macs(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> int:
        """States input positions x weight elements."""
        return prod(inputs[0].spatial) * prod(self.weight_shape(inputs[0]))

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that the input is kept: the weight's gradient is computed from it."""
        return Saved(inputs=(0,))

    def extras(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Mapping[str, TensorSpec]:
        """States that there are none."""
        return {}
