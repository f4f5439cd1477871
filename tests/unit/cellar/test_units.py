"""Exact bytes, their binary units and the parser."""

import pickle
import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnbudget import Bytes, InvalidTypeError, InvalidValueError, parse_bytes

COUNTS = st.integers(-(2**80), 2**80)
UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
TEXT = re.compile(r"(-?)(\d+)(?:\.(\d\d))? (B|KiB|MiB|GiB|TiB|PiB|EiB)")


@given(COUNTS, COUNTS)
def test_bytes_are_ints_in_all_arithmetic(a, b):
    assert Bytes(a) == a and hash(Bytes(a)) == hash(a)
    assert (Bytes(a) < b) == (a < b)
    for result, expected in ((Bytes(a) + b, a + b), (b - Bytes(a), b - a), (Bytes(a) * b, a * b), (-Bytes(a), -a)):
        assert type(result) is int and result == expected
    assert int(Bytes(a)) == a and type(int(Bytes(a))) is int


@given(COUNTS)
def test_bytes_survive_repr_pickle_and_bytes(count):
    size = Bytes(count)
    for clone in (eval(repr(size)), pickle.loads(pickle.dumps(size)), Bytes(size)):
        assert type(clone) is Bytes and clone == count


def test_bytes_take_no_attributes_and_default_to_zero():
    assert Bytes() == 0
    with pytest.raises(AttributeError):
        Bytes(1).note = "x"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (1536, "1.50 KiB"),
        (-1536, "-1.50 KiB"),
        (-5, "-5 B"),
        (1024**2 - 1, "1.00 MiB"),  # 1023.999 KiB
        (1024**2 - 6, "1023.99 KiB"),  # 6 of 1024 is .0058: rounds to 1023.99
        (1024**2 - 5, "1.00 MiB"),  # 5 of 1024 is .0049: rounds to 1024.00
        (1024**2, "1.00 MiB"),
        (12_613_600, "12.03 MiB"),  # the exercise: 12.0292...
        (565_613_600, "539.41 MiB"),  # 539.4112...
        (1024**6, "1.00 EiB"),
        (1024**7, "1024.00 EiB"),  # there is no larger unit
        (1024**7 - 1, "1024.00 EiB"),
    ],
)
def test_bytes_print_in_binary_units(count, text):
    assert str(Bytes(count)) == text
    assert f"{Bytes(count)}" == text


@given(COUNTS)
def test_the_printed_size_is_the_nearest_of_two_decimals_in_the_right_unit(count):
    sign, whole, hundredths, unit = TEXT.fullmatch(str(Bytes(count))).groups()
    assert (sign == "-") == (count < 0)
    factor = 1024 ** UNITS.index(unit)
    shown = Fraction(int(whole) * 100 + int(hundredths or 0), 100)
    assert abs(shown * factor - abs(count)) * 200 <= factor
    if unit == "B":
        assert abs(count) < 1024 and hundredths is None
    else:
        assert shown >= 1 and (shown < 1024 or unit == "EiB")


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("", "12.03 MiB"),
        ("12", "12.03 MiB   "),
        (">12", "   12.03 MiB"),
        ("^11s", " 12.03 MiB "),
        ("s", "12.03 MiB"),
        ("<", "12.03 MiB"),
        (">", "12.03 MiB"),
        ("^", "12.03 MiB"),
        (",", "12,613,600"),
        ("_", "12_613_600"),
        ("d", "12613600"),
        ("+d", "+12613600"),
        (">12,d", "  12,613,600"),
        ("x", "c077e0"),
        (".1f", "12613600.0"),
    ],
)
def test_format_shows_the_size_or_the_count(spec, text):
    assert format(Bytes(12_613_600), spec) == text


DECIMAL = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15, "EB": 10**18}
BINARY = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "PiB": 2**50, "EiB": 2**60}
FACTORS = DECIMAL | BINARY


@given(
    st.integers(1, 10**20),
    st.none() | st.text("0123456789", min_size=1, max_size=20),
    st.sampled_from(sorted(FACTORS)),
    *[st.sampled_from(["", " ", "  ", "\t"])] * 3,
)
def test_parse_bytes_is_exact_and_drops_a_fraction_of_a_byte(whole, fraction, unit, before, between, after):
    number = f"{whole}.{fraction}" if fraction else str(whole)
    size = parse_bytes(f"{before}{number}{between}{unit}{after}")
    assert type(size) is Bytes
    assert size == int(Fraction(number) * FACTORS[unit])


@given(st.integers(1, 2**80))
def test_parse_bytes_takes_ints(count):
    assert parse_bytes(count) == parse_bytes(Bytes(count)) == parse_bytes(f"{count} B") == count
    assert type(parse_bytes(count)) is Bytes


def test_decimal_and_binary_units_differ():
    assert parse_bytes("500 MB") == 500_000_000
    assert parse_bytes("500 MiB") == 524_288_000
    assert parse_bytes("0.5 KiB") == 512
    assert parse_bytes("007 B") == 7
    assert parse_bytes("1.9 B") == 1


@given(st.text(max_size=100))
def test_any_text_gives_a_size_or_one_clear_error(text):
    try:
        size = parse_bytes(text)
    except InvalidValueError as error:
        facts = error.got, error.expected
    else:
        facts = size, size > 0
    assert all(facts)


@given(st.none() | st.floats() | st.booleans() | st.binary() | st.lists(st.integers()) | st.complex_numbers())
def test_anything_else_is_a_type_error(value):
    for take in (Bytes, parse_bytes):
        with pytest.raises(InvalidTypeError, match="a number of bytes must be an int: got"):
            take(value)
