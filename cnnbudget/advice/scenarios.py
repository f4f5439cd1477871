"""Scenarios side by side: what each does to the memory of a network, or of several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import field, fields, frozen

from cnnbudget.dtypes import Role
from cnnbudget.errors import InvalidTypeError, InvalidValueError, UnknownNameError, did_you_mean, shorten
from cnnbudget.memory.allocator import Ideal
from cnnbudget.memory.profile import MemoryProfile, profile
from cnnbudget.memory.scenario import Scenario
from cnnbudget.tables import Column, html_table, show, text_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cnnbudget.graph.nodes import Network

__all__ = ["ScenarioComparison", "compare_scenarios"]

_FACT = "fact"


@frozen
class ScenarioComparison:
    """Scenarios side by side: one column for every network in every scenario, one row a fact.

    *Counts*: as a profile does; peaks are lower bounds for every allocator. What the roles have at the peak adds up to it.

    Args:
        profiles: The profiles by the titles of their columns, as pairs.

    Example:
        >>> from cnnbudget import Autograd, Conv, Net, Training, compare
        >>> net = Net.input(3, 8, 8).then(Conv(4, 3))
        >>> kept = Training(2, retention=Autograd())
        >>> table = compare(net, scenarios=[kept, kept.evolve(batch=4), kept.evolve(optimizer="adam")])
        >>> table.titles[1]
        'batch=4, optimizer=SGD()'
        >>> [row for row in table.rows() if row["fact"] == "at the peak: optimizer state"][0][table.titles[2]]
        Bytes(904)
    """

    profiles: tuple[tuple[str, MemoryProfile], ...] = field(repr=False)

    def __iter__(self) -> Iterator[MemoryProfile]:
        return iter([found for _, found in self.profiles])

    def __len__(self) -> int:
        return len(self.profiles)

    @property
    def titles(self) -> tuple[str, ...]:
        """The titles of the columns."""
        return tuple([title for title, _ in self.profiles])

    def __getitem__(self, title: str) -> MemoryProfile:
        """The profile of a column, by title.

        Raises:
            UnknownNameError: If there is none; the error guesses which was meant.
        """
        for known, found in self.profiles:
            if known == title:
                return found
        raise UnknownNameError("no scenario has this name", got=shorten(title), hint=did_you_mean(title, self.titles))

    def rows(self) -> list[dict[str, Any]]:
        """The table as data: one dict a fact, with ``fact`` and the titles of the columns."""
        columns = [_facts(found) for found in self]
        facts = list(dict.fromkeys([fact for column in columns for fact in column]))
        if all(isinstance(found.scenario.allocator, Ideal) for found in self):
            facts = [fact for fact in facts if fact not in {"allocated", "reserved"}]
        order = {f"at the peak: {role}": number for number, role in enumerate(Role, start=1)}
        facts.sort(key=lambda fact: order.get(fact, 0))
        return [
            {_FACT: fact, **{title: column.get(fact) for title, column in zip(self.titles, columns, strict=True)}}
            for fact in facts
        ]

    def _table(self) -> tuple[tuple[Column, ...], list[tuple[object, ...]]]:
        columns = (Column(_FACT), *(Column(title, right=True) for title in self.titles))
        cells: list[tuple[object, ...]] = [
            tuple(["-" if value is None else show(value) for value in row.values()]) for row in self.rows()
        ]
        return columns, cells

    def __str__(self) -> str:
        return text_table(*self._table())

    def _repr_html_(self) -> str:
        return html_table(*self._table())


def _facts(found: MemoryProfile) -> dict[str, Any]:
    scenario = found.scenario
    return {
        "scenario": type(scenario).__name__,
        **{name: value for name, value in _settings(scenario).items() if name != "retention"},
        "retention": repr(scenario.retention),
        "peak": found.peak,
        "step of the peak": str(found.peak_step),
        "activation peak": found.activation_peak,
        "kept for backward": found.retained if scenario.trains else None,
        "fixed": found.fixed,
        "every sample": found.per_sample,
        "allocated": found.allocated,
        "reserved": found.reserved,
        **{f"at the peak: {role}": size for role, size in found.by_role.items()},
    }


def _settings(scenario: Scenario) -> dict[str, str | int]:
    """The fields of a scenario as one would write them; those that are at their default and matter little are left out."""
    found: dict[str, str | int] = {}
    for attribute in fields(type(scenario)):
        value = getattr(scenario, attribute.name)
        if attribute.name in {"batch", "precision", "optimizer"} or value != attribute.default:
            found[attribute.name] = _written(value)
    return found


def _written(value: Any) -> str | int:
    if type(value) is int:
        return value
    count = getattr(value, "count", None)
    return count if type(count) is int else getattr(value, "name", None) or shorten(value, 40).strip("'")


def compare_scenarios(
    named: Sequence[tuple[str, Network]], scenarios: Sequence[Scenario] | Mapping[str, Scenario]
) -> ScenarioComparison:
    """Compares scenarios of networks that have names; see :func:`cnnbudget.compare`.

    Args:
        named: The networks, with their names.
        scenarios: The scenarios, or a mapping of names to them. Without names they are called by the settings in which they differ.

    Returns:
        The comparison.

    Raises:
        InvalidTypeError: If something else than scenarios is given.
        InvalidValueError: If there is none.
    """
    names = None
    if isinstance(scenarios, Mapping):
        names, scenarios = list(scenarios), list(scenarios.values())
    if not isinstance(scenarios, (list, tuple)):
        raise InvalidTypeError(
            "compare(): scenarios must be a list, or a mapping of names to them",
            got=shorten(scenarios),
            expected="for example [Training(32), Training(64)]",
        )
    if not scenarios:
        raise InvalidValueError("compare() needs scenarios", got=shorten(scenarios), expected="at least one")
    for scenario in scenarios:
        if not isinstance(scenario, Scenario):
            raise InvalidTypeError(
                "compare(): scenarios holds something else",
                got=shorten(scenario),
                expected="Inference(...) or Training(...)",
            )
    if names is None:
        names = _titles(scenarios)
    if not all(isinstance(name, str) and name and name != _FACT for name in names):
        raise InvalidTypeError(
            "compare(): scenarios have names that are no words",
            got=shorten(names),
            expected=f"words other than {_FACT!r}",
        )
    several = len(named) > 1
    titles = [f"{network_name}: {name}" if several else name for network_name, _ in named for name in names]
    if len(set(titles)) < len(titles):  # ("a: b", "c") and ("a", "b: c")
        raise InvalidValueError(
            "compare(): two columns have one title", got=shorten(titles), expected="names that tell them apart"
        )
    profiles = [profile(network, scenario) for _, network in named for scenario in scenarios]
    return ScenarioComparison(tuple(zip(titles, profiles, strict=True)))


def _titles(scenarios: Sequence[Scenario]) -> list[str]:
    """The settings in which the scenarios differ; numbers where that does not tell them apart."""
    settings = [{"scenario": type(scenario).__name__, **_all(scenario)} for scenario in scenarios]
    known = dict.fromkeys([name for each in settings for name in each])
    differ = [name for name in known if len({each.get(name) for each in settings}) > 1]
    titles = [
        ", ".join(f"{name}={each[name]}" if name != "scenario" else each[name] for name in differ if name in each)
        for each in settings
    ]
    if all(titles) and len(set(titles)) == len(titles):
        return titles
    return [f"scenario {number}" for number in range(1, len(scenarios) + 1)]


def _all(scenario: Scenario) -> dict[str, str]:
    return {each.name: str(_written(getattr(scenario, each.name))) for each in fields(type(scenario))}
