"""Networks as TOML: pleasant to write by hand, with blocks, variables, repetitions and branches; and node by node.

By hand, ``[network]`` has ``parts``, each a layer as one writes it in Python, the name of a block, or a table:

.. code-block:: toml

   format = "cnnbudget"
   version = 1

   [inputs]
   image = [3, 224, 224]

   [blocks]
   unit = ["Conv($maps, 3, padding=1, bias=False)", "BatchNorm()", "ReLU()"]

   [network]
   parts = [
       { block = "unit", maps = 64, times = 2, name = "stem" },
       { residual = [{ block = "unit", maps = 64 }], name = "skip" },
       { branch = [["Conv(32, 1)"], ["MaxPool(3, stride=1, padding=1)"], []] },
       "GlobalAvgPool()",
       "Linear(10)",
   ]
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

from cnnbudget.errors import CnnBudgetError, FormatError, InvalidValueError, did_you_mean, shorten
from cnnbudget.graph.block import Block, Branch, Join, Output, Repeat, Structure, Tap
from cnnbudget.graph.build import build
from cnnbudget.graph.nodes import Input, Network, Node
from cnnbudget.interop.calls import is_call, parse_call, write_call
from cnnbudget.interop.codec import Codec
from cnnbudget.interop.given import network_of
from cnnbudget.interop.limits import LIMITS, finish, read_each, read_text, reading, refused
from cnnbudget.layers.base import Layer
from cnnbudget.layers.merge import Add, Concat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cnnbudget.graph.block import Part
    from cnnbudget.interop.given import HasNetwork
    from cnnbudget.interop.limits import Limits, Source

__all__ = ["from_toml", "to_toml"]

_WHAT = "from_toml()"
_MOST_DOTS = 100
_TEXTS = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'')
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def to_toml(network: Network | HasNetwork, *, layers: Mapping[str, type[Layer]] | None = None) -> str:
    """Writes a network as TOML, one node a line. A node reads the one before it unless it says what it reads.

    Args:
        network: A network, or a ``Net``.
        layers: Layers of other packages, by the words that stand for them in the text.

    Returns:
        The text.

    Raises:
        MissingRuleError: If a layer is neither built in nor listed.
        InvalidValueError: If a setting of a listed layer, or a name, has no form in TOML.

    Example:
        >>> from cnnbudget import Conv, Net, ReLU
        >>> from cnnbudget.interop import to_toml
        >>> print(to_toml(Net.input(3, 8, 8).then(Conv(4, 3, padding="same"), ReLU())), end="")
        format = "cnnbudget"
        version = 1
        <BLANKLINE>
        [inputs]
        input = [3, 8, 8]
        <BLANKLINE>
        [network]
        nodes = [
            { name = "conv", layer = "Conv(4, 3, padding='same')" },
            { name = "relu", layer = "ReLU()" },
        ]
    """
    checked, codec = network_of(network, "to_toml()"), Codec(layers, "to_toml()")
    lines = ['format = "cnnbudget"', "version = 1", "", "[inputs]"]
    for source in checked.inputs:
        name = source.name if _BARE.fullmatch(source.name) else _text(source.name)
        lines.append(f"{name} = [{', '.join(map(str, source.shape))}]")
    lines += ["", "[network]", "nodes = ["]
    before: tuple[str, ...] = (checked.inputs[0].name,)
    for node in checked.nodes:
        try:
            word, positional, named = codec.call_of(node.layer)
        except CnnBudgetError as error:
            raise error.at(f"node {node.name!r}") from None
        parts = [f"name = {_text(node.name)}", f"layer = {_text(write_call(word, positional, named))}"]
        if node.inputs != before:
            parts.append(f"inputs = {_texts(node.inputs)}")
        if node.shares is not None:
            parts.append(f"shares = {_text(node.shares)}")
        lines.append(f"    {{ {', '.join(parts)} }},")
        before = (node.name,)
    lines.append("]")
    if checked.outputs != before:
        lines.append(f"outputs = {_texts(checked.outputs)}")
    return "\n".join(lines) + "\n"


def _texts(names: tuple[str, ...]) -> str:
    return f"[{', '.join(map(_text, names))}]"


def _text(text: str) -> str:
    return '"' + "".join(c if c.isprintable() and c not in '"\\' else _escaped(c) for c in text) + '"'


def _escaped(c: str) -> str:
    if c in '"\\':
        return f"\\{c}"
    if 0xD800 <= ord(c) <= 0xDFFF:
        raise InvalidValueError("a name has no form in TOML", got=shorten(c), expected="no half of a surrogate pair")
    return f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\U{ord(c):08x}"


def from_toml(source: Source, *, layers: Mapping[str, type[Layer]] | None = None, limits: Limits = LIMITS) -> Network:
    """Reads a network that was written by hand, or by :func:`to_toml`.

    Nothing in the text is ever evaluated, no other file is opened, and the work is bounded by the limits; a text of more than
    1 MiB is refused, whatever ``limits.bytes`` says.

    By hand, ``parts`` is a list of layers (``"Conv(64, 3)"``), names of blocks, and tables:

    - ``{block = "unit", maps = 64}`` uses a block, with values for its variables (``$maps``);
    - ``{parts = [...]}`` is a block of its own;
    - ``{residual = [...], shortcut = [...], merge = "Add()"}`` adds a skip connection; without a ``shortcut`` it skips everything;
    - ``{branch = [[...], [...]], merge = "Concat()"}`` splits the chain; ``[]`` is the value itself;
    - ``{tap = "label"}`` and ``{join = ["label"], merge = "Concat()"}`` reach across;
    - ``{output = "label", parts = [...]}`` makes a further output.

    The first four may have a ``name`` (a scope); a block and ``parts`` may have ``times`` and ``share`` as well.

    Args:
        source: The text, its bytes, or the ``pathlib.Path`` of a file.
        layers: Layers of other packages, by the words that stand for them in the text.
        limits: What is accepted.

    Returns:
        The network, with shapes that fit.

    Raises:
        FormatError: If the text is no network; the error says where.

    Example:
        >>> from cnnbudget.interop import from_toml
        >>> text = '''
        ... format = "cnnbudget"
        ... version = 1
        ... inputs.image = [3, 32, 32]
        ... blocks.unit = ["Conv($maps, 3, padding='same')", "ReLU()"]
        ... network.parts = [
        ...     { block = "unit", maps = 16, times = 2, name = "stage" },
        ...     "Conv(10, 1)",
        ... ]
        ... '''
        >>> [node.name for node in from_toml(text).nodes]
        ['stage.0/conv', 'stage.0/relu', 'stage.1/conv', 'stage.1/relu', 'conv']
    """
    text, codec = read_text(source, limits, _WHAT), Codec(layers, _WHAT)
    document = _parse(text)
    _need_keys(document, _WHAT, {"format": str, "version": int, "inputs": dict, "network": dict}, {"blocks": dict})
    if document["format"] != "cnnbudget" or document["version"] != 1:
        raise FormatError(
            f"{_WHAT}: this is another format, or another version of it",
            got=f"format {shorten(document['format'])}, version {shorten(document['version'])}",
            expected="format 'cnnbudget', version 1",
        )
    inputs = read_each("inputs", list(document["inputs"].items()), lambda item: Input(item[0], item[1]), _WHAT)
    if not inputs:
        raise FormatError(
            f"{_WHAT}: the network has no inputs", got="[inputs] is empty", expected="image = [3, 224, 224]"
        )
    body = document["network"]
    if "parts" in body:
        _need_keys(body, f"{_WHAT}: [network]", {"parts": list})
        writer = _Hand(codec, document.get("blocks", {}), limits)
        with reading(_WHAT):
            network = build(tuple(inputs), writer.parts(body["parts"], {}, "network.parts", 0))
        return finish(inputs, network.nodes, network.outputs, limits, _WHAT)
    _need_keys(body, f"{_WHAT}: [network]", {"nodes": list}, {"outputs": list})
    limits.check("nodes", len(body["nodes"]), f"{_WHAT}: the number of nodes")
    before = inputs[0].name

    def node_of(entry: Any) -> Node:
        nonlocal before
        _need_keys(entry, "", {"name": str, "layer": str}, {"inputs": list, "shares": str})
        layer = codec.called(entry["layer"], {})[0]
        node = Node(entry["name"], layer, entry.get("inputs", [before]), entry.get("shares"))
        before = node.name
        return node

    nodes = read_each("nodes", body["nodes"], node_of, _WHAT)
    return finish(inputs, nodes, body.get("outputs", [before]), limits, _WHAT)


def _parse(text: str) -> dict[str, Any]:
    if len(text) > 2**20:
        raise FormatError(
            f"{_WHAT}: the text is too large", got=f"{len(text):,} characters", expected=f"at most {2**20:,}"
        )
    # Long dotted keys cost the parser the square of their length.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.count(".") > _MOST_DOTS and _TEXTS.sub("", line).count(".") > _MOST_DOTS:
            raise FormatError(
                f"{_WHAT}: too many dots", where=f"line {number}", expected=f"at most {_MOST_DOTS} in a line"
            )
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        hint = None if "\n" in text.strip() else "a str is the text itself; give a pathlib.Path to read a file"
        raise FormatError(f"{_WHAT}: this is not TOML", got=shorten(str(error)), hint=hint) from None
    except RecursionError:
        raise FormatError(
            f"{_WHAT}: arrays or tables are nested too deeply", got="a nesting that exhausts the stack"
        ) from None
    except ValueError as error:  # a number of thousands of digits, a date that does not exist
        raise FormatError(f"{_WHAT}: a value cannot be read", got=shorten(str(error))) from None


_KINDS = {str: "a text", int: "an int", list: "an array", dict: "a table"}


def _need_keys(found: Any, what: str, needed: dict[str, type], more: dict[str, type] | None = None) -> None:
    prefix, known = f"{what}: " if what else "", {**needed, **(more or {})}
    if not isinstance(found, dict):
        raise FormatError(f"{prefix}this is no table", got=shorten(found), expected=f"a table with {', '.join(known)}")
    for key, value in found.items():
        if key not in known:
            raise FormatError(f"{prefix}an unknown key", got=shorten(key), hint=did_you_mean(key, known))
        if type(value) is not known[key]:
            raise FormatError(f"{prefix}{key} is of the wrong kind", got=shorten(value), expected=_KINDS[known[key]])
    for key in needed:
        if key not in found:
            raise FormatError(
                f"{prefix}a key is missing", got=", ".join(map(repr, found)) or "none", expected=repr(key)
            )


class _Hand:
    """Makes parts of what was written by hand."""

    def __init__(self, codec: Codec, blocks: Mapping[str, Any], limits: Limits) -> None:
        self._codec = codec
        self._limits = limits
        self._blocks = dict(blocks)
        self._order = {name: number for number, name in enumerate(blocks)}
        self._made: dict[tuple[Any, ...], tuple[tuple[Part, ...], frozenset[str]]] = {}
        self._sizes: dict[int, tuple[Part, int]] = {}  # with the part, so that nothing else gets its id
        self._within = [len(self._order)]
        self._used: list[set[str]] = [set()]

    def parts(self, entries: Any, variables: Mapping[str, Any], where: str, depth: int) -> tuple[Part, ...]:
        """Makes the parts of a list."""
        if not isinstance(entries, list):
            raise FormatError("parts are a list", where=where, got=shorten(entries), expected="an array of parts")
        self._limits.check("nesting", depth, "the nesting of parts", where)
        found: list[Part] = []
        size = 0
        for number, entry in enumerate(entries):
            place = f"{where}[{number}]"
            try:
                made = self._part(entry, variables, place, depth)
                size += sum(map(self._size, made))
                self._limits.check("nodes", size, f"{_WHAT}: the number of parts when they are written out")
            except CnnBudgetError as error:
                raise refused(error, "", place) from None
            found += made
        return tuple(found)

    def _part(self, entry: Any, variables: Mapping[str, Any], where: str, depth: int) -> tuple[Part, ...]:
        if isinstance(entry, str):
            return (self._layer(entry, variables),) if is_call(entry) else self._block(entry, {}, where, depth)
        if not isinstance(entry, dict):
            raise FormatError(
                "this is no part", got=shorten(entry), expected="a layer, the name of a block, or a table"
            )
        kind = next((key for key in _TABLES if key in entry), None)
        if kind is None:
            raise FormatError(
                "this table is no part", got=", ".join(map(repr, entry)), expected=f"one of {', '.join(_TABLES)}"
            )
        if kind != "block":
            for key in entry:
                if key not in _TABLES[kind]:
                    raise FormatError(
                        f"a {kind} has no such key", got=shorten(key), hint=did_you_mean(key, _TABLES[kind])
                    )
        value = entry[kind]
        if kind == "block":
            own = {key: _variable(each) for key, each in entry.items() if key not in _TABLES["block"]}
            given = {key: self._value(each, variables) for key, each in own.items()}
            return self._wrapped(self._block(value, given, where, depth), entry)
        if kind == "output":
            return (Output(value, *self.parts(entry.get("parts", []), variables, f"{where}.parts", depth + 1)),)
        if kind == "parts":
            return self._wrapped(self.parts(value, variables, f"{where}.parts", depth + 1), entry)
        if kind == "tap":
            return (Tap(value),)
        if kind == "join":
            labels = value if isinstance(value, list) else [value]
            return self._wrapped((Join(*labels, merge=self._merge(entry, variables, Concat())),), entry)
        if kind == "residual":
            ways = [value, entry.get("shortcut", [])]
            merge = self._merge(entry, variables, Add())
        else:
            if not isinstance(value, list):
                raise FormatError("a branch is a list of lists", got=shorten(value), expected="for example [[...], []]")
            ways, merge = value, self._merge(entry, variables, Concat())
        made = [self.parts(way, variables, f"{where}.{kind}[{number}]", depth + 1) for number, way in enumerate(ways)]
        return self._wrapped((Branch(*[Block(*way) if way else None for way in made], merge=merge),), entry)

    def _wrapped(self, parts: tuple[Part, ...], entry: Mapping[str, Any]) -> tuple[Part, ...]:
        """Puts parts into a scope, repeats them, or lets them share."""
        name, times, share = entry.get("name"), entry.get("times"), entry.get("share")
        if times is not None:
            made: Part = Repeat(Block(*parts, share=share), times, name=name)
        else:
            made = Block(*parts, name=name, share=share)
        return (made,)

    def _size(self, part: Part) -> int:
        """Parts that are written out: layers, and whatever has no parts inside."""
        if not isinstance(part, Structure):
            return 1
        if id(part) not in self._sizes:
            times = part.times if isinstance(part, Repeat) else 1
            self._sizes[id(part)] = part, max(1, times * sum(map(self._size, part.inside())))
        return self._sizes[id(part)][1]

    def _layer(self, text: Any, variables: Mapping[str, Any]) -> Layer:
        layer, used = self._codec.called(text, variables)
        self._used[-1] |= used
        return layer

    def _merge(self, entry: Mapping[str, Any], variables: Mapping[str, Any], default: Layer) -> Layer:
        return self._layer(entry["merge"], variables) if "merge" in entry else default

    def _value(self, value: Any, variables: Mapping[str, Any]) -> Any:
        """The value of a variable: of another one, if it is a text that starts with ``$``."""
        if not isinstance(value, str) or "$" not in value:
            return value
        _, (found,), _, used = parse_call(f"value({value})", variables)
        self._used[-1] |= used
        return found

    def _block(self, name: Any, variables: Mapping[str, Any], where: str, depth: int) -> tuple[Part, ...]:
        """The parts of a block, which may use those above it."""
        number = self._order.get(name) if isinstance(name, str) else None
        if number is None:
            raise FormatError("no block has this name", got=shorten(name), hint=did_you_mean(name, self._order))
        if number >= self._within[-1]:
            raise FormatError("a block may only use blocks above it", got=shorten(name), expected="blocks in order")
        key = (name, *((key, type(value), value) for key, value in sorted(variables.items())))
        if key not in self._made:
            self._limits.check("nodes", len(self._made), f"{_WHAT}: the number of blocks")
            self._within.append(number)
            self._used.append(set())
            made = self.parts(self._blocks[name], variables, f"blocks.{name}", depth + 1)
            self._within.pop()
            self._made[key] = made, frozenset(self._used.pop())
        made, used = self._made[key]
        for variable in variables:
            if variable not in used:
                raise FormatError(
                    f"block {name!r} has no such variable", got=shorten(variable), hint=did_you_mean(variable, used)
                )
        return made


_SCOPE = ("name", "times", "share")
_TABLES = {
    "block": ("block", *_SCOPE),
    "output": ("output", "parts"),
    "branch": ("branch", "merge", "name"),
    "residual": ("residual", "shortcut", "merge", "name"),
    "join": ("join", "merge", "name"),
    "tap": ("tap",),
    "parts": ("parts", *_SCOPE),
}
"""Tables by the key that makes them, and the other keys that they may have."""


def _variable(value: Any, depth: int = 0) -> Any:
    if isinstance(value, list) and depth < 8:
        return tuple([_variable(each, depth + 1) for each in value])
    if isinstance(value, (bool, int, float, str)):
        return value
    raise FormatError("a variable is a number, a text, or an array of them", got=shorten(value))
