"""NASNet: two kinds of cells that a search found on small images, stacked.

A *normal* cell keeps the maps' size, a *reduction* cell halves it. Both read the two values before them, add five pairs of what
they compute, and concatenate the sums. A cell reads further back than a chain's end, so the networks are written node by
node.

Source: Zoph, Vasudevan, Shlens and Le, "Learning transferable architectures for scalable image recognition" (2018); Keras, for
how a value of another shape is adjusted. Keras pads for its strided layers in layers of their own; here they pad themselves,
``"same"``, which gives the same shapes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cnnbudget.graph.naming import Namer
from cnnbudget.graph.nodes import Input, Network, Node
from cnnbudget.layers.activation import ReLU
from cnnbudget.layers.base import word_of
from cnnbudget.layers.conv import Conv
from cnnbudget.layers.linear import Linear
from cnnbudget.layers.merge import Add, Concat
from cnnbudget.layers.norm import BatchNorm
from cnnbudget.layers.pool import AvgPool, GlobalAvgPool, MaxPool
from cnnbudget.layers.rearrange import Pad
from cnnbudget.layers.reshape import Crop
from cnnbudget.net import Net
from cnnbudget.zoo.xception import separable

if TYPE_CHECKING:
    from cnnbudget.layers.base import Layer
    from cnnbudget.tensors import Shape

__all__ = ["nasnet_large", "nasnet_mobile"]


class _Value(NamedTuple):
    """A value that cells read."""

    name: str
    channels: int
    halvings: int


class _Writer:
    """Writes nodes; every method returns the name of the value that it made."""

    def __init__(self, input_shape: Shape) -> None:
        self._input = Input("input", input_shape)
        self._nodes: list[Node] = []
        self._names = Namer(["input"])

    def net(self, output: str) -> Net:
        """The net of all nodes."""
        return Net.from_network(Network((self._input,), tuple(self._nodes), (output,)))

    def merge(self, scope: str, layer: Layer, *values: str) -> str:
        """One layer that reads several values."""
        name = self._names.fresh(f"{scope}/{word_of(type(layer))}")
        self._nodes.append(Node(name, layer, values))
        return name

    def chain(self, scope: str, value: str, *layers: Layer) -> str:
        """Layers one after the other."""
        for layer in layers:
            value = self.merge(scope, layer, value)
        return value

    def separable(self, scope: str, value: str, filters: int, kernel: int, stride: int = 1) -> str:
        """Two separable convolutions, each behind a ReLU and before a normalisation; the first one has the stride."""
        first, second = separable(filters, kernel, stride=stride), separable(filters, kernel)
        return self.chain(scope, value, ReLU(), *first, BatchNorm(), ReLU(), *second, BatchNorm())

    def squeeze(self, scope: str, value: _Value, filters: int) -> str:
        """Brings a cell's input to the cell's number of maps."""
        return self.chain(scope, value.name, ReLU(), Conv(filters, 1, bias=False), BatchNorm())

    def adjust(self, scope: str, before: _Value, current: _Value, filters: int) -> str:
        """Brings the value before a cell's input to its size and number of maps."""
        if before.halvings != current.halvings:
            # Every second pixel, and every second one beside them: half of the maps each.
            start = self.merge(scope, ReLU(), before.name)
            here = self.chain(scope, start, AvgPool(1, stride=2), Conv(filters // 2, 1, bias=False))
            beside = self.chain(scope, start, Pad(((0, 1), (0, 1))), Crop(((1, 0), (1, 0))))
            beside = self.chain(scope, beside, AvgPool(1, stride=2), Conv(filters // 2, 1, bias=False))
            return self.chain(scope, self.merge(scope, Concat(), here, beside), BatchNorm())
        if before is current or before.channels == filters:
            return before.name
        return self.squeeze(scope, before, filters)

    def normal(self, scope: str, before: _Value, current: _Value, filters: int) -> _Value:
        """A normal cell."""
        p = self.adjust(f"{scope}/adjust", before, current, filters)
        h = self.squeeze(f"{scope}/squeeze", current, filters)
        mean = AvgPool(3, stride=1, padding="same", count_include_pad=False)
        left, right = f"{scope}/left", f"{scope}/right"
        one = self.merge(
            scope,
            Add(),
            self.separable(f"{left}1", h, filters, 5),
            self.separable(f"{right}1", p, filters, 3),
        )
        two = self.merge(
            scope,
            Add(),
            self.separable(f"{left}2", p, filters, 5),
            self.separable(f"{right}2", p, filters, 3),
        )
        three = self.merge(scope, Add(), self.merge(f"{left}3", mean, h), p)
        four = self.merge(scope, Add(), self.merge(f"{left}4", mean, p), self.merge(f"{right}4", mean, p))
        five = self.merge(scope, Add(), self.separable(f"{left}5", h, filters, 3), h)
        return _Value(self.merge(scope, Concat(), p, one, two, three, four, five), 6 * filters, current.halvings)

    def reduction(self, scope: str, before: _Value, current: _Value, filters: int) -> _Value:
        """A reduction cell."""
        p = self.adjust(f"{scope}/adjust", before, current, filters)
        h = self.squeeze(f"{scope}/squeeze", current, filters)
        mean = AvgPool(3, stride=1, padding="same", count_include_pad=False)
        largest = MaxPool(3, stride=2, padding="same")
        left, right = f"{scope}/left", f"{scope}/right"
        one = self.merge(
            scope,
            Add(),
            self.separable(f"{left}1", h, filters, 5, 2),
            self.separable(f"{right}1", p, filters, 7, 2),
        )
        two = self.merge(
            scope,
            Add(),
            self.merge(f"{left}2", largest, h),
            self.separable(f"{right}2", p, filters, 7, 2),
        )
        three = self.merge(
            scope,
            Add(),
            self.merge(f"{left}3", mean.evolve(stride=2), h),
            self.separable(f"{right}3", p, filters, 5, 2),
        )
        four = self.merge(scope, Add(), two, self.merge(f"{left}4", mean, one))
        five = self.merge(
            scope, Add(), self.separable(f"{left}5", one, filters, 3), self.merge(f"{right}5", largest, h)
        )
        return _Value(self.merge(scope, Concat(), two, three, four, five), 4 * filters, current.halvings + 1)


def _nasnet(
    input_shape: Shape, num_classes: int, *, filters: int, cells: int, stem: int, skip_reduction: bool = False
) -> Net:
    writer = _Writer(input_shape)
    name = writer.chain("stem", "input", Conv(stem, 3, stride=2, bias=False), BatchNorm())
    before = current = _Value(name, stem, 1)
    for number in (1, 2):
        after = writer.reduction(f"stem_{number}", before, current, filters * number // 4)
        before, current = current, after
    for stage in range(3):
        if stage:
            after = writer.reduction(f"reduce_{stage * cells}", before, current, filters * 2**stage)
            before, current = before if skip_reduction else current, after
        for number in range(cells):
            after = writer.normal(f"cell_{stage * cells + number}", before, current, filters * 2**stage)
            before, current = current, after
    return writer.net(writer.chain("classifier", current.name, ReLU(), GlobalAvgPool(), Linear(num_classes)))


def nasnet_mobile(*, num_classes: int = 1000, input_shape: Shape = (3, 224, 224)) -> Net:
    """NASNet-A (4 @ 1056) of Zoph et al. (2018), as in Keras: stages of four normal cells, 1056 maps at the end.

    The paper prints 5.3 million parameters. Keras prints 5,326,716: it adds the 36,738 running statistics.

    Args:
        num_classes: Outputs of the last layer.
        input_shape: ``(C, H, W)`` of one image.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo.nasnet import nasnet_mobile
        >>> nasnet_mobile().parameter_count
        5289978
    """
    return _nasnet(input_shape, num_classes, filters=44, cells=4, stem=32)


def nasnet_large(*, num_classes: int = 1000, input_shape: Shape = (3, 331, 331)) -> Net:
    """NASNet-A (6 @ 4032) of Zoph et al. (2018), as in Keras. The options are those of :func:`nasnet_mobile`.

    Example:
        >>> from cnnbudget.zoo.nasnet import nasnet_large
        >>> nasnet_large().parameter_count
        88753150
    """
    return _nasnet(input_shape, num_classes, filters=168, cells=6, stem=96, skip_reduction=True)
