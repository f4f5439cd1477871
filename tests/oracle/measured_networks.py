"""The small networks on which PyTorch's memory was measured, as nets: layer by layer what their PyTorch modules are.

Scopes are the modules that are called, so that the frames of an eager execution are those of the modules.
"""

from cnnbudget import (
    AdaptiveAvgPool,
    Add,
    AvgPool,
    BatchNorm,
    Block,
    Branch,
    Conv,
    ConvTranspose,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Join,
    Layer,
    Linear,
    LocalResponseNorm,
    MaxPool,
    Multiply,
    Net,
    ReLU,
    Sigmoid,
    Tanh,
)
from cnnbudget.layers.activation import Hardswish, ReLU6, SiLU


def lenet5() -> Net:
    return Net.input(1, 32, 32).then(
        *(Conv(6, 5), Tanh(), AvgPool(2), Conv(16, 5), Tanh(), AvgPool(2), Conv(120, 5), Tanh(), Flatten()),
        Block(Linear(84), Tanh(), Linear(10), name="rest"),  # x is a variable to the end
    )


def plain(*, inplace: bool) -> Net:
    return Net.input(3, 32, 32).then(
        *(Conv(16, 3, padding=1), ReLU(inplace=inplace), MaxPool(2)),
        *(Conv(32, 3, padding=1), ReLU(inplace=inplace), MaxPool(2), Flatten(), Linear(10)),
    )


def head(classes: int) -> list[Layer]:
    return [AdaptiveAvgPool(1), Flatten(), Linear(classes)]


def bare(filters: int, kernel: int = 3, stride: int = 1) -> list[Layer]:
    """A convolution that keeps the size at stride 1, without bias, and its normalisation."""
    return [Conv(filters, kernel, stride=stride, padding=kernel // 2, bias=False), BatchNorm(count_batches=True)]


def conv_bn(activation: Layer) -> Net:
    net = Net.input(3, 32, 32)
    for filters, stride in ((16, 1), (32, 2), (64, 2)):
        net = net.then(*bare(filters, 3, stride), activation)
    return net.then(*head(10))


def alexnet_lrn() -> Net:
    norm = LocalResponseNorm(5)
    features = Block(
        *(Conv(96, 11, stride=4), ReLU(), norm, MaxPool(3, stride=2)),
        *(Conv(256, 5, padding=2, groups=2), ReLU(), norm, MaxPool(3, stride=2)),
        *(Conv(384, 3, padding=1), ReLU(), Conv(384, 3, padding=1, groups=2), ReLU()),
        *(Conv(256, 3, padding=1, groups=2), ReLU(), MaxPool(3, stride=2)),
        name="f",
    )
    dense = (Linear(4096), ReLU(), Dropout(), Linear(4096), ReLU(), Dropout(), Linear(1000))
    return Net.input(3, 227, 227).then(features).then(Flatten(), *dense, name="c")


def resnet20(*, inplace: bool) -> Net:
    relu = ReLU(inplace=inplace)
    net = Net.input(3, 32, 32).then(*bare(16), relu)
    before = 16
    for number, filters in enumerate((16, 16, 16, 32, 32, 32, 64, 64, 64)):
        stride = 1 if filters == before else 2
        body = Block(*bare(filters, 3, stride), relu, *bare(filters))
        if (
            filters == before
        ):  # the function's own variable for the body's result lives until it returns, as "end" has it
            end = Block(Join("x", merge=Add()), relu, name="end")
            net = net.tap("x").then(body, end, name=f"block{number}")
        else:
            shortcut = Block(*bare(filters, 1, stride), name="sc")
            net = net.then(Branch(body, shortcut, merge=Add()), relu, name=f"block{number}")
        before = filters
    return net.then(*head(10))


def dense_mini() -> Net:
    net = Net.input(3, 32, 32).then(Conv(24, 3, padding=1, bias=False))
    channels = 24
    for half in range(2):
        for number in range(4):
            new = Block(BatchNorm(count_batches=True), ReLU(), Conv(12, 3, padding=1, bias=False))
            net = net.branch(None, new, name=f"layer{half}{number}")
            channels += 12
        if not half:
            channels //= 2
            net = net.then(BatchNorm(count_batches=True), ReLU(), Conv(channels, 1, bias=False), AvgPool(2))
    return net.then(BatchNorm(count_batches=True), ReLU(), *head(10))


def inception(a: int, reduce3: int, b: int, reduce5: int, c: int, d: int) -> Branch:
    return Branch(
        Block(Conv(a, 1), ReLU(), name="b1"),
        Block(Conv(reduce3, 1), ReLU(), Conv(b, 3, padding=1), ReLU(), name="b2"),
        Block(Conv(reduce5, 1), ReLU(), Conv(c, 5, padding=2), ReLU(), name="b3"),
        Block(MaxPool(3, stride=1, padding=1), Conv(d, 1), ReLU(), name="b4"),
    )


def inception_mini() -> Net:
    return (
        Net.input(3, 32, 32)
        .then(Conv(16, 3, padding=1), ReLU())
        .then(inception(8, 8, 16, 4, 8, 8), name="one")
        .then(MaxPool(2))
        .then(inception(16, 16, 32, 8, 16, 16), name="two")
        .then(*head(10))
    )


def squeeze(channels: int) -> Branch:
    gate = Block(GlobalAvgPool(keepdims=True), Conv(channels // 4, 1), ReLU(), Conv(channels, 1), Sigmoid())
    return Branch(None, gate, merge=Multiply())


def inverted(before: int, filters: int, stride: int) -> Block | Branch:
    wide = 4 * before
    body = Block(
        *(*bare(wide, 1), SiLU()),
        *(Conv(wide, 3, stride=stride, padding=1, groups=wide, bias=False), BatchNorm(count_batches=True), SiLU()),
        Block(squeeze(wide), name="se"),
        *bare(filters, 1),
        name="n",
    )
    # The sum is x + y: the block's input is its first operand.
    return Branch(None, body, merge=Add()) if stride == 1 and before == filters else body


def mbconv_mini() -> Net:
    net = Net.input(3, 32, 32).then(*bare(16, 3, 2), SiLU())
    for number, (before, filters, stride) in enumerate(((16, 16, 1), (16, 24, 2), (24, 24, 1))):
        net = net.then(inverted(before, filters, stride), name=f"mb{number}")
    return net.then(AdaptiveAvgPool(1), Flatten(), Dropout(0.2), Linear(10))


def double(filters: int, name: str) -> Block:
    return Block(*bare(filters), ReLU(inplace=True), *bare(filters), ReLU(inplace=True), name=name)


def unet_mini() -> Net:
    # A variable of a function is alive until it returns. Here the function keeps `c`, which it assigns after its first lines, and
    # the argument `d` of an expression that calls a module: the scopes "rest" and "up2", "up1" are such frames.
    rest = (
        Block(MaxPool(2), double(32, "d3"))
        .then(Block(ConvTranspose(16, 2, stride=2), Join("c"), double(16, "e2"), name="up2"))
        .then(Block(ConvTranspose(8, 2, stride=2), Join("a"), double(8, "e1"), name="up1"))
        .then(Conv(3, 1))
    )
    net = Net.input(3, 64, 64).then(double(8, "d1")).tap("a").then(MaxPool(2), double(16, "d2")).tap("c")
    return net.then(rest, name="rest")


def wide_resnet() -> Net:
    net = Net.input(3, 32, 32).then(Conv(16, 3, padding=1, bias=False))
    for number, (filters, stride) in enumerate(((64, 1), (128, 2), (256, 2))):
        # y = ...(h); return y + sc(h), where h is a variable of the block's function
        body = Block(
            *(
                Conv(filters, 3, stride=stride, padding=1, bias=False),
                BatchNorm(count_batches=True),
                ReLU(),
                Dropout(0.3),
            ),
            Conv(filters, 3, padding=1, bias=False),
        )
        shortcut = Conv(filters, 1, stride=stride, bias=False)
        rest = Block(Branch(body, shortcut, merge=Add()), name="rest")
        net = net.then(BatchNorm(count_batches=True), ReLU(), rest, name=f"block{number}")
    return net.then(BatchNorm(count_batches=True), ReLU(), *head(10))


NETWORKS = {
    "lenet5": lenet5,
    "plain_relu": lambda: plain(inplace=False),
    "plain_relu_inplace": lambda: plain(inplace=True),
    "conv_bn_relu": lambda: conv_bn(ReLU()),
    "conv_bn_relu_inplace": lambda: conv_bn(ReLU(inplace=True)),
    "conv_bn_relu6_inplace": lambda: conv_bn(ReLU6(inplace=True)),
    "conv_bn_hardswish_inplace": lambda: conv_bn(Hardswish(inplace=True)),
    "conv_bn_silu": lambda: conv_bn(SiLU()),
    "alexnet2012_lrn": alexnet_lrn,
    "resnet20_cifar": lambda: resnet20(inplace=True),
    "resnet20_cifar_noinplace": lambda: resnet20(inplace=False),
    "dense_mini": dense_mini,
    "inception_mini": inception_mini,
    "mbconv_se_mini": mbconv_mini,
    "unet_mini": unet_mini,
    "wrn_10_4": wide_resnet,
}
