"""Checks of what users pass in."""

import numpy as np
import pytest
from attrs import Factory, field, frozen
from hypothesis import given
from hypothesis import strategies as st

from cnnbudget import InvalidTypeError, InvalidValueError
from cnnbudget.checks import (
    LARGEST,
    axes_from,
    exact_int,
    instance_of,
    int_from,
    is_axes,
    is_bool,
    is_int,
    is_number,
    one_of,
    short_repr,
)

NUMPY_INTS = [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64]
NO_INTS = [True, False, 1.0, float("nan"), "1", None, (1,), 1j, np.True_, np.float32(1), np.array([1]), int]


class Index:
    def __index__(self):
        return 3


@frozen(repr=False)
class Sample:
    """One field of every kind of check."""

    count: int = field(default=1, converter=int_from, validator=is_int(1, 10))
    axes: object = field(default=2, kw_only=True, converter=axes_from, validator=is_axes())
    flag: bool = field(default=False, kw_only=True, validator=is_bool)
    part: float = field(default=0.5, kw_only=True, validator=is_number(0, 1))
    inner: object = field(default=Index(), kw_only=True, validator=instance_of(Index, "Index()"))

    __repr__ = short_repr


@given(st.integers(-LARGEST, LARGEST), st.integers(-LARGEST, LARGEST), st.integers(-LARGEST, LARGEST))
def test_exact_int_takes_what_is_in_range(value, least, most):
    if least <= value <= most:
        assert exact_int(value, "it", least, most) == value
    else:
        with pytest.raises(InvalidValueError) as caught:
            exact_int(value, "it", least, most)
        assert str(caught.value) == f"it is out of range: got {value}, expected an int from {least} to {most}"


def test_the_largest_int_is_the_largest_of_32_bits():
    assert np.iinfo(np.int32).max == LARGEST
    assert exact_int(LARGEST, "it") == LARGEST
    for wrong in (LARGEST + 1, 2**70, 0, -1):
        with pytest.raises(
            InvalidValueError, match=f"^it is out of range: got {wrong}, expected an int from 1 to 2147483647$"
        ):
            exact_int(wrong, "it")


@pytest.mark.parametrize("kind", NUMPY_INTS)
def test_numpy_ints_become_ints(kind):
    assert type(exact_int(kind(7), "it")) is int and exact_int(kind(7), "it") == 7
    assert type(int_from(kind(7))) is int
    assert [type(axis) for axis in axes_from([kind(7), kind(8)])] == [int, int]


def test_whatever_has_an_index_is_an_int():
    assert exact_int(Index(), "it") == 3
    assert type(int_from(Index())) is int


@pytest.mark.parametrize("value", NO_INTS, ids=repr)
def test_everything_else_is_no_int(value):
    assert int_from(value) is value
    with pytest.raises(InvalidTypeError) as caught:
        exact_int(value, "it", 2, 9)
    assert caught.value.what == "it must be an int"
    assert caught.value.got == f"{value!r} ({type(value).__name__})"
    assert caught.value.expected == "an int from 2 to 9"


@pytest.mark.parametrize(
    ("value", "axes"),
    [(3, 3), ([1, 2], (1, 2)), ((1, 2), (1, 2)), ([], ()), ("12", "12"), (None, None), ((True,), (True,))],
)
def test_axes_from_normalises_and_leaves_the_rest(value, axes):
    assert axes_from(value) == axes
    assert type(axes_from(value)) is type(axes)


def test_the_sample_takes_what_is_right():
    sample = Sample(np.int64(10), axes=[np.int8(1), 2], flag=True, part=1)
    assert (sample.count, sample.axes, sample.flag, sample.part) == (10, (1, 2), True, 1)
    assert type(sample.count) is int


@pytest.mark.parametrize(
    ("fields", "kind", "text"),
    [
        ({"count": 0}, InvalidValueError, "Sample.count is out of range: got 0, expected an int from 1 to 10"),
        ({"count": 11}, InvalidValueError, "Sample.count is out of range: got 11, expected an int from 1 to 10"),
        (
            {"count": True},
            InvalidTypeError,
            "Sample.count must be an int: got True (bool), expected an int from 1 to 10",
        ),
        ({"axes": 0}, InvalidValueError, "Sample.axes is out of range: got 0, expected an int from 1 to 2147483647"),
        (
            {"axes": (1, 0)},
            InvalidValueError,
            "Sample.axes[1] is out of range: got 0, expected an int from 1 to 2147483647",
        ),
        (
            {"axes": "3"},
            InvalidTypeError,
            "Sample.axes must be an int: got '3' (str), expected an int from 1 to 2147483647",
        ),
        ({"axes": ()}, InvalidValueError, "Sample.axes is empty: got (), expected an int, or one int per spatial axis"),
        ({"flag": 1}, InvalidTypeError, "Sample.flag must be a bool: got 1, expected True or False"),
        ({"part": -0.5}, InvalidValueError, "Sample.part is out of range: got -0.5, expected a number from 0 to 1"),
        ({"part": 2}, InvalidValueError, "Sample.part is out of range: got 2, expected a number from 0 to 1"),
        (
            {"part": float("nan")},
            InvalidValueError,
            "Sample.part is out of range: got nan, expected a number from 0 to 1",
        ),
        (
            {"part": True},
            InvalidTypeError,
            "Sample.part must be a number: got True (bool), expected a number from 0 to 1",
        ),
        ({"part": "1"}, InvalidTypeError, "Sample.part must be a number: got '1' (str), expected a number from 0 to 1"),
        ({"inner": 5}, InvalidTypeError, "Sample.inner must be a Index: got 5, expected Index()"),
        ({"inner": int}, InvalidTypeError, "Sample.inner must be a Index: got <class 'int'>, expected Index()"),
    ],
)
def test_each_refusal_names_the_field(fields, kind, text):
    with pytest.raises(kind) as caught:
        Sample(**fields)
    assert str(caught.value) == text


def test_a_class_that_was_not_called_is_noted():
    with pytest.raises(InvalidTypeError, match=r"expected Index\(\); call it: Index\(\.\.\.\)$"):
        Sample(inner=Index)


def test_one_of():
    assert one_of("same", ("same", "valid"), "it") == "same"
    with pytest.raises(
        InvalidValueError, match=r"^it is an unknown word: got 'sam'; did you mean 'same'\? Known: 'same', 'valid'$"
    ):
        one_of("sam", ("same", "valid"), "it")
    with pytest.raises(InvalidTypeError, match=r"^it must be a word: got 3, expected one of 'same', 'valid'$"):
        one_of(3, ("same", "valid"), "it")


@frozen(repr=False)
class Foreign:
    """Fields as a dependent package might have them."""

    first: int
    needed: int = field(kw_only=True)
    made: list = field(default=Factory(list), kw_only=True)

    __repr__ = short_repr


@pytest.mark.parametrize("value", [Foreign(1, needed=2), Foreign((1, 2), needed="x", made=[3])], ids=repr)
def test_short_repr_evaluates_to_an_equal_value(value):
    assert eval(repr(value)) == value


def test_short_repr_leaves_out_keywords_that_have_their_default():
    assert repr(Sample(3)) == "Sample(3)"
    assert repr(Sample(1, flag=True, axes=2)) == "Sample(1, flag=True)"
    assert repr(Sample(part=0.25, axes=(1, 2))) == "Sample(1, axes=(1, 2), part=0.25)"
