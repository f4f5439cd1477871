"""Makes a real ``torch.nn.Module`` of a network, for the tests: PyTorch's own layers wherever it has them.

It takes nothing from cnnbudget but the settings of the layers. Sizes come from the tensors that reach a layer, and what PyTorch
cannot be asked for (uneven padding, ``"same"`` with a stride, padding that is cut from a transpose) is done by hand.
"""

from collections.abc import Callable
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnbudget import Layer, Network
from cnnbudget.layers import activation as act
from cnnbudget.layers import conv, merge, norm, pool, rearrange, regularize, reshape, resize, scale
from cnnbudget.layers.linear import Linear, RadialBasis
from cnnbudget.layers.local import LocallyConnected, TableConv

__all__ = ["TorchNetwork", "module_of"]

Pairs = list[tuple[int, int]]
_MODES = {"zeros": "constant", "zero": "constant"}


def each(value, rank):
    return list(value) if isinstance(value, tuple) else [value] * rank


def span(kernel, dilation):
    return 1 + (kernel - 1) * dilation


def sides(layer, x: Tensor, *, dilation=1, stride=None) -> Pairs:
    """Padding before and after every spatial axis."""
    rank = x.dim() - 2
    if layer.padding == "valid":
        return [(0, 0)] * rank
    if layer.padding != "same":
        return [pair if isinstance(pair, tuple) else (pair, pair) for pair in each(layer.padding, rank)]
    found = []
    strides = each(layer.stride if stride is None else stride, rank)
    for n, k, s, d in zip(x.shape[2:], each(layer.kernel, rank), strides, each(dilation, rank), strict=True):
        total = max(0, (-(-n // s) - 1) * s + span(k, d) - n)  # TensorFlow's rule
        found.append((total // 2, total - total // 2))
    return found


def pad(x: Tensor, pairs: Pairs, mode: str = "constant", value: float = 0) -> Tensor:
    if not any(map(any, pairs)):
        return x
    amounts = [side for pair in reversed(pairs) for side in pair]
    return F.pad(x, amounts, mode=mode, **({"value": value} if mode == "constant" else {}))


def even(pairs: Pairs) -> list[int] | None:
    """The padding that PyTorch can be asked for, where it is that of both sides."""
    return [before for before, _ in pairs] if all(before == after for before, after in pairs) else None


def ranked(name: str, rank: int) -> type[nn.Module]:
    return getattr(nn, f"{name}{rank}d")


class Apply(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Tensor], *modules: nn.Module) -> None:
        super().__init__()
        self.function, self.inner = function, nn.ModuleList(modules)

    def forward(self, *xs: Tensor) -> Tensor:
        return self.function(*self.inner, *xs)


def convolution(layer, x: Tensor, filters: int, groups: int, mode: str = "zeros") -> nn.Module:
    rank, unit = x.dim() - 2, {*each(layer.stride, x.dim() - 2)} == {1}
    pairs = sides(layer, x, dilation=layer.dilation)
    asked = "same" if layer.padding == "same" and unit else even(pairs)
    module = ranked("Conv", rank)(
        x.shape[1],
        filters,
        tuple(each(layer.kernel, rank)),
        stride=tuple(each(layer.stride, rank)),
        padding=0 if asked is None else asked if asked == "same" else tuple(asked),
        dilation=tuple(each(layer.dilation, rank)),
        groups=groups,
        bias=layer.bias,
        padding_mode="zeros" if asked is None else mode,
    )
    if asked is not None:
        return module
    return Apply(lambda inner, x: inner(pad(x, pairs, _MODES.get(mode, mode))), module)


def transposed(layer: conv.ConvTranspose, x: Tensor) -> nn.Module:
    rank = x.dim() - 2
    kernel, stride, dilation = (tuple(each(v, rank)) for v in (layer.kernel, layer.stride, layer.dilation))
    extra = tuple(each(layer.output_padding, rank))
    if isinstance(layer.padding, str):  # Keras: n * stride for "same", and for "valid" what exceeds it too
        pairs = []
        for k, s, d in zip(kernel, stride, dilation, strict=True):
            less = span(k, d) - s if layer.padding == "same" else min(0, span(k, d) - s)
            pairs.append((max(0, less) // 2, less - max(0, less) // 2))
    else:
        pairs = sides(layer, x)
    asked = even(pairs)
    usable = asked is not None and min(asked) >= 0
    module = ranked("ConvTranspose", rank)(
        x.shape[1],
        layer.filters,
        kernel,
        stride=stride,
        padding=tuple(asked) if usable else 0,
        output_padding=extra,
        groups=layer.groups,
        bias=layer.bias,
        dilation=dilation,
    )
    if usable:
        return module
    return Apply(lambda inner, x: pad(inner(x), [(-before, -after) for before, after in pairs]), module)


class Unshared(nn.Module):
    """A locally connected layer: PyTorch has none."""

    def __init__(self, layer: LocallyConnected, x: Tensor) -> None:
        super().__init__()
        self.layer = layer
        spatial = self.windows(x).shape[2 : x.dim()]
        kernel = each(layer.kernel, x.dim() - 2)
        self.weight = nn.Parameter(torch.zeros(*spatial, layer.filters, x.shape[1], *kernel))
        if layer.bias:
            self.bias = nn.Parameter(torch.zeros(layer.filters, *spatial))

    def windows(self, x: Tensor) -> Tensor:
        rank = x.dim() - 2
        return windows(pad(x, sides(self.layer, x)), each(self.layer.kernel, rank), each(self.layer.stride, rank))

    def forward(self, x: Tensor) -> Tensor:
        found = self.windows(x)
        rank = x.dim() - 2
        spatial = found.shape[2 : rank + 2]
        columns = found.movedim(1, rank + 1).reshape(x.shape[0], prod(spatial), -1).permute(1, 2, 0)
        weight = self.weight.reshape(prod(spatial), self.layer.filters, -1)
        out = torch.bmm(weight, columns).permute(2, 1, 0).reshape(x.shape[0], self.layer.filters, *spatial)
        return out + self.bias if self.layer.bias else out


class Tabled(nn.Module):
    """A convolution for every output map, of the input maps that it sees: PyTorch has none."""

    def __init__(self, layer: TableConv, x: Tensor) -> None:
        super().__init__()
        self.layer = layer
        self.weight = nn.Parameter(torch.zeros(sum(map(len, layer.table)), *each(layer.kernel, x.dim() - 2)))
        if layer.bias:
            self.bias = nn.Parameter(torch.zeros(len(layer.table)))

    def forward(self, x: Tensor) -> Tensor:
        rank = x.dim() - 2
        stride = each(self.layer.stride, rank)
        convolve = getattr(F, f"conv{rank}d")
        padded = pad(x, sides(self.layer, x))
        kernels = self.weight.split([len(maps) for maps in self.layer.table])
        maps = [
            convolve(padded[:, list(maps)], kernel[None], stride=stride)
            for maps, kernel in zip(self.layer.table, kernels, strict=True)
        ]
        out = torch.cat(maps, 1)
        return out + self.bias.reshape(-1, *[1] * rank) if self.layer.bias else out


class Distances(nn.Module):
    """Squared distances to codes: PyTorch has none."""

    def __init__(self, layer: RadialBasis, x: Tensor) -> None:
        super().__init__()
        self.register_buffer("codes", torch.zeros(layer.classes, x.shape[1]))

    def forward(self, x: Tensor) -> Tensor:
        away = (x[:, None] - self.codes).flatten(0, 1)
        return torch.bmm(away[:, None], away[:, :, None]).reshape(x.shape[0], -1)


def windows(x: Tensor, kernel, stride, dilation=None) -> Tensor:
    """Every window of every spatial axis, its positions at the end: ``(N, C, *spatial', *kernel)``."""
    rank = len(kernel)
    for axis, k, s, d in zip(range(2, rank + 2), kernel, stride, dilation or [1] * rank, strict=True):
        x = x.unfold(axis, span(k, d), s)[..., ::d]
    return x


def pooling(layer: pool.WindowPool, x: Tensor) -> nn.Module:
    rank = x.dim() - 2
    stride = layer.kernel if layer.stride is None else layer.stride
    dilation = getattr(layer, "dilation", 1)
    pairs = sides(layer, x, dilation=dilation, stride=stride)
    asked = even(pairs)
    kernel, strides = tuple(each(layer.kernel, rank)), tuple(each(stride, rank))
    settings = {"kernel_size": kernel, "stride": strides, "ceil_mode": layer.ceil_mode}
    # "same" may need more than half of a kernel that is dilated, which PyTorch does not pad by itself.
    usable = asked is not None and all(2 * side <= k for side, k in zip(asked, kernel, strict=True))
    if isinstance(layer, pool.MaxPool):
        settings["dilation"] = tuple(each(dilation, rank))
        name, fill = "MaxPool", float("-inf")
    elif isinstance(layer, pool.AvgPool):
        settings["count_include_pad"] = layer.count_include_pad
        name, fill = "AvgPool", 0.0
    else:
        settings["norm_type"] = layer.norm
        if rank == 1:
            settings |= {"kernel_size": kernel[0], "stride": strides[0]}
        return Apply(lambda inner, x: drop(inner(pad(x, pairs)), x, pairs, strides), ranked("LPPool", rank)(**settings))
    if usable:
        return ranked(name, rank)(**settings, padding=tuple(asked))
    module = ranked(name, rank)(**settings, padding=0)
    return Apply(lambda inner, x: drop(inner(pad(x, pairs, value=fill)), x, pairs, strides), module)


def drop(y: Tensor, x: Tensor, pairs: Pairs, strides) -> Tensor:
    """Drops a last window that starts in the padding at the end, where PyTorch was not told that it is padding."""
    for axis, (before, _), stride in zip(range(2, x.dim()), pairs, strides, strict=True):
        inside = [start for start in range(0, y.shape[axis] * stride, stride) if start < x.shape[axis] + before]
        y = y.narrow(axis, 0, len(inside))
    return y


def adaptive(layer, x: Tensor) -> nn.Module:
    size = tuple(each(layer.size, x.dim() - 2))
    size = size[0] if len(size) == 1 and size[0] is not None else size
    if size == (None,):  # PyTorch has this for two and three axes only
        size = x.shape[2]
    return ranked("AdaptiveAvgPool" if isinstance(layer, pool.AdaptiveAvgPool) else "AdaptiveMaxPool", x.dim() - 2)(
        size
    )


def batch_norm(layer: norm.BatchNorm, x: Tensor) -> nn.Module:
    kind = ranked("BatchNorm", max(1, x.dim() - 2))
    module = kind(x.shape[1], affine=layer.affine, track_running_stats=layer.track_running_stats)
    if not layer.scale:
        module.register_parameter("weight", None)
    return module


def instance_norm(layer: norm.InstanceNorm, x: Tensor) -> nn.Module:
    kind = ranked("InstanceNorm", x.dim() - 2)
    return kind(x.shape[1], affine=layer.affine, track_running_stats=layer.track_running_stats)


def layer_norm(layer: norm.LayerNorm, x: Tensor) -> nn.Module:
    axes = sorted((axis % (x.dim() - 1)) + 1 for axis in each(layer.axes, 1))
    ends = list(range(-len(axes), 0))
    module = nn.LayerNorm([x.shape[axis] for axis in axes], elementwise_affine=layer.affine, bias=layer.bias)
    return Apply(lambda inner, x: inner(x.movedim(axes, ends)).movedim(ends, axes), module)


def response_norm(layer: norm.LocalResponseNorm, x: Tensor) -> nn.Module:
    module = nn.LocalResponseNorm(layer.size, layer.alpha, layer.beta, layer.k)
    return Apply(lambda inner, x: inner(x.contiguous()), module)  # PyTorch 2.13 fails on a permuted volume


def drop_path(layer: regularize.DropPath, x: Tensor) -> nn.Module:
    def run(x: Tensor) -> Tensor:
        if not module.training or not layer.rate:
            return x
        size = x.shape[0] if layer.mode == "row" else 1
        return x * torch.empty([size, *[1] * (x.dim() - 1)], device=x.device).bernoulli_(1 - layer.rate)

    module = Apply(run)
    return module


def dropout(layer: regularize.Dropout, x: Tensor) -> nn.Module:
    if not layer.per_channel:
        return nn.Dropout(layer.rate, inplace=layer.inplace)
    function = torch.feature_dropout_ if layer.inplace else torch.feature_dropout
    module = Apply(lambda x: function(x, layer.rate, module.training))
    return module


def linear(layer: Linear, x: Tensor) -> nn.Module:
    axis = 1 if layer.axis is None else layer.axis % (x.dim() - 1) + 1
    module = nn.Linear(x.shape[axis], layer.features, bias=layer.bias)
    return Apply(lambda inner, x: inner(x.movedim(axis, -1)).movedim(-1, axis), module)


def flatten(layer: reshape.Flatten, x: Tensor) -> nn.Module:
    start, end = (axis % (x.dim() - 1) + 1 for axis in (layer.start, layer.end))
    return nn.Flatten(start, end)


def split(layer: reshape.Split, x: Tensor) -> nn.Module:
    axis = layer.axis % (x.dim() - 1) + 1

    def run(x: Tensor) -> Tensor:
        part = torch.chunk(x, layer.sections, axis)[layer.index]
        # Autograd refuses to overwrite one of several views of one function.
        size = part.shape[axis]
        return x.narrow(axis, layer.index * size, size) if torch.is_grad_enabled() else part

    return Apply(run)


def slice_(layer: reshape.Slice, x: Tensor) -> nn.Module:
    at = [slice(None)] * x.dim()
    at[layer.axis % (x.dim() - 1) + 1] = slice(layer.start, layer.stop)
    return Apply(lambda x: x[tuple(at)])


def amounts(value, x: Tensor) -> Pairs:
    return [pair if isinstance(pair, tuple) else (pair, pair) for pair in each(value, x.dim() - 2)]


def border(layer: rearrange.Pad, x: Tensor) -> nn.Module:
    flat = [side for pair in reversed(amounts(layer.amounts, x)) for side in pair]
    return Apply(lambda x: F.pad(x, flat, mode=_MODES.get(layer.mode, layer.mode)))


def crop(layer: reshape.Crop, x: Tensor) -> nn.Module:
    at = tuple(
        slice(before, n - after) for n, (before, after) in zip(x.shape[2:], amounts(layer.amounts, x), strict=True)
    )
    return Apply(lambda x: x[(slice(None), slice(None), *at)])


def copied(rule: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """A copy always: where nothing moves (a factor of 1), PyTorch's module returns its input, which we count as a copy."""
    return lambda layer, x: Apply(lambda inner, x: inner(x).clone(), rule(layer, x))


def pixel_shuffle(layer: rearrange.PixelShuffle, x: Tensor) -> nn.Module:
    if x.dim() == 4:
        return nn.PixelShuffle(layer.factor)
    r, rank = layer.factor, x.dim() - 2

    def run(x: Tensor) -> Tensor:
        n, c, *spatial = x.shape
        x = x.reshape(n, c // r**rank, *[r] * rank, *spatial)
        order = [axis for pair in zip(range(2 + rank, 2 + 2 * rank), range(2, 2 + rank), strict=True) for axis in pair]
        return x.permute(0, 1, *order).reshape(n, c // r**rank, *(size * r for size in spatial))

    return Apply(run)


def pixel_unshuffle(layer: rearrange.PixelUnshuffle, x: Tensor) -> nn.Module:
    if x.dim() == 4:
        return nn.PixelUnshuffle(layer.factor)
    r, rank = layer.factor, x.dim() - 2

    def run(x: Tensor) -> Tensor:
        n, c, *spatial = x.shape
        x = x.reshape(n, c, *(part for size in spatial for part in (size // r, r)))
        order = [*range(3, 3 + 2 * rank, 2), *range(2, 2 + 2 * rank, 2)]
        return x.permute(0, 1, *order).reshape(n, c * r**rank, *(size // r for size in spatial))

    return Apply(run)


def unfold(layer: rearrange.Unfold, x: Tensor) -> nn.Module:
    rank = x.dim() - 2
    pairs = sides(layer, x, dilation=layer.dilation)
    kernel, stride, dilation = (each(v, rank) for v in (layer.kernel, layer.stride, layer.dilation))
    if rank == 2 and even(pairs) is not None:
        return nn.Unfold(tuple(kernel), dilation=tuple(dilation), padding=tuple(even(pairs)), stride=tuple(stride))

    def run(x: Tensor) -> Tensor:
        found = windows(pad(x, pairs), kernel, stride, dilation)
        spatial = found.shape[2 : rank + 2]
        columns = found.movedim(list(range(2, rank + 2)), list(range(-rank, 0)))
        return columns.reshape(x.shape[0], x.shape[1] * prod(kernel), prod(spatial))

    return Apply(run)


class Scaled(nn.Module):
    def __init__(self, layer: scale.Scale, x: Tensor) -> None:
        super().__init__()
        size = x.shape[1] if layer.per == "channel" else 1
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size)) if layer.bias else None

    def forward(self, x: Tensor) -> Tensor:
        shape = (1, -1, *[1] * (x.dim() - 2))
        out = x * self.weight.reshape(shape)
        return out if self.bias is None else out + self.bias.reshape(shape)


def fold(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., nn.Module]:
    """An operation of two values, from left to right."""

    def run(first: Tensor, *others: Tensor) -> Tensor:
        for other in others:
            first = function(first, other)
        return first

    return lambda layer, *xs: Apply(run)


def add(layer: merge.Add, *xs: Tensor) -> nn.Module:
    return fold(torch.Tensor.add_ if layer.inplace else torch.add)(layer, *xs)


def own(name: str, **settings: str) -> Callable[..., nn.Module]:
    """PyTorch's module, with its words for the layer's settings."""
    return lambda layer, x: getattr(nn, name)(**{theirs: getattr(layer, ours) for theirs, ours in settings.items()})


def along(name: str) -> Callable[..., nn.Module]:
    return lambda layer, x: getattr(nn, name)(dim=layer.axis % (x.dim() - 1) + 1)


RULES: dict[type[Layer], Callable[..., nn.Module]] = {
    conv.Conv: lambda layer, x: convolution(layer, x, layer.filters, layer.groups, layer.padding_mode),
    conv.DepthwiseConv: lambda layer, x: convolution(layer, x, x.shape[1] * layer.multiplier, x.shape[1]),
    conv.ConvTranspose: transposed,
    LocallyConnected: Unshared,
    TableConv: Tabled,
    RadialBasis: Distances,
    Linear: linear,
    **dict.fromkeys((pool.MaxPool, pool.AvgPool, pool.LPPool), pooling),
    **dict.fromkeys((pool.AdaptiveAvgPool, pool.AdaptiveMaxPool), adaptive),
    pool.GlobalAvgPool: lambda layer, x: Apply(lambda x: x.mean(tuple(range(2, x.dim())), keepdim=layer.keepdims)),
    pool.GlobalMaxPool: lambda layer, x: Apply(lambda x: x.amax(tuple(range(2, x.dim())), keepdim=layer.keepdims)),
    norm.BatchNorm: batch_norm,
    norm.InstanceNorm: instance_norm,
    norm.LayerNorm: layer_norm,
    norm.GroupNorm: lambda layer, x: nn.GroupNorm(layer.groups, x.shape[1], affine=layer.affine),
    norm.LocalResponseNorm: response_norm,
    **{
        kind: own(kind.__name__, inplace="inplace")
        for kind in (act.ReLU, act.ReLU6, act.SELU, act.SiLU, act.Mish, act.Hardswish, act.Hardsigmoid)
    },
    **{kind: own(kind.__name__, alpha="alpha", inplace="inplace") for kind in (act.ELU, act.CELU)},
    act.LeakyReLU: own("LeakyReLU", negative_slope="slope", inplace="inplace"),
    act.Hardtanh: own("Hardtanh", min_val="low", max_val="high", inplace="inplace"),
    act.PReLU: lambda layer, x: nn.PReLU(x.shape[1] if layer.channelwise else 1),
    act.GELU: lambda layer, x: nn.GELU("tanh" if layer.approximate else "none"),
    act.Softplus: own("Softplus", beta="beta"),
    act.Sigmoid: own("Sigmoid"),
    act.Tanh: own("Tanh"),
    act.Softmax: along("Softmax"),
    act.LogSoftmax: along("LogSoftmax"),
    regularize.Dropout: dropout,
    regularize.DropPath: drop_path,
    reshape.Flatten: flatten,
    reshape.Reshape: lambda layer, x: Apply(lambda x: x.reshape(x.shape[0], *layer.shape)),
    reshape.Permute: lambda layer, x: Apply(lambda x: x.permute(0, *(axis + 1 for axis in layer.axes))),
    reshape.Split: split,
    reshape.Slice: slice_,
    reshape.Crop: crop,
    rearrange.Pad: border,
    rearrange.PixelShuffle: copied(pixel_shuffle),
    rearrange.PixelUnshuffle: copied(pixel_unshuffle),
    rearrange.ChannelShuffle: copied(own("ChannelShuffle", groups="groups")),
    rearrange.Unfold: copied(unfold),
    resize.Upsample: own("Upsample", size="size", scale_factor="scale", mode="mode"),
    scale.Scale: Scaled,
    scale.Identity: own("Identity"),
    merge.Add: add,
    merge.Multiply: fold(torch.mul),
    merge.Maximum: fold(torch.maximum),
    merge.Concat: lambda layer, *xs: Apply(lambda *xs: torch.cat(xs, layer.axis % (xs[0].dim() - 1) + 1)),
}


class TorchNetwork(nn.Module):
    """A network's nodes as modules. Shared nodes have one module.

    Args:
        network: The network.
        modules: The module of every node that has one of its own, by name.
    """

    def __init__(self, network: Network, modules: dict[str, nn.Module]) -> None:
        super().__init__()
        self.network = network
        self.modules_of_nodes = nn.ModuleList(modules.values())
        self.own = dict(zip(modules, self.modules_of_nodes, strict=True))

    def forward(self, *inputs: Tensor, seen: Callable[[str, Tensor], None] = lambda name, value: None) -> list[Tensor]:
        values = {source.name: value for source, value in zip(self.network.inputs, inputs, strict=True)}
        for node in self.network.nodes:
            module = self.own[node.shares or node.name]
            values[node.name] = module(*(values[name] for name in node.inputs))
            seen(node.name, values[node.name])
        return [values[name] for name in self.network.outputs]

    def parameters_of(self, name: str) -> list[tuple[int, ...]]:
        return [tuple(parameter.shape) for parameter in self.own[name].parameters()] if name in self.own else []

    def buffers_of(self, name: str) -> list[tuple[int, ...]]:
        return [tuple(buffer.shape) for buffer in self.own[name].buffers()] if name in self.own else []


def module_of(network: Network, device: str = "meta", batch: int = 2) -> TorchNetwork:
    """Makes a module of a network, in evaluation mode.

    Args:
        network: The network.
        device: Where its parameters are: on the device ``meta`` nothing is computed, and nothing takes memory.
        batch: Samples in the batch that is sent through to find the sizes.
    """
    modules: dict[str, nn.Module] = {}
    with torch.device("meta"), torch.no_grad():
        values = {source.name: torch.empty(batch, *source.shape) for source in network.inputs}
        for node in network.nodes:
            xs = [values[name] for name in node.inputs]
            if node.shares is None:
                modules[node.name] = RULES[type(node.layer)](node.layer, *xs).eval()
            values[node.name] = modules[node.shares or node.name](*xs)
    found = TorchNetwork(network, modules).eval()
    if device == "meta":
        return found
    found.to_empty(device=device)
    for tensor in [*found.parameters(), *found.buffers()]:
        with torch.no_grad():
            if tensor.is_floating_point():
                tensor.copy_(torch.linspace(0.1, 0.9, tensor.numel()).reshape(tensor.shape))
            else:
                tensor.zero_()
    return found
