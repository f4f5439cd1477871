"""Layer scale and the identity."""

import pytest

from cnnbudget import Alias, Inference, InvalidTypeError, InvalidValueError, Net, Saved, ShapeError, TensorSpec
from cnnbudget.layers.base import word_of
from cnnbudget.layers.scale import Identity, Scale
from cnnbudget.testing import check_layer

MAPS = TensorSpec((8, 12, 10))


@pytest.mark.parametrize(
    ("layer", "parameters"),
    [
        (Scale(), {"weight": (8,)}),
        (Scale(bias=True), {"weight": (8,), "bias": (8,)}),
        (Scale("layer"), {"weight": (1,)}),
        (Scale("layer", bias=True), {"weight": (1,), "bias": (1,)}),
    ],
)
def test_scale_learns_a_factor_and_keeps_its_input(layer, parameters):
    check_layer(layer, (8, 12, 10))
    check_layer(layer, (8,))
    assert layer.infer((MAPS,)) == MAPS
    assert layer.parameters((MAPS,)) == parameters
    assert layer.buffers((MAPS,)) == {} == layer.extras((MAPS,), MAPS)
    assert layer.macs((MAPS,), MAPS) == 0
    assert layer.saved((MAPS,), MAPS) == Saved(inputs=(0,))
    assert layer.alias((MAPS,), MAPS, training=True) is None


def test_scale_needs_channels():
    with pytest.raises(ShapeError, match=r"Scale does not take this shape: got \(\)"):
        Scale().infer((TensorSpec(()),))


@pytest.mark.parametrize("shape", [(8, 12, 10), (10,), (2, 3)])
def test_the_identity_is_a_view_and_costs_nothing(shape):
    layer, value = Identity(), TensorSpec(shape)
    check_layer(layer, shape)
    assert layer.infer((value,)) == value
    assert layer.saved((value,), value) == Saved()
    for training in (False, True):
        assert layer.alias((value,), value, training=training) == Alias()
    assert layer.parameters((value,)) == {} == layer.buffers((value,)) == layer.extras((value,), value)
    assert Net.input(*shape).then(layer).profile(Inference()).peak == value.element_count * 4


def test_names():
    assert (word_of(Scale), word_of(Identity)) == ("scale", "identity")
    assert repr(Scale(bias=True)) == "Scale('channel', bias=True)"


BAD = {
    "Scale.per is an unknown word: got 'chanel'; did you mean 'channel'?": lambda: Scale("chanel"),
    "Scale.per must be a word: got 8": lambda: Scale(8),
    "Scale.bias must be a bool: got 0": lambda: Scale(bias=0),
}


@pytest.mark.parametrize(("text", "make"), BAD.items())
def test_bad_settings_meet_one_clear_error(text, make):
    with pytest.raises((InvalidTypeError, InvalidValueError)) as caught:
        make()
    assert str(caught.value).startswith(text)
