"""Networks as graphs that other programs draw or search: Mermaid, Graphviz' DOT, networkx.

Names are data: characters that mean something to the other program are escaped, and those that cannot be seen are spelled out.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cnnbudget.errors import MissingExtraError
from cnnbudget.graph.shapes import specs
from cnnbudget.interop.frames import parts_of
from cnnbudget.interop.given import network_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cnnbudget.graph.nodes import Network
    from cnnbudget.interop.given import HasNetwork
    from cnnbudget.tensors import Shape

__all__ = ["to_dot", "to_mermaid", "to_networkx"]

_END: tuple[Any, Any] = (None, None)
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _.,:()/=*+-'")


def to_mermaid(network: Network | HasNetwork) -> str:
    """Draws a network as a Mermaid flowchart, which many Markdown viewers show. Scopes are boxes, edges say the shapes.

    Args:
        network: A network, or a ``Net``.

    Returns:
        The text of the chart.

    Raises:
        ShapeError: If a layer cannot be applied to what reaches it.

    Example:
        >>> from cnnbudget import Conv, Net, ReLU
        >>> from cnnbudget.interop import to_mermaid
        >>> print(to_mermaid(Net.input(3, 8, 8).then(Conv(4, 3), name="stem").then(ReLU())), end="")
        flowchart TD
          v0(["input"])
          subgraph s0["stem"]
            v1["conv<br>Conv(4, 3)"]
          end
          v2[["relu<br>ReLU()"]]
          v0 -- "3x8x8" --> v1
          v1 -- "4x6x6" --> v2
    """
    checked = network_of(network, "to_mermaid()")
    drawn = _Drawing(checked)
    lines = ["flowchart TD"]
    for depth, kind, number, text in drawn.boxes():
        indent = "  " * (depth + 1)
        if kind == "open":
            lines.append(f'{indent}subgraph s{number}["{_mermaid(text)}"]')
        elif kind == "close":
            lines.append(f"{indent}end")
        else:
            name, layer = text
            label = _mermaid(name) if layer is None else f"{_mermaid(name)}<br>{_mermaid(layer)}"
            before, after = {"input": ("([", "])"), "output": ("[[", "]]"), "node": ("[", "]")}[kind]
            lines.append(f'{indent}v{number}{before}"{label}"{after}')
    lines += [f'  v{start} -- "{_sizes(shape)}" --> v{end}' for start, end, shape in drawn.edges()]
    return "\n".join(lines) + "\n"


def to_dot(network: Network | HasNetwork) -> str:
    r"""Draws a network in Graphviz' language DOT. Scopes are clusters, edges say the shapes, outputs have two outlines.

    Args:
        network: A network, or a ``Net``.

    Returns:
        The text of the graph.

    Raises:
        ShapeError: If a layer cannot be applied to what reaches it.

    Example:
        >>> from cnnbudget import Conv, Net, ReLU
        >>> from cnnbudget.interop import to_dot
        >>> print(to_dot(Net.input(3, 8, 8).then(Conv(4, 3), name="stem").then(ReLU())), end="")
        digraph {
          node [shape=box];
          v0 [label="input", shape=oval];
          subgraph cluster_0 {
            label="stem";
            v1 [label="conv\nConv(4, 3)"];
          }
          v2 [label="relu\nReLU()", peripheries=2];
          v0 -> v1 [label="3x8x8"];
          v1 -> v2 [label="4x6x6"];
        }
    """
    checked = network_of(network, "to_dot()")
    drawn = _Drawing(checked)
    lines = ["digraph {", "  node [shape=box];"]
    for depth, kind, number, text in drawn.boxes():
        indent = "  " * (depth + 1)
        if kind == "open":
            lines += [f"{indent}subgraph cluster_{number} {{", f'{indent}  label="{_dot(text)}";']
        elif kind == "close":
            lines.append(f"{indent}}}")
        else:
            name, layer = text
            label = _dot(name) if layer is None else f"{_dot(name)}\\n{_dot(layer)}"
            more = {"input": ", shape=oval", "output": ", peripheries=2", "node": ""}[kind]
            lines.append(f'{indent}v{number} [label="{label}"{more}];')
    lines += [f'  v{start} -> v{end} [label="{_sizes(shape)}"];' for start, end, shape in drawn.edges()]
    return "\n".join([*lines, "}"]) + "\n"


def to_networkx(network: Network | HasNetwork) -> Any:
    """Makes a ``networkx.MultiDiGraph`` of a network. Needs the extra ``cnnbudget[networkx]``.

    A node of the graph is called like the input or node. Its attributes are ``kind`` (``"input"`` or ``"node"``), ``shape`` of its
    value, ``output`` (whether it is one of the network), ``layer`` and ``shares``, which are ``None`` for inputs. An edge is a
    value that a node reads: its ``position`` among the node's inputs, and its ``shape``.

    Args:
        network: A network, or a ``Net``.

    Returns:
        The graph, with nodes in execution order.

    Raises:
        MissingExtraError: If networkx is not installed.
        ShapeError: If a layer cannot be applied to what reaches it.

    Example:
        >>> from cnnbudget import Conv, Net
        >>> from cnnbudget.interop import to_networkx
        >>> graph = to_networkx(Net.input(3, 8, 8).then(Conv(4, 3)))  # doctest: +SKIP
        >>> graph.nodes["conv"]["shape"]  # doctest: +SKIP
        (4, 6, 6)
    """
    try:
        networkx = import_module("networkx")
    except ImportError as error:
        raise MissingExtraError("to_networkx() needs networkx", hint="pip install cnnbudget[networkx]") from error
    checked = network_of(network, "to_networkx()")
    known, outputs = specs(checked), set(checked.outputs)
    graph = networkx.MultiDiGraph()
    for source in checked.inputs:
        output = source.name in outputs
        graph.add_node(source.name, kind="input", shape=source.shape, output=output, layer=None, shares=None)
    for node in checked.nodes:
        shape, output = known[node.name].shape, node.name in outputs
        graph.add_node(node.name, kind="node", shape=shape, output=output, layer=node.layer, shares=node.shares)
        for position, name in enumerate(node.inputs):
            graph.add_edge(name, node.name, position=position, shape=known[name].shape)
    return graph


class _Drawing:
    """The parts of a drawing, in order: inputs, then nodes within their scopes, then edges."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.shapes: Mapping[str, Shape] = {name: spec.shape for name, spec in specs(network).items()}
        names = [source.name for source in network.inputs] + [node.name for node in network.nodes]
        self.numbers = {name: number for number, name in enumerate(names)}

    def boxes(self) -> Iterator[tuple[int, str, int, Any]]:
        """Depth, kind, number and text of whatever has an outline; a scope opens and closes once."""
        for source in self.network.inputs:
            yield 0, "input", self.numbers[source.name], (source.name, None)
        inside: dict[Any, Any] = {}
        for node in self.network.nodes:
            *scopes, own = parts_of(node.name)
            at = inside
            for scope in scopes:
                at = at.setdefault(scope, {})
            at[self.numbers[node.name],] = (own, node)  # no str, so that no scope has this key
        outputs, count = set(self.network.outputs), 0
        running = [iter(inside.items())]
        while running:
            key, value = next(running[-1], _END)
            if key is None:
                running.pop()
                if running:
                    yield len(running) - 1, "close", 0, ""
            elif isinstance(key, str):
                yield len(running) - 1, "open", count, key
                running.append(iter(value.items()))
                count += 1
            else:
                own, node = value
                kind = "output" if node.name in outputs else "node"
                yield len(running) - 1, kind, key[0], (own, repr(node.layer))

    def edges(self) -> Iterator[tuple[int, int, Shape]]:
        """Every value that is read, as start, end and shape."""
        for node in self.network.nodes:
            for name in node.inputs:
                yield self.numbers[name], self.numbers[node.name], self.shapes[name]


def _sizes(shape: Shape) -> str:
    return "x".join(map(str, shape))


def _visible(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _mermaid(text: str) -> str:
    """Within double quotes; Mermaid's own escapes are ``#number;``."""
    return "".join(c if c in _PLAIN else f"#{ord(c)};" for c in _visible(text))


def _dot(text: str) -> str:
    """Within double quotes; a backslash means something in a label."""
    return _visible(text).replace("\\", "\\\\").replace('"', '\\"')
