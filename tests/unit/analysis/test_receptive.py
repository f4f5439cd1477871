"""Receptive fields against a referee that propagates sets of positions, and layer by layer by hand."""

import re
from fractions import Fraction
from math import ceil, floor
from typing import Any

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from cnnbudget import (
    Add,
    AvgPool,
    BatchNorm,
    Block,
    CnnBudgetError,
    Concat,
    Conv,
    Dropout,
    ElementwiseLayer,
    Flatten,
    GlobalAvgPool,
    GroupNorm,
    InstanceNorm,
    InvalidTypeError,
    LayerNorm,
    Linear,
    LocalResponseNorm,
    MaxPool,
    MissingRuleError,
    Multiply,
    Net,
    Network,
    ReLU,
    Softmax,
    StatelessLayer,
    visits,
)
from cnnbudget.analysis.fields import MOST_SPANS, AxisField, Field, merge_axes
from cnnbudget.analysis.receptive import ReceptiveFieldVisitor, receptive_field
from cnnbudget.analysis.spans import MOST_PHASES, Span
from cnnbudget.layers.conv import ConvTranspose, DepthwiseConv
from cnnbudget.layers.local import LocallyConnected
from cnnbudget.layers.pool import AdaptiveAvgPool, AdaptiveMaxPool, GlobalMaxPool, LPPool
from cnnbudget.layers.rearrange import ChannelShuffle, Pad, PixelShuffle, PixelUnshuffle, Unfold
from cnnbudget.layers.reshape import Crop, Permute, Reshape, Slice, Split
from cnnbudget.layers.resize import Upsample
from cnnbudget.windows import adaptive_windows, resolve_padding


def last(net: Net) -> Any:
    return receptive_field(net.network).nodes[-1]


def facts(net: Net) -> tuple[Any, ...]:
    """Size, stride and padding of the only axis."""
    found = last(net)
    return (*found.size, *found.stride, *found.padding)


# The referee -------------------------------------------------------------------------------------------------------
# A value is a list with one entry a position: which positions of the input reach it, and whether nothing but them does
# (a position next to a border may see less than its field, which goes on outside).

Value = list[tuple[frozenset[int], bool]]


def gather(value: Value, reads: list[list[int]]) -> Value:
    inside = range(len(value))
    return [
        (
            frozenset().union(*(value[x][0] for x in places if x in inside)),
            all(x in inside and value[x][1] for x in places),
        )
        for places in reads
    ]


def apply(layer: Any, value: Value, size: int) -> Value:
    n = len(value)
    if isinstance(layer, (Conv, MaxPool, AvgPool)):
        d = layer.dilation if hasattr(layer, "dilation") else 1
        s = layer.stride or layer.kernel
        before, _ = resolve_padding(layer.padding, n, d * (layer.kernel - 1) + 1, s)
        return gather(value, [[y * s - before + d * tap for tap in range(layer.kernel)] for y in range(size)])
    if isinstance(layer, ConvTranspose):  # scatter, and see what arrives
        k, s, d, p = layer.kernel, layer.stride, layer.dilation, layer.padding
        far = range(-k * d - s, n + k * d + s)
        arrives: list[list[int]] = [[] for _ in range(size)]
        for x in far:
            for tap in range(k):
                y = x * s + d * tap - p
                if 0 <= y < size:
                    arrives[y].append(x)
        return gather(value, arrives)
    if isinstance(layer, AdaptiveAvgPool):
        return gather(value, [[*range(*window)] for window in adaptive_windows(n, size)])
    if isinstance(layer, Upsample):
        if layer.mode == "nearest":
            return gather(value, [[floor(Fraction(y * n, size))] for y in range(size)])
        centres = [Fraction((2 * y + 1) * n, 2 * size) - Fraction(1, 2) for y in range(size)]
        return gather(value, [sorted({floor(centre), ceil(centre)}) for centre in centres])
    if isinstance(layer, (Pad, Crop)):
        ((before, _),) = layer.amounts
        shift = -before if isinstance(layer, Pad) else before
        return gather(value, [[y + shift] for y in range(size)])
    assert isinstance(layer, (ReLU, BatchNorm))
    return value


def check(seen: AxisField, value: Value) -> int:
    """Compares every position; returns how many were judged for equality."""
    judged = 0
    for y, (places, inside) in enumerate(value):
        ends = [found for span in seen.spans if (found := span.at(y)) is not None]
        if places:
            first, final = min(e[0] for e in ends), max(e[1] for e in ends)
            assert first <= min(places) <= max(places) <= final
            if inside and seen.exact:
                assert (first, final) == (min(places), max(places))
                assert final - first + 1 <= seen.size
                judged += 1
        else:
            assert not inside or not ends or not seen.exact
    return judged


@st.composite
def one_layer(draw: Any, n: int) -> Any:
    small = st.integers(1, 3)
    kind = draw(st.sampled_from(["conv", "conv", "pool", "transposed", "upsample", "adaptive", "border", "relu"]))
    if kind == "conv":
        padding = draw(st.sampled_from(["same", "valid"]) | st.integers(0, 2))
        return Conv(1, draw(st.integers(1, 5)), stride=draw(small), padding=padding, dilation=draw(small))
    if kind == "pool":
        return draw(st.sampled_from([MaxPool, AvgPool]))(draw(small), stride=draw(small), ceil_mode=draw(st.booleans()))
    if kind == "transposed":
        k, s = draw(st.integers(1, 4)), draw(small)
        return ConvTranspose(1, k, stride=s, padding=draw(st.integers(0, 1)), dilation=draw(small))
    if kind == "upsample":
        return Upsample(size=draw(st.integers(1, 2 * n)), mode=draw(st.sampled_from(["nearest", "linear"])))
    if kind == "adaptive":
        return AdaptiveAvgPool(draw(st.integers(2, n + 2)))
    if kind == "border":
        sides = ((draw(st.integers(0, 2)), draw(st.integers(0, 2))),)
        return draw(st.sampled_from([Pad, Crop]))(sides)
    return draw(st.sampled_from([ReLU(), BatchNorm()]))


@st.composite
def chains(draw: Any, most: int = 6) -> tuple[Net, Value]:
    n = draw(st.integers(6, 40))
    net = Net.input(1, n)
    value: Value = [(frozenset({x}), True) for x in range(n)]
    for _ in range(draw(st.integers(1, most))):
        layer = draw(one_layer(net.output_shape[1]))
        try:
            longer = net.then(layer)
        except CnnBudgetError:  # it does not fit any more
            continue
        if longer.output_shape[1] > 120:
            continue
        value = apply(layer, value, longer.output_shape[1])
        net = longer
    return net.then(ReLU()), value


@given(chains())
def test_chains_agree_with_the_referee(case: tuple[Net, Value]) -> None:
    net, value = case
    check(last(net).field.axes["input", 0], value)


@given(chains(3), st.data())
def test_branches_agree_with_the_referee(case: tuple[Net, Value], data: Any) -> None:
    # Two ways of the same size behind a chain: their hull, also where they are misaligned.
    net, value = case
    n = net.output_shape[1]
    left = Conv(1, data.draw(st.integers(1, 4)), padding="same", dilation=data.draw(st.integers(1, 2)))
    shift = data.draw(st.integers(0, min(2, n - 1)))
    right = [Pad(((shift, 0),)), Crop(((0, shift),))]
    net = net.branch(left, Block(*right), merge=data.draw(st.sampled_from([Add(), Concat()])))
    one = apply(left, value, n)
    other = apply(right[1], apply(right[0], value, n + shift), n)
    both = [(a | b, first and second) for (a, first), (b, second) in zip(one, other, strict=True)]
    check(last(net).field.axes["input", 0], both)


def test_the_referee_judges() -> None:
    """A property that never compares anything would pass, too."""
    net = Net.input(1, 60)
    value: Value = [(frozenset({x}), True) for x in range(60)]
    for layer in (
        Conv(1, 3, padding="same", stride=2),
        ConvTranspose(1, 3, stride=2, padding=1),
        Upsample(2),
        Conv(1, 2),
    ):
        net = net.then(layer)
        value = apply(layer, value, net.output_shape[1])
    assert check(last(net).field.axes["input", 0], value) > 80


def test_two_axes_against_sets_of_pixels() -> None:
    convs = [Conv(1, (3, 2), stride=(2, 1), padding=((1, 0), (0, 1))), Conv(1, (2, 3), stride=(1, 2), dilation=(2, 1))]
    shape, net = (20, 18), Net.input(1, 20, 18)
    sets = {(i, j): {(i, j)} for i in range(20) for j in range(18)}
    for conv in convs:
        net = net.then(conv)
        (kh, kw), (sh, sw) = conv.kernel, conv.stride
        (ph, _), (pw, _) = conv.padding or ((0, 0), (0, 0))
        dh, dw = conv.dilation if isinstance(conv.dilation, tuple) else (1, 1)
        sets = {
            (y, x): set().union(
                *(sets.get((y * sh - ph + dh * a, x * sw - pw + dw * b), set()) for a in range(kh) for b in range(kw))
            )
            for y in range(net.output_shape[1])
            for x in range(net.output_shape[2])
        }
    found = last(net)
    for axis in range(2):
        spread = {place[axis] for place in sets[3, 3]}
        assert max(spread) - min(spread) + 1 == found.size[axis]
        assert min(spread) == 3 * found.stride[axis] - found.padding[axis]
        assert max(spread) < shape[axis]


# By hand -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (Conv(4, 3, stride=2, padding=1), (3, 2, 1)),
        (Conv(4, 3, stride=2, padding="same"), (3, 2, 0)),  # 24 is even: TensorFlow pads at the end only
        (Conv(4, 3, dilation=2), (5, 1, 0)),
        (DepthwiseConv(5, padding="same"), (5, 1, 2)),
        (LocallyConnected(2, 3, stride=3), (3, 3, 0)),
        (MaxPool(2), (2, 2, 0)),
        (MaxPool(2, dilation=3, stride=1), (4, 1, 0)),
        (LPPool(2, 3, stride=2), (3, 2, 0)),
        (ConvTranspose(2, 2, stride=2), (1, Fraction(1, 2), 0)),
        (ConvTranspose(2, 3, stride=2, padding=1), (2, Fraction(1, 2), 0)),
        (ConvTranspose(2, 4, stride=2, padding="same"), (2, Fraction(1, 2), 1)),
        (ConvTranspose(2, 4, stride=2, padding="valid"), (2, Fraction(1, 2), 1)),
        (ConvTranspose(2, 1, stride=3), (1, Fraction(1, 3), 0)),
        (Upsample(2), (1, Fraction(1, 2), 0)),
        (Upsample(2, mode="nearest-exact"), (1, Fraction(1, 2), 0)),
        (Upsample(2, mode="linear"), (2, Fraction(1, 2), 1)),
        (Upsample(size=8), (1, 3, 0)),
        (Upsample(size=8, mode="area"), (3, 3, 0)),
        (Upsample(1), (1, 1, 0)),
        (AdaptiveAvgPool(6), (4, 4, 0)),
        (AdaptiveMaxPool(16), (2, Fraction(3, 2), 0)),
        (AdaptiveAvgPool(1), (24, 0, 0)),
        (GlobalAvgPool(), (24, 0, 0)),
        (GlobalMaxPool(keepdims=True), (24, 0, 0)),
        (PixelUnshuffle(4), (4, 4, 0)),
        (PixelShuffle(4), (1, Fraction(1, 4), 0)),
        (Unfold(3, stride=2, padding=1), (3, 2, 1)),
        (Crop(((2, 3),)), (1, 1, -2)),
        (Pad(2, mode="reflect"), (1, 1, 2)),
        (Slice(-20, -2, axis=1), (1, 1, -4)),
        (Slice(0, 2), (1, 1, 0)),
        (Split(3, 2, axis=1), (1, 1, -16)),
        (Flatten(), (24, 0, 0)),
        (Flatten(start=1), (1, 1, 0)),
        (Reshape(2, 2, 24), (1, 1, 0)),
        (Reshape(4, 6, 4), (24, 0, 0)),
        (Permute(1, 0), (1, 1, 0)),
        (Linear(3, axis=0), (1, 1, 0)),
        (Linear(3, axis=1), (24, 0, 0)),
        (ChannelShuffle(2), (1, 1, 0)),
        (ReLU(), (1, 1, 0)),
        (Dropout(), (1, 1, 0)),
        (LocalResponseNorm(), (1, 1, 0)),
        (BatchNorm(), (1, 1, 0)),
        (BatchNorm(track_running_stats=False), (24, 0, 0)),
        (InstanceNorm(), (24, 0, 0)),
        (InstanceNorm(track_running_stats=True), (1, 1, 0)),
        (GroupNorm(2), (24, 0, 0)),
        (LayerNorm(), (1, 1, 0)),
        (LayerNorm((0, 1)), (24, 0, 0)),
        (LayerNorm(-1), (24, 0, 0)),
        (Softmax(axis=0), (1, 1, 0)),
        (Softmax(axis=1), (24, 0, 0)),
    ],
    ids=repr,
)
def test_one_layer(layer: Any, expected: tuple[Any, ...]) -> None:
    assert facts(Net.input(4, 24).then(layer)) == expected


def test_bicubic_reads_four_neighbours() -> None:
    net = Net.input(1, 8, 8).then(Upsample(2, mode="bicubic"))
    assert last(net).size == (4, 4)
    assert last(net).padding == (2, 2)
    # An odd factor has positions that lie on others.
    spans = last(Net.input(1, 8, 8).then(Upsample(3, mode="bicubic"))).field.axes["input", 0].spans
    assert [spans[0].at(y) for y in range(3)] == [(-2, 1), (0, 0), (-1, 2)]


def test_unfold_joins_two_axes() -> None:
    assert last(Net.input(1, 8, 9).then(Unfold(3))).size == (8, 9)


def test_axes_are_followed_through_permutations() -> None:
    # As in ConvNeXt: channels last, a normalisation and a linear layer, and back.
    net = Net.input(4, 10, 12).then(
        Permute(1, 2, 0), LayerNorm(-1), Linear(8, axis=-1), Permute(2, 0, 1), Conv(4, 3, padding=1)
    )
    assert last(net).size == (3, 3)
    assert last(Net.input(4, 10, 12).then(Permute(0, 2, 1), Conv(1, (3, 5)))).size == (5, 3)
    # A convolution over what were channels and rows sees all columns: they are its channels now.
    net = Net.input(4, 10, 12).then(Permute(2, 1, 0), Conv(4, 3))
    assert last(net).size == (3, 12)
    assert last(net).stride == (1, 0)
    assert last(Net.input(4, 6).then(Permute(1, 0), ConvTranspose(4, 3))).size == (6,)
    assert last(Net.input(4, 6).then(Permute(1, 0), Upsample(2))).size == (6,)


def test_what_a_crop_leaves_is_all_that_a_global_pool_sees() -> None:
    assert facts(Net.input(1, 10).then(Crop(((2, 3),)), GlobalAvgPool())) == (5, 0, -2)
    found = last(Net.input(1, 10).then(Crop(((2, 3),)), GlobalAvgPool()))
    assert not found.whole
    assert not found.moves
    # Fields are clipped to the input there, not before.
    net = Net.input(1, 10).then(Conv(1, 5, padding=2), Conv(1, 9, padding=4))
    assert facts(net) == (13, 1, 6)
    assert facts(net.then(Flatten())) == (10, 0, 0)


def test_padding_alone_is_nothing() -> None:
    net = Net.input(1, 10).then(Pad(((0, 6),)), Slice(11, 15, axis=1), GlobalAvgPool())
    assert facts(net) == (0, 0, None)
    gap = Net.input(1, 10).then(ConvTranspose(1, 1, stride=3), Slice(1, 2, axis=1), GlobalAvgPool())
    assert facts(gap) == (0, 0, None)


def test_inputs_without_positions_have_no_field() -> None:
    table = receptive_field(Net.input(8).then(Linear(4), ReLU()).network)
    assert table["linear"].size == ()
    assert table["linear"].whole
    assert table.rows() == []
    assert table.last is None
    assert "receptive field" in str(table)


# Graphs --------------------------------------------------------------------------------------------------------------


def test_the_largest_path_counts_where_paths_are_aligned() -> None:
    net = Net.input(3, 32, 32).branch(
        Conv(4, 1), Conv(4, 5, padding=2), Block(Conv(4, 3, padding=1), Conv(4, 3, padding=1))
    )
    table = receptive_field(net.network)
    assert table["concat"].size == (5, 5)
    assert table["concat"].aligned
    assert table.misaligned == ()


def test_centres_that_do_not_match() -> None:
    # "same" at an even size pads at the end only: the window's centre is position 1, the shortcut's position 0.
    net = Net.input(3, 32).residual(Conv(3, 3, stride=2, padding="same"), Conv(3, 1, stride=2)).then(ReLU())
    table = receptive_field(net.network)
    (found,) = table.misaligned
    assert (found.node, found.input, found.axis, found.reason) == ("add", "input", 0, "centres 0, 1")
    assert facts(net) == (3, 2, 0)  # what both see together
    assert not table["relu"].aligned
    assert table["relu"].field.conflicts == ()
    assert str(table).endswith("paths that meet at 'add' disagree along spatial axis 0 of 'input': centres 0, 1")
    assert "misaligned" in str(table)
    assert "centres 0, 1</p>" in table._repr_html_()
    # At an odd size it pads on both sides.
    odd = Net.input(3, 33).residual(Conv(3, 3, stride=2, padding="same"), Conv(3, 1, stride=2))
    assert receptive_field(odd.network).misaligned == ()


def test_strides_that_do_not_match() -> None:
    net = Net.input(3, 8).residual(MaxPool(2), Slice(0, 4, axis=1)).then(Conv(3, 3, padding=1))
    table = receptive_field(net.network)
    assert [found.reason for found in table.misaligned] == ["strides 1, 2"]
    assert facts(net) == (6, None, None)  # the larger path: 2 + 2 * 2
    again = receptive_field(net.residual(ReLU()).network)
    assert len(again.misaligned) == 1  # the same disagreement is reported where it begins
    assert not again.nodes[-1].aligned
    assert again.nodes[-1].moves


def test_many_disagreements_are_counted() -> None:
    net = Net.input(3, 2**13)
    for _ in range(12):
        net = net.residual(Conv(3, 3, stride=2, padding="same"), Conv(3, 1, stride=2))
    text = str(receptive_field(net.network))
    assert text.endswith("... (2 more)")


def test_paths_of_too_many_strides_are_bounded_by_everything() -> None:
    net = Net.input(1, 2**12)
    for _ in range(MOST_SPANS + 1):
        half = net.output_shape[1] // 2
        net = net.residual(MaxPool(2), Slice(0, half, axis=1))
    found = last(net)
    assert (found.stride, found.moves, found.aligned) == ((0,), False, False)
    assert found.size == (2**12,)


def test_a_gate_sees_everything_and_keeps_the_stride() -> None:
    gate = Block(GlobalAvgPool(keepdims=True), Conv(8, 1))
    net = Net.input(3, 32, 32).then(Conv(8, 3, stride=2, padding=1)).residual(gate, merge=Multiply())
    found = last(net)
    assert (found.size, found.stride, found.whole, found.aligned) == ((32, 32), (2, 2), True, True)
    assert found.padding == (1, 1)
    assert "the whole input" in str(receptive_field(net.network))
    pooled = Net.input(3, 32, 24).residual(AdaptiveAvgPool((1, None)), merge=Multiply())
    assert "the whole input along one axis" in str(receptive_field(pooled.network))


def test_a_value_that_is_repeated_is_seen_by_all() -> None:
    # One position along the second axis, read by all of them.
    net = Net.input(3, 8, 8).residual(Conv(3, (1, 8)), merge=Multiply())
    assert last(net).size == (1, 8)
    assert last(net).stride == (1, 1)


def test_concatenation_along_space_is_bounded() -> None:
    net = Net.input(3, 8, 6).branch(Conv(3, 3, padding=1), None, merge=Concat(axis=1))
    assert last(net).size == (8, 3)
    assert not last(net).exact
    assert "the whole input along one axis, at most" in str(receptive_field(net.network))
    assert last(net).stride == (0, 1)
    network = Network.from_nodes({"x": (3, 8)}, [("c", Concat(axis=1), ["x"])], ["c"])
    assert receptive_field(network)["c"].size == (1,)


def test_paths_along_different_axes_are_bounded() -> None:
    net = Net.input(3, 8, 8).residual(Permute(0, 2, 1))
    assert last(net).size == (8, 8)
    assert last(net).stride == (0, 0)


def test_several_inputs_have_rows_of_their_own() -> None:
    net = Net.inputs(image=(3, 16, 16), depth=(1, 16, 16), code=(4,)).then(Conv(4, 3, padding=1)).join("depth")
    table = receptive_field(net.network)
    assert table["conv"].of_input("depth") == []
    assert [seen.size for seen in table["concat"].of_input("image")] == [3, 3]
    assert [seen.size for seen in table["concat"].of_input("depth")] == [1, 1]
    assert table["concat"].size == (3, 3, 1, 1)
    lines = str(table).splitlines()
    assert "input" in lines[0]
    assert [line.split()[:3] for line in lines[2:]] == [
        ["conv", "4x16x16", "image"],
        ["concat", "5x16x16", "image"],
        ["concat", "5x16x16", "depth"],
    ]


# The table ---------------------------------------------------------------------------------------------------------


def test_the_table() -> None:
    net = Net.input(3, 32, 24).then(Conv(4, 3, stride=(2, 1)), Flatten(), Linear(2))
    table = receptive_field(net.network)
    assert len(table) == 3
    assert [found.node for found in table] == ["conv", "flatten", "linear"]
    assert table.rows()[:2] == [
        {
            "node": "conv",
            "input": "input",
            "axis": axis,
            "size": 3,
            "stride": stride,
            "padding": 0,
            "extent": extent,
            "whole": False,
            "aligned": True,
            "exact": True,
        }
        for axis, stride, extent in ((0, 2, 32), (1, 1, 24))
    ]
    assert table.last is table["conv"]
    assert not table["linear"].whole  # the last row is not seen: 15 windows of 3 with stride 2 cover 31 of 32
    assert table["linear"].size == (31, 24)
    assert "<table" in table._repr_html_()
    assert re.search(r"conv +4x15x22 +3x3 +2x1 +0x0\n", str(table))
    with pytest.raises(CnnBudgetError, match=r"did you mean 'conv'"):
        table["cov"]


def test_the_last_positions_are_those_of_the_first_output() -> None:
    net = Net.input(3, 32).then(Conv(4, 3)).output("aux", Conv(4, 5), Conv(4, 5)).then(GlobalAvgPool(), Linear(2))
    found = receptive_field(net.network).last
    assert found is not None
    assert found.node == "conv"


# Rules from outside --------------------------------------------------------------------------------------------------


class Swish(ElementwiseLayer):
    pass


@frozen(repr=False)
class Every(StatelessLayer):
    step: int

    def infer(self, inputs: Any) -> Any:
        return Net.input(*inputs[0].shape).then(MaxPool(1, stride=self.step))._output


class Fields(ReceptiveFieldVisitor):
    @visits(Every)
    def every(self, use: Any) -> Field:
        step = use.layer.step
        return use.results[0].read(1, lambda y: range(y * step, y * step + 1), moves=step)


def test_elementwise_layers_from_outside_pass() -> None:
    assert facts(Net.input(3, 8).then(Swish())) == (1, 1, 0)


def test_other_layers_from_outside_need_a_rule() -> None:
    network = Net.input(3, 8).then(Every(2)).network
    with pytest.raises(
        MissingRuleError,
        match=r"the receptive field has no rule for Every \(at node 'every', Every\(2\) on \(3, 8\)\); give a subclass of "
        r"ReceptiveFieldVisitor a method marked @visits\(Every\) .* or derive Every from ElementwiseLayer",
    ):
        receptive_field(network)
    assert receptive_field(network, Fields())["every"].stride == (2,)
    with pytest.raises(InvalidTypeError, match=r"takes a visitor with rules: got <class .*an instance of a subclass"):
        receptive_field(network, Fields)  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError, match=r"receptive_field\(\) takes a network"):
        receptive_field(Net.input(3, 8).then(Every(2)))  # type: ignore[arg-type]


def test_a_missing_rule_of_a_built_in_layer_is_our_bug() -> None:
    @frozen(repr=False)
    class Ours(Every):
        pass

    Ours.__module__ = "cnnbudget.layers.ours"
    with pytest.raises(MissingRuleError, match=r"no rule for Ours .*this is a bug in cnnbudget"):
        receptive_field(Net.input(3, 8).then(Ours(2)).network)
    Ours.__module__ = __name__  # whoever looks for the built-in layers must not find it


def test_every_built_in_layer_has_a_rule() -> None:
    from importlib import import_module
    from pkgutil import iter_modules

    import cnnbudget.layers as package
    from cnnbudget.analysis.visitor import rule_for
    from cnnbudget.layers.base import Layer

    for module in iter_modules(package.__path__):
        for name in getattr(import_module(f"cnnbudget.layers.{module.name}"), "__all__", ()):
            layer = getattr(import_module(f"cnnbudget.layers.{module.name}"), name)
            if isinstance(layer, type) and issubclass(layer, Layer) and not layer.__abstractmethods__:
                assert rule_for(ReceptiveFieldVisitor, layer) is not ReceptiveFieldVisitor.visit, name


# Spans -------------------------------------------------------------------------------------------------------------


def test_gaps_see_nothing() -> None:
    sparse = last(Net.input(1, 8).then(ConvTranspose(1, 1, stride=3, padding=1))).field.axes["input", 0].spans[0]
    assert [sparse.at(y) for y in range(6)] == [None, None, (1, 1), None, None, (2, 2)]
    assert sparse.start == 0 + Fraction(1, 3)
    nothing = Span(1, (None, None))
    assert (nothing.size, nothing.start, nothing.centre) == (0, None, None)
    empty = AxisField(8, 1, (nothing,))
    assert empty.padding is None
    assert merge_axes([empty, AxisField(8, 1, (Span(1, ((0, 0), (0, 0))),))])[1] is None


def test_patterns_that_are_too_long_are_bounded_from_outside() -> None:
    n, size = MOST_PHASES + 1, MOST_PHASES + 2
    net = Net.input(1, n).then(Upsample(size=size))
    assert not last(net).exact
    assert facts(net)[:2] == (1, Fraction(n, size))  # nearest: within one position
    seen = last(net).field.axes["input", 0]
    exact = [y * n // size for y in range(size)]
    for y in range(size):
        ends = seen.spans[0].at(y)
        assert ends is not None
        assert ends[0] <= exact[y] <= ends[1]
    again = net.then(Conv(1, 3, padding=1), Upsample(size=n), Conv(1, 3))
    assert 5 <= last(again).size[0] <= 9
    # Two patterns that are too long together, and one that grows too long by what reads it.
    n = 33 * 37
    ways = (Block(AvgPool(33), Upsample(size=n)), Block(AvgPool(37), Upsample(size=n)))
    assert 37 <= last(Net.input(1, n).branch(*ways, merge=Add())).size[0] <= 2 * 37
    longer = Net.input(1, 900).then(Upsample(size=901), Crop(((0, 1),)), Upsample(size=907))
    assert last(longer).size[0] <= 3


def test_a_hundred_thousand_layers() -> None:
    net = Net.input(1, 16).repeat(Conv(1, 3, padding=1), 50_000)
    assert last(net).size == (100_001,)
