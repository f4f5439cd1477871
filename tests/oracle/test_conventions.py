"""What other tools print, to the digit: for published networks, and for single layers.

The networks' figures are the tools' own output, tabled in ``peers/conventions.csv`` of the oracles: torchvision 0.28 models, one
image of 224 x 224. The layers' are the output of torchinfo 1.8.0, fvcore 0.1.5.post20221221, ptflops 0.7.5 and thop 0.1.1 on
PyTorch's module of the same name and settings in evaluation mode (torch 2.14, on a CPU). Keras' figure is that of
``keras.applications``.
"""

import csv
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from cnnbudget import (
    CELU,
    ELU,
    GELU,
    SELU,
    AdaptiveAvgPool,
    AdaptiveMaxPool,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Conventions,
    ConvTranspose,
    DepthwiseConv,
    Dropout,
    Flatten,
    GlobalAvgPool,
    GlobalMaxPool,
    GroupNorm,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    InstanceNorm,
    InvalidTypeError,
    Layer,
    LayerNorm,
    LeakyReLU,
    Linear,
    LocalResponseNorm,
    LogSoftmax,
    LPPool,
    MaxPool,
    Mish,
    Net,
    Pad,
    PixelShuffle,
    PReLU,
    ReLU,
    ReLU6,
    Scale,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
    UnknownNameError,
    Upsample,
    conventions,
    zoo,
)

TABLE = Path(__file__).parents[2].parent / "shared" / "oracles" / "peers" / "conventions.csv"
COLUMNS = {
    "params": ("torchinfo", "Total params"),
    "clean_macs": ("cnnbudget", "MACs"),
    "fvcore_flops": ("fvcore", "flops"),
    "torchinfo_mult_adds": ("torchinfo", "Total mult-adds"),
    "ptflops_aten": ("ptflops", "macs (aten)"),
    "ptflops_pytorch": ("ptflops", "macs (pytorch)"),
    "thop": ("thop", "macs"),
    "fvcore_acts": ("fvcore", "activations"),
    "torchinfo_fwd_bwd_bytes_per_image": ("torchinfo", "Forward/backward pass size (MB)"),
}
FUNCTIONS: dict[str, Any] = {  # what torchvision calls as functions, not as modules
    "googlenet_noaux": "*relu*",
    "densenet121": ("relu", "adaptive_avg_pool"),
    "mobilenet_v2": ["adaptive_avg_pool"],
}


def table_of(name: str) -> Conventions:
    net = zoo.googlenet(aux_logits=False) if name == "googlenet_noaux" else getattr(zoo, name)()
    return net.conventions(functions=FUNCTIONS.get(name, ()))


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        # in the order of COLUMNS
        (
            "alexnet",
            (61100840, 714188480, 714197696, 714682664, 714682664, 716441128, 714206912, 494184, 3953472),
        ),
        (
            "resnet50",
            (25557032, 4089184256, 4111512576, 4089238376, 4089185256, 4132436968, 4133742592, 11114984, 177831744),
        ),
        (
            "mobilenet_v2",
            (3504872, 300774272, 314193216, 300809384, 300775272, 320300008, 327486720, 6679112, 106857792),
        ),
    ],
)
def test_published_networks(name: str, figures: tuple[int, ...]) -> None:
    table = table_of(name)
    assert tuple(table[key].value for key in COLUMNS.values()) == figures


@pytest.mark.skipif(not TABLE.is_file(), reason="the oracles are not beside the repository")
def test_every_network_of_the_table() -> None:
    with TABLE.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    for row in rows:
        table = table_of(row["model"])
        assert {column: table[key].value for column, key in COLUMNS.items()} == {
            column: int(row[column]) for column in COLUMNS
        }


def shown(table: Conventions, tool: str) -> list[str]:
    return [number.shown for number in table if number.tool == tool]


def test_torchsummary_prints_this() -> None:
    # torchsummary 1.5.1 on torchvision's models of 224 x 224, whose only modules besides layers are Sequential.
    assert shown(zoo.alexnet().conventions(), "torchsummary") == ["61,100,840", "0.57", "8.38", "233.08", "242.03"]
    assert shown(zoo.vgg16().conventions(), "torchsummary") == ["138,357,544", "0.57", "218.78", "527.79", "747.15"]


def test_keras_prints_this() -> None:
    # keras.applications.Xception: 22,910,480 parameters, of which 54,528 do not train; published at 88 MB.
    found = [number for number in zoo.xception().conventions() if number.tool == "Keras"]
    assert [number.value for number in found] == [22910480, 22855952, 54528]
    assert [number.shown for number in found] == [
        "22,910,480 (87.40 MB)",
        "22,855,952 (87.19 MB)",
        "54,528 (213.00 KB)",
    ]


TOOLS = (
    ("fvcore", "flops"),
    ("fvcore", "activations"),
    ("torchinfo", "Total mult-adds"),
    ("torchinfo", "Forward/backward pass size (MB)"),
    ("torchinfo", "Estimated Total Size (MB)"),
    ("ptflops", "macs (pytorch)"),
    ("ptflops", "macs (aten)"),
    ("thop", "macs"),
    ("thop", "params"),
)
LAYERS: list[Any] = [
    # shape, layer, figures in the order of TOOLS
    ((4, 20), Conv(6, 3), (1296, 108, 1404, 864, 1560, 1404, 1404, 1296, 78)),
    ((2, 6, 6, 6), Conv(4, 3, groups=2, bias=False), (6912, 256, 6912, 2048, 4272, 6912, 6912, 6912, 108)),
    (
        (6, 7, 7),
        ConvTranspose(4, 3, stride=2, padding=1, groups=2),
        (5292, 676, 18928, 5408, 7096, 5968, 5968, 18252, 112),
    ),
    ((6, 7, 7), DepthwiseConv(3, multiplier=2), (2700, 300, 3000, 2400, 4120, 3000, 3000, 2700, 120)),
    ((5, 7, 8), Linear(3, axis=-1), (840, 105, 27, 840, 2132, 945, 945, 840, 27)),
    ((8,), Linear(3, bias=False), (24, 3, 24, 24, 216, 24, 24, 24, 24)),
    ((4, 5, 6), BatchNorm(), (240, 0, 8, 960, 1536, 240, 0, 480, 8)),
    ((4, 5, 6), BatchNorm(affine=False), (120, 0, 0, 0, 544, 120, 0, 240, 0)),
    ((4, 5, 6), BatchNorm(track_running_stats=False), (600, 0, 8, 960, 1536, 240, 0, 480, 8)),
    ((4, 5, 6), InstanceNorm(affine=True), (600, 0, 8, 960, 1536, 240, 0, 480, 8)),
    ((4, 5, 6), InstanceNorm(), (480, 0, 0, 0, 544, 120, 0, 240, 0)),
    ((4, 5, 6), GroupNorm(2), (600, 0, 8, 960, 1536, 240, 0, 0, 0)),
    ((4, 5, 6), LayerNorm(axes=(0, 1, 2)), (600, 0, 240, 960, 2464, 120, 0, 480, 240)),
    ((4, 5, 6), LayerNorm(axes=(0, 1, 2), affine=False), (480, 0, 0, 0, 544, 120, 0, 240, 0)),
    ((4, 5, 6), GroupNorm(2, affine=False), (480, 0, 0, 0, 544, 120, 0, 0, 0)),
    ((8, 5, 6), LocalResponseNorm(5), (0, 0, 0, 0, 1024, 1080, 0, 0, 0)),
    ((4, 5, 6), ReLU(), (0, 0, 0, 0, 544, 240, 0, 0, 0)),
    ((4, 5, 6), ReLU6(), (0, 0, 0, 0, 544, 120, 0, 0, 0)),
    ((4, 5, 6), LeakyReLU(), (0, 0, 0, 0, 544, 120, 0, 0, 0)),
    ((4, 5, 6), ELU(), (0, 0, 0, 0, 544, 240, 0, 0, 0)),
    ((4, 5, 6), SELU(), (0, 0, 0, 0, 544, 0, 0, 0, 0)),
    ((4, 5, 6), CELU(), (0, 0, 0, 0, 544, 0, 0, 0, 0)),
    ((4, 5, 6), GELU(), (0, 0, 0, 0, 544, 240, 0, 0, 0)),
    ((4, 5, 6), SiLU(), (0, 0, 0, 0, 544, 120, 0, 0, 0)),
    ((4, 5, 6), Mish(), (0, 0, 0, 0, 544, 0, 0, 0, 0)),
    ((4, 5, 6), Hardswish(), (0, 0, 0, 0, 544, 0, 0, 0, 0)),
    ((4, 5, 6), Hardsigmoid(), (0, 0, 0, 0, 544, 0, 0, 0, 0)),
    ((4, 5, 6), Hardtanh(), (0, 0, 0, 0, 544, 0, 0, 0, 0)),
    ((4, 5, 6), Softplus(), (0, 0, 0, 0, 544, 0, 0, 0, 0)),
    ((4, 5, 6), Sigmoid(), (0, 0, 0, 0, 544, 0, 0, 0, 0)),
    ((4, 5, 6), Tanh(), (0, 0, 0, 0, 544, 0, 0, 0, 0)),
    ((4, 5, 6), PReLU(), (0, 0, 1, 960, 1508, 240, 0, 120, 1)),
    ((4, 5, 6), Softmax(axis=0), (0, 0, 0, 0, 544, 120, 0, 330, 0)),
    ((4, 5, 6), Softmax(axis=-1), (0, 0, 0, 0, 544, 120, 0, 340, 0)),
    ((4, 5, 6), LogSoftmax(axis=0), (0, 0, 0, 0, 544, 0, 0, 0, 0)),
    ((4, 7, 7), MaxPool(2), (0, 0, 0, 0, 848, 392, 0, 0, 0)),
    ((4, 7, 7), AvgPool(2), (0, 0, 0, 0, 848, 392, 0, 36, 0)),
    ((4, 7), AvgPool(2), (0, 0, 0, 0, 176, 56, 0, 12, 0)),
    ((4, 7, 7), LPPool(2, 2), (0, 0, 0, 0, 848, 268, 0, 0, 0)),
    ((4, 7, 9), AdaptiveAvgPool((3, 2)), (252, 0, 0, 0, 1072, 504, 0, 276, 0)),
    ((4, 7), AdaptiveAvgPool(1), (0, 0, 0, 0, 176, 56, 0, 32, 0)),
    ((4, 7, 7, 7), AdaptiveAvgPool(2), (0, 0, 0, 0, 5552, 2744, 0, 1404, 0)),
    ((4, 7, 9), AdaptiveMaxPool((3, 2)), (0, 0, 0, 0, 1072, 504, 0, 0, 0)),
    ((4, 5, 6), Upsample(2), (480, 0, 0, 0, 544, 960, 0, 480, 0)),
    ((4, 5, 6), Upsample(2, mode="bilinear"), (1920, 0, 0, 0, 544, 960, 0, 5280, 0)),
    ((4, 5, 6), Upsample(2, mode="bicubic"), (0, 0, 0, 0, 544, 960, 0, 124320, 0)),
    ((4, 5), Upsample(2, mode="linear"), (0, 0, 0, 0, 144, 80, 0, 200, 0)),
    ((4, 5, 6, 7), Upsample(2, mode="trilinear"), (0, 0, 0, 0, 3424, 13440, 0, 0, 0)),
    ((4, 5, 6), Upsample(2, mode="area"), (120, 0, 0, 0, 544, 1080, 0, 0, 0)),
    ((4, 5, 6), Upsample(2, mode="nearest-exact"), (0, 0, 0, 0, 544, 960, 0, 0, 0)),
    ((4, 5, 6), Upsample(size=(7, 8)), (224, 0, 0, 0, 544, 448, 0, 224, 0)),
    ((4, 5, 6), Dropout(), (0, 0, 0, 0, 544, 0, 0, 0, 0)),
    ((8, 5, 6), PixelShuffle(2), (0, 0, 0, 0, 1024, 0, 0, 0, 0)),
    ((4, 5, 6), Flatten(), (0, 0, 0, 0, 544, 0, 0, 0, 0)),
    ((4, 5, 6), Pad(1), (0, 0, 0, 0, 544, 0, 0, 0, 0)),
]


@pytest.mark.parametrize(("shape", "layer", "figures"), LAYERS)
def test_single_layers(shape: tuple[int, ...], layer: Layer, figures: tuple[int, ...]) -> None:
    table = Net.input(*shape).then(layer).conventions()
    assert tuple(table[key].value for key in TOOLS) == figures


# Rules of ours about what PyTorch has no module for --------------------------------------------------------------------


def test_layers_that_pytorch_calls_otherwise() -> None:
    maps = Net.input(4, 7, 9)

    def counted(layer: Layer) -> tuple[int, ...]:
        return tuple(maps.then(layer).conventions()[key].value for key in TOOLS)

    assert counted(GlobalAvgPool()) == counted(AdaptiveAvgPool(1))
    assert counted(GlobalMaxPool(keepdims=True)) == counted(AdaptiveMaxPool(1))
    scale = maps.then(Scale()).conventions()
    assert scale["torchinfo", "Total params"].value == 4
    assert [scale[key].value for key in TOOLS if key != ("torchinfo", "Estimated Total Size (MB)")] == [0] * 8


@frozen
class Gate(Layer):
    """A layer with parameters from another package."""

    def infer(self, inputs: Any) -> Any:
        return inputs[0]

    def parameters(self, inputs: Any) -> Any:
        return {"weight": (inputs[0].channels, 1)}

    def macs(self, inputs: Any, output: Any) -> int:
        return 7

    def buffers(self, inputs: Any) -> Any:
        return {}


def test_a_module_that_no_tool_knows() -> None:
    table = Net.input(4, 5, 6).then(Gate()).conventions()
    assert table["torchinfo", "Total mult-adds"].value == 4
    assert table["torchinfo", "Forward/backward pass size (MB)"].value == 8 * 120
    assert (table["fvcore", "flops"].value, table["thop", "macs"].value, table["thop", "params"].value) == (0, 0, 0)
    assert table["cnnbudget", "MACs"].value == 7


def test_shared_parameters() -> None:
    """torchinfo and thop count them once, torchsummary with every call."""
    twin = Conv(4, 3, padding=1)
    table = Net.input(4, 8, 8).then(twin, share="twin").then(twin, share="twin").conventions()
    own = (4 * 9 + 1) * 4
    keys = [("torchinfo", "Total params"), ("thop", "params"), ("torchsummary", "Total params")]
    assert [table[key].value for key in keys] == [own, own, 2 * own]
    assert table["torchinfo", "Params size (MB)"].value == 4 * own
    assert table["torchinfo", "Total mult-adds"].value == 2 * own * 64


def test_functions_are_seen_by_those_who_look_at_operations() -> None:
    net = Net.input(4, 8, 8).then(ReLU(), AdaptiveAvgPool(1), Concat())
    modules, functions = net.conventions(), net.conventions(functions=["relu", "adaptive*"])
    key = ("ptflops", "macs (pytorch)")
    assert (modules[key].value, functions[key].value) == (2 * 2 * 256, 2 * 256)
    assert functions["fvcore", "flops"].value == modules["fvcore", "flops"].value == 256
    assert functions["thop", "macs"].value == 0
    assert functions["torchsummary", "Forward/backward pass size (MB)"].value == 0
    assert Net.input(4, 8, 8).then(Conv(2, 3)).conventions(functions="conv")["thop", "macs"].value == 36 * 36 * 2


def test_large_and_small_numbers() -> None:
    huge = Net.input(1000, 1000, 1000).then(Conv(1000, 3, padding=1, bias=False)).conventions()
    assert huge["torchinfo", "Total mult-adds"].shown == "9.00 T"
    assert Net.input(1, 4, 4).then(ReLU()).conventions()["Keras", "Total params"].shown == "0 (0.00 B)"
    assert zoo.lenet5().conventions()["torchinfo", "Total mult-adds"].shown == "0.42 M"


def test_rows_text_and_html() -> None:
    table = zoo.alexnet().conventions()
    rows = table.rows()
    assert len(rows) == len(table) == 23
    assert rows[3] == {
        "tool": "torchinfo",
        "quantity": "Total params",
        "value": 61100840,
        "shown": "61,100,840",
        "ours": 61100840,
        "why": "trainable parameters",
    }
    assert str(table).splitlines()[0].split() == [
        *["tool", "number", "printed", "exactly", "more", "than", "here", "because"]
    ]
    assert "<table>" in table._repr_html_()
    differences = {
        (row["tool"], row["quantity"]): row["value"] - row["ours"] for row in rows if row["ours"] is not None
    }
    assert differences["ptflops", "macs (aten)"] == 494184  # a bias for every output of a convolution or linear layer


def test_bad_input() -> None:
    net = zoo.alexnet()
    with pytest.raises(InvalidTypeError, match=r"conventions\(\) takes a network: got 'alexnet'"):
        conventions("alexnet")  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError, match=r"functions are patterns of names: got 5"):
        net.conventions(functions=5)  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError, match=r"functions are patterns of names: got 5"):
        net.conventions(functions=[5])  # type: ignore[list-item]
    with pytest.raises(UnknownNameError, match=r"a pattern fits no node: got 'rleu'"):
        net.conventions(functions="rleu")
    with pytest.raises(
        UnknownNameError, match=r"no tool prints this: got \('thop', 'mac'\); did you mean 'thop: macs'"
    ):
        net.conventions()["thop", "mac"]
    with pytest.raises(UnknownNameError, match=r"no tool prints this: got 'thop'"):
        net.conventions()["thop"]  # type: ignore[index]
