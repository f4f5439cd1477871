"""JSON: every network goes out and comes back; nothing else comes in, and nothing is done while it is refused."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import acme_layers
import pytest
from attrs import field, frozen
from hypothesis import example, given
from hypothesis import strategies as st

import cnnbudget.interop
from cnnbudget import (
    Add,
    Conv,
    Dropout,
    ElementwiseLayer,
    Input,
    InvalidTypeError,
    InvalidValueError,
    Linear,
    MissingRuleError,
    Net,
    Network,
    Node,
    Permute,
    ReLU,
    Reshape,
    zoo,
)
from cnnbudget.errors import FormatError
from cnnbudget.interop import Limits, from_json, json_schema, to_json
from cnnbudget.interop.codec import Codec, built_in
from cnnbudget.testing import families, graphs, strategies

AUDIT = Path(__file__).with_name("audit.py")
SMALL = Net.input(3, 8, 8).then(Conv(4, 3, padding="same"), ReLU(), name="stem").then(Conv(4, 3))
TEXT = to_json(SMALL)
PARTS = json.loads(TEXT)


def changed(**parts):
    return json.dumps({**PARTS, **parts})


def node(**parts):
    return changed(nodes=[{**PARTS["nodes"][0], **parts}, *PARTS["nodes"][1:]])


# Out and in.


@given(graphs.graphs() | strategies.networks())
def test_every_network_comes_back(net):
    text = to_json(net)
    assert text.isascii()
    assert from_json(text) == net.network
    assert to_json(from_json(text.encode())) == text


@given(st.data())
def test_every_layer_comes_back(data):
    shape = data.draw(strategies.shapes())
    layer = data.draw(families.all_layers(shape))
    if type(layer) in families.INPLACE and data.draw(st.booleans()):
        layer = layer.evolve(inplace=True)
    net = Net.input(*shape).then(layer)
    assert from_json(to_json(net)) == net.network


@given(st.text(min_size=1, max_size=12).filter(lambda name: "/" not in (name[0], name[-1])))
@example("<script>alert(1)</script>")
@example("\u202e\x00\ud800")
def test_any_name_comes_back(name):
    network = Network([Input("x", (3, 4))], [Node(name, ReLU(), ["x"])], [name]) if name != "x" else SMALL.network
    assert from_json(to_json(network)) == network


def test_there_is_a_word_for_every_layer():
    assert {*families.KINDS} <= {*built_in().values()}
    public = {value for name in cnnbudget.__all__ if isinstance(value := getattr(cnnbudget, name), type)}
    bases = {"Layer", "ElementwiseLayer", "StatelessLayer"}
    assert {*built_in()} == {kind.__name__ for kind in public if issubclass(kind, cnnbudget.Layer)} - bases


TEXT_OF_ALL_KINDS = r"""
{
 "format": "cnnbudget",
 "version": 1,
 "inputs": [
  {"name": "x", "shape": [3, 8, 8]}
 ],
 "nodes": [
  {"name": "a", "layer": "Conv", "settings": {"filters": 4, "kernel": [3, 3], "padding": [[0, 1], [1, 0]]}, "inputs": ["x"]},
  {"name": "b", "layer": "Conv", "settings": {"filters": 4, "kernel": 3}, "inputs": ["x"]},
  {"name": "c", "layer": "Conv", "settings": {"filters": 4, "kernel": 3}, "inputs": ["x"], "shares": "b"},
  {"name": "d/e", "layer": "Add", "settings": {"inplace": true}, "inputs": ["b", "c"]},
  {"name": "\u00e9", "layer": "Permute", "settings": {"axes": [1, 0, 2]}, "inputs": ["d/e"]},
  {"name": "f", "layer": "Reshape", "settings": {"shape": [-1]}, "inputs": ["\u00e9"]},
  {"name": "g", "layer": "Dropout", "settings": {"rate": 1}, "inputs": ["f"]}
 ],
 "outputs": ["g", "a"]
}
"""


def test_the_text():
    nodes = [
        Node("a", Conv(4, (3, 3), padding=((0, 1), (1, 0))), ["x"]),
        Node("b", Conv(4, 3, stride=1, dilation=1), ["x"], shares=None),
        Node("c", Conv(4, 3), ["x"], shares="b"),
        Node("d/e", Add(inplace=True), ["b", "c"]),
        Node("é", Permute(1, 0, 2), ["d/e"]),
        Node("f", Reshape(-1), ["é"]),
        Node("g", Dropout(1.0), ["f"]),
    ]
    text = to_json(Network([Input("x", (3, 8, 8))], nodes, ["g", "a"]))
    assert text.splitlines() == TEXT_OF_ALL_KINDS.splitlines()[1:]


def test_equal_networks_have_equal_texts():
    assert to_json(Net.input(4).then(Dropout(1.0))) == to_json(Net.input(4).then(Dropout(1)).network)


def test_from_a_file(tmp_path):
    path = tmp_path / "net.json"
    path.write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    assert from_json(path) == from_json(bytearray(TEXT.encode())) == SMALL.network
    with pytest.raises(FileNotFoundError):
        from_json(tmp_path / "other.json")
    with pytest.raises(FormatError, match=r"too large: got more than 20 bytes"):
        from_json(path, limits=Limits(bytes=20))


def test_a_large_network_comes_back():
    nodes = [Node(f"n{number}", ReLU(), [f"n{number - 1}" if number else "x"]) for number in range(100_000)]
    network = Network([Input("x", (3, 8, 8))], nodes, ["n99999"])
    assert from_json(to_json(network)) == network
    with pytest.raises(
        FormatError, match=r"from_json\(\): the number of nodes is beyond the limit: got 100,000, expected at most 99"
    ):
        from_json(to_json(network), limits=Limits(nodes=99_999))


def test_the_zoo_comes_back():
    for make in (zoo.googlenet, zoo.resnet50, zoo.efficientnet_b0, zoo.convnext_tiny):
        network = make().network
        assert from_json(to_json(network)) == network


# Layers of others.


@frozen(repr=False)
class Loose(ElementwiseLayer):
    anything: object

    def __attrs_post_init__(self):
        if self.anything == 13:
            raise ValueError("unlucky")


@frozen(repr=False)
class Made(ElementwiseLayer):
    sizes: tuple = field(factory=tuple)


ACME = {
    "acme.ChannelScale": acme_layers.ChannelScale,
    "acme.Conv": acme_layers.Conv,
    "acme.WideConv": acme_layers.WideConv,
}


def test_layers_of_others_are_listed():
    net = Net.input(8, 6, 6).then(
        acme_layers.ChannelScale(2), acme_layers.Conv(), acme_layers.WideConv(4, 3), Conv(4, 1)
    )
    text = to_json(net, layers=ACME)
    assert '"layer": "acme.ChannelScale", "settings": {"squeeze": 2}' in text
    assert from_json(text, layers=ACME) == net.network
    with pytest.raises(
        MissingRuleError,
        match=r"to_json\(\) has no word for a layer \(at node 'channel_scale'\): got ChannelScale of acme_layers.layers.*"
        r"give layers={'ChannelScale': ChannelScale}",
    ):
        to_json(net)
    with pytest.raises(
        FormatError, match=r"no layer has this name \(at nodes\[0\] 'channel_scale'\): got 'acme.ChannelScale'"
    ):
        from_json(text)


@pytest.mark.parametrize(
    "layers", [[acme_layers.Conv], {"x": 3}, {"x": Net}, {3: acme_layers.Conv}, {"": acme_layers.Conv}]
)
def test_lists_of_layers_are_checked(layers):
    for function, argument in ((to_json, SMALL), (from_json, TEXT)):
        with pytest.raises(InvalidTypeError, match=rf"{function.__name__}\(\) takes layers by word"):
            function(argument, layers=layers)
        with pytest.raises(InvalidValueError, match=r"a built-in layer has this word: got 'Conv'"):
            function(argument, layers={"Conv": acme_layers.Conv})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**63, {1}, (1, (2, object())), b"x", 1j])
def test_settings_that_have_no_form(value):
    net = Net.input(8, 6, 6).then(Loose(value))
    with pytest.raises(InvalidValueError, match=r"Loose.anything cannot be written \(at node 'loose'\)"):
        to_json(net, layers={"Loose": Loose})


@pytest.mark.parametrize("value", [None, True, -(2**63) + 1, 1e300, 0.1, "é\ud800", (), (1, (2.5, ("x", None)))])
def test_settings_that_have_one(value):
    network = Net.input(8, 6, 6).then(Loose(value)).network
    assert from_json(to_json(network, layers={"Loose": Loose}), layers={"Loose": Loose}) == network


def test_settings_are_not_nested_forever():
    value = ()
    for _ in range(9):
        value = (value,)
    with pytest.raises(InvalidValueError, match=r"Loose.anything cannot be written"):
        to_json(Net.input(8, 6, 6).then(Loose(value)), layers={"Loose": Loose})


def test_a_layer_of_others_that_refuses_in_its_own_way():
    text = to_json(Net.input(8, 6, 6).then(Loose(3)), layers={"Loose": Loose})
    with pytest.raises(FormatError, match=r"Loose cannot be made \(at nodes\[0\] 'loose'\): got anything=13; unlucky"):
        from_json(text.replace("3}", "13}"), layers={"Loose": Loose})


def test_a_default_that_is_made():
    network = Net.input(8, 6, 6).then(Made()).network
    text = to_json(network, layers={"Made": Made})
    assert '"settings": {"sizes": []}' in text
    assert from_json(text, layers={"Made": Made}) == network


# What is no network.

WRONG = {
    "": r"this is not JSON \(at line 1, column 1\): got Expecting value; a str is the text itself",
    TEXT[:-3]: r"this is not JSON \(at line 12, column 21\): got Expecting",
    "[]": r"this is no object: got \[\], expected an object with format, version",
    "3": r"this is no object: got 3",
    "{}": r"an object lacks a key: got none, expected 'format'",
    changed(
        format="onnx"
    ): r"another format, or another version of it: got format 'onnx', version 1, expected format 'cnnbudget'",
    changed(
        version=2
    ): r"another version of it: got format 'cnnbudget', version 2, expected format 'cnnbudget', version 1",
    changed(version=True): r"version is of the wrong kind: got True, expected an int",
    changed(nodes={}): r"nodes is of the wrong kind: got {}, expected a list",
    changed(more=1): r"an object has an unknown key: got 'more'",
    changed(inputs=[]): r"the network is empty: got no inputs",
    changed(inputs=[3]): r"this is no object \(at inputs\[0\]\): got 3",
    changed(inputs=[{"name": "input", "shape": [3, -8, 8]}]): r"out of range \(at inputs\[0\] 'input'\): got -8",
    changed(
        inputs=[{"name": "input", "shape": [3, 2**63, 8]}]
    ): r"out of range \(at inputs\[0\] 'input'\): got 9223372036854775808",
    changed(inputs=[{"name": "input", "shape": [3, True, 8]}]): r"must be an int \(at inputs\[0\] 'input'\): got True",
    changed(inputs=[{"name": "input", "shape": []}]): r"shape is empty \(at inputs\[0\] 'input'\)",
    changed(inputs=[{"name": "input", "shape": [3]}]): r"Conv does not take this shape \(at node 'stem/conv'",
    changed(inputs=PARTS["inputs"] * 2): r"a name is used twice: got 'input'",
    changed(outputs=["other"]): r"an output names no value: got 'other'",
    changed(outputs=[3]): r"a name in Network.outputs must be a str: got 3",
    changed(nodes=PARTS["nodes"][1:]): r"reads a value that does not exist \(at node 'stem/relu'\)",
    changed(nodes=PARTS["nodes"][::-1]): r"reads a value before it is made \(at node 'conv'\)",
    node(name="conv"): r"(reads a value that does not exist|used twice)",
    node(name="/"): r"Node.name is not usable \(at nodes\[0\] '/'\)",
    node(name=3): r"name is of the wrong kind \(at nodes\[0\]\): got 3, expected a text",
    node(inputs=["stem/conv"]): r"reads a value before it is made",
    node(inputs=[["input"]]): r"a name in Node.inputs must be a str \(at nodes\[0\] 'stem/conv'\)",
    node(shares="stem/relu"): r"shares the parameters of a node that does not come before it",
    node(layer="conv"): r"no layer has this name \(at nodes\[0\] 'stem/conv'\): got 'conv'; did you mean 'Conv'",
    node(layer="Lambda"): r"no layer has this name",
    node(layer="WindowPool"): r"no layer has this name",
    node(layer=["Conv"]): r"layer is of the wrong kind",
    node(
        settings={"filters": 4}
    ): r"Conv lacks a setting \(at nodes\[0\] 'stem/conv'\): got filters, expected 'kernel'",
    node(settings={}): r"Conv lacks a setting \(at nodes\[0\] 'stem/conv'\): got none, expected 'filters'",
    node(
        settings={"filters": 4, "kernel": 3, "strides": 2}
    ): r"Conv has no such setting .*got 'strides'; did you mean 'stride'",
    node(settings={"filters": 0, "kernel": 3}): r"Conv.filters is out of range .*got 0",
    node(settings={"filters": 4, "kernel": 2.5}): r"Conv.kernel must be an int",
    node(settings={"filters": 4, "kernel": {"a": 3}}): r"Conv.kernel is no setting of a layer",
    node(settings={"filters": 4, "kernel": [3, [[[[[[[[[]]]]]]]]]]}): r"Conv.kernel is no setting of a layer",
    node(
        layer="ReLU", settings={}, inputs=["input"] * 10_000
    ): r"ReLU takes 1 input \(at node 'stem/conv', ReLU\(\) on .*: got 10000",
    TEXT.replace('"kernel": 3', '"kernel": NaN', 1): r"a number is not finite: got 'NaN'",
    TEXT.replace('"kernel": 3', '"kernel": -Infinity', 1): r"a number is not finite: got '-Infinity'",
    TEXT.replace('"kernel": 3', '"kernel": 1e400', 1): r"a number is not finite: got '1e400'",
    TEXT.replace('"kernel": 3', '"kernel": ' + "9" * 5000, 1): r"a number is too long: got 5,000 digits",
    TEXT.replace('"kernel": 3', '"kernel": 3, "kernel": 3', 1): r"an object has a key twice: got 'kernel'",
    "[" * 100_000: r"nested too deeply",
    '{"a":' * 100_000: r"nested too deeply",
    "[[],{}" + ",[]" * 3_000_000: r"the number of lists and objects is beyond the limit",
    " " * (2**24 + 1): r"the text is too large",
}


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_what_is_no_network_is_refused(text):
    with pytest.raises(FormatError, match=WRONG[text]) as caught:
        from_json(text)
    assert len(str(caught.value)) < 1500
    assert "from_json()" in str(caught.value)


def test_what_is_no_text():
    for source in (b"\xff\xfe{\x00", "\ud800"):
        with pytest.raises(
            FormatError, match=r"from_json\(\): the text is not in UTF-8: got a wrong byte at position 0"
        ):
            from_json(source)
    for source in (3, None, SMALL, PARTS):
        with pytest.raises(InvalidTypeError, match=r"from_json\(\) cannot read this: got"):
            from_json(source)
    for source in (SMALL.costs(), "text"):
        with pytest.raises(InvalidTypeError, match=r"to_json\(\) takes a network"):
            to_json(source) if isinstance(source, str) else to_json(None)


def test_limits():
    with pytest.raises(
        FormatError,
        match=r"the number of nodes is beyond the limit: got 3, expected at most 2; .*Limits\(nodes=\.\.\.\)",
    ):
        from_json(TEXT, limits=Limits(nodes=2))
    with pytest.raises(
        FormatError,
        match=r"the size of an axis is beyond the limit \(at value 'input'\): got 8, expected at most 7",
    ):
        from_json(TEXT, limits=Limits(dimension=7))
    assert from_json(TEXT, limits=Limits(nodes=3, dimension=8, bytes=len(TEXT))) == SMALL.network
    with pytest.raises(InvalidTypeError, match=r"from_json\(\) takes limits: got 7"):
        from_json(TEXT, limits=7)
    with pytest.raises(InvalidValueError, match=r"Limits.nodes is out of range"):
        Limits(nodes=0)


@given(st.data())
def test_a_mutated_text_is_refused_or_read(data):
    """Characters that are changed, cut and doubled anywhere: our error, or a network that can be walked."""
    text = TEXT
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        stop = data.draw(st.integers(start, min(len(text), start + 8)))
        piece = data.draw(
            st.sampled_from(["", text[start:stop] * 2, "9", "-", '"', "[", "}", "null", "1e9", ",", "\\u0000", "\x00"])
        )
        text = text[:start] + piece + text[stop:]
    try:
        network = from_json(text)
    except FormatError:
        return
    assert network.nodes
    assert from_json(to_json(network)) == network


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3),
        lambda x: (
            st.lists(x, max_size=4)
            | st.dictionaries(st.sampled_from([*PARTS, *PARTS["nodes"][0], "shape", "shares"]), x, max_size=6)
        ),
        max_leaves=12,
    ),
    st.sampled_from([*PARTS, None]),
)
def test_any_value_anywhere_is_refused_or_read(value, key):
    text = json.dumps(value) if key is None else json.dumps({**PARTS, key: value})
    with contextlib.suppress(FormatError):
        from_json(text)


@pytest.mark.parametrize("text", [TEXT, *list(WRONG)[1:44:6]], ids=range(9))
def test_reading_opens_nothing_and_runs_nothing(text, tmp_path):
    harmless, suspect = tmp_path / "harmless.json", tmp_path / "suspect.json"
    harmless.write_text(TEXT)
    suspect.write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", AUDIT.read_text(), "from_json", str(harmless), str(suspect)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    result, *events = done.stdout.splitlines()
    assert result == "read" if text == TEXT else result.startswith("refused: from_json()")
    assert events == [f"open ({str(suspect)!r},)"]


# The schema.

SHIPPED = Path(cnnbudget.interop.__file__).with_name("network.schema.json")
KNOWN = {
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "minItems",
    "maxItems",
    "enum",
    "const",
    "anyOf",
    "allOf",
    "if",
    "then",
    "$ref",
    "default",
    "$schema",
    "title",
    "$defs",
}
TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}


def is_type(value, name):
    return isinstance(value, TYPES[name]) and (name == "boolean" or not isinstance(value, bool))


def fits(value, schema, root):
    """A validator of the part of JSON Schema that is used here, from its specification."""
    assert {*schema} <= KNOWN
    kinds = schema.get("type", [])
    if kinds and not any(is_type(value, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        return False
    if value not in schema.get("enum", [value]) or value != schema.get("const", value):
        return False
    if "$ref" in schema:
        target = root
        for part in schema["$ref"].split("/")[1:]:
            target = target[part]
        if not fits(value, target, root):
            return False
    if isinstance(value, dict):
        known = schema.get("properties", {})
        if any(key not in value for key in schema.get("required", [])):
            return False
        if schema.get("additionalProperties") is False and not {*value} <= {*known}:
            return False
        if not all(fits(value[key], known[key], root) for key in value if key in known):
            return False
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            return False
        if "items" in schema and not all(fits(item, schema["items"], root) for item in value):
            return False
    if "if" in schema and fits(value, schema["if"], root) and not fits(value, schema["then"], root):
        return False
    return all(fits(value, part, root) for part in schema.get("allOf", [])) and (
        "anyOf" not in schema or any(fits(value, part, root) for part in schema["anyOf"])
    )


def test_the_schema_is_shipped():
    assert json.loads(SHIPPED.read_text(encoding="utf-8")) == json_schema()


@given(graphs.graphs() | strategies.networks())
def test_the_schema_accepts_what_is_written(net):
    schema = json_schema()
    assert fits(json.loads(to_json(net)), schema, schema)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "[]",
            "{}",
            changed(format="onnx"),
            changed(version=2),
            changed(nodes={}),
            changed(more=1),
            changed(inputs=[]),
        ),
        *(changed(outputs=[3]), changed(inputs=[{"name": "input", "shape": []}]), changed(inputs=[{"name": "input"}])),
        *(
            node(layer="conv"),
            node(name=3),
            node(settings={"filters": 4}),
            node(settings={"filters": 4, "kernel": 2.5}),
        ),
        *(
            node(settings={"filters": 4, "kernel": 3, "strides": 2}),
            node(settings={"filters": 4, "kernel": 3, "bias": 1}),
        ),
        node(settings={"filters": 4, "kernel": 3, "padding": "full"}),
        changed(nodes=[{key: value for key, value in PARTS["nodes"][0].items() if key != "settings"}]),
    ],
)
def test_the_schema_refuses_what_is_refused(text):
    schema = json_schema()
    assert not fits(json.loads(text), schema, schema)
    with pytest.raises(FormatError):
        from_json(text)


def test_linear_is_in_it():
    assert json_schema()["$defs"]["Linear"]["required"] == ["features"]
    assert Linear(3) == from_json(to_json(Net.input(2).then(Linear(3)))).nodes[0].layer


def test_the_codec_checks_what_other_formats_say():
    codec = Codec(None, "f()")
    with pytest.raises(FormatError, match=r"a layer is named by a word: got 3, expected for example 'Conv'"):
        codec.decode(3, {})
    with pytest.raises(FormatError, match=r"the settings of Conv are no object: got \[64, 3\]"):
        codec.decode("Conv", [64, 3])
