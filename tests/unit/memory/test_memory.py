"""Profiles by hand: every expected number is derived in a comment. Numbers are four bytes unless a test says otherwise."""

from typing import Any, ClassVar

import attrs
import numpy as np
import pytest
from acme_layers import Add, KeepSaved

from cnnbudget import (
    FP16,
    FP32,
    INT4,
    Adam,
    Autograd,
    Backprop,
    BatchNorm,
    Bytes,
    Concat,
    ConformanceError,
    Conv,
    DataParallel,
    Dropout,
    Flatten,
    FreeAfterUse,
    Identity,
    Inference,
    Input,
    InvalidTypeError,
    InvalidValueError,
    KeepAll,
    Linear,
    MaxPool,
    MemoryProfile,
    Net,
    Network,
    Node,
    Phase,
    Precision,
    ReLU,
    Retention,
    Role,
    Saved,
    Scale,
    Scenario,
    Schedule,
    ScheduleBuilder,
    TensorSpec,
    Training,
    UnknownNameError,
    max_batch,
    profile,
)
from cnnbudget.memory.liveness import liveness

TEXTBOOK = Net.input(3, 200, 300).then(
    Conv(100, 3, stride=2, padding="same"),
    Conv(200, 3, stride=2, padding="same"),
    Conv(400, 3, stride=2, padding="same"),
)


def by_step(found: MemoryProfile) -> dict[str, int]:
    steps = [str(step) for step in found.lifetimes.schedule.steps]
    return dict(zip(steps, found.live_bytes, strict=True))


# The front door's numbers --------------------------------------------------------------------------------------------
# Maps: 3x200x300 -> 100x100x150 -> 200x50x75 -> 400x25x38 (ceil(75 / 2) = 38).
# Bytes of one sample: 180,000 * 4 = 720,000; 1,500,000 * 4 = 6,000,000; 750,000 * 4 = 3,000,000; 380,000 * 4 = 1,520,000.
# Parameters: (3*9 + 1) * 100 = 2,800; (100*9 + 1) * 200 = 180,200; (200*9 + 1) * 400 = 720,400; in all 903,400.
PARAMETERS = 4 * (2_800 + 180_200 + 720_400)


def test_the_textbook_counts() -> None:
    assert TEXTBOOK.parameter_count == 2_800 + 180_200 + 720_400 == 903_400
    assert [cost.output_shape for cost in TEXTBOOK.costs()] == [(100, 100, 150), (200, 50, 75), (400, 25, 38)]


def test_one_prediction() -> None:
    found = TEXTBOOK.profile(Inference())
    assert by_step(found) == {
        "load": PARAMETERS + 720_000,
        "forward of conv": PARAMETERS + 720_000 + 6_000_000,
        "forward of conv2": PARAMETERS + 6_000_000 + 3_000_000,
        "forward of conv3": PARAMETERS + 3_000_000 + 1_520_000,
    }
    assert found.peak == 3_613_600 + 9_000_000 == 12_613_600
    assert found.activation_peak == 9_000_000
    assert (found.peak_index, str(found.peak_step)) == (2, "forward of conv2")
    assert str(found.peak) == "12.03 MiB"


def test_training_on_50_without_gradients() -> None:
    found = TEXTBOOK.profile(Training(batch=50, retention=KeepAll(gradients=False)))
    # Maps 50 * (6,000,000 + 3,000,000 + 1,520,000), inputs 50 * 720,000, parameters.
    assert found.peak == 526_000_000 + 36_000_000 + 3_613_600 == 565_613_600
    assert found.peak_index == 3  # the end of the forward pass


def test_training_on_50_with_gradients() -> None:
    x, one, two, three = 36_000_000, 300_000_000, 150_000_000, 76_000_000
    first, second, third = 4 * 2_800, 4 * 180_200, 4 * 720_400
    assert by_step(TEXTBOOK.profile(Training(batch=50))) == {
        "load": PARAMETERS + x,
        "forward of conv": PARAMETERS + x + one,
        "forward of conv2": PARAMETERS + x + one + two,
        "forward of conv3": PARAMETERS + x + one + two + three,
        # The loss reads the output and writes its gradient.
        "loss": PARAMETERS + x + one + two + 2 * three,
        # Reads its input, output and the output's gradient; writes the input's gradient and those of its parameters.
        "backward of conv3": PARAMETERS + x + one + two + 2 * three + two + third,
        "backward of conv2": PARAMETERS + x + one + 2 * two + one + third + second,
        # Nothing before conv trains: the input has no gradient.
        "backward of conv": PARAMETERS + x + 2 * one + third + second + first,
        "update": 2 * PARAMETERS,
    }
    # 3,613,600 + 36,000,000 + 600,000,000 + 300,000,000 + 2,881,600 + 720,800
    assert TEXTBOOK.profile(Training(batch=50)).peak == 943_216_000


def test_training_in_16_bits_is_half() -> None:
    assert TEXTBOOK.profile(Training(batch=50, precision=FP16)).peak == 943_216_000 // 2


def test_holding_the_input() -> None:
    found = TEXTBOOK.profile(Inference(retention=FreeAfterUse(hold_input=True)))
    assert found.activation_peak == 9_000_000 + 720_000


# Graphs -----------------------------------------------------------------------------------------------------------


def fork(**changes: Any) -> Network:
    """x -> a -> (b, c) -> sum: 8 numbers each, weights of a, b, c 4 + 2 each."""
    return Network(
        [Input("x", (2, 4))],
        [
            Node("a", Conv(2, 1), ["x"]),
            Node("b", Conv(2, 1), ["a"]),
            Node("c", Conv(2, 1), ["a"]),
            Node("sum", Add(), ["b", "c"]),
        ],
        **({"outputs": ["sum"]} | changes),
    )


def test_a_value_lives_to_its_last_reader() -> None:
    w, v = 3 * 6 * 4, 8 * 4
    assert by_step(profile(fork(), Inference())) == {
        "load": w + v,
        "forward of a": w + 2 * v,
        "forward of b": w + 2 * v,
        "forward of c": w + 3 * v,  # a, b and c
        "forward of sum": w + 3 * v,  # b, c and sum: a has died
    }


def test_outputs_live_to_the_end() -> None:
    w, v = 3 * 6 * 4, 8 * 4
    found = profile(fork(outputs=["sum", "a"]), Inference())
    assert by_step(found)["forward of sum"] == w + 4 * v
    # An input may be an output, and be given twice.
    assert by_step(profile(fork(outputs=["x", "sum", "x"]), Inference()))["forward of sum"] == w + 4 * v


def test_gradients_of_a_fork_accumulate_in_one_storage() -> None:
    w, g, v = 3 * 6 * 4, 6 * 4, 8 * 4
    found = profile(fork(), Training())
    names = [storage.name for storage in found.lifetimes.schedule.storages]
    assert names.count("a.grad") == 1
    assert "x.grad" not in names
    assert by_step(found) == {
        "load": w + v,
        "forward of a": w + 2 * v,
        "forward of b": w + 3 * v,
        "forward of c": w + 4 * v,
        "forward of sum": w + 5 * v,
        "loss": w + 5 * v + v,
        "backward of sum": w + 5 * v + 3 * v,  # gradients of sum, b and c
        "backward of c": w + 4 * v + 3 * v + g,  # x a b c; gradients of b, c and a
        "backward of b": w + 3 * v + 2 * v + 2 * g,  # x a b; gradients of b and, accumulated, a
        "backward of a": w + 2 * v + v + 3 * g,
        "update": w + 3 * g,
    }


def test_keeping_the_saved_set_of_a_fork() -> None:
    w, g, v = 3 * 6 * 4, 6 * 4, 8 * 4
    steps = by_step(profile(fork(), Training(retention=KeepSaved())))
    assert steps["loss"] == w + 2 * v + 2 * v  # x and a are kept; sum and its gradient
    assert steps["backward of sum"] == w + 2 * v + 3 * v
    assert steps["backward of a"] == w + v + v + 3 * g  # x, a's gradient


def test_branches_that_nobody_reads_have_no_gradient() -> None:
    network = Network(
        [Input("x", (2, 4))],
        [Node("a", Conv(2, 1), ["x"]), Node("dead", Conv(2, 1), ["x"]), Node("relu", ReLU(), ["x"])],
        ["a"],
    )
    found = profile(network, Training())
    names = {storage.name for storage in found.lifetimes.schedule.storages}
    assert {name for name in names if name.endswith("grad")} == {"a.grad", "a.weight.grad", "a.bias.grad"}


def test_a_network_without_parameters_trains_nothing() -> None:
    found = Net.input(2, 4).then(ReLU(), MaxPool(2)).profile(Training())
    roles = {storage.role for storage in found.lifetimes.schedule.storages}
    assert roles == {Role.ACTIVATION, Role.EXTRA}
    assert found.by_role == {Role.ACTIVATION: Bytes(4 * (8 + 8 + 4)), Role.EXTRA: Bytes(8 * 4)}


# Sharing ------------------------------------------------------------------------------------------------------------


def test_dropout_is_a_view_in_inference_only() -> None:
    net = Net.input(2, 4).then(Dropout())
    assert by_step(net.profile(Inference())) == {"load": 32, "forward of dropout": 32}
    # In training: the input, the output, and a mask of 32 bits for every value.
    assert by_step(net.profile(Training(retention=KeepAll(gradients=False)))) == {"load": 32, "forward of dropout": 96}


def test_the_gradient_of_a_view_is_a_view() -> None:
    # conv 2*1 + 2 = 4, linear 8*1 + 1 = 9 parameters; values: x 4, conv 8 (flatten looks at it), linear 1.
    net = Net.input(1, 4).then(Conv(2, 1), Flatten(), Linear(1))
    found = net.profile(Training())
    assert by_step(found) == {
        "load": 4 * (13 + 4),
        "forward of conv": 4 * (13 + 12),
        "forward of flatten": 4 * (13 + 12),
        "forward of linear": 4 * (13 + 13),
        "loss": 4 * (13 + 13 + 1),
        "backward of linear": 4 * (13 + 13 + 1 + 8 + 9),
        "backward of flatten": 4 * (13 + 12 + 8 + 9),
        "backward of conv": 4 * (13 + 12 + 8 + 9 + 4),
        "update": 4 * 26,
    }
    assert [s.name for s in found.lifetimes.schedule.storages if s.role is Role.ACTIVATION_GRADIENT] == [
        "linear.grad",
        "flatten.grad",
    ]


def test_a_smaller_view_has_a_gradient_of_its_own() -> None:
    from attrs import frozen

    from cnnbudget import Alias, StatelessLayer

    @frozen(repr=False)
    class Half(StatelessLayer):
        def infer(self, inputs: Any) -> TensorSpec:
            return TensorSpec((inputs[0].channels // 2, *inputs[0].spatial))

        def alias(self, inputs: Any, output: Any, *, training: bool) -> Alias:
            return Alias()

    found = Net.input(2, 4).then(Conv(2, 1), Half()).profile(Training())
    gradients = {s.name: s.per_sample for s in found.lifetimes.schedule.storages if s.role is Role.ACTIVATION_GRADIENT}
    assert gradients == {"half.grad": 4, "conv.grad": 8}


def test_in_place_layers_reuse_the_storage() -> None:
    apart = Net.input(1, 4).then(Conv(2, 1), ReLU(), Conv(1, 1))
    within = Net.input(1, 4).then(Conv(2, 1), ReLU(inplace=True), Conv(1, 1))
    # weights 4 + 3; x 4, conv 8, relu 8, conv2 4
    assert by_step(apart.profile(Inference()))["forward of relu"] == 4 * (7 + 16)
    assert by_step(within.profile(Inference()))["forward of relu"] == 4 * (7 + 8)
    assert (apart.profile(Inference()).peak, within.profile(Inference()).peak) == (4 * 23, 4 * 19)


def test_the_gradient_of_an_in_place_layer_has_bytes_of_its_own() -> None:
    within = Net.input(1, 4).then(Conv(2, 1), ReLU(inplace=True), Conv(1, 1))
    # weights 4 + 3; x 4, conv and relu together 8, conv2 4; gradients: conv2 4, relu 8, conv 8
    assert by_step(within.profile(Training())) == {
        "load": 4 * (7 + 4),
        "forward of conv": 4 * (7 + 4 + 8),
        "forward of relu": 4 * (7 + 4 + 8),
        "forward of conv2": 4 * (7 + 4 + 8 + 4),
        "loss": 4 * (7 + 4 + 8 + 4 + 4),
        "backward of conv2": 4 * (7 + 4 + 8 + 4 + 4 + 8 + 3),
        "backward of relu": 4 * (7 + 4 + 8 + 8 + 8 + 3),
        "backward of conv": 4 * (7 + 4 + 8 + 8 + 3 + 4),
        "update": 4 * 14,
    }


def test_batch_norm_keeps_two_statistics_of_32_bits_however_large_the_batch() -> None:
    net = Net.input(2, 4).then(BatchNorm())
    for batch, precision, width in ((1, FP32, 4), (10, FP32, 4), (10, FP16, 2)):
        found = net.profile(Training(batch, precision=precision, retention=KeepAll(gradients=False)))
        extras = found.by_role[Role.EXTRA]
        assert extras == 2 * 2 * 4
        assert found.by_role[Role.BUFFER] == 2 * 2 * 4
        assert found.by_role[Role.PARAMETER] == 2 * 2 * width
        assert found.by_role[Role.ACTIVATION] == 2 * 8 * batch * width


# The profile --------------------------------------------------------------------------------------------------------


def test_who_is_alive_at_the_peak() -> None:
    found = Net.input(1, 4).then(Conv(2, 1)).profile(Training(batch=3))
    # backward of conv: x 12, conv 24, gradient 24, weight 2, bias 2 and their gradients
    assert found.peak == 4 * (12 + 24 + 24 + 4 + 4)
    assert str(found.peak_step) == "backward of conv"
    assert [(each.name, each.size, each.steps) for each in found.at_peak][:3] == [
        ("conv", 96, (1, 4)),
        ("conv.grad", 96, (2, 4)),
        ("input", 48, (0, 4)),
    ]
    assert sum(each.share for each in found.at_peak) == pytest.approx(1)
    assert found.rows()[0] == {
        "name": "conv",
        "role": "activation",
        "shape": (2, 4),
        "dtype": "float32",
        "bytes": 96,
        "share": 96 / 272,
        "born": 1,
        "dies": 4,
        "node": "conv",
        "producer": "forward of conv",
        "last_reader": "backward of conv",
    }
    assert found.by_role == {
        Role.PARAMETER: 16,
        Role.ACTIVATION: 144,
        Role.ACTIVATION_GRADIENT: 96,
        Role.PARAMETER_GRADIENT: 16,
    }
    assert str(found).startswith(
        "Training, batch 3, FP32, KeepAll(): peak 272 B (272 bytes) at step 4 of 5, backward of conv.\n"
    )
    assert "<p>Training, batch 3" in found._repr_html_()
    assert "2 devices" in str(Net.input(1, 4).then(Conv(2, 1)).profile(Training(batch=3, devices=2)))


def test_the_timeline_adds_up() -> None:
    timeline = TEXTBOOK.profile(Inference()).timeline
    assert timeline.step.tolist() == [0, 1, 2, 3]
    assert timeline.label == ("load", "forward of conv", "forward of conv2", "forward of conv3")
    assert timeline.live.dtype == np.int64
    assert timeline.live.tolist() == [4_333_600, 10_333_600, 12_613_600, 8_133_600]
    assert {*timeline.by_role} == {Role.PARAMETER, Role.ACTIVATION}
    assert timeline.by_role[Role.PARAMETER].tolist() == [3_613_600] * 4
    assert timeline.by_role[Role.ACTIVATION].tolist() == [720_000, 6_720_000, 9_000_000, 4_520_000]


def test_numbers_beyond_int64_stay_exact() -> None:
    side, batch = 2**31 - 1, 2**31 - 1
    found = Net.input(side, side).then(ReLU()).profile(Inference(batch))
    assert found.peak == 8 * side * side * batch > 2**63
    assert found.timeline.live.dtype == object
    assert found.timeline.live.tolist() == [4 * side**3, 8 * side**3]
    assert found.timeline.by_role[Role.ACTIVATION].tolist() == [4 * side**3, 8 * side**3]
    # Just below the limit int64 will do: 2**30 * 2 numbers of 4 bytes, 2**30 times, are 2**63.
    small = Net.input(2**30, 2).then(ReLU(inplace=True)).profile(Inference(2**30 - 1))
    assert small.timeline.live.dtype == np.int64
    assert small.timeline.live.tolist() == [8 * 2**30 * (2**30 - 1)] * 2
    limit = Net.input(2**30, 2).then(ReLU(inplace=True)).profile(Inference(2**30))
    assert limit.timeline.live.dtype == object
    assert limit.timeline.live.tolist() == [2**63] * 2


def test_the_largest_batch() -> None:
    # One prediction is 3,613,600 + 9,000,000 a sample.
    found = TEXTBOOK.profile(Inference())
    assert found.max_batch(3_613_600 + 10 * 9_000_000) == 10
    assert found.max_batch(3_613_600 + 10 * 9_000_000 - 1) == 9
    assert found.max_batch(12_613_599) == 0
    assert found.max_batch(1) == 0
    assert TEXTBOOK.max_batch("500 MB", Inference()) == (500_000_000 - 3_613_600) // 9_000_000 == 55
    assert TEXTBOOK.profile(Inference(devices=3)).max_batch("500 MB") == 165
    assert max_batch(TEXTBOOK.network, "500 MB", Inference(64)) == 55


def test_a_fixed_step_may_decide_that_nothing_fits() -> None:
    # The update reads and holds weights and their gradients: 2 * 4 * 10,100, whatever the batch; the rest is small.
    net = Net.input(100).then(Linear(100))
    assert net.max_batch(2 * 4 * 10_100 - 1, Training()) == 0
    # backward: weights and their gradients, and 100 inputs, outputs and gradients a sample
    assert net.max_batch(2 * 4 * 10_100 + 4 * 300, Training()) == 1


def test_the_largest_batch_is_one_that_a_scenario_accepts() -> None:
    net = Net.input(1).then(ReLU())
    for devices in (1, 8):
        batch = net.max_batch("1 EB", Inference(devices=devices))
        assert batch == 2**31 - 1
        assert net.profile(Inference(batch, devices=devices)).peak < 10**18


def test_formats_below_a_byte_round_up_once_per_storage() -> None:
    int4 = Precision("INT4", INT4)
    net = Net.input(3).then(ReLU())
    # 3 numbers of 4 bits: 2 bytes a storage, two storages; two samples: 3 bytes each.
    assert net.profile(Inference(precision=int4)).peak == 4
    assert net.profile(Inference(2, precision=int4)).peak == 6
    assert [net.max_batch(budget, Inference(precision=int4)) for budget in (3, 4, 5, 6)] == [0, 1, 1, 2]


def test_devices_share_the_batch() -> None:
    assert DataParallel(3).share(10) == 4
    assert DataParallel(3).largest_batch(4) == 12
    assert Inference(10, devices=3).device_batch == 4
    assert Inference(10, devices=3).devices == DataParallel(3)
    with pytest.raises(InvalidValueError, match=r"DataParallel\.count is out of range: got 0"):
        Inference(devices=0)


# Scenarios ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Inference, Training])
@pytest.mark.parametrize(
    ("batch", "error", "text"),
    [
        (0, InvalidValueError, r"batch is out of range: got 0, expected an int from 1 to 2147483647"),
        (-1, InvalidValueError, r"batch is out of range: got -1"),
        (2**70, InvalidValueError, r"batch is out of range: got 1180591620717411303424"),
        (1.5, InvalidTypeError, r"batch must be an int: got 1\.5 \(float\)"),
        (True, InvalidTypeError, r"batch must be an int: got True \(bool\)"),
        ("8", InvalidTypeError, r"batch must be an int: got '8' \(str\)"),
        (float("nan"), InvalidTypeError, r"batch must be an int: got nan"),
        (None, InvalidTypeError, r"batch must be an int: got None"),
    ],
)
def test_bad_batches(kind: Any, batch: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=kind.__name__ + r"\." + text):
        kind(batch)


def test_numpy_ints_are_ints() -> None:
    assert type(Inference(np.int64(5)).batch) is int  # type: ignore[arg-type]
    assert Inference(np.int64(5)) == Inference(5)  # type: ignore[arg-type]


def test_scenarios_refuse_policies_that_do_not_serve_them() -> None:
    with pytest.raises(
        InvalidValueError, match=r"Training cannot use this policy: got FreeAfterUse\(\), .*KeepAll\(\)"
    ):
        Training(retention=FreeAfterUse())
    with pytest.raises(
        InvalidValueError, match=r"Inference cannot use this policy: got KeepAll\(\), .*FreeAfterUse\(\)"
    ):
        Inference(retention=KeepAll())
    assert Inference(retention=KeepAll(gradients=False)).retention == KeepAll(gradients=False)
    assert Training(retention=KeepAll(gradients=False)) != Training()
    with pytest.raises(
        InvalidTypeError, match=r"Training\.retention must be a Retention: .*; call it: KeepAll\(\.\.\.\)"
    ):
        Training(retention=KeepAll)  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError, match=r"Inference\.precision must be a Precision: got 16"):
        Inference(precision=16)  # type: ignore[arg-type]
    assert Inference(precision="fp16").precision == FP16
    with pytest.raises(UnknownNameError, match=r"no precision has this name: got 'pf16'.*did you mean 'FP16'"):
        Inference(precision="pf16")
    with pytest.raises(InvalidTypeError, match=r"KeepAll\.gradients must be a bool: got 1"):
        KeepAll(gradients=1)  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError, match=r"FreeAfterUse\.hold_input must be a bool: got None"):
        FreeAfterUse(hold_input=None)  # type: ignore[arg-type]


def test_bad_scenarios_of_a_profile() -> None:
    with pytest.raises(InvalidTypeError, match=r"profile\(\) needs a scenario: .*; call it: Inference\(\)"):
        TEXTBOOK.profile(Inference)  # type: ignore[arg-type]
    for bad in ("training", None, int):
        with pytest.raises(InvalidTypeError, match=r"profile\(\) needs a scenario: .*Training\(batch=32\)$"):
            TEXTBOOK.profile(bad)  # type: ignore[arg-type]
    with pytest.raises(
        InvalidTypeError, match=r"Scenario is a base, no scenario: expected Inference\(\.\.\.\) or Training"
    ):
        Scenario(retention=KeepAll())
    with pytest.raises(InvalidTypeError, match=r"profile\(\) takes a network: .*a Net has \.network"):
        profile(TEXTBOOK, Inference())  # type: ignore[arg-type]


def test_a_foreign_scenario() -> None:
    @attrs.frozen
    class Evaluation(Scenario):
        trains: ClassVar[bool] = False

    found = profile(TEXTBOOK.network, Evaluation(2, retention=FreeAfterUse()))
    assert found.peak == 3_613_600 + 2 * 9_000_000


def test_variants_of_a_scenario() -> None:
    assert Training(50).evolve(batch=32) == Training(32)
    assert Training(50).evolve(retention=KeepAll(gradients=False)).batch == 50
    assert profile(TEXTBOOK.costs(), Inference()) == TEXTBOOK.profile(Inference())


# Schedules ----------------------------------------------------------------------------------------------------------


def builder(*steps: tuple[list[int], list[int]], persistent: bool = False) -> Schedule:
    made = ScheduleBuilder(FP32)
    made.add("a", TensorSpec((2,)), persistent=persistent)
    made.add_fixed("b", (3,), Role.WORKSPACE)
    for reads, writes in steps:
        made.step(Phase.FORWARD, "node", reads, writes)
    return made.build()


def test_lifetimes_by_hand() -> None:
    found = liveness(builder(([], [0]), ([0], [1]), ([], []), ([1], [])))
    assert (found.births, found.deaths) == ((0, 1), (2, 4))
    assert found.live_bytes(batch=10) == [80, 80 + 12, 12, 12]
    assert found.live_bytes_of(frozenset({Role.WORKSPACE}), 10) == [0, 12, 12, 12]
    assert found.activation_bytes(10) == [80, 92, 12, 12]  # a workspace is counted with what samples need
    assert found.bits == ((0, 64), (96, 64), (96, 0), (96, 0))
    held = liveness(builder(([], [0]), ([0], [1]), ([], [])).hold("b"))
    assert held.deaths == (2, 3)
    kept = liveness(builder(([], [1]), ([0], []), persistent=True))
    assert (kept.births, kept.deaths) == ((0, 0), (2, 1))


def test_a_storage_that_is_written_again_lives_on() -> None:
    assert liveness(builder(([], [0, 1]), ([], []), ([], [0]))).deaths == (3, 1)


def test_impossible_schedules() -> None:
    with pytest.raises(
        ConformanceError, match=r"reads a storage that nothing has written yet \(at step 1, forward of node\): got 'b'"
    ):
        liveness(builder(([], [0]), ([1], [0])))
    with pytest.raises(ConformanceError, match=r"a storage is never written: got 'b', expected a step that writes it"):
        liveness(builder(([], [0])))
    with pytest.raises(ConformanceError, match=r"a schedule has no steps; call ScheduleBuilder\.step\(\)"):
        builder()
    with pytest.raises(UnknownNameError, match=r"no storage has this name: got 'c'; .*Known: 'a', 'b'"):
        builder(([], [0, 1])).hold("c")


def test_a_role_other_than_the_specs_decides_the_dtype() -> None:
    made = ScheduleBuilder(FP16)
    mask = TensorSpec((3,), Role.EXTRA, INT4)
    made.add("own", mask)
    made.add("other", mask, Role.BUFFER)
    made.step(Phase.LOAD, writes=[0, 1])
    own, other = made.build().storages
    assert (own.role, own.dtype.name, own.byte_count(1)) == (Role.EXTRA, "int4", 2)
    assert (other.role, other.dtype.name, other.byte_count(1)) == (Role.BUFFER, "float32", 12)
    assert own.footprint.at(5) == 15


@attrs.frozen(repr=False)
class Keeps(Backprop):
    what: Any

    def keeps(self, cost: Any, *, needs: tuple[bool, ...], trains: bool) -> Any:
        return self.what


@pytest.mark.parametrize("what", ["everything", Saved((1,)), Saved((-1,))])
def test_a_policy_that_keeps_nonsense(what: Any) -> None:
    with pytest.raises(
        ConformanceError, match=r"Keeps keeps an input that the layer does not have.*\(at node 'relu'\)"
    ):
        Net.input(3).then(ReLU()).profile(Training(retention=Keeps(what)))


def test_policies_are_values() -> None:
    policies: list[Retention] = [KeepAll(), KeepAll(gradients=False), FreeAfterUse(), FreeAfterUse(hold_input=True)]
    assert [repr(policy) for policy in policies] == [
        "KeepAll()",
        "KeepAll(gradients=False)",
        "FreeAfterUse()",
        "FreeAfterUse(hold_input=True)",
    ]
    assert len({*policies, *map(attrs.evolve, policies)}) == 4
    assert str(Phase.BACKWARD) == "backward"


def test_the_timeline_as_rows() -> None:
    rows = Net.input(1, 4).then(Conv(2, 1)).profile(Training(batch=3)).timeline.rows()
    assert [row["label"] for row in rows] == ["load", "forward of conv", "loss", "backward of conv", "update"]
    assert rows[1] == {
        "step": 1,
        "label": "forward of conv",
        "live": 4 * (12 + 24 + 4),
        "parameter": 16,
        "activation": 144,
        "activation gradient": 0,
        "parameter gradient": 0,
    }


def test_a_learned_scale_widens_mixed_precision() -> None:
    net = Net.input(2, 4).then(Conv(2, 1), Scale())
    storages = net.profile(Inference(precision="amp_fp16")).lifetimes.schedule.storages
    widths = {storage.name: storage.dtype.name for storage in storages}
    assert (widths["conv"], widths["scale"]) == ("float16", "float32")
    assert not any(name.startswith("scale.cast") for name in widths)


def test_the_activation_peak_is_not_the_optimizers() -> None:
    net = Net.input(100).then(Linear(100, bias=False))
    scenario = Training(1, optimizer=Adam(implementation="loop"))
    # Input, output and the output's gradient, 100 numbers each; the update's temporaries are 10,000 and more.
    assert net.profile(scenario).activation_peak == 4 * 300


def test_the_gradient_of_a_view_stays_a_view() -> None:
    # Half of a concatenation's gradient reaches the value through an identity: autograd cannot add into it (measured with a hook in
    # PyTorch 2.13: the sum has a storage of its own).
    net = Net.input(2, 8).then(Conv(2, 1)).branch(Conv(2, 1), Identity(), merge=Concat())
    steps = [str(step) for step in net.profile(Training(1, retention=Autograd())).steps]
    assert "accumulate of conv2" in steps


@pytest.mark.parametrize("frames", ["ideal", "eager"])
def test_a_loss_where_nothing_trains_has_no_backward_steps(frames: str) -> None:
    net = Net.input(4, 2).then(ReLU())
    found = net.profile(Training(1, retention=Autograd(), loss="cross_entropy", frames=frames))
    assert [step.phase.value for step in found.steps] == ["load", "forward", "loss", "loss", "update"]
    assert found.retained == 0
