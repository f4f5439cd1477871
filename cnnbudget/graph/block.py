"""Blocks: rootless chains of layers and blocks as plain values, and the verbs that make them.

A chain is a tuple of parts. Most parts are layers and blocks; the others say how values branch and meet: :class:`Branch`,
:class:`Tap`, :class:`Join`, :class:`At`, :class:`Output`, and :class:`Repeat`. The same verbs grow a block and a net.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from cnnbudget.checks import exact_int
from cnnbudget.errors import InvalidTypeError, InvalidValueError, shorten
from cnnbudget.graph.nodes import check_name
from cnnbudget.graph.structure import Part, Structure
from cnnbudget.layers.base import Layer
from cnnbudget.layers.merge import Add, Concat

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

__all__ = [
    "At",
    "Block",
    "Branch",
    "Join",
    "Output",
    "Part",
    "Repeat",
    "Structure",
    "Tap",
    "Verbs",
    "check_parts",
]

_CONCAT = Concat()
_ADD = Add()


class Verbs(ABC):
    """What grows a chain. Every verb returns a new chain; the old one stays."""

    @abstractmethod
    def then(self, *parts: Part, name: str | None = None, share: str | None = None) -> Self:
        """Appends layers and blocks.

        Args:
            *parts: Layers and blocks, in order.
            name: Opens a scope: their nodes are called ``name/...``.
            share: Their parameters are those of earlier parts appended with the same word: first layer with first layer,
                second with second.

        Returns:
            A longer chain.
        """

    def repeat(self, body: Part, times: int, *, name: str | None = None) -> Self:
        """Appends a layer or block so many times.

        Args:
            body: What is repeated.
            times: How often, at least once.
            name: With a name, every repetition is a scope: ``name.0``, ``name.1``, ...

        Returns:
            A longer chain.

        Example:
            >>> from cnnbudget import Conv, Net
            >>> Net.input(8, 16, 16).repeat(Conv(8, 3), 3).output_shape
            (8, 10, 10)
        """
        return self.then(Repeat(body, times, name=name))

    def branch(self, *blocks: Part | None, merge: Layer = _CONCAT, name: str | None = None) -> Self:
        """Splits the chain: every block reads the same value, and a layer merges what they make.

        Args:
            *blocks: Two blocks or more; ``None`` is the value itself.
            merge: The layer that reads the ends of the blocks, in order.
            name: Opens a scope.

        Returns:
            A longer chain.

        Example:
            >>> from cnnbudget import Conv, MaxPool, Net
            >>> net = Net.input(8, 16, 16).branch(Conv(4, 1), Conv(6, 3, padding=1), MaxPool(3, stride=1, padding=1))
            >>> net.output_shape
            (18, 16, 16)
        """
        return self.then(Branch(*blocks, merge=merge), name=name)

    def residual(
        self, body: Part, shortcut: Part | None = None, *, merge: Layer = _ADD, name: str | None = None
    ) -> Self:
        """Appends a block with a skip connection around it.

        Args:
            body: The block.
            shortcut: What the skipped value goes through; ``None`` for nothing.
            merge: The layer that reads the body's end and the shortcut's.
            name: Opens a scope.

        Returns:
            A longer chain.

        Example:
            >>> from cnnbudget import Block, Conv, Net, ReLU
            >>> body = Block(Conv(8, 3, padding=1), ReLU(), Conv(8, 3, padding=1))
            >>> [node.inputs for node in Net.input(8, 16, 16).residual(body).network.nodes][-1]
            ('conv2', 'input')
        """
        return self.then(Branch(body, shortcut, merge=merge), name=name)

    def tap(self, label: str) -> Self:
        """Labels the value at the end of the chain, for :meth:`join` and :meth:`at`.

        A later tap with the same label replaces an earlier one.

        Args:
            label: The label.

        Returns:
            A chain with the label.
        """
        return self.then(Tap(label))

    def join(self, *labels: str, merge: Layer = _CONCAT, name: str | None = None) -> Self:
        """Merges the value at the end of the chain with labelled ones.

        Args:
            *labels: Labels of :meth:`tap` or :meth:`output`, or names of the network's inputs.
            merge: The layer that reads the end of the chain, then the labelled values in order.
            name: Opens a scope.

        Returns:
            A longer chain.

        Raises:
            UnknownNameError: When it is built, if a label does not exist yet.

        Example:
            >>> from cnnbudget import Conv, Net
            >>> net = Net.input(3, 16, 16).then(Conv(4, 3, padding=1)).tap("early").then(Conv(8, 3, padding=1))
            >>> net.join("early").output_shape
            (12, 16, 16)
        """
        return self.then(Join(*labels, merge=merge), name=name)

    def at(self, label: str) -> Self:
        """Goes on from a labelled value: what is appended next reads that one.

        Where the chain was stays in the network, so something must reach it: label it with :meth:`tap` before, for a later
        :meth:`join` or ``at``, or make it an :meth:`output`.

        Args:
            label: A label of :meth:`tap` or :meth:`output`, or the name of one of the network's inputs.

        Returns:
            A chain that ends at the labelled value.

        Raises:
            UnknownNameError: When it is built, if the label does not exist yet.
            InvalidValueError: When it is built, if nothing can reach the value that the chain ended at.

        Example:
            >>> from cnnbudget import Conv, Net
            >>> net = Net.inputs(left=(3, 16, 16), right=(3, 16, 16)).then(Conv(4, 3), share="eye").tap("seen")
            >>> net = net.at("right").then(Conv(4, 3), share="eye").join("seen")
            >>> [node.inputs for node in net.network.nodes], net.parameter_count
            ([('left',), ('right',), ('conv2', 'conv')], 112)
        """
        return self.then(At(label))

    def output(self, label: str, *head: Part) -> Self:
        """Makes a further output of the network; the chain goes on from where it was.

        Args:
            label: The scope of the head's nodes, and a label for :meth:`join`.
            *head: Layers and blocks between the chain and the output; none makes the value itself an output.

        Returns:
            A chain with a further output.

        Example:
            >>> from cnnbudget import Conv, GlobalAvgPool, Linear, Net
            >>> net = Net.input(3, 16, 16).then(Conv(4, 3)).output("aux", GlobalAvgPool(), Linear(2)).then(Conv(8, 3))
            >>> net.network.outputs
            ('conv2', 'aux/linear')
        """
        return self.then(Output(label, *head))


@frozen(repr=False, init=False)
class Block(Structure, Verbs):
    """A chain of layers and blocks without a root: equal, hashable, reusable. With a name it opens a scope where it is used.

    A block without a name is written out where it is used: ``Block(a, Block(b, c)) == Block(a, b, c)``.

    Args:
        *parts: Layers, blocks and other parts, in order.
        name: The scope's name.
        share: See :meth:`~cnnbudget.graph.block.Verbs.then`.

    Raises:
        InvalidTypeError: If a part is something else.
        InvalidValueError: If it is empty, or too large when written out.

    Example:
        >>> from cnnbudget import BatchNorm, Block, Conv, Net, ReLU
        >>> unit = Block(Conv(16, 3, padding="same", bias=False), BatchNorm(), ReLU())
        >>> net = Net.input(3, 32, 32).repeat(unit, 2, name="stage")
        >>> [node.name for node in net.network.nodes][:4]
        ['stage.0/conv', 'stage.0/batch_norm', 'stage.0/relu', 'stage.1/conv']
    """

    parts: tuple[Part, ...]
    name: str | None
    share: str | None

    def __init__(self, *parts: Part, name: str | None = None, share: str | None = None) -> None:
        if name is not None:
            check_name(name, "a block's name")
        if share is not None:
            check_name(share, "share")
        self.__attrs_init__(check_parts(parts, "Block"), name, share)
        self._check_size()

    def inside(self) -> tuple[Part, ...]:
        """Its parts."""
        return self.parts

    @classmethod
    def _of(cls, values: dict[str, Any]) -> Self:
        return cls(*values.pop("parts"), **values)

    def then(self, *parts: Part, name: str | None = None, share: str | None = None) -> Block:
        """Returns a longer block; see :meth:`~cnnbudget.graph.block.Verbs.then`."""
        return Block(*self.parts, Block(*parts, name=name, share=share), name=self.name, share=self.share)

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        words = "".join(
            f", {key}={value!r}" for key, value in (("name", self.name), ("share", self.share)) if value is not None
        )
        return f"Block({', '.join(map(repr, self.parts))}{words})"


def _as_block(part: Part) -> Block:
    return part if isinstance(part, Block) else Block(part)


@frozen(repr=False, init=False)
class Repeat(Structure):
    """A part, repeated. With a name, every repetition is a scope: ``name.0``, ``name.1``, ...

    Args:
        body: A layer or a block.
        times: How often, at least once.
        name: The stem of the scopes' names.
    """

    body: Block
    times: int
    name: str | None

    def __init__(self, body: Part, times: int, *, name: str | None = None) -> None:
        if name is not None:
            check_name(name, "a repetition's name")
        self.__attrs_init__(_as_block(body), exact_int(times, "Repeat.times"), name)
        self._check_size()

    def inside(self) -> tuple[Part, ...]:
        """The body, once."""
        return (self.body,)

    def own_layers(self) -> int:
        """The layers of all repetitions but one."""
        return self.body.layer_count * (self.times - 1)

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        name = "" if self.name is None else f", name={self.name!r}"
        return f"Repeat({self.body!r}, {self.times}{name})"


@frozen(repr=False, init=False)
class Branch(Structure):
    """Blocks that read the same value, and the layer that merges what they make.

    Args:
        *blocks: Two blocks or more; ``None`` is the value itself.
        merge: Reads the ends of the blocks, in order.
    """

    blocks: tuple[Block | None, ...]
    merge: Layer

    def __init__(self, *blocks: Part | None, merge: Layer = _CONCAT) -> None:
        if len(blocks) < 2:
            raise InvalidValueError("a branch needs blocks to merge", got=f"{len(blocks)}", expected="two or more")
        checked = tuple(None if block is None else _as_block(block) for block in blocks)
        self.__attrs_init__(checked, _merge(merge))
        self._check_size()

    def inside(self) -> tuple[Part, ...]:
        """Its blocks."""
        return tuple(block for block in self.blocks if block is not None)

    @classmethod
    def _of(cls, values: dict[str, Any]) -> Self:
        return cls(*values.pop("blocks"), **values)

    def own_layers(self) -> int:
        """The merge."""
        return 1

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"Branch({', '.join(map(repr, self.blocks))}, merge={self.merge!r})"


def _merge(merge: object) -> Layer:
    if not isinstance(merge, Layer):
        hint = f"call it: {merge.__name__}()" if isinstance(merge, type) else None
        raise InvalidTypeError(
            "merge must be a layer", got=shorten(merge), expected="for example Concat() or Add()", hint=hint
        )
    return merge


def _is_label(part: Any, attribute: Any, value: Any) -> None:  # noqa: ARG001  # what attrs calls
    check_name(value, "a tap's label" if isinstance(part, Tap) else "a label")


@frozen
class Tap(Structure):
    """Labels the value at the end of the chain; see :meth:`~cnnbudget.graph.block.Verbs.tap`."""

    label: str = field(validator=_is_label)


@frozen
class At(Structure):
    """Goes on from a labelled value; see :meth:`~cnnbudget.graph.block.Verbs.at`."""

    label: str = field(validator=_is_label)


@frozen(repr=False, init=False)
class Join(Structure):
    """Merges the value at the end of the chain with labelled ones; see :meth:`~cnnbudget.graph.block.Verbs.join`."""

    labels: tuple[str, ...]
    merge: Layer

    def __init__(self, *labels: str, merge: Layer = _CONCAT) -> None:
        if not labels:
            raise InvalidValueError("a join needs labels", got="()", expected="at least one label of a tap")
        for label in labels:
            if type(label) is not str or not label:  # a tap of that name was checked; a block may join many
                check_name(label, "a tap's label")
        self.__attrs_init__(labels, _merge(merge))

    @classmethod
    def _of(cls, values: dict[str, Any]) -> Self:
        return cls(*values.pop("labels"), **values)

    def own_layers(self) -> int:
        """The merge."""
        return 1

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"Join({', '.join(map(repr, self.labels))}, merge={self.merge!r})"


@frozen(repr=False, init=False)
class Output(Structure):
    """A further output, behind a head of its own; see :meth:`~cnnbudget.graph.block.Verbs.output`."""

    label: str
    head: Block | None

    def __init__(self, label: str, *head: Part) -> None:
        self.__attrs_init__(check_name(label, "an output's label"), Block(*head, name=label) if head else None)
        self._check_size()

    @classmethod
    def _of(cls, values: dict[str, Any]) -> Self:
        head = values["head"]
        return cls(values["label"], *([] if head is None else _as_block(head).parts))

    def inside(self) -> tuple[Part, ...]:
        """The head."""
        return () if self.head is None else (self.head,)

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"Output({', '.join(map(repr, (self.label, *(self.head.parts if self.head else ()))))})"


@cache  # asking an abstract class costs more than the rest of a check
def _is_part(kind: type) -> bool:
    return issubclass(kind, (Structure, Layer))


def check_parts(parts: Iterable[Any], what: str) -> tuple[Part, ...]:
    """Checks what a chain is made of, and writes out blocks that have neither a name nor shared parameters.

    Args:
        parts: What the user gave.
        what: Who asks.

    Returns:
        Layers, named blocks and other parts.

    Raises:
        InvalidTypeError: If a part is something else.
        InvalidValueError: If there is none.
    """
    checked: list[Part] = []
    for part in parts:
        if isinstance(part, Block) and part.name is None and part.share is None:
            checked += part.parts
        elif _is_part(type(part)):  # type: ignore[arg-type]  # classes are hashable, whatever mypy says of Any's
            checked.append(part)
        else:
            hint = None
            if isinstance(part, type) and issubclass(part, Layer):
                hint = f"call it: {part.__name__}(...)"
            elif isinstance(part, (list, tuple)):
                hint = "unpack it: *layers"
            raise InvalidTypeError(
                f"{what} takes layers and blocks",
                got=shorten(part),
                expected="for example Conv(64, 3), ReLU()",
                hint=hint,
            )
    if not checked:
        raise InvalidValueError(f"{what} is empty", got="no layers", expected="at least one layer or block")
    return tuple(checked)
