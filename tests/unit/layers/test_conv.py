"""Convolution, against published networks."""

from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnbudget import Conv, Saved, ShapeError, TensorSpec


def facts(layer, *shape):
    value = (TensorSpec(shape),)
    output = layer.infer(value)
    return output.shape, sum(map(prod, layer.parameters(value).values())), layer.macs(value, output)


@pytest.mark.parametrize(
    ("layer", "shape", "output", "parameters", "macs"),
    [
        # the textbook's exercise: (3 x 3 x 3 + 1) x 100, (3 x 3 x 100 + 1) x 200, (3 x 3 x 200 + 1) x 400
        (Conv(100, 3, stride=2, padding="same"), (3, 200, 300), (100, 100, 150), 2_800, 15_000 * 100 * 27),
        (Conv(200, 3, stride=2, padding="same"), (100, 100, 150), (200, 50, 75), 180_200, 3_750 * 200 * 900),
        (Conv(400, 3, stride=2, padding="same"), (200, 50, 75), (400, 25, 38), 720_400, 950 * 400 * 1800),
        # LeNet-5 (LeCun et al. 1998): C1 has 156 parameters and 122,304 connections, 4,704 of them biases
        (Conv(6, 5), (1, 32, 32), (6, 28, 28), 156, 122_304 - 4_704),
        # AlexNet (Krizhevsky et al. 2012): 34,944 and 307,456 parameters; conv2 in two groups
        (Conv(96, 11, stride=4), (3, 227, 227), (96, 55, 55), 34_944, 105_415_200),
        (Conv(256, 5, padding=2, groups=2), (96, 27, 27), (256, 27, 27), 307_456, 223_948_800),
        # ResNet's stem in torchvision: 9,408 weights, 118,013,952 multiplications
        (Conv(64, 7, stride=2, padding=3, bias=False), (3, 224, 224), (64, 112, 112), 9_408, 118_013_952),
        # MobileNet (Howard et al. 2017, Table 1): depthwise 3 x 3 x 32 and pointwise 1 x 1 x 32 x 64 at 112 x 112
        (Conv(32, 3, padding=1, groups=32, bias=False), (32, 112, 112), (32, 112, 112), 288, 288 * 12_544),
        (Conv(64, 1, bias=False), (32, 112, 112), (64, 112, 112), 2_048, 2_048 * 12_544),
        # other ranks, by hand
        (Conv(8, 9, stride=4, dilation=2), (1, 16_000), (8, 3_996), 80, 3_996 * 72),
        (Conv(2, (1, 2, 3), padding=((0, 0), (1, 0), (0, 2))), (4, 5, 6, 7), (2, 5, 6, 7), 50, 210 * 48),
    ],
)
def test_known_convolutions(layer, shape, output, parameters, macs):
    assert facts(layer, *shape) == (output, parameters, macs)


def test_parameters_are_named_and_shaped():
    value = (TensorSpec((6, 9, 9)),)
    assert Conv(4, (3, 5), groups=2).parameters(value) == {"weight": (4, 3, 3, 5), "bias": (4,)}
    assert Conv(4, 3, bias=False).parameters(value) == {"weight": (4, 6, 3, 3)}
    assert Conv(4, 3).weight_shape(TensorSpec((6, 9))) == (4, 6, 3)


def test_backward_needs_the_input_only():
    layer, value = Conv(4, 3), (TensorSpec((6, 9, 9)),)
    output = layer.infer(value)
    assert layer.saved(value, output) == Saved(inputs=(0,))
    assert layer.buffers(value) == layer.extras(value, output) == {}
    assert layer.alias(value, output, training=True) is None


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6), st.integers(1, 9), st.integers(9, 12))
def test_groups_divide_weights_and_multiplications(groups, inputs, outputs, kernel, size):
    shape = (groups * inputs, size, size)
    whole, whole_weights, whole_macs = facts(Conv(groups * outputs, kernel, bias=False), *shape)
    split, split_weights, split_macs = facts(Conv(groups * outputs, kernel, bias=False, groups=groups), *shape)
    assert whole == split
    assert (split_weights * groups, split_macs * groups) == (whole_weights, whole_macs)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 12))
def test_groups_must_divide_both(channels, filters, groups):
    layer, value = Conv(filters, 1, groups=groups), TensorSpec((channels, 4))
    if channels % groups == filters % groups == 0:
        assert layer.infer((value,)).shape == (filters, 4)
        return
    with pytest.raises(ShapeError) as caught:
        layer.infer((value,))
    assert str(caught.value) == (
        f"Conv.groups must divide the channels and the filters: got {groups} groups on {channels} channels and {filters} filters, "
        "expected a divisor of both; change groups or filters"
    )


def test_an_int_is_short_for_one_int_per_axis():
    value = (TensorSpec((3, 20, 30, 10)),)
    short, long = (
        Conv(4, 3, stride=2, padding=1, dilation=2),
        Conv(4, (3,) * 3, stride=(2,) * 3, padding=((1, 1),) * 3, dilation=(2,) * 3),
    )
    assert short != long
    assert short.infer(value) == long.infer(value)
    assert short.parameters(value) == long.parameters(value)
