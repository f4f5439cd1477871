"""Checks of what users pass in: exact ints, bools, words, one value per axis. Each failure says what, got and expected.

For attrs fields they come in pairs: a converter that only normalises (numpy ints to ``int``, lists to tuples) and a validator
that refuses, which knows the class and the field and so can name them.
"""

from __future__ import annotations

from operator import index
from typing import TYPE_CHECKING, Any, SupportsIndex

from attrs import fields

from cnnbudget.errors import InvalidTypeError, InvalidValueError, did_you_mean, shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from attrs import Attribute

    Validator = Callable[[Any, Attribute[Any], Any], None]

__all__ = [
    "LARGEST",
    "axes_from",
    "exact_bool",
    "exact_int",
    "instance_of",
    "int_from",
    "is_axes",
    "is_bool",
    "is_int",
    "is_number",
    "number_from",
    "one_of",
    "short_repr",
]

LARGEST = 2**31 - 1
"""The largest axis, count or batch that is accepted: larger ones are typing errors, and no framework has them."""


def exact_int(value: Any, what: str, least: int = 1, most: int = LARGEST) -> int:
    """Takes an int, or a numpy int; refuses bool, float and everything else.

    Args:
        value: What the user gave.
        what: How to call it, for example ``"Conv.filters"``.
        least: The smallest int allowed.
        most: The largest int allowed.

    Returns:
        A plain ``int``.

    Raises:
        InvalidTypeError: If it is no int.
        InvalidValueError: If it is out of range.

    Example:
        >>> exact_int(3, "Conv.kernel")
        3
    """
    number = int_from(value)
    expected = f"an int from {least} to {most}"
    if type(number) is not int:
        raise InvalidTypeError(
            f"{what} must be an int", got=f"{shorten(value)} ({type(value).__name__})", expected=expected
        )
    if not least <= number <= most:
        raise InvalidValueError(f"{what} is out of range", got=shorten(value), expected=expected)
    return number


def int_from(value: SupportsIndex) -> int:
    """Normalises an int-like value to ``int``; leaves everything else, and bools, for the validator to refuse."""
    if type(value) is not int and not isinstance(value, bool) and hasattr(value, "__index__"):
        try:
            return index(value)
        except TypeError:  # a numpy array of floats has __index__ and refuses
            pass
    return value  # type: ignore[return-value]  # the validator refuses what is no int


def number_from(value: float) -> float:
    """Normalises a subclass of ``float``, such as numpy's double, to ``float``; leaves the rest for the validator.

    Example:
        >>> number_from(0.5)
        0.5
    """
    return float(value) if isinstance(value, float) else value


def axes_from(value: SupportsIndex | Sequence[SupportsIndex]) -> int | tuple[int, ...]:
    """Normalises an int or a sequence of ints, one per axis."""
    return tuple(map(int_from, value)) if isinstance(value, (tuple, list)) else int_from(value)  # type: ignore[arg-type]


def _name_of(instance: Any, attribute: Attribute[Any]) -> str:
    return f"{type(instance).__name__}.{attribute.name}"


def is_int(least: int = 1, most: int = LARGEST) -> Validator:
    """Makes a validator of an int in a range."""

    def check(instance: Any, attribute: Attribute[Any], value: Any) -> None:
        if type(value) is not int or not least <= value <= most:
            exact_int(value, _name_of(instance, attribute), least, most)

    return check


def is_axes(least: int = 1) -> Validator:
    """Makes a validator of an int for every axis, or a tuple of ints, one per axis."""

    def check(instance: Any, attribute: Attribute[Any], value: Any) -> None:
        what = _name_of(instance, attribute)
        if not isinstance(value, tuple):
            exact_int(value, what, least)
            return
        if not value:
            raise InvalidValueError(f"{what} is empty", got="()", expected="an int, or one int per spatial axis")
        for axis, item in enumerate(value):
            exact_int(item, f"{what}[{axis}]", least)

    return check


def exact_bool(value: Any, what: str) -> bool:
    """Takes a bool: nothing else will do.

    Args:
        value: What the user gave.
        what: How to call it.

    Returns:
        The bool.

    Raises:
        InvalidTypeError: If it is something else.

    Example:
        >>> exact_bool(True, "Conv.bias")
        True
    """
    if not isinstance(value, bool):
        raise InvalidTypeError(f"{what} must be a bool", got=shorten(value), expected="True or False")
    return value


def is_bool(instance: Any, attribute: Attribute[Any], value: Any) -> None:
    """Validates a bool: nothing else will do."""
    exact_bool(value, _name_of(instance, attribute))


def is_number(least: float, most: float) -> Validator:
    """Makes a validator of a real number in a closed range; refuses bool and NaN."""

    def check(instance: Any, attribute: Attribute[Any], value: Any) -> None:
        what, expected = _name_of(instance, attribute), f"a number from {least} to {most}"
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise InvalidTypeError(
                f"{what} must be a number", got=f"{shorten(value)} ({type(value).__name__})", expected=expected
            )
        if not least <= value <= most:
            raise InvalidValueError(f"{what} is out of range", got=shorten(value), expected=expected)

    return check


def instance_of(kind: type, example: str) -> Validator:
    """Makes a validator of an instance; the error gives an example, and notes a class that was not called."""

    def check(instance: Any, attribute: Attribute[Any], value: Any) -> None:
        if not isinstance(value, kind):
            what = f"{_name_of(instance, attribute)} must be a {kind.__name__}"
            hint = f"call it: {value.__name__}(...)" if isinstance(value, type) and issubclass(value, kind) else None
            raise InvalidTypeError(what, got=shorten(value), expected=example, hint=hint)

    return check


def one_of(value: Any, words: Collection[str], what: str) -> str:
    """Takes one of a few words.

    Args:
        value: What the user gave.
        words: The words that are known.
        what: How to call it.

    Returns:
        The word.

    Raises:
        InvalidTypeError: If it is no str.
        InvalidValueError: If it is another word; the error guesses which was meant.

    Example:
        >>> one_of("same", ["same", "valid"], "Conv.padding")
        'same'
    """
    if not isinstance(value, str):
        raise InvalidTypeError(
            f"{what} must be a word", got=shorten(value), expected=f"one of {', '.join(map(repr, words))}"
        )
    if value not in words:
        raise InvalidValueError(f"{what} is an unknown word", got=shorten(value), hint=did_you_mean(value, words))
    return value


def short_repr(value: Any) -> str:
    """Shows an attrs value as one would write it: positional fields by position, the others only if they differ.

    Args:
        value: An instance of an attrs class.

    Returns:
        Text that gives an equal value when it is evaluated.

    Example:
        >>> from cnnbudget import Conv
        >>> short_repr(Conv(64, 3, stride=2, padding=0))
        'Conv(64, 3, stride=2)'
    """
    shown = []
    for attribute in sorted(
        fields(type(value)), key=lambda attribute: bool(attribute.kw_only)
    ):  # a base's may come first
        part = getattr(value, attribute.name)
        if not attribute.kw_only:
            shown.append(repr(part))
        elif part != attribute.default:
            shown.append(f"{attribute.name}={part!r}")
    return f"{type(value).__name__}({', '.join(shown)})"
