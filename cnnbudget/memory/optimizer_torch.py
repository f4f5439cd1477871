"""The optimizers of PyTorch whose temporaries have the shape of a parameter; measured, to the byte, with PyTorch 2.13."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from attrs import field, frozen

from cnnbudget.checks import is_bool
from cnnbudget.memory.optimizer import (
    ElementwiseOptimizer,
    SteppedOptimizer,
    check_nesterov,
    decay_field,
    kept,
    momentum_field,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cnnbudget.tensors import Shape, TensorSpec

__all__ = ["SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop"]


@frozen(repr=False)
class SGD(ElementwiseOptimizer):
    """Stochastic gradient descent, with or without momentum (Sutskever et al., 2013), as ``torch.optim.SGD``.

    Keeps one buffer with momentum, nothing without.

    Args:
        momentum: 0 for none.
        nesterov: Looks ahead; needs momentum. Its ``"foreach"`` implementation overwrites the gradients.
        weight_decay: Whatever is not 0 copies the gradients.
        implementation: ``"loop"``, ``"foreach"`` or ``"fused"``.

    Raises:
        InvalidValueError: If a momentum is negative or above 1, or ``nesterov`` has none.

    Example:
        >>> SGD(momentum=0.9), list(SGD(momentum=0.9).state((64,))), list(SGD().state((64,)))
        (SGD(momentum=0.9), ['momentum_buffer'], [])
    """

    momentum: float = momentum_field()
    nesterov: bool = field(default=False, kw_only=True, validator=is_bool)

    def __attrs_post_init__(self) -> None:
        check_nesterov(self, momentum=self.momentum, nesterov=self.nesterov)

    def state(self, shape: Shape) -> Mapping[str, TensorSpec]:
        """States the momentum buffer."""
        return {"momentum_buffer": kept(shape)} if self.momentum else {}

    @property
    def loop(self) -> Iterable[tuple[tuple[str, ...], tuple[str, ...]]]:
        """The copy that weight decay makes, and the one that looks ahead."""
        return [((), (*self.decayed, "ahead") if self.nesterov else self.decayed)]

    @property
    def foreach(self) -> tuple[str, ...]:
        """The copy that weight decay makes."""
        return self.decayed


@frozen(repr=False)
class Adam(SteppedOptimizer):
    """Adam (Kingma & Ba, 2015), as ``torch.optim.Adam``: two buffers, three with ``amsgrad``.

    A step of the loop needs two temporaries of the parameter, while the second one of the parameter before is still there.

    Args:
        amsgrad: Keeps the largest second moment, too (Reddi et al., 2018).
        weight_decay: Whatever is not 0 copies the gradients.
        count_steps: Whether the step counters, a number each, count: PyTorch keeps them on the host unless it updates fused.
        implementation: ``"loop"``, ``"foreach"`` or ``"fused"``.
    """

    amsgrad: bool = field(default=False, kw_only=True, validator=is_bool)

    @property
    def buffers(self) -> tuple[str, ...]:
        """Two moments, and the largest second one."""
        return ("exp_avg", "exp_avg_sq", *(("max_exp_avg_sq",) if self.amsgrad else ()))

    @property
    def loop(self) -> Iterable[tuple[tuple[str, ...], tuple[str, ...]]]:
        """A root, and the denominator that is made of it."""
        return [(("denominator",), (*self.decayed, "root", "denominator"))]

    @property
    def foreach(self) -> tuple[str, ...]:
        """The roots; the copies that weight decay makes are gone by then, and as large."""
        return ("root",)


@frozen(repr=False)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter, 2019), as ``torch.optim.AdamW``: the decay takes no memory.

    Args:
        amsgrad: Keeps the largest second moment, too.
        weight_decay: Changes no number here.
        count_steps: Whether the step counters, a number each, count: PyTorch keeps them on the host unless it updates fused.
        implementation: ``"loop"``, ``"foreach"`` or ``"fused"``.
    """

    weight_decay: float = decay_field(0.01)

    @property
    def decayed(self) -> tuple[str, ...]:
        """No copy, since the parameters are scaled in place."""
        return ()


@frozen(repr=False)
class Adamax(SteppedOptimizer):
    """Adamax (Kingma & Ba, 2015, section 7.1), as ``torch.optim.Adamax``: two buffers.

    Args:
        weight_decay: Whatever is not 0 copies the gradients.
        count_steps: Whether the step counters, a number each, count: PyTorch keeps them on the host.
        implementation: ``"loop"`` or ``"foreach"``.
    """

    implementations: ClassVar[tuple[str, ...]] = ("loop", "foreach")

    @property
    def buffers(self) -> tuple[str, ...]:
        """What is kept."""
        return ("exp_avg", "exp_inf")

    @property
    def loop(self) -> Iterable[tuple[tuple[str, ...], tuple[str, ...]]]:
        """The absolute gradient."""
        return [((), (*self.decayed, "absolute"))]

    @property
    def foreach(self) -> tuple[str, ...]:
        """The absolute gradients; the copies that weight decay makes serve for them."""
        return ("absolute",)


@frozen(repr=False)
class RMSprop(SteppedOptimizer):
    """RMSprop (Hinton, 2012), as ``torch.optim.RMSprop``: one buffer, and one each for ``momentum`` and ``centered``.

    Args:
        momentum: 0 for none.
        centered: Keeps the mean of the gradient, too (Graves, 2013).
        weight_decay: Whatever is not 0 copies the gradients.
        count_steps: Whether the step counters, a number each, count: PyTorch keeps them on the host.
        implementation: ``"loop"`` or ``"foreach"``.

    Raises:
        InvalidValueError: If a momentum is negative or above 1.
    """

    implementations: ClassVar[tuple[str, ...]] = ("loop", "foreach")

    momentum: float = momentum_field()
    centered: bool = field(default=False, kw_only=True, validator=is_bool)

    @property
    def buffers(self) -> tuple[str, ...]:
        """The mean square, the momentum, and the mean."""
        momentum = ("momentum_buffer",) if self.momentum else ()
        return ("square_avg", *momentum, *(("grad_avg",) if self.centered else ()))

    @property
    def loop(self) -> Iterable[tuple[tuple[str, ...], tuple[str, ...]]]:
        """The root."""
        return [(("root",), (*self.decayed, "root"))]

    @property
    def foreach(self) -> tuple[str, ...]:
        """The roots, and the copies that weight decay makes."""
        return (*self.decayed, "root")


@frozen(repr=False)
class Adagrad(SteppedOptimizer):
    """Adagrad (Duchi et al., 2011), as ``torch.optim.Adagrad``: one buffer, from the start.

    Args:
        weight_decay: Whatever is not 0 copies the gradients.
        count_steps: Whether the step counters, a number each, count: PyTorch keeps them on the host unless it updates fused.
        implementation: ``"loop"``, ``"foreach"`` or ``"fused"``.
    """

    @property
    def buffers(self) -> tuple[str, ...]:
        """What is kept."""
        return ("sum",)

    @property
    def loop(self) -> Iterable[tuple[tuple[str, ...], tuple[str, ...]]]:
        """The root."""
        return [(("root",), (*self.decayed, "root"))]

    @property
    def foreach(self) -> tuple[str, ...]:
        """The roots, and scaled gradients; the copies that weight decay makes serve for them."""
        return ("gradient", "root")


@frozen(repr=False)
class Adadelta(SteppedOptimizer):
    """Adadelta (Zeiler, 2012), as ``torch.optim.Adadelta``: two buffers.

    Args:
        weight_decay: Whatever is not 0 copies the gradients.
        count_steps: Whether the step counters, a number each, count: PyTorch keeps them on the host.
        implementation: ``"loop"`` or ``"foreach"``.
    """

    implementations: ClassVar[tuple[str, ...]] = ("loop", "foreach")

    @property
    def buffers(self) -> tuple[str, ...]:
        """What is kept."""
        return ("square_avg", "acc_delta")

    @property
    def loop(self) -> Iterable[tuple[tuple[str, ...], tuple[str, ...]]]:
        """Two roots, one after the other, each while the variable still holds the one of the parameter before."""
        return [
            (("root", "delta"), (*self.decayed, "root")),
            (("delta",), (*self.decayed, "root", "delta")),
        ]

    @property
    def foreach(self) -> tuple[str, ...]:
        """Two roots, and the copies that weight decay makes."""
        return (*self.decayed, "root", "delta")


@frozen(repr=False)
class NAdam(SteppedOptimizer):
    """Adam with Nesterov momentum (Dozat, 2016), as ``torch.optim.NAdam``: two buffers and two numbers.

    Args:
        weight_decay: Whatever is not 0 copies the gradients; state 0 if it is decoupled.
        count_steps: Whether the two numbers count: PyTorch keeps them on the host.
        implementation: ``"loop"`` or ``"foreach"``.
    """

    implementations: ClassVar[tuple[str, ...]] = ("loop", "foreach")
    counters: ClassVar[tuple[str, ...]] = ("step", "mu_product")

    @property
    def buffers(self) -> tuple[str, ...]:
        """What is kept."""
        return ("exp_avg", "exp_avg_sq")

    @property
    def loop(self) -> Iterable[tuple[tuple[str, ...], tuple[str, ...]]]:
        """The corrected moment, and its root."""
        return [(("denominator",), (*self.decayed, "moment", "denominator"))]

    @property
    def foreach(self) -> tuple[str, ...]:
        """The roots, and the copies that weight decay makes."""
        return (*self.decayed, "root")


@frozen(repr=False)
class RAdam(SteppedOptimizer):
    """Rectified Adam (Liu et al., 2020), as ``torch.optim.RAdam``: two buffers.

    The first steps (five, with PyTorch's defaults) are not rectified and need less: the numbers are those of later ones.

    Args:
        weight_decay: Whatever is not 0 copies the gradients; state 0 if it is decoupled.
        count_steps: Whether the step counters, a number each, count: PyTorch keeps them on the host.
        implementation: ``"loop"`` or ``"foreach"``.
    """

    implementations: ClassVar[tuple[str, ...]] = ("loop", "foreach")

    @property
    def buffers(self) -> tuple[str, ...]:
        """What is kept."""
        return ("exp_avg", "exp_avg_sq")

    @property
    def loop(self) -> Iterable[tuple[tuple[str, ...], tuple[str, ...]]]:
        """The corrected moment; then that, its product, a root, the inverse of that, and what is made of it."""
        return [
            (("moment",), (*self.decayed, "moment")),
            ((), (*self.decayed, "moment", "product", "root", "inverse", "rate")),
        ]

    @property
    def foreach(self) -> tuple[str, ...]:
        """The roots; the copies that weight decay makes are gone by then, and as large."""
        return ("root",)
