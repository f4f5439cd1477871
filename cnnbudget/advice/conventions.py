"""What other tools would print for a network, and why it differs from what is counted here.

Each tool has rules of its own for what an operation is, and "MB" is 10^6 bytes in one and 2^20 in another. The rules were read
in the tools' sources (torchinfo 1.8.0, torchsummary 1.5.1, fvcore 0.1.5.post20221221, thop 0.1.1, ptflops 0.7.5, Keras 3) and are
checked against their output.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from math import floor, log2, prod
from typing import TYPE_CHECKING, Any

from attrs import asdict, field, frozen

from cnnbudget.analysis.costs import costs
from cnnbudget.analysis.visitor import Use, Visitor, visits
from cnnbudget.analysis.walk import walk
from cnnbudget.errors import InvalidTypeError, UnknownNameError, did_you_mean, shorten
from cnnbudget.graph.nodes import check_network
from cnnbudget.layers import activation as act
from cnnbudget.layers.base import ElementwiseLayer
from cnnbudget.layers.conv import Conv, ConvTranspose, DepthwiseConv
from cnnbudget.layers.linear import Linear
from cnnbudget.layers.norm import BatchNorm, GroupNorm, InstanceNorm, LayerNorm, LocalResponseNorm
from cnnbudget.layers.pool import (
    AdaptiveAvgPool,
    AdaptiveMaxPool,
    AvgPool,
    GlobalAvgPool,
    GlobalMaxPool,
    MaxPool,
)
from cnnbudget.layers.rearrange import PixelShuffle
from cnnbudget.layers.regularize import Dropout
from cnnbudget.layers.resize import Upsample
from cnnbudget.layers.scale import Scale
from cnnbudget.tables import Column, html_table, text_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cnnbudget.graph.nodes import Input, Network

__all__ = ["Convention", "Conventions", "conventions"]


@frozen
class _Counted:
    """What the tools count for one node and one sample."""

    fvcore: int = 0
    fvcore_activations: int = 0
    thop: int = 0
    ptflops: int = 0
    ptflops_aten: int = 0
    torchinfo: int = 0
    torchinfo_outputs: int = 0
    torchsummary_outputs: int = 0
    torchsummary_parameters: int = 0
    module_parameters: int = 0


class _ToolVisitor(Visitor[_Counted]):
    """What does each tool count for a node?

    Args:
        functions: Nodes that a module calls as functions: tools that look at modules do not see them.
    """

    def __init__(self, functions: frozenset[str]) -> None:
        self.functions = functions

    def start(self, source: Input) -> _Counted:
        """Answers for an input: no tool counts it here."""
        return _Counted()

    def visit(self, use: Use[_Counted]) -> _Counted:
        """Answers for what is a function in PyTorch, such as a sum: it is no module, and no tool has a rule for it.

        A layer with parameters, from another package or unknown to PyTorch, is a module that no tool but the two with
        general rules knows.
        """
        return self._module(use) if use.layer.parameters(use.inputs) else _Counted()

    def _module(self, use: Use[_Counted], *, convolution: bool = False, **counts: int) -> _Counted:
        """Adds what the tools count for any module: outputs, and parameters as multiplications (torchinfo)."""
        parameters = sum(map(prod, (use.layer.parameters(use.inputs) or {}).values()))
        if use.node.name in self.functions and not parameters:
            return _Counted(fvcore=counts.get("fvcore", 0), ptflops=counts.get("function", 0), fvcore_activations=0)
        counts["ptflops"] = counts.get("ptflops", 0) + counts.pop("function", 0)
        positions = prod(use.output.spatial) if convolution else 1
        return _Counted(
            torchinfo=parameters * positions,
            torchinfo_outputs=use.output.element_count if parameters else 0,
            torchsummary_outputs=use.output.element_count,
            torchsummary_parameters=parameters,
            module_parameters=0 if use.node.shares is not None else parameters,
            **counts,
        )

    @visits(Conv, DepthwiseConv, ConvTranspose)
    def convolution(self, use: Use[_Counted]) -> _Counted:
        """Counts multiplications; the tools differ in the biases, and thop takes a transpose for a convolution."""
        layer: Any = use.layer
        (value,) = use.inputs
        macs = layer.macs(use.inputs, use.output)
        biases = use.output.element_count if layer.bias else 0
        weight = layer.weight_shape(value)
        channels = value.channels // (value.channels if isinstance(layer, DepthwiseConv) else layer.groups)
        return self._module(
            use,
            convolution=True,
            fvcore=macs,
            fvcore_activations=use.output.element_count,
            thop=use.output.element_count * channels * prod(weight[2:]),
            ptflops=macs + biases,
            ptflops_aten=macs + biases,
        )

    @visits(Linear)
    def linear(self, use: Use[_Counted]) -> _Counted:
        """Counts multiplications; ptflops adds the biases."""
        layer: Any = use.layer
        macs = layer.macs(use.inputs, use.output)
        biases = use.output.element_count if layer.bias else 0
        return self._module(
            use,
            fvcore=macs,
            fvcore_activations=use.output.element_count,
            thop=macs,
            ptflops=macs + biases,
            ptflops_aten=macs + biases,
        )

    @visits(BatchNorm, InstanceNorm)
    def tracking(self, use: Use[_Counted]) -> _Counted:
        """Counts per element: fvcore 2 for a batch norm that only scales and shifts, and 5 for statistics."""
        layer: Any = use.layer
        size, affine = use.output.element_count, layer.affine
        scales = isinstance(layer, BatchNorm) and layer.track_running_stats
        fvcore = (1 + affine) * size if scales else (4 + affine) * size
        return self._module(use, fvcore=fvcore, thop=(2 + 2 * affine) * size, ptflops=(1 + affine) * size)

    @visits(LayerNorm)
    def layer_norm(self, use: Use[_Counted]) -> _Counted:
        """Counts per element; ptflops does not find out that a layer norm is affine."""
        size, affine = use.output.element_count, bool(use.layer.parameters(use.inputs))
        return self._module(use, fvcore=(4 + affine) * size, thop=(2 + 2 * affine) * size, ptflops=size)

    @visits(GroupNorm)
    def group_norm(self, use: Use[_Counted]) -> _Counted:
        """Counts per element; thop has no rule."""
        size, affine = use.output.element_count, bool(use.layer.parameters(use.inputs))
        return self._module(use, fvcore=(4 + affine) * size, ptflops=(1 + affine) * size)

    @visits(ElementwiseLayer, Dropout, LocalResponseNorm, PixelShuffle)
    def other(self, use: Use[_Counted]) -> _Counted:
        """Modules for which no tool has a rule."""
        return self._module(use)

    @visits(Scale)
    def scale(self, use: Use[_Counted]) -> _Counted:
        """A parameter of the block around it, and no module."""
        return _Counted()

    @visits(act.ReLU, act.ELU, act.GELU, act.PReLU)
    def twice(self, use: Use[_Counted]) -> _Counted:
        """Ptflops counts an element twice: it hooks the module, and the function that the module calls."""
        size = use.output.element_count
        thop = size if isinstance(use.layer, act.PReLU) else 0
        return self._module(use, ptflops=size, function=size, thop=thop)

    @visits(act.ReLU6, act.LeakyReLU)
    def once(self, use: Use[_Counted]) -> _Counted:
        """Ptflops hooks the module; it calls another function."""
        return self._module(use, ptflops=use.output.element_count)

    @visits(act.SiLU)
    def silu(self, use: Use[_Counted]) -> _Counted:
        """Ptflops hooks the function alone."""
        return self._module(use, function=use.output.element_count)

    @visits(act.Softmax)
    def softmax(self, use: Use[_Counted]) -> _Counted:
        """Thop counts exponentials, additions and divisions."""
        layer: Any = use.layer
        size = use.output.element_count
        features = use.output.shape[layer.axis]
        return self._module(use, function=size, thop=size // features * (3 * features - 1))

    @visits(MaxPool, AdaptiveMaxPool, GlobalMaxPool)
    def max_pool(self, use: Use[_Counted]) -> _Counted:
        """Ptflops counts the input, twice."""
        size = use.inputs[0].element_count
        return self._module(use, ptflops=size, function=size)

    @visits(AvgPool)
    def avg_pool(self, use: Use[_Counted]) -> _Counted:
        """Thop counts the output."""
        size = use.inputs[0].element_count
        return self._module(use, ptflops=size, function=size, thop=use.output.element_count)

    @visits(AdaptiveAvgPool, GlobalAvgPool)
    def adaptive(self, use: Use[_Counted]) -> _Counted:
        """Fvcore counts the input (of two spatial axes), thop a window and a division for every output."""
        value, maps = use.inputs[0], use.output.element_count
        sizes = use.output.spatial or (1,) * len(value.spatial)
        window = 1.0
        for before, after in zip(value.spatial, sizes, strict=True):
            window *= before / after
        return self._module(
            use,
            fvcore=value.element_count if len(value.spatial) == 2 else 0,
            thop=int((window + 1) * maps),
            ptflops=value.element_count,
            function=value.element_count,
        )

    @visits(Upsample)
    def upsample(self, use: Use[_Counted]) -> _Counted:
        """The tools count operations of the interpolation by its mode."""
        layer: Any = use.layer
        size, rank = use.output.element_count, len(use.output.spatial)
        thop = {"nearest": 1, "linear": 5, "bilinear": 11, "bicubic": 259}.get(layer.mode, 0)
        fvcore = {"nearest": 1, "bilinear": 4}.get(layer.mode, 0) * size if rank == 2 else 0
        if layer.mode == "area" and rank == 2:
            fvcore = use.inputs[0].element_count
        return self._module(use, fvcore=fvcore, thop=thop * size, ptflops=size, function=size)


@frozen
class Convention:
    """One number that a tool prints.

    Args:
        tool: The tool.
        quantity: How it calls the number.
        value: The number, exactly: a count, or bytes.
        shown: What it prints.
        ours: The same quantity as it is counted here; ``None`` if there is none.
        why: The rule, and so where a difference comes from.
    """

    tool: str
    quantity: str
    value: int
    shown: str
    ours: int | None
    why: str


_COLUMNS = (
    Column("tool"),
    Column("number"),
    Column("printed", right=True),
    Column("exactly", right=True),
    Column("more than here", right=True),
    Column("because"),
)


@frozen
class Conventions:
    """What other tools would print for a network, one row a number.

    Args:
        numbers: The rows.
    """

    numbers: tuple[Convention, ...] = field(repr=False)

    def __iter__(self) -> Iterator[Convention]:
        return iter(self.numbers)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, key: tuple[str, str]) -> Convention:
        """A number, by tool and quantity.

        Raises:
            UnknownNameError: If there is none; the error guesses which was meant.
        """
        known = {(number.tool, number.quantity): number for number in self.numbers}
        if key not in known:
            words = [": ".join(each) for each in known]
            word = ": ".join(map(str, key)) if isinstance(key, tuple) else key
            raise UnknownNameError("no tool prints this", got=shorten(key), hint=did_you_mean(word, words))
        return known[key]

    def rows(self) -> list[dict[str, Any]]:
        """The table as data: one dict a number, with ``tool``, ``quantity``, ``value``, ``shown``, ``ours``, ``why``."""
        return [asdict(number) for number in self.numbers]

    def _cells(self) -> list[tuple[object, ...]]:
        return [
            (
                number.tool,
                number.quantity,
                number.shown,
                number.value,
                "" if number.ours is None else number.value - number.ours,
                number.why,
            )
            for number in self.numbers
        ]

    def __str__(self) -> str:
        return text_table(_COLUMNS, self._cells())

    def _repr_html_(self) -> str:
        return html_table(_COLUMNS, self._cells())


def conventions(network: Network, *, functions: str | Iterable[str] = ()) -> Conventions:
    """Works out what other tools would print for a network, and why it differs from what is counted here.

    The network is taken as PyTorch modules in evaluation mode, one for every layer that PyTorch has as a module; sums,
    concatenations and flattening are functions. One sample in 32 bits.

    *Does not count*: for torchsummary the outputs of blocks that are modules of their own, and no ``Sequential``: it adds these a
    second time.

    Args:
        network: The network.
        functions: Patterns of the names of nodes that are called as functions, not as modules (``F.relu``): tools that hook
            modules do not see them.

    Returns:
        One row a number.

    Raises:
        InvalidTypeError: If a pattern is no str.
        UnknownNameError: If a pattern fits no node.
        MissingRuleError: If a layer does not state its parameters or multiply-accumulates.

    Example:
        >>> from cnnbudget import zoo
        >>> table = conventions(zoo.resnet50().network)
        >>> table["fvcore", "flops"].value, table["thop", "macs"].value
        (4111512576, 4133742592)
        >>> table["torchinfo", "Forward/backward pass size (MB)"].shown
        '177.83'
    """
    check_network(network, "conventions()")
    table = costs(network)
    parameters, macs, buffers = table.parameter_count, table.mac_count, _statistics(table)
    found = list(walk(network, _ToolVisitor(_functions(network, functions))).values())

    def total(name: str) -> int:
        return sum([getattr(counted, name) for counted in found])

    inputs = sum([prod(source.shape) for source in network.inputs])
    outputs = sum([cost.output.element_count for cost in table])
    seen = total("module_parameters")
    sizes = _sizes("torchinfo", inputs, total("torchinfo_outputs"), seen, 10**6, _TORCHINFO_OUTPUTS)
    called = total("torchsummary_parameters")
    summary_sizes = _sizes("torchsummary", inputs, total("torchsummary_outputs"), called, 2**20, _TORCHSUMMARY_OUTPUTS)
    trained = "trainable parameters"
    return Conventions(
        (
            Convention("cnnbudget", "parameters", parameters, f"{parameters:,}", parameters, trained),
            Convention("cnnbudget", "MACs", macs, f"{macs:,}", macs, "convolutions and linear layers, without biases"),
            Convention("cnnbudget", "outputs", outputs, f"{outputs:,}", outputs, "elements of all layers' outputs"),
            Convention("torchinfo", "Total params", parameters, f"{parameters:,}", parameters, trained),
            Convention(
                "torchinfo",
                "Total mult-adds",
                total("torchinfo"),
                _readable(total("torchinfo")),
                macs,
                "parameters times output positions in modules called Conv..., once in all others: biases and norms too",
            ),
            *sizes,
            Convention(
                "torchsummary",
                "Total params",
                called,
                f"{called:,}",
                parameters,
                "weight and bias of every call of a module: shared ones again, other names never",
            ),
            *summary_sizes,
            Convention(
                "fvcore",
                "flops",
                total("fvcore"),
                f"{total('fvcore'):,}",
                macs,
                "one per multiply-add; 2 per element of a batch norm, 5 of other norms, the input of adaptive average pooling",
            ),
            Convention(
                "fvcore",
                "activations",
                total("fvcore_activations"),
                f"{total('fvcore_activations'):,}",
                outputs,
                "outputs of convolutions and linear layers alone",
            ),
            Convention(
                "thop",
                "macs",
                total("thop"),
                f"{total('thop'):,}",
                macs,
                "4 per element of a batch norm, averages of pooling modules; a transpose as if it were a convolution",
            ),
            Convention("thop", "params", seen, f"{seen:,}", parameters, "parameters of modules without children"),
            Convention(
                "ptflops",
                "macs (pytorch)",
                total("ptflops"),
                f"{total('ptflops') / 1e9:.2f} GMac",
                macs,
                "biases, 2 per element of a batch norm; activations and inputs of pooling twice: as module and as function",
            ),
            Convention(
                "ptflops",
                "macs (aten)",
                total("ptflops_aten"),
                f"{total('ptflops_aten') / 1e9:.2f} GMac",
                macs,
                "convolutions and linear layers, with biases",
            ),
            Convention(
                "Keras",
                "Total params",
                parameters + buffers,
                _keras(parameters + buffers),
                parameters,
                "running statistics of batch norms are parameters that do not train; MB is 2^20 bytes",
            ),
            Convention("Keras", "Trainable params", parameters, _keras(parameters), parameters, trained),
            Convention("Keras", "Non-trainable params", buffers, _keras(buffers), None, "running statistics"),
        )
    )


_TORCHINFO_OUTPUTS = "outputs of modules that have parameters, doubled for gradients; MB is 10^6 bytes"
_TORCHSUMMARY_OUTPUTS = "outputs of all modules, doubled for gradients; MB is 2^20 bytes"


def _sizes(tool: str, inputs: int, outputs: int, parameters: int, megabyte: int, why: str) -> list[Convention]:
    """The sizes that the two tables end with."""
    rows = [
        ("Input size (MB)", 4 * inputs, "elements of the input in 32 bits"),
        ("Forward/backward pass size (MB)", 8 * outputs, why),
        ("Params size (MB)", 4 * parameters, "parameters in 32 bits, without their gradients"),
        ("Estimated Total Size (MB)", 4 * (inputs + 2 * outputs + parameters), "the sum of the three: no peak"),
    ]
    return [Convention(tool, word, size, f"{size / megabyte:.2f}", None, because) for word, size, because in rows]


def _statistics(table: Any) -> int:
    """Elements of running statistics: counters of batches are PyTorch's alone."""
    return sum([spec.element_count for cost in table for _, spec in cost.buffers or () if spec.dtype is None])


def _readable(count: int) -> str:
    for power, unit in ((12, "T"), (9, "G")):
        if count >= 10**power:
            return f"{count / 10**power:,.2f} {unit}"
    return f"{count / 10**6:,.2f} M"


def _keras(count: int) -> str:
    size = 4 * count
    power = floor(log2(size) / 10) if size else 0
    return f"{count:,} ({size / 1024**power:.2f} {('B', 'KB', 'MB', 'GB', 'TB')[power]})"


def _functions(network: Network, patterns: Any) -> frozenset[str]:
    patterns = (patterns,) if isinstance(patterns, str) else patterns
    if not isinstance(patterns, Iterable):
        raise InvalidTypeError(
            "conventions(): functions are patterns of names", got=shorten(patterns), expected='for example "*relu*"'
        )
    names = [node.name for node in network.nodes]
    found: set[str] = set()
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise InvalidTypeError(
                "conventions(): functions are patterns of names", got=shorten(pattern), expected='for example "*relu*"'
            )
        fitting = [name for name in names if fnmatchcase(name, pattern)]
        if not fitting:
            raise UnknownNameError(
                "conventions(): a pattern fits no node", got=shorten(pattern), hint=did_you_mean(pattern, names)
            )
        found.update(fitting)
    return frozenset(found)
