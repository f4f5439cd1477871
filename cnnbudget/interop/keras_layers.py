"""Which layers every layer of Keras is, by the name of its class, from its configuration alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from cnnbudget.errors import FormatError, shorten
from cnnbudget.layers import activation as act
from cnnbudget.layers import merge, norm, pool, rearrange, regularize, reshape, resize
from cnnbudget.layers.conv import Conv, ConvTranspose, DepthwiseConv
from cnnbudget.layers.linear import Linear
from cnnbudget.layers.scale import Identity, Scale

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cnnbudget.layers.base import Layer
    from cnnbudget.tensors import TensorSpec

__all__ = ["RULES", "Unsupported", "Use"]


class Unsupported(Exception):  # noqa: N818  # no error yet: it is collected
    """What has no layer here, and why."""


@frozen
class Use:
    """One call of a layer of Keras.

    Args:
        config: Its configuration.
        inputs: Specs of what it reads, channels first.
        last: Whether the model has its channels last.
        numbers: Whether it is an operation with a number.
        arguments: The arguments of the call.
    """

    config: Mapping[str, Any]
    inputs: tuple[TensorSpec, ...]
    last: bool
    numbers: bool
    arguments: Any

    @property
    def value(self) -> TensorSpec:
        """The first input."""
        return self.inputs[0]

    def axis(self, axis: Any, *, batch: bool = True) -> int:
        """An axis here of an axis in Keras, which counts the batch."""
        rank = len(self.value.shape)
        if type(axis) is not int or not -rank <= axis <= rank or (batch and axis == 0):
            raise FormatError(
                "an axis makes no sense", got=shorten(axis), expected=f"one of {rank} axes after the batch"
            )
        at = axis % rank if axis < 0 else axis - batch
        if not self.last:
            return at
        return 0 if at == rank - 1 else at + 1

    def int(self, name: str, default: Any = None) -> int:
        """A setting that is an int."""
        value = self.config.get(name, default)
        if type(value) is not int:
            raise FormatError(f"{name} is no int", got=shorten(value))
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        """A setting that is on or off."""
        value = self.config.get(name, default)
        if not isinstance(value, bool):
            raise FormatError(f"{name} is neither true nor false", got=shorten(value))
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """A setting that is a number."""
        value = self.config.get(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise FormatError(f"{name} is no number", got=shorten(value))
        return float(value)

    def axes(self, name: str, default: Any = None) -> Any:
        """A setting with an int for every spatial axis."""
        value = self.config.get(name, default)
        values = value if isinstance(value, list) else [value]
        if not values or not all(type(each) is int for each in values):
            raise FormatError(f"{name} is no int for every axis", got=shorten(value))
        return _short(values)

    def sides(self, name: str) -> Any:
        """A setting with an amount before and after every spatial axis."""
        value, rank = self.config.get(name), len(self.value.spatial)
        if rank == 1 and isinstance(value, list) and len(value) == 2 and not isinstance(value[0], list):
            value = [value]
        pairs = [
            each if isinstance(each, list) else [each, each]
            for each in (value if isinstance(value, list) else [value] * rank)
        ]
        if not pairs or not all(len(pair) == 2 and all(type(side) is int for side in pair) for pair in pairs):
            raise FormatError(f"{name} is no amount for every side", got=shorten(value))
        flat = {side for pair in pairs for side in pair}
        return flat.pop() if len(flat) == 1 else tuple((before, after) for before, after in pairs)

    def padding(self) -> str:
        """The setting ``padding``."""
        word = self.config.get("padding", "valid")
        if word not in {"same", "valid"}:
            raise Unsupported(f"padding {shorten(word)}")
        return str(word)

    def activation(self) -> list[Layer]:
        """The activation at the end of a layer: none, or one."""
        found = self.config.get("activation")
        if isinstance(found, dict):
            inner = found.get("config")
            if isinstance(inner, dict) and isinstance(found.get("class_name"), str) and found["class_name"] in RULES:
                return RULES[found["class_name"]](Use(inner, self.inputs, self.last, numbers=False, arguments=None))
            found = inner
        if found is None or found == "linear":
            return []
        if not isinstance(found, str) or found not in _ACTIVATIONS:
            raise Unsupported(f"activation {shorten(found)}")
        return [_ACTIVATIONS[found](self)]

    def channels(self, axis: Any) -> None:
        """Demands that an axis is the channels'."""
        axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
        if self.axis(axis) != 0:
            raise Unsupported("it works along another axis than the channels'")


def _short(values: list[Any]) -> Any:
    return values[0] if len(set(values)) == 1 else tuple(values)


def _along_features(use: Use) -> int:
    """The last axis of Keras."""
    return use.axis(-1)


_ACTIVATIONS: dict[str, Callable[[Use], Layer]] = {
    "relu": lambda _: act.ReLU(),
    "relu6": lambda _: act.ReLU6(),
    "silu": lambda _: act.SiLU(),
    "swish": lambda _: act.SiLU(),
    "sigmoid": lambda _: act.Sigmoid(),
    "tanh": lambda _: act.Tanh(),
    "gelu": lambda _: act.GELU(),
    "elu": lambda _: act.ELU(),
    "selu": lambda _: act.SELU(),
    "celu": lambda _: act.CELU(),
    "mish": lambda _: act.Mish(),
    "softplus": lambda _: act.Softplus(),
    "leaky_relu": lambda _: act.LeakyReLU(0.2),
    "hard_sigmoid": lambda _: act.Hardsigmoid(),
    "hard_silu": lambda _: act.Hardswish(),
    "hard_swish": lambda _: act.Hardswish(),
    "softmax": lambda use: act.Softmax(axis=_along_features(use)),
    "log_softmax": lambda use: act.LogSoftmax(axis=_along_features(use)),
}


def _conv(use: Use) -> list[Layer]:
    layer = Conv(
        use.int("filters"),
        use.axes("kernel_size"),
        stride=use.axes("strides", 1),
        padding=use.padding(),
        dilation=use.axes("dilation_rate", 1),
        groups=use.int("groups", 1),
        bias=use.flag("use_bias", default=True),
    )
    return [layer, *use.activation()]


def _depthwise(use: Use, *, bias: bool) -> Layer:
    return DepthwiseConv(
        use.axes("kernel_size"),
        multiplier=use.int("depth_multiplier", 1),
        stride=use.axes("strides", 1),
        padding=use.padding(),
        dilation=use.axes("dilation_rate", 1),
        bias=bias,
    )


def _depthwise_conv(use: Use) -> list[Layer]:
    return [_depthwise(use, bias=use.flag("use_bias", default=True)), *use.activation()]


def _separable(use: Use) -> list[Layer]:
    bias = use.flag("use_bias", default=True)
    return [_depthwise(use, bias=False), Conv(use.int("filters"), 1, bias=bias), *use.activation()]


def _conv_transpose(use: Use) -> list[Layer]:
    if use.config.get("output_padding") is not None:
        raise Unsupported("output_padding")
    layer = ConvTranspose(
        use.int("filters"),
        use.axes("kernel_size"),
        stride=use.axes("strides", 1),
        padding=use.padding(),
        dilation=use.axes("dilation_rate", 1),
        bias=use.flag("use_bias", default=True),
    )
    return [layer, *use.activation()]


def _dense(use: Use) -> list[Layer]:
    axis = None if len(use.value.shape) == 1 else _along_features(use)
    return [Linear(use.int("units"), bias=use.flag("use_bias", default=True), axis=axis), *use.activation()]


def _batch_norm(use: Use) -> list[Layer]:
    use.channels(use.config.get("axis", -1))
    center, scale = use.flag("center", default=True), use.flag("scale", default=True)
    if scale and not center:
        raise Unsupported("a scale without a shift")
    return [norm.BatchNorm(affine=center, scale=scale or not center)]


def _layer_norm(use: Use) -> list[Layer]:
    axis = use.config.get("axis", -1)
    axes = [use.axis(each) for each in (axis if isinstance(axis, list) else [axis])]
    center, scale = use.flag("center", default=True), use.flag("scale", default=True)
    if center and not scale:
        raise Unsupported("a shift without a scale")
    return [norm.LayerNorm(_short(axes), affine=scale, bias=center or not scale)]


def _group_norm(use: Use) -> list[Layer]:
    use.channels(use.config.get("axis", -1))
    center, scale = use.flag("center", default=True), use.flag("scale", default=True)
    if center != scale:
        raise Unsupported("a scale without a shift, or a shift without a scale")
    groups = use.int("groups", 32)
    return [norm.GroupNorm(use.value.channels if groups == -1 else groups, affine=scale)]


def _normalization(use: Use) -> list[Layer]:
    """Numbers that were given are no weights; numbers that were learned are a mean, a variance and a count."""
    if use.config.get("mean") is not None:
        return [merge.Concat()]
    use.channels(use.config.get("axis", -1))
    return [norm.BatchNorm(affine=False, count_batches=True)]


def _activation(use: Use) -> list[Layer]:
    return use.activation() or [Identity()]


def _relu(use: Use) -> list[Layer]:
    most, slope, threshold = use.config.get("max_value"), use.number("negative_slope", 0), use.number("threshold", 0)
    if threshold or (slope and most is not None):
        raise Unsupported("a threshold, or a slope with a limit")
    if slope:
        return [act.LeakyReLU(slope)]
    if most is None:
        return [act.ReLU()]
    most = use.number("max_value")
    return [act.ReLU6() if most == 6 else act.Hardtanh(low=0.0, high=most)]


def _leaky_relu(use: Use) -> list[Layer]:
    return [act.LeakyReLU(use.number("negative_slope", 0.3))]


def _prelu(use: Use) -> list[Layer]:
    shared = use.config.get("shared_axes")
    axes = {use.axis(axis) for axis in shared} if isinstance(shared, list) else set()
    if axes != set(range(1, len(use.value.shape))):
        raise Unsupported("a slope for every position")
    return [act.PReLU(channelwise=True)]


def _softmax(use: Use) -> list[Layer]:
    return [act.Softmax(axis=use.axis(use.config.get("axis", -1)))]


def _window_pool(kind: type[pool.MaxPool | pool.AvgPool]) -> Callable[[Use], list[Layer]]:
    def rule(use: Use) -> list[Layer]:
        kernel = use.axes("pool_size", 2)
        stride = kernel if use.config.get("strides") is None else use.axes("strides")
        more: dict[str, Any] = {} if kind is pool.MaxPool else {"count_include_pad": False}
        return [kind(kernel, stride=None if stride == kernel else stride, padding=use.padding(), **more)]

    return rule


def _global_pool(kind: type[pool.GlobalAvgPool | pool.GlobalMaxPool]) -> Callable[[Use], list[Layer]]:
    return lambda use: [kind(keepdims=use.flag("keepdims", default=False))]


def _dropout(use: Use) -> list[Layer]:
    shape = use.config.get("noise_shape")
    if isinstance(shape, list) and shape[1:] == [1] * len(use.value.shape):  # one draw for a sample: stochastic depth
        return [regularize.DropPath(use.number("rate"))]
    if shape is not None:
        raise Unsupported("noise_shape")
    return [regularize.Dropout(use.number("rate"))]


def _spatial_dropout(use: Use) -> list[Layer]:
    return [regularize.Dropout(use.number("rate"), per_channel=True)]


def _reshape(use: Use) -> list[Layer]:
    sizes = use.config.get("target_shape")
    if not isinstance(sizes, list) or not sizes or not all(type(each) is int for each in sizes):
        raise FormatError("target_shape is no list of ints", got=shorten(sizes))
    return [reshape.Reshape([sizes[-1], *sizes[:-1]] if use.last else sizes)]


def _permute(use: Use) -> list[Layer]:
    dims = use.config.get("dims")
    if not isinstance(dims, list) or len(dims) != len(use.value.shape):
        raise FormatError("dims is no order of the axes", got=shorten(dims))
    axes = [use.axis(each) for each in dims]
    return [reshape.Permute([axes[-1], *axes[:-1]] if use.last else axes)]


def _upsampling(use: Use) -> list[Layer]:
    mode = use.config.get("interpolation", "nearest")
    if mode not in {"nearest", "bilinear", "bicubic"}:
        raise Unsupported(f"interpolation {shorten(mode)}")
    return [resize.Upsample(use.axes("size", 2), mode=str(mode))]


def _sum(use: Use) -> list[Layer]:
    return [merge.Concat()] if use.numbers else [merge.Add()]


def _product(use: Use) -> list[Layer]:
    if use.numbers:
        return [merge.Concat()]
    ranks = {len(each.shape) for each in use.inputs}
    if len(ranks) > 1:
        raise Unsupported("values of different numbers of axes")
    return [merge.Multiply()]


def _concatenate(use: Use) -> list[Layer]:
    return [merge.Concat(axis=use.axis(use.config.get("axis", -1)))]


def _always(make: Callable[[], Layer]) -> Callable[[Use], list[Layer]]:
    return lambda _: [make()]


def _ranks(name: str, rule: Callable[[Use], list[Layer]], suffix: str = "") -> dict[str, Callable[[Use], list[Layer]]]:
    return {f"{name}{rank}D{suffix}": rule for rank in (1, 2, 3)}


RULES: dict[str, Callable[[Use], list[Layer]]] = {
    **_ranks("Conv", _conv),
    **_ranks("Conv", _conv_transpose, "Transpose"),
    **_ranks("DepthwiseConv", _depthwise_conv),
    **_ranks("SeparableConv", _separable),
    "Dense": _dense,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "GroupNormalization": _group_norm,
    "Normalization": _normalization,
    "Activation": _activation,
    "ReLU": _relu,
    "LeakyReLU": _leaky_relu,
    "PReLU": _prelu,
    "ELU": lambda use: [act.ELU(alpha=use.number("alpha", 1.0))],
    "Softmax": _softmax,
    **_ranks("MaxPooling", _window_pool(pool.MaxPool)),
    **_ranks("AveragePooling", _window_pool(pool.AvgPool)),
    **_ranks("GlobalAveragePooling", _global_pool(pool.GlobalAvgPool)),
    **_ranks("GlobalMaxPooling", _global_pool(pool.GlobalMaxPool)),
    "Dropout": _dropout,
    **_ranks("SpatialDropout", _spatial_dropout),
    "Flatten": _always(reshape.Flatten),
    "Reshape": _reshape,
    "Permute": _permute,
    **_ranks("ZeroPadding", lambda use: [rearrange.Pad(use.sides("padding"))]),
    **_ranks("Cropping", lambda use: [reshape.Crop(use.sides("cropping"))]),
    **_ranks("UpSampling", _upsampling),
    "Add": _sum,
    "Subtract": _sum,
    "Multiply": _product,
    "Maximum": _always(merge.Maximum),
    "Concatenate": _concatenate,
    "Rescaling": _always(merge.Concat),
    "Identity": _always(Identity),
    # Of keras.applications: a product with a number before a sum, a learned factor, and stochastic depth.
    "CustomScaleLayer": _always(merge.Add),
    "LayerScale": _always(Scale),
    "StochasticDepth": lambda use: [regularize.DropPath(use.number("drop_path_rate", 0.0))],
}
"""Rules by the name of the class."""
