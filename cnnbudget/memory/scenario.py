"""Scenarios: under which circumstances a network runs. They are values; variants come from ``evolve``."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import evolve, field, frozen

from cnnbudget.checks import instance_of, int_from, is_int, one_of, short_repr
from cnnbudget.dtypes import AMP_BF16, AMP_FP16, BF16, FP16, FP32, INT8, Precision
from cnnbudget.errors import InvalidTypeError, InvalidValueError, UnknownNameError, did_you_mean, shorten
from cnnbudget.graph.nodes import Network, Node
from cnnbudget.memory.allocator import Allocator, Ideal
from cnnbudget.memory.devices import DataParallel
from cnnbudget.memory.loss import Loss, loss_from
from cnnbudget.memory.optimizer import Optimizer
from cnnbudget.memory.optimizer_other import optimizer as optimizer_from
from cnnbudget.memory.optimizer_torch import SGD
from cnnbudget.memory.retention import FreeAfterUse, KeepAll, Retention

if TYPE_CHECKING:
    from typing import Self

    from attrs import Attribute

__all__ = ["Inference", "Scenario", "Training"]

_PRECISIONS = {precision.name: precision for precision in (FP32, FP16, BF16, AMP_FP16, AMP_BF16, INT8)}

_ORDERS = ("given", "optimal")
_FRAMES = ("ideal", "eager")
_ZERO_GRADS = ("none", "zero")

_IS_PRECISION = instance_of(Precision, "for example FP32, FP16 or BF16")
_IS_OPTIMIZER = instance_of(Optimizer, "for example SGD(momentum=0.9), Adam() or 'adam'")
_IS_ALLOCATOR = instance_of(Allocator, "for example CachingAllocator()")
_IS_POLICY = instance_of(Retention, "for example FreeAfterUse() or KeepAll()")


def _devices(value: DataParallel | int) -> DataParallel:
    return value if isinstance(value, DataParallel) else DataParallel(value)


def _precision(value: Any) -> Any:
    """A word stands for a preset."""
    if not isinstance(value, str):
        return value
    word = value.upper().replace("-", "_")
    if word not in _PRECISIONS:
        raise UnknownNameError("no precision has this name", got=shorten(value), hint=did_you_mean(value, _PRECISIONS))
    return _PRECISIONS[word]


def _is_frames(instance: Any, attribute: Attribute[Any], value: Any) -> None:
    one_of(value, _FRAMES, f"{type(instance).__name__}.{attribute.name}")


def _is_order(instance: Any, attribute: Attribute[Any], value: Any) -> None:
    one_of(value, _ORDERS, f"{type(instance).__name__}.{attribute.name}")


def _is_zero_grad(instance: Any, attribute: Attribute[Any], value: Any) -> None:
    one_of(value, _ZERO_GRADS, f"{type(instance).__name__}.{attribute.name}")


Frozen = str | tuple[str, ...] | Callable[[Node], bool] | None
"""Which nodes do not train: a pattern of names, several, or a predicate."""


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _is_frozen(instance: Any, attribute: Attribute[Any], value: Any) -> None:  # noqa: ARG001  # the validator's signature
    if value is None or (callable(value) and not isinstance(value, type)):
        return
    patterns = (value,) if isinstance(value, str) else value
    if not isinstance(patterns, tuple) or not patterns or not all(isinstance(one, str) and one for one in patterns):
        raise InvalidTypeError(
            "Training.frozen says which nodes do not train",
            got=shorten(value),
            expected="a pattern of names such as 'layer1*', several, a function of a node, or None",
        )


@frozen(repr=False)
class Scenario:
    """The base of :class:`Inference` and :class:`Training`.

    Args:
        batch: Samples in a batch, on all devices together.
        precision: Which dtype each role has; a preset may be given by its name.
        devices: On how many devices the batch is split: a :class:`DataParallel`, or an int.
        allocator: What is reserved for what is alive; it changes :attr:`~cnnbudget.MemoryProfile.reserved`, never the peak.
        order: ``"given"``: nodes run as the network has them, and parameters are updated when backward is done. ``"optimal"``: in
            the order with the least peak that is found, and each parameter as soon as its gradient is complete; the profile says
            what is proved about it.
        frames: ``"ideal"``: a value dies after its last reader. ``"eager"``: whoever called a module keeps what it was called
            with until it returns, as Python's frames do; the calls are the scopes of the nodes' names. The script
            keeps the network's inputs and outputs.
        retention: Who keeps what, and until when.
    """

    trains: ClassVar[bool]

    batch: int = field(default=1, converter=int_from, validator=is_int())
    precision: Precision = field(default=FP32, kw_only=True, converter=_precision, validator=_IS_PRECISION)
    devices: DataParallel = field(default=DataParallel(), kw_only=True, converter=_devices)
    order: str = field(default="given", kw_only=True, validator=_is_order)
    frames: str = field(default="ideal", kw_only=True, validator=_is_frames)
    allocator: Allocator = field(default=Ideal(), kw_only=True, validator=_IS_ALLOCATOR)
    retention: Retention = field(kw_only=True, validator=_IS_POLICY)

    def __attrs_post_init__(self) -> None:
        if type(self) is Scenario:
            raise InvalidTypeError("Scenario is a base, no scenario", expected="Inference(...) or Training(...)")
        if self.order == "optimal" and self.frames == "eager":
            raise InvalidValueError(
                f"{type(self).__name__}.order does not go with its frames",
                got="order='optimal', frames='eager'",
                expected="frames='ideal': the calls of an eager execution fix its order",
            )

    def __repr__(self) -> str:
        return short_repr(self)

    @property
    def device_batch(self) -> int:
        """Samples that the fullest device works on at once."""
        return self.share(self.batch)

    def share(self, batch: int) -> int:
        """Samples that the fullest device works on at once, of a batch.

        Args:
            batch: Samples on all devices together.

        Returns:
            Its share.
        """
        return self.devices.share(batch)

    def largest_batch(self, share: int) -> int:
        """The largest batch of which no device works on more samples at once.

        Args:
            share: Samples that fit.

        Returns:
            The batch on all devices together.
        """
        return self.devices.largest_batch(share)

    def frozen_nodes(self, network: Network) -> frozenset[str]:  # a training freezes
        """Finds the nodes that do not train, so that PyTorch does not keep copies of their parameters in another width.

        Args:
            network: The network.

        Returns:
            Their names; none in an inference, whose parameters could train.
        """
        return frozenset()

    def evolve(self, **changes: Any) -> Self:
        """Returns a variant with some fields changed.

        Args:
            **changes: Fields and their new values.

        Returns:
            A new scenario of the same class.

        Example:
            >>> Training(batch=50).evolve(batch=32).batch
            32
        """
        return evolve(self, **changes)


@frozen(repr=False)
class Inference(Scenario):
    """One forward pass.

    Args:
        batch: Samples in a batch, on all devices together.
        precision: Which dtype each role has.
        devices: On how many devices the batch is split.
        frames: ``"ideal"`` or ``"eager"``.
        retention: Who keeps what; :class:`FreeAfterUse` is the least.

    Raises:
        InvalidValueError: If the policy is for training only.
    """

    trains: ClassVar[bool] = False

    retention: Retention = field(default=FreeAfterUse(), kw_only=True, validator=_IS_POLICY)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if not self.retention.serves_inference:
            raise InvalidValueError(
                "Inference cannot use this policy",
                got=shorten(self.retention),
                expected="a policy without backward steps, for example FreeAfterUse()",
            )


@frozen(repr=False)
class Training(Scenario):
    """One training iteration in the steady state.

    Args:
        batch: Samples in a batch, on all devices together.
        precision: Which dtype each role has.
        devices: On how many devices the batch is split.
        frames: ``"ideal"`` or ``"eager"``.
        retention: Who keeps what; :class:`KeepAll` keeps every value until its backward step, :class:`Autograd` what PyTorch
            keeps.
        optimizer: How the parameters are updated: its state, and the temporaries of its step.
        loss: What the outputs are compared with: a :class:`Loss`, or a word such as ``"cross_entropy"``. ``None`` leaves its
            values out: the gradients of the outputs are there when the forward pass is done.
        frozen: Which nodes do not train: a pattern of their names (``"layer1*"``), several, or a function of a
            :class:`~cnnbudget.Node`. They have no gradients and no state, and nothing is kept for their sake alone.
        zero_grad: What becomes of the parameters' gradients after the update: ``"none"`` frees them, with ``"zero"`` they stay
            alive, and the next iteration adds to them.
        accumulate: In how many parts a device works through its share of the batch, one after the other; their gradients
            add up. The parts are as equal as they can be, and every number is that of the largest after the first.

    Raises:
        InvalidValueError: If the policy is for inference only, the precision is, or there are more parts than samples.

    Example:
        >>> from cnnbudget import Autograd, Net, Training, zoo
        >>> scenario = Training(32, retention=Autograd(), loss="cross_entropy")
        >>> print(zoo.resnet18().profile(scenario).retained)
        677.03 MiB
    """

    trains: ClassVar[bool] = True

    retention: Retention = field(default=KeepAll(), kw_only=True, validator=_IS_POLICY)
    optimizer: Optimizer = field(default=SGD(), kw_only=True, converter=optimizer_from, validator=_IS_OPTIMIZER)
    loss: Loss | None = field(default=None, kw_only=True, converter=loss_from)
    frozen: Frozen = field(default=None, kw_only=True, converter=_frozen, validator=_is_frozen)
    zero_grad: str = field(default="none", kw_only=True, validator=_is_zero_grad)
    accumulate: int = field(default=1, kw_only=True, converter=int_from, validator=is_int())

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if not self.retention.serves_training:
            raise InvalidValueError(
                "Training cannot use this policy",
                got=shorten(self.retention),
                expected="a policy that keeps values for backward, for example KeepAll()",
            )
        if self.precision.accumulator is not None:
            raise InvalidValueError(
                "Training cannot use this precision",
                got=str(self.precision),
                expected="one that gradients can be computed in, for example FP32 or AMP_FP16",
            )
        if self.accumulate > self.devices.share(self.batch):
            raise InvalidValueError(
                "Training.accumulate has more parts than samples",
                got=f"{self.accumulate} parts of {self.devices.share(self.batch)} samples on a device",
                expected="at most one part for every sample",
            )

    def share(self, batch: int) -> int:
        """Samples that the fullest device works on at once, of a batch: the largest part of its share."""
        return -(-self.devices.share(batch) // self.accumulate)

    def largest_batch(self, share: int) -> int:
        """The largest batch of which no device works on more samples at once."""
        return self.devices.largest_batch(share * self.accumulate)

    @property
    def keeps_gradients(self) -> bool:
        """Whether the parameters' gradients are alive while the forward pass runs."""
        return self.zero_grad == "zero" or self.accumulate > 1

    def frozen_nodes(self, network: Network) -> frozenset[str]:
        """Finds the nodes that do not train.

        Args:
            network: The network.

        Returns:
            Their names.

        Raises:
            UnknownNameError: If a pattern fits no node; the error guesses which was meant.
            InvalidValueError: If a function says yes to none.
        """
        if self.frozen is None:
            return frozenset()
        if callable(self.frozen):
            found = frozenset([node.name for node in network.nodes if self.frozen(node)])
            if not found:
                raise InvalidValueError(
                    "Training.frozen fits no node",
                    got=shorten(self.frozen),
                    expected="a function that fits one at least",
                )
            return found
        names = [node.name for node in network.nodes]
        frozen: set[str] = set()
        for pattern in (self.frozen,) if isinstance(self.frozen, str) else self.frozen:
            fitting = [name for name in names if fnmatchcase(name, pattern)]
            if not fitting:
                raise UnknownNameError(
                    "Training.frozen fits no node", got=shorten(pattern), hint=did_you_mean(pattern, names)
                )
            frozen.update(fitting)
        return frozenset(frozen)
