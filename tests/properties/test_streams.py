"""Networks of real layers, run depth-first: the profile's bytes against a run in numpy that counts its arrays."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cnnbudget import (
    FLOAT64,
    Add,
    AvgPool,
    BatchNorm,
    Block,
    Conv,
    Dropout,
    FreeAfterUse,
    Inference,
    MaxPool,
    Net,
    Offload,
    Precision,
    ReLU,
    Streamed,
    Training,
    channel_parallel,
    spatial_parallel,
    streamed,
)
from cnnbudget.analysis.storage import sharing
from cnnbudget.memory.sliding import sliding_prefix
from cnnbudget.planning.referee_tiles import make_weights, run_lines, run_tiles, run_whole

WIDE = Precision("FP64", FLOAT64)  # the referee's values have 8 bytes


@st.composite
def parts(draw, channels, in_place):
    kind = draw(st.sampled_from(["conv", "strided", "pool", "relu", "norm", "dropout", "residual"]))
    if kind == "conv":
        filters = draw(st.integers(1, 3))
        return [Conv(filters, draw(st.sampled_from([1, 3])), padding="same", dilation=draw(st.integers(1, 2)))], filters
    if kind == "strided":
        filters = draw(st.integers(1, 3))
        return [Conv(filters, 3, padding=1, stride=draw(st.sampled_from([1, 2, (1, 2)])))], filters
    if kind == "pool":
        pool = draw(st.sampled_from([MaxPool, AvgPool]))
        return [pool(2, stride=draw(st.integers(1, 2)), padding=1, ceil_mode=draw(st.booleans()))], channels
    if kind == "relu":
        return [ReLU(inplace=draw(st.booleans()) and in_place)], channels
    if kind == "norm":
        return [BatchNorm()], channels
    if kind == "dropout":
        return [Dropout()], channels
    body = Block(Conv(draw(st.integers(1, 3)), 3, padding=1), ReLU(inplace=in_place), Conv(channels, 1))
    return ["residual", body, Add(inplace=draw(st.booleans()) and in_place)], channels


@st.composite
def nets(draw, in_place=True):
    channels = draw(st.integers(1, 2))
    net = Net.input(channels, draw(st.integers(4, 7)), draw(st.integers(4, 7))).then(Conv(2, 3, padding=1))
    channels = 2
    for _ in range(draw(st.integers(1, 4))):
        made, channels = draw(parts(channels, in_place))
        net = net.residual(made[1], merge=made[2]) if made[0] == "residual" else net.then(*made)
    return net


def chain_of(net, **options):
    table = net.costs()
    return sliding_prefix(table, WIDE, sharing(table, training=False), what="test", **options)


@given(nets(), st.data())
def test_a_profile_is_what_a_run_in_tiles_or_lines_holds_and_the_output_is_the_same(net, data):
    outside = data.draw(st.booleans())
    prefix = chain_of(net, input_outside=outside)
    chain = prefix.chain
    assert prefix.end == len(net.network.nodes)  # all of it slides
    weights = make_weights(chain, 0)
    channels = net.network.inputs[0].shape[0]
    if outside:  # the referee takes the image's channels from its bytes
        weights = make_weights(chain_of(net).chain, 0)
    image = np.random.default_rng(1).integers(-5, 6, size=(channels, *chain.sizes[0]))
    whole = run_whole(chain, weights, image)
    plain = Inference(precision=WIDE, retention=FreeAfterUse(temporaries=False))
    if not outside:
        assert net.profile(plain).activation_peak == whole.peak_bytes
    assert net.mac_count == whole.macs
    split = data.draw(st.sampled_from(chain.splits[1:]))
    grid = tuple(data.draw(st.integers(1, size)) for size in chain.sizes[split])
    for variant, run_it in (("tiles", run_tiles), ("lines", run_lines)):
        cut = grid if variant == "tiles" else (1, *grid[1:])
        policy = Streamed(prefix.name(split), cut, variant=variant, input_outside=outside)
        found = streamed(net.network, Inference(precision=WIDE, retention=policy))
        run = run_it(chain, weights, image, split, cut)
        assert np.array_equal(run.output, whole.output)
        assert found.profile.activation_peak == run.peak_bytes
        assert found.extra_macs == run.macs - whole.macs


@given(nets(), st.integers(1, 3))
def test_the_plan_is_never_worse_than_layer_by_layer(net, batch):
    scenario = Inference(batch, retention=Streamed(most_tiles=3))
    found = streamed(net.network, scenario)
    plain = net.profile(Inference(batch, retention=FreeAfterUse(temporaries=False)))
    assert found.peak <= found.whole_peak == plain.peak
    assert found.peak == net.profile(scenario).peak == min(row["peak"] for row in found.rows())
    works = [row["extra_macs"] for row in found.rows()]
    assert works == sorted(works, reverse=True)


@given(nets(), st.integers(2, 4))
def test_devices_hold_no_more_than_one_that_has_all_and_what_it_receives(net, devices):
    alone = net.profile(Inference(retention=FreeAfterUse(temporaries=False)))
    table = net.costs()
    if min(cost.output.shape[0] for cost in table) >= devices:
        found = channel_parallel(table, devices)
        assert all(device.peak <= alone.peak for device in found.devices)
        assert sum(device.received for device in found.devices) == found.total_traffic
    rows = [net.network.inputs[0].shape[1], table.nodes[0].output.shape[1]]
    if min(rows) >= devices:
        found = spatial_parallel(table, devices)
        assert all(device.peak <= alone.peak for device in found.devices)
        assert sum(device.received for device in found.devices) == found.total_traffic


@given(nets(in_place=False), st.booleans(), st.integers(1, 2000))
def test_what_leaves_the_device_comes_back_and_never_raises_what_is_kept(net, prefetch, least):
    plain = net.profile(Training(2, retention=Offload(least=2**40)))
    found = net.profile(Training(2, retention=Offload(least=least, prefetch=prefetch)))
    assert plain.moved_bytes == 0
    assert found.retained + found.moved_bytes // 2 == plain.retained
    assert found.peak <= plain.peak
    assert net.profile(Training(2, retention=Offload(least=least, prefetch=False))).peak <= found.peak
