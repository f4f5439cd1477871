"""Several devices: how a batch is shared out. Every number of a profile is that of the fullest device."""

from __future__ import annotations

from typing import Any

from attrs import Attribute, field, frozen

from cnnbudget.checks import exact_int, int_from, is_int, short_repr

__all__ = ["DataParallel"]


def _is_level(instance: Any, attribute: Attribute[Any], value: Any) -> None:
    exact_int(value, f"{type(instance).__name__}.{attribute.name}", 0, 3)


@frozen(repr=False)
class DataParallel:
    """Every device runs the whole network on a share of the batch; the fullest has ``ceil(batch / count)`` samples.

    *Does not count*: buffers of the communication between devices.

    Args:
        count: How many devices.
        zero: What they share out instead of each having all of it, cumulatively: 0 nothing, 1 the optimizer's state, 2 the
            gradients of parameters, 3 the parameters. Source: Rajbhandari et al., "ZeRO" (2020).

    Example:
        >>> DataParallel(4).share(50)
        13
    """

    count: int = field(default=1, converter=int_from, validator=is_int())
    zero: int = field(default=0, kw_only=True, converter=int_from, validator=_is_level)

    def __repr__(self) -> str:
        return short_repr(self)

    def share(self, batch: int) -> int:
        """Samples on the fullest device.

        Args:
            batch: Samples on all devices together.

        Returns:
            ``ceil(batch / count)``.
        """
        return -(-exact_int(batch, "batch") // self.count)

    def largest_batch(self, share: int) -> int:
        """The largest batch of which no device gets more than a share.

        Args:
            share: Samples that fit on one device.

        Returns:
            ``share * count``.
        """
        return exact_int(share, "share", 0) * self.count
