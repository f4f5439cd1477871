"""Retention policies: who keeps what, and until when. Each makes a schedule of a network's costs.

``FreeAfterUse`` is inference at its least; ``KeepAll`` is the textbook's training. A further policy for training derives from
``Backprop`` and states what each backward step needs; any other derives from ``Retention`` and makes the schedule itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from attrs import field, frozen

from cnnbudget.analysis.storage import Sharing, sharing
from cnnbudget.analysis.visitor import missing_rule
from cnnbudget.checks import is_bool, short_repr
from cnnbudget.dtypes import Precision, Role
from cnnbudget.errors import ConformanceError, shorten
from cnnbudget.layers.base import Saved
from cnnbudget.memory.schedule import Phase, Schedule, ScheduleBuilder
from cnnbudget.tensors import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from cnnbudget.analysis.costs import CostTable, NodeCost

__all__ = ["Backprop", "ForwardPass", "FreeAfterUse", "KeepAll", "Retention"]


@frozen(repr=False)
class Retention(ABC):
    """The base of all policies."""

    def __repr__(self) -> str:
        return short_repr(self)

    @property
    @abstractmethod
    def serves_inference(self) -> bool:
        """Whether an ``Inference`` may use it."""

    @property
    @abstractmethod
    def serves_training(self) -> bool:
        """Whether a ``Training`` may use it."""

    @abstractmethod
    def schedule(self, table: CostTable, precision: Precision, *, training: bool) -> Schedule:
        """Makes the schedule.

        Args:
            table: Costs of the network.
            precision: Gives every role its dtype.
            training: Whether layers act as in training.

        Returns:
            The schedule of one batch.
        """


class ForwardPass:
    """The part of a schedule that all policies share: parameters, inputs, and one forward step a node.

    Args:
        table: Costs of the network.
        precision: Gives every role its dtype.
        training: Whether layers act as in training: then they write their extras.
        held: Values that somebody outside the network keeps to the end; no layer may overwrite them.

    Attributes:
        builder: Where the steps are collected; policies go on with it.
        values: The number of the storage of every value.
        extras: The numbers of the extras of every node.
        sharing: Who shares bytes.
    """

    def __init__(self, table: CostTable, precision: Precision, *, training: bool, held: Collection[str] = ()) -> None:
        self.table = table
        self.builder = builder = ScheduleBuilder(precision)
        self.sharing: Sharing = sharing(table, training=training, held=held)
        self.values: dict[str, int] = {}
        self.extras: dict[str, tuple[int, ...]] = {}
        for cost in table.nodes:
            self._add_persistent(cost)
        for source in table.network.inputs:
            self.values[source.name] = builder.add(source.name, source.spec)
        builder.step(Phase.LOAD, writes=self.values.values())
        for cost in table.nodes:
            self._add_forward(cost, training=training)

    def _add_persistent(self, cost: NodeCost) -> None:
        if cost.parameters is None:
            raise missing_rule("parameters", cost.node, cost.inputs)
        if cost.buffers is None:
            raise missing_rule("buffers", cost.node, cost.inputs)
        for name, shape in cost.parameters:
            self.builder.add_fixed(f"{cost.name}.{name}", shape, Role.PARAMETER, persistent=True)
        for name, spec in cost.buffers:
            self.builder.add(f"{cost.name}.{name}", spec, persistent=True)

    def _add_forward(self, cost: NodeCost, *, training: bool) -> None:
        owner = self.sharing.owners[cost.name]
        if owner == cost.name:
            self.values[cost.name] = self.builder.add(cost.name, cost.output)
        else:
            self.values[cost.name] = self.values[owner]
        extras = _extras(cost) if training else {}
        self.extras[cost.name] = written = tuple(
            [self.builder.add(f"{cost.name}.{name}", spec) for name, spec in extras.items()]
        )
        reads = [self.values[name] for name in cost.node.inputs]
        self.builder.step(Phase.FORWARD, cost.name, reads, (self.values[cost.name], *written))


def _extras(cost: NodeCost) -> Mapping[str, TensorSpec]:
    layer = cost.node.layer
    extras = layer.extras(cost.inputs, cost.output)
    if extras is None:
        raise missing_rule("extras", cost.node, cost.inputs)
    try:
        right = all(isinstance(name, str) and isinstance(spec, TensorSpec) for name, spec in extras.items())
    except AttributeError:
        right = False
    if not right:
        raise ConformanceError(
            f"{type(layer).__name__}.extras returned something else",
            where=f"node {cost.name!r}",
            got=shorten(extras),
            expected="a mapping of names to TensorSpec values",
        )
    return extras


@frozen(repr=False)
class FreeAfterUse(Retention):
    """Inference at its least: a value dies after its last reader; the network's outputs live to the end.

    Args:
        hold_input: Whether the caller keeps the network's input alive, as a variable in a calling function does.

    Example:
        >>> from cnnbudget import Conv, Inference, Net
        >>> net = Net.input(3, 8, 8).then(Conv(4, 3), Conv(4, 3), Conv(4, 3))
        >>> net.profile(Inference()).activation_peak
        Bytes(1344)
        >>> net.profile(Inference(retention=FreeAfterUse(hold_input=True))).activation_peak
        Bytes(1600)
    """

    hold_input: bool = field(default=False, kw_only=True, validator=is_bool)

    @property
    def serves_inference(self) -> bool:
        """It does."""
        return True

    @property
    def serves_training(self) -> bool:
        """It does not, since backward needs values that it has freed."""
        return False

    def schedule(self, table: CostTable, precision: Precision, *, training: bool) -> Schedule:
        """Makes the schedule: load, and one forward step a node."""
        held = [source.name for source in table.network.inputs] if self.hold_input else []
        forward = ForwardPass(table, precision, training=training, held=held)
        forward.builder.hold(forward.values[name] for name in (*table.network.outputs, *held))
        return forward.builder.build()


@frozen(repr=False)
class Backprop(Retention):
    """The base of policies that train: forward, loss, backward in reverse order, update.

    A backward step reads its output's gradient and what :meth:`keeps` names, and writes the gradients of its inputs and
    parameters; where a value has several readers, their gradients accumulate in one storage. The gradient of a view is a
    view. Nothing has a gradient on the way from the input to the first parameters. Gradients of parameters live until the
    update, which is plain: it has no state and no temporaries.
    """

    @property
    def serves_inference(self) -> bool:
        """It does not, since it has backward steps."""
        return False

    @property
    def serves_training(self) -> bool:
        """It does."""
        return True

    @abstractmethod
    def keeps(self, cost: NodeCost, *, needs_gradient: bool) -> Saved | None:
        """States which values a node's backward step needs.

        Args:
            cost: The node.
            needs_gradient: Whether its parameters or something before it trains.

        Returns:
            The values; ``None`` if nothing, not even the extras, waits for this step.
        """

    def schedule(self, table: CostTable, precision: Precision, *, training: bool) -> Schedule:
        """Makes the schedule of one iteration."""
        forward = ForwardPass(table, precision, training=training)
        backward = _Backward(forward)
        for cost in reversed(table.nodes):
            needs = backward.needs_gradient[cost.name]
            kept = self.keeps(cost, needs_gradient=needs)
            if kept is not None:
                backward.step(cost, _check_kept(self, cost, kept))
        forward.builder.step(Phase.UPDATE, reads=backward.parameter_gradients)
        return forward.builder.build()


def _check_kept(policy: Retention, cost: NodeCost, kept: object) -> Saved:
    if not isinstance(kept, Saved) or not all(0 <= number < len(cost.inputs) for number in kept.inputs):
        raise ConformanceError(
            f"{type(policy).__name__} keeps an input that the layer does not have, or returned something else",
            where=f"node {cost.name!r}",
            got=shorten(kept),
            expected=f"a Saved with inputs from 0 to {len(cost.inputs) - 1}",
        )
    return kept


class _Backward:
    """Writes the loss and the backward steps that follow a forward pass."""

    def __init__(self, forward: ForwardPass) -> None:
        self.forward = forward
        self.gradients: dict[str, int] = {}
        self.parameter_gradients: list[int] = []
        self._gradients_of: dict[str, list[int]] = {}
        self.needs_gradient = {source.name: False for source in forward.table.network.inputs}
        for cost in forward.table.nodes:
            trains = bool(self._owner(cost).parameters) or any(self.needs_gradient[name] for name in cost.node.inputs)
            self.needs_gradient[cost.name] = trains
        outputs = forward.table.network.outputs
        for name in outputs:
            if self.needs_gradient[name] and name not in self.gradients:
                self._add_gradient(name)
        reads = [forward.values[name] for name in outputs]
        forward.builder.step(Phase.LOSS, reads=reads, writes=self.gradients.values())

    def _add_gradient(self, name: str) -> int:
        spec = self.forward.table.specs[name]
        self.gradients[name] = number = self.forward.builder.add(f"{name}.grad", spec, Role.ACTIVATION_GRADIENT)
        return number

    def step(self, cost: NodeCost, kept: Saved) -> None:
        forward, name = self.forward, cost.name
        reads = [forward.values[cost.node.inputs[number]] for number in kept.inputs]
        if kept.output:
            reads.append(forward.values[name])
        reads += forward.extras[name]
        writes = []
        if name in self.gradients:  # a value that nobody reads, or that nothing before it trains, has none
            reads.append(self.gradients[name])
            writes = [
                self._input_gradient(cost, number) for number in range(len(cost.inputs)) if self._trains(cost, number)
            ]
            writes += self._parameter_gradients(cost)
        forward.builder.step(Phase.BACKWARD, name, reads, writes)

    def _trains(self, cost: NodeCost, number: int) -> bool:
        return self.needs_gradient[cost.node.inputs[number]]

    def _input_gradient(self, cost: NodeCost, number: int) -> int:
        value = cost.node.inputs[number]
        if value in self.gradients:  # another reader's step came before: accumulate
            return self.gradients[value]
        alias = self.forward.sharing.aliases.get(cost.name)
        if alias is not None and not alias.in_place and alias.input == number and _same_size(cost, number):
            self.gradients[value] = self.gradients[cost.name]
            return self.gradients[value]
        return self._add_gradient(value)

    def _owner(self, cost: NodeCost) -> NodeCost:
        """The node whose parameters this one uses."""
        return cost if cost.node.shares is None else self.forward.table[cost.node.shares]

    def _parameter_gradients(self, cost: NodeCost) -> list[int]:
        owner = self._owner(cost)
        if owner.name not in self._gradients_of:  # shared parameters accumulate in one gradient
            self._gradients_of[owner.name] = new = [
                self.forward.builder.add_fixed(f"{owner.name}.{name}.grad", shape, Role.PARAMETER_GRADIENT)
                for name, shape in owner.parameters or ()
            ]
            self.parameter_gradients += new
        return self._gradients_of[owner.name]


def _same_size(cost: NodeCost, number: int) -> bool:
    return cost.output.element_count == cost.inputs[number].element_count


@frozen(repr=False)
class KeepAll(Backprop):
    """The textbook's training: every value of the forward pass, the input included, is kept until its backward step.

    Args:
        gradients: Whether backward is modelled. With ``False`` the peak is the end of the forward pass: the textbook's number,
            which leaves out the gradients. What layers write for backward only (masks, indices, statistics) is there at that
            moment and counts.

    Example:
        >>> from cnnbudget import Conv, Net, Training
        >>> net = Net.input(3, 8, 8).then(Conv(4, 3), Conv(4, 3))
        >>> net.profile(Training(batch=10, retention=KeepAll(gradients=False))).peak
        Bytes(17040)
        >>> net.profile(Training(batch=10, retention=KeepAll())).peak
        Bytes(25952)
    """

    gradients: bool = field(default=True, kw_only=True, validator=is_bool)

    @property
    def serves_inference(self) -> bool:
        """It does without gradients, as a forward pass that frees nothing."""
        return not self.gradients

    def keeps(self, cost: NodeCost, *, needs_gradient: bool) -> Saved:
        """States that everything is kept."""
        return Saved(tuple(range(len(cost.inputs))), output=True)

    def schedule(self, table: CostTable, precision: Precision, *, training: bool) -> Schedule:
        """Makes the schedule of one iteration, or of its forward pass."""
        if self.gradients:
            return super().schedule(table, precision, training=training)
        forward = ForwardPass(table, precision, training=training)
        forward.builder.hold(
            [*forward.values.values(), *(number for numbers in forward.extras.values() for number in numbers)]
        )
        return forward.builder.build()
