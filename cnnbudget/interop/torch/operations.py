"""Which layer every operation of PyTorch's graphs is, by its name in ATen.

A rule is given a :class:`Call`, and returns a layer with the values that it reads, or the value that it is, if it does nothing.
What it cannot express it refuses with the reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from attrs import frozen

from cnnbudget.layers import activation as act
from cnnbudget.layers import conv, merge, norm, pool, rearrange, regularize, reshape, resize
from cnnbudget.layers.linear import Linear
from cnnbudget.layers.scale import Identity, Scale

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from cnnbudget.layers.base import Layer

__all__ = ["OPERATIONS", "PASSED", "Call", "Constant", "Made", "Parts", "Refused", "Value", "Weight"]


class Refused(Exception):  # noqa: N818  # no error yet: it is collected
    """What a rule cannot express, and why."""


class Value(NamedTuple):
    """A value of the network: its name, and the tensor that PyTorch has for it, without data."""

    name: str
    tensor: Tensor

    @property
    def rank(self) -> int:
        """Axes of a batch."""
        return int(self.tensor.dim())

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.tensor.shape[1:])


class Weight(NamedTuple):
    """A parameter or a buffer of the module: its name there, and the tensor."""

    name: str
    tensor: Tensor


class Constant(NamedTuple):
    """Whatever depends neither on the inputs nor on anything that is trained."""


class Parts(NamedTuple):
    """Several values of one operation: which part of its input each is."""

    value: Value
    axis: int
    sizes: list[int]

    def part(self, index: int) -> Made:
        """One of them, as a layer."""
        size, start = self.sizes[index], sum(self.sizes[:index])
        if len(set(self.sizes)) == 1:
            return Made(reshape.Split(len(self.sizes), index, axis=self.axis), [self.value])
        return Made(reshape.Slice(start, start + size, axis=self.axis), [self.value])


class Made(NamedTuple):
    """A layer, what it reads, the parameters that it uses, and layers that follow it."""

    layer: Layer
    inputs: list[Value]
    weights: tuple[Weight, ...] = ()
    then: tuple[Layer, ...] = ()


@frozen
class Call:
    """An operation: its name without the underscore of the in-place variants, its arguments by name, and its result."""

    name: str
    inplace: bool
    arguments: Mapping[str, Any]
    result: Any
    buffers: frozenset[str]

    def __getitem__(self, name: str) -> Any:
        return self.arguments.get(name)

    @property
    def value(self) -> Value:
        """The first argument, which must be a value of the network."""
        return _needed(next(iter(self.arguments.values())), "its input")

    def weight(self, name: str) -> Weight | None:
        """An argument that is a parameter, or nothing."""
        found = self.arguments.get(name)
        if found is not None and not isinstance(found, Weight):
            raise Refused(f"its {name} is computed")
        return found

    def weights(self, *names: str) -> tuple[Weight, ...]:
        """Arguments that are parameters, without those that are missing."""
        return tuple(found for name in names if (found := self.weight(name)) is not None)


def _needed(found: Any, what: str) -> Value:
    if not isinstance(found, Value):
        raise Refused(f"{what} is no value of the network")
    return found


def short(values: Any) -> Any:
    """One number for all axes where they agree."""
    return values[0] if len(set(values)) == 1 else tuple(values)


def axis_of(value: Value, dim: int) -> int:
    """The axis of one sample."""
    axis = dim % value.rank
    if axis == 0:
        raise Refused("it works along the batch")
    return axis - 1


# Rules.


def _conv(call: Call) -> Made:
    weights, padding = call.weights("weight", "bias"), call["padding"]
    filters, _, *kernel = weights[0].tensor.shape
    layer = conv.Conv(
        filters,
        short(kernel),
        stride=short(call["stride"]),
        padding=padding if isinstance(padding, str) else short(padding),
        dilation=short(call["dilation"]),
        groups=call["groups"],
        bias=call["bias"] is not None,
    )
    return Made(layer, [call.value], weights)


def _conv_transpose(call: Call) -> Made:
    weights = call.weights("weight", "bias")
    _, filters, *kernel = weights[0].tensor.shape
    layer = conv.ConvTranspose(
        filters * call["groups"],
        short(kernel),
        stride=short(call["stride"]),
        padding=short(call["padding"]),
        output_padding=short(call["output_padding"]),
        dilation=short(call["dilation"]),
        groups=call["groups"],
        bias=call["bias"] is not None,
    )
    return Made(layer, [call.value], weights)


def _linear(call: Call) -> Made:
    weights = call.weights("weight", "bias")
    axis = None if call.value.rank == 2 else -1
    layer = Linear(weights[0].tensor.shape[0], bias=call["bias"] is not None, axis=axis)
    return Made(layer, [call.value], weights)


def _tracking(call: Call) -> dict[str, bool]:
    mean, scale, shift = (call.weight(name) for name in ("running_mean", "weight", "bias"))
    if scale is not None and shift is None:
        raise Refused("it has a scale and no shift")
    counter = None if mean is None else f"{mean.name.rpartition('.')[0]}.num_batches_tracked".lstrip(".")
    return {
        "affine": shift is not None,
        "track_running_stats": mean is not None,
        "count_batches": counter in call.buffers,
    }


def _batch_norm(call: Call) -> Made:
    settings = _tracking(call)
    scale = call["weight"] is not None or not settings["affine"]
    return Made(norm.BatchNorm(**settings, scale=scale), [call.value], call.weights("weight", "bias"))


def _instance_norm(call: Call) -> Made:
    return Made(norm.InstanceNorm(**_tracking(call)), [call.value], call.weights("weight", "bias"))


def _layer_norm(call: Call) -> Made:
    count = len(call["normalized_shape"])
    if count >= call.value.rank:
        raise Refused("it works along the batch")
    axes = tuple(range(-count, 0))
    affine, bias = call["weight"] is not None, call["bias"] is not None
    layer = norm.LayerNorm(short(axes), affine=affine, bias=bias or not affine)
    return Made(layer, [call.value], call.weights("weight", "bias"))


def _group_norm(call: Call) -> Made:
    layer = norm.GroupNorm(call["num_groups"], affine=call["weight"] is not None)
    return Made(layer, [call.value], call.weights("weight", "bias"))


def _pool(call: Call) -> Made:
    kind = pool.MaxPool if "max" in call.name else pool.AvgPool
    if call["divisor_override"] is not None:
        raise Refused("it divides by another number")
    kernel, stride = short(call["kernel_size"]), short(call["stride"] or call["kernel_size"])
    layer: Layer = kind(
        kernel,
        stride=None if stride == kernel else stride,
        padding=short(call["padding"]),
        ceil_mode=call["ceil_mode"],
        **(
            {"dilation": short(call["dilation"])}
            if kind is pool.MaxPool
            else {"count_include_pad": call["count_include_pad"]}
        ),
    )
    return Made(layer, [call.value])


def _adaptive(call: Call) -> Made:
    kind = pool.AdaptiveMaxPool if "max" in call.name else pool.AdaptiveAvgPool
    return Made(kind(short(call["output_size"])), [call.value])


def _over_space(kind: type[pool.GlobalAvgPool | pool.GlobalMaxPool]) -> Callable[[Call], Made]:
    def rule(call: Call) -> Made:
        value, dims = call.value, call["dim"]
        if value.rank < 3 or sorted(dim % value.rank for dim in dims or []) != list(range(2, value.rank)):
            raise Refused("it is not over all spatial axes")
        return Made(kind(keepdims=call["keepdim"]), [value])

    return rule


def _activation(kind: Callable[..., Layer], **settings: str) -> Callable[[Call], Made]:
    def rule(call: Call) -> Made:
        more: dict[str, Any] = {ours: call[theirs] for ours, theirs in settings.items()}
        if call.inplace:
            more["inplace"] = True
        try:
            return Made(kind(**more), [call.value])
        except TypeError:
            raise Refused("it works in place, which the layer does not") from None

    return rule


def _hardtanh(call: Call) -> Made:
    low, high = (call["min_val"], call["max_val"]) if call.name == "hardtanh" else (call["min"], call["max"])
    if low is None or high is None:
        raise Refused("it has no limit on one side")
    if (low, high) == (0, 6):
        return Made(act.ReLU6(inplace=call.inplace), [call.value])
    return Made(act.Hardtanh(low=float(low), high=float(high), inplace=call.inplace), [call.value])


def _elu(call: Call) -> Made:
    if call["scale"] != 1 or call["input_scale"] != 1:
        raise Refused("it is scaled")
    return Made(act.ELU(alpha=float(call["alpha"]), inplace=call.inplace), [call.value])


def _gelu(call: Call) -> Made:
    return Made(act.GELU(approximate=call["approximate"] == "tanh"), [call.value])


def _prelu(call: Call) -> Made:
    weight = call.weight("weight")
    channelwise = weight is not None and weight.tensor.numel() > 1
    return Made(act.PReLU(channelwise=channelwise), [call.value], call.weights("weight"))


def _softmax(call: Call) -> Made:
    kind = act.LogSoftmax if "log" in call.name else act.Softmax
    return Made(kind(axis=axis_of(call.value, call["dim"])), [call.value])


def _dropout(call: Call) -> Made:
    per_channel = call.name == "feature_dropout"
    return Made(regularize.Dropout(call["p"], inplace=call.inplace, per_channel=per_channel), [call.value])


def _is_view(tensor: Tensor, shape: Sequence[int]) -> bool:
    try:
        torch.empty_strided(tensor.shape, tensor.stride(), device="meta").view(*shape)
    except RuntimeError:
        return False
    return True


def _with_batch(call: Call) -> tuple[int, ...]:
    shape = tuple(call.result.shape)
    if len(shape) < 2 or shape[0] != call.value.tensor.shape[0]:
        raise Refused("its result has no batch in front")
    return shape


def _reshape(call: Call) -> Made | Value:
    """Another shape: a view, or a view of a copy where the order of the values in memory is another."""
    value, shape = call.value, _with_batch(call)
    if shape == tuple(value.tensor.shape):
        return value
    layer: Layer = reshape.Reshape(shape[1:])
    if len(shape) == 2:
        layer = reshape.Flatten()
    elif call.name == "flatten":
        start, end = axis_of(value, call["start_dim"]), axis_of(value, call["end_dim"])
        layer = reshape.Flatten(start=start, end=end - len(value.shape))
    if _is_view(value.tensor, shape):
        return Made(layer, [value])
    return Made(merge.Concat(), [value], then=(layer,))


def _permute(call: Call) -> Made | Value:
    value = call.value
    if call.name == "permute":
        order = [dim % value.rank for dim in call["dims"]]
    else:
        order = list(range(value.rank))
        first, second = call["dim0"] % value.rank, call["dim1"] % value.rank
        order[first], order[second] = order[second], order[first]
    if order[0] != 0:
        raise Refused("it moves the batch")
    if order == sorted(order):
        return value
    return Made(reshape.Permute([axis - 1 for axis in order[1:]]), [value])


def _copy(call: Call) -> Made:
    return Made(merge.Concat(), [call.value])


def _to(call: Call) -> Value:
    if call.result.dtype != call.value.tensor.dtype:
        raise Refused("it changes the type")
    return call.value


def _parts(call: Call) -> Parts:
    value = call.value
    axis = axis_of(value, call["dim"] or 0)
    return Parts(value, axis, [int(part.shape[axis + 1]) for part in call.result])


def _slice(call: Call) -> Made | Value:
    value, dim = call.value, (call["dim"] or 0) % call.value.rank
    size = value.tensor.shape[dim]
    if call.name == "narrow":
        start = call["start"] % size if call["start"] < 0 else call["start"]
        stop = start + call["length"]
    else:
        if call["step"] != 1:
            raise Refused("it has a step")
        start, stop, _ = slice(call["start"], call["end"]).indices(size)
    if (start, stop) == (0, size):
        return value
    return Made(reshape.Slice(start, None if stop == size else stop, axis=axis_of(value, dim)), [value])


def _select(call: Call) -> Made:
    value, index = call.value, call["index"]
    axis = axis_of(value, call["dim"])
    start = index % value.shape[axis]
    rest = _with_batch(call)[1:]
    return Made(reshape.Slice(start, start + 1, axis=axis), [value], then=(reshape.Reshape(rest),))


def _is_number(call: Call) -> bool:
    """Whether the other operand is a number, or a tensor that is not trained and does not depend on the inputs."""
    other = call["other"]
    return isinstance(other, (int, float, Constant)) or (isinstance(other, Weight) and other.name in call.buffers)


def _number(call: Call) -> Made:
    """Arithmetic with a number: a new value, for which nothing is kept; in place it is the old one."""
    if tuple(call.result.shape) != tuple(call.value.tensor.shape):
        raise Refused("the shapes differ")
    return Made(Identity() if call.inplace else merge.Concat(), [call.value])


def _add(call: Call) -> Made:
    if _is_number(call):
        return _number(call)
    first, second = call.value, _needed(call["other"], "the other operand")
    if call["alpha"] != 1:
        raise Refused("what is added is scaled")
    if first.shape != second.shape:
        raise Refused("the shapes differ")
    return Made(merge.Add(inplace=call.inplace), [first, second])


def _mul(call: Call) -> Made:
    first, second = call["self"], call["other"]
    if _is_number(call):
        return _number(call)
    if isinstance(first, Weight):
        first, second = second, first
    value = _needed(first, "an operand")
    if call.inplace:
        raise Refused("it works in place, which the layer does not")
    if isinstance(second, Weight):
        shape = (1,) * (value.rank - second.tensor.dim()) + tuple(second.tensor.shape)
        if second.tensor.numel() == 1:
            return Made(Scale("layer"), [value], (second,))
        if shape != (1, value.shape[0], *[1] * (value.rank - 2)):
            raise Refused("its factors are not one for each channel")
        return Made(Scale(), [value], (second,))
    other = _needed(second, "the other operand")
    if value.rank != other.rank:
        raise Refused("the numbers of axes differ")
    return Made(merge.Multiply(), [value, other])


def _div(call: Call) -> Made:
    if not _is_number(call):
        raise Refused("it divides by a value")
    return _number(call)


def _maximum(call: Call) -> Made:
    first, second = call.value, _needed(call["other"], "the other operand")
    if first.shape != second.shape:
        raise Refused("the shapes differ")
    return Made(merge.Maximum(), [first, second])


def _cat(call: Call) -> Made:
    values = [_needed(each, "a part of it") for each in call["tensors"]]
    return Made(merge.Concat(axis=axis_of(values[0], call["dim"])), values)


def _upsample(call: Call) -> Made:
    name = call.name.strip("_").removeprefix("upsample_").rstrip("123d")
    mode = name.replace("_exact", "-exact")
    size, scale = call["output_size"], call["scale_factors"]
    if size is None:
        scale = [int(each) if float(each).is_integer() else float(each) for each in scale]
        return Made(resize.Upsample(short(scale), mode=mode), [call.value])
    return Made(resize.Upsample(size=short([int(each) for each in size]), mode=mode), [call.value])


def _pad(call: Call) -> Made:
    value, flat, mode = call.value, call["pad"], call["mode"] or "constant"
    rank = value.rank - 2
    pairs = [(flat[at], flat[at + 1]) for at in range(0, len(flat), 2)]
    if len(pairs) > rank and any(any(pair) for pair in pairs[rank:]):
        raise Refused("it pads channels")
    sides = [*pairs[:rank], *[(0, 0)] * (rank - len(pairs))][::-1]
    same: Any = sides[0][0] if len({*sum(sides, ())}) == 1 else tuple(sides)
    return Made(rearrange.Pad(same, mode={"constant": "zero"}.get(mode, mode)), [value])


def _unfold(call: Call) -> Made:
    names = ("kernel_size", "stride", "padding", "dilation")
    kernel, stride, padding, dilation = (short(call[name]) for name in names)
    return Made(rearrange.Unfold(kernel, stride=stride, padding=padding, dilation=dilation), [call.value])


def _shuffle(kind: Callable[[int], Layer], setting: str) -> Callable[[Call], Made]:
    return lambda call: Made(kind(call[setting]), [call.value])


_RANKS = ("1d", "2d", "3d")
OPERATIONS: dict[str, Callable[[Call], Any]] = {
    **{f"conv{rank}": _conv for rank in _RANKS},
    **{f"conv_transpose{rank}": _conv_transpose for rank in _RANKS},
    "linear": _linear,
    "batch_norm": _batch_norm,
    "instance_norm": _instance_norm,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    **{f"{kind}_pool{rank}": _pool for rank in _RANKS for kind in ("max", "avg")},
    **{f"max_pool{rank}_with_indices": _pool for rank in _RANKS},
    **{f"adaptive_{kind}_pool{rank}": _adaptive for rank in _RANKS for kind in ("max", "avg")},
    "mean": _over_space(pool.GlobalAvgPool),
    "amax": _over_space(pool.GlobalMaxPool),
    "relu": _activation(act.ReLU),
    "relu6": _activation(act.ReLU6),
    "selu": _activation(act.SELU),
    "silu": _activation(act.SiLU),
    "mish": _activation(act.Mish),
    "hardswish": _activation(act.Hardswish),
    "hardsigmoid": _activation(act.Hardsigmoid),
    "sigmoid": _activation(act.Sigmoid),
    "tanh": _activation(act.Tanh),
    "celu": _activation(act.CELU, alpha="alpha"),
    "leaky_relu": _activation(act.LeakyReLU, slope="negative_slope"),
    "softplus": _activation(act.Softplus, beta="beta"),
    "elu": _elu,
    "gelu": _gelu,
    "hardtanh": _hardtanh,
    "clamp": _hardtanh,
    "prelu": _prelu,
    "softmax": _softmax,
    "log_softmax": _softmax,
    "dropout": _dropout,
    "feature_dropout": _dropout,
    **dict.fromkeys(("flatten", "view", "reshape", "_unsafe_view", "squeeze", "unsqueeze", "unflatten"), _reshape),
    **dict.fromkeys(("permute", "transpose"), _permute),
    **dict.fromkeys(("contiguous", "clone"), _copy),
    **dict.fromkeys(("to", "type_as"), _to),
    **dict.fromkeys(("chunk", "split", "split_with_sizes"), _parts),
    **dict.fromkeys(("slice", "narrow"), _slice),
    "select": _select,
    **dict.fromkeys(("add", "sub"), _add),
    "mul": _mul,
    "div": _div,
    **dict.fromkeys(("rsub", "neg"), _number),
    "maximum": _maximum,
    "cat": _cat,
    **{f"upsample_{mode}": _upsample for mode in ("nearest1d", "nearest2d", "nearest3d", "linear1d", "bilinear2d")},
    **{f"upsample_{mode}": _upsample for mode in ("bicubic2d", "trilinear3d")},
    **{f"_upsample_nearest_exact{rank}": _upsample for rank in _RANKS},
    **dict.fromkeys(("pad", "constant_pad_nd"), _pad),
    "im2col": _unfold,
    "pixel_shuffle": _shuffle(rearrange.PixelShuffle, "upscale_factor"),
    "pixel_unshuffle": _shuffle(rearrange.PixelUnshuffle, "downscale_factor"),
    "channel_shuffle": _shuffle(rearrange.ChannelShuffle, "groups"),
}
"""Rules by the name of the operation."""

PASSED = frozenset({"detach", "alias", "lift_fresh", "lift_fresh_copy"})
"""Operations whose result is their input."""
