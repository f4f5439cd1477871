"""MobileNetV2 patch by patch, as MCUNetV2 publishes it.

Lin, Chen, Cai, Gan and Han, "MCUNetV2: Memory-efficient patch-based inference for tiny deep learning" (NeurIPS 2021), Figure 1
and Section 3: int8, 224 x 224, peak 1372 kB layer by layer; 172 kB, eight times less, with 4 x 4 patches; about 10 % more
computation. Their conventions, found by trying: kB is 1024 bytes; the input image is not counted, as it may be decoded in
parts; neither is a residual's other branch; depthwise convolutions work in place; the patches end after block 4.
"""

import pytest

from cnnbudget.planning.tile_search import plan_tiles
from cnnbudget.planning.tiles import Axis, Sliding, SlidingChain, tile_cost

KIB = 1024
# Sandler et al., "MobileNetV2" (2018), Table 2: expansion, channels, repeats, stride
TABLE = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]


def mobilenet_v2(*, residuals=False, in_place=True, image=0):
    """The layers as ints, and after how many of them each block ends."""
    layers, ends, size, channels = [], [], 224, 3

    def add(kernel, stride, filters, *, depthwise=False):
        nonlocal size, channels
        axis = Axis(size, kernel=kernel, stride=stride, before=kernel // 2, after=kernel // 2)
        macs = kernel**2 * filters * (1 if depthwise else channels)
        layers.append(Sliding([axis] * 2, output_bytes=filters, macs=macs, in_place=depthwise and in_place))
        size, channels = axis.output, filters

    add(3, 2, 32)
    for expansion, filters, repeats, stride in TABLE:
        for repeat in range(repeats):
            start, before = len(layers), channels
            if expansion > 1:
                add(1, 1, channels * expansion)
            add(3, stride if repeat == 0 else 1, channels, depthwise=True)
            add(1, 1, filters)
            if residuals and repeat > 0 and before == filters:
                layers.append(Sliding([Axis(size)] * 2, output_bytes=filters, adds=start, in_place=True))
            ends.append(len(layers))
    add(1, 1, 1280)
    return SlidingChain(layers, input_bytes=image), ends


def test_layer_by_layer():
    chain, _ = mobilenet_v2()
    assert chain.suffix_bytes(0) == 1372 * KIB  # 112 x 112 x (16 + 96)
    # Table 4 of the paper of MobileNetV2: 300 M; the classifier is not among the layers here
    assert chain.macs + 1280 * 1000 == 300_774_272


def test_four_by_four_patches():
    chain, ends = mobilenet_v2()
    after_block_4 = ends[3]
    assert chain.sizes[after_block_4] == (28, 28)
    cost = tile_cost(chain, after_block_4, (4, 4))
    assert cost.peak_bytes == 171.5 * KIB  # 28 x 28 x (32 + 192): the first layer after the patches
    blocks = SlidingChain(chain.layers[:-1])  # without the last 1 x 1 convolution
    assert round(100 * cost.extra_macs / blocks.macs, 1) == 10.0
    assert round(100 * cost.extra_macs / chain.macs, 1) == 9.3


def test_that_is_the_best_in_tiles_for_a_tenth_more_work():
    chain, ends = mobilenet_v2()
    plan = plan_tiles(chain, most_extra_macs=chain.macs // 10, variants=["tiles"])
    assert plan.optimal
    assert (plan.value, plan.cost.split, plan.cost.grid) == (171.5 * KIB, ends[3], (4, 4))


def test_line_buffers_are_better_and_repeat_nothing():
    chain, _ = mobilenet_v2()
    plan = plan_tiles(chain, most_extra_macs=0)
    assert plan.cost.variant == "lines"
    assert plan.value < 171.5 * KIB


@pytest.mark.parametrize(
    "policy, layerwise, patched",
    [
        ({"residuals": True}, 1372, 28 * 28 * (32 + 192 + 32) / KIB),  # 196: block 5 holds its input until it is added
        ({"in_place": False}, 112 * 112 * 96 * (1 + 1 / 4) / KIB, 28 * 28 * (192 + 192) / KIB),  # 1470 and 294
    ],
)
def test_other_conventions_by_hand(policy, layerwise, patched):
    chain, ends = mobilenet_v2(**policy)
    assert chain.suffix_bytes(0) == layerwise * KIB
    assert tile_cost(chain, ends[3], (4, 4)).peak_bytes == patched * KIB
