"""Layers of the acme package: with parameters, without, a merge, a forgetful one, and two that are (called) Conv."""

from collections.abc import Mapping
from math import prod
from typing import ClassVar

from attrs import field, frozen

import cnnbudget
from cnnbudget import Alias, Layer, Saved, ShapeError, StatelessLayer, TensorSpec


@frozen(repr=False)
class ChannelScale(Layer):
    """Squeeze and excitation: two small matrices make a factor for every channel. Keeps its input and the factors."""

    squeeze: int = field(default=4)

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        if inputs[0].channels % self.squeeze:
            raise ShapeError(
                "ChannelScale.squeeze must divide the channels",
                got=f"{self.squeeze} on {inputs[0].channels} channels",
                expected="a divisor",
            )
        return inputs[0]

    def parameters(self, inputs: tuple[TensorSpec, ...]) -> Mapping[str, tuple[int, ...]]:
        channels = inputs[0].channels
        return {"down": (channels // self.squeeze, channels), "up": (channels, channels // self.squeeze)}

    def buffers(self, inputs: tuple[TensorSpec, ...]) -> Mapping[str, tuple[int, ...]]:
        return {}

    def macs(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> int:
        return sum(map(prod, self.parameters(inputs).values()))

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        return Saved(inputs=(0,))

    def extras(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Mapping[str, TensorSpec]:
        return {"factors": TensorSpec((inputs[0].channels,), cnnbudget.Role.EXTRA)}


@frozen(repr=False)
class DepthToSpace(StatelessLayer):
    """Moves channels into blocks of space: (C * b * b, H, W) becomes (C, H * b, W * b)."""

    word: ClassVar[str | None] = "d2s"

    block: int = 2

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        if len(inputs[0].shape) != 3 or inputs[0].channels % self.block**2:
            raise ShapeError(
                "DepthToSpace needs (C * block * block, H, W)",
                got=str(inputs[0].shape),
                expected="channels that divide",
            )
        channels, height, width = inputs[0].shape
        return TensorSpec((channels // self.block**2, height * self.block, width * self.block))

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        return Saved()


@frozen(repr=False)
class Add(StatelessLayer):
    """The sum of any number of equal shapes, maybe over its first input."""

    arity: ClassVar[int | None] = None

    inplace: bool = field(default=False, kw_only=True)

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        if len({spec.shape for spec in inputs}) > 1:
            raise ShapeError("Add needs equal shapes", got=", ".join(str(spec.shape) for spec in inputs))
        return inputs[0]

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        return Saved()

    def alias(self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, training: bool) -> Alias | None:
        return Alias(0, in_place=True) if self.inplace else None


@frozen(repr=False)
class Forgetful(Layer):
    """States what it must, and nothing else."""

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        return inputs[0]


@frozen(repr=False)
class Conv(StatelessLayer):
    """Is called like a built-in layer, and is none."""

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        return inputs[0]


@frozen(repr=False)
class WideConv(cnnbudget.Conv):
    """Is a built-in layer, under another name."""
