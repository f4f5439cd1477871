"""Orders of random small problems against all legal orders; bounds and certificates against enumerations."""

import os
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from cnnbudget.planning.dag import Dag, first_order, peak_of, segments
from cnnbudget.planning.downsets import Part, Search, beam
from cnnbudget.planning.mincut import cut_bound
from cnnbudget.planning.order import least_peak_order
from cnnbudget.planning.plan import Clock
from cnnbudget.planning.referee import (
    complaints_about_cut,
    complaints_about_order,
    least_peak_by_trying,
    orders_by_trying,
    peak_by_counting,
)

MOST = 7 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 6
SIZES = st.integers(0, 12) | st.sampled_from([2**40, 2**63 - 1])


@st.composite
def dags(draw: st.DrawFn, most: int = MOST) -> Dag:
    """Any precedence, in any numbering; storages that any steps touch, in place, accumulated or never."""
    count = draw(st.integers(1, most))
    names = draw(st.permutations(range(count)))
    edges = draw(st.sets(st.sampled_from(list(combinations(range(count), 2))))) if count > 1 else set()
    after: list[list[int]] = [[] for _ in range(count)]
    for early, late in sorted(edges):
        after[names[late]].append(names[early])
    sizes = draw(st.lists(SIZES, min_size=1, max_size=most + 2))
    touches = draw(st.lists(st.sets(st.integers(0, len(sizes) - 1)), min_size=count, max_size=count))
    held = draw(st.sets(st.integers(0, len(sizes) - 1), max_size=2))
    return Dag(sizes, touches, after, held)


@given(dags())
def test_the_planned_order_is_the_best_of_all(dag: Dag) -> None:
    plan = least_peak_order(dag)
    assert complaints_about_order(dag, plan.order, plan.value) == []
    assert complaints_about_cut(dag, plan.certificate) == []
    assert plan.optimal
    assert plan.value == least_peak_by_trying(dag)
    assert plan.certificate.value <= plan.value


@given(dags(), st.integers(0, 3), st.integers(0, 9))
def test_a_plan_that_was_cut_off_is_honest(dag: Dag, states: int, seed: int) -> None:
    plan = least_peak_order(dag, state_limit=states, seed=seed)
    assert complaints_about_order(dag, plan.order, plan.value) == []
    assert plan.lower_bound <= least_peak_by_trying(dag) <= plan.value <= peak_by_counting(dag, first_order(dag))
    assert plan == least_peak_order(dag, state_limit=states, seed=seed)


def cut_by_enumeration(dag: Dag, step: int) -> int:
    """The least that is alive while a step runs, over all sets of steps that may have run before."""
    count = len(dag.after)
    found = []
    for done in range(1 << count):
        legal = all(
            done >> other & 1 for one in range(count) if done >> one & 1 or one == step for other in dag.after[one]
        )
        if not legal or done >> step & 1:
            continue
        live = 0
        for storage, size in enumerate(dag.sizes):
            steps = [one for one in range(count) if storage in dag.touches[one]]
            begun = any(done >> one & 1 for one in steps)
            finished = all(done >> one & 1 for one in steps) and storage not in dag.held
            if step in steps or (begun and not finished):
                live += size
        found.append(live)
    return min(found)


@given(dags(), st.data())
def test_the_cut_bound_is_the_least_over_all_downsets(dag: Dag, data: st.DataObject) -> None:
    step = data.draw(st.integers(0, len(dag.after) - 1))
    cut = cut_bound(dag, step)
    assert cut.value == cut_by_enumeration(dag, step)
    assert complaints_about_cut(dag, cut) == []


@given(dags())
def test_the_cuts_are_where_all_orders_agree(dag: Dag) -> None:
    order = first_order(dag)
    starts = [start for start, _ in segments(dag, order)]
    orders = list(orders_by_trying(dag))
    assert starts == [n for n in range(len(order)) if len({frozenset(order[:n]) for order in orders}) == 1]
    assert tuple(order) == min(orders)
    assert peak_of(dag, order) == peak_by_counting(dag, order)


@given(dags(), st.integers(1, 3))
def test_the_search_from_either_end_needs_no_other_bound(dag: Dag, width: int) -> None:
    order = first_order(dag)
    place = sorted(range(len(order)), key=order.__getitem__)
    touchers = [[step for step in order if storage in dag.touches[step]] for storage in range(len(dag.sizes))]
    part = Part(dag, touchers, place, order, live=0)
    best = least_peak_by_trying(dag)
    for way, turn in ((part, 1), (part.reversed(), -1)):
        search = Search(way, floor=0, ceiling=2**80)
        search.go(10**6, Clock(None))
        assert search.over
        assert search.threshold == best
        assert search.order is not None
        assert complaints_about_order(dag, [order[number] for number in search.order][::turn], best) == []
        just_below = Search(way, floor=0, ceiling=best + 1)
        just_below.go(10**6, Clock(None))
        assert just_below.order is not None
        nothing_below = Search(way, floor=0, ceiling=best)
        nothing_below.go(10**6, Clock(None))
        assert best == 0 or (nothing_below.over and nothing_below.order is None and nothing_below.threshold == best)
    local = beam(part, width, 0, Clock(None))
    assert local is not None
    assert (
        complaints_about_order(
            dag, [order[number] for number in local], peak_by_counting(dag, [order[n] for n in local])
        )
        == []
    )
