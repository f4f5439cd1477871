"""Layers as plain data and back: a word for the class, and its settings. Layers know nothing of it.

A setting that stands at its default is left out, tuples are lists, and a float that is an integer is written as one, so that
equal layers have one form.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from attrs import NOTHING, fields, frozen

from cnnbudget.errors import (
    CnnBudgetError,
    FormatError,
    InvalidTypeError,
    InvalidValueError,
    MissingRuleError,
    did_you_mean,
    shorten,
)
from cnnbudget.interop.calls import check_word, parse_call
from cnnbudget.layers import (
    activation,
    conv,
    linear,
    local,
    merge,
    norm,
    pool,
    rearrange,
    regularize,
    reshape,
    resize,
    scale,
)
from cnnbudget.layers.base import Layer

if TYPE_CHECKING:
    from attrs import Attribute

    Plain = None | bool | int | float | str | list["Plain"]

__all__ = ["Codec", "built_in"]

_FAMILIES = (activation, conv, linear, local, merge, norm, pool, rearrange, regularize, reshape, resize, scale)
_BASES = frozenset({pool.WindowPool})
_MOST = 2**63 - 1
_DEEPEST = 8  # lists in lists: what a setting of a layer may be made of


@cache
def built_in() -> Mapping[str, type[Layer]]:
    """The built-in layers by their words.

    Returns:
        Classes by name.

    Example:
        >>> built_in()["Conv"]
        <class 'cnnbudget.layers.conv.Conv'>
    """
    kinds = [getattr(family, name) for family in _FAMILIES for name in family.__all__]
    return {
        kind.__name__: kind
        for kind in kinds
        if isinstance(kind, type) and issubclass(kind, Layer) and kind not in _BASES
    }


class Codec:
    """Writes layers as plain data, and reads them.

    Args:
        layers: Layers of other packages, by the words that stand for them.
        what: Which function asks, for the errors.

    Raises:
        InvalidTypeError: If they are no classes of layers by word.
        InvalidValueError: If a built-in layer has the word.

    Example:
        >>> from cnnbudget import Conv
        >>> codec = Codec(None, "to_json()")
        >>> codec.encode(Conv(64, (3, 5), stride=2, bias=True))
        ('Conv', {'filters': 64, 'kernel': [3, 5], 'stride': 2})
        >>> codec.decode("Conv", {"filters": 64, "kernel": [3, 5], "stride": 2})
        Conv(64, (3, 5), stride=2)
    """

    def __init__(self, layers: Mapping[str, type[Layer]] | None, what: str) -> None:
        self._what = what
        self._kinds = {**built_in(), **_checked(layers, what)}
        self._words = {kind: word for word, kind in self._kinds.items()}

    def encode(self, layer: Layer) -> tuple[str, dict[str, Plain]]:
        """Writes a layer.

        Args:
            layer: The layer.

        Returns:
            Its word and its settings; not to be changed.

        Raises:
            MissingRuleError: If its class has no word.
            InvalidValueError: If a setting cannot be written.
        """
        kind = type(layer)
        if kind not in self._words:
            raise MissingRuleError(
                f"{self._what} has no word for a layer",
                got=f"{kind.__name__} of {kind.__module__}",
                expected="a built-in layer, or one that is listed",
                hint=f"give layers={{'{kind.__name__}': {kind.__name__}}}, and the same when it is read",
            )
        return self._words[kind], {
            setting.name: _plain(getattr(layer, setting.attribute), f"{kind.__name__}.{setting.name}")
            for setting in _settings(kind)
            if setting.always or getattr(layer, setting.attribute) != setting.default
        }

    def call_of(self, layer: Layer) -> tuple[str, list[Plain], dict[str, Plain]]:
        """Writes a layer as a call: settings that are given by position, and those by name.

        Args:
            layer: The layer.

        Returns:
            Its word, the values by position, and the others.

        Raises:
            MissingRuleError: If its class has no word.
            InvalidValueError: If a setting cannot be written, or the word cannot be called.
        """
        word, settings = self.encode(layer)
        check_word(word)
        first = []
        for setting in _settings(type(layer)):
            if not setting.named:
                if setting.name not in settings:
                    break
                first.append(setting.name)
        named = {name: value for name, value in settings.items() if name not in first}
        return word, [settings[name] for name in first], named

    def called(self, text: Any, variables: Mapping[str, Any]) -> tuple[Layer, set[str]]:
        """Reads a layer that is written as a call.

        Args:
            text: The call.
            variables: Values of variables.

        Returns:
            The layer, and the variables that were used.

        Raises:
            FormatError: If it is no call of a layer.
        """
        if not isinstance(text, str):
            raise FormatError("a layer is a text", got=shorten(text), expected="for example 'Conv(64, 3)'")
        word, positional, named, used = parse_call(text, variables)
        if word not in self._kinds:
            raise FormatError("no layer has this name", got=shorten(word), hint=_unknown(word, self._kinds))
        known = [setting.name for setting in _settings(self._kinds[word])]
        for name in named:
            if name not in known:
                raise FormatError(f"{word} has no such setting", got=shorten(name), hint=did_you_mean(name, known))
        return self._made(word, positional, named), used

    def _made(self, word: str, positional: tuple[Any, ...], named: Mapping[str, Any]) -> Layer:
        try:
            return self._kinds[word](*positional, **named)
        except CnnBudgetError:
            raise
        except (TypeError, ValueError, OverflowError) as error:  # a layer of others may check in its own way
            got = ", ".join([*map(shorten, positional), *(f"{name}={shorten(value)}" for name, value in named.items())])
            raise FormatError(f"{word} cannot be made", got=got or "no settings", hint=str(error)) from error

    def decode(self, word: Any, settings: Any) -> Layer:
        """Reads a layer.

        Args:
            word: Its word.
            settings: Its settings by name.

        Returns:
            The layer.

        Raises:
            FormatError: If there is no such layer or setting, or a value that it does not take.
        """
        if not isinstance(word, str):
            raise FormatError("a layer is named by a word", got=shorten(word), expected="for example 'Conv'")
        if word not in self._kinds:
            raise FormatError("no layer has this name", got=shorten(word), hint=_unknown(word, self._kinds))
        kind = self._kinds[word]
        known = {setting.name: setting for setting in _settings(kind)}
        if not isinstance(settings, Mapping):
            raise FormatError(f"the settings of {word} are no object", got=shorten(settings))
        for name in settings:
            if name not in known:
                raise FormatError(f"{word} has no such setting", got=shorten(name), hint=did_you_mean(name, known))
        for name, setting in known.items():
            if setting.needed and name not in settings:
                raise FormatError(
                    f"{word} lacks a setting", got=f"{', '.join(settings) or 'none'}", expected=repr(name)
                )
        return self._made(word, (), {name: _value(value, f"{word}.{name}") for name, value in settings.items()})


def _checked(layers: Any, what: str) -> Mapping[str, type[Layer]]:
    if layers is None:
        return {}
    if not isinstance(layers, Mapping) or not all(
        isinstance(word, str) and word and isinstance(kind, type) and issubclass(kind, Layer)
        for word, kind in layers.items()
    ):
        raise InvalidTypeError(
            f"{what} takes layers by word", got=shorten(layers), expected="for example {'MyLayer': MyLayer}"
        )
    for word in layers:
        if word in built_in():
            raise InvalidValueError(
                f"{what}: a built-in layer has this word", got=shorten(word), expected="another, such as 'acme.Conv'"
            )
    return layers


def _unknown(word: str, kinds: Mapping[str, type[Layer]]) -> str:
    near = {name.lower(): name for name in kinds}
    hint = did_you_mean(near.get(word.lower(), word), kinds)
    return f"{hint}; a layer of another package is given as layers={{{shorten(word, 40)}: its class}}"


@frozen
class _Setting:
    """A setting of a layer: its name, the attribute that holds it, and whether and when it is written."""

    name: str
    attribute: str
    always: bool
    needed: bool
    named: bool
    default: Any


@cache
def _settings(kind: type[Layer]) -> tuple[_Setting, ...]:
    return tuple(_setting(attribute) for attribute in fields(kind) if attribute.init)


def _setting(attribute: Attribute[Any]) -> _Setting:
    default = attribute.default
    plain = default is NOTHING or not hasattr(default, "factory")  # what a factory makes is always written
    return _Setting(
        attribute.alias or attribute.name,
        attribute.name,
        always=default is NOTHING or not plain,
        needed=default is NOTHING,
        named=bool(attribute.kw_only),
        default=default,
    )


def _plain(value: Any, what: str, depth: int = 0) -> Plain:
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int) and -_MOST <= value <= _MOST:
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return int(value) if value.is_integer() and abs(value) <= 2**53 else float(value)
    if isinstance(value, tuple) and depth < _DEEPEST:
        return [_plain(item, what, depth + 1) for item in value]
    raise InvalidValueError(
        f"{what} cannot be written",
        got=shorten(value),
        expected="None, a bool, an int of 64 bits, a finite float, a str, or a tuple of them",
    )


def _value(value: Any, what: str, depth: int = 0) -> Any:
    if isinstance(value, list) and depth < _DEEPEST:
        return tuple([_value(item, what, depth + 1) for item in value])
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise FormatError(
        f"{what} is no setting of a layer",
        got=shorten(value),
        expected="a number, a word, true, false, null, or a list",
    )
