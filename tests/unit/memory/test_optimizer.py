"""Optimizers: state by the papers and PyTorch's documentation, temporaries by following the operations of a step by hand."""

import pickle

import pytest
from attrs import evolve, frozen

from cnnbudget.dtypes import FLOAT32, UINT8, Role
from cnnbudget.errors import InvalidTypeError, InvalidValueError
from cnnbudget.memory.optimizer import ElementwiseOptimizer, Optimizer
from cnnbudget.memory.optimizer_other import LAMB, LARS, Adafactor, Adam8bit, optimizer
from cnnbudget.memory.optimizer_torch import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, RAdam, RMSprop
from cnnbudget.tensors import TensorSpec

KINDS = [SGD, Adam, AdamW, Adamax, NAdam, RAdam, RMSprop, Adagrad, Adadelta, Adafactor, Adam8bit, LAMB, LARS]
SHAPES = [(10, 100), (30, 100), (20, 100)]  # 1,000, 3,000 and 2,000 numbers


def numbers(case: Optimizer, shapes=SHAPES) -> list[int]:
    return [moment.element_count for moment in case.updates(shapes)]


# Buffers of the parameter's size, and single numbers: as many as the update rule carries from one step to the next. SGD with
# momentum carries the velocity; Adam and LAMB two moments, AMSGrad a third; Adamax a moment and a maximum; RMSprop a mean square,
# centered also the mean; Adagrad a sum; Adadelta two means. PyTorch's names.
@pytest.mark.parametrize(
    ("case", "buffers", "counters"),
    [
        (SGD(), [], []),
        (SGD(momentum=0.9), ["momentum_buffer"], []),
        (Adam(), ["exp_avg", "exp_avg_sq"], ["step"]),
        (Adam(amsgrad=True), ["exp_avg", "exp_avg_sq", "max_exp_avg_sq"], ["step"]),
        (AdamW(), ["exp_avg", "exp_avg_sq"], ["step"]),
        (Adamax(), ["exp_avg", "exp_inf"], ["step"]),
        (NAdam(), ["exp_avg", "exp_avg_sq"], ["step", "mu_product"]),
        (RAdam(), ["exp_avg", "exp_avg_sq"], ["step"]),
        (RMSprop(), ["square_avg"], ["step"]),
        (RMSprop(momentum=0.9, centered=True), ["square_avg", "momentum_buffer", "grad_avg"], ["step"]),
        (Adagrad(), ["sum"], ["step"]),
        (Adadelta(), ["square_avg", "acc_delta"], ["step"]),
        (LARS(), ["momentum_buffer"], []),
        (LARS(momentum=0), [], []),
        (LAMB(), ["exp_avg", "exp_avg_sq"], []),
    ],
    ids=repr,
)
def test_state(case: Optimizer, buffers: list[str], counters: list[str]) -> None:
    state = case.state((64, 3, 7, 7))
    assert sorted(state) == sorted(buffers + counters)
    for name, spec in state.items():
        assert (spec.role, spec.batched) == (Role.OPTIMIZER_STATE, False)
        assert (spec.shape, spec.dtype) == (((), FLOAT32) if name in counters else ((64, 3, 7, 7), None))
    assert case.shared_state([(64, 3, 7, 7)]) == {}


@pytest.mark.parametrize("kind", [Adam, AdamW, Adamax, NAdam, RAdam, RMSprop, Adagrad, Adadelta, Adafactor])
def test_counters_need_not_count(kind: type[Optimizer]) -> None:
    with_counters, without = kind().state((5, 4)), kind(count_steps=False).state((5, 4))
    assert {name: spec for name, spec in with_counters.items() if spec.shape != ()} == without


def test_adafactor_factors_the_last_two_axes() -> None:
    # Shazeer & Stern, section 3: n + m numbers for n x m; PyTorch takes every 3 x 3 kernel of a convolution for a matrix.
    state = Adafactor().state((64, 32, 3, 3))
    assert {name: spec.shape for name, spec in state.items()} == {
        "step": (),
        "row_var": (64, 32, 3, 1),
        "col_var": (64, 32, 1, 3),
    }
    assert sum(spec.element_count for spec in Adafactor(count_steps=False).state((1000, 512)).values()) == 1512
    assert (
        sum(spec.element_count for spec in Adafactor(count_steps=False).state((64, 32, 1, 1)).values()) == 2 * 64 * 32
    )
    assert list(Adafactor(count_steps=False).state((64,))) == ["variance"]


def test_adam8bit_quantises_blocks() -> None:
    # Two bytes a number, and two float32 scales for every block of 256: 36,992 = 144 * 256 + 128 numbers, 145 blocks.
    state = Adam8bit().state((128, 289))
    assert sum(spec.footprint.byte_count(1, spec.dtype) for spec in state.values()) == 2 * 36_992 + 2 * 145 * 4
    assert (state["state1"].dtype, state["state2"].shape, state["absmax1"].shape) == (UINT8, (128, 289), (145,))
    assert Adam8bit(block=2048).state((128, 289))["absmax2"].shape == (19,)  # 18.06 blocks


def test_adam8bit_leaves_small_parameters() -> None:
    assert {spec.dtype for spec in Adam8bit().state((4095,)).values()} == {FLOAT32}
    assert list(Adam8bit().state((4095,))) == ["state1", "state2"]
    assert len(Adam8bit().state((4096,))) == 4
    assert len(Adam8bit(smallest=5000).state((4096,))) == 2
    assert Adam8bit().shared_state([(10,), (4095,)]) == {}
    books = Adam8bit().shared_state([(10,), (4096,)])
    assert sum(spec.footprint.byte_count(1, spec.dtype) for spec in books.values()) == 2 * 256 * 4


# One turn of each loop, by hand, with the operations of PyTorch's loops in mind: an operation's arguments and its result are
# alive together, and a variable holds its old value until the new one is there.
@pytest.mark.parametrize(
    ("case", "turns"),
    [
        (SGD(momentum=0.9), [0, 0, 0]),
        (SGD(weight_decay=0.1), [1000, 3000, 2000]),
        (SGD(momentum=0.9, nesterov=True, weight_decay=0.1), [2000, 6000, 4000]),
        # root and denominator, and the denominator of the turn before
        (Adam(), [2000, 1000 + 6000, 3000 + 4000]),
        (Adam(weight_decay=0.1), [3000, 1000 + 9000, 3000 + 6000]),
        (AdamW(weight_decay=0.1), [2000, 7000, 7000]),
        (Adamax(), [1000, 3000, 2000]),
        (RMSprop(), [1000, 1000 + 3000, 3000 + 2000]),
        (Adagrad(weight_decay=0.1), [2000, 1000 + 6000, 3000 + 4000]),
        # one root while two old ones are held, or two while one is
        (Adadelta(), [2000, 1000 + 6000, 3000 + 3000 + 2000]),
        (NAdam(), [2000, 7000, 7000]),
        (RAdam(), [5000, 15_000, 10_000]),
        (LARS(), [1000, 3000, 2000]),
        (LARS(nesterov=True), [2000, 6000, 4000]),
        (LARS(weight_decay=0), [0, 0, 0]),
        (LAMB(), [3000, 2000 + 9000, 6000 + 6000]),
        (LAMB(clip=False), [2000, 2000 + 6000, 6000 + 4000]),
    ],
    ids=repr,
)
def test_turns_of_a_loop(case: Optimizer, turns: list[int]) -> None:
    case = evolve(case, implementation="loop")
    assert numbers(case) == turns
    assert [moment.parameters for moment in case.updates(SHAPES)] == [(0,), (1,), (2,)]


def test_radam_after_a_large_parameter() -> None:
    # The corrected moment of the parameter before is larger than all that a turn makes.
    assert numbers(RAdam(implementation="loop"), [(100,), (10,)]) == [500, 110]


@pytest.mark.parametrize(
    ("case", "lists"),
    [
        (SGD(), 0),
        (SGD(momentum=0.9, nesterov=True), 0),
        (SGD(weight_decay=0.1), 1),
        (Adam(), 1),
        (Adam(weight_decay=0.1), 1),
        (Adamax(), 1),
        (RMSprop(), 1),
        (RMSprop(weight_decay=0.1), 2),
        (Adagrad(), 2),
        (Adadelta(), 2),
        (Adadelta(weight_decay=0.1), 3),
        (NAdam(weight_decay=0.1), 2),
        (RAdam(), 1),
    ],
    ids=repr,
)
def test_lists_are_the_default(case: Optimizer, lists: int) -> None:
    assert numbers(case) == [lists * 6000]
    (moment,) = case.updates(SHAPES)
    assert moment.parameters == (0, 1, 2)
    assert {(spec.role, spec.batched, spec.dtype) for spec in moment.temporaries.values()} <= {
        (Role.WORKSPACE, False, None)
    }


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW, Adagrad])
def test_fused_needs_nothing(kind: type[Optimizer]) -> None:
    assert numbers(kind(implementation="fused", weight_decay=0.1)) == [0]


def test_adam8bit_needs_nothing() -> None:
    assert numbers(Adam8bit()) == [0, 0, 0]


def test_adafactor_by_hand() -> None:
    # A matrix: the estimate, the means of rows and columns, and one number for the mean of the rows' factor.
    assert numbers(Adafactor(), [(10, 100)]) == [1000 + 10 + 100 + 1]
    # A vector: its square and the estimate, then one norm.
    assert numbers(Adafactor(), [(50,)]) == [50 + 50 + 1]
    # The estimate of the matrix waits for that of the vector, its means for the next matrix.
    assert numbers(Adafactor(), [(10, 100), (50,)]) == [1111, 10 + 100 + 1000 + 50 + 50]
    assert numbers(Adafactor(implementation="foreach"), [(10, 100), (50,), (4, 5), (7,)]) == [
        1000 + 20 + 2,
        1000 + 20 + 50 + 7,
    ]
    assert numbers(Adafactor(implementation="foreach"), [(50,), (10, 100)]) == [51, 50 + 1001]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_to_update(kind: type[Optimizer]) -> None:
    assert [list(kind(implementation=word).updates([])) for word in kind.implementations] == [[]] * len(
        kind.implementations
    )


@pytest.mark.parametrize("kind", KINDS)
def test_words(kind: type[Optimizer]) -> None:
    assert optimizer(kind.__name__) == optimizer(kind.__name__.lower()) == optimizer(kind()) == kind()
    assert repr(kind()) == str(kind()) == f"{kind.__name__}()"
    assert pickle.loads(pickle.dumps(kind())) == kind()
    assert hash(kind()) == hash(kind())


def test_an_optimizer_is_a_value() -> None:
    assert repr(SGD(momentum=0.9)) == "SGD(momentum=0.9)"
    assert repr(Adam(implementation="loop", weight_decay=0.1)) == "Adam(implementation='loop', weight_decay=0.1)"
    assert Adam() != AdamW()


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (
            lambda: optimizer("adm"),
            InvalidValueError,
            r"the optimizer is an unknown word: got 'adm'; did you mean 'adam'\?",
        ),
        (lambda: optimizer(Adam), InvalidTypeError, r"an optimizer is needed: got .*; call it: Adam\(\.\.\.\)"),
        (lambda: optimizer(3), InvalidTypeError, r"an optimizer is needed: got 3, expected for example SGD"),
        (
            lambda: SGD(momentum=-0.9),
            InvalidValueError,
            r"SGD\.momentum is out of range: got -0\.9, expected a number from 0 to 1; it is the share of the last step",
        ),
        (lambda: RMSprop(momentum=1.5), InvalidValueError, r"RMSprop\.momentum is out of range: got 1\.5"),
        (lambda: SGD(momentum="0.9"), InvalidTypeError, r"SGD\.momentum must be a number: got '0\.9' \(str\)"),
        (
            lambda: SGD(nesterov=True),
            InvalidValueError,
            r"SGD\.nesterov needs momentum: got momentum=0, expected a momentum above 0; set momentum=0\.9, or nesterov=False",
        ),
        (lambda: LARS(momentum=0, nesterov=True), InvalidValueError, r"LARS\.nesterov needs momentum"),
        (lambda: Adam(weight_decay=-1), InvalidValueError, r"Adam\.weight_decay is out of range: got -1"),
        (lambda: Adam(amsgrad=1), InvalidTypeError, r"Adam\.amsgrad must be a bool: got 1, expected True or False"),
        (
            lambda: Adam(implementation="forech"),
            InvalidValueError,
            r"Adam\.implementation is an unknown word: got 'forech'; did you mean 'foreach'\?",
        ),
        (
            lambda: Adamax(implementation="fused"),
            InvalidValueError,
            r"Adamax\.implementation is an unknown word: got 'fused'; Known: 'loop', 'foreach'",
        ),
        (
            lambda: Adam8bit(smallest=1),
            InvalidValueError,
            r"Adam8bit\.smallest is out of range: got 1, expected an int from 4096",
        ),
        (lambda: Adam8bit(block=0), InvalidValueError, r"Adam8bit\.block is out of range: got 0"),
        (
            lambda: list(Adam().updates([(3,), (0, 2)])),
            InvalidValueError,
            r"the shape of parameter 1, axis 0 is out of range: got 0",
        ),
        (lambda: Adafactor().state(3), InvalidTypeError, r"a shape must be a tuple of ints: got 3"),
    ],
)
def test_bad_input(make, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make()


@frozen(repr=False)
class Lion(ElementwiseOptimizer):
    """The sign of a moment (Chen et al., 2023), by somebody else."""

    def state(self, shape):
        return {"exp_avg": TensorSpec(shape, Role.OPTIMIZER_STATE, batched=False)}

    @property
    def loop(self):
        return [(("update",), ("scaled",)), ((), ("scaled", "update"))]


def test_a_foreign_optimizer() -> None:
    assert numbers(Lion(implementation="loop")) == [2000, 6000, 3000 + 2000]
    assert numbers(Lion()) == [2 * 6000]
    assert numbers(Lion(implementation="fused")) == [0]
    assert optimizer(Lion()) == Lion()


def test_the_base_is_no_optimizer() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Optimizer()
