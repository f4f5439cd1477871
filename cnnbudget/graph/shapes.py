"""Shapes of a network: every layer is asked for its output, and every error gets its place, here and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnbudget.errors import CnnBudgetError, ConformanceError, ShapeError, shorten
from cnnbudget.graph.nodes import check_network
from cnnbudget.tensors import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cnnbudget.graph.nodes import Network, Node

__all__ = ["infer", "infer_all", "place_of", "specs"]


def place_of(node: Node, inputs: tuple[TensorSpec, ...]) -> str:
    """How errors call a use of a layer: node, layer, input shapes."""
    shapes = ", ".join(str(spec.shape) for spec in inputs)
    return f"node {node.name!r}, {shorten(node.layer)} on {shapes}"


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


def specs(network: Network) -> dict[str, TensorSpec]:
    """Infers the spec of every value. Iterative and linear in the number of nodes.

    Args:
        network: The network.

    Returns:
        Specs by name, inputs included.

    Raises:
        ShapeError: If a layer cannot be applied to what reaches it; the error names the node.

    Example:
        >>> from cnnbudget import Conv, Net
        >>> specs(Net.input(3, 8, 8).then(Conv(4, 3)).network)["conv"].shape
        (4, 6, 6)
    """
    check_network(network, "specs()")
    return infer_all(network.nodes, {source.name: source.spec for source in network.inputs})


def infer_all(nodes: Iterable[Node], sources: Mapping[str, TensorSpec]) -> dict[str, TensorSpec]:
    """Infers the specs of nodes in execution order.

    Args:
        nodes: The nodes.
        sources: Specs of the values that they read and do not make.

    Returns:
        Specs by name, sources included.
    """
    known = dict(sources)
    for node in nodes:
        known[node.name] = infer(node, tuple([known[name] for name in node.inputs]))
    return known
