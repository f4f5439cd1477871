"""Width multipliers: filters scaled consistently, against parameters and shapes derived by hand."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnbudget import (
    Add,
    Block,
    Concat,
    Conv,
    ConvTranspose,
    DepthwiseConv,
    FewerChannels,
    Flatten,
    GlobalAvgPool,
    GroupNorm,
    Inference,
    InvalidTypeError,
    InvalidValueError,
    Linear,
    Net,
    Network,
    ReLU,
    ShapeError,
    Training,
    costs,
    profile,
    specs,
    with_width,
    zoo,
)


def layers(network):
    return [node.layer for node in network.nodes]


def test_half_the_width_of_a_chain():
    network = (
        Net.input(3, 16, 16).then(Conv(32, 3), Conv(64, 3), Flatten(), Linear(100), ReLU(), Linear(10), ReLU()).network
    )
    assert layers(with_width(network, 0.5)) == [
        Conv(16, 3),
        Conv(32, 3),
        Flatten(),
        Linear(50),
        ReLU(),
        Linear(10),  # what the network answers stays
        ReLU(),
    ]
    assert layers(with_width(network, Fraction(3, 2)))[:2] == [Conv(48, 3), Conv(96, 3)]
    assert layers(with_width(network, 1 / 1000))[:2] == [Conv(1, 3), Conv(1, 3)]
    assert with_width(network, 1) == network


def test_sums_and_concatenations_still_fit():
    net = (
        Net.input(3, 16, 16)
        .then(Conv(24, 3))
        .residual(Block(Conv(24, 3, padding=1), ReLU()))
        .branch(Block(Conv(10, 1)), Block(Conv(6, 1)), merge=Concat())
        .then(ConvTranspose(12, 2, stride=2), GlobalAvgPool(), Linear(5))
    )
    changed = with_width(net.network, 0.5)
    known = specs(changed)
    assert [known[name].channels for name in ("conv", "add", "concat", "conv_transpose", "linear")] == [12, 12, 8, 6, 5]


def test_depthwise_convolutions_follow_and_groups_divide():
    net = Net.input(3, 16, 16).then(
        Conv(32, 3),
        DepthwiseConv(3),
        Conv(32, 3, groups=32),
        Conv(64, 1),
        GroupNorm(8),
        Conv(64, 3, groups=4),
        Conv(7, 1),
    )
    assert layers(with_width(net.network, 0.5)) == [
        Conv(16, 3),
        DepthwiseConv(3),
        Conv(16, 3, groups=16),
        Conv(32, 1),
        GroupNorm(8),
        Conv(32, 3, groups=4),
        Conv(7, 1),
    ]
    # 64 maps are kept divisible by the least common multiple of the groups, 8: 0.3 * 64 / 8 = 2.4, so 2 * 8
    assert with_width(net.network, 0.3)["conv3"].layer == Conv(16, 1)


def test_every_way_to_an_output_keeps_its_last_layer():
    net = Net.input(3, 8, 8).then(Conv(8, 3, padding=1)).residual(Block(Conv(8, 3, padding=1)), merge=Add())
    with pytest.raises(InvalidValueError, match="no layer can change its width"):
        with_width(net.network, 0.5)  # both make the output: the sum has to have its 8 maps
    two = Network.from_nodes(
        {"x": (3, 8, 8)}, [("a", Conv(8, 3), ["x"]), ("b", Conv(8, 3), ["a"]), ("c", ReLU(), ["a"])], ["b", "c"]
    )
    with pytest.raises(InvalidValueError, match="no layer can change its width"):
        with_width(two, 0.5)
    direct = Network.from_nodes({"x": (3, 8, 8)}, [("a", Conv(8, 3), ["x"]), ("b", Conv(8, 3), ["a"])], ["b", "x"])
    assert with_width(direct, 0.5)["a"].layer == Conv(4, 3)
    last = Net.input(3, 8, 8).then(Conv(8, 3), Conv(6, 3), DepthwiseConv(3)).network
    assert layers(with_width(last, 0.5)) == [Conv(4, 3), Conv(6, 3), DepthwiseConv(3)]


def test_what_fixes_its_maps_is_refused_with_the_place():
    fixed = Net.input(3, 8, 8).residual(Block(Conv(3, 3, padding=1))).then(Conv(8, 3))
    with pytest.raises(ShapeError, match="at node 'add'"):
        with_width(fixed.network, 0.34)


@pytest.mark.parametrize(
    "make", [zoo.resnet18, zoo.mobilenet_v2, zoo.shufflenet_v2_x1_0, zoo.densenet121, zoo.googlenet]
)
def test_published_networks_can_be_halved(make):
    network = make().network
    changed = with_width(network, 0.5)
    assert specs(changed)[changed.outputs[0]] == specs(network)[network.outputs[0]]
    assert costs(changed).parameter_count < 0.5 * costs(network).parameter_count


def test_half_of_mobilenet_is_the_published_one_but_for_rounding():
    # torchvision's mobilenet_v2(width_mult=0.5) rounds to multiples of 8, so that 12 maps (half of 24) are 16 and the six times
    # wider layers behind them 96 instead of 72, and keeps 1,280 maps at the end. Every other layer is the same.
    published, ours = zoo.mobilenet_v2(width=0.5).network, with_width(zoo.mobilenet_v2().network, 0.5)
    others = [
        (one.layer.filters, two.layer.filters)
        for one, two in zip(published.nodes, ours.nodes, strict=True)
        if one != two
    ]
    assert others == [(16, 12), (96, 72), (96, 72), (16, 12), (96, 72), (96, 72), (1280, 640)]


@given(st.sampled_from([0.25, 0.5, 0.75]), st.lists(st.integers(1, 4), min_size=2, max_size=5))
def test_applying_leaves_the_input_alone_and_the_peak_is_not_higher(factor, widths):
    network = Net.input(3, 12, 12).then(*[Conv(8 * width, 3, padding=1) for width in widths]).network
    before = hash(network)
    changed, scenario = FewerChannels(factor).apply(network, Training(2))
    assert hash(network) == before
    assert [node.layer.filters for node in changed.nodes] == [
        *[8 * width * factor for width in widths[:-1]],
        8 * widths[-1],
    ]
    assert profile(changed, scenario).peak <= profile(network, scenario).peak


def test_what_the_remedy_says():
    network = Net.input(3, 8, 8).then(Conv(8, 3), Conv(8, 3)).network
    assert FewerChannels(0.25).describe(network, Inference()) == "width x0.25"
    assert FewerChannels(0.25).magnitude(network) == 75
    assert FewerChannels(0.25).slot == FewerChannels(0.5).slot
    with pytest.raises(InvalidValueError, match=r"FewerChannels.factor is out of range: got 0"):
        FewerChannels(0)


@pytest.mark.parametrize(
    ("factor", "error", "text"),
    [
        (0, InvalidValueError, "a width is out of range: got 0, expected a number above 0"),
        (-1, InvalidValueError, "a width is out of range: got -1"),
        (float("nan"), InvalidValueError, "a width is out of range: got nan"),
        (float("inf"), InvalidValueError, "a width is out of range: got inf"),
        ("0.5", InvalidTypeError, "a width must be a number: got '0.5'"),
        (True, InvalidTypeError, "a width must be a number: got True"),
        (None, InvalidTypeError, "a width must be a number: got None"),
    ],
)
def test_a_width_is_a_number_above_0(factor, error, text):
    """-1 once made a network of one map a layer, and NaN an error of Python's own."""
    network = Net.input(3, 8, 8).then(Conv(16, 3), Conv(8, 1)).network
    with pytest.raises(error, match=text):
        with_width(network, factor)
