"""Dropout in place and per channel, and stochastic depth."""

import pytest

from cnnbudget import (
    Alias,
    BatchNorm,
    Inference,
    InvalidTypeError,
    InvalidValueError,
    Net,
    Role,
    Saved,
    TensorSpec,
    Training,
)
from cnnbudget.dtypes import FLOAT32
from cnnbudget.layers.base import word_of
from cnnbudget.layers.regularize import Dropout, DropPath
from cnnbudget.testing import check_layer

MAPS = TensorSpec((8, 12, 10))
ALL = (
    Dropout(inplace=True),
    Dropout(0, inplace=True),
    Dropout(per_channel=True),
    Dropout(0.2, inplace=True, per_channel=True),
    DropPath(0.2),
    DropPath(0.2, mode="batch"),
    DropPath(0),
)


@pytest.mark.parametrize("layer", ALL, ids=repr)
@pytest.mark.parametrize("shape", [(8, 12, 10), (10,)])
def test_they_conform_and_keep_no_value(layer, shape):
    check_layer(layer, shape)
    value = TensorSpec(shape)
    assert layer.infer((value,)) == value
    assert layer.saved((value,), value) == Saved()
    assert layer.parameters((value,)) == {} == layer.buffers((value,))
    assert layer.macs((value,), value) == 0


@pytest.mark.parametrize("layer", ALL, ids=repr)
def test_in_inference_and_at_rate_zero_they_are_views(layer):
    assert layer.alias((MAPS,), MAPS, training=False) == Alias()
    never = layer.evolve(rate=0)
    assert never.alias((MAPS,), MAPS, training=True) == Alias()
    assert never.extras((MAPS,), MAPS) == {}
    assert Net.input(8, 12, 10).then(layer).profile(Inference()).peak == 8 * 12 * 10 * 4


def test_in_place_dropout_overwrites_in_training_only():
    assert Dropout(inplace=True).alias((MAPS,), MAPS, training=True) == Alias(in_place=True)
    assert Dropout().alias((MAPS,), MAPS, training=True) is None
    assert DropPath(0.2).alias((MAPS,), MAPS, training=True) is None


def test_in_place_dropout_saves_its_output():
    net = Net.input(8, 12, 10).then(BatchNorm())
    apart, over = (net.then(layer).profile(Training()) for layer in (Dropout(), Dropout(inplace=True)))
    assert over.peak == apart.peak - 8 * 12 * 10 * 4


def test_the_mask_has_a_number_per_value_or_per_channel():
    assert Dropout(inplace=True).extras((MAPS,), MAPS) == {"mask": TensorSpec(MAPS.shape, Role.EXTRA, FLOAT32)}
    assert Dropout(per_channel=True).extras((MAPS,), MAPS) == {"mask": TensorSpec((8,), Role.EXTRA, FLOAT32)}


def test_stochastic_depth_draws_for_every_sample_or_once():
    assert DropPath(0.2).extras((MAPS,), MAPS) == {"mask": TensorSpec((1,), Role.EXTRA)}
    assert DropPath(0.2, mode="batch").extras((MAPS,), MAPS) == {"mask": TensorSpec((1,), Role.EXTRA, batched=False)}


def test_they_look_as_they_are_written():
    assert repr(DropPath(0.1)) == "DropPath(0.1)"
    assert repr(DropPath(0.1, mode="batch")) == "DropPath(0.1, mode='batch')"
    assert repr(Dropout(0.2, inplace=True)) == "Dropout(0.2, inplace=True)"
    assert word_of(DropPath) == "drop_path"


BAD = {
    "DropPath.rate is out of range: got 1.5": lambda: DropPath(1.5),
    "DropPath.rate must be a number: got '0.1' (str)": lambda: DropPath("0.1"),
    "DropPath.mode is an unknown word: got 'rows'; did you mean 'row'?": lambda: DropPath(0.1, mode="rows"),
    "DropPath.mode must be a word: got 1": lambda: DropPath(0.1, mode=1),
    "Dropout.inplace must be a bool: got 1": lambda: Dropout(inplace=1),
    "Dropout.per_channel must be a bool: got 'yes'": lambda: Dropout(per_channel="yes"),
}


@pytest.mark.parametrize(("text", "make"), BAD.items())
def test_bad_settings_meet_one_clear_error(text, make):
    with pytest.raises((InvalidTypeError, InvalidValueError)) as caught:
        make()
    assert str(caught.value).startswith(text)
