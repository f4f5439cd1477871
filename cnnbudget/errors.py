"""The error family: every error that cnnbudget raises on bad input, with its parts as attributes.

An error states *what* is wrong, *where* (node, layer, input shapes), what it *got*, what it *expected* and what to do
about it (*hint*). Each class is also the fitting builtin, so ``except ValueError`` works. All of them pickle.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "CnnBudgetError",
    "ConformanceError",
    "FormatError",
    "InvalidTypeError",
    "InvalidValueError",
    "MissingExtraError",
    "MissingRuleError",
    "ShapeError",
    "SharedStorageError",
    "UnknownNameError",
    "did_you_mean",
    "shorten",
]

_LONGEST_VALUE = 120


def shorten(value: object, limit: int = _LONGEST_VALUE) -> str:
    """Shows a value in an error text: its ``repr``, cut in the middle when it is long.

    Args:
        value: Anything; a value whose ``repr`` fails is shown by its type.
        limit: The longest text, in characters.

    Returns:
        The text.

    Example:
        >>> shorten("x" * 300, limit=20)
        "'xxxxxxx...xxxxxxxx'"
    """
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001  # a foreign __repr__ may fail in any way, and an int of 5,000 digits has no repr
        text = f"<{type(value).__name__}>"
    if len(text) <= limit:
        return text
    keep = limit - 3
    return f"{text[: keep // 2]}...{text[len(text) - (keep - keep // 2) :]}"


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """Makes the hint of an error about an unknown name: the nearest known ones, then a few of the known ones.

    Args:
        word: What was given.
        known: The names that would have been right.

    Returns:
        A sentence.

    Example:
        >>> did_you_mean("smae", ["same", "valid"])
        "did you mean 'same'? Known: 'same', 'valid'"
    """
    names = list(known)
    shown = ", ".join(map(repr, names[:8])) + (f", ... ({len(names)} in all)" if len(names) > 8 else "")
    near = []
    if isinstance(word, str) and len(word) <= _LONGEST_VALUE:
        lower = {name.lower(): name for name in reversed(names)}
        near = [lower[name] for name in difflib.get_close_matches(word.lower(), lower, n=1, cutoff=0.5)]
    listing = f"Known: {shown}" if names else "there are none"
    return f"did you mean {near[0]!r}? {listing}" if near else listing


class CnnBudgetError(Exception):
    """The base of the family. Catch it to catch everything that cnnbudget reports.

    Args:
        what: One clause: what is wrong.
        where: The node, layer and input shapes, when known.
        got: What was found, ready to print.
        expected: What would have been right.
        hint: What to do.

    Example:
        >>> print(CnnBudgetError("Conv.filters is out of range", got="0", expected="an int from 1 to 2147483647"))
        Conv.filters is out of range: got 0, expected an int from 1 to 2147483647
    """

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        got: str | None = None,
        expected: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.what = what
        self.where = where
        self.got = got
        self.expected = expected
        self.hint = hint
        super().__init__(what)

    def __str__(self) -> str:
        text = self.what
        if self.where is not None:
            text += f" (at {self.where})"
        facts = []
        if self.got is not None:
            facts.append(f"got {self.got}")
        if self.expected is not None:
            facts.append(f"expected {self.expected}")
        if facts:
            text += ": " + ", ".join(facts)
        if self.hint is not None:
            text += f"; {self.hint}"
        return text

    def __reduce__(self) -> tuple[Callable[..., CnnBudgetError], tuple[object, ...]]:
        return _rebuild, (type(self), self.what, self.where, self.got, self.expected, self.hint)

    def at(self, where: str) -> CnnBudgetError:
        """Returns the same error with its place; a place that is already stated stays.

        Args:
            where: The node, layer and input shapes.

        Returns:
            A new error of the same class.
        """
        if self.where is not None:
            return self
        return type(self)(self.what, where=where, got=self.got, expected=self.expected, hint=self.hint)


def _rebuild(cls: type[CnnBudgetError], what: str, where: str | None, *parts: str | None) -> CnnBudgetError:
    got, expected, hint = parts
    return cls(what, where=where, got=got, expected=expected, hint=hint)


class InvalidValueError(CnnBudgetError, ValueError):
    """A value of the right type that is out of range or makes no sense."""


class InvalidTypeError(CnnBudgetError, TypeError):
    """A value of the wrong type, for example a float or a bool where an int is needed."""


class ShapeError(CnnBudgetError, ValueError):
    """A layer that cannot be applied to the shapes that reach it."""


class SharedStorageError(CnnBudgetError, ValueError):
    """An in-place layer that would overwrite a value that somebody still needs."""


class UnknownNameError(CnnBudgetError, KeyError):
    """A node, layer or column name that does not exist."""


class MissingRuleError(CnnBudgetError, NotImplementedError):
    """A layer that does not state a fact which the question needs."""


class MissingExtraError(CnnBudgetError, ImportError):
    """An optional package that is not installed; the hint names the extra."""


class FormatError(CnnBudgetError, ValueError):
    """A model file, or the text of one, that cannot be read: it is damaged, too large, or says what makes no sense."""


class ConformanceError(CnnBudgetError, AssertionError):
    """A layer, visitor or policy from outside that breaks a rule of the house."""
