"""What a position of a value sees along one axis of an input: exact, and the same again every so many positions.

A convolution with stride 2 moves its window by two positions for one of its output: what position ``y`` sees is what
position 0 sees, moved by ``2 * y``. Behind an upsampling by 2 two neighbours see the same position, and the pattern repeats
every second one. A :class:`Span` keeps one period of the pattern, so that composing layers stays exact, however large the maps
are, and a value that sees the same wherever it is asked (behind a global pooling) is a span that does not move.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cached_property
from math import floor, gcd, lcm
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Ends", "Number", "Span", "hull", "plain"]

Number = int | Fraction
"""A position. Fractions come up only where a pattern is too long to be kept, and is bounded by straight lines."""

Ends = tuple[Number, Number] | None
"""The first and the last position that is seen; ``None`` where nothing is, as between the points of a sparse upsampling."""

MOST_PHASES = 1024
"""The longest pattern that is kept exactly; a longer one is bounded from outside."""


def plain(number: Number) -> Number:
    """Makes an int of a fraction that is one."""
    return number.numerator if number.denominator == 1 else number


def hull(found: Iterable[Ends]) -> Ends:
    """From the first to the last position that is seen anywhere."""
    seen = [ends for ends in found if ends is not None]
    if not seen:
        return None
    return min(first for first, _ in seen), max(last for _, last in seen)


@frozen
class Span:
    """What every position sees of an axis: ``ends[y % period]``, moved by ``advance`` for every whole period in ``y``.

    Args:
        advance: How far the pattern moves along the input with one period; 0 if it does not move at all.
        ends: One period of the pattern.
        exact: Whether it is what is seen, or a bound from outside.

    Example:
        >>> upsampled = Span(1, ((0, 0),)).read(lambda y: range(y // 2, y // 2 + 1), every=2)
        >>> upsampled.stride, [upsampled.at(y) for y in range(4)]
        (Fraction(1, 2), [(0, 0), (0, 0), (1, 1), (1, 1)])
    """

    advance: Number
    ends: tuple[Ends, ...]
    exact: bool = True

    @cached_property
    def stride(self) -> Number:
        """How far what is seen moves along the input from one position to the next, on average."""
        return self.advance if len(self.ends) == 1 else plain(Fraction(self.advance, len(self.ends)))

    @property
    def size(self) -> int:
        """The most positions from the first to the last that one position sees."""
        return max([floor(ends[1] - ends[0]) + 1 for ends in self.ends if ends is not None], default=0)

    @property
    def _lines(self) -> list[tuple[Number, Number]]:
        """The ends of every phase that sees anything, without the phase's share of the advance."""
        stride = self.stride
        return [
            (ends[0] - stride * phase, ends[1] - stride * phase)
            for phase, ends in enumerate(self.ends)
            if ends is not None
        ]

    @property
    def start(self) -> Number | None:
        """Where the first position's sight begins; ``None`` if nothing is ever seen."""
        return self._lines[0][0] if self._lines else None

    @cached_property
    def centre(self) -> Fraction | None:
        """Where the middle of the first position's sight is, on average over the phases; ``None`` if nothing is seen."""
        lines = self._lines
        return Fraction(sum([first + last for first, last in lines]), 2 * len(lines)) if lines else None

    def at(self, position: int) -> Ends:
        """What one position sees.

        Args:
            position: It may lie outside the value: the pattern goes on.

        Returns:
            The first and the last position of the input, not clipped to it.
        """
        turns, phase = divmod(position, len(self.ends))
        ends = self.ends[phase]
        return None if ends is None else (ends[0] + self.advance * turns, ends[1] + self.advance * turns)

    def over(self, positions: range) -> Ends:
        """What several positions see together.

        Args:
            positions: In rising order.

        Returns:
            The first and the last position of the input.
        """
        # A phase that comes again sees later positions: the first come first, and the last last.
        period = len(self.ends)
        if len(positions) > 2 * period:
            return hull(map(self.at, (*positions[:period], *positions[-period:])))
        return hull(map(self.at, positions))

    def read(self, reads: Callable[[int], range], every: int = 1, moves: int = 1) -> Span:
        """What the positions of a layer's output see, when this is what the positions of its input see.

        Args:
            reads: For a position of the output, the positions of the layer's input that it reads.
            every: The pattern of ``reads`` comes again after so many positions of the output ...
            moves: ... and has then moved by so many positions of the layer's input.

        Returns:
            A new span.
        """
        if every * self._turns(moves) > MOST_PHASES and len(self.ends) > 1:
            return self._bounded().read(reads, every, moves)
        turns = self._turns(moves)
        found = Span(
            self.advance * (moves * turns // len(self.ends)),
            tuple([self.over(reads(position)) for position in range(every * turns)]),
            self.exact,
        )
        return found if len(found.ends) <= MOST_PHASES else found._bounded()

    def _turns(self, moves: int) -> int:
        period = len(self.ends)
        return period // gcd(period, moves)

    def _bounded(self) -> Span:
        """A span with one phase that sees at least as much."""
        return Span(self.stride, (hull(self._lines),), exact=False)

    def union(self, other: Span) -> Span:
        """What two spans of the same stride see together, in one period of both.

        Args:
            other: The other one.

        Returns:
            A new span.
        """
        period = lcm(len(self.ends), len(other.ends))
        if period > MOST_PHASES:
            return Span(self.stride, (hull([*self._bounded().ends, *other._bounded().ends]),), exact=False)
        together = [hull([self.at(position), other.at(position)]) for position in range(period)]
        return Span(plain(self.stride * period), tuple(together), self.exact and other.exact)
