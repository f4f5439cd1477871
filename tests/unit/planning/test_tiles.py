"""Depth-first execution: intervals, bytes and work by hand, and what is refused."""

from itertools import pairwise

import pytest

from cnnbudget import InvalidTypeError, InvalidValueError, ShapeError
from cnnbudget.planning.lines import row_counts
from cnnbudget.planning.tile_search import plan_tiles, tile_floor, tile_frontier
from cnnbudget.planning.tiles import Axis, Sliding, SlidingChain, needed_intervals, tile_bounds, tile_cost


def same(size, kernel=3):
    return Axis(size, kernel=kernel, before=kernel // 2, after=kernel // 2)


def three(size=8, **options):
    layer = Sliding([same(size)] * 2, output_bytes=4, macs=36)
    return SlidingChain([layer] * 3, **options)


def test_intervals_by_hand():
    strided = Axis(9, kernel=3, stride=2, before=1, after=1)
    assert strided.output == 5
    assert [strided.needed(i, i + 1) for i in range(5)] == [(0, 2), (1, 4), (3, 6), (5, 8), (7, 9)]
    assert strided.needed(1, 4) == (1, 8)
    assert strided.needed(2, 2) == (0, 0)
    assert strided.touched(0) == [0, 1]
    dilated = Axis(9, kernel=3, dilation=3, before=3, after=3)
    assert dilated.window == 7
    assert dilated.touched(1) == [1, 4]
    assert dilated.needed(1, 2) == (0, 5)  # everything that it spans
    gaps = Axis(7, kernel=1, stride=3)
    assert [gaps.touched(i) for i in range(gaps.output)] == [[0], [3], [6]]
    assert Axis(2, kernel=1, before=3).needed(0, 3) == (0, 0)  # padding alone


def test_tiles_cover_an_axis_once():
    for size in range(1, 12):
        for tiles in range(1, size + 1):
            bounds = tile_bounds(size, tiles)
            assert [place for low, high in bounds for place in range(low, high)] == list(range(size))
            assert {high - low for low, high in bounds} <= {size // tiles, -(-size // tiles)}


def test_two_layers_of_two_tiles_by_hand():
    chain = three()
    assert needed_intervals(chain, 2, (2, 1))[0] == (((0, 6), (0, 5), (0, 4)), ((2, 8), (3, 8), (4, 8)))
    cost = tile_cost(chain, 2, (2, 2))
    # The second value's tile is 5 x 5, made four times; the output of the split is 256 bytes, the third layer's as many.
    assert cost.macs == 36 * (4 * 25 + 64 + 64)
    assert cost.extra_macs == 36 * (4 * 25 - 64)
    assert cost.peak_bytes == 512
    # All three layers: beside 256 bytes, tiles of 6 x 6 and 5 x 5 while the second one runs.
    assert tile_cost(chain, 3, (2, 2)).peak_bytes == 256 + 4 * (36 + 25)


def test_an_input_that_is_held_counts_to_the_last_tile():
    chain = three(input_bytes=3)
    assert tile_cost(chain, 3, (2, 2)).peak_bytes == 256 + 4 * (36 + 25) + 192
    assert tile_cost(chain, 0, (1, 1)).peak_bytes == 512  # layer by layer it is gone by then
    assert tile_cost(chain, 0, (1, 1)).variant == "layers"


def test_lines_by_hand():
    # A row of the third layer reads three rows of the second value, each of which reads three of the first. While the last
    # of three rows of the second value is made, three rows of the first are there: 32 bytes each.
    cost = tile_cost(three(), 3, (1, 1), "lines")
    assert cost.peak_bytes == 256 + 32 * (3 + 3)
    assert cost.extra_macs == 0
    # In strips of half the width, each value has one or two more columns than its half: 6 and 5.
    strips = tile_cost(three(), 3, (1, 2), "lines")
    assert strips.peak_bytes == 256 + 4 * (3 * 6 + 3 * 5)
    assert strips.extra_macs == 36 * 8 * (2 * 6 - 8 + 2 * 5 - 8)


def test_between_two_rows_the_kernel_less_the_stride_is_kept():
    for kernel, stride in [(3, 1), (3, 2), (5, 1), (5, 2), (2, 2)]:
        first = Sliding([Axis(40)], output_bytes=1)
        window = Sliding([Axis(40, kernel=kernel, stride=stride)], output_bytes=1)
        counts = row_counts(SlidingChain([first, window]), 2).counts
        made_one_by_one = set(range(1, kernel + 1))  # up to a whole window, from what the last one left
        assert {count[1] for count in counts} == made_one_by_one
        after = kernel - stride
        assert (0, after + 1) in counts


def test_in_place_counts_the_larger():
    def chain(in_place):
        wide = Sliding([Axis(4)] * 2, output_bytes=6)
        depthwise = Sliding([same(4)] * 2, output_bytes=6, in_place=in_place)
        return SlidingChain([wide, depthwise, Sliding([Axis(4)] * 2, output_bytes=1)])

    assert chain(False).suffix_bytes(0) == 16 * 12
    assert chain(True).suffix_bytes(0) == 16 * 7
    assert tile_cost(chain(False), 3, (4, 4)).peak_bytes == 16 + 9 * 6 + 6
    assert tile_cost(chain(True), 3, (4, 4)).peak_bytes == 16 + 9 * 6


def test_what_is_added_later_is_held():
    body = [Sliding([same(6)] * 2, output_bytes=1) for _ in range(3)]
    plain = SlidingChain([*body, Sliding([Axis(6)] * 2, output_bytes=1, in_place=True)])
    residual = SlidingChain([*body, Sliding([Axis(6)] * 2, output_bytes=1, in_place=True, adds=1)])
    assert plain.splits == (0, 1, 2, 3, 4)
    assert residual.splits == (0, 1, 4)  # between, the first value is still wanted
    assert plain.suffix_bytes(0) == 36 * 2
    assert residual.suffix_bytes(0) == 36 * 3
    with pytest.raises(
        InvalidValueError,
        match="split 2, but value 1 is read by layer 3, expected one of 0, 1, 4",
    ):
        tile_cost(residual, 2, (1, 1))


def test_a_value_added_to_itself_is_no_place_for_the_sum():
    twice = Sliding([Axis(4)], output_bytes=1, in_place=True, adds=1)
    assert SlidingChain([Sliding([Axis(4)], output_bytes=1), twice]).suffix_bytes(0) == 8


def test_positions_that_nobody_reads_are_not_made():
    chain = SlidingChain(
        [Sliding([Axis(9)], output_bytes=1, macs=1), Sliding([Axis(9, stride=3)], output_bytes=1, macs=1)]
    )
    assert chain.macs == 9 + 3
    assert tile_cost(chain, 2, (1,), "lines").extra_macs == 3 - 9  # rows 0, 3 and 6
    assert tile_cost(chain, 2, (1,), "tiles").extra_macs == 7 - 9  # one block, from 0 to 6
    assert tile_cost(chain, 2, (3,), "tiles").extra_macs == 3 - 9
    padding = SlidingChain(
        [Sliding([Axis(2)], output_bytes=9, macs=5), Sliding([Axis(2, before=4, kernel=1)], output_bytes=1, macs=1)]
    )
    assert tile_cost(padding, 2, (6,)).peak_bytes == 6 + 9
    blank = SlidingChain(
        [Sliding([Axis(2)], output_bytes=1), Sliding([Axis(2, kernel=1, before=3, stride=9)], output_bytes=1)]
    )
    assert tile_floor(blank) == 1  # its one output reads padding alone


def test_the_floor_by_hand():
    # Split after the second layer: 256 bytes, a window of 3 x 3 positions, the third layer as a whole: 512. After the third:
    # 256 bytes, a window and the position that it gives.
    assert tile_floor(three()) == 256 + 4 * (9 + 1)


def test_plans():
    chain = three()
    free = plan_tiles(chain)
    assert free.optimal
    assert free.value == 256 + 4 * (3 * 5 + 3 * 3)  # three rows of strips 5 and 3 wide
    assert plan_tiles(chain, variants=["tiles"]).value == 256 + 4 * (
        25 + 9
    )  # single positions: tiles of 5 x 5 and 3 x 3
    assert free.cost == tile_cost(chain, 3, free.cost.grid, "lines")
    frugal = plan_tiles(chain, most_extra_macs=0)
    assert (frugal.value, frugal.cost.variant) == (448, "lines")
    assert plan_tiles(chain, most_extra_macs=0, variants=["tiles"]).cost.variant == "layers"
    assert free.floor_bytes == frugal.floor_bytes == 296
    few = [(rows, columns, "tiles") for rows in (1, 2) for columns in (1, 2)] + [(1, 1, "lines"), (1, 2, "lines")]
    assert plan_tiles(chain, most_tiles=2).value == min(
        tile_cost(chain, split, grid, variant).peak_bytes for split in (1, 2, 3) for *grid, variant in few
    )


def test_no_time_means_layer_by_layer():
    seen = []
    plan = plan_tiles(three(), time_limit=0, progress=lambda *pair: seen.append(pair))
    assert (plan.value, plan.lower_bound, plan.optimal, plan.cost.variant) == (512, 296, False, "layers")
    assert seen[0] == seen[-1] == (512, 296)
    seen.clear()
    whole = plan_tiles(three(), progress=lambda *pair: seen.append(pair))
    assert seen[-1] == (whole.value, whole.value)


def test_the_frontier_goes_from_the_least_peak_to_the_least_work():
    costs = tile_frontier(three())
    assert costs[0].peak_bytes == plan_tiles(three()).value
    assert costs[-1].extra_macs == 0
    for a, b in pairwise(costs):
        assert a.peak_bytes < b.peak_bytes
        assert a.macs > b.macs


@pytest.mark.parametrize(
    "ask, kind, text",
    [
        (lambda: Axis(0), InvalidValueError, "Axis.size is out of range: got 0"),
        (lambda: Axis(3, kernel=5), ShapeError, "window is larger than the padded input: got window 5 on 3"),
        (lambda: Axis(3, before=-1), InvalidValueError, "Axis.before is out of range: got -1"),
        (lambda: Sliding([], output_bytes=1), InvalidValueError, "Sliding.axes is empty"),
        (lambda: Sliding([3], output_bytes=1), InvalidTypeError, r"Sliding.axes\[0\] must be a Axis: got 3"),
        (
            lambda: Sliding([Axis(3)], output_bytes=-1),
            InvalidValueError,
            "Sliding.output_bytes is out of range: got -1",
        ),
        (lambda: Sliding([Axis(3)], output_bytes=2**63), InvalidValueError, "Sliding.output_bytes is out of range"),
        (lambda: Sliding([Axis(3)], output_bytes=1, in_place=1), InvalidTypeError, "Sliding.in_place must be a bool"),
        (lambda: SlidingChain([]), InvalidValueError, "SlidingChain.layers is empty"),
        (lambda: SlidingChain(3), InvalidTypeError, "SlidingChain.layers must be a tuple or a list: got 3"),
        (lambda: SlidingChain([3]), InvalidTypeError, r"SlidingChain.layers\[0\] must be a Sliding"),
        (
            lambda: SlidingChain([Sliding([Axis(3)], output_bytes=1), Sliding([Axis(4)], output_bytes=1)]),
            ShapeError,
            r"does not fit the one before \(at layer 1\): got \(4,\), expected \(3,\)",
        ),
        (
            lambda: SlidingChain(
                [Sliding([Axis(3)], output_bytes=1), Sliding([Axis(3, kernel=2)], output_bytes=1, adds=0)]
            ),
            ShapeError,
            r"adds value 0, which has another size \(at layer 1\): got \(3,\), expected \(2,\)",
        ),
        (
            lambda: SlidingChain([Sliding([Axis(3)], output_bytes=1, adds=1)]),
            InvalidValueError,
            "adds is out of range: got 1",
        ),
        (
            lambda: SlidingChain([Sliding([Axis(8)], output_bytes=2**61)]),
            InvalidValueError,
            "the bytes or the work .* beyond",
        ),
        (lambda: tile_cost([1], 0, (1,)), InvalidTypeError, "chain must be a SlidingChain"),
        (lambda: tile_cost(three(), 4, (1, 1)), InvalidValueError, "split is out of range: got 4"),
        (lambda: tile_cost(three(), 1, (1,)), InvalidValueError, r"one number per axis: got \(1,\), expected 2 ints"),
        (lambda: tile_cost(three(), 1, (9, 1)), InvalidValueError, r"grid\[0\] is out of range: got 9"),
        (lambda: tile_cost(three(), 1, (0, 1)), InvalidValueError, r"grid\[0\] is out of range: got 0"),
        (lambda: tile_cost(three(), 1, (2, 1), "lines"), InvalidValueError, r"not cut along the first axis.*\(1, 1\)"),
        (
            lambda: tile_cost(three(), 1, (1, 1), "tile"),
            InvalidValueError,
            "variant is an unknown word.*did you mean 'tiles'",
        ),
        (lambda: plan_tiles(None), InvalidTypeError, "chain must be a SlidingChain: got None"),
        (lambda: tile_floor(None), InvalidTypeError, "chain must be a SlidingChain: got None"),
        (lambda: plan_tiles(three(), variants="tiles"), InvalidValueError, "variants must be some words: got 'tiles'"),
        (lambda: plan_tiles(three(), variants=()), InvalidValueError, r"variants must be some words: got \(\)"),
        (lambda: plan_tiles(three(), variants=["line"]), InvalidValueError, "did you mean 'lines'"),
        (lambda: plan_tiles(three(), most_tiles=0), InvalidValueError, "most_tiles is out of range: got 0"),
        (lambda: plan_tiles(three(), most_extra_macs=-1), InvalidValueError, "most_extra_macs is out of range: got -1"),
    ],
)
def test_bad_input(ask, kind, text):
    with pytest.raises(kind, match=text):
        ask()
