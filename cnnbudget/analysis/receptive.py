"""Receptive fields: which part of the input every position of every value depends on.

Size, effective stride and effective padding are those of Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional
Neural Networks" (Distill, 2019) and of its tool for TF-Slim. A window of ``k`` positions, dilation included, with stride ``s``
and padding ``p`` before the axis makes of size ``r``, stride ``S`` and padding ``P``

    ``r + (k - 1) * S``, ``S * s``, ``P + p * S``.

Position ``y`` of a value sees the positions ``y * S - P`` to ``y * S - P + r - 1`` of the input, where they exist. A value with
several paths sees the hull of what it sees on each, which is the largest of them where their centres agree. Upsampling
divides the stride; what the positions then see comes again in a pattern, and the size is that of the position that sees most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from cnnbudget.analysis.fields import MOST_SPANS, AxisField, Number, Span, merge_axes
from cnnbudget.analysis.visitor import Use, Visitor, visits
from cnnbudget.analysis.walk import walk
from cnnbudget.errors import InvalidTypeError, MissingRuleError, shorten
from cnnbudget.graph.shapes import place_of
from cnnbudget.layers.activation import LogSoftmax, Softmax
from cnnbudget.layers.base import ElementwiseLayer
from cnnbudget.layers.conv import Conv, ConvTranspose, DepthwiseConv
from cnnbudget.layers.linear import Linear
from cnnbudget.layers.local import LocallyConnected
from cnnbudget.layers.merge import Add, Concat, Maximum, Multiply
from cnnbudget.layers.norm import BatchNorm, GroupNorm, InstanceNorm, LayerNorm
from cnnbudget.layers.pool import (
    AdaptiveAvgPool,
    AdaptiveMaxPool,
    GlobalAvgPool,
    GlobalMaxPool,
    LPPool,
    MaxPool,
    WindowPool,
)
from cnnbudget.layers.rearrange import ChannelShuffle, Pad, PixelShuffle, PixelUnshuffle, Unfold
from cnnbudget.layers.reshape import Crop, Flatten, Permute, Reshape, Slice, Split
from cnnbudget.layers.resize import Upsample
