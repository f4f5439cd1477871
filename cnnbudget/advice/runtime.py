"""Remedies that leave the architecture alone: accumulation, the optimizer, frozen layers, recomputation, activations in place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import evolve, field, frozen

from cnnbudget.advice.remedies import Remedy, has_batch_norm
from cnnbudget.checks import instance_of, int_from, is_int
from cnnbudget.errors import InvalidTypeError, InvalidValueError, SharedStorageError, shorten
from cnnbudget.graph.nodes import Network, Node, check_name
from cnnbudget.graph.shapes import specs
from cnnbudget.memory.optimizer import Optimizer
from cnnbudget.memory.optimizer_other import optimizer as optimizer_from
from cnnbudget.memory.profile import profile
from cnnbudget.memory.retention import Retention
from cnnbudget.memory.scenario import Scenario, Training

if TYPE_CHECKING:
    from attrs import Attribute

__all__ = [
    "Accumulate",
    "FreezeFirst",
    "InPlaceActivations",
    "LighterOptimizer",
    "Recompute",
    "in_place_nodes",
    "training_nodes",
]


def _training(remedy: Remedy, scenario: Scenario) -> Training:
    if not isinstance(scenario, Training):
        raise InvalidValueError(
            f"{type(remedy).__name__} is a remedy for training", got=shorten(scenario), expected="a Training"
        )
    return scenario


@frozen
class Accumulate(Remedy):
    """Gradient accumulation: the batch stays, a device works through its share of it in parts and adds their gradients up."""

    cure: ClassVar[str] = "gradient accumulation"
    reason: ClassVar[str] = "only the activations of one part of the batch are alive at a time"
    severity: ClassVar[int] = 0
    category: ClassVar[str] = "run-time"
    changes: ClassVar[frozenset[str]] = frozenset({"accumulate"})

    parts: int = field(converter=int_from, validator=is_int(2))

    def apply(self, network: Network, scenario: Scenario) -> tuple[Network, Scenario]:
        """Returns the scenario with so many parts.

        Raises:
            InvalidValueError: If nothing is trained, or there are more parts than samples.
        """
        return network, _training(self, scenario).evolve(accumulate=self.parts)

    def changes_training(self, network: Network, scenario: Scenario) -> bool:
        """Only where batch norm looks at a part of the batch."""
        return has_batch_norm(network)

    def warnings(self, network: Network, scenario: Scenario) -> tuple[str, ...]:
        """Says how many passes an update takes, and whose statistics batch norm sees."""
        passes = f"{self.parts} passes an update"
        return (passes, "batch-norm statistics of each part alone") if has_batch_norm(network) else (passes,)

    def describe(self, network: Network, scenario: Scenario) -> str:
        """Says into how many parts the share of a device is cut."""
        share = scenario.devices.share(scenario.batch)
        return f"batch {scenario.batch} in {self.parts} parts, at most {-(-share // self.parts)} samples each"


@frozen
class LighterOptimizer(Remedy):
    """An optimizer that keeps less. It takes other steps: learning rates do not carry over."""

    cure: ClassVar[str] = "lighter optimizer"
    reason: ClassVar[str] = "Adam keeps two numbers for every parameter, SGD with momentum one, SGD none"
    severity: ClassVar[int] = 1
    category: ClassVar[str] = "run-time"
    changes: ClassVar[frozenset[str]] = frozenset({"optimizer"})

    optimizer: Optimizer = field(converter=optimizer_from, validator=instance_of(Optimizer, "for example SGD()"))

    def apply(self, network: Network, scenario: Scenario) -> tuple[Network, Scenario]:
        """Returns the scenario with the optimizer.

        Raises:
            InvalidValueError: If nothing is trained.
        """
        return network, _training(self, scenario).evolve(optimizer=self.optimizer)

    def warnings(self, network: Network, scenario: Scenario) -> tuple[str, ...]:
        """Says that hyperparameters have to be found anew."""
        return ("other updates",)

    def describe(self, network: Network, scenario: Scenario) -> str:
        """Says both optimizers."""
        return f"{getattr(scenario, 'optimizer', 'no optimizer')} -> {self.optimizer}"


def training_nodes(network: Network, scenario: Training) -> list[str]:
    """Names of the nodes whose parameters are trained, in execution order.

    Args:
        network: The network.
        scenario: The scenario, which may have frozen some.
    """
    known, frozen_already = specs(network), scenario.frozen_nodes(network)
    return [
        node.name
        for node in network.nodes
        if node.name not in frozen_already and node.layer.parameters(tuple([known[name] for name in node.inputs]))
    ]


@frozen
class _Named:
    """Says of a node whether it is one of some: a value, where patterns would have to be tried on every name."""

    names: frozenset[str]

    def __call__(self, node: Node) -> bool:
        return node.name in self.names


@frozen
class FreezeFirst(Remedy):
    """The first layers do not train: they keep nothing for backward and have neither gradients nor optimizer state."""

    cure: ClassVar[str] = "frozen first layers"
    reason: ClassVar[str] = "nothing is kept for backward before the first layer that trains"
    severity: ClassVar[int] = 1
    category: ClassVar[str] = "run-time"
    changes: ClassVar[frozenset[str]] = frozenset({"frozen"})

    count: int = field(converter=int_from, validator=is_int())

    def apply(self, network: Network, scenario: Scenario) -> tuple[Network, Scenario]:
        """Returns the scenario in which the first layers with parameters are frozen, with those that were already.

        Raises:
            InvalidValueError: If nothing is trained, or nothing would be trained any more.
        """
        training = _training(self, scenario)
        names = training_nodes(network, training)
        if self.count >= len(names):
            raise InvalidValueError(
                "FreezeFirst.count leaves nothing to train", got=str(self.count), expected=f"less than {len(names)}"
            )
        return network, training.evolve(frozen=_Named(training.frozen_nodes(network).union(names[: self.count])))

    def magnitude(self, network: Network) -> int:
        """How many layers."""
        return self.count

    def warnings(self, network: Network, scenario: Scenario) -> tuple[str, ...]:
        """Says that these layers have to come trained."""
        return ("the frozen layers must be trained already",)

    def describe(self, network: Network, scenario: Scenario) -> str:
        """Says up to which layer."""
        names = training_nodes(network, _training(self, scenario))
        return f"the first {self.count} of {len(names)} layers with parameters, up to {names[self.count - 1]}"


@frozen
class Recompute(Remedy):
    """Another policy of what is kept for backward: one that keeps less, and computes the rest again (checkpointing)."""

    cure: ClassVar[str] = "recomputation"
    reason: ClassVar[str] = "what is computed again when backward needs it is not kept"
    severity: ClassVar[int] = 0
    category: ClassVar[str] = "run-time"
    changes: ClassVar[frozenset[str]] = frozenset({"retention"})

    policy: Retention = field(validator=instance_of(Retention, "a policy with recomputation"))

    def apply(self, network: Network, scenario: Scenario) -> tuple[Network, Scenario]:
        """Returns the scenario with the policy.

        Raises:
            InvalidValueError: If nothing is trained.
        """
        return network, _training(self, scenario).evolve(retention=self.policy)

    def changes_training(self, network: Network, scenario: Scenario) -> bool:
        """Only where batch norm may run twice: the gradients stay, its running statistics move twice as fast."""
        return has_batch_norm(network)

    def warnings(self, network: Network, scenario: Scenario) -> tuple[str, ...]:
        """Says what running batch norm twice does."""
        return ("batch norm that runs twice updates its running statistics twice",) if has_batch_norm(network) else ()

    def describe(self, network: Network, scenario: Scenario) -> str:
        """Says both policies."""
        return f"{scenario.retention} -> {self.policy}"


def _names(value: Any) -> Any:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else value


def _are_names(instance: Any, attribute: Attribute[Any], value: Any) -> None:
    if not isinstance(value, tuple) or not value:
        raise InvalidTypeError(
            f"{type(instance).__name__}.{attribute.name} must be names of nodes",
            got=shorten(value),
            expected="at least one, for example ['relu', 'relu2']",
        )
    for name in value:
        check_name(name, f"a name in {type(instance).__name__}.{attribute.name}")


@frozen
class InPlaceActivations(Remedy):
    """Activations that overwrite their input instead of making a value of their own."""

    cure: ClassVar[str] = "in-place activations"
    reason: ClassVar[str] = "an activation that overwrites its input has no maps of its own"
    severity: ClassVar[int] = 0
    category: ClassVar[str] = "run-time"

    nodes: tuple[str, ...] = field(converter=_names, validator=_are_names)

    def apply(self, network: Network, scenario: Scenario) -> tuple[Network, Scenario]:
        """Returns the network in which these nodes work in place.

        Raises:
            UnknownNameError: If there is no such node.
            InvalidValueError: If a layer has no in-place variant.
        """
        for name in self.nodes:
            layer = network[name].layer
            if not hasattr(layer, "inplace"):
                raise InvalidValueError(
                    "this layer has no in-place variant",
                    where=f"node {name!r}",
                    got=shorten(layer),
                    expected="for example ReLU()",
                )
        return _in_place(network, set(self.nodes)), scenario

    def magnitude(self, network: Network) -> int:
        """0: nobody notices."""
        return 0

    def describe(self, network: Network, scenario: Scenario) -> str:
        """Says which, or how many."""
        shown = ", ".join(self.nodes) if len(self.nodes) <= 3 else f"{len(self.nodes)} activations"
        return f"{shown} in place"


def _in_place(network: Network, names: set[str]) -> Network:
    nodes = [
        evolve(node, layer=node.layer.evolve(inplace=True)) if node.name in names else node for node in network.nodes
    ]
    return evolve(network, nodes=nodes)


def in_place_nodes(network: Network, scenario: Scenario, *, but: Iterable[str] = ()) -> tuple[str, ...]:
    """Finds nodes that can all work in place: nobody needs in this scenario what they overwrite.

    Args:
        network: The network.
        scenario: The scenario.
        but: Names of nodes that stay as they are.

    Returns:
        Their names, in execution order; where two of them exclude each other, one is among them.

    Example:
        >>> from cnnbudget import Autograd, Conv, Net, ReLU, Sigmoid, Training
        >>> network = Net.input(3, 8, 8).then(Conv(4, 3), ReLU(), Sigmoid(), ReLU()).network
        >>> in_place_nodes(network, Training(retention=Autograd()))  # backward of the sigmoid needs its output
        ('relu',)
    """
    wanted = [
        node.name for node in network.nodes if getattr(node.layer, "inplace", None) is False and node.name not in {*but}
    ]
    found: list[str] = []
    todo = [wanted] if wanted else []
    while todo:  # halves that fail are halved again: one that everybody agrees with costs one profile
        part = todo.pop()
        try:
            profile(_in_place(network, {*found, *part}), scenario)
        except SharedStorageError:
            half = len(part) // 2
            todo += [part[half:], part[:half]] if half else []
        else:
            found += part
    return tuple([name for name in wanted if name in set(found)])
