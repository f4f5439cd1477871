"""Laws of optimizers, whatever the shapes: everything is updated once, and what is kept depends on the shape alone."""

from itertools import accumulate
from math import prod

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from cnnbudget.dtypes import Role
from cnnbudget.memory.optimizer import Optimizer
from cnnbudget.memory.optimizer_other import Adam8bit, optimizer

NAMES = [
    "sgd",
    "adam",
    "adamw",
    "adamax",
    "nadam",
    "radam",
    "rmsprop",
    "adagrad",
    "adadelta",
    "adafactor",
    "adam8bit",
    "lamb",
    "lars",
]
CASES = [evolve(optimizer(name), implementation=word) for name in NAMES for word in optimizer(name).implementations]
shapes = st.lists(st.lists(st.integers(1, 20), max_size=4).map(tuple), max_size=8)


@pytest.mark.parametrize("case", CASES, ids=repr)
@given(shapes)
def test_every_parameter_is_updated_once(case: Optimizer, shapes: list[tuple[int, ...]]) -> None:
    moments = list(case.updates(shapes))
    assert sorted(number for moment in moments for number in moment.parameters) == list(range(len(shapes)))
    for moment in moments:
        assert {(spec.role, spec.batched) for spec in moment.temporaries.values()} <= {(Role.WORKSPACE, False)}


@pytest.mark.parametrize("case", CASES, ids=repr)
@given(shapes, st.integers(1, 1000))
def test_sizes_scale(case: Optimizer, shapes: list[tuple[int, ...]], factor: int) -> None:
    """Flat parameters of so many times the elements need so many times the temporaries, single numbers aside."""
    flat = [(prod(shape),) for shape in shapes]
    larger = [(factor * size,) for (size,) in flat]
    for small, large in zip(case.updates(flat), case.updates(larger), strict=True):
        assert 0 <= factor * small.element_count - large.element_count <= factor


@pytest.mark.parametrize("case", [case for case in CASES if case.implementation == "loop"], ids=repr)
@given(shapes)
def test_a_loop_knows_nothing_of_what_comes_later(case: Optimizer, shapes: list[tuple[int, ...]]) -> None:
    turns = [moment.temporaries for moment in case.updates(shapes)]
    for count, seen in enumerate(accumulate([[shape] for shape in shapes])):
        assert list(case.updates(seen))[count].temporaries == turns[count]


@pytest.mark.parametrize("name", NAMES)
@given(shape=st.lists(st.integers(1, 200), max_size=4).map(tuple))
def test_what_is_kept_does_not_depend_on_the_implementation(name: str, shape: tuple[int, ...]) -> None:
    case = optimizer(name)
    states = [evolve(case, implementation=word).state(shape) for word in case.implementations]
    assert all(state == states[0] for state in states)
    assert all((spec.role, spec.batched) == (Role.OPTIMIZER_STATE, False) for spec in states[0].values())


@given(st.integers(1, 10**9), st.integers(1, 10**4))
def test_a_scale_for_every_block(count: int, block: int) -> None:
    state = Adam8bit(block=block).state((count,))
    if count < 4096:
        assert {spec.dtype.bits for spec in state.values()} == {32}
    else:
        (blocks,) = state["absmax1"].shape
        assert (blocks - 1) * block < count <= blocks * block
