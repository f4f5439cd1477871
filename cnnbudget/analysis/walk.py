"""The one traversal: it infers every shape, adds the place to errors once, and hands each use of a layer to a visitor."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from cnnbudget.analysis.visitor import Use, Visitor, place_of, rule_for
from cnnbudget.errors import CnnBudgetError, ConformanceError, InvalidTypeError, ShapeError, shorten
from cnnbudget.graph.nodes import check_network
from cnnbudget.tensors import TensorSpec

if TYPE_CHECKING:
    from cnnbudget.graph.nodes import Input, Network, Node

__all__ = ["SpecVisitor", "infer", "specs", "walk"]

T = TypeVar("T")


def infer(node: Node, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
    """Asks a node's layer for its output, and checks the answer.

    Args:
        node: The node.
        inputs: Specs of its inputs.

    Returns:
        The spec of its output.

    Raises:
        ShapeError: If the layer cannot be applied, with the place.
        ConformanceError: If the layer answers something else than a spec.
    """
    layer = node.layer
    if layer.arity is not None and len(inputs) != layer.arity:
        raise ShapeError(
            f"{type(layer).__name__} takes {layer.arity} input{'s' * (layer.arity != 1)}",
            where=place_of(node, inputs),
            got=str(len(inputs)),
        )
    try:
        output = layer.infer(inputs)
    except CnnBudgetError as error:
        raise error.at(place_of(node, inputs)) from None
    except Exception as error:
        error.add_note(f"raised by {type(layer).__name__}.infer at {place_of(node, inputs)}")
        raise
    if not isinstance(output, TensorSpec) or not output.shape:
        raise ConformanceError(
            f"{type(layer).__name__}.infer returned no spec of an output",
            where=place_of(node, inputs),
            got=shorten(output),
            expected="a TensorSpec with at least one axis",
        )
    return output


def walk(network: Network, visitor: Visitor[T]) -> dict[str, T]:
    """Visits every node in execution order. Iterative and linear in the number of nodes.

    Args:
        network: The network.
        visitor: The question.

    Returns:
        The visitor's answer for every input and node, by name.

    Raises:
        ShapeError: If a layer cannot be applied to what reaches it; the error names the node.

    Example:
        >>> from cnnbudget import Conv, CostVisitor, Net
        >>> net = Net.input(3, 8, 8).then(Conv(4, 3))
        >>> walk(net.network, CostVisitor())["conv"].output_shape
        (4, 6, 6)
    """
    check_network(network, "walk()")
    if not isinstance(visitor, Visitor):
        raise InvalidTypeError(
            "walk() needs a visitor", got=shorten(visitor), expected="an instance of a Visitor class"
        )
    known: dict[str, TensorSpec] = {}
    answers: dict[str, T] = {}
    for source in network.inputs:
        known[source.name] = source.spec
        answers[source.name] = visitor.start(source)
    kind = type(visitor)
    for node in network.nodes:
        inputs = tuple([known[name] for name in node.inputs])
        output = infer(node, inputs)
        use = Use(node, inputs, output, tuple([answers[name] for name in node.inputs]))
        answers[node.name] = rule_for(kind, type(node.layer))(visitor, use)
        known[node.name] = output
    return answers


class SpecVisitor(Visitor[TensorSpec]):
    """What is the spec of every value?"""

    def start(self, source: Input) -> TensorSpec:
        """Answers with the input's spec."""
        return source.spec

    def visit(self, use: Use[TensorSpec]) -> TensorSpec:
        """Answers with the output's spec."""
        return use.output


def specs(network: Network) -> dict[str, TensorSpec]:
    """Infers the spec of every value.

    Args:
        network: The network.

    Returns:
        Specs by name, inputs included.
    """
    return walk(network, SpecVisitor())
