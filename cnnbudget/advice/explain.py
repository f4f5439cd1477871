"""Where a number comes from: derivations with the numbers substituted."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from attrs import frozen

from cnnbudget.analysis.visitor import Use, Visitor, missing_rule, visits
from cnnbudget.analysis.walk import walk
from cnnbudget.layers.conv import Conv
from cnnbudget.layers.linear import Linear

if TYPE_CHECKING:
    from cnnbudget.graph.nodes import Input, Network
    from cnnbudget.tensors import Shape

__all__ = ["Derivation", "explain_parameters"]


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
