"""Thousands of configurations that torch and keras ran for real: our shapes, parameters and errors against theirs."""

import gzip
import json
import re
from math import prod
from pathlib import Path

import pytest

from cnnbudget import AvgPool, Conv, Flatten, Linear, MaxPool, ShapeError, TensorSpec

DATA = json.loads(gzip.decompress((Path(__file__).parent / "data" / "op_shapes.json.gz").read_bytes()))

# How many rows each operation has: a file that loses rows must not pass.
ROWS = {
    ("torch", "Conv1d"): 145,
    ("torch", "Conv2d"): 1036,
    ("torch", "Conv3d"): 127,
    ("torch", "MaxPool2d"): 1056,
    ("torch", "AvgPool2d"): 865,
    ("torch", "Linear"): 38,
    ("torch", "Flatten"): 7,
    ("keras", "Conv2D"): 212,
    ("keras", "DepthwiseConv2D"): 207,
    ("keras", "MaxPooling2D"): 105,
    ("keras", "AveragePooling2D"): 105,
}

# Where our rule is deliberately wider: the framework's error, how many rows end in it, and why ours is no error.
WIDER = {
    ("torch", "Conv2d"): (
        "padding='same' is not supported for strided convolutions",
        28,
        "torch has no rule for it; cnnbudget uses TensorFlow's, output ceil(n / stride)",
    ),
    ("keras", "Conv2D"): (
        "`strides > 1` not supported in conjunction with `dilation_rate > 1`",
        61,
        "a limit of keras, not of the arithmetic: torch runs such convolutions, and its rows here agree with ours",
    ),
}

# What a framework says, and the part of our error that says the same.
TOO_LARGE, TOO_MUCH = "the window is larger than the padded input", "padding is more than half of the kernel"
SAME_ERROR = {
    "Kernel size can't be greater than actual input size": TOO_LARGE,
    "Output size is too small": TOO_LARGE,
    "Computed output size would be zero or negative": TOO_LARGE,
    "Exception encountered when calling MaxPooling2D.call()": TOO_LARGE,
    "Exception encountered when calling AveragePooling2D.call()": TOO_LARGE,
    "pad should be at most half of effective kernel size": TOO_MUCH,
    "pad should be smaller than or equal to half of kernel size": TOO_MUCH,
    "out_channels must be divisible by groups": "Conv.groups must divide the channels and the filters",
}


def layer_of(op, config, channels):
    if op.startswith("Conv") and op.endswith("d"):
        rest = {name: config[name] for name in ("stride", "padding", "dilation", "groups", "bias") if name in config}
        return Conv(config["out_channels"], config["kernel_size"], **rest)
    if op == "Conv2D":
        return Conv(
            config["filters"],
            config["kernel_size"],
            stride=config["strides"],
            padding=config["padding"],
            dilation=config["dilation_rate"],
            bias=config["use_bias"],
        )
    if op == "DepthwiseConv2D":
        filters = channels * config["depth_multiplier"]
        return Conv(
            filters, config["kernel_size"], stride=config["strides"], padding=config["padding"], groups=channels
        )
    if op == "MaxPool2d":
        rest = {name: config[name] for name in ("stride", "padding", "dilation", "ceil_mode")}
        return MaxPool(config["kernel_size"], **rest)
    if op == "AvgPool2d":
        return AvgPool(config["kernel_size"], **{name: config[name] for name in ("stride", "padding", "ceil_mode")})
    if op in {"MaxPooling2D", "AveragePooling2D"}:
        kind = MaxPool if op == "MaxPooling2D" else AvgPool
        return kind(config["pool_size"], stride=config["strides"], padding=config["padding"])
    if op == "Linear":
        return Linear(config["out_features"])
    assert op == "Flatten"
    return Flatten()


def rows_of(library, op):
    table = DATA[library]["ops"][op]
    for values, shape, outcome, *n_params in table["rows"]:
        config = dict(zip(table["config"], values, strict=True))
        if library == "keras":  # channels last
            *spatial, channels = shape
            expected = outcome if isinstance(outcome, str) else (outcome[-1], *outcome[:-1])
            yield config, (channels, *spatial), expected, n_params[0]
        else:
            yield config, tuple(shape), outcome if isinstance(outcome, str) else tuple(outcome), None


def ours(op, config, shape):
    """The output shape and the number of parameters, or the text of the error."""
    layer, value = layer_of(op, config, shape[0]), TensorSpec(shape)
    try:
        output = layer.infer((value,))
    except ShapeError as error:
        return str(error), None
    return output.shape, sum(map(prod, layer.parameters((value,)).values()))


@pytest.mark.parametrize(("library", "op"), ROWS)
def test_every_row_agrees(library, op):
    wider, _, _ = WIDER.get((library, op), (None, 0, ""))
    wrong = []
    for config, shape, expected, n_params in rows_of(library, op):
        got, count = ours(op, config, shape)
        if not isinstance(expected, str):
            agrees = got == expected and n_params in {None, count}
        elif wider is not None and wider in expected:
            continue
        else:
            (part,) = {part for theirs, part in SAME_ERROR.items() if theirs in expected}
            # torch looks at the padding of every axis first, we look at one axis after the other: some rows have both faults
            agrees = isinstance(got, str) and (part in got or (part == TOO_MUCH and TOO_LARGE in got))
        if not agrees:
            wrong.append((config, shape, expected, n_params, got, count))
    assert wrong == []


@pytest.mark.parametrize(("library", "op"), WIDER)
def test_where_our_rule_is_wider_it_follows_the_textbook(library, op):
    error, count, _ = WIDER[library, op]
    rows = [row for row in rows_of(library, op) if isinstance(row[2], str) and error in row[2]]
    assert len(rows) == count
    for config, shape, _, _ in rows:
        layer, rank = layer_of(op, config, shape[0]), len(shape) - 1

        def per_axis(value, rank=rank):
            return value if isinstance(value, tuple) else (value,) * rank

        strides, kernels, dilations = map(per_axis, (layer.stride, layer.kernel, layer.dilation))
        assert max(strides) > 1
        if layer.padding == "same":
            expected = [-(-n // s) for n, s in zip(shape[1:], strides, strict=True)]
        else:
            assert layer.padding == "valid"
            expected = [
                len(range(0, n - d * (k - 1), s))  # the starts of windows that end inside
                for n, s, k, d in zip(shape[1:], strides, kernels, dilations, strict=True)
            ]
        got, _ = ours(op, config, shape)
        if 0 in expected:
            assert TOO_LARGE in got
        else:
            assert got == (layer.filters, *expected)


def test_the_data_are_complete_and_say_where_they_come_from():
    found = {(library, op): len(t["rows"]) for library in DATA for op, t in DATA[library]["ops"].items()}
    assert found == ROWS
    assert re.fullmatch(r"torch 2\.13\.0\+cpu", DATA["torch"]["source"])
    assert DATA["keras"]["source"].startswith("keras 3.15.1")


@pytest.mark.parametrize("error", SAME_ERROR)
def test_every_kind_of_error_occurs(error):
    texts = [row[2] for library in DATA for t in DATA[library]["ops"].values() for row in t["rows"]]
    assert any(isinstance(text, str) and error in text for text in texts)
