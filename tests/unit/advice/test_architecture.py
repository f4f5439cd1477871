"""Remedies of architecture: what they change, derived by hand, and where they are refused."""

import pytest

from cnnbudget import (
    AvgPool,
    BatchNorm,
    Block,
    Conv,
    DepthwiseConv,
    Flatten,
    GlobalAvgPool,
    Inference,
    InvalidTypeError,
    InvalidValueError,
    Linear,
    MaxPool,
    Net,
    Network,
    PoolEarlier,
    PoolGlobally,
    ReLU,
    RemoveBlock,
    SeparateConv,
    ShapeError,
    SmallerInput,
    Training,
    UnknownNameError,
    costs,
    profile,
    specs,
)
from cnnbudget.advice.architecture import full_convs, pooled_late

UNIT = Block(Conv(8, 3, padding=1), ReLU())
NET = (
    Net.input(3, 32, 32)
    .then(Conv(8, 3, padding=1), ReLU(), name="stem")
    .residual(Block(Conv(8, 3, padding=1), ReLU()), name="unit")
    .then(Conv(8, 3, padding=1), BatchNorm(), ReLU(), MaxPool(2), Flatten(), Linear(10))
)
NETWORK = NET.network
SCENARIO = Training(16)
REMEDIES = [
    RemoveBlock("unit"),
    SmallerInput(0.5),
    PoolEarlier("max_pool", "conv"),
    SeparateConv("stem/conv"),
    SeparateConv("*"),
    PoolGlobally("flatten"),
]


@pytest.mark.parametrize("remedy", REMEDIES, ids=repr)
def test_applying_leaves_the_input_alone(remedy):
    before = (hash(NETWORK), repr(NETWORK), repr(SCENARIO))
    network, scenario = remedy.apply(NETWORK, SCENARIO)
    assert (hash(NETWORK), repr(NETWORK), repr(SCENARIO)) == before
    assert scenario == SCENARIO
    assert network != NETWORK
    assert specs(network)[network.outputs[0]].shape == (10,)
    assert remedy.category == "architecture"
    assert remedy.changes_results(NETWORK, SCENARIO)
    assert remedy.changes_training(NETWORK, SCENARIO)
    assert not remedy.changes_training(NETWORK, Inference())


def test_what_they_say():
    assert [remedy.describe(NETWORK, SCENARIO) for remedy in REMEDIES] == [
        "without block unit, 3 nodes",
        "input: 3x32x32 -> 3x16x16",
        "max_pool ahead of conv",
        "stem/conv: depthwise and 1x1",
        "3 convolutions: depthwise and 1x1",
        "flatten: Flatten -> GlobalAvgPool",
    ]
    assert [remedy.magnitude(NETWORK) for remedy in REMEDIES] == [3, 50, 1, 1, 3, 1]
    assert len({remedy.slot for remedy in REMEDIES}) == len(REMEDIES)


def test_a_block_less():
    network, _ = RemoveBlock("unit").apply(NETWORK, SCENARIO)
    assert [node.name for node in network.nodes] == [
        node.name for node in NETWORK.nodes if not node.name.startswith("unit/")
    ]
    assert network["conv"].inputs == ("stem/relu",)
    # the block's convolution has 8*8*9 + 8 parameters
    assert costs(NETWORK).parameter_count - costs(network).parameter_count == 584


def test_a_smaller_input():
    network, _ = SmallerInput(0.3).apply(NETWORK, SCENARIO)
    assert network.inputs[0].shape == (3, 9, 9)  # floor(9.6)
    many = Net.inputs(image=(3, 8, 8), line=(4,)).then(Conv(4, 3)).network
    assert SmallerInput(0.5).describe(many, SCENARIO) == "image: 3x8x8 -> 3x4x4"
    assert SmallerInput(0).apply(Net.input(3, 8, 8).then(ReLU()).network, SCENARIO)[0].inputs[0].shape == (3, 1, 1)


def test_pooling_earlier():
    network, _ = PoolEarlier("max_pool", "conv").apply(NETWORK, SCENARIO)
    names = [node.name for node in network.nodes]
    assert names.index("max_pool") == names.index("conv") - 1
    known = specs(network)
    assert known["conv"].shape == (8, 16, 16)
    assert known["flatten"] == specs(NETWORK)["flatten"]
    # a quarter of the positions in one convolution of 8*8*9 weights
    assert costs(NETWORK).mac_count - costs(network).mac_count == 576 * 3 * 16 * 16
    assert profile(network, SCENARIO).peak < profile(NETWORK, SCENARIO).peak


def test_where_pooling_can_be_moved_to():
    assert pooled_late(NETWORK, "max_pool") == ["conv"]  # ahead of it the way forks: the sum
    assert pooled_late(NETWORK, "conv") == []
    chain = Net.input(3, 8, 8).then(Conv(4, 3, padding=1), ReLU(), DepthwiseConv(3, padding=1), MaxPool(2)).network
    assert pooled_late(chain, "max_pool") == ["depthwise_conv", "conv"]
    for layer in (MaxPool(3, stride=1), AvgPool(3, stride=(1, 1))):
        still = Net.input(3, 8, 8).then(Conv(4, 3), layer).network
        assert pooled_late(still, still.nodes[-1].name) == [], "a pooling that keeps the size makes nothing smaller"
    tapped = Network.from_nodes(
        {"x": (3, 8, 8)}, [("conv", Conv(4, 3), ["x"]), ("pool", MaxPool(2), ["conv"])], ["conv", "pool"]
    )
    assert pooled_late(tapped, "pool") == [], "somebody else reads the convolution"


def test_separable_convolutions():
    network, _ = SeparateConv("conv").apply(NETWORK, SCENARIO)
    assert network["conv_depthwise"].layer == DepthwiseConv(3, padding=1, bias=False)
    assert network["conv"].layer == Conv(8, 1)
    assert network["conv"].inputs == ("conv_depthwise",)
    # 8*8*9 + 8 weights before; 8*9 and 8*8 + 8 after
    assert costs(NETWORK).parameter_count - costs(network).parameter_count == 584 - 72 - 72
    assert specs(network)["conv"] == specs(NETWORK)["conv"]
    assert full_convs(NETWORK, "*") == ["stem/conv", "unit/conv", "conv"]
    others = Net.input(4, 9, 9).then(
        Conv(4, 1), Conv(4, 3, groups=2), Conv(4, 3, padding=1, padding_mode="reflect"), DepthwiseConv(3)
    )
    assert full_convs(others.network, "*") == []
    taken = Net.input(4, 9, 9).then(Conv(4, 3)).network
    taken = Network.from_nodes(
        {"x": (4, 9, 9)}, [("conv_depthwise", ReLU(), ["x"]), ("conv", Conv(4, 3), ["conv_depthwise"])], ["conv"]
    )
    assert [node.name for node in SeparateConv("conv").apply(taken, SCENARIO)[0].nodes] == [
        "conv_depthwise",
        "conv_depthwise2",
        "conv",
    ]


def test_global_pooling():
    network, _ = PoolGlobally("flatten").apply(NETWORK, SCENARIO)
    assert network["flatten"].layer == GlobalAvgPool()
    # 8 maps of 16x16 positions were 2,048 inputs of the dense layer
    assert costs(NETWORK).parameter_count - costs(network).parameter_count == 10 * (2048 - 8)
    assert PoolGlobally("flatten").warnings(NETWORK, SCENARIO) == ("forgets where in a map something is",)


SHARED = Net.input(4, 8, 8).then(Conv(4, 3, padding=1), share="one").then(Conv(4, 3, padding=1), share="one").network


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: RemoveBlock(3), InvalidTypeError, "RemoveBlock.scope must be a str"),
        (lambda: RemoveBlock("unti").apply(NETWORK, SCENARIO), UnknownNameError, "did you mean 'unit'"),
        (lambda: RemoveBlock("stem").apply(NETWORK, SCENARIO), ShapeError, "at node"),
        (lambda: SmallerInput(2), InvalidValueError, "SmallerInput.factor is out of range"),
        (lambda: SmallerInput(float("nan")), InvalidValueError, "SmallerInput.factor is out of range: got nan"),
        (lambda: SmallerInput(1).apply(NETWORK, SCENARIO), InvalidValueError, "SmallerInput changes nothing"),
        (
            lambda: SmallerInput(0.5).apply(Net.input(3).then(Linear(2)).network, SCENARIO),
            InvalidValueError,
            "changes nothing",
        ),
        (lambda: SmallerInput(0.01).apply(Net.input(3, 8, 8).then(Conv(4, 3)).network, SCENARIO), ShapeError, "window"),
        (
            lambda: PoolEarlier("max_pool", "stem/conv").apply(NETWORK, SCENARIO),
            InvalidValueError,
            "cannot be moved there",
        ),
        (lambda: PoolEarlier("conv", "stem/conv").apply(NETWORK, SCENARIO), InvalidValueError, "cannot be moved there"),
        (lambda: SeparateConv("cnov").apply(NETWORK, SCENARIO), UnknownNameError, "did you mean 'conv'"),
        (lambda: SeparateConv("linear").apply(NETWORK, SCENARIO), InvalidValueError, "nothing to make separable"),
        (lambda: SeparateConv("*").apply(SHARED, SCENARIO), InvalidValueError, "nothing to make separable"),
        (lambda: PoolGlobally("conv").apply(NETWORK, SCENARIO), InvalidValueError, "this layer flattens nothing"),
    ],
)
def test_bad_remedies(make, error, text):
    with pytest.raises(error, match=text):
        make()
