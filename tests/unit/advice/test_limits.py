"""Limits: fits and its successor does not, against a scan of every value; and what is said about what was measured."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnbudget import (
    Add,
    Autograd,
    AvgPool,
    Block,
    CachingAllocator,
    Checkpoint,
    Concat,
    Conv,
    ConvTranspose,
    Flatten,
    Inference,
    InvalidTypeError,
    InvalidValueError,
    Linear,
    MaxPool,
    Net,
    Network,
    Offload,
    ReLU,
    ShapeError,
    SmallerBatch,
    Training,
    UnknownNameError,
    largest,
    max_batch,
    max_depth,
    max_input_size,
    max_width,
    profile,
    with_width,
)

CHAIN = Net.input(3, 32, 32).then(Conv(8, 3, padding=1), ReLU(), MaxPool(2), Conv(16, 3, padding=1)).network
LAYERS = st.sampled_from(
    [
        Conv(8, 3, padding=1),
        Conv(4, 3, stride=2, padding="same"),
        Conv(4, 2, padding="same"),
        Conv(4, 5, stride=3),
        MaxPool(2),
        MaxPool(3, stride=2, ceil_mode=True),
        ReLU(),
    ]
)
SCENARIOS = st.sampled_from([Inference(2), Training(2), Training(2, retention=Autograd())])


def resized(network, height, width):
    """The same network on another image."""
    return Network.from_nodes({"input": (3, height, width)}, network.nodes, network.outputs)


def fits(network, scenario, budget):
    """Whether it is a network and fits."""
    try:
        return profile(network, scenario).peak <= budget
    except ShapeError:
        return False


@settings(max_examples=30)
@given(st.lists(LAYERS, min_size=1, max_size=3), SCENARIOS, st.integers(1_000, 200_000), st.sampled_from([None, 0, 1]))
def test_the_largest_input_is_what_a_scan_finds(layers, scenario, budget, axis):
    network = Net.input(3, 160, 80).then(*layers).network

    def sized(size):
        return resized(network, size if axis != 1 else 160, {None: max(1, size // 2), 0: 80, 1: size}[axis])

    found = max_input_size(network, budget, scenario, axis=axis)
    # The input alone takes 3 * height * width * 4 bytes of two samples: with 200 kB no size of 200 fits, whatever the axis.
    scan = [size for size in range(1, 200) if fits(sized(size), scenario, budget)]
    if scan:
        assert found.value == scan[-1]
        assert found.peak == profile(sized(found.value), scenario).peak <= budget
        assert found.apply().inputs[0].shape == found.input_shapes[0] == sized(found.value).inputs[0].shape
        assert found.successor_peak == profile(sized(found.successor), scenario).peak > budget
        first, last = found.verified
        assert first <= found.value < found.successor <= last
    else:
        assert (found.value, found.peak, found.network, found.input_shapes) == (0, None, None, ())
        with pytest.raises(InvalidValueError, match="nothing fits: got a limit of 0"):
            found.apply()


def test_sizes_that_make_no_network_are_skipped():
    # Down by 8 and up again: the concatenation needs sizes that 8 divides.
    down = Block(MaxPool(8), Conv(4, 1), ConvTranspose(4, 8, stride=8))
    net = Net.input(3, 64, 64).residual(down, merge=Concat())
    found = net.max_input_size("1 MB", Inference())
    assert found.value % 8 == 0
    assert found.successor == found.value + 8
    assert net.profile(Inference()).peak <= 10**6
    assert fits(resized(net.network, found.value, found.value), Inference(), 10**6)
    assert not fits(resized(net.network, found.successor, found.successor), Inference(), 10**6)


def test_the_successor_is_looked_for_far_away():
    # Only multiples of 128 make a network.
    down = Block(AvgPool(128), ConvTranspose(3, 128, stride=128))
    net = Net.input(3, 128, 128).residual(down, merge=Add())
    found = net.max_input_size("3 MB", Inference())
    assert (found.value, found.successor) == (256, 384)


def test_a_budget_for_nothing():
    found = max_input_size(CHAIN, 100, Inference())
    assert found.value == 0
    assert found.successor is not None
    assert found.successor_peak > 100


def test_a_hole_below_the_limit_is_said():
    """A factory that needs more for one value in the middle."""

    def make(number):
        return Net.input(3, 8, 8).then(Conv(1000 if number == 7 else number, 3))

    found = largest(make, 60_000, Inference())
    scan = [number for number in range(1, 1000) if make(number).profile(Inference()).peak <= 60_000]
    assert found.value == scan[-1] > 7
    assert found.monotone is (7 not in range(found.verified[0], found.verified[1]))
    assert largest(lambda number: make(number + 7), 60_000, Inference()).monotone


def test_a_value_that_fits_behind_one_that_does_not_is_found():
    """Needs that go up and down: the next few values are all measured, so the larger one wins."""

    def make(number):
        return Net.input(3, 8, 8).then(Conv(4 * number if number % 2 else 2 * number, 3))

    found = largest(make, 30_000, Inference())
    scan = [number for number in range(1, 500) if make(number).profile(Inference()).peak <= 30_000]
    assert found.value == scan[-1]
    assert found.value - 1 not in scan
    assert not found.monotone


def test_halving_that_stops_too_early_is_corrected():
    """11 needs much, 12 little, and from 13 on everything needs much: halving from 11 finds 10."""

    def make(number):
        return Net.input(3, 8, 8).then(Conv(number if number < 11 or number == 12 else 100 + number, 3))

    found = largest(make, 10_000, Inference(), start=11)
    assert (found.value, found.successor, found.monotone) == (12, 13, False)


def test_bounds_are_kept():
    def make(number):
        return Net.input(3, 8, 8).then(Conv(number, 3))

    assert largest(make, "1 GiB", Inference(), most=50).value == 50
    assert largest(make, "1 GiB", Inference(), most=50).successor is None
    assert largest(make, 100, Inference(), least=5, start=9).value == 0
    assert largest(make, 5_000, Inference(), start=999).value == largest(make, 5_000, Inference()).value
    assert largest(make, 5_000, Inference(), start=9, least=9).value in {0, largest(make, 5_000, Inference()).value}


def test_with_an_allocator_what_it_reserves_counts():
    scenario = Inference(allocator=CachingAllocator())
    found = largest(lambda number: Net.input(3, 64, 64).then(Conv(number, 3)), "5 MiB", scenario)
    made = found.apply()
    assert found.peak == profile(made, scenario).reserved <= 5 * 2**20
    assert found.successor_peak > 5 * 2**20


@settings(max_examples=15)
@given(st.integers(1, 6), st.integers(50_000, 1_000_000))
def test_the_largest_width_is_what_a_scan_finds(step, budget):
    scenario = Training(2)
    found = max_width(CHAIN, budget, scenario, step=step)
    # at 20 times the width two samples of 160 x 32 x 32 numbers take 1.3 MB alone
    scan = [k for k in range(1, 20 * step) if fits(with_width(CHAIN, Fraction(k, step)), scenario, budget)]
    assert found.value == (Fraction(scan[-1], step) if scan else 0)
    if scan:
        assert found.successor == found.value + Fraction(1, step)
        assert found.apply() == with_width(CHAIN, found.value)


@settings(max_examples=15)
@given(st.integers(1, 5), st.integers(50_000, 300_000))
def test_the_largest_depth_is_what_a_scan_finds(now, budget):
    start, unit, scenario = Net.input(8, 16, 16), Block(Conv(8, 3, padding=1), ReLU()), Training(2)
    net = start.repeat(unit, now, name="stage")
    found = net.max_depth(budget, scenario, "stage")
    # The forward pass alone keeps two samples of 8 x 16 x 16 numbers a repeat, 16 KiB: 30 do not fit in 300 kB.
    scan = [times for times in range(1, 30) if start.repeat(unit, times, name="stage").profile(scenario).peak <= budget]
    assert found.value == (scan[-1] if scan else 0)
    if scan:
        assert found.apply().network == start.repeat(unit, found.value, name="stage").network


def test_a_net_gives_nets():
    net = Net.input(3, 16, 16).then(Conv(8, 3), Conv(8, 3))
    assert isinstance(net.max_input_size("1 MB", Inference()).apply(), Net)
    assert isinstance(net.max_width("1 MB", Inference()).apply(), Net)
    assert isinstance(max_input_size(net.network, "1 MB", Inference()).apply(), Network)


def test_several_inputs_are_scaled_together():
    net = Net.inputs(image=(3, 32, 32), small=(3, 8, 16), line=(4,)).then(Conv(4, 3))
    found = net.max_input_size("100 kB", Inference())
    image, small, line = found.input_shapes
    assert small == (3, found.value * 8 // 32, found.value * 16 // 32)
    assert image == (3, found.value, found.value)
    assert line == (4,)


DENSE = Net.input(10).then(Linear(4)).network
FLAT = Net.input(3, 8, 8).then(Conv(8, 3), Flatten(), Linear(2)).network


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: max_input_size(DENSE, 1000, Inference()), InvalidValueError, "this input has no spatial axes"),
        (lambda: max_input_size(CHAIN, 1000, Inference(), axis=2), InvalidValueError, "axis is out of range: got 2"),
        (lambda: max_input_size(CHAIN, float("nan"), Inference()), InvalidTypeError, "got nan"),
        (lambda: max_input_size(CHAIN, "RTX 4091", Inference()), UnknownNameError, "did you mean 'RTX 4090'"),
        (lambda: max_input_size(CHAIN, 1000, Inference), InvalidTypeError, r"call it: Inference\(\)"),
        (lambda: max_input_size(3, 1000, Inference()), InvalidTypeError, r"max_input_size\(\) takes a network"),
        (lambda: max_width(DENSE, 1000, Inference()), InvalidValueError, "no layer can change its width"),
        (lambda: max_width(CHAIN, 1000, Inference(), step=0), InvalidValueError, "step is out of range"),
        (lambda: max_depth(CHAIN, 1000, Inference(), "stage"), UnknownNameError, "no block is repeated"),
        (lambda: largest(3, 1000, Inference()), InvalidTypeError, r"largest\(\) takes a factory: got 3"),
        (lambda: largest(lambda n: n, 1000, Inference()), InvalidTypeError, "the factory of a limit takes a network"),
        (lambda: largest(lambda n: FLAT, 1000, Training), InvalidTypeError, r"call it: Training\(\)"),
        (
            lambda: largest(lambda n: FLAT, 1000, Inference(), least=3, most=2),
            InvalidValueError,
            "most is out of range",
        ),
        (lambda: largest(lambda n: FLAT, 1000, Inference(), start=0), InvalidValueError, "start is out of range"),
    ],
)
def test_bad_questions(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_a_factory_that_makes_no_network_at_all_says_why():
    with pytest.raises(ShapeError, match="Conv: the window is larger"):
        largest(lambda number: Net.input(3, 8, 8).then(Conv(4, 99)), "1 MiB", Inference())


def test_the_largest_batch_of_a_device():
    net = Net.input(3, 100, 100).then(ReLU())
    assert net.max_batch("RP2040", Inference()) == 264 * 1024 // (2 * 4 * 3 * 100 * 100) == 1
    assert max_batch(net.network, "T4", Inference()) == 2**34 // 240_000
    with pytest.raises(UnknownNameError, match="did you mean 'T4'"):
        net.max_batch("T44", Inference())


@pytest.mark.parametrize("budget", [60_000, 250_000, 1_000_000])
@pytest.mark.parametrize(
    "scenario",
    [
        Training(4, retention=Autograd(), optimizer="adam", order="optimal", precision="AMP_FP16"),
        Training(4, retention=Checkpoint.optimal("300 KB")),
        Training(4, retention=Checkpoint.optimal("300 KB"), devices=2, accumulate=2),
        Training(4, retention=Offload(least=20_000)),
    ],
)
def test_the_largest_batch_has_a_plan_of_its_own(scenario, budget):
    """The schedule of another batch says nothing: its lines reached beyond what can be planned."""
    net = Net.input(3, 16, 16).then(*[Conv(4, 3, padding=1), ReLU()] * 4, Flatten(), Linear(10))

    def fits(batch):
        try:
            return net.profile(scenario.evolve(batch=batch)).peak <= budget
        except InvalidValueError:
            return False

    found = net.max_batch(budget, scenario)
    assert found == max([batch for batch in range(1, 120) if fits(batch)], default=0)
    if found and not isinstance(scenario.retention, Checkpoint):  # which cannot plan for 116
        assert net.fit(budget, scenario.evolve(batch=116), allow={SmallerBatch}).best.scenario.batch == found
    with pytest.raises(InvalidTypeError, match=r"call it: Training\(\)"):
        net.max_batch(budget, Training)


def test_a_factory_that_raises_something_else_is_not_hushed_up():
    with pytest.raises(ZeroDivisionError):
        largest(lambda number: 1 // 0, 1000, Inference())


def test_a_factory_that_refuses_some_values():
    def make(number):
        if number % 3:
            raise InvalidValueError("not a multiple of 3")
        return Net.input(3, 8, 8).then(Conv(number, 3))

    found = largest(make, 5_000, Inference())
    scan = [number for number in range(3, 300, 3) if make(number).profile(Inference()).peak <= 5_000]
    assert (found.value, found.successor) == (scan[-1], scan[-1] + 3)


def test_no_axis_grows_beyond_what_a_network_may_have():
    # the second axis, 1,000 times the first, may have 2**31 - 1 positions
    found = max_input_size(Net.input(1, 1, 1000).then(ReLU()).network, "1000000 EB", Inference())
    assert (found.value, found.successor) == ((2**31 - 1) // 1000, None)


def test_values_that_begin_far_from_the_start():
    def make(number):
        if number < 3000:
            raise InvalidValueError("too small")
        return Net.input(3, 8, 8).then(Conv(number, 3))

    found = largest(make, "1 MB", Inference())
    # 3*8*8 numbers, of each map 6*6, 27 weights and a bias: 4 * (192 + 64 * maps) bytes
    assert found.value == (250_000 - 192) // 64
    assert largest(make, "1 kB", Inference()).value == 0
