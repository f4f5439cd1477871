"""EfficientNet: one small network that a search found, and rules by which depth, width and image grow together.

Version 2 searches again, with *fused* units in the early stages: one full convolution in place of the depthwise and the first
pointwise one, which is more arithmetic and less memory traffic. Every unit with a skip connection drops out as a whole in
training, the later the more often (*stochastic depth*).
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, NamedTuple

from cnnbudget.graph.block import Block, Branch
from cnnbudget.layers.activation import Sigmoid, SiLU
from cnnbudget.layers.linear import Linear
from cnnbudget.layers.merge import Add
from cnnbudget.layers.pool import AdaptiveAvgPool
from cnnbudget.layers.regularize import DropPath, Dropout
from cnnbudget.layers.reshape import Flatten
from cnnbudget.net import Net
from cnnbudget.zoo.mobilenet import conv_unit, numbered, round_channels
from cnnbudget.zoo.mobilenet_v3 import squeeze_excitation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnnbudget.tensors import Shape

__all__ = [
    *[f"efficientnet_b{number}" for number in range(8)],
    "efficientnet_v2_s",
    "efficientnet_v2_m",
    "efficientnet_v2_l",
]
