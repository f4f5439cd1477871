"""Window arithmetic against a sliding window that is really slid, position by position."""

from math import prod

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cnnbudget import AvgPool, Conv, MaxPool, ShapeError, TensorSpec
from cnnbudget.windows import effective_kernel, output_size, resolve_padding, slide

SIZES, KERNELS, STRIDES, DILATIONS = st.integers(1, 40), st.integers(1, 9), st.integers(1, 7), st.integers(1, 4)


def positions(start, kernel, dilation):
    """The places on the padded axis that one window reads."""
    return [start + tap * dilation for tap in range(kernel)]


def starts_inside(length, kernel, dilation, stride):
    """Starts of the windows that lie wholly on an axis of so many places, found by trying every place."""
    return [start for start in range(0, length, stride) if positions(start, kernel, dilation)[-1] < length]


def starts_ceil(n, before, after, kernel, dilation, stride):
    """Starts of the windows in ceil mode: one further window if places after the last whole one are left to it.

    It counts only if it starts in the input or in the padding before it.
    """
    length = n + before + after
    starts = starts_inside(length, kernel, dilation, stride)
    following = starts[-1] + stride if starts else 0
    last_place_read = positions(following - stride, kernel, dilation)[-1]
    if last_place_read < length - 1 and following < n + before:
        starts.append(following)
    return starts


def least_same_padding(n, kernel, dilation, stride):
    """The least padding, found by trying, with which a window has as many positions as the stride has on the axis."""
    wanted = len(range(0, n, stride))
    total = 0
    while len(starts_inside(n + total, kernel, dilation, stride)) < wanted:
        total += 1
    return total


@given(SIZES, KERNELS, STRIDES, DILATIONS, st.integers(0, 12), st.integers(0, 12))
def test_output_size_counts_the_windows_that_lie_inside(n, kernel, stride, dilation, before, after):
    expected = len(starts_inside(n + before + after, kernel, dilation, stride))
    got = output_size(n, effective_kernel(kernel, dilation), stride, before, after)
    assert max(got, 0) == expected


@given(SIZES, KERNELS, STRIDES, DILATIONS, st.data())
def test_ceil_mode_counts_a_last_window_that_is_partly_covered(n, kernel, stride, dilation, data):
    window = positions(0, kernel, dilation)[-1] + 1
    before, after = (data.draw(st.integers(0, window - 1), side) for side in ("before", "after"))
    expected = len(starts_ceil(n, before, after, kernel, dilation, stride))
    got = output_size(n, window, stride, before, after, ceil_mode=True)
    assert max(got, 0) == expected


@given(SIZES, KERNELS, STRIDES, DILATIONS)
def test_effective_kernel_is_the_span_of_the_positions_that_are_read(n, kernel, stride, dilation):
    read = positions(n, kernel, dilation)
    assert effective_kernel(kernel, dilation) == read[-1] - read[0] + 1


@given(SIZES, KERNELS, STRIDES, DILATIONS, st.booleans())
def test_same_is_the_rule_of_tensorflow(n, kernel, stride, dilation, ceil_mode):
    window = effective_kernel(kernel, dilation)
    before, after = resolve_padding("same", n, window, stride)
    assert output_size(n, window, stride, before, after, ceil_mode=ceil_mode) == len(range(0, n, stride))
    assert before + after == least_same_padding(n, kernel, dilation, stride)
    assert after - before in {0, 1}  # the odd place is at the end


@given(SIZES, KERNELS, STRIDES)
def test_same_reads_every_place_that_its_stride_does_not_jump_over(n, kernel, stride):
    before, after = resolve_padding("same", n, kernel, stride)
    starts = starts_inside(n + before + after, kernel, 1, stride)
    reads = [{place - before for place in positions(start, kernel, 1)} for start in starts]
    axis = set(range(n))
    assert reads and all(read & axis for read in reads)  # no window lies in the padding alone
    if kernel >= stride:
        assert set().union(*reads) >= axis


@given(SIZES, KERNELS, STRIDES, st.integers(0, 20), st.integers(0, 20))
def test_explicit_padding_does_not_depend_on_the_axis(n, window, stride, before, after):
    assert resolve_padding((before, after), n, window, stride) == (before, after)
    assert resolve_padding(before, n, window, stride) == (before, before)
    assert resolve_padding("valid", n, window, stride) == (0, 0)


@st.composite
def slides(draw):
    """Spatial sizes with settings per axis: plain ints, or one value per axis."""
    rank = draw(st.integers(1, 3))

    def setting(values):
        return draw(st.one_of(values, st.tuples(*[values] * rank)))

    pads = st.integers(0, 4)
    padding = draw(
        st.one_of(
            st.sampled_from(["same", "valid"]),
            pads,
            st.tuples(*[pads] * rank),
            st.tuples(*[st.tuples(pads, pads)] * rank),
        )
    )
    spatial = tuple(draw(st.integers(1, 14)) for _ in range(rank))
    return spatial, setting(st.integers(1, 5)), setting(st.integers(1, 4)), padding, setting(st.integers(1, 3))


def one_per_axis(value, rank):
    return value if isinstance(value, tuple) else (value,) * rank


def expected_sizes(spatial, kernel, stride, padding, dilation, *, ceil_mode=False):
    """Sizes by sliding; 0 where no window fits."""
    rank = len(spatial)
    sizes = []
    for n, k, s, p, d in zip(
        spatial, *(one_per_axis(v, rank) for v in (kernel, stride, padding, dilation)), strict=True
    ):
        if p == "same":
            total = least_same_padding(n, k, d, s)
            before, after = total // 2, total - total // 2
        else:
            before, after = (0, 0) if p == "valid" else one_per_axis(p, 2)
        sizes.append(
            len(starts_ceil(n, before, after, k, d, s) if ceil_mode else starts_inside(n + before + after, k, d, s))
        )
    return tuple(sizes)


@given(slides())
def test_slide_and_conv_slide_over_every_axis(setting):
    spatial, kernel, stride, padding, dilation = setting
    expected = expected_sizes(*setting)
    layer = Conv(7, kernel, stride=stride, padding=padding, dilation=dilation)
    value = TensorSpec((2, *spatial))
    if 0 in expected:
        with pytest.raises(ShapeError, match="the window is larger than the padded input along spatial axis"):
            slide("Conv", spatial, kernel, stride, padding, dilation)
        with pytest.raises(ShapeError, match=r"^Conv: the window is larger than the padded input along spatial axis"):
            layer.infer((value,))
    else:
        assert slide("Conv", spatial, kernel, stride, padding, dilation) == expected
        assert layer.infer((value,)) == TensorSpec((7, *expected))


@given(slides(), st.booleans())
def test_pooling_slides_over_every_axis(setting, ceil_mode):
    spatial, kernel, stride, padding, dilation = setting
    rank = len(spatial)
    if padding not in {"same", "valid"}:
        sides = [max(one_per_axis(p, 2)) for p in one_per_axis(padding, rank)]
        assume(all(2 * side <= k for side, k in zip(sides, one_per_axis(kernel, rank), strict=True)))
    value = TensorSpec((3, *spatial))
    for layer, spread in (
        (MaxPool(kernel, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode), dilation),
        (AvgPool(kernel, stride=stride, padding=padding, ceil_mode=ceil_mode), 1),
    ):
        expected = expected_sizes(spatial, kernel, stride, padding, spread, ceil_mode=ceil_mode)
        if 0 in expected:
            with pytest.raises(ShapeError, match="the window is larger than the padded input"):
                layer.infer((value,))
        else:
            assert layer.infer((value,)).shape == (3, *expected)


@given(slides())
def test_slide_agrees_with_numpy_windows_over_real_arrays(setting):
    spatial, kernel, stride, padding, dilation = setting
    assume(padding != "same")
    rank = len(spatial)
    pads = [(0, 0) if p == "valid" else one_per_axis(p, 2) for p in one_per_axis(padding, rank)]
    array = np.pad(np.zeros(spatial, dtype=np.int8), pads)
    spans = [(k - 1) * d + 1 for k, d in zip(one_per_axis(kernel, rank), one_per_axis(dilation, rank), strict=True)]
    assume(all(span <= size for span, size in zip(spans, array.shape, strict=True)))
    windows = np.lib.stride_tricks.sliding_window_view(array, spans)
    stepped = windows[tuple(slice(None, None, s) for s in one_per_axis(stride, rank))]
    assert slide("Conv", spatial, kernel, stride, padding, dilation) == stepped.shape[:rank]


@given(slides())
def test_macs_count_every_tap_at_every_position(setting):
    spatial, kernel, stride, padding, dilation = setting
    expected = expected_sizes(*setting)
    assume(0 not in expected)
    layer, value = (
        Conv(4, kernel, stride=stride, padding=padding, dilation=dilation, groups=2),
        TensorSpec((6, *spatial)),
    )
    taps = prod(one_per_axis(kernel, len(spatial)))
    # at every position, each of the 4 filters reads all taps of the 3 channels of its group
    assert layer.macs((value,), layer.infer((value,))) == prod(expected) * 4 * 3 * taps


@given(slides())
def test_a_unit_stride_without_padding_loses_the_span_less_one(setting):
    spatial, kernel, _, _, dilation = setting
    rank = len(spatial)
    large = tuple(n + 30 for n in spatial)
    lost = [d * (k - 1) for k, d in zip(one_per_axis(kernel, rank), one_per_axis(dilation, rank), strict=True)]
    expected = tuple(n - less for n, less in zip(large, lost, strict=True))
    assert slide("Conv", large, kernel, 1, "valid", dilation) == expected
    assert slide("Conv", large, kernel, 1, tuple((less, 0) for less in lost), dilation) == large


@given(st.integers(1, 2**31 - 1), st.integers(1, 2**31 - 1), st.integers(1, 2**31 - 1))
def test_huge_axes_stay_exact(n, window, stride):
    before, after = resolve_padding("same", n, window, stride)
    assert output_size(n, window, stride, before, after) == n // stride + bool(n % stride)
    count = output_size(n, window, stride, 0, 0)
    if window <= n:  # the last window fits, one more would not
        assert (count - 1) * stride + window <= n < count * stride + window
    else:
        assert count <= 0
