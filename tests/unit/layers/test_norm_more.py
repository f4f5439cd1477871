"""Layer, group and instance normalisation, and the further options of batch normalisation."""

import pytest

from cnnbudget import (
    FP16,
    FP32,
    GlobalAvgPool,
    Inference,
    InvalidTypeError,
    InvalidValueError,
    Net,
    Role,
    Saved,
    ShapeError,
    TensorSpec,
)
from cnnbudget.dtypes import FLOAT32, INT64
from cnnbudget.layers.base import word_of
from cnnbudget.layers.norm import BatchNorm, GroupNorm, InstanceNorm, LayerNorm
from cnnbudget.testing import check_layer

MAPS = TensorSpec((8, 12, 10))


def statistic(*shape, batched=True):
    return TensorSpec(shape, Role.EXTRA, FLOAT32, batched=batched)


@pytest.mark.parametrize(
    ("layer", "word"),
    [
        (LayerNorm(), "layer_norm"),
        (LayerNorm(-1), "layer_norm"),
        (LayerNorm((0, -1)), "layer_norm"),
        (LayerNorm(affine=False), "layer_norm"),
        (LayerNorm(bias=False), "layer_norm"),
        (GroupNorm(4), "group_norm"),
        (GroupNorm(1, affine=False), "group_norm"),
        (InstanceNorm(), "instance_norm"),
        (InstanceNorm(affine=True, track_running_stats=True), "instance_norm"),
        (InstanceNorm(track_running_stats=True, count_batches=True), "instance_norm"),
        (BatchNorm(count_batches=True), "batch_norm"),
        (BatchNorm(scale=False), "batch_norm"),
    ],
)
def test_they_conform_and_keep_their_input(layer, word):
    check_layer(layer, (8, 12, 10))
    check_layer(layer, (8, 5))
    assert word_of(type(layer)) == word
    assert layer.infer((MAPS,)) == MAPS
    assert layer.saved((MAPS,), MAPS) == Saved(inputs=(0,))
    assert layer.macs((MAPS,), MAPS) == 0
    assert layer.alias((MAPS,), MAPS, training=True) is None


@pytest.mark.parametrize(
    ("axes", "normalised", "left"),
    [
        (0, (8,), 120),  # ConvNeXt's LayerNorm2d
        (-1, (10,), 96),  # torch's LayerNorm(10)
        ((-1,), (10,), 96),
        ((1, 2), (12, 10), 8),
        ([-1, -2], (12, 10), 8),
        ((2, 0), (8, 10), 12),  # in the order of the input's axes
        ((0, 1, 2), (8, 12, 10), 1),
    ],
)
def test_layer_norm_has_a_scale_for_what_it_normalises_and_statistics_for_what_is_left(axes, normalised, left):
    layer = LayerNorm(axes)
    assert layer.parameters((MAPS,)) == {"weight": normalised, "bias": normalised}
    assert layer.evolve(bias=False).parameters((MAPS,)) == {"weight": normalised}
    assert layer.evolve(affine=False).parameters((MAPS,)) == {}
    assert layer.buffers((MAPS,)) == {}
    assert layer.extras((MAPS,), MAPS) == {"mean": statistic(left), "rstd": statistic(left)}


def test_layer_norm_of_a_vector_is_over_its_features():
    vector = TensorSpec((768,))
    assert LayerNorm().extras((vector,), vector) == LayerNorm(-1).extras((vector,), vector)
    assert Net.input(768).then(LayerNorm()).parameter_count == 1536


@pytest.mark.parametrize(("axes", "text"), [(3, "3"), ((0, -4), "-4"), (100, "100")])
def test_layer_norm_refuses_an_axis_that_is_not_there(axes, text):
    with pytest.raises(ShapeError) as caught:
        LayerNorm(axes).infer((MAPS,))
    assert str(caught.value) == (
        f"LayerNorm.axes is not an axis of the input: got {text} on (8, 12, 10), expected -3 to 2"
    )


@pytest.mark.parametrize("axes", [(0, 0), (0, -3)])
def test_layer_norm_refuses_an_axis_twice(axes):
    with pytest.raises(ShapeError) as caught:
        LayerNorm(axes).infer((MAPS,))
    assert str(caught.value) == (
        f"LayerNorm.axes names an axis twice: got {axes} on (8, 12, 10), expected different axes"
    )


def test_group_norm_has_statistics_for_every_group_and_sample():
    layer = GroupNorm(4)
    assert layer.parameters((MAPS,)) == {"weight": (8,), "bias": (8,)}
    assert layer.buffers((MAPS,)) == {}
    assert GroupNorm(4, affine=False).parameters((MAPS,)) == {}
    assert layer.extras((MAPS,), MAPS) == {"mean": statistic(4), "rstd": statistic(4)}


def test_group_norm_refuses_groups_that_do_not_divide():
    with pytest.raises(ShapeError) as caught:
        GroupNorm(3).infer((MAPS,))
    assert str(caught.value) == (
        "GroupNorm.groups must divide the channels: got 3 groups on 8 channels, expected a divisor"
    )


def test_instance_norm_has_nothing_to_learn_unless_asked():
    assert InstanceNorm().parameters((MAPS,)) == {} == InstanceNorm().buffers((MAPS,))
    full = InstanceNorm(affine=True, track_running_stats=True)
    assert full.parameters((MAPS,)) == {"weight": (8,), "bias": (8,)}
    assert full.buffers((MAPS,)) == {"running_mean": (8,), "running_var": (8,)}


def test_instance_norm_has_statistics_and_copies_for_every_sample():
    plain = {"mean": statistic(8), "invstd": statistic(8)}
    weight = {"weight_copies": TensorSpec((8,), Role.EXTRA)}
    running = {"running_mean_copies": statistic(8), "running_var_copies": statistic(8)}
    assert InstanceNorm().extras((MAPS,), MAPS) == plain
    assert InstanceNorm(affine=True).extras((MAPS,), MAPS) == plain | weight
    assert InstanceNorm(track_running_stats=True).extras((MAPS,), MAPS) == plain | running
    assert InstanceNorm(affine=True, track_running_stats=True).extras((MAPS,), MAPS) == plain | weight | running


@pytest.mark.parametrize("layer", [InstanceNorm(), InstanceNorm(affine=True)])
def test_instance_norm_needs_spatial_axes(layer):
    with pytest.raises(ShapeError, match=r"InstanceNorm does not take this shape: got \(8,\)"):
        layer.infer((TensorSpec((8,)),))


@pytest.mark.parametrize(
    "layer", [BatchNorm(count_batches=True), InstanceNorm(track_running_stats=True, count_batches=True)]
)
def test_the_counter_of_batches_is_one_64_bit_number(layer):
    counter = TensorSpec((), Role.BUFFER, INT64, batched=False)
    assert layer.buffers((MAPS,)) == {"running_mean": (8,), "running_var": (8,), "num_batches_tracked": counter}
    net = Net.input(8, 12, 10).then(layer)
    assert net.buffer_count == 17
    # sixteen statistics of four bytes and a counter of eight, under every precision
    for precision in (FP32, FP16):
        assert net.profile(Inference(precision=precision)).by_role[Role.BUFFER] == 16 * 4 + 8
    for without in (layer.evolve(count_batches=False), layer.evolve(track_running_stats=False)):
        assert "num_batches_tracked" not in without.buffers((MAPS,))


def test_batch_norm_may_have_shifts_alone():
    assert BatchNorm(scale=False).parameters((MAPS,)) == {"bias": (8,)}
    assert BatchNorm(scale=False, affine=False).parameters((MAPS,)) == {}


def test_a_variant_looks_as_it_is_written():
    assert repr(LayerNorm()) == "LayerNorm(0)"
    assert repr(LayerNorm([1, 2], affine=False)) == "LayerNorm((1, 2), affine=False)"
    assert repr(GroupNorm(32)) == "GroupNorm(32)"
    assert repr(InstanceNorm(affine=True)) == "InstanceNorm(affine=True)"


BAD = {
    "LayerNorm.axes is empty: got (), expected an axis, or several": lambda: LayerNorm(()),
    "LayerNorm.axes must be an int: got 'C' (str)": lambda: LayerNorm("C"),
    "LayerNorm.axes[1] must be an int: got 1.5 (float)": lambda: LayerNorm((0, 1.5)),
    "LayerNorm.axes is out of range: got -9": lambda: LayerNorm(-9),
    "LayerNorm.bias must be a bool: got None": lambda: LayerNorm(bias=None),
    "GroupNorm.groups is out of range: got 0": lambda: GroupNorm(0),
    "GroupNorm.groups must be an int: got True (bool)": lambda: GroupNorm(True),
    "InstanceNorm.affine must be a bool: got 1": lambda: InstanceNorm(affine=1),
    "BatchNorm.count_batches must be a bool: got 1": lambda: BatchNorm(count_batches=1),
    "BatchNorm.scale must be a bool: got 'no'": lambda: BatchNorm(scale="no"),
}


@pytest.mark.parametrize(("text", "make"), BAD.items())
def test_bad_settings_meet_one_clear_error(text, make):
    with pytest.raises((InvalidTypeError, InvalidValueError)) as caught:
        make()
    assert str(caught.value).startswith(text)


def test_instance_norm_needs_two_positions():
    # PyTorch 2.13: "Expected more than 1 spatial element when training", and in evaluation too unless it tracks statistics.
    pooled = Net.input(8, 12, 12).then(GlobalAvgPool(keepdims=True))
    with pytest.raises(ShapeError, match=r"InstanceNorm has one value of every map.*got \(8, 1, 1\).*two positions"):
        pooled.then(InstanceNorm())
    assert pooled.then(InstanceNorm(track_running_stats=True)).output_shape == (8, 1, 1)
    assert Net.input(8, 2).then(InstanceNorm()).output_shape == (8, 2)
