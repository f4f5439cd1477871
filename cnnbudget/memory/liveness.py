"""Lifetimes: from which step to which a storage is alive, read off a schedule."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from cnnbudget.checks import exact_int
from cnnbudget.dtypes import Role
from cnnbudget.errors import ConformanceError, shorten
from cnnbudget.memory.schedule import Phase, Schedule
from cnnbudget.planning.envelope import upper_envelope
from cnnbudget.planning.intervals import live_sizes

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Liveness", "liveness"]

_OF_SAMPLES = frozenset({Role.ACTIVATION, Role.EXTRA, Role.ACTIVATION_GRADIENT, Role.WORKSPACE})


@frozen
class Liveness:
    """When every storage of a schedule is alive: the half-open interval of steps ``births[n] .. deaths[n]``.

    Args:
        schedule: The schedule.
        births: First step of each storage's life.
        deaths: The step after its last.
    """

    schedule: Schedule
    births: tuple[int, ...] = field(repr=False)
    deaths: tuple[int, ...] = field(repr=False)

    def live_bytes(self, batch: int) -> list[int]:
        """Bytes alive at each step.

        Args:
            batch: Samples in a batch.

        Returns:
            One exact int a step.
        """
        batch = exact_int(batch, "batch")
        sizes = [storage.byte_count(batch) for storage in self.schedule.storages]
        return live_sizes(self.births, self.deaths, sizes, len(self.schedule.steps))

    def live_bytes_of(self, roles: frozenset[Role], batch: int) -> list[int]:
        """Bytes of some roles that are alive at each step.

        Args:
            roles: Which roles count.
            batch: Samples in a batch.

        Returns:
            One exact int a step.
        """
        return self._live_of([storage.role in roles for storage in self.schedule.storages], batch)

    def _live_of(self, counted: Sequence[bool], batch: int) -> list[int]:
        batch = exact_int(batch, "batch")
        chosen = [number for number, counts in enumerate(counted) if counts]
        return live_sizes(
            [self.births[number] for number in chosen],
            [self.deaths[number] for number in chosen],
            [self.schedule.storages[number].byte_count(batch) for number in chosen],
            len(self.schedule.steps),
        )

    def activation_bytes(self, batch: int) -> list[int]:
        """Bytes of activations, their gradients, saved extras and temporaries alive at each step, without an update's."""
        return self._live_of(self._of_samples, batch)

    @cached_property
    def _of_samples(self) -> tuple[bool, ...]:
        """Which storages belong to samples: by role, but for the temporaries of an update."""
        update = {number for step in self.schedule.steps if step.phase is Phase.UPDATE for number in step.writes}
        return tuple(
            [
                storage.role in _OF_SAMPLES and number not in update
                for number, storage in enumerate(self.schedule.storages)
            ]
        )

    @cached_property
    def activation_envelope(self) -> tuple[tuple[int, int, int], ...]:
        """The same as :attr:`envelope` for activations, their gradients and saved extras."""
        return upper_envelope(self._bits_of(self._of_samples))

    @cached_property
    def bits(self) -> tuple[tuple[int, int], ...]:
        """Live bits at each step as ``(fixed, per sample)``: exact, and the bytes but for rounding of formats below a byte."""
        return self._bits_of([True] * len(self.schedule.storages))

    def _bits_of(self, counted: Sequence[bool]) -> tuple[tuple[int, int], ...]:
        storages, steps = self.schedule.storages, len(self.schedule.steps)
        sizes = [storage.dtype.bits * counts for storage, counts in zip(storages, counted, strict=True)]
        fixed = [storage.fixed * size for storage, size in zip(storages, sizes, strict=True)]
        per_sample = [storage.per_sample * size for storage, size in zip(storages, sizes, strict=True)]
        return tuple(
            zip(
                live_sizes(self.births, self.deaths, fixed, steps),
                live_sizes(self.births, self.deaths, per_sample, steps),
                strict=True,
            )
        )

    @cached_property
    def envelope(self) -> tuple[tuple[int, int, int], ...]:
        """The upper envelope of the steps' live bits, as lines over the batch: ``(first batch, fixed, per sample)``.

        From its first batch to the next line's, a line is the highest of all: the peak there is ``fixed + per sample * batch``.
        """
        return upper_envelope(self.bits)


def liveness(schedule: Schedule) -> Liveness:
    """Reads the lifetimes off a schedule.

    A storage is born at the first step that writes it and dies after the last step that reads, writes or holds it; persistent
    ones live always, held ones to the end.

    Args:
        schedule: The schedule.

    Returns:
        The lifetimes.

    Raises:
        ConformanceError: If a step reads a storage that nothing has written, or a storage is never written.
    """
    _check_schedule(schedule)
    storages, count = schedule.storages, len(schedule.steps)
    births = [0 if storage.persistent else -1 for storage in storages]
    deaths = [0] * len(storages)
    for now, step in enumerate(schedule.steps):
        for number in step.writes:
            if births[number] < 0:
                births[number] = now
            deaths[number] = now + 1
        for number in (*step.reads, *step.holds) if step.holds else step.reads:
            if births[number] < 0:
                raise ConformanceError(
                    "a step reads a storage that nothing has written yet",
                    where=f"step {now}, {step}",
                    got=repr(storages[number].name),
                    expected="a storage that an earlier step writes, or a persistent one",
                )
            deaths[number] = now + 1
    for number, storage in enumerate(storages):
        if births[number] < 0:
            raise ConformanceError(
                "a storage is never written", got=repr(storage.name), expected="a step that writes it"
            )
        if storage.persistent or number in schedule.held:
            deaths[number] = count
    return Liveness(schedule, tuple(births), tuple(deaths))


def _check_schedule(schedule: Any) -> None:
    """Refuses what a foreign policy may have made of a schedule: the sweep below trusts its numbers."""
    if not isinstance(schedule, Schedule):
        raise ConformanceError(
            "a retention policy returned no schedule",
            got=shorten(schedule),
            expected="a Schedule; ScheduleBuilder makes one",
        )
    numbers = range(len(schedule.storages))
    for now, step in enumerate(schedule.steps):
        for number in (*step.reads, *step.writes, *step.holds):
            if type(number) is not int or number not in numbers:
                raise ConformanceError(
                    "a step names a storage that does not exist",
                    where=f"step {now}, {step}",
                    got=shorten(number),
                    expected=f"a number from 0 to {len(numbers) - 1}",
                )
    for number in schedule.held:
        if type(number) is not int or number not in numbers:
            raise ConformanceError(
                "a schedule holds a storage that does not exist",
                got=shorten(number),
                expected=f"a number from 0 to {len(numbers) - 1}",
            )
