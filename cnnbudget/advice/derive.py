"""The derivations of one use of a layer: output shape, parameters, buffers, multiply-accumulates.

A derivation never contradicts the layer. Where a layer from another package states something else than the rule of its kind gives,
the number stands as stated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from cnnbudget.analysis.visitor import Use, Visitor, visits
from cnnbudget.derivations import (
    Calculation,
    Derived,
    ceiling,
    difference,
    floor,
    maximum,
    number,
    product,
    total,
)
from cnnbudget.layers.base import ElementwiseLayer
from cnnbudget.layers.conv import Conv, ConvTranspose, DepthwiseConv
from cnnbudget.layers.linear import Linear
from cnnbudget.layers.local import LocallyConnected
from cnnbudget.layers.merge import Add, Concat
from cnnbudget.layers.pool import WindowPool
from cnnbudget.layers.rearrange import Pad, PixelShuffle
from cnnbudget.layers.reshape import Crop, Flatten
from cnnbudget.windows import output_size, per_axis, resolve_padding, sides_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from cnnbudget.analysis.costs import NodeCost
    from cnnbudget.graph.nodes import Input
    from cnnbudget.tensors import Shape, TensorSpec

__all__ = ["Rule", "ShapeVisitor", "derive_buffers", "derive_macs", "derive_parameters", "derive_shape"]

_ARITHMETIC = "Dumoulin and Visin (2016)"
_AXES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}


@frozen
class Rule:
    """One axis of an output: the calculation, in words, and whose rule it is."""

    calculation: Calculation
    formula: str
    source: str = ""


def _same(size: int) -> Rule:
    return Rule(number(size), "as the input's")


def _stated(size: int, formula: str) -> Rule:
    return Rule(number(size), formula)


def _span(kernel: int, dilation: int) -> Calculation:
    """Positions that a window spans."""
    return number(kernel) if dilation == 1 else total(product(dilation, difference(kernel, 1)), 1)


def _slide(layer: Any, value: TensorSpec, *, dilation: Any = 1, ceil_mode: bool = False) -> list[Rule]:
    """The rule of a sliding window along every spatial axis."""
    rank = len(value.spatial)
    stride = layer.kernel if layer.stride is None else layer.stride
    settings = (layer.kernel, stride, layer.padding, dilation)
    rules = []
    for n, k, s, p, d in zip(value.spatial, *[per_axis(each, rank, "") for each in settings], strict=True):
        if p == "same":
            rules.append(Rule(ceiling(n, s), "ceil(n / stride)", 'TensorFlow, padding="same"'))
            continue
        span = _span(k, d)
        before, after = resolve_padding(p, n, span.value, s)
        room = difference(total(*[part for part in (n, before, after) if part]), span)
        window = "window" if d == 1 else "(dilation x (kernel - 1) + 1)"
        padded = "n + before + after" if before or after else "n"
        formula = f"({padded} - {window}) / stride"
        if not ceil_mode:
            source = f"{_ARITHMETIC}, relationship {6 if d == 1 else 15}"
            rules.append(Rule(total(floor(room, s), 1), f"floor({formula}) + 1", source))
            continue
        found = ceiling(room, s)
        if output_size(n, span.value, s, before, after, ceil_mode=True) == found.value:
            rules.append(
                Rule(found, f"ceil({formula}); one more window would start behind the input", "PyTorch, ceil_mode")
            )
        else:
            rules.append(Rule(total(found, 1), f"ceil({formula}) + 1", "PyTorch, ceil_mode"))
    return rules


class ShapeVisitor(Visitor[tuple[Rule, ...]]):
    """Where does the output shape of each node come from, axis by axis?"""

    def start(self, source: Input) -> tuple[Rule, ...]:
        """Answers for an input: as it was given."""
        return tuple([_stated(size, "as given") for size in source.shape])

    def visit(self, use: Use[tuple[Rule, ...]]) -> tuple[Rule, ...]:
        """Answers with what the layer states."""
        return tuple([_stated(size, f"as {type(use.layer).__name__} states it") for size in use.output.shape])

    @visits(ElementwiseLayer, Add)
    def unchanged(self, use: Use[tuple[Rule, ...]]) -> tuple[Rule, ...]:
        """Answers for layers whose output is as their input."""
        return tuple(map(_same, use.inputs[0].shape))

    @visits(Conv, LocallyConnected)
    def convolution(self, use: Use[tuple[Rule, ...]]) -> tuple[Rule, ...]:
        """Answers for windows, one feature map a filter."""
        layer: Any = use.layer
        channels = _stated(layer.filters, "filters")
        return (channels, *_slide(layer, use.inputs[0], dilation=getattr(layer, "dilation", 1)))

    @visits(DepthwiseConv)
    def depthwise(self, use: Use[tuple[Rule, ...]]) -> tuple[Rule, ...]:
        """Answers for windows over every channel."""
        layer: Any = use.layer
        (value,) = use.inputs
        channels = Rule(product(value.channels, layer.multiplier), "C x multiplier")
        return (channels, *_slide(layer, value, dilation=layer.dilation))

    @visits(WindowPool)
    def pooling(self, use: Use[tuple[Rule, ...]]) -> tuple[Rule, ...]:
        """Answers for windows that keep the channels."""
        layer: Any = use.layer
        (value,) = use.inputs
        dilation = getattr(layer, "dilation", 1)
        return (_same(value.channels), *_slide(layer, value, dilation=dilation, ceil_mode=layer.ceil_mode))

    @visits(ConvTranspose)
    def transpose(self, use: Use[tuple[Rule, ...]]) -> tuple[Rule, ...]:
        """Answers for the gradient of a convolution."""
        layer: Any = use.layer
        (value,) = use.inputs
        rank = len(value.spatial)
        settings = (layer.kernel, layer.stride, layer.padding, layer.output_padding, layer.dilation)
        rules = []
        for n, k, s, p, extra, d in zip(value.spatial, *[per_axis(each, rank, "") for each in settings], strict=True):
            span = _span(k, d)
            if p == "same":
                rules.append(Rule(product(n, s), "n x stride", 'Keras, padding="same"'))
            elif p == "valid":
                more = maximum(difference(span, s), 0)
                rules.append(
                    Rule(total(product(n, s), more), "n x stride + max(window - stride, 0)", 'Keras, padding="valid"')
                )
            else:
                before, after = resolve_padding(p, n, span.value, s)
                whole = total(product(difference(n, 1), s), span, *([extra] if extra else []))
                cut = difference(whole, total(before, after)) if before or after else whole
                rules.append(
                    Rule(
                        cut,
                        "(n - 1) x stride + window + output padding - (before + after)",
                        f"{_ARITHMETIC}, relationship 14",
                    )
                )
        return (_stated(layer.filters, "filters"), *rules)

    @visits(Linear)
    def linear(self, use: Use[tuple[Rule, ...]]) -> tuple[Rule, ...]:
        """Answers for one axis of features."""
        layer: Any = use.layer
        shape = use.inputs[0].shape
        at = 0 if layer.axis is None else layer.axis % len(shape)
        return tuple(
            [_stated(layer.features, "features") if axis == at else _same(size) for axis, size in enumerate(shape)]
        )

    @visits(Concat)
    def concat(self, use: Use[tuple[Rule, ...]]) -> tuple[Rule, ...]:
        """Answers for values side by side."""
        layer: Any = use.layer
        shapes = [value.shape for value in use.inputs]
        at = layer.axis % len(shapes[0])
        joined = Rule(total(*[shape[at] for shape in shapes]), "the sum of the inputs'")
        return tuple([joined if axis == at else _same(size) for axis, size in enumerate(shapes[0])])

    @visits(Flatten)
    def flatten(self, use: Use[tuple[Rule, ...]]) -> tuple[Rule, ...]:
        """Answers for axes that become one."""
        layer: Any = use.layer
        shape = use.inputs[0].shape
        first, last = layer.start % len(shape), layer.end % len(shape)
        joined = Rule(product(*shape[first : last + 1]), "the product of the axes that are joined")
        return (*map(_same, shape[:first]), joined, *map(_same, shape[last + 1 :]))

    @visits(Pad)
    def pad(self, use: Use[tuple[Rule, ...]]) -> tuple[Rule, ...]:
        """Answers for a border that is added."""
        layer: Any = use.layer
        (value,) = use.inputs
        sides = sides_of("Pad", value.spatial, layer.amounts, setting="amounts")
        sizes = zip(value.spatial, sides, strict=True)
        return (_same(value.channels), *[Rule(total(n, *side), "n + before + after") for n, side in sizes])

    @visits(Crop)
    def crop(self, use: Use[tuple[Rule, ...]]) -> tuple[Rule, ...]:
        """Answers for a border that is cut."""
        layer: Any = use.layer
        (value,) = use.inputs
        sides = sides_of("Crop", value.spatial, layer.amounts, setting="amounts")
        sizes = zip(value.spatial, sides, strict=True)
        cut = [Rule(difference(n, total(*side)), "n - (before + after)") for n, side in sizes]
        return (_same(value.channels), *cut)

    @visits(PixelShuffle)
    def shuffle(self, use: Use[tuple[Rule, ...]]) -> tuple[Rule, ...]:
        """Answers for channels that become pixels."""
        layer: Any = use.layer
        (value,) = use.inputs
        block = product(*[layer.factor] * len(value.spatial))
        sizes = [Rule(product(n, layer.factor), "n x factor") for n in value.spatial]
        return (Rule(floor(value.channels, block), "C / factor per axis"), *sizes)


def _agreeing(rule: Rule, value: int, layer: object) -> Rule:
    if rule.calculation.value == value:
        return rule
    return _stated(value, f"as {type(layer).__name__} states it")


def derive_shape(cost: NodeCost, rules: Sequence[Rule]) -> list[Derived]:
    """Derives the output shape of a node, one number an axis.

    Args:
        cost: The node.
        rules: What :class:`ShapeVisitor` answered for it.

    Returns:
        The channels first.
    """
    shape = cost.output.shape
    if len(rules) != len(shape):  # a foreign kind of layer with another number of axes
        rules = [_stated(size, "") for size in shape]
    spatial = len(shape) - 1
    names = ["channels" if spatial else "features"]
    names += _AXES.get(spatial, tuple([f"axis {axis}" for axis in range(1, spatial + 1)]))
    found = []
    for name, rule, size in zip(names, rules, shape, strict=True):
        agreed = _agreeing(rule, size, cost.node.layer)
        found.append(Derived(f"output {name}", agreed.calculation, agreed.formula, agreed.source))
    return found


def _sizes(shapes: Mapping[str, Shape]) -> Calculation:
    return total(*[product(*(shape or (1,))) for shape in shapes.values()])


def derive_parameters(cost: NodeCost) -> Derived:
    """Derives the number of parameters of a node, which a profile has found to be known."""
    if cost.node.shares is not None:
        return Derived("parameters", number(0), f"those of {cost.node.shares}, which count there")
    layer, shapes = cost.node.layer, dict(cost.parameters or ())
    if not shapes:
        return Derived("parameters", number(0), f"{type(layer).__name__} has none")
    calculation, formula = _sizes(shapes), f"the sizes of {' and '.join(shapes)}"
    if isinstance(layer, (Conv, DepthwiseConv)) and set(shapes) <= {"weight", "bias"}:
        value = cost.inputs[0]
        filters, channels, *kernel = shapes["weight"]
        groups = layer.groups if isinstance(layer, Conv) else value.channels
        maps = number(channels) if groups == 1 else floor(value.channels, groups)
        one = product(maps, *kernel)
        calculation = product(total(one, 1) if "bias" in shapes else one, filters)
        one_map = "C x kernel" if groups == 1 else "C / groups x kernel"
        formula = f"({one_map} + bias) x filters" if "bias" in shapes else f"{one_map} x filters"
    elif isinstance(layer, Linear) and set(shapes) <= {"weight", "bias"}:
        features, seen = shapes["weight"]
        calculation = product(total(seen, 1), features) if "bias" in shapes else product(seen, features)
        formula = "(inputs + bias) x features" if "bias" in shapes else "inputs x features"
    rule = _agreeing(Rule(calculation, formula), cost.parameter_count or 0, layer)
    return Derived("parameters", rule.calculation, rule.formula)


def derive_buffers(cost: NodeCost) -> Derived | None:
    """Derives the elements of the buffers of a node; ``None`` if there are none, or if it is unknown."""
    if not cost.buffers:
        return None
    return Derived(
        "buffers",
        _sizes({name: spec.shape for name, spec in cost.buffers}),
        f"the sizes of {' and '.join(name for name, _ in cost.buffers)}",
    )


def derive_macs(cost: NodeCost) -> Derived | None:
    """Derives the multiply-accumulates of a node for one sample; ``None`` if they are unknown."""
    if cost.macs is None:
        return None
    layer, value, output = cost.node.layer, cost.inputs[0], cost.output
    if isinstance(layer, (Conv, DepthwiseConv)):
        rule = Rule(product(*output.spatial, *layer.weight_shape(value)), "output positions x weights")
    elif isinstance(layer, ConvTranspose):
        rule = Rule(product(*value.spatial, *layer.weight_shape(value)), "input positions x weights")
    elif isinstance(layer, LocallyConnected):
        rule = Rule(product(*layer.parameters(cost.inputs)["weight"]), "weights")
    elif isinstance(layer, Linear):
        rule = Rule(product(layer.features, *value.shape), "features x inputs, at every position")
    else:
        rule = Rule(number(0), "convolutions and linear layers count, no others")
    agreed = _agreeing(rule, cost.macs, layer)
    return Derived("MACs", agreed.calculation, agreed.formula, "one per multiplication, biases not counted")
