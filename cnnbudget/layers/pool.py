"""Pooling: over windows, over windows that adapt to a size, and over whole feature maps. No parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from attrs import field, frozen
from attrs.converters import optional
from attrs.validators import optional as or_none

from cnnbudget.checks import axes_from, exact_int, is_axes, is_bool, is_number, number_from
from cnnbudget.dtypes import BOOL, INT64, Role
from cnnbudget.errors import InvalidValueError
from cnnbudget.layers.base import Autocast, Saved, StatelessLayer, need_rank, scratch
from cnnbudget.tensors import TensorSpec
from cnnbudget.windows import Axes, Padding, is_padding, padding_from, per_axis, slide

if TYPE_CHECKING:
    from collections.abc import Mapping

    from attrs import Attribute

__all__ = [
    "AdaptiveAvgPool",
    "AdaptiveMaxPool",
    "AvgPool",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "LPPool",
    "MaxPool",
    "WindowPool",
]


@frozen(repr=False)
class WindowPool(StatelessLayer):
    """The base of pooling over windows.

    Input ``(C, *spatial)``, output ``(C, *spatial')`` sized as by a :class:`~cnnbudget.Conv`; ``ceil_mode`` rounds up instead of
    down. Explicit padding is at most half of the kernel, as in PyTorch.

    Args:
        kernel: Size of the window: one int, or one per spatial axis.
        stride: Step of the window; ``None`` is the kernel.
        padding: As in :class:`~cnnbudget.Conv`.
        ceil_mode: Whether a last, partly covered window counts.
    """

    kernel: Axes = field(converter=axes_from, validator=is_axes())
    stride: Axes | None = field(default=None, kw_only=True, converter=optional(axes_from), validator=or_none(is_axes()))
    padding: Padding = field(default=0, kw_only=True, converter=padding_from, validator=is_padding)
    ceil_mode: bool = field(default=False, kw_only=True, validator=is_bool)

    def _slide(self, value: TensorSpec, dilation: Axes) -> TensorSpec:
        name = type(self).__name__
        need_rank(name, value, least=2)
        sizes = slide(
            name,
            value.spatial,
            self.kernel,
            self.kernel if self.stride is None else self.stride,
            self.padding,
            dilation,
            ceil_mode=self.ceil_mode,
            half_padding=True,
        )
        return TensorSpec((value.channels, *sizes))

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States the output ``(C, *spatial')``."""
        return self._slide(inputs[0], 1)

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that the input is kept."""
        return Saved(inputs=(0,))


@frozen(repr=False)
class MaxPool(WindowPool):
    """Max pooling. A training step also writes the index of every maximum (int64), which backward needs.

    Input ``(C, *spatial)``, output ``(C, *spatial')`` sized as by a :class:`~cnnbudget.Conv`. Source: PyTorch's ``MaxPool2d``.

    Args:
        kernel: Size of the window: one int, or one per spatial axis.
        stride: Step of the window; ``None`` is the kernel.
        padding: As in :class:`~cnnbudget.Conv`, at most half of the kernel.
        ceil_mode: Whether a last, partly covered window counts.
        dilation: Distance between the positions of a window.

    Example:
        >>> from cnnbudget import MaxPool, Net
        >>> Net.input(64, 112, 112).then(MaxPool(3, stride=2, padding=1)).output_shape
        (64, 56, 56)
    """

    dilation: Axes = field(default=1, kw_only=True, converter=axes_from, validator=is_axes())

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States the output ``(C, *spatial')``."""
        return self._slide(inputs[0], self.dilation)

    def extras(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Mapping[str, TensorSpec]:
        """States the indices: eight bytes per output element under every precision."""
        return {"index": TensorSpec(output.shape, Role.EXTRA, INT64)}

    def temporaries(
        self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, training: bool
    ) -> Mapping[str, TensorSpec]:
        """States the indices, which an inference writes too and then drops (measured in PyTorch 2.13)."""
        return {} if training else self.extras(inputs, output)


@frozen(repr=False)
class AvgPool(WindowPool):
    """Average pooling. A training step keeps the input, as PyTorch does.

    Input ``(C, *spatial)``, output ``(C, *spatial')`` sized as by a :class:`~cnnbudget.Conv`. Source: LeCun et al. (1998), whose
    subsampling it is without weights; PyTorch's ``AvgPool2d``.

    Args:
        kernel: Size of the window: one int, or one per spatial axis.
        stride: Step of the window; ``None`` is the kernel.
        padding: As in :class:`~cnnbudget.Conv`, at most half of the kernel.
        ceil_mode: Whether a last, partly covered window counts.
        count_include_pad: Whether the average divides by the whole window where a part of it is padding. No size depends on it.

    Example:
        >>> from cnnbudget import AvgPool, Net
        >>> Net.input(6, 28, 28).then(AvgPool(2)).output_shape
        (6, 14, 14)
    """

    count_include_pad: bool = field(default=True, kw_only=True, validator=is_bool)


@frozen(repr=False)
class LPPool(WindowPool):
    """Power-average pooling: the ``norm``-th root of the sum of ``norm``-th powers over a window.

    With ``norm=1`` it is the sum, and with larger ones it comes closer to the maximum. A training step keeps, as PyTorch 2.13
    composes it, the input, its powers, and four values of the output's size (measured). Source: Gulcehre et al., "Learned-norm
    pooling for deep feedforward and recurrent neural networks" (2014); PyTorch's ``LPPool2d``, which has no padding.

    Args:
        norm: The exponent. No size depends on it.
        kernel: Size of the window: one int, or one per spatial axis.
        stride: Step of the window; ``None`` is the kernel.
        padding: As in :class:`~cnnbudget.Conv`, at most half of the kernel.
        ceil_mode: Whether a last, partly covered window counts.

    Example:
        >>> from cnnbudget import LPPool, Net
        >>> Net.input(6, 28, 28).then(LPPool(2, 2)).output_shape
        (6, 14, 14)
    """

    autocast: ClassVar[Autocast] = Autocast.FULL

    norm: float = field(converter=number_from, validator=is_number(1e-6, 1e6))
    kernel: Axes = field(converter=axes_from, validator=is_axes())

    def extras(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Mapping[str, TensorSpec]:
        """States the powers of the input; their means, the means' signs and magnitudes, and the sums."""
        like_output = TensorSpec(output.shape, Role.EXTRA)
        names = ("means", "signs", "magnitudes", "sums")
        return {"powers": TensorSpec(inputs[0].shape, Role.EXTRA), **dict.fromkeys(names, like_output)}

    def temporaries(
        self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, training: bool
    ) -> Mapping[str, TensorSpec]:
        """States the powers of the input, or three values of the output's size where they are more, in an inference."""
        return {} if training else {"on_the_way": scratch(max(inputs[0].element_count, 3 * output.element_count))}

    def backward_temporaries(
        self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, needs: tuple[bool, ...]
    ) -> Mapping[str, TensorSpec]:
        """States what the gradient of the powers takes, or that of the sums where it is more."""
        before, after = inputs[0].element_count, output.element_count
        excess = max(2 * before - 5 * after, 3 * after - before)
        return {"on_the_way": scratch(excess)} if excess > 0 else {}


def _is_sizes(instance: Any, attribute: Attribute[Any], value: Any) -> None:
    what = f"{type(instance).__name__}.{attribute.name}"
    if value == ():
        raise InvalidValueError(f"{what} is empty", got="()", expected="a size, or one per spatial axis; None keeps it")
    for axis, size in enumerate(value) if isinstance(value, tuple) else [(None, value)]:
        if size is not None:
            exact_int(size, what if axis is None else f"{what}[{axis}]")


@frozen(repr=False)
class _AdaptivePool(StatelessLayer):
    """Pooling over windows that adapt to the size of the output; see :func:`cnnbudget.windows.adaptive_windows`."""

    size: int | tuple[int | None, ...] | None = field(converter=axes_from, validator=_is_sizes)

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States the output ``(C, *size)``."""
        (value,) = inputs
        name = type(self).__name__
        need_rank(name, value, least=2)
        sizes = per_axis(self.size, len(value.spatial), f"{name}.size")
        return TensorSpec(
            (value.channels, *(n if size is None else size for n, size in zip(value.spatial, sizes, strict=True)))
        )


@frozen(repr=False)
class AdaptiveAvgPool(_AdaptivePool):
    """Average pooling to a size of the output, whatever the size of the input.

    Input ``(C, *spatial)``, output ``(C, *size)``; window ``i`` of an axis of ``n`` is ``floor(i * n / size)`` to
    ``ceil((i + 1) * n / size)``. A training step keeps the input, and nothing where one value per map is left (measured in PyTorch
    2.13). Source: He et al., "Spatial pyramid pooling" (2014); PyTorch's ``AdaptiveAvgPool2d``.

    Args:
        size: Size of the output: one int, or one per spatial axis; ``None`` keeps the input's.

    Example:
        >>> from cnnbudget import AdaptiveAvgPool, Net
        >>> Net.input(512, 13, 9).then(AdaptiveAvgPool(7)).output_shape
        (512, 7, 7)
    """

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that the input is kept, unless the gradient is that of one mean per map: a constant."""
        return Saved() if set(output.spatial) == {1} else Saved(inputs=(0,))


@frozen(repr=False)
class AdaptiveMaxPool(_AdaptivePool):
    """Max pooling to a size of the output, whatever the size of the input.

    Input ``(C, *spatial)``, output ``(C, *size)``, windows as in :class:`~cnnbudget.AdaptiveAvgPool`. A training step keeps the
    input and the index of every maximum (int64; measured in PyTorch 2.13). Source: PyTorch's ``AdaptiveMaxPool2d``.

    Args:
        size: Size of the output: one int, or one per spatial axis; ``None`` keeps the input's.

    Example:
        >>> from cnnbudget import AdaptiveMaxPool, Net
        >>> Net.input(512, 13, 9).then(AdaptiveMaxPool((7, None))).output_shape
        (512, 7, 9)
    """

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that the input is kept."""
        return Saved(inputs=(0,))

    def extras(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Mapping[str, TensorSpec]:
        """States the indices: eight bytes per output element under every precision."""
        return {"index": TensorSpec(output.shape, Role.EXTRA, INT64)}

    def temporaries(
        self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, training: bool
    ) -> Mapping[str, TensorSpec]:
        """States the indices, which an inference writes too and then drops (measured in PyTorch 2.13)."""
        return {} if training else self.extras(inputs, output)


@frozen(repr=False)
class _GlobalPool(StatelessLayer):
    """Makes one value of every feature map."""

    keepdims: bool = field(default=False, kw_only=True, validator=is_bool)

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States the output ``(C,)``, or ``(C, 1, ...)``."""
        (value,) = inputs
        need_rank(type(self).__name__, value, least=2)
        return TensorSpec((value.channels, *((1,) * len(value.spatial) if self.keepdims else ())))


@frozen(repr=False)
class GlobalAvgPool(_GlobalPool):
    """The average of every feature map: input ``(C, *spatial)``, output ``(C,)``.

    A training step keeps nothing. Source: Lin, Chen and Yan, "Network in network" (2013).

    Args:
        keepdims: Whether the spatial axes stay, each with size 1.

    Example:
        >>> from cnnbudget import GlobalAvgPool, Net
        >>> Net.input(512, 7, 7).then(GlobalAvgPool()).output_shape
        (512,)
    """

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that nothing is kept: the gradient of a mean is a constant."""
        return Saved()


@frozen(repr=False)
class GlobalMaxPool(_GlobalPool):
    """The maximum of every feature map: input ``(C, *spatial)``, output ``(C,)``.

    A training step keeps the input and the output, to find the maxima again (measured on PyTorch's ``amax``);
    ``AdaptiveMaxPool(1)`` keeps the input and their indices. Source: Keras' ``GlobalMaxPooling2D``.

    Args:
        keepdims: Whether the spatial axes stay, each with size 1.

    Example:
        >>> from cnnbudget import GlobalMaxPool, Net
        >>> Net.input(512, 7, 7).then(GlobalMaxPool(keepdims=True)).output_shape
        (512, 1, 1)
    """

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that input and output are kept."""
        return Saved(inputs=(0,), output=True)

    def backward_temporaries(
        self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, needs: tuple[bool, ...]
    ) -> Mapping[str, TensorSpec]:
        """States the mask of the maxima, how many a map has, and the gradient for each of them."""
        return {
            "mask": scratch(*inputs[0].shape, dtype=BOOL),
            "count": scratch(*output.shape, dtype=INT64),
            "each": scratch(*output.shape),
        }
