"""Widths of numbers: dtypes, the roles that bytes play, and the precision that gives each role its dtype."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from cnnbudget.checks import instance_of, int_from, is_int
from cnnbudget.errors import InvalidTypeError, InvalidValueError, shorten

if TYPE_CHECKING:
    from attrs import Attribute

__all__ = [
    "AMP_BF16",
    "AMP_FP16",
    "BF16",
    "BFLOAT16",
    "BOOL",
    "FLOAT16",
    "FLOAT32",
    "FLOAT64",
    "FP16",
    "FP32",
    "INT4",
    "INT8",
    "INT8_DTYPE",
    "INT32",
    "INT64",
    "UINT8",
    "DType",
    "Precision",
    "Role",
]


@frozen
class DType:
    """A number format: its name and width in bits.

    Example:
        >>> FLOAT16.byte_count(3), INT4.byte_count(3)
        (6, 2)
    """

    name: str = field(validator=instance_of(str, "for example 'float16'"))
    bits: int = field(converter=int_from, validator=is_int(1, 1024))

    def byte_count(self, elements: int) -> int:
        """Bytes of a storage of so many elements; formats below a byte round up once per storage.

        Args:
            elements: How many numbers the storage holds.

        Returns:
            Whole bytes.
        """
        return -(-elements * self.bits // 8)

    def __str__(self) -> str:
        return self.name


FLOAT64 = DType("float64", 64)
FLOAT32 = DType("float32", 32)
FLOAT16 = DType("float16", 16)
BFLOAT16 = DType("bfloat16", 16)
INT64 = DType("int64", 64)
INT32 = DType("int32", 32)
INT8_DTYPE = DType("int8", 8)
UINT8 = DType("uint8", 8)
INT4 = DType("int4", 4)
BOOL = DType("bool", 8)


class Role(Enum):
    """What bytes are for."""

    PARAMETER = "parameter"
    BUFFER = "buffer"
    ACTIVATION = "activation"
    EXTRA = "saved extra"
    ACTIVATION_GRADIENT = "activation gradient"
    PARAMETER_GRADIENT = "parameter gradient"
    OPTIMIZER_STATE = "optimizer state"
    WORKSPACE = "workspace"

    def __str__(self) -> str:
        return self.value

    def __repr__(self) -> str:  # as one writes it
        return f"Role.{self.name}"

    # Enum hashes the name through Python code; the roles are dict keys in every inner loop, and members are singletons.
    __hash__ = object.__hash__


def _roles(dtypes: Any) -> tuple[tuple[Role, DType], ...]:
    expected = "a mapping such as {Role.BUFFER: FLOAT32}"
    try:
        pairs = tuple(dtypes.items() if isinstance(dtypes, Mapping) else dtypes)
    except TypeError:
        raise InvalidTypeError(
            "Precision.dtypes must map roles to dtypes", got=shorten(dtypes), expected=expected
        ) from None
    for pair in pairs:
        if not (
            isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], Role) and isinstance(pair[1], DType)
        ):
            raise InvalidTypeError("Precision.dtypes must map roles to dtypes", got=shorten(pair), expected=expected)
    if len({role for role, _ in pairs}) < len(pairs):
        raise InvalidValueError("Precision.dtypes names a role twice", got=shorten(pairs), expected="one dtype a role")
    return tuple(sorted(pairs, key=lambda pair: pair[0].name))


def _is_dtype_or_none(instance: Any, attribute: Attribute[Any], value: Any) -> None:  # noqa: ARG001  # attrs' signature
    if value is not None and not isinstance(value, DType):
        raise InvalidTypeError(
            f"Precision.{attribute.name} must be a DType", got=shorten(value), expected="None, or for example FLOAT16"
        )


@frozen
class Precision:
    """Which dtype each role has: a default, and the roles that differ.

    A tensor that states its own dtype (an index, a mask, a running statistic) keeps it under every precision.

    Args:
        name: How to call it.
        default: The dtype of every role that is not named.
        dtypes: Roles that differ.
        autocast: Mixed precision: the width in which convolutions and linear layers compute and leave their output, while
            parameters keep theirs and are copied; see :class:`~cnnbudget.Autocast`. ``None`` for none.
        accumulator: The width in which those layers add up an output before it is narrowed, as a temporary of the output's
            size; ``None`` where a kernel holds its sums in registers.

    Example:
        >>> FP16[Role.ACTIVATION], FP16[Role.BUFFER]
        (DType(name='float16', bits=16), DType(name='float32', bits=32))
    """

    name: str = field(validator=instance_of(str, "for example 'FP16'"))
    default: DType = field(validator=instance_of(DType, "for example FLOAT32"))
    dtypes: tuple[tuple[Role, DType], ...] = field(default=(), converter=_roles)
    autocast: DType | None = field(default=None, kw_only=True, validator=_is_dtype_or_none)
    accumulator: DType | None = field(default=None, kw_only=True, validator=_is_dtype_or_none)

    def __getitem__(self, role: Role) -> DType:
        """The dtype of a role."""
        if not isinstance(role, Role):
            raise InvalidTypeError(
                "a precision is asked for a role", got=shorten(role), expected="for example Role.ACTIVATION"
            )
        for known, dtype in self.dtypes:
            if known is role:
                return dtype
        return self.default

    def __str__(self) -> str:
        return self.name


# Batch-norm running statistics stay in 32 bits under every preset, as frameworks keep them.
FP32 = Precision("FP32", FLOAT32)
FP16 = Precision("FP16", FLOAT16, {Role.BUFFER: FLOAT32})
BF16 = Precision("BF16", BFLOAT16, {Role.BUFFER: FLOAT32})
AMP_FP16 = Precision("AMP_FP16", FLOAT32, autocast=FLOAT16)
AMP_BF16 = Precision("AMP_BF16", FLOAT32, autocast=BFLOAT16)
INT8 = Precision("INT8", INT8_DTYPE, {Role.BUFFER: FLOAT32}, accumulator=FLOAT32)
