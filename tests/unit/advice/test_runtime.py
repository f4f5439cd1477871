"""Remedies of run time: each is pure, does what it says, and is refused where it cannot be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnbudget import (
    SGD,
    Accumulate,
    Adam,
    Adam8bit,
    Autograd,
    BatchNorm,
    Conv,
    Flatten,
    FreezeFirst,
    Inference,
    InPlaceActivations,
    InvalidTypeError,
    InvalidValueError,
    KeepAll,
    LighterOptimizer,
    Linear,
    Net,
    Recompute,
    ReLU,
    Sigmoid,
    Training,
    UnknownNameError,
    profile,
)
from cnnbudget.advice.runtime import in_place_nodes, training_nodes

NET = Net.input(3, 16, 16).then(
    Conv(8, 3, padding=1), ReLU(), Conv(8, 3, padding=1), Sigmoid(), ReLU(), Flatten(), Linear(10)
)
NETWORK = NET.network
ADAM = Training(12, retention=Autograd(), optimizer="adam")
REMEDIES = [
    Accumulate(3),
    LighterOptimizer("sgd"),
    FreezeFirst(2),
    InPlaceActivations(["relu"]),
    Recompute(KeepAll(gradients=False)),
]


@pytest.mark.parametrize("remedy", REMEDIES, ids=repr)
def test_applying_leaves_the_input_alone_and_lowers_the_peak(remedy):
    before = (hash(NETWORK), repr(NETWORK), repr(ADAM))
    network, scenario = remedy.apply(NETWORK, ADAM)
    assert (hash(NETWORK), repr(NETWORK), repr(ADAM)) == before
    if not isinstance(remedy, InPlaceActivations):  # here the peak is in backward, where ReLU keeps its output anyway
        assert profile(network, scenario).peak < profile(NETWORK, ADAM).peak
    assert hash(scenario) == hash(remedy.apply(NETWORK, ADAM)[1])
    assert (network, scenario) == remedy.apply(NETWORK, ADAM)


def test_what_they_say():
    assert [remedy.describe(NETWORK, ADAM) for remedy in REMEDIES] == [
        "batch 12 in 3 parts, at most 4 samples each",
        "Adam() -> SGD()",
        "the first 2 of 3 layers with parameters, up to conv2",
        "relu in place",
        "Autograd() -> KeepAll(gradients=False)",
    ]
    assert InPlaceActivations(list("abcd")).describe(NETWORK, ADAM) == "4 activations in place"
    assert LighterOptimizer("sgd").describe(NETWORK, Inference()) == "no optimizer -> SGD()"
    assert [remedy.warnings(NETWORK, ADAM) for remedy in REMEDIES] == [
        ("3 passes an update",),
        ("other updates",),
        ("the frozen layers must be trained already",),
        (),
        (),
    ]


def test_parts_and_repetitions_change_training_only_with_batch_norm():
    normed = Net.input(3, 8, 8).then(Conv(4, 3), BatchNorm()).network
    assert not Accumulate(2).changes_training(NETWORK, ADAM)
    assert Accumulate(2).changes_training(normed, ADAM)
    assert Accumulate(2).warnings(normed, ADAM) == ("2 passes an update", "batch-norm statistics of each part alone")
    again = Recompute(KeepAll())
    assert not again.changes_training(NETWORK, ADAM)
    assert again.changes_training(normed, ADAM)
    assert again.warnings(normed, ADAM) == ("batch norm that runs twice updates its running statistics twice",)


def test_what_each_changes_for_the_user():
    told = [(remedy.changes_results(NETWORK, ADAM), remedy.changes_training(NETWORK, ADAM)) for remedy in REMEDIES]
    assert told == [(False, False), (False, True), (False, True), (False, False), (False, False)]


def test_a_lighter_optimizer_saves_its_state():
    # Parameters: 8*3*9 + 8, 8*8*9 + 8, 10*2048 + 10; Adam keeps two float32 numbers for each, SGD none.
    parameters = 224 + 584 + 20490
    fixed = [
        profile(NETWORK, ADAM.evolve(optimizer=kind, retention=KeepAll())).fixed
        for kind in (Adam(count_steps=False), SGD())
    ]
    assert fixed[0] - fixed[1] == 2 * 4 * parameters
    assert LighterOptimizer(Adam8bit()).apply(NETWORK, ADAM)[1].optimizer == Adam8bit()


def test_freezing_adds_to_what_is_frozen():
    assert training_nodes(NETWORK, ADAM) == ["conv", "conv2", "linear"]
    for frozen in ("conv", ("conv",), lambda node: node.name == "conv"):
        scenario = ADAM.evolve(frozen=frozen)
        assert training_nodes(NETWORK, scenario) == ["conv2", "linear"]
        changed = FreezeFirst(1).apply(NETWORK, scenario)[1]
        assert changed.frozen_nodes(NETWORK) == {"conv", "conv2"}
    assert FreezeFirst(2).magnitude(NETWORK) == 2


def test_in_place_means_what_the_layers_say():
    network, _ = InPlaceActivations("relu").apply(NETWORK, ADAM)
    assert network["relu"].layer == ReLU(inplace=True)
    assert network["relu2"].layer == ReLU()
    assert InPlaceActivations("relu").magnitude(NETWORK) == 0


def test_nodes_that_can_work_in_place():
    # backward of the sigmoid needs its output, which the second ReLU would overwrite
    assert in_place_nodes(NETWORK, ADAM) == ("relu",)
    assert in_place_nodes(NETWORK, Inference()) == ("relu", "relu2")
    assert in_place_nodes(NETWORK, Inference(), but=["relu"]) == ("relu2",)
    assert in_place_nodes(Net.input(3, 8, 8).then(Conv(4, 3)).network, ADAM) == ()


@given(st.lists(st.sampled_from([ReLU(), Sigmoid(), Conv(4, 3, padding=1)]), min_size=1, max_size=8), st.booleans())
def test_the_nodes_found_are_legal_together_and_no_other_can_join_them(layers, trains):
    network = Net.input(4, 6, 6).then(*layers).network
    scenario = Training(2, retention=Autograd()) if trains else Inference(2)
    found = in_place_nodes(network, scenario)
    before = profile(network, scenario).peak
    if found:
        assert profile(*InPlaceActivations(found).apply(network, scenario)).peak <= before
    for node in network.nodes:
        if isinstance(node.layer, ReLU) and node.name not in found:
            with pytest.raises(ValueError, match="overwrite"):
                profile(*InPlaceActivations((*found, node.name)).apply(network, scenario))


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: Accumulate(1), InvalidValueError, "Accumulate.parts is out of range: got 1"),
        (lambda: FreezeFirst(0), InvalidValueError, "FreezeFirst.count is out of range: got 0"),
        (lambda: LighterOptimizer("sdg"), InvalidValueError, "did you mean 'sgd'"),
        (lambda: LighterOptimizer(SGD), InvalidTypeError, r"call it: SGD\("),
        (lambda: InPlaceActivations(()), InvalidTypeError, "must be names of nodes: got ()"),
        (lambda: InPlaceActivations(3), InvalidTypeError, "must be names of nodes: got 3"),
        (lambda: InPlaceActivations([3]), InvalidTypeError, "a name in InPlaceActivations.nodes must be a str"),
        (lambda: InPlaceActivations("rleu").apply(NETWORK, ADAM), UnknownNameError, "did you mean 'relu'"),
        (
            lambda: InPlaceActivations("conv").apply(NETWORK, ADAM),
            InvalidValueError,
            r"no in-place variant \(at node 'conv'\)",
        ),
        (lambda: Recompute("sqrt"), InvalidTypeError, "Recompute.policy must be a Retention: got 'sqrt'"),
        (lambda: Recompute(KeepAll()).apply(NETWORK, Inference()), InvalidValueError, "is a remedy for training"),
        (lambda: Accumulate(2).apply(NETWORK, Inference()), InvalidValueError, "Accumulate is a remedy for training"),
        (lambda: LighterOptimizer("sgd").apply(NETWORK, Inference()), InvalidValueError, "is a remedy for training"),
        (lambda: FreezeFirst(1).apply(NETWORK, Inference()), InvalidValueError, "FreezeFirst is a remedy for training"),
        (lambda: Accumulate(13).apply(NETWORK, ADAM), InvalidValueError, "more parts than samples"),
        (
            lambda: FreezeFirst(3).apply(NETWORK, ADAM),
            InvalidValueError,
            "leaves nothing to train: got 3, expected less than 3",
        ),
    ],
)
def test_bad_remedies(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_in_place_lowers_the_peak_where_two_maps_meet():
    # the input and one map of 8 x 16 x 16 numbers, instead of two such maps
    network = Net.input(3, 16, 16).then(Conv(8, 3, padding=1), ReLU()).network
    before, after = profile(network, Inference()), profile(*InPlaceActivations("relu").apply(network, Inference()))
    parameters = 4 * (8 * 3 * 9 + 8)
    assert before.peak == 4 * 2 * 8 * 256 + parameters
    assert after.peak == 4 * (3 + 8) * 256 + parameters
