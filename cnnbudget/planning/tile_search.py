"""Search over depth-first execution: the split, the grid and the variant with the least peak, and what each peak costs."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING

import numpy as np
from attrs import field, frozen

from cnnbudget.checks import exact_int, one_of
from cnnbudget.errors import InvalidTypeError, InvalidValueError, shorten
from cnnbudget.planning.lines import needed_positions, row_counts
from cnnbudget.planning.plan import LARGEST_SIZE, Clock, Plan
from cnnbudget.planning.tiles import VARIANTS, SlidingChain, TileCost, check_split, tile_bounds, tile_cost

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import SupportsIndex

    from numpy.typing import NDArray

    from cnnbudget.planning.plan import Progress

    Ints = NDArray[np.int64]

__all__ = ["TilePlan", "plan_tiles", "tile_floor", "tile_frontier"]


@frozen
class TilePlan(Plan):
    """The way to run a chain with the least peak; the value is the peak in bytes.

    Optimal means: of all splits, grids and variants that were allowed, within the allowed work.

    Args:
        cost: The split, the grid, the variant, and their work.
        floor_bytes: No way to run the chain that writes the output of the layers before a split whole, and the layers after it
            one by one, needs less, whatever it recomputes: see :func:`tile_floor`.
    """

    cost: TileCost
    floor_bytes: int


@frozen
class _Part:
    """What tiles of one axis need, for every number of tiles: rows of extents, none of which another one covers."""

    tiles: tuple[int, ...]
    extents: Ints = field(repr=False)  # rows of all numbers of tiles, one below the other; a column per value
    starts: tuple[int, ...] = field(repr=False)  # the first row of each number of tiles
    sums: Ints = field(repr=False)  # a row per number of tiles: positions of each value, over all its tiles


def _part(chain: SlidingChain, split: int, axis: int, tiles: Sequence[int]) -> _Part:
    size = chain.sizes[split][axis]
    bounds = [tile_bounds(size, number) for number in tiles]
    all_tiles = np.array([tile for cut in bounds for tile in cut], dtype=np.int64)
    low = np.zeros((split + 1, len(all_tiles)), dtype=np.int64)
    high = np.zeros_like(low)
    low[split], high[split] = all_tiles.T
    for number in range(split - 1, -1, -1):
        layer = chain.layers[number]
        window = layer.axes[axis]
        first, end = low[number + 1], high[number + 1]
        from_, to = first * window.stride - window.before, (end - 1) * window.stride - window.before + window.window
        from_, to = np.maximum(from_, 0), np.minimum(to, window.size)
        _cover(low, high, number, np.where(end > first, from_, 0), np.where(end > first, to, 0))
        if layer.adds is not None:
            _cover(low, high, layer.adds, first, end)
    extents = (high - low).T
    rows, starts, sums, begin, count = [], [], [], 0, 0
    for cut in bounds:
        mine = extents[begin : begin + len(cut)]
        begin += len(cut)
        most = mine.max(axis=0)
        covering = (mine == most).all(axis=1)
        kept = most[None] if covering.any() else np.unique(mine, axis=0)
        rows.append(kept)
        starts.append(count)
        count += len(kept)
        sums.append(mine.sum(axis=0))
    return _Part(tuple(tiles), np.concatenate(rows), tuple(starts), np.array(sums))


def _cover(low: Ints, high: Ints, value: int, first: Ints, end: Ints) -> None:
    """Widens what is needed of a value; an interval may be empty."""
    some = end > first
    had = high[value] > low[value]
    low[value] = np.where(some, np.where(had, np.minimum(low[value], first), first), low[value])
    high[value] = np.where(some, np.where(had, np.maximum(high[value], end), end), high[value])


def _live_by_layer(chain: SlidingChain, split: int) -> tuple[Ints, list[int]]:
    """Which values are alive while each layer of the first ones runs on a tile, and which layers overwrite their input."""
    held = np.zeros((split + 1, split), dtype=np.int64)
    for number in range(split):
        for value in range(1, number + 1):
            held[value, number] = chain.last_readers[value] >= number
        held[number + 1, number] = number < split - 1
    return held, [number for number in range(1, split - 1) if chain.overwrites(number)]


def _grids(chain: SlidingChain, split: int, most_tiles: int | None, axis: int) -> list[int]:
    size = chain.sizes[split][axis]
    return list(range(1, min(size, most_tiles or size) + 1))


def _tile_costs(chain: SlidingChain, split: int, most_tiles: int | None) -> Iterator[TileCost]:
    """The costs of all grids at a split, in tiles. Same numbers as :func:`tile_cost`, many at a time."""
    rank = len(chain.sizes[split])
    parts = [_part(chain, split, axis, _grids(chain, split, most_tiles, axis)) for axis in range(rank)]
    last = parts[-1]
    bytes_ = np.array(chain.position_bytes[: split + 1], dtype=np.int64)
    work = np.array([0] + [layer.macs for layer in chain.layers[:split]], dtype=np.int64)
    held, overwriting = _live_by_layer(chain, split)
    resident = chain.value_bytes(split) + chain.value_bytes(0)
    suffix = chain.suffix_bytes(split)
    rest = _rest_macs(chain, split)
    ends = [[*part.starts[1:], len(part.extents)] for part in parts]
    for numbers in product(*(range(len(part.tiles)) for part in parts[:-1])):
        peaks = np.zeros(len(last.extents), dtype=np.int64)
        choices = [range(part.starts[n], end[n]) for part, end, n in zip(parts, ends, numbers, strict=False)]
        for rows in product(*choices):
            outer = bytes_.copy()
            for part, row in zip(parts, rows, strict=False):
                outer *= part.extents[row]
            block = last.extents * outer
            live = block @ held
            for number in overwriting:
                live[:, number] -= np.minimum(block[:, number], block[:, number + 1])
            np.maximum(peaks, live.max(axis=1), out=peaks)
        peaks = np.maximum.reduceat(peaks, last.starts) + resident
        outer = work.copy()
        for part, number in zip(parts, numbers, strict=False):
            outer *= part.sums[number]
        macs = last.sums @ outer
        grid = tuple(part.tiles[number] for part, number in zip(parts, numbers, strict=False))
        for tiles, peak, done in zip(last.tiles, peaks.tolist(), macs.tolist(), strict=True):
            yield TileCost(max(peak, suffix), done + rest, done + rest - chain.macs, split, (*grid, tiles), "tiles")


def _line_costs(chain: SlidingChain, split: int, most_tiles: int | None) -> Iterator[TileCost]:
    """The same in lines: rows along the first axis, strips along the others."""
    rank = len(chain.sizes[split])
    rows = row_counts(chain, split)
    counts = np.array(rows.counts, dtype=np.int64)
    bytes_ = np.array(chain.position_bytes[:split], dtype=np.int64)
    resident = chain.value_bytes(split) + chain.value_bytes(0)
    suffix = chain.suffix_bytes(split)
    rest = _rest_macs(chain, split)
    parts = [_part(chain, split, axis, _grids(chain, split, most_tiles, axis)) for axis in range(1, rank)]
    ends = [[*part.starts[1:], len(part.extents)] for part in parts]
    for numbers in product(*(range(len(part.tiles)) for part in parts)):
        peak = 0
        choices = [range(part.starts[n], end[n]) for part, end, n in zip(parts, ends, numbers, strict=True)]
        for chosen in product(*choices):
            row_bytes = bytes_.copy()
            for part, row in zip(parts, chosen, strict=True):
                row_bytes *= part.extents[row][:split]
            peak = max(peak, int((counts @ row_bytes).max()))
        macs = rest
        for number in range(split):
            strips = prod(int(part.sums[at][number + 1]) for part, at in zip(parts, numbers, strict=True))
            macs += rows.made[number + 1] * strips * chain.layers[number].macs
        grid = (1, *(part.tiles[number] for part, number in zip(parts, numbers, strict=True)))
        yield TileCost(max(peak + resident, suffix), macs, macs - chain.macs, split, grid, "lines")


def _rest_macs(chain: SlidingChain, split: int) -> int:
    return sum(prod(layer.size) * layer.macs for layer in chain.layers[split:])


def tile_floor(chain: SlidingChain) -> int:
    """A bound on every way to run a chain depth-first up to a split, with tiles or lines of any shape.

    Before the split: the output of the split, whole, and for some layer all positions that one of its output positions reads,
    and that position. After it: each layer as a whole. The least over all splits.

    Args:
        chain: The layers.

    Returns:
        Bytes.

    Example:
        >>> from cnnbudget.planning.tiles import Axis, Sliding
        >>> layer = Sliding([Axis(8, kernel=3, before=1, after=1)] * 2, output_bytes=4, macs=36)
        >>> tile_floor(SlidingChain([layer] * 3))
        296
    """
    _check_chain(chain)
    return min(_floor(chain, split) for split in chain.splits)


def _floor(chain: SlidingChain, split: int) -> int:
    least = 0
    needed = [needed_positions(chain, split, axis)[0] for axis in range(len(chain.sizes[0]))]
    for number in range(split):
        layer = chain.layers[number]
        made = [positions[number + 1] for positions in needed]
        if not all(made):  # everything after it reads padding alone
            continue
        taps = [
            max(len(axis.touched(at)) for at in positions) for axis, positions in zip(layer.axes, made, strict=True)
        ]
        read = prod(taps) * chain.position_bytes[number] if number > 0 else 0
        written = chain.position_bytes[number + 1] if number < split - 1 else 0
        least = max(least, max(read, written) if layer.in_place else read + written)
    if split:
        least += chain.value_bytes(split) + chain.value_bytes(0)
    return max(least, chain.suffix_bytes(split))


def _check_chain(chain: SlidingChain) -> None:
    if not isinstance(chain, SlidingChain):
        raise InvalidTypeError(
            "chain must be a SlidingChain", got=shorten(chain), expected="SlidingChain([Sliding(...)])"
        )


def _costs_at(chain: SlidingChain, split: int, variants: Sequence[str], most_tiles: int | None) -> Iterator[TileCost]:
    if split == 0:
        yield tile_cost(chain, 0, (1,) * len(chain.sizes[0]))
        return
    if "tiles" in variants:
        yield from _tile_costs(chain, split, most_tiles)
    if "lines" in variants:
        yield from _line_costs(chain, split, most_tiles)


def _options(chain: SlidingChain, variants: Sequence[str], most_tiles: SupportsIndex | None) -> int | None:
    _check_chain(chain)
    if isinstance(variants, str) or not variants:
        raise InvalidValueError("variants must be some words", got=shorten(variants), expected="('tiles', 'lines')")
    for word in variants:
        one_of(word, VARIANTS, "variant")
    return None if most_tiles is None else exact_int(most_tiles, "most_tiles")


def plan_tiles(
    chain: SlidingChain,
    *,
    most_extra_macs: SupportsIndex | None = None,
    variants: Sequence[str] = VARIANTS,
    most_tiles: SupportsIndex | None = None,
    time_limit: float | None = None,
    progress: Progress | None = None,
) -> TilePlan:
    """Finds the split, the grid and the variant with the least peak; among equal peaks, the least work.

    All are tried, but for splits whose bound is no better than what was found. Layer by layer is always among them.

    Args:
        chain: The layers.
        most_extra_macs: How much work may be added; any, unless told.
        variants: ``"tiles"``, ``"lines"``, or both.
        most_tiles: The most tiles along an axis; as many as positions, unless told.
        time_limit: Seconds; then the best so far is returned, with the floor as its bound.
        progress: Is called with value and bound when one of them improves.

    Returns:
        The plan.

    Example:
        >>> from cnnbudget.planning.tiles import Axis, Sliding
        >>> layer = Sliding([Axis(8, kernel=3, before=1, after=1)] * 2, output_bytes=4, macs=36)
        >>> plan = plan_tiles(SlidingChain([layer] * 3), most_extra_macs=0)
        >>> plan.value, plan.cost.variant, plan.optimal, plan.floor_bytes
        (448, 'lines', True, 296)
    """
    clock = Clock(time_limit)
    tiles = _options(chain, variants, most_tiles)
    most = LARGEST_SIZE if most_extra_macs is None else exact_int(most_extra_macs, "most_extra_macs", 0, LARGEST_SIZE)
    floors = {split: _floor(chain, split) for split in chain.splits}
    floor = min(floors.values())
    best = tile_cost(chain, 0, (1,) * len(chain.sizes[0]))
    tell = progress or (lambda value, bound: None)  # noqa: ARG005  # nobody listens
    tell(best.peak_bytes, floor)
    complete = True
    for split in sorted(chain.splits, key=lambda split: (floors[split], split)):
        if floors[split] > best.peak_bytes or not complete:
            break
        had = best.peak_bytes
        for cost in _costs_at(chain, split, variants, tiles):
            if cost.extra_macs <= most and _rank(cost) < _rank(best):
                best = cost
            if clock.over:
                complete = False
                break
        if best.peak_bytes < had:
            tell(best.peak_bytes, floor)
    bound = best.peak_bytes if complete else floor
    tell(best.peak_bytes, bound)
    return TilePlan(best.peak_bytes, bound, "all splits and grids" if complete else "some splits", best, floor)


def _rank(cost: TileCost) -> tuple[int, int, int, int]:
    return cost.peak_bytes, cost.macs, cost.split, prod(cost.grid)


def tile_frontier(
    chain: SlidingChain,
    *,
    variants: Sequence[str] = VARIANTS,
    most_tiles: SupportsIndex | None = None,
    split: SupportsIndex | None = None,
) -> tuple[TileCost, ...]:
    """All ways to run a chain that no other beats in both peak and work.

    Args:
        chain: The layers.
        variants: ``"tiles"``, ``"lines"``, or both.
        most_tiles: The most tiles along an axis; as many as positions, unless told.
        split: The only split to look at; one of ``chain.splits``. All, unless told.

    Returns:
        The costs, from the least peak to the least work.

    Example:
        >>> from cnnbudget.planning.tiles import Axis, Sliding
        >>> layer = Sliding([Axis(8, kernel=3, before=1, after=1)] * 2, output_bytes=4, macs=36)
        >>> costs = tile_frontier(SlidingChain([layer] * 3), variants=["tiles"])
        >>> [(cost.peak_bytes, cost.grid) for cost in costs]
        [(392, (7, 7)), (424, (4, 7)), (436, (2, 7)), (480, (2, 4)), (500, (2, 2)), (512, (1, 1))]
    """
    tiles = _options(chain, variants, most_tiles)
    floors = {at: _floor(chain, at) for at in (chain.splits if split is None else (check_split(chain, split),))}
    found: list[TileCost] = []
    for at in sorted(floors, key=lambda at: (floors[at], at)):
        work = _least_macs(chain, at)
        if any(cost.peak_bytes <= floors[at] and cost.macs <= work for cost in found):
            continue  # nothing there can be better
        least: dict[int, TileCost] = {}
        for cost in _costs_at(chain, at, variants, tiles):
            if cost.peak_bytes not in least or _rank(cost) < _rank(least[cost.peak_bytes]):
                least[cost.peak_bytes] = cost
        merged, found = sorted([*found, *least.values()], key=_rank), []
        for cost in merged:
            if not found or cost.macs < found[-1].macs:
                found.append(cost)
    return tuple(found)


def _least_macs(chain: SlidingChain, split: int) -> int:
    """The work if every position that is read on the way to a split is made once, whatever the variant."""
    needed = [needed_positions(chain, split, axis)[0] for axis in range(len(chain.sizes[0]))]
    made = [prod(len(positions[number + 1]) for positions in needed) for number in range(split)]
    work = sum(count * layer.macs for count, layer in zip(made, chain.layers, strict=False))
    return work + _rest_macs(chain, split)
