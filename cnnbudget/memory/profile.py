"""The memory profile of a network in a scenario: the peak, its step, who is alive there, and how it grows with the batch."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from cnnbudget.analysis.costs import CostTable, costs
from cnnbudget.checks import LARGEST
from cnnbudget.dtypes import DType, Role
from cnnbudget.errors import InvalidTypeError, shorten
from cnnbudget.graph.nodes import Network, check_network
from cnnbudget.memory.liveness import Liveness, liveness
from cnnbudget.memory.scenario import Scenario
from cnnbudget.memory.schedule import Step
from cnnbudget.tables import Column, html_table, text_table
from cnnbudget.units import Bytes, parse_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import SupportsIndex

    import numpy as np

    from cnnbudget.tensors import Shape

__all__ = ["AliveStorage", "MemoryProfile", "Timeline", "max_batch", "profile"]

_COLUMNS = (
    Column("alive at the peak"),
    Column("role"),
    Column("shape", right=True),
    Column("dtype"),
    Column("bytes", right=True),
    Column("share", right=True),
)


@frozen
class AliveStorage:
    """A storage that is alive at the peak.

    Args:
        name: The value that owns it, or node and tensor.
        role: What the bytes are for.
        shape: Of one sample, or of the whole where there is one for all samples.
        dtype: Width of an element.
        size: Bytes of the whole batch.
        share: Part of the peak, 0 to 1.
        steps: The half-open interval of steps in which it is alive.
    """

    name: str
    role: Role
    shape: Shape
    dtype: DType
    size: Bytes
    share: float
    steps: tuple[int, int]


@frozen(eq=False)
class Timeline:
    """Live bytes over the steps of a schedule, as numpy arrays (int64; Python ints where those would overflow).

    Args:
        step: Number of each step.
        label: What each step does, for example ``"forward of conv2"``.
        live: Bytes alive at each step.
        by_role: The same for each role that occurs; the roles add up to ``live``.
    """

    step: np.ndarray[Any, Any]
    label: tuple[str, ...]
    live: np.ndarray[Any, Any]
    by_role: Mapping[Role, np.ndarray[Any, Any]]


@frozen
class MemoryProfile:
    """Memory of one device over the steps of a scenario.

    The peak is a sum over what is alive at one step, so it is a lower bound for every allocator. *Counts*: parameters, buffers,
    values, saved extras, gradients. *Does not count*: what a framework adds to it (its own code, workspaces of its kernels,
    rounding and caching of its allocator).

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
    """

    network: Network = field(repr=False)
    scenario: Scenario
    lifetimes: Liveness = field(repr=False)

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

    @cached_property
    def activation_peak(self) -> Bytes:
        """Most bytes of activations, their gradients and saved extras alive at one step (maybe not the step of the peak)."""
        return Bytes(max(self.lifetimes.activation_bytes(self.scenario.device_batch)))

    @cached_property
    def at_peak(self) -> tuple[AliveStorage, ...]:
        """Every storage alive at the peak, the largest first. Their sizes add up to the peak."""
        alive = []
        now, batch = self.peak_index, self.scenario.device_batch
        lifetimes = self.lifetimes
        for storage, birth, death in zip(lifetimes.schedule.storages, lifetimes.births, lifetimes.deaths, strict=True):
            if birth <= now < death:
                size = Bytes(storage.byte_count(batch))
                share = size / self.peak
                alive.append(
                    AliveStorage(storage.name, storage.role, storage.shape, storage.dtype, size, share, (birth, death))
                )
        return tuple(sorted(alive, key=lambda storage: -storage.size))

    @cached_property
    def by_role(self) -> Mapping[Role, Bytes]:
        """Bytes alive at the peak by role, for the roles that occur there; they add up to the peak."""
        totals: dict[Role, int] = {}
        for storage in self.at_peak:
            totals[storage.role] = totals.get(storage.role, 0) + storage.size
        return {role: Bytes(totals[role]) for role in Role if role in totals}

    @cached_property
    def timeline(self) -> Timeline:
        """Live bytes by step and role, as numpy arrays for plots."""
        import numpy as np  # only who asks for arrays pays for numpy

        def array(values: Any) -> np.ndarray[Any, Any]:
            return np.array(values, dtype=np.int64 if max(values) < 2**63 else object)

        schedule, batch = self.lifetimes.schedule, self.scenario.device_batch
        occurring = {storage.role for storage in schedule.storages}
        by_role = {
            role: array(self.lifetimes.live_bytes_of(frozenset({role}), batch)) for role in Role if role in occurring
        }
        return Timeline(
            np.arange(len(schedule.steps)), tuple(map(str, schedule.steps)), array(self.live_bytes), by_role
        )

    def max_batch(self, budget: SupportsIndex | str) -> int:
        """The largest batch whose peak fits a budget, everything else as in this scenario.

        Closed form: at every step the live bytes are affine in the batch, so every step allows a largest batch and the least of
        them is the answer.

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
        limit = parse_bytes(budget)
        share = LARGEST
        for fixed, per_sample in self.lifetimes.bits:
            if per_sample:
                share = min(share, (8 * limit - fixed) // per_sample)
            elif fixed > 8 * limit:
                share = 0
        share = max(0, share)
        # Formats below a byte round up per storage, which the closed form ignores: step down while that matters.
        while share and max(self.lifetimes.live_bytes(share)) > limit:
            share -= 1
        return min(LARGEST, self.scenario.devices.largest_batch(share))

    def rows(self) -> list[dict[str, Any]]:
        """The storages alive at the peak as data.

        Returns:
            One dict a storage, with ``name``, ``role``, ``shape``, ``dtype``, ``bytes``, ``share``, ``born``, ``dies``.
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
        return (
            f"{type(scenario).__name__}, batch {scenario.batch}{devices}, {scenario.precision}, {scenario.retention}: "
            f"peak {self.peak} ({self.peak:,} bytes) at step {self.peak_index + 1} of {steps}, {self.peak_step}."
        )

    def __str__(self) -> str:
        return f"{self._heading()}\n{text_table(_COLUMNS, self._cells(), total=self._total(), limit=20)}"

    def _repr_html_(self) -> str:
        import html  # notebooks only

        return (
            f"<p>{html.escape(self._heading())}</p>{html_table(_COLUMNS, self._cells(), total=self._total(), limit=20)}"
        )

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
    schedule = scenario.retention.schedule(table, scenario.precision, training=scenario.trains)
    return MemoryProfile(table.network, scenario, liveness(schedule))


def max_batch(network: Network, budget: SupportsIndex | str, scenario: Scenario) -> int:
    """The largest batch that fits a budget; see :meth:`MemoryProfile.max_batch`."""
    return profile(network, scenario).max_batch(budget)
