"""The execution order of least peak, with proof where there is one.

First the order is cut where all orders agree; the peak is the largest over the parts, and most parts of most networks are single
steps. What remains: the given order and a greedy one, the min-cut bound, and when they do not meet, a search over downsets; when
that is cut off, wider beams and exact searches of windows around the peak, and an honest gap.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from attrs import field, frozen

from cnnbudget.checks import exact_int
from cnnbudget.errors import InvalidTypeError, shorten
from cnnbudget.planning.dag import Dag, first_order, segments, step_sizes
from cnnbudget.planning.downsets import Part, beam, search
from cnnbudget.planning.mincut import CutBound, CutBounder
from cnnbudget.planning.plan import Clock, Plan

if TYPE_CHECKING:
    from cnnbudget.planning.plan import Progress

__all__ = ["OrderPlan", "least_peak_order"]

_BEAMS = (4, 32, 128)
_WINDOW = 40
_WINDOW_STATES = 2_000
_TRIALS = 24
_MOST_STEPS = 10_000  # of a part; sets of more steps than that cost too much to search


@frozen
class OrderPlan(Plan):
    """An execution order, and why no other is better.

    Args:
        order: The steps in order; its peak is the value.
        certificate: A min-cut bound with its proof. Where the lower bound is larger, the search has proved it by exhaustion.
    """

    order: tuple[int, ...] = field(repr=False)
    certificate: CutBound = field(repr=False)


def least_peak_order(
    dag: Dag,
    *,
    time_limit: float | None = None,
    state_limit: int = 100_000,
    progress: Progress | None = None,
    seed: int = 0,
) -> OrderPlan:
    """Finds the execution order with the smallest peak of live bytes.

    The plan is never worse than the given order: by number, as far as that is legal. It depends on the problem, the state limit and
    the seed alone, unless the time limit cuts it off.

    Args:
        dag: The problem.
        time_limit: Seconds; ``None`` for no limit. The last flow or beam that was begun is finished.
        state_limit: How many sets of steps the exact search may visit in each part before it gives up proving.
        progress: Is called with ``(value, lower_bound)`` whenever one of them improves.
        seed: Of the local search that follows a search that gave up.

    Returns:
        The order with its peak, a lower bound and its certificate.

    Raises:
        InvalidTypeError: If an argument has the wrong type.
        InvalidValueError: If a limit is out of range.

    Example:
        >>> from cnnbudget.planning.dag import peak_of
        >>> fork = Dag.of_values([1, 9, 9, 1, 1, 1], inputs=[[], [0], [0], [1], [2], [3, 4]], outputs=[5])
        >>> plan = least_peak_order(fork)
        >>> plan.value, plan.optimal, peak_of(fork, range(6))
        (11, True, 19)
    """
    if not isinstance(dag, Dag):
        raise InvalidTypeError("least_peak_order takes a Dag", got=shorten(dag), expected="Dag(sizes, touches, after)")
    exact_int(state_limit, "state_limit", 0)
    exact_int(seed, "seed", 0)
    return _Planner(dag, Clock(time_limit), state_limit, progress, Random(seed)).plan()  # noqa: S311  # no secret


class _Planner:
    """The state of one run: the best order and bound so far."""

    def __init__(self, dag: Dag, clock: Clock, limit: int, progress: Progress | None, random: Random) -> None:
        self.dag, self.clock, self.limit, self.progress, self.random = dag, clock, limit, progress, random
        self.order = first_order(dag)
        self.bounder = CutBounder.of(dag)
        self.sizes = step_sizes(dag, self.order)
        self.value = max(self.sizes)
        self.method = "given order"
        # The largest step alone is a bound that costs nothing to prove.
        alone = max(range(len(self.order)), key=lambda step: sum([dag.sizes[storage] for storage in dag.touches[step]]))
        self.certificate = CutBound(alone, sum([dag.sizes[storage] for storage in dag.touches[alone]]), ())
        self.lower_bound = self.certificate.value

    def plan(self) -> OrderPlan:
        """Runs everything."""
        parts = segments(self.dag, self.order)
        singles = [start for start, end in parts if end - start == 1]
        if singles:
            largest = max(singles, key=lambda position: self.sizes[position])
            if self.sizes[largest] > self.lower_bound:
                self.raise_bound_by_cut(self.order[largest])
        parts = [(start, end) for start, end in parts if end - start > 1]
        for start, end in sorted(parts, key=lambda part: -max(self.sizes[part[0] : part[1]])):
            if self.clock.over:
                break
            self.improve(start, end)
        return OrderPlan(self.value, self.lower_bound, self.method, tuple(self.order), self.certificate)

    def peak(self, start: int, end: int) -> int:
        """Of the steps between two positions."""
        return max(self.sizes[start:end])

    def raise_bound(self, bound: int) -> None:
        """Takes a new lower bound, if it is one."""
        if bound > self.lower_bound:
            self.lower_bound = bound
            self.report()

    def raise_bound_by_cut(self, step: int) -> None:
        """Takes the min-cut bound of a step, if it is larger."""
        cut = self.bounder.bound(step)
        if cut.value > self.certificate.value:
            self.certificate = cut
            self.raise_bound(cut.value)

    def report(self) -> None:
        """Tells the caller."""
        if self.progress is not None:
            self.progress(self.value, self.lower_bound)

    def part(self, start: int, end: int) -> Part:
        """The problem between two positions of the best order."""
        place = [0] * len(self.order)
        for now, step in enumerate(self.order):
            place[step] = now
        first = self.order[start]
        born = {s for s in self.dag.touches[first] if all(place[other] >= start for other in self.bounder.touchers[s])}
        live = self.sizes[start] - sum([self.dag.sizes[storage] for storage in born])
        return Part(self.dag, self.bounder.touchers, place, self.order[start:end], live)

    def take(self, start: int, part: Part, local: tuple[int, ...], method: str) -> bool:
        """Takes an order of a part if its peak is smaller there.

        Returns:
            Whether it was.
        """
        end = start + len(local)
        order = [*self.order[:start], *(part.steps[number] for number in local), *self.order[end:]]
        sizes = step_sizes(self.dag, order)
        if max(sizes[start:end]) >= self.peak(start, end):
            return False
        self.order, self.sizes = order, sizes
        if max(sizes) < self.value:
            self.value, self.method = max(sizes), method
            self.report()
        return True

    def improve(self, start: int, end: int) -> None:
        """Works on one part until its peak is no more than the lower bound of all, or the limits are reached."""
        if self.peak(start, end) <= self.lower_bound:
            return
        if end - start > _MOST_STEPS:
            worst = max(range(start, end), key=lambda position: self.sizes[position])
            self.raise_bound_by_cut(self.order[worst])
            return
        for width in (1, _BEAMS[0]):
            self.try_beam(start, end, width)
        for position in sorted(range(start, end), key=lambda position: -self.sizes[position]):
            if self.sizes[position] > self.lower_bound and not self.clock.over:
                self.raise_bound_by_cut(self.order[position])
        if self.peak(start, end) <= self.lower_bound:
            return
        part = self.part(start, end)
        found = search(part, self.lower_bound, self.peak(start, end), self.limit, self.clock)
        self.raise_bound(found.threshold)
        if found.order is not None:
            self.take(start, part, found.order, "search over downsets")
        elif not found.over:
            for width in _BEAMS[1:]:
                self.try_beam(start, end, width)
            self.slide_windows(start, end)

    def try_beam(self, start: int, end: int, width: int) -> None:
        """Takes the order of a beam if it is better."""
        if self.peak(start, end) > self.lower_bound and not self.clock.over:
            part = self.part(start, end)
            local = beam(part, width, self.lower_bound, self.clock)
            if local is not None:
                self.take(start, part, local, "greedy order" if width == 1 else "beam over downsets")

    def slide_windows(self, start: int, end: int) -> None:
        """Reorders stretches around the peak exactly, until a few random stretches in a row have not helped."""
        failed = 0
        while failed < _TRIALS and self.peak(start, end) > self.lower_bound and not self.clock.over:
            worst = max(range(start, end), key=lambda position: self.sizes[position])
            left = max(start, worst - self.random.randrange(_WINDOW))
            right = min(end, left + _WINDOW)
            part = self.part(left, right)
            states = min(_WINDOW_STATES, self.limit)
            found = search(part, self.lower_bound, self.peak(left, right), states, self.clock)
            better = found.order is not None and self.take(left, part, found.order, "search of windows")
            failed = 0 if better else failed + 1
