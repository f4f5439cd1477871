"""What chains are made of: layers, and parts that hold layers."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from attrs import fields

from cnnbudget.errors import InvalidValueError, UnknownNameError, did_you_mean, shorten
from cnnbudget.layers.base import Layer

if TYPE_CHECKING:
    from typing import Self

__all__ = ["MOST_LAYERS", "MOST_LEVELS", "Part", "Structure"]

MOST_LAYERS = 10_000_000
"""The most layers that a block or a network may have when it is written out: a typing error must not fill the memory."""

MOST_LEVELS = 100
"""The most parts inside each other, so that hashing and comparing them cannot exhaust the stack."""


class Structure:
    """A part that is no layer. What is derived from the parts inside is computed once and not pickled.

    It has no ``__slots__`` so that it can keep what it has computed.
    """

    def inside(self) -> tuple[Part, ...]:
        """The parts that it holds."""
        return ()

    def own_layers(self) -> int:
        """Layers that it adds itself."""
        return 0

    def evolve(self, **changes: Any) -> Self:
        """Returns a variant with some fields changed.

        Args:
            **changes: Fields and their new values.

        Returns:
            A new part of the same class.

        Raises:
            UnknownNameError: If it has no such field.

        Example:
            >>> from cnnbudget import Block, Conv, ReLU
            >>> Block(Conv(8, 3), ReLU(), name="stem").evolve(name="entry")
            Block(Conv(8, 3), ReLU(), name='entry')
        """
        kind: Any = type(self)
        values = {attribute.name: getattr(self, attribute.name) for attribute in fields(kind)}
        for name in changes:
            if name not in values:
                raise UnknownNameError(
                    f"{kind.__name__} has no such field", got=shorten(name), hint=did_you_mean(name, values)
                )
        return self._of(values | changes)

    @classmethod
    def _of(cls, values: dict[str, Any]) -> Self:
        """Makes one of all its fields."""
        return cls(**values)

    @property
    def layer_count(self) -> int:
        """How many layers it has when it is written out."""
        return self._size[0]

    @property
    def depth(self) -> int:
        """How many parts are nested in each other."""
        return self._size[1]

    @property
    def _size(self) -> tuple[int, int]:
        known = vars(self)
        if "_size" not in known:  # by hand: every part of every chain is asked, and a cached_property takes a lock
            known["_size"] = self._measure()
        size: tuple[int, int] = known["_size"]
        return size

    def _measure(self) -> tuple[int, int]:
        count, depth = self.own_layers(), 0
        for part in self.inside():
            if isinstance(part, Structure):
                inner, levels = part._size  # noqa: SLF001  # its own kind
                count += inner
                depth = max(depth, levels)
            else:
                count += 1
        return count, depth + 1

    @cached_property
    def _hash(self) -> int:
        kind: Any = type(self)
        return hash((kind, *(getattr(self, attribute.name) for attribute in fields(kind))))

    def _check_size(self) -> None:
        count, depth = self._size
        if count > MOST_LAYERS:
            raise InvalidValueError(
                "too many layers when the blocks are written out",
                got=shorten(count),
                expected=f"at most {MOST_LAYERS:,}",
            )
        if depth > MOST_LEVELS:
            raise InvalidValueError(
                "blocks are nested too deeply", got=f"{depth} levels", expected=f"at most {MOST_LEVELS}"
            )


Part = Layer | Structure
"""What a chain may hold."""
