"""The width of a network: every convolution and hidden dense layer with a fraction, or a multiple, of its maps."""

from __future__ import annotations

from fractions import Fraction
from math import inf, lcm
from numbers import Rational, Real
from typing import Any, ClassVar

from attrs import evolve, field, frozen

from cnnbudget.advice.remedies import Remedy
from cnnbudget.checks import is_number, number_from
from cnnbudget.errors import InvalidTypeError, InvalidValueError, shorten
from cnnbudget.graph.nodes import Network
from cnnbudget.graph.shapes import specs
from cnnbudget.layers.base import Layer
from cnnbudget.layers.conv import Conv, ConvTranspose
from cnnbudget.layers.linear import Linear
from cnnbudget.layers.local import LocallyConnected
from cnnbudget.memory.scenario import Scenario
from cnnbudget.tensors import TensorSpec

__all__ = ["FewerChannels", "with_width"]

_WIDE = (Conv, ConvTranspose, LocallyConnected, Linear)


def _depthwise(layer: Layer, value: TensorSpec) -> bool:
    """Whether a grouped convolution treats every channel for itself."""
    return isinstance(layer, (Conv, ConvTranspose)) and layer.groups == value.channels > 1


def with_width(network: Network, factor: float | Fraction) -> Network:
    """Multiplies the maps of every layer by a factor; inputs, and the layers that make the outputs, keep theirs.

    Convolutions of single channels follow their input. Where other layers work in groups, numbers of maps that the groups
    divide stay divisible. The same number of maps becomes the same number everywhere, so that sums of branches fit.

    Args:
        network: The network.
        factor: The width multiplier, above 0.

    Returns:
        A new network.

    Raises:
        InvalidTypeError: If the factor is no number.
        InvalidValueError: If it is not above 0, or no layer can change.
        ShapeError: If the network fixes its maps elsewhere, for example a sum with its input.

    Example:
        >>> from cnnbudget import Conv, GlobalAvgPool, Linear, Net
        >>> network = Net.input(3, 32, 32).then(Conv(16, 3), Conv(32, 3), GlobalAvgPool(), Linear(10)).network
        >>> [node.layer for node in with_width(network, 0.5).nodes]
        [Conv(8, 3), Conv(16, 3), GlobalAvgPool(), Linear(10)]
    """
    multiplier = _multiplier(factor)
    known = specs(network)
    last = _makers_of_outputs(network, known)
    if not any(
        isinstance(node.layer, _WIDE) and not _depthwise(node.layer, known[node.inputs[0]]) and node.name not in last
        for node in network.nodes
    ):
        raise InvalidValueError(
            "no layer can change its width", expected="convolutions or dense layers ahead of the last ones"
        )
    step = lcm(
        *[
            groups
            for node in network.nodes
            if isinstance(groups := getattr(node.layer, "groups", 1), int)
            and not _depthwise(node.layer, known[node.inputs[0]])
        ]
    )

    def scaled(count: int) -> int:
        unit = step if count % step == 0 else 1
        return max(1, round(Fraction(count) * multiplier / unit)) * unit

    # Channels of every value as they will be: a convolution of single channels has to know those of its input.
    changed: dict[str, TensorSpec] = {source.name: source.spec for source in network.inputs}
    nodes = []
    for node in network.nodes:
        layer, before = node.layer, known[node.inputs[0]]
        inputs = tuple([changed[name] for name in node.inputs])
        if isinstance(layer, (Conv, ConvTranspose)) and _depthwise(layer, before):
            channels = inputs[0].channels
            layer = layer.evolve(filters=layer.filters // before.channels * channels, groups=channels)
        elif node.name not in last:
            if isinstance(layer, (Conv, ConvTranspose, LocallyConnected)):
                layer = layer.evolve(filters=scaled(layer.filters))
            elif isinstance(layer, Linear):
                layer = layer.evolve(features=scaled(layer.features))
        nodes.append(node if layer is node.layer else evolve(node, layer=layer))
        changed[node.name] = _inferred(layer, inputs, known[node.name])
    result = evolve(network, nodes=nodes)
    specs(result)
    return result


def _multiplier(factor: Any) -> Fraction:
    if isinstance(factor, bool) or not isinstance(factor, Real):
        raise InvalidTypeError("a width must be a number", got=shorten(factor), expected="for example 0.5")
    value = float(factor)
    if not 0 < value < inf:  # NaN is not, either
        raise InvalidValueError("a width is out of range", got=shorten(factor), expected="a number above 0")
    return Fraction(factor) if isinstance(factor, Rational) else Fraction(value)


def _inferred(layer: Layer, inputs: tuple[TensorSpec, ...], old: TensorSpec) -> TensorSpec:
    """The output as it will be; what cannot be applied is reported for the whole network, with its place."""
    try:
        return layer.infer(inputs)
    except ValueError:
        return old


def _makers_of_outputs(network: Network, known: dict[str, TensorSpec]) -> set[str]:
    """The last layers on the ways to the outputs that choose a number of maps."""
    found: set[str] = set()
    todo = [*network.outputs]
    seen = set(todo)
    nodes = {node.name: node for node in network.nodes}
    while todo:
        node = nodes.get(todo.pop())
        if node is None:
            continue
        if isinstance(node.layer, _WIDE) and not _depthwise(node.layer, known[node.inputs[0]]):
            found.add(node.name)
        else:
            todo += [name for name in node.inputs if name not in seen]
            seen.update(node.inputs)
    return found


@frozen
class FewerChannels(Remedy):
    """A width multiplier: every layer but the last has fewer maps."""

    cure: ClassVar[str] = "fewer channels"
    reason: ClassVar[str] = "maps shrink with the width, parameters and work with its square"
    severity: ClassVar[int] = 3

    factor: float = field(converter=number_from, validator=is_number(1 / 1024, 1))

    @property
    def slot(self) -> type[Remedy]:
        """The whole network."""
        return type(self)

    def apply(self, network: Network, scenario: Scenario) -> tuple[Network, Scenario]:
        """Returns the narrower network.

        Raises:
            InvalidValueError: If no layer can change.
            ShapeError: If the network fixes its maps elsewhere.
        """
        return with_width(network, self.factor), scenario

    def magnitude(self, network: Network) -> int:
        """By how many hundredths it gets narrower."""
        return round(100 * (1 - self.factor))

    def describe(self, network: Network, scenario: Scenario) -> str:
        """Says the factor."""
        return f"width x{self.factor:g}"
