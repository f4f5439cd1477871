"""Tiles and lines against small chains that are really run, in numpy, with every array counted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnbudget.planning.referee_tiles import make_weights, run_lines, run_tiles, run_whole
from cnnbudget.planning.tile_search import plan_tiles, tile_floor, tile_frontier
from cnnbudget.planning.tiles import Axis, Sliding, SlidingChain, tile_cost


@st.composite
def axes_on(draw, size):
    kernel, dilation = draw(st.sampled_from([(1, 1), (2, 1), (3, 1), (2, 2), (3, 2)]))
    window = (kernel - 1) * dilation + 1
    before, after = draw(st.integers(0, window - 1)), draw(st.integers(0, window - 1))
    if size + before + after < window:
        return Axis(size)
    axis = Axis(size, kernel=kernel, dilation=dilation, stride=draw(st.integers(1, 3)), before=before, after=after)
    # a window in the padding alone reads nothing; a block of nothing is a matter of definition
    return axis if all(axis.touched(place) for place in range(axis.output)) else Axis(size)


@st.composite
def chains(draw):
    rank = draw(st.sampled_from([1, 2, 2, 3]))
    size = tuple(draw(st.integers(2, 7 if rank < 3 else 4)) for _ in range(rank))
    channels = draw(st.integers(1, 2))
    held = draw(st.booleans())
    values, layers = [(size, channels)], []
    for number in range(draw(st.integers(1, 4))):
        if number and draw(st.booleans()):
            axes, filters, in_place = [Axis(n) for n in values[-1][0]], values[-1][1], True
        else:
            axes = [draw(axes_on(n)) for n in values[-1][0]]
            filters, in_place = draw(st.integers(1, 3)), False
        made = tuple(axis.output for axis in axes), filters
        known = [value for value, found in enumerate(values) if found == made]
        adds = draw(st.sampled_from([None, *known]))
        macs = draw(st.integers(0, 9))
        layers.append(Sliding(axes, output_bytes=8 * filters, macs=macs, adds=adds, in_place=in_place))
        values.append(made)
    return SlidingChain(layers, input_bytes=8 * channels if held else 0), channels if held else 1


def convolution(size, filters, **options):
    axes = [Axis(n, **options) for n in size]
    return Sliding(axes, output_bytes=8 * filters, macs=3)


def scale(size, filters, adds=None):
    return Sliding([Axis(n) for n in size], output_bytes=8 * filters, macs=1, in_place=True, adds=adds)


SAME = {"kernel": 3, "before": 1, "after": 1}
FIXED = [
    # a residual block, with a scale in place before and after the sum
    SlidingChain(
        [
            convolution((6, 5), 2, **SAME),
            scale((6, 5), 2),
            convolution((6, 5), 3, **SAME),
            scale((6, 5), 3),
            convolution((6, 5), 2, kernel=1),
            scale((6, 5), 2, adds=2),
            convolution((6, 5), 1, kernel=3, stride=2),
        ],
        input_bytes=8,
    ),
    # a value added to itself, in place; rows between strides that nobody reads; dilation
    SlidingChain(
        [
            convolution((9, 4), 1, kernel=1),
            scale((9, 4), 1, adds=1),
            convolution((9, 4), 2, kernel=1, stride=2),
            convolution((5, 2), 1, kernel=2, dilation=2, before=2, after=2),
        ]
    ),
    # one axis, and three
    SlidingChain([convolution((9,), 2, **SAME), scale((9,), 2), convolution((9,), 1, **SAME)]),
    SlidingChain([convolution((3, 4, 3), 1, **SAME), convolution((3, 4, 3), 1, kernel=2)]),
    # widths without a tile that covers the others: the first and the last tile reach into different paddings
    SlidingChain(
        [
            convolution((8, 8), 1, kernel=5, stride=2, before=4),
            convolution((4, 4), 1, kernel=3, before=2, after=0),
            convolution((4, 4), 1, kernel=3, before=0, after=2),
        ]
    ),
]


@pytest.mark.parametrize("chain", FIXED)
def test_fixed_chains_in_all_grids(chain):
    weights, image, whole = run_of(chain, max(chain.input_bytes // 8, 1))
    costs = {(cost.split, cost.grid, cost.variant) for cost in tile_frontier(chain)}
    for split in chain.splits[1:]:
        for place in np.ndindex(chain.sizes[split]):
            grid = tuple(number + 1 for number in place)
            runs = [("tiles", run_tiles)] + ([("lines", run_lines)] if grid[0] == 1 else [])
            for variant, run_it in runs:
                if max(grid) > 3 and (split, grid, variant) not in costs:
                    continue  # a few large grids, and those that matter
                run = run_it(chain, weights, image, split, grid)
                cost = tile_cost(chain, split, grid, variant)
                assert np.array_equal(run.output, whole.output)
                assert (run.peak_bytes, run.macs) == (cost.peak_bytes, cost.macs)
    check_the_search(chain, 20)


def run_of(chain, channels):
    weights = make_weights(chain, 0)
    image = np.random.default_rng(1).integers(-5, 6, size=(channels, *chain.sizes[0]))
    return weights, image, run_whole(chain, weights, image)


@given(chains())
def test_layer_by_layer(made):
    chain, channels = made
    _, _, whole = run_of(chain, channels)
    assert (whole.peak_bytes, whole.macs) == (chain.suffix_bytes(0), chain.macs)


@given(chains(), st.data())
def test_tiles_give_the_same_output_within_the_bytes_and_the_work_that_were_promised(made, data):
    chain, channels = made
    weights, image, whole = run_of(chain, channels)
    for split in chain.splits[1:]:
        grid = [data.draw(st.integers(1, size)) for size in chain.sizes[split]]
        run = run_tiles(chain, weights, image, split, grid)
        cost = tile_cost(chain, split, grid)
        assert np.array_equal(run.output, whole.output)
        assert (run.peak_bytes, run.macs) == (cost.peak_bytes, cost.macs)


@given(chains(), st.data())
def test_lines_give_the_same_output_within_the_bytes_and_the_work_that_were_promised(made, data):
    chain, channels = made
    weights, image, whole = run_of(chain, channels)
    for split in chain.splits[1:]:
        grid = [1, *(data.draw(st.integers(1, size)) for size in chain.sizes[split][1:])]
        run = run_lines(chain, weights, image, split, grid)
        cost = tile_cost(chain, split, grid, "lines")
        assert np.array_equal(run.output, whole.output)
        assert (run.peak_bytes, run.macs) == (cost.peak_bytes, cost.macs)


def every_cost(chain):
    yield tile_cost(chain, 0, [1] * len(chain.sizes[0]))
    for split in chain.splits[1:]:
        for grid in np.ndindex(chain.sizes[split]):
            tiles = [number + 1 for number in grid]
            yield tile_cost(chain, split, tiles)
            if tiles[0] == 1:
                yield tile_cost(chain, split, tiles, "lines")


@given(chains(), st.integers(0, 200))
def test_the_search_finds_the_best_of_all(made, most):
    check_the_search(made[0], most)


def check_the_search(chain, most):
    costs = list(every_cost(chain))
    allowed = [cost for cost in costs if cost.extra_macs <= most]
    plan = plan_tiles(chain, most_extra_macs=most)
    assert plan.optimal
    assert (plan.value, plan.cost.macs) == min((cost.peak_bytes, cost.macs) for cost in allowed)
    assert plan.cost in costs
    assert tile_floor(chain) == plan.floor_bytes <= plan.value
    # the frontier: whatever was tried is no better than some point of it
    front = tile_frontier(chain)
    assert all(cost in costs for cost in front)
    for cost in costs:
        assert any(point.peak_bytes <= cost.peak_bytes and point.macs <= cost.macs for point in front)
    only = tile_frontier(chain, variants=["lines"])
    assert all(cost.variant != "tiles" for cost in only)


@given(chains())
def test_one_tile_is_no_better_than_the_whole(made):
    chain, _ = made
    for split in chain.splits[1:]:
        ones = [1] * len(chain.sizes[split])
        assert tile_cost(chain, split, ones).extra_macs <= 0
        assert tile_cost(chain, split, ones, "lines").extra_macs <= 0
