"""Pooling."""

import pytest

from cnnbudget import AvgPool, GlobalAvgPool, MaxPool, Role, Saved, ShapeError, TensorSpec
from cnnbudget.dtypes import INT64

WINDOWED = [MaxPool(2), AvgPool(2)]


@pytest.mark.parametrize(
    ("layer", "shape", "output"),
    [
        (MaxPool(3, stride=2), (96, 55, 55), (96, 27, 27)),  # AlexNet overlaps its windows
        (MaxPool(3, stride=2, padding=1), (64, 112, 112), (64, 56, 56)),  # ResNet
        (MaxPool(3, stride=2, ceil_mode=True), (64, 112, 112), (64, 56, 56)),  # GoogLeNet
        (MaxPool(2), (64, 224, 224), (64, 112, 112)),  # VGG: the stride is the kernel
        (AvgPool(2), (6, 28, 28), (6, 14, 14)),  # LeNet-5
        (AvgPool((2, 3)), (4, 8, 9), (4, 4, 3)),
        (AvgPool(3, padding="same"), (4, 8, 9), (4, 3, 3)),
        (MaxPool(2, padding="valid"), (4, 7), (4, 3)),
        (MaxPool(3, stride=1, padding=((1, 0),)), (4, 7), (4, 6)),
        (MaxPool(2, stride=1, dilation=3), (4, 7), (4, 4)),
        (MaxPool((2, 2, 2)), (1, 4, 6, 8), (1, 2, 3, 4)),
        (GlobalAvgPool(), (512, 7, 7), (512,)),
        (GlobalAvgPool(), (512, 7), (512,)),
        (GlobalAvgPool(keepdims=True), (512, 7, 5), (512, 1, 1)),
    ],
    ids=repr,
)
def test_known_outputs(layer, shape, output):
    assert layer.infer((TensorSpec(shape),)) == TensorSpec(output)


@pytest.mark.parametrize("layer", [*WINDOWED, GlobalAvgPool()], ids=repr)
def test_pooling_learns_nothing_and_shares_nothing(layer):
    value = (TensorSpec((8, 12, 12)),)
    output = layer.infer(value)
    assert layer.parameters(value) == layer.buffers(value) == {}
    assert layer.macs(value, output) == 0
    assert layer.alias(value, output, training=True) is None


# Measured in PyTorch 2.13 with batch 2, 32 bits and an input of 2x8x12x12 (9,216 bytes): bytes kept for backward.
@pytest.mark.parametrize(
    ("layer", "kept"),
    [
        (MaxPool(2), 9_216 + 4_608),
        (MaxPool(3, stride=2, padding=1, ceil_mode=True), 9_216 + 6_272),
        (AvgPool(2), 9_216),
        (GlobalAvgPool(), 0),
    ],
    ids=repr,
)
def test_what_is_kept_for_backward(layer, kept):
    value = TensorSpec((8, 12, 12))
    output = layer.infer((value,))
    saved, extras = layer.saved((value,), output), layer.extras((value,), output)
    assert not saved.output
    total = sum(value.footprint.byte_count(2) for _ in saved.inputs)
    total += sum(spec.footprint.byte_count(2, spec.dtype) for spec in extras.values())
    assert total == kept


def test_max_pooling_keeps_an_index_per_output():
    layer, value = MaxPool(2), (TensorSpec((8, 12, 12)),)
    output = layer.infer(value)
    assert layer.saved(value, output) == Saved(inputs=(0,))
    assert layer.extras(value, output) == {"index": TensorSpec((8, 6, 6), Role.EXTRA, INT64)}


@pytest.mark.parametrize("layer", [*WINDOWED, GlobalAvgPool()], ids=repr)
@pytest.mark.parametrize("shape", [(), (5,)])
def test_pooling_needs_a_spatial_axis(layer, shape):
    with pytest.raises(ShapeError) as caught:
        layer.infer((TensorSpec(shape),))
    assert str(caught.value) == (
        f"{type(layer).__name__} does not take this shape: got {shape}, "
        "expected (channels, *spatial) with at least one spatial axis"
    )


def test_a_stride_that_is_the_kernel_may_be_said():
    value = (TensorSpec((2, 9, 9)),)
    assert MaxPool(3, stride=3).infer(value) == MaxPool(3).infer(value)
    assert MaxPool(3, stride=3) != MaxPool(3)
    assert MaxPool(2) != AvgPool(2)
