"""Orders and arenas of networks: the planners' problems, and what becomes of their plans."""

import pickle
from itertools import permutations

import pytest

from cnnbudget import (
    Adam,
    Add,
    Arena,
    Autograd,
    Block,
    Branch,
    Bytes,
    Concat,
    Conv,
    Flatten,
    FreeAfterUse,
    Inference,
    Input,
    InvalidValueError,
    Linear,
    MaxPool,
    Net,
    Network,
    Node,
    ReLU,
    Split,
    Training,
    costs,
    profile,
)
from cnnbudget.analysis.storage import sharing
from cnnbudget.memory.elide import elidable_parts
from cnnbudget.memory.order import in_order, order_problem, plan_order, reorder_network
from cnnbudget.planning.order import least_peak_order
from cnnbudget.planning.referee import least_peak_by_trying
from cnnbudget.testing import check_policy

# Two ways of three maps, each wide in the middle: 8 -> 32 -> 1 maps of 16 values. Written side by side, both wide maps are alive at
# once; one after the other, one wide map and the narrow end of the other way are.
WAYS = Network(
    [Input("x", (8, 4, 4))],
    [
        Node("a1", Conv(32, 1), ["x"]),
        Node("b1", Conv(32, 1), ["x"]),
        Node("a2", Conv(1, 1), ["a1"]),
        Node("b2", Conv(1, 1), ["b1"]),
        Node("sum", Add(), ["a2", "b2"]),
    ],
    ["sum"],
)


def test_a_better_order_is_found_and_proved() -> None:
    fixed = 4 * (2 * (8 * 32 + 32) + 2 * (32 + 1))
    given, best = profile(WAYS, Inference()), profile(WAYS, Inference(order="optimal"))
    # a1, b1 and a2 are alive in the given order; in the best, x, a1 and b1's place: x and b1 beside a2 at the most.
    assert given.peak - fixed == 4 * 16 * (8 + 32 + 32)
    assert best.peak - fixed == 4 * 16 * (8 + 32 + 1)
    assert best.order is not None
    assert best.order.optimal
    assert best.order.value == best.order.lower_bound == best.peak - fixed
    assert given.order is None
    names = [step.node for step in best.steps if step.node]
    assert sorted(names) == sorted(node.name for node in WAYS.nodes)
    again = reorder_network(WAYS, best.lifetimes.schedule)
    assert profile(again, Inference()).peak == best.peak
    assert [node.name for node in again.nodes] == names


def test_the_problem_of_a_schedule() -> None:
    schedule = profile(WAYS, Inference()).lifetimes.schedule
    dag = order_problem(schedule, 2)
    # load, a1, b1, a2, b2, sum; storages x, a1, b1, a2, b2, sum
    assert dag.sizes == tuple(2 * 64 * maps for maps in (8, 32, 32, 1, 1, 1))
    assert dag.touches == ((0,), (0, 1), (0, 2), (1, 3), (2, 4), (3, 4, 5))
    assert dag.after == ((), (0,), (0,), (1,), (2,), (3, 4))
    assert dag.held == {5}
    assert plan_order(schedule, 2).value == least_peak_by_trying(dag)
    assert in_order(schedule, (0, 1, 3, 2, 4, 5)).steps[2].node == "a2"


def test_what_overwrites_comes_after_all_who_need_the_old_value() -> None:
    network = Network(
        [Input("x", (2, 4))],
        [
            Node("conv", Conv(2, 1), ["x"]),
            Node("pool", MaxPool(2), ["conv"]),
            Node("relu", ReLU(inplace=True), ["conv"]),
            Node("flat", Flatten(), ["relu"]),
        ],
        ["flat", "pool"],
    )
    dag = order_problem(profile(network, Inference()).lifetimes.schedule, 1)
    assert dag.after == ((), (0,), (1,), (1, 2), (1, 3))


def test_training_updates_early() -> None:
    # Nothing but parameters matters: each gradient (100 x 100) can go before the next one comes.
    net = Net.input(100).then(Linear(100, bias=False), Linear(100, bias=False), Linear(100, bias=False))
    scenario = Training(1, retention=Autograd(), loss="mse")
    given, best = net.profile(scenario), net.profile(scenario.evolve(order="optimal"))
    assert given.peak - best.peak > 4 * 100 * 100
    assert best.order is not None
    assert best.order.optimal
    updates = [step.node for step in best.steps if step.phase.value == "update"]
    assert sorted(str(name) for name in updates) == ["linear", "linear2", "linear3"]
    adam = net.profile(scenario.evolve(order="optimal", optimizer=Adam(implementation="loop")))
    # Two moments and a counter for every parameter, and the temporaries of one of them at a time.
    assert adam.peak - best.peak >= 2 * 3 * 40_000 + 3 * 4


def test_the_frames_of_an_eager_execution_fix_its_order() -> None:
    with pytest.raises(InvalidValueError, match=r"Inference\.order does not go with its frames.*fix its order"):
        Inference(order="optimal", frames="eager")
    with pytest.raises(InvalidValueError, match=r"Training\.order .*'optimum'.*did you mean 'optimal'"):
        Training(order="optimum")


def test_orders_of_small_networks_are_those_of_trying_all() -> None:
    net = Net.input(2, 4, 4).branch(Conv(8, 1), Conv(2, 3, padding=1), MaxPool(3, stride=1, padding=1)).then(Conv(1, 1))
    dag = order_problem(net.profile(Inference()).lifetimes.schedule, 3)
    assert least_peak_order(dag).value == least_peak_by_trying(dag)


# Arenas -------------------------------------------------------------------------------------------------------------


def test_an_arena_of_a_chain() -> None:
    # 3 maps, 8, 1 of 100 values, rounded up to 1024: 2048, 4096, 1024. The middle one lies beside either neighbour.
    net = Net.input(3, 10, 10).then(Conv(8, 1, bias=False), Conv(1, 1, bias=False))
    found = net.profile(Inference(allocator=Arena(alignment=1024))).allocation
    apart = 4 * (24 + 8)
    assert found.load == found.height == 2048 + 4096
    assert found.packing.optimal
    assert found.reserved_peak == apart + 6144
    assert found.allocated_peak == apart + 6144
    assert found.requested_peak == net.profile(Inference()).peak
    assert list(found.segments) == [apart, 6144]
    offsets = net.profile(Inference(allocator=Arena(alignment=1024))).offsets
    with pytest.raises(InvalidValueError, match=r"there are no offsets without an arena.*expected allocator=Arena"):
        net.profile(Inference()).offsets
    assert set(offsets) == {"input", "conv", "conv2"}
    assert abs(offsets["conv"] - offsets["input"]) in {2048, 4096}
    assert all(offset % 1024 == 0 for offset in offsets.values())


def test_greedy_arenas_are_never_lower() -> None:
    net = Net.input(4, 8, 8).then(Conv(4, 3, padding=1)).branch(Conv(8, 1), Conv(2, 1), merge=Concat()).then(Conv(9, 1))
    exact, greedy = (net.profile(Inference(allocator=Arena(greedy=choice))).allocation for choice in (False, True))
    assert exact.height <= greedy.height
    assert exact.height >= exact.load
    assert "greedy" in greedy.packing.method


def test_nothing_to_lay_out() -> None:
    report = Arena().replay([0], [1], [10], 1, first=[0])
    assert (report.height, report.load, report.offsets) == (0, 0, {})
    assert report.reserved_peak == Bytes(10)


def test_an_arena_without_parameters_is_all_there_is() -> None:
    found = Net.input(4, 8, 8).then(ReLU()).profile(Inference(allocator=Arena(alignment=1)))
    assert found.allocation.segments == (2048,)
    assert "Arena: 2.00 KiB allocated, 2.00 KiB reserved (modelled)" in str(found)


def test_bad_arenas() -> None:
    with pytest.raises(InvalidValueError, match=r"Arena\.alignment is no power of two: got 48"):
        Arena(alignment=48)
    with pytest.raises(InvalidValueError, match=r"Arena\.alignment"):
        Arena(alignment=0)


def test_arenas_are_values() -> None:
    assert pickle.loads(pickle.dumps(Arena(16))) == Arena(16) != Arena(32)
    assert repr(Arena(16, greedy=True)) == "Arena(16, greedy=True)"


def test_the_largest_batch_of_an_arena_fits_and_the_next_does_not() -> None:
    net = Net.input(3, 10, 10).then(Conv(8, 1), Conv(1, 1))
    found = net.profile(Inference(retention=FreeAfterUse(), allocator=Arena(alignment=4096)))
    batch = found.max_batch("100 KiB")
    fits, next_one = (
        net.profile(Inference(each, allocator=Arena(alignment=4096))).reserved for each in (batch, batch + 1)
    )
    assert fits <= 100 * 1024 < next_one


# Concatenation in place ---------------------------------------------------------------------------------------------


def test_parts_are_written_into_the_whole() -> None:
    # Maps of 64 values: 3, then 4 and 2 beside each other, then 6 of both.
    net = Net.input(3, 8, 8).branch(Conv(4, 1), Conv(2, 1)).then(Conv(1, 1))
    copied = net.profile(Inference())
    elided = net.profile(Inference(retention=FreeAfterUse(concat_in_place=True)))
    assert copied.activation_peak == 4 * 64 * (4 + 2 + 6)
    assert elided.activation_peak == 4 * 64 * (3 + 6)
    assert [s.name for s in elided.lifetimes.schedule.storages if not s.persistent] == ["input", "concat", "conv3"]


def test_wholes_within_wholes() -> None:
    net = Net.input(3, 8, 8).branch(Conv(4, 1), Block(Branch(Conv(2, 1), Conv(2, 1)))).then(Conv(1, 1))
    elided = net.profile(Inference(retention=FreeAfterUse(concat_in_place=True)))
    assert elided.activation_peak == 4 * 64 * (3 + 8)


def test_what_is_needed_elsewhere_stays_apart() -> None:
    layer = Conv(2, 1)
    network = Network(
        [Input("x", (2, 8, 8))],
        [
            Node("twice", layer, ["x"]),
            Node("two", layer, ["x"]),
            Node("first", Concat(), ["twice", "two", "two"]),
            Node("second", Concat(), ["twice", "x"]),
            Node("half", Split(2, 0), ["second"]),
            Node("third", Concat(), ["half", "first"]),
            Node("late", layer, ["x"]),
            Node("fourth", Concat(), ["late", "x"]),
            Node("relu", ReLU(inplace=True), ["late"]),
        ],
        ["third", "fourth", "relu"],
    )
    table = costs(network)
    # twice is in two, two comes twice, half is a part, and late is overwritten after it was copied.
    assert elidable_parts(table, sharing(table, training=False)) == {"first": "third"}
    plain = profile(network, Inference(retention=FreeAfterUse(concat_in_place=True)))
    assert plain.peak < profile(network, Inference()).peak


def test_without_a_concatenation_nothing_changes() -> None:
    policy = FreeAfterUse(concat_in_place=True)
    assert profile(WAYS, Inference()).peak == profile(WAYS, Inference(retention=policy)).peak
    check_policy(FreeAfterUse(temporaries=False))


def test_a_net_in_the_best_order() -> None:
    net = Net.from_network(WAYS)
    again = net.reordered()
    assert (
        again.profile(Inference()).peak == net.profile(Inference(order="optimal")).peak < net.profile(Inference()).peak
    )
    assert {node.name: node.layer for node in again.network.nodes} == {node.name: node.layer for node in WAYS.nodes}
    assert again.parameter_count == net.parameter_count


def test_parameters_that_are_shared_go_to_whoever_comes_first() -> None:
    # What "a" leaves waits as long as 200 maps are there, if it runs before "b", whose parameters are its own.
    network = Network(
        [Input("x", (1, 4, 4))],
        [
            Node("p", Conv(8, 1), ["x"]),
            Node("a", Conv(8, 1), ["p"]),
            Node("na", Conv(64, 1), ["a"]),
            Node("q", Conv(8, 1), ["x"]),
            Node("b", Conv(8, 1), ["q"], shares="a"),
            Node("wb", Conv(200, 1), ["b"]),
            Node("nb", Conv(1, 1), ["wb"]),
            Node("end", Concat(), ["na", "nb"]),
        ],
        ["end"],
    )
    net, scenario = Net.from_network(network), Inference(retention=FreeAfterUse(temporaries=False))
    again = net.reordered(scenario)
    nodes = {node.name: node for node in again.network.nodes}
    assert list(nodes).index("b") < list(nodes).index("a")
    assert (nodes["b"].shares, nodes["a"].shares) == (None, "b")
    assert again.parameter_count == net.parameter_count
    # The input, 8 and 200 maps of 16 values of 4 bytes.
    assert again.profile(scenario).activation_peak == (1 + 8 + 200) * 64


def test_a_concatenation_in_place_makes_no_reader_of_a_part_wait_for_the_others() -> None:
    # Nor does the concatenation wait for "reader", without which the input can go before there is what "reader" makes.
    nodes = [
        Node("first", Conv(2, 1), ["x"]),
        Node("reader", Conv(8, 1), ["first"]),
        Node("both", Concat(), ["first", "x"]),
    ]
    scenario = Inference(retention=FreeAfterUse(concat_in_place=True))
    given, planned = set(), set()
    for order in permutations(nodes):
        made = {"x"}
        for node in order:
            if not made.issuperset(node.inputs):
                break
            made.add(node.name)
        else:
            network = Network([Input("x", (4, 4, 4))], list(order), ["both", "reader"])
            given.add(profile(network, scenario).peak)
            best = profile(network, scenario.evolve(order="optimal"))
            assert best.order is not None
            assert best.order.optimal
            planned.add(best.peak)
    assert len(given) > 1
    assert planned == {min(given)}


def test_a_part_that_is_read_after_the_whole_was_overwritten_is_copied() -> None:
    nodes = [
        Node("spoilt", Conv(4, 1), ["x"]),
        Node("fine", Conv(4, 1), ["x"]),
        Node("both", Concat(), ["spoilt", "fine"]),
        Node("over", ReLU(inplace=True), ["both"]),
        Node("reader", Conv(1, 1), ["spoilt"]),
        Node("end", Concat(), ["over", "reader"]),
    ]
    table = costs(Network([Input("x", (2, 4, 4))], nodes, ["end"]))
    assert elidable_parts(table, sharing(table, training=False)) == {"fine": "both", "both": "end", "reader": "end"}
    # An output is read when all is done.
    table = costs(Network([Input("x", (2, 4, 4))], nodes[:4], ["over", "spoilt"]))
    assert elidable_parts(table, sharing(table, training=False)) == {"fine": "both"}
    # Read before, it may lie there; then whoever overwrites the whole waits for its reader, also in the best order.
    early = [*nodes[:3], nodes[4], nodes[3], nodes[5]]
    network = Network([Input("x", (2, 4, 4))], early, ["end"])
    scenario = Inference(retention=FreeAfterUse(concat_in_place=True), order="optimal")
    steps = [step.node for step in profile(network, scenario).steps]
    assert steps.index("reader") < steps.index("over")
