"""The zoo: ResNets, DenseNets and segmentation node by node against torchvision; U-Net and Darknet against their sources."""

import gzip
import json
from importlib import import_module
from pathlib import Path

import pytest

from cnnbudget import (
    BatchNorm,
    CnnBudgetError,
    Concat,
    Conv,
    Dropout,
    Inference,
    InvalidTypeError,
    InvalidValueError,
    ShapeError,
    Training,
)

# By path: in the package one of these names is that of a function.
darknet, densenet, resnet, segmentation, unet = (
    import_module(f"cnnbudget.zoo.{family}") for family in ("darknet", "densenet", "resnet", "segmentation", "unet")
)

DATA = json.loads(gzip.decompress((Path(__file__).parent / "data" / "zoo_residual.json.gz").read_bytes()))
GRAPHS, TOTALS = DATA["graphs"], DATA["totals"]

NETS = {
    name: getattr(family, name) for family in (resnet, densenet, unet, segmentation, darknet) for name in family.__all__
}
SIZES = ("224x224", "201x233")


def build(name, size):
    options = {"aux_loss": True} if name in segmentation.__all__ else {}
    return NETS[name](input_shape=(3, *map(int, size.split("x"))), **options)


def rows_of(net):
    """Kind (``_`` for in place), parameters, buffers, inputs and output shape of every node, in order."""
    network, rows = net.network, []
    at = {source.name: -1 for source in network.inputs} | {node.name: i for i, node in enumerate(network.nodes)}
    for cost in net.costs():
        layer = cost.node.layer
        # torch's graph does not say that `out += identity` is in place: it records an addition.
        inplace = getattr(layer, "inplace", False) and type(layer).__name__ != "Add"
        kind = type(layer).__name__ + ("_" if inplace else "")
        inputs = [at[value] for value in cost.node.inputs]
        rows.append([kind, cost.parameter_count, cost.buffer_count, inputs, list(cost.output_shape)])
    return rows, [at[value] for value in network.outputs]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", GRAPHS)
def test_every_node_and_edge_is_torchvisions(name, size):
    expected, net = GRAPHS[name], build(name, size)
    rows, outputs = rows_of(net)
    shapes = expected["shapes"][size]
    assert rows == [[*node, shape] for node, shape in zip(expected["nodes"], shapes, strict=True)]
    assert outputs == expected["outputs"]
    assert net.parameter_count == expected["parameters"]
    assert net.buffer_count == expected["buffers"]
    assert net.mac_count == expected["macs"][size]


def test_the_data_are_complete_and_say_where_they_come_from():
    assert DATA["source"] == "torchvision 0.28.0 on torch 2.13.0, meta device, eval"
    nodes = {name: len(graph["nodes"]) for name, graph in GRAPHS.items()}
    assert nodes == {
        "resnet18": 69,
        "resnet50": 175,
        "resnet152": 515,
        "resnext50_32x4d": 175,
        "wide_resnet50_2": 175,
        "densenet121": 431,
        "fcn_resnet50": 184,
    }
    assert set(TOTALS) == {*resnet.__all__, *densenet.__all__, *segmentation.__all__}


@pytest.mark.parametrize("name", [*resnet.__all__, *densenet.__all__])
def test_totals_are_torchvisions(name):
    net = NETS[name]()
    assert [net.parameter_count, net.buffer_count, net.mac_count] == TOTALS[name]


@pytest.mark.parametrize("name", segmentation.__all__)
def test_totals_of_segmentation_are_torchvisions(name):
    parameters, buffers, published, billions = TOTALS[name]
    net, auxiliary = NETS[name](), NETS[name](aux_loss=True)
    assert (net.parameter_count, net.buffer_count) == (parameters, buffers)
    # What torchvision publishes is with the auxiliary head, at 520x520.
    assert auxiliary.parameter_count == published
    assert round(auxiliary.mac_count / 1e9, 3) == billions
    assert net.output_shape == auxiliary.output_shape == (21, 520, 520)
    assert net.network.outputs == ("out/upsample",)
    assert auxiliary.network.outputs == ("out/upsample", "aux/upsample")


@pytest.mark.parametrize("name", NETS)
def test_every_net_has_profiles(name):
    net = NETS[name]()
    assert net.profile(Inference()).peak > 4 * net.parameter_count
    assert net.profile(Training(2)).peak > 8 * net.parameter_count
    assert NETS[name]().network == net.network


@pytest.mark.parametrize(
    ("name", "batch", "measured"),
    # torch 2.13.0 on a CPU, every value freed at its last use: bytes alive without parameters, buffers and input.
    [
        ("resnet18", 2, 12845056),
        ("resnet18", 4, 25690112),
        ("resnet50", 2, 19267584),
        ("resnet50", 4, 38535168),
    ],
)
def test_inference_peaks_were_measured(name, batch, measured):
    assert NETS[name]().profile(Inference(batch)).activation_peak == measured


# Options


@pytest.mark.parametrize("name", [name for name in NETS if name != "unet"])
def test_number_of_classes(name):
    small = {"input_shape": (3, 64, 64)}
    net, fewer = NETS[name](**small), NETS[name](**small, num_classes=7)
    boxes = 3 if name == "yolo_v3" else 1
    maps = boxes * (7 + 5) if name == "yolo_v3" else 7
    assert fewer.output_shape == (maps, *net.output_shape[1:])
    assert fewer.parameter_count < net.parameter_count


@pytest.mark.parametrize("name", [*resnet.__all__, *darknet.__all__])
def test_width(name):
    net, half = (NETS[name](input_shape=(3, 64, 64), width=width, num_classes=10) for width in (1, 0.5))
    convolutions, halves = (
        [node.layer.filters for node in each.network.nodes if isinstance(node.layer, Conv)] for each in (net, half)
    )
    last = {10, 45}
    assert [2 * maps for maps in halves if maps not in last] == [maps for maps in convolutions if maps not in last]
    assert half.parameter_count < net.parameter_count


@pytest.mark.parametrize("name", ["resnet50", "resnet101", "resnet152"])
def test_strides_of_the_paper(name):
    # He et al. (2015), Table 1: 3.8, 7.6 and 11.3 billion, multiply-adds; 3.86 was cut off there.
    macs = {"resnet50": 3857973248, "resnet101": 7570194432, "resnet152": 11282415616}
    net, original = NETS[name](), NETS[name](original=True)
    assert original.parameter_count == net.parameter_count
    assert original.mac_count == macs[name] < net.mac_count
    first = next(node for node in original.network.nodes if node.name == "layer2.0/conv")
    assert (first.layer.kernel, first.layer.stride) == (1, 2)


@pytest.mark.parametrize("name", [name for name in resnet.__all__ if name not in {"resnet18", "resnet34"}])
def test_dilation_instead_of_strides(name):
    net = NETS[name]()
    dilated = NETS[name](replace_stride_with_dilation=(False, True, True))
    assert dilated.parameter_count == net.parameter_count
    assert dilated.costs()["layer4.0/relu"].output_shape[1:] == (28, 28)
    kernels = {
        node.name: node.layer.dilation for node in dilated.network.nodes if node.name in {
            "layer2.0/conv2", "layer3.0/conv2", "layer3.1/conv2", "layer4.0/conv2", "layer4.1/conv2"
        }
    }  # fmt: skip
    assert list(kernels.values()) == [1, 1, 2, 2, 4]


@pytest.mark.parametrize("name", densenet.__all__)
def test_growth_and_dropout(name):
    net = NETS[name]()
    dropped = NETS[name](dropout=0.2)
    assert sum(isinstance(node.layer, Dropout) for node in dropped.network.nodes) == sum(
        isinstance(node.layer, Conv) and node.layer.kernel == 3 for node in net.network.nodes
    )
    assert (dropped.parameter_count, dropped.mac_count) == (net.parameter_count, net.mac_count)
    assert dropped.profile(Training(2)).peak > net.profile(Training(2)).peak
    narrow = NETS[name](growth_rate=12)
    assert narrow.parameter_count < net.parameter_count
    assert [node.layer.filters for node in narrow.network.nodes if node.name.endswith("denselayer1/conv")] == [12] * 4


def test_other_ranks_and_channels():
    assert resnet.resnet18(input_shape=(1, 16000)).output_shape == (1000,)
    assert densenet.densenet121(input_shape=(2, 33, 33, 33), num_classes=3).output_shape == (3,)
    assert unet.unet(input_shape=(1, 132, 132, 116), num_classes=3, padding="same", width=0.5).output_shape == (
        3,
        128,
        128,
        112,
    )


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: resnet.resnet18(width=0), InvalidValueError),
        (lambda: resnet.resnet50(num_classes=0), InvalidValueError),
        (lambda: resnet.resnet50(input_shape=(3,)), ShapeError),
        (lambda: densenet.densenet121(growth_rate=0), InvalidValueError),
        (lambda: densenet.densenet121(input_shape=(3, 20, 20)), ShapeError),
        (lambda: densenet.densenet121(num_classes="ten"), InvalidTypeError),
        (lambda: segmentation.fcn_resnet50(input_shape=(3, 16000)), ShapeError),
        (lambda: unet.unet(padding="reflect"), InvalidValueError),
        (lambda: unet.unet(input_shape=(1, 100, 100)), ShapeError),
        (lambda: darknet.yolo_v3(input_shape=(3, 201, 233)), ShapeError),
    ],
)
def test_bad_input_is_one_clear_error(make, error):
    with pytest.raises(error) as caught:
        make()
    assert isinstance(caught.value, CnnBudgetError)


# U-Net: Ronneberger et al. (2015), Figure 1


def test_unet_has_the_sizes_of_the_figure():
    net = unet.unet()
    costs = net.costs()
    convolutions = [cost.output_shape for cost in costs if isinstance(cost.node.layer, Conv)]
    sizes = [570, 568, 282, 280, 138, 136, 66, 64, 30, 28, 54, 52, 102, 100, 198, 196, 390, 388, 388]
    maps = [64, 64, 128, 128, 256, 256, 512, 512, 1024, 1024, 512, 512, 256, 256, 128, 128, 64, 64, 2]
    assert convolutions == [(count, size, size) for count, size in zip(maps, sizes, strict=True)]
    joined = [cost.output_shape for cost in costs if isinstance(cost.node.layer, Concat)]
    assert joined == [(1024, 56, 56), (512, 104, 104), (256, 200, 200), (128, 392, 392)]
    # 3x3 convolutions with bias, 2x2 up-convolutions that halve the maps: arithmetic, the paper has no count.
    assert net.parameter_count == 31030658
    assert [costs[name].output_shape[1] for name in ("crop", "crop2", "crop3", "crop4")] == [56, 104, 200, 392]


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("size", [(224, 224), (201, 233), (188, 572)])
def test_unet_crops_what_it_carries_at_every_size(size, padding):
    net = unet.unet(input_shape=(3, *size), num_classes=5, padding=padding)
    if padding == "same":
        expected = [n - n % 16 for n in size]
    else:
        expected = []
        for n in size:
            for _ in range(4):
                n = (n - 4) // 2
            for _ in range(4):
                n = (n - 4) * 2
            expected.append(n - 4)
    assert net.output_shape == (5, *expected)
    net.profile(Inference())
    net.profile(Training(2))


def test_unet_padded_carries_without_crops():
    net = unet.unet(input_shape=(1, 512, 512), padding="same", dropout=0, width=0.25)
    assert net.output_shape == (2, 512, 512)
    assert {type(node.layer).__name__ for node in net.network.nodes} == {
        "Conv",
        "ReLU",
        "MaxPool",
        "ConvTranspose",
        "Concat",
    }


# Darknet: what the binary prints for its configurations, pjreddie/darknet at f6afaab. One operation is half a MAC.


@pytest.mark.parametrize(
    ("name", "size", "operations"),
    [
        ("darknet19", 256, 7290748928),
        ("darknet19", 448, 22327918592),
        ("darknet19", 224, 5581979648),  # AlexeyAB/darknet at 59596d7; 5.58 billion in the paper
        ("darknet53", 256, 18570231808),
        ("darknet53", 416, 49033658368),
        ("darknet53", 448, 56867110912),
        ("darknet53", 512, 74274783232),
        ("yolo_v3", 416, 65864075264),
        ("yolo_v3", 512, 99770433536),
        ("yolo_v3", 608, 140691900416),
    ],
)
def test_operations_are_darknets(name, size, operations):
    assert 2 * NETS[name](input_shape=(3, size, size)).mac_count == operations


@pytest.mark.parametrize(
    ("net", "values"),
    # yolov3.weights has 248,007,048 bytes: five ints of 32 bits, and running statistics beside the parameters.
    # darknet53.conv.74, the same file of the backbone alone, has 162,482,580.
    [(darknet.yolo_v3(), (248007048 - 20) // 4), (darknet.darknet53(), (162482580 - 20) // 4 + 1024 * 1000 + 1000)],
)
def test_weight_files_of_darknet(net, values):
    assert net.parameter_count + net.buffer_count == values


def test_the_papers_figure_of_darknet53_has_its_classifier_before_the_average():
    net = darknet.darknet53()
    last = net.costs()["head/conv"].macs
    assert last == 1024 * 1000
    assert round(2 * (net.mac_count - last + 8 * 8 * last) / 1e9, 1) == 18.7


def test_yolo_has_the_rows_of_the_configuration():
    net = darknet.yolo_v3()
    costs = net.costs()
    assert sum(isinstance(node.layer, Conv) for node in net.network.nodes) == 75
    assert sum(isinstance(node.layer, BatchNorm) for node in net.network.nodes) == 72
    assert [costs[name].output_shape for name in net.network.outputs] == [(255, 52, 52), (255, 13, 13), (255, 26, 26)]
    # routes 86 and 98: the enlarged maps first
    assert [costs[name].output_shape for name in ("concat", "concat2")] == [(768, 26, 26), (384, 52, 52)]
    nodes = {node.name: node.inputs for node in net.network.nodes}
    assert nodes["concat"] == ("enlarge_coarse/upsample", "stage4/unit.7/add")
    assert nodes["concat2"] == ("enlarge_medium/upsample", "stage3/unit.7/add")
    assert darknet.yolo_v3(boxes=5, num_classes=20).output_shape == (125, 52, 52)


def test_darknet_pools_the_last_odd_pixel():
    assert darknet.darknet19(input_shape=(3, 201, 233)).costs()["stage5/conv"].output_shape == (1024, 7, 8)
