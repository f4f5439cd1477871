"""Blocks found by their scopes: left out, repeated more often or less."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnbudget import (
    Block,
    Conv,
    InvalidValueError,
    Net,
    Network,
    ReLU,
    ShapeError,
    UnknownNameError,
    costs,
    specs,
    with_repeats,
    zoo,
)
from cnnbudget.advice.scopes import Segment, removable_scopes, repeats, scopes_of, segment, without_scope

UNIT = Block(Conv(8, 3, padding=1), ReLU())
STAGE = Net.input(8, 8, 8).repeat(UNIT, 3, name="stage").then(Conv(2, 1)).network


def test_scopes_and_their_segments():
    assert scopes_of(STAGE) == ["stage.0", "stage.1", "stage.2"]
    assert segment(STAGE, "stage.1") == Segment(
        "stage.1", ("stage.1/conv", "stage.1/relu"), "stage.0/relu", "stage.1/relu"
    )
    nested = Net.input(8, 8, 8).then(Block(UNIT, Block(ReLU(), name="inner"), name="outer")).network
    assert scopes_of(nested) == ["outer", "outer/inner"]
    assert [found.scope for found in removable_scopes(STAGE)] == ["stage.0", "stage.1", "stage.2"]


def test_the_removable_blocks_of_resnet50():
    # He et al. (2015), table 1: 3, 4, 6, 3 blocks; the first of each stage changes the shape, and the others are identities
    found = [found.scope for found in removable_scopes(zoo.resnet50().network)]
    assert found == [
        f"layer{stage}.{block}" for stage, count in ((1, 3), (2, 4), (3, 6), (4, 3)) for block in range(1, count)
    ]


@pytest.mark.parametrize("make", [zoo.mobilenet_v2, zoo.densenet121, zoo.googlenet, zoo.resnet18])
def test_blocks_found_in_one_pass_are_those_found_one_by_one(make):
    network = make().network
    known = specs(network)
    single = [segment(network, scope) for scope in scopes_of(network)]
    expected = [
        found
        for found in single
        if found is not None and len(found.nodes) > 1 and known[found.entry].shape == known[found.exit].shape
    ]
    assert sorted(removable_scopes(network), key=repr) == sorted(expected, key=repr)


def test_what_is_no_block():
    two = Network.from_nodes(
        {"x": (8, 8, 8), "y": (8, 8, 8)}, [("s/a", ReLU(), ["x"]), ("s/b", ReLU(), ["y"])], ["s/b"]
    )
    assert segment(two, "s") is None
    many = Network.from_nodes({"x": (8, 8, 8)}, [("s/a", ReLU(), ["x"]), ("s/b", ReLU(), ["s/a"])], ["s/a", "s/b"])
    assert segment(many, "s") is None
    shared = Net.input(8, 8, 8).then(UNIT, name="one", share="it").then(UNIT, name="two", share="it").network
    assert segment(shared, "one") is None, "who shares its parameters would be left without"
    assert segment(shared, "two") is not None
    assert [found.scope for found in removable_scopes(shared)] == ["two"]
    assert list(removable_scopes(many)) == []
    with pytest.raises(InvalidValueError, match=r"this scope is no block \(at scope 's'\)"):
        without_scope(two, "s")
    with pytest.raises(UnknownNameError, match=r"no nodes have this scope: got 'stage.9'; did you mean 'stage"):
        without_scope(STAGE, "stage.9")
    alone = Net.input(8, 8, 8).then(UNIT, name="all").network
    with pytest.raises(InvalidValueError, match="the only block cannot be removed"):
        without_scope(alone, "all")
    assert list(removable_scopes(alone)) == []


def test_a_block_at_the_end_hands_the_output_over():
    network = Net.input(8, 8, 8).then(ReLU()).then(UNIT, name="last").network
    assert without_scope(network, "last").outputs == ("relu",)


@given(st.integers(1, 6), st.integers(1, 8))
def test_repeats_are_what_repeat_builds(count, times):
    start = Net.input(8, 8, 8).then(Conv(8, 1), name="stem")
    built = [start.repeat(UNIT, number, name="stage").then(ReLU(), name="end").network for number in (count, times)]
    assert repeats(built[0], "stage") == count
    assert with_repeats(built[0], "stage", times) == built[1]


def test_deeper_resnets():
    # He et al. (2015): ResNet-50 and -101 differ in the third stage alone, 6 and 23 blocks
    deeper = with_repeats(zoo.resnet50().network, "layer3", 23)
    assert costs(deeper).parameter_count == costs(zoo.resnet101().network).parameter_count == 44_549_160
    assert with_repeats(deeper, "layer3", 6) == zoo.resnet50().network


def test_shared_parameters_inside_a_block_stay_inside():
    unit = Block(Block(Conv(8, 3, padding=1), share="own"), Block(Conv(8, 3, padding=1), share="own"))
    network = Net.input(8, 8, 8).then(unit, name="stage.0").network
    longer = with_repeats(network, "stage", 2)
    assert [node.shares for node in longer.nodes] == [None, "stage.0/conv", None, "stage.1/conv"]
    outside = Net.input(8, 8, 8).then(Conv(8, 3, padding=1), name="first", share="it")
    outside = outside.then(Block(Conv(8, 3, padding=1), share="it"), name="stage.0").network
    assert with_repeats(outside, "stage", 2).nodes[-1].shares == "first/conv"


def test_bad_repeats():
    with pytest.raises(
        UnknownNameError, match="no block is repeated under this name: got 'stag'; did you mean 'stage'"
    ):
        with_repeats(STAGE, "stag", 2)
    shrinking = Net.input(4, 8, 8).repeat(Block(Conv(8, 3)), 1, name="stage").network
    with pytest.raises(ShapeError, match=r"at node 'stage.3/conv'"):  # 8, 6, 4, 2 positions: too few for a window of 3
        with_repeats(shrinking, "stage", 4)
