"""Mermaid, DOT and networkx: every node and edge once, scopes nested, no name that breaks out of its quotes."""

import re
import sys

import acme_layers
import pytest
from hypothesis import given

from cnnbudget import Add, Block, Conv, Input, InvalidTypeError, MissingExtraError, Net, Network, Node, ReLU, ShapeError
from cnnbudget.interop import to_dot, to_mermaid, to_networkx
from cnnbudget.testing import graphs

EVIL = [
    'a"]; click v0 "javascript:alert(1)',
    "</script><img src=x onerror=alert(1)>",
    "back\\slash\\",
    "new\nline\r\x00\u202eright to left",
    "%%{init: {}}%%",
    "end",
    "a#quot;b;c|d`e",
    "é\ud800",
]


def edges_by_hand(network):
    names = [source.name for source in network.inputs] + [node.name for node in network.nodes]
    return [(names.index(name), names.index(node.name)) for node in network.nodes for name in node.inputs]


@given(graphs.graphs())
def test_every_box_and_every_edge_is_there_once(net):
    network = net.network
    count = len(network.inputs) + len(network.nodes)
    for text, box, edge in (
        (to_mermaid(net), r"^ *v(\d+)(?:\(\[|\[\[|\[)\"", r"^  v(\d+) -- .* --> v(\d+)$"),
        (to_dot(net), r"^ *v(\d+) \[label=\"", r"^  v(\d+) -> v(\d+) \[label"),
    ):
        assert sorted(map(int, re.findall(box, text, re.MULTILINE))) == list(range(count))
        assert [(int(a), int(b)) for a, b in re.findall(edge, text, re.MULTILINE)] == edges_by_hand(network)


@given(graphs.graphs())
def test_every_scope_opens_and_closes(net):
    text = to_mermaid(net)
    depth, seen = 0, []
    for line in text.splitlines()[1:]:
        if "subgraph" in line:
            depth += 1
            seen.append(line)
        elif line.strip() == "end":
            depth -= 1
        elif line.startswith("  " * (depth + 1) + "v"):
            continue
        else:
            pytest.fail(line)
        assert depth >= 0
    assert depth == 0
    scopes = {
        tuple(re.split("[/.]+", node.name)[: i + 1])
        for node in net.network.nodes
        for i in range(len(re.split("[/.]+", node.name)) - 1)
    }
    assert len(seen) == len(scopes)
    assert to_dot(net).count("subgraph cluster_") == len(scopes)
    assert to_dot(net).count("{") == to_dot(net).count("}") == len(scopes) + 1


def test_a_scope_that_is_entered_again_is_one_box():
    nodes = [Node("s/a", ReLU(), ["x"]), Node("b", ReLU(), ["s/a"]), Node("s.t/c", Add(), ["b", "s/a"])]
    network = Network([Input("x", (3, 8))], nodes, ["s.t/c", "b"])
    assert to_mermaid(network).splitlines() == [
        "flowchart TD",
        '  v0(["x"])',
        '  subgraph s0["s"]',
        '    v1["a<br>ReLU()"]',
        '    subgraph s1["t"]',
        '      v3[["c<br>Add()"]]',
        "    end",
        "  end",
        '  v2[["b<br>ReLU()"]]',
        '  v0 -- "3x8" --> v1',
        '  v1 -- "3x8" --> v2',
        '  v2 -- "3x8" --> v3',
        '  v1 -- "3x8" --> v3',
    ]
    assert to_dot(network).splitlines() == [
        "digraph {",
        "  node [shape=box];",
        '  v0 [label="x", shape=oval];',
        "  subgraph cluster_0 {",
        '    label="s";',
        '    v1 [label="a\\nReLU()"];',
        "    subgraph cluster_1 {",
        '      label="t";',
        '      v3 [label="c\\nAdd()", peripheries=2];',
        "    }",
        "  }",
        '  v2 [label="b\\nReLU()", peripheries=2];',
        '  v0 -> v1 [label="3x8"];',
        '  v1 -> v2 [label="3x8"];',
        '  v2 -> v3 [label="3x8"];',
        '  v1 -> v3 [label="3x8"];',
        "}",
    ]


@pytest.mark.parametrize("name", EVIL)
def test_names_stay_in_their_quotes(name):
    inside = name.strip("/")
    nodes = [Node(f"{inside}/x", ReLU(), ["x"]), Node(inside, ReLU(), [f"{inside}/x"])]
    network = Network([Input("x", (3, 8))], nodes, [inside])
    for text in (to_mermaid(network), to_dot(network)):
        assert text.isprintable() or set(text) - {"\n"} == {c for c in text if c.isprintable()}
        text.encode()
    quoted = r'"[^"<>\]]*(<br>[^"<>\]]*)?"'
    boxes = rf"v\d+(\(\[{quoted}\]\)|\[{quoted}\]|\[\[{quoted}\]\])"
    for line in to_mermaid(network).splitlines():
        assert re.fullmatch(rf'flowchart TD| *end| *subgraph s\d+\[{quoted}\]| *{boxes}|  v\d+ -- "3x8" --> v\d+', line)
    label = r'label="([^"\\]|\\.)*"'
    opening = r"digraph \{| *\}| *node \[shape=box\];| *subgraph cluster_\d+ \{"
    for line in to_dot(network).splitlines():
        assert re.fullmatch(rf"{opening}| *{label};| *v\d+ \[{label}(, \w+=\w+)?\];|  v\d+ -> v\d+ \[{label}\];", line)


def test_layers_of_others_are_drawn():
    net = Net.input(8, 6, 6).then(acme_layers.ChannelScale(2))
    assert 'v1[["channel_scale<br>ChannelScale(2)"]]' in to_mermaid(net)
    assert 'v1 [label="channel_scale\\nChannelScale(2)", peripheries=2]' in to_dot(net)


def test_many_nodes_are_drawn():
    net = Net.input(4, 8, 8).repeat(Block(Block(Conv(4, 3, padding=1), ReLU(), name="a"), name="b"), 5000, name="r")
    assert to_mermaid(net).count("-->") == to_dot(net).count("->") == 10_000


@pytest.mark.parametrize("function", [to_mermaid, to_dot, to_networkx])
def test_what_is_given_is_checked(function):
    if function is to_networkx:
        pytest.importorskip("networkx")
    with pytest.raises(InvalidTypeError, match=rf"{function.__name__}\(\) takes a network"):
        function([1])
    with pytest.raises(ShapeError, match="node 'conv'"):
        function(Network([Input("x", (3, 2, 2))], [Node("conv", Conv(4, 3), ["x"])], ["conv"]))


def test_networkx():
    networkx = pytest.importorskip("networkx")
    nodes = [Node("a", Conv(3, 1), ["x"]), Node("b", Conv(3, 1), ["a"], shares="a"), Node("c", Add(), ["b", "b", "x"])]
    network = Network([Input("x", (3, 8))], nodes, ["c", "x"])
    graph = to_networkx(network)
    assert isinstance(graph, networkx.MultiDiGraph)
    assert dict(graph.nodes) == {
        "x": {"kind": "input", "shape": (3, 8), "output": True, "layer": None, "shares": None},
        "a": {"kind": "node", "shape": (3, 8), "output": False, "layer": Conv(3, 1), "shares": None},
        "b": {"kind": "node", "shape": (3, 8), "output": False, "layer": Conv(3, 1), "shares": "a"},
        "c": {"kind": "node", "shape": (3, 8), "output": True, "layer": Add(), "shares": None},
    }
    assert sorted((a, b, data["position"]) for a, b, data in graph.edges(data=True)) == [
        *(("a", "b", 0), ("b", "c", 0), ("b", "c", 1), ("x", "a", 0), ("x", "c", 2))
    ]
    assert networkx.is_directed_acyclic_graph(graph)


def test_networkx_is_asked_for_when_it_is_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(MissingExtraError, match=r"to_networkx\(\) needs networkx; pip install cnnbudget\[networkx\]"):
        to_networkx(Net.input(3, 8, 8).then(ReLU()))
