"""The backward pass of a schedule: the loss, the backward steps in reverse order, and the update.

It follows what autograd does: a node's step runs when the gradient of its output is complete, frees what it alone kept, and leaves
the gradients of its inputs, each of which waits until the step of the node that made the input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from attrs import frozen

from cnnbudget.dtypes import FLOAT16, FLOAT32, Role
from cnnbudget.errors import ConformanceError, shorten
from cnnbudget.graph.shapes import place_of
from cnnbudget.layers.base import Gradient, Saved
from cnnbudget.memory.forward import owner_of
from cnnbudget.memory.schedule import Phase

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cnnbudget.analysis.costs import NodeCost
    from cnnbudget.dtypes import DType
    from cnnbudget.memory.forward import ForwardPass, Stated
    from cnnbudget.memory.loss import Loss
    from cnnbudget.memory.optimizer import Optimizer
    from cnnbudget.memory.scenario import Training
    from cnnbudget.tensors import Shape, TensorSpec

__all__ = ["BackwardPass"]


_After = tuple[tuple[int, ...], tuple[int, ...]]
"""What a step that follows reads and writes: a sum of gradients, or a cast of one."""


@frozen
class _Lost:
    """What the loss of one output keeps for its backward steps."""

    output: str
    dtype: DType
    number: int
    value: int
    log: int | None
    others: tuple[int, ...]
    on_the_way: Mapping[str, TensorSpec]


class Keeper(Protocol):
    """What a backward pass asks its policy."""

    @property
    def adds_directly(self) -> bool:
        """Whether a further reader adds to a gradient without making one of its own first."""
        ...

    @property
    def in_place_sums(self) -> bool:
        """Whether gradients that nobody else looks at are added to in place."""
        ...

    def keeps(self, cost: NodeCost, *, needs: tuple[bool, ...], trains: bool) -> Saved | None:
        """States which values a node's backward step needs."""
        ...


class BackwardPass:
    """Writes the loss, the backward steps and the update that follow a forward pass.

    Args:
        forward: The forward pass.
        policy: Says what is kept, and whether a reader adds to a gradient without making one of its own first.
        scenario: Says what is trained, against which loss, and how the parameters are updated.
    """

    def __init__(self, forward: ForwardPass, policy: Keeper, scenario: Training) -> None:
        self.forward = forward
        self.builder = forward.builder
        self.policy = policy
        self.scenario = scenario
        self.gradients: dict[str, int] = {}
        self.handles: dict[int, int] = {}  # how many values have their gradient in a storage
        self.parts: dict[str, list[int]] = {}  # gradients of the parts of a value that were split, so far
        self.views: set[str] = set()  # values whose gradient is a view of another's
        self.parameter_gradients: dict[tuple[str, str], int] = {}
        self._targets: dict[TensorSpec, int] = {}
        self._asked: dict[tuple[int, int, tuple[bool, ...]], tuple[tuple[Gradient, ...], Stated]] = {}
        self._starts: tuple[int, ...] = ()  # what whoever called backward() holds until it returns
        self._made: dict[str, int] = {}  # how many gradients of a value there have been
        self._find_needs()
        self._find_kept()
        self._add_kept_gradients()

    # What is wanted, and what is kept for it.

    def _find_needs(self) -> None:
        """Finds what trains: nothing of a node that is frozen, or on which no output depends."""
        table = self.forward.table
        frozen = self.scenario.frozen_nodes(table.network)
        used = set(table.network.outputs)
        for cost in reversed(table.nodes):
            if cost.name in used:
                used.update(cost.node.inputs)
        self.needs = needs = {source.name: False for source in table.network.inputs}
        self.trains: dict[str, bool] = {}
        self.wanted: dict[str, tuple[bool, ...]] = {}
        for cost in table.nodes:
            owner = owner_of(table, cost)
            leads = cost.name in used
            self.trains[cost.name] = trains = leads and bool(owner.parameters) and owner.name not in frozen
            self.wanted[cost.name] = wanted = tuple([leads and needs[name] for name in cost.node.inputs])
            needs[cost.name] = trains or True in wanted

    def _find_kept(self) -> None:
        """Asks the policy what every node keeps; ``None`` where no step waits for it."""
        policy = self.policy
        self.saved: dict[str, Saved | None] = {}
        for cost in self.forward.table.nodes:
            saved = policy.keeps(cost, needs=self.wanted[cost.name], trains=self.trains[cost.name])
            if saved is not None:
                _check_kept(policy, cost, saved)
            self.saved[cost.name] = saved
        self.retain()

    def retain(self) -> None:
        """Notes what is kept for backward when the forward pass is done."""
        for cost in self.forward.table.nodes:
            self.builder.retain(self.kept(cost))

    def kept(self, cost: NodeCost) -> tuple[int, ...]:
        """The storages that wait for a node's backward step, as things stand."""
        forward, name = self.forward, cost.name
        saved = self.saved[name]
        if saved is None:
            return ()
        operands = forward.operands[name]
        numbers = [operands.inputs[number] for number in saved.inputs]
        if saved.output:
            numbers.append(forward.values[name])
        if saved.parameters and "weight" in operands.weights:
            numbers.append(operands.weights["weight"])
        return (*numbers, *forward.extras[name])

    def _add_kept_gradients(self) -> None:
        """Gradients of parameters that outlive the update, and wait there for the next iteration's."""
        if not self.scenario.keeps_gradients:
            return
        table = self.forward.table
        owners = {owner_of(table, cost).name for cost in table.nodes if self.trains[cost.name]}
        for cost in table.nodes:
            if cost.name in owners:
                for name, shape in cost.parameters or ():
                    full = f"{cost.name}.{name}.grad"
                    number = self.builder.add_fixed(
                        full, shape, Role.PARAMETER_GRADIENT, persistent=True, node=cost.name
                    )
                    self.parameter_gradients[cost.name, name] = number

    # The steps.

    def write(self) -> None:
        """Writes all steps."""
        self._write_loss()
        nodes = self.forward.table.nodes
        last = next((cost for cost in nodes if self.saved[cost.name] is not None), None)
        for cost in self.order():
            if self.saved[cost.name] is not None:
                self.before(cost)
                holds = (*self.holds(cost), *(self._starts if cost is last else ()))
                self._write_step(cost, self.kept(cost), holds)
        self._write_update()

    def order(self) -> Iterator[NodeCost]:
        """The nodes in the order of their backward steps."""
        return reversed(self.forward.table.nodes)

    def before(self, cost: NodeCost) -> None:
        """What happens before a node's backward step: nothing, unless something must be computed again."""

    def holds(self, cost: NodeCost) -> tuple[int, ...]:
        """What somebody keeps until the end of a node's backward step."""
        return ()

    def _write_loss(self) -> None:
        forward, builder, loss = self.forward, self.builder, self.scenario.loss
        outputs = tuple(dict.fromkeys(forward.table.network.outputs))
        values = [forward.values[name] for name in outputs]
        if self.scenario.frames == "eager":  # the script's own variables: the batch, and what the network returned
            builder.hold([*values, *(forward.values[source.name] for source in forward.table.network.inputs)])
        if loss is None:
            writes = [self._start_gradient(name) for name in outputs if self.needs[name]]
            builder.step(Phase.LOSS, None, values, writes, forward.copies.values())
            return
        lost = [self._lose(outputs[0], loss)]
        total = lost[0].number
        for name in outputs[1:]:  # every loss is added to the sum of those before it
            each = self._lose(name, loss)
            old, total = total, builder.add_fixed(f"{name}.loss.total", (), Role.ACTIVATION, dtype=each.dtype)
            builder.step(Phase.LOSS, None, [old, each.number], [total], forward.copies.values())
            lost.append(each)
        eager = self.scenario.frames == "eager"
        if eager:
            builder.hold([total])
        trained = [each for each in lost if self.needs[each.output]]
        if not trained:
            return
        start = builder.add_fixed(f"{outputs[0]}.loss.grad", (), Role.ACTIVATION_GRADIENT, dtype=lost[0].dtype)
        if eager:  # whoever calls backward() holds the gradient that it starts from
            self._starts = (start,)
        for each in reversed(trained):
            self._start_backward(each, start)

    def _lose(self, name: str, loss: Loss) -> _Lost:
        """Writes the forward steps of one output's loss."""
        forward, builder = self.forward, self.builder
        spec, dtype = forward.table.specs[name], forward.dtypes[name]
        copies = forward.copies.values()
        value, written = forward.values[name], []
        if forward.precision.autocast and dtype is not FLOAT32:  # losses are computed in 32 bits
            # PyTorch's softmax on a GPU reads float16 and writes float32; everything else is copied first.
            fused = loss.takes_log and dtype is FLOAT16
            dtype = FLOAT32
            if not fused:
                value = builder.add(f"{name}.cast", spec, dtype=dtype)
                written = [value]
        target = self._target(name, loss.target(spec), dtype)
        number = builder.add(f"{name}.loss", loss.result(spec), dtype=dtype)
        if not loss.takes_log:
            builder.step(Phase.LOSS, None, [forward.values[name], target], [*written, number], copies)
            on_the_way = loss.backward_temporaries(spec)
            lost = _Lost(name, dtype, number, value, None, (value, target), on_the_way)
            if self.needs[name]:
                builder.retain([value, target])
            return lost
        log = builder.add(f"{name}.log_probabilities", spec, Role.EXTRA, dtype=dtype)
        weight = builder.add_fixed(f"{name}.total_weight", (), Role.EXTRA, dtype=dtype)
        builder.step(Phase.LOSS, None, [forward.values[name]], [*written, log], copies)
        frame = written if self.scenario.frames == "eager" else ()
        builder.step(Phase.LOSS, None, [log, target], [number, weight], [*copies, *frame])
        if self.needs[name]:
            builder.retain([log, target, weight])
        return _Lost(name, dtype, number, value, log, (target, weight), loss.backward_temporaries(spec))

    def _target(self, name: str, spec: TensorSpec, dtype: DType) -> int:
        """The storage of a target. Outputs that are compared with the same kind of target share it, as auxiliary heads do."""
        if spec not in self._targets:
            self._targets[spec] = self.builder.add(f"{name}.target", spec, dtype=dtype, persistent=True)
        return self._targets[spec]

    def _start_backward(self, lost: _Lost, start: int) -> None:
        """Writes the backward steps of one output's loss, which leave the gradient of the output."""
        builder, name = self.builder, lost.output
        spec = self.forward.table.specs[name]
        reads = list(lost.others)
        writes = [start]
        for word, temporary in lost.on_the_way.items():
            writes.append(builder.add(f"{name}.loss.{word}", temporary, Role.WORKSPACE, dtype=lost.dtype))
        if lost.log is not None:
            inner = builder.add(f"{name}.log_probabilities.grad", spec, Role.ACTIVATION_GRADIENT, dtype=lost.dtype)
            builder.step(Phase.LOSS, None, [*reads, lost.log], [start, inner])
            reads, writes = [inner, lost.log], []
        if lost.value != self.forward.values[name]:
            cast = builder.add(f"{name}.cast.grad", spec, Role.ACTIVATION_GRADIENT, dtype=lost.dtype)
            builder.step(Phase.LOSS, None, reads, [*writes, cast])
            reads, writes = [cast], []
        builder.step(Phase.LOSS, None, reads, [*writes, self._start_gradient(name)])

    def _start_gradient(self, name: str) -> int:
        number = self._new_gradient(name)
        self.gradients[name] = number
        self.handles[number] = 1
        return number

    def _new_gradient(self, value: str, dtype: DType | None = None) -> int:
        """A storage for a gradient of a value, or for a contribution to it; in mixed precision as wide as the value."""
        count = self._made.get(value, 0) + 1
        self._made[value] = count
        name = f"{value}.grad" if count == 1 else f"{value}.grad.{count}"
        spec = self.forward.table.specs[value]
        return self.builder.add(name, spec, Role.ACTIVATION_GRADIENT, dtype=dtype or self._width(value), node=value)

    def _width(self, value: str) -> DType | None:
        return self.forward.dtypes[value] if self.forward.precision.autocast else None

    def _write_step(self, cost: NodeCost, kept: tuple[int, ...], holds: Sequence[int]) -> None:
        name, builder = cost.name, self.builder
        own = self.gradients.get(name)
        if own is None:  # nobody reads it, or nothing before it trains
            builder.step(Phase.BACKWARD, name, kept, (), holds)
            return
        wanted = self.wanted[name]
        writes: list[int] = []
        after: list[_After] = []
        where, temporaries = self._facts(cost, wanted)
        if True in wanted:
            for number, needed in enumerate(wanted):
                if needed:
                    self._give(cost, number, where[number], own, writes, after)
        if self.trains[name]:
            self._give_parameters(cost, writes, after)
        for word, spec in temporaries:
            dtype = spec.dtype or self._width(name)
            writes.append(builder.add(f"{name}.{word}.backward", spec, Role.WORKSPACE, dtype=dtype, node=name))
        builder.step(Phase.BACKWARD, name, (*kept, own), writes, holds)
        for reads, made in after:
            builder.step(Phase.ACCUMULATE, name, reads, made, holds)
        self.handles[own] -= 1

    def _facts(self, cost: NodeCost, wanted: tuple[bool, ...]) -> tuple[tuple[Gradient, ...], Stated]:
        """Where a node's step leaves gradients, and its temporaries; the same layer on the same specs is asked once."""
        layer, inputs = cost.node.layer, cost.inputs
        key = (id(layer), id(inputs), wanted)  # the table holds both
        found = self._asked.get(key)
        if found is None:
            temporaries = layer.backward_temporaries(inputs, cost.output, needs=wanted)
            found = self._asked[key] = _gradients(cost), tuple(temporaries.items())
        return found

    def _give(
        self,
        cost: NodeCost,
        number: int,
        where: Gradient,
        own: int,
        writes: list[int],
        after: list[_After],
    ) -> None:
        """Leaves the gradient of one input, or adds it to what other readers have left."""
        value = cost.node.inputs[number]
        old = self.gradients.get(value)
        if old is None:
            new = self._contribution(cost, number, where, own, writes, after)
            self.gradients[value] = new
            self.handles[new] = self.handles.get(new, 0) + 1
            if new == own and (where is Gradient.VIEW or cost.name in self.views):
                self.views.add(value)
            elif where is Gradient.PART:
                self.parts[value] = [own]
            return
        # Autograd adds into the older gradient if that is no view and nobody else holds it (the step's own has let go of it);
        # otherwise the sum is a third value. Measured in PyTorch 2.13.
        holders = self.handles[old] - (old == own and where is Gradient.OWN)
        alone = holders == 1 and value not in self.views
        if where is Gradient.PART and value in self.parts:  # the other parts' gradients wait until all can be joined
            self.parts[value].append(own)
            writes += (old, *self.parts[value])
            return
        if alone and self.policy.adds_directly and old != own:  # what is read cannot be added to at once
            writes.append(old)
            return
        new = self._contribution(cost, number, where, own, writes, after)
        if alone and self.policy.in_place_sums:
            after.append(((new,), (old,)))
            return
        total = self._new_gradient(value)
        after.append(((old, new), (total,)))
        self.handles[old] -= 1
        self.views.discard(value)
        self.gradients[value] = total
        self.handles[total] = 1

    def _contribution(
        self, cost: NodeCost, number: int, where: Gradient, own: int, writes: list[int], after: list[_After]
    ) -> int:
        """The storage of what a node adds to the gradient of an input.

        What comes in the width of a copy is cast back by the copy's own step; what an operation of two widths gives back to the
        narrower one is cast while the operation still has all that it works on.
        """
        value = cost.node.inputs[number]
        operand = self.forward.operands[cost.name].inputs[number]
        copied = operand != self.forward.values[value]
        mixed = not copied and self._width(value) is not self._width(cost.name)
        if where is Gradient.SAME or where is Gradient.VIEW:
            made = own
        else:
            wide = self._width(cost.name) if mixed else self.builder.storages[operand].dtype if copied else None
            made = self._new_gradient(value, wide)
            writes.append(made)
        if not copied and not mixed:
            return made
        new = self._new_gradient(value)
        if mixed:
            after.insert(0, ((made, own, *self.kept(cost)), (new,)))
        else:
            after.append(((made,), (new,)))
        return new

    def _give_parameters(self, cost: NodeCost, writes: list[int], after: list[_After]) -> None:
        owner = owner_of(self.forward.table, cost)
        copies = self.forward.operands[cost.name].weights
        for name, shape in owner.parameters or ():
            key = (owner.name, name)
            full = f"{owner.name}.{name}.grad"
            old = self.parameter_gradients.get(key)
            if old is None:
                old = self.builder.add_fixed(full, shape, Role.PARAMETER_GRADIENT, node=owner.name)
                self.parameter_gradients[key] = old
            elif not self.policy.adds_directly:  # a gradient of this use alone, which is then added
                new = self.builder.add_fixed(
                    f"{cost.name}.{name}.grad.added", shape, Role.PARAMETER_GRADIENT, node=cost.name
                )
                if name in copies:
                    after.append(((self._low(cost, name, shape, copies[name], writes),), (new,)))
                else:
                    writes.append(new)
                total = old
                if not (self.policy.in_place_sums or self.scenario.keeps_gradients):
                    total = self.builder.add_fixed(
                        f"{cost.name}.{name}.grad.sum", shape, Role.PARAMETER_GRADIENT, node=owner.name
                    )
                    self.parameter_gradients[key] = total
                after.append(((new, old), (total,)))
                continue
            if name in copies:
                after.append(((self._low(cost, name, shape, copies[name], writes),), (old,)))
            else:
                writes.append(old)

    def _low(self, cost: NodeCost, name: str, shape: Shape, copy: int, writes: list[int]) -> int:
        """The gradient of a parameter's copy in another width, which is then cast."""
        dtype = self.builder.storages[copy].dtype
        low = f"{cost.name}.{name}.{dtype}.grad"
        number = self.builder.add_fixed(low, shape, Role.PARAMETER_GRADIENT, dtype=dtype, node=cost.name)
        writes.append(number)
        return number

    def _write_update(self) -> None:
        """Writes the update: the optimizer's state lives always, its temporaries during its steps, gradients to the end."""
        builder, optimizer = self.builder, self.scenario.optimizer
        shapes, gradients, nodes = [], [], []
        for cost in self.forward.table.nodes:  # an optimizer has parameters in the network's order
            for name, shape in cost.parameters or ():
                if (cost.name, name) not in self.parameter_gradients:
                    continue
                shapes.append(shape)
                gradients.append(self.parameter_gradients[cost.name, name])
                nodes.append(cost.name)
                for word, spec in optimizer.state(shape).items():
                    builder.add(f"{cost.name}.{name}.{word}", spec, persistent=True, node=cost.name)
        for word, spec in optimizer.shared_state(shapes).items():
            builder.add(f"optimizer.{word}", spec, persistent=True)
        width = self.forward.precision[Role.PARAMETER]
        plain: list[int] = []
        steps: list[tuple[str | None, list[int], list[int]]] = []
        if self.scenario.order == "optimal":  # each by itself, so that its gradient can go early
            self._update_each(optimizer, shapes, nodes, gradients, width)
            return
        for number, update in enumerate(optimizer.updates(shapes)):
            reads = [gradients[index] for index in update.parameters]
            if not update.temporaries:
                plain += reads
                continue
            of = {nodes[index] for index in update.parameters}
            writes = [
                builder.add(f"update.{number}.{word}", spec, Role.WORKSPACE, dtype=spec.dtype or width)
                for word, spec in update.temporaries.items()
            ]
            steps.append((of.pop() if len(of) == 1 else None, reads, writes))
        if plain or not steps:
            steps.append((None, plain, []))
        last, _, writes = steps.pop()
        for each in steps:
            builder.step(Phase.UPDATE, *each)
        builder.step(Phase.UPDATE, last, gradients, writes)

    def _update_each(
        self, optimizer: Optimizer, shapes: list[Shape], nodes: list[str], gradients: list[int], width: DType
    ) -> None:
        """Writes an update step for every parameter, which needs nothing but its own gradient."""
        for number, (shape, node, gradient) in enumerate(zip(shapes, nodes, gradients, strict=True)):
            for part, update in enumerate(optimizer.updates([shape])):
                writes = [
                    self.builder.add(f"update.{number}.{part}.{word}", spec, Role.WORKSPACE, dtype=spec.dtype or width)
                    for word, spec in update.temporaries.items()
                ]
                self.builder.step(Phase.UPDATE, node, [gradient], writes)


def _gradients(cost: NodeCost) -> tuple[Gradient, ...]:
    layer = cost.node.layer
    where = layer.gradients(cost.inputs, cost.output)
    if type(where) is not tuple or len(where) != len(cost.inputs) or {*map(type, where)} != {Gradient}:
        raise ConformanceError(
            f"{type(layer).__name__}.gradients returned something else",
            where=place_of(cost.node, cost.inputs),
            got=shorten(where),
            expected="a tuple of one Gradient for each input",
        )
    return where


def _check_kept(policy: object, cost: NodeCost, kept: object) -> None:
    if not isinstance(kept, Saved) or not all(0 <= number < len(cost.inputs) for number in kept.inputs):
        raise ConformanceError(
            f"{type(policy).__name__} keeps an input that the layer does not have, or returned something else",
            where=f"node {cost.name!r}",
            got=shorten(kept),
            expected=f"a Saved with inputs from 0 to {len(cost.inputs) - 1}",
        )
