"""The memory profile of a network in a scenario: the peak, its step, who is alive there, and how it grows with the batch."""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from cnnbudget.analysis.costs import CostTable, costs
from cnnbudget.derivations import Explanation
from cnnbudget.dtypes import Role
from cnnbudget.errors import InvalidTypeError, InvalidValueError, shorten
from cnnbudget.graph.nodes import Network, check_network
from cnnbudget.memory.allocator import AllocatorReport, Ideal
from cnnbudget.memory.arena import ArenaReport
from cnnbudget.memory.derive import explain_profile
from cnnbudget.memory.limits import BatchLimit, batch_limit
from cnnbudget.memory.liveness import Liveness, liveness
from cnnbudget.memory.optimizer_torch import SGD
from cnnbudget.memory.order import in_order, plan_order
from cnnbudget.memory.scenario import Scenario
from cnnbudget.memory.schedule import Phase, Step
from cnnbudget.memory.shard import sharded
from cnnbudget.memory.timeline import Timeline, timeline
from cnnbudget.memory.witness import AliveStorage, alive_at, why
from cnnbudget.memory.workspace import im2col_bytes
from cnnbudget.planning.order import OrderPlan
from cnnbudget.tables import Column, html_table, plain, text_table
from cnnbudget.units import Bytes, parse_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import SupportsIndex

    import numpy as np


__all__ = ["MemoryProfile", "profile"]

_COLUMNS = (
    Column("alive at the peak"),
    Column("role"),
    Column("shape", right=True),
    Column("dtype"),
    Column("bytes", right=True),
    Column("share", right=True),
)


@frozen
class MemoryProfile:
    """Memory of one device over the steps of a scenario.

    The peak is a sum over what is alive at one step, so it is a lower bound for every allocator. *Counts*: parameters, buffers,
    values, saved extras, gradients, temporaries, the loss, the optimizer's state. *Does not count*: what a framework adds to it
    (its own code, workspaces of its kernels; rounding and caching of its allocator are in :attr:`reserved` only).

    Example:
        >>> from cnnbudget import Conv, Inference, Net
        >>> found = Net.input(3, 8, 8).then(Conv(4, 3), Conv(2, 3)).profile(Inference())
        >>> found.peak, str(found.peak_step)
        (Bytes(2088), 'forward of conv')
        >>> print(found)
        Inference, batch 1, FP32, FreeAfterUse(): peak 2.04 KiB (2,088 bytes) at step 2 of 3, forward of conv.
        alive at the peak  role          shape  dtype    bytes   share
        -----------------  ----------  -------  -------  -----  ------
        input              activation    3x8x8  float32    768   36.8%
        conv               activation    4x6x6  float32    576   27.6%
        conv.weight        parameter   4x3x3x3  float32    432   20.7%
        conv2.weight       parameter   2x4x3x3  float32    288   13.8%
        conv.bias          parameter         4  float32     16    0.8%
        conv2.bias         parameter         2  float32      8    0.4%
        -----------------  ----------  -------  -------  -----  ------
        total                                            2,088  100.0%
        not in it: a convolution's workspace, 0 to 3.80 KiB (modelled, im2col)
    """

    network: Network = field(repr=False)
    scenario: Scenario
    lifetimes: Liveness = field(repr=False)
    order: OrderPlan | None = field(default=None, repr=False)

    @cached_property
    def live_bytes(self) -> tuple[int, ...]:
        """Bytes alive at each step."""
        return tuple(self.lifetimes.live_bytes(self.scenario.device_batch))

    @cached_property
    def peak(self) -> Bytes:
        """Most bytes alive at one step, on the fullest device."""
        return Bytes(max(self.live_bytes))

    @cached_property
    def peak_index(self) -> int:
        """Number of the first step at which the peak is reached."""
        return self.live_bytes.index(self.peak)

    @property
    def peak_step(self) -> Step:
        """The first step at which the peak is reached."""
        return self.lifetimes.schedule.steps[self.peak_index]

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps of the schedule, in order."""
        return self.lifetimes.schedule.steps

    @cached_property
    def retained(self) -> Bytes:
        """Bytes that are kept for backward when the forward pass and the loss are done, the input and the target included.

        Every storage counts once, however many nodes keep it; parameters and buffers do not count. It is what
        ``torch.autograd.graph.saved_tensors_hooks`` would see under :class:`~cnnbudget.Autograd`. An inference keeps nothing.
        """
        schedule, batch = self.lifetimes.schedule, self.scenario.device_batch
        return Bytes(sum([schedule.storages[number].byte_count(batch) for number in schedule.retained]))

    @cached_property
    def activation_peak(self) -> Bytes:
        """Most bytes of activations, their gradients, saved extras and temporaries alive at one step, maybe not the peak's."""
        return Bytes(max(self.lifetimes.activation_bytes(self.scenario.device_batch)))

    @cached_property
    def at_peak(self) -> tuple[AliveStorage, ...]:
        """Every storage alive at the peak, the largest first. Their sizes add up to the peak."""
        return alive_at(self.lifetimes, self.peak_index, self.scenario.device_batch)

    @cached_property
    def by_role(self) -> Mapping[Role, Bytes]:
        """Bytes alive at the peak by role, for the roles that occur there; they add up to the peak."""
        totals: dict[Role, int] = {}
        for storage in self.at_peak:
            totals[storage.role] = totals.get(storage.role, 0) + storage.size
        return {role: Bytes(totals[role]) for role in Role if role in totals}

    def by_layer(self) -> Mapping[str, Mapping[Role, Bytes]]:
        """Bytes alive at the peak by layer and role; they add up to the peak.

        Returns:
            For every node that has something alive there, the largest first, its bytes by role. What belongs to no node (targets,
            losses) is under the name of the output that it goes with, temporaries of the update under ``"update"``.
        """
        found: dict[str, dict[Role, int]] = {}
        for storage in self.at_peak:
            name = storage.name.split(".")[0] if storage.node is None else storage.node
            roles = found.setdefault(name, {})
            roles[storage.role] = roles.get(storage.role, 0) + storage.size
        ordered = sorted(found.items(), key=lambda item: -sum(item[1].values()))
        return {name: {role: Bytes(size) for role, size in roles.items()} for name, roles in ordered}

    def why(self) -> str:
        """Says in sentences what makes the peak, and what would have to go for it to be lower.

        Returns:
            A few lines.

        Example:
            >>> from cnnbudget import Autograd, Conv, Net, ReLU, Training
            >>> net = Net.input(3, 64, 64).then(Conv(16, 3), ReLU(), Conv(16, 3), ReLU())
            >>> print(net.profile(Training(8, retention=Autograd())).why())
            The peak of 7.54 MiB is reached at step 7 of 11, backward of relu2.
            Alive there: activation 53%, activation gradient 47%, parameter 0%.
            relu (1.88 MiB) lives from forward of relu until backward of relu.
            relu2 (1.76 MiB) lives from forward of relu2 until backward of relu2.
            relu2.grad (1.76 MiB) lives from loss until backward of relu2.
            conv2.grad (1.76 MiB) lives from backward of relu2 until backward of conv2.
            These are 95% of it. Whatever is done about relu2 alone, backward of relu still needs 6.03 MiB.
            The batch makes 100% of it: one sample less is 963.25 KiB less.
        """
        return why(self)

    def explain(self) -> Explanation:
        """Derives the peak: the bytes of every storage alive there, of every role, and their sum, with the numbers substituted.

        Returns:
            One derivation a number; it prints as text, as HTML and as LaTeX.

        Example:
            >>> from cnnbudget import Conv, Inference, Net
            >>> print(Net.input(3, 8, 8).then(Conv(4, 3, bias=False)).profile(Inference(2)).explain()["peak"])
            peak = 432 + 2,688 = 3,120
        """
        return explain_profile(self)

    @cached_property
    def _affine(self) -> tuple[int, int]:
        """Bits alive at the peak's step: fixed, and per sample."""
        return self.lifetimes.bits[self.peak_index]

    @property
    def fixed(self) -> Bytes:
        """The part of the peak that does not depend on the batch, at the step of the peak."""
        return Bytes(-(-self._affine[0] // 8))

    @property
    def per_sample(self) -> Bytes:
        """What every sample adds to the peak, at the step of the peak; formats below a byte round up."""
        return Bytes(-(-self._affine[1] // 8))

    def peaks(self, batches: Iterable[int]) -> np.ndarray[Any, Any]:
        """The peaks at many batch sizes, everything else as in this scenario.

        Every step is affine in the batch, so the peak is the upper envelope of lines: a few of them decide for all batches.

        Args:
            batches: Samples on all devices together.

        Returns:
            Bytes, as an array of int64 (Python ints where those would overflow).

        Raises:
            InvalidValueError: If a batch is out of range.
            InvalidTypeError: If they are no sequence of ints.

        Example:
            >>> from cnnbudget import Conv, Net, Training
            >>> Net.input(3, 8, 8).then(Conv(4, 3)).profile(Training()).peaks([1, 2, 400]).tolist()
            [2816, 4736, 768896]
        """
        import numpy as np  # only who asks for arrays pays for numpy

        if not hasattr(batches, "__iter__"):
            raise InvalidTypeError(
                "peaks() takes several batches", got=shorten(batches), expected="for example [32, 64]"
            )
        shares = [self.scenario.share(batch) for batch in batches]
        if any(storage.dtype.bits % 8 for storage in self.lifetimes.schedule.storages):
            found = [max(self.lifetimes.live_bytes(share)) for share in shares]  # each storage rounds up by itself
        else:
            lines = self.lifetimes.envelope
            starts = [start for start, _, _ in lines]
            chosen = [lines[bisect_right(starts, share) - 1] for share in shares]
            found = [(fixed + slope * share) // 8 for share, (_, fixed, slope) in zip(shares, chosen, strict=True)]
        return np.array(found, dtype=np.int64 if max(found, default=0) < 2**63 else object)

    @cached_property
    def allocation(self) -> AllocatorReport:
        """What the scenario's allocator makes of the schedule, at each step in requested, allocated and reserved bytes."""
        return self.replay(self.scenario.device_batch)

    def replay(self, batch: int) -> AllocatorReport:
        """Lets the scenario's allocator serve the schedule at a batch of one device.

        Args:
            batch: Samples on the device.

        Returns:
            What it requested, allocated and reserved.
        """
        lifetimes = self.lifetimes
        storages = lifetimes.schedule.storages
        return self.scenario.allocator.replay(
            lifetimes.births,
            lifetimes.deaths,
            [storage.byte_count(batch) for storage in storages],
            len(self.steps),
            first=[number for number, storage in enumerate(storages) if storage.persistent],
        )

    @cached_property
    def moved_bytes(self) -> Bytes:
        """What goes to the host and comes back in a step, both ways together (by :class:`~cnnbudget.Offload`)."""
        schedule, batch = self.lifetimes.schedule, self.scenario.device_batch
        back = [number for step in self.steps if step.phase is Phase.LOAD and step.node for number in step.writes]
        return Bytes(2 * sum([schedule.storages[number].byte_count(batch) for number in back]))

    @cached_property
    def sent_bytes(self) -> Bytes:
        """What the fullest device sends in a training step, in rings; 0 for one device and for an inference.

        Source: Rajbhandari et al., "ZeRO" (2020).
        """
        from cnnbudget.planning.sharding import shard_parameters  # it loads numpy

        devices, precision = self.scenario.devices, self.scenario.precision
        storages = self.lifetimes.schedule.storages
        trained = {storage.node for storage in storages if storage.role is Role.PARAMETER_GRADIENT}
        if devices.count == 1 or not trained:
            return Bytes(0)
        share = shard_parameters(
            [prod(shape) for cost in costs(self.network) if cost.name in trained for _, shape in cost.parameters or ()],
            devices.count,
            devices.zero,
            parameter_width=precision[Role.PARAMETER].bits,
            gradient_width=precision[Role.PARAMETER_GRADIENT].bits,
        )
        return Bytes(-(-share.sent_bytes // 8))

    @cached_property
    def workspace_bound(self) -> Bytes:
        """An upper model, :func:`~cnnbudget.im2col`, of what a convolution's kernel takes besides, where it is largest.

        The lower model is nothing. Which of them a framework's kernel is near depends on the algorithm that it picks; no peak
        includes it.
        """
        batch, precision = self.scenario.device_batch, self.scenario.precision
        return max([im2col_bytes(cost, batch, precision) for cost in costs(self.network)])

    @property
    def offsets(self) -> Mapping[str, int]:
        """Where each storage lies in the scenario's arena, by name.

        Raises:
            InvalidValueError: If the scenario's allocator is no :class:`~cnnbudget.Arena`.
        """
        report = self.allocation
        if not isinstance(report, ArenaReport):
            raise InvalidValueError(
                "there are no offsets without an arena",
                got=f"allocator={self.scenario.allocator}",
                expected="allocator=Arena()",
            )
        storages = self.lifetimes.schedule.storages
        return {storages[number].name: offset for number, offset in report.offsets.items()}

    @property
    def allocated(self) -> Bytes:
        """The most bytes in blocks that the scenario's allocator has given out, which is the peak, rounded as it rounds."""
        return self.allocation.allocated_peak

    @property
    def reserved(self) -> Bytes:
        """The most bytes that the scenario's allocator holds, gaps and cached segments included."""
        return self.allocation.reserved_peak

    @cached_property
    def timeline(self) -> Timeline:
        """Live bytes by step and role, as numpy arrays for plots."""
        return timeline(self.lifetimes, self.scenario.device_batch)

    def max_batch(self, budget: SupportsIndex | str) -> int:
        """The largest batch whose peak fits a budget, everything else as in this scenario; see :meth:`batch_limit` for the reason.

        Closed form: at every step the live bytes are affine in the batch, so every step allows a largest batch and the least of
        them is the answer. With an allocator that rounds, its reserved bytes must fit as well, which is verified.

        Args:
            budget: Bytes of one device.

        Returns:
            The batch on all devices together; 0 if not even one sample fits.

        Raises:
            InvalidValueError: If the budget cannot be read.

        Example:
            >>> from cnnbudget import Conv, Net, Training
            >>> found = Net.input(3, 8, 8).then(Conv(4, 3)).profile(Training(batch=2))
            >>> found.max_batch("1 MiB")
            545
        """
        return self.batch_limit(budget).batch

    def batch_limit(self, budget: SupportsIndex | str) -> BatchLimit:
        """The largest batch whose peak fits a budget, and what stands in the way of a larger one.

        Args:
            budget: Bytes of one device.

        Returns:
            The batch, and the reason.

        Raises:
            InvalidValueError: If the budget cannot be read.

        Example:
            >>> from cnnbudget import Conv, Net, Training
            >>> found = Net.input(3, 8, 8).then(Conv(4, 3)).profile(Training(batch=2))
            >>> print(found.batch_limit("1 MiB").reason)
            a batch of 546 needs 1.00 MiB (1,049,216 bytes) in backward of conv
            >>> print(found.batch_limit(500).reason)
            no batch fits: 448 bytes are there whatever the batch, and one sample needs 2.75 KiB (2,816 bytes) in backward of conv
        """
        return batch_limit(self, parse_bytes(budget))

    def rows(self) -> list[dict[str, Any]]:
        """The storages alive at the peak as data.

        Returns:
            One dict a storage, with ``name``, ``role``, ``shape``, ``dtype``, ``bytes``, ``share``, ``born``, ``dies``, ``node``,
            ``producer``, ``last_reader``.
        """
        return [
            {
                "name": storage.name,
                "role": storage.role.value,
                "shape": storage.shape,
                "dtype": storage.dtype.name,
                "bytes": int(storage.size),
                "share": storage.share,
                "born": storage.steps[0],
                "dies": storage.steps[1],
                "node": storage.node,
                "producer": None if storage.producer is None else str(storage.producer),
                "last_reader": None if storage.last_reader is None else str(storage.last_reader),
            }
            for storage in self.at_peak
        ]

    def _cells(self) -> list[tuple[object, ...]]:
        return [
            (row["name"], row["role"], row["shape"], row["dtype"], row["bytes"], f"{row['share']:.1%}")
            for row in self.rows()
        ]

    def _heading(self) -> str:
        scenario = self.scenario
        devices = f", {scenario.devices.count} devices" if scenario.devices.count > 1 else ""
        steps = len(self.lifetimes.schedule.steps)
        more = "".join(
            f", {word} {value}"
            for word, value in (
                ("optimizer", getattr(scenario, "optimizer", SGD())),
                ("loss", getattr(scenario, "loss", None)),
                ("frames", scenario.frames),
            )
            if value not in {None, SGD(), "ideal"}
        )
        return (
            f"{type(scenario).__name__}, batch {scenario.batch}{devices}, {scenario.precision}, {scenario.retention}{more}: "
            f"peak {self.peak} ({self.peak:,} bytes) at step {self.peak_index + 1} of {steps}, {plain(str(self.peak_step))}."
        )

    def __str__(self) -> str:
        lines = [self._heading(), text_table(_COLUMNS, self._cells(), total=self._total(), limit=20)]
        return "\n".join(lines + self._notes())

    def _notes(self) -> list[str]:
        """What is not in the peak, each with its label."""
        notes = []
        if self.workspace_bound:
            notes.append(f"not in it: a convolution's workspace, 0 to {self.workspace_bound} (modelled, im2col)")
        if not isinstance(self.scenario.allocator, Ideal):
            kind = type(self.scenario.allocator).__name__
            notes.append(f"{kind}: {self.allocated} allocated, {self.reserved} reserved (modelled)")
        return notes

    def _repr_html_(self) -> str:
        import html  # notebooks only

        table = html_table(_COLUMNS, self._cells(), total=self._total(), limit=20)
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self._notes())
        return f"<p>{html.escape(self._heading())}</p>{table}{notes}"

    def _total(self) -> tuple[object, ...]:
        return ("total", "", "", "", int(self.peak), "100.0%")


def profile(network: Network | CostTable, scenario: Scenario) -> MemoryProfile:
    """Computes the memory profile of a network in a scenario.

    Args:
        network: The network, or its costs when they are at hand.
        scenario: :class:`~cnnbudget.Inference` or :class:`~cnnbudget.Training`.

    Returns:
        The profile.

    Raises:
        ShapeError: If a layer cannot be applied to what reaches it.
        MissingRuleError: If a layer does not state its parameters, buffers or extras.
        SharedStorageError: If an in-place layer would overwrite what somebody still needs.

    Example:
        >>> from cnnbudget import Conv, Net, Training
        >>> profile(Net.input(3, 8, 8).then(Conv(4, 3)).network, Training(batch=2)).peak
        Bytes(4736)
    """
    if not isinstance(scenario, Scenario):
        called = isinstance(scenario, type) and issubclass(scenario, Scenario)
        hint = f"call it: {scenario.__name__}()" if called else None
        raise InvalidTypeError(
            "profile() needs a scenario",
            got=shorten(scenario),
            expected="for example Inference() or Training(batch=32)",
            hint=hint,
        )
    if not isinstance(network, CostTable):
        check_network(network, "profile()")
        network = costs(network)
    table = network
    schedule = scenario.retention.schedule(table, scenario)
    devices = scenario.devices
    if devices.zero and devices.count > 1:
        liveness(schedule)  # which checks it
        schedule = sharded(schedule, table.network, devices.count, devices.zero)
    lifetimes = liveness(schedule)
    if scenario.order == "given":
        return MemoryProfile(table.network, scenario, lifetimes)
    plan = plan_order(schedule, scenario.device_batch)
    return MemoryProfile(table.network, scenario, liveness(in_order(schedule, plan.order)), plan)
