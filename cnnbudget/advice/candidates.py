"""Which remedies are tried: ladders of them, each from the mildest rung to the strongest."""

from __future__ import annotations

from itertools import islice
from math import prod
from typing import TYPE_CHECKING

from attrs import frozen

from cnnbudget.advice.architecture import (
    PoolEarlier,
    PoolGlobally,
    RemoveBlock,
    SeparateConv,
    SmallerInput,
    full_convs,
    late_poolings,
)
from cnnbudget.advice.remedies import (
    HalfPrecision,
    LargerStride,
    MoreDevices,
    Remedy,
    RemoveLayer,
    SmallerBatch,
    stride_of,
)
from cnnbudget.advice.runtime import (
    Accumulate,
    FreezeFirst,
    InPlaceActivations,
    LighterOptimizer,
    Recompute,
    in_place_nodes,
    training_nodes,
)
from cnnbudget.advice.scopes import removable_scopes
from cnnbudget.advice.width import FewerChannels
from cnnbudget.analysis.storage import sharing
from cnnbudget.dtypes import AMP_FP16, FLOAT32, Role
from cnnbudget.layers.reshape import Flatten
from cnnbudget.memory.checkpoint import Checkpoint
from cnnbudget.memory.optimizer import Optimizer
from cnnbudget.memory.optimizer_other import Adam8bit
from cnnbudget.memory.optimizer_torch import SGD
from cnnbudget.memory.recompute import stage_ends
from cnnbudget.memory.retention import Autograd
from cnnbudget.memory.scenario import Training
from cnnbudget.windows import Axes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cnnbudget.advice.wishes import Wishes
    from cnnbudget.analysis.costs import CostTable
    from cnnbudget.memory.scenario import Scenario

__all__ = ["FAMILIES", "KINDS", "Ladder", "application_order", "ladders"]

Ladder = tuple[Remedy, ...]
"""Remedies of one slot, the mildest first."""

FAMILIES: tuple[type[Remedy], ...] = (SmallerBatch, MoreDevices, Accumulate)
"""Remedies of which the one that just suffices follows in closed form: they come last, whatever else is done."""

_ORDER: tuple[type[Remedy], ...] = (
    InPlaceActivations,
    RemoveBlock,
    RemoveLayer,
    PoolEarlier,
    PoolGlobally,
    LargerStride,
    SeparateConv,
    FewerChannels,
    SmallerInput,
    HalfPrecision,
    LighterOptimizer,
    FreezeFirst,
    Recompute,
)
"""In which order the remedies of a combination are applied."""

KINDS: tuple[type[Remedy], ...] = _ORDER + FAMILIES
"""All built-in remedies that are tried."""

_STRIDE_STEPS = 3
_FACTORS = (0.875, 0.75, 0.5, 0.25)
_MOST_POOLINGS = 4
_MOST_STAGES = 100  # planning what to compute again grows with their cube
_SLOTS = 100


def application_order(remedy: Remedy) -> int:
    """Where a remedy comes in a combination; one from outside between the architecture and the run time.

    Args:
        remedy: The remedy.
    """
    kind = type(remedy)
    return 2 * KINDS.index(kind) if kind in KINDS else 2 * _ORDER.index(HalfPrecision) - 1


@frozen
class _Question:
    table: CostTable
    scenario: Scenario
    wishes: Wishes
    budget: int | None


def ladders(table: CostTable, scenario: Scenario, wishes: Wishes, *, budget: int | None = None) -> Iterator[Ladder]:
    """Makes the ladders that wishes allow; those of layers in the order of the sizes of their maps, the largest first.

    Args:
        table: Costs of the network.
        scenario: The scenario.
        wishes: What may change and what must stay.
        budget: Bytes that recomputation is planned for; ``None`` plans none.

    Yields:
        Ladders.
    """
    question = _Question(table, scenario, wishes, budget)
    makers = (
        (InPlaceActivations, _in_place),
        (HalfPrecision, _half_precision),
        (LighterOptimizer, _optimizers),
        (FreezeFirst, _freezing),
        (Recompute, _recomputing),
        (SmallerInput, _inputs),
        (FewerChannels, _widths),
        (PoolGlobally, _global_pools),
        (PoolEarlier, _poolings),
        (RemoveBlock, _blocks),
    )
    for kind, make in makers:
        if wishes.allows(kind):
            yield from make(question)
    yield from _layers(question)


def _in_place(question: _Question) -> Iterator[Ladder]:
    names = in_place_nodes(question.table.network, question.scenario, but=question.wishes.nodes)
    if names:
        yield (InPlaceActivations(names),)


def _half_precision(question: _Question) -> Iterator[Ladder]:
    precision = question.scenario.precision
    if precision[Role.ACTIVATION].bits > 16:
        yield (HalfPrecision(),)
        if question.scenario.trains and precision.autocast is None:
            yield (HalfPrecision(AMP_FP16),)


def _optimizers(question: _Question) -> Iterator[Ladder]:
    if isinstance(question.scenario, Training):
        now = _state_bits(question.scenario.optimizer)
        for optimizer in (Adam8bit(), SGD(momentum=0.9), SGD()):
            if _state_bits(optimizer) < now:
                yield (LighterOptimizer(optimizer),)


def _state_bits(optimizer: Optimizer) -> int:
    """What an optimizer keeps for a convolution of common size."""
    state = optimizer.state((128, 128, 3, 3)).values()
    return sum([spec.element_count * (spec.dtype or FLOAT32).bits for spec in state])


def _freezing(question: _Question) -> Iterator[Ladder]:
    scenario = question.scenario
    if isinstance(scenario, Training):
        count = len(training_nodes(question.table.network, scenario))
        rungs = dict.fromkeys(part for part in (count // 4, count // 2, 3 * count // 4, count - 1) if part > 0)
        if rungs:
            yield tuple([FreezeFirst(part) for part in rungs])


def _recomputing(question: _Question) -> Iterator[Ladder]:
    if type(question.scenario.retention) is Autograd:  # of another policy it would change what counts, too
        yield (Recompute(Checkpoint.sqrt()),)
        table = question.table
        if question.budget is not None and len(stage_ends(table, sharing(table, training=True))) <= _MOST_STAGES:
            yield (Recompute(Checkpoint.optimal(question.budget, slots=_SLOTS)),)


def _inputs(question: _Question) -> Iterator[Ladder]:
    if any(prod(source.shape[1:]) > 1 for source in question.table.network.inputs):
        yield tuple([SmallerInput(factor) for factor in _FACTORS])


def _widths(_: _Question) -> Iterator[Ladder]:
    yield tuple([FewerChannels(factor) for factor in _FACTORS])


def _global_pools(question: _Question) -> Iterator[Ladder]:
    for cost in question.table:
        if isinstance(cost.node.layer, Flatten) and prod(cost.inputs[0].spatial) > 1:
            yield (PoolGlobally(cost.name),)


def _poolings(question: _Question) -> Iterator[Ladder]:
    for name, found in late_poolings(question.table.network):
        rungs = tuple([PoolEarlier(name, before) for before in islice(found, _MOST_POOLINGS)])
        if rungs:
            yield rungs


def _blocks(question: _Question) -> Iterator[Ladder]:
    for found in removable_scopes(question.table.network):
        if question.wishes.nodes.isdisjoint(found.nodes):
            yield (RemoveBlock(found.scope),)


def _layers(question: _Question) -> Iterator[Ladder]:
    table, wishes = question.table, question.wishes
    separable = full_convs(table.network, "*") if wishes.allows(SeparateConv) else []
    if len(separable) > 1 and wishes.nodes.isdisjoint(separable):
        yield (SeparateConv("*"),)
    for cost in sorted(table.nodes, key=lambda cost: -cost.output.element_count):
        if cost.name in wishes.nodes:
            continue
        stride = stride_of(cost.node.layer)
        if stride is not None and wishes.allows(LargerStride):
            yield tuple([LargerStride(cost.name, larger) for larger in _larger(stride)])
        if len(table) > 1 and len(cost.node.inputs) == 1 and wishes.allows(RemoveLayer):
            yield (RemoveLayer(cost.name),)
        if cost.name in separable:
            yield (SeparateConv(cost.name),)


def _larger(stride: Axes) -> list[Axes]:
    """The next larger strides to try, every axis alike."""
    steps = range(1, _STRIDE_STEPS + 1)
    if isinstance(stride, tuple):
        return [tuple([axis + step for axis in stride]) for step in steps]
    return [stride + step for step in steps]
