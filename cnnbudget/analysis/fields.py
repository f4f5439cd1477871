"""What a position of a value sees along one axis of an input: exact, and the same again every so many positions.

A convolution with stride 2 moves its window by two positions for one of its output: what position ``y`` sees is what
position 0 sees, moved by ``2 * y``. Behind an upsampling by 2 two neighbours see the same position, and the pattern repeats
every second one. A :class:`Span` keeps one period of the pattern, so that composing layers stays exact, however large the maps
are, and a value that sees the same wherever it is asked (behind a global pooling) is a span that does not move.
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor, gcd, lcm
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from cnnbudget.windows import Axes, Padding, per_axis, sides_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from cnnbudget.tensors import Shape

__all__ = ["AxisField", "Field", "Number", "Span", "merge_axes"]

Number = int | Fraction
"""A position. Fractions come up only where a pattern is too long to be kept, and is bounded by straight lines."""

Ends = tuple[Number, Number] | None
"""The first and the last position that is seen; ``None`` where nothing is, as between the points of a sparse upsampling."""

MOST_PHASES = 1024
"""The longest pattern that is kept exactly; a longer one is bounded from outside."""

MOST_SPANS = 8
"""The most different strides of paths to one value; with more, what they see together is bounded by all of it."""


def _plain(number: Number) -> Number:
    return number.numerator if number.denominator == 1 else number


def _hull(found: Iterable[Ends]) -> Ends:
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

    Example:
        >>> upsampled = Span(1, ((0, 0),)).read(lambda y: range(y // 2, y // 2 + 1), every=2)
        >>> upsampled.stride, [upsampled.at(y) for y in range(4)]
        (Fraction(1, 2), [(0, 0), (0, 0), (1, 1), (1, 1)])
    """

    advance: Number
    ends: tuple[Ends, ...]

    @property
    def stride(self) -> Fraction:
        """How far what is seen moves along the input from one position to the next, on average."""
        return Fraction(self.advance, len(self.ends))

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

    @property
    def centre(self) -> Fraction | None:
        """Where the middle of the first position's sight is, on average over the phases; ``None`` if nothing is seen."""
        lines = self._lines
        return sum((Fraction(first + last, 2) for first, last in lines), Fraction()) / len(lines) if lines else None

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
            return _hull(map(self.at, (*positions[:period], *positions[-period:])))
        return _hull(map(self.at, positions))

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
        )
        return found if len(found.ends) <= MOST_PHASES else found._bounded()  # noqa: SLF001  # its own kind

    def _turns(self, moves: int) -> int:
        period = len(self.ends)
        return period // gcd(period, moves)

    def _bounded(self) -> Span:
        """A span with one phase that sees at least as much."""
        return Span(_plain(self.stride), (_hull(self._lines),))

    def union(self, other: Span) -> Span:
        """What two spans of the same stride see together, in one period of both.

        Args:
            other: The other one.

        Returns:
            A new span.
        """
        period = lcm(len(self.ends), len(other.ends))
        if period > MOST_PHASES:
            return Span(_plain(self.stride), (_hull([*self._bounded().ends, *other._bounded().ends]),))
        together = [_hull([self.at(position), other.at(position)]) for position in range(period)]
        return Span(_plain(self.stride * period), tuple(together))


@frozen
class AxisField:
    """What the positions of a value see along one axis of an input of the network.

    Args:
        extent: Positions of the input's axis.
        along: The axis of the value along which what is seen moves; ``None`` if it does not move.
        spans: What is seen, one span for every stride among the paths.
        aligned: Whether all paths agree in stride and centre.

    Example:
        >>> field = AxisField(224, 1, (Span(1, ((0, 0),)),)).read(lambda y: range(2 * y - 1, 2 * y + 2), moves=2)
        >>> field.size, field.stride, field.padding, field.whole
        (3, 2, 1, False)
    """

    extent: int
    along: int | None
    spans: tuple[Span, ...]
    aligned: bool = True

    @property
    def whole(self) -> bool:
        """Whether every position sees the whole axis, on one path at least."""
        return any(not span.advance and span.ends[0] == (0, self.extent - 1) for span in self.spans)

    @property
    def size(self) -> int:
        """Positions from the first to the last that is seen, the most over all paths; all of the axis if it is seen whole."""
        return self.extent if self.whole else max(span.size for span in self.spans)

    @property
    def strides(self) -> list[Fraction]:
        """The different strides of the paths on which what is seen moves."""
        return [span.stride for span in self.spans if span.advance]

    @property
    def stride(self) -> Number | None:
        """Effective stride: 0 if what is seen does not move, ``None`` where paths disagree."""
        if len(self.strides) > 1:
            return None
        return _plain(self.strides[0]) if self.strides else 0

    @property
    def padding(self) -> Number | None:
        """Effective padding: how far before the input the first position's sight begins; ``None`` where strides disagree."""
        if len(self.strides) > 1:
            return None
        start = next((span.start for span in self.spans if span.advance or not self.strides), None)
        return None if start is None else _plain(-start)

    def read(self, reads: Callable[[int], range], every: int = 1, moves: int = 1) -> AxisField:
        """See :meth:`Span.read`."""
        spans = tuple([span.read(reads, every, moves) if span.advance else span for span in self.spans])
        return evolve(self, spans=spans)

    def everything(self, count: int) -> AxisField:
        """What all positions see together: from the first to the last, clipped to the input.

        Args:
            count: Positions of the value along the axis that this field moves along.

        Returns:
            A field that does not move.
        """
        seen = _hull([span.over(range(count if span.advance else 1)) for span in self.spans])
        if seen is not None:
            first, last = max(0, ceil(seen[0])), min(self.extent - 1, floor(seen[1]))
            seen = (first, last) if first <= last else None
        return evolve(self, along=None, spans=(Span(0, (seen,)),))


def merge_axes(fields: Sequence[AxisField]) -> tuple[AxisField, str | None]:
    """What a value sees whose positions see what several values see at the same position.

    Args:
        fields: Two fields or more of the same axis of an input, which move along the same axis, or do not move.

    Returns:
        The field of all paths together, and what they disagree in, if they do.
    """
    spans: dict[Fraction, Span] = {}
    for field in fields:
        for span in field.spans:
            before = spans.get(span.stride)
            spans[span.stride] = span if before is None or before == span else before.union(span)
    strides = sorted([stride for stride in spans if stride])
    reason = None
    if len(strides) > max(1, *(len(field.strides) for field in fields)):
        reason = f"strides {', '.join(map(str, strides))}"
    elif len(strides) == 1:
        found = [span.centre for field in fields for span in field.spans if span.advance]
        centres = {centre for centre in found if centre is not None}
        if len(centres) > 1:
            reason = f"centres {', '.join(map(str, sorted(centres)))}"
    merged = AxisField(
        fields[0].extent,
        next((field.along for field in fields if field.along is not None), None),
        tuple([spans[stride] for stride in sorted(spans)]),
        aligned=reason is None and all(field.aligned for field in fields),
    )
    return merged, reason


@frozen
class Field:
    """What the positions of a value see of the inputs: one :class:`AxisField` for every spatial axis of every input.

    A position is one index along the spatial axes, with all its channels. Rules for layers from outside make a new field of the
    old one with :meth:`slide`, :meth:`read` and :meth:`everything`.

    Args:
        axes: By name of the input and number of its spatial axis, from 0.
        conflicts: What paths that meet here disagree in: input, axis, reason.
    """

    axes: Mapping[tuple[str, int], AxisField]
    conflicts: tuple[tuple[str, int, str], ...] = ()

    @classmethod
    def of_input(cls, name: str, shape: Shape) -> Field:
        """The field of an input: every position sees itself.

        Args:
            name: Its name.
            shape: ``(C, *spatial)``.

        Returns:
            The field.
        """
        here = (Span(1, ((0, 0),)),)
        return cls({(name, axis): AxisField(size, axis + 1, here) for axis, size in enumerate(shape[1:])})

    def read(self, axis: int, reads: Callable[[int], range], every: int = 1, moves: int = 1) -> Field:
        """The field behind a layer that reads several positions along one axis.

        Args:
            axis: The axis of the value; 1 is the first spatial one.
            reads: For a position of the output, the positions that it reads.
            every: The pattern comes again after so many positions of the output ...
            moves: ... and has then moved by so many positions.

        Returns:
            A new field.
        """
        return Field(
            {key: seen.read(reads, every, moves) if seen.along == axis else seen for key, seen in self.axes.items()}
        )

    def slide(
        self, shape: Shape, kernel: Axes, *, stride: Axes = 1, padding: Padding = 0, dilation: Axes = 1
    ) -> Field:
        """The field behind a window that slides over all spatial axes, as that of a convolution.

        Args:
            shape: ``(C, *spatial)`` of the value.
            kernel: As in :class:`~cnnbudget.Conv`.
            stride: Likewise.
            padding: Likewise.
            dilation: Likewise.

        Returns:
            A new field.

        Example:
            >>> field = Field.of_input("x", (3, 224)).slide((3, 224), 7, stride=2, padding=3)
            >>> field.axes["x", 0].size, field.axes["x", 0].stride, field.axes["x", 0].padding
            (7, 2, 3)
        """
        # The channels come last among the axes that a window mixes: it sees all of them.
        result, rank = self.everything(shape, [0]), len(shape) - 1
        settings = zip(
            per_axis(kernel, rank, "kernel"),
            per_axis(stride, rank, "stride"),
            sides_of("slide", shape[1:], padding, kernel, stride, dilation),
            per_axis(dilation, rank, "dilation"),
            strict=True,
        )
        for axis, (k, s, (before, _), d) in enumerate(settings, 1):
            if (k, s, before) != (1, 1, 0):
                result = result.read(axis, _window(k, s, before, d), moves=s)
        return result

    def everything(self, shape: Shape, axes: Iterable[int] | None = None) -> Field:
        """The field behind a layer that lets every position see all positions along some axes.

        Args:
            shape: ``(C, *spatial)`` of the value.
            axes: Axes of the value; ``None`` for all.

        Returns:
            A new field.
        """
        mixed = range(len(shape)) if axes is None else set(axes)
        return Field(
            {
                key: seen if seen.along is None or seen.along not in mixed else seen.everything(shape[seen.along])
                for key, seen in self.axes.items()
            }
        )

    def renumber(self, axes: Mapping[int, int]) -> Field:
        """The field behind a layer that puts axes elsewhere.

        Args:
            axes: For every axis along which the field moves, its new number.

        Returns:
            A new field.
        """
        return Field(
            {
                key: seen if seen.along is None else evolve(seen, along=axes[seen.along])
                for key, seen in self.axes.items()
            }
        )

    @classmethod
    def merge(cls, fields: Sequence[Field], shapes: Sequence[Shape], output: Shape) -> Field:
        """The field behind a layer whose output sees several values at the same position.

        Args:
            fields: Their fields.
            shapes: Their shapes. Along an axis of size 1 that is repeated, everybody sees the same.
            output: The shape of the output.

        Returns:
            A new field; its conflicts say what the paths disagree in.
        """
        axes: dict[tuple[str, int], AxisField] = {}
        conflicts = []
        for key in dict.fromkeys(key for field in fields for key in field.axes):
            found = []
            for field, shape in zip(fields, shapes, strict=True):
                seen = field.axes.get(key)
                if seen is not None:
                    repeated = seen.along is not None and shape[seen.along] != output[seen.along]
                    found.append((seen.everything(1) if repeated else seen, shape))
            if len({seen.along for seen, _ in found} - {None}) > 1:
                found = [(seen.everything(shape[seen.along or 0]), shape) for seen, shape in found]
            axes[key], reason = merge_axes([seen for seen, _ in found])
            if len(axes[key].spans) > MOST_SPANS:
                axes[key] = axes[key].everything(output[axes[key].along or 0])
            if reason is not None:
                conflicts.append((*key, reason))
        return cls(axes, tuple(conflicts))


def _window(kernel: int, stride: int, before: int, dilation: int) -> Callable[[int], range]:
    def reads(position: int) -> range:
        start = position * stride - before
        return range(start, start + dilation * (kernel - 1) + 1, dilation)

    return reads
