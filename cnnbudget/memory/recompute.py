"""Recomputation that is planned: a network as a chain of stages, and the schedule of a plan for that chain.

The network is cut wherever one storage alone goes on: there a stage ends. What each stage costs is read off the schedule that keeps
everything; the planner decides what every stage keeps, and when it runs again; its operations are then written out as steps, so the
profile measures what really is alive.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from attrs import frozen

from cnnbudget.dtypes import Role
from cnnbudget.memory.backward import BackwardPass
from cnnbudget.memory.liveness import liveness
from cnnbudget.memory.schedule import Phase
from cnnbudget.planning.stages import Action, Chain, Operation, Stage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cnnbudget.analysis.costs import CostTable, NodeCost
    from cnnbudget.analysis.storage import Sharing
    from cnnbudget.memory.backward import Keeper
    from cnnbudget.memory.forward import ForwardPass
    from cnnbudget.memory.scenario import Training
    from cnnbudget.memory.schedule import Schedule

__all__ = ["ChainOfStages", "PlannedPass", "chain_of", "stage_ends"]


def stage_ends(table: CostTable, sharing: Sharing) -> list[int]:
    """Positions of the nodes after which a stage may end: nothing but one storage goes on, and no later node overwrites it.

    Args:
        table: Costs of the network.
        sharing: Who shares bytes.

    Returns:
        Positions in order; the last is that of the last node.

    Example:
        >>> from cnnbudget import Conv, Net, ReLU
        >>> from cnnbudget.analysis.storage import sharing
        >>> table = Net.input(3, 8, 8).then(Conv(3, 3, padding=1), ReLU()).residual(Conv(3, 1)).costs()
        >>> stage_ends(table, sharing(table, training=True))
        [0, 1, 3]
    """
    owners, last = sharing.owners, len(table) - 1
    until: dict[str, int] = {}
    for position, cost in enumerate(table.nodes):
        for value in (*cost.node.inputs, cost.name):
            until[owners[value]] = position
    for value in table.network.outputs:
        until[owners[value]] = last + 1
    made = {source.name: -1 for source in table.network.inputs} | {cost.name: at for at, cost in enumerate(table.nodes)}
    barred = {
        position
        for name, alias in sharing.aliases.items()
        if alias.in_place
        for position in range(made[owners[name]], made[name])
    }
    changes = [0] * (last + 3)
    for owner, end in until.items():
        changes[made[owner] + 1] += 1
        changes[end + 1] -= 1
    ends, alive = [], changes[0]
    for position in range(last):
        alive += changes[position + 1]
        # Alive when the node has run and read again later; a network's own input waits in its first stage.
        if alive == 1 and position not in barred:
            ends.append(position)
    return [*ends, last]


@frozen
class ChainOfStages:
    """A network as the planner's chain.

    Args:
        chain: The chain, in bytes of one batch and multiply-accumulates of one sample.
        stages: The nodes of every stage.
        apart: Bytes that are alive all the time besides: parameters, buffers, optimizer state, the targets.
    """

    chain: Chain
    stages: tuple[tuple[NodeCost, ...], ...]
    apart: int


def chain_of(table: CostTable, sharing: Sharing, schedule: Schedule, batch: int) -> ChainOfStages:
    """Makes the chain of a network.

    Args:
        table: Costs of the network.
        sharing: Who shares bytes.
        schedule: The schedule that recomputes nothing.
        batch: Samples in a batch.

    Returns:
        The chain, its stages, and what is alive besides.
    """
    bounds = [0, *[end + 1 for end in stage_ends(table, sharing)]]
    stages = tuple([table.nodes[start:end] for start, end in pairwise(bounds)])
    measure = _Measure(schedule, batch)
    made = [
        measure.stage([cost.name for cost in nodes], sum([cost.macs or 0 for cost in nodes]), last=nodes is stages[-1])
        for nodes in stages
    ]
    inputs = {sharing.owners[source.name] for source in table.network.inputs}
    held = sum([size for size, storage in zip(measure.sizes, schedule.storages, strict=True) if storage.name in inputs])
    apart = sum([size for size, storage in zip(measure.sizes, schedule.storages, strict=True) if storage.persistent])
    return ChainOfStages(Chain(made, input_bytes=held), stages, apart)


class _Measure:
    """Reads off a schedule that recomputes nothing what the stages of its network hold."""

    def __init__(self, schedule: Schedule, batch: int) -> None:
        self.schedule = schedule
        self.lifetimes = liveness(schedule)
        self.sizes = [storage.byte_count(batch) for storage in schedule.storages]
        self.forward = {step.node: now for now, step in enumerate(schedule.steps) if step.phase is Phase.FORWARD}
        self.backward: dict[str | None, list[int]] = {}
        for now, step in enumerate(schedule.steps):
            if step.phase in {Phase.BACKWARD, Phase.ACCUMULATE}:
                self.backward.setdefault(step.node, []).append(now)
        self.loss = [now for now, step in enumerate(schedule.steps) if step.phase is Phase.LOSS]
        end = max(self.forward.values()) + 1
        # When a storage dies if nothing waits for backward: after its last reader in the forward pass.
        self.dies = [0] * len(self.sizes)
        for now, step in enumerate(schedule.steps[:end]):
            for number in (*step.reads, *step.writes):
                self.dies[number] = now + 1

    def stage(self, names: list[str], macs: int, *, last: bool) -> Stage:
        """Measures the stage of some nodes that follow each other."""
        births, deaths = self.lifetimes.births, self.lifetimes.deaths
        steps = [self.forward[name] for name in names] + (self.loss if last else [])
        start, end = steps[0], steps[-1] + 1
        born = [number for number, birth in enumerate(births) if start <= birth < end and not self._always(number)]
        output = self._sum(number for number in born if self.dies[number] > end or (last and deaths[number] > end))
        kept = [number for number in born if deaths[number] > end]
        held = max(self._sum(kept), output)
        saving = self._most(born, deaths, range(start, end))
        passing = self._most(
            born, [self.dies[n] if not last else deaths[n] for n in range(len(deaths))], range(start, end)
        )
        back = sorted(now for name in names for now in self.backward.get(name, ()))
        gradient = given = residue = transient = 0
        if back:
            first, after = back[0], back[-1] + 1
            roles = {number: self.schedule.storages[number].role for number in range(len(births))}
            grown = [n for n, birth in enumerate(births) if first <= birth < after and not self._always(n)]
            incoming = [
                number
                for number, birth in enumerate(births)
                if birth < first < deaths[number] and roles[number] is Role.ACTIVATION_GRADIENT
            ]
            gradient = self._sum(incoming)
            residue = self._sum(n for n in grown if roles[n] is Role.PARAMETER_GRADIENT and deaths[n] > after)
            given = self._sum(n for n in grown if roles[n] is Role.ACTIVATION_GRADIENT and deaths[n] > after)
            most = self._most([*kept, *incoming, *grown], deaths, range(first, after))
            transient = max(0, most - held - gradient - given - residue)
        return Stage(
            output_bytes=output,
            kept_bytes=held,
            forward=macs,
            gradient_bytes=gradient,
            forward_transient_bytes=max(0, passing - output),
            saving_transient_bytes=max(0, saving - held),
            backward_transient_bytes=transient,
            residue_bytes=residue,
        )

    def _always(self, number: int) -> bool:
        return self.schedule.storages[number].persistent

    def _sum(self, numbers: Iterable[int]) -> int:
        return sum([self.sizes[number] for number in numbers])

    def _most(self, numbers: list[int], deaths: Sequence[int], steps: range) -> int:
        """The most bytes of some storages alive at one of some steps."""
        births = self.lifetimes.births
        changes = dict.fromkeys(range(steps.start, steps.stop + 1), 0)
        for number in dict.fromkeys(numbers):
            begin, stop = max(births[number], steps.start), min(deaths[number], steps.stop)
            if begin < stop:
                changes[begin] += self.sizes[number]
                changes[stop] -= self.sizes[number]
        live = most = 0
        for now in steps:
            live += changes[now]
            most = max(most, live)
        return most


class PlannedPass(BackwardPass):
    """A backward pass that follows a plan: which stages run again before which stage's backward steps.

    Args:
        forward: The forward pass, in which every stage has run once.
        policy: Says what is kept.
        scenario: Says what is trained.
        stages: The nodes of every stage.
        operations: The plan.
    """

    def __init__(
        self,
        forward: ForwardPass,
        policy: Keeper,
        scenario: Training,
        stages: tuple[tuple[NodeCost, ...], ...],
        operations: tuple[Operation, ...],
    ) -> None:
        self._stages = stages
        first = next(number for number, operation in enumerate(operations) if operation.action is Action.BACKWARD)
        self._plan = operations[first:]
        self._saved_at_once = {each.stage for each in operations[:first] if each.action is Action.SAVE}
        self._checkpoints = {each.stage for each in operations[:first] if each.action is not Action.FORWARD}
        super().__init__(forward, policy, scenario)

    def retain(self) -> None:
        """Notes what is kept when the forward pass is done: of stages that save, everything; of others, what they begin with."""
        for number, stage in enumerate(self._stages):
            if number in self._saved_at_once:
                for cost in stage:
                    self.builder.retain(self.kept(cost))
            elif number in self._checkpoints:
                made = {cost.name for cost in stage}
                read = {name for cost in stage for name in cost.node.inputs if name not in made}
                self.builder.retain([self.forward.values[name] for name in read])

    def order(self) -> Iterator[NodeCost]:
        """The nodes in the order of their backward steps; the plan's stages run again when their turn comes."""
        for operation in self._plan:
            stage = self._stages[operation.stage]
            if operation.action is Action.BACKWARD:
                yield from reversed(stage)
            else:
                self.forward.run_again(stage)
