"""Receptive fields: which part of the input every position of every value depends on.

Size, effective stride and effective padding are those of Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional
Neural Networks" (Distill, 2019) and of its tool for TF-Slim. A window of ``k`` positions, dilation included, with stride ``s``
and padding ``p`` before the axis makes of size ``r``, stride ``S`` and padding ``P``

    ``r + (k - 1) * S``, ``S * s``, ``P + p * S``.

Position ``y`` of a value sees the positions ``y * S - P`` to ``y * S - P + r - 1`` of the input, where they exist. A value with
several paths sees the hull of what it sees on each, which is the largest of them where their centres agree. Upsampling
divides the stride; what the positions then see comes again in a pattern, and the size is that of the position that sees most.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from cnnbudget.analysis.fields import AxisField, Field
from cnnbudget.analysis.receptive_rules import ReceptiveFieldVisitor
from cnnbudget.analysis.walk import walk
from cnnbudget.errors import InvalidTypeError, shorten
from cnnbudget.graph.nodes import Network, check_network
from cnnbudget.graph.shapes import specs
from cnnbudget.tables import Column, html_table, plain, show, text_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cnnbudget.analysis.spans import Number
    from cnnbudget.tensors import Shape

__all__ = ["Misalignment", "NodeField", "ReceptiveField", "ReceptiveFieldVisitor", "receptive_field"]

_MOST_NOTES = 10


@frozen
class Misalignment:
    """Paths that meet at a node and do not agree.

    Args:
        node: The node where they meet.
        input: The input of the network that they come from.
        axis: Its spatial axis, from 0.
        reason: What they disagree in: ``strides 2, 4`` or ``centres 0, 1/2``.
    """

    node: str
    input: str
    axis: int
    reason: str

    def __str__(self) -> str:
        return (
            f"paths that meet at {self.node!r} disagree along spatial axis {self.axis} of {self.input!r}: {self.reason}"
        )


@frozen
class NodeField:
    """What every position of a node's output sees. The tuples have one entry for every spatial axis of every input it depends on.

    Args:
        node: The node's name.
        output_shape: ``(C, *spatial)`` of its output.
        field: The field, axis by axis.
    """

    node: str
    output_shape: Shape
    field: Field = field(repr=False)

    @property
    def size(self) -> tuple[int, ...]:
        """Positions from the first to the last that is seen; all of an axis that is seen whole.

        It is not clipped to the input: what lies outside is padding. Where positions see different amounts, it is the most.
        """
        return tuple(seen.size for seen in self.field.axes.values())

    @property
    def stride(self) -> tuple[Number | None, ...]:
        """Effective strides; 0 where every position sees the same, ``None`` where paths disagree."""
        return tuple(seen.stride for seen in self.field.axes.values())

    @property
    def padding(self) -> tuple[Number | None, ...]:
        """Effective paddings, that is how far before the input the first position's sight begins; negative behind a crop."""
        return tuple(seen.padding for seen in self.field.axes.values())

    @property
    def whole(self) -> bool:
        """Whether every position sees all inputs whole."""
        return all(seen.whole for seen in self.field.axes.values())

    @property
    def aligned(self) -> bool:
        """Whether all paths from the inputs agree in stride and centre."""
        return all(seen.aligned for seen in self.field.axes.values())

    @property
    def exact(self) -> bool:
        """Whether the figures are exact, not bounds from outside."""
        return all(seen.exact for seen in self.field.axes.values())

    @property
    def moves(self) -> bool:
        """Whether different positions see different parts of an input."""
        return any(seen.along is not None for seen in self.field.axes.values())

    def of_input(self, name: str) -> list[AxisField]:
        """The axes of one input.

        Args:
            name: The input's name.

        Returns:
            One field a spatial axis; none if the node does not depend on the input.
        """
        return [seen for (source, _), seen in self.field.axes.items() if source == name]


@frozen
class ReceptiveField:
    """The receptive fields of a network: size, effective stride and effective padding of every node.

    *Counts*: every input position that can influence an output position, from the first to the last, also through padding that
    copies it. *Does not count*: how strong the influence is (the "effective" receptive field of Luo et al., 2016, is smaller);
    gaps between the positions, which dilation leaves.

    Layers that see a whole map have the whole input as their field: global pooling, linear layers behind a flattening, and
    normalisations whose statistics come from the map itself (``InstanceNorm``, ``GroupNorm``, ``LayerNorm`` over spatial axes,
    ``BatchNorm`` without running statistics). Behind them the stride is that of the paths around them, or 0.

    Figures are exact but for rare ones that are marked "at most": a concatenation along a spatial axis, paths of many different
    strides, and resizings whose pattern is longer than 1,024 positions.

    Example:
        >>> from cnnbudget import Conv, MaxPool, Net
        >>> net = Net.input(3, 224, 224).then(Conv(64, 7, stride=2, padding=3), MaxPool(3, stride=2, padding=1))
        >>> fields = receptive_field(net.network)
        >>> print(fields)
        node          output  receptive field  stride  padding
        --------  ----------  ---------------  ------  -------
        conv      64x112x112              7x7     2x2      3x3
        max_pool    64x56x56            11x11     4x4      5x5
        >>> fields["max_pool"].size, fields["max_pool"].stride, fields["max_pool"].padding
        ((11, 11), (4, 4), (5, 5))
    """

    network: Network = field(repr=False)
    nodes: tuple[NodeField, ...] = field(repr=False)
    misaligned: tuple[Misalignment, ...] = ()

    def __iter__(self) -> Iterator[NodeField]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    def __getitem__(self, name: str) -> NodeField:
        """The field of a node, by name."""
        return self.nodes[self.network.position(name)]

    @cached_property
    def last(self) -> NodeField | None:
        """The last node on the way to the first output whose positions still see different parts of an input.

        Mostly what a global pooling or a flattening reads. ``None`` if there is no such node.
        """
        needed = {self.network.outputs[0]}
        for node, found in zip(reversed(self.network.nodes), reversed(self.nodes), strict=True):
            if node.name in needed:
                if found.moves:
                    return found
                needed.update(node.inputs)
        return None

    def rows(self) -> list[dict[str, Any]]:
        """The table as data.

        Returns:
            One dict for every node, input and spatial axis, with ``node``, ``input``, ``axis``, ``size``, ``stride``, ``padding``,
            ``extent`` (positions of the input), ``whole``, ``aligned``, ``exact``.
        """
        return [
            {
                "node": found.node,
                "input": source,
                "axis": axis,
                "size": seen.size,
                "stride": seen.stride,
                "padding": seen.padding,
                "extent": seen.extent,
                "whole": seen.whole,
                "aligned": seen.aligned,
                "exact": seen.exact,
            }
            for found in self.nodes
            for (source, axis), seen in found.field.axes.items()
        ]

    def _table(self) -> tuple[tuple[Column, ...], list[tuple[object, ...]]]:
        several = len(self.network.inputs) > 1
        noted = any(_note([seen]) for found in self.nodes for seen in found.field.axes.values())
        columns = (
            Column("node"),
            Column("output", right=True),
            *([Column("input")] if several else []),
            *[Column(title, right=True) for title in ("receptive field", "stride", "padding")],
            *([Column("note")] if noted else []),
        )
        cells: list[tuple[object, ...]] = []
        for found in self.nodes:
            for source in dict.fromkeys(source for source, _ in found.field.axes):
                axes = found.of_input(source)
                cells.append(
                    (
                        found.node,
                        found.output_shape,
                        *([source] if several else []),
                        *[
                            "x".join(show(getattr(seen, fact)) for seen in axes)
                            for fact in ("size", "stride", "padding")
                        ],
                        *([_note(axes)] if noted else []),
                    )
                )
        return columns, cells

    def _notes(self) -> list[str]:
        notes = [plain(str(found)) for found in self.misaligned[:_MOST_NOTES]]
        left_out = len(self.misaligned) - len(notes)
        return [*notes, f"... ({left_out:,} more)"] if left_out else notes

    def __str__(self) -> str:
        return "\n".join([text_table(*self._table()), *self._notes()])

    def _repr_html_(self) -> str:
        import html  # notebooks only

        return html_table(*self._table()) + "".join(f"<p>{html.escape(note)}</p>" for note in self._notes())


def _note(axes: list[AxisField]) -> str:
    notes = []
    if all(seen.whole for seen in axes):
        notes.append("the whole input")
    elif any(seen.whole for seen in axes):
        notes.append("the whole input along one axis")
    if not all(seen.aligned for seen in axes):
        notes.append("misaligned")
    if not all(seen.exact for seen in axes):
        notes.append("at most")
    return ", ".join(notes)


def receptive_field(network: Network, visitor: ReceptiveFieldVisitor | None = None) -> ReceptiveField:
    """Computes what every position of every value sees of the inputs.

    Args:
        network: The network.
        visitor: The rules; a subclass of :class:`~cnnbudget.analysis.receptive_rules.ReceptiveFieldVisitor` has more of them,
            for layers from another package.

    Returns:
        The table.

    Raises:
        MissingRuleError: If there is no rule for a layer; the error says how to add one.
        ShapeError: If a layer cannot be applied to what reaches it.

    Example:
        >>> from cnnbudget import Conv, Net
        >>> net = Net.input(3, 32, 32).repeat(Conv(16, 3, padding=1), 3)
        >>> receptive_field(net.network)["conv3"].size
        (7, 7)
    """
    check_network(network, "receptive_field()")
    rules = ReceptiveFieldVisitor() if visitor is None else visitor
    if not isinstance(rules, ReceptiveFieldVisitor):
        raise InvalidTypeError(
            "receptive_field() takes a visitor with rules",
            got=shorten(visitor),
            expected="an instance of a subclass of ReceptiveFieldVisitor",
        )
    found = walk(network, rules)
    shapes = specs(network)
    nodes = tuple([NodeField(node.name, shapes[node.name].shape, found[node.name]) for node in network.nodes])
    misaligned = [
        Misalignment(node.node, *conflict)
        for node in nodes
        if node.field.conflicts
        for conflict in node.field.conflicts
    ]
    return ReceptiveField(network, nodes, tuple(misaligned))
