"""Every public layer conforms: it is a value, it states all facts, and it works in networks. One line a layer."""

import pickle

import pytest
from attrs import fields

import cnnbudget
from cnnbudget import ElementwiseLayer, Layer, StatelessLayer
from cnnbudget.testing import check_layer

MAPS, VOLUME, VECTOR = (8, 12, 10), (4, 6, 5, 7), (24,)
EXAMPLES = {
    "AdaptiveAvgPool((3, None))": MAPS,
    "AdaptiveMaxPool(4)": MAPS,
    "Add()": [MAPS, MAPS, MAPS],
    "Add(inplace=True)": [MAPS, MAPS],
    "AvgPool(3, stride=2, padding=1, ceil_mode=True, count_include_pad=False)": MAPS,
    "BatchNorm(count_batches=True)": VOLUME,
    "CELU(0.5)": VECTOR,
    "ChannelShuffle(4)": MAPS,
    "Concat(axis=1)": [(8, 12, 10), (8, 3, 10)],
    "Conv(6, (3, 2), stride=2, padding='same', groups=2, padding_mode='zeros')": MAPS,
    "Conv(6, 2, padding='same')": MAPS,
    "Conv(6, 3, padding=1, padding_mode='reflect')": MAPS,
    "ConvTranspose(6, 3, stride=2, padding=1, output_padding=1)": VOLUME,
    "Crop(((1, 2), (0, 3)))": MAPS,
    "DepthwiseConv(3, multiplier=2, stride=2, padding='same')": MAPS,
    "DropPath(0.2)": MAPS,
    "Dropout(0.5, per_channel=True)": MAPS,
    "ELU(inplace=True)": VECTOR,
    "Flatten(start=1)": MAPS,
    "GELU()": MAPS,
    "GlobalAvgPool(keepdims=True)": VOLUME,
    "GlobalMaxPool()": MAPS,
    "GroupNorm(4)": MAPS,
    "Hardsigmoid(inplace=True)": MAPS,
    "Hardswish()": MAPS,
    "Hardtanh(-2, 2)": MAPS,
    "Identity()": MAPS,
    "InstanceNorm(affine=True, track_running_stats=True)": MAPS,
    "LPPool(2, 3)": MAPS,
    "LayerNorm((0, -1))": MAPS,
    "LeakyReLU(0.2)": MAPS,
    "Linear(5, axis=-1)": MAPS,
    "Linear(5, bias=False)": VECTOR,
    "LocalResponseNorm(5)": MAPS,
    "LocallyConnected(6, 3, stride=2)": MAPS,
    "LogSoftmax()": VECTOR,
    "MaxPool(3, stride=2, padding=1, dilation=2)": MAPS,
    "Maximum()": [MAPS, MAPS],
    "Mish()": MAPS,
    "Multiply()": [MAPS, (8, 1, 1)],
    "PReLU(channelwise=True)": MAPS,
    "Pad(((1, 2), (0, 3)), mode='reflect')": MAPS,
    "Permute(1, 2, 0)": MAPS,
    "PixelShuffle(2)": MAPS,
    "PixelUnshuffle(2)": MAPS,
    "RadialBasis(5)": VECTOR,
    "ReLU(inplace=True)": MAPS,
    "ReLU6(inplace=True)": MAPS,
    "Reshape(-1, 10)": MAPS,
    "SELU()": MAPS,
    "Scale(bias=True)": MAPS,
    "SiLU(inplace=True)": MAPS,
    "Sigmoid()": MAPS,
    "Slice(2, 5)": MAPS,
    "Softmax(axis=-1)": MAPS,
    "Softplus()": MAPS,
    "Split(2, 1)": MAPS,
    "TableConv(((0, 1), (2,), (3, 4, 7)), 3, stride=2)": MAPS,
    "Tanh()": MAPS,
    "Unfold(3, stride=2)": MAPS,
    "Upsample(2.5, mode='bilinear')": MAPS,
}


def made(text: str) -> Layer:
    layer = eval(text, vars(cnnbudget))
    assert isinstance(layer, Layer)
    return layer


def test_no_public_layer_is_left_out():
    public = {value for name in cnnbudget.__all__ if isinstance(value := getattr(cnnbudget, name), type)}
    layers = {kind for kind in public if issubclass(kind, Layer)} - {Layer, StatelessLayer, ElementwiseLayer}
    assert layers == {type(made(text)) for text in EXAMPLES}


@pytest.mark.parametrize("text", EXAMPLES)
def test_a_layer_conforms(text):
    shapes = EXAMPLES[text]
    check_layer(made(text), *(shapes if isinstance(shapes, list) else [shapes]))


@pytest.mark.parametrize("text", EXAMPLES)
def test_a_layer_is_a_value(text):
    layer = made(text)
    assert eval(repr(layer), vars(cnnbudget)) == layer == pickle.loads(pickle.dumps(layer)) == layer.evolve()
    assert hash(layer) == hash(made(text))
    assert layer != Layer
    assert sum(not field.kw_only for field in fields(type(layer))) <= 2, "the third argument and all after it are words"


@pytest.mark.parametrize("text", EXAMPLES)
def test_a_layer_says_where_its_formula_comes_from(text):
    assert "Source:" in type(made(text)).__doc__
