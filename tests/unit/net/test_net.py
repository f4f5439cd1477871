"""The front door: verbs, questions, errors, and 100,000 layers."""

import gc
import inspect
import pickle
import sys

import pytest
from acme_layers import Add

from cnnbudget import (
    Block,
    Bytes,
    Conv,
    Flatten,
    Inference,
    Input,
    InvalidTypeError,
    InvalidValueError,
    Linear,
    MaxPool,
    Net,
    Network,
    Node,
    ReLU,
    Repeat,
    ShapeError,
    Training,
    UnknownNameError,
)


def test_every_verb_returns_a_new_net() -> None:
    start = Net.input(3, 8, 8)
    first = start.then(Conv(4, 3))
    second = first.then(ReLU(), name="act").repeat(Conv(4, 3), 2, name="more")
    assert [node.name for node in second.network.nodes] == ["conv", "act/relu", "more.0/conv", "more.1/conv"]
    assert [node.name for node in first.network.nodes] == ["conv"]
    assert (start.output_shape, first.output_shape, second.output_shape) == ((3, 8, 8), (4, 6, 6), (4, 2, 2))
    assert first.then(ReLU()) != first.then(Flatten())


def test_nets_are_values() -> None:
    one = Net.input(3, 8, 8).then(Conv(4, 3), ReLU())
    two = Net.input(3, 8, 8).then(Block(Conv(4, 3))).then(ReLU())
    assert one == two
    assert hash(one) == hash(two)
    assert one != Net.input(3, 8, 8, name="image").then(Conv(4, 3), ReLU())
    assert Net.input(3) == Net.input(3) != Net.input(4)
    assert hash(Net.input(3)) == hash(Net.input(3))
    assert one != "net"
    assert pickle.loads(pickle.dumps(Net.input(3))) == Net.input(3)


def test_repr_is_what_one_writes() -> None:
    net = Net.input(3, 8, 8, name="image").then(Conv(4, 3), name="stem").repeat(ReLU(), 2)
    text = "Net.input(3, 8, 8, name='image').then(Block(Conv(4, 3), name='stem'), Repeat(Block(ReLU()), 2))"
    assert repr(net) == text
    assert eval(text) == net
    assert isinstance(net._parts()[-1], Repeat)
    assert repr(Net.input(5)) == str(Net.input(5)) == "Net.input(5)"
    assert Net.input(5)._repr_html_() == "<p>Net.input(5)</p>"
    assert "stem/conv" in str(net)
    assert "<table" in net._repr_html_()


def test_a_net_goes_on_from_a_network() -> None:
    network = Network([Input("x", (3, 4))], [Node("a", Conv(3, 1), ["x"]), Node("sum", Add(), ["a", "x"])], ["sum"])
    net = Net.from_network(network)
    assert net.network == network
    assert net.output_shape == (3, 4)
    longer = net.then(Conv(2, 1), ReLU()).then(ReLU())
    assert [node.name for node in longer.network.nodes] == ["a", "sum", "conv", "relu", "relu2"]
    assert longer.network.nodes[2].inputs == ("sum",)
    assert eval(repr(longer)) == longer == pickle.loads(pickle.dumps(longer))
    with pytest.raises(
        ShapeError, match=r"Linear does not take this shape \(at node 'linear', Linear\(3\) on \(3, 4\)\)"
    ):
        net.then(Linear(3))
    several = Net.from_network(Network(network.inputs, network.nodes, ["a", "sum"])).then(ReLU()).network
    assert several["relu"].inputs == ("a",)
    assert several.outputs == ("relu", "sum")
    with pytest.raises(InvalidTypeError, match=r"from_network\(\) takes a network: got Net\..*expected a Network"):
        Net.from_network(net)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda net: net.then(), InvalidValueError, r"then\(\) is empty: got no layers"),
        (
            lambda net: net.then(Conv),
            InvalidTypeError,
            r"then\(\) takes layers and blocks: got <class .*; call it: Conv\(\.\.\.\)",
        ),
        (lambda net: net.then([Conv(3, 1)]), InvalidTypeError, r"got \[Conv\(3, 1\)\], .*; unpack it: \*layers"),
        (lambda net: net.then(Conv(3, 1), "relu"), InvalidTypeError, r"got 'relu'"),
        (lambda net: net.then(ReLU(), name=""), InvalidValueError, r"a block's name is not usable: got ''"),
        (lambda net: net.repeat(ReLU, 2), InvalidTypeError, r"call it: ReLU\(\.\.\.\)"),
        (lambda net: net.repeat(ReLU(), 0), InvalidValueError, r"Repeat\.times is out of range: got 0"),
        (lambda net: net.network, InvalidValueError, r"the network is empty: got no nodes, .*\.then\(\.\.\.\)"),
        (lambda net: net.parameter_count, InvalidValueError, r"the network is empty"),
        (lambda net: net.profile(Inference()), InvalidValueError, r"the network is empty"),
        (
            lambda net: net.then(ReLU()).max_batch("nothing", Inference()),
            UnknownNameError,
            r"neither a size nor a device: got 'nothing'",
        ),
        (lambda net: Net.input(), InvalidValueError, r"the input's shape is empty: got \(\)"),
        (lambda net: Net.input(3, 0), InvalidValueError, r"the input's shape, axis 1 is out of range: got 0"),
        (lambda net: Net.input(3, 2**70), InvalidValueError, r"axis 1 is out of range: got 1180591620717411303424"),
        (lambda net: Net.input(3, 1.5), InvalidTypeError, r"axis 1 must be an int: got 1\.5 \(float\)"),
        (lambda net: Net.input(True), InvalidTypeError, r"axis 0 must be an int: got True \(bool\)"),
        (
            lambda net: Net.input((3, 8, 8)),
            InvalidTypeError,
            r"takes one int an axis: got \(3, 8, 8\); unpack it: Net\.input\(\*shape\)",
        ),
        (lambda net: Net.input(3, name="a/"), InvalidValueError, r"Input\.name is not usable: got 'a/'"),
    ],
)
def test_bad_input(make, error, text) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=text):
        make(Net.input(3, 8, 8))


def test_errors_name_the_node_as_the_whole_net_does() -> None:
    net = Net.input(3, 8, 8).then(Conv(4, 3), Conv(4, 3))
    with pytest.raises(
        ShapeError, match=r"the window is larger than the padded input .*\(at node 'stem/conv', .* on \(4, 4, 4\)\)"
    ):
        net.then(Conv(4, 5), name="stem")
    with pytest.raises(ShapeError, match=r"\(at node 'conv3', Conv\(4, 5\) on \(4, 4, 4\)\)"):
        net.then(Conv(4, 5))


def test_a_value_inside_may_be_larger_than_an_input() -> None:
    # 3 * 50,000 * 50,000 = 7,500,000,000 features, more than an axis of an input may have.
    start = Net.input(3, 50_000, 50_000)
    assert start.then(Flatten()).then(Linear(10)) == start.then(Flatten(), Linear(10))
    assert start.then(Flatten()).then(Linear(10)).parameter_count == 75_000_000_010


def test_questions() -> None:
    net = Net.input(3, 8, 8).then(Conv(4, 3), MaxPool(2))
    assert (net.parameter_count, net.buffer_count, net.mac_count) == (112, 0, 36 * 108)
    assert net.costs() is net.costs()
    assert net.profile(Inference()).peak == 4 * (112 + 192 + 144)
    assert isinstance(net.profile(Inference()).peak, Bytes)
    assert net.max_batch(4 * (112 + 2 * 336), Inference()) == 2
    assert "maximum" not in str(net.summary())
    assert net.dense_equivalent().shared == 112
    advice = net.fit("1 GiB", Training())
    assert str(advice)


DEPTH = 100_000


def deep_nets() -> dict[str, Net]:
    start = Net.input(2, 4)
    loop = start
    for _ in range(DEPTH):
        loop = loop.then(ReLU())
    return {
        "at once": start.then(*[ReLU()] * DEPTH),
        "repeat": start.repeat(ReLU(), DEPTH),
        "loop": loop,
    }


def test_100_000_layers() -> None:
    limit = sys.getrecursionlimit()
    nets = deep_nets()
    for name, net in nets.items():
        assert len(net.network) == DEPTH, name
        assert net.network.nodes[-1].name == f"relu{DEPTH}", name
    at_once, repeated, loop = nets.values()
    assert at_once == loop
    assert at_once.network == repeated.network
    assert hash(at_once) == hash(loop) == hash(repeated)
    found = loop.profile(Inference())
    assert found.peak == 2 * 8 * 4
    # Every value is kept, and the network is without parameters: there are no gradients.
    assert loop.profile(Training()).peak == (DEPTH + 1) * 8 * 4
    assert loop.max_batch((DEPTH + 1) * 8 * 4 * 3, Training()) == 3
    assert len(found.timeline.label) == DEPTH + 1
    assert str(found).count("\n") < 40
    assert len(str(loop)) > 1000
    assert repr(loop).count("ReLU()") == DEPTH
    assert repr(repeated) == "Net.input(2, 4).then(Repeat(Block(ReLU()), 100000))"
    for net in (loop, repeated):
        assert pickle.loads(pickle.dumps(net)) == net
    assert pickle.loads(pickle.dumps(loop.network)) == at_once.network
    del net, found, at_once, repeated, loop
    nets.clear()  # frees chains of 100,000 nets that hold each other
    gc.collect()
    assert sys.getrecursionlimit() == limit


def test_a_net_is_not_called():
    with pytest.raises(
        InvalidTypeError, match=r"a net starts with an input: got Net\(\.\.\.\), expected Net\.input\(3, 224"
    ):
        Net(3, 224, 224)
    assert "_root" not in str(inspect.signature(Net))
