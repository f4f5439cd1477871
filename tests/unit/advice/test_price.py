"""Prices are measured: every part of them derived by hand."""

import pytest
from attrs import evolve, frozen

from cnnbudget import (
    Conv,
    Flatten,
    GlobalAvgPool,
    Inference,
    LargerStride,
    Linear,
    Net,
    Phase,
    Price,
    Recompute,
    RemoveLayer,
    Retention,
    SmallerInput,
    Training,
)

# 3*3*3*8 = 216 weights at 8x8, 3*3*8*4 = 288 at 4x4 positions, without biases.
NET = Net.input(3, 16, 16).then(
    Conv(8, 3, padding=1, stride=2, bias=False), Conv(4, 3, padding=1, stride=2, bias=False), GlobalAvgPool(), Linear(2)
)


TRAINING = Training(4)


def price(remedy, net=NET, scenario=TRAINING):
    advice = net.fit(100, scenario, remedies=[remedy], combine=1)
    return next(option.price for option in advice.options if option.remedy == remedy)


def test_parameters_and_macs():
    found = price(LargerStride("conv2", 4))
    # 4x4 positions of 288 multiply-accumulates become 2x2; the dense layer has 4 * 2 and stays
    assert found.parameters == (216 + 288 + 10, 216 + 288 + 10)
    assert found.parameter_delta == 0
    assert found.macs == (216 * 64 + 288 * 16 + 8, 216 * 64 + 288 * 4 + 8)
    assert found.mac_delta == -288 * 12
    assert found.recomputed_macs == 0
    assert found.maps == ((4, 4), (2, 2))
    assert found.loses_resolution
    assert found.output == ()
    assert str(found) == "MACs -19%, last maps 4x4 -> 2x2, skips pixels"


def test_the_output_where_it_is_another_one():
    net = Net.input(3, 16, 16).then(Conv(8, 3, padding=1, bias=False), Conv(8, 3, bias=False))
    found = price(RemoveLayer("conv2"), net)
    assert found.output == ((8, 16, 16),)
    assert not found.loses_resolution
    # 576 of 792 parameters; 576 * 196 of 216 * 256 + 576 * 196 multiply-accumulates
    assert str(found) == "parameters -73%, MACs -67%, output 8x16x16"
    assert found.mac_delta == -576 * 14 * 14
    assert found.parameter_delta == -576


def test_maps_that_are_gone():
    net = Net.input(1, 4, 4).then(Conv(4, 4), Flatten(), Linear(2))
    found = price(SmallerInput(0.25), Net.input(1, 4, 4).then(Conv(4, 1), Flatten(), Linear(2)))
    assert found.maps == ((4, 4), None)
    assert found.loses_resolution
    assert "last maps 4x4 -> gone" in str(found)
    # the convolution leaves one position, so the last maps are the input's
    assert price(RemoveLayer("linear"), net).maps == ((4, 4), (4, 4))
    line = Net.input(4).then(Linear(3), Linear(2))
    assert price(RemoveLayer("linear"), line).maps == (None, None)
    assert not price(RemoveLayer("linear"), line).loses_resolution


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "same results"),
        ({"changes_results": True}, "another network of the same size"),
        ({"changes_training": True}, "another network of the same size"),
        ({"recomputed_macs": 25}, "same results, forward MACs again 25%"),
        ({"warnings": ("slower",)}, "same results, slower"),
        ({"macs": (None, None), "recomputed_macs": None}, "same results"),
        ({"parameters": (0, 5)}, "same results"),
    ],
)
def test_what_a_price_says(fields, text):
    whole = {"parameters": (10, 10), "macs": (100, 100), "recomputed_macs": 0, "maps": (None, None), **fields}
    assert str(Price(**whole)) == text


def test_unknown_counts_have_no_difference():
    unknown = Price((None, 3), (3, None), None, (None, None))
    assert unknown.parameter_delta is None
    assert unknown.mac_delta is None


def test_an_inference_changes_no_training():
    assert not price(LargerStride("conv2", 4), scenario=Inference(4)).changes_training


@frozen
class Twice(Retention):
    """An inference that runs its second half again when it is done."""

    serves_inference = False
    serves_training = True

    def schedule(self, table, scenario):
        schedule = Training(scenario.batch).retention.schedule(table, scenario)
        again = [evolve(step, phase=Phase.RECOMPUTE, writes=()) for step in schedule.steps if step.node == "conv2"][:1]
        return evolve(schedule, steps=(*schedule.steps, *again))


def test_what_is_computed_again():
    found = price(Recompute(Twice()))
    assert found.recomputed_macs == 288 * 16
    # of 216 * 64 + 288 * 16 + 8 in all
    assert str(found) == "same results, forward MACs again 25%"
