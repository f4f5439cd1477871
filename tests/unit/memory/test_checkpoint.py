"""Checkpoints: where is cut, what runs again, and what that costs and saves."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnbudget import (
    AdaptiveAvgPool,
    Add,
    Autograd,
    BatchNorm,
    Block,
    Checkpoint,
    Conv,
    DataParallel,
    Flatten,
    Inference,
    InvalidTypeError,
    InvalidValueError,
    Linear,
    MaxPool,
    Net,
    Phase,
    ReLU,
    SharedStorageError,
    Sigmoid,
    SiLU,
    Tanh,
    Training,
    UnknownNameError,
    zoo,
)
from cnnbudget.analysis.storage import sharing
from cnnbudget.memory.checkpoint import recomputation_curve, unit_ends
from cnnbudget.memory.recompute import chain_of, stage_ends
from cnnbudget.planning.stages import keep_all, replay
from cnnbudget.testing import check_policy

# Six convolutions of 4 maps of 100 values, each with a Tanh: a value is 400 numbers, 1,600 bytes.
CHAIN = Net.input(4, 10, 10)
for _ in range(6):
    CHAIN = CHAIN.then(Conv(4, 1, bias=False), Tanh())
VALUE = 1600


def again(net: Net, policy: Autograd, batch: int = 1) -> list[str]:
    steps = net.profile(Training(batch, retention=policy)).steps
    return [str(step.node) for step in steps if step.phase is Phase.RECOMPUTE]


def test_what_is_kept_between_the_cuts() -> None:
    plain = CHAIN.profile(Training(retention=Autograd()))
    cut = CHAIN.profile(Training(retention=Checkpoint.at("tanh2", "tanh4")))
    # A convolution keeps its input and a Tanh its output: the input and six values. With two cuts: the input, the two values there,
    # and the last segment's own two.
    assert plain.retained == 7 * VALUE
    assert cut.retained == (1 + 2 + 2) * VALUE
    assert cut.peak < plain.peak


def test_segments_run_again_backwards_and_stop_where_nothing_more_is_kept() -> None:
    assert again(CHAIN, Checkpoint.at("tanh2", "tanh4")) == [
        *("conv3", "tanh3", "conv4", "tanh4"),
        *("conv", "tanh", "conv2", "tanh2"),
    ]
    # The convolution at the end keeps its input, so it need not run.
    assert again(CHAIN, Checkpoint.at("conv4")) == ["conv", "tanh", "conv2", "tanh2", "conv3", "tanh3"]
    # Nothing is kept in a sum, and nothing runs again for it.
    net = Net.input(4, 10, 10).then(Conv(4, 1)).residual(Conv(4, 1), merge=Add()).then(Conv(4, 1), name="end")
    assert again(net, Checkpoint.at("conv", "add")) == []
    assert again(net, Checkpoint.at("add")) == ["conv"]


def test_a_segment_that_trains_nothing_is_not_run_again() -> None:
    scenario = Training(retention=Checkpoint.at("tanh2", "tanh4"), frozen=("conv", "conv2"))
    found = CHAIN.profile(scenario)
    assert [step.node for step in found.steps if step.phase is Phase.RECOMPUTE] == ["conv3", "tanh3", "conv4", "tanh4"]


def test_one_convolution_alone_starts_from_what_is_kept() -> None:
    net = Net.input(4, 10, 10).then(Conv(4, 1), Conv(4, 1), Conv(4, 1))
    policy = Checkpoint.every(1)
    assert again(net, policy) == []
    assert net.profile(Training(retention=policy)).peak == net.profile(Training(retention=Autograd())).peak


def test_units_and_square_roots() -> None:
    net = Net.input(3, 8, 8).then(Conv(4, 3)).then(Conv(4, 3), ReLU(), name="a").then(Conv(4, 3), name="b.0")
    assert unit_ends(net.network) == [0, 2, 3]
    table = CHAIN.costs()
    ends = Checkpoint.every(4).positions(table, sharing(table, training=True))
    assert ends == [3, 7]
    assert Checkpoint.every(4, times=1).positions(table, sharing(table, training=True)) == [3]
    # Twelve stages make segments of four.
    assert Checkpoint.sqrt().positions(table, sharing(table, training=True)) == [3, 7]
    one = Net.input(3, 8, 8).then(Conv(4, 3))
    assert Checkpoint.sqrt().positions(one.costs(), sharing(one.costs(), training=True)) == []


def test_stages_end_where_one_storage_goes_on() -> None:
    net = (
        Net.input(4, 8, 8)
        .then(Conv(4, 3, padding=1), BatchNorm(), ReLU(inplace=True))
        .residual(Block(Conv(4, 1), ReLU()))
        .then(MaxPool(2))
    )
    names = [cost.name for cost in net.costs()]
    table = net.costs()
    ends = [names[position] for position in stage_ends(table, sharing(table, training=True))]
    # Not after the batch normalisation, which the ReLU overwrites, and not within the skip.
    assert ends == ["conv", "relu", "add", "max_pool"]
    with pytest.raises(
        SharedStorageError, match=r"a checkpoint's value would be overwritten.*relu.*cut after node 'batch_norm'"
    ):
        net.profile(Training(retention=Checkpoint.at("batch_norm")))


def test_the_chain_of_a_network_is_what_its_schedule_holds() -> None:
    scenario = Training(8, retention=Autograd(), loss="cross_entropy")
    net = zoo.resnet18(input_shape=(3, 64, 64), num_classes=10)
    table = net.costs()
    schedule = Autograd().schedule(table, scenario)
    found = chain_of(table, sharing(table, training=True), schedule, 8)
    assert [len(stage) for stage in found.stages][:4] == [1, 2, 1, 7]
    assert sum(stage.forward for stage in found.chain.stages) == net.mac_count
    model = replay(found.chain, keep_all(found.chain)).peak_bytes + found.apart
    real = net.profile(scenario).peak
    assert real <= model <= real * 1.02  # one number for a stage is a little more than its steps


@pytest.mark.parametrize("share", [0.95, 0.6, 0.3, 0.05])
def test_plans_keep_to_their_budget_and_cost_what_they_say(share: float) -> None:
    net = zoo.resnet50(input_shape=(3, 64, 64), num_classes=10)
    scenario = Training(16, retention=Autograd(), loss="cross_entropy")
    before = net.profile(scenario)
    fixed = sum(s.byte_count(16) for s in before.lifetimes.schedule.storages if s.persistent)
    curve = recomputation_curve(net.costs(), scenario)
    least = fixed + curve.points[0].peak_bytes
    budget = int(least + share * (before.peak - least))
    found = net.profile(scenario.evolve(retention=Checkpoint.optimal(budget)))
    assert found.peak <= budget
    table = net.costs()
    extra = sum(table[str(step.node)].macs or 0 for step in found.steps if step.phase is Phase.RECOMPUTE)
    assert curve.within(budget - fixed).lower_bound <= extra
    assert extra <= 1.05 * curve.within(budget - fixed).extra_cost + table.mac_count // 100


def test_the_curve_falls() -> None:
    scenario = Training(4, loss="mse")
    curve = recomputation_curve(CHAIN.costs(), scenario)
    peaks = [point.peak_bytes for point in curve.points]
    costs = [point.extra_cost for point in curve.points]
    assert peaks == sorted(peaks)
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] == 0


def test_budgets_below_the_least() -> None:
    with pytest.raises(
        InvalidValueError, match=r"no checkpoints fit into the budget.*expected \d+ bytes or more"
    ) as caught:
        CHAIN.profile(Training(64, retention=Checkpoint.optimal("300 KiB")))
    least = int(str(caught.value).split("expected ")[1].split()[0])
    assert CHAIN.profile(Training(64, retention=Checkpoint.optimal(least))).peak <= least
    with pytest.raises(InvalidValueError, match=r"no checkpoints fit .*244403360 of which are always there"):
        zoo.alexnet().profile(Training(1, retention=Checkpoint.optimal("10 MiB")))


def test_bad_checkpoints() -> None:
    with pytest.raises(UnknownNameError, match=r"fits no node and no scope: got 'layer9'.*did you mean 'layer[1-4]"):
        zoo.resnet18().profile(Training(retention=Checkpoint.at("layer9")))
    for make in (
        lambda: Checkpoint(),
        lambda: Checkpoint.at(),
        lambda: Checkpoint(names=["a"], units=2),
        lambda: Checkpoint(root=True, times=2),
    ):
        with pytest.raises(InvalidValueError, match="Checkpoint does not say where to cut"):
            make()
    with pytest.raises(InvalidValueError, match=r"Checkpoint\.units"):
        Checkpoint.every(0)
    with pytest.raises(InvalidTypeError, match=r"a name in Checkpoint\.names must be a str"):
        Checkpoint(names=[5])  # type: ignore[list-item]
    with pytest.raises(InvalidValueError, match="Inference cannot use this policy"):
        Inference(retention=Checkpoint.sqrt())


def test_checkpoints_are_values() -> None:
    assert Checkpoint(names="conv") == Checkpoint.at("conv")
    for policy in (Checkpoint.at("a"), Checkpoint.every(2, times=1), Checkpoint.sqrt(), Checkpoint.optimal("1 GiB")):
        assert pickle.loads(pickle.dumps(policy)) == policy
        assert "Checkpoint(" in repr(policy)


@pytest.mark.parametrize("policy", [Autograd(), Autograd(sums_in_place=False), Checkpoint.sqrt(), Checkpoint.every(2)])
def test_they_conform(policy: Autograd) -> None:
    check_policy(policy)


@given(st.lists(st.integers(1, 6), min_size=2, max_size=8), st.integers(1, 9), st.integers(1, 5), st.booleans())
def test_cutting_changes_who_is_alive_and_nothing_else(filters: list[int], batch: int, every: int, mixed: bool) -> None:
    net = Net.input(2, 6)
    for number in filters:
        net = net.then(Conv(number, 3, padding=1), BatchNorm(), ReLU())
    net = net.then(MaxPool(2), Conv(1, 1))
    scenario = Training(batch, retention=Autograd(), precision="amp_fp16" if mixed else "fp32", loss="mse")
    plain = net.profile(scenario)
    cut = net.profile(scenario.evolve(retention=Checkpoint.every(every)))
    for phase in (Phase.FORWARD, Phase.LOSS, Phase.BACKWARD, Phase.UPDATE):
        assert [step.node for step in plain.steps if step.phase is phase] == [
            step.node for step in cut.steps if step.phase is phase
        ]
    # Less need not be kept: a cut between batch normalisation and its ReLU keeps what autograd does not.
    backward = [step for step in cut.steps if step.phase is Phase.BACKWARD]
    assert len(backward) == len(net.network)


def test_linear_layers_have_stages_too() -> None:
    net = Net.input(8).then(Linear(8), ReLU(), Linear(8), ReLU(), Linear(2))
    assert again(net, Checkpoint.at("relu2")) == ["linear", "relu", "linear2", "relu2"]


def test_units_of_one_scope() -> None:
    net = zoo.mobilenet_v2()
    # Everything but the head lies in "features", which is one unit of the network and has nineteen of its own.
    ends = unit_ends(net.network, "features")
    assert len(ends) == 19
    assert net.network.nodes[ends[-1]].name.startswith("features/18")
    scenario = Training(8, retention=Checkpoint.every(4, within="features"), loss="cross_entropy")
    assert net.profile(scenario).peak < 0.7 * net.profile(scenario.evolve(retention=Autograd())).peak
    with pytest.raises(
        UnknownNameError, match=r"Checkpoint\.within fits no scope: got 'feature'.*did you mean 'features'"
    ):
        net.profile(scenario.evolve(retention=Checkpoint.every(4, within="feature")))
    with pytest.raises(InvalidValueError, match="Checkpoint does not say where to cut"):
        Checkpoint(names="conv", within="features")
    with pytest.raises(InvalidTypeError, match=r"Checkpoint\.within must be a str"):
        Checkpoint.every(2, within=5)  # type: ignore[arg-type]


# The peak of one step of training under ``torch.autocast("cpu", torch.bfloat16)`` with ``checkpoint_sequential`` (no reentry), in
# bytes beside parameters, the batch of 4 images of 3x32x32 and the targets; measured in PyTorch 2.13 with a dispatch mode. The
# network is so many units and a head of global pooling, flattening and a linear layer of 10.
MEASURED_IN_MIXED_PRECISION = {
    ("conv, relu", 7, 2): 854432,  # the copies of the biases live until the recomputation ends
    ("conv, relu", 7, 4): 805760,
    ("conv, relu", 8, 3): 819680,
    ("conv, sigmoid, conv", 7, 2): 1298464,  # the last convolution copies its weight, and its kernel does not run again
    ("conv, sigmoid, conv", 7, 4): 959936,
    ("conv, sigmoid, conv", 8, 3): 1118784,
}


@pytest.mark.parametrize(("unit", "count", "segments"), MEASURED_IN_MIXED_PRECISION)
def test_mixed_precision_makes_its_copies_again(unit: str, count: int, segments: int) -> None:
    net = Net.input(3, 32, 32)
    for number in range(count):
        layers = {"conv": Conv(16, 3, padding=1), "relu": ReLU(), "sigmoid": Sigmoid()}
        net = net.then(*[layers[word] for word in unit.split(", ")], name=f"unit{number}")
    net = net.then(AdaptiveAvgPool(1), Flatten(), Linear(10), name="head")
    policy = Checkpoint.every((count + 1) // segments, times=segments - 1)
    found = net.profile(Training(4, retention=policy, loss="cross_entropy", frames="eager", precision="amp_bf16"))
    beside = 4 * net.parameter_count + 4 * (4 * 3 * 32 * 32) + 4 * 8
    assert found.peak - beside == MEASURED_IN_MIXED_PRECISION[unit, count, segments]


def test_a_plan_leaves_nobody_out_that_eager_execution_holds() -> None:
    # Whoever calls backward() holds the gradient that it starts from until it returns.
    scenario = Training(64, retention=Checkpoint.optimal("900 KiB"), loss="mse", frames="eager")
    found = CHAIN.profile(scenario)
    assert any(step.phase is Phase.RECOMPUTE for step in found.steps)
    last = max(number for number, step in enumerate(found.steps) if step.phase is Phase.BACKWARD)
    lifetimes = found.lifetimes
    start = next(n for n, each in enumerate(lifetimes.schedule.storages) if each.name == "tanh6.loss.grad")
    assert lifetimes.deaths[start] == last + 1


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "adam"},  # temporaries of the update, which no checkpoint makes smaller
        {"frames": "eager"},  # what calls hold beyond a stage
        {"zero_grad": "zero"},  # gradients of parameters that are always there
        {"precision": "amp_bf16", "optimizer": "adam", "frames": "eager"},  # copies in another width
        {"batch": 32, "devices": DataParallel(4, zero=3), "optimizer": "adam"},  # whole parameters for a moment
    ],
)
def test_the_budget_holds_for_every_step_and_the_least_that_errors_name_is_enough(changes: dict[str, object]) -> None:
    net = Net.input(3, 8, 8).then(Conv(9, 3, padding=1), ReLU(), Conv(4, 3, padding=1), BatchNorm(), MaxPool(2))
    net = net.residual(Block(Conv(4, 1), ReLU(), Conv(4, 3, padding=1))).then(Flatten(), Linear(300))
    scenario = Training(8, loss="mse", retention=Autograd()).evolve(**changes)
    plain = int(net.profile(scenario).peak)
    with pytest.raises(InvalidValueError, match="no checkpoints fit") as caught:
        net.profile(scenario.evolve(retention=Checkpoint.optimal(1)))
    least = int(str(caught.value).split("expected ")[1].split()[0])
    assert least <= plain
    for budget in {least + (plain - least) * part // 7 for part in range(8)}:
        assert net.profile(scenario.evolve(retention=Checkpoint.optimal(budget, slots=50))).peak <= budget
    with pytest.raises(InvalidValueError, match=f"expected {least} bytes"):
        net.profile(scenario.evolve(retention=Checkpoint.optimal(least - 1)))


def test_what_devices_share_out_leaves_room_for_what_is_kept() -> None:
    scenario = Training(32, retention=Autograd(), optimizer="adam", loss="cross_entropy")
    shared = scenario.evolve(batch=128, devices=DataParallel(4, zero=3))
    net = zoo.resnet18()
    budget = net.profile(shared).peak
    # Nothing need run again, though a device that has everything would need more.
    assert net.profile(scenario).peak > budget
    found = net.profile(shared.evolve(retention=Checkpoint.optimal(budget)))
    assert all(step.phase is not Phase.RECOMPUTE for step in found.steps)


def test_a_network_of_long_edges_gets_periodic_cuts() -> None:
    # The first value goes all the way to the end: but for that there are no stages that could run again by themselves.
    body = Block(*[layer for _ in range(8) for layer in (Conv(4, 3, padding=1), Tanh())])
    net = Net.input(4, 16, 16).then(Conv(4, 1)).residual(body).then(Flatten(), Linear(2))
    scenario = Training(16, retention=Autograd(), loss="mse")
    plain, cut = (net.profile(scenario.evolve(retention=each)) for each in (Autograd(), Checkpoint.every(4)))
    assert cut.peak < 0.8 * plain.peak
    found = net.profile(scenario.evolve(retention=Checkpoint.optimal(cut.peak)))
    assert found.peak <= cut.peak
    macs = {cost.name: cost.macs for cost in net.costs()}
    again, at_most = (sum(macs[s.node] for s in each.steps if s.phase is Phase.RECOMPUTE) for each in (found, cut))
    assert again <= at_most


@given(
    st.lists(st.sampled_from(["conv", "wide", "tanh", "relu", "residual"]), min_size=3, max_size=9),
    st.sampled_from([Checkpoint.sqrt(), Checkpoint.every(1), Checkpoint.every(2), Checkpoint.every(4)]),
    st.sampled_from(["ideal", "eager"]),
)
def test_a_plan_never_computes_more_again_than_simple_cuts_that_fit(
    kinds: list[str], simple: Checkpoint, frames: str
) -> None:
    net = Net.input(3, 8, 8)
    for kind in kinds:
        if kind == "residual":
            channels = net.output_shape[0]
            net = net.residual(Block(Conv(channels, 3, padding=1), ReLU()))
        else:
            layers = {"conv": Conv(4, 3, padding=1), "wide": Conv(9, 3, padding=1), "tanh": Tanh(), "relu": ReLU()}
            net = net.then(layers[kind])
    net = net.then(Flatten(), Linear(2))
    scenario = Training(8, loss="mse", frames=frames)
    cut = net.profile(scenario.evolve(retention=simple))
    found = net.profile(scenario.evolve(retention=Checkpoint.optimal(cut.peak, slots=50)))
    macs = {cost.name: cost.macs or 0 for cost in net.costs()}
    again, at_most = (
        sum(macs[str(step.node)] for step in each.steps if step.phase is Phase.RECOMPUTE) for each in (found, cut)
    )
    assert found.peak <= cut.peak
    assert again <= at_most


def test_what_only_looks_at_its_input_does_not_run_again_in_mixed_precision() -> None:
    net = Net.input(4, 10, 10)
    for _ in range(4):
        net = net.then(Conv(4, 1, bias=False), SiLU())
    policy = Checkpoint.at("silu", "silu2", "silu3")
    found = net.profile(Training(2, retention=policy, precision="amp_bf16"))
    # A SiLU keeps its input, which its convolution has made in 16 bits already: it copies nothing, and its kernel never runs. The
    # last convolution belongs to no segment; it does not run again.
    assert [step.node for step in found.steps if step.phase is Phase.RECOMPUTE] == ["conv3", "conv2", "conv"]
