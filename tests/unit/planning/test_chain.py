"""The checkpoint planner: closed forms, knobs, and what it refuses. Brute force is in ``tests/properties/test_chains.py``."""

from functools import cache
from itertools import pairwise
from random import Random

import pytest

from cnnbudget import InvalidTypeError, InvalidValueError
from cnnbudget.planning import chain as planner
from cnnbudget.planning.chain import least_checkpoint_bytes, plan_checkpoints, tradeoff
from cnnbudget.planning.referee_chain import least_extra_cost_by_trying
from cnnbudget.planning.segments import every, revolve_steps
from cnnbudget.planning.stages import Action, Chain, Stage, keep_all, replay


@cache
def steps_by_recursion(length, checkpoints):
    """The definition: advance ``k`` steps, keep that, treat the rest with one checkpoint less, then the first ``k`` steps."""
    if length == 1:
        return 0
    if checkpoints == 1:
        return length * (length - 1) // 2
    return min(
        k + steps_by_recursion(length - k, checkpoints - 1) + steps_by_recursion(k, checkpoints)
        for k in range(1, length)
    )


def equal_steps(length):
    """Steps in the sense of automatic differentiation: one record fits beside the checkpoints, two do not."""
    record = length + 2
    return Chain([Stage(output_bytes=1, kept_bytes=record, gradient_bytes=0)] * length, input_bytes=1), record


@pytest.mark.parametrize("length", range(1, 31))
def test_the_closed_form_is_the_recursion(length):
    for checkpoints in range(1, length + 3):
        assert revolve_steps(length, checkpoints) == steps_by_recursion(length, checkpoints)


@pytest.mark.parametrize("length", [2, 3, 5, 8, 13, 20])
def test_equal_stages_are_the_case_of_revolve(length):
    chain, record = equal_steps(length)
    for checkpoints in range(1, length + 1):
        # the checkpoints, one of which is the input; the value that is being worked on; the record
        plan = plan_checkpoints(chain, checkpoints + 1 + record)
        assert plan.optimal
        assert plan.value == revolve_steps(length, checkpoints)


def test_a_known_figure_of_revolve():
    # Griewank, "Achieving logarithmic growth of temporal and spatial complexity in reverse automatic differentiation"
    # (1992): s checkpoints and no step taken more than r times reach C(s + r, s) steps; 3 and 3 reach 20, and
    # 3 * 20 - C(6, 4) = 45.
    assert revolve_steps(20, 3) == 45


def test_everything_is_kept_if_it_fits():
    chain, _ = equal_steps(5)
    whole = replay(chain, keep_all(chain)).peak_bytes
    plan = plan_checkpoints(chain, whole)
    assert (plan.value, plan.lower_bound, plan.peak_bytes, plan.operations) == (0, 0, whole, keep_all(chain))
    assert plan_checkpoints(chain, whole - 1).value == 1  # one step of cost 1 runs twice


def test_least_memory_by_hand():
    # Two stages; the second one's backward operation: input 3, output 4 of the first, record 6, gradients 1 and 4.
    # The first one's: input 3, record 9, gradient 4. Saving the first: input 3, gradient 4, record 9.
    chain = Chain([Stage(output_bytes=4, kept_bytes=9), Stage(output_bytes=1, kept_bytes=6)], input_bytes=3)
    assert least_checkpoint_bytes(chain) == 3 + 4 + 6 + 1 + 4
    assert [operation.action for operation in plan_checkpoints(chain, 18).operations] == [
        Action.CHECKPOINT,
        Action.SAVE,
        Action.BACKWARD,
        Action.SAVE,
        Action.BACKWARD,
    ]
    with pytest.raises(InvalidValueError, match="no checkpoints fit into the budget: got 17 bytes, expected 18 bytes"):
        plan_checkpoints(chain, 17)
    with pytest.raises(InvalidValueError, match="got 0 bytes, expected 18 bytes"):
        plan_checkpoints(chain, 0)


def mixed(count=12):
    return Chain(
        [
            Stage(output_bytes=100 + 37 * (i % 5), kept_bytes=300 + 211 * (i % 7), forward=3 + i % 4, residue_bytes=i)
            for i in range(count)
        ],
        input_bytes=50,
    )


def test_no_time_means_the_best_simple_schedule():
    chain = mixed()
    for budget in (least_checkpoint_bytes(chain), 4000):
        plan = plan_checkpoints(chain, budget, time_limit=0)
        best = plan_checkpoints(chain, budget)
        result = replay(chain, plan.operations)
        assert result.peak_bytes == plan.peak_bytes <= budget
        assert plan.lower_bound == 3  # the cheapest stage runs again, at least
        assert plan.lower_bound <= best.value <= plan.value == result.extra_cost
        assert not plan.optimal


def test_never_worse_than_the_periodic_schedules():
    chain = mixed()
    for period in range(1, 12):
        simple = replay(chain, every(chain, period))
        assert plan_checkpoints(chain, simple.peak_bytes).value <= simple.extra_cost
        assert plan_checkpoints(chain, simple.peak_bytes, time_limit=0).value <= simple.extra_cost


def test_progress_only_improves_and_ends_at_the_plan(monkeypatch):
    monkeypatch.setattr(planner, "_EXACT_WORK", 0)
    seen = []
    plan = plan_checkpoints(mixed(), 3000, slots=40, progress=lambda value, bound: seen.append((value, bound)))
    assert seen[-1] == (plan.value, plan.lower_bound)
    assert all(b[0] <= a[0] and b[1] >= a[1] for a, b in pairwise(seen))
    assert len(seen) >= 2
    kept = []
    plan_checkpoints(mixed(), 10**6, progress=lambda *pair: kept.append(pair))
    assert kept == [(0, 0)]


def test_coarse_slots_report_what_they_cost(monkeypatch):
    chain = mixed()
    best = plan_checkpoints(chain, 3000)
    assert best.optimal
    assert best.rounding_bytes == 0
    monkeypatch.setattr(planner, "_EXACT_WORK", 0)
    coarse = plan_checkpoints(chain, 3000, slots=10)
    # Of 3000 - 50 bytes, 466 are free whenever something is saved: the first stage's backward operation needs 300 for what
    # was saved, 100 for a gradient, and 0 + 1 + ... + 11 that were left behind; every other stage needs more.
    assert coarse.slot_bytes == 249  # the tenth part of the rest
    assert coarse.lower_bound <= best.value <= coarse.value
    assert 0 < coarse.rounding_bytes < 12 * 2 * 249


@pytest.mark.parametrize("seed", range(5))
def test_long_chains_in_coarse_slots(monkeypatch, seed):
    random = Random(seed)
    stages = []
    for _ in range(15):
        output = random.randrange(1, 1000)
        kept = output + random.randrange(4000)
        stages.append(Stage(output_bytes=output, kept_bytes=kept, forward=random.randrange(1, 100)))
    chain = Chain(stages, input_bytes=10)
    least, whole = least_checkpoint_bytes(chain), replay(chain, keep_all(chain)).peak_bytes
    for budget in (least, (3 * least + whole) // 4, (least + 2 * whole) // 3):
        best = plan_checkpoints(chain, budget, slots=10**5)
        assert best.optimal
        with monkeypatch.context() as patch:
            patch.setattr(planner, "_EXACT_WORK", 0)
            for slots in (3, 20, 100):
                coarse = plan_checkpoints(chain, budget, slots=slots)
                result = replay(chain, coarse.operations)
                assert coarse.lower_bound <= best.value <= coarse.value == result.extra_cost
                assert result.peak_bytes <= budget


def test_the_curve_ends_at_the_two_extremes():
    chain = mixed()
    curve = tradeoff(chain)
    assert curve.complete
    assert curve.points[0].peak_bytes == least_checkpoint_bytes(chain)
    assert (curve.points[-1].peak_bytes, curve.points[-1].extra_cost) == (replay(chain, keep_all(chain)).peak_bytes, 0)
    for a, b in pairwise(curve.points):
        assert a.peak_bytes < b.peak_bytes
        assert a.extra_cost > b.extra_cost
    assert curve.within(10**9) == curve.points[-1]
    assert curve.within(curve.points[1].peak_bytes) == curve.points[1]
    with pytest.raises(InvalidValueError, match=f"expected {least_checkpoint_bytes(chain)} bytes or more"):
        curve.within(curve.points[0].peak_bytes - 1)


def test_a_curve_without_time_has_simple_schedules_only():
    chain = mixed()
    curve = tradeoff(chain, time_limit=0)
    whole = tradeoff(chain)
    assert not curve.complete
    assert curve.points[0].peak_bytes == whole.points[0].peak_bytes
    for point in curve.points:
        assert point.extra_cost >= whole.within(point.peak_bytes).extra_cost >= point.lower_bound


def test_sizes_of_more_than_four_gibibytes():
    small, record = equal_steps(6)
    scale = 2**40
    large = Chain([Stage(output_bytes=scale, kept_bytes=record * scale, gradient_bytes=0)] * 6, input_bytes=scale)
    for checkpoints in range(1, 7):
        budget = checkpoints + 1 + record
        assert plan_checkpoints(large, budget * scale).value == plan_checkpoints(small, budget).value
    assert least_checkpoint_bytes(large) == least_checkpoint_bytes(small) * scale


def test_a_gradient_that_leaves_no_room_to_save_the_first_stage():
    # While the second stage's gradient of 100 bytes is held, the first stage's 50 bytes do not fit beside it. The last
    # stage's backward operation needs 1 + 8 + 100 bytes, the second's 1 + 8 + 100: neither leaves room for one byte more.
    # So the output of the first stage is dropped twice: 0 1 2, 0 1, 0.
    chain = Chain(
        [
            Stage(output_bytes=1, kept_bytes=50, gradient_bytes=0),
            Stage(output_bytes=1, kept_bytes=8, gradient_bytes=100),
            Stage(output_bytes=0, kept_bytes=8, gradient_bytes=0),
        ]
    )
    assert least_checkpoint_bytes(chain) == 109
    plan = plan_checkpoints(chain, 109)
    assert (plan.value, plan.optimal) == (3, True)
    assert least_extra_cost_by_trying(chain, 109, persistent=True) == 3
    assert (tradeoff(chain).points[0].peak_bytes, tradeoff(chain).points[0].extra_cost) == (109, 3)


def test_making_ahead_can_beat_every_sweep():
    # Once the last stage has run back it has left 3 bytes behind, and saving stage 2 needs 6 bytes for a moment. Saving it
    # before, while stage 3's record is still there, needs one byte less in all. That is no sweep; the planner does not see it.
    chain = Chain(
        [
            Stage(output_bytes=3, kept_bytes=11, gradient_bytes=0, forward_transient_bytes=6, saving_transient_bytes=0),
            Stage(output_bytes=7, kept_bytes=18, gradient_bytes=1),
            Stage(output_bytes=0, kept_bytes=11, forward_transient_bytes=7, saving_transient_bytes=6),
            Stage(output_bytes=0, kept_bytes=2, saving_transient_bytes=7, residue_bytes=3),
        ],
        input_bytes=8,
    )
    assert least_checkpoint_bytes(chain) == 35
    assert least_extra_cost_by_trying(chain, 34, persistent=True) is None
    assert least_extra_cost_by_trying(chain, 34, persistent=False) is not None


def test_a_coarse_curve(monkeypatch):
    chain = mixed()
    monkeypatch.setattr(planner, "_EXACT_WORK", 0)
    curve = tradeoff(chain, slots=20)
    assert curve.complete
    for point in curve.points:
        best = tradeoff_by_plans(chain, point.peak_bytes)
        assert point.lower_bound <= best <= point.extra_cost
    assert tradeoff(chain, slots=20, time_limit=0).complete is False


def tradeoff_by_plans(chain, budget):
    plan = plan_checkpoints(chain, budget, slots=10**4)
    assert plan.optimal
    return plan.value


def test_chains_that_hold_nothing():
    chain = Chain([Stage(output_bytes=0)] * 3)
    assert plan_checkpoints(chain, 0).value == 0
    assert least_checkpoint_bytes(chain) == 0
    assert [point.extra_cost for point in tradeoff(chain).points] == [0]


def test_stages_that_store_nothing_but_need_room():
    # Nothing is stored, so nothing is gained by running anything again: the budget is met or it is not.
    chain = Chain([Stage(output_bytes=0, saving_transient_bytes=5)] * 2)
    assert plan_checkpoints(chain, 5).value == 0
    with pytest.raises(InvalidValueError, match="expected 5 bytes"):
        plan_checkpoints(chain, 4)


def vast():
    """Sizes without a common divisor."""
    return Chain([Stage(output_bytes=10**9 + i, kept_bytes=10**10 + 7 * i) for i in range(12)])


@pytest.mark.parametrize(
    "ask, kind, text",
    [
        (lambda c: plan_checkpoints(c, -1), InvalidValueError, "budget is out of range: got -1"),
        (lambda c: plan_checkpoints(c, 2**63), InvalidValueError, "budget is out of range"),
        (lambda c: plan_checkpoints(c, 1.5), InvalidTypeError, "budget must be an int"),
        (lambda c: plan_checkpoints(c, 3000, slots=0), InvalidValueError, "slots is out of range: got 0"),
        (lambda c: plan_checkpoints(c, 3000, time_limit=-1), InvalidValueError, "time_limit is out of range"),
        (
            lambda c: plan_checkpoints(vast(), 10**11, slots=10**8),
            InvalidValueError,
            "table .* too large: .*fewer slots",
        ),
        (lambda c: plan_checkpoints([1, 2], 3000), InvalidTypeError, r"chain must be a Chain: got \[1, 2\]"),
        (lambda c: plan_checkpoints(mixed(1001), 3000), InvalidValueError, "too long to plan: got 1001 stages.*; join"),
        (lambda c: least_checkpoint_bytes(None), InvalidTypeError, "chain must be a Chain: got None"),
        (lambda c: tradeoff("chain"), InvalidTypeError, "chain must be a Chain: got 'chain'"),
        (lambda c: tradeoff(c, slots=0), InvalidValueError, "slots is out of range: got 0"),
        (lambda c: tradeoff(c).within(-1), InvalidValueError, "budget is out of range: got -1"),
    ],
)
def test_bad_input(ask, kind, text):
    with pytest.raises(kind, match=text):
        ask(mixed())
