"""The error family: texts, builtins, pickles, places."""

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnbudget import errors
from cnnbudget.errors import CnnBudgetError, did_you_mean, shorten

BUILTINS = {
    "CnnBudgetError": Exception,
    "ConformanceError": AssertionError,
    "FormatError": ValueError,
    "InvalidTypeError": TypeError,
    "InvalidValueError": ValueError,
    "MissingExtraError": ImportError,
    "MissingRuleError": NotImplementedError,
    "ShapeError": ValueError,
    "SharedStorageError": ValueError,
    "UnknownNameError": KeyError,
}
FAMILY = [getattr(errors, name) for name in BUILTINS]
PARTS = ("what", "where", "got", "expected", "hint")
TEXTS = st.none() | st.text(max_size=20)


def parts_of(error):
    return tuple(getattr(error, part) for part in PARTS)


def test_the_family_is_complete():
    classes = {name for name in errors.__all__ if isinstance(getattr(errors, name), type)}
    assert classes == set(BUILTINS)


@pytest.mark.parametrize(("name", "builtin"), BUILTINS.items())
def test_each_is_a_member_of_the_family_and_the_fitting_builtin(name, builtin):
    kind = getattr(errors, name)
    assert issubclass(kind, CnnBudgetError) and issubclass(kind, builtin)
    with pytest.raises(builtin, match=r"^it is wrong$"):
        raise kind("it is wrong")


@pytest.mark.parametrize("kind", FAMILY)
@given(st.text(max_size=20), TEXTS, TEXTS, TEXTS, TEXTS)
def test_each_survives_pickle_and_copy(kind, what, where, got, expected, hint):
    error = kind(what, where=where, got=got, expected=expected, hint=hint)
    for clone in (copy.copy(error), copy.deepcopy(error), *(pickle.loads(pickle.dumps(error, p)) for p in range(6))):
        assert type(clone) is kind
        assert parts_of(clone) == (what, where, got, expected, hint)
        assert str(clone) == str(error)
        assert clone.args == error.args == (what,)


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({}, "W"),
        ({"where": "conv"}, "W (at conv)"),
        ({"got": "1"}, "W: got 1"),
        ({"expected": "2"}, "W: expected 2"),
        ({"got": "1", "expected": "2"}, "W: got 1, expected 2"),
        ({"hint": "do it"}, "W; do it"),
        ({"where": "conv", "got": "1", "expected": "2", "hint": "do it"}, "W (at conv): got 1, expected 2; do it"),
    ],
)
@pytest.mark.parametrize("kind", FAMILY)
def test_the_text_states_the_parts_that_are_known(kind, parts, text):
    assert str(kind("W", **parts)) == text


@pytest.mark.parametrize("kind", FAMILY)
def test_a_place_is_added_once(kind):
    error = kind("W", got="1", expected="2", hint="h")
    placed = error.at("first")
    assert type(placed) is kind
    assert parts_of(placed) == ("W", "first", "1", "2", "h")
    assert error.where is None
    assert placed.at("second") is placed


def test_a_foreign_member_of_the_family_pickles_too():
    clone = pickle.loads(pickle.dumps(ForeignError("W", hint="h")))
    assert type(clone) is ForeignError and parts_of(clone) == ("W", None, None, None, "h")


class ForeignError(errors.ShapeError):
    """As a dependent package would derive one."""


@given(st.text() | st.integers() | st.lists(st.integers()), st.integers(5, 60))
def test_shorten_keeps_to_its_limit_and_both_ends(value, limit):
    text, full = shorten(value, limit), repr(value)
    if len(full) <= limit:
        assert text == full
    else:
        start, end = (
            text.split("...", 1) if "..." not in full else (text[: (limit - 3) // 2], text[(limit - 3) // 2 + 3 :])
        )
        assert len(text) == limit
        assert full.startswith(start) and full.endswith(end)
        assert abs(len(start) - len(end)) <= 1


class Unprintable:
    def __repr__(self):
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "text"), [(Unprintable(), "<Unprintable>"), (10**5000, "<int>")], ids=["repr", "int"]
)
def test_a_value_that_cannot_be_shown_is_shown_by_its_type(value, text):
    assert shorten(value) == text


def test_shorten_shows_120_characters_unless_told():
    assert shorten("x" * 118) == repr("x" * 118)
    assert len(shorten("x" * 119)) == 120


@pytest.mark.parametrize(
    ("word", "known", "text"),
    [
        ("smae", ["same", "valid"], "did you mean 'same'? Known: 'same', 'valid'"),
        ("SAME", ["same", "valid"], "did you mean 'same'? Known: 'same', 'valid'"),
        ("zzz", ["same", "valid"], "Known: 'same', 'valid'"),
        ("conv", [], "there are none"),
        (7, ["same"], "Known: 'same'"),
        ("zz", list("abcdefgh"), "Known: 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'"),
        ("zz", list("abcdefghi"), "Known: 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', ... (9 in all)"),
        ("same" * 50, ["same" * 50], f"Known: {'same' * 50!r}"),  # a long word is not compared: that could take long
    ],
)
def test_did_you_mean(word, known, text):
    assert did_you_mean(word, iter(known)) == text


def test_did_you_mean_looks_further_than_it_shows():
    assert did_you_mean("conv_99", [f"conv_{i}" for i in range(100)]).startswith(
        "did you mean 'conv_99'? Known: 'conv_0'"
    )


def test_did_you_mean_takes_anything():
    assert did_you_mean(10**5000, ["same"]) == "Known: 'same'"
