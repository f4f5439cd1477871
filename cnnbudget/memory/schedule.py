"""Schedules: the steps of an inference or of a training iteration, and the storages that they read and write.

A retention policy makes one; liveness reads it. Storages are numbered, and steps name them by number, so that everything
downstream is arithmetic on ints.
"""

from __future__ import annotations

from enum import Enum
from math import prod
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from cnnbudget.dtypes import DType, Precision, Role
from cnnbudget.errors import ConformanceError, InvalidTypeError, UnknownNameError, did_you_mean, shorten
from cnnbudget.tensors import Footprint, Shape, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Phase", "Schedule", "ScheduleBuilder", "Step", "Storage", "waits"]


class Phase(Enum):
    """What a step does."""

    LOAD = "load"
    FORWARD = "forward"
    LOSS = "loss"
    RECOMPUTE = "recompute"
    BACKWARD = "backward"
    ACCUMULATE = "accumulate"
    UPDATE = "update"

    def __repr__(self) -> str:  # as one writes it
        return f"Phase.{self.name}"

    def __str__(self) -> str:
        return self.value


@frozen(slots=False)  # made by the thousand, and faster without slots
class Storage:
    """Bytes that one or more values share.

    Args:
        name: The value that owns it (``conv``), or node and tensor (``conv.weight``).
        role: What the bytes are for.
        shape: Of one sample, or of the whole where there is one for all samples.
        fixed: Elements that do not depend on the batch.
        per_sample: Elements for every sample of a batch.
        dtype: Width of an element.
        persistent: Whether it is alive at every step (parameters and buffers are).
        node: The node that it belongs to; ``None`` if it is the whole network's.
    """

    name: str
    role: Role
    shape: Shape
    fixed: int
    per_sample: int
    dtype: DType
    persistent: bool = False
    node: str | None = field(default=None, eq=False)  # says whose it is, not which it is

    @property
    def footprint(self) -> Footprint:
        """Size in elements, affine in the batch."""
        return Footprint(self.fixed, self.per_sample)

    def byte_count(self, batch: int) -> int:
        """Bytes at a batch size; a format below a byte rounds up once."""
        return -(-(self.fixed + self.per_sample * batch) * self.dtype.bits // 8)


@frozen
class Step:
    """One moment of a schedule. What it reads, writes and holds is alive during it.

    Args:
        phase: What it does.
        node: The node that runs; ``None`` for steps of the whole network.
        reads: Numbers of storages.
        writes: Numbers of storages.
        holds: Numbers of storages that nobody reads any more and somebody keeps alive all the same: the arguments of a call
            that has not returned yet.
    """

    phase: Phase
    node: str | None
    reads: tuple[int, ...] = ()
    writes: tuple[int, ...] = ()
    holds: tuple[int, ...] = ()

    def __str__(self) -> str:
        return self.phase.value if self.node is None else f"{self.phase.value} of {self.node}"


@frozen
class Schedule:
    """Storages, the steps in order, and which storages somebody keeps.

    Args:
        storages: All storages; steps name them by number.
        steps: The steps in order.
        held: Storages that stay alive to the end.
        retained: Storages that are kept for backward when the forward pass and the loss are done.
        after: Which steps each has to come after, where that is less than reads and writes of storages say; see ``waits``.
    """

    storages: tuple[Storage, ...] = field(repr=False)
    steps: tuple[Step, ...] = field(repr=False)
    held: frozenset[int] = field(default=frozenset(), repr=False)
    retained: frozenset[int] = field(default=frozenset(), repr=False)
    after: tuple[tuple[int, ...], ...] | None = field(default=None, repr=False, kw_only=True)

    def hold(self, *names: str) -> Schedule:
        """Returns a schedule in which further storages stay alive to the end.

        Args:
            *names: Names of storages.

        Returns:
            A new schedule.

        Raises:
            UnknownNameError: If no storage has a name.
        """
        numbers = {storage.name: number for number, storage in enumerate(self.storages)}
        for name in names:
            if not isinstance(name, str) or name not in numbers:
                raise UnknownNameError("no storage has this name", got=shorten(name), hint=did_you_mean(name, numbers))
        return evolve(self, held=self.held | {numbers[name] for name in names})


def waits(schedule: Schedule, parts: Mapping[int, int] | None = None) -> tuple[tuple[int, ...], ...]:
    """Finds which steps each step has to come after, whatever the order of the others.

    A step that reads comes after those that have written; one that overwrites what it reads comes after all who need the old
    value. What is always there makes nobody wait.

    Args:
        schedule: The schedule, in a legal order.
        parts: Storages that lie within others, of which they are parts.

    Returns:
        For each step the numbers of others.
    """
    within: dict[int, list[int]] = {}
    for part, whole in (parts or {}).items():
        within.setdefault(whole, []).append(part)
    writers: dict[int, list[int]] = {}
    readers: dict[int, list[int]] = {}
    after = []
    for now, step in enumerate(schedule.steps):
        before: dict[int, None] = {}
        reads = {number for number in (*step.reads, *step.holds) if not schedule.storages[number].persistent}
        writes = {number for number in step.writes if not schedule.storages[number].persistent}
        for number in sorted(reads):
            before.update(dict.fromkeys(writers.get(number, ())))
            overwritten = [number] if number in writes else []
            for each in overwritten:  # nobody may need the old value any more
                before.update(dict.fromkeys(readers.get(each, ())))
                overwritten += within.get(each, ())
        for number in sorted(reads):
            readers.setdefault(number, []).append(now)
        for number in sorted(writes):
            writers.setdefault(number, []).append(now)
        after.append(tuple(before))
    return tuple(after)


class ScheduleBuilder:
    """Collects storages and steps; retention policies use it, built in or foreign.

    Args:
        precision: Gives every role its dtype.
    """

    def __init__(self, precision: Precision) -> None:
        if not isinstance(precision, Precision):
            raise InvalidTypeError(
                "ScheduleBuilder takes a precision", got=shorten(precision), expected="for example FP32"
            )
        self._dtypes = {role: precision[role] for role in Role}
        self._storages: list[Storage] = []
        self._steps: list[Step] = []
        self._held: set[int] = set()
        self._retained: set[int] = set()

    @property
    def storages(self) -> Sequence[Storage]:
        """What has been added so far, by number."""
        return self._storages

    def add(
        self,
        name: str,
        spec: TensorSpec,
        role: Role | None = None,
        *,
        dtype: DType | None = None,
        persistent: bool = False,
        node: str | None = None,
    ) -> int:
        """Adds a storage.

        Args:
            name: How to call it.
            spec: Its shape, role and dtype.
            role: A role other than the spec's; the dtype then follows from it.
            dtype: A dtype other than that which follows from the role, where the spec states none.
            persistent: Whether it is alive at every step.
            node: The node that it belongs to.

        Returns:
            Its number.
        """
        what = spec.role if role is None else role
        if spec.dtype is not None and role is None:
            dtype = spec.dtype
        elif dtype is None:
            dtype = self._dtypes[what]
        size = prod(spec.shape)
        fixed, per_sample = (0, size) if spec.batched else (size, 0)
        self._storages.append(Storage(name, what, spec.shape, fixed, per_sample, dtype, persistent, node))
        return len(self._storages) - 1

    def add_fixed(
        self,
        name: str,
        shape: Shape,
        role: Role,
        *,
        dtype: DType | None = None,
        persistent: bool = False,
        node: str | None = None,
    ) -> int:
        """Adds a storage of which there is one for all samples: a parameter, a buffer, their gradients.

        Args:
            name: How to call it.
            shape: Its shape.
            role: What the bytes are for.
            dtype: A dtype other than the role's.
            persistent: Whether it is alive at every step.
            node: The node that it belongs to.

        Returns:
            Its number.
        """
        dtype = dtype or self._dtypes[role]
        self._storages.append(Storage(name, role, shape, prod(shape), 0, dtype, persistent, node))
        return len(self._storages) - 1

    def add_again(self, storage: Storage) -> int:
        """Adds a storage that is like another one, under a name of its own.

        Args:
            storage: The storage.

        Returns:
            Its number.
        """
        self._storages.append(storage)
        return len(self._storages) - 1

    def step(
        self,
        phase: Phase,
        node: str | None = None,
        reads: Iterable[int] = (),
        writes: Iterable[int] = (),
        holds: Iterable[int] = (),
    ) -> None:
        """Appends a step.

        Args:
            phase: What it does.
            node: The node that runs.
            reads: Numbers of storages; each must have been written before, or be persistent.
            writes: Numbers of storages.
            holds: Numbers of storages that somebody keeps alive without reading them; written before, likewise.
        """
        self._steps.append(Step(phase, node, tuple(reads), tuple(writes), tuple(holds)))

    def hold(self, numbers: Iterable[int]) -> None:
        """Keeps storages alive to the end."""
        self._held.update(numbers)

    def retain(self, numbers: Iterable[int]) -> None:
        """Notes storages that are kept for backward; a later step that reads them keeps them alive until then."""
        self._retained.update(numbers)

    def build(self) -> Schedule:
        """Returns the frozen schedule.

        Raises:
            ConformanceError: If there is no step.
        """
        if not self._steps:
            raise ConformanceError("a schedule has no steps", hint="call ScheduleBuilder.step() at least once")
        return Schedule(tuple(self._storages), tuple(self._steps), frozenset(self._held), frozenset(self._retained))
