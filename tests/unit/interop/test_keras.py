"""Keras' JSON and archives: what every layer becomes, and what is refused."""

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnbudget import (
    ELU,
    Add,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    ConvTranspose,
    Crop,
    DepthwiseConv,
    Dropout,
    DropPath,
    Flatten,
    GlobalAvgPool,
    GlobalMaxPool,
    GroupNorm,
    Hardtanh,
    Identity,
    InvalidTypeError,
    LayerNorm,
    LeakyReLU,
    Linear,
    LogSoftmax,
    Maximum,
    MaxPool,
    Multiply,
    Node,
    Pad,
    Permute,
    PReLU,
    ReLU,
    ReLU6,
    Reshape,
    Scale,
    SiLU,
    Softmax,
    Upsample,
    costs,
    specs,
)
from cnnbudget.errors import FormatError
from cnnbudget.interop import Limits, from_keras
from cnnbudget.interop.archive import read_member

AUDIT = Path(__file__).with_name("audit.py")


def layer(kind, name="layer", **config):
    return {"class_name": kind, "config": {"name": name, **config}}


def image(shape=(8, 12, 4), name="image"):
    return layer("InputLayer", name, batch_shape=[None, *shape])


def sequential(*layers, shape=(8, 12, 4), **more):
    return {"class_name": "Sequential", "config": {"name": "model", "layers": [image(shape), *layers]}, **more}


def tensor(name, call=0, result=0):
    return {"class_name": "__keras_tensor__", "config": {"shape": [], "keras_history": [name, call, result]}}


def called(kind, name, *calls, module="keras.layers", **config):
    """A layer of a functional model, with the arguments of every call."""
    nodes = [{"args": list(args), "kwargs": {}} for args in calls]
    return {"module": module, **layer(kind, name, **config), "name": name, "inbound_nodes": nodes}


def functional(*layers, inputs=("image",), outputs=("last",), shape=(8, 12, 4)):
    sources = [{**image(shape, name), "name": name, "inbound_nodes": []} for name in inputs]
    config = {
        "name": "model",
        "layers": [*sources, *layers],
        "input_layers": [[name, 0, 0] for name in inputs],
        "output_layers": [[name, 0, 0] for name in outputs],
    }
    return {"class_name": "Functional", "config": config}


CONV = {"filters": 6, "kernel_size": [3, 3]}
CASES = [
    (layer("Conv2D", **CONV), [Conv(6, 3, padding="valid")], (6, 6, 10)),
    (
        layer(
            "Conv2D",
            filters=6,
            kernel_size=[3, 5],
            strides=[2, 1],
            padding="same",
            groups=2,
            use_bias=False,
            activation="silu",
        ),
        [Conv(6, (3, 5), stride=(2, 1), padding="same", groups=2, bias=False), SiLU()],
        (6, 4, 12),
    ),
    (layer("Conv2D", **CONV, dilation_rate=2), [Conv(6, 3, padding="valid", dilation=2)], (6, 4, 8)),
    (
        layer("DepthwiseConv2D", kernel_size=3, depth_multiplier=2, padding="same"),
        [DepthwiseConv(3, multiplier=2, padding="same")],
        (8, 8, 12),
    ),
    (
        layer("SeparableConv2D", **CONV, strides=2, activation="relu"),
        [DepthwiseConv(3, stride=2, padding="valid", bias=False), Conv(6, 1), ReLU()],
        (6, 3, 5),
    ),
    (
        layer("Conv2DTranspose", **CONV, strides=2, padding="same"),
        [ConvTranspose(6, 3, stride=2, padding="same")],
        (6, 16, 24),
    ),
    (layer("Dense", units=5, activation="softmax"), [Linear(5, axis=0), Softmax()], (5, 8, 12)),
    (layer("BatchNormalization", axis=-1), [BatchNorm()], (4, 8, 12)),
    (layer("BatchNormalization", axis=[3], scale=False), [BatchNorm(scale=False)], (4, 8, 12)),
    (layer("BatchNormalization", axis=-1, scale=False, center=False), [BatchNorm(affine=False)], (4, 8, 12)),
    (layer("LayerNormalization"), [LayerNorm(0)], (4, 8, 12)),
    (layer("LayerNormalization", axis=[1, 2], center=False), [LayerNorm((1, 2), bias=False)], (4, 8, 12)),
    (layer("LayerNormalization", axis=2, center=False, scale=False), [LayerNorm(2, affine=False)], (4, 8, 12)),
    (layer("GroupNormalization", groups=2), [GroupNorm(2)], (4, 8, 12)),
    (layer("GroupNormalization", groups=-1, center=False, scale=False), [GroupNorm(4, affine=False)], (4, 8, 12)),
    (layer("Normalization"), [BatchNorm(affine=False, count_batches=True)], (4, 8, 12)),
    (layer("Normalization", mean=[0.5], variance=[1.0]), [Concat()], (4, 8, 12)),
    (layer("Activation", activation="linear"), [Identity()], (4, 8, 12)),
    (layer("Activation", activation="log_softmax"), [LogSoftmax()], (4, 8, 12)),
    (layer("Activation", activation={"class_name": "function", "config": "relu6"}), [ReLU6()], (4, 8, 12)),
    (layer("Activation", activation={"class_name": "ReLU", "config": {"max_value": 6.0}}), [ReLU6()], (4, 8, 12)),
    (layer("ReLU", max_value=None, negative_slope=0.0, threshold=0.0), [ReLU()], (4, 8, 12)),
    (layer("ReLU", max_value=1), [Hardtanh(low=0.0, high=1.0)], (4, 8, 12)),
    (layer("ReLU", negative_slope=0.5), [LeakyReLU(0.5)], (4, 8, 12)),
    (layer("LeakyReLU", negative_slope=0.1), [LeakyReLU(0.1)], (4, 8, 12)),
    (layer("PReLU", shared_axes=[1, 2]), [PReLU(channelwise=True)], (4, 8, 12)),
    (layer("ELU", alpha=0.5), [ELU(alpha=0.5)], (4, 8, 12)),
    (layer("Softmax", axis=1), [Softmax(axis=1)], (4, 8, 12)),
    (layer("MaxPooling2D"), [MaxPool(2, padding="valid")], (4, 4, 6)),
    (
        layer("MaxPooling2D", pool_size=[3, 3], strides=[2, 2], padding="same"),
        [MaxPool(3, stride=2, padding="same")],
        (4, 4, 6),
    ),
    (
        layer("AveragePooling2D", pool_size=[2, 3]),
        [AvgPool((2, 3), padding="valid", count_include_pad=False)],
        (4, 4, 4),
    ),
    (layer("GlobalAveragePooling2D", keepdims=True), [GlobalAvgPool(keepdims=True)], (4, 1, 1)),
    (layer("GlobalMaxPooling2D"), [GlobalMaxPool()], (4,)),
    (layer("Dropout", rate=0.3), [Dropout(0.3)], (4, 8, 12)),
    (layer("Dropout", rate=0.3, noise_shape=[None, 1, 1, 1]), [DropPath(0.3)], (4, 8, 12)),
    (layer("SpatialDropout2D", rate=0.3), [Dropout(0.3, per_channel=True)], (4, 8, 12)),
    (layer("Flatten"), [Flatten()], (384,)),
    (layer("Reshape", target_shape=[6, 16, 4]), [Reshape(4, 6, 16)], (4, 6, 16)),
    (layer("Reshape", target_shape=[-1]), [Reshape(-1)], (384,)),
    (layer("Permute", dims=[2, 1, 3]), [Permute(0, 2, 1)], (4, 12, 8)),  # height and width change places
    (layer("Permute", dims=[3, 1, 2]), [Permute(2, 0, 1)], (12, 4, 8)),  # (8, 12, 4) becomes (4, 8, 12) there
    (layer("ZeroPadding2D", padding=[[0, 1], [2, 3]]), [Pad(((0, 1), (2, 3)))], (4, 9, 17)),
    (layer("ZeroPadding2D", padding=1), [Pad(1)], (4, 10, 14)),
    (layer("Cropping2D", cropping=[1, 2]), [Crop(((1, 1), (2, 2)))], (4, 6, 8)),
    (layer("UpSampling2D", size=[2, 3], interpolation="bilinear"), [Upsample((2, 3), mode="bilinear")], (4, 16, 36)),
    (layer("Rescaling", scale=0.1), [Concat()], (4, 8, 12)),
    (layer("LayerScale", projection_dim=4), [Scale()], (4, 8, 12)),
    (layer("StochasticDepth", drop_path_rate=0.2), [DropPath(0.2)], (4, 8, 12)),
]


@pytest.mark.parametrize(
    ("entry", "layers", "shape"), CASES, ids=lambda value: value.get("class_name") if isinstance(value, dict) else ""
)
def test_what_a_layer_becomes(entry, layers, shape):
    network = from_keras(sequential(entry))
    assert [node.layer for node in network.nodes] == layers
    assert specs(network)[network.outputs[0]].shape == shape


@pytest.mark.parametrize(
    ("entry", "layers", "shape", "output"),
    [
        (layer("Dense", units=5), [Linear(5)], (7,), (5,)),
        (layer("Conv1D", filters=5, kernel_size=[3], padding="same"), [Conv(5, 3, padding="same")], (9, 2), (5, 9)),
        (layer("ZeroPadding1D", padding=[1, 2]), [Pad(((1, 2),))], (9, 2), (2, 12)),
        (layer("MaxPooling3D", pool_size=[2, 2, 2]), [MaxPool(2, padding="valid")], (4, 4, 4, 2), (2, 2, 2, 2)),
        (layer("Softmax"), [Softmax()], (9,), (9,)),
    ],
)
def test_other_ranks(entry, layers, shape, output):
    network = from_keras(sequential(entry, shape=shape))
    assert [node.layer for node in network.nodes] == layers
    assert specs(network)[network.outputs[0]].shape == output


def test_channels_first():
    model = sequential(
        layer("Conv2D", "a", **CONV, data_format="channels_first"),
        layer("BatchNormalization", "b", axis=1),
        layer("Dense", "c", units=5),
        layer("Reshape", "d", target_shape=[6, 30]),
        layer("Permute", "e", dims=[2, 1]),
        shape=(4, 8, 12),
    )
    network = from_keras(model)
    assert network.inputs[0].shape == (4, 8, 12)
    assert [node.layer for node in network.nodes][2:] == [Linear(5, axis=2), Reshape(6, 30), Permute(1, 0)]
    assert specs(network)["e"].shape == (30, 6)


def test_a_functional_model():
    model = functional(
        called("Conv2D", "conv", [tensor("image")], filters=4, kernel_size=[3, 3], padding="same", activation="relu"),
        called("Add", "add", [[tensor("conv"), tensor("image")]]),
        called("Maximum", "max", [[tensor("conv"), tensor("add")]]),
        called("Multiply", "mul", [[tensor("max"), tensor("add")]]),
        called("Concatenate", "last", [[tensor("mul"), tensor("image")]], axis=3),
        outputs=("last", "add"),
    )
    network = from_keras(model)
    assert network.nodes == (
        Node("conv/conv", Conv(4, 3, padding="same"), ["image"]),
        Node("conv/relu", ReLU(), ["conv/conv"]),
        Node("add", Add(), ["conv/relu", "image"]),
        Node("max", Maximum(), ["conv/relu", "add"]),
        Node("mul", Multiply(), ["max", "add"]),
        Node("last", Concat(axis=0), ["mul", "image"]),
    )
    assert network.outputs == ("last", "add")
    model["config"]["output_layers"] = {"a": ["add", 0, 0], "b": ["last", 0, 0]}
    model["config"]["input_layers"] = ["image", 0, 0]
    assert from_keras(model).outputs == ("add", "last")


def test_layers_in_any_order_and_operations_with_numbers():
    model = functional(
        called("Multiply", "last", [tensor("plus"), 0.5], module="keras.src.ops.numpy"),
        called("Add", "plus", [tensor("first"), 3.0], module="keras.src.ops.numpy"),
        called("ReLU", "first", [tensor("image")]),
    )
    assert from_keras(model).nodes == (
        Node("first", ReLU(), ["image"]),
        Node("plus", Concat(), ["first"]),
        Node("last", Concat(), ["plus"]),
    )


def test_a_layer_that_is_called_twice_shares_its_parameters():
    model = functional(
        called(
            "Conv2D",
            "conv",
            [tensor("image")],
            [tensor("conv")],
            filters=4,
            kernel_size=3,
            padding="same",
            activation="relu",
        ),
        called("Add", "last", [[tensor("conv", 0), tensor("conv", 1)]]),
    )
    network = from_keras(model)
    assert [(node.name, node.shares) for node in network.nodes] == [
        ("conv/conv", None),
        ("conv/relu", None),
        ("conv2/conv", "conv/conv"),
        ("conv2/relu", "conv/relu"),
        ("last", None),
    ]
    assert costs(network).parameter_count == 4 * 4 * 9 + 4


def test_models_within_models():
    inner = functional(
        called("Conv2D", "conv", [tensor("x")], filters=4, kernel_size=1),
        called("Add", "last", [[tensor("conv"), tensor("y")]]),
        inputs=("x", "y"),
    )
    stem = {
        "class_name": "Sequential",
        "config": {"name": "stem", "layers": [image(), layer("ReLU", "act"), layer("Conv2D", "conv", **CONV)]},
    }
    bare = {"class_name": "Sequential", "config": {"name": "bare", "layers": [layer("ReLU", "act")]}}
    model = functional(
        {
            **called("Functional", "two", [[tensor("image"), tensor("image")]]),
            "config": {**inner["config"], "name": "two"},
        },
        {**called("Sequential", "bare", [tensor("two")]), "config": bare["config"]},
        {**called("Sequential", "last", [tensor("bare")]), "config": stem["config"]},
    )
    assert [(node.name, node.inputs) for node in from_keras(model).nodes] == [
        ("two/conv", ("image",)),
        ("two/last", ("two/conv", "image")),
        ("bare/act", ("two/last",)),
        ("last/act", ("bare/act",)),
        ("last/conv", ("last/act",)),
    ]


def test_open_sizes():
    model = sequential(layer("ReLU"), shape=(None, None, 3))
    assert from_keras(model, input_shape=(3, 5, 7)).inputs[0].shape == (3, 5, 7)
    with pytest.raises(
        FormatError, match=r"leaves its input's size open \(at input 'image'\).*give input_shape=\(C, \*spatial\)"
    ):
        from_keras(model)
    built = {
        "class_name": "Sequential",
        "config": {"name": "m", "layers": [layer("ReLU")]},
        "build_config": {"input_shape": [None, 5, 7, 3]},
    }
    assert from_keras(built).inputs[0].shape == (3, 5, 7)
    del built["build_config"]
    with pytest.raises(FormatError, match="leaves its input's size open"):
        from_keras(built)
    two = functional(called("Add", "last", [[tensor("a"), tensor("b")]]), inputs=("a", "b"))
    with pytest.raises(FormatError, match=r"input_shape is for models with one input"):
        from_keras(two, input_shape=(3, 5, 7))


# Where it comes from.

MODEL = sequential(layer("Conv2D", "conv", **CONV), layer("Flatten", "flat"))
TEXT = json.dumps(MODEL)


def archive(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as found:
        for name, data in {
            "metadata.json": "{}",
            "config.json": TEXT,
            "model.weights.h5": b"\x00" * 1000,
            **members,
        }.items():
            if data is not None:
                found.writestr(name.replace("__", "/"), data)
    return file.getvalue()


class Model:
    def to_json(self):
        return TEXT


def test_every_source(tmp_path):
    expected = from_keras(MODEL)
    path, text = tmp_path / "model.keras", tmp_path / "model.json"
    path.write_bytes(archive())
    text.write_text(TEXT)
    for source in (TEXT, TEXT.encode(), path, text, archive(), bytearray(archive()), Model()):
        assert from_keras(source) == expected
    assert read_member(io.BytesIO(archive() + b""), "metadata.json", Limits(), "f()") == b"{}"
    with pytest.raises(InvalidTypeError, match=r"from_keras\(\) cannot read this: got 3"):
        from_keras(3)
    with pytest.raises(FormatError, match=r"the configuration is no JSON"):
        from_keras({"class_name": object()})


def directory_of(count):
    """An archive that says it has so many members."""
    data = bytearray(archive())
    at = data.rfind(b"PK\x05\x06")
    data[at + 8 : at + 12] = count.to_bytes(2, "little") * 2
    return bytes(data)


def long_directory():
    data = bytearray(archive())
    at = data.rfind(b"PK\x05\x06")
    data[at + 12 : at + 16] = (2**31).to_bytes(4, "little")
    return bytes(data)


def with_locator():
    data = archive()
    at = data.rfind(b"PK\x05\x06")
    return data[:at] + b"PK\x06\x07" + b"\x00" * 16 + data[at:]


def twice():
    file = io.BytesIO(archive())
    with zipfile.ZipFile(file, "a") as found, pytest.warns(UserWarning, match="Duplicate name"):
        found.writestr("config.json", TEXT)
    return file.getvalue()


def lying():
    """An archive whose config.json says it is small."""
    data = bytearray(archive(**{"config.json": b"x" * 5000}))
    size = (5000).to_bytes(4, "little")
    return bytes(data.replace(size, (10).to_bytes(4, "little")))


ARCHIVES = {
    "no member": (
        lambda: archive(**{"config.json": None}),
        r"the archive must have one config.json: got 0 of that name",
    ),
    "elsewhere": (lambda: archive(**{"config.json": None, "..__config.json": TEXT}), r"got 0 of that name"),
    "two": (twice, r"got 2 of that name"),
    "bomb": (
        lambda: archive(**{"config.json": b" " * 10_000_000}),
        r"config.json is too large when it is unpacked: got more than",
    ),
    "large": (lambda: archive(**{"config.json": b" " * 17_000_000}), r"is too large when it is unpacked"),
    "many": (
        lambda: directory_of(1001),
        r"the number of members is beyond the limit: got 1,001, expected at most 1,000",
    ),
    "long": (long_directory, r"the number of members is beyond the limit"),
    "zip64": (with_locator, r"the archive has the format for more than 4 GiB"),
    "cut": (lambda: archive()[:-30], r"the archive is damaged: got no directory at its end"),
    "cut a little": (lambda: archive()[:-5], r"the archive is damaged"),
    "start only": (lambda: b"PK\x03\x04", r"the archive is damaged"),
    "lying": (lying, r"the archive is damaged|this is not JSON|too large"),
    "not JSON": (lambda: archive(**{"config.json": "class Model: pass"}), r"from_keras\(\): this is not JSON"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_damaged_and_hostile_archives(name, tmp_path):
    make, message = ARCHIVES[name]
    data = make()
    path = tmp_path / "model.keras"
    path.write_bytes(data)
    for source in (data, path):
        with pytest.raises(FormatError, match=message):
            from_keras(source)


@given(st.data())
def test_a_mutated_archive_is_refused_or_read(data):
    found = bytearray(archive())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(2, len(found) - 1))
        found[at] = data.draw(st.integers(0, 255))
    try:
        network = from_keras(bytes(found))
    except FormatError:
        return
    assert specs(network)


# What is no model.


def wrong(**parts):
    return functional(called("ReLU", "last", [tensor("image")]) | parts)


def deep(count):
    model = {"class_name": "Sequential", "config": {"name": "m", "layers": [layer("ReLU")]}}
    for _ in range(count):
        model = {"class_name": "Sequential", "config": {"name": "m", "layers": [model]}}
    return sequential(model)


WRONG = [
    ([], r"class_name is missing or of the wrong kind \(at the model\): got None"),
    (
        {"class_name": "Lambda", "config": {}},
        r"this is no functional or sequential model \(at the model\): got 'Lambda'",
    ),
    ({"class_name": "MyModel", "config": {}}, r"a class of its own has no structure in its file"),
    ({"class_name": "Functional"}, r"config is missing or of the wrong kind"),
    ({"class_name": "Functional", "config": {"layers": {}}}, r"layers is missing or of the wrong kind"),
    ({"class_name": "Functional", "config": {"layers": [3]}}, r"this is no layer: got 3"),
    ({"class_name": "Functional", "config": {"layers": []}}, r"inputs or outputs of a model are damaged: got None"),
    (sequential(), r"the network is empty"),
    (sequential({"class_name": 3}), r"class_name is missing or of the wrong kind \(at a layer\)"),
    (sequential({"class_name": "ReLU"}), r"config is missing or of the wrong kind"),
    (sequential({"class_name": "ReLU", "config": {}}), r"name is missing or of the wrong kind"),
    (sequential(layer("ReLU", "/")), r"the name of a layer is not usable \(at layer '/' \('ReLU'\)\)"),
    (sequential(layer("ReLU", ""), layer("ReLU", "")), r"the name of a layer is not usable"),
    (
        functional(called("ReLU", "last", [tensor("image")]), inputs=("", "")),
        r"the name of an input is not usable \(at an input\)",
    ),
    (sequential(layer("ReLU"), shape=(-8, 8, 3)), r"out of range"),
    (sequential(layer("ReLU"), shape=(8, 8, 2**63)), r"out of range"),
    (sequential(layer("ReLU"), shape=(8, 8.5, 3)), r"must be an int"),
    (
        sequential(layer("Conv2D", filters=6)),
        r"kernel_size is no int for every axis \(at layer 'layer' \('Conv2D'\)\): got None",
    ),
    (sequential(layer("Conv2D", filters=True, kernel_size=3)), r"filters is no int"),
    (
        sequential(layer("Conv2D", filters=-1, kernel_size=3)),
        r"Conv.filters is out of range \(at layer 'layer' \('Conv2D'\)\): got -1",
    ),
    (sequential(layer("Conv2D", filters=6, kernel_size=[])), r"kernel_size is no int for every axis"),
    (
        sequential(layer("Conv2D", filters=6, kernel_size=99)),
        r"the window is larger than the padded input.* \(at layer 'layer'",
    ),
    (sequential(layer("Conv2D", **CONV, use_bias=3)), r"use_bias is neither true nor false"),
    (sequential(layer("Dropout", rate=None)), r"rate is no number"),
    (sequential(layer("Softmax", axis=0)), r"an axis makes no sense"),
    (sequential(layer("Softmax", axis=9)), r"an axis makes no sense"),
    (sequential(layer("Reshape", target_shape=[1.5])), r"target_shape is no list of ints"),
    (sequential(layer("Permute", dims=[1])), r"dims is no order of the axes"),
    (sequential(layer("ZeroPadding2D", padding="x")), r"padding is no amount for every side"),
    (
        sequential(layer("UpSampling2D", size=100_000), layer("UpSampling2D", size=100_000)),
        r"beyond the limit|size of an axis",
    ),
    (wrong(inbound_nodes={}), r"inbound_nodes is missing or of the wrong kind \(at layer 'last'\)"),
    (wrong(inbound_nodes=[[["image", 0, 0, {}]]]), r"this is the format of Keras 2 \(at layer 'last'\)"),
    (wrong(inbound_nodes=[{"args": [], "kwargs": {}}]), r"a layer reads nothing"),
    (
        wrong(inbound_nodes=[{"args": [tensor("nothing")]}]),
        r"a layer reads a value that is never made \(at layer 'last'\): got \('nothing', 0, 0\)",
    ),
    (wrong(inbound_nodes=[{"args": [tensor("last")]}]), r"a layer reads a value that is never made"),
    (
        wrong(inbound_nodes=[{"args": [{"class_name": "__keras_tensor__", "config": {"keras_history": [1]}}]}]),
        r"a reference to a value is damaged",
    ),
    (wrong(inbound_nodes=[{"args": [{"class_name": "__keras_tensor__"}]}]), r"config is missing or of the wrong kind"),
    (
        functional(called("ReLU", "last", [tensor("image")]), outputs=("other",)),
        r"an output names no value: got \('other', 0, 0\)",
    ),
    (
        functional(
            {
                **called("Functional", "last", [[tensor("image"), tensor("image")]]),
                "config": functional(called("ReLU", "last", [tensor("image")]))["config"],
            }
        ),
        r"a model is called with another number of inputs",
    ),
    (deep(40), r"the nesting of models is beyond the limit"),
]


@pytest.mark.parametrize(("model", "message"), WRONG, ids=range(len(WRONG)))
def test_what_is_no_model_is_refused(model, message):
    with pytest.raises(FormatError, match=message) as caught:
        from_keras(json.dumps(model))
    assert len(str(caught.value)) < 1500
    assert str(caught.value).startswith("from_keras(): ")


UNSUPPORTED = {
    "activation 'exponential'": layer("Activation", activation="exponential"),
    "padding 'causal'": layer("Conv2D", **CONV, padding="causal"),
    "output_padding": layer("Conv2DTranspose", **CONV, output_padding=1),
    "it works along another axis than the channels'": layer("BatchNormalization", axis=1),
    "a scale without a shift": layer("BatchNormalization", center=False),
    "a shift without a scale": layer("LayerNormalization", scale=False),
    "a scale without a shift, or": layer("GroupNormalization", groups=2, scale=False),
    "a threshold, or a slope with a limit": layer("ReLU", threshold=1.0),
    "a slope for every position": layer("PReLU", shared_axes=None),
    "noise_shape": layer("Dropout", rate=0.5, noise_shape=[None, 8, 1, 1]),
    "interpolation 'lanczos3'": layer("UpSampling2D", interpolation="lanczos3"),
    "there is no layer like it": layer("Lambda", function={"class_name": "__lambda__", "config": {"code": "4wEAAAA"}}),
}


@pytest.mark.parametrize("why", UNSUPPORTED)
def test_what_is_not_supported_and_why(why):
    with pytest.raises(FormatError, match=rf"layers that are not supported: got 'layer' \('\w+'\): {why}"):
        from_keras(sequential(UNSUPPORTED[why]))


def test_values_of_different_ranks():
    model = functional(
        called("Flatten", "flat", [tensor("image")]), called("Multiply", "last", [[tensor("image"), tensor("flat")]])
    )
    with pytest.raises(FormatError, match="values of different numbers of axes"):
        from_keras(model)


def test_all_of_it_is_listed_at_once():
    model = sequential(layer("Lambda", "a"), layer("Conv2D", "b", **CONV), layer("MyLayer", "c"), layer("Lambda", "d"))
    with pytest.raises(
        FormatError, match=r"got 'a' \('Lambda'\): there is no layer like it; 'c' \('MyLayer'\): .*; 'd' \('Lambda'\)"
    ):
        from_keras(model)
    with pytest.raises(FormatError, match=r"\.\.\. \(30 in all\); give rules="):
        from_keras(sequential(*[layer("Lambda", f"l{number}") for number in range(30)]))


def test_rules():
    model = sequential(layer("MyLayer", "mine", size=3), layer("Sequential", "other"))
    rules = {
        "MyLayer": lambda config, value: Conv(value.channels * config["size"], 1),
        "Sequential": lambda config, value: ReLU(),
    }
    assert [node.layer for node in from_keras(model, rules=rules).nodes] == [Conv(12, 1), ReLU()]
    with pytest.raises(
        FormatError, match=r"the rule of a layer returned no layer \(at layer 'mine' \('MyLayer'\)\): got 3"
    ):
        from_keras(model, rules={**rules, "MyLayer": lambda config, value: 3})
    for wrong_rules in ([1], {3: len}, {"MyLayer": 3}):
        with pytest.raises(InvalidTypeError, match="rules are functions by name of class"):
            from_keras(model, rules=wrong_rules)


@given(st.data())
def test_a_mutated_text_is_refused_or_read(data):
    text = TEXT
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        stop = data.draw(st.integers(start, min(len(text), start + 8)))
        piece = data.draw(
            st.sampled_from(["", text[start:stop] * 2, "9", "-", '"', "[", "}", "null", "1e9", ",", "true"])
        )
        text = text[:start] + piece + text[stop:]
    try:
        network = from_keras(text)
    except FormatError:
        return
    assert specs(network)


@pytest.mark.parametrize(
    "data",
    [
        archive(),
        TEXT.encode(),
        archive(**{"config.json": json.dumps(sequential(UNSUPPORTED["there is no layer like it"]))}),
        archive()[:-30],
        b"[1",
    ],
    ids=range(5),
)
def test_reading_opens_nothing_and_runs_nothing(data, tmp_path):
    harmless, suspect = tmp_path / "harmless.keras", tmp_path / "suspect.keras"
    harmless.write_bytes(archive())
    suspect.write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", AUDIT.read_text(), "from_keras", str(harmless), str(suspect)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    result, *events = done.stdout.splitlines()
    assert result == "read" or result.startswith("refused: from_keras()")
    assert events == [f"open ({str(suspect)!r},)"]
