"""The layer as a value, its defaults, and the laws that every built-in layer obeys."""

import math
import pickle

import attrs
import numpy as np
import pytest
from attrs import field, frozen
from attrs.exceptions import FrozenInstanceError
from hypothesis import given
from hypothesis import strategies as st

import cnnbudget
from cnnbudget import (
    Alias,
    AvgPool,
    BatchNorm,
    Conv,
    Dropout,
    ElementwiseLayer,
    Flatten,
    GlobalAvgPool,
    InvalidTypeError,
    InvalidValueError,
    Layer,
    Linear,
    LocalResponseNorm,
    MaxPool,
    ReLU,
    Saved,
    ShapeError,
    Sigmoid,
    Softmax,
    StatelessLayer,
    Tanh,
    TensorSpec,
)
from cnnbudget.checks import number_from
from cnnbudget.layers.base import need_rank, word_of

SOME = st.integers(1, 2**31 - 1)
PAIRS = st.tuples(st.integers(0, 9), st.integers(0, 9))
AXES = SOME | st.lists(SOME, min_size=1, max_size=3).map(tuple)
PADDINGS = (
    st.sampled_from(["same", "valid"])
    | st.integers(0, 9)
    | st.lists(st.integers(0, 9), min_size=1, max_size=3).map(tuple)
    | st.lists(PAIRS, min_size=1, max_size=3).map(tuple)
)
PARTS = st.floats(0, 1) | st.integers(0, 1) | st.floats(0, 1).map(np.float64)
POOL = {"stride": st.none() | AXES, "padding": PADDINGS, "ceil_mode": st.booleans()}
KINDS = {
    AvgPool: st.builds(AvgPool, AXES, **POOL),
    BatchNorm: st.builds(BatchNorm, affine=st.booleans(), track_running_stats=st.booleans()),
    Conv: st.builds(Conv, SOME, AXES, stride=AXES, padding=PADDINGS, dilation=AXES, groups=SOME, bias=st.booleans()),
    Dropout: st.builds(Dropout, PARTS),
    Flatten: st.builds(Flatten),
    GlobalAvgPool: st.builds(GlobalAvgPool, keepdims=st.booleans()),
    Linear: st.builds(Linear, SOME, bias=st.booleans()),
    LocalResponseNorm: st.builds(LocalResponseNorm, SOME, alpha=PARTS, beta=PARTS, k=PARTS),
    MaxPool: st.builds(MaxPool, AXES, dilation=AXES, **POOL),
    ReLU: st.builds(ReLU, inplace=st.booleans()),
    Sigmoid: st.builds(Sigmoid),
    Softmax: st.builds(Softmax, axis=st.integers(-8, 7)),
    Tanh: st.builds(Tanh),
}
LAYERS = st.one_of(*KINDS.values())


@given(LAYERS)
def test_repr_evaluates_to_an_equal_layer(layer):
    assert eval(repr(layer), vars(cnnbudget) | {kind.__name__: kind for kind in KINDS}) == layer


@given(LAYERS)
def test_clones_are_equal_and_hash_alike(layer):
    for clone in (pickle.loads(pickle.dumps(layer)), layer.evolve(), attrs.evolve(layer)):
        assert type(clone) is type(layer)
        assert clone == layer and hash(clone) == hash(layer) and repr(clone) == repr(layer)


@given(LAYERS, LAYERS)
def test_layers_are_equal_exactly_if_class_and_fields_are(one, two):
    same = type(one) is type(two) and attrs.astuple(one) == attrs.astuple(two)
    assert (one == two) == same
    if same:
        assert hash(one) == hash(two)


@given(LAYERS)
def test_layers_are_frozen(layer):
    for name in (*(attribute.name for attribute in attrs.fields(type(layer))), "note"):
        with pytest.raises(FrozenInstanceError):
            setattr(layer, name, 1)


@given(LAYERS)
def test_fields_hold_plain_values_only(layer):
    def plain(value):
        if type(value) is tuple:
            return all(map(plain, value))
        return value is None or type(value) in {int, float, bool, str}

    assert all(map(plain, attrs.astuple(layer, recurse=False)))


NUMBERS = [(Conv(2, 3), "filters"), (Linear(2), "features"), (MaxPool(2), "kernel"), (LocalResponseNorm(), "size")]


@pytest.mark.parametrize(("layer", "name"), NUMBERS, ids=repr)
def test_evolve_checks_again(layer, name):
    assert getattr(layer.evolve(**{name: np.int64(5)}), name) == 5
    assert layer.evolve(**{name: 5}).evolve(**{name: getattr(layer, name)}) == layer
    what = f"^{type(layer).__name__}.{name}"
    with pytest.raises(InvalidValueError, match=f"{what} is out of range: got 0"):
        layer.evolve(**{name: 0})
    with pytest.raises(InvalidTypeError, match=f"{what} must be an int: got True"):
        layer.evolve(**{name: True})


@given(st.integers(1, 5), st.lists(st.integers(6, 12), min_size=1, max_size=3))
def test_facts_of_built_in_layers_are_consistent(channels, spatial):
    value = TensorSpec((channels, *spatial))
    for layer in (
        Conv(4, 3), MaxPool(2), AvgPool(2), GlobalAvgPool(), Flatten(), ReLU(), ReLU(inplace=True), Sigmoid(), Tanh(),
        Softmax(), Dropout(), BatchNorm(), LocalResponseNorm(),
    ):  # fmt: skip
        output = layer.infer((value,))
        assert output.batched and output.role is cnnbudget.Role.ACTIVATION
        for shapes in (layer.parameters((value,)), layer.buffers((value,))):
            assert all(axis > 0 for shape in shapes.values() for axis in shape)
        assert (layer.macs((value,), output) == 0) == (type(layer) is not Conv)
        assert all(spec.role is cnnbudget.Role.EXTRA for spec in layer.extras((value,), output).values())
        assert layer.saved((value,), output).inputs in {(), (0,)}
        assert layer.workspace((value,), output) is None
        for training in (False, True):
            alias = layer.alias((value,), output, training=training)
            assert alias is None or output.element_count == value.element_count


@frozen(repr=False)
class Foreign(Layer):
    """States the only fact that must be stated."""

    factor: int = field(default=2)

    def infer(self, inputs):
        """States an output with more channels."""
        return TensorSpec((inputs[0].channels * self.factor,))


def test_what_a_foreign_layer_does_not_state_is_unknown_and_everything_is_kept():
    layer, inputs = Foreign(), (TensorSpec((3,)), TensorSpec((3,)))
    output = layer.infer(inputs)
    assert output.shape == (6,)
    assert layer.parameters(inputs) is None
    assert layer.buffers(inputs) is None
    assert layer.macs(inputs, output) is None
    assert layer.extras(inputs, output) is None
    assert layer.workspace(inputs, output) is None
    assert layer.saved(inputs, output) == Saved((0, 1), output=True)
    assert layer.alias(inputs, output, training=True) is None
    assert repr(layer) == "Foreign(2)"
    assert layer.evolve(factor=3) == Foreign(3)


def test_a_layer_that_states_nothing_cannot_be_made():
    with pytest.raises(TypeError, match="abstract"):
        Layer()
    with pytest.raises(TypeError, match="abstract"):
        StatelessLayer()


def test_an_elementwise_layer_has_nothing_but_its_output():
    layer, value = ElementwiseLayer(), TensorSpec((3, 4))
    assert layer.infer((value,)) == value
    assert layer.parameters((value,)) == layer.buffers((value,)) == layer.extras((value,), value) == {}
    assert layer.macs((value,), value) == 0
    assert layer.saved((value,), value) == Saved((0,), output=True)


def test_saved_and_alias_default_to_nothing_and_a_view_of_the_first_input():
    assert (Saved().inputs, Saved().output) == ((), False)
    assert (Alias().input, Alias().in_place) == (0, False)


WORDS = {
    Conv: "conv",
    MaxPool: "max_pool",
    GlobalAvgPool: "global_avg_pool",
    LocalResponseNorm: "local_response_norm",
    ReLU: "relu",
    BatchNorm: "batch_norm",
    Foreign: "foreign",
}


@pytest.mark.parametrize(("kind", "word"), WORDS.items())
def test_words(kind, word):
    assert word_of(kind) == word


@pytest.mark.parametrize(
    ("name", "word"), [("HTTPLayer", "http_layer"), ("Conv2D", "conv2_d"), ("A", "a"), ("SEBlock", "se_block")]
)
def test_words_of_classes_with_capitals(name, word):
    assert word_of(type(name, (Foreign,), {})) == word


def test_a_class_may_state_its_word():
    assert word_of(type("Odd", (Foreign,), {"word": "even"})) == "even"


@pytest.mark.parametrize(("least", "most"), [(1, 1), (1, None), (2, None), (2, 3)])
@pytest.mark.parametrize("rank", range(6))
def test_need_rank(least, most, rank):
    value = TensorSpec((4,) * rank)
    if least <= rank and (most is None or rank <= most):
        need_rank("X", value, least=least, most=most)
        return
    with pytest.raises(ShapeError) as caught:
        need_rank("X", value, least=least, most=most, hint="do it")
    axes = "at least one spatial axis" if least == 2 else "any number of spatial axes"
    expected = "(features,)" if most == 1 else f"(channels, *spatial) with {axes}"
    assert str(caught.value) == f"X does not take this shape: got {value.shape}, expected {expected}; do it"


@given(st.floats())
def test_numpy_doubles_become_floats(value):
    number = number_from(np.float64(value))
    assert type(number) is float
    assert number == value or math.isnan(value)


@pytest.mark.parametrize("value", [1, True, "1", None, np.float32(1)], ids=repr)
def test_what_is_no_float_is_left_to_the_validator(value):
    assert number_from(value) is value
