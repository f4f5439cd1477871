"""Does a network fit a budget, and if not, what is the smallest change that makes it fit? Every option is applied and profiled."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from cnnbudget.advice.budget import as_budget
from cnnbudget.advice.candidates import FAMILIES, KINDS, ladders
from cnnbudget.advice.measure import Measured, Option, Question, demand, itself, rank
from cnnbudget.advice.remedies import HalfPrecision, Remedy
from cnnbudget.advice.search import Search, search
from cnnbudget.advice.wishes import read_wishes
from cnnbudget.analysis.costs import costs
from cnnbudget.checks import exact_int
from cnnbudget.dtypes import Role
from cnnbudget.errors import CnnBudgetError, InvalidTypeError, InvalidValueError, shorten
from cnnbudget.graph.nodes import Network
from cnnbudget.memory.profile import MemoryProfile, profile
from cnnbudget.memory.scenario import Scenario
from cnnbudget.tables import Column, html_table, text_table
from cnnbudget.units import Bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import SupportsIndex

    from cnnbudget.memory.witness import AliveStorage

__all__ = ["Advice", "fit"]

MOST_VARIANTS = 1000
"""How many single remedies are profiled at most, those of layers in the order of the sizes of their maps, the largest first."""

MOST_NODES = 100_000
"""How many nodes all variants may have together, so that advice on very deep networks ends; two are tried always."""

MOST_TRIES = 2_000
"""How many combinations are measured at most, unless it is told."""

MOST_COMBINED_NODES = 200_000
"""How many nodes these may have together; ten are tried always."""

_COLUMNS = (
    Column("cure"),
    Column("change"),
    Column("peak", right=True),
    Column("bytes", right=True),
    Column("fits"),
    Column("price"),
)


@frozen
class Advice:
    """Whether a network fits a budget, and what to change so that it does.

    Options that fit come first; among them those that change the least for the user (see :class:`Remedy`), then those
    that keep the output's shape, then the smallest change, then those that keep the most multiply-accumulates.

    Args:
        budget: The bytes that are there.
        profile: The profile of the network as it is.
        options: Single remedies, those that suffice first.
        combinations: If none suffices alone, the smallest combinations that do, the best first.
        proved_smallest: Whether no combination with fewer remedies suffices, of those that were tried: all of them were measured.
        verdict: The same as a sentence.
        notes: What else is to be said.

    Example:
        >>> from cnnbudget import Conv, Net, Training
        >>> net = Net.input(3, 32, 32).then(Conv(16, 3, padding="same"), Conv(16, 3, padding="same"))
        >>> advice = net.fit("4 MiB", Training(batch=32))
        >>> advice.fits, advice.profile.peak
        (False, Bytes(8802176))
        >>> print(advice.best.change)
        batch 32 in 3 parts, at most 11 samples each
        >>> same, scenario = advice.best.apply()
        >>> same.profile(scenario).peak == advice.best.peak
        True
    """

    budget: Bytes
    profile: MemoryProfile
    options: tuple[Option, ...] = field(repr=False)
    combinations: tuple[Option, ...] = field(repr=False)
    proved_smallest: bool
    verdict: str = field(repr=False)
    notes: tuple[str, ...] = field(repr=False)

    @property
    def fits(self) -> bool:
        """Whether the network fits as it is."""
        return demand(self.profile) <= self.budget

    @property
    def singles(self) -> tuple[Option, ...]:
        """The single remedies that suffice."""
        return tuple([option for option in self.options if option.fits])

    @property
    def witness(self) -> tuple[AliveStorage, ...]:
        """Who is alive at the peak, the largest first, if the network does not fit; otherwise ``()``."""
        return () if self.fits else self.profile.at_peak

    @property
    def best(self) -> Option:
        """The first option, a single remedy if one suffices, otherwise the best of the smallest combinations.

        Raises:
            InvalidValueError: If it fits as it is, or if nothing that was tried suffices.
        """
        if self.fits:
            raise InvalidValueError(
                "nothing needs to change", got=f"a peak of {self.profile.peak}", expected=f"at most {self.budget}"
            )
        if self.options and self.options[0].fits:
            return self.options[0]
        if self.combinations:
            return self.combinations[0]
        nearest = (
            f"the nearest single one is {self.options[0].change}, with {self.options[0].peak}"
            if self.options
            else "none applies"
        )
        raise InvalidValueError(
            "no remedy makes it fit",
            got=f"a peak of {self.profile.peak}",
            expected=f"at most {self.budget}",
            hint=f"{nearest}. {self.verdict}",
        )

    def best_of(self, cure: type[Remedy]) -> Option | None:
        """The first option of one kind of cure.

        Args:
            cure: The remedy's class.

        Returns:
            The option; ``None`` if that cure does not apply.
        """
        if not (isinstance(cure, type) and issubclass(cure, Remedy)):
            raise InvalidTypeError(
                "best_of() takes a class of remedies", got=shorten(cure), expected="for example SmallerBatch"
            )
        return next((option for option in self.options if isinstance(option.remedy, cure)), None)

    def rows(self) -> list[dict[str, Any]]:
        """The combinations and the single remedies as data.

        Returns:
            One dict an option, with ``cure``, ``change``, ``remedies`` (how many), ``peak`` (bytes), ``fits``, ``helps``, ``price``
            (a sentence), ``parameters`` and ``macs`` (by how much they change; ``None`` if unknown), ``recomputed_macs``,
            ``loses_resolution``, ``changes_results``, ``changes_training``, ``reason``.
        """
        return [
            {
                "cure": option.cure,
                "change": option.change,
                "remedies": len(option.remedies),
                "peak": int(option.peak),
                "fits": option.fits,
                "helps": option.helps,
                "price": str(option.price),
                "parameters": option.price.parameter_delta,
                "macs": option.price.mac_delta,
                "recomputed_macs": option.price.recomputed_macs,
                "loses_resolution": option.price.loses_resolution,
                "changes_results": option.price.changes_results,
                "changes_training": option.price.changes_training,
                "reason": option.reason,
            }
            for option in (*self.combinations, *self.options)
        ]

    def table(self, limit: int = 30) -> str:
        """The options as text.

        Args:
            limit: The most lines; of more, the middle ones are counted.

        Returns:
            Aligned lines.
        """
        return text_table(_COLUMNS, self._cells(), limit=exact_int(limit, "Advice.table(): limit"))

    def _cells(self) -> list[tuple[object, ...]]:
        return [
            (
                row["cure"],
                row["change"],
                str(Bytes(row["peak"])),
                row["peak"],
                row["fits"],
                row["price"] if row["helps"] else "does not help",
            )
            for row in self.rows()
        ]

    def _heading(self) -> str:
        peak, needed = self.profile.peak, demand(self.profile)
        verdict = "fits" if self.fits else "does not fit"
        taken = "" if needed == peak else f", for which {needed} ({needed:,} bytes) are reserved,"
        return (
            f"A peak of {peak} ({peak:,} bytes, {self.profile.peak_step}){taken} {verdict} "
            f"in {self.budget} ({self.budget:,} bytes)."
        )

    def _remarks(self) -> list[str]:
        return [self.verdict, *self.notes] if self.verdict else list(self.notes)

    def __str__(self) -> str:
        if self.fits:
            return self._heading()
        return "\n".join([self._heading(), self.table(), *self._remarks()])

    def _repr_html_(self) -> str:
        import html  # notebooks only

        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self._remarks())
        table = "" if self.fits else html_table(_COLUMNS, self._cells(), limit=30)
        return f"<p>{html.escape(self._heading())}</p>{table}{notes}"


def fit(
    network: Network,
    budget: SupportsIndex | str,
    scenario: Scenario,
    *,
    allow: Any = None,
    keep: Any = (),
    remedies: Iterable[Remedy] = (),
    combine: int = 3,
    tries: int | None = None,
    wrap: Callable[[Network], Any] = itself,
) -> Advice:
    """Checks a network against a budget, measures single remedies, and if none suffices searches for a smallest combination.

    The largest mini-batch that fits, the fewest devices and the fewest parts that suffice follow in closed form, since every
    step is affine in the batch. Of the others some rungs are tried, from mild to strong, until one suffices. Nothing is
    extrapolated: each is applied and profiled.

    Args:
        network: The network.
        budget: Bytes of one device: ``"8 GiB"``, ``"500 MB"``, an int, or the name of a device, as in
            :func:`cnnbudget.budget`.
        scenario: How it runs.
        allow: What may change: ``None`` for everything, or a set of ``"run-time"``, ``"architecture"`` and classes of remedies;
            with ``"accuracy-neutral"`` only what changes neither results nor training.
        keep: What must stay: a set of ``"batch"``, ``"input"``, ``"output"`` (its shape), ``"precision"``, ``"devices"``,
            ``"optimizer"``, ``"accumulate"``, ``"retention"``, ``"frozen"``, and of names of nodes, or patterns, whose layers stay.
        remedies: Further remedies to measure, of your own or built in, allowed in any case. One that cannot be applied is noted.
        combine: The most remedies in a combination; 1 for single ones only.
        tries: How many combinations are measured at most; ``None`` for as many as a few seconds allow.
        wrap: What to make of a changed network in :meth:`Option.apply`.

    Returns:
        The advice.

    Raises:
        InvalidValueError: If the budget cannot be read, or wishes exclude each other.
        UnknownNameError: If there is no such device, or no such node to keep.
    """
    limit = as_budget(budget)
    exact_int(combine, "fit(): combine", 1, 8)
    if tries is not None:
        exact_int(tries, "fit(): tries")
    table = costs(network)
    before = profile(table, scenario)
    wishes = read_wishes(network, allow, keep, KINDS)
    further = _checked(remedies)
    if demand(before) <= limit:
        return Advice(limit, before, (), (), proved_smallest=True, verdict="", notes=())
    question = Question(table, scenario, limit, before, wishes, wrap)
    families = tuple([kind for kind in FAMILIES if wishes.allows(kind)])
    notes: list[str] = []
    options = [found.option for found in question.families((), families)]
    if families and not options:
        _note_floor(question, notes)
    pool, shown, complete = _singles(question, further, notes)
    options = sorted([*options, *shown], key=rank)
    if any(option.fits for option in options):
        return Advice(
            limit,
            before,
            tuple(options),
            (),
            proved_smallest=True,
            verdict="",
            notes=tuple(notes),
        )
    most = min(MOST_TRIES, max(10, MOST_COMBINED_NODES // len(table))) if tries is None else tries
    found = search(question, pool, families, combine=combine, tries=most, complete=complete)
    return Advice(
        limit,
        before,
        tuple(options),
        found.options,
        proved_smallest=bool(found.options) and found.complete,
        verdict=_verdict(found, len(pool)),
        notes=tuple(notes),
    )


def _verdict(found: Search, singles: int) -> str:
    tried = f"{found.measured:,} combinations of {singles:,} single remedies were measured"
    if not singles:
        tried = "none of those that allow= and keep= leave can be applied here by itself"
    if found.size == 1:
        return "No single remedy suffices; combinations were not asked for."
    if not found.options:
        if found.complete and found.exhausted:
            return f"No combination of up to {found.size} remedies suffices: all were measured ({tried})."
        return f"No combination was found that suffices; not all were measured ({tried})."
    smallest = "Proved smallest: no combination of fewer remedies suffices, all were measured"
    if not found.complete:
        smallest = "Best found: not all combinations of fewer remedies were measured"
    cheaper = "" if found.exhausted else "; not all of this size were, so a better one of this size may exist"
    return f"{smallest} ({tried}{cheaper})."


def _checked(remedies: Any) -> list[Remedy]:
    listed = list(remedies) if isinstance(remedies, Iterable) else [remedies]
    for remedy in listed:
        if not isinstance(remedy, Remedy):
            raise InvalidTypeError(
                "remedies must be remedies", got=shorten(remedy), expected="a list, for example [SmallerBatch(8)]"
            )
    if isinstance(remedies, Remedy):
        raise InvalidTypeError(
            "remedies must be remedies", got=shorten(remedies), expected="a list, for example [SmallerBatch(8)]"
        )
    return listed


def _note_floor(question: Question, notes: list[str]) -> None:
    least = max(question.before.lifetimes.live_bytes(1))
    if least > question.budget:
        notes.append(f"No batch fits: one sample alone has a peak of {Bytes(least)} ({least:,} bytes).")


def _singles(question: Question, further: list[Remedy], notes: list[str]) -> tuple[list[Measured], list[Option], bool]:
    """Measures single remedies: all of them for combinations, those to show, and whether all were measured."""
    pool: list[Measured] = []
    shown: list[Option] = []
    nodes = len(question.table)
    allowed = min(MOST_VARIANTS, max(2, MOST_NODES // nodes))
    bits = question.scenario.precision[Role.ACTIVATION].bits
    if bits <= 16 and question.wishes.allows(HalfPrecision):
        notes.append(f"16-bit floats do not apply: activations have {bits} bits already.")
    tried, complete = 0, True
    for ladder in ladders(question.table, question.scenario, question.wishes, budget=question.budget):
        rungs: list[Measured] = []
        for remedy in ladder:
            if tried >= allowed:
                complete = False
                break
            tried += 1
            found = question.try_to_measure((remedy,))
            if found is not None:
                rungs.append(found)
                if found.option.fits:
                    break
        pool += rungs
        if rungs:
            shown.append(min(rungs, key=lambda found: (not found.option.fits, found.option.peak)).option)
        if not complete:
            notes.append(
                f"Not every remedy was tried: {tried} variants of the {nodes:,} nodes, the largest maps first."
            )
            break
    for remedy in further:
        try:
            answer = question.measure((remedy,))
        except CnnBudgetError as error:
            notes.append(f"{shorten(remedy)} cannot be applied: {error}")
            continue
        if isinstance(answer, str):
            notes.append(f"{shorten(remedy)} is left out: {answer}, which was to stay.")
        else:
            pool.append(answer)
            shown.append(answer.option)
    return pool, shown, complete
