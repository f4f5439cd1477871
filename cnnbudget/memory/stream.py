"""Depth-first execution: the first layers run tile by tile, or row by row, so that no value between them is ever there as a whole.

The planner of tiles decides; here its plan becomes a schedule. In it the nodes of the first layers have one step each, as they run
on the fullest tile (with ``"lines"``: with the fullest set of rows); on all other tiles they need no more. The output of those
layers is there as a whole from the first of these steps on, and the network's input to the last of them.
"""

from __future__ import annotations

from functools import cached_property
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

from attrs import Attribute, evolve, field, frozen

from cnnbudget.analysis.costs import CostTable, costs
from cnnbudget.analysis.storage import sharing
from cnnbudget.checks import LARGEST, exact_int, is_bool, one_of
from cnnbudget.dtypes import Role
from cnnbudget.errors import InvalidTypeError, InvalidValueError, shorten
from cnnbudget.graph.nodes import Network, check_name, check_network
from cnnbudget.memory.liveness import liveness
from cnnbudget.memory.profile import MemoryProfile, profile
from cnnbudget.memory.retention import FreeAfterUse, Retention
from cnnbudget.memory.scenario import Inference
from cnnbudget.memory.schedule import Phase, Step, Storage
from cnnbudget.memory.sliding import SlidingPrefix, sliding_prefix
from cnnbudget.planning.lines import row_counts
from cnnbudget.planning.plan import LARGEST_SIZE
from cnnbudget.planning.tiles import VARIANTS, TileCost, needed_intervals, tile_cost
from cnnbudget.tables import Column, html_table, text_table
from cnnbudget.units import Bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import SupportsIndex

    from cnnbudget.memory.scenario import Scenario
    from cnnbudget.memory.schedule import Schedule

__all__ = ["Streamed", "StreamedProfile", "streamed"]

_COLUMNS = (
    Column(""),
    Column("whole from"),
    Column("how"),
    Column("tiles", right=True),
    Column("peak", right=True),
    Column("bytes", right=True),
    Column("extra MACs", right=True),
    Column("share", right=True),
)


def _tiles(value: Iterable[SupportsIndex] | None) -> tuple[SupportsIndex, ...] | None:
    return None if value is None else tuple(value)


def _is_tiles(instance: Any, attribute: Attribute[Any], value: Any) -> None:
    for axis, tiles in enumerate(value or ()):
        exact_int(tiles, f"{type(instance).__name__}.{attribute.name}[{axis}]")


def _is_count(least: int, most: int = LARGEST) -> Any:
    def check(instance: Any, attribute: Attribute[Any], value: Any) -> None:
        if value is not None:
            exact_int(value, f"{type(instance).__name__}.{attribute.name}", least, most)

    return check


def _is_name(instance: Any, attribute: Attribute[Any], value: Any) -> None:
    if value is not None:
        check_name(value, f"{type(instance).__name__}.{attribute.name}")


def _is_variant(instance: Any, attribute: Attribute[Any], value: Any) -> None:
    if value is not None:
        one_of(value, VARIANTS, f"{type(instance).__name__}.{attribute.name}")


@frozen(repr=False)
class Streamed(Retention):
    """Inference depth-first: the first layers run on one tile after another, or row by row, the others as usual.

    What is not told is searched for: the least peak of all, and among equal peaks the least work. The first layers are the
    chain of windows that a network begins with (convolutions, pooling, pointwise layers, sums with an older value of the chain);
    :func:`streamed` says what it costs. *Counts*: the output of the first layers as a whole, tiles or rows of the values before it,
    the input. *Does not count*: temporaries of kernels. A batch goes through together.

    ``check_policy`` refuses it: that checks policies in which every value is there as a whole, and here that is the point.

    Sources: Lin et al., "Memory-efficient patch-based inference for tiny deep learning" (MCUNetV2, 2021) for tiles; Alwani et al.,
    "Fused-layer CNN accelerators" (2016) for lines.

    Args:
        split: The node whose output is the first that is there as a whole.
        tiles: Into how many tiles that is cut along each spatial axis.
        variant: ``"tiles"``: what neighbouring tiles both need is computed for each. ``"lines"``: rows are kept until nobody
            needs them any more; other axes may be cut into strips.
        most_extra_macs: How many multiply-accumulates of a sample may be computed twice.
        most_tiles: The most tiles along an axis that are tried; all, unless told.
        input_outside: Whether the input comes from outside piece by piece (a camera, a flash memory) and needs no memory.

    Example:
        >>> from cnnbudget import Inference, zoo
        >>> net = zoo.textbook_exercise()
        >>> for policy in (Streamed(most_extra_macs=0, input_outside=True), Streamed(input_outside=True)):
        ...     net.profile(Inference(retention=policy)).activation_peak
        Bytes(1880000)
        Bytes(1535600)
    """

    split: str | None = field(default=None, validator=_is_name)
    tiles: tuple[int, ...] | None = field(default=None, converter=_tiles, validator=_is_tiles)
    variant: str | None = field(default=None, kw_only=True, validator=_is_variant)
    most_extra_macs: int | None = field(default=None, kw_only=True, validator=_is_count(0, LARGEST_SIZE))
    most_tiles: int | None = field(default=None, kw_only=True, validator=_is_count(1))
    input_outside: bool = field(default=False, kw_only=True, validator=is_bool)

    @property
    def serves_inference(self) -> bool:
        """It does."""
        return True

    @property
    def serves_training(self) -> bool:
        """It does not, since backward needs the values as a whole."""
        return False

    def schedule(self, table: CostTable, scenario: Scenario) -> Schedule:
        """Makes the schedule: load, and one forward step a node, those of the first layers on the fullest tile.

        Raises:
            InvalidValueError: If the scenario fixes or searches an order of whole values, the network begins with no chain of
                windows, or no plan keeps within the work that is allowed.
            UnknownNameError: If the split is no node of that chain.
        """
        return _Streaming(self, table, scenario).schedule()


class _Streaming:
    """A policy at work on a network."""

    def __init__(self, policy: Streamed, table: CostTable, scenario: Scenario) -> None:
        for setting, usual in (("order", "given"), ("frames", "ideal")):
            if getattr(scenario, setting) != usual:
                raise InvalidValueError(
                    f"Streamed does not go with {setting}={getattr(scenario, setting)!r}",
                    expected=f"{setting}={usual!r}: the plan says in which order tiles are computed, and who holds them",
                )
        if scenario.devices.zero:
            raise InvalidValueError(
                "Streamed does not go with devices that share out parameters",
                got=repr(scenario.devices),
                expected="DataParallel(..., zero=0)",
            )
        self.policy = policy
        self.table = table
        self.sharing = sharing(table, training=False)
        outside = policy.input_outside
        self.prefix: SlidingPrefix = sliding_prefix(
            table, scenario.precision, self.sharing, what="Streamed", input_outside=outside
        )
        self.base = FreeAfterUse(temporaries=False).schedule(table, scenario)
        self.variants = VARIANTS if policy.variant is None else (policy.variant,)

    @cached_property
    def rest_bytes(self) -> int:
        """The most bytes of values of one sample that are alive after the chain, whatever is done before."""
        lifetimes = liveness(self.base)
        live = lifetimes.live_bytes(1)[self.prefix.end + 1 :]  # after the LOAD step
        fixed = sum([storage.byte_count(1) for storage in self.base.storages if storage.persistent])
        return max(live, default=fixed) - fixed

    @cached_property
    def costs(self) -> tuple[TileCost, ...]:
        """The ways to run the chain that the policy allows, but for those that others beat in peak and work."""
        policy, chain = self.policy, self.prefix.chain
        split = None if policy.split is None else self.prefix.split_at(policy.split, "Streamed.split")
        if policy.tiles is None:
            from cnnbudget.planning.tile_search import tile_frontier  # it loads numpy

            return tile_frontier(chain, variants=self.variants, most_tiles=policy.most_tiles, split=split)
        if split is not None:
            return (tile_cost(chain, split, policy.tiles, policy.variant or "tiles"),)
        return tuple(
            tile_cost(chain, at, policy.tiles, variant)
            for at in chain.splits[1:]
            for variant in self.variants
            if len(policy.tiles) == len(chain.sizes[at])
            and all(count <= size for count, size in zip(policy.tiles, chain.sizes[at], strict=True))
            and (variant == "tiles" or policy.tiles[0] == 1)
        )

    def choose(self) -> TileCost:
        """The least peak of the whole network; among equal peaks the least work."""
        most = self.policy.most_extra_macs
        allowed = [cost for cost in self.costs if most is None or cost.extra_macs <= most]
        if not allowed:
            text = "Streamed.tiles fits no value of the chain"
            if self.costs:
                text = f"every such plan computes {min(cost.extra_macs for cost in self.costs):,} MACs twice at least"
            raise InvalidValueError(
                text,
                got=f"split={self.policy.split!r}, tiles={self.policy.tiles}, most_extra_macs={most}",
                expected="fewer tiles, or more work allowed",
            )
        return min(allowed, key=self.rank)

    def rank(self, cost: TileCost) -> tuple[int, ...]:
        """The peak of the whole network, then the work, then whatever makes the choice unique."""
        return max(cost.peak_bytes, self.rest_bytes), cost.macs, cost.peak_bytes, cost.split, *cost.grid

    def schedule(self) -> Schedule:
        """The schedule of the chosen plan."""
        cost = self.choose()
        numbers = {storage.name: number for number, storage in enumerate(self.base.storages)}
        places = {name: numbers[owner] for name, owner in self.sharing.owners.items()}
        source = places[self.table.network.inputs[0].name]
        of_value: dict[int, int] = {0: source}
        gone = {source} if self.policy.input_outside else set()
        storages = list(self.base.storages)
        if cost.split:
            of_value |= self._add_parts(cost, storages)
            made = self.prefix.layers[: cost.split]
            of_value[cost.split] = places[made[-1].name]
            gone |= {places[each.name] for each in made} - {of_value[cost.split]}
        steps = [self.base.steps[0]]
        first = True
        for step, node in zip(self.base.steps[1:], self.table.nodes, strict=True):
            value = self.prefix.numbers.get(node.name)
            if value is None or value > cost.split or not cost.split:
                steps.append(step)
            elif node not in self.prefix.layers:  # a view, which writes nothing
                steps.append(Step(Phase.FORWARD, node.name))
            else:
                steps.append(self._streamed_step(cost, value, of_value, first=first))
                first = False
        return _without(evolve(self.base, storages=tuple(storages), steps=tuple(steps)), gone)

    def _streamed_step(self, cost: TileCost, value: int, of_value: dict[int, int], *, first: bool) -> Step:
        """A step of one of the first layers on the fullest tile: the output and the input are there all the while."""
        node = self.prefix.layers[value - 1]
        reads = [of_value[self.prefix.numbers[name]] for name in node.node.inputs]
        reads = [number for number in reads if number in of_value.values()]
        held = [of_value[cost.split], of_value[0]]
        if cost.variant == "lines":
            held += [of_value[each] for each in range(1, cost.split)]
        writes = [of_value[value], *(held if first else ())]
        writes = [number for number in dict.fromkeys(writes) if number != of_value[0]]
        holds = [number for number in held if not first or number == of_value[0]]
        return Step(Phase.FORWARD, node.name, tuple(reads), tuple(writes), tuple(holds))

    def _add_parts(self, cost: TileCost, storages: list[Storage]) -> dict[int, int]:
        """Adds the parts of the values before the split that are there at the fullest moment."""
        chain = self.prefix.chain
        extents = self._fullest(cost)
        found: dict[int, int] = {}
        for value in range(1, cost.split):
            if cost.variant == "tiles" and value > 1 and chain.overwrites(value - 1):
                found[value] = found[value - 1]
                continue
            node = self.prefix.layers[value - 1]
            base = next(each for each in self.base.storages if each.name == self.sharing.owners[node.name])
            shape = (node.output.channels, *extents[value])
            storages.append(
                Storage(
                    f"{node.name} {cost.variant}", Role.WORKSPACE, shape, 0, prod(shape), base.dtype, node=node.name
                )
            )
            found[value] = len(storages) - 1
        return found

    def _fullest(self, cost: TileCost) -> list[tuple[int, ...]]:
        """Sizes of the parts of every value, on the tile or with the rows with which most is alive."""
        chain, split = self.prefix.chain, cost.split
        each = chain.position_bytes
        rows = row_counts(chain, split).counts if cost.variant == "lines" else ()
        most, found = -1, []
        for place in product(*needed_intervals(chain, split, cost.grid)):
            sizes = [tuple(part[value][1] - part[value][0] for part in place) for value in range(split + 1)]
            if cost.variant == "tiles":
                bytes_ = [prod(size) * width for size, width in zip(sizes, each, strict=False)]
                live = max(chain.live_bytes(n, bytes_, first=1, output=n < split - 1) for n in range(split))
                if live > most:
                    most, found = live, sizes
            for counts in rows:
                lines = [(count, *size[1:]) for count, size in zip(counts, sizes, strict=False)]
                live = sum(prod(size) * width for size, width in zip(lines[1:], each[1:], strict=False))
                if live > most:
                    most, found = live, lines
        return found


def _without(schedule: Schedule, gone: set[int]) -> Schedule:
    """The schedule without some storages."""
    kept = [number for number in range(len(schedule.storages)) if number not in gone]
    place = {number: position for position, number in enumerate(kept)}

    def move(numbers: Iterable[int]) -> tuple[int, ...]:
        return tuple(place[number] for number in numbers if number in place)

    return evolve(
        schedule,
        storages=tuple([schedule.storages[number] for number in kept]),
        steps=tuple([Step(s.phase, s.node, move(s.reads), move(s.writes), move(s.holds)) for s in schedule.steps]),
        held=frozenset(move(schedule.held)),
    )


@frozen
class StreamedProfile:
    """A network run depth-first: what it holds, what it costs, and the other ways.

    Args:
        profile: The profile of the plan that was chosen.
        cost: The plan, in bytes and multiply-accumulates of one sample.
        split: The first node whose output is there as a whole; ``None`` if no layer runs depth-first.
        whole_peak: The peak if every layer runs as a whole.
        options: All ways that no other beats in both peak and work, from the least peak on: the split, the peak, the plan.
    """

    profile: MemoryProfile
    cost: TileCost = field(repr=False)
    split: str | None
    whole_peak: Bytes
    options: tuple[tuple[str | None, Bytes, TileCost], ...] = field(repr=False)
    _macs: int = field(repr=False, alias="macs")

    @property
    def peak(self) -> Bytes:
        """Most bytes alive at one step."""
        return self.profile.peak

    @property
    def extra_macs(self) -> int:
        """Multiply-accumulates of a sample beyond a run as a whole; negative where positions that nobody reads are left out."""
        return self.cost.extra_macs

    def rows(self) -> list[dict[str, Any]]:
        """The ways as data.

        Returns:
            One dict a way, with ``chosen``, ``split``, ``variant``, ``tiles``, ``peak``, ``extra_macs``, ``extra_share``.
        """
        return [
            {
                "chosen": cost == self.cost,
                "split": split,
                "variant": cost.variant,
                "tiles": cost.grid,
                "peak": int(peak),
                "extra_macs": cost.extra_macs,
                "extra_share": cost.extra_macs / self._macs if self._macs else 0.0,
            }
            for split, peak, cost in self.options
        ]

    def _cells(self) -> list[Sequence[object]]:
        return [
            (
                "->" if row["chosen"] else "",
                row["split"] or "-",
                row["variant"],
                row["tiles"],
                str(Bytes(row["peak"])),
                row["peak"],
                row["extra_macs"],
                f"{row['extra_share']:+.1%}",
            )
            for row in self.rows()
        ]

    def _heading(self) -> str:
        peak = f"{self.peak} ({int(self.peak):,} bytes)"
        if self.split is None:
            return f"No layer runs depth-first: {peak}."
        how = "x".join(map(str, self.cost.grid)) + f" {self.cost.variant}"
        share = f"{self.extra_macs / self._macs:+.1%}" if self._macs else "no"
        return f"Depth-first up to {self.split} in {how}: {peak} instead of {self.whole_peak}, {share} MACs."

    def __str__(self) -> str:
        return f"{self._heading()}\n{text_table(_COLUMNS, self._cells())}"

    def _repr_html_(self) -> str:
        import html  # notebooks only

        return f"<p>{html.escape(self._heading())}</p>{html_table(_COLUMNS, self._cells())}"


def streamed(network: Network | CostTable, scenario: Inference | None = None) -> StreamedProfile:
    """Runs the first layers of a network depth-first: how small can its memory be, and at what price?

    A profile alone cannot say the price, which is work, not memory; this says both.

    Args:
        network: The network, or its costs.
        scenario: How it runs; its policy may be a :class:`Streamed` with settings, and is ``Streamed()`` otherwise.

    Returns:
        The plan, its profile, and the other ways.

    Raises:
        InvalidTypeError: If the scenario is no inference.
        InvalidValueError: If the network begins with no chain of windows.

    Example:
        >>> from cnnbudget import zoo
        >>> print(streamed(zoo.vgg16().network, Inference(retention=Streamed(most_tiles=3))))
        Depth-first up to features/max_pool4 in 1x3 lines: 529.46 MiB (555,174,560 bytes) instead of 552.29 MiB, +38.6% MACs.
            whole from          how    tiles        peak        bytes     extra MACs   share
        --  ------------------  -----  -----  ----------  -----------  -------------  ------
        ->  features/max_pool4  lines    1x3  529.46 MiB  555,174,560  5,975,875,584  +38.6%
            features/max_pool4  lines    1x2  529.47 MiB  555,191,200  2,987,937,792  +19.3%
            features/max_pool5  lines    1x1  529.80 MiB  555,537,568              0   +0.0%
    """
    scenario = Inference() if scenario is None else scenario
    if not isinstance(scenario, Inference):
        raise InvalidTypeError(
            "streamed() needs an inference", got=shorten(scenario), expected="for example Inference()"
        )
    if not isinstance(network, CostTable):
        check_network(network, "streamed()")
        network = costs(network)
    if not isinstance(scenario.retention, Streamed):
        scenario = scenario.evolve(retention=Streamed())
    policy = scenario.retention
    assert isinstance(policy, Streamed)  # noqa: S101  # told to the type checker
    work = _Streaming(policy, network, scenario)
    chosen = work.choose()
    if chosen.split:
        fixed = evolve(
            policy,
            split=work.prefix.name(chosen.split),
            tiles=chosen.grid,
            variant=chosen.variant,
            most_extra_macs=None,
        )
        scenario = scenario.evolve(retention=fixed)
    batch = scenario.device_batch
    always = sum([each.byte_count(batch) for each in work.base.storages if each.persistent])

    def peak_of(cost: TileCost) -> Bytes:
        return Bytes(always + batch * max(cost.peak_bytes, work.rest_bytes))

    options: list[tuple[str | None, Bytes, TileCost]] = []
    for cost in sorted(work.costs, key=work.rank):
        if not options or cost.macs < options[-1][2].macs:
            options.append((work.prefix.name(cost.split), peak_of(cost), cost))
    whole = tile_cost(work.prefix.chain, 0, (1,) * len(work.prefix.chain.sizes[0]))
    return StreamedProfile(
        profile(network, scenario),
        chosen,
        work.prefix.name(chosen.split),
        peak_of(whole),
        tuple(options),
        sum([cost.macs or 0 for cost in network.nodes]),
    )
