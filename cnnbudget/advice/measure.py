"""Applying remedies and measuring what comes of it: every option of an advice has a profile of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from attrs import field, frozen

from cnnbudget.advice.batches import demand, largest_batch
from cnnbudget.advice.price import Price, price_of
from cnnbudget.advice.remedies import MoreDevices, Remedy, SmallerBatch
from cnnbudget.advice.runtime import Accumulate
from cnnbudget.advice.wishes import Wishes
from cnnbudget.analysis.costs import CostTable, costs
from cnnbudget.errors import CnnBudgetError, ConformanceError, shorten
from cnnbudget.graph.nodes import Network
from cnnbudget.memory.profile import MemoryProfile, profile
from cnnbudget.memory.scenario import Scenario, Training
from cnnbudget.units import Bytes

__all__ = ["Measured", "Option", "Question", "demand", "itself", "rank"]


def itself(network: Network) -> Any:
    """What to make of a network: nothing."""
    return network


@frozen
class Option:
    """One remedy, or several together, applied and measured.

    Args:
        remedies: What was done, in order.
        network: The network after it.
        scenario: The scenario after it.
        peak: The peak after it, of a profile of its own.
        change: What was changed, from what to what.
        price: What it costs the user.
        fits: Whether the peak (with an allocator: what it takes from the device) is within the budget.
        helps: Whether the peak is lower than before.
        magnitude: How large the change is among those of its severity; see :meth:`Remedy.magnitude`.
    """

    remedies: tuple[Remedy, ...]
    network: Network = field(repr=False)
    scenario: Scenario
    peak: Bytes
    change: str
    price: Price
    fits: bool
    helps: bool
    magnitude: int
    _wrap: Callable[[Network], Any] = field(default=itself, eq=False, repr=False, alias="wrap")

    @property
    def remedy(self) -> Remedy:
        """The remedy; of several, the first."""
        return self.remedies[0]

    @property
    def cure(self) -> str:
        """What kinds of cure it is."""
        return " + ".join([remedy.cure for remedy in self.remedies])

    @property
    def reason(self) -> str:
        """Why it should help."""
        return "; ".join([remedy.reason for remedy in self.remedies])

    @property
    def severity(self) -> int:
        """The severity of the remedy that changes most for the user."""
        return max([remedy.severity for remedy in self.remedies])

    @property
    def mac_count(self) -> int | None:
        """Multiply-accumulates that are left; ``None`` if unknown."""
        return self.price.macs[1]

    @property
    def keeps_output(self) -> bool:
        """Whether the output has the shape it had."""
        return not self.price.output

    def profile(self) -> MemoryProfile:
        """Computes the profile after the remedies; an option keeps its peak only, since there may be hundreds of them.

        Returns:
            The profile.
        """
        return profile(self.network, self.scenario)

    def apply(self) -> tuple[Any, Scenario]:
        """Returns the changed net and scenario.

        Returns:
            The net (a ``Net`` when a ``Net`` was asked, otherwise a ``Network``) and the scenario.
        """
        return self._wrap(self.network), self.scenario


@frozen
class Measured:
    """An option, and the least that a smaller share of the batch could make of it.

    Args:
        option: The option.
        floor: What one sample at a time needs, everything else as in the option.
    """

    option: Option
    floor: int


def rank(option: Option) -> tuple[Any, ...]:
    """The order of an advice: what fits first, then what changes least, as in :class:`Advice`.

    Args:
        option: An option.
    """
    if not option.fits:
        return (True, not option.helps, option.peak)
    return (
        False,
        len(option.remedies),
        option.severity,
        sum([remedy.severity for remedy in option.remedies]),
        not option.keeps_output,
        option.magnitude,
        -(option.mac_count or 0),
        option.peak,
    )


@frozen
class Question:
    """What all searches for remedies share."""

    table: CostTable
    scenario: Scenario
    budget: Bytes
    before: MemoryProfile
    wishes: Wishes
    wrap: Callable[[Network], Any]

    def measure(self, remedies: tuple[Remedy, ...]) -> Measured | str:
        """Applies remedies in order and profiles the result.

        Args:
            remedies: At least one.

        Returns:
            What was measured, or why it is no option: what must stay would not.

        Raises:
            CnnBudgetError: If a remedy cannot be applied.
        """
        network, scenario = self.table.network, self.scenario
        changes: list[str] = []
        results = training = False
        warnings: dict[str, None] = {}
        magnitude = 0
        for remedy in remedies:
            after = _applied(
                remedy, network, scenario
            )  # first: what cannot be applied need not be able to say what it does
            changes.append(remedy.describe(network, scenario))
            results |= remedy.changes_results(network, scenario)
            training |= remedy.changes_training(network, scenario)
            warnings.update(dict.fromkeys(remedy.warnings(network, scenario)))
            magnitude += remedy.magnitude(network)
            network, scenario = after
        table = self.table if network is self.table.network else costs(network)
        found = profile(table, scenario)
        price = price_of(
            self.table, table, found, changes_results=results, changes_training=training, warnings=tuple(warnings)
        )
        objection = self.wishes.objection((self.table.network, self.scenario), (network, scenario), price)
        if objection is not None:
            return objection
        option = Option(
            remedies,
            network,
            scenario,
            found.peak,
            "; ".join(changes),
            price,
            fits=demand(found) <= self.budget,
            helps=found.peak < self.before.peak,
            magnitude=magnitude,
            wrap=self.wrap,
        )
        return Measured(option, max(found.lifetimes.live_bytes(1)))

    def try_to_measure(self, remedies: tuple[Remedy, ...]) -> Measured | None:
        """Measures; ``None`` if that is no network any more, or not what the user wants.

        Args:
            remedies: At least one.
        """
        try:
            found = self.measure(remedies)
        except CnnBudgetError:
            return None
        return found if isinstance(found, Measured) else None

    def least(self, family: type[Remedy], network: Network | CostTable, scenario: Scenario) -> Remedy | None:
        """The remedy of a family that just suffices, as :func:`largest_batch` finds it.

        Args:
            family: ``SmallerBatch``, ``MoreDevices`` or ``Accumulate``.
            network: The network, after everything else was done to it.
            scenario: The scenario, likewise.

        Returns:
            The largest batch, the fewest devices, or the fewest parts; ``None`` if none suffices.
        """
        parts = scenario.accumulate if isinstance(scenario, Training) else 1
        if family is Accumulate:
            share = scenario.devices.share(scenario.batch)
            if not isinstance(scenario, Training) or share <= parts:
                return None
            whole = largest_batch(network, self.budget, scenario.evolve(accumulate=parts + 1))
            at_once = whole // (scenario.devices.count * (parts + 1))
            return Accumulate(max(parts + 1, -(-share // at_once))) if at_once else None
        batch = largest_batch(network, self.budget, scenario)
        if not batch:
            return None
        if family is SmallerBatch:
            return SmallerBatch(batch) if batch < scenario.batch else None
        return MoreDevices(-(-scenario.batch // (batch // scenario.devices.count)))

    def families(self, remedies: tuple[Remedy, ...], kinds: tuple[type[Remedy], ...]) -> Iterator[Measured]:
        """Adds the remedy that just suffices of every family to what was done already.

        Args:
            remedies: What was done already; may be empty.
            kinds: The families.

        Yields:
            What suffices.
        """
        network, scenario = self.table.network, self.scenario
        for remedy in remedies:
            network, scenario = _applied(remedy, network, scenario)
        for kind in kinds:
            least = self.least(kind, network, scenario)
            found = None if least is None else self.try_to_measure((*remedies, least))
            if found is not None and found.option.fits:
                yield found


def _applied(remedy: Remedy, network: Network, scenario: Scenario) -> tuple[Network, Scenario]:
    answer: object = remedy.apply(network, scenario)
    match answer:
        case (Network() as changed, Scenario() as changed_scenario):
            return changed, changed_scenario
    raise ConformanceError(
        f"{type(remedy).__name__}.apply returned something else",
        got=shorten(answer),
        expected="a network and a scenario",
    )
