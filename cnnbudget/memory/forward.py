"""The forward pass of a schedule: parameters, inputs, one step a node, with what each writes and what callers hold meanwhile.

All retention policies share it; they differ in what comes after.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from cnnbudget.analysis.storage import Sharing, sharing
from cnnbudget.analysis.visitor import missing_rule
from cnnbudget.dtypes import FLOAT32, Role
from cnnbudget.errors import ConformanceError, InvalidTypeError, shorten
from cnnbudget.layers.base import Autocast
from cnnbudget.memory.frames import arguments_held
from cnnbudget.memory.schedule import Phase, ScheduleBuilder
from cnnbudget.tensors import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from cnnbudget.analysis.costs import CostTable, NodeCost
    from cnnbudget.dtypes import DType
    from cnnbudget.memory.scenario import Scenario

Stated = tuple[tuple[str, TensorSpec], ...]
"""What a layer states, by name."""

__all__ = ["ForwardPass", "Operands", "owner_of"]


@frozen
class Operands:
    """What a node's forward step worked on, as its backward step may need it.

    Args:
        inputs: The storage of every input: that of the value, or of a copy in another width.
        weights: Copies of its parameters in another width, by the parameter's name.
    """

    inputs: tuple[int, ...]
    weights: Mapping[str, int]


class ForwardPass:
    """The part of a schedule that all policies share.

    Args:
        table: Costs of the network.
        scenario: How it runs: precision, frames, and whether layers act as in training; then they write their extras.
        held: Values that somebody outside the network keeps to the end; no layer may overwrite them.
        temporaries: Whether the values on the way of composed operations count.

    Attributes:
        builder: Where the steps are collected; policies go on with it.
        values: The number of the storage of every value.
        dtypes: Its width.
        extras: The numbers of the extras of every node.
        operands: What every node worked on.
        copies: Copies of parameters in another width, alive as long as mixed precision is on.
        sharing: Who shares bytes.
    """

    def __init__(
        self, table: CostTable, scenario: Scenario, *, held: Collection[str] = (), temporaries: bool = True
    ) -> None:
        if not hasattr(scenario, "trains"):  # its module imports this one
            raise InvalidTypeError(
                "ForwardPass takes a scenario", got=shorten(scenario), expected="for example Inference()"
            )
        self.table = table
        self.precision = scenario.precision
        self.training = scenario.trains
        self.builder = builder = ScheduleBuilder(scenario.precision)
        self.sharing: Sharing = sharing(table, training=self.training, held=held)
        self.values: dict[str, int] = {}
        self.dtypes: dict[str, DType] = {}
        self.extras: dict[str, tuple[int, ...]] = {}
        self.operands: dict[str, Operands] = {}
        self.copies: dict[tuple[str, str], int] = {}
        self._frozen = scenario.frozen_nodes(table.network)
        self._temporaries = temporaries
        self._sums = self.precision.accumulator if temporaries else None
        self._asked: dict[tuple[int, int], tuple[Stated, Stated]] = {}
        self._eager = scenario.frames == "eager"
        self._held: Mapping[str, tuple[str, ...]] = {}
        self._saved_dtype = self.precision[Role.EXTRA]
        self._phase, self._mark = Phase.FORWARD, ""
        self._closing = ""  # the node with which a run ends
        self._runs: dict[str, int] = {}  # how often the stage that begins with a node has run again
        for cost in table.nodes:
            self._add_persistent(cost)
        for source in table.network.inputs:
            self._own(source.name, source.spec, self.precision[Role.ACTIVATION])
        builder.step(Phase.LOAD, writes=self.values.values())
        self._run(table.nodes)

    def _run(self, nodes: Sequence[NodeCost]) -> None:
        add = self._add_cast if self.precision.autocast else self._add_plain
        if self._eager:
            self._held = arguments_held([cost.node for cost in nodes])
        for cost in nodes:
            add(cost)

    def run_again(self, nodes: Sequence[NodeCost], *, begins: NodeCost | None = None) -> None:
        """Runs nodes once more, as recomputation does: from now on their values and extras are those of this run.

        Args:
            nodes: Some nodes in execution order, with everything between them on which they depend; there may be none before
                one that begins.
            begins: A node after them that begins to run, and stops when it has what it works on.
        """
        first = (nodes if begins is None else [*nodes, begins])[0]
        copies, self.copies = self.copies, {}  # a region of mixed precision of its own
        runs = self._runs.get(first.name, 0) + 1
        self._runs[first.name] = runs
        self._phase, self._mark = Phase.RECOMPUTE, " again" if runs == 1 else f" again {runs}"
        self._closing = nodes[-1].name if nodes else ""
        self._run(nodes)
        if begins is not None:
            self._begin(begins)
        self.copies = copies

    def _begin(self, cost: NodeCost) -> None:
        """Lets a node look at its inputs, and copies what comes in another width; its kernel does not run."""
        if not self.precision.autocast:
            self._look(cost)
            return
        written, _ = self._cast(cost)
        if written:
            reads = [*self.operands[cost.name].inputs, *[self.values[name] for name in cost.node.inputs]]
            self.builder.step(self._phase, cost.name, reads, written, self._region(written))

    def _region(self, writes: Sequence[int]) -> list[int]:
        """Copies of parameters that the region of mixed precision keeps to its end, without those that a step writes."""
        return [number for number in self.copies.values() if number not in writes]

    def _add_persistent(self, cost: NodeCost) -> None:
        if cost.parameters is None:
            raise missing_rule("parameters", cost.node, cost.inputs)
        if cost.buffers is None:
            raise missing_rule("buffers", cost.node, cost.inputs)
        for name, shape in cost.parameters:
            self.builder.add_fixed(f"{cost.name}.{name}", shape, Role.PARAMETER, persistent=True, node=cost.name)
        for name, spec in cost.buffers:
            self.builder.add(f"{cost.name}.{name}", spec, persistent=True, node=cost.name)

    def _own(self, name: str, spec: TensorSpec, dtype: DType) -> None:
        self.values[name] = self.builder.add(f"{name}{self._mark}", spec, dtype=dtype, node=name)
        self.dtypes[name] = spec.dtype or dtype

    def _add_plain(self, cost: NodeCost) -> None:
        """A step in one precision."""
        self._look(cost)
        self._add_forward(cost, self.operands[cost.name].inputs, (), self.precision[Role.ACTIVATION], self._saved_dtype)

    def _look(self, cost: NodeCost) -> None:
        self.operands[cost.name] = Operands(tuple([self.values[name] for name in cost.node.inputs]), {})

    def _add_cast(self, cost: NodeCost) -> None:
        """A step in mixed precision: what comes in another width is copied first."""
        written, dtype = self._cast(cost)
        self._add_forward(cost, self.operands[cost.name].inputs, written, dtype, dtype)

    def _cast(self, cost: NodeCost) -> tuple[list[int], DType]:
        """What a node works on in mixed precision: the copies that are made for it, and the width of its output."""
        layer, builder = cost.node.layer, self.builder
        low = self.precision.autocast
        found = [self.dtypes[name] for name in cost.node.inputs]
        kind = layer.autocast
        if kind is Autocast.FOLLOW or kind is Autocast.WIDEN:
            dtype = FLOAT32 if kind is Autocast.WIDEN else max(found, key=lambda dtype: dtype.bits)
            wanted = found  # whatever comes: an operation of two widths reads both
        else:
            dtype = low if kind is Autocast.LOW and low is not None else FLOAT32
            wanted = [dtype] * len(found)
        inputs, written = [], []
        for number, name in enumerate(cost.node.inputs):
            if wanted[number] is found[number] or cost.inputs[number].dtype is not None:
                inputs.append(self.values[name])
            else:
                copy = builder.add(
                    f"{cost.name}.cast{number}{self._mark}", cost.inputs[number], dtype=dtype, node=cost.name
                )
                inputs.append(copy)
                written.append(copy)
        weights = {}
        if kind is Autocast.LOW:
            owner = owner_of(self.table, cost)
            for name, shape in owner.parameters or ():
                key = (owner.name, name)
                if key in self.copies:
                    weights[name] = self.copies[key]
                    continue
                full = f"{owner.name}.{name}.{dtype}{self._mark}"
                weights[name] = builder.add_fixed(full, shape, Role.EXTRA, dtype=dtype, node=owner.name)
                written.append(weights[name])
                if owner.name not in self._frozen:  # only copies of what trains wait for the next use
                    self.copies[key] = weights[name]
        self.operands[cost.name] = Operands(tuple(inputs), weights)
        if cost.name in self.sharing.aliases:
            dtype = found[self.sharing.aliases[cost.name].input]
        return written, dtype

    def _add_forward(
        self, cost: NodeCost, inputs: Sequence[int], written: Sequence[int], dtype: DType, saved_dtype: DType
    ) -> None:
        name, builder, values, mark = cost.name, self.builder, self.values, self._mark
        owner = self.sharing.owners[name]
        if owner == name:
            self._own(name, cost.output, dtype)
        else:
            values[name] = values[owner]
            self.dtypes[name] = dtype
        stated, on_the_way = self._facts(cost)
        extras: tuple[int, ...] = ()
        if stated:
            extras = tuple(
                [builder.add(f"{name}.{word}{mark}", spec, dtype=saved_dtype, node=name) for word, spec in stated]
            )
        self.extras[name] = extras
        alias = self.sharing.aliases.get(name)
        looks = alias is not None and not alias.in_place  # a view writes nothing
        writes = (*written, *extras) if looks else (*written, values[name], *extras)
        for word, spec in on_the_way:
            scratch = f"{name}.{word}{mark}"
            writes += (builder.add(scratch, spec, Role.WORKSPACE, dtype=spec.dtype or dtype, node=name),)
        if self._sums and cost.node.layer.autocast is Autocast.LOW:
            writes += (builder.add(f"{name}.sums", cost.output, Role.WORKSPACE, dtype=self._sums, node=name),)
        reads = (*inputs, *[values[value] for value in cost.node.inputs]) if written else inputs
        holds = [values[value] for value in self._held.get(name, ())] if self._held else []
        if name == self._closing:
            holds += self._region(writes)
        builder.step(self._phase, name, reads, writes, holds)

    def _facts(self, cost: NodeCost) -> tuple[Stated, Stated]:
        """The extras and temporaries of a node. Networks repeat their blocks: the same layer on the same specs is asked once."""
        layer, inputs = cost.node.layer, cost.inputs
        key = (id(layer), id(inputs))  # the table holds both
        found = self._asked.get(key)
        if found is None:
            extras = tuple(_extras(cost).items()) if self.training else ()
            temporaries: Stated = ()
            if self._temporaries:
                temporaries = tuple(layer.temporaries(inputs, cost.output, training=self.training).items())
            found = self._asked[key] = extras, temporaries
        return found


def owner_of(table: CostTable, cost: NodeCost) -> NodeCost:
    """The node whose parameters a node uses: itself, unless it shares another's."""
    return cost if cost.node.shares is None else table[cost.node.shares]


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
