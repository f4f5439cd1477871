"""Budgets: a size, or the memory of a device from a small table, less a reserve."""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from attrs import frozen

from cnnbudget.errors import InvalidTypeError, InvalidValueError, UnknownNameError, did_you_mean, shorten
from cnnbudget.units import Bytes, parse_bytes

if TYPE_CHECKING:
    from typing import SupportsIndex

__all__ = ["Device", "as_budget", "budget", "devices"]

_NOTHING = ("0", "0 B")


@frozen
class Device:
    """An accelerator or a board.

    Args:
        name: What it is called.
        memory: Its memory, as it is sold.
        source: Where that is written.
    """

    name: str
    memory: Bytes
    source: str


@cache
def devices() -> tuple[Device, ...]:
    """Lists the devices whose memory is known: accelerators, boards, microcontrollers.

    Returns:
        The devices of ``cnnbudget/advice/devices.csv``, in its order.

    Example:
        >>> next(device.memory for device in devices() if device.name == "T4")
        Bytes(17179869184)
    """
    text = files("cnnbudget.advice").joinpath("devices.csv").read_text(encoding="utf-8")
    return tuple(
        [Device(row["name"], parse_bytes(row["memory"]), row["source"]) for row in csv.DictReader(text.splitlines())]
    )


def _key(name: str) -> str:
    """A name without case, blanks, hyphens and the vendor."""
    key = "".join(sign for sign in name.lower() if sign.isalnum())
    for vendor in ("nvidia", "geforce", "amd", "intel", "tesla"):
        key = key.removeprefix(vendor)
    return key


def budget(device: str, *, reserve: SupportsIndex | str = 0) -> Bytes:
    """The memory of a device, less what is reserved for others: a driver's context, a desktop, the framework.

    Memory is that on the data sheet. What a driver leaves of it is less, and differs: reserve it.

    Args:
        device: Its name, whatever the case; see :func:`devices`.
        reserve: Bytes that are not to be used: ``"1 GiB"``, or an int; nothing unless told.

    Returns:
        The bytes that are left.

    Raises:
        UnknownNameError: If no device has the name; the error guesses which was meant.
        InvalidValueError: If nothing is left.

    Example:
        >>> budget("RTX 4090", reserve="1 GiB")
        Bytes(24696061952)
    """
    if not isinstance(device, str):
        raise InvalidTypeError("budget() takes the name of a device", got=shorten(device), expected="'RTX 4090'")
    known = {_key(found.name): found for found in devices()}
    found = known.get(_key(device))
    if found is None:
        names = [found.name for found in known.values()]
        raise UnknownNameError("no device has this name", got=shorten(device), hint=did_you_mean(device, names))
    kept = _reserve(reserve)
    if kept >= found.memory:
        raise InvalidValueError(
            "budget() reserves everything",
            got=f"{Bytes(kept)} of {found.memory}",
            expected=f"less than {found.name} has",
        )
    return Bytes(found.memory - kept)


def _reserve(value: Any) -> int:
    if value == 0 and not isinstance(value, (bool, float)):
        return 0
    return 0 if value in _NOTHING else parse_bytes(value)


def as_budget(value: SupportsIndex | str) -> Bytes:
    """Reads a budget: a size, or the name of a device.

    Args:
        value: ``"8 GiB"``, an int of bytes, or ``"RTX 4090"``.

    Returns:
        Bytes.

    Raises:
        InvalidValueError: If it is a size that cannot be read.
        UnknownNameError: If it is neither a size nor a device.

    Example:
        >>> as_budget("500 MB"), as_budget("T4")
        (Bytes(500000000), Bytes(17179869184))
    """
    if not isinstance(value, str) or not value.lstrip()[:1].isalpha():
        return parse_bytes(value)
    try:
        return budget(value)
    except UnknownNameError as error:
        raise UnknownNameError(
            "this budget is neither a size nor a device",
            got=error.got,
            expected="'8 GiB', for example",
            hint=error.hint,
        ) from None
