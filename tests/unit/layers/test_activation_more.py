"""The activation functions beyond ReLU, Sigmoid, Tanh and Softmax: what they keep, in place and not, and their settings."""

import pytest

from cnnbudget import Alias, InvalidTypeError, InvalidValueError, Role, Saved, ShapeError, TensorSpec
from cnnbudget.layers.activation import (
    CELU,
    ELU,
    GELU,
    SELU,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    LeakyReLU,
    LogSoftmax,
    Mish,
    PReLU,
    ReLU,
    ReLU6,
    SiLU,
    Softmax,
    Softplus,
)
from cnnbudget.layers.base import word_of
from cnnbudget.testing import check_layer

MAPS = TensorSpec((8, 12, 10))
COPYING = (ReLU6, SiLU, Mish, Hardswish, Hardsigmoid, Hardtanh)
INVERTIBLE = (LeakyReLU, ELU, SELU, CELU)
FROM_INPUT = (GELU, Softplus, PReLU)
WORDS = {
    ReLU: "relu",
    ReLU6: "relu6",
    LeakyReLU: "leaky_relu",
    PReLU: "prelu",
    ELU: "elu",
    SELU: "selu",
    CELU: "celu",
    GELU: "gelu",
    SiLU: "silu",
    Mish: "mish",
    Hardswish: "hardswish",
    Hardsigmoid: "hardsigmoid",
    Hardtanh: "hardtanh",
    Softplus: "softplus",
    LogSoftmax: "log_softmax",
}


@pytest.mark.parametrize(("kind", "word"), WORDS.items())
def test_nodes_have_the_names_of_the_field(kind, word):
    assert word_of(kind) == word


@pytest.mark.parametrize("kind", WORDS)
@pytest.mark.parametrize("shape", [(8, 12, 10), (10,), (3, 16), (2, 4, 4, 4)])
def test_they_conform_on_any_rank(kind, shape):
    check_layer(kind(), shape)


@pytest.mark.parametrize("kind", [ReLU, *COPYING, *INVERTIBLE])
def test_the_in_place_variants_conform_and_overwrite_their_input(kind):
    layer = kind(inplace=True)
    check_layer(layer, (8, 12, 10))
    for training in (False, True):
        assert layer.alias((MAPS,), MAPS, training=training) == Alias(in_place=True)
        assert kind().alias((MAPS,), MAPS, training=training) is None
    assert repr(layer).endswith("inplace=True)")


@pytest.mark.parametrize("kind", [*COPYING, *INVERTIBLE, *FROM_INPUT])
def test_with_a_storage_of_their_own_they_keep_their_input(kind):
    assert kind().saved((MAPS,), MAPS) == Saved(inputs=(0,))
    assert kind().extras((MAPS,), MAPS) == {}


@pytest.mark.parametrize("kind", COPYING)
def test_in_place_a_copy_of_the_input_is_kept(kind):
    layer = kind(inplace=True)
    assert layer.saved((MAPS,), MAPS) == Saved()
    assert layer.extras((MAPS,), MAPS) == {"input": TensorSpec(MAPS.shape, Role.EXTRA)}


@pytest.mark.parametrize("kind", INVERTIBLE)
def test_in_place_what_can_be_inverted_keeps_its_output(kind):
    layer = kind(inplace=True)
    assert layer.saved((MAPS,), MAPS) == Saved(output=True)
    assert layer.extras((MAPS,), MAPS) == {}


@pytest.mark.parametrize("inplace", [False, True])
def test_relu_keeps_its_output_either_way(inplace):
    assert ReLU(inplace=inplace).saved((MAPS,), MAPS) == Saved(output=True)
    assert ReLU(inplace=inplace).extras((MAPS,), MAPS) == {}


@pytest.mark.parametrize("kind", [kind for kind in WORDS if kind is not PReLU])
def test_only_prelu_has_parameters(kind):
    layer = kind()
    assert layer.infer((MAPS,)) == MAPS
    assert layer.parameters((MAPS,)) == {} == layer.buffers((MAPS,))
    assert layer.macs((MAPS,), MAPS) == 0


def test_prelu_has_one_slope_or_one_a_channel():
    assert PReLU().parameters((MAPS,)) == {"weight": (1,)}
    assert PReLU(channelwise=True).parameters((MAPS,)) == {"weight": (8,)}
    assert PReLU().buffers((MAPS,)) == {}
    check_layer(PReLU(channelwise=True), (8, 12, 10))
    check_layer(PReLU(channelwise=True), (10,))


def test_prelu_needs_channels():
    with pytest.raises(ShapeError, match=r"PReLU does not take this shape: got \(\)"):
        PReLU().infer((TensorSpec(()),))


@pytest.mark.parametrize("axis", [0, 2, -1, -3])
def test_log_softmax_keeps_its_output_along_any_axis(axis):
    layer = LogSoftmax(axis=axis)
    assert layer.infer((MAPS,)) == MAPS
    assert layer.saved((MAPS,), MAPS) == Saved(output=True)
    assert layer.extras((MAPS,), MAPS) == {}
    assert layer.alias((MAPS,), MAPS, training=True) is None


@pytest.mark.parametrize("kind", [Softmax, LogSoftmax])
@pytest.mark.parametrize("axis", [3, -4])
def test_an_axis_that_the_input_does_not_have_is_refused(kind, axis):
    with pytest.raises(ShapeError) as caught:
        kind(axis=axis).infer((MAPS,))
    assert str(caught.value) == (
        f"{kind.__name__}.axis is not an axis of the input: got {axis} on (8, 12, 10), expected -3 to 2"
    )


def test_settings_are_positional_where_the_layer_is_named_by_them():
    assert LeakyReLU(0.1) == LeakyReLU(slope=0.1)
    assert repr(LeakyReLU(0.1, inplace=True)) == "LeakyReLU(0.1, inplace=True)"
    assert repr(ELU(0.5)) == "ELU(0.5)"
    assert repr(CELU(2.0)) == "CELU(2.0)"
    assert repr(Hardtanh(0.0, 6.0)) == "Hardtanh(0.0, 6.0)"
    assert repr(Softplus(2.0)) == "Softplus(2.0)"
    assert repr(GELU(approximate=True)) == "GELU(approximate=True)"


BAD = {
    "LeakyReLU.slope is out of range: got -1": lambda: LeakyReLU(-1),
    "LeakyReLU.slope must be a number: got 'x' (str)": lambda: LeakyReLU("x"),
    "ELU.alpha is out of range: got -0.5": lambda: ELU(-0.5),
    "CELU.alpha is out of range: got 0": lambda: CELU(0),
    "Softplus.beta is out of range: got 0": lambda: Softplus(0),
    "Softplus.beta is out of range: got nan": lambda: Softplus(float("nan")),
    "Hardtanh.high must be more than Hardtanh.low: got low 1, high 1": lambda: Hardtanh(1, 1),
    "Hardtanh.low must be a number: got True (bool)": lambda: Hardtanh(True),
    "SiLU.inplace must be a bool: got 1": lambda: SiLU(inplace=1),
    "PReLU.channelwise must be a bool: got 8": lambda: PReLU(channelwise=8),
    "GELU.approximate must be a bool: got 'tanh'": lambda: GELU(approximate="tanh"),
    "LogSoftmax.axis must be an int: got 1.0 (float)": lambda: LogSoftmax(axis=1.0),
}


@pytest.mark.parametrize(("text", "make"), BAD.items())
def test_bad_settings_meet_one_clear_error(text, make):
    with pytest.raises((InvalidTypeError, InvalidValueError)) as caught:
        make()
    assert str(caught.value).startswith(text)
