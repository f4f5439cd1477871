"""ONNX: models as their graph says them. The file is walked by itself, without the package ``onnx``; weights are not read."""

from __future__ import annotations

import math
import mmap
import re
import struct
import warnings
from collections.abc import Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import Factory, define, frozen

from cnnbudget.errors import CnnBudgetError, FormatError, InvalidTypeError, shorten
from cnnbudget.graph.naming import Namer
from cnnbudget.graph.nodes import Input, Node
from cnnbudget.graph.shapes import infer_layer
from cnnbudget.interop.limits import LIMITS, finish, reading, refused
from cnnbudget.interop.onnx_constants import FOLDED, fold, no_layer
from cnnbudget.interop.onnx_graph import NO_LAYER, Made, Operation, Tensor, Unsupported, Value
from cnnbudget.interop.onnx_operations import OPERATIONS
from cnnbudget.interop.protobuf import Wire, ints_of, signed, text_of
from cnnbudget.layers.base import Layer, word_of
from cnnbudget.layers.linear import Linear

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cnnbudget.graph.nodes import Network
    from cnnbudget.interop.limits import Limits
    from cnnbudget.tensors import TensorSpec

    Rule = Callable[..., Layer]

__all__ = ["from_onnx"]

_WHAT = "from_onnx()"
_SHOWN = 20
_PER_NODE = 32  # fields that a node may have, generously
_MOST_NUMBERS = 64  # of a tensor that is a shape, sizes or axes; larger ones are weights
_FLOAT, _INT32, _INT64 = 1, 6, 7
_DOMAINS = frozenset({"", "ai.onnx"})
_FOLDED = re.compile(r"onnx::Conv_\d+|node_Conv_\d+")


def from_onnx(
    source: bytes | PathLike[str],
    *,
    input_shape: Sequence[int] | None = None,
    rules: Mapping[str, Rule] | None = None,
    limits: Limits = LIMITS,
) -> Network:
    """Reads an ONNX model.

    Only the graph is read: weights are passed over, wherever they are, and external data is never opened. No operation is run, and
    shapes are inferred here, not taken from the file. The first axis of every input is the batch.

    Args:
        source: The path of a file, or its bytes.
        input_shape: ``(C, *spatial)`` of one sample, for models with one input that leave sizes open, or instead of theirs.
        rules: For operations without a layer: a function by type (``"MyOp"``, or ``"domain::MyOp"``), called with the attributes
            and the specs of the inputs, that returns a layer.
        limits: What is accepted; ``bytes`` bounds bytes that are given, not a file, of which nothing is kept.

    Returns:
        The network.

    Raises:
        FormatError: If it is no ONNX model, or has operations that are not supported; the error lists all of them.

    Warns:
        UserWarning: If batch normalisations seem to have been folded into convolutions when the model was exported: training
            the original takes more memory than training this network would.

    Example:
        >>> from cnnbudget.interop import from_onnx
        >>> from_onnx(b"no model")
        Traceback (most recent call last):
        cnnbudget.errors.FormatError: from_onnx(): the file is damaged: got a field of kind 6, expected an ONNX model
    """
    if rules is not None and not (
        isinstance(rules, Mapping) and all(isinstance(key, str) and callable(rule) for key, rule in rules.items())
    ):
        raise InvalidTypeError(
            "rules are functions by type of operation", got=shorten(rules), expected="for example {'MyOp': make_layer}"
        )
    if isinstance(source, PathLike):
        with Path(fspath(source)).open("rb") as file:
            try:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except (ValueError, OSError) as error:
                raise FormatError(f"{_WHAT}: the file cannot be read", got=shorten(str(error))) from None
        graph = _Graph.read(memoryview(mapped), limits)  # unmapped with the last view: an error may hold one
    elif isinstance(source, (bytes, bytearray, memoryview)):
        limits.check("bytes", len(source), f"{_WHAT}: the size")
        graph = _Graph.read(memoryview(source), limits)
    else:
        raise InvalidTypeError(
            f"{_WHAT} cannot read this", got=shorten(source), expected="bytes, or a pathlib.Path of a file"
        )
    return _Reader(graph, rules or {}, input_shape, limits).network()


@define
class _Graph:
    """What the file says."""

    opset: int = 0
    operations: list[Operation] = Factory(list)
    tensors: dict[str, Tensor] = Factory(dict)
    inputs: list[tuple[str, list[int | None] | None]] = Factory(list)
    outputs: list[str] = Factory(list)

    @classmethod
    def read(cls, data: memoryview, limits: Limits) -> _Graph:
        """Walks a model. Nothing that is returned refers to the file."""
        wire, graph, found = Wire(limits.nodes * _PER_NODE, _WHAT), cls(), None
        for number, value in wire.fields(data):
            if number == 7:
                found = _message(wire, value)
            elif number == 8:
                fields = dict(wire.fields(_message(wire, value)))
                if text_of(wire, fields.get(1, memoryview(b""))) in _DOMAINS:
                    graph.opset = int(fields.get(2, 0)) if isinstance(fields.get(2, 0), int) else 0
        if found is None:
            raise wire.damaged("no graph")
        for number, value in wire.fields(found):
            if number == 1:
                graph.operations.append(_operation(wire, _message(wire, value)))
                limits.check("nodes", len(graph.operations), f"{_WHAT}: the number of operations")
            elif number == 5:
                tensor = _tensor(wire, _message(wire, value))
                graph.tensors[tensor.name] = tensor
            elif number == 11:
                graph.inputs.append(_value_info(wire, _message(wire, value)))
            elif number == 12:
                graph.outputs.append(_value_info(wire, _message(wire, value))[0])
        return graph


def _message(wire: Wire, value: Any) -> memoryview:
    if not isinstance(value, memoryview):
        raise wire.damaged("a number where a message must be")
    return value


def _operation(wire: Wire, data: memoryview) -> Operation:
    inputs, outputs, attributes = [], [], {}
    texts = {3: "", 4: "", 7: ""}
    for number, value in wire.fields(data):
        if number == 1:
            inputs.append(text_of(wire, value))
        elif number == 2:
            outputs.append(text_of(wire, value))
        elif number == 5:
            name, found = _attribute(wire, _message(wire, value))
            attributes[name] = found
        elif number in texts:
            texts[number] = text_of(wire, value)
    return Operation(texts[3], texts[4], texts[7], tuple(inputs), tuple(outputs), attributes)


def _attribute(wire: Wire, data: memoryview) -> tuple[str, Any]:
    name, ints, floats = "", [], []
    found: Any = None
    for number, value in wire.fields(data):
        if number == 1:
            name = text_of(wire, value)
        elif number == 2:
            found = value if isinstance(value, float) else None
        elif number == 3:
            found = signed(value) if isinstance(value, int) else None
        elif number == 4:
            found = text_of(wire, value)
        elif number == 5:
            found = _tensor(wire, _message(wire, value))
        elif number == 7:
            floats += [value] if isinstance(value, float) else _floats(_message(wire, value))
        elif number == 8:
            ints += ints_of(wire, value)
    return name, ints or floats or found


def _floats(data: memoryview) -> list[float]:
    count = len(data) // 4
    return list(struct.unpack(f"<{count}f", data[: 4 * count]))


def _tensor(wire: Wire, data: memoryview) -> Tensor:
    """Name and shape of a tensor, and its numbers if they are few."""
    name, kind = "", 0
    dims: list[int] = []
    numbers: list[float] = []
    raw: memoryview | None = None
    for number, value in wire.fields(data):
        if number == 1:
            dims += ints_of(wire, value)
        elif number == 2:
            kind = value if isinstance(value, int) else 0
        elif number == 8:
            name = text_of(wire, value)
        elif number == 9:
            raw = _message(wire, value)
        elif number in {4, 5, 7} and _few(dims) and len(numbers) < _MOST_NUMBERS:
            if number == 4:
                numbers += [value] if isinstance(value, float) else _floats(_message(wire, value)[: 4 * _MOST_NUMBERS])
            else:
                numbers += ints_of(wire, value)
    letter = {_FLOAT: "f", _INT32: "i", _INT64: "q"}.get(kind)
    if raw is not None and letter is not None and _few(dims) and len(raw) == math.prod(dims) * struct.calcsize(letter):
        numbers = list(struct.unpack(f"<{math.prod(dims)}{letter}", raw))
    return Tensor(name, tuple(dims), tuple(numbers) if _few(dims) and len(numbers) == math.prod(dims) else None)


def _few(dims: list[int]) -> bool:
    return all(size >= 0 for size in dims) and math.prod(dims) <= _MOST_NUMBERS


def _value_info(wire: Wire, data: memoryview) -> tuple[str, list[int | None] | None]:
    """Name and shape of an input or output; ``None`` where it is open."""
    name, sizes = "", None
    for number, value in wire.fields(data):
        if number == 1:
            name = text_of(wire, value)
        elif number == 2:
            for kind, inner in wire.fields(_message(wire, value)):
                if kind == 1:
                    for part, shape in wire.fields(_message(wire, inner)):
                        if part == 2:
                            sizes = [
                                _size(wire, _message(wire, each))
                                for key, each in wire.fields(_message(wire, shape))
                                if key == 1
                            ]
    return name, sizes


def _size(wire: Wire, data: memoryview) -> int | None:
    found = dict(wire.fields(data)).get(1)
    return signed(found) if isinstance(found, int) else None


@frozen
class _Owner:
    """The node that used parameters first."""

    name: str
    tensors: tuple[str, ...]


class _Reader:
    """Makes nodes of operations."""

    def __init__(self, graph: _Graph, rules: Mapping[str, Rule], shape: Sequence[int] | None, limits: Limits) -> None:
        self.graph = graph
        self.rules = rules
        self.shape = shape
        self.limits = limits
        self.inputs: list[Input] = []
        self.nodes: list[Node] = []
        self.specs: dict[str, TensorSpec] = {}
        self.values: dict[str, str] = {}  # names in the file, and of our nodes
        self.readers: dict[str, int] = {}
        self.unsupported: list[str] = []
        self.unknown: set[str] = set()  # what comes out of an operation that is not supported
        self.owners: dict[str, _Owner] = {}
        self.namer = Namer()

    def network(self) -> Network:
        for operation in self.graph.operations:
            for name in operation.inputs:
                self.readers[name] = self.readers.get(name, 0) + 1
        for name, sizes in self.graph.inputs:
            if name not in self.graph.tensors:  # old files list weights among the inputs
                self._input(name, sizes)
        for operation in self.graph.operations:
            self._read(operation)
        if self.unsupported:
            more = f"; ... ({len(self.unsupported)} in all)" if len(self.unsupported) > _SHOWN else ""
            raise FormatError(
                f"{_WHAT}: operations that are not supported",
                got="; ".join(self.unsupported[:_SHOWN]) + more,
                hint="give rules={'OpType': function}",
            )
        outputs = []
        for name in self.graph.outputs:
            if name not in self.values:
                raise FormatError(f"{_WHAT}: an output names no value", got=shorten(name))
            outputs.append(self.values[name])
        self._warn()
        return finish(self.inputs, self.nodes, tuple(dict.fromkeys(outputs)), self.limits, _WHAT)

    def _input(self, name: str, sizes: list[int | None] | None) -> None:
        if self.shape is not None:
            if self.inputs:
                raise FormatError(f"{_WHAT}: input_shape is for models with one input", got="several")
            shape: Any = tuple(self.shape)
        elif sizes is None or len(sizes) < 2 or None in sizes[1:]:
            raise FormatError(
                f"{_WHAT}: the model leaves its input's size open",
                where=f"input {shorten(name)}",
                got=shorten(sizes),
                hint="give input_shape=(C, *spatial)",
            )
        else:
            shape = tuple(sizes[1:])
        with reading(_WHAT, f"input {shorten(name)}"):
            source = Input(self.namer.fresh(name.strip("/") or "input"), shape)
        self.inputs.append(source)
        self.values[name] = source.name
        self.specs[source.name] = source.spec

    def _read(self, operation: Operation) -> None:
        where = f"operation {shorten(operation.name or operation.outputs[:1])} ({shorten(operation.kind)})"
        if operation.kind == "Constant" and operation.domain in _DOMAINS:
            self._constant(operation)
            return
        key = operation.kind if operation.domain in _DOMAINS else f"{operation.domain}::{operation.kind}"
        known = key in self.rules or key in OPERATIONS or key in FOLDED
        if not known or self.unknown.intersection(operation.inputs):
            self.unknown.update(operation.outputs)
            if not known:
                self.unsupported.append(f"{where}: {NO_LAYER}")
            return
        try:
            arguments = [self._argument(name) for name in operation.inputs]
            if key in self.rules:
                made: Any = self._own_rule(key, operation, arguments)
            else:
                use = operation.of(tuple(arguments), self.graph.opset)
                made = OPERATIONS.get(key, no_layer)(use) if use.is_of_values else fold(use)
            self._take(operation, made)
        except Unsupported as error:
            self.unsupported.append(f"{where}: {error}")
            self.unknown.update(operation.outputs)
        except CnnBudgetError as error:
            raise refused(error, _WHAT, where) from None

    def _own_rule(self, key: str, operation: Operation, arguments: list[Any]) -> Made:
        values = [each for each in arguments if isinstance(each, Value)]
        layer = self.rules[key](operation.attributes, *[each.spec for each in values])
        if not isinstance(layer, Layer):
            raise FormatError("the rule of an operation returned no layer", got=shorten(layer))
        return Made((layer,), values, tuple(each for each in arguments if isinstance(each, Tensor)))

    def _argument(self, name: str) -> Value | Tensor | None:
        if not name:
            return None
        if name in self.values:
            return Value(self.values[name], self.specs[self.values[name]], self.readers[name])
        if name in self.graph.tensors:
            return self.graph.tensors[name]
        raise FormatError("an operation reads a value that is not made before it", got=shorten(name))

    def _constant(self, operation: Operation) -> None:
        found = next(iter(operation.attributes.values()), None)
        name = operation.outputs[0] if operation.outputs else ""
        if isinstance(found, Tensor):
            self.graph.tensors[name] = found
        elif isinstance(found, list):
            self.graph.tensors[name] = Tensor(name, (len(found),), tuple(found))
        elif isinstance(found, (int, float)):
            self.graph.tensors[name] = Tensor(name, (), (found,))
        else:
            self.graph.tensors[name] = Tensor(name, (), None)

    def _take(self, operation: Operation, made: Any) -> None:
        results = made if isinstance(made, list) else [made]  # several results are several nodes
        for name, result in zip(operation.outputs, results, strict=False):
            if isinstance(result, Value):
                self.values[name] = result.name
            elif isinstance(result, Tensor):
                self.graph.tensors[name] = result
            elif result.bias is not None:
                self._add_bias(name, result)
            else:
                self.values[name] = self._add(operation, result)
        self.unknown.update(operation.outputs[len(results) :])  # masks and indices

    def _add(self, operation: Operation, made: Made) -> str:
        names = tuple(value.name for value in made.inputs)
        shares = self._owner(made)
        stated = made.layers[0].parameters(tuple(value.spec for value in made.inputs))
        theirs = sorted(math.prod(tensor.dims) for tensor in made.tensors)
        if made.tensors and stated is not None and sorted(map(math.prod, stated.values())) != theirs:
            raise FormatError("its weights do not fit", got=", ".join(str(tensor.dims) for tensor in made.tensors))
        base = operation.name.strip("/")
        for layer in made.layers:
            name = self.namer.fresh(base or word_of(type(layer)))
            self.nodes.append(Node(name, layer, names, shares))
            self.specs[name] = infer_layer(layer, tuple(self.specs[each] for each in names))
            self.limits.check_axes(name, self.specs[name], _WHAT)
            if made.tensors and shares is None and names == tuple(value.name for value in made.inputs):
                used = tuple(tensor.name for tensor in made.tensors)
                self.owners.update(dict.fromkeys(used, _Owner(name, used)))
            names, shares = (name,), None
        return names[0]

    def _owner(self, made: Made) -> str | None:
        used = tuple(tensor.name for tensor in made.tensors)
        owners = {self.owners.get(name) for name in used}
        if owners <= {None}:
            return None
        owner = next(iter(owners - {None}))
        if len(owners) > 1 or owner is None or owner.tensors != used:
            raise Unsupported("it shares a part of its parameters")
        return owner.name

    def _add_bias(self, name: str, made: Made) -> None:
        """A sum with a vector right behind a linear layer without a bias is its bias."""
        value = made.inputs[0]
        last = self.nodes[-1] if self.nodes else None
        fits = last is not None and last.name == value.name and value.readers == 1 and isinstance(last.layer, Linear)
        if not fits or last is None or last.layer.bias or last.shares is not None or made.bias != value.spec.shape[-1]:  # type: ignore[attr-defined]
            raise Unsupported("it adds something that is learned")
        self.nodes[-1] = Node(last.name, last.layer.evolve(bias=True), last.inputs)
        self.values[name] = last.name

    def _warn(self) -> None:
        kinds = {operation.kind for operation in self.graph.operations}
        folded = "BatchNormalization" not in kinds and any(
            operation.kind == "Conv"
            and len(operation.inputs) > 2
            and any(map(_FOLDED.fullmatch, (operation.name, operation.inputs[1])))
            for operation in self.graph.operations
        )
        if folded:
            warnings.warn(
                "batch normalisations seem to have been folded into convolutions when this model was exported: training the "
                "original takes more memory (export it in training mode to keep them)",
                stacklevel=4,  # the user's line
            )
