"""Referee of the tile planner: really runs small chains, as a whole, in tiles and in lines, and adds up the arrays it holds.

It shares no code with the planner, on purpose. Values are int64, so that equal outputs are equal; a position of ``c`` channels
has ``8 * c`` bytes. A layer that may work in place is pointwise here, and scales each channel.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from cnnbudget.planning.tiles import Axis, Sliding, SlidingChain

    Values = NDArray[np.int64]
    Position = tuple[int, ...]

__all__ = ["Run", "make_weights", "run_lines", "run_tiles", "run_whole"]


@define
class Run:
    """What a run held and did."""

    output: Values
    peak_bytes: int = 0
    macs: int = 0
    held: dict[object, int] = field(factory=dict)

    def hold(self, name: object, bytes_: int) -> None:
        """Adds an array."""
        self.held[name] = bytes_
        self.peak_bytes = max(self.peak_bytes, sum(self.held.values()))

    def drop(self, name: object) -> None:
        """Frees it."""
        del self.held[name]


def make_weights(chain: SlidingChain, seed: int) -> list[Values]:
    """Random weights, one array a layer."""
    random = np.random.default_rng(seed)
    weights = []
    channels = max(chain.input_bytes // 8, 1)
    for layer in chain.layers:
        filters = layer.output_bytes // 8
        shape: tuple[int, ...] = (filters, channels, *(axis.kernel for axis in layer.axes))
        weights.append(random.integers(-3, 4, size=(filters,) if layer.in_place else shape))
        channels = filters
    return weights


def _taps(axis: Axis, position: int) -> list[tuple[int, int]]:
    """Which kernel position reads which input position."""
    found = []
    for tap in range(axis.kernel):
        place = position * axis.stride - axis.before + tap * axis.dilation
        if 0 <= place < axis.size:
            found.append((tap, place))
    return found


def _at(position: Iterable[int]) -> Any:
    """The index of a place in an array whose last axes are spatial."""
    return (Ellipsis, *position)


def _one(
    layer: Sliding, weight: Values, read: dict[Position, Values], position: Position, added: Values | None
) -> Values:
    """One output position, all channels; fails if an input that it reads is not there."""
    if layer.in_place:
        total = weight * read[position]
    else:
        total = np.zeros(len(weight), dtype=np.int64)
        for taps in product(*(_taps(axis, place) for axis, place in zip(layer.axes, position, strict=True))):
            tap, place = zip(*taps, strict=True)
            total += weight[_at(tap)] @ read[place]
    return total if added is None else total + added


def _split(values: Values) -> dict[Position, Values]:
    return {position: values[_at(position)] for position in np.ndindex(values.shape[1:])}


def _join(values: dict[Position, Values], size: Iterable[int], channels: int) -> Values:
    joined = np.zeros((channels, *size), dtype=np.int64)
    for position, column in values.items():
        joined[_at(position)] = column
    return joined


def _bytes(values: dict[Position, Values]) -> int:
    return sum(column.nbytes for column in values.values())


def _reads(chain: SlidingChain, number: int) -> list[int]:
    adds = chain.layers[number].adds
    return [number] if adds is None else [number, adds]


def _layers_whole(
    chain: SlidingChain, weights: Sequence[Values], run: Run, values: dict[Position, Values], first: int
) -> None:
    """Runs the layers from one on, each as a whole; its input is held already unless it is the chain's."""
    store = {first: values}
    count = len(chain.layers)
    for number in range(first, count):
        layer = chain.layers[number]
        made: dict[Position, Values] = {}
        for position in np.ndindex(layer.size):
            added = None if layer.adds is None else store[layer.adds][position]
            made[position] = _one(layer, weights[number], store[number], position, added)
            run.macs += layer.macs
        dying = [
            value for value in store if not any(value in _reads(chain, later) for later in range(number + 1, count))
        ]
        if layer.in_place and number in dying and layer.adds != number and number in run.held:
            run.drop(number)  # the same bytes
            dying.remove(number)
        store[number + 1] = made
        run.hold(number + 1, _bytes(made))
        for value in dying:
            if value in run.held:
                run.drop(value)
    run.output = _join(store[count], chain.sizes[count], len(weights[-1]))


def run_whole(chain: SlidingChain, weights: Sequence[Values], image: Values) -> Run:
    """Runs every layer as a whole."""
    run = Run(image)
    if chain.input_bytes:
        run.hold(0, image.nbytes)
    _layers_whole(chain, weights, run, _split(image), 0)
    return run


def _needed(chain: SlidingChain, split: int, wanted: set[Position], *, rows: bool) -> list[set[Position]]:
    """Positions of each value that are there on the way to some outputs, found by walking back from each.

    A block has everything between the first and the last place of a window; rows are there only if they are read.
    """
    needed: list[set[Position]] = [set() for _ in range(split)] + [wanted]
    for number in range(split - 1, -1, -1):
        layer = chain.layers[number]
        for position in needed[number + 1]:
            places: list[list[int]] = []
            for axis, at in zip(layer.axes, position, strict=True):
                if rows and not places:
                    places.append([place for _, place in _taps(axis, at)])
                else:
                    start = at * axis.stride - axis.before
                    span = range(start, start + axis.dilation * (axis.kernel - 1) + 1)
                    places.append([place for place in span if 0 <= place < axis.size])
            needed[number].update(product(*places))
            if layer.adds is not None:
                needed[layer.adds].add(position)
    return needed


def _box(positions: set[Position]) -> list[Position]:
    sides = [range(min(side), max(side) + 1) for side in zip(*positions, strict=True)]
    return list(product(*sides))


def run_tiles(chain: SlidingChain, weights: Sequence[Values], image: Values, split: int, grid: Sequence[int]) -> Run:
    """Runs the first layers tile by tile, each value of a tile as one block, and the others as a whole."""
    run = Run(image)
    if chain.input_bytes:
        run.hold(0, image.nbytes)
    pixels = _split(image)
    output: dict[Position, Values] = {}
    run.hold(split, 8 * len(weights[split - 1]) * int(np.prod(chain.sizes[split])))
    sides = [
        [range(i * size // tiles, (i + 1) * size // tiles) for i in range(tiles)]
        for size, tiles in zip(chain.sizes[split], grid, strict=True)
    ]
    for tile in product(*sides):
        needed = _needed(chain, split, set(product(*tile)), rows=False)
        store: dict[int, dict[Position, Values]] = {0: pixels}
        for number in range(split):
            layer = chain.layers[number]
            made = {}
            for position in _box(needed[number + 1]):
                added = None if layer.adds is None else store[layer.adds][position]
                made[position] = _one(layer, weights[number], store[number], position, added)
                run.macs += layer.macs
            dying = [
                value for value in store if not any(value in _reads(chain, later) for later in range(number + 1, split))
            ]
            if number == split - 1:
                output.update(made)
            else:
                if layer.in_place and number > 0 and number in dying and layer.adds != number:
                    run.drop(("tile", number))  # the same bytes
                    dying.remove(number)
                    del store[number]
                store[number + 1] = made
                run.hold(("tile", number + 1), _bytes(made))
            for value in dying:
                del store[value]
                if value > 0:
                    run.drop(("tile", value))
    if chain.input_bytes:
        run.drop(0)
    _layers_whole(chain, weights, run, output, split)
    return run


def run_lines(chain: SlidingChain, weights: Sequence[Values], image: Values, split: int, grid: Sequence[int]) -> Run:
    """Runs the first layers row by row, in strips along the other axes, and the others as a whole."""
    run = Run(image)
    if chain.input_bytes:
        run.hold(0, image.nbytes)
    pixels = _split(image)
    output: dict[Position, Values] = {}
    run.hold(split, 8 * len(weights[split - 1]) * int(np.prod(chain.sizes[split])))
    sides = [
        [range(i * size // tiles, (i + 1) * size // tiles) for i in range(tiles)]
        for size, tiles in zip(chain.sizes[split][1:], grid[1:], strict=True)
    ]
    for strip in product(*sides):
        needed = _needed(chain, split, set(product(range(chain.sizes[split][0]), *strip)), rows=True)
        lines = _Lines(chain, weights, run, pixels, output, split, needed)
        for row in range(chain.sizes[split][0]):
            lines.make(split, row)
    if chain.input_bytes:
        run.drop(0)
    _layers_whole(chain, weights, run, output, split)
    return run


@define
class _Lines:
    """The rows of one strip: made when they are first read, dropped when nobody will read them again."""

    chain: SlidingChain
    weights: Sequence[Values]
    run: Run
    pixels: dict[Position, Values]
    output: dict[Position, Values]
    split: int
    needed: list[set[Position]]
    rows: dict[tuple[int, int], dict[Position, Values]] = field(factory=dict)
    made: set[tuple[int, int]] = field(factory=set)

    def reads(self, value: int, row: int) -> set[tuple[int, int]]:
        """The rows that a row is made of; those of the image are there anyway."""
        layer = self.chain.layers[value - 1]
        found = {(value - 1, place) for _, place in _taps(layer.axes[0], row)}
        if layer.adds is not None:
            found.add((layer.adds, row))
        return {(read, at) for read, at in found if read > 0}

    def wanted_again(self, value: int, row: int) -> bool:
        """Whether a row that is not made yet, and will be, reads this one."""
        for later in range(value + 1, self.split + 1):
            for at in {position[0] for position in self.needed[later]}:
                if (later, at) not in self.made and (value, row) in self.reads(later, at):
                    return True
        return False

    def make(self, value: int, row: int) -> None:
        """Makes a row, and before it whatever it reads."""
        for read, at in sorted(self.reads(value, row), key=lambda key: (-key[0], key[1])):
            if (read, at) not in self.made:
                self.make(read, at)
        number = value - 1
        layer = self.chain.layers[number]
        places = [place for place in _box(self.needed[value]) if place[0] == row]  # all rows of a strip are as wide
        columns_read = self._columns(number)
        added = None if layer.adds is None else self._columns(layer.adds)
        columns = {}
        for position in places:
            columns[position] = _one(
                layer, self.weights[number], columns_read, position, None if added is None else added[position]
            )
            self.run.macs += layer.macs
        self.made.add((value, row))
        dying = [key for key in self.rows if not self.wanted_again(*key)]
        if value == self.split:
            self.output.update(columns)
        else:
            if layer.in_place and (number, row) in dying and layer.adds != number:
                self._drop((number, row))  # the same bytes
                dying.remove((number, row))
            self.rows[value, row] = columns
            self.run.hold(("row", value, row), _bytes(columns))
        for key in dying:
            self._drop(key)

    def _drop(self, key: tuple[int, int]) -> None:
        del self.rows[key]
        self.run.drop(("row", *key))

    def _columns(self, value: int) -> dict[Position, Values]:
        if value == 0:
            return self.pixels
        return {
            position: column
            for (owner, _), row in self.rows.items()
            if owner == value
            for position, column in row.items()
        }
