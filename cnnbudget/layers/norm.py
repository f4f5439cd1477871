"""Normalisation: over the batch, over axes or groups of one sample, and over neighbouring feature maps.

What a training step keeps was measured in PyTorch 2.13: the input and the statistics that it was normalised by. Statistics are
counted in 32 bits under every precision.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import field, frozen

from cnnbudget.checks import axes_from, int_from, is_axes, is_bool, is_int, is_number, number_from
from cnnbudget.dtypes import FLOAT32, INT64, Role
from cnnbudget.errors import InvalidValueError, ShapeError
from cnnbudget.layers.base import Autocast, ElementwiseLayer, Saved, need_rank, scratch
from cnnbudget.tensors import Shape, TensorSpec, axis_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from attrs import Attribute

__all__ = ["BatchNorm", "GroupNorm", "InstanceNorm", "LayerNorm", "LocalResponseNorm"]

_COUNTER = TensorSpec((), Role.BUFFER, INT64, batched=False)


@lru_cache(maxsize=4096)  # networks repeat widths
def _statistic(*shape: int, batched: bool = True) -> TensorSpec:
    return TensorSpec(shape, Role.EXTRA, FLOAT32, batched=batched)


def _is_not_empty(instance: Any, attribute: Attribute[Any], value: Any) -> None:
    if value == ():
        what = f"{type(instance).__name__}.{attribute.name}"
        raise InvalidValueError(f"{what} is empty", got="()", expected="an axis, or several")


@frozen(repr=False)
class _Normaliser(ElementwiseLayer):
    """A normalisation whose backward step needs its input."""

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that the input is kept."""
        return Saved(inputs=(0,))


@frozen(repr=False)
class _Tracking(_Normaliser):
    """A normalisation that may have running statistics, one a channel."""

    affine: bool = field(default=True, kw_only=True, validator=is_bool)
    track_running_stats: bool = field(default=True, kw_only=True, validator=is_bool)
    count_batches: bool = field(default=False, kw_only=True, validator=is_bool)

    def buffers(self, inputs: tuple[TensorSpec, ...]) -> Mapping[str, Shape | TensorSpec]:
        """States the running statistics, and the counter of batches, whose width no precision changes."""
        channels = (inputs[0].channels,)
        if not self.track_running_stats:
            return {}
        statistics: dict[str, Shape | TensorSpec] = {"running_mean": channels, "running_var": channels}
        return statistics | {"num_batches_tracked": _COUNTER} if self.count_batches else statistics


@frozen(repr=False)
class BatchNorm(_Tracking):
    """Batch normalisation: every channel is normalised over the batch and the spatial axes.

    Input and output ``(C, *spatial)``. Parameters: scale and shift, ``(C,)`` each. Buffers: running mean and variance, ``(C,)``
    each, 32 bits under every preset. A training step keeps the input and two 32-bit statistics per channel, however large
    the batch. Source: Ioffe and Szegedy (2015); what is kept was measured in PyTorch.

    Args:
        affine: Whether it has a scale and a shift.
        track_running_stats: Whether it has running statistics.
        count_batches: Whether running statistics come with a counter of batches, one 64-bit integer, as in PyTorch.
        scale: Whether ``affine`` includes the scale. Inception v3 has shifts alone in TensorFlow and Keras.

    Example:
        >>> from cnnbudget import BatchNorm, Net
        >>> net = Net.input(64, 8, 8).then(BatchNorm())
        >>> net.parameter_count, net.buffer_count
        (128, 128)
    """

    scale: bool = field(default=True, kw_only=True, validator=is_bool)

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States that the output is like the input, which must have channels."""
        (value,) = inputs
        need_rank("BatchNorm", value, least=1)
        return value

    def parameters(self, inputs: tuple[TensorSpec, ...]) -> Mapping[str, Shape]:
        """States scale and shift."""
        channels = (inputs[0].channels,)
        if not self.affine:
            return {}
        return {"weight": channels, "bias": channels} if self.scale else {"bias": channels}

    def extras(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Mapping[str, TensorSpec]:
        """States mean and inverse standard deviation of the batch."""
        statistic = _statistic(inputs[0].channels, batched=False)
        return {"mean": statistic, "invstd": statistic}

    def temporaries(
        self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, training: bool
    ) -> Mapping[str, TensorSpec]:
        """States the statistics of the batch in an inference, where there are no running ones."""
        return {} if training or self.track_running_stats else self.extras(inputs, output)


@frozen(repr=False)
class InstanceNorm(_Tracking):
    """Instance normalisation: every channel of every sample is normalised over its spatial axes.

    Input and output ``(C, *spatial)``. Parameters and buffers as in :class:`~cnnbudget.BatchNorm`, but there are none unless
    asked for. A training step keeps the input, two 32-bit statistics per channel and sample, and, as PyTorch runs it as a batch
    normalisation of ``N * C`` channels, a copy of the scale and of both running statistics for every sample. Source: Ulyanov,
    Vedaldi and Lempitsky (2016); what is kept was measured in PyTorch, which refuses maps of one position, as we do unless there
    are running statistics to normalise by.

    Args:
        affine: Whether it has a scale and a shift.
        track_running_stats: Whether it has running statistics.
        count_batches: Whether running statistics come with a counter of batches, one 64-bit integer, as in PyTorch.

    Example:
        >>> from cnnbudget import InstanceNorm, Net
        >>> net = Net.input(64, 8, 8)
        >>> net.then(InstanceNorm()).parameter_count, net.then(InstanceNorm(affine=True)).parameter_count
        (0, 128)
    """

    affine: bool = field(default=False, kw_only=True, validator=is_bool)
    track_running_stats: bool = field(default=False, kw_only=True, validator=is_bool)

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States that the output is like the input, which must have something to normalise over."""
        (value,) = inputs
        need_rank("InstanceNorm", value, least=2)
        if prod(value.spatial) == 1 and not self.track_running_stats:
            raise ShapeError(
                "InstanceNorm has one value of every map, and nothing to normalise it by",
                got=str(value.shape),
                expected="maps of two positions or more",
                hint="normalise before the pooling, or over the channels: LayerNorm(), GroupNorm(1)",
            )
        return value

    def parameters(self, inputs: tuple[TensorSpec, ...]) -> Mapping[str, Shape]:
        """States scale and shift."""
        channels = (inputs[0].channels,)
        return {"weight": channels, "bias": channels} if self.affine else {}

    def extras(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Mapping[str, TensorSpec]:
        """States mean and inverse standard deviation of every map, and the copies for every sample."""
        statistic = _statistic(inputs[0].channels)
        extras = {"mean": statistic, "invstd": statistic}
        if self.affine:
            extras["weight_copies"] = TensorSpec(statistic.shape, Role.EXTRA)
        if self.track_running_stats:
            extras |= {"running_mean_copies": statistic, "running_var_copies": statistic}
        return extras

    def temporaries(
        self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, training: bool
    ) -> Mapping[str, TensorSpec]:
        """States the copies that nobody keeps, and all of them in an inference, with the statistics that it needs.

        Training averages the running statistics over the samples, one after the other.
        """
        copies = {"bias_copies": scratch(inputs[0].channels)} if self.affine else {}
        if training:
            if self.track_running_stats:
                copies["running_update"] = TensorSpec((inputs[0].channels,), Role.WORKSPACE, FLOAT32, batched=False)
            return copies
        found = {**self.extras(inputs, output), **copies}
        if self.track_running_stats:
            del found["mean"], found["invstd"]
        return found

    def backward_temporaries(
        self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, needs: tuple[bool, ...]
    ) -> Mapping[str, TensorSpec]:
        """States the gradients of the copies of scale and shift, before they are added up."""
        copy = scratch(inputs[0].channels)
        return {"weight_copies": copy, "bias_copies": copy} if self.affine else {}


@frozen(repr=False)
class LayerNorm(_Normaliser):
    """Layer normalisation: every sample is normalised over some of its axes, at each position along the others.

    Input and output ``(C, *spatial)``. Parameters: scale and shift, each with the shape of the normalised axes. A training step
    keeps the input and two 32-bit statistics for every position that is left. Shapes here are channels first: ``LayerNorm()``
    normalises over the channels at each pixel, which is ConvNeXt's ``LayerNorm2d`` (there the input is permuted, normalised and
    permuted back, all in views of the same bytes); PyTorch's ``LayerNorm`` normalises over the last axes, ``LayerNorm(-1)``;
    the paper's is over all, ``LayerNorm((0, 1, 2))``. Source: Ba, Kiros and Hinton (2016); what is kept was measured in
    PyTorch.

    Args:
        axes: One axis of a sample, or several; 0 is the channels. Negative axes count from the end.
        affine: Whether it has a scale, and a shift unless ``bias`` is off.
        bias: Whether ``affine`` includes the shift.

    Example:
        >>> from cnnbudget import LayerNorm, Net
        >>> net = Net.input(96, 56, 56)
        >>> net.then(LayerNorm()).parameter_count, net.then(LayerNorm((-2, -1))).parameter_count
        (192, 6272)
    """

    autocast: ClassVar[Autocast] = Autocast.FULL

    axes: int | tuple[int, ...] = field(default=0, converter=axes_from, validator=[_is_not_empty, is_axes(-8)])
    affine: bool = field(default=True, kw_only=True, validator=is_bool)
    bias: bool = field(default=True, kw_only=True, validator=is_bool)

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States that the output is like the input, which must have the axes."""
        (value,) = inputs
        self._positions(value.shape)
        return value

    def _positions(self, shape: Shape) -> tuple[int, ...]:
        axes = self.axes if isinstance(self.axes, tuple) else (self.axes,)
        positions = sorted({axis_in(axis, shape, "LayerNorm.axes") for axis in axes})
        if len(positions) < len(axes):
            raise ShapeError("LayerNorm.axes names an axis twice", got=f"{axes} on {shape}", expected="different axes")
        return tuple(positions)

    def parameters(self, inputs: tuple[TensorSpec, ...]) -> Mapping[str, Shape]:
        """States scale and shift."""
        if not self.affine:
            return {}
        shape = inputs[0].shape
        normalised = tuple([shape[axis] for axis in self._positions(shape)])
        return {"weight": normalised, "bias": normalised} if self.bias else {"weight": normalised}

    def extras(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Mapping[str, TensorSpec]:
        """States mean and inverse standard deviation of every position."""
        shape = inputs[0].shape
        positions = self._positions(shape)
        statistic = _statistic(prod([size for axis, size in enumerate(shape) if axis not in positions]))
        return {"mean": statistic, "rstd": statistic}

    def temporaries(
        self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, training: bool
    ) -> Mapping[str, TensorSpec]:
        """States the statistics, which an inference writes too and then drops."""
        return {} if training else self.extras(inputs, output)


@frozen(repr=False)
class GroupNorm(_Normaliser):
    """Group normalisation: every sample is normalised over groups of its channels and all spatial axes.

    Input and output ``(C, *spatial)``. Parameters: scale and shift, ``(C,)`` each. A training step keeps the input and two 32-bit
    statistics per group and sample. Source: Wu and He (2018); what is kept was measured in PyTorch.

    Args:
        groups: How many groups; a divisor of the channels.
        affine: Whether it has a scale and a shift.

    Example:
        >>> from cnnbudget import GroupNorm, Net
        >>> Net.input(64, 8, 8).then(GroupNorm(32)).parameter_count
        128
    """

    autocast: ClassVar[Autocast] = Autocast.FULL

    groups: int = field(converter=int_from, validator=is_int())
    affine: bool = field(default=True, kw_only=True, validator=is_bool)

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States that the output is like the input, whose channels must divide."""
        (value,) = inputs
        need_rank("GroupNorm", value, least=1)
        if value.channels % self.groups:
            raise ShapeError(
                "GroupNorm.groups must divide the channels",
                got=f"{self.groups} groups on {value.channels} channels",
                expected="a divisor",
            )
        return value

    def parameters(self, inputs: tuple[TensorSpec, ...]) -> Mapping[str, Shape]:
        """States scale and shift."""
        channels = (inputs[0].channels,)
        return {"weight": channels, "bias": channels} if self.affine else {}

    def extras(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Mapping[str, TensorSpec]:
        """States mean and inverse standard deviation of every group."""
        statistic = _statistic(self.groups)
        return {"mean": statistic, "rstd": statistic}

    def temporaries(
        self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, training: bool
    ) -> Mapping[str, TensorSpec]:
        """States the statistics, which an inference writes too and then drops."""
        return {} if training else self.extras(inputs, output)


@frozen(repr=False)
class LocalResponseNorm(_Normaliser):
    """Local response normalisation: strong activations inhibit the same position in neighbouring feature maps.

    Input and output ``(C, *spatial)``; no parameters. A training step keeps, as PyTorch composes it, the input, the squares
    padded by ``size - 1`` maps, and two values of the input's size. Source: Krizhevsky, Sutskever and Hinton (2012),
    section 3.3, whose constants are the defaults.

    Args:
        size: How many neighbouring maps are summed.
        alpha: Weight of the sum.
        beta: Exponent.
        k: Offset.

    Example:
        >>> from cnnbudget import LocalResponseNorm, Net
        >>> Net.input(96, 55, 55).then(LocalResponseNorm()).parameter_count
        0
    """

    autocast: ClassVar[Autocast] = Autocast.FULL

    size: int = field(default=5, converter=int_from, validator=is_int())
    alpha: float = field(default=1e-4, kw_only=True, converter=number_from, validator=is_number(0, 1e6))
    beta: float = field(default=0.75, kw_only=True, converter=number_from, validator=is_number(0, 1e6))
    k: float = field(default=2.0, kw_only=True, converter=number_from, validator=is_number(0, 1e6))

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States that the output is like the input."""
        need_rank("LocalResponseNorm", inputs[0], least=2)
        return inputs[0]

    def extras(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Mapping[str, TensorSpec]:
        """States the padded squares, the sums before the power, and the divisor."""
        channels, *spatial = output.shape
        like_output = TensorSpec(output.shape, Role.EXTRA)
        squares = TensorSpec((channels + self.size - 1, *spatial), Role.EXTRA)
        return {"squares": squares, "sums": like_output, "divisor": like_output}

    def temporaries(
        self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, training: bool
    ) -> Mapping[str, TensorSpec]:
        """States the padded squares, or two values of the input's size where they are more, in an inference."""
        channels, *spatial = output.shape
        return {} if training else {"on_the_way": scratch(max(channels + self.size - 1, 2 * channels), *spatial)}

    def backward_temporaries(
        self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, needs: tuple[bool, ...]
    ) -> Mapping[str, TensorSpec]:
        """States three values of the input's size: the quotients whose product is the gradient of the divisor."""
        return {"on_the_way": scratch(3 * output.shape[0], *output.shape[1:])}
