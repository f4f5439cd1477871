"""Shares of parameters, rows and channels: published figures, and by hand."""

import pytest

from cnnbudget import InvalidTypeError, InvalidValueError
from cnnbudget.planning.sharding import channel_split, shard_parameters, spatial_split
from cnnbudget.planning.tiles import Axis, Sliding, SlidingChain


@pytest.mark.parametrize("level, published", [(0, 120), (1, 31.4), (2, 16.6), (3, 1.9)])
def test_the_figures_of_zero(level, published):
    # Rajbhandari et al. (2020), Figure 1: 7.5 billion parameters, 64 devices, K = 12; GB of 10^9 bytes
    assert round(shard_parameters(7_500_000_000, 64, level).total_bytes / 10**9, 1) == published


@pytest.mark.parametrize("level, volumes", [(0, 2), (1, 2), (2, 2), (3, 3)])
def test_the_communication_of_zero(level, volumes):
    # Section 7: twice the size of the model up to level 2, three times at level 3; each device of n passes on n - 1 shards
    share = shard_parameters(6400, 64, level)
    assert share.sent_bytes == volumes * 63 * 100 * 2


def test_shards_are_rounded_up_group_by_group():
    share = shard_parameters([5, 7], 3, 3, parameter_width=4, gradient_width=4, optimizer_width=8)
    assert (share.parameter_bytes, share.gradient_bytes, share.optimizer_bytes) == (20, 20, 40)  # 2 + 3 elements
    assert share.total_bytes == 80
    assert shard_parameters([12], 3, 1, parameter_width=4).parameter_bytes == 48


def test_one_device_shares_nothing_and_sends_nothing():
    alone = {shard_parameters(1000, 1, level) for level in range(4)}
    assert {(share.total_bytes, share.sent_bytes) for share in alone} == {(16_000, 0)}


def brute_force_halo(axis, devices):
    """Rows that each device reads and does not own, position by position."""
    own_in = [range(d * axis.size // devices, (d + 1) * axis.size // devices) for d in range(devices)]
    own_out = [range(d * axis.output // devices, (d + 1) * axis.output // devices) for d in range(devices)]
    return [len({at for row in own_out[d] for at in axis.touched(row)} - set(own_in[d])) for d in range(devices)]


# no stride wider than the kernel: between strides a block has rows that nobody reads
@pytest.mark.parametrize("kernel, stride", [(1, 1), (2, 1), (2, 2), (3, 1), (3, 2), (5, 2)])
@pytest.mark.parametrize("size", [8, 9, 13])
@pytest.mark.parametrize("devices", [1, 2, 3, 4])
def test_halos_row_by_row(kernel, stride, size, devices):
    axis = Axis(size, kernel=kernel, stride=stride, before=kernel // 2, after=kernel // 2)
    chain = SlidingChain([Sliding([axis, Axis(5)], output_bytes=1)], input_bytes=3)
    share = spatial_split(chain, devices)
    assert share.halo_bytes[0] == tuple(15 * rows for rows in brute_force_halo(axis, devices))
    assert share.traffic_bytes == sum(share.halo_bytes[0])
    assert sum(share.own_bytes[0]) == size * 15


def test_two_layers_on_two_devices_by_hand():
    layer = Sliding([Axis(8, kernel=3, before=1, after=1)] * 2, output_bytes=4)
    share = spatial_split(SlidingChain([layer] * 2, input_bytes=1), 2)
    assert share.own_bytes == ((32, 32), (128, 128), (128, 128))
    assert share.halo_bytes == ((8, 8), (32, 32))  # one row each
    assert share.device_bytes == (128 + 128 + 32,) * 2
    across = spatial_split(SlidingChain([layer] * 2, input_bytes=1), 2, axis=1)
    assert across == share


def test_what_is_added_needs_no_halo():
    first = Sliding([Axis(8)], output_bytes=1)
    chain = SlidingChain([first, Sliding([Axis(8)], output_bytes=1, adds=0)], input_bytes=1)
    share = spatial_split(chain, 4)
    assert share.traffic_bytes == 0
    assert share.device_bytes == (6,) * 4


def test_channels_by_hand():
    share = channel_split([64, 10], [100, 7], 4)
    assert share.own_bytes == ((1600,) * 4, (14, 21, 14, 21))
    assert share.gathered_bytes == ((4800,) * 4, (56, 49, 56, 49))
    assert share.traffic_bytes == 4 * 4800 + 3 * 70  # everybody but the owner receives each channel
    assert channel_split([3], [5], 1).traffic_bytes == 0


@pytest.mark.parametrize(
    "ask, kind, text",
    [
        (lambda: shard_parameters(-1, 1, 0), InvalidValueError, r"parameters\[0\] is out of range: got -1"),
        (lambda: shard_parameters(2**63, 1, 0), InvalidValueError, r"parameters\[0\] is out of range"),
        (lambda: shard_parameters(1.5, 1, 0), InvalidTypeError, r"parameters\[0\] must be an int: got 1.5"),
        (lambda: shard_parameters(1, 0, 0), InvalidValueError, "devices is out of range: got 0"),
        (
            lambda: shard_parameters(1, 1, 4),
            InvalidValueError,
            "level is out of range: got 4, expected an int from 0 to 3",
        ),
        (
            lambda: shard_parameters(1, 1, 0, gradient_width=-2),
            InvalidValueError,
            "gradient_width is out of range: got -2",
        ),
        (lambda: spatial_split([1], 2), InvalidTypeError, "chain must be a SlidingChain"),
        (
            lambda: spatial_split(SlidingChain([Sliding([Axis(9, kernel=4, stride=2)], output_bytes=1)]), 4),
            InvalidValueError,
            r"more devices than rows \(at value 1, \(3,\)\): got 4 devices, expected at most 3; share out fewer layers",
        ),
        (
            lambda: spatial_split(SlidingChain([Sliding([Axis(9)], output_bytes=1)]), 1, axis=1),
            InvalidValueError,
            "axis is out of range: got 1",
        ),
        (lambda: channel_split([8, 3], [1, 1], 4), InvalidValueError, r"more devices than channels \(at value 1\)"),
        (lambda: channel_split([8], [1, 1], 2), InvalidValueError, "do not fit: got 1 and 2"),
        (lambda: channel_split([], [], 2), InvalidValueError, "do not fit: got 0 and 0"),
        (lambda: channel_split([8], [-1], 2), InvalidValueError, r"channel_bytes\[0\] is out of range: got -1"),
    ],
)
def test_bad_input(ask, kind, text):
    with pytest.raises(kind, match=text):
        ask()
