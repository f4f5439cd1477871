"""Upsampling."""

import numpy as np
import pytest

from cnnbudget.errors import InvalidTypeError, InvalidValueError, ShapeError
from cnnbudget.layers.base import Saved
from cnnbudget.layers.resize import Upsample
from cnnbudget.tensors import TensorSpec
from cnnbudget.testing import check_layer

MAPS = (8, 12, 12)


@pytest.mark.parametrize(
    ("layer", "shape", "output"),
    [
        (Upsample(2), (256, 13, 13), (256, 26, 26)),
        (Upsample((1, 3)), (4, 5, 6), (4, 5, 18)),
        (Upsample(2), (4, 9), (4, 18)),
        (Upsample(1.5, mode="trilinear"), (1, 3, 4, 5), (1, 4, 6, 7)),
        (Upsample(size=7), (4, 200, 300), (4, 7, 7)),
        (Upsample(size=(30, 40), mode="bilinear"), (4, 200, 300), (4, 30, 40)),
        (Upsample(size=5, mode="linear"), (4, 9), (4, 5)),
        (Upsample(0.1), (1, 30), (1, 3)),  # torch 2.13: the product is rounded first, 30 * 0.1 = 3.0
        (Upsample(1.1), (1, 10), (1, 11)),
        (Upsample(1.15), (1, 100), (1, 114)),  # and 100 * 1.15 = 114.99999999999999
    ],
    ids=repr,
)
def test_sizes(layer, shape, output):
    value = (TensorSpec(shape),)
    assert layer.infer(value) == TensorSpec(output)
    assert layer.parameters(value) == layer.buffers(value) == layer.extras(value, TensorSpec(output)) == {}
    assert layer.macs(value, TensorSpec(output)) == 0
    assert layer.alias(value, TensorSpec(output), training=True) is None
    check_layer(layer, shape)


@pytest.mark.parametrize(
    ("layer", "shape", "kept"),
    [  # measured with torch 2.13 on a CPU
        (Upsample(2), MAPS, False),
        (Upsample(1), MAPS, False),
        (Upsample(2, mode="nearest-exact"), MAPS, False),
        (Upsample(2, mode="linear"), (8, 12), False),
        (Upsample(2, mode="bilinear"), MAPS, False),
        (Upsample(2, mode="bicubic"), MAPS, False),
        (Upsample(2, mode="trilinear"), (8, 12, 12, 12), False),
        (Upsample(2, mode="area"), (8, 12), True),
        (Upsample(2, mode="area"), MAPS, True),
        (Upsample(size=12, mode="area"), MAPS, True),
        (Upsample(size=1, mode="area"), MAPS, False),
    ],
    ids=repr,
)
def test_what_a_training_step_keeps(layer, shape, kept):
    value = (TensorSpec(shape),)
    assert layer.saved(value, layer.infer(value)) == (Saved(inputs=(0,)) if kept else Saved())


@pytest.mark.parametrize(
    ("mode", "ranks"),
    [  # which torch 2.13 accepts
        ("nearest", {1, 2, 3}),
        ("nearest-exact", {1, 2, 3}),
        ("area", {1, 2, 3}),
        ("linear", {1}),
        ("bilinear", {2}),
        ("bicubic", {2}),
        ("trilinear", {3}),
    ],
)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_modes_and_spatial_axes(mode, ranks, rank):
    layer, value = Upsample(2, mode=mode), (TensorSpec((4, *(5,) * rank)),)
    if rank in ranks:
        assert layer.infer(value).shape == (4, *(10,) * rank)
        return
    with pytest.raises(ShapeError) as caught:
        layer.infer(value)
    assert str(caught.value).startswith(
        f"Upsample.mode '{mode}' does not match the number of spatial axes: got {value[0].shape}, expected {min(ranks)} of them; "
        f"for {rank} there are 'nearest', 'nearest-exact', "
    )


def test_how_it_is_written():
    assert repr(Upsample(2)) == "Upsample(2)"
    assert Upsample([2, 1.5]) == Upsample((2, 1.5)) == Upsample((np.int64(2), np.float64(1.5)))
    assert repr(Upsample(np.int64(2), mode="bilinear")) == "Upsample(2, mode='bilinear')"
    assert Upsample(np.float64(2.5)) == Upsample(2.5)


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({}, InvalidValueError, "Upsample needs a scale or a size, and not both: got scale None, size None"),
        (
            {"scale": 2, "size": 4},
            InvalidValueError,
            "Upsample needs a scale or a size, and not both: got scale 2, size 4",
        ),
        ({"scale": 0}, InvalidValueError, "Upsample.scale is out of range: got 0"),
        ({"scale": float("nan")}, InvalidValueError, "Upsample.scale is out of range: got nan"),
        ({"scale": float("inf")}, InvalidValueError, "Upsample.scale is out of range: got inf"),
        ({"scale": (2, -1)}, InvalidValueError, "Upsample.scale is out of range: got -1"),
        ({"scale": True}, InvalidTypeError, "Upsample.scale must be a number: got True (bool)"),
        ({"scale": "2"}, InvalidTypeError, "Upsample.scale must be a number: got '2' (str)"),
        ({"scale": ()}, InvalidValueError, "Upsample.scale is empty: got (), expected a number, or one number per"),
        ({"size": 0}, InvalidValueError, "Upsample.size is out of range: got 0"),
        ({"size": 2.0}, InvalidTypeError, "Upsample.size must be an int: got 2.0 (float)"),
        (
            {"scale": 2, "mode": "cubic"},
            InvalidValueError,
            "Upsample.mode is an unknown word: got 'cubic'; did you mean",
        ),
        ({"scale": 2, "mode": 1}, InvalidTypeError, "Upsample.mode must be a word: got 1"),
    ],
)
def test_bad_settings(settings, error, text):
    with pytest.raises(error) as caught:
        Upsample(**settings)
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(
    ("layer", "shape", "text"),
    [
        (Upsample(0.1), (4, 7, 38), "Upsample.scale leaves nothing of a spatial axis: got scale 0.1 on (4, 7, 38)"),
        (Upsample((2, 2, 2)), (4, 7, 38), "Upsample.scale does not match the number of spatial axes: got 3 values"),
        (Upsample(size=(2,)), (4, 7, 38), "Upsample.size does not match the number of spatial axes: got 1 values"),
        (Upsample(2), (4,), "Upsample does not take this shape: got (4,)"),
    ],
    ids=repr,
)
def test_what_does_not_fit(layer, shape, text):
    with pytest.raises(ShapeError) as caught:
        layer.infer((TensorSpec(shape),))
    assert str(caught.value).startswith(text)
