"""Combinations: the smallest, what they cost, and what a search says about itself. Numbers are derived by hand."""

import pytest

from cnnbudget import (
    Accumulate,
    Conv,
    FreezeFirst,
    HalfPrecision,
    Inference,
    InvalidValueError,
    LargerStride,
    MoreDevices,
    Net,
    RemoveLayer,
    SmallerBatch,
    SmallerInput,
    Training,
    profile,
)
from cnnbudget.advice import fit as fit_module
from cnnbudget.advice import search as search_module

# One layer of 1x1 weights without bias: an inference needs 4 * (4 + 8) * 64 bytes a sample and 4 * 32 bytes of weights.
NET = Net.input(4, 8, 8).then(Conv(8, 1, bias=False))
SAMPLE, WEIGHTS = 4 * 12 * 64, 4 * 32


def test_two_remedies_where_neither_suffices():
    # In 16 bits a sample and the weights take half; the budget is that exactly, and one byte less than two such samples.
    budget = SAMPLE // 2 + WEIGHTS // 2
    advice = NET.fit(budget, Inference(4), allow={HalfPrecision, SmallerBatch, MoreDevices})
    assert not advice.singles
    assert advice.proved_smallest
    assert {option.remedies for option in advice.combinations} == {
        (HalfPrecision(), SmallerBatch(1)),
        (HalfPrecision(), MoreDevices(4)),
    }
    best = advice.best
    assert best.peak == budget
    assert best.cure == "16-bit floats + several devices"
    assert best.change == "FP32 -> FP16; 1 -> 4 devices, at most 1 samples each"
    assert best.reason == f"{HalfPrecision.reason}; {MoreDevices.reason}"
    assert best.severity == 2
    assert best.price.changes_results
    assert "11 significant bits" in str(best.price)
    net, scenario = best.apply()
    assert net.profile(scenario).peak == best.peak
    assert scenario.devices.count == 4
    assert advice.rows()[0]["remedies"] == 2
    assert advice.rows()[0]["cure"] == best.cure
    assert "Proved smallest: no combination of fewer remedies suffices, all were measured (0 combinations" in str(
        advice
    )


def test_one_byte_less_and_nothing_suffices():
    budget = SAMPLE // 2 + WEIGHTS // 2 - 1
    advice = NET.fit(budget, Inference(4), allow={HalfPrecision, SmallerBatch, MoreDevices})
    assert advice.combinations == ()
    assert not advice.proved_smallest
    assert "No combination of up to 2 remedies suffices: all were measured" in advice.verdict
    with pytest.raises(
        InvalidValueError, match=r"no remedy makes it fit: .*; the nearest single one is .* all were measured"
    ):
        advice.best


def test_three_remedies():
    # A quarter of the input is 4 * 2 * 2 numbers, a stride of 2 or more leaves one position of 8 maps; in 16 bits that is 48
    # bytes and 64 of weights. With two of the three the least are 2 * (16 + 32) + 64 = 160 bytes.
    allow = {HalfPrecision, LargerStride, SmallerInput}
    advice = NET.fit(112, Inference(), allow=allow, tries=10_000)
    assert {option.remedies for option in advice.combinations} == {
        (LargerStride("conv", stride), SmallerInput(0.25), HalfPrecision()) for stride in (2, 3, 4)
    }
    assert {option.peak for option in advice.combinations} == {112}
    assert advice.proved_smallest
    assert advice.best.remedies[0] == LargerStride("conv", 2), "the smallest change"
    assert NET.fit(111, Inference(), allow=allow, tries=10_000).combinations == ()
    assert NET.fit(112, Inference(), allow=allow, tries=10_000, combine=2).combinations == ()
    assert {len(option.remedies) for option in NET.fit(160, Inference(), allow=allow).combinations} == {2}


CHAIN = Net.input(3, 16, 16).then(*[Conv(8, 3, padding=1) for _ in range(4)])


def below_every_single(allow):
    """A budget that no single remedy reaches, by one byte."""
    return min(option.peak for option in CHAIN.fit(1, Training(4), allow=allow, combine=1).options) - 1


def test_the_limit_of_tries_is_kept_and_said():
    net, allow = CHAIN, {HalfPrecision, RemoveLayer, LargerStride, FreezeFirst}
    budget = below_every_single(allow)
    few = net.fit(budget, Training(4), allow=allow, combine=3, tries=3)
    assert "(3 combinations of " in few.verdict
    assert "not all" in few.verdict
    many = net.fit(budget, Training(4), allow=allow, combine=3, tries=100_000)
    assert many.proved_smallest
    assert len(many.best.remedies) == 2
    assert "not all" not in many.verdict
    for option in many.combinations:
        assert (
            profile(*option.remedies[1].apply(*option.remedies[0].apply(net.network, Training(4)))).peak == option.peak
        )
        assert option.peak <= budget


def test_of_too_many_combinations_the_most_promising_are_ordered(monkeypatch):
    net, allow = CHAIN, {HalfPrecision, RemoveLayer, LargerStride}
    budget = below_every_single(allow)
    whole = net.fit(budget, Training(4), allow=allow, combine=2, tries=100_000)
    monkeypatch.setattr(search_module, "MOST_ORDERED", 40)
    part = net.fit(budget, Training(4), allow=allow, combine=2, tries=100_000)
    assert {option.remedies for option in part.combinations} <= {option.remedies for option in whole.combinations}
    assert "not all of this size were" in part.verdict


def test_best_found_where_not_every_single_was_measured(monkeypatch):
    budget = below_every_single({HalfPrecision, LargerStride})
    monkeypatch.setattr(fit_module, "MOST_VARIANTS", 12)
    advice = CHAIN.fit(budget, Training(4), allow={HalfPrecision, LargerStride}, tries=1000)
    assert advice.combinations
    assert not advice.proved_smallest
    assert advice.verdict.startswith("Best found: not all combinations of fewer remedies were measured")
    assert "Not every remedy was tried: 12 variants" in str(advice)


def test_nothing_was_found_and_not_everything_tried():
    advice = CHAIN.fit(2000, Training(4), allow={HalfPrecision, LargerStride, RemoveLayer}, tries=5)
    assert advice.verdict.startswith("No combination was found that suffices; not all were measured (5 combinations")


@pytest.mark.parametrize("batch", [1, 2, 3, 7])
@pytest.mark.parametrize("percent", [35, 50, 70, 99])
@pytest.mark.parametrize("devices", [1, 2])
def test_the_fewest_parts_are_what_a_scan_finds(batch, percent, devices):
    scenario = Training(batch, devices=devices)
    budget = NET.profile(scenario).peak * percent // 100
    share = scenario.devices.share(batch)
    scan = [parts for parts in range(2, share + 1) if NET.profile(scenario.evolve(accumulate=parts)).peak <= budget]
    found = NET.fit(budget, scenario, allow=Accumulate).best_of(Accumulate)
    assert (found.remedy.parts if found else None) == (scan[0] if scan else None)


def test_accumulation_with_parts_that_were_there_already():
    scenario = Training(12, accumulate=2)
    peak = NET.profile(scenario).peak
    advice = NET.fit(peak - 1, scenario, allow={Accumulate, MoreDevices, SmallerBatch})
    least = advice.best_of(Accumulate).remedy.parts
    assert NET.profile(scenario.evolve(accumulate=least)).peak < peak
    assert least == 3 or NET.profile(scenario.evolve(accumulate=least - 1)).peak >= peak
    assert NET.fit(1, Training(1), allow=Accumulate).options == ()
    assert NET.fit(SAMPLE, Training(4), allow=Accumulate).options == ()
