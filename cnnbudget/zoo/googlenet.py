"""GoogLeNet: nine inception modules, which look at four scales side by side behind 1x1 convolutions that make it affordable.

In training two further heads, in the middle of the network, shorten the way of the gradient: the outputs ``aux1`` and ``aux2``. In
inference nobody needs them: ask for ``aux_logits=False``.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from cnnbudget.graph.block import Block, Branch
from cnnbudget.layers.activation import ReLU
from cnnbudget.layers.conv import Conv
from cnnbudget.layers.linear import Linear
from cnnbudget.layers.norm import BatchNorm, LocalResponseNorm
from cnnbudget.layers.pool import AdaptiveAvgPool, AvgPool, MaxPool
from cnnbudget.layers.regularize import Dropout
from cnnbudget.layers.reshape import Flatten
from cnnbudget.net import Net
from cnnbudget.zoo.options import check_flags, start
from cnnbudget.zoo.widths import scaled

if TYPE_CHECKING:
    from collections.abc import Callable

    from cnnbudget.tensors import Shape

    Unit = Callable[..., Block]

__all__ = ["googlenet", "googlenet_2014"]


def googlenet(
    *,
    num_classes: int = 1000,
    aux_logits: bool = True,
    dropout: float = 0.2,
    dropout_aux: float = 0.7,
    width: float = 1,
    input_shape: Shape = (3, 224, 224),
) -> Net:
    """GoogLeNet with batch normalisation, as torchvision has it.

    Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke and Rabinovich, "Going deeper with convolutions" (2014).
    Besides the normalisation, two things differ from the paper (:func:`googlenet_2014`): what should be 5x5 convolutions are
    3x3 ones, an old mistake that pretrained weights have made permanent, and the last max pooling is 2x2.

    Args:
        num_classes: Outputs, of every head.
        aux_logits: Whether it has the two auxiliary heads.
        dropout: Rate of the dropout before the last layer.
        dropout_aux: Rate of the dropout in the auxiliary heads.
        width: Factor on all feature maps and hidden units.
        input_shape: ``(C, H, W)`` of one image.

    Returns:
        The net; with auxiliary heads, its outputs are the main one, ``aux1`` and ``aux2``.

    Example:
        >>> from cnnbudget.zoo.googlenet import googlenet
        >>> googlenet().parameter_count, googlenet(aux_logits=False).parameter_count
        (13004888, 6624904)
    """
    check_flags(aux_logits=aux_logits)
    unit = partial(_normalised, width)
    head = Block(
        AdaptiveAvgPool(4),
        unit(128, 1, name="conv"),
        Flatten(),
        Block(Linear(scaled(1024, width)), name="fc1"),
        ReLU(inplace=True),
        Dropout(dropout_aux),
        Block(Linear(num_classes), name="fc2"),
    )
    stem = (
        start(input_shape)
        .then(unit(64, 7, stride=2, padding=3, name="conv1"))
        .then(_max_pool(3), name="maxpool1")
        .then(unit(64, 1, name="conv2"))
        .then(unit(192, 3, padding=1, name="conv3"))
        .then(_max_pool(3), name="maxpool2")
    )
    return (
        _inceptions(stem, unit, wide=3, last_pool=2, head=head if aux_logits else None)
        .then(AdaptiveAvgPool(1), name="avgpool")
        .then(Flatten(), Dropout(dropout))
        .then(Linear(num_classes), name="fc")
    )


def googlenet_2014(
    *,
    num_classes: int = 1000,
    aux_logits: bool = True,
    dropout: float = 0.4,
    dropout_aux: float = 0.7,
    width: float = 1,
    input_shape: Shape = (3, 224, 224),
) -> Net:
    """GoogLeNet as the paper has it: local response normalisation in the stem, biases, 5x5 convolutions.

    Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke and Rabinovich, "Going deeper with convolutions" (2014),
    Table 1 and Figure 3. The output sizes of the table agree layer by layer, and so do the operations of the inception
    modules, to a million. Where its numbers do not follow from its own columns:

    - ``conv1``: 2.7K parameters and 34M operations are not those of a 7x7 convolution to 64 maps (9,408 weights, 118M). They
      are those of a separable one: eight 7x7 kernels for every channel, then 1x1 (2,712 weights, 34M). Here it is the plain
      one that the table names.
    - ``5a``: 54M operations where the columns give 51M; 48 instead of 32 reductions before the 5x5 convolution would give 54M.
    - ``4c``: 463K parameters where the columns give 498K (of 1,024), which fits the table's 100M operations.

    Args:
        num_classes: Outputs, of every head.
        aux_logits: Whether it has the two auxiliary heads.
        dropout: Rate of the dropout before the last layer.
        dropout_aux: Rate of the dropout in the auxiliary heads.
        width: Factor on all feature maps and hidden units.
        input_shape: ``(C, H, W)`` of one image.

    Returns:
        The net; with auxiliary heads, its outputs are the main one, ``aux1`` and ``aux2``.

    Example:
        >>> from cnnbudget.zoo.googlenet import googlenet_2014
        >>> googlenet_2014().parameter_count, googlenet_2014(aux_logits=False).parameter_count
        (13378280, 6998552)
    """
    check_flags(aux_logits=aux_logits)
    unit = partial(_plain, width)
    head = Block(
        AvgPool(5, stride=3),
        unit(128, 1, name="conv"),
        Flatten(),
        Block(Linear(scaled(1024, width)), name="fc1"),
        ReLU(),
        Dropout(dropout_aux),
        Block(Linear(num_classes), name="fc2"),
    )
    stem = (
        start(input_shape)
        .then(unit(64, 7, stride=2, padding=3, name="conv1"))
        .then(_max_pool(3), LocalResponseNorm(5), name="maxpool1")
        .then(unit(64, 1, name="conv2"))
        .then(unit(192, 3, padding=1, name="conv3"))
        .then(LocalResponseNorm(5), _max_pool(3), name="maxpool2")
    )
    return (
        _inceptions(stem, unit, wide=5, last_pool=3, head=head if aux_logits else None)
        .then(AdaptiveAvgPool(1), name="avgpool")
        .then(Flatten(), Dropout(dropout))
        .then(Linear(num_classes), name="fc")
    )


def _normalised(
    width: float, filters: int, kernel: int, *, stride: int = 1, padding: int = 0, name: str | None = None
) -> Block:
    return Block(
        Conv(scaled(filters, width), kernel, stride=stride, padding=padding, bias=False),
        BatchNorm(count_batches=True),
        ReLU(inplace=True),
        name=name,
    )


def _plain(
    width: float, filters: int, kernel: int, *, stride: int = 1, padding: int = 0, name: str | None = None
) -> Block:
    return Block(Conv(scaled(filters, width), kernel, stride=stride, padding=padding), ReLU(), name=name)


def _max_pool(kernel: int) -> MaxPool:
    return MaxPool(kernel, stride=2, ceil_mode=True)


def _inceptions(net: Net, unit: Unit, *, wide: int, last_pool: int, head: Block | None) -> Net:
    """The nine modules, with the auxiliary heads behind 4a and 4d."""

    def module(name: str, one: int, reduce3: int, three: int, reduce5: int, five: int, pool: int) -> Block:
        # The arguments are the columns of Table 1.
        return Block(
            Branch(
                Block(unit(one, 1), name="branch1"),
                Block(unit(reduce3, 1, name="0"), unit(three, 3, padding=1, name="1"), name="branch2"),
                Block(unit(reduce5, 1, name="0"), unit(five, wide, padding=wide // 2, name="1"), name="branch3"),
                Block(MaxPool(3, stride=1, padding=1, ceil_mode=True), unit(pool, 1, name="1"), name="branch4"),
            ),
            name=f"inception{name}",
        )

    def auxiliary(chain: Net, label: str) -> Net:
        return chain if head is None else chain.output(label, head)

    net = net.then(module("3a", 64, 96, 128, 16, 32, 32))
    net = net.then(module("3b", 128, 128, 192, 32, 96, 64))
    net = net.then(_max_pool(3), name="maxpool3")
    net = net.then(module("4a", 192, 96, 208, 16, 48, 64))
    net = auxiliary(net, "aux1")
    net = net.then(module("4b", 160, 112, 224, 24, 64, 64))
    net = net.then(module("4c", 128, 128, 256, 24, 64, 64))
    net = net.then(module("4d", 112, 144, 288, 32, 64, 64))
    net = auxiliary(net, "aux2")
    net = net.then(module("4e", 256, 160, 320, 32, 128, 128))
    net = net.then(_max_pool(last_pool), name="maxpool4")
    net = net.then(module("5a", 256, 160, 320, 32, 128, 128))
    return net.then(module("5b", 384, 192, 384, 48, 128, 128))
