"""MobileNets, ShuffleNet, MnasNet, EfficientNet, RegNet, ConvNeXt, Xception and NASNet: every number equal.

The file of data has what torchvision 0.28.0 does on torch 2.13.0 (meta device, evaluation): for every operation of a model its
parameters, buffers, what it reads, its settings, and the output's shape at two sizes; what Keras 3.15.1 builds; and the totals
of every variant. The other numbers have their source beside them.
"""

import gzip
import json
from collections import Counter
from importlib import import_module
from inspect import signature
from math import prod
from pathlib import Path

import pytest

from cnnbudget import Add, BatchNorm, Conv, Dropout, DropPath, Flatten, Inference, Linear, ReLU, Scale, Training
from cnnbudget.analysis.storage import sharing
from cnnbudget.layers.rearrange import ChannelShuffle, Pad
from cnnbudget.layers.reshape import Split
from cnnbudget.zoo.convnext import convnext_tiny
from cnnbudget.zoo.mobilenet import mobilenet_v1, mobilenet_v2, round_channels
from cnnbudget.zoo.mobilenet_v3 import mobilenet_v3_small
from cnnbudget.zoo.nasnet import nasnet_large, nasnet_mobile
from cnnbudget.zoo.regnet import regnet_y_400mf
from cnnbudget.zoo.shufflenet import shufflenet_v2_x1_0
from cnnbudget.zoo.xception import xception

DATA = json.loads(gzip.decompress((Path(__file__).parent / "data" / "zoo_mobile.json.gz").read_bytes()))
TORCHVISION, KERAS = DATA["torchvision"], DATA["keras"]

# As attributes of the zoo, constructors hide modules of the same name.
FAMILIES = (
    "mobilenet",
    "mobilenet_v3",
    "shufflenet",
    "mnasnet",
    "efficientnet",
    "regnet",
    "convnext",
    "xception",
    "nasnet",
)
MODULES = [import_module(f"cnnbudget.zoo.{family}") for family in FAMILIES]
ZOO = {name: getattr(module, name) for module in MODULES for name in module.__all__}
OWN_SIZES = ("224x224", "201x233")

# How torchvision calls the options.
OPTIONS = {
    "width_mult=0.35": {"width": 0.35},
    "width_mult=0.75": {"width": 0.75},
    "width_mult=1.4": {"width": 1.4},
    "dilated": {"dilated": True},
    "reduced_tail": {"reduced_tail": True},
}


def net_of(key, size):
    name, *words = key.split()
    options = {option: value for word in words for option, value in OPTIONS[word].items()}
    return ZOO[name](input_shape=(3, *map(int, size.split("x"))), **options)


def setting_of(layer):
    if isinstance(layer, Dropout):
        return [layer.rate, layer.inplace]
    if isinstance(layer, DropPath):
        return layer.rate
    return getattr(layer, "inplace", None)


def rows_of(net, passed=()):
    """Kind, output shape, parameters, buffers, what is read, and settings of every node but those that only rearrange."""
    place, rows = {"input": -1}, []
    for cost in net.costs():
        layer, inputs = cost.node.layer, [place[name] for name in cost.node.inputs]
        if isinstance(layer, passed):
            (place[cost.name],) = inputs
            continue
        place[cost.name] = len(rows)
        row = (type(layer).__name__, list(cost.output_shape), cost.parameter_count, cost.buffer_count)
        rows.append((*row, inputs, setting_of(layer)))
    return rows


def fingerprints(rows):
    """For every node, itself and everything that it is computed from; execution order does not matter."""
    prints = []
    for kind, shape, parameters, buffers, inputs, *_ in rows:
        read = tuple("input" if number < 0 else prints[number] for number in inputs)
        prints.append(hash((kind, tuple(shape), parameters, buffers, read)))
    return Counter(prints)


class TestTorchvision:
    def test_nothing_is_missing(self):
        assert len(TORCHVISION) == 47
        assert set(ZOO) - set(TORCHVISION) == {"mobilenet_v1", "xception", "nasnet_mobile", "nasnet_large"}
        assert sum(len(model["rows"]) for model in TORCHVISION.values()) == 14780

    @pytest.mark.parametrize("size", OWN_SIZES)
    @pytest.mark.parametrize("key", TORCHVISION)
    def test_every_operation_is_equal(self, key, size):
        """Kind, output shape, parameters, buffers and inputs, in the order of execution; in place or not; rates."""
        model = TORCHVISION[key]
        theirs = [
            (kind, shape, parameters, buffers, inputs, setting)
            for (kind, parameters, buffers, inputs, setting), shape in zip(
                model["rows"], model["shapes"][size], strict=True
            )
        ]
        assert rows_of(net_of(key, size), passed=(Flatten, Split, ChannelShuffle)) == theirs

    @pytest.mark.parametrize("key", TORCHVISION)
    def test_every_total_is_equal(self, key):
        model = TORCHVISION[key]
        for size, macs in model["macs"].items():
            net = net_of(key, size)
            assert (net.parameter_count, net.buffer_count) == (model["parameters"], model["buffers"])
            assert net.mac_count == macs

    @pytest.mark.parametrize("name", [key for key in TORCHVISION if " " not in key])
    def test_default_size_is_the_published_crop(self, name):
        """For EfficientNet the size grows with the network; RegNetY-128GF was published at 384 and 224."""
        crops = [size for size in TORCHVISION[name]["macs"] if size != "201x233"]
        own = "x".join(map(str, signature(ZOO[name]).parameters["input_shape"].default[1:]))
        assert own in crops
        if name.startswith("efficientnet"):
            assert own == crops[-1]
        assert ZOO[name]().mac_count == TORCHVISION[name]["macs"][own]

    @pytest.mark.parametrize(
        "name, mib",
        [
            ("mobilenet_v2", 74.590),
            ("mobilenet_v3_small", 15.425),
            ("mobilenet_v3_large", 42.074),
            ("shufflenet_v2_x1_0", 19.444),
            ("efficientnet_b0", 84.112),
            ("mnasnet1_0", 42.219),
            ("regnet_y_400mf", 32.077),
            ("convnext_tiny", 104.103),
        ],
    )
    def test_kept_for_backward(self, name, mib):
        """Measured on torch 2.13.0: what a training step keeps for every image, with its loss and the image, in 32 bits."""
        table = ZOO[name]().costs()
        owners = sharing(table, training=True).owners
        sizes = {"input": 3 * 224 * 224} | {cost.name: cost.output.element_count for cost in table}
        kept, extras = set(), 0
        for cost in table:
            layer = cost.node.layer
            saved = layer.saved(cost.inputs, cost.output)
            kept |= {owners[cost.node.inputs[number]] for number in saved.inputs} | (
                {owners[cost.name]} if saved.output else set()
            )
            for extra in layer.extras(cost.inputs, cost.output).values():
                if extra.batched:
                    width = 8 if extra.dtype is not None and "int64" in str(extra.dtype) else 4
                    extras += width * extra.element_count
        loss = 4 * 1000 + 8  # log-probabilities, and the target
        assert round((4 * sum(sizes[owner] for owner in kept) + extras + loss) / 2**20, 3) == mib


class TestKeras:
    """keras.applications. The order of its layers is not that of execution: compared is what every one is computed from."""

    @pytest.mark.parametrize(
        "model, net, head",
        [
            ("MobileNet", lambda shape: ZOO["mobilenet_v1"](input_shape=shape, pad_first=True), 4),
            ("Xception", lambda shape: ZOO["xception"](input_shape=shape), 2),
            ("NASNetMobile", lambda shape: ZOO["nasnet_mobile"](input_shape=shape), 2),
        ],
    )
    def test_every_layer_is_equal(self, model, net, head):
        whole, odd = KERAS[model]["graphs"].items()
        for (size, theirs), missing in ((whole, 0), (odd, head)):  # the network at the odd size has no head
            ours = net((3, *map(int, size.split("x"))))
            left = fingerprints(rows_of(ours))
            left.subtract(fingerprints(theirs))
            assert sorted(left.values(), reverse=True)[:missing] == [1] * missing
            assert not any(sorted(left.values(), reverse=True)[missing:])
            assert ours.parameter_count == KERAS[model]["parameters"]

    def test_nothing_is_missing(self):
        counts = {model: [len(rows) for rows in data["graphs"].values()] for model, data in KERAS.items()}
        assert counts == {"MobileNet": [89, 85], "Xception": [167, 165], "NASNetMobile": [910, 908]}

    @pytest.mark.parametrize(
        "net, trainable, moving",
        [
            (mobilenet_v1(width=0.25), 470072, 5472),
            (mobilenet_v1(width=0.5), 1331592, 10944),
            (mobilenet_v1(width=0.75), 2585560, 16416),
            (nasnet_large(), 88753150, 196668),
        ],
    )
    def test_totals(self, net, trainable, moving):
        assert (net.parameter_count, net.buffer_count) == (trainable, moving)

    @pytest.mark.parametrize(
        "width, trainable",
        [(0.35, 1677128), (0.5, 1968680), (0.75, 2636424), (1, 3504872), (1.3, 5386792), (1.4, 6108776)],
    )
    def test_mobilenet_v2(self, width, trainable):
        assert mobilenet_v2(width=width).parameter_count == trainable

    def test_mobilenet_v1_pads_itself_unless_asked(self):
        make, odd = mobilenet_v1, {"input_shape": (3, 201, 233)}
        plain, padded = make(), make(pad_first=True)
        assert plain.mac_count == padded.mac_count
        assert [row for row in rows_of(padded, passed=Pad) if row] == rows_of(plain)
        assert make(**odd).costs()["features/12/relu6_2"].output_shape == (1024, 7, 8)
        assert make(**odd, pad_first=True).costs()["features/12/relu6_2"].output_shape == (1024, 6, 7)


# The authors' tables of models (TF-Slim): width, then millions of multiply-accumulates for each size of the image.
SLIM_SIZES = (224, 192, 160, 128, 96)
SLIM_V1 = {1: (569, 418, 291, 186), 0.5: (150, 110, 77, 49), 0.25: (41, 34, 21, 14)}
SLIM_V1_THREE_QUARTERS = (317, 233, 162, 104)
SLIM_V2 = {
    1: (300, 221, 154, 99, 56),
    0.75: (209, 153, 107, 69, 39),
    0.5: (97, 71, 50, 32, 18),
    0.35: (59, 43, 30, 20, 11),
    1.3: (509,),
    1.4: (582,),
}
SLIM_V2_PARAMETERS = {1: 3.47, 0.75: 2.61, 0.5: 1.95, 0.35: 1.66, 1.4: 6.06}


def millions_of(make, width, printed):
    return [
        make(width=width, input_shape=(3, size, size)).mac_count / 1e6
        for size, _ in zip(SLIM_SIZES, printed, strict=False)
    ]


class TestPapers:
    def test_mobilenet_v1(self):
        """Rounded; but two figures of 12 are not what the others say: 149.497 and 30.2 million."""
        for width, printed in SLIM_V1.items():
            for macs, figure, size in zip(
                millions_of(mobilenet_v1, width, printed), printed, SLIM_SIZES[:4], strict=True
            ):
                wrong = {(0.5, 224): 149, (0.25, 192): 30}
                assert round(macs) == wrong.get((width, size), figure)

    def test_mobilenet_v1_of_three_quarters(self):
        """Howard et al. (2017), Table 6: 325 million. The authors' table leaves out the first convolution, here alone."""
        for size, printed in zip(SLIM_SIZES[:4], SLIM_V1_THREE_QUARTERS, strict=True):
            net = mobilenet_v1(width=0.75, input_shape=(3, size, size))
            assert round((net.mac_count - net.costs()["stem/conv"].macs) / 1e6) == printed
        assert round(mobilenet_v1(width=0.75).mac_count / 1e6) == 325

    def test_mobilenet_v2(self):
        """Rounded down; the parameters without those of normalisation."""
        for width, printed in SLIM_V2.items():
            assert tuple(map(int, millions_of(mobilenet_v2, width, printed))) == printed
        for width, millions in SLIM_V2_PARAMETERS.items():
            net = mobilenet_v2(width=width)
            norms = sum(cost.parameter_count for cost in net.costs() if isinstance(cost.node.layer, BatchNorm))
            assert round((net.parameter_count - norms) / 1e6, 2) == millions

    def test_nasnet(self):
        """Zoph et al. (2018), Tables 2 and 3: 564 million and 23.8 billion multiply-accumulates."""
        assert round(nasnet_mobile().mac_count / 1e6) == 564
        assert round(nasnet_large().mac_count / 1e9, 1) == 23.8

    def test_convnext(self):
        """Liu et al. (2022), Table 1."""
        billions = [round(ZOO[f"convnext_{size}"]().mac_count / 1e9, 1) for size in ("tiny", "small", "base", "large")]
        assert billions == [4.5, 8.7, 15.4, 34.4]

    @pytest.mark.parametrize(
        "name, parameters, flops, acts",
        [
            ("regnet_x_400mf", 5157512, 397678568, 3143272),
            ("regnet_x_800mf", 7259656, 799700712, 5148744),
            ("regnet_x_32gf", 107811560, 31735930792, 36302160),
            ("regnet_y_400mf", 4344144, 401849056, 3892496),
            ("regnet_y_800mf", 6263168, 797183328, 5249888),
            ("regnet_y_8gf", 39180068, 7963074196, 17968916),
            ("regnet_y_32gf", 145046770, 32279583362, 30261570),
        ],
    )
    def test_regnet_of_the_authors(self, name, parameters, flops, acts):
        """pycls' table of complexity: multiply-accumulates and additions of biases; outputs of convolutions and linear layers."""
        make = ZOO[name]
        net = make(original=True) if "original" in signature(make).parameters else make()
        weighted = [cost for cost in net.costs() if isinstance(cost.node.layer, (Conv, Linear))]
        biases = sum(prod(cost.output_shape) for cost in weighted if cost.node.layer.bias)
        assert net.parameter_count == parameters
        assert net.mac_count + biases == flops
        assert sum(prod(cost.output_shape) for cost in weighted) == acts


class TestOptions:
    @pytest.mark.parametrize("name", ZOO)
    def test_every_network(self, name):
        """Other classes and channels, and profiles in which nobody overwrites what somebody needs."""
        size = {"xception": 71, "nasnet_mobile": 64, "nasnet_large": 64}.get(name, 40)
        net = ZOO[name](num_classes=7, input_shape=(1, size, size + 3))
        assert net.output_shape == (7,)
        assert 0 < net.profile(Inference()).peak < net.profile(Training(2)).peak
        assert net == ZOO[name](num_classes=7, input_shape=(1, size, size + 3))

    def test_rounding(self):
        assert [round_channels(count) for count in (1, 8, 11.9, 12, 33.6, 34.5)] == [8, 8, 16, 16, 32, 32]
        assert [round_channels(count, 56) for count in (10, 192, 448)] == [56, 224, 448]

    @pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_large", "mnasnet1_0", "efficientnet_b0"])
    def test_dropout(self, name):
        layers = [node.layer for node in ZOO[name](dropout=0.5).network.nodes if isinstance(node.layer, Dropout)]
        assert [layer.rate for layer in layers] == [0.5]

    def test_dropout_of_xception(self):
        kinds = [type(node.layer) for node in xception(dropout=0.5).network.nodes]
        assert kinds[-2:] == [Dropout, Linear]
        assert Dropout not in [type(node.layer) for node in xception().network.nodes]

    @pytest.mark.parametrize("name", ["efficientnet_b0", "efficientnet_v2_s", "convnext_tiny"])
    def test_drop_path(self, name):
        layers = [node.layer for node in ZOO[name](drop_path=0.8).network.nodes if isinstance(node.layer, DropPath)]
        rates = [layer.rate for layer in layers]
        assert rates == sorted(rates)
        assert 0.7 < rates[-1] <= 0.8
        assert not any(layer.rate for layer in _drop_paths(ZOO[name](drop_path=0)))

    def test_units_overwrite_as_in_torchvision(self):
        """``result += input`` in some of them, ``x + result`` in the others."""
        for name, inplace in [("mobilenet_v2", False), ("mobilenet_v3_small", True), ("efficientnet_b0", True)]:
            adds = [node.layer for node in ZOO[name]().network.nodes if isinstance(node.layer, Add)]
            assert {layer.inplace for layer in adds} == {inplace}

    def test_layer_scale_and_names(self):
        nodes = convnext_tiny().network.nodes
        assert sum(isinstance(node.layer, Scale) for node in nodes) == 18
        assert "features/1/0/block/conv" in [node.name for node in nodes]
        assert "stage2/0/branch1/conv" in [node.name for node in shufflenet_v2_x1_0().network.nodes]
        assert "trunk_output/block1/0/f/se/multiply" in [node.name for node in regnet_y_400mf().network.nodes]

    def test_regnet_widths(self):
        """Radosavovic et al. (2020), appendix: the widths of the networks that torchvision rounds otherwise."""
        widths = {
            "regnet_x_400mf": [[32, 64, 160, 400], [32, 64, 160, 384]],
            "regnet_y_800mf": [[64, 144, 320, 784], [64, 128, 320, 768]],
            "regnet_y_8gf": [[224, 448, 896, 2016], [168, 448, 896, 2016]],
        }
        for name, expected in widths.items():
            for original in (False, True):
                table = ZOO[name](original=original).costs()
                seen = [cost.output_shape[0] for cost in table if isinstance(cost.node.layer, Add)]
                assert sorted(set(seen)) == expected[original]

    def test_activations_of_the_squeeze_are_not_in_place(self):
        table = mobilenet_v3_small().costs()
        activations = [cost for cost in table if isinstance(cost.node.layer, ReLU)]
        squeezes = [cost.node.layer for cost in activations if cost.output_shape[1:] == (1, 1)]
        assert len(squeezes) == 9
        assert not any(layer.inplace for layer in squeezes)


def _drop_paths(net):
    return [node.layer for node in net.network.nodes if isinstance(node.layer, DropPath)]
