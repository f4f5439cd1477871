"""Padding modes, depthwise, transposed and locally connected convolution."""

from math import prod

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cnnbudget.dtypes import FLOAT32, Role
from cnnbudget.errors import InvalidTypeError, InvalidValueError, ShapeError
from cnnbudget.layers.base import Saved, word_of
from cnnbudget.layers.conv import Conv, ConvTranspose, DepthwiseConv
from cnnbudget.layers.local import LocallyConnected
from cnnbudget.tensors import TensorSpec
from cnnbudget.testing import check_layer

MAPS, LINE, CUBE = (8, 12, 12), (8, 12), (8, 12, 12, 12)
BATCH = 2

# Measured with torch 2.13 on a CPU, batch 2, 32-bit floats: bytes kept of the input, and of what is neither input nor output.
KEPT = [
    (Conv(16, 3, padding="same"), MAPS, 9216, 0),
    (Conv(16, 4, padding=1), MAPS, 9216, 0),
    (Conv(16, 4, padding="same"), MAPS, 0, 10816),
    (Conv(16, (4, 3), padding="same"), MAPS, 0, 9984),
    (Conv(16, 4, padding="same", dilation=2), MAPS, 9216, 0),
    (Conv(16, 4, padding="same", stride=(1, 1)), MAPS, 0, 10816),
    (Conv(16, 4, padding="same"), LINE, 0, 832),
    (Conv(16, 4, padding="same"), CUBE, 0, 140608),
    (Conv(16, 3, padding_mode="reflect"), MAPS, 9216, 9216),
    (Conv(16, 3, padding=1, padding_mode="reflect"), MAPS, 9216, 12544),
    (Conv(16, 4, padding=(1, 0), padding_mode="reflect"), MAPS, 9216, 10752),
    (Conv(16, 4, padding="same", padding_mode="reflect"), MAPS, 9216, 14400),
    (Conv(16, 3, padding=1, padding_mode="reflect"), LINE, 768, 896),
    (Conv(16, 3, padding_mode="replicate"), MAPS, 9216, 9216),
    (Conv(16, 3, padding=1, padding_mode="replicate"), MAPS, 9216, 12544),
    (Conv(16, 4, padding="same", padding_mode="replicate"), MAPS, 9216, 14400),
    (Conv(16, 3, padding_mode="circular"), MAPS, 0, 9216),
    (Conv(16, 3, padding=1, padding_mode="circular"), MAPS, 0, 12544),
    (Conv(16, 4, padding="same", padding_mode="circular"), MAPS, 0, 14400),
    (DepthwiseConv(3, padding=1), MAPS, 9216, 0),
    (DepthwiseConv(4, padding="same"), MAPS, 0, 10816),
    (ConvTranspose(16, 2, stride=2), MAPS, 9216, 0),
    (ConvTranspose(16, 3, stride=2, padding=1, output_padding=1), MAPS, 9216, 0),
    (ConvTranspose(16, 3), LINE, 768, 0),
    # Nothing that torch has: no copy is assumed.
    (Conv(16, 3, padding="same", stride=2), MAPS, 9216, 0),
    (Conv(16, 4, padding="same", stride=(1, 2)), MAPS, 9216, 0),
    (Conv(16, 4, padding=((1, 2), (1, 2))), MAPS, 9216, 0),
    (LocallyConnected(4, 3), MAPS, 9216, 0),
]


def byte_count(spec):
    return spec.footprint.byte_count(BATCH, spec.dtype or FLOAT32)


@pytest.mark.parametrize(("layer", "shape", "of_input", "of_others"), KEPT, ids=repr)
def test_what_a_training_step_keeps(layer, shape, of_input, of_others):
    inputs = (TensorSpec(shape),)
    output = layer.infer(inputs)
    saved, extras = layer.saved(inputs, output), layer.extras(inputs, output)
    assert saved == (Saved(inputs=(0,)) if of_input else Saved())
    assert sum(byte_count(inputs[number]) for number in saved.inputs) == of_input
    assert sum(map(byte_count, extras.values())) == of_others
    assert all(spec.role is Role.EXTRA and spec.dtype is None for spec in extras.values())
    assert layer.alias(inputs, output, training=True) is None
    check_layer(layer, shape)


@pytest.mark.parametrize(
    ("mode", "padding", "size", "fits"),
    [
        ("reflect", 3, 4, True),
        ("reflect", 4, 4, False),
        ("circular", 4, 4, True),
        ("circular", 5, 4, False),
        ("replicate", 9, 4, True),
        ("zeros", 9, 4, True),
    ],
)
def test_a_mode_fills_what_it_has_values_for(mode, padding, size, fits):
    layer = Conv(2, 3, padding=padding, padding_mode=mode)
    value = (TensorSpec((1, 20, size)),)
    value_other = (TensorSpec((1, size)),)
    assert layer.infer((TensorSpec((1, 20, 20)),)) == Conv(2, 3, padding=padding).infer((TensorSpec((1, 20, 20)),))
    if fits:
        assert layer.infer(value).shape == (2, 18 + 2 * padding, size + 2 * padding - 2)
        assert layer.infer(value_other).shape == (2, size + 2 * padding - 2)
        return
    with pytest.raises(ShapeError) as caught:
        layer.infer(value)
    most = size - 1 if mode == "reflect" else size
    assert str(caught.value) == (
        f"Conv.padding is too much for mode '{mode}' along spatial axis 1: got ({padding}, {padding}) on {size}, "
        f"expected at most {most} on each side; add less, or use zeros"
    )


def test_the_mode_is_a_word_that_is_shown_last():
    assert repr(Conv(8, 3, padding=1, padding_mode="reflect")) == "Conv(8, 3, padding=1, padding_mode='reflect')"
    with pytest.raises(InvalidValueError, match=r"Conv\.padding_mode is an unknown word.*did you mean 'reflect'"):
        Conv(8, 3, padding_mode="reflct")
    with pytest.raises(InvalidTypeError, match=r"Conv\.padding_mode must be a word"):
        Conv(8, 3, padding_mode=None)


@pytest.mark.parametrize("layer", [DepthwiseConv(3), DepthwiseConv((3, 5), multiplier=2, stride=2, padding="same")])
@pytest.mark.parametrize("bias", [True, False])
def test_a_depthwise_convolution_is_a_grouped_one(layer, bias):
    layer, value = layer.evolve(bias=bias), (TensorSpec((6, 20, 17)),)
    settings = {name: getattr(layer, name) for name in ("stride", "padding", "dilation", "bias")}
    same = Conv(6 * layer.multiplier, layer.kernel, groups=6, **settings)
    output = layer.infer(value)
    assert output == same.infer(value)
    assert layer.parameters(value) == same.parameters(value)
    assert layer.macs(value, output) == same.macs(value, output)
    assert layer.buffers(value) == {}
    check_layer(layer, (6, 20, 17))


def test_names_of_nodes():
    assert list(map(word_of, (ConvTranspose, DepthwiseConv, LocallyConnected))) == [
        "conv_transpose",
        "depthwise_conv",
        "locally_connected",
    ]


@pytest.mark.parametrize(
    ("layer", "shape", "output", "parameters", "macs"),
    [
        (ConvTranspose(512, 2, stride=2), (1024, 28, 28), (512, 56, 56), 2_097_664, 28**2 * 1024 * 512 * 4),  # U-Net
        (
            ConvTranspose(21, 64, stride=32, bias=False),
            (21, 16, 16),
            (21, 544, 544),
            1_806_336,
            16**2 * 1_806_336,
        ),  # FCN
        (ConvTranspose(8, 3, groups=4, bias=False), (16, 5, 6), (8, 7, 8), 16 * 2 * 9, 30 * 16 * 2 * 9),
        (ConvTranspose(4, 4, stride=2, padding=((1, 0), (0, 2))), (3, 5, 5), (4, 11, 10), 196, 25 * 192),
        (ConvTranspose(2, 3, stride=3, padding="same"), (1, 7), (2, 21), 8, 7 * 6),
        (ConvTranspose(2, 1, stride=3, padding="valid"), (1, 7), (2, 21), 4, 7 * 2),
        (ConvTranspose(2, 3, stride=2, dilation=2, output_padding=1), (1, 2, 3, 4), (2, 8, 10, 12), 56, 24 * 54),
    ],
    ids=repr,
)
def test_known_transposes(layer, shape, output, parameters, macs):
    value = (TensorSpec(shape),)
    assert layer.infer(value) == TensorSpec(output)
    assert sum(map(prod, layer.parameters(value).values())) == parameters
    assert layer.macs(value, TensorSpec(output)) == macs
    assert layer.buffers(value) == {}
    check_layer(layer, shape)


@st.composite
def transposes(draw):
    axis = st.integers(1, 5)
    kernel, stride, dilation = draw(axis), draw(axis), draw(axis)
    padding = draw(
        st.sampled_from(["same", "valid"]) | st.integers(0, 4) | st.tuples(st.integers(0, 4), st.integers(0, 4))
    )
    extra = 0 if isinstance(padding, str) else draw(st.integers(0, stride - 1))
    padding = (padding,) if isinstance(padding, tuple) else padding
    return ConvTranspose(3, kernel, stride=stride, padding=padding, output_padding=extra, dilation=dilation)


@given(transposes(), st.integers(1, 30))
def test_a_convolution_maps_the_output_back_to_the_size_of_the_input(layer, n):
    try:
        output = layer.infer((TensorSpec((2, n)),))
    except ShapeError:
        assume(False)
    back = Conv(2, layer.kernel, stride=layer.stride, padding=layer.padding, dilation=layer.dilation)
    assert back.infer((output,)).shape == (2, n)


@given(st.integers(1, 9), st.integers(1, 5), st.integers(1, 5), st.integers(1, 4))
def test_a_transpose_spreads_every_input_over_a_window(n, kernel, stride, dilation):
    layer, value = ConvTranspose(1, kernel, stride=stride, dilation=dilation, bias=False), (TensorSpec((1, n)),)
    touched = [i * stride + j * dilation for i in range(n) for j in range(kernel)]
    output = layer.infer(value)
    assert output.shape == (1, max(touched) + 1)
    assert layer.macs(value, output) == len(touched)


@pytest.mark.parametrize(
    ("layer", "shape", "error"),
    [
        (
            ConvTranspose(4, 3, stride=2, output_padding=2),
            (3, 5, 5),
            (
                "ConvTranspose.output_padding must be less than the stride or the dilation along spatial axis 0: got output "
                "padding 2, stride 2, dilation 1, expected at most 1; it only chooses between the sizes that a convolution with "
                "this stride maps to one"
            ),
        ),
        (
            ConvTranspose(4, 1, padding=((0, 0), (1, 2))),
            (3, 5, 3),
            (
                "ConvTranspose.padding leaves nothing of spatial axis 1: got padding (1, 2) of an output of 3, expected at least "
                "one position to stay; padding is cut from the output here: use less of it"
            ),
        ),
        (
            ConvTranspose(4, 3, groups=2),
            (3, 5, 5),
            (
                "ConvTranspose.groups must divide the channels and the filters: got 2 groups on 3 channels and 4 filters, "
                "expected a divisor of both; change groups or filters"
            ),
        ),
        (
            ConvTranspose(4, 3, output_padding=(0, 0, 0)),
            (3, 5, 5),
            (
                "ConvTranspose.output_padding does not match the number of spatial axes: got 3 values, (0, 0, 0), expected one "
                "value, or 2 of them"
            ),
        ),
        (
            ConvTranspose(4, 3),
            (3,),
            "ConvTranspose does not take this shape: got (3,), expected (channels, *spatial) with at least one spatial axis",
        ),
        (
            DepthwiseConv((3, 3)),
            (3, 5),
            (
                "DepthwiseConv.kernel does not match the number of spatial axes: got 2 values, (3, 3), expected one value, or 1 of "
                "them"
            ),
        ),
        (
            LocallyConnected(4, 6),
            (3, 5),
            (
                "LocallyConnected: the window is larger than the padded input along spatial axis 0: got window 6 (kernel 6, "
                "dilation 1) on 5 + 0 of padding, expected a window of at most 5; use a smaller kernel or dilation, more padding "
                "(padding='same'), or smaller strides before it"
            ),
        ),
    ],
    ids=repr,
)
def test_what_does_not_fit(layer, shape, error):
    with pytest.raises(ShapeError) as caught:
        layer.infer((TensorSpec(shape),))
    assert str(caught.value) == error


@pytest.mark.parametrize(("padding", "extra"), [("same", 1), ("valid", (0, 1))])
def test_a_word_says_the_size_of_the_output_already(padding, extra):
    with pytest.raises(InvalidValueError) as caught:
        ConvTranspose(4, 3, stride=2, padding=padding, output_padding=extra)
    assert str(caught.value) == (
        f"ConvTranspose.output_padding does not go with a word for padding: got output_padding={extra}, "
        f"padding='{padding}', expected output_padding=0; the word already says how large the output is: give padding as a number"
    )
    assert ConvTranspose(4, 3, padding=padding, output_padding=(0, 0)).infer((TensorSpec((1, 9, 9)),))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kernel", [3, (3, 2)])
def test_without_sharing_every_position_has_weights(bias, kernel):
    value, settings = (TensorSpec((3, 9, 8)),), {"stride": 2, "padding": "same", "bias": bias}
    layer, shared = LocallyConnected(4, kernel, **settings), Conv(4, kernel, **settings)
    output = layer.infer(value)
    assert output == shared.infer(value) == TensorSpec((4, 5, 4))
    kernels = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    expected = {"weight": (5, 4, 4, 3, *kernels)}
    assert layer.parameters(value) == expected | ({"bias": (4, 5, 4)} if bias else {})
    assert layer.macs(value, output) == shared.macs(value, output)
    assert layer.buffers(value) == {}
    check_layer(layer, (3, 9, 8))
