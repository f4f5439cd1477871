"""Blocks and repetitions: values, names, limits."""

import pickle

import pytest

from cnnbudget import (
    BatchNorm,
    Block,
    Conv,
    Dropout,
    Input,
    InvalidTypeError,
    InvalidValueError,
    Net,
    Network,
    Node,
    ReLU,
    Repeat,
)
from cnnbudget.graph.build import build
from cnnbudget.graph.naming import Namer
from cnnbudget.graph.structure import MOST_LAYERS, MOST_LEVELS

UNIT = Block(Conv(3, 1), ReLU())


def names(*parts: object) -> list[str]:
    return [node.name for node in Net.input(3, 4).then(*parts).network.nodes]  # type: ignore[arg-type]


def test_blocks_without_a_name_are_written_out() -> None:
    assert Block(Conv(3, 1), Block(ReLU(), Block(Dropout()))) == Block(Conv(3, 1), ReLU(), Dropout())
    assert Block(Conv(3, 1), Block(ReLU(), name="x")) != Block(Conv(3, 1), ReLU())
    assert hash(Block(Conv(3, 1), Block(ReLU()))) == hash(UNIT)
    assert Block(ReLU(), name="a") != Block(ReLU(), name="b")


def test_verbs_return_longer_blocks() -> None:
    block = Block(Conv(3, 1), name="unit")
    longer = block.then(ReLU()).repeat(Dropout(), 2)
    assert longer == Block(Conv(3, 1), ReLU(), Repeat(Dropout(), 2), name="unit")
    assert block == Block(Conv(3, 1), name="unit")
    assert block.then(ReLU(), name="tail") == Block(Conv(3, 1), Block(ReLU(), name="tail"), name="unit")
    assert longer.layer_count == 4


def test_names_follow_the_scopes() -> None:
    assert names(UNIT, UNIT) == ["conv", "relu", "conv2", "relu2"]
    assert names(Block(UNIT, Block(UNIT, name="in"), name="out")) == [
        "out/conv",
        "out/relu",
        "out/in/conv",
        "out/in/relu",
    ]
    assert names(Block(ReLU(), name="stem"), Block(ReLU(), name="stem")) == ["stem/relu", "stem2/relu"]
    assert names(Repeat(ReLU(), 2), ReLU()) == ["relu", "relu2", "relu3"]
    assert names(Repeat(UNIT, 2, name="stage"), Repeat(ReLU(), 1, name="stage")) == [
        *("stage.0/conv", "stage.0/relu", "stage.1/conv", "stage.1/relu"),
        "stage.0_2/relu",  # a number after a digit is set apart
    ]
    assert names(Repeat(Block(ReLU(), name="b"), 2, name="s")) == ["s.0/b/relu", "s.1/b/relu"]


def test_a_namer_skips_names_that_are_taken() -> None:
    namer = Namer(["conv2"])
    assert [namer.fresh("conv") for _ in range(3)] == ["conv", "conv3", "conv4"]
    assert namer.fresh("conv2") == "conv2_2"
    assert names(Block(ReLU(), name="relu2"), ReLU(), ReLU()) == ["relu2/relu", "relu", "relu3"]


def test_repr_is_what_one_writes() -> None:
    block = Block(Conv(3, 1), Repeat(Block(ReLU(), name="r"), 2, name="s"), name="b")
    assert repr(block) == "Block(Conv(3, 1), Repeat(Block(ReLU(), name='r'), 2, name='s'), name='b')"
    assert repr(Repeat(ReLU(), 3)) == "Repeat(Block(ReLU()), 3)"
    assert eval(repr(block)) == block


def test_hashes_are_computed_once_and_survive_pickling() -> None:
    block = Block(UNIT, Repeat(UNIT, 3), name="x")
    assert hash(block) == hash(block) == hash(pickle.loads(pickle.dumps(block)))
    assert len({block, eval(repr(block)), Repeat(UNIT, 3), Repeat(UNIT, 3), Repeat(UNIT, 4)}) == 3


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: Block(), InvalidValueError, "Block is empty: got no layers, expected at least one layer or block"),
        (lambda: Block(ReLU), InvalidTypeError, r"Block takes layers and blocks: got <class .*ReLU'>.*call it: ReLU\("),
        (lambda: Block([ReLU()]), InvalidTypeError, r"got \[ReLU\(\)\], .*; unpack it: \*layers"),
        (lambda: Block(ReLU(), "relu"), InvalidTypeError, r"got 'relu', expected for example Conv\(64, 3\), ReLU\(\)$"),
        (
            lambda: Block(ReLU(), int),
            InvalidTypeError,
            r"got <class 'int'>, expected for example Conv\(64, 3\), ReLU\(\)$",
        ),
        (lambda: Block(ReLU(), name=""), InvalidValueError, "a block's name is not usable: got ''"),
        (lambda: Block(ReLU(), name="a/"), InvalidValueError, "'/' only between the parts"),
        (lambda: Block(ReLU(), name="x" * 1001), InvalidValueError, "expected 1 to 1000 characters"),
        (
            lambda: Block(ReLU(), name=3),
            InvalidTypeError,
            "a block's name must be a str: got 3, expected .*'stem/conv'",
        ),
        (lambda: Repeat(ReLU(), 2, name="/a"), InvalidValueError, "a repetition's name is not usable: got '/a'"),
        (lambda: Repeat(ReLU(), 0), InvalidValueError, "Repeat.times is out of range: got 0, expected an int from 1"),
        (lambda: Repeat(ReLU(), True), InvalidTypeError, r"Repeat.times must be an int: got True \(bool\)"),
        (lambda: Repeat(ReLU(), 1.5), InvalidTypeError, r"Repeat.times must be an int: got 1.5 \(float\)"),
        (lambda: Repeat([ReLU()], 2), InvalidTypeError, r"unpack it: \*layers"),
        (
            lambda: Repeat(UNIT, MOST_LAYERS),
            InvalidValueError,
            "too many layers .*got 20000000, expected at most 10,000,000",
        ),
        (
            lambda: Block(*[Repeat(ReLU(), MOST_LAYERS)] * 2),
            InvalidValueError,
            "too many layers when the blocks are written out",
        ),
    ],
)
def test_bad_parts(make, error, text) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=text):
        make()


@pytest.mark.parametrize(
    ("wrap", "levels"),
    [(lambda part: Block(part, name="b"), 1), (lambda part: Repeat(part, 1), 2)],  # a repetition holds a block
)
def test_nesting_has_a_limit_that_keeps_the_stack_safe(wrap, levels) -> None:  # type: ignore[no-untyped-def]
    part = ReLU()
    for _ in range(MOST_LEVELS // levels):
        part = wrap(part)
    with pytest.raises(InvalidValueError, match=r"nested too deeply: got 10[12] levels, expected at most 100"):
        wrap(part)
    copy = pickle.loads(pickle.dumps(part))
    assert copy == part
    assert hash(copy) == hash(part)
    assert repr(copy) == repr(part)
    assert len(Net.input(3).then(part).network) == 1


def test_the_builder_needs_parts_only_behind_an_input() -> None:
    with pytest.raises(InvalidValueError, match="the network is empty: got no nodes"):
        build((Input("x", (3,)),), [])
    network = Network([Input("x", (3,))], [Node("relu", ReLU(), ["x"])], ["relu"])
    assert build(network, []) == network
    assert [node.name for node in build(network, [ReLU(), BatchNorm()]).nodes] == ["relu", "relu2", "batch_norm"]
    assert build((Input("x", (3,)),), [ReLU()]) == network
