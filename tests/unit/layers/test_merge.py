"""Sums, products, maxima and concatenations: shapes, what they keep, and what they refuse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnbudget import (
    Alias,
    BatchNorm,
    Inference,
    InvalidTypeError,
    InvalidValueError,
    Network,
    ReLU,
    Role,
    Saved,
    ShapeError,
    SharedStorageError,
    TensorSpec,
    Training,
    profile,
)
from cnnbudget.graph.nodes import Input, Node
from cnnbudget.layers.base import word_of
from cnnbudget.layers.merge import Add, Concat, Maximum, Multiply
from cnnbudget.tensors import axis_in, broadcast_shapes
from cnnbudget.testing import check_layer

SIZES = st.lists(st.integers(1, 3), min_size=1, max_size=4).map(tuple)


def specs(*shapes):
    return tuple(TensorSpec(shape) for shape in shapes)


def infer(layer, *shapes):
    return layer.infer(specs(*shapes)).shape


def error_of(layer, *shapes):
    with pytest.raises(ShapeError) as caught:
        infer(layer, *shapes)
    return str(caught.value)


@pytest.mark.parametrize(
    ("layer", "shapes", "output"),
    [
        (Add(), [(8, 5, 4)] * 2, (8, 5, 4)),
        (Add(inplace=True), [(8, 5, 4)] * 2, (8, 5, 4)),
        (Add(), [(10,)] * 4, (10,)),
        (Maximum(), [(8, 5, 4)] * 2, (8, 5, 4)),
        (Maximum(), [(8, 5)] * 3, (8, 5)),
        (Multiply(), [(8, 5, 4)] * 2, (8, 5, 4)),
        (Multiply(), [(8, 5, 4), (8, 1, 1)], (8, 5, 4)),
        (Multiply(), [(8, 1, 1), (8, 5, 4)], (8, 5, 4)),
        (Multiply(), [(8, 5, 4), (1, 5, 4)], (8, 5, 4)),
        (Multiply(), [(8, 1, 1), (1, 5, 4)], (8, 5, 4)),
        (Multiply(), [(8, 1), (1, 5), (8, 5)], (8, 5)),
        (Concat(), [(8, 5, 4), (3, 5, 4), (1, 5, 4)], (12, 5, 4)),
        (Concat(), [(8, 5, 4)], (8, 5, 4)),
        (Concat(axis=1), [(8, 5, 4), (8, 2, 4)], (8, 7, 4)),
        (Concat(axis=-1), [(8, 5, 4), (8, 5, 1)], (8, 5, 5)),
        (Concat(), [(8,), (2,)], (10,)),
    ],
)
def test_they_conform_and_infer(layer, shapes, output):
    check_layer(layer, *shapes)
    assert infer(layer, *shapes) == output
    values = specs(*shapes)
    assert layer.parameters(values) == {} == layer.buffers(values)
    assert layer.macs(values, TensorSpec(output)) == 0


@pytest.mark.parametrize(
    ("kind", "word"), [(Add, "add"), (Multiply, "multiply"), (Concat, "concat"), (Maximum, "maximum")]
)
def test_names(kind, word):
    assert word_of(kind) == word
    assert kind.arity is None


@pytest.mark.parametrize("layer", [Add(), Add(inplace=True), Concat()])
def test_sums_and_concatenations_keep_nothing(layer):
    values = specs((8, 5, 4), (8, 5, 4), (8, 5, 4))
    output = layer.infer(values)
    assert layer.saved(values, output) == Saved()
    assert layer.extras(values, output) == {}


@pytest.mark.parametrize("layer", [Multiply(), Maximum()])
def test_products_and_maxima_keep_their_operands(layer):
    values = specs((8, 5, 4), (8, 5, 4))
    assert layer.saved(values, values[0]) == Saved(inputs=(0, 1))
    assert layer.extras(values, values[0]) == {}


def test_beyond_two_the_results_on_the_way_are_kept():
    values = specs((8, 1, 1), (1, 5, 1), (8, 1, 4), (8, 5, 4))
    assert Multiply().saved(values, values[3]) == Saved(inputs=(0, 1, 2, 3))
    assert Multiply().extras(values, values[3]) == {
        "first2": TensorSpec((8, 5, 1), Role.EXTRA),
        "first3": TensorSpec((8, 5, 4), Role.EXTRA),
    }
    values = specs((8, 5), (8, 5), (8, 5))
    assert Maximum().extras(values, values[0]) == {"first2": TensorSpec((8, 5), Role.EXTRA)}


def test_only_add_has_an_in_place_variant():
    values = specs((8, 5, 4), (8, 5, 4))
    for training in (False, True):
        assert Add(inplace=True).alias(values, values[0], training=training) == Alias(0, in_place=True)
        for layer in (Add(), Multiply(), Concat(), Maximum()):
            assert layer.alias(values, values[0], training=training) is None


def residual(first, merge):
    nodes = [
        Node("first", first, ("image",)),
        Node("second", BatchNorm(), ("image",)),
        Node("add", merge, ("first", "second")),
    ]
    return Network([Input("image", (8, 5, 4))], nodes, ("add",))


def test_add_in_place_saves_one_value_at_the_peak():
    apart, over = (
        profile(residual(BatchNorm(), layer), Inference()).activation_peak for layer in (Add(), Add(inplace=True))
    )
    assert (apart, over) == (3 * 640, 3 * 640)  # image, first, second are alive before: the sum replaces the image
    held = [residual(BatchNorm(), layer) for layer in (Add(), Add(inplace=True))]
    apart, over = (profile(network, Training()).activation_peak for network in held)
    assert over == apart - 640


def test_add_in_place_refuses_to_overwrite_what_relu_keeps():
    profile(residual(ReLU(), Add(inplace=True)), Inference())
    with pytest.raises(SharedStorageError, match="value 'first': node 'first' keeps it for backward"):
        profile(residual(ReLU(), Add(inplace=True)), Training())


def test_a_value_may_be_merged_with_itself():
    for layer in (Add(), Add(inplace=True), Multiply(), Concat(), Maximum()):
        network = Network([Input("image", (8, 5, 4))], [Node("merge", layer, ("image", "image"))], ("merge",))
        assert profile(network, Training()).peak > 0


def test_errors_show_every_shape():
    assert error_of(Add(), (8, 5, 4), (8, 5, 4), (16, 5, 4)) == (
        "Add needs inputs of equal shapes: got (8, 5, 4), (8, 5, 4), (16, 5, 4), expected (8, 5, 4) everywhere; a 1x1 "
        "convolution on one way changes its channels, and its stride halves the maps; Concat joins channels"
    )
    assert error_of(Add(), (8, 1, 1), (8, 5, 4)).startswith(
        "Add needs inputs of equal shapes: got (8, 1, 1), (8, 5, 4)"
    )
    assert error_of(Maximum(), (8, 5), (8, 4)) == (
        "Maximum needs inputs of equal shapes: got (8, 5), (8, 4), expected (8, 5) everywhere; "
        "make the shapes of the ways agree"
    )
    assert error_of(Multiply(), (8, 5, 4), (4, 1, 1)) == (
        "Multiply: the inputs do not broadcast along axis 0: got (8, 5, 4), (4, 1, 1), "
        "expected one size, or 1, along every axis"
    )
    assert error_of(Multiply(), (8, 5, 4), (8,)) == (
        "Multiply needs inputs with the same number of axes: got (8, 5, 4), (8,), expected one size, or 1, along every "
        "axis; give one factor a channel the spatial axes too, each of size 1: (64, 1, 1) for (64, 8, 8)"
    )
    assert error_of(Concat(), (8, 5, 4), (8, 5, 4), (8, 4, 4)) == (
        "Concat needs inputs of equal sizes along every axis but axis 0: got (8, 5, 4), (8, 5, 4), (8, 4, 4); "
        "make the strides and paddings of the ways agree, or crop the larger ones"
    )
    assert error_of(Concat(), (8, 5, 4), (8, 5)) == (
        "Concat needs inputs with the same number of axes: got (8, 5, 4), (8, 5)"
    )
    assert error_of(Concat(axis=2), (8, 5), (8, 5)) == (
        "Concat.axis is not an axis of the input: got 2 on (8, 5), expected -2 to 1"
    )


@pytest.mark.parametrize("layer", [Add(), Multiply(), Maximum()])
def test_one_input_is_too_few(layer):
    assert error_of(layer, (8, 5, 4)) == f"{type(layer).__name__} needs at least 2 inputs: got 1"


BAD = {
    "Add.inplace must be a bool: got 1": lambda: Add(inplace=1),
    "Concat.axis must be an int: got 'C' (str)": lambda: Concat(axis="C"),
    "Concat.axis is out of range: got 8": lambda: Concat(axis=8),
}


@pytest.mark.parametrize(("text", "make"), BAD.items())
def test_bad_settings_meet_one_clear_error(text, make):
    with pytest.raises((InvalidTypeError, InvalidValueError)) as caught:
        make()
    assert str(caught.value).startswith(text)


@given(st.lists(SIZES, min_size=1, max_size=4))
def test_broadcasting_is_numpys_on_equal_ranks(shapes):
    equal = len(set(map(len, shapes))) == 1
    try:
        expected = np.broadcast_shapes(*shapes) if equal else None
    except ValueError:
        expected = None
    if expected is None:
        with pytest.raises(ShapeError) as caught:
            broadcast_shapes(shapes, "It")
        assert all(str(shape) in str(caught.value) for shape in shapes)
    else:
        assert broadcast_shapes(shapes, "It") == expected


@given(SIZES, st.integers(-8, 8))
def test_an_axis_counts_from_both_ends(shape, axis):
    if -len(shape) <= axis < len(shape):
        assert range(len(shape))[axis] == axis_in(axis, shape, "It")
    else:
        with pytest.raises(ShapeError, match="It is not an axis of the input"):
            axis_in(axis, shape, "It")
