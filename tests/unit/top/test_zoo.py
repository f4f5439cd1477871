"""The zoo as a whole: every network is listed, builds, profiles in both scenarios, and says where it comes from."""

import inspect

import pytest

from cnnbudget import CnnBudgetError, Inference, InvalidTypeError, InvalidValueError, Net, Training, zoo


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


NONSENSE = (None, "x", -1, 10**400, float("nan"), (), [], object())


@pytest.mark.parametrize("name", zoo.names())
def test_nonsense_in_any_option_is_refused_by_an_error_of_ours(name):
    make = getattr(zoo, name)
    for option in inspect.signature(make).parameters:
        for value in NONSENSE:
            with pytest.raises(CnnBudgetError):
                make(**{option: value})


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (
            lambda: zoo.resnet18(input_shape=224),
            InvalidTypeError,
            r"^input_shape must be a tuple of ints: got 224, expected \(channels, height, width\)$",
        ),
        (lambda: zoo.unet(input_shape="abc"), InvalidTypeError, r"^input_shape must be a tuple of ints: got 'abc'"),
        (lambda: zoo.fcn_resnet50(input_shape=()), InvalidValueError, r"^the input's shape is empty"),
        (lambda: zoo.alexnet_2012(groups=0), InvalidValueError, r"^groups is out of range: got 0"),
        (lambda: zoo.convnext_tiny(drop_path="x"), InvalidTypeError, r"^DropPath\.rate must be a number: got 'x'"),
        (lambda: zoo.efficientnet_b0(drop_path=1.5), InvalidValueError, r"^DropPath\.rate is out of range: got 1\.5,"),
        (lambda: zoo.densenet121(growth_rate=-1), InvalidValueError, r"^growth_rate is out of range: got -1"),
        (lambda: zoo.yolo_v3(num_classes="ten"), InvalidTypeError, r"^num_classes must be an int: got 'ten'"),
        (lambda: zoo.googlenet(aux_logits=1), InvalidTypeError, r"^aux_logits must be a bool: got 1, expected True or"),
        (lambda: zoo.deeplabv3_resnet50(aux_loss=None), InvalidTypeError, r"^aux_loss must be a bool: got None"),
        (lambda: zoo.resnet50(original=1), InvalidTypeError, r"^original must be a bool: got 1"),
        (
            lambda: zoo.resnet50(replace_stride_with_dilation=(True,)),
            InvalidTypeError,
            r"^replace_stride_with_dilation must be three bools: got \(True,\), expected for example \(False, True, True\)",
        ),
        (lambda: zoo.textbook_exercise(maps=3), InvalidTypeError, r"^maps must be a tuple of ints: got 3"),
    ],
)
def test_errors_name_the_option(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_a_narrow_network_keeps_a_map_in_every_group():
    layers = [node.layer for node in zoo.resnext50_32x4d(width=0.01).network.nodes if hasattr(node.layer, "groups")]
    assert {layer.filters for layer in layers if layer.groups == 32} == {32}
