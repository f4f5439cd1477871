"""The largest batch that fits, in closed form, and what stands in the way of a larger one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from cnnbudget.checks import LARGEST
from cnnbudget.memory.allocator import Ideal
from cnnbudget.units import Bytes

if TYPE_CHECKING:
    from cnnbudget.memory.profile import MemoryProfile

__all__ = ["BatchLimit", "batch_limit"]


@frozen
class BatchLimit:
    """The largest batch that fits a budget.

    Args:
        batch: Samples on all devices together; 0 if not even one fits.
        reason: What stands in the way of a larger one.
    """

    batch: int
    reason: str


def batch_limit(profile: MemoryProfile, limit: int) -> BatchLimit:
    """Finds the largest batch whose peak fits; see :meth:`cnnbudget.MemoryProfile.batch_limit`."""
    lifetimes, scenario = profile.lifetimes, profile.scenario
    share = LARGEST
    for fixed, per_sample in lifetimes.bits:
        if per_sample:
            share = min(share, (8 * limit - fixed) // per_sample)
        elif fixed > 8 * limit:
            share = 0
    share = max(0, share)
    # Formats below a byte round up per storage, which the closed form ignores: step down while that matters.
    while share and max(lifetimes.live_bytes(share)) > limit:
        share -= 1
    if not isinstance(scenario.allocator, Ideal):
        share = _largest_reserved(profile, share, limit)
    batch = min(LARGEST, scenario.largest_batch(share))
    return BatchLimit(batch, _what_stops(profile, share, batch))


def _largest_reserved(profile: MemoryProfile, most: int, limit: int) -> int:
    """The largest batch of a device whose reserved bytes fit, found by halving and verified: reserved bytes need not grow."""
    least = 0
    while least < most:
        middle = (least + most + 1) // 2
        if profile.replay(middle).device_peak <= limit:
            least = middle
        else:
            most = middle - 1
    return least


def _what_stops(profile: MemoryProfile, share: int, batch: int) -> str:
    if batch == LARGEST:
        return "no larger batch is accepted"
    lifetimes = profile.lifetimes
    live = lifetimes.live_bytes(share + 1)
    most = max(live)
    needs = f"{Bytes(most)} ({most:,} bytes) in {profile.steps[live.index(most)]}"
    if not isinstance(profile.scenario.allocator, Ideal):
        needs += f", and {profile.replay(share + 1).device_peak} reserved"
    if batch:
        return f"a batch of {batch + 1} needs {needs}"
    always = sum([storage.byte_count(1) for storage in lifetimes.schedule.storages if storage.persistent])
    return f"no batch fits: {always:,} bytes are there whatever the batch, and one sample needs {needs}"
