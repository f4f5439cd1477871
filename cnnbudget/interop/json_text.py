"""Networks as JSON: our own format, versioned and canonical. One network has one text, and the text gives the network back.

.. code-block:: json

   {
    "format": "cnnbudget",
    "version": 1,
    "inputs": [
     {"name": "image", "shape": [3, 224, 224]}
    ],
    "nodes": [
     {"name": "conv", "layer": "Conv", "settings": {"filters": 64, "kernel": 3}, "inputs": ["image"]}
    ],
    "outputs": ["conv"]
   }
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from attrs import NOTHING, fields

from cnnbudget.errors import CnnBudgetError, FormatError, did_you_mean, shorten
from cnnbudget.graph.nodes import Input, Node
from cnnbudget.interop.codec import Codec, built_in
from cnnbudget.interop.given import network_of
from cnnbudget.interop.limits import LIMITS, finish, read_each, read_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cnnbudget.graph.nodes import Network
    from cnnbudget.interop.given import HasNetwork
    from cnnbudget.interop.limits import Limits, Source
    from cnnbudget.layers.base import Layer

__all__ = ["from_json", "json_schema", "parse_json", "to_json"]

_FORMAT = "cnnbudget"
_VERSION = 1
_LONGEST_NUMBER = 40
_PER_NODE = 16  # lists and objects that a node of our own may have, generously

_DOCUMENT = {"format": str, "version": int, "inputs": list, "nodes": list, "outputs": list}
_INPUT = {"name": str, "shape": list}
_NODE = {"name": str, "layer": str, "inputs": list}
_NODE_MORE = {"settings": dict, "shares": str}
_WORDS = {str: "a text", int: "an int", list: "a list", dict: "an object"}


def to_json(network: Network | HasNetwork, *, layers: Mapping[str, type[Layer]] | None = None) -> str:
    """Writes a network as JSON, one node a line; equal networks give equal texts.

    The text is pure ASCII. Settings that stand at their defaults are left out; a change of a default is a new version of the
    format.

    Args:
        network: A network, or a ``Net``.
        layers: Layers of other packages, by the words that stand for them in the text.

    Returns:
        The text.

    Raises:
        MissingRuleError: If a layer is neither built in nor listed.
        InvalidValueError: If a setting of a listed layer has no form in JSON.

    Example:
        >>> from cnnbudget import Conv, Net
        >>> from cnnbudget.interop import from_json, to_json
        >>> net = Net.input(3, 8, 8).then(Conv(4, 3, padding="same"))
        >>> print(to_json(net), end="")
        {
         "format": "cnnbudget",
         "version": 1,
         "inputs": [
          {"name": "input", "shape": [3, 8, 8]}
         ],
         "nodes": [
          {"name": "conv", "layer": "Conv", "settings": {"filters": 4, "kernel": 3, "padding": "same"}, "inputs": ["input"]}
         ],
         "outputs": ["conv"]
        }
        >>> from_json(to_json(net)) == net.network
        True
    """
    checked, codec = network_of(network, "to_json()"), Codec(layers, "to_json()")
    sources = [{"name": source.name, "shape": source.shape} for source in checked.inputs]
    nodes = []
    for node in checked.nodes:
        try:
            word, settings = codec.encode(node.layer)
        except CnnBudgetError as error:
            raise error.at(f"node {node.name!r}") from None
        parts = {"name": node.name, "layer": word}
        more: dict[str, Any] = {"settings": settings} if settings else {}
        shared = {} if node.shares is None else {"shares": node.shares}
        nodes.append({**parts, **more, "inputs": node.inputs, **shared})
    write = json.JSONEncoder(allow_nan=False).encode
    return (
        f'{{\n "format": "{_FORMAT}",\n "version": {_VERSION},\n'
        f' "inputs": [\n{_lines(map(write, sources))}\n ],\n'
        f' "nodes": [\n{_lines(map(write, nodes))}\n ],\n'
        f' "outputs": {write(checked.outputs)}\n}}\n'
    )


def _lines(texts: Any) -> str:
    return ",\n".join(f"  {text}" for text in texts)


def from_json(source: Source, *, layers: Mapping[str, type[Layer]] | None = None, limits: Limits = LIMITS) -> Network:
    """Reads a network that :func:`to_json` has written.

    Nothing in the text is ever run: words that are neither built in nor listed are refused. No other file is opened, and the
    work is bounded by the limits.

    Args:
        source: The text, its bytes, or the ``pathlib.Path`` of a file.
        layers: Layers of other packages, by the words that stand for them in the text.
        limits: What is accepted.

    Returns:
        The network, with shapes that fit.

    Raises:
        FormatError: If the text is no network, says something twice, holds a number that no network has, exceeds a limit, or
            has layers that cannot be applied to what reaches them.

    Example:
        >>> from cnnbudget.interop import from_json
        >>> from_json('{"format": "cnnbudget", "version": 1, "inputs": [], "nodes": [], "outputs": [], "nodes": []}')
        Traceback (most recent call last):
        cnnbudget.errors.FormatError: from_json(): an object has a key twice: got 'nodes'
    """
    what = "from_json()"
    text, codec = read_text(source, limits, what), Codec(layers, what)
    document = parse_json(text, limits, what)
    _check_keys(document, what, _DOCUMENT)
    if document["format"] != _FORMAT or document["version"] != _VERSION:
        raise FormatError(
            f"{what}: this is another format, or another version of it",
            got=f"format {shorten(document['format'])}, version {shorten(document['version'])}",
            expected=f"format {_FORMAT!r}, version {_VERSION}",
        )
    limits.check("nodes", len(document["nodes"]), f"{what}: the number of nodes")

    def node_of(entry: Any) -> Node:
        _check_keys(entry, None, _NODE, _NODE_MORE)
        layer = codec.decode(entry["layer"], entry.get("settings", {}))
        return Node(entry["name"], layer, entry["inputs"], entry.get("shares"))

    inputs = read_each("inputs", document["inputs"], _input_of, what)
    nodes = read_each("nodes", document["nodes"], node_of, what)
    return finish(inputs, nodes, document["outputs"], limits, what)


def _input_of(entry: Any) -> Input:
    _check_keys(entry, None, _INPUT)
    return Input(entry["name"], entry["shape"])


def parse_json(text: str, limits: Limits, what: str) -> Any:
    """Parses JSON, and refuses what Python would let pass: keys twice, NaN and infinity, numbers of any length.

    Args:
        text: The text.
        limits: The limits.
        what: Who reads, for the errors.

    Returns:
        Plain data.

    Raises:
        FormatError: If it is no JSON, or something in it is refused.

    Example:
        >>> from cnnbudget.interop import Limits
        >>> parse_json('{"a": [1, 2.5]}', Limits(), "f()")
        {'a': [1, 2.5]}
    """
    # Counted before it is parsed: a list of nothing takes 30 times its text.
    limits.check("nodes", (text.count("[") + text.count("{")) // _PER_NODE, f"{what}: the number of lists and objects")

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(found)
        if len(made) < len(found):
            seen: set[str] = set()
            twice = next(key for key, _ in found if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise FormatError(f"{what}: an object has a key twice", got=shorten(twice))
        return made

    def integer(digits: str) -> int:
        if len(digits) > _LONGEST_NUMBER:
            raise FormatError(
                f"{what}: a number is too long", got=f"{len(digits):,} digits", expected="a number of 64 bits"
            )
        return int(digits)

    def real(digits: str) -> float:
        number = float(digits)
        if not math.isfinite(number):
            refused(digits)
        return number

    def refused(word: str) -> Any:
        raise FormatError(f"{what}: a number is not finite", got=shorten(word), expected="a finite number")

    try:
        return json.loads(text, object_pairs_hook=pairs, parse_int=integer, parse_float=real, parse_constant=refused)
    except json.JSONDecodeError as error:
        hint = None if text.lstrip()[:1] == "{" else "a str is the text itself; give a pathlib.Path to read a file"
        raise FormatError(
            f"{what}: this is not JSON", where=f"line {error.lineno}, column {error.colno}", got=error.msg, hint=hint
        ) from None
    except RecursionError:
        raise FormatError(
            f"{what}: lists or objects are nested too deeply", got="a nesting that exhausts Python's stack"
        ) from None


def _check_keys(
    found: Any, what: str | None, needed: Mapping[str, type], more: Mapping[str, type] | None = None
) -> None:
    prefix = "" if what is None else f"{what}: "
    known = needed if more is None else {**needed, **more}
    if not isinstance(found, dict):
        raise FormatError(
            f"{prefix}this is no object", got=shorten(found), expected=f"an object with {', '.join(known)}"
        )
    for key, value in found.items():
        if key not in known:
            raise FormatError(f"{prefix}an object has an unknown key", got=shorten(key), hint=did_you_mean(key, known))
        if type(value) is not known[key]:
            raise FormatError(f"{prefix}{key} is of the wrong kind", got=shorten(value), expected=_WORDS[known[key]])
    for key in needed:
        if key not in found:
            raise FormatError(
                f"{prefix}an object lacks a key", got=", ".join(map(repr, found)) or "none", expected=repr(key)
            )


# The schema.

_NUMBER, _INT, _TEXT = {"type": "number"}, {"type": "integer"}, {"type": "string"}
_INTS = {"type": "array", "items": _INT}
_PER_AXIS = {"anyOf": [_INT, _INTS]}
_PAIRS = {"type": "array", "items": {**_INTS, "minItems": 2, "maxItems": 2}}
_TYPES: dict[str, dict[str, Any]] = {
    "int": _INT,
    "float": _NUMBER,
    "bool": {"type": "boolean"},
    "str": _TEXT,
    "None": {"type": "null"},
    "Axes": _PER_AXIS,
    "Padding": {"anyOf": [{"enum": ["same", "valid"]}, _INT, _INTS, _PAIRS]},
    "Sides": {"anyOf": [_INT, _INTS, _PAIRS]},
    "Shape": _INTS,
    "tuple[int, ...]": _INTS,
    "tuple[float, ...]": {"type": "array", "items": _NUMBER},
    "tuple[tuple[int, ...], ...]": {"type": "array", "items": _INTS},
    "tuple[int | None, ...]": {"type": "array", "items": {"type": ["integer", "null"]}},
}


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the format. It is also shipped as the file ``network.schema.json`` beside this module.

    It says which settings every built-in layer has, of which types, and what they are where they are left out. Ranges and
    shapes are checked by :func:`from_json`. Layers of other packages are not in it.

    Returns:
        The schema.

    Example:
        >>> from cnnbudget.interop import json_schema
        >>> json_schema()["$defs"]["Linear"]["properties"]["features"]
        {'type': 'integer'}
    """
    names = {"type": "array", "items": _TEXT, "minItems": 1}
    layers = {word: _schema_of(kind) for word, kind in built_in().items()}
    node = _object(
        {
            "name": _TEXT,
            "layer": {"enum": list(layers)},
            "settings": {"type": "object"},
            "inputs": names,
            "shares": _TEXT,
        },
        ["name", "layer", "inputs"],
    )
    cases = [
        {
            "if": {"properties": {"layer": {"const": word}}},
            "then": {
                "properties": {"settings": {"$ref": f"#/$defs/{word}"}},
                **({"required": ["settings"]} if schema["required"] else {}),
            },
        }
        for word, schema in layers.items()
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A network of cnnbudget",
        **_object(
            {
                "format": {"const": _FORMAT},
                "version": {"const": _VERSION},
                "inputs": {
                    "type": "array",
                    "items": _object({"name": _TEXT, "shape": {**_INTS, "minItems": 1}}),
                    "minItems": 1,
                },
                "nodes": {"type": "array", "items": {**node, "allOf": cases}, "minItems": 1},
                "outputs": names,
            }
        ),
        "$defs": layers,
    }


def _object(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    needed = list(properties) if required is None else required
    return {"type": "object", "properties": properties, "required": needed, "additionalProperties": False}


def _schema_of(kind: type[Layer]) -> dict[str, Any]:
    properties, required = {}, []
    for attribute in fields(kind):
        schema = _type_of(str(attribute.type))
        if attribute.default is NOTHING:
            required.append(attribute.name)
        else:
            schema = {**schema, "default": attribute.default}
        properties[attribute.name] = schema
    return _object(properties, required)


def _type_of(annotation: str) -> dict[str, Any]:
    kinds = [_TYPES[part] for part in re.split(r" \| (?![^\[]*\])", annotation)]  # not the bars within brackets
    return kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
