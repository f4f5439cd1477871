"""TOML: every network goes out and comes back, what is written by hand is what the verbs make, and nothing else is read."""

import subprocess
import sys
from pathlib import Path

import acme_layers
import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from cnnbudget import (
    Add,
    BatchNorm,
    Block,
    Conv,
    Dropout,
    ElementwiseLayer,
    GlobalAvgPool,
    Input,
    InvalidTypeError,
    InvalidValueError,
    Linear,
    LPPool,
    Maximum,
    MaxPool,
    MissingRuleError,
    Net,
    Network,
    Node,
    ReLU,
    Repeat,
    Reshape,
    Scale,
    Sigmoid,
    specs,
    zoo,
)
from cnnbudget.errors import FormatError
from cnnbudget.interop import Limits, from_toml, to_toml
from cnnbudget.interop.calls import parse_call, write_call
from cnnbudget.testing import families, graphs, strategies

AUDIT = Path(__file__).with_name("audit.py")
HEAD = 'format = "cnnbudget"\nversion = 1\n[inputs]\nimage = [4, 8, 8]\n'
UNIT = 'unit = ["Conv($maps, 3, padding=1, bias=False)", "BatchNorm()", "ReLU()"]'
UNIT_OF = {maps: Block(Conv(maps, 3, padding=1, bias=False), BatchNorm(), ReLU()) for maps in (4, 6, 8)}


def hand(parts, *blocks):
    return from_toml(f"{HEAD}[blocks]\n{chr(10).join(blocks)}\n[network]\nparts = [{parts}]")


def net():
    return Net.inputs(image=(4, 8, 8))


# Out and in.


@given(graphs.graphs() | strategies.networks())
def test_every_network_comes_back(net):
    text = to_toml(net)
    assert from_toml(text) == net.network
    assert to_toml(from_toml(text.encode())) == text


@given(st.data())
def test_every_layer_comes_back(data):
    shape = data.draw(strategies.shapes())
    layer = data.draw(families.all_layers(shape))
    net = Net.input(*shape).then(layer)
    assert from_toml(to_toml(net)) == net.network


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
        lambda name: "/" not in (name[0], name[-1])
    )
)
def test_any_name_comes_back(name):
    network = Network([Input(f"{name}!", (3, 4))], [Node(name, ReLU(), [f"{name}!"])], [name])
    assert from_toml(to_toml(network)) == network


def test_half_a_character_has_no_form():
    with pytest.raises(InvalidValueError, match="a name has no form in TOML"):
        to_toml(Network([Input("x", (3, 4))], [Node("\ud800", ReLU(), ["x"])], ["\ud800"]))


def test_the_text():
    nodes = [
        Node("a", Conv(4, (3, 3), padding=((0, 1), (1, 0)), bias=False), ["x"]),
        Node('b"', Scale("layer", bias=True), ["a"]),
        Node("c\\\u202e", LPPool(2, 2, stride=1), ["a"]),
        Node("d", Dropout(1.0), ["c\\\u202e"]),
        Node("e", Reshape(-1), ["d"]),
        Node("f", Scale(bias=True), ["d"], shares='b"'),
    ]
    assert to_toml(Network([Input("x", (3, 8, 8)), Input("é y", (1,))], nodes, ["f", "e"])) == (
        'format = "cnnbudget"\n'
        "version = 1\n\n"
        "[inputs]\n"
        "x = [3, 8, 8]\n"
        '"é y" = [1]\n\n'
        "[network]\n"
        "nodes = [\n"
        '    { name = "a", layer = "Conv(4, (3, 3), padding=((0, 1), (1, 0)), bias=False)" },\n'
        '    { name = "b\\"", layer = "Scale(\'layer\', bias=True)" },\n'
        '    { name = "c\\\\\\u202e", layer = "LPPool(2, 2, stride=1)", inputs = ["a"] },\n'
        '    { name = "d", layer = "Dropout(1)" },\n'
        '    { name = "e", layer = "Reshape((-1,))" },\n'
        '    { name = "f", layer = "Scale(bias=True)", inputs = ["d"], shares = "b\\"" },\n'
        "]\n"
        'outputs = ["f", "e"]\n'
    )


def test_layers_of_others_are_listed():
    layers = {"acme.Scale": acme_layers.ChannelScale, "acme.Conv": acme_layers.Conv}
    net = Net.input(8, 6, 6).then(acme_layers.ChannelScale(2), acme_layers.Conv(), Conv(4, 1))
    text = to_toml(net, layers=layers)
    assert 'layer = "acme.Scale(2)"' in text
    assert from_toml(text, layers=layers) == net.network
    with pytest.raises(MissingRuleError, match=r"to_toml\(\) has no word for a layer \(at node 'channel_scale'\)"):
        to_toml(net)
    with pytest.raises(
        FormatError, match=r"no layer has this name \(at nodes\[0\] 'channel_scale'\): got 'acme.Scale'"
    ):
        from_toml(text)
    with pytest.raises(InvalidValueError, match=r"a layer's word cannot be called .*got 'my scale'"):
        to_toml(net, layers={"my scale": acme_layers.ChannelScale, "acme.Conv": acme_layers.Conv})


@frozen(repr=False)
class Loose(ElementwiseLayer):
    anything: object


@pytest.mark.parametrize(
    "value", [None, True, 1e300, -0.25, 'it\'s "a" \\ \u202e\U0001f600', (), (1,), (1, (2.5, ("x", None)))]
)
def test_settings_of_any_kind_come_back(value):
    network = Net.input(8, 6, 6).then(Loose(value)).network
    assert from_toml(to_toml(network, layers={"Loose": Loose}), layers={"Loose": Loose}) == network


def test_a_file_and_the_zoo(tmp_path):
    network = zoo.googlenet().network
    path = tmp_path / "net.toml"
    path.write_text(to_toml(network), encoding="utf-8")
    assert from_toml(path) == network


# By hand.


def test_layers_blocks_and_repetitions():
    made = net().then(Conv(6, 1), UNIT_OF[6], Block(UNIT_OF[6], name="mid")).repeat(UNIT_OF[6], 2, name="stage")
    read = hand(
        '"Conv(6, 1)", {block="unit", maps=6}, {block="unit", maps=6, name="mid"}, {block="unit", maps=6, times=2, name="stage"}',
        UNIT,
    )
    assert read == made.network


def test_blocks_within_blocks_and_their_variables():
    blocks = [
        UNIT,
        'wide = [{ block = "unit", maps = "2 * $maps" }, { block = "unit", maps = "$maps" }]',
        'plain = ["ReLU()", { parts = ["Sigmoid()"], name = "gate" }]',
    ]
    read = hand('{block="wide", maps=4, name="a"}, "plain", {block="plain", times=2}', *blocks)
    made = net().then(UNIT_OF[8], UNIT_OF[4], name="a")
    plain = Block(ReLU(), Block(Sigmoid(), name="gate"))
    assert read == made.then(plain, Repeat(plain, 2)).network


def test_branches_residuals_taps_and_outputs():
    read = hand(
        """
        {residual = ["Conv(4, 3, padding=1)"]},
        {residual = ["Conv(6, 1)"], shortcut = ["Conv(6, 1)"], merge = "Maximum()", name = "skip"},
        {tap = "early"},
        {branch = [["Conv(2, 1)"], ["MaxPool(3, stride=1, padding=1)", "ReLU()"], []], name = "mix"},
        {output = "aux", parts = ["GlobalAvgPool()", "Linear(3)"]},
        {join = ["early", "image"]},
        "Conv(6, 1)",
        {join = "early", merge = "Add()", name = "sum"},
        {output = "all"},
        {parts = ["Conv(6, 1)"], share = "w", name = "one"},
        {parts = ["Conv(6, 1)"], share = "w", times = 2},
        """
    )
    made = (
        net()
        .residual(Conv(4, 3, padding=1))
        .residual(Conv(6, 1), Conv(6, 1), merge=Maximum(), name="skip")
        .tap("early")
        .branch(Conv(2, 1), Block(MaxPool(3, stride=1, padding=1), ReLU()), None, name="mix")
        .output("aux", GlobalAvgPool(), Linear(3))
        .join("early", "image")
        .then(Conv(6, 1))
        .join("early", merge=Add(), name="sum")
        .output("all")
        .then(Conv(6, 1), share="w", name="one")
        .then(Repeat(Block(Conv(6, 1), share="w"), 2))
    )
    assert read == made.network


def test_variables_are_texts_numbers_and_arrays():
    read = hand(
        '{block="b", k=[3, 5], p="same", on=false, rate=0.5}',
        'b = ["Conv(4, $k, padding=$p, bias=$on)", "Dropout($rate)", "Conv(8 // 2 * 3, [1, 1])"]',
    )
    assert [node.layer for node in read.nodes] == [
        Conv(4, (3, 5), padding="same", bias=False),
        Dropout(0.5),
        Conv(12, (1, 1)),
    ]


def test_nodes_read_the_one_before_them():
    read = from_toml(
        HEAD + '[network]\nnodes = [{name="a", layer="ReLU()"}, {name="b", layer="Add()", inputs=["a", "image"]}]'
    )
    assert read == Network(
        [Input("image", (4, 8, 8))], [Node("a", ReLU(), ["image"]), Node("b", Add(), ["a", "image"])], ["b"]
    )


def test_the_example_of_the_module():
    import cnnbudget.interop.toml_text as module

    text = module.__doc__.split(".. code-block:: toml\n")[1].replace("\n   ", "\n")
    table = specs(from_toml(text))
    assert table["linear"].shape == (10,)
    assert table["concat"].shape == (32 + 64 + 64, 224, 224)


# Calls.


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63) + 1, 2**63 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=5),
        lambda x: st.lists(x, max_size=3),
        max_leaves=8,
    )
)
def test_any_value_comes_back(value):
    def tuples(value):
        return tuple(map(tuples, value)) if isinstance(value, list) else value

    def depth(value):
        return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0

    if depth(value) > 8:
        return
    text = write_call("f.g", [value], {"name": value})
    assert text.isascii()
    assert repr(parse_call(text, {})) == repr(("f.g", (tuples(value),), {"name": tuples(value)}, set()))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (" f ( ) ", ((), {})),
        ("f(1,)", ((1,), {})),
        ("f((1), (1,), [1], (), [], [1, 2,])", ((1, (1,), (1,), (), (), (1, 2)), {})),
        ("f(-1, +2, .5, 5., 1e3, a = None)", ((-1, 2, 0.5, 5.0, 1000.0), {"a": None})),
        (r"""f('a\'b"c', "a'b", "\x41\u0042\U00000043\\")""", (("a'b\"c", "a'b", "ABC\\"), {})),
        ("f(2 * 3 * $n // 4, True)", ((3, True), {})),
    ],
)
def test_what_a_call_says(text, found):
    assert parse_call(text, {"n": 2})[1:3] == found


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "f",
            "f(",
            "f)",
            "f(1",
            "f(1))",
            "f(1) g",
            "f(1 2)",
            "f(,)",
            "(1)",
            "3(1)",
            "f(a=)",
            "f(a=1, 2)",
            "f(a=1, a=2)",
        ),
        *(
            "f(g(1))",
            "f(x)",
            "f(lambda: 0)",
            "f(__import__('os'))",
            "f(1 + 1)",
            "f(2 ** 3)",
            "f(1 if 1 else 2)",
            "f([x for x in y])",
        ),
        *(
            "f('a)",
            'f("a)',
            "f('a\\q')",
            "f('\\U00110000')",
            "f(1e999)",
            f"f({'9' * 50})",
            "f(1 // 0)",
            "f(2.0 * 3)",
            "f('a' * 9)",
        ),
        *(
            "f(9223372036854775807 * 2)",
            "f((((((((((1))))))))))",
            "f({})",
            "f(*a)",
            "f(**a)",
            "f(a.b)",
            "f(1j)",
            "f(0x10)",
            "f(;)",
            "f(a",
            "f(a=",
        ),
    ],
)
def test_what_is_no_call(text):
    with pytest.raises(FormatError, match=r"this is no layer: got .*expected for example 'Conv\(64, 3, stride=2\)'"):
        parse_call(text, {})


def test_long_texts_and_unknown_variables():
    with pytest.raises(FormatError, match=r"a layer's text is too long: got 20,003 characters"):
        parse_call(f"f({'1' * 20_000})", {})
    with pytest.raises(FormatError, match=r"a variable has no value: got \$map; did you mean 'maps'\?"):
        parse_call("f($map)", {"maps": 3})


# What is no network.


def written(parts, blocks=""):
    return f"{HEAD}[blocks]\n{blocks}\n[network]\nparts = [{parts}]"


def nodes(text):
    return f"{HEAD}[network]\n{text}"


DOUBLING = "\n".join(["b0 = ['ReLU()']", *(f"b{n} = ['b{n - 1}', 'b{n - 1}']" for n in range(1, 30))])
TAPS = "\n".join(["b0 = [{tap='t'}]", *(f"b{n} = [{{block='b{n - 1}', name='s'}}, 'b{n - 1}']" for n in range(1, 25))])
VARIANTS = "\n".join(
    [
        "b0 = ['Conv($v, 1)']",
        *(f"b{n} = [{{block='b{n - 1}', v='$v'}}, {{block='b{n - 1}', v={n}}}]" for n in range(1, 25)),
    ]
)
WRONG = {
    "": r"a key is missing: got none, expected 'format'",
    "x": r"this is not TOML: got .*; a str is the text itself; give a pathlib.Path",
    "a = 1\na = 2": r"this is not TOML: got 'Cannot overwrite a value",
    "a = [" * 5000: r"nested too deeply|not TOML",
    "a = " + "[" * 5000: r"nested too deeply",
    f"a = {'9' * 5000}": r"a value cannot be read: got 'Exceeds the limit",
    "a = 2020-13-45": r"not TOML|a value cannot be read",
    "x." * 200 + "y = 1": r"too many dots \(at line 1\): expected at most 100 in a line",
    "#" * (2**20 + 1): r"the text is too large: got 1,048,577 characters",
    HEAD.replace("version = 1", "version = 2")
    + "[network]\nparts = []": r"another version of it: got format 'cnnbudget', version 2",
    HEAD.replace("version = 1", "version = 1.0")
    + "[network]\nparts = []": r"version is of the wrong kind: got 1.0, expected an int",
    HEAD: r"a key is missing: .*expected 'network'",
    HEAD + "more = 1\n[network]\nparts = []": r"the input's shape must be a",
    HEAD + "[network]": r"\[network\]: a key is missing: got none, expected 'nodes'",
    HEAD + "[network]\nparts = []": r"the network is empty",
    HEAD + "[network]\nparts = []\nnodes = []": r"\[network\]: an unknown key: got 'nodes'",
    HEAD.replace("image = [4, 8, 8]", "") + "[network]\nparts = []": r"the network has no inputs",
    HEAD.replace("[4, 8, 8]", "[4, -8, 8]") + "[network]\nparts = []": r"out of range \(at inputs\[0\]\): got -8",
    HEAD.replace("[4, 8, 8]", "[4, nan, 8]") + "[network]\nparts = []": r"must be an int \(at inputs\[0\]\): got nan",
    written("3"): r"this is no part \(at network.parts\[0\]\): got 3",
    written(
        "'unti'", "unit = ['ReLU()']"
    ): r"no block has this name \(at network.parts\[0\]\): got 'unti'; did you mean 'unit'",
    written("{block = 3}"): r"no block has this name \(at network.parts\[0\]\): got 3",
    written(
        "'Conv(4)'"
    ): r"Conv cannot be made \(at network.parts\[0\]\): got 4; .*missing 1 required positional argument",
    written(
        "'Conv(4, 3, strides=2)'"
    ): r"Conv has no such setting \(at network.parts\[0\]\): got 'strides'; did you mean 'stride'",
    written("'Conv(4, 3, 1)'"): r"Conv cannot be made \(at network.parts\[0\]\): got 4, 3, 1",
    written("'Conv(4, 3, filters=1)'"): r"Conv cannot be made \(at network.parts\[0\]\): got 4, 3, filters=1",
    written("'Conv(0, 3)'"): r"Conv.filters is out of range \(at network.parts\[0\]\): got 0",
    written("'conv(4, 3)'"): r"no layer has this name .*got 'conv'; did you mean 'Conv'",
    written("'Conv(4, 99)'"): r"the window is larger than the padded input.*\(at node 'conv'",
    written("'Lambda(3)'"): r"no layer has this name",
    written("{}"): r"this table is no part \(at network.parts\[0\]\)",
    written(
        "{repeat = 3}"
    ): r"this table is no part \(at network.parts\[0\]\): got 'repeat', expected one of block, output",
    written("{parts = ['ReLU()'], maps = 3}"): r"a parts has no such key \(at network.parts\[0\]\): got 'maps'",
    written("{parts = 'ReLU()'}"): r"parts are a list \(at network.parts\[0\].parts\): got 'ReLU\(\)'",
    written("{parts = []}"): r"(empty|at least one)",
    written("{parts = ['ReLU()'], times = 0}"): r"Repeat.times is out of range \(at network.parts\[0\]\): got 0",
    written("{parts = ['ReLU()'], times = '3'}"): r"Repeat.times must be an int",
    written("{parts = ['ReLU()'], name = 3}"): r"a block's name must be a str \(at network.parts\[0\]\): got 3",
    written("{parts = ['ReLU()'], name = '/'}"): r"a block's name is not usable",
    written("{parts = ['ReLU()'], share = []}"): r"share must be a str",
    written("{branch = 3}"): r"a branch is a list of lists \(at network.parts\[0\]\): got 3",
    written("{branch = ['ReLU()']}"): r"parts are a list \(at network.parts\[0\].branch\[0\]\): got 'ReLU\(\)'",
    written("{branch = [['ReLU()']]}"): r"branch",
    written("{residual = ['ReLU()'], merge = 3}"): r"a layer is a text \(at network.parts\[0\]\): got 3",
    written("{residual = ['Conv(9, 1)']}"): r"Add needs inputs of equal shapes \(at node 'add'",
    written("{tap = 3}"): r"\(at network.parts\[0\]\)",
    written("{join = 'nowhere'}"): r"no value has this label yet: got 'nowhere'",
    written("{join = [3]}"): r"\(at network.parts\[0\]\)",
    written("{output = 3}"): r"\(at network.parts\[0\]\)",
    written("'a'", "a = ['a']"): r"a block may only use blocks above it \(at blocks.a\[0\]\): got 'a'",
    written("'a'", "a = ['b']\nb = ['ReLU()']"): r"a block may only use blocks above it \(at blocks.a\[0\]\): got 'b'",
    written("'a'", "a = 'ReLU()'"): r"parts are a list \(at blocks.a\): got 'ReLU\(\)'",
    written("'a'", "a = ['Conv($maps, 1)']"): r"a variable has no value \(at blocks.a\[0\]\): got \$maps",
    written(
        "{block='a', map=3}", "a = ['Conv($maps, 1)']"
    ): r"a variable has no value \(at blocks.a\[0\]\): got \$maps; did you mean 'map'",
    written(
        "{block='a', map=3}", "a = ['ReLU()']"
    ): r"block 'a' has no such variable \(at network.parts\[0\]\): got 'map'",
    written("{block='a', maps={}}", "a = ['Conv($maps, 1)']"): r"a variable is a number, a text, or an array of them",
    written("{block='a', maps=[[[[[[[[[[3]]]]]]]]]]}", "a = ['Conv($maps, 1)']"): r"a variable is a number, a text",
    written("{block='a', maps=2020-01-01}", "a = ['Conv($maps, 1)']"): r"a variable is a number, a text",
    written("{block='a', maps='$x'}", "a = ['Conv($maps, 1)']"): r"a variable has no value .*got \$x",
    written("{block='a', maps='$x, 3'}", "a = ['Conv($maps, 1)']"): r"a variable has no value|this is no value",
    written(
        "'b29'", DOUBLING
    ): r"the number of parts when they are written out is beyond the limit \(at blocks.b17\[1\]\): got 131,072",
    written("'b24', 'ReLU()'", TAPS): r"the number of parts when they are written out is beyond the limit",
    written("{block='b24', v=50}", VARIANTS): r"beyond the limit",
    written(
        "{parts=['ReLU()'], times=1000000}"
    ): r"the number of parts when they are written out is beyond the limit .*got 1,000,000",
    written("{parts=[" * 40 + "'ReLU()'" + "]}" * 40): r"the nesting of parts is beyond the limit",
    nodes("nodes = [3]"): r"this is no table \(at nodes\[0\]\): got 3",
    nodes("nodes = [{name='a'}]"): r"a key is missing \(at nodes\[0\] 'a'\): got 'name', expected 'layer'",
    nodes("nodes = [{name='a', layer='ReLU'}]"): r"this is no layer \(at nodes\[0\] 'a'\): got 'ReLU'",
    nodes("nodes = [{name='a', layer='ReLU()', inputs=['b']}]"): r"reads a value that does not exist \(at node 'a'\)",
    nodes(
        "nodes = [{name='a', layer='ReLU()', inputs=[3]}]"
    ): r"a name in Node.inputs must be a str \(at nodes\[0\] 'a'\)",
    nodes("nodes = [{name='a', layer='ReLU()'}]\noutputs = ['b']"): r"an output names no value: got 'b'",
    nodes("nodes = [{name='a', layer='ReLU()'}]\noutputs = []"): r"the network has no outputs",
    nodes("nodes = []"): r"the network is empty",
}


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_what_is_no_network_is_refused(text):
    with pytest.raises(FormatError, match=WRONG[text]) as caught:
        from_toml(text)
    assert len(str(caught.value)) < 1500


def test_dots_in_texts_are_no_keys():
    name = ".".join("abc" * 100)
    network = Network([Input("x", (3, 4))], [Node(name, ReLU(), ["x"])], [name])
    assert from_toml(to_toml(network)) == network


def test_limits_and_what_is_given():
    text = written("'ReLU()', 'ReLU()'")
    with pytest.raises(FormatError, match=r"beyond the limit .*got 2, expected at most 1"):
        from_toml(text, limits=Limits(nodes=1))
    with pytest.raises(FormatError, match=r"the number of nodes is beyond the limit: got 3, expected at most 2"):
        from_toml(to_toml(Net.input(3).then(ReLU(), ReLU(), ReLU())), limits=Limits(nodes=2))
    with pytest.raises(FormatError, match=r"the number of blocks is beyond the limit"):
        from_toml(written("'a'", "b = []\nc = []\nd = []\na = ['b', 'c', 'd', 'ReLU()']"), limits=Limits(nodes=1))
    with pytest.raises(InvalidTypeError, match=r"from_toml\(\) cannot read this: got 3"):
        from_toml(3)
    with pytest.raises(InvalidTypeError, match=r"to_toml\(\) takes a network: got 3"):
        to_toml(3)


TEXT = written('{block="unit", maps=6, times=2, name="s"}, {residual=["ReLU()"]}, "Conv(2, 1)"', UNIT)


@given(st.data())
def test_a_mutated_text_is_refused_or_read(data):
    text = TEXT
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        stop = data.draw(st.integers(start, min(len(text), start + 8)))
        piece = data.draw(
            st.sampled_from(
                ["", text[start:stop] * 2, "9", "-", '"', "[", "}", "$", "(", ",", "=", ".", "\\", "\x00", "\n"]
            )
        )
        text = text[:start] + piece + text[stop:]
    try:
        network = from_toml(text)
    except FormatError:
        return
    assert from_toml(to_toml(network)) == network


@pytest.mark.parametrize("text", [TEXT, *list(WRONG)[9::9]], ids=range(9))
def test_reading_opens_nothing_and_runs_nothing(text, tmp_path):
    harmless, suspect = tmp_path / "harmless.toml", tmp_path / "suspect.toml"
    harmless.write_text(TEXT)
    suspect.write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", AUDIT.read_text(), "from_toml", str(harmless), str(suspect)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    result, *events = done.stdout.splitlines()
    assert result == "read" if text == TEXT else result.startswith("refused: ")
    assert events == [f"open ({str(suspect)!r},)"]
