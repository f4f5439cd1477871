"""The conformance check of retention policies: are the schedules that a policy makes possible, complete and exact?"""

from __future__ import annotations

import pickle
from collections import Counter
from typing import TYPE_CHECKING, ClassVar, NoReturn

from attrs import frozen

from cnnbudget.analysis.costs import CostTable, NodeCost, costs
from cnnbudget.analysis.storage import sharing
from cnnbudget.dtypes import FP16, FP32, Role
from cnnbudget.errors import CnnBudgetError, ConformanceError, shorten
from cnnbudget.graph.nodes import Input, Network, Node
from cnnbudget.layers.activation import ReLU, Softmax, Tanh
from cnnbudget.layers.base import Saved, StatelessLayer
from cnnbudget.layers.conv import Conv
from cnnbudget.layers.linear import Linear
from cnnbudget.layers.norm import BatchNorm, LocalResponseNorm
from cnnbudget.layers.pool import AvgPool, GlobalAvgPool, MaxPool
from cnnbudget.layers.regularize import Dropout
from cnnbudget.layers.reshape import Flatten
from cnnbudget.memory.liveness import Liveness, liveness
from cnnbudget.memory.retention import Retention
from cnnbudget.memory.scenario import Inference, Scenario, Training
from cnnbudget.memory.schedule import Phase, Schedule, ScheduleBuilder, Storage
from cnnbudget.net import Net
from cnnbudget.tensors import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["check_policy"]

_UNSAID = object()  # None is an answer that an error must show


def check_policy(policy: Retention) -> None:
    """Checks that a retention policy conforms; call it in the tests of whatever package defines the policy.

    The policy schedules a few small networks: chains, views, in-place layers, branches, several outputs, no parameters.
    *Checks*: that the policy is a hashable value that survives pickling; that scenarios accept it as it says; that every
    schedule is deterministic, has one forward step a node in order, which reads the node's inputs and writes its output, and
    reads only what was written; that parameters and buffers are always there and no byte is missing from a value; that
    outputs survive; that a backward step, where there is one, comes in reverse order and reads what its layer saves; that
    peaks are bounded and grow with the batch as they must. *Does not check*: that the policy describes what some framework does.

    Args:
        policy: An instance of the policy.

    Raises:
        ConformanceError: If the policy breaks a rule; the error says which, on which network, and what to do.

    Example:
        >>> from cnnbudget import FreeAfterUse, KeepAll
        >>> from cnnbudget.testing import check_policy
        >>> check_policy(KeepAll())
        >>> check_policy(FreeAfterUse(hold_input=True))
    """
    if not isinstance(policy, Retention):
        called = (
            f"call it: {policy.__name__}(...)"
            if isinstance(policy, type)
            else "derive its class from cnnbudget.Retention, or from cnnbudget.Backprop if it trains"
        )
        raise ConformanceError("check_policy takes a policy", got=shorten(policy), expected="an instance", hint=called)
    _check_value(policy)
    _check_scenarios(policy)
    for name, network in _networks().items():
        for training in (False, True):
            if policy.serves_training if training else policy.serves_inference:
                for precision in (FP32, FP16):
                    kind = Training if training else Inference
                    scenario = kind(precision=precision, retention=policy)
                    _PolicyCheck(policy, name, costs(network), scenario).run()


def _fail(
    what: str, where: str, got: object = _UNSAID, expected: str | None = None, hint: str | None = None
) -> NoReturn:
    shown = None if got is _UNSAID else got if isinstance(got, str) else shorten(got)
    raise ConformanceError(what, where=where, got=shown, expected=expected, hint=hint)


def _check_value(policy: Retention) -> None:
    name = type(policy).__name__
    try:
        hash(policy)
        copy = pickle.loads(pickle.dumps(policy))  # noqa: S301  # what was pickled a moment ago
    except Exception as error:  # noqa: BLE001  # foreign values may fail in any way
        _fail(
            f"{name} cannot be hashed or pickled",
            shorten(policy),
            got=str(error),
            hint="decorate the class with attrs.frozen, at the top of a module, and hold tuples, not lists",
        )
    if copy != policy or hash(copy) != hash(policy) or repr(copy) != repr(policy):
        _fail(
            f"{name} differs from its pickled copy in ==, hash() or repr()",
            shorten(policy),
            got=copy,
            hint="let attrs.frozen write these methods, and hold only values that compare by value",
        )


def _check_scenarios(policy: Retention) -> None:
    name = type(policy).__name__
    if not (policy.serves_inference or policy.serves_training):
        _fail(
            f"{name} serves neither inference nor training",
            shorten(policy),
            hint="return True from serves_inference or serves_training",
        )
    for scenario, serves in ((Inference, policy.serves_inference), (Training, policy.serves_training)):
        if not isinstance(serves, bool):
            _fail(f"{name}.serves_{scenario.__name__.lower()} is no bool", shorten(policy), got=serves)
        try:
            scenario(retention=policy)
            accepted = True
        except CnnBudgetError:
            accepted = False
        if accepted is not serves:
            _fail(
                f"{name}.serves_{scenario.__name__.lower()} changes its answer",
                shorten(policy),
                got=f"{serves}, and a scenario that {'accepts' if accepted else 'refuses'} the policy",
                hint="compute it from the policy's fields alone",
            )


class _PolicyCheck:
    """The checks of a policy on one network."""

    def __init__(self, policy: Retention, name: str, table: CostTable, scenario: Scenario) -> None:
        self.policy = policy
        self.table = table
        self.scenario = scenario
        self.training = scenario.trains
        kind = "training" if scenario.trains else "inference"
        self.where = f"{shorten(policy)} on the {name}, {kind} in {scenario.precision}"
        shared = sharing(table, training=scenario.trains)
        self.owners, self.aliases = shared.owners, shared.aliases

    def run(self) -> None:
        schedule = self.make(self.table)
        if self.make(costs(pickle.loads(pickle.dumps(self.table.network)))) != schedule:  # noqa: S301  # our own
            self.fail("makes another schedule when it is asked again", hint="compute it from the table alone")
        self.schedule = schedule
        self.check_numbers()
        self.numbers = {storage.name: number for number, storage in enumerate(schedule.storages)}
        self.check_sizes()
        self.check_forward()
        try:
            lifetimes = liveness(schedule)
        except ConformanceError as error:  # it names step and storage, but not the policy and the network
            self.fail("makes an impossible schedule", got=str(error), hint="write a storage before it is read")
        self.check_outputs(lifetimes)
        self.check_backward()
        self.check_peaks(lifetimes)

    def fail(self, what: str, got: object = _UNSAID, expected: str | None = None, hint: str | None = None) -> NoReturn:
        _fail(f"{type(self.policy).__name__} {what}", self.where, got, expected, hint)

    def make(self, table: CostTable) -> Schedule:
        try:
            schedule = self.policy.schedule(table, self.scenario)
        except Exception as error:  # noqa: BLE001  # foreign code may raise anything
            self.fail(f"raised {type(error).__name__}", got=str(error), expected="a Schedule")
        if not isinstance(schedule, Schedule):
            self.fail("makes no schedule", got=schedule, expected="a Schedule; ScheduleBuilder.build() returns one")
        return schedule

    def check_numbers(self) -> None:
        """Numbers and names must be right before anything else can be said."""
        count = len(self.schedule.storages)
        named = [number for step in self.schedule.steps for number in (*step.reads, *step.writes, *step.holds)]
        for number in (*named, *self.schedule.held):
            if type(number) is not int or not 0 <= number < count:
                self.fail("names a storage that does not exist", got=number, expected=f"0 to {count - 1}")
        for name, times in Counter(storage.name for storage in self.schedule.storages).items():
            if times > 1:
                self.fail("gives storages the same name", got=name, expected="unique names")

    def storage(self, name: str) -> Storage:
        if name not in self.numbers:
            self.fail(
                "has no storage for a tensor",
                got=f"none is called {name!r}",
                hint="let ForwardPass make parameters, buffers, inputs and the forward steps",
            )
        return self.schedule.storages[self.numbers[name]]

    def number_of(self, value: str) -> int:
        """The storage in which a value lies."""
        return self.numbers[self.owners[value]]

    def check_sizes(self) -> None:
        """No byte may be missing: parameters and buffers are always there, values and extras have their full size."""
        builder = ScheduleBuilder(self.scenario.precision)
        for cost in self.table.nodes:
            for name, shape in cost.parameters or ():
                builder.add_fixed(f"{cost.name}.{name}", shape, Role.PARAMETER, persistent=True)
            for name, spec in cost.buffers or ():
                builder.add(f"{cost.name}.{name}", spec, persistent=True)
            if self.training:
                for name, spec in self.extras(cost).items():
                    builder.add(f"{cost.name}.{name}", spec)
        for value in {*self.owners.values()}:
            builder.add(value, self.table.specs[value])
        builder.step(Phase.LOAD)
        for wanted in builder.build().storages:
            if self.storage(wanted.name) != wanted:
                self.fail("describes a storage wrongly", got=repr(self.storage(wanted.name)), expected=repr(wanted))

    @staticmethod
    def extras(cost: NodeCost) -> Mapping[str, TensorSpec]:
        return cost.node.layer.extras(cost.inputs, cost.output) or {}

    def check_forward(self) -> None:
        steps = [step for step in self.schedule.steps if step.phase is Phase.FORWARD]
        if [step.node for step in steps] != [cost.name for cost in self.table.nodes]:
            self.fail(
                "must run every node forward once, in execution order",
                got=[step.node for step in steps],
                expected=repr([cost.name for cost in self.table.nodes]),
            )
        for step, cost in zip(steps, self.table.nodes, strict=True):
            reads = {self.number_of(value) for value in cost.node.inputs}
            alias = self.aliases.get(cost.name)
            writes = set() if alias is not None and not alias.in_place else {self.number_of(cost.name)}
            if self.training:
                writes |= {self.numbers[f"{cost.name}.{name}"] for name in self.extras(cost)}
            if not reads <= {*step.reads} or not writes <= {*step.writes}:
                self.fail(
                    "makes a forward step that leaves something out",
                    got=f"{step}: reads {self.names(step.reads)}, writes {self.names(step.writes)}",
                    expected=f"at least: reads {self.names(reads)}, writes {self.names(writes)}",
                )

    def names(self, numbers: Iterable[int]) -> str:
        return ", ".join(sorted({self.schedule.storages[number].name for number in numbers})) or "nothing"

    def check_outputs(self, lifetimes: Liveness) -> None:
        """The network's outputs are there when the forward pass has ended, whatever becomes of them then."""
        end = max(now for now, step in enumerate(self.schedule.steps) if step.phase is Phase.FORWARD)
        for value in self.table.network.outputs:
            if lifetimes.deaths[self.number_of(value)] <= end:
                self.fail("frees an output of the network", got=value, hint="ScheduleBuilder.hold() it")

    def check_backward(self) -> None:
        """Where there are backward steps, they come in reverse order and read what their layers save."""
        steps = {step.node: step for step in self.schedule.steps if step.phase is Phase.BACKWARD}
        if not steps:
            return
        order = [step.node for step in self.schedule.steps if step.phase is Phase.BACKWARD]
        possible = [cost.name for cost in reversed(self.table.nodes) if cost.name in steps]
        phases = [step.phase for step in self.schedule.steps]
        if order != possible or phases.index(Phase.BACKWARD) < phases.index(Phase.FORWARD):
            self.fail("must run backward in the reverse order of execution", got=order, expected=repr(possible))
        trains = {source.name: False for source in self.table.network.inputs}
        for cost in self.table.nodes:
            trains[cost.name] = bool(cost.parameters) or any(trains[value] for value in cost.node.inputs)
            if not trains[cost.name]:
                continue
            if cost.name not in steps:
                self.fail("leaves out a backward step", got=f"none for node {cost.name!r}, which trains")
            saved = cost.node.layer.saved(cost.inputs, cost.output)
            needed = {self.number_of(cost.node.inputs[number]) for number in saved.inputs}
            needed |= {self.number_of(cost.name)} if saved.output else set()
            needed |= {self.numbers[f"{cost.name}.{name}"] for name in self.extras(cost)}
            reads = {*steps[cost.name].reads}
            if not all(self.is_read(number, reads) for number in needed):
                self.fail(
                    "frees what backward needs",
                    got=f"{steps[cost.name]} reads {self.names(steps[cost.name].reads)}",
                    expected=f"at least {self.names(needed)}",
                    hint="keep what the layer's saved() names, and its extras",
                )

    def is_read(self, number: int, reads: set[int]) -> bool:
        """Whether a storage is among those that are read, or one that was computed again in its place."""
        again = f"{self.schedule.storages[number].name} again"
        return number in reads or any(self.schedule.storages[other].name.startswith(again) for other in reads)

    def check_peaks(self, lifetimes: Liveness) -> None:
        """The peak lies between the largest storage and the sum of all, and is a convex, growing function of the batch."""
        peaks = {batch: max(lifetimes.live_bytes(batch)) for batch in range(1, 8)}
        for batch, peak in peaks.items():
            sizes = [storage.byte_count(batch) for storage in self.schedule.storages]
            if not max(sizes) <= peak <= sum(sizes):
                self.fail("has an impossible peak", got=peak, expected=f"{max(sizes)} to {sum(sizes)}")
        slopes = [peaks[batch + 1] - peaks[batch] for batch in range(1, 7)]
        if slopes[0] <= 0 or slopes != sorted(slopes):
            self.fail("has a peak that does not grow with the batch as a maximum of affine functions", got=slopes)


@frozen(repr=False)
class _Sum(StatelessLayer):
    """The sum of its inputs: this floor's own, for branches."""

    arity: ClassVar[int | None] = None

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States that the output is like the inputs, which must be alike."""
        return inputs[0]

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that nothing is kept."""
        return Saved()


def _networks() -> dict[str, Network]:
    chain = Net.input(3, 12, 12).then(
        *(Conv(8, 3), BatchNorm(), ReLU(), MaxPool(2), LocalResponseNorm(), Conv(4, 3, padding="same"), Tanh()),
        *(Dropout(), Flatten(), Linear(10), Softmax()),
    )
    inplace = Net.input(3, 20).then(
        *(Conv(8, 3, bias=False), ReLU(inplace=True), Conv(8, 3), BatchNorm(), ReLU(inplace=True)),
        *(GlobalAvgPool(), Linear(5)),
    )
    # A value with three readers, one of which is far away; a view of it; two outputs, one of which is read again.
    branches = Network(
        [Input("x", (4, 6, 6)), Input("y", (4, 6, 6))],
        [
            Node("stem", Conv(4, 3, padding="same"), ["x"]),
            Node("left", Conv(4, 3, padding="same"), ["stem"]),
            Node("right", Dropout(), ["stem"]),
            Node("sum", _Sum(), ["left", "right", "stem", "y"]),
            Node("relu", ReLU(), ["sum"]),
            Node("flat", Flatten(), ["sum"]),
        ],
        ["relu", "flat", "left"],
    )
    return {
        "chain": chain.network,
        "chain with in-place layers": inplace.network,
        "network with branches": branches,
        "network of views": Net.input(2, 3, 4).then(Flatten(), Dropout(), Linear(4), Dropout(0)).network,
        "network without parameters": Net.input(2, 8, 8, 8).then(AvgPool(2), Tanh(), MaxPool(2)).network,
    }
