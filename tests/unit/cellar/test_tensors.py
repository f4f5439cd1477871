"""Shapes, footprints, specs."""

import pickle

import numpy as np
import pytest
from attrs.exceptions import FrozenInstanceError
from hypothesis import given
from hypothesis import strategies as st

from cnnbudget import Bytes, Footprint, InvalidTypeError, InvalidValueError, Role, TensorSpec
from cnnbudget.dtypes import FLOAT16, FLOAT32, INT4, INT64
from cnnbudget.tensors import shape_of

AXES = st.integers(1, 2**63 - 1)
SHAPES = st.lists(AXES, max_size=5).map(tuple)
COUNTS = st.integers(0, 2**62)
FOOTPRINTS = st.builds(Footprint, COUNTS, COUNTS)


@given(SHAPES)
def test_shape_of_keeps_what_is_right(shape):
    assert shape_of(shape) is shape
    assert shape_of(list(shape)) == shape
    assert type(shape_of(list(shape))) is tuple


def test_numpy_axes_become_ints():
    assert [type(axis) for axis in shape_of((np.int64(3), np.uint8(2)))] == [int, int]


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (5, InvalidTypeError, "it must be a tuple of ints: got 5, expected (channels, *spatial)"),
        ("3x4", InvalidTypeError, "it must be a tuple of ints: got '3x4', expected (channels, *spatial)"),
        (None, InvalidTypeError, "it must be a tuple of ints: got None, expected (channels, *spatial)"),
        (
            np.array([3, 4]),
            InvalidTypeError,
            "it must be a tuple of ints: got array([3, 4]), expected (channels, *spatial)",
        ),
        ((3, 0), InvalidValueError, "it, axis 1 is out of range: got 0, expected an int from 1 to 99"),
        ((-3, 1), InvalidValueError, "it, axis 0 is out of range: got -3, expected an int from 1 to 99"),
        ((3, 100), InvalidValueError, "it, axis 1 is out of range: got 100, expected an int from 1 to 99"),
        ([3, 100], InvalidValueError, "it, axis 1 is out of range: got 100, expected an int from 1 to 99"),
        ((3, True), InvalidTypeError, "it, axis 1 must be an int: got True (bool), expected an int from 1 to 99"),
        ((3.0,), InvalidTypeError, "it, axis 0 must be an int: got 3.0 (float), expected an int from 1 to 99"),
        (((3,),), InvalidTypeError, "it, axis 0 must be an int: got (3,) (tuple), expected an int from 1 to 99"),
    ],
)
def test_shape_of_refuses(value, kind, text):
    with pytest.raises(kind) as caught:
        shape_of(value, "it", most=99)
    assert str(caught.value) == text


@given(FOOTPRINTS, FOOTPRINTS, st.integers(0, 2**30 - 1), st.integers(0, 2**30))
def test_a_footprint_is_affine_and_adds(one, two, batch, more):
    assert one.at(0) == one.fixed
    assert one.at(batch + more) - one.at(batch) == one.per_sample * more
    assert (one + two).at(batch) == one.at(batch) + two.at(batch)
    assert one + two == two + one
    assert one + Footprint() == one


@given(FOOTPRINTS, st.integers(0, 2**31 - 1))
def test_bytes_of_a_footprint(footprint, batch):
    size = footprint.byte_count(batch, FLOAT16)
    assert type(size) is Bytes and size == 2 * footprint.at(batch)
    assert footprint.byte_count(batch) == 4 * footprint.at(batch)
    assert footprint.byte_count() == 4 * (footprint.fixed + footprint.per_sample)
    assert footprint.byte_count(batch, INT4) == footprint.at(batch) // 2 + footprint.at(batch) % 2


@given(SHAPES, st.booleans())
def test_the_footprint_of_a_spec_counts_its_elements(shape, batched):
    spec = TensorSpec(shape, batched=batched)
    elements = 1
    for axis in shape:
        elements *= axis
    assert spec.element_count == elements
    assert spec.footprint.at(3) == (3 * elements if batched else elements)
    assert shape == (() if not shape else (spec.channels, *spec.spatial))


def test_a_spec_follows_the_precision_and_has_one_value_per_sample_unless_told():
    spec = TensorSpec([2, 3])
    assert (spec.shape, spec.role, spec.dtype, spec.batched) == ((2, 3), Role.ACTIVATION, None, True)


@given(SHAPES, st.sampled_from(list(Role)), st.sampled_from([None, FLOAT32, INT64]), st.booleans())
def test_specs_and_footprints_are_values(shape, role, dtype, batched):
    spec = TensorSpec(shape, role, dtype, batched)
    for value in (spec, spec.footprint):
        clone = pickle.loads(pickle.dumps(value))
        assert clone == value and hash(clone) == hash(value)
        with pytest.raises(FrozenInstanceError):
            value.shape = (1,)


def test_a_spec_needs_a_shape():
    with pytest.raises(
        InvalidValueError, match=r"^a shape, axis 1 is out of range: got 0, expected an int from 1 to 9223372036"
    ):
        TensorSpec((3, 0))
    with pytest.raises(
        InvalidTypeError, match=r"^a shape must be a tuple of ints: got 3, expected \(channels, \*spatial\)$"
    ):
        TensorSpec(3)


def test_elements_are_exact_where_int64_wraps():
    assert TensorSpec((2**31 - 1,) * 4).element_count == (2**31 - 1) ** 4
