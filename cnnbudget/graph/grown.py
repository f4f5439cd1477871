"""A mapping that grows while its earlier versions stay as they were: what a net remembers of the nets it grew from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Grown"]

K = TypeVar("K")
V = TypeVar("V")


class Grown(Generic[K, V]):
    """A mapping that is never changed; a longer one shares what it has.

    It is a few dicts, each less than half as large as the one before it. So ``n`` versions that grow by one entry each hold
    about ``n * log(n)`` entries together, not ``n * n / 2``.

    Args:
        *parts: Its dicts; of several entries of a key, the last one counts. Nobody may change them any more.

    Example:
        >>> few = Grown({"a": 1, "b": 2})
        >>> more = few.with_entries({"c": 3, "a": 4})
        >>> few.get("a"), more.get("a"), few.get("c"), list(more)
        (1, 4, None, ['a', 'b', 'c'])
    """

    __slots__ = ("_parts",)

    def __init__(self, *parts: dict[K, V]) -> None:
        self._parts = parts

    def with_entries(self, entries: Mapping[K, V]) -> Grown[K, V]:
        """Returns a mapping with further entries.

        Args:
            entries: They replace those of the same keys.
        """
        if not entries:
            return self
        last, kept = dict(entries), list(self._parts)
        while kept and len(kept[-1]) <= 2 * len(last):
            last = kept.pop() | last
        return Grown(*kept, last)

    def get(self, key: K) -> V | None:
        """The value of a key; ``None`` if it has none."""
        for part in reversed(self._parts):
            if key in part:
                return part[key]
        return None

    def __iter__(self) -> Iterator[K]:
        """Every key once, in the order in which they came first."""
        return iter(dict.fromkeys([key for part in self._parts for key in part]))
