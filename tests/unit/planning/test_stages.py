"""Chains of stages: the replay by hand, and what it refuses."""

import pytest

from cnnbudget import InvalidTypeError, InvalidValueError
from cnnbudget.planning.stages import Action, Chain, Operation, Stage, keep_all, mark_repeats, replay

A, B = Action.SAVE, Action.BACKWARD


def chain_of_two():
    return Chain(
        [
            Stage(
                output_bytes=10,
                kept_bytes=100,
                forward=7,
                backward=11,
                gradient_bytes=20,
                forward_transient_bytes=1000,
                saving_transient_bytes=2000,
                backward_transient_bytes=3000,
                residue_bytes=1,
            ),
            Stage(output_bytes=5, kept_bytes=50, forward=13, backward=17, gradient_bytes=2, residue_bytes=4),
        ],
        input_bytes=10_000,
        input_gradient_bytes=6,
    )


def test_keeping_everything_by_hand():
    chain = chain_of_two()
    # save 0: input 10000, record 100, transient 2000
    # save 1: input, 100, record 50
    # back 1: input, 100, 50, gradients 2 (its own) and 20 (given), left behind 4
    # back 0: input, 100, gradients 20 and 6, left behind 4 + 1, transient 3000
    result = replay(chain, keep_all(chain))
    assert result.live_bytes == (12_100, 10_150, 10_176, 13_131)
    assert (result.peak_bytes, result.peak_step) == (13_131, 3)
    assert (result.forward_cost, result.extra_cost, result.backward_cost) == (20, 0, 28)
    assert (chain.forward_cost, chain.backward_cost) == (20, 28)


def test_recomputing_by_hand():
    chain = chain_of_two()
    # run 0 keeping nothing: input, output 10, transient 1000
    # save 1: input, 10, record 50
    # back 1: input, 10, 50, 2, 20, 4; its input's place is free after it
    # save 0: input, gradient 20, left behind 4, record 100, transient 2000
    # back 0: input, 20, 4, 100, 6, 1, 3000
    steps = [(Action.FORWARD, 0), (A, 1), (B, 1), (A, 0), (B, 0)]
    result = replay(chain, mark_repeats(steps))
    assert result.live_bytes == (11_010, 10_060, 10_086, 12_124, 13_131)
    assert (result.forward_cost, result.extra_cost) == (27, 7)
    assert [operation.again for operation in mark_repeats(steps)] == [False, False, False, True, False]


def test_what_a_forward_operation_drops():
    three = Chain([Stage(output_bytes=size, kept_bytes=size + 100) for size in (1, 2, 4)])
    f, c = Action.FORWARD, Action.CHECKPOINT
    ends = [(A, 2), (B, 2)]

    def after_two(first, second):
        steps = [first, second, *ends, (A, 0), (A, 1), (B, 1), (B, 0)]
        return replay(three, mark_repeats(steps)).live_bytes[2] - 104

    assert after_two((f, 0), (f, 1)) == 2  # the output of 0 is gone
    assert after_two((f, 0), (c, 1)) == 1 + 2  # it is kept
    assert after_two((A, 0), (f, 1)) == 101 + 2  # it is part of a record, and stays


def test_a_record_takes_the_place_of_its_output():
    two = Chain([Stage(output_bytes=1, kept_bytes=10), Stage(output_bytes=0)])
    result = replay(
        two, mark_repeats([(Action.CHECKPOINT, 0), (A, 0), (A, 0), (Action.FORWARD, 0), (A, 1), (B, 1), (B, 0)])
    )
    assert result.live_bytes == (1, 1 + 10, 10 + 10, 10 + 1, 10, 10 + 1, 10 + 1)
    assert result.extra_cost == 3


@pytest.mark.parametrize(
    "steps, text",
    [
        ([(A, 2)], "operation 0.*got save of stage 2, expected there are 2 stages"),
        ([(A, 1)], "operation 0.*got save of stage 1, expected the output of stage 0 is not there"),
        ([(A, 0), (B, 0)], "operation 1.*got backward of stage 0, expected the backward operation of stage 1 is next"),
        ([(A, 0), (B, 1)], "operation 1.*got backward of stage 1, expected what stage 1 saves is not there"),
        ([(A, 0), (A, 1), (B, 1)], "a schedule ends early: got no backward operation of stage 0"),
        ([], "a schedule ends early: got no backward operation of stage 1"),
    ],
)
def test_schedules_that_cannot_be_run(steps, text):
    with pytest.raises(InvalidValueError, match=text):
        replay(chain_of_two(), mark_repeats(steps))
    assert Operation(A, 0) == Operation(A, 0, again=False)


@pytest.mark.parametrize(
    "make, kind, text",
    [
        (lambda: Chain([]), InvalidValueError, "Chain.stages is empty: .*expected one Stage or more"),
        (lambda: Chain(5), InvalidTypeError, "Chain.stages must be a tuple or a list: got 5, expected Stages"),
        (lambda: Chain([3]), InvalidTypeError, r"Chain.stages\[0\] must be a Stage: got 3 \(int\)"),
        (lambda: Stage(output_bytes=-1), InvalidValueError, "Stage.output_bytes is out of range: got -1"),
        (lambda: Stage(output_bytes=1.5), InvalidTypeError, "Stage.output_bytes must be an int: got 1.5"),
        (lambda: Stage(output_bytes=2**63), InvalidValueError, "Stage.output_bytes is out of range"),
        (
            lambda: Stage(output_bytes=2, kept_bytes=1),
            InvalidValueError,
            "kept_bytes is less than its output: got 1 of 2",
        ),
        (lambda: Stage(output_bytes=2, kept_bytes=True), InvalidTypeError, "Stage.kept_bytes must be an int"),
        (lambda: Chain([Stage(output_bytes=2**62)]), InvalidValueError, "bytes of a chain are beyond 2"),
        (lambda: Chain([Stage(output_bytes=1, forward=2**60)] * 2), InvalidValueError, "costs.*use a larger unit"),
    ],
)
def test_bad_chains(make, kind, text):
    with pytest.raises(kind, match=text):
        make()
