"""Losses: what the end of a training step keeps and allocates, between a network's output and its gradient."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from attrs import frozen

from cnnbudget.checks import short_repr
from cnnbudget.dtypes import INT64, Role
from cnnbudget.errors import InvalidTypeError, ShapeError, UnknownNameError, did_you_mean, shorten
from cnnbudget.tensors import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BinaryCrossEntropy", "CrossEntropy", "Loss", "MeanSquaredError", "loss_from"]


@frozen(repr=False)
class Loss(ABC):
    """The base of losses. A network with several outputs has one loss for each; the script adds them up.

    *Counts*: what operations leave, and what is kept for backward. *Does not count*: what a kernel needs inside.
    """

    def __repr__(self) -> str:
        return short_repr(self)

    @abstractmethod
    def target(self, output: TensorSpec) -> TensorSpec:
        """States what the output is compared with; the caller keeps it.

        Args:
            output: Spec of the output.
        """

    def result(self, output: TensorSpec) -> TensorSpec:
        """States the storage in which the loss lies until its backward step. Default: one number.

        Args:
            output: Spec of the output.
        """
        return TensorSpec((), batched=False)

    def backward_temporaries(self, output: TensorSpec) -> Mapping[str, TensorSpec]:
        """States what its backward step makes on the way to the output's gradient. Default: nothing.

        Args:
            output: Spec of the output.
        """
        return {}

    @property
    def takes_log(self) -> bool:
        """Whether it keeps log-probabilities, of the output's size, and a number instead of the output."""
        return False


@frozen(repr=False)
class CrossEntropy(Loss):
    """Cross-entropy against class numbers: a log-softmax over the classes, and the negative log-likelihood.

    Output ``(classes, *spatial)``, target one 64-bit integer for each position. Kept: the log-probabilities, of the output's size,
    and a number. Source: what ``torch.nn.functional.cross_entropy`` keeps, measured in PyTorch 2.13.

    Example:
        >>> from cnnbudget import CrossEntropy, Linear, Net, ReLU, Training
        >>> net = Net.input(20).then(Linear(10), ReLU())
        >>> len([step for step in net.profile(Training(loss=CrossEntropy())).steps if step.phase.value == "loss"])
        4
    """

    @property
    def takes_log(self) -> bool:
        """It does."""
        return True

    def target(self, output: TensorSpec) -> TensorSpec:
        """States one class number for each position."""
        if not output.shape:
            raise ShapeError("CrossEntropy needs classes", got="()", expected="(classes, *spatial)")
        return TensorSpec(output.spatial, Role.ACTIVATION, INT64)


@frozen(repr=False)
class MeanSquaredError(Loss):
    """The mean of squared differences. The target is like the output, and both are kept (measured in PyTorch 2.13).

    The number lies in a storage of the output's size: the kernel makes room for the differences before it averages them.
    """

    def target(self, output: TensorSpec) -> TensorSpec:
        """States a target like the output."""
        return TensorSpec(output.shape)

    def result(self, output: TensorSpec) -> TensorSpec:
        """States a storage of the output's size."""
        return TensorSpec(output.shape)


@frozen(repr=False)
class BinaryCrossEntropy(Loss):
    """Binary cross-entropy of logits. The target is like the output, and both are kept (measured in PyTorch 2.13)."""

    def target(self, output: TensorSpec) -> TensorSpec:
        """States a target like the output."""
        return TensorSpec(output.shape)

    def backward_temporaries(self, output: TensorSpec) -> Mapping[str, TensorSpec]:
        """States the probabilities, from which the targets are subtracted."""
        return {"probabilities": TensorSpec(output.shape)}


_WORDS: dict[str, type[CrossEntropy | MeanSquaredError | BinaryCrossEntropy]] = {
    "cross_entropy": CrossEntropy,
    "mse": MeanSquaredError,
    "bce_with_logits": BinaryCrossEntropy,
}


def loss_from(value: Loss | str | None) -> Loss | None:
    """Reads a loss: one of its own, a word for it, or ``None`` for none.

    Args:
        value: A :class:`Loss`, ``"cross_entropy"``, ``"mse"``, ``"bce_with_logits"``, or ``None``.

    Returns:
        The loss.

    Raises:
        UnknownNameError: If the word is unknown; the error guesses which was meant.
        InvalidTypeError: If it is something else.

    Example:
        >>> loss_from("cross_entropy")
        CrossEntropy()
    """
    if value is None or isinstance(value, Loss):
        return value
    if isinstance(value, str):
        if value not in _WORDS:
            raise UnknownNameError("no loss has this name", got=shorten(value), hint=did_you_mean(value, _WORDS))
        return _WORDS[value]()
    called = isinstance(value, type) and issubclass(value, Loss)
    raise InvalidTypeError(
        "Training.loss must be a loss",
        got=shorten(value),
        expected="for example CrossEntropy(), 'cross_entropy' or None",
        hint=f"call it: {value.__name__}()" if called else None,
    )
