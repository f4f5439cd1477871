"""Activation functions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnbudget import Alias, ReLU, Saved, ShapeError, Sigmoid, Softmax, Tanh, TensorSpec

ALL = [ReLU(), ReLU(inplace=True), Sigmoid(), Tanh(), Softmax()]


@pytest.mark.parametrize("layer", ALL, ids=repr)
@pytest.mark.parametrize("shape", [(8,), (8, 5), (8, 12, 12)])
def test_an_activation_keeps_its_output_and_nothing_else(layer, shape):
    value = (TensorSpec(shape),)
    output = layer.infer(value)
    assert output == value[0]
    assert layer.saved(value, output) == Saved(output=True)  # measured in PyTorch for all four
    assert layer.parameters(value) == layer.buffers(value) == layer.extras(value, output) == {}
    assert layer.macs(value, output) == 0


@pytest.mark.parametrize("training", [False, True])
def test_only_the_in_place_variant_shares_storage(training):
    value = TensorSpec((8,))
    for layer in ALL:
        alias = layer.alias((value,), value, training=training)
        assert alias == (Alias(input=0, in_place=True) if layer == ReLU(inplace=True) else None)


@given(st.integers(-8, 7), st.integers(0, 8))
def test_softmax_needs_its_axis(axis, rank):
    value = TensorSpec((2,) * rank)
    if axis in range(-rank, rank):
        assert Softmax(axis=axis).infer((value,)) == value
        return
    with pytest.raises(ShapeError) as caught:
        Softmax(axis=axis).infer((value,))
    assert caught.value.what == "Softmax.axis is not an axis of the input"
    assert caught.value.got == f"{axis} on {value.shape}"
    assert caught.value.expected == f"{-rank} to {rank - 1}"
