"""Normalisation. What is kept was measured in PyTorch 2.13: batch 2, 32 bits, input 2x8x12x12 (9,216 bytes)."""

import pytest

from cnnbudget import BatchNorm, LocalResponseNorm, Role, Saved, ShapeError, TensorSpec
from cnnbudget.dtypes import FLOAT32

VALUE = TensorSpec((8, 12, 12))


def kept(layer):
    extras = layer.extras((VALUE,), VALUE)
    inputs = layer.saved((VALUE,), VALUE).inputs
    return VALUE.footprint.byte_count(2) * len(inputs), sum(spec.footprint.byte_count(2) for spec in extras.values())


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("track", [False, True])
@pytest.mark.parametrize("shape", [(8,), (8, 5), (8, 12, 12), (8, 2, 3, 4)])
def test_batch_norm(affine, track, shape):
    layer, value = BatchNorm(affine=affine, track_running_stats=track), (TensorSpec(shape),)
    assert layer.infer(value) == value[0]
    assert layer.parameters(value) == ({"weight": (8,), "bias": (8,)} if affine else {})
    assert layer.buffers(value) == ({"running_mean": (8,), "running_var": (8,)} if track else {})
    assert layer.macs(value, value[0]) == 0
    assert layer.alias(value, value[0], training=True) is None


def test_batch_norm_keeps_its_input_and_two_statistics_whatever_the_batch():
    assert BatchNorm().saved((VALUE,), VALUE) == Saved(inputs=(0,))
    statistic = TensorSpec((8,), Role.EXTRA, FLOAT32, batched=False)
    assert BatchNorm().extras((VALUE,), VALUE) == {"mean": statistic, "invstd": statistic}
    assert statistic.footprint.at(1) == statistic.footprint.at(50)
    assert kept(BatchNorm()) == (9_216, 64)


def test_batch_norm_needs_channels():
    with pytest.raises(ShapeError) as caught:
        BatchNorm().infer((TensorSpec(()),))
    assert str(caught.value) == (
        "BatchNorm does not take this shape: got (), expected (channels, *spatial) with any number of spatial axes"
    )


def test_local_response_norm_has_the_constants_of_alexnet():
    # Krizhevsky et al. (2012), section 3.3: k = 2, n = 5, alpha = 10^-4, beta = 0.75
    assert LocalResponseNorm() == LocalResponseNorm(5, alpha=0.0001, beta=0.75, k=2)


def test_local_response_norm():
    layer = LocalResponseNorm(5)
    assert layer.infer((VALUE,)) == VALUE
    assert layer.parameters((VALUE,)) == layer.buffers((VALUE,)) == {}
    assert layer.macs((VALUE,), VALUE) == 0
    assert layer.saved((VALUE,), VALUE) == Saved(inputs=(0,))
    assert layer.extras((VALUE,), VALUE) == {
        "squares": TensorSpec((12, 12, 12), Role.EXTRA),
        "sums": TensorSpec((8, 12, 12), Role.EXTRA),
        "divisor": TensorSpec((8, 12, 12), Role.EXTRA),
    }
    assert kept(layer) == (9_216, 32_256)


@pytest.mark.parametrize("shape", [(), (8,)])
def test_local_response_norm_needs_a_spatial_axis(shape):
    with pytest.raises(
        ShapeError, match=r"^LocalResponseNorm does not take this shape: got .* at least one spatial axis$"
    ):
        LocalResponseNorm().infer((TensorSpec(shape),))
