"""What networks are made of, on small ones whose facts are counted by hand."""

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
    Concat,
    Conv,
    Dropout,
    ElementwiseLayer,
    Flatten,
    GlobalAvgPool,
    InvalidTypeError,
    Linear,
    LocalResponseNorm,
    MaxPool,
    MissingRuleError,
    Multiply,
    Net,
    ReLU,
    Sigmoid,
    StatelessLayer,
    costs,
)
from cnnbudget.analysis.dominators import Dominators
from cnnbudget.analysis.structure import InceptionModule, NetworkStructure, Skip, structure
from cnnbudget.layers.conv import ConvTranspose, DepthwiseConv
from cnnbudget.layers.local import LocallyConnected


def of(net: Net) -> NetworkStructure:
    return structure(net.network)


def conv(filters: int = 8, kernel: int = 3, **settings: Any) -> Conv:
    return Conv(filters, kernel, padding="same", **settings)


UNIT = Block(conv(), BatchNorm(), ReLU())
START = Net.input(3, 16, 16).then(conv())


# A plain chain -----------------------------------------------------------------------------------------------------


def test_a_plain_chain() -> None:
    net = Net.input(3, 32, 32).then(
        conv(), ReLU(), LocalResponseNorm(), MaxPool(2), conv(), ReLU(), conv(), ReLU(), AvgPool(2), conv(), MaxPool(2)
    )
    found = of(net.then(Flatten(), Linear(10), ReLU(), Dropout(), Linear(2)))
    assert found.depth == found.weight_layer_count == 6
    assert found.longest_gradient_path == found.shortest_gradient_path == 6
    assert found.longest_without_skips == found.shortest_without_skips == 6
    assert found.stacked_convolutions == 2
    assert found.inception_modules == found.skips == found.reductions == ()
    assert found.dense_parameter_count == 8 * 4 * 4 * 10 + 10 + 10 * 2 + 2
    assert found.parameter_count == found.dense_parameter_count + 8 * 27 + 8 + 3 * (8 * 72 + 8)
    assert found.dense_share == found.dense_parameter_count / found.parameter_count
    assert found.normalisations == (("LocalResponseNorm", 1),)
    assert found.poolings == (("MaxPool", 2), ("AvgPool", 1))
    assert found.activations == (("ReLU", 4),)


def test_a_network_without_weights() -> None:
    found = of(Net.input(3, 8, 8).then(MaxPool(2), ReLU()))
    assert (found.depth, found.dense_share, found.stacked_convolutions, found.shortest_gradient_path) == (0, 0.0, 0, 0)


def test_all_kinds_of_convolutions_count_and_foreign_activations_too() -> None:
    @frozen(repr=False)
    class Swish(ElementwiseLayer):
        pass

    net = Net.input(4, 12, 12).then(DepthwiseConv(3), Swish(), LocallyConnected(2, 3), ConvTranspose(3, 2, stride=2))
    found = of(net)
    assert (found.depth, found.stacked_convolutions) == (3, 3)
    assert found.activations == (("Swish", 1),)


def test_costs_may_be_at_hand() -> None:
    assert structure(costs(START.network)) == of(START)


# Skip connections --------------------------------------------------------------------------------------------------


def test_a_residual_block_by_hand() -> None:
    net = START.residual(Block(UNIT, conv())).then(ReLU(), GlobalAvgPool(), Linear(10))
    found = of(net)
    assert found.skips == (Skip("conv", "add", (2, 0), added=True),)
    assert not found.skips[0].projection
    assert (found.depth, found.weight_layer_count) == (4, 4)
    assert (found.longest_gradient_path, found.shortest_gradient_path) == (4, 2)
    assert (found.longest_without_skips, found.shortest_without_skips) == (4, 4)
    assert found.stacked_convolutions == 3


def test_identities_and_projections() -> None:
    body = Block(UNIT, UNIT, conv())
    net = START.residual(body, conv(8, 1)).residual(body).residual(body, Dropout()).residual(body, UNIT)
    found = of(net)
    assert [skip.lengths for skip in found.skips] == [(3, 1), (3, 0), (3, 0), (3, 1)]
    facts = found.facts()
    assert (facts["skip connections"], facts["identity skips"], facts["projection skips"]) == (4, 2, 2)
    assert (found.depth, found.weight_layer_count) == (13, 15)
    # The gradient may pass by every body, through a projection where there is one.
    assert found.shortest_gradient_path == 1 + 1 + 0 + 0 + 1
    assert found.shortest_without_skips == found.longest_without_skips == 13


def test_a_sum_of_equally_long_paths_skips_nothing() -> None:
    found = of(START.residual(conv(), conv(8, 1)).residual(conv(), conv(), merge=Add(inplace=True)))
    assert found.skips == ()
    assert found.weight_layer_count == 5


def test_several_ways_are_as_long_as_their_longest() -> None:
    # A block in a block, and a sum of three.
    inner = Block(conv()).residual(Block(UNIT, conv()))
    found = of(START.residual(inner).branch(None, conv(), Block(conv(), conv()), merge=Add()))
    assert [(skip.source, skip.merge, skip.lengths) for skip in found.skips] == [
        ("conv2", "add", (2, 0)),
        ("conv", "add2", (3, 0)),
        ("add2", "add3", (0, 1, 2)),
    ]
    assert (found.shortest_gradient_path, found.shortest_without_skips) == (1, 6)


def test_skips_by_concatenation() -> None:
    # As in DenseNet, and as in U-Net.
    dense = START.branch(None, conv()).branch(None, conv())
    assert [skip.lengths for skip in of(dense).skips] == [(0, 1), (0, 1)]
    assert of(dense).inception_modules == of(dense).added_skips == ()
    assert (of(dense).shortest_gradient_path, of(dense).shortest_without_skips) == (1, 3)
    u = START.tap("skip").then(MaxPool(2), conv(), ConvTranspose(8, 2, stride=2)).join("skip")
    assert [skip.lengths for skip in of(u).skips] == [(2, 0)]
    assert of(u).facts()["concatenated skips"] == 1


def test_gates_and_inputs_are_no_skips() -> None:
    gate = Block(GlobalAvgPool(keepdims=True), Conv(8, 1), Sigmoid())
    assert of(START.residual(gate, merge=Multiply())).skips == ()
    two = Net.inputs(image=(3, 8, 8), depth=(3, 8, 8)).then(Conv(3, 1)).join("depth", merge=Add())
    assert of(two).skips == ()
    assert (of(two).longest_gradient_path, of(two).shortest_gradient_path) == (1, 0)
    assert of(START.branch(conv(), MaxPool(3, stride=1, padding=1))).inception_modules == ()


# Inception modules -------------------------------------------------------------------------------------------------


def module(inner: Block | None = None) -> tuple[Block, ...]:
    third = Block(conv(2, 1), conv(4, 5)) if inner is None else inner
    return (
        Block(conv(4, 1)),
        Block(conv(4, 1), ReLU(), conv(8)),
        third,
        Block(MaxPool(3, stride=1, padding=1), conv(2, 1)),
    )


def test_an_inception_module_by_hand() -> None:
    net = Net.input(16, 8, 8).branch(*module())
    found = of(net)
    assert found.inception_modules == (InceptionModule("input", "concat", 4),)
    assert found.branch_counts == (4,)
    assert found.facts()["branches of a module"] == "4"
    assert (found.depth, found.weight_layer_count, found.shortest_gradient_path) == (2, 6, 1)
    assert found.skips == ()
    # Reductions from 16 maps: to 4 before 3x3 to 8, and to 2 before 5x5 to 4, on 64 positions.
    three, five = found.reductions
    assert (three.node, three.feeds) == ("conv2", ("conv3",))
    assert three.macs == 64 * (16 * 4 + 4 * 9 * 8)
    assert three.macs_without == 64 * 16 * 9 * 8
    assert (five.macs, five.macs_without) == (64 * (16 * 2 + 2 * 25 * 4), 64 * 16 * 25 * 4)
    assert found.reduction_savings == three.saved + five.saved
    # What the network would cost without them is computed the same way, by building it.
    without = Net.input(16, 8, 8).branch(conv(4, 1), conv(8), conv(4, 5), module()[-1])
    assert net.mac_count + found.reduction_savings == without.mac_count


def test_modules_in_a_row_and_in_each_other() -> None:
    split = Block(conv(4, 1)).branch(conv(2, (1, 3)), conv(2, (3, 1)))
    net = Net.input(16, 8, 8).branch(*module()).branch(*module(split)).branch(conv(4, 1), conv(4), conv(2, 5))
    found = of(net)
    assert [(m.source, m.merge, m.branches) for m in found.inception_modules] == [
        ("input", "concat", 4),
        ("concat", "concat3", 4),  # concat2 lies in its third branch
        ("concat3", "concat4", 3),
    ]
    assert found.branch_counts == (3, 4)
    assert found.facts()["branches of a module"] == "3 or 4"


def test_two_modules_on_one_value_are_two() -> None:
    two = [Block(conv(4, 1)), Block(conv(4))]
    net = START.output("aux", Block(conv(1, 1)).branch(*two)).output("more", Block(ReLU()).branch(*two)).then(ReLU())
    assert len(of(net).inception_modules) == 2


def test_auxiliary_heads_shorten_the_way_of_the_gradient() -> None:
    body = Block(*[conv()] * 6)
    plain = START.then(body, GlobalAvgPool(), Linear(2))
    helped = START.output("aux", GlobalAvgPool(), Linear(2)).then(body, GlobalAvgPool(), Linear(2))
    assert (of(plain).shortest_gradient_path, of(helped).shortest_gradient_path) == (8, 2)
    assert of(helped).longest_gradient_path == of(helped).depth == 8


def test_stacked_convolutions_go_on_past_parallel_pooling() -> None:
    found = of(Net.input(16, 8, 8).branch(*module()).branch(*module()).then(MaxPool(2), conv()))
    assert found.stacked_convolutions == 4


# Reductions --------------------------------------------------------------------------------------------------------


def test_what_is_a_reduction() -> None:
    start = Net.input(16, 8, 8)
    assert of(start.then(conv(4, 1), BatchNorm(), ReLU(), Dropout(), conv(8))).reductions != ()
    assert of(start.then(conv(16, 1), conv(8))).reductions == ()  # as many maps
    assert of(start.then(conv(32, 1), conv(8))).reductions == ()  # more
    assert of(start.then(conv(4, 1), conv(8, 1))).reductions == ()  # no larger window behind it
    assert of(start.then(conv(4, 3), conv(8))).reductions == ()  # no 1x1 convolution
    assert of(start.then(conv(4, 1), MaxPool(2), conv(8))).reductions == ()  # not directly
    assert of(start.then(conv(4, 1), DepthwiseConv(3))).reductions == ()  # it cannot read other maps
    assert of(start.then(DepthwiseConv(1), conv(8))).reductions == ()


def test_grouped_convolutions_behind_a_reduction() -> None:
    start = Net.input(16, 8, 8)
    (found,) = of(start.then(conv(4, 1), conv(8, groups=4))).reductions
    assert (found.macs, found.macs_without) == (64 * (16 * 4 + 9 * 8), 64 * 4 * 9 * 8)
    assert of(Net.input(10, 8, 8).then(conv(4, 1), conv(8, groups=4))).reductions == ()  # 4 does not divide 10


def test_one_reduction_may_feed_several() -> None:
    fork = Block(conv(4, 1)).branch(conv(2, (1, 3)), conv(2, (3, 1)))
    (found,) = of(Net.input(16, 8, 8).then(fork)).reductions
    assert found.feeds == ("conv2", "conv3")
    assert found.macs == 64 * (16 * 4 + 2 * 4 * 3 * 2)
    assert found.saved == 64 * 2 * 16 * 3 * 2 - found.macs


def test_a_reduction_with_a_stride_is_compared_at_its_output() -> None:
    (found,) = of(Net.input(16, 8, 8).then(Conv(4, 1, stride=2), conv(8))).reductions
    assert found.macs_without == 16 * 16 * 9 * 8


# Laws --------------------------------------------------------------------------------------------------------------


@st.composite
def blocks(draw: Any, depth: int = 3) -> Block:
    if depth == 0 or draw(st.integers(0, 2)) == 0:
        return Block(draw(st.sampled_from([conv(), ReLU(), conv(8, 1), MaxPool(3, stride=1, padding=1)])))
    inner = st.deferred(lambda: blocks(depth - 1))
    kind = draw(st.sampled_from(["chain", "sum", "residual", "inception"]))
    if kind == "chain":
        return Block(*draw(st.lists(inner, min_size=1, max_size=3)))
    if kind == "residual":
        return Block(draw(inner)).residual(draw(inner))
    if kind == "sum":
        return Block(draw(inner)).branch(draw(inner), draw(inner), merge=Add())
    return Block(draw(inner)).branch(draw(inner), draw(inner)).then(conv())


def paths(net: Net) -> tuple[int, int]:
    """Longest and shortest paths by trying all of them, from the output back."""
    network, table = net.network, net.costs()
    found = []
    waiting = [(network.outputs[0], 0)]
    while waiting:
        name, length = waiting.pop()
        if name == "input":
            found.append(length)
        else:
            waiting += [(before, length + (table[name].macs > 0)) for before in network[name].inputs]
    return max(found), min(found)


@given(blocks())
def test_laws_of_paths(block: Block) -> None:
    net = Net.input(8, 6, 6).then(block)
    found = of(net)
    assert (found.longest_gradient_path, found.shortest_gradient_path) == paths(net)
    assert found.shortest_gradient_path <= found.shortest_without_skips <= found.longest_without_skips
    assert found.longest_without_skips == found.longest_gradient_path == found.depth <= found.weight_layer_count
    assert found.stacked_convolutions <= found.depth
    merges = [node for node in net.network.nodes if isinstance(node.layer, (Add, Concat))]
    assert len(found.skips) + len(found.inception_modules) <= len(merges)


@given(st.lists(st.lists(st.integers(0, 100), min_size=1, max_size=3), min_size=1, max_size=25))
def test_dominators_by_brute_force(graph: list[list[int]]) -> None:
    tree = Dominators()
    sets = [{0}]
    for inputs in graph:
        edges = [number % len(sets) for number in inputs]
        sets.append(set.intersection(*(sets[edge] for edge in edges)) | {len(sets)})
        value = tree.add(edges)
        assert tree.parent(value) == max(sets[value] - {value})


def test_a_hundred_thousand_nodes() -> None:
    net = START.repeat(Block(conv()).residual(conv()), 30_000).tap("x").then(conv()).join("x")
    found = of(net)
    assert found.depth == 60_002
    assert len(found.skips) == 30_001


# The table ---------------------------------------------------------------------------------------------------------


def test_the_table() -> None:
    found = of(START.then(BatchNorm(), ReLU(), Flatten(), Linear(10)))
    rows = found.rows()
    assert rows[0] == {"fact": "weight layers on the longest path", "value": 2}
    assert rows[-2:] == [{"fact": "normalisation: BatchNorm", "value": 1}, {"fact": "activation: ReLU", "value": 1}]
    assert f"{found.dense_share:.1%}".replace("%", " %") in str(found)
    assert "branches of a module" in found._repr_html_()


def test_bad_arguments() -> None:
    with pytest.raises(InvalidTypeError, match=r"structure\(\) takes a network: got Net.*a Net has \.network"):
        structure(START)  # type: ignore[arg-type]


def test_unknown_costs_are_loud() -> None:
    @frozen(repr=False)
    class Costly(StatelessLayer):
        def infer(self, inputs: Any) -> Any:
            return inputs[0]

        def macs(self, inputs: Any, output: Any) -> None:
            return None

    with pytest.raises(MissingRuleError, match=r"Costly does not state its macs \(at node 'costly'"):
        of(START.then(Costly()))
