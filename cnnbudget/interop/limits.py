"""Limits of what is read: they bound the work and the memory that any file, however hostile, can cause."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import field, frozen

from cnnbudget.checks import LARGEST, int_from, is_int
from cnnbudget.errors import CnnBudgetError, FormatError, InvalidTypeError, shorten
from cnnbudget.graph.nodes import Input, Network
from cnnbudget.graph.shapes import infer_layer, place_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cnnbudget.graph.nodes import Node
    from cnnbudget.tensors import TensorSpec

__all__ = ["LIMITS", "Limits", "Source", "finish", "read_bytes", "read_each", "read_text", "reading", "refused"]

V = TypeVar("V")

_LONGEST_PLACE = 600

Source = str | bytes | PathLike[str]
"""The text itself, its bytes in UTF-8, or the path of a file."""


@frozen
class Limits:
    """What a reader accepts. What exceeds a limit ends in a :class:`~cnnbudget.FormatError` that names it.

    Args:
        bytes: The largest file or text.
        nodes: The most nodes of a network.
        nesting: How deeply blocks, or values of settings, may be nested.
        dimension: The largest size of one axis of any value.
        members: The most members of an archive.
        expansion: How many times its own size an archive may unpack to.

    Example:
        >>> from cnnbudget.interop import Limits, from_json
        >>> from_json(" " * 2000, limits=Limits(bytes=1000))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        cnnbudget.errors.FormatError: from_json(): the text is too large: got more than 1,000 bytes, expected at most 1,000; ...
    """

    bytes: int = field(default=2**24, kw_only=True, converter=int_from, validator=is_int())
    nodes: int = field(default=100_000, kw_only=True, converter=int_from, validator=is_int())
    nesting: int = field(default=32, kw_only=True, converter=int_from, validator=is_int(most=100))
    dimension: int = field(default=LARGEST, kw_only=True, converter=int_from, validator=is_int())
    members: int = field(default=1000, kw_only=True, converter=int_from, validator=is_int())
    expansion: int = field(default=200, kw_only=True, converter=int_from, validator=is_int())

    def check(self, name: str, count: int, what: str, where: str | None = None) -> None:
        """Checks a count against a limit.

        Args:
            name: Name of the limit.
            count: The count.
            what: What is counted, and who counts it, for the error.
            where: Where, likewise.

        Raises:
            FormatError: If the count exceeds the limit.
        """
        most: int = getattr(self, name)
        if count > most:
            raise FormatError(
                f"{what} is beyond the limit",
                where=where,
                got=f"{count:,}" if count < 10**18 else f"a number of {count.bit_length():,} bits",
                expected=f"at most {most:,}",
                hint=f"if you trust the source, give limits=Limits({name}=...)",
            )

    def check_axes(self, name: str, spec: TensorSpec, what: str) -> None:
        """Checks the sizes of a value.

        Args:
            name: Name of the value.
            spec: The value.
            what: Who reads, for the error.

        Raises:
            FormatError: If an axis is too large.
        """
        if max(spec.shape) > self.dimension:
            self.check("dimension", max(spec.shape), f"{what}: the size of an axis", f"value {shorten(name)}")


LIMITS = Limits()
"""The limits that hold unless others are given."""


def read_bytes(source: Source, limits: Limits, what: str) -> bytes:
    """Takes the bytes of a source; a path is the only file that is opened.

    Args:
        source: What the user gave.
        limits: The limits.
        what: Which function, for the errors.

    Returns:
        The bytes.

    Raises:
        InvalidTypeError: If it is something else, or the limits are none.
        FormatError: If there are too many of them.
    """
    if not isinstance(limits, Limits):
        raise InvalidTypeError(f"{what} takes limits", got=shorten(limits), expected="for example Limits(nodes=1000)")
    if isinstance(source, PathLike):
        with Path(fspath(source)).open("rb") as file:
            data = file.read(limits.bytes + 1)
    elif isinstance(source, str):
        # A lone surrogate has no bytes; the text says so later.
        data = source.encode("utf-8", "surrogatepass") if len(source) <= limits.bytes else b"?" * (limits.bytes + 1)
    elif isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
    else:
        raise InvalidTypeError(
            f"{what} cannot read this", got=shorten(source), expected="a text, bytes, or a pathlib.Path of a file"
        )
    if len(data) > limits.bytes:
        raise FormatError(
            f"{what}: the text is too large",
            got=f"more than {limits.bytes:,} bytes",
            expected=f"at most {limits.bytes:,}",
            hint="if you trust the source, give limits=Limits(bytes=...)",
        )
    return data


def read_text(source: Source, limits: Limits, what: str) -> str:
    """Takes the text of a source; see :func:`read_bytes`.

    Args:
        source: What the user gave.
        limits: The limits.
        what: Which function, for the errors.

    Returns:
        The text, without a byte order mark.

    Raises:
        FormatError: If it is no UTF-8.
    """
    try:
        return read_bytes(source, limits, what).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{what}: the text is not in UTF-8", got=f"a wrong byte at position {error.start:,}", expected="UTF-8"
        ) from None


@contextmanager
def reading(what: str, where: str | None = None) -> Iterator[None]:
    """Makes errors of what a file says errors of the file.

    Args:
        what: Who reads, which starts the error.
        where: The place, if the error has none.

    Raises:
        FormatError: For every error of the family.
    """
    try:
        yield
    except CnnBudgetError as error:
        raise refused(error, what, where) from error.__cause__


def refused(error: CnnBudgetError, what: str, where: str | None = None) -> FormatError:
    """Makes the error of a file of an error about what it says; see :func:`reading`.

    Args:
        error: The error.
        what: Who reads, which starts the new one.
        where: The place, if the error has none.

    Returns:
        The new error.
    """
    text = f"{what}: {error.what}" if what and not error.what.startswith(what) else error.what
    found = error.where or where
    if found is not None and len(found) > _LONGEST_PLACE:  # a node may read a million values
        found = f"{found[: _LONGEST_PLACE - 100]}...{found[-97:]}"
    return FormatError(text, where=found, got=error.got, expected=error.expected, hint=error.hint)


def finish(
    inputs: Sequence[Input], nodes: Sequence[Node], outputs: Sequence[str], limits: Limits, what: str
) -> Network:
    """Makes a network of what was read, and checks its shapes and sizes.

    Args:
        inputs: Its inputs.
        nodes: Its nodes.
        outputs: Names of its outputs.
        limits: The limits.
        what: What was read, for the errors.

    Returns:
        The network.

    Raises:
        FormatError: If the parts make no network, a layer cannot be applied to what reaches it, or an axis is too large.
    """
    limits.check("nodes", len(nodes), f"{what}: the number of nodes")
    with reading(what):
        network = Network(tuple(inputs), tuple(nodes), tuple(outputs))
        known = {source.name: source.spec for source in network.inputs}
        for name, spec in known.items():
            limits.check_axes(name, spec, what)
        for node in network.nodes:
            values = tuple([known[name] for name in node.inputs])
            try:
                spec = infer_layer(node.layer, values)
            except CnnBudgetError as error:
                raise error.at(place_of(node, values)) from None
            limits.check_axes(
                node.name, spec, what
            )  # at once: what doubles a hundred thousand times is no number to work with
            known[node.name] = spec
    return network


def read_each(kind: str, entries: Sequence[Any], read: Callable[[Any], V], what: str) -> list[V]:
    """Reads the entries of a list in a file.

    Args:
        kind: How the list is called in the file.
        entries: Its entries.
        read: Reads one.
        what: Who reads, for the errors.

    Returns:
        What was made of each.

    Raises:
        FormatError: If one cannot be read; the error names it.
    """
    made = []
    for position, entry in enumerate(entries):
        try:
            made.append(read(entry))
        except CnnBudgetError as error:
            name = entry.get("name") if isinstance(entry, dict) else None
            where = f"{kind}[{position}] {shorten(name)}" if isinstance(name, str) else f"{kind}[{position}]"
            raise refused(error, what, where) from error.__cause__
    return made
