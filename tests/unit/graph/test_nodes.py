"""Networks and nodes: structure is checked, edits return new values."""

import pickle

import numpy as np
import pytest
from acme_layers import Add

from cnnbudget import (
    BatchNorm,
    Conv,
    Input,
    InvalidTypeError,
    InvalidValueError,
    Net,
    Network,
    Node,
    ReLU,
    UnknownNameError,
    remove_node,
    replace_layer,
)

X = Input("x", (3, 8, 8))
A = Node("a", ReLU(), ["x"])
B = Node("b", ReLU(), ["a"])


def network() -> Network:
    return Network([X], [A, B, Node("sum", Add(), ["a", "b"])], ["sum"])


def test_a_network_is_a_flat_value() -> None:
    assert network() == network()
    assert hash(network()) == hash(network())
    assert pickle.loads(pickle.dumps(network())) == network()
    assert len(network()) == 3
    assert network()["sum"].inputs == ("a", "b")
    assert network().position("b") == 1
    assert Network((X,), (A,), ("a",)) == Network([X], iter([A]), ["a"])  # type: ignore[arg-type]
    assert Input("x", [np.int64(3), 8, 8]) == X  # type: ignore[arg-type]
    assert X.spec.element_count == 192


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (
            lambda: Network([], [A], ["a"]),
            InvalidValueError,
            r"the network is empty: got no inputs, expected at least one",
        ),
        (lambda: Network([X], [], ["x"]), InvalidValueError, r"got no nodes, .* add layers with \.then\(\.\.\.\)"),
        (
            lambda: Network([X], [A], []),
            InvalidValueError,
            r"the network has no outputs: got \(\), expected at least one name",
        ),
        (lambda: Network(5, [A], ["a"]), InvalidTypeError, r"Network\.inputs must be a list or tuple: got 5"),
        (lambda: Network([X], A, ["a"]), InvalidTypeError, r"Network\.nodes must be a list or tuple: got Node\("),
        (lambda: Network([X], [A], "a"), InvalidTypeError, r"Network\.outputs must be a tuple of names: got 'a'"),
        (lambda: Network([X], [A], [1]), InvalidTypeError, r"a name in Network\.outputs must be a str: got 1"),
        (
            lambda: Network([A], [A], ["a"]),
            InvalidTypeError,
            r"Network\.inputs holds something else: .*values of Input",
        ),
        (lambda: Network([X], [ReLU()], ["a"]), InvalidTypeError, r"Network\.nodes holds something else: got ReLU\(\)"),
        (
            lambda: Network([X, X], [A], ["a"]),
            InvalidValueError,
            r"a name is used twice: got 'x', expected unique names",
        ),
        (lambda: Network([X], [A, A], ["a"]), InvalidValueError, r"a name is used twice: got 'a'"),
        (lambda: Network([X], [Node("x", ReLU(), ["x"])], ["x"]), InvalidValueError, r"a name is used twice: got 'x'"),
        (
            lambda: Network([X], [Node("a", ReLU(), [])], ["a"]),
            InvalidValueError,
            r"has no inputs \(at node 'a'\): got \(\)",
        ),
        (
            lambda: Network([X], [B, A], ["a"]),
            InvalidValueError,
            r"a node reads a value before it is made \(at node 'b'\): got 'a', expected nodes in execution order, without cycles",
        ),
        (
            lambda: Network([X], [Node("a", ReLU(), ["a"])], ["a"]),
            InvalidValueError,
            r"reads a value before it is made",
        ),
        (
            lambda: Network([X], [A, Node("stem", ReLU(), ["a"]), Node("b", ReLU(), ["stme"])], ["b"]),
            UnknownNameError,
            r"value that does not exist \(at node 'b'\): got 'stme'; did you mean 'stem'\? Known: 'x', 'a', 'stem'$",
        ),
        (
            lambda: Network([X], [Node("conv", ReLU(), ["x"])], ["cony"]),
            UnknownNameError,
            r"an output names no value: got 'cony'; did you mean 'conv'\? Known: 'x', 'conv'",
        ),
        (lambda: Node("a", ReLU, ["x"]), InvalidTypeError, r"Node\.layer must be a Layer: .*; call it: ReLU\(\.\.\.\)"),
        (lambda: Node("a", ReLU(), "x"), InvalidTypeError, r"Node\.inputs must be a tuple of names: got 'x'"),
        (lambda: Node("", ReLU(), ["x"]), InvalidValueError, r"Node\.name is not usable: got ''"),
        (
            lambda: Input("x", ()),
            InvalidValueError,
            r"the input's shape is empty: got \(\), expected \(channels, \*spatial\)",
        ),
        (lambda: Input("x", (3, 0)), InvalidValueError, r"the input's shape, axis 1 is out of range: got 0"),
        (lambda: Input("x", (2**31,)), InvalidValueError, r"axis 0 is out of range: got 2147483648"),
        (lambda: Input("x", 3), InvalidTypeError, r"the input's shape must be a tuple of ints: got 3"),
        (lambda: Input(3, (3,)), InvalidTypeError, r"Input\.name must be a str: got 3"),
    ],
)
def test_bad_structure(make, error, text) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=text):
        make()


def test_unknown_names_are_guessed() -> None:
    with pytest.raises(
        UnknownNameError, match=r"no node has this name: got 'sun'; did you mean 'sum'\? Known: 'a', 'b', 'sum'"
    ):
        network()["sun"]
    for strange in (0, None, ["a"], ("a",)):
        with pytest.raises(UnknownNameError, match="no node has this name"):
            network()[strange]  # type: ignore[index]


def test_a_layer_is_replaced() -> None:
    before = network()
    after = replace_layer(before, "b", BatchNorm())
    assert after["b"] == Node("b", BatchNorm(), ["a"])
    assert [node.name for node in after.nodes] == ["a", "b", "sum"]
    assert before == network()
    assert replace_layer(after, "b", ReLU()) == before
    with pytest.raises(UnknownNameError, match="no node has this name: got 'c'"):
        replace_layer(before, "c", ReLU())
    with pytest.raises(InvalidTypeError, match=r"Node\.layer must be a Layer: got 3"):
        replace_layer(before, "b", 3)  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError, match=r"replace_layer\(\) takes a network: got .*a Net has \.network"):
        replace_layer(Net.input(3).then(ReLU()), "relu", ReLU())  # type: ignore[arg-type]


def test_a_node_is_removed_and_its_readers_read_its_input() -> None:
    assert remove_node(network(), "a") == Network(
        [X], [Node("b", ReLU(), ["x"]), Node("sum", Add(), ["x", "b"])], ["sum"]
    )
    tail = Network([X], [A, B], ["b", "a"])
    assert remove_node(tail, "b") == Network([X], [A], ["a"])
    with pytest.raises(
        InvalidValueError, match=r"only a node with one input can be removed \(at node 'sum'\): got 2 inputs"
    ):
        remove_node(network(), "sum")
    with pytest.raises(InvalidValueError, match=r"the only node cannot be removed \(at node 'a'\)"):
        remove_node(Network([X], [A], ["a"]), "a")
    with pytest.raises(UnknownNameError, match="no node has this name"):
        remove_node(network(), "x")
    with pytest.raises(InvalidTypeError, match=r"remove_node\(\) takes a network"):
        remove_node(Net.input(3, 4).then(Conv(3, 1)), "conv")  # type: ignore[arg-type]
