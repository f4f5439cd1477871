"""The witness of a peak: who is alive there, from when to when, and the whole of it in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from cnnbudget.dtypes import DType, Role
from cnnbudget.memory.schedule import Step, Storage
from cnnbudget.tensors import Shape
from cnnbudget.units import Bytes

if TYPE_CHECKING:
    from cnnbudget.memory.liveness import Liveness
    from cnnbudget.memory.profile import MemoryProfile

__all__ = ["AliveStorage", "alive_at", "why"]

_SHOWN = 4


@frozen(slots=False)  # made by the thousand, and faster without slots
class AliveStorage:
    """A storage that is alive at the peak.

    Args:
        storage: The storage.
        size: Bytes of the whole batch.
        share: Part of the peak, 0 to 1.
        steps: The half-open interval of steps in which it is alive.
        producer: The step that writes it first; ``None`` for what is always there.
        last_reader: The step with which it dies; ``None`` for what is kept to the end.
    """

    storage: Storage
    size: Bytes
    share: float
    steps: tuple[int, int]
    producer: Step | None
    last_reader: Step | None

    @property
    def name(self) -> str:
        """The value that owns it, or node and tensor."""
        return self.storage.name

    @property
    def role(self) -> Role:
        """What the bytes are for."""
        return self.storage.role

    @property
    def shape(self) -> Shape:
        """Of one sample, or of the whole where there is one for all samples."""
        return self.storage.shape

    @property
    def dtype(self) -> DType:
        """Width of an element."""
        return self.storage.dtype

    @property
    def node(self) -> str | None:
        """The node that it belongs to; ``None`` if it is the whole network's."""
        return self.storage.node


def alive_at(lifetimes: Liveness, now: int, batch: int) -> tuple[AliveStorage, ...]:
    """Finds every storage that is alive at a step.

    Args:
        lifetimes: When each storage is alive.
        now: Number of the step.
        batch: Samples in a batch.

    Returns:
        The storages, the largest first.
    """
    schedule = lifetimes.schedule
    steps = schedule.steps
    lives = enumerate(zip(schedule.storages, lifetimes.births, lifetimes.deaths, strict=True))
    found = [(number, storage.byte_count(batch)) for number, (storage, birth, death) in lives if birth <= now < death]
    total = sum([size for _, size in found])
    found.sort(key=lambda each: -each[1])
    alive = []
    for number, size in found:
        storage = schedule.storages[number]
        birth, death = lifetimes.births[number], lifetimes.deaths[number]
        stays = storage.persistent or number in schedule.held
        alive.append(
            AliveStorage(
                storage,
                Bytes(size),
                size / total,
                (birth, death),
                None if storage.persistent else steps[birth],
                None if stays else steps[death - 1],
            )
        )
    return tuple(alive)


def why(profile: MemoryProfile) -> str:
    """Says what makes a peak; see :meth:`cnnbudget.MemoryProfile.why`."""
    peak, steps = profile.peak, profile.steps
    step = profile.peak_step
    lines = [f"The peak of {peak} is reached at step {profile.peak_index + 1} of {len(steps)}, {step}."]
    shares = sorted(profile.by_role.items(), key=lambda item: -item[1])
    lines.append("Alive there: " + ", ".join(f"{role} {size / peak:.0%}" for role, size in shares) + ".")
    largest = profile.at_peak[:_SHOWN]
    lines += [_life(storage) for storage in largest]
    lines.append(f"These are {sum(storage.size for storage in largest) / peak:.0%} of it.{_next(profile)}")
    if profile.per_sample:
        grows = profile.per_sample * profile.scenario.device_batch
        lines.append(f"The batch makes {grows / peak:.0%} of it: one sample less is {profile.per_sample} less.")
    else:
        lines.append("It does not depend on the batch.")
    return "\n".join(lines)


def _life(storage: AliveStorage) -> str:
    if storage.producer is None:
        return f"{storage.name} ({storage.size}) is always there."
    end = "to the end" if storage.last_reader is None else f"until {storage.last_reader}"
    return f"{storage.name} ({storage.size}) lives from {storage.producer} {end}."


def _next(profile: MemoryProfile) -> str:
    """What the peak falls to when nothing but its own node is cured: the fullest step of another node."""
    node = profile.peak_step.node
    others = [
        (live, -number)
        for number, (live, step) in enumerate(zip(profile.live_bytes, profile.steps, strict=True))
        if step.node != node
    ]
    if node is None or not others:
        return ""
    live, number = max(others)
    return f" Whatever is done about {node} alone, {profile.steps[-number]} still needs {Bytes(live)}."
