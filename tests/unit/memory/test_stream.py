"""Depth-first execution: the chain that a network begins with, the plan's bytes as a profile, its price, what is refused."""

import pickle

import pytest

from cnnbudget import (
    AMP_FP16,
    FP32,
    INT4,
    Add,
    AvgPool,
    BatchNorm,
    Block,
    ConformanceError,
    Conv,
    DataParallel,
    DepthwiseConv,
    Dropout,
    Flatten,
    FreeAfterUse,
    GlobalAvgPool,
    GroupNorm,
    Identity,
    Inference,
    Input,
    InstanceNorm,
    InvalidTypeError,
    InvalidValueError,
    LayerNorm,
    Linear,
    MaxPool,
    MissingRuleError,
    Multiply,
    Net,
    Network,
    Node,
    Phase,
    Precision,
    ReLU,
    Role,
    Softmax,
    StatelessLayer,
    Streamed,
    Training,
    UnknownNameError,
    costs,
    profile,
    streamed,
    zoo,
)
from cnnbudget.analysis.storage import sharing
from cnnbudget.memory.sliding import sliding_prefix
from cnnbudget.planning.tiles import Axis, tile_cost
from cnnbudget.testing import check_policy

EXERCISE = zoo.textbook_exercise()
# Bytes of the exercise's values: the image, and the maps of its three convolutions.
IMAGE, FIRST, SECOND, THIRD = 720_000, 6_000_000, 3_000_000, 1_520_000


def prefix_of(network, precision=FP32, **options):
    table = costs(network)
    return sliding_prefix(table, precision, sharing(table, training=False), what="this", **options)


def values_of(net, **options):
    return net.profile(Inference(retention=Streamed(**options))).activation_peak


# The chain.


def test_windows_of_a_chain_by_hand():
    net = Net.input(2, 9, 8).then(
        Conv(4, 3, stride=2, padding="same"),
        ReLU(inplace=True),
        MaxPool(3, stride=2, padding=1, ceil_mode=True),
        Dropout(),
        DepthwiseConv((2, 1), dilation=(2, 1), padding=((0, 1), (2, 0))),
        Identity(),
        GlobalAvgPool(),
        Linear(5),
    )
    found = prefix_of(net.network)
    chain = found.chain
    assert [layer.size for layer in chain.layers] == [(5, 4), (5, 4), (3, 3), (2, 5)]
    # "same" on 9 with stride 2 needs 2 more, one at each side; on 8 one at the end.
    assert chain.layers[0].axes == (
        Axis(9, kernel=3, stride=2, before=1, after=1),
        Axis(8, kernel=3, stride=2, before=0, after=1),
    )
    # The last of three windows on 4 + 1 starts at 3 and reaches two beyond the end, of which ceil mode makes one more.
    assert chain.layers[2].axes[1] == Axis(4, kernel=3, stride=2, before=1, after=2)
    assert chain.layers[3].axes == (Axis(3, kernel=2, dilation=2, after=1), Axis(3, before=2))
    assert chain.position_bytes == (8, 16, 16, 16, 16)
    assert [layer.macs for layer in chain.layers] == [4 * 2 * 9, 0, 0, 4 * 2]
    assert [layer.in_place for layer in chain.layers] == [False, True, False, False]
    assert found.numbers == {
        "input": 0,
        "conv": 1,
        "relu": 2,
        "max_pool": 3,
        "dropout": 3,
        "depthwise_conv": 4,
        "identity": 4,
    }
    assert found.end == 6
    assert found.name(0) is None
    assert found.name(2) == "relu"


def test_a_residual_block_is_a_part_of_the_chain_and_a_projected_shortcut_is_not():
    net = Net.input(4, 6, 6).then(Conv(4, 1)).residual(Block(Conv(4, 3, padding=1), ReLU())).then(Conv(2, 1))
    chain = prefix_of(net.network).chain
    assert [layer.adds for layer in chain.layers] == [None, None, None, 1, None]
    assert chain.splits == (0, 1, 4, 5)
    twice = Network(
        [Input("x", (4, 6, 6))],
        [Node("a", Conv(4, 1), ["x"]), Node("b", Add(), ["a", "a"]), Node("c", Conv(2, 1), ["b"])],
        ["c"],
    )
    assert [layer.adds for layer in prefix_of(twice).chain.layers] == [None, 1, None]
    projected = Net.input(4, 6, 6).then(Conv(4, 1)).residual(Conv(8, 3, padding=1), shortcut=Conv(8, 1))
    assert prefix_of(projected.network).layers[-1].name == "conv"


def test_a_value_that_is_an_output_or_read_later_ends_the_chain():
    nodes = [
        Node("a", Conv(4, 1), ["x"]),
        Node("b", Conv(4, 1), ["a"]),
        Node("c", Conv(4, 1), ["b"]),
        Node("d", Add(), ["c", "a"]),
        Node("e", Conv(4, 1), ["d"]),
    ]
    source = [Input("x", (4, 6, 6))]
    assert len(prefix_of(Network(source, nodes, ["e"])).layers) == 5
    assert len(prefix_of(Network(source, nodes, ["e", "d"])).layers) == 4
    # b is an output: after it, a is read by d; so the last value that alone goes on is a.
    assert len(prefix_of(Network(source, nodes, ["e", "b"])).layers) == 1


@pytest.mark.parametrize(
    ("layer", "slides"),
    [
        (Conv(4, 3, padding=1, padding_mode="reflect"), False),
        (BatchNorm(), True),
        (BatchNorm(track_running_stats=False), False),
        (InstanceNorm(), False),
        (GroupNorm(2), False),
        (LayerNorm(), True),
        (LayerNorm((0, 1, 2)), False),
        (Softmax(axis=0), True),
        (Softmax(axis=-1), False),
        (AvgPool(2), True),
        (Flatten(), False),
    ],
)
def test_who_slides(layer, slides):
    net = Net.input(4, 6, 6).then(Conv(4, 1), layer)
    assert len(prefix_of(net.network).layers) == 1 + slides


def test_a_broadcast_product_and_one_of_three_do_not_slide():
    source = [Input("x", (4, 6, 6))]
    gate = [
        Node("a", Conv(4, 1), ["x"]),
        Node("pool", GlobalAvgPool(keepdims=True), ["a"]),
        Node("b", Multiply(), ["a", "pool"]),
    ]
    assert len(prefix_of(Network(source, gate, ["b"])).layers) == 1
    three = [Node("a", Conv(4, 1), ["x"]), Node("b", Conv(4, 1), ["a"]), Node("c", Add(), ["b", "a", "x"])]
    with pytest.raises(InvalidValueError, match="this finds no chain of windows"):
        prefix_of(Network(source, three, ["c"]))


def test_a_sum_into_another_value_than_the_last_ends_the_chain():
    def network(order):
        return Network(
            [Input("x", (4, 6, 6))],
            [
                Node("stem", Conv(4, 1), ["x"]),
                Node("body", Conv(4, 1), ["stem"]),
                Node("sum", Add(inplace=True), order),
            ],
            ["sum"],
        )

    assert len(prefix_of(network(["body", "stem"])).layers) == 3
    assert len(prefix_of(network(["stem", "body"])).layers) == 1


# The plans.


def test_the_least_memory_of_the_exercise():
    whole = EXERCISE.profile(Inference(retention=FreeAfterUse(temporaries=False))).activation_peak
    assert whole == FIRST + SECOND
    # Beside the third maps, rows: one of them reads three rows of the second, and while the last of these three is made, the
    # three rows of the first that it reads are there.
    assert values_of(EXERCISE, most_extra_macs=0, input_outside=True) == THIRD + 3 * (400 * 150) + 3 * (800 * 75)
    assert values_of(EXERCISE, most_extra_macs=0) == IMAGE + THIRD + 360_000
    # In strips of one column, the windows of 3 x 3 of the second maps read 7 columns of the first: of each at most 3 rows.
    assert values_of(EXERCISE, input_outside=True) == THIRD + 3 * (400 * 7) + 3 * (800 * 3)
    found = streamed(EXERCISE.network, Inference(retention=Streamed(input_outside=True)))
    assert found.peak == 1_535_600 + 4 * 903_400
    assert found.whole_peak == FIRST + SECOND + 4 * 903_400
    # For every column of the third maps, 3 columns of the second and 7 of the first are made; at the left edge 2 and 5, at the
    # right one 2 and 4, since the rest is padding.
    first, second = 5 + 36 * 7 + 4, 2 + 36 * 3 + 2
    extra = (first - 150) * 100 * 2700 + (second - 75) * 50 * 180_000
    assert found.extra_macs == extra == 362_970_000
    assert found.split == "conv3"
    assert f"{extra / EXERCISE.mac_count:.0%}" == "26%"


@pytest.mark.parametrize("variant", ["tiles", "lines"])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_profile_has_the_bytes_of_the_plan(variant, batch):
    net = (
        Net.input(3, 13, 12)
        .then(Conv(4, 3, stride=2, padding=1), BatchNorm(), ReLU(inplace=True), Dropout())
        .residual(Block(Conv(8, 3, padding=1), ReLU(inplace=True), Conv(4, 1)), merge=Add(inplace=True))
        .then(MaxPool(2), Conv(6, 3, padding=1), Flatten(), Linear(3))
    )
    chain = prefix_of(net.network).chain
    outside = prefix_of(net.network, input_outside=True).chain
    rest = net.profile(Inference(retention=FreeAfterUse(temporaries=False))).timeline
    rest = max(rest.live[-2:]) - net.parameter_count * 4 - 4 * net.buffer_count  # flatten and linear
    assert chain.splits == (0, 1, 2, 3, 7, 8, 9)
    for split in chain.splits[1:]:
        name = prefix_of(net.network).name(split)
        for grid in [(1, 1), (1, 2), (1, 3)] + ([(2, 2), (3, 1)] if variant == "tiles" else []):
            for held, planned in ((chain, False), (outside, True)):
                policy = Streamed(name, grid, variant=variant, input_outside=planned)
                found = net.profile(Inference(batch, retention=policy))
                cost = tile_cost(held, split, grid, variant)
                assert found.activation_peak == batch * max(cost.peak_bytes, rest)
                assert [step.node for step in found.steps[1:]] == [node.name for node in net.network.nodes]


def test_what_is_alive_is_named():
    found = EXERCISE.profile(Inference(retention=Streamed("conv3", (2, 2))))
    storages = {storage.name: storage for storage in found.lifetimes.schedule.storages}
    # The first tile has 19 columns from 0 to 18 and reads the widest parts before it, of 39 and 79; 13 rows read 27 and 55.
    assert storages["conv2 tiles"].shape[0] == 200
    assert storages["conv2 tiles"].role is Role.WORKSPACE
    assert "conv" not in storages
    assert "conv2" not in storages
    assert str(found.peak_step) == "forward of conv2"
    assert {each.name for each in found.at_peak} > {"conv tiles", "conv2 tiles", "conv3", "input"}
    lines = EXERCISE.profile(Inference(retention=Streamed(variant="lines", tiles=(1, 1), input_outside=True)))
    storages = {storage.name: storage for storage in lines.lifetimes.schedule.storages}
    assert storages["conv lines"].shape == (100, 3, 150)
    assert storages["conv2 lines"].shape == (200, 3, 75)
    assert "input" not in storages


def test_where_nothing_is_gained_nothing_is_streamed():
    net = Net.input(1, 4, 4).then(Conv(8, 1))
    found = streamed(net.network)
    assert found.split is None
    assert found.extra_macs == 0
    assert found.cost.variant == "layers"
    assert found.peak == found.whole_peak == 4 * (16 * 9 + 16)
    assert str(found).startswith("No layer runs depth-first: 640 B (640 bytes).")
    assert found.rows()[0]["split"] is None
    # Not even the input is then in memory, if it comes from outside.
    assert values_of(net, input_outside=True) == 4 * 16 * 8


def test_the_rest_of_the_network_may_decide():
    # After the chain 4,000 bytes are needed: so a plan that needs less than that before it is no better, and the least work wins.
    net = Net.input(1, 20, 20).then(Conv(4, 3), Conv(4, 3), Conv(1, 3), Flatten(), Linear(1000))
    found = streamed(net.network, Inference(retention=Streamed(input_outside=True)))
    assert found.profile.activation_peak == 4 * (1000 + 14 * 14)
    assert found.extra_macs <= 0
    assert len(found.options) == 1


def test_limits_of_work_and_of_tiles():
    few = streamed(EXERCISE.network, Inference(retention=Streamed(most_tiles=2, most_extra_macs=10**7)))
    assert few.cost.grid == (1, 2)
    assert [row["chosen"] for row in few.rows()] == [True, False]
    none = streamed(EXERCISE.costs(), Inference(retention=Streamed(most_tiles=2, most_extra_macs=0)))
    assert [row["chosen"] for row in none.rows()] == [False, True]
    tiled = streamed(EXERCISE.network, Inference(retention=Streamed(variant="tiles", most_tiles=3)))
    assert tiled.cost.variant == "tiles"
    everywhere = streamed(EXERCISE.network, Inference(retention=Streamed(tiles=(1, 4))))
    assert (everywhere.split, everywhere.cost.variant) == ("conv3", "lines")
    with pytest.raises(InvalidValueError, match=r"every such plan computes [\d,]+ MACs twice at least"):
        values_of(EXERCISE, split="conv3", tiles=(9, 9), most_extra_macs=5)
    with pytest.raises(InvalidValueError, match=r"Streamed\.tiles fits no value of the chain"):
        values_of(EXERCISE, tiles=(1, 999))
    with pytest.raises(InvalidValueError, match="grid must have one number per axis"):
        values_of(EXERCISE, split="conv3", tiles=(2,))


def test_what_it_prints():
    found = streamed(EXERCISE.network, Inference(retention=Streamed("conv3", (2, 2))))
    head, *table = str(found).splitlines()
    assert head.startswith("Depth-first up to conv3 in 2x2 tiles: ")
    assert head.endswith("+1.8% MACs.")
    assert len(table) == 3
    assert table[-1].startswith("->  conv3")
    assert "<table" in found._repr_html_()
    pooling = streamed(Net.input(1, 8, 8).then(AvgPool(2), AvgPool(2)).network)
    assert str(pooling).splitlines()[0].endswith("no MACs.")
    assert pooling.rows()[0]["extra_share"] == 0.0


def test_it_is_a_policy_but_for_values_that_are_nowhere_whole():
    policy = Streamed("conv", [2, 2])
    assert pickle.loads(pickle.dumps(policy)) == policy
    assert policy.tiles == (2, 2)
    assert policy.serves_inference
    assert not policy.serves_training
    assert repr(policy) == "Streamed('conv', (2, 2))"
    phases = {step.phase for step in EXERCISE.profile(Inference(retention=Streamed())).steps}
    assert phases == {Phase.LOAD, Phase.FORWARD}
    with pytest.raises(ConformanceError, match="Streamed has no storage for a tensor"):
        check_policy(Streamed())
    with pytest.raises(InvalidValueError, match="Training cannot use this policy"):
        Training(retention=policy)


@pytest.mark.parametrize(
    ("scenario", "text"),
    [
        (Inference(order="optimal"), "Streamed does not go with order='optimal'"),
        (Inference(frames="eager"), "Streamed does not go with frames='eager'"),
        (Inference(devices=DataParallel(2, zero=3)), "devices that share out parameters"),
        (Inference(precision=AMP_FP16), "Streamed does not go with mixed precision"),
        (Inference(precision=Precision("bits", INT4)), "Streamed needs whole bytes at every position .*12 bits"),
    ],
)
def test_scenarios_that_are_refused(scenario, text):
    with pytest.raises(InvalidValueError, match=text):
        streamed(EXERCISE.network, scenario)


def test_networks_and_settings_that_are_refused():
    two = Network([Input("x", (1, 4, 4)), Input("y", (1, 4, 4))], [Node("sum", Add(), ["x", "y"])], ["sum"])
    with pytest.raises(InvalidValueError, match="one input that has spatial axes"):
        profile(two, Inference(retention=Streamed()))
    with pytest.raises(InvalidValueError, match="one input that has spatial axes"):
        streamed(Net.input(7).then(Linear(3)).network)
    with pytest.raises(InvalidValueError, match=r"finds no chain of windows .*Flatten, and 1 more"):
        streamed(Net.input(1, 4, 4).then(Flatten(), Linear(3)).network)
    with pytest.raises(UnknownNameError, match=r"Streamed\.split is no node of the chain.*did you mean 'conv2'"):
        values_of(EXERCISE, split="convv2")
    with pytest.raises(UnknownNameError, match=r"Streamed\.split is no node"):
        values_of(EXERCISE, split="input")
    with pytest.raises(InvalidValueError, match=r"lies between a value and its last reader.*one of conv, add, conv3"):
        values_of(Net.input(4, 6, 6).then(Conv(4, 1)).residual(Conv(4, 1)).then(Conv(2, 1)), split="conv2")
    with pytest.raises(InvalidTypeError, match=r"streamed\(\) needs an inference"):
        streamed(EXERCISE.network, Training())
    with pytest.raises(InvalidTypeError, match=r"streamed\(\) takes a network"):
        streamed(EXERCISE)
    for bad in ({"split": 3}, {"tiles": (0, 1)}, {"variant": "rows"}, {"most_extra_macs": -1}, {"most_tiles": 0}):
        with pytest.raises((InvalidTypeError, InvalidValueError), match=rf"Streamed\.{next(iter(bad))}"):
            Streamed(**bad)


def test_more_work_may_be_allowed_than_32_bits_hold() -> None:
    # A 3x3 convolution of VGG-16 alone has 1,849,688,064 multiply-accumulates.
    assert Streamed(most_extra_macs=6 * 10**9).most_extra_macs == 6 * 10**9


class _Unknown(Conv):
    def macs(self, inputs, output):
        return None


def test_work_that_is_unknown():
    with pytest.raises(MissingRuleError, match="macs"):
        streamed(Net.input(1, 4, 4).then(_Unknown(2, 1)).network)


class _Foreign(StatelessLayer):
    def infer(self, inputs):
        return inputs[0]


def test_a_foreign_layer_ends_the_chain():
    assert len(prefix_of(Net.input(1, 4, 4).then(Conv(2, 1), _Foreign(), Conv(2, 1)).network).layers) == 1
