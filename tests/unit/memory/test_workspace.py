"""Unrolled windows, by counting what every window holds."""

from math import prod

import pytest

from cnnbudget import (
    FP16,
    Bytes,
    Conv,
    ConvTranspose,
    DepthwiseConv,
    Footprint,
    Linear,
    LocallyConnected,
    MaxPool,
    Net,
    ReLU,
)
from cnnbudget.memory.workspace import im2col, im2col_bytes


def unrolled(layer, *shape: int) -> Footprint:
    (cost,) = Net.input(*shape).then(layer).costs()
    return im2col(cost)


@pytest.mark.parametrize(
    ("layer", "shape", "window", "positions"),
    [
        (Conv(64, 7, stride=2, padding=3), (3, 224, 224), 3 * 49, 112 * 112),
        (Conv(8, 3), (4, 10), 4 * 3, 8),
        (Conv(8, (1, 3, 3)), (4, 5, 6, 7), 4 * 9, 5 * 4 * 5),
        (Conv(8, 3, groups=2, dilation=2), (4, 9, 9), 2 * 9, 5 * 5),
        (Conv(8, 1, stride=2), (4, 9, 9), 4, 5 * 5),
        (Conv(8, 1, padding=1), (4, 9, 9), 4, 11 * 11),
        (Conv(8, 2, padding="same"), (4, 9, 9), 4 * 4, 9 * 9),
        (DepthwiseConv(3, multiplier=2, padding=1), (6, 9, 9), 9, 9 * 9),
        (ConvTranspose(6, 2, stride=2, groups=3), (9, 4, 5), 2 * 4, 4 * 5),
        (ConvTranspose(6, 1, stride=2), (9, 4, 5), 6, 4 * 5),
        (LocallyConnected(7, 3), (2, 8, 9), 2 * 9, 6 * 7),
    ],
)
def test_windows_times_positions(layer, shape: tuple[int, ...], window: int, positions: int) -> None:
    assert unrolled(layer, *shape) == Footprint(per_sample=window * positions)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Conv(8, 1), (4, 9, 9)),
        (Conv(8, (1, 1), stride=(1, 1), groups=2), (4, 9, 9)),
        (Conv(8, 1, stride=1), (4, 1, 1)),
        (DepthwiseConv(1), (4, 9, 9)),
        (ConvTranspose(8, 1), (4, 9, 9)),
        (LocallyConnected(8, 1), (4, 9, 9)),
        (MaxPool(3), (4, 9, 9)),
        (Linear(5), (4,)),
        (ReLU(), (4, 9)),
    ],
)
def test_nothing_to_unroll(layer, shape: tuple[int, ...]) -> None:
    assert unrolled(layer, *shape) == Footprint()


def test_bytes() -> None:
    (cost,) = Net.input(3, 8, 8).then(Conv(4, 3)).costs()
    assert prod((3, 3, 3, 6, 6)) == 972
    assert im2col_bytes(cost, 10) == 10 * 972 * 4
    assert im2col_bytes(cost, 10, FP16) == 10 * 972 * 2
    assert type(im2col_bytes(cost)) is Bytes
