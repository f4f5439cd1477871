"""Remedies: pure changes of a network and a scenario that should lower the peak. What they bring is always measured.

The base, and the five of the textbook: a smaller mini-batch, a larger stride, one layer less, 16-bit floats, several devices. A
remedy is a frozen value: :meth:`Remedy.apply` edits nothing, it returns a new network and scenario.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from typing import ClassVar

from attrs import field, frozen

from cnnbudget.checks import axes_from, instance_of, int_from, is_axes, is_int
from cnnbudget.dtypes import BFLOAT16, FLOAT16, FP16, Precision, Role
from cnnbudget.errors import InvalidValueError, shorten
from cnnbudget.graph.edit import remove_node, replace_layer
from cnnbudget.graph.nodes import Network
from cnnbudget.layers.base import Layer
from cnnbudget.layers.conv import Conv, DepthwiseConv
from cnnbudget.layers.local import LocallyConnected, TableConv
from cnnbudget.layers.norm import BatchNorm
from cnnbudget.layers.pool import WindowPool
from cnnbudget.memory.devices import DataParallel
from cnnbudget.memory.scenario import Scenario
from cnnbudget.windows import Axes

__all__ = [
    "HalfPrecision",
    "LargerStride",
    "MoreDevices",
    "Remedy",
    "RemoveLayer",
    "SmallerBatch",
    "has_batch_norm",
    "stride_of",
]

# IEEE 754 binary16 has 11 significant bits and ends at (2 - 2**-10) * 2**15; bfloat16 is the upper half of binary32.
_ROUNDING = {
    FLOAT16: "rounding to 11 significant bits, range up to 65,504",
    BFLOAT16: "rounding to 8 significant bits, the range of 32 bits",
}


@frozen
class Remedy(ABC):
    """The base of all remedies.

    Attributes:
        cure: What kind of cure it is, in a few words.
        reason: Why it should help, in one line.
        severity: How much it changes for the user, the least first: 0 results stay, 1 training runs differently, 2 numbers
            are rounded differently, 3 the network is another one.
        category: ``"run-time"`` for a change of how the network runs, ``"architecture"`` for another network; see ``allow=``
            of :func:`cnnbudget.fit`.
        changes: The words of ``keep=`` that it cannot but change, for example ``"batch"``.
    """

    cure: ClassVar[str]
    reason: ClassVar[str]
    severity: ClassVar[int]
    category: ClassVar[str] = "architecture"
    changes: ClassVar[frozenset[str]] = frozenset()

    @property
    def slot(self) -> Hashable:
        """What it acts on; a combination holds at most one remedy of each slot."""
        return type(self), getattr(self, "node", None)

    def magnitude(self, network: Network) -> int:
        """How large the change is among cures of one severity; 1 is the least.

        Args:
            network: The network before.

        Returns:
            A rank.
        """
        return 1

    def changes_results(self, network: Network, scenario: Scenario) -> bool:
        """Whether a forward pass with the same parameters gives other numbers. Default: from the severity.

        Args:
            network: The network before.
            scenario: The scenario before.
        """
        return self.severity >= 2

    def changes_training(self, network: Network, scenario: Scenario) -> bool:
        """Whether training takes another course: other gradients, statistics or updates. Default: from the severity.

        Args:
            network: The network before.
            scenario: The scenario before.
        """
        return scenario.trains and self.severity >= 1

    def warnings(self, network: Network, scenario: Scenario) -> tuple[str, ...]:
        """Says what else it costs the user, in a few words each; sizes are measured and need none.

        Args:
            network: The network before.
            scenario: The scenario before.
        """
        return ()

    @abstractmethod
    def apply(self, network: Network, scenario: Scenario) -> tuple[Network, Scenario]:
        """Returns the changed network and scenario.

        Args:
            network: The network; stays as it is.
            scenario: The scenario; stays as it is.

        Returns:
            New values.
        """

    @abstractmethod
    def describe(self, network: Network, scenario: Scenario) -> str:
        """Says what is changed, from what to what.

        Args:
            network: The network before.
            scenario: The scenario before.

        Returns:
            A clause.
        """


def has_batch_norm(network: Network) -> bool:
    """Whether a network has batch norm, whose statistics are those of the samples that are computed at once."""
    return any(isinstance(node.layer, BatchNorm) for node in network.nodes)


@frozen
class SmallerBatch(Remedy):
    """A smaller mini-batch. The learning rate and batch-norm statistics depend on it."""

    cure: ClassVar[str] = "smaller mini-batch"
    reason: ClassVar[str] = "activations and their gradients are proportional to the batch"
    severity: ClassVar[int] = 1
    category: ClassVar[str] = "run-time"
    changes: ClassVar[frozenset[str]] = frozenset({"batch"})

    batch: int = field(converter=int_from, validator=is_int())

    def apply(self, network: Network, scenario: Scenario) -> tuple[Network, Scenario]:
        """Returns the scenario with the batch."""
        return network, scenario.evolve(batch=self.batch)

    def warnings(self, network: Network, scenario: Scenario) -> tuple[str, ...]:
        """Says what a batch means for training, or for an inference."""
        return ("noisier gradients", "more steps an epoch") if scenario.trains else ("more passes",)

    def describe(self, network: Network, scenario: Scenario) -> str:
        """Says both batches."""
        return f"batch {scenario.batch} -> {self.batch}"


@frozen
class MoreDevices(Remedy):
    """Data parallelism: the batch is split, every device holds the whole network."""

    cure: ClassVar[str] = "several devices"
    reason: ClassVar[str] = "every device holds the parameters and its share of the batch"
    severity: ClassVar[int] = 0
    category: ClassVar[str] = "run-time"
    changes: ClassVar[frozenset[str]] = frozenset({"devices"})

    count: int = field(converter=int_from, validator=is_int())

    def apply(self, network: Network, scenario: Scenario) -> tuple[Network, Scenario]:
        """Returns the scenario with so many devices."""
        return network, scenario.evolve(devices=DataParallel(self.count))

    def magnitude(self, network: Network) -> int:
        """How many devices."""
        return self.count

    def changes_training(self, network: Network, scenario: Scenario) -> bool:
        """Only where batch norm looks at a share of the batch."""
        return scenario.trains and has_batch_norm(network)

    def warnings(self, network: Network, scenario: Scenario) -> tuple[str, ...]:
        """Says whose statistics batch norm sees."""
        return ("batch-norm statistics of each device alone",) if self.changes_training(network, scenario) else ()

    def describe(self, network: Network, scenario: Scenario) -> str:
        """Says both counts and the largest share."""
        share = DataParallel(self.count).share(scenario.batch)
        return f"{scenario.devices.count} -> {self.count} devices, at most {share} samples each"


@frozen
class HalfPrecision(Remedy):
    """16-bit floats for everything but running statistics, masks and indices; or mixed precision, with 32-bit parameters."""

    cure: ClassVar[str] = "16-bit floats"
    reason: ClassVar[str] = "every number takes two bytes instead of four (indices, masks and statistics do not shrink)"
    severity: ClassVar[int] = 2
    category: ClassVar[str] = "run-time"
    changes: ClassVar[frozenset[str]] = frozenset({"precision"})

    precision: Precision = field(default=FP16, validator=instance_of(Precision, "for example FP16 or BF16"))

    def apply(self, network: Network, scenario: Scenario) -> tuple[Network, Scenario]:
        """Returns the scenario with the precision."""
        return network, scenario.evolve(precision=self.precision)

    def warnings(self, network: Network, scenario: Scenario) -> tuple[str, ...]:
        """Says how numbers are rounded."""
        dtype = self.precision.autocast or self.precision[Role.ACTIVATION]
        return (_ROUNDING.get(dtype, f"rounding to {dtype}"),)

    def describe(self, network: Network, scenario: Scenario) -> str:
        """Says both precisions."""
        return f"{scenario.precision} -> {self.precision}"


def stride_of(layer: Layer) -> Axes | None:
    """The stride of a convolution or pooling layer; ``None`` for a layer without one."""
    if isinstance(layer, (Conv, DepthwiseConv, LocallyConnected, TableConv)):
        return layer.stride
    if isinstance(layer, WindowPool):
        return layer.kernel if layer.stride is None else layer.stride
    return None


def axes_of(value: Axes) -> tuple[int, ...]:
    """The values of a setting, one for all axes or one per axis."""
    return value if isinstance(value, tuple) else (value,)


@frozen
class LargerStride(Remedy):
    """A larger stride in one convolution or pooling layer: everything after it has smaller maps."""

    cure: ClassVar[str] = "larger stride"
    reason: ClassVar[str] = "a larger stride makes the maps of the layer, and of all that follow, smaller"
    severity: ClassVar[int] = 3

    node: str = field(validator=instance_of(str, "the name of a node"))
    stride: Axes = field(converter=axes_from, validator=is_axes())

    def apply(self, network: Network, scenario: Scenario) -> tuple[Network, Scenario]:
        """Returns the network with the stride.

        Raises:
            InvalidValueError: If the node's layer has no stride.
        """
        layer = network[self.node].layer
        if stride_of(layer) is None:
            raise InvalidValueError(
                "this layer has no stride",
                where=f"node {self.node!r}",
                got=shorten(layer),
                expected="a convolution or a pooling layer",
            )
        return replace_layer(network, self.node, layer.evolve(stride=self.stride)), scenario

    def magnitude(self, network: Network) -> int:
        """By how much the stride grows, on the axis where it grows most."""
        before = stride_of(network[self.node].layer)
        return max(axes_of(self.stride)) - max(axes_of(before or 1))

    def warnings(self, network: Network, scenario: Scenario) -> tuple[str, ...]:
        """Says whether pixels are skipped."""
        return ("skips pixels",) if self.skips_pixels(network) else ()

    def skips_pixels(self, network: Network) -> bool:
        """Whether the stride is larger than the window, so that some inputs are never looked at.

        Args:
            network: The network before.

        Returns:
            ``True`` where a window of more than one pixel leaves gaps.
        """
        layer = network[self.node].layer
        return (
            isinstance(layer, (Conv, DepthwiseConv, LocallyConnected, TableConv, WindowPool))
            and max(axes_of(self.stride)) > min(axes_of(layer.kernel)) > 1
        )

    def describe(self, network: Network, scenario: Scenario) -> str:
        """Says both strides."""
        return f"{self.node}: stride {stride_of(network[self.node].layer)} -> {self.stride}"


@frozen
class RemoveLayer(Remedy):
    """One layer less; whoever read its output reads its input."""

    cure: ClassVar[str] = "fewer layers"
    reason: ClassVar[str] = "a layer that is not there has no maps and no parameters"
    severity: ClassVar[int] = 3

    node: str = field(validator=instance_of(str, "the name of a node"))

    def apply(self, network: Network, scenario: Scenario) -> tuple[Network, Scenario]:
        """Returns the network without the node."""
        return remove_node(network, self.node), scenario

    def describe(self, network: Network, scenario: Scenario) -> str:
        """Says which layer goes."""
        return f"without {self.node}, {shorten(network[self.node].layer, 60)}"
