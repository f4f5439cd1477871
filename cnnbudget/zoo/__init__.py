"""The zoo: networks as functions that return a :class:`~cnnbudget.Net`, one family a module."""

from cnnbudget.zoo.alexnet import alexnet, alexnet_2012
from cnnbudget.zoo.convnext import convnext_base, convnext_large, convnext_small, convnext_tiny
from cnnbudget.zoo.darknet import darknet19, darknet53, yolo_v3
from cnnbudget.zoo.densenet import densenet121, densenet161, densenet169, densenet201
from cnnbudget.zoo.efficientnet import (
    efficientnet_b0,
    efficientnet_b1,
    efficientnet_b2,
    efficientnet_b3,
    efficientnet_b4,
    efficientnet_b5,
    efficientnet_b6,
    efficientnet_b7,
    efficientnet_v2_l,
    efficientnet_v2_m,
    efficientnet_v2_s,
)
from cnnbudget.zoo.exercise import textbook_exercise
from cnnbudget.zoo.googlenet import googlenet, googlenet_2014
from cnnbudget.zoo.inception import inception_v3
from cnnbudget.zoo.lenet import lenet5, lenet5_1998
from cnnbudget.zoo.mnasnet import mnasnet0_5, mnasnet0_75, mnasnet1_0, mnasnet1_3
from cnnbudget.zoo.mobilenet import mobilenet_v1, mobilenet_v2
from cnnbudget.zoo.mobilenet_v3 import mobilenet_v3_large, mobilenet_v3_small
from cnnbudget.zoo.nasnet import nasnet_large, nasnet_mobile
from cnnbudget.zoo.regnet import (
    regnet_x_1_6gf,
    regnet_x_3_2gf,
    regnet_x_8gf,
    regnet_x_16gf,
    regnet_x_32gf,
    regnet_x_400mf,
    regnet_x_800mf,
    regnet_y_1_6gf,
    regnet_y_3_2gf,
    regnet_y_8gf,
    regnet_y_16gf,
    regnet_y_32gf,
    regnet_y_128gf,
    regnet_y_400mf,
    regnet_y_800mf,
)
from cnnbudget.zoo.resnet import (
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
    resnext50_32x4d,
    resnext101_32x8d,
    resnext101_64x4d,
    wide_resnet50_2,
    wide_resnet101_2,
)
from cnnbudget.zoo.segmentation import deeplabv3_resnet50, deeplabv3_resnet101, fcn_resnet50, fcn_resnet101
from cnnbudget.zoo.shufflenet import shufflenet_v2_x0_5, shufflenet_v2_x1_0, shufflenet_v2_x1_5, shufflenet_v2_x2_0
from cnnbudget.zoo.squeezenet import squeezenet1_0, squeezenet1_1
from cnnbudget.zoo.unet import unet
from cnnbudget.zoo.vgg import vgg11, vgg11_bn, vgg11_lrn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg16_c, vgg19, vgg19_bn
from cnnbudget.zoo.xception import xception

__all__ = [
    "alexnet",
    "alexnet_2012",
    "convnext_base",
    "convnext_large",
    "convnext_small",
    "convnext_tiny",
    "darknet19",
    "darknet53",
    "deeplabv3_resnet101",
    "deeplabv3_resnet50",
    "densenet121",
    "densenet161",
    "densenet169",
    "densenet201",
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "efficientnet_b3",
    "efficientnet_b4",
    "efficientnet_b5",
    "efficientnet_b6",
    "efficientnet_b7",
    "efficientnet_v2_l",
    "efficientnet_v2_m",
    "efficientnet_v2_s",
    "fcn_resnet101",
    "fcn_resnet50",
    "googlenet",
    "googlenet_2014",
    "inception_v3",
    "lenet5",
    "lenet5_1998",
    "mnasnet0_5",
    "mnasnet0_75",
    "mnasnet1_0",
    "mnasnet1_3",
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    "names",
    "nasnet_large",
    "nasnet_mobile",
    "regnet_x_16gf",
    "regnet_x_1_6gf",
    "regnet_x_32gf",
    "regnet_x_3_2gf",
    "regnet_x_400mf",
    "regnet_x_800mf",
    "regnet_x_8gf",
    "regnet_y_128gf",
    "regnet_y_16gf",
    "regnet_y_1_6gf",
    "regnet_y_32gf",
    "regnet_y_3_2gf",
    "regnet_y_400mf",
    "regnet_y_800mf",
    "regnet_y_8gf",
    "resnet101",
    "resnet152",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "resnext50_32x4d",
    "shufflenet_v2_x0_5",
    "shufflenet_v2_x1_0",
    "shufflenet_v2_x1_5",
    "shufflenet_v2_x2_0",
    "squeezenet1_0",
    "squeezenet1_1",
    "textbook_exercise",
    "unet",
    "vgg11",
    "vgg11_bn",
    "vgg11_lrn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg16_c",
    "vgg19",
    "vgg19_bn",
    "wide_resnet101_2",
    "wide_resnet50_2",
    "xception",
    "yolo_v3",
]


def names() -> tuple[str, ...]:
    """Lists the networks of the zoo.

    Returns:
        Names of functions of this package, in alphabetical order.

    Example:
        >>> from cnnbudget import zoo
        >>> "resnet50" in zoo.names()
        True
        >>> getattr(zoo, "resnet50")().parameter_count
        25557032
    """
    return tuple(sorted(name for name in __all__ if name != "names"))
