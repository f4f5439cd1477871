"""Which positions every output reads, against what torch's output really depends on."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnbudget import FP32, AvgPool, Conv, DepthwiseConv, MaxPool, Net
from cnnbudget.analysis.storage import sharing
from cnnbudget.errors import CnnBudgetError
from cnnbudget.memory.sliding import sliding_prefix

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.live, pytest.mark.filterwarnings("ignore:Using padding=:UserWarning")]


@given(
    kind=st.sampled_from(["conv", "depthwise", "max", "average"]),
    size=st.integers(1, 12),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 4),
    padding=st.integers(0, 3),
    dilation=st.integers(1, 3),
    ceil_mode=st.booleans(),
    same=st.booleans(),
)
@settings(max_examples=200)
def test_windows_read_what_torch_reads(kind, size, kernel, stride, padding, dilation, ceil_mode, same):
    functional = torch.nn.functional
    image = torch.eye(size)[:, None]  # sample i has a one at position i alone
    ones = torch.ones(1, 1, kernel)
    if kind in {"conv", "depthwise"}:
        stride, padding = (1, "same") if same else (stride, padding)
        options = {"stride": stride, "padding": padding, "dilation": dilation}
        layer = Conv(1, kernel, **options) if kind == "conv" else DepthwiseConv(kernel, **options)
    elif kind == "max":
        layer = MaxPool(kernel, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode)
    else:
        layer = AvgPool(kernel, stride=stride, padding=padding, ceil_mode=ceil_mode)
    try:
        table = Net.input(1, size).then(layer).costs()
    except CnnBudgetError:
        return  # torch refuses as much: tests of the layers say so
    axis = sliding_prefix(table, FP32, sharing(table, training=False), what="test").chain.layers[0].axes[0]
    if kind in {"conv", "depthwise"}:
        made = functional.conv1d(image, ones, stride=stride, padding=padding, dilation=dilation)
    elif kind == "max":
        made = functional.max_pool1d(
            image, kernel, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode
        )
    else:
        made = functional.avg_pool1d(image, kernel, stride=stride, padding=padding, ceil_mode=ceil_mode)
    assert axis.output == made.shape[-1]
    for output in range(axis.output):
        # A maximum of padding alone is minus infinity for every sample: it depends on no position.
        assert axis.touched(output) == (made[:, 0, output] > 0).nonzero().flatten().tolist()
