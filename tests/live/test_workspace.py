"""Unrolled windows beside ``torch.nn.functional.unfold``, which unrolls them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnbudget import Conv, DepthwiseConv, Net
from cnnbudget.memory.workspace import im2col

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402

pytestmark = pytest.mark.live

small = st.integers(1, 3)


@given(small, small, small, small, st.integers(0, 2), st.integers(7, 12), st.booleans())
def test_as_many_elements_as_unfold(groups, share, kernel, stride, padding, size, depthwise) -> None:
    if depthwise:
        share, layer = 1, DepthwiseConv(kernel, stride=stride, padding=padding)
    else:
        layer = Conv(groups, kernel, stride=stride, padding=padding, groups=groups)
    (cost,) = Net.input(groups * share, size, size + 1).then(layer).costs()
    one_group = torch.empty(1, share, size, size + 1, device="meta")
    unrolled = F.unfold(one_group, kernel, padding=padding, stride=stride).numel()
    plain = (kernel, stride, padding) == (1, 1, 0)  # the input itself
    assert im2col(cost).per_sample == (0 if plain else unrolled)
