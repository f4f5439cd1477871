"""Darknet's ``.cfg`` files: the networks of the Darknet and YOLO families.

The rules are those of the Darknet framework (pjreddie/darknet) and of its continuation (AlexeyAB/darknet), read from their
behaviour: tables that the binary prints for its own configurations are among the tests.
"""

from __future__ import annotations

import re
from io import StringIO
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from cnnbudget.errors import FormatError, shorten
from cnnbudget.graph.naming import Namer
from cnnbudget.graph.nodes import Input, Node
from cnnbudget.graph.shapes import infer_layer
from cnnbudget.interop.limits import LIMITS, finish, read_text, reading
from cnnbudget.layers import activation as act
from cnnbudget.layers.base import Layer, word_of
from cnnbudget.layers.conv import Conv, ConvTranspose
from cnnbudget.layers.linear import Linear
from cnnbudget.layers.local import LocallyConnected
from cnnbudget.layers.merge import Add, Concat, Multiply
from cnnbudget.layers.norm import BatchNorm, LocalResponseNorm
from cnnbudget.layers.pool import AvgPool, GlobalAvgPool, MaxPool
from cnnbudget.layers.rearrange import PixelShuffle, PixelUnshuffle
from cnnbudget.layers.regularize import Dropout
from cnnbudget.layers.reshape import Crop, Flatten, Reshape, Slice, Split
from cnnbudget.layers.resize import Upsample
from cnnbudget.layers.scale import Identity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cnnbudget.graph.nodes import Network
    from cnnbudget.interop.limits import Limits, Source
    from cnnbudget.tensors import TensorSpec

__all__ = ["from_darknet"]

_WHAT = "from_darknet()"
_SHORT = {
    "network": "net",
    "conv": "convolutional",
    "deconv": "deconvolutional",
    "conn": "connected",
    "max": "maxpool",
    "avg": "avgpool",
    "local_avg": "local_avgpool",
    "soft": "softmax",
    "normalization": "lrn",
    "reorg3d": "reorg",
}
_SHOWN = 20
_OPTIONS = 16  # per node, generously
_LONGEST_LIST = 1000
_HEADS = frozenset({"yolo", "region", "detection", "gaussian_yolo"})

_ACTIVATIONS: dict[str, Layer | None] = {
    "linear": None,
    "leaky": act.LeakyReLU(0.1, inplace=True),
    "relie": act.LeakyReLU(0.01, inplace=True),
    "relu": act.ReLU(inplace=True),
    "relu6": act.ReLU6(inplace=True),
    "elu": act.ELU(inplace=True),
    "selu": act.SELU(inplace=True),
    "mish": act.Mish(inplace=True),
    "swish": act.SiLU(inplace=True),
    "hardtan": act.Hardtanh(inplace=True),
    "gelu": act.GELU(approximate=True),
    "logistic": act.Sigmoid(),
    "tanh": act.Tanh(),
}


def from_darknet(source: Source, *, input_shape: Sequence[int] | None = None, limits: Limits = LIMITS) -> Network:
    """Reads a ``.cfg`` file of Darknet.

    Every section becomes a scope or a node that is called like it and its number: ``convolutional0/conv``,
    ``convolutional0/batch_norm``, ``maxpool1``, ``route17``. Detection heads (``[yolo]``, ``[region]``, ``[detection]``) are
    outputs, and so is the last section; a head's own arithmetic has no parameters and is not modelled. Activations work in
    place, as Darknet's do. A shortcut between different shapes adds what both have, as in Darknet. Settings of the training,
    and what only changes numbers, are passed over; whatever is not supported and would change a size is listed in one error.

    Args:
        source: The text, its bytes, or the ``pathlib.Path`` of a file.
        input_shape: ``(C, H, W)`` instead of what the file says.
        limits: What is accepted.

    Returns:
        The network.

    Raises:
        FormatError: If the text is no configuration, or has sections or settings that are not supported; the error lists all
            of them.

    Example:
        >>> from cnnbudget.interop import from_darknet
        >>> cfg = '''
        ... [net]
        ... height=416
        ... width=416
        ... channels=3
        ...
        ... [convolutional]
        ... batch_normalize=1
        ... filters=16
        ... size=3
        ... pad=1
        ... activation=leaky
        ...
        ... [maxpool]
        ... size=2
        ... stride=2
        ... '''
        >>> for node in from_darknet(cfg).nodes:
        ...     print(node.name, node.layer)
        convolutional0/conv Conv(16, 3, padding=1, bias=False)
        convolutional0/batch_norm BatchNorm()
        convolutional0/leaky_relu LeakyReLU(0.1, inplace=True)
        maxpool1 MaxPool(2, stride=2, ceil_mode=True)
    """
    sections = _sections(read_text(source, limits, _WHAT), limits)
    first, *rest = sections
    if first.kind != "net":
        raise FormatError(f"{_WHAT}: the first section is not [net]", where=first.where, got=f"[{shorten(first.kind)}]")
    unsupported = [f"{section.where}: {why}" for section in rest for why in _refusals(section)]
    if unsupported:
        more = f"; ... ({len(unsupported)} in all)" if len(unsupported) > _SHOWN else ""
        raise FormatError(
            f"{_WHAT}: what these sections ask for is not supported",
            got="; ".join(unsupported[:_SHOWN]) + more,
            hint="take them out, or build the network with Net",
        )
    with reading(_WHAT, first.where):
        reader = _Reader(_input(first, input_shape), limits)
    for section in rest:
        with reading(_WHAT, section.where):
            reader.read(section)
    return finish([reader.source], reader.nodes, reader.outputs(), limits, _WHAT)


# The text.


@frozen
class _Section:
    """A section: its kind in its long form, the line where it starts, its number, and its options."""

    kind: str
    line: int
    number: int
    options: dict[str, str] = field(factory=dict)

    @property
    def where(self) -> str:
        return f"line {self.line}, [{self.kind}]"

    def whole(self, name: str, default: int) -> int:
        """An option as Darknet reads it: the number that it starts with."""
        if name not in self.options:
            return default
        found = re.match(r"[+-]?\d{1,18}(?!\d)", self.options[name])
        if found is None:
            raise FormatError(f"{name} is no int", got=shorten(self.options[name]), expected="an int")
        return int(found.group())

    def ints(self, name: str) -> list[int]:
        """An option that is a list of ints."""
        parts = [part for part in self.options.get(name, "").split(",") if part]
        if len(parts) > _LONGEST_LIST:
            raise FormatError(
                f"{name} is too long a list", got=f"{len(parts):,} ints", expected=f"at most {_LONGEST_LIST:,}"
            )
        if not parts or not all(re.fullmatch(r"[+-]?\d{1,18}", part) for part in parts):
            raise FormatError(
                f"{name} is no list of ints", got=shorten(self.options.get(name)), expected="for example -1,8"
            )
        return [int(part) for part in parts]

    def number_of(self, name: str, default: float) -> float:
        """An option that is a number."""
        text = self.options.get(name)
        if text is None:
            return default
        if re.fullmatch(r"[+-]?(\d{1,18}\.?\d{0,18}|\.\d{1,18})(e[+-]?\d{1,2})?", text) is None:
            raise FormatError(f"{name} is no number", got=shorten(text), expected="a number")
        return float(text)


def _sections(text: str, limits: Limits) -> list[_Section]:
    sections: list[_Section] = []
    options = 0
    for number, line in enumerate(StringIO(text, newline=None), start=1):
        bare = "".join(line.split())  # Darknet takes all spaces out
        if not bare or bare[0] in "#;":
            continue
        if bare[0] == "[":
            kind = bare.strip("[]").lower()
            sections.append(_Section(_SHORT.get(kind, kind), number, len(sections) - 1))
            limits.check("nodes", len(sections) - 1, f"{_WHAT}: the number of sections")
            continue
        key, equals, value = bare.partition("=")
        if not equals or not sections:
            raise FormatError(
                f"{_WHAT}: this line is neither a section nor an option of one",
                where=f"line {number}",
                got=shorten(line.strip()),
                expected="[section], key=value, or a comment",
            )
        sections[-1].options.setdefault(key, value)  # Darknet takes the first of two
        options += 1
        limits.check("nodes", options // _OPTIONS, f"{_WHAT}: the number of options")
    if len(sections) < 2:
        raise FormatError(
            f"{_WHAT}: the text has no layers",
            got=f"{len(sections)} sections",
            expected="[net] and the sections of layers",
        )
    return sections


def _refusals(section: _Section) -> list[str]:
    """What a section asks for and cannot have."""
    if section.kind not in _RULES:
        return ["there is no rule for this section"]
    found = []
    word = section.options.get("activation", "linear").lower()
    if word not in _ACTIVATIONS and section.kind not in _HEADS:
        found.append(f"activation={shorten(word)}")
    for name, harmless in _CHANGES.get(section.kind, {}).items():
        if section.options.get(name, harmless) != harmless:
            found.append(f"{name}={shorten(section.options[name])}")
    return found


def _input(section: _Section, shape: Sequence[int] | None) -> Input:
    if shape is None:
        sizes = [section.whole(name, 0) for name in ("channels", "height", "width")]
        shape = sizes if any(sizes) else [section.whole("inputs", 0)]
    return Input("input", tuple(shape))


# The layers.


class _Reader:
    """Makes nodes of sections. A value is the name of a node, and its spec."""

    def __init__(self, source: Input, limits: Limits) -> None:
        self.source = source
        self.nodes: list[Node] = []
        self._limits = limits
        self._specs: dict[str, TensorSpec] = {source.name: source.spec}
        self._values: list[str] = []  # of every section
        self._convolutions: dict[int, dict[str, str]] = {}  # nodes with parameters by their word, of every section
        self._heads: list[str] = []
        self.tip = source.name
        self._scope = ""
        self._namer = Namer()
        self._shared: dict[str, str] = {}

    def outputs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*self._heads, self.tip]))

    def read(self, section: _Section) -> None:
        """Adds the nodes of a section: within a scope, unless there is one alone."""
        self._scope, self._namer, self._shared = f"{section.kind}{section.number}", Namer(), {}
        start = len(self.nodes)
        _RULES[section.kind](self, section)
        added = self.nodes[start:]
        if len(added) == 1 and section.kind not in _SCOPED:
            self.nodes[start] = evolve(added[0], name=self._scope)
            self._specs[self._scope] = self._specs.pop(self.tip)
            self.tip = self._scope
        if section.kind == "convolutional":
            self._convolutions[section.number] = {
                word_of(type(node.layer)): node.shares or node.name for node in added if type(node.layer) in _OWNERS
            }
        if section.kind in _HEADS:
            self._heads.append(self.tip)
        self._values.append(self.tip)

    @property
    def spec(self) -> TensorSpec:
        return self._specs[self.tip]

    def add(self, layer: Layer, *inputs: str) -> str:
        """Adds a node that reads the values, or the last one."""
        word = word_of(type(layer))
        name = f"{self._scope}/{self._namer.fresh(word)}"
        names = inputs or (self.tip,)
        self._specs[name] = infer_layer(layer, tuple([self._specs[each] for each in names]))
        self._limits.check_axes(name, self._specs[name], _WHAT)
        self.nodes.append(Node(name, layer, names, self._shared.get(word)))
        self.tip = name
        return name

    def share(self, section: _Section) -> None:
        """The convolution that follows uses the parameters of another section."""
        if "share_index" in section.options:
            index = section.whole("share_index", 0)
            if self.at(index) not in self._convolutions:
                raise FormatError(
                    "share_index is of a section without weights", got=str(index), expected="a [convolutional]"
                )
            self._shared = self._convolutions[self.at(index)]

    def at(self, index: int) -> int:
        """The number of a section: from the start, or back from this one if it is negative."""
        number = index if index >= 0 else len(self._values) + index
        if not 0 <= number < len(self._values):
            raise FormatError(
                "a section refers to one that does not come before it",
                got=str(index),
                expected=f"0 to {len(self._values) - 1}, or -{len(self._values)} to -1",
            )
        return number

    def value(self, index: int) -> str:
        """The value of another section."""
        return self._values[self.at(index)]

    def shape(self, name: str) -> tuple[int, ...]:
        return self._specs[name].shape

    def image(self) -> None:
        """Gives a vector two axes, as Darknet sees it."""
        if len(self.spec.shape) == 1:
            self.add(Reshape(self.spec.channels, 1, 1))

    def vector(self) -> None:
        """Takes the axes away."""
        if len(self.spec.shape) > 1:
            self.add(Flatten())

    def activate(self, section: _Section, default: str = "logistic") -> None:
        layer = _ACTIVATIONS[section.options.get("activation", default).lower()]
        if layer is not None:
            self.add(layer)


def _strides(section: _Section, default: int = 1) -> int | tuple[int, int]:
    each = section.whole("stride", default)
    y, x = (section.whole(name, each) for name in ("stride_y", "stride_x"))
    return x if x == y else (y, x)


def _convolutional(reader: _Reader, section: _Section) -> None:
    size, dilation = section.whole("size", 1), section.whole("dilation", 1)
    dilation = 1 if size == 1 else dilation
    padding = size // 2 if section.whole("pad", 0) else section.whole("padding", 0)
    if dilation > 1 and size != 2 * padding + 1:
        raise FormatError(
            "a dilated window needs padding=size/2: Darknet computes another size than it convolves",
            got=f"{size}, {padding}",
        )
    normalised = section.whole("batch_normalize", 0) or section.whole("cbn", 0)
    reader.image()
    reader.share(section)
    reader.add(
        Conv(
            section.whole("filters", 1),
            size,
            stride=_strides(section),
            padding=padding * dilation,
            dilation=dilation,
            groups=section.whole("groups", 1),
            bias=not normalised,
        )
    )
    if normalised:
        reader.add(BatchNorm())
    reader.activate(section)


def _deconvolutional(reader: _Reader, section: _Section) -> None:
    size, normalised = section.whole("size", 1), section.whole("batch_normalize", 0)
    padding = size // 2 if section.whole("pad", 0) else section.whole("padding", 0)
    reader.image()
    stride = section.whole("stride", 1)
    reader.add(ConvTranspose(section.whole("filters", 1), size, stride=stride, padding=padding, bias=not normalised))
    if normalised:
        reader.add(BatchNorm())
    reader.activate(section)


def _local(reader: _Reader, section: _Section) -> None:
    size = section.whole("size", 1)
    total = size - 1 if section.whole("pad", 0) else 0
    reader.image()
    padding = ((total // 2, total - total // 2),) * 2
    reader.add(LocallyConnected(section.whole("filters", 1), size, stride=section.whole("stride", 1), padding=padding))
    reader.activate(section)


def _connected(reader: _Reader, section: _Section) -> None:
    normalised = section.whole("batch_normalize", 0)
    reader.vector()
    reader.add(Linear(section.whole("output", 1), bias=not normalised))
    if normalised:
        reader.add(BatchNorm())
    reader.activate(section)


def _pool_settings(section: _Section) -> dict[str, Any]:
    stride = _strides(section)
    size = section.whole("size", section.whole("stride", 1))
    total = section.whole("padding", size - 1)  # of both sides together; windows start in the first half of it
    before, after = total // 2, total - total // 2
    if (size, stride, total) == (2, 2, 1):
        return {"kernel": size, "stride": stride, "ceil_mode": True}  # the same, and nothing is padded
    padding: Any = before if before == after else ((before, after),) * 2
    return {"kernel": size, "stride": stride, "padding": padding}


def _maxpool(reader: _Reader, section: _Section) -> None:
    reader.image()
    reader.add(MaxPool(**_pool_settings(section)))


def _local_avgpool(reader: _Reader, section: _Section) -> None:
    reader.image()
    reader.add(AvgPool(**_pool_settings(section), count_include_pad=False))


def _avgpool(reader: _Reader, _: _Section) -> None:
    reader.image()
    reader.add(GlobalAvgPool(keepdims=True))


def _softmax(reader: _Reader, section: _Section) -> None:
    groups = section.whole("groups", 1)
    if section.number_of("spatial", 0):
        reader.add(act.Softmax())
        return
    reader.vector()
    if groups == 1:
        reader.add(act.Softmax())
        return
    reader.add(Reshape(groups, -1))
    reader.add(act.Softmax(axis=1))
    reader.add(Flatten())


def _route(reader: _Reader, section: _Section) -> None:
    values = [reader.value(index) for index in section.ints("layers")]
    groups, group = section.whole("groups", 1), section.whole("group_id", 0)
    if groups > 1:
        values = [reader.add(Split(groups, group), value) for value in values]
    if len(values) > 1:
        reader.add(Concat(), *values)
    elif groups == 1:
        reader.add(Identity(), *values)


def _shortcut(reader: _Reader, section: _Section) -> None:
    own = reader.tip
    for index in section.ints("from"):
        _add_what_both_have(reader, own, reader.value(index))
        own = reader.tip
    reader.activate(section, "linear")


def _add_what_both_have(reader: _Reader, own: str, other: str) -> None:
    """Adds a value, at every so many of its positions if it is larger, to as many channels as both have."""
    mine, theirs = reader.shape(own), reader.shape(other)
    if len(mine) != 3 or len(theirs) != 3 or theirs[1] < mine[1]:
        raise FormatError(
            "a shortcut comes from a smaller map", got=f"{theirs} to {mine}", expected="one that is as large"
        )
    step = theirs[1] // mine[1]
    if step > 1:
        other = reader.add(AvgPool(1, stride=step), other)  # windows of one position
    count = min(mine[0], theirs[0])
    if theirs[0] > count:
        other = reader.add(Slice(0, count), other)
    if mine[0] == count:
        reader.add(Add(), own, other)
        return
    both = reader.add(Add(), reader.add(Slice(0, count), own), other)
    reader.add(Concat(), both, reader.add(Slice(count), own))


def _multiply(reader: _Reader, section: _Section) -> None:
    own = reader.tip
    for index in section.ints("from"):
        reader.add(Multiply(), reader.value(index), own)
    reader.activate(section, "linear")


def _crop(reader: _Reader, section: _Section) -> None:
    reader.image()
    sizes = section.whole("crop_height", 1), section.whole("crop_width", 1)
    room = [n - size for n, size in zip(reader.spec.spatial, sizes, strict=True)]
    if min(room) < 0:
        raise FormatError("a crop is larger than the image", got=f"{sizes} of {reader.spec.spatial}")
    reader.add(Crop(tuple((each // 2, each - each // 2) for each in room)))


def _upsample(reader: _Reader, section: _Section) -> None:
    reader.add(Upsample(section.whole("stride", 2)))


def _reorg(reader: _Reader, section: _Section) -> None:
    step = section.whole("stride", 1)
    reader.add(PixelShuffle(step) if section.whole("reverse", 0) else PixelUnshuffle(step))


def _dropout(reader: _Reader, section: _Section) -> None:
    reader.add(Dropout(section.number_of("probability", 0.5)))


def _lrn(reader: _Reader, section: _Section) -> None:
    numbers = {"alpha": 1e-4, "beta": 0.75, "kappa": 1.0}
    alpha, beta, kappa = (section.number_of(name, default) for name, default in numbers.items())
    reader.add(LocalResponseNorm(section.whole("size", 5), alpha=alpha, beta=beta, k=kappa))


def _batchnorm(reader: _Reader, _: _Section) -> None:
    reader.add(BatchNorm())


def _activation(reader: _Reader, section: _Section) -> None:
    layer = _ACTIVATIONS[section.options.get("activation", "linear").lower()]
    reader.add(Identity() if layer is None else layer)


def _logistic(reader: _Reader, _: _Section) -> None:
    reader.add(act.Sigmoid())


def _nothing(reader: _Reader, _: _Section) -> None:
    reader.add(Identity())


_OWNERS = frozenset({Conv, BatchNorm})
_SCOPED = frozenset({"convolutional", "deconvolutional", "local", "connected"})
_RULES: Mapping[str, Callable[[_Reader, _Section], None]] = {
    "convolutional": _convolutional,
    "deconvolutional": _deconvolutional,
    "local": _local,
    "connected": _connected,
    "maxpool": _maxpool,
    "local_avgpool": _local_avgpool,
    "avgpool": _avgpool,
    "softmax": _softmax,
    "route": _route,
    "shortcut": _shortcut,
    "scale_channels": _multiply,
    "sam": _multiply,
    "crop": _crop,
    "upsample": _upsample,
    "reorg": _reorg,
    "dropout": _dropout,
    "lrn": _lrn,
    "batchnorm": _batchnorm,
    "activation": _activation,
    "logistic": _logistic,
    "cost": _nothing,
    "empty": _nothing,
    **dict.fromkeys(_HEADS, _nothing),
}
_CHANGES: Mapping[str, Mapping[str, str]] = {
    "convolutional": {"antialiasing": "0"},
    "maxpool": {"antialiasing": "0", "maxpool_depth": "0"},
    "shortcut": {"weights_type": "none"},
    "reorg": {"flatten": "0", "extra": "0"},
    "scale_channels": {"scale_wh": "0"},
}
"""Options that change sizes or parameters and have no rule, with the value that changes nothing."""
