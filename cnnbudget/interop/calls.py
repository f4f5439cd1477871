"""Layers as one writes them, ``Conv(64, 3, stride=2)``: read by a small grammar of our own, so that nothing is ever evaluated.

A call is a word with values in parentheses, by position or by name. A value is a number, a text in quotes, ``True``, ``False``,
``None``, a tuple or list of values, or a variable, ``$maps``. Ints and variables may be multiplied and divided: ``4 * $maps``,
``$maps // 2``.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from cnnbudget.errors import FormatError, InvalidValueError, did_you_mean, shorten

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["is_call", "parse_call", "write_call"]

_TOKEN = re.compile(
    r"\s*(?:(?P<name>[^\W\d][\w.]*)|(?P<variable>\$[^\W\d]\w*)|(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<text>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")|(?P<mark>//|[(),=\[\]*]))",
    re.DOTALL,
)
_LONGEST = 10_000
_LONGEST_NUMBER = 40
_DEEPEST = 8
_MOST = 2**63 - 1
_WORDS = {"True": True, "False": False, "None": None}
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_SAFE = re.compile(r"[ -&(-\[\]-~]*")  # printable ASCII but the quote and the backslash


def is_call(text: str) -> bool:
    """Whether a text is meant as a call, not as a name."""
    return "(" in text


def write_call(word: str, positional: list[Any], named: Mapping[str, Any]) -> str:
    """Writes a call.

    Args:
        word: What is called.
        positional: Values by position: plain data.
        named: Values by name, likewise.

    Returns:
        The text, in ASCII.

    Example:
        >>> write_call("Conv", [64, [3, 5]], {"padding": "same", "bias": False})
        "Conv(64, (3, 5), padding='same', bias=False)"
    """
    parts = [_written(value) for value in positional]
    parts += [f"{name}={_written(value)}" for name, value in named.items()]
    return f"{word}({', '.join(parts)})"


def _written(value: Any) -> str:
    if isinstance(value, list):
        return f"({', '.join(map(_written, value))}{',' * (len(value) == 1)})"
    if not isinstance(value, str):
        return repr(value)
    return "'" + "".join(c if _SAFE.fullmatch(c) else _escaped(ord(c)) for c in value) + "'"


def _escaped(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def parse_call(text: str, variables: Mapping[str, Any]) -> tuple[str, tuple[Any, ...], dict[str, Any], set[str]]:
    """Reads a call.

    Args:
        text: The text.
        variables: Values of the variables, without their ``$``.

    Returns:
        The word, the values by position and by name, and the variables that were used.

    Raises:
        FormatError: If it is no call.

    Example:
        >>> parse_call("Conv(2 * $maps, 3, padding='same')", {"maps": 32})
        ('Conv', (64, 3), {'padding': 'same'}, {'maps'})
    """
    if len(text) > _LONGEST:
        raise FormatError(
            "a layer's text is too long", got=f"{len(text):,} characters", expected=f"at most {_LONGEST:,}"
        )
    return _Parser(text, variables).call()


class _Parser:
    def __init__(self, text: str, variables: Mapping[str, Any]) -> None:
        self.text = text
        self.variables = variables
        self.used: set[str] = set()
        self.tokens = self._tokens()
        self.at = 0

    def _tokens(self) -> list[tuple[str, str]]:
        found, position, text = [], 0, self.text.rstrip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise self.error(shorten(text[position : position + 20].lstrip()))
            found.append((match.lastgroup or "", match.group(match.lastgroup or 0)))
            position = match.end()
        return [*found, ("end", "the end")]

    def error(self, got: str | None = None) -> FormatError:
        return FormatError(
            "this is no layer",
            got=shorten(self.text) + ("" if got is None else f", with {got} where something else must stand"),
            expected="for example 'Conv(64, 3, stride=2)'",
        )

    def next(self, kind: str | None = None, text: str | None = None) -> str:
        """Takes a token, which must be of a kind or a text."""
        found, word = self.tokens[self.at]
        if (kind is not None and found != kind) or (text is not None and (found, word) != ("mark", text)):
            raise self.error(shorten(word))
        self.at += 1
        return word

    def sees(self, *marks: str) -> bool:
        kind, word = self.tokens[self.at]
        return kind == "mark" and word in marks

    def call(self) -> tuple[str, tuple[Any, ...], dict[str, Any], set[str]]:
        word = self.next("name")
        self.next(text="(")
        positional: list[Any] = []
        named: dict[str, Any] = {}
        while not self.sees(")"):
            if self.tokens[self.at][0] == "name" and self.tokens[self.at + 1] == ("mark", "="):
                name = self.next("name")
                self.next(text="=")
                if name in named:
                    raise self.error(f"{name} twice")
                named[name] = self.value(0)
            elif named:
                raise self.error("a value by position after one by name")
            else:
                positional.append(self.value(0))
            if not self.sees(")"):
                self.next(text=",")
        self.next(text=")")
        self.next("end")
        return word, tuple(positional), named, self.used

    def value(self, depth: int) -> Any:
        found = self.factor(depth)
        while self.sees("*", "//"):
            operation, other = self.next(), self.factor(depth)
            if type(found) is not int or type(other) is not int or (operation == "//" and other == 0):
                raise self.error(f"{shorten(found)} {operation} {shorten(other)}")
            found = found * other if operation == "*" else found // other
            if abs(found) > _MOST:
                raise self.error("a product of more than 64 bits")
        return found

    def factor(self, depth: int) -> Any:
        kind, word = self.tokens[self.at]
        if kind == "mark" and word in "([" and depth < _DEEPEST:
            return self.sequence(depth)
        self.at += 1
        if kind == "number":
            return self.number(word)
        if kind == "text":
            return _ESCAPE.sub(self.unescaped, word[1:-1])
        if kind == "name" and word in _WORDS:
            return _WORDS[word]
        if kind == "variable":
            if word[1:] not in self.variables:
                raise FormatError("a variable has no value", got=word, hint=did_you_mean(word[1:], self.variables))
            self.used.add(word[1:])
            return self.variables[word[1:]]
        raise self.error(shorten(word))

    def sequence(self, depth: int) -> Any:
        closing = ")" if self.next() == "(" else "]"
        values, comma = [], closing == "]"
        while not self.sees(closing):
            values.append(self.value(depth + 1))
            if not self.sees(closing):
                self.next(text=",")
                comma = True
        self.next(text=closing)
        return values[0] if len(values) == 1 and not comma else tuple(values)

    def number(self, word: str) -> int | float:
        if len(word) > _LONGEST_NUMBER:
            raise self.error(f"a number of {len(word):,} characters")
        if re.fullmatch(r"[+-]?\d+", word):
            return int(word)
        if not math.isfinite(float(word)):
            raise self.error(f"{word}, which is not finite")
        return float(word)

    def unescaped(self, match: re.Match[str]) -> str:
        *codes, other = match.groups()
        if other is not None:
            if other not in "'\"\\":
                raise self.error(f"\\{shorten(other)[1:-1]} in a text")
            return other
        code = int(next(filter(None, codes)), 16)
        if code > 0x10FFFF:
            raise self.error("a character that does not exist")
        return chr(code)


def check_word(word: str) -> str:
    """Checks that a word can be called in a text.

    Args:
        word: The word of a layer.

    Returns:
        The word.

    Raises:
        InvalidValueError: If it is no name.
    """
    if re.fullmatch(r"[^\W\d][\w.]*", word) is None:
        raise InvalidValueError(
            "a layer's word cannot be called",
            got=shorten(word),
            expected="letters, digits, '_' and '.', such as 'acme.Conv'",
        )
    return word
