"""Shapes of a network: every layer is asked for its output, and every error gets its place, here and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cnnbudget.dtypes import Role
from cnnbudget.errors import CnnBudgetError, ConformanceError, ShapeError, shorten
from cnnbudget.graph.nodes import check_network
from cnnbudget.tensors import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cnnbudget.graph.nodes import Network, Node
    from cnnbudget.layers.base import Layer
    from cnnbudget.tensors import Shape

__all__ = [
    "Application",
    "Applier",
    "applications",
    "cannot_share",
    "check_sharing",
    "infer_layer",
    "place_of",
    "specs",
]


class Application(NamedTuple):
    """A layer, applied to inputs: what many nodes of a network have in common."""

    layer: Layer
    inputs: tuple[TensorSpec, ...]
    output: TensorSpec


class Applier:
    """Applies the layers of one network. Networks repeat their blocks: the same layer on the same inputs is asked once.

    The same means the very same objects: that costs less to find out than equality, and demands nothing of foreign layers. So
    that repeated blocks meet the same objects, equal outputs become one.
    """

    def __init__(self) -> None:
        self._done: dict[tuple[int, int], Application] = {}  # which hold what their keys identify
        self._specs: dict[Shape, TensorSpec] = {}

    def apply(self, layer: Layer, inputs: tuple[TensorSpec, ...]) -> Application:
        """Applies a layer. Errors have no place yet: see :func:`applications`.

        Args:
            layer: The layer.
            inputs: Specs of its inputs.

        Returns:
            The application; for a layer with one input, the same one every time.
        """
        if len(inputs) != 1:  # merges are few, and hardly ever meet the same inputs again
            return Application(layer, inputs, self._infer(layer, inputs))
        key = (id(layer), id(inputs[0]))
        known = self._done.get(key)
        if known is None:
            known = self._done[key] = Application(layer, inputs, self._infer(layer, inputs))
        return known

    def _infer(self, layer: Layer, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        output = infer_layer(layer, inputs)
        if output.role is Role.ACTIVATION and output.dtype is None and output.batched:  # then its shape says all
            return self._specs.setdefault(output.shape, output)
        return output


def place_of(node: Node, inputs: tuple[TensorSpec, ...]) -> str:
    """How errors call a use of a layer: node, layer, input shapes."""
    shapes = ", ".join(str(spec.shape) for spec in inputs)
    return f"node {node.name!r}, {shorten(node.layer)} on {shapes}"


def infer_layer(layer: Layer, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
    """Asks a layer for its output, and checks the answer. Errors have no place yet.

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


def applications(network: Network) -> tuple[Application, ...]:
    """Applies every layer of a network. Iterative and linear in the number of nodes.

    Args:
        network: The network.

    Returns:
        What each node applies to what, in execution order.

    Raises:
        ShapeError: If a layer cannot be applied to what reaches it; the error names the node.
        ConformanceError: If a layer answers something else than a spec.
    """
    applier = Applier()
    made = {source.name: source.spec for source in network.inputs}
    applied = []
    for node in network.nodes:
        inputs = tuple([made[name] for name in node.inputs])
        try:
            one = applier.apply(node.layer, inputs)
        except CnnBudgetError as error:
            raise error.at(place_of(node, inputs)) from None
        except Exception as error:
            error.add_note(f"raised by {type(node.layer).__name__}.infer at {place_of(node, inputs)}")
            raise
        made[node.name] = one.output
        applied.append(one)
    return tuple(applied)


def check_sharing(network: Network, applied: Iterable[Application]) -> None:
    """Checks that nodes which share their parameters have the same ones, and the same buffers.

    Args:
        network: The network.
        applied: What its nodes apply to what, in execution order.

    Raises:
        ShapeError: If they have not; the error names the node.
    """
    if all(node.shares is None for node in network.nodes):
        return
    found = {node.name: one for node, one in zip(network.nodes, applied, strict=True)}
    for node in network.nodes:
        if node.shares is not None:
            owner, one = found[node.shares], found[node.name]
            theirs, mine = _state(owner), _state(one)
            if theirs != mine:
                raise cannot_share(node, one.inputs, mine, owner, theirs)


def _state(one: Application) -> tuple[object, object]:
    return _items(one.layer.parameters(one.inputs)), _items(one.layer.buffers(one.inputs))


def _items(facts: Mapping[str, object] | None) -> object:
    return facts if facts is None else tuple(facts.items())


def cannot_share(
    node: Node,
    inputs: tuple[TensorSpec, ...],
    mine: tuple[object, object],
    owner: Application,
    theirs: tuple[object, object],
) -> ShapeError:
    """Makes the error of a node that shares the parameters of another one and has others.

    Args:
        node: The node.
        inputs: Specs of its inputs.
        mine: Its parameters, and its buffers.
        owner: The other node's layer, and what it is applied to.
        theirs: The same of the other node.
    """
    number, fact = (0, "parameters") if mine[0] != theirs[0] else (1, "buffers")
    return ShapeError(
        f"this node cannot share the parameters of {node.shares!r}",
        where=place_of(node, inputs),
        got=f"{fact} {mine[number]}",
        expected=f"{theirs[number]}, as {owner.layer} has on {owner.inputs[0].shape}",
        hint="shared layers must have the same parameters: same kernel, same channels in and out",
    )


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
    found = {source.name: source.spec for source in network.inputs}
    for node, one in zip(network.nodes, applications(network), strict=True):
        found[node.name] = one.output
    return found
