"""Pipelines: a network cut into stages for several devices, which work on micro-batches one after the other."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from cnnbudget.analysis.costs import CostTable, costs
from cnnbudget.checks import exact_int, one_of
from cnnbudget.dtypes import Role
from cnnbudget.errors import InvalidTypeError, InvalidValueError, shorten
from cnnbudget.graph.nodes import Network, check_network
from cnnbudget.memory.forward import ForwardPass
from cnnbudget.memory.recompute import chain_of
from cnnbudget.memory.retention import Autograd
from cnnbudget.memory.scenario import Training
from cnnbudget.memory.shard import sharded
from cnnbudget.planning.sharding import shard_parameters
from cnnbudget.tables import Column, html_table, text_table
from cnnbudget.units import Bytes

if TYPE_CHECKING:
    from cnnbudget.memory.schedule import Schedule

__all__ = ["PipelineProfile", "PipelineStage", "pipeline"]

_OWN = frozenset({Role.PARAMETER, Role.BUFFER, Role.PARAMETER_GRADIENT, Role.OPTIMIZER_STATE})

_COLUMNS = (
    Column("device", right=True),
    Column("first node"),
    Column("last node"),
    Column("peak", right=True),
    Column("bytes", right=True),
    Column("in flight", right=True),
)


@frozen
class PipelineStage:
    """What one device of a pipeline has.

    Args:
        first: Its first node.
        last: Its last node.
        peak: The most bytes that it holds.
        in_flight: Micro-batches whose kept values it holds at once.
    """

    first: str
    last: str
    peak: Bytes
    in_flight: int


@frozen
class PipelineProfile:
    """A network cut for several devices so that the fullest holds the least.

    The cuts are optimal among all that lie where one value alone goes on.

    *Counts*: parameters, buffers, gradients and optimizer state of a device's nodes, those that stages share in each of them;
    for every micro-batch in flight what its nodes keep and what it received; the targets of the whole batch on the last device;
    the most transient values of any stage, as if they came when most is kept: an upper model.
    *Does not count*: temporaries of the update, buffers of the communication.

    Args:
        stages: One for each device.
        microbatches: Into how many parts the batch is cut.
        schedule: ``"gpipe"`` or ``"1f1b"``.
        traffic: Bytes that cross the cuts of one replica in one step: values forward, gradients back.
        replicas: How many such pipelines work side by side, each on its share of the batch: ``Training(..., devices=...)``.
        reduced: The most bytes that any device sends to its like in the other replicas, in rings: gradients, and updated
            parameters where optimizer state is shared out.

    Example:
        >>> from cnnbudget import Training, pipeline, zoo
        >>> net = zoo.resnet50()
        >>> found = pipeline(net.network, Training(32, optimizer="adam"), 4, microbatches=8)
        >>> [stage.last for stage in found.stages]
        ['layer1.0/relu3', 'layer1.2/relu3', 'layer3.2/relu3', 'linear']
        >>> print(found.peak)
        366.93 MiB
    """

    stages: tuple[PipelineStage, ...]
    microbatches: int
    schedule: str
    traffic: Bytes
    replicas: int = 1
    reduced: Bytes = field(default=Bytes(0))

    @property
    def peak(self) -> Bytes:
        """The most bytes that any device holds."""
        return max(stage.peak for stage in self.stages)

    def rows(self) -> list[dict[str, Any]]:
        """The devices as data.

        Returns:
            One dict a device, with ``device``, ``first``, ``last``, ``peak``, ``in_flight``.
        """
        return [
            {
                "device": number,
                "first": stage.first,
                "last": stage.last,
                "peak": int(stage.peak),
                "in_flight": stage.in_flight,
            }
            for number, stage in enumerate(self.stages)
        ]

    def _cells(self) -> list[tuple[object, ...]]:
        return [
            (row["device"], row["first"], row["last"], str(Bytes(row["peak"])), row["peak"], row["in_flight"])
            for row in self.rows()
        ]

    def _heading(self) -> str:
        times = f"{self.replicas} replicas of a pipeline" if self.replicas > 1 else "Pipeline"
        reduced = f", {self.reduced} go to the other replicas" if self.replicas > 1 else ""
        return (
            f"{times} of {len(self.stages)} devices, {self.microbatches} micro-batches, {self.schedule}: "
            f"the fullest holds {self.peak}; {self.traffic} cross the cuts in a step{reduced}."
        )

    def __str__(self) -> str:
        return f"{self._heading()}\n{text_table(_COLUMNS, self._cells())}"

    def _repr_html_(self) -> str:
        import html  # notebooks only

        return f"<p>{html.escape(self._heading())}</p>{html_table(_COLUMNS, self._cells())}"


def pipeline(
    network: Network | CostTable, scenario: Training, devices: int, *, microbatches: int, schedule: str = "1f1b"
) -> PipelineProfile:
    """Cuts a network for a pipeline of devices; the fullest holds the least of all cuts.

    Args:
        network: The network, or its costs.
        scenario: How it is trained; the batch is that of all micro-batches together. What is kept is what autograd keeps. With
            ``devices=DataParallel(n)`` the mesh has ``n`` replicas of the pipeline, and each works on its share of the batch;
            ``zero=1`` shares out the optimizer's state among them. More is refused: gradients and parameters that are shared
            out would be gathered again for every micro-batch.
        devices: How many for one pipeline; each gets a stage at least.
        microbatches: Into how many parts the batch is cut, as equal as can be.
        schedule: ``"gpipe"``: all parts run forward before any runs back (Huang et al., 2019). ``"1f1b"``: a device runs back as
            soon as it can (Narayanan et al., 2021).

    Returns:
        The cuts, and what each device holds.

    Raises:
        InvalidTypeError: If the scenario is no training.
        InvalidValueError: If there are more micro-batches than samples, or more devices than stages; if replicas share out
            gradients.
    """
    if not isinstance(scenario, Training):
        raise InvalidTypeError(
            "pipeline() needs a training", got=shorten(scenario), expected="for example Training(32)"
        )
    if not isinstance(network, CostTable):
        check_network(network, "pipeline()")
        network = costs(network)
    from cnnbudget.planning.partition import SCHEDULES, PipelineLayer, plan_pipeline  # it loads numpy

    table = network
    one_of(schedule, SCHEDULES, "schedule")
    parts = exact_int(microbatches, "microbatches")
    batch = scenario.device_batch
    if parts > batch:
        raise InvalidValueError(
            "there are more micro-batches than samples",
            got=f"{parts} parts of {batch} samples",
            expected=f"at most {batch}",
        )
    replicas = scenario.devices
    if replicas.zero > 1:
        raise InvalidValueError(
            "replicas of a pipeline share out the optimizer's state at most",
            got=repr(replicas),
            expected=f"DataParallel({replicas.count}, zero=1), or zero=0",
        )
    part = -(-batch // parts)
    whole = Autograd().schedule(table, scenario)
    found = chain_of(table, ForwardPass(table, scenario).sharing, whole, part)
    shared = sharded(whole, table.network, replicas.count, replicas.zero) if replicas.zero else whole
    own = _own_bytes(shared)
    targets = sum([each.byte_count(batch) for each in whole.storages if each.persistent and each.role not in _OWN])
    layers = [
        PipelineLayer(
            parameter_bytes=sum([own.get(name, 0) for name in {cost.node.shares or cost.name for cost in nodes}])
            + (targets if nodes is found.stages[-1] else 0),
            kept_bytes=stage.kept_bytes,
            output_bytes=stage.output_bytes,
            transient_bytes=max(
                stage.saving_transient_bytes,
                stage.backward_transient_bytes + stage.gradient_bytes + before,
            ),
        )
        for nodes, stage, before in zip(
            found.stages,
            found.chain.stages,
            [0, *[stage.gradient_bytes for stage in found.chain.stages[:-1]]],
            strict=True,
        )
    ]
    plan = plan_pipeline(layers, devices, parts, schedule=schedule, input_bytes=found.chain.input_bytes)
    ends = [*[start - 1 for start in plan.starts[1:]], len(layers) - 1]
    stages = tuple(
        PipelineStage(found.stages[start][0].name, found.stages[end][-1].name, Bytes(size), flying)
        for start, end, size, flying in zip(plan.starts, ends, plan.device_bytes, plan.in_flight, strict=True)
    )
    trained = {each.node for each in whole.storages if each.role is Role.PARAMETER_GRADIENT}
    widths = {"parameter_width": scenario.precision[Role.PARAMETER].bits}
    widths["gradient_width"] = scenario.precision[Role.PARAMETER_GRADIENT].bits
    reduced = 0
    for start, end in zip(plan.starts, ends, strict=True):
        nodes = [cost for stage in found.stages[start : end + 1] for cost in stage if cost.name in trained]
        sizes = [prod(shape) for cost in nodes for _, shape in cost.parameters or ()]
        reduced = max(reduced, -(-shard_parameters(sizes, replicas.count, replicas.zero, **widths).sent_bytes // 8))
    return PipelineProfile(stages, parts, schedule, Bytes(plan.traffic_bytes), replicas.count, Bytes(reduced))


def _own_bytes(schedule: Schedule) -> dict[str, int]:
    """Bytes of what belongs to each node's parameters, whatever the batch: once each, gradients included."""
    found: dict[str, int] = {}
    for storage in schedule.storages:
        if storage.role in _OWN and storage.node is not None:
            found[storage.node] = found.get(storage.node, 0) + storage.byte_count(1)
    return found
