"""What other tools would print for a network, and why it differs from what is counted here.

Each tool has rules of its own for what an operation is, and "MB" is 10^6 bytes in one and 2^20 in another. The rules are in
:mod:`cnnbudget.advice.tool_rules`.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from math import floor, log2, prod
from typing import TYPE_CHECKING, Any

from attrs import asdict, field, frozen

from cnnbudget.advice.tool_rules import ToolVisitor
from cnnbudget.analysis.costs import costs
from cnnbudget.analysis.walk import walk
from cnnbudget.errors import InvalidTypeError, UnknownNameError, did_you_mean, shorten
from cnnbudget.graph.nodes import check_network
from cnnbudget.tables import Column, html_table, text_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cnnbudget.graph.nodes import Network

__all__ = ["Convention", "Conventions", "conventions"]


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
    found = list(walk(network, ToolVisitor(_functions(network, functions))).values())

    def total(name: str) -> int:
        return sum([getattr(counted, name) for counted in found])

    inputs = sum([prod(source.shape) for source in network.inputs])
    outputs = sum([cost.output.element_count for cost in table])
    seen = total("thop_parameters")
    held = _TENSOR * len(network.inputs)
    sizes = _sizes(
        "torchinfo",
        4 * inputs + held,
        total("torchinfo_outputs"),
        total("torchinfo_parameters"),
        10**6,
        _TORCHINFO_OUTPUTS,
    )
    called = total("torchsummary_parameters")
    summary_sizes = _sizes(
        "torchsummary", 4 * inputs, total("torchsummary_outputs"), called, 2**20, _TORCHSUMMARY_OUTPUTS
    )
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
            Convention("thop", "params", seen, f"{seen:,}", parameters, "of modules that it has a rule for"),
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


_TENSOR = 64
"""What Python's ``sys.getsizeof`` adds to the bytes of a tensor, which torchinfo takes for the input."""

_TORCHINFO_OUTPUTS = "outputs of modules that have parameters, doubled for gradients; MB is 10^6 bytes"
_TORCHSUMMARY_OUTPUTS = "outputs of all modules, doubled for gradients; MB is 2^20 bytes"


def _sizes(tool: str, inputs: int, outputs: int, parameters: int, megabyte: int, why: str) -> list[Convention]:
    """The sizes that the two tables end with."""
    rows = [
        ("Input size (MB)", inputs, "elements of the input in 32 bits"),
        ("Forward/backward pass size (MB)", 8 * outputs, why),
        ("Params size (MB)", 4 * parameters, "parameters in 32 bits, without their gradients"),
        ("Estimated Total Size (MB)", inputs + 8 * outputs + 4 * parameters, "the sum of the three: no peak"),
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
