"""Bytes, exactly: an ``int`` that prints in binary units, and the parser for what people write as a budget."""

from __future__ import annotations

import re
from fractions import Fraction
from operator import index
from typing import Any, Self, SupportsIndex

from cnnbudget.errors import InvalidTypeError, InvalidValueError, shorten

__all__ = ["Bytes", "parse_bytes"]

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_FACTORS = {
    "B": 1,
    **{unit: 1024**power for power, unit in enumerate(_BINARY) if power},
    "kB": 1000,
    **{unit: 1000**power for power, unit in enumerate(("B", "KB", "MB", "GB", "TB", "PB", "EB")) if power},
}
_PATTERN = re.compile(r"\s*(\d{1,25})(?:\.(\d{1,25}))?\s*([A-Za-z]+)\s*", re.ASCII)
_EXPECTED = "a positive number of bytes and a unit, such as '8 GiB', '500 MB' or '11.2GiB', or an int of bytes"


class Bytes(int):
    """A number of bytes: an ``int`` in all arithmetic, which prints in binary units.

    Arithmetic gives plain ``int`` values (wrap them again to print them); ``repr`` shows the exact count.

    Example:
        >>> peak = Bytes(12_613_600)
        >>> print(peak)
        12.03 MiB
        >>> peak, peak - 13_600, f"{peak:,}"
        (Bytes(12613600), 12600000, '12,613,600')
    """

    __slots__ = ()

    def __new__(cls, count: SupportsIndex = 0) -> Self:
        """Takes an exact count.

        Args:
            count: An int (numpy ints are welcome); may be negative, as a difference is.

        Raises:
            InvalidTypeError: For a float, bool or str. Use :func:`parse_bytes` for text.
        """
        return super().__new__(cls, _exact(count))

    def __repr__(self) -> str:
        return f"Bytes({int(self)})"

    def __str__(self) -> str:
        count = int(self)
        if abs(count) < 1024:
            return f"{count} B"
        power = min((abs(count).bit_length() - 1) // 10, len(_BINARY) - 1)
        hundredths = round(Fraction(abs(count) * 100, 1024**power))
        if hundredths >= 102_400 and power < len(_BINARY) - 1:  # 1023.999 KiB would round up to 1024.00 KiB
            power += 1
            hundredths = round(Fraction(abs(count) * 100, 1024**power))
        sign = "-" if count < 0 else ""
        return f"{sign}{hundredths // 100}.{hundredths % 100:02d} {_BINARY[power]}"

    def __format__(self, spec: str) -> str:
        return format(str(self) if not spec or spec[-1] in "s<>^" or spec[-1].isdigit() else int(self), spec)


def _exact(count: Any) -> int:
    try:
        if not isinstance(count, bool):
            return index(count)
    except TypeError:
        pass  # it is no int: said below, with what would be right
    raise InvalidTypeError("a number of bytes must be an int", got=shorten(count), expected=_EXPECTED)


def parse_bytes(size: SupportsIndex | str) -> Bytes:
    """Reads a size as people write it. Decimal and binary units differ: ``MB`` is 1,000,000 bytes, ``MiB`` 1,048,576.

    A fraction of a byte is dropped, so that a budget is never overstated.

    Args:
        size: ``"8 GiB"``, ``"500 MB"``, ``"11.2GiB"``, or an int of bytes.

    Returns:
        The exact number of bytes.

    Raises:
        InvalidValueError: For text that is no size, for an unknown unit, and for zero or less.
        InvalidTypeError: For a float (say bytes exactly, or text with a unit) or anything else.

    Example:
        >>> parse_bytes("500 MB"), parse_bytes("8 GiB"), parse_bytes("11.2GiB")
        (Bytes(500000000), Bytes(8589934592), Bytes(12025908428))
    """
    if not isinstance(size, str):
        count = _exact(size)
    else:
        match = _PATTERN.fullmatch(size) if len(size) < 80 else None
        if match is None:
            raise InvalidValueError("cannot read a size", got=shorten(size), expected=_EXPECTED)
        whole, fraction, unit = match.groups()
        if unit not in _FACTORS:
            near = next((known for known in _FACTORS if known.lower() == unit.lower()), None)
            raise InvalidValueError(
                f"unknown unit {unit!r} in a size",
                got=shorten(size),
                expected="B, kB, MB, GB, TB, PB, EB (powers of 1000) or KiB, MiB, GiB, TiB, PiB, EiB (powers of 1024)",
                hint=f"did you mean {near!r}?" if near else None,
            )
        fraction = fraction or ""
        count = int(whole + fraction) * _FACTORS[unit] // 10 ** len(fraction)
    if count <= 0:
        raise InvalidValueError("a size must be positive", got=shorten(size), expected=_EXPECTED)
    return Bytes(count)
