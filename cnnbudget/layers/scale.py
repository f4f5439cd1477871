"""Layers that scale their input by something learned, or do nothing to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from attrs import field, frozen

from cnnbudget.checks import is_bool, one_of
from cnnbudget.layers.base import Alias, Autocast, ElementwiseLayer, Saved, need_rank, scratch
from cnnbudget.tensors import Shape, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from attrs import Attribute

__all__ = ["Identity", "Scale"]

_PER = ("channel", "layer")


def _is_per(instance: Any, attribute: Attribute[Any], value: Any) -> None:
    one_of(value, _PER, f"{type(instance).__name__}.{attribute.name}")


@frozen(repr=False)
class Scale(ElementwiseLayer):
    """Layer scale: the input times a learned factor for every channel.

    Input and output ``(C, *spatial)``. Parameters: the factors, ``(C,)`` or ``(1,)``, and as many shifts where ``bias`` asks for
    them. A training step keeps the input; the multiplications are not counted as multiply-accumulates. Source: Touvron et al.,
    "Going deeper with image transformers" (2021), as used in ConvNeXt; what is kept was measured in PyTorch.

    Args:
        per: ``"channel"`` for one factor a channel, ``"layer"`` for a single one.
        bias: Whether a learned shift is added, as in Caffe's ``Scale``.

    Example:
        >>> from cnnbudget import Net, Scale
        >>> Net.input(96, 56, 56).then(Scale()).parameter_count
        96
    """

    autocast: ClassVar[Autocast] = Autocast.WIDEN

    per: str = field(default="channel", validator=_is_per)
    bias: bool = field(default=False, kw_only=True, validator=is_bool)

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States that the output is like the input, which must have channels."""
        (value,) = inputs
        need_rank("Scale", value, least=1)
        return value

    def parameters(self, inputs: tuple[TensorSpec, ...]) -> Mapping[str, Shape]:
        """States the factors and shifts."""
        size = (inputs[0].channels if self.per == "channel" else 1,)
        return {"weight": size, "bias": size} if self.bias else {"weight": size}

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that the input is kept: the factors' gradient is computed from it."""
        return Saved(inputs=(0,))

    def saved_when(
        self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, needs: tuple[bool, ...], trains: bool
    ) -> Saved:
        """States that the input is kept for the factors' gradient alone: not where the layer is frozen."""
        return self.saved(inputs, output) if trains else Saved()

    def temporaries(
        self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, training: bool
    ) -> Mapping[str, TensorSpec]:
        """States the products before the shift is added."""
        return {"products": scratch(*output.shape)} if self.bias else {}

    def backward_temporaries(
        self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, needs: tuple[bool, ...]
    ) -> Mapping[str, TensorSpec]:
        """States the products that are summed up to the gradient of the factors."""
        return {"products": scratch(*output.shape)}


@frozen(repr=False)
class Identity(ElementwiseLayer):
    """Its input, unchanged: a view, no bytes of its own. Stands where a variant of a network has a layer and another has none.

    Source: PyTorch's ``Identity``.

    Example:
        >>> from cnnbudget import Identity, Inference, Net
        >>> Net.input(64, 8, 8).then(Identity()).profile(Inference()).peak
        Bytes(16384)
    """

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that nothing is kept."""
        return Saved()

    def alias(self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, training: bool) -> Alias:
        """States that the output is a view."""
        return Alias()
