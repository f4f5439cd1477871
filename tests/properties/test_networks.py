"""What is true of every sequential network in every scenario (DESIGN, section 5), on random networks of rank 1 to 3."""

import pickle

import attrs
from hypothesis import given
from hypothesis import strategies as st

from cnnbudget import *  # noqa: F403  # repr round trips need every public name
from cnnbudget import (
    FP16,
    FP32,
    INT4,
    Adam,
    Autograd,
    CachingAllocator,
    CrossEntropy,
    DataParallel,
    DType,
    FreeAfterUse,
    Inference,
    Input,
    KeepAll,
    MemoryProfile,
    Net,
    Network,
    Precision,
    Role,
    Scenario,
    Training,
    costs,
    max_batch,
    parse_bytes,
    profile,
    specs,
)
from cnnbudget.planning.intervals import live_sizes
from cnnbudget.planning.referee import live_sizes_by_counting
from cnnbudget.testing import strategies

NETS = strategies.networks()
SCENARIOS = strategies.scenarios()
HALVED = {
    Role.PARAMETER,
    Role.ACTIVATION,
    Role.EXTRA,
    Role.ACTIVATION_GRADIENT,
    Role.PARAMETER_GRADIENT,
    Role.OPTIMIZER_STATE,
    Role.WORKSPACE,
}


# The peak ------------------------------------------------------------------------------------------------------------


@given(NETS, SCENARIOS)
def test_live_bytes_are_affine_in_the_batch_and_grow(net: Net, scenario: Scenario) -> None:
    scenario = scenario.evolve(devices=1)
    one, two, three, ten = (net.profile(scenario.evolve(batch=batch)) for batch in (1, 2, 3, 10))
    for at_one, at_two, at_three, at_ten in zip(*(each.live_bytes for each in (one, two, three, ten)), strict=True):
        assert at_two - at_one == at_three - at_two >= 0
        assert at_ten == at_one + 9 * (at_two - at_one)
    assert one.peak < two.peak < three.peak < ten.peak  # something of every batch is alive at the peak
    assert two.peak - one.peak <= three.peak - two.peak  # a maximum of affine functions is convex


@given(NETS, SCENARIOS)
def test_the_peak_lies_between_the_largest_storage_and_the_sum(net: Net, scenario: Scenario) -> None:
    found = net.profile(scenario)
    batch = -(-scenario.batch // scenario.devices.count)
    sizes = [
        -(-(storage.fixed + storage.per_sample * batch) * storage.dtype.bits // 8)
        for storage in found.lifetimes.schedule.storages
    ]
    assert max(sizes) <= found.peak <= sum(sizes)
    assert found.activation_peak <= found.peak == max(found.live_bytes) == found.live_bytes[found.peak_index]
    assert sum(storage.size for storage in found.at_peak) == found.peak == sum(found.by_role.values())


@given(NETS, st.integers(1, 64), strategies.precisions())
def test_keeping_all_takes_no_less_than_freeing(net: Net, batch: int, precision: Precision) -> None:
    def peak(kind: type[Scenario], policy: object) -> int:
        return net.profile(kind(batch, precision=precision, retention=policy)).peak

    least = peak(Inference, FreeAfterUse())
    held = peak(Inference, FreeAfterUse(hold_input=True))
    forward = peak(Inference, KeepAll(gradients=False))
    textbook = peak(Training, KeepAll(gradients=False))
    assert least <= held <= forward <= textbook <= peak(Training, KeepAll())


@given(strategies.networks(views=False, inplace=False), st.integers(1, 64), strategies.precisions())
def test_on_a_plain_chain_inference_peaks_at_the_largest_input_and_output(
    net: Net, batch: int, precision: Precision
) -> None:
    known = specs(net.network)
    width = precision[Role.ACTIVATION].bits // 8
    pairs = [known[node.inputs[0]].element_count + known[node.name].element_count for node in net.network.nodes]
    found = net.profile(Inference(batch, precision=precision, retention=FreeAfterUse(temporaries=False)))
    assert found.activation_peak == max(pairs) * batch * width
    assert found.peak == found.activation_peak + sum(
        storage.byte_count(batch) for storage in found.lifetimes.schedule.storages if storage.persistent
    )


@given(NETS, SCENARIOS)
def test_working_in_place_never_raises_the_peak(net: Net, scenario: Scenario) -> None:
    network = net.network
    apart = Network(
        network.inputs,
        [
            attrs.evolve(node, layer=node.layer.evolve(inplace=False))
            if getattr(node.layer, "inplace", False)
            else node
            for node in network.nodes
        ],
        network.outputs,
    )
    found, without = profile(network, scenario), profile(apart, scenario)
    assert found.peak <= without.peak
    assert found.activation_peak <= without.activation_peak


@given(NETS, SCENARIOS)
def test_lifetimes_are_those_of_a_patient_reader(net: Net, scenario: Scenario) -> None:
    lifetimes = net.profile(scenario).lifetimes
    schedule = lifetimes.schedule
    for number, storage in enumerate(schedule.storages):
        touched = [now for now, step in enumerate(schedule.steps) if number in {*step.reads, *step.writes, *step.holds}]
        written = [now for now, step in enumerate(schedule.steps) if number in step.writes]
        first = 0 if storage.persistent else written[0]
        last = len(schedule.steps) - 1 if storage.persistent or number in schedule.held else touched[-1]
        assert (lifetimes.births[number], lifetimes.deaths[number]) == (first, last + 1), storage


@given(NETS, SCENARIOS)
def test_the_sweep_line_agrees_with_the_referee(net: Net, scenario: Scenario) -> None:
    found = net.profile(scenario)
    lifetimes, batch = found.lifetimes, scenario.device_batch
    storages, steps = lifetimes.schedule.storages, len(lifetimes.schedule.steps)
    sizes = [storage.byte_count(batch) for storage in storages]
    assert list(found.live_bytes) == live_sizes_by_counting(lifetimes.births, lifetimes.deaths, sizes, steps)
    timeline = found.timeline
    assert timeline.live.tolist() == list(found.live_bytes)
    assert sum(timeline.by_role.values()).tolist() == list(found.live_bytes)


@given(
    st.integers(1, 12).flatmap(
        lambda steps: st.tuples(
            st.just(steps),
            st.lists(st.tuples(st.integers(0, steps - 1), st.integers(1, steps), st.integers(0, 2**80)), max_size=12),
        )
    )
)
def test_the_sweep_line_on_any_intervals(case: tuple[int, list[tuple[int, int, int]]]) -> None:
    steps, drawn = case
    births = [birth for birth, _, _ in drawn]
    deaths = [max(birth + 1, death) for birth, death, _ in drawn]
    sizes = [size for _, _, size in drawn]
    assert live_sizes(births, deaths, sizes, steps) == live_sizes_by_counting(births, deaths, sizes, steps)


# Precision, devices, budgets ---------------------------------------------------------------------------------------


@given(NETS, SCENARIOS)
def test_16_bits_halve_what_can_be_halved_and_nothing_else(net: Net, scenario: Scenario) -> None:
    wide = net.profile(scenario.evolve(precision=FP32))
    narrow = net.profile(scenario.evolve(precision=FP16))
    own = {  # a mask, an index or a statistic states its own width
        f"{cost.name}.{name}"
        for cost in net.costs()
        for stated in (
            cost.node.layer.extras(cost.inputs, cost.output),
            cost.node.layer.temporaries(cost.inputs, cost.output, training=scenario.trains),
        )
        for name, spec in stated.items()
        if spec.dtype is not None
    } | {
        f"{cost.name}.{name}.backward"
        for cost in net.costs()
        for name, spec in cost.node.layer.backward_temporaries(
            cost.inputs, cost.output, needs=(True,) * len(cost.inputs)
        ).items()
        if spec.dtype is not None
    }
    if getattr(scenario, "loss", None) == CrossEntropy():  # class numbers are 64 bits wide
        own |= {f"{name}.target" for name in net.network.outputs}
    if isinstance(scenario, Training) and scenario.optimizer == Adam():  # steps are counted in 32 bits
        own |= {storage.name for storage in wide.lifetimes.schedule.storages if storage.name.endswith(".step")}
    batch = scenario.device_batch
    pairs = zip(wide.lifetimes.schedule.storages, narrow.lifetimes.schedule.storages, strict=True)
    expected: dict[Role, int] = {}
    for before, after in pairs:
        assert before.name == after.name
        halves = before.role in HALVED and before.name not in own
        assert before.byte_count(batch) == (2 if halves else 1) * after.byte_count(batch), before
        expected[before.role] = expected.get(before.role, 0) + before.byte_count(batch)
    assert {Role.ACTIVATION} <= {*expected} <= HALVED | {Role.BUFFER}
    stated = {each.role for each in wide.lifetimes.schedule.storages if each.name in own}
    for role in {*expected} - {Role.BUFFER, Role.EXTRA, Role.WORKSPACE} - stated:
        assert (wide.timeline.by_role[role] == 2 * narrow.timeline.by_role[role]).all()
    assert narrow.peak <= wide.peak <= 2 * narrow.peak


@given(NETS, SCENARIOS, st.integers(1, 8))
def test_every_device_has_the_network_and_a_share_of_the_batch(net: Net, scenario: Scenario, count: int) -> None:
    share = (scenario.batch + count - 1) // count
    split = net.profile(scenario.evolve(devices=DataParallel(count)))
    assert split.live_bytes == net.profile(scenario.evolve(batch=share, devices=1)).live_bytes
    assert split.peak <= net.profile(scenario.evolve(devices=1)).peak


PRECISIONS = strategies.precisions() | st.sampled_from(
    [Precision("INT4", INT4), Precision("3 bits", DType("int3", 3), {Role.BUFFER: INT4})]
)


@given(NETS, SCENARIOS, PRECISIONS, st.data())
def test_the_largest_batch_fits_and_its_successor_does_not(
    net: Net, scenario: Scenario, precision: Precision, data: st.DataObject
) -> None:
    scenario = scenario.evolve(precision=precision)
    one = net.profile(scenario.evolve(batch=1, devices=1)).peak
    budget = data.draw(st.integers(max(1, one // 2), 40 * one))
    batch = net.max_batch(budget, scenario)
    assert batch == max_batch(net.network, budget, scenario)
    if batch == 0:
        assert one > budget
    else:
        assert net.profile(scenario.evolve(batch=batch)).peak <= budget
    assert net.profile(scenario.evolve(batch=batch + 1)).peak > budget


@given(NETS, SCENARIOS)
def test_a_budget_of_exactly_the_peak_fits(net: Net, scenario: Scenario) -> None:
    found = net.profile(scenario)
    assert found.max_batch(found.peak) >= scenario.batch
    below = net.max_batch(found.peak - 1, scenario)
    assert below < scenario.batch or below == 0


# Training as PyTorch does it ----------------------------------------------------------------------------------------

TRAININGS = strategies.scenarios(training=True)


@given(NETS, SCENARIOS, st.lists(st.integers(1, 300), max_size=8))
def test_peaks_are_those_of_profiles(net: Net, scenario: Scenario, batches: list[int]) -> None:
    found = net.profile(scenario).peaks(batches)
    assert found.tolist() == [net.profile(scenario.evolve(batch=batch)).peak for batch in batches]


@given(NETS, SCENARIOS, st.integers(1, 10**9))
def test_the_envelope_is_the_highest_of_all_lines(net: Net, scenario: Scenario, batch: int) -> None:
    lifetimes = net.profile(scenario).lifetimes
    highest = max(fixed + slope * batch for fixed, slope in lifetimes.bits)
    starts = [start for start, _, _ in lifetimes.envelope]
    assert starts == sorted({*starts})
    assert starts[0] == 0
    *_, (_, fixed, slope) = (line for line in lifetimes.envelope if line[0] <= batch)
    assert fixed + slope * batch == highest


@given(NETS, SCENARIOS)
def test_frames_never_lower_anything(net: Net, scenario: Scenario) -> None:
    ideal, eager = (net.profile(scenario.evolve(frames=frames)) for frames in ("ideal", "eager"))
    assert ideal.peak <= eager.peak
    assert ideal.retained == eager.retained


@given(NETS, TRAININGS)
def test_frozen_layers_keep_less(net: Net, scenario: Training) -> None:
    names = [node.name for node in net.network.nodes]
    found = [
        net.profile(scenario.evolve(frozen=frozen)) for frozen in (None, lambda node: node.name in names[::2], "*")
    ]
    retained = [each.retained for each in found]
    assert retained == sorted(retained, reverse=True)
    trained = [
        sum(each.fixed for each in profiled.lifetimes.schedule.storages if each.role is Role.OPTIMIZER_STATE)
        for profiled in found
    ]
    assert trained == sorted(trained, reverse=True)
    assert trained[-1] == 0
    if isinstance(scenario.retention, Autograd):
        assert found[-1].retained == 0


@given(NETS, TRAININGS)
def test_sums_in_place_take_no_more(net: Net, scenario: Training) -> None:
    in_place, apart = (
        net.profile(scenario.evolve(retention=Autograd(sums_in_place=in_place))) for in_place in (True, False)
    )
    assert in_place.peak <= apart.peak
    assert in_place.retained == apart.retained


@given(NETS, TRAININGS)
def test_gradients_that_stay_take_no_less(net: Net, scenario: Training) -> None:
    gone, stays = (net.profile(scenario.evolve(zero_grad=word)) for word in ("none", "zero"))
    assert gone.peak <= stays.peak
    assert gone.retained == stays.retained


@given(NETS, TRAININGS, st.integers(1, 5))
def test_parts_of_a_batch_are_smaller_batches(net: Net, scenario: Training, parts: int) -> None:
    scenario = scenario.evolve(batch=parts * scenario.batch, devices=1)
    split = net.profile(scenario.evolve(accumulate=parts))
    share = scenario.evolve(batch=scenario.batch // parts, zero_grad="zero" if parts > 1 else scenario.zero_grad)
    assert split.live_bytes == net.profile(share).live_bytes
    assert split.max_batch(split.peak) >= scenario.batch


@given(NETS, SCENARIOS)
def test_a_peak_is_taken_apart(net: Net, scenario: Scenario) -> None:
    found = net.profile(scenario)
    layers = found.by_layer()
    assert sum(size for roles in layers.values() for size in roles.values()) == found.peak
    for role, size in found.by_role.items():
        assert sum(roles.get(role, 0) for roles in layers.values()) == size
    for storage in found.at_peak:
        born, dies = storage.steps
        assert born <= found.peak_index < dies
        assert storage.producer in {None, found.steps[born]}
        assert storage.last_reader in {None, found.steps[dies - 1]}
    assert found.why().startswith(f"The peak of {found.peak} is reached")


@given(NETS, SCENARIOS)
def test_an_allocator_gives_out_no_less_than_the_peak(net: Net, scenario: Scenario) -> None:
    found = net.profile(scenario.evolve(allocator=CachingAllocator()))
    assert found.peak <= found.allocated <= found.reserved
    assert net.profile(scenario).reserved == net.profile(scenario).allocated == found.peak


# Names ------------------------------------------------------------------------------------------------------------


def renamed(network: Network) -> Network:
    names = {source.name: f"x{number}" for number, source in enumerate(network.inputs)}
    names |= {node.name: f"n{number}/{number}" for number, node in enumerate(network.nodes)}
    return Network(
        [Input(names[source.name], source.shape) for source in network.inputs],
        [attrs.evolve(node, name=names[node.name], inputs=[names[n] for n in node.inputs]) for node in network.nodes],
        [names[name] for name in network.outputs],
    )


def facts(found: MemoryProfile) -> object:
    storages = [attrs.evolve(storage, name="") for storage in found.lifetimes.schedule.storages]
    return found.live_bytes, found.peak_index, found.lifetimes.births, found.lifetimes.deaths, storages


@given(NETS, SCENARIOS)
def test_renaming_changes_nothing(net: Net, scenario: Scenario) -> None:
    scenario = scenario.evolve(frames="ideal")  # frames are those of the names' scopes
    other = renamed(net.network)
    assert {*net.network._positions}.isdisjoint(other._positions)
    mine, theirs = net.costs(), costs(other)
    for question in ("parameter_count", "buffer_count", "mac_count"):
        assert getattr(mine, question) == getattr(theirs, question)
    for cost, twin in zip(mine, theirs, strict=True):
        assert attrs.evolve(cost, node=twin.node) == twin
    assert facts(profile(net.network, scenario)) == facts(profile(other, scenario))


@given(NETS)
def test_names_are_unique(net: Net) -> None:
    names = [net.network.inputs[0].name, *(node.name for node in net.network.nodes)]
    assert len(names) == len({*names})


@given(st.lists(NETS, min_size=2, max_size=4), st.data())
def test_names_do_not_depend_on_what_was_built_before(nets: list[Net], data: st.DataObject) -> None:
    names = {repr(net): [node.name for node in net.network.nodes] for net in nets}
    for text in data.draw(st.permutations(sorted(names))):
        again = eval(text)
        assert [node.name for node in again.network.nodes] == names[text]


@given(NETS)
def test_a_net_that_grows_keeps_its_names(net: Net) -> None:
    (source,) = net.network.inputs
    growing = Net.input(*source.shape, name=source.name)
    for part in net._parts():
        growing = growing.then(part)
        assert growing.network.nodes == net.network.nodes[: len(growing.network)]
    assert len(growing.network) == len(net.network)


@given(NETS)
def test_one_verb_or_many_make_the_same_net(net: Net) -> None:
    (source,) = net.network.inputs
    start = Net.input(*source.shape, name=source.name)
    at_once = start.then(*net._parts())
    one_by_one = start
    for part in net._parts():
        one_by_one = one_by_one.then(part)
    assert at_once == one_by_one == net
    assert at_once.output_shape == one_by_one.output_shape == net.output_shape == net.costs().nodes[-1].output_shape


# Values -----------------------------------------------------------------------------------------------------------


@given(NETS, SCENARIOS)
def test_round_trips(net: Net, scenario: Scenario) -> None:
    for value in (net, net.network, *net.network.nodes, *net._parts(), scenario, scenario.retention):
        for copy in (pickle.loads(pickle.dumps(value)), eval(repr(value))):
            assert copy == value
            assert hash(copy) == hash(value)
            assert repr(copy) == repr(value)
            assert copy.__class__ is value.__class__
    twin = Net.from_network(net.network)
    assert twin == net
    assert hash(twin) == hash(net)
    assert eval(repr(twin)) == net
    assert pickle.loads(pickle.dumps(twin)) == net


@given(NETS, SCENARIOS)
def test_results_pickle(net: Net, scenario: Scenario) -> None:
    found = net.profile(scenario)
    copy = pickle.loads(pickle.dumps(found))
    assert copy == found
    assert str(copy) == str(found)
    assert copy.rows() == found.rows()
    assert pickle.loads(pickle.dumps(net.costs())) == net.costs()


@given(NETS, SCENARIOS)
def test_evolve_without_a_change_is_equal(net: Net, scenario: Scenario) -> None:
    for value in (net.network, *net.network.nodes, scenario, scenario.retention, scenario.precision, scenario.devices):
        assert attrs.evolve(value) == value
    for value in (scenario, *(node.layer for node in net.network.nodes)):
        assert value.evolve() == value
        assert hash(value.evolve()) == hash(value)


@given(NETS, NETS)
def test_equal_means_the_same_network(net: Net, other: Net) -> None:
    assert (net == other) == (net.network == other.network)
    assert net != net.then(Softmax())  # noqa: F405
    assert net != net.network


@given(NETS, SCENARIOS)
def test_everything_prints(net: Net, scenario: Scenario) -> None:
    found = net.profile(scenario)
    assert f"{found.peak:,} bytes" in str(found)
    assert str(found.peak_step) in str(found)
    for shown in (net, net.costs(), net.summary(), found, net.dense_equivalent()):
        assert len(str(shown)) > 10
        assert shown._repr_html_().startswith("<")
    assert parse_bytes(int(found.peak)) == found.peak
