"""Pipelines: where a network is cut, and what every device then holds."""

import pytest

from cnnbudget import (
    Autograd,
    Conv,
    DataParallel,
    Inference,
    Input,
    InvalidTypeError,
    InvalidValueError,
    Net,
    Network,
    Node,
    Tanh,
    Training,
    pipeline,
    zoo,
)

# Four stages of a convolution and a Tanh on 4 maps of 100 values: a value is 1,600 bytes a sample, a weight 64 bytes.
NET = Net.input(4, 10, 10)
for _ in range(4):
    NET = NET.then(Conv(4, 1, bias=False), Tanh())


def test_two_devices_share_a_chain() -> None:
    found = pipeline(NET.network, Training(8), 2, microbatches=4, schedule="gpipe")
    # Every cut sends one value of each micro-batch of two samples forward, and its gradient back.
    assert found.traffic == 2 * 4 * 2 * 1600
    assert [stage.in_flight for stage in found.stages] == [4, 4]
    first = pipeline(NET.network, Training(8), 2, microbatches=4)
    assert [stage.in_flight for stage in first.stages] == [2, 1]
    assert first.peak < found.peak
    assert first.stages[0].first == "conv"
    assert first.stages[-1].last == "tanh4"


def test_one_device_holds_no_less_than_the_network_needs() -> None:
    for net in (NET, zoo.resnet18(input_shape=(3, 64, 64)), zoo.googlenet(aux_logits=False, input_shape=(3, 64, 64))):
        scenario = Training(4, retention=Autograd(), optimizer="adam", loss="mse")
        model = pipeline(net.costs(), scenario, 1, microbatches=1)
        real = net.profile(scenario.evolve(optimizer="sgd")).peak
        assert model.peak >= real
        assert model.traffic == 0


def test_targets_lie_on_the_last_device() -> None:
    # A target of the mean squared error is as large as the output: 50 maps of 64 values for each of 4 samples.
    wide = Net.input(1, 8, 8).then(Conv(50, 1))
    scenario = Training(4, retention=Autograd(), loss="mse")
    found = pipeline(wide.network, scenario, 1, microbatches=1).peak
    assert found >= wide.profile(scenario).peak
    # However small the micro-batches, the output, its gradient and the targets of the whole batch are there.
    assert pipeline(wide.network, scenario, 1, microbatches=4).peak >= 4 * (50 * 64) * 4 + 2 * 4 * (50 * 64)


def test_every_device_has_the_parameters_that_its_nodes_share() -> None:
    def made(*, shared: bool) -> Network:
        nodes = [Node("first", Conv(50, 3, padding=1), ["x"]), Node("act", Tanh(), ["first"])]
        nodes += [Node("second", Conv(50, 3, padding=1), ["act"], shares="first" if shared else None)]
        return Network([Input("x", (50, 2, 2))], nodes, ["second"])

    apart, shared = (pipeline(made(shared=each), Training(2), 2, microbatches=2) for each in (False, True))
    weights = 4 * (50 * 50 * 9 + 50)
    for profile in (apart, shared):  # a parameter and its gradient
        assert all(stage.peak >= 2 * weights for stage in profile.stages)


def test_more_devices_never_hold_more() -> None:
    net = zoo.resnet50(input_shape=(3, 64, 64))
    peaks = [
        pipeline(net.network, Training(16), count, microbatches=4, schedule="gpipe").peak for count in (1, 2, 3, 4)
    ]
    assert peaks == sorted(peaks, reverse=True)


def test_replicas_of_a_pipeline() -> None:
    alone = pipeline(NET.network, Training(8, optimizer="adam"), 2, microbatches=4)
    mesh = pipeline(NET.network, Training(16, optimizer="adam", devices=2), 2, microbatches=4)
    assert mesh.stages == alone.stages
    assert mesh.traffic == alone.traffic
    assert (alone.replicas, alone.reduced, mesh.replicas) == (1, 0, 2)
    # Every device has two weights of 16 elements; a ring of two sends half of the gradients twice: reduced, then gathered.
    assert mesh.reduced == 2 * 2 * 32
    assert str(mesh).startswith("2 replicas of a pipeline of 2 devices, 4 micro-batches, 1f1b: ")
    assert str(mesh).splitlines()[0].endswith("128 B go to the other replicas.")
    # Adam's two moments of 4 bytes an element are halved, for each of two weights.
    shared = pipeline(NET.network, Training(16, optimizer="adam", devices=DataParallel(2, zero=1)), 2, microbatches=4)
    assert alone.peak - shared.peak == 2 * 16 * 2 * 4 // 2
    with pytest.raises(InvalidValueError, match="share out the optimizer's state at most"):
        pipeline(NET.network, Training(16, devices=DataParallel(2, zero=2)), 2, microbatches=4)


def test_what_it_prints() -> None:
    found = pipeline(NET.network, Training(8), 2, microbatches=4)
    lines = str(found).splitlines()
    assert lines[0].startswith("Pipeline of 2 devices, 4 micro-batches, 1f1b: the fullest holds ")
    assert len(lines) == 5
    assert [row["device"] for row in found.rows()] == [0, 1]
    assert "<table" in found._repr_html_()


def test_bad_pipelines() -> None:
    with pytest.raises(InvalidTypeError, match=r"pipeline\(\) needs a training: got Inference"):
        pipeline(NET.network, Inference(), 2, microbatches=1)  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError, match=r"pipeline\(\) takes a network"):
        pipeline(NET, Training(), 2, microbatches=1)  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="there are more micro-batches than samples"):
        pipeline(NET.network, Training(2), 2, microbatches=3)
    with pytest.raises(InvalidValueError, match="there are more devices than layers"):
        pipeline(NET.network, Training(2), 20, microbatches=2)
    with pytest.raises(InvalidValueError, match=r"schedule.*did you mean 'gpipe'"):
        pipeline(NET.network, Training(2), 2, microbatches=2, schedule="gpip")
