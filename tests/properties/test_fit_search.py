"""The search for combinations, against an exhaustive one of its own: what is called proved smallest is."""

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from cnnbudget import (
    SGD,
    Accumulate,
    Autograd,
    CnnBudgetError,
    Conv,
    FewerChannels,
    FreezeFirst,
    GlobalAvgPool,
    HalfPrecision,
    Inference,
    KeepAll,
    LargerStride,
    LighterOptimizer,
    Linear,
    MaxPool,
    MoreDevices,
    Net,
    Recompute,
    ReLU,
    RemoveLayer,
    SmallerBatch,
    SmallerInput,
    Training,
    fit,
    profile,
)
from cnnbudget.advice.candidates import ladders
from cnnbudget.advice.wishes import read_wishes
from cnnbudget.analysis.costs import costs

LAYERS = st.sampled_from([Conv(4, 3, padding=1), Conv(8, 3, padding=1), ReLU(), MaxPool(2), Conv(8, 1)])
NETWORKS = st.lists(LAYERS, min_size=1, max_size=3).map(
    lambda layers: Net.input(3, 12, 12).then(Conv(4, 3), *layers, GlobalAvgPool(), Linear(3)).network
)
SCENARIOS = st.sampled_from(
    [
        Inference(3),
        Training(3, retention=KeepAll()),
        Training(4, retention=Autograd(), optimizer="adam"),
        Training(4, retention=Autograd(), devices=2, optimizer=SGD(momentum=0.9)),
    ]
)
# The order in which a combination is applied, written down again: the architecture from small edits to large, then the run time.
ORDER = [
    "InPlaceActivations",
    "RemoveBlock",
    "RemoveLayer",
    "PoolEarlier",
    "PoolGlobally",
    "LargerStride",
    "SeparateConv",
    "FewerChannels",
    "SmallerInput",
    "HalfPrecision",
    "LighterOptimizer",
    "FreezeFirst",
    "Recompute",
    "SmallerBatch",
    "MoreDevices",
    "Accumulate",
]
ALLOWED = st.sets(
    st.sampled_from(
        [SmallerBatch, MoreDevices, Accumulate, HalfPrecision, LighterOptimizer, FreezeFirst, RemoveLayer, Recompute]
    ),
    min_size=1,
    max_size=4,
) | st.sets(
    st.sampled_from([LargerStride, HalfPrecision, FewerChannels, SmallerInput, SmallerBatch]), min_size=1, max_size=2
)


def universe(network, scenario, allow, budget=None):
    """All single remedies, rung by rung, and every member of the families, one by one."""
    wishes = read_wishes(network, allow, (), ())
    found = [remedy for ladder in ladders(costs(network), scenario, wishes, budget=budget) for remedy in ladder]
    if SmallerBatch in allow:
        found += [SmallerBatch(batch) for batch in range(1, scenario.batch)]
    if MoreDevices in allow:
        found += [MoreDevices(count) for count in range(scenario.devices.count + 1, scenario.batch + 1)]
    if Accumulate in allow and scenario.trains:
        found += [Accumulate(parts) for parts in range(2, scenario.batch + 1)]
    return found


def peak_of(remedies, network, scenario):
    """The peak after some remedies, ``None`` if they cannot be applied together."""
    try:
        for remedy in sorted(remedies, key=lambda remedy: ORDER.index(type(remedy).__name__)):
            network, scenario = remedy.apply(network, scenario)
        return profile(network, scenario).peak
    except CnnBudgetError:
        return None


@settings(max_examples=25)
@given(NETWORKS, SCENARIOS, ALLOWED, st.integers(5, 95))
def test_proved_smallest_is_smallest(network, scenario, allow, percent):
    budget = max(1, profile(network, scenario).peak * percent // 100)
    advice = fit(network, budget, scenario, allow=allow, combine=2, tries=100_000)
    everything = [
        remedy for remedy in universe(network, scenario, allow, budget) if peak_of([remedy], network, scenario)
    ]
    single = [remedy for remedy in everything if peak_of([remedy], network, scenario) <= budget]
    pairs = [
        pair
        for pair in combinations(everything, 2)
        if pair[0].slot != pair[1].slot and (peak_of(pair, network, scenario) or budget + 1) <= budget
    ]
    if single:
        assert len(advice.best.remedies) == 1
        assert not advice.combinations
    elif pairs:
        assert advice.proved_smallest
        assert "Proved smallest" in advice.verdict
        assert len(advice.best.remedies) == 2
    else:
        assert not advice.combinations
        assert "No combination of up to 2 remedies suffices: all were measured" in advice.verdict
    for option in (*advice.singles, *advice.combinations):
        assert option.peak == profile(*option.apply()).peak <= budget
        assert option.peak == peak_of(option.remedies, network, scenario)
        assert {type(remedy) for remedy in option.remedies} <= allow


@settings(max_examples=25)
@given(NETWORKS, SCENARIOS, st.integers(20, 95))
def test_all_pairs_that_suffice_are_found(network, scenario, percent):
    """Of remedies that are no family, exactly the pairs that an exhaustive search finds."""
    allow = {HalfPrecision, LighterOptimizer, RemoveLayer, FreezeFirst}
    budget = max(1, profile(network, scenario).peak * percent // 100)
    advice = fit(network, budget, scenario, allow=allow, combine=2, tries=100_000)
    if advice.singles:
        return
    everything = [
        remedy for remedy in universe(network, scenario, allow, budget) if peak_of([remedy], network, scenario)
    ]
    expected = {
        frozenset(pair)
        for pair in combinations(everything, 2)
        if pair[0].slot != pair[1].slot and (peak_of(pair, network, scenario) or budget + 1) <= budget
    }
    assert {frozenset(option.remedies) for option in advice.combinations} == expected


@settings(max_examples=15)
@given(NETWORKS, SCENARIOS, st.integers(1, 40), st.integers(1, 12))
def test_a_search_that_was_stopped_says_so(network, scenario, percent, tries):
    budget = max(1, profile(network, scenario).peak * percent // 100)
    allow = {HalfPrecision, RemoveLayer, LargerStride, FewerChannels}
    few = fit(network, budget, scenario, allow=allow, combine=3, tries=tries)
    many = fit(network, budget, scenario, allow=allow, combine=3, tries=100_000)
    if few.combinations and few.proved_smallest:
        assert len(few.best.remedies) == len(many.best.remedies)
    if few.verdict.startswith("No combination of up to 3"):
        assert not many.combinations
