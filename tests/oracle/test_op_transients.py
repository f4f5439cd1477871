"""What every operation of PyTorch allocates on its way, forward and backward, against the layers' facts.

Bytes of one layer that is run alone, beyond its inputs, parameters and buffers; of its backward step, beyond what it has kept and
the gradient of its output. ``README.rst`` says how they were measured.
"""

import gzip
import json
from math import prod
from pathlib import Path
from typing import Any

import pytest

from cnnbudget import Gradient, Layer, TensorSpec
from cnnbudget.dtypes import FLOAT32
from cnnbudget.layers import (
    activation,
    conv,
    linear,
    local,
    merge,
    norm,
    pool,
    rearrange,
    regularize,
    reshape,
    resize,
    scale,
)

DATA = json.loads(gzip.decompress((Path(__file__).parent / "data" / "op_transients.json.gz").read_bytes()))
ROWS = [dict(zip(DATA["columns"], row, strict=True)) for row in DATA["rows"]]

FAMILIES = (*(activation, conv, linear, local, merge, norm, pool, rearrange, regularize, reshape, resize, scale),)
LAYERS: dict[str, Any] = {name: getattr(family, name) for family in FAMILIES for name in family.__all__}

# What was measured under another name than a layer's of ours.
SAME_AS = {
    "Conv(16,3,padding=1) first layer: input needs no gradient": "Conv(16, 3, padding=1)",
    "Linear(20) first layer: input needs no gradient": "Linear(20)",
    "nn.Linear(20) itself": "Linear(20)",
    "nn.Linear(20, bias=False) itself": "Linear(20, bias=False)",
    "nn.Linear(20) itself, first": "Linear(20)",
    "PixelShuffle(2) nn only": "PixelShuffle(2)",
    "PixelUnshuffle(2) nn only": "PixelUnshuffle(2)",
    "ChannelShuffle(2) nn only": "ChannelShuffle(2)",
    "Unfold(3) nn only": "Unfold(3)",
    "torchvision channel_shuffle(2)": "ChannelShuffle(2)",
    "torchvision LayerNorm2d (ConvNeXt)": "LayerNorm()",
    "ConvNeXt layer_scale (C,1,1) * x": "Scale()",
}

# What is no layer of ours: losses (tests/oracle/test_memory_measured.py has them within training steps), and functions by hand.
NO_LAYER = {
    "BatchNorm eval with grad (frozen statistics)",
    "torchvision stochastic_depth row",  # it is called in evaluation too
    "cross_entropy (N,C)",
    "cross_entropy (N,C) label_smoothing=0.1",
    "cross_entropy (N,C,H,W)",
    "cross_entropy (N,C,H,W) label_smoothing=0.1",
    "cross_entropy (N,C,L)",
    "hard swish by hand: relu6(x+3)/6*x",
    "swish by hand: x*sigmoid(x)",
}

LESS, MORE = -1, 1
FORWARD = {"predicting": LESS, "training": LESS}
PADDED = {**FORWARD, "left": LESS, "saved": LESS, "backward": LESS}

# Where ours differ on purpose: the layers, which facts say less or more than PyTorch took, and why.
DIFFERENT: list[tuple[set[str], dict[str, int], str]] = [
    (
        {
            "Conv(16, 3, stride=2, padding='same')",
            "Conv(16, 3, padding=((1, 0), (0, 1)))",
            "MaxPool(3, stride=2, padding=((0, 1), (0, 1)))",
            "AvgPool(3, stride=2, padding=((0, 1), (0, 1)))",
            "LPPool(2, 3, stride=2, padding=1)",
        },
        PADDED,
        "PyTorch cannot be asked for such a padding: the script pads into a copy first. Say Pad() to have it counted",
    ),
    (
        {"ConvTranspose(4, 3, stride=2, padding='same')", "ConvTranspose(4, 3, padding=((1, 0), (0, 1)))"},
        {**FORWARD, "backward": LESS},
        "PyTorch cannot be asked for such a padding: the script crops a larger output. Say Crop() to have it counted",
    ),
    (
        {"LocallyConnected(5, 3)", "LocallyConnected(5, 3, bias=False)", "LocallyConnected(5, 3, padding=1)"},
        PADDED,
        "PyTorch has no such layer; the script unrolls all windows, ours states the least that any implementation needs",
    ),
    (
        {"PixelShuffle(2)", "PixelUnshuffle(2)", "ChannelShuffle(2)", "Unfold(2, stride=2)"},
        FORWARD,
        "the script that was measured clones the result; PyTorch's own modules are in the rows 'nn only'",
    ),
    ({"Unfold(3)", "Unfold(3, padding=1)"}, {**FORWARD, "backward": LESS}, "the same, and the next"),
    (
        {"Unfold(3) nn only"},
        {"backward": LESS},
        "a CPU's gradient has a storage of the output's size, of which it uses a part",
    ),
    (
        {"Dropout(1)"},
        {"training": MORE, "left": MORE, "saved": MORE},
        "PyTorch multiplies by one zero; ours has a mask",
    ),
    (
        {"Pad(1, mode='circular')"},
        {"backward": LESS},
        "autograd undoes the copies of a circular border one by one, with copies of the whole gradient",
    ),
    (
        {"Linear(20, axis=0)", "Linear(20, axis=1)"},
        {"backward": MORE},
        "the weight's gradient is made when the output's has made room: ours counts both, one weight more",
    ),
    (
        {"InstanceNorm(affine=True)", "InstanceNorm(affine=True, track_running_stats=True)"},
        {"backward": MORE},
        "scale's and shift's gradients are made when their copies' are summed up: ours counts both, two numbers a channel more",
    ),
    (
        {"Multiply() of 3", "Maximum() of 3", "Multiply() of two that repeat"},
        {"backward": MORE},
        "two operands at a time, or one sum at a time: ours counts all gradients at once, an upper bound",
    ),
]
# One-dimensional ones are PyTorch's two-dimensional ones in other words, or the script's; these agree or differ by themselves.
ONE_DIMENSIONAL = {"Unfold(3)": FORWARD}


def key_of(row: dict[str, Any]) -> str:
    """The name of a row in the list above."""
    inputs = row["inputs"]
    if row["layer"] in {"Multiply()", "Maximum()"}:
        if len(inputs) == 3:
            return f"{row['layer']} of 3"
        if row["output"] not in inputs:
            return f"{row['layer']} of two that repeat"
    return row["layer"]


def expected_of(row: dict[str, Any]) -> dict[str, int]:
    if len(row["inputs"][0]) == 3 and row["layer"] in ONE_DIMENSIONAL:
        return ONE_DIMENSIONAL[row["layer"]]
    return next((facts for names, facts, _ in DIFFERENT if key_of(row) in names), {})


def layer_of(row: dict[str, Any]) -> Layer:
    return eval(SAME_AS.get(row["layer"], row["layer"]), dict(LAYERS))


COMPARED = [row for row in ROWS if row["layer"] not in NO_LAYER]
compared = pytest.mark.parametrize("row", COMPARED, ids=lambda row: f"{row['layer']} on {row['inputs']}")


class Use:
    """A layer on the inputs of a row."""

    def __init__(self, row: dict[str, Any]) -> None:
        self.layer = layer_of(row)
        self.batch = row["inputs"][0][0]
        self.inputs = tuple(TensorSpec(tuple(shape[1:])) for shape in row["inputs"])
        self.output = self.layer.infer(self.inputs)

    def bytes_of(self, *specs: TensorSpec) -> int:
        return sum(spec.footprint.byte_count(self.batch, spec.dtype or FLOAT32) for spec in specs)

    def alias(self, training: bool) -> list[int]:
        alias = self.layer.alias(self.inputs, self.output, training=training)
        return [] if alias is None else [alias.input]

    @property
    def extras(self) -> int:
        return self.bytes_of(*self.layer.extras(self.inputs, self.output).values())

    def left(self, training: bool) -> int:
        own = 0 if self.alias(training) else self.bytes_of(self.output)
        return own + (self.extras if training else 0)

    def forward(self, training: bool) -> int:
        on_the_way = self.layer.temporaries(self.inputs, self.output, training=training)
        return self.left(training) + self.bytes_of(*on_the_way.values())

    @property
    def saved(self) -> int:
        kept = self.layer.saved(self.inputs, self.output)
        return self.extras + self.bytes_of(
            *(self.inputs[number] for number in kept.inputs), *[self.output] * kept.output
        )

    @property
    def parameters(self) -> int:
        return 4 * sum(map(prod, self.layer.parameters(self.inputs).values()))

    def backward(self, wanted: bool) -> int:
        needs = (wanted,) * len(self.inputs)
        where = self.layer.gradients(self.inputs, self.output)
        made = [each for each, at in zip(self.inputs, where, strict=True) if wanted and at in FRESH]
        on_the_way = self.layer.backward_temporaries(self.inputs, self.output, needs=needs)
        return self.parameters + self.bytes_of(*made, *on_the_way.values())


FRESH = {Gradient.OWN, Gradient.PART}  # the gradient of one part alone is one of its own


def test_the_data_are_whole() -> None:
    assert len(ROWS) == 208
    names = {row["layer"] for row in ROWS}
    assert {*SAME_AS} | NO_LAYER <= names
    listed = set().union(*(names for names, _, _ in DIFFERENT))
    assert listed <= {key_of(row) for row in COMPARED}
    assert len(COMPARED) == 208 - len(NO_LAYER)
    measured = {type(layer_of(row)) for row in COMPARED}
    # a base, and the layers of 1998's LeNet-5, which PyTorch does not have
    assert {*LAYERS} - {kind.__name__ for kind in measured} <= {"WindowPool", "TableConv", "RadialBasis"}


@compared
def test_the_forward_step(row: dict[str, Any]) -> None:
    use, expected = Use(row), expected_of(row)
    assert [use.batch, *use.output.shape] == row["output"]
    assert use.alias(training=False) == row["eval_alias"]
    assert use.alias(training=True) == row["train_alias"]
    for fact, ours, theirs in (
        ("predicting", use.forward(training=False), row["eval_peak"]),
        ("training", use.forward(training=True), row["train_peak"]),
        ("left", use.left(training=True), row["train_left"]),
    ):
        assert (ours > theirs) - (ours < theirs) == expected.get(fact, 0), (fact, ours, theirs)


@pytest.mark.parametrize(
    "row",
    [row for row in COMPARED if row["saved"] is not None],
    ids=lambda row: f"{row['layer']} on {row['inputs']}",
)
def test_the_backward_step(row: dict[str, Any]) -> None:
    use, expected = Use(row), expected_of(row)
    wanted = row["gradients"] != ["none"]  # the first layer of a network makes no gradient of its input
    assert use.parameters == row["parameter_gradients"]
    for fact, ours, theirs in (
        ("saved", use.saved, row["saved"]),
        ("backward", use.backward(wanted), row["backward_peak"]),
    ):
        assert (ours > theirs) - (ours < theirs) == expected.get(fact, 0), (fact, ours, theirs)


# How the data call what a gradient lies in: "=g" is the output's gradient, a view of it or itself.
@pytest.mark.parametrize(
    "row",
    [row for row in COMPARED if row["gradients"] not in (None, ["none"])],
    ids=lambda row: f"{row['layer']} on {row['inputs']}",
)
def test_where_gradients_lie(row: dict[str, Any]) -> None:
    use = Use(row)
    for where, measured in zip(use.layer.gradients(use.inputs, use.output), row["gradients"], strict=True):
        if measured == "=g":
            assert where is Gradient.SAME
        elif measured.startswith("=g/view"):
            assert where is Gradient.VIEW
        else:
            assert measured.startswith("own")
            assert where in FRESH


# By how much an upper bound is above: derived from the operations that the data list.
@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("Linear(20, axis=0)", 4 * 20 * 8),
        ("Linear(20, axis=1)", 4 * 20 * 12),
        ("InstanceNorm(affine=True)", 4 * 2 * 8),
    ],
)
def test_how_much_more(name: str, more: int) -> None:
    for row in COMPARED:
        if row["layer"] == name:
            assert Use(row).backward(wanted=True) - row["backward_peak"] == more
