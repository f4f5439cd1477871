"""Advice: every option is applied and profiled, closed forms are exact, and nothing is promised that was not measured."""

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from cnnbudget import (
    BF16,
    FP16,
    Accumulate,
    Autograd,
    BatchNorm,
    Block,
    CachingAllocator,
    Checkpoint,
    Conv,
    ElementwiseLayer,
    Flatten,
    FreezeFirst,
    GlobalAvgPool,
    HalfPrecision,
    Inference,
    InvalidTypeError,
    InvalidValueError,
    KeepAll,
    LargerStride,
    Linear,
    MaxPool,
    MoreDevices,
    Net,
    Network,
    PoolEarlier,
    Recompute,
    ReLU,
    Remedy,
    RemoveBlock,
    RemoveLayer,
    SmallerBatch,
    Softmax,
    Training,
    UnknownNameError,
    fit,
    max_batch,
    profile,
    replace_layer,
)
from cnnbudget.advice import fit as module

SMALL = Net.input(3, 32, 32).then(
    Conv(16, 3, padding="same"),
    ReLU(),
    MaxPool(2),
    Conv(32, 3, padding="same"),
    ReLU(),
    Flatten(),
    Linear(10),
    Softmax(),
)
# The textbook's exercise.
EXERCISE = Net.input(3, 200, 300).then(*(Conv(maps, 3, stride=2, padding="same") for maps in (100, 200, 400)))
TEXTBOOK = Training(50, retention=KeepAll(gradients=False))


def test_a_network_that_fits_needs_no_advice():
    advice = SMALL.fit("1 GiB", Training(8))
    assert advice.fits
    assert advice.options == ()
    assert "fits in 1.00 GiB" in str(advice)
    assert "<table" not in advice._repr_html_()
    with pytest.raises(InvalidValueError, match="nothing needs to change: got a peak of"):
        _ = advice.best


def test_a_budget_of_exactly_the_peak_fits_and_one_byte_less_does_not():
    peak = SMALL.profile(Training(8)).peak
    assert SMALL.fit(peak, Training(8)).fits
    assert not SMALL.fit(peak - 1, Training(8)).fits


@given(st.integers(20, 99), st.integers(1, 64), st.booleans())
def test_every_option_is_what_a_profile_of_its_own_says(percent, batch, trains):
    scenario = Training(batch) if trains else Inference(batch)
    budget = max(1, SMALL.profile(scenario).peak * percent // 100)
    advice = SMALL.fit(budget, scenario)
    assert advice.options
    for option in advice.options:
        network, changed = option.remedy.apply(SMALL.network, scenario)
        again = profile(network, changed).peak
        assert option.peak == again
        assert option.fits == (again <= budget)
        assert option.helps == (again < advice.profile.peak)
        net, its_scenario = option.apply()
        assert isinstance(net, Net)
        assert net.profile(its_scenario).peak == again
    fitting = [option.fits for option in advice.options]
    assert fitting == sorted(fitting, reverse=True), "options that fit come first"


@given(st.integers(5, 99), st.integers(2, 200))
def test_the_smaller_batch_is_the_largest_that_fits_and_the_devices_are_the_fewest(percent, batch):
    scenario = Training(batch)
    budget = SMALL.profile(scenario).peak * percent // 100
    advice = SMALL.fit(budget, scenario)
    smaller = advice.best_of(SmallerBatch)
    if smaller is None:
        assert SMALL.profile(scenario.evolve(batch=1)).peak > budget
        assert advice.best_of(MoreDevices) is None
        return
    found = smaller.remedy.batch
    assert (
        SMALL.profile(scenario.evolve(batch=found)).peak
        <= budget
        < SMALL.profile(scenario.evolve(batch=found + 1)).peak
    )
    count = advice.best_of(MoreDevices).remedy.count
    assert (
        SMALL.profile(scenario.evolve(devices=count)).peak
        <= budget
        < SMALL.profile(scenario.evolve(devices=count - 1)).peak
    )


def test_the_five_cures_of_the_exercise():
    advice = EXERCISE.fit("500 MB", TEXTBOOK)
    assert {option.remedy.cure for option in advice.options} >= {
        "smaller mini-batch",
        "larger stride",
        "fewer layers",
        "16-bit floats",
        "several devices",
    }
    # an image needs 720,000 + 10,520,000 bytes, the parameters 3,613,600: (500,000,000 - 3,613,600) // 11,240,000 = 44
    assert advice.best_of(SmallerBatch).peak == 44 * 11_240_000 + 3_613_600
    assert advice.best_of(HalfPrecision).peak == 565_613_600 // 2
    assert advice.best_of(MoreDevices).peak == 25 * 11_240_000 + 3_613_600
    # conv2 with stride 3: ceil(100/3) x ceil(150/3) = 34 x 50 maps, conv3 17 x 25
    larger = advice.best_of(LargerStride)
    assert larger.remedy == LargerStride("conv2", 3)
    assert larger.peak == 50 * 4 * (3 * 60_000 + 100 * 15_000 + 200 * 34 * 50 + 400 * 17 * 25) + 3_613_600
    # without conv3: its maps and its 720,400 parameters go
    assert advice.best_of(RemoveLayer).peak == 565_613_600 - 50 * 1_520_000 - 4 * 720_400
    assert advice.best.remedy == Accumulate(2), "it changes nothing of the results, and needs no second device"
    assert advice.options[1].remedy == MoreDevices(2)
    assert advice.best.peak == 25 * 11_240_000 + 3_613_600


def test_options_that_change_less_come_first():
    advice = EXERCISE.fit("500 MB", TEXTBOOK)
    severities = [option.severity for option in advice.singles]
    assert severities == sorted(severities)


def test_an_option_that_does_not_help_says_so():
    advice = EXERCISE.fit("500 MB", TEXTBOOK)
    useless = [option for option in advice.options if not option.helps]
    assert {option.remedy for option in useless} >= {RemoveLayer("conv"), RemoveLayer("conv2")}
    assert str(advice).count("does not help") == len(useless)


def test_prices():
    prices = {option.remedy: str(option.price) for option in EXERCISE.fit("500 MB", TEXTBOOK).options}
    # MACs: 40,500,000 + 675,000,000 + 684,000,000; without conv3 715,500,000, 48.9 % less; parameters 903,400 -> 183,000
    assert prices[RemoveLayer("conv3")] == "parameters -80%, MACs -49%, output 200x50x75"
    assert prices[MoreDevices(2)] == "same results"
    assert "noisier gradients" in prices[SmallerBatch(44)]
    assert "11 significant bits" in prices[HalfPrecision()]


def test_prices_depend_on_the_scenario_and_the_network():
    normed = Net.input(3, 32, 32).then(Conv(8, 3), BatchNorm())
    tight = normed.fit(normed.profile(Training(8)).peak - 1, Training(8))
    assert str(tight.best_of(MoreDevices).price) == "batch-norm statistics of each device alone"
    inferring = normed.fit(normed.profile(Inference(8)).peak - 1, Inference(8))
    assert str(inferring.best_of(MoreDevices).price) == "same results"
    assert str(inferring.best_of(SmallerBatch).price) == "same results, more passes"


def test_a_price_names_skipped_pixels_and_costless_changes():
    net = Net.input(3, 32, 32).then(Conv(8, 2), ReLU(), Conv(8, 1))
    advice = net.fit(1000, Inference())
    prices = {option.remedy: str(option.price) for option in advice.options}
    skipping = next(price for remedy, price in prices.items() if remedy == LargerStride("conv", 4))
    assert "skips pixels" in skipping
    assert prices[RemoveLayer("relu")] == "another network of the same size"


def test_16_bit_floats_do_not_apply_twice():
    for precision in (FP16, BF16):
        advice = SMALL.fit(1000, Training(8, precision=precision))
        assert advice.best_of(HalfPrecision) is None
        assert "16-bit floats do not apply: activations have 16 bits already." in advice.notes


def test_an_impossible_budget_is_said_to_be_one():
    advice = SMALL.fit(10, Training(8))
    assert advice.best_of(SmallerBatch) is None
    one = SMALL.profile(Training(1)).peak
    assert f"No batch fits: one sample alone has a peak of {one} ({one:,} bytes)." in advice.notes
    assert f"({one:,} bytes)" in str(advice)
    with pytest.raises(
        InvalidValueError,
        match=r"no remedy makes it fit: got a peak of .*; the nearest single one is .*, with .*\. No combination .* suffices",
    ):
        _ = advice.best


def test_without_any_option_there_is_no_nearest_one():
    net = Net.input(3).then(Linearish())
    advice = net.fit(10, Inference(precision=FP16))
    assert advice.options == ()
    with pytest.raises(InvalidValueError, match="none applies"):
        _ = advice.best


@frozen
class Linearish(ElementwiseLayer):
    """A layer without a stride."""


@frozen
class Uncounted(ElementwiseLayer):
    """A layer whose multiply-accumulates are unknown."""

    def macs(self, inputs, output):
        return None


def test_unknown_multiply_accumulates_are_left_out_of_prices():
    net = Net.input(3, 32, 32).then(Conv(8, 3), Uncounted(), Conv(8, 3))
    advice = net.fit(net.profile(Training(4)).peak // 2, Training(4))
    removed = next(option for option in advice.options if option.remedy == RemoveLayer("conv2"))
    assert removed.mac_count is None
    assert removed.price.mac_delta is None
    assert "MACs" not in str(removed.price)
    assert "parameters" in str(removed.price)


def test_the_number_of_variants_is_bounded_and_said(monkeypatch):
    monkeypatch.setattr(module, "MOST_VARIANTS", 5)
    advice = SMALL.fit(1000, Training(8))
    # in place, both 16-bit formats, and two rungs of frozen layers: then the limit is met
    assert "Not every remedy was tried: 5 variants of the 8 nodes, the largest maps first." in advice.notes
    assert not advice.proved_smallest


def test_a_stride_that_leaves_too_little_for_the_next_layer_is_no_option():
    net = Net.input(3, 6, 6).then(Conv(8, 3), Conv(8, 3))  # a stride of 2 leaves 2x2 for a window of 3x3
    remedies = {option.remedy for option in net.fit(100, Training(8)).options}
    assert not any(isinstance(remedy, LargerStride) and remedy.node == "conv" for remedy in remedies)
    assert any(isinstance(remedy, LargerStride) and remedy.node == "conv2" for remedy in remedies)


@frozen
class Narrower(Remedy):
    """A remedy from outside: fewer maps in one convolution."""

    cure = "fewer maps"
    reason = "maps that are not there take no bytes"
    severity = 3

    node: str
    maps: int

    def apply(self, network, scenario):
        return replace_layer(network, self.node, network[self.node].layer.evolve(filters=self.maps)), scenario

    def describe(self, network, scenario):
        return f"{self.node}: {network[self.node].layer.filters} -> {self.maps} maps"


def test_remedies_from_outside_are_measured_like_our_own():
    advice = SMALL.fit("200 kB", Training(8), remedies=[Narrower("conv", 4), RemoveLayer("flatten")])
    option = advice.best_of(Narrower)
    assert option.change == "conv: 16 -> 4 maps"
    net, scenario = option.apply()
    assert net.profile(scenario).peak == option.peak < advice.profile.peak
    assert any(
        note.startswith("RemoveLayer(node='flatten') cannot be applied: Linear does not") for note in advice.notes
    )
    with pytest.raises(InvalidTypeError, match="remedies must be remedies: got 'fewer layers'"):
        SMALL.fit("200 kB", Training(8), remedies=["fewer layers"])


def test_layers_with_a_stride_per_axis_grow_on_every_axis():
    net = Net.input(3, 32, 32).then(Conv(8, 3, stride=(1, 2)), Conv(8, 3))
    advice = net.fit(net.profile(Inference()).peak - 1, Inference())
    assert LargerStride("conv", (2, 3)) in {option.remedy for option in advice.options}


def test_fit_takes_a_network_too():
    advice = fit(SMALL.network, "100 kB", Training(8))
    network, _ = advice.options[0].apply()
    assert isinstance(network, Network)


def test_the_rows_of_an_advice_are_data():
    row = EXERCISE.fit("500 MB", TEXTBOOK).rows()[1]
    assert row == {
        "cure": "several devices",
        "change": "1 -> 2 devices, at most 25 samples each",
        "remedies": 1,
        "peak": 284_613_600,
        "fits": True,
        "helps": True,
        "price": "same results",
        "parameters": 0,
        "macs": 0,
        "recomputed_macs": 0,
        "loses_resolution": False,
        "changes_results": False,
        "changes_training": False,
        "reason": MoreDevices.reason,
    }


def test_html_is_escaped_and_has_no_script():
    page = EXERCISE.fit("500 MB", TEXTBOOK)._repr_html_()
    assert "<table" in page
    assert "conv2: stride 2 -&gt; 3" in page
    assert "<script" not in page


def test_max_batch_as_a_free_function():
    assert max_batch(EXERCISE.network, "500 MB", TEXTBOOK) == EXERCISE.max_batch("500 MB", TEXTBOOK) == 44
    assert EXERCISE.max_batch("500 MB", TEXTBOOK.evolve(devices=2)) == 88
    assert EXERCISE.max_batch("1 MB", TEXTBOOK) == 0


@pytest.mark.parametrize(
    ("budget", "error", "text"),
    [
        (float("nan"), InvalidTypeError, "must be an int: got nan"),
        (1.5e9, InvalidTypeError, "got 1500000000.0"),
        (True, InvalidTypeError, "got True"),
        (None, InvalidTypeError, "got None"),
        (0, InvalidValueError, "a size must be positive: got 0"),
        (-1, InvalidValueError, "a size must be positive: got -1"),
        ("", InvalidValueError, "cannot read a size: got ''"),
        ("a lot", UnknownNameError, "neither a size nor a device: got 'a lot'"),
        ("8 gib", InvalidValueError, "unknown unit 'gib' in a size: .*did you mean 'GiB'"),
        ("-8 GiB", InvalidValueError, "cannot read a size: got '-8 GiB'"),
    ],
)
def test_bad_budgets(budget, error, text):
    with pytest.raises(error, match=text):
        SMALL.fit(budget, Training(8))


def test_fit_needs_a_scenario_and_a_network():
    with pytest.raises(InvalidTypeError, match=r"profile\(\) needs a scenario: .*; call it: Training\(\)"):
        SMALL.fit("1 GiB", Training)
    with pytest.raises(InvalidTypeError, match=r"costs\(\) takes a network: .*a Net has .network"):
        fit(SMALL, "1 GiB", Training(8))


def test_with_an_allocator_what_it_reserves_has_to_fit():
    scenario = Training(8, allocator=CachingAllocator())
    found = SMALL.profile(scenario)
    assert found.peak < found.reserved
    between = (found.peak + found.reserved) // 2
    advice = SMALL.fit(between, scenario)
    assert not advice.fits
    assert "are reserved, does not fit" in str(advice)
    assert SMALL.fit(between, Training(8)).fits
    for option in advice.singles:
        network, changed = option.remedy.apply(SMALL.network, scenario)
        assert profile(network, changed).reserved <= between
    smaller = advice.best_of(SmallerBatch).remedy.batch
    assert SMALL.profile(scenario.evolve(batch=smaller)).reserved <= between


def test_the_witness_is_who_is_alive_at_the_peak():
    advice = SMALL.fit("100 kB", Training(8))
    assert advice.witness == SMALL.profile(Training(8)).at_peak
    assert SMALL.fit("1 GiB", Training(8)).witness == ()


def test_the_table_is_cut_where_it_is_told():
    advice = SMALL.fit("200 kB", Training(8))
    assert len(advice.table(4).splitlines()) == 2 + 4 + 1
    assert len(advice.table(1000).splitlines()) == 2 + len(advice.rows())
    assert advice.table() in str(advice)
    with pytest.raises(InvalidValueError, match="limit is out of range: got 0"):
        advice.table(0)


def test_combinations_that_were_not_asked_for_are_not_made():
    advice = SMALL.fit(10, Training(8), combine=1)
    assert advice.combinations == ()
    assert advice.verdict == "No single remedy suffices; combinations were not asked for."


@pytest.mark.parametrize(
    ("wishes", "error", "text"),
    [
        ({"combine": 0}, InvalidValueError, r"fit\(\): combine is out of range: got 0"),
        ({"tries": 0}, InvalidValueError, r"fit\(\): tries is out of range: got 0"),
        ({"tries": 2.5}, InvalidTypeError, r"fit\(\): tries must be an int"),
        ({"remedies": RemoveLayer("conv")}, InvalidTypeError, "remedies must be remedies: got RemoveLayer"),
        ({"remedies": 3}, InvalidTypeError, "remedies must be remedies: got 3"),
    ],
)
def test_bad_questions(wishes, error, text):
    with pytest.raises(error, match=text):
        SMALL.fit("1 GiB", Training(8), **wishes)


@frozen
class Broken(Remedy):
    """A remedy that answers something else."""

    cure = "nothing"
    reason = "none"
    severity = 0

    def apply(self, network, scenario):
        return network

    def describe(self, network, scenario):
        return "nothing"


def test_a_remedy_that_answers_something_else_is_noted():
    advice = SMALL.fit("200 kB", Training(8), remedies=[Broken()], combine=1)
    assert any("Broken.apply returned something else: got Network(" in note for note in advice.notes)


def test_an_option_has_a_profile():
    option = SMALL.fit("200 kB", Training(8), combine=1).options[0]
    assert option.profile().peak == option.peak
    assert option.mac_count == option.price.macs[1]


@pytest.mark.parametrize("wrong", ["SmallerBatch", SmallerBatch(3), Conv])
def test_best_of_takes_a_class_of_remedies(wrong):
    with pytest.raises(InvalidTypeError, match=r"best_of\(\) takes a class of remedies"):
        SMALL.fit("200 kB", Training(8), combine=1).best_of(wrong)


def test_blocks_are_tried_where_nothing_in_them_stays():
    net = Net.input(8, 16, 16).repeat(Block(Conv(8, 3, padding=1), ReLU()), 2, name="stage")
    found = [option.remedy for option in net.fit(1000, Training(8), combine=1).options]
    assert {RemoveBlock("stage.0"), RemoveBlock("stage.1")} <= set(found)
    found = [option.remedy for option in net.fit(1000, Training(8), combine=1, keep="stage.0/conv").options]
    assert RemoveBlock("stage.1") in found
    assert RemoveBlock("stage.0") not in found


def test_what_has_one_layer_to_train_cannot_freeze_it():
    advice = Net.input(3, 16, 16).then(Conv(8, 3)).fit(1000, Training(8), combine=1)
    assert advice.best_of(FreezeFirst) is None


def test_a_pooling_without_a_convolution_ahead_of_it_cannot_be_moved():
    net = Net.input(3, 32, 32).then(ReLU(), MaxPool(2), Conv(8, 3))
    assert net.fit(1000, Training(8), combine=1).best_of(PoolEarlier) is None
    assert SMALL.fit(1000, Training(8), combine=1).best_of(PoolEarlier).remedy == PoolEarlier("max_pool", "conv")


def recomputing(net, budget):
    advice = net.fit(budget, Training(16, retention=Autograd()), combine=1)
    return [option for option in advice.options if isinstance(option.remedy, Recompute)]


def test_checkpoints_are_planned_for_the_budget():
    """The planner does the least that suffices; cuts at square roots compute nearly everything again, whatever the budget is."""
    block = Block(Conv(8, 3, padding=1), ReLU(), name="block")
    net = Net.input(3, 16, 16).then(Conv(8, 3, padding=1)).repeat(block, 8).then(GlobalAvgPool(), Linear(4))
    peak = net.profile(Training(16, retention=Autograd())).peak
    again = []
    for percent in (95, 85, 65):
        budget = peak * percent // 100
        root, planned = sorted(recomputing(net, budget), key=lambda option: option.remedy.policy.budget or 0)
        assert root.remedy.policy == Checkpoint.sqrt()
        assert planned.fits
        assert planned.peak == planned.apply()[0].profile(planned.scenario).peak <= budget
        if percent >= 85:  # there is room; cuts at square roots fit in it, too
            assert planned.price.recomputed_macs < root.price.recomputed_macs
        again.append(planned.price.recomputed_macs)
    assert again == sorted(again)  # the less there is, the more is computed again
    assert again[0] < again[-1]


def test_checkpoints_of_long_chains_are_not_planned():
    """Planning takes the cube of the stages; a hundred of them take a second."""
    short, long = (Net.input(3, 4, 4).then(*[Conv(3, 3, padding=1)] * count) for count in (100, 101))
    assert len(recomputing(long, long.profile(Training(16, retention=Autograd())).peak * 9 // 10)) == 1
    peak = short.profile(Training(16, retention=Autograd())).peak
    assert len(recomputing(short, peak * 9 // 10)) == 2
