"""Window arithmetic on known cases; tests/properties/test_windows.py slides real windows."""

import pytest
from attrs import field, frozen

from cnnbudget import InvalidTypeError, InvalidValueError, ShapeError
from cnnbudget.windows import effective_kernel, is_padding, output_size, padding_from, resolve_padding, slide


@frozen
class Padded:
    padding: object = field(converter=padding_from, validator=is_padding)


@pytest.mark.parametrize(
    ("value", "padding"),
    [
        ("same", "same"),
        ("valid", "valid"),
        (0, 0),
        (3, 3),
        ([1, 2], (1, 2)),
        ((1, 2, 0), (1, 2, 0)),
        ([[1, 2], (0, 3)], ((1, 2), (0, 3))),
        (((1, 2),), ((1, 2),)),
    ],
)
def test_paddings_that_are_read(value, padding):
    assert Padded(value).padding == padding
    hash(Padded(value))


READABLE = "'same', 'valid', an int, one int per spatial axis, or one (before, after) pair per spatial axis"
INT = "an int from 0 to 2147483647"


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (
            "smae",
            InvalidValueError,
            "Padded.padding is an unknown word: got 'smae'; did you mean 'same'? Known: 'same', 'valid'",
        ),
        ("", InvalidValueError, "Padded.padding is an unknown word: got ''; Known: 'same', 'valid'"),
        (-1, InvalidValueError, f"Padded.padding is out of range: got -1, expected {INT}"),
        (2**31, InvalidValueError, f"Padded.padding is out of range: got 2147483648, expected {INT}"),
        (True, InvalidTypeError, f"Padded.padding must be an int: got True (bool), expected {INT}"),
        (1.0, InvalidTypeError, f"Padded.padding must be an int: got 1.0 (float), expected {INT}"),
        (None, InvalidTypeError, f"Padded.padding must be an int: got None (NoneType), expected {INT}"),
        ((), InvalidValueError, f"Padded.padding is not readable: got (), expected {READABLE}"),
        ([], InvalidValueError, f"Padded.padding is not readable: got (), expected {READABLE}"),
        (((1, 2), 3), InvalidValueError, f"Padded.padding is not readable: got ((1, 2), 3), expected {READABLE}"),
        (((1, 2, 3),), InvalidValueError, f"Padded.padding is not readable: got ((1, 2, 3),), expected {READABLE}"),
        (((),), InvalidValueError, f"Padded.padding is not readable: got ((),), expected {READABLE}"),
        ((0, -2), InvalidValueError, f"Padded.padding[1] is out of range: got -2, expected {INT}"),
        (((0, 1), (0, -2)), InvalidValueError, f"Padded.padding[1] is out of range: got -2, expected {INT}"),
        ((1, "2"), InvalidTypeError, f"Padded.padding[1] must be an int: got '2' (str), expected {INT}"),
        (([1, 2], 3), InvalidTypeError, f"Padded.padding[0] must be an int: got [1, 2] (list), expected {INT}"),
    ],
)
def test_paddings_that_are_refused(value, kind, text):
    with pytest.raises(kind) as caught:
        Padded(value)
    assert str(caught.value) == text


@pytest.mark.parametrize(("kernel", "dilation", "span"), [(1, 1, 1), (1, 9, 1), (3, 1, 3), (3, 2, 5), (5, 3, 13)])
def test_effective_kernel(kernel, dilation, span):
    assert effective_kernel(kernel, dilation) == span


@pytest.mark.parametrize(
    ("padding", "n", "window", "stride", "sides"),
    [
        ("same", 224, 7, 2, (2, 3)),  # the stem of a ResNet in TensorFlow: 112 positions, 5 places of padding
        ("same", 7, 2, 1, (0, 1)),
        ("same", 6, 2, 2, (0, 0)),
        ("same", 1, 5, 1, (2, 2)),
        ("same", 5, 1, 3, (0, 0)),
        ("valid", 5, 9, 1, (0, 0)),
        (3, 5, 9, 1, (3, 3)),
        ((1, 4), 5, 9, 1, (1, 4)),
    ],
)
def test_resolve_padding(padding, n, window, stride, sides):
    assert resolve_padding(padding, n, window, stride) == sides


@pytest.mark.parametrize(
    ("arguments", "floor", "ceil"),
    [
        ((227, 11, 4, 0, 0), 55, 55),  # AlexNet, conv1: (227 - 11) / 4 + 1
        ((224, 7, 2, 3, 3), 112, 113),  # ResNet, conv1; 223 / 2 rounds up
        ((112, 3, 2, 0, 0), 55, 56),  # GoogLeNet's pooling in ceil mode
        ((5, 2, 2, 0, 0), 2, 3),
        ((5, 2, 3, 0, 0), 2, 2),  # starts 0 and 3: nothing is left over
        ((4, 2, 3, 0, 1), 2, 2),
        ((4, 1, 4, 0, 1), 2, 1),  # start 4 lies in the padding after the input
        ((3, 5, 1, 0, 0), -1, -1),
        ((3, 5, 3, 0, 0), 0, 1),  # one window, partly covered
    ],
)
def test_output_size(arguments, floor, ceil):
    assert output_size(*arguments) == floor
    assert output_size(*arguments, ceil_mode=True) == ceil


def test_slide_takes_one_value_per_axis():
    # axis 0: (10 + 1 + 2 - 3) // 2 + 1 = 6; axis 1: window 2 * (2 - 1) + 1 = 3, (9 - 3) // 3 + 1 = 3
    assert slide("Conv", (10, 9), (3, 2), (2, 3), ((1, 2), (0, 0)), (1, 2)) == (6, 3)
    assert slide("Conv", (10, 9), 3, 1, (1, 0), 1) == (10, 7)
    assert slide("Conv", (), 3, 1, 0) == ()


@pytest.mark.parametrize("name", ["kernel", "stride", "padding", "dilation"])
@pytest.mark.parametrize("values", [(1,), (1, 1, 1)])
def test_slide_refuses_another_number_of_axes(name, values):
    settings = {"kernel": 1, "stride": 1, "padding": 0, "dilation": 1, name: values}
    with pytest.raises(ShapeError) as caught:
        slide("Conv", (8, 8), **settings)
    assert str(caught.value) == (
        f"Conv.{name} does not match the number of spatial axes: got {len(values)} values, {values}, "
        "expected one value, or 2 of them"
    )


def test_slide_says_where_a_window_does_not_fit():
    with pytest.raises(ShapeError) as caught:
        slide("Conv", (8, 4), (3, 4), 1, ((0, 0), (1, 1)), (1, 2))
    assert caught.value.what == "Conv: the window is larger than the padded input along spatial axis 1"
    assert caught.value.got == "window 7 (kernel 4, dilation 2) on 4 + 2 of padding"
    assert caught.value.expected == "a window of at most 6"
    assert "padding='same'" in caught.value.hint


@pytest.mark.parametrize(("kernel", "most"), [(1, 0), (2, 1), (3, 1), (4, 2), (7, 3)])
@pytest.mark.parametrize("dilation", [1, 2])
def test_pooling_takes_padding_up_to_half_of_the_kernel(kernel, most, dilation):
    pool = {"kernel": kernel, "stride": 1, "dilation": dilation, "half_padding": True}
    span = dilation * (kernel - 1) + 1
    for padding in (most, ((most, 0),), ((0, most),)):
        total = 2 * most if padding == most else most
        assert slide("MaxPool", (30,), padding=padding, **pool) == (30 + total - span + 1,)
    for before, after in ((most + 1, most + 1), (most + 1, 0), (0, most + 1)):
        with pytest.raises(ShapeError) as caught:
            slide("MaxPool", (30,), padding=((before, after),), **pool)
        assert caught.value.what == "MaxPool.padding is more than half of the kernel along spatial axis 0"
        assert caught.value.got == f"padding ({before}, {after}), kernel {kernel}"
        assert caught.value.expected == f"at most {most} on each side"
        assert "nothing to pool" in caught.value.hint
        assert slide("Conv", (30,), kernel, 1, ((before, after),), dilation) == (30 + before + after - span + 1,)


def test_pooling_may_need_more_than_half_for_same():
    assert slide("MaxPool", (1,), 4, 3, "same", half_padding=True) == (1,)  # 3 places of padding: 1 before, 2 after
    assert slide("MaxPool", (4,), 2, 1, "same", 3, half_padding=True) == (4,)  # window 4: 1 before, 2 after, half is 1
