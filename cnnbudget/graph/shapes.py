"""Shapes of a network: every layer is asked for its output, and every error gets its place, here and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnbudget.errors import CnnBudgetError, ConformanceError, ShapeError, shorten
from cnnbudget.graph.nodes import check_network
from cnnbudget.tensors import TensorSpec

if TYPE_CHECKING:
    from cnnbudget.graph.nodes import Network, Node
    from cnnbudget.layers.base import Layer

__all__ = ["infer", "infer_layer", "place_of", "specs"]


def place_of(node: Node, inputs: tuple[TensorSpec, ...]) -> str:
    """How errors call a use of a layer: node, layer, input shapes."""
    shapes = ", ".join(str(spec.shape) for spec in inputs)
    return f"node {node.name!r}, {shorten(node.layer)} on {shapes}"


def infer_layer(layer: Layer, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
    """Asks a layer for its output, and checks the answer. Errors have no place yet: see :func:`infer`.

    Args:
        layer: The layer.
        inputs: Specs of its inputs.

    Returns:
        The spec of its output.
    """
    if layer.arity is not None and len(inputs) != layer.arity:
        raise ShapeError(
            f"{type(layer).__name__} takes {layer.arity} input{'s' * (layer.arity != 1)}", got=str(len(inputs))
        )
    output = layer.infer(inputs)
    if not isinstance(output, TensorSpec) or not output.shape:
        raise ConformanceError(
            f"{type(layer).__name__}.infer returned no spec of an output",
            got=shorten(output),
            expected="a TensorSpec with at least one axis",
        )
    return output


def infer(node: Node, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
    """Asks a node's layer for its output, and adds the place to every error.

    Args:
        node: The node.
        inputs: Specs of its inputs.

    Returns:
        The spec of its output.

    Raises:
        ShapeError: If the layer cannot be applied, with the place.
        ConformanceError: If the layer answers something else than a spec.
    """
    try:
        return infer_layer(node.layer, inputs)
    except CnnBudgetError as error:
        raise error.at(place_of(node, inputs)) from None
    except Exception as error:
        error.add_note(f"raised by {type(node.layer).__name__}.infer at {place_of(node, inputs)}")
        raise


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
    known = {source.name: source.spec for source in network.inputs}
    for node in network.nodes:
        known[node.name] = infer(node, tuple([known[name] for name in node.inputs]))
    return known
