"""The search for the smallest combination of remedies that suffices: all of one size before any of the next.

No bound of a combination's peak follows from the peaks of its parts: a remedy that does not help may be what another one needs,
and two that help may be in each other's way. So nothing is concluded from smaller combinations; what is not measured is not
claimed. What can be left out safely: combinations of two remedies that share the batch out (:data:`FAMILIES`), because whichever
of them is there, one sample at a time is the least that both can make of it.
"""

from __future__ import annotations

from heapq import nsmallest
from itertools import combinations
from math import comb, prod
from typing import TYPE_CHECKING

from attrs import field, frozen

from cnnbudget.advice.candidates import application_order
from cnnbudget.advice.measure import Measured, Option, Question, rank
from cnnbudget.memory.allocator import Ideal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cnnbudget.advice.remedies import Remedy

__all__ = ["Search", "search"]

MOST_ORDERED = 200_000
"""How many combinations of one size are put in order; of more, those of the most promising remedies."""


@frozen
class Search:
    """What a search found.

    Args:
        options: The combinations that suffice, all of one size; the best first.
        size: How many remedies a combination has, or the largest size that was tried.
        measured: How many combinations were measured.
        complete: Whether all combinations of all sizes below ``size`` were measured.
        exhausted: Whether all combinations of this size were measured too.
    """

    options: tuple[Option, ...] = field(repr=False)
    size: int
    measured: int
    complete: bool
    exhausted: bool


def search(
    question: Question,
    pool: list[Measured],
    families: tuple[type[Remedy], ...],
    *,
    combine: int,
    tries: int,
    complete: bool,
) -> Search:
    """Searches for the smallest combinations that suffice. No remedy suffices alone.

    Args:
        question: What is asked.
        pool: Single remedies and what they bring.
        families: Families of which the remedy that just suffices is computed.
        combine: The most remedies in a combination.
        tries: How many combinations are measured at most.
        complete: Whether the pool holds every single remedy.

    Returns:
        What was found.
    """
    # Reserved bytes need not grow with the batch, so with an allocator one sample is no bound for the families.
    bounded = isinstance(question.scenario.allocator, Ideal)
    ordered = sorted(pool, key=lambda found: found.option.peak)
    level, measured = ordered, 0
    size, exhausted = 1, complete
    for size in range(2, combine + 1):
        complete = complete and exhausted
        sufficing = [
            found.option
            for smaller in level
            if smaller.floor <= question.budget or not bounded
            for found in question.families(smaller.option.remedies, families)
        ]
        chosen, exhausted = _chosen(ordered, size, tries - measured, question.before.peak)
        exhausted = exhausted and complete
        level = []
        for remedies in chosen:
            measured += 1
            found = question.try_to_measure(remedies)
            if found is not None:
                level.append(found)
        sufficing += [found.option for found in level if found.option.fits]
        if sufficing or not level:
            return Search(tuple(sorted(sufficing, key=rank)), size, measured, complete, exhausted)
    return Search((), size, measured, complete, exhausted)


def _chosen(ordered: list[Measured], size: int, most: int, before: int) -> tuple[list[tuple[Remedy, ...]], bool]:
    """The combinations to measure, the most promising first, and whether these are all."""
    count = len(ordered)
    while comb(count, size) > MOST_ORDERED:
        count -= 1
    promising = nsmallest(most, _scored(ordered[:count], size, before))
    chosen = [_in_order(ordered[number].option.remedy for number in numbers) for _, numbers in promising]
    total = sum(1 for _ in _scored(ordered[:count], size, before)) if len(promising) == most else len(promising)
    return chosen, count == len(ordered) and total == len(promising)


def _scored(ordered: list[Measured], size: int, before: int) -> Iterator[tuple[float, tuple[int, ...]]]:
    """Combinations of different slots by the product of what their parts leave of the peak: where to look first, no bound."""
    ratios = [found.option.peak / before for found in ordered]
    slots = [found.option.remedy.slot for found in ordered]
    for numbers in combinations(range(len(ordered)), size):
        if len({slots[number] for number in numbers}) == size:
            yield prod([ratios[number] for number in numbers]), numbers


def _in_order(remedies: Iterable[Remedy]) -> tuple[Remedy, ...]:
    return tuple(sorted(remedies, key=application_order))
