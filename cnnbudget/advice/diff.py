"""What changed from one network to another: layers that came, went or changed, and what each did to size, work and the peak."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from cnnbudget.advice.align import align
from cnnbudget.analysis.costs import NodeCost, costs
from cnnbudget.graph.nodes import check_network
from cnnbudget.memory.profile import MemoryProfile, profile
from cnnbudget.memory.scenario import Scenario, Training
from cnnbudget.tables import Column, html_table, text_table
from cnnbudget.units import Bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cnnbudget.analysis.costs import CostTable

__all__ = ["Change", "NetworkDiff", "diff"]

_TRAINING = Training(32)
_WORDS = ("added", "removed", "changed", "resized", "rewired", "renamed")


@frozen
class Change:
    """What became of one layer.

    Args:
        kind: ``"added"``, ``"removed"``, ``"changed"`` (another layer), ``"resized"`` (the same layer on other shapes),
            ``"rewired"`` (other inputs, or parameters that are shared otherwise), ``"renamed"``, or ``"same"``; ``"input"`` of an
            input of the network, ``"other"`` of what belongs to no layer: targets, losses, the update.
        name: The node, by its new name if it has one.
        before: What it was, and cost; ``None`` if it was not there.
        after: What it is.
        parameters: By how much parameters changed; ``None`` if they are unknown.
        macs: By how much multiply-accumulates of one sample changed, likewise.
        peak: By how much the bytes changed that are its own and alive at the peak.
    """

    kind: str
    name: str
    before: NodeCost | None = field(repr=False)
    after: NodeCost | None = field(repr=False)
    parameters: int | None
    macs: int | None
    peak: Bytes

    @property
    def was(self) -> str:
        """The layer before, with its output, and its name if that changed."""
        return _shown(self.before, self.name)

    @property
    def becomes(self) -> str:
        """The layer after, with its output."""
        return _shown(self.after, self.name)


def _shown(cost: NodeCost | None, name: str) -> str:
    if cost is None:
        return ""
    called = "" if cost.name == name else f"{cost.name}: "
    return f"{called}{cost.node.layer} {'x'.join(map(str, cost.output_shape))}"


_COLUMNS = (
    Column("change"),
    Column("node"),
    Column("before"),
    Column("after"),
    Column("parameters", right=True),
    Column("MACs", right=True),
    Column("at the peak", right=True),
)


@frozen
class NetworkDiff:
    """What changed from one network to another, layer by layer.

    The changes of parameters add up to that of the network, and so do those of multiply-accumulates. So do those at the peak: a
    layer's share is the bytes of its own storages (values, gradients, parameters, what it saved) that are alive at the step of
    the peak, after less before. The two peaks may be at different steps, so a layer that did not change can have one, too.

    Args:
        before: Profile of the one network.
        after: Profile of the other.
        changes: All layers, in order, unchanged ones included.

    Example:
        >>> from cnnbudget import BatchNorm, Conv, Net, ReLU
        >>> old = Net.input(3, 16, 16).then(Conv(8, 3), ReLU(), Conv(8, 3))
        >>> new = Net.input(3, 16, 16).then(Conv(8, 3), BatchNorm(), ReLU(), Conv(16, 3))
        >>> for change in diff(old, new).of_kind("added", "changed"):
        ...     print(change.kind, change.name, change.parameters, change.macs)
        added batch_norm 16 0
        changed conv2 584 82944
    """

    before: MemoryProfile = field(repr=False)
    after: MemoryProfile = field(repr=False)
    changes: tuple[Change, ...] = field(repr=False)

    def __iter__(self) -> Iterator[Change]:
        return iter(self.changes)

    def __len__(self) -> int:
        return len(self.changes)

    def of_kind(self, *kinds: str) -> tuple[Change, ...]:
        """The changes of some kinds.

        Args:
            *kinds: For example ``"added"``.

        Returns:
            The changes, in order.
        """
        return tuple([change for change in self.changes if change.kind in kinds])

    @property
    def parameters(self) -> int | None:
        """By how much the parameters changed; ``None`` if some are unknown."""
        return _total([change.parameters for change in self.changes])

    @property
    def macs(self) -> int | None:
        """By how much the multiply-accumulates of one sample changed; ``None`` if some are unknown."""
        return _total([change.macs for change in self.changes])

    @property
    def peak(self) -> Bytes:
        """By how much the peak changed."""
        return Bytes(self.after.peak - self.before.peak)

    def rows(self) -> list[dict[str, Any]]:
        """The changes as data, unchanged layers included.

        Returns:
            One dict a layer, with ``change``, ``node``, ``before``, ``after``, ``parameters``, ``macs``, ``peak``.
        """
        return [
            {
                "change": change.kind,
                "node": change.name,
                "before": change.was,
                "after": change.becomes,
                "parameters": change.parameters,
                "macs": change.macs,
                "peak": int(change.peak),
            }
            for change in self.changes
        ]

    def _heading(self) -> str:
        counts = {word: len(self.of_kind(word)) for word in _WORDS}
        found = ", ".join(f"{count:,} {word}" for word, count in counts.items() if count) or "no layer changed"
        scenario = self.after.scenario
        return (
            f"{found}; peak {self.before.peak} -> {self.after.peak} "
            f"({type(scenario).__name__}, batch {scenario.batch}, at {self.before.peak_step} -> {self.after.peak_step})."
        )

    def _cells(self) -> list[tuple[object, ...]]:
        cells: list[tuple[object, ...]] = []
        for change in self.changes:
            if change.kind in _WORDS or (change.kind != "same" and change.peak):
                counts = (_signed(change.parameters), _signed(change.macs), _signed(change.peak))
                cells.append((change.kind, change.name, change.was, change.becomes, *counts))
        same = self.of_kind("same")
        if same:
            moved = Bytes(sum([change.peak for change in same]))
            cells.append(("same", f"{len(same):,} layers", "", "", "0", "0", _signed(moved)))
        return cells

    def _total(self) -> tuple[object, ...]:
        return ("total", "", "", "", _signed(self.parameters), _signed(self.macs), _signed(self.peak))

    def __str__(self) -> str:
        return f"{self._heading()}\n{text_table(_COLUMNS, self._cells(), total=self._total(), limit=60)}"

    def _repr_html_(self) -> str:
        import html  # notebooks only

        table = html_table(_COLUMNS, self._cells(), total=self._total(), limit=60)
        return f"<p>{html.escape(self._heading())}</p>{table}"


def _signed(number: int | None) -> str:
    if number is None:
        return "?"
    if isinstance(number, Bytes):
        return f"+{number}" if number > 0 else str(number)
    return f"{number:+,}" if number else "0"


def _total(numbers: list[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None


def diff(before: Any, after: Any, scenario: Scenario = _TRAINING) -> NetworkDiff:
    """Finds what changed from one network to another, and what each change did to parameters, MACs and the peak.

    Nodes pair up so that the fewest layers change, come or go; among such pairings the one that keeps most names counts.

    Args:
        before: A net or a network.
        after: Another.
        scenario: How both run; a training on a batch of 32 with everything kept unless told.

    Returns:
        One change a layer, in order; it prints as a table.

    Raises:
        InvalidTypeError: If something else than nets and networks is given.
        MissingRuleError: If a layer does not state its parameters, buffers or extras.

    Example:
        >>> from cnnbudget import zoo
        >>> found = diff(zoo.resnet18(), zoo.resnet34())
        >>> found.parameters, len(found.of_kind("added")), len(found.of_kind("removed"))
        (10108160, 56, 0)
    """
    old, new = (_side(net, scenario) for net in (before, after))
    return NetworkDiff(old.found, new.found, tuple(_changes(old, new)))


@frozen
class _Side:
    """One of the two networks: its costs, its profile, and the bytes at the peak by name."""

    table: CostTable
    found: MemoryProfile
    alive: Mapping[str, int]

    @property
    def inputs(self) -> set[str]:
        return {source.name for source in self.table.network.inputs}

    def bytes_of(self, name: str) -> int:
        return self.alive.get(name, 0)


def _side(net: Any, scenario: Scenario) -> _Side:
    network = getattr(net, "network", net)
    check_network(network, "diff()")
    table = costs(network)
    found = profile(table, scenario)
    return _Side(table, found, {name: sum(roles.values()) for name, roles in found.by_layer().items()})


def _changes(old: _Side, new: _Side) -> Iterator[Change]:
    pairs = align(old.table.network.nodes, new.table.network.nodes)
    nodes, sources = (old.table.nodes, new.table.nodes), (old.table.network.inputs, new.table.network.inputs)
    became = {nodes[0][one].name: nodes[1][two].name for one, two in pairs if one is not None and two is not None}
    for source, its in zip(*sources, strict=False):  # the first input is the first
        became[source.name] = its.name
    kept = frozenset(became.values())
    for name in sorted(old.inputs | new.inputs):
        yield _moved("input", name, old if name in old.inputs else None, new if name in new.inputs else None)
    for one, two in pairs:
        was, now = None if one is None else nodes[0][one], None if two is None else nodes[1][two]
        moved = (0 if now is None else new.bytes_of(now.name)) - (0 if was is None else old.bytes_of(was.name))
        parameters, macs = _less("parameter_count", was, now), _less("macs", was, now)
        name = now.name if now is not None else nodes[0][one or 0].name
        yield Change(_kind(was, now, became, kept), name, was, now, parameters, macs, Bytes(moved))
    known = [side.inputs | {cost.name for cost in side.table} for side in (old, new)]
    others = (set(old.alive) - known[0]) | (set(new.alive) - known[1])
    for name in sorted(others):
        yield _moved("other", name, None if name in known[0] else old, None if name in known[1] else new)


def _moved(kind: str, name: str, old: _Side | None, new: _Side | None) -> Change:
    """What is no node and yet has bytes."""
    size = (0 if new is None else new.bytes_of(name)) - (0 if old is None else old.bytes_of(name))
    return Change(kind, name, None, None, 0, 0, Bytes(size))


def _less(fact: str, was: NodeCost | None, now: NodeCost | None) -> int | None:
    numbers = [0 if cost is None else getattr(cost, fact) for cost in (now, was)]
    return None if None in numbers else numbers[0] - numbers[1]


def _kind(was: NodeCost | None, now: NodeCost | None, became: Mapping[str, str], kept: frozenset[str]) -> str:
    if was is None or now is None:
        return "added" if was is None else "removed"
    if was.node.layer != now.node.layer:
        return "changed"
    if (was.inputs, was.output) != (now.inputs, now.output):
        return "resized"
    read = [(became.get(name), other) for name, other in zip(was.node.inputs, now.node.inputs, strict=True)]
    # Whoever reads a layer that came, or read one that went, is as it was: that is told there.
    moved = any(first is not None and first != second and second in kept for first, second in read)
    shared = None if was.node.shares is None else became.get(was.node.shares)
    if moved or shared != now.node.shares:
        return "rewired"
    return "same" if was.name == now.name else "renamed"
