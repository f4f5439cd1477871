"""Dropout."""

import pytest

from cnnbudget import Alias, Dropout, Role, Saved, TensorSpec
from cnnbudget.dtypes import FLOAT32

VALUE = TensorSpec((8, 12, 12))


@pytest.mark.parametrize("rate", [0, 0.0, 1e-9, 0.5, 1, 1.0])
def test_dropout_keeps_a_mask_in_training_and_is_the_identity_in_inference(rate):
    layer = Dropout(rate)
    assert layer.infer((VALUE,)) == VALUE
    assert layer.saved((VALUE,), VALUE) == Saved()
    assert layer.alias((VALUE,), VALUE, training=False) == Alias(input=0, in_place=False)
    mask = {"mask": TensorSpec((8, 12, 12), Role.EXTRA, FLOAT32)}
    # measured in PyTorch: nothing at p=0, one 32-bit number per value otherwise
    assert layer.extras((VALUE,), VALUE) == (mask if rate else {})
    assert layer.alias((VALUE,), VALUE, training=True) == (None if rate else Alias())
    assert layer.parameters((VALUE,)) == layer.buffers((VALUE,)) == {}
    assert layer.macs((VALUE,), VALUE) == 0


def test_half_is_dropped_unless_told():
    assert Dropout() == Dropout(0.5)
    assert repr(Dropout(0.1)) == "Dropout(0.1)"
