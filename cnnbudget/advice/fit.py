"""Does a network fit a budget, and if not, which single remedy makes it fit? Every option is applied and profiled again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from cnnbudget.advice.remedies import (
    HalfPrecision,
    LargerStride,
    MoreDevices,
    Remedy,
    RemoveLayer,
    SmallerBatch,
    stride_of,
)
from cnnbudget.analysis.costs import CostTable, costs
from cnnbudget.dtypes import BFLOAT16, FLOAT16, Role
from cnnbudget.errors import CnnBudgetError, ConformanceError, InvalidTypeError, InvalidValueError, shorten
from cnnbudget.graph.nodes import Network
from cnnbudget.layers.norm import BatchNorm
from cnnbudget.memory.profile import MemoryProfile, profile
from cnnbudget.memory.scenario import Scenario
from cnnbudget.tables import Column, html_table, text_table
from cnnbudget.units import Bytes, parse_bytes
from cnnbudget.windows import Axes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import SupportsIndex

__all__ = ["Advice", "Option", "fit"]

MOST_VARIANTS = 400
"""How many variants of the architecture are profiled at most, those of the largest maps first."""

MOST_NODES = 50_000
"""How many nodes all variants may have together, so that advice on very deep networks ends; two are tried always."""

_STRIDE_STEPS = 4

_COLUMNS = (
    Column("cure"),
    Column("change"),
    Column("peak", right=True),
    Column("bytes", right=True),
    Column("fits"),
    Column("price"),
)


def _itself(network: Network) -> Any:
    return network


@frozen
class Option:
    """One remedy, applied and measured.

    Args:
        remedy: What was done.
        network: The network after it.
        scenario: The scenario after it.
        peak: The peak after it, of a profile of its own.
        change: What was changed, from what to what.
        price: What it costs the user.
        fits: Whether the peak is within the budget.
        helps: Whether the peak is lower than before.
        mac_count: Multiply-accumulates that are left; ``None`` if unknown.
        keeps_output: Whether the output has the shape it had.
        magnitude: How large the change is among those of its severity; see :meth:`Remedy.magnitude`.
    """

    remedy: Remedy
    network: Network = field(repr=False)
    scenario: Scenario
    peak: Bytes
    change: str
    price: str
    fits: bool
    helps: bool
    mac_count: int | None
    keeps_output: bool
    magnitude: int
    _wrap: Callable[[Network], Any] = field(default=_itself, eq=False, repr=False, alias="wrap")

    def profile(self) -> MemoryProfile:
        """Computes the profile after the remedy; an option keeps its peak only, since there may be hundreds of them.

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
class Advice:
    """Whether a network fits a budget, and what to change so that it does.

    Options that fit come first; among them those that change the least for the user (see :class:`Remedy`), then those
    that keep the output's shape, then the smallest change, then those that keep the most multiply-accumulates.

    Example:
        >>> from cnnbudget import Conv, Net, Training
        >>> net = Net.input(3, 32, 32).then(Conv(16, 3, padding="same"), Conv(16, 3, padding="same"))
        >>> advice = net.fit("4 MiB", Training(batch=32))
        >>> advice.fits, advice.profile.peak
        (False, Bytes(8802176))
        >>> print(advice.best.change)
        1 -> 3 devices, at most 11 samples each
        >>> smaller, scenario = advice.best.apply()
        >>> smaller.profile(scenario).peak == advice.best.peak
        True
    """

    budget: Bytes
    profile: MemoryProfile
    options: tuple[Option, ...] = field(repr=False)
    notes: tuple[str, ...] = field(repr=False)

    @property
    def fits(self) -> bool:
        """Whether the network fits as it is."""
        return self.profile.peak <= self.budget

    @property
    def best(self) -> Option:
        """The first option.

        Raises:
            InvalidValueError: If it fits as it is, or if no single remedy suffices.
        """
        if self.fits:
            raise InvalidValueError(
                "nothing needs to change", got=f"a peak of {self.profile.peak}", expected=f"at most {self.budget}"
            )
        if not self.options or not self.options[0].fits:
            nearest = (
                f"the nearest is {self.options[0].change} with {self.options[0].peak}"
                if self.options
                else "none applies"
            )
            raise InvalidValueError(
                "no single remedy makes it fit",
                got=f"a peak of {self.profile.peak}",
                expected=f"at most {self.budget}",
                hint=nearest,
            )
        return self.options[0]

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
        """The options as data.

        Returns:
            One dict an option, with ``cure``, ``change``, ``peak`` (bytes), ``fits``, ``helps``, ``price``, ``reason``.
        """
        return [
            {
                "cure": option.remedy.cure,
                "change": option.change,
                "peak": int(option.peak),
                "fits": option.fits,
                "helps": option.helps,
                "price": option.price,
                "reason": option.remedy.reason,
            }
            for option in self.options
        ]

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
        peak = self.profile.peak
        verdict = "fits" if self.fits else "does not fit"
        return f"A peak of {peak} ({peak:,} bytes, {self.profile.peak_step}) {verdict} in {self.budget} ({self.budget:,} bytes)."

    def __str__(self) -> str:
        if self.fits:
            return self._heading()
        return "\n".join([self._heading(), text_table(_COLUMNS, self._cells(), limit=30), *self.notes])

    def _repr_html_(self) -> str:
        import html  # notebooks only

        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        table = "" if self.fits else html_table(_COLUMNS, self._cells(), limit=30)
        return f"<p>{html.escape(self._heading())}</p>{table}{notes}"


@frozen
class _Question:
    """What all searches for remedies share."""

    table: CostTable
    scenario: Scenario
    budget: Bytes
    before: MemoryProfile
    wrap: Callable[[Network], Any]

    def measure(self, remedy: Remedy) -> Option:
        network, scenario = _applied(remedy, self.table.network, self.scenario)
        table = self.table if network is self.table.network else costs(network)
        peak = profile(table, scenario).peak
        keeps_output = all(
            table.specs[after].shape == self.table.specs[before].shape
            for after, before in zip(network.outputs, self.table.network.outputs, strict=True)
        )
        return Option(
            remedy,
            network,
            scenario,
            peak,
            remedy.describe(self.table.network, self.scenario),
            _price(remedy, self.scenario, self.table, table, keeps_output=keeps_output),
            fits=peak <= self.budget,
            helps=peak < self.before.peak,
            mac_count=_known_macs(table),
            keeps_output=keeps_output,
            magnitude=remedy.magnitude(self.table.network),
            wrap=self.wrap,
        )

    def try_to_measure(self, remedy: Remedy) -> Option | None:
        """Measures a change of the architecture; ``None`` if the network is then no network any more."""
        try:
            return self.measure(remedy)
        except CnnBudgetError:
            return None


def _known_macs(table: CostTable) -> int | None:
    return None if any(cost.macs is None for cost in table) else table.mac_count


# IEEE 754 binary16 has 11 significant bits and ends at (2 - 2**-10) * 2**15; bfloat16 is the upper half of binary32.
_ROUNDING = {
    FLOAT16: "rounding to 11 significant bits, range up to 65,504",
    BFLOAT16: "rounding to 8 significant bits, the range of 32 bits",
}


def _price(remedy: Remedy, scenario: Scenario, before: CostTable, after: CostTable, *, keeps_output: bool) -> str:
    """Says in a few words what a remedy costs the user."""
    if isinstance(remedy, MoreDevices):
        own_statistics = scenario.trains and any(isinstance(cost.node.layer, BatchNorm) for cost in before)
        return "batch-norm statistics of each device alone" if own_statistics else "same results"
    if isinstance(remedy, SmallerBatch):
        return "noisier gradients, more steps an epoch" if scenario.trains else "same results, more passes"
    if isinstance(remedy, HalfPrecision):
        return _ROUNDING.get(remedy.precision[Role.ACTIVATION], f"rounding to {remedy.precision[Role.ACTIVATION]}")
    parts = []
    counts = [
        ("parameters", before.parameter_count, after.parameter_count),
        ("MACs", _known_macs(before), _known_macs(after)),
    ]
    for word, old, new in counts:
        if old and new is not None and new != old:
            parts.append(f"{word} {(new - old) / old:+.0%}")
    if isinstance(remedy, LargerStride) and remedy.skips_pixels(before.network):
        parts.append("skips pixels")
    if not keeps_output:
        shapes = ", ".join("x".join(map(str, after.specs[name].shape)) for name in after.network.outputs)
        parts.append(f"output {shapes}")
    return ", ".join(parts) or "another network of the same size"


def fit(
    network: Network,
    budget: SupportsIndex | str,
    scenario: Scenario,
    *,
    remedies: Iterable[Remedy] = (),
    wrap: Callable[[Network], Any] = _itself,
) -> Advice:
    """Checks a network against a budget and measures the single remedies.

    The five cures: the largest mini-batch that fits and the fewest devices that suffice (both in closed form, since every
    step is affine in the batch), 16-bit floats, the least larger stride in each convolution and pooling layer, and each layer
    left out. None is extrapolated: each is applied and profiled.

    Args:
        network: The network.
        budget: Bytes of one device: ``"8 GiB"``, ``"500 MB"`` or an int.
        scenario: How it runs.
        remedies: Further remedies to measure, of your own or built in. One that cannot be applied is noted.
        wrap: What to make of a changed network in :meth:`Option.apply`.

    Returns:
        The advice.

    Raises:
        InvalidValueError: If the budget cannot be read.
    """
    limit = parse_bytes(budget)
    table = costs(network)
    before = profile(table, scenario)
    if before.peak <= limit:
        return Advice(limit, before, (), ())
    question = _Question(table, scenario, limit, before, wrap)
    notes: list[str] = []
    options = [
        *_run_time_options(question, notes),
        *_architecture_options(question, notes),
        *_further_options(question, remedies, notes),
    ]
    options.sort(key=_rank)
    return Advice(limit, before, tuple(options), tuple(notes))


def _rank(option: Option) -> tuple[Any, ...]:
    if not option.fits:
        return (True, not option.helps, option.peak)
    return (
        False,
        option.remedy.severity,
        not option.keeps_output,
        option.magnitude,
        -(option.mac_count or 0),
        option.peak,
    )


def _run_time_options(question: _Question, notes: list[str]) -> Iterator[Option]:
    scenario, limit = question.scenario, question.budget
    batch = question.before.max_batch(limit)
    if batch == 0:
        least = question.before.lifetimes.live_bytes(1)
        notes.append(f"No batch fits: one sample alone has a peak of {Bytes(max(least))} ({max(least):,} bytes).")
    else:
        yield question.measure(SmallerBatch(batch))
        share = batch // scenario.devices.count
        yield question.measure(MoreDevices(-(-scenario.batch // share)))
    half = HalfPrecision()
    if scenario.precision[Role.ACTIVATION].bits <= half.precision[Role.ACTIVATION].bits:
        notes.append(
            f"16-bit floats do not apply: activations have {scenario.precision[Role.ACTIVATION].bits} bits already."
        )
    else:
        yield question.measure(half)


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


def _further_options(question: _Question, remedies: Iterable[Remedy], notes: list[str]) -> Iterator[Option]:
    for remedy in remedies if isinstance(remedies, Iterable) else (remedies,):
        if not isinstance(remedy, Remedy) or isinstance(remedies, Remedy):
            raise InvalidTypeError(
                "remedies must be remedies", got=shorten(remedy), expected="a list, for example [SmallerBatch(8)]"
            )
        try:
            yield question.measure(remedy)
        except CnnBudgetError as error:
            notes.append(f"{shorten(remedy)} cannot be applied: {error}")


def _architecture_options(question: _Question, notes: list[str]) -> Iterator[Option]:
    nodes = question.table.nodes
    by_size = sorted(nodes, key=lambda cost: -cost.output.element_count)
    allowed = min(MOST_VARIANTS, max(2, MOST_NODES // len(nodes)))
    tries = 0
    for cost in by_size:
        if tries >= allowed:
            notes.append(
                f"Not every layer was tried: {tries} variants of the {len(nodes):,} nodes, the largest maps first."
            )
            return
        stride = stride_of(cost.node.layer)
        found: list[Option] = []
        for larger in _larger(stride):
            tries += 1
            option = question.try_to_measure(LargerStride(cost.name, larger))
            if option is None:
                break
            found.append(option)
            if option.fits:
                break
        if found:
            yield min(found, key=lambda option: (not option.fits, option.peak))
        if len(nodes) > 1 and len(cost.node.inputs) == 1:
            tries += 1
            option = question.try_to_measure(RemoveLayer(cost.name))
            if option is not None:
                yield option


def _larger(stride: Axes | None) -> list[Axes]:
    """The next larger strides to try, every axis alike."""
    if stride is None:
        return []
    steps = range(1, _STRIDE_STEPS + 1)
    if isinstance(stride, tuple):
        return [tuple(axis + step for axis in stride) for step in steps]
    return [stride + step for step in steps]
