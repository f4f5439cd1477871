"""Retention policies: who keeps what, and until when. Each makes a schedule of a network's costs.

``FreeAfterUse`` is inference at its least; ``KeepAll`` is the textbook's training, ``Autograd`` PyTorch's. A further policy for
training derives from ``Backprop`` and states what each backward step needs; any other derives from ``Retention`` and makes the
schedule itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from attrs import field, frozen

from cnnbudget.checks import is_bool, short_repr
from cnnbudget.layers.base import Saved
from cnnbudget.memory.backward import BackwardPass
from cnnbudget.memory.elide import concat_in_place
from cnnbudget.memory.forward import ForwardPass

if TYPE_CHECKING:
    from cnnbudget.analysis.costs import CostTable, NodeCost
    from cnnbudget.memory.scenario import Scenario, Training
    from cnnbudget.memory.schedule import Schedule

__all__ = ["Autograd", "Backprop", "FreeAfterUse", "KeepAll", "Retention"]


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
    def schedule(self, table: CostTable, scenario: Scenario) -> Schedule:
        """Makes the schedule.

        Args:
            table: Costs of the network.
            scenario: How it runs; the policy's own batch is of no concern.

        Returns:
            The schedule of one batch.
        """


@frozen(repr=False)
class FreeAfterUse(Retention):
    """Inference at its least: a value dies after its last reader; the network's outputs live to the end.

    Args:
        hold_input: Whether the caller keeps the network's input alive, as a variable in a calling function does.
        temporaries: Whether the values on the way of operations that a framework composes count, and the indices that max
            pooling writes even where nobody asks for them: PyTorch's peak. Without them it is the least that any
            implementation needs.
        concat_in_place: Whether what is concatenated is written straight into the result, so that nothing is copied; what else
            still reads a part reads it there. Compilers for small devices do so; PyTorch does not. The whole is there from its
            first part on, so it need not be a gain.

    Example:
        >>> from cnnbudget import Conv, Inference, Net
        >>> net = Net.input(3, 8, 8).then(Conv(4, 3), Conv(4, 3), Conv(4, 3))
        >>> net.profile(Inference()).activation_peak
        Bytes(1344)
        >>> net.profile(Inference(retention=FreeAfterUse(hold_input=True))).activation_peak
        Bytes(1600)
    """

    hold_input: bool = field(default=False, kw_only=True, validator=is_bool)
    temporaries: bool = field(default=True, kw_only=True, validator=is_bool)
    concat_in_place: bool = field(default=False, kw_only=True, validator=is_bool)

    @property
    def serves_inference(self) -> bool:
        """It does."""
        return True

    @property
    def serves_training(self) -> bool:
        """It does not, since backward needs values that it has freed."""
        return False

    def schedule(self, table: CostTable, scenario: Scenario) -> Schedule:
        """Makes the schedule: load, and one forward step a node."""
        caller = self.hold_input or scenario.frames == "eager"
        held = [source.name for source in table.network.inputs] if caller else []
        forward = ForwardPass(table, scenario, held=held, temporaries=self.temporaries)
        forward.builder.hold(forward.values[name] for name in (*table.network.outputs, *held))
        forward.builder.hold(forward.copies.values())
        schedule = forward.builder.build()
        return concat_in_place(schedule, table, forward.sharing) if self.concat_in_place else schedule


@frozen(repr=False)
class Backprop(Retention):
    """The base of policies that train: forward, loss, backward in reverse order, update.

    A backward step reads its output's gradient and what :meth:`keeps` names, and writes the gradients of its inputs and
    parameters; where a value has several readers, their gradients add up in one storage. The gradient of a view is a
    view. Nothing has a gradient on the way from the input to the first parameters that train. Gradients of parameters live
    until the end of the update.
    """

    @property
    def adds_directly(self) -> bool:
        """Whether a further reader of a value adds to its gradient without making one of its own first."""
        return True

    @property
    def in_place_sums(self) -> bool:
        """Whether gradients that nobody else looks at are added to in place."""
        return True

    @property
    def serves_inference(self) -> bool:
        """It does not, since it has backward steps."""
        return False

    @property
    def serves_training(self) -> bool:
        """It does."""
        return True

    @abstractmethod
    def keeps(self, cost: NodeCost, *, needs: tuple[bool, ...], trains: bool) -> Saved | None:
        """States which values a node's backward step needs.

        Args:
            cost: The node.
            needs: For each of its inputs, whether something before it trains.
            trains: Whether its own parameters do.

        Returns:
            The values; ``None`` if nothing, not even the extras, waits for this step.
        """

    def schedule(self, table: CostTable, scenario: Scenario) -> Schedule:
        """Makes the schedule of one iteration."""
        forward = ForwardPass(table, scenario)
        BackwardPass(forward, self, as_training(scenario)).write()
        return forward.builder.build()


def as_training(scenario: Scenario) -> Training:
    """The scenario, which is a training for every policy that trains."""
    return scenario  # type: ignore[return-value]


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

    def keeps(self, cost: NodeCost, *, needs: tuple[bool, ...], trains: bool) -> Saved:
        """States that everything is kept."""
        return Saved(tuple(range(len(cost.inputs))), output=True)

    def schedule(self, table: CostTable, scenario: Scenario) -> Schedule:
        """Makes the schedule of one iteration, or of its forward pass."""
        if self.gradients:
            return super().schedule(table, scenario)
        forward = ForwardPass(table, scenario)
        kept = [*forward.values.values(), *(number for numbers in forward.extras.values() for number in numbers)]
        kept += forward.copies.values()
        forward.builder.hold(kept)
        if scenario.trains:
            forward.builder.retain(kept)
        return forward.builder.build()


@frozen(repr=False)
class Autograd(Backprop):
    """What PyTorch keeps: of every node the values that its layer's ``saved`` states, and nothing of nodes that train nothing.

    Args:
        sums_in_place: Whether the gradients of a value with several readers are added up in place, as autograd does where
            nobody else looks at them. With ``False`` every sum is a third value, as it is while a dispatch mode watches
            (PyTorch's ``MemTracker``).

    Example:
        >>> from cnnbudget import BatchNorm, Conv, Net, ReLU, Training
        >>> net = Net.input(3, 32, 32).then(Conv(16, 3, padding=1, bias=False), BatchNorm(), ReLU())
        >>> found = net.profile(Training(batch=2, retention=Autograd()))
        >>> found.retained  # the input, what batch norm and ReLU keep, and two statistics of every channel
        Bytes(286848)
    """

    sums_in_place: bool = field(default=True, kw_only=True, validator=is_bool)

    @property
    def adds_directly(self) -> bool:
        """Every reader makes a gradient of its own first."""
        return False

    @property
    def in_place_sums(self) -> bool:
        """As the policy was told."""
        return self.sums_in_place

    def keeps(self, cost: NodeCost, *, needs: tuple[bool, ...], trains: bool) -> Saved | None:
        """States what the layer saves, where something trains."""
        if trains or True in needs:
            layer = cost.node.layer
            return layer.saved_when(cost.inputs, cost.output, needs=needs, trains=trains)
        return None
