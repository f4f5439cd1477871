"""Which layers every operation of ONNX is, by its type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnnbudget.errors import shorten
from cnnbudget.interop.onnx_graph import Made, Operation, Tensor, Unsupported, Value, short
from cnnbudget.layers import activation as act
from cnnbudget.layers import merge, norm, pool, rearrange, regularize, reshape, resize
from cnnbudget.layers.conv import Conv, ConvTranspose
from cnnbudget.layers.linear import Linear
from cnnbudget.layers.scale import Identity, Scale

if TYPE_CHECKING:
    from collections.abc import Callable

    from cnnbudget.layers.base import Layer

__all__ = ["OPERATIONS"]


def _weight(use: Operation) -> tuple[int, ...]:
    found = use.tensor(1)
    if found is None or len(found.dims) != len(use.value.spec.shape) + 1:
        raise Unsupported("its weight has no fitting shape")
    return found.dims


def _conv(use: Operation) -> Made:
    filters, _, *kernel = _weight(use)
    bias = use.tensor(2) is not None
    layer = Conv(filters, short(kernel), groups=use.get("group", 1), bias=bias, **use.windows(len(kernel)))
    return Made((layer,), [use.value], use.tensors(1, 2))


def _conv_transpose(use: Operation) -> Made:
    _, filters, *kernel = _weight(use)
    if "output_shape" in use.attributes or use.get("auto_pad", "NOTSET") not in {"NOTSET", "VALID"}:
        raise Unsupported("output_shape, or auto_pad")
    groups, extra = use.get("group", 1), short(use.get("output_padding", [0] * len(kernel)))
    bias = use.tensor(2) is not None
    settings = use.windows(len(kernel))
    layer = ConvTranspose(filters * groups, short(kernel), groups=groups, output_padding=extra, bias=bias, **settings)
    return Made((layer,), [use.value], use.tensors(1, 2))


def _batch_norm(use: Operation) -> Made:
    return Made((norm.BatchNorm(),), [use.value], use.tensors(1, 2))


def _instance_norm(use: Operation) -> Made:
    return Made((norm.InstanceNorm(affine=True),), [use.value], use.tensors(1, 2))


def _layer_norm(use: Operation) -> Made:
    rank = len(use.value.spec.shape)
    start = use.axis(use.get("axis", -1))
    axes = tuple(range(start - rank, 0))
    layer = norm.LayerNorm(short(list(axes)) if len(axes) == 1 else axes, bias=use.tensor(2) is not None)
    return Made((layer,), [use.value], use.tensors(1, 2))


def _group_norm(use: Operation) -> Made:
    scale = use.tensor(1)
    if scale is None or scale.dims != (use.value.spec.channels,):
        raise Unsupported("its scale is not one for each channel")
    return Made((norm.GroupNorm(use.get("num_groups", 1)),), [use.value], use.tensors(1, 2))


def _lrn(use: Operation) -> Made:
    alpha, beta, bias = use.get("alpha", 1e-4), use.get("beta", 0.75), use.get("bias", 1.0)
    return Made((norm.LocalResponseNorm(use.get("size", 1), alpha=alpha, beta=beta, k=bias),), [use.value])


def _gemm(use: Operation) -> Made:
    weight = use.tensor(1)
    if weight is None or len(weight.dims) != 2 or use.get("transA", 0) or len(use.value.spec.shape) != 1:
        raise Unsupported("it is no linear layer")
    features = weight.dims[0 if use.get("transB", 0) else 1]
    return Made((Linear(features, bias=use.tensor(2) is not None),), [use.value], use.tensors(1, 2))


def _matmul(use: Operation) -> Made:
    weight = use.tensor(1)
    if weight is None or len(weight.dims) != 2:
        raise Unsupported("it multiplies by something else than a matrix of weights")
    axis = None if len(use.value.spec.shape) == 1 else -1
    return Made((Linear(weight.dims[1], bias=False, axis=axis),), [use.value], (weight,))


def _simple(make: Callable[[], Layer]) -> Callable[[Operation], Made]:
    return lambda use: Made((make(),), [use.value])


def _clip(use: Operation) -> Made:
    low, high = (use.numbers(position, name) for position, name in ((1, "min"), (2, "max")))
    if not low or not high:
        raise Unsupported("it has no limit on one side")
    layer: Layer = act.ReLU6() if (low[0], high[0]) == (0, 6) else act.Hardtanh(low=float(low[0]), high=float(high[0]))
    return Made((layer,), [use.value])


def _prelu(use: Operation) -> Made:
    slope, spec = use.tensor(1), use.value.spec
    if slope is None or any(size == 0 for size in slope.dims):
        raise Unsupported("its slopes are missing")
    one = all(size == 1 for size in slope.dims)
    shape = (spec.channels, *[1] * len(spec.spatial))
    if not one and slope.dims not in {shape, (1, *shape)}:
        raise Unsupported("its slopes are not one, or one for each channel")
    return Made((act.PReLU(channelwise=not one),), [use.value], (slope,))


def _softmax(kind: type[act.Softmax | act.LogSoftmax]) -> Callable[[Operation], Made]:
    def rule(use: Operation) -> Made:
        axis = use.axis(use.get("axis", -1 if use.opset >= 13 else 1))
        if use.opset < 13 and axis != len(use.value.spec.shape) - 1:
            raise Unsupported("it is over several axes together")
        return Made((kind(axis=axis),), [use.value])

    return rule


def _pool(kind: Any) -> Callable[[Operation], Made]:
    def rule(use: Operation) -> Made:
        kernel = use.get("kernel_shape", [1])
        settings = use.windows(len(kernel)) | {"ceil_mode": bool(use.get("ceil_mode", 0))}
        dilation = settings.pop("dilation")
        size = short(kernel)
        settings["stride"] = None if settings["stride"] == size else settings["stride"]
        if kind is pool.MaxPool:
            return Made((kind(size, dilation=dilation, **settings),), [use.value])
        if dilation != 1:
            raise Unsupported("it is dilated")
        if kind is pool.LPPool:
            return Made((kind(float(use.get("p", 2)), size, **settings),), [use.value])
        return Made((kind(size, count_include_pad=bool(use.get("count_include_pad", 0)), **settings),), [use.value])

    return rule


def _global(kind: type[pool.GlobalAvgPool | pool.GlobalMaxPool]) -> Callable[[Operation], Made]:
    return lambda use: Made((kind(keepdims=True),), [use.value])


def _reduce(kind: type[pool.GlobalAvgPool | pool.GlobalMaxPool]) -> Callable[[Operation], Made]:
    def rule(use: Operation) -> Made:
        axes, rank = use.ints(1, "axes"), len(use.value.spec.shape)
        if rank < 2 or axes is None or sorted(use.axis(axis) for axis in axes) != list(range(1, rank)):
            raise Unsupported("it is not over all spatial axes")
        return Made((kind(keepdims=bool(use.get("keepdims", 1))),), [use.value])

    return rule


def _same(use: Operation) -> Value:
    return use.value


def _shape(use: Operation) -> Tensor:
    """The shape as numbers, 0 for the batch: that is how a ``Reshape`` asks for the axis that is there."""
    shape = (0, *use.value.spec.shape)
    return Tensor("", (len(shape),), shape)


def _dropout(use: Operation) -> Made:
    rate = use.numbers(1, "ratio")
    return Made((regularize.Dropout(rate[0] if rate else 0.5),), [use.value])


def _to(value: Value, shape: tuple[int, ...]) -> Made | Value:
    if shape == value.spec.shape:
        return value
    return Made((reshape.Flatten() if len(shape) == 1 else reshape.Reshape(shape),), [value])


def _flatten(use: Operation) -> Made | Value:
    if use.get("axis", 1) not in {1, -len(use.value.spec.shape)}:
        raise Unsupported("it joins the batch with other axes")
    return _to(use.value, (use.value.spec.element_count,))


def _reshape(use: Operation) -> Made | Value:
    value, sizes = use.value, use.ints(1, "shape")
    if sizes is None or len(sizes) < 2:
        raise Unsupported("its shape has no batch in front")
    old = (0, *value.spec.shape)
    known = [old[axis] if size == 0 and axis < len(old) else size for axis, size in enumerate(sizes)][1:]
    count, rest = value.spec.element_count, 1
    for size in known:
        rest *= size if size > 0 else 1
    if known.count(-1) > 1 or (-1 in known and sizes[0] == -1) or any(size < -1 or size == 0 for size in known):
        raise Unsupported(f"shape {shorten(sizes)}")
    shape = tuple(count // rest if size == -1 else size for size in known)
    found = 1
    for size in shape:
        found *= size
    if found != count:
        raise Unsupported(f"shape {shorten(sizes)} moves the batch, or does not fit {value.spec.shape}")
    return _to(value, shape)


def _squeeze(use: Operation) -> Made | Value:
    axes = use.ints(1, "axes")
    shape = use.value.spec.shape
    gone = (
        {use.axis(axis) for axis in axes}
        if axes is not None
        else {axis for axis, size in enumerate(shape) if size == 1}
    )
    if any(shape[axis] != 1 for axis in gone):
        raise Unsupported("it drops an axis that is not of size 1")
    left = tuple(size for axis, size in enumerate(shape) if axis not in gone)
    if not left:
        raise Unsupported("nothing but the batch is left")
    return _to(use.value, left)


def _unsqueeze(use: Operation) -> Made | Value:
    axes, shape = use.ints(1, "axes") or [], list(use.value.spec.shape)
    rank = len(shape) + 1 + len(axes)
    places = sorted(axis % rank for axis in axes)
    if 0 in places or len(set(places)) < len(places):
        raise Unsupported("it adds an axis before the batch, or one twice")
    for place in places:
        shape.insert(place - 1, 1)
    return _to(use.value, tuple(shape))


def _transpose(use: Operation) -> Made | Value:
    order = use.get("perm", [0])
    if order[0] != 0 or sorted(order) != list(range(len(use.value.spec.shape) + 1)):
        raise Unsupported("it moves the batch")
    if order == sorted(order):
        return use.value
    return Made((reshape.Permute([axis - 1 for axis in order[1:]]),), [use.value])


def _concat(use: Operation) -> Made:
    values = [use.value_at(position) for position in range(len(use.arguments))]
    return Made((merge.Concat(axis=use.axis(use.get("axis", 1))),), values)


def _split(use: Operation) -> list[Made]:
    value, axis = use.value, use.axis(use.get("axis", 0))
    sizes, count = use.ints(1, "split"), len(use.outputs)
    if sizes is None or len(set(sizes)) == 1:
        if value.spec.shape[axis] % count:
            raise Unsupported("its parts are uneven")
        return [Made((reshape.Split(count, index, axis=axis),), [value]) for index in range(count)]
    starts = [sum(sizes[:index]) for index in range(len(sizes))]
    return [
        Made((reshape.Slice(start, start + size, axis=axis),), [value])
        for start, size in zip(starts, sizes, strict=True)
    ]


def _slice(use: Operation) -> Made | Value:
    starts, ends = use.ints(1, "starts"), use.ints(2, "ends")
    axes = use.ints(3, "axes") or list(range(len(starts or [])))
    steps = use.ints(4) or [1] * len(axes)
    if starts is None or ends is None or not len(starts) == len(ends) == len(axes) == len(steps) or set(steps) != {1}:
        raise Unsupported("it has steps")
    layers: list[Layer] = []
    for start, end, axis in zip(starts, ends, axes, strict=True):
        if axis == 0 and start == 0 and end >= 2**31 - 1:
            continue
        at = use.axis(axis)
        size = use.value.spec.shape[at]
        first, last, _ = slice(start, end).indices(size)
        if (first, last) != (0, size):
            layers.append(reshape.Slice(first, None if last == size else last, axis=at))
    return Made(tuple(layers), [use.value]) if layers else use.value


def _pad(use: Operation) -> Made | Value:
    flat, rank = use.ints(1, "pads"), len(use.value.spec.shape) + 1
    if flat is None or len(flat) != 2 * rank or use.tensor(3) is not None:
        raise Unsupported("its amounts are not those of every axis")
    pairs = list(zip(flat[:rank], flat[rank:], strict=True))
    if any(any(pair) for pair in pairs[:2]):
        raise Unsupported("it pads the batch or the channels")
    words = {"constant": "zero", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}
    sides = pairs[2:]
    amounts: Any = sides[0][0] if len({side for pair in sides for side in pair}) == 1 else tuple(sides)
    if not any(any(pair) for pair in sides):
        return use.value
    return Made((rearrange.Pad(amounts, mode=words.get(use.get("mode", "constant"), "?")),), [use.value])


def _arithmetic(use: Operation, kind: type[merge.Add | merge.Multiply | merge.Maximum]) -> Made:
    """Values with each other, or a value with a number, which is a copy."""
    values = [each for each in use.arguments if isinstance(each, Value)]
    constants = [each for each in use.arguments if isinstance(each, Tensor)]
    if not values or (constants and len(values) != 1):
        raise Unsupported("an operand is no value of the network")
    if not constants:
        shapes = {value.spec.shape for value in values}
        ranks = {len(shape) for shape in shapes}
        if len(values) == 1:
            return Made((Identity(),), values)
        if (kind is merge.Multiply and len(ranks) > 1) or (kind is not merge.Multiply and len(shapes) > 1):
            raise Unsupported("the shapes differ")
        return Made((kind(),), values)
    value, (constant, *_) = values[0], constants
    count = 1
    for size in constant.dims:
        count *= size
    if count == 1:
        return Made((merge.Concat(),), [value])
    channels, spatial = value.spec.channels, len(value.spec.spatial)
    if kind is merge.Multiply and constant.dims in {(channels, *[1] * spatial), (1, channels, *[1] * spatial)}:
        return Made((Scale(),), [value], (constant,))
    if kind is merge.Add and len(constant.dims) == 1:
        return Made((), [value], bias=count)
    raise Unsupported("an operand is learned")


def _number(use: Operation) -> Made:
    """A quotient by a number: a copy."""
    other = use.arguments[1] if len(use.arguments) > 1 else None
    if not isinstance(other, Tensor) or set(other.dims) - {1}:
        raise Unsupported("it is no quotient by a number")
    return Made((merge.Concat(),), [use.value])


def _upsample(use: Operation) -> Made | Value:
    last = use.kind == "Upsample"
    scales = use.numbers(1 if last else 2, "scales") if len(use.arguments) > (1 if last else 2) or last else None
    sizes = use.ints(3) if not last else None
    mode, rank = use.get("mode", "nearest"), len(use.value.spec.spatial)
    words = {
        "linear": {1: "linear", 2: "bilinear", 3: "trilinear"}.get(rank, "linear"),
        "cubic": "bicubic",
        "nearest": "nearest",
    }
    name = words.get(mode, mode)
    if sizes:
        if len(sizes) != rank + 2 or sizes[1] != use.value.spec.channels:
            raise Unsupported("it resizes the batch or the channels")
        return Made((resize.Upsample(size=short(sizes[2:]), mode=name),), [use.value])
    if not scales or len(scales) != rank + 2 or list(scales[:2]) != [1, 1]:
        raise Unsupported("it resizes the batch or the channels, or by sizes that are computed")
    factors = [int(each) if float(each).is_integer() else float(each) for each in scales[2:]]
    return Made((resize.Upsample(short(factors), mode=name),), [use.value])


def _blocks(kind: type[rearrange.PixelShuffle | rearrange.PixelUnshuffle]) -> Callable[[Operation], Made]:
    return lambda use: Made((kind(use.get("blocksize", 1)),), [use.value])


OPERATIONS: dict[str, Callable[[Operation], Any]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "BatchNormalization": _batch_norm,
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "GroupNormalization": _group_norm,
    "LRN": _lrn,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Relu": _simple(act.ReLU),
    "Sigmoid": _simple(act.Sigmoid),
    "Tanh": _simple(act.Tanh),
    "HardSwish": _simple(act.Hardswish),
    "HardSigmoid": _simple(act.Hardsigmoid),
    "Mish": _simple(act.Mish),
    "Softplus": _simple(act.Softplus),
    "Selu": _simple(act.SELU),
    "LeakyRelu": lambda use: Made((act.LeakyReLU(use.get("alpha", 0.01)),), [use.value]),
    "Elu": lambda use: Made((act.ELU(alpha=use.get("alpha", 1.0)),), [use.value]),
    "Celu": lambda use: Made((act.CELU(alpha=use.get("alpha", 1.0)),), [use.value]),
    "Gelu": lambda use: Made((act.GELU(approximate=use.get("approximate", "none") == "tanh"),), [use.value]),
    "PRelu": _prelu,
    "Clip": _clip,
    "Softmax": _softmax(act.Softmax),
    "LogSoftmax": _softmax(act.LogSoftmax),
    "MaxPool": _pool(pool.MaxPool),
    "AveragePool": _pool(pool.AvgPool),
    "LpPool": _pool(pool.LPPool),
    "GlobalAveragePool": _global(pool.GlobalAvgPool),
    "GlobalMaxPool": _global(pool.GlobalMaxPool),
    "ReduceMean": _reduce(pool.GlobalAvgPool),
    "ReduceMax": _reduce(pool.GlobalMaxPool),
    **dict.fromkeys(("Identity", "Cast"), _same),
    "Shape": _shape,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Pad": _pad,
    "Add": lambda use: _arithmetic(use, merge.Add),
    "Sum": lambda use: _arithmetic(use, merge.Add),
    "Sub": lambda use: _arithmetic(use, merge.Add),
    "Mul": lambda use: _arithmetic(use, merge.Multiply),
    "Max": lambda use: _arithmetic(use, merge.Maximum),
    "Div": _number,
    "Resize": _upsample,
    "Upsample": _upsample,
    "DepthToSpace": _blocks(rearrange.PixelShuffle),
    "SpaceToDepth": _blocks(rearrange.PixelUnshuffle),
}
"""Rules by type."""
