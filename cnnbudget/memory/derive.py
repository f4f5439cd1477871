"""Where the bytes of a profile come from: storages, what is alive at the peak, and what a node keeps for backward."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from cnnbudget.derivations import Calculation, Derived, Explanation, ceiling, number, product, total
from cnnbudget.dtypes import Role
from cnnbudget.memory.devices import DataParallel
from cnnbudget.memory.schedule import Phase

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cnnbudget.memory.profile import MemoryProfile
    from cnnbudget.memory.schedule import Storage

__all__ = ["derive_kept", "derive_peak_of", "derive_storage", "explain_profile"]


def derive_storage(storage: Storage, batch: int, quantity: str | None = None) -> Derived:
    """Derives the bytes of a storage.

    Args:
        storage: The storage.
        batch: Samples in a batch.
        quantity: What to call them; the storage's name unless told.

    Returns:
        The derivation.

    Example:
        >>> from cnnbudget import FLOAT32, Role, Storage
        >>> print(derive_storage(Storage("conv", Role.ACTIVATION, (64, 112, 112), 0, 802816, FLOAT32), batch=32))
        conv = 64 x 112 x 112 x 32 x 4 = 102,760,448
    """
    whole = storage.fixed + storage.per_sample * batch
    factors: list[Calculation | int] = [*storage.shape]
    if storage.per_sample:
        factors.append(batch)
    if not storage.shape or prod(storage.shape) * (batch if storage.per_sample else 1) != whole:
        parts = [storage.fixed or None, product(storage.per_sample, batch) if storage.per_sample else None]
        factors = [total(*[part for part in parts if part is not None] or [0])]  # a number, or a foreign policy's own
    words = "size x samples" if storage.per_sample else "size"
    bits = storage.dtype.bits
    if bits % 8:
        return Derived(
            quantity or storage.name,
            ceiling(product(*factors, bits), 8),
            f"{words} x bits of {storage.dtype}, whole bytes",
            str(storage.role),
        )
    return Derived(
        quantity or storage.name,
        product(*factors, bits // 8),
        f"{words} x bytes of {storage.dtype}",
        str(storage.role),
    )


def _sum(quantity: str, parts: Iterable[Derived], formula: str, source: str = "") -> Derived:
    return Derived(quantity, total(*[part.value for part in parts] or [0]), formula, source)


def explain_profile(profile: MemoryProfile) -> Explanation:
    """Explains a profile; see :meth:`cnnbudget.MemoryProfile.explain`."""
    scenario, lifetimes, now = profile.scenario, profile.lifetimes, profile.peak_index
    storages, batch = lifetimes.schedule.storages, scenario.device_batch
    found = _derive_share(profile)
    lives = zip(storages, lifetimes.births, lifetimes.deaths, strict=True)
    alive = [storage for storage, birth, death in lives if birth <= now < death]
    parts = [(storage.role, derive_storage(storage, batch)) for storage in alive]
    parts.sort(key=lambda part: -part[1].value)
    found += [part for _, part in parts]
    roles = []
    for role in Role:
        members = [part for each, part in parts if each is role]
        if members:
            roles.append(_sum(f"all of role {role}", members, f"the sum of its storages, {len(members)} of them"))
    steps = len(profile.steps)
    where = f"the sum of what is alive at step {now + 1} of {steps}, {profile.peak_step}"
    found += [*roles, _sum("peak", roles, where, "no step has more: a lower bound for every allocator")]
    if all(storage.dtype.bits % 8 == 0 for storage in alive):
        line = total(int(profile.fixed), product(int(profile.per_sample), batch))
        found.append(Derived("peak as a line", line, "fixed + bytes per sample x samples", "at this step"))
    return Explanation(f"The peak of {type(scenario).__name__}, {profile.peak}", tuple(found))


def _derive_share(profile: MemoryProfile) -> list[Derived]:
    """How many samples a device works on at once, where that is not the batch."""
    scenario = profile.scenario
    share, count = scenario.device_batch, scenario.devices.count
    if share == scenario.batch:
        return []
    parts = getattr(scenario, "accumulate", 1)
    calculation, formula = number(share), "as the devices share the batch"
    if type(scenario.devices) is DataParallel:
        calculation, formula = ceiling(scenario.batch, count), "ceil(batch / devices)"
        if parts > 1:
            calculation = ceiling(calculation, parts)
            formula = "ceil(ceil(batch / devices) / parts of the accumulation)"
    return [Derived("samples at once", calculation, formula, "the fullest device")]


def derive_kept(profile: MemoryProfile, node: str) -> Derived:
    """Derives the bytes that a node keeps for its backward step; what several nodes keep is there once, and each derives it.

    Args:
        profile: The profile.
        node: The node's name.

    Returns:
        The derivation, of 0 where nothing is kept.
    """
    schedule = profile.lifetimes.schedule
    numbers = [
        number
        for step in schedule.steps
        if step.phase is Phase.BACKWARD and step.node == node
        for number in step.reads
        if number in schedule.retained
    ]
    kept = [schedule.storages[number] for number in dict.fromkeys(numbers)]
    batch = profile.scenario.device_batch
    parts = [derive_storage(storage, batch) for storage in kept]
    names = ", ".join(storage.name for storage in kept)
    calculation = total(*[part.calculation for part in parts]) if parts else number(0)
    formula = f"bytes of {names}, until backward of {node}" if parts else "nothing is kept for its backward step"
    return Derived("saved bytes", calculation, formula, str(profile.scenario.retention))


def derive_peak_of(profile: MemoryProfile, node: str) -> Derived:
    """Derives the bytes that belong to a node and are alive at the peak.

    Args:
        profile: The profile.
        node: The node's name.

    Returns:
        The derivation, of 0 where nothing of it is alive then.
    """
    lifetimes, now = profile.lifetimes, profile.peak_index
    lives = zip(lifetimes.schedule.storages, lifetimes.births, lifetimes.deaths, strict=True)
    alive = [storage for storage, birth, death in lives if birth <= now < death and storage.node == node]
    parts = [derive_storage(storage, profile.scenario.device_batch) for storage in alive]
    names = ", ".join(storage.name for storage in alive) or "nothing"
    calculation = total(*[part.calculation for part in parts]) if parts else number(0)
    source = f"the peak is at {profile.peak_step}"
    return Derived("bytes at the peak", calculation, f"what of it is alive there: {names}", source)
