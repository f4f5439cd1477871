"""The fully connected layer along an axis."""

import pytest

from cnnbudget.dtypes import Role
from cnnbudget.errors import InvalidTypeError, InvalidValueError, ShapeError
from cnnbudget.layers.base import Saved
from cnnbudget.layers.linear import Linear
from cnnbudget.tensors import TensorSpec
from cnnbudget.testing import check_layer


@pytest.mark.parametrize(
    ("layer", "shape", "output", "inputs", "positions", "copies"),
    [  # what is kept was measured with torch 2.13 on a CPU: the input, or a copy of it with the axis at the end
        (Linear(10, axis=-1), (32,), (10,), 32, 1, False),
        (Linear(10, axis=0), (32,), (10,), 32, 1, False),
        (Linear(10, axis=-1), (5, 32), (5, 10), 32, 5, False),
        (Linear(10, axis=-1), (4, 4, 32), (4, 4, 10), 32, 16, False),
        (Linear(10, axis=0), (8, 12, 12), (10, 12, 12), 8, 144, True),
        (Linear(10, axis=-3), (8, 1, 5), (10, 1, 5), 8, 5, True),
        (Linear(10, axis=1), (8, 5, 3), (8, 10, 3), 5, 24, True),
        (Linear(10, axis=1), (8, 5, 1), (8, 10, 1), 5, 8, False),
        (Linear(10, axis=0), (8, 1, 1), (10, 1, 1), 8, 1, False),
        (Linear(10, axis=0), (1, 5, 5), (10, 5, 5), 1, 25, False),
    ],
)
@pytest.mark.parametrize("bias", [True, False])
def test_along_an_axis(layer, shape, output, inputs, positions, copies, bias):
    layer, value = layer.evolve(bias=bias), (TensorSpec(shape),)
    after = layer.infer(value)
    assert after == TensorSpec(output)
    assert layer.parameters(value) == {"weight": (10, inputs)} | ({"bias": (10,)} if bias else {})
    assert layer.macs(value, after) == 10 * inputs * positions
    assert layer.saved(value, after) == (Saved() if copies else Saved(inputs=(0,)))
    assert layer.extras(value, after) == ({"moved": TensorSpec(shape, Role.EXTRA)} if copies else {})
    assert layer.buffers(value) == {}
    check_layer(layer, shape)


@pytest.mark.parametrize("axis", [2, -3])
def test_an_axis_that_is_not_there(axis):
    with pytest.raises(ShapeError) as caught:
        Linear(10, axis=axis).infer((TensorSpec((5, 32)),))
    assert str(caught.value) == f"Linear.axis is not an axis of the input: got {axis} on (5, 32), expected -2 to 1"


@pytest.mark.parametrize(("axis", "error"), [(True, InvalidTypeError), (1.0, InvalidTypeError), (8, InvalidValueError)])
def test_an_axis_is_an_int_or_none(axis, error):
    with pytest.raises(error, match=r"Linear\.axis"):
        Linear(10, axis=axis)
