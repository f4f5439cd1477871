"""Segments that are recomputed once."""

import pytest

from cnnbudget import InvalidTypeError, InvalidValueError
from cnnbudget.planning.segments import at, every, least_peak_segments, revolve_steps, segment_bytes, square_root
from cnnbudget.planning.stages import Action, Chain, Stage, keep_all, replay

A, B, C, F = Action.SAVE, Action.BACKWARD, Action.CHECKPOINT, Action.FORWARD


def chain_of(count, **sizes):
    return Chain([Stage(**{"output_bytes": 1, "kept_bytes": 10, "gradient_bytes": 0, **sizes})] * count, input_bytes=1)


def steps(operations):
    return [(operation.action, operation.stage) for operation in operations]


def test_the_schedule_by_hand():
    expected = [(C, 0), (F, 1), (A, 2), (B, 2), (A, 0), (A, 1), (B, 1), (B, 0)]
    assert steps(at(chain_of(3), [2])) == steps(at(chain_of(3), [0, 2])) == steps(every(chain_of(3), 2)) == expected


def test_one_segment_keeps_everything():
    chain = chain_of(4)
    assert at(chain, []) == at(chain, [0]) == every(chain, 4) == every(chain, 9) == keep_all(chain)


@pytest.mark.parametrize("count, period", [(1, 1), (2, 2), (4, 2), (5, 3), (9, 3), (10, 4), (16, 4), (17, 5)])
def test_square_root_of_the_stages(count, period):
    assert square_root(chain_of(count)) == every(chain_of(count), period)


def test_sixteen_stages_in_fours_by_hand():
    # Chen et al.: four values kept besides one segment's records; nothing but the last segment is not run again.
    chain = chain_of(16)
    result = replay(chain, square_root(chain))
    assert result.peak_bytes == 4 * 1 + 4 * 10
    assert result.extra_cost == 12


def test_the_best_segments_of_sixteen_stages():
    # While the j-th segment with n stages is treated, j values are kept, and n records: j + 10 * n bytes. Within 23 bytes two
    # stages fit into each of the first 3 segments, one into each of the next 10: 16 stages. Within 22 bytes two fit into the
    # first 2, one into the next 10: 14 stages.
    plan = least_peak_segments(*segment_bytes(chain_of(16)))
    assert plan.optimal
    assert plan.value == 23
    assert replay(chain_of(16), at(chain_of(16), plan.starts)).peak_bytes == 23


def test_a_single_boundary_leaves_no_choice():
    plan = least_peak_segments([3], lambda _: [4])
    assert (plan.value, plan.starts) == (7, (0,))
    assert least_peak_segments([0], lambda _: [0]).value == 0


@pytest.mark.parametrize(
    "ask, kind, text",
    [
        (lambda: revolve_steps(0, 1), InvalidValueError, "length is out of range: got 0"),
        (lambda: revolve_steps(3, 0), InvalidValueError, "checkpoints is out of range: got 0"),
        (lambda: every(chain_of(3), 0), InvalidValueError, "period is out of range: got 0"),
        (lambda: at(chain_of(3), [3]), InvalidValueError, r"starts\[0\] is out of range: got 3"),
        (lambda: at(chain_of(3), [2, 1]), InvalidValueError, r"starts must rise: got \(2, 1\)"),
        (lambda: least_peak_segments([], None), InvalidValueError, "there are no boundaries"),
        (lambda: least_peak_segments([-1], lambda _: [1]), InvalidValueError, r"kept\[0\] is out of range: got -1"),
        (lambda: least_peak_segments([1], lambda _: [1.5]), InvalidTypeError, r"segment\(0\)\[0\] must be an int"),
        (
            lambda: least_peak_segments([1, 1], lambda _: [1]),
            InvalidValueError,
            "wrong length: got 1, expected 2 bytes",
        ),
        (lambda: least_peak_segments([2**62], lambda _: [1]), InvalidValueError, "segments are beyond 2"),
        (lambda: segment_bytes([1]), InvalidTypeError, "chain must be a Chain"),
    ],
)
def test_bad_input(ask, kind, text):
    with pytest.raises(kind, match=text):
        ask()
