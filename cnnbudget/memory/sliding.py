"""The beginning of a network as a chain of windows: layers whose output at a position depends on a window of the value before.

The planners of tiles, lines and rows know such chains. A chain begins at the network's input and goes on as long as every node
slides over the value before it, and perhaps adds an older one. It ends where a value goes two ways that do not meet again in
such a sum, and where a layer needs all positions at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from cnnbudget.analysis.visitor import Use, Visitor, missing_rule, visits
from cnnbudget.analysis.walk import walk
from cnnbudget.dtypes import Role
from cnnbudget.errors import InvalidValueError, UnknownNameError, did_you_mean, shorten
from cnnbudget.graph.shapes import place_of
from cnnbudget.layers.activation import LogSoftmax, Softmax
from cnnbudget.layers.base import ElementwiseLayer
from cnnbudget.layers.conv import Conv, DepthwiseConv
from cnnbudget.layers.local import LocallyConnected, TableConv
from cnnbudget.layers.merge import Add, Maximum, Multiply
from cnnbudget.layers.norm import BatchNorm, GroupNorm, InstanceNorm, LayerNorm
from cnnbudget.layers.pool import MaxPool, WindowPool
from cnnbudget.layers.rearrange import ChannelShuffle
from cnnbudget.planning.tiles import Axis, Sliding, SlidingChain
from cnnbudget.tensors import axis_in
from cnnbudget.windows import effective_kernel, per_axis, resolve_padding

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cnnbudget.analysis.costs import CostTable, NodeCost
    from cnnbudget.analysis.storage import Sharing
    from cnnbudget.dtypes import Precision
    from cnnbudget.graph.nodes import Input
    from cnnbudget.tensors import TensorSpec

__all__ = ["SlidingPrefix", "WindowVisitor", "sliding_prefix"]

Windows = tuple[Axis, ...]


class WindowVisitor(Visitor[Windows | None]):
    """Which window does a layer read along each spatial axis, in inference? ``None`` where it does not slide.

    Example:
        >>> from cnnbudget import Conv, Flatten, Net, walk
        >>> net = Net.input(3, 8, 9).then(Conv(4, 3, stride=2, padding="same"), Flatten())
        >>> found = walk(net.network, WindowVisitor())
        >>> found["conv"][1], found["flatten"]
        (Axis(size=9, kernel=3, stride=2, before=1, after=1, dilation=1), None)
    """

    def start(self, source: Input) -> None:
        """Answers nothing for an input."""

    def visit(self, use: Use[Windows | None]) -> Windows | None:
        """Answers that a layer does not slide."""
        return None

    @visits(ElementwiseLayer, ChannelShuffle)
    def pointwise(self, use: Use[Windows | None]) -> Windows | None:
        """Every position reads itself."""
        return tuple([Axis(size) for size in use.output.spatial]) or None

    @visits(Add, Maximum, Multiply)
    def merge(self, use: Use[Windows | None]) -> Windows | None:
        """Every position reads itself in all inputs, if they have one size."""
        return self.pointwise(use) if len({value.shape for value in use.inputs}) == 1 else None

    @visits(GroupNorm)
    def whole_maps(self, use: Use[Windows | None]) -> None:
        """Statistics of whole maps."""

    @visits(BatchNorm, InstanceNorm)
    def tracking(self, use: Use[Windows | None]) -> Windows | None:
        """Pointwise with running statistics."""
        layer: Any = use.layer
        return self.pointwise(use) if layer.track_running_stats else None

    @visits(Softmax, LogSoftmax)
    def along_axis(self, use: Use[Windows | None]) -> Windows | None:
        """Pointwise along the channels."""
        layer: Any = use.layer
        return self.pointwise(use) if axis_in(layer.axis, use.output.shape, "axis") == 0 else None

    @visits(LayerNorm)
    def layer_norm(self, use: Use[Windows | None]) -> Windows | None:
        """Likewise."""
        layer: Any = use.layer
        axes = layer.axes if isinstance(layer.axes, tuple) else (layer.axes,)
        normalised = {axis_in(axis, use.output.shape, "LayerNorm.axes") for axis in axes}
        return self.pointwise(use) if normalised == {0} else None

    @visits(Conv)
    def conv(self, use: Use[Windows | None]) -> Windows | None:
        """A window; what other paddings than zeros are made of would be read too."""
        layer: Any = use.layer
        return _windows(use, layer.dilation) if layer.padding_mode == "zeros" else None

    @visits(DepthwiseConv, MaxPool)
    def dilated_window(self, use: Use[Windows | None]) -> Windows:
        """A window, with gaps between its positions."""
        layer: Any = use.layer
        return _windows(use, layer.dilation)

    @visits(WindowPool, LocallyConnected, TableConv)
    def window(self, use: Use[Windows | None]) -> Windows:
        """A window."""
        return _windows(use, 1)


def _windows(use: Use[Windows | None], dilation: Any) -> Windows:
    layer: Any = use.layer
    sizes, made = use.inputs[0].spatial, use.output.spatial
    stride = layer.kernel if layer.stride is None else layer.stride
    settings = [per_axis(value, len(sizes), "") for value in (layer.kernel, stride, layer.padding, dilation)]
    axes = []
    for size, output, kernel, step, padding, gap in zip(sizes, made, *settings, strict=True):
        window = effective_kernel(kernel, gap)
        before = resolve_padding(padding, size, window, step)[0]
        after = max(0, (output - 1) * step + window - before - size)  # what the last window reaches; ceil mode included
        axes.append(Axis(size, kernel=kernel, stride=step, before=before, after=after, dilation=gap))
    return tuple(axes)


@frozen
class SlidingPrefix:
    """The beginning of a network, as a chain of windows.

    Args:
        chain: The chain, in bytes of one sample.
        layers: The node of each of its layers.
        numbers: The number of every value in the chain: 0 is the network's input, views count as what they look at.
        end: The position of the first node after it.
    """

    chain: SlidingChain
    layers: tuple[NodeCost, ...] = field(repr=False)
    numbers: Mapping[str, int] = field(repr=False)
    end: int

    def name(self, split: int) -> str | None:
        """The node whose value is number ``split``; ``None`` for the input."""
        return self.layers[split - 1].name if split else None

    def split_at(self, name: str, what: str) -> int:
        """Finds how many layers run up to a node's value.

        Args:
            name: The node.
            what: How to call the setting in an error.

        Returns:
            The number.

        Raises:
            UnknownNameError: If the value is not in the chain.
            InvalidValueError: If a later layer reads an older one.
        """
        possible = [str(self.name(split)) for split in self.chain.splits if split]
        if name not in self.numbers or not self.numbers[name]:
            raise UnknownNameError(
                f"{what} is no node of the chain of windows at the network's beginning",
                got=shorten(name),
                expected=f"one of {', '.join(possible)}" if len(possible) < 9 else None,
                hint=did_you_mean(name, possible),
            )
        split = self.numbers[name]
        if split not in self.chain.splits:
            raise InvalidValueError(
                f"{what} lies between a value and its last reader",
                got=shorten(name),
                expected=f"one of {', '.join(possible)}",
            )
        return split


def sliding_prefix(
    table: CostTable, precision: Precision, sharing: Sharing, *, what: str, input_outside: bool = False
) -> SlidingPrefix:
    """Finds the longest chain of windows at the beginning of a network.

    Args:
        table: Costs of the network.
        precision: How wide its values are.
        sharing: Who shares bytes in an inference.
        what: Who asks, for errors.
        input_outside: Whether the input takes no memory.

    Returns:
        The chain.

    Raises:
        InvalidValueError: If there is no such chain, or a position has no whole bytes.

    Example:
        >>> from cnnbudget import FP32, zoo
        >>> from cnnbudget.analysis.storage import sharing
        >>> table = zoo.resnet18().costs()
        >>> found = sliding_prefix(table, FP32, sharing(table, training=False), what="Streamed")
        >>> found.layers[-1].name, len(found.layers)  # the shortcut of layer2 reads what its body reads
        ('layer1.1/relu2', 18)
    """
    sources = table.network.inputs
    if precision.autocast:
        raise InvalidValueError(
            f"{what} does not go with mixed precision, where operations work on copies",
            got=str(precision),
            expected="one width for all values, for example FP16 or INT8",
        )
    if len(sources) != 1 or not sources[0].spec.spatial:
        raise InvalidValueError(
            f"{what} takes a network with one input that has spatial axes",
            got=", ".join(f"{source.name} {source.shape}" for source in sources),
            expected="an input (channels, *spatial)",
        )
    numbers, layers, positions, end = _follow(table, sharing)
    count, end = _close(table, numbers, positions, end)
    if not count:
        first = table.nodes[0]
        raise InvalidValueError(
            f"{what} finds no chain of windows at the network's beginning",
            where=place_of(first.node, first.inputs),
            got=f"{type(first.node.layer).__name__}, and {len(table) - 1} more",
            expected="convolutions, pooling, pointwise layers one after another, the input read by nobody else",
        )
    width = _position_bytes(precision, what)
    chain = SlidingChain(
        [
            Sliding(axes, output_bytes=width(cost.name, cost.output), macs=_macs(cost), adds=adds, in_place=in_place)
            for cost, axes, adds, in_place in layers[:count]
        ],
        input_bytes=0 if input_outside else width(sources[0].name, sources[0].spec),
    )
    known = {name: number for name, number in numbers.items() if number <= count}
    return SlidingPrefix(chain, tuple([layer[0] for layer in layers[:count]]), known, end)


_Layer = tuple["NodeCost", Windows, int | None, bool]


def _follow(table: CostTable, sharing: Sharing) -> tuple[dict[str, int], list[_Layer], list[int], int]:
    """Follows the chain from the input: numbers of values, layers, their positions, and the position where it stops."""
    windows = walk(table.network, WindowVisitor())
    numbers = {table.network.inputs[0].name: 0}
    layers: list[_Layer] = []
    positions: list[int] = []
    for position, cost in enumerate(table.nodes):
        read = [numbers.get(name) for name in cost.node.inputs]
        last = len(layers)
        alias, axes = sharing.aliases.get(cost.name), windows[cost.name]
        in_place = alias is not None and alias.in_place
        source = read[0] if alias is None else read[alias.input]
        if source is not None and alias is not None and not in_place and cost.output.shape == cost.inputs[0].shape:
            numbers[cost.name] = source  # a view
            continue
        if axes is None or None in read or last not in read or len(read) > 2:
            return numbers, layers, positions, position
        others = list(read)
        others.remove(last)
        adds = others[0] if others else None
        if in_place and (source != last or adds == last):  # it overwrites another value than that of the chain
            return numbers, layers, positions, position
        layers.append((cost, axes, adds, in_place))
        positions.append(position)
        numbers[cost.name] = last + 1
    return numbers, layers, positions, len(table)


def _close(table: CostTable, numbers: Mapping[str, int], positions: list[int], stop: int) -> tuple[int, int]:
    """Shortens the chain until no value in it but the last is read after it: the number of layers, and where they end."""
    last_read = [-1] * (len(positions) + 1)
    for position, cost in enumerate(table.nodes):
        for name in cost.node.inputs:
            if name in numbers:
                last_read[numbers[name]] = position
    for name in table.network.outputs:
        if name in numbers:
            last_read[numbers[name]] = len(table)
    ends = [*positions, stop]
    most, found = -1, (0, ends[0])
    for count, end in enumerate(ends):
        if most < end:
            found = (count, end)
        most = max(most, last_read[count])
    return found


def _position_bytes(precision: Precision, what: str) -> Callable[[str, TensorSpec], int]:
    def width(name: str, spec: TensorSpec) -> int:
        bits = spec.channels * (spec.dtype or precision[Role.ACTIVATION]).bits
        if bits % 8:
            raise InvalidValueError(
                f"{what} needs whole bytes at every position", where=f"value {name!r}", got=f"{bits} bits"
            )
        return bits // 8

    return width


def _macs(cost: NodeCost) -> int:
    """Work of one position of a node's output."""
    if cost.macs is None:
        raise missing_rule("macs", cost.node, cost.inputs)
    positions = 1
    for size in cost.output.spatial:
        positions *= size
    return cost.macs // positions
