"""Blocks: rootless chains of layers and blocks, as plain values; and the builder that turns them into nodes."""

from __future__ import annotations

from functools import cached_property
from itertools import repeat
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from cnnbudget.checks import exact_int
from cnnbudget.errors import InvalidTypeError, InvalidValueError, shorten
from cnnbudget.graph.naming import Namer
from cnnbudget.graph.nodes import Input, Network, Node, check_name
from cnnbudget.layers.base import Layer, word_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["MOST_LAYERS", "Block", "Part", "Repeat", "build", "check_parts", "extend"]

MOST_LAYERS = 10_000_000
"""The most layers that a block or a network may have when it is written out: a typing error must not fill the memory."""

MOST_SCOPES = 100
"""The most named blocks and repetitions inside each other, so that hashing and comparing them cannot exhaust the stack."""


@frozen(repr=False, init=False)
class Block:
    """A chain of layers and blocks without a root: equal, hashable, reusable. With a name it opens a scope where it is used.

    A block without a name is written out where it is used: ``Block(a, Block(b, c)) == Block(a, b, c)``.

    Args:
        *parts: Layers, blocks and repetitions, in order.
        name: The scope's name.

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
    layer_count: int = field(eq=False)
    scope_depth: int = field(eq=False)

    def __init__(self, *parts: Part, name: str | None = None) -> None:
        checked = check_parts(parts, "Block")
        if name is not None:
            check_name(name, "a block's name")
        self.__attrs_init__(checked, name, _count(checked), _depth(checked) + (name is not None))

    def then(self, *parts: Part, name: str | None = None) -> Block:
        """Returns a longer block.

        Args:
            *parts: Layers, blocks and repetitions to append.
            name: A scope for what is appended.

        Returns:
            A new block.
        """
        return Block(*self.parts, Block(*parts, name=name), name=self.name)

    def repeat(self, body: Part, times: int, *, name: str | None = None) -> Block:
        """Returns this block followed by a part so many times.

        Args:
            body: What is repeated.
            times: How often, at least once.
            name: With a name, every repetition is a scope: ``name.0``, ``name.1``, ...

        Returns:
            A new block.
        """
        return Block(*self.parts, Repeat(body, times, name=name), name=self.name)

    @cached_property
    def _hash(self) -> int:
        return hash((self.parts, self.name))

    def __hash__(self) -> int:  # once only: blocks inside blocks would be hashed over and over
        return self._hash

    def __repr__(self) -> str:
        name = "" if self.name is None else f", name={self.name!r}"
        return f"Block({', '.join(map(repr, self.parts))}{name})"


@frozen(repr=False, init=False)
class Repeat:
    """A part, repeated. With a name, every repetition is a scope: ``name.0``, ``name.1``, ...

    Args:
        body: A layer or a block.
        times: How often, at least once.
        name: The stem of the scopes' names.
    """

    body: Block
    times: int
    name: str | None
    layer_count: int = field(eq=False)
    scope_depth: int = field(eq=False)

    def __init__(self, body: Part, times: int, *, name: str | None = None) -> None:
        block = body if isinstance(body, Block) else Block(body)
        times = exact_int(times, "Repeat.times")
        if name is not None:
            check_name(name, "a repetition's name")
        count = _limit(block.layer_count * times)
        self.__attrs_init__(block, times, name, count, block.scope_depth + 1)

    @cached_property
    def _hash(self) -> int:
        return hash((self.body, self.times, self.name))

    def __hash__(self) -> int:  # once only: blocks inside blocks would be hashed over and over
        return self._hash

    def __repr__(self) -> str:
        name = "" if self.name is None else f", name={self.name!r}"
        return f"Repeat({self.body!r}, {self.times}{name})"


Part = Layer | Block | Repeat


def check_parts(parts: Iterable[Any], what: str) -> tuple[Part, ...]:
    """Checks what a chain is made of, and writes out blocks without a name.

    Args:
        parts: What the user gave.
        what: Who asks.

    Returns:
        Layers, named blocks and repetitions.

    Raises:
        InvalidTypeError: If a part is something else.
        InvalidValueError: If there is none.
    """
    checked: list[Part] = []
    for part in parts:
        if isinstance(part, Block) and part.name is None:
            checked += part.parts
        elif isinstance(part, (Layer, Block, Repeat)):
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


def _limit(count: int) -> int:
    if count > MOST_LAYERS:
        raise InvalidValueError(
            "too many layers when the blocks are written out", got=shorten(count), expected=f"at most {MOST_LAYERS:,}"
        )
    return count


def _count(parts: tuple[Part, ...]) -> int:
    return _limit(sum(1 if isinstance(part, Layer) else part.layer_count for part in parts))


def _depth(parts: tuple[Part, ...]) -> int:
    depth = max(0 if isinstance(part, Layer) else part.scope_depth for part in parts)
    if depth >= MOST_SCOPES:
        raise InvalidValueError(
            "blocks are nested too deeply", got=f"{depth + 1} scopes", expected=f"at most {MOST_SCOPES}"
        )
    return depth


def _repetitions(part: Repeat) -> Iterator[Part]:
    if part.name is None:
        return repeat(part.body, part.times)
    return (Block(part.body, name=f"{part.name}.{number}") for number in range(part.times))


def build(source: Input, parts: Iterable[Part]) -> Network:
    """Writes a chain out as a network.

    Args:
        source: The input.
        parts: Layers, blocks and repetitions.

    Returns:
        The network; its output is the last node.

    Raises:
        InvalidValueError: If there are no parts.
    """
    nodes = list(_nodes(Namer([source.name]), source.name, parts))
    return Network((source,), nodes, (nodes[-1].name if nodes else source.name,))


def extend(root: Input | Network, parts: Iterable[Part]) -> Network:
    """Writes a chain out behind an input, or behind the only output of a network, whose names stay.

    Args:
        root: An input, or a network with one output.
        parts: Layers, blocks and repetitions.

    Returns:
        The network; its output is the last node.
    """
    if isinstance(root, Input):
        return build(root, parts)
    (tip,) = root.outputs
    taken = [source.name for source in root.inputs] + [node.name for node in root.nodes]
    nodes = [*root.nodes, *_nodes(Namer(taken), tip, parts)]
    return Network(root.inputs, nodes, (nodes[-1].name if len(nodes) > len(root.nodes) else tip,))


def _nodes(namer: Namer, tip: str, parts: Iterable[Part]) -> Iterator[Node]:
    """Writes parts out as a chain of nodes. Iterative: nesting costs no stack."""
    open_blocks: list[tuple[Iterator[Part], str]] = [(iter(parts), "")]
    while open_blocks:
        rest, scope = open_blocks[-1]
        for part in rest:
            if isinstance(part, Layer):
                name = namer.fresh(scope + word_of(type(part)))
                yield Node(name, part, (tip,))
                tip = name
            elif isinstance(part, Repeat):
                open_blocks.append((_repetitions(part), scope))
                break
            else:
                inner = scope if part.name is None else f"{namer.fresh(scope + part.name)}/"
                open_blocks.append((iter(part.parts), inner))
                break
        else:
            open_blocks.pop()
