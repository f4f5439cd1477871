"""``from_torch``: networks that were modules come back, modules by hand are what they say, and what has no layer is listed."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnbudget import (
    ELU,
    GELU,
    AdaptiveAvgPool,
    AdaptiveMaxPool,
    Add,
    AvgPool,
    BatchNorm,
    ChannelShuffle,
    Concat,
    ConformanceError,
    Conv,
    ConvTranspose,
    Dropout,
    Flatten,
    GlobalAvgPool,
    GlobalMaxPool,
    GroupNorm,
    Hardtanh,
    Identity,
    Inference,
    InstanceNorm,
    InvalidTypeError,
    InvalidValueError,
    LayerNorm,
    LeakyReLU,
    Linear,
    LocalResponseNorm,
    LPPool,
    Maximum,
    MaxPool,
    MissingRuleError,
    Multiply,
    Node,
    Pad,
    Permute,
    PixelShuffle,
    PixelUnshuffle,
    PReLU,
    ReLU,
    ReLU6,
    Reshape,
    Scale,
    Sigmoid,
    SiLU,
    Slice,
    Softmax,
    Split,
    Training,
    Unfold,
    Upsample,
    costs,
    profile,
    zoo,
)
from cnnbudget.interop import Opaque
from cnnbudget.testing import graphs, strategies

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

from cnnbudget.interop import from_torch  # noqa: E402

from .interpreter import module_of  # noqa: E402
from .test_networks import is_small  # noqa: E402

pytestmark = [pytest.mark.live, pytest.mark.filterwarnings("ignore:Using padding='same'")]


# There and back.


@given(graphs.graphs() | strategies.networks(), st.booleans())
def test_networks_come_back(net, training):
    """Names and views may differ; whatever costs something does not."""
    network = net.network
    if not is_small(network):
        return
    module = module_of(network)
    read = from_torch(module, [source.shape for source in network.inputs], training=training)
    mine, theirs = costs(network), costs(read)
    assert theirs.parameter_count == mine.parameter_count
    assert theirs.buffer_count == mine.buffer_count
    assert theirs.mac_count == mine.mac_count
    shapes = [mine.specs[name].shape for name in network.outputs]
    assert {theirs.specs[name].shape for name in read.outputs} == set(shapes)
    assert not module.training


@pytest.mark.parametrize(
    "make", [zoo.lenet5, zoo.resnet18, zoo.mobilenet_v2, zoo.unet, zoo.convnext_tiny, zoo.googlenet]
)
def test_the_zoo_comes_back(make):
    network = make().network
    read = from_torch(module_of(network), network.inputs[0].shape, training=True)  # stochastic depth is there, too
    mine, theirs = costs(network), costs(read)
    assert (theirs.parameter_count, theirs.buffer_count, theirs.mac_count) == (
        mine.parameter_count,
        mine.buffer_count,
        mine.mac_count,
    )
    assert profile(read, Inference()).peak == profile(network, Inference()).peak
    assert profile(read, Training(4)).peak == profile(network, Training(4)).peak


# By hand.


class Block(nn.Module):
    def __init__(self, maps):
        super().__init__()
        self.conv = nn.Conv2d(maps, maps, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(maps)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        out = self.relu(self.bn(self.conv(x)))
        out += x
        return self.relu(out)


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.MaxPool2d(2))
        self.blocks = nn.ModuleList([Block(8), Block(8)])
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return F.softmax(self.fc(x.mean((2, 3))), dim=-1)


def test_names_scopes_and_inputs():
    read = from_torch(Small(), (3, 17, 17))
    assert [(node.name, node.layer, node.inputs) for node in read.nodes] == [
        ("stem.0", Conv(8, 3, stride=2), ("x",)),
        ("stem.1", MaxPool(2), ("stem.0",)),
        ("blocks.0.conv", Conv(8, 3, padding=1, bias=False), ("stem.1",)),
        ("blocks.0.bn", BatchNorm(count_batches=True), ("blocks.0.conv",)),
        ("blocks.0.relu", ReLU(inplace=True), ("blocks.0.bn",)),
        ("blocks.0/add", Add(inplace=True), ("blocks.0.relu", "stem.1")),
        ("blocks.0.relu2", ReLU(inplace=True), ("blocks.0/add",)),
        ("blocks.1.conv", Conv(8, 3, padding=1, bias=False), ("blocks.0.relu2",)),
        ("blocks.1.bn", BatchNorm(count_batches=True), ("blocks.1.conv",)),
        ("blocks.1.relu", ReLU(inplace=True), ("blocks.1.bn",)),
        ("blocks.1/add", Add(inplace=True), ("blocks.1.relu", "blocks.0.relu2")),
        ("blocks.1.relu2", ReLU(inplace=True), ("blocks.1/add",)),
        ("global_avg_pool", GlobalAvgPool(), ("blocks.1.relu2",)),
        ("fc", Linear(4), ("global_avg_pool",)),
        ("softmax", Softmax(), ("fc",)),
    ]
    assert read.outputs == ("softmax",)
    assert costs(read).parameter_count == sum(parameter.numel() for parameter in Small().parameters())


class Of(nn.Module):
    """A function as a module."""

    def __init__(self, function, *parts):
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(parts)
        self.factor = nn.Parameter(torch.ones(4, 1, 1))
        self.register_buffer("mean", torch.zeros(4, 1, 1))
        self.plain = torch.zeros(4, 1, 1)

    def forward(self, *xs):
        return self.function(self, *xs)


def layers(function, *parts, shape=(4, 8, 8), training=True):
    return [node.layer for node in from_torch(Of(function, *parts).train(training), shape).nodes]


COPY = Concat()
FUNCTIONS = {
    "activations": (
        lambda m, x: F.leaky_relu_(F.relu6(F.silu(F.gelu(x, approximate="tanh"))), 0.2),
        [GELU(approximate=True), SiLU(), ReLU6(), LeakyReLU(0.2, inplace=True)],
    ),
    "clamps": (
        lambda m, x: F.hardtanh(x.clamp(0, 6).clamp(-2, 3), -1, 4),
        [ReLU6(), Hardtanh(low=-2.0, high=3.0), Hardtanh(low=-1.0, high=4.0)],
    ),
    "elu": (lambda m, x: F.elu_(x, 0.5), [ELU(alpha=0.5, inplace=True)]),
    "sigmoid gate": (lambda m, x: x * torch.sigmoid(x), [Sigmoid(), Multiply()]),
    "convolutions": (
        lambda m, x: F.conv2d(x, m.parts[0].weight, padding=(1, 2), stride=(2, 1), groups=2),
        [Conv(6, 3, padding=(1, 2), stride=(2, 1), groups=2, bias=False)],
    ),
    "same": (
        lambda m, x: F.conv2d(x, m.parts[0].weight, padding="same", groups=2),
        [Conv(6, 3, padding="same", groups=2, bias=False)],
    ),
    "pools": (
        lambda m, x: F.avg_pool2d(F.max_pool2d(x, 3, 2, 1, 1, ceil_mode=True), 2, count_include_pad=False),
        [MaxPool(3, stride=2, padding=1, ceil_mode=True), AvgPool(2, count_include_pad=False)],
    ),
    "adaptive": (
        lambda m, x: F.adaptive_avg_pool2d(F.adaptive_max_pool2d(x, (5, 7)), 1),
        [AdaptiveMaxPool((5, 7)), AdaptiveAvgPool(1)],
    ),
    "with indices": (lambda m, x: F.max_pool2d(x, 2, return_indices=True)[0], [MaxPool(2)]),
    "over space": (
        lambda m, x: x.mean((-1, 2), keepdim=True) * x.amax((2, 3), keepdim=True),
        [GlobalAvgPool(keepdims=True), GlobalMaxPool(keepdims=True), Multiply()],
    ),
    "views": (
        lambda m, x: x.view(2, 4, 64).reshape(2, 4, 8, 8).flatten(2).unsqueeze(1).squeeze(1).flatten(1),
        [Reshape(4, 64), Reshape(4, 8, 8), Flatten(start=1), Reshape(1, 4, 64), Reshape(4, 64), Flatten()],
    ),
    "views that do nothing": (
        lambda m, x: F.relu(x.view(x.shape).permute(0, 1, 2, 3).contiguous()[:].detach()),
        [ReLU()],
    ),
    "copies": (
        lambda m, x: x.permute(0, 2, 3, 1).contiguous().clone().transpose(1, 3).flatten(1),
        [Permute(1, 2, 0), COPY, COPY, Permute(2, 1, 0), COPY, Flatten()],
    ),
    "parts": (
        lambda m, x: torch.cat([*x.chunk(2, 1), *x.split([1, 3], 1), *x.split(2, 1)], 1),
        [Split(2, 0), Split(2, 1), Slice(0, 1), Slice(1, 4), Split(2, 0), Split(2, 1), Concat()],
    ),
    "slices": (
        lambda m, x: torch.cat([x[:, 1:3], x[:, -2:], x.narrow(1, 1, 2), x.narrow(1, -2, 2), x[:, :, :]], 1).narrow(
            3, 2, 3
        )[:, 0],
        [Slice(1, 3), Slice(2), Slice(1, 3), Slice(2), Concat(), Slice(2, 5, axis=2), Slice(0, 1), Reshape(8, 3)],
    ),
    "sums": (lambda m, x: torch.maximum(x - x, x + x), [Add(), Add(), Maximum()]),
    "numbers": (
        lambda m, x: (1 - (x * 2 + 1) / 3 - m.mean).neg().mul_(2) * m.mean,
        [COPY, COPY, COPY, COPY, COPY, COPY, Identity(), COPY],
    ),
    "constants": (lambda m, x: x * torch.arange(8) + m.plain + (x.sin(), 1)[1], [COPY, COPY, COPY]),
    "types": (lambda m, x: F.relu(x.float().to(torch.float32).type_as(m.mean)), [ReLU()]),
    "factors": (lambda m, x: m.factor * x, [Scale()]),
    "one factor": (
        lambda m, x: x * m.parts[0].bias,
        [Scale("layer")],
    ),
    "padding": (
        lambda m, x: F.pad(F.pad(F.pad(x, (1, 2)), (1, 1, 1, 1), mode="reflect"), (0, 0, 0, 1, 0, 0)),
        [Pad(((0, 0), (1, 2))), Pad(1, mode="reflect"), Pad(((0, 1), (0, 0)))],
    ),
    "resizing": (
        lambda m, x: F.interpolate(
            F.interpolate(F.interpolate(x, scale_factor=(2, 1.5)), size=(5, 5), mode="bilinear"),
            scale_factor=2,
            mode="nearest-exact",
        ),
        [Upsample((2, 1.5)), Upsample(size=5, mode="bilinear"), Upsample(2, mode="nearest-exact")],
    ),
    "moves": (
        lambda m, x: F.unfold(
            F.channel_shuffle(F.pixel_unshuffle(F.pixel_shuffle(x, 2), 2), 2), 3, padding=1, stride=2
        ),
        [PixelShuffle(2), PixelUnshuffle(2), ChannelShuffle(2), Unfold(3, padding=1, stride=2)],
    ),
    "norms": (
        lambda m, x: F.group_norm(F.instance_norm(F.layer_norm(F.batch_norm(x, None, None, training=True), (8, 8))), 2),
        [
            BatchNorm(affine=False, track_running_stats=False),
            LayerNorm((-2, -1), affine=False),
            InstanceNorm(),
            GroupNorm(2, affine=False),
        ],
    ),
    "dropouts": (
        lambda m, x: F.dropout2d(F.dropout(x, 0.1, m.training), 0.2, m.training, inplace=True),
        [Dropout(0.1), Dropout(0.2, inplace=True, per_channel=True)],
    ),
    "softmaxes": (
        lambda m, x: F.log_softmax(F.softmax(x, 1), -1).exp() if False else F.softmax(x, -1),
        [Softmax(axis=2)],
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_functions_are(name):
    function, expected = FUNCTIONS[name]
    part = nn.Conv2d(4, 6, 3, groups=2)
    if name == "one factor":
        part = nn.Conv2d(1, 1, 1)
    assert layers(function, part) == expected


MODULES = [
    (nn.Conv1d(4, 6, 3, dilation=2, bias=False), (4, 9), [Conv(6, 3, dilation=2, bias=False)]),
    (nn.Conv3d(4, 6, (1, 3, 3), padding=(0, 1, 1)), (4, 3, 5, 5), [Conv(6, (1, 3, 3), padding=(0, 1, 1))]),
    (nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), (4, 8, 8), [Pad(1, mode="reflect"), Conv(6, 3)]),
    (
        nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2),
        (4, 8, 8),
        [ConvTranspose(6, 3, stride=2, padding=1, output_padding=1, groups=2)],
    ),
    (nn.Linear(8, 3, bias=False), (4, 8), [Linear(3, bias=False, axis=-1)]),
    (nn.BatchNorm2d(4, affine=False), (4, 8, 8), [BatchNorm(affine=False, count_batches=True)]),
    (nn.BatchNorm1d(4, track_running_stats=False), (4,), [BatchNorm(track_running_stats=False)]),
    (
        nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
        (4, 8, 8),
        [InstanceNorm(affine=True, track_running_stats=True, count_batches=True)],
    ),
    (nn.LayerNorm(8), (4, 8), [LayerNorm(-1)]),
    (nn.LayerNorm(8, bias=False), (4, 8), [LayerNorm(-1, bias=False)]),
    (nn.GroupNorm(2, 4), (4, 8), [GroupNorm(2)]),
    (nn.LocalResponseNorm(5, alpha=1e-3, k=2), (6, 8, 8), [LocalResponseNorm(5, alpha=1e-3, k=2.0)]),
    (nn.LPPool2d(3, 2, stride=1, ceil_mode=True), (6, 8, 8), [LPPool(3.0, 2, stride=1, ceil_mode=True)]),
    (nn.PReLU(4), (4, 8), [PReLU(channelwise=True)]),
    (nn.PReLU(), (4, 8), [PReLU(channelwise=False)]),
    (nn.Upsample(scale_factor=2, mode="bilinear"), (4, 8, 8), [Upsample(2, mode="bilinear")]),
    (nn.Identity(), (4, 8), []),
    (nn.Sequential(nn.Flatten(), nn.Unflatten(1, (4, 8))), (4, 8), [Flatten(), Reshape(4, 8)]),
]


@pytest.mark.parametrize(("module", "shape", "expected"), MODULES, ids=lambda value: type(value).__name__)
def test_what_modules_are(module, shape, expected):
    whole = nn.Sequential(nn.ReLU(), module)
    read = from_torch(whole, shape)
    assert [node.layer for node in read.nodes] == [ReLU(), *expected]
    table = costs(read)
    assert table.parameter_count == sum(parameter.numel() for parameter in whole.parameters())
    assert table.buffer_count == sum(buffer.numel() for buffer in whole.buffers())


def test_several_inputs_and_outputs():
    read = from_torch(Of(lambda m, x, y: {"sum": x + y, "rest": (torch.cat([x, y], 1), x, 3)}), [(4, 8), (4, 8)])
    assert [source.shape for source in read.inputs] == [(4, 8), (4, 8)]
    assert [node.layer for node in read.nodes] == [Add(), Concat()]
    assert read.outputs == ("add", "concat", read.inputs[0].name)


def test_what_is_read_after_it_was_overwritten():
    def forward(m, x):
        x = F.max_pool2d(x, 2)
        y = F.relu_(x)
        return x + y  # both are the overwritten value

    nodes = from_torch(Of(forward), (4, 8, 8)).nodes
    assert nodes[-1] == Node("add", Add(), ["relu", "relu"])


def test_shared_parameters():
    conv = nn.Conv2d(4, 4, 3, padding=1)
    tied = nn.Conv2d(4, 4, 3, padding=1)
    tied.weight, tied.bias = conv.weight, conv.bias
    read = from_torch(nn.Sequential(conv, nn.ReLU(), conv, tied), (4, 8, 8))
    assert [(node.name, node.shares) for node in read.nodes] == [
        ("0", None),
        ("1", None),
        (read.nodes[2].name, "0"),
        (read.nodes[3].name, "0"),
    ]
    assert costs(read).parameter_count == 4 * 4 * 9 + 4
    half = nn.Conv2d(4, 4, 3, padding=1)
    half.weight = conv.weight
    with pytest.raises(MissingRuleError, match=r"aten.conv2d.default in 1: it shares a part of its parameters"):
        from_torch(nn.Sequential(conv, half), (4, 8, 8))


def test_training_and_evaluation():
    class Aux(nn.Module):
        def __init__(self):
            super().__init__()
            self.main, self.aux, self.norm = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1), nn.BatchNorm2d(4)

        def forward(self, x):
            y = self.norm(self.main(x))
            return (y, self.aux(x)) if self.training else y

    module = Aux().eval()
    assert [node.name for node in from_torch(module, (4, 8, 8)).nodes] == ["main", "norm"]
    assert [node.name for node in from_torch(module, (4, 8, 8), training=True).nodes] == ["main", "norm", "aux"]
    assert [node.name for node in from_torch(module.train(), (4, 8, 8)).nodes] == ["main", "norm", "aux"]


def test_the_module_stays_as_it_is():
    def forbidden(*args):
        raise AssertionError("a hook ran")

    module = Small()
    module.blocks[0].bn.eval()
    module.fc.weight.requires_grad_(False)
    module.stem[0].extra = torch.ones(3)  # neither parameter nor buffer
    handles = [
        module.register_forward_hook(forbidden),
        module.stem.register_forward_pre_hook(forbidden),
        module.fc.register_full_backward_hook(forbidden),
    ]
    before = {
        name: (id(value), value.data_ptr(), value.requires_grad, str(value.device))
        for name, value in module.state_dict(keep_vars=True).items()
    }
    modes = [each.training for each in module.modules()]
    values = copy.deepcopy(module.state_dict())
    from_torch(module, (3, 17, 17))
    from_torch(module, (3, 17, 17), training=False)
    assert before == {
        name: (id(value), value.data_ptr(), value.requires_grad, str(value.device))
        for name, value in module.state_dict(keep_vars=True).items()
    }
    assert modes == [each.training for each in module.modules()]
    assert all(torch.equal(value, values[name]) for name, value in module.state_dict().items())
    assert len(module._forward_hooks) == len(module.stem._forward_pre_hooks) == 1
    for handle in handles:
        handle.remove()


def test_a_module_of_any_size_takes_no_memory():
    huge = nn.Sequential(nn.Linear(10, 100_000, device="meta"), nn.Linear(100_000, 1_000_000, device="meta"))  # 400 GB
    assert costs(from_torch(huge, (10,))).parameter_count == 10 * 100_000 + 100_000 + 100_000 * 1_000_000 + 1_000_000


# What has no layer.


UNSUPPORTED = {
    "there is no layer like it": lambda m, x: x.sin(),
    "it works along the batch": lambda m, x: torch.cat([x, x], 0),
    "its result has no batch in front": lambda m, x: x.reshape(-1),
    "it moves the batch": lambda m, x: x.transpose(0, 1),
    "the shapes differ": lambda m, x: x + x.mean((2, 3), keepdim=True),
    "what is added is scaled": lambda m, x: torch.add(x, x, alpha=2),
    "the other operand is no value of the network": lambda m, x: x + m.factor,
    "it divides by a value": lambda m, x: x / x,
    "it is not over all spatial axes": lambda m, x: x.mean(1),
    "it has no limit on one side": lambda m, x: x.clamp(min=0),
    "it has a step": lambda m, x: x[:, ::2],
    "it pads channels": lambda m, x: F.pad(x, (0, 0, 0, 0, 1, 1)),
    "its factors are not one for each channel": lambda m, x: x * m.parts[0].weight,
    "its weight is computed": lambda m, x: F.conv2d(x, m.parts[0].weight * 2),
    "the numbers of axes differ": lambda m, x: x[:, :2, :2] * x[:, 0, :2],
    "it works in place, which the layer does not": lambda m, x: x.clone().sigmoid_(),
    "it divides by another number": lambda m, x: F.avg_pool2d(x, 2, divisor_override=3),
    "it is scaled": lambda m, x: torch.ops.aten.elu.default(x, 1.0, 2.0),
    "it changes the type": lambda m, x: F.relu(x.half()),
    "it has a scale and no shift": lambda m, x: F.batch_norm(x, None, None, m.parts[0].bias, None, training=True),
    "it works along the batc": lambda m, x: F.layer_norm(x, x.shape),
    "its result has no batch": lambda m, x: x.flatten(1)[:, 0],
    "(the shapes|never)": lambda m, x: x[:, :1] + m.mean,
    "the shapes (differ|never)": lambda m, x: torch.maximum(x, x[:, :1]),
    "it works in place, which the (layer|never)": lambda m, x: F.relu(x).mul_(x),
    "it moves the batch; give": lambda m, x: x.transpose(0, 1).sin().relu(),
    "its result has no batch in front; give": lambda m, x: x.reshape(-1).sin().topk(2)[0],
    "it is not the first result": lambda m, x: F.max_pool2d(x, 2, return_indices=True)[1],
}


@pytest.mark.parametrize("why", UNSUPPORTED)
def test_what_has_no_layer_and_why(why):
    part = nn.Conv2d(4, 8, 8, bias=False) if "factors" in why else nn.Conv2d(4, 4, 1)
    if "factors" in why:
        part.weight = nn.Parameter(torch.ones(4, 8, 8))
    with pytest.raises(MissingRuleError, match=rf"from_torch\(\) has no layer for \d operations?: got .*{why}"):
        from_torch(Of(UNSUPPORTED[why], part), (4, 8, 8))


def test_all_of_it_is_listed_at_once():
    class Odd(nn.Module):
        def forward(self, x):
            return torch.linalg.vector_norm(x.sin().cos(), dim=-1)

    module = nn.Sequential(Odd(), nn.ReLU(), Odd())
    with pytest.raises(MissingRuleError) as caught:
        from_torch(module, (4, 8, 8))
    text = str(caught.value)
    assert (
        "no layer for 6 operations: got aten.sin.default in 0: there is no layer like it; aten.cos.default in 0: "
        in text
    )
    assert "aten.linalg_vector_norm.default in 2: there is no layer like it; give rules={Module: function}" in text
    with pytest.raises(MissingRuleError, match=r"; \.\.\. \(60 in all\); give rules"):
        from_torch(nn.Sequential(*[Odd() for _ in range(1)], *[Of(lambda m, x: x.sin()) for _ in range(57)]), (4, 8, 8))


def test_opaque_layers():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3, 8))

        def forward(self, x):
            return torch.einsum("nchw,kw->nchk", x, self.weight)

    odd = Odd()
    module = nn.Sequential(nn.Conv2d(4, 4, 1), odd, Of(lambda m, x: torch.topk(x, 2, dim=-1)[0]), odd)
    read = from_torch(nn.Sequential(*module[:3]), (4, 8, 8), unsupported="opaque")
    assert [node.layer for node in read.nodes] == [
        Conv(4, 1),
        Opaque("aten.einsum.default", (4, 8, 3), weights={"1.weight": (3, 8)}),
        Opaque("aten.topk.default", (4, 8, 2)),
    ]
    assert read.nodes[1].name == "1/einsum"
    table = costs(read)
    assert table.parameter_count == 4 * 4 + 4 + 24
    with pytest.raises(MissingRuleError, match=r"node '1/einsum'"):
        table.mac_count
    with pytest.raises(
        MissingRuleError, match=r"aten.reshape.default in the module itself: its result has no batch in front"
    ):
        from_torch(Of(lambda m, x: x.reshape(-1)), (4, 8, 8), unsupported="opaque")
    with pytest.raises(
        MissingRuleError, match=r"aten.var_mean.* in the module itself: its result has no batch in front"
    ):
        from_torch(Of(lambda m, x: torch.var_mean(x, dim=0)[0]), (4, 8, 8), unsupported="opaque")


def test_parameters_of_opaque_layers_are_counted_once():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(8, 8))

        def forward(self, x):
            return torch.einsum("nchw,kw->nchk", torch.einsum("nchw,kw->nchk", x, self.weight), self.weight)

    read = from_torch(Odd(), (4, 8, 8), unsupported="opaque")
    assert costs(read).parameter_count == 64


class Gate(nn.Module):
    def __init__(self, inplace=False):
        super().__init__()
        self.down, self.up = nn.Linear(4, 2), nn.Linear(2, 4)

    def forward(self, x):
        return x * torch.sigmoid(self.up(torch.relu(self.down(x.mean((2, 3))))))[:, :, None, None].sin()


def test_rules():
    gate = Gate()
    layer = Opaque("gate", (4, 8, 8), weights={name: tuple(p.shape) for name, p in gate.named_parameters()})
    rules = {Gate: lambda module, value: layer.evolve(shape=value.shape)}
    read = from_torch(nn.Sequential(nn.ReLU(), gate, nn.ReLU(), gate), (4, 8, 8), rules=rules)
    assert [(node.name, node.layer, node.shares) for node in read.nodes] == [
        ("0", ReLU(), None),
        (read.nodes[1].name, layer, None),
        ("2", ReLU(), None),
        (read.nodes[3].name, layer, read.nodes[1].name),
    ]
    assert costs(read).parameter_count == sum(parameter.numel() for parameter in gate.parameters())


def test_rules_of_modules_that_read_what_was_refused_or_are_not_used():
    class Unused(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate, self.other = Gate(), Gate()

        def forward(self, x):
            self.gate(x)
            return F.relu(x), self.other(x.transpose(0, 1).transpose(0, 1))

    rules = {Gate: lambda module, value: ReLU()}
    with pytest.raises(
        MissingRuleError, match=r"1 operation: got aten.transpose.int in the module itself: it moves the batch"
    ):
        from_torch(Unused(), (4, 8, 8), rules=rules)


def test_a_module_that_does_nothing():
    read = from_torch(nn.Identity(), (4, 8))
    assert (read.nodes, read.outputs) == ((Node("identity", Identity(), [read.inputs[0].name]),), ("identity",))


def test_rules_that_do_not_fit():
    module = nn.Sequential(nn.ReLU(), Gate())
    with pytest.raises(
        ConformanceError, match=r"the rule of Gate returned no layer \(at module '1'\): got 3, expected a Layer"
    ):
        from_torch(module, (4, 8, 8), rules={Gate: lambda module, value: 3})
    with pytest.raises(
        MissingRuleError, match=r"Gate in 1: its shape is \(4, 8, 8\), and its layer's would be \(9, 8, 8\)"
    ):
        from_torch(module, (4, 8, 8), rules={Gate: lambda module, value: Conv(9, 1)})
    with pytest.raises(MissingRuleError, match=r"Of in the module itself: the module has not one result"):
        from_torch(Of(lambda m, x: (x.sin(), x.cos())), (4, 8, 8), rules={Of: lambda module, value: ReLU()})
    with pytest.raises(MissingRuleError, match=r"Of in the module itself: its result has no batch in front"):
        from_torch(Of(lambda m, x: x.reshape(-1)), (4, 8, 8), rules={Of: lambda module, value: ReLU()})
    for wrong in ([], {"Gate": len}, {Conv: len}, {nn.ReLU: None}):
        with pytest.raises(InvalidTypeError, match="rules are functions by class of module"):
            from_torch(module, (4, 8, 8), rules=wrong)


def test_what_is_given_is_checked():
    with pytest.raises(InvalidTypeError, match=r"from_torch\(\) takes a module: got 3"):
        from_torch(3, (4, 8, 8))
    with pytest.raises(InvalidTypeError, match=r"input_shape is the shape of one sample"):
        from_torch(nn.ReLU(), 3)
    with pytest.raises(InvalidValueError, match=r"out of range"):
        from_torch(nn.ReLU(), (4, -8, 8))
    with pytest.raises(InvalidValueError, match=r"unsupported is an unknown word: got 'opaqe'; did you mean 'opaque'"):
        from_torch(nn.ReLU(), (4, 8, 8), unsupported="opaqe")
    with pytest.raises(InvalidValueError, match=r"torch.export cannot follow the module: got .*") as caught:
        from_torch(Of(lambda m, x: x if x.sum() > 0 else -x), (4, 8, 8))
    assert caught.value.__cause__ is not None
    with pytest.raises(InvalidValueError, match=r"torch.export cannot follow the module"):
        from_torch(nn.Linear(3, 3), (4,))
    with pytest.raises(InvalidValueError, match=r"the module returns no value that depends on its inputs"):
        from_torch(Of(lambda m, x: m.factor * 2), (4, 8, 8))


# torchvision, where it is installed.


def test_torchvision():
    """Parameters and buffers of every model that is a CNN; those that only training uses are followed in training."""
    models = pytest.importorskip("torchvision").models
    for name in models.list_models(module=models):
        if name.startswith(("vit_", "swin_", "maxvit")) or name.endswith(
            ("16gf", "32gf", "128gf", "vgg19", "vgg19_bn")
        ):
            continue  # no CNNs, or large ones of families that are there
        module = models.get_model(name, weights=None)
        read = from_torch(module, (3, 299, 299) if name == "inception_v3" else (3, 224, 224))
        table = costs(read)
        assert table.parameter_count == sum(parameter.numel() for parameter in module.parameters()), name
        assert table.buffer_count == sum(buffer.numel() for buffer in module.buffers()), name
