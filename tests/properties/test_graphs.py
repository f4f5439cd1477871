"""What is true of every graph in every scenario (DESIGN, section 5), on random graphs of every built-in layer."""

import pickle
import sys
from collections.abc import Callable
from math import prod

import attrs
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

import cnnbudget
from cnnbudget import (
    FP32,
    Add,
    Block,
    Branch,
    FreeAfterUse,
    Gradient,
    Inference,
    Input,
    Join,
    KeepAll,
    Layer,
    MemoryProfile,
    Net,
    Network,
    Node,
    Output,
    Precision,
    Repeat,
    Role,
    Scenario,
    TensorSpec,
    Training,
    Visitor,
    costs,
    profile,
    rename,
    specs,
    subnetwork,
    walk,
)
from cnnbudget.analysis.storage import sharing
from cnnbudget.testing import check_layer, families, graphs, strategies

NETS = graphs.graphs()
SCENARIOS = strategies.scenarios()
# repr round trips need the name of every layer, public yet or not
NAMES = {name: getattr(cnnbudget, name) for name in cnnbudget.__all__} | {
    kind.__name__: kind for kind in families.KINDS
}


# Shapes and costs ---------------------------------------------------------------------------------------------------


def shapes_by_recursion(network: Network) -> dict[str, TensorSpec]:
    """Every value asks its layer, which asks for its inputs, down to the inputs of the network."""
    known = {source.name: TensorSpec(source.shape) for source in network.inputs}

    def spec(name: str) -> TensorSpec:
        if name not in known:
            (node,) = (node for node in network.nodes if node.name == name)
            known[name] = node.layer.infer(tuple(spec(value) for value in node.inputs))
        return known[name]

    for node in reversed(network.nodes):
        spec(node.name)
    return known


class Longest(Visitor[int]):
    """How many layers lie on the longest way from an input."""

    def start(self, source: object) -> int:
        return 0

    def visit(self, use: cnnbudget.Use[int]) -> int:
        return 1 + max(use.results)


@given(NETS)
def test_the_walk_is_a_recursion_over_the_values(net: Net) -> None:
    network = net.network
    expected = shapes_by_recursion(network)
    assert specs(network) == dict(net.costs().specs) == expected
    assert net.output_shape == expected[network.outputs[0]].shape
    inputs = {source.name for source in network.inputs}

    def longest(name: str) -> int:
        return 0 if name in inputs else found[name]

    found: dict[str, int] = {}
    for node in network.nodes:
        found[node.name] = 1 + max(longest(name) for name in node.inputs)
    assert walk(network, Longest()) == dict.fromkeys(inputs, 0) | found


@given(NETS)
def test_shared_parameters_count_once(net: Net) -> None:
    network, table = net.network, net.costs()
    counted: dict[str, int] = {}
    buffers: dict[str, int] = {}
    known = specs(network)
    for node in network.nodes:
        inputs = tuple(known[name] for name in node.inputs)
        owner = node.shares or node.name
        shapes = node.layer.parameters(inputs).values()
        assert counted.setdefault(owner, sum(map(prod, shapes))) == sum(map(prod, shapes))
        stated = node.layer.buffers(inputs).values()
        buffers[owner] = sum(spec.element_count if isinstance(spec, TensorSpec) else prod(spec) for spec in stated)
        if node.shares:
            assert table[node.name].parameters == table[node.name].buffers == ()
    assert table.parameter_count == sum(counted.values())
    assert table.buffer_count == sum(buffers.values())
    apart = costs(attrs.evolve(network, nodes=[attrs.evolve(node, shares=None) for node in network.nodes]))
    assert table.parameter_count <= apart.parameter_count
    assert table.mac_count == apart.mac_count
    held = [
        storage
        for storage in net.profile(Training()).lifetimes.schedule.storages
        if storage.role is Role.PARAMETER_GRADIENT
    ]
    assert sum(storage.fixed for storage in held) <= table.parameter_count


# The peak, by counting sets -------------------------------------------------------------------------------------------


def owners(network: Network, *, training: bool) -> dict[str, str]:
    """The value whose bytes each value uses."""
    known = shapes_by_recursion(network)
    mine = {source.name: source.name for source in network.inputs}
    for node in network.nodes:
        alias = node.layer.alias(tuple(known[name] for name in node.inputs), known[node.name], training=training)
        mine[node.name] = node.name if alias is None else mine[node.inputs[alias.input]]
    return mine


class Counter:
    """Says which storages every step touches, and then who is alive: from the first touch to the last, each of them once."""

    def __init__(self, network: Network, batch: int, precision: Precision, *, training: bool) -> None:
        self.network, self.batch, self.precision, self.training = network, batch, precision, training
        self.known = shapes_by_recursion(network)
        self.owner = owners(network, training=training)
        self.steps: list[set[tuple[str, str]]] = []
        self.sizes: dict[tuple[str, str], int] = {}
        self.persistent = 0
        for node in network.nodes:
            inputs = self.inputs(node)
            if node.shares is None:
                self.persistent += sum(
                    self.bytes(TensorSpec(s, Role.PARAMETER, batched=False)) for s in self.owned(node)
                )
                for stated in node.layer.buffers(inputs).values():
                    spec = stated if isinstance(stated, TensorSpec) else TensorSpec(stated, Role.BUFFER, batched=False)
                    self.persistent += self.bytes(spec)

    def inputs(self, node: Node) -> tuple[TensorSpec, ...]:
        return tuple(self.known[name] for name in node.inputs)

    def owned(self, node: Node) -> list[tuple[int, ...]]:
        return list(node.layer.parameters(self.inputs(node)).values())

    def bytes(self, spec: TensorSpec, role: Role | None = None) -> int:
        dtype = self.precision[role or spec.role] if spec.dtype is None else spec.dtype
        return -(-prod(spec.shape) * (self.batch if spec.batched else 1) * dtype.bits // 8)

    def value(self, name: str) -> tuple[str, str]:
        item = ("value", self.owner[name])
        self.sizes[item] = self.bytes(self.known[self.owner[name]])
        return item

    def extras(self, node: Node) -> set[tuple[str, str]]:
        found = node.layer.extras(self.inputs(node), self.known[node.name]) if self.training else {}
        for name, spec in found.items():
            self.sizes[f"{node.name} keeps", name] = self.bytes(spec)
        return {(f"{node.name} keeps", name) for name in found}

    def on_the_way(self, node: Node) -> set[tuple[str, str]]:
        output = self.known[node.name]
        found = node.layer.temporaries(self.inputs(node), output, training=self.training)
        for name, spec in found.items():
            self.sizes[f"{node.name} needs", name] = self.bytes(spec, Role.ACTIVATION)
        return {(f"{node.name} needs", name) for name in found}

    def forward(self) -> None:
        self.steps.append({self.value(source.name) for source in self.network.inputs})
        for node in self.network.nodes:
            touched = {self.value(name) for name in (node.name, *node.inputs)} | self.extras(node)
            self.steps.append(touched | self.on_the_way(node))

    def touch_at_the_end(self, items: set[tuple[str, str]]) -> None:
        self.steps[-1] |= items

    def live(self) -> list[int]:
        bounds: dict[tuple[str, str], list[int]] = {}
        for now, items in enumerate(self.steps):
            for item in items:
                bounds.setdefault(item, []).append(now)
        return [
            self.persistent + sum(self.sizes[item] for item, when in bounds.items() if when[0] <= now <= when[-1])
            for now in range(len(self.steps))
        ]


@given(NETS, st.integers(1, 40), strategies.precisions(), st.booleans())
def test_inference_is_a_count_of_what_is_still_read(net: Net, batch: int, precision: Precision, hold: bool) -> None:
    network = net.network
    count = Counter(network, batch, precision, training=False)
    count.forward()
    count.touch_at_the_end({count.value(name) for name in network.outputs})
    if hold:
        count.touch_at_the_end({count.value(source.name) for source in network.inputs})
    found = net.profile(Inference(batch, precision=precision, retention=FreeAfterUse(hold_input=hold)))
    assert list(found.live_bytes) == count.live()
    assert found.peak == max(count.live())


@given(NETS, st.integers(1, 40), strategies.precisions(), st.booleans())
def test_a_forward_pass_that_frees_nothing_is_a_sum(net: Net, batch: int, precision: Precision, training: bool) -> None:
    count = Counter(net.network, batch, precision, training=training)
    count.forward()
    on_the_way = {item for item in set().union(*count.steps) if item[0].endswith(" needs")}
    count.touch_at_the_end(set().union(*count.steps) - on_the_way)
    scenario = Training if training else Inference
    found = net.profile(scenario(batch, precision=precision, retention=KeepAll(gradients=False)))
    assert list(found.live_bytes) == count.live()
    if not on_the_way:
        assert found.peak == found.live_bytes[-1] == count.persistent + sum(count.sizes.values())


class Gradients(Counter):
    """The textbook's training with its backward pass: who has a gradient, and whose bytes it lies in."""

    def __init__(self, network: Network, batch: int, precision: Precision) -> None:
        super().__init__(network, batch, precision, training=True)
        self.trained: dict[str, bool] = {source.name: False for source in network.inputs}
        for node in network.nodes:
            self.trained[node.name] = bool(self.owned(node)) or any(self.trained[name] for name in node.inputs)
        self.gradient_of: dict[str, tuple[str, str]] = {}
        self.waiting: dict[tuple[str, str], list[str]] = {}  # the values whose gradient lies there
        self.looks: set[str] = set()  # the values whose gradient is a view
        self.parts: dict[str, set[tuple[str, str]]] = {}

    def new(self, name: str) -> tuple[str, str]:
        item = (f"gradient {len(self.sizes)}", name)
        self.sizes[item] = self.bytes(attrs.evolve(self.known[name], role=Role.ACTIVATION_GRADIENT))
        return item

    def leave(self, name: str, item: tuple[str, str]) -> None:
        self.gradient_of[name] = item
        self.waiting.setdefault(item, []).append(name)

    def gradient(self, name: str) -> tuple[str, str]:
        if name not in self.gradient_of:
            self.leave(name, self.new(name))
        return self.gradient_of[name]

    def backward(self) -> None:
        outputs = self.network.outputs
        values = {self.value(name) for name in outputs}
        self.steps.append(values | {self.gradient(name) for name in outputs if self.trained[name]})
        update = set()
        for node in reversed(self.network.nodes):
            touched = {self.value(name) for name in (node.name, *node.inputs)} | self.extras(node)
            sums: list[set[tuple[str, str]]] = []
            if node.name in self.gradient_of:
                own = self.gradient_of[node.name]
                touched.add(own)
                for number, name in enumerate(node.inputs):
                    if self.trained[name]:
                        self.pass_through(node, number, touched, sums)
                wanted = tuple(self.trained[name] for name in node.inputs)
                stated = node.layer.backward_temporaries(self.inputs(node), self.known[node.name], needs=wanted)
                for word, spec in stated.items():
                    self.sizes[f"{node.name} backward", word] = self.bytes(spec, Role.WORKSPACE)
                    touched.add((f"{node.name} backward", word))
                self.waiting[own].remove(node.name)
                owner = node.shares or node.name
                for number, shape in enumerate(self.owned(node)):
                    item = (f"{owner} learns", str(number))
                    self.sizes[item] = self.bytes(TensorSpec(shape, Role.PARAMETER_GRADIENT, batched=False))
                    touched.add(item)
                    update.add(item)
            self.steps += [touched, *sums]
        self.steps.append(update)

    def pass_through(
        self, node: Node, number: int, touched: set[tuple[str, str]], sums: list[set[tuple[str, str]]]
    ) -> None:
        """What a node's step does for one of its inputs: it begins a gradient, adds to one, or makes a sum of its own."""
        name, own = node.inputs[number], self.gradient_of[node.name]
        where = node.layer.gradients(self.inputs(node), self.known[node.name])[number]
        passed_on = where in {Gradient.SAME, Gradient.VIEW}
        if name not in self.gradient_of:
            self.leave(name, own if passed_on else self.new(name))
            touched.add(self.gradient_of[name])
            if where is Gradient.VIEW or (where is Gradient.SAME and node.name in self.looks):
                self.looks.add(name)
            if where is Gradient.PART:
                self.parts[name] = {own}
            return
        old = self.gradient_of[name]
        if where is Gradient.PART and name in self.parts:
            self.parts[name].add(own)
            touched |= {old, *self.parts[name]}
            return
        others = [value for value in self.waiting[old] if value != name]
        if not passed_on and node.name in others:
            others.remove(node.name)  # the step's own gradient is gone when the sum is made
        if not others and self.waiting[old].count(name) == 1 and name not in self.looks:
            if old == own and not passed_on:  # what is read cannot be added to at once
                contribution = self.new(name)
                touched.add(contribution)
                sums.append({contribution, old})
            touched.add(old)
            return
        contribution = own if passed_on else self.new(name)
        touched.add(contribution)
        self.waiting[old].remove(name)
        self.looks.discard(name)
        self.leave(name, self.new(name))
        sums.append({old, contribution, self.gradient_of[name]})


@given(NETS, st.integers(1, 40), strategies.precisions())
def test_backward_is_a_count_of_values_and_gradients(net: Net, batch: int, precision: Precision) -> None:
    count = Gradients(net.network, batch, precision)
    count.forward()
    count.backward()
    assert list(net.profile(Training(batch, precision=precision)).live_bytes) == count.live()


@given(NETS, SCENARIOS)
def test_the_peak_lies_between_the_largest_storage_and_the_sum(net: Net, scenario: Scenario) -> None:
    found = net.profile(scenario)
    sizes = [storage.byte_count(scenario.device_batch) for storage in found.lifetimes.schedule.storages]
    assert max(sizes) <= found.peak <= sum(sizes)
    assert sum(storage.size for storage in found.at_peak) == found.peak == sum(found.by_role.values())
    assert len({storage.name for storage in found.at_peak}) == len(found.at_peak)


@given(NETS, SCENARIOS)
def test_live_bytes_are_affine_in_the_batch_and_grow(net: Net, scenario: Scenario) -> None:
    one, two, three, ten = (net.profile(scenario.evolve(batch=batch, devices=1)) for batch in (1, 2, 3, 10))
    for at_one, at_two, at_three, at_ten in zip(*(each.live_bytes for each in (one, two, three, ten)), strict=True):
        assert at_two - at_one == at_three - at_two >= 0
        assert at_ten == at_one + 9 * (at_two - at_one)
    assert one.peak < two.peak < three.peak < ten.peak
    assert two.peak - one.peak <= three.peak - two.peak


@given(NETS, st.integers(1, 64), strategies.precisions())
def test_keeping_all_takes_no_less_than_freeing(net: Net, batch: int, precision: Precision) -> None:
    def peak(kind: Callable[..., Scenario], policy: object) -> int:
        return net.profile(kind(batch, precision=precision, retention=policy)).peak

    least = peak(Inference, FreeAfterUse())
    held = peak(Inference, FreeAfterUse(hold_input=True))
    forward = peak(Inference, KeepAll(gradients=False))
    textbook = peak(Training, KeepAll(gradients=False))
    assert least <= held <= forward <= textbook <= peak(Training, KeepAll())


@given(NETS, SCENARIOS)
def test_working_in_place_never_raises_the_peak(net: Net, scenario: Scenario) -> None:
    network = net.network
    table = costs(network)
    owners = sharing(table, training=scenario.trains).owners
    if any(table.specs[name].element_count < table.specs[owner].element_count for name, owner in owners.items()):
        event("a part")  # who works in place on a part of a value keeps the whole
        return
    apart = attrs.evolve(network, nodes=[attrs.evolve(node, layer=out_of_place(node.layer)) for node in network.nodes])
    found, without = profile(network, scenario), profile(apart, scenario)
    assert found.peak <= without.peak
    assert found.activation_peak <= without.activation_peak
    assert all(less <= more for less, more in zip(found.live_bytes, without.live_bytes, strict=True))


def out_of_place(layer: Layer) -> Layer:
    return layer.evolve(inplace=False) if getattr(layer, "inplace", False) else layer


# Names, orders, values --------------------------------------------------------------------------------------------------


def facts(found: MemoryProfile) -> object:
    storages = [attrs.evolve(storage, name="") for storage in found.lifetimes.schedule.storages]
    return found.live_bytes, found.peak_index, found.lifetimes.births, found.lifetimes.deaths, storages


@given(NETS, SCENARIOS, st.randoms(use_true_random=False))
def test_renaming_changes_nothing_but_names(net: Net, scenario: Scenario, random) -> None:
    network, scenario = net.network, scenario.evolve(frames="ideal")  # frames are those of the names' scopes
    old = [source.name for source in network.inputs] + [node.name for node in network.nodes]
    new = [f"n{number}/{number}" for number in range(len(old))]
    random.shuffle(new)
    other = rename(network, dict(zip(old, new, strict=True)))
    assert rename(other, dict(zip(new, old, strict=True))) == network
    for cost, twin in zip(net.costs(), costs(other), strict=True):
        assert attrs.evolve(cost, node=twin.node) == twin
        assert cost.node.layer == twin.node.layer
    assert facts(profile(network, scenario)) == facts(profile(other, scenario))


@given(NETS, SCENARIOS)
def test_plain_data_make_the_same_network(net: Net, scenario: Scenario) -> None:
    network = net.network
    shapes = {source.name: list(source.shape) for source in network.inputs}
    nodes = [
        node if node.shares else (node.name, node.layer, list(node.inputs))  # both forms are legal
        for node in network.nodes
    ]
    other = Network.from_nodes(shapes, nodes, list(network.outputs))
    assert other == network
    assert hash(other) == hash(network)
    assert costs(other) == net.costs()
    assert profile(other, scenario) == net.profile(scenario)


@given(graphs.graphs(inplace=False), st.integers(1, 40), st.data())
def test_another_legal_order_changes_no_cost_but_the_peak(net: Net, batch: int, data: st.DataObject) -> None:
    network = net.network
    waiting = list(network.nodes)
    done = {source.name for source in network.inputs}
    order: list[Node] = []
    while waiting:
        ready = [node for node in waiting if {*node.inputs, *([node.shares] if node.shares else [])} <= done]
        order.append(data.draw(st.sampled_from(ready)))
        waiting.remove(order[-1])
        done.add(order[-1].name)
    other = attrs.evolve(network, nodes=order)
    mine, theirs = net.costs(), costs(other)
    assert {cost.name: cost for cost in mine} == {cost.name: cost for cost in theirs}
    for question in ("parameter_count", "buffer_count", "mac_count"):
        assert getattr(mine, question) == getattr(theirs, question)
    for kind in (Inference, Training):
        keeping = kind(batch, retention=KeepAll(gradients=False))
        kept = [
            sum(
                storage.byte_count(batch)
                for storage in found.lifetimes.schedule.storages
                if storage.role is not Role.WORKSPACE
            )
            for found in (profile(network, keeping), profile(other, keeping))
        ]
        assert kept[0] == kept[1]
    freeing = Inference(batch)
    count = Counter(other, batch, FP32, training=False)
    count.forward()
    count.touch_at_the_end({count.value(name) for name in other.outputs})
    assert profile(other, freeing).peak == max(count.live())


@given(NETS)
def test_the_part_that_makes_the_outputs_is_the_whole(net: Net) -> None:
    network = net.network
    assert subnetwork(network, *network.outputs) == network


@given(NETS, st.data())
def test_a_part_costs_what_it_costs_in_the_whole(net: Net, data: st.DataObject) -> None:
    network = net.network
    last = data.draw(st.sampled_from([node.name for node in network.nodes]))
    part = subnetwork(network, last)
    assert part.outputs == (last,)
    whole = net.costs()
    for cost in costs(part):
        assert cost.output == whole[cost.name].output
        assert cost.macs == whole[cost.name].macs
    assert costs(part).parameter_count <= whole.parameter_count


@given(NETS)
def test_round_trips(net: Net) -> None:
    for value in (net, net.network, *net.network.nodes, *net._parts()):
        for copy in (pickle.loads(pickle.dumps(value)), eval(repr(value), NAMES)):
            assert copy == value
            assert hash(copy) == hash(value)
            assert repr(copy) == repr(value)
    twin = Net.from_network(net.network)
    assert (twin, hash(twin)) == (net, hash(net))
    assert eval(repr(twin), NAMES) == net


@given(NETS)
def test_one_verb_or_many_make_the_same_net(net: Net) -> None:
    (first, *further) = net.network.inputs
    start = Net.inputs(**{source.name: source.shape for source in (first, *further)})
    one_by_one = start
    for part in net._parts():
        one_by_one = one_by_one.then(part)
    assert start.then(*net._parts()) == one_by_one == net
    assert one_by_one.output_shape == net.output_shape


# What is drawn -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_graphs_have_the_rank_that_was_asked_for(rank: int) -> None:
    @given(graphs.graphs(rank, inplace=False))
    @settings(max_examples=20)
    def check(net: Net) -> None:
        assert {len(source.shape) for source in net.network.inputs} == {rank + 1}
        assert not any(getattr(node.layer, "inplace", False) for node in net.network.nodes)

    check()


@given(
    strategies.shapes().flatmap(
        lambda shape: st.tuples(st.just(shape), graphs.blocks(shape), graphs.blocks(shape, levels=0))
    )
)
def test_blocks_apply_to_their_shape(drawn: tuple[tuple[int, ...], Block, Block]) -> None:
    shape, nested, flat = drawn
    Net.input(*shape).then(cnnbudget.Identity(), nested).profile(Training())
    assert not any(isinstance(part, (Block, Branch, Repeat, Output)) for part in flat.parts)
    assert len(Net.input(*shape).then(cnnbudget.Identity(), flat).network) >= 1


def parts_of(part: object) -> list[object]:
    return [part, *(inner for each in getattr(part, "inside", tuple)() for inner in parts_of(each))]


def test_graphs_are_of_every_kind() -> None:
    layers: set[str] = set()
    kinds: set[str] = set()
    overwriting: set[str] = set()

    @given(NETS)
    @settings(max_examples=600, database=None, derandomize=True)
    def collect(net: Net) -> None:
        network = net.network
        for node in network.nodes:
            layers.add(type(node.layer).__name__)
            overwriting.update([type(node.layer).__name__] * getattr(node.layer, "inplace", False))
            kinds.update(["shares"] * (node.shares is not None))
        kinds.update(["inputs"] * (len(network.inputs) > 1) + ["outputs"] * (len(network.outputs) > 1))
        for part in (inner for each in net._parts() for inner in parts_of(each)):
            kinds.add(type(part).__name__)
            if isinstance(part, Branch):
                kinds.add("identity" if None in part.blocks else "projection")
                kinds.add(type(part.merge).__name__)
            if isinstance(part, Join):
                kinds.add(f"join by {type(part.merge).__name__}")

    collect()
    merges = {"Add", "Concat", "Multiply", "Maximum"}
    drawn = {kind.__name__ for kind in families.KINDS}
    assert layers <= drawn | merges
    assert len(layers) >= 0.9 * len(drawn)
    assert {"Add"} < overwriting <= {kind.__name__ for kind in families.INPLACE} | {"Add"}
    assert len(overwriting) >= 5
    assert kinds >= merges | {f"join by {merge}" for merge in merges}
    assert kinds >= {"Block", "Repeat", "Branch", "Tap", "Join", "At", "Output", "identity", "projection"}
    assert kinds >= {"shares", "inputs", "outputs"}


def test_every_built_in_layer_is_drawn() -> None:
    def concrete(kind: type[Layer]) -> set[type[Layer]]:
        return {kind}.union(*map(concrete, kind.__subclasses__()))

    built_in = {
        kind
        for kind in concrete(Layer)
        if kind.__module__.startswith("cnnbudget.layers.") and not kind.__name__.startswith("_")
    }
    bases = {"Layer", "StatelessLayer", "ElementwiseLayer", "WindowPool"}
    merges = {"Add", "Concat", "Multiply", "Maximum"}
    assert {kind.__name__ for kind in built_in} - bases - merges == {kind.__name__ for kind in families.KINDS}


@pytest.mark.parametrize("kind", families.KINDS, ids=lambda kind: kind.__name__)
def test_layers_apply_to_their_shape(kind: type[Layer]) -> None:
    shapes = families.shapes_for(kind, max_size=6)

    @given(shapes.flatmap(lambda shape: st.tuples(st.just(shape), families.all_layers(shape, [kind]))))
    @settings(max_examples=40)
    def check(drawn: tuple[tuple[int, ...], Layer]) -> None:
        shape, layer = drawn
        assert type(layer) is kind
        check_layer(layer, shape)
        assert min(Net.input(*shape).then(layer).output_shape) > 0
        assert eval(repr(layer), NAMES) == layer

    check()


@given(strategies.shapes().flatmap(lambda shape: st.tuples(st.just(shape), families.merges(shape))))
def test_merges_apply_to_their_shapes(drawn: tuple[tuple[int, ...], tuple[Layer, tuple[tuple[int, ...], ...]]]) -> None:
    shape, (layer, others) = drawn
    sources = [Input(f"x{number}", each) for number, each in enumerate((shape, *others))]
    names = [source.name for source in sources]
    assert costs(Network(sources, [Node("merge", layer, names)], ["merge"])).parameter_count == 0
    assert not isinstance(layer, Add) or not layer.inplace


@pytest.mark.parametrize("module", ["families", "graphs"])
def test_without_hypothesis_the_extra_is_named(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    for name in ("strategies", "families", "graphs"):
        monkeypatch.delitem(sys.modules, f"cnnbudget.testing.{name}")
    with pytest.raises(cnnbudget.MissingExtraError, match=r"pip install cnnbudget\[testing\]"):
        __import__(f"cnnbudget.testing.{module}")
