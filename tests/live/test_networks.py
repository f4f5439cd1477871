"""Random networks, built in PyTorch as well: shapes, parameters, buffers and multiply-accumulates of every node."""

from math import prod

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnbudget import Input, Layer, Net, Network, Node, costs
from cnnbudget.testing import families, graphs, strategies

torch = pytest.importorskip("torch")

from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from cnnbudget.interop.torch.rules import RULES  # noqa: E402

from .interpreter import module_of, own_modules, run  # noqa: E402

pytestmark = [pytest.mark.live, pytest.mark.filterwarnings("ignore:Using padding='same'")]

BATCH = 2
SMALL = 200_000  # elements of all values and parameters: what may be computed on the CPU


def inputs_of(network: Network, device: str = "meta") -> list["torch.Tensor"]:
    generator = torch.Generator(device="cpu").manual_seed(0)
    return [
        torch.empty(BATCH, *source.shape, device=device)
        if device == "meta"
        else torch.randn(BATCH, *source.shape, generator=generator)
        for source in network.inputs
    ]


def named(tensors) -> dict[str, tuple[int, ...]]:
    return {name.rpartition(".")[2]: tuple(tensor.shape) for name, tensor in tensors}


def compare(network: Network) -> None:
    """Everything that both sides can say of every node, without computing a value."""
    table, module = costs(network), module_of(network)
    modules = own_modules(module)
    for cost in table:
        own = modules.get(cost.name)
        parameters = {} if own is None else named(own.named_parameters())
        buffers = {} if own is None else named(own.named_buffers())
        assert dict(cost.parameters) == parameters, cost
        assert {name: spec.shape for name, spec in cost.buffers} == buffers, cost
        if own is not None and cost.parameter_count is not None:
            assert cost.parameter_count == sum(parameter.numel() for parameter in own.parameters())
    assert table.parameter_count == sum(parameter.numel() for parameter in module.parameters())
    assert table.buffer_count == sum(buffer.numel() for buffer in module.buffers())

    shapes: dict[str, tuple[int, ...]] = {}
    flops: dict[str, int] = {}
    so_far = 0

    def see(name: str, value: "torch.Tensor") -> None:
        nonlocal so_far
        shapes[name] = tuple(value.shape)
        flops[name], so_far = counter.get_total_flops() - so_far, counter.get_total_flops()

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        outputs = run(module, *inputs_of(network), seen=see)
    for cost in table:
        assert shapes[cost.name] == (BATCH, *cost.output_shape), cost
        assert flops[cost.name] == 2 * BATCH * cost.macs, cost
    assert [tuple(value.shape[1:]) for value in outputs] == [table[name].output_shape for name in network.outputs]
    assert so_far == 2 * BATCH * table.mac_count


def is_small(network: Network) -> bool:
    table = costs(network)
    # a layer may unroll its windows
    return table.parameter_count + sum(spec.element_count for spec in table.specs.values()) + table.mac_count < SMALL


def computed(module: "torch.nn.Module") -> list["torch.Tensor"]:
    with torch.no_grad():
        return run(module, *inputs_of(module.network, "cpu"))


@given(graphs.graphs())
def test_graphs(net: Net) -> None:
    compare(net.network)


@given(graphs.graphs(levels=0, max_parts=12))
def test_long_chains(net: Net) -> None:
    compare(net.network)


@given(strategies.networks())
def test_sequential_networks(net: Net) -> None:
    compare(net.network)


@given(graphs.graphs() | strategies.networks())
def test_small_ones_compute_what_the_shapes_say(net: Net) -> None:
    network = net.network
    if not is_small(network):
        return
    table, module, shapes = costs(network), module_of(network, "cpu"), {}
    with torch.no_grad():
        run(module, *inputs_of(network, "cpu"), seen=lambda name, value: shapes.update({name: tuple(value.shape)}))
    assert shapes == {cost.name: (BATCH, *cost.output_shape) for cost in table}


def out_of_place(layer: Layer) -> Layer:
    return layer.evolve(inplace=False) if getattr(layer, "inplace", False) else layer


@given(graphs.graphs() | strategies.networks())
def test_what_may_work_in_place_computes_the_same(net: Net) -> None:
    network = net.network
    if not is_small(network) or not any(getattr(node.layer, "inplace", False) for node in network.nodes):
        return
    apart = attrs.evolve(network, nodes=[attrs.evolve(node, layer=out_of_place(node.layer)) for node in network.nodes])
    for mine, theirs in zip(computed(module_of(network, "cpu")), computed(module_of(apart, "cpu")), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0, equal_nan=True)


@given(graphs.graphs() | strategies.networks())
def test_autograd_has_all_that_it_saved(net: Net) -> None:
    """PyTorch refuses to go backward where an in-place layer has overwritten what was saved: what we allow, it must."""
    network = net.network
    if not is_small(network):
        return
    module = module_of(network, "cpu").train()
    outputs = [value for value in run(module, *inputs_of(network, "cpu")) if value.requires_grad]
    if outputs:
        sum(value.sum() for value in outputs).backward()
    table = costs(network)
    trained = [name for name, own in own_modules(module).items() if any(p.grad is not None for p in own.parameters())]
    assert all(table[name].parameters for name in trained)


@pytest.mark.parametrize("kind", families.KINDS, ids=lambda kind: kind.__name__)
def test_every_layer(kind: type[Layer]) -> None:
    shapes = strategies.shapes().filter(lambda shape: prod(shape[1:]) > 1)

    @given(shapes.flatmap(lambda shape: st.tuples(st.just(shape), families.all_layers(shape, [kind]), st.booleans())))
    def check(drawn: tuple[tuple[int, ...], Layer, bool]) -> None:
        shape, layer, inplace = drawn
        if inplace and kind in families.INPLACE:
            layer = layer.evolve(inplace=True)
        compare(Net.input(*shape).then(layer).network)

    check()


@given(strategies.shapes().flatmap(lambda shape: st.tuples(st.just(shape), families.merges(shape))))
def test_every_merge(drawn: tuple[tuple[int, ...], tuple[Layer, tuple[tuple[int, ...], ...]]]) -> None:
    shape, (layer, others) = drawn
    sources = [Input(f"x{number}", each) for number, each in enumerate((shape, *others))]
    compare(Network(sources, [Node("merge", layer, [source.name for source in sources])], ["merge"]))


def test_there_is_a_rule_for_every_layer() -> None:
    assert {*families.KINDS} <= {*RULES}
