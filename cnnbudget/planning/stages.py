"""A chain of stages and what can be done with it: operations, and the replay that counts what is alive.

The chain is the one of Beaumont, Eyraud-Dubois, Herrmann, Joly and Shilova, "Optimal checkpointing for heterogeneous chains:
how to train deep neural networks with limited memory" (2019): a forward operation of a stage keeps nothing, or its input, or
everything that its backward operation reads. Here a stage may also leave bytes behind (gradients of its parameters), and its
transient bytes may differ between a forward that saves and one that does not.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from attrs import Factory, field, frozen

from cnnbudget.checks import int_from, is_int
from cnnbudget.errors import InvalidTypeError, InvalidValueError, shorten
from cnnbudget.planning.plan import LARGEST_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from attrs import Attribute

__all__ = ["Action", "Chain", "Operation", "Replay", "Stage", "keep_all", "mark_repeats", "replay"]

_SIZE: dict[str, Any] = {"converter": int_from, "validator": is_int(0, LARGEST_SIZE), "kw_only": True}


def _output_bytes(stage: Stage) -> int:
    return stage.output_bytes


def _forward_transient(stage: Stage) -> int:
    return stage.forward_transient_bytes


def _holds_the_output(stage: Stage, _: Attribute[Any], kept: int) -> None:
    if kept < stage.output_bytes:
        raise InvalidValueError(
            "Stage.kept_bytes is less than its output",
            got=f"{kept} of {stage.output_bytes}",
            expected="bytes of everything that a saving forward leaves, the output included",
        )


@frozen
class Stage:
    """One stage of a chain: what its operations cost, in any unit, and the bytes that they hold.

    Args:
        output_bytes: What is passed on to the next stage.
        kept_bytes: What a forward that saves everything leaves: the output included, the input not (it is held apart).
            The output alone, unless told.
        forward: Cost of the forward operation, an int: multiply-accumulates or nanoseconds.
        backward: Cost of the backward operation.
        gradient_bytes: Gradient of the output; as large as the output, unless told.
        forward_transient_bytes: What a forward needs on top of its input and its output while it runs, if it saves nothing.
        saving_transient_bytes: The same for a forward that saves everything, on top of what it leaves; as above, unless told.
        backward_transient_bytes: The same for the backward operation, on top of everything that it reads and writes.
        residue_bytes: What the backward operation leaves until the end: gradients of parameters.

    Example:
        >>> Stage(output_bytes=4, kept_bytes=10, forward=3).gradient_bytes
        4
    """

    output_bytes: int = field(**_SIZE)
    kept_bytes: int = field(default=Factory(_output_bytes, takes_self=True), **_SIZE)
    forward: int = field(default=1, **_SIZE)
    backward: int = field(default=0, **_SIZE)
    gradient_bytes: int = field(default=Factory(_output_bytes, takes_self=True), **_SIZE)
    forward_transient_bytes: int = field(default=0, **_SIZE)
    saving_transient_bytes: int = field(default=Factory(_forward_transient, takes_self=True), **_SIZE)
    backward_transient_bytes: int = field(default=0, **_SIZE)
    residue_bytes: int = field(default=0, **_SIZE)

    @kept_bytes.validator
    def _check_kept(self, attribute: Attribute[Any], kept: int) -> None:
        is_int(0, LARGEST_SIZE)(self, attribute, kept)
        _holds_the_output(self, attribute, kept)


def tuple_from(values: Sequence[Any]) -> tuple[Any, ...]:
    """Normalises a list to a tuple; leaves everything else for the validator to refuse."""
    return tuple(values) if isinstance(values, list) else values  # type: ignore[return-value]  # the validator refuses


def are_all(kind: type) -> Callable[[Any, Attribute[Any], Any], None]:
    """Makes a validator of a tuple of instances, not empty."""

    def check(instance: Any, attribute: Attribute[Any], values: Any) -> None:
        what = f"{type(instance).__name__}.{attribute.name}"
        if not isinstance(values, tuple):
            raise InvalidTypeError(
                f"{what} must be a tuple or a list", got=shorten(values), expected=f"{kind.__name__}s"
            )
        if not values:
            raise InvalidValueError(f"{what} is empty", got="()", expected=f"one {kind.__name__} or more")
        for number, value in enumerate(values):
            if not isinstance(value, kind):
                raise InvalidTypeError(
                    f"{what}[{number}] must be a {kind.__name__}",
                    got=f"{shorten(value)} ({type(value).__name__})",
                    expected=f"{kind.__name__}(...)",
                )

    return check


@frozen
class Chain:
    """A chain of stages. The last one is the loss, or whatever its backward operation starts from.

    The input of the chain is held all the time. The gradient of the last output is alive during the last stage's backward
    operation only: nobody has it before.

    *Counts*: values, gradients of values, what stages leave behind, transient bytes. *Does not count*: parameters and whatever
    else is alive all the time; take it from the budget.

    Args:
        stages: From the input to the loss.
        input_bytes: The input of the first stage.
        input_gradient_bytes: Its gradient; nobody needs it, unless told.

    Example:
        >>> chain = Chain([Stage(output_bytes=4, kept_bytes=10), Stage(output_bytes=1)], input_bytes=5)
        >>> replay(chain, keep_all(chain)).peak_bytes  # input, both records, both gradients
        21
    """

    stages: tuple[Stage, ...] = field(converter=tuple_from, validator=are_all(Stage))
    input_bytes: int = field(default=0, **_SIZE)
    input_gradient_bytes: int = field(default=0, **_SIZE)

    def __attrs_post_init__(self) -> None:
        total = self.input_bytes + self.input_gradient_bytes
        costs = 0
        for stage in self.stages:
            total += stage.output_bytes + 2 * stage.kept_bytes + stage.gradient_bytes + stage.residue_bytes
            total += stage.forward_transient_bytes + stage.saving_transient_bytes + stage.backward_transient_bytes
            costs += stage.forward + stage.backward
        most = 2**61  # room for sums of two in an int64
        if total >= most:
            raise InvalidValueError("the bytes of a chain are beyond 2**61", got=shorten(total), expected="less in all")
        if costs * len(self.stages) >= most:
            raise InvalidValueError(
                "the costs of a chain are too large",
                got=shorten(costs),
                expected=f"less than {most // len(self.stages)} in all",
                hint="use a larger unit, such as thousands of operations",
            )

    @property
    def forward_cost(self) -> int:
        """Cost of one forward pass, which every training step pays at least."""
        return sum(stage.forward for stage in self.stages)

    @property
    def backward_cost(self) -> int:
        """Cost of the backward pass."""
        return sum(stage.backward for stage in self.stages)


class Action(Enum):
    """What an operation does with a stage."""

    FORWARD = "forward"
    """Runs it and drops its input, unless that is part of what the stage before saved. Keeps nothing."""
    CHECKPOINT = "checkpoint"
    """Runs it and keeps its input."""
    SAVE = "save"
    """Runs it, keeps its input and everything that its backward operation reads."""
    BACKWARD = "backward"
    """Reads all that, and the gradient of its output; frees them, and its input; writes the input's gradient."""


@frozen
class Operation:
    """One operation of a schedule.

    Args:
        action: What to do.
        stage: Number of the stage, from 0.
        again: Whether the stage ran forward before: then it is recomputation.
    """

    action: Action
    stage: int
    again: bool = False


def mark_repeats(operations: Iterable[tuple[Action, int]]) -> tuple[Operation, ...]:
    """Makes operations of pairs, and marks those that run a stage forward again.

    Example:
        >>> [
        ...     operation.again
        ...     for operation in mark_repeats([(Action.CHECKPOINT, 0), (Action.SAVE, 0), (Action.BACKWARD, 0)])
        ... ]
        [False, True, False]
    """
    seen: set[int] = set()
    known: dict[tuple[Action, int, bool], Operation] = {}  # schedules are long, and say few different things
    made = []
    for action, stage in operations:
        forward = action is not Action.BACKWARD
        again = forward and stage in seen
        key = action, stage, again
        if key not in known:
            known[key] = Operation(action, stage, again=again)
        made.append(known[key])
        if forward:
            seen.add(stage)
    return tuple(made)


def keep_all(chain: Chain) -> tuple[Operation, ...]:
    """The schedule that recomputes nothing."""
    count = len(chain.stages)
    forward = [(Action.SAVE, stage) for stage in range(count)]
    return mark_repeats(forward + [(Action.BACKWARD, stage) for stage in reversed(range(count))])


@frozen
class Replay:
    """What a schedule holds and costs.

    Args:
        live_bytes: Bytes alive during each operation.
        forward_cost: Cost of all forward operations.
        extra_cost: How much of it is recomputation.
        backward_cost: Cost of all backward operations.
    """

    live_bytes: tuple[int, ...]
    forward_cost: int
    extra_cost: int
    backward_cost: int

    @property
    def peak_bytes(self) -> int:
        """The most bytes alive."""
        return max(self.live_bytes)

    @property
    def peak_step(self) -> int:
        """The first operation at which they are."""
        return self.live_bytes.index(self.peak_bytes)


def replay(chain: Chain, operations: Iterable[Operation]) -> Replay:
    """Runs a schedule on paper: checks that everything that is read is there, and counts what is alive.

    It knows the rules of :class:`Action` only; nothing of how schedules are found.

    Args:
        chain: The chain.
        operations: The schedule.

    Returns:
        Bytes and costs.

    Raises:
        InvalidValueError: If an operation reads what is not there, or a backward operation is missing at the end.
    """
    stages = chain.stages
    last = len(stages) - 1
    plain: set[int] = set()  # stages of which the output alone is held
    full: set[int] = set()  # stages of which everything is held
    ran: set[int] = set()
    live = chain.input_bytes
    trace = []
    forward_cost = extra_cost = backward_cost = 0
    awaited = last  # the stage whose backward operation is next
    for number, operation in enumerate(operations):
        action, index = operation.action, operation.stage
        if not 0 <= index <= last:
            raise _refused(number, operation, f"there are {last + 1} stages")
        stage = stages[index]
        if index > 0 and index - 1 not in plain and index - 1 not in full:
            raise _refused(number, operation, f"the output of stage {index - 1} is not there")
        if action is Action.BACKWARD:
            if index != awaited:
                raise _refused(number, operation, f"the backward operation of stage {awaited} is next")
            if index not in full:
                raise _refused(number, operation, f"what stage {index} saves is not there")
            given = stages[index - 1].gradient_bytes if index else chain.input_gradient_bytes
            if index == last:
                live += stage.gradient_bytes
            live += given + stage.residue_bytes
            trace.append(live + stage.backward_transient_bytes)
            live -= stage.gradient_bytes + stage.kept_bytes
            full.remove(index)
            if index - 1 in plain:
                plain.remove(index - 1)
                live -= stages[index - 1].output_bytes
            backward_cost += stage.backward
            awaited -= 1
            continue
        forward_cost += stage.forward
        extra_cost += stage.forward if index in ran else 0
        ran.add(index)
        if action is Action.SAVE:
            trace.append(live + stage.kept_bytes + stage.saving_transient_bytes)
            if index not in full:
                full.add(index)
                live += stage.kept_bytes
            if index in plain:  # it is part of what is saved now
                plain.remove(index)
                live -= stage.output_bytes
            continue
        trace.append(live + stage.output_bytes + stage.forward_transient_bytes)
        if action is Action.FORWARD and index - 1 in plain:
            plain.remove(index - 1)
            live -= stages[index - 1].output_bytes
        if index not in plain and index not in full:
            plain.add(index)
            live += stage.output_bytes
    if awaited >= 0:
        raise InvalidValueError(
            "a schedule ends early", got=f"no backward operation of stage {awaited}", expected="one of every stage"
        )
    return Replay(tuple(trace), forward_cost, extra_cost, backward_cost)


def _refused(number: int, operation: Operation, why: str) -> InvalidValueError:
    return InvalidValueError(
        "a schedule cannot be run",
        where=f"operation {number}",
        got=f"{operation.action.value} of stage {operation.stage}",
        expected=why,
    )
