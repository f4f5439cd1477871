"""Bad input to every field of every layer, and to sizes in bytes: one clear error each, of the right class, that pickles."""

import pickle
import re

import attrs
import numpy as np
import pytest

from cnnbudget import (
    AvgPool,
    BatchNorm,
    Bytes,
    CnnBudgetError,
    Conv,
    Dropout,
    Flatten,
    GlobalAvgPool,
    InvalidTypeError,
    InvalidValueError,
    Linear,
    LocalResponseNorm,
    MaxPool,
    ReLU,
    ShapeError,
    Sigmoid,
    Softmax,
    Tanh,
    TensorSpec,
    parse_bytes,
)

# A right value for each field, and the kind of check that it has.
FIELDS = {
    (Conv, "filters"): "int",
    (Conv, "kernel"): "axes",
    (Conv, "stride"): "axes",
    (Conv, "padding"): "padding",
    (Conv, "dilation"): "axes",
    (Conv, "groups"): "int",
    (Conv, "bias"): "bool",
    (Linear, "features"): "int",
    (Linear, "bias"): "bool",
    (Linear, "axis"): "axis or None",
    (MaxPool, "kernel"): "axes",
    (MaxPool, "stride"): "axes or None",
    (MaxPool, "padding"): "padding",
    (MaxPool, "ceil_mode"): "bool",
    (MaxPool, "dilation"): "axes",
    (AvgPool, "kernel"): "axes",
    (AvgPool, "stride"): "axes or None",
    (AvgPool, "padding"): "padding",
    (AvgPool, "ceil_mode"): "bool",
    (AvgPool, "count_include_pad"): "bool",
    (Flatten, "start"): "axis",
    (Flatten, "end"): "axis",
    (GlobalAvgPool, "keepdims"): "bool",
    (BatchNorm, "affine"): "bool",
    (BatchNorm, "track_running_stats"): "bool",
    (BatchNorm, "count_batches"): "bool",
    (BatchNorm, "scale"): "bool",
    (LocalResponseNorm, "size"): "int",
    (LocalResponseNorm, "alpha"): "number to 1000000.0",
    (LocalResponseNorm, "beta"): "number to 1000000.0",
    (LocalResponseNorm, "k"): "number to 1000000.0",
    (ReLU, "inplace"): "bool",
    (Softmax, "axis"): "axis",
    (Dropout, "rate"): "number to 1",
    (Dropout, "inplace"): "bool",
    (Dropout, "per_channel"): "bool",
}
WITHOUT_FIELDS = {Sigmoid, Tanh}
WORDS = {(Conv, "padding_mode")}
NEEDED = {Conv: {"filters": 8, "kernel": 3}, Linear: {"features": 8}, MaxPool: {"kernel": 2}, AvgPool: {"kernel": 2}}

NAN, INF, HUGE = float("nan"), float("inf"), 2**70
NO_INTS = [
    True, False, 1.0, NAN, INF, "3", b"3", {1}, {1: 1}, 1j, int, np.True_, np.float64(3), np.float32(3), np.array([3]),
    np.array([3.5]), np.array([1, 2]),
]  # fmt: skip
NO_BOOLS = [0, 1, 1.0, NAN, "True", None, (True,), np.True_, np.int64(1), np.array([True])]
NO_NUMBERS = [True, "0.5", None, (0.5,), 1j, np.True_, np.float32(0.5), np.array([0.5]), np.array(0.5)]
TO_LARGEST = "to 2147483647"


def cases(kind):
    """Bad values of a kind of field: the value, the class of its error, what else the text says, what was expected."""
    if kind == "bool":
        yield from ((value, InvalidTypeError, " must be a bool", "True or False") for value in NO_BOOLS)
    elif kind.startswith("number"):
        expected = f"a number from 0 {kind.removeprefix('number ')}"
        yield from ((value, InvalidTypeError, " must be a number", expected) for value in NO_NUMBERS)
        for value in (-1, -1e-9, NAN, INF, -INF, HUGE, 10**5000, 1e7, np.float64(-1)):
            yield value, InvalidValueError, " is out of range", expected
    else:
        kind, optional = kind.removesuffix(" or None"), kind.endswith(" or None")
        least = {"padding": 0, "axis": -8}.get(kind, 1)
        expected = f"an int from {least} " + ("to 7" if kind == "axis" else TO_LARGEST)
        none = [] if optional else [None]
        no_ints = NO_INTS if kind != "padding" else [value for value in NO_INTS if not isinstance(value, str)]
        yield from ((value, InvalidTypeError, " must be an int", expected) for value in [*no_ints, *none])
        for value in (HUGE, -HUGE, 10**5000, np.int64(2**40), least - 1, np.int64(least - 1), 2**31):
            yield value, InvalidValueError, " is out of range", expected
        if kind in {"int", "axis"}:
            yield from ((value, InvalidTypeError, " must be an int", expected) for value in [(), (3,), [3], (3, 3)])
        else:
            for value in ((1, least - 1), [1, HUGE], (1, np.int64(least - 1))):
                yield value, InvalidValueError, "[1] is out of range", expected
            for value in ((1, True), (1, 1.0), [1, NAN], (1, "1"), (1, None), (1, np.True_), (1, np.float64(1))):
                yield value, InvalidTypeError, "[1] must be an int", expected
        if kind.startswith("axes"):
            yield from ((value, InvalidValueError, " is empty", "one int per spatial axis") for value in ((), []))
            yield ((1, 1), 1), InvalidTypeError, "[0] must be an int", expected
        if kind == "padding":
            for value in ((), [], ((1, 1), 1), (1, (1, 1)), ((1,),), ((1, 1, 1),), ((1, 1), ()), ((),), [[1, 2], [3]]):
                yield value, InvalidValueError, " is not readable", "one (before, after) pair per spatial axis"
            for value in (((1, 1), (1, -1)), [[0, 0], [HUGE, 0]]):
                yield value, InvalidValueError, "[1] is out of range", expected
            for value in (((1, 1), (1, True)), (("a", 0), (0, 0)), ((NAN, 0),)):
                axis = 1 if value[0] == (1, 1) else 0
                yield value, InvalidTypeError, f"[{axis}] must be an int", expected


def named(value):
    try:
        return repr(value)
    except ValueError:  # an int of 5,000 digits
        return type(value).__name__


def check(error, kind):
    """What holds for every error of the family."""
    assert type(error) is kind
    assert isinstance(error, CnnBudgetError)
    clone = pickle.loads(pickle.dumps(error))
    assert type(clone) is kind and str(clone) == str(error)
    for part in ("what", "where", "got", "expected", "hint"):
        assert getattr(clone, part) == getattr(error, part)
    assert "\n" not in str(error) and len(str(error)) < 500


TABLE = [
    pytest.param(layer, name, *case, id=f"{layer.__name__}.{name}={named(case[0])}")
    for (layer, name), kind in FIELDS.items()
    for case in cases(kind)
]


def test_the_table_has_every_field_of_every_layer():
    layers = {layer for layer, _ in FIELDS} | WITHOUT_FIELDS
    assert {(layer, attribute.name) for layer in layers for attribute in attrs.fields(layer)} == set(FIELDS) | WORDS


@pytest.mark.parametrize(("layer", "name", "value", "kind", "what", "expected"), TABLE)
def test_a_bad_field_is_refused_by_name(layer, name, value, kind, what, expected):
    right = NEEDED.get(layer, {})
    with pytest.raises(kind) as caught:
        layer(**right | {name: value})
    check(caught.value, kind)
    assert caught.value.what == f"{layer.__name__}.{name}{what}"
    assert caught.value.got
    assert caught.value.expected.endswith(expected)
    with pytest.raises(kind) as again:
        layer(**right).evolve(**{name: value})
    assert str(again.value) == str(caught.value)


@pytest.mark.parametrize(("layer", "name"), [key for key, kind in FIELDS.items() if kind != "bool"])
@pytest.mark.parametrize("number", [np.int8, np.int32, np.int64, np.uint8, np.uint64])
def test_numpy_ints_work_where_ints_do(layer, name, number):
    value = number(1)
    if FIELDS[layer, name].startswith("number"):
        with pytest.raises(InvalidTypeError, match=f"^{layer.__name__}.{name} must be a number: got np."):
            layer(**NEEDED.get(layer, {}) | {name: value})
        return
    made = getattr(layer(**NEEDED.get(layer, {}) | {name: value}), name)
    assert type(made) is int and made == 1
    if FIELDS[layer, name].startswith(("axes", "padding")):
        assert getattr(layer(**NEEDED.get(layer, {}) | {name: [value, value]}), name) == (1, 1)


@pytest.mark.parametrize("layer", [Conv, MaxPool, AvgPool], ids=lambda layer: layer.__name__)
@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("smae", "did you mean 'same'? Known: 'same', 'valid'"),
        ("SAME", "did you mean 'same'? Known: 'same', 'valid'"),
        ("vaild", "did you mean 'valid'? Known: 'same', 'valid'"),
        ("full", "Known: 'same', 'valid'"),
        ("", "Known: 'same', 'valid'"),
        ("3", "Known: 'same', 'valid'"),
        ("x" * 10_000, "Known: 'same', 'valid'"),
    ],
    ids=lambda text: text[:12],
)
def test_an_unknown_padding_word_gets_a_guess(layer, word, hint):
    with pytest.raises(InvalidValueError) as caught:
        layer(**NEEDED[layer], padding=word)
    check(caught.value, InvalidValueError)
    assert caught.value.what == f"{layer.__name__}.padding is an unknown word"
    assert caught.value.got.startswith(f"'{word[:10]}")
    assert caught.value.hint == hint


SPATIAL = "(channels, *spatial) with at least one spatial axis"
ONE_OR_2 = "one value, or 2 of them"
NO_SHAPE = " does not take this shape"
NO_MATCH = " does not match the number of spatial axes"
TOO_LARGE = "{}: the window is larger than the padded input along spatial axis {}"
TOO_MUCH = "{}.padding is more than half of the kernel along spatial axis {}"


@pytest.mark.parametrize(
    ("layer", "shape", "what", "got", "expected"),
    [
        # wrong rank of the input
        (Conv(8, 3), (), "Conv" + NO_SHAPE, "()", SPATIAL),
        (Conv(8, 3), (8,), "Conv" + NO_SHAPE, "(8,)", SPATIAL),
        (MaxPool(2), (8,), "MaxPool" + NO_SHAPE, "(8,)", SPATIAL),
        (AvgPool(2), (8,), "AvgPool" + NO_SHAPE, "(8,)", SPATIAL),
        (GlobalAvgPool(), (8,), "GlobalAvgPool" + NO_SHAPE, "(8,)", SPATIAL),
        (LocalResponseNorm(), (8,), "LocalResponseNorm" + NO_SHAPE, "(8,)", SPATIAL),
        (Linear(8), (8, 4, 4), "Linear" + NO_SHAPE, "(8, 4, 4)", "(features,)"),
        (BatchNorm(), (), "BatchNorm" + NO_SHAPE, "()", "(channels, *spatial) with any number of spatial axes"),
        (Softmax(axis=3), (8, 4, 4), "Softmax.axis is not an axis of the input", "3 on (8, 4, 4)", "-3 to 2"),
        # wrong rank of a setting
        (Conv(8, (3,)), (8, 9, 9), "Conv.kernel" + NO_MATCH, "1 values, (3,)", ONE_OR_2),
        (Conv(8, 3, stride=(1, 1, 1)), (8, 9, 9), "Conv.stride" + NO_MATCH, "3 values, (1, 1, 1)", ONE_OR_2),
        (Conv(8, 3, padding=(1,)), (8, 9, 9), "Conv.padding" + NO_MATCH, "1 values, (1,)", ONE_OR_2),
        (Conv(8, 3, padding=((1, 1),)), (8, 9, 9), "Conv.padding" + NO_MATCH, "1 values, ((1, 1),)", ONE_OR_2),
        (Conv(8, 3, dilation=(1,)), (8, 9, 9), "Conv.dilation" + NO_MATCH, "1 values, (1,)", ONE_OR_2),
        (MaxPool((2, 2, 2)), (8, 9, 9), "MaxPool.kernel" + NO_MATCH, "3 values, (2, 2, 2)", ONE_OR_2),
        (AvgPool(2, stride=(2,)), (8, 9, 9), "AvgPool.stride" + NO_MATCH, "1 values, (2,)", ONE_OR_2),
        # a window that does not fit
        (
            Conv(8, 5),
            (8, 9, 4),
            TOO_LARGE.format("Conv", 1),
            "window 5 (kernel 5, dilation 1) on 4 + 0 of padding",
            "a window of at most 4",
        ),
        (
            Conv(8, 3, dilation=4, padding=1),
            (8, 6, 6),
            TOO_LARGE.format("Conv", 0),
            "window 9 (kernel 3, dilation 4) on 6 + 2 of padding",
            "a window of at most 8",
        ),
        (
            MaxPool(3),
            (8, 9, 2),
            TOO_LARGE.format("MaxPool", 1),
            "window 3 (kernel 3, dilation 1) on 2 + 0 of padding",
            "a window of at most 2",
        ),
        (
            AvgPool(2**31 - 1),
            (8, 9),
            TOO_LARGE.format("AvgPool", 0),
            "window 2147483647 (kernel 2147483647, dilation 1) on 9 + 0 of padding",
            "a window of at most 9",
        ),
        # groups that do not divide
        (
            Conv(8, 1, groups=3),
            (9, 4),
            "Conv.groups must divide the channels and the filters",
            "3 groups on 9 channels and 8 filters",
            "a divisor of both",
        ),
        (
            Conv(9, 1, groups=3),
            (8, 4),
            "Conv.groups must divide the channels and the filters",
            "3 groups on 8 channels and 9 filters",
            "a divisor of both",
        ),
        # pooling with too much padding
        (
            MaxPool(2, padding=2),
            (8, 9),
            TOO_MUCH.format("MaxPool", 0),
            "padding (2, 2), kernel 2",
            "at most 1 on each side",
        ),
        (
            MaxPool(3, padding=2, dilation=2),
            (8, 9),
            TOO_MUCH.format("MaxPool", 0),
            "padding (2, 2), kernel 3",
            "at most 1 on each side",
        ),
        (
            AvgPool(3, padding=((1, 1), (0, 2))),
            (8, 9, 9),
            TOO_MUCH.format("AvgPool", 1),
            "padding (0, 2), kernel 3",
            "at most 1 on each side",
        ),
        (
            AvgPool(1, padding=1),
            (8, 9),
            TOO_MUCH.format("AvgPool", 0),
            "padding (1, 1), kernel 1",
            "at most 0 on each side",
        ),
    ],
    ids=repr,
)
def test_a_layer_that_cannot_be_applied_says_why(layer, shape, what, got, expected):
    with pytest.raises(ShapeError) as caught:
        layer.infer((TensorSpec(shape),))
    check(caught.value, ShapeError)
    assert (caught.value.what, caught.value.got, caught.value.expected) == (what, got, expected)
    assert f"{what}: got {got}, expected {expected}" in str(caught.value)


NO_SIZE = [
    "", " ", "8", "GiB", "eight GiB", "-8 GiB", "+8 GiB", "8,5 GiB", "1,000 MB", "1e3 MB", ".5 GiB", "5. GiB", "8 GiB x", "8 Gi B",
    "0x10 B", "nan GiB", "inf GiB", "8\xa0GiB", "\u0668 GiB", "9" * 26 + " B", "1." + "1" * 26 + " B", " " * 100 + "8 GiB",
]  # fmt: skip


@pytest.mark.parametrize("size", NO_SIZE)
def test_an_unparsable_size(size):
    with pytest.raises(InvalidValueError) as caught:
        parse_bytes(size)
    check(caught.value, InvalidValueError)
    assert caught.value.what == "cannot read a size"
    assert caught.value.got.startswith("'" + repr(size)[1:8].rstrip("'"))
    assert "such as '8 GiB', '500 MB' or '11.2GiB', or an int of bytes" in caught.value.expected


@pytest.mark.parametrize(
    ("size", "unit", "hint"),
    [
        ("8 gib", "gib", "did you mean 'GiB'?"),
        ("500 mb", "mb", "did you mean 'MB'?"),
        ("500 Mb", "Mb", "did you mean 'MB'?"),
        ("8 b", "b", "did you mean 'B'?"),
        ("8 G", "G", None),
        ("8 bytes", "bytes", None),
        ("8 GiBB", "GiBB", None),
    ],
)
def test_an_unknown_unit(size, unit, hint):
    with pytest.raises(InvalidValueError) as caught:
        parse_bytes(size)
    check(caught.value, InvalidValueError)
    assert caught.value.what == f"unknown unit {unit!r} in a size"
    assert caught.value.got == repr(size)
    assert "powers of 1000" in caught.value.expected and "powers of 1024" in caught.value.expected
    assert caught.value.hint == hint


@pytest.mark.parametrize("size", [0, -1, -HUGE, np.int64(-5), Bytes(0), "0 B", "0.0 GiB", "0.5 B"], ids=repr)
def test_a_size_must_be_positive(size):
    with pytest.raises(InvalidValueError) as caught:
        parse_bytes(size)
    check(caught.value, InvalidValueError)
    assert caught.value.what == "a size must be positive"
    assert caught.value.got == repr(size)


NO_BYTES = [
    *(True, False, 1.0, NAN, INF, None, b"8", (8,), [8], {}, 1j, np.True_, np.float64(8), np.float32(8)),
    *(np.array([8]), np.array([8.5]), int),
]


@pytest.mark.parametrize("take", [Bytes, parse_bytes])
@pytest.mark.parametrize("value", NO_BYTES, ids=repr)
def test_what_is_no_number_of_bytes(take, value):
    with pytest.raises(InvalidTypeError) as caught:
        take(value)
    check(caught.value, InvalidTypeError)
    assert caught.value.what == "a number of bytes must be an int"
    assert caught.value.got == repr(value)
    assert "or an int of bytes" in caught.value.expected


def test_bytes_do_not_parse_text():
    with pytest.raises(InvalidTypeError, match=re.escape("a number of bytes must be an int: got '8 GiB', expected")):
        Bytes("8 GiB")


@pytest.mark.parametrize("number", [np.int8, np.int64, np.uint64])
def test_numpy_ints_are_numbers_of_bytes(number):
    for take in (Bytes, parse_bytes):
        assert take(number(8)) == 8 and type(take(number(8))) is Bytes
    assert Bytes(HUGE) == parse_bytes(HUGE) == HUGE
    assert Bytes(-5) == -5  # a difference may be negative


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        ("reflekt", InvalidValueError, "Conv.padding_mode is an unknown word: got 'reflekt'; did you mean 'reflect'? "),
        (3, InvalidTypeError, "Conv.padding_mode must be a word: got 3, expected one of 'zeros', "),
        (None, InvalidTypeError, "Conv.padding_mode must be a word: got None, expected one of 'zeros', "),
    ],
)
def test_an_unknown_padding_mode_gets_a_guess(value, kind, text):
    with pytest.raises(kind) as caught:
        Conv(8, 3, padding_mode=value)
    check(caught.value, kind)
    assert str(caught.value).startswith(text)
