"""The zoo as a whole: every network is listed, builds, profiles in both scenarios, and says where it comes from."""

import inspect

import pytest

from cnnbudget import Inference, Net, Training, zoo


def test_names_lists_the_public_functions():
    assert zoo.names() == tuple(sorted(set(zoo.__all__) - {"names"}))
    assert len(zoo.names()) == len(set(zoo.names()))
    assert {"lenet5", "alexnet_2012", "googlenet", "resnet50", "yolo_v3", "unet", "nasnet_mobile"} <= set(zoo.names())


@pytest.mark.parametrize("name", zoo.names())
def test_every_network_of_the_zoo(name):
    make = getattr(zoo, name)
    assert inspect.getdoc(make)
    assert all(option.kind is option.KEYWORD_ONLY for option in inspect.signature(make).parameters.values())
    net = make()
    assert isinstance(net, Net)
    assert net == make(), "the same construction gives the same names"
    inference, training = net.profile(Inference()), net.profile(Training(2))
    parameters = 4 * net.parameter_count
    assert parameters < inference.peak < training.peak
    # twice the batch, twice what belongs to samples, at the step of the peak at least
    assert 2 * training.peak - 3 * parameters < net.profile(Training(4)).peak <= 2 * training.peak
