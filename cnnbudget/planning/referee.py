"""Referees: slow, obvious second opinions on the planners. They share no code with them, on purpose."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cnnbudget.planning.dag import Dag
    from cnnbudget.planning.mincut import CutBound

__all__ = [
    "complaints_about_cut",
    "complaints_about_order",
    "complaints_about_packing",
    "least_height_by_trying",
    "least_peak_by_trying",
    "live_sizes_by_counting",
    "orders_by_trying",
    "peak_by_counting",
]


def live_sizes_by_counting(births: Sequence[int], deaths: Sequence[int], sizes: Sequence[int], steps: int) -> list[int]:
    """The same answer as :func:`cnnbudget.planning.intervals.live_sizes`, by asking every interval at every step.

    Args:
        births: First step of each interval.
        deaths: Step after its last.
        sizes: Its size.
        steps: How many steps there are.

    Returns:
        The sum at each step.
    """
    return [
        sum(sizes[item] for item in range(len(sizes)) if births[item] <= step < deaths[item]) for step in range(steps)
    ]


# Orders -------------------------------------------------------------------------------------------------------------


def peak_by_counting(dag: Dag, order: Sequence[int]) -> int:
    """The peak of an order, by asking every storage at every position whether it is between its first and its last step.

    Args:
        dag: The problem.
        order: Every step once.

    Returns:
        The most bytes alive at a position.
    """
    used = [
        [now for now, step in enumerate(order) if storage in dag.touches[step]] for storage in range(len(dag.sizes))
    ]
    return max(
        sum(
            size
            for storage, size in enumerate(dag.sizes)
            if used[storage] and used[storage][0] <= now and (now <= used[storage][-1] or storage in dag.held)
        )
        for now in range(len(order))
    )


def orders_by_trying(dag: Dag) -> Iterator[tuple[int, ...]]:
    """All legal orders. There may be as many as permutations: for a handful of steps."""
    begun: list[tuple[int, ...]] = [()]
    while begun:
        order = begun.pop()
        if len(order) == len(dag.after):
            yield order
        for step, before in enumerate(dag.after):
            if step not in order and all(other in order for other in before):
                begun.append((*order, step))


def least_peak_by_trying(dag: Dag) -> int:
    """The smallest peak of all legal orders."""
    return min(peak_by_counting(dag, order) for order in orders_by_trying(dag))


def complaints_about_order(dag: Dag, order: Sequence[int], value: int) -> list[str]:
    """What is wrong with an order and the peak that is claimed for it.

    Args:
        dag: The problem.
        order: The steps.
        value: The claim.

    Returns:
        Sentences; none if all is well.
    """
    if sorted(order) != list(range(len(dag.after))):
        return ["the order has not every step once"]
    found = [
        f"step {step} comes before step {other}, which it waits for"
        for now, step in enumerate(order)
        for other in dag.after[step]
        if other not in order[:now]
    ]
    peak = peak_by_counting(dag, order)
    return found + ([f"the peak is {peak}, not {value}"] if peak != value else [])


def complaints_about_cut(dag: Dag, cut: CutBound) -> list[str]:
    """What is wrong with a min-cut bound's proof: checks chain by chain that one of its storages must be alive.

    Args:
        dag: The problem.
        cut: The bound.

    Returns:
        Sentences; none if the bound is proved.
    """
    count = len(dag.after)
    earlier = [_all_before(dag, step) for step in range(count)]
    touchers = [{step for step in range(count) if storage in dag.touches[step]} for storage in range(len(dag.sizes))]
    has_run = earlier[cut.step]
    cannot_have = {step for step in range(count) if step == cut.step or cut.step in earlier[step]}
    found = []
    carried = [0] * len(dag.sizes)
    for number, chain in enumerate(cut.chains):
        for storage in chain.storages:
            carried[storage] += chain.weight
        if chain.weight < 0 or not chain.storages:
            found.append(f"chain {number} has a negative weight or is empty")
            continue
        if not touchers[chain.storages[0]] & has_run:
            found.append(f"chain {number}: nothing before the step must have touched its first storage")
        for one, next_one in zip(chain.storages, chain.storages[1:], strict=False):
            must_have_run = set(touchers[one]).union(*(earlier[step] for step in touchers[one]))
            if not touchers[next_one] & must_have_run:
                found.append(f"chain {number}: storage {one} may be dead before storage {next_one} is touched")
        last = chain.storages[-1]
        if last not in dag.held and not touchers[last] & cannot_have:
            found.append(f"chain {number}: its last storage may be dead")
    own = set(dag.touches[cut.step])
    for storage, weight in enumerate(carried):
        if weight > (0 if storage in own else dag.sizes[storage]):
            found.append(f"storage {storage} carries more than its size, or counts twice")
    total = sum(dag.sizes[storage] for storage in own) + sum(chain.weight for chain in cut.chains)
    return found + ([f"the proof adds up to {total}, not {cut.value}"] if total != cut.value else [])


def _all_before(dag: Dag, step: int) -> set[int]:
    found: set[int] = set()
    look_at = [step]
    while look_at:
        for other in dag.after[look_at.pop()]:
            if other not in found:
                found.add(other)
                look_at.append(other)
    return found


# Arenas -------------------------------------------------------------------------------------------------------------


def complaints_about_packing(
    lifetimes: Sequence[tuple[int, int, int]], offsets: Sequence[int], alignment: int, height: int
) -> list[str]:
    """What is wrong with a packing: compares every two storages.

    Args:
        lifetimes: ``(birth, death, size)`` of each storage, half-open.
        offsets: Where each lies.
        alignment: What every offset must be a multiple of.
        height: The claim.

    Returns:
        Sentences; none if all is well.
    """
    found = [f"{number} lies at {offset}" for number, offset in enumerate(offsets) if offset < 0 or offset % alignment]
    for one, (birth, death, size) in enumerate(lifetimes):
        for other in range(one):
            other_birth, other_death, other_size = lifetimes[other]
            in_time = birth < other_death and other_birth < death
            in_space = offsets[one] < offsets[other] + other_size and offsets[other] < offsets[one] + size
            if in_time and in_space:
                found.append(f"{other} and {one} overlap")
    ends = [
        -(-(offset + size) // alignment) * alignment for offset, (_, _, size) in zip(offsets, lifetimes, strict=True)
    ]
    return found + ([f"the height is {max(ends)}, not {height}"] if max(ends) != height else [])


def least_height_by_trying(lifetimes: Sequence[tuple[int, int, int]]) -> int:
    """The least height of all packings.

    Let the storages of a best packing fall down one after the other, from the lowest up: none ends higher than it was, and each
    lies upon those before it. So trying all sequences, with each storage upon all before it that live at the same time, finds the
    height.

    Args:
        lifetimes: ``(birth, death, size)`` of each storage, half-open; a handful.

    Returns:
        The height.
    """
    heights = []
    for sequence in permutations(lifetimes):
        tops: list[int] = []
        for birth, death, size in sequence:
            below = [
                top
                for top, (other_birth, other_death, _) in zip(tops, sequence, strict=False)
                if birth < other_death and other_birth < death
            ]
            tops.append(max(below, default=0) + size)
        heights.append(max(tops))
    return min(heights)
