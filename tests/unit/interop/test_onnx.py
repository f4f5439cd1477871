"""ONNX: what every operation becomes, what is refused, and that no weight is read."""

import importlib.util
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnbudget import (
    CELU,
    ELU,
    GELU,
    SELU,
    Add,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    ConvTranspose,
    Dropout,
    Flatten,
    GlobalAvgPool,
    GlobalMaxPool,
    GroupNorm,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    Identity,
    InstanceNorm,
    InvalidTypeError,
    LayerNorm,
    LeakyReLU,
    Linear,
    LocalResponseNorm,
    LogSoftmax,
    LPPool,
    Maximum,
    MaxPool,
    Mish,
    Multiply,
    Pad,
    Permute,
    PixelShuffle,
    PixelUnshuffle,
    PReLU,
    ReLU,
    ReLU6,
    Reshape,
    Scale,
    Sigmoid,
    Slice,
    Softmax,
    Softplus,
    Split,
    Tanh,
    Upsample,
    costs,
    specs,
)
from cnnbudget.errors import FormatError
from cnnbudget.interop import Limits, from_onnx

_spec = importlib.util.spec_from_file_location("onnx_writer", Path(__file__).with_name("onnx_writer.py"))
write = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(write)
attribute, field, ints, model, node, tensor = (
    write.attribute,
    write.field,
    write.ints,
    write.model,
    write.node,
    write.tensor,
)

AUDIT = Path(__file__).with_name("audit.py")
SHAPE = (4, 8, 12)


def one(kind, *tensors, shape=SHAPE, inputs=None, outputs=("y",), opset=20, domain="", **attributes):
    """A model of one operation that reads ``x`` and then the tensors."""
    names = ["x", *[f"t{number}" for number in range(len(tensors))]] if inputs is None else inputs
    written = [
        each if isinstance(each, bytes) else tensor(f"t{number}", *each)
        for number, each in enumerate(tensors)
        if each is not None
    ]
    names = ["" if name.startswith("t") and tensors[int(name[1:])] is None else name for name in names]
    nodes = [node(kind, names, outputs, "op", domain, **attributes)]
    return model(nodes, written, [("x", ("N", *shape))], outputs[:1], opset)


def t(number, *numbers):
    return ints(f"t{number}", *numbers)


C4, W = ((4,),), ((6, 4, 3, 3),)
CASES = [
    (one("Conv", W, ((6,),)), [Conv(6, 3)], (6, 6, 10)),
    (
        one("Conv", ((6, 2, 3, 5),), group=2, strides=[2, 1], pads=[0, 1, 1, 1]),
        [Conv(6, (3, 5), stride=(2, 1), padding=((0, 1), (1, 1)), groups=2, bias=False)],
        (6, 4, 10),
    ),
    (one("Conv", W, pads=[2, 2, 2, 2], dilations=[2, 2]), [Conv(6, 3, padding=2, dilation=2, bias=False)], (6, 8, 12)),
    (
        one("Conv", W, auto_pad="SAME_UPPER", strides=[2, 2]),
        [Conv(6, 3, padding="same", stride=2, bias=False)],
        (6, 4, 6),
    ),
    (one("Conv", W, auto_pad="VALID"), [Conv(6, 3, bias=False)], (6, 6, 10)),
    (
        one(
            "ConvTranspose", ((4, 3, 3, 3),), ((6,),), group=2, strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]
        ),
        [ConvTranspose(6, 3, stride=2, padding=1, output_padding=1, groups=2)],
        (6, 16, 24),
    ),
    (one("BatchNormalization", C4, C4, C4, C4), [BatchNorm()], SHAPE),
    (one("InstanceNormalization", C4, C4), [InstanceNorm(affine=True)], SHAPE),
    (one("LayerNormalization", ((12,),), ((12,),), axis=-1), [LayerNorm(-1)], SHAPE),
    (one("LayerNormalization", ((8, 12),), axis=2), [LayerNorm((-2, -1), bias=False)], SHAPE),
    (one("GroupNormalization", C4, C4, num_groups=2, opset=21), [GroupNorm(2)], SHAPE),
    (one("LRN", size=5, alpha=0.5, beta=0.75, bias=2.0), [LocalResponseNorm(5, alpha=0.5)], SHAPE),
    (one("Gemm", ((5, 7),), ((5,),), transB=1, shape=(7,)), [Linear(5)], (5,)),
    (one("Gemm", ((7, 5),), shape=(7,)), [Linear(5, bias=False)], (5,)),
    (one("MatMul", ((12, 5),)), [Linear(5, bias=False, axis=-1)], (4, 8, 5)),
    (one("MatMul", ((7, 5),), shape=(7,)), [Linear(5, bias=False)], (5,)),
    *[
        (one(kind), [layer], SHAPE)
        for kind, layer in {
            "Relu": ReLU(),
            "Sigmoid": Sigmoid(),
            "Tanh": Tanh(),
            "HardSwish": Hardswish(),
            "HardSigmoid": Hardsigmoid(),
            "Mish": Mish(),
            "Softplus": Softplus(),
            "Selu": SELU(),
            "Elu": ELU(),
            "Celu": CELU(),
            "LeakyRelu": LeakyReLU(0.01),
            "Gelu": GELU(),
            "GlobalAveragePool": GlobalAvgPool(keepdims=True),
            "GlobalMaxPool": GlobalMaxPool(keepdims=True),
        }.items()
        if "Pool" not in kind
    ],
    (one("GlobalAveragePool"), [GlobalAvgPool(keepdims=True)], (4, 1, 1)),
    (one("GlobalMaxPool"), [GlobalMaxPool(keepdims=True)], (4, 1, 1)),
    (one("Gelu", approximate="tanh"), [GELU(approximate=True)], SHAPE),
    (one("Elu", alpha=0.5), [ELU(alpha=0.5)], SHAPE),
    (one("LeakyRelu", alpha=0), [LeakyReLU(0.0)], SHAPE),  # an int where a float must be
    (one("PRelu", ((4, 1, 1),)), [PReLU(channelwise=True)], SHAPE),
    (one("PRelu", ((1,),)), [PReLU(channelwise=False)], SHAPE),
    (one("Clip", ((), [0.0]), ((), [6.0])), [ReLU6()], SHAPE),
    (one("Clip", min=-1.0, max=2.0, opset=6), [Hardtanh(low=-1.0, high=2.0)], SHAPE),
    (one("Softmax", axis=1), [Softmax()], SHAPE),
    (one("LogSoftmax", opset=13), [LogSoftmax(axis=2)], SHAPE),
    (one("Softmax", shape=(7,), opset=9), [Softmax()], (7,)),
    (
        one("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1),
        [MaxPool(3, stride=2, padding=1, ceil_mode=True)],
        (4, 5, 7),
    ),
    (one("MaxPool", kernel_shape=[2, 2]), [MaxPool(2, stride=1)], (4, 7, 11)),
    (one("AveragePool", kernel_shape=[2, 2], strides=[2, 2], count_include_pad=1), [AvgPool(2)], (4, 4, 6)),
    (one("LpPool", kernel_shape=[2, 2], strides=[2, 2], p=3), [LPPool(3.0, 2)], (4, 4, 6)),
    (one("ReduceMean", t(0, 2, 3), keepdims=0), [GlobalAvgPool()], (4,)),
    (one("ReduceMean", axes=[-1, -2], opset=13), [GlobalAvgPool(keepdims=True)], (4, 1, 1)),
    (one("ReduceMax", axes=[2, 3], opset=13), [GlobalMaxPool(keepdims=True)], (4, 1, 1)),
    (one("Dropout", ((), [0.25])), [Dropout(0.25)], SHAPE),
    (one("Dropout", ratio=0.75, opset=9), [Dropout(0.75)], SHAPE),
    (one("Dropout"), [Dropout(0.5)], SHAPE),
    (one("Flatten"), [Flatten()], (384,)),
    (one("Reshape", t(0, 0, -1)), [Flatten()], (384,)),
    (one("Reshape", t(0, -1, 4, 96)), [Reshape(4, 96)], (4, 96)),
    (one("Reshape", t(0, 2, 0, 96)), [Reshape(4, 96)], (4, 96)),
    (one("Squeeze", t(0, 2), shape=(4, 1, 12)), [Reshape(4, 12)], (4, 12)),
    (one("Squeeze", axes=[2, 3], shape=(4, 1, 1), opset=11), [Flatten()], (4,)),
    (one("Squeeze", shape=(4, 1, 2)), [Reshape(4, 2)], (4, 2)),
    (one("Unsqueeze", t(0, 2, -1), shape=(7,)), [Reshape(7, 1, 1)], (7, 1, 1)),
    (one("Transpose", perm=[0, 2, 3, 1]), [Permute(1, 2, 0)], (8, 12, 4)),
    (one("Concat", inputs=["x", "x"], axis=-1), [Concat(axis=2)], (4, 8, 24)),
    (one("Split", outputs=("y", "z"), axis=1), [Split(2, 0), Split(2, 1)], (2, 8, 12)),
    (one("Split", t(0, 1, 3), outputs=("y", "z"), axis=1), [Slice(0, 1), Slice(1, 4)], (1, 8, 12)),
    (one("Slice", t(0, 1, 2), t(1, 3, 2**62), t(2, 1, 3), t(3, 1, 1)), [Slice(1, 3), Slice(2, axis=2)], (2, 8, 10)),
    (one("Slice", starts=[0, -3], ends=[2**62, 2**62], axes=[0, 2], opset=9), [Slice(5, axis=1)], (4, 3, 12)),
    (one("Pad", t(0, 0, 0, 1, 2, 0, 0, 3, 4)), [Pad(((1, 3), (2, 4)))], (4, 12, 18)),
    (one("Pad", pads=[0, 0, 1, 1, 0, 0, 1, 1], mode="edge", opset=9), [Pad(1, mode="replicate")], (4, 10, 14)),
    (one("Add", inputs=["x", "x"]), [Add()], SHAPE),
    (one("Sub", inputs=["x", "x"]), [Add()], SHAPE),
    (one("Sum", inputs=["x", "x", "x"]), [Add()], SHAPE),
    (one("Sum", inputs=["x"]), [Identity()], SHAPE),
    (one("Mul", inputs=["x", "x"]), [Multiply()], SHAPE),
    (one("Max", inputs=["x", "x"]), [Maximum()], SHAPE),
    (one("Mul", ((), [2.0])), [Concat()], SHAPE),
    (one("Sub", ((1,), [2.0]), inputs=["t0", "x"]), [Concat()], SHAPE),
    (one("Mul", ((1, 4, 1, 1),)), [Scale()], SHAPE),
    (one("Div", ((), [2.0])), [Concat()], SHAPE),
    (one("Resize", None, ((4,), [1.0, 1.0, 2.0, 1.5])), [Upsample((2, 1.5))], (4, 16, 18)),
    (one("Resize", None, None, t(2, 1, 4, 5, 5), mode="linear"), [Upsample(size=5, mode="bilinear")], (4, 5, 5)),
    (one("Upsample", ((4,), [1.0, 1.0, 2.0, 2.0]), mode="nearest", opset=9), [Upsample(2)], (4, 16, 24)),
    (one("Upsample", scales=[1.0, 1.0, 2.0, 2.0], mode="nearest", opset=7), [Upsample(2)], (4, 16, 24)),
    (one("DepthToSpace", blocksize=2), [PixelShuffle(2)], (1, 16, 24)),
    (one("SpaceToDepth", blocksize=2), [PixelUnshuffle(2)], (16, 4, 6)),
]


@pytest.mark.parametrize(("data", "layers", "shape"), CASES, ids=range(len(CASES)))
def test_what_an_operation_becomes(data, layers, shape):
    network = from_onnx(data)
    assert [node.layer for node in network.nodes] == layers
    assert specs(network)[network.outputs[0]].shape == shape
    assert network.nodes[0].name == "op"


@pytest.mark.parametrize(
    "data",
    [
        one("Identity"),
        one("Cast", to=1),
        one("Reshape", t(0, 0, 4, 8, 12)),
        one("Flatten", shape=(7,)),
        one("Transpose", perm=[0, 1, 2, 3]),
        one("Slice", t(0, 0), t(1, 4), t(2, 1)),
        one("Pad", t(0, *[0] * 8)),
    ],
    ids=range(7),
)
def test_what_does_nothing_is_its_input(data):
    network = from_onnx(model_behind(data))
    assert [node.layer for node in network.nodes] == [ReLU()]


def model_behind(data):
    """The same model with a ReLU at its end: fields of a message may come in parts, and the graph's do not matter in order."""
    graph = dict(write_fields(data))[7]
    parts = [part for part in write_fields(data) if part[0] != 7]
    nodes = [value for number, value in write_fields(graph) if number != 12]
    kept = b"".join(field(number, value) for number, value in write_fields(graph) if number != 12)
    assert nodes
    graph = kept + field(1, node("Relu", ["y"], ["z"])) + field(12, write.value_info("z", ()))
    return b"".join(field(number, value) for number, value in parts) + field(7, graph)


def write_fields(data):
    from cnnbudget.interop.protobuf import Wire

    return [
        (number, bytes(value) if isinstance(value, memoryview) else value)
        for number, value in Wire(10**6, "f()").fields(memoryview(data))
    ]


def test_names_inputs_and_outputs():
    nodes = [
        node("Conv", ["image", "w"], ["a"], "/stem/conv/Conv"),
        node("Relu", ["a"], ["b"]),
        node("Add", ["b", "other"], ["c"]),
        node("MaxPool", ["c"], ["d", "indices"], kernel_shape=[2, 2]),
    ]
    inputs = [("image", ("N", 3, 8, 8)), ("other", (1, 6, 6, 6)), ("w", (6, 3, 3, 3))]  # a weight among the inputs
    network = from_onnx(model(nodes, [tensor("w", (6, 3, 3, 3))], inputs, ("d", "a")))
    assert [(node.name, node.inputs) for node in network.nodes] == [
        ("stem/conv/Conv", ("image",)),
        ("relu", ("stem/conv/Conv",)),
        ("add", ("relu", "other")),
        ("max_pool", ("add",)),
    ]
    assert network.outputs == ("max_pool", "stem/conv/Conv")
    assert [source.shape for source in network.inputs] == [(3, 8, 8), (6, 6, 6)]


def test_shared_weights():
    weights = [tensor("w", (4, 4, 1, 1)), tensor("b", (4,)), tensor("c", (4,))]
    two = [node("Conv", ["x", "w", "b"], ["a"]), node("Conv", ["a", "w", "b"], ["y"])]
    network = from_onnx(model(two, weights))
    assert [node.shares for node in network.nodes] == [None, "conv"]
    assert costs(network).parameter_count == 20
    half = [node("Conv", ["x", "w", "b"], ["a"]), node("Conv", ["a", "w", "c"], ["y"])]
    with pytest.raises(FormatError, match="it shares a part of its parameters"):
        from_onnx(model(half, weights))


def test_a_sum_behind_a_matrix_is_its_bias():
    weights = [tensor("w", (12, 5)), tensor("b", (5,)), tensor("w2", (5, 5))]
    nodes = [
        node("MatMul", ["x", "w"], ["a"], "fc"),
        node("Add", ["b", "a"], ["b1"]),
        node("MatMul", ["b1", "w2"], ["y"]),
    ]
    network = from_onnx(model(nodes, weights))
    assert [node.layer for node in network.nodes] == [Linear(5, axis=-1), Linear(5, bias=False, axis=-1)]
    used = [node("MatMul", ["x", "w"], ["a"]), node("Add", ["a", "b"], ["b1"]), node("Add", ["a", "b1"], ["y"])]
    for nodes in (used, [node("Relu", ["x"], ["a"]), node("Add", ["a", "b"], ["y"])], [node("Add", ["x", "b"], ["y"])]):
        with pytest.raises(FormatError, match="it adds something that is learned"):
            from_onnx(model(nodes, weights))


def test_arithmetic_with_shapes():
    """What exporters write for ``x.view(x.size(0), 2, x.size(1) // 2, -1)``, and for weights that are turned around."""
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Constant", [], ["zero"], value=tensor("", (), [0], 7)),
        node("Constant", [], ["one"], value_int=1),
        node("Constant", [], ["two"], value_ints=[2]),
        node("Gather", ["s", "zero"], ["n"]),
        node("Gather", ["s", "one"], ["c"]),
        node("Div", ["c", "two"], ["half"]),
        node("Unsqueeze", ["n", "zero"], ["n1"]),
        node("Squeeze", ["n1"], ["n2"]),
        node("Cast", ["n2"], ["n3"], to=7),
        node("Identity", ["n3"], ["n4"]),
        node("Constant", [], ["rest"], value_ints=[-1]),
        node("Concat", ["n4", "two", "half", "rest"], ["shape"], axis=0),
        node("Reshape", ["x", "shape"], ["a"]),
        node("Mul", ["two", "two"], ["four"]),
        node("Add", ["four", "two"], ["six"]),
        node("Sub", ["six", "two"], ["four2"]),
        node("Transpose", ["w"], ["wt"]),
        node("MatMul", ["a", "wt"], ["y"]),
    ]
    network = from_onnx(model(nodes, [tensor("w", (5, 96))]))
    assert [node.layer for node in network.nodes] == [Reshape(2, 2, 96), Linear(5, bias=False, axis=-1)]
    slopes = [
        node("Unsqueeze", ["w", "axes"], ["w1"]),
        node("Squeeze", ["w1", "last"], ["w2"]),
        node("PRelu", ["x", "w1"], ["y"]),
    ]
    network = from_onnx(model(slopes, [tensor("w", (4,)), ints("axes", 1, 2), ints("last", -1)]))
    assert [node.layer for node in network.nodes] == [PReLU(channelwise=True)]
    assert costs(network).parameter_count == 4


def test_tensors_whose_numbers_are_not_raw():
    data = one("Reshape", ints("t0", 0, -1, raw=False))
    assert [node.layer for node in from_onnx(data).nodes] == [Flatten()]
    data = one("Clip", tensor("t0", (), [0.0], 1, False), tensor("t1", (), [6.0], 1, False))
    assert [node.layer for node in from_onnx(data).nodes] == [ReLU6()]
    single = field(1, 1) + field(2, 1) + field(8, "t0") + field(4, 3.0)  # one float, not packed
    assert [node.layer for node in from_onnx(one("Mul", single)).nodes] == [Concat()]
    wide = tensor("t0", (2,), [2, 3], 6)
    with pytest.raises(FormatError, match="it is not over all spatial axes"):
        from_onnx(one("ReduceMean", tensor("t0", (1,), [2], 6)))
    assert from_onnx(one("ReduceMean", wide)).nodes[0].layer == GlobalAvgPool(keepdims=True)


def test_weights_are_not_read(tmp_path):
    path = tmp_path / "model.onnx"
    external = field(1, 6) + field(1, 4) + field(1, 3) + field(1, 3) + field(2, 1) + field(8, "t0") + field(14, 1)
    external += field(13, field(1, "location") + field(2, "/etc/passwd"))
    path.write_bytes(one("Conv", external))
    assert from_onnx(path).nodes[0].layer == Conv(6, 3, bias=False)
    big = tensor("t0", (6, 4, 3, 3)) + field(9, b"\x00" * 5_000_000)
    path.write_bytes(one("Conv", big))
    assert from_onnx(path, limits=Limits(bytes=1000)).nodes[0].layer == Conv(6, 3, bias=False)
    with pytest.raises(FormatError, match=r"from_onnx\(\): the size is beyond the limit"):
        from_onnx(path.read_bytes(), limits=Limits(bytes=1000))


def test_open_sizes():
    data = model([node("Relu", ["x"], ["y"])], inputs=[("x", ("N", 3, "H", "W"))])
    assert from_onnx(data, input_shape=(3, 5, 7)).inputs[0].shape == (3, 5, 7)
    with pytest.raises(FormatError, match=r"leaves its input's size open \(at input 'x'\).*give input_shape"):
        from_onnx(data)
    two = model([node("Add", ["x", "z"], ["y"])], inputs=[("x", ("N", 3)), ("z", ("N", 3))])
    with pytest.raises(FormatError, match="input_shape is for models with one input"):
        from_onnx(two, input_shape=(3,))
    typed = field(1, "x") + field(
        2, field(4, b"") + field(1, field(1, 1) + field(2, field(1, field(1, 2)) + field(1, field(1, 7))))
    )
    graph = field(1, node("Relu", ["x"], ["y"])) + field(11, typed) + field(12, field(1, "y"))
    assert from_onnx(field(7, graph)).inputs[0].shape == (7,)
    without = b"".join(
        [
            field(8, field(2, 20)),
            field(7, field(1, node("Relu", ["x"], ["y"])) + field(11, field(1, "x")) + field(12, field(1, "y"))),
        ]
    )
    with pytest.raises(FormatError, match="leaves its input's size open"):
        from_onnx(without)


def test_folded_normalisations_warn():
    folded = model(
        [node("Conv", ["x", "onnx::Conv_12", "b"], ["y"])], [tensor("onnx::Conv_12", (4, 4, 1, 1)), tensor("b", (4,))]
    )
    with pytest.warns(UserWarning, match="batch normalisations seem to have been folded"):
        from_onnx(folded)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from_onnx(one("Conv", W, ((6,),)))


def test_rules():
    data = one("MyOp", C4, domain="acme", size=3)
    with pytest.raises(
        FormatError, match=r"not supported: got operation 'op' \('MyOp'\): there is no layer like it; give rules"
    ):
        from_onnx(data)
    rules = {"acme::MyOp": lambda attributes, value: Scale() if attributes["size"] == 3 else None}
    assert from_onnx(data, rules=rules).nodes[0].layer == Scale()
    with pytest.raises(FormatError, match=r"its weights do not fit .*got \(4,\)"):
        from_onnx(data, rules={"acme::MyOp": lambda attributes, value: Conv(3, 1)})
    with pytest.raises(FormatError, match=r"the rule of an operation returned no layer"):
        from_onnx(data, rules={"acme::MyOp": lambda attributes, value: 3})
    for wrong in ([1], {3: len}, {"MyOp": 3}):
        with pytest.raises(InvalidTypeError, match="rules are functions by type of operation"):
            from_onnx(data, rules=wrong)


UNSUPPORTED = [
    (
        model([node("Constant", [], ["c"], value_string="a"), node("Reshape", ["x", "c"], ["y"])]),
        "a constant cannot be read",
    ),
    (model([node("Transpose", ["t"], ["y"], perm=[0, 0])], [tensor("t", (4, 4))]), "it computes with constants"),
    (one("Sum", ((), [2.0]), inputs=["x", "x", "t0"]), "an operand is no value of the network"),
    (one("Lstm"), "there is no layer like it"),
    (one("Gather", t(0, 1)), "there is no layer like it"),
    (one("Conv", ((6, 4, 3),)), "its weight has no fitting shape"),
    (one("Conv", inputs=["x", "x"]), "an operand that must be constant is computed"),
    (one("Conv", W, auto_pad="SAME_LOWER"), "auto_pad SAME_LOWER"),
    (one("Conv", W, pads=[1]), "auto_pad NOTSET, pads"),
    (one("Conv", W, strides="a"), "strides is 'a'"),
    (one("ConvTranspose", ((4, 6, 3, 3),), output_shape=[9, 9]), "output_shape, or auto_pad"),
    (one("GroupNormalization", ((2,),), ((2,),), num_groups=2), "its scale is not one for each channel"),
    (one("LayerNormalization", ((4, 8, 12),), axis=0), "it works along axis 0 of 4"),
    (one("Softmax", axis=9), "it works along axis 9 of 4"),
    (one("Softmax", axis=1, opset=9), "it is over several axes together"),
    (one("Gemm", ((5, 7),), transB=1), "it is no linear layer"),
    (one("MatMul", inputs=["x", "x"]), "an operand that must be constant is computed"),
    (one("MatMul", ((5, 7, 2),)), "something else than a matrix of weights"),
    (one("Clip", ((), [0.0])), "it has no limit on one side"),
    (one("Clip", ((100,),), ((100,),)), "a constant cannot be read"),
    (one("PRelu", ((9,),)), "its slopes are not one, or one for each channel"),
    (one("PRelu"), "its slopes are missing"),
    (one("AveragePool", kernel_shape=[2, 2], dilations=[2, 2]), "it is dilated"),
    (one("ReduceMean", t(0, 1)), "it is not over all spatial axes"),
    (one("ReduceMean", ((1,), [2.0])), "has no ints"),
    (one("Flatten", axis=0), "it joins the batch with other axes"),
    (one("Reshape", t(0, -1)), "its shape has no batch in front"),
    (one("Reshape", t(0, -1, -1)), "shape "),
    (one("Reshape", t(0, 0, 7)), "moves the batch, or does not fit"),
    (one("Squeeze", t(0, 1)), "it drops an axis that is not of size 1"),
    (one("Squeeze", shape=(1, 1)), "nothing but the batch is left"),
    (one("Unsqueeze", t(0, 0)), "it adds an axis before the batch, or one twice"),
    (one("Transpose", perm=[1, 0, 2, 3]), "it moves the batch"),
    (one("Concat", C4, axis=1), "an operand is no value of the network"),
    (one("Split", outputs=("y", "a", "b"), axis=1), "its parts are uneven"),
    (one("Slice", t(0, 1), t(1, 3), t(2, 1), t(3, 2)), "it has steps"),
    (one("Pad", t(0, 1)), "its amounts are not those of every axis"),
    (one("Pad", t(0, 0, 1, 0, 0, 0, 0, 0, 0)), "it pads the batch or the channels"),
    (one("Mul", ((8, 12),)), "an operand is learned"),
    (one("Add", ((4, 1, 1),)), "an operand is learned"),
    (one("Div", inputs=["x", "x"]), "it is no quotient by a number"),
    (one("Resize", None, None, t(2, 1, 9, 5, 5)), "it resizes the batch or the channels"),
    (one("Resize", None, ((4,), [1.0, 2.0, 2.0, 1.0])), "it resizes the batch or the channels, or by"),
    (model([node("Flatten", ["x"], ["a"]), node("Add", ["x", "a"], ["y"])]), "the shapes differ"),
    (model([node("Flatten", ["x"], ["a"]), node("Mul", ["x", "a"], ["y"])]), "the shapes differ"),
    (
        model([node("Add", ["x", "t", "t"], ["a"]), node("Max", ["t", "t"], ["y"])], [tensor("t", (4,))]),
        "it computes with constants",
    ),
    (model([node("Gather", ["t", "i"], ["y"])], [ints("t", 1), ints("i", 5)]), "it reads beyond the end of a constant"),
    (model([node("Mul", ["t", "i"], ["y"])], [ints("t", 1, 2, 3), ints("i", 5, 6)]), "constants of different lengths"),
    (model([node("Div", ["t", "i"], ["y"])], [ints("t", 1), ints("i", 0)]), "constants that have no result"),
    (model([node("Mul", ["t", "t"], ["y"])], [ints("t", 2**62)]), "constants that are too many or too large"),
    (
        model(
            [node("Div", ["t", "i"], ["a"]), node("Nothing", ["a"], ["y"])], [tensor("t", (1,), [1.0]), ints("i", 2)]
        ),
        "there is no layer like it",
    ),
]


@pytest.mark.parametrize(("data", "why"), UNSUPPORTED, ids=range(len(UNSUPPORTED)))
def test_what_is_not_supported_and_why(data, why):
    with pytest.raises(FormatError, match=rf"from_onnx\(\): operations that are not supported: got operation .*{why}"):
        from_onnx(data)


def test_all_of_it_is_listed_at_once():
    nodes = [
        node("A", ["x"], ["a"]),
        node("Relu", ["a"], ["b"]),
        node("B", ["b"], ["c"], "named"),
        node("A", ["c"], ["y"]),
    ]
    with pytest.raises(
        FormatError,
        match=r"got operation \('a',\) \('A'\): .*; operation 'named' \('B'\): .*; operation \('y',\) \('A'\)",
    ):
        from_onnx(model(nodes))
    with pytest.raises(FormatError, match=r"\.\.\. \(30 in all\); give rules"):
        from_onnx(model([node("A", ["x"], [f"v{number}"]) for number in range(30)]))


DAMAGED = [
    (b"", r"the file is damaged: got no graph"),
    (b"\x00", r"a field without a number"),
    (b"\x0b", r"a field of kind 3"),
    (b"\x3a\x05ab", r"a field that is longer than the file"),
    (b"\x08", r"a number that does not end"),
    (b"\x08" + b"\xff" * 11, r"a number of more than 64 bits"),
    (field(7, 3), r"a number where a message must be"),
    (field(7, field(1, field(1, 3))), r"a number where a text must be"),
    (field(7, field(1, field(4, b"\xff"))), r"a text that is not in UTF-8"),
    (field(7, field(5, field(1, 3.0))), r"a float where an int must be"),
    (field(7, field(5, field(1, b"\x01" * 20_000))), r"a list that is too long"),
    (model([]), r"an output names no value: got 'y'"),
    (model([], outputs=("x",)), r"the network is empty"),
    (model([node("Relu", ["nothing"], ["y"])]), r"reads a value that is not made before it .*got 'nothing'"),
    (model([node("Relu", ["y"], ["y"])]), r"reads a value that is not made before it"),
    (model([node("Relu", ["x"], ["y"])], inputs=[("x", ("N", -3, 4))]), r"out of range \(at input 'x'\): got -3"),
    (model([node("Relu", ["x"], ["y"])], inputs=[("x", ("N", 2**63 - 1, 4))]), r"out of range \(at input 'x'\)"),
    (one("Conv", ((6, 3, 3, 3),)), r"its weights do not fit \(at operation 'op' \('Conv'\)\): got \(6, 3, 3, 3\)"),
    (one("Conv", ((6, 4, 99, 99),)), r"the window is larger than the padded input.*\(at operation 'op' \('Conv'\)\)"),
    (one("Conv", ((-6, 4, 3, 3),)), r"Conv.filters is out of range"),
    (
        model(
            [node("Upsample", [f"v{n}", "s"], [f"v{n + 1}"]) for n in range(40)],
            [tensor("s", (4,), [1.0, 1.0, 2.0, 2.0])],
            [("v0", ("N", 4, 8, 8))],
            ("v40",),
            9,
        ),
        r"the size of an axis is beyond the limit",
    ),
]


@pytest.mark.parametrize(("data", "message"), DAMAGED, ids=range(len(DAMAGED)))
def test_damaged_and_hostile_files(data, message, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=message) as caught:
        from_onnx(data)
    assert str(caught.value).startswith("from_onnx(): ")
    with pytest.raises(FormatError, match=r"from_onnx\(\): "):
        from_onnx(path)


def test_limits_and_what_is_given():
    with pytest.raises(FormatError, match="the number of operations is beyond the limit: got 2, expected at most 1"):
        from_onnx(model([node("Relu", ["x"], ["a"]), node("Relu", ["a"], ["y"])]), limits=Limits(nodes=1))
    with pytest.raises(FormatError, match="the file has too many fields"):
        from_onnx(field(2, "") * 100, limits=Limits(nodes=1))
    for wrong in (3, "model.onnx", None):
        with pytest.raises(InvalidTypeError, match=r"from_onnx\(\) cannot read this: got"):
            from_onnx(wrong)


@given(st.data())
def test_a_mutated_file_is_refused_or_read(data):
    found = bytearray(one("Conv", W, ((6,),), pads=[1, 1, 1, 1]))
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(found) - 1))
        found[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    try:
        network = from_onnx(bytes(found))
    except FormatError:
        return
    assert specs(network)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data):
    with pytest.raises(FormatError):
        from_onnx(data)


@pytest.mark.parametrize("data", [one("Relu"), one("Lstm"), b"\x0b", one("Conv", W)[:-7]], ids=range(4))
def test_reading_opens_nothing_and_runs_nothing(data, tmp_path):
    harmless, suspect = tmp_path / "harmless.onnx", tmp_path / "suspect.onnx"
    harmless.write_bytes(one("Relu"))
    suspect.write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", AUDIT.read_text(), "from_onnx", str(harmless), str(suspect)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    result, *events = done.stdout.splitlines()
    assert result == "read" or result.startswith("refused: from_onnx()")
    assert events == [f"open ({str(suspect)!r},)"]
