"""The wire format of protocol buffers, as far as ONNX needs it: fields are walked, nothing is copied and no class is made."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from cnnbudget.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Wire", "ints_of", "text_of"]

Field = tuple[int, "int | float | memoryview"]
"""Number and value of a field: an int, a 32-bit float, or bytes."""

_LONGEST = 10_000  # bytes of a list of ints: axes, sizes, shapes
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Wire:
    """Walks messages, and counts fields, so that a file of millions of them is refused.

    Args:
        most: The most fields.
        what: Who reads, for the errors.

    Example:
        >>> list(Wire(10, "f()").fields(memoryview(bytes([8, 150, 1]))))  # field 1, 150
        [(1, 150)]
    """

    def __init__(self, most: int, what: str) -> None:
        self._left = most
        self._what = what

    def damaged(self, why: str) -> FormatError:
        """An error that says what is wrong with the bytes."""
        return FormatError(f"{self._what}: the file is damaged", got=why, expected="an ONNX model")

    def fields(self, data: memoryview) -> Iterator[Field]:
        """Walks the fields of a message.

        Args:
            data: The message.

        Yields:
            Number and value of every field.

        Raises:
            FormatError: If the message is damaged, or there are too many fields.
        """
        position, end = 0, len(data)
        while position < end:
            self._left -= 1
            if self._left < 0:
                raise FormatError(
                    f"{self._what}: the file has too many fields",
                    hint="if you trust the source, give limits=Limits(nodes=...)",
                )
            key, position = self.varint(data, position)
            number, kind = key >> 3, key & 7
            if number == 0:
                raise self.damaged("a field without a number")
            if kind == _VARINT:
                value, position = self.varint(data, position)
                yield number, value
                continue
            size = {_FIXED64: 8, _FIXED32: 4}.get(kind)
            if kind == _BYTES:
                size, position = self.varint(data, position)
            if size is None:
                raise self.damaged(f"a field of kind {kind}")
            part = data[position : position + size]
            if len(part) < size:
                raise self.damaged("a field that is longer than the file")
            position += size
            if kind == _FIXED32:
                yield number, struct.unpack("<f", part)[0]
            elif kind == _BYTES:
                yield number, part

    def varint(self, data: memoryview, position: int) -> tuple[int, int]:
        """Reads an int of up to 64 bits.

        Args:
            data: The bytes.
            position: Where it starts.

        Returns:
            The int, and where it ends.

        Raises:
            FormatError: If it does not end, or is longer.
        """
        found = 0
        for shift in range(0, 70, 7):
            if position >= len(data):
                raise self.damaged("a number that does not end")
            byte = data[position]
            position += 1
            found |= (byte & 127) << shift
            if byte < 128:
                return found, position
        raise self.damaged("a number of more than 64 bits")


def signed(value: int) -> int:
    """An int64 of what stands for it.

    Example:
        >>> signed(2**64 - 1), signed(5)
        (-1, 5)
    """
    value &= 2**64 - 1
    return value - 2**64 if value >= 2**63 else value


def ints_of(wire: Wire, value: int | float | memoryview) -> list[int]:
    """Ints of a repeated field: one, or several that are packed."""
    if isinstance(value, int):
        return [signed(value)]
    if isinstance(value, float) or len(value) > _LONGEST:
        raise wire.damaged("a float where an int must be" if isinstance(value, float) else "a list that is too long")
    found, position = [], 0
    while position < len(value):
        number, position = wire.varint(value, position)
        found.append(signed(number))
    return found


def text_of(wire: Wire, value: int | float | memoryview) -> str:
    """A text."""
    if not isinstance(value, memoryview):
        raise wire.damaged("a number where a text must be")
    try:
        return bytes(value).decode("utf-8")
    except UnicodeDecodeError:
        raise wire.damaged("a text that is not in UTF-8") from None
