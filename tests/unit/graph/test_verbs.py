"""The verbs: what they build is what a reader would draw, on blocks and on nets alike."""

import pickle

import pytest
from attrs import evolve

import cnnbudget
from cnnbudget import (
    Add,
    At,
    BatchNorm,
    Block,
    Branch,
    Concat,
    Conv,
    Flatten,
    GlobalAvgPool,
    Inference,
    Input,
    InvalidTypeError,
    InvalidValueError,
    Join,
    Linear,
    MaxPool,
    Net,
    Network,
    Node,
    Output,
    ReLU,
    Repeat,
    Role,
    ShapeError,
    Tap,
    Training,
    UnknownNameError,
)
from cnnbudget.graph.build import Builder

START = Net.input(8, 16, 16)


def edges(net):
    return [(node.name, node.inputs) for node in net.network.nodes]


def test_a_branch_reads_one_value_and_merges_in_order():
    net = START.branch(Conv(4, 1), Block(Conv(6, 3, padding=1), ReLU()), None, name="mix")
    assert edges(net) == [
        ("mix/conv", ("input",)),
        ("mix/conv2", ("input",)),
        ("mix/relu", ("mix/conv2",)),
        ("mix/concat", ("mix/conv", "mix/relu", "input")),
    ]
    assert net.output_shape == (4 + 6 + 8, 16, 16)


def test_a_residual_adds_the_skipped_value_or_what_a_shortcut_makes_of_it():
    body = Block(Conv(8, 3, padding=1), ReLU())
    assert edges(START.residual(body)) == [("conv", ("input",)), ("relu", ("conv",)), ("add", ("relu", "input"))]
    projected = START.residual(Block(Conv(4, 3, padding=1), name="body"), Block(Conv(4, 1), name="shortcut"))
    assert edges(projected) == [
        ("body/conv", ("input",)),
        ("shortcut/conv", ("input",)),
        ("add", ("body/conv", "shortcut/conv")),
    ]


def test_a_tap_is_joined_later():
    net = START.then(Conv(4, 3, padding=1)).tap("early").then(Conv(8, 3, padding=1)).join("early", "input")
    assert edges(net)[-1] == ("concat", ("conv2", "conv", "input"))
    assert net.output_shape == (8 + 4 + 8, 16, 16)


def test_a_later_tap_replaces_an_earlier_one():
    net = START.tap("here").then(Conv(2, 1)).tap("here").then(Conv(3, 1)).join("here")
    assert edges(net)[-1] == ("concat", ("conv2", "conv"))


def test_the_chain_goes_on_from_a_label():
    net = START.then(Conv(4, 1)).tap("early").then(Conv(6, 1)).tap("late").at("early")
    assert net.output_shape == (4, 16, 16)
    assert net.network.outputs == ("conv",)
    net = net.then(Conv(2, 1)).join("late")
    assert edges(net) == [
        ("conv", ("input",)),
        ("conv2", ("conv",)),
        ("conv3", ("conv",)),
        ("concat", ("conv3", "conv2")),
    ]
    assert net.output_shape == (2 + 6, 16, 16)


def test_the_chain_goes_on_from_another_input():
    eye = Block(Conv(4, 3), ReLU())
    net = Net.inputs(left=(3, 8, 8), right=(3, 8, 8)).then(eye, share="eye", name="left_eye").tap("seen")
    net = net.at("right").then(eye, share="eye", name="right_eye").join("seen", merge=Add())
    assert edges(net) == [
        ("left_eye/conv", ("left",)),
        ("left_eye/relu", ("left_eye/conv",)),
        ("right_eye/conv", ("right",)),
        ("right_eye/relu", ("right_eye/conv",)),
        ("add", ("right_eye/relu", "left_eye/relu")),
    ]
    assert net.parameter_count == 4 * 3 * 9 + 4


def test_the_chain_goes_on_from_an_output_and_comes_back():
    net = START.then(Conv(4, 1)).output("aux", Conv(3, 1)).tap("main").at("aux").then(Conv(5, 1)).output("more")
    net = net.at("main")
    assert net.network.outputs == ("conv", "aux/conv", "conv2")
    assert net.output_shape == (4, 16, 16)


def test_ways_of_a_branch_may_start_at_labels():
    sums = Branch(Block(At("a"), Conv(4, 1), name="left"), Block(At("b")), merge=Add())
    net = Net.inputs(a=(3, 8, 8), b=(4, 8, 8), c=(2, 8, 8)).at("c").then(Conv(4, 1)).tap("c").then(sums).join("c")
    assert edges(net)[1:] == [("left/conv", ("a",)), ("add", ("left/conv", "b")), ("concat", ("add", "conv"))]


def test_a_value_that_nothing_can_reach_any_more_is_an_error_at_once():
    text = r"nothing can reach this one any more \(at node 'conv'\); label it with \.tap\('label'\)"
    net = START.then(Conv(4, 1))
    for lose in (lambda: net.at("input"), lambda: START.then(Conv(4, 1), At("input"), Conv(2, 1))):
        with pytest.raises(InvalidValueError, match=text):
            lose()
    with pytest.raises(InvalidValueError, match=text):  # its label went to another value
        net.tap("here").then(At("input"), Tap("here"), Conv(3, 1))
    assert net.tap("kept").at("input").then(Conv(2, 1)).network.outputs == ("conv2",)
    assert net.output("kept").at("input").then(Conv(2, 1)).network.outputs == ("conv2", "conv")
    assert START.at("input").output_shape == (8, 16, 16)  # nothing was made yet


def test_the_names_of_a_network_are_labels():
    network = START.then(Conv(4, 1), ReLU(), Conv(5, 1)).network
    net = Net.from_network(network).output("end").at("conv").then(Conv(6, 1)).join("relu")
    assert edges(net)[3:] == [("conv3", ("conv",)), ("concat", ("conv3", "relu"))]
    assert net.network.outputs == ("concat", "conv2")
    assert net.costs()["concat"].output_shape == net.output_shape == (6 + 4, 16, 16)
    with pytest.raises(UnknownNameError, match=r"got 'con'; did you mean 'conv'\?"):
        Net.from_network(network).at("con")
    with pytest.raises(InvalidValueError, match=r"nothing can reach .*node 'conv2'"):
        Net.from_network(network).at("relu")


def test_an_output_has_a_head_of_its_own_and_the_chain_goes_on():
    net = START.then(Conv(4, 1)).output("aux", GlobalAvgPool(), Linear(2)).output("raw").then(Conv(6, 1))
    assert edges(net) == [
        ("conv", ("input",)),
        ("aux/global_avg_pool", ("conv",)),
        ("aux/linear", ("aux/global_avg_pool",)),
        ("conv2", ("conv",)),
    ]
    assert net.network.outputs == ("conv2", "aux/linear", "conv")
    assert net.output_shape == (6, 16, 16)
    assert Net.from_network(net.network).then(ReLU()).network.outputs == ("relu", "aux/linear", "conv")


def test_the_end_of_the_chain_is_one_output_even_if_it_is_labelled():
    assert START.then(Conv(4, 1)).output("same").network.outputs == ("conv",)


def test_nested_parts_are_written_out_in_order():
    unit = (
        Block(Conv(8, 3, padding=1), name="unit").residual(Block(ReLU(), name="inner")).branch(Conv(4, 1), Conv(4, 1))
    )
    net = START.repeat(unit, 2, name="stage")
    assert [node.name for node in net.network.nodes] == [
        f"stage.{number}/unit/{name}"
        for number in range(2)
        for name in ("conv", "inner/relu", "add", "conv2", "conv3", "concat")
    ]


def test_several_inputs():
    net = Net.inputs(left=(3, 8, 8), right=(1, 8, 8)).then(Conv(4, 3, padding=1)).join("right")
    assert net.network.inputs == (Input("left", (3, 8, 8)), Input("right", (1, 8, 8)))
    assert net.output_shape == (5, 8, 8)
    # both inputs lie in memory from the start: (3 + 1) * 64 values, then the maps
    assert net.profile(Inference()).live_bytes[0] == 4 * ((3 + 1) * 64 + net.parameter_count)
    assert eval(repr(net), vars(cnnbudget)) == net


def test_blocks_and_nets_have_the_same_verbs():
    def grow(chain):
        return (
            chain.then(Conv(8, 3, padding=1), name="stem")
            .tap("stem")
            .residual(Block(Conv(8, 3, padding=1), BatchNorm()), name="res")
            .branch(Conv(4, 1), MaxPool(3, stride=1, padding=1))
            .repeat(Block(Conv(8, 1), ReLU()), 2, name="tail")
            .join("stem", merge=Add())
            .tap("end")
            .at("stem")
            .then(Conv(8, 1))
            .join("end")
            .output("aux", GlobalAvgPool())
            .then(ReLU())
        )

    block = grow(Block(ReLU()))
    assert grow(START.then(ReLU())) == START.then(block)
    assert block.layer_count == len(START.then(block).network) == 1 + 1 + 3 + 3 + 4 + 1 + 2 + 1 + 1


PARTS = [
    Block(Conv(4, 1), ReLU(), name="a", share="b"),
    Repeat(Conv(8, 1), 3, name="r"),
    Branch(Conv(4, 1), None, merge=Concat()),
    Tap("here"),
    At("input"),
    Join("input", merge=Add()),
    Output("aux", Conv(2, 1)),
    Output("raw"),
]


@pytest.mark.parametrize("part", PARTS, ids=repr)
def test_parts_are_values(part):
    again = eval(repr(part), vars(cnnbudget))
    assert again == part
    assert hash(again) == hash(part)
    assert pickle.loads(pickle.dumps(part)) == part
    assert part != Block(Conv(4, 1))
    assert START.then(part).then(Conv(2, 1)).output_shape == (2, 16, 16)


@pytest.mark.parametrize(
    ("part", "changes", "expected"),
    [
        (Block(Conv(4, 1), name="a"), {"name": "b"}, Block(Conv(4, 1), name="b")),
        (
            Block(Conv(4, 1), name="a"),
            {"parts": [ReLU(), ReLU()], "share": "w"},
            Block(ReLU(), ReLU(), name="a", share="w"),
        ),
        (Repeat(Conv(8, 1), 3, name="r"), {"times": 2}, Repeat(Conv(8, 1), 2, name="r")),
        (Branch(Conv(4, 1), None), {"merge": Add()}, Branch(Conv(4, 1), None, merge=Add())),
        (Branch(Conv(4, 1), None), {"blocks": (None, ReLU())}, Branch(None, ReLU())),
        (Tap("here"), {"label": "there"}, Tap("there")),
        (At("here"), {"label": "there"}, At("there")),
        (Join("a", merge=Add()), {"labels": ("b", "c")}, Join("b", "c", merge=Add())),
        (Output("aux", Conv(2, 1)), {"label": "side"}, Output("side", Conv(2, 1))),
        (Output("aux", Conv(2, 1)), {"head": ReLU()}, Output("aux", ReLU())),
        (Output("aux", Conv(2, 1)), {"head": None}, Output("aux")),
    ],
    ids=repr,
)
def test_variants_of_parts(part, changes, expected):
    assert part.evolve(**changes) == expected
    assert part.evolve() == part


def test_a_variant_is_checked():
    with pytest.raises(UnknownNameError, match=r"Block has no such field: got 'nam'; did you mean 'name'\?"):
        Block(ReLU()).evolve(nam="x")
    with pytest.raises(InvalidValueError, match="Block is empty"):
        Block(ReLU()).evolve(parts=())
    with pytest.raises(InvalidTypeError, match="a tap's label must be a str: got 3"):
        Tap("here").evolve(label=3)


def test_shared_parameters_are_counted_once_and_their_gradients_accumulate():
    twin = Block(Conv(4, 3, padding=1), ReLU(), Conv(8, 3, padding=1))
    net = Net.inputs(a=(8, 16, 16), b=(8, 16, 16)).then(twin, share="twin", name="first").tap("first")
    shared = net.then(twin, share="twin", name="second")
    own = net.then(twin, name="second")
    weights = 8 * 4 * 9 + 4 + 4 * 8 * 9 + 8
    assert own.parameter_count == 2 * weights
    assert shared.parameter_count == weights
    assert shared.mac_count == own.mac_count
    assert [node.shares for node in shared.network.nodes] == [
        None,
        None,
        None,
        "first/conv",
        "first/relu",
        "first/conv2",
    ]
    found = shared.profile(Training(2))
    gradients = [storage for storage in found.lifetimes.schedule.storages if storage.role is Role.PARAMETER_GRADIENT]
    assert sum(storage.byte_count(2) for storage in gradients) == 4 * weights


def test_sharing_with_other_parameters_is_an_error():
    text = (
        r"cannot share the parameters of 'conv' \(at node 'conv2', Conv\(4, 3\) on \(4, 14, 14\)\): "
        r"got parameters \(\('weight', \(4, 4, 3, 3\)\).*expected \(\('weight', \(4, 8, 3, 3\)\)"
    )
    net = START.then(Conv(4, 3), share="w")
    with pytest.raises(ShapeError, match=text):  # from the line that appends it, not from a later question
        net.then(Conv(4, 3), share="w")
    with pytest.raises(ShapeError, match=text):
        START.then(Block(Conv(4, 3), share="w"), Block(Conv(4, 3), share="w"))
    with pytest.raises(ShapeError, match=text):
        pickle.loads(pickle.dumps(net)).then(Conv(4, 3), share="w")
    assert START.then(Conv(4, 3), share="v").parameter_count == net.parameter_count
    nodes = [Node("conv", Conv(4, 3), ("x",)), Node("conv2", Conv(4, 3), ("conv",), shares="conv")]
    with pytest.raises(ShapeError, match=text):
        cnnbudget.costs(Network((Input("x", (8, 16, 16)),), nodes, ("conv2",)))


def test_gradients_accumulate_where_a_value_has_several_readers():
    net = START.then(Conv(8, 3, padding=1)).residual(Conv(8, 3, padding=1))
    found = net.profile(Training(1))
    names = [storage.name for storage in found.lifetimes.schedule.storages if storage.role is Role.ACTIVATION_GRADIENT]
    assert sorted(names) == ["add.grad", "conv.grad"], "the sum's gradient is that of both operands"
    value = 8 * 16 * 16 * 4
    # backward of conv2: input, conv, conv2, the gradient of the sum, which is conv2's and half of conv's, and the other half of
    # conv's, which is added to it when conv2's is no longer read; parameters 2 x 584, gradient of conv2's
    by_step = dict(zip(map(str, found.lifetimes.schedule.steps), found.live_bytes, strict=True))
    assert by_step["backward of conv2"] == 5 * value + 4 * (2 * 584 + 584)


def test_liveness_of_a_skip_counts_the_storage_once_and_to_its_last_reader():
    net = START.residual(Block(Conv(16, 3, padding=1), Conv(8, 3, padding=1)))
    value = 16 * 16 * 4
    found = net.profile(Inference())
    parameters = net.parameter_count * 4
    # load, conv, conv2, add: the input stays until add reads it
    expected = [8, 8 + 16, 8 + 16 + 8, 8 + 8 + 8]
    assert list(found.live_bytes) == [channels * value + parameters for channels in expected]


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: START.join("erly"), UnknownNameError, r"no value has this label yet: got 'erly'; Known: 'input'"),
        (
            lambda: START.tap("early").join("erly"),
            UnknownNameError,
            r"got 'erly'; did you mean 'early'\? Known: 'input', 'early'",
        ),
        (
            lambda: START.then(Block(Conv(4, 1), Join("nowhere"), name="unit"), name="stage"),
            UnknownNameError,
            r"no value has this label yet \(at scope 'stage/unit'\): got 'nowhere'",
        ),
        (lambda: START.join("early").tap("early"), UnknownNameError, r"no value has this label yet: got 'early'"),
        (lambda: START.join(), InvalidValueError, r"a join needs labels: got \(\), expected at least one label"),
        (
            lambda: START.branch(Conv(4, 1)),
            InvalidValueError,
            r"a branch needs blocks to merge: got 1, expected two or more",
        ),
        (
            lambda: START.branch(Conv(4, 1), None, merge=Add),
            InvalidTypeError,
            r"merge must be a layer: .*; call it: Add\(\)",
        ),
        (
            lambda: START.branch(Conv(4, 1), None, merge="add"),
            InvalidTypeError,
            r"merge must be a layer: got 'add', expected for example",
        ),
        (lambda: START.tap("early").at("erly"), UnknownNameError, r"got 'erly'; did you mean 'early'\?"),
        (lambda: START.join(3), InvalidTypeError, r"a tap's label must be a str: got 3"),
        (lambda: START.join("input", ""), InvalidValueError, r"a tap's label is not usable: got ''"),
        (lambda: START.at(""), InvalidValueError, r"a label is not usable: got ''"),
        (lambda: START.tap(""), InvalidValueError, r"a tap's label is not usable: got ''"),
        (lambda: START.tap(3), InvalidTypeError, r"a tap's label must be a str: got 3"),
        (lambda: START.output("/aux"), InvalidValueError, r"an output's label is not usable"),
        (lambda: START.then(Conv(4, 1), share=""), InvalidValueError, r"share is not usable"),
        (lambda: Net.inputs(), InvalidValueError, r"a net needs an input: got no shapes"),
        (
            lambda: START.residual(Conv(4, 1)),
            ShapeError,
            r"Add .*\(at node 'add', Add\(\) on \(4, 16, 16\), \(8, 16, 16\)\)",
        ),
        (
            lambda: START.then(Conv(4, 3)).tap("odd").then(Conv(4, 3)).join("odd"),
            ShapeError,
            r"Concat .*\(at node 'concat', Concat\(\) on \(4, 12, 12\), \(4, 14, 14\)\)",
        ),
        (lambda: START.then(Conv(4, 1)).then(Conv(4, 99)), ShapeError, r"at node 'conv2', Conv\(4, 99\)"),
        (
            lambda: Net.input(4).branch(Flatten, None),
            InvalidTypeError,
            r"Block takes layers and blocks: .*; call it: Flatten\(...\)",
        ),
    ],
)
def test_bad_verbs(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_nothing_is_half_done_after_an_error():
    net = START.tap("early")
    before = repr(net)
    with pytest.raises(ShapeError):
        net.then(Conv(4, 99))
    assert repr(net) == before
    assert net.join("early").output_shape == (16, 16, 16)


def test_a_part_that_the_builder_does_not_know():
    class Strange(type(Tap("x")).__mro__[1]):
        """A part of another package."""

    with pytest.raises(InvalidTypeError, match="this part cannot be built"):
        Builder((Input("x", (3, 4, 4)),)).write([Strange()])


def test_from_nodes_checks_the_structure():
    with pytest.raises(UnknownNameError, match=r"a node shares the parameters of a node .*\(at node 'b'\): got 'c'; "):
        Network.from_nodes({"x": (3, 8, 8)}, [("a", ReLU(), ["x"]), Node("b", ReLU(), ("a",), shares="c")], ["b"])
    network = Network.from_nodes({"x": (3, 8, 8)}, [("a", ReLU(), ["x"]), ("b", Add(), ["a", "x"])], ["b"])
    assert network == Network([Input("x", (3, 8, 8))], [Node("a", ReLU(), ["x"]), Node("b", Add(), ["a", "x"])], ["b"])
    assert evolve(network, outputs=("a",)).outputs == ("a",)


def test_deep_nesting_is_refused_before_it_can_exhaust_the_stack():
    block = Block(ReLU())
    for _ in range(49):  # a residual is a branch in a block: two levels
        block = Block(ReLU()).residual(block)
    assert block.depth == 99
    deepest = Block(Block(block, name="scope"), name="scope")  # the inner one takes the parts over
    assert deepest.depth == 100
    with pytest.raises(InvalidValueError, match="blocks are nested too deeply: got 101 levels, expected at most 100"):
        Block(deepest, name="scope")
