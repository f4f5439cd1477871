"""Receptive fields as values: what the positions of a value see of every axis of every input, and what becomes of it in a layer."""

from __future__ import annotations

from math import ceil, floor
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from cnnbudget.analysis.spans import Number, Span, hull, plain
from cnnbudget.windows import Axes, Padding, per_axis, sides_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from cnnbudget.tensors import Shape

__all__ = ["AxisField", "Field", "merge_axes"]

MOST_SPANS = 8
"""The most different strides of paths to one value; with more, what they see together is bounded by all that is there."""


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
    def exact(self) -> bool:
        """Whether size and padding are what is seen, or bounds of it from outside."""
        return all(span.exact for span in self.spans)

    @property
    def strides(self) -> list[Number]:
        """The different strides of the paths on which what is seen moves."""
        return [span.stride for span in self.spans if span.advance]

    @property
    def stride(self) -> Number | None:
        """Effective stride; 0 if what is seen does not move, ``None`` where paths disagree."""
        if len(self.strides) > 1:
            return None
        return self.strides[0] if self.strides else 0

    @property
    def padding(self) -> Number | None:
        """Effective padding, how far before the input the first position's sight begins; ``None`` where strides disagree."""
        if len(self.strides) > 1:
            return None
        start = next((span.start for span in self.spans if span.advance or not self.strides), None)
        return None if start is None else plain(-start)

    def read(self, reads: Callable[[int], range], every: int = 1, moves: int = 1) -> AxisField:
        """See :meth:`~cnnbudget.analysis.spans.Span.read`."""
        spans = tuple([span.read(reads, every, moves) if span.advance else span for span in self.spans])
        return evolve(self, spans=spans)

    def everything(self, count: int, *, exact: bool = True) -> AxisField:
        """What all positions see together: from the first to the last, clipped to the input.

        Args:
            count: Positions of the value along the axis that this field moves along.
            exact: Whether every position sees all that, or possibly less.

        Returns:
            A field that does not move.
        """
        seen = hull([span.over(range(count if span.advance else 1)) for span in self.spans])
        if seen is not None:
            first, last = max(0, ceil(seen[0])), min(self.extent - 1, floor(seen[1]))
            seen = (first, last) if first <= last else None
        return evolve(self, along=None, spans=(Span(0, (seen,), exact and self.exact),))


def merge_axes(fields: Sequence[AxisField]) -> tuple[AxisField, str | None]:
    """What a value sees whose positions see what several values see at the same position.

    Args:
        fields: Two fields or more of the same axis of an input, which move along the same axis, or do not move.

    Returns:
        The field of all paths together, and what they disagree in, if they do.
    """
    spans: dict[Number, Span] = {}
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

    def slide(self, shape: Shape, kernel: Axes, *, stride: Axes = 1, padding: Padding = 0, dilation: Axes = 1) -> Field:
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
        # A window sees all channels, should the field move along them (behind a Permute).
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

    def everything(self, shape: Shape, axes: Iterable[int] | None = None, *, exact: bool = True) -> Field:
        """The field behind a layer that lets every position see all positions along some axes.

        Args:
            shape: ``(C, *spatial)`` of the value.
            axes: Axes of the value; ``None`` for all.
            exact: Whether every position sees all that, or possibly less: it is then a bound.

        Returns:
            A new field.
        """
        mixed = range(len(shape)) if axes is None else set(axes)
        return Field(
            {
                key: seen
                if seen.along is None or seen.along not in mixed
                else seen.everything(shape[seen.along], exact=exact)
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
                found = [(seen.everything(shape[seen.along or 0], exact=False), shape) for seen, shape in found]
            axes[key], reason = merge_axes([seen for seen, _ in found])
            if len(axes[key].spans) > MOST_SPANS:
                axes[key] = axes[key].everything(output[axes[key].along or 0], exact=False)
            if reason is not None:
                conflicts.append((*key, reason))
        return cls(axes, tuple(conflicts))


def _window(kernel: int, stride: int, before: int, dilation: int) -> Callable[[int], range]:
    def reads(position: int) -> range:
        start = position * stride - before
        return range(start, start + dilation * (kernel - 1) + 1, dilation)

    return reads
