"""Derivations: what they calculate is what they end with, and that is what the library counts."""

import re

import pytest
from attrs import frozen

from cnnbudget import (
    FP32,
    INT4,
    Autograd,
    AvgPool,
    BatchNorm,
    Conv,
    ConvTranspose,
    Crop,
    DataParallel,
    DepthwiseConv,
    Dropout,
    ElementwiseLayer,
    Flatten,
    GlobalAvgPool,
    Inference,
    Input,
    InvalidTypeError,
    Layer,
    Linear,
    LocallyConnected,
    MaxPool,
    MissingRuleError,
    Net,
    Network,
    Node,
    Pad,
    PixelShuffle,
    Precision,
    ReLU,
    Role,
    ShapeError,
    StatelessLayer,
    Storage,
    TensorSpec,
    Training,
    UnknownNameError,
    explain,
    explain_parameters,
)

NET = Net.input(3, 20, 30).then(
    Conv(10, 3), Conv(20, (3, 5), groups=5, bias=False), BatchNorm(), Flatten(), Linear(7), Linear(3, bias=False)
)


def test_every_derivation_calculates_its_value():
    derivations = explain_parameters(NET.network)
    assert set(derivations) == {"conv", "conv2", "batch_norm", "linear", "linear2"}
    for name, derivation in derivations.items():
        assert derivation.value == NET.costs()[name].parameter_count
        for clause in filter(lambda text: " = " in text, str(derivation).split(";")):
            calculation, value = clause.rsplit(" = ", 1)
            expression = re.sub(r"[a-z]+", "", calculation.rsplit(" = ", 1)[0].replace(" x ", "*").replace(",", ""))
            assert eval(expression) == int(re.sub(r"[^0-9]", "", value))


def test_the_derivations_of_each_kind():
    texts = {name: str(derivation) for name, derivation in explain_parameters(NET.network).items()}
    inputs = 20 * 16 * 24  # 20x30 -> 18x28 -> 16x24
    one = inputs + 1
    assert texts == {
        "conv": "3 x 3 x 3 weights + 1 bias = 28 per map; 28 x 10 maps = 280",
        "conv2": "3 x 5 x 2 weights = 30 per map; 30 x 20 maps = 600",
        "batch_norm": "weight 20 + bias 20 = 40",
        "linear": f"{inputs:,} weights + 1 bias = {one:,} per output; {one:,} x 7 outputs = {one * 7:,}",
        "linear2": "7 weights per output; 7 x 3 outputs = 21",
    }


def test_a_linear_layer_along_the_last_axis():
    found = explain_parameters(Net.input(3, 8, 9).then(Linear(10, axis=-1)).network)["linear"]
    assert str(found) == "9 weights + 1 bias = 10 per output; 10 x 10 outputs = 100"


@frozen
class Silent(Layer):
    """States its shape and nothing else."""

    def infer(self, inputs):
        return inputs[0]


@frozen
class Plain(ElementwiseLayer):
    """Has no parameters and says so."""


def test_a_layer_that_does_not_state_its_parameters_is_named():
    with pytest.raises(
        MissingRuleError,
        match=r"Silent does not state its parameters \(at node 'silent', .*implement Silent.parameters",
    ):
        explain_parameters(Net.input(3, 4, 4).then(Silent()).network)
    assert explain_parameters(Net.input(3, 4, 4).then(Plain()).network) == {}


# Nodes -----------------------------------------------------------------------------------------------------------------


def shape_of(net):
    """The derivations of the last node's output shape, as text."""
    found = net.explain(net.network.nodes[-1].name, Inference())
    return [
        str(derived) for derived in found if derived.quantity.startswith("output ") and "bytes" not in derived.quantity
    ]


IMAGE = Net.input(4, 9, 12)


@pytest.mark.parametrize(
    ("layer", "texts"),
    [
        # Dumoulin and Visin (2016): floor((i + 2p - k) / s) + 1 (relationship 6), with a dilated window (15).
        (
            Conv(6, 3, stride=2, padding=1),
            [
                "channels = 6",
                "height = floor((9 + 1 + 1 - 3) / 2) + 1 = 5",
                "width = floor((12 + 1 + 1 - 3) / 2) + 1 = 6",
            ],
        ),
        (
            Conv(6, (1, 3), dilation=2, padding=((0, 0), (0, 1))),
            [
                "channels = 6",
                "height = floor((9 - (2 x (1 - 1) + 1)) / 1) + 1 = 9",
                "width = floor((12 + 1 - (2 x (3 - 1) + 1)) / 1) + 1 = 9",
            ],
        ),
        (
            Conv(6, 3, stride=2, padding="same"),
            ["channels = 6", "height = ceil(9 / 2) = 5", "width = ceil(12 / 2) = 6"],
        ),
        (
            DepthwiseConv(3, multiplier=2),
            ["channels = 4 x 2 = 8", "height = floor((9 - 3) / 1) + 1 = 7", "width = floor((12 - 3) / 1) + 1 = 10"],
        ),
        (
            LocallyConnected(2, 3, stride=3),
            ["channels = 2", "height = floor((9 - 3) / 3) + 1 = 3", "width = floor((12 - 3) / 3) + 1 = 4"],
        ),
        # PyTorch's ceil_mode: the last window must start inside the input or the padding before it.
        (
            MaxPool(2, ceil_mode=True),
            ["channels = 4", "height = ceil((9 - 2) / 2) + 1 = 5", "width = ceil((12 - 2) / 2) + 1 = 6"],
        ),
        (
            AvgPool(3, stride=5, padding=1, ceil_mode=True),
            ["channels = 4", "height = ceil((9 + 1 + 1 - 3) / 5) = 2", "width = ceil((12 + 1 + 1 - 3) / 5) = 3"],
        ),
        # Relationship 14, and Keras' words.
        (
            ConvTranspose(5, 3, stride=2, padding=1, output_padding=1),
            [
                "channels = 5",
                "height = (9 - 1) x 2 + 3 + 1 - (1 + 1) = 18",
                "width = (12 - 1) x 2 + 3 + 1 - (1 + 1) = 24",
            ],
        ),
        (ConvTranspose(5, 3), ["channels = 5", "height = (9 - 1) x 1 + 3 = 11", "width = (12 - 1) x 1 + 3 = 14"]),
        (
            ConvTranspose(5, 3, stride=2, padding="same"),
            ["channels = 5", "height = 9 x 2 = 18", "width = 12 x 2 = 24"],
        ),
        (
            ConvTranspose(5, 3, stride=2, padding="valid"),
            ["channels = 5", "height = 9 x 2 + max(3 - 2, 0) = 19", "width = 12 x 2 + max(3 - 2, 0) = 25"],
        ),
        (Flatten(), ["features = 4 x 9 x 12 = 432"]),
        (Flatten(start=1), ["channels = 4", "length = 9 x 12 = 108"]),
        (Linear(7, axis=-2), ["channels = 4", "height = 7", "width = 12"]),
        (Pad(((1, 2), (-1, 0))), ["channels = 4", "height = 9 + 1 + 2 = 12", "width = 12 + (-1) + 0 = 11"]),
        (Crop(1), ["channels = 4", "height = 9 - (1 + 1) = 7", "width = 12 - (1 + 1) = 10"]),
        (PixelShuffle(2), ["channels = floor(4 / (2 x 2)) = 1", "height = 9 x 2 = 18", "width = 12 x 2 = 24"]),
        (ReLU(), ["channels = 4", "height = 9", "width = 12"]),
        (GlobalAvgPool(), ["features = 4"]),
    ],
)
def test_shapes(layer, texts):
    assert shape_of(IMAGE.then(layer)) == [f"output {text}" for text in texts]


def test_axes_of_other_ranks():
    assert shape_of(Net.input(2, 5).then(Conv(3, 2)))[1] == "output length = floor((5 - 2) / 1) + 1 = 4"
    assert [text.split(" = ")[0] for text in shape_of(Net.input(2, 5, 5, 5).then(ReLU()))][1:] == [
        *("output depth", "output height", "output width")
    ]
    assert [text.split(" = ")[0] for text in shape_of(Net.input(2, 3, 3, 3, 3).then(ReLU()))][1:] == [
        f"output axis {axis}" for axis in (1, 2, 3, 4)
    ]


def test_a_concatenation_adds_up():
    net = IMAGE.branch(Conv(6, 1), Conv(7, 1), Conv(8, 1))
    assert shape_of(net) == ["output channels = 6 + 7 + 8 = 21", "output height = 9", "output width = 12"]


def counts_of(net):
    found = net.explain(net.network.nodes[-1].name, Inference())
    return [str(derived) for derived in found if derived.quantity in {"parameters", "MACs", "buffers"}]


@pytest.mark.parametrize(
    ("layer", "texts"),
    [
        (Conv(6, 3), ["parameters = (4 x 3 x 3 + 1) x 6 = 222", "MACs = 7 x 10 x 6 x 4 x 3 x 3 = 15,120"]),
        (Conv(6, 3, bias=False), ["parameters = 4 x 3 x 3 x 6 = 216", "MACs = 7 x 10 x 6 x 4 x 3 x 3 = 15,120"]),
        (
            Conv(6, 3, groups=2),
            ["parameters = (floor(4 / 2) x 3 x 3 + 1) x 6 = 114", "MACs = 7 x 10 x 6 x 2 x 3 x 3 = 7,560"],
        ),
        (
            DepthwiseConv(3, bias=False),
            ["parameters = floor(4 / 4) x 3 x 3 x 4 = 36", "MACs = 7 x 10 x 4 x 1 x 3 x 3 = 2,520"],
        ),
        (
            ConvTranspose(5, 3, bias=False),
            ["parameters = 4 x 5 x 3 x 3 = 180", "MACs = 9 x 12 x 4 x 5 x 3 x 3 = 19,440"],
        ),
        (
            LocallyConnected(2, 3, stride=3, bias=False),
            ["parameters = 3 x 4 x 2 x 4 x 3 x 3 = 864", "MACs = 3 x 4 x 2 x 4 x 3 x 3 = 864"],
        ),
        (Linear(7, axis=-1), ["parameters = (12 + 1) x 7 = 91", "MACs = 7 x 4 x 9 x 12 = 3,024"]),
        (Linear(7, axis=0, bias=False), ["parameters = 4 x 7 = 28", "MACs = 7 x 4 x 9 x 12 = 3,024"]),
        (BatchNorm(), ["parameters = 4 + 4 = 8", "buffers = 4 + 4 = 8", "MACs = 0"]),
        (ReLU(), ["parameters = 0", "MACs = 0"]),
    ],
)
def test_counts(layer, texts):
    assert counts_of(IMAGE.then(layer)) == texts


def test_bytes_of_a_node():
    net = IMAGE.then(Conv(6, 3, padding=1), BatchNorm(), ReLU(inplace=True), Conv(2, 3))
    scenario = Training(50, retention=Autograd(), devices=4, accumulate=2)  # 50 images on 4 devices in 2 parts: 7
    conv, norm, relu = (net.explain(name, scenario) for name in ("conv", "batch_norm", "relu"))
    assert str(conv["output bytes"]) == "output bytes = 6 x 9 x 12 x 7 x 4 = 18,144"
    assert str(conv["saved bytes"]) == "saved bytes = 4 x 9 x 12 x 7 x 4 = 12,096"
    assert str(norm["saved bytes"]) == "saved bytes = 6 x 9 x 12 x 7 x 4 + 6 x 4 + 6 x 4 = 18,192"
    assert (
        norm["saved bytes"].formula == "bytes of conv, batch_norm.mean, batch_norm.invstd, until backward of batch_norm"
    )
    assert norm["saved bytes"].source == "Autograd()"
    assert relu.notes == ("Its output has no bytes of its own: it shares those of an input.",)
    with pytest.raises(UnknownNameError):
        relu["output bytes"]
    with pytest.raises(UnknownNameError):
        net.explain("conv", Inference())["saved bytes"]
    assert net.explain("relu", Inference())["bytes at the peak"].value == 0
    assert str(net.explain("batch_norm", Inference(2))["bytes at the peak"]).startswith("bytes at the peak = 6 x 4 + ")


def test_a_node_that_keeps_nothing():
    net = IMAGE.then(Conv(6, 3), GlobalAvgPool(), Linear(3))
    found = net.explain("global_avg_pool")["saved bytes"]
    assert (found.value, found.formula) == (0, "nothing is kept for its backward step")


def test_the_shares_of_the_nodes_add_up_to_the_peak():
    net = IMAGE.then(Conv(6, 3), BatchNorm(), ReLU(), Flatten(), Linear(3))
    scenario = Training(3, retention=Autograd())
    names = ["input", *[node.name for node in net.network.nodes]]
    shares = [net.explain(name, scenario)["bytes at the peak"].value for name in names[1:]]
    of_input = sum(each.size for each in net.profile(scenario).at_peak if each.node == "input")
    assert sum(shares) + of_input == net.profile(scenario).peak


def test_shared_parameters_count_once():
    net = Net.input(4, 8, 8).then(Conv(4, 3, padding=1), share="twin").then(Conv(4, 3, padding=1), share="twin")
    first, second = (node.name for node in net.network.nodes)
    assert str(net.explain(second)["parameters"]) == "parameters = 0"
    assert net.explain(second)["parameters"].formula == f"those of {first}, which count there"


@frozen
class Doubled(Conv):
    """States other numbers than its kind, as a foreign layer may."""

    def infer(self, inputs):
        return TensorSpec((2 * self.filters, *super().infer(inputs).spatial))

    def macs(self, inputs, output):
        return 1

    def parameters(self, inputs):
        return {"weight": (5, 1, 1, 1), "other": ()}


@frozen
class Rows(ReLU):
    """Elementwise by kind, and yet its output has one axis."""

    def infer(self, inputs):
        return TensorSpec((inputs[0].element_count,))


@frozen
class Unknown(StatelessLayer):
    """Does not state its multiply-accumulates."""

    def infer(self, inputs):
        return inputs[0]

    def macs(self, inputs, output):
        return None


def test_numbers_stand_as_a_foreign_layer_states_them():
    net = IMAGE.then(Doubled(3, 3))
    assert shape_of(net)[0] == "output channels = 6"
    assert net.explain("doubled")["output channels"].formula == "as Doubled states it"
    assert counts_of(net) == ["parameters = 5 x 1 x 1 x 1 + 1 = 6", "MACs = 1"]
    assert shape_of(IMAGE.then(Rows())) == ["output features = 432"]
    found = IMAGE.then(Unknown()).explain("unknown", Inference())
    assert found.notes == ("MACs are unknown: Unknown does not state them.",)
    assert shape_of(IMAGE.then(Unknown()))[1] == "output height = 9"


# Networks and profiles -------------------------------------------------------------------------------------------------


def test_a_whole_network():
    net = IMAGE.then(Conv(6, 3), BatchNorm(), Flatten(), Linear(3))
    found = net.explain()
    assert str(found["parameters"]) == "parameters = 222 + 12 + 1,263 = 1,497"
    assert str(found["buffers"]) == "buffers = 12"
    assert str(found["MACs"]) == "MACs = 15,120 + 1,260 = 16,380"
    assert found["peak"].value == net.profile(Training(retention=Autograd())).peak
    assert IMAGE.then(ReLU()).explain(None, Inference())["parameters"].value == 0
    unknown = IMAGE.then(Unknown()).explain(None, Inference())
    assert unknown.notes == ("MACs are unknown: a layer does not state them.",)


def test_a_profile():
    found = Net.input(3, 8, 8).then(Conv(4, 3)).profile(Training(10, devices=4)).explain()
    # ceil(10 / 4) = 3 samples; the input 3*8*8 and the output 4*6*6 with its gradient, 112 parameters with their gradients
    assert [str(derived) for derived in found] == [
        "samples at once = ceil(10 / 4) = 3",
        "input = 3 x 8 x 8 x 3 x 4 = 2,304",
        "conv = 4 x 6 x 6 x 3 x 4 = 1,728",
        "conv.grad = 4 x 6 x 6 x 3 x 4 = 1,728",
        "conv.weight = 4 x 3 x 3 x 3 x 4 = 432",
        "conv.weight.grad = 4 x 3 x 3 x 3 x 4 = 432",
        "conv.bias = 4 x 4 = 16",
        "conv.bias.grad = 4 x 4 = 16",
        "all of role parameter = 432 + 16 = 448",
        "all of role activation = 2,304 + 1,728 = 4,032",
        "all of role activation gradient = 1,728",
        "all of role parameter gradient = 432 + 16 = 448",
        "peak = 448 + 4,032 + 1,728 + 448 = 6,656",
        "peak as a line = 896 + 1,920 x 3 = 6,656",
    ]
    assert found["peak"].formula == "the sum of what is alive at step 4 of 5, backward of conv"
    parts = Net.input(3, 8, 8).then(Conv(4, 3)).profile(Training(10, devices=3, accumulate=2)).explain()
    assert str(parts["samples at once"]) == "samples at once = ceil(ceil(10 / 3) / 2) = 2"


@frozen
class Halving(DataParallel):
    """Shares by a rule of its own."""

    def share(self, batch):
        return max(1, batch // 2)


def test_devices_of_another_kind():
    found = Net.input(3, 8, 8).then(Conv(4, 3)).profile(Inference(10, devices=Halving(2))).explain()
    assert str(found["samples at once"]) == "samples at once = 5"


def test_formats_below_a_byte():
    small = Precision("small", FP32.default, {Role.ACTIVATION: INT4})
    found = Net.input(3, 3, 3).then(Conv(1, 3, bias=False)).profile(Inference(3, precision=small)).explain()
    assert str(found["input"]) == "input = ceil((3 x 3 x 3 x 3 x 4) / 8) = 41"
    assert "peak as a line" not in [derived.quantity for derived in found]


def test_storages_of_a_foreign_policy():
    from cnnbudget.memory.derive import derive_storage

    odd = Storage("odd", Role.WORKSPACE, (3,), 5, 7, FP32.default)
    assert str(derive_storage(odd, 2)) == "odd = (5 + 7 x 2) x 4 = 76"
    assert str(derive_storage(Storage("step", Role.OPTIMIZER_STATE, (), 1, 0, FP32.default), 9)) == "step = 1 x 4 = 4"
    assert str(derive_storage(Storage("loss", Role.ACTIVATION, (), 0, 1, FP32.default), 9)) == "loss = 1 x 9 x 4 = 36"
    assert str(derive_storage(Storage("none", Role.WORKSPACE, (2,), 0, 0, FP32.default), 9)) == "none = 0 x 4 = 0"


def test_bad_questions():
    with pytest.raises(UnknownNameError, match=r"no node has this name: got 'con'; did you mean 'conv'"):
        NET.explain("con")
    with pytest.raises(InvalidTypeError, match=r"explain\(\) takes a network: got .*a Net has \.network"):
        explain(NET)
    with pytest.raises(InvalidTypeError, match=r"needs a scenario"):
        NET.explain("conv", Training)
    with pytest.raises(ShapeError):
        explain(Network([Input("x", (3, 2, 2))], [Node("conv", Conv(2, 3), ["x"])], ["conv"]), "conv")


def test_text_html_and_latex_of_a_node():
    net = Net.input(3, 8, 8).then(Conv(4, 3), Dropout(), ReLU())
    found = net.explain("conv")
    assert str(found).startswith("conv: Conv(4, 3) on (3, 8, 8); Training(1, retention=Autograd())\n")
    assert "<table>" in found._repr_html_()
    assert r"\text{output height} &= \left\lfloor \frac{8 - 3}{1} \right\rfloor + 1 = 6 \\" in found.latex()
