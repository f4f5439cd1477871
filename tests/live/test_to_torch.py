"""``to_torch``: its scopes, what is alive while they run, its names, its rules, and that it can be trained."""

import copy
import io
import pickle
import re
import weakref

import acme_layers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnbudget import (
    Add,
    AvgPool,
    BatchNorm,
    Block,
    ConformanceError,
    Conv,
    ConvTranspose,
    Dropout,
    DropPath,
    Identity,
    Input,
    InvalidTypeError,
    InvalidValueError,
    Linear,
    LocallyConnected,
    LPPool,
    MaxPool,
    MissingRuleError,
    Net,
    Network,
    Node,
    ReLU,
    Scale,
    ShapeError,
    costs,
    zoo,
)
from cnnbudget.testing import graphs

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from cnnbudget.interop import to_torch  # noqa: E402

from .interpreter import module_of, run  # noqa: E402
from .test_networks import inputs_of, is_small  # noqa: E402

pytestmark = [pytest.mark.live, pytest.mark.filterwarnings("ignore:Using padding='same'")]


def one(layer, *shape):
    return to_torch(Net.input(*shape).then(layer)).modules_by_node


# What a scope is.


def test_scopes_are_modules_and_names_are_keys():
    module = to_torch(zoo.resnet18())
    block = module.get_submodule("layer2.0")
    assert [name for name, _ in block.named_children()][:3] == ["conv", "batch_norm", "relu"]
    assert type(block.conv) is nn.Conv2d
    assert "layer2.0.conv.weight" in module.state_dict()
    first = [name for name, _ in module.named_parameters()][:3]  # in the order of execution
    assert first == ["conv.weight", "batch_norm.weight", "batch_norm.bias"]


def test_a_scope_is_called_with_what_it_reads_and_returns_what_is_needed_outside():
    nodes = [
        Node("first", Conv(4, 1), ["x"]),
        Node("s/a", ReLU(), ["first"]),
        Node("s/t/b", Conv(4, 1), ["s/a"]),
        Node("s/t/c", Add(), ["s/t/b", "x"]),
        Node("s/d", Add(), ["s/t/c", "s/a"]),
        Node("last", Add(), ["s/d", "s/t/b"]),
    ]
    module = module_of(Network([Input("x", (4, 8, 8))], nodes, ["last"]), "cpu")
    calls = {}
    for path in ("s", "s.t"):
        hook = lambda called, args, value, path=path: calls.update({path: (args, value)})  # noqa: E731
        module.get_submodule(path).register_forward_hook(hook)
    values = {}
    run(module, torch.ones(1, 4, 8, 8), seen=lambda name, value: values.update({name: value}))
    args, value = calls["s"]
    assert [each.data_ptr() for each in args[:1]] == [values["first"].data_ptr()]
    assert len(args) == 2
    assert value[0] is values["s/t/b"]
    assert value[1] is values["s/d"]
    args, value = calls["s.t"]
    assert args[0] is values["s/a"]
    assert value == (values["s/t/b"], values["s/t/c"])


@given(graphs.graphs(), st.booleans())
def test_it_computes_what_its_layers_compute_one_after_the_other(net, flat):
    network = net.network
    if not is_small(network):
        return
    module, inputs = module_of(network, "cpu", flat=flat), inputs_of(network, "cpu")
    values = {source.name: value.clone() for source, value in zip(network.inputs, inputs, strict=True)}
    with torch.no_grad():
        for node in network.nodes:
            values[node.name] = module.modules_by_node[node.name](*(values[name] for name in node.inputs))
        found = run(module, *inputs)
    for mine, name in zip(found, network.outputs, strict=True):
        torch.testing.assert_close(mine, values[name], rtol=0, atol=0, equal_nan=True)


@given(graphs.graphs())
def test_flat_or_not_it_has_the_same_state(net):
    scoped, flat = module_of(net.network), module_of(net.network, flat=True)
    assert list(scoped.state_dict()) == list(flat.state_dict())
    assert [name for name, _ in scoped.named_modules()] == [name for name, _ in flat.named_modules()]


# What is alive.


def alive_by_hand(network, *, flat):
    """Which values must be alive when a node has run, as sets of names; the inputs, which the caller holds, always."""
    made = {source.name: -1 for source in network.inputs} | {node.name: i for i, node in enumerate(network.nodes)}
    last = dict(made)
    for i, node in enumerate(network.nodes):
        last |= dict.fromkeys(node.inputs, i)
    last |= dict.fromkeys(network.outputs, len(made))
    scopes = [re.split("[/.]+", node.name)[:-1] for node in network.nodes]
    for i in range(len(network.nodes)):
        needed = {source.name for source in network.inputs}
        needed |= {name for name in made if made[name] <= i <= last[name]}
        for depth in range(1, 0 if flat else len(scopes[i]) + 1):  # what the call of every scope around it was given
            start = end = i
            while start and scopes[start - 1][:depth] == scopes[i][:depth]:
                start -= 1
            while end + 1 < len(scopes) and scopes[end + 1][:depth] == scopes[i][:depth]:
                end += 1
            read = {name for node in network.nodes[start : end + 1] for name in node.inputs}
            needed |= {name for name in read if made[name] < start}
        yield needed


def check_alive(network, *, flat):
    module = module_of(network, "cpu", flat=flat)
    inputs = inputs_of(network, "cpu")
    expected = alive_by_hand(network, flat=flat)
    values = {source.name: weakref.ref(value) for source, value in zip(network.inputs, inputs, strict=True)}

    def see(name, value):
        values[name] = weakref.ref(value)
        needed = next(expected)
        kept = [values[each]() for each in needed]
        assert all(each is not None for each in kept), (name, needed)
        for each, reference in values.items():  # a layer that does nothing returns its input itself
            assert each in needed or reference() is None or any(reference() is other for other in kept), (name, each)

    with torch.inference_mode():  # elsewhere a view holds what it looks at
        run(module, *inputs, seen=see)
    assert next(expected, None) is None


@given(graphs.graphs(inplace=False), st.booleans())
def test_no_value_lives_longer_than_it_must(net, flat):
    if is_small(net.network):
        check_alive(net.network, flat=flat)


@given(st.data())
def test_nor_in_scopes_that_do_not_stand_together(data):
    """Any names on any graph: scopes are entered again and again, within others."""
    words = st.lists(st.sampled_from("ab"), min_size=0, max_size=3)
    names, nodes = ["x"], []
    for number in range(data.draw(st.integers(1, 12))):
        scopes = data.draw(words)
        joined = "".join(f"{scope}{data.draw(st.sampled_from('/.'))}" for scope in scopes)
        reads = data.draw(st.lists(st.sampled_from(names), min_size=2, max_size=3))
        nodes.append(Node(f"{joined}n{number}", Add(), reads))
        names.append(nodes[-1].name)
    outputs = data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
    network = Network([Input("x", (1, 1))], nodes, outputs)
    for flat in (False, True):
        check_alive(network, flat=flat)
    counts = {"x": 1}
    for node in nodes:
        counts[node.name] = sum(counts[name] for name in node.inputs)
    found = to_torch(network)(torch.ones(1, 1, 1, dtype=torch.float64))
    found = found if isinstance(found, tuple) else (found,)
    assert [int(value) for value in found] == [counts[name] for name in outputs]


# Names.


def test_names_that_a_module_cannot_have():
    names = ["train", "forward", "a", "a/b", "a..c", ".", "weird name/é", "runs", "a.b.c", "network/x"]
    nodes = [Node(name, Scale(), [before]) for name, before in zip(names, ["x", *names], strict=False)]
    module = to_torch(Network([Input("x", (2, 3))], nodes, [names[-1]]))
    assert list(module.state_dict()) == [
        *("train2.weight", "forward2.weight", "a.weight", "a2.b.weight", "a2.c.weight", "a2.b2.c.weight"),
        *("_.weight", "weird name.é.weight", "runs2.weight", "network2.x.weight"),
    ]
    assert module.train() is module
    assert module(torch.ones(1, 2, 3)).sum() == 6


def test_very_deep_scopes_end_in_one_name():
    name = "/".join(["s"] * 400)
    module = to_torch(Network([Input("x", (2, 3))], [Node(name, Scale(), ["x"])], [name]))
    (key,) = module.state_dict()
    assert key == f"{'s.' * 64}{'_'.join(['s'] * 336)}.weight"
    assert module(torch.ones(1, 2, 3)).sum() == 6


# Sharing.


def test_shared_parameters_are_one():
    net = Net.input(4, 8, 8)
    for scope in ("p3", "p4"):
        net = net.then(Block(Conv(4, 3, padding=1), BatchNorm(count_batches=True), share="head", name=scope))
    module = to_torch(net)
    assert module.p3.conv is module.p4.conv
    assert sum(parameter.numel() for parameter in module.parameters()) == net.parameter_count
    assert sum(buffer.numel() for buffer in module.buffers()) == net.buffer_count


def test_nodes_share_parameters_but_not_their_settings():
    nodes = [
        Node("near", Conv(4, 3, padding=1, bias=False), ["x"]),
        Node("far", Conv(4, 3, padding=2, dilation=2, bias=False), ["near"], shares="near"),
        Node("norm", BatchNorm(), ["far"]),
        Node("other", BatchNorm(count_batches=False, scale=True, affine=True), ["norm"], shares="norm"),
    ]
    module = to_torch(Network([Input("x", (4, 8, 8))], nodes, ["other"]))
    assert module.near is not module.far
    assert module.near.weight is module.far.weight
    assert (module.near.dilation, module.far.dilation) == ((1, 1), (2, 2))
    assert module.norm is module.other
    moved = copy.deepcopy(module)
    assert moved.near.weight is moved.far.weight is not module.near.weight


def test_nodes_that_share_buffers_but_not_settings():
    nodes = [
        Node("flat/norm", BatchNorm(), ["x"]),
        Node("next/norm", BatchNorm(), ["v"], shares="flat/norm"),
    ]
    module = to_torch(Network([Input("x", (4, 8, 8)), Input("v", (4,))], nodes, ["next/norm"]))
    first, second = module.flat.norm, module.next.norm
    assert (type(first), type(second)) == (nn.BatchNorm2d, nn.BatchNorm1d)
    assert first.running_mean is second.running_mean
    assert first.bias is second.bias


def test_parameters_that_cannot_be_shared():
    nodes = [Node("a", Conv(4, 3), ["x"]), Node("b", Conv(4, 5), ["x"], shares="a")]
    with pytest.raises(
        ConformanceError,
        match=r"cannot use.*node 'b'.*got weight \(4, 4, 3, 3\) of 'a'.*expected weight \(4, 4, 5, 5\)",
    ):
        to_torch(Network([Input("x", (4, 8, 8))], nodes, ["b"]))
    nodes = [Node("a", ReLU(), ["x"]), Node("b", Scale(), ["x"], shares="a")]
    with pytest.raises(ConformanceError, match=r"got weight missing of 'a'"):
        to_torch(Network([Input("x", (4, 8, 8))], nodes, ["b"]))


# A module like any other.


def test_it_learns():
    torch.manual_seed(0)
    net = Net.input(2, 8, 8).then(
        Block(Conv(8, 3, stride=2, padding="same"), BatchNorm(), ReLU(inplace=True), Dropout(0.1), name="stem"),
        Block(Conv(4, 4), name="head"),
    )
    module = to_torch(net)
    assert module.training
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    batch, target = torch.randn(8, 2, 8, 8), torch.randn(8, 4, 1, 1)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        losses.append(nn.functional.mse_loss(module(batch), target))
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]


def test_initial_weights_are_those_of_pytorch():
    torch.manual_seed(3)
    mine = one(Conv(8, 3, stride=2, padding="same"), 4, 9, 9)["conv"].state_dict()  # pads by itself
    torch.manual_seed(3)
    theirs = nn.Conv2d(4, 8, 3).state_dict()
    assert list(mine) == list(theirs)
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    local = one(LocallyConnected(8, 3), 4, 9, 9)["locally_connected"]
    assert 0.9 / 6 < local.weight.abs().max() <= 1 / 6  # uniform within 1 / sqrt(fan in): 4 maps of 3 x 3
    assert 0.9 / 6 < local.bias.abs().max() <= 1 / 6
    scale = one(Scale(bias=True), 4, 9, 9)["scale"]
    assert (scale.weight.tolist(), scale.bias.tolist()) == ([1] * 4, [0] * 4)


@given(graphs.graphs())
def test_copies_and_pickles(net):
    if not is_small(net.network):
        return
    module = module_of(net.network, "cpu").train()
    stored = io.BytesIO()
    torch.save(module.state_dict(), stored)
    stored.seek(0)
    loaded = to_torch(net, flat=True)
    loaded.load_state_dict(torch.load(stored, weights_only=True))
    copies = [copy.deepcopy(module), pickle.loads(pickle.dumps(module)), loaded]
    inputs = inputs_of(net.network, "cpu")
    with torch.no_grad():
        expected = run(module.eval(), *[value.clone() for value in inputs])
        for other in copies:
            assert not {*map(id, other.parameters())} & {*map(id, module.parameters())}
            for mine, theirs in zip(run(other.eval(), *[value.clone() for value in inputs]), expected, strict=True):
                torch.testing.assert_close(mine, theirs, rtol=0, atol=0, equal_nan=True)


def test_it_works_at_other_sizes():
    net = Net.input(2, 16, 16).then(
        Conv(4, 3, stride=2, padding="same"),
        MaxPool(2, stride=2, padding="same"),
        ConvTranspose(4, 3, stride=2, padding="same"),
    )
    assert to_torch(net)(torch.ones(1, 2, 33, 20)).shape == (1, 4, 18, 10)  # ceil(33 / 2) = 17, ceil(17 / 2) = 9, 9 * 2


def test_the_example_in_the_documentation():
    module = to_torch(Net.input(3, 8, 8).then(Conv(4, 3), name="stem"))
    assert list(module.state_dict()) == ["stem.conv.weight", "stem.conv.bias"]


def test_it_shows_its_layers():
    module = to_torch(Net.input(3, 8, 8).then(Block(MaxPool(2, padding="same"), name="stem")))
    assert "(stem): Scope(\n    (max_pool): MaxPool(MaxPool(2, padding='same'))" in repr(module)


# What PyTorch has no module for.


def test_averages_leave_out_the_padding_if_told():
    ones = torch.ones(1, 1, 2, 2)
    layer = AvgPool(3, stride=1, padding=((0, 1), (0, 1)))  # a 3 x 3 window that sees 2 x 2 ones
    assert one(layer, 1, 2, 2)["avg_pool"](ones).item() == pytest.approx(4 / 9)
    assert one(layer.evolve(count_include_pad=False), 1, 2, 2)["avg_pool"](ones).item() == pytest.approx(1)


def test_a_dropped_path_keeps_its_mean():
    layer = one(DropPath(0.75), 1, 2)["drop_path"]
    torch.manual_seed(0)
    found = layer(torch.ones(1000, 1, 2))
    assert {*found.flatten().tolist()} == {0.0, 4.0}
    assert found.mean().item() == pytest.approx(1, abs=0.2)  # one in four: 3 standard deviations are 0.16
    assert one(DropPath(1.0, mode="batch"), 1, 2)["drop_path"](torch.ones(2, 1, 2)).sum() == 0
    assert layer.eval()(torch.ones(2, 1, 2)).sum() == 4


def test_no_module_on_four_spatial_axes():
    net = Net.input(3, 5, 5, 5, 5).then(Conv(4, 3), name="stem")
    with pytest.raises(
        MissingRuleError, match=r"PyTorch has no Conv on 4 spatial axes \(at node 'stem/conv', Conv\(4, 3\)"
    ):
        to_torch(net)
    with pytest.raises(MissingRuleError, match="PyTorch has no Conv on 4"):
        to_torch(Net.input(3, 5, 5, 5, 5).then(Conv(4, 3, stride=2, padding="same")))
    with pytest.raises(MissingRuleError, match="PyTorch has no LPPool on 4"):
        to_torch(Net.input(3, 5, 5, 5, 5).then(LPPool(2, 3, padding=1)))


# Rules.


def test_layers_without_a_rule_are_all_listed():
    net = Net.input(4, 8, 8).then(acme_layers.Forgetful(), acme_layers.ChannelScale(), name="stem")
    net = net.then(*[acme_layers.Forgetful()] * 24)
    with pytest.raises(MissingRuleError) as caught:
        to_torch(net)
    text = str(caught.value)
    assert text.startswith(
        "to_torch() has no rule for 2 kinds of layers: got Forgetful of acme_layers.layers at 'stem/forgetful', 'forgetful'"
    )
    assert "'forgetful19', ... (25 in all); ChannelScale of acme_layers.layers at 'stem/channel_scale'" in text
    assert "rules={Forgetful: function}" in text


def test_a_layer_that_is_only_called_conv_has_no_rule():
    with pytest.raises(MissingRuleError, match=r"1 kind of layers: got Conv of acme_layers.layers at 'conv'"):
        to_torch(Net.input(4, 8, 8).then(acme_layers.Conv()))
    assert type(one(acme_layers.WideConv(4, 3), 4, 8, 8)["wide_conv"]) is nn.Conv2d  # and this one is one


class Squeeze(nn.Module):
    def __init__(self, layer, value):
        super().__init__()
        self.down = nn.Linear(value.channels, value.channels // layer.squeeze, bias=False)
        self.up = nn.Linear(value.channels // layer.squeeze, value.channels, bias=False)

    def forward(self, x):
        return x * torch.sigmoid(self.up(torch.relu(self.down(x.mean((2, 3))))))[:, :, None, None]


def test_rules_for_layers_of_others():
    net = Net.input(8, 6, 6).then(acme_layers.ChannelScale(), ReLU(), Identity())
    module = to_torch(net, rules={acme_layers.ChannelScale: Squeeze, ReLU: lambda layer, value: nn.ReLU(inplace=True)})
    assert isinstance(module.channel_scale, Squeeze)
    assert module.relu.inplace
    assert module(torch.ones(2, 8, 6, 6)).shape == (2, 8, 6, 6)


def test_rules_are_checked():
    net = Net.input(8, 6, 6).then(acme_layers.ChannelScale(), acme_layers.Forgetful())
    fine = {acme_layers.ChannelScale: Squeeze, acme_layers.Forgetful: lambda layer, value: nn.Conv2d(8, 8, 1)}
    assert sum(p.numel() for p in to_torch(net, rules=fine).parameters()) == 2 * 2 * 8 + 8 * 8 + 8  # stated by nobody
    with pytest.raises(
        ConformanceError, match=r"the rule of Forgetful returned no module \(at node 'forgetful'.*got None"
    ):
        to_torch(net, rules=fine | {acme_layers.Forgetful: lambda layer, value: None})
    with pytest.raises(
        ConformanceError,
        match=r"the rule of ChannelScale made other parameters.*got \[\(8, 8\)\], expected \[\(2, 8\), \(8, 2\)\]",
    ):
        to_torch(net, rules=fine | {acme_layers.ChannelScale: lambda layer, value: nn.Linear(8, 8, bias=False)})
    for wrong in ([], {"Conv": Squeeze}, {Linear: None}, {nn.Linear: Squeeze}):
        with pytest.raises(InvalidTypeError, match="rules are functions by class of layer"):
            to_torch(net, rules=wrong)


def test_what_is_given_is_checked():
    with pytest.raises(InvalidTypeError, match=r"to_torch\(\) takes a network"):
        to_torch(Conv(4, 3))
    nodes = [Node("conv", Conv(4, 9), ["x"])]
    with pytest.raises(ShapeError, match="node 'conv'"):
        to_torch(Network([Input("x", (3, 8, 8))], nodes, ["conv"]))
    net = Net.inputs(image=(3, 8, 8), depth=(1, 8, 8)).join("depth")
    with pytest.raises(InvalidValueError, match=r"another number of inputs: got 1, expected 2: image, depth"):
        to_torch(net)(torch.ones(1, 3, 8, 8))


def test_the_zoo_at_its_own_size():
    for net in (zoo.googlenet(), zoo.efficientnet_b0(), zoo.unet(), zoo.convnext_tiny()):
        module, table = module_of(net.network), costs(net.network)
        with torch.no_grad():
            outputs = run(module, *inputs_of(net.network))
        assert [tuple(value.shape[1:]) for value in outputs] == [
            table[name].output_shape for name in net.network.outputs
        ]
