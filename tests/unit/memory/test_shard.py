"""Sharded data parallelism: what each device holds of the optimizer's state, the gradients and the parameters."""

import pytest

from cnnbudget import (
    Adam,
    Autograd,
    DataParallel,
    Inference,
    InvalidValueError,
    Linear,
    Net,
    Role,
    Training,
    zoo,
)
from cnnbudget.planning.sharding import shard_parameters

# Three layers of 10,000 parameters, whose activations are nothing beside them.
NET = Net.input(100).then(*[Linear(100, bias=False)] * 3)
ADAM = Adam(implementation="fused", count_steps=False)


def roles(zero: int, count: int = 4, **more: object) -> dict[Role, int]:
    scenario = Training(count, retention=Autograd(), optimizer=ADAM, devices=DataParallel(count, zero=zero))
    return {role: int(size) for role, size in NET.profile(scenario.evolve(**more)).by_role.items()}


def test_levels() -> None:
    whole, shard = 4 * 30_000, 4 * 7_500
    # At the peak, in the last backward step or the update, all three gradients are there.
    nothing = roles(0)
    assert (nothing[Role.PARAMETER], nothing[Role.PARAMETER_GRADIENT]) == (whole, whole)
    assert nothing[Role.OPTIMIZER_STATE] == 2 * whole
    state = roles(1)
    assert (state[Role.PARAMETER], state[Role.PARAMETER_GRADIENT], state[Role.OPTIMIZER_STATE]) == (
        whole,
        whole,
        2 * shard,
    )
    # Of the gradients one is whole while it is made, beside the shards of all.
    gradients = roles(2)
    assert gradients[Role.PARAMETER] == whole
    assert gradients[Role.PARAMETER_GRADIENT] == shard + 40_000
    # And so is one layer's weight while the layer runs.
    everything = roles(3)
    assert everything[Role.PARAMETER] == shard + 40_000
    assert everything[Role.OPTIMIZER_STATE] == 2 * shard


def test_a_sharded_step_sends_what_zero_says() -> None:
    for zero in range(4):
        found = NET.profile(Training(4, retention=Autograd(), devices=DataParallel(4, zero=zero)))
        share = shard_parameters([10_000] * 3, 4, zero, parameter_width=4, gradient_width=4)
        assert found.sent_bytes == share.sent_bytes
    # In a ring each device passes on three quarters of the gradients twice.
    assert NET.profile(Training(4, devices=4)).sent_bytes == 2 * 3 * 7_500 * 4
    assert NET.profile(Training(4)).sent_bytes == 0
    assert NET.profile(Inference(4, devices=4)).sent_bytes == 0


def test_each_level_needs_no_more_state_than_the_one_before() -> None:
    net = zoo.resnet18(input_shape=(3, 64, 64))
    state = []
    for zero in range(4):
        scenario = Training(8, retention=Autograd(), optimizer="adam", devices=DataParallel(8, zero=zero))
        found = net.profile(scenario)
        storages = found.lifetimes.schedule.storages
        state.append(sum(s.byte_count(1) for s in storages if s.persistent))
        assert found.peak == max(found.live_bytes)
        names = [storage.name for storage in storages]
        assert len(set(names)) == len(names)
    assert state == sorted(state, reverse=True)
    assert state[0] > state[1] == state[2] > state[3]


def test_shards_round_up() -> None:
    net = Net.input(3).then(Linear(3, bias=False))
    found = net.profile(Training(2, devices=DataParallel(2, zero=3)))
    assert [s.fixed for s in found.lifetimes.schedule.storages if s.name == "linear.weight shard"] == [5]


def test_shared_parameters_are_gathered_for_every_use() -> None:
    net = Net.input(10).then(Linear(10), share="w").then(Linear(10), share="w")
    found = net.profile(Training(2, devices=DataParallel(2, zero=3), retention=Autograd()))
    whole = [s for s in found.lifetimes.schedule.storages if s.name.startswith("linear.weight whole")]
    assert len(whole) == 4  # forward and backward of both uses


def test_gradients_that_stay_are_sharded_too() -> None:
    found = NET.profile(Training(4, zero_grad="zero", devices=DataParallel(4, zero=2), retention=Autograd()))
    persistent = [
        s.fixed for s in found.lifetimes.schedule.storages if s.persistent and s.role is Role.PARAMETER_GRADIENT
    ]
    assert persistent == [2_500] * 3


def test_one_device_shares_nothing() -> None:
    alone = Training(4, devices=DataParallel(1, zero=3))
    assert NET.profile(alone).peak == NET.profile(Training(4)).peak


def test_bad_levels() -> None:
    with pytest.raises(InvalidValueError, match=r"DataParallel\.zero.*expected.*0 to 3"):
        DataParallel(4, zero=4)
