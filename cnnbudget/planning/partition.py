"""A chain of layers cut into contiguous parts, one a device, so that the fullest device is as empty as it can be."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import field, frozen

from cnnbudget.checks import exact_int, int_from, is_int, one_of
from cnnbudget.errors import InvalidTypeError, InvalidValueError, shorten
from cnnbudget.planning.plan import LARGEST_SIZE, Plan, check_sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import SupportsIndex

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

__all__ = ["SCHEDULES", "CutPlan", "PipelineLayer", "PipelinePlan", "cut_chain", "in_flight", "plan_pipeline"]

SCHEDULES = ("gpipe", "1f1b")
_SIZE: dict[str, Any] = {"converter": int_from, "validator": is_int(0, LARGEST_SIZE), "kw_only": True}
_MOST = 2**61


@frozen
class CutPlan(Plan):
    """Cuts of a chain. The value is that of the heaviest part, the least of all cuts; always optimal.

    Among those, the cuts cross the least.

    Args:
        starts: The first layer of every part, from 0.
        weights: Of every part.
        crossing: Sum of what crosses the cuts.
    """

    starts: tuple[int, ...]
    weights: tuple[int, ...]
    crossing: int


def cut_chain(
    count: SupportsIndex,
    parts: SupportsIndex,
    weigh: Callable[[int, int], Sequence[int]],
    crossing: Sequence[int] | None = None,
) -> CutPlan:
    """Cuts a chain into contiguous parts, none of them empty, whose heaviest is as light as can be.

    Exact, by dynamic programming over the ends of the first parts: quadratic in the layers, linear in the parts. The weight of
    a part may depend on which part it is, and need not be a sum.

    Args:
        count: Layers.
        parts: How many parts.
        weigh: Gives for part ``p`` that ends before layer ``end`` the weights with each start from 0 to ``end - 1``.
        crossing: What crosses a cut before each layer; the first is never cut.

    Returns:
        The plan.

    Raises:
        InvalidValueError: If there are more parts than layers.

    Example:
        >>> sizes = [3, 1, 1, 3]
        >>> cut_chain(4, 2, lambda part, end: [sum(sizes[start:end]) for start in range(end)]).starts
        (0, 2)
    """
    layers = exact_int(count, "count")
    wanted = exact_int(parts, "parts")
    if wanted > layers:
        raise InvalidValueError(
            "there are more parts than layers",
            got=f"{wanted} parts of {layers} layers",
            expected=f"at most {layers} parts",
        )
    crosses = (0,) * layers if crossing is None else tuple(crossing)
    check_sizes(crosses, "crossing")
    if len(crosses) != layers or sum(crosses) >= _MOST:
        raise InvalidValueError(
            "crossing does not fit", got=shorten(crosses), expected=f"{layers} sizes below 2**61 in all"
        )
    # heaviest[part][end]: of the first parts, up to an end; later parts need a layer each, so ends beyond that are left out
    heaviest = [np.full(layers + 1, _MOST, dtype=np.int64) for _ in range(wanted + 1)]
    heaviest[0][0] = 0
    weights: dict[tuple[int, int], Ints] = {}
    for part in range(wanted):
        for end in range(part + 1, layers - (wanted - 1 - part) + 1):
            row = tuple(weigh(part, end))
            check_sizes(row, f"weigh({part}, {end})")
            if len(row) != end or max(row) >= _MOST:
                raise InvalidValueError(
                    f"weigh({part}, {end}) does not fit", got=shorten(row), expected=f"{end} sizes below 2**61"
                )
            weights[part, end] = np.array(row, dtype=np.int64)
            heaviest[part + 1][end] = np.maximum(heaviest[part][:end], weights[part, end]).min()
    value = int(heaviest[wanted][layers])
    least = [
        np.full(layers + 1, _MOST, dtype=np.int64) for _ in range(wanted + 1)
    ]  # crossing, with nothing heavier than that
    least[0][0] = 0
    before: dict[tuple[int, int], int] = {}
    at_start = np.array((0, *crosses[1:]), dtype=np.int64)
    for (part, end), row_weights in weights.items():
        sums = np.where(row_weights <= value, least[part][:end] + at_start[:end], _MOST)
        before[part, end] = int(sums.argmin())
        least[part + 1][end] = min(int(sums[before[part, end]]), _MOST)
    starts, end = [], layers
    for part in reversed(range(wanted)):
        starts.append(before[part, end])
        end = starts[-1]
    starts.reverse()
    ends = [*starts[1:], layers]
    found = tuple(int(weights[part, ends[part]][starts[part]]) for part in range(wanted))
    return CutPlan(value, value, "dynamic programme over cuts", tuple(starts), found, int(least[wanted][layers]))


@frozen
class PipelineLayer:
    """A layer of a pipeline, in bytes.

    Args:
        parameter_bytes: Its parameters.
        kept_bytes: What it keeps for its backward operation for one micro-batch, its input not included.
        output_bytes: What it passes on for one micro-batch.
        transient_bytes: What is alive besides while it runs.
    """

    parameter_bytes: int = field(default=0, **_SIZE)
    kept_bytes: int = field(default=0, **_SIZE)
    output_bytes: int = field(default=0, **_SIZE)
    transient_bytes: int = field(default=0, **_SIZE)


@frozen
class PipelinePlan(Plan):
    """Cuts of a pipeline. The value is the bytes of the fullest device, the least of all cuts; always optimal.

    Args:
        starts: The first layer of every device, from 0.
        device_bytes: Of every device.
        in_flight: Micro-batches that every device holds at a time.
        traffic_bytes: What crosses the cuts in one step: values forward, and as many bytes of gradients back.
    """

    starts: tuple[int, ...]
    device_bytes: tuple[int, ...]
    in_flight: tuple[int, ...]
    traffic_bytes: int


def in_flight(schedule: str, devices: SupportsIndex, device: SupportsIndex, microbatches: SupportsIndex) -> int:
    """Micro-batches whose kept values a device holds at a time.

    With GPipe (Huang et al., 2019) all micro-batches run forward before any runs back. With one forward, one backward (1F1B:
    Narayanan et al., PipeDream-Flush, 2021) a device starts to run back as soon as it can.

    Args:
        schedule: ``"gpipe"`` or ``"1f1b"``.
        devices: How many.
        device: Which, from 0.
        microbatches: In a step.

    Returns:
        The number.

    Example:
        >>> in_flight("gpipe", 4, 0, 8), in_flight("1f1b", 4, 0, 8), in_flight("1f1b", 4, 3, 8)
        (8, 4, 1)
    """
    word = one_of(schedule, SCHEDULES, "schedule")
    count = exact_int(devices, "devices")
    number = exact_int(device, "device", 0, count - 1)
    batches = exact_int(microbatches, "microbatches")
    return batches if word == "gpipe" else min(batches, count - number)


def plan_pipeline(
    layers: Sequence[PipelineLayer],
    devices: SupportsIndex,
    microbatches: SupportsIndex,
    *,
    schedule: str = "1f1b",
    parameter_factor: SupportsIndex = 1,
    input_bytes: SupportsIndex = 0,
) -> PipelinePlan:
    """Cuts a chain of layers into a pipeline whose fullest device holds as little as can be.

    A device holds its parameters, what its layers keep, and what it received, for every micro-batch in flight, and the most of
    its transient bytes.

    Args:
        layers: In order.
        devices: How many; each gets one layer at least.
        microbatches: In a step.
        schedule: ``"gpipe"`` or ``"1f1b"``; see :func:`in_flight`.
        parameter_factor: How often each parameter is there: 4 with gradients and Adam in one precision.
        input_bytes: What the first device receives for one micro-batch.

    Returns:
        The plan.

    Raises:
        InvalidValueError: If there are more devices than layers, no micro-batches, or an unknown schedule.

    Example:
        >>> four = [PipelineLayer(parameter_bytes=size, kept_bytes=10, output_bytes=5) for size in (0, 10, 20, 90)]
        >>> plan = plan_pipeline(four, 2, 4)
        >>> plan.starts, plan.device_bytes, plan.traffic_bytes
        ((0, 3), (90, 105), 40)
    """
    chain = tuple(layers)
    for number, layer in enumerate(chain):
        if not isinstance(layer, PipelineLayer):
            raise InvalidTypeError(f"layers[{number}] must be a PipelineLayer", got=shorten(layer))
    if not chain:
        raise InvalidValueError("a pipeline has no layers", got="()", expected="one PipelineLayer or more")
    count = exact_int(devices, "devices")
    batches = exact_int(microbatches, "microbatches")
    factor = exact_int(parameter_factor, "parameter_factor")
    received = (exact_int(input_bytes, "input_bytes", 0, LARGEST_SIZE), *(layer.output_bytes for layer in chain[:-1]))
    if count > len(chain):
        raise InvalidValueError(
            "there are more devices than layers",
            got=f"{count} devices for {len(chain)} layers",
            expected=f"at most {len(chain)} devices",
        )
    held = tuple(in_flight(schedule, count, device, batches) for device in range(count))
    total = factor * sum(layer.parameter_bytes for layer in chain) + sum(layer.transient_bytes for layer in chain)
    if total + 2 * batches * (sum(layer.kept_bytes for layer in chain) + sum(received)) >= _MOST:
        raise InvalidValueError("the bytes of a pipeline are beyond 2**61", expected="less in all")
    parameters = np.array([0, *accumulate(factor * layer.parameter_bytes for layer in chain)], dtype=np.int64)
    kept = np.array([0, *accumulate(layer.kept_bytes for layer in chain)], dtype=np.int64)
    inputs = np.array(received, dtype=np.int64)
    transient = np.array([layer.transient_bytes for layer in chain], dtype=np.int64)

    def weigh(device: int, end: int) -> list[int]:
        most = np.maximum.accumulate(transient[:end][::-1])[::-1]
        values = inputs[:end] + kept[end] - kept[:end]
        return [int(size) for size in parameters[end] - parameters[:end] + held[device] * values + most]

    plan = cut_chain(len(chain), count, weigh, received)
    traffic = 2 * batches * plan.crossing
    return PipelinePlan(plan.value, plan.lower_bound, plan.method, plan.starts, plan.weights, held, traffic)
