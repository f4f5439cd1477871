"""Hypothesis strategies for every built-in layer: one for each family, and those that merge several values.

Everything drawn is valid by construction, with every setting and every spelling of it.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from attrs import fields

from cnnbudget.layers import activation as act
from cnnbudget.layers import norm, pool, rearrange, reshape
from cnnbudget.layers.base import Layer
from cnnbudget.layers.conv import Conv, ConvTranspose, DepthwiseConv
from cnnbudget.layers.linear import Linear, RadialBasis
from cnnbudget.layers.local import LocallyConnected, TableConv
from cnnbudget.layers.merge import Add, Concat, Maximum, Multiply
from cnnbudget.layers.regularize import Dropout, DropPath
from cnnbudget.layers.resize import Upsample
from cnnbudget.layers.scale import Identity, Scale
from cnnbudget.tensors import Shape
from cnnbudget.testing.strategies import convolutions, draw_per_axis, fill_modes, pools, shapes, short_form, st
from cnnbudget.windows import effective_kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hypothesis.strategies import DrawFn, SearchStrategy

__all__ = ["GROWING", "INPLACE", "KINDS", "all_layers", "merges", "shapes_for"]

_BOOL = st.booleans()


def _divisors(number: int) -> SearchStrategy[int]:
    return st.sampled_from([n for n in range(1, number + 1) if number % n == 0])


def _axes(shape: Shape) -> SearchStrategy[int]:
    return st.integers(-len(shape), len(shape) - 1)


def _like(kind: type[Layer], **more: SearchStrategy[Any]) -> Callable[[Shape], SearchStrategy[Layer]]:
    """Strategies of a layer whose settings do not depend on the shape."""
    return lambda shape: st.builds(kind, **more)  # noqa: ARG005  # all strategies of the tables are given it


def _of_conv(
    kind: type[Layer], *settings: str, **more: SearchStrategy[Any]
) -> Callable[[Shape], SearchStrategy[Layer]]:
    """Strategies of a layer that has some settings of a convolution: they fit it where they fit the convolution."""

    def build(conv: Conv, **others: Any) -> Layer:
        return kind(**{name: getattr(conv, name) for name in settings}, **others)

    return lambda shape: st.builds(build, convolutions(shape), **more)


def _of_pool(kind: type[Layer], **more: SearchStrategy[Any]) -> Callable[[Shape], SearchStrategy[Layer]]:
    """Strategies of a layer that pools over windows."""

    def build(drawn: pool.MaxPool | pool.AvgPool, **others: Any) -> Layer:
        settings = ("kernel", "stride", "padding", "ceil_mode", *["dilation"] * (kind is type(drawn) is pool.MaxPool))
        return kind(**{name: getattr(drawn, name) for name in settings}, **others)

    return lambda shape: st.builds(build, pools(shape), **more)


@st.composite
def _transposed(draw: DrawFn, shape: Shape) -> ConvTranspose:
    channels, *spatial = shape
    rank = len(spatial)
    kernel, stride = (draw_per_axis(draw, rank, st.integers(1, most)) for most in (4, 3))
    dilation = draw_per_axis(draw, rank, st.integers(1, 2))
    groups = draw(_divisors(channels))
    extra: int | tuple[int, ...] = 0
    padding: Any = draw(st.sampled_from(["numbers", "numbers", "numbers", "same", "valid"]))
    if padding == "numbers":
        each = [draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)]
        extra = short_form(each, draw(_BOOL))
        sizes = [  # before anything is cut; one position must stay
            (n - 1) * s + effective_kernel(k, d) + e
            for n, s, k, d, e in zip(spatial, stride, kernel, dilation, each, strict=True)
        ]
        before = [draw(st.integers(0, min(2, size - 1))) for size in sizes]
        after = [draw(st.integers(0, min(2, size - 1 - b))) for size, b in zip(sizes, before, strict=True)]
        even = [min(pair) for pair in zip(before, after, strict=True)]
        pairs = tuple(zip(before, after, strict=True))
        padding = draw(st.sampled_from([pairs, pairs, tuple(even), min(even)]))
    return ConvTranspose(
        groups * draw(st.integers(1, max(1, 6 // groups))),
        short_form(kernel, draw(_BOOL)),
        stride=short_form(stride, draw(_BOOL)),
        padding=padding,
        output_padding=extra,
        dilation=short_form(dilation, draw(_BOOL)),
        groups=groups,
        bias=draw(_BOOL),
    )


@st.composite
def _tables(draw: DrawFn, shape: Shape) -> TableConv:
    conv = draw(convolutions(shape))
    maps = st.lists(st.sampled_from(range(shape[0])), min_size=1, max_size=5, unique=True)
    table = draw(st.lists(maps, min_size=1, max_size=5))
    return TableConv(table, conv.kernel, stride=conv.stride, padding=conv.padding, bias=conv.bias)


def _sizes(most: int, rank: int) -> SearchStrategy[int | tuple[int, ...]]:
    one = st.integers(1, most)
    return one | st.tuples(*[one] * rank)


def _adaptive(kind: type[Layer]) -> Callable[[Shape], SearchStrategy[Layer]]:
    one = st.integers(1, 7)
    return lambda shape: st.builds(kind, one | st.none() | st.tuples(*[one | st.none()] * (len(shape) - 1)))


@st.composite
def _layer_norms(draw: DrawFn, shape: Shape) -> norm.LayerNorm:
    axes = draw(st.lists(st.sampled_from(range(len(shape))), min_size=1, unique=True))
    signed = [axis - len(shape) if draw(_BOOL) else axis for axis in axes]
    return norm.LayerNorm(short_form(signed, draw(_BOOL)), affine=draw(_BOOL), bias=draw(_BOOL))


@st.composite
def _flattenings(draw: DrawFn, shape: Shape) -> reshape.Flatten:
    start, end = sorted(draw(st.tuples(*[st.integers(0, len(shape) - 1)] * 2)))
    return draw(st.just(reshape.Flatten()) | st.just(reshape.Flatten(start=start, end=end - len(shape))))


@st.composite
def _reshapings(draw: DrawFn, shape: Shape) -> reshape.Reshape:
    count = prod(shape)
    part = draw(_divisors(shape[0]))
    sizes = draw(st.permutations(shape) | st.sampled_from([[count], [part, count // part], [count // part, 1, part]]))
    chosen = draw(st.none() | st.integers(0, len(sizes) - 1))
    return reshape.Reshape([-1 if axis == chosen else size for axis, size in enumerate(sizes)])


@st.composite
def _splits(draw: DrawFn, shape: Shape) -> reshape.Split:
    axis = draw(_axes(shape))
    sections = draw(_divisors(shape[axis]))
    return reshape.Split(sections, draw(st.integers(0, sections - 1)), axis=axis)


@st.composite
def _slices(draw: DrawFn, shape: Shape) -> reshape.Slice:
    axis = draw(_axes(shape))
    size = shape[axis]
    start = draw(st.integers(0, size - 1))
    stop = draw(st.integers(start + 1, size))
    ends = [stop - size, stop] if stop < size else [None, size]
    return reshape.Slice(start - size * draw(_BOOL), draw(st.sampled_from(ends)), axis=axis)


@st.composite
def _crops(draw: DrawFn, shape: Shape) -> reshape.Crop:
    before = [draw(st.integers(0, min(3, n - 1))) for n in shape[1:]]
    after = [draw(st.integers(0, min(3, n - 1 - b))) for n, b in zip(shape[1:], before, strict=True)]
    even = [min(pair) for pair in zip(before, after, strict=True)]
    amounts: Any = draw(st.sampled_from([tuple(zip(before, after, strict=True)), tuple(even), min(even)]))
    return reshape.Crop(amounts)


@st.composite
def _pads(draw: DrawFn, shape: Shape) -> rearrange.Pad:
    sides = [(draw(st.integers(1 - n, 3)), draw(st.integers(0, 3))) for n in shape[1:]]
    sides = draw(st.just(sides) | st.just([(draw(st.integers(0, 3)),) * 2] * len(sides)))
    amounts = sides[0][0] if len({*sum(sides, ())}) == 1 else tuple(sides)
    return rearrange.Pad(amounts, mode=draw(fill_modes(shape[1:], sides, "zero")))


@st.composite
def _resizings(draw: DrawFn, shape: Shape) -> Upsample:
    rank = len(shape) - 1
    named = {1: ["linear"], 2: ["bilinear", "bicubic"], 3: ["trilinear"]}.get(rank, [])
    mode = draw(st.sampled_from(["nearest", "nearest-exact", "area", *named]))
    if draw(_BOOL):
        return Upsample(size=draw(_sizes(9, rank)), mode=mode)
    least = [1 / n for n in shape[1:]]
    factors = st.tuples(*(st.integers(1, 3) | st.floats(min(1.0, 1.001 * n), 3) for n in least))
    return Upsample(draw(factors | st.integers(1, 3) | st.floats(min(1.0, 1.001 * max(least)), 3)), mode=mode)


_RATES, _SLOPES = st.sampled_from([0, 0.25, 1]), st.floats(0.0, 1.0)
_AFFINE = {"affine": _BOOL, "track_running_stats": _BOOL, "count_batches": _BOOL}

_OF_WINDOWS: dict[type[Layer], Callable[[Shape], SearchStrategy[Layer]]] = {
    Conv: convolutions,
    DepthwiseConv: _of_conv(
        DepthwiseConv, "kernel", "stride", "padding", "dilation", "bias", multiplier=st.integers(1, 2)
    ),
    ConvTranspose: _transposed,
    LocallyConnected: _of_conv(LocallyConnected, "filters", "kernel", "stride", "padding", "bias"),
    TableConv: _tables,
    pool.MaxPool: _of_pool(pool.MaxPool),
    pool.AvgPool: _of_pool(pool.AvgPool, count_include_pad=_BOOL),
    pool.LPPool: _of_pool(pool.LPPool, norm=st.sampled_from([1, 2, 3.5])),
    pool.AdaptiveAvgPool: _adaptive(pool.AdaptiveAvgPool),
    pool.AdaptiveMaxPool: _adaptive(pool.AdaptiveMaxPool),
    pool.GlobalAvgPool: _like(pool.GlobalAvgPool, keepdims=_BOOL),
    pool.GlobalMaxPool: _like(pool.GlobalMaxPool, keepdims=_BOOL),
    norm.InstanceNorm: _like(norm.InstanceNorm, **_AFFINE),
    norm.LocalResponseNorm: _like(norm.LocalResponseNorm, size=st.integers(1, 7)),
    reshape.Crop: _crops,
    rearrange.Pad: _pads,
    rearrange.PixelShuffle: lambda shape: st.builds(
        rearrange.PixelShuffle, st.sampled_from([n for n in (1, 2, 3) if shape[0] % n ** (len(shape) - 1) == 0])
    ),
    rearrange.PixelUnshuffle: lambda shape: st.builds(
        rearrange.PixelUnshuffle, st.sampled_from([n for n in (1, 2, 3) if all(size % n == 0 for size in shape[1:])])
    ),
    rearrange.ChannelShuffle: lambda shape: st.builds(rearrange.ChannelShuffle, _divisors(shape[0])),
    rearrange.Unfold: _of_conv(rearrange.Unfold, "kernel", "stride", "padding", "dilation"),
    Upsample: _resizings,
}
_OF_ALL: dict[type[Layer], Callable[[Shape], SearchStrategy[Layer]]] = {
    **{kind: _like(kind) for kind in (act.ReLU, act.ReLU6, act.SELU, act.SiLU, act.Mish, act.Hardswish)},
    **{kind: _like(kind) for kind in (act.Hardsigmoid, act.Sigmoid, act.Tanh, Identity)},
    **{kind: _like(kind, alpha=st.floats(0.1, 2.0)) for kind in (act.ELU, act.CELU)},
    act.LeakyReLU: _like(act.LeakyReLU, slope=_SLOPES),
    act.PReLU: _like(act.PReLU, channelwise=_BOOL),
    act.GELU: _like(act.GELU, approximate=_BOOL),
    act.Hardtanh: _like(act.Hardtanh, low=st.floats(-2.0, 0.0), high=st.floats(0.5, 2.0)),
    act.Softplus: _like(act.Softplus, beta=st.floats(0.5, 2.0)),
    act.Softmax: lambda shape: st.builds(act.Softmax, axis=_axes(shape)),
    act.LogSoftmax: lambda shape: st.builds(act.LogSoftmax, axis=_axes(shape)),
    norm.BatchNorm: _like(norm.BatchNorm, scale=_BOOL, **_AFFINE),
    norm.LayerNorm: _layer_norms,
    norm.GroupNorm: lambda shape: st.builds(norm.GroupNorm, _divisors(shape[0]), affine=_BOOL),
    Dropout: _like(Dropout, rate=_RATES, per_channel=_BOOL),
    DropPath: _like(DropPath, rate=_RATES, mode=st.sampled_from(["row", "batch"])),
    Linear: lambda shape: st.builds(
        Linear, st.integers(1, 9), bias=_BOOL, axis=_axes(shape) | st.none() if len(shape) == 1 else _axes(shape)
    ),
    Scale: _like(Scale, per=st.sampled_from(["channel", "layer"]), bias=_BOOL),
    reshape.Flatten: _flattenings,
    reshape.Reshape: _reshapings,
    reshape.Permute: lambda shape: st.builds(reshape.Permute, st.permutations(range(len(shape)))),
    reshape.Split: _splits,
    reshape.Slice: _slices,
}

_OF_VECTORS: dict[type[Layer], Callable[[Shape], SearchStrategy[Layer]]] = {
    RadialBasis: _like(RadialBasis, classes=st.integers(1, 9)),
}

KINDS: tuple[type[Layer], ...] = (*_OF_ALL, *_OF_WINDOWS, *_OF_VECTORS)
"""The built-in layers of one input."""

INPLACE: tuple[type[Layer], ...] = tuple(kind for kind in KINDS if any(each.name == "inplace" for each in fields(kind)))
"""Those of them that have an in-place variant."""

GROWING: frozenset[type[Layer]] = frozenset(
    {ConvTranspose, LocallyConnected, rearrange.Pad, rearrange.Unfold, Upsample}
)
"""Those of them that make much of little: large outputs, or many parameters."""


def shapes_for(kind: type[Layer], *, max_size: int = 12) -> SearchStrategy[Shape]:
    """Draws shapes that every layer of a class takes.

    Args:
        kind: One of :data:`KINDS`.
        max_size: The largest spatial axis.

    Returns:
        A strategy of ``(C, *spatial)``.

    Example:
        >>> from hypothesis import given
        >>> from cnnbudget import RadialBasis
        >>> @given(shapes_for(RadialBasis))
        ... def is_a_vector(shape):
        ...     assert len(shape) == 1
        >>> is_a_vector()
    """
    if kind in _OF_VECTORS:
        return shapes(rank=0)
    return shapes(max_size=max_size).filter(lambda shape: prod(shape[1:]) > 1)


@st.composite
def all_layers(draw: DrawFn, shape: Shape, kinds: Iterable[type[Layer]] = KINDS) -> Layer:
    """Draws built-in layers of every family that can be applied to a shape, with every setting; none works in place.

    Args:
        draw: Given by hypothesis.
        shape: ``(C, *spatial)``.
        kinds: Classes to choose from, of :data:`KINDS`; one of them at least must take the shape.

    Returns:
        A layer.

    Example:
        >>> from hypothesis import given
        >>> from cnnbudget import Net
        >>> @given(all_layers((4, 6, 6)))
        ... def has_an_output(layer):
        ...     assert min(Net.input(4, 6, 6).then(layer).output_shape) > 0
        >>> has_an_output()
    """
    table = _OF_ALL | (_OF_VECTORS if len(shape) == 1 else _OF_WINDOWS)
    refused = norm.InstanceNorm if prod(shape[1:]) == 1 else None  # PyTorch has no statistics of one value
    return draw(table[draw(st.sampled_from([kind for kind in kinds if kind in table and kind is not refused]))](shape))


@st.composite
def merges(draw: DrawFn, shape: Shape, *, count: int | None = None) -> tuple[Layer, tuple[Shape, ...]]:
    """Draws merges whose first input has a shape, with the shapes of their other inputs; none works in place.

    Args:
        draw: Given by hypothesis.
        shape: ``(C, *spatial)`` of the first input.
        count: How many other inputs; ``None`` for one or two.

    Returns:
        A layer, and a shape for every further input.

    Example:
        >>> from hypothesis import given
        >>> from cnnbudget import TensorSpec
        >>> @given(merges((4, 6, 6)))
        ... def fits(drawn):
        ...     layer, others = drawn
        ...     assert layer.infer(tuple(map(TensorSpec, ((4, 6, 6), *others)))).shape[0] >= 4
        >>> fits()
    """
    others = [shape] * (draw(st.integers(1, 2)) if count is None else count)
    layer = draw(st.sampled_from([Concat(), Add(), Multiply(), Maximum()]))
    if isinstance(layer, Concat):
        axis = draw(_axes(shape))
        at = axis % len(shape)
        sizes = [draw(st.integers(1, 6)) for _ in others]
        return Concat(axis=axis), tuple((*shape[:at], size, *shape[at + 1 :]) for size in sizes)
    if isinstance(layer, Multiply):
        others = [draw(st.just(shape) | st.tuples(*(st.sampled_from([1, n]) for n in shape))) for _ in others]
    return layer, tuple(others)
