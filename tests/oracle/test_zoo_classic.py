"""LeNet-5, AlexNet, VGG, SqueezeNet, GoogLeNet and Inception v3 against torchvision, Keras and the papers: every number equal.

The file of data has what torchvision 0.28.0 does on torch 2.13.0 (meta device): for every operation of a model the output's
shape, parameters, buffers and what it reads; the totals of every variant. The other numbers have their source beside them.
"""

import gzip
import json
from importlib import import_module
from math import prod
from pathlib import Path

import pytest

from cnnbudget import (
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Inference,
    InvalidTypeError,
    InvalidValueError,
    Linear,
    LocalResponseNorm,
    MaxPool,
    Net,
    RadialBasis,
    ReLU,
    Saved,
    ShapeError,
    TableConv,
    TensorSpec,
    Training,
    compare,
    zoo,
)
from cnnbudget.layers.pool import AdaptiveAvgPool
from cnnbudget.zoo.alexnet import alexnet, alexnet_2012
from cnnbudget.zoo.googlenet import googlenet, googlenet_2014
from cnnbudget.zoo.inception import inception_v3
from cnnbudget.zoo.lenet import C3_TABLE, lenet5, lenet5_1998
from cnnbudget.zoo.squeezenet import squeezenet1_0, squeezenet1_1
from cnnbudget.zoo.vgg import vgg11, vgg11_bn, vgg11_lrn, vgg16, vgg16_c

DATA = json.loads(gzip.decompress((Path(__file__).parent / "data" / "zoo_classic.json.gz").read_bytes()))
GRAPHS, TOTALS = DATA["graphs"], DATA["totals"]

# By path: in the package some of these names are those of functions.
MODULES = [
    import_module(f"cnnbudget.zoo.{family}")
    for family in ("lenet", "alexnet", "vgg", "squeezenet", "googlenet", "inception")
]
ZOO = {name: getattr(module, name) for module in MODULES for name in module.__all__}
WITH_HEADS = ("googlenet", "googlenet_2014", "inception_v3")

# How torchvision calls what we have: leaf modules, and functions.
KINDS = {
    "Conv2d": Conv,
    "BatchNorm2d": BatchNorm,
    "ReLU": ReLU,
    "relu": ReLU,
    "MaxPool2d": MaxPool,
    "max_pool2d": MaxPool,
    "avg_pool2d": AvgPool,
    "AdaptiveAvgPool2d": AdaptiveAvgPool,
    "adaptive_avg_pool2d": AdaptiveAvgPool,
    "Dropout": Dropout,
    "Linear": Linear,
    "flatten": Flatten,
    "cat": Concat,
}


def net_of(key):
    """The net of a model at a size: in training with its auxiliary heads, in evaluation without."""
    model, size = key.split("@")
    name = model.removesuffix("_train_aux")
    options = {"aux_logits": name != model} if name in WITH_HEADS else {}
    return ZOO[name](input_shape=(3, *map(int, size.split("x"))), **options)


def rows_of(table):
    place = {"input": -1} | {cost.name: number for number, cost in enumerate(table)}
    for cost in table:
        layer = cost.node.layer
        setting = layer.inplace if isinstance(layer, ReLU) else layer.rate if isinstance(layer, Dropout) else None
        inputs = [place[name] for name in cost.node.inputs]
        yield type(layer), cost.output_shape, cost.parameter_count, cost.buffer_count, inputs, setting


def layers_of(net, kind):
    return [cost for cost in net.costs() if isinstance(cost.node.layer, kind)]


def convolution_shapes(net):
    return [cost.output_shape for cost in layers_of(net, Conv)]


class TestTorchvision:
    def test_nothing_is_missing(self):
        assert len(GRAPHS) == 15
        assert len(TOTALS) == 20
        assert sum(map(len, GRAPHS.values())) == 2237

    @pytest.mark.parametrize("key", GRAPHS)
    def test_every_operation_is_equal(self, key):
        """Kind, output shape, parameters, buffers and inputs, in the order of execution; in place or not; rates of dropout."""
        theirs = [
            (KINDS[kind], tuple(shape), parameters, buffers, inputs, setting)
            for kind, shape, parameters, buffers, inputs, setting in GRAPHS[key]
        ]
        assert list(rows_of(net_of(key).costs())) == theirs

    @pytest.mark.parametrize("key", TOTALS)
    def test_every_total_is_equal(self, key):
        model = key.split("@")[0]
        parameters, buffers, macs = TOTALS[key]
        net = net_of(key)
        assert net.mac_count == macs  # counted in evaluation: without auxiliary heads
        if model in WITH_HEADS:
            net = ZOO[model]()  # constructed with them; their parameters do not depend on the size of the image
        assert (net.parameter_count, net.buffer_count) == (parameters, buffers)

    @pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
    def test_auxiliary_heads_are_all_that_is_added(self, name):
        plain, whole = ZOO[name](aux_logits=False), ZOO[name]()
        heads = whole.network.outputs[1:]
        added = [cost for cost in whole.costs() if cost.name.split("/")[0] in {head.split("/")[0] for head in heads}]
        assert len(added) + len(plain.costs()) == len(whole.costs())
        assert sum(cost.macs for cost in added) + plain.mac_count == whole.mac_count

    def test_published_count_of_googlenet_is_without_auxiliary_heads(self):
        assert googlenet(aux_logits=False).parameter_count == 6624904  # torchvision's GoogLeNet_Weights


class TestKeras:
    """keras.applications of Keras 3.15.1: total, trainable and non-trainable parameters."""

    def test_inception_v3(self):
        net = inception_v3(aux_logits=False)
        channels = sum(cost.output_shape[0] for cost in layers_of(net, BatchNorm))
        counters = len(layers_of(net, BatchNorm))
        trainable = net.parameter_count - channels  # its batch normalisation has no factors
        moving = net.buffer_count - counters  # nor a counter of batches
        assert (trainable + moving, trainable, moving) == (23851784, 23817352, 34432)

    def test_inception_v3_at_the_odd_size(self):
        net = inception_v3(aux_logits=False, input_shape=(3, 201, 233))
        assert layers_of(net, Concat)[-1].output_shape == (2048, 4, 5)

    def test_configuration_a_lrn(self):
        """Table 1: as A, with a normalisation of responses behind the first convolution; Table 2: as many parameters."""
        plain = [node.layer for node in vgg11().network.nodes]
        layers = [node.layer for node in vgg11_lrn().network.nodes]
        assert layers == [*plain[:2], LocalResponseNorm(5), *plain[2:]]
        assert vgg11_lrn().parameter_count == vgg11().parameter_count

    def test_configuration_c(self):
        """Table 1: conv1 as the last one of the last three stages; Table 2: 134 million parameters."""
        net = vgg16_c()
        kernels = [node.layer.kernel for node in net.network.nodes if isinstance(node.layer, Conv)]
        assert kernels == [3, 3, 3, 3, 3, 3, 1, 3, 3, 1, 3, 3, 1]
        assert [cost.output_shape for cost in net.costs()] == [cost.output_shape for cost in vgg16().costs()]
        fewer = {256: 56 * 56, 512: 28 * 28 + 14 * 14}
        assert net.mac_count == vgg16().mac_count - sum(8 * maps**2 * size for maps, size in fewer.items())
        assert net.parameter_count == vgg16().parameter_count - 8 * (256**2 + 2 * 512**2) == 133638952

    def test_vgg16_at_the_odd_size(self):
        net = vgg16(input_shape=(3, 201, 233))
        assert layers_of(net, MaxPool)[-1].output_shape == (512, 6, 7)
        assert sum(cost.parameter_count for cost in layers_of(net, Conv)) == 14714688


# LeNet-5, layer: output shape, trainable parameters, connections.
LENET5 = {
    "c1": ((6, 28, 28), 156, 122304),
    "s2": ((6, 14, 14), 12, 5880),
    "c3": ((16, 10, 10), 1516, 151600),
    "s4": ((16, 5, 5), 32, 2000),
    "c5": ((120, 1, 1), 48120, 48120),
    "f6": ((84,), 10164, 10164),
    "output": ((10,), 0, 840),
}


class TestLeNet5:
    """LeCun, Bottou, Bengio and Haffner (1998), section II.B."""

    def test_layers(self):
        table = lenet5_1998().costs()
        seen = {}
        for cost in table:
            scope = cost.name.split("/")[0]
            _, parameters, connections = seen.get(scope, (None, 0, 0))
            # The paper's connections: multiply-accumulates and biases; of subsampling four inputs and a bias an output.
            connections += cost.macs
            if isinstance(cost.node.layer, AvgPool):
                connections += 5 * cost.output.element_count
            elif cost.macs and cost.parameter_count:
                connections += cost.output.element_count
            seen[scope] = (cost.output_shape, parameters + cost.parameter_count, connections)
        assert seen == LENET5
        assert table.parameter_count == sum(parameters for _, parameters, _ in seen.values()) == 60000
        assert sum(connections for *_, connections in seen.values()) == 340908
        assert table.buffer_count == 840

    def test_table_of_connections(self):
        columns = [
            *["012", "123", "234", "345", "045", "015"],
            *["0123", "1234", "2345", "0345", "0145", "0125"],
            *["0134", "1245", "0235", "012345"],
        ]
        assert ["".join(map(str, maps)) for maps in C3_TABLE] == columns

    def test_modern_reading(self):
        net = lenet5()
        weighted = [cost.parameter_count for cost in net.costs() if cost.parameter_count]
        assert weighted == [156, 2416, 48120, 10164, 850]
        assert net.parameter_count == 61706

    def test_options(self):
        assert lenet5(num_classes=26).output_shape == lenet5_1998(num_classes=26).output_shape == (26,)
        small = lenet5(padding=2, input_shape=(1, 28, 28))
        assert [cost.output_shape for cost in small.costs()] == [cost.output_shape for cost in lenet5().costs()]
        assert lenet5(input_shape=(1, 28, 28)).parameter_count == 44426  # 400 - 256 inputs less for each of 120 units
        assert lenet5_1998(input_shape=(1, 36, 36)).costs()["c5/conv"].output_shape == (120, 2, 2)

    def test_what_an_output_sees(self):
        # By hand: 5x5, then 2x2 with a step of 2, twice: 1 + 4 = 5, 5 + 1 = 6, 6 + 4 * 2 = 14, 14 + 2 = 16, 16 + 4 * 4 = 32.
        seen = lenet5_1998().receptive_field()
        nodes = ("c1/conv", "s2/avg_pool", "c3/table_conv", "s4/avg_pool", "c5/conv", "output/radial_basis")
        assert [seen[node].size for node in nodes] == [(5, 5), (6, 6), (14, 14), (16, 16), (32, 32), (32, 32)]
        assert [seen[node].stride for node in nodes[:4]] == [(1, 1), (2, 2), (2, 2), (4, 4)]

    def test_compared_with_the_modern_reading(self):
        table = compare({"1998": lenet5_1998(), "today": lenet5()})
        facts = {row["fact"]: (row["1998"], row["today"]) for row in table.rows()}
        assert facts["receptive field at the end"] == ((32, 32), (16, 16))  # C5 was a convolution, over the whole of S4
        assert facts["parameters"] == (60000, 61706)
        # C3: 60 * 25 + 16 shared; a kernel of its own for each of 100 positions; 6 * 14 * 14 inputs to 1,600 outputs.
        row = next(row for row in lenet5_1998().dense_equivalent().convolutions if row.node == "c3/table_conv")
        assert (row.shared, row.unshared, row.dense) == (1516, 1500 * 100 + 1600, 1176 * 1600 + 1600)


class TestTableConv:
    @pytest.mark.parametrize("settings", [{}, {"stride": 2, "padding": 1}, {"bias": False}])
    @pytest.mark.parametrize("shape, kernel", [((4, 9), 3), ((4, 9, 8), (3, 2)), ((4, 7, 7, 7), 3)])
    def test_a_full_table_is_a_convolution(self, shape, kernel, settings):
        full = Net.input(*shape).then(TableConv([list(range(4))] * 5, kernel, **settings))
        plain = Net.input(*shape).then(Conv(5, kernel, **settings))
        assert full.output_shape == plain.output_shape
        assert (full.parameter_count, full.mac_count) == (plain.parameter_count, plain.mac_count)
        assert full.profile(Training(2)).peak == plain.profile(Training(2)).peak

    def test_it_keeps_its_input(self):
        layer, value = TableConv(((0,), (0, 1)), 3), TensorSpec((2, 6, 6))
        output = layer.infer((value,))
        assert layer.saved((value,), output) == Saved(inputs=(0,))
        assert layer.parameters((value,)) == {"weight": (3, 3, 3), "bias": (2,)}

    @pytest.mark.parametrize("table", ["012", 3, (), ((0, 1), ()), (0, 1), ((0,), 1)])
    def test_unreadable_table(self, table):
        with pytest.raises(InvalidValueError, match=r"TableConv\.table is not readable"):
            TableConv(table, 5)

    def test_wrong_maps(self):
        with pytest.raises(InvalidTypeError, match=r"TableConv\.table\[1\] must be an int"):
            TableConv(((0,), (1.5,)), 5)
        with pytest.raises(InvalidValueError, match=r"TableConv\.table\[0\] is out of range"):
            TableConv(((-1,),), 5)
        with pytest.raises(InvalidValueError, match=r"TableConv\.table\[0\] names an input map twice"):
            TableConv(((2, 2),), 5)
        with pytest.raises(ShapeError, match=r"names an input map that is not there.*got map 3 of 3"):
            Net.input(3, 8, 8).then(TableConv(((0, 3),), 3))


class TestRadialBasis:
    def test_it_keeps_its_input(self):
        layer, value = RadialBasis(10), TensorSpec((84,))
        output = layer.infer((value,))
        assert layer.saved((value,), output) == Saved(inputs=(0,))
        assert layer.buffers((value,)) == {"codes": (10, 84)}

    def test_it_takes_a_vector(self):
        with pytest.raises(ShapeError, match=r"RadialBasis does not take this shape.*put Flatten\(\) before it"):
            Net.input(3, 8, 8).then(RadialBasis(4))


class TestAlexNet2012:
    """Krizhevsky, Sutskever and Hinton (2012)."""

    def test_layers(self):
        net = alexnet_2012()
        weighted = [(cost.output_shape, cost.parameter_count) for cost in net.costs() if cost.parameter_count]
        assert weighted == [
            ((96, 55, 55), 34944),
            ((256, 27, 27), 307456),
            ((384, 13, 13), 885120),
            ((384, 13, 13), 663936),
            ((256, 13, 13), 442624),
            ((4096,), 37752832),
            ((4096,), 16781312),
            ((1000,), 4097000),
        ]
        assert net.parameter_count == 60965224

    def test_neurons(self):
        """The caption of Figure 2; its first number, 253,440, is that of 48 instead of 96 maps."""
        net = alexnet_2012()
        neurons = [prod(cost.output_shape) for cost in net.costs() if cost.parameter_count]
        assert neurons == [290400, 186624, 64896, 64896, 43264, 4096, 4096, 1000]

    def test_normalisation_is_between_relu_and_pooling(self):
        nodes = alexnet_2012().network.nodes
        kinds = [type(node.layer) for node in nodes]
        places = [place for place, kind in enumerate(kinds) if kind is LocalResponseNorm]
        assert [kinds[place - 2 : place + 2] for place in places] == [[Conv, ReLU, LocalResponseNorm, MaxPool]] * 2

    def test_options(self):
        padded = alexnet_2012(padding=2, input_shape=(3, 224, 224))
        assert [cost.output_shape for cost in padded.costs()] == [cost.output_shape for cost in alexnet_2012().costs()]
        ungrouped = alexnet_2012(groups=1)
        # Darknet's AlexNet has no groups either; it prints 0.211, 0.896, 0.299, 0.449 and 0.299 billion operations.
        assert [round(2 * cost.macs / 1e9, 3) for cost in layers_of(ungrouped, Conv)] == [
            0.211,
            0.896,
            0.299,
            0.449,
            0.299,
        ]


class TestVGG:
    def test_published_millions(self):
        """Simonyan and Zisserman (2014), Table 2."""
        millions = [round(ZOO[name]().parameter_count / 1e6) for name in ("vgg11", "vgg13", "vgg16", "vgg19")]
        assert millions == [133, 133, 138, 144]

    def test_weight_layers(self):
        for depth in (11, 13, 16, 19):
            for name in (f"vgg{depth}", f"vgg{depth}_bn"):
                net = ZOO[name]()
                assert len(layers_of(net, Conv)) + len(layers_of(net, Linear)) == depth


class TestSqueezeNet:
    """Iandola et al. (2016), Table 1. Its shapes are those of an image of 227x227."""

    def test_parameters(self):
        blocks = {}
        for cost in squeezenet1_0().costs():
            if cost.parameter_count:
                block = cost.name.split("/")[1]
                blocks[block] = blocks.get(block, 0) + cost.parameter_count
        # The first and the last convolution, and the modules between them.
        assert blocks == {
            "conv": 14208 + 513000,
            "fire2": 11920,
            "fire3": 12432,
            "fire4": 45344,
            "fire5": 49440,
            "fire6": 104880,
            "fire7": 111024,
            "fire8": 188992,
            "fire9": 197184,
        }

    def test_shapes(self):
        net = squeezenet1_0(input_shape=(3, 227, 227))
        assert convolution_shapes(net)[0] == (96, 111, 111)
        assert [cost.output_shape for cost in layers_of(net, MaxPool)] == [
            (96, 55, 55),
            (256, 27, 27),
            (512, 13, 13),  # the paper prints 13x12
        ]
        assert convolution_shapes(net)[-1] == (1000, 13, 13)
        assert convolution_shapes(squeezenet1_0())[0] == (96, 109, 109)

    def test_squeezenet1_1_is_cheaper(self):
        """The authors say 2.4 times."""
        assert round(squeezenet1_0().mac_count / squeezenet1_1().mac_count, 2) == 2.35
        assert len(squeezenet1_0().costs()) == len(squeezenet1_1().costs())


# GoogLeNet, module: output shape, weights by the table's own columns, the table's millions of operations.
GOOGLENET = {
    "3a": ((256, 28, 28), 163328, 128),
    "3b": ((480, 28, 28), 388096, 304),
    "4a": ((512, 14, 14), 375552, 73),
    "4b": ((512, 14, 14), 448512, 88),
    "4c": ((512, 14, 14), 509440, 100),
    "4d": ((528, 14, 14), 604672, 119),
    "4e": ((832, 14, 14), 867328, 170),
    "5a": ((832, 7, 7), 1042432, 54),
    "5b": ((1024, 7, 7), 1442816, 71),
}


class TestGoogLeNet2014:
    """Szegedy et al. (2014), Table 1."""

    @pytest.fixture
    def scopes(self):
        scopes = {}
        for cost in googlenet_2014().costs():
            scopes.setdefault(cost.name.split("/")[0], []).append(cost)
        return scopes

    @pytest.mark.parametrize("module", GOOGLENET)
    def test_modules(self, scopes, module):
        costs = scopes[f"inception{module}"]
        shape, weights, millions = GOOGLENET[module]
        assert costs[-1].output_shape == shape
        assert sum(prod(dict(cost.parameters).get("weight", (0,))) for cost in costs) == weights
        macs = sum(cost.macs for cost in costs)
        if module == "5a":  # what the table's columns give; 48 reductions instead of 32 would give its 54
            assert round(macs / 1e6) == 51
            assert round((macs + (48 - 32) * (832 + 25 * 128) * 49) / 1e6) == millions
        else:
            assert abs(macs / 1e6 - millions) < 1

    def test_stem(self, scopes):
        outputs = {name: scopes[name][-1].output_shape for name in ("conv1", "maxpool1", "conv3", "maxpool2")}
        assert outputs == {
            "conv1": (64, 112, 112),
            "maxpool1": (64, 56, 56),
            "conv3": (192, 56, 56),
            "maxpool2": (192, 28, 28),
        }
        reduced = [scopes[name][0] for name in ("conv2", "conv3")]
        assert sum(prod(dict(cost.parameters)["weight"]) for cost in reduced) == 112 * 1024
        assert round(sum(cost.macs for cost in reduced) / 1e6) == 360

    def test_first_convolution_is_separable_in_the_table_alone(self, scopes):
        assert round(scopes["conv1"][0].macs / 1e6) == 118
        separable = (
            Net.input(3, 224, 224)
            .then(Conv(24, 7, stride=2, padding=3, groups=3, bias=False))
            .then(Conv(64, 1, bias=False))
        )
        assert separable.parameter_count == 2712  # the table: 2.7K
        assert round(separable.mac_count / 1e6) == 34  # the table: 34M

    def test_auxiliary_heads(self, scopes):
        assert scopes["aux1"][0].output_shape == (512, 4, 4)
        assert scopes["aux2"][0].output_shape == (528, 4, 4)
        assert [cost.output_shape for cost in scopes["aux1"]] == [
            (512, 4, 4),
            (128, 4, 4),
            (128, 4, 4),
            (2048,),
            (1024,),
            (1024,),
            (1024,),
            (1000,),
        ]

    def test_normalisation_follows_pooling_and_then_comes_before_it(self):
        kinds = [type(node.layer) for node in googlenet_2014().network.nodes][:10]
        assert kinds == [Conv, ReLU, MaxPool, LocalResponseNorm, Conv, ReLU, Conv, ReLU, LocalResponseNorm, MaxPool]

    def test_totals(self):
        """The sum of the parts above: stem, modules, heads, with their biases."""
        stem = 9472 + 4160 + 110784
        modules = 163696 + 388736 + 376176 + 449160 + 510104 + 605376 + 868352 + 1043456 + 1444080
        heads = [channels * 128 + 128 + 2048 * 1024 + 1024 + 1025000 for channels in (512, 528)]
        assert googlenet_2014(aux_logits=False).parameter_count == stem + modules + 1025000
        assert googlenet_2014().parameter_count == stem + modules + 1025000 + sum(heads)

    def test_kernels_are_what_torchvision_has_not(self):
        ours, theirs = (
            {cost.node.layer.kernel for cost in layers_of(build(), Conv)} for build in (googlenet_2014, googlenet)
        )
        assert ours - theirs == {5}


class TestOptions:
    @pytest.mark.parametrize("name", ZOO)
    def test_classes(self, name):
        net = ZOO[name](num_classes=7)
        assert net.output_shape == (7,)
        table = net.costs()
        assert [table[output].output_shape for output in net.network.outputs] == [(7,)] * len(net.network.outputs)

    @pytest.mark.parametrize("name", [name for name in ZOO if not name.startswith("lenet")])
    def test_channels_and_dropout(self, name):
        channels, *size = (3, 299, 299) if name == "inception_v3" else (3, 227, 227)
        net = ZOO[name](input_shape=(channels + 1, *size), dropout=0.25)
        first = net.costs().nodes[0]
        assert first.inputs[0].shape == (4, *size)
        heads = {output.split("/")[0] for output in net.network.outputs[1:]}
        rates = {cost.node.layer.rate for cost in layers_of(net, Dropout) if cost.name.split("/")[0] not in heads}
        assert rates == {0.25}

    @pytest.mark.parametrize("name", ["googlenet", "googlenet_2014"])
    def test_dropout_of_the_auxiliary_heads(self, name):
        net = ZOO[name](dropout_aux=0.6)
        assert [cost.node.layer.rate for cost in layers_of(net, Dropout) if cost.name.startswith("aux")] == [0.6, 0.6]
        assert [output.split("/")[0] for output in net.network.outputs] == ["fc", "aux1", "aux2"]

    @pytest.mark.parametrize("size", [(224, 224), (298, 400)])
    def test_an_auxiliary_head_needs_room(self, size):
        with pytest.raises(ShapeError, match=r"needs maps of at least 17x17.*use aux_logits=False"):
            inception_v3(input_shape=(3, *size))
        assert inception_v3(input_shape=(3, *size), aux_logits=False).output_shape == (1000,)

    def test_names_are_those_of_torchvision(self):
        assert alexnet().network.nodes[0].name == "features/conv"
        assert vgg11_bn().network.nodes[1].name == "features/batch_norm"
        names = {node.name for node in inception_v3().network.nodes}
        assert {"Conv2d_1a_3x3/conv", "Mixed_6b/branch7x7dbl_5/conv", "AuxLogits/conv1/conv", "fc/linear"} <= names
        names = {node.name for node in googlenet().network.nodes}
        assert {"conv1/conv", "inception3a/branch3/1/conv", "aux2/fc1/linear", "fc/linear"} <= names

    @pytest.mark.parametrize("name", [name for name in ZOO if name != "lenet5_1998"])
    def test_width(self, name):
        """Every weight layer but the last of a head has half of the maps, and with groups an even number of them."""
        whole, half = ZOO[name](num_classes=7), ZOO[name](num_classes=7, width=0.5)
        for one, other in zip(whole.network.nodes, half.network.nodes, strict=True):
            assert (one.name, one.inputs) == (other.name, other.inputs)
            if isinstance(one.layer, Conv):
                assert other.layer == one.layer.evolve(
                    filters=one.layer.filters // (1 if one.layer.filters == 7 else 2)
                )
            elif isinstance(one.layer, Linear):
                assert other.layer == one.layer.evolve(
                    features=one.layer.features // (1 if one.layer.features == 7 else 2)
                )
            else:
                assert other.layer == one.layer

    @pytest.mark.parametrize(
        "name", ["vgg16", "resnet18", "mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "unet", "darknet19"]
    )
    def test_bad_width(self, name):
        for width in (0, -1, float("nan"), 1e9):
            with pytest.raises(InvalidValueError, match=r"width is out of range: .*expected a factor above 0"):
                getattr(zoo, name)(width=width)
        for width in ("1", None, True):
            with pytest.raises(InvalidTypeError, match="width must be a number: "):
                getattr(zoo, name)(width=width)

    def test_width_with_groups(self):
        layers = [node.layer for node in alexnet_2012(width=0.4).network.nodes if isinstance(node.layer, Conv)]
        assert [layer.filters for layer in layers] == [38, 102, 154, 154, 102]  # 38.4, 102.4, 153.6, 153.6, 102.4

    @pytest.mark.parametrize("name", ZOO)
    def test_built_twice_is_equal(self, name):
        assert ZOO[name]() == ZOO[name]()


class TestMemory:
    @pytest.mark.parametrize("name", ZOO)
    def test_every_net_has_profiles(self, name):
        """In-place layers overwrite nothing that is still needed, or this raises SharedStorageError."""
        net = ZOO[name]()
        inference, training = net.profile(Inference()), net.profile(Training(2))
        assert inference.peak < training.peak

    @pytest.mark.parametrize("name", WITH_HEADS)
    def test_inference_is_cheaper_without_auxiliary_heads(self, name):
        assert ZOO[name](aux_logits=False).profile(Inference()).peak < ZOO[name]().profile(Inference()).peak

    # Measured in PyTorch 2.13 on a CPU at batch 2: the peak of the activations, the image left out, each freed at its last use.
    @pytest.mark.parametrize(
        "name, options, measured", [("vgg16", {}, 51380224), ("googlenet", {"aux_logits": False}, 12845056)]
    )
    def test_measured_inference(self, name, options, measured):
        assert ZOO[name](**options).profile(Inference(batch=2)).activation_peak == measured


def test_global_average_is_adaptive_pooling_to_one():
    """What comes before the last layer may be written either way."""
    value = (TensorSpec((1024, 7, 7)),)
    assert AdaptiveAvgPool(1).infer(value) == GlobalAvgPool(keepdims=True).infer(value)
