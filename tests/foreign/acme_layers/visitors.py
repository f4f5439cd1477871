"""Visitors of the acme package: rules for built-in layers and for its own."""

from acme_layers.layers import ChannelScale
from cnnbudget import Conv, Input, Linear, Use, Visitor, visits


class Depth(Visitor[int]):
    """How many layers with weights lie on the longest way from an input; squeeze and excitation has two."""

    def start(self, source: Input) -> int:
        return 0

    def visit(self, use: Use[int]) -> int:
        return max(use.results)

    @visits(Conv, Linear)
    def weights(self, use: Use[int]) -> int:
        return max(use.results) + 1

    @visits(ChannelScale)
    def scale(self, use: Use[int]) -> int:
        return max(use.results) + 2


class Describe(Visitor[str]):
    """What does each node do, in a word?"""

    def start(self, source: Input) -> str:
        return "source"

    def visit(self, use: Use[str]) -> str:
        return "other"

    @visits(Conv)
    def convolution(self, use: Use[str]) -> str:
        return "convolution"
