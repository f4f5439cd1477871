"""Keras: models as their JSON says them, from a configuration or out of a ``.keras`` archive. Keras itself is never loaded.

Shapes here are channels first, whatever the model's format is: a value of ``(H, W, C)`` in Keras is ``(C, H, W)``. No size
depends on it.
"""

from __future__ import annotations

import heapq
import io
import json
from collections.abc import Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnbudget.errors import CnnBudgetError, FormatError, InvalidTypeError, shorten
from cnnbudget.graph.naming import Namer
from cnnbudget.graph.nodes import Input, Node, check_name
from cnnbudget.graph.shapes import infer_layer
from cnnbudget.interop.archive import is_archive, read_member
from cnnbudget.interop.json_text import parse_json
from cnnbudget.interop.keras_layers import RULES, Unsupported, Use
from cnnbudget.interop.limits import LIMITS, finish, read_text, reading, refused
from cnnbudget.layers.base import Layer, word_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cnnbudget.graph.nodes import Network
    from cnnbudget.interop.limits import Limits, Source
    from cnnbudget.tensors import TensorSpec

    Rule = Callable[..., Layer]

__all__ = ["from_keras"]

_WHAT = "from_keras()"
_SHOWN = 20
_NO_RULE = "there is no layer like it"
_MODELS = frozenset({"Functional", "Model", "Sequential"})


def from_keras(
    source: Source | Mapping[str, Any] | Any,
    *,
    input_shape: Sequence[int] | None = None,
    rules: Mapping[str, Rule] | None = None,
    limits: Limits = LIMITS,
) -> Network:
    """Reads a functional or sequential model of Keras 3, without Keras.

    Of a ``.keras`` archive only ``config.json`` is read, into memory: neither the weights nor anything else. No class is looked up
    by what the file says, and nothing in it is run: ``Lambda`` layers and custom objects without a rule are reported by name.

    Nodes are called like their layers, within the scopes of nested models; a layer that is several nodes (a convolution and
    its activation) is a scope. A layer that is called again shares its parameters. Moving statistics are buffers here, and
    non-trainable parameters in Keras. Arithmetic with numbers (``Rescaling``) is a node that copies, a ``Concat`` of one value.

    Args:
        source: The path of a ``.keras`` or ``.json`` file; the bytes of one; the text of ``model.to_json()``; a configuration as a
            mapping; or a model, whose ``to_json`` is called.
        input_shape: ``(C, *spatial)`` of one sample, for models with one input that leave sizes open, or instead of theirs.
        rules: For custom layers: a function by class name, called with the layer's configuration and the specs of its inputs,
            that returns a layer.
        limits: What is accepted.

    Returns:
        The network.

    Raises:
        FormatError: If it is no such model, or has layers that are not supported; the error lists all of them.

    Example:
        >>> from cnnbudget.interop import from_keras
        >>> config = {
        ...     "class_name": "Sequential",
        ...     "config": {
        ...         "name": "small",
        ...         "layers": [
        ...             {"class_name": "InputLayer", "config": {"batch_shape": [None, 32, 32, 3], "name": "image"}},
        ...             {
        ...                 "class_name": "Conv2D",
        ...                 "config": {"name": "conv", "filters": 8, "kernel_size": [3, 3], "activation": "relu"},
        ...             },
        ...             {"class_name": "GlobalAveragePooling2D", "config": {"name": "pool"}},
        ...         ],
        ...     },
        ... }
        >>> for node in from_keras(config).nodes:
        ...     print(node.name, node.layer)
        conv/conv Conv(8, 3, padding='valid')
        conv/relu ReLU()
        pool GlobalAvgPool()
    """
    if rules is not None and not (
        isinstance(rules, Mapping) and all(isinstance(key, str) and callable(rule) for key, rule in rules.items())
    ):
        raise InvalidTypeError(
            "rules are functions by name of class", got=shorten(rules), expected="for example {'MyLayer': make_layer}"
        )
    reader = _Reader(_document(source, limits), rules or {}, input_shape, limits)
    with reading(_WHAT):
        outputs = reader.model(reader.root, "", [], 0)
    if reader.unsupported:
        more = f"; ... ({len(reader.unsupported)} in all)" if len(reader.unsupported) > _SHOWN else ""
        raise FormatError(
            f"{_WHAT}: layers that are not supported",
            got="; ".join(reader.unsupported[:_SHOWN]) + more,
            hint="give rules={'ClassName': function} for custom layers",
        )
    return finish(reader.inputs, reader.nodes, tuple(dict.fromkeys(outputs)), limits, _WHAT)


def _document(source: Any, limits: Limits) -> Any:
    if isinstance(source, Mapping):
        try:  # through text, so that the limits hold and whatever is no JSON is refused
            source = json.dumps(source)
        except (TypeError, ValueError, RecursionError) as error:
            raise FormatError(f"{_WHAT}: the configuration is no JSON", got=shorten(str(error))) from None
    elif not isinstance(source, (str, bytes, bytearray, memoryview, PathLike)) and callable(
        getattr(source, "to_json", None)
    ):
        source = source.to_json()
    if isinstance(source, PathLike):
        with Path(fspath(source)).open("rb") as file:
            if is_archive(file.read(2)):
                return _parse(read_member(file, "config.json", limits, _WHAT), limits)
            file.seek(0)
            source = file.read(limits.bytes + 1)
    elif isinstance(source, (bytes, bytearray, memoryview)) and is_archive(bytes(source[:2])):
        return _parse(read_member(io.BytesIO(source), "config.json", limits, _WHAT), limits)
    return _parse(source, limits)


def _parse(source: Any, limits: Limits) -> Any:
    return parse_json(read_text(source, limits, _WHAT), limits, _WHAT)


def _part(found: Any, key: str, kind: type, where: str) -> Any:
    value = found.get(key) if isinstance(found, dict) else None
    if not isinstance(value, kind):
        raise FormatError(f"{_WHAT}: {key} is missing or of the wrong kind", where=where, got=shorten(value))
    return value


class _Call:
    """One call of a layer: what it reads, and how often its values are still waited for."""

    def __init__(self, layer: Any, name: str, number: int, arguments: Any) -> None:
        self.layer, self.name, self.number = layer, name, number
        self.reads = list(_tensors(arguments))
        self.arguments = arguments


def _tensors(arguments: Any) -> Iterator[tuple[str, int, int]]:
    """Where the values come from that a call reads: layer, call and result."""
    waiting = [arguments]
    while waiting:
        found = waiting.pop()
        if isinstance(found, list):
            waiting += reversed(found)
        elif isinstance(found, dict):
            if found.get("class_name") == "__keras_tensor__":
                yield _history(_part(found, "config", dict, "a tensor").get("keras_history"))
            else:
                waiting += reversed(list(found.values()))


def _history(found: Any) -> tuple[str, int, int]:
    if (
        isinstance(found, list)
        and len(found) == 3
        and isinstance(found[0], str)
        and all(type(n) is int for n in found[1:])
    ):
        return found[0], found[1], found[2]
    raise FormatError(
        f"{_WHAT}: a reference to a value is damaged", got=shorten(found), expected="[layer, call, result]"
    )


def _references(found: Any) -> list[tuple[str, int, int]]:
    """Inputs or outputs of a model: one reference, or a list or an object of them."""
    if isinstance(found, dict):
        found = list(found.values())
    if isinstance(found, list) and found and isinstance(found[0], str):
        return [_history(found)]
    if isinstance(found, list):
        return [_history(each) for each in found]
    raise FormatError(f"{_WHAT}: inputs or outputs of a model are damaged", got=shorten(found))


class _Reader:
    def __init__(self, root: Any, rules: Mapping[str, Rule], shape: Sequence[int] | None, limits: Limits) -> None:
        self.root = root
        self.rules = rules
        self.shape = shape
        self.limits = limits
        self.inputs: list[Input] = []
        self.nodes: list[Node] = []
        self.specs: dict[str, TensorSpec] = {}
        self.unsupported: list[str] = []
        self.namer = Namer()
        self.owners: dict[tuple[str, str], str] = {}
        self.missing: set[str] = set()  # values of layers that are not supported

    def model(self, found: Any, scope: str, given: list[str], depth: int) -> list[str]:
        """Reads a model, or one within another; returns the names of its outputs."""
        self.limits.check("nesting", depth, f"{_WHAT}: the nesting of models")
        kind, where = _part(found, "class_name", str, scope or "the model"), scope or "the model"
        if kind not in _MODELS:
            raise FormatError(
                f"{_WHAT}: this is no functional or sequential model",
                where=where,
                got=shorten(kind),
                expected="Functional or Sequential",
                hint="a model that is a class of its own has no structure in its file",
            )
        config = _part(found, "config", dict, where)
        layers = _part(config, "layers", list, where)
        self.limits.check("nodes", len(layers) + len(self.nodes), f"{_WHAT}: the number of layers")
        if kind == "Sequential":
            return self._sequential(layers, found, scope, given, depth)
        return self._functional(layers, config, scope, given, depth)

    def _sequential(self, layers: list[Any], found: Any, scope: str, given: list[str], depth: int) -> list[str]:
        if layers and _part(layers[0], "class_name", str, "a layer") == "InputLayer":
            first, *layers = layers
            tips = given or [self._input(first)]
        elif given:
            tips = given
        else:
            built = found.get("build_config")
            shape = built.get("input_shape") if isinstance(built, dict) else None
            tips = [self._input({"config": {"name": "input", "batch_shape": shape}})]
        for layer in layers:
            tips = self._layer(layer, scope, tips, None, 0, depth)
        return tips

    def _functional(self, layers: list[Any], config: Any, scope: str, given: list[str], depth: int) -> list[str]:
        values: dict[tuple[str, int, int], str] = {}
        calls = []
        for layer in layers:
            if not isinstance(layer, dict):
                raise FormatError(f"{_WHAT}: this is no layer", got=shorten(layer))
            named = layer if "name" in layer else _part(layer, "config", dict, "a layer")
            name = _part(named, "name", str, "a layer")
            if layer.get("class_name") == "InputLayer":
                if given:
                    continue
                values[name, 0, 0] = self._input(layer)
            for number, entry in enumerate(_part(layer, "inbound_nodes", list, f"layer {shorten(name)}")):
                if not isinstance(entry, dict):
                    raise FormatError(
                        f"{_WHAT}: this is the format of Keras 2",
                        where=f"layer {shorten(name)}",
                        expected="a model saved by Keras 3",
                    )
                calls.append(_Call(layer, name, number, entry))
        if given:
            sources = _references(config.get("input_layers"))
            if len(sources) != len(given):
                raise FormatError(
                    f"{_WHAT}: a model is called with another number of inputs", where=scope, got=str(len(given))
                )
            values.update(zip(sources, given, strict=True))
        self._run(calls, values, scope, depth)
        outputs = []
        for reference in _references(config.get("output_layers")):
            if reference not in values:
                raise FormatError(f"{_WHAT}: an output names no value", where=scope or None, got=shorten(reference))
            outputs.append(values[reference])
        return outputs

    def _run(self, calls: list[_Call], values: dict[tuple[str, int, int], str], scope: str, depth: int) -> None:
        """Reads calls in the order of the file, each when everything that it reads is there."""
        waiting: dict[tuple[str, int, int], list[int]] = {}
        open_reads = []
        for number, call in enumerate(calls):
            reads = {each for each in call.reads if each not in values}
            open_reads.append(len(reads))
            for each in reads:
                waiting.setdefault(each, []).append(number)
        ready = [number for number, count in enumerate(open_reads) if not count]
        done = 0
        while ready:
            call = calls[heapq.heappop(ready)]
            done += 1
            names = [values[each] for each in call.reads]
            made = self._layer(call.layer, scope, names, call.arguments, call.number, depth)
            for index, name in enumerate(made):
                key = call.name, call.number, index
                values[key] = name
                for number in waiting.pop(key, []):
                    open_reads[number] -= 1
                    if not open_reads[number]:
                        heapq.heappush(ready, number)
        if done < len(calls):
            stuck = next(call for call, count in zip(calls, open_reads, strict=True) if count)
            missing = next(each for each in stuck.reads if each not in values)
            raise FormatError(
                f"{_WHAT}: a layer reads a value that is never made",
                where=f"layer {shorten(stuck.name)}",
                got=shorten(missing),
                expected="layers without cycles",
            )

    def _input(self, layer: Any) -> str:
        config = _part(layer, "config", dict, "an input")
        name = _part(config, "name", str, "an input")
        if self.shape is not None:
            if self.inputs:
                raise FormatError(f"{_WHAT}: input_shape is for models with one input", got="several")
            shape = tuple(self.shape)
        else:
            sizes = config.get("batch_shape")
            if not isinstance(sizes, list) or len(sizes) < 2 or None in sizes[1:]:
                raise FormatError(
                    f"{_WHAT}: the model leaves its input's size open",
                    where=f"input {shorten(name)}",
                    got=shorten(sizes),
                    hint="give input_shape=(C, *spatial)",
                )
            last = self._channels_last()
            shape = (sizes[-1], *sizes[1:-1]) if last else tuple(sizes[1:])
        with reading(_WHAT, "an input"):
            source = Input(self.namer.fresh(check_name(name, "the name of an input")), shape)
        self.inputs.append(source)
        self.specs[source.name] = source.spec
        return source.name

    def _channels_last(self) -> bool:
        """Whether the model's layers have their channels last, as they have unless they say otherwise."""
        waiting = [self.root]
        while waiting:
            found = waiting.pop()
            config = found.get("config") if isinstance(found, dict) else None
            if isinstance(config, dict):
                if config.get("data_format") == "channels_first":
                    return False
                waiting += config["layers"] if isinstance(config.get("layers"), list) else []
        return True

    def _layer(self, found: Any, scope: str, inputs: list[str], arguments: Any, number: int, depth: int) -> list[str]:
        """Adds the nodes of one call of a layer; returns the names of its results."""
        kind = _part(found, "class_name", str, "a layer")
        config = _part(found, "config", dict, f"a {shorten(kind)}")
        name = (
            found.get("name")
            if isinstance(found.get("name"), str)
            else _part(config, "name", str, f"a {shorten(kind)}")
        )
        path = f"{scope}{name}"
        with reading(_WHAT, f"layer {shorten(path)} ({shorten(kind)})"):
            check_name(name, "the name of a layer")
        if not inputs:
            raise FormatError(f"{_WHAT}: a layer reads nothing", where=f"layer {shorten(path)}", got="no inputs")
        if kind in _MODELS and kind not in self.rules:
            return self.model(found, f"{self.namer.fresh(path)}/", inputs, depth + 1)
        if self.missing.intersection(inputs):  # behind what is reported already nothing has a shape
            if kind not in RULES and kind not in self.rules:
                self.unsupported.append(f"{shorten(path)} ({shorten(kind)}): {_NO_RULE}")
            self.missing.add(inputs[0])
            return inputs[:1]
        specs = tuple(self.specs[each] for each in inputs)
        try:
            layers = self._layers(kind, found, config, specs, arguments)
        except Unsupported as error:
            self.unsupported.append(f"{shorten(path)} ({shorten(kind)}): {error}")
            self.missing.add(inputs[0])
            return inputs[:1]
        except CnnBudgetError as error:
            raise refused(error, _WHAT, f"layer {shorten(path)} ({shorten(kind)})") from None
        base = self.namer.fresh(path) if len(layers) == 1 else ""
        inner = Namer()
        names = tuple(inputs)
        opened = "" if base else self.namer.fresh(path)
        for layer in layers:
            word = inner.fresh(word_of(type(layer)))
            own = base or f"{opened}/{word}"
            owner = self.owners.setdefault((path, word), own)
            with reading(_WHAT, f"layer {shorten(path)} ({shorten(kind)})"):
                self.nodes.append(Node(own, layer, names, None if owner == own else owner))
                self.specs[own] = infer_layer(layer, tuple(self.specs[each] for each in names))
                self.limits.check_axes(own, self.specs[own], _WHAT)
            names = (own,)
        return [names[0]]

    def _layers(self, kind: str, found: Any, config: Any, specs: tuple[TensorSpec, ...], arguments: Any) -> list[Layer]:
        if kind in self.rules:
            layer = self.rules[kind](config, *specs)
            if not isinstance(layer, Layer):
                raise FormatError("the rule of a layer returned no layer", got=shorten(layer))
            return [layer]
        if kind not in RULES:
            raise Unsupported(_NO_RULE)
        operation = str(found.get("module", "")).startswith("keras.src.ops")
        use = Use(config, specs, last=self._last, numbers=operation and len(specs) == 1, arguments=arguments)
        return RULES[kind](use)

    @property
    def _last(self) -> bool:
        if not hasattr(self, "_known_last"):
            self._known_last = self._channels_last()
        return self._known_last
