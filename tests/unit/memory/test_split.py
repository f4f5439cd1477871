"""One prediction on several devices: rows and channels, bytes and traffic, by hand."""

import pytest

from cnnbudget import (
    AMP_FP16,
    FP16,
    Add,
    BatchNorm,
    Concat,
    Conv,
    DataParallel,
    DepthwiseConv,
    Flatten,
    FreeAfterUse,
    Inference,
    Input,
    InvalidTypeError,
    InvalidValueError,
    LayerNorm,
    Linear,
    MaxPool,
    Net,
    Network,
    Node,
    PReLU,
    ReLU,
    Reshape,
    Softmax,
    Training,
    UnknownNameError,
    channel_parallel,
    spatial_parallel,
    zoo,
)
from cnnbudget.planning.sharding import channel_split

EXERCISE = zoo.textbook_exercise()
PARAMETERS = 4 * 903_400


def test_rows_of_the_exercise():
    found = spatial_parallel(EXERCISE.network, 2)
    # The maps have 100, 50 and 25 rows, the image 200. "same" with stride 2 on an even number pads at the end only: device 0 lacks
    # one row of the image and one of the first maps; of the third maps device 0 makes 12 of 25, so device 1 lacks a row there.
    assert found.traffic == {"conv": 300 * 12, "conv2": 150 * 400, "conv3": 75 * 800}
    assert [device.received for device in found.devices] == [3600 + 60_000, 60_000]
    # The second convolution: halves of the first and second maps, and the row.
    assert [device.values for device in found.devices] == [3_000_000 + 1_500_000 + 60_000, 4_500_000]
    assert {device.parameters for device in found.devices} == {PARAMETERS}
    assert found.peak == PARAMETERS + 4_560_000
    assert found.whole_from is None
    across = spatial_parallel(EXERCISE.network, 2, axis=1)
    assert across.traffic["conv2"] != found.traffic["conv2"]


def test_a_batch_and_replicas_of_it():
    one, four = (spatial_parallel(EXERCISE.network, 2, Inference(batch)) for batch in (1, 4))
    assert [device.values for device in four.devices] == [4 * device.values for device in one.devices]
    assert four.total_traffic == 4 * one.total_traffic
    assert spatial_parallel(EXERCISE.network, 2, Inference(8, devices=2)) == four
    assert channel_parallel(EXERCISE.network, 2, Inference(8, devices=2)) == channel_parallel(
        EXERCISE.network, 2, Inference(4)
    )
    half = spatial_parallel(EXERCISE.network, 2, Inference(precision=FP16))
    assert half.peak * 2 == one.peak


# Rows of 2 x 8 x 4 x 4 bytes and fewer: 8 maps of 8 x 4, pooled to 4 x 2, then 10 classes.
SMALL = Net.input(1, 8, 4).then(Conv(8, 3, padding=1, bias=False), MaxPool(2), Flatten(), Linear(10, bias=False))


def test_one_device_goes_on_alone():
    found = spatial_parallel(SMALL.network, 2)
    assert found.whole_from == "flatten"
    # The halo of the convolution: a row of the image for each. Then device 0 receives the other's half of the pooled maps.
    assert found.traffic == {"conv": 2 * 16, "flatten": 8 * 2 * 2 * 4}
    first, second = found.devices
    assert first.parameters == 4 * (8 * 9 + 64 * 10)
    assert second.parameters == 4 * 8 * 9
    # The pooling: halves of 8 maps of 8 x 4 and of 4 x 2.
    assert second.values == 4 * (8 * 16 + 8 * 4)
    assert first.values == second.values  # the rest needs 64 + 10 values
    assert spatial_parallel(SMALL.network, 2, until="conv").whole_from == "max_pool"
    early = spatial_parallel(SMALL.network, 2, until="conv").devices[0]
    assert early.values == 4 * (8 * 32 + 8 * 8)
    # With 8 devices the pooled maps have too few rows: the convolution alone is shared out.
    assert spatial_parallel(SMALL.network, 8).whole_from == "max_pool"


def test_channels_of_the_exercise():
    found = channel_parallel(EXERCISE.network, 2)
    # Each receives the half that it lacks of the first and of the second maps; the image is everywhere.
    assert found.traffic == {"conv2": 6_000_000, "conv3": 3_000_000}
    planned = channel_split([100, 200], [60_000, 15_000], 2)
    assert found.total_traffic == planned.traffic_bytes
    assert [device.received for device in found.devices] == [4_500_000] * 2
    # While the second convolution runs: the first maps, its own half of them among them, and half of the second.
    assert [device.values for device in found.devices] == [6_000_000 + 1_500_000] * 2
    assert [device.parameters for device in found.devices] == [PARAMETERS // 2] * 2


def test_layers_that_work_on_the_channels_that_are_there():
    net = Net.input(3, 8, 8).then(
        Conv(6, 1, bias=False), BatchNorm(), ReLU(inplace=True), DepthwiseConv(3, padding=1, bias=False), PReLU()
    )
    found = channel_parallel(net.network, 4)
    assert found.total_traffic == 0
    # 6 maps on 4 devices: 1, 2, 1, 2. PReLU's one slope is everywhere.
    maps = [1, 2, 1, 2]
    assert [device.parameters for device in found.devices] == [
        4 * (3 * count + 2 * count + 2 * count + 9 * count + 1) for count in maps
    ]
    assert [device.values for device in found.devices] == [4 * 64 * max(3 + count, 2 * count) for count in maps]


def test_a_depthwise_convolution_of_the_input_is_shared_out_by_filters():
    found = channel_parallel(Net.input(4, 8, 8).then(DepthwiseConv(3, padding=1, bias=False)).network, 2)
    assert found.total_traffic == 0
    assert [device.parameters for device in found.devices] == [4 * 2 * 9] * 2
    assert [device.values for device in found.devices] == [4 * 64 * (4 + 2)] * 2
    # What works on the input as a whole stays whole.
    relu = channel_parallel(Net.input(4, 8, 8).then(ReLU(), Conv(2, 1)).network, 2)
    assert relu.total_traffic == 0
    assert {device.values for device in relu.devices} == {4 * 64 * 8}


def test_concatenations_sums_and_what_needs_all_channels():
    net = Net.input(2, 4, 4).then(Conv(3, 1)).branch(Conv(3, 1), Conv(5, 1)).then(Conv(8, 1), LayerNorm())
    found = channel_parallel(net.network, 2)
    # Both ways gather the 3 maps; the joined 8 maps are 1 + 2 and 2 + 3 of them, and lack the rest; likewise before the norm.
    assert found.traffic == {"conv2": 64 * 3, "conv3": 64 * 3, "conv4": 64 * 8, "layer_norm": 64 * 8}
    assert [device.received for device in found.devices] == [64 * (2 + 2 + 5 + 4), 64 * (1 + 1 + 3 + 4)]
    # An input that is joined is everywhere as a whole, and the sum of what is and what is not whole needs all of it.
    joined = Network([Input("x", (2, 4, 4))], [Node("a", Conv(2, 1), ["x"]), Node("b", Concat(), ["a", "x"])], ["b"])
    assert channel_parallel(joined, 2).traffic == {"b": 64 * 2}
    summed = Network([Input("x", (2, 4, 4))], [Node("a", Conv(2, 1), ["x"]), Node("b", Add(), ["a", "x"])], ["b"])
    assert channel_parallel(summed, 2).traffic == {"b": 64 * 2}


def test_a_head():
    found = channel_parallel(SMALL.then(Softmax()).network, 2)
    # The linear layer needs all 64 features, of which each device has half; the softmax all 10 classes.
    assert found.traffic == {"linear": 4 * 64, "softmax": 4 * 10}
    assert {device.parameters for device in found.devices} == {4 * (4 * 9 + 64 * 5)}
    rows = channel_parallel(Net.input(4, 4, 6).then(Linear(6, axis=2)).network, 2)
    assert {device.parameters for device in rows.devices} == {4 * (36 + 6)}  # its features are no channels


def test_statistics_are_shared_out_and_counters_are_not():
    net = Net.input(2, 4, 4).then(Conv(4, 1, bias=False), BatchNorm(count_batches=True))
    alone = net.profile(Inference(retention=FreeAfterUse(temporaries=False)))
    found = channel_parallel(net.network, 2)
    counter = 8
    always = sum(each.byte_count(1) for each in alone.lifetimes.schedule.storages if each.persistent)
    assert {device.parameters for device in found.devices} == {(always - counter) // 2 + counter}


def test_what_they_print():
    for found in (spatial_parallel(SMALL.network, 2), channel_parallel(SMALL.network, 2)):
        lines = str(found).splitlines()
        assert len(lines) == 5
        assert [row["device"] for row in found.rows()] == [0, 1]
        assert "<table" in found._repr_html_()
    head = str(spatial_parallel(SMALL.network, 2)).splitlines()[0]
    assert head.startswith("Rows on 2 devices, device 0 alone from flatten on: the fullest holds ")


@pytest.mark.parametrize("share_out", [spatial_parallel, channel_parallel])
def test_what_both_refuse(share_out):
    with pytest.raises(InvalidTypeError, match=r"_parallel\(\) needs an inference: got Training"):
        share_out(SMALL.network, 2, Training())
    with pytest.raises(InvalidTypeError, match=r"_parallel\(\) takes a network"):
        share_out(SMALL, 2)
    with pytest.raises(InvalidValueError, match="shared-out parameters or mixed precision"):
        share_out(SMALL.network, 2, Inference(precision=AMP_FP16))
    with pytest.raises(InvalidValueError, match="shared-out parameters or mixed precision"):
        share_out(SMALL.network, 2, Inference(devices=DataParallel(2, zero=3)))
    with pytest.raises(InvalidValueError, match="devices"):
        share_out(SMALL.network, 1)


def test_what_is_refused():
    with pytest.raises(InvalidValueError, match="more devices than rows: got 9 devices for values of 8 and 8 rows"):
        spatial_parallel(SMALL.network, 9)
    with pytest.raises(InvalidValueError, match="there are more devices than rows"):
        spatial_parallel(SMALL.network, 8, until="max_pool")
    with pytest.raises(UnknownNameError, match="until is no node of the chain of windows"):
        spatial_parallel(SMALL.network, 2, until="linear")
    with pytest.raises(InvalidValueError, match="axis"):
        spatial_parallel(SMALL.network, 2, axis=2)
    with pytest.raises(
        InvalidValueError, match=r"more devices than channels .*'conv'.*got 9 devices, expected at most 8"
    ):
        channel_parallel(SMALL.network, 9)
    view = Net.input(4, 4, 4).then(Conv(4, 1), Reshape((16, 2, 2)))
    with pytest.raises(InvalidValueError, match=r"cannot share out a view of a part .*got Reshape"):
        channel_parallel(view.network, 2)
