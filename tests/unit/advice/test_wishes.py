"""What may change and what must stay."""

import pytest
from attrs import frozen

from cnnbudget import (
    Accumulate,
    Autograd,
    BatchNorm,
    Conv,
    FewerChannels,
    Flatten,
    HalfPrecision,
    Inference,
    InPlaceActivations,
    InvalidTypeError,
    InvalidValueError,
    LargerStride,
    Linear,
    MaxPool,
    MoreDevices,
    Net,
    ReLU,
    Remedy,
    RemoveLayer,
    SmallerBatch,
    SmallerInput,
    Training,
    UnknownNameError,
    replace_layer,
)
from cnnbudget.advice.candidates import KINDS

NET = Net.input(3, 16, 16).then(
    Conv(16, 3, padding=1), ReLU(), Conv(16, 3, padding=1), BatchNorm(), ReLU(), MaxPool(4), Flatten(), Linear(10)
)
SCENARIO = Training(8, retention=Autograd(), optimizer="adam")


def kinds(**wishes):
    budget = NET.profile(SCENARIO).peak * 6 // 10
    advice = NET.fit(budget, SCENARIO, combine=1, **wishes)
    return {type(option.remedy) for option in advice.options}


def test_everything_may_change_unless_told():
    assert {SmallerBatch, MoreDevices, Accumulate, HalfPrecision, LargerStride, RemoveLayer, FewerChannels} <= kinds()


def test_categories():
    run_time, architecture = kinds(allow={"run-time"}), kinds(allow="architecture")
    assert {kind.category for kind in run_time} == {"run-time"}
    assert {kind.category for kind in architecture} == {"architecture"}
    assert kinds(allow=["run-time", "architecture"]) == run_time | architecture == kinds()
    assert kinds(allow={"run-time", LargerStride}) == run_time | {LargerStride}


def test_classes():
    assert kinds(allow={SmallerBatch, FewerChannels}) == {SmallerBatch, FewerChannels}
    assert kinds(allow=SmallerBatch) == {SmallerBatch}


def test_accuracy_neutral_means_measured_neutral():
    # batch norm sees other statistics when the batch is shared out; in place nothing changes
    assert kinds(allow={"accuracy-neutral"}) <= {InPlaceActivations}
    plain = Net.input(3, 16, 16).then(Conv(16, 3), ReLU(), Conv(16, 3))
    advice = plain.fit(plain.profile(SCENARIO).peak * 6 // 10, SCENARIO, allow="accuracy-neutral")
    assert {type(option.remedy) for option in advice.singles} == {Accumulate, MoreDevices}
    assert not any(option.price.changes_results or option.price.changes_training for option in advice.options)


@pytest.mark.parametrize(
    ("word", "gone"),
    [
        ("batch", SmallerBatch),
        ("devices", MoreDevices),
        ("precision", HalfPrecision),
        ("input", SmallerInput),
        ("accumulate", Accumulate),
    ],
)
def test_words_that_stay(word, gone):
    assert gone in kinds()
    assert kinds(keep={word}) == kinds() - {gone}


def test_what_stays_stays_in_every_option():
    budget = NET.profile(SCENARIO).peak // 3
    advice = NET.fit(budget, SCENARIO, keep={"input", "output", "optimizer", "conv2"}, tries=60)
    assert advice.options
    for option in (*advice.options, *advice.combinations):
        network, scenario = option.apply()
        assert network.network["conv2"].layer == Conv(16, 3, padding=1)
        assert network.network.inputs == NET.network.inputs
        assert network.output_shape == (10,)
        assert scenario.optimizer == SCENARIO.optimizer


def test_patterns_of_names_that_stay():
    advice = NET.fit(1000, SCENARIO, keep=["conv*", "linear"], combine=1)
    for option in advice.options:
        nodes = {node.name: node.layer for node in option.network.nodes}
        assert all(nodes[name] == NET.network[name].layer for name in ("conv", "conv2", "linear"))
    assert not any(isinstance(option.remedy, FewerChannels) for option in advice.options)


@frozen
class Narrower(Remedy):
    """A remedy that does not say what it changes."""

    cure = "narrower"
    reason = "fewer maps"
    severity = 3

    def apply(self, network, scenario):
        return replace_layer(network, "conv", Conv(2, 3, padding=1)), scenario.evolve(batch=4)

    def describe(self, network, scenario):
        return "conv: 2 maps"


@pytest.mark.parametrize(
    ("wishes", "why"),
    [
        ({"keep": "conv"}, "it changes conv"),
        ({"keep": "batch"}, "it changes the batch"),
        ({"allow": "accuracy-neutral"}, "it is not neutral"),
    ],
)
def test_what_a_remedy_does_is_measured_not_believed(wishes, why):
    advice = NET.fit(1000, SCENARIO, remedies=[Narrower()], combine=1, **wishes)
    assert f"Narrower() is left out: {why}, which was to stay." in advice.notes
    assert NET.fit(1000, SCENARIO, remedies=[Narrower()], combine=1, allow="run-time").best_of(Narrower) is not None


@pytest.mark.parametrize(
    ("wishes", "error", "text"),
    [
        ({"allow": set()}, InvalidValueError, r"allow= allows nothing: got set\(\), expected None allows everything"),
        ({"allow": "run time"}, InvalidValueError, "unknown word: got 'run time'; did you mean 'run-time'"),
        ({"allow": [3]}, InvalidTypeError, "allow= holds something else: got 3"),
        ({"allow": 3}, InvalidTypeError, "allow= must be a set: got 3"),
        ({"allow": [Conv]}, InvalidTypeError, "allow= holds something else: got <class"),
        ({"keep": 3}, InvalidTypeError, "keep= must be a set: got 3"),
        ({"keep": [3]}, InvalidTypeError, "keep= holds something else: got 3"),
        ({"keep": "bacth"}, UnknownNameError, "neither a node nor a word: got 'bacth'; did you mean 'batch'"),
        ({"keep": "cnov2"}, UnknownNameError, "did you mean 'conv2'"),
        (
            {"allow": SmallerBatch, "keep": "batch"},
            InvalidValueError,
            "exclude each other: got SmallerBatch changes the batch, which is to stay",
        ),
        (
            {"allow": [HalfPrecision, "accuracy-neutral"]},
            InvalidValueError,
            "contradicts itself: got HalfPrecision is not accuracy-neutral",
        ),
        ({"allow": ["architecture", "accuracy-neutral"]}, InvalidValueError, "no remedy is left: got allow="),
    ],
)
@pytest.mark.parametrize("budget", ["1 GiB", 1000])
def test_wishes_that_cannot_be(wishes, error, text, budget):
    with pytest.raises(error, match=text):
        NET.fit(budget, SCENARIO, **wishes)


def test_every_kind_says_what_it_is():
    for kind in KINDS:
        assert kind.category in {"run-time", "architecture"}
        assert 0 <= kind.severity <= 3
        assert kind.cure
        assert kind.reason
    assert not any(kind.category == "architecture" and kind.severity < 3 for kind in KINDS)


def test_an_inference_has_neither_optimizer_nor_gradients_to_change():
    advice = NET.fit(1000, Inference(8), combine=1, keep="optimizer")
    assert {type(option.remedy) for option in advice.options}.isdisjoint({Accumulate})


def test_where_nothing_is_left_to_change_the_verdict_says_so():
    """Smaller batches are run-time, but change a training; so the two wishes leave nothing."""
    advice = NET.fit(1000, SCENARIO, allow={SmallerBatch, "accuracy-neutral"})
    assert advice.options == advice.combinations == ()
    assert "none of those that allow= and keep= leave can be applied here by itself" in advice.verdict
