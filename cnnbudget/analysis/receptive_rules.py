"""The rules of receptive fields: what every kind of layer reads. :mod:`cnnbudget.analysis.receptive` says what is computed."""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING, Any

from cnnbudget.analysis.fields import Field
from cnnbudget.analysis.visitor import Use, Visitor, visits
from cnnbudget.errors import MissingRuleError
from cnnbudget.graph.shapes import place_of
from cnnbudget.layers.activation import LogSoftmax, Softmax
from cnnbudget.layers.base import ElementwiseLayer
from cnnbudget.layers.conv import Conv, ConvTranspose, DepthwiseConv
from cnnbudget.layers.linear import Linear, RadialBasis
from cnnbudget.layers.local import LocallyConnected, TableConv
from cnnbudget.layers.merge import Add, Concat, Maximum, Multiply
from cnnbudget.layers.norm import BatchNorm, GroupNorm, InstanceNorm, LayerNorm
from cnnbudget.layers.pool import (
    AdaptiveAvgPool,
    AdaptiveMaxPool,
    GlobalAvgPool,
    GlobalMaxPool,
    MaxPool,
    WindowPool,
)
from cnnbudget.layers.rearrange import ChannelShuffle, Pad, PixelShuffle, PixelUnshuffle, Unfold
from cnnbudget.layers.reshape import Crop, Flatten, Permute, Reshape, Slice, Split
from cnnbudget.layers.resize import Upsample
from cnnbudget.tensors import axis_in
from cnnbudget.windows import per_axis, resolve_padding, sides_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from cnnbudget.graph.nodes import Input

__all__ = ["ReceptiveFieldVisitor"]


class ReceptiveFieldVisitor(Visitor[Field]):
    """What does every position see of the inputs? In inference: dropout passes, and batch normalisation uses its statistics.

    Layers from another package that derive from :class:`~cnnbudget.ElementwiseLayer`, or from a built-in layer, have a rule. Any
    other needs one:

    Example:
        >>> from attrs import frozen
        >>> from cnnbudget import Net, StatelessLayer, TensorSpec, visits
        >>> from cnnbudget.analysis.receptive import ReceptiveFieldVisitor, receptive_field
        >>> @frozen
        ... class Halve(StatelessLayer):
        ...     def infer(self, inputs):
        ...         return TensorSpec((inputs[0].channels, *(size // 2 for size in inputs[0].spatial)))
        >>> class WithHalve(ReceptiveFieldVisitor):
        ...     @visits(Halve)
        ...     def halve(self, use):
        ...         return use.results[0].slide(use.inputs[0].shape, 2, stride=2)
        >>> receptive_field(Net.input(3, 8, 8).then(Halve()).network, WithHalve())["halve"].size
        (2, 2)
    """

    def start(self, source: Input) -> Field:
        """Answers for an input: every position sees itself."""
        return Field.of_input(source.name, source.shape)

    def visit(self, use: Use[Field]) -> Field:
        """Answers nothing for an unknown layer.

        Raises:
            MissingRuleError: Always.
        """
        name = type(use.layer).__name__
        if type(use.layer).__module__.partition(".")[0] == __name__.partition(".")[0]:
            hint = "this is a bug in cnnbudget: please report it with this text"
        else:
            hint = (
                f"give a subclass of ReceptiveFieldVisitor a method marked @visits({name}) and pass an instance of it to "
                f"receptive_field(), or derive {name} from ElementwiseLayer if every position sees only itself"
            )
        raise MissingRuleError(
            f"the receptive field has no rule for {name}", where=place_of(use.node, use.inputs), hint=hint
        )

    @visits(ElementwiseLayer, ChannelShuffle)
    def passes(self, use: Use[Field]) -> Field:
        """Every position sees itself."""
        (before,) = use.results
        return Field(before.axes) if before.conflicts else before

    @visits(Softmax, LogSoftmax)
    def along_axis(self, use: Use[Field]) -> Field:
        """Sums along an axis: over the channels every position sees itself, along a spatial axis all of it."""
        assert isinstance(use.layer, (Softmax, LogSoftmax))  # noqa: S101  # what @visits guarantees, told to the type checker
        shape = use.inputs[0].shape
        return use.results[0].everything(shape, [axis_in(use.layer.axis, shape, "axis")])

    @visits(LayerNorm)
    def layer_norm(self, use: Use[Field]) -> Field:
        """Mean and deviation along the normalised axes."""
        assert isinstance(use.layer, LayerNorm)  # noqa: S101  # as above
        shape = use.inputs[0].shape
        axes = use.layer.axes if isinstance(use.layer.axes, tuple) else (use.layer.axes,)
        return use.results[0].everything(shape, [axis_in(axis, shape, "LayerNorm.axes") for axis in axes])

    @visits(GroupNorm, GlobalAvgPool, GlobalMaxPool)
    def whole_maps(self, use: Use[Field]) -> Field:
        """Statistics of whole feature maps."""
        return use.results[0].everything(use.inputs[0].shape, range(1, len(use.inputs[0].shape)))

    @visits(BatchNorm, InstanceNorm)
    def tracking(self, use: Use[Field]) -> Field:
        """With running statistics every position sees itself, without them the whole map."""
        assert isinstance(use.layer, (BatchNorm, InstanceNorm))  # noqa: S101  # as above
        return self.passes(use) if use.layer.track_running_stats else self.whole_maps(use)

    @visits(Conv, DepthwiseConv, MaxPool, Unfold)
    def dilated_window(self, use: Use[Field]) -> Field:
        """A window, with gaps between its positions."""
        layer: Any = use.layer
        return self._slide(use, layer.dilation)

    @visits(WindowPool, LocallyConnected, TableConv)
    def window(self, use: Use[Field]) -> Field:
        """A window."""
        return self._slide(use, 1)

    def _slide(self, use: Use[Field], dilation: Any) -> Field:
        layer: Any = use.layer
        shape, stride = use.inputs[0].shape, layer.kernel if layer.stride is None else layer.stride
        seen = use.results[0].slide(shape, layer.kernel, stride=stride, padding=layer.padding, dilation=dilation)
        return seen.everything(shape) if isinstance(layer, Unfold) and len(shape) > 2 else seen

    @visits(ConvTranspose)
    def transposed(self, use: Use[Field]) -> Field:
        """Every position of the output sees the positions whose windows are spread over it."""
        layer = use.layer
        assert isinstance(layer, ConvTranspose)  # noqa: S101  # as above
        seen, rank = use.results[0].everything(use.inputs[0].shape, [0]), len(use.output.spatial)
        settings = (layer.kernel, layer.stride, layer.padding, layer.dilation)
        for axis, (k, s, p, d) in enumerate(zip(*[per_axis(value, rank, "") for value in settings], strict=True), 1):
            before = resolve_padding(p, use.output.shape[axis], d * (k - 1) + 1, s)[0]
            seen = seen.read(axis, _spread(k, s, before, d), every=s)
        return seen

    @visits(AdaptiveAvgPool, AdaptiveMaxPool)
    def adaptive(self, use: Use[Field]) -> Field:
        """Windows that adapt to the size of the output."""
        return _resized(use, "area")

    @visits(Upsample)
    def upsample(self, use: Use[Field]) -> Field:
        """Interpolation reads one position, two neighbours or four, by the ratio of the sizes."""
        assert isinstance(use.layer, Upsample)  # noqa: S101  # as above
        return _resized(use, use.layer.mode)

    @visits(PixelShuffle)
    def pixel_shuffle(self, use: Use[Field]) -> Field:
        """Every block of the output sees one position."""
        return _resized(use, "nearest")

    @visits(PixelUnshuffle)
    def pixel_unshuffle(self, use: Use[Field]) -> Field:
        """Every position of the output sees a block."""
        assert isinstance(use.layer, PixelUnshuffle)  # noqa: S101  # as above
        return use.results[0].slide(use.inputs[0].shape, use.layer.factor, stride=use.layer.factor)

    @visits(Linear)
    def linear(self, use: Use[Field]) -> Field:
        """Every output sees all inputs along the axis."""
        assert isinstance(use.layer, Linear)  # noqa: S101  # as above
        shape = use.inputs[0].shape
        return use.results[0].everything(
            shape, [0 if use.layer.axis is None else axis_in(use.layer.axis, shape, "axis")]
        )

    @visits(RadialBasis)
    def radial_basis(self, use: Use[Field]) -> Field:
        """Every output sees all inputs."""
        return use.results[0].everything(use.inputs[0].shape)

    @visits(Flatten, Reshape)
    def reshape(self, use: Use[Field]) -> Field:
        """Leading and trailing axes that stay keep their positions; axes that are joined have none, nor has a vector."""
        old, new = use.inputs[0].shape, use.output.shape
        if len(new) == 1:
            return use.results[0].everything(old)
        least = min(len(old), len(new))
        head = next((axis for axis in range(least) if old[axis] != new[axis]), least)
        tail = next((axis for axis in range(least - head) if old[-1 - axis] != new[-1 - axis]), least - head)
        joined = range(head, len(old) - tail)
        kept = {axis: axis if axis < head else axis + len(new) - len(old) for axis in range(len(old))}
        return use.results[0].everything(old, joined).renumber(kept)

    @visits(Permute)
    def permute(self, use: Use[Field]) -> Field:
        """The axes in another order."""
        assert isinstance(use.layer, Permute)  # noqa: S101  # as above
        return use.results[0].renumber({old: new for new, old in enumerate(use.layer.axes)})

    @visits(Slice, Split)
    def part(self, use: Use[Field]) -> Field:
        """A part of an axis: the positions are counted from where it starts."""
        layer, shape = use.layer, use.inputs[0].shape
        assert isinstance(layer, (Slice, Split))  # noqa: S101  # as above
        axis = axis_in(layer.axis, shape, "axis")
        start = layer.index * use.output.shape[axis] if isinstance(layer, Split) else layer.start % shape[axis]
        return _shifted(use.results[0], axis, start)

    @visits(Crop, Pad)
    def border(self, use: Use[Field]) -> Field:
        """Positions are counted from a new border. What a border is filled with does not matter inside."""
        layer = use.layer
        assert isinstance(layer, (Crop, Pad))  # noqa: S101  # as above
        seen = use.results[0]
        for axis, (before, _) in enumerate(sides_of("border", use.inputs[0].spatial, layer.amounts), 1):
            seen = _shifted(seen, axis, before if isinstance(layer, Crop) else -before)
        return seen

    @visits(Add, Multiply, Maximum)
    def merge(self, use: Use[Field]) -> Field:
        """Every position sees what it sees on any path."""
        return Field.merge(use.results, [value.shape for value in use.inputs], use.output.shape)

    @visits(Concat)
    def concat(self, use: Use[Field]) -> Field:
        """Along the channels as every merge; along a spatial axis at most all that is there."""
        assert isinstance(use.layer, Concat)  # noqa: S101  # as above
        shapes = [value.shape for value in use.inputs]
        axis = axis_in(use.layer.axis, use.output.shape, "Concat.axis")
        if axis and len(shapes) > 1:
            seen = [
                value.everything(shape, [axis], exact=False) for value, shape in zip(use.results, shapes, strict=True)
            ]
            return Field.merge(seen, shapes, use.output.shape)
        return self.merge(use)


def _spread(kernel: int, stride: int, before: int, dilation: int) -> Callable[[int], range]:
    """Which positions a transposed window reads: those ``x`` with ``x * stride + dilation * tap == y + before``."""
    common = gcd(stride, dilation)
    step = dilation // common
    inverse = pow(stride // common, -1, step)

    def reads(position: int) -> range:
        place = position + before
        if place % common:
            return range(0)
        first, last = -((dilation * (kernel - 1) - place) // stride), place // stride
        return range(first + (place // common * inverse - first) % step, last + 1, step)

    return reads


def _shifted(seen: Field, axis: int, start: int) -> Field:
    return seen.read(axis, lambda position: range(position + start, position + start + 1)) if start else seen


def _resized(use: Use[Field], mode: str) -> Field:
    """The field behind a change of sizes, axis by axis."""
    seen = use.results[0].everything(use.inputs[0].shape, [0])
    for axis, (n, size) in enumerate(zip(use.inputs[0].spatial, use.output.spatial, strict=True), 1):
        if mode == "area" and size == 1:
            seen = seen.everything(use.inputs[0].shape, [axis])
        elif n != size:
            seen = seen.read(axis, _ratio(n, size, mode), every=size // gcd(n, size), moves=n // gcd(n, size))
    return seen


def _ratio(n: int, size: int, mode: str) -> Callable[[int], range]:
    """Which of ``n`` positions each of ``size`` reads, as PyTorch's ``interpolate`` without ``align_corners``."""

    def reads(position: int) -> range:
        if mode == "area":
            return range(position * n // size, -(-(position + 1) * n // size))
        if mode == "nearest":
            return range(position * n // size, position * n // size + 1)
        centre = (2 * position + 1) * n  # in halves of 1 / size
        if mode == "nearest-exact":
            return range(centre // (2 * size), centre // (2 * size) + 1)
        first, rest = divmod(centre - size, 2 * size)
        reach = 1 if mode == "bicubic" else 0
        return range(first - reach, first + 2 + reach) if rest else range(first, first + 1)

    return reads
