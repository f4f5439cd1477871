"""What sharing saves, for every kind of convolution, by hand."""

from typing import Any

import pytest
from attrs import frozen

from cnnbudget import Conv, InvalidTypeError, Linear, MissingRuleError, Net, ReLU, dense_equivalent
from cnnbudget.layers.conv import ConvTranspose, DepthwiseConv
from cnnbudget.layers.local import LocallyConnected


def row(net: Net) -> dict[str, Any]:
    (found,) = net.dense_equivalent().rows()
    return {key: found[key] for key in ("shared", "unshared", "dense_map", "dense")}


def test_the_books_example() -> None:
    """200 feature maps, 5x5 kernels, 150 x 100 pixels of three colours: Géron, chapter 14 in the second edition."""
    inputs, neurons = 150 * 100 * 3, 150 * 100
    assert row(Net.input(3, 150, 100).then(Conv(200, 5, padding="same"))) == {
        "shared": (5 * 5 * 3 + 1) * 200,  # 15,200
        "unshared": 15_200 * neurons,
        "dense_map": inputs * neurons,  # 675,000,000: one feature map, without biases
        "dense": 200 * (inputs * neurons + neurons),
    }
    assert inputs * neurons == 675_000_000


def test_groups_do_not_matter_to_dense_layers() -> None:
    # 4 channels of 6 positions to 8 of 4, in two groups: weights 8 * 2 * 3, biases 8.
    assert row(Net.input(4, 6).then(Conv(8, 3, groups=2))) == {
        "shared": 48 + 8,
        "unshared": (48 + 8) * 4,
        "dense_map": 24 * 4,
        "dense": 24 * 32 + 32,
    }


def test_depthwise_convolutions() -> None:
    grouped = Net.input(4, 6).then(Conv(8, 3, groups=4, bias=False))
    assert row(Net.input(4, 6).then(DepthwiseConv(3, multiplier=2, bias=False))) == row(grouped)
    assert row(grouped)["unshared"] == 8 * 3 * 4


def test_transposed_convolutions_have_a_kernel_for_every_input_position() -> None:
    # 2 channels of 3 positions to 5 of 6: weights 2 * 5 * 2, biases 5.
    assert row(Net.input(2, 3).then(ConvTranspose(5, 2, stride=2))) == {
        "shared": 20 + 5,
        "unshared": 20 * 3 + 5 * 6,
        "dense_map": 6 * 6,
        "dense": 6 * 30 + 30,
    }


def test_what_is_unshared_is_what_a_locally_connected_layer_has() -> None:
    net = Net.input(3, 9, 7)
    unshared = row(net.then(Conv(4, 3, stride=2)))["unshared"]
    assert unshared == net.then(LocallyConnected(4, 3, stride=2)).parameter_count


def test_other_layers_have_no_row() -> None:
    table = Net.input(8).then(Linear(4), ReLU()).dense_equivalent()
    assert table.rows() == []
    assert (table.shared, table.unshared, table.dense) == (0, 0, 0)
    assert dense_equivalent(Net.input(3, 8).then(LocallyConnected(2, 3)).network).rows() == []
    with pytest.raises(InvalidTypeError, match=r"takes a network"):
        dense_equivalent(Net.input(3, 8).then(ReLU()))  # type: ignore[arg-type]


def test_the_table_says_which_column_is_per_map() -> None:
    text = str(Net.input(3, 9, 7).then(Conv(4, 3)).dense_equivalent())
    assert text.splitlines()[0].split("  ")[-2:] == ["dense, one map", "dense, all maps"]
    assert max(map(len, text.splitlines())) <= 100
    assert "dense, one map</th>" in Net.input(3, 9, 7).then(Conv(4, 3)).dense_equivalent()._repr_html_()


def test_a_convolution_from_outside_that_does_not_state_its_parameters() -> None:
    @frozen(repr=False)
    class Odd(Conv):
        def parameters(self, inputs: Any) -> Any:
            return None

    with pytest.raises(MissingRuleError, match=r"Odd does not state its parameters \(at node 'odd', Odd\(4, 3\) on"):
        Net.input(3, 9).then(Odd(4, 3)).dense_equivalent()


def test_a_convolution_from_outside_with_other_weights() -> None:
    @frozen(repr=False)
    class Separable(Conv):
        def parameters(self, inputs: Any) -> Any:
            return {"depthwise": (3, 1, 3), "pointwise": (4, 3, 1), "bias": (4,)}

    found = row(Net.input(3, 9).then(Separable(4, 3)))
    assert (found["shared"], found["unshared"]) == (25, 25 * 7)
