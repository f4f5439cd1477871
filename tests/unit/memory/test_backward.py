"""What a training step leaves: numbers derived by hand from what PyTorch 2.13 does, measured in ``tests/live``."""

import pytest

from cnnbudget import (
    Adam,
    Add,
    Autograd,
    BatchNorm,
    Conv,
    Flatten,
    GlobalAvgPool,
    Input,
    InvalidTypeError,
    KeepAll,
    Linear,
    Multiply,
    Net,
    Network,
    Node,
    Phase,
    ReLU,
    Training,
    profile,
)
from cnnbudget.dtypes import BFLOAT16, FLOAT32, Role

BATCH = 2


def network(nodes: list[tuple], *outputs: str, shape: tuple[int, ...] = (2, 4, 4)) -> Network:
    return Network([Input("input", shape)], [Node(*node) for node in nodes], outputs)


def training(**changes) -> Training:
    return Training(BATCH, retention=Autograd(), **changes)


def widths(found, name: str) -> list:
    """The widths of the gradients of a value, in the order in which they were made."""
    storages = found.lifetimes.schedule.storages
    return [storage.dtype for storage in storages if storage.node == name and storage.role is Role.ACTIVATION_GRADIENT]


# Where nothing trains.


@pytest.mark.parametrize("loss", ["cross_entropy", "mse", "bce_with_logits"])
@pytest.mark.parametrize("frames", ["ideal", "eager"])
@pytest.mark.parametrize("net", [Net.input(4).then(ReLU()), Net.input(4).then(Linear(4))])
def test_a_loss_where_nothing_trains_has_no_backward(net: Net, frames: str, loss: str) -> None:
    frozen = "*" if net.parameter_count else None
    found = net.profile(training(loss=loss, frames=frames, frozen=frozen, optimizer="adam"))
    assert found.retained == 0
    phases = {step.phase for step in found.steps}
    assert Phase.LOSS in phases
    assert Phase.BACKWARD not in phases


DEAD = [("dead", Conv(5, 3), ("input",)), ("norm", BatchNorm(), ("dead",)), ("conv", Conv(3, 1), ("input",))]


@pytest.mark.parametrize("zero_grad", ["none", "zero"])
def test_what_no_output_depends_on_trains_nothing(zero_grad: str) -> None:
    scenario = training(optimizer="adam", loss="cross_entropy", zero_grad=zero_grad)
    found = profile(network(DEAD, "conv"), scenario)
    roles = {Role.PARAMETER_GRADIENT, Role.OPTIMIZER_STATE}
    assert {storage.node for storage in found.lifetimes.schedule.storages if storage.role in roles} == {"conv"}
    # the input, log-probabilities and targets of 16 positions, and the sum of weights
    assert found.retained == BATCH * (2 * 16 * 4 + 3 * 16 * 4 + 16 * 8) + 4


def test_the_textbook_keeps_also_what_no_output_depends_on() -> None:
    kept = profile(network(DEAD, "conv"), Training(BATCH, retention=KeepAll())).retained
    assert kept == BATCH * 4 * (2 * 16 + 5 * 4 + 5 * 4 + 3 * 16) + 2 * 5 * 4


def test_gradients_wait_where_the_owner_of_shared_parameters_leads_nowhere() -> None:
    nodes = [("owner", Conv(2, 1), ("input",)), ("user", Conv(2, 1), ("input",), "owner")]
    found = profile(network(nodes, "user"), training(zero_grad="zero"))
    persistent = [each for each in found.lifetimes.schedule.storages if each.persistent]
    assert sum(each.fixed for each in persistent if each.role is Role.PARAMETER_GRADIENT) == 2 * 2 + 2


# Mixed precision.

MIXED = [("conv", Conv(2, 1), ("input",)), ("norm", BatchNorm(), ("input",))]


@pytest.mark.parametrize(("merge", "made"), [(Add(), [BFLOAT16]), (Multiply(), [FLOAT32, BFLOAT16])])
def test_what_comes_from_an_operation_of_two_widths_is_cast(merge, made) -> None:
    nodes = [*MIXED, ("merge", merge, ("conv", "norm"))]
    found = profile(network(nodes, "merge"), training(precision="amp_bf16", loss="cross_entropy"))
    assert sorted(map(str, widths(found, "conv"))) == sorted(map(str, made))
    casts = [step for step in found.steps if step.phase is Phase.ACCUMULATE and step.node == "merge"]
    assert len(casts) == 1
    kept = 2 if isinstance(merge, Multiply) else 0  # while the operation still has all that it works on
    assert len({*casts[0].reads}) == len(made) + kept


def test_copies_of_frozen_parameters_go_after_their_use() -> None:
    nodes = [("low", Conv(2, 1, bias=False), ("input",)), ("top", Conv(2, 1, bias=False), ("low",))]
    found = profile(network(nodes, "top"), training(precision="amp_bf16", loss="cross_entropy", frozen="low"))
    lives = {
        storage.name: (birth, death)
        for storage, birth, death in zip(
            found.lifetimes.schedule.storages, found.lifetimes.births, found.lifetimes.deaths, strict=True
        )
    }
    steps = [str(step) for step in found.steps]
    assert lives["low.weight.bfloat16"] == (steps.index("forward of low"), steps.index("forward of low") + 1)
    assert lives["top.weight.bfloat16"][1] == steps.index("backward of top") + 1


@pytest.mark.parametrize(("trained", "copies"), [(False, 0), (True, 1)])
def test_a_linear_layer_keeps_its_weight_for_its_input_alone(trained: bool, copies: int) -> None:
    first = [("conv", Conv(2, 1, bias=False), ("input",))] if trained else []
    value = "conv" if trained else "input"
    nodes = [*first, ("flatten", Flatten(), (value,)), ("linear", Linear(5, bias=False), ("flatten",))]
    found = profile(network(nodes, "linear"), training(precision="amp_bf16", loss="cross_entropy"))
    schedule = found.lifetimes.schedule
    kept = {schedule.storages[number].name for number in schedule.retained}
    assert ("linear.weight.bfloat16" in kept) == bool(copies)


def test_copies_are_made_once_and_gradients_are_cast_back() -> None:
    nodes = [
        ("norm", BatchNorm(), ("input",)),
        ("conv", Conv(2, 1), ("norm",)),
        ("user", Conv(2, 1), ("conv",), "conv"),
    ]
    found = profile(network(nodes, "user"), training(precision="amp_bf16", loss="cross_entropy"))
    copies = [each.name for each in found.lifetimes.schedule.storages if each.name.endswith(".bfloat16")]
    assert copies == ["conv.weight.bfloat16", "conv.bias.bfloat16"]
    assert widths(found, "norm") == [BFLOAT16, FLOAT32]  # of its copy, and its own


# Optimizers and losses.


def test_an_optimizer_has_parameters_in_the_order_of_the_network() -> None:
    net = Net.input(40).then(Linear(10, bias=False), Linear(400, bias=False), Linear(7, bias=False))
    optimizer = Adam(implementation="loop")
    found = net.profile(training(optimizer=optimizer))
    updates = [step for step in found.steps if step.phase is Phase.UPDATE]
    assert [step.node for step in updates] == ["linear", "linear2", "linear3"]
    storages = found.lifetimes.schedule.storages
    sizes = [sum(storages[number].fixed for number in step.writes) for step in updates]
    # two temporaries of a parameter, and the second one of the parameter before (measured in tests/live/test_optimizers.py)
    assert sizes == [2 * 400, 2 * 4000 + 400, 2 * 2800 + 4000]


def test_a_mean_squared_error_lies_in_a_storage_of_the_outputs_size() -> None:
    found = Net.input(3).then(Linear(10)).profile(training(loss="mse", frames="eager"))
    sizes = {storage.name: storage.byte_count(BATCH) for storage in found.lifetimes.schedule.storages}
    assert sizes["linear.loss"] == BATCH * 10 * 4  # F.mse_loss(x, t).untyped_storage().nbytes()
    assert found.live_bytes[-1] - found.live_bytes[0] == 2 * BATCH * 10 * 4 + (3 * 10 + 10) * 4


def test_a_binary_cross_entropy_subtracts_from_probabilities() -> None:
    found = Net.input(30).then(Linear(10)).profile(training(loss="bce_with_logits", frames="eager"))
    at = [number for number, step in enumerate(found.steps) if step.phase is Phase.LOSS][-1]
    # the output, the loss, where backward starts, probabilities, and the gradient
    assert found.live_bytes[at] - found.live_bytes[0] == 3 * BATCH * 10 * 4 + 2 * 4


def test_losses_are_added_one_after_the_other() -> None:
    nodes = [("gap", GlobalAvgPool(), ("input",)), *[(name, Linear(6), ("gap",)) for name in "abc"]]
    found = profile(network(nodes, "a", "b", "c"), training(loss="mse", frames="eager"))
    sums = [step for step in found.steps if step.phase is Phase.LOSS and len(step.reads) == 2 and not step.node]
    names = [storage.name for storage in found.lifetimes.schedule.storages]
    assert [[names[number] for number in step.reads] for step in sums if names[step.writes[0]].endswith("total")] == [
        ["a.loss", "b.loss"],
        ["b.loss.total", "c.loss"],
    ]


# Bad input.


def test_a_class_freezes_nothing() -> None:
    with pytest.raises(InvalidTypeError, match=r"Training\.frozen says which nodes do not train"):
        Training(frozen=Conv)


@pytest.mark.parametrize("batches", [3, None])
def test_peaks_of_one_batch(batches) -> None:
    found = Net.input(3, 8, 8).then(Conv(4, 3)).profile(Training())
    with pytest.raises(InvalidTypeError, match=r"peaks\(\) takes several batches: got .*, expected for example"):
        found.peaks(batches)
