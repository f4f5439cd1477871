"""Edits return new networks, whose shapes hold, and leave the old one alone."""

import pytest

from cnnbudget import (
    Add,
    BatchNorm,
    Conv,
    Flatten,
    GlobalAvgPool,
    Input,
    InvalidTypeError,
    InvalidValueError,
    Linear,
    MaxPool,
    Net,
    Network,
    Node,
    ReLU,
    ShapeError,
    Tanh,
    UnknownNameError,
    costs,
    insert_after,
    remove_node,
    rename,
    replace_layer,
    replace_layers,
    specs,
    subnetwork,
    swap_head,
    with_input_shape,
)

NETWORK = (
    Net.input(3, 16, 16)
    .then(Conv(8, 3, padding=1), ReLU(), MaxPool(2))
    .residual(Conv(8, 3, padding=1))
    .then(Flatten(), Linear(10))
    .network
)

TWINS = Net.input(4, 8, 8).then(Conv(4, 3, padding=1), share="w").then(Conv(4, 3, padding=1), share="w").network


@pytest.fixture(autouse=True)
def _unchanged():
    before = repr(NETWORK)
    yield
    assert repr(NETWORK) == before


def names(network):
    return [node.name for node in network.nodes]


def test_replace_layer_keeps_names_and_connections():
    changed = replace_layer(NETWORK, "conv", Conv(8, 5, padding=2))
    assert names(changed) == names(NETWORK)
    assert changed["conv"].layer == Conv(8, 5, padding=2)
    assert costs(changed).parameter_count == costs(NETWORK).parameter_count + 8 * 3 * (25 - 9)


def test_replace_layers_by_predicate():
    changed = replace_layers(NETWORK, lambda node: isinstance(node.layer, ReLU), lambda layer: Tanh())
    assert [type(node.layer) for node in changed.nodes].count(Tanh) == 1
    assert changed["relu"].layer == Tanh()
    narrower = replace_layers(NETWORK, lambda node: isinstance(node.layer, Conv), lambda layer: layer.evolve(filters=4))
    assert specs(narrower)["add"].shape == (4, 8, 8)


def test_remove_node_reconnects_readers_and_outputs():
    changed = remove_node(NETWORK, "relu")
    assert changed["max_pool"].inputs == ("conv",)
    headless = remove_node(NETWORK, "linear")
    assert headless.outputs == ("flatten",)


def test_insert_after_takes_over_the_readers():
    changed = insert_after(NETWORK, "max_pool", ReLU(), new="extra")
    assert names(changed)[2:6] == ["max_pool", "extra", "conv2", "add"]
    assert changed["add"].inputs == ("conv2", "extra")
    first = insert_after(NETWORK, "input", Conv(3, 1), new="mix")
    assert first["conv"].inputs == ("mix",)
    assert insert_after(NETWORK, "linear", ReLU(), new="end").outputs == ("end",)


def test_rename_changes_every_mention_and_no_cost():
    shared = Net.input(3, 8, 8).then(Conv(3, 3), share="w").then(Conv(3, 3), share="w").network
    changed = rename(shared, {"conv": "first", "input": "image", "conv2": "second"})
    assert changed.inputs[0].name == "image"
    assert names(changed) == ["first", "second"]
    assert changed["second"].shares == "first"
    assert changed.outputs == ("second",)
    assert costs(changed).parameter_count == costs(shared).parameter_count


def test_a_subnetwork_is_what_its_outputs_need():
    assert names(subnetwork(NETWORK, "max_pool")) == ["conv", "relu", "max_pool"]
    two = subnetwork(NETWORK, "conv2", "relu")
    assert two.outputs == ("conv2", "relu")
    assert names(two) == ["conv", "relu", "max_pool", "conv2"]
    branched = Net.inputs(a=(3, 8, 8), b=(3, 8, 8)).branch(Conv(2, 1), Conv(4, 1)).join("b").network
    assert names(subnetwork(branched, "conv2")) == ["conv2"]
    assert [source.name for source in subnetwork(branched, "conv2").inputs] == ["a"]


def test_parameters_survive_their_owner():
    shared = (
        Net.input(3, 8, 8).then(Conv(3, 3), share="w").then(Conv(3, 3), share="w").then(Conv(3, 3), share="w").network
    )
    changed = remove_node(shared, "conv")
    assert [(node.name, node.shares) for node in changed.nodes] == [("conv2", None), ("conv3", "conv2")]
    assert costs(changed).parameter_count == costs(shared).parameter_count
    branches = (
        Net.inputs(a=(3, 8, 8), b=(3, 8, 8)).then(Conv(3, 3), share="w").tap("x").branch(Conv(3, 1), Conv(3, 1)).network
    )
    assert names(subnetwork(branches, "conv3")) == ["conv", "conv3"]
    twins = Net.input(3, 8, 8).branch(None, Conv(3, 3, padding=1), merge=Add()).network
    assert names(subnetwork(twins, "conv")) == ["conv"]


def test_a_subnetwork_hands_parameters_on():
    from cnnbudget import Network, Node

    network = Network.from_nodes(
        {"x": (3, 8, 8)},
        [
            ("a", Conv(3, 1), ["x"]),
            Node("b", Conv(3, 1), ("x",), shares="a"),
            Node("c", Conv(3, 1), ("b",), shares="a"),
        ],
        ["c"],
    )
    assert [(node.name, node.shares) for node in subnetwork(network, "c").nodes] == [("b", None), ("c", "b")]


def test_shared_parameters_may_change_together():
    changed = replace_layers(TWINS, lambda node: True, lambda layer: Conv(4, 5, padding=2))
    assert [node.shares for node in changed.nodes] == [None, "conv"]
    assert costs(changed).parameter_count == 4 * 4 * 25 + 4
    assert replace_layer(TWINS, "conv2", Conv(4, 3, padding=1, dilation=1))["conv2"].shares == "conv"


def test_many_nodes_that_go_away():
    """Two long chains beside each other, one of them taken: work for both lengths added, not multiplied."""
    nodes = [
        Node(f"{side}{at}", ReLU(), [f"{side}{at - 1}" if at else "x"]) for at in range(30_000) for side in ("a", "b")
    ]
    network = Network([Input("x", (1,))], nodes, ["a29999", "b29999"])
    assert names(subnetwork(network, "b29999")) == [f"b{at}" for at in range(30_000)]


def test_swap_head():
    changed = swap_head(NETWORK, "add", GlobalAvgPool(), Linear(3))
    assert names(changed) == ["conv", "relu", "max_pool", "conv2", "add", "global_avg_pool", "linear"]
    assert changed.outputs == ("linear",)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: replace_layer(NETWORK, "covn", ReLU()), UnknownNameError, r"got 'covn'; did you mean 'conv'"),
        (
            lambda: replace_layer(NETWORK, "max_pool", Conv(9, 3)),
            ShapeError,
            r"Add .*at node 'add', Add\(\) on \(9, 12, 12\)|at node 'add'",
        ),
        (lambda: remove_node(NETWORK, "flatten"), ShapeError, r"Linear does not take this shape \(at node 'linear'"),
        (
            lambda: remove_node(NETWORK, "add"),
            InvalidValueError,
            r"only a node with one input can be removed \(at node 'add'\): got 2 inputs",
        ),
        (
            lambda: remove_node(Net.input(3, 4, 4).then(ReLU()).network, "relu"),
            InvalidValueError,
            r"the only node cannot be removed",
        ),
        (
            lambda: insert_after(NETWORK, "relu", ReLU(), new="conv"),
            InvalidValueError,
            r"a name is used twice: got 'conv'",
        ),
        (lambda: insert_after(NETWORK, "nobody", ReLU(), new="x"), UnknownNameError, r"no node has this name"),
        (
            lambda: rename(NETWORK, {"rleu": "x"}),
            UnknownNameError,
            r"no node or input has this name: got 'rleu'; did you mean 'relu'",
        ),
        (lambda: rename(NETWORK, {"relu": "conv"}), InvalidValueError, r"a name is used twice: got 'conv'"),
        (lambda: subnetwork(NETWORK), InvalidValueError, r"a sub-network needs outputs"),
        (lambda: subnetwork(NETWORK, "lineer"), UnknownNameError, r"did you mean 'linear'"),
        (
            lambda: swap_head(NETWORK, "add", Linear(3)),
            ShapeError,
            r"Linear does not take this shape \(at node 'linear'",
        ),
        (
            lambda: insert_after(NETWORK, "relu", ReLU(), new=None),
            InvalidTypeError,
            r"^insert_after\(\): new must be a str: got None",
        ),
        (
            lambda: rename(NETWORK, {"nobody": "x"}),
            UnknownNameError,
            r"Known: 'input', 'conv', 'relu', 'max_pool', 'conv2', 'add', 'flatten', 'linear'$",
        ),
        (
            lambda: replace_layer(TWINS, "conv2", Conv(4, 5, padding=2)),
            ShapeError,
            (
                r"^this node cannot share the parameters of 'conv' \(at node 'conv2', Conv\(4, 5, padding=2\) on \(4, 8, 8\)\): "
                r"got parameters \(\('weight', \(4, 4, 5, 5\)\).* expected \(\('weight', \(4, 4, 3, 3\)\)"
            ),
        ),
        (
            lambda: replace_layers(TWINS, lambda node: node.name == "conv", lambda layer: Conv(4, 1)),
            ShapeError,
            r"at node 'conv2'.*as Conv\(4, 1\) has on \(4, 8, 8\)",
        ),
        (
            lambda: insert_after(TWINS, "conv", Conv(5, 1), new="between"),
            ShapeError,
            r"this node cannot share .*at node 'conv2', Conv\(4, 3, padding=1\) on \(5, 8, 8\)",
        ),
        (
            lambda: replace_layer(
                Net.input(4, 8, 8).then(BatchNorm(), share="n").then(BatchNorm(), share="n").network,
                "batch_norm2",
                BatchNorm(track_running_stats=False),
            ),
            ShapeError,
            r"at node 'batch_norm2'.*got buffers \(\), expected \(\('running_mean', \(4,\)\)",
        ),
    ],
)
def test_bad_edits(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_inputs_of_another_shape():
    net = Net.input(3, 8, 8).then(Conv(4, 3), ReLU(), Flatten(), Linear(10))
    changed = with_input_shape(net.network, (1, 9, 12))
    assert changed.inputs == (Input("input", (1, 9, 12)),)
    assert [node.layer for node in changed.nodes] == [node.layer for node in net.network.nodes]
    assert specs(changed)["flatten"].shape == (4 * 7 * 10,)
    assert net.network.inputs[0].shape == (3, 8, 8)
    two = Net.inputs(a=(3, 8, 8), b=(3, 8, 8)).join("b", merge=Add()).network
    assert with_input_shape(two, {"b": (3, 1, 1), "a": (3, 1, 1)}).inputs[1].shape == (3, 1, 1)
    assert with_input_shape(net.network, {}) == net.network
    with pytest.raises(
        InvalidValueError, match=r"needs a shape for each of several inputs: got \(3, 8, 8\), .*'a', 'b'"
    ):
        with_input_shape(two, (3, 8, 8))
    with pytest.raises(UnknownNameError, match=r"no input has this name: got 'inptu'; did you mean 'input'"):
        with_input_shape(net.network, {"inptu": (3, 8, 8)})
    with pytest.raises(ShapeError, match=r"larger than the padded input .*at node 'conv'"):
        with_input_shape(net.network, (3, 2, 2))
    with pytest.raises(InvalidTypeError, match=r"with_input_shape\(\) takes a network"):
        with_input_shape(net, (3, 8, 8))
