"""What PyTorch really keeps for backward, operation by operation, against the facts that our layers state.

Measured with torch 2.13.0 on a CPU, 32-bit floats, through ``torch.autograd.graph.saved_tensors_hooks`` on an input that needs
a gradient: bytes of the storages that autograd holds when the forward pass is over, parameters and buffers left out, each
storage counted once. Every layer of ours that has a counterpart there is in the table.

Measured too, and in no row:

* batch normalisation in evaluation mode while something trains: no layer of ours freezes its statistics;
* ``clamp``, ``pow``, ``sqrt``, products and quotients with a number, ``amax``, attention: no layer of ours;
* ``LPPool2d``, transposed and reflect-padded convolution, adaptive pooling, padding, shuffles and resizing: other tests;
* ``padding="same"`` with an even kernel: torch pads into a copy and keeps that (10,816 bytes for a 4x4 kernel on the maps
  below) where our convolution keeps its input (9,216);
* loss functions: a loss is no layer;
* dropout with rate 1, where torch keeps one number for the batch: ours states a whole mask and never under-counts.
"""

import pytest

from cnnbudget import AvgPool, Conv, Flatten, GlobalAvgPool, Linear, LocalResponseNorm, MaxPool, TensorSpec
from cnnbudget.dtypes import FLOAT32
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
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from cnnbudget.layers.merge import Add, Concat, Maximum, Multiply
from cnnbudget.layers.norm import BatchNorm, GroupNorm, InstanceNorm, LayerNorm
from cnnbudget.layers.regularize import Dropout, DropPath
from cnnbudget.layers.scale import Identity, Scale

BATCH = 2
MAPS, GATE = (8, 12, 12), (8, 1, 1)  # 9,216 and 64 bytes for two samples

# Operation, our layer, shapes of its inputs, bytes kept: of the inputs, of the output, of what is neither.
ROWS = [
    ("Conv2d 3x3 bias", Conv(16, 3, padding=1), [MAPS], 9216, 0, 0),
    ("Conv2d 3x3 no bias", Conv(16, 3, padding=1, bias=False), [MAPS], 9216, 0, 0),
    ("Conv2d 1x1 stride 2", Conv(16, 1, stride=2), [MAPS], 9216, 0, 0),
    ("Conv2d depthwise", Conv(8, 3, padding=1, groups=8), [MAPS], 9216, 0, 0),
    ("Conv2d dilated groups", Conv(16, 3, padding=2, dilation=2, groups=2), [MAPS], 9216, 0, 0),
    ("Linear", Linear(10), [(32,)], 256, 0, 0),
    ("BatchNorm2d train", BatchNorm(), [MAPS], 9216, 0, 64),
    ("BatchNorm2d train affine=False", BatchNorm(affine=False), [MAPS], 9216, 0, 64),
    ("BatchNorm2d train no running stats", BatchNorm(track_running_stats=False), [MAPS], 9216, 0, 64),
    ("LayerNorm(12)", LayerNorm(-1), [MAPS], 9216, 0, 1536),
    ("LayerNorm(12, bias=False)", LayerNorm(-1, bias=False), [MAPS], 9216, 0, 1536),
    ("LayerNorm(12, elementwise_affine=False)", LayerNorm(-1, affine=False), [MAPS], 9216, 0, 1536),
    ("LayerNorm([12, 12])", LayerNorm((-2, -1)), [MAPS], 9216, 0, 128),
    ("LayerNorm([8, 12, 12])", LayerNorm((0, 1, 2)), [MAPS], 9216, 0, 16),
    ("permute, LayerNorm(8), permute", LayerNorm(0), [MAPS], 9216, 0, 2304),
    ("permute, LayerNorm(8, elementwise_affine=False), permute", LayerNorm(affine=False), [MAPS], 9216, 0, 2304),
    ("GroupNorm(4, 8)", GroupNorm(4), [MAPS], 9216, 0, 64),
    ("GroupNorm(4, 8, affine=False)", GroupNorm(4, affine=False), [MAPS], 9216, 0, 64),
    ("GroupNorm(1, 8)", GroupNorm(1), [MAPS], 9216, 0, 16),
    ("InstanceNorm2d(affine=False)", InstanceNorm(), [MAPS], 9216, 0, 128),
    ("InstanceNorm2d(affine=True)", InstanceNorm(affine=True), [MAPS], 9216, 0, 192),
    ("InstanceNorm2d(track_running_stats=True)", InstanceNorm(track_running_stats=True), [MAPS], 9216, 0, 256),
    ("InstanceNorm2d(both)", InstanceNorm(affine=True, track_running_stats=True), [MAPS], 9216, 0, 320),
    ("LocalResponseNorm(5)", LocalResponseNorm(5), [MAPS], 9216, 0, 32256),
    ("ReLU", ReLU(), [MAPS], 0, 9216, 0),
    ("ReLU inplace", ReLU(inplace=True), [MAPS], 0, 9216, 0),
    ("ReLU6", ReLU6(), [MAPS], 9216, 0, 0),
    ("ReLU6 inplace", ReLU6(inplace=True), [MAPS], 0, 0, 9216),
    ("LeakyReLU", LeakyReLU(), [MAPS], 9216, 0, 0),
    ("LeakyReLU inplace", LeakyReLU(inplace=True), [MAPS], 0, 9216, 0),
    ("PReLU", PReLU(), [MAPS], 9216, 0, 0),
    ("PReLU(8)", PReLU(channelwise=True), [MAPS], 9216, 0, 0),
    ("ELU", ELU(), [MAPS], 9216, 0, 0),
    ("ELU inplace", ELU(inplace=True), [MAPS], 0, 9216, 0),
    ("SELU", SELU(), [MAPS], 9216, 0, 0),
    ("SELU inplace", SELU(inplace=True), [MAPS], 0, 9216, 0),
    ("CELU", CELU(), [MAPS], 9216, 0, 0),
    ("CELU inplace", CELU(inplace=True), [MAPS], 0, 9216, 0),
    ("GELU", GELU(), [MAPS], 9216, 0, 0),
    ("GELU tanh", GELU(approximate=True), [MAPS], 9216, 0, 0),
    ("SiLU", SiLU(), [MAPS], 9216, 0, 0),
    ("SiLU inplace", SiLU(inplace=True), [MAPS], 0, 0, 9216),
    ("Mish", Mish(), [MAPS], 9216, 0, 0),
    ("Mish inplace", Mish(inplace=True), [MAPS], 0, 0, 9216),
    ("Hardswish", Hardswish(), [MAPS], 9216, 0, 0),
    ("Hardswish inplace", Hardswish(inplace=True), [MAPS], 0, 0, 9216),
    ("Hardsigmoid", Hardsigmoid(), [MAPS], 9216, 0, 0),
    ("Hardsigmoid inplace", Hardsigmoid(inplace=True), [MAPS], 0, 0, 9216),
    ("Hardtanh", Hardtanh(), [MAPS], 9216, 0, 0),
    ("Hardtanh inplace", Hardtanh(inplace=True), [MAPS], 0, 0, 9216),
    ("Softplus", Softplus(), [MAPS], 9216, 0, 0),
    ("Sigmoid", Sigmoid(), [MAPS], 0, 9216, 0),
    ("Tanh", Tanh(), [MAPS], 0, 9216, 0),
    ("Softmax(dim=1)", Softmax(), [MAPS], 0, 9216, 0),
    ("LogSoftmax(dim=1)", LogSoftmax(), [MAPS], 0, 9216, 0),
    ("MaxPool2d 2", MaxPool(2), [MAPS], 9216, 0, 4608),
    ("MaxPool2d 3 s2 p1 ceil", MaxPool(3, stride=2, padding=1, ceil_mode=True), [MAPS], 9216, 0, 6272),
    ("AvgPool2d 2", AvgPool(2), [MAPS], 9216, 0, 0),
    ("AdaptiveAvgPool2d(1)", GlobalAvgPool(keepdims=True), [MAPS], 0, 0, 0),
    ("mean((2,3))", GlobalAvgPool(), [MAPS], 0, 0, 0),
    ("add (two grads)", Add(), [MAPS, MAPS], 0, 0, 0),
    ("add inplace", Add(inplace=True), [MAPS, MAPS], 0, 0, 0),
    ("add of three", Add(), [MAPS, MAPS, MAPS], 0, 0, 0),
    ("mul two tensors (SE gate)", Multiply(), [GATE, MAPS], 9280, 0, 0),
    ("mul of three", Multiply(), [MAPS, GATE, MAPS], 18496, 0, 9216),
    ("mul of three, small ones first", Multiply(), [GATE, GATE, MAPS], 9344, 0, 64),
    ("maxout torch.max(a,b)", Maximum(), [MAPS, MAPS], 18432, 0, 0),
    ("torch.maximum of three", Maximum(), [MAPS, MAPS, MAPS], 27648, 0, 9216),
    ("cat 2", Concat(), [MAPS, MAPS], 0, 0, 0),
    ("cat 3", Concat(), [MAPS, MAPS, MAPS], 0, 0, 0),
    ("mul by a parameter (8, 1, 1)", Scale(), [MAPS], 9216, 0, 0),
    ("mul by a parameter, add another", Scale(bias=True), [MAPS], 9216, 0, 0),
    ("flatten", Flatten(), [MAPS], 0, 0, 0),
    ("Identity", Identity(), [MAPS], 0, 0, 0),
    ("Dropout train p=.5", Dropout(0.5), [MAPS], 0, 0, 9216),
    ("Dropout train p=0", Dropout(0), [MAPS], 0, 0, 0),
    ("Dropout inplace p=0", Dropout(0, inplace=True), [MAPS], 0, 0, 0),
    ("Dropout inplace", Dropout(0.5, inplace=True), [MAPS], 0, 0, 9216),
    ("Dropout2d train", Dropout(0.5, per_channel=True), [MAPS], 0, 0, 64),
    ("Dropout2d inplace", Dropout(0.5, per_channel=True, inplace=True), [MAPS], 0, 0, 64),
    ("StochasticDepth row", DropPath(0.2), [MAPS], 0, 0, 8),
    ("StochasticDepth batch", DropPath(0.2, mode="batch"), [MAPS], 0, 0, 4),
]


def byte_count(spec):
    return spec.footprint.byte_count(BATCH, spec.dtype or FLOAT32)


@pytest.mark.parametrize(
    ("layer", "shapes", "of_inputs", "of_output", "of_others"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_what_is_kept(layer, shapes, of_inputs, of_output, of_others):
    inputs = tuple(TensorSpec(shape) for shape in shapes)
    output = layer.infer(inputs)
    saved = layer.saved(inputs, output)
    assert sum(byte_count(inputs[number]) for number in saved.inputs) == of_inputs
    assert (byte_count(output) if saved.output else 0) == of_output
    assert sum(map(byte_count, layer.extras(inputs, output).values())) == of_others
    # What an in-place layer overwrites is gone: whatever it keeps of its input lies elsewhere.
    alias = layer.alias(inputs, output, training=True)
    assert not (alias and alias.in_place and alias.input in saved.inputs)


def test_the_table_is_whole():
    assert len(ROWS) == 82
    assert len({row[0] for row in ROWS}) == len(ROWS)
