"""Layers that act in training only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from cnnbudget.checks import is_bool, is_number, number_from, one_of
from cnnbudget.dtypes import FLOAT32, Role
from cnnbudget.layers.base import Alias, ElementwiseLayer, Saved
from cnnbudget.tensors import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from attrs import Attribute

__all__ = ["DropPath", "Dropout"]

_MODES = ("row", "batch")


def _is_mode(instance: Any, attribute: Attribute[Any], value: Any) -> None:
    one_of(value, _MODES, f"{type(instance).__name__}.{attribute.name}")


@frozen(repr=False)
class Dropout(ElementwiseLayer):
    """Sets a part of the values to zero in training; in inference it is the identity and takes no memory.

    Input and output ``(C, *spatial)``. A training step keeps a mask of one 32-bit number per value, as PyTorch does on a CPU
    (measured); it never shrinks with the precision. Source: Srivastava et al. (2014); per channel, Tompson et al. (2015).

    Args:
        rate: The part of the values that is dropped, 0 to 1. At 0 the layer is the identity in training too.
        inplace: Whether it overwrites its input's storage in training. The mask is the same.
        per_channel: Whether whole feature maps are dropped: the mask then has one number per channel.

    Example:
        >>> from cnnbudget import Dropout, Inference, Net
        >>> Net.input(256).then(Dropout(0.5)).profile(Inference()).peak  # the input, and nothing else
        Bytes(1024)
    """

    rate: float = field(default=0.5, converter=number_from, validator=is_number(0, 1))
    inplace: bool = field(default=False, kw_only=True, validator=is_bool)
    per_channel: bool = field(default=False, kw_only=True, validator=is_bool)

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that no value is kept, only the mask."""
        return Saved()

    def extras(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Mapping[str, TensorSpec]:
        """States the mask."""
        if not self.rate:
            return {}
        return {"mask": TensorSpec(output.shape[:1] if self.per_channel else output.shape, Role.EXTRA, FLOAT32)}

    def alias(self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, training: bool) -> Alias | None:
        """States that the output is its input in inference, and that the in-place variant overwrites it in training."""
        if training and self.rate:
            return Alias(in_place=True) if self.inplace else None
        return Alias()


@frozen(repr=False)
class DropPath(ElementwiseLayer):
    """Stochastic depth: drops a whole residual branch in training; in inference it is the identity and takes no memory.

    Input and output ``(C, *spatial)``. A training step keeps one number per sample, or one for the batch, as wide as an
    activation: the input is multiplied by it. Source: Huang et al., "Deep networks with stochastic depth" (2016); what is kept
    was measured in PyTorch on torchvision's ``StochasticDepth``.

    Args:
        rate: How often the branch is dropped, 0 to 1. At 0 the layer is the identity in training too.
        mode: ``"row"`` draws for every sample, ``"batch"`` once for all.

    Example:
        >>> from cnnbudget import DropPath, Inference, Net
        >>> Net.input(64, 8, 8).then(DropPath(0.2)).profile(Inference()).peak  # the input, and nothing else
        Bytes(16384)
    """

    rate: float = field(converter=number_from, validator=is_number(0, 1))
    mode: str = field(default="row", kw_only=True, validator=_is_mode)

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that no value is kept, only the mask."""
        return Saved()

    def extras(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Mapping[str, TensorSpec]:
        """States the mask."""
        return {"mask": TensorSpec((1,), Role.EXTRA, batched=self.mode == "row")} if self.rate else {}

    def alias(self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, training: bool) -> Alias | None:
        """States that the output is its input in inference."""
        return None if training and self.rate else Alias()
