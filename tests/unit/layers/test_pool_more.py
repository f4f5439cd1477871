"""LP, adaptive and global maximum pooling."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnbudget.dtypes import FLOAT32, INT64, Role
from cnnbudget.errors import InvalidTypeError, InvalidValueError, ShapeError
from cnnbudget.layers.base import Saved
from cnnbudget.layers.pool import AdaptiveAvgPool, AdaptiveMaxPool, AvgPool, GlobalAvgPool, GlobalMaxPool, LPPool
from cnnbudget.tensors import TensorSpec
from cnnbudget.testing import check_layer
from cnnbudget.windows import adaptive_windows

MAPS, LINE, CUBE = (8, 12, 12), (8, 12), (8, 12, 12, 12)
BATCH = 2

# Measured with torch 2.13 on a CPU, batch 2, 32-bit floats: the output, and bytes kept of input, output and anything else.
KEPT = [
    (AvgPool(2, count_include_pad=False), MAPS, (8, 6, 6), 9216, 0, 0),
    (AdaptiveAvgPool(1), LINE, (8, 1), 0, 0, 0),
    (AdaptiveAvgPool(1), MAPS, (8, 1, 1), 0, 0, 0),
    (AdaptiveAvgPool(1), CUBE, (8, 1, 1, 1), 0, 0, 0),
    (AdaptiveAvgPool((1, None)), (8, 12, 1), (8, 1, 1), 0, 0, 0),
    (AdaptiveAvgPool(5), LINE, (8, 5), 768, 0, 0),
    (AdaptiveAvgPool(5), MAPS, (8, 5, 5), 9216, 0, 0),
    (AdaptiveAvgPool(12), MAPS, MAPS, 9216, 0, 0),
    (AdaptiveAvgPool(None), MAPS, MAPS, 9216, 0, 0),
    (AdaptiveMaxPool(1), LINE, (8, 1), 768, 0, 128),
    (AdaptiveMaxPool(3), MAPS, (8, 3, 3), 9216, 0, 1152),
    (AdaptiveMaxPool(5), CUBE, (8, 5, 5, 5), 110592, 0, 16000),
    (LPPool(2, 2), LINE, (8, 6), 768, 0, 768 + 4 * 384),
    (LPPool(2, 2), MAPS, (8, 6, 6), 9216, 0, 18432),
    (LPPool(1, 2), MAPS, (8, 6, 6), 9216, 0, 18432),
    (LPPool(3.0, 2), CUBE, (8, 6, 6, 6), 110592, 0, 110592 + 4 * 13824),
    (GlobalAvgPool(), MAPS, (8,), 0, 0, 0),
    (GlobalMaxPool(), MAPS, (8,), 9216, 64, 0),
    (GlobalMaxPool(keepdims=True), MAPS, (8, 1, 1), 9216, 64, 0),
]


def byte_count(spec):
    return spec.footprint.byte_count(BATCH, spec.dtype or FLOAT32)


@pytest.mark.parametrize(("layer", "shape", "shape_after", "of_input", "of_output", "of_others"), KEPT, ids=repr)
def test_what_comes_out_and_what_is_kept(layer, shape, shape_after, of_input, of_output, of_others):
    inputs = (TensorSpec(shape),)
    output = layer.infer(inputs)
    assert output == TensorSpec(shape_after)
    assert layer.saved(inputs, output) == Saved(inputs=(0,) if of_input else (), output=bool(of_output))
    assert byte_count(inputs[0]) * bool(of_input) == of_input
    assert byte_count(output) * bool(of_output) == of_output
    extras = layer.extras(inputs, output)
    assert sum(map(byte_count, extras.values())) == of_others
    assert all(spec.role is Role.EXTRA for spec in extras.values())
    assert layer.parameters(inputs) == layer.buffers(inputs) == {}
    assert layer.macs(inputs, output) == 0
    assert layer.alias(inputs, output, training=True) is None
    check_layer(layer, shape)


def test_an_index_has_eight_bytes_and_powers_follow_the_precision():
    value = (TensorSpec(MAPS),)
    assert AdaptiveMaxPool(3).extras(value, TensorSpec((8, 3, 3)))["index"].dtype is INT64
    extras = LPPool(2, 2).extras(value, TensorSpec((8, 6, 6)))
    assert list(extras) == ["powers", "means", "signs", "magnitudes", "sums"]
    assert {spec.dtype for spec in extras.values()} == {None}


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("settings", [{}, {"stride": 2}, {"stride": (1, 3), "padding": 1}, {"padding": "same"}])
def test_every_window_pool_slides_alike(settings, ceil_mode):
    value = (TensorSpec((4, 17, 11)),)
    expected = AvgPool(3, ceil_mode=ceil_mode, **settings).infer(value)
    assert LPPool(2, 3, ceil_mode=ceil_mode, **settings).infer(value) == expected
    assert AvgPool(3, ceil_mode=ceil_mode, count_include_pad=False, **settings).infer(value) == expected


def test_how_they_are_written():
    assert repr(LPPool(2, 3, stride=2)) == "LPPool(2, 3, stride=2)"
    assert repr(AvgPool(2, count_include_pad=False)) == "AvgPool(2, count_include_pad=False)"
    assert repr(AdaptiveAvgPool([7, None])) == "AdaptiveAvgPool((7, None))"
    assert AdaptiveMaxPool(np.int64(3)) == AdaptiveMaxPool(3)
    assert LPPool(np.float64(2), 3) == LPPool(2.0, 3)


@given(st.integers(1, 60), st.integers(1, 60))
def test_adaptive_windows_cover_the_axis_evenly(n, size):
    windows = adaptive_windows(n, size)
    assert len(windows) == size
    assert windows[0][0] == 0 and windows[-1][1] == n
    assert {position for start, stop in windows for position in range(start, stop)} == set(range(n))
    assert windows == tuple(sorted(windows))
    lengths = {stop - start for start, stop in windows}
    assert min(lengths) >= 1 and max(lengths) <= -(-n // size) + 1
    if n % size == 0:
        assert lengths == {n // size}
    assert [(n - stop, n - start) for start, stop in reversed(windows)] == list(windows)  # the same from the other end


@pytest.mark.parametrize("kind", [AdaptiveAvgPool, AdaptiveMaxPool])
@pytest.mark.parametrize(
    ("size", "error", "text"),
    [
        (0, InvalidValueError, "size is out of range: got 0, expected an int from 1 to 2147483647"),
        (True, InvalidTypeError, "size must be an int: got True (bool)"),
        (7.0, InvalidTypeError, "size must be an int: got 7.0 (float)"),
        ("7", InvalidTypeError, "size must be an int: got '7' (str)"),
        ((), InvalidValueError, "size is empty: got (), expected a size, or one per spatial axis; None keeps it"),
        ((7, -1), InvalidValueError, "size[1] is out of range: got -1"),
        ((None, 2.5), InvalidTypeError, "size[1] must be an int: got 2.5 (float)"),
    ],
)
def test_a_size_is_an_int_or_none_per_axis(kind, size, error, text):
    with pytest.raises(error) as caught:
        kind(size)
    assert str(caught.value).startswith(f"{kind.__name__}.{text}")


@pytest.mark.parametrize("norm", [0, -1, True, "2", float("nan"), None])
def test_a_norm_is_a_positive_number(norm):
    with pytest.raises((InvalidTypeError, InvalidValueError), match=r"LPPool\.norm"):
        LPPool(norm, 2)


@pytest.mark.parametrize("layer", [AdaptiveAvgPool(1), AdaptiveMaxPool(1), LPPool(2, 2), GlobalMaxPool()])
def test_a_vector_has_no_maps(layer):
    with pytest.raises(ShapeError) as caught:
        layer.infer((TensorSpec((10,)),))
    assert str(caught.value) == (
        f"{type(layer).__name__} does not take this shape: got (10,), expected (channels, *spatial) with at least one spatial axis"
    )


def test_sizes_must_match_the_axes():
    with pytest.raises(
        ShapeError, match=r"AdaptiveAvgPool\.size does not match the number of spatial axes: got 3 values"
    ):
        AdaptiveAvgPool((1, 2, 3)).infer((TensorSpec(MAPS),))
