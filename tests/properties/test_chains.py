"""Checkpoint schedules against all schedules of small chains, and laws of the large ones."""

from itertools import combinations
from random import Random
from unittest import mock

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from cnnbudget.planning import chain as planner
from cnnbudget.planning.chain import least_checkpoint_bytes, plan_checkpoints, tradeoff
from cnnbudget.planning.referee_chain import least_extra_cost_by_trying
from cnnbudget.planning.segments import at, cheapest_segments, every, least_peak_segments, segment_bytes
from cnnbudget.planning.stages import Action, Chain, Stage, keep_all, replay

SMALL = st.integers(0, 8)
RARE = st.sampled_from([0, 0, 1, 5])


@st.composite
def chains(draw, longest=4, least_cost=0):
    stages = []
    for _ in range(draw(st.integers(1, longest))):
        output = draw(SMALL)
        stages.append(
            Stage(
                output_bytes=output,
                kept_bytes=output + draw(SMALL),
                forward=draw(st.integers(least_cost, 5)),
                backward=draw(SMALL),
                gradient_bytes=draw(st.sampled_from([output, 0, 7])),
                forward_transient_bytes=draw(RARE),
                saving_transient_bytes=draw(RARE),
                backward_transient_bytes=draw(RARE),
                residue_bytes=draw(RARE),
            )
        )
    return Chain(stages, input_bytes=draw(SMALL), input_gradient_bytes=draw(RARE))


def budgets(chain):
    """Every budget that matters, if they are few; else some, the ends among them."""
    least, most = least_checkpoint_bytes(chain), replay(chain, keep_all(chain)).peak_bytes
    return sorted({least, most, *range(least, most, max((most - least) // 5, 1))})


@given(chains())
def test_plans_are_best_among_persistent_schedules(chain):
    for budget in budgets(chain):
        plan = plan_checkpoints(chain, budget)
        result = replay(chain, plan.operations)
        assert plan.optimal
        assert plan.value == result.extra_cost == least_extra_cost_by_trying(chain, budget, persistent=True)
        assert plan.peak_bytes == result.peak_bytes <= budget
        assert result.forward_cost == chain.forward_cost + plan.value
        assert result.backward_cost == chain.backward_cost


def wild_chain(seed):
    """Sizes of very different magnitude, and gradients and transients that decide."""
    random = Random(seed)

    def size():
        return random.choice([0, random.randrange(10), random.randrange(100)])

    stages = []
    for _ in range(random.randrange(3, 6)):
        output = size()
        stages.append(
            Stage(
                output_bytes=output,
                kept_bytes=output + size(),
                forward=random.randrange(1, 20),
                gradient_bytes=size(),
                forward_transient_bytes=size(),
                saving_transient_bytes=size(),
                backward_transient_bytes=size(),
                residue_bytes=random.choice([0, size()]),
            )
        )
    return Chain(stages, input_bytes=size())


@pytest.mark.parametrize("seed", range(150))
def test_wild_chains(seed):
    chain = wild_chain(seed)
    for budget in budgets(chain)[:4]:
        plan = plan_checkpoints(chain, budget)
        assert plan.optimal
        assert plan.value == least_extra_cost_by_trying(chain, budget, persistent=True)
        with mock.patch.object(planner, "_EXACT_WORK", 0):
            coarse = plan_checkpoints(chain, budget, slots=12)
        assert coarse.lower_bound <= plan.value <= coarse.value == replay(chain, coarse.operations).extra_cost
        assert plan_checkpoints(chain, budget, time_limit=0).value >= plan.value


@given(chains())
def test_the_least_memory_is_the_least(chain):
    least = least_checkpoint_bytes(chain)
    assert least_extra_cost_by_trying(chain, least, persistent=True) is not None
    assert least_extra_cost_by_trying(chain, least - 1, persistent=True) is None


@given(chains(longest=3))
def test_schedules_of_any_kind_are_no_worse_and_pay_for_one_stage_at_least(chain):
    for budget in budgets(chain):
        best = least_extra_cost_by_trying(chain, budget, persistent=False)
        assert best is not None
        assert best <= plan_checkpoints(chain, budget).value
        if budget < replay(chain, keep_all(chain)).peak_bytes:
            assert best >= min(stage.forward for stage in chain.stages)


@given(chains(longest=5), st.sampled_from([1, 2, 3, 5, 9]))
def test_coarse_slots_bracket_the_best(chain, slots):
    for budget in budgets(chain):
        best = plan_checkpoints(chain, budget)
        with mock.patch.object(planner, "_EXACT_WORK", 0):
            coarse = plan_checkpoints(chain, budget, slots=slots)
        result = replay(chain, coarse.operations)
        assert coarse.lower_bound <= best.value <= coarse.value == result.extra_cost
        assert result.peak_bytes == coarse.peak_bytes <= budget


@given(chains())
def test_every_point_of_the_curve_is_best_and_none_is_missing(chain):
    curve = tradeoff(chain)
    for point in curve.points:
        result = replay(chain, point.operations)
        assert (result.peak_bytes, result.extra_cost) == (point.peak_bytes, point.extra_cost)
        assert point.lower_bound <= point.extra_cost
    for budget in budgets(chain):
        assert curve.within(budget).extra_cost == least_extra_cost_by_trying(chain, budget, persistent=True)


@given(chains(longest=5), st.sampled_from([1, 3, 6]))
def test_a_coarse_curve_is_bracketed(chain, slots):
    with mock.patch.object(planner, "_EXACT_WORK", 0):
        curve = tradeoff(chain, slots=slots)
    for point in curve.points:
        assert point.lower_bound <= plan_checkpoints(chain, point.peak_bytes).value <= point.extra_cost


@given(chains(longest=9), st.integers(2, 2**40))
def test_a_larger_unit_changes_nothing(chain, factor):
    names = [name for name in Stage.__attrs_attrs__ if name.name.endswith("_bytes")]

    def scaled(value):
        return evolve(value, **{name.name: getattr(value, name.name) * factor for name in names})

    large = Chain(
        [scaled(stage) for stage in chain.stages],
        input_bytes=chain.input_bytes * factor,
        input_gradient_bytes=chain.input_gradient_bytes * factor,
    )
    assert least_checkpoint_bytes(large) == least_checkpoint_bytes(chain) * factor
    for budget in budgets(chain):
        assert plan_checkpoints(large, budget * factor).value == plan_checkpoints(chain, budget).value
        assert plan_checkpoints(large, budget * factor + factor - 1).value == plan_checkpoints(chain, budget).value


@given(chains(longest=9))
def test_more_memory_never_costs_more(chain):
    values = [plan_checkpoints(chain, budget).value for budget in budgets(chain)]
    assert values == sorted(values, reverse=True)
    assert values[-1] == 0


@given(chains(longest=7))
def test_the_best_segments_of_all(chain):
    count = len(chain.stages)
    choices = {
        (0, *starts): replay(chain, at(chain, starts)).peak_bytes
        for cuts in range(count)
        for starts in combinations(range(1, count), cuts)
    }
    plan = least_peak_segments(*segment_bytes(chain))
    assert plan.value == min(choices.values()) == replay(chain, at(chain, plan.starts)).peak_bytes
    for budget in {max(plan.value - 1, 0), plan.value, max(choices.values()), sum(choices.values()) // len(choices)}:
        last = [starts[-1] for starts, peak in choices.items() if peak <= budget]
        found = cheapest_segments(*segment_bytes(chain), budget)
        if not last:
            assert found is None
        else:
            assert choices[found] <= budget
            assert found[-1] == min(last)
    assert plan.value >= least_checkpoint_bytes(chain)


@given(chains(longest=12), st.integers(1, 13))
def test_a_period_runs_all_but_the_last_segment_twice(chain, period):
    count = len(chain.stages)
    operations = every(chain, period)
    result = replay(chain, operations)
    last = (count - 1) // period * period
    assert result.extra_cost == sum(stage.forward for stage in chain.stages[:last])
    runs = [[o.stage for o in operations if o.action is not Action.BACKWARD].count(stage) for stage in range(count)]
    assert runs == [2] * last + [1] * (count - last)
