"""Published receptive fields: Araujo, Norris, Sim, "Computing Receptive Fields of Convolutional Neural Networks" (Distill, 2019).

The table is that of the article and of its tool, https://github.com/google-research/receptive_field, for TF-Slim's variants of
the networks: size, effective stride and effective padding at the end point that the article names. Here are their
convolutions and poolings alone: nothing else changes a receptive field. "SAME" in TF-Slim is "same" here, at 224x224 and for
Inception at 299x299.
"""

import pytest

from cnnbudget import Add, AvgPool, Block, Conv, MaxPool, Net
from cnnbudget.analysis.receptive import receptive_field
from cnnbudget.layers.conv import DepthwiseConv

SAME = "same"


def alexnet_v2() -> Net:
    """slim/nets/alexnet.py, up to pool5."""
    return Net.input(3, 224, 224).then(
        Conv(1, 11, stride=4),
        MaxPool(3, stride=2),
        Conv(1, 5, padding=SAME),
        MaxPool(3, stride=2),
        *[Conv(1, 3, padding=SAME)] * 3,
        MaxPool(3, stride=2),
    )


def vgg_16() -> Net:
    """slim/nets/vgg.py, up to pool5."""
    net = Net.input(3, 224, 224)
    for count in (2, 2, 3, 3, 3):
        net = net.repeat(Conv(1, 3, padding=SAME), count).then(MaxPool(2))
    return net


def mobilenet_v1() -> Net:
    """slim/nets/mobilenet_v1.py, up to Conv2d_13_pointwise."""
    net = Net.input(3, 224, 224).then(Conv(1, 3, stride=2, padding=SAME))
    for stride in (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1):
        net = net.then(DepthwiseConv(3, stride=stride, padding=SAME), Conv(1, 1))
    return net


def conv2d_same(kernel: int, stride: int) -> Conv:
    """slim/nets/resnet_utils.py: explicit padding, whatever the size, where the stride is not 1."""
    return Conv(1, kernel, stride=stride, padding=SAME if stride == 1 else (((kernel - 1) // 2, kernel // 2),) * 2)


def resnet_v1_50() -> Net:
    """slim/nets/resnet_v1.py, up to block4: the stride is in the last unit of a block, the shortcut there a 1x1 max pooling."""
    net = Net.input(3, 224, 224).then(conv2d_same(7, 2), MaxPool(3, stride=2, padding=SAME))
    for units, last in ((3, 2), (4, 2), (6, 2), (3, 1)):
        for unit in range(units):
            stride = last if unit == units - 1 else 1
            body = Block(Conv(1, 1), conv2d_same(3, stride), Conv(1, 1))
            net = net.residual(body, MaxPool(1, stride=stride) if stride > 1 else Conv(1, 1), merge=Add())
    return net


def inception_v3() -> Net:
    """slim/nets/inception_v3.py, up to Mixed_7c."""

    def conv(kernel: int | tuple[int, int]) -> Conv:
        return Conv(1, kernel, padding=SAME)

    pool = Block(AvgPool(3, stride=1, padding=SAME), conv(1))
    valid = Conv(1, 3, stride=2)
    five = (conv(1), Block(conv(1), conv(5)), Block(conv(1), conv(3), conv(3)), pool)
    seven = (
        conv(1),
        Block(conv(1), conv((1, 7)), conv((7, 1))),
        Block(conv(1), conv((7, 1)), conv((1, 7)), conv((7, 1)), conv((1, 7))),
        pool,
    )
    cross = Block(conv(1)).branch(conv((1, 3)), conv((3, 1)))
    wide = (conv(1), cross, Block(conv(1), conv(3)).branch(conv((1, 3)), conv((3, 1))), pool)
    net = Net.input(3, 299, 299).then(valid, Conv(1, 3), conv(3), MaxPool(3, stride=2), Conv(1, 1), Conv(1, 3))
    net = net.then(MaxPool(3, stride=2))
    for _ in range(3):
        net = net.branch(*five)
    net = net.branch(valid, Block(conv(1), conv(3), valid), MaxPool(3, stride=2))
    for _ in range(4):
        net = net.branch(*seven)
    net = net.branch(Block(conv(1), valid), Block(conv(1), conv((1, 7)), conv((7, 1)), valid), MaxPool(3, stride=2))
    for _ in range(2):
        net = net.branch(*wide)
    return net


@pytest.mark.parametrize(
    ("network", "size", "stride", "padding"),
    [
        (alexnet_v2, 195, 32, 64),
        (vgg_16, 212, 32, 90),
        (mobilenet_v1, 315, 32, 126),
        (resnet_v1_50, 483, 32, 239),
        (inception_v3, 1311, 32, 618),
    ],
)
def test_published_receptive_fields(network, size, stride, padding):
    table = receptive_field(network().network)
    last = table.last
    assert last is table.nodes[-1]
    assert (last.size, last.stride, last.padding) == ((size,) * 2, (stride,) * 2, (padding,) * 2)
    assert table.misaligned == ()
