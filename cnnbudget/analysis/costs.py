"""The cost visitor: output shape, parameters, buffers, multiply-accumulates and activation footprint of every node, in one pass."""

from __future__ import annotations

from functools import cached_property, lru_cache
from math import prod
from typing import TYPE_CHECKING, Any, NoReturn

from attrs import evolve, field, frozen

from cnnbudget.analysis.visitor import Use, Visitor, missing_rule
from cnnbudget.dtypes import FP32, Precision, Role
from cnnbudget.errors import CnnBudgetError, ConformanceError, InvalidTypeError, MissingRuleError, shorten
from cnnbudget.graph.nodes import Input, Network, Node, check_network
from cnnbudget.graph.shapes import Application, applications, cannot_share, place_of
from cnnbudget.tables import Column, html_table, text_table
from cnnbudget.tensors import Footprint, Shape, TensorSpec, shape_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cnnbudget.layers.base import Layer
    from cnnbudget.units import Bytes

__all__ = ["CostTable", "CostVisitor", "NodeCost", "costs", "costs_of"]

Shapes = tuple[tuple[str, Shape], ...]
"""Names and shapes, in the order in which the layer states them."""

Specs = tuple[tuple[str, TensorSpec], ...]
"""Names and specs, likewise."""

_Facts = tuple[Shapes | None, Specs | None, int | None]


@frozen
class NodeCost:
    """What one node costs, in elements; bytes follow from a precision.

    Args:
        node: The node.
        inputs: Specs of what it reads.
        output: Spec of what it makes.
        parameters: Names and shapes of its own parameters (none if it shares another node's); ``None`` if unknown.
        buffers: Names and specs of its own buffers; ``None`` if unknown.
        macs: Multiply-accumulates of one sample (convolution and linear layers only, bias additions not counted);
            ``None`` if unknown.
    """

    node: Node
    inputs: tuple[TensorSpec, ...]
    output: TensorSpec
    parameters: Shapes | None
    buffers: Specs | None
    macs: int | None

    @property
    def name(self) -> str:
        """The node's name."""
        return self.node.name

    @property
    def output_shape(self) -> Shape:
        """Shape of one sample of the output."""
        return self.output.shape

    @property
    def parameter_count(self) -> int | None:
        """Trainable parameters; ``None`` if unknown."""
        return None if self.parameters is None else sum([prod(shape) for _, shape in self.parameters])

    @property
    def buffer_count(self) -> int | None:
        """Elements of the buffers; ``None`` if unknown."""
        return None if self.buffers is None else sum([spec.element_count for _, spec in self.buffers])

    @property
    def footprint(self) -> Footprint:
        """Size of the output, whoever owns the storage."""
        return self.output.footprint

    def activation_bytes(self, batch: int = 1, precision: Precision = FP32) -> Bytes:
        """Bytes of the output, whoever owns the storage.

        Args:
            batch: Samples in a batch.
            precision: The dtypes.

        Returns:
            Exact bytes.

        Example:
            >>> from cnnbudget import Conv, Net
            >>> table = Net.input(3, 200, 300).then(Conv(100, 3, stride=2, padding="same")).costs()
            >>> table["conv"].activation_bytes(batch=50)
            Bytes(300000000)
        """
        if not isinstance(precision, Precision):
            raise InvalidTypeError(
                "precision must be a Precision", got=shorten(precision), expected="for example FP32 or FP16"
            )
        return self.footprint.byte_count(batch, self.output.dtype or precision[self.output.role])


_COLUMNS = (
    Column("node"),
    Column("layer"),
    Column("output", right=True),
    Column("parameters", right=True),
    Column("MACs", right=True),
    Column("activation (FP32, 1 sample)", right=True),
)


@frozen
class CostTable:
    """The costs of every node of a network, in execution order.

    *Counts*: trainable parameters; buffers (running statistics); multiply-accumulates of convolutions and linear layers for one
    sample; elements of every output. *Does not count*: bias additions, normalisation, pooling and activation functions as
    multiply-accumulates; the input; which outputs share storage (a memory profile does).

    Example:
        >>> from cnnbudget import Conv, Net
        >>> table = Net.input(3, 8, 8).then(Conv(4, 3), Conv(2, 3)).costs()
        >>> [(row.name, row.output_shape, row.parameter_count) for row in table]
        [('conv', (4, 6, 6), 112), ('conv2', (2, 4, 4), 74)]
        >>> table.parameter_count, table.mac_count
        (186, 5040)
    """

    network: Network
    nodes: tuple[NodeCost, ...] = field(repr=False)

    def __iter__(self) -> Iterator[NodeCost]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    def __getitem__(self, name: str) -> NodeCost:
        """The costs of a node, by name."""
        return self.nodes[self.network.position(name)]

    def _total(self, fact: str, counts: list[int | None]) -> int:
        try:
            return sum(counts)  # type: ignore[arg-type]  # None is what the except clause is for
        except TypeError:
            unknown = next(cost for cost, count in zip(self.nodes, counts, strict=True) if count is None)
            raise missing_rule(fact, unknown.node, unknown.inputs) from None

    @cached_property
    def parameter_count(self) -> int:
        """Trainable parameters.

        Raises:
            MissingRuleError: If a layer does not state them.
        """
        return self._total("parameters", [cost.parameter_count for cost in self.nodes])

    @cached_property
    def buffer_count(self) -> int:
        """Elements of all buffers.

        Raises:
            MissingRuleError: If a layer does not state them.
        """
        return self._total("buffers", [cost.buffer_count for cost in self.nodes])

    @cached_property
    def mac_count(self) -> int:
        """Multiply-accumulates of one sample.

        Raises:
            MissingRuleError: If a layer does not state them.
        """
        return self._total("macs", [cost.macs for cost in self.nodes])

    @cached_property
    def specs(self) -> Mapping[str, TensorSpec]:
        """Specs of all values by name, inputs included."""
        return {source.name: source.spec for source in self.network.inputs} | {
            cost.name: cost.output for cost in self.nodes
        }

    def rows(self) -> list[dict[str, Any]]:
        """The table as data.

        Returns:
            One dict a node, with ``node``, ``layer``, ``output``, ``parameters``, ``buffers``, ``macs``, ``activations``. Unknown
            counts are ``None``.
        """
        return [
            {
                "node": cost.name,
                "layer": repr(cost.node.layer),
                "output": cost.output_shape,
                "parameters": cost.parameter_count,
                "buffers": cost.buffer_count,
                "macs": cost.macs,
                "activations": cost.output.element_count,
            }
            for cost in self.nodes
        ]

    def _cells(self) -> list[tuple[object, ...]]:
        return [
            (
                cost.name,
                shorten(cost.node.layer, 60),
                cost.output_shape,
                cost.parameter_count,
                cost.macs,
                cost.activation_bytes(),
            )
            for cost in self.nodes
        ]

    def _total_cells(self) -> tuple[object, ...]:
        def known(question: str) -> object:
            try:
                return getattr(self, question)
            except MissingRuleError:
                return None

        return ("total", "", "", known("parameter_count"), known("mac_count"), "")

    def __str__(self) -> str:
        return text_table(_COLUMNS, self._cells(), total=self._total_cells())

    def _repr_html_(self) -> str:
        return html_table(_COLUMNS, self._cells(), total=self._total_cells())


class CostVisitor(Visitor[NodeCost | None]):
    """What does every node cost? Asks each layer for its facts once and checks what foreign layers answer."""

    def start(self, source: Input) -> None:
        """Answers for an input: it is no node and costs nothing here."""

    def visit(self, use: Use[NodeCost | None]) -> NodeCost:
        """Answers with the facts that the layer states."""
        return NodeCost(use.node, use.inputs, use.output, *_facts(use.node, use.inputs, use.output))


def _facts(node: Node, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> _Facts:
    layer = node.layer
    try:
        parameters = layer.parameters(inputs)
        buffers = layer.buffers(inputs)
        macs = layer.macs(inputs, output)
        if macs is not None and (type(macs) is not int or macs < 0):
            _reject("macs", macs, layer, "an int, zero or more")
        return _shapes("parameters", parameters, layer), _specs("buffers", buffers, layer), macs
    except CnnBudgetError as error:
        raise error.at(place_of(node, inputs)) from None
    except Exception as error:
        error.add_note(f"raised by {type(layer).__name__} at {place_of(node, inputs)}")
        raise


def _shapes(fact: str, shapes: Mapping[str, Shape] | None, layer: Layer) -> Shapes | None:
    if shapes is None:
        return None
    if not shapes:
        return ()
    try:
        return tuple([(name, shape_of(shape)) for name, shape in shapes.items()])
    except (CnnBudgetError, AttributeError, TypeError, ValueError):
        _reject(fact, shapes, layer, "a mapping of names to shapes, each a tuple of positive ints")


def _specs(fact: str, buffers: Mapping[str, Shape | TensorSpec] | None, layer: Layer) -> Specs | None:
    if not buffers:
        return None if buffers is None else ()
    try:
        return tuple(
            [
                (name, value if isinstance(value, TensorSpec) else _buffer(tuple(value)))
                for name, value in buffers.items()
            ]
        )
    except (CnnBudgetError, AttributeError, TypeError, ValueError):
        _reject(fact, buffers, layer, "a mapping of names to shapes, each a tuple of positive ints, or to specs")


@lru_cache(maxsize=1024)  # every batch norm of a width states the same two
def _buffer(shape: Shape) -> TensorSpec:
    return TensorSpec(shape, Role.BUFFER, batched=False)


def _reject(fact: str, answer: object, layer: Layer, expected: str) -> NoReturn:
    raise ConformanceError(
        f"{type(layer).__name__}.{fact} returned something else", got=shorten(answer), expected=expected
    )


def costs(network: Network) -> CostTable:
    """Computes the costs of every node in one pass.

    Args:
        network: The network.

    Returns:
        The table.

    Raises:
        ShapeError: If a layer cannot be applied to what reaches it.
    """
    check_network(network, "costs()")
    return costs_of(network, applications(network))


def costs_of(network: Network, applied: Iterable[Application]) -> CostTable:
    """Computes the costs of a network whose shapes are known: see :func:`costs`.

    Args:
        network: The network.
        applied: What its nodes apply to what, in execution order.

    Returns:
        The table.
    """
    facts: dict[int, _Facts] = {}
    table = []
    for node, one in zip(network.nodes, applied, strict=True):
        known = facts.get(id(one))
        if known is None:
            known = facts[id(one)] = _facts(node, one.inputs, one.output)
        table.append(NodeCost(node, one.inputs, one.output, *known))
    if any(node.shares is not None for node in network.nodes):
        found = {cost.name: cost for cost in table}
        table = [_without_shared(cost, found) for cost in table]
    return CostTable(network, tuple(table))


def _without_shared(cost: NodeCost, found: Mapping[str, NodeCost]) -> NodeCost:
    """Leaves parameters that belong to another node to that node, and checks that they are the same."""
    if cost.node.shares is None:
        return cost
    owner = found[cost.node.shares]
    theirs, mine = (owner.parameters, owner.buffers), (cost.parameters, cost.buffers)
    if theirs != mine:
        raise cannot_share(
            cost.node, cost.inputs, mine, Application(owner.node.layer, owner.inputs, owner.output), theirs
        )
    return evolve(cost, parameters=(), buffers=())
