"""What each of several devices holds and sends if parameters, rows or channels are shared out. Exact ints, ceilings included."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from attrs import frozen

from cnnbudget.checks import exact_int
from cnnbudget.errors import InvalidTypeError, InvalidValueError, shorten
from cnnbudget.planning.plan import LARGEST_SIZE
from cnnbudget.planning.tiles import SlidingChain, tile_bounds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import SupportsIndex

__all__ = ["ChannelShare", "ParameterShare", "SpatialShare", "channel_split", "shard_parameters", "spatial_split"]


@frozen
class ParameterShare:
    """What the fullest of several data-parallel devices holds for the parameters, and sends for them in a step.

    Args:
        parameter_bytes: Parameters.
        gradient_bytes: Their gradients.
        optimizer_bytes: Optimizer state.
        sent_bytes: What it sends in one step.
    """

    parameter_bytes: int
    gradient_bytes: int
    optimizer_bytes: int
    sent_bytes: int

    @property
    def total_bytes(self) -> int:
        """What it holds in all."""
        return self.parameter_bytes + self.gradient_bytes + self.optimizer_bytes


def shard_parameters(
    parameters: SupportsIndex | Sequence[SupportsIndex],
    devices: SupportsIndex,
    level: SupportsIndex,
    *,
    parameter_width: SupportsIndex = 2,
    gradient_width: SupportsIndex = 2,
    optimizer_width: SupportsIndex = 12,
) -> ParameterShare:
    """Shares out what belongs to parameters among devices that each see a part of the batch.

    Rajbhandari, Rasley, Ruwase and He, "ZeRO: Memory optimizations toward training trillion parameter models" (2020): level 0
    shares nothing, 1 the optimizer state, 2 the gradients, too, 3 the parameters, too. Sent bytes are those of rings, each of
    which passes on all shards but one: gradients are reduced into shards and gathered (level 0); gradients are reduced and
    parameters gathered (1 and 2); parameters are gathered twice, forward and backward (3).

    *Counts*: shards rounded up, group by group. *Does not count*: parameters gathered for a moment at level 3; buffers of the
    communication.

    Args:
        parameters: How many; or how many in each group that is shared out by itself.
        devices: How many.
        level: 0 to 3.
        parameter_width: Bytes of a parameter.
        gradient_width: Bytes of a gradient.
        optimizer_width: Bytes of optimizer state for one parameter: 12 for Adam in mixed precision.

    Returns:
        The share of the fullest device.

    Example:
        >>> [shard_parameters(7_500_000_000, 64, level).total_bytes / 10**9 for level in range(4)]
        [120.0, 31.40625, 16.640625, 1.875]
    """
    groups = tuple(parameters) if isinstance(parameters, (tuple, list)) else (parameters,)
    counts = [exact_int(group, f"parameters[{at}]", 0, LARGEST_SIZE) for at, group in enumerate(groups)]
    count = exact_int(devices, "devices")
    shared = exact_int(level, "level", 0, 3)
    widths = [
        exact_int(width, name, 0)
        for width, name in (
            (parameter_width, "parameter_width"),
            (gradient_width, "gradient_width"),
            (optimizer_width, "optimizer_width"),
        )
    ]
    whole, shard = sum(counts), sum(-(-group // count) for group in counts)
    held = [width * (shard if shared >= least else whole) for width, least in zip(widths, (3, 2, 1), strict=True)]
    ring = (count - 1) * shard  # elements that each device sends while all shards go round once
    weight, gradient, _ = widths
    sent = ring * ((gradient + gradient) if shared == 0 else gradient + weight * (2 if shared == 3 else 1))
    return ParameterShare(held[0], held[1], held[2], sent)


@frozen
class SpatialShare:
    """Rows of every value shared out, device by device.

    Args:
        own_bytes: For every value, bytes of each device's own rows.
        halo_bytes: For every layer, bytes of the rows that each device receives from others before it.
        device_bytes: For each device, the most bytes alive while a layer runs: own rows of values, and the halo.
    """

    own_bytes: tuple[tuple[int, ...], ...]
    halo_bytes: tuple[tuple[int, ...], ...]
    device_bytes: tuple[int, ...]

    @property
    def traffic_bytes(self) -> int:
        """Halos of all layers and devices."""
        return sum(map(sum, self.halo_bytes))


def spatial_split(chain: SlidingChain, devices: SupportsIndex, *, axis: SupportsIndex = 0) -> SpatialShare:
    """Shares out the rows of every value of a chain among devices; each layer first exchanges the halo that it reads.

    Args:
        chain: The layers. The input is counted only if it has bytes.
        devices: How many; at most as many as the smallest value has rows.
        axis: The spatial axis that is cut.

    Returns:
        The bytes.

    Raises:
        InvalidValueError: If a value has fewer rows than there are devices.

    Example:
        >>> from cnnbudget.planning.tiles import Axis, Sliding
        >>> layer = Sliding([Axis(8, kernel=3, before=1, after=1)] * 2, output_bytes=4)
        >>> share = spatial_split(SlidingChain([layer] * 2), 2)
        >>> share.own_bytes[1], share.halo_bytes[1], share.device_bytes
        ((128, 128), (32, 32), (288, 288))
    """
    if not isinstance(chain, SlidingChain):
        raise InvalidTypeError(
            "chain must be a SlidingChain", got=shorten(chain), expected="SlidingChain([Sliding(...)])"
        )
    count = exact_int(devices, "devices")
    along = exact_int(axis, "axis", 0, len(chain.sizes[0]) - 1)
    for value, size in enumerate(chain.sizes):
        if size[along] < count:
            raise InvalidValueError(
                "there are more devices than rows",
                where=f"value {value}, {size}",
                got=f"{count} devices",
                expected=f"at most {size[along]}",
                hint="share out fewer layers",
            )
    rows = [tile_bounds(size[along], count) for size in chain.sizes]
    row_bytes = [prod(size) // size[along] * each for size, each in zip(chain.sizes, chain.position_bytes, strict=True)]
    own = tuple(tuple((high - low) * each for low, high in cut) for cut, each in zip(rows, row_bytes, strict=True))
    halos = []
    for number, layer in enumerate(chain.layers):  # what a layer adds is cut like its output: no halo
        received = []
        for (low, high), made in zip(rows[number], rows[number + 1], strict=True):
            first, end = layer.axes[along].needed(*made)
            received.append(((end - first) - max(min(end, high) - max(first, low), 0)) * row_bytes[number])
        halos.append(tuple(received))
    most = [
        max(
            chain.live_bytes(number, [value[device] for value in own]) + halos[number][device]
            for number in range(len(halos))
        )
        for device in range(count)
    ]
    return SpatialShare(own, tuple(halos), tuple(most))


@frozen
class ChannelShare:
    """Channels of every value shared out, device by device.

    Args:
        own_bytes: For every value, bytes of each device's own channels.
        gathered_bytes: For every value, bytes of the other channels, which each device receives before the next layer.
    """

    own_bytes: tuple[tuple[int, ...], ...]
    gathered_bytes: tuple[tuple[int, ...], ...]

    @property
    def traffic_bytes(self) -> int:
        """Everything that is received, of all values and devices."""
        return sum(map(sum, self.gathered_bytes))


def channel_split(
    channels: Sequence[SupportsIndex], channel_bytes: Sequence[SupportsIndex], devices: SupportsIndex
) -> ChannelShare:
    """Shares out the channels that layers make; each device makes its own from all channels of the value before.

    Args:
        channels: Channels of every value.
        channel_bytes: Bytes of one channel of every value.
        devices: How many; at most as many as the narrowest value has channels.

    Returns:
        The bytes.

    Example:
        >>> channel_split([5], [100], 2)
        ChannelShare(own_bytes=((200, 300),), gathered_bytes=((300, 200),))
    """
    count = exact_int(devices, "devices")
    counts = [exact_int(number, f"channels[{at}]") for at, number in enumerate(channels)]
    sizes = tuple(exact_int(size, f"channel_bytes[{at}]", 0, LARGEST_SIZE) for at, size in enumerate(channel_bytes))
    if len(counts) != len(sizes) or not counts:
        raise InvalidValueError(
            "channels and channel_bytes do not fit",
            got=f"{len(counts)} and {len(sizes)}",
            expected="as many of each, not none",
        )
    if min(counts) < count:
        raise InvalidValueError(
            "there are more devices than channels",
            where=f"value {counts.index(min(counts))}",
            got=f"{count} devices",
            expected=f"at most {min(counts)}",
        )
    own = tuple(
        tuple((high - low) * size for low, high in tile_bounds(number, count))
        for number, size in zip(counts, sizes, strict=True)
    )
    rest = tuple(
        tuple(number * size - mine for mine in value) for number, size, value in zip(counts, sizes, own, strict=True)
    )
    return ChannelShare(own, rest)
