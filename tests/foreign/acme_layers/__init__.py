"""A package from outside: layers, visitors and retention policies of its own, with public names of cnnbudget only."""

from acme_layers.layers import Add, ChannelScale, Conv, DepthToSpace, Forgetful, WideConv
from acme_layers.policies import ForwardTwice, KeepSaved
from acme_layers.visitors import Depth, Describe

__all__ = [
    "Add",
    "ChannelScale",
    "Conv",
    "Depth",
    "DepthToSpace",
    "Describe",
    "Forgetful",
    "ForwardTwice",
    "KeepSaved",
    "WideConv",
]
