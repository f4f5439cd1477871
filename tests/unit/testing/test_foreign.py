"""A package outside cnnbudget extends it with public names only, and its mistakes are loud."""

import re
from pathlib import Path

import acme_layers
import pytest
from acme_layers import Add, ChannelScale, Depth, DepthToSpace, Describe, Forgetful, ForwardTwice, KeepSaved, WideConv

import cnnbudget
from cnnbudget import (
    ConformanceError,
    Conv,
    FreeAfterUse,
    Inference,
    Input,
    KeepAll,
    MissingRuleError,
    Net,
    Network,
    Node,
    ReLU,
    Training,
    walk,
)
from cnnbudget.testing import check_layer, check_policy


def test_it_uses_public_names_only() -> None:
    sources = list(Path(acme_layers.__file__).parent.glob("*.py"))
    assert len(sources) >= 4
    for source in sources:
        text = source.read_text()
        assert not re.search(r"cnnbudget\.[a-z_]+ import|import cnnbudget\.", text), source
        for names in re.findall(r"from cnnbudget import ([^\n]+)", text):
            assert {name.strip() for name in names.split(",")} <= {*cnnbudget.__all__}


@pytest.mark.parametrize(
    ("layer", "shapes"),
    [
        (ChannelScale(), [(8, 5, 5)]),
        (ChannelScale(2), [(8,)]),
        (DepthToSpace(), [(8, 5, 5)]),
        (Add(), [(3, 4), (3, 4)]),
        (Add(), [(3, 4)]),
        (Add(inplace=True), [(3, 4), (3, 4), (3, 4)]),
        (acme_layers.Conv(), [(3, 4)]),
        (WideConv(6, 3, padding="same"), [(3, 4)]),
    ],
)
def test_good_layers_conform(layer: cnnbudget.Layer, shapes: list[tuple[int, ...]]) -> None:
    check_layer(layer, *shapes)


@pytest.mark.parametrize("policy", [KeepSaved(), ForwardTwice(), ForwardTwice(hold_all=True)])
def test_good_policies_conform(policy: cnnbudget.Retention) -> None:
    check_policy(policy)


def test_foreign_layers_are_counted_like_our_own() -> None:
    net = Net.input(3, 4, 4).then(Conv(8, 1), ChannelScale(), DepthToSpace())
    assert net.output_shape == (2, 8, 8)
    # Conv: 8 * 3 + 8 = 32. ChannelScale: 2 * 8 down, 8 * 2 up.
    assert net.parameter_count == 32 + 16 + 16
    # Conv: 16 positions * 24 weights; ChannelScale: one per weight.
    assert net.mac_count == 16 * 24 + 32
    assert [node.name for node in net.network.nodes] == ["conv", "channel_scale", "d2s"]
    # conv to channel_scale: 8 * 4 * 4 numbers in and out, four bytes each; d2s the same: 2 * 8 * 8.
    assert net.profile(Inference()).activation_peak == 2 * 128 * 4
    factors = [each for each in net.profile(Training()).lifetimes.schedule.storages if each.name.endswith("factors")]
    assert [(each.shape, each.role) for each in factors] == [((8,), cnnbudget.Role.EXTRA)]


def test_a_foreign_visitor_meets_built_in_and_own_layers() -> None:
    net = Net.input(3, 8, 8).then(Conv(8, 1), ReLU(), ChannelScale(), WideConv(8, 3))
    assert walk(net.network, Depth()) == {"input": 0, "conv": 1, "relu": 1, "channel_scale": 3, "wide_conv": 4}


def test_classes_decide_and_not_their_names() -> None:
    net = Net.input(3, 8, 8).then(Conv(8, 1), acme_layers.Conv(), WideConv(8, 3))
    assert walk(net.network, Describe()) == {
        "input": "source",
        "conv": "convolution",
        "conv2": "other",  # foreign, and called Conv
        "wide_conv": "convolution",  # a subclass of ours
    }


def test_keeping_the_saved_set_takes_less_than_keeping_all() -> None:
    # Per sample: x 1*4 = 4 numbers, conv 2*4 = 8, relu 8, conv2 1*4 = 4. Weights: conv 2+2, conv2 2+1.
    net = Net.input(1, 4).then(Conv(2, 1), ReLU(), Conv(1, 1))
    keep_all = net.profile(Training(retention=KeepAll()))
    keep_saved = net.profile(Training(retention=KeepSaved()))
    labels = [str(step) for step in keep_saved.lifetimes.schedule.steps]
    # Weights are 7 numbers at every step. KeepSaved: conv dies after forward of relu, conv2 after the loss.
    expected = {
        "load": 7 + 4,
        "forward of conv": 7 + 4 + 8,
        "forward of relu": 7 + 4 + 8 + 8,
        "forward of conv2": 7 + 4 + 8 + 4,
        "loss": 7 + 4 + 8 + 4 + 4,
        "backward of conv2": 7 + 4 + 8 + 4 + 8 + 3,  # relu, conv2's gradient, relu's gradient, two weights and a bias
        "backward of relu": 7 + 4 + 8 + 8 + 8 + 3,  # relu, the gradients of relu and conv
        "backward of conv": 7 + 4 + 8 + 3 + 4,  # x, conv's gradient, all gradients of weights
        "update": 7 + 7,
    }
    assert dict(zip(labels, keep_saved.live_bytes, strict=True)) == {key: 4 * n for key, n in expected.items()}
    # KeepAll: conv lives to its backward step, too: 8 more in backward of relu, where it peaks.
    assert keep_saved.peak == 4 * 38
    assert keep_all.peak == 4 * 46


def test_a_foreign_policy_schedules_itself() -> None:
    net = Net.input(1, 4).then(Conv(2, 1), Conv(1, 1))
    found = net.profile(Inference(retention=ForwardTwice()))
    assert len(found.lifetimes.schedule.steps) == 1 + 2 + 2
    # The input is read again, so all three values live together: 4 + 8 + 4, and 4 + 3 weights.
    assert found.peak == 4 * (16 + 7)
    assert net.profile(Inference()).peak == 4 * (4 + 8 + 7)
    assert "ForwardTwice()" in str(found)


def test_a_forgetful_layer_is_unknown_and_not_free() -> None:
    net = Net.input(3, 8, 8).then(Conv(4, 3), Forgetful())
    implement = r"implement Forgetful\.parameters\(\) \(return an empty mapping or 0 if there is nothing"
    with pytest.raises(MissingRuleError, match=implement):
        net.parameter_count
    with pytest.raises(MissingRuleError, match=r"Forgetful does not state its macs \(at node 'forgetful'"):
        net.mac_count
    with pytest.raises(MissingRuleError, match=r"Forgetful does not state its buffers .* @visits\(Forgetful\)"):
        net.buffer_count
    for scenario in (Inference(), Training()):
        with pytest.raises(MissingRuleError, match=implement):
            net.profile(scenario)
    with pytest.raises(ConformanceError, match=implement):
        check_layer(Forgetful(), (3, 8, 8))
    # What is known can still be asked.
    assert net.output_shape == (4, 6, 6)
    assert net.costs()["conv"].parameter_count == 4 * 27 + 4
    assert "?" in str(net.costs()) or "unknown" in str(net.costs())


def test_a_foreign_merge_has_branches_and_says_who_needs_what_it_overwrites() -> None:
    def network(first: str, second: str, *, inplace: bool) -> Network:
        return Network(
            [Input("x", (2, 4))],
            [
                Node("a", Conv(2, 1), ["x"]),
                Node("b", Conv(2, 1), ["a"]),
                Node("sum", Add(inplace=inplace), [first, second]),
                Node("end", Conv(1, 1), ["sum"]),
            ],
            ["end"],
        )

    # Values of 8 numbers. Weights: 6 + 6 + 6 and 3. Forward of sum: a, b and sum are alive; in place: a and b.
    weights = 2 * 6 + 3
    assert cnnbudget.profile(network("a", "b", inplace=False), Inference()).peak == 4 * (weights + 24)
    assert cnnbudget.profile(network("a", "b", inplace=True), Inference()).peak == 4 * (weights + 16)
    # In training b keeps its input a for backward; nobody keeps b.
    with pytest.raises(cnnbudget.SharedStorageError, match=r"value 'a': node 'b' keeps it for backward"):
        cnnbudget.profile(network("a", "b", inplace=True), Training())
    assert cnnbudget.profile(network("b", "a", inplace=True), Training()).peak > 0


def test_policies_without_backward_refuse_training_and_the_other_way_round() -> None:
    with pytest.raises(cnnbudget.InvalidValueError, match=r"Training cannot use this policy: got ForwardTwice\(\)"):
        Training(retention=ForwardTwice())
    with pytest.raises(cnnbudget.InvalidValueError, match=r"Inference cannot use this policy: got KeepSaved\(\)"):
        Inference(retention=KeepSaved())
    assert Inference(retention=FreeAfterUse()) == Inference()
