"""The builder: writes a chain of parts out as nodes, and names them. Iterative, so nesting costs no stack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnnbudget.errors import InvalidTypeError, UnknownNameError, did_you_mean, shorten
from cnnbudget.graph.block import Block, Branch, Join, Output, Repeat, Tap
from cnnbudget.graph.naming import Namer
from cnnbudget.graph.nodes import Input, Network, Node
from cnnbudget.layers.base import Layer, word_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cnnbudget.graph.block import Part

__all__ = ["Root", "Builder", "build"]

Root = tuple[Input, ...] | Network
"""What a chain grows from: inputs, of which the first is the chain's start and all are labelled, or a network."""


class Builder:
    """Writes parts out behind a root.

    Args:
        root: Inputs, or a network whose first output is where the chain goes on.

    Attributes:
        tip: Name of the value at the end of the chain.
        taps: Names of the labelled values.
    """

    def __init__(self, root: Root) -> None:
        self._inputs = root.inputs if isinstance(root, Network) else root
        self._nodes = list(root.nodes) if isinstance(root, Network) else []
        self._namer = Namer([source.name for source in self._inputs] + [node.name for node in self._nodes])
        self.tip, *further = root.outputs if isinstance(root, Network) else (self._inputs[0].name,)
        self._outputs = further
        self.taps: dict[str, str] = {source.name: source.name for source in self._inputs}
        self._shared: dict[tuple[str, int], str] = {}

    def add(self, parts: Iterable[Part]) -> None:
        """Writes parts out.

        Args:
            parts: Layers, blocks and other parts.

        Raises:
            UnknownNameError: If a join asks for a label that does not exist yet.
        """
        running = [self._run(parts, "", None)]
        while running:
            inner = next(running[-1], None)
            if inner is None:
                running.pop()
            else:
                running.append(inner)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes that were written so far."""
        return tuple(self._nodes)

    def network(self) -> Network:
        """Returns the network of what was written so far."""
        return Network(self._inputs, self._nodes, tuple(dict.fromkeys((self.tip, *self._outputs))))

    def _run(self, parts: Iterable[Part], scope: str, sharing: _Sharing | None) -> Iterator[Any]:
        """Writes parts out; yields a generator of the same kind for whatever is nested, and goes on when that has run."""
        for part in parts:
            if isinstance(part, Layer):
                self._add_node(part, (self.tip,), scope, sharing)
            elif isinstance(part, Block):
                inner = scope if part.name is None else f"{self._namer.fresh(scope + part.name)}/"
                yield self._run(part.parts, inner, sharing if part.share is None else _Sharing(part.share))
            elif isinstance(part, Repeat):
                for number in range(part.times):
                    inner = scope if part.name is None else f"{self._namer.fresh(f'{scope}{part.name}.{number}')}/"
                    yield self._run((part.body,), inner, sharing)
            elif isinstance(part, Branch):
                start, ends = self.tip, []
                for block in part.blocks:
                    self.tip = start
                    if block is not None:
                        yield self._run((block,), scope, sharing)
                    ends.append(self.tip)
                self._add_node(part.merge, tuple(ends), scope, sharing)
            elif isinstance(part, Tap):
                self.taps[part.label] = self.tip
            elif isinstance(part, Join):
                self._add_node(part.merge, (self.tip, *map(self._tapped, part.labels)), scope, sharing)
            elif isinstance(part, Output):
                start = self.tip
                if part.head is not None:
                    yield self._run((part.head,), scope, sharing)
                self._outputs.append(self.tip)
                self.taps[part.label], self.tip = self.tip, start
            else:
                raise InvalidTypeError(
                    "this part cannot be built", got=shorten(part), expected="a layer, a block or another part"
                )

    def _tapped(self, label: str) -> str:
        if label not in self.taps:
            raise UnknownNameError("no value has this label yet", got=repr(label), hint=did_you_mean(label, self.taps))
        return self.taps[label]

    def _add_node(self, layer: Layer, inputs: tuple[str, ...], scope: str, sharing: _Sharing | None) -> None:
        name = self._namer.fresh(scope + word_of(type(layer)))
        owner = None
        if sharing is not None:
            key = (sharing.word, sharing.next())
            owner = self._shared.setdefault(key, name)
        self._nodes.append(Node(name, layer, inputs, None if owner == name else owner))
        self.tip = name


class _Sharing:
    """Counts the layers of parts that share their parameters with earlier ones under the same word."""

    def __init__(self, word: str) -> None:
        self.word = word
        self._count = 0

    def next(self) -> int:
        self._count += 1
        return self._count


def build(root: Root, parts: Iterable[Part]) -> Network:
    """Writes a chain out as a network.

    Args:
        root: Inputs, or a network.
        parts: Layers, blocks and other parts.

    Returns:
        The network; its first output is the end of the chain.

    Raises:
        InvalidValueError: If there are no nodes.
        UnknownNameError: If a join asks for a label that does not exist yet.
    """
    builder = Builder(root)
    builder.add(parts)
    return builder.network()
