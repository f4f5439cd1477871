"""What has to fit, and the largest batch that does: in closed form, or by search where the schedule depends on the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnbudget.checks import LARGEST
from cnnbudget.errors import InvalidValueError
from cnnbudget.memory.allocator import Ideal
from cnnbudget.memory.checkpoint import Checkpoint
from cnnbudget.memory.offload import Offload
from cnnbudget.memory.profile import MemoryProfile, profile

if TYPE_CHECKING:
    from cnnbudget.analysis.costs import CostTable
    from cnnbudget.graph.nodes import Network
    from cnnbudget.memory.scenario import Scenario
    from cnnbudget.units import Bytes

__all__ = ["demand", "largest_batch", "plans_for_batch"]

_BEYOND = 8
"""How many sizes behind the largest one that fits are looked at, because plans need not need more for more samples."""


def demand(found: MemoryProfile) -> Bytes:
    """What has to fit: the peak, or what the scenario's allocator takes for it.

    Args:
        found: A profile.
    """
    return found.peak if isinstance(found.scenario.allocator, Ideal) else found.allocation.device_peak


def plans_for_batch(scenario: Scenario) -> bool:
    """Whether the schedule itself is another one for another batch: an order, checkpoints or transfers that are planned by bytes.

    Args:
        scenario: The scenario.
    """
    retention = scenario.retention
    planned = isinstance(retention, Checkpoint) and retention.budget is not None
    return scenario.order != "given" or planned or (isinstance(retention, Offload) and retention.least > 1)


def largest_batch(network: Network | CostTable, budget: Bytes, scenario: Scenario) -> int:
    """The largest batch that fits.

    In closed form where one schedule serves all batches. Where it is planned for the batch, the sizes are doubled and halved, each
    with a plan of its own, and those right behind the result are looked at, too.

    Args:
        network: The network.
        budget: Bytes of one device.
        scenario: How it runs; its batch does not matter.

    Returns:
        The batch on all devices together; 0 if none fits.
    """
    if not plans_for_batch(scenario):
        return profile(network, scenario).max_batch(budget)
    unit = scenario.devices.count * getattr(scenario, "accumulate", 1)
    most = LARGEST // unit

    def fits(samples: int) -> bool:
        try:
            return demand(profile(network, scenario.evolve(batch=samples * unit))) <= budget
        except InvalidValueError:  # there is no plan for so many
            return False

    low, high = 0, 1
    while high <= most and fits(high):
        low, high = high, 2 * high
    high = min(high, most + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    behind = low
    while behind < min(most, low + _BEYOND):
        behind += 1
        if fits(behind):
            low = behind
    return low * unit
