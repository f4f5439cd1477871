"""Activation functions: one output per input; parameters in PReLU only.

What a training step keeps was measured in PyTorch 2.13: ReLU, Sigmoid, Tanh, Softmax and LogSoftmax their output, the others
their input. In place, LeakyReLU and the ELU family keep the output, and the others write a copy of the input first: they
save nothing over the variant with a storage of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from attrs import field, frozen

from cnnbudget.checks import int_from, is_bool, is_int, is_number, number_from
from cnnbudget.dtypes import Role
from cnnbudget.errors import InvalidValueError
from cnnbudget.layers.base import Alias, Autocast, ElementwiseLayer, Saved, need_rank, scratch
from cnnbudget.tensors import Shape, TensorSpec, axis_in

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "SELU",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSoftmax",
    "Mish",
    "PReLU",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
]

_MOST = 1e6


@frozen(repr=False)
class _FromOutput(ElementwiseLayer):
    """An activation whose gradient is computed from its output."""

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that the output is kept, not the input."""
        return Saved(output=True)


@frozen(repr=False)
class _FromInput(ElementwiseLayer):
    """An activation whose gradient is computed from its input."""

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that the input is kept, not the output."""
        return Saved(inputs=(0,))


@frozen(repr=False)
class _Overwriting(ElementwiseLayer):
    """An activation that has an in-place variant. Subclasses with settings of their own repeat the field, to show it last."""

    inplace: bool = field(default=False, kw_only=True, validator=is_bool)

    def alias(self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, training: bool) -> Alias | None:
        """States that the in-place variant reuses its input's storage."""
        return Alias(in_place=True) if self.inplace else None


@frozen(repr=False)
class _FromEither(_Overwriting):
    """An activation that can be inverted: its gradient is computed from its input, or in place from its output."""

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that the input is kept, or the output where it has overwritten the input."""
        return Saved(output=True) if self.inplace else Saved(inputs=(0,))


@frozen(repr=False)
class _FromCopy(_Overwriting):
    """An activation that cannot be inverted: in place, it copies its input for backward before it overwrites it."""

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that the input is kept, unless it is overwritten."""
        return Saved() if self.inplace else Saved(inputs=(0,))

    def extras(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Mapping[str, TensorSpec]:
        """States the copy of the input that the in-place variant makes."""
        return {"input": TensorSpec(output.shape, Role.EXTRA, output.dtype)} if self.inplace else {}


@frozen(repr=False)
class ReLU(_Overwriting):
    """``max(0, x)``. Source: Nair and Hinton, "Rectified linear units improve restricted Boltzmann machines" (2010).

    Args:
        inplace: Whether it overwrites its input's storage instead of taking one of its own.

    Example:
        >>> from cnnbudget import Conv, Inference, Net, ReLU
        >>> net = Net.input(3, 32, 32).then(Conv(8, 3), ReLU(inplace=True))
        >>> net.profile(Inference()).activation_peak  # the input and one set of maps
        Bytes(41088)
    """

    word: ClassVar[str | None] = "relu"

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States that the output is kept, not the input."""
        return Saved(output=True)


@frozen(repr=False)
class ReLU6(_FromCopy):
    """``min(max(0, x), 6)``. Source: Howard et al., "MobileNets" (2017).

    Args:
        inplace: Whether it overwrites its input's storage. Training then keeps a copy of the input all the same.

    Example:
        >>> from cnnbudget import Conv, KeepAll, Net, ReLU6, Training
        >>> net = Net.input(3, 32, 32).then(Conv(8, 3), ReLU6(inplace=True))
        >>> forward = Training(retention=KeepAll(gradients=False))
        >>> net.profile(forward).activation_peak, net.then(ReLU6()).profile(forward).activation_peak
        (Bytes(69888), Bytes(98688))
    """

    word: ClassVar[str | None] = "relu6"


@frozen(repr=False)
class LeakyReLU(_FromEither):
    """``x`` where ``x > 0``, ``slope * x`` elsewhere. Source: Maas, Hannun and Ng (2013).

    Args:
        slope: The factor of negative values. Darknet's is 0.1.
        inplace: Whether it overwrites its input's storage. Training then keeps the output.

    Example:
        >>> from cnnbudget import LeakyReLU, Net
        >>> Net.input(8, 4, 4).then(LeakyReLU(0.1)).output_shape
        (8, 4, 4)
    """

    word: ClassVar[str | None] = "leaky_relu"

    slope: float = field(default=0.01, converter=number_from, validator=is_number(0, _MOST))
    inplace: bool = field(default=False, kw_only=True, validator=is_bool)


@frozen(repr=False)
class PReLU(_FromInput):
    """``x`` where ``x > 0``, ``slope * x`` elsewhere, with a slope that is learned. Source: He et al. (2015).

    Input and output ``(C, *spatial)``. Parameters: the slope, ``(1,)`` or ``(C,)``.

    Args:
        channelwise: Whether every channel has a slope of its own.

    Example:
        >>> from cnnbudget import Net, PReLU
        >>> net = Net.input(64, 8, 8)
        >>> net.then(PReLU()).parameter_count, net.then(PReLU(channelwise=True)).parameter_count
        (1, 64)
    """

    word: ClassVar[str | None] = "prelu"

    autocast: ClassVar[Autocast] = Autocast.LOW

    channelwise: bool = field(default=False, kw_only=True, validator=is_bool)

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States that the output is like the input, which must have channels."""
        (value,) = inputs
        need_rank("PReLU", value, least=1)
        return value

    def parameters(self, inputs: tuple[TensorSpec, ...]) -> Mapping[str, Shape]:
        """States the slopes."""
        return {"weight": (inputs[0].channels if self.channelwise else 1,)}

    def backward_temporaries(
        self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, needs: tuple[bool, ...]
    ) -> Mapping[str, TensorSpec]:
        """States what every value contributes to the slopes' gradient, before it is added up."""
        return {"slopes": scratch(*output.shape)}


@frozen(repr=False)
class ELU(_FromEither):
    """``x`` where ``x > 0``, ``alpha * (exp(x) - 1)`` elsewhere. Source: Clevert, Unterthiner and Hochreiter (2015).

    Args:
        alpha: Where large negative values end.
        inplace: Whether it overwrites its input's storage. Training then keeps the output.

    Example:
        >>> from cnnbudget import ELU, Net
        >>> Net.input(8, 4, 4).then(ELU()).output_shape
        (8, 4, 4)
    """

    alpha: float = field(default=1.0, converter=number_from, validator=is_number(0, _MOST))
    inplace: bool = field(default=False, kw_only=True, validator=is_bool)


@frozen(repr=False)
class SELU(_FromEither):
    """``ELU`` with the two constants that keep mean and variance. Source: Klambauer et al. (2017).

    Args:
        inplace: Whether it overwrites its input's storage. Training then keeps the output.
    """


@frozen(repr=False)
class CELU(_FromEither):
    """``x`` where ``x > 0``, ``alpha * (exp(x / alpha) - 1)`` elsewhere. Source: Barron (2017).

    Args:
        alpha: Where large negative values end; not zero.
        inplace: Whether it overwrites its input's storage. Training then keeps the output.
    """

    alpha: float = field(default=1.0, converter=number_from, validator=is_number(1e-6, _MOST))
    inplace: bool = field(default=False, kw_only=True, validator=is_bool)


@frozen(repr=False)
class GELU(_FromInput):
    """``x * P(X <= x)`` of a standard normal ``X``. Source: Hendrycks and Gimpel (2016).

    Args:
        approximate: Whether it is computed with tanh. No size depends on it.

    Example:
        >>> from cnnbudget import GELU, Net
        >>> Net.input(8, 4, 4).then(GELU()).costs()["gelu"].parameter_count
        0
    """

    approximate: bool = field(default=False, kw_only=True, validator=is_bool)


@frozen(repr=False)
class SiLU(_FromCopy):
    """``x * sigmoid(x)``, also called swish. Source: Elfwing, Uchibe and Doya (2017); Ramachandran, Zoph and Le (2017).

    Args:
        inplace: Whether it overwrites its input's storage. Training then keeps a copy of the input all the same.
    """

    word: ClassVar[str | None] = "silu"


@frozen(repr=False)
class Mish(_FromCopy):
    """``x * tanh(ln(1 + exp(x)))``. Source: Misra (2019).

    Args:
        inplace: Whether it overwrites its input's storage. Training then keeps a copy of the input all the same.
    """


@frozen(repr=False)
class Hardswish(_FromCopy):
    """``x * min(max(0, x + 3), 6) / 6``. Source: Howard et al., "Searching for MobileNetV3" (2019).

    Args:
        inplace: Whether it overwrites its input's storage. Training then keeps a copy of the input all the same.
    """


@frozen(repr=False)
class Hardsigmoid(_FromCopy):
    """``min(max(0, x + 3), 6) / 6``. Source: Howard et al., "Searching for MobileNetV3" (2019).

    Args:
        inplace: Whether it overwrites its input's storage. Training then keeps a copy of the input all the same.
    """


@frozen(repr=False)
class Hardtanh(_FromCopy):
    """``min(max(low, x), high)``. Source: Collobert (2004).

    Args:
        low: The least output.
        high: The largest output; more than ``low``.
        inplace: Whether it overwrites its input's storage. Training then keeps a copy of the input all the same.
    """

    low: float = field(default=-1.0, converter=number_from, validator=is_number(-_MOST, _MOST))
    high: float = field(default=1.0, converter=number_from, validator=is_number(-_MOST, _MOST))
    inplace: bool = field(default=False, kw_only=True, validator=is_bool)

    def __attrs_post_init__(self) -> None:
        if self.low >= self.high:
            raise InvalidValueError(
                "Hardtanh.high must be more than Hardtanh.low", got=f"low {self.low}, high {self.high}"
            )


@frozen(repr=False)
class Softplus(_FromInput):
    """``ln(1 + exp(beta * x)) / beta``, a smooth ReLU. Source: Dugas et al. (2001).

    Args:
        beta: How close it comes to a ReLU; not zero.
    """

    autocast: ClassVar[Autocast] = Autocast.FULL

    beta: float = field(default=1.0, converter=number_from, validator=is_number(1e-6, _MOST))


@frozen(repr=False)
class Sigmoid(_FromOutput):
    """``1 / (1 + exp(-x))``, the logistic function. Source: Rumelhart, Hinton and Williams (1986)."""


@frozen(repr=False)
class Tanh(_FromOutput):
    """The hyperbolic tangent, ``(exp(x) - exp(-x)) / (exp(x) + exp(-x))``. Source: LeCun et al., "Efficient backprop" (1998)."""


@frozen(repr=False)
class _AlongAxis(_FromOutput):
    """An activation that looks along one axis."""

    autocast: ClassVar[Autocast] = Autocast.FULL

    axis: int = field(default=0, kw_only=True, converter=int_from, validator=is_int(-8, 7))

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States that the output is like the input, which must have the axis."""
        (value,) = inputs
        axis_in(self.axis, value.shape, f"{type(self).__name__}.axis")
        return value


@frozen(repr=False)
class Softmax(_AlongAxis):
    """Exponentials that sum to one along an axis: ``exp(x) / sum(exp(x))``. Source: Bridle (1990).

    Args:
        axis: The axis of one sample; 0 is the channels. Negative axes count from the end.
    """


@frozen(repr=False)
class LogSoftmax(_AlongAxis):
    """The logarithm of :class:`~cnnbudget.Softmax`, computed in one operation: ``x - ln(sum(exp(x)))`` along an axis.

    Source: PyTorch's ``log_softmax``.

    Args:
        axis: The axis of one sample; 0 is the channels. Negative axes count from the end.

    Example:
        >>> from cnnbudget import LogSoftmax, Net
        >>> Net.input(10).then(LogSoftmax()).output_shape
        (10,)
    """
