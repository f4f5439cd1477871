"""A layer that says what it does not know."""

import pytest

from cnnbudget import Conv, Inference, InvalidValueError, MissingRuleError, Net, Training
from cnnbudget.interop import Opaque, from_json, to_json

FFT = Opaque("aten.fft_fft.default", (8, 4, 4), weights={"scale": (8, 1)})


def test_it_is_a_layer():
    assert Opaque("x", [8, 4]) == Opaque("x", (8, 4), weights=()) != Opaque("y", (8, 4))
    assert FFT.evolve(operation=FFT.operation) == FFT
    with pytest.raises(InvalidValueError, match=r"Opaque.shape is out of range|Opaque.shape"):
        Opaque("x", (8, -4))


def test_what_is_known_is_told_and_what_is_not_is_refused():
    net = Net.input(3, 8, 8).then(Conv(8, 3), FFT)
    assert net.output_shape == (8, 4, 4)
    assert net.parameter_count == 8 * 3 * 9 + 8 + 8
    assert net.buffer_count == 0
    with pytest.raises(MissingRuleError, match="node 'opaque'"):
        net.mac_count
    # parameters; then the convolution's 3 x 8 x 8 and 8 x 6 x 6 values, which are more than its and the other's 8 x 4 x 4
    assert net.profile(Inference()).peak == 4 * (232 + 3 * 64 + 8 * 36)
    with pytest.raises(MissingRuleError, match="node 'opaque'"):
        net.profile(Training(1))


def test_it_is_written_if_it_is_listed():
    network = Net.input(3, 8, 8).then(FFT).network
    assert from_json(to_json(network, layers={"Opaque": Opaque}), layers={"Opaque": Opaque}) == network
