"""Modules for what PyTorch has no module for: uneven padding, ``"same"`` with a stride, axes, merges, unshared weights.

They take nothing from cnnbudget but the settings of the layers, and do their own arithmetic: the tests compare the two. Sizes
come with the tensors, so a module works at other sizes than the one that the network was designed for.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812  # everybody calls it that
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cnnbudget.layers.base import Layer

    Pairs = Sequence[tuple[int, int]]

_FILLS = {"zeros": "constant", "zero": "constant"}
_CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def axis_of(axis: int, x: Tensor) -> int:
    """The axis of a batch that is an axis of one sample."""
    return axis % (x.dim() - 1) + 1


def each(value: Any, rank: int) -> tuple[Any, ...]:
    """A setting for every spatial axis."""
    return value if isinstance(value, tuple) else (value,) * rank


def span(kernel: int, dilation: int) -> int:
    """How far a dilated window reaches."""
    return 1 + (kernel - 1) * dilation


def amounts_of(value: Any, rank: int) -> Pairs:
    """What is added or cut before and after every spatial axis."""
    return [pair if isinstance(pair, tuple) else (pair, pair) for pair in each(value, rank)]


def sides_of(padding: Any, spatial: Sequence[int], kernel: Any, stride: Any, dilation: Any = 1) -> Pairs:
    """What a window pads before and after every spatial axis; ``"same"`` is TensorFlow's rule."""
    rank = len(spatial)
    if padding != "same":
        return amounts_of(0 if padding == "valid" else padding, rank)
    found = []
    for n, k, s, d in zip(spatial, each(kernel, rank), each(stride, rank), each(dilation, rank), strict=True):
        total = max(0, (-(-n // s) - 1) * s + span(k, d) - n)
        found.append((total // 2, total - total // 2))
    return found


def pad(x: Tensor, pairs: Pairs, mode: str = "constant", value: float = 0) -> Tensor:
    """Pads the spatial axes; the tensor itself where there is nothing to add."""
    if not any(map(any, pairs)):
        return x
    amounts = [side for pair in reversed(pairs) for side in pair]
    mode = _FILLS.get(mode, mode)
    return F.pad(x, amounts, mode, value if mode == "constant" else None)


def even(pairs: Pairs) -> tuple[int, ...] | None:
    """The padding that PyTorch can be asked for, where it is that of both sides."""
    return tuple([before for before, _ in pairs]) if all(before == after >= 0 for before, after in pairs) else None


class Of(nn.Module):
    """A module that does what a layer says, without parameters."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.layer: Any = layer

    def extra_repr(self) -> str:
        return repr(self.layer)


# With parameters. They derive from PyTorch's modules, so that parameters have their names and their initial values.


class _PaddedConv:
    """Pads by itself, by the size of what comes."""

    layer: Any
    weight: Tensor
    bias: Tensor | None
    groups: int
    stride: tuple[int, ...]
    dilation: tuple[int, ...]

    def forward(self, x: Tensor) -> Tensor:
        kernel = tuple(self.weight.shape[2:])
        pairs = sides_of(self.layer.padding, x.shape[2:], kernel, self.stride, self.dilation)
        mode = getattr(self.layer, "padding_mode", "zeros")
        sides = even(pairs) if mode == "zeros" else None
        if sides is None:
            x, sides = pad(x, pairs, mode), (0,) * len(pairs)
        return _CONVOLVE[len(sides)](x, self.weight, self.bias, self.stride, sides, self.dilation, self.groups)


class PaddedConv1d(_PaddedConv, nn.Conv1d):
    """A convolution that pads by itself."""


class PaddedConv2d(_PaddedConv, nn.Conv2d):
    """A convolution that pads by itself."""


class PaddedConv3d(_PaddedConv, nn.Conv3d):
    """A convolution that pads by itself."""


class _CutConvTranspose:
    """Cuts uneven borders from its output."""

    layer: Any
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = super().forward(x)  # type: ignore[misc]  # PyTorch's module is the other base
        return pad(y, [(-before, -after) for before, after in cuts(self.layer, x.dim() - 2)])


class CutConvTranspose1d(_CutConvTranspose, nn.ConvTranspose1d):
    """A transposed convolution that cuts by itself."""


class CutConvTranspose2d(_CutConvTranspose, nn.ConvTranspose2d):
    """A transposed convolution that cuts by itself."""


class CutConvTranspose3d(_CutConvTranspose, nn.ConvTranspose3d):
    """A transposed convolution that cuts by itself."""


def cuts(layer: Any, rank: int) -> Pairs:
    """What a transposed convolution cuts from every axis; Keras' words cut, or add, what makes ``n * stride``."""
    if not isinstance(layer.padding, str):
        return amounts_of(layer.padding, rank)
    settings = (each(layer.kernel, rank), each(layer.stride, rank), each(layer.dilation, rank))
    found = []
    for k, s, d in zip(*settings, strict=True):
        less = span(k, d) - s if layer.padding == "same" else min(0, span(k, d) - s)
        found.append((max(0, less) // 2, less - max(0, less) // 2))
    return found


class Linear(nn.Linear):
    """A linear layer along an axis that is not the last."""

    def __init__(self, axis: int, inputs: int, features: int, *, bias: bool) -> None:
        super().__init__(inputs, features, bias=bias)
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        axis = axis_of(self.axis, x)
        return super().forward(x.movedim(axis, -1)).movedim(-1, axis)


class LayerNorm(nn.LayerNorm):
    """A layer normalisation over axes that are not the last."""

    def __init__(self, axes: Sequence[int], shape: list[int], *, affine: bool, bias: bool) -> None:
        super().__init__(shape, elementwise_affine=affine, bias=bias)
        self.axes = tuple(axes)

    def forward(self, x: Tensor) -> Tensor:
        axes, ends = [axis_of(axis, x) for axis in self.axes], list(range(-len(self.axes), 0))
        return super().forward(x.movedim(axes, ends)).movedim(ends, axes)


class LocalResponseNorm(nn.LocalResponseNorm):
    """PyTorch's, which fails on a permuted volume."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.contiguous())


class LocallyConnected(Of):
    """A convolution whose weights are not shared; they start as a convolution's."""

    def __init__(self, layer: Any, channels: int, spatial: Sequence[int]) -> None:
        super().__init__(layer)
        rank = len(spatial)
        kernel, stride = each(layer.kernel, rank), each(layer.stride, rank)
        pairs = sides_of(layer.padding, spatial, kernel, stride)
        sizes = [(n + sum(p) - k) // s + 1 for n, p, k, s in zip(spatial, pairs, kernel, stride, strict=True)]
        bound = (channels * prod(kernel)) ** -0.5
        self.weight = nn.Parameter(torch.empty(*sizes, layer.filters, channels, *kernel).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(layer.filters, *sizes).uniform_(-bound, bound)) if layer.bias else None

    def forward(self, x: Tensor) -> Tensor:
        rank, filters = x.dim() - 2, self.layer.filters
        kernel, stride = each(self.layer.kernel, rank), each(self.layer.stride, rank)
        found = windows(pad(x, sides_of(self.layer.padding, x.shape[2:], kernel, stride)), kernel, stride, (1,) * rank)
        spatial = found.shape[2 : rank + 2]
        columns = found.movedim(1, rank + 1).reshape(x.shape[0], prod(spatial), -1).permute(1, 2, 0)
        weight = self.weight.reshape(prod(spatial), filters, -1)
        y = torch.bmm(weight, columns).permute(2, 1, 0).reshape(x.shape[0], filters, *spatial)
        return y if self.bias is None else y + self.bias


class TableConv(Of):
    """A convolution for every output map, of the input maps that it sees; the weights start as a convolution's."""

    def __init__(self, layer: Any, rank: int) -> None:
        super().__init__(layer)
        kernel = each(layer.kernel, rank)
        bound = (max(map(len, layer.table)) * prod(kernel)) ** -0.5
        self.weight = nn.Parameter(torch.empty(sum(map(len, layer.table)), *kernel).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(len(layer.table)).uniform_(-bound, bound)) if layer.bias else None

    def forward(self, x: Tensor) -> Tensor:
        rank = x.dim() - 2
        kernel, stride = each(self.layer.kernel, rank), each(self.layer.stride, rank)
        padded = pad(x, sides_of(self.layer.padding, x.shape[2:], kernel, stride))
        kernels = self.weight.split([len(maps) for maps in self.layer.table])
        found = [
            _CONVOLVE[rank](padded[:, list(maps)], weight[None], stride=stride)
            for maps, weight in zip(self.layer.table, kernels, strict=True)
        ]
        y = torch.cat(found, 1)
        return y if self.bias is None else y + self.bias.reshape(-1, *[1] * rank)


class RadialBasis(Of):
    """Squared distances to codes, which are buffers and start at random corners."""

    def __init__(self, layer: Any, channels: int) -> None:
        super().__init__(layer)
        self.register_buffer("codes", torch.randint(0, 2, (layer.classes, channels)) * 2.0 - 1)

    def forward(self, x: Tensor) -> Tensor:
        away = (x[:, None] - self.codes).flatten(0, 1)
        return torch.bmm(away[:, None], away[:, :, None]).reshape(x.shape[0], -1)


class Scale(Of):
    """Learned factors, which start at 1, and shifts."""

    def __init__(self, layer: Any, channels: int) -> None:
        super().__init__(layer)
        size = channels if layer.per == "channel" else 1
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size)) if layer.bias else None

    def forward(self, x: Tensor) -> Tensor:
        shape = (1, -1, *[1] * (x.dim() - 2))
        y = x * self.weight.reshape(shape)
        return y if self.bias is None else y + self.bias.reshape(shape)


# Windows.


def windows(x: Tensor, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> Tensor:
    """Every window of the spatial axes, its positions at the end: ``(N, C, *spatial', *kernel)``. A view."""
    rank = len(kernel)
    for axis, k, s, d in zip(range(2, rank + 2), kernel, stride, dilation, strict=True):
        x = x.unfold(axis, span(k, d), s)[..., ::d]
    return x


class _WindowPool(Of):
    """Pooling with a padding that PyTorch cannot be asked for, or that depends on the size of what comes."""

    run: dict[int, Callable[..., Tensor]]

    def settings(self, x: Tensor) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], Pairs]:
        layer, rank = self.layer, x.dim() - 2
        kernel, dilation = each(layer.kernel, rank), each(getattr(layer, "dilation", 1), rank)
        stride = kernel if layer.stride is None else each(layer.stride, rank)
        return kernel, stride, dilation, sides_of(layer.padding, x.shape[2:], kernel, stride, dilation)


def _asked(pairs: Pairs, kernel: Sequence[int]) -> tuple[int, ...] | None:
    """The padding, where PyTorch takes it: ``"same"`` may need more than half of a kernel that is dilated."""
    sides = even(pairs)
    return sides if sides and all(2 * side <= k for side, k in zip(sides, kernel, strict=True)) else None


class MaxPool(_WindowPool):
    """Max pooling that pads by itself."""

    run = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}  # noqa: RUF012  # a constant

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride, dilation, pairs = self.settings(x)
        run, ceil, sides = self.run[len(kernel)], self.layer.ceil_mode, _asked(pairs, kernel)
        if sides is not None:
            return run(x, kernel, stride, sides, dilation, ceil)
        padded = pad(x, pairs, value=float("-inf"))
        return _inside(run(padded, kernel, stride, 0, dilation, ceil), x, pairs, stride)


class AvgPool(_WindowPool):
    """Average pooling that pads by itself."""

    run = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}  # noqa: RUF012  # a constant

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride, _, pairs = self.settings(x)
        run, ceil, sides = self.run[len(kernel)], self.layer.ceil_mode, _asked(pairs, kernel)
        if sides is not None:
            return run(x, kernel, stride, sides, ceil, self.layer.count_include_pad)
        y = _inside(run(pad(x, pairs), kernel, stride, 0, ceil), x, pairs, stride)
        if self.layer.count_include_pad:
            return y
        ones = pad(x.new_ones(1, 1, *x.shape[2:]), pairs)
        return y / _inside(run(ones, kernel, stride, 0, ceil), x, pairs, stride)


class LPPool(_WindowPool):
    """Power-average pooling with padding, which PyTorch's has not."""

    run = {1: F.lp_pool1d, 2: F.lp_pool2d, 3: F.lp_pool3d}  # noqa: RUF012  # a constant

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride, _, pairs = self.settings(x)
        sizes = (kernel, stride) if len(kernel) > 1 else (kernel[0], stride[0])
        y = self.run[len(kernel)](pad(x, pairs), self.layer.norm, *sizes, self.layer.ceil_mode)
        return _inside(y, x, pairs, stride)


def _inside(y: Tensor, x: Tensor, pairs: Pairs, stride: Sequence[int]) -> Tensor:
    """Drops a last window that starts in the padding at the end, where PyTorch was not told that it is padding."""
    for axis, (before, _), step in zip(range(2, x.dim()), pairs, stride, strict=True):
        count = -(-(x.shape[axis] + before) // step)
        if y.shape[axis] > count:
            y = y.narrow(axis, 0, count)
    return y


class Unfold(Of):
    """Windows as columns, on any number of axes. A copy."""

    def forward(self, x: Tensor) -> Tensor:
        layer, rank = self.layer, x.dim() - 2
        kernel, stride, dilation = (each(v, rank) for v in (layer.kernel, layer.stride, layer.dilation))
        pairs = sides_of(layer.padding, x.shape[2:], kernel, stride, dilation)
        found = windows(pad(x, pairs), kernel, stride, dilation)
        count = prod(found.shape[2 : rank + 2])
        columns = found.movedim(list(range(2, rank + 2)), list(range(-rank, 0)))
        return copied(columns).reshape(x.shape[0], x.shape[1] * prod(kernel), count)


# Without parameters.


def copied(x: Tensor) -> Tensor:
    """A contiguous copy, always."""
    return x.clone(memory_format=torch.contiguous_format)


class GlobalAvgPool(Of):
    """The mean of every map."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(tuple(range(2, x.dim())), keepdim=self.layer.keepdims)


class GlobalMaxPool(Of):
    """The maximum of every map."""

    def forward(self, x: Tensor) -> Tensor:
        return x.amax(tuple(range(2, x.dim())), keepdim=self.layer.keepdims)


class AdaptiveAvgPool1d(nn.Module):
    """Keeps the size of the one axis, which PyTorch can be asked for on two and three axes only."""

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool1d(x, x.shape[2])


class AdaptiveMaxPool1d(nn.Module):
    """As :class:`AdaptiveAvgPool1d`."""

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_max_pool1d(x, x.shape[2])


class FeatureDropout(Of):
    """Dropout of whole maps, on any number of axes."""

    def forward(self, x: Tensor) -> Tensor:
        run = torch.feature_dropout_ if self.layer.inplace else torch.feature_dropout
        return run(x, self.layer.rate, self.training)


class DropPath(Of):
    """Stochastic depth: what is kept is scaled, so that its mean stays."""

    def forward(self, x: Tensor) -> Tensor:
        kept = 1 - self.layer.rate
        if not self.training or kept == 1:
            return x
        noise = x.new_empty([x.shape[0] if self.layer.mode == "row" else 1, *[1] * (x.dim() - 1)]).bernoulli_(kept)
        return x * (noise.div_(kept) if kept else noise)


class Flatten(Of):
    """Joins axes of one sample."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(axis_of(self.layer.start, x), axis_of(self.layer.end, x))


class Reshape(Of):
    """Other axes of one sample."""

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], *self.layer.shape)


class Permute(Of):
    """Another order of the axes of one sample."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, *(axis + 1 for axis in self.layer.axes))


class Split(Of):
    """One part of an equal split; a view of its own, for autograd refuses to overwrite one of several views of one call."""

    def forward(self, x: Tensor) -> Tensor:
        axis = axis_of(self.layer.axis, x)
        size = x.shape[axis] // self.layer.sections
        return x.narrow(axis, self.layer.index * size, size)


class Slice(Of):
    """A part of an axis."""

    def forward(self, x: Tensor) -> Tensor:
        at = [slice(None)] * axis_of(self.layer.axis, x)
        return x[(*at, slice(self.layer.start, self.layer.stop))]


class Crop(Of):
    """Without the border."""

    def forward(self, x: Tensor) -> Tensor:
        pairs = amounts_of(self.layer.amounts, x.dim() - 2)
        ends = [slice(before, n - after) for n, (before, after) in zip(x.shape[2:], pairs, strict=True)]
        return x[(slice(None), slice(None), *ends)]


class Pad(Of):
    """A copy even where nothing is added."""

    def forward(self, x: Tensor) -> Tensor:
        pairs = amounts_of(self.layer.amounts, x.dim() - 2)
        mode = _FILLS.get(self.layer.mode, self.layer.mode)
        return F.pad(x, [side for pair in reversed(pairs) for side in pair], mode)


class PixelShuffle(Of):
    """On any number of axes, and a copy even where nothing moves."""

    def forward(self, x: Tensor) -> Tensor:
        r, rank = self.layer.factor, x.dim() - 2
        n, c, *spatial = x.shape
        x = x.reshape(n, c // r**rank, *[r] * rank, *spatial)
        order = [axis for pair in zip(range(2 + rank, 2 + 2 * rank), range(2, 2 + rank), strict=True) for axis in pair]
        return copied(x.permute(0, 1, *order)).reshape(n, c // r**rank, *(size * r for size in spatial))


class PixelUnshuffle(Of):
    """On any number of axes, and a copy even where nothing moves."""

    def forward(self, x: Tensor) -> Tensor:
        r, rank = self.layer.factor, x.dim() - 2
        n, c, *spatial = x.shape
        x = x.reshape(n, c, *(part for size in spatial for part in (size // r, r)))
        order = [*range(3, 3 + 2 * rank, 2), *range(2, 2 + 2 * rank, 2)]
        return copied(x.permute(0, 1, *order)).reshape(n, c * r**rank, *(size // r for size in spatial))


class ChannelShuffle(Of):
    """A copy even where nothing moves."""

    def forward(self, x: Tensor) -> Tensor:
        groups = self.layer.groups
        dealt = x.reshape(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:]).transpose(1, 2)
        return copied(dealt).reshape(x.shape)


# Merges.


class Add(Of):
    """A sum."""

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        for other in others:
            first = first.add_(other) if self.layer.inplace else first + other
        return first


class Multiply(Of):
    """A product."""

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        for other in others:
            first = first * other
        return first


class Maximum(Of):
    """A maximum."""

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        for other in others:
            first = torch.maximum(first, other)
        return first


class Concat(Of):
    """One value after the other."""

    def forward(self, *xs: Tensor) -> Tensor:
        return torch.cat(xs, axis_of(self.layer.axis, xs[0]))


WHOLE = (
    *(
        LocallyConnected,
        Scale,
        MaxPool,
        AvgPool,
        LPPool,
        Unfold,
        GlobalAvgPool,
        GlobalMaxPool,
        FeatureDropout,
        DropPath,
    ),
    *(Flatten, Reshape, Permute, Split, Slice, Crop, Pad, PixelShuffle, PixelUnshuffle, ChannelShuffle),
)
"""Modules that read one value and hold the layer that they do, whatever operations they are made of."""
