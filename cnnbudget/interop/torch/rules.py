"""How every built-in layer becomes a module: PyTorch's own wherever it has one that says the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from cnnbudget.errors import MissingRuleError
from cnnbudget.interop.torch import modules
from cnnbudget.layers import activation as act
from cnnbudget.layers import conv, merge, norm, pool, rearrange, regularize, reshape, resize, scale
from cnnbudget.layers.linear import Linear
from cnnbudget.layers.local import LocallyConnected

if TYPE_CHECKING:
    from collections.abc import Callable

    from cnnbudget.layers.base import Layer
    from cnnbudget.tensors import TensorSpec

    Rule = Callable[..., nn.Module]

__all__ = ["RULES"]


def _ranked(name: str, rank: int, home: Any = nn) -> Any:
    """PyTorch's class of a family for a number of spatial axes."""
    kind = getattr(home, f"{name}{rank}d", None)
    if kind is None:
        name = name.removeprefix("Padded").removeprefix("Cut")
        raise MissingRuleError(f"PyTorch has no {name} on {rank} spatial axes")
    return kind


def _rank(value: TensorSpec) -> int:
    return len(value.spatial)


def _convolution(layer: Any, value: TensorSpec, filters: int, groups: int, mode: str = "zeros") -> nn.Module:
    rank = _rank(value)
    kernel, stride, dilation = (modules.each(v, rank) for v in (layer.kernel, layer.stride, layer.dilation))
    same = layer.padding == "same"
    asked: Any = None
    if not same:
        asked = modules.even(modules.sides_of(layer.padding, value.spatial, kernel, stride, dilation))
    elif set(stride) == {1}:
        asked = "same"
    module = (_ranked("Conv", rank) if asked is not None else _ranked("PaddedConv", rank, modules))(
        value.channels,
        filters,
        kernel,
        stride=stride,
        padding=0 if asked is None else asked,
        dilation=dilation,
        groups=groups,
        bias=layer.bias,
        padding_mode="zeros" if asked is None else mode,
    )
    if asked is None:
        module.layer = layer
    return module


def _conv(layer: conv.Conv, value: TensorSpec) -> nn.Module:
    return _convolution(layer, value, layer.filters, layer.groups, layer.padding_mode)


def _depthwise(layer: conv.DepthwiseConv, value: TensorSpec) -> nn.Module:
    return _convolution(layer, value, value.channels * layer.multiplier, value.channels)


def _transposed(layer: conv.ConvTranspose, value: TensorSpec) -> nn.Module:
    rank = _rank(value)
    asked = modules.even(modules.cuts(layer, rank))
    module = (_ranked("ConvTranspose", rank) if asked is not None else _ranked("CutConvTranspose", rank, modules))(
        value.channels,
        layer.filters,
        modules.each(layer.kernel, rank),
        stride=modules.each(layer.stride, rank),
        padding=0 if asked is None else asked,
        output_padding=modules.each(layer.output_padding, rank),
        groups=layer.groups,
        bias=layer.bias,
        dilation=modules.each(layer.dilation, rank),
    )
    if asked is None:
        module.layer = layer
    return module


def _linear(layer: Linear, value: TensorSpec) -> nn.Module:
    axes = len(value.shape)
    axis = 0 if layer.axis is None else layer.axis % axes
    if axis == axes - 1:
        return nn.Linear(value.shape[axis], layer.features, bias=layer.bias)
    return modules.Linear(axis, value.shape[axis], layer.features, bias=layer.bias)


def _pooling(layer: Any, value: TensorSpec) -> nn.Module:
    rank, name = _rank(value), _own_name(layer, (pool.MaxPool, pool.AvgPool, pool.LPPool))
    kernel = modules.each(layer.kernel, rank)
    stride = kernel if layer.stride is None else modules.each(layer.stride, rank)
    kind = _ranked(name, rank)
    asked = None if layer.padding == "same" else modules.even(modules.sides_of(layer.padding, value.spatial, 1, 1))
    if isinstance(layer, pool.LPPool) and asked == (0,) * rank:
        sizes = (kernel, stride) if rank > 1 else (kernel[0], stride[0])
        return kind(layer.norm, *sizes, layer.ceil_mode)
    if isinstance(layer, pool.LPPool) or asked is None:
        return getattr(modules, name)(layer)
    if isinstance(layer, pool.MaxPool):
        dilation = modules.each(layer.dilation, rank)
        return kind(kernel, stride, padding=asked, ceil_mode=layer.ceil_mode, dilation=dilation)
    return kind(kernel, stride, padding=asked, ceil_mode=layer.ceil_mode, count_include_pad=layer.count_include_pad)


def _own_name(layer: Layer, kinds: tuple[type[Layer], ...]) -> str:
    """The name of the built-in class that a layer is of, or is derived from."""
    return next(kind.__name__ for kind in kinds if isinstance(layer, kind))


def _adaptive(layer: Any, value: TensorSpec) -> nn.Module:
    rank = _rank(value)
    name, size = _own_name(layer, (pool.AdaptiveAvgPool, pool.AdaptiveMaxPool)), modules.each(layer.size, rank)
    if size == (None,):
        return _ranked(name, rank, modules)()
    return _ranked(name, rank)(size if rank > 1 else size[0])


def _uncounted(layer: Any, module: nn.Module) -> nn.Module:
    """Without the counter of batches, unless the layer asks for it."""
    if layer.track_running_stats and not layer.count_batches:
        module.register_buffer("num_batches_tracked", None)
    return module


def _batch_norm(layer: norm.BatchNorm, value: TensorSpec) -> nn.Module:
    kind = _ranked("BatchNorm", max(1, _rank(value)))
    module = kind(value.channels, affine=layer.affine, track_running_stats=layer.track_running_stats)
    if not layer.scale:
        module.register_parameter("weight", None)
    return _uncounted(layer, module)


def _instance_norm(layer: norm.InstanceNorm, value: TensorSpec) -> nn.Module:
    kind = _ranked("InstanceNorm", _rank(value))
    return _uncounted(layer, kind(value.channels, affine=layer.affine, track_running_stats=layer.track_running_stats))


def _layer_norm(layer: norm.LayerNorm, value: TensorSpec) -> nn.Module:
    count = len(value.shape)
    axes = sorted(axis % count for axis in modules.each(layer.axes, 1))
    shape = [value.shape[axis] for axis in axes]
    if axes == list(range(count - len(axes), count)):
        return nn.LayerNorm(shape, elementwise_affine=layer.affine, bias=layer.bias)
    return modules.LayerNorm(axes, shape, affine=layer.affine, bias=layer.bias)


def _dropout(layer: regularize.Dropout, _: TensorSpec) -> nn.Module:
    return modules.FeatureDropout(layer) if layer.per_channel else nn.Dropout(layer.rate, inplace=layer.inplace)


def _locally(layer: LocallyConnected, value: TensorSpec) -> nn.Module:
    return modules.LocallyConnected(layer, value.channels, value.spatial)


def _own(name: str, **settings: str) -> Rule:
    """PyTorch's module, with its words for the layer's settings."""
    return lambda layer, _: getattr(nn, name)(**{theirs: getattr(layer, ours) for theirs, ours in settings.items()})


def _along(name: str) -> Rule:
    return lambda layer, value: getattr(nn, name)(dim=layer.axis % len(value.shape) + 1)


def _of(kind: type[modules.Of]) -> Rule:
    """A module that does what the layer says."""
    return lambda layer, *_: kind(layer)


RULES: dict[type[Layer], Rule] = {
    conv.Conv: _conv,
    conv.DepthwiseConv: _depthwise,
    conv.ConvTranspose: _transposed,
    LocallyConnected: _locally,
    Linear: _linear,
    **dict.fromkeys((pool.MaxPool, pool.AvgPool, pool.LPPool), _pooling),
    **dict.fromkeys((pool.AdaptiveAvgPool, pool.AdaptiveMaxPool), _adaptive),
    norm.BatchNorm: _batch_norm,
    norm.InstanceNorm: _instance_norm,
    norm.LayerNorm: _layer_norm,
    norm.GroupNorm: lambda layer, value: nn.GroupNorm(layer.groups, value.channels, affine=layer.affine),
    norm.LocalResponseNorm: lambda layer, _: modules.LocalResponseNorm(layer.size, layer.alpha, layer.beta, layer.k),
    **{
        kind: _own(kind.__name__, inplace="inplace")
        for kind in (act.ReLU, act.ReLU6, act.SELU, act.SiLU, act.Mish, act.Hardswish, act.Hardsigmoid)
    },
    **{kind: _own(kind.__name__, alpha="alpha", inplace="inplace") for kind in (act.ELU, act.CELU)},
    act.LeakyReLU: _own("LeakyReLU", negative_slope="slope", inplace="inplace"),
    act.Hardtanh: _own("Hardtanh", min_val="low", max_val="high", inplace="inplace"),
    act.PReLU: lambda layer, value: nn.PReLU(value.channels if layer.channelwise else 1),
    act.GELU: lambda layer, _: nn.GELU("tanh" if layer.approximate else "none"),
    act.Softplus: _own("Softplus", beta="beta"),
    act.Sigmoid: _own("Sigmoid"),
    act.Tanh: _own("Tanh"),
    act.Softmax: _along("Softmax"),
    act.LogSoftmax: _along("LogSoftmax"),
    regularize.Dropout: _dropout,
    rearrange.Unfold: _of(modules.Unfold),
    resize.Upsample: _own("Upsample", size="size", scale_factor="scale", mode="mode"),
    scale.Scale: lambda layer, value: modules.Scale(layer, value.channels),
    scale.Identity: _own("Identity"),
    **{
        kind: _of(getattr(modules, kind.__name__))
        for kind in (
            *(pool.GlobalAvgPool, pool.GlobalMaxPool, regularize.DropPath),
            *(reshape.Flatten, reshape.Reshape, reshape.Permute, reshape.Split, reshape.Slice, reshape.Crop),
            *(rearrange.Pad, rearrange.PixelShuffle, rearrange.PixelUnshuffle, rearrange.ChannelShuffle),
            *(merge.Add, merge.Multiply, merge.Maximum, merge.Concat),
        )
    },
}
"""A function by layer: called with the layer and the specs of its inputs, it returns a module."""
