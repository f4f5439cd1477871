"""Where a number comes from: derivations with the numbers substituted."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from attrs import frozen

from cnnbudget.advice.derive import ShapeVisitor, derive_buffers, derive_macs, derive_parameters, derive_shape
from cnnbudget.analysis.costs import costs
from cnnbudget.analysis.visitor import Use, Visitor, missing_rule, visits
from cnnbudget.analysis.walk import walk
from cnnbudget.derivations import Derived, Explanation, total
from cnnbudget.graph.nodes import check_network
from cnnbudget.layers.conv import Conv
from cnnbudget.layers.linear import Linear
from cnnbudget.memory.derive import derive_kept, derive_peak_of, derive_storage, explain_profile
from cnnbudget.memory.profile import profile
from cnnbudget.memory.retention import Autograd
from cnnbudget.memory.scenario import Training

if TYPE_CHECKING:
    from cnnbudget.analysis.costs import CostTable
    from cnnbudget.graph.nodes import Input, Network
    from cnnbudget.memory.profile import MemoryProfile
    from cnnbudget.memory.scenario import Scenario
    from cnnbudget.tensors import Shape

__all__ = ["Derivation", "explain", "explain_parameters"]

_TRAINING = Training(retention=Autograd())


@frozen
class Derivation:
    """One number and how it comes about.

    Args:
        text: The derivation in words and numbers.
        value: The number.
    """

    text: str
    value: int

    def __str__(self) -> str:
        return self.text


class ParameterVisitor(Visitor[Derivation | None]):
    """Where does the number of parameters of each node come from?"""

    def start(self, source: Input) -> None:
        """Answers nothing for an input."""

    def visit(self, use: Use[Derivation | None]) -> Derivation | None:
        """Adds up the shapes that the layer states; nothing for a layer without parameters."""
        shapes = use.layer.parameters(use.inputs)
        if shapes is None:
            raise missing_rule("parameters", use.node, use.inputs)
        if not shapes:
            return None
        total = sum(map(prod, shapes.values()))
        parts = " + ".join(f"{name} {_times(shape)}" for name, shape in shapes.items())
        return Derivation(f"{parts} = {total:,}", total)

    @visits(Conv)
    def convolution(self, use: Use[Derivation | None]) -> Derivation:
        """Counts one map's kernel and bias, then the maps."""
        layer = use.layer
        assert isinstance(layer, Conv)  # noqa: S101  # what @visits guarantees, told to the type checker
        filters, channels, *kernel = layer.weight_shape(use.inputs[0])
        weights = prod(kernel) * channels
        one = weights + layer.bias
        bias = f" + 1 bias = {one:,}" if layer.bias else f" = {one:,}"
        total = one * filters
        return Derivation(
            f"{_times((*kernel, channels))} weights{bias} per map; {one:,} x {filters:,} maps = {total:,}", total
        )

    @visits(Linear)
    def linear(self, use: Use[Derivation | None]) -> Derivation:
        """Counts one output's weights and bias, then the outputs."""
        layer = use.layer
        assert isinstance(layer, Linear)  # noqa: S101  # as above
        weights = layer.parameters(use.inputs)["weight"][1]
        one = weights + layer.bias
        bias = f" + 1 bias = {one:,}" if layer.bias else ""
        total = one * layer.features
        return Derivation(
            f"{weights:,} weights{bias} per output; {one:,} x {layer.features:,} outputs = {total:,}", total
        )


def _times(shape: Shape) -> str:
    return " x ".join(f"{size:,}" for size in shape)


def explain_parameters(network: Network) -> dict[str, Derivation]:
    """Derives the number of parameters of every node that has some.

    Args:
        network: The network.

    Returns:
        Derivations by node.

    Example:
        >>> from cnnbudget import Conv, Net
        >>> print(explain_parameters(Net.input(3, 200, 300).then(Conv(100, 3)).network)["conv"])
        3 x 3 x 3 weights + 1 bias = 28 per map; 28 x 100 maps = 2,800
    """
    return {name: found for name, found in walk(network, ParameterVisitor()).items() if found is not None}


def explain(network: Network, name: str | None = None, scenario: Scenario = _TRAINING) -> Explanation:
    """Explains every number of a node, or of a whole network, as a derivation with the numbers substituted.

    Of a node: the output shape axis by axis, parameters, buffers, multiply-accumulates of one sample, the bytes of the output, what
    is kept for its backward step, and what of it is alive at the peak. Of a network: totals over the nodes, and the peak.

    Args:
        network: The network.
        name: The node; ``None`` for the whole network.
        scenario: How it runs; one sample of a training with :class:`~cnnbudget.Autograd` unless told.

    Returns:
        One derivation a number; it prints as text, as HTML and as LaTeX.

    Raises:
        UnknownNameError: If no node has the name; the error guesses which was meant.
        MissingRuleError: If a layer does not state its parameters, buffers or extras.

    Example:
        >>> from cnnbudget import zoo
        >>> network = zoo.resnet18().network
        >>> found = explain(network, network.nodes[0].name)
        >>> for quantity in ("output height", "parameters", "MACs", "saved bytes"):
        ...     print(found[quantity])
        output height = floor((224 + 3 + 3 - 7) / 2) + 1 = 112
        parameters = 3 x 7 x 7 x 64 = 9,408
        MACs = 112 x 112 x 64 x 3 x 7 x 7 = 118,013,952
        saved bytes = 3 x 224 x 224 x 1 x 4 = 602,112
    """
    check_network(network, "explain()")
    table = costs(network)
    if name is not None:
        network.position(name)
    found = profile(table, scenario)
    return _of_network(table, found) if name is None else _of_node(table, found, name)


def _of_node(table: CostTable, found: MemoryProfile, name: str) -> Explanation:
    cost = table[name]
    derived: list[Derived | None] = [*derive_shape(cost, walk(table.network, ShapeVisitor())[name])]
    derived += [derive_parameters(cost), derive_buffers(cost), derive_macs(cost)]
    notes = (
        [] if cost.macs is not None else [f"MACs are unknown: {type(cost.node.layer).__name__} does not state them."]
    )
    storages = found.lifetimes.schedule.storages
    own = [storage for storage in storages if storage.name == name and storage.node == name]
    if own:
        derived.append(derive_storage(own[0], found.scenario.device_batch, "output bytes"))
    else:
        notes.append("Its output has no bytes of its own: it shares those of an input.")
    if found.scenario.trains:
        derived.append(derive_kept(found, name))
    derived.append(derive_peak_of(found, name))
    shapes = ", ".join(str(spec.shape) for spec in cost.inputs)
    subject = f"{name}: {cost.node.layer} on {shapes}; {found.scenario}"
    return Explanation(subject, tuple([each for each in derived if each is not None]), tuple(notes))


def _of_network(table: CostTable, found: MemoryProfile) -> Explanation:
    counts = {
        "parameters": [cost.parameter_count for cost in table],
        "buffers": [cost.buffer_count for cost in table],
        "MACs": [cost.macs for cost in table],
    }
    derived, notes = [], []
    for quantity, numbers in counts.items():
        known = [count for count in numbers if count is not None]
        if len(known) == len(numbers):
            nodes = [count for count in known if count]
            derived.append(Derived(quantity, total(*nodes or [0]), f"the sum over {len(nodes)} nodes that have some"))
        else:
            notes.append(f"{quantity} are unknown: a layer does not state them.")
    peak = explain_profile(found)
    return Explanation(f"The network; {found.scenario}", (*derived, *peak), tuple(notes))
