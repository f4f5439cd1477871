"""Transposes, resizing, padding, adaptive and LP pooling, shuffles: what torch and keras ran against our shapes and errors."""

import gzip
import json
from math import prod
from pathlib import Path

import pytest

from cnnbudget.errors import ShapeError
from cnnbudget.layers.conv import Conv, ConvTranspose, DepthwiseConv
from cnnbudget.layers.linear import Linear
from cnnbudget.layers.pool import AdaptiveAvgPool, AdaptiveMaxPool, LPPool
from cnnbudget.layers.rearrange import Pad, PixelShuffle, PixelUnshuffle, Unfold
from cnnbudget.layers.reshape import Crop, Flatten
from cnnbudget.layers.resize import Upsample
from cnnbudget.tensors import TensorSpec

DATA = json.loads(gzip.decompress((Path(__file__).parent / "data" / "op_shapes_more.json.gz").read_bytes()))

# How many rows each operation has, and how many of them are errors: a file that loses rows must not pass.
ROWS = {
    ("torch", "ConvTranspose2d"): (535, 73),
    ("torch", "Upsample"): (287, 2),
    ("torch", "pad"): (154, 7),
    ("torch", "Unfold"): (141, 9),
    ("torch", "LPPool2d"): (103, 0),
    ("torch", "AdaptiveAvgPool2d"): (100, 0),
    ("torch", "AdaptiveMaxPool2d"): (95, 0),
    ("torch", "PixelShuffle"): (88, 25),
    ("torch", "PixelUnshuffle"): (89, 21),
    ("torch", "Flatten"): (65, 20),
    ("torch", "Linear"): (74, 4),
    ("keras", "Conv2DTranspose"): (210, 0),
    ("keras", "DepthwiseConv2D"): (207, 11),
    ("keras", "SeparableConv2D"): (49, 1),
    ("keras", "Cropping2D"): (63, 6),
    ("keras", "UpSampling2D"): (57, 0),
    ("keras", "ZeroPadding2D"): (56, 0),
}

TOO_LARGE = "the window is larger than the padded input"

# What a framework says, and the part of our error that says the same.
SAME_ERROR = {
    "output padding must be smaller than either stride or dilation": "output_padding must be less than the stride or the",
    "Output size is too small": "padding leaves nothing of spatial axis",
    "Input and output sizes should be greater than 0": "scale leaves nothing of a spatial axis",
    "Padding size should be less than the corresponding input dimension": "is too much for mode 'reflect'",
    "Padding value causes wrapping around more than once": "is too much for mode 'circular'",
    "Negative padding value is resulting in an empty dimension": "amounts leaves nothing of spatial axis",
    "calculated shape of the array of sliding blocks": TOO_LARGE,
    "dimension to be divisible by the square of upscale_factor": "needs as many channels as a block has pixels",
    "to be divisible by downscale_factor": "factor must divide the spatial axes",
    "start_dim cannot come after end_dim": "start comes after Flatten.end",
    "Computed output size would be zero or negative": TOO_LARGE,
    "Exception encountered when calling Cropping2D.call()": "amounts leaves nothing of spatial axis",
}

# The only rows whose error is not ours: cnnbudget's Linear takes in_features from its input, so the two cannot differ.
OURS_IS_WIDER = {("torch", "Linear"): "mat1 and mat2 shapes cannot be multiplied"}

# torch returns empty values from two rows. cnnbudget has none: a layer of which nothing is left is an error.
EMPTY = {("torch", "ConvTranspose2d"): 1, ("torch", "pad"): 1}


def picked(config, *names):
    return {name: config[name] for name in names}


def layers_of(op, config):
    """Our layers for an operation: one, but for the separable convolution."""
    match op:
        case "ConvTranspose2d":
            rest = picked(config, "stride", "padding", "output_padding", "dilation", "groups")
            return [ConvTranspose(config["out_channels"], config["kernel_size"], **rest)]
        case "Upsample":
            return [Upsample(config["scale_factor"], size=config["size"], mode=config["mode"])]
        case "pad":  # the last axis first
            left, right, top, bottom = config["pad"]
            mode = {"constant": "zero"}.get(config["mode"], config["mode"])
            return [Pad(((top, bottom), (left, right)), mode=mode)]
        case "Unfold":
            return [Unfold(config["kernel_size"], **picked(config, "stride", "padding", "dilation"))]
        case "LPPool2d":
            return [LPPool(config["norm_type"], config["kernel_size"], **picked(config, "stride", "ceil_mode"))]
        case "AdaptiveAvgPool2d":
            return [AdaptiveAvgPool(config["output_size"])]
        case "AdaptiveMaxPool2d":
            return [AdaptiveMaxPool(config["output_size"])]
        case "PixelShuffle":
            return [PixelShuffle(config["upscale_factor"])]
        case "PixelUnshuffle":
            return [PixelUnshuffle(config["downscale_factor"])]
        case "Flatten":  # on a whole batch, taken for one sample: the rule is the same
            return [Flatten(start=config["start_dim"], end=config["end_dim"])]
        case "Linear":  # likewise
            return [Linear(config["out_features"], axis=-1)]
        case "Conv2DTranspose":
            rest = {"stride": config["strides"], "padding": config["padding"]}
            return [ConvTranspose(config["filters"], config["kernel_size"], **rest)]
        case "DepthwiseConv2D":
            rest = {"stride": config["strides"], "padding": config["padding"], "multiplier": config["depth_multiplier"]}
            return [DepthwiseConv(config["kernel_size"], **rest)]
        case "SeparableConv2D":  # one bias, after both
            rest = {"stride": config["strides"], "padding": config["padding"], "multiplier": config["depth_multiplier"]}
            return [DepthwiseConv(config["kernel_size"], **rest, bias=False), Conv(config["filters"], 1)]
        case "Cropping2D":
            return [Crop(config["cropping"])]
        case "UpSampling2D":
            return [Upsample(config["size"])]
        case "ZeroPadding2D":
            return [Pad(config["padding"])]
    raise AssertionError(op)


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
    value, count = TensorSpec(shape), 0
    for layer in layers_of(op, config):
        try:
            output = layer.infer((value,))
        except ShapeError as error:
            return str(error), None
        count += sum(map(prod, layer.parameters((value,)).values()))
        value = output
    return value.shape, count


@pytest.mark.parametrize(("library", "op"), ROWS)
def test_every_row_agrees(library, op):
    wider, wrong, empty = OURS_IS_WIDER.get((library, op)), [], 0
    for config, shape, expected, n_params in rows_of(library, op):
        got, count = ours(op, config, shape)
        if not isinstance(expected, str) and 0 in expected:
            agrees, empty = isinstance(got, str) and "leaves nothing of spatial axis" in got, empty + 1
        elif not isinstance(expected, str):
            agrees = got == expected and n_params in {None, count}
        elif wider is not None:
            agrees = wider in expected and got == (*shape[:-1], config["out_features"])
        else:
            (part,) = {part for theirs, part in SAME_ERROR.items() if theirs in expected}
            agrees = isinstance(got, str) and part in got
        if not agrees:
            wrong.append((config, shape, expected, n_params, got, count))
    assert wrong == []
    assert empty == EMPTY.get((library, op), 0)


def test_the_weights_are_torchs():
    for config, shape, expected, _ in rows_of("torch", "ConvTranspose2d"):
        if not isinstance(expected, str):
            (layer,), kernel = layers_of("ConvTranspose2d", config), config["kernel_size"]
            kernel = tuple(kernel) if isinstance(kernel, list) else (kernel, kernel)
            filters = config["out_channels"]
            weight = (config["in_channels"], filters // config["groups"], *kernel)
            assert layer.parameters((TensorSpec(shape),)) == {"weight": weight, "bias": (filters,)}
    for config, shape, expected, _ in rows_of("torch", "Linear"):
        if not isinstance(expected, str):
            (layer,) = layers_of("Linear", config)
            weight = (config["out_features"], config["in_features"])
            assert layer.parameters((TensorSpec(shape),))["weight"] == weight


def test_the_data_are_complete_and_say_where_they_come_from():
    found = {
        (library, op): (len(t["rows"]), sum(isinstance(row[2], str) for row in t["rows"]))
        for library in DATA
        for op, t in DATA[library]["ops"].items()
    }
    assert found == ROWS
    assert DATA["torch"]["source"] == "torch 2.13.0+cpu device cpu"
    assert DATA["keras"]["source"] == "keras 3.15.1 jax"


@pytest.mark.parametrize("error", [*SAME_ERROR, *OURS_IS_WIDER.values()])
def test_every_kind_of_error_occurs(error):
    texts = [row[2] for library in DATA for t in DATA[library]["ops"].values() for row in t["rows"]]
    assert any(isinstance(text, str) and error in text for text in texts)
