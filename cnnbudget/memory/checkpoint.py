"""Checkpointing: keep the values at a few cuts, and run the segments between them once more when backward needs the rest.

A segment's forward pass leaves nothing but what it was called with. Its backward pass begins as usual; the first node that needs
something runs the segment again, as far as anything is saved there, and keeps what autograd keeps. The last segment is not worth
it: what it would compute again is needed at once. The rules are those of PyTorch's ``torch.utils.checkpoint`` without reentry
(measured in PyTorch 2.13); the idea is Griewank's (1992) and Chen et al.'s (2016).
"""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from cnnbudget.checks import exact_int, int_from, is_bool, is_int
from cnnbudget.errors import InvalidValueError, SharedStorageError, UnknownNameError, did_you_mean, shorten
from cnnbudget.graph.nodes import check_name
from cnnbudget.graph.shapes import place_of
from cnnbudget.memory.backward import BackwardPass
from cnnbudget.memory.forward import ForwardPass
from cnnbudget.memory.frames import scopes_of
from cnnbudget.memory.liveness import liveness
from cnnbudget.memory.recompute import PlannedPass, chain_of, stage_ends
from cnnbudget.memory.retention import Autograd, as_training
from cnnbudget.memory.schedule import Phase
from cnnbudget.memory.shard import sharded
from cnnbudget.units import Bytes, parse_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, SupportsIndex

    from attrs import Attribute

    from cnnbudget.analysis.costs import CostTable, NodeCost
    from cnnbudget.analysis.storage import Sharing
    from cnnbudget.graph.nodes import Network
    from cnnbudget.memory.scenario import Scenario, Training
    from cnnbudget.memory.schedule import Schedule
    from cnnbudget.planning.chain import Tradeoff

__all__ = ["Checkpoint", "cut_positions", "recomputation_curve", "unit_ends"]

_ATTEMPTS = 8  # at a plan whose steps keep within the budget, too


def _names(value: Iterable[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _is_names(instance: Any, attribute: Attribute[Any], value: Any) -> None:
    for name in value:
        check_name(name, f"a name in {type(instance).__name__}.{attribute.name}")


def _bytes_or_none(value: SupportsIndex | str | None) -> Bytes | None:
    return None if value is None else parse_bytes(value)


def _is_name_or_none(instance: Any, attribute: Attribute[Any], value: Any) -> None:
    if value is not None:
        check_name(value, f"{type(instance).__name__}.{attribute.name}")


def _is_size(instance: Any, attribute: Attribute[Any], value: Any) -> None:
    if value is not None:
        exact_int(value, f"{type(instance).__name__}.{attribute.name}")


@frozen(repr=False)
class Checkpoint(Autograd):
    """Training that keeps the values at its cuts only, and computes the others again.

    Make one with :meth:`at`, :meth:`every` or :meth:`sqrt`. It trades multiply-accumulates for memory, and not every cut is a
    gain: profile it.

    Args:
        names: Where to cut: after these nodes, or after the last node of these scopes.
        units: Cut after every so many units instead: a unit is an outermost scope, or a node outside of any.
        times: How many cuts at most, from the start; ``None`` for no limit.
        within: A scope whose own units count, where one scope holds most of the network.
        root: Cut into about as many segments as each has stages instead; a stage ends wherever one value alone goes on.
        budget: Plan it instead: the least recomputation whose peak is within these bytes of a device.
        slots: How finely the planner cuts memory.
        sums_in_place: As in :class:`~cnnbudget.Autograd`.

    Example:
        >>> from cnnbudget import Autograd, Training, zoo
        >>> net = zoo.resnet50()
        >>> for policy in (Autograd(), Checkpoint.sqrt(), Checkpoint.at("layer1.2", "layer2.3", "layer3.5")):
        ...     found = net.profile(Training(32, retention=policy, loss="cross_entropy"))
        ...     print(found.peak, found.retained)
        2.69 GiB 2.56 GiB
        1.38 GiB 190.25 MiB
        1.62 GiB 331.21 MiB
    """

    names: tuple[str, ...] = field(default=(), kw_only=True, converter=_names, validator=_is_names)
    units: int | None = field(default=None, kw_only=True, validator=_is_size)
    times: int | None = field(default=None, kw_only=True, validator=_is_size)
    within: str | None = field(default=None, kw_only=True, validator=_is_name_or_none)
    root: bool = field(default=False, kw_only=True, validator=is_bool)
    budget: Bytes | None = field(default=None, kw_only=True, converter=_bytes_or_none)
    slots: int = field(default=500, kw_only=True, converter=int_from, validator=is_int())

    def __attrs_post_init__(self) -> None:
        given = [bool(self.names), self.units is not None, self.root, self.budget is not None]
        if sum(given) != 1 or (self.units is None and (self.times is not None or self.within is not None)):
            raise InvalidValueError(
                "Checkpoint does not say where to cut",
                got=f"names={self.names}, units={self.units}, times={self.times}, root={self.root}, budget={self.budget}",
                expected="one of Checkpoint.at('layer1.0'), .every(4), .sqrt(), .optimal('8 GiB')",
            )

    @classmethod
    def at(cls, *names: str) -> Checkpoint:
        """Cuts after some nodes or scopes.

        Args:
            *names: Names of nodes (``"layer1.0/relu2"``), or of scopes (``"layer1.0"``), after whose last node is cut.

        Returns:
            The policy.
        """
        return cls(names=names)

    @classmethod
    def every(cls, units: int, *, times: int | None = None, within: str | None = None) -> Checkpoint:
        """Cuts after every so many units.

        PyTorch's ``checkpoint_sequential(functions, segments)`` is ``every(len(functions) // segments, times=segments - 1)`` where
        every function is a unit.

        Args:
            units: How many units make a segment: outermost scopes, or nodes outside of any.
            times: How many cuts at most.
            within: A scope whose own scopes and nodes are the units, such as ``"features"`` in a network that has little else.

        Returns:
            The policy.
        """
        return cls(units=exact_int(units, "Checkpoint.units"), times=times, within=within)

    @classmethod
    def sqrt(cls) -> Checkpoint:
        """Cuts into segments of about the square root of all stages, which balances what is kept with what is computed again.

        A stage ends wherever one value alone goes on.

        Source: Chen, Xu, Zhang and Guestrin, "Training deep nets with sublinear memory cost" (2016).

        Returns:
            The policy.
        """
        return cls(root=True)

    @classmethod
    def optimal(cls, budget: SupportsIndex | str, *, slots: int = 500) -> Checkpoint:
        """Plans what to keep and what to compute again: the least extra work within a budget.

        The network is cut into stages wherever one value alone goes on; a stage keeps nothing, what it began with, or all that its
        backward steps need, and may run several times. Among such (persistent) schedules the plan is optimal up to the rounding
        to slots. Source: Beaumont et al., "Optimal checkpointing for heterogeneous chains" (2019).

        The plan is made for the scenario's batch; other batches of the same profile keep its schedule.

        Args:
            budget: Bytes of one device for the whole training step.
            slots: How finely the planner cuts memory: more are slower and closer.

        Returns:
            The policy. Its schedule raises :class:`~cnnbudget.InvalidValueError` if the budget is below what the leanest schedule
            needs that was found; the error gives that. The peak is within the budget at every step: where an update, or what eager
            execution holds, needs more than the stages do, stages are planned for less. Periodic cuts and cuts at square roots are
            tried beside the plan, and taken where they fit with less: that can be on a network whose long edges leave it few
            stages (a U-Net), or on a short one.

        Example:
            >>> from cnnbudget import Training, zoo
            >>> net = zoo.resnet18()
            >>> scenario = Training(32, retention=Checkpoint.optimal("600 MiB"), loss="cross_entropy")
            >>> net.profile(scenario).peak <= 600 * 2**20
            True
        """
        return cls(budget=parse_bytes(budget), slots=slots)

    def positions(self, table: CostTable, sharing: Sharing) -> list[int]:
        """Finds the cuts in a network.

        Args:
            table: Costs of the network.
            sharing: Who shares bytes there.

        Returns:
            Positions of the nodes after which is cut.

        Raises:
            UnknownNameError: If a name is neither a node's nor a scope's; the error guesses which was meant.
        """
        network = table.network
        if self.names:
            return sorted({_position_of(network, name) for name in self.names})
        if self.units is None:
            ends = stage_ends(table, sharing)
            size = isqrt(len(ends) - 1) + 1
        else:
            allowed = cut_positions(network, sharing)
            ends = [end for end in unit_ends(network, self.within) if end in allowed]
            size = self.units
        cuts = [end for end in ends[size - 1 :: size] if end < len(network) - 1]
        return cuts if self.times is None else cuts[: self.times]

    def schedule(self, table: CostTable, scenario: Scenario) -> Schedule:
        """Makes the schedule of one iteration, with a RECOMPUTE step for every node that runs again."""
        if self.budget is not None:
            return _planned(self, table, as_training(scenario), self.budget)
        forward = ForwardPass(table, scenario)
        cuts = self.positions(table, forward.sharing)
        _CheckpointedPass(forward, self, as_training(scenario), _segments(table, cuts, forward.sharing)).write()
        return forward.builder.build()


def _planned(policy: Checkpoint, table: CostTable, scenario: Training, budget: int) -> Schedule:
    """The schedule of a plan whose peak is within the budget.

    The planner sees stages, not steps: an update, or what eager execution holds beyond a stage, can make the peak higher. Then it
    plans for as much less.
    """
    from cnnbudget.planning.chain import least_checkpoint_bytes, plan_checkpoints  # they load numpy

    def shared(schedule: Schedule) -> Schedule:
        return (
            sharded(schedule, table.network, devices.count, devices.zero)
            if devices.zero and devices.count > 1
            else schedule
        )

    def peak(schedule: Schedule) -> int:
        return max(liveness(shared(schedule)).live_bytes(batch))

    def planned(room: int) -> Schedule:
        forward = ForwardPass(table, scenario)
        operations = plan_checkpoints(found.chain, room, slots=policy.slots).operations
        PlannedPass(forward, policy, scenario, found.stages, operations).write()
        return forward.builder.build()

    batch, devices = scenario.device_batch, scenario.devices
    everything = Autograd(sums_in_place=policy.sums_in_place).schedule(table, scenario)
    if peak(everything) <= budget:
        return everything
    found = chain_of(table, ForwardPass(table, scenario).sharing, shared(everything), batch)
    least = least_checkpoint_bytes(found.chain)
    room = budget - found.apart
    plans: list[Schedule] = []
    for _ in range(_ATTEMPTS):
        if room <= least:
            break
        schedule = planned(room)
        above = peak(schedule) - budget
        if above <= 0:
            plans.append(schedule)
            break
        room -= above
    # Steps free more than stages say, and a network with long edges has few stages: simple cuts may do with less.
    last = len(unit_ends(table.network))
    periods = [2**power for power in range(last.bit_length()) if 2**power < last]
    simple = [Checkpoint(root=True), *[Checkpoint(units=units) for units in periods]]
    cut = [evolve(each, sums_in_place=policy.sums_in_place).schedule(table, scenario) for each in simple]
    tried = [*(plans or [planned(least)]), *cut]
    fitting = [schedule for schedule in tried if peak(schedule) <= budget]
    if not fitting:
        needed = min(map(peak, [everything, *tried]))
        raise InvalidValueError(
            "no checkpoints fit into the budget",
            got=f"{int(budget)} bytes",
            expected=f"{needed} bytes or more, {found.apart} of which are always there",
            hint="that is what the leanest schedule needs that was found; a smaller batch needs less",
        )
    return min(fitting, key=lambda schedule: _work_again(schedule, table))


def _work_again(schedule: Schedule, table: CostTable) -> int:
    """Multiply-accumulates of a sample that a schedule computes again."""
    again = [step.node for step in schedule.steps if step.phase is Phase.RECOMPUTE]
    return sum([table[name].macs or 0 for name in again if name is not None])


def recomputation_curve(table: CostTable, scenario: Training, *, slots: int = 500) -> Tradeoff:
    """The whole trade-off of a network: memory against multiply-accumulates that are computed again.

    Args:
        table: Costs of the network.
        scenario: How it is trained; its policy does not matter.
        slots: How finely memory is cut.

    Returns:
        The curve; its bytes leave out parameters, buffers, optimizer state and targets, its costs are multiply-accumulates of
        one sample.
    """
    from cnnbudget.planning.chain import tradeoff  # it loads numpy

    everything = Autograd().schedule(table, scenario)
    found = chain_of(table, ForwardPass(table, scenario).sharing, everything, scenario.device_batch)
    return tradeoff(found.chain, slots=slots)


def unit_ends(network: Network, within: str | None = None) -> list[int]:
    """Positions of the last nodes of the units: outermost scopes, or nodes outside of any.

    Args:
        network: The network.
        within: A scope whose own units they are instead: the scopes and nodes in it.

    Returns:
        Positions in order. A numbered scope (``layer1.0``) is outermost.

    Raises:
        UnknownNameError: If there is no such scope; the error guesses which was meant.

    Example:
        >>> from cnnbudget import Conv, Net, ReLU
        >>> unit_ends(Net.input(3, 8, 8).then(Conv(4, 3)).then(Conv(4, 3), ReLU(), name="block").network)
        [0, 2]
    """
    prefix = "" if within is None else f"{within}/"
    inside = [position for position, node in enumerate(network.nodes) if node.name.startswith(prefix)]
    if not inside:
        scopes = dict.fromkeys(scope for node in network.nodes for scope in scopes_of(node.name))
        raise UnknownNameError(
            "Checkpoint.within fits no scope", got=shorten(within), hint=did_you_mean(within, scopes)
        )
    names = {position: network.nodes[position].name[len(prefix) :] for position in inside}
    units = {position: name.partition("/")[0] if "/" in name else None for position, name in names.items()}
    return [
        position
        for position in inside
        if position == inside[-1] or units[position] is None or units.get(position + 1) != units[position]
    ]


def cut_positions(network: Network, sharing: Sharing) -> set[int]:
    """Positions after which may be cut: no later node overwrites a value that was made before.

    Args:
        network: The network.
        sharing: Who shares bytes there.

    Returns:
        The positions.
    """
    made = {source.name: -1 for source in network.inputs}
    made |= {node.name: position for position, node in enumerate(network.nodes)}
    allowed = set(range(len(network.nodes)))
    for name, alias in sharing.aliases.items():
        if alias.in_place:
            allowed.difference_update(range(made[sharing.owners[name]], made[name]))
    return allowed


def _position_of(network: Network, name: str) -> int:
    known = {node.name: position for position, node in enumerate(network.nodes)}
    for position, node in enumerate(network.nodes):
        for scope in scopes_of(node.name):
            known[scope] = position
    if name not in known:
        raise UnknownNameError(
            "Checkpoint.names fits no node and no scope", got=shorten(name), hint=did_you_mean(name, known)
        )
    return known[name]


def _segments(table: CostTable, cuts: list[int], sharing: Sharing) -> list[tuple[NodeCost, ...]]:
    """The segments that are computed again: all but the last."""
    allowed = cut_positions(table.network, sharing)
    segments = []
    start = 0
    for cut in cuts:
        if cut not in allowed:
            after = next(
                cost
                for cost in table.nodes[cut + 1 :]
                if cost.name in sharing.aliases and sharing.aliases[cost.name].in_place
            )
            raise SharedStorageError(
                "a checkpoint's value would be overwritten by a layer that works in place",
                where=place_of(after.node, after.inputs),
                got=f"a cut after node {table.nodes[cut].name!r}",
                expected="nobody to overwrite what a later recomputation starts from",
                hint="cut after that node, or use the layer without inplace=True",
            )
        segments.append(table.nodes[start : cut + 1])
        start = cut + 1
    return segments


class _CheckpointedPass(BackwardPass):
    """A backward pass in which some segments run forward once more, at the first node that needs something of theirs."""

    def __init__(
        self, forward: ForwardPass, policy: Checkpoint, scenario: Training, segments: list[tuple[NodeCost, ...]]
    ) -> None:
        self._segments = {cost.name: segment for segment in segments for cost in segment}
        self._boundaries = {segment[0].name: _boundary(forward, segment) for segment in segments}
        self._done: set[str] = set()
        super().__init__(forward, policy, scenario)

    def retain(self) -> None:
        """Notes what is kept: of segments that run again what they start from, of the others what autograd keeps."""
        for cost in self.forward.table.nodes:
            segment = self._segments.get(cost.name)
            if segment is None:
                self.builder.retain(self.kept(cost))
            elif self.kept(cost):  # a segment in which nothing is saved is never run again, and keeps nothing
                self.builder.retain(self._boundaries[segment[0].name])

    def before(self, cost: NodeCost) -> None:
        """Runs the node's segment again, if it is the first that needs something of it."""
        segment = self._segments.get(cost.name)
        if segment is None or segment[0].name in self._done or not self.kept(cost):
            return
        self._done.add(segment[0].name)
        last = max(number for number, other in enumerate(segment) if self.kept(other))
        saved = self.saved[segment[last].name]
        # Inputs are saved before a kernel runs, and nothing after the last of them matters: it stops there.
        runs = last + bool((saved and saved.output) or self.forward.extras[segment[last].name])
        self.forward.run_again(segment[:runs], begins=segment[last] if runs <= last else None)

    def holds(self, cost: NodeCost) -> tuple[int, ...]:
        """What a segment started from is kept until the last of its backward steps."""
        segment = self._segments.get(cost.name)
        if segment is None:
            return ()
        first = next(other for other in segment if self.saved[other.name] is not None)
        again = segment[0].name in self._done
        return self._boundaries[segment[0].name] if again and cost.name == first.name else ()


def _boundary(forward: ForwardPass, segment: tuple[NodeCost, ...]) -> tuple[int, ...]:
    """Storages of the values that a segment reads and does not make."""
    made = {cost.name for cost in segment}
    read = dict.fromkeys(name for cost in segment for name in cost.node.inputs if name not in made)
    return tuple(dict.fromkeys(forward.values[name] for name in read))
