"""The fully connected layer."""

from math import prod

import pytest

from cnnbudget import Linear, Saved, ShapeError, TensorSpec


@pytest.mark.parametrize(
    ("inputs", "features", "parameters"),
    [
        (784, 10, 7_850),  # softmax regression on MNIST
        (120, 84, 10_164),  # LeNet-5, F6
        (25_088, 4_096, 102_764_544),  # VGG-16, fc1
        (9_216, 4_096, 37_752_832),  # AlexNet, fc6
        (1, 1, 2),
    ],
)
def test_known_layers(inputs, features, parameters):
    value, layer = (TensorSpec((inputs,)),), Linear(features)
    output = layer.infer(value)
    assert output == TensorSpec((features,))
    assert layer.parameters(value) == {"weight": (features, inputs), "bias": (features,)}
    assert sum(map(prod, layer.parameters(value).values())) == parameters
    assert layer.macs(value, output) == parameters - features


def test_without_bias():
    value = (TensorSpec((5,)),)
    assert Linear(3, bias=False).parameters(value) == {"weight": (3, 5)}
    assert Linear(3, bias=False).macs(value, TensorSpec((3,))) == 15


def test_backward_needs_the_input_only():
    layer, value, output = Linear(3), (TensorSpec((5,)),), TensorSpec((3,))
    assert layer.saved(value, output) == Saved(inputs=(0,))
    assert layer.buffers(value) == layer.extras(value, output) == {}
    assert layer.alias(value, output, training=True) is None


@pytest.mark.parametrize("shape", [(), (3, 4), (3, 4, 5)])
def test_another_rank_is_refused(shape):
    with pytest.raises(ShapeError) as caught:
        Linear(3).infer((TensorSpec(shape),))
    assert str(caught.value) == (
        f"Linear does not take this shape: got {shape}, expected (features,); put Flatten() or GlobalAvgPool() before it"
    )
