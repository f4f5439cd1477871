"""Depth-first execution of the first layers of a chain of windows, tile by tile or row by row: exact bytes and work.

Per axis, the outputs ``a`` to ``b - 1`` of a window span the inputs from ``a * stride - before`` to
``(b - 1) * stride - before + window - 1``, cut to what exists. Two ways to use that are known here. *Tiles* of the output of the
first layers are made one after another, and what tiles share is made again for each (MCUNetV2: Lin, Chen, Cai, Gan and Han,
"Memory-efficient patch-based inference for tiny deep learning", 2021). Or the output is made row by row, and every layer keeps
the rows that it reads again, its *lines* (fused layers: Alwani, Chen, Ferdman and Milder, "Fused-layer CNN accelerators", 2016).
"""

from __future__ import annotations

from functools import cached_property
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from cnnbudget.checks import exact_int, int_from, is_bool, is_int, one_of
from cnnbudget.errors import InvalidTypeError, InvalidValueError, ShapeError, shorten
from cnnbudget.planning.lines import row_counts
from cnnbudget.planning.plan import LARGEST_SIZE
from cnnbudget.planning.stages import are_all, tuple_from
from cnnbudget.windows import effective_kernel, output_size

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import SupportsIndex


__all__ = [
    "VARIANTS",
    "Axis",
    "Sliding",
    "SlidingChain",
    "TileCost",
    "check_split",
    "needed_intervals",
    "tile_bounds",
    "tile_cost",
]

VARIANTS = ("tiles", "lines")
_SIZE: dict[str, Any] = {"converter": int_from, "validator": is_int(0, LARGEST_SIZE), "kw_only": True}
_COUNT: dict[str, Any] = {"converter": int_from, "validator": is_int(), "kw_only": True}
_SIDE: dict[str, Any] = {"converter": int_from, "validator": is_int(0), "kw_only": True}

Interval = tuple[int, int]
"""Half-open."""


@frozen
class Axis:
    """A window along one axis.

    Args:
        size: Positions of the input.
        kernel: Positions that the window reads.
        stride: Its step.
        before: Padding before the input.
        after: Padding after it; in ceil mode, enough for the last window.
        dilation: Distance between the positions that are read.

    Example:
        >>> Axis(7, kernel=3, stride=2, before=1, after=1).needed(1, 3)
        (1, 6)
    """

    size: int = field(converter=int_from, validator=is_int())
    kernel: int = field(default=1, **_COUNT)
    stride: int = field(default=1, **_COUNT)
    before: int = field(default=0, **_SIDE)
    after: int = field(default=0, **_SIDE)
    dilation: int = field(default=1, **_COUNT)

    def __attrs_post_init__(self) -> None:
        if self.output < 1:
            raise ShapeError(
                "Axis: the window is larger than the padded input",
                got=f"window {self.window} on {self.size} + {self.before + self.after} of padding",
                expected=f"a window of at most {self.size + self.before + self.after}",
            )

    @property
    def window(self) -> int:
        """Positions that the window spans."""
        return effective_kernel(self.kernel, self.dilation)

    @property
    def output(self) -> int:
        """Positions of the output."""
        return output_size(self.size, self.window, self.stride, self.before, self.after)

    def needed(self, first: int, end: int) -> Interval:
        """The inputs that some outputs span; padding is not among them.

        Args:
            first: The first output.
            end: The one after the last.

        Returns:
            The first input, and the one after the last; twice the same if all is padding.
        """
        if end <= first:
            return 0, 0
        low = max(first * self.stride - self.before, 0)
        high = min((end - 1) * self.stride - self.before + self.window, self.size)
        return (low, high) if low < high else (0, 0)

    def touched(self, output: int) -> list[int]:
        """The inputs that one output reads, position by position."""
        start = output * self.stride - self.before
        if self.kernel == 1:  # most layers of a network
            return [start] if 0 <= start < self.size else []
        taps = range(start, start + self.window, self.dilation)
        return [position for position in taps if 0 <= position < self.size]


@frozen
class Sliding:
    """A layer whose output at a position depends on a window of its input: convolution, pooling, anything pointwise.

    Args:
        axes: The window along each spatial axis.
        output_bytes: Bytes of one output position, all channels.
        macs: Work for one output position.
        adds: Number of a value that is read at the same position, too: 0 is the chain's input, ``i`` the output of layer
            ``i - 1``. A residual connection.
        in_place: Whether the output may overwrite the input: anything pointwise, depthwise convolutions up to a buffer of one
            channel, which is not counted.

    Example:
        >>> Sliding([Axis(8, kernel=3)], output_bytes=4).size
        (6,)
    """

    axes: tuple[Axis, ...] = field(converter=tuple_from, validator=are_all(Axis))
    output_bytes: int = field(**_SIZE)
    macs: int = field(default=0, **_SIZE)
    adds: int | None = field(default=None, kw_only=True)
    in_place: bool = field(default=False, validator=is_bool, kw_only=True)

    @property
    def size(self) -> tuple[int, ...]:
        """Positions of the output along each axis."""
        return tuple(axis.output for axis in self.axes)

    @property
    def pointwise(self) -> bool:
        """Whether each output position reads the one input position at the same place."""
        return all(axis.kernel == axis.stride == 1 and axis.before == axis.after == 0 for axis in self.axes)


@frozen
class SlidingChain:
    """A chain of such layers. Value 0 is its input; value ``i + 1`` the output of layer ``i``.

    *Counts*: the values. *Does not count*: parameters; the input, unless it is held.

    Args:
        layers: In order.
        input_bytes: Bytes of one position of the input, all channels. The input is in memory as a whole as long as a layer
            reads it. With 0 it is outside: a camera, a flash memory.

    Example:
        >>> layer = Sliding([Axis(8, kernel=3, before=1, after=1)] * 2, output_bytes=4, macs=36)
        >>> chain = SlidingChain([layer] * 3)
        >>> tile_cost(chain, 2, (2, 2))
        TileCost(peak_bytes=512, macs=8208, extra_macs=1296, split=2, grid=(2, 2), variant='tiles')
    """

    layers: tuple[Sliding, ...] = field(converter=tuple_from, validator=are_all(Sliding))
    input_bytes: int = field(default=0, **_SIZE)

    def __attrs_post_init__(self) -> None:
        for number, layer in enumerate(self.layers):
            where = f"layer {number}"
            size = tuple(axis.size for axis in layer.axes)
            if number and size != self.layers[number - 1].size:
                raise ShapeError(
                    "a layer does not fit the one before", where=where, got=str(size), expected=str(self.sizes[number])
                )
            if layer.adds is not None:
                source = exact_int(layer.adds, f"layer {number}: adds", 0, number)
                if self.sizes[source] != layer.size:
                    raise ShapeError(
                        f"a layer adds value {source}, which has another size",
                        where=where,
                        got=str(self.sizes[source]),
                        expected=str(layer.size),
                    )
        total = sum(prod(size) * bytes_ for size, bytes_ in zip(self.sizes, self.position_bytes, strict=True))
        if max(total, self.macs * max(map(prod, self.sizes))) >= 2**61:
            raise InvalidValueError("the bytes or the work of a chain are beyond 2**61", expected="less in all")

    @cached_property
    def sizes(self) -> tuple[tuple[int, ...], ...]:
        """Positions of each value."""
        return (tuple(axis.size for axis in self.layers[0].axes), *(layer.size for layer in self.layers))

    @cached_property
    def position_bytes(self) -> tuple[int, ...]:
        """Bytes of one position of each value."""
        return (self.input_bytes, *(layer.output_bytes for layer in self.layers))

    @cached_property
    def last_readers(self) -> tuple[int, ...]:
        """The last layer that reads each value; the output of the chain is read by nobody: the number of layers."""
        last = list(range(len(self.layers) + 1))
        for number, layer in enumerate(self.layers):
            if layer.adds is not None:
                last[layer.adds] = max(last[layer.adds], number)
        return tuple(last)

    @cached_property
    def splits(self) -> tuple[int, ...]:
        """How many layers may be run depth-first: after none of these is anything but the last output read later."""
        count = len(self.layers)
        return tuple(s for s in range(count + 1) if all(self.last_readers[value] < s for value in range(s)))

    @cached_property
    def macs(self) -> int:
        """Work of one run, layer by layer."""
        return sum(prod(layer.size) * layer.macs for layer in self.layers)

    def value_bytes(self, value: int) -> int:
        """Bytes of a whole value."""
        return prod(self.sizes[value]) * self.position_bytes[value]

    def live_bytes(self, layer: int, bytes_: Sequence[int], *, first: int = 0, output: bool = True) -> int:
        """Bytes alive while a layer runs.

        Args:
            layer: Its number.
            bytes_: Bytes of each value, or of the part of it that is there.
            first: The first value that may be alive.
            output: Whether the layer's output has a place of its own; if not, it goes where it is counted already.

        Returns:
            The sum; in place, input and output count as the larger.
        """
        live = sum(bytes_[value] for value in range(first, layer + 1) if self.last_readers[value] >= layer)
        if output:
            live += bytes_[layer + 1]
            if self.overwrites(layer):
                live -= min(bytes_[layer], bytes_[layer + 1])
        return live

    def overwrites(self, layer: int) -> bool:
        """Whether a layer's output takes its input's place: nobody reads that later, and it is not what the layer adds."""
        found = self.layers[layer]
        return found.in_place and self.last_readers[layer] == layer and found.adds != layer

    def suffix_bytes(self, split: int) -> int:
        """Peak of the layers from a split on, each run as a whole."""
        bytes_ = [self.value_bytes(value) for value in range(len(self.layers) + 1)]
        live = [self.live_bytes(layer, bytes_, first=split) for layer in range(split, len(self.layers))]
        return max(live, default=bytes_[-1])


@frozen
class TileCost:
    """What a way to run a chain needs.

    Args:
        peak_bytes: The most bytes alive.
        macs: Work.
        extra_macs: How much of it is more than layer by layer. May be negative: positions that nobody reads are not made.
        split: So many layers run depth-first.
        grid: Tiles along each axis.
        variant: ``"tiles"`` or ``"lines"``; ``"layers"`` if no layer runs depth-first.
    """

    peak_bytes: int
    macs: int
    extra_macs: int
    split: int
    grid: tuple[int, ...]
    variant: str


def tile_bounds(size: int, tiles: int) -> list[Interval]:
    """Cuts an axis into tiles whose sizes differ by one at most.

    Example:
        >>> tile_bounds(7, 3)
        [(0, 2), (2, 4), (4, 7)]
    """
    return [(i * size // tiles, (i + 1) * size // tiles) for i in range(tiles)]


def check_split(chain: SlidingChain, split: SupportsIndex) -> int:
    """Checks that so many layers of a chain may run depth-first.

    Args:
        chain: The chain.
        split: How many layers.

    Returns:
        The number.

    Raises:
        InvalidValueError: If a value before the split is read after it.
    """
    if not isinstance(chain, SlidingChain):
        raise InvalidTypeError(
            "chain must be a SlidingChain", got=shorten(chain), expected="SlidingChain([Sliding(...)])"
        )
    number = exact_int(split, "split", 0, len(chain.layers))
    if number not in chain.splits:
        crossing = next(value for value in range(number) if chain.last_readers[value] >= number)
        raise InvalidValueError(
            "the chain cannot be split here",
            got=f"split {number}, but value {crossing} is read by layer {chain.last_readers[crossing]}",
            expected=f"one of {', '.join(map(str, chain.splits))}",
        )
    return number


def _check_grid(chain: SlidingChain, split: int, grid: Sequence[SupportsIndex]) -> tuple[int, ...]:
    sizes = chain.sizes[split]
    if len(grid) != len(sizes):
        raise InvalidValueError("grid must have one number per axis", got=shorten(grid), expected=f"{len(sizes)} ints")
    return tuple(exact_int(tiles, f"grid[{axis}]", 1, sizes[axis]) for axis, tiles in enumerate(grid))


def _intervals(chain: SlidingChain, split: int, axis: int, tile: Interval) -> list[Interval]:
    """The part of every value up to the split that a tile needs along an axis: from the first to the last position read."""
    needed: list[Interval] = [(0, 0)] * split + [tile]
    for number in range(split - 1, -1, -1):
        layer = chain.layers[number]
        needed[number] = _hull(needed[number], layer.axes[axis].needed(*needed[number + 1]))
        if layer.adds is not None:
            needed[layer.adds] = _hull(needed[layer.adds], needed[number + 1])
    return needed


def _hull(one: Interval, other: Interval) -> Interval:
    if one[0] >= one[1] or other[0] >= other[1]:
        return other if one[0] >= one[1] else one
    return min(one[0], other[0]), max(one[1], other[1])


def needed_intervals(
    chain: SlidingChain, split: SupportsIndex, grid: Sequence[SupportsIndex]
) -> tuple[tuple[tuple[Interval, ...], ...], ...]:
    """What every tile needs of every value, along each axis.

    Args:
        chain: The layers.
        split: So many of them run depth-first.
        grid: Tiles along each axis of the last one's output.

    Returns:
        For each axis, for each tile, the half-open interval of every value from 0 to the split.

    Example:
        >>> chain = SlidingChain([Sliding([Axis(8, kernel=3, before=1, after=1)], output_bytes=1)] * 2)
        >>> needed_intervals(chain, 2, (2,))
        ((((0, 6), (0, 5), (0, 4)), ((2, 8), (3, 8), (4, 8))),)
    """
    first = check_split(chain, split)
    tiles = _check_grid(chain, first, grid)
    return tuple(
        tuple(
            tuple(_intervals(chain, first, axis, tile)) for tile in tile_bounds(chain.sizes[first][axis], tiles[axis])
        )
        for axis in range(len(tiles))
    )


def tile_cost(
    chain: SlidingChain, split: SupportsIndex, grid: Sequence[SupportsIndex], variant: str = "tiles"
) -> TileCost:
    """Bytes and work if the first layers run depth-first, and the others layer by layer.

    The output of the first layers is in memory as a whole from the first tile on. ``"tiles"``: while a layer runs on a tile,
    the parts of its input, its output and whatever a later layer adds are there, each as one block. ``"lines"``: along the
    first axis, rows are made one by one when they are needed, and dropped after the last layer that reads them has done so; the
    grid has 1 there, and may cut other axes into strips that are run one after another.

    Args:
        chain: The layers.
        split: So many of them run depth-first; one of ``chain.splits``.
        grid: Tiles along each axis of the last one's output.
        variant: ``"tiles"`` or ``"lines"``.

    Returns:
        The cost.

    Raises:
        InvalidValueError: If the chain cannot be split there, the grid has more tiles than positions, or lines are cut.
    """
    word = one_of(variant, VARIANTS, "variant")
    first = check_split(chain, split)
    tiles = _check_grid(chain, first, grid)
    if word == "lines" and tiles[0] != 1:
        raise InvalidValueError(
            "lines are not cut along the first axis", got=f"grid {tiles}", expected=f"grid {(1, *tiles[1:])}"
        )
    suffix = chain.suffix_bytes(first)
    if first == 0:
        return TileCost(suffix, chain.macs, 0, 0, tuple(1 for _ in tiles), "layers")
    peak = 0
    macs = sum(prod(layer.size) * layer.macs for layer in chain.layers[first:])
    held = chain.value_bytes(first) + chain.value_bytes(0)
    per_axis = needed_intervals(chain, first, tiles)
    rows = row_counts(chain, first) if word == "lines" else None
    for places in product(*per_axis):
        extents = [[high - low for low, high in place] for place in places]
        if rows is not None:
            extents[0] = list(rows.made)
        positions = [prod(extent[value] for extent in extents) for value in range(first + 1)]
        macs += sum(positions[number + 1] * chain.layers[number].macs for number in range(first))
        if rows is None:
            bytes_ = [count * size for count, size in zip(positions, chain.position_bytes, strict=False)]
            live = max(chain.live_bytes(number, bytes_, first=1, output=number < first - 1) for number in range(first))
        else:
            row_bytes = [
                prod(extent[value] for extent in extents[1:]) * chain.position_bytes[value] for value in range(first)
            ]
            live = max(sum(map(_times, counts, row_bytes)) for counts in rows.counts)
        peak = max(peak, held + live)
    return TileCost(max(peak, suffix), macs, macs - chain.macs, first, tiles, word)


def _times(one: int, other: int) -> int:
    return one * other
