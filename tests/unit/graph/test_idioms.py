"""The separable convolution against the full one."""

from cnnbudget import Conv, DepthwiseConv, Net, separable_conv


def test_a_separable_convolution_is_two_layers():
    block = separable_conv(128, (3, 5), stride=2, padding="same", multiplier=2, bias=False)
    assert block.parts == (
        DepthwiseConv((3, 5), multiplier=2, stride=2, padding="same", bias=False),
        Conv(128, 1, bias=False),
    )
    net = Net.input(16, 21, 30).then(block)
    assert net.output_shape == Net.input(16, 21, 30).then(Conv(128, (3, 5), stride=2, padding="same")).output_shape
    # 32 kernels of 3x5, then 128 of 32 channels; each once a position of 11x15
    assert net.parameter_count == 32 * 15 + 32 * 128
    assert net.mac_count == 11 * 15 * net.parameter_count
