"""Networks side by side: what each is made of, what it costs, what it sees, and the memory that it needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from cnnbudget.analysis.costs import costs
from cnnbudget.analysis.receptive import NodeField, receptive_field
from cnnbudget.analysis.structure import NetworkStructure, show_fact, structure
from cnnbudget.errors import (
    InvalidTypeError,
    InvalidValueError,
    MissingRuleError,
    UnknownNameError,
    did_you_mean,
    shorten,
)
from cnnbudget.graph.nodes import Network, check_network
from cnnbudget.memory.profile import MemoryProfile, profile
from cnnbudget.memory.retention import KeepAll
from cnnbudget.memory.scenario import Inference, Scenario, Training
from cnnbudget.tables import Column, html_table, show, text_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cnnbudget.tensors import Shape

__all__ = ["ComparedNetwork", "Comparison", "compare", "named_networks"]

_FACT = "fact"
_INFERENCE = Inference()
_TRAINING = Training(batch=32, retention=KeepAll())


@frozen
class ComparedNetwork:
    """One column of a comparison.

    Args:
        name: How the network is called.
        network: The network.
        input_shapes: Shapes of one sample of its inputs.
        structure: What it is made of.
        last: The receptive field where positions last differ; ``None`` if they never do, or if it is unknown.
        field_known: Whether there is a rule for every layer's receptive field.
        inference: Its profile at inference.
        training: Its profile in training.
    """

    name: str
    network: Network = field(repr=False)
    input_shapes: tuple[Shape, ...]
    structure: NetworkStructure = field(repr=False)
    last: NodeField | None = field(repr=False)
    field_known: bool
    inference: MemoryProfile = field(repr=False)
    training: MemoryProfile = field(repr=False)

    def facts(self) -> dict[str, Any]:
        """The facts by their titles, without the kinds of layers."""
        unknown: Any = () if self.field_known else None
        return {
            "input": self.input_shapes[0] if len(self.input_shapes) == 1 else self.input_shapes,
            **self.structure.facts(),
            "receptive field at the end": unknown if self.last is None else self.last.size,
            "effective stride at the end": unknown if self.last is None else self.last.stride,
            f"inference peak, batch {self.inference.scenario.batch}": self.inference.peak,
            f"training peak, batch {self.training.scenario.batch}": self.training.peak,
        }


@frozen
class Comparison:
    """Networks side by side: one column each, one row a fact.

    *Counts*: as :func:`cnnbudget.costs` and :func:`cnnbudget.profile` do; peaks are lower bounds for every allocator. The receptive
    field is that of the last positions, before a global pooling or a flattening lets everything see the whole input.

    Example:
        >>> from cnnbudget import Block, Conv, Flatten, Linear, Net, ReLU
        >>> start = Net.input(3, 16, 16).then(Conv(8, 3, padding=1))
        >>> body = Block(ReLU(), Conv(8, 3, padding=1), ReLU(), Conv(8, 3, padding=1))
        >>> plain, residual = start.then(body, Flatten(), Linear(10)), start.residual(body).then(Flatten(), Linear(10))
        >>> table = compare(plain.network, residual.network, names=["plain", "residual"])
        >>> table["residual"].structure.skips[0].lengths
        (2, 0)
        >>> [row for row in table.rows() if row["fact"] == "shortest gradient path"]
        [{'fact': 'shortest gradient path', 'plain': 4, 'residual': 2}]
    """

    networks: tuple[ComparedNetwork, ...]

    def __iter__(self) -> Iterator[ComparedNetwork]:
        return iter(self.networks)

    def __len__(self) -> int:
        return len(self.networks)

    def __getitem__(self, name: str) -> ComparedNetwork:
        """The column of a network, by name."""
        for column in self.networks:
            if column.name == name:
                return column
        known = [column.name for column in self.networks]
        raise UnknownNameError("no network has this name", got=shorten(name), hint=did_you_mean(name, known))

    def rows(self) -> list[dict[str, Any]]:
        """The table as data.

        Returns:
            One dict a fact, with ``fact`` and the networks' names. Receptive fields and strides are tuples of one number a spatial
            axis, ``()`` where no value has positions, ``None`` where a rule is missing.
        """
        columns = [column.facts() for column in self.networks]
        kinds = [column.structure.kinds() for column in self.networks]
        groups: dict[str, list[str]] = {}
        for title in dict.fromkeys(title for found in kinds for title in found):
            groups.setdefault(title.partition(":")[0], []).append(title)
        names = [column.name for column in self.networks]
        rows = [
            {_FACT: fact, **{name: facts[fact] for name, facts in zip(names, columns, strict=True)}}
            for fact in columns[0]
        ]
        for titles in groups.values():
            rows += [
                {_FACT: title, **{name: found.get(title, 0) for name, found in zip(names, kinds, strict=True)}}
                for title in titles
            ]
        return rows

    def _table(self) -> tuple[tuple[Column, ...], list[tuple[object, ...]]]:
        columns = (Column(_FACT), *(Column(column.name, right=True) for column in self.networks))
        cells = [tuple(_cell(row[_FACT], value) for value in row.values()) for row in self.rows()]
        return columns, cells

    def __str__(self) -> str:
        return text_table(*self._table())

    def _repr_html_(self) -> str:
        return html_table(*self._table())


def _cell(fact: str, value: Any) -> object:
    """One number where all axes agree, and shapes as shapes."""
    if isinstance(value, tuple):
        if fact == "input":
            return ", ".join(map(show, value)) if isinstance(value[0], tuple) else value
        shown = [show(number) for number in value]
        return "-" if not shown else shown[0] if len(set(shown)) == 1 else "x".join(shown)
    return show_fact(value)


def compare(
    *networks: Network | Mapping[str, Network],
    names: Sequence[str] | None = None,
    inference: Scenario = _INFERENCE,
    training: Scenario = _TRAINING,
) -> Comparison:
    """Compares networks: depth, parameters, multiply-accumulates, modules, skip connections, receptive field, memory.

    Args:
        *networks: At least one network, or one mapping of names to networks.
        names: How to call them, in their order; ``network 1``, ``network 2``, ... unless told.
        inference: How they run; one sample in 32 bits unless told.
        training: How they are trained; a batch of 32 in 32 bits, with everything kept, unless told.

    Returns:
        The comparison.

    Raises:
        InvalidTypeError: If something else than networks is given.
        InvalidValueError: If there is no network, or names do not fit.
        MissingRuleError: If a layer does not state its parameters, buffers, extras or multiply-accumulates.

    Example:
        >>> from cnnbudget import Conv, GlobalAvgPool, Linear, Net
        >>> small = Net.input(3, 32, 32).then(Conv(8, 3, stride=2), Conv(8, 3), GlobalAvgPool(), Linear(10)).network
        >>> table = compare({"small": small})
        >>> [(row["fact"], row["small"]) for row in table.rows()][-5:-2]
        [('receptive field at the end', (7, 7)), ('effective stride at the end', (2, 2)), ('inference peak, batch 1', Bytes(23080))]
    """
    named = named_networks(networks, names)
    for scenario, trains, word in ((inference, False, "inference"), (training, True, "training")):
        if isinstance(scenario, Scenario) and scenario.trains is not trains:
            raise InvalidValueError(
                f"compare(): {word}= is another kind of scenario",
                got=shorten(scenario),
                expected="a Training" if trains else "an Inference",
            )
    return Comparison(tuple([_column(name, network, inference, training) for name, network in named]))


def named_networks(networks: tuple[Any, ...], names: Sequence[str] | None) -> list[tuple[str, Network]]:
    """Gives networks their names: those of a mapping, those that are told, or numbers.

    Args:
        networks: Networks, or one mapping of names to them.
        names: How to call them.

    Returns:
        Names and networks.

    Raises:
        InvalidTypeError: If something else than networks is given.
        InvalidValueError: If there is no network, or names do not fit.
    """
    if len(networks) == 1 and isinstance(networks[0], Mapping):
        if names is not None:
            raise InvalidValueError(
                "compare() was given names twice", got="a mapping and names=", expected="one of them"
            )
        names, networks = list(networks[0].keys()), tuple(networks[0].values())
    if not networks:
        raise InvalidValueError("compare() needs networks", got="none", expected="at least one")
    for network in networks:
        check_network(network, "compare()")
    if names is None:
        names = [f"network {number}" for number in range(1, len(networks) + 1)]
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise InvalidTypeError(
            "compare(): names must be a list of str", got=shorten(names), expected="one str a network"
        )
    if len(names) != len(networks) or len({*names, _FACT}) != len(names) + 1 or not all(names):
        raise InvalidValueError(
            "compare(): names do not fit",
            got=shorten(names),
            expected=f"{len(networks)} different ones, none of them empty or {_FACT!r}",
        )
    return list(zip(names, networks, strict=True))


def _column(name: str, network: Network, inference: Scenario, training: Scenario) -> ComparedNetwork:
    table = costs(network)
    try:
        last, known = receptive_field(network).last, True
    except MissingRuleError:
        last, known = None, False
    return ComparedNetwork(
        name,
        network,
        tuple(source.shape for source in network.inputs),
        structure(table),
        last,
        known,
        profile(table, inference),
        profile(table, training),
    )
