"""Optimizers beside PyTorch's own: bytes of state after the second step, and the peak of temporaries in a later one."""

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnbudget.memory.optimizer import Optimizer
from cnnbudget.memory.optimizer_other import Adafactor
from cnnbudget.memory.optimizer_torch import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, RAdam, RMSprop

torch = pytest.importorskip("torch")

from torch.utils._pytree import tree_leaves  # noqa: E402

from .trackers import LiveStorages  # noqa: E402

pytestmark = pytest.mark.live

WIDTH = 4  # bytes of a float32
STEPS = 8  # RAdam rectifies from the sixth on
WORDS = {"loop": {"foreach": False}, "foreach": {"foreach": True}, "fused": {"fused": True}}

# AlexNet's first and last layers, a pointwise and a depthwise convolution, vectors; a large one after a small one and before it.
SHAPES = [(64, 3, 11, 11), (64,), (96, 64, 1, 1), (96,), (96, 1, 3, 3), (10, 4096), (10,), (5, 7), (1,), ()]

CASES = [
    SGD(),
    SGD(weight_decay=0.1),
    SGD(momentum=0.9),
    SGD(momentum=0.9, weight_decay=0.1),
    SGD(momentum=0.9, nesterov=True),
    SGD(momentum=0.9, nesterov=True, weight_decay=0.1),
    AdamW(),
    AdamW(amsgrad=True),
    AdamW(weight_decay=0),
    Adam(amsgrad=True),
    Adam(amsgrad=True, weight_decay=0.1),
    RMSprop(momentum=0.9),
    RMSprop(centered=True),
    RMSprop(centered=True, momentum=0.9, weight_decay=0.1),
    *(
        kind(weight_decay=decay)
        for kind in (Adam, Adamax, RMSprop, Adagrad, Adadelta, NAdam, RAdam, Adafactor)
        for decay in (0, 0.1)
    ),
]
ALL = [evolve(case, implementation=word) for case in CASES for word in case.implementations]


def torch_settings(case: Optimizer) -> dict[str, object]:
    names = ("momentum", "nesterov", "amsgrad", "centered", "weight_decay")
    return {name: getattr(case, name) for name in names if hasattr(case, name)} | WORDS[case.implementation]


def measure(case: Optimizer, shapes: list[tuple[int, ...]]) -> tuple[list[int], int]:
    """Trains for a few steps.

    Returns:
        Bytes of state of each parameter, and the most bytes of temporaries that are alive at once in the last step.
    """
    parameters = [torch.nn.Parameter(torch.ones(shape)) for shape in shapes]
    tested = getattr(torch.optim, type(case).__name__)(parameters, lr=0.01, **torch_settings(case))
    for step in range(STEPS):
        for parameter in parameters:
            parameter.grad = torch.full_like(parameter, 0.5)
        if step == 2:
            early = [states(tested, parameter) for parameter in parameters]
        if step < STEPS - 1:
            tested.step()
    known = [*parameters, *(parameter.grad for parameter in parameters)]
    with LiveStorages([*known, *(tensor for parameter in parameters for tensor in tensors(tested, parameter))]) as live:
        tested.step()
    assert early == [states(tested, parameter) for parameter in parameters]  # steady from the second step on
    return early, live.peak


def tensors(tested, parameter):
    return [value for value in tree_leaves(tested.state[parameter]) if isinstance(value, torch.Tensor)]


def states(tested, parameter) -> int:
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors(tested, parameter))


def predicted(case: Optimizer, shapes: list[tuple[int, ...]]) -> tuple[list[int], int]:
    kept = [
        sum(
            spec.element_count * WIDTH if spec.dtype is None else spec.footprint.byte_count(1, spec.dtype)
            for spec in case.state(shape).values()
        )
        for shape in shapes
    ]
    return kept, max(WIDTH * moment.element_count for moment in case.updates(shapes))


@pytest.mark.parametrize("case", ALL, ids=repr)
def test_equal_to_the_byte(case: Optimizer) -> None:
    assert predicted(case, SHAPES) == measure(case, SHAPES)
    assert predicted(case, SHAPES[::-1]) == measure(case, SHAPES[::-1])


@pytest.mark.parametrize("case", ALL, ids=repr)
@settings(max_examples=10)
@given(st.lists(st.lists(st.integers(1, 9), max_size=4).map(tuple), min_size=1, max_size=6))
def test_random_shapes(case: Optimizer, shapes: list[tuple[int, ...]]) -> None:
    assert predicted(case, shapes) == measure(case, shapes)
