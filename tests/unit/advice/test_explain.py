"""Derivations: what they calculate is what they end with, and that is what the library counts."""

import re

import pytest
from attrs import frozen

from cnnbudget import (
    BatchNorm,
    Conv,
    ElementwiseLayer,
    Flatten,
    Layer,
    Linear,
    MissingRuleError,
    Net,
    explain_parameters,
)

NET = Net.input(3, 20, 30).then(
    Conv(10, 3), Conv(20, (3, 5), groups=5, bias=False), BatchNorm(), Flatten(), Linear(7), Linear(3, bias=False)
)


def test_every_derivation_calculates_its_value():
    derivations = explain_parameters(NET.network)
    assert set(derivations) == {"conv", "conv2", "batch_norm", "linear", "linear2"}
    for name, derivation in derivations.items():
        assert derivation.value == NET.costs()[name].parameter_count
        for clause in filter(lambda text: " = " in text, str(derivation).split(";")):
            calculation, value = clause.rsplit(" = ", 1)
            expression = re.sub(r"[a-z]+", "", calculation.rsplit(" = ", 1)[0].replace(" x ", "*").replace(",", ""))
            assert eval(expression) == int(re.sub(r"[^0-9]", "", value))


def test_the_derivations_of_each_kind():
    texts = {name: str(derivation) for name, derivation in explain_parameters(NET.network).items()}
    inputs = 20 * 16 * 24  # 20x30 -> 18x28 -> 16x24
    one = inputs + 1
    assert texts == {
        "conv": "3 x 3 x 3 weights + 1 bias = 28 per map; 28 x 10 maps = 280",
        "conv2": "3 x 5 x 2 weights = 30 per map; 30 x 20 maps = 600",
        "batch_norm": "weight 20 + bias 20 = 40",
        "linear": f"{inputs:,} weights + 1 bias = {one:,} per output; {one:,} x 7 outputs = {one * 7:,}",
        "linear2": "7 weights per output; 7 x 3 outputs = 21",
    }


def test_a_linear_layer_along_the_last_axis():
    found = explain_parameters(Net.input(3, 8, 9).then(Linear(10, axis=-1)).network)["linear"]
    assert str(found) == "9 weights + 1 bias = 10 per output; 10 x 10 outputs = 100"


@frozen
class Silent(Layer):
    """States its shape and nothing else."""

    def infer(self, inputs):
        return inputs[0]


@frozen
class Plain(ElementwiseLayer):
    """Has no parameters and says so."""


def test_a_layer_that_does_not_state_its_parameters_is_named():
    with pytest.raises(
        MissingRuleError,
        match=r"Silent does not state its parameters \(at node 'silent', .*implement Silent.parameters",
    ):
        explain_parameters(Net.input(3, 4, 4).then(Silent()).network)
    assert explain_parameters(Net.input(3, 4, 4).then(Plain()).network) == {}
