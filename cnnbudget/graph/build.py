"""The builder: writes a chain of parts out as nodes, and names them. Iterative, so nesting costs no stack."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from cnnbudget.errors import InvalidTypeError, InvalidValueError, UnknownNameError, did_you_mean, shorten
from cnnbudget.graph.block import At, Block, Branch, Join, Output, Repeat, Structure, Tap
from cnnbudget.graph.grown import Grown
from cnnbudget.graph.naming import Namer
from cnnbudget.graph.nodes import Input, Network, Node
from cnnbudget.graph.shapes import Applier
from cnnbudget.layers.base import Layer, word_of
from cnnbudget.tensors import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cnnbudget.graph.block import Part
    from cnnbudget.graph.shapes import Application

__all__ = ["Builder", "Checker", "Root", "build"]

V = TypeVar("V")

Root = tuple[Input, ...] | Network
"""What a chain grows from: inputs, of which the first is the chain's start and all are labelled, or a network."""


class _Writer(ABC, Generic[V]):
    """Writes parts out, one layer after the other, whatever a value is: a node's name, or a spec.

    Attributes:
        tip: The value at the end of the chain.
    """

    def __init__(self, tip: V, taps: Grown[str, V]) -> None:
        self.tip = tip
        self._before = taps
        self._given: dict[str, V] = {}

    @property
    def taps(self) -> Grown[str, V]:
        """The labelled values."""
        return self._before.with_entries(self._given)

    def write(self, parts: Iterable[Part]) -> None:
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

    @abstractmethod
    def use(self, layer: Layer, inputs: tuple[V, ...], scope: str, sharing: _Sharing | None) -> V:
        """Applies a layer to values."""

    def opened(self, scope: str, name: str) -> str:
        """The prefix of names in a scope that is opened within another."""
        return scope

    def end(self, value: V) -> None:
        """Takes note of a further output."""

    def leave(self, value: V) -> None:
        """Takes note of where the chain ended before it went on from somewhere else."""

    def _run(self, parts: Iterable[Part], scope: str, sharing: _Sharing | None) -> Iterator[Any]:
        """Writes parts out; yields a generator of the same kind for whatever is nested, and goes on when that has run."""
        for part in parts:
            if not isinstance(part, Structure):
                self.tip = self.use(part, (self.tip,), scope, sharing)
            elif isinstance(part, Block):
                yield self._within(part, scope, sharing)
            elif isinstance(part, Repeat):
                for number in range(part.times):
                    inner = scope if part.name is None else self.opened(scope, f"{part.name}.{number}")
                    yield self._within(part.body, inner, sharing)
            elif isinstance(part, Branch):
                start, ends = self.tip, []
                for block in part.blocks:
                    self.tip = start
                    if block is not None:
                        yield self._within(block, scope, sharing)
                    ends.append(self.tip)
                self.tip = self.use(part.merge, tuple(ends), scope, sharing)
            elif isinstance(part, Tap):
                self._given[part.label] = self.tip
            elif isinstance(part, At):
                self.leave(self.tip)
                (self.tip,) = self._labelled((part.label,), scope)
            elif isinstance(part, Join):
                self.tip = self.use(part.merge, (self.tip, *self._labelled(part.labels, scope)), scope, sharing)
            elif isinstance(part, Output):
                start = self.tip
                if part.head is not None:
                    yield self._within(part.head, scope, sharing)
                self.end(self.tip)
                self._given[part.label] = self.tip
                self.tip = start
            else:
                raise InvalidTypeError(
                    "this part cannot be built", got=shorten(part), expected="a layer, a block or another part"
                )

    def _within(self, block: Block, scope: str, sharing: _Sharing | None) -> Iterator[Any]:
        """Writes the parts of a block out."""
        inner = scope if block.name is None else self.opened(scope, block.name)
        return self._run(block.parts, inner, sharing if block.share is None else _Sharing(block.share))

    def _labelled(self, labels: Iterable[str], scope: str) -> list[V]:
        given = self._given
        try:
            return [given[label] for label in labels]
        except KeyError:  # then some are older
            return [given[label] if label in given else self._older(label, scope) for label in labels]

    def _older(self, label: str, scope: str) -> V:
        value = self._before.get(label)
        if value is None:
            raise UnknownNameError(
                "no value has this label yet",
                where=f"scope {scope[:-1]!r}" if scope else None,
                got=shorten(label),
                hint=did_you_mean(label, self.taps),
            )
        return value


class _Sharing:
    """Counts the layers of parts that share their parameters with earlier ones under the same word."""

    def __init__(self, word: str) -> None:
        self.word = word
        self._count = 0

    def next(self) -> int:
        self._count += 1
        return self._count


class Builder(_Writer[str]):
    """Writes parts out as nodes behind a root, and names them.

    Args:
        root: Inputs, or a network whose first output is where the chain goes on.
    """

    def __init__(self, root: Root) -> None:
        self._inputs = root.inputs if isinstance(root, Network) else root
        self._nodes = list(root.nodes) if isinstance(root, Network) else []
        names = [source.name for source in self._inputs] + [node.name for node in self._nodes]
        self._namer = Namer(names)
        tip, *self._outputs = root.outputs if isinstance(root, Network) else (self._inputs[0].name,)
        self._shared: dict[tuple[str, int], str] = {}
        self._left: list[str] = []
        super().__init__(tip, Grown({name: name for name in names}))

    def use(self, layer: Layer, inputs: tuple[str, ...], scope: str, sharing: _Sharing | None) -> str:
        """Adds a node."""
        name = self._namer.fresh(scope + word_of(type(layer)))
        owner = name if sharing is None else self._shared.setdefault((sharing.word, sharing.next()), name)
        self._nodes.append(Node._made(name, layer, inputs, None if owner == name else owner))  # noqa: SLF001  # for this only
        return name

    def opened(self, scope: str, name: str) -> str:
        """The prefix of names in a scope, which nobody else has."""
        return f"{self._namer.fresh(scope + name)}/"

    def end(self, value: str) -> None:
        """Makes a value an output of the network."""
        self._outputs.append(value)

    def leave(self, value: str) -> None:
        """Remembers where the chain ended."""
        self._left.append(value)

    def network(self) -> Network:
        """Returns the network of what was written so far.

        Raises:
            InvalidValueError: If it has no nodes, or the chain left a value that nothing reads and nothing can reach.
        """
        if self._left:
            reached = {name for node in self._nodes for name in node.inputs} | {source.name for source in self._inputs}
            reached.update(self._outputs, [self.tip], self._given.values())
            for name in self._left:
                if name not in reached:
                    raise InvalidValueError(
                        "the chain went on from another value, and nothing can reach this one any more",
                        where=f"node {name!r}",
                        hint="label it with .tap('label'), or make it an .output('label'), before .at(...)",
                    )
        return Network(self._inputs, self._nodes, tuple(dict.fromkeys((self.tip, *self._outputs))))


class Checker(_Writer[TensorSpec]):
    """Infers the shapes of parts without making nodes of them: how a net checks what is appended.

    Args:
        tip: Spec of the value at the end of the chain.
        taps: Specs of the labelled values.
        shared: The first uses of layers whose parameters are shared, by word and number.

    Attributes:
        applied: What the parts apply to what, in the order of their nodes.
        doubtful: Whether there may be an error that only the written out network shows.
    """

    def __init__(
        self, tip: TensorSpec, taps: Grown[str, TensorSpec], shared: Grown[tuple[str, int], Application]
    ) -> None:
        super().__init__(tip, taps)
        self._applier = Applier()
        self._shared_before = shared
        self._shared: dict[tuple[str, int], Application] = {}
        self.applied: list[Application] = []
        self.doubtful = False

    def use(self, layer: Layer, inputs: tuple[TensorSpec, ...], scope: str, sharing: _Sharing | None) -> TensorSpec:
        """Infers the output of a layer."""
        one = self._applier.apply(layer, inputs)
        self.applied.append(one)
        if sharing is not None:
            self._share((sharing.word, sharing.next()), one)
        return one.output

    @property
    def shared(self) -> Grown[tuple[str, int], Application]:
        """The first uses of layers whose parameters are shared, with those that were added."""
        return self._shared_before.with_entries(self._shared)

    def leave(self, value: TensorSpec) -> None:
        """Takes note that something may have been left that nothing can reach: specs do not tell values apart."""
        self.doubtful = True

    def _share(self, place: tuple[str, int], one: Application) -> None:
        first = self._shared.get(place) or self._shared_before.get(place)
        if first is None:
            self._shared[place] = one
        elif _state(first) != _state(one):
            self.doubtful = True


def _state(one: Application) -> tuple[object, object]:
    """What two nodes have in common when they share it."""
    return one.layer.parameters(one.inputs), one.layer.buffers(one.inputs)


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
    builder.write(parts)
    return builder.network()
