"""Several devices: how a batch is shared out. Every number of a profile is that of the fullest device."""

from __future__ import annotations

from attrs import field, frozen

from cnnbudget.checks import exact_int, int_from, is_int

__all__ = ["DataParallel"]


@frozen
class DataParallel:
    """Every device holds the whole network and a share of the batch; the fullest has ``ceil(batch / count)`` samples.

    *Does not count*: buffers of the communication between devices.

    Args:
        count: How many devices.

    Example:
        >>> DataParallel(4).share(50)
        13
    """

    count: int = field(default=1, converter=int_from, validator=is_int())

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
