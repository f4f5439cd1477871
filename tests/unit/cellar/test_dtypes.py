"""Widths, roles, precisions."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from attrs.exceptions import FrozenInstanceError
from hypothesis import given
from hypothesis import strategies as st

from cnnbudget import BF16, FP16, FP32, DType, InvalidTypeError, InvalidValueError, Precision, Role, dtypes
from cnnbudget.dtypes import BFLOAT16, BOOL, FLOAT16, FLOAT32, FLOAT64, INT4, INT8_DTYPE, INT32, INT64, UINT8

WITH_NUMPY = [FLOAT64, FLOAT32, FLOAT16, INT64, INT32, INT8_DTYPE, UINT8, BOOL]


@pytest.mark.parametrize("dtype", WITH_NUMPY, ids=str)
def test_widths_are_those_of_numpy(dtype):
    assert dtype.byte_count(7) == np.zeros(7, dtype=str(dtype)).nbytes
    assert dtype.bits == 8 * np.dtype(dtype.name).itemsize


def test_the_formats_that_numpy_has_not():
    assert (BFLOAT16.name, BFLOAT16.bits) == ("bfloat16", 16)
    assert (INT4.name, INT4.bits) == ("int4", 4)


@given(st.integers(0, 2**70), st.integers(1, 1024))
def test_bits_round_up_to_whole_bytes_once(elements, bits):
    count = DType("any", bits).byte_count(elements)
    assert type(count) is int
    assert 8 * (count - 1) < elements * bits <= 8 * count


def test_numpy_bits_work():
    assert type(DType("x", np.int64(8)).bits) is int


@pytest.mark.parametrize("bits", [0, -1, 1025, 2**70])
def test_bits_out_of_range(bits):
    with pytest.raises(
        InvalidValueError, match=rf"^DType\.bits is out of range: got {bits}, expected an int from 1 to 1024$"
    ):
        DType("x", bits)


@pytest.mark.parametrize("bits", [True, 8.0, "8", None, float("nan")])
def test_bits_of_the_wrong_type(bits):
    with pytest.raises(InvalidTypeError, match=r"^DType\.bits must be an int: got"):
        DType("x", bits)


def test_roles_are_the_ones_of_the_design():
    assert [str(role) for role in Role] == [
        "parameter",
        "buffer",
        "activation",
        "saved extra",
        "activation gradient",
        "parameter gradient",
        "optimizer state",
        "workspace",
    ]


@pytest.mark.parametrize("role", Role, ids=str)
def test_a_role_is_a_singleton(role):
    assert pickle.loads(pickle.dumps(role)) is role
    assert eval(repr(role)) is role
    assert {role: 1}[Role(role.value)] == 1


PRESETS = [(FP32, FLOAT32), (FP16, FLOAT16), (BF16, BFLOAT16)]


@pytest.mark.parametrize(("precision", "dtype"), PRESETS, ids=["FP32", "FP16", "BF16"])
@pytest.mark.parametrize("role", Role, ids=str)
def test_presets_give_every_role_its_width_and_buffers_32_bits(precision, dtype, role):
    assert precision[role] is (FLOAT32 if role is Role.BUFFER else dtype)


@pytest.mark.parametrize("precision", [FP32, FP16, BF16], ids=str)
def test_a_precision_is_a_value(precision):
    clone = pickle.loads(pickle.dumps(precision))
    assert clone == precision and hash(clone) == hash(precision)
    assert eval(repr(precision)) == precision
    assert str(precision) == precision.name
    assert getattr(dtypes, str(precision)) is precision
    with pytest.raises(FrozenInstanceError):
        precision.name = "x"


@given(st.dictionaries(st.sampled_from(list(Role)), st.sampled_from([INT8_DTYPE, FLOAT64, FLOAT16])), st.randoms())
def test_the_order_of_the_roles_means_nothing(mapping, random):
    pairs = list(mapping.items())
    random.shuffle(pairs)
    one, two = Precision("P", FLOAT32, mapping), Precision("P", FLOAT32, pairs)
    assert one == two and hash(one) == hash(two)
    for role in Role:
        assert one[role] == mapping.get(role, FLOAT32)


@pytest.mark.parametrize(
    "wrong",
    [
        {"activation": FLOAT16},
        {Role.ACTIVATION: "float16"},
        [Role.ACTIVATION],
        [(Role.ACTIVATION,)],
        [[Role.BUFFER, INT8_DTYPE]],
    ],
    ids=repr,
)
def test_what_maps_no_role_to_a_dtype_is_refused(wrong):
    with pytest.raises(
        InvalidTypeError,
        match=r"^Precision.dtypes must map roles to dtypes: got .*, expected a mapping such as \{Role.BUFFER: FLOAT32\}$",
    ):
        Precision("P", FLOAT32, wrong)


def test_pickles_of_precisions_open_in_another_process():
    code = "import pickle, sys; p = pickle.loads(bytes.fromhex(sys.argv[1])); import cnnbudget as c; assert {p: 1}[c.FP16] == 1"
    subprocess.run([sys.executable, "-c", code, pickle.dumps(FP16).hex()], check=True, capture_output=True, timeout=60)


@pytest.mark.parametrize("wrong", [5, None])
def test_what_is_no_mapping_is_refused(wrong):
    with pytest.raises(InvalidTypeError, match=r"^Precision\.dtypes must map roles to dtypes: got"):
        Precision("P", FLOAT32, wrong)


@pytest.mark.parametrize("wrong", ["float32", None, 32])
def test_a_default_that_is_no_dtype_is_refused(wrong):
    with pytest.raises(InvalidTypeError, match=r"^Precision\.default must be a DType: got"):
        Precision("P", wrong)


def test_autocast_to_no_width_is_refused():
    with pytest.raises(InvalidTypeError, match=r"^Precision\.autocast must be a DType: got 16, expected None, or for"):
        Precision("MINE", dtypes.FLOAT32, autocast=16)
