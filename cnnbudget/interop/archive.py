"""Zip archives, of which one member is read and nothing is unpacked. Whatever an archive says of itself is checked first."""

from __future__ import annotations

import zipfile
import zlib
from os import SEEK_END
from typing import IO, TYPE_CHECKING

from cnnbudget.errors import FormatError, shorten

if TYPE_CHECKING:
    from cnnbudget.interop.limits import Limits

__all__ = ["is_archive", "read_member"]

_END = b"PK\x05\x06"
_LOCATOR = b"PK\x06\x07"
_END_SIZE = 22
_LONGEST_COMMENT = 2**16
_PER_MEMBER = 1024  # bytes that the directory needs for one, generously


def is_archive(start: bytes) -> bool:
    """Whether a file that starts so is a zip archive.

    Example:
        >>> is_archive(b"PK..."), is_archive(b"{")
        (True, False)
    """
    return start[:2] == b"PK"


def read_member(file: IO[bytes], name: str, limits: Limits, what: str) -> bytes:
    """Reads one member of an archive into memory.

    The directory's size is checked before it is read, and the member's while it is unpacked, whatever the archive says.

    Args:
        file: The archive, open and seekable.
        name: Name of the member.
        limits: The limits.
        what: Who reads, for the errors.

    Returns:
        The member.

    Raises:
        FormatError: If the archive is damaged, has not exactly one such member, or exceeds a limit.
    """
    _check_directory(file, limits, what)
    try:
        with zipfile.ZipFile(file) as archive:
            found = [info for info in archive.infolist() if info.filename == name]
            if len(found) != 1:
                raise FormatError(f"{what}: the archive must have one {name}", got=f"{len(found)} of that name")
            most = min(limits.bytes, limits.expansion * max(found[0].compress_size, 1))
            with archive.open(found[0]) as member:
                data = member.read(most + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError, ValueError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{what}: the archive is damaged", got=shorten(str(error))) from None
    if len(data) > most:
        raise FormatError(
            f"{what}: {name} is too large when it is unpacked",
            got=f"more than {most:,} bytes of {found[0].compress_size:,}",
            expected=f"at most {limits.bytes:,}, and {limits.expansion} times its size in the archive",
            hint="if you trust the source, give limits=Limits(bytes=..., expansion=...)",
        )
    return data


def _check_directory(file: IO[bytes], limits: Limits, what: str) -> None:
    size = file.seek(0, SEEK_END)
    file.seek(max(0, size - _END_SIZE - _LONGEST_COMMENT - len(_LOCATOR) - 16))
    tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < _END_SIZE:
        raise FormatError(f"{what}: the archive is damaged", got="no directory at its end")
    if tail[max(0, at - 20) : at].startswith(_LOCATOR):
        raise FormatError(
            f"{what}: the archive has the format for more than 4 GiB",
            expected="a smaller one, or the text of its config.json",
        )
    members = int.from_bytes(tail[at + 10 : at + 12], "little")
    length = int.from_bytes(tail[at + 12 : at + 16], "little")
    limits.check("members", max(members, length // _PER_MEMBER), f"{what}: the number of members")
