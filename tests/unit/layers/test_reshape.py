"""Flatten."""

from hypothesis import given
from hypothesis import strategies as st

from cnnbudget import Alias, Flatten, Saved, TensorSpec


@given(st.lists(st.integers(1, 50), min_size=1, max_size=4).map(tuple))
def test_flatten_is_a_view_of_all_elements(shape):
    layer, value = Flatten(), TensorSpec(shape)
    output = layer.infer((value,))
    assert len(output.shape) == 1
    assert output.element_count == value.element_count
    assert layer.infer((output,)) == output
    for training in (False, True):
        assert layer.alias((value,), output, training=training) == Alias(input=0, in_place=False)


def test_flatten_has_no_other_facts():
    layer, value, output = Flatten(), (TensorSpec((16, 5, 5)),), TensorSpec((400,))
    assert layer.infer(value) == output  # LeNet-5
    assert layer.saved(value, output) == Saved()
    assert layer.parameters(value) == layer.buffers(value) == layer.extras(value, output) == {}
    assert layer.macs(value, output) == 0
