"""Remedies are pure, and what they change is exactly what they say."""

import pickle

import pytest

from cnnbudget import (
    BF16,
    FP16,
    BatchNorm,
    Conv,
    ConvTranspose,
    DepthwiseConv,
    Flatten,
    HalfPrecision,
    Inference,
    InvalidTypeError,
    InvalidValueError,
    LargerStride,
    Linear,
    MaxPool,
    MoreDevices,
    Net,
    ReLU,
    RemoveLayer,
    SmallerBatch,
    Training,
    UnknownNameError,
    profile,
)
from cnnbudget.advice.remedies import stride_of

NET = Net.input(3, 32, 32).then(
    Conv(8, 3, padding="same"), ReLU(), MaxPool(2), Conv(16, (3, 5), stride=(1, 2)), BatchNorm()
)
REMEDIES = [
    SmallerBatch(3),
    MoreDevices(4),
    HalfPrecision(),
    LargerStride("conv", 2),
    LargerStride("conv2", (2, 3)),  # not where the peak is
    RemoveLayer("relu"),
]


@pytest.mark.parametrize("remedy", REMEDIES, ids=repr)
def test_applying_a_remedy_leaves_its_input_alone(remedy):
    scenario = Training(16)
    before = (hash(NET.network), repr(NET.network), repr(scenario))
    network, changed = remedy.apply(NET.network, scenario)
    assert (hash(NET.network), repr(NET.network), repr(scenario)) == before
    assert (network, changed) != (NET.network, scenario)
    if remedy != LargerStride("conv2", (2, 3)):
        assert profile(network, changed).peak < NET.profile(scenario).peak


@pytest.mark.parametrize("remedy", REMEDIES, ids=repr)
def test_remedies_are_values(remedy):
    assert pickle.loads(pickle.dumps(remedy)) == remedy
    assert hash(remedy) == hash(pickle.loads(pickle.dumps(remedy)))
    assert remedy.reason
    assert remedy.cure


def test_what_each_remedy_says():
    scenario = Training(50)
    said = [remedy.describe(NET.network, scenario) for remedy in REMEDIES]
    assert said == [
        "batch 50 -> 3",
        "1 -> 4 devices, at most 13 samples each",
        "FP32 -> FP16",
        "conv: stride 1 -> 2",
        "conv2: stride (1, 2) -> (2, 3)",
        "without relu, ReLU()",
    ]


def test_what_each_remedy_changes():
    scenario = Training(50)
    assert SmallerBatch(3).apply(NET.network, scenario)[1].batch == 3
    assert MoreDevices(4).apply(NET.network, scenario)[1].device_batch == 13
    assert HalfPrecision().apply(NET.network, scenario)[1].precision == FP16
    assert HalfPrecision(BF16).apply(NET.network, scenario)[1].precision == BF16
    assert LargerStride("conv2", (2, 3)).apply(NET.network, scenario)[0]["conv2"].layer == Conv(
        16, (3, 5), stride=(2, 3)
    )
    assert [node.name for node in RemoveLayer("relu").apply(NET.network, scenario)[0].nodes] == [
        "conv",
        "max_pool",
        "conv2",
        "batch_norm",
    ]


def test_the_stride_of_a_pooling_layer_without_one_is_its_window():
    assert stride_of(MaxPool(3)) == 3
    assert stride_of(MaxPool(3, stride=2)) == 2
    assert stride_of(Conv(8, 3, stride=(1, 2))) == (1, 2)
    assert stride_of(DepthwiseConv(3, stride=2)) == 2
    assert stride_of(ReLU()) is None
    assert stride_of(ConvTranspose(8, 3, stride=2)) is None, "there a larger stride makes larger maps"


@pytest.mark.parametrize(
    ("layer", "stride", "skips"),
    [
        (Conv(8, 3), 3, False),
        (Conv(8, 3), 4, True),
        (Conv(8, 1), 2, False),
        (MaxPool((2, 4)), (2, 3), True),
        (ReLU(), 9, False),
    ],
)
def test_a_stride_above_the_window_skips_pixels(layer, stride, skips):
    network = Net.input(3, 32, 32).then(layer).network
    assert LargerStride(network.nodes[0].name, stride).skips_pixels(network) is skips


def test_a_remedy_knows_how_large_it_is():
    assert LargerStride("conv2", (2, 5)).magnitude(NET.network) == 3  # 5 - 2, the axis with the largest stride
    assert RemoveLayer("relu").magnitude(NET.network) == 1


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (
            lambda: SmallerBatch(0),
            InvalidValueError,
            r"SmallerBatch.batch is out of range: got 0, expected an int from 1",
        ),
        (lambda: SmallerBatch(True), InvalidTypeError, r"SmallerBatch.batch must be an int: got True \(bool\)"),
        (lambda: MoreDevices(1.5), InvalidTypeError, r"MoreDevices.count must be an int: got 1.5 \(float\)"),
        (lambda: LargerStride("conv", ()), InvalidValueError, r"LargerStride.stride is empty"),
        (lambda: HalfPrecision("fp16"), InvalidTypeError, r"HalfPrecision.precision must be a Precision: got 'fp16'"),
        (
            lambda: LargerStride("relu", 2).apply(NET.network, Inference()),
            InvalidValueError,
            r"no stride \(at node 'relu'\): got ReLU\(\)",
        ),
        (
            lambda: RemoveLayer("rleu").apply(NET.network, Inference()),
            UnknownNameError,
            r"got 'rleu'; did you mean 'relu'\?",
        ),
    ],
)
def test_bad_remedies(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_removing_what_the_next_layer_needs_is_an_error():
    network = Net.input(3, 4, 4).then(Flatten(), Linear(2)).network
    with pytest.raises(
        ValueError, match=r"Linear does not take this shape \(at node 'linear', Linear\(2\) on \(3, 4, 4\)\)"
    ):
        RemoveLayer("flatten").apply(network, Inference())
