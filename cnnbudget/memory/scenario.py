"""Scenarios: under which circumstances a network runs. They are values; variants come from ``evolve``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from attrs import evolve, field, frozen

from cnnbudget.checks import instance_of, int_from, is_int, short_repr
from cnnbudget.dtypes import FP32, Precision
from cnnbudget.errors import InvalidTypeError, InvalidValueError, shorten
from cnnbudget.memory.devices import DataParallel
from cnnbudget.memory.retention import FreeAfterUse, KeepAll, Retention

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Inference", "Scenario", "Training"]


_IS_PRECISION = instance_of(Precision, "for example FP32, FP16 or BF16")
_IS_POLICY = instance_of(Retention, "for example FreeAfterUse() or KeepAll()")


def _devices(value: DataParallel | int) -> DataParallel:
    return value if isinstance(value, DataParallel) else DataParallel(value)


@frozen(repr=False)
class Scenario:
    """The base of :class:`Inference` and :class:`Training`.

    Args:
        batch: Samples in a batch, on all devices together.
        precision: Which dtype each role has.
        devices: On how many devices the batch is split: a :class:`DataParallel`, or an int.
        retention: Who keeps what, and until when.
    """

    trains: ClassVar[bool]

    batch: int = field(default=1, converter=int_from, validator=is_int())
    precision: Precision = field(default=FP32, kw_only=True, validator=_IS_PRECISION)
    devices: DataParallel = field(default=DataParallel(), kw_only=True, converter=_devices)
    retention: Retention = field(kw_only=True, validator=_IS_POLICY)

    def __attrs_post_init__(self) -> None:
        if type(self) is Scenario:
            raise InvalidTypeError("Scenario is a base, no scenario", expected="Inference(...) or Training(...)")

    def __repr__(self) -> str:
        return short_repr(self)

    @property
    def device_batch(self) -> int:
        """Samples on the fullest device."""
        return self.devices.share(self.batch)

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
        retention: Who keeps what; :class:`FreeAfterUse` is the least.

    Raises:
        InvalidValueError: If the policy is for training only.
    """

    trains: ClassVar[bool] = False

    retention: Retention = field(default=FreeAfterUse(), kw_only=True, validator=_IS_POLICY)

    def __attrs_post_init__(self) -> None:
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
        retention: Who keeps what; :class:`KeepAll` keeps every value until its backward step.

    Raises:
        InvalidValueError: If the policy is for inference only.
    """

    trains: ClassVar[bool] = True

    retention: Retention = field(default=KeepAll(), kw_only=True, validator=_IS_POLICY)

    def __attrs_post_init__(self) -> None:
        if not self.retention.serves_training:
            raise InvalidValueError(
                "Training cannot use this policy",
                got=shorten(self.retention),
                expected="a policy that keeps values for backward, for example KeepAll()",
            )
