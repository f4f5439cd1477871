"""One prediction on several devices: the rows of every value shared out, or its channels.

Rows: each device computes a strip of every map; before a layer whose windows reach over the edge of the strip, it receives the rows
that it lacks, the *halo*. Channels: each device computes some feature maps of every layer; before a layer that mixes channels, it
receives all the others. Sources: Dryden et al., "Improving strong-scaling of CNN training by exploiting finer-grained
parallelism" (2019) for rows, Krizhevsky, "One weird trick for parallelizing convolutional neural networks" (2014) for channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from cnnbudget.analysis.costs import CostTable, costs
from cnnbudget.analysis.storage import sharing
from cnnbudget.checks import exact_int
from cnnbudget.dtypes import Role
from cnnbudget.errors import InvalidTypeError, InvalidValueError, shorten
from cnnbudget.graph.nodes import Network, check_network
from cnnbudget.graph.shapes import place_of
from cnnbudget.layers.activation import LogSoftmax, Softmax
from cnnbudget.layers.base import ElementwiseLayer
from cnnbudget.layers.conv import Conv, DepthwiseConv
from cnnbudget.layers.linear import Linear
from cnnbudget.layers.merge import Add, Concat, Maximum, Multiply
from cnnbudget.layers.norm import BatchNorm, GroupNorm, InstanceNorm, LayerNorm, LocalResponseNorm
from cnnbudget.layers.pool import (
    AdaptiveAvgPool,
    AdaptiveMaxPool,
    GlobalAvgPool,
    GlobalMaxPool,
    WindowPool,
)
from cnnbudget.layers.reshape import Flatten
from cnnbudget.memory.liveness import liveness
from cnnbudget.memory.retention import FreeAfterUse
from cnnbudget.memory.scenario import Inference
from cnnbudget.memory.schedule import Phase, Step, Storage
from cnnbudget.memory.sliding import sliding_prefix
from cnnbudget.planning.sharding import spatial_split
from cnnbudget.planning.tiles import SlidingChain, tile_bounds
from cnnbudget.tables import Column, html_table, text_table
from cnnbudget.units import Bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import SupportsIndex

    from cnnbudget.analysis.costs import NodeCost
    from cnnbudget.memory.schedule import Schedule

__all__ = ["DeviceShare", "SplitProfile", "channel_parallel", "spatial_parallel"]

_COLUMNS = (
    Column("device", right=True),
    Column("peak", right=True),
    Column("bytes", right=True),
    Column("parameters", right=True),
    Column("values", right=True),
    Column("received", right=True),
)

_OF_CHANNELS = (
    ElementwiseLayer,
    WindowPool,
    AdaptiveAvgPool,
    AdaptiveMaxPool,
    GlobalAvgPool,
    GlobalMaxPool,
    DepthwiseConv,
    Add,
    Maximum,
    Multiply,
    Flatten,
)
_MIXING = (Softmax, LogSoftmax, LayerNorm, GroupNorm, LocalResponseNorm)


@frozen
class DeviceShare:
    """What one device has.

    Args:
        peak: The most bytes that it holds.
        parameters: Parameters and buffers.
        values: The most bytes of values, its own and those received for a moment.
        received: Bytes that it receives in one prediction.
    """

    peak: Bytes
    parameters: Bytes
    values: Bytes
    received: Bytes


@frozen
class SplitProfile:
    """One prediction on several devices.

    Args:
        kind: ``"rows"`` or ``"channels"``.
        devices: What each has.
        traffic: What is received before each node, by all devices together, where it is not nothing.
        whole_from: The node that one device runs alone with all after it; ``None`` if none.
    """

    kind: str
    devices: tuple[DeviceShare, ...]
    traffic: Mapping[str, Bytes] = field(repr=False)
    whole_from: str | None = None

    @property
    def peak(self) -> Bytes:
        """The most bytes that any device holds."""
        return max(device.peak for device in self.devices)

    @property
    def total_traffic(self) -> Bytes:
        """What all devices receive in one prediction."""
        return Bytes(sum(self.traffic.values()))

    def rows(self) -> list[dict[str, Any]]:
        """The devices as data.

        Returns:
            One dict a device, with ``device``, ``peak``, ``parameters``, ``values``, ``received``.
        """
        return [
            {
                "device": number,
                "peak": int(device.peak),
                "parameters": int(device.parameters),
                "values": int(device.values),
                "received": int(device.received),
            }
            for number, device in enumerate(self.devices)
        ]

    def _cells(self) -> list[Sequence[object]]:
        return [
            (row["device"], str(Bytes(row["peak"])), row["peak"], row["parameters"], row["values"], row["received"])
            for row in self.rows()
        ]

    def _heading(self) -> str:
        alone = f", device 0 alone from {self.whole_from} on" if self.whole_from else ""
        return (
            f"{self.kind.capitalize()} on {len(self.devices)} devices{alone}: the fullest holds {self.peak}; "
            f"{self.total_traffic} are sent in a prediction."
        )

    def __str__(self) -> str:
        return f"{self._heading()}\n{text_table(_COLUMNS, self._cells())}"

    def _repr_html_(self) -> str:
        import html  # notebooks only

        return f"<p>{html.escape(self._heading())}</p>{html_table(_COLUMNS, self._cells())}"


def _start(network: Network | CostTable, scenario: Inference | None, who: str) -> tuple[CostTable, Inference]:
    """Checks what a function was given, and leaves of the scenario what counts: batch, precision, replicas."""
    scenario = Inference() if scenario is None else scenario
    if not isinstance(scenario, Inference):
        raise InvalidTypeError(f"{who} needs an inference", got=shorten(scenario), expected="for example Inference()")
    if scenario.devices.zero or scenario.precision.autocast:
        raise InvalidValueError(
            f"{who} does not go with shared-out parameters or mixed precision",
            got=f"{scenario.devices}, {scenario.precision}",
            expected="DataParallel(..., zero=0) and one width for all values",
        )
    if not isinstance(network, CostTable):
        check_network(network, who)
        network = costs(network)
    return network, Inference(scenario.batch, precision=scenario.precision, devices=scenario.devices)


def spatial_parallel(
    network: Network | CostTable,
    devices: SupportsIndex,
    scenario: Inference | None = None,
    *,
    until: str | None = None,
    axis: SupportsIndex = 0,
) -> SplitProfile:
    """Shares out the rows of every value among devices, from the input on as far as layers slide and there are rows enough.

    Then device 0 receives the rest of the value and runs the other nodes alone. *Counts*: on every device the parameters of
    the nodes that it runs, its rows of the values, the halo of the layer that runs. *Does not count*: temporaries of kernels. Data
    parallelism goes with it: with ``Inference(64, devices=4)`` every one of 4 groups of devices splits 16 samples.

    Args:
        network: The network, or its costs.
        devices: How many.
        scenario: How it runs; its policy does not matter.
        until: The last node whose rows are shared out; as late as possible, unless told.
        axis: The spatial axis that is cut.

    Returns:
        What every device holds and receives.

    Raises:
        InvalidTypeError: If the scenario is no inference.
        InvalidValueError: If no value has so many rows, or the network begins with no chain of windows.

    Example:
        >>> from cnnbudget import zoo
        >>> print(spatial_parallel(zoo.textbook_exercise().network, 2))
        Rows on 2 devices: the fullest holds 7.79 MiB; 120.70 KiB are sent in a prediction.
        device      peak      bytes  parameters     values  received
        ------  --------  ---------  ----------  ---------  --------
             0  7.79 MiB  8,173,600   3,613,600  4,560,000    63,600
             1  7.74 MiB  8,113,600   3,613,600  4,500,000    60,000
    """
    table, scenario = _start(network, scenario, "spatial_parallel()")
    count = exact_int(devices, "devices", 2)
    shared = sharing(table, training=False)
    prefix = sliding_prefix(table, scenario.precision, shared, what="spatial_parallel()")
    chain = prefix.chain
    along = exact_int(axis, "axis", 0, len(chain.sizes[0]) - 1)
    fitting = [
        split for split in chain.splits if split and all(size[along] >= count for size in chain.sizes[: split + 1])
    ]
    if until is not None:
        split = prefix.split_at(until, "until")
    elif fitting:
        split = fitting[-1]
    else:
        raise InvalidValueError(
            "there are more devices than rows",
            got=f"{count} devices for values of {chain.sizes[0][along]} and {chain.sizes[1][along]} rows",
            expected="fewer devices",
        )
    share = spatial_split(SlidingChain(chain.layers[:split], input_bytes=chain.input_bytes), count, axis=along)
    batch = scenario.device_batch
    base = FreeAfterUse(temporaries=False).schedule(table, scenario)
    made = {name for name, number in prefix.numbers.items() if number <= split}
    rest = [position for position, cost in enumerate(table.nodes) if cost.name not in made]
    halos = [sum(layer) for layer in share.halo_bytes]
    traffic = {prefix.layers[number].name: Bytes(batch * halo) for number, halo in enumerate(halos) if halo}
    received = [batch * sum(layer[device] for layer in share.halo_bytes) for device in range(count)]
    values = [batch * size for size in share.device_bytes]
    parameters = _persistent(base, {cost.name for cost in prefix.layers[:split]} | made)
    held = [parameters] * count
    if rest:  # device 0 gathers the value, and goes on alone
        gathered = batch * (chain.value_bytes(split) - share.own_bytes[split][0])
        first = table.nodes[rest[0]].name
        traffic[first] = Bytes(traffic.get(first, 0) + gathered)
        received[0] += gathered
        lifetimes = liveness(base)
        always = _persistent(base, None)
        live = lifetimes.live_bytes(batch)
        values[0] = max(values[0], max(live[position + 1] for position in rest) - always)
        held[0] = always
    return SplitProfile(
        "rows",
        tuple(
            DeviceShare(Bytes(own + size), Bytes(own), Bytes(size), Bytes(got))
            for own, size, got in zip(held, values, received, strict=True)
        ),
        traffic,
        table.nodes[rest[0]].name if rest else None,
    )


def _persistent(schedule: Schedule, names: set[str] | None) -> int:
    """Bytes of parameters and buffers, of some nodes or of all."""
    return sum(
        [each.byte_count(1) for each in schedule.storages if each.persistent and (names is None or each.node in names)]
    )


def channel_parallel(
    network: Network | CostTable, devices: SupportsIndex, scenario: Inference | None = None
) -> SplitProfile:
    """Shares out the feature maps of every layer among devices.

    Convolutions and linear layers are shared out by filters, and their parameters with them: before one, each device receives the
    channels that it lacks and holds them while it runs. Pooling, batch normalisation, pointwise layers, sums and concatenations
    work on the channels that are there; any other layer is given all channels, and its parameters are on every device. The
    input is there as a whole everywhere. *Does not count*: temporaries of kernels. Data parallelism goes with it, as with
    :func:`spatial_parallel`.

    Args:
        network: The network, or its costs.
        devices: How many; at most as many as the narrowest layer has filters.
        scenario: How it runs; its policy does not matter.

    Returns:
        What every device holds and receives.

    Raises:
        InvalidTypeError: If the scenario is no inference.
        InvalidValueError: If a layer has fewer filters than there are devices.

    Example:
        >>> from cnnbudget import zoo
        >>> print(channel_parallel(zoo.textbook_exercise().network, 2))
        Channels on 2 devices: the fullest holds 8.88 MiB; 8.58 MiB are sent in a prediction.
        device      peak      bytes  parameters     values   received
        ------  --------  ---------  ----------  ---------  ---------
             0  8.88 MiB  9,306,800   1,806,800  7,500,000  4,500,000
             1  8.88 MiB  9,306,800   1,806,800  7,500,000  4,500,000
    """
    table, scenario = _start(network, scenario, "channel_parallel()")
    count = exact_int(devices, "devices", 2)
    base = FreeAfterUse(temporaries=False).schedule(table, scenario)
    owners = sharing(table, training=False).owners
    batch = scenario.device_batch
    shares = []
    traffic: dict[str, int] = {}
    for device in range(count):
        schedule, received = _channels_of(table, base, owners, device, count)
        always = sum([each.byte_count(1) for each in schedule.storages if each.persistent])
        most = max(liveness(schedule).live_bytes(batch))
        got = {name: batch * size for name, size in received.items()}
        for name, size in got.items():
            traffic[name] = traffic.get(name, 0) + size
        shares.append(DeviceShare(Bytes(most), Bytes(always), Bytes(most - always), Bytes(sum(got.values()))))
    return SplitProfile("channels", tuple(shares), {name: Bytes(size) for name, size in traffic.items()})


_Own = tuple[int, int]
"""Channels of a value that a device has, of so many."""


def _channels_of(
    table: CostTable, base: Schedule, owners: Mapping[str, str], device: int, count: int
) -> tuple[Schedule, dict[str, int]]:
    """The schedule of one device, and what it receives before each node for one sample."""
    numbers = {storage.name: number for number, storage in enumerate(base.storages)}
    storages = list(base.storages)
    own: dict[str, _Own] = {source.name: (1, 1) for source in table.network.inputs}
    steps = [base.steps[0]]
    received: dict[str, int] = {}
    for cost, step in zip(table.nodes, base.steps[1:], strict=True):
        name, extra = cost.name, []
        kept = _kept_channels(cost, [own[value] for value in cost.node.inputs])
        own[name] = _share(cost, device, count) if kept is None else kept
        if kept is None:
            _check_whole(cost, owners)
            for value in dict.fromkeys(owners[value] for value in cost.node.inputs):
                storage, mine = base.storages[numbers[value]], storages[numbers[value]]
                if lacking := storage.per_sample - mine.per_sample:
                    rest = evolve(storage, name=f"{value} for {name}", role=Role.WORKSPACE, shape=(lacking,))
                    storages.append(evolve(rest, per_sample=lacking))
                    extra.append(len(storages) - 1)
                    received[name] = received.get(name, 0) + storages[-1].byte_count(1)
        if owners[name] == name:
            storages[numbers[name]] = _cut(base.storages[numbers[name]], own[name])
        if _cuts_parameters(cost):
            persistent = [word for word, _ in (*(cost.parameters or ()), *(cost.buffers or ()))]
            for number in [numbers[f"{name}.{word}"] for word in persistent]:
                if base.storages[number].shape:  # a counter is not shared out
                    storages[number] = _cut(base.storages[number], own[name])
        steps.append(Step(Phase.FORWARD, name, step.reads, (*step.writes, *extra), step.holds))
    return evolve(base, storages=tuple(storages), steps=tuple(steps)), received


def _kept_channels(cost: NodeCost, own: list[_Own]) -> _Own | None:
    """The channels of its output that a layer makes of those that are there; ``None`` if it needs them all."""
    layer = cost.node.layer
    if isinstance(layer, Concat) and layer.axis == 0 and (1, 1) not in own:
        channels = [value.shape[0] for value in cost.inputs]
        here = [size * part // whole for size, (part, whole) in zip(channels, own, strict=True)]
        return sum(here), sum(channels)
    if not isinstance(layer, _OF_CHANNELS) or isinstance(layer, _MIXING) or len(set(own)) > 1:
        return None
    if isinstance(layer, DepthwiseConv) and own[0] == (1, 1):
        return None  # shared out by filters as any other convolution
    return own[0] if len({value.shape for value in cost.inputs}) == 1 else None


def _check_whole(cost: NodeCost, owners: Mapping[str, str]) -> None:
    if owners[cost.name] != cost.name:
        raise InvalidValueError(
            "channel_parallel() cannot share out a view of a part",
            where=place_of(cost.node, cost.inputs),
            got=type(cost.node.layer).__name__,
            expected="layers that have an output of their own, or look at all channels in order",
        )


def _share(cost: NodeCost, device: int, count: int) -> _Own:
    channels = cost.output.shape[0]
    if channels < count:
        raise InvalidValueError(
            "there are more devices than channels",
            where=place_of(cost.node, cost.inputs),
            got=f"{count} devices",
            expected=f"at most {channels}",
        )
    low, high = tile_bounds(channels, count)[device]
    return high - low, channels


def _cuts_parameters(cost: NodeCost) -> bool:
    """Whether a layer's parameters and buffers have a part for every channel of the output."""
    layer = cost.node.layer
    if isinstance(layer, Linear):
        return layer.axis in {None, 0}
    return isinstance(layer, (Conv, DepthwiseConv, BatchNorm, InstanceNorm))


def _cut(storage: Storage, own: _Own) -> Storage:
    """The part of a storage that goes with some channels."""
    part, whole = own
    return evolve(
        storage,
        shape=(storage.shape[0] * part // whole, *storage.shape[1:]),
        fixed=storage.fixed * part // whole,
        per_sample=storage.per_sample * part // whole,
    )
