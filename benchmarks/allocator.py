"""Speed of the caching allocator's replay on a training step of ResNet-152: parameters first, then the schedule's storages.

Run: ``python benchmarks/allocator.py``. CPU time, best of several; nothing here is asserted.
"""

from __future__ import annotations

import time

from cnnbudget import Training
from cnnbudget.memory.allocator import Allocator, CachingAllocator, Ideal
from cnnbudget.zoo import resnet152


def main() -> None:
    lifetimes = resnet152().profile(Training(32)).lifetimes
    schedule = lifetimes.schedule
    sizes = [storage.byte_count(32) for storage in schedule.storages]
    first = [number for number, storage in enumerate(schedule.storages) if storage.persistent]
    steps = len(schedule.steps)
    print(f"ResNet-152, batch 32: {len(sizes)} storages, {steps} steps")
    allocators: list[Allocator] = [
        Ideal(),
        CachingAllocator(),
        CachingAllocator(iterations=2),
        CachingAllocator(expandable_segments=True),
        CachingAllocator(max_split_size="64 MiB"),
    ]
    for allocator in allocators:
        spent = []
        for _ in range(20):
            start = time.process_time_ns()
            found = allocator.replay(lifetimes.births, lifetimes.deaths, sizes, steps, first=first)
            spent.append(time.process_time_ns() - start)
        print(
            f"{min(spent) / 1e6:7.2f} ms  {allocator!r}: requested {found.requested_peak}, "
            f"allocated {found.allocated_peak}, reserved {found.reserved_peak} in {len(found.segments)} segments"
        )


if __name__ == "__main__":
    main()
