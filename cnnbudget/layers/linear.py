"""Fully connected layers."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, ClassVar

from attrs import evolve, field, frozen
from attrs.converters import optional
from attrs.validators import optional as or_none

from cnnbudget.checks import int_from, is_bool, is_int
from cnnbudget.dtypes import Role
from cnnbudget.layers.base import Autocast, Layer, Saved, StatelessLayer, need_rank, scratch
from cnnbudget.tensors import Shape, TensorSpec, axis_in

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Linear", "RadialBasis"]


@frozen(repr=False)
class Linear(Layer):
    """A fully connected (dense) layer: every output sees every input.

    Input ``(inputs,)``, output ``(features,)``. Parameters: a weight of ``(features, inputs)`` and a bias of ``(features,)``.
    Multiply-accumulates: one per weight, bias additions not counted. A training step keeps the input.

    With an ``axis`` the same weights act at every position of the other axes, and the multiply-accumulates count each of them;
    ``axis=-1`` is PyTorch's ``nn.Linear``. Along an axis that is not the last, PyTorch 2.13 moves it there: what it then keeps is
    a copy of the input (measured). Source: PyTorch's ``Linear``.

    Args:
        features: Outputs of the layer.
        bias: Whether every output has a bias.
        axis: The axis of one sample that it acts along; negative ones count from the end. ``None`` takes an input of one axis,
            and refuses others.

    Example:
        >>> from cnnbudget import Flatten, Linear, Net
        >>> Net.input(1, 28, 28).then(Flatten(), Linear(10)).parameter_count
        7850
        >>> Net.input(56, 56, 96).then(Linear(384, axis=-1)).output_shape
        (56, 56, 384)
    """

    autocast: ClassVar[Autocast] = Autocast.LOW

    features: int = field(converter=int_from, validator=is_int())
    bias: bool = field(default=True, kw_only=True, validator=is_bool)
    axis: int | None = field(default=None, kw_only=True, converter=optional(int_from), validator=or_none(is_int(-8, 7)))

    def _axis(self, value: TensorSpec) -> int:
        return 0 if self.axis is None else axis_in(self.axis, value.shape, "Linear.axis")

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States the output ``(features,)``, or the input's shape with ``features`` along the axis."""
        (value,) = inputs
        if self.axis is None:
            need_rank("Linear", value, least=1, most=1, hint="put Flatten() or GlobalAvgPool() before it")
        axis = self._axis(value)
        return TensorSpec((*value.shape[:axis], self.features, *value.shape[axis + 1 :]))

    def parameters(self, inputs: tuple[TensorSpec, ...]) -> Mapping[str, Shape]:
        """States the weight and the bias."""
        weight = (self.features, inputs[0].shape[self._axis(inputs[0])])
        return {"weight": weight, "bias": (self.features,)} if self.bias else {"weight": weight}

    def buffers(self, inputs: tuple[TensorSpec, ...]) -> Mapping[str, Shape]:
        """States that there are none."""
        return {}

    def macs(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> int:
        """States one per weight, at every position of the other axes."""
        return self.features * inputs[0].element_count

    def _copies(self, value: TensorSpec) -> bool:
        axis = self._axis(value)
        return value.shape[axis] > 1 and prod(value.shape[axis + 1 :]) > 1

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that the input is kept, unless a copy with the axis at the end stands for it."""
        return Saved() if self._copies(inputs[0]) else Saved(inputs=(0,))

    def extras(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Mapping[str, TensorSpec]:
        """States the copy, where there is one."""
        return {"moved": TensorSpec(inputs[0].shape, Role.EXTRA)} if self._copies(inputs[0]) else {}

    def saved_when(
        self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, needs: tuple[bool, ...], trains: bool
    ) -> Saved:
        """States that the input is kept for the weight's gradient alone, and the weight for the input's."""
        return evolve(self.saved(inputs, output) if trains else Saved(), parameters=needs[0])

    def temporaries(
        self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, training: bool
    ) -> Mapping[str, TensorSpec]:
        """States what an axis that is moved costs: the copy, and the products before the bias is added.

        An inference drops the copy before it adds the bias, so that the larger of the two counts.
        """
        value = inputs[0]
        if not self._copies(value):
            return {}
        products = output.element_count if self.bias else 0
        if training:
            return {"products": scratch(*output.shape)} if products else {}
        return {"moved" if value.element_count > products else "products": scratch(max(value.element_count, products))}

    def backward_temporaries(
        self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, needs: tuple[bool, ...]
    ) -> Mapping[str, TensorSpec]:
        """States by how much a copy of the output's gradient exceeds that of the input, for which it makes room."""
        if not self._copies(inputs[0]):
            return {}
        more = output.element_count - (inputs[0].element_count if needs[0] else 0)
        return {"moved_grad": scratch(more)} if more > 0 else {}


@frozen(repr=False)
class RadialBasis(StatelessLayer):
    """Squared distances of the input to fixed codes, one for every class: the smallest one wins.

    Input ``(inputs,)``, output ``(classes,)``. No parameters; the codes, ``(classes, inputs)``, are buffers. One
    multiply-accumulate for every number of a code, as in a linear layer. A training step keeps the input. Source: LeCun et
    al. (1998).

    Args:
        classes: Outputs.

    Example:
        >>> from cnnbudget import Net, RadialBasis
        >>> net = Net.input(84).then(RadialBasis(10))
        >>> net.parameter_count, net.buffer_count
        (0, 840)
    """

    classes: int = field(converter=int_from, validator=is_int())

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States the output ``(classes,)``."""
        need_rank("RadialBasis", inputs[0], least=1, most=1, hint="put Flatten() before it")
        return TensorSpec((self.classes,))

    def buffers(self, inputs: tuple[TensorSpec, ...]) -> Mapping[str, Shape]:
        """States the codes."""
        return {"codes": (self.classes, inputs[0].channels)}

    def macs(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> int:
        """States one per number of a code."""
        return self.classes * inputs[0].channels

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that the input is kept."""
        return Saved(inputs=(0,))
