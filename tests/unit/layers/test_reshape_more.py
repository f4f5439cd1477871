"""Views of an input, or of a part of it; padding and shuffles."""

from math import prod

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cnnbudget.errors import InvalidTypeError, InvalidValueError, ShapeError
from cnnbudget.layers.base import Alias, Saved
from cnnbudget.layers.rearrange import ChannelShuffle, Pad, PixelShuffle, PixelUnshuffle, Unfold
from cnnbudget.layers.reshape import Crop, Flatten, Permute, Reshape, Slice, Split
from cnnbudget.memory.scenario import Inference
from cnnbudget.net import Net
from cnnbudget.tensors import TensorSpec
from cnnbudget.testing import check_layer

MAPS = (8, 12, 12)

# What torch 2.13 does on a CPU (measured): a view or a copy, and whether the input is kept for backward.
LAYERS = [
    (Flatten(), MAPS, (1152,), "view", False),
    (Flatten(start=1), MAPS, (8, 144), "view", False),
    (Flatten(end=1), MAPS, (96, 12), "view", False),
    (Flatten(start=-2, end=1), MAPS, MAPS, "view", False),
    (Reshape(-1, 6), MAPS, (192, 6), "view", False),
    (Reshape(2, 4, 144), MAPS, (2, 4, 144), "view", False),
    (Reshape((1152,)), MAPS, (1152,), "view", False),
    (Reshape(1, -1, 1), (5,), (1, 5, 1), "view", False),
    (Permute(1, 2, 0), (8, 5, 7), (5, 7, 8), "view", False),
    (Permute((0, 2, 1)), (8, 5, 7), (8, 7, 5), "view", False),
    (Split(2, 1), MAPS, (4, 12, 12), "view", False),
    (Split(3, 0, axis=-1), MAPS, (8, 12, 4), "view", False),
    (Slice(1, axis=1), MAPS, (8, 11, 12), "view", False),
    (Slice(2, 6), MAPS, (4, 12, 12), "view", False),
    (Slice(-3, -1, axis=-1), MAPS, (8, 12, 2), "view", False),
    (Slice(0, 8), MAPS, MAPS, "view", False),
    (Crop(1), MAPS, (8, 10, 10), "view", False),
    (Crop((1, 2)), MAPS, (8, 10, 8), "view", False),
    (Crop(((0, 1), (2, 3))), MAPS, (8, 11, 7), "view", False),
    (Crop(0), MAPS, MAPS, "view", False),
    (Pad(1), MAPS, (8, 14, 14), "copy", False),
    (Pad(0), MAPS, MAPS, "copy", False),
    (Pad(-1), MAPS, (8, 10, 10), "copy", False),
    (Pad(((1, 2), (0, -3))), MAPS, (8, 15, 9), "copy", False),
    (Pad(1, mode="reflect"), MAPS, (8, 14, 14), "copy", True),
    (Pad(0, mode="reflect"), MAPS, MAPS, "copy", True),
    (Pad(1, mode="replicate"), (8, 12), (8, 14), "copy", True),
    (Pad(1, mode="circular"), (8, 3, 4, 5), (8, 5, 6, 7), "copy", False),
    (PixelShuffle(2), MAPS, (2, 24, 24), "copy", False),
    (PixelShuffle(1), MAPS, MAPS, "copy", False),
    (PixelUnshuffle(2), MAPS, (32, 6, 6), "copy", False),
    (ChannelShuffle(2), MAPS, MAPS, "copy", False),
    (Unfold(3), MAPS, (72, 100), "copy", False),
    # Nothing that torch has, by the same rule.
    (PixelShuffle(2), (8, 5), (4, 10), "copy", False),
    (PixelUnshuffle(3), (2, 3, 6, 9), (54, 1, 2, 3), "copy", False),
    (Unfold((2, 1, 3), stride=2, padding="same"), (2, 3, 4, 5), (12, 12), "copy", False),
    (Unfold(3, dilation=2), (2, 9), (6, 5), "copy", False),
]


@pytest.mark.parametrize(("layer", "shape", "output", "how", "kept"), LAYERS, ids=repr)
def test_what_comes_out_and_what_it_costs(layer, shape, output, how, kept):
    value = (TensorSpec(shape),)
    after = layer.infer(value)
    assert after == TensorSpec(output)
    assert layer.saved(value, after) == (Saved(inputs=(0,)) if kept else Saved())
    assert layer.parameters(value) == layer.buffers(value) == layer.extras(value, after) == {}
    assert layer.macs(value, after) == 0
    for training in (False, True):
        assert layer.alias(value, after, training=training) == (Alias() if how == "view" else None)
    peak = Net.input(*shape).then(layer).profile(Inference()).activation_peak
    assert peak == 4 * (prod(shape) + (prod(output) if how == "copy" else 0))
    check_layer(layer, shape)


def test_how_they_are_written():
    assert repr(Flatten()) == "Flatten()"
    assert repr(Flatten(start=1)) == "Flatten(start=1)"
    assert repr(Reshape(2, -1)) == "Reshape((2, -1))"
    assert Reshape(2, -1) == Reshape((2, -1)) == Reshape([2, -1]) == Reshape(shape=(2, -1)) == Reshape(np.int64(2), -1)
    assert Reshape(6).evolve(shape=(3, 2)) == Reshape(3, 2)
    assert repr(Permute(1, 0)) == "Permute((1, 0))"
    assert Permute(1, 0) == Permute((1, 0)) == Permute([1, 0]) == Permute(axes=(1, 0)) == Permute(1, np.int64(0))
    assert repr(Slice(3)) == "Slice(3, None)"
    assert repr(Split(4, 1, axis=2)) == "Split(4, 1, axis=2)"
    assert repr(Pad(1, mode="reflect")) == "Pad(1, mode='reflect')"
    assert Crop([[1, 2], [3, 4]]) == Crop(((1, 2), (3, 4)))


sides = st.tuples(st.integers(0, 5), st.integers(0, 5))


@given(st.lists(st.tuples(st.integers(1, 9), sides), min_size=1, max_size=3), st.sampled_from(["zero", "replicate"]))
def test_crop_undoes_pad(axes, mode):
    value, amounts = TensorSpec((3, *(n for n, _ in axes))), tuple(pair for _, pair in axes)
    padded = Pad(amounts, mode=mode).infer((value,))
    assert padded.spatial == tuple(n + before + after for n, (before, after) in axes)
    assert Crop(amounts).infer((padded,)) == value
    assert Pad(tuple((-before, -after) for before, after in amounts)).infer((padded,)) == value


@given(st.integers(1, 6), st.integers(1, 4), st.lists(st.integers(1, 6), min_size=1, max_size=3))
def test_unshuffling_undoes_shuffling(channels, factor, spatial):
    value = TensorSpec((channels * factor ** len(spatial), *spatial))
    shuffled = PixelShuffle(factor).infer((value,))
    assert shuffled.shape == (channels, *(factor * n for n in spatial))
    assert PixelUnshuffle(factor).infer((shuffled,)) == value


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.data())
def test_views_are_numpys(shape, data):
    array, value = np.empty(shape), (TensorSpec(tuple(shape)),)
    axes = data.draw(st.permutations(range(len(shape))))
    assert Permute(axes).infer(value).shape == array.transpose(axes).shape
    assert Reshape(-1, shape[-1]).infer(value).shape == array.reshape(-1, shape[-1]).shape
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    start, stop = data.draw(st.integers(-7, 7)), data.draw(st.none() | st.integers(-7, 7))
    taken = array[(*(slice(None),) * (axis % len(shape)), slice(start, stop))].shape
    try:
        assert Slice(start, stop, axis=axis).infer(value).shape == taken
    except ShapeError:  # numpy clips, or takes nothing
        size = shape[axis]
        assert 0 in taken or not -size <= start < size or (stop is not None and not -size <= stop <= size)
    sections = data.draw(st.integers(1, 6))
    assume(shape[axis] % sections == 0)
    parts = np.split(array, sections, axis)
    assert [Split(sections, i, axis=axis).infer(value).shape for i in range(sections)] == [part.shape for part in parts]


@pytest.mark.parametrize(
    ("layer", "shape", "text"),
    [
        (Flatten(start=2, end=1), MAPS, "Flatten.start comes after Flatten.end: got start 2 and end 1 on (8, 12, 12)"),
        (Flatten(start=3), MAPS, "Flatten.start is not an axis of the input: got 3 on (8, 12, 12), expected -3 to 2"),
        (Flatten(end=-4), MAPS, "Flatten.end is not an axis of the input: got -4"),
        (
            Reshape(7, 7),
            MAPS,
            (
                "Reshape.shape has another number of elements: got (8, 12, 12) with 1152 elements, to (7, 7), expected sizes whose "
                "product is 1152; let one size be -1: what is left"
            ),
        ),
        (
            Reshape(7, -1),
            MAPS,
            "Reshape.shape has another number of elements: got (8, 12, 12) with 1152 elements, to (7, -1)",
        ),
        (
            Permute(1, 0),
            MAPS,
            "Permute.axes does not match the number of axes of the input: got (1, 0) on (8, 12, 12), expected an order of 3 axes",
        ),
        (
            Split(3, 0),
            MAPS,
            (
                "Split.sections must divide the size of the axis: got 3 sections of axis 0 of (8, 12, 12), expected a divisor of "
                "8; use Slice for unequal parts"
            ),
        ),
        (Split(2, 0, axis=3), MAPS, "Split.axis is not an axis of the input: got 3"),
        (
            Slice(0, 9),
            MAPS,
            "Slice does not lie on axis 0: got 0 to 9 of 8, expected a start before a stop, from 0 to 8",
        ),
        (Slice(-9), MAPS, "Slice does not lie on axis 0: got -9 to None of 8"),
        (Slice(3, 3), MAPS, "Slice does not lie on axis 0: got 3 to 3 of 8"),
        (Slice(0, axis=-4), MAPS, "Slice.axis is not an axis of the input: got -4"),
        (
            Crop(6),
            MAPS,
            "Crop.amounts leaves nothing of spatial axis 0: got (-6, -6) on 12, expected at least one position to stay; cut less",
        ),
        (Crop((1, 1, 1)), MAPS, "Crop.amounts does not match the number of spatial axes: got 3 values, (1, 1, 1)"),
        (Crop(0), (8,), "Crop does not take this shape: got (8,)"),
        (Pad(1), (8,), "Pad does not take this shape: got (8,)"),
        (
            Pad(((0, 0), (0, 12)), mode="reflect"),
            MAPS,
            "Pad.amounts is too much for mode 'reflect' along spatial axis 1: got (0, 12) on 12, expected at most 11 on each side",
        ),
        (
            Pad(13, mode="circular"),
            MAPS,
            "Pad.amounts is too much for mode 'circular' along spatial axis 0: got (13, 13) on 12",
        ),
        (Pad(-6), MAPS, "Pad.amounts leaves nothing of spatial axis 0: got (-6, -6) on 12"),
        (
            PixelShuffle(3),
            MAPS,
            (
                "PixelShuffle needs as many channels as a block has pixels, or a multiple: got 8 channels, factor 3, expected a "
                "multiple of 9"
            ),
        ),
        (PixelShuffle(2), (8,), "PixelShuffle does not take this shape"),
        (
            PixelUnshuffle(5),
            MAPS,
            (
                "PixelUnshuffle.factor must divide the spatial axes: got factor 5 on (8, 12, 12), expected a divisor of every one "
                "of them; put Pad or Crop before it"
            ),
        ),
        (PixelUnshuffle(2), (8,), "PixelUnshuffle does not take this shape"),
        (
            ChannelShuffle(3),
            MAPS,
            "ChannelShuffle.groups must divide the channels: got 3 groups of 8 channels, expected a divisor of 8",
        ),
        (ChannelShuffle(2), (8,), "ChannelShuffle does not take this shape"),
        (Unfold(13), MAPS, "Unfold: the window is larger than the padded input along spatial axis 0"),
        (Unfold(3), (8,), "Unfold does not take this shape"),
    ],
    ids=repr,
)
def test_what_does_not_fit(layer, shape, text):
    with pytest.raises(ShapeError) as caught:
        layer.infer((TensorSpec(shape),))
    assert str(caught.value).startswith(text)


ROW = "expected one size per axis; one of them may be -1"
ORDER = "expected every axis of one sample once, for example (1, 2, 0)"


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: Flatten(start=1.0), InvalidTypeError, "Flatten.start must be an int: got 1.0 (float)"),
        (lambda: Flatten(end=True), InvalidTypeError, "Flatten.end must be an int: got True (bool)"),
        (Reshape, InvalidValueError, f"Reshape.shape is not readable: got (), {ROW}"),
        (lambda: Reshape(()), InvalidValueError, f"Reshape.shape is not readable: got (), {ROW}"),
        (lambda: Reshape(shape=6), InvalidTypeError, f"Reshape.shape must be a tuple of ints: got 6, {ROW}"),
        (lambda: Reshape("6"), InvalidTypeError, "Reshape.shape[0] must be an int: got '6' (str)"),
        (lambda: Reshape(6, 2.0), InvalidTypeError, "Reshape.shape[1] must be an int: got 2.0 (float)"),
        (lambda: Reshape(6, -2), InvalidValueError, "Reshape.shape[1] is out of range: got -2"),
        (lambda: Reshape(-1, -1), InvalidValueError, f"Reshape.shape is not readable: got (-1, -1), {ROW}"),
        (lambda: Reshape(6, 0), InvalidValueError, f"Reshape.shape is not readable: got (6, 0), {ROW}"),
        (Permute, InvalidValueError, f"Permute.axes is no order of axes: got (), {ORDER}"),
        (lambda: Permute(axes=0), InvalidTypeError, f"Permute.axes must be a tuple of ints: got 0, {ORDER}"),
        (lambda: Permute(0, True), InvalidTypeError, "Permute.axes[1] must be an int: got True (bool)"),
        (lambda: Permute(0, -1), InvalidValueError, "Permute.axes[1] is out of range: got -1"),
        (lambda: Permute(0, 2), InvalidValueError, f"Permute.axes is no order of axes: got (0, 2), {ORDER}"),
        (lambda: Permute(1, 1), InvalidValueError, f"Permute.axes is no order of axes: got (1, 1), {ORDER}"),
        (lambda: Split(0, 0), InvalidValueError, "Split.sections is out of range: got 0"),
        (lambda: Split(2, 2), InvalidValueError, "Split.index is out of range: got 2, expected an int from 0 to 1"),
        (lambda: Split(2, -1), InvalidValueError, "Split.index is out of range: got -1"),
        (lambda: Slice(None), InvalidTypeError, "Slice.start must be an int: got None (NoneType)"),
        (lambda: Slice(0, 1.0), InvalidTypeError, "Slice.stop must be an int: got 1.0 (float)"),
        (lambda: Crop(-1), InvalidValueError, "Crop.amounts is out of range: got -1"),
        (lambda: Crop("same"), InvalidTypeError, "Crop.amounts must be an int: got 'same' (str)"),
        (
            lambda: Crop(((1, 2, 3),)),
            InvalidValueError,
            (
                "Crop.amounts is not readable: got ((1, 2, 3),), expected an int, one int per spatial axis, or one (before, after) "
                "pair per spatial axis"
            ),
        ),
        (lambda: Pad(()), InvalidValueError, "Pad.amounts is not readable: got ()"),
        (lambda: Pad(((1, 1), (True, 0))), InvalidTypeError, "Pad.amounts[1] must be an int: got True (bool)"),
        (
            lambda: Pad(1, mode="zeros"),
            InvalidValueError,
            "Pad.mode is an unknown word: got 'zeros'; did you mean 'zero'?",
        ),
        (lambda: Pad(1, mode=None), InvalidTypeError, "Pad.mode must be a word: got None"),
        (lambda: PixelShuffle(0), InvalidValueError, "PixelShuffle.factor is out of range: got 0"),
        (lambda: PixelUnshuffle(2.0), InvalidTypeError, "PixelUnshuffle.factor must be an int: got 2.0 (float)"),
        (lambda: ChannelShuffle(0), InvalidValueError, "ChannelShuffle.groups is out of range: got 0"),
        (lambda: Unfold(0), InvalidValueError, "Unfold.kernel is out of range: got 0"),
    ],
)
def test_bad_settings(make, error, text):
    with pytest.raises(error) as caught:
        make()
    assert str(caught.value).startswith(text)
