"""check_policy refuses every broken rule by name, and accepts every built-in policy."""

from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve, field, frozen

from cnnbudget import (
    Backprop,
    ConformanceError,
    ForwardPass,
    FreeAfterUse,
    KeepAll,
    Phase,
    Retention,
    Role,
    Saved,
    Schedule,
    Step,
    Storage,
    TensorSpec,
)
from cnnbudget.testing import check_policy


@pytest.mark.parametrize(
    "policy", [FreeAfterUse(), FreeAfterUse(hold_input=True), KeepAll(), KeepAll(gradients=False)], ids=str
)
def test_built_in_policies_conform(policy: Retention) -> None:
    check_policy(policy)


@frozen(repr=False)
class Spoiled(Retention):
    """A good schedule, spoiled by a function; the function's name makes it a value."""

    spoil: Callable[[Schedule], Any]
    of: Retention = field(default=FreeAfterUse(), kw_only=True)

    @property
    def serves_inference(self) -> bool:
        return self.of.serves_inference

    @property
    def serves_training(self) -> bool:
        return self.of.serves_training

    def schedule(self, table: Any, scenario: Any) -> Any:
        return self.spoil(self.of.schedule(table, scenario))


def _storage(schedule: Schedule, number: int, **changes: Any) -> Schedule:
    storages = [*schedule.storages]
    storages[number] = evolve(storages[number], **changes)
    return evolve(schedule, storages=tuple(storages))


def _steps(schedule: Schedule, change: Callable[[Step], Step | None]) -> Schedule:
    return evolve(schedule, steps=tuple(new for step in schedule.steps if (new := change(step)) is not None))


def unspoiled(schedule: Schedule) -> Schedule:
    return schedule


def returns_none(schedule: Schedule) -> None:
    return None


def fails(schedule: Schedule) -> None:
    raise ZeroDivisionError("oh")


_COUNTER = iter(range(10**9))


def at_random(schedule: Schedule) -> Schedule:
    return evolve(schedule, steps=schedule.steps * (1 + next(_COUNTER) % 2))


def far_number(schedule: Schedule) -> Schedule:
    return evolve(schedule, steps=(*schedule.steps, Step(Phase.UPDATE, None, (10_000,))))


def negative_number(schedule: Schedule) -> Schedule:
    return evolve(schedule, steps=(*schedule.steps, Step(Phase.UPDATE, None, (-1,))))


def holds_nothing_known(schedule: Schedule) -> Schedule:
    return evolve(schedule, held=frozenset({10_000}))


def same_names(schedule: Schedule) -> Schedule:
    return _storage(schedule, 1, name=schedule.storages[0].name)


def other_name(schedule: Schedule) -> Schedule:
    return _storage(schedule, 0, name="nobody")


def too_small(schedule: Schedule) -> Schedule:
    first = schedule.storages[0]
    return _storage(schedule, 0, fixed=first.fixed // 2, per_sample=first.per_sample // 2)


def skips_a_node(schedule: Schedule) -> Schedule:
    last = [step for step in schedule.steps if step.phase is Phase.FORWARD][-1]
    return _steps(schedule, lambda step: None if step is last else step)


def reads_nothing(schedule: Schedule) -> Schedule:
    return _steps(schedule, lambda step: evolve(step, reads=()) if step.phase is Phase.FORWARD else step)


def writes_nothing(schedule: Schedule) -> Schedule:
    return _steps(schedule, lambda step: evolve(step, writes=()) if step.phase is Phase.FORWARD else step)


def loads_nothing(schedule: Schedule) -> Schedule:
    return _steps(schedule, lambda step: None if step.phase is Phase.LOAD else step)


def more_than_is_written(schedule: Schedule) -> Schedule:
    return evolve(
        schedule,
        storages=(*schedule.storages, Storage("ghost", Role.WORKSPACE, (3,), 3, 0, schedule.storages[0].dtype)),
    )


def forgets_outputs(schedule: Schedule) -> Schedule:
    idle = Step(Phase.RECOMPUTE, None)  # nothing is held, and time goes on after every step
    steps = [part for step in schedule.steps for part in (step, idle)]
    return evolve(schedule, steps=tuple(steps), held=frozenset())


def backward_forwards(schedule: Schedule) -> Schedule:
    backward = [step for step in schedule.steps if step.phase is Phase.BACKWARD]
    others = [step for step in schedule.steps if step.phase is not Phase.BACKWARD]
    loss = others.index(next(step for step in others if step.phase is Phase.LOSS))
    # Everything is written first, so that the order alone is wrong.
    written = tuple(number for step in backward for number in step.writes)
    steps = [*others[: loss + 1], Step(Phase.RECOMPUTE, None, (), written), *reversed(backward), *others[loss + 1 :]]
    return evolve(schedule, steps=tuple(steps))


def backward_first(schedule: Schedule) -> Schedule:
    backward = [step for step in schedule.steps if step.phase is Phase.BACKWARD]
    everything = Step(Phase.RECOMPUTE, None, (), tuple(range(len(schedule.storages))))
    others = [step for step in schedule.steps if step.phase is not Phase.BACKWARD]
    return evolve(schedule, steps=(everything, *backward, *others))


def drops_a_backward(schedule: Schedule) -> Schedule:
    last = [step for step in schedule.steps if step.phase is Phase.BACKWARD][-1]
    lost = {*last.writes}
    return _steps(
        schedule,
        lambda step: (
            None if step is last else evolve(step, writes=(*step.writes, *lost)) if step.node is None else step
        ),
    )


class Shrinking(Storage):
    """Says that it needs less the more samples there are."""

    def byte_count(self, batch: int) -> int:
        return 10_000_000_000 - 1_000_000 * batch


def shrinks(schedule: Schedule) -> Schedule:
    ghost = Shrinking("ghost", Role.WORKSPACE, (3,), 3, 0, schedule.storages[0].dtype, True)
    return evolve(schedule, storages=(*schedule.storages, ghost))


class Negative(Storage):
    """Says that it needs less than nothing, so that the sum is less than the peak."""

    def byte_count(self, batch: int) -> int:
        return -10_000_000


def below_zero(schedule: Schedule) -> Schedule:
    ghost = Negative("ghost", Role.WORKSPACE, (3,), 3, 0, schedule.storages[0].dtype)
    late = Step(Phase.UPDATE, None, (), (len(schedule.storages),))
    return evolve(schedule, storages=(*schedule.storages, ghost), steps=(*schedule.steps, late))


@frozen(repr=False)
class KeepsNothing(Backprop):
    def keeps(self, cost: Any, *, needs: tuple[bool, ...], trains: bool) -> Saved:
        return Saved()


@frozen(repr=False)
class LosesTheMask(Backprop):
    """Keeps every value, but lets a layer's extras die: its schedule takes them out of the backward steps."""

    def keeps(self, cost: Any, *, needs: tuple[bool, ...], trains: bool) -> Saved:
        return Saved(tuple(range(len(cost.inputs))), output=True)

    def schedule(self, table: Any, scenario: Any) -> Schedule:
        schedule = super().schedule(table, scenario)
        extras = {number for number, storage in enumerate(schedule.storages) if storage.role is Role.EXTRA}
        return _steps(
            schedule,
            lambda step: evolve(step, reads=tuple(number for number in step.reads if number not in extras)),
        )


@frozen(repr=False)
class ServesNobody(Spoiled):
    @property
    def serves_inference(self) -> bool:
        return False

    @property
    def serves_training(self) -> bool:
        return False


@frozen(repr=False)
class ServesWord(Spoiled):
    @property
    def serves_inference(self) -> Any:
        return "yes"


@frozen(repr=False)
class ServesAtTimes(Spoiled):
    @property
    def serves_training(self) -> bool:
        return next(_COUNTER) % 2 == 0

    @property
    def serves_inference(self) -> bool:
        return True


@frozen(repr=False)
class HoldsList(FreeAfterUse):
    names: list[str] = field(factory=list, kw_only=True)


@frozen(repr=False, eq=False)
class ComparesByIdentity(FreeAfterUse):
    __eq__ = object.__eq__
    __hash__ = object.__hash__


@frozen(repr=False)
class WritesOnlyWhatItKnows(Retention):
    """Schedules by hand and forgets parameters."""

    @property
    def serves_inference(self) -> bool:
        return True

    @property
    def serves_training(self) -> bool:
        return False

    def schedule(self, table: Any, scenario: Any) -> Schedule:
        builder = ForwardPass(table, scenario).builder
        from cnnbudget import ScheduleBuilder

        assert builder is not None
        bare = ScheduleBuilder(scenario.precision)
        value = bare.add("input", TensorSpec((3,)))
        bare.step(Phase.LOAD, writes=[value])
        return bare.build()


def test_the_good_ones_are_good() -> None:
    check_policy(Spoiled(unspoiled))
    check_policy(Spoiled(unspoiled, of=KeepAll()))


TRAINS = {"of": KeepAll()}


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        (FreeAfterUse, r"check_policy takes a policy: got <class .*FreeAfterUse'>, .*call it: FreeAfterUse\(\.\.\.\)"),
        (
            "keep",
            r"check_policy takes a policy: got 'keep', expected an instance; derive its class from cnnbudget\.Retention",
        ),
        (HoldsList(), r"HoldsList cannot be hashed or pickled .*unhashable type.*hold tuples, not lists"),
        (ComparesByIdentity(), r"ComparesByIdentity differs from its pickled copy in ==, hash\(\) or repr\(\)"),
        (ServesNobody(unspoiled), r"ServesNobody serves neither inference nor training"),
        (ServesWord(unspoiled), r"ServesWord\.serves_inference is no bool .*: got yes"),
        (ServesAtTimes(unspoiled), r"ServesAtTimes\.serves_training changes its answer"),
        (
            Spoiled(returns_none),
            r"Spoiled makes no schedule .* on the chain, inference in FP32\).*ScheduleBuilder\.build",
        ),
        (Spoiled(fails), r"Spoiled raised ZeroDivisionError .*: got oh, expected a Schedule"),
        (Spoiled(at_random), r"Spoiled makes another schedule when it is asked again"),
        (Spoiled(far_number), r"Spoiled names a storage that does not exist .*: got 10000, expected 0 to \d+"),
        (Spoiled(negative_number), r"Spoiled names a storage that does not exist .*: got -1"),
        (Spoiled(holds_nothing_known), r"Spoiled names a storage that does not exist .*: got 10000"),
        (Spoiled(same_names), r"Spoiled gives storages the same name .*: got conv\.weight, expected unique names"),
        (
            Spoiled(other_name),
            r"Spoiled has no storage for a tensor .*: got none is called 'conv\.weight'.*ForwardPass",
        ),
        (WritesOnlyWhatItKnows(), r"WritesOnlyWhatItKnows has no storage for a tensor"),
        (Spoiled(too_small), r"Spoiled describes a storage wrongly .*fixed=108.*expected .*fixed=216"),
        (Spoiled(skips_a_node), r"Spoiled must run every node forward once, in execution order"),
        (
            Spoiled(reads_nothing),
            r"makes a forward step that leaves something out .*got forward of conv: reads nothing",
        ),
        (
            Spoiled(writes_nothing),
            r"leaves something out .*writes nothing, expected at least: reads input, writes conv",
        ),
        (Spoiled(loads_nothing), r"Spoiled makes an impossible schedule .*nothing has written yet.*'input'"),
        (
            Spoiled(more_than_is_written),
            r"Spoiled makes an impossible schedule .*a storage is never written: got 'ghost'",
        ),
        (Spoiled(forgets_outputs), r"Spoiled frees an output of the network .*: got (flat|relu|left)"),
        (Spoiled(backward_forwards, **TRAINS), r"Spoiled must run backward in the reverse order of execution"),
        (Spoiled(backward_first, **TRAINS), r"Spoiled must run backward in the reverse order of execution"),
        (
            Spoiled(drops_a_backward, **TRAINS),
            r"Spoiled leaves out a backward step .*none for node 'conv', which trains",
        ),
        (
            KeepsNothing(),
            r"KeepsNothing frees what backward needs .*got backward of .*keep what the layer's saved\(\) names",
        ),
        (LosesTheMask(), r"LosesTheMask frees what backward needs .*at least .*batch_norm\.invstd"),
        (Spoiled(shrinks), r"Spoiled has a peak that does not grow with the batch"),
        (Spoiled(below_zero), r"Spoiled has an impossible peak"),
    ],
    ids=str,
)
def test_it_says_what_is_broken(policy: Any, text: str) -> None:
    with pytest.raises(ConformanceError, match=text) as caught:
        check_policy(policy)
    assert caught.value.got is not None or caught.value.hint is not None
